/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net with a driver from before virtio 1.0: the short header, rings at one address, features that nobody checks,
 * an address that the driver writes into the configuration.
 */
#include <linux/virtio_pci.h>

#include "base/wirefmt.h"
#include "guest.h"

#define ALIGNMENT VIRTIO_PCI_VRING_ALIGN
#define NO_MRG	  (~BIT(VIRTIO_NET_F_MRG_RXBUF))
#define NOT_BAD	  (~BIT(VIRTIO_F_BAD_FEATURE))

/* A ring at one address (2.7.2). */
static void place(struct bench *b, unsigned i)
{
	struct gq *q = &b->q[i];
	uint16_t size = b->v->queue[i].q.max_size;
	uint64_t avail = sizeof(struct vring_desc) * size, used = ALIGN_UP(avail + 2 * (3 + size), ALIGNMENT);

	gq_init(b, i, size);
	q->avail = at(b, q->gpa + avail);
	q->used = at(b, q->gpa + used);
	virtio_legacy_set_ring(b->v, i, q->gpa, ALIGNMENT);
}

static void legacy_prepare(struct bench *b, uint64_t features)
{
	virtio_legacy_set_status(b->v, 0);
	virtio_legacy_set_status(b->v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	virtio_legacy_set_features(b->v, (uint32_t)features);
	for (unsigned i = 0; i < b->v->n_queues; i++)
		place(b, i);
}

static void legacy_up(struct bench *b, uint64_t features)
{
	legacy_prepare(b, features & virtio_legacy_offered(b->v));
	virtio_legacy_set_status(b->v, virtio_get_status(b->v) | VIRTIO_CONFIG_S_DRIVER_OK);
	settle(b);
	assert_false(atomic_load(&b->v->broken));
	net_drained(&b->wire);
	b->hdr_len = vnet_hdr_len(b->v->guest_features);
}

static void both_ways(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned round = 0; round < 3; round++) {
		legacy_up(&b, NOT_BAD & NO_MRG);
		assert_int_equal(b.hdr_len, sizeof(struct virtio_net_hdr));
		expect_healthy(&b);
		expect_healthy(&b);
		legacy_up(&b, NOT_BAD);
		assert_int_equal(b.hdr_len, HDR);
		expect_healthy(&b);
		/* The next driver is one of 1.0: nothing is left of this one. */
		driver_up(&b, ALL_FEATURES & NO_MRG);
		assert_int_equal(b.n->pair[0].hdr_len, HDR);
		expect_healthy(&b);
	}
	bench_close(&b);
}

/* Header and data in one descriptor or in two, whatever ANY_LAYOUT says. */
static void layouts(void **state)
{
	static const uint32_t pieces[][4] = { { 0 }, { 10, 0 }, { 1, 9, 0 }, { 14, 3, 1, 0 } };
	uint8_t frame[300];
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned with = 0; with < 2; with++) {
		legacy_up(&b, NOT_BAD & NO_MRG & (with ? UINT64_MAX : ~BIT(VIRTIO_F_ANY_LAYOUT)));
		for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
			make_frame(frame, sizeof(frame), i);
			post_tx(&b, NULL, frame, sizeof(frame), pieces[i]);
			kick(&b.q[TXQ]);
			settle(&b);
			assert_int_equal(b.n_sunk, 1);
			assert_int_equal(b.sunk[0].len, sizeof(frame));
			assert_memory_equal(b.sunk[0].data, frame, sizeof(frame));
			forget_sunk(&b);
		}
	}
	bench_close(&b);
}

/* A legacy driver cannot be told that features contradict each other: those are not in force. */
static void contradictions(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	legacy_up(&b, BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_STATUS));
	assert_true(b.v->guest_features == BIT(VIRTIO_NET_F_STATUS));
	expect_healthy(&b);
	/* Who takes all that there is is given what such drivers understand. */
	legacy_up(&b, UINT64_MAX);
	assert_true(b.v->guest_features ==
		    (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		     BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN)));
	expect_healthy(&b);
	bench_close(&b);
}

/* GSO stands for every kind of segmentation: offered to legacy drivers only, if all kinds are. */
static void gso(void **state)
{
	static const char *const without[][2] = { { "gso=off" }, { "host_tso6=off" }, { "csum=off" } };
	struct virtio_net_hdr_mrg_rxbuf h = { .hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						       .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
						       .hdr_len = 54,
						       .gso_size = 1000,
						       .csum_start = 34,
						       .csum_offset = 16 } };
	uint8_t frame[54 + 3000];
	struct bench b;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(without); i++) {
		bench_open(&b, without[i]);
		assert_false(virtio_legacy_offered(b.v) & BIT(VIRTIO_NET_F_GSO));
		bench_close(&b);
	}
	bench_open(&b, NULL);
	assert_false(offered(&b) & BIT(VIRTIO_NET_F_GSO));
	make_frame(frame, sizeof(frame), 1);
	put16(frame + 12, ETH_IPV4);
	memset(frame + ETH_LEN, 0, IP4_LEN + TCP_LEN);
	frame[14] = 0x45;
	put16(frame + 16, sizeof(frame) - ETH_LEN);
	frame[23] = PROTO_TCP;
	frame[46] = 0x50;
	net_takes_changed(&b.wire, NET_OFF_ALL);
	for (unsigned with = 0; with < 2; with++) {
		legacy_up(&b, BIT(VIRTIO_NET_F_CSUM) | (with ? BIT(VIRTIO_NET_F_GSO) : 0));
		assert_int_equal(!!vnet_has(b.n, VIRTIO_NET_F_GSO), with);
		post_tx(&b, &h, frame, sizeof(frame), NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, with);
		assert_int_equal(dropped_tx(&b, NET_DROP_VNET_HDR), 1);
	}
	assert_int_equal(b.sunk[0].meta.gso, NET_GSO_TCP4);
	assert_int_equal(b.sunk[0].len, sizeof(frame));
	assert_memory_equal(b.sunk[0].data, frame, sizeof(frame));
	forget_sunk(&b);
	legacy_up(&b, BIT(VIRTIO_NET_F_GSO));
	assert_true(b.v->guest_features == 0);
	bench_close(&b);
}

/* The address in the configuration, as six single bytes in any order, before or after DRIVER_OK. */
static void address(void **state)
{
	static const uint8_t mac[] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 }, order[] = { 3, 0, 5, 1, 4, 2 };
	uint8_t got[6], before[6], one = 0x99, frame[60];
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	virtio_config_read(b.v, 0, 6, before);
	legacy_prepare(&b, BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX));
	for (unsigned i = 0; i < 6; i++)
		virtio_legacy_config_write(b.v, order[i], 1, &mac[order[i]]);
	virtio_legacy_set_status(b.v, virtio_get_status(b.v) | VIRTIO_CONFIG_S_DRIVER_OK);
	settle(&b);
	net_drained(&b.wire);
	b.hdr_len = vnet_hdr_len(b.v->guest_features);
	virtio_config_read(b.v, 0, 6, got);
	assert_memory_equal(got, mac, 6);
	assert_true(b.n->filter.mac == mac_key(mac));
	/* What else is there is read-only. */
	virtio_legacy_config_write(b.v, 6, 1, &one);
	virtio_config_read(b.v, 6, 1, got);
	assert_int_equal(got[0], VIRTIO_NET_S_LINK_UP);
	make_frame(frame, sizeof(frame), 1);
	memcpy(frame, mac, 6);
	b.n->filter.promisc = false;
	post_rx(&b, 200);
	post_rx(&b, 200);
	kick(&b.q[RXQ]);
	settle(&b);
	assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_OK);
	memcpy(frame, before, 6);
	assert_int_equal(wire_frame(&b, frame, sizeof(frame), NULL), NET_DROP_FILTER_MAC);
	/* A reset gives it its own address again; with the command, or by the modern interface, nothing can be written. */
	virtio_legacy_set_status(b.v, 0);
	virtio_config_read(b.v, 0, 6, got);
	assert_memory_equal(got, before, 6);
	virtio_config_write(b.v, 0, 1, &one);
	legacy_up(&b, NOT_BAD);
	virtio_legacy_config_write(b.v, 0, 1, &one);
	driver_up(&b, ALL_FEATURES);
	virtio_legacy_config_write(b.v, 0, 1, &one);
	virtio_config_read(b.v, 0, 6, got);
	assert_memory_equal(got, before, 6);
	bench_close(&b);
}

/* The ring of frames that wait for the peer is taken away: they are gone, and accounted for. */
static void ring_with_frames(void **state)
{
	uint8_t frame[60];
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	for (unsigned how = 0; how < 2; how++) {
		uint64_t before = dropped_tx(&b, NET_DROP_RESET);

		legacy_up(&b, NOT_BAD);
		make_frame(frame, sizeof(frame), 3);
		for (unsigned i = 0; i < 5; i++)
			post_tx(&b, NULL, frame, sizeof(frame), NULL);
		b.hold_all = true;
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(counter_get(&b.nic->tx.held), 5);
		if (how)
			place(&b, TXQ);
		else
			virtio_legacy_set_ring(b.v, TXQ, 0, ALIGNMENT);
		assert_int_equal(counter_get(&b.nic->tx.held), 0);
		assert_int_equal(dropped_tx(&b, NET_DROP_RESET), before + 5);
		expect_balanced(&b);
		b.hold_all = false;
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
		settle(&b);
		assert_int_equal(b.n_sunk, 0);
		if (!how)
			place(&b, TXQ);
		expect_healthy(&b);
		forget_sunk(&b);
	}
	bench_close(&b);
}

/* A driver that broke a rule: the device stands still, without a bit that it would not know, and a reset repairs. */
static void broken(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	legacy_up(&b, NOT_BAD & NO_MRG);
	post(&b.q[TXQ], 300);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_true(atomic_load(&b.v->broken));
	assert_int_equal(b.v->queue[TXQ].q.fault, VIRTQ_FAULT_HEAD);
	legacy_up(&b, NOT_BAD & NO_MRG);
	expect_healthy(&b);
	bench_close(&b);
}

/* Transmit chains that nobody wants to hear of are told when the ring is empty, and only then. */
static void notify_on_empty(void **state)
{
	uint8_t frame[60];
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	make_frame(frame, sizeof(frame), 3);
	for (unsigned with = 0; with < 2; with++) {
		unsigned calls;

		legacy_up(&b, BIT(VIRTIO_NET_F_MAC) | (with ? BIT(VIRTIO_F_NOTIFY_ON_EMPTY) : 0));
		b.q[TXQ].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
		calls = atomic_load(&b.calls[TXQ]);
		for (unsigned i = 0; i < 10; i++)
			post_tx(&b, NULL, frame, sizeof(frame), NULL);
		b.take_most = 4; /* the others wait in the ring */
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(atomic_load(&b.calls[TXQ]), calls);
		b.take_most = 0;
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
		settle(&b);
		assert_int_equal(b.n_sunk, 10);
		assert_int_equal(atomic_load(&b.calls[TXQ]), calls + with);
		forget_sunk(&b);
	}
	bench_close(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),	    cmocka_unit_test(layouts),
		cmocka_unit_test(contradictions),   cmocka_unit_test(address),
		cmocka_unit_test(ring_with_frames), cmocka_unit_test(broken),
		cmocka_unit_test(notify_on_empty),  cmocka_unit_test(gso),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
