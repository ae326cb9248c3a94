/* SPDX-License-Identifier: BSD-2-Clause */
/* The Toeplitz hash: the values that Microsoft publishes for RSS, a bitwise model beside it, every kind of frame. */
#include "unit.h"

#include <arpa/inet.h>

#include "base/util.h"
#include "base/wirefmt.h"
#include "net/rss.h"

/* "Verifying the RSS hash calculation" */
static const uint8_t key[RSS_KEY_LEN] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static const struct vector {
	const char *src, *dst;
	uint16_t sport, dport;
	uint32_t addresses, with_ports;
} vectors[] = {
	{ "66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178 },
	{ "199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea },
	{ "24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a },
	{ "38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f },
	{ "153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2 },
	{ "3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d },
	{ "3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf },
	{ "3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985, 0x02d1feef },
};

static struct rss_hash hash;

/* ---- a model ---- */

static uint32_t model(const uint8_t *k, const uint8_t *in, size_t len)
{
	uint32_t sum = 0;

	for (size_t bit = 0; bit < 8 * len; bit++) {
		uint32_t window = 0;

		if (!(in[bit / 8] & 0x80 >> bit % 8))
			continue;
		for (size_t i = bit; i < bit + 32; i++)
			window = window << 1 | (i < 8 * RSS_KEY_LEN ? k[i / 8] >> (7 - i % 8) & 1 : 0);
		sum ^= window;
	}
	return sum;
}

static void like_the_model(void **state)
{
	uint8_t k[RSS_KEY_LEN], in[RSS_INPUT_MAX];

	(void)state;
	srandom(1);
	for (unsigned round = 0; round < 2000; round++) {
		size_t key_len = round % 3 ? RSS_KEY_LEN : (size_t)random() % (RSS_KEY_LEN + 1);
		size_t len = (size_t)random() % (RSS_INPUT_MAX + 1);

		memset(k, 0, sizeof(k));
		for (size_t i = 0; i < key_len; i++)
			k[i] = (uint8_t)random();
		for (size_t i = 0; i < len; i++)
			in[i] = (uint8_t)random();
		rss_set_key(&hash, k, key_len);
		assert_int_equal(rss_toeplitz(&hash, in, len), model(k, in, len));
	}
}

/* ---- frames ---- */

enum {
	EXT_NONE,
	EXT_OPTIONS, /* hop by hop */
	EXT_HOME,    /* destination options with a home address, and a routing header of type 2 */
	EXT_PLAIN,   /* the same headers with other contents */
	EXT_FIRST,   /* a first fragment */
	EXT_WHOLE,   /* a fragment header, no fragment */
	N_EXT,
};

static const uint8_t home[16] = { 0x20, 1, [15] = 77 }, care[16] = { 0x20, 2, [15] = 88 };

static size_t put_ext(uint8_t *f, size_t at, unsigned ext, uint8_t *announce, uint8_t proto)
{
	switch (ext) {
	case EXT_OPTIONS:
		*announce = PROTO_HOP_BY_HOP;
		memcpy(f + at, (uint8_t[]){ proto, 0, 1, 4, 0, 0, 0, 0 }, 8);
		return at + 8;
	case EXT_HOME:
	case EXT_PLAIN:
		*announce = PROTO_DEST_OPTIONS;
		memset(f + at, 0, 48);
		/* Two bytes of padding, then the option: 8n + 6 is where it belongs. */
		memcpy(f + at, (uint8_t[]){ PROTO_ROUTING, 2, 1, 2, 0, 0, ext == EXT_HOME ? 0xc9 : 0x1e, 16 }, 8);
		memcpy(f + at + 8, home, 16);
		memcpy(f + at + 24, (uint8_t[]){ proto, 2, ext == EXT_HOME ? 2 : 4, 1 }, 4);
		memcpy(f + at + 32, care, 16);
		return at + 48;
	case EXT_FIRST:
	case EXT_WHOLE:
		*announce = PROTO_FRAGMENT;
		memcpy(f + at, (uint8_t[]){ proto, 0, 0, ext == EXT_FIRST, 0, 0, 0, 1 }, 8);
		return at + 8;
	}
	return at;
}

static size_t make(uint8_t *f, const struct vector *v, unsigned tags, unsigned ext, uint8_t proto)
{
	bool v6 = strchr(v->src, ':');
	size_t at = 12;

	memset(f, 0, 256);
	for (unsigned i = 0; i < tags; i++, at += 4)
		put16(f + at, tags == 2 && !i ? ETH_QINQ : ETH_VLAN);
	put16(f + at, v6 ? ETH_IPV6 : ETH_IPV4);
	at += 2;
	if (v6) {
		f[at] = 0x60;
		f[at + 6] = proto;
		inet_pton(AF_INET6, v->src, f + at + 8);
		inet_pton(AF_INET6, v->dst, f + at + 24);
		at = put_ext(f, at + IP6_LEN, ext, f + at + 6, proto);
	} else {
		f[at] = 0x46;
		f[at + 9] = proto;
		inet_pton(AF_INET, v->src, f + at + 12);
		inet_pton(AF_INET, v->dst, f + at + 16);
		at += 24;
	}
	put16(f + at, v->sport);
	put16(f + at + 2, v->dport);
	return at + 20;
}

/* As the standard says it: what is hashed of a packet, and the hash. */
static unsigned expected(const struct vector *v, uint32_t types, unsigned ext, uint8_t proto, uint32_t *value)
{
	bool v6 = strchr(v->src, ':'), ports = (proto == PROTO_TCP || proto == PROTO_UDP) && ext != EXT_FIRST;
	unsigned first = v6 ? VIRTIO_NET_HASH_REPORT_IPv6 : VIRTIO_NET_HASH_REPORT_IPv4;
	uint8_t in[RSS_INPUT_MAX];
	size_t n = v6 ? 16 : 4;

	inet_pton(v6 ? AF_INET6 : AF_INET, v->src, in);
	inet_pton(v6 ? AF_INET6 : AF_INET, v->dst, in + n);
	put16(in + 2 * n, v->sport);
	put16(in + 2 * n + 2, v->dport);
	for (unsigned sort = v6 && ext ? 2 : 1; sort--;) {
		unsigned base = sort ? VIRTIO_NET_HASH_REPORT_IPv6_EX : first;

		if (sort && ext == EXT_HOME) {
			memcpy(in, home, 16);
			memcpy(in + 16, care, 16);
		} else if (!sort && ext == EXT_HOME) {
			inet_pton(AF_INET6, v->src, in);
			inet_pton(AF_INET6, v->dst, in + 16);
		}
		for (unsigned k = 3; k--;) {
			static const uint8_t of[] = { 0, PROTO_TCP, PROTO_UDP };

			if (!(types & 1u << (base + k - 1)) || (k && (!ports || of[k] != proto)))
				continue;
			*value = model(key, in, 2 * n + (k ? 4 : 0));
			return base + k;
		}
	}
	*value = 0;
	return VIRTIO_NET_HASH_REPORT_NONE;
}

static void published(void **state)
{
	uint8_t f[256];
	uint32_t value;

	(void)state;
	rss_set_key(&hash, key, sizeof(key));
	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		bool v6 = strchr(v->src, ':');
		size_t len = make(f, v, 0, EXT_NONE, PROTO_TCP);

		hash.types = VIRTIO_NET_RSS_HASH_TYPE_IPv4 | VIRTIO_NET_RSS_HASH_TYPE_IPv6;
		assert_int_equal(rss_hash_frame(&hash, f, len, &value),
				 v6 ? VIRTIO_NET_HASH_REPORT_IPv6 : VIRTIO_NET_HASH_REPORT_IPv4);
		assert_int_equal(value, v->addresses);
		hash.types = RSS_TYPES;
		assert_int_equal(rss_hash_frame(&hash, f, len, &value),
				 v6 ? VIRTIO_NET_HASH_REPORT_TCPv6 : VIRTIO_NET_HASH_REPORT_TCPv4);
		assert_int_equal(value, v->with_ports);
	}
}

/* All sets of types, for all sorts of frames. */
static void every_type(void **state)
{
	static const uint8_t protos[] = { PROTO_TCP, PROTO_UDP, PROTO_ICMP };
	uint8_t f[256];

	(void)state;
	rss_set_key(&hash, key, sizeof(key));
	for (unsigned i = 0; i < 2 * N_EXT * ARRAY_SIZE(protos); i++) {
		const struct vector *v = &vectors[i & 1 ? 5 : 0];
		unsigned ext = i & 1 ? i / 2 % N_EXT : EXT_NONE;
		uint8_t proto = protos[i / 2 / N_EXT];
		size_t len = make(f, v, i % 3, ext, proto);

		for (hash.types = 0; hash.types <= RSS_TYPES; hash.types++) {
			uint32_t value, want;
			unsigned what = expected(v, hash.types, ext, proto, &want);

			assert_int_equal(rss_hash_frame(&hash, f, len, &value), what);
			assert_int_equal(value, want);
		}
	}
}

/* A fragment of IPv4 has no ports, the first one neither. */
static void fragments(void **state)
{
	uint32_t value;
	uint8_t f[256];

	(void)state;
	rss_set_key(&hash, key, sizeof(key));
	hash.types = RSS_TYPES;
	for (unsigned i = 0; i < 3; i++) {
		size_t len = make(f, &vectors[0], 0, EXT_NONE, PROTO_UDP);

		put16(f + 20, (unsigned[]){ 0x2000, 0x2001, 0x0100 }[i]);
		assert_int_equal(rss_hash_frame(&hash, f, len, &value), VIRTIO_NET_HASH_REPORT_IPv4);
		assert_int_equal(value, vectors[0].addresses);
	}
}

/* Cut anywhere, and with any byte changed to its extremes: never a byte beyond the end (the sanitizer sees to that). */
static void hostile(void **state)
{
	uint8_t f[256];

	(void)state;
	rss_set_key(&hash, key, sizeof(key));
	hash.types = RSS_TYPES;
	for (unsigned i = 0; i < 2 * N_EXT; i++) {
		size_t whole = make(f, &vectors[i & 1 ? 5 : 0], i % 3, i / 2, PROTO_TCP);

		for (size_t len = 0; len <= whole; len++) {
			for (size_t at = 0; at < (len == whole ? len : 1); at++) {
				for (unsigned v = 0; v < 4; v++) {
					uint8_t *p = malloc(len + !len);
					uint32_t value;

					memcpy(p, f, len);
					if (len)
						p[at] = (uint8_t[]){ p[at], 0, 255, 128 }[v];
					assert_true(rss_hash_frame(&hash, p, len, &value) <=
						    VIRTIO_NET_HASH_REPORT_UDPv6_EX);
					free(p);
				}
			}
		}
	}
	assert_int_equal(rss_hash_frame(&hash, f, 13, &(uint32_t){ 0 }), VIRTIO_NET_HASH_REPORT_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_the_model), cmocka_unit_test(published), cmocka_unit_test(every_type),
		cmocka_unit_test(fragments),	  cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
