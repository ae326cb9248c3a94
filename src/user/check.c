/* SPDX-License-Identifier: BSD-2-Clause */
/* The frame check in front of libslirp: see check.h. */
#include "base/csum.h"
#include "base/wirefmt.h"
#include "user/check.h"

/* A packet under examination. */
struct packet {
	uint8_t *l4;
	uint32_t l4_len;
	const uint8_t *dst; /* address */
	unsigned addr_len;
	bool partial; /* the checksum is to be completed */
	uint16_t start, offset;
};

/* RFC 1624: the checksum field after a 16-bit word, at any even offset, became another. */
static void csum_replace(uint8_t *field, uint16_t from, uint16_t to)
{
	uint32_t sum = (uint16_t)~get16(field) + (uint32_t)(uint16_t)~from + to;

	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	put16(field, (uint16_t)~sum);
}

static unsigned mss_slot(const uint8_t *addr, size_t addr_len, uint16_t guest_port, uint16_t port)
{
	uint32_t h = (uint32_t)guest_port << 16 | port;

	for (size_t i = 0; i < addr_len; i += 4)
		h = h * 0x9e3779b1U + get32(addr + i);
	return (h * 0x9e3779b1U) >> 20;
}

uint16_t mss_lookup(const struct mss_table *t, const uint8_t *addr, size_t addr_len, const uint8_t *l4)
{
	uint16_t mss = t->mss[mss_slot(addr, addr_len, get16(l4 + 2), get16(l4))];

	return mss ? mss : (addr_len == 4 ? 1500 - IP4_LEN - TCP_LEN : 1500 - IP6_LEN - TCP_LEN);
}

static void replace_mss(struct check *c, struct packet *p, uint8_t *value)
{
	uint16_t mss = get16(value);
	bool odd = (value - p->l4) & 1;
	uint8_t *csum = p->l4 + TCP_CSUM;

	if (mss < MSS_MIN || mss >= c->big_mss)
		return;
	c->mss.mss[mss_slot(p->dst, p->addr_len, get16(p->l4), get16(p->l4 + 2))] = mss;
	put16(value, c->big_mss);
	if (!p->partial)
		csum_replace(csum, odd ? __builtin_bswap16(mss) : mss,
			     odd ? __builtin_bswap16(c->big_mss) : c->big_mss);
}

/* Find the MSS option (RFC 9293, 3.2) of a SYN. */
static void take_mss(struct check *c, struct packet *p, unsigned hdr_len)
{
	for (unsigned i = TCP_LEN; i < hdr_len;) {
		uint8_t kind = p->l4[i];

		if (kind == 0)
			return;
		if (kind == 1) {
			i++;
			continue;
		}
		if (i + 1 >= hdr_len || p->l4[i + 1] < 2 || p->l4[i + 1] > hdr_len - i)
			return;
		if (kind == 2 && p->l4[i + 1] == 4) {
			replace_mss(c, p, p->l4 + i + 2);
			return;
		}
		i += p->l4[i + 1];
	}
}

static enum user_check check_tcp(struct check *c, struct packet *p)
{
	unsigned hdr_len;
	uint8_t *t = p->l4;

	if (p->l4_len < TCP_LEN)
		return USER_CHECK_SHORT;
	hdr_len = (t[12] >> 4) * 4U;
	if (hdr_len < TCP_LEN)
		return USER_CHECK_HEADER;
	if (hdr_len > p->l4_len)
		return USER_CHECK_SHORT;
	if (t[13] & TCP_URG || t[18] || t[19]) {
		uint16_t flags = get16(t + 12), urgent = get16(t + 18);

		t[13] &= (uint8_t)~TCP_URG;
		put16(t + 18, 0);
		if (!p->partial) {
			csum_replace(t + TCP_CSUM, flags, get16(t + 12));
			csum_replace(t + TCP_CSUM, urgent, 0);
		}
	}
	if (t[13] & TCP_SYN)
		take_mss(c, p, hdr_len);
	return USER_PASS;
}

static bool to_host(const struct check *c, const struct packet *p)
{
	return !memcmp(p->dst, p->addr_len == 4 ? (const void *)&c->host : c->host6, p->addr_len);
}

static enum user_check check_udp(const struct check *c, const struct packet *p)
{
	uint16_t len, port;

	if (p->l4_len < UDP_LEN)
		return USER_CHECK_SHORT;
	len = get16(p->l4 + 4);
	port = get16(p->l4 + 2);
	if (len < UDP_LEN || len > p->l4_len)
		return USER_CHECK_SHORT;
	if (port == PORT_TFTP && to_host(c, p) && (!c->tftp || len < UDP_LEN + 2 + 4))
		return USER_CHECK_SERVICE;
	/* RFC 2131: everything up to the options, and the magic cookie; op 1 is a request; an Ethernet address. */
	if (p->addr_len == 4 && port == PORT_BOOTP &&
	    (len < UDP_LEN + 240 || p->l4[UDP_LEN] != 1 || p->l4[UDP_LEN + 1] != 1 || p->l4[UDP_LEN + 2] != 6))
		return USER_CHECK_SERVICE;
	if (p->addr_len == 16 && port == PORT_DHCP6 && len < UDP_LEN + 4)
		return USER_CHECK_SERVICE;
	return USER_PASS;
}

static enum user_check check_icmp6(const struct packet *p)
{
	unsigned min;

	if (p->l4_len < ICMP_LEN)
		return USER_CHECK_SHORT;
	switch (p->l4[0]) {
	case ICMP6_ECHO:
	case ICMP6_ROUTER_SOLICIT:
		min = ICMP_LEN;
		break;
	case ICMP6_NEIGHBOUR_SOLICIT:
	case ICMP6_NEIGHBOUR_ADVERT:
		min = 24;
		break;
	default:
		return USER_CHECK_ICMP;
	}
	/* Options of neighbour discovery: each has its length in units of 8 bytes, which is not 0 (RFC 4861, 4.6). */
	for (uint32_t i = min; p->l4[0] != ICMP6_ECHO && i < p->l4_len; i += p->l4[i + 1] * 8U) {
		if (p->l4_len - i < 8 || !p->l4[i + 1] || p->l4[i + 1] * 8U > p->l4_len - i)
			return USER_CHECK_HEADER;
	}
	return p->l4_len < min ? USER_CHECK_SHORT : USER_PASS;
}

static enum user_check check_l4(struct check *c, struct packet *p, uint8_t proto)
{
	if (proto == PROTO_TCP)
		return check_tcp(c, p);
	if (proto == PROTO_UDP)
		return check_udp(c, p);
	if (proto == PROTO_ICMP6 && p->addr_len == 16)
		return check_icmp6(p);
	if (proto == PROTO_ICMP && p->addr_len == 4) {
		if (p->l4_len < ICMP_LEN)
			return USER_CHECK_SHORT;
		return p->l4[0] == ICMP_ECHO || c->all ? USER_PASS : USER_CHECK_ICMP;
	}
	return c->all ? USER_PASS : USER_CHECK_PROTOCOL;
}

/* Complete the partial checksum: the field holds the sum of the pseudo header (virtio 1.2, 5.1.6.2.1). */
static enum user_check fill_csum(struct packet *p, uint8_t proto, uint32_t l4_at)
{
	uint16_t at = proto == PROTO_TCP ? TCP_CSUM : UDP_CSUM, sum;

	if ((proto != PROTO_TCP && proto != PROTO_UDP) || p->start != l4_at || p->offset != at)
		return USER_CHECK_OFFLOAD;
	sum = (uint16_t)~csum_fold(csum_add(0, p->l4, p->l4_len));
	if (!sum && proto == PROTO_UDP)
		sum = 0xffff;
	memcpy(p->l4 + at, &sum, sizeof(sum));
	return USER_PASS;
}

static enum user_check check_ip_payload(struct check *c, struct packet *p, uint8_t proto, uint32_t l4_at)
{
	enum user_check why = check_l4(c, p, proto);

	if (why == USER_PASS && p->partial)
		why = fill_csum(p, proto, l4_at);
	return why;
}

static enum user_check check_ipv4(struct check *c, struct packet *p, uint8_t *frame, uint32_t *len)
{
	uint8_t *ip = frame + ETH_LEN;
	uint32_t hdr_len, total;

	if (*len < ETH_LEN + IP4_LEN)
		return USER_CHECK_SHORT;
	hdr_len = (ip[0] & 15) * 4U;
	total = get16(ip + 2);
	if (ip[0] >> 4 != 4 || hdr_len < IP4_LEN)
		return USER_CHECK_HEADER;
	if (total < hdr_len || total > *len - ETH_LEN)
		return USER_CHECK_SHORT;
	if (hdr_len != IP4_LEN && !c->all)
		return USER_CHECK_OPTIONS;
	*len = ETH_LEN + total;
	if (get16(ip + 6) & (IP4_MF | IP4_OFFSET))
		return c->all && !p->partial ? USER_PASS : USER_CHECK_FRAGMENT;
	p->l4 = ip + hdr_len;
	p->l4_len = total - hdr_len;
	p->dst = ip + 16;
	p->addr_len = 4;
	return check_ip_payload(c, p, ip[9], ETH_LEN + hdr_len);
}

static enum user_check check_ipv6(struct check *c, struct packet *p, uint8_t *frame, uint32_t *len)
{
	uint8_t *ip = frame + ETH_LEN;
	uint32_t payload;

	if (*len < ETH_LEN + IP6_LEN)
		return USER_CHECK_SHORT;
	payload = get16(ip + 4);
	if (ip[0] >> 4 != 6)
		return USER_CHECK_HEADER;
	if (payload > *len - ETH_LEN - IP6_LEN)
		return USER_CHECK_SHORT;
	*len = ETH_LEN + IP6_LEN + payload;
	if (ip[6] == PROTO_FRAGMENT)
		return USER_CHECK_FRAGMENT; /* libslirp cannot put them together */
	if (ip[6] == PROTO_HOP_BY_HOP || ip[6] == PROTO_ROUTING || ip[6] == PROTO_DEST_OPTIONS)
		return USER_CHECK_OPTIONS; /* nor can it skip these */
	p->l4 = ip + IP6_LEN;
	p->l4_len = payload;
	p->dst = ip + 24;
	p->addr_len = 16;
	return check_ip_payload(c, p, ip[6], ETH_LEN + IP6_LEN);
}

/* RFC 826, for IPv4 on Ethernet. */
static enum user_check check_arp(const uint8_t *frame, uint32_t len)
{
	static const uint8_t form[6] = { 0, 1, ETH_IPV4 >> 8, ETH_IPV4 & 0xff, 6, 4 };
	uint16_t op;

	if (len < ETH_LEN + ARP_LEN)
		return USER_CHECK_SHORT;
	op = get16(frame + ETH_LEN + 6);
	if (memcmp(frame + ETH_LEN, form, sizeof(form)) || op < 1 || op > 2)
		return USER_CHECK_HEADER;
	return USER_PASS;
}

enum user_check check_frame(struct check *c, uint8_t *frame, uint32_t *len, const struct virtio_net_hdr *hdr)
{
	struct packet p = { .partial = hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
			    .start = hdr->csum_start,
			    .offset = hdr->csum_offset };

	if (*len < ETH_LEN)
		return USER_CHECK_SHORT;
	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE && !p.partial)
		return USER_CHECK_OFFLOAD;
	switch (get16(frame + 12)) {
	case ETH_IPV4:
		return c->ipv4 ? check_ipv4(c, &p, frame, len) : USER_CHECK_ETHERTYPE;
	case ETH_IPV6:
		return c->ipv6 ? check_ipv6(c, &p, frame, len) : USER_CHECK_ETHERTYPE;
	case ETH_ARP:
		if (!c->ipv4)
			return USER_CHECK_ETHERTYPE;
		return p.partial ? USER_CHECK_OFFLOAD : check_arp(frame, *len);
	}
	return USER_CHECK_ETHERTYPE;
}
