/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame check in front of libslirp, and what is made of libslirp's frames on the way to the guest. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/csum.h"
#include "base/wirefmt.h"
#include "unit/unit.h"
#include "user/check.h"
#include "user/toguest.h"

static uint8_t f[70000];
static const struct virtio_net_hdr plain;

static struct check *fresh(void)
{
	static struct check c;
	static const uint8_t host[4] = { 10, 0, 2, 2 };

	c = (struct check){ .ipv4 = true, .ipv6 = true, .big_mss = 65000 };
	memcpy(&c.host, host, 4);
	c.host6[0] = 0xfe;
	c.host6[1] = 0xc0;
	c.host6[15] = 2;
	return &c;
}

/* An IPv4 packet of `n` bytes behind the header, with dst 10.0.2.2; returns the frame's length. */
static uint32_t ip4(uint8_t proto, size_t n)
{
	static const uint8_t head[20] = { 0x45, [6] = 0x40, [8] = 64, [12] = 10, 0, 2, 15, 10, 0, 2, 2 };

	memset(f, 0, 200 + n);
	put16(f + 12, ETH_IPV4);
	memcpy(f + 14, head, 20);
	put16(f + 16, (uint16_t)(20 + n));
	f[23] = proto;
	return (uint32_t)(34 + n);
}

static uint32_t ip6(uint8_t next, size_t n)
{
	memset(f, 0, 200 + n);
	put16(f + 12, ETH_IPV6);
	f[14] = 0x60;
	put16(f + 18, (uint16_t)n);
	f[20] = next;
	f[22] = f[38] = 0xfe;
	f[23] = f[39] = 0xc0;
	f[37] = 1;
	f[53] = 2;
	return (uint32_t)(54 + n);
}

static uint32_t tcp4(uint8_t flags, size_t options, size_t data)
{
	uint32_t len = ip4(PROTO_TCP, 20 + options + data);

	put16(f + 34, 40000);
	put16(f + 36, 80);
	f[46] = (uint8_t)((20 + options) << 2);
	f[47] = flags;
	return len;
}

static uint32_t udp4(uint16_t port, size_t data)
{
	uint32_t len = ip4(PROTO_UDP, 8 + data);

	put16(f + 36, port);
	put16(f + 38, (uint16_t)(8 + data));
	return len;
}

static uint32_t icmp4(uint8_t type, size_t n)
{
	uint32_t len = ip4(PROTO_ICMP, n);

	f[34] = type;
	return len;
}

static uint32_t icmp6(uint8_t type, size_t n)
{
	uint32_t len = ip6(PROTO_ICMP6, n);

	f[54] = type;
	return len;
}

static uint32_t dhcp(size_t n)
{
	uint32_t len = udp4(67, n);

	f[42] = f[43] = 1;
	f[44] = 6;
	return len;
}

static uint32_t arp(void)
{
	static const uint8_t head[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	memset(f, 0, 100);
	put16(f + 12, ETH_ARP);
	memcpy(f + 14, head, 8);
	return 42;
}

/* The field at `at` becomes v. */
static uint32_t with8(uint32_t len, unsigned at, uint8_t v)
{
	f[at] = v;
	return len;
}

static uint32_t with16(uint32_t len, unsigned at, uint16_t v)
{
	put16(f + at, v);
	return len;
}

static uint32_t type(uint16_t t, uint32_t len)
{
	memset(f, 0, 100);
	put16(f + 12, t);
	return len;
}

static void check(int line, enum user_check expected, uint32_t len)
{
	enum user_check got = check_frame(fresh(), f, &len, &plain);

	if (got != expected)
		print_error("line %d: reason %d instead of %d\n", line, got, expected);
	assert_int_equal(got, expected);
}

#define STOPS(reason, frame) check(__LINE__, USER_CHECK_##reason, frame)
#define PASSES(frame)	     check(__LINE__, USER_PASS, frame)

static void test_ethernet(void **state)
{
	(void)state;
	STOPS(ETHERTYPE, type(0x88f8, 60)); /* NC-SI */
	STOPS(ETHERTYPE, type(0x8100, 60));
	STOPS(ETHERTYPE, type(0x0000, 60));
	STOPS(ETHERTYPE, type(0x05dc, 60)); /* a length */
	STOPS(ETHERTYPE, type(0x8863, 60));
	STOPS(ETHERTYPE, type(0x88cc, 60));
	STOPS(SHORT, type(ETH_IPV4, 14));
	STOPS(SHORT, type(ETH_IPV6, 14));
	STOPS(SHORT, type(ETH_ARP, 14));
}

static void test_arp(void **state)
{
	(void)state;
	PASSES(arp());
	PASSES(arp() + 18);
	STOPS(SHORT, arp() - 1);
	STOPS(HEADER, with16(arp(), 14, 6)); /* hardware */
	STOPS(HEADER, with16(arp(), 16, 0x86dd));
	STOPS(HEADER, with8(arp(), 18, 8));
	STOPS(HEADER, with8(arp(), 19, 16));
	STOPS(HEADER, with16(arp(), 20, 0));
	STOPS(HEADER, with16(arp(), 20, 3));
}

static void test_ipv4(void **state)
{
	(void)state;
	PASSES(udp4(53, 10));
	STOPS(HEADER, with8(udp4(53, 10), 14, 0x55)); /* version */
	STOPS(HEADER, with8(udp4(53, 10), 14, 0x44)); /* IHL */
	STOPS(HEADER, with8(udp4(53, 10), 14, 0x40));
	STOPS(OPTIONS, with8(udp4(53, 40), 14, 0x46));
	STOPS(OPTIONS, with8(udp4(53, 60), 14, 0x4f));
	STOPS(SHORT, with16(udp4(53, 10), 16, 19));
	STOPS(SHORT, with16(udp4(53, 10), 16, 39));
	STOPS(SHORT, with16(udp4(53, 10), 16, 65535));
	STOPS(SHORT, udp4(53, 10) - 1);
	STOPS(FRAGMENT, with16(udp4(53, 10), 20, 0x2000)); /* the first */
	STOPS(FRAGMENT, with16(udp4(53, 10), 20, 0x0001)); /* the last */
	STOPS(FRAGMENT, with16(udp4(53, 10), 20, 0x3fff));
	PASSES(with16(udp4(53, 10), 20, 0x4000)); /* do not fragment */
	STOPS(PROTOCOL, ip4(2, 8));		  /* IGMP */
	STOPS(PROTOCOL, ip4(132, 40));		  /* SCTP */
	STOPS(PROTOCOL, ip4(47, 40));
	STOPS(PROTOCOL, ip4(PROTO_ICMP6, 40));
}

static void test_tcp(void **state)
{
	(void)state;
	PASSES(tcp4(0x10, 0, 10));
	PASSES(tcp4(TCP_SYN, 4, 0));
	STOPS(SHORT, ip4(PROTO_TCP, 19));
	STOPS(SHORT, ip4(PROTO_TCP, 0));
	STOPS(HEADER, with8(tcp4(0x10, 0, 10), 46, 0x40));
	STOPS(SHORT, with8(tcp4(0x10, 0, 10), 46, 0xf0));
}

static void test_udp(void **state)
{
	(void)state;
	PASSES(udp4(53, 0));
	STOPS(SHORT, ip4(PROTO_UDP, 7));
	STOPS(SHORT, with16(udp4(53, 10), 38, 7));
	STOPS(SHORT, with16(udp4(53, 10), 38, 19));
	PASSES(dhcp(300));
	PASSES(dhcp(240));
	STOPS(SERVICE, dhcp(239));
	STOPS(SERVICE, dhcp(0));
	STOPS(SERVICE, with8(dhcp(300), 42, 2)); /* a reply */
	STOPS(SERVICE, with8(dhcp(300), 43, 6));
	STOPS(SERVICE, with8(dhcp(300), 44, 16));
	STOPS(SERVICE, udp4(69, 100));	     /* TFTP is off */
	PASSES(with8(udp4(69, 100), 33, 9)); /* to somebody else: like any datagram */
}

static void test_tftp_on(void **state)
{
	struct check *c = fresh();
	uint32_t len;

	(void)state;
	c->tftp = true;
	len = udp4(69, 20);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_PASS);
	len = udp4(69, 5);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_CHECK_SERVICE);
}

static void test_icmp(void **state)
{
	(void)state;
	PASSES(icmp4(8, 64));
	PASSES(icmp4(8, 8));
	STOPS(SHORT, icmp4(8, 7));
	STOPS(ICMP, icmp4(3, 64)); /* unreachable: libslirp would send it back */
	STOPS(ICMP, icmp4(0, 64));
	STOPS(ICMP, icmp4(5, 64));
	STOPS(ICMP, icmp4(13, 64));
}

static void test_ipv6(void **state)
{
	(void)state;
	PASSES(with16(ip6(PROTO_UDP, 8), 58, 8));
	STOPS(HEADER, with8(ip6(PROTO_UDP, 8), 14, 0x40));
	STOPS(SHORT, ip6(PROTO_UDP, 8) - 9);
	STOPS(SHORT, with16(ip6(PROTO_UDP, 8), 18, 9));
	STOPS(SHORT, with16(ip6(PROTO_UDP, 8), 18, 0));
	STOPS(FRAGMENT, ip6(PROTO_FRAGMENT, 40));
	STOPS(OPTIONS, ip6(0, 40)); /* hop-by-hop: MLD */
	STOPS(OPTIONS, ip6(43, 40));
	STOPS(OPTIONS, ip6(60, 40));
	STOPS(PROTOCOL, ip6(59, 40));
	STOPS(PROTOCOL, ip6(PROTO_ICMP, 40));
	STOPS(SERVICE, with16(with16(ip6(PROTO_UDP, 11), 58, 11), 56, PORT_DHCP6));
	PASSES(with16(with16(ip6(PROTO_UDP, 12), 58, 12), 56, PORT_DHCP6));
	PASSES(icmp6(128, 8));
	PASSES(icmp6(133, 8));
	PASSES(icmp6(135, 24));
	PASSES(with8(icmp6(135, 32), 79, 1));
	STOPS(SHORT, icmp6(128, 7));
	STOPS(SHORT, icmp6(135, 23));
	STOPS(SHORT, icmp6(136, 8));
	STOPS(HEADER, icmp6(135, 32)); /* an option of length 0 */
	STOPS(HEADER, with8(icmp6(135, 32), 79, 2));
	STOPS(HEADER, icmp6(133, 12));
	STOPS(ICMP, icmp6(134, 64)); /* a guest is no router */
	STOPS(ICMP, icmp6(137, 64));
	STOPS(ICMP, icmp6(1, 64));
	STOPS(ICMP, icmp6(130, 64));
}

static void test_families_off(void **state)
{
	struct check *c = fresh();
	uint32_t len = udp4(53, 4);

	(void)state;
	c->ipv4 = false;
	assert_int_equal(check_frame(c, f, &len, &plain), USER_CHECK_ETHERTYPE);
	len = arp();
	assert_int_equal(check_frame(c, f, &len, &plain), USER_CHECK_ETHERTYPE);
	c->ipv6 = false;
	len = icmp6(128, 8);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_CHECK_ETHERTYPE);
}

/* prefilter=off lets through what libslirp may judge for itself, but lengths are checked all the same. */
static void test_prefilter_off(void **state)
{
	struct check *c = fresh();
	uint32_t len;

	(void)state;
	c->all = true;
	len = with8(udp4(53, 40), 14, 0x46);
	put16(f + 42, 32);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_PASS);
	len = with16(udp4(53, 10), 20, 0x2000);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_PASS);
	len = ip4(2, 8);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_PASS);
	len = with16(udp4(53, 10), 16, 65535);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_CHECK_SHORT);
	len = ip4(PROTO_TCP, 10);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_CHECK_SHORT);
}

static void test_padding_is_cut(void **state)
{
	uint32_t len = udp4(53, 1) + 17;

	(void)state;
	assert_int_equal(check_frame(fresh(), f, &len, &plain), USER_PASS);
	assert_int_equal(len, 43);
}

/* ---- what is changed ---- */

static uint64_t pseudo4(size_t n)
{
	uint8_t rest[4] = { 0, f[23], (uint8_t)(n >> 8), (uint8_t)n };

	return csum_add(csum_add(0, f + 26, 8), rest, 4);
}

static void sign(uint32_t len)
{
	uint16_t sum;

	put16(f + 50, 0);
	sum = (uint16_t)~csum_fold(csum_add(pseudo4(len - 34), f + 34, len - 34));
	memcpy(f + 50, &sum, 2);
}

static void assert_signed(uint32_t len)
{
	assert_int_equal(csum_fold(csum_add(pseudo4(len - 34), f + 34, len - 34)), 0xffff);
}

static void test_urgent(void **state)
{
	uint32_t len = tcp4(0x10 | TCP_URG, 0, 11);

	(void)state;
	put16(f + 52, 0xbeef);
	sign(len);
	assert_int_equal(check_frame(fresh(), f, &len, &plain), USER_PASS);
	assert_int_equal(f[47], 0x10);
	assert_int_equal(get16(f + 52), 0);
	assert_signed(len);
}

static void mss_case(unsigned at, uint16_t mss, bool replaced)
{
	struct check *c = fresh();
	uint32_t len = tcp4(TCP_SYN, 12, 0);
	uint8_t back[4] = { 0, 80, 40000 >> 8, 40000 & 0xff };

	memset(f + 54, 1, 12); /* NOP */
	f[at] = 2;
	f[at + 1] = 4;
	put16(f + at + 2, mss);
	sign(len);
	assert_int_equal(check_frame(c, f, &len, &plain), USER_PASS);
	assert_int_equal(get16(f + at + 2), replaced ? c->big_mss : mss);
	assert_signed(len);
	assert_int_equal(mss_lookup(&c->mss, f + 30, 4, back), replaced ? mss : 1460);
}

static void test_mss(void **state)
{
	(void)state;
	mss_case(54, 1460, true);
	mss_case(55, 1400, true); /* at an odd offset */
	mss_case(62, 8960, true);
	mss_case(54, 536, true);
	mss_case(54, 535, false);
	mss_case(54, 0, false);
	mss_case(54, 65535, false);
}

/* Options that run out of the header, have no length, or are cut: nothing is touched, nothing is read beyond. */
static void test_bad_options(void **state)
{
	static const uint8_t options[][4] = { { 2, 0 },	      { 2, 1 },	  { 2, 5 },	 { 1, 1, 1, 2 },
					      { 1, 1, 2, 4 }, { 8, 255 }, { 0, 2, 4, 1 } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		struct check *c = fresh();
		uint32_t len = tcp4(TCP_SYN, 4, 0);
		uint8_t before[4];

		memcpy(f + 54, options[i], 4);
		memcpy(before, f + 54, 4);
		assert_int_equal(check_frame(c, f, &len, &plain), USER_PASS);
		assert_memory_equal(f + 54, before, 4);
	}
}

static void test_partial_checksum(void **state)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .csum_start = 34,
				    .csum_offset = 16,
				    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				    .gso_size = 1460 };
	uint32_t len = tcp4(0x10 | TCP_URG, 0, 64000), kept = len;
	uint16_t sum;

	(void)state;
	memset(f + 54, 0x5a, 64000);
	sum = csum_fold(pseudo4(len - 34));
	memcpy(f + 50, &sum, 2);
	assert_int_equal(check_frame(fresh(), f, &len, &h), USER_PASS);
	assert_int_equal(len, kept);
	assert_signed(len);
}

static void offload_case(struct virtio_net_hdr h, uint32_t len)
{
	assert_int_equal(check_frame(fresh(), f, &len, &h), USER_CHECK_OFFLOAD);
}

static void test_bad_offload(void **state)
{
	const uint8_t csum = VIRTIO_NET_HDR_F_NEEDS_CSUM;

	(void)state;
	offload_case((struct virtio_net_hdr){ .flags = csum, .csum_start = 35, .csum_offset = 16 }, tcp4(0x10, 0, 10));
	offload_case((struct virtio_net_hdr){ .flags = csum, .csum_start = 34, .csum_offset = 6 }, tcp4(0x10, 0, 10));
	offload_case((struct virtio_net_hdr){ .flags = csum, .csum_start = 34, .csum_offset = 16 }, udp4(53, 30));
	offload_case((struct virtio_net_hdr){ .flags = csum, .csum_start = 65535, .csum_offset = 65535 },
		     tcp4(0x10, 0, 10));
	offload_case((struct virtio_net_hdr){ .flags = csum, .csum_start = 34, .csum_offset = 2 }, icmp4(8, 64));
	offload_case((struct virtio_net_hdr){ .flags = csum, .csum_start = 34, .csum_offset = 16 }, arp());
	offload_case((struct virtio_net_hdr){ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1460 },
		     tcp4(0x10, 0, 3000));
}

/* ---- towards the guest ---- */

#define SIZE (256 * 1024U)

static struct ring_ctl *ctl;
static uint8_t *data;
static struct ring in, out;
static struct user_stats stats;
static struct mss_table mss;
static struct toguest to = { .ring = &out, .mss = &mss, .stats = &stats };

static int make_ring(void **state)
{
	int fd = memfd_create("ring", 0);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096 + SIZE), 0);
	ctl = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	data = ring_map(fd, 4096, SIZE);
	close(fd);
	ring_init(&in, ctl, data, SIZE);
	ring_init(&out, ctl, data, SIZE);
	memset(&stats, 0, sizeof(stats));
	return 0;
}

static int drop_ring(void **state)
{
	(void)state;
	munmap(ctl, 4096);
	ring_unmap(data, SIZE);
	return 0;
}

static struct ring_frame next(void)
{
	struct ring_frame r;

	if (ring_publish(&out))
		return (struct ring_frame){ 0 };
	assert_int_equal(ring_peek(&in, &r), RING_FRAME);
	ring_pop(&in, &r);
	return r;
}

static void test_small_is_valid(void **state)
{
	uint32_t len = tcp4(0x10, 0, 1460);
	struct ring_frame r;

	(void)state;
	toguest_send(&to, f, len);
	r = next();
	assert_int_equal(r.len, len);
	assert_int_equal(r.hdr.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	assert_int_equal(r.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_memory_equal(r.data, f, len);
}

static void test_large_is_tso(void **state)
{
	uint32_t len = tcp4(0x10, 12, 50000);
	struct ring_frame r;
	uint16_t sum;

	(void)state;
	sign(len);
	toguest_send(&to, f, len);
	r = next();
	assert_int_equal(r.len, len);
	assert_int_equal(r.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(r.hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(r.hdr.gso_size, 1460);
	assert_int_equal(r.hdr.hdr_len, 66);
	assert_int_equal(r.hdr.csum_start, 34);
	sum = csum_fold(pseudo4(len - 34));
	assert_memory_equal(r.data + 50, &sum, 2);
	assert_memory_equal(r.data + 52, f + 52, len - 52);
}

static void test_large_datagram_6(void **state)
{
	uint32_t len = ip6(PROTO_UDP, 4000);
	size_t seen = 0;

	(void)state;
	for (unsigned i = 54; i < len; i++)
		f[i] = (uint8_t)i;
	toguest_send(&to, f, len);
	for (unsigned i = 0; i < 3; i++) {
		struct ring_frame r = next();
		uint16_t at = get16(r.data + 56);

		assert_true(r.len <= 1514);
		assert_int_equal(get16(r.data + 18), r.len - 54);
		assert_int_equal(r.data[20], PROTO_FRAGMENT);
		assert_int_equal(r.data[54], PROTO_UDP);
		assert_int_equal(at & 1, i < 2);
		assert_int_equal(at & ~7, seen);
		assert_memory_equal(r.data + 62, f + 54 + seen, r.len - 62);
		seen += r.len - 62;
	}
	assert_int_equal(seen, 4000);
}

static void test_no_room(void **state)
{
	uint32_t len = tcp4(0x10, 0, 60000);

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		toguest_send(&to, f, len);
	assert_int_equal(stats.overrun, 6);
	toguest_send(&to, f, 5);
	toguest_send(&to, f, 1000000);
	assert_int_equal(stats.overrun, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ethernet),
		cmocka_unit_test(test_arp),
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_tftp_on),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_families_off),
		cmocka_unit_test(test_prefilter_off),
		cmocka_unit_test(test_padding_is_cut),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_mss),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_partial_checksum),
		cmocka_unit_test(test_bad_offload),
		cmocka_unit_test_setup_teardown(test_small_is_valid, make_ring, drop_ring),
		cmocka_unit_test_setup_teardown(test_large_is_tso, make_ring, drop_ring),
		cmocka_unit_test_setup_teardown(test_large_datagram_6, make_ring, drop_ring),
		cmocka_unit_test_setup_teardown(test_no_room, make_ring, drop_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
