/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The steering program of a tap in the kernel (BPF_PROG_TEST_RUN) beside net/rss.c: for every kind of frame, cut and
 * changed everywhere, whatever is hashed, the same queue.
 */
#include "../unit/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/bpf.h"
#include "backend/tap_steer.h"
#include "backend/tap_steer_map.h"
#include "base/wirefmt.h"

#define ROUNDS 20000

static struct tap_steer_map *map;
static int prog;

/* What the program says. The kernel takes what looks like an Ethernet header off a socket filter's frame. */
static unsigned run(const uint8_t *frame, size_t len)
{
	uint8_t data[ETH_LEN + 2048];
	union bpf_attr a;

	memset(data, 0, ETH_LEN);
	put16(data + 12, 0x88b5); /* for experiments */
	memcpy(data + ETH_LEN, frame, len);
	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (uint32_t)prog;
	a.test.data_in = (uintptr_t)data;
	a.test.data_size_in = (uint32_t)(ETH_LEN + len);
	a.test.repeat = 1;
	assert_int_equal(bpf_call(BPF_PROG_TEST_RUN, &a), 0);
	return a.test.retval;
}

/* The table leads to 128 queues, one of which has frames without a hash; their places are numbers of their own. */
static void configure(uint32_t types, uint16_t mask, unsigned slot)
{
	uint8_t key[RSS_KEY_LEN];

	for (unsigned i = 0; i < RSS_KEY_LEN; i++)
		key[i] = (uint8_t)random();
	rss_set_key(&map->slots[slot].hash, key, (size_t)random() % (RSS_KEY_LEN + 1));
	map->slots[slot].hash.types = types;
	map->slots[slot].table.mask = mask;
	map->slots[slot].table.unclassified = 200;
	for (unsigned i = 0; i < RSS_TABLE_MAX; i++)
		map->slots[slot].table.queue[i] = (uint16_t)i;
	for (unsigned i = 0; i < TAP_QUEUES_MAX; i++)
		map->place[i] = (uint8_t)(3 * i + 7);
	map->slot = slot;
}

static unsigned expected(const uint8_t *frame, size_t len)
{
	const struct rss_hash *h = &map->slots[map->slot].hash;
	const struct rss_table *t = &map->slots[map->slot].table;
	uint32_t hash;
	unsigned report = rss_hash_frame(h, frame, len, &hash);

	return map->place[report == VIRTIO_NET_HASH_REPORT_NONE ? t->unclassified : t->queue[hash & t->mask]];
}

/* ---- frames ---- */

static unsigned rnd(unsigned below)
{
	return (unsigned)random() % below;
}

static uint8_t pick_proto(void)
{
	static const uint8_t protos[] = { PROTO_TCP, PROTO_UDP, PROTO_TCP, PROTO_UDP, PROTO_ICMP6, 59, 132 };

	return protos[rnd(ARRAY_SIZE(protos))];
}

/* One extension header of the kind; its length. */
static size_t put_extension(uint8_t *p, uint8_t kind, uint8_t next)
{
	size_t len = kind == PROTO_FRAGMENT ? 8 : 8 * (1 + rnd(4)), at = 2;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)random();
	p[0] = next;
	if (kind == PROTO_FRAGMENT) {
		put16(p + 2, rnd(3) ? 0 : rnd(65536));
		return len;
	}
	p[1] = (uint8_t)(len / 8 - 1);
	if (kind == PROTO_ROUTING)
		p[2] = (uint8_t)(rnd(4) ? 2 : rnd(256));
	while (kind == PROTO_DEST_OPTIONS && at < len) { /* options, some of which end where they should not */
		p[at] = (uint8_t)(rnd(3) ? 0xc9 : rnd(3));
		if (p[at++] && at < len) {
			p[at] = (uint8_t)(rnd(2) ? 16 : rnd(8));
			at += 1u + p[at];
		}
	}
	return len;
}

static size_t put_ip6(uint8_t *p)
{
	static const uint8_t kinds[] = { PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DEST_OPTIONS };
	unsigned n = rnd(3) ? rnd(4) : rnd(10);
	uint8_t *announce = p + 6;
	size_t at = IP6_LEN;

	p[0] = 0x60;
	while (n--) {
		uint8_t kind = kinds[rnd(ARRAY_SIZE(kinds))];

		*announce = kind;
		announce = p + at;
		at += put_extension(p + at, kind, PROTO_ICMP6);
	}
	*announce = pick_proto();
	return at;
}

static size_t put_ip4(uint8_t *p)
{
	p[0] = (uint8_t)(0x40 | (rnd(3) ? 5 : rnd(16)));
	put16(p + 6, rnd(4) ? 0 : rnd(65536));
	p[9] = pick_proto();
	return (p[0] & 15) * 4u;
}

static size_t make(uint8_t *f)
{
	unsigned tags = rnd(3) ? 0 : rnd(4), what = rnd(8);
	size_t at = 12;

	for (size_t i = 0; i < 1024; i++)
		f[i] = (uint8_t)random();
	for (unsigned i = 0; i < tags; i++, at += 4)
		put16(f + at, rnd(2) ? ETH_QINQ : ETH_VLAN);
	put16(f + at, what == 0 ? ETH_ARP : what < 4 ? ETH_IPV4 : ETH_IPV6);
	at += 2;
	at += what < 4 ? put_ip4(f + at) : put_ip6(f + at);
	return at + 20 + (rnd(4) ? 0 : rnd(200));
}

/* ---- tests ---- */

static void same_queue(void **state)
{
	uint8_t f[2048];
	unsigned hashed = 0;

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t len;
		unsigned want;

		if (i % 50 == 0)
			configure(rnd(4) ? RSS_TYPES : rnd(RSS_TYPES + 1), (uint16_t)((1u << rnd(8)) - 1), i / 50 & 1);
		len = make(f);
		if (rnd(3) == 0)
			len = ETH_LEN + rnd((unsigned)len - ETH_LEN + 1);
		if (rnd(3) == 0)
			f[12 + rnd((unsigned)len - 12)] ^= (uint8_t)(1u << rnd(8));
		want = expected(f, len);
		hashed += want != map->place[200];
		if (run(f, len) != want)
			print_error("round %u, %zu bytes\n", i, len);
		assert_int_equal(run(f, len), want);
	}
	assert_true(hashed > ROUNDS / 2);
}

/* No number that is found in the map is believed. */
static void nonsense_in_the_map(void **state)
{
	uint8_t f[2048];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		for (size_t k = 0; k < sizeof(*map); k++)
			((uint8_t *)map)[k] = (uint8_t)random();
		assert_in_range(run(f, make(f)), 0, 255);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_queue),
		cmocka_unit_test(nonsense_in_the_map),
	};
	int ret;

	prog = tap_steer_program(&map);
	if (prog < 0) {
		printf("no steering program: %s\n", prog == -ENOSYS ? "built without clang" : strerror(-prog));
		return 77;
	}
	srandom(1);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	munmap(map, sizeof(*map));
	close(prog);
	return ret;
}
