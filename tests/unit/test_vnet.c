/* SPDX-License-Identifier: BSD-2-Clause */
/* The vnet header: what is decoded, what is refused, and that encoding gives the same header back. */
#include "unit.h"

#include "net/frame.h"

static struct virtio_net_hdr hdr(uint8_t flags, uint8_t type, unsigned size, unsigned start, unsigned offset)
{
	return (struct virtio_net_hdr){ .flags = flags,
					.gso_type = type,
					.gso_size = htole16(size),
					.csum_start = htole16(start),
					.csum_offset = htole16(offset) };
}

static void plain(void **state)
{
	struct virtio_net_hdr h = hdr(0, 0, 0, 0, 0);
	struct frame_meta m, zero = { 0 };

	(void)state;
	memset(&m, 0xff, sizeof(m));
	assert_int_equal(net_vnet_decode(&h, 14, &m), NET_OK);
	assert_int_equal(frame_needs(&m), 0);
	assert_int_equal(m.data_valid, 0);
	net_vnet_encode(&zero, &h);
	for (unsigned i = 0; i < sizeof(h); i++)
		assert_int_equal(((uint8_t *)&h)[i], 0);
}

static void round_trip(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t needs;
	} rows[] = {
		{ 0, 0 },
		{ 1, NET_OFF_TSO4 },
		{ 4, NET_OFF_TSO6 },
		{ 3, NET_OFF_UFO },
		{ 5, NET_OFF_USO },
		{ 0x81, NET_OFF_TSO4 | NET_OFF_ECN },
		{ 0x84, NET_OFF_TSO6 | NET_OFF_ECN },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_net_hdr h = hdr(1, rows[i].type, rows[i].type ? 1448 : 0, 34, 16), back;
		struct frame_meta m;

		h.hdr_len = htole16(rows[i].type ? 66 : 0);
		assert_int_equal(net_vnet_decode(&h, 4000, &m), NET_OK);
		assert_int_equal(frame_needs(&m), rows[i].needs | NET_OFF_CSUM);
		net_vnet_encode(&m, &back);
		assert_memory_equal(&h, &back, sizeof(h));
	}
}

static void refused(void **state)
{
	const struct {
		struct virtio_net_hdr h;
		size_t len;
	} rows[] = {
		{ hdr(1, 0, 0, 34, 16), 51 },	       /* the field ends one byte beyond the frame */
		{ hdr(1, 0, 0, 65535, 65535), 65549 }, /* no wrap-around at 16 bits */
		{ hdr(1, 1, 0, 34, 16), 4000 },	       /* segmentation without a size */
		{ hdr(1, 2, 1448, 34, 16), 4000 },     /* unknown types */
		{ hdr(1, 6, 1448, 34, 16), 4000 },     { hdr(1, 0x7f, 1448, 34, 16), 4000 },
		{ hdr(1, 0x80, 1448, 34, 16), 4000 }, /* ECN of what is not TCP */
		{ hdr(1, 0x83, 1448, 34, 16), 4000 },  { hdr(1, 0x85, 1448, 34, 16), 4000 },
	};
	struct frame_meta m;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(net_vnet_decode(&rows[i].h, rows[i].len, &m), NET_DROP_VNET_HDR);
	assert_int_equal(net_vnet_decode(&rows[0].h, 52, &m), NET_OK);
}

static void hdr_len_is_advisory(void **state)
{
	struct virtio_net_hdr h = hdr(1, 1, 1448, 34, 16);
	struct frame_meta m;

	(void)state;
	h.hdr_len = htole16(65535);
	assert_int_equal(net_vnet_decode(&h, 4000, &m), NET_OK);
	assert_int_equal(m.hdr_len, 0);
}

/* Whatever is accepted can be encoded, and is accepted again. */
static void random_headers(void **state)
{
	(void)state;
	srandom(1);
	for (unsigned i = 0; i < 200000; i++) {
		struct virtio_net_hdr h, back;
		struct frame_meta m, again;
		size_t len = (size_t)random() % 70000;

		for (unsigned j = 0; j < sizeof(h); j++)
			((uint8_t *)&h)[j] = (uint8_t)random();
		if (i & 1)
			h.gso_type &= 0x87;
		if (net_vnet_decode(&h, len, &m))
			continue;
		assert_true(m.gso == NET_GSO_NONE || m.gso_size > 0);
		assert_true(!m.needs_csum || m.csum_start + m.csum_offset + 2u <= len);
		assert_true(m.hdr_len <= len);
		net_vnet_encode(&m, &back);
		assert_int_equal(net_vnet_decode(&back, len, &again), NET_OK);
		assert_int_equal(frame_needs(&m), frame_needs(&again));
	}
}

static void drop_names(void **state)
{
	(void)state;
	for (int i = 0; i < NET_DROP_COUNT; i++) {
		assert_non_null(net_drop_name(i));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(net_drop_name(i), net_drop_name(j));
	}
	assert_string_equal(net_drop_name(NET_DROP_TAP_DOWN), "tap-down");
	assert_string_equal(net_drop_name((enum net_drop)9999), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),	  cmocka_unit_test(round_trip),
		cmocka_unit_test(refused),	  cmocka_unit_test(hdr_len_is_advisory),
		cmocka_unit_test(random_headers), cmocka_unit_test(drop_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
