/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that came to another pair of queues than the driver's table says: they get there by that pair's inbox, whole,
 * in order, and each is in the account of one pair or the other whatever comes in between.
 */
#include <errno.h>

#include "base/wirefmt.h"
#include "mqbench.h"

static const char *const rss_on[] = { "mq=on", "rss=on", NULL };
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX + HDR];

static const struct net_account *rx_of(unsigned pair)
{
	return &b.n->pair[pair].client.rx;
}

/* Table { 0, 1 } for UDP over IPv4 by its ports; all else goes to `unclassified`. */
static uint64_t post_table(uint32_t types, uint16_t unclassified)
{
	uint8_t data[100] = { 0 }, *p = data;

	p = mempcpy(p, &types, 4);
	p = mempcpy(p, (uint16_t[]){ 1, unclassified, 0, 1, 2 }, 10);
	*p++ = RSS_KEY_LEN;
	for (unsigned i = 0; i < RSS_KEY_LEN; i++)
		*p++ = (uint8_t)(0x6d + 31 * i);
	return post_command(MQCTRL, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data, (uint32_t)(p - data));
}

static uint8_t configure(uint32_t types, uint16_t unclassified)
{
	uint64_t ack = post_table(types, unclassified);

	settle_both();
	assert_true(reap(&b.q[MQCTRL], NULL, NULL));
	return *(uint8_t *)at(&b, ack);
}

/* All frames go to the second pair; the first has n buffers of 1600 bytes for them to come to. */
static void start_to_second(unsigned n)
{
	open_mqbench(rss_on);
	up(ALL_FEATURES);
	assert_int_equal(configure(0, 1), VIRTIO_NET_OK);
	while (n--)
		post_rx(&b, 1600);
	kick(&b.q[RXQ]);
	settle_both();
}

static void finish(void)
{
	settle_both();
	assert_true(net_account_balanced(rx_of(0)) && net_account_balanced(rx_of(1)));
	close_mqbench();
}

static void number_frame(size_t len, unsigned number)
{
	make_frame(frame, len, number);
	memcpy(frame + ETH_HDR_LEN, &number, sizeof(number));
}

/* From the first queue; what the wire says to it. */
static int give(size_t len, unsigned number)
{
	number_frame(len, number);
	return wire_frame(&b, frame, len, NULL);
}

/* The next frame on the second pair is the one of that number, in as many buffers of 1600 bytes as it needs. */
static void expect_on_second(size_t len, unsigned number)
{
	uint32_t got, all = 0;
	uint16_t head;

	do {
		assert_true(reap(&b.q[RXQ1], &head, &got));
		gather_chain(&b.q[RXQ1], head, back + all, got);
		all += got;
	} while (all < len + HDR);
	assert_int_equal(all, len + HDR);
	number_frame(len, number);
	assert_memory_equal(back + HDR, frame, len);
}

/* ---- tests ---- */

static void make_flow(uint16_t port)
{
	make_frame(frame, 100, port);
	put16(frame + 12, ETH_IPV4);
	memset(frame + 14, 0, 20);
	frame[14] = 0x45;
	frame[23] = PROTO_UDP;
	put16(frame + 34, port);
	put16(frame + 36, 53);
}

/* The frame comes by that pair's queue; each pair has a buffer for it. */
static void come_by(unsigned pair)
{
	post_rx(&b, 1600);
	kick(&b.q[RXQ]);
	post_on_second();
	settle_both();
	assert_int_equal(pair ? give_second(frame, 100) : wire_frame(&b, frame, 100, NULL), NET_OK);
	settle_both();
}

/* Each flow goes where the table says by its hash, whichever queue it comes by. */
static void by_the_table(void **state)
{
	unsigned n[2] = { 0 };

	(void)state;
	open_mqbench(rss_on);
	up(ALL_FEATURES);
	assert_int_equal(configure(VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 0), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 200; i++) {
		unsigned pair;
		uint32_t hash;

		make_flow((uint16_t)(1000 + i));
		rss_hash_frame(&b.n->rss.hash, frame, 100, &hash);
		pair = hash & 1;
		n[pair]++;
		come_by(i & 2 ? 0 : 1);
		assert_true(reap(&b.q[pair ? RXQ1 : RXQ], NULL, NULL));
		assert_false(used_waits(&b.q[pair ? RXQ : RXQ1]));
		assert_int_equal(counter_get(&rx_of(0)->out), n[0]);
		assert_int_equal(counter_get(&rx_of(1)->in), n[1]);
		if (b.q[RXQ1].n_free < 8 || b.q[RXQ].n_free < 8) { /* those that were not used */
			up(ALL_FEATURES);
			assert_int_equal(configure(VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 0), VIRTIO_NET_OK);
		}
	}
	assert_in_range(n[0], 60, 140);
	/* VQ_PAIRS_SET gives the choice back to the device: a frame stays where it came. */
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t before = counter_get(&rx_of(1)->out);

		make_flow((uint16_t)i);
		post_on_second();
		settle_both();
		assert_int_equal(give_second(frame, 100), NET_OK);
		assert_int_equal(counter_get(&rx_of(1)->out), before + 1);
	}
	finish();
}

/* The hash in a frame's header is that by which it was steered, wherever that was. */
static void hash_in_the_header(void **state)
{
	static const char *const props[] = { "mq=on", "rss=on", "hash=on", NULL };
	struct virtio_net_hdr_v1_hash h;

	(void)state;
	open_mqbench(props);
	up(ALL_FEATURES);
	assert_int_equal(configure(VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 0), VIRTIO_NET_OK);
	for (unsigned i = 0; i < 64; i++) {
		uint32_t hash, len;
		uint16_t head;
		struct gq *q;

		make_flow((uint16_t)(1000 + i));
		if (i & 4)
			frame[12] = 0x88; /* nothing to be hashed: the first pair's */
		rss_hash_frame(&b.n->rss.hash, frame, 100, &hash);
		q = &b.q[hash & 1 ? RXQ1 : RXQ];
		come_by(i & 2 ? 0 : 1);
		assert_true(reap(q, &head, &len));
		assert_int_equal(len, sizeof(h) + 100);
		gather_chain(q, head, back, len);
		memcpy(&h, back, sizeof(h));
		assert_int_equal(le16toh(h.hash_report),
				 i & 4 ? VIRTIO_NET_HASH_REPORT_NONE : VIRTIO_NET_HASH_REPORT_UDPv4);
		assert_int_equal(le32toh(h.hash_value), hash);
	}
	finish();
}

/* Without buffers frames wait, as many as have room; with them they come in order, long ones too. */
static void waits_for_buffers(void **state)
{
	unsigned n = 0;

	(void)state;
	start_to_second(1);
	while (give(100, n) == NET_OK)
		assert_true(++n < 1000);
	assert_int_equal(n, INBOX_FRAMES);
	assert_int_equal(dropped_rx(&b, NET_DROP_QUEUE_FULL), 1);
	assert_int_equal(counter_get(&rx_of(0)->in), 1); /* the one that was dropped */
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), n);
	assert_true(net_account_balanced(rx_of(1)));
	assert_int_not_equal(give(100, n), NET_OK);
	for (unsigned i = 0; i < n; i++) {
		post_on_second();
		settle_both();
		expect_on_second(100, i);
		assert_int_equal(counter_get(&rx_of(1)->held), n - 1 - i);
	}
	assert_int_equal(give(100, n), NET_OK); /* there is room again */
	finish();
}

/* The bytes are bounded as well. */
static void waits_in_bytes(void **state)
{
	unsigned n = 0;

	(void)state;
	start_to_second(45);
	while (give(60000, n) == NET_OK)
		assert_true(++n < 100);
	assert_int_equal(n, INBOX_BYTES / 60032);
	assert_int_equal(give(4000, n), NET_OK); /* a smaller one has room */
	finish();
}

/* A frame for which there are too few buffers is in the way of others until it is given up; then they come, unasked. */
static void in_the_way(void **state)
{
	(void)state;
	start_to_second(4);
	post_on_second();
	settle_both();
	assert_int_equal(give(4000, 0), NET_OK);
	assert_int_equal(give(100, 1), NET_OK);
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), 2);
	assert_false(used_waits(&b.q[RXQ1]));
	vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->dropped[NET_DROP_NO_BUFFER]), 1);
	assert_int_equal(counter_get(&rx_of(1)->held), 0);
	expect_on_second(100, 1);
	finish();
}

static void put_into_inbox(unsigned i)
{
	static const struct frame_meta plain;
	uint32_t ticket;
	uint8_t *place = inbox_reserve(b.n->pair[i].inbox, 100, &ticket);

	assert_non_null(place);
	memset(place, 1, 100);
	inbox_ready(b.n->pair[i].inbox, ticket, &plain);
	vnet_steer_again(&b.n->pair[i]);
}

/* Two for the second pair, which has no buffers: its loop has seen one of them. */
static void give_unseen_and_seen(void)
{
	assert_int_equal(give(100, 0), NET_OK);
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), 1);
	assert_int_equal(give(100, 1), NET_OK);
}

/* So many frames of a pair by now, for they were of a queue or a device that was reset; none waits. */
static void expect_dropped(unsigned pair, uint64_t n)
{
	assert_int_equal(counter_get(&rx_of(pair)->dropped[NET_DROP_RESET]), n);
	assert_int_equal(counter_get(&rx_of(pair)->held), 0);
	assert_true(net_account_balanced(rx_of(pair)));
}

/* A stop of the device, and of the wire, keeps what waits; a reset of the device does not. */
static void stops(void **state)
{
	(void)state;
	start_to_second(1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(100, i), NET_OK);
	virtio_quiesce(b.v);
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), 3);
	virtio_resume(b.v);
	net_quiesce(&second.c);
	for (unsigned i = 0; i < 3; i++)
		post_on_second();
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), 3);
	assert_false(used_waits(&b.q[RXQ1]));
	net_start(&second.c);
	settle_both();
	for (unsigned i = 0; i < 3; i++)
		expect_on_second(100, i);
	assert_int_equal(counter_get(&rx_of(0)->bytes), 0);
	assert_int_equal(counter_get(&rx_of(1)->bytes), 300);

	give_unseen_and_seen();
	virtio_reset(b.v);
	expect_dropped(1, 2);
	finish();
}

/* The queue is reset alone: what waits is dropped, and what comes until it is enabled again, seen by its loop or not. */
static void queue_reset(void **state)
{
	(void)state;
	start_to_second(1);
	give_unseen_and_seen();
	virtio_queue_reset(b.v, RXQ1);
	expect_dropped(1, 2);
	assert_int_equal(give(100, 2), NET_OK);
	settle_both();
	expect_dropped(1, 3);
	assert_int_equal(give(100, 3), NET_OK);
	place_queue(&b, RXQ1);
	post_on_second();
	settle_both();
	expect_dropped(1, 4);
	assert_int_equal(give(100, 4), NET_OK);
	settle_both();
	expect_on_second(100, 4);
	finish();
}

/* The same while the device is held still: what comes until it goes on is not for the new ring. */
static void queue_reset_while_quiet(void **state)
{
	(void)state;
	start_to_second(1);
	give_unseen_and_seen();
	virtio_quiesce(b.v);
	virtio_queue_reset(b.v, RXQ1);
	expect_dropped(1, 2);
	assert_int_equal(give_second(frame, 100), -EAGAIN);
	put_into_inbox(1);
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), 1);
	place_queue(&b, RXQ1);
	post_on_second();
	virtio_resume(b.v);
	settle_both();
	expect_dropped(1, 3);
	assert_int_equal(give(100, 4), NET_OK);
	settle_both();
	expect_on_second(100, 4);
	finish();
}

/* Frames come by the queue of the netdev whose pair's own is off: each goes where the table says, or nowhere. */
static void come_by_one_that_is_off(void **state)
{
	unsigned n[2] = { 0 };

	(void)state;
	start_to_second(2);
	assert_int_equal(configure(VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 0), VIRTIO_NET_OK);
	virtio_queue_reset(b.v, RXQ1);
	for (unsigned i = 0; i < 64; i++) {
		uint32_t hash;

		make_flow((uint16_t)(1000 + i));
		rss_hash_frame(&b.n->rss.hash, frame, 100, &hash);
		n[hash & 1]++;
		post_rx(&b, 1600);
		kick(&b.q[RXQ]);
		settle_both();
		assert_int_equal(give_second(frame, 100), hash & 1 ? NET_DROP_RESET : NET_OK);
		settle_both();
		assert_int_equal(reap(&b.q[RXQ], NULL, NULL), !(hash & 1));
		assert_int_equal(counter_get(&rx_of(0)->out), n[0]);
		expect_dropped(1, n[1]);
	}
	assert_in_range(n[1], 16, 48);
	finish();
}

/* A wire that was told to wait for buffers need not any more. */
static void wakes_the_wire(void **state)
{
	(void)state;
	start_to_second(0);
	number_frame(100, 0);
	assert_int_equal(wire_frame(&b, frame, 100, NULL), -EAGAIN);
	settle_both();
	b.wakes = 0;
	virtio_queue_reset(b.v, RXQ);
	settle_both();
	assert_true(b.wakes > 0);
	assert_int_equal(wire_frame(&b, frame, 100, NULL), NET_OK); /* it is the second pair's */
	assert_int_equal(configure(0, 0), VIRTIO_NET_OK);
	assert_int_equal(wire_frame(&b, frame, 100, NULL), NET_DROP_RESET);
	finish();
}

/* Without a table the device may choose: it chooses a queue that is enabled, and of a pair that is active. */
static void another_one(void **state)
{
	static const char *const mq_on[] = { "mq=on", NULL };

	(void)state;
	open_mqbench(mq_on);
	up(ALL_FEATURES);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	post_rx(&b, 1600);
	post_rx(&b, 1600);
	kick(&b.q[RXQ]);
	settle_both();
	virtio_queue_reset(b.v, RXQ1);
	number_frame(100, 7);
	assert_int_equal(give_second(frame, 100), NET_OK);
	settle_both();
	assert_true(reap(&b.q[RXQ], NULL, NULL));
	assert_int_equal(wire_frame(&b, frame, 100, NULL), NET_OK);
	virtio_queue_reset(b.v, RXQ);
	assert_int_equal(give_second(frame, 100), NET_DROP_RESET);
	assert_int_equal(wire_frame(&b, frame, 100, NULL), NET_DROP_RESET);
	place_queue(&b, RXQ1);
	post_on_second();
	settle_both();
	assert_int_equal(give(100, 8), NET_OK);
	settle_both();
	expect_on_second(100, 8);
	post_on_second();
	assert_int_equal(set_pairs(1), VIRTIO_NET_OK);
	assert_int_equal(give(100, 9), NET_DROP_RESET);
	finish();
}

/*
 * The other pair's loop has not come to its reset yet, and gives one more: it is not held until there is a driver, nor does
 * a driver that comes soon get it.
 */
static void given_behind_a_reset(void **state)
{
	(void)state;
	start_to_second(1);
	virtio_reset(b.v);
	for (unsigned i = 0; i < 2; i++) {
		put_into_inbox(i);
		settle_both();
		assert_int_equal(counter_get(&rx_of(i)->held), 0);
		assert_int_equal(counter_get(&rx_of(i)->dropped[NET_DROP_RESET]), 1);
	}
	assert_true(negotiate(&b, offered(&b)));
	place_queues(&b);
	put_into_inbox(0);
	put_into_inbox(1);
	driver_ok(&b);
	settle_both();
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(counter_get(&rx_of(i)->held), 0);
		assert_int_equal(counter_get(&rx_of(i)->dropped[NET_DROP_RESET]), 2);
	}
	finish();
}

/* The pair goes off with frames in its inbox; and its driver takes less than they need. */
static void changes(void **state)
{
	const uint64_t none = 0;
	struct frame_meta m = { .needs_csum = true, .csum_start = 14, .csum_offset = 6 };

	(void)state;
	start_to_second(1);
	number_frame(100, 0);
	assert_int_equal(wire_frame(&b, frame, 100, &m), NET_OK);
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->held), 1);
	assert_int_equal(
		command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &none, sizeof(none)),
		VIRTIO_NET_OK);
	post_on_second();
	settle_both();
	assert_int_equal(counter_get(&rx_of(1)->dropped[NET_DROP_OFFLOAD]), 1);
	assert_false(used_waits(&b.q[RXQ1]));
	assert_int_equal(give(100, 1), NET_OK);
	settle_both();
	expect_on_second(100, 1);
	assert_int_equal(give(100, 2), NET_OK);
	settle_both();
	assert_int_equal(set_pairs(1), VIRTIO_NET_OK);
	assert_int_equal(counter_get(&rx_of(1)->dropped[NET_DROP_STOPPED]), 1);
	finish();
}

/* The other pair breaks the device by its buffers, at the first of several frames. */
static void breaks(void **state)
{
	(void)state;
	start_to_second(1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(give(100, i), NET_OK);
	post_nonsense(&b.q[RXQ1]);
	kick(&b.q[RXQ1]);
	settle_both();
	assert_true(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(counter_get(&rx_of(1)->dropped[NET_DROP_BROKEN]), 3);
	assert_int_equal(counter_get(&rx_of(1)->held), 0);
	up(ALL_FEATURES);
	expect_healthy(&b);
	finish();
}

/* Frames of all lengths, over the end of the inbox's bytes and into several buffers. */
static void all_lengths(void **state)
{
	(void)state;
	start_to_second(0);
	b.want = 200; /* what the giver asks for at first: the rest runs into the spill slot */
	for (unsigned i = 0; i < 400; i++) {
		size_t len = i % 7 == 3 ? 65000 : i % 5 ? 60 + rnd(3000) : NET_FRAME_MAX;
		unsigned buffers = (unsigned)((len + HDR + 1599) / 1600);

		while (b.q[RXQ].n_free && !b.q[RXQ].seen && b.q[RXQ].posted < 200)
			post_rx(&b, 1600);
		kick(&b.q[RXQ]);
		for (unsigned k = 0; k < buffers; k++)
			post_on_second();
		settle_both();
		assert_int_equal(give(len, i), NET_OK);
		settle_both();
		expect_on_second(len, i);
		assert_false(used_waits(&b.q[RXQ1]));
		if (b.next_buf > RAM2_END - 128 * KIB)
			b.next_buf = RAM2_GPA + MIB;
	}
	finish();
}

/* Who turns the table off and on all the time waits for its answers: the wire is told each time. Other tables are free. */
static void often(void **state)
{
	unsigned at_once[2] = { 0 };

	(void)state;
	open_mqbench(rss_on);
	up(ALL_FEATURES);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	b.steers = true;
	vm_clock_step(NSEC_PER_SEC);
	for (unsigned i = 0; i < 40; i++) {
		bool table = i < 20 || i & 1;
		uint64_t ack = table ? post_table(VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 0) : post_pairs(2);

		settle_both();
		if (used_waits(&b.q[MQCTRL]))
			at_once[i >= 20]++;
		else
			vm_clock_step(clock_now(CLOCK_VM_NS) + 20 * NSEC_PER_MSEC);
		settle_both();
		assert_true(reap(&b.q[MQCTRL], NULL, NULL));
		assert_int_equal(*(uint8_t *)at(&b, ack), VIRTIO_NET_OK);
		assert_ptr_equal(b.table, table ? &b.n->rss.table : NULL);
		assert_string_equal(vnet_steering(b.n->pair), table ? "backend" : "none");
	}
	assert_int_equal(at_once[0], 20);
	assert_in_range(at_once[1], 6, 10);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_table),
		cmocka_unit_test(waits_for_buffers),
		cmocka_unit_test(waits_in_bytes),
		cmocka_unit_test(in_the_way),
		cmocka_unit_test(stops),
		cmocka_unit_test(queue_reset),
		cmocka_unit_test(queue_reset_while_quiet),
		cmocka_unit_test(come_by_one_that_is_off),
		cmocka_unit_test(wakes_the_wire),
		cmocka_unit_test(another_one),
		cmocka_unit_test(given_behind_a_reset),
		cmocka_unit_test(changes),
		cmocka_unit_test(breaks),
		cmocka_unit_test(all_lengths),
		cmocka_unit_test(often),
		cmocka_unit_test(hash_in_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
