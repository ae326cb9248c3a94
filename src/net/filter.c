/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters: the object that users make, its places in wires, and the way of frames through one. See filter.h. */
#include "net/filter.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#define CAREFUL 64 /* batches handed on frame by frame after one with losses */

static struct list filters = LIST_INIT(filters);

static struct filter_end *to_end(struct net_client *c)
{
	return container_of(c, struct filter_end, c);
}

static const struct filter_class *class_of(const struct filter_end *e)
{
	return filter_class(e->port->filter);
}

/* Where frames that enter at e leave. */
static struct net_client *beyond(struct filter_end *e)
{
	return filter_out(e->port, e->dir);
}

/* ---- what becomes of frames ---- */

struct losses {
	uint64_t n[NET_DROP_COUNT];
};

static void add_drops(struct losses *l, const struct net_account *a)
{
	for (unsigned i = 1; i < NET_DROP_COUNT; i++)
		l->n[i] += counter_get(&a->dropped[i]);
}

/* All that was dropped so far on the way from `out` to the end of the line. */
static void losses_ahead(struct losses *l, const struct net_client *out)
{
	*l = (struct losses){ { 0 } };
	for (; out; out = out->peer->through) {
		add_drops(l, &out->tx);
		if (!out->peer)
			return;
		add_drops(l, &out->peer->rx);
	}
}

static struct filter_fate fate_since(const struct losses *before, const struct net_client *out, unsigned n)
{
	struct filter_fate fate = { .of = n };
	struct losses now;

	losses_ahead(&now, out);
	for (unsigned i = 1; i < NET_DROP_COUNT; i++) {
		if (now.n[i] == before->n[i])
			continue;
		fate.why = (enum net_drop)i;
		fate.dropped += (unsigned)(now.n[i] - before->n[i]);
	}
	fate.dropped = MIN(fate.dropped, n); /* of a frame that was cut, pieces may have been dropped */
	return fate;
}

/* ---- frames that are there ---- */

static unsigned hand_on(struct filter_end *e, struct batch *b)
{
	unsigned n = net_send(beyond(e), b);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += b->frame[i].len;
	net_count_tx_in(beyond(e), n);
	net_count_rx_out(&e->c, n, bytes);
	return n;
}

static void enter(struct filter_end *e)
{
	if (class_of(e)->enter)
		class_of(e)->enter(e->port, e->dir);
}

static void see_frame(struct filter_end *e, const struct batch *b, const struct frame *f)
{
	class_of(e)->see(e->port, e->dir, frame_iov(b, f), f->cnt, f->len, &f->meta);
}

static unsigned hand_on_seen(struct filter_end *e, struct batch *b)
{
	bool ask = e->port->filter->wants_fate;
	struct filter_fate fate = { .of = 0 };
	struct losses before;
	unsigned n;

	enter(e);
	if (ask)
		losses_ahead(&before, beyond(e));
	n = hand_on(e, b);
	if (ask)
		fate = fate_since(&before, beyond(e), n);
	for (unsigned i = 0; i < n; i++) {
		see_frame(e, b, &b->frame[i]);
		if (ask)
			class_of(e)->fate(e->port, e->dir, &fate);
	}
	if (fate.dropped && fate.dropped < n)
		e->port->careful = CAREFUL;
	return n;
}

static unsigned hand_on_one_by_one(struct filter_end *e, struct batch *b)
{
	struct batch one;
	unsigned i;

	one.iov = b->iov;
	for (i = 0; i < b->n; i++) {
		one.n = 1;
		one.frame[0] = b->frame[i];
		if (!hand_on_seen(e, &one))
			break;
	}
	return i;
}

static unsigned filter_send(struct net_client *c, struct batch *b)
{
	struct filter_end *e = to_end(c);

	if (!e->port->filter->acts[e->dir])
		return hand_on(e, b);
	if (class_of(e)->send)
		return class_of(e)->send(e->port, e->dir, b);
	if (!e->port->careful)
		return hand_on_seen(e, b);
	e->port->careful--;
	return hand_on_one_by_one(e, b);
}

/* ---- frames that are yet to come: for those that only watch ---- */

static int filter_lend(struct net_client *c, size_t want, struct net_window *w)
{
	struct filter_end *e = to_end(c);
	int ret = net_lend(beyond(e), want, w);

	if (!ret)
		e->lent = *w;
	return ret;
}

static enum net_drop filter_take(struct net_client *c, size_t len, const struct frame_meta *m)
{
	struct filter_end *e = to_end(c);
	struct filter *f = e->port->filter;
	struct filter_fate fate = { .of = 1 };

	/* Before it is taken: the window is whose it was then. */
	if (f->acts[e->dir]) {
		enter(e);
		class_of(e)->see(e->port, e->dir, e->lent.iov, e->lent.cnt, len, m);
	}
	fate.why = net_take(beyond(e), len, m);
	fate.dropped = fate.why != NET_OK;
	if (f->acts[e->dir] && f->wants_fate)
		class_of(e)->fate(e->port, e->dir, &fate);
	return fate.why;
}

static void filter_commit(struct net_client *c)
{
	net_commit(beyond(to_end(c)));
}

/* ---- wakes, start, quiesce ---- */

/* c's peer takes frames again: those of the direction that leaves by c. */
static void filter_wake(struct net_client *c, unsigned what)
{
	struct filter_end *e = to_end(c);
	enum filter_dir leaving = !e->dir;

	if ((what & NET_WAKE_ROOM) && class_of(e)->room)
		class_of(e)->room(e->port, leaving);
	if (e->port->filter->acts[leaving] && class_of(e)->send)
		what &= ~(unsigned)NET_WAKE_ROOM; /* it is the one who gives there */
	if (what)
		net_wake_peer(beyond(e), what);
}

static void filter_start(struct net_client *c)
{
	struct filter_end *e = to_end(c);

	if (e->dir == FILTER_TX && class_of(e)->start)
		class_of(e)->start(e->port);
}

static void filter_quiesce(struct net_client *c)
{
	struct filter_end *e = to_end(c);

	if (e->dir == FILTER_TX && class_of(e)->quiesce)
		class_of(e)->quiesce(e->port);
}

static json_t *filter_describe(struct net_client *c)
{
	struct filter_end *e = to_end(c);
	struct filter *f = e->port->filter;
	json_t *own = class_of(e)->describe ? class_of(e)->describe(e->port) : json_object();

	if (own)
		json_object_set_new(own, "filter", json_string(f->base.obj.class->type->name));
	return own;
}

static void filter_info(struct net_client *c, char *buf, size_t size)
{
	const struct filter *f = to_end(c)->port->filter;

	snprintf(buf, size, "%s,netdev=%s", f->base.obj.class->type->name, f->prop.netdev);
}

static const struct net_client_ops watching_ops = {
	.type = "filter",
	.send = filter_send,
	.lend = filter_lend,
	.take = filter_take,
	.commit = filter_commit,
	.wake = filter_wake,
	.start = filter_start,
	.quiesce = filter_quiesce,
	.describe = filter_describe,
	.info = filter_info,
};

static const struct net_client_ops interfering_ops = {
	.type = "filter",
	.send = filter_send,
	.wake = filter_wake,
	.start = filter_start,
	.quiesce = filter_quiesce,
	.describe = filter_describe,
	.info = filter_info,
};

/* ---- places in wires ---- */

static struct net_client *near_of(struct filter_port *p)
{
	return filter_in(p, FILTER_TX);
}

static struct net_client *far_of(struct filter_port *p)
{
	return filter_in(p, FILTER_RX);
}

static struct net_client *find_netdev(const struct filter *f, unsigned queue)
{
	struct net_client *c = net_client_find(f->prop.netdev, queue);

	return c && c->kind != NET_KIND_NIC ? c : NULL;
}

/* The client that a port's near side belongs next to: the filter's before it in the order, else the netdev's own. */
static struct net_client *place_of(struct filter *f, unsigned queue)
{
	struct net_client *at = find_netdev(f, queue);
	struct filter *other;

	list_for_each(other, &filters, node) {
		if (other == f)
			break;
		if (other->in_wire && !strcmp(other->prop.netdev, f->prop.netdev))
			at = queue < other->n_ports ? far_of(&other->port[queue]) : at;
	}
	return at;
}

static void leave_wire(void *arg)
{
	struct filter_port *p = arg;

	filter_class(p->filter)->leave(p);
}

static void leave_wires(struct filter *f, unsigned ports)
{
	while (ports-- > 0) {
		struct filter_port *p = &f->port[ports];

		if (filter_class(f)->leave)
			loop_call(near_of(p)->loop, leave_wire, p);
		net_extract(near_of(p));
	}
	f->in_wire = false;
}

static int enter_wires(struct filter *f, struct error *err)
{
	for (unsigned i = 0; i < f->n_ports; i++) {
		struct net_client *at = place_of(f, i);
		int ret;

		if (!at)
			ret = fail(err, ENOENT, "netdev=%s: is gone", f->prop.netdev);
		else
			ret = net_insert(at, near_of(&f->port[i]), err);
		if (ret) {
			leave_wires(f, i);
			return ret;
		}
	}
	f->in_wire = true;
	return 0;
}

int filter_set_status(struct filter *f, bool on, struct error *err)
{
	int ret = 0;

	if (on && !f->in_wire)
		ret = enter_wires(f, err);
	else if (!on && f->in_wire)
		leave_wires(f, f->n_ports);
	return ret;
}

static struct filter *find_filter(const char *id)
{
	struct creatable *c = creatable_find(id);

	return c && class_is_a(c->obj.class, "netfilter") ? to_filter(&c->obj) : NULL;
}

static void put_before(struct list *n, struct list *next)
{
	list_append(next, n); /* the end of the circle that `next` begins */
}

/* Its place among the filters of its netdev, on or off. */
static int take_place(struct filter *f, struct error *err)
{
	const char *position = f->prop.position, *id = position + 3;
	struct filter *other;

	if (!strcmp(position, "tail")) {
		put_before(&f->node, &filters);
		return 0;
	}
	if (!strcmp(position, "head")) {
		put_before(&f->node, filters.next);
		return 0;
	}
	if (strncmp(position, "id=", 3))
		return fail(err, EINVAL, "position=%.64s: expected head, tail or id=ID of another filter", position);
	other = find_filter(id);
	if (!other)
		return fail(err, ENOENT,
			    "position=%.64s: there is no filter '%.64s' yet; name one that stands before this",
			    position, id);
	if (strcmp(other->prop.netdev, f->prop.netdev))
		return fail(err, EINVAL, "position=%.64s: that filter is of netdev %s and not of %s", position,
			    other->prop.netdev, f->prop.netdev);
	put_before(&f->node, f->prop.insert == 0 ? &other->node : other->node.next);
	return 0;
}

/* ---- life ---- */

static void init_end(struct filter_port *p, enum filter_dir d, struct loop *loop)
{
	struct filter *f = p->filter;
	struct filter_end *e = &p->end[d];
	bool interferes = f->acts[d] && filter_class(f)->send;

	e->port = p;
	e->dir = d;
	e->c = (struct net_client){
		.ops = interferes ? &interfering_ops : &watching_ops,
		.kind = NET_KIND_FILTER,
		.queue = p->queue,
		.through = filter_out(p, d),
		.loop = loop,
		.passes = f->acts[d] ? f->passes : (uint32_t)NET_OFF_ALL,
		.max_frame = NET_FRAME_MAX,
	};
	snprintf(e->c.name, sizeof(e->c.name), "%s:%s", f->base.id, d == FILTER_TX ? "netdev" : "peer");
}

static void port_remove(struct filter_port *p)
{
	const struct filter_class *class = filter_class(p->filter);

	net_client_remove(near_of(p));
	net_client_remove(far_of(p));
	if (class->port_close)
		class->port_close(p);
}

static int port_add(struct filter_port *p, struct error *err)
{
	const struct filter_class *class = filter_class(p->filter);
	struct loop *loop = find_netdev(p->filter, p->queue)->loop;
	int ret;

	init_end(p, FILTER_TX, loop);
	init_end(p, FILTER_RX, loop);
	ret = net_client_add(near_of(p), err);
	if (ret)
		return ret;
	ret = net_client_add(far_of(p), err);
	if (ret) {
		net_client_remove(near_of(p));
		return ret;
	}
	ret = class->port_open ? class->port_open(p, err) : 0;
	if (ret) {
		net_client_remove(near_of(p));
		net_client_remove(far_of(p));
	}
	return ret;
}

static int add_ports(struct filter *f, struct error *err)
{
	unsigned queues = 0;

	while (find_netdev(f, queues))
		queues++;
	f->port = calloc(MAX(queues, 1u), sizeof(*f->port));
	if (!f->port)
		return fail(err, ENOMEM, "out of memory");
	for (; f->n_ports < queues; f->n_ports++) {
		struct filter_port *p = &f->port[f->n_ports];
		int ret;

		p->filter = f;
		p->queue = f->n_ports;
		ret = port_add(p, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int check(struct filter *f, struct error *err)
{
	const struct net_client *c = net_client_find(f->prop.netdev, 0);

	if (strlen(f->base.id) > sizeof(c->name) - sizeof(":netdev"))
		return fail(err, EINVAL, "id=%.64s...: at most %zu characters for a filter", f->base.id,
			    sizeof(c->name) - sizeof(":netdev"));
	if (!c)
		return fail(err, ENOENT, "netdev=%.64s: there is no such network backend; add -netdev type,id=%.64s",
			    f->prop.netdev, f->prop.netdev);
	if (c->kind == NET_KIND_NIC)
		return fail(err, EINVAL, "netdev=%.64s: is a device; name the network backend that it is joined to",
			    f->prop.netdev);
	return 0;
}

static int filter_complete(struct creatable *c, struct error *err)
{
	struct filter *f = to_filter(&c->obj);
	const struct filter_class *class = filter_class(f);
	int ret = check(f, err);

	if (!ret)
		ret = take_place(f, err);
	if (ret)
		return ret;
	f->acts[FILTER_RX] = f->prop.queue != 2;
	f->acts[FILTER_TX] = f->prop.queue != 1;
	f->passes = NET_OFF_ALL;
	ret = class->open ? class->open(f, err) : 0;
	if (ret)
		return ret;
	f->opened = true;
	ret = add_ports(f, err);
	return ret ?: filter_set_status(f, f->prop.status, err);
}

static void filter_instance_init(struct object *o)
{
	list_init(&to_filter(o)->node);
}

/* Whatever filter_complete() got to. */
static void filter_finalize(struct object *o)
{
	struct filter *f = to_filter(o);

	if (f->in_wire)
		leave_wires(f, f->n_ports);
	while (f->n_ports)
		port_remove(&f->port[--f->n_ports]);
	free(f->port);
	f->port = NULL;
	list_remove(&f->node);
	if (f->opened && filter_class(f)->close)
		filter_class(f)->close(f);
	f->opened = false;
}

static void filter_class_init(struct class *c)
{
	container_of(c, struct creatable_class, class)->complete = filter_complete;
}

static const char *const queue_names[] = { "all", "rx", "tx", NULL };
static const char *const insert_names[] = { "before", "behind", NULL };

#define PROP(field, name, kind, ...) OPT_F(struct filter, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(netdev, "netdev", OPT_STR, .required = true, .arg = "id",
	     .help = "the network backend whose wire it enters"),
	PROP(queue, "queue", OPT_ENUM, .choices = queue_names, .def = "all",
	     .help = "frames to the backend (rx), from it (tx), or all"),
	PROP(status, "status", OPT_BOOL, .def = "on", .help = "off: it stands aside, and costs nothing"),
	PROP(position, "position", OPT_STR, .def = "tail", .arg = "head|tail|id=id",
	     .help = "place among the filters of this backend; head is next to it"),
	PROP(insert, "insert", OPT_ENUM, .choices = insert_names, .def = "behind",
	     .help = "on which side of the filter that position=id= names"),
	OPT_END,
};

const struct type type_netfilter = {
	.name = "netfilter",
	.parent = "user-creatable",
	.desc = "parent of all filters",
	.instance_size = sizeof(struct filter),
	.class_size = sizeof(struct filter_class),
	.abstract = true,
	.class_init = filter_class_init,
	.instance_init = filter_instance_init,
	.finalize = filter_finalize,
	.props = props,
};
