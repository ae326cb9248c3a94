/* SPDX-License-Identifier: BSD-2-Clause */
/* UDP segmentation (USO), both ways: whole to who takes it, cut for who does not, refused where it was not negotiated. */
#include "base/csum.h"
#include "base/wirefmt.h"
#include "guest.h"

#define PAYLOAD 5000u
#define UNIT	1200u
#define SEGS	5

#define USO_GUEST (BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6))

static uint8_t big[NET_FRAME_MAX], back[NET_FRAME_MAX];

static uint16_t pseudo_sum(const uint8_t *f, unsigned l4)
{
	bool v6 = l4 == 54;
	uint8_t tail[4] = { 0, PROTO_UDP, f[l4 + 4], f[l4 + 5] };

	return csum_fold(csum_add(csum_add(0, f + (v6 ? 22 : 26), v6 ? 32 : 8), tail, 4));
}

/* A UDP frame with PAYLOAD bytes, the pseudo header's sum in its checksum field; returns where UDP begins. */
static unsigned make_udp(uint8_t *f, bool v6)
{
	unsigned l4 = v6 ? 54 : 34, len = UDP_LEN + PAYLOAD;
	uint16_t sum;

	make_frame(f, ETH_LEN, 0);
	put16(f + 12, v6 ? ETH_IPV6 : ETH_IPV4);
	memset(f + ETH_LEN, 0, l4 - ETH_LEN);
	if (v6) {
		f[14] = 0x60;
		put16(f + 18, len);
		f[20] = PROTO_UDP;
		f[21] = 64;
	} else {
		f[14] = 0x45;
		put16(f + 16, IP4_LEN + len);
		f[22] = 64;
		f[23] = PROTO_UDP;
	}
	for (unsigned at = v6 ? 22 : 26; at < l4; at++)
		f[at] = (uint8_t)(at * 3);
	put16(f + l4, 1234);
	put16(f + l4 + 2, 5678);
	put16(f + l4 + 4, len);
	sum = pseudo_sum(f, l4);
	memcpy(f + l4 + UDP_CSUM, &sum, 2);
	for (unsigned i = 0; i < PAYLOAD; i++)
		f[l4 + UDP_LEN + i] = (uint8_t)(i * 7 + (i >> 8));
	return l4;
}

static struct frame_meta meta_of(unsigned l4)
{
	return (struct frame_meta){ .gso = NET_GSO_UDP_L4,
				    .needs_csum = true,
				    .gso_size = UNIT,
				    .hdr_len = (uint16_t)(l4 + UDP_LEN),
				    .csum_start = (uint16_t)l4,
				    .csum_offset = UDP_CSUM };
}

/* Datagram i of the frame in `big`, with all its headers and a good checksum, or the pseudo header's if it is partial. */
static void expect_segment(const uint8_t *f, size_t len, unsigned l4, unsigned i, bool partial)
{
	unsigned n = MIN(UNIT, PAYLOAD - i * UNIT);
	uint16_t sum = pseudo_sum(f, l4);

	assert_int_equal(len, l4 + UDP_LEN + n);
	assert_int_equal(get16(f + l4 + 4), UDP_LEN + n);
	assert_int_equal(get16(f + (l4 == 54 ? 18 : 16)), l4 == 54 ? UDP_LEN + n : IP4_LEN + UDP_LEN + n);
	assert_memory_equal(f + l4 + UDP_LEN, big + l4 + UDP_LEN + i * UNIT, n);
	if (partial)
		assert_memory_equal(f + l4 + UDP_CSUM, &sum, 2);
	else
		assert_int_equal(csum_fold(csum_add(sum, f + l4, len - l4)), 0xffff);
}

/* From the guest, for a wire that takes it and for one that takes nothing. */
static void test_to_wire(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, ALL_FEATURES);
	for (unsigned i = 0; i < 4; i++) {
		bool v6 = i & 1, whole = i & 2;
		unsigned l4 = make_udp(big, v6);
		struct frame_meta m = meta_of(l4);
		struct virtio_net_hdr_mrg_rxbuf h = { 0 };

		net_vnet_encode(&m, &h.hdr);
		assert_int_equal(h.hdr.gso_type, 5);
		net_takes_changed(&b.wire, whole ? NET_OFF_ALL : 0);
		post_tx(&b, &h, big, l4 + UDP_LEN + PAYLOAD, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, whole ? 1 : SEGS);
		if (whole) {
			assert_int_equal(b.sunk[0].meta.gso, NET_GSO_UDP_L4);
			assert_int_equal(b.sunk[0].meta.gso_size, UNIT);
			assert_int_equal(b.sunk[0].len, l4 + UDP_LEN + PAYLOAD);
			assert_memory_equal(b.sunk[0].data, big, b.sunk[0].len);
		}
		for (unsigned k = 0; k < SEGS && !whole; k++)
			expect_segment(b.sunk[k].data, b.sunk[k].len, l4, k, false);
		forget_sunk(&b);
	}
	assert_int_equal(counter_get(&b.nic->tx.made), 2 * (SEGS - 1));
	bench_close(&b);
}

/* A guest that sends what it did not negotiate */
static void test_not_negotiated(void **state)
{
	struct bench b;
	unsigned l4 = make_udp(big, false);
	struct frame_meta m = meta_of(l4);
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };

	(void)state;
	net_vnet_encode(&m, &h.hdr);
	for (unsigned i = 0; i < 2; i++) {
		bench_open(&b, i ? (const char *const[]){ "host_uso=off", NULL } : NULL);
		assert_int_equal(!!(offered(&b) & BIT(VIRTIO_NET_F_HOST_USO)), !i);
		driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_HOST_USO));
		post_tx(&b, &h, big, l4 + UDP_LEN + PAYLOAD, NULL);
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, 0);
		assert_int_equal(dropped_tx(&b, NET_DROP_VNET_HDR), 1);
		bench_close(&b);
	}
}

/* A frame from the wire; how many frames the guest gets of it. */
static unsigned receive_all(struct bench *b, unsigned l4, uint8_t *gso)
{
	struct frame_meta m = meta_of(l4);
	struct virtio_net_hdr_mrg_rxbuf h;
	unsigned n = 0;
	int len;

	for (unsigned i = 0; i < 40; i++)
		post_rx(b, 1526);
	kick_if_due(&b->q[RXQ]);
	settle(b);
	assert_int_equal(wire_frame(b, big, l4 + UDP_LEN + PAYLOAD, &m), NET_OK);
	settle(b);
	while ((len = receive(b, back, sizeof(back), &h)) >= 0) {
		*gso = h.hdr.gso_type;
		if (h.hdr.gso_type)
			assert_memory_equal(back, big, (size_t)len);
		else
			expect_segment(back, (size_t)len, l4, n, h.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
		n++;
	}
	return n;
}

/* To the guest: whole if it takes USO of both versions of IP, else in segments; CTRL_GUEST_OFFLOADS turns it off. */
static void test_to_guest(void **state)
{
	static const struct {
		uint64_t features;
		unsigned n;
	} rows[] = {
		{ USO_GUEST, 1 },
		{ BIT(VIRTIO_NET_F_GUEST_USO4), SEGS },
		{ BIT(VIRTIO_NET_F_GUEST_USO6), SEGS },
		{ 0, SEGS },
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		unsigned l4 = make_udp(big, i & 1);
		uint8_t gso = 77;
		struct bench b;

		bench_open(&b, NULL);
		if (rows[i / 2].features) /* not without GUEST_CSUM */
			assert_false(negotiate(&b, rows[i / 2].features | MIN_FEATURES));
		driver_up(&b, rows[i / 2].features | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_GUEST_CSUM));
		net_gives_changed(&b.wire, NET_OFF_ALL); /* a wire that does not ask what the guest takes */
		assert_int_equal(receive_all(&b, l4, &gso), rows[i / 2].n);
		assert_int_equal(gso, rows[i / 2].n == 1 ? 5 : 0);
		bench_close(&b);
	}
}

static uint8_t set_offloads(struct bench *b, uint64_t bits)
{
	bits = htole64(bits);
	return ctrl(b, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &bits, sizeof(bits));
}

static void test_control(void **state)
{
	const uint64_t base = BIT(VIRTIO_NET_F_GUEST_CSUM);
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, base | USO_GUEST | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	assert_int_equal(b.nic->takes, NET_OFF_CSUM | NET_OFF_USO);
	assert_int_equal(set_offloads(&b, base | BIT(VIRTIO_NET_F_GUEST_USO4)), VIRTIO_NET_OK);
	assert_int_equal(b.nic->takes, NET_OFF_CSUM);
	assert_int_equal(set_offloads(&b, base | BIT(VIRTIO_NET_F_GUEST_USO6)), VIRTIO_NET_OK);
	assert_int_equal(b.nic->takes, NET_OFF_CSUM);
	assert_int_equal(set_offloads(&b, base | USO_GUEST), VIRTIO_NET_OK);
	assert_int_equal(b.nic->takes, NET_OFF_CSUM | NET_OFF_USO);
	assert_int_equal(set_offloads(&b, base | USO_GUEST | BIT(VIRTIO_NET_F_HOST_USO)), VIRTIO_NET_ERR);
	assert_int_equal(b.nic->takes, NET_OFF_CSUM | NET_OFF_USO);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_wire),
		cmocka_unit_test(test_not_negotiated),
		cmocka_unit_test(test_to_guest),
		cmocka_unit_test(test_control),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
