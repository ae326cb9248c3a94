/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel gives frames by the queue of a tap that a table says, whichever queues are attached, in whatever order that
 * came about. Frames come from a packet socket, and are read from the queues' descriptors.
 */
#include "../unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/tap_steer.h"
#include "base/wirefmt.h"
#include "bench.h"

#define QUEUES	8
#define FLOWS	64
#define LEN	100
#define PAYLOAD 60 /* bytes before it */

static struct tap_dev tap[QUEUES];
static struct rss_hash hash;
static struct rss_table table;
static int packet = -1;

/* ---- the interface ---- */

/* Frames are sent by this interface from now on. */
static void up(const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET };

	assert_true(run_ip("link set %s up", name));
	if (packet >= 0)
		close(packet);
	packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	at.sll_ifindex = (int)if_nametoindex(name);
	assert_int_equal(bind(packet, (struct sockaddr *)&at, sizeof(at)), 0);
}

static int setup(void **state)
{
	struct error err;

	(void)state;
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(tap_dev_open(&tap[i], "vtap0", OPT_AUTO, true, 1 << 20, &err), 0);
	assert_int_equal(tap_steer_join(tap, QUEUES), 0);
	tap_steer_load(tap[0].steer);
	assert_string_equal(tap_steer_state(tap[0].steer), "loaded");
	assert_int_equal(tap_dev_enable(&tap[0]), 0);
	up("vtap0");
	for (unsigned i = 0; i < RSS_KEY_LEN; i++)
		hash.key[i] = (uint8_t)random();
	rss_set_key(&hash, hash.key, RSS_KEY_LEN);
	hash.types = RSS_TYPES;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < QUEUES; i++)
		tap_dev_close(&tap[i]);
	return 0;
}

/* ---- frames ---- */

static void make_flow(uint8_t *f, unsigned flow)
{
	memset(f, 0, LEN);
	f[0] = 0x52;
	f[6] = 0x52;
	f[11] = 1;
	put16(f + 12, ETH_IPV4);
	f[14] = 0x45;
	f[23] = flow & 1 ? PROTO_TCP : PROTO_UDP;
	put32(f + 26, 0x0a000001);
	put32(f + 30, 0x0a000002);
	put16(f + 34, 1000 + 7 * flow);
	put16(f + 36, 53);
	if (flow % 16 == 15)
		put16(f + 12, ETH_ARP); /* it has no hash */
	memcpy(f + PAYLOAD, "flow", 4);
	f[PAYLOAD + 4] = (uint8_t)flow;
}

static unsigned queue_of(const uint8_t *f)
{
	uint32_t value;
	unsigned report = rss_hash_frame(&hash, f, LEN, &value);

	return report == VIRTIO_NET_HASH_REPORT_NONE ? table.unclassified : table.queue[value & table.mask];
}

/* The flow of the next frame that waits in a queue; -1: there is none. Others than ours come from the host. */
static int next_flow(unsigned queue)
{
	uint8_t in[2048];
	ssize_t n;

	while ((n = read(tap[queue].fd, in, sizeof(in))) > 0) {
		const uint8_t *f = in + (tap[queue].vnet_hdr ? TAP_VNET_HDR_LEN : 0);

		if (n >= LEN && !memcmp(f + PAYLOAD, "flow", 4))
			return f[PAYLOAD + 4];
	}
	return -1;
}

static void send_flow(unsigned flow, uint8_t *f)
{
	make_flow(f, flow);
	assert_int_equal(send(packet, f, LEN, 0), LEN);
}

/* One frame of each flow comes by the queue that the table says. */
static void expect_by_the_table(void)
{
	uint8_t f[LEN];

	for (unsigned flow = 0; flow < FLOWS; flow++) {
		int got;

		send_flow(flow, f);
		for (unsigned ms = 0; (got = next_flow(queue_of(f))) < 0 && ms < 10000; ms++)
			usleep(1000);
		assert_int_equal(got, flow);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(next_flow(i), -1);
}

/* All flows over those queues of which the bit is set. */
static void steer_to(unsigned set)
{
	unsigned q = 0;

	table.mask = 31;
	for (unsigned i = 0; i <= table.mask; i++) {
		while (!(set >> q % QUEUES & 1))
			q++;
		table.queue[i] = (uint16_t)(q++ % QUEUES);
	}
	table.unclassified = table.queue[random() & table.mask];
	assert_int_equal(tap_steer_set(&tap[0], &hash, &table), 0);
	assert_string_equal(tap_steer_state(tap[0].steer), "steering");
}

/* Until just the queues of the set are attached, one after the other, in an order by chance. */
static void attach(unsigned set)
{
	for (unsigned left = QUEUES, done = 0; left;) {
		unsigned q = (unsigned)random() % QUEUES;

		if (done >> q & 1)
			continue;
		done |= 1u << q;
		left--;
		if (set >> q & 1)
			assert_int_equal(tap_dev_enable(&tap[q]), 0);
		else
			tap_dev_disable(&tap[q]);
	}
}

/* ---- tests ---- */

/* As pairs come and go: from the first one on, all changes of their number, each loop at its own time. */
static void every_number_of_pairs(void **state)
{
	(void)state;
	for (unsigned from = 1; from <= QUEUES; from++) {
		for (unsigned to = 1; to <= QUEUES; to++) {
			attach((1u << from) - 1);
			attach((1u << to) - 1);
			steer_to((1u << to) - 1);
			expect_by_the_table();
		}
	}
}

static void any_queues_in_any_order(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		unsigned set = 1 + (unsigned)random() % ((1u << QUEUES) - 1);

		attach(set);
		steer_to(set);
		expect_by_the_table();
	}
}

/* Another table while frames come; then none: it is the kernel's flow table again. */
static void tables_that_change(void **state)
{
	uint8_t f[LEN];
	unsigned n = 0;

	(void)state;
	attach((1u << QUEUES) - 1);
	for (unsigned i = 0; i < 20; i++) {
		steer_to(i % QUEUES ? 1u << i % QUEUES : (1u << QUEUES) - 1);
		expect_by_the_table();
	}
	steer_to(1u << 5);
	assert_int_equal(tap_steer_set(&tap[0], NULL, NULL), 0);
	assert_string_equal(tap_steer_state(tap[0].steer), "loaded");
	for (unsigned flow = 0; flow < FLOWS; flow++)
		send_flow(flow, f);
	for (unsigned i = 0; i < QUEUES; i++) {
		bool any = next_flow(i) >= 0;

		n += any;
		while (any && next_flow(i) >= 0)
			;
	}
	assert_in_range(n, 2, QUEUES);
	steer_to(1u << 6);
	expect_by_the_table();
}

/* The interface is deleted and made anew; its queues find that out one after the other, some are detached meanwhile. */
static void an_interface_that_is_made_anew(void **state)
{
	unsigned all = (1u << QUEUES) - 1;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		unsigned first = (unsigned)random() % QUEUES;

		attach(all);
		steer_to(all);
		expect_by_the_table();
		assert_true(run_ip("link del vtap0"));
		assert_true(run_ip("tuntap add dev vtap0 mode tap multi_queue"));
		for (unsigned i = 0; i < QUEUES; i++) {
			unsigned q = (first + 3 * i) % QUEUES; /* 3 and QUEUES have no common factor */

			if (i == 3)
				tap_dev_disable(&tap[(q + 3) % QUEUES]);
			assert_int_equal(tap_dev_reattach(&tap[q]), 0);
		}
		up("vtap0");
		attach(all);
		expect_by_the_table();
		steer_to(0x55);
		expect_by_the_table();
		assert_true(run_ip("tuntap del dev vtap0 mode tap multi_queue"));
	}
}

/* The frame that is read next from a queue, of this length, is the one at f; others are the host's own. */
static bool comes_by(unsigned queue, const uint8_t *f, size_t len)
{
	uint8_t in[2048];

	for (unsigned ms = 0; ms < 10000;) {
		ssize_t n = read(tap[queue].fd, in, sizeof(in)) - (ssize_t)TAP_VNET_HDR_LEN;

		if (n == (ssize_t)len && !memcmp(in + TAP_VNET_HDR_LEN, f, len))
			return true;
		if (n < 0 && ++ms)
			usleep(1000);
	}
	return false;
}

/*
 * A tag that the kernel keeps beside a frame is in front of the others when it is read: it counts among those that are
 * passed over.
 */
static void tags_beside_the_frame(void **state)
{
	uint8_t f[LEN], all[LEN + 4];
	unsigned hashed = 0;

	(void)state;
	if (!run_ip("link add link vtap0 name vtap0.5 type vlan id 5")) {
		print_message("no VLANs in this kernel\n");
		skip();
	}
	up("vtap0.5");
	assert_true(tap[0].vnet_hdr);
	attach((1u << QUEUES) - 1);
	steer_to((1u << QUEUES) - 1);
	for (unsigned i = 0; i < 3 * FLOWS; i++) {
		unsigned tags = i / FLOWS; /* in the frame */

		make_flow(f, i % FLOWS);
		memmove(f + 12 + 4 * tags, f + 12, 26); /* what is hashed */
		for (unsigned k = 0; k < tags; k++)
			memcpy(f + 12 + 4 * k, (uint8_t[]){ 0x81, 0, 0, 7 }, 4);
		memcpy(all, f, 12);
		memcpy(all + 12, (uint8_t[]){ 0x81, 0, 0, 5 }, 4);
		memcpy(all + 16, f + 12, LEN - 12);
		hashed += queue_of(all) != table.unclassified;
		assert_int_equal(send(packet, f, LEN, 0), LEN);
		assert_true(comes_by(queue_of(all), all, sizeof(all)));
	}
	assert_in_range(hashed, FLOWS, 2 * FLOWS);
}

/* What a vwire that was killed left on an interface that outlives it does not steer for the next one. */
static void a_program_that_was_left_behind(void **state)
{
	int other = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR, .ifr_name = "vtap0" };
	struct tap_dev next[2];
	struct error err;
	uint8_t f[LEN];
	unsigned n[2] = { 0 };

	(void)state;
	assert_int_equal(ioctl(other, TUNSETPERSIST, 1), -1); /* it is no tap yet */
	assert_int_equal(ioctl(other, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(other, TUNSETPERSIST, 1), 0);
	close(other);
	steer_to(1);
	for (unsigned i = 0; i < QUEUES; i++)
		close(tap[i].fd); /* the end of the process */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(tap_dev_open(&next[i], "vtap0", OPT_AUTO, true, 1 << 20, &err), 0);
	assert_int_equal(tap_steer_join(next, 2), 0);
	assert_int_equal(tap_dev_enable(&next[0]), 0);
	assert_int_equal(tap_dev_enable(&next[1]), 0);
	up("vtap0");
	for (unsigned flow = 0; flow < FLOWS; flow++)
		send_flow(flow, f);
	for (unsigned i = 0; i < 2; i++) {
		struct tap_dev was = tap[i];

		tap[i].fd = next[i].fd;
		while (next_flow(i) >= 0)
			n[i]++;
		tap[i] = was;
	}
	assert_true(n[0] && n[1]);
	for (unsigned i = 0; i < 2; i++)
		tap_dev_close(&next[i]);
	for (unsigned i = 0; i < QUEUES; i++) {
		tap[i].fd = -1;
		tap_dev_close(&tap[i]);
	}
	assert_true(run_ip("tuntap del dev vtap0 mode tap multi_queue"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_number_of_pairs), TEST(any_queues_in_any_order),
		TEST(tables_that_change),    TEST(an_interface_that_is_made_anew),
		TEST(tags_beside_the_frame), TEST(a_program_that_was_left_behind),
	};
	struct tap_steer_map *map;

	if (!bench_isolate())
		return 77;
	if (tap_steer_program(&map) < 0) {
		printf("no steering program can be loaded\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
