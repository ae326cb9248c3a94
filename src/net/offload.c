/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offload lowering.
 *
 * offload_begin() decides what is to be done with the frame (enum work) and, if it is to be cut, copies its headers to
 * x->head and checks them against the metadata. Each piece that is made consists of headers of its own (a slot of
 * x->slot, made from x->head) and of slices of the frame's payload. offload_next() depends on nothing but the number of
 * the next piece, so that pieces which were not taken can be made again, for another taker if need be.
 *
 * A frame is cut if it has a segmentation type and lacks anything at all of what it needs: a taker without checksums
 * or ECN gets ordinary segments.
 */
#include "net/offload.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"

#define HEAD_MAX   256 /* Ethernet, two VLAN tags, IP with options or extension headers, TCP with options */
#define PIECES_MAX 65535
#define EXT_MAX	   8 /* IPv6 extension headers */
#define ARENA_LEN  (NET_IOV_MAX + 3 * NET_BATCH + 8)

enum work {
	WORK_PASS, /* goes as it is */
	WORK_CSUM, /* the checksum is filled in */
	WORK_CUT,  /* TCP or UDP segments */
	WORK_FRAG, /* IP fragments */
};

struct offload_ctx {
	/* the frame */
	const struct iovec *iov;
	unsigned cnt;
	size_t len;
	struct frame_meta meta;
	uint32_t takes;

	/* the plan */
	enum work work;
	unsigned total, next;
	size_t unit;	/* payload of a segment; IP payload of a fragment */
	size_t payload; /* len - l4_end */

	/* its headers: offsets in head */
	unsigned l3, l4, l4_end;
	unsigned unfrag;  /* end of the part that every fragment repeats */
	unsigned next_at; /* IPv6: the next-header byte that announces the fragment header */
	bool v6, udp;
	bool routed;	 /* IPv6 routing header with segments left: the final destination is not in the IP header */
	uint64_t pseudo; /* sum of the pseudo header without the length */
	uint32_t ident;	 /* of fragments */
	uint32_t idents; /* source of ident */
	uint8_t head[HEAD_MAX];

	uint16_t filled; /* WORK_CSUM: the checksum */
	struct iovec keep_iov;
	struct iovec arena[ARENA_LEN];
	uint8_t slot[NET_BATCH][HEAD_MAX + IP6_FRAG_LEN];
	uint8_t keep[NET_FRAME_MAX];
};

struct offload_ctx *offload_new(void)
{
	struct offload_ctx *x = calloc(1, sizeof(*x));

	if (x && getrandom(&x->idents, sizeof(x->idents), GRND_NONBLOCK) < 0)
		x->idents = (uint32_t)(uintptr_t)x;
	return x;
}

void offload_free(struct offload_ctx *x)
{
	free(x);
}

unsigned offload_total(const struct offload_ctx *x)
{
	return x->total;
}

static uint64_t sum16(uint64_t sum, unsigned v)
{
	uint8_t b[2];

	put16(b, v & 0xffff);
	return csum_add(sum, b, 2);
}

/* The checksum of a sum as it is stored; 0 means "none" in UDP and is as good as 0xffff elsewhere. */
static uint16_t csum_of(uint64_t sum)
{
	uint16_t c = (uint16_t)~csum_fold(sum);

	return c ? c : 0xffff;
}

uint16_t offload_csum(const struct iovec *iov, unsigned cnt, size_t len, const struct frame_meta *m)
{
	struct iov_cur from = iov_cur(iov, cnt);

	iov_skip(&from, m->csum_start);
	return csum_of(csum_add_iov(0, &from, len - m->csum_start));
}

/* ---- headers ---- */

static enum net_drop parse_ip4(struct offload_ctx *x, size_t have, uint8_t *proto)
{
	const uint8_t *ip = x->head + x->l3;
	unsigned ihl;

	if (!range_within(x->l3, 20, have) || ip[0] >> 4 != 4)
		return NET_DROP_VNET_HDR;
	ihl = (ip[0] & 15) * 4;
	if (ihl < 20 || !range_within(x->l3, ihl, have) || get16(ip + 6) & (IP4_MF | IP4_OFFSET))
		return NET_DROP_VNET_HDR;
	*proto = ip[9];
	x->l4 = x->unfrag = x->l3 + ihl;
	return NET_OK;
}

/* RFC 8200, 4: extension headers up to the transport header. Fragments and what is authenticated are not for us. */
static enum net_drop parse_ip6(struct offload_ctx *x, size_t have, uint8_t *proto)
{
	unsigned pos = x->l3 + 40, len;
	uint8_t nh;

	if (!range_within(x->l3, 40, have) || x->head[x->l3] >> 4 != 6)
		return NET_DROP_VNET_HDR;
	nh = x->head[x->l3 + 6];
	x->unfrag = pos;
	x->next_at = x->l3 + 6;
	for (unsigned i = 0; nh == PROTO_HOP_BY_HOP || nh == PROTO_ROUTING || nh == PROTO_DEST_OPTIONS; i++) {
		if (i == EXT_MAX || !range_within(pos, 8, have))
			return NET_DROP_VNET_HDR;
		len = (x->head[pos + 1] + 1u) * 8;
		if (!range_within(pos, len, have))
			return NET_DROP_VNET_HDR;
		if (nh == PROTO_ROUTING && x->head[pos + 3])
			x->routed = true;
		if (nh != PROTO_DEST_OPTIONS) { /* nodes on the way look at it: every fragment has it */
			x->unfrag = pos + len;
			x->next_at = pos;
		}
		nh = x->head[pos];
		pos += len;
	}
	*proto = nh;
	x->l4 = pos;
	return NET_OK;
}

static enum net_drop parse_l4(struct offload_ctx *x, size_t have, uint8_t proto)
{
	unsigned len = 8;

	x->udp = x->meta.gso == NET_GSO_UDP || x->meta.gso == NET_GSO_UDP_L4;
	if (proto != (x->udp ? PROTO_UDP : PROTO_TCP))
		return NET_DROP_VNET_HDR;
	if (!x->udp) {
		if (!range_within(x->l4, 20, have))
			return NET_DROP_VNET_HDR;
		len = (x->head[x->l4 + 12] >> 4) * 4;
		if (len < 20)
			return NET_DROP_VNET_HDR;
	}
	if (!range_within(x->l4, len, have))
		return NET_DROP_VNET_HDR;
	x->l4_end = x->l4 + len;
	x->payload = x->len - x->l4_end;
	return NET_OK;
}

static unsigned csum_at(const struct offload_ctx *x)
{
	return x->l4 + (x->udp ? 6 : 16);
}

/* The sum of the pseudo header, all but the length (RFC 9293, 3.1; RFC 8200, 8.1). */
static enum net_drop sum_pseudo(struct offload_ctx *x)
{
	const uint8_t *addr = x->head + x->l3 + (x->v6 ? 8 : 12);

	if (x->routed) {
		/* The sender's own pseudo header, less the length that is in it. */
		if (!x->meta.needs_csum)
			return NET_DROP_OFFLOAD;
		x->pseudo = sum16(csum_add(0, x->head + csum_at(x), 2), ~(unsigned)(x->len - x->l4));
		return NET_OK;
	}
	x->pseudo = sum16(csum_add(0, addr, x->v6 ? 32 : 8), x->udp ? PROTO_UDP : PROTO_TCP);
	return NET_OK;
}

/* Copy the headers to host memory and find out what they are. */
static enum net_drop parse(struct offload_ctx *x)
{
	size_t have = iov_read_at(x->iov, x->cnt, 0, x->head, MIN(x->len, sizeof(x->head)));
	enum net_drop why;
	unsigned type, at = 12;
	uint8_t proto;

	if (have < ETH_HDR_LEN)
		return NET_DROP_VNET_HDR;
	type = get16(x->head + at);
	for (int i = 0; i < 2 && (type == ETH_VLAN || type == ETH_QINQ); i++) {
		at += 4;
		if (!range_within(at, 2, have))
			return NET_DROP_VNET_HDR;
		type = get16(x->head + at);
	}
	x->l3 = at + 2;
	x->v6 = type == ETH_IPV6;
	x->routed = false;
	if ((!x->v6 && type != ETH_IPV4) || (x->v6 && x->meta.gso == NET_GSO_TCP4) ||
	    (!x->v6 && x->meta.gso == NET_GSO_TCP6))
		return NET_DROP_VNET_HDR;
	why = x->v6 ? parse_ip6(x, have, &proto) : parse_ip4(x, have, &proto);
	if (!why)
		why = parse_l4(x, have, proto);
	if (!why && x->meta.needs_csum &&
	    (x->meta.csum_start != x->l4 || x->meta.csum_start + x->meta.csum_offset != csum_at(x)))
		why = NET_DROP_VNET_HDR;
	return why ? why : sum_pseudo(x);
}

/* ---- plans ---- */

/* Fill the UDP checksum into x->head, over the whole datagram, before it is cut into fragments. */
static void sum_datagram(struct offload_ctx *x)
{
	struct iov_cur cur = iov_cur(x->iov, x->cnt);
	uint64_t sum = sum16(x->pseudo, (unsigned)(x->len - x->l4));
	uint8_t *field = x->head + csum_at(x);
	uint16_t c;

	memset(field, 0, 2);
	sum = csum_add(sum, x->head + x->l4, 8);
	iov_skip(&cur, x->l4_end);
	c = csum_of(csum_add_iov(sum, &cur, x->payload));
	memcpy(field, &c, 2);
}

static enum net_drop plan_fragments(struct offload_ctx *x)
{
	size_t body = x->len - x->unfrag, room = 65535 - (x->unfrag - x->l3) - IP6_FRAG_LEN;

	x->unit = x->meta.gso_size & ~7u;
	if (x->unit < x->l4_end - x->unfrag) /* the first one holds the transport header: RFC 8200, 4.5 */
		return NET_DROP_VNET_HDR;
	if (body > 65535 || x->unit > room)
		return NET_DROP_VNET_HDR;
	if (x->meta.needs_csum)
		sum_datagram(x);
	x->work = WORK_FRAG;
	x->total = (unsigned)((body + x->unit - 1) / x->unit);
	x->ident = ++x->idents;
	if (!x->v6 && get16(x->head + x->l3 + 4))
		x->ident = get16(x->head + x->l3 + 4);
	return NET_OK;
}

static enum net_drop plan_cut(struct offload_ctx *x)
{
	size_t pieces;
	enum net_drop why = x->meta.gso_size ? parse(x) : NET_DROP_VNET_HDR;

	if (why)
		return why;
	if (x->meta.gso == NET_GSO_UDP && x->len - x->unfrag > x->meta.gso_size)
		return plan_fragments(x);
	x->unit = x->meta.gso == NET_GSO_UDP ? MAX(x->payload, (size_t)1) : x->meta.gso_size;
	pieces = (x->payload + x->unit - 1) / x->unit;
	if (pieces > PIECES_MAX || x->l4_end - x->l3 + MIN(x->unit, x->payload) > 65535)
		return NET_DROP_VNET_HDR;
	x->work = WORK_CUT;
	x->total = pieces ? (unsigned)pieces : 1;
	return NET_OK;
}

enum net_drop offload_begin(struct offload_ctx *x, const struct batch *b, const struct frame *f, uint32_t takes)
{
	uint32_t lacks = frame_needs(&f->meta) & ~takes;

	x->iov = frame_iov(b, f);
	x->cnt = f->cnt;
	x->len = f->len;
	x->meta = f->meta;
	x->takes = takes;
	x->total = 1;
	x->next = 0;
	x->work = WORK_PASS;
	if (x->len > NET_FRAME_MAX)
		return NET_DROP_TOO_BIG;
	if (x->cnt > NET_IOV_MAX || iov_size(x->iov, x->cnt) < x->len)
		return NET_DROP_MALFORMED;
	if (!lacks)
		return NET_OK;
	if (x->meta.gso)
		return plan_cut(x);
	if ((size_t)x->meta.csum_start + x->meta.csum_offset + 2 > x->len)
		return NET_DROP_VNET_HDR;
	x->work = WORK_CSUM;
	return NET_OK;
}

size_t offload_largest(const struct offload_ctx *x)
{
	if (x->work == WORK_CUT)
		return x->l4_end + MIN(x->unit, x->payload);
	if (x->work == WORK_FRAG)
		return x->unfrag + (x->v6 ? IP6_FRAG_LEN : 0) + x->unit;
	return x->len;
}

/* ---- headers of the pieces ---- */

static void set_ip4_csum(uint8_t *ip)
{
	uint16_t c;

	memset(ip + 10, 0, 2);
	c = (uint16_t)~csum_fold(csum_add(0, ip, (ip[0] & 15) * 4));
	memcpy(ip + 10, &c, 2);
}

/* IP length (and identification) of piece i, whose headers and payload from the IP header on are `len` bytes. */
static void set_ip_len(const struct offload_ctx *x, uint8_t *h, unsigned i, size_t len)
{
	uint8_t *ip = h + x->l3;

	if (x->v6) {
		put16(ip + 4, (unsigned)(len - 40));
		return;
	}
	put16(ip + 2, (unsigned)len);
	put16(ip + 4, get16(ip + 4) + i);
	set_ip4_csum(ip);
}

/* RFC 9293, 3.1; RFC 3168, 6.1.2: CWR is for the first segment alone, FIN and PSH for the last. */
static void set_tcp(const struct offload_ctx *x, uint8_t *tcp, unsigned i)
{
	put32(tcp + 4, get32(tcp + 4) + i * (uint32_t)x->unit);
	if (i)
		tcp[13] &= (uint8_t)~TCP_CWR;
	if (i + 1 < x->total)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

/* The checksum of a segment: whole, or the pseudo header's only where the taker fills in the rest. */
static void set_l4_csum(const struct offload_ctx *x, uint8_t *h, struct iov_cur payload, size_t n, struct frame_meta *m)
{
	uint8_t *field = h + csum_at(x);
	uint64_t sum = sum16(x->pseudo, (unsigned)(x->l4_end - x->l4 + n));
	uint16_t c;

	if (x->udp && !x->v6 && !x->meta.needs_csum && !get16(field))
		return; /* the sender wants none */
	if (x->takes & NET_OFF_CSUM) {
		c = csum_fold(sum);
		m->needs_csum = true;
		m->csum_start = (uint16_t)x->l4;
		m->csum_offset = (uint16_t)(csum_at(x) - x->l4);
	} else {
		memset(field, 0, 2);
		c = csum_of(csum_add_iov(csum_add(sum, h + x->l4, x->l4_end - x->l4), &payload, n));
		m->data_valid = true;
	}
	memcpy(field, &c, 2);
}

static size_t head_of_segment(const struct offload_ctx *x, unsigned i, size_t n, const struct iov_cur *payload,
			      uint8_t *h, struct frame_meta *m)
{
	memcpy(h, x->head, x->l4_end);
	set_ip_len(x, h, i, x->l4_end - x->l3 + n);
	if (x->udp)
		put16(h + x->l4 + 4, (unsigned)(8 + n));
	else
		set_tcp(x, h + x->l4, i);
	set_l4_csum(x, h, *payload, n, m);
	return x->l4_end;
}

/* RFC 791, 3.1: options without the copied flag stay in the first fragment. */
static void blank_ip4_options(uint8_t *ip)
{
	unsigned end = (ip[0] & 15) * 4, len;

	for (unsigned at = 20; at < end && ip[at] != 0; at += len) {
		len = ip[at] == 1 ? 1 : at + 1 < end ? ip[at + 1] : 0;
		if (len == 0 || at + len > end || (ip[at] != 1 && len < 2))
			return;
		if (!(ip[at] & 0x80))
			memset(ip + at, 1, len);
	}
}

static void set_ip4_fragment(const struct offload_ctx *x, uint8_t *ip, unsigned i, size_t body)
{
	put16(ip + 2, (unsigned)(x->unfrag - x->l3 + body));
	put16(ip + 4, x->ident & 0xffff);
	put16(ip + 6, (unsigned)(i * x->unit / 8) | (i + 1 < x->total ? IP4_MF : 0));
	if (i)
		blank_ip4_options(ip);
	set_ip4_csum(ip);
}

static void set_ip6_fragment(const struct offload_ctx *x, uint8_t *h, unsigned i, size_t body)
{
	uint8_t *frag = h + x->unfrag;

	put16(h + x->l3 + 4, (unsigned)(x->unfrag - x->l3 - 40 + IP6_FRAG_LEN + body));
	frag[0] = h[x->next_at];
	h[x->next_at] = PROTO_FRAGMENT;
	frag[1] = 0;
	put16(frag + 2, (unsigned)(i * x->unit) | (i + 1 < x->total));
	put32(frag + 4, x->ident);
}

static size_t head_of_fragment(const struct offload_ctx *x, unsigned i, size_t n, uint8_t *h)
{
	size_t body_head = i ? 0 : x->l4_end - x->unfrag, len = x->unfrag;

	memcpy(h, x->head, x->unfrag);
	if (x->v6) {
		set_ip6_fragment(x, h, i, body_head + n);
		len += IP6_FRAG_LEN;
	} else {
		set_ip4_fragment(x, h + x->l3, i, body_head + n);
	}
	memcpy(h + len, x->head + x->unfrag, body_head);
	return len + body_head;
}

/* ---- making frames ---- */

/* Describe the next n bytes of the cursor in the arena from `at` on; returns the pieces. */
static unsigned refer(struct offload_ctx *x, unsigned at, struct iov_cur *cur, size_t n)
{
	return iov_refer(cur, n, &x->arena[at], ARENA_LEN - at);
}

/* Payload of piece i: offset from the end of the headers. */
static size_t payload_at(const struct offload_ctx *x, unsigned i)
{
	return x->work == WORK_FRAG && i ? i * x->unit - (x->l4_end - x->unfrag) : i * x->unit;
}

static size_t payload_of(const struct offload_ctx *x, unsigned i)
{
	return MIN(payload_at(x, i + 1), x->payload) - payload_at(x, i);
}

static unsigned make_whole(struct offload_ctx *x, struct batch *out)
{
	struct frame *f = &out->frame[0];
	struct iov_cur cur = iov_cur(x->iov, x->cnt);
	size_t at = (size_t)x->meta.csum_start + x->meta.csum_offset;

	*f = (struct frame){ .meta = x->meta, .iov = 1, .len = (uint32_t)x->len };
	if (x->work == WORK_PASS) {
		f->cnt = refer(x, 1, &cur, x->len);
		return 1;
	}
	x->filled = offload_csum(x->iov, x->cnt, x->len, &x->meta);
	f->cnt = refer(x, 1, &cur, at);
	x->arena[1 + f->cnt++] = (struct iovec){ &x->filled, 2 };
	iov_skip(&cur, 2);
	f->cnt += refer(x, 1 + f->cnt, &cur, x->len - at - 2);
	f->meta.needs_csum = false;
	f->meta.csum_start = f->meta.csum_offset = 0;
	f->meta.data_valid = false;
	return 1;
}

static void make_piece(struct offload_ctx *x, unsigned i, uint8_t *h, struct iov_cur *cur, struct frame *f)
{
	size_t n = payload_of(x, i), len;

	f->meta = (struct frame_meta){ 0 };
	if (x->work == WORK_FRAG)
		len = head_of_fragment(x, i, n, h);
	else
		len = head_of_segment(x, i, n, cur, h, &f->meta);
	x->arena[f->iov] = (struct iovec){ h, len };
	f->cnt = 1 + refer(x, f->iov + 1, cur, n);
	f->len = (uint32_t)(len + n);
}

unsigned offload_next(struct offload_ctx *x, struct batch *out)
{
	struct iov_cur cur = iov_cur(x->iov, x->cnt);
	unsigned slot = 1;

	out->iov = x->arena;
	out->n = 0;
	if (x->next == x->total)
		return 0;
	if (x->work == WORK_PASS || x->work == WORK_CSUM) {
		x->next = 1;
		return out->n = make_whole(x, out);
	}
	iov_skip(&cur, x->l4_end + payload_at(x, x->next));
	while (out->n < NET_BATCH && x->next < x->total) {
		struct frame *f = &out->frame[out->n];

		f->iov = slot;
		f->token = 0;
		make_piece(x, x->next++, x->slot[out->n++], &cur, f);
		slot += f->cnt + 1; /* one slot free in front of the next */
	}
	return out->n;
}

void offload_unget(struct offload_ctx *x, unsigned n)
{
	x->next -= n;
}

void offload_set_takes(struct offload_ctx *x, uint32_t takes)
{
	x->takes = takes;
}

void offload_keep(struct offload_ctx *x)
{
	iov_read_at(x->iov, x->cnt, 0, x->keep, x->len);
	x->keep_iov = (struct iovec){ x->keep, x->len };
	x->iov = &x->keep_iov;
	x->cnt = 1;
}
