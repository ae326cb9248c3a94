/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame rings between vwire and vwire-user: order, wrap-around, wakes, and what a hostile other side may do. */
#include <sys/mman.h>
#include <unistd.h>

#include "ring_frames.h"

#define SIZE (256 * 1024U)

struct pair {
	struct ring_ctl *ctl;
	uint8_t *data[2]; /* two views, as two processes have */
	struct ring p, c;
};

static struct pair make(void)
{
	struct pair r;
	int fd = memfd_create("ring", 0);

	assert_int_equal(ftruncate(fd, 4096 + SIZE), 0);
	r.ctl = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (unsigned i = 0; i < 2; i++) {
		r.data[i] = ring_map(fd, 4096, SIZE);
		assert_non_null(r.data[i]);
	}
	close(fd);
	ring_init(&r.p, r.ctl, r.data[0], SIZE);
	ring_init(&r.c, r.ctl, r.data[1], SIZE);
	return r;
}

static void unmake(struct pair *r)
{
	munmap(r->ctl, 4096);
	ring_unmap(r->data[0], SIZE);
	ring_unmap(r->data[1], SIZE);
}

static uint32_t len_of(uint32_t n)
{
	return RING_FRAME_MIN + n * 7919 % (RING_FRAME_MAX - RING_FRAME_MIN + 1);
}

static bool put(struct ring *r, uint32_t n)
{
	return put_numbered(r, n, len_of(n));
}

/* More than 2^32 bytes go through, so that the indices wrap as well. */
static void test_order_and_wrap(void **state)
{
	struct pair r = make();
	uint32_t sent = 0, got = 0;
	uint64_t bytes = 0;
	struct ring_frame f;

	(void)state;
	while (bytes < (1ULL << 32) + SIZE) {
		while (put(&r.p, sent)) {
			bytes += len_of(sent);
			sent++;
		}
		assert_false(ring_publish(&r.p));
		while (ring_peek(&r.c, &f) == RING_FRAME) {
			check_numbered(&f, got, len_of(got));
			got++;
			ring_pop(&r.c, &f);
		}
		assert_int_equal(got, sent);
		assert_false(ring_release(&r.c));
	}
	unmake(&r);
}

static void test_nothing_before_publish(void **state)
{
	struct pair r = make();
	struct ring_frame f;

	(void)state;
	assert_true(put(&r.p, 1));
	assert_int_equal(ring_peek(&r.c, &f), RING_EMPTY);
	assert_false(ring_publish(&r.p));
	assert_int_equal(ring_peek(&r.c, &f), RING_FRAME);
	assert_int_equal(ring_peek(&r.c, &f), RING_FRAME); /* stays until popped */
	assert_int_equal(ring_room(&r.p), SIZE - ALIGN_UP(16 + len_of(1), 16));
	ring_pop(&r.c, &f);
	assert_true(ring_room(&r.p) < SIZE); /* not given back yet */
	assert_false(ring_release(&r.c));
	assert_int_equal(ring_room(&r.p), SIZE);
	unmake(&r);
}

static void test_wake_for_data(void **state)
{
	struct pair r = make();
	struct ring_frame f;

	(void)state;
	assert_true(ring_ask_data(&r.c));
	assert_true(put(&r.p, 1));
	assert_true(ring_publish(&r.p)); /* asleep: wake */
	assert_true(put(&r.p, 2));
	assert_false(ring_publish(&r.p));  /* once */
	assert_false(ring_ask_data(&r.c)); /* there is something */
	assert_int_equal(ring_peek(&r.c, &f), RING_FRAME);
	ring_pop(&r.c, &f);
	assert_int_equal(ring_peek(&r.c, &f), RING_FRAME);
	ring_pop(&r.c, &f);
	assert_true(ring_ask_data(&r.c));
	ring_awake(&r.c);
	assert_true(put(&r.p, 3));
	assert_false(ring_publish(&r.p)); /* awake by itself */
	unmake(&r);
}

static void test_wake_for_room(void **state)
{
	struct pair r = make();
	struct ring_frame f;
	uint32_t n = 0;
	bool woken = false;

	(void)state;
	assert_false(ring_ask_room(&r.p)); /* there is room */
	while (put(&r.p, 8))
		n++;
	assert_false(ring_publish(&r.p));
	assert_true(ring_ask_room(&r.p));
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(ring_peek(&r.c, &f), RING_FRAME);
		ring_pop(&r.c, &f);
		if (ring_release(&r.c)) {
			assert_false(woken);
			assert_true(ring_room(&r.p) >= SIZE / 2);
			woken = true;
		}
	}
	assert_true(woken);
	unmake(&r);
}

/* ---- the other side lies ---- */

static void expect_consumer_breaks(uint32_t head)
{
	struct pair r = make();
	struct ring_frame f;

	assert_true(put(&r.p, 1));
	assert_false(ring_publish(&r.p));
	assert_int_equal(ring_peek(&r.c, &f), RING_FRAME);
	ring_pop(&r.c, &f);
	atomic_store(&r.ctl->head, head);
	assert_int_equal(ring_peek(&r.c, &f), RING_BROKEN);
	assert_int_equal(ring_peek(&r.c, &f), RING_BROKEN);
	assert_true(r.c.broken);
	unmake(&r);
}

static void test_hostile_head(void **state)
{
	uint32_t pos = ALIGN_UP(16 + len_of(1), 16);

	(void)state;
	expect_consumer_breaks(pos - 16);	 /* backwards */
	expect_consumer_breaks(pos + SIZE + 16); /* more than there can be */
	expect_consumer_breaks(pos + 1);	 /* unaligned */
	expect_consumer_breaks(pos + 0x80000000U);
	expect_consumer_breaks(UINT32_MAX);
}

static void test_hostile_tail(void **state)
{
	static const uint32_t tails[] = { 16 * 1000 * 1000, 8, 0xfffffff0U, 0x80000000U, 32 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(tails); i++) {
		struct pair r = make();
		struct virtio_net_hdr h = { 0 };

		assert_non_null(ring_reserve(&r.p, RING_FRAME_MIN));
		ring_push(&r.p, 16, &h);
		atomic_store(&r.ctl->tail, 16);
		assert_int_equal(ring_room(&r.p), SIZE - 16);
		atomic_store(&r.ctl->tail, tails[i] == 32 ? 0 : tails[i]); /* the last: backwards */
		assert_int_equal(ring_room(&r.p), 0);
		assert_true(r.p.broken);
		assert_null(ring_reserve(&r.p, 100));
		assert_true(ring_ask_room(&r.p)); /* no room, for ever: it does not spin */
		unmake(&r);
	}
}

static void test_hostile_length(void **state)
{
	static const uint32_t lens[] = {
		0, 1, 13, 200, RING_FRAME_MAX + 1, 0x7fffffff, 0x80000000, UINT32_MAX, UINT32_MAX - 15
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		struct pair r = make();
		struct virtio_net_hdr h = { 0 };
		struct ring_frame f;

		assert_non_null(ring_reserve(&r.p, 100));
		ring_push(&r.p, 100, &h);
		*(uint32_t *)r.data[0] = lens[i];
		assert_false(ring_publish(&r.p));
		assert_int_equal(ring_peek(&r.c, &f), RING_BROKEN);
		unmake(&r);
	}
}

static void test_too_long(void **state)
{
	struct pair r = make();

	(void)state;
	assert_null(ring_reserve(&r.p, RING_FRAME_MAX + 1));
	assert_null(ring_reserve(&r.p, UINT32_MAX));
	assert_false(r.p.broken);
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_wrap), cmocka_unit_test(test_nothing_before_publish),
		cmocka_unit_test(test_wake_for_data),  cmocka_unit_test(test_wake_for_room),
		cmocka_unit_test(test_hostile_head),   cmocka_unit_test(test_hostile_tail),
		cmocka_unit_test(test_hostile_length), cmocka_unit_test(test_too_long),

	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
