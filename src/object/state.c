/* SPDX-License-Identifier: BSD-2-Clause */
/* State tables: see state.h. */
#include "object/state.h"

#include <errno.h>
#include <stdlib.h>

/* ---- saving ---- */

static int append(struct state_bytes *b, const void *p, size_t n)
{
	if (n > b->room - b->len) {
		size_t room = MAX(2 * b->room, b->len + n + 256);
		uint8_t *more = realloc(b->p, room);

		if (!more)
			return -ENOMEM;
		b->p = more;
		b->room = room;
	}
	memcpy(b->p + b->len, p, n);
	b->len += n;
	return 0;
}

static int append_number(struct state_bytes *b, uint64_t v, unsigned width)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < width; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	return append(b, bytes, width);
}

static int append_name(struct state_bytes *b, const char *name)
{
	int r = append_number(b, strlen(name), 1);

	return r ? r : append(b, name, strlen(name));
}

static uint64_t element(const uint8_t *at, unsigned width)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < width; i++)
		v |= (uint64_t)at[i] << 8 * i;
	return v;
}

/* Where the field's values are. */
static uint8_t *place_of(const struct state_field *f, void *object)
{
	uint8_t *at = (uint8_t *)object + f->offset;

	return f->behind ? *(uint8_t **)(void *)at : at;
}

static uint32_t *number_of(const struct state_field *f, void *object)
{
	return (uint32_t *)(void *)((uint8_t *)object + f->number);
}

static int save_field(const struct state_field *f, void *object, struct state_bytes *b)
{
	const uint8_t *at = place_of(f, object); /* the host's order is little-endian, as the bytes' */
	uint32_t n = f->behind ? MIN(*number_of(f, object), f->count) : f->count;
	int r = append_name(b, f->name);

	r = r ? r : append_number(b, f->width, 1);
	r = r ? r : append_number(b, n, 4);
	for (uint32_t i = 0; !r && i < n; i++, at += f->width)
		r = append_number(b, element(at, f->width), f->width);
	return r;
}

int state_save(const struct state_table *t, void *object, struct state_bytes *b)
{
	int r = append_name(b, t->name);

	if (t->saving)
		t->saving(object);
	r = r ? r : append_number(b, t->n, 4);
	for (unsigned i = 0; !r && i < t->n; i++)
		r = save_field(&t->field[i], object, b);
	return r;
}

/* ---- loading ---- */

struct reader {
	const uint8_t *p;
	size_t left;
	bool short_of; /* bytes were wanted that are not there */
};

static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->short_of || n > r->left) {
		r->short_of = true;
		return NULL;
	}
	r->p += n;
	r->left -= n;
	return p;
}

static uint64_t take_number(struct reader *r, unsigned width)
{
	const uint8_t *p = take(r, width);

	return p ? element(p, width) : 0;
}

static bool take_name(struct reader *r, const char *name)
{
	size_t n = take_number(r, 1);
	const uint8_t *p = take(r, n);

	return p && n == strlen(name) && !memcmp(p, name, n);
}

/* The field's values, *n of them, if what is there is that field. */
static const uint8_t *take_field(struct reader *r, const struct state_field *f, uint32_t *n)
{
	bool same = take_name(r, f->name);

	same = take_number(r, 1) == f->width && same;
	*n = (uint32_t)take_number(r, 4);
	same = (f->behind ? *n <= f->count : *n == f->count) && same;
	return same ? take(r, (size_t)f->width * *n) : NULL;
}

static bool all_truths(const struct state_field *f, const uint8_t *values)
{
	for (uint32_t i = 0; f->truth && i < f->count; i++)
		if (values[i] > 1)
			return false;
	return true;
}

static void put_elements(const struct state_field *f, void *object, const uint8_t *from, uint32_t n)
{
	memcpy(place_of(f, object), from, (size_t)f->width * n);
	if (f->behind)
		*number_of(f, object) = n;
}

/* All fields: checked alone, or taken over too. */
static int walk(const struct state_table *t, void *object, struct reader *r, struct error *err)
{
	if (!take_name(r, t->name) || take_number(r, 4) != t->n)
		return fail(err, EPROTO, "the state of %s is not here, or has other fields", t->name);
	for (unsigned i = 0; i < t->n; i++) {
		uint32_t n;
		const uint8_t *values = take_field(r, &t->field[i], &n);

		if (!values || !all_truths(&t->field[i], values))
			return fail(err, EPROTO, "%s.%s is missing, or has another shape", t->name, t->field[i].name);
		if (object)
			put_elements(&t->field[i], object, values, n);
	}
	return 0;
}

int state_load(const struct state_table *t, void *object, const uint8_t *p, size_t len, size_t *used, struct error *err)
{
	struct reader r = { p, len, false };
	int ret = walk(t, NULL, &r, err);

	if (ret)
		return ret;
	*used = len - r.left;
	r = (struct reader){ p, len, false };
	ret = walk(t, object, &r, err);
	if (!ret && t->loaded)
		ret = t->loaded(object, err);
	return ret;
}
