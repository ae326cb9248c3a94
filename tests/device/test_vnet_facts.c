/* SPDX-License-Identifier: BSD-2-Clause */
/* What a driver may learn of its card: statistics, the largest packet, that it is to announce itself, that it stands by. */
#include "guest.h"
#include "leaks.h"

static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];
static struct bench b;

#define RX_SIZE (sizeof(struct vnet_std_stats_hdr) + 6 * 8)
#define CV_SIZE (sizeof(struct vnet_std_stats_hdr) + 2 * 8)

/* A command whose data and writable part are cut anywhere; returns the bytes written, all of them in `result`. */
static uint32_t command(uint8_t class, uint8_t what, const void *data, uint32_t len, uint8_t *result, uint32_t room)
{
	const struct ctrl_cmd c = { .class = class,
				    .what = what,
				    .len = len,
				    .data = data,
				    .room = room,
				    .cut = 1 + rnd(1 + len),
				    .cut_in = room > 1 ? 1 + rnd(room - 1) : 0 };
	uint32_t used = ctrl_run(&b, &c, result);

	assert_in_range(used, 1, room);
	for (uint32_t i = used; i < room && !result[0]; i++) /* nothing is written behind what is said to be */
		assert_int_equal(result[i], CTRL_UNWRITTEN);
	return used;
}

static uint32_t ask(const struct vnet_std_stats_query *q, unsigned n, uint8_t *result, uint32_t room)
{
	return command(VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, q, n * (uint32_t)sizeof(*q), result, room);
}

static uint64_t value(const uint8_t *reply, unsigned i)
{
	uint64_t v;

	memcpy(&v, reply + sizeof(struct vnet_std_stats_hdr) + 8 * i, 8);
	return le64toh(v);
}

static void expect_header(const uint8_t *reply, uint8_t type, uint16_t queue, size_t size)
{
	struct vnet_std_stats_hdr h;

	memcpy(&h, reply, sizeof(h));
	assert_int_equal(h.type, type);
	assert_int_equal(le16toh(h.vq_index), queue);
	assert_int_equal(le16toh(h.size), size);
	assert_int_equal(h.reserved | h.reserved1, 0);
}

/* ---- statistics ---- */

static const struct vnet_std_stats_query all[] = {
	{ .vq_index = RXQ, .types = BIT(VNET_STATS_RX_BASIC) },
	{ .vq_index = TXQ, .types = BIT(VNET_STATS_TX_BASIC) },
	{ .vq_index = CTRLQ, .types = BIT(VNET_STATS_CVQ) },
};

static void traffic(void)
{
	struct virtio_net_hdr_mrg_rxbuf bad = { .hdr = { .gso_type = 99 } };

	make_frame(frame, 1000, 1);
	for (unsigned i = 0; i < 5; i++) {
		post_tx(&b, i == 3 ? &bad : NULL, frame, i == 4 ? 13 : 1000, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
	}
	for (unsigned i = 0; i < 4; i++)
		post_rx(&b, 1100);
	kick(&b.q[RXQ]);
	settle(&b);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(wire_frame(&b, frame, 1000, NULL), NET_OK);
}

static void test_statistics(void **state)
{
	uint8_t r[300];
	const uint8_t *rx = r + 1, *tx = rx + RX_SIZE, *cv = tx + RX_SIZE;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX));
	assert_int_equal(command(VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, NULL, 0, r, 9), 9);
	assert_int_equal(r[0], VIRTIO_NET_OK);
	memcpy(back, r + 1, 8);
	assert_memory_equal(back, &(uint64_t){ htole64(all[0].types | all[1].types | all[2].types) }, 8);
	traffic();
	assert_int_equal(ask(all, 3, r, sizeof(r)), 1 + 2 * RX_SIZE + CV_SIZE);
	assert_int_equal(r[0], VIRTIO_NET_OK);
	expect_header(rx, VNET_STATS_RX_BASIC, RXQ, RX_SIZE);
	assert_int_equal(value(rx, 0), counter_get(&b.v->queue[RXQ].q.stats.kicks));
	assert_int_equal(value(rx, 0), 1);
	assert_int_equal(value(rx, 1), 4);
	assert_int_equal(value(rx, 2), 4000);
	assert_int_equal(value(rx, 3), b.calls[RXQ]);
	assert_int_equal(value(rx, 3), 4);
	assert_int_equal(value(rx, 4), 0);
	assert_int_equal(value(rx, 5), 0);
	expect_header(tx, VNET_STATS_TX_BASIC, TXQ, RX_SIZE);
	assert_true(value(tx, 0) >= 5);
	assert_int_equal(value(tx, 1), 3);
	assert_int_equal(value(tx, 2), 3000);
	assert_int_equal(value(tx, 3), b.calls[TXQ]);
	assert_int_equal(value(tx, 4), 2);
	assert_int_equal(value(tx, 5), 2);
	expect_header(cv, VNET_STATS_CVQ, CTRLQ, CV_SIZE);
	assert_int_equal(value(cv, 0), 2);
	assert_int_equal(value(cv, 1), 2);
	bench_close(&b);
}

/* What is wrong with one entry is wrong with the command; who has little room gets the beginning. */
static void test_refused_statistics(void **state)
{
	struct vnet_std_stats_query q[20];
	uint8_t r[2000], whole[300];
	uint32_t used;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned bit = 0; bit < 64; bit++) {
		for (unsigned queue = 0; queue < 4; queue++) {
			bool good = queue < 3 && all[queue].types == BIT(bit);

			memcpy(q, all, sizeof(all));
			q[1] = (struct vnet_std_stats_query){ .vq_index = htole16(
								      (uint16_t)(queue == 3 ? 3 + bit * 900 : queue)),
							      .types = htole64(BIT(bit)) };
			used = ask(q, 3, r, sizeof(r));
			assert_int_equal(r[0], good ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
			assert_true(good ? used > 1 : used == 1);
		}
	}
	memcpy(q, all, sizeof(all));
	for (uint32_t len = 0; len < 48; len++) {
		command(VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_GET, q, len, r, sizeof(r));
		assert_int_equal(r[0], len && len % 16 == 0 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
	for (unsigned n = 1; n < ARRAY_SIZE(q); n++) {
		q[n] = all[0];
		ask(q, n, r, sizeof(r));
		assert_int_equal(r[0], n <= 12 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
	assert_int_equal(ask(&(struct vnet_std_stats_query){ .vq_index = RXQ }, 1, r, sizeof(r)), 1); /* of nothing */
	assert_int_equal(r[0], VIRTIO_NET_OK);
	used = ask(all, 2, whole, sizeof(whole));
	for (uint32_t room = 1; room < used; room++) {
		assert_int_equal(ask(all, 2, r, room), room);
		assert_memory_equal(r, whole, room);
	}
	command(VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, q, 1, r, 9);
	assert_int_equal(r[0], VIRTIO_NET_ERR);
	command(VIRTIO_NET_CTRL_STATS, 2, NULL, 0, r, 9);
	assert_int_equal(r[0], VIRTIO_NET_ERR);
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_DEVICE_STATS));
	ask(all, 1, r, sizeof(r));
	assert_int_equal(r[0], VIRTIO_NET_ERR);
	bench_close(&b);
}

/* ---- MTU ---- */

/* 5.1.4.1: a driver that knows the MTU gets no larger packet, but a frame that stands for many may be larger. */
static void test_mtu(void **state)
{
	const struct frame_meta gso = { .gso = NET_GSO_TCP4,
					.needs_csum = true,
					.gso_size = 1448,
					.hdr_len = 54,
					.csum_start = 34,
					.csum_offset = 16 };

	(void)state;
	for (unsigned acked = 0; acked < 2; acked++) {
		bench_open(&b, (const char *const[]){ "host_mtu=2000", NULL });
		driver_up(&b, acked ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_NET_F_MTU));
		for (unsigned i = 0; i < 20; i++)
			post_rx(&b, 1000);
		make_frame(frame, 4000, 1);
		assert_int_equal(wire_frame(&b, frame, 2014, NULL), NET_OK);
		assert_int_equal(wire_frame(&b, frame, 2018, NULL), NET_OK); /* with a tag */
		assert_int_equal(wire_frame(&b, frame, 2019, NULL), acked ? NET_DROP_TOO_BIG : NET_OK);
		assert_int_equal(wire_frame(&b, frame, 4000, &gso), NET_OK);
		assert_int_equal(dropped_rx(&b, NET_DROP_TOO_BIG), acked);
		assert_int_equal(receive(&b, back, sizeof(back), NULL), 2014);
		assert_int_equal(receive(&b, back, sizeof(back), NULL), 2018);
		assert_int_equal(receive(&b, back, sizeof(back), NULL), acked ? 4000 : 2019);
		bench_close(&b);
	}
}

/* ---- announcements ---- */

static uint16_t status(void)
{
	struct virtio_net_config c;

	virtio_config_read(b.v, 0, sizeof(c), (uint8_t *)&c);
	return le16toh(c.status);
}

static void test_announce(void **state)
{
	uint8_t ack;

	(void)state;
	bench_open(&b, NULL);
	virtio_net_announce(b.n); /* there is no driver */
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(b.config_calls, 0);
	virtio_net_announce(b.n);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_int_equal(b.config_calls, 1);
	command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0, &ack, 1);
	assert_int_equal(ack, VIRTIO_NET_OK);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	virtio_net_announce(b.n);
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)); /* a reset forgets it */
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	virtio_net_announce(b.n);
	assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
	bench_close(&b);
}

/* Asked for when a link that was down is up again; a moment later, so that the driver has its own up. */
static void test_announce_after_down(void **state)
{
	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned i = 0; i < 2; i++) {
		net_set_link(&b.wire, false);
		settle(&b);
		net_set_link(&b.wire, true);
		settle(&b);
		vm_clock_step(clock_now(CLOCK_VM_NS) + 49 * NSEC_PER_MSEC);
		settle(&b);
		assert_int_equal(status(), VIRTIO_NET_S_LINK_UP);
		if (i) {
			driver_up(&b, ALL_FEATURES); /* another driver knows nothing of it */
			b.config_calls = 2;
		}
		vm_clock_step(clock_now(CLOCK_VM_NS) + 1 * NSEC_PER_MSEC);
		settle(&b);
		assert_int_equal(status(), i ? VIRTIO_NET_S_LINK_UP : VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
		assert_int_equal(b.config_calls, i ? 2 : 3);
		driver_up(&b, ALL_FEATURES);
		b.config_calls = 0;
	}
	bench_close(&b);
}

/* STANDBY is a bit that the driver may take, and no more. */
static void test_failover(void **state)
{
	(void)state;
	bench_open(&b, NULL);
	assert_false(offered(&b) & BIT(VIRTIO_NET_F_STANDBY));
	bench_close(&b);
	bench_open(&b, (const char *const[]){ "failover=on", NULL });
	assert_true(offered(&b) & BIT(VIRTIO_NET_F_STANDBY));
	driver_up(&b, ALL_FEATURES);
	assert_true(virtio_has(b.v, VIRTIO_NET_F_STANDBY));
	expect_healthy(&b);
	bench_close(&b);
}

/* ---- how many segments a frame stands for ---- */

static void expect_segments(size_t len, const struct frame_meta *m, unsigned segments)
{
	struct virtio_net_hdr_mrg_rxbuf h;

	while (b.q[RXQ].n_free > 240)
		post_rx(&b, 2000);
	kick_if_due(&b.q[RXQ]);
	settle(&b);
	assert_int_equal(wire_frame(&b, frame, len, m), NET_OK);
	assert_int_equal(receive(&b, back, sizeof(back), &h), len);
	assert_memory_equal(back, frame, len);
	assert_int_equal(!!(h.hdr.flags & VIRTIO_NET_HDR_F_RSC_INFO), !!segments);
	assert_int_equal(le16toh(h.hdr.csum_start), segments ? segments : m->csum_start);
	assert_int_equal(le16toh(h.hdr.csum_offset), segments ? 0 : m->csum_offset);
	assert_int_equal(le16toh(h.hdr.gso_size), m->gso_size);
}

/* C25 too: what the TCP header says of its length is not believed beyond the frame's end. */
static void test_segments_that_lie(void **state)
{
	static const struct frame_meta csum = { .needs_csum = true, .csum_start = 34, .csum_offset = 16 };
	struct frame_meta m = csum;

	(void)state;
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	m.hdr_len = 60;
	bench_open(&b, (const char *const[]){ "guest_rsc_ext=on", NULL });
	driver_up(&b, ALL_FEATURES);
	make_frame(frame, 9000, 1);
	for (unsigned words = 0; words < 16; words++) {
		frame[34 + 12] = (uint8_t)(words << 4);
		expect_segments(34 + words * 4 + 5000, &m, 5);
		expect_segments(34 + words * 4 + 5001, &m, 6);
	}
	expect_segments(60, &m, 1); /* the header would end at 94: the hint is taken */
	m.hdr_len = 90;
	expect_segments(60, &m, 1);
	m.hdr_len = 54;
	m.needs_csum = false;
	m.csum_start = m.csum_offset = 0;
	expect_segments(2054, &m, 2);
	m = csum;
	m.gso = NET_GSO_UDP_L4;
	m.gso_size = 100;
	expect_segments(34 + 8 + 401, &m, 5);
	expect_segments(100, &csum, 0); /* one packet */
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_RSC_EXT));
	m.gso = NET_GSO_TCP4;
	expect_segments(5000, &m, 0);
	assert_false(negotiate(&b, MIN_FEATURES | BIT(VIRTIO_NET_F_RSC_EXT)));
	bench_close(&b);
	bench_open(&b, (const char *const[]){ "guest_rsc_ext=on", "guest_tso4=off", "guest_tso6=off", NULL });
	assert_false(offered(&b) & BIT(VIRTIO_NET_F_RSC_EXT));
	bench_close(&b);
}

/* C33: a card that cannot be made leaves nothing behind, however often: no client, no address, no timer. */
static void test_refused_properties(void **state)
{
	static const struct virtio_transport none;
	struct leaks before = { 0 };
	struct error err = { "" };

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned i = 0; i < 1000; i++) {
		struct object *o = object_new("virtio-net-device", &err);
		struct virtio_device *v = to_virtio_device(to_device(o));
		struct bus bus;

		assert_int_equal(object_set(o, "failover", "on", &err), 0);
		assert_int_equal(object_set(o, "rss", "on", &err), 0);
		assert_int_equal(object_set(o, "mac", "52:54:00:00:00:07", &err), 0);
		assert_true(object_set(o, "hash-tcp4", "maybe", &err) < 0);
		assert_int_equal(object_set(o, i & 1 ? "host_mtu" : "netdev", i & 1 ? "3" : "wire", &err), 0);
		v->transport = &none;
		v->dma = &b.dma;
		v->loop = b.loop;
		v->lock = &b.lock;
		bus_init(&bus, "virtio", "refused", NULL);
		assert_true(device_realize(&v->dev, &bus, &err) < 0);
		bus_deinit(&bus);
		object_free(o);
		if (i == 10)
			before = leaks_now();
	}
	assert_int_equal(leaks_since(&before), 0);
	expect_healthy(&b);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statistics),
		cmocka_unit_test(test_refused_statistics),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_announce),
		cmocka_unit_test(test_announce_after_down),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_refused_properties),
		cmocka_unit_test(test_segments_that_lie),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
