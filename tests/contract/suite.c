/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract of net clients, as tests that a wire with any backend has to pass. */
#include "../unit/unit.h"

#include "suite.h"

static const struct row *row;
static struct bench bench, *const b = &bench;

static int setup(void **state)
{
	(void)state;
	if (row->before)
		row->before();
	b->make = row->make;
	b->unmake = row->unmake;
	b->turn = row->turn;
	b->object = row->object;
	b->prepare = row->prepare;
	bench_open(b, row->netdev, row->after);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_close(b);
	if (row->end)
		row->end();
	return 0;
}

static int teardown_nic_first(void **state)
{
	(void)state;
	bench_close_nic_first(b);
	if (row->end)
		row->end();
	return 0;
}

/* ---- the contract ---- */

static void batches(void **state)
{
	static const unsigned sizes[] = { 1, 2, 17, 64 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_true(pings_work(b, i * 100, MIN(sizes[i], (unsigned)row->waiting), 64));
	assert_true(pings_work(b, 1000, 4, row->largest_ping));
	assert_true(pings_work(b, 2000, 1, 0));
	assert_true(counter_get(&b->nic->c.tx.bytes) > 0);
}

static bool got_at_least(struct bench *bb, unsigned n)
{
	return bb->nic->n_got >= n;
}

static bool all_here(struct bench *bb, unsigned seq)
{
	return count_pongs(bb, seq, (unsigned)row->waiting, 64) == row->waiting;
}

/* The NIC has room for some frames, then for none, then again: what waited comes, nothing is lost. */
static void no_room_then_wake(void **state)
{
	unsigned n = (unsigned)row->waiting;

	(void)state;
	fake_room(b->nic, 5);
	assert_int_equal(send_pings(b, 1, n, 64), n);
	assert_true(until(b, got_at_least, 5));
	idle(b, 50);
	assert_int_equal(b->nic->n_got, 5);
	check_accounts(b);
	fake_room(b->nic, FAKE_ALL);
	assert_true(until(b, all_here, 1));
}

static bool four_here(struct bench *bb, unsigned seq)
{
	return count_pongs(bb, seq, 4, 64) == 4;
}

/* While there is no room nothing is tried over and over. */
static void no_spinning(void **state)
{
	(void)state;
	fake_room(b->nic, 0);
	assert_int_equal(send_pings(b, 1, 4, 64), 4);
	idle(b, 50);
	assert_true(becomes_quiet(b));
	fake_room(b->nic, FAKE_ALL);
	assert_true(until(b, four_here, 1));
}

/* The NIC refuses frames in the middle of a batch: they are counted, the others arrive. */
static bool refused_some(struct bench *bb, unsigned n)
{
	return counter_get(&bb->nic->c.rx.dropped[NET_DROP_FILTER_MAC]) >= n;
}

static void refused_in_mid_batch(void **state)
{
	(void)state;
	b->nic->refuse = NET_DROP_FILTER_MAC;
	assert_int_equal(send_pings(b, 1, 8, 64), 8);
	assert_true(until(b, refused_some, 8));
	b->nic->refuse = NET_OK;
	assert_true(pings_work(b, 100, 8, 64));
	check_accounts(b);
}

static void quiesced_in_mid_batch(void **state)
{
	unsigned n = (unsigned)row->waiting;

	(void)state;
	fake_room(b->nic, 3);
	assert_int_equal(send_pings(b, 1, n, 64), n);
	assert_true(until(b, got_at_least, 3));
	net_quiesce(b->back);
	check_accounts(b);
	fake_room(b->nic, FAKE_ALL);
	idle(b, 50);
	assert_int_equal(b->nic->n_got, 3);
	assert_int_equal(send_pings(b, 500, 1, 64), 0); /* not now, and it is not lost */
	net_start(b->back);
	assert_true(until(b, all_here, 1));
}

static void offloads_changed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		uint32_t takes = i % 4 == 0 ? NET_OFF_ALL : i % 4 == 1 ? 0 : i % 4 == 2 ? NET_OFF_CSUM : NET_OFF_TSO4;

		fake_room(b->nic, 0);
		assert_int_equal(send_pings(b, i * 10, 4, 64), 4);
		idle(b, 2);
		net_takes_changed(&b->nic->c, takes);
		fake_room(b->nic, FAKE_ALL);
		assert_true(pings_come(b, 5000 + i * 10, 4, row->largest_ping));
		for (unsigned k = 0; k < b->nic->n_got; k++)
			assert_int_equal(frame_needs(&b->nic->got[k].meta) & ~takes, 0);
		fake_forget(b->nic);
		check_accounts(b);
	}
}

static void odd_lengths(void **state)
{
	static const size_t lens[] = { 0, 1, 13, 14, 15, 1519, 9019, 65535, NET_FRAME_MAX, NET_FRAME_MAX + 1 };
	static uint8_t p[NET_FRAME_MAX + 1];
	struct iovec arena[3 * NET_BATCH];
	unsigned too_big = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		struct batch batch = { .iov = arena };

		too_big += lens[i] > b->back->max_frame;
		make_plain(p, lens[i], i);
		batch_add(&batch, p, lens[i], NULL);
		b->nic->woken_for = 0;
		while (net_send(&b->nic->c, &batch) == 0) {
			assert_true(until(b, has_room, 0));
			b->nic->woken_for = 0;
		}
		net_count_tx_in(&b->nic->c, 1);
		idle(b, 2);
		check_accounts(b);
	}
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_TOO_SHORT]), 3);
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_TOO_BIG]), too_big);
	assert_true(pings_work(b, 1, 4, 64));
}

/* A frame of very many pieces, of empty ones among them. */
static void many_pieces(void **state)
{
	static uint8_t p[2000];
	static struct iovec arena[NET_IOV_MAX + 1];
	size_t len = make_ping(b, p, 1, 900);

	(void)state;
	for (unsigned cnt = 943; cnt <= NET_IOV_MAX; cnt += NET_IOV_MAX - 943) {
		struct batch batch = { .iov = arena, .n = 1 };

		len = make_ping(b, p, cnt, 900);
		for (unsigned i = 0; i < cnt; i++)
			arena[1 + i] = (struct iovec){ p + MIN((size_t)i, len), i < len ? 1 : 0 };
		batch.frame[0] = (struct frame){ .iov = 1, .cnt = cnt, .len = (uint32_t)len };
		assert_int_equal(net_send(&b->nic->c, &batch), 1);
		net_count_tx_in(&b->nic->c, 1);
		assert_true(until(b, got_at_least, 1));
		assert_int_equal(count_pongs(b, cnt, 1, 900), 1);
		fake_forget(b->nic);
	}
}

/* A NIC whose windows are smaller than the frames, but grow. */
static void small_windows(void **state)
{
	unsigned n = MIN(16U, (unsigned)row->waiting);

	(void)state;
	b->nic->window = 100;
	assert_true(pings_work(b, 1, n, row->largest_ping));
	b->nic->window = 0;
	assert_true(pings_work(b, 100, n, row->largest_ping));
}

static void link_down_and_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct net_client *which = i & 1 ? b->back : &b->nic->c;

		fake_room(b->nic, 2);
		assert_int_equal(send_pings(b, i * 100, 10, 64), 10);
		assert_true(until(b, got_at_least, 2));
		net_set_link(which, false);
		idle(b, 20);
		assert_int_equal(b->nic->n_got, 2);
		assert_int_equal(send_pings(b, i * 100, 10, 64), 10);
		idle(b, 20);
		fake_room(b->nic, FAKE_ALL);
		net_set_link(which, true);
		idle(b, 20);
		fake_forget(b->nic);
		assert_true(pings_work(b, 1000 + i * 100, 10, 64));
		check_accounts(b);
	}
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_LINK_DOWN]), 40);
}

/* Traffic in flight when it goes: bench_close() looks for what is left. */
static void removed_under_traffic(void **state)
{
	(void)state;
	fake_room(b->nic, 1);
	assert_int_equal(send_pings(b, 1, 10, 64), 10);
	idle(b, 5);
}

/* Answers come, and wait: bench_close_nic_first() takes away whom they are for, and lets the backend go on. */
static void nic_removed_under_traffic(void **state)
{
	(void)state;
	fake_room(b->nic, 1);
	assert_int_equal(send_pings(b, 1, 10, 64), 10);
	assert_true(until(b, got_at_least, 1));
	fake_room(b->nic, FAKE_ALL);
	send_pings(b, 20, 10, 64); /* as many as there is room for */
}

/* ---- all of them ---- */

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int suite_run(const struct row *r)
{
	const struct CMUnitTest tests[] = {
		TEST(batches),
		TEST(no_room_then_wake),
		TEST(no_spinning),
		TEST(refused_in_mid_batch),
		TEST(quiesced_in_mid_batch),
		TEST(offloads_changed),
		TEST(odd_lengths),
		TEST(many_pieces),
		TEST(small_windows),
		TEST(link_down_and_up),
		TEST(removed_under_traffic),
		cmocka_unit_test_setup_teardown(nic_removed_under_traffic, setup, teardown_nic_first),
	};

	row = r;
	return cmocka_run_group_tests_name(r->netdev ?: r->type, tests, NULL, NULL);
}
