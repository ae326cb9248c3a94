/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest of user networking without a machine: see userguest.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "backend/user.h"
#include "base/csum.h"
#include "net/netdev.h"
#include "unit/unit.h"
#include "unit/userguest.h"

const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static struct guest *live;

/* ---- the client ---- */

static int guest_lend(struct net_client *c, size_t want, struct net_window *w)
{
	struct guest *g = container_of(c, struct guest, c);

	(void)want;
	if (g->full || g->n == GUEST_QUEUE)
		return -EAGAIN;
	g->iov[1] = (struct iovec){ g->window, sizeof(g->window) };
	*w = (struct net_window){ &g->iov[1], 1, sizeof(g->window) };
	return 0;
}

static enum net_drop guest_take(struct net_client *c, size_t len, const struct frame_meta *m)
{
	struct guest *g = container_of(c, struct guest, c);
	struct got *got = &g->queue[g->n++];

	*got = (struct got){ (uint32_t)len, *m, malloc(len) };
	memcpy(got->data, g->window, len);
	return NET_OK;
}

static void guest_commit(struct net_client *c)
{
	(void)c;
}

static void guest_wake(struct net_client *c, unsigned what)
{
	struct guest *g = container_of(c, struct guest, c);

	g->room_wakes += what & NET_WAKE_ROOM ? 1 : 0;
}

static void guest_link(struct net_client *c, bool up)
{
	container_of(c, struct guest, c)->link = up;
}

static const struct net_client_ops guest_ops = {
	.type = "test",
	.lend = guest_lend,
	.take = guest_take,
	.commit = guest_commit,
	.wake = guest_wake,
	.link_changed = guest_link,
};

void guest_name_helper(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	assert_true(n > 0);
	path[n] = 0;
	for (unsigned i = 0; i < 3; i++)
		*strrchr(path, '/') = 0;
	strcat(path, "/vwire-user");
	setenv("VWIRE_USER", path, 0);
}

static int add_netdev(struct loop *l, const char *options, struct error *err)
{
	static const struct netdev_type *const types[] = { &user_netdev, NULL };
	struct opt_list list;
	static char text[65536];
	int rc;

	snprintf(text, sizeof(text), "user,id=net0%s%s", *options ? "," : "", options);
	netdev_types_init(types);
	rc = opt_list_parse(text, "type", &list, err);
	if (rc)
		return rc;
	rc = netdev_add_on(&list, l, err);
	opt_list_free(&list);
	return rc;
}

struct guest *guest_new(const char *options, struct error *err)
{
	struct guest *g = calloc(1, sizeof(*g));

	guest_name_helper();
	g->loop = loop_new("test", err);
	assert_non_null(g->loop);
	net_set_main_loop(g->loop);
	if (add_netdev(g->loop, options, err)) {
		net_set_main_loop(NULL);
		loop_free(g->loop);
		free(g);
		return NULL;
	}
	g->c.ops = &guest_ops;
	g->c.kind = NET_KIND_NIC;
	g->c.loop = g->loop;
	g->c.takes = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6;
	strcpy(g->c.name, "guest");
	g->link = true;
	assert_int_equal(net_client_add(&g->c, err), 0);
	g->user = net_client_find("net0", 0);
	assert_non_null(g->user);
	assert_int_equal(net_connect(&g->c, g->user, err), 0);
	net_start(&g->c);
	live = g;
	return g;
}

static void check_account(const struct net_client *c, const struct net_account *a, const char *dir)
{
	if (net_account_balanced(a))
		return;
	print_error("%s %s: in %lu made %lu out %lu held %lu\n", c->name, dir, counter_get(&a->in),
		    counter_get(&a->made), counter_get(&a->out), counter_get(&a->held));
	assert_true(net_account_balanced(a));
}

void guest_check_accounts(struct guest *g)
{
	net_quiesce(&g->c);
	check_account(g->user, &g->user->tx, "tx");
	check_account(g->user, &g->user->rx, "rx");
	net_start(&g->c);
}

static void remove_guest(struct guest *g)
{
	struct error err;

	live = NULL;
	guest_clear(g);
	net_quiesce(&g->c);
	net_client_remove(&g->c);
	assert_int_equal(netdev_del("net0", &err), 0);
	net_set_main_loop(NULL);
	loop_free(g->loop);
	free(g);
}

int guest_teardown(void **state)
{
	(void)state;
	if (live)
		remove_guest(live);
	return 0;
}

void guest_free(struct guest *g)
{
	guest_check_accounts(g);
	remove_guest(g);
}

bool guest_until(struct guest *g, bool (*cond)(struct guest *g, void *arg), void *arg, unsigned ms)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + ms * (uint64_t)NSEC_PER_MSEC;
	struct timespec nap = { 0, 200000 };

	for (;;) {
		bool ran = loop_turn(g->loop);

		if (cond && cond(g, arg))
			return true;
		if (clock_now(CLOCK_HOST_NS) > end)
			return false;
		if (!ran)
			nanosleep(&nap, NULL);
	}
}

void guest_run(struct guest *g, unsigned ms)
{
	guest_until(g, NULL, NULL, ms);
}

void guest_clear(struct guest *g)
{
	while (g->n)
		free(g->queue[--g->n].data);
	net_wake_peer(&g->c, NET_WAKE_ROOM);
}

bool guest_send_meta(struct guest *g, const void *frame, size_t len, const struct frame_meta *m)
{
	static struct batch b;
	struct iovec iov[2] = { [1] = { (void *)frame, len } };

	b.iov = iov;
	b.n = 1;
	b.frame[0] = (struct frame){ .meta = *m, .iov = 1, .cnt = 1, .len = (uint32_t)len };
	counter_add(&g->c.tx.in, 1);
	return net_send(&g->c, &b) == 1;
}

bool guest_send(struct guest *g, const void *frame, size_t len)
{
	static const struct frame_meta none;

	return guest_send_meta(g, frame, len, &none);
}

/* ---- frames ---- */

static void wr16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void wr32(uint8_t *p, uint32_t v)
{
	wr16(p, v >> 16);
	wr16(p + 2, v & 0xffff);
}

static void put_csum(uint8_t *at, uint64_t sum)
{
	uint16_t c = (uint16_t)~csum_fold(sum);

	memcpy(at, &c, 2);
}

static uint64_t pseudo(const uint8_t *f, uint8_t proto, size_t n)
{
	uint8_t rest[4] = { 0, proto, (uint8_t)(n >> 8), (uint8_t)n };

	return csum_add(csum_add(0, f + 26, 8), rest, 4);
}

size_t build_eth(uint8_t *f, uint16_t type)
{
	static const uint8_t gateway[6] = { 0x52, 0x55, 10, 0, 2, 2 };

	memcpy(f, gateway, 6);
	memcpy(f + 6, guest_mac, 6);
	wr16(f + 12, type);
	return 14;
}

size_t build_arp(uint8_t *f, uint32_t target)
{
	static const uint8_t head[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	build_eth(f, 0x0806);
	memset(f, 0xff, 6);
	memcpy(f + 14, head, 8);
	memcpy(f + 22, guest_mac, 6);
	wr32(f + 28, GUEST_IP);
	memset(f + 32, 0, 6);
	wr32(f + 38, target);
	return 42;
}

size_t build_ip(uint8_t *f, uint8_t proto, uint32_t dst, size_t payload)
{
	static const uint8_t head[20] = { 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64 };

	build_eth(f, 0x0800);
	memcpy(f + 14, head, 20);
	wr16(f + 16, (unsigned)(20 + payload));
	f[23] = proto;
	wr32(f + 26, GUEST_IP);
	wr32(f + 30, dst);
	put_csum(f + 24, csum_add(0, f + 14, 20));
	return 34;
}

size_t build_udp(uint8_t *f, uint32_t dst, uint16_t sport, uint16_t dport, const void *data, size_t n)
{
	build_ip(f, 17, dst, 8 + n);
	wr16(f + 34, sport);
	wr16(f + 36, dport);
	wr16(f + 38, (unsigned)(8 + n));
	wr16(f + 40, 0);
	memcpy(f + 42, data, n);
	put_csum(f + 40, csum_add(pseudo(f, 17, 8 + n), f + 34, 8 + n));
	return 42 + n;
}

size_t build_ping(uint8_t *f, uint32_t dst, uint16_t seq, size_t payload)
{
	build_ip(f, 1, dst, 8 + payload);
	memset(f + 34, 0, 8 + payload);
	f[34] = 8;
	wr16(f + 38, 0x7777);
	wr16(f + 40, seq);
	put_csum(f + 36, csum_add(0, f + 34, 8 + payload));
	return 42 + payload;
}

static size_t build_segment(uint8_t *f, const struct tcp *t, uint8_t flags, uint16_t mss, const void *data, size_t n)
{
	size_t head = mss ? 24 : 20;

	build_ip(f, 6, t->remote, head + n);
	memset(f + 34, 0, head);
	wr16(f + 34, t->port);
	wr16(f + 36, t->remote_port);
	wr32(f + 38, t->seq);
	wr32(f + 42, t->ack);
	f[46] = (uint8_t)(head << 2);
	f[47] = flags;
	wr16(f + 48, 65535);
	if (mss) {
		f[54] = 2;
		f[55] = 4;
		wr16(f + 56, mss);
	}
	if (n)
		memcpy(f + 34 + head, data, n);
	return 34 + head + n;
}

size_t build_tcp(uint8_t *f, const struct tcp *t, uint8_t flags, uint16_t mss, const void *data, size_t n)
{
	size_t len = build_segment(f, t, flags, mss, data, n);

	put_csum(f + 50, csum_add(pseudo(f, 6, len - 34), f + 34, len - 34));
	return len;
}

size_t build_tso(uint8_t *f, const struct tcp *t, const void *data, size_t n, uint16_t mss, struct frame_meta *m)
{
	size_t len = build_segment(f, t, ACK | PSH, 0, data, n);
	uint16_t sum = csum_fold(pseudo(f, 6, len - 34));

	memcpy(f + 50, &sum, 2);
	*m = (struct frame_meta){ .gso = NET_GSO_TCP4,
				  .gso_size = mss,
				  .needs_csum = true,
				  .csum_start = 34,
				  .csum_offset = 16,
				  .hdr_len = 54 };
	return len;
}

struct got *find_ipv4(struct guest *g, uint8_t proto, uint16_t port)
{
	for (unsigned i = 0; i < g->n; i++) {
		struct got *got = &g->queue[i];

		if (is_ipv4(got, proto) && (!port || rd16(got->data + 36) == port))
			return got;
	}
	return NULL;
}
