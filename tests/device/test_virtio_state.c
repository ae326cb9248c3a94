/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio device's states as a transport drives them: status, features, queue registers, config space. What is the
 * transport's own (register layout, MSI-X, BARs) is tested with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest.h"

#define ACK	    VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRIVER	    VIRTIO_CONFIG_S_DRIVER
#define FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define DRIVER_OK   VIRTIO_CONFIG_S_DRIVER_OK

static struct virtio_device *reset_of;
static bool reset_on_its_loop;
static void (*real_reset)(struct virtio_device *v);

static void spy_on_reset(struct virtio_device *v)
{
	reset_on_its_loop = v == reset_of && loop_here(v->loop);
	real_reset(v);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

/* VT8: whoever resets it, what the loop owns (counters have one writer) is reset there. */
static void test_reset_is_the_loops(void **state)
{
	struct virtio_device_class *class;
	pthread_t thread;
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	class = (struct virtio_device_class *)virtio_class(b.v);
	real_reset = class->reset;
	class->reset = spy_on_reset;
	reset_of = b.v;
	assert_int_equal(pthread_create(&thread, NULL, run_loop, b.loop), 0);
	while (loop_here(b.loop)) /* it does not run yet */
		sched_yield();
	virtio_reset(b.v);
	loop_stop(b.loop);
	pthread_join(thread, NULL);
	class->reset = real_reset;
	assert_true(reset_on_its_loop);
	bench_close(&b);
}

/* No room in epoll, say. The driver is told, and may try again. */
static void test_kicks_that_cannot_be_watched(void **state)
{
	struct virtio_queue *vq;
	struct bench b;
	int kick, null;

	(void)state;
	bench_open(&b, NULL);
	vq = &b.v->queue[TXQ];
	null = open("/dev/null", O_RDWR | O_CLOEXEC); /* epoll takes no such file */
	kick = dup(vq->kick_fd);
	assert_int_equal(dup2(null, vq->kick_fd), vq->kick_fd);
	for (unsigned i = 0; i < 3; i++) {
		b.config_calls = 0;
		assert_true(negotiate(&b, offered(&b)));
		place_queues(&b);
		virtio_set_status(b.v, virtio_get_status(b.v) | DRIVER_OK);
		settle(&b);
		assert_true(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(b.config_calls, 1);
		assert_int_equal(vq->q.fault, VIRTQ_FAULT_HOST);
		for (unsigned q = 0; q < N_QUEUES; q++)
			assert_null(b.v->queue[q].watch.loop);
		virtio_quiesce(b.v);
		virtio_resume(b.v);
		assert_false(b.v->lane[0].running);
	}
	assert_int_equal(counter_get(&b.v->guest_errors), 0); /* not the guest's fault */
	dup2(kick, vq->kick_fd);
	close(kick);
	close(null);
	driver_up(&b, ALL_FEATURES);
	assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	expect_healthy(&b);
	bench_close(&b);
}

/* VT1: what is running is frozen. */
static void test_enable_after_driver_ok(void **state)
{
	struct bench b;
	struct virtq *q;

	(void)state;
	bench_open(&b, NULL);
	assert_true(negotiate(&b, offered(&b)));
	place_queues(&b);
	b.v->queue[TXQ].q.enabled = false; /* this one is left out */
	driver_ok(&b);
	q = &b.v->queue[TXQ].q;
	virtio_queue_enable(b.v, TXQ);
	assert_false(q->enabled);
	assert_false(q->running);
	post(&b.q[TXQ], 0);
	kick(&b.q[TXQ]); /* VT3: a kick of a queue that is not enabled */
	settle(&b);
	assert_int_equal(used_idx(&b.q[TXQ]), 0);
	assert_int_equal(virtio_get_status(b.v), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	bench_close(&b);
}

/* VT2, VT3: queues that are not there, kicks that come early */
static void test_no_such_queue(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned i = 0; i < N_QUEUES; i++)
		kick(&(struct gq){ .b = &b, .index = i });
	settle(&b);
	virtio_queue_enable(b.v, N_QUEUES);
	virtio_queue_enable(b.v, 0xffff);
	virtio_queue_enable(b.v, UINT32_MAX);
	assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	assert_true(negotiate(&b, offered(&b)));
	place_queues(&b);
	kick(&b.q[TXQ]);
	settle(&b);
	driver_ok(&b);
	expect_healthy(&b);
	bench_close(&b);
}

/* Without any queue a driver is only foolish. */
static void test_no_queue_enabled(void **state)
{
	uint8_t frame[60] = { 0 };
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	assert_true(negotiate(&b, offered(&b)));
	driver_ok(&b);
	for (unsigned i = 0; i < N_QUEUES; i++)
		kick(&(struct gq){ .b = &b, .index = i });
	settle(&b);
	assert_int_equal(wire_frame(&b, frame, 60, NULL), -EAGAIN);
	virtio_quiesce(b.v);
	virtio_resume(b.v);
	bench_close(&b);
}

/* VT4 */
static void test_bad_features(void **state)
{
	static const struct {
		uint64_t without, alone; /* all but these; only these */
	} bad[] = {
		{ .alone = BIT(VIRTIO_NET_F_GUEST_TSO4) },
		{ .alone = BIT(VIRTIO_NET_F_GUEST_TSO6) },
		{ .alone = BIT(VIRTIO_NET_F_GUEST_UFO) },
		{ .alone = BIT(VIRTIO_NET_F_HOST_TSO4) },
		{ .alone = BIT(VIRTIO_NET_F_HOST_TSO6) },
		{ .alone = BIT(VIRTIO_NET_F_HOST_UFO) },
		{ .alone = BIT(VIRTIO_NET_F_HOST_ECN) },
		{ .alone = BIT(VIRTIO_NET_F_CTRL_RX) },
		{ .alone = BIT(VIRTIO_NET_F_CTRL_VLAN) },
		{ .alone = BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) },
		{ .alone = BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_CSUM) },
		{ .alone = BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) },
		{ .without = BIT(VIRTIO_NET_F_CTRL_VQ) },
		{ .without = BIT(VIRTIO_NET_F_CSUM) },
		{ .without = BIT(VIRTIO_NET_F_GUEST_CSUM) },
	};
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(negotiate(&b, bad[i].alone ? bad[i].alone | MIN_FEATURES : offered(&b) & ~bad[i].without));
	/* Each bit that is not offered, and VERSION_1, which must be */
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(offered(&b) & BIT(bit)))
			assert_false(negotiate(&b, offered(&b) | BIT(bit)));
	}
	assert_false(negotiate(&b, offered(&b) & ~MIN_FEATURES));
	assert_true(negotiate(&b, MIN_FEATURES));
	assert_true(negotiate(&b, offered(&b)));
	bench_close(&b);
}

static void test_driver_ok_without_features(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	virtio_set_status(b.v, ACK | DRIVER | DRIVER_OK);
	assert_int_equal(virtio_get_status(b.v), ACK | DRIVER);
	virtio_set_features(b.v, 0, UINT32_MAX);
	virtio_set_status(b.v, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	assert_int_equal(virtio_get_status(b.v), ACK | DRIVER);
	assert_false(b.v->lane[0].started);
	/* Second try, with better features, in one write */
	virtio_set_features(b.v, 0, 0);
	virtio_set_features(b.v, 1, 1);
	virtio_set_status(b.v, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	assert_int_equal(virtio_get_status(b.v), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	assert_true(b.v->lane[0].started);
	bench_close(&b);
}

/* VT5, and feature words that are not there */
static void test_features_frozen(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	assert_true(negotiate(&b, MIN_FEATURES | BIT(VIRTIO_NET_F_CSUM)));
	virtio_set_features(b.v, 0, UINT32_MAX);
	virtio_set_features(b.v, 1, 0);
	assert_int_equal(b.v->guest_features, MIN_FEATURES | BIT(VIRTIO_NET_F_CSUM));
	virtio_reset(b.v);
	assert_int_equal(b.v->guest_features, 0);
	virtio_set_features(b.v, 2, UINT32_MAX);
	virtio_set_features(b.v, UINT32_MAX, UINT32_MAX);
	assert_int_equal(b.v->guest_features, 0);
	bench_close(&b);
}

/* VT6: a bit that a driver clears stays; NEEDS_RESET is not a driver's to set. */
static void test_status_backwards(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	virtio_set_status(b.v, ACK | DRIVER);
	assert_int_equal(virtio_get_status(b.v), ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	expect_healthy(&b);
	virtio_set_status(b.v, ACK | VIRTIO_STATUS_NEEDS_RESET);
	assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	virtio_set_status(b.v, VIRTIO_CONFIG_S_FAILED);
	assert_true(virtio_get_status(b.v) & VIRTIO_CONFIG_S_FAILED);
	driver_up(&b, ALL_FEATURES);
	expect_healthy(&b);
	bench_close(&b);
}

/* C31: negotiate much, reset, negotiate little: nothing is left of the first. */
static void test_reset_leaves_nothing(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned i = 0; i < 20; i++) {
		driver_up(&b, i % 2 ? MIN_FEATURES : ALL_FEATURES);
		assert_int_equal(b.v->queue[TXQ].q.event_idx, i % 2 == 0);
		assert_int_equal(b.v->queue[TXQ].q.indirect, i % 2 == 0);
		assert_int_equal(b.nic->takes == 0, i % 2);
		expect_healthy(&b);
	}
	virtio_reset(b.v);
	for (unsigned i = 0; i < N_QUEUES; i++) {
		const struct virtq *q = &b.v->queue[i].q;

		assert_int_equal(q->size, q->max_size);
		assert_int_equal(q->desc_gpa | q->driver_gpa | q->device_gpa, 0);
		assert_int_equal(q->vector, 0xffff);
		assert_false(q->enabled);
	}
	assert_int_equal(virtio_read_isr(b.v), 0);
	bench_close(&b);
}

/* VT14, VT15 */
static void test_config_space(void **state)
{
	uint8_t out[64], first[64];
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	assert_int_equal(b.v->config_len, 8);
	virtio_config_read(b.v, 0, 8, first);
	assert_memory_equal(first, ((uint8_t[]){ 0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0 }), 8);
	for (unsigned off = 0; off < 64; off++) {
		for (unsigned size = 1; size <= 8; size++) {
			memset(out, 0xaa, sizeof(out));
			virtio_config_read(b.v, off, size, out);
			for (unsigned i = 0; i < size; i++)
				assert_int_equal(out[i], off + i < 8 ? first[off + i] : 0);
			assert_int_equal(out[size], 0xaa);
			memset(out, 0x11, sizeof(out));
			virtio_config_write(b.v, off, size, out); /* all of it is read-only */
		}
	}
	virtio_config_read(b.v, UINT32_MAX, 8, out);
	assert_memory_equal(out, ((uint8_t[8]){ 0 }), 8);
	virtio_config_read(b.v, 0, 8, out);
	assert_memory_equal(out, first, 8);
	bench_close(&b);
}

/* DRIVER_OK while the device is held quiet: it starts when it may. */
static void test_start_while_quiet(void **state)
{
	uint8_t frame[60] = { 0 };
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	virtio_quiesce(b.v);
	assert_true(negotiate(&b, offered(&b)));
	place_queues(&b);
	post_rx(&b, 100);
	driver_ok(&b);
	kick(&b.q[RXQ]);
	settle(&b);
	assert_int_equal(wire_frame(&b, frame, 60, NULL), -EAGAIN);
	assert_int_equal(used_idx(&b.q[RXQ]), 0);
	virtio_resume(b.v);
	settle(&b);
	net_drained(&b.wire);
	expect_healthy(&b);
	bench_close(&b);
}

/* The ISR says what happened, and is cleared by reading. */
static void test_isr(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(virtio_read_isr(b.v), 0);
	expect_healthy(&b);
	assert_int_equal(virtio_read_isr(b.v), 1);
	assert_int_equal(virtio_read_isr(b.v), 0);
	net_set_link(&b.wire, false);
	settle(&b);
	assert_int_equal(virtio_read_isr(b.v), 2);
	bench_close(&b);
}

/* 1000 times up and down, with what a driver may leave behind */
static void test_up_and_down(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned i = 0; i < 1000; i++) {
		driver_up(&b, ALL_FEATURES);
		for (unsigned k = rnd(20); k; k--)
			post_rx(&b, 500);
		expect_healthy(&b);
		if (rnd(2))
			kick(&b.q[rnd(N_QUEUES)]);
	}
	assert_int_equal(counter_get(&b.v->guest_errors), 0);
	bench_close(&b);
}

/* Devices that come and go, on one wire, leave nothing. */
static void test_create_and_delete(void **state)
{
	struct bench b;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		bench_open(&b, NULL);
		driver_up(&b, ALL_FEATURES);
		/* Deleted in the middle of things */
		b.hold_all = true;
		for (unsigned k = 0; k < 5; k++)
			post_tx(&b, NULL, (uint8_t[60]){ 0 }, 60, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(counter_get(&b.nic->tx.held), 5);
		bench_close(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features_frozen), /* the first one's features are those without packed rings */
		cmocka_unit_test(test_reset_is_the_loops),
		cmocka_unit_test(test_enable_after_driver_ok),
		cmocka_unit_test(test_no_such_queue),
		cmocka_unit_test(test_no_queue_enabled),
		cmocka_unit_test(test_bad_features),
		cmocka_unit_test(test_driver_ok_without_features),
		cmocka_unit_test(test_status_backwards),
		cmocka_unit_test(test_reset_leaves_nothing),
		cmocka_unit_test(test_config_space),
		cmocka_unit_test(test_start_while_quiet),
		cmocka_unit_test(test_isr),
		cmocka_unit_test(test_up_and_down),
		cmocka_unit_test(test_create_and_delete),
		cmocka_unit_test(test_kicks_that_cannot_be_watched),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 1);
}
