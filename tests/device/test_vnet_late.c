/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls for sent frames that are put off in a conversation, and mostly not made (virtio_net_late.c). */
#include "guest.h"

#define DELAY 200000ull /* ns, the default */

static const uint64_t features = BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
				 BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_F_RING_RESET);

static uint8_t frame[100], back[200];
static struct bench b;

static int teardown(void **state)
{
	(void)state;
	bench_close(&b);
	return 0;
}

static void pass(uint64_t ns)
{
	vm_clock_step(clock_now(CLOCK_VM_NS) + ns);
	settle(&b);
}

static void send_one(void)
{
	post_tx(&b, NULL, frame, sizeof(frame), NULL);
	kick(&b.q[TXQ]);
	settle(&b);
}

/* The driver frees what was sent, and wants to hear of what it sends next. */
static void driver_looks(void)
{
	assert_true(reap(&b.q[TXQ], NULL, NULL)); /* who looks sees it at once */
	want_calls(&b.q[TXQ]);
}

static void answer(void)
{
	post_rx(&b, 200);
	kick(&b.q[RXQ]);
	settle(&b);
	assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
	settle(&b);
	assert_int_equal(receive(&b, back, sizeof(back), NULL), sizeof(frame));
}

static void expect_calls(unsigned n)
{
	assert_int_equal(b.calls[TXQ], n);
	assert_int_equal(counter_get(&b.v->queue[TXQ].q.stats.calls), n);
}

/* The driver is ready, and a conversation is on. */
static void up(uint64_t with)
{
	driver_up(&b, with);
	want_calls(&b.q[TXQ]);
	for (unsigned i = 0; i < 32; i++) {
		send_one();
		driver_looks();
		answer();
	}
	pass(DELAY);
	b.calls[TXQ] = 0;
	atomic_store(&b.v->queue[TXQ].q.stats.calls, 0);
}

static int setup(void **state)
{
	static const char *const props[] = { "x-txcall=200000", "notf_coal=on", NULL };

	(void)state;
	bench_open(&b, props);
	make_frame(frame, sizeof(frame), 1);
	up(features);
	return 0;
}

static void test_never_made(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		send_one();
		answer();
		driver_looks();
		pass(DELAY / 2);
	}
	expect_calls(0);
	assert_true(counter_get(&b.v->queue[TXQ].q.stats.calls_suppressed) >= 99);
	pass(DELAY);
	expect_calls(0);
}

/* A driver that does not look gets its call when the time is over, once; or with the next frame. */
static void test_made_late(void **state)
{
	(void)state;
	send_one();
	pass(DELAY - 1);
	expect_calls(0);
	pass(1);
	expect_calls(1);
	pass(10 * DELAY);
	expect_calls(1);
	driver_looks();
	answer();
	send_one();
	expect_calls(1);
	send_one(); /* the one before was not looked at */
	expect_calls(2);
	assert_true(reap(&b.q[TXQ], NULL, NULL));
	driver_looks();
	pass(10 * DELAY);
	expect_calls(2);
}

/* The driver says so, by a command. */
static void calls_never_wait(void)
{
	static const struct vnet_std_coal zero;

	assert_int_equal(ctrl(&b, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, &zero, sizeof(zero)),
			 VIRTIO_NET_OK);
}

/* In a stream, of a batch, without an event index, and for drivers that said so, calls are made at once. */
static void test_at_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		send_one();
		driver_looks();
	}
	b.calls[TXQ] = 0;
	send_one();
	assert_int_equal(b.calls[TXQ], 1);
	up(features);
	for (unsigned i = 0; i < 64; i++) { /* a conversation again */
		send_one();
		driver_looks();
		answer();
	}
	b.calls[TXQ] = 0;
	post_tx(&b, NULL, frame, sizeof(frame), NULL);
	send_one();
	assert_int_equal(b.calls[TXQ], 1);
	driver_looks();
	driver_looks();
	answer();
	up(features & ~BIT(VIRTIO_RING_F_EVENT_IDX));
	send_one();
	assert_int_equal(b.calls[TXQ], 1);
	up(features | BIT(VIRTIO_NET_F_NOTF_COAL));
	send_one();
	assert_int_equal(b.calls[TXQ], 0);
	pass(DELAY);
	assert_int_equal(b.calls[TXQ], 1);
	driver_looks();
	calls_never_wait();
	answer();
	send_one();
	assert_int_equal(b.calls[TXQ], 2);
	up(features); /* what a driver said goes with it */
	send_one();
	assert_int_equal(b.calls[TXQ], 0);
}

/* A driver that begins to send only when it has reset the queue: what it negotiated counts, not who was there before. */
static void test_queue_enabled_later(void **state)
{
	static const uint64_t with[] = { 0, BIT(VIRTIO_RING_F_EVENT_IDX) };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		up(with[!i] ? features :
			      features & ~BIT(VIRTIO_RING_F_EVENT_IDX)); /* the one before had it the other way round */
		assert_true(negotiate(&b, (features & ~BIT(VIRTIO_RING_F_EVENT_IDX)) | with[i] | MIN_FEATURES));
		place_queue(&b, RXQ);
		driver_ok(&b);
		virtio_queue_reset(b.v, TXQ);
		place_queue(&b, TXQ);
		settle(&b);
		for (unsigned k = 0; k < 32; k++) {
			want_calls(&b.q[TXQ]);
			send_one();
			answer();
			assert_true(reap(&b.q[TXQ], NULL, NULL));
		}
		want_calls(&b.q[TXQ]);
		b.calls[TXQ] = 0;
		send_one();
		assert_int_equal(b.calls[TXQ], !i);
		pass(DELAY);
		assert_int_equal(b.calls[TXQ], 1);
	}
}

/* A stop keeps what is owed; a reset, of the device or of the queue, does not. */
static void test_stops(void **state)
{
	(void)state;
	send_one();
	virtio_quiesce(b.v);
	pass(10 * DELAY);
	expect_calls(0);
	virtio_resume(b.v);
	settle(&b);
	expect_calls(1);
	driver_looks();
	answer();
	send_one();
	/* ... even if nothing else may be done on its way on. */
	net_quiesce(b.nic);
	virtio_quiesce(b.v);
	virtio_resume(b.v);
	settle(&b);
	expect_calls(2);
	net_start(b.nic);
	settle(&b);
	driver_looks();
	answer();
	send_one();
	driver_up(&b, features);
	pass(10 * DELAY);
	expect_calls(2);
	up(features);
	send_one();
	virtio_queue_reset(b.v, TXQ);
	pass(10 * DELAY);
	expect_calls(0);
}

/* A device that breaks owes nothing. */
static void test_broken(void **state)
{
	(void)state;
	send_one();
	post_nonsense(&b.q[RXQ]);
	kick(&b.q[RXQ]);
	settle(&b);
	assert_int_not_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
	pass(10 * DELAY);
	assert_int_equal(b.calls[TXQ], 0);
	expect_broken(&b, RXQ, VIRTQ_FAULT_HEAD);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_never_made, setup, teardown),
		cmocka_unit_test_setup_teardown(test_made_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_enabled_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
