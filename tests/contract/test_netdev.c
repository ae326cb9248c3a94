/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract of net clients, held against every kind of backend there is, and against a tap with every kind of filter in
 * its wire. A kind without a row here fails the test.
 */
#include "../unit/unit.h"

#include <unistd.h>

#include "bench.h"
#include "ctl/types.h"
#include "responder.h"

/* ---- the kinds ---- */

struct row {
	const char *type;		/* there may be several of one */
	const char *netdev;		/* options, with id=net0 */
	const char *object;		/* of a filter: its options */
	void (*after)(struct bench *b); /* what the far end needs */
	size_t largest_ping;
	size_t waiting;	      /* answers of 64 bytes that surely wait in it while the NIC has no room */
	void (*before)(void); /* what is there before it is made */
	void (*end)(void);    /* and goes after it */
};

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

static void far_dgram(struct bench *bb)
{
	join_far(bb, DGRAM("far0", "inet", "host=127.0.0.1,local.port=5002", "host=127.0.0.1,remote.port=5001"));
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
	assert_true(until(bb, link_is_up, 0, 20000));
}

static void tcp6_connects(struct bench *bb)
{
	struct responder r = tcp_at("[::1]:1234", false);

	responder_start(&r);
	assert_true(until(bb, link_is_up, 0, 20000));
}

static void wait_for_link(struct bench *bb)
{
	assert_true(until(bb, link_is_up, 0, 20000));
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

/* A socketpair, whose near end is what was inherited: descriptor 200. */
static void pair_up(void)
{
	struct responder r = { .fd = -1 };
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(dup2(fd[0], 200), 200);
	r.fd = fd[1];
	responder_start(&r);
	close(fd[0]);
	close(fd[1]);
	bench_inherits(1);
}

/* passt hands pings on to the host, here to an address of its own; it takes addresses from where the default route leads. */
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

/* clang-format off */
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
	{ .type = "dgram",
	  .netdev = DGRAM("net0", "inet", "host=127.0.0.1,local.port=5001", "host=127.0.0.1,remote.port=5002"),
	  .after = far_dgram,
	  .largest_ping = 1472,
	  .waiting = 64 },
	{ .type = "hubport",
	  .netdev = "hubport,id=net0,hubid=0",
	  .after = hub_with_tap,
	  .largest_ping = 1472,
	  .waiting = 64 },
	SOCKET_ROW("socket", "socket,id=net0,listen=127.0.0.1:1234", .after = tcp_connects),
	SOCKET_ROW("socket", "socket,id=net0,connect=127.0.0.1:1234", .before = tcp_listens),
	SOCKET_ROW("socket", "socket,id=net0,fd=200", .before = pair_up),
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

/* How a filter stands in its wire makes no difference to the ends. */
#define FILTER(name, options)                                                                                      \
	{                                                                                                          \
		.type = name, .netdev = "tap,id=net0,ifname=vtap0,script=no,downscript=no",                        \
		.object = name ",id=f0,netdev=net0," options, .after = tap_up, .largest_ping = 1472, .waiting = 64 \
	}

static const struct row filter_rows[] = {
	FILTER("filter-buffer", "interval=500"),
	FILTER("filter-dump", "file=/dev/null,format=pcapng,expr=not arp"),
	FILTER("filter-impair", "delay=500us,jitter=500us,limit=2M,seed=1"),
};

static const struct row *row;
static struct bench bench, *const b = &bench;

static int setup(void **state)
{
	(void)state;
	if (row->before)
		row->before();
	b->object = row->object;
	bench_open(b, row->netdev, row->after);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_close(b);
	if (row->end)
		row->end();
	return 0;
}

/* ---- the contract ---- */

static void batches(void **state)
{
	static const unsigned sizes[] = { 1, 2, 17, 64 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_true(pings_work(b, i * 100, MIN(sizes[i], (unsigned)row->waiting), 64));
	assert_true(pings_work(b, 1000, 4, row->largest_ping));
	assert_true(pings_work(b, 2000, 1, 0));
	assert_true(counter_get(&b->nic->c.tx.bytes) > 0);
}

static bool got_at_least(struct bench *bb, unsigned n)
{
	return bb->nic->n_got >= n;
}

static unsigned all_of(struct bench *bb, unsigned arg)
{
	return count_pongs(bb, arg, (unsigned)row->waiting, 64);
}

static bool all_here(struct bench *bb, unsigned arg)
{
	return all_of(bb, arg) == row->waiting;
}

/* The NIC has room for some frames, then for none, then again: what waited comes, nothing is lost. */
static void no_room_then_wake(void **state)
{
	unsigned n = (unsigned)row->waiting;

	(void)state;
	fake_room(b->nic, 5);
	assert_int_equal(send_pings(b, 1, n, 64), n);
	assert_true(until(b, got_at_least, 5, 5000));
	idle(b, 50);
	assert_int_equal(b->nic->n_got, 5);
	check_accounts(b);
	fake_room(b->nic, FAKE_ALL);
	assert_true(until(b, all_here, 1, 5000));
}

/* While there is no room nothing is tried over and over. */
static void no_spinning(void **state)
{
	uint64_t turns;

	(void)state;
	fake_room(b->nic, 0);
	assert_int_equal(send_pings(b, 1, 4, 64), 4);
	idle(b, 50);
	turns = counter_get(&loop_stats(b->loop)->watches);
	idle(b, 100);
	assert_true(counter_get(&loop_stats(b->loop)->watches) - turns < 5);
	fake_room(b->nic, FAKE_ALL);
	idle(b, 50);
	assert_int_equal(count_pongs(b, 1, 4, 64), 4);
}

/* The NIC refuses frames in the middle of a batch: they are counted, the others arrive. */
static bool refused_some(struct bench *bb, unsigned n)
{
	return counter_get(&bb->nic->c.rx.dropped[NET_DROP_FILTER_MAC]) >= n;
}

static void refused_in_mid_batch(void **state)
{
	(void)state;
	b->nic->refuse = NET_DROP_FILTER_MAC;
	assert_int_equal(send_pings(b, 1, 8, 64), 8);
	assert_true(until(b, refused_some, 8, 5000));
	b->nic->refuse = NET_OK;
	assert_true(pings_work(b, 100, 8, 64));
	check_accounts(b);
}

static void quiesced_in_mid_batch(void **state)
{
	unsigned n = (unsigned)row->waiting;

	(void)state;
	fake_room(b->nic, 3);
	assert_int_equal(send_pings(b, 1, n, 64), n);
	assert_true(until(b, got_at_least, 3, 5000));
	net_quiesce(b->back);
	check_accounts(b);
	fake_room(b->nic, FAKE_ALL);
	idle(b, 50);
	assert_int_equal(b->nic->n_got, 3);
	assert_int_equal(send_pings(b, 500, 1, 64), 0); /* not now, and it is not lost */
	net_start(b->back);
	assert_true(until(b, all_here, 1, 5000));
}

static void offloads_changed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		uint32_t takes = i % 4 == 0 ? NET_OFF_ALL : i % 4 == 1 ? 0 : i % 4 == 2 ? NET_OFF_CSUM : NET_OFF_TSO4;

		fake_room(b->nic, 0);
		assert_int_equal(send_pings(b, i * 10, 4, 64), 4);
		idle(b, 5);
		net_takes_changed(&b->nic->c, takes);
		fake_room(b->nic, FAKE_ALL);
		assert_true(pings_work(b, 5000 + i * 10, 4, row->largest_ping));
		for (unsigned k = 0; k < b->nic->n_got; k++)
			assert_int_equal(frame_needs(&b->nic->got[k].meta) & ~takes, 0);
		check_accounts(b);
	}
}

static void odd_lengths(void **state)
{
	static const size_t lens[] = { 0, 1, 13, 14, 15, 1519, 9019, 65535, NET_FRAME_MAX, NET_FRAME_MAX + 1 };
	static uint8_t p[NET_FRAME_MAX + 1];
	struct iovec arena[3 * NET_BATCH];
	unsigned too_big = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		struct batch batch = { .iov = arena };
		unsigned n;

		too_big += lens[i] > b->back->max_frame;
		make_plain(p, lens[i], i);
		batch_add(&batch, p, lens[i], NULL);
		n = net_send(&b->nic->c, &batch);
		assert_int_equal(n, 1);
		net_count_tx_in(&b->nic->c, n);
		idle(b, 10);
		check_accounts(b);
	}
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_TOO_SHORT]), 3);
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_TOO_BIG]), too_big);
	assert_true(pings_work(b, 1, 4, 64));
}

/* A frame of very many pieces, of empty ones among them. */
static void many_pieces(void **state)
{
	static uint8_t p[2000];
	static struct iovec arena[NET_IOV_MAX + 1];
	size_t len = make_ping(b, p, 1, 900);

	(void)state;
	for (unsigned cnt = 943; cnt <= NET_IOV_MAX; cnt += NET_IOV_MAX - 943) {
		struct batch batch = { .iov = arena, .n = 1 };

		len = make_ping(b, p, cnt, 900);
		for (unsigned i = 0; i < cnt; i++)
			arena[1 + i] = (struct iovec){ p + MIN((size_t)i, len), i < len ? 1 : 0 };
		batch.frame[0] = (struct frame){ .iov = 1, .cnt = cnt, .len = (uint32_t)len };
		assert_int_equal(net_send(&b->nic->c, &batch), 1);
		net_count_tx_in(&b->nic->c, 1);
		assert_true(until(b, got_at_least, 1, 5000));
		assert_int_equal(count_pongs(b, cnt, 1, 900), 1);
		fake_forget(b->nic);
	}
}

/* A NIC whose windows are smaller than the frames, but grow. */
static void small_windows(void **state)
{
	(void)state;
	b->nic->window = 100;
	assert_true(pings_work(b, 1, 16, row->largest_ping));
	b->nic->window = 0;
	assert_true(pings_work(b, 100, 16, row->largest_ping));
}

static void link_down_and_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct net_client *which = i & 1 ? b->back : &b->nic->c;

		fake_room(b->nic, 2);
		assert_int_equal(send_pings(b, i * 100, 10, 64), 10);
		assert_true(until(b, got_at_least, 2, 5000));
		net_set_link(which, false);
		idle(b, 20);
		assert_int_equal(b->nic->n_got, 2);
		assert_int_equal(send_pings(b, i * 100, 10, 64), 10);
		idle(b, 20);
		fake_room(b->nic, FAKE_ALL);
		net_set_link(which, true);
		idle(b, 20);
		fake_forget(b->nic);
		assert_true(pings_work(b, 1000 + i * 100, 10, 64));
		check_accounts(b);
	}
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_LINK_DOWN]), 40);
}

/* Traffic in flight when it goes: bench_close() looks for what is left. */
static void removed_under_traffic(void **state)
{
	(void)state;
	fake_room(b->nic, 1);
	assert_int_equal(send_pings(b, 1, 10, 64), 10);
	idle(b, 5);
}

/* ---- all of them ---- */

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int run_row(const struct row *r)
{
	const struct CMUnitTest tests[] = {
		TEST(batches),
		TEST(no_room_then_wake),
		TEST(no_spinning),
		TEST(refused_in_mid_batch),
		TEST(quiesced_in_mid_batch),
		TEST(offloads_changed),
		TEST(odd_lengths),
		TEST(many_pieces),
		TEST(small_windows),
		TEST(link_down_and_up),
		TEST(removed_under_traffic),
	};

	row = r;
	return cmocka_run_group_tests_name(r->netdev, tests, NULL, NULL);
}

/* All rows of a type; false if there is none or one failed. */
static bool run_type(const char *type)
{
	unsigned n = 0, failed = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].type, type))
			continue;
		n++;
		failed += run_row(&rows[i]) != 0;
	}
	if (!n)
		printf("%s: a backend without a row in this test\n", type);
	return n && !failed;
}

static int failed;
static const char *only; /* this kind */

static void run_filter(const struct class *c, void *arg)
{
	(void)arg;
	if (only && strcmp(only, c->type->name))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(filter_rows); i++) {
		if (!strcmp(filter_rows[i].type, c->type->name)) {
			failed |= run_row(&filter_rows[i]) != 0;
			return;
		}
	}
	printf("%s: a filter without a row in this test\n", c->type->name);
	failed = 1;
}

int main(int argc, char **argv)
{
	struct error err;

	only = argc > 1 ? argv[1] : NULL;
	if (!bench_isolate())
		return 77;
	for (const struct netdev_type *const *t = netdev_types; *t; t++) {
#ifdef __SANITIZE_ADDRESS__ /* refuses the way (RTLD_DEEPBIND) in which this library loads its modules */
		if (!strcmp((*t)->name, "vde"))
			continue;
#endif
		if ((*t)->unsupported || (only && strcmp(only, (*t)->name)))
			continue;
		if (!run_type((*t)->name))
			failed = 1;
	}
	if (types_init(all_types, &err))
		return 1;
	class_each("netfilter", false, run_filter, NULL);
	return failed;
}
