/* SPDX-License-Identifier: BSD-2-Clause */
/* The Toeplitz hash of a frame: see rss.h. */
#include "net/rss.h"

#include "base/wirefmt.h"

#define EXT_MAX	     8
#define HOME_ADDRESS 0xc9 /* RFC 6275, 6.3: option of the destination options header */
#define ROUTING_2    2	  /* RFC 6275, 6.4 */

/* What a frame has to be hashed by. */
struct flow {
	const uint8_t *addr;	    /* source, then destination; NULL: no IP */
	const uint8_t *home, *care; /* IPv6 with extension headers: addresses to use instead, NULL: none */
	const uint8_t *ports;	    /* NULL: none that can be seen */
	bool v6, ext;
	uint8_t proto; /* PROTO_TCP or PROTO_UDP if there are ports */
};

/* The types of one sort of packet. */
struct sort {
	uint32_t tcp, udp, ip;
};

static const struct sort ip4 = { VIRTIO_NET_RSS_HASH_TYPE_TCPv4, VIRTIO_NET_RSS_HASH_TYPE_UDPv4,
				 VIRTIO_NET_RSS_HASH_TYPE_IPv4 };
static const struct sort ip6 = { VIRTIO_NET_RSS_HASH_TYPE_TCPv6, VIRTIO_NET_RSS_HASH_TYPE_UDPv6,
				 VIRTIO_NET_RSS_HASH_TYPE_IPv6 };
static const struct sort ip6_ext = { VIRTIO_NET_RSS_HASH_TYPE_TCP_EX, VIRTIO_NET_RSS_HASH_TYPE_UDP_EX,
				     VIRTIO_NET_RSS_HASH_TYPE_IP_EX };

/* ---- the hash ---- */

/* 32 bits of the key from bit `at` on; behind its end come zeros. */
static uint32_t key_bits(const uint8_t *key, unsigned at)
{
	uint64_t v = 0;

	for (unsigned i = at / 8; i < at / 8 + 5; i++)
		v = v << 8 | (i < RSS_KEY_LEN ? key[i] : 0);
	return (uint32_t)(v >> (8 - at % 8));
}

void rss_set_key(struct rss_hash *h, const uint8_t *key, size_t len)
{
	memset(h->key, 0, sizeof(h->key));
	memcpy(h->key, key, MIN(len, sizeof(h->key)));
	for (unsigned i = 0; i < 2 * RSS_INPUT_MAX; i++) {
		for (unsigned v = 0; v < 16; v++) {
			uint32_t sum = 0;

			for (unsigned bit = 0; bit < 4; bit++)
				sum ^= v & (8u >> bit) ? key_bits(h->key, 4 * i + bit) : 0;
			h->table[i][v] = sum;
		}
	}
}

uint32_t rss_toeplitz(const struct rss_hash *h, const uint8_t *input, size_t len)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < MIN(len, (size_t)RSS_INPUT_MAX); i++)
		hash ^= h->table[2 * i][input[i] >> 4] ^ h->table[2 * i + 1][input[i] & 15];
	return hash;
}

/* ---- what a frame is ---- */

static void find_ports(struct flow *f, const uint8_t *head, size_t at, size_t have, uint8_t proto)
{
	/* Whole headers are not asked for: a short segment has ports too. */
	if ((proto != PROTO_TCP && proto != PROTO_UDP) || !range_within(at, 4, have))
		return;
	f->proto = proto;
	f->ports = head + at;
}

static void parse_ip4(struct flow *f, const uint8_t *head, size_t at, size_t have)
{
	const uint8_t *ip = head + at;
	unsigned ihl;

	if (!range_within(at, IP4_LEN, have) || ip[0] >> 4 != 4)
		return;
	f->addr = ip + 12;
	ihl = (ip[0] & 15) * 4;
	if (ihl >= IP4_LEN && !(get16(ip + 6) & (IP4_MF | IP4_OFFSET)))
		find_ports(f, head, at + ihl, have, ip[9]);
}

/* The home address among the options of a destination options header of len bytes. */
static const uint8_t *home_address(const uint8_t *ext, size_t len)
{
	for (size_t at = 2; at + 1 < len;) {
		size_t n = ext[at] ? 2u + ext[at + 1] : 1; /* Pad1 has no length */

		if (ext[at] == HOME_ADDRESS && ext[at + 1] == 16 && range_within(at, n, len))
			return ext + at + 2;
		at += n;
	}
	return NULL;
}

/* An extension header at `at`: note what it says, and go behind it. False: nothing can be found behind it. */
static bool pass_extension(struct flow *f, const uint8_t *head, size_t *at, size_t have, uint8_t *proto)
{
	const uint8_t *ext = head + *at;
	size_t len;

	f->ext = true;
	if (!range_within(*at, 8, have))
		return false;
	len = *proto == PROTO_FRAGMENT ? IP6_FRAG_LEN : (ext[1] + 1u) * 8;
	if (!range_within(*at, len, have))
		return false;
	if (*proto == PROTO_FRAGMENT && get16(ext + 2) & 0xfff9)
		return false;
	if (*proto == PROTO_DEST_OPTIONS && !f->home)
		f->home = home_address(ext, len);
	if (*proto == PROTO_ROUTING && ext[2] == ROUTING_2 && len == 24)
		f->care = ext + 8;
	*proto = ext[0];
	*at += len;
	return true;
}

static void parse_ip6(struct flow *f, const uint8_t *head, size_t at, size_t have)
{
	const uint8_t *ip = head + at;
	uint8_t proto;

	if (!range_within(at, IP6_LEN, have) || ip[0] >> 4 != 6)
		return;
	f->v6 = true;
	f->addr = ip + 8;
	proto = ip[6];
	at += IP6_LEN;
	for (unsigned i = 0; i < EXT_MAX; i++) {
		if (proto != PROTO_HOP_BY_HOP && proto != PROTO_ROUTING && proto != PROTO_FRAGMENT &&
		    proto != PROTO_DEST_OPTIONS)
			break;
		if (!pass_extension(f, head, &at, have, &proto))
			return;
	}
	find_ports(f, head, at, have, proto);
}

static void parse(struct flow *f, const uint8_t *head, size_t have)
{
	size_t at = 12;

	if (have < ETH_LEN)
		return;
	for (unsigned i = 0; i < 2 && (get16(head + at) == ETH_VLAN || get16(head + at) == ETH_QINQ); i++) {
		at += 4;
		if (!range_within(at, 2, have))
			return;
	}
	if (get16(head + at) == ETH_IPV4)
		parse_ip4(f, head, at + 2, have);
	else if (get16(head + at) == ETH_IPV6)
		parse_ip6(f, head, at + 2, have);
}

/* ---- which of it is hashed ---- */

/* The type of this sort that fits the frame and is enabled; 0: none. */
static uint32_t choose(const struct flow *f, const struct sort *s, uint32_t types)
{
	if (f->ports && f->proto == PROTO_TCP && types & s->tcp)
		return s->tcp;
	if (f->ports && f->proto == PROTO_UDP && types & s->udp)
		return s->udp;
	return types & s->ip;
}

unsigned rss_hash_frame(const struct rss_hash *h, const uint8_t *head, size_t len, uint32_t *value)
{
	struct flow f = { 0 };
	uint8_t input[RSS_INPUT_MAX];
	const struct sort *sort;
	size_t n = 4;
	uint32_t type;

	*value = 0;
	parse(&f, head, MIN(len, (size_t)RSS_PEEK));
	if (!f.addr)
		return VIRTIO_NET_HASH_REPORT_NONE;
	sort = f.ext && choose(&f, &ip6_ext, h->types) ? &ip6_ext : f.v6 ? &ip6 : &ip4;
	type = choose(&f, sort, h->types);
	if (!type)
		return VIRTIO_NET_HASH_REPORT_NONE;
	if (f.v6)
		n = 16;
	memcpy(input, sort == &ip6_ext && f.home ? f.home : f.addr, n);
	memcpy(input + n, sort == &ip6_ext && f.care ? f.care : f.addr + n, n);
	n *= 2;
	if (type != sort->ip && f.ports) {
		memcpy(input + n, f.ports, 4);
		n += 4;
	}
	*value = rss_toeplitz(h, input, n);
	return (unsigned)__builtin_ctz(type) + 1;
}
