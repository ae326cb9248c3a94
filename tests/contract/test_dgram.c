/* SPDX-License-Identifier: BSD-2-Clause */
/* What datagram backends add to the contract: real sockets at the other end, which come, go, flood and forge. */
#include "../unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"
#include "bench.h"
#include "net/netdev.h"

static struct bench bench, *const b = &bench;
static int far = -1, fds;

/* ---- the wire ---- */

static struct endpoint inet_at(const char *host, unsigned port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct endpoint e = { .len = sizeof(in) };

	inet_pton(AF_INET, host, &in.sin_addr);
	memcpy(&e.sa, &in, sizeof(in));
	return e;
}

static struct endpoint unix_at(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct endpoint e = { .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1) };

	strcpy(un.sun_path, path);
	memcpy(&e.sa, &un, sizeof(un));
	return e;
}

/* A plain socket, bound to `at`, that talks to `to`. */
static int plain_socket(struct endpoint at, struct endpoint to)
{
	int fd = socket(at.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = 4 << 20;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	assert_int_equal(bind(fd, (struct sockaddr *)&at.sa, at.len), 0);
	if (to.len)
		assert_int_equal(connect(fd, (struct sockaddr *)&to.sa, to.len), 0);
	return fd;
}

static void open_wire(const char *netdev)
{
	struct error err = { "" };

	b->loop = loop_new("test", &err);
	if (try_netdev(b->loop, netdev, &err)) {
		print_error("%s\n", err.msg);
		assert_true(false);
	}
	b->back = net_client_find("net0", 0);
	b->nic = fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, b->loop);
	assert_int_equal(net_connect(&b->nic->c, b->back, &err), 0);
	net_start(&b->nic->c);
	settle(b->loop);
}

static void close_wire(void)
{
	struct error err;

	net_quiesce(&b->nic->c);
	check_accounts(b);
	assert_int_equal(netdev_del("net0", &err), 0);
	assert_true(net_account_balanced(&b->nic->c.tx));
	fake_free(b->nic);
	loop_free(b->loop);
	b->loop = NULL;
	if (far >= 0)
		close(far);
	far = -1;
}

static int count_before(void **state)
{
	(void)state;
	fds = count_fds();
	return 0;
}

static int count_after(void **state)
{
	(void)state;
	if (b->loop) /* the test failed; the next one shall find nothing of it */
		close_wire();
	return count_fds() == fds ? 0 : -1;
}

#define UDP_AT	"127.0.0.1", 5001
#define UDP_FAR "127.0.0.1", 5002
#define UDP_WIRE                                                                                                     \
	"dgram,id=net0,local.type=inet,local.host=127.0.0.1,local.port=5001,remote.type=inet,remote.host=127.0.0.1," \
	"remote.port=5002"
#define UNIX_WIRE "dgram,id=net0,local.type=unix,local.path=near.sock,remote.type=unix,remote.path=far.sock"

static void open_udp(void)
{
	far = plain_socket(inet_at(UDP_FAR), inet_at(UDP_AT));
	open_wire(UDP_WIRE);
}

/* ---- frames ---- */

static uint8_t frames[NET_BATCH][NET_FRAME_MAX];
static struct iovec arena[3 * NET_BATCH];
static struct batch batch = { .iov = arena };

static void add(size_t len)
{
	make_plain(frames[batch.n], len, batch.n);
	batch_add(&batch, frames[batch.n], len, NULL);
}

static unsigned send_batch(void)
{
	unsigned n = net_send(&b->nic->c, &batch);

	net_count_tx_in(&b->nic->c, n);
	batch.n = 0;
	return n;
}

static ssize_t read_far(uint8_t *p, size_t size)
{
	struct pollfd poll_far = { .fd = far, .events = POLLIN };

	if (poll(&poll_far, 1, 5000) != 1)
		return -1;
	return recv(far, p, size, 0);
}

/* The frame that was number `seed` of a batch, of len bytes. */
static void expect_far(size_t len, unsigned seed)
{
	static uint8_t p[NET_FRAME_MAX + 1];
	ssize_t n = read_far(p, sizeof(p));

	assert_int_equal(n, len);
	assert_true(is_plain(p, len, seed));
}

static void far_sends(size_t len, unsigned seed)
{
	static uint8_t p[1 << 17];

	make_plain(p, len, seed);
	assert_int_equal(send(far, p, len, 0), len);
}

static bool got(struct bench *bb, unsigned n)
{
	return bb->nic->n_got >= n;
}

static bool dropped(struct bench *bb, unsigned why)
{
	return counter_get(&bb->back->tx.dropped[why]) > 0;
}

static void expect_got(unsigned at, size_t len, unsigned seed)
{
	assert_int_equal(b->nic->got[at].len, len);
	assert_true(is_plain(b->nic->got[at].bytes, len, seed));
}

/* ---- out ---- */

/* Runs of one length, with shorter and longer ones between, of one piece and of many: each is its own datagram. */
static void lengths_out(void **state)
{
	static const size_t len[] = {
		64, 64,	  64,	60,   64,   1500, 1500, 1500, 100,  100,  101,	101,   14,    14,
		14, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 8999, 65507, 65507, 60
	};

	(void)state;
	open_udp();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(len); i++)
			add(len[i]);
		assert_int_equal(send_batch(), ARRAY_SIZE(len));
		for (unsigned i = 0; i < ARRAY_SIZE(len); i++)
			expect_far(len[i], i);
	}
	assert_int_equal(counter_get(&b->back->rx.out), 3 * ARRAY_SIZE(len));
	close_wire();
}

static void full_batches_out(void **state)
{
	(void)state;
	open_udp();
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < NET_BATCH; i++)
			add(64);
		assert_int_equal(send_batch(), NET_BATCH);
		for (unsigned i = 0; i < NET_BATCH; i++)
			expect_far(64, i);
	}
	close_wire();
}

/* A path whose MTU is below the datagrams: they are fragmented as ever, and small ones still go in runs. */
static void small_mtu(void **state)
{
	(void)state;
	assert_true(run_ip("link set lo mtu 1400"));
	open_udp();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 30; i++)
			add(i < 20 ? 1500 : 200);
		assert_int_equal(send_batch(), 30);
		for (unsigned i = 0; i < 30; i++)
			expect_far(i < 20 ? 1500 : 200, i);
	}
	assert_int_equal(counter_get(&b->back->rx.out), 90);
	close_wire();
	assert_true(run_ip("link set lo mtu 65536"));
}

/* Longer than a datagram can be: the core knows. */
static void too_long_out(void **state)
{
	(void)state;
	open_udp();
	add(65508);
	add(65507);
	add(NET_FRAME_MAX);
	assert_int_equal(send_batch(), 3);
	expect_far(65507, 1);
	assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_TOO_BIG]), 2);
	close_wire();
}

/* The kernel refuses (no route): dropped, said why, and the next goes. */
static void refused_out(void **state)
{
	(void)state;
	open_wire("dgram,id=net0,local.type=inet,local.host=127.0.0.1,local.port=5001,remote.type=inet,"
		  "remote.host=192.0.2.1,remote.port=5002");
	for (unsigned i = 0; i < 5; i++)
		add(i < 3 ? 64 : 70);
	assert_int_equal(send_batch(), 5);
	assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_WIRE_REFUSED]), 5);
	assert_true(run_ip("addr add 192.0.2.1/32 dev lo"));
	far = plain_socket(inet_at("192.0.2.1", 5002), (struct endpoint){ 0 });
	add(64);
	assert_int_equal(send_batch(), 1);
	expect_far(64, 0);
	close_wire();
	assert_true(run_ip("addr del 192.0.2.1/32 dev lo"));
}

/* ---- in ---- */

static void lengths_in(void **state)
{
	static const size_t len[] = { 14, 60, 1514, 9000, 65507 };

	(void)state;
	open_udp();
	for (unsigned i = 0; i < ARRAY_SIZE(len); i++)
		far_sends(len[i], i);
	assert_true(until(b, got, ARRAY_SIZE(len)));
	for (unsigned i = 0; i < ARRAY_SIZE(len); i++)
		expect_got(i, len[i], i);
	close_wire();
}

static void runts_in(void **state)
{
	(void)state;
	open_udp();
	for (unsigned i = 0; i < 14; i++)
		far_sends(i, i);
	far_sends(14, 7);
	assert_true(until(b, got, 1));
	expect_got(0, 14, 7);
	assert_int_equal(counter_get(&b->back->tx.dropped[NET_DROP_TOO_SHORT]), 14);
	assert_int_equal(counter_get(&b->back->tx.in), 15);
	close_wire();
}

/* Many datagrams that the kernel hands over as one. */
static void coalesced_in(void **state)
{
	static uint8_t p[64 * 200];
	int size = 200;

	(void)state;
	open_udp();
	if (setsockopt(far, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		skip();
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 64; i++)
			make_plain(p + 200 * (size_t)i, 200, i);
		assert_int_equal(send(far, p, sizeof(p) - 100, 0), sizeof(p) - 100);
		assert_true(until(b, got, 64));
		for (unsigned i = 0; i < 63; i++)
			expect_got(i, 200, i);
		expect_got(63, 100, 63);
		fake_forget(b->nic);
	}
	assert_int_equal(counter_get(&b->back->tx.in), 256);
	close_wire();
}

/* ... while the guest takes one at a time: what it has no room for waits, is accounted for, and comes. */
static void coalesced_without_room(void **state)
{
	static uint8_t p[64 * 100];
	int size = 100;

	(void)state;
	open_udp();
	if (setsockopt(far, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		skip();
	fake_room(b->nic, 0);
	for (unsigned i = 0; i < 64; i++)
		make_plain(p + 100 * (size_t)i, 100, i);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(send(far, p, sizeof(p), 0), sizeof(p));
	for (unsigned n = 1; n <= 192; n++) {
		fake_room(b->nic, 1);
		assert_true(until(b, got, n));
		expect_got(n - 1, 100, (n - 1) % 64);
		net_quiesce(b->back);
		check_accounts(b);
		net_start(b->back);
	}
	close_wire();
}

static void flood_while_stopped(void **state)
{
	unsigned sent = 0;

	(void)state;
	open_udp();
	fake_room(b->nic, 0);
	for (; sent < FAKE_KEPT; sent++) /* much more than the kernel keeps */
		far_sends(9000, sent);
	idle(b, 20);
	check_accounts(b);
	assert_true(counter_get(&b->back->tx.held) <= 64);
	fake_room(b->nic, FAKE_ALL);
	assert_true(until(b, got, 32));
	idle(b, 50);
	assert_true(b->nic->n_got < sent);
	for (unsigned i = 0; i < b->nic->n_got; i++)
		expect_got(i, 9000, i);
	close_wire();
}

/* Not from the peer: another port, another address. */
static void forged(void **state)
{
	int other = plain_socket(inet_at("127.0.0.1", 5003), inet_at(UDP_AT));
	int stranger = plain_socket(inet_at("127.0.0.2", 5002), inet_at(UDP_AT));
	uint8_t p[64];

	(void)state;
	open_udp();
	make_plain(p, 64, 3);
	assert_int_equal(send(other, p, 64, 0), 64);
	assert_int_equal(send(stranger, p, 64, 0), 64);
	far_sends(64, 1);
	assert_true(until(b, got, 1));
	expect_got(0, 64, 1);
	assert_int_equal(counter_get(&b->back->tx.dropped[NET_DROP_SPOOF]), 2);
	close(other);
	close(stranger);
	close_wire();
}

/* ---- unix sockets ---- */

static void unix_comes_and_goes(void **state)
{
	(void)state;
	open_wire(UNIX_WIRE);
	add(64);
	assert_int_equal(send_batch(), 1);
	assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_PEER_GONE]), 1);
	for (unsigned round = 0; round < 3; round++) {
		far = plain_socket(unix_at("far.sock"), unix_at("near.sock"));
		/* It is found when something is sent to it, or by itself within a second. */
		for (unsigned i = 0; i < 200 && recv(far, frames[0], 100, MSG_PEEK) < 0; i++) {
			add(64);
			assert_int_equal(send_batch(), 1);
			idle(b, 10);
		}
		expect_far(64, 0);
		far_sends(100, round);
		assert_true(until(b, got, 1));
		expect_got(0, 100, round);
		fake_forget(b->nic);
		close(far);
		unlink("far.sock");
		for (unsigned i = 0; i < 5; i++)
			add(64);
		assert_int_equal(send_batch(), 5);
	}
	far = -1;
	assert_true(counter_get(&b->back->rx.dropped[NET_DROP_PEER_GONE]) >= 16);
	close_wire();
	assert_int_equal(access("near.sock", F_OK), -1);
}

/* The peer was replaced by another one while we had nothing to say: it is heard within a second or so. */
static void unix_replaced(void **state)
{
	bool heard = false;

	(void)state;
	far = plain_socket(unix_at("far.sock"), (struct endpoint){ 0 });
	open_wire(UNIX_WIRE);
	close(far);
	unlink("far.sock");
	far = plain_socket(unix_at("far.sock"), (struct endpoint){ 0 });
	make_plain(frames[0], 64, 9);
	for (unsigned i = 0; i < 2000 && !heard; i++) {
		struct endpoint to = unix_at("near.sock");

		if (sendto(far, frames[0], 64, 0, (struct sockaddr *)&to.sa, to.len) < 0)
			assert_int_equal(errno, EPERM);
		idle(b, 10);
		heard = got(b, 1);
	}
	assert_true(heard);
	unlink("far.sock");
	close_wire();
}

/* A peer that does not read: its queue of ten fills, the guest's frames wait, and go on when it reads. */
static void unix_slow_reader(void **state)
{
	unsigned n, next = 0;

	(void)state;
	far = plain_socket(unix_at("far.sock"), (struct endpoint){ 0 });
	open_wire(UNIX_WIRE);
	for (unsigned i = 0; i < NET_BATCH; i++)
		add(200);
	b->nic->woken_for = 0;
	n = send_batch();
	assert_in_range(n, 1, NET_BATCH - 1);
	idle(b, 20);
	assert_int_equal(b->nic->woken_for, 0);
	assert_true(becomes_quiet(b));
	while (next < n)
		expect_far(200, next++);
	assert_true(until(b, has_room, 0));
	assert_int_equal(counter_get(&b->back->rx.out), n);
	unlink("far.sock");
	close_wire();
}

static void unix_too_long_and_strangers(void **state)
{
	int stranger;
	uint8_t p[64];
	struct endpoint to = unix_at("near.sock");

	(void)state;
	open_wire(UNIX_WIRE);
	/* Nobody is there yet: a datagram of anybody else is told by its sender. */
	stranger = plain_socket(unix_at("stranger.sock"), to);
	make_plain(p, 64, 1);
	assert_int_equal(send(stranger, p, 64, 0), 64);
	assert_true(until(b, dropped, NET_DROP_SPOOF));
	close(stranger);
	unlink("stranger.sock");
	far = plain_socket(unix_at("far.sock"), to);
	far_sends(NET_FRAME_MAX, 2);
	far_sends(100000, 3);
	far_sends(60, 4);
	assert_true(until(b, got, 2));
	expect_got(0, NET_FRAME_MAX, 2);
	expect_got(1, 60, 4);
	assert_int_equal(counter_get(&b->back->tx.dropped[NET_DROP_TRUNCATED]), 1);
	unlink("far.sock");
	close_wire();
}

/* A file that a killed one left is taken over; one in use is not. */
static void unix_stale_file(void **state)
{
	int dead = plain_socket(unix_at("near.sock"), (struct endpoint){ 0 });
	struct error err;
	struct loop *loop = loop_new("test", &err);

	(void)state;
	assert_int_equal(try_netdev(loop, UNIX_WIRE, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "near.sock"));
	loop_free(loop);
	close(dead);
	open_wire(UNIX_WIRE);
	close_wire();
	assert_int_equal(access("near.sock", F_OK), -1);
}

/* ---- inherited sockets ---- */

static void open_inherited(int near, const char *format)
{
	char text[100];
	int fd = fcntl(near, F_DUPFD, 200);

	close(near);
	snprintf(text, sizeof(text), format, fd);
	open_wire(text);
}

static void inherited_pair(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	open_inherited(pair[0], "dgram,id=net0,local.type=fd,local.str=%d");
	far = pair[1];
	for (unsigned i = 0; i < 5; i++)
		add(1000);
	assert_int_equal(send_batch(), 5);
	for (unsigned i = 0; i < 5; i++)
		expect_far(1000, i);
	far_sends(77, 1);
	assert_true(until(b, got, 1));
	expect_got(0, 77, 1);
	/* It ends: what is sent is dropped, and nothing spins. */
	close(far);
	far = -1;
	for (unsigned i = 0; i < 5; i++)
		add(64);
	assert_int_equal(send_batch(), 5);
	assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_PEER_GONE]), 5);
	close_wire();
}

/* A UDP socket that is connected hears of ICMP errors: they are nobody's fault, and pass. */
static void inherited_udp_refused(void **state)
{
	(void)state;
	open_inherited(plain_socket(inet_at(UDP_AT), inet_at(UDP_FAR)), "dgram,id=net0,local.type=fd,local.str=%d");
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 5; i++)
			add(64);
		assert_int_equal(send_batch(), 5);
		idle(b, 10);
	}
	assert_true(net_link_up(b->back));
	assert_true(becomes_quiet(b));
	far = plain_socket(inet_at(UDP_FAR), inet_at(UDP_AT));
	for (unsigned i = 0; i < 5; i++)
		add(64);
	assert_int_equal(send_batch(), 5);
	for (unsigned i = 0; i < 5; i++)
		expect_far(64, i);
	far_sends(64, 4);
	assert_true(until(b, got, 1));
	close_wire();
}

/* ---- multicast ---- */

#define GROUP_WIRE                                                                                                    \
	"dgram,id=net0,remote.type=inet,remote.host=230.0.0.1,remote.port=5004,local.type=inet,local.host=127.0.0.1," \
	"local.port=0"

static bool is_member(void)
{
	return system("grep -q 010000E6 /proc/net/igmp") == 0;
}

static int member(void)
{
	struct ip_mreqn m = { .imr_address.s_addr = htonl(INADDR_LOOPBACK) };
	struct endpoint at = inet_at("230.0.0.1", 5004);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	inet_pton(AF_INET, "230.0.0.1", &m.imr_multiaddr);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at.sa, at.len), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)), 0);
	return fd;
}

static void group(void **state)
{
	struct endpoint to = inet_at("230.0.0.1", 5004);
	uint8_t p[64];

	(void)state;
	assert_false(is_member());
	far = member();
	open_wire(GROUP_WIRE);
	for (unsigned i = 0; i < 10; i++)
		add(64);
	assert_int_equal(send_batch(), 10);
	for (unsigned i = 0; i < 10; i++)
		expect_far(64, i);
	make_plain(p, 64, 5);
	assert_int_equal(sendto(far, p, 64, 0, (struct sockaddr *)&to.sa, to.len), 64);
	assert_true(until(b, got, 1));
	expect_got(0, 64, 5);
	idle(b, 20);
	assert_int_equal(b->nic->n_got, 1); /* none of our own */
	assert_int_equal(counter_get(&b->back->tx.in), 1);
	close(far);
	far = -1;
	assert_true(is_member());
	close_wire();
	assert_false(is_member());
}

/* ---- refused ---- */

static void refuse(const char *netdev, const char *word)
{
	struct error err = { "" };
	struct loop *loop = loop_new("test", &err);
	int before = count_fds();

	assert_true(try_netdev(loop, netdev, &err) < 0);
	if (!strstr(err.msg, word))
		print_error("'%s' is not in '%s'\n", word, err.msg);
	assert_non_null(strstr(err.msg, word));
	assert_null(net_client_find("net0", 0));
	assert_int_equal(count_fds(), before);
	loop_free(loop);
}

static void refused(void **state)
{
	int unconnected = plain_socket(inet_at(UDP_AT), (struct endpoint){ 0 });
	char text[100];

	(void)state;
	refuse(UDP_WIRE, "Address already in use");
	snprintf(text, sizeof(text), "dgram,id=net0,local.type=fd,local.str=%d", unconnected);
	refuse(text, "connected to nobody");
	close(unconnected);
	refuse("dgram,id=net0,local.type=unix,local.path=nowhere/x,remote.type=unix,remote.path=y", "nowhere/x");
	refuse("dgram,id=net0,local.type=inet,local.host=192.0.2.77,local.port=1,remote.type=inet,remote.host=127.0.0.1,"
	       "remote.port=1",
	       "192.0.2.77");
	refuse("dgram,id=net0,remote.type=inet,remote.host=230.0.0.1,remote.port=5004", "no interface for the group");
	refuse("dgram,id=net0,remote.type=inet,remote.host=230.0.0.1,remote.port=5004,local.type=inet,"
	       "local.host=192.0.2.77,local.port=0",
	       "192.0.2.77");
}

static int enter_dir(void **state)
{
	static char dir[] = "/tmp/vwire-dgram-XXXXXX";

	(void)state;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int leave_dir(void **state)
{
	char cwd[100];

	(void)state;
	return getcwd(cwd, sizeof(cwd)) && chdir("/") == 0 && rmdir(cwd) == 0 ? 0 : -1; /* nothing was left */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, count_before, count_after)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lengths_out),
		TEST(full_batches_out),
		TEST(small_mtu),
		TEST(too_long_out),
		TEST(refused_out),
		TEST(lengths_in),
		TEST(runts_in),
		TEST(coalesced_in),
		TEST(coalesced_without_room),
		TEST(flood_while_stopped),
		TEST(forged),
		TEST(unix_comes_and_goes),
		TEST(unix_replaced),
		TEST(unix_slow_reader),
		TEST(unix_too_long_and_strangers),
		TEST(unix_stale_file),
		TEST(inherited_pair),
		TEST(inherited_udp_refused),
		TEST(group),
		TEST(refused),
	};

	if (!bench_isolate())
		return 77;
	return cmocka_run_group_tests(tests, enter_dir, leave_dir);
}
