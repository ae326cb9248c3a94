/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offload lowering against an independent reference: frames of random shape are made byte by byte here, lowered, and
 * what comes out is parsed, summed word by word, and put together again: it must be the payload that went in.
 */
#include "unit.h"

#include "base/iov.h"
#include "net/offload.h"

/* ---- the slow and obvious way ---- */

static uint32_t slow_sum(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void set16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t slow_pseudo(const uint8_t *ip, bool v6, unsigned proto, size_t len)
{
	uint8_t tail[4] = { 0, (uint8_t)proto, (uint8_t)(len >> 8), (uint8_t)len };
	uint32_t sum = v6 ? slow_sum(0, ip + 8, 32) : slow_sum(0, ip + 12, 8);

	return slow_sum(sum, tail, 4);
}

static unsigned rnd(unsigned from, unsigned to)
{
	return from + (unsigned)random() % (to - from + 1);
}

/* ---- frames ---- */

#define SPACE 70000

struct shape {
	bool v6, udp;
	unsigned tags, ip_options, ext; /* ext: bits of hop-by-hop, destination 1, routing, destination 2 */
	unsigned l4_options;
	size_t payload;
};

struct made {
	uint8_t bytes[SPACE], before[SPACE];
	size_t len;
	unsigned l3, unfrag, l4, head;
	struct frame_meta meta;
	struct iovec iov[1 + 600];
	struct batch b;
	struct shape s;
};

static unsigned put_ext(uint8_t *p, uint8_t next, unsigned words)
{
	memset(p, 0, 8 + words * 8);
	p[0] = next;
	p[1] = (uint8_t)words;
	p[2] = 1; /* an option; or the type of a routing header, without segments left */
	return 8 + words * 8;
}

static unsigned build_ip6(struct made *f, unsigned at)
{
	static const uint8_t kind[] = { 0, 60, 43, 60 };
	uint8_t *next_at = f->bytes + at + 6;
	uint8_t last = f->s.udp ? 17 : 6;
	unsigned pos = at + 40;

	f->bytes[at] = 0x60;
	f->unfrag = pos;
	for (unsigned i = 0; i < 4; i++) {
		if (!(f->s.ext & 1u << i))
			continue;
		*next_at = kind[i];
		next_at = f->bytes + pos;
		pos += put_ext(f->bytes + pos, last, rnd(0, 1));
		if (kind[i] != 60)
			f->unfrag = pos;
	}
	*next_at = last;
	return pos;
}

static unsigned build_ip4(struct made *f, unsigned at)
{
	uint8_t *ip = f->bytes + at;

	ip[0] = (uint8_t)(0x45 + f->s.ip_options);
	ip[6] = 0x40; /* DF */
	ip[7] = 0;
	ip[9] = f->s.udp ? 17 : 6;
	for (unsigned i = 0; i < f->s.ip_options; i++) /* by turns with and without the copied flag */
		memcpy(ip + 20 + 4 * i, i & 1 ? "\x94\x04\x00" : "\x44\x04\x05", 4);
	f->unfrag = at + 20 + f->s.ip_options * 4;
	return f->unfrag;
}

static void build_l4(struct made *f)
{
	uint8_t *l4 = f->bytes + f->l4;

	if (f->s.udp) {
		set16(l4 + 4, (unsigned)(f->len - f->l4));
		f->meta.csum_offset = 6;
	} else {
		l4[12] = (uint8_t)((5 + f->s.l4_options) << 4);
		l4[13] = (uint8_t)random();
		f->meta.csum_offset = 16;
	}
	f->meta.needs_csum = true;
	f->meta.csum_start = (uint16_t)f->l4;
	set16(l4 + f->meta.csum_offset, slow_pseudo(f->bytes + f->l3, f->s.v6, f->s.udp ? 17 : 6, f->len - f->l4));
}

/* Cut the bytes into pieces of random length, some of them empty. */
static void scatter(struct made *f)
{
	size_t at = 0, longest = 1u << rnd(3, 17);
	unsigned cnt = 0;

	while (at < f->len) {
		size_t n = cnt == 599 ? f->len - at : MIN((size_t)rnd(0, (unsigned)longest), f->len - at);

		f->iov[1 + cnt++] = (struct iovec){ f->bytes + at, n };
		at += n;
	}
	f->b.iov = f->iov;
	f->b.n = 1;
	f->b.frame[0] = (struct frame){ .meta = f->meta, .iov = 1, .cnt = cnt, .len = (uint32_t)f->len };
}

static void build(struct made *f, const struct shape *s)
{
	unsigned at = 12;

	memset(&f->meta, 0, sizeof(f->meta));
	f->s = *s;
	for (unsigned i = 0; i < SPACE; i++)
		f->bytes[i] = (uint8_t)random();
	for (unsigned i = 0; i < s->tags; i++, at += 4)
		set16(f->bytes + at, i + 1 < s->tags ? 0x88a8 : 0x8100);
	set16(f->bytes + at, s->v6 ? 0x86dd : 0x0800);
	f->l3 = at + 2;
	f->l4 = s->v6 ? build_ip6(f, f->l3) : build_ip4(f, f->l3);
	f->head = f->l4 + (s->udp ? 8 : 20 + s->l4_options * 4);
	f->len = f->head + s->payload;
	build_l4(f);
	scatter(f);
	memcpy(f->before, f->bytes, f->len);
}

static void set_gso(struct made *f, enum net_gso gso, unsigned size)
{
	f->meta.gso = (uint8_t)gso;
	f->meta.gso_size = (uint16_t)size;
	f->b.frame[0].meta = f->meta;
}

static struct shape random_shape(bool udp, size_t most)
{
	struct shape s = { .v6 = rnd(0, 1), .udp = udp, .tags = rnd(0, 2), .ip_options = rnd(0, 10) };

	s.ip_options = rnd(0, 2) ? 0 : s.ip_options;
	s.ext = rnd(0, 2) ? 0 : rnd(0, 15);
	s.l4_options = rnd(0, 10);
	s.payload = rnd(0, 3) ? rnd(1, 5000) : rnd(1, (unsigned)most);
	return s;
}

/* ---- what comes out ---- */

static uint8_t out[SPACE], whole[SPACE], mask[SPACE];

static size_t linear(const struct batch *b, const struct frame *f)
{
	assert_true(f->cnt > 0 && f->iov > 0);
	assert_int_equal(iov_size(frame_iov(b, f), f->cnt), f->len);
	assert_true(f->len <= SPACE);
	return iov_read_at(frame_iov(b, f), f->cnt, 0, out, f->len);
}

static void check_ip(const struct made *f, size_t len)
{
	const uint8_t *ip = out + f->l3;

	if (f->s.v6) {
		assert_int_equal(be16(ip + 4), len - f->l3 - 40);
		return;
	}
	assert_int_equal(be16(ip + 2), len - f->l3);
	assert_int_equal(slow_sum(0, ip, (ip[0] & 15) * 4), 0xffff);
}

/* The transport checksum of what is in out[], completed first if the taker is to do that. */
static void check_l4(const struct made *f, const struct frame_meta *m, size_t len, uint32_t takes)
{
	unsigned field = f->l4 + (f->s.udp ? 6 : 16);
	uint32_t sum = slow_pseudo(out + f->l3, f->s.v6, f->s.udp ? 17 : 6, len - f->l4);

	assert_int_equal(m->needs_csum, !!(takes & NET_OFF_CSUM));
	if (m->needs_csum) {
		uint32_t c = ~slow_sum(0, out + f->l4, len - f->l4) & 0xffff;

		assert_int_equal(m->csum_start, f->l4);
		assert_int_equal(m->csum_start + m->csum_offset, field);
		set16(out + field, c ? c : 0xffff);
	}
	assert_int_equal(slow_sum(sum, out + f->l4, len - f->l4), 0xffff);
	assert_true(!f->s.udp || be16(out + field) != 0);
}

static void check_tcp(const struct made *f, unsigned i, unsigned total, size_t done)
{
	const uint8_t *was = f->before + f->l4, *is = out + f->l4;
	uint8_t keep = 0xff;

	if (i)
		keep &= (uint8_t)~0x80;
	if (i + 1 < total)
		keep &= (uint8_t)~0x09;
	assert_int_equal(be32(is + 4), (uint32_t)(be32(was + 4) + done));
	assert_int_equal(is[13], was[13] & keep);
	assert_memory_equal(is, was, 4);
	assert_memory_equal(is + 8, was + 8, 5);
	assert_memory_equal(is + 18, was + 18, f->head - f->l4 - 18);
}

static size_t check_segment(const struct made *f, const struct batch *b, const struct frame *seg, unsigned i,
			    unsigned total, size_t done, uint32_t takes)
{
	size_t len = linear(b, seg), n = len - f->head;

	assert_true(len >= f->head);
	assert_memory_equal(out, f->before, f->l3);
	assert_int_equal(frame_needs(&seg->meta) & ~takes, 0);
	check_ip(f, len);
	check_l4(f, &seg->meta, len, takes);
	if (!f->s.v6)
		assert_int_equal(be16(out + f->l3 + 4), (be16(f->before + f->l3 + 4) + i) & 0xffff);
	if (f->s.udp)
		assert_int_equal(be16(out + f->l4 + 4), n + 8);
	else
		check_tcp(f, i, total, done);
	if (i + 1 < total)
		assert_int_equal(n, f->meta.gso_size);
	assert_memory_equal(out + f->head, f->before + f->head + done, n);
	return n;
}

static void check_cut(struct offload_ctx *x, struct made *f, uint32_t takes)
{
	static struct batch b;
	unsigned i = 0, total, n, back;
	size_t done = 0;

	assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], takes), NET_OK);
	total = offload_total(x);
	assert_int_equal(total, (f->s.payload + f->meta.gso_size - 1) / f->meta.gso_size);
	while ((n = offload_next(x, &b))) {
		back = rnd(0, 7) ? 0 : rnd(0, n - 1);
		for (unsigned k = 0; k < n - back; k++, i++) {
			assert_true(b.frame[k].len <= offload_largest(x));
			done += check_segment(f, &b, &b.frame[k], i, total, done, takes);
		}
		offload_unget(x, back);
		if (back && rnd(0, 1)) { /* the giver's memory goes, and is used for something else */
			offload_keep(x);
			memset(f->bytes, 0xee, f->len);
		}
	}
	assert_int_equal(i, total);
	assert_int_equal(done, f->s.payload);
}

static void segments(bool udp)
{
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));

	for (unsigned round = 0; round < 600; round++) {
		struct shape s = random_shape(udp, 65535 - 300);
		unsigned size = rnd(0, 9) ? rnd(500, 9000) : rnd(1, 65000);
		enum net_gso gso = udp ? NET_GSO_UDP_L4 : s.v6 ? NET_GSO_TCP6 : NET_GSO_TCP4;
		uint32_t takes = rnd(0, 1) ? NET_OFF_CSUM : 0;

		build(f, &s);
		set_gso(f, gso, size);
		f->b.frame[0].meta.ecn = f->meta.ecn = !udp && rnd(0, 1);
		if (round % 50 == 0)
			set_gso(f, gso, 1);
		/* Everything but one thing that the frame needs: it is cut all the same. */
		if (round % 20 == 1 && !udp && f->meta.ecn)
			takes = NET_OFF_ALL & ~NET_OFF_ECN;
		check_cut(x, f, takes);
	}
	free(f);
	offload_free(x);
}

static void tcp_segments(void **state)
{
	(void)state;
	srandom(2);
	segments(false);
}

static void udp_segments(void **state)
{
	(void)state;
	srandom(3);
	segments(true);
}

/* RFC 8200, 4.5: the last header of the part that repeats announces the fragment header, that what followed it. */
static void check_ip6_chain(const struct made *f)
{
	unsigned pos = f->l3 + 40, next_at = f->l3 + 6;

	while (pos < f->unfrag) {
		next_at = pos;
		pos += (f->before[pos + 1] + 1u) * 8;
	}
	assert_int_equal(pos, f->unfrag);
	assert_int_equal(out[next_at], 44);
	assert_int_equal(out[f->unfrag], f->before[next_at]);
	out[next_at] = f->before[next_at];
	memcpy(out + f->l3 + 4, f->before + f->l3 + 4, 2);
	assert_memory_equal(out, f->before, f->unfrag);
}

/* Put a fragment into its place; returns the bytes of it. */
static size_t place_fragment(const struct made *f, size_t len, unsigned i, uint32_t *ident)
{
	const uint8_t *ip = out + f->l3, *frag = out + f->unfrag;
	unsigned skip = f->s.v6 ? 8 : 0, offset, more;
	size_t n = len - f->unfrag - skip;
	uint32_t id;

	if (f->s.v6) {
		assert_int_equal(be16(ip + 4), len - f->l3 - 40);
		offset = be16(frag + 2) & ~7u;
		more = be16(frag + 2) & 1;
		id = be32(frag + 4);
		check_ip6_chain(f);
	} else {
		assert_int_equal(be16(ip + 2), len - f->l3);
		assert_int_equal(slow_sum(0, ip, (ip[0] & 15) * 4), 0xffff);
		offset = (be16(ip + 6) & 0x1fff) * 8;
		more = be16(ip + 6) & 0x2000;
		assert_int_equal(be16(ip + 6) & 0xc000, 0);
		id = be16(ip + 4);
	}
	if (i == 0)
		*ident = id;
	assert_int_equal(id, *ident);
	assert_true(!more || n % 8 == 0);
	assert_true(n <= f->meta.gso_size);
	assert_int_equal(!more, offset + n == f->len - f->unfrag);
	assert_true(offset + n <= f->len - f->unfrag);
	for (size_t k = 0; k < n; k++)
		assert_int_equal(mask[offset + k]++, 0);
	memcpy(whole + offset, out + f->unfrag + skip, n);
	return n;
}

static void check_fragments(struct offload_ctx *x, struct made *f)
{
	static struct batch b;
	size_t done = 0, body = f->len - f->unfrag;
	unsigned i = 0, n, l4 = f->l4 - f->unfrag;
	uint32_t ident = 0;

	memset(mask, 0, body);
	assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_OK);
	while ((n = offload_next(x, &b))) {
		for (unsigned k = 0; k < n; k++, i++) {
			assert_true(b.frame[k].len <= offload_largest(x));
			assert_int_equal(frame_needs(&b.frame[k].meta), 0);
			done += place_fragment(f, linear(&b, &b.frame[k]), i, &ident);
		}
	}
	assert_int_equal(i, offload_total(x));
	assert_int_equal(done, body);
	assert_memory_equal(whole + l4 + 8, f->before + f->head, f->s.payload);
	assert_int_equal(be16(whole + l4 + 4), 8 + f->s.payload);
	assert_int_equal(slow_sum(slow_pseudo(f->before + f->l3, f->s.v6, 17, body - l4), whole + l4, body - l4),
			 0xffff);
}

static void udp_fragments(void **state)
{
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));

	(void)state;
	srandom(4);
	for (unsigned round = 0; round < 600; round++) {
		struct shape s = random_shape(true, 65535 - 300);

		build(f, &s);
		set_gso(f, NET_GSO_UDP, rnd(0, 3) ? rnd(100, 2000) : rnd(100, 65000));
		if (f->meta.gso_size >= f->len - f->unfrag)
			set_gso(f, NET_GSO_UDP, (unsigned)(f->len - f->unfrag) / 2 + 50);
		if (f->meta.gso_size >= f->len - f->unfrag)
			continue;
		check_fragments(x, f);
	}
	free(f);
	offload_free(x);
}

/* RFC 791: an option without the copied flag stands in the first fragment only. */
static void fragment_options(void **state)
{
	struct shape s = { .udp = true, .ip_options = 2, .payload = 3000 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));
	static struct batch b;

	(void)state;
	build(f, &s);
	set_gso(f, NET_GSO_UDP, 1448);
	assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_OK);
	assert_int_equal(offload_next(x, &b), 3);
	linear(&b, &b.frame[0]);
	assert_memory_equal(out + f->l3 + 20, "\x44\x04\x05\x00\x94\x04\x00\x00", 8);
	linear(&b, &b.frame[1]);
	assert_memory_equal(out + f->l3 + 20, "\x01\x01\x01\x01\x94\x04\x00\x00", 8);
	free(f);
	offload_free(x);
}

static void checksum_alone(void **state)
{
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));
	static struct batch b;

	(void)state;
	srandom(5);
	for (unsigned round = 0; round < 600; round++) {
		struct shape s = random_shape(rnd(0, 1), 65535 - 300);
		size_t len;

		s.payload = rnd(0, 3000);
		build(f, &s);
		assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_OK);
		assert_int_equal(offload_total(x), 1);
		assert_int_equal(offload_next(x, &b), 1);
		len = linear(&b, &b.frame[0]);
		assert_int_equal(len, f->len);
		check_l4(f, &b.frame[0].meta, len, 0);
		memcpy(out + f->l4 + f->meta.csum_offset, f->before + f->l4 + f->meta.csum_offset, 2);
		assert_memory_equal(out, f->before, len);
		assert_memory_equal(f->bytes, f->before, len);
		assert_int_equal(offload_next(x, &b), 0);
	}
	free(f);
	offload_free(x);
}

static void nothing_to_do(void **state)
{
	struct shape s = { .payload = 9000 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));
	static struct batch b;

	(void)state;
	build(f, &s);
	set_gso(f, NET_GSO_TCP4, 1448);
	assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], NET_OFF_ALL), NET_OK);
	assert_int_equal(offload_next(x, &b), 1);
	assert_int_equal(linear(&b, &b.frame[0]), f->len);
	assert_memory_equal(out, f->before, f->len);
	assert_memory_equal(&b.frame[0].meta, &f->meta, sizeof(f->meta));
	free(f);
	offload_free(x);
}

/* A UDP checksum that comes to 0 is sent as all ones: 0 says that there is none (RFC 768). */
static void checksum_of_zero(void **state)
{
	struct shape s = { .udp = true, .payload = 100 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));
	static struct batch b;

	(void)state;
	build(f, &s);
	memset(f->bytes + f->head, 0, 2);
	set16(f->bytes + f->head, 0xffff - slow_sum(0, f->bytes + f->l4, f->len - f->l4));
	assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_OK);
	assert_int_equal(offload_next(x, &b), 1);
	linear(&b, &b.frame[0]);
	assert_int_equal(be16(out + f->l4 + 6), 0xffff);
	free(f);
	offload_free(x);
}

/* A UDP datagram whose sender wanted no checksum gets none. */
static void udp_without_checksum(void **state)
{
	struct shape s = { .udp = true, .payload = 3000 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));
	static struct batch b;

	(void)state;
	build(f, &s);
	f->meta.needs_csum = false;
	set_gso(f, NET_GSO_UDP_L4, 1000);
	set16(f->bytes + f->l4 + 6, 0);
	assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_OK);
	assert_int_equal(offload_next(x, &b), 3);
	for (unsigned i = 0; i < 3; i++) {
		linear(&b, &b.frame[i]);
		assert_int_equal(be16(out + f->l4 + 6), 0);
	}
	free(f);
	offload_free(x);
}

/* ---- what is refused ---- */

static void spoil_headers(uint8_t *l3, uint8_t *l4, unsigned what)
{
	switch (what) {
	case 0:
		set16(l3 - 2, 0x0806);
		break; /* ARP */
	case 1:
		l3[0] = 0x55;
		break; /* version 5 */
	case 2:
		l3[0] = 0x44;
		break; /* header of 16 bytes */
	case 3:
		set16(l3 + 6, 0x2000);
		break; /* a fragment */
	case 4:
		set16(l3 + 6, 0x0001);
		break;
	case 5:
		l3[9] = 17;
		break; /* UDP in TCP's clothes */
	case 6:
		l4[12] = 0x40;
		break; /* TCP header of 16 bytes */
	}
}

static void spoil(struct made *f, unsigned what)
{
	switch (what) {
	default:
		spoil_headers(f->bytes + f->l3, f->bytes + f->l4, what);
		break;
	case 7:
		f->b.frame[0].len = f->l4 + 19;
		break; /* cut in the TCP header */
	case 8:
		f->b.frame[0].len = f->l3 + 19;
		break;
	case 9:
		f->b.frame[0].len = 13;
		break;
	case 10:
		f->b.frame[0].meta.csum_start += 2;
		break; /* not where the transport header is */
	case 11:
		f->b.frame[0].meta.csum_offset = 6;
		break;
	case 12:
		f->b.frame[0].meta.gso = NET_GSO_TCP6;
		break;
	case 13:
		f->b.frame[0].meta.gso = NET_GSO_UDP;
		break;
	case 14:
		f->b.frame[0].meta.gso_size = 0;
		break;
	case 15:
		f->b.frame[0].len = 70000;
		break; /* more than the pieces have, more than any frame */
	case 16:
		f->b.frame[0].len += 1;
		break;
	case 17:
		f->b.frame[0].meta.gso = NET_GSO_NONE;
		f->b.frame[0].meta.csum_start = 65535;
		break;
	case 18:
		f->b.frame[0].cnt = NET_IOV_MAX + 1;
		break;
	}
}

static void malformed(void **state)
{
	struct shape s = { .payload = 9000 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));

	(void)state;
	for (unsigned what = 0; what < 19; what++) {
		build(f, &s);
		set_gso(f, NET_GSO_TCP4, 1448);
		f->b.frame[0].cnt = 1;
		f->iov[1] = (struct iovec){ f->bytes, f->len };
		spoil(f, what);
		assert_int_not_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_OK);
	}
	free(f);
	offload_free(x);
}

static void malformed_ip6(void **state)
{
	struct shape s = { .v6 = true, .ext = 15, .payload = 3000 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));

	(void)state;
	for (unsigned what = 0; what < 5; what++) {
		build(f, &s);
		set_gso(f, NET_GSO_TCP6, 1448);
		f->meta.needs_csum = false;
		switch (what) {
		case 0:
			f->bytes[f->l3 + 6] = 44;
			break; /* a fragment */
		case 1:
			f->bytes[f->l3 + 41] = 255;
			break; /* longer than the room for headers */
		case 2:
			memset(f->bytes + f->l3 + 40, 0, 400);
			break; /* hop-by-hop without an end */
		case 3:
			f->b.frame[0].len = f->l3 + 45;
			break;
		case 4:
			f->bytes[f->l3] = 0x40;
			break;
		}
		assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_DROP_VNET_HDR);
	}
	free(f);
	offload_free(x);
}

/* A datagram's fragments must hold its headers, and their offsets are in units of 8. */
static void absurd_fragment_sizes(void **state)
{
	struct shape s = { .udp = true, .payload = 3000 };
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));

	(void)state;
	for (unsigned size = 1; size < 8; size++) {
		build(f, &s);
		set_gso(f, NET_GSO_UDP, size);
		assert_int_equal(offload_begin(x, &f->b, &f->b.frame[0], 0), NET_DROP_VNET_HDR);
	}
	set_gso(f, NET_GSO_UDP, 8);
	check_fragments(x, f);
	free(f);
	offload_free(x);
}

/* Headers and metadata that are noise in part: whatever is accepted ends, and makes frames within bounds. */
static void noise(void **state)
{
	struct offload_ctx *x = offload_new();
	struct made *f = malloc(sizeof(*f));
	static struct batch b;

	(void)state;
	srandom(6);
	for (unsigned round = 0; round < 4000; round++) {
		struct shape s = random_shape(rnd(0, 1), 4000);
		unsigned n, total = 0;

		build(f, &s);
		set_gso(f, rnd(0, 4), rnd(1, 3000));
		for (unsigned k = rnd(0, 6); k; k--)
			f->bytes[rnd(12, f->head)] = (uint8_t)random();
		if (rnd(0, 1))
			f->b.frame[0].meta.needs_csum = false;
		if (rnd(0, 3) == 0)
			f->b.frame[0].len = rnd(1, (unsigned)f->len);
		if (offload_begin(x, &f->b, &f->b.frame[0], rnd(0, NET_OFF_ALL)))
			continue;
		while ((n = offload_next(x, &b))) {
			for (unsigned k = 0; k < n; k++)
				assert_true(linear(&b, &b.frame[k]) <= offload_largest(x));
			total += n;
		}
		assert_int_equal(total, offload_total(x));
	}
	free(f);
	offload_free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_segments),
		cmocka_unit_test(udp_segments),
		cmocka_unit_test(udp_fragments),
		cmocka_unit_test(fragment_options),
		cmocka_unit_test(checksum_alone),
		cmocka_unit_test(nothing_to_do),
		cmocka_unit_test(checksum_of_zero),
		cmocka_unit_test(udp_without_checksum),
		cmocka_unit_test(malformed),
		cmocka_unit_test(malformed_ip6),
		cmocka_unit_test(absurd_fragment_sizes),
		cmocka_unit_test(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
