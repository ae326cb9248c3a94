/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in front of a frame in an L2TPv3 tunnel: see l2tpv3_format.h. */
#include "backend/l2tpv3_format.h"

#include "base/wirefmt.h"

#define VERSION 3

_Static_assert(4 + 4 + 8 + 4 + L2TPV3_OFFSET_MAX <= DGRAM_HEAD_MAX, "the longest header has a place");

static unsigned put_cookie(uint8_t *p, unsigned len, uint64_t cookie)
{
	if (len == 8)
		put32(p, (uint32_t)(cookie >> 32));
	if (len)
		put32(p + len - 4, (uint32_t)cookie);
	return len;
}

static uint64_t get_cookie(const uint8_t *p, unsigned len)
{
	uint64_t high = len == 8 ? get32(p) : 0;

	return len ? high << 32 | get32(p + len - 4) : 0;
}

void l2tpv3_head(const struct l2tpv3_format *f, struct dgram_head *h)
{
	unsigned n = 0;

	*h = (struct dgram_head){ .counter_at = -1, .counter = 1 };
	if (f->udp) {
		put32(h->bytes, (uint32_t)VERSION << 16);
		n += 4;
	}
	put32(h->bytes + n, f->tx_session);
	n += 4;
	n += put_cookie(h->bytes + n, f->cookie_len, f->tx_cookie);
	if (f->sublayer) {
		if (f->counts)
			h->counter_at = (int)n;
		n += 4;
	}
	h->len = n + f->offset;
}

/* The length of an IPv4 header; 0: there is none. */
static size_t ip4_header(const uint8_t *p, size_t len)
{
	size_t n = len ? (p[0] & 15U) * 4 : 0;

	return n >= IP4_LEN && n <= len ? n : 0;
}

enum net_drop l2tpv3_judge(const struct l2tpv3_format *f, const uint8_t *p, size_t len, size_t *skip)
{
	size_t at = f->ip4 ? ip4_header(p, len) : 0;
	size_t need = (f->udp ? 4 : 0) + 4 + f->cookie_len + (f->sublayer ? 4 : 0) + f->offset;

	if (f->ip4 && !at)
		return NET_DROP_MALFORMED;
	if (len - at < need)
		return NET_DROP_TOO_SHORT;
	*skip = at + need;
	if (f->udp) {
		if ((p[at] & 0x80) || (p[at + 1] & 15) != VERSION) /* a control message, or L2TPv2 */
			return NET_DROP_MALFORMED;
		at += 4;
	}
	if (get32(p + at) != f->rx_session)
		return NET_DROP_SESSION;
	return get_cookie(p + at + 4, f->cookie_len) == f->rx_cookie ? NET_OK : NET_DROP_COOKIE;
}
