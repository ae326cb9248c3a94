/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "fresh.h"

#include "nic_wire.h"

#define PAGES_MAX 4096 /* of a block */

static struct ram *ram;
static struct dirty_log *dirty;

void fresh_start(struct ram *r)
{
	ram = r;
	dirty = dirty_log_start(r, NULL);
	CHECK(dirty);
	for (unsigned i = 0; i < r->n; i++)
		CHECK(r->block[i].size <= PAGES_MAX * DIRTY_PAGE);
}

void fresh_mark(uint64_t gpa, uint64_t len)
{
	dirty_log_mark(dirty, gpa, len);
}

void fresh_mark_host(const void *host, size_t len)
{
	ram_dirty_host(ram, host, len);
}

static void clear_block(unsigned i)
{
	uint64_t bits[PAGES_MAX / 64], words = (ram->block[i].size / DIRTY_PAGE + 63) / 64;

	if (!dirty_log_sync(dirty, i, bits))
		return;
	for (uint64_t w = 0; w < words; w++)
		for (; bits[w]; bits[w] &= bits[w] - 1)
			memset(ram->block[i].host + (w * 64 + (unsigned)__builtin_ctzll(bits[w])) * DIRTY_PAGE, 0,
			       DIRTY_PAGE);
}

void fresh_clear(void)
{
	static uint64_t turn;

	for (unsigned i = 0; i < ram->n; i++) {
		clear_block(i);
		memset(ram->block[i].host + turn * DIRTY_PAGE % ram->block[i].size, 0, DIRTY_PAGE);
	}
	turn++;
}

void fresh_poke(uint64_t limit)
{
	uint64_t gpa = get(3) % limit;
	unsigned n = (unsigned)MIN(1 + get(1) % 32, limit - gpa);
	uint8_t *p = ram_ptr(ram, gpa, n);

	fresh_mark(gpa, n);
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)get(1);
}

void fresh_turns(struct loop *l)
{
	for (unsigned i = 0; i < 20 && loop_turn(l); i++)
		;
}

void fresh_over(struct loop *l)
{
	wire_start_over();
	vm_clock_step(0);
	fresh_turns(l);
	CHECK(wire_balanced());
	fresh_clear();
}

static bool excepted(const char *name, const char *const *but)
{
	while (*but && strncmp(name, *but, strlen(*but)) != 0)
		but++;
	return *but;
}

void fresh_expect(const struct state_table *t, const void *now, const void *then, const char *const *but)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct state_field *f = &t->field[i];
		size_t len = (size_t)f->width * f->count;

		if (f->behind || excepted(f->name, but) ||
		    !memcmp((const uint8_t *)now + f->offset, (const uint8_t *)then + f->offset, len))
			continue;
		fprintf(stderr, "%s: %s is another one after a reset\n", t->name, f->name);
		abort();
	}
}
