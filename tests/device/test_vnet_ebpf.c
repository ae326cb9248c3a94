/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net with receive-side scaling on a tap with two queues: the kernel gives each frame by the queue of its pair, and
 * none is handed on from one to the other; where vwire may load no program they are, and get there as well.
 */
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/tap.h"
#include "backend/tap_steer.h"
#include "base/wirefmt.h"
#include "mqbench.h"
#include "net/netdev.h"

#define FLOWS 128

static const char *const props[] = { "mq=on", "rss=on", NULL };
static const struct netdev_type *const types[] = { &tap_netdev, NULL };
static int packet;

/* ---- the wire ---- */

static struct loop *place(const struct netdev_place *p, unsigned queue, struct error *err)
{
	(void)p, (void)err;
	return queue ? loop1 : b.loop;
}

static void make_tap(struct bench *bb)
{
	struct netdev_place at = { place };
	struct error err;
	struct opt_list l;

	(void)bb;
	netdev_types_init(types);
	assert_int_equal(opt_list_parse("tap,id=wire,ifname=vtap0,script=no,downscript=no,queues=2", "type", &l, &err),
			 0);
	assert_int_equal(netdev_add(&l, &at, &err), 0);
	opt_list_free(&l);
}

static void open_over_tap(void)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET };
	struct error err;

	loop1 = loop_new("second", &err);
	assert_non_null(loop1);
	bench_netdev = make_tap;
	bench_open(&b, props);
	b.next_buf = RAM2_GPA;
	assert_int_equal(system("ip link set vtap0 up"), 0);
	at.sll_ifindex = (int)if_nametoindex("vtap0");
	packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(packet, (struct sockaddr *)&at, sizeof(at)), 0);
	up(ALL_FEATURES);
}

static void close_over_tap(void)
{
	settle_both();
	for (unsigned i = 0; i < 2; i++) {
		const struct net_client *c = &b.n->pair[i].client;

		assert_true(net_account_balanced(&c->rx) && net_account_balanced(&c->tx));
	}
	close(packet);
	bench_close(&b);
	loop_free(loop1);
}

/* ---- flows ---- */

/* UDP over IPv4 is hashed, and goes to the pairs in turn; all else to the second. */
static void configure(void)
{
	uint32_t types_on = VIRTIO_NET_RSS_HASH_TYPE_UDPv4;
	uint8_t data[100] = { 0 }, *p = data;

	p = mempcpy(p, &types_on, 4);
	p = mempcpy(p, (uint16_t[]){ 1, 1, 0, 1, 2 }, 10);
	*p++ = RSS_KEY_LEN;
	for (unsigned i = 0; i < RSS_KEY_LEN; i++)
		*p++ = (uint8_t)(0x6d + 31 * i);
	assert_int_equal(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, data, (uint32_t)(p - data)),
			 VIRTIO_NET_OK);
}

/* The host has frames of its own to send: none of them is for the guest. */
static void take_own_only(void)
{
	assert_int_equal(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, (uint8_t[]){ 0 }, 1), VIRTIO_NET_OK);
}

/* Every 16th has no hash. */
static void make_flow(uint8_t *f, unsigned flow)
{
	make_frame(f, 100, flow);
	if (flow % 16 == 15)
		return;
	put16(f + 12, ETH_IPV4);
	memset(f + 14, 0, 20);
	f[14] = 0x45;
	f[23] = PROTO_UDP;
	put16(f + 34, 1000 + flow);
}

static uint64_t arrived(unsigned pair)
{
	return counter_get(&b.n->pair[pair].client.rx.out);
}

/* One frame of each flow gets to its pair; how many came to the other one. */
static uint64_t send_flows(void)
{
	uint64_t before[2] = { arrived(0), arrived(1) }, handed_on = 0;
	unsigned n[2] = { 0 };
	uint8_t f[100];

	for (unsigned i = 0; i < 2; i++)
		handed_on -= counter_get(&b.n->pair[i].handed_on);
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		unsigned report;
		uint32_t hash;

		make_flow(f, flow);
		report = rss_hash_frame(&b.n->rss.hash, f, sizeof(f), &hash);
		n[report ? hash & 1 : 1]++;
		assert_int_equal(send(packet, f, sizeof(f), 0), sizeof(f));
	}
	for (unsigned ms = 0; arrived(0) + arrived(1) - before[0] - before[1] < FLOWS && ms < 10000; ms++) {
		settle_both();
		usleep(1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(arrived(i) - before[i], n[i]);
		assert_in_range(n[i], FLOWS / 4, FLOWS);
		handed_on += counter_get(&b.n->pair[i].handed_on);
	}
	return handed_on;
}

static void post_buffers(void)
{
	for (unsigned i = 0; i < FLOWS; i++) {
		post_rx(&b, 1600);
		post_on_second();
	}
	kick(&b.q[RXQ]);
	settle_both();
}

/* ---- tests ---- */

static void by_the_kernel(void **state)
{
	(void)state;
	open_over_tap();
	assert_string_equal(vnet_steering(b.n->pair), "none");
	for (unsigned round = 0; round < 3; round++) {
		up(ALL_FEATURES);
		take_own_only();
		post_buffers();
		configure();
		assert_string_equal(vnet_steering(b.n->pair), "backend");
		assert_string_equal(vnet_steering(b.n->pair + 1), "backend");
		assert_int_equal(send_flows(), 0);
		if (round == 1) {
			assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
			assert_string_equal(vnet_steering(b.n->pair), "none");
		}
	}
	close_over_tap();
}

static struct __user_cap_data_struct all[2];

static void set_rights(const struct __user_cap_data_struct *rights)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	assert_int_equal(syscall(SYS_capset, &h, rights), 0);
}

static void by_the_inbox(void **state)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct few[2];
	struct tap_steer_map *map;

	(void)state;
	assert_int_equal(syscall(SYS_capget, &h, all), 0);
	memcpy(few, all, sizeof(few));
	few[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
	few[CAP_TO_INDEX(CAP_BPF)].effective &= ~CAP_TO_MASK(CAP_BPF);
	set_rights(few);
	if (tap_steer_program(&map) >= 0) {
		set_rights(all);
		print_message("here anybody may load programs\n");
		skip();
	}
	open_over_tap();
	take_own_only();
	post_buffers();
	configure();
	assert_string_equal(vnet_steering(b.n->pair), "inbox");
	assert_in_range(send_flows(), 1, FLOWS);
	set_rights(all);
	close_over_tap();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_kernel),
		cmocka_unit_test(by_the_inbox),
	};
	struct tap_steer_map *map;

	if (geteuid() || unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("no right to make taps here\n");
		return 77;
	}
	if (tap_steer_program(&map) < 0) {
		printf("no steering program can be loaded\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
