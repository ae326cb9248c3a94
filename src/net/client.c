/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Net clients: registry, wires, links. The data path is in wire.c.
 *
 * The list of all clients and the shape of wires belong to the main thread. What the data path reads (peer, started,
 * sends, direct) is changed on the owning loop only, by loop_call(), so that the loop never sees it half changed.
 *
 * A line is what lies between two ends: one wire, or several with a filter between each two. line_start() goes to one
 * end of it, whichever client one has; from there `peer` and `through` in turn lead along it. A line may be open:
 * filters without anything behind the last one. Nothing flows on it then.
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

/* Name spaces, as in QEMU: "-netdev tap,id=net0 -device ...,id=net0" is fine. */
enum name_space {
	SPACE_NETDEV,
	SPACE_NIC,
	SPACE_FILTER
};

static enum name_space space_of(enum net_kind kind)
{
	return kind == NET_KIND_NIC ? SPACE_NIC : kind == NET_KIND_FILTER ? SPACE_FILTER : SPACE_NETDEV;
}

static struct net_client *find(const char *name, unsigned queue, enum name_space space)
{
	struct net_client *c;

	list_for_each(c, &clients, node) {
		if (space_of(c->kind) == space && c->queue == queue && !strcmp(c->name, name))
			return c;
	}
	return NULL;
}

struct net_client *net_client_find(const char *name, unsigned queue)
{
	struct net_client *c = find(name, queue, SPACE_NETDEV);

	return c ? c : find(name, queue, SPACE_NIC);
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
	static const char *const what[] = { "backend", "device", "filter" };

	if (find(c->name, c->queue, space_of(c->kind)))
		return fail(err, EEXIST, "the id \"%s\" is taken by another network %s; choose a different one",
			    c->name, what[space_of(c->kind)]);
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

/* ---- lines ---- */

static struct net_client *line_start(struct net_client *c)
{
	while (c->through && c->through->peer)
		c = c->through->peer;
	return c;
}

struct net_client *net_far_end(const struct net_client *c)
{
	struct net_client *p = c->peer;

	while (p && p->through)
		p = p->through->peer;
	return p;
}

/* Both ends are there: `first` is one of them, with a peer. */
static bool line_whole(const struct net_client *first)
{
	return !first->through && net_far_end(first);
}

/* Each wire of the line that begins at `first`, as c and c->peer. */
#define for_each_wire(c, first) for (c = (first); c && c->peer; c = c->peer->through)

static void tell_line(struct net_client *first)
{
	struct net_client *end = net_far_end(first);

	tell_link(first);
	if (end)
		tell_link(end);
}

/* A cable that is pulled out, or put in: a NIC with nothing at the other end has no link. */
static void mark_nic(struct net_client *c)
{
	if (c->kind == NET_KIND_NIC)
		atomic_store(&c->link_auto_down, !net_far_end(c));
}

/* The line that c is on has changed its shape: its ends know by themselves whether there is another one. */
static void line_changed(struct net_client *c)
{
	struct net_client *first = line_start(c), *end = net_far_end(first);

	mark_nic(first);
	if (end)
		mark_nic(end);
	tell_line(first);
}

/* ---- wires ---- */

struct pair {
	struct net_client *a, *b;
	struct net_scratch *scratch[2];
};

static int pair_alloc(struct pair *p, struct error *err)
{
	p->scratch[0] = wire_scratch_new();
	p->scratch[1] = wire_scratch_new();
	if (p->scratch[0] && p->scratch[1])
		return 0;
	wire_scratch_free(p->scratch[0]);
	wire_scratch_free(p->scratch[1]);
	return fail(err, ENOMEM, "no memory to connect \"%s\" and \"%s\"", p->a->name, p->b->name);
}

static void pair_release(struct pair *p)
{
	wire_scratch_free(p->scratch[0]);
	wire_scratch_free(p->scratch[1]);
}

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

/* Where the line of c that leads away from it ends: the client to connect the other end to. */
static struct net_client *open_end(struct net_client *c)
{
	while (c->peer && c->peer->through)
		c = c->peer->through;
	return c;
}

static int connect_check(struct net_client *a, struct net_client *b, struct error *err)
{
	struct net_client *busy = open_end(a)->peer ? a : b;

	if (open_end(busy)->peer)
		return fail(err, EBUSY, "\"%s\" is connected to \"%s\" already; a network backend serves one device",
			    busy->name, net_far_end(busy)->name);
	if (a == b)
		return fail(err, EINVAL, "\"%s\" cannot be connected to itself", a->name);
	if (a->loop != b->loop)
		return fail(err, EINVAL, "\"%s\" and \"%s\" run on different loops", a->name, b->name);
	return 0;
}

int net_connect(struct net_client *a, struct net_client *b, struct error *err)
{
	int ret = connect_check(a, b, err);
	struct pair p = { open_end(a), open_end(b), { NULL, NULL } };

	ret = ret ?: pair_alloc(&p, err);
	if (ret)
		return ret;
	loop_call(a->loop, join, &p);
	line_changed(a);
	return 0;
}

static void disconnect(struct net_client *c)
{
	struct pair p = { c, c->peer, { NULL, NULL } };

	loop_call(c->loop, part, &p);
	pair_release(&p);
}

void net_disconnect(struct net_client *c)
{
	struct net_client *peer = c->peer;

	if (!peer)
		return;
	net_quiesce(c);
	disconnect(c);
	line_changed(c);
	line_changed(peer);
}

static void start(void *arg)
{
	struct net_client *first = line_start(arg), *c;

	if (!line_whole(first) || first->started)
		return;
	for_each_wire(c, first) {
		c->started = c->peer->started = true;
		wire_refresh(c);
		wire_refresh(c->peer);
	}
	for_each_wire(c, first) {
		if (c->ops->start)
			c->ops->start(c);
		if (c->peer->ops->start)
			c->peer->ops->start(c->peer);
	}
	for_each_wire(c, first) {
		net_wake_peer(c, NET_WAKE_ROOM | NET_WAKE_FRAMES);
		net_wake_peer(c->peer, NET_WAKE_ROOM | NET_WAKE_FRAMES);
	}
}

static void quiesce(void *arg)
{
	struct net_client *first = line_start(arg), *c;

	if (!first->started)
		return;
	for_each_wire(c, first) {
		if (c->ops->quiesce)
			c->ops->quiesce(c);
		if (c->peer->ops->quiesce)
			c->peer->ops->quiesce(c->peer);
	}
	for_each_wire(c, first) {
		c->started = c->peer->started = false;
		wire_refresh(c);
		wire_refresh(c->peer);
	}
}

void net_start(struct net_client *c)
{
	loop_call(c->loop, start, c);
}

void net_quiesce(struct net_client *c)
{
	loop_call(c->loop, quiesce, c);
}

static void retire(void *arg)
{
	struct net_client *end = net_far_end(arg);

	quiesce(arg);
	if (end && end->ops->retire)
		end->ops->retire(end);
}

void net_retire(struct net_client *c)
{
	loop_call(c->loop, retire, c);
}

int net_steer(struct net_client *c, const struct rss_hash *hash, const struct rss_table *table)
{
	struct net_client *end = net_far_end(c);

	return end && end->ops->steer ? end->ops->steer(end, hash, table) : -ENOTSUP;
}

void net_may_steer(struct net_client *c)
{
	struct net_client *end = net_far_end(c);

	if (end && end->ops->may_steer)
		end->ops->may_steer(end);
}

/* ---- filters: into a wire and out again ---- */

struct splice {
	struct net_client *at, *near;
	struct pair inner, outer; /* the two wires that are made, or the one */
	struct pair gone[2];	  /* those that were there; without memory: none */
};

static void insert(void *arg)
{
	struct splice *s = arg;
	struct net_client *peer = s->at->peer;
	bool was_started = s->at->started;

	quiesce(s->at);
	if (peer) {
		s->gone[0] = (struct pair){ s->at, peer, { NULL, NULL } };
		part(&s->gone[0]);
		join(&s->outer);
	}
	join(&s->inner);
	if (was_started)
		start(s->at);
}

int net_insert(struct net_client *at, struct net_client *near, struct error *err)
{
	struct splice s = { .at = at, .near = near, .inner = { .a = at, .b = near } };
	int ret = pair_alloc(&s.inner, err);

	if (!ret && at->peer) {
		s.outer = (struct pair){ .a = near->through, .b = at->peer };
		ret = pair_alloc(&s.outer, err);
		if (ret)
			pair_release(&s.inner);
	}
	if (ret)
		return ret;
	loop_call(at->loop, insert, &s);
	pair_release(&s.gone[0]);
	line_changed(at);
	return 0;
}

static void extract(void *arg)
{
	struct splice *s = arg;
	struct net_client *far = s->near->through, *peer = far->peer;
	bool was_started = s->near->started;

	quiesce(s->near);
	if (s->at) {
		s->gone[0] = (struct pair){ s->at, s->near, { NULL, NULL } };
		part(&s->gone[0]);
	}
	if (peer) {
		s->gone[1] = (struct pair){ far, peer, { NULL, NULL } };
		part(&s->gone[1]);
	}
	if (!s->at || !peer)
		return;
	s->inner = (struct pair){ s->at, peer, { s->gone[0].scratch[0], s->gone[1].scratch[1] } };
	s->gone[0].scratch[0] = s->gone[1].scratch[1] = NULL;
	join(&s->inner);
	if (was_started)
		start(s->at);
}

void net_extract(struct net_client *near)
{
	struct net_client *peer = near->through->peer;
	struct splice s = { .at = near->peer, .near = near };

	loop_call(near->loop, extract, &s);
	pair_release(&s.gone[0]);
	pair_release(&s.gone[1]);
	if (s.at)
		line_changed(s.at);
	if (peer)
		line_changed(peer);
}

/* ---- link ---- */

static bool own_link_up(const struct net_client *c)
{
	return !atomic_load_explicit(&c->link_down, memory_order_relaxed) &&
	       !atomic_load_explicit(&c->link_auto_down, memory_order_relaxed);
}

bool net_link_up(const struct net_client *c)
{
	const struct net_client *end = net_far_end(c), *own = c->through ? net_far_end(c->through) : c;

	return (!own || own_link_up(own)) && (!end || own_link_up(end));
}

void net_set_main_loop(struct loop *l)
{
	main_loop = l;
}

struct loop *net_main_loop(void)
{
	return main_loop;
}

static void refresh_line(void *arg)
{
	struct net_client *c;

	for_each_wire(c, line_start(arg))
		wire_link_changed(c);
}

void net_set_link(struct net_client *c, bool up)
{
	atomic_store(&c->link_down, !up);
	loop_call(c->loop, refresh_line, c);
	tell_line(line_start(c));
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
	refresh_line(c);
	post_link(c);
	if (net_far_end(c))
		post_link(net_far_end(c));
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
