/* SPDX-License-Identifier: BSD-2-Clause */
/* Receive-side scaling and hash report: config space, the commands and what is wrong with them, the header of 20 bytes. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "base/wirefmt.h"
#include "guest.h"

#define TCP4 VIRTIO_NET_RSS_HASH_TYPE_TCPv4
#define IP4  VIRTIO_NET_RSS_HASH_TYPE_IPv4

static const char *const both[] = { "rss=on", "hash=on", NULL };
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];

/* The key and a flow of "Verifying the RSS hash calculation"; 0x51ccc178 with ports, 0x323e8fc2 without. */
static const uint8_t key[RSS_KEY_LEN] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static void make_flow(uint8_t *f, size_t len)
{
	make_frame(f, len, 1);
	put16(f + 12, ETH_IPV4);
	memset(f + 14, 0, 20);
	f[14] = 0x45;
	f[23] = PROTO_TCP;
	inet_pton(AF_INET, "66.9.149.187", f + 26);
	inet_pton(AF_INET, "161.142.100.80", f + 30);
	put16(f + 34, 2794);
	put16(f + 36, 1766);
}

/* ---- commands ---- */

struct config {
	uint32_t types;
	uint16_t mask, unclassified, max_tx;
	uint16_t table[300];
	uint8_t key_len;
	uint32_t cut;  /* bytes that are missing at the end */
	uint32_t more; /* bytes that are too many */
};

static uint32_t rss_bytes(uint8_t *to, const struct config *c)
{
	uint8_t *p = to;

	p = mempcpy(p, &c->types, 4);
	p = mempcpy(p, &c->mask, 2);
	p = mempcpy(p, &c->unclassified, 2);
	for (unsigned i = 0; i <= MIN((unsigned)c->mask, 299u); i++)
		p = mempcpy(p, &c->table[i], 2);
	p = mempcpy(p, &c->max_tx, 2);
	*p++ = c->key_len;
	p = mempcpy(p, key, MIN((size_t)c->key_len, sizeof(key)));
	return (uint32_t)(p - to);
}

static uint8_t command(struct bench *b, uint8_t what, const uint8_t *data, uint32_t len)
{
	uint8_t ack;

	/* In two pieces, anywhere. */
	ctrl_run(b, &(struct ctrl_cmd){ VIRTIO_NET_CTRL_MQ, what, len, data, .cut = 1 + rnd(1 + len) }, &ack);
	return ack;
}

static uint8_t configure(struct bench *b, const struct config *c)
{
	uint8_t data[1000] = { 0 };
	uint32_t len = rss_bytes(data, c);

	return command(b, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data, len - c->cut + c->more);
}

static const struct config good = { .types = TCP4, .mask = 127, .max_tx = 1, .key_len = 40 };

/* CV11: each field out of range by itself; what was in force stays so */
static void test_refused(void **state)
{
	struct config bad[] = { good, good, good, good, good, good, good, good, good, good, good, good, good };
	struct vnet_rss before;
	struct bench b;
	unsigned i = 0;

	(void)state;
	bad[i++].types = 1u << 9;
	bad[i++].types = UINT32_MAX;
	bad[i++].mask = 126;
	bad[i++].mask = 255;
	bad[i++].mask = 0xffff;
	bad[i++].unclassified = 1;
	bad[i++].unclassified = 0x8000;
	bad[i++].table[127] = 1;
	bad[i++].table[0] = 0xffff;
	bad[i++].max_tx = 0;
	bad[i++].max_tx = 2;
	bad[i++].key_len = 0;
	bad[i++].key_len = 41;
	assert_int_equal(i, ARRAY_SIZE(bad));
	bench_open(&b, both);
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(configure(&b, &good), VIRTIO_NET_OK);
	before = b.n->rss;
	assert_true(before.steering && before.hash.types == TCP4);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(configure(&b, &bad[i]), VIRTIO_NET_ERR);
		assert_memory_equal(&b.n->rss, &before, sizeof(before));
	}
	bad[0] = good;
	bad[0].key_len = 255;
	bad[0].more = 215;
	assert_int_equal(configure(&b, &bad[0]), VIRTIO_NET_ERR);
	for (uint32_t cut = 1; cut <= 4 + 4 + 256 + 2 + 1 + 40; cut++) { /* at every byte */
		bad[0] = good;
		bad[0].types = 0;
		bad[0].cut = cut;
		assert_int_equal(configure(&b, &bad[0]), VIRTIO_NET_ERR);
	}
	bad[0].cut = 0;
	bad[0].more = 1;
	assert_int_equal(configure(&b, &bad[0]), VIRTIO_NET_ERR);
	assert_memory_equal(&b.n->rss, &before, sizeof(before));
	bad[0].more = 0;
	bad[0].key_len = 0; /* nothing is hashed: there need be no key */
	assert_int_equal(configure(&b, &bad[0]), VIRTIO_NET_OK);
	assert_int_equal(b.n->rss.hash.types, 0);
	bench_close(&b);
}

static uint8_t hash_config(struct bench *b, uint32_t types, uint16_t reserved, uint8_t key_len, uint32_t len)
{
	uint8_t data[200] = { 0 };

	memcpy(data, &types, 4);
	memcpy(data + 10, &reserved, 2);
	data[12] = key_len;
	memcpy(data + 13, key, sizeof(key));
	return command(b, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, data, len);
}

static void test_hash_config(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, (const char *const[]){ "hash=on", "hash-udp4=off", NULL });
	assert_false(offered(&b) & BIT(VIRTIO_NET_F_RSS));
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(hash_config(&b, TCP4, 0, 40, 53), VIRTIO_NET_OK);
	assert_int_equal(b.n->rss.hash.types, TCP4);
	assert_int_equal(hash_config(&b, VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 0, 40, 53), VIRTIO_NET_ERR);
	assert_int_equal(hash_config(&b, TCP4, 0, 0, 13), VIRTIO_NET_ERR);
	assert_int_equal(hash_config(&b, TCP4, 0, 41, 54), VIRTIO_NET_ERR);
	for (uint32_t len = 0; len < 60; len++)
		assert_int_equal(hash_config(&b, IP4, 0, 40, len), len == 53 ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	assert_int_equal(hash_config(&b, IP4, 1, 20, 33), VIRTIO_NET_OK); /* as Linux fills it in */
	/* What was not offered is no command. */
	assert_int_equal(configure(&b, &good), VIRTIO_NET_ERR);
	assert_int_equal(b.n->rss.hash.types, IP4);
	/* A reset forgets it. */
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(b.n->rss.hash.types, 0);
	/* It is RSS that was negotiated, or nothing: */
	driver_up(&b, ALL_FEATURES & ~BIT(VIRTIO_NET_F_HASH_REPORT));
	assert_int_equal(hash_config(&b, TCP4, 0, 40, 53), VIRTIO_NET_ERR);
	bench_close(&b);
}

static void test_config_space(void **state)
{
	struct virtio_net_config c;
	struct bench b;

	(void)state;
	bench_open(&b, both);
	assert_true(offered(&b) & BIT(VIRTIO_NET_F_RSS) && offered(&b) & BIT(VIRTIO_NET_F_HASH_REPORT));
	virtio_config_read(b.v, 0, sizeof(c), (uint8_t *)&c);
	assert_int_equal(c.rss_max_key_size, 40);
	assert_int_equal(le16toh(c.rss_max_indirection_table_length), 128);
	assert_int_equal(le32toh(c.supported_hash_types), 0x1ff);
	assert_int_equal(le16toh(c.max_virtqueue_pairs), 1);
	/* RSS needs the control queue. */
	assert_false(negotiate(&b, MIN_FEATURES | BIT(VIRTIO_NET_F_RSS)));
	assert_true(negotiate(&b, MIN_FEATURES | BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_CTRL_VQ)));
	bench_close(&b);
	bench_open(&b, (const char *const[]){ "rss=on", "hash-tcp6ex=off", "hash-ipv4=off", "hash-udp4=on", NULL });
	virtio_config_read(b.v, 0, sizeof(c), (uint8_t *)&c);
	assert_int_equal(le32toh(c.supported_hash_types), 0x1ff & ~0x81);
	bench_close(&b);
	bench_open(&b, (const char *const[]){ "rss=on", "hash=on", "ctrl_vq=off", NULL });
	assert_false(offered(&b) & (BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_HASH_REPORT)));
	bench_close(&b);
}

/* ---- the header ---- */

static void expect_report(struct bench *b, size_t len, unsigned report, uint32_t hash)
{
	int got;

	assert_int_equal(wire_frame(b, frame, len, NULL), NET_OK);
	got = receive(b, back, sizeof(back), NULL);
	assert_int_equal(got, len);
	assert_memory_equal(back, frame, len);
	assert_int_equal(le16toh(b->got_hdr.hash_report), report);
	assert_int_equal(le32toh(b->got_hdr.hash_value), hash);
	assert_int_equal(b->got_hdr.padding, 0);
}

static void test_report(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, (const char *const[]){ "hash=on", NULL });
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(b.hdr_len, 20);
	make_flow(frame, 300);
	for (unsigned i = 0; i < 40; i++)
		post_rx(&b, 600);
	kick(&b.q[RXQ]);
	settle(&b);
	expect_report(&b, 300, VIRTIO_NET_HASH_REPORT_NONE, 0); /* nothing was configured yet */
	assert_int_equal(hash_config(&b, TCP4 | IP4, 0, 40, 53), VIRTIO_NET_OK);
	expect_report(&b, 300, VIRTIO_NET_HASH_REPORT_TCPv4, 0x51ccc178);
	frame[23] = PROTO_UDP;
	expect_report(&b, 300, VIRTIO_NET_HASH_REPORT_IPv4, 0x323e8fc2);
	put16(frame + 12, ETH_ARP);
	expect_report(&b, 300, VIRTIO_NET_HASH_REPORT_NONE, 0);
	expect_report(&b, ETH_HDR_LEN, VIRTIO_NET_HASH_REPORT_NONE, 0);
	make_flow(frame, 5000); /* over several buffers */
	expect_report(&b, 5000, VIRTIO_NET_HASH_REPORT_TCPv4, 0x51ccc178);
	/* A stop keeps what is configured. */
	virtio_quiesce(b.v);
	virtio_resume(b.v);
	settle(&b);
	expect_report(&b, 300, VIRTIO_NET_HASH_REPORT_TCPv4, 0x51ccc178);
	bench_close(&b);
}

/* Buffers of every smallness: the header in many pieces, the frame's headers too; the frame may have to wait for them. */
static void test_small_buffers(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, (const char *const[]){ "hash=on", "rx_queue_size=1024", NULL });
	b.queue_size = 1024;
	driver_up(&b, ALL_FEATURES);
	assert_int_equal(hash_config(&b, TCP4, 0, 40, 53), VIRTIO_NET_OK);
	for (uint32_t size = 20; size < 70; size++) {
		struct seg s[70];

		make_flow(frame, 200);
		for (unsigned k = 0; k < 200 / (size - 19) + 2; k++) {
			unsigned n = 0;

			for (uint32_t left = size, part; left; left -= part) {
				part = MIN(left, 1 + rnd(30));
				s[n++] = (struct seg){ buf(&b, part), part, true };
			}
			chain(&b.q[RXQ], s, n);
			if (b.q[RXQ].n_free < 70)
				break;
		}
		b.want = size % 2 ? 1 : 0; /* less than the frame: it runs into the spill slot */
		expect_report(&b, 200, VIRTIO_NET_HASH_REPORT_TCPv4, 0x51ccc178);
		driver_up(&b, ALL_FEATURES);
		assert_int_equal(hash_config(&b, TCP4, 0, 40, 53), VIRTIO_NET_OK);
	}
	bench_close(&b);
}

/* A buffer without room for its header is no buffer, one that holds nothing more is one; transmit headers likewise. */
static void test_header_length(void **state)
{
	struct bench b;

	(void)state;
	for (uint32_t len = 19; len < 21; len++) {
		bench_open(&b, (const char *const[]){ "hash=on", NULL });
		driver_up(&b, ALL_FEATURES);
		make_flow(frame, 100);
		post_rx(&b, len);
		post_rx(&b, 100);
		if (len == 19) {
			assert_int_equal(wire_frame(&b, frame, 100, NULL), -EAGAIN);
			expect_broken(&b, RXQ, VIRTQ_FAULT_HEADER);
		} else {
			expect_report(&b, 100, VIRTIO_NET_HASH_REPORT_NONE, 0);
		}
		bench_close(&b);
	}
	bench_open(&b, (const char *const[]){ "hash=on", NULL });
	driver_up(&b, ALL_FEATURES);
	for (uint32_t first = 1; first < 30; first++) {
		post_tx(&b, NULL, frame, 100, (const uint32_t[]){ first, 1, 0 });
		kick(&b.q[TXQ]);
		settle(&b);
		assert_int_equal(b.n_sunk, first);
		assert_int_equal(b.sunk[first - 1].len, 100);
		assert_memory_equal(b.sunk[first - 1].data, frame, 100);
		while (reap(&b.q[TXQ], NULL, NULL))
			;
	}
	bench_close(&b);
}

/* ---- steering ---- */

/* 10^5 flows over a table of three pairs: each gets its share, and each frame the pair that the table says. */
static void test_spread(void **state)
{
	static struct vnet_rss r;
	unsigned n[3] = { 0 };
	uint32_t hash;

	(void)state;
	vnet_rss_reset(&r);
	r.table.unclassified = 2;
	r.table.mask = 127;
	for (unsigned i = 0; i < 128; i++)
		r.table.queue[i] = (uint16_t)(i % 3);
	rss_set_key(&r.hash, key, sizeof(key));
	r.hash.types = TCP4;
	for (unsigned i = 0; i < 100000; i++) {
		unsigned report, pair;

		make_flow(frame, 60);
		put32(frame + 26, rnd(1u << 31));
		put16(frame + 34, rnd(65536));
		report = rss_hash_frame(&r.hash, frame, 60, &hash);
		pair = vnet_rss_pair(&r, report, hash);
		assert_int_equal(pair, (hash & 127) % 3);
		n[pair]++;
	}
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(n[i], 32000, 35000);
	frame[23] = PROTO_UDP;
	assert_int_equal(vnet_rss_pair(&r, rss_hash_frame(&r.hash, frame, 60, &hash), hash), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),	      cmocka_unit_test(test_hash_config),
		cmocka_unit_test(test_config_space),  cmocka_unit_test(test_report),
		cmocka_unit_test(test_small_buffers), cmocka_unit_test(test_header_length),
		cmocka_unit_test(test_spread),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
