/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a transmit descriptor of C+ mode asks for (data sheet, 9.1): a tag to be inserted, checksums of IP, TCP and UDP,
 * a large send. The chip knows IPv4 alone, and fills in checksums from nothing, pseudo header included.
 *
 * Headers are copied to host memory and changed there, what lies behind them stays where it is. The checksum of the
 * payload and the cutting are left to who takes the frame, or to net/offload: a partial checksum, a segmentation type.
 *
 * Headers that do not fit their own lengths are not touched: the frame goes as it is, but for a large send, which is
 * refused.
 */
#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "nic/rtl8139.h"

#define TAG_LEN 4

struct headers {
	uint8_t *p;
	size_t have; /* bytes of the frame at p */
	size_t len;  /* of the frame */
	unsigned l3, l4, l4_len;
	uint8_t proto;
};

/* The first bytes, with the tag put in if there is to be one. Returns how many of the frame's own they are. */
static size_t copy_head(struct headers *h, const struct iovec *pieces, unsigned n, size_t len, uint32_t opts2)
{
	size_t have = iov_read_at(pieces, n, 0, h->p, MIN(len, (size_t)RTL_HEAD_MAX));

	h->have = have;
	h->len = len;
	if (opts2 & TXD_TAGC) {
		memmove(h->p + 16, h->p + 12, have - 12);
		put16(h->p + 12, ETH_VLAN);
		h->p[14] = (uint8_t)opts2; /* the descriptor has it in the wire's order */
		h->p[15] = (uint8_t)(opts2 >> 8);
		h->have += TAG_LEN;
		h->len += TAG_LEN;
	}
	return have;
}

/* IPv4 behind at most one tag, whole, and as long as it says. */
static bool find_ip(struct headers *h)
{
	const uint8_t *ip;
	unsigned ihl, total;

	h->l3 = ETH_LEN;
	if (h->have >= ETH_LEN + TAG_LEN && get16(h->p + 12) == ETH_VLAN)
		h->l3 += TAG_LEN;
	ip = h->p + h->l3;
	if (!range_within(h->l3, IP4_LEN, h->have) || get16(ip - 2) != ETH_IPV4 || ip[0] >> 4 != 4)
		return false;
	ihl = (ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (ihl < IP4_LEN || total < ihl || !range_within(h->l3, ihl, h->have) || !range_within(h->l3, total, h->len))
		return false;
	h->l4 = h->l3 + ihl;
	h->l4_len = total - ihl;
	h->proto = get16(ip + 6) & (IP4_MF | IP4_OFFSET) ? 0 : ip[9];
	return true;
}

static void sum_ip(struct headers *h)
{
	uint8_t *ip = h->p + h->l3;
	uint16_t sum;

	memset(ip + 10, 0, 2);
	sum = (uint16_t)~csum_fold(csum_add(0, ip, h->l4 - h->l3));
	memcpy(ip + 10, &sum, 2);
}

/* The pseudo header's sum into the field; the rest is to be added by the taker. False: no such header here. */
static bool begin_sum(struct headers *h, uint8_t proto, struct frame_meta *m)
{
	unsigned field = proto == PROTO_TCP ? TCP_CSUM : UDP_CSUM, need = proto == PROTO_TCP ? TCP_LEN : UDP_LEN;
	uint8_t rest[4] = { 0, proto };
	uint16_t sum;

	if (h->proto != proto || h->l4_len < need || !range_within(h->l4, need, h->have))
		return false;
	put16(rest + 2, h->l4_len);
	sum = csum_fold(csum_add(csum_add(0, h->p + h->l3 + 12, 8), rest, sizeof(rest)));
	memcpy(h->p + h->l4 + field, &sum, 2);
	m->needs_csum = true;
	m->csum_start = (uint16_t)h->l4;
	m->csum_offset = (uint16_t)field;
	return true;
}

/* Bytes behind the packet are no part of the sum, but would be taken for it: it is done here. */
static void finish_sum(struct headers *h, const struct iovec *pieces, unsigned n, size_t skip, struct frame_meta *m)
{
	struct iov_cur cur = iov_cur(pieces, n);
	size_t in_head = MIN((size_t)h->l4_len, h->have - h->l4);
	uint8_t *field = h->p + h->l4 + m->csum_offset;
	uint64_t sum = csum_add(0, h->p + h->l4, in_head & ~(size_t)1);
	uint8_t odd[2] = { 0 };
	uint16_t c;

	/* What follows the head begins at an even place of the sum. */
	iov_skip(&cur, skip - (in_head & 1));
	if (in_head < h->l4_len)
		sum = csum_add_iov(sum, &cur, h->l4_len - (in_head & ~(size_t)1));
	else if (in_head & 1) {
		odd[0] = h->p[h->l4 + in_head - 1];
		sum = csum_add(sum, odd, 2);
	}
	c = (uint16_t)~csum_fold(sum);
	c = c ? c : 0xffff;
	memcpy(field, &c, 2);
	*m = (struct frame_meta){ 0 };
}

static enum net_drop large_send(struct headers *h, uint32_t opts1, struct frame_meta *m)
{
	unsigned mss = opts1 >> TXD_MSS_SHIFT & TXD_MSS, header;

	if (!mss || !begin_sum(h, PROTO_TCP, m))
		return NET_DROP_MALFORMED;
	header = (h->p[h->l4 + 12] >> 4) * 4;
	if (header < TCP_LEN || header > h->l4_len || !range_within(h->l4, header, h->have))
		return NET_DROP_MALFORMED;
	if (h->len != h->l4 + h->l4_len)
		return NET_DROP_MALFORMED;
	if (h->l4_len - header <= mss)
		return NET_OK; /* one segment */
	m->gso = NET_GSO_TCP4;
	m->gso_size = (uint16_t)mss;
	m->hdr_len = (uint16_t)(h->l4 + header);
	m->ecn = h->p[h->l4 + 13] & TCP_CWR;
	return NET_OK;
}

static enum net_drop checksums(struct headers *h, const struct iovec *pieces, unsigned n, size_t skip, uint32_t opts1,
			       struct frame_meta *m)
{
	bool large = opts1 & TXD_LGSEN;

	/* In a large send the bits that ask for checksums are part of its size. */
	if (!large && !(opts1 & (TXD_IPCS | TXD_TCPCS | TXD_UDPCS)))
		return NET_OK;
	if (!find_ip(h))
		return large ? NET_DROP_MALFORMED : NET_OK;
	if (large || opts1 & TXD_IPCS)
		sum_ip(h);
	if (large)
		return large_send(h, opts1, m);
	if (opts1 & TXD_TCPCS)
		begin_sum(h, PROTO_TCP, m);
	else if (opts1 & TXD_UDPCS)
		begin_sum(h, PROTO_UDP, m);
	if (m->needs_csum && h->len != h->l4 + h->l4_len)
		finish_sum(h, pieces, n, skip, m);
	return NET_OK;
}

enum net_drop rtl_offload(struct rtl_tx *t, const struct iovec *pieces, unsigned n, size_t len, uint32_t opts1,
			  uint32_t opts2, unsigned at, uint8_t *head, struct frame *f)
{
	struct headers h = { .p = head };
	struct iov_cur cur;
	enum net_drop why;
	size_t skip;

	*f = (struct frame){ .iov = at };
	if (!(opts1 & (TXD_LGSEN | TXD_IPCS | TXD_TCPCS | TXD_UDPCS)) && !(opts2 & TXD_TAGC)) {
		memcpy(&t->iov[at], pieces, n * sizeof(*pieces));
		f->cnt = n;
		f->len = (uint32_t)len;
		return NET_OK;
	}
	skip = copy_head(&h, pieces, n, len, opts2);
	why = checksums(&h, pieces, n, skip, opts1, &f->meta);
	cur = iov_cur(pieces, n);
	iov_skip(&cur, skip);
	t->iov[at] = (struct iovec){ head, h.have };
	f->cnt = 1 + iov_refer(&cur, len - skip, &t->iov[at + 1], n);
	f->len = (uint32_t)h.len;
	return why ? why : h.len > NET_FRAME_MAX ? NET_DROP_TOO_BIG : NET_OK;
}
