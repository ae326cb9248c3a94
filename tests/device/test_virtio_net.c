/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net's data path: bytes that go in come out, whatever the layout of buffers; what waits, is held or is dropped
 * is so for the reason that is counted.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/csum.h"
#include "guest.h"

static uint8_t big[NET_FRAME_MAX], back[NET_FRAME_MAX];

static void reap_all(struct gq *q)
{
	while (reap(q, NULL, NULL))
		;
}

/* ---- guest to wire ---- */

static void random_pieces(uint32_t *pieces, unsigned max)
{
	unsigned n = rnd(max);

	for (unsigned i = 0; i < n; i++)
		pieces[i] = 1 + (rnd(4) ? rnd(100) : rnd(20000));
	pieces[n] = 0;
}

/* A frame from the wire reaches the guest as it is. */
static void passes_in(struct bench *b, uint32_t len, unsigned seed)
{
	make_frame(big, len, seed);
	assert_int_equal(wire_frame(b, big, len, NULL), NET_OK);
	assert_int_equal(receive(b, back, sizeof(back), NULL), len);
	assert_memory_equal(back, big, len);
}

static void tx_one_round(struct bench *b, uint32_t len, unsigned max_pieces)
{
	uint32_t pieces[32];
	unsigned n = 1 + rnd(4);

	forget_sunk(b);
	for (unsigned i = 0; i < n; i++) {
		make_frame(big, len + i, len + i);
		random_pieces(pieces, max_pieces);
		post_tx(b, NULL, big, len + i, pieces);
	}
	kick_if_due(&b->q[TXQ]);
	settle(b);
	assert_int_equal(b->n_sunk, n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t used;

		make_frame(big, len + i, len + i);
		assert_int_equal(b->sunk[i].len, len + i);
		assert_memory_equal(b->sunk[i].data, big, len + i);
		assert_true(reap(&b->q[TXQ], NULL, &used));
		assert_int_equal(used, 0);
	}
}

static void test_tx_every_size(void **state)
{
	static const uint64_t features[] = { ALL_FEATURES, ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC),
					     ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX), MIN_FEATURES };
	struct bench b;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(features); k++) {
		bench_open(&b, NULL);
		driver_up(&b, features[k]);
		for (uint32_t len = ETH_HDR_LEN; len < 1600; len += k ? 7 : 1)
			tx_one_round(&b, len, 30);
		for (unsigned i = 0; i < 200; i++)
			tx_one_round(&b, ETH_HDR_LEN + rnd(NET_FRAME_MAX - ETH_HDR_LEN - 4), 30);
		bench_close(&b);
	}
}

/* A batch costs one publish and at most one call. */
static void test_one_call_a_batch(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	make_frame(big, 100, 0);
	for (unsigned i = 0; i < NET_BATCH; i++)
		post_tx(&b, NULL, big, 100, NULL);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(b.n_sunk, NET_BATCH);
	assert_int_equal(b.calls[TXQ], 1);
	assert_int_equal(counter_get(&b.v->queue[TXQ].q.stats.chains), NET_BATCH);

	for (unsigned i = 0; i < NET_BATCH; i++)
		post_rx(&b, 200);
	for (unsigned i = 0; i < NET_BATCH; i++) {
		struct net_window w;

		assert_int_equal(net_lend(&b.wire, 100, &w), 0);
		assert_int_equal(net_take(&b.wire, 100, &(struct frame_meta){ 0 }), NET_OK);
		assert_int_equal(used_idx(&b.q[RXQ]), 0); /* nothing is seen before the end */
	}
	net_commit(&b.wire);
	assert_int_equal(used_idx(&b.q[RXQ]), NET_BATCH);
	assert_int_equal(b.calls[RXQ], 1);
	bench_close(&b);
}

static void test_tx_bad_headers(void **state)
{
	static const struct virtio_net_hdr bad[] = {
		{ .gso_type = 77 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		  .gso_size = 0,
		  .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .csum_start = 34,
		  .csum_offset = 16 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 99, .csum_offset = 16 },
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff },
		/* USO, which is not offered here */
		{ .gso_type = 5,
		  .gso_size = 100,
		  .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		  .csum_start = 34,
		  .csum_offset = 6 },
	};
	struct bench b;

	(void)state;
	bench_open(&b, (const char *const[]){ "host_uso=off", NULL });
	driver_up(&b, ALL_FEATURES);
	make_frame(big, 100, 0);
	for (unsigned i = 0; i < 200; i++) {
		struct virtio_net_hdr_mrg_rxbuf h = { .hdr = bad[i % ARRAY_SIZE(bad)] };

		post_tx(&b, i % 3 ? &h : NULL, big, 100, NULL);
	}
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(b.n_sunk, 67);
	assert_int_equal(dropped_tx(&b, NET_DROP_VNET_HDR), 133);
	assert_int_equal(used_idx(&b.q[TXQ]), 200);
	bench_close(&b);
}

/* ---- a wire without room ---- */

static void post_numbered(struct bench *b, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		make_frame(big, 100, i);
		post_tx(b, NULL, big, 100, NULL);
	}
}

static void expect_numbered(struct bench *b, unsigned n)
{
	assert_int_equal(b->n_sunk, n);
	for (unsigned i = 0; i < n; i++) {
		make_frame(big, 100, i);
		assert_memory_equal(b->sunk[i].data, big, 100);
	}
}

static void test_blocked_wire(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	b.hold_all = true;
	post_numbered(&b, 0, 10);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(b.n_sunk, 0);
	assert_int_equal(counter_get(&b.nic->tx.held), 10);
	expect_balanced(&b);
	post_numbered(&b, 10, 100);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(used_idx(&b.q[TXQ]), 0);
	/* Room for a few at a time, again and again: all of them, in order, each once. */
	b.hold_all = false;
	b.take_most = 3;
	for (unsigned i = 0; i < 50; i++) {
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
		settle(&b);
		expect_balanced(&b);
		assert_int_equal(used_idx(&b.q[TXQ]), b.n_sunk);
	}
	expect_numbered(&b, 110);
	assert_int_equal(counter_get(&b.nic->tx.held), 0);
	b.take_most = 0;
	expect_healthy(&b);
	bench_close(&b);
}

/* Bad frames among good ones, and a wire that takes as it likes: the order stays, all is accounted for. */
static void test_blocked_among_bad(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf bad = { .hdr = { .gso_type = 99 } };
	unsigned sent = 0, dropped = 0;
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned n = rnd(8); n; n--) {
			bool good = rnd(3);

			make_frame(big, 100, sent);
			post_tx(&b, good ? NULL : &bad, big, 100, NULL);
			sent += good;
			dropped += !good;
		}
		b.take_most = rnd(5);
		b.hold_all = !b.take_most;
		kick(&b.q[TXQ]);
		if (rnd(2))
			net_wake_peer(&b.wire, NET_WAKE_ROOM);
		settle(&b);
		expect_balanced(&b);
		reap_all(&b.q[TXQ]);
		if (b.q[TXQ].n_free < 20) {
			b.hold_all = false;
			b.take_most = 0;
			net_wake_peer(&b.wire, NET_WAKE_ROOM);
			settle(&b);
			reap_all(&b.q[TXQ]);
		}
	}
	b.hold_all = false;
	b.take_most = 0;
	net_wake_peer(&b.wire, NET_WAKE_ROOM);
	settle(&b);
	expect_numbered(&b, sent);
	assert_int_equal(dropped_tx(&b, NET_DROP_VNET_HDR), dropped);
	assert_int_equal(counter_get(&b.nic->tx.in), sent + dropped);
	bench_close(&b);
}

/* VT7: reset while frames wait for the wire; what the wire does later concerns nobody. */
static void test_reset_while_blocked(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	b.hold_all = true;
	post_numbered(&b, 0, 70);
	kick(&b.q[TXQ]);
	for (unsigned i = 0; i < 20; i++)
		post_rx(&b, 300);
	make_frame(big, 60, 0);
	b.want = 2000;
	assert_int_equal(wire_frame(&b, big, 60, NULL), NET_OK); /* eight are collected, one is used */
	b.want = 0;
	settle(&b);
	virtio_reset(b.v);
	/* A first batch was seen; what was behind it in the ring was not. */
	assert_int_equal(dropped_tx(&b, NET_DROP_RESET), NET_BATCH);
	assert_int_equal(counter_get(&b.nic->tx.held), 0);
	expect_balanced(&b);
	memset(at(&b, b.q[TXQ].gpa), 0xee, 0x8000);
	memset(at(&b, b.q[RXQ].gpa), 0xee, 0x8000);
	b.hold_all = false;
	net_wake_peer(&b.wire, NET_WAKE_ROOM);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_int_equal(wire_frame(&b, big, 60, NULL), -EAGAIN);
	assert_int_equal(b.n_sunk, 0);
	for (unsigned i = 0; i < 0x8000; i++) {
		assert_int_equal(*((uint8_t *)at(&b, b.q[TXQ].gpa) + i), 0xee);
		assert_int_equal(*((uint8_t *)at(&b, b.q[RXQ].gpa) + i), 0xee);
	}
	virtio_reset(b.v); /* VT8: twice is as good as once */
	driver_up(&b, ALL_FEATURES);
	expect_healthy(&b);
	bench_close(&b);
}

/* Quiet: nothing moves. Then all goes on where it was. */
static void quiet_period(struct bench *b, bool dma_off)
{
	uint16_t rx_used = used_idx(&b->q[RXQ]), tx_used = used_idx(&b->q[TXQ]);

	virtio_quiesce(b->v);
	if (dma_off) {
		atomic_store(&b->dma.on, false);
		virtio_resume(b->v);
	}
	b->hold_all = false;
	net_wake_peer(&b->wire, NET_WAKE_ROOM);
	kick(&b->q[TXQ]);
	settle(b);
	make_frame(big, 60, 0);
	assert_int_equal(wire_frame(b, big, 60, NULL), -EAGAIN);
	assert_int_equal(used_idx(&b->q[RXQ]), rx_used);
	assert_int_equal(used_idx(&b->q[TXQ]), tx_used);
	assert_int_equal(b->n_sunk, 0);
	expect_balanced(b);
	atomic_store(&b->dma.on, true);
	virtio_resume(b->v);
	settle(b);
}

static void test_quiesce(void **state)
{
	(void)state;
	for (unsigned dma_off = 0; dma_off < 2; dma_off++) {
		struct bench b;

		bench_open(&b, NULL);
		driver_up(&b, ALL_FEATURES);
		b.hold_all = true;
		post_numbered(&b, 0, 70);
		kick(&b.q[TXQ]);
		for (unsigned i = 0; i < 20; i++)
			post_rx(&b, 300);
		make_frame(big, 60, 0);
		b.want = 2000;
		assert_int_equal(wire_frame(&b, big, 60, NULL), NET_OK);
		b.want = 0;
		settle(&b);
		quiet_period(&b, dma_off);
		expect_numbered(&b, 70);
		assert_int_equal(receive(&b, back, sizeof(back), NULL), 60);
		passes_in(&b, 3000, 8);
		bench_close(&b);
	}
}

/* DRIVER_OK while DMA is off (bus master bit not set yet): it starts when it comes on. */
static void test_start_without_dma(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	atomic_store(&b.dma.on, false);
	assert_true(negotiate(&b, offered(&b)));
	place_queues(&b);
	driver_ok(&b);
	assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	make_frame(big, 60, 0);
	assert_int_equal(wire_frame(&b, big, 60, NULL), -EAGAIN);
	atomic_store(&b.dma.on, true);
	virtio_resume(b.v);
	settle(&b);
	net_drained(&b.wire);
	expect_healthy(&b);
	bench_close(&b);
}

/* ---- wire to guest ---- */

/* A receive buffer of one or more pieces, direct or not. */
static void post_random_rx(struct bench *b, uint32_t len, unsigned max_pieces)
{
	struct seg s[16];
	unsigned n = 0;

	while (len) {
		uint32_t part = n + 1 == max_pieces ? len : MIN(1 + rnd(len), len);

		s[n++] = (struct seg){ buf(b, part), part, true };
		len -= part;
	}
	if (virtio_has(b->v, VIRTIO_RING_F_INDIRECT_DESC) && rnd(2))
		chain_indirect(&b->q[RXQ], s, n);
	else
		chain(&b->q[RXQ], s, n);
}

static uint32_t random_len(void)
{
	switch (rnd(3)) {
	case 0:
		return ETH_HDR_LEN + rnd(100);
	case 1:
		return ETH_HDR_LEN + rnd(1600);
	}
	return ETH_HDR_LEN + rnd(NET_FRAME_MAX - ETH_HDR_LEN);
}

static size_t random_want(uint32_t len)
{
	switch (rnd(3)) {
	case 0:
		return ETH_HDR_LEN;
	case 1:
		return NET_FRAME_MAX;
	}
	return len;
}

/* How many of the buffers posted from `first` on a frame needs. */
static unsigned buffers_for(const uint32_t *posted, unsigned first, size_t len)
{
	unsigned n = 0;

	for (len += HDR; len > posted[(first + n) % 1024]; n++)
		len -= posted[(first + n) % 1024];
	return n + 1;
}

static void test_rx_merged(void **state)
{
	static uint32_t posted[1024];
	struct virtio_net_hdr_mrg_rxbuf h;
	struct bench b;

	(void)state;
	for (unsigned smallest = 0; smallest < 2; smallest++) {
		unsigned n_posted = 0, n_used = 0;

		bench_open(&b, (const char *const[]){ "rx_queue_size=1024", NULL });
		b.queue_size = 1024;
		driver_up(&b, ALL_FEATURES);
		for (unsigned round = 0; round < 3000; round++) {
			uint32_t len = random_len();
			unsigned n;

			while (n_posted - n_used < 150) {
				uint32_t size = smallest ? HDR + rnd(1000) : 1526;

				posted[n_posted++ % 1024] = size;
				post_random_rx(&b, size, 3);
			}
			while (smallest && n_posted - n_used < 250 && b.q[RXQ].n_free > 20) {
				posted[n_posted++ % 1024] = 600;
				post_random_rx(&b, 600, 3);
			}
			make_frame(big, len, round);
			/* A window may be lent again and again, larger or smaller, and nothing be received into it. */
			for (unsigned again = rnd(3); again; again--) {
				struct net_window w;

				assert_int_equal(net_lend(&b.wire, random_want(len), &w), 0);
			}
			b.want = random_want(len);
			assert_int_equal(wire_frame(&b, big, len, NULL), NET_OK);
			n = buffers_for(posted, n_used, len);
			assert_int_equal(receive(&b, back, sizeof(back), &h), (int)len);
			assert_memory_equal(back, big, len);
			assert_int_equal(h.num_buffers, n);
			n_used += n;
			kick_if_due(&b.q[RXQ]);
			settle(&b);
		}
		bench_close(&b);
	}
}

static void test_rx_unmerged(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf h;
	struct bench b;
	unsigned small = 0;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
	for (unsigned round = 0; round < 2000; round++) {
		uint32_t len = random_len(), room = rnd(2) ? HDR + rnd(2000) : HDR + NET_FRAME_MAX;
		int r;

		if (len >= room - HDR && rnd(2))
			len = MAX(room - HDR, (uint32_t)ETH_HDR_LEN); /* just so, or just not */
		post_random_rx(&b, room, 5);
		make_frame(big, len, round);
		b.want = random_want(len);
		r = wire_frame(&b, big, len, NULL);
		if (len > room - HDR) {
			assert_int_equal(r, NET_DROP_BUFFER_SMALL);
			small++;
			len = room - HDR;
			if (len < ETH_HDR_LEN) { /* no frame goes into that one */
				driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
				continue;
			}
			make_frame(big, len, round);
			r = wire_frame(&b, big, len, NULL);
		}
		assert_int_equal(r, NET_OK);
		assert_int_equal(receive(&b, back, sizeof(back), &h), (int)len);
		assert_memory_equal(back, big, len);
		assert_int_equal(h.num_buffers, 1);
	}
	assert_int_equal(dropped_rx(&b, NET_DROP_BUFFER_SMALL), small);
	bench_close(&b);
}

/* A chain of more pieces than a window may have */
static void test_rx_many_pieces(void **state)
{
	static struct seg s[VIRTQ_CHAIN_MAX];
	struct bench b;

	(void)state;
	for (unsigned merged = 0; merged < 2; merged++) {
		bench_open(&b, NULL);
		driver_up(&b, merged ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
		for (unsigned round = 0; round < 3; round++) {
			for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
				s[i] = (struct seg){ buf(&b, 64), 64, true };
			chain_indirect(&b.q[RXQ], s, ARRAY_SIZE(s));
		}
		for (unsigned round = 0; round < 3; round++) {
			uint64_t table;
			struct vring_desc d;
			uint16_t head;
			uint32_t used;

			make_frame(big, 64 * 1024 - HDR - 100, round);
			b.want = round ? NET_FRAME_MAX : 60;
			assert_int_equal(wire_frame(&b, big, 64 * 1024 - HDR - 100, NULL), NET_OK);
			assert_true(reap(&b.q[RXQ], &head, &used));
			assert_int_equal(used, 64 * 1024 - 100);
			table = chain_addr(&b.q[RXQ], head);
			for (unsigned i = 0, off = 0; off < used; i++, off += 64) {
				unsigned skip = off ? 0 : HDR, n = MIN(64u, used - off) - skip;

				memcpy(&d, (uint8_t *)at(&b, table) + i * sizeof(d), sizeof(d));
				assert_memory_equal((uint8_t *)at(&b, d.addr) + skip, big + off + skip - HDR, n);
			}
		}
		bench_close(&b);
	}
}

/* ---- a guest without buffers ---- */

static void test_starved(void **state)
{
	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		struct bench b;

		bench_open(&b, NULL);
		driver_up(&b, event_idx ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX));
		make_frame(big, 60, 0);
		for (unsigned i = 0; i < 1000; i++) {
			unsigned wakes, n = 1 + rnd(3);

			assert_int_equal(wire_frame(&b, big, 60, NULL), -EAGAIN);
			settle(&b);
			wakes = b.wakes;
			for (unsigned k = 0; k < n; k++)
				post_rx(&b, 100);
			assert_true(kick_if_due(&b.q[RXQ]));
			settle(&b);
			assert_int_equal(b.wakes, wakes + 1);
			for (unsigned k = 0; k < n; k++) {
				assert_int_equal(wire_frame(&b, big, 60, NULL), NET_OK);
				assert_int_equal(receive(&b, back, sizeof(back), NULL), 60);
			}
		}
		bench_close(&b);
	}
}

/* A frame that is larger than what is there now: held, not dropped, and nothing overtakes it. */
static void start_hold(struct bench *b)
{
	bench_open(b, NULL);
	driver_up(b, ALL_FEATURES);
	for (unsigned i = 0; i < 4; i++)
		post_rx(b, 1000);
	make_frame(big, 20000, 5);
	b->want = 100;
	assert_int_equal(wire_frame(b, big, 20000, NULL), NET_OK);
	assert_int_equal(counter_get(&b->nic->rx.held), 1);
	assert_int_equal(counter_get(&b->nic->rx.out), 0);
	assert_int_equal(used_idx(&b->q[RXQ]), 0);
	expect_balanced(b);
	assert_int_equal(wire_frame(b, big, 60, NULL), -EAGAIN);
	settle(b);
}

static void test_hold(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf h;
	struct bench b;
	unsigned wakes;

	(void)state;
	start_hold(&b);
	wakes = b.wakes;
	for (unsigned i = 0; i < 15; i++) {
		post_rx(&b, 1000);
		assert_true(kick_if_due(&b.q[RXQ]));
		settle(&b);
		assert_int_equal(used_idx(&b.q[RXQ]), 0);
		assert_int_equal(wire_frame(&b, big, 60, NULL), -EAGAIN);
	}
	assert_int_equal(b.wakes, wakes);
	for (unsigned i = 0; i < 5; i++)
		post_rx(&b, 1000);
	assert_true(kick_if_due(&b.q[RXQ]));
	settle(&b);
	assert_int_equal(b.wakes, wakes + 1);
	assert_int_equal(receive(&b, back, sizeof(back), &h), 20000);
	assert_memory_equal(back, big, 20000);
	assert_int_equal(h.num_buffers, 21);
	assert_int_equal(counter_get(&b.nic->rx.held), 0);
	assert_int_equal(counter_get(&b.nic->rx.out), 1);
	assert_int_equal(counter_get(&b.nic->rx.bytes), 20000);
	expect_balanced(&b);
	make_frame(big, 60, 6);
	assert_int_equal(wire_frame(&b, big, 60, NULL), NET_OK);
	bench_close(&b);
}

static void test_hold_ends(void **state)
{
	static const enum net_drop why[] = { NET_DROP_NO_BUFFER, NET_DROP_RESET, NET_DROP_BROKEN };

	(void)state;
	for (unsigned how = 0; how < ARRAY_SIZE(why); how++) {
		struct bench b;

		start_hold(&b);
		if (how == 0) { /* the driver does not refill */
			vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
		} else if (how == 1) {
			virtio_reset(b.v);
			driver_up(&b, ALL_FEATURES);
		} else {
			post_nonsense(&b.q[TXQ]);
			kick(&b.q[TXQ]);
			settle(&b);
			driver_up(&b, ALL_FEATURES);
		}
		settle(&b);
		assert_int_equal(counter_get(&b.nic->rx.held), 0);
		assert_int_equal(dropped_rx(&b, why[how]), 1);
		expect_balanced(&b);
		/* Its buffers are there for others. */
		if (how)
			post_rx(&b, 1000);
		passes_in(&b, 900, 7);
		bench_close(&b);
	}
}

/*
 * A stop and a start, or two, between: what lay in the guest's buffers already comes from elsewhere, for the guest has
 * them back. Its patience begins anew.
 */
static void test_hold_outlasts_a_stop(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf h;

	(void)state;
	for (unsigned stops = 1; stops <= 3; stops++) {
		struct bench b;
		struct gq *q = &b.q[RXQ];

		start_hold(&b);
		for (unsigned i = 0; i < stops; i++) {
			virtio_quiesce(b.v);
			assert_int_equal(counter_get(&b.nic->rx.held), 1);
			expect_balanced(&b);
			for (unsigned k = 0; k < 4; k++)
				memset(at(&b, posted_addr(q, k)), 0x55, 1000);
			virtio_resume(b.v);
			settle(&b);
			assert_int_equal(wire_frame(&b, back, 60, NULL), -EAGAIN);
		}
		if (stops == 3) {
			vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
			settle(&b);
			assert_int_equal(dropped_rx(&b, NET_DROP_NO_BUFFER), 1);
		} else {
			for (unsigned i = 0; i < 17; i++)
				post_rx(&b, 1000);
			assert_true(kick_if_due(q));
			settle(&b);
			assert_int_equal(receive(&b, back, sizeof(back), &h), 20000);
			assert_memory_equal(back, big, 20000);
			assert_int_equal(h.num_buffers, 21);
			assert_int_equal(counter_get(&b.nic->rx.out), 1);
		}
		assert_int_equal(counter_get(&b.nic->rx.held), 0);
		expect_balanced(&b);
		bench_close(&b);
	}
}

/* The ring breaks while buffers for the rest of a frame are collected: what was taken before is published. */
static void test_break_in_take(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned i = 0; i < 3; i++)
		post_rx(&b, 1000);
	chain(&b.q[RXQ], &(struct seg){ RAM2_END, 1000, true }, 1);
	make_frame(big, 20000, 5);
	b.want = 100;
	for (unsigned i = 0; i < 2; i++) {
		struct net_window w;

		assert_int_equal(net_lend(&b.wire, 100, &w), 0);
		assert_int_equal(net_take(&b.wire, i ? 20000 : 60, &(struct frame_meta){ 0 }),
				 i ? NET_DROP_BROKEN : NET_OK);
	}
	net_commit(&b.wire);
	assert_int_equal(used_idx(&b.q[RXQ]), 1);
	assert_int_equal(dropped_rx(&b, NET_DROP_BROKEN), 1);
	assert_true(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
	expect_balanced(&b);
	b.want = 0;
	driver_up(&b, ALL_FEATURES);
	expect_healthy(&b);
	bench_close(&b);
}

/* ---- links and offloads ---- */

static uint16_t config_status(struct bench *b)
{
	uint16_t status;

	virtio_config_read(b->v, offsetof(struct virtio_net_config, status), 2, (uint8_t *)&status);
	return le16toh(status);
}

static void test_link(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(config_status(&b), VIRTIO_NET_S_LINK_UP);
	for (unsigned i = 0; i < 4; i++) {
		struct net_client *which = i % 2 ? b.nic : &b.wire;
		uint32_t generation = atomic_load(&b.v->config_generation);

		b.config_calls = 0;
		net_set_link(which, false);
		settle(&b);
		assert_int_equal(config_status(&b), 0);
		assert_int_equal(b.config_calls, 1);
		assert_true(atomic_load(&b.v->config_generation) != generation);
		assert_int_equal(virtio_read_isr(b.v) & 2, 2);
		make_frame(big, 100, 0);
		post_tx(&b, NULL, big, 100, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, i);
		assert_int_equal(dropped_tx(&b, NET_DROP_LINK_DOWN), i + 1);
		assert_int_equal(wire_frame(&b, big, 100, NULL), NET_DROP_LINK_DOWN);
		net_set_link(which, true);
		settle(&b);
		assert_int_equal(config_status(&b), VIRTIO_NET_S_LINK_UP);
		assert_int_equal(b.config_calls, 2);
		expect_healthy(&b);
	}
	bench_close(&b);
}

/* What a header says of the checksum: nothing to a guest that did not ask for it (5.1.6.4.1). */
static void test_header_flags(void **state)
{
	const struct frame_meta valid = { .data_valid = true };
	struct virtio_net_hdr_mrg_rxbuf h;
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	make_frame(big, 60, 0);
	for (unsigned csum = 0; csum < 2; csum++) {
		driver_up(&b, csum ? BIT(VIRTIO_NET_F_GUEST_CSUM) : MIN_FEATURES);
		post_rx(&b, 100);
		assert_int_equal(wire_frame(&b, big, 60, &valid), NET_OK);
		assert_int_equal(receive(&b, back, sizeof(back), &h), 60);
		assert_int_equal(h.hdr.flags, csum ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
		assert_int_equal(h.hdr.gso_type | h.hdr.gso_size | h.hdr.hdr_len | h.hdr.csum_start, 0);
		assert_int_equal(h.num_buffers, 1);
	}
	bench_close(&b);
}

/* A TCP/IPv4 frame with `payload` bytes of 'a' to 'z'. */
static size_t make_tcp(uint8_t *f, unsigned payload)
{
	unsigned ip_len = 40 + payload;

	make_frame(f, 14, 0);
	f[12] = 8;
	f[13] = 0;
	memcpy(f + 14,
	       (uint8_t[]){
		       0x45, 0, (uint8_t)(ip_len >> 8), (uint8_t)ip_len, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0,
		       0,    2 },
	       20);
	memcpy(f + 34, (uint8_t[]){ 0, 80, 0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0 }, 20);
	for (unsigned i = 0; i < payload; i++)
		f[54 + i] = (uint8_t)('a' + i % 26);
	return 54 + payload;
}

static uint64_t rewritten;

static void rewrite_headers(struct bench *b, struct batch *batch)
{
	(void)batch;
	memset(at(b, rewritten), 0xee, HDR + 54);
	memset(b->q[TXQ].desc, 0xee, b->q[TXQ].size * sizeof(struct vring_desc));
}

/* A frame that goes in segments, more than one batch of them: its headers may change as soon as the first are out. */
static void test_headers_change_while_cut(void **state)
{
	const struct virtio_net_hdr_mrg_rxbuf h = { .hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
							     .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
							     .gso_size = htole16(500),
							     .hdr_len = htole16(54),
							     .csum_start = htole16(34),
							     .csum_offset = htole16(16) } };
	static uint8_t kept[128][554];
	uint32_t len = (uint32_t)make_tcp(big, 64000);
	uint16_t head;
	struct bench b;

	(void)state;
	for (unsigned rewrites = 0; rewrites < 2; rewrites++) {
		bench_open(&b, NULL);
		driver_up(&b, ALL_FEATURES);
		net_takes_changed(&b.wire, 0);
		b.on_send = rewrites ? rewrite_headers : NULL;
		assert_int_equal(post_tx(&b, &h, big, len, NULL), 0);
		rewritten = chain_addr(&b.q[TXQ], 0);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, ARRAY_SIZE(kept));
		for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
			assert_int_equal(b.sunk[i].len, 554);
			assert_memory_equal(b.sunk[i].data + 54, big + 54 + 500 * i, 500);
			if (rewrites)
				assert_memory_equal(b.sunk[i].data, kept[i], 554);
			memcpy(kept[i], b.sunk[i].data, 554);
		}
		assert_true(reap(&b.q[TXQ], &head, NULL));
		assert_int_equal(head, 0);
		assert_int_equal(counter_get(&b.nic->tx.made), ARRAY_SIZE(kept) - 1);
		assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
		bench_close(&b);
	}
}

/*
 * A large frame for a guest that took such: in one piece. The same after the guest turned all offloads off: in
 * segments.
 */
static void test_offloads_off_while_frames_wait(void **state)
{
	const struct frame_meta m = { .gso = NET_GSO_TCP4,
				      .needs_csum = true,
				      .gso_size = 1448,
				      .hdr_len = 54,
				      .csum_start = 34,
				      .csum_offset = 16 };
	struct virtio_net_hdr_mrg_rxbuf h;
	size_t len = make_tcp(big, 64000), got = 0;
	uint64_t none = 0;
	struct bench b;
	unsigned n;
	int r;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned i = 0; i < 200; i++)
		post_rx(&b, 1526);
	assert_int_equal(wire_frame(&b, big, len, &m), NET_OK);
	assert_int_equal(receive(&b, back, sizeof(back), &h), (int)len);
	assert_int_equal(h.hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(h.hdr.gso_size, 1448);
	assert_int_equal(h.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(ctrl(&b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &none, 8), VIRTIO_NET_OK);
	assert_int_equal(wire_frame(&b, big, len, &m), NET_OK);
	settle(&b);
	for (n = 0; (r = receive(&b, back, sizeof(back), &h)) >= 0; n++) {
		assert_in_range(r, 55, 1514);
		assert_int_equal(h.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_int_equal(h.hdr.flags, 0);
		assert_int_equal(h.num_buffers, 1);
		assert_memory_equal(back + 54, big + 54 + got, r - 54);
		got += (size_t)r - 54;
	}
	assert_int_equal(n, (64000 + 1447) / 1448);
	assert_int_equal(got, 64000);
	expect_balanced(&b);
	bench_close(&b);
}

/*
 * The same while a frame waits in the NIC itself, its first part in the guest's buffers: one that is only without its
 * checksum gets it, one that would have to be cut is dropped, and says why.
 */
static void test_offloads_off_while_one_is_held(void **state)
{
	struct frame_meta m = { .needs_csum = true, .csum_start = 34, .csum_offset = 16 };
	struct virtio_net_hdr_mrg_rxbuf h;
	uint64_t none = 0;

	(void)state;
	for (unsigned cut = 0; cut < 2; cut++) {
		struct bench b;
		struct iov_cur cur;
		uint16_t sum;

		bench_open(&b, NULL);
		driver_up(&b, ALL_FEATURES);
		for (unsigned i = 0; i < 4; i++)
			post_rx(&b, 1000);
		make_frame(big, 20000, 5);
		memset(big + 50, 0, 2);
		m.gso = cut ? NET_GSO_TCP4 : NET_GSO_NONE;
		m.gso_size = cut ? 1448 : 0;
		b.want = 100;
		assert_int_equal(wire_frame(&b, big, 20000, &m), NET_OK);
		assert_int_equal(ctrl(&b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &none, 8), VIRTIO_NET_OK);
		assert_int_equal(dropped_rx(&b, NET_DROP_OFFLOAD), cut);
		assert_int_equal(counter_get(&b.nic->rx.held), !cut);
		expect_balanced(&b);
		for (unsigned i = 0; i < 17; i++)
			post_rx(&b, 1000);
		kick(&b.q[RXQ]);
		settle(&b);
		if (cut) {
			passes_in(&b, 900, 7);
		} else {
			assert_int_equal(receive(&b, back, sizeof(back), &h), 20000);
			assert_int_equal(h.hdr.flags, 0);
			cur = iov_cur(&(struct iovec){ back + 34, 20000 - 34 }, 1);
			assert_int_equal(csum_fold(csum_add_iov(0, &cur, 20000 - 34)), 0xffff);
			memcpy(&sum, back + 50, 2);
			memcpy(big + 50, &sum, 2);
			assert_memory_equal(back, big, 20000);
		}
		bench_close(&b);
	}
}

/* ---- the receive filter ---- */

enum {
	RX_CLASS,
	PROMISC = 0,
	ALLMULTI,
	ALLUNI,
	NOMULTI,
	NOUNI,
	NOBCAST
};

static void mode(struct bench *b, uint8_t cmd, uint8_t on)
{
	assert_int_equal(ctrl(b, VIRTIO_NET_CTRL_RX, cmd, &on, 1), VIRTIO_NET_OK);
}

/* The answer to a frame of 60 bytes for `mac`, tagged if vid >= 0. */
static int judged(struct bench *b, const char *mac, int vid)
{
	uint8_t f[60];
	int r;

	make_frame(f, sizeof(f), 0);
	sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &f[0], &f[1], &f[2], &f[3], &f[4], &f[5]);
	if (vid >= 0) {
		f[12] = 0x81;
		f[13] = 0;
		f[14] = (uint8_t)(0xe0 | vid >> 8); /* with a priority */
		f[15] = (uint8_t)vid;
	}
	if (b->q[RXQ].n_free)
		post_rx(b, 100);
	r = wire_frame(b, f, sizeof(f), NULL);
	if (r == NET_OK)
		assert_int_equal(receive(b, back, sizeof(back), NULL), 60);
	else
		assert_int_equal(b->q[RXQ].seen, used_idx(&b->q[RXQ]));
	return r;
}

#define OWN    "52:54:00:12:34:56"
#define OTHER  "52:54:00:00:00:99"
#define MULTI  "01:00:5e:00:00:05"
#define MULTI2 "01:00:5e:00:00:06"
#define BCAST  "ff:ff:ff:ff:ff:ff"

static void filter_by_address(struct bench *b)
{
	const struct {
		uint32_t n_uc;
		uint8_t uc[6];
		uint32_t n_mc;
		uint8_t mc[6];
	} __attribute__((packed))
	table = { htole32(1), { 0x52, 0x54, 0, 0, 0, 0x99 }, htole32(1), { 1, 0, 0x5e, 0, 0, 5 } };

	/* Promiscuous at first: everything. */
	assert_int_equal(judged(b, OTHER, 5), NET_OK);
	mode(b, PROMISC, 0);
	assert_int_equal(judged(b, OWN, -1), NET_OK);
	assert_int_equal(judged(b, OTHER, -1), NET_DROP_FILTER_MAC);
	assert_int_equal(judged(b, MULTI, -1), NET_DROP_FILTER_MAC);
	assert_int_equal(judged(b, BCAST, -1), NET_OK);
	mode(b, ALLMULTI, 1);
	assert_int_equal(judged(b, MULTI, -1), NET_OK);
	mode(b, ALLMULTI, 0);
	mode(b, ALLUNI, 0x55); /* what is not 0 is true */
	assert_int_equal(judged(b, OTHER, -1), NET_OK);
	mode(b, ALLUNI, 0);
	assert_int_equal(ctrl(b, VIRTIO_NET_CTRL_MAC, 0, &table, sizeof(table)), VIRTIO_NET_OK);
	assert_int_equal(judged(b, OTHER, -1), NET_OK);
	assert_int_equal(judged(b, MULTI, -1), NET_OK);
	assert_int_equal(judged(b, MULTI2, -1), NET_DROP_FILTER_MAC);
	mode(b, NOMULTI, 1);
	assert_int_equal(judged(b, MULTI, -1), NET_DROP_FILTER_MAC);
	assert_int_equal(judged(b, BCAST, -1), NET_OK);
	mode(b, NOBCAST, 1);
	assert_int_equal(judged(b, BCAST, -1), NET_DROP_FILTER_MAC);
	mode(b, NOUNI, 1);
	assert_int_equal(judged(b, OWN, -1), NET_DROP_FILTER_MAC);
	mode(b, NOUNI, 0);
}

/* None at first, but a priority tag is no VLAN. */
static void filter_by_vlan(struct bench *b)
{
	uint16_t vid = htole16(100);

	assert_int_equal(judged(b, OWN, 100), NET_DROP_FILTER_VLAN);
	assert_int_equal(judged(b, OWN, 0), NET_OK);
	assert_int_equal(ctrl(b, VIRTIO_NET_CTRL_VLAN, 0, &vid, 2), VIRTIO_NET_OK);
	assert_int_equal(judged(b, OWN, 100), NET_OK);
	assert_int_equal(judged(b, OWN, 101), NET_DROP_FILTER_VLAN);
	assert_int_equal(ctrl(b, VIRTIO_NET_CTRL_VLAN, 1, &vid, 2), VIRTIO_NET_OK);
	assert_int_equal(judged(b, OWN, 100), NET_DROP_FILTER_VLAN);
}

static void filter_by_another_address(struct bench *b)
{
	uint8_t mac[6] = { 2, 2, 2, 2, 2, 2 };

	assert_int_equal(ctrl(b, VIRTIO_NET_CTRL_MAC, 1, mac, 6), VIRTIO_NET_OK);
	assert_int_equal(judged(b, OWN, -1), NET_DROP_FILTER_MAC);
	assert_int_equal(judged(b, "02:02:02:02:02:02", -1), NET_OK);
	virtio_config_read(b->v, 0, 6, back);
	assert_memory_equal(back, mac, 6);
}

static void test_filter(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, (const char *const[]){ "mac=" OWN, NULL });
	driver_up(&b, ALL_FEATURES);
	filter_by_address(&b);
	filter_by_vlan(&b);
	filter_by_another_address(&b);
	assert_int_equal(dropped_rx(&b, NET_DROP_FILTER_MAC), 7);
	assert_int_equal(dropped_rx(&b, NET_DROP_FILTER_VLAN), 3);
	expect_balanced(&b);
	/* A reset brings all of it back to power-on. */
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(judged(&b, OTHER, 100), NET_OK);
	virtio_config_read(b.v, 0, 6, back);
	assert_memory_equal(back, ((uint8_t[]){ 0x52, 0x54, 0, 0x12, 0x34, 0x56 }), 6);
	/* Without CTRL_VLAN there is no VLAN filter. */
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_CTRL_VLAN));
	mode(&b, PROMISC, 0);
	assert_int_equal(judged(&b, OWN, 100), NET_OK);
	bench_close(&b);
}

/* C24: frames too short for what the filter looks at, in buffers cut anywhere. */
static void test_filter_short_frames(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	mode(&b, PROMISC, 0);
	for (uint32_t first = HDR; first < HDR + 20; first++) {
		for (unsigned len = ETH_HDR_LEN; len < 20; len++) {
			make_frame(big, len, 1);
			memcpy(big, ((uint8_t[]){ 0x52, 0x54, 0, 0x12, 0x34, 0x56 }), 6);
			big[12] = 0x81;
			big[13] = 0;
			post_rx(&b, first);
			post_rx(&b, 100);
			assert_int_equal(wire_frame(&b, big, len, NULL), len < 18 ? NET_OK : NET_DROP_FILTER_VLAN);
			driver_up(&b, ALL_FEATURES);
			mode(&b, PROMISC, 0);
		}
	}
	bench_close(&b);
}

/* ---- properties ---- */

static void expect_refused(const char *const *props, const char *text)
{
	static const struct virtio_transport none;
	struct error err = { "" };
	struct object *o = object_new("virtio-net-device", &err);
	struct virtio_device *v = to_virtio_device(to_device(o));
	struct bus bus;
	int r = 0;

	assert_non_null(o);
	for (; r == 0 && *props; props += 2)
		r = object_set(o, props[0], props[1], &err);
	if (r == 0) {
		bus_init(&bus, "virtio", "refused", NULL);
		v->transport = &none;
		r = device_realize(&v->dev, &bus, &err);
		bus_deinit(&bus);
	}
	assert_true(r < 0);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, text);
	object_free(o);
}

static void test_properties(void **state)
{
	static const char *const off[] = {
		"csum=off",	 "guest_tso4=off",    "guest_tso6=off",	 "ctrl_vq=off", "mrg_rxbuf=off",
		"event_idx=off", "indirect_desc=off", "queue_reset=off", "status=off",	NULL
	};
	static const char *const more[] = { "host_mtu=9000", "speed=10000", "duplex=full", "mac=52:54:00:ab:cd:ef",
					    NULL };
	struct virtio_net_config c;
	struct bench b;
	uint64_t f;

	(void)state;
	bench_open(&b, off);
	f = offered(&b);
	/* What was turned off, and what needs it: TSO needs CSUM, ECN needs TSO, the classes the control queue. */
	assert_int_equal(f, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
				    BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_GUEST_USO4) |
				    BIT(VIRTIO_NET_F_GUEST_USO6));
	assert_int_equal(b.v->n_queues, 2);
	driver_up(&b, ALL_FEATURES);
	expect_healthy(&b);
	expect_refused((const char *const[]){ "netdev", "nowhere", NULL }, "netdev=nowhere");
	expect_refused((const char *const[]){ "netdev", "wire", NULL }, "wire");
	expect_refused((const char *const[]){ "host_mtu", "67", NULL }, "host_mtu=67");
	expect_refused((const char *const[]){ "rx_queue_size", "128", NULL }, "256");
	expect_refused((const char *const[]){ "tx_queue_size", "2048", NULL }, "1024");
	expect_refused((const char *const[]){ "tx_queue_size", "300", NULL }, "power");
	expect_refused((const char *const[]){ "speed", "-2", NULL }, "-1");
	expect_refused((const char *const[]){ "duplex", "both", NULL }, "half");
	expect_refused((const char *const[]){ "mac", "01:00:00:00:00:01", NULL }, "multicast");
	bench_close(&b);

	bench_open(&b, more);
	f = offered(&b);
	assert_true(f & BIT(VIRTIO_NET_F_MTU) && f & BIT(VIRTIO_NET_F_SPEED_DUPLEX));
	virtio_config_read(b.v, 0, sizeof(c), (uint8_t *)&c);
	assert_int_equal(le16toh(c.mtu), 9000);
	assert_int_equal(le32toh(c.speed), 10000);
	assert_int_equal(c.duplex, 1);
	assert_memory_equal(c.mac, ((uint8_t[]){ 0x52, 0x54, 0, 0xab, 0xcd, 0xef }), 6);
	bench_close(&b);
}

/* Pages that reception wrote are in the dirty log, and no others but the ring's. */
static void test_dirty_log(void **state)
{
	uint64_t bits[RAM2_SIZE / 4096 / 64 + 1];
	struct error err;
	struct dirty_log *log;
	struct bench b;
	uint64_t gpa;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	b.next_buf = RAM2_GPA;
	gpa = ALIGN_UP(buf(&b, 0x6000), 0x1000);
	chain(&b.q[RXQ], &(struct seg){ gpa + 0xffc, 0x2000, true }, 1);
	log = dirty_log_start(&b.ram, &err);
	assert_non_null(log);
	dirty_log_sync(log, 0, bits);
	dirty_log_sync(log, 2, bits);
	make_frame(big, 0x800, 0);
	assert_int_equal(wire_frame(&b, big, 0x800, NULL), NET_OK);
	assert_int_equal(dirty_log_sync(log, 2, bits), 2); /* header in both, frame in the second */
	assert_int_equal(bits[0], 3ULL << (gpa - RAM2_GPA) / 0x1000);
	assert_true(dirty_log_sync(log, 0, bits) >= 1); /* used ring */
	assert_true(bits[0] & BIT(b.q[RXQ].gpa / 0x1000 + (b.q[RXQ].packed ? 0 : 5)));
	dirty_log_stop(&b.ram);
	bench_close(&b);
}

/* 5.1.6, 5.1.6.1 */
static void test_header_length(void **state)
{
	(void)state;
	assert_int_equal(vnet_hdr_len(0), 10);
	assert_int_equal(vnet_hdr_len(BIT(VIRTIO_NET_F_MRG_RXBUF)), 12);
	assert_int_equal(vnet_hdr_len(BIT(VIRTIO_F_VERSION_1)), 12);
	assert_int_equal(vnet_hdr_len(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_HASH_REPORT)), 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_properties), /* the first one's features are those without packed rings */
		cmocka_unit_test(test_header_length),
		cmocka_unit_test(test_tx_every_size),
		cmocka_unit_test(test_one_call_a_batch),
		cmocka_unit_test(test_tx_bad_headers),
		cmocka_unit_test(test_blocked_wire),
		cmocka_unit_test(test_blocked_among_bad),
		cmocka_unit_test(test_reset_while_blocked),
		cmocka_unit_test(test_quiesce),
		cmocka_unit_test(test_start_without_dma),
		cmocka_unit_test(test_rx_merged),
		cmocka_unit_test(test_rx_unmerged),
		cmocka_unit_test(test_rx_many_pieces),
		cmocka_unit_test(test_starved),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_hold_ends),
		cmocka_unit_test(test_hold_outlasts_a_stop),
		cmocka_unit_test(test_offloads_off_while_one_is_held),
		cmocka_unit_test(test_break_in_take),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_header_flags),
		cmocka_unit_test(test_headers_change_while_cut),
		cmocka_unit_test(test_offloads_off_while_frames_wait),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_filter_short_frames),
		cmocka_unit_test(test_dirty_log),
	};

	return bench_run_in_order(tests, ARRAY_SIZE(tests), 1);
}
