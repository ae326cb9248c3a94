/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: receive checksums (3.2.9, RXCSUM): the sum of the packet from PCSS on, in every descriptor, and, where
 * RXCSUM has them on, the IPv4 header's and TCP's or UDP's, judged.
 *
 * Headers are judged by a copy; the payload is summed where it lies, in the guest's buffers: a guest that changes it
 * meanwhile gets a wrong answer and nothing else. It is not read at all where whoever gave the frame knows that its
 * transport's checksum is right.
 */
#include "base/csum.h"
#include "base/wirefmt.h"
#include "nic/e1000.h"

#define HEAD 128 /* Ethernet, two tags, IPv4 with all options */

struct packet {
	const struct iovec *iov;
	unsigned cnt;
	size_t len;
	uint8_t head[HEAD];
	size_t have;
	unsigned l3, l4;
	size_t l4_len; /* 0: nothing that could be judged */
	uint8_t proto;
	bool v6;
	bool ip_good;
};

static uint64_t sum_from(const struct packet *p, size_t from, size_t n)
{
	struct iov_cur cur = iov_cur(p->iov, p->cnt);

	iov_skip(&cur, from);
	return csum_add_iov(0, &cur, n);
}

static bool find_ip(const struct e1000 *e, struct packet *p)
{
	unsigned at = 12, type = get16(p->head + at);

	if (type == e1000_get(e, E1000_VET)) {
		at += 4;
		type = get16(p->head + at);
	}
	p->l3 = at + 2;
	p->v6 = type == ETH_IPV6;
	return type == ETH_IPV4 || p->v6;
}

static bool parse_ip4(struct packet *p)
{
	const uint8_t *ip = p->head + p->l3;
	unsigned ihl, total;

	if (!range_within(p->l3, IP4_LEN, p->have) || ip[0] >> 4 != 4)
		return false;
	ihl = (ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (ihl < IP4_LEN || !range_within(p->l3, ihl, p->have) || total < ihl || !range_within(p->l3, total, p->len))
		return false;
	p->ip_good = csum_fold(csum_add(0, ip, ihl)) == 0xffff;
	p->proto = ip[9];
	p->l4 = p->l3 + ihl;
	if (!(get16(ip + 6) & (IP4_MF | IP4_OFFSET)))
		p->l4_len = total - ihl;
	return true;
}

/* Without extension headers: those are the driver's to check. */
static bool parse_ip6(struct packet *p)
{
	const uint8_t *ip = p->head + p->l3;

	if (!range_within(p->l3, IP6_LEN, p->have) || ip[0] >> 4 != 6)
		return false;
	p->proto = ip[6];
	p->l4 = p->l3 + IP6_LEN;
	if (range_within(p->l4, get16(ip + 4), p->len))
		p->l4_len = get16(ip + 4);
	return true;
}

/* Can the transport's checksum be judged? A UDP datagram may have none, which is nothing to judge. */
static bool has_sum(const struct packet *p)
{
	if (p->proto == PROTO_TCP)
		return p->l4_len >= TCP_LEN && range_within(p->l4, TCP_LEN, p->have);
	return p->proto == PROTO_UDP && p->l4_len >= UDP_LEN && range_within(p->l4, UDP_LEN, p->have) &&
	       get16(p->head + p->l4 + UDP_CSUM) != 0;
}

static uint64_t pseudo(const struct packet *p)
{
	const uint8_t *ip = p->head + p->l3;
	uint8_t tail[4] = { 0, p->proto };

	put16(tail + 2, (unsigned)p->l4_len);
	return csum_add(p->v6 ? csum_add(0, ip + 8, 32) : csum_add(0, ip + 12, 8), tail, 4);
}

static void judge(const struct e1000 *e, struct packet *p, struct e1000_rx_info *info, uint64_t *l4_sum)
{
	uint32_t rxcsum = e1000_get(e, E1000_RXCSUM);

	*l4_sum = 0;
	if (!(rxcsum & (RXCSUM_IPOFL | RXCSUM_TUOFL)) || p->have < 18 || !find_ip(e, p) ||
	    !(p->v6 ? parse_ip6(p) : parse_ip4(p))) {
		info->status |= RXD_IXSM;
		p->l4_len = 0;
		return;
	}
	if ((rxcsum & RXCSUM_IPOFL) && !p->v6) {
		info->status |= RXD_IPCS;
		info->errors |= p->ip_good ? 0 : RXD_IPE;
	}
	if (!(rxcsum & RXCSUM_TUOFL) || !has_sum(p)) {
		p->l4_len = 0;
		return;
	}
	info->status |= RXD_TCPCS;
	if (info->valid) { /* then it is known what it sums up to */
		*l4_sum = (uint16_t)~csum_fold(pseudo(p));
		return;
	}
	*l4_sum = sum_from(p, p->l4, p->l4_len);
	info->errors |= csum_fold(csum_fold(*l4_sum) + (uint64_t)csum_fold(pseudo(p))) == 0xffff ? 0 : RXD_TCPE;
}

void e1000_rx_sum(const struct e1000 *e, const struct iovec *iov, unsigned cnt, size_t len, struct e1000_rx_info *info)
{
	unsigned pcss = RXCSUM_PCSS(e1000_get(e, E1000_RXCSUM));
	struct packet p = { .iov = iov, .cnt = cnt, .len = len };
	uint64_t sum, l4_sum;

	p.have = iov_read_at(iov, cnt, 0, p.head, MIN(len, sizeof(p.head)));
	judge(e, &p, info, &l4_sum);
	/* The transport's sum is most of the packet's: only what is in front of it is missing. */
	if (p.l4_len && p.l4 + p.l4_len == len && pcss <= p.l4 && !((p.l4 - pcss) & 1))
		sum = csum_add(csum_fold(l4_sum), p.head + pcss, p.l4 - pcss);
	else
		sum = pcss < len ? sum_from(&p, pcss, len - pcss) : 0;
	info->checksum = (uint16_t)~csum_fold(sum);
}
