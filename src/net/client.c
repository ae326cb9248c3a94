/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Net clients: registry, wires, links. The data path is in wire.c.
 *
 * The list of all clients and the shape of wires belong to the main thread. What the data path reads (peer, started,
 * sends, direct) is changed on the owning loop only, by loop_call(), so that the loop never sees it half changed.
 */
#include "net/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/wire.h"

static struct list clients = LIST_INIT(clients);
static struct loop *main_loop;

/* ---- registry ---- */

/* NICs and all others have name spaces of their own, as in QEMU: "-netdev tap,id=net0 -device ...,id=net0" is fine. */
static struct net_client *find(const char *name, unsigned queue, bool nic)
{
	struct net_client *c;

	list_for_each(c, &clients, node) {
		if ((c->kind == NET_KIND_NIC) == nic && c->queue == queue && !strcmp(c->name, name))
			return c;
	}
	return NULL;
}

struct net_client *net_client_find(const char *name, unsigned queue)
{
	struct net_client *c = find(name, queue, false);

	return c ? c : find(name, queue, true);
}

void net_client_each(void (*fn)(struct net_client *c, void *arg), void *arg)
{
	struct net_client *c, *tmp;

	list_for_each_safe(c, tmp, &clients, node)
		fn(c, arg);
}

static void tell_link(struct net_client *c)
{
	bool up = net_link_up(c);

	if (up == c->link_told)
		return;
	c->link_told = up;
	if (c->ops->link_changed)
		c->ops->link_changed(c, up);
}

static void tell_link_post(struct post *p)
{
	tell_link(container_of(p, struct net_client, link_post));
}

int net_client_add(struct net_client *c, struct error *err)
{
	if (find(c->name, c->queue, c->kind == NET_KIND_NIC))
		return fail(err, EEXIST, "the id \"%s\" is taken by another network %s; choose a different one",
			    c->name, c->kind == NET_KIND_NIC ? "device" : "backend");
	if (c->max_frame < ETH_MIN_LEN)
		c->max_frame = NET_FRAME_MAX;
	c->link_told = net_link_up(c);
	post_init(&c->link_post, tell_link_post);
	sleep_hook_init(&c->wake_hook, wire_wake);
	list_append(&clients, &c->node);
	return 0;
}

static void cancel_wakes(void *arg)
{
	struct net_client *c = arg;

	loop_cancel_sleep(&c->wake_hook);
}

void net_client_remove(struct net_client *c)
{
	net_disconnect(c);
	loop_call(c->loop, cancel_wakes, c);
	if (main_loop)
		loop_unpost(main_loop, &c->link_post);
	list_remove(&c->node);
}

/* ---- wires ---- */

struct pair {
	struct net_client *a, *b;
	struct net_scratch *scratch[2];
};

static void join(void *arg)
{
	struct pair *p = arg;

	p->a->peer = p->b;
	p->b->peer = p->a;
	p->a->scratch = p->scratch[0];
	p->b->scratch = p->scratch[1];
	wire_join(p->a);
	wire_join(p->b);
}

static void part(void *arg)
{
	struct pair *p = arg;

	p->scratch[0] = wire_part(p->a);
	p->scratch[1] = wire_part(p->b);
	p->a->peer = p->b->peer = NULL;
	if (p->a->ops->parted)
		p->a->ops->parted(p->a);
	if (p->b->ops->parted)
		p->b->ops->parted(p->b);
}

static int connect_check(const struct net_client *a, const struct net_client *b, struct error *err)
{
	const struct net_client *busy = a->peer ? a : b;

	if (busy->peer)
		return fail(err, EBUSY, "\"%s\" is connected to \"%s\" already; a network backend serves one device",
			    busy->name, busy->peer->name);
	if (a == b)
		return fail(err, EINVAL, "\"%s\" cannot be connected to itself", a->name);
	if (a->loop != b->loop)
		return fail(err, EINVAL, "\"%s\" and \"%s\" run on different loops", a->name, b->name);
	return 0;
}

int net_connect(struct net_client *a, struct net_client *b, struct error *err)
{
	struct pair p = { a, b, { NULL, NULL } };
	int ret = connect_check(a, b, err);

	if (ret)
		return ret;
	p.scratch[0] = wire_scratch_new();
	p.scratch[1] = wire_scratch_new();
	if (!p.scratch[0] || !p.scratch[1]) {
		wire_scratch_free(p.scratch[0]);
		wire_scratch_free(p.scratch[1]);
		return fail(err, ENOMEM, "no memory to connect \"%s\" and \"%s\"", a->name, b->name);
	}
	if (a->kind == NET_KIND_NIC)
		atomic_store(&a->link_auto_down, false);
	if (b->kind == NET_KIND_NIC)
		atomic_store(&b->link_auto_down, false);
	loop_call(a->loop, join, &p);
	tell_link(a);
	tell_link(b);
	return 0;
}

void net_disconnect(struct net_client *c)
{
	struct net_client *peer = c->peer;
	struct pair p = { c, peer, { NULL, NULL } };

	if (!peer)
		return;
	net_quiesce(c);
	loop_call(c->loop, part, &p);
	wire_scratch_free(p.scratch[0]);
	wire_scratch_free(p.scratch[1]);
	/* A cable that is pulled out: a NIC without a peer has no link. */
	if (c->kind == NET_KIND_NIC)
		atomic_store(&c->link_auto_down, true);
	if (peer->kind == NET_KIND_NIC)
		atomic_store(&peer->link_auto_down, true);
	tell_link(c);
	tell_link(peer);
}

static void start(void *arg)
{
	struct net_client *c = arg, *peer = c->peer;

	if (!peer || c->started)
		return;
	c->started = peer->started = true;
	wire_refresh(c);
	wire_refresh(peer);
	if (c->ops->start)
		c->ops->start(c);
	if (peer->ops->start)
		peer->ops->start(peer);
	net_wake_peer(c, NET_WAKE_ROOM | NET_WAKE_FRAMES);
	net_wake_peer(peer, NET_WAKE_ROOM | NET_WAKE_FRAMES);
}

static void quiesce(void *arg)
{
	struct net_client *c = arg, *peer = c->peer;

	if (!peer || !c->started)
		return;
	if (c->ops->quiesce)
		c->ops->quiesce(c);
	if (peer->ops->quiesce)
		peer->ops->quiesce(peer);
	c->started = peer->started = false;
	wire_refresh(c);
	wire_refresh(peer);
}

void net_start(struct net_client *c)
{
	loop_call(c->loop, start, c);
}

void net_quiesce(struct net_client *c)
{
	loop_call(c->loop, quiesce, c);
}

/* ---- link ---- */

static bool own_link_up(const struct net_client *c)
{
	return !atomic_load_explicit(&c->link_down, memory_order_relaxed) &&
	       !atomic_load_explicit(&c->link_auto_down, memory_order_relaxed);
}

bool net_link_up(const struct net_client *c)
{
	return own_link_up(c) && (!c->peer || own_link_up(c->peer));
}

void net_set_main_loop(struct loop *l)
{
	main_loop = l;
}

struct loop *net_main_loop(void)
{
	return main_loop;
}

static void refresh_wire(void *arg)
{
	struct net_client *c = arg;

	wire_link_changed(c);
}

void net_set_link(struct net_client *c, bool up)
{
	atomic_store(&c->link_down, !up);
	loop_call(c->loop, refresh_wire, c);
	tell_link(c);
	if (c->peer)
		tell_link(c->peer);
}

static void post_link(struct net_client *c)
{
	if (main_loop)
		loop_post(main_loop, &c->link_post);
	else
		tell_link(c);
}

void net_set_carrier(struct net_client *c, bool up)
{
	if (atomic_load(&c->link_auto_down) == !up)
		return;
	atomic_store(&c->link_auto_down, !up);
	wire_link_changed(c);
	post_link(c);
	if (c->peer)
		post_link(c->peer);
}

/* ---- accounts ---- */

static uint64_t sum_drops(const struct net_account *a)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < NET_DROP_COUNT; i++)
		sum += counter_get(&a->dropped[i]);
	return sum;
}

bool net_account_balanced(const struct net_account *a)
{
	return counter_get(&a->in) + counter_get(&a->made) ==
	       counter_get(&a->out) + sum_drops(a) + counter_get(&a->held);
}

static json_t *drops_json(const struct net_account *a)
{
	json_t *drops = json_object();

	for (unsigned i = 1; i < NET_DROP_COUNT; i++) {
		uint64_t n = counter_get(&a->dropped[i]);

		if (n)
			json_object_set_new(drops, net_drop_name(i), json_integer((json_int_t)n));
	}
	return drops;
}

json_t *net_account_json(const struct net_client *c, bool tx)
{
	const struct net_account *a = tx ? &c->tx : &c->rx;

	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "client", c->name, "dir", tx ? "tx" : "rx", "in",
			 (json_int_t)counter_get(&a->in), "made", (json_int_t)counter_get(&a->made), "out",
			 (json_int_t)counter_get(&a->out), "bytes", (json_int_t)counter_get(&a->bytes), "held",
			 (json_int_t)counter_get(&a->held), "dropped", drops_json(a));
}

static json_t *offloads_json(uint32_t bits)
{
	static const char *const names[] = { "csum", "tso4", "tso6", "ecn", "ufo", "uso" };
	json_t *list = json_array();

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (bits & BIT(i))
			json_array_append_new(list, json_string(names[i]));
	}
	return list;
}

struct description {
	struct net_client *c;
	json_t *json;
};

static void describe(void *arg)
{
	struct description *d = arg;
	struct net_client *c = d->c;
	json_t *more = c->ops->describe ? c->ops->describe(c) : NULL;

	d->json = json_pack("{s:s, s:s, s:i, s:s?, s:b, s:b, s:o, s:o, s:o, s:o}", "name", c->name, "type",
			    c->ops->type, "queue", (int)c->queue, "peer", c->peer ? c->peer->name : NULL, "link",
			    net_link_up(c), "direct", c->direct, "takes", offloads_json(c->takes), "gives",
			    offloads_json(c->gives), "tx", net_account_json(c, true), "rx", net_account_json(c, false));
	if (d->json && more)
		json_object_update_missing(d->json, more);
	json_decref(more);
}

json_t *net_describe(struct net_client *c)
{
	struct description d = { c, NULL };

	loop_call(c->loop, describe, &d);
	return d.json;
}
