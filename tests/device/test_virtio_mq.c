/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net with two pairs of queues on two loops, each of which takes a step when the test says so: the shape that the
 * driver sees, which pairs are active, and that a command is answered when both loops have adopted it, whatever comes
 * in between.
 */
#include <unistd.h>

#include "mqbench.h"

#define SET_PAIRS VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET
#define PAUSE	  (20 * NSEC_PER_MSEC)
#define MQ_BITS	  (BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS))

static const char *const mq_on[] = { "mq=on", NULL };

/* ---- the second pair ---- */

static void send_on_second(unsigned n)
{
	while (n--) {
		uint64_t gpa = buf(&b, HDR + 60);
		struct seg s = { gpa, HDR + 60, false };

		memset(at(&b, gpa), 0, HDR);
		make_frame((uint8_t *)at(&b, gpa) + HDR, 60, n);
		chain(&b.q[TXQ1], &s, 1);
	}
	kick(&b.q[TXQ1]);
}

/* A frame from the second queue; the answer, or -EAGAIN: nothing was lent. */
static int frame_to_second(const uint8_t *dst)
{
	uint8_t frame[60];

	make_frame(frame, sizeof(frame), 1);
	if (dst)
		memcpy(frame, dst, 6);
	return give_second(frame, sizeof(frame));
}

/* ---- tests ---- */

static void shape(void **state)
{
	struct virtio_net_config c;

	(void)state;
	open_mqbench(mq_on);
	assert_true(offered(&b) & BIT(VIRTIO_NET_F_MQ));
	virtio_config_read(b.v, 0, sizeof(c), (uint8_t *)&c);
	assert_int_equal(le16toh(c.max_virtqueue_pairs), 2);
	assert_int_equal(b.v->n_queues, 5);
	/* CV: MQ is nothing without a control queue */
	assert_false(negotiate(&b, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MQ)));
	assert_true(negotiate(&b, offered(&b)));
	assert_int_equal(b.v->queue[RXQ1].q.max_size, 256);
	assert_int_equal(b.v->queue[MQCTRL].q.max_size, 64);
	assert_ptr_equal(b.v->queue[RXQ1].lane->loop, loop1);
	assert_ptr_equal(b.v->queue[MQCTRL].lane->loop, b.loop);
	/* A driver that knows of one pair has its control queue third, and on the first pair's loop. */
	assert_true(negotiate(&b, offered(&b) & ~MQ_BITS));
	assert_int_equal(b.v->queue[RXQ1].q.size, 64);
	assert_ptr_equal(b.v->queue[RXQ1].lane->loop, b.loop);
	close_mqbench();
}

/* What such a driver writes to the other queues is not heard; C32: nor after it knew of them. */
static void one_pair_driver(void **state)
{
	const uint8_t on = 1;
	uint64_t ack;

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	up(ALL_FEATURES & ~MQ_BITS);
	assert_int_equal(second.retired, 1);
	ack = post_command(RXQ1, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1);
	settle_both();
	assert_true(reap(&b.q[RXQ1], NULL, NULL));
	assert_int_equal(*(uint8_t *)at(&b, ack), VIRTIO_NET_OK);
	/* Calls for the third queue, which is the control queue now, do not wait. */
	ack = post_command(RXQ1, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET,
			   &(struct vnet_std_coal_vq){ .vq_index = htole16(RXQ1) }, sizeof(struct vnet_std_coal_vq));
	settle_both();
	assert_true(reap(&b.q[RXQ1], NULL, NULL));
	assert_int_equal(*(uint8_t *)at(&b, ack), VIRTIO_NET_ERR);
	send_on_second(3);
	kick(&b.q[MQCTRL]);
	settle_both();
	assert_int_equal(used_idx(&b.q[TXQ1]), 0);
	assert_int_equal(second.sent, 0);
	expect_healthy(&b);
	close_mqbench();
}

static void pairs_go_on_and_off(void **state)
{
	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	post_on_second();
	send_on_second(2);
	settle_both();
	assert_int_equal(second.started, 0);
	assert_int_equal(second.sent, 0);
	assert_true(frame_to_second(NULL) != NET_OK);

	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	assert_int_equal(second.started, 1);
	assert_int_equal(second.sent, 2); /* what was posted before is heard now */
	assert_int_equal(frame_to_second(NULL), NET_OK);
	assert_int_equal(used_idx(&b.q[RXQ1]), 1);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK); /* nothing changes */
	assert_int_equal(second.started, 1);

	/* Frames that were posted before the pair goes off are sent before it does. */
	send_on_second(3);
	assert_int_equal(set_pairs(1), VIRTIO_NET_OK);
	assert_int_equal(second.sent, 5);
	assert_int_equal(second.retired, 1);
	post_on_second();
	send_on_second(3);
	settle_both();
	assert_int_equal(second.sent, 5);
	assert_true(frame_to_second(NULL) != NET_OK);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	assert_int_equal(second.sent, 8);
	assert_int_equal(frame_to_second(NULL), NET_OK);

	up(ALL_FEATURES); /* a reset leaves one */
	assert_int_equal(second.retired, 2);
	close_mqbench();
}

/* CV10 */
static void bad_pairs(void **state)
{
	static const uint16_t bad[] = { 0, 3, 0x7fff, 0x8000, 0xffff };
	static const uint8_t bytes[3] = { 1 };

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(set_pairs(bad[i]), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, SET_PAIRS, bytes, 1), VIRTIO_NET_ERR);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, SET_PAIRS, bytes, 3), VIRTIO_NET_ERR);
	assert_int_equal(second.started, 0);
	expect_healthy(&b);
	/* Known by RSS alone, the number is RSS's to set. */
	up(ALL_FEATURES & ~BIT(VIRTIO_NET_F_MQ));
	if (offered(&b) & BIT(VIRTIO_NET_F_RSS))
		assert_int_equal(set_pairs(2), VIRTIO_NET_ERR);
	close_mqbench();
}

/* The answer comes when the other loop has adopted what was set, and the next command waits for that too. */
static void answered_when_adopted(void **state)
{
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 77 }, off = 0;
	uint64_t ack;

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	post_on_second();
	post_on_second();
	settle_both();
	assert_int_equal(frame_to_second(other), NET_OK);
	ack = post_command(MQCTRL, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
	settle(&b);
	assert_false(reap(&b.q[MQCTRL], NULL, NULL));
	post_command(MQCTRL, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, &off, 1);
	settle(&b);
	assert_false(reap(&b.q[MQCTRL], NULL, NULL));
	loop_turn(loop1); /* adopts; the first loop does not know yet */
	assert_int_equal(frame_to_second(other), NET_DROP_FILTER_MAC);
	assert_false(reap(&b.q[MQCTRL], NULL, NULL));
	settle(&b);
	assert_true(reap(&b.q[MQCTRL], NULL, NULL));
	assert_int_equal(*(uint8_t *)at(&b, ack), VIRTIO_NET_OK);
	assert_false(reap(&b.q[MQCTRL], NULL, NULL)); /* the second one waits for the other loop */
	settle_both();
	assert_true(reap(&b.q[MQCTRL], NULL, NULL));
	close_mqbench();
}

/* What is no other pair's to adopt is answered at once; and a command that is refused. */
static void nobody_is_told(void **state)
{
	static const struct vnet_std_coal zero;
	static const uint8_t bad[3];
	uint64_t ack;

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 0)
			ack = post_command(MQCTRL, VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0);
		else if (i == 1)
			ack = post_command(MQCTRL, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);
		else if (i == 2)
			ack = post_command(MQCTRL, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, &zero,
					   sizeof(zero));
		else
			ack = post_command(MQCTRL, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, bad, sizeof(bad));
		settle(&b);
		assert_true(reap(&b.q[MQCTRL], NULL, NULL));
		assert_int_equal(*(uint8_t *)at(&b, ack), i < 3 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
	close_mqbench();
}

/* A driver that has just begun asks for two pairs: the first loop told the other, which has had so many turns since. */
static void begin_and_ask(unsigned turns)
{
	up(ALL_FEATURES);
	post_pairs(2);
	settle(&b);
	while (turns--)
		loop_turn(loop1);
}

/* Nothing is answered while the device is stopped; it is when it goes on. */
static void stopped_in_between(void **state)
{
	(void)state;
	open_mqbench(mq_on);
	begin_and_ask(0);
	virtio_quiesce(b.v);
	settle_both();
	assert_int_equal(used_idx(&b.q[MQCTRL]), 0);
	virtio_resume(b.v);
	settle_both();
	assert_int_equal(used_idx(&b.q[MQCTRL]), 1);
	send_on_second(1);
	settle_both();
	assert_int_equal(second.sent, 1);
	close_mqbench();
}

/*
 * Behind a reset nothing is answered at all, and what the other loop has yet to do, or to say, for the driver before is not
 * taken for the next one's.
 */
static void reset_in_between(void **state)
{
	(void)state;
	open_mqbench(mq_on);
	for (unsigned turns = 0; turns < 3; turns++) {
		begin_and_ask(turns);
		virtio_reset(b.v);
		settle_both();
		assert_int_equal(used_idx(&b.q[MQCTRL]), 0);
		assert_false(b.n->pair[1].active);
	}
	for (unsigned turns = 0; turns < 2; turns++) {
		begin_and_ask(turns);
		begin_and_ask(0);
		assert_int_equal(used_idx(&b.q[MQCTRL]), 0);
		settle_both();
		assert_int_equal(used_idx(&b.q[MQCTRL]), 1);
	}
	up(ALL_FEATURES);
	vm_clock_step(clock_now(CLOCK_VM_NS) + 10 * PAUSE);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	close_mqbench();
}

/* The control queue is reset alone in between: that command is never answered, and the next one waits for its turn. */
static void control_queue_reset_in_between(void **state)
{
	static const uint8_t off = 0;

	(void)state;
	open_mqbench(mq_on);
	begin_and_ask(0);
	assert_true(virtio_has(b.v, VIRTIO_F_RING_RESET));
	virtio_queue_reset(b.v, MQCTRL);
	place_queues(&b); /* enables those that are not */
	post_command(MQCTRL, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1);
	settle(&b);
	assert_int_equal(used_idx(&b.q[MQCTRL]), 0);
	settle_both();
	assert_int_equal(used_idx(&b.q[MQCTRL]), 1);
	assert_true(b.n->pair[1].active);
	/* A receive queue of a pair that is off does not come to life by being reset. */
	assert_int_equal(set_pairs(1), VIRTIO_NET_OK);
	virtio_queue_reset(b.v, RXQ1);
	place_queues(&b);
	settle_both();
	post_on_second();
	assert_true(frame_to_second(NULL) != NET_OK);
	close_mqbench();
}

/* Who changes the number often waits: a burst is free, then it is one in 20 ms. */
static void often(void **state)
{
	unsigned free_of_charge = 0;

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	vm_clock_step(1000 * PAUSE);
	for (unsigned i = 0; i < 20; i++) {
		uint16_t seen = used_idx(&b.q[MQCTRL]);

		post_pairs(i & 1 ? 1 : 2);
		settle_both();
		if (used_idx(&b.q[MQCTRL]) != seen) {
			free_of_charge++;
		} else {
			vm_clock_step(clock_now(CLOCK_VM_NS) + PAUSE);
			settle_both();
			assert_int_equal(used_idx(&b.q[MQCTRL]), (uint16_t)(seen + 1));
		}
		assert_true(reap(&b.q[MQCTRL], NULL, NULL));
	}
	assert_int_equal(free_of_charge, 8);
	close_mqbench();
}

/* All frames to one pair, of those that are below `pairs`. */
static void post_steering(uint16_t to, uint16_t pairs)
{
	const uint16_t data[] = { 0, 0, 0, to, 0, pairs }; /* no types, a table of one entry, no key */
	uint8_t bytes[13] = { 0 };

	memcpy(bytes, data, sizeof(data));
	post_command(MQCTRL, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, bytes, sizeof(bytes));
}

/* The same of a driver that changes it by steering; of one that mixes its ways; and of one that resets and begins anew. */
static void often_by_other_ways(void **state)
{
	static const char *const props[] = { "mq=on", "rss=on", NULL };

	(void)state;
	open_mqbench(props);
	for (unsigned way = 0; way < 3; way++) {
		unsigned before;

		up(ALL_FEATURES);
		vm_clock_step(clock_now(CLOCK_VM_NS) + 1000 * PAUSE);
		settle_both();
		before = second.started;
		for (unsigned i = 0; i < 20; i++) {
			if (way == 2)
				up(ALL_FEATURES);
			if (way == 0 || (way == 1 && i & 1))
				post_steering(way == 0 && i & 1, 1);
			else
				post_pairs(2);
			settle_both();
			while (reap(&b.q[MQCTRL], NULL, NULL))
				;
		}
		assert_int_equal(second.started - before, way == 2 ? 9 : 5);
		for (unsigned i = 0; i < 6; i++) { /* two of these may have been done before, and not answered */
			vm_clock_step(clock_now(CLOCK_VM_NS) + PAUSE);
			settle_both();
		}
		assert_in_range(second.started - before, way == 2 ? 9 : 6, way == 2 ? 10 : 8);
		while (reap(&b.q[MQCTRL], NULL, NULL))
			;
	}
	close_mqbench();
}

/* A lane breaks the device: the other one drops what it holds, and answers nothing. */
static void broken_on_the_other(void **state)
{
	struct seg wrong = { 0x40, 100, true };

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	b.hold_all = true;
	post_tx(&b, NULL, (uint8_t[100]){ 0 }, 100, NULL);
	kick(&b.q[TXQ]);
	settle_both();
	assert_int_equal(counter_get(&b.nic->tx.held), 1);
	name_range(&b, 0x40, 100);
	chain(&b.q[TXQ1], &wrong, 1);
	kick(&b.q[TXQ1]);
	settle_both();
	assert_true(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(counter_get(&b.nic->tx.held), 0);
	assert_int_equal(dropped_tx(&b, NET_DROP_BROKEN), 1);
	post_pairs(1);
	settle_both();
	assert_int_equal(used_idx(&b.q[MQCTRL]), 1);
	b.hold_all = false;
	up(ALL_FEATURES);
	expect_healthy(&b);
	close_mqbench();
}

/* ---- all of it by chance ---- */

static unsigned waiting, answered; /* commands */
static bool quiet;

static void stop_or_go(void)
{
	quiet = !quiet;
	if (quiet)
		virtio_quiesce(b.v);
	else
		virtio_resume(b.v);
}

static void begin_anew(void)
{
	if (quiet)
		stop_or_go();
	driver_up(&b, ALL_FEATURES);
	waiting = 0;
}

static void step(void)
{
	switch (rnd(12)) {
	case 0:
		if (waiting < 20) {
			post_pairs((uint16_t)rnd(4));
			waiting++;
		}
		break;
	case 1:
		if (b.q[TXQ1].n_free > 8)
			send_on_second(1 + rnd(4));
		break;
	case 2:
		if (b.q[RXQ1].n_free)
			post_on_second();
		break;
	case 3:
		frame_to_second(NULL);
		break;
	case 4:
		stop_or_go();
		break;
	case 5:
		vm_clock_step(clock_now(CLOCK_VM_NS) + rnd(PAUSE));
		break;
	case 6:
		if (!rnd(20))
			begin_anew();
		break;
	case 7:
	case 8:
	case 9:
		loop_turn(loop1);
		break;
	default:
		loop_turn(b.loop);
	}
}

static void reap_all(void)
{
	while (reap(&b.q[MQCTRL], NULL, NULL)) {
		assert_true(waiting-- > 0);
		answered++;
	}
	while (reap(&b.q[TXQ1], NULL, NULL) || reap(&b.q[RXQ1], NULL, NULL))
		;
}

/* The loops take their turns in any order. */
static void by_chance(void **state)
{
	(void)state;
	waiting = answered = 0;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	for (unsigned i = 0; i < 20000; i++) {
		step();
		reap_all();
		if (b.next_buf > RAM2_END - 64 * KIB)
			b.next_buf = RAM2_GPA;
		if (i % 64 == 0)
			assert_true(net_account_balanced(&second.c.rx) &&
				    net_account_balanced(&b.n->pair[1].client.tx));
	}
	if (quiet)
		stop_or_go();
	for (unsigned i = 0; i < 100; i++) {
		vm_clock_step(clock_now(CLOCK_VM_NS) + PAUSE);
		settle_both();
	}
	reap_all();
	assert_int_equal(waiting, 0);
	assert_true(answered > 100);
	assert_true(second.sent > 100);
	close_mqbench();
}

/* ---- cards that cannot be made ---- */

static const struct net_client_ops no_ops = { .type = "test" };

static int make_another(void)
{
	static const struct virtio_transport none;
	struct error err = { "" };
	struct object *o = object_new("virtio-net-device", &err);
	struct virtio_device *v = to_virtio_device(to_device(o));
	struct bus bus;
	int r;

	assert_int_equal(object_set(o, "netdev", "other", &err), 0);
	assert_int_equal(object_set(o, "mq", "on", &err), 0);
	v->transport = &none;
	v->dma = &b.dma;
	v->loop = b.loop;
	v->lock = &b.lock;
	bus_init(&bus, "virtio", "another", NULL);
	r = device_realize(&v->dev, &bus, &err);
	if (r == 0)
		device_del(&v->dev);
	else
		object_free(o);
	bus_deinit(&bus);
	return r;
}

/* C33: the first pair is connected when it turns out that the second one cannot be: then it is not. */
static void refused_half_way(void **state)
{
	struct net_client other[2], busy = { .ops = &no_ops, .kind = NET_KIND_PORT, .name = "busy" };
	struct error err;

	(void)state;
	open_mqbench(mq_on);
	for (unsigned i = 0; i < 2; i++) {
		other[i] = (struct net_client){ .ops = &no_ops, .name = "other", .queue = i, .loop = b.loop };
		assert_int_equal(net_client_add(&other[i], &err), 0);
	}
	busy.loop = b.loop;
	assert_int_equal(net_client_add(&busy, &err), 0);
	assert_int_equal(net_connect(&busy, &other[1], &err), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(make_another() < 0);
		assert_null(other[0].peer);
	}
	net_disconnect(&busy);
	assert_int_equal(make_another(), 0);
	net_client_remove(&busy);
	net_client_remove(&other[0]);
	net_client_remove(&other[1]);
	close_mqbench();
}

/* A netdev with one queue makes one pair, whatever mq= says. */
static void one_queue(void **state)
{
	uint16_t one = htole16(1);
	uint64_t ack;

	(void)state;
	bench_open(&b, mq_on);
	assert_int_equal(b.n->n_pairs, 1);
	assert_true(offered(&b) & BIT(VIRTIO_NET_F_MQ));
	driver_up(&b, ALL_FEATURES);
	ack = post_command(CTRLQ, VIRTIO_NET_CTRL_MQ, SET_PAIRS, &one, sizeof(one));
	settle(&b);
	assert_int_equal(*(uint8_t *)at(&b, ack), VIRTIO_NET_OK);
	assert_true(reap(&b.q[CTRLQ], NULL, NULL));
	expect_healthy(&b);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape),
		cmocka_unit_test(one_pair_driver),
		cmocka_unit_test(pairs_go_on_and_off),
		cmocka_unit_test(bad_pairs),
		cmocka_unit_test(answered_when_adopted),
		cmocka_unit_test(nobody_is_told),
		cmocka_unit_test(stopped_in_between),
		cmocka_unit_test(reset_in_between),
		cmocka_unit_test(control_queue_reset_in_between),
		cmocka_unit_test(often),
		cmocka_unit_test(often_by_other_ways),
		cmocka_unit_test(broken_on_the_other),
		cmocka_unit_test(by_chance),
		cmocka_unit_test(refused_half_way),
		cmocka_unit_test(one_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
