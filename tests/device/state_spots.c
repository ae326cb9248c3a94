/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "state_spots.h"

#include <stdio.h>
#include <stdlib.h>

#define MUST(cond)                                                                 \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                   \
		}                                                                  \
	} while (0)

struct walk {
	uint8_t *p, *end;
};

static uint8_t *go(struct walk *w, size_t n)
{
	uint8_t *p = w->p;

	MUST(n <= (size_t)(w->end - w->p));
	w->p += n;
	return p;
}

static uint64_t number(const uint8_t *p, unsigned width)
{
	uint64_t v = 0;

	memcpy(&v, p, width);
	return v;
}

static void name(struct walk *w, char *to, size_t room)
{
	size_t n = *go(w, 1);

	MUST(n < room);
	memcpy(to, go(w, n), n);
	to[n] = 0;
}

unsigned state_spots(const struct state_bytes *b, struct state_spot *to, unsigned room)
{
	struct walk w = { b->p, b->p + b->len };
	unsigned n = 0;

	while (w.p < w.end) {
		char table[32];
		uint64_t fields;

		name(&w, table, sizeof(table));
		fields = number(go(&w, 4), 4);
		for (uint64_t i = 0; i < fields; i++, n++) {
			MUST(n < room);
			memcpy(to[n].table, table, sizeof(table));
			name(&w, to[n].field, sizeof(to[n].field));
			to[n].width = *go(&w, 1);
			MUST(to[n].width && to[n].width <= 8);
			to[n].count_at = go(&w, 4);
			to[n].count = (uint32_t)number(to[n].count_at, 4);
			to[n].values = go(&w, (size_t)to[n].width * to[n].count);
		}
	}
	return n;
}

struct state_spot state_spot(const struct state_bytes *b, const char *field)
{
	struct state_spot all[128];
	unsigned n = state_spots(b, all, ARRAY_SIZE(all));

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(all[i].field, field))
			return all[i];
	fprintf(stderr, "no field %s\n", field);
	abort();
}

uint64_t state_get(const struct state_spot *s, uint32_t i)
{
	MUST(i < s->count);
	return number(s->values + (size_t)i * s->width, s->width);
}

void state_put(const struct state_spot *s, uint32_t i, uint64_t v)
{
	MUST(i < s->count);
	memcpy(s->values + (size_t)i * s->width, &v, s->width);
}

static void values(const struct state_spot *s, void (*try)(const struct state_spot *s, void *arg), void *arg)
{
	for (uint32_t i = 0; i < s->count; i++) {
		uint64_t was = state_get(s, i), top = 1ull << (8 * s->width - 1);
		const uint64_t bound[] = { 0, 1, 2, 3, was + 1, was - 1, was ^ 1, top - 1, top, top | 1, ~0ull, ~1ull };

		for (unsigned k = 0; k < ARRAY_SIZE(bound); k++) {
			if (s->count > 256 && k != i % ARRAY_SIZE(bound))
				continue;
			state_put(s, i, bound[k]);
			try(s, arg);
		}
		state_put(s, i, was);
	}
}

static void counts(const struct state_spot *s, void (*try)(const struct state_spot *s, void *arg), void *arg)
{
	const uint32_t bound[] = { 0, s->count + 1, s->count - 1, 0x7fffffff, 0x80000000, UINT32_MAX };

	for (unsigned k = 0; k < ARRAY_SIZE(bound); k++) {
		memcpy(s->count_at, &bound[k], 4);
		try(s, arg);
	}
	memcpy(s->count_at, &s->count, 4);
}

void state_at_boundaries(const struct state_bytes *b, void (*try)(const struct state_spot *s, void *arg), void *arg)
{
	struct state_spot all[128];
	unsigned n = state_spots(b, all, ARRAY_SIZE(all));

	for (unsigned i = 0; i < n; i++) {
		values(&all[i], try, arg);
		counts(&all[i], try, arg);
	}
}
