/* SPDX-License-Identifier: BSD-2-Clause */
/* A wire with a real backend at one end and a fake NIC at the other. */
#include "../unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/csum.h"
#include "base/iov.h"
#include "bench.h"
#include "char/chardev.h"
#include "ctl/types.h"
#include "object/creatable.h"

#define PATIENCE_MS 60000 /* for what surely comes, on a machine that is busy */

static const uint8_t nic_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
static int fds_before, inherited;
static bool isolated; /* in a network namespace of its own */

/* vwire looks for its helper beside itself; a test stands two folders below. */
static void name_helper(void)
{
	char path[4096], *end = path;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 20);

	if (n <= 0)
		return;
	path[n] = 0;
	for (unsigned i = 0; i < 3 && (end = strrchr(path, '/')); i++)
		*end = 0;
	if (!end)
		return;
	strcpy(end, "/vwire-user");
	if (access(path, X_OK) == 0)
		setenv("VWIRE_USER", path, 0);
}

/* A file that not every kernel has. */
static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		printf("%s stays as it is\n", path);
	close(fd);
}

bool bench_isolate(void)
{
	name_helper();
	if (unshare(CLONE_NEWNET) < 0) {
		printf("needs root, to make a network namespace\n");
		return false;
	}
	isolated = true;
	/* No router solicitations among the frames that are counted. */
	write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	return run_ip("link set lo up");
}

bool run_ip(const char *fmt, ...)
{
	char args[200], cmd[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "PATH=$PATH:/usr/sbin:/sbin ip %s", args);
	return system(cmd) == 0;
}

int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -1; /* its own */

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int try_netdev(struct loop *loop, const char *netdev, struct error *err)
{
	struct opt_list l;
	int ret;

	netdev_types_init(netdev_types);
	ret = opt_list_parse(netdev, "type", &l, err);
	if (ret)
		return ret;
	ret = netdev_add_on(&l, loop, err);
	opt_list_free(&l);
	return ret;
}

void bench_inherits(unsigned n)
{
	inherited = (int)n;
}

static void add_filter(struct bench *b, const char *object)
{
	struct error err = { "" };
	struct opt_list l;

	assert_int_equal(opt_list_parse(object, "qom-type", &l, &err), 0);
	b->filter = creatable_add(&l, &err);
	if (!b->filter)
		print_error("%s: %s\n", object, err.msg);
	assert_non_null(b->filter);
	opt_list_free(&l);
}

static struct net_client *make_backend(struct bench *b, const char *netdev)
{
	struct error err = { 0 };

	b->loop = loop_new("test", &err);
	assert_non_null(b->loop);
	if (try_netdev(b->loop, netdev, &err)) {
		print_error("%s: %s\n", netdev, err.msg);
		assert_true(false);
	}
	return net_client_find("net0", 0);
}

void bench_open(struct bench *b, const char *netdev, void (*after)(struct bench *b))
{
	struct error err = { 0 };

	fds_before = count_fds() - inherited;
	inherited = 0;
	b->back = b->make ? b->make(b) : make_backend(b, netdev);
	if (b->prepare)
		b->prepare(b);
	if (b->object)
		add_filter(b, b->object);
	b->nic = fake_new("nic0", b->make ? NET_KIND_BACKEND : NET_KIND_NIC, &fake_lender_ops, b->loop);
	assert_int_equal(net_connect(&b->nic->c, b->back, &err), 0);
	if (after)
		after(b);
	net_start(&b->nic->c);
	assert_true(resolve(b));
}

/* Each client that is on the way between the two ends. */
void check_accounts(struct bench *b)
{
	struct net_client *c = &b->nic->c;

	assert_ptr_equal(net_far_end(c), b->back);
	for (; c; c = c->peer->through) {
		assert_true(net_account_balanced(&c->tx));
		assert_true(net_account_balanced(&c->rx));
		assert_true(net_account_balanced(&c->peer->tx));
		assert_true(net_account_balanced(&c->peer->rx));
		assert_int_equal(counter_get(&c->tx.out), counter_get(&c->peer->rx.in));
		assert_int_equal(counter_get(&c->peer->tx.out), counter_get(&c->rx.in));
	}
}

/* Backends that the far end needed, last one first: what is in use by another is made before it. */
static void find_far(struct net_client *c, void *arg)
{
	if (c->kind != NET_KIND_NIC)
		*(struct net_client **)arg = c;
}

static void remove_far_end(void)
{
	struct net_client *last;
	struct error err;

	while (last = NULL, net_client_each(find_far, &last), last) {
		assert_true(net_account_balanced(&last->tx));
		assert_true(net_account_balanced(&last->rx));
		assert_int_equal(netdev_del(last->name, &err), 0);
	}
}

static void remove_nic(struct bench *b)
{
	assert_true(net_account_balanced(&b->nic->c.tx));
	fake_free(b->nic);
	b->nic = NULL;
}

static void remove_backend(struct bench *b)
{
	struct error err;

	if (b->filter)
		creatable_del(b->filter);
	b->filter = NULL;
	chardev_free_all();
	assert_int_equal(netdev_del("net0", &err), 0);
	assert_null(net_client_find("net0", 0));
}

void bench_close(struct bench *b)
{
	net_quiesce(&b->nic->c);
	check_accounts(b);
	if (b->make) {
		remove_nic(b);
		b->unmake(b);
	} else {
		remove_backend(b);
		assert_false(b->nic->link);
		remove_far_end();
		remove_nic(b);
		loop_free(b->loop);
	}
	assert_int_equal(count_fds(), fds_before);
}

void bench_close_nic_first(struct bench *b)
{
	check_accounts(b);
	remove_nic(b);
	idle(b, 20);
	assert_true(net_account_balanced(&b->back->tx));
	assert_true(net_account_balanced(&b->back->rx));
	if (b->make) {
		b->unmake(b);
	} else {
		remove_backend(b);
		remove_far_end();
		loop_free(b->loop);
	}
	assert_int_equal(count_fds(), fds_before);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One turn; a little sleep, if there was nothing to do. */
static bool turn(struct bench *b)
{
	bool did = loop_turn(b->loop);

	did |= b->turn && b->turn(b);
	if (!did)
		usleep(200);
	return did;
}

bool until(struct bench *b, bool (*cond)(struct bench *b, unsigned arg), unsigned arg)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (!cond(b, arg)) {
		if (now_ms() >= end)
			return false;
		turn(b);
	}
	return true;
}

void idle(struct bench *b, unsigned ms)
{
	uint64_t end = now_ms() + ms;

	for (unsigned turns = 0; turns < 4 || now_ms() < end; turns++)
		turn(b);
}

bool has_room(struct bench *b, unsigned arg)
{
	(void)arg;
	return b->nic->woken_for & NET_WAKE_ROOM;
}

bool becomes_quiet(struct bench *b)
{
	const counter *calls = &loop_stats(b->loop)->watches;

	for (unsigned tries = 0; tries < 100; tries++) {
		uint64_t before = counter_get(calls);

		for (unsigned i = 0; i < 100; i++)
			turn(b);
		if (counter_get(calls) - before < 5)
			return true;
	}
	return false;
}

/* ---- ARP and ping ---- */

static bool arp_answered(struct bench *b)
{
	for (unsigned i = 0; i < b->nic->n_got; i++) {
		const struct fake_frame *g = &b->nic->got[i];

		if (g->len >= 42 && !memcmp(g->bytes + 12, "\x08\x06", 2) && g->bytes[21] == 2) {
			memcpy(b->host_mac, g->bytes + 22, 6);
			return true;
		}
	}
	return false;
}

static unsigned send_one(struct bench *b, uint8_t *p, size_t len)
{
	struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	unsigned n;

	batch_add(&batch, p, len, NULL);
	n = net_send(&b->nic->c, &batch);
	net_count_tx_in(&b->nic->c, n);
	return n;
}

/*
 * Some seconds after it has learnt our address the host would ask whether we are still there, and the NIC does not
 * answer: a test that takes longer would not hear of it any more.
 */
static void ask_no_more(void)
{
	glob_t g;

	if (isolated && glob("/proc/sys/net/ipv4/neigh/*/delay_first_probe_time", 0, NULL, &g) == 0) {
		for (size_t i = 0; i < g.gl_pathc; i++)
			write_text(g.gl_pathv[i], "100000");
		globfree(&g);
	}
}

bool resolve(struct bench *b)
{
	static const uint8_t ask[22] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34,
					 0x56, 8,    6,	   0,	 1,    8,    0,	   6,	 4, 0,	  1 };
	uint8_t p[60] = { 0 };
	bool ok = false;

	memcpy(p, ask, sizeof(ask));
	memcpy(p + 22, nic_mac, 6);
	memcpy(p + 28, "\x0a\x00\x02\x0f", 4);
	memcpy(p + 38, "\x0a\x00\x02\x02", 4);
	ask_no_more();
	/* More than once: the kernel brings an interface that got a carrier to life when it sees fit. */
	for (unsigned i = 0; i < 300 && !ok; i++) {
		if (send_one(b, p, sizeof(p)) != 1)
			return false;
		for (unsigned k = 0; k < 1000 && !ok; k++) {
			turn(b);
			ok = arp_answered(b);
		}
	}
	fake_forget(b->nic);
	return ok;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

size_t make_ping(struct bench *b, uint8_t *p, unsigned seq, size_t n)
{
	static const uint8_t ip[20] = { 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2 };
	uint16_t c;

	memcpy(p, b->host_mac, 6);
	memcpy(p + 6, nic_mac, 6);
	put16(p + 12, 0x0800);
	memcpy(p + 14, ip, 20);
	put16(p + 16, (unsigned)(28 + n));
	put16(p + 18, seq);
	c = (uint16_t)~csum_fold(csum_add(0, p + 14, 20));
	memcpy(p + 24, &c, 2);
	memset(p + 34, 0, 8);
	p[34] = 8;
	put16(p + 38, 0x7777);
	put16(p + 40, seq);
	for (size_t i = 0; i < n; i++)
		p[42 + i] = (uint8_t)(seq * 3 + i);
	c = (uint16_t)~csum_fold(csum_add(0, p + 34, 8 + n));
	memcpy(p + 36, &c, 2);
	return 42 + n;
}

unsigned send_pings(struct bench *b, unsigned seq, unsigned count, size_t n)
{
	static uint8_t p[NET_BATCH][10000];
	struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	unsigned sent;

	for (unsigned i = 0; i < count; i++)
		batch_add(&batch, p[i], make_ping(b, p[i], seq + i, n), NULL);
	sent = net_send(&b->nic->c, &batch);
	net_count_tx_in(&b->nic->c, sent);
	return sent;
}

static bool is_pong(const struct fake_frame *g, unsigned seq, size_t n)
{
	const uint8_t *p = g->bytes;

	if (g->len < 42 + n || p[12] != 8 || p[13] != 0 || p[23] != 1 || p[34] != 0)
		return false;
	if ((unsigned)(p[38] << 8 | p[39]) != 0x7777 || (unsigned)(p[40] << 8 | p[41]) != seq)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[42 + i] != (uint8_t)(seq * 3 + i))
			return false;
	}
	return true;
}

unsigned count_pongs(struct bench *b, unsigned seq, unsigned count, size_t n)
{
	unsigned found = 0;

	for (unsigned i = 0; i < count; i++) {
		for (unsigned k = 0; k < b->nic->n_got; k++) {
			if (is_pong(&b->nic->got[k], seq + i, n)) {
				found++;
				break;
			}
		}
	}
	return found;
}

/* The same, and all of them: when there is no room, when there is some again. */
static bool send_all_pings(struct bench *b, unsigned seq, unsigned count, size_t n)
{
	for (unsigned sent = 0; sent < count;) {
		b->nic->woken_for = 0;
		sent += send_pings(b, seq + sent, count - sent, n);
		if (sent < count && !until(b, has_room, 0))
			return false;
	}
	return true;
}

struct expected {
	unsigned seq, count;
	size_t n;
};

static struct expected expected;

static bool all_pongs(struct bench *b, unsigned arg)
{
	(void)arg;
	return count_pongs(b, expected.seq, expected.count, expected.n) == expected.count;
}

bool pings_come(struct bench *b, unsigned seq, unsigned count, size_t n)
{
	expected = (struct expected){ seq, count, n };
	return send_all_pings(b, seq, count, n) && until(b, all_pongs, 0);
}

bool pings_work(struct bench *b, unsigned seq, unsigned count, size_t n)
{
	bool ok = pings_come(b, seq, count, n);

	fake_forget(b->nic);
	return ok;
}
