/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Queues that are polled: when the driver is asked for kicks and when it is not, that nothing is lost either way, and
 * that nobody looks at a ring that does not run. The loop's turns are made by the test, which says when it would sleep;
 * the last test has a thread.
 */
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest.h"
#include "loop/priv.h"

static struct bench b;
static uint8_t frame[100];

static void open_polled(void)
{
	bench_open(&b, (const char *const[]){ "poll-us=50", NULL });
	poll_allow(&b.loop->poll);
	driver_up(&b, ALL_FEATURES);
	assert_true(poller_added(&b.n->pair[0].poll.poller));
	assert_int_equal(b.loop->poll.window.limit, 50 * NSEC_PER_USEC);
	b.loop->poll.window.width = 50 * NSEC_PER_USEC;
	make_frame(frame, sizeof(frame), 3);
}

/* The loop has had nothing to do for as long as it polls. True: it would sleep now. */
static bool sleeps(void)
{
	uint64_t width = b.loop->poll.window.width;
	bool over;

	b.loop->poll.window.width = 0;
	over = poll_over(b.loop);
	b.loop->poll.window.width = width;
	return over;
}

static bool post_frame(void)
{
	post_tx(&b, NULL, frame, sizeof(frame), NULL);
	return kick_if_due(&b.q[TXQ]);
}

static void reap_all(unsigned queue)
{
	while (reap(&b.q[queue], NULL, NULL))
		;
}

static void test_no_kicks_while_it_polls(void **state)
{
	unsigned kicks = 0;

	(void)state;
	open_polled();
	post_frame(); /* nobody has asked for anything, or revoked what a ring of zeros asks for */
	settle(&b);
	for (unsigned i = 1; i < 2000; i++) {
		for (unsigned n = 1 + rnd(3); n; n--)
			kicks += post_frame();
		settle(&b);
		assert_int_equal(b.n_sunk, b.q[TXQ].posted);
		reap_all(TXQ);
	}
	assert_int_equal(kicks, 0);
	bench_close(&b);
}

static void test_kicks_before_it_sleeps(void **state)
{
	(void)state;
	open_polled();
	for (unsigned i = 0; i < 300; i++) {
		assert_true(sleeps());
		assert_true(sleeps()); /* woken for nothing; the kick that was asked for stands */
		assert_true(post_frame());
		settle(&b);
		assert_false(post_frame());
		/* It came before the driver was asked. */
		assert_false(sleeps());
		settle(&b);
		assert_int_equal(b.n_sunk, 2 * (i + 1));
		reap_all(TXQ);
	}
	bench_close(&b);
}

/* Woken by something else: a loop that will poll revokes the kick, one that will not leaves it. */
static void test_kick_revoked(void **state)
{
	(void)state;
	open_polled();
	for (unsigned i = 0; i < 300; i++) {
		bool polls = rnd(2);

		assert_true(sleeps());
		b.loop->poll.window.width = polls ? 1000 : 0;
		settle(&b);
		assert_int_equal(post_frame(), !polls);
		settle(&b);
		assert_int_equal(b.n_sunk, i + 1);
		reap_all(TXQ);
	}
	bench_close(&b);
}

/* The wire has no room: there is no use in looking, nor in kicks. */
static void test_no_room(void **state)
{
	(void)state;
	open_polled();
	b.hold_all = true;
	post_frame();
	settle(&b);
	assert_int_equal(counter_get(&b.nic->tx.held), 1);
	assert_true(sleeps());
	assert_false(post_frame());
	settle(&b);
	b.hold_all = false;
	net_wake_peer(&b.wire, NET_WAKE_ROOM);
	settle(&b);
	assert_int_equal(b.n_sunk, 2);
	assert_true(sleeps());
	assert_true(post_frame());
	settle(&b);
	expect_healthy(&b);
	bench_close(&b);
}

/* The peer waits for receive buffers. */
static void test_starved(void **state)
{
	struct net_window w;

	(void)state;
	open_polled();
	for (unsigned i = 0; i < 200; i++) {
		bool slept = rnd(2);
		unsigned wakes;

		assert_int_equal(net_lend(&b.wire, 100, &w), -EAGAIN);
		if (slept)
			assert_true(sleeps());
		wakes = b.wakes;
		post_rx(&b, 200);
		assert_true(kick_if_due(&b.q[RXQ]) == slept || i == 0);
		if (!slept)
			assert_false(sleeps());
		settle(&b);
		assert_true(b.wakes > wakes);
		assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
		reap_all(RXQ);
	}
	expect_healthy(&b);
	bench_close(&b);
}

/* All the memory of a ring is nonsense now. Who reads it breaks. */
static void spoil(unsigned queue)
{
	memset(at(&b, RING_GPA(queue)), 0x5a, 0x8000);
}

static void expect_unread(void)
{
	const uint8_t *p = at(&b, RING_GPA(TXQ));

	for (unsigned i = 0; i < 3; i++) {
		settle(&b);
		assert_true(sleeps());
	}
	assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	for (unsigned i = 0; i < 0x8000; i++)
		assert_int_equal(p[i], 0x5a);
}

/* Something is posted while nobody may look. */
static void post_unseen(void)
{
	static uint8_t ring[0x8000];

	post_frame();
	memcpy(ring, at(&b, RING_GPA(TXQ)), sizeof(ring));
	spoil(TXQ);
	expect_unread();
	memcpy(at(&b, RING_GPA(TXQ)), ring, sizeof(ring));
}

static void test_quiesced(void **state)
{
	(void)state;
	open_polled();
	for (unsigned i = 0; i < 20; i++) {
		post_frame();
		settle(&b);
		if (rnd(2))
			assert_true(sleeps());
		virtio_quiesce(b.v);
		assert_true(list_empty(&b.loop->poll.pollers));
		assert_int_equal(b.loop->poll.window.limit, 0);
		post_unseen();
		virtio_resume(b.v);
		assert_true(poller_added(&b.n->pair[0].poll.poller));
		settle(&b);
		assert_int_equal(b.n_sunk, 2 * (i + 1));
		reap_all(TXQ);
	}
	bench_close(&b);
}

/* By the net core: the device runs on. */
static void test_quiet_client(void **state)
{
	(void)state;
	open_polled();
	for (unsigned i = 0; i < 20; i++) {
		if (rnd(2))
			assert_true(sleeps());
		net_quiesce(b.nic);
		post_unseen();
		assert_int_equal(b.n_sunk, i);
		net_start(b.nic);
		settle(&b);
		assert_int_equal(b.n_sunk, i + 1);
		reap_all(TXQ);
	}
	bench_close(&b);
}

static void test_reset(void **state)
{
	(void)state;
	open_polled();
	for (unsigned i = 0; i < 20; i++) {
		post_frame();
		settle(&b);
		virtio_reset(b.v);
		assert_true(list_empty(&b.loop->poll.pollers));
		spoil(TXQ);
		expect_unread();
		driver_up(&b, ALL_FEATURES);
		expect_healthy(&b);
	}
	bench_close(&b);
}

/* The other queue goes on, and is polled. */
static void test_queue_reset(void **state)
{
	(void)state;
	open_polled();
	for (unsigned i = 0; i < 20; i++) {
		struct net_window w;

		post_frame();
		settle(&b);
		if (rnd(2))
			assert_true(sleeps());
		virtio_queue_reset(b.v, TXQ);
		spoil(TXQ);
		expect_unread();
		while (net_lend(&b.wire, 100, &w) == 0) {
			assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
			reap_all(RXQ);
		}
		post_rx(&b, 200);
		kick_if_due(&b.q[RXQ]);
		settle(&b);
		assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
		expect_unread();
		reap_all(RXQ);
		place_queue(&b, TXQ);
		settle(&b);
		expect_healthy(&b);
		reap_all(TXQ);
		assert_true(sleeps());
		assert_true(post_frame());
		settle(&b);
		reap_all(TXQ);
	}
	bench_close(&b);
}

/* Nonsense is found without a kick, by who looks or who asks for one; and then nobody looks any more. */
static void test_nonsense(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		open_polled();
		post_frame();
		settle(&b);
		post_nonsense(&b.q[TXQ]);
		if (i)
			assert_false(sleeps());
		settle(&b);
		assert_true(list_empty(&b.loop->poll.pollers));
		expect_broken(&b, TXQ, VIRTQ_FAULT_HEAD);
		bench_close(&b);
	}
}

/* Another loop has broken the device, and this one has not been told yet: it looks at no ring any more. */
static void test_broken_elsewhere(void **state)
{
	(void)state;
	open_polled();
	atomic_store(&b.v->broken, true);
	post_frame();
	settle(&b);
	assert_true(sleeps());
	assert_int_equal(b.n_sunk, 0);
	atomic_store(&b.v->broken, false);
	settle(&b);
	assert_int_equal(b.n_sunk, 1);
	bench_close(&b);
}

/* An index that jumps is seen by who asks for a kick. */
static void test_nonsense_index(void **state)
{
	(void)state;
	open_polled();
	b.q[TXQ].avail->idx = (uint16_t)(b.q[TXQ].avail->idx + 0x1000);
	assert_false(sleeps());
	assert_true(list_empty(&b.loop->poll.pollers));
	expect_broken(&b, TXQ, VIRTQ_FAULT_AVAIL_IDX);
	bench_close(&b);
}

/* A loop that has no thread, or poll-us=0: kicks are asked for after each batch, as ever. */
static void test_not_polled(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		bench_open(&b, (const char *const[]){ i ? "poll-us=0" : "poll-us=1000", NULL });
		if (i)
			poll_allow(&b.loop->poll);
		driver_up(&b, ALL_FEATURES);
		assert_false(poller_added(&b.n->pair[0].poll.poller));
		for (unsigned k = 0; k < 10; k++) {
			assert_true(post_frame());
			settle(&b);
		}
		assert_int_equal(b.n_sunk, 10);
		bench_close(&b);
	}
}

/* The thread polls for all, whatever the NIC says. */
static void test_by_thread(void **state)
{
	(void)state;
	bench_open(&b, NULL);
	poll_allow(&b.loop->poll);
	loop_set_poll(b.loop, 1000);
	driver_up(&b, ALL_FEATURES);
	assert_true(poller_added(&b.n->pair[0].poll.poller));
	post_frame();
	settle(&b);
	assert_false(post_frame());
	settle(&b);
	assert_int_equal(b.n_sunk, 2);
	bench_close(&b);
	/* But for one whose frames wait on purpose. */
	bench_open(&b, (const char *const[]){ "tx=timer", NULL });
	poll_allow(&b.loop->poll);
	loop_set_poll(b.loop, 1000);
	driver_up(&b, ALL_FEATURES);
	assert_false(poller_added(&b.n->pair[0].poll.poller));
	bench_close(&b);
}

/* ---- with a thread ---- */

#define FRAMES 300

static void up(uint64_t features)
{
	assert_true(negotiate(&b, features));
	place_queues(&b);
	virtio_set_status(b.v, virtio_get_status(b.v) | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void end_threaded(void)
{
	virtio_reset(b.v);
	assert_true(list_empty(&b.loop->poll.pollers));
	assert_int_equal(b.n_sunk, FRAMES);
	expect_balanced(&b);
	device_del(&b.v->dev);
	bus_deinit(&b.bus);
	net_client_remove(&b.wire);
	loop_free(b.loop);
	forget_sunk(&b);
	free(b.sunk);
	free(b.named);
	ram_destroy(&b.ram);
	mutex_destroy(&b.lock);
}

/* A driver that kicks only if it is asked to, and waits for each frame: one that is not seen stands still for ever. */
static void test_nothing_is_lost(void **state)
{
	static const char *const times[] = { "poll-us=1", "poll-us=20", "poll-us=1000" };

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(times); i++) {
		unsigned kicks = 0;

		bench_open(&b, (const char *const[]){ times[i / 2], NULL });
		assert_int_equal(loop_start_thread(b.loop, NULL), 0);
		up(i & 1 ? ALL_FEATURES & offered(&b) : MIN_FEATURES);
		for (unsigned n = 0; n < FRAMES; n++) {
			kicks += post_frame();
			while (!reap(&b.q[TXQ], NULL, NULL))
				sched_yield();
			if (!rnd(8))
				usleep(rnd(50));
		}
		print_message("%s: %u kicks, found %lu, vain %lu\n", times[i / 2], kicks,
			      counter_get(&loop_stats(b.loop)->polls_found),
			      counter_get(&loop_stats(b.loop)->polls_vain));
		end_threaded();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nonsense_index),
		cmocka_unit_test(test_no_kicks_while_it_polls),
		cmocka_unit_test(test_kicks_before_it_sleeps),
		cmocka_unit_test(test_kick_revoked),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_starved),
		cmocka_unit_test(test_quiesced),
		cmocka_unit_test(test_quiet_client),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_queue_reset),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_broken_elsewhere),
		cmocka_unit_test(test_not_polled),
		cmocka_unit_test(test_by_thread),
		cmocka_unit_test(test_nothing_is_lost),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 1);
}
