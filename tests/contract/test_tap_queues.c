/* SPDX-License-Identifier: BSD-2-Clause */
/* Taps with several queues, inherited queues, and taps that are ports of a bridge. */
#include "../unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/tap_helper.h"
#include "bench.h"
#include "net/netdev.h"

#define FOUR_QUEUES "tap,id=net0,ifname=vtap0,script=no,downscript=no,queues=4"

static struct bench bench, *const b = &bench;

static void tap_up(struct bench *bb)
{
	(void)bb;
	assert_true(run_ip("addr add 10.0.2.2/24 dev vtap0"));
	assert_true(run_ip("link set vtap0 up"));
}

static int setup(void **state)
{
	(void)state;
	bench_open(b, FOUR_QUEUES, tap_up);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_close(b);
	return 0;
}

/* ---- several queues ---- */

/* One datagram in each of n flows, from the host to the guest. */
static void send_flows(unsigned n)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };

	inet_pton(AF_INET, "10.0.2.15", &to.sin_addr);
	for (unsigned i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		assert_int_equal(sendto(fd, "flow", 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
		close(fd);
	}
}

static bool got_flows(struct bench *bb, unsigned n)
{
	unsigned found = 0;

	for (unsigned i = 0; i < bb->nic->n_got; i++)
		found += bb->nic->got[i].len >= 46 && !memcmp(bb->nic->got[i].bytes + 42, "flow", 4);
	return found == n;
}

/* The kernel spreads flows over the queues that are enabled: only that which has a peer is. */
static void only_queues_with_a_peer_get_frames(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 4; i++)
		assert_non_null(net_client_find("net0", i));
	assert_null(net_client_find("net0", 4));
	send_flows(64);
	assert_true(until(b, got_flows, 64));
}

static void every_queue_with_a_peer_gets_frames(void **state)
{
	struct fake *nic = fake_new("nic1", NET_KIND_NIC, &fake_lender_ops, b->loop);
	struct net_client *second = net_client_find("net0", 1);
	struct error err;

	(void)state;
	assert_int_equal(net_connect(&nic->c, second, &err), 0);
	net_start(&nic->c);
	send_flows(200);
	for (unsigned i = 0; i < 500 && b->nic->n_got + nic->n_got < 200; i++)
		idle(b, 10);
	assert_true(nic->n_got > 20);
	assert_true(b->nic->n_got > 20);
	net_quiesce(&nic->c);
	assert_true(net_account_balanced(&second->tx));
	assert_true(net_account_balanced(&second->rx));
	net_disconnect(&nic->c);
	fake_free(nic);
}

/* A queue that was retired gets none, until it is started again. */
static void a_queue_that_is_retired_gets_none(void **state)
{
	struct fake *nic = fake_new("nic1", NET_KIND_NIC, &fake_lender_ops, b->loop);
	struct net_client *second = net_client_find("net0", 1);
	struct error err;

	(void)state;
	assert_int_equal(net_connect(&nic->c, second, &err), 0);
	for (unsigned round = 0; round < 2; round++) {
		net_start(&nic->c);
		send_flows(100);
		for (unsigned i = 0; i < 500 && b->nic->n_got + nic->n_got < 100; i++)
			idle(b, 10);
		assert_true(nic->n_got > 10);
		net_retire(&nic->c);
		fake_forget(nic);
		fake_forget(b->nic);
		send_flows(64);
		assert_true(until(b, got_flows, 64));
		assert_int_equal(nic->n_got, 0);
		fake_forget(b->nic);
	}
	net_retire(&nic->c); /* once more does nothing */
	net_disconnect(&nic->c);
	fake_free(nic);
}

static void refuse(const char *netdev, int code, const char *word)
{
	struct error err = { 0 };
	struct loop *loop = loop_new("test", &err);
	int before = count_fds(), ret = try_netdev(loop, netdev, &err);

	if (ret != -code || !strstr(err.msg, word))
		print_error("%s: %d, %s\n", netdev, ret, err.msg);
	assert_int_equal(ret, -code);
	assert_non_null(strstr(err.msg, word));
	assert_null(net_client_find("net0", 0));
	assert_int_equal(count_fds(), before);
	loop_free(loop);
}

static void single_queue_interface(void **state)
{
	(void)state;
	assert_true(run_ip("tuntap add vtap1 mode tap"));
	refuse("tap,id=net0,ifname=vtap1,script=no,queues=2", EINVAL, "multi_queue");
	assert_true(run_ip("tuntap del vtap1 mode tap"));
}

/* ---- inherited queues ---- */

/* As what an execve() left open: without close-on-exec. */
static int open_queue(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(flags | IFF_TAP | IFF_NO_PI) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), high;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	high = fcntl(fd, F_DUPFD, 100);
	close(fd);
	return high;
}

static void inherited_queues(void **state)
{
	int one = open_queue("vtap0", IFF_MULTI_QUEUE | IFF_VNET_HDR);
	int two = open_queue("vtap0", IFF_MULTI_QUEUE | IFF_VNET_HDR);
	struct error err;
	char text[100];

	(void)state;
	snprintf(text, sizeof(text), "tap,id=net0,fds=%d:%d", one, two);
	bench_open(b, text, tap_up);
	assert_true(pings_work(b, 1, 64, 1000));
	assert_non_null(net_client_find("net0", 1));
	net_quiesce(&b->nic->c);
	assert_int_equal(netdev_del("net0", &err), 0);
	fake_free(b->nic);
	loop_free(b->loop);
	assert_int_equal(fcntl(two, F_GETFD), -1);
}

static void bad_queues(void **state)
{
	int one = open_queue("vtap0", IFF_MULTI_QUEUE | IFF_VNET_HDR), other = open_queue("vtap1", 0);
	char text[100];

	(void)state;
	snprintf(text, sizeof(text), "tap,id=net0,fds=%d:%d", one, one);
	refuse(text, EINVAL, "twice");
	fcntl(one, F_SETFD, 0); /* it was taken */
	snprintf(text, sizeof(text), "tap,id=net0,fds=%d:%d", one, other);
	refuse(text, EINVAL, "vnet headers");
	fcntl(one, F_SETFD, 0);
	snprintf(text, sizeof(text), "tap,id=net0,fds=%d:", one);
	refuse(text, EINVAL, "descriptor");
	refuse("tap,id=net0,fds=", EINVAL, "descriptor");
	refuse("tap,id=net0,fds=5:6,queues=2", EINVAL, "queues");
	refuse("tap,id=net0,fds=5:6,fd=5", EINVAL, "fd=5");
	refuse("tap,id=net0,queues=0", ERANGE, "queues");
	refuse("tap,id=net0,queues=257", ERANGE, "256");
	assert_int_equal(fcntl(one, F_GETFD), FD_CLOEXEC);
	close(one);
	close(other);
}

/* ---- ports of a bridge ---- */

static void make_bridge(const char *name)
{
	if (!run_ip("link add %s type bridge", name)) {
		print_message("no bridge in this kernel\n");
		skip();
	}
	assert_true(run_ip("link set %s up mtu 1400", name));
	assert_true(run_ip("addr add 10.0.2.2/24 dev %s", name));
}

static void check_port(const char *netdev)
{
	make_bridge("vbr0");
	bench_open(b, netdev, NULL);
	assert_true(pings_work(b, 1, 64, 1000));
	assert_true(pings_work(b, 100, 4, 1372)); /* the bridge's MTU is the port's */
	bench_close(b);
	assert_int_equal(system("test -z \"$(ls /sys/class/net/vbr0/brif 2>/dev/null)\""), 0);
	run_ip("link del vbr0");
}

static void bridge_by_ourselves(void **state)
{
	(void)state;
	check_port("bridge,id=net0,br=vbr0");
	check_port("tap,id=net0,br=vbr0");
}

static void bridge_by_helper(void **state)
{
	const char *helper = tap_helper_default();
	char text[200];

	(void)state;
	if (!helper) {
		print_message("no qemu-bridge-helper (package qemu-system-common)\n");
		skip();
	}
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", "/etc", "tmpfs", 0, NULL), 0);
	assert_int_equal(system("mkdir /etc/qemu && echo 'allow vbr0' >/etc/qemu/bridge.conf"), 0);
	snprintf(text, sizeof(text), "bridge,id=net0,br=vbr0,helper=%s", helper);
	check_port(text);
	snprintf(text, sizeof(text), "tap,id=net0,br=vbr0,helper=exec %s", helper);
	check_port(text);
	snprintf(text, sizeof(text), "bridge,id=net0,br=vbr1,helper=%s", helper);
	refuse(text, EIO, "status 1");
}

static void bad_bridges(void **state)
{
	(void)state;
	refuse("bridge,id=net0,br=vbr7", ENODEV, "vbr7");
	refuse("bridge,id=net0,br=lo", EINVAL, "no bridge");
	refuse("bridge,id=net0,br=", EINVAL, "br=");
	refuse("bridge,id=net0,br=a234567890123456", EINVAL, "15");
	refuse("bridge,id=net0,br=a/b", EINVAL, "a/b");
	refuse("bridge,id=net0,helper=/nonexistent", ENOENT, "/nonexistent");
	refuse("bridge,id=net0,helper=/bin/true", EPROTO, "no descriptor");
	refuse("bridge,id=net0,helper=/bin/false", EIO, "status 1");
	refuse("tap,id=net0,helper=/bin/true,ifname=x", EINVAL, "ifname");
	refuse("tap,id=net0,helper=/bin/true,fd=5", EINVAL, "helper");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_queues_with_a_peer_get_frames),
		TEST(every_queue_with_a_peer_gets_frames),
		TEST(a_queue_that_is_retired_gets_none),
		cmocka_unit_test(single_queue_interface),
		cmocka_unit_test(inherited_queues),
		cmocka_unit_test(bad_queues),
		cmocka_unit_test(bridge_by_ourselves),
		cmocka_unit_test(bridge_by_helper),
		cmocka_unit_test(bad_bridges),
	};

	if (!bench_isolate())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
