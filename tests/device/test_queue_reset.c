/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One queue is reset and enabled again, elsewhere and of another size, while the device runs (virtio 1.2, 2.6.1): nothing
 * of the old rings and buffers is touched once the reset is done, the other queues go on, and what was held is counted.
 */
#include <errno.h>

#include "guest.h"

static uint8_t frame[20000], back[20000];

static void open_up(struct bench *b)
{
	bench_open(b, NULL);
	driver_up(b, ALL_FEATURES);
	make_frame(frame, sizeof(frame), 7);
}

/* Reset the queue; from now on all of its old place belongs to the driver again. */
static void reset_queue(struct bench *b, unsigned i)
{
	const struct virtq *q = &b->v->queue[i].q;

	virtio_queue_reset(b->v, i);
	assert_false(q->enabled || q->running);
	assert_int_equal(q->size, q->max_size);
	assert_int_equal(q->desc_gpa | q->driver_gpa | q->device_gpa, 0);
	assert_int_equal(q->vector, 0xffff);
	memset(at(b, RING_GPA(i)), 0x5a, 0x8000);
}

static void expect_untouched(struct bench *b, unsigned i)
{
	const uint8_t *p = at(b, RING_GPA(i));

	for (unsigned k = 0; k < 0x8000; k++)
		assert_int_equal(p[k], 0x5a);
}

/* Enable it with `size` entries. */
static void enable_queue(struct bench *b, unsigned i, uint16_t size)
{
	struct virtq *q = &b->v->queue[i].q;

	gq_init(b, i, size);
	q->size = size;
	q->desc_gpa = RING_GPA(i);
	q->driver_gpa = RING_GPA(i) + AVAIL_OFF;
	q->device_gpa = RING_GPA(i) + USED_OFF;
	virtio_queue_enable(b->v, i);
	assert_true(q->enabled);
	settle(b);
}

static void send_one(struct bench *b)
{
	unsigned before = b->n_sunk;

	post_tx(b, NULL, frame, 100, NULL);
	kick_if_due(&b->q[TXQ]);
	settle(b);
	assert_int_equal(b->n_sunk, before + 1);
	while (reap(&b->q[TXQ], NULL, NULL))
		;
}

static void receive_one(struct bench *b)
{
	post_rx(b, 200);
	kick_if_due(&b->q[RXQ]);
	settle(b);
	assert_int_equal(wire_frame(b, frame, 100, NULL), NET_OK);
	assert_int_equal(receive(b, back, sizeof(back), NULL), 100);
	assert_memory_equal(back, frame, 100);
}

/* Frames that wait for the wire are dropped, each once. Reception goes on. */
static void test_transmit(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	for (unsigned round = 0; round < 20; round++) {
		unsigned n = 1 + rnd(9);

		b.hold_all = true;
		for (unsigned i = 0; i < n; i++)
			post_tx(&b, NULL, frame, 100, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(counter_get(&b.nic->tx.held), n);
		reset_queue(&b, TXQ);
		expect_balanced(&b);
		assert_int_equal(counter_get(&b.nic->tx.held), 0);
		b.hold_all = false;
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
		kick(&b.q[TXQ]); /* VT3: of a queue that is not there */
		settle(&b);
		assert_int_equal(b.n_sunk, round);
		receive_one(&b);
		expect_untouched(&b, TXQ);
		enable_queue(&b, TXQ, (uint16_t)(bench_packed ? 16 + rnd(200) : 16u << rnd(4)));
		send_one(&b);
	}
	assert_true(dropped_tx(&b, NET_DROP_RESET) >= 20);
	expect_healthy(&b);
	bench_close(&b);
}

/* Buffers that were collected are the driver's again; the wire waits, and is woken. Transmission goes on. */
static void test_receive(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	for (unsigned round = 0; round < 20; round++) {
		struct net_window w;
		unsigned wakes;

		for (unsigned i = 0; i < 10; i++)
			post_rx(&b, 200);
		assert_int_equal(net_lend(&b.wire, 1 + rnd(1000), &w), 0);
		if (round & 1) /* some of it is used, and not published: the frame is lost with the queue */
			assert_int_equal(net_take(&b.wire, 100, &(struct frame_meta){ 0 }), NET_OK);
		reset_queue(&b, RXQ);
		assert_int_equal(net_take(&b.wire, 100, &(struct frame_meta){ 0 }), NET_DROP_STOPPED);
		net_commit(&b.wire);
		assert_int_equal(net_lend(&b.wire, 100, &w), -EAGAIN);
		send_one(&b);
		kick(&b.q[RXQ]);
		settle(&b);
		expect_untouched(&b, RXQ);
		expect_balanced(&b);
		wakes = b.wakes;
		enable_queue(&b, RXQ, (uint16_t)(bench_packed ? 16 + rnd(200) : 16u << rnd(4)));
		assert_true(b.wakes > wakes);
		receive_one(&b);
	}
	expect_healthy(&b);
	bench_close(&b);
}

/* A frame that waits for buffers goes with the ring. */
static void test_held(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	post_rx(&b, 1000);
	assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
	assert_int_equal(counter_get(&b.nic->rx.held), 1);
	reset_queue(&b, RXQ);
	assert_int_equal(counter_get(&b.nic->rx.held), 0);
	assert_int_equal(dropped_rx(&b, NET_DROP_RESET), 1);
	vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
	settle(&b);
	expect_untouched(&b, RXQ);
	enable_queue(&b, RXQ, 64);
	expect_healthy(&b);
	bench_close(&b);
}

static void test_control(void **state)
{
	const uint8_t on = 1;
	struct bench b;

	(void)state;
	open_up(&b);
	reset_queue(&b, CTRLQ);
	kick(&b.q[CTRLQ]);
	settle(&b);
	expect_healthy(&b);
	expect_untouched(&b, CTRLQ);
	enable_queue(&b, CTRLQ, 8);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(ctrl(&b, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), VIRTIO_NET_OK);
	bench_close(&b);
}

/* While the device is held still: what comes after goes on with it. */
static void test_while_quiet(void **state)
{
	struct bench b;

	(void)state;
	for (unsigned i = 0; i < N_QUEUES; i++) {
		open_up(&b);
		b.hold_all = true;
		post_tx(&b, NULL, frame, 100, NULL);
		kick(&b.q[TXQ]);
		post_rx(&b, 1000);
		assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
		settle(&b);
		virtio_quiesce(b.v);
		reset_queue(&b, i);
		b.hold_all = false;
		expect_untouched(&b, i);
		enable_queue(&b, i, 32);
		assert_false(b.v->queue[i].q.running);
		virtio_resume(b.v);
		assert_true(b.v->queue[i].q.running);
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
		settle(&b);
		while (i != RXQ && b.q[RXQ].n_free)
			post_rx(&b, 1000);
		kick(&b.q[RXQ]);
		settle(&b);
		while (receive(&b, back, sizeof(back), NULL) >= 0)
			;
		assert_int_equal(b.n_sunk, i == TXQ ? 0 : 1);
		assert_int_equal(dropped_rx(&b, NET_DROP_RESET), i == RXQ ? 1 : 0);
		expect_healthy(&b);
		bench_close(&b);
	}
}

/* What is no reset, or no ring. */
static void test_refused(void **state)
{
	struct bench b;
	struct virtq *q;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_F_RING_RESET));
	virtio_queue_reset(b.v, TXQ);
	assert_true(b.v->queue[TXQ].q.running);
	expect_healthy(&b);
	driver_up(&b, ALL_FEATURES);
	virtio_queue_reset(b.v, b.v->n_queues);
	virtio_queue_reset(b.v, UINT16_MAX);
	expect_healthy(&b);
	/* Twice does no harm; nor does it where there is nothing yet. */
	reset_queue(&b, TXQ);
	reset_queue(&b, TXQ);
	enable_queue(&b, TXQ, 16);
	expect_healthy(&b);
	/* A queue that runs is not enabled again, wherever it is told to be. */
	b.v->queue[TXQ].q.was_reset = true;
	virtio_queue_enable(b.v, TXQ);
	expect_healthy(&b);
	/* Nonsense is as fatal as it is before DRIVER_OK. */
	reset_queue(&b, TXQ);
	q = &b.v->queue[TXQ].q;
	q->desc_gpa = RAM2_END;
	virtio_queue_enable(b.v, TXQ);
	settle(&b);
	assert_false(q->enabled);
	assert_true(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(b.config_calls, 1);
	virtio_queue_reset(b.v, RXQ); /* of a device that stands still */
	virtio_queue_reset(b.v, TXQ);
	virtio_reset(b.v);
	assert_false(q->was_reset);
	virtio_queue_reset(b.v, TXQ); /* nothing is negotiated */
	driver_up(&b, ALL_FEATURES);
	expect_healthy(&b);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transmit), cmocka_unit_test(test_receive),     cmocka_unit_test(test_held),
		cmocka_unit_test(test_control),	 cmocka_unit_test(test_while_quiet), cmocka_unit_test(test_refused),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
