/* SPDX-License-Identifier: BSD-2-Clause */
/* Address spaces: overlap, access rules, doorbells bound and not, and random maps against a byte-by-byte model. */
#include "unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/space.h"

/* ---- a region that writes down its accesses ---- */

static char trace[1024];

static void note(const char *fmt, ...)
{
	size_t n = strlen(trace);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(trace + n, sizeof(trace) - n, fmt, ap);
	va_end(ap);
}

static void assert_trace(const char *want)
{
	assert_string_equal(trace, want);
	trace[0] = 0;
}

static uint64_t noted_read(void *opaque, uint64_t off, unsigned size)
{
	note("%sr%u@%x ", (char *)opaque, size, (unsigned)off);
	return 0x1122334455667700 + off;
}

static void noted_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	note("%sw%u@%x=%llx ", (char *)opaque, size, (unsigned)off, (unsigned long long)value);
}

static const struct region_ops any_ops = { noted_read, noted_write, 1, 8, true };
static const struct region_ops dword_ops = { noted_read, noted_write, 4, 4, false };
static const struct region_ops byte_ops = { noted_read, noted_write, 1, 1, false };
static const struct region_ops silent_ops = { NULL, NULL, 1, 4, false };

static struct region region(const char *name, uint64_t size, const struct region_ops *ops)
{
	return (struct region){ .name = name, .size = size, .ops = ops, .opaque = "", .policy = REGION_NONE };
}

static struct space *space;

static int set_up(void **state)
{
	(void)state;
	space = space_new("test", 0x10000, false);
	trace[0] = 0;
	return space ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	space_free(space);
	return 0;
}

/* ---- accesses ---- */

static void accesses_go_to_the_region(void **state)
{
	struct region r = region("r", 0x100, &any_ops);
	uint64_t v = 5;

	(void)state;
	assert_false(space_read(space, 0x1000, 4, &v));
	assert_int_equal(v, 0xffffffff);
	assert_false(space_write(space, 0x1000, 4, 1));
	assert_int_equal(space_map(space, &r, 0x1000, 0), 0);
	assert_true(space_read(space, 0x1010, 2, &v));
	assert_int_equal(v, 0x7710);
	assert_true(space_write(space, 0x10f8, 8, UINT64_MAX));
	assert_true(space_write(space, 0x1001, 1, 0x1234));
	assert_trace("r2@10 w8@f8=ffffffffffffffff w1@1=34 ");
	assert_false(space_read(space, 0x1100, 1, &v));
	assert_false(space_read(space, 0xfff, 1, &v));
	space_unmap(space, &r);
	space_unmap(space, &r);
	assert_false(space_read(space, 0x1010, 2, &v));
	assert_trace("");
}

static void the_rule_is_kept(void **state)
{
	struct region r = region("r", 0x10, &dword_ops);
	uint64_t v;

	(void)state;
	assert_int_equal(space_map(space, &r, 0x1000, 0), 0);
	/* too small, unaligned, over the end */
	assert_true(space_read(space, 0x1000, 2, &v));
	assert_int_equal(v, 0xffff);
	assert_true(space_read(space, 0x1002, 4, &v));
	assert_int_equal(v, 0xffffffff);
	assert_true(space_write(space, 0x100c, 8, 1));
	assert_true(space_write(space, 0x100e, 4, 1));
	assert_int_equal(counter_get(&r.refused), 4);
	assert_trace("");
	/* larger ones are split, low address first */
	assert_true(space_read(space, 0x1008, 8, &v));
	assert_true(v == 0x5566770c55667708);
	assert_true(space_write(space, 0x1000, 8, 0x0102030405060708));
	assert_trace("r4@8 r4@c w4@0=5060708 w4@4=1020304 ");
	assert_int_equal(counter_get(&r.refused), 4);
}

static void accesses_are_split_to_bytes(void **state)
{
	struct region r = region("r", 0x10, &byte_ops);
	uint64_t v;

	(void)state;
	assert_int_equal(space_map(space, &r, 0, 0), 0);
	assert_true(space_read(space, 4, 4, &v));
	assert_int_equal(v, 0x07060504);
	assert_true(space_write(space, 2, 2, 0xabcd));
	assert_trace("r1@4 r1@5 r1@6 r1@7 w1@2=cd w1@3=ab ");
}

static void regions_without_handlers_are_silent(void **state)
{
	struct region r = region("r", 0x10, &silent_ops);
	uint64_t v;

	(void)state;
	assert_int_equal(space_map(space, &r, 0, 0), 0);
	assert_true(space_read(space, 0, 1, &v));
	assert_int_equal(v, 0xff);
	assert_true(space_write(space, 0, 1, 1));
	assert_int_equal(counter_get(&r.refused), 2);
}

static struct mutex control = MUTEX_INIT;

static uint64_t locked_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque;
	(void)off;
	(void)size;
	if (!mutex_trylock(&control))
		return 1;
	mutex_unlock(&control);
	return 0;
}

static void device_regions_are_locked(void **state)
{
	static const struct region_ops ops = { locked_read, NULL, 1, 1, false };
	struct region r = region("r", 0x10, &ops);
	uint64_t v;

	(void)state;
	assert_int_equal(space_map(space, &r, 0, 0), 0);
	assert_true(space_read(space, 0, 1, &v));
	assert_int_equal(v, 0);
	r.policy = REGION_DEVICE;
	r.lock = &control;
	assert_true(space_read(space, 0, 1, &v));
	assert_int_equal(v, 1);
	assert_true(space_read(space, 0, 1, &v));
	assert_int_equal(v, 1);
}

/* ---- maps ---- */

static void what_does_not_fit_is_refused(void **state)
{
	struct region r = region("r", 0x100, &any_ops), none = region("none", 0, &any_ops);
	struct region all = region("all", 0x10000, &any_ops);

	(void)state;
	assert_int_equal(space_map(space, &r, 0xff01, 0), -EINVAL);
	assert_int_equal(space_map(space, &r, UINT64_MAX - 5, 0), -EINVAL);
	assert_int_equal(space_map(space, &none, 0, 0), -EINVAL);
	assert_int_equal(space_map(space, &all, 0, 0), 0);
	assert_int_equal(space_map(space, &r, 0xff00, 0), 0);
	assert_int_equal(space_map(space, &r, 0, 0), -EINVAL);
}

/* What is at an address is this region (NULL: nothing), at this offset in it. */
static void assert_spot(struct space *s, uint64_t addr, const struct region *r, uint64_t off)
{
	char want[32] = "";
	uint64_t v;

	if (r)
		snprintf(want, sizeof(want), "%sr1@%x ", (char *)r->opaque, (unsigned)off);
	assert_int_equal(space_read(s, addr, 1, &v), r != NULL);
	assert_trace(want);
}

static void priority_then_age_decides(void **state)
{
	struct region back = region("back", 0x1000, &any_ops), mid = region("mid", 0x100, &any_ops);
	struct region young = region("young", 0x100, &any_ops), top = region("top", 0x10, &any_ops);
	const struct {
		uint64_t first, last, base;
		const struct region *r;
	} want[] = {
		{ 0x1000, 0x10ff, 0x1000, &back },  { 0x1100, 0x113f, 0x1100, &mid },
		{ 0x1140, 0x114f, 0x1140, &top },   { 0x1150, 0x11ff, 0x1100, &mid },
		{ 0x1200, 0x127f, 0x1180, &young }, { 0x1280, 0x1fff, 0x1000, &back },
	};
	uint64_t v;

	(void)state;
	back.opaque = "back:";
	mid.opaque = "mid:";
	young.opaque = "young:";
	top.opaque = "top:";
	space_begin(space);
	assert_int_equal(space_map(space, &back, 0x1000, -1), 0);
	assert_int_equal(space_map(space, &mid, 0x1100, 0), 0);
	space_begin(space);
	assert_int_equal(space_map(space, &young, 0x1180, 0), 0);
	assert_int_equal(space_map(space, &top, 0x1140, 1), 0);
	space_commit(space);
	/* Nothing shows before the outermost commit. */
	assert_false(space_read(space, 0x1000, 1, &v));
	space_commit(space);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		assert_spot(space, want[i].first, want[i].r, want[i].first - want[i].base);
		assert_spot(space, want[i].last, want[i].r, want[i].last - want[i].base);
	}
	assert_spot(space, 0xfff, NULL, 0);
	assert_spot(space, 0x2000, NULL, 0);
	assert_true(space_read(space, 0x1204, 4, &v));
	assert_trace("young:r4@84 ");
	/* An access across a seam fits neither. */
	assert_true(space_write(space, 0x113e, 4, 0));
	assert_trace("");
	space_unmap(space, &mid);
	assert_spot(space, 0x1180, &young, 0);
	assert_spot(space, 0x1150, &back, 0x150);
}

static void the_top_of_the_address_space(void **state)
{
	struct space *s = space_new("all", UINT64_MAX, false);
	struct region r = region("r", 0x1000, &any_ops);
	uint64_t v;

	(void)state;
	assert_int_equal(space_map(s, &r, UINT64_MAX - 0x1000, 0), 0);
	assert_true(space_read(s, UINT64_MAX - 1, 1, &v));
	assert_false(space_read(s, UINT64_MAX, 1, &v));
	assert_true(space_read(s, UINT64_MAX - 4, 8, &v));
	assert_int_equal(counter_get(&r.refused), 1);
	space_free(s);
}

#define MODEL_SIZE    256
#define MODEL_REGIONS 12

static void random_maps_match_the_model(void **state)
{
	(void)state;
	srand(1);
	for (unsigned round = 0; round < 2000; round++) {
		struct space *s = space_new("model", MODEL_SIZE, true);
		struct region r[MODEL_REGIONS];
		int who[MODEL_SIZE], prio[MODEL_REGIONS];
		uint64_t base[MODEL_REGIONS];
		char name[MODEL_REGIONS][16];

		memset(who, -1, sizeof(who));
		for (int i = 0; i < MODEL_REGIONS; i++) {
			base[i] = (uint64_t)(rand() % MODEL_SIZE);
			prio[i] = rand() % 3;
			r[i] = region("x", 1 + (uint64_t)rand() % (MODEL_SIZE - base[i]), &any_ops);
			snprintf(name[i], sizeof(name[i]), "%d:", i);
			r[i].opaque = name[i];
			assert_int_equal(space_map(s, &r[i], base[i], prio[i]), 0);
		}
		for (int i = 0; i < MODEL_REGIONS; i += 4)
			space_unmap(s, &r[i]);
		for (int i = 0; i < MODEL_REGIONS; i++)
			for (uint64_t a = base[i]; i % 4 && a < base[i] + r[i].size; a++)
				if (who[a] < 0 || prio[i] > prio[who[a]])
					who[a] = i;
		for (uint64_t a = 0; a < MODEL_SIZE; a++)
			assert_spot(s, a, who[a] < 0 ? NULL : &r[who[a]], who[a] < 0 ? 0 : a - base[who[a]]);
		space_free(s);
	}
}

/* ---- doorbells ---- */

static bool bind_fails;

static int noted_bind(void *opaque, bool pio, uint64_t addr, const struct doorbell *b)
{
	assert_ptr_equal(opaque, &bind_fails);
	assert_false(pio);
	note("+%x/%d ", (unsigned)addr, b->fd);
	return bind_fails ? -ENOSPC : 0;
}

static void noted_unbind(void *opaque, bool pio, uint64_t addr, const struct doorbell *b)
{
	(void)opaque;
	(void)pio;
	note("-%x/%d ", (unsigned)addr, b->fd);
}

static const struct doorbell_ops bell_ops = { noted_bind, noted_unbind };

static void doorbells_follow_the_map(void **state)
{
	struct doorbell bells[] = { { .offset = 4, .width = 2, .fd = 1000 },
				    { .offset = 8, .width = 2, .fd = 1001 },
				    { .offset = 12, .width = 2, .fd = -1 },
				    { .offset = 0xff, .width = 2, .fd = 1003 } };
	struct region r = region("r", 0x100, &any_ops), cover = region("cover", 9, &any_ops);

	(void)state;
	bind_fails = false;
	r.bells = bells;
	r.n_bells = ARRAY_SIZE(bells);
	space_set_doorbell_ops(space, &bell_ops, &bind_fails);
	assert_int_equal(space_map(space, &r, 0x1000, 0), 0);
	assert_trace("+1004/1000 +1008/1001 ");
	/* A change of one leaves the other alone. */
	bells[0].fd = -1;
	bells[2].fd = 1002;
	space_doorbells_changed(space, &r);
	assert_trace("-1004/1000 +100c/1002 ");
	/* A covered doorbell is none, also if it is covered in part. */
	assert_int_equal(space_map(space, &cover, 0x1000, 1), 0);
	assert_trace("-1008/1001 ");
	space_unmap(space, &cover);
	assert_trace("+1008/1001 ");
	/* A move in one step. */
	space_begin(space);
	space_unmap(space, &r);
	assert_int_equal(space_map(space, &r, 0x2000, 0), 0);
	space_commit(space);
	assert_trace("-1008/1001 -100c/1002 +2008/1001 +200c/1002 ");
	/* What could not be bound is not unbound, but tried again. */
	bind_fails = true;
	bells[0].fd = 1000;
	space_doorbells_changed(space, &r);
	assert_trace("+2004/1000 ");
	bind_fails = false;
	space_doorbells_changed(space, &r);
	assert_trace("+2004/1000 ");
	space_set_doorbell_ops(space, NULL, NULL);
	assert_trace("-2004/1000 -2008/1001 -200c/1002 ");
	space_unmap(space, &r);
	assert_trace("");
}

static uint64_t rung(int fd)
{
	uint64_t v = 0;

	if (read(fd, &v, sizeof(v)) < 0)
		assert_int_equal(errno, EAGAIN);
	return v;
}

static void unbound_doorbells_are_rung_by_writes(void **state)
{
	struct doorbell bells[4];
	struct region r = region("r", 0x100, &any_ops);
	int fd[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		fd[i] = eventfd(0, EFD_NONBLOCK);
	bells[0] = (struct doorbell){ .offset = 0x10, .width = 2, .match = true, .value = 0, .fd = fd[0] };
	bells[1] = (struct doorbell){ .offset = 0x10, .width = 2, .match = true, .value = 1, .fd = fd[1] };
	bells[2] = (struct doorbell){ .offset = 0x20, .width = 4, .fd = fd[2] };
	bells[3] = (struct doorbell){ .offset = 0x30, .width = 0, .fd = fd[3] };
	r.bells = bells;
	r.n_bells = 4;
	assert_int_equal(space_map(space, &r, 0x1000, 0), 0);
	assert_true(space_write(space, 0x1010, 2, 1));
	assert_true(space_write(space, 0x1010, 2, 1));
	assert_true(space_write(space, 0x1010, 2, 0x10000));
	assert_true(space_write(space, 0x1020, 4, 77));
	assert_true(space_write(space, 0x1030, 1, 5));
	assert_true(space_write(space, 0x1030, 8, 5));
	assert_trace("");
	assert_int_equal(rung(fd[0]), 1);
	assert_int_equal(rung(fd[1]), 2);
	assert_int_equal(rung(fd[2]), 1);
	assert_int_equal(rung(fd[3]), 2);
	/* Another value, width or address goes to the handler. */
	assert_true(space_write(space, 0x1010, 2, 2));
	assert_true(space_write(space, 0x1020, 2, 77));
	assert_true(space_write(space, 0x1021, 4, 77));
	assert_trace("w2@10=2 w2@20=4d w4@21=4d ");
	space_unmap(space, &r);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rung(fd[i]), 0);
		close(fd[i]);
	}
}

/* ---- posted registers ---- */

static unsigned told;

static void tell(struct posted_register *r)
{
	told++;
	note("p@%x=%llx ", (unsigned)r->offset, (unsigned long long)atomic_load(&r->value));
}

static void posted_registers_call_no_handler(void **state)
{
	struct posted_register tails[] = { { .offset = 0x18, .width = 4, .posted = tell },
					   { .offset = 0x1c, .width = 4, .posted = tell } };
	struct region r = region("r", 0x100, &any_ops), above = region("above", 4, &any_ops);
	struct mutex control = MUTEX_INIT;
	uint64_t v;

	(void)state;
	r.policy = REGION_DEVICE;
	r.lock = &control;
	r.posted = tails;
	r.n_posted = 2;
	told = 0;
	assert_int_equal(space_map(space, &r, 0x1000, 0), 0);
	/* Somebody is in the device meanwhile: nobody waits for him. */
	mutex_lock(&control);
	assert_true(space_write(space, 0x1018, 4, 0x123456789));
	assert_true(space_write(space, 0x101c, 4, 7));
	assert_true(space_write(space, 0x1018, 4, 5));
	mutex_unlock(&control);
	assert_trace("p@18=23456789 p@1c=7 p@18=5 ");
	assert_int_equal(told, 3);
	assert_int_equal(tails[0].value, 5);
	/* What is read is the device's to say, and so is what a write of another width or address does. */
	assert_true(space_read(space, 0x1018, 4, &v));
	assert_true(space_write(space, 0x1018, 2, 9));
	assert_true(space_write(space, 0x1018, 8, 9));
	assert_true(space_write(space, 0x1019, 4, 9));
	assert_true(space_write(space, 0x1020, 4, 9));
	assert_trace("r4@18 w2@18=9 w8@18=9 w4@19=9 w4@20=9 ");
	assert_int_equal(told, 3);
	assert_int_equal(tails[0].value, 5);
	/* Hidden by another region, or moved: it goes with its own. */
	assert_int_equal(space_map(space, &above, 0x1018, 1), 0);
	assert_true(space_write(space, 0x1018, 4, 8));
	assert_trace("w4@0=8 ");
	space_unmap(space, &above);
	space_unmap(space, &r);
	assert_int_equal(space_map(space, &r, 0x2000, 0), 0);
	assert_false(space_write(space, 0x1018, 4, 8));
	assert_true(space_write(space, 0x2018, 4, 8));
	assert_trace("p@18=8 ");
	/* The rule of the region comes first. */
	r.ops = &byte_ops;
	assert_true(space_write(space, 0x2018, 4, 6));
	assert_trace("p@18=6 ");
	r.ops = &(struct region_ops){ noted_read, noted_write, 8, 8, false };
	assert_true(space_write(space, 0x2018, 4, 4));
	assert_trace("");
	assert_int_equal(counter_get(&r.refused), 1);
	mutex_destroy(&control);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(accesses_go_to_the_region),
		T(the_rule_is_kept),
		T(accesses_are_split_to_bytes),
		T(regions_without_handlers_are_silent),
		T(device_regions_are_locked),
		T(what_does_not_fit_is_refused),
		T(priority_then_age_decides),
		T(the_top_of_the_address_space),
		T(random_maps_match_the_model),
		T(doorbells_follow_the_map),
		T(unbound_doorbells_are_rung_by_writes),
		T(posted_registers_call_no_handler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
