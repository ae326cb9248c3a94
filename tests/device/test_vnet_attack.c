/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver of two pairs of queues that means harm, by chance: frames of all shapes both ways, steering from one pair to the
 * other, queues that are reset and enabled at that moment, pairs that go off, calls that wait, loops that poll, chains that
 * break the device, resets in the middle, a wire that stops and goes on; the two loops take their turns in any order.
 * Whatever comes: memory that nobody named stays as it was (bench_close() looks), every account is in balance after each
 * step, what went into one pair comes out of one of the two, and a reset leaves nothing that waits.
 */
#include <unistd.h>

#include "base/iov.h"
#include "loop/priv.h"
#include "mqbench.h"

#define STEPS 60000

static uint8_t frame[NET_FRAME_MAX];
static bool quiet, wire_stopped[2], enabled[BENCH_QUEUES];
static unsigned n_breaks, n_resets, n_sent, n_commands, n_held;

static struct vnet_pair *pair(unsigned i)
{
	return &b.n->pair[i];
}

static bool knows_pairs(void)
{
	return b.v->guest_features & (BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS));
}

/* ---- what the driver does ---- */

static void begin_anew(void)
{
	static const uint8_t optional[] = { VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_MRG_RXBUF,  VIRTIO_NET_F_HASH_REPORT,
					    VIRTIO_NET_F_MTU,	     VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_CSUM,
					    VIRTIO_F_RING_RESET,     VIRTIO_NET_F_NOTF_COAL,  VIRTIO_NET_F_CTRL_VLAN };
	uint64_t features = offered(&b) & ~(bench_packed ? 0 : BIT(VIRTIO_F_RING_PACKED));

	if (!bench_in_order)
		features &= ~BIT(VIRTIO_F_IN_ORDER);
	for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
		features &= ~(rnd(4) ? 0 : BIT(optional[i]));
	if (!(features & BIT(VIRTIO_NET_F_GUEST_TSO4)) && !(features & BIT(VIRTIO_NET_F_GUEST_TSO6)))
		features &= ~BIT(VIRTIO_NET_F_GUEST_ECN);
	if (!(features & BIT(VIRTIO_NET_F_CSUM)))
		features = MIN_FEATURES | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	if (!rnd(8))
		features &= ~(BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS));
	if (quiet)
		virtio_resume(b.v);
	quiet = false;
	assert_true(negotiate(&b, features));
	assert_int_equal(counter_get(&pair(0)->client.tx.held) + counter_get(&pair(1)->client.tx.held), 0);
	b.hdr_len = vnet_hdr_len(b.v->guest_features);
	b.queue_size = 16u << rnd(4);
	for (unsigned i = 0; i < b.v->n_queues; i++) {
		enabled[i] = rnd(20);
		if (enabled[i])
			place_queue(&b, i);
	}
	virtio_set_status(b.v, virtio_get_status(b.v) | VIRTIO_CONFIG_S_DRIVER_OK);
	n_resets++;
}

/* Of a queue that may not be there, too. */
static void kick_any(unsigned i)
{
	uint64_t one = 1;

	assert_int_equal(write(b.v->queue[i].kick_fd, &one, sizeof(one)), sizeof(one));
}

static void post_buffer(unsigned i)
{
	static const uint32_t len[] = { 1, 10, 12, 13, 20, 64, 600, 1600, 20000 };
	uint32_t n = rnd(8) ? 1600 : len[rnd(ARRAY_SIZE(len))];
	struct seg s = { buf(&b, n), n, true };

	if (enabled[2 * i] && b.q[2 * i].n_free)
		chain(&b.q[2 * i], &s, 1);
	if (rnd(2))
		kick_any(2 * i);
}

static void post_frame(unsigned i)
{
	uint32_t n = rnd(16) ? 60 + rnd(3000) : rnd(14);
	uint64_t gpa = buf(&b, b.hdr_len + n);
	struct seg s[2] = { { gpa, b.hdr_len, false }, { gpa + b.hdr_len, n, false } };
	uint8_t *hdr = at(&b, gpa);

	memset(hdr, 0, b.hdr_len);
	if (!rnd(8))
		for (unsigned k = 0; k < sizeof(struct virtio_net_hdr); k++)
			hdr[k] = (uint8_t)rnd(256);
	make_frame(hdr + b.hdr_len, n, n);
	if (enabled[2 * i + 1] && b.q[2 * i + 1].n_free >= 2)
		chain(&b.q[2 * i + 1], s, n ? 2 : 1);
	if (rnd(2))
		kick_any(2 * i + 1);
}

static void steering(uint8_t *data, uint32_t *len)
{
	const uint16_t words[] = { (uint16_t)rnd(2) * VIRTIO_NET_RSS_HASH_TYPE_UDPv4,
				   0,
				   1,
				   (uint16_t)rnd(3),
				   (uint16_t)rnd(2),
				   (uint16_t)rnd(2),
				   (uint16_t)rnd(3) };

	memcpy(data, words, sizeof(words));
	data[sizeof(words)] = RSS_KEY_LEN;
	*len = sizeof(words) + 1 + RSS_KEY_LEN;
}

static void post_some_command(void)
{
	static const uint8_t orders[][3] = {
		/* class, command, bytes */
		{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2 },
		{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, 0 },
		{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1 },
		{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8 },
		{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 8 },
		{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8 },
		{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 12 },
		{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, 16 },
		{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0 },
	};
	unsigned queue = knows_pairs() ? MQCTRL : RXQ1, i = rnd(ARRAY_SIZE(orders));
	uint32_t len = orders[i][2];
	uint8_t data[100] = { 0 };

	for (unsigned k = 0; k < len; k++)
		data[k] = (uint8_t)(rnd(3) ? 0 : rnd(4));
	if (i == 0)
		data[0] = (uint8_t)rnd(4), data[1] = 0;
	if (i == 1)
		steering(data, &len);
	if (!rnd(20))
		len = rnd(len + 1);
	if (!enabled[queue] || b.q[queue].n_free < 2)
		return;
	post_command(queue, orders[i][0], orders[i][1], data, len);
	n_commands++;
}

static void reset_one(void)
{
	unsigned i = rnd(b.v->n_queues);

	if (rnd(3))
		i = rnd(4);
	virtio_queue_reset(b.v, i);
	if (b.v->queue[i].q.enabled)
		return; /* it did not negotiate that */
	enabled[i] = false;
	if (!b.v->queue[i].q.was_reset || !rnd(4))
		return;
	place_queue(&b, i);
	enabled[i] = b.v->queue[i].q.enabled;
}

/* Some time later it is enabled after all. One that break_one() spoilt is so still: its ring is the device's. */
static void enable_one(void)
{
	unsigned i = rnd(b.v->n_queues);
	const struct virtq *q = &b.v->queue[i].q;

	if (q->enabled || !q->was_reset)
		return;
	place_queue(&b, i);
	enabled[i] = b.v->queue[i].q.enabled;
}

static void break_one(void)
{
	unsigned i = rnd(b.v->n_queues);

	if (!enabled[i])
		return;
	post_nonsense(&b.q[i]);
	kick(&b.q[i]);
	enabled[i] = false; /* the driver itself does not know any more where it is */
	n_breaks++;
}

static void stop_or_go(void)
{
	quiet = !quiet;
	if (!quiet) {
		atomic_store(&b.dma.on, true);
		virtio_resume(b.v);
		return;
	}
	virtio_quiesce(b.v);
	atomic_store(&b.dma.on, rnd(2));
}

static void reap_all(void)
{
	for (unsigned i = 0; i < b.v->n_queues; i++)
		while (enabled[i] && !virtio_broken(b.v) && reap(&b.q[i], NULL, NULL))
			;
}

/* ---- what the wire does ---- */

static bool give_one(struct net_client *c)
{
	size_t len = rnd(30) ? 60 + rnd(rnd(20) ? 1500 : 20000) : rnd(20);
	struct frame_meta m = { 0 };
	struct net_window w;

	if (net_lend(c, rnd(3) ? len : rnd(2000), &w))
		return false;
	make_frame(frame, len, (unsigned)len);
	if (!rnd(8))
		frame[5] ^= 1;
	if (c->gives && len > 200 && !rnd(4)) {
		m.needs_csum = true;
		m.csum_start = 34;
		m.csum_offset = 16;
	}
	assert_int_equal(iov_write_at(w.iov, w.cnt, 0, frame, len), len);
	net_take(c, len, &m);
	n_sent++;
	return true;
}

static void give(unsigned i)
{
	struct net_client *c = i ? &second.c : &b.wire;

	for (unsigned n = 1 + rnd(3); n && give_one(c); n--)
		;
	net_commit(c);
}

static void stop_wire(unsigned i)
{
	struct net_client *c = &pair(i)->client;

	if (i && !pair(i)->active)
		return;
	wire_stopped[i] = !wire_stopped[i];
	if (wire_stopped[i])
		net_quiesce(c);
	else
		net_start(c);
}

static void change_room(void)
{
	b.hold_all = !b.hold_all;
	b.take_most = rnd(3);
	if (!b.hold_all)
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
}

static void turn_of(struct loop *l)
{
	if (!rnd(8) && l->poll.window.limit) { /* it has had nothing to do for long enough */
		l->poll.window.width = 0;
		poll_over(l);
	}
	l->poll.window.width = rnd(2) ? l->poll.window.limit : 0;
	loop_turn(l);
}

/* ---- the attack ---- */

static void step(void)
{
	/* Five rings take more of the first block than three: buffers are not to come there. */
	if (b.next_buf > RAM2_END - 128 * KIB)
		b.next_buf = RAM2_GPA;
	switch (rnd(24)) {
	case 0:
	case 1:
	case 2:
		post_buffer(rnd(2));
		break;
	case 3:
	case 4:
		post_frame(rnd(2));
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		give(rnd(2));
		break;
	case 9:
	case 10:
		post_some_command();
		break;
	case 11:
		if (!rnd(3))
			reset_one();
		else
			enable_one();
		break;
	case 12:
		if (!rnd(20))
			break_one();
		break;
	case 13:
		if (!rnd(virtio_broken(b.v) ? 3 : 60))
			begin_anew();
		break;
	case 14:
		if (!rnd(4) || quiet)
			stop_or_go();
		break;
	case 15:
		if (!rnd(4))
			change_room();
		break;
	case 16:
		if (!rnd(4))
			stop_wire(rnd(2));
		break;
	case 17:
		vm_clock_step(clock_now(CLOCK_VM_NS) + (rnd(4) ? rnd(100000) : rnd(100 * NSEC_PER_MSEC)));
		break;
	case 18:
		reap_all();
		break;
	case 19:
	case 20:
		turn_of(loop1);
		break;
	default:
		turn_of(b.loop);
	}
}

static void look(void)
{
	expect_balanced(&b);
	for (unsigned i = 0; i < 2; i++) {
		const struct net_client *c = &pair(i)->client;

		assert_true(net_account_balanced(&c->rx) && net_account_balanced(&c->tx));
		assert_true(counter_get(&c->rx.held) <= INBOX_FRAMES + 1);
		assert_true(counter_get(&c->tx.held) <= VIRTQ_SIZE_MAX);
		n_held += !!counter_get(&c->rx.held);
	}
	assert_true(net_account_balanced(&second.c.rx) && net_account_balanced(&second.c.tx));
}

/* What the wires gave went to one pair or the other, once. */
static void expect_conserved(void)
{
	uint64_t given = counter_get(&b.wire.tx.out) + counter_get(&second.c.tx.out);
	uint64_t got = counter_get(&pair(0)->client.rx.in) + counter_get(&pair(1)->client.rx.in);

	assert_int_equal(given, got);
}

static void attack(void **state)
{
	static const char *const props[] = { "mq=on",	      "rss=on",		 "hash=on", "poll-us=50",
					     "host_mtu=3000", "x-txcall=200000", NULL };

	uint64_t n_steered;

	(void)state;
	n_breaks = n_resets = n_sent = n_commands = n_held = 0;
	quiet = wire_stopped[0] = wire_stopped[1] = false;
	open_mqbench(props);
	poll_allow(&b.loop->poll);
	poll_allow(&loop1->poll);
	second.c.gives = NET_OFF_CSUM;
	begin_anew();
	for (unsigned i = 0; i < STEPS; i++) {
		step();
		if (i % 256 == 0)
			settle_both();
		look();
		if (i % 256 == 0)
			expect_conserved();
	}
	if (quiet)
		stop_or_go();
	b.hold_all = false;
	b.take_most = 0;
	for (unsigned i = 0; i < 2; i++)
		if (wire_stopped[i])
			stop_wire(i);
	up(ALL_FEATURES);
	settle_both();
	vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
	settle_both();
	expect_conserved();
	expect_healthy(&b);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	post_on_second();
	settle_both();
	make_frame(frame, 100, 1);
	assert_int_equal(give_second(frame, 100), NET_OK);
	n_steered = counter_get(&pair(0)->handed_on) + counter_get(&pair(1)->handed_on);
	close_mqbench();
	/* It got somewhere. */
	assert_true(n_breaks > 20 && n_resets > 30 && n_commands > 1000 && n_sent > 1000 && n_held > 1000);
	assert_true(n_steered > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(attack) };

	return bench_run_in_order(tests, ARRAY_SIZE(tests), 0);
}
