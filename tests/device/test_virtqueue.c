/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a driver can write into a split virtqueue, each case with its outcome: the queue works, a frame is dropped with
 * a reason, or the device is broken until reset (expect_broken). The transmit queue stands for all where they do not
 * differ.
 */
#include <errno.h>
#include <stdlib.h>

#include "guest.h"

/* A bench with all features, or with those given, and a frame in RAM behind a header. */
struct fixture {
	struct bench b;
	uint64_t frame; /* HDR + 100 bytes */
};

static void open_with(struct fixture *f, uint64_t features)
{
	bench_open(&f->b, NULL);
	driver_up(&f->b, features);
	f->frame = buf(&f->b, HDR + 100);
	memset(at(&f->b, f->frame), 0, HDR);
	make_frame((uint8_t *)at(&f->b, f->frame) + HDR, 100, 3);
}

static void open_all(struct fixture *f)
{
	open_with(f, ALL_FEATURES);
}

static void done(struct fixture *f)
{
	bench_close(&f->b);
}

static void kick_tx(struct fixture *f)
{
	kick(&f->b.q[TXQ]);
	settle(&f->b);
}

/* One transmit descriptor as given. */
static void tx_desc(struct fixture *f, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	set_desc(&f->b.q[TXQ], 0, gpa, len, flags, next);
	post(&f->b.q[TXQ], 0);
	kick_tx(f);
}

static void expect_sent(struct fixture *f, unsigned n)
{
	assert_int_equal(f->b.n_sunk, n);
	expect_balanced(&f->b);
	assert_int_equal(counter_get(&f->b.v->guest_errors), 0);
}

/* VQ1, VQ2 */
static void test_zero_length(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned where = 0; where < 4; where++) {
		static const unsigned queue[] = { TXQ, TXQ, RXQ, CTRLQ };
		struct gq *q;

		open_all(&f);
		q = &f.b.q[queue[where]];
		if (where == 1) { /* in the middle of a good chain */
			set_desc(q, 0, f.frame, HDR, VRING_DESC_F_NEXT, 1);
			set_desc(q, 1, f.frame, 0, VRING_DESC_F_NEXT, 2);
			set_desc(q, 2, f.frame + HDR, 100, 0, 0);
		} else {
			set_desc(q, 0, f.frame, 0, queue[where] == RXQ ? VRING_DESC_F_WRITE : 0, 0);
		}
		post(q, 0);
		kick(q);
		if (queue[where] == RXQ)
			assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), -EAGAIN);
		expect_broken(&f.b, queue[where], VIRTQ_FAULT_ZERO_LEN);
		done(&f);
	}
}

/* VQ3 */
static void test_address_zero(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	name_range(&f.b, 0, HDR + 100);
	memcpy(at(&f.b, 0), at(&f.b, f.frame), HDR + 100);
	tx_desc(&f, 0, HDR + 100, 0, 0);
	expect_sent(&f, 1);
	assert_memory_equal(f.b.sunk[0].data, (uint8_t *)at(&f.b, f.frame) + HDR, 100);
	done(&f);
}

/* VQ4 to VQ10: RAM is all that a device reaches; a BAR, a ROM, the local APIC are holes to it. */
static void test_bad_address(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
	} bad[] = {
		{ RAM2_END, 200 },		     /* beyond the end */
		{ 1ULL << 40, 200 },		     /* far beyond */
		{ RAM2_END - 199, 200 },	     /* across the end by one byte */
		{ UINT64_MAX - 99, 200 },	     /* wraps around */
		{ UINT64_MAX, 1 },		     /* the last byte there is */
		{ 0, UINT32_MAX },		     /* all the low addresses */
		{ RAM1_GPA + RAM1_SIZE - 100, 200 }, /* into the hole */
		{ RAM2_GPA - 100, 200 },	     /* out of the hole */
		{ RAM0_SIZE - 100, 200 },	     /* two blocks that are neighbours: a range lies in one */
		{ 0xfee00000, 200 },		     /* local APIC */
		{ 0xc0000000, 200 },		     /* where BARs are */
		{ 0xfffc0000, 200 },		     /* ROM */
	};
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		open_all(&f);
		tx_desc(&f, bad[i].gpa, bad[i].len, 0, 0);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_ADDRESS);
		/* The same for reception: nothing of it is written. */
		f.b.config_calls = 0;
		atomic_store(&f.b.v->guest_errors, 0);
		forget_sunk(&f.b);
		driver_up(&f.b, ALL_FEATURES);
		set_desc(&f.b.q[RXQ], 0, bad[i].gpa, bad[i].len, VRING_DESC_F_WRITE, 0);
		post(&f.b.q[RXQ], 0);
		kick(&f.b.q[RXQ]);
		assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), -EAGAIN);
		expect_broken(&f.b, RXQ, VIRTQ_FAULT_ADDRESS);
		done(&f);
	}
}

/* VQ11 */
static void test_next_out_of_range(void **state)
{
	static const uint16_t bad[] = { 256, 257, 0x8000, 0xffff };
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		open_all(&f);
		tx_desc(&f, f.frame, HDR, VRING_DESC_F_NEXT, bad[i]);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_NEXT);
		done(&f);
	}
}

/* VQ12, VQ13: loops of 1, 2 and all descriptors; a chain of all of them, which is fine, and one more. */
static void test_loops(void **state)
{
	static const unsigned length[] = { 1, 2, 255, 256 };
	struct fixture f;
	struct gq *q;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(length); i++) {
		open_all(&f);
		q = &f.b.q[TXQ];
		for (unsigned k = 0; k < length[i]; k++)
			set_desc(q, k, f.frame, 1, VRING_DESC_F_NEXT, (uint16_t)((k + 1) % length[i]));
		post(q, 0);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_LOOP);
		done(&f);
	}
	open_all(&f);
	q = &f.b.q[TXQ];
	for (unsigned k = 0; k < 256; k++) {
		uint64_t gpa = k < HDR ? f.frame + k : f.frame + HDR + k % 100;

		set_desc(q, k, gpa, 1, k < 255 ? VRING_DESC_F_NEXT : 0, (uint16_t)(k + 1));
	}
	post(q, 0);
	kick_tx(&f);
	expect_sent(&f, 1);
	assert_int_equal(f.b.sunk[0].len, 256 - HDR);
	done(&f);
}

/* VQ14 */
static void test_indirect_without_feature(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
	tx_desc(&f, f.frame, 16, VRING_DESC_F_INDIRECT, 0);
	expect_broken(&f.b, TXQ, VIRTQ_FAULT_INDIRECT);
	done(&f);
}

/* VQ15, VQ16, VQ17 */
static void test_bad_indirect(void **state)
{
	static const struct {
		uint64_t gpa; /* 0: a good table */
		uint32_t len;
		uint16_t flags, inner; /* of the descriptor, of the first entry */
	} bad[] = {
		{ 0, 0, 0, 0 },
		{ 0, 8, 0, 0 },
		{ 0, 17, 0, 0 },
		{ 0, 16 * (VIRTQ_CHAIN_MAX + 1), 0, 0 },
		{ 0, UINT32_MAX - 15, 0, 0 },
		{ 0, 16, VRING_DESC_F_NEXT, 0 },
		{ 0, 32, 0, VRING_DESC_F_INDIRECT },
		{ RAM2_END, 16, 0, 0 },
		{ RAM2_END - 16, 32, 0, 0 },
		{ RAM0_SIZE - 16, 32, 0, 0 },
		{ UINT64_MAX - 15, 32, 0, 0 },
	};
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t table;
		struct vring_desc *d;

		open_all(&f);
		table = ALIGN_UP(buf(&f.b, 64), 16);
		name_range(&f.b, table, 32);
		d = at(&f.b, table);
		d[0] = (struct vring_desc){ f.frame, HDR + 100, bad[i].inner, 0 };
		tx_desc(&f, bad[i].gpa ? bad[i].gpa : table, bad[i].len, VRING_DESC_F_INDIRECT | bad[i].flags, 0);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_INDIRECT);
		done(&f);
	}
}

/* VQ13 within a table, and a next beyond it */
static void test_loop_in_indirect(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned beyond = 0; beyond < 2; beyond++) {
		struct vring_desc *d;
		uint64_t table;

		open_all(&f);
		table = ALIGN_UP(buf(&f.b, 64), 16);
		name_range(&f.b, table, 32);
		d = at(&f.b, table);
		d[0] = (struct vring_desc){ f.frame, HDR, VRING_DESC_F_NEXT, 1 };
		d[1] = (struct vring_desc){ f.frame, 50, VRING_DESC_F_NEXT, beyond ? 2 : 0 };
		tx_desc(&f, table, 32, VRING_DESC_F_INDIRECT, 0);
		expect_broken(&f.b, TXQ, beyond ? VIRTQ_FAULT_NEXT : VIRTQ_FAULT_LOOP);
		done(&f);
	}
}

/* VQ16, VQ17: the table is the queue's own, whose first descriptor is indirect: a table in a table, for ever */
static void test_indirect_into_itself(void **state)
{
	static const unsigned queue[] = { TXQ, RXQ, CTRLQ };
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(queue); i++) {
		struct gq *q;

		open_all(&f);
		q = &f.b.q[queue[i]];
		set_desc(q, 0, q->gpa, 16, VRING_DESC_F_INDIRECT, 0);
		post(q, 0);
		kick(q);
		if (queue[i] == RXQ)
			assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), -EAGAIN);
		settle(&f.b);
		expect_broken(&f.b, queue[i], VIRTQ_FAULT_INDIRECT);
		done(&f);
	}
}

/* VQ16: WRITE on the descriptor of a table is ignored; a direct part may come before it (2.7.5.3.2). */
static void test_odd_indirect(void **state)
{
	struct fixture f;
	struct vring_desc *d;
	uint64_t table;
	struct gq *q;

	(void)state;
	open_all(&f);
	q = &f.b.q[TXQ];
	table = buf(&f.b, 16) | 1; /* no alignment is asked for */
	name_range(&f.b, table, 16);
	d = at(&f.b, table);
	memcpy(d, &(struct vring_desc){ f.frame, HDR + 100, 0, 0 }, sizeof(*d));
	set_desc(q, 0, table, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
	post(q, 0);
	set_desc(q, 1, f.frame, HDR + 50, VRING_DESC_F_NEXT, 2);
	set_desc(q, 2, table, 16, VRING_DESC_F_INDIRECT, 0);
	post(q, 1);
	kick_tx(&f);
	expect_sent(&f, 2);
	assert_int_equal(f.b.sunk[0].len, 100);
	assert_int_equal(f.b.sunk[1].len, 50 + HDR + 100);
	done(&f);
}

/* VQ17: a table that lies in its own buffer */
static void test_indirect_overlap(void **state)
{
	struct fixture f;
	struct vring_desc d;

	(void)state;
	open_all(&f);
	d = (struct vring_desc){ f.frame, HDR + 100, 0, 0 };
	memcpy((uint8_t *)at(&f.b, f.frame) + HDR + 20, &d, sizeof(d));
	tx_desc(&f, f.frame + HDR + 20, 16, VRING_DESC_F_INDIRECT, 0);
	expect_sent(&f, 1);
	assert_memory_equal(f.b.sunk[0].data + 20, &d, sizeof(d));
	done(&f);
}

/* VQ18 */
static void test_order(void **state)
{
	struct fixture f;
	struct gq *q;

	(void)state;
	open_all(&f);
	q = &f.b.q[CTRLQ];
	set_desc(q, 0, f.frame, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	set_desc(q, 1, f.frame, 2, 0, 0);
	post(q, 0);
	kick(q);
	expect_broken(&f.b, CTRLQ, VIRTQ_FAULT_ORDER);
	done(&f);
}

/* VQ19 */
static void test_unknown_flags(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	tx_desc(&f, f.frame, HDR + 100, 0xfff8, 0xffff);
	expect_sent(&f, 1);
	done(&f);
}

/* VQ20, VQ21 */
static void test_avail_index(void **state)
{
	static const int by[] = { 257, 0x8000, -1, -256 };
	struct fixture f;
	struct gq *q;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(by); i++) {
		open_all(&f);
		tx_desc(&f, f.frame, HDR + 100, 0, 0);
		f.b.q[TXQ].avail->idx = (uint16_t)(f.b.q[TXQ].avail->idx + by[i]);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_AVAIL_IDX);
		done(&f);
	}
	open_all(&f);
	q = &f.b.q[TXQ];
	for (unsigned k = 0; k < 256; k++) {
		set_desc(q, k, f.frame, HDR + 100, 0, 0);
		q->avail->ring[k] = (uint16_t)k;
	}
	q->avail->idx = 256;
	kick_tx(&f);
	expect_sent(&f, 256);
	assert_int_equal(used_idx(q), 256);
	done(&f);
}

/* VQ22 */
static void test_head_out_of_range(void **state)
{
	static const uint16_t bad[] = { 256, 0x7fff, 0xffff };
	struct fixture f;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		open_all(&f);
		post(&f.b.q[TXQ], bad[i]);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_HEAD);
		done(&f);
	}
}

/* VQ23 */
static void test_posted_twice(void **state)
{
	struct fixture f;
	struct gq *q;

	(void)state;
	open_all(&f);
	q = &f.b.q[TXQ];
	set_desc(q, 7, f.frame, HDR + 100, 0, 0);
	post(q, 7);
	post(q, 7);
	kick_tx(&f);
	expect_broken(&f.b, TXQ, VIRTQ_FAULT_IN_FLIGHT);
	done(&f);

	/* Receive buffers are in flight from the moment they are collected. */
	open_all(&f);
	q = &f.b.q[RXQ];
	set_desc(q, 7, buf(&f.b, 100), 100, VRING_DESC_F_WRITE, 0);
	post(q, 7);
	post(q, 7);
	f.b.want = 1000;
	assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), -EAGAIN);
	f.b.want = 0;
	expect_broken(&f.b, RXQ, VIRTQ_FAULT_IN_FLIGHT);
	done(&f);
}

/* VQ24, VQ25: rings on top of each other and of buffers. Whatever happens, it ends, and only there. */
static void test_overlapping_rings(void **state)
{
	static const unsigned used_off[] = { 0, 0x4000, 0x10, 0x4002 & ~3u };

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(used_off); i++) {
		bool same = i >= ARRAY_SIZE(used_off);
		struct fixture f;
		struct virtq *vq;
		struct gq *q;

		open_all(&f);
		assert_true(negotiate(&f.b, offered(&f.b)));
		place_queues(&f.b);
		vq = &f.b.v->queue[TXQ].q;
		q = &f.b.q[TXQ];
		vq->device_gpa = q->gpa + used_off[i % ARRAY_SIZE(used_off)];
		if (same)
			vq->driver_gpa = vq->desc_gpa;
		for (unsigned k = 0; k < 256; k++) {
			set_desc(q, k, k % 2 ? f.frame : q->gpa + 16 * k, HDR + 100, 0, 0);
			q->avail->ring[k] = (uint16_t)k;
		}
		q->avail->idx = 200;
		driver_ok(&f.b);
		for (unsigned k = 0; k < 100; k++)
			kick_tx(&f);
		expect_balanced(&f.b);
		f.b.config_calls = 0;
		driver_up(&f.b, ALL_FEATURES);
		expect_healthy(&f.b);
		done(&f);
	}
}

/* VQ26, VQ27, VQ31: what cannot be a ring is not enabled, and breaks the device. */
static void test_bad_placement(void **state)
{
	static const struct {
		uint64_t desc, avail, used;
		uint16_t size;
	} bad[] = {
		{ 0x10008, 0x14000, 0x15000, 256 },
		{ 0x10000, 0x14001, 0x15000, 256 },
		{ 0x10000, 0x14000, 0x15002, 256 },
		{ RAM2_END - 16 * 256 + 16, 0x14000, 0x15000, 256 },
		{ 0x10000, RAM2_END - 512 - 4, 0x15000, 256 },
		{ 0x10000, 0x14000, RAM2_END - 8 * 256 - 4, 256 },
		{ RAM2_END, 0x14000, 0x15000, 256 },
		{ 0x10000, UINT64_MAX & ~1ULL, 0x15000, 256 },
		{ 0x10000, 0x14000, 0xfee00000, 256 },
		{ 0x10000, 0x14000, 0x15000, 0 },
		{ 0x10000, 0x14000, 0x15000, 3 },
		{ 0x10000, 0x14000, 0x15000, 255 },
		{ 0x10000, 0x14000, 0x15000, 512 },
		{ 0x10000, 0x14000, 0x15000, 0x8000 },
		{ 0x10000, 0x14000, 0x15000, 65535 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fixture f;
		struct virtq *q;

		open_all(&f);
		assert_true(negotiate(&f.b, offered(&f.b)));
		q = &f.b.v->queue[TXQ].q;
		q->desc_gpa = bad[i].desc;
		q->driver_gpa = bad[i].avail;
		q->device_gpa = bad[i].used;
		q->size = bad[i].size;
		virtio_queue_enable(f.b.v, TXQ);
		assert_false(q->enabled);
		assert_true(virtio_get_status(f.b.v) & VIRTIO_STATUS_NEEDS_RESET);
		assert_int_equal(f.b.config_calls, 0); /* before DRIVER_OK nobody listens */
		driver_ok(&f.b);
		kick_tx(&f);
		driver_up(&f.b, ALL_FEATURES);
		expect_healthy(&f.b);
		done(&f);
	}
}

/* VQ31 */
static void test_sizes(void **state)
{
	static const uint16_t size[] = { 1, 2, 4, 64, 256, 1024 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		static const char *const props[] = { "rx_queue_size=1024", "tx_queue_size=1024", NULL };
		struct bench b;

		bench_open(&b, props);
		b.queue_size = size[i];
		driver_up(&b, ALL_FEATURES);
		for (unsigned k = 0; k < 3 * size[i]; k++) {
			expect_healthy(&b);
			while (reap(&b.q[TXQ], NULL, NULL))
				;
		}
		bench_close(&b);
	}
}

/* VQ28: whatever the driver wants to hear, frames go; calls are what it asked for, within the rules. */
static void test_garbage_events(void **state)
{
	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		struct fixture f;
		struct gq *q;

		open_with(&f, event_idx ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX));
		q = &f.b.q[TXQ];
		for (unsigned k = 0; k < 1000; k++) {
			set_desc(q, 0, f.frame, HDR + 100, 0, 0);
			q->avail->ring[q->size] = (uint16_t)rnd(65536);
			q->avail->flags = (uint16_t)rnd(65536);
			post(q, 0);
			kick_tx(&f);
			assert_int_equal(used_idx(q), (uint16_t)(k + 1));
		}
		/* Not wanted: not called. Wanted: called. */
		q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
		q->avail->ring[q->size] = (uint16_t)(used_idx(q) - 1);
		f.b.calls[TXQ] = 0;
		post(q, 0);
		kick_tx(&f);
		assert_int_equal(f.b.calls[TXQ], 0);
		q->avail->flags = 0;
		q->avail->ring[q->size] = used_idx(q);
		post(q, 0);
		kick_tx(&f);
		assert_int_equal(f.b.calls[TXQ], 1);
		expect_sent(&f, 1002);
		done(&f);
	}
}

/* VQ32: a million frames each way; indices wrap many times, and no kick is wasted or missed. */
static void one_million(uint64_t features)
{
	enum {
		FRAMES = 1000000,
		AT_ONCE = 50
	};
	struct virtio_net_hdr_mrg_rxbuf h;
	uint8_t frame[60], back[100];
	struct fixture f;
	struct seg s[2];

	open_with(&f, features);
	make_frame(frame, sizeof(frame), 0);
	s[0] = (struct seg){ f.frame, HDR + 60, false };
	s[1] = (struct seg){ buf(&f.b, 100), 100, true };
	for (unsigned i = 0; i < FRAMES; i += AT_ONCE) {
		for (unsigned k = 0; k < AT_ONCE; k++) {
			chain(&f.b.q[TXQ], &s[0], 1);
			chain(&f.b.q[RXQ], &s[1], 1);
		}
		kick_if_due(&f.b.q[TXQ]);
		kick_if_due(&f.b.q[RXQ]);
		settle(&f.b);
		assert_int_equal(f.b.n_sunk, AT_ONCE);
		forget_sunk(&f.b);
		for (unsigned k = 0; k < AT_ONCE; k++) {
			assert_int_equal(wire_frame(&f.b, frame, sizeof(frame), NULL), NET_OK);
			assert_int_equal(receive(&f.b, back, sizeof(back), &h), (int)sizeof(frame));
			assert_true(reap(&f.b.q[TXQ], NULL, NULL));
		}
	}
	assert_int_equal(counter_get(&f.b.nic->tx.out), FRAMES);
	assert_int_equal(counter_get(&f.b.nic->rx.out), FRAMES);
	/* Reception never ran dry, so its kicks were off: with an event index that means one each 2^16 buffers. */
	assert_true(counter_get(&f.b.v->queue[RXQ].q.stats.kicks) <= 1 + FRAMES / 65536);
	done(&f);
}

static void test_million_event_idx(void **state)
{
	(void)state;
	one_million(ALL_FEATURES);
}

static void test_million_flags(void **state)
{
	(void)state;
	one_million(ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX));
}

/* VQ33: any split of the header */
static void test_split_header(void **state)
{
	static const uint32_t pieces[][HDR + 2] = { { 1, 11, 0 }, { 11, 1, 0 },
						    { 12, 0 },	  { 13, 0 },
						    { 6, 7, 0 },  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0 } };
	struct virtio_net_hdr_mrg_rxbuf h = {
		.hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6 }
	};
	uint8_t frame[100];

	(void)state;
	make_frame(frame, sizeof(frame), 5);
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		struct fixture f;

		open_with(&f, indirect ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
		for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
			post_tx(&f.b, &h, frame, sizeof(frame), pieces[i]);
			kick_tx(&f);
			expect_sent(&f, i + 1);
			assert_int_equal(f.b.sunk[i].len, sizeof(frame));
			assert_memory_equal(f.b.sunk[i].data, frame, sizeof(frame));
			assert_true(f.b.sunk[i].meta.needs_csum);
			assert_int_equal(f.b.sunk[i].meta.csum_start, 34);
		}
		done(&f);
	}
}

/* VQ34 */
static void test_short_chains(void **state)
{
	struct fixture f;

	(void)state;
	for (uint32_t len = 1; len < HDR; len += HDR - 2) {
		open_all(&f);
		tx_desc(&f, f.frame, len, 0, 0);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_HEADER);
		done(&f);
	}
	open_all(&f);
	for (uint32_t len = HDR; len < HDR + ETH_HDR_LEN; len++) {
		set_desc(&f.b.q[TXQ], 0, f.frame, len, 0, 0);
		post(&f.b.q[TXQ], 0);
		kick_tx(&f);
	}
	expect_sent(&f, 0);
	assert_int_equal(dropped_tx(&f.b, NET_DROP_TOO_SHORT), ETH_HDR_LEN);
	assert_int_equal(used_idx(&f.b.q[TXQ]), ETH_HDR_LEN);
	expect_healthy(&f.b);
	done(&f);
}

/* VQ35 */
static void test_long_chains(void **state)
{
	static const char *const props[] = { "tx_queue_size=1024", NULL };
	static uint32_t pieces[1025];
	struct bench b;
	uint8_t *frame = malloc(NET_FRAME_MAX + 1);

	(void)state;
	assert_non_null(frame);
	make_frame(frame, NET_FRAME_MAX + 1, 9);
	bench_open(&b, props);
	b.queue_size = 1024;
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		driver_up(&b, indirect ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
		forget_sunk(&b);
		post_tx(&b, NULL, frame, NET_FRAME_MAX + 1, NULL);
		post_tx(&b, NULL, frame, NET_FRAME_MAX, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(dropped_tx(&b, NET_DROP_TOO_BIG), indirect + 1);
		assert_int_equal(b.n_sunk, 1);
		assert_memory_equal(b.sunk[0].data, frame, NET_FRAME_MAX);
		while (reap(&b.q[TXQ], NULL, NULL))
			;
		/* 1024 pieces of 64 bytes */
		for (unsigned i = 0; i < 1024; i++)
			pieces[i] = 64;
		post_tx(&b, NULL, frame, 60, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		while (reap(&b.q[TXQ], NULL, NULL))
			;
		post_tx(&b, NULL, frame, 1024 * 64 - HDR, pieces);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, 3);
		assert_int_equal(b.sunk[2].len, 1024 * 64 - HDR);
		assert_memory_equal(b.sunk[2].data, frame, 1024 * 64 - HDR);
	}
	bench_close(&b);
	free(frame);
}

/* An indirect table of the most entries there may be, each all of the first block */
static uint64_t huge_table(struct fixture *f)
{
	uint64_t table = ALIGN_UP(buf(&f->b, 16 * (VIRTQ_CHAIN_MAX + 1)), 16);
	struct vring_desc *d = at(&f->b, table);

	name_range(&f->b, table, 16 * VIRTQ_CHAIN_MAX);
	for (unsigned i = 0; i < VIRTQ_CHAIN_MAX; i++)
		d[i] = (struct vring_desc){ 0, RAM0_SIZE, i + 1 < VIRTQ_CHAIN_MAX ? VRING_DESC_F_NEXT : 0,
					    (uint16_t)(i + 1) };
	return table;
}

static void test_huge_chain(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	tx_desc(&f, huge_table(&f), 16 * VIRTQ_CHAIN_MAX, VRING_DESC_F_INDIRECT, 0);
	expect_sent(&f, 0);
	assert_int_equal(dropped_tx(&f.b, NET_DROP_TOO_BIG), 1);
	expect_healthy(&f.b);
	done(&f);
	/* One descriptor before the table makes it too many. */
	open_all(&f);
	set_desc(&f.b.q[TXQ], 1, huge_table(&f), 16 * VIRTQ_CHAIN_MAX, VRING_DESC_F_INDIRECT, 0);
	tx_desc(&f, f.frame, HDR, VRING_DESC_F_NEXT, 1);
	expect_broken(&f.b, TXQ, VIRTQ_FAULT_LOOP);
	done(&f);
}

/* A chain whose sum passes 4 GiB: it needs more RAM than the bench has. */
static void test_sum_of_lengths(void **state)
{
	static const struct ram_block block = { .gpa = 0, .size = 16 * MIB };
	static struct iovec iov[VIRTQ_CHAIN_MAX];
	const struct virtq_features indirect = { .indirect = true };
	struct virtq q = { .max_size = 16, .size = 16, .driver_gpa = 0x1000, .device_gpa = 0x2000 };
	struct vring_avail *avail;
	struct vring_desc *d;
	struct vchain c;
	struct dma dma;
	struct ram ram;

	(void)state;
	assert_int_equal(ram_init(&ram, &block, 1, RAM_PRIVATE, NULL), 0);
	dma.ram = &ram;
	atomic_init(&dma.on, true);
	d = ram_ptr(&ram, 0x10000, 1);
	avail = ram_ptr(&ram, 0x1000, 1);
	for (unsigned write = 0; write < 2; write++) {
		*(struct vring_desc *)ram_ptr(&ram, 0, 1) =
			(struct vring_desc){ 0x10000, 256 * 16, VRING_DESC_F_INDIRECT, 0 };
		for (unsigned i = 0; i < 256; i++)
			d[i] = (struct vring_desc){ 0, 16 * MIB, (uint16_t)(write * 2 + (i < 255)), (uint16_t)(i + 1) };
		avail->idx = 1;
		assert_int_equal(virtq_start(&q, &dma, &indirect, NULL), 0);
		assert_int_equal(virtq_pop(&q, iov, ARRAY_SIZE(iov), &c), -EPROTO);
		assert_int_equal(q.fault, VIRTQ_FAULT_TOO_LONG);
		/* A byte less is a chain. */
		d[255].len--;
		assert_int_equal(virtq_start(&q, &dma, &indirect, NULL), 0);
		assert_int_equal(virtq_pop(&q, iov, ARRAY_SIZE(iov), &c), 1);
		assert_int_equal(c.out_len + c.in_len, UINT32_MAX);
		virtq_stop(&q);
	}
	ram_destroy(&ram);
}

/* VQ36, and the same the other way round */
static void test_direction(void **state)
{
	struct fixture f;
	struct gq *q;

	(void)state;
	for (unsigned mixed = 0; mixed < 2; mixed++) {
		open_all(&f);
		q = &f.b.q[RXQ];
		set_desc(q, 0, f.frame, 100, mixed ? VRING_DESC_F_NEXT : 0, 1);
		set_desc(q, 1, f.frame, 100, VRING_DESC_F_WRITE, 0);
		post(q, 0);
		assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), -EAGAIN);
		expect_broken(&f.b, RXQ, VIRTQ_FAULT_DIRECTION);
		done(&f);

		open_all(&f);
		q = &f.b.q[TXQ];
		set_desc(q, 0, f.frame, 100, mixed ? VRING_DESC_F_NEXT : VRING_DESC_F_WRITE, 1);
		set_desc(q, 1, f.frame, 100, VRING_DESC_F_WRITE, 0);
		post(q, 0);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_DIRECTION);
		done(&f);
	}
}

/* VQ37 */
static void test_tiny_buffers(void **state)
{
	static const uint32_t len[] = { 1, HDR - 1, HDR, HDR + 1, HDR + 59 };
	struct bench b;
	uint8_t frame[60];

	(void)state;
	make_frame(frame, sizeof(frame), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
		bench_open(&b, NULL);
		driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
		post_rx(&b, len[i]);
		assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_DROP_BUFFER_SMALL);
		assert_int_equal(dropped_rx(&b, NET_DROP_BUFFER_SMALL), 1);
		assert_int_equal(used_idx(&b.q[RXQ]), 0);
		assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
		bench_close(&b);
	}
}

/* VQ38 */
static void test_merged_header_does_not_fit(void **state)
{
	struct fixture f;

	(void)state;
	for (uint32_t len = 1; len < HDR; len++) {
		open_all(&f);
		post_rx(&f.b, len);
		post_rx(&f.b, 200);
		assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), -EAGAIN);
		expect_broken(&f.b, RXQ, VIRTQ_FAULT_HEADER);
		done(&f);
	}
	/* It fits exactly: the frame is in the next one. */
	open_all(&f);
	post_rx(&f.b, HDR);
	post_rx(&f.b, 200);
	assert_int_equal(wire_frame(&f.b, at(&f.b, f.frame), 60, NULL), NET_OK);
	assert_int_equal(used_idx(&f.b.q[RXQ]), 2);
	done(&f);
}

/* VQ39: more buffers than there can be. None is lost, each is used once by the frames that follow. */
static void test_frame_larger_than_ring(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf h;
	uint8_t *frame = malloc(NET_FRAME_MAX), back[256 * 64];
	struct fixture f;

	(void)state;
	assert_non_null(frame);
	make_frame(frame, NET_FRAME_MAX, 4);
	open_all(&f);
	for (unsigned i = 0; i < 256; i++)
		post_rx(&f.b, 64);
	assert_int_equal(wire_frame(&f.b, frame, NET_FRAME_MAX, NULL), NET_DROP_NO_BUFFER);
	assert_int_equal(dropped_rx(&f.b, NET_DROP_NO_BUFFER), 1);
	assert_int_equal(used_idx(&f.b.q[RXQ]), 0);
	assert_int_equal(wire_frame(&f.b, frame, 256 * 64 - HDR, NULL), NET_OK);
	assert_int_equal(receive(&f.b, back, sizeof(back), &h), 256 * 64 - (int)HDR);
	assert_int_equal(h.num_buffers, 256);
	assert_memory_equal(back, frame, 256 * 64 - HDR);
	assert_int_equal(wire_frame(&f.b, frame, 60, NULL), -EAGAIN);
	expect_healthy(&f.b);
	done(&f);

	/* The same with two descriptors a buffer: half as many buffers are all there can be. */
	open_with(&f, ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
	for (unsigned i = 0; i < 128; i++) {
		uint64_t gpa = buf(&f.b, 128);

		chain(&f.b.q[RXQ], (struct seg[]){ { gpa, 64, true }, { gpa + 64, 64, true } }, 2);
	}
	assert_int_equal(wire_frame(&f.b, frame, NET_FRAME_MAX, NULL), NET_DROP_NO_BUFFER);
	assert_int_equal(wire_frame(&f.b, frame, 256 * 64 - HDR, NULL), NET_OK);
	assert_int_equal(receive(&f.b, back, sizeof(back), &h), 256 * 64 - (int)HDR);
	assert_int_equal(h.num_buffers, 128);
	assert_memory_equal(back, frame, 256 * 64 - HDR);
	done(&f);
	free(frame);
}

/* VQ40: kicks for nothing cost a bounded amount, and others on the loop get their turns. */
static void other_ran(struct post *p)
{
	(void)p;
}

static void test_kick_storm(void **state)
{
	struct fixture f;
	struct post other;

	(void)state;
	open_all(&f);
	post_init(&other, other_ran);
	for (unsigned i = 0; i < 100000; i++) {
		kick(&f.b.q[i % N_QUEUES]);
		if (i % 1000 == 0) {
			loop_post(f.b.loop, &other);
			loop_turn(f.b.loop);
			assert_false(atomic_load(&other.queued));
		}
	}
	settle(&f.b);
	assert_int_equal(used_idx(&f.b.q[TXQ]), 0);
	/* Signals between two turns are one kick. */
	assert_true(counter_get(&f.b.v->queue[TXQ].q.stats.kicks) <= 210);
	expect_healthy(&f.b);
	done(&f);
}

/* A long ring does not keep the loop: a turn ends after its budget. */
static void test_budget(void **state)
{
	struct fixture f;
	struct gq *q;
	unsigned before;

	(void)state;
	bench_open(&f.b, (const char *const[]){ "tx_queue_size=1024", NULL });
	f.b.queue_size = 1024;
	driver_up(&f.b, ALL_FEATURES);
	f.frame = buf(&f.b, HDR + 100);
	memset(at(&f.b, f.frame), 0, HDR + 100);
	q = &f.b.q[TXQ];
	for (unsigned k = 0; k < 1024; k++) {
		set_desc(q, k, f.frame, HDR + 100, 0, 0);
		post(q, (uint16_t)k);
	}
	kick(q);
	loop_turn(f.b.loop);
	before = f.b.n_sunk;
	assert_in_range(before, 64, 512);
	settle(&f.b);
	expect_sent(&f, 1024);
	done(&f);
}

/* Each signal of an eventfd that is never read is an edge: what kicks stand on. */
static void test_edges_without_reading(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	for (unsigned i = 0; i < 1000; i++) {
		tx_desc(&f, f.frame, HDR + 100, 0, 0);
		assert_int_equal(f.b.n_sunk, i + 1);
	}
	done(&f);
}

/*
 * In order: one entry stands for all that was sent since the last publish, and it names the last; what was received is
 * told of chain by chain. The indices, and the places of the entries, are as if each had one.
 */
static void test_one_entry_a_batch(void **state)
{
	struct virtio_net_hdr_mrg_rxbuf h;
	uint8_t frame[60], back[200];
	struct bench b;
	uint32_t len;

	(void)state;
	make_frame(frame, sizeof(frame), 0);
	bench_in_order = true;
	bench_open(&b, NULL);
	b.queue_size = bench_packed ? 50 : 64;
	driver_up(&b, ALL_FEATURES);
	for (unsigned round = 0; round < 30; round++) {
		unsigned n = 1 + rnd(16), entries = 0;
		uint16_t head = 0;
		struct gq *q = &b.q[TXQ];

		memset(q->used->ring, 0xff, bench_packed ? 0 : q->size * sizeof(q->used->ring[0]));
		for (unsigned i = 0; i < n; i++)
			head = post_tx(&b, NULL, frame, sizeof(frame), (const uint32_t[]){ 30, 0 });
		kick(q);
		settle(&b);
		assert_int_equal((uint16_t)(used_idx(q) - q->seen), n);
		for (unsigned i = 0; i < q->size && !bench_packed; i++)
			entries += q->used->ring[i].id != UINT32_MAX;
		if (!bench_packed) {
			assert_int_equal(entries, 1);
			assert_int_equal(q->used->ring[q->seen % q->size].id, head);
		} else {
			assert_int_equal(q->ring[q->take_at].id, head);
		}
		assert_true(reap(q, NULL, NULL));
		assert_int_equal(q->batch, n - 1); /* no entry for these */
		while (reap(q, NULL, NULL))
			;
		assert_int_equal(q->n_order, 0);
		for (unsigned i = 0; i < n; i++)
			post_rx(&b, 100);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
		for (unsigned i = 0; i < n; i++) {
			assert_true(reap(&b.q[RXQ], &head, &len));
			assert_int_equal(b.q[RXQ].batch, 0);
			assert_int_equal(len, HDR + sizeof(frame));
		}
	}
	expect_healthy(&b);
	post_rx(&b, 100);
	assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
	assert_int_equal(receive(&b, back, sizeof(back), &h), (int)sizeof(frame));
	bench_close(&b);
	bench_in_order = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zero_length),
		cmocka_unit_test(test_address_zero),
		cmocka_unit_test(test_bad_address),
		cmocka_unit_test(test_next_out_of_range),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_indirect_without_feature),
		cmocka_unit_test(test_bad_indirect),
		cmocka_unit_test(test_loop_in_indirect),
		cmocka_unit_test(test_indirect_into_itself),
		cmocka_unit_test(test_odd_indirect),
		cmocka_unit_test(test_indirect_overlap),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_unknown_flags),
		cmocka_unit_test(test_avail_index),
		cmocka_unit_test(test_head_out_of_range),
		cmocka_unit_test(test_posted_twice),
		cmocka_unit_test(test_overlapping_rings),
		cmocka_unit_test(test_bad_placement),
		cmocka_unit_test(test_garbage_events),
		cmocka_unit_test(test_short_chains),
		cmocka_unit_test(test_huge_chain),
		cmocka_unit_test(test_sum_of_lengths),
		cmocka_unit_test(test_direction),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_edges_without_reading),
		/* those behind do not care of what kind the rings are */
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_one_entry_a_batch),
		cmocka_unit_test(test_million_event_idx),
		cmocka_unit_test(test_million_flags),
		cmocka_unit_test(test_split_header),
		cmocka_unit_test(test_long_chains),
		cmocka_unit_test(test_tiny_buffers),
		cmocka_unit_test(test_merged_header_does_not_fit),
		cmocka_unit_test(test_frame_larger_than_ring),
		cmocka_unit_test(test_kick_storm),
	};
	const unsigned split_only = 25;

	return bench_run(tests, ARRAY_SIZE(tests), split_only);
}
