/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a driver can write into a packed virtqueue, each case with its outcome, as in test_virtqueue.c; and where such a
 * queue is when it stops.
 */
#include "guest.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	(1u << VRING_PACKED_DESC_F_USED)
#define WRAP	0x8000u

/* A bench with all features, or with those given, and a frame in RAM behind a header. */
struct fixture {
	struct bench b;
	uint64_t frame; /* HDR + 100 bytes */
};

static void up(struct fixture *f, uint64_t features)
{
	driver_up(&f->b, features);
	f->frame = buf(&f->b, HDR + 100);
	memset(at(&f->b, f->frame), 0, HDR);
	make_frame((uint8_t *)at(&f->b, f->frame) + HDR, 100, 3);
}

static void open_sized(struct fixture *f, uint16_t size, uint64_t features)
{
	bench_open(&f->b, (const char *const[]){ "rx_queue_size=1024", "tx_queue_size=1024", NULL });
	f->b.queue_size = size;
	up(f, features);
}

static void open_all(struct fixture *f)
{
	open_sized(f, 256, ALL_FEATURES);
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

/* Descriptor i as given, in the ring's first lap; a later lap is the caller's to mark. */
static void put(struct gq *q, unsigned i, uint64_t gpa, uint32_t len, unsigned id, unsigned flags)
{
	q->ring[i] = (struct vring_packed_desc){ gpa, len, (uint16_t)id, (uint16_t)flags };
}

static void put_avail(struct gq *q, unsigned i, uint64_t gpa, uint32_t len, unsigned id, unsigned flags)
{
	put(q, i, gpa, len, id, flags | F_AVAIL);
}

/* A good transmit frame of one descriptor, at place i with this id. */
static void put_frame(struct fixture *f, unsigned i, unsigned id)
{
	put_avail(&f->b.q[TXQ], i, f->frame, HDR + 100, id, 0);
}

static void expect_sent(struct fixture *f, unsigned n)
{
	assert_int_equal(f->b.n_sunk, n);
	expect_balanced(&f->b);
	assert_int_equal(counter_get(&f->b.v->guest_errors), 0);
}

/* The descriptor at place i is a used one of this id. */
static void expect_used(struct gq *q, unsigned i, unsigned id)
{
	assert_int_equal(q->ring[i].id, id);
	assert_int_equal(q->ring[i].flags & (F_AVAIL | F_USED), F_AVAIL | F_USED);
}

/* PQ1, PQ2: flags that say anything but "available in this lap" are no work, however often one asks. */
static void test_flags_of_nonsense(void **state)
{
	static const unsigned not_available[] = { 0, F_USED, F_AVAIL | F_USED };
	struct fixture f;

	(void)state;
	open_all(&f);
	for (unsigned i = 0; i < 200; i++) {
		unsigned flags = not_available[i % 3] | (rnd(65536) & ~(F_AVAIL | F_USED));

		put(&f.b.q[TXQ], i, f.frame, HDR + 100, i, flags);
		kick_tx(&f);
		expect_sent(&f, i);
		put_frame(&f, i, i);
		kick_tx(&f);
		expect_sent(&f, i + 1);
		expect_used(&f.b.q[TXQ], i, i);
	}
	done(&f);
}

/* PQ1, PQ4: a ring all of which is in flight has nothing to offer, whatever it says; nor has a chain that reaches there. */
static void test_overrun(void **state)
{
	for (unsigned chained = 0; chained < 2; chained++) {
		struct fixture f;
		struct net_window w;
		struct gq *q;
		unsigned n = chained ? 3 : 4;

		(void)state;
		open_sized(&f, 4, ALL_FEATURES);
		q = &f.b.q[RXQ];
		for (unsigned i = 0; i < n; i++)
			post_rx(&f.b, 100);
		assert_int_equal(net_lend(&f.b.wire, 10000, &w), 0); /* collects them all */
		if (chained)
			put_avail(q, 3, buf(&f.b, 50), 50, 3, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
		for (unsigned i = 0; i < n; i++) /* the next lap's */
			put(q, i, buf(&f.b, 50), 50, i, VRING_DESC_F_WRITE | F_USED);
		assert_int_equal(net_lend(&f.b.wire, 20000, &w), -EAGAIN);
		expect_broken(&f.b, RXQ, chained ? VIRTQ_FAULT_LOOP : VIRTQ_FAULT_OVERRUN);
		done(&f);
	}
}

/* PQ3, PQ9: chains of every length in rings of odd sizes: the wrap counter toggles within them. */
static void test_chains_across_the_end(void **state)
{
	static const uint16_t size[] = { 3, 4, 5, 7, 31 };
	uint8_t frame[300];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct fixture f;

		open_sized(&f, size[i], ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
		for (unsigned k = 0; k < 300; k++) {
			uint32_t len = 60 + rnd(200), pieces[] = { 1 + rnd(30), 1 + rnd(30), 0 };

			if (k % 3 == 0)
				pieces[k % 2] = 0;
			make_frame(frame, len, k);
			post_tx(&f.b, NULL, frame, len, pieces);
			kick_if_due(&f.b.q[TXQ]);
			settle(&f.b);
			assert_int_equal(f.b.n_sunk, 1);
			assert_memory_equal(f.b.sunk[0].data, frame, len);
			forget_sunk(&f.b);
			assert_true(reap(&f.b.q[TXQ], NULL, NULL));
			assert_false(used_waits(&f.b.q[TXQ]));
		}
		expect_healthy(&f.b);
		done(&f);
	}
}

/* PQ4 */
static void test_endless_chain(void **state)
{
	static const uint16_t size[] = { 1, 3, 256, 1024 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct fixture f;

		open_sized(&f, size[i], ALL_FEATURES);
		for (unsigned k = 0; k < size[i]; k++)
			put_avail(&f.b.q[TXQ], k, f.frame, 20, 0, VRING_DESC_F_NEXT);
		kick_tx(&f);
		f.b.queue_size = 256; /* for what comes after */
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_LOOP);
		done(&f);
		/* As long as the ring is all right. */
		open_sized(&f, size[i], ALL_FEATURES);
		for (unsigned k = 0; k < size[i]; k++)
			put_avail(&f.b.q[TXQ], k, f.frame, HDR + 20, 0, k + 1 < size[i] ? VRING_DESC_F_NEXT : 0);
		kick_tx(&f);
		expect_sent(&f, 1);
		expect_used(&f.b.q[TXQ], 0, 0);
		done(&f);
	}
}

/* PQ5, and the rest of what can be wrong with a table */
static void test_bad_indirect(void **state)
{
	static const struct {
		uint64_t gpa; /* 0: a good table */
		uint32_t len;
		uint16_t flags;
		bool without, second;
	} bad[] = {
		{ .len = 0 },
		{ .len = 8 },
		{ .len = 17 },
		{ .len = 16 * (VIRTQ_CHAIN_MAX + 1) },
		{ .len = UINT32_MAX - 15 },
		{ .len = 16, .flags = VRING_DESC_F_NEXT },
		{ .len = 16, .without = true },
		{ .len = 16, .second = true },
		{ .gpa = RAM2_END, .len = 16 },
		{ .gpa = RAM2_END - 16, .len = 32 },
		{ .gpa = UINT64_MAX - 15, .len = 32 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vring_packed_desc d;
		struct fixture f;
		uint64_t table;

		open_sized(&f, 256, bad[i].without ? ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC) : ALL_FEATURES);
		table = buf(&f.b, 16);
		d = (struct vring_packed_desc){ f.frame, HDR + 100, 0, 0 };
		memcpy(at(&f.b, table), &d, sizeof(d));
		put_avail(&f.b.q[TXQ], bad[i].second, bad[i].gpa ? bad[i].gpa : table, bad[i].len, 0,
			  VRING_DESC_F_INDIRECT | bad[i].flags);
		if (bad[i].second)
			put_avail(&f.b.q[TXQ], 0, f.frame, 20, 0, VRING_DESC_F_NEXT);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_INDIRECT);
		done(&f);
	}
}

/* 2.8.7: within a table only WRITE counts, and it does not on the descriptor of the table. */
static void test_odd_indirect(void **state)
{
	struct vring_packed_desc d[2];
	struct fixture f;
	uint64_t table;

	(void)state;
	open_all(&f);
	table = buf(&f.b, sizeof(d)); /* at any address */
	d[0] = (struct vring_packed_desc){ f.frame, HDR, 0xffff, VRING_DESC_F_INDIRECT };
	d[1] = (struct vring_packed_desc){ f.frame + HDR, 100, 0xfffe, 0xffff & ~VRING_DESC_F_WRITE };
	memcpy(at(&f.b, table), d, sizeof(d));
	put_avail(&f.b.q[TXQ], 0, table, sizeof(d), 77, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE);
	kick_tx(&f);
	expect_sent(&f, 1);
	assert_int_equal(f.b.sunk[0].len, 100);
	expect_used(&f.b.q[TXQ], 0, 77);
	done(&f);
}

/* PQ6: of a chain the last descriptor's id counts. */
static void test_ids(void **state)
{
	static const unsigned bad[] = { 256, 257, 0x7fff, 0xffff };
	struct net_window w;
	struct fixture f;
	struct gq *q;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		open_all(&f);
		put_frame(&f, 0, bad[i]);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, VIRTQ_FAULT_HEAD);
		done(&f);
	}
	open_all(&f);
	put_avail(&f.b.q[TXQ], 0, f.frame, HDR, 0xffff, VRING_DESC_F_NEXT);
	put_avail(&f.b.q[TXQ], 1, f.frame + HDR, 100, 255, 0);
	put_frame(&f, 2, 255); /* free again by then? No: both are popped before one is used. */
	kick_tx(&f);
	assert_int_equal(f.b.n_sunk, 0);
	expect_broken(&f.b, TXQ, VIRTQ_FAULT_IN_FLIGHT);
	done(&f);

	open_all(&f);
	q = &f.b.q[RXQ];
	put_avail(q, 0, buf(&f.b, 100), 100, 9, VRING_DESC_F_WRITE);
	put_avail(q, 1, buf(&f.b, 100), 100, 9, VRING_DESC_F_WRITE);
	assert_int_equal(net_lend(&f.b.wire, 1000, &w), -EAGAIN);
	expect_broken(&f.b, RXQ, VIRTQ_FAULT_IN_FLIGHT);
	done(&f);
}

/* PQ7 */
static void test_used_is_overwritten(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	for (unsigned i = 0; i < 250; i++) {
		put_frame(&f, i, i);
		kick_tx(&f);
		expect_sent(&f, i + 1);
		expect_used(&f.b.q[TXQ], i, i);
		memset(f.b.q[TXQ].ring, (int)rnd(256), (i + 1) * sizeof(struct vring_packed_desc));
	}
	done(&f);
}

/* The frame at place i is sent; whether the driver was called. */
static bool called(struct fixture *f, unsigned i, uint16_t off_wrap, uint16_t flags)
{
	unsigned before = f->b.calls[TXQ];

	*f->b.q[TXQ].driver = (struct vring_packed_desc_event){ off_wrap, flags };
	put_frame(f, i, i);
	kick_tx(f);
	assert_int_equal(f->b.n_sunk, i + 1);
	return f->b.calls[TXQ] - before;
}

/* PQ8: what makes no sense is taken for "always". */
static void test_event_suppression(void **state)
{
	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		uint64_t without = event_idx ? 0 : BIT(VIRTIO_RING_F_EVENT_IDX);
		struct fixture f;
		unsigned i = 0;

		open_sized(&f, 256, ALL_FEATURES & ~without);
		assert_true(called(&f, i++, 0, VRING_PACKED_EVENT_FLAG_ENABLE));
		assert_false(called(&f, i++, 0, VRING_PACKED_EVENT_FLAG_DISABLE));
		assert_true(called(&f, i++, 0, 3));
		assert_true(called(&f, i++, 0xffff, 3));
		assert_true(called(&f, i++, 256, VRING_PACKED_EVENT_FLAG_DESC));
		assert_true(called(&f, i++, 0xffff, VRING_PACKED_EVENT_FLAG_DESC));
		assert_false(called(&f, i++, 0xffff, 0xfffc | VRING_PACKED_EVENT_FLAG_DISABLE)); /* reserved bits */
		assert_int_equal(called(&f, i, (uint16_t)(i - 1) | WRAP, VRING_PACKED_EVENT_FLAG_DESC), !event_idx);
		i++;
		assert_true(called(&f, i, (uint16_t)i | WRAP, VRING_PACKED_EVENT_FLAG_DESC));
		i++;
		assert_int_equal(called(&f, i, (uint16_t)(i + 1) | WRAP, VRING_PACKED_EVENT_FLAG_DESC), !event_idx);
		i++;
		assert_int_equal(called(&f, i, (uint16_t)i, VRING_PACKED_EVENT_FLAG_DESC), !event_idx); /* next lap */
		done(&f);
	}
}

/* PQ9 */
static void test_sizes(void **state)
{
	static const uint16_t size[] = { 1, 2, 3, 5, 255, 256, 257, 1000, 1023, 1024 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		struct fixture f;

		open_sized(&f, size[i], ALL_FEATURES);
		for (unsigned k = 0; k < MIN(3u * size[i], 700u); k++) {
			expect_healthy(&f.b);
			forget_sunk(&f.b);
			while (reap(&f.b.q[TXQ], NULL, NULL))
				;
		}
		done(&f);
	}
}

/* PQ10, and whatever else cannot be a ring */
static void test_bad_placement(void **state)
{
	static const struct {
		uint64_t ring, driver, device;
		uint16_t size;
	} bad[] = {
		{ 0x10000, 0x14000, 0x15000, 0 },
		{ 0x10000, 0x14000, 0x15000, 1025 },
		{ 0x10000, 0x14000, 0x15000, 32768 },
		{ 0x10000, 0x14000, 0x15000, 32769 },
		{ 0x10000, 0x14000, 0x15000, 65535 },
		{ 0x10008, 0x14000, 0x15000, 256 },
		{ 0x10000, 0x14002, 0x15000, 256 },
		{ 0x10000, 0x14000, 0x15002, 256 },
		{ RAM2_END - 16 * 255, 0x14000, 0x15000, 256 },
		{ 0x10000, RAM2_END, 0x15000, 256 },
		{ 0x10000, 0x14000, RAM2_END, 256 },
		{ 0x10000, 0x14000, 0xfee00000, 256 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fixture f;
		struct virtq *q;

		open_all(&f);
		assert_true(negotiate(&f.b, offered(&f.b)));
		q = &f.b.v->queue[TXQ].q;
		q->desc_gpa = bad[i].ring;
		q->driver_gpa = bad[i].driver;
		q->device_gpa = bad[i].device;
		q->size = bad[i].size;
		virtio_queue_enable(f.b.v, TXQ);
		assert_false(q->enabled);
		assert_true(virtio_get_status(f.b.v) & VIRTIO_STATUS_NEEDS_RESET);
		up(&f, ALL_FEATURES);
		expect_healthy(&f.b);
		done(&f);
	}
}

/* VQ1, VQ4 to VQ8, VQ18, VQ34, VQ36: one descriptor, or two, as they must not be */
static void test_bad_buffers(void **state)
{
	static const struct {
		uint64_t gpa; /* 0: a good one */
		uint32_t len;
		uint16_t flags[2];
		enum virtq_fault why;
	} bad[] = {
		{ .len = 0, .why = VIRTQ_FAULT_ZERO_LEN },
		{ .gpa = RAM2_END, .len = 20, .why = VIRTQ_FAULT_ADDRESS },
		{ .gpa = RAM2_END - 19, .len = 20, .why = VIRTQ_FAULT_ADDRESS },
		{ .gpa = UINT64_MAX, .len = 20, .why = VIRTQ_FAULT_ADDRESS },
		{ .gpa = RAM2_GPA - 10, .len = 20, .why = VIRTQ_FAULT_ADDRESS },
		{ .gpa = 0xfee00000, .len = 20, .why = VIRTQ_FAULT_ADDRESS },
		{ .len = HDR - 1, .why = VIRTQ_FAULT_HEADER },
		{ .len = 20, .flags = { VRING_DESC_F_WRITE }, .why = VIRTQ_FAULT_DIRECTION },
		{ .len = 20, .flags = { VRING_DESC_F_NEXT, VRING_DESC_F_WRITE }, .why = VIRTQ_FAULT_DIRECTION },
		{ .len = 20, .flags = { VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0 }, .why = VIRTQ_FAULT_ORDER },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fixture f;

		open_all(&f);
		put_avail(&f.b.q[TXQ], 1, f.frame, 20, 0, bad[i].flags[1]);
		put_avail(&f.b.q[TXQ], 0, bad[i].gpa ? bad[i].gpa : f.frame, bad[i].len, 0, bad[i].flags[0]);
		kick_tx(&f);
		expect_broken(&f.b, TXQ, bad[i].why);
		done(&f);
	}
}

/* The driver is free to choose: a device that offers packed rings works with split ones, of a size that these may have. */
static void test_split_instead(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, (const char *const[]){ "rx_queue_size=300", "tx_queue_size=1000", NULL });
	assert_int_equal(b.v->queue[RXQ].q.size, 300);
	bench_packed = false;
	assert_true(negotiate(&b, offered(&b) & ~BIT(VIRTIO_F_RING_PACKED)));
	bench_packed = true;
	assert_int_equal(b.v->queue[RXQ].q.size, 256);
	assert_int_equal(b.v->queue[TXQ].q.size, 512);
	place_queues(&b);
	driver_ok(&b);
	assert_int_equal(b.v->queue[TXQ].q.mode, VIRTQ_SPLIT);
	expect_healthy(&b);
	bench_close(&b);
}

/* ---- position ---- */

/* Use n chains, one by one. */
static void use(struct fixture *f, struct virtq *q, unsigned n)
{
	struct iovec iov[4];
	struct vchain c;
	bool call;

	while (n--) {
		assert_int_equal(virtq_pop(q, iov, ARRAY_SIZE(iov), &c), 1);
		virtq_push(q, c.head, 0);
		call = virtq_publish(q);
		(void)call;
		assert_true(reap(&f->b.q[TXQ], NULL, NULL));
	}
}

/* A queue goes on where another one left off; chains that were taken and not used are taken again. */
static void test_position(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct virtq_features features = { .event_idx = true, .indirect = true, .packed = packed };
		struct virtq_base base = virtq_base_first(packed);
		struct fixture f;
		struct iovec iov[4];
		struct virtq q[2];
		struct vchain c[2];
		uint16_t heads[2];

		bench_packed = packed;
		open_sized(&f, packed ? 5 : 4, ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
		assert_int_equal(base.avail, packed ? 0x8000 : 0);
		virtio_quiesce(f.b.v);
		for (unsigned round = 0; round < 50; round++) {
			struct virtq *now = &q[round % 2];

			*now = f.b.v->queue[TXQ].q;
			now->mode = VIRTQ_OFF;
			assert_int_equal(virtq_start(now, &f.b.dma, &features, &base), 0);
			for (unsigned i = 0; i < 2; i++)
				post_tx(&f.b, NULL, (uint8_t[60]){ 0 }, 60, (uint32_t[]){ i * 20, 0 });
			for (unsigned i = 0; i < 2; i++) {
				assert_int_equal(virtq_pop(now, iov, ARRAY_SIZE(iov), &c[i]), 1);
				heads[i] = c[i].head;
			}
			assert_int_not_equal(virtq_base_get(now).avail, virtq_base_get(now).used);
			virtq_unpop(now, heads, 2);
			assert_int_equal(now->n_in_flight, 0);
			use(&f, now, 2);
			assert_int_equal(virtq_pop(now, iov, ARRAY_SIZE(iov), &c[0]), 0);
			base = virtq_base_get(now);
			assert_int_equal(base.avail, base.used);
			virtq_stop(now);
		}
		assert_int_equal(base.avail, packed ? 150 % 5 | WRAP : 100);
		/* Positions that there are not. */
		base.used++;
		assert_int_equal(virtq_start(&q[0], &f.b.dma, &features, &base), -EINVAL);
		base.avail = base.used = 5;
		assert_int_equal(virtq_start(&q[0], &f.b.dma, &features, &base), packed ? -EINVAL : 0);
		virtio_reset(f.b.v);
		virtio_resume(f.b.v);
		driver_up(&f.b, ALL_FEATURES);
		expect_healthy(&f.b);
		done(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags_of_nonsense),
		cmocka_unit_test(test_overrun),
		cmocka_unit_test(test_chains_across_the_end),
		cmocka_unit_test(test_endless_chain),
		cmocka_unit_test(test_bad_indirect),
		cmocka_unit_test(test_odd_indirect),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_used_is_overwritten),
		cmocka_unit_test(test_event_suppression),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_bad_placement),
		cmocka_unit_test(test_bad_buffers),
		cmocka_unit_test(test_split_instead),
		cmocka_unit_test(test_position),
	};

	bench_packed = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
