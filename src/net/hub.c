/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hub's data path.
 *
 * Order. While a port's queue is not empty everything for that port goes through it, so frames of one giver leave by a
 * port in the order in which they came. The queue is drained when the port's peer has room (wake), a budget at a time.
 *
 * Entry. A port is entered by its peer's net_send() and goes on into other ports' net_send(): into other hubs too,
 * never into the same hub again, because hubs that are joined form no circle (hub_check_circle). Nothing here is kept
 * on behalf of a batch between calls.
 *
 * Accounts. A frame that enters a port and leaves by n others is one `in`, n - 1 `made` and n `out` in that port's rx,
 * and one `in` in the tx of each of the n. So the sum of rx.out of a hub's ports is the sum of their tx.in.
 */
#include "net/hub_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#define DRAIN_BATCHES 4 /* of a port's queue in one go */

static struct list hubs = LIST_INIT(hubs); /* main thread's */

static struct hub_port *to_port(const struct net_client *c)
{
	return container_of(c, struct hub_port, c);
}

/* ---- towards a port's peer ---- */

static void queued(struct hub_port *p, unsigned n)
{
	counter_add(&p->c.tx.held, n);
}

static void unqueued(struct hub_port *p, unsigned n)
{
	frameq_pop(p->queue, n);
	counter_add(&p->c.tx.held, -(uint64_t)n);
}

/* From frame i of the batch on, into the queue; returns the first that does not fit. */
static unsigned put_rest(struct hub_port *p, const struct batch *b, unsigned i)
{
	unsigned first = i;

	while (i < b->n && frameq_put(p->queue, b, &b->frame[i]))
		i++;
	queued(p, i - first);
	return i;
}

unsigned hub_give(struct hub_port *p, struct batch *b)
{
	unsigned n = frameq_count(p->queue) ? 0 : net_send(&p->c, b);

	return likely(n == b->n) ? n : put_rest(p, b, n);
}

static void wake_givers(struct hub *h)
{
	struct hub_port *p;

	list_for_each(p, &h->ports, node) {
		if (!p->owes)
			continue;
		p->owes = false;
		net_wake_peer(&p->c, NET_WAKE_ROOM);
	}
}

static void drain(struct hub_port *p)
{
	struct hub *h = p->hub;
	unsigned n, sent;

	for (unsigned i = 0; (n = frameq_head(p->queue, &h->out)); i++) {
		if (i == DRAIN_BATCHES) {
			loop_before_sleep(h->loop, &p->more);
			break;
		}
		sent = net_send(&p->c, &h->out);
		unqueued(p, sent);
		if (sent < n)
			break;
	}
	if (frameq_has_room(p->queue))
		wake_givers(h);
}

static void drain_more(struct sleep_hook *hook)
{
	struct hub_port *p = container_of(hook, struct hub_port, more);

	if (p->c.started)
		drain(p);
}

static void drop_queue(struct hub_port *p)
{
	unsigned n = frameq_count(p->queue);

	unqueued(p, n);
	counter_add(&p->c.tx.dropped[NET_DROP_STOPPED], n);
	wake_givers(p->hub);
}

/* ---- from a port's peer ---- */

static unsigned drop_all(struct hub_port *from, const struct batch *b)
{
	counter_add(&from->c.rx.dropped[NET_DROP_NO_PEER], b->n);
	return b->n;
}

/* `took` frames of the batch went to `targets` ports, to some of them fewer. */
static void account(struct hub_port *from, const struct batch *b, unsigned took, unsigned targets)
{
	uint64_t bytes = 0;
	struct hub_port *p;

	for (unsigned i = 0; i < took; i++)
		bytes += b->frame[i].len;
	counter_add(&from->c.rx.made, (uint64_t)took * (targets - 1));
	net_count_rx_out(&from->c, took * targets, bytes * targets);
	list_for_each(p, &from->hub->ports, node) {
		if (p == from || !net_far_end(&p->c))
			continue;
		net_count_tx_in(&p->c, took);
		counter_add(&p->c.tx.dropped[NET_DROP_QUEUE_FULL], took - p->took);
	}
}

/* Frames are taken up to the last one that any port has room for. */
static unsigned port_send(struct net_client *c, struct batch *b)
{
	struct hub_port *from = to_port(c), *p;
	unsigned took = 0, targets = 0;

	if (from->hub->sw)
		return switch_send(from->hub->sw, from, b);
	list_for_each(p, &from->hub->ports, node) {
		if (p == from || !net_far_end(&p->c))
			continue;
		p->took = hub_give(p, b);
		took = MAX(took, p->took);
		targets++;
	}
	if (!targets)
		return drop_all(from, b);
	from->owes |= took < b->n;
	account(from, b, took, targets);
	return took;
}

/* ---- client ---- */

static void forget(struct hub_port *p)
{
	if (p->hub->sw)
		switch_forget(p->hub->sw, p);
}

static void port_wake(struct net_client *c, unsigned what)
{
	struct hub_port *p = to_port(c);

	if (!net_link_up(c)) /* a change of the link wakes too */
		forget(p);
	if (what & NET_WAKE_ROOM)
		drain(p);
}

static void port_quiesce(struct net_client *c)
{
	loop_cancel_sleep(&to_port(c)->more);
}

static void port_parted(struct net_client *c)
{
	struct hub_port *p = to_port(c);

	forget(p);
	drop_queue(p);
}

static json_t *port_describe(struct net_client *c)
{
	struct hub_port *p = to_port(c);

	json_t *o = json_pack("{s:i, s:i, s:i}", "hubid", (int)p->hub->id, "ports", (int)p->hub->n_ports, "queued",
			      (int)frameq_count(p->queue));

	if (o && p->hub->sw)
		switch_describe(p->hub->sw, p, o);
	return o;
}

static void port_info(struct net_client *c, char *buf, size_t size)
{
	snprintf(buf, size, "hub %" PRId32, to_port(c)->hub->id);
}

static void leave(void *arg)
{
	struct hub_port *p = arg;

	list_remove(&p->node);
	p->hub->n_ports--;
	if (p->hub->sw)
		switch_ports(p->hub->sw, p->hub->n_ports);
	wake_givers(p->hub);
}

static void port_free(struct hub_port *p)
{
	frameq_free(p->queue);
	free(p);
}

static void hub_put(struct hub *h)
{
	if (h->n_ports)
		return;
	list_remove(&h->node);
	switch_free(h->sw);
	free(h);
}

static void port_destroy(struct net_client *c)
{
	struct hub_port *p = to_port(c);
	struct hub *h = p->hub;

	loop_call(h->loop, leave, p);
	port_free(p);
	hub_put(h);
}

static const struct net_client_ops port_ops = {
	.type = "hubport",
	.send = port_send,
	.wake = port_wake,
	.quiesce = port_quiesce,
	.parted = port_parted,
	.describe = port_describe,
	.info = port_info,
	.destroy = port_destroy,
};

/* ---- making it ---- */

static struct hub *hub_find(int32_t id)
{
	struct hub *h;

	list_for_each(h, &hubs, node) {
		if (h->id == id)
			return h;
	}
	return NULL;
}

static struct hub *hub_get(int32_t id, struct loop *loop, struct error *err)
{
	struct hub *h = hub_find(id);

	if (h && h->loop != loop) {
		fail(err, EINVAL, "hub %" PRId32 " runs on another loop", id);
		return NULL;
	}
	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h) {
		fail(err, ENOMEM, "no memory for a hub");
		return NULL;
	}
	h->id = id;
	h->loop = loop;
	h->out.iov = h->arena;
	list_init(&h->ports);
	list_append(&hubs, &h->node);
	return h;
}

/* ---- what the ports of a hub say of it together ---- */

static bool needs_switch(const struct hub_port_config *cfg)
{
	return cfg->learning == OPT_ON || cfg->vlan.mode != VLAN_NONE;
}

static int check_hub(const struct hub *h, const struct hub_port_config *cfg, struct error *err)
{
	if ((cfg->learning == OPT_ON && h->learn_not) || (cfg->learning == OPT_OFF && h->learn))
		return fail(err, EINVAL,
			    "learning=%s: another port of hub %" PRId32 " says learning=%s; a hub learns as a whole",
			    cfg->learning == OPT_ON ? "on" : "off", h->id, cfg->learning == OPT_ON ? "off" : "on");
	if (cfg->ageing && cfg->learning != OPT_ON)
		return fail(err, EINVAL,
			    "ageing=%" PRIu32 " is of use with learning=on only; add that, or leave it out",
			    cfg->ageing);
	if (cfg->ageing && h->ageing && cfg->ageing != h->ageing)
		return fail(err, EINVAL, "ageing=%" PRIu32 ": another port of hub %" PRId32 " says ageing=%" PRIu32,
			    cfg->ageing, h->id, h->ageing);
	return 0;
}

struct entry {
	struct hub_port *port;
	const struct hub_port_config *cfg;
	struct hub_switch *sw; /* for the hub, which has none yet */
};

static void enter(void *arg)
{
	struct entry *e = arg;
	struct hub *h = e->port->hub;

	list_append(&h->ports, &e->port->node);
	h->n_ports++;
	if (e->sw)
		h->sw = e->sw;
	if (!h->sw)
		return;
	switch_ports(h->sw, h->n_ports);
	if (e->cfg->learning == OPT_ON)
		switch_learn(h->sw, (h->ageing ? h->ageing : HUB_AGEING) * (uint64_t)NSEC_PER_SEC);
	if (e->cfg->vlan.mode != VLAN_NONE)
		switch_heed_vlans(h->sw);
}

/* ---- making it ---- */

static struct hub_port *port_alloc(struct hub *h, const char *id, const struct hub_port_config *cfg)
{
	struct hub_port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->queue = frameq_new(cfg->queue);
	if (!p->queue) {
		free(p);
		return NULL;
	}
	p->hub = h;
	p->vlan = cfg->vlan;
	sleep_hook_init(&p->more, drain_more);
	p->c.ops = &port_ops;
	p->c.kind = NET_KIND_PORT;
	p->c.loop = h->loop;
	p->c.takes = p->c.gives = NET_OFF_ALL;
	p->c.max_frame = NET_FRAME_MAX;
	snprintf(p->c.name, sizeof(p->c.name), "%s", id);
	return p;
}

static void note(struct hub *h, const struct hub_port_config *cfg)
{
	h->learn += cfg->learning == OPT_ON;
	h->learn_not += cfg->learning == OPT_OFF;
	if (cfg->ageing)
		h->ageing = cfg->ageing;
}

static int port_add(struct entry *e, struct error *err)
{
	struct hub *h = e->port->hub;
	int rc;

	if (needs_switch(e->cfg) && !h->sw) {
		e->sw = switch_new();
		if (!e->sw)
			return fail(err, ENOMEM, "no memory for a switch");
	}
	rc = net_client_add(&e->port->c, err);
	if (rc < 0) {
		switch_free(e->sw);
		return rc;
	}
	note(h, e->cfg);
	loop_call(h->loop, enter, e);
	return 0;
}

struct net_client *hub_port_new(const struct hub_port_config *cfg, const char *id, struct loop *loop, struct error *err)
{
	struct hub *h = hub_get(cfg->hubid, loop, err);
	struct entry e = { .cfg = cfg };

	if (!h)
		return NULL;
	if (check_hub(h, cfg, err) == 0) {
		e.port = port_alloc(h, id, cfg);
		if (!e.port)
			fail(err, ENOMEM,
			     "no memory for a port with a queue of %zu bytes; make it smaller by queue=", cfg->queue);
		else if (port_add(&e, err) == 0)
			return &e.port->c;
		else
			port_free(e.port);
	}
	hub_put(h);
	return NULL;
}

/* ---- circles ---- */

struct way {
	int32_t to;
	char *text; /* what the ways found so far look like, behind `len` */
	size_t size;
};

/*
 * Is there a way from this hub to w->to, other than back through `back`? Written down from its end: each step puts
 * itself in front. Hubs are a forest, so each is met once.
 */
static bool find_way(const struct hub *h, const struct hub_port *back, struct way *w)
{
	const struct hub_port *p, *q;
	const struct net_client *end;

	if (h->id == w->to) {
		snprintf(w->text, w->size, "hub %" PRId32, h->id);
		return true;
	}
	list_for_each(p, &h->ports, node) {
		char rest[256];

		end = net_far_end(&p->c);
		if ((back && p == back) || !end || end->ops != &port_ops)
			continue;
		q = to_port(end);
		if (!find_way(q->hub, q, w))
			continue;
		snprintf(rest, sizeof(rest), "%.255s", w->text);
		snprintf(w->text, w->size, "hub %" PRId32 " - %s - %s - %s", h->id, p->c.name, q->c.name, rest);
		return true;
	}
	return false;
}

int hub_check_circle(int32_t hubid, const struct net_client *c, struct error *err)
{
	char text[256];
	struct way way = { hubid, text, sizeof(text) };

	if (c->ops == &port_ops && to_port(c)->hub->id == hubid)
		return fail(err, ELOOP, "%s is a port of hub %" PRId32 " itself; join different hubs", c->name, hubid);
	if (c->ops != &port_ops || !find_way(to_port(c)->hub, NULL, &way))
		return 0;
	return fail(err, ELOOP,
		    "%s leads back to hub %" PRId32 " already (%s): frames would go around for ever; leave this out",
		    c->name, hubid, text);
}
