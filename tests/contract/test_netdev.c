/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract of net clients, held against every kind of backend there is. A kind without a row here fails the test.
 */
#include "../unit/unit.h"

#include <netinet/in.h>
#include <unistd.h>

#include "ctl/types.h"
#include "responder.h"
#include "suite.h"

/* ---- the kinds ---- */

static void tap_up(struct bench *b)
{
	(void)b;
	assert_true(run_ip("addr add 10.0.2.2/24 dev vtap0"));
	assert_true(run_ip("link set vtap0 up"));
}

static void make_veth(void)
{
	assert_true(run_ip("link add vwire0 type veth peer name vfar0"));
	assert_true(run_ip("link set vwire0 up"));
	assert_true(run_ip("link set vfar0 up"));
	assert_true(run_ip("addr add 10.0.2.2/24 dev vfar0"));
}

static void remove_veth(void)
{
	run_ip("link del vwire0");
}

static void make_bridge(void)
{
	if (system("PATH=$PATH:/sbin:/usr/sbin; ip link show vbr0 >/dev/null 2>&1 || "
		   "{ ip link add vbr0 type bridge && ip link set vbr0 up && ip addr add 10.0.2.2/24 dev vbr0; }") != 0)
		skip();
}

static void remove_bridge(void)
{
	run_ip("link del vbr0");
}

/* What is at the other side of the hub: a tap, on a port of its own. */
static void hub_with_tap(struct bench *bb)
{
	struct error err = { "" };

	assert_int_equal(try_netdev(bb->loop, "tap,id=far0,ifname=vtap0,script=no,downscript=no", &err), 0);
	assert_int_equal(try_netdev(bb->loop, "hubport,id=far1,hubid=0,netdev=far0", &err), 0);
	tap_up(bb);
}

/* At the other end another backend of ours, on a hub with a tap. */
static void join_far(struct bench *bb, const char *netdev)
{
	struct error err = { "" };

	assert_int_equal(try_netdev(bb->loop, netdev, &err), 0);
	assert_int_equal(try_netdev(bb->loop, "hubport,id=far1,hubid=0,netdev=far0", &err), 0);
	assert_int_equal(try_netdev(bb->loop, "tap,id=far2,ifname=vtap0,script=no,downscript=no", &err), 0);
	assert_int_equal(try_netdev(bb->loop, "hubport,id=far3,hubid=0,netdev=far2", &err), 0);
	tap_up(bb);
}

/* clang-format off */
#define DGRAM(id, kind, here, there) "dgram,id=" id ",local.type=" kind ",local." here ",remote.type=" kind ",remote." there
/* clang-format on */

/* clang-format off */
#define L2TP(id, here, there) "l2tpv3,id=" id ",src=" here ",dst=" there
#define TUNNEL_UDP ",udp=on,txsession=0xfffffffe,rxsession=7,cookie64=on,txcookie=0x123456789abcdef0,rxcookie=5,counter=on,offset=3"
#define TUNNEL_UDP_FAR ",udp=on,rxsession=0xfffffffe,txsession=7,cookie64=on,rxcookie=0x123456789abcdef0,txcookie=5,counter=on,offset=3"
#define TUNNEL_IP ",txsession=1,txcookie=9,rxcookie=9"
/* clang-format on */

static void far_tunnel_udp(struct bench *bb)
{
	join_far(bb, L2TP("far0", "127.0.0.1", "127.0.0.1") ",srcport=1702,dstport=1701" TUNNEL_UDP_FAR);
}

static void far_tunnel_ip(struct bench *bb)
{
	join_far(bb, L2TP("far0", "127.0.0.2", "127.0.0.1") TUNNEL_IP);
}

static void far_tunnel_ip6(struct bench *bb)
{
	join_far(bb, L2TP("far0", "fd00::2", "fd00::1") ",ipv6=on" TUNNEL_IP);
}

/* The switch's own port on the host is the far end. */
static void start_switch(void)
{
	assert_int_equal(
		system("PATH=$PATH:/sbin:/usr/sbin; rm -rf vde.ctl vde.pid;"
		       "vde_switch -s vde.ctl -tap vtap0 -d -p vde.pid </dev/null >/dev/null;"
		       "for i in $(seq 1000); do"
		       "	[ -S vde.ctl/ctl -a -s vde.pid ] && ip link show vtap0 >/dev/null 2>&1 && exit; sleep 0.02;"
		       "done; exit 1"),
		0);
	assert_true(run_ip("addr add 10.0.2.2/24 dev vtap0"));
	assert_true(run_ip("link set vtap0 up"));
}

static void stop_switch(void)
{
	assert_int_equal(system("p=$(cat vde.pid); kill $p; while [ -d /proc/$p ]; do sleep 0.01; done"), 0);
}

/* ---- the other end of a socket ---- */

static struct responder tcp_at(const char *hostport, bool listens)
{
	struct responder r = { .fd = -1, .listens = listens };
	struct error err;
	struct addr a;

	assert_int_equal(addr_parse_hostport(hostport, 0, &a, &err), 0);
	r.at = a.e[0];
	return r;
}

static void tcp_listens(void)
{
	struct responder r = tcp_at("127.0.0.1:1234", true);

	responder_start(&r);
}

static bool link_is_up(struct bench *bb, unsigned arg)
{
	(void)arg;
	return net_link_up(bb->back);
}

static void tcp_connects(struct bench *bb)
{
	struct responder r = tcp_at("127.0.0.1:1234", false);

	responder_start(&r);
	assert_true(until(bb, link_is_up, 0));
}

static void tcp6_connects(struct bench *bb)
{
	struct responder r = tcp_at("[::1]:1234", false);

	responder_start(&r);
	assert_true(until(bb, link_is_up, 0));
}

static void wait_for_link(struct bench *bb)
{
	assert_true(until(bb, link_is_up, 0));
}

static struct responder unix_at(const char *path, bool abstract, bool listens)
{
	struct addr_opts o = { .type = (char *)"unix", .path = (char *)path, .abstract = abstract, .tight = true };
	struct responder r = { .fd = -1, .listens = listens };
	struct error err;
	struct addr a;

	assert_int_equal(addr_resolve(&o, "addr", 0, &a, &err), 0);
	r.at = a.e[0];
	return r;
}

static void unix_listens(void)
{
	struct responder r = unix_at("far.sock", false, true);

	unlink("far.sock");
	responder_start(&r);
}

static void unix_connects(struct bench *bb)
{
	struct responder r = unix_at("near.sock", false, false);

	responder_start(&r);
	wait_for_link(bb);
}

static void abstract_connects(struct bench *bb)
{
	struct responder r = unix_at("vwire-contract", true, false);

	responder_start(&r);
	wait_for_link(bb);
}

static void udp_between(const char *near, const char *far)
{
	struct responder r = tcp_at(near, false);

	r.from = tcp_at(far, false).at;
	r.dgram = true;
	responder_start(&r);
}

static void udp_far(void)
{
	udp_between("127.0.0.1:5001", "127.0.0.1:5002");
}

static void udp6_far(void)
{
	udp_between("[::1]:5001", "[::1]:5002");
}

/* It hears the group, and answers to it. */
static void group_far(void)
{
	struct ip_mreqn m = { .imr_address.s_addr = htonl(INADDR_LOOPBACK) };
	struct responder r = tcp_at("230.0.0.1:5003", false);
	int on = 1;

	r.dgram = true;
	r.fd = socket(AF_INET, SOCK_DGRAM, 0);
	m.imr_multiaddr = ((struct sockaddr_in *)&r.at.sa)->sin_addr;
	assert_int_equal(setsockopt(r.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(r.fd, (struct sockaddr *)&r.at.sa, r.at.len), 0);
	assert_int_equal(setsockopt(r.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), 0);
	assert_int_equal(setsockopt(r.fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)), 0);
	responder_start(&r);
	close(r.fd);
}

static void unix_far(void)
{
	struct responder r = unix_at("near.sock", false, false);

	r.from = unix_at("far.sock", false, false).at;
	r.dgram = true;
	unlink("far.sock");
	responder_start(&r);
}

static void unix_far_ends(void)
{
	responders_end();
	unlink("far.sock");
}

static void ip6_addresses(void)
{
	if (system("PATH=$PATH:/sbin:/usr/sbin; ip addr show dev lo | grep -q fd00::2 || { "
		   "ip addr add fd00::1/128 dev lo nodad && ip addr add fd00::2/128 dev lo nodad; }"))
		skip();
}

/* A socketpair, whose near end is what was inherited: descriptor 200. */
static void pair_of(int type)
{
	struct responder r = { .fd = -1, .dgram = type == SOCK_DGRAM };
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, type, 0, fd), 0);
	assert_int_equal(dup2(fd[0], 200), 200);
	r.fd = fd[1];
	responder_start(&r);
	close(fd[0]);
	close(fd[1]);
	bench_inherits(1);
}

/*
 * passt hands pings on to the host, here to an address of its own; it takes addresses from where the default route
 * leads.
 */
static void passt_uplink(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ping_group_range", "w");

	if (system("command -v passt >/dev/null") != 0)
		skip();
	if (f) {
		fputs("0 2147483647", f);
		fclose(f);
	}
	if (run_ip("link show uplink >/dev/null 2>&1"))
		return;
	assert_true(run_ip("tuntap add uplink mode tap"));
	assert_true(run_ip("addr add 10.0.2.15/24 dev uplink"));
	assert_true(run_ip("link set uplink up"));
	assert_true(run_ip("route add default via 10.0.2.1"));
	assert_true(run_ip("addr add 10.0.2.2/32 dev lo"));
}

static void remove_uplink(void)
{
	run_ip("addr del 10.0.2.2/32 dev lo");
	run_ip("link del uplink");
}

static void pair_up(void)
{
	pair_of(SOCK_STREAM);
}

static void dgram_pair_up(void)
{
	pair_of(SOCK_DGRAM);
}

/* clang-format off */
#define DGRAM_ROW(t, text, n, begin, finish) { .type = t, .netdev = text, .largest_ping = 9000, .waiting = n, .before = begin, .end = finish }
#define SOCKET_ROW(t, text, ...) { .type = t, .netdev = text, .largest_ping = 9000, .waiting = 64, .end = responders_end, __VA_ARGS__ }
/* clang-format on */

static const struct row rows[] = {
	{ .type = "af-xdp",
	  .netdev = "af-xdp,id=net0,ifname=vwire0,mode=skb",
	  .largest_ping = 1472,
	  .waiting = 64,
	  .before = make_veth,
	  .end = remove_veth },
	{ .type = "bridge",
	  .netdev = "bridge,id=net0,br=vbr0",
	  .largest_ping = 1472,
	  .waiting = 64,
	  .before = make_bridge,
	  .end = remove_bridge },
	DGRAM_ROW("dgram", DGRAM("net0", "inet", "host=127.0.0.1,local.port=5001", "host=127.0.0.1,remote.port=5002"),
		  64, udp_far, responders_end),
	DGRAM_ROW("dgram", DGRAM("net0", "inet", "host=::1,local.port=5001", "host=::1,remote.port=5002"), 64, udp6_far,
		  responders_end),
	DGRAM_ROW("dgram", DGRAM("net0", "unix", "path=near.sock", "path=far.sock"), 8, unix_far, unix_far_ends),
	DGRAM_ROW("dgram", "dgram,id=net0,local.type=fd,local.str=200", 8, dgram_pair_up, responders_end),
	DGRAM_ROW("dgram",
		  "dgram,id=net0,remote.type=inet,remote.host=230.0.0.1,remote.port=5003,local.type=inet,"
		  "local.host=127.0.0.1,local.port=0",
		  64, group_far, responders_end),
	{ .type = "hubport",
	  .netdev = "hubport,id=net0,hubid=0",
	  .after = hub_with_tap,
	  .largest_ping = 1472,
	  .waiting = 64 },
	{ .type = "l2tpv3",
	  .netdev = L2TP("net0", "127.0.0.1", "127.0.0.1") ",srcport=1701,dstport=1702" TUNNEL_UDP,
	  .after = far_tunnel_udp,
	  .largest_ping = 1472,
	  .waiting = 64 },
	{ .type = "l2tpv3",
	  .netdev = L2TP("net0", "127.0.0.1", "127.0.0.2") TUNNEL_IP,
	  .after = far_tunnel_ip,
	  .largest_ping = 1472,
	  .waiting = 64 },
	{ .type = "l2tpv3",
	  .netdev = L2TP("net0", "fd00::1", "fd00::2") ",ipv6=on" TUNNEL_IP,
	  .after = far_tunnel_ip6,
	  .largest_ping = 1472,
	  .waiting = 64,
	  .before = ip6_addresses },
	SOCKET_ROW("socket", "socket,id=net0,listen=127.0.0.1:1234", .after = tcp_connects),
	SOCKET_ROW("socket", "socket,id=net0,connect=127.0.0.1:1234", .before = tcp_listens),
	SOCKET_ROW("socket", "socket,id=net0,fd=200", .before = pair_up),
	DGRAM_ROW("socket", "socket,id=net0,udp=127.0.0.1:5002,localaddr=127.0.0.1:5001", 64, udp_far, responders_end),
	DGRAM_ROW("socket", "socket,id=net0,mcast=230.0.0.1:5003,localaddr=127.0.0.1", 64, group_far, responders_end),
	DGRAM_ROW("socket", "socket,id=net0,fd=200", 8, dgram_pair_up, responders_end),
	SOCKET_ROW("stream", "stream,id=net0,server=on,addr.type=inet,addr.host=::1,addr.port=1234",
		   .after = tcp6_connects),
	SOCKET_ROW("stream", "stream,id=net0,addr.type=inet,addr.host=localhost,addr.port=1234,addr.ipv4=on",
		   .before = tcp_listens),
	SOCKET_ROW("stream", "stream,id=net0,server=on,addr.type=unix,addr.path=near.sock", .after = unix_connects),
	SOCKET_ROW("stream", "stream,id=net0,addr.type=unix,addr.path=far.sock,reconnect-ms=1000",
		   .before = unix_listens, .after = wait_for_link),
	SOCKET_ROW("stream", "stream,id=net0,server=on,addr.type=unix,addr.path=vwire-contract,addr.abstract=on",
		   .after = abstract_connects),
	SOCKET_ROW("stream", "stream,id=net0,addr.type=fd,addr.str=200", .before = pair_up),
	{ .type = "passt",
	  .netdev = "passt,id=net0,ipv6=off",
	  .largest_ping = 3000, /* sixteen of them are as much as a socket for pings holds */
	  .waiting = 16,
	  .before = passt_uplink,
	  .end = remove_uplink },
	{ .type = "tap",
	  .netdev = "tap,id=net0,ifname=vtap0,script=no,downscript=no",
	  .after = tap_up,
	  .largest_ping = 1472,
	  .waiting = 64 },
	{ .type = "user", .netdev = "user,id=net0", .largest_ping = 1400, .waiting = 16 },
	{ .type = "vde",
	  .netdev = "vde,id=net0,sock=vde.ctl",
	  .largest_ping = 1472,
	  .waiting = 8,
	  .before = start_switch,
	  .end = stop_switch },
};

/* All rows of a type; false if there is none or one failed. */
static bool run_type(const char *type)
{
	unsigned n = 0, failed = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].type, type))
			continue;
		n++;
		failed += suite_run(&rows[i]) != 0;
	}
	if (!n)
		printf("%s: a backend without a row in this test\n", type);
	return n && !failed;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (!bench_isolate())
		return 77;
	for (const struct netdev_type *const *t = netdev_types; *t; t++) {
#ifdef __SANITIZE_ADDRESS__ /* refuses the way (RTLD_DEEPBIND) in which this library loads its modules */
		if (!strcmp((*t)->name, "vde"))
			continue;
#endif
		if ((*t)->unsupported || (argc > 1 && strcmp(argv[1], (*t)->name)))
			continue;
		if (!run_type((*t)->name))
			failed = 1;
	}
	return failed;
}
