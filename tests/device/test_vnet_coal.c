/* SPDX-License-Identifier: BSD-2-Clause */
/* When a driver is called, and when frames are sent: notification coalescing, tx=timer and x-txburst. */
#include "guest.h"

#define USEC 1000ull

static const uint64_t features = BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_NOTF_COAL) |
				 BIT(VIRTIO_NET_F_VQ_NOTF_COAL) | BIT(VIRTIO_NET_F_MRG_RXBUF);

static uint8_t frame[100], back[200];
static struct bench b;

static int setup(void **state)
{
	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, features);
	make_frame(frame, sizeof(frame), 1);
	return 0;
}

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

/* ---- commands ---- */

/* A command with `len` bytes of data and a writable part of `room` bytes, all of which comes back. */
static void command(uint8_t what, const void *data, uint32_t len, uint8_t *result, uint32_t room)
{
	ctrl_run(&b, &(struct ctrl_cmd){ VIRTIO_NET_CTRL_NOTF_COAL, what, len, data, .room = room }, result);
}

static uint8_t set_kind(uint8_t what, uint32_t packets, uint32_t usecs)
{
	struct vnet_std_coal c = { htole32(packets), htole32(usecs) };

	return ctrl(&b, VIRTIO_NET_CTRL_NOTF_COAL, what, &c, sizeof(c));
}

static uint8_t set_queue(uint16_t queue, uint32_t packets, uint32_t usecs)
{
	struct vnet_std_coal_vq c = { htole16(queue), htole16(0xffff), { htole32(packets), htole32(usecs) } };

	return ctrl(&b, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, &c, sizeof(c));
}

static uint8_t get_queue(uint16_t queue, struct vnet_std_coal *is)
{
	uint16_t which[2] = { htole16(queue), htole16(0xffff) };
	uint8_t result[9];

	command(VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, which, sizeof(which), result, sizeof(result));
	memcpy(is, result, sizeof(*is));
	return result[8];
}

static void expect_queue(uint16_t queue, uint32_t packets, uint32_t usecs)
{
	struct vnet_std_coal is;

	assert_int_equal(get_queue(queue, &is), VIRTIO_NET_OK);
	assert_int_equal(le32toh(is.max_packets), packets);
	assert_int_equal(le32toh(is.max_usecs), usecs);
}

/* The standard's example: of a queue's parameters those set last hold, whatever command set them. */
static void test_last_wins(void **state)
{
	(void)state;
	expect_queue(RXQ, 0, 0);
	expect_queue(TXQ, 0, 0);
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 1, 2), VIRTIO_NET_OK);
	expect_queue(RXQ, 1, 2);
	expect_queue(TXQ, 0, 0);
	assert_int_equal(set_queue(RXQ, 3, 4), VIRTIO_NET_OK);
	expect_queue(RXQ, 3, 4);
	assert_int_equal(set_queue(TXQ, 5, 6), VIRTIO_NET_OK);
	expect_queue(TXQ, 5, 6);
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, UINT32_MAX, UINT32_MAX), VIRTIO_NET_OK);
	expect_queue(TXQ, UINT32_MAX, UINT32_MAX);
	expect_queue(RXQ, 3, 4);
	driver_up(&b, features);
	expect_queue(RXQ, 0, 0);
	expect_queue(TXQ, 0, 0);
}

/* CV18 and its neighbours: lengths, queues that are none, what was not negotiated. */
static void test_refused(void **state)
{
	uint8_t data[16] = { 0 }, result[9];
	struct vnet_std_coal is;

	(void)state;
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 7, 8), VIRTIO_NET_OK);
	for (uint32_t len = 0; len < sizeof(data); len++) {
		for (uint8_t what = 0; what < 5; what++) {
			static const uint32_t good[] = { 8, 8, 12, 4, UINT32_MAX };

			if (len == good[what])
				continue;
			command(what, data, len, result, 9);
			assert_int_equal(result[what == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET ? 8 : 0], VIRTIO_NET_ERR);
		}
	}
	for (uint32_t queue = CTRLQ; queue < 65536; queue = queue * 3 + 1) {
		assert_int_equal(set_queue((uint16_t)queue, 1, 1), VIRTIO_NET_ERR);
		assert_int_equal(get_queue((uint16_t)queue, &is), VIRTIO_NET_ERR);
	}
	for (uint32_t room = 1; room < 9; room++) { /* no room for what is asked */
		command(VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, data, 4, result, room);
		assert_int_equal(result[0], VIRTIO_NET_ERR);
	}
	expect_queue(RXQ, 7, 8);
	driver_up(&b, features & ~BIT(VIRTIO_NET_F_NOTF_COAL));
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 7, 8), VIRTIO_NET_ERR);
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 7, 8), VIRTIO_NET_ERR);
	expect_queue(RXQ, 0, 0);
	driver_up(&b, features & ~BIT(VIRTIO_NET_F_VQ_NOTF_COAL));
	assert_int_equal(set_queue(RXQ, 1, 1), VIRTIO_NET_ERR);
	command(VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET, data, 4, result, 9);
	assert_int_equal(result[0], VIRTIO_NET_ERR);
}

/* A queue that the driver did not enable has no parameters. */
static void test_not_enabled(void **state)
{
	(void)state;
	assert_true(negotiate(&b, features | MIN_FEATURES));
	place_queues(&b);
	b.v->queue[RXQ].q.enabled = false;
	driver_ok(&b);
	assert_int_equal(set_queue(RXQ, 1, 1), VIRTIO_NET_ERR);
	assert_int_equal(set_queue(TXQ, 1, 1), VIRTIO_NET_OK);
	driver_up(&b, features);
}

/* ---- when the call comes ---- */

static void move(bool tx, unsigned n)
{
	while (n--) {
		if (tx) {
			post_tx(&b, NULL, frame, sizeof(frame), NULL);
			kick(&b.q[TXQ]);
			settle(&b);
			assert_true(reap(&b.q[TXQ], NULL, NULL)); /* seen at once by who looks */
		} else {
			post_rx(&b, 200);
			kick(&b.q[RXQ]);
			settle(&b);
			assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
			assert_int_equal(receive(&b, back, sizeof(back), NULL), sizeof(frame));
		}
	}
}

static unsigned calls(bool tx)
{
	unsigned n = b.calls[tx ? TXQ : RXQ];

	assert_int_equal(counter_get(&b.v->queue[tx ? TXQ : RXQ].q.stats.calls), n);
	return n;
}

static void both_ways(void (*test)(bool tx, uint8_t set))
{
	for (unsigned tx = 0; tx < 2; tx++) {
		driver_up(&b, features);
		b.calls[RXQ] = b.calls[TXQ] = 0;
		for (unsigned i = RXQ; i <= TXQ; i++)
			atomic_store(&b.v->queue[i].q.stats.calls, 0);
		test(tx, tx ? VIRTIO_NET_CTRL_NOTF_COAL_TX_SET : VIRTIO_NET_CTRL_NOTF_COAL_RX_SET);
	}
}

static void by_number_and_time(bool tx, uint8_t set)
{
	move(tx, 3);
	assert_int_equal(calls(tx), 3);
	assert_int_equal(set_kind(set, 8, 100), VIRTIO_NET_OK);
	assert_int_equal(calls(tx), 3);
	for (unsigned i = 0; i < 3; i++) {
		move(tx, 7);
		assert_int_equal(calls(tx), 3 + i);
		move(tx, 1);
		assert_int_equal(calls(tx), 4 + i);
	}
	pass(1000 * USEC); /* nothing is owed */
	assert_int_equal(calls(tx), 6);
	move(tx, 1);
	pass(60 * USEC);
	move(tx, 1); /* the time is the first one's */
	pass(39 * USEC);
	assert_int_equal(calls(tx), 6);
	pass(1 * USEC);
	assert_int_equal(calls(tx), 7);
	move(tx, 7); /* and the number starts anew */
	assert_int_equal(calls(tx), 7);
	pass(100 * USEC);
	assert_int_equal(calls(tx), 8);
	assert_int_equal(set_kind(set, 0, 100), VIRTIO_NET_OK);
	move(tx, 2);
	assert_int_equal(calls(tx), 10);
	assert_int_equal(set_kind(set, 100, 0), VIRTIO_NET_OK);
	move(tx, 2);
	assert_int_equal(calls(tx), 12);
}

static void test_by_number_and_time(void **state)
{
	(void)state;
	both_ways(by_number_and_time);
}

/* Other parameters while a call is owed: it is due at once, or at another time. */
static void changed_meanwhile(bool tx, uint8_t set)
{
	assert_int_equal(set_kind(set, 15, 1000), VIRTIO_NET_OK);
	move(tx, 10);
	assert_int_equal(calls(tx), 0);
	assert_int_equal(set_kind(set, 11, 1000), VIRTIO_NET_OK);
	assert_int_equal(calls(tx), 0);
	assert_int_equal(set_kind(set, 8, 1000), VIRTIO_NET_OK);
	assert_int_equal(calls(tx), 1);
	move(tx, 1);
	pass(300 * USEC);
	assert_int_equal(set_kind(set, 8, 400), VIRTIO_NET_OK);
	assert_int_equal(calls(tx), 1);
	pass(100 * USEC);
	assert_int_equal(calls(tx), 2);
	move(tx, 1);
	assert_int_equal(set_kind(set, 0, 0), VIRTIO_NET_OK);
	assert_int_equal(calls(tx), 3);
	/* An hour is a second: */
	assert_int_equal(set_kind(set, UINT32_MAX, UINT32_MAX), VIRTIO_NET_OK);
	move(tx, 5);
	pass(999999 * USEC);
	assert_int_equal(calls(tx), 3);
	pass(1 * USEC);
	assert_int_equal(calls(tx), 4);
}

static void test_changed_meanwhile(void **state)
{
	(void)state;
	both_ways(changed_meanwhile);
}

/* A stop keeps what is owed; a reset, and a driver that wants no calls, do not. */
static void stops(bool tx, uint8_t set)
{
	assert_int_equal(set_kind(set, 15, 1000), VIRTIO_NET_OK);
	move(tx, 1);
	virtio_quiesce(b.v);
	pass(5000 * USEC);
	assert_int_equal(calls(tx), 0);
	virtio_resume(b.v);
	settle(&b);
	assert_int_equal(calls(tx), 1);
	move(tx, 1);
	assert_int_equal(calls(tx), 1); /* the parameters outlast it too */
	driver_up(&b, features);
	pass(5000 * USEC);
	assert_int_equal(calls(tx), 1);
	assert_int_equal(set_kind(set, 2, 1000), VIRTIO_NET_OK);
	b.q[tx ? TXQ : RXQ].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	move(tx, 9);
	pass(5000 * USEC);
	assert_int_equal(calls(tx), 1);
	b.q[tx ? TXQ : RXQ].avail->flags = 0;
	move(tx, 2);
	assert_int_equal(calls(tx), 2);
}

static void test_stops(void **state)
{
	(void)state;
	both_ways(stops);
}

/* Other numbers while the queue stands still: what is owed by them comes when it goes on. */
static void test_changed_while_quiet(void **state)
{
	struct vnet_coal *c = &b.n->pair[0].coal[0];

	(void)state;
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 15, 1000), VIRTIO_NET_OK);
	move(false, 1);
	b.calls[RXQ] = 0;
	virtio_quiesce(b.v);
	atomic_store(&c->params, 0);
	loop_post(b.loop, &c->post); /* by another loop, which has not stopped yet */
	settle(&b);
	assert_int_equal(b.calls[RXQ], 0);
	virtio_resume(b.v);
	settle(&b);
	assert_int_equal(b.calls[RXQ], 1);
}

/* A device that breaks owes no calls. */
static void test_broken(void **state)
{
	(void)state;
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 15, 1000), VIRTIO_NET_OK);
	move(false, 1);
	set_desc(&b.q[TXQ], 0, RAM2_END, 100, 0, 0);
	post(&b.q[TXQ], 0);
	kick(&b.q[TXQ]);
	expect_broken(&b, TXQ, VIRTQ_FAULT_ADDRESS);
	b.calls[RXQ] = 0;
	pass(5000 * USEC);
	assert_int_equal(b.calls[RXQ], 0);
}

/* A queue that is reset has what the command for all of its kind set, when it is enabled again; nothing is owed. */
static void test_queue_reset(void **state)
{
	(void)state;
	driver_up(&b, features | BIT(VIRTIO_F_RING_RESET));
	assert_int_equal(set_kind(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 9, 1000), VIRTIO_NET_OK);
	assert_int_equal(set_queue(RXQ, 50, 60), VIRTIO_NET_OK);
	assert_int_equal(set_queue(TXQ, 70, 80), VIRTIO_NET_OK);
	move(false, 2);
	b.calls[RXQ] = 0;
	for (unsigned q = RXQ; q <= TXQ; q++) {
		struct vnet_std_coal is;

		virtio_queue_reset(b.v, q);
		pass(5000 * USEC);
		assert_int_equal(b.calls[RXQ], 0);
		assert_int_equal(get_queue((uint16_t)q, &is), VIRTIO_NET_ERR);
		place_queue(&b, q);
		settle(&b);
	}
	expect_queue(RXQ, 9, 1000);
	expect_queue(TXQ, 0, 0);
}

/* ---- when frames are sent ---- */

static void post_frames(unsigned n)
{
	while (n--)
		post_tx(&b, NULL, frame, sizeof(frame), NULL);
}

static void test_tx_timer(void **state)
{
	(void)state;
	bench_open(&b, (const char *const[]){ "tx=timer", "x-txtimer=20000", NULL });
	driver_up(&b, features);
	pass(20 * USEC); /* a start is a kick */
	post_frames(3);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(b.n_sunk, 0);
	post_frames(3);
	assert_false(kick_if_due(&b.q[TXQ])); /* it knows already */
	pass(19 * USEC);
	assert_int_equal(b.n_sunk, 0);
	pass(1 * USEC);
	assert_int_equal(b.n_sunk, 6);
	post_frames(1);
	assert_true(kick_if_due(&b.q[TXQ]));
	settle(&b);
	post_frames(1);
	kick(&b.q[TXQ]); /* a kick that was not asked for: somebody is in a hurry */
	settle(&b);
	assert_int_equal(b.n_sunk, 8);
	post_frames(1);
	kick(&b.q[TXQ]);
	settle(&b);
	virtio_quiesce(b.v);
	pass(100 * USEC);
	assert_int_equal(b.n_sunk, 8);
	virtio_resume(b.v);
	settle(&b);
	pass(20 * USEC);
	assert_int_equal(b.n_sunk, 9);
	bench_close(&b);
}

/* What waits for room is not made to wait again; and nothing is sent after a reset. */
static void test_tx_timer_and_room(void **state)
{
	(void)state;
	bench_open(&b, (const char *const[]){ "tx=timer", "x-txtimer=20000", NULL });
	driver_up(&b, features);
	pass(20 * USEC);
	b.hold_all = true;
	post_frames(1);
	kick(&b.q[TXQ]);
	settle(&b);
	pass(20 * USEC);
	assert_int_equal(b.n_sunk, 0);
	b.hold_all = false;
	net_wake_peer(&b.wire, NET_WAKE_ROOM);
	settle(&b);
	assert_int_equal(b.n_sunk, 1);
	post_frames(1);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(b.n_sunk, 1);
	driver_up(&b, features);
	pass(100 * USEC);
	assert_int_equal(b.n_sunk, 1);
	bench_close(&b);
}

static unsigned largest;

static void note_batch(struct bench *bb, struct batch *batch)
{
	(void)bb;
	largest = MAX(largest, batch->n);
}

static void test_tx_burst(void **state)
{
	(void)state;
	for (unsigned burst = 1; burst < 100; burst += 33) {
		char text[32];
		unsigned in_a_turn;

		snprintf(text, sizeof(text), "x-txburst=%u", burst);
		bench_open(&b, (const char *const[]){ text, NULL });
		driver_up(&b, features);
		largest = 0;
		b.on_send = note_batch;
		post_frames(200);
		kick(&b.q[TXQ]);
		loop_turn(b.loop);
		in_a_turn = b.n_sunk;
		settle(&b);
		assert_int_equal(b.n_sunk, 200);
		assert_int_equal(in_a_turn, burst);
		assert_int_equal(largest, MIN(burst, (unsigned)NET_BATCH));
		bench_close(&b);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stops), /* they write into rings, as split ones are */
		TEST(test_broken),
		TEST(test_changed_while_quiet),
		TEST(test_last_wins),
		TEST(test_queue_reset),
		TEST(test_refused),
		TEST(test_not_enabled),
		TEST(test_by_number_and_time),
		TEST(test_changed_meanwhile),
		cmocka_unit_test(test_tx_timer),
		cmocka_unit_test(test_tx_timer_and_room),
		cmocka_unit_test(test_tx_burst),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 2);
}
