/* SPDX-License-Identifier: BSD-2-Clause */
/* filter-buffer and filter-impair, by a clock that is stepped: when frames go on, which of them, and the accounts. */
#include "unit.h"

#include "ctl/types.h"
#include "filterbench.h"

static struct loop *loop;
static struct fake *nic, *back;
static struct filter *filter;
static uint64_t now;
static struct iovec arena[3 * NET_BATCH];
static struct batch batch;
static uint8_t frames[NET_BATCH][NET_FRAME_MAX];

static void with(const char *text)
{
	filter = new_filter(text);
	settle(loop);
}

static void without(void)
{
	creatable_del(&filter->base);
	filter = NULL;
}

static int setup(void **state)
{
	struct error err;

	(void)state;
	loop = loop_new("test", &err);
	make_wire(loop, &nic, &back);
	batch = (struct batch){ .iov = arena };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (filter)
		without();
	check_accounts();
	fake_free(nic);
	fake_free(back);
	loop_free(loop);
	return 0;
}

static void step(uint64_t ns)
{
	now += ns;
	vm_clock_step(now);
	settle(loop);
	check_accounts();
}

static unsigned give(struct fake *from, unsigned first, unsigned n, size_t len)
{
	unsigned sent;

	batch.n = 0;
	for (unsigned i = 0; i < n; i++) {
		make_plain(frames[i], len, first + i);
		memcpy(frames[i] + 14, &(uint32_t){ first + i }, 4);
		batch_add(&batch, frames[i], len, NULL);
	}
	sent = net_send(&from->c, &batch);
	net_count_tx_in(&from->c, sent);
	check_accounts();
	return sent;
}

static uint32_t number(const struct fake *f, unsigned i)
{
	uint32_t n;

	assert_true(i < f->n_got && f->got[i].len >= 18);
	memcpy(&n, f->got[i].bytes + 14, 4);
	return n;
}

static uint64_t held(enum filter_dir d)
{
	return counter_get(&filter_in(&filter->port[0], d)->rx.held);
}

static uint64_t dropped(enum filter_dir d, enum net_drop why)
{
	return counter_get(&filter_in(&filter->port[0], d)->rx.dropped[why]);
}

/* ---- filter-buffer ---- */

static void at_intervals(void **state)
{
	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000");
	step(300 * NSEC_PER_USEC);
	assert_int_equal(give(nic, 0, 3, 60), 3);
	assert_int_equal(give(back, 10, 2, 70), 2);
	assert_int_equal(back->n_got + nic->n_got, 0);
	assert_int_equal(held(FILTER_RX), 3);
	assert_int_equal(held(FILTER_TX), 2);
	step(500 * NSEC_PER_USEC);
	assert_int_equal(give(nic, 3, 1, 60), 1);
	step(199 * NSEC_PER_USEC);
	assert_int_equal(back->n_got, 0);
	step(1 * NSEC_PER_USEC);
	assert_int_equal(back->n_got, 4);
	assert_int_equal(nic->n_got, 2);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(number(back, i), i);
	/* A frame that comes on the border waits a whole interval. */
	assert_int_equal(give(nic, 4, 1, 60), 1);
	step(999 * NSEC_PER_USEC);
	assert_int_equal(back->n_got, 4);
	step(5000 * NSEC_PER_USEC);
	assert_int_equal(back->n_got, 5);
	assert_int_equal(held(FILTER_RX) + held(FILTER_TX), 0);
}

static void one_direction(void **state)
{
	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000,queue=tx");
	assert_int_equal(give(nic, 0, 3, 60), 3);
	assert_int_equal(back->n_got, 3);
	assert_int_equal(give(back, 0, 3, 60), 3);
	assert_int_equal(nic->n_got, 0);
	step(NSEC_PER_MSEC);
	assert_int_equal(nic->n_got, 3);
}

/* Full: the giver keeps its frames, and is woken. */
static void buffer_is_full(void **state)
{
	unsigned taken = 0, n;

	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000,limit=128K");
	while ((n = give(nic, taken, 64, 1500)) == 64)
		taken += n;
	taken += n;
	assert_in_range(taken, 70, 90);
	assert_int_equal(give(nic, taken, 64, 1500), 0);
	settle(loop);
	nic->wakes = 0;
	step(NSEC_PER_MSEC);
	assert_int_equal(back->n_got, taken);
	assert_int_equal(nic->wakes, 1);
	assert_int_equal(give(nic, taken, 10, 1500), 10);
	step(NSEC_PER_MSEC);
	for (unsigned i = 0; i < taken + 10; i++)
		assert_int_equal(number(back, i), i);
}

/* No room behind it: what is due waits, and goes when there is; nothing is tried over and over. */
static void no_room_behind(void **state)
{
	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000");
	fake_room(nic, 2);
	assert_int_equal(give(back, 0, 5, 60), 5);
	step(NSEC_PER_MSEC);
	assert_int_equal(nic->n_got, 2);
	assert_int_equal(give(back, 5, 5, 60), 5);
	step(300 * NSEC_PER_USEC);
	assert_int_equal(nic->n_got, 2);
	fake_room(nic, FAKE_ALL);
	settle(loop);
	assert_int_equal(nic->n_got, 5); /* the others are not due */
	step(700 * NSEC_PER_USEC);
	assert_int_equal(nic->n_got, 10);
}

static void offloads_pass_the_buffer(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000");
	batch.n = 0;
	len = make_tcp(frames[0], 0, 3000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	batch_add(&batch, frames[0], len, &m);
	assert_int_equal(net_send(&nic->c, &batch), 1);
	net_count_tx_in(&nic->c, 1);
	step(NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 1);
	assert_int_equal(back->got[0].len, 3054);
	assert_int_equal(back->got[0].meta.gso, NET_GSO_TCP4);
	/* What it holds is cut when the taker has changed its mind meanwhile. */
	assert_int_equal(net_send(&nic->c, &batch), 1);
	net_count_tx_in(&nic->c, 1);
	net_takes_changed(&back->c, 0);
	step(NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 4);
}

static void leaves_with_frames(void **state)
{
	struct error err;

	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000000");
	assert_int_equal(give(nic, 0, 5, 60), 5);
	assert_int_equal(give(back, 0, 3, 60), 3);
	assert_int_equal(filter_set_status(filter, false, &err), 0);
	assert_int_equal(back->n_got, 5); /* they go on */
	assert_int_equal(nic->n_got, 3);
	assert_int_equal(filter_set_status(filter, true, &err), 0);
	fake_room(back, 2);
	assert_int_equal(give(nic, 0, 5, 60), 5);
	assert_int_equal(filter_set_status(filter, false, &err), 0);
	assert_int_equal(back->n_got, 7);
	assert_int_equal(dropped(FILTER_RX, NET_DROP_STOPPED), 3);
	assert_int_equal(held(FILTER_RX), 0);
	check_accounts();
	fake_room(back, FAKE_ALL);
	assert_int_equal(filter_set_status(filter, true, &err), 0);
	assert_int_equal(give(nic, 0, 5, 60), 5);
	without();
	assert_int_equal(back->n_got, 12);
	assert_ptr_equal(nic->c.peer, &back->c);
}

static void link_goes_down(void **state)
{
	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000");
	assert_int_equal(give(nic, 0, 5, 60), 5);
	net_set_link(&back->c, false);
	step(NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 0);
	assert_int_equal(counter_get(&filter_out(&filter->port[0], FILTER_RX)->tx.dropped[NET_DROP_LINK_DOWN]), 5);
	net_set_link(&back->c, true);
	assert_int_equal(give(nic, 0, 5, 60), 5);
	step(NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 5);
}

/* Stopped with frames in hand: they stay, and go when it runs again. */
static void stopped_and_started(void **state)
{
	(void)state;
	with("filter-buffer,id=f,netdev=net0,interval=1000");
	assert_int_equal(give(nic, 0, 5, 60), 5);
	net_quiesce(&nic->c);
	step(5 * NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 0);
	assert_int_equal(held(FILTER_RX), 5);
	net_start(&nic->c);
	settle(loop);
	assert_int_equal(back->n_got, 5);
}

/* ---- filter-impair ---- */

static void delays(void **state)
{
	(void)state;
	with("filter-impair,id=f,netdev=net0,delay=20ms,seed=1");
	assert_int_equal(give(nic, 0, 2, 60), 2);
	step(5 * NSEC_PER_MSEC);
	assert_int_equal(give(nic, 2, 2, 60), 2);
	assert_int_equal(give(back, 0, 1, 60), 1);
	step(15 * NSEC_PER_MSEC - 1);
	assert_int_equal(back->n_got, 0);
	step(1);
	assert_int_equal(back->n_got, 2);
	assert_int_equal(nic->n_got, 0);
	step(5 * NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 4);
	assert_int_equal(nic->n_got, 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(number(back, i), i);
}

static void jitters(void **state)
{
	unsigned early = 0, late = 0, before;

	(void)state;
	with("filter-impair,id=f,netdev=net0,delay=10ms,jitter=4ms,seed=5");
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(give(nic, i, 1, 60), 1);
		step(6 * NSEC_PER_MSEC - 1);
		assert_int_equal(back->n_got, i);
		before = back->n_got;
		step(4 * NSEC_PER_MSEC);
		early += back->n_got - before;
		before = back->n_got;
		step(4 * NSEC_PER_MSEC + 1);
		late += back->n_got - before;
		assert_int_equal(back->n_got, i + 1);
	}
	assert_in_range(early, 70, 130);
	assert_int_equal(early + late, 200);
	/* Frames that come together keep their order. */
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(give(nic, 200 + 50 * i, 50, 60), 50);
	step(20 * NSEC_PER_MSEC);
	for (unsigned i = 0; i < 700; i++)
		assert_int_equal(number(back, i), i);
}

/* Which of 1000 frames came, as a mask; what came twice in *twice. */
static void which(const struct fake *f, uint8_t came[1000], unsigned *twice)
{
	memset(came, 0, 1000);
	*twice = 0;
	for (unsigned i = 0; i < f->n_got; i++) {
		uint32_t n = number(f, i);

		assert_true(n < 1000);
		*twice += came[n];
		came[n] = 1;
	}
}

static void thousand(struct fake *from)
{
	for (unsigned i = 0; i < 1000; i += 50)
		assert_int_equal(give(from, i, 50, 100), 50);
}

static void loses_the_same(void **state)
{
	static uint8_t a[1000], b[1000], other_way[1000], other_seed[1000];
	unsigned twice, n;

	(void)state;
	with("filter-impair,id=f,netdev=net0,loss=10,duplicate=5%,seed=1234");
	thousand(nic);
	thousand(back);
	which(back, a, &twice);
	which(nic, other_way, &n);
	assert_in_range(dropped(FILTER_RX, NET_DROP_IMPAIRED), 60, 140);
	assert_in_range(twice, 20, 75);
	assert_int_equal(back->n_got, 1000 + twice - dropped(FILTER_RX, NET_DROP_IMPAIRED));
	assert_int_equal(counter_get(&filter_in(&filter->port[0], FILTER_RX)->rx.made), twice);
	assert_memory_not_equal(a, other_way, sizeof(a)); /* each direction has chances of its own */
	without();
	fake_forget(back);
	with("filter-impair,id=f,netdev=net0,loss=10,duplicate=5,seed=1234");
	thousand(nic);
	which(back, b, &n);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(n, twice);
	without();
	fake_forget(back);
	with("filter-impair,id=f,netdev=net0,loss=10,duplicate=5,seed=1235");
	thousand(nic);
	which(back, other_seed, &n);
	assert_memory_not_equal(a, other_seed, sizeof(a));
	without();
	/* What else is asked for changes no frame's lot. */
	fake_forget(back);
	with("filter-impair,id=f,netdev=net0,loss=10,delay=1ms,jitter=1ms,corrupt=30,seed=1234");
	thousand(nic);
	step(10 * NSEC_PER_MSEC);
	memset(b, 0, sizeof(b));
	for (unsigned i = 0, k = 0; i < 1000; i++) {
		if (!a[i])
			continue;
		b[i] = 1;
		assert_true(k < back->n_got && back->got[k].len == 100);
		k++;
	}
	assert_memory_equal(a, b, sizeof(a));
	n = 0;
	for (unsigned i = 0; i < 1000; i++)
		n += a[i];
	assert_int_equal(back->n_got, n);
}

static void all_and_none(void **state)
{
	(void)state;
	with("filter-impair,id=f,netdev=net0,loss=100%,seed=1");
	thousand(nic);
	assert_int_equal(back->n_got, 0);
	assert_int_equal(dropped(FILTER_RX, NET_DROP_IMPAIRED), 1000);
	without();
	with("filter-impair,id=f,netdev=net0,duplicate=100,seed=1");
	thousand(nic);
	assert_int_equal(back->n_got, 2000);
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(number(back, i), i / 2);
	without();
	fake_forget(back);
	with("filter-impair,id=f,netdev=net0"); /* a seed of its own */
	thousand(nic);
	assert_int_equal(back->n_got, 1000);
}

static void corrupts_one_bit(void **state)
{
	unsigned changed = 0;

	(void)state;
	with("filter-impair,id=f,netdev=net0,corrupt=50,seed=77");
	for (unsigned i = 0; i < 200; i++) {
		unsigned bits = 0;

		make_plain(frames[0], 300, i);
		batch.n = 0;
		batch_add(&batch, frames[0], 300, &(struct frame_meta){ .data_valid = true });
		assert_int_equal(net_send(&nic->c, &batch), 1);
		net_count_tx_in(&nic->c, 1);
		assert_int_equal(back->n_got, i + 1);
		assert_int_equal(back->got[i].len, 300);
		for (unsigned k = 0; k < 300; k++)
			bits += (unsigned)__builtin_popcount(back->got[i].bytes[k] ^ frames[0][k]);
		assert_true(bits <= 1);
		assert_int_equal(back->got[i].meta.data_valid, !bits);
		changed += bits;
		make_plain(frames[1], 300, i);
		assert_memory_equal(frames[0], frames[1], 300); /* the giver's own bytes stay */
	}
	assert_in_range(changed, 70, 130);
}

static void reorders(void **state)
{
	unsigned overtaken = 0;
	uint8_t came[1000];
	unsigned twice;

	(void)state;
	with("filter-impair,id=f,netdev=net0,delay=10ms,reorder=20,seed=3,limit=1M");
	thousand(nic);
	assert_in_range(back->n_got, 140, 260);
	overtaken = back->n_got;
	step(10 * NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 1000);
	which(back, came, &twice);
	assert_int_equal(twice, 0);
	for (unsigned i = 1; i < 1000; i++) {
		if (i != overtaken)
			assert_true(number(back, i) > number(back, i - 1));
	}
	/* Without room behind nothing is lost by it. */
	fake_room(back, 0);
	fake_forget(back);
	thousand(nic);
	step(10 * NSEC_PER_MSEC);
	fake_room(back, FAKE_ALL);
	settle(loop);
	assert_int_equal(back->n_got, 1000);
}

static void limits_the_rate(void **state)
{
	(void)state;
	with("filter-impair,id=f,netdev=net0,rate=8M,burst=0,seed=1"); /* a byte in a microsecond */
	assert_int_equal(give(nic, 0, 10, 1000), 10);
	assert_int_equal(back->n_got, 1);
	for (unsigned i = 1; i < 10; i++) {
		step(NSEC_PER_MSEC - 1);
		assert_int_equal(back->n_got, i);
		step(1);
		assert_int_equal(back->n_got, i + 1);
	}
	without();
	step(NSEC_PER_SEC);
	fake_forget(back);
	with("filter-impair,id=f,netdev=net0,rate=8M,burst=5000,seed=1");
	assert_int_equal(give(nic, 0, 10, 1000), 10);
	assert_int_equal(back->n_got, 6); /* what is under way, and five in advance */
	step(NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 7);
	step(10 * NSEC_PER_MSEC);
	assert_int_equal(back->n_got, 10);
	/* Over a second it is the rate, whatever the burst. */
	fake_forget(back);
	for (unsigned ms = 0; ms < 1000; ms++) {
		assert_int_equal(give(nic, 0, 2, 1000), 2);
		step(NSEC_PER_MSEC);
	}
	assert_in_range(back->n_got, 990, 1010);
	assert_true(dropped(FILTER_RX, NET_DROP_QUEUE_FULL) == 0 || held(FILTER_RX) > 0);
}

/* Its memory is bounded, and what does not fit has a reason; the giver never waits. */
static void memory_is_bounded(void **state)
{
	(void)state;
	with("filter-impair,id=f,netdev=net0,delay=1s,limit=128K,seed=1");
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(give(nic, i * 20, 20, 1000), 20);
	assert_in_range(held(FILTER_RX), 100, 131);
	assert_int_equal(held(FILTER_RX) + dropped(FILTER_RX, NET_DROP_QUEUE_FULL), 1000);
	step(NSEC_PER_SEC);
	assert_int_equal(held(FILTER_RX), 0);
	assert_int_equal(back->n_got, 1000 - dropped(FILTER_RX, NET_DROP_QUEUE_FULL));
	for (unsigned i = 0; i < back->n_got; i++)
		assert_int_equal(number(back, i), i);
	/* Small ones are bounded by their number. */
	fake_forget(back);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(give(nic, 0, 64, 18), 64);
	assert_true(held(FILTER_RX) <= 2048);
	step(NSEC_PER_SEC);
	assert_int_equal(held(FILTER_RX), 0);
}

/* Each segment has its own fate: nothing that is still to be cut or checksummed goes in. */
static void no_offloads(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	with("filter-impair,id=f,netdev=net0,seed=1");
	assert_int_equal(back->c.gives, 0);
	assert_int_equal(nic->c.peer->takes, 0);
	batch.n = 0;
	len = make_tcp(frames[0], 0, 3000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	batch_add(&batch, frames[0], len, &m);
	assert_int_equal(net_send(&nic->c, &batch), 1);
	net_count_tx_in(&nic->c, 1);
	assert_int_equal(counter_get(&filter_in(&filter->port[0], FILTER_RX)->rx.in), 3);
	assert_int_equal(back->n_got, 3);
	assert_int_equal(frame_needs(&back->got[0].meta), 0);
	check_accounts();
	without();
	assert_int_equal(back->c.gives, NET_OFF_ALL);
}

static void refused(void **state)
{
	static const char *const rows[][2] = {
		{ "filter-buffer,id=f,netdev=net0", "interval=<us> is missing" },
		{ "filter-buffer,id=f,netdev=net0,interval=0", "interval=0: must be between 1 and" },
		{ "filter-buffer,id=f,netdev=net0,interval=1,limit=1K", "limit=1K: must be between 128K and 1G" },
		{ "filter-impair,id=f,netdev=net0,delay=soon", "delay=soon: expected a time" },
		{ "filter-impair,id=f,netdev=net0,delay=-1", "delay=-1: expected a time" },
		{ "filter-impair,id=f,netdev=net0,delay=2h", "delay=2h: expected a time" },
		{ "filter-impair,id=f,netdev=net0,delay=3601s", "delay=3601s: expected a time up to an hour" },
		{ "filter-impair,id=f,netdev=net0,delay=1.ms", "delay=1.ms: expected a time" },
		{ "filter-impair,id=f,netdev=net0,delay=99999999999999999999", "expected a time" },
		{ "filter-impair,id=f,netdev=net0,delay=1ms,jitter=2ms", "jitter= is more than delay=" },
		{ "filter-impair,id=f,netdev=net0,loss=101", "loss=101: expected a part of all frames in percent" },
		{ "filter-impair,id=f,netdev=net0,loss=1/2", "loss=1/2: expected" },
		{ "filter-impair,id=f,netdev=net0,reorder=1", "reorder= needs delay=" },
		{ "filter-impair,id=f,netdev=net0,rate=0", "rate=0: expected bits in a second" },
		{ "filter-impair,id=f,netdev=net0,rate=2T", "rate=2T: expected bits in a second" },
		{ "filter-impair,id=f,netdev=net0,seed=x", "seed=x: expected a number" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = { "" };

		assert_null(try_filter(rows[i][0], &err));
		if (!strstr(err.msg, rows[i][1]))
			print_error("%s: %s\n", rows[i][0], err.msg);
		assert_non_null(strstr(err.msg, rows[i][1]));
		assert_ptr_equal(nic->c.peer, &back->c);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(at_intervals),
		TEST(one_direction),
		TEST(buffer_is_full),
		TEST(no_room_behind),
		TEST(offloads_pass_the_buffer),
		TEST(leaves_with_frames),
		TEST(link_goes_down),
		TEST(stopped_and_started),
		TEST(delays),
		TEST(jitters),
		TEST(loses_the_same),
		TEST(all_and_none),
		TEST(corrupts_one_bit),
		TEST(reorders),
		TEST(limits_the_rate),
		TEST(memory_is_bounded),
		TEST(no_offloads),
		TEST(refused),
	};
	struct error err;

	vm_clock_manual();
	if (types_init(all_types, &err))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
