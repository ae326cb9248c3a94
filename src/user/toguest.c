/* SPDX-License-Identifier: BSD-2-Clause */
/* From libslirp to the guest: see toguest.h. */
#include "base/csum.h"
#include "base/wirefmt.h"
#include "user/toguest.h"

static void overrun(struct toguest *t)
{
	atomic_fetch_add_explicit(&t->stats->overrun, 1, memory_order_relaxed);
}

static uint8_t *slot(struct toguest *t, size_t len)
{
	uint8_t *to = len >= RING_FRAME_MIN && len <= RING_FRAME_MAX ? ring_reserve(t->ring, (uint32_t)len) : NULL;

	if (!to)
		overrun(t);
	return to;
}

static void send_whole(struct toguest *t, const uint8_t *frame, size_t len)
{
	static const struct virtio_net_hdr valid = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	uint8_t *to = slot(t, len);

	if (!to)
		return;
	memcpy(to, frame, len);
	ring_push(t->ring, (uint32_t)len, &valid);
}

/* The sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1), for the checksum field of a TSO frame. */
static uint16_t pseudo_sum(const uint8_t *addrs, size_t addrs_len, uint32_t l4_len)
{
	uint8_t rest[8] = { 0 };

	put32(rest, l4_len);
	rest[7] = PROTO_TCP;
	return csum_fold(csum_add(csum_add(0, addrs, addrs_len), rest, sizeof(rest)));
}

static void send_tso(struct toguest *t, const uint8_t *frame, size_t len, const struct virtio_net_hdr *hdr,
		     uint16_t pseudo)
{
	uint8_t *to = slot(t, len);

	if (!to)
		return;
	memcpy(to, frame, len);
	memcpy(to + hdr->csum_start + TCP_CSUM, &pseudo, sizeof(pseudo));
	ring_push(t->ring, (uint32_t)len, hdr);
}

static void send_tcp(struct toguest *t, const uint8_t *frame, size_t len, size_t l4_at, const uint8_t *addrs,
		     size_t addr_len)
{
	const uint8_t *l4 = frame + l4_at;
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_start = (uint16_t)l4_at,
				      .csum_offset = TCP_CSUM };

	if (len < l4_at + TCP_LEN) {
		overrun(t);
		return;
	}
	hdr.hdr_len = (uint16_t)(l4_at + (l4[12] >> 4) * 4U);
	hdr.gso_type = addr_len == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	hdr.gso_size = mss_lookup(t->mss, addrs, addr_len, l4);
	if (len <= (size_t)hdr.hdr_len + hdr.gso_size)
		send_whole(t, frame, len);
	else
		send_tso(t, frame, len, &hdr, pseudo_sum(addrs, 2 * addr_len, (uint32_t)(len - l4_at)));
}

/* One piece: the `head` bytes of headers, then `n` bytes of payload. */
static uint8_t *send_piece(struct toguest *t, const uint8_t *frame, size_t head, size_t extra, const uint8_t *from,
			   size_t n)
{
	uint8_t *to = slot(t, head + extra + n);

	if (!to)
		return NULL;
	memcpy(to, frame, head);
	memcpy(to + head + extra, from, n);
	return to;
}

static void push_piece(struct toguest *t, size_t len)
{
	static const struct virtio_net_hdr none;

	ring_push(t->ring, (uint32_t)len, &none);
}

/* The packet may be a fragment itself, of a datagram larger than libslirp's MTU. */
static void fragment_ipv4(struct toguest *t, const uint8_t *frame, size_t len)
{
	const size_t head = ETH_LEN + IP4_LEN, step = ALIGN_DOWN(GUEST_MTU - IP4_LEN, 8);
	uint16_t before = get16(frame + ETH_LEN + 6);

	for (size_t at = head; at < len; at += step) {
		size_t n = MIN(step, len - at);
		uint8_t *to = send_piece(t, frame, head, 0, frame + at, n), *ip;
		uint16_t sum, more = at + n < len ? IP4_MF : before & IP4_MF;

		if (!to)
			return; /* the rest would be of no use */
		ip = to + ETH_LEN;
		put16(ip + 2, (uint16_t)(IP4_LEN + n));
		put16(ip + 6, (uint16_t)((((before & IP4_OFFSET) + (at - head) / 8) & IP4_OFFSET) | more));
		put16(ip + 10, 0);
		sum = (uint16_t)~csum_fold(csum_add(0, ip, IP4_LEN));
		memcpy(ip + 10, &sum, sizeof(sum));
		push_piece(t, head + n);
	}
}

static void fragment_ipv6(struct toguest *t, const uint8_t *frame, size_t len)
{
	const size_t head = ETH_LEN + IP6_LEN, step = ALIGN_DOWN(GUEST_MTU - IP6_LEN - IP6_FRAG_LEN, 8);

	t->fragment_id++;
	for (size_t at = head; at < len; at += step) {
		size_t n = MIN(step, len - at);
		uint8_t *to = send_piece(t, frame, head, IP6_FRAG_LEN, frame + at, n), *frag;

		if (!to)
			return;
		frag = to + head;
		frag[0] = frame[ETH_LEN + 6];
		frag[1] = 0;
		put16(frag + 2, (uint16_t)((at - head) | (at + n < len)));
		put32(frag + 4, t->fragment_id);
		put16(to + ETH_LEN + 4, (uint16_t)(IP6_FRAG_LEN + n));
		to[ETH_LEN + 6] = PROTO_FRAGMENT;
		push_piece(t, head + IP6_FRAG_LEN + n);
	}
}

void toguest_send(struct toguest *t, const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + ETH_LEN;
	uint16_t type = len >= ETH_LEN + IP4_LEN ? get16(frame + 12) : 0;

	if (type == ETH_IPV4 && ip[0] == 0x45) {
		if (ip[9] == PROTO_TCP)
			send_tcp(t, frame, len, ETH_LEN + IP4_LEN, ip + 12, 4);
		else if (len > ETH_LEN + GUEST_MTU)
			fragment_ipv4(t, frame, len);
		else
			send_whole(t, frame, len);
	} else if (type == ETH_IPV6 && len >= ETH_LEN + IP6_LEN) {
		if (ip[6] == PROTO_TCP)
			send_tcp(t, frame, len, ETH_LEN + IP6_LEN, ip + 8, 16);
		else if (len > ETH_LEN + GUEST_MTU)
			fragment_ipv6(t, frame, len);
		else
			send_whole(t, frame, len);
	} else {
		send_whole(t, frame, len);
	}
}
