/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter-redirector.
 *
 * Out. Frames of the directions that it acts on leave the wire by outdev: they are rx.out of the client where they
 * entered. While the device has no room the giver keeps his frames; while nobody is at its other end they are dropped
 * (peer-gone).
 *
 * In. What comes from indev goes on in those directions as if it had come through here: it is tx.in of the client where
 * it leaves. In both directions, if both are chosen. Bytes are read into one buffer; its first frame stays there, held,
 * until it has gone in every direction, and nothing more is taken from the device than the buffer has room for.
 *
 * Several queues share the devices; frames that come in go on by the first one.
 */
#include "net/filter_redirector.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/log.h"
#include "char/chardev.h"
#include "net/chr_frames.h"
#include "net/filter.h"

#define RING  (512 * KIB)
#define INPUT (64 * KIB) /* bytes of one read */

struct redirector {
	struct filter base;
	struct {
		char *indev, *outdev;
		bool vnet_hdr_support;
	} prop;
	struct chardev *in, *out;
	struct chr_reader *reader;
	bool injects[2];
	bool held[2];	/* the reader's first frame is still to go in this direction */
	bool open_head; /* ... and was counted */
	bool flows;
	bool dead; /* nothing more is believed that comes on this connection */
	bool owes; /* givers were refused frames */
	counter sent, lost, injected, bad_frames, bad_streams;
};

static struct redirector *to_redirector(struct filter *f)
{
	return container_of(f, struct redirector, base);
}

/* ---- out ---- */

static unsigned redirector_send(struct filter_port *p, enum filter_dir d, struct batch *b)
{
	struct redirector *r = to_redirector(p->filter);
	struct net_client *c = filter_in(p, d);
	unsigned i;

	for (i = 0; i < b->n; i++) {
		int ret = chr_frame_send(r->out, r->prop.vnet_hdr_support, b, &b->frame[i]);

		if (ret == -EAGAIN) {
			r->owes = true;
			break;
		}
		counter_add(ret ? &r->lost : &r->sent, 1);
		if (ret)
			net_drop_rx(c, NET_DROP_PEER_GONE);
		else
			net_count_rx_out(c, 1, b->frame[i].len);
	}
	return i;
}

/* The device has room again, or does not need any: whoever waits for it may go on. */
static void wake_givers(struct redirector *r)
{
	struct filter *f = &r->base;

	if (!r->owes)
		return;
	r->owes = false;
	for (unsigned i = 0; i < f->n_ports; i++) {
		net_wake_peer(filter_in(&f->port[i], FILTER_RX), NET_WAKE_ROOM);
		net_wake_peer(filter_in(&f->port[i], FILTER_TX), NET_WAKE_ROOM);
	}
}

static void out_room(void *opaque)
{
	wake_givers(opaque);
}

static void out_event(void *opaque, enum chardev_event e)
{
	(void)e;
	wake_givers(opaque);
}

/* ---- in ---- */

static bool anything_held(const struct redirector *r)
{
	return r->held[FILTER_RX] || r->held[FILTER_TX];
}

static struct net_client *way_out(struct redirector *r, enum filter_dir d)
{
	return filter_out(&r->base.port[0], d);
}

/* Hand the frame on in one direction. False: there is no room now. */
static bool inject(struct redirector *r, const struct chr_frame *f, enum filter_dir d)
{
	struct iovec iov[2] = { { NULL, 0 }, { f->data, f->len } };
	struct batch b;

	b.iov = iov;
	b.n = 1;
	b.frame[0] = (struct frame){ .meta = f->meta, .iov = 1, .cnt = 1, .len = (uint32_t)f->len };
	return net_send(way_out(r, d), &b) == 1;
}

/* A frame begins: it comes in, in each direction that it is to go. */
static void begin(struct redirector *r, const struct chr_frame *f)
{
	for (enum filter_dir d = FILTER_RX; d <= FILTER_TX; d++) {
		if (!r->injects[d])
			continue;
		net_count_tx_in(way_out(r, d), 1);
		if (f->why) {
			net_drop_tx(way_out(r, d), f->why);
			counter_add(&r->bad_frames, 1);
			continue;
		}
		r->held[d] = true;
		counter_add(&way_out(r, d)->tx.held, 1);
	}
}

static void let_go(struct redirector *r, enum filter_dir d)
{
	r->held[d] = false;
	counter_add(&way_out(r, d)->tx.held, -(uint64_t)1);
}

static void bad_stream(struct redirector *r)
{
	counter_add(&r->bad_streams, 1);
	log_limited(LOG_WARN, "%s: indev=%s: what comes is no frame; this connection is closed", r->base.base.id,
		    r->prop.indev);
	chr_reader_reset(r->reader);
	r->dead = true;
	chardev_hang_up(r->in);
}

/* One frame more; false: there is none, or no room for it. */
static bool inject_next(struct redirector *r)
{
	struct chr_frame f;
	enum chr_read got = chr_reader_next(r->reader, &f);

	if (got == CHR_BAD)
		bad_stream(r);
	if (got != CHR_FRAME)
		return false;
	if (!r->open_head)
		begin(r, &f);
	r->open_head = true;
	for (enum filter_dir d = FILTER_RX; d <= FILTER_TX; d++) {
		if (r->held[d] && inject(r, &f, d)) {
			let_go(r, d);
			counter_add(&r->injected, 1);
		}
	}
	if (anything_held(r))
		return false;
	r->open_head = false;
	chr_reader_pop(r->reader, &f);
	return true;
}

static void inject_all(struct redirector *r)
{
	while (r->flows && inject_next(r))
		;
}

static size_t in_capacity(void *opaque)
{
	struct redirector *r = opaque;

	return r->flows && !r->dead && !anything_held(r) ? chr_reader_room(r->reader) : 0;
}

static void in_input(void *opaque, const uint8_t *p, size_t n)
{
	struct redirector *r = opaque;

	chr_reader_put(r->reader, p, n);
	inject_all(r);
}

static void in_event(void *opaque, enum chardev_event e)
{
	struct redirector *r = opaque;

	if (e == CHARDEV_CLOSED)
		chr_reader_cut(r->reader);
	else
		r->dead = false;
}

static void go_on(struct redirector *r)
{
	if (!r->in)
		return;
	inject_all(r);
	chardev_want(r->in);
}

/* ---- filter ---- */

static void redirector_room(struct filter_port *p, enum filter_dir d)
{
	(void)d;
	if (!p->queue)
		go_on(to_redirector(p->filter));
}

static void redirector_start(struct filter_port *p)
{
	struct redirector *r = to_redirector(p->filter);

	if (p->queue)
		return;
	r->flows = true;
	go_on(r);
}

static void redirector_quiesce(struct filter_port *p)
{
	if (!p->queue)
		to_redirector(p->filter)->flows = false;
}

static void redirector_leave(struct filter_port *p)
{
	struct redirector *r = to_redirector(p->filter);

	for (enum filter_dir d = FILTER_RX; !p->queue && d <= FILTER_TX; d++) {
		if (!r->held[d])
			continue;
		let_go(r, d);
		net_drop_tx(way_out(r, d), NET_DROP_STOPPED);
	}
}

static int redirector_open(struct filter *f, struct error *err)
{
	struct redirector *r = to_redirector(f);
	int ret;

	if (!r->prop.indev && !r->prop.outdev)
		return fail(err, EINVAL, "one of indev= and outdev= is needed: where frames come from, or go to");
	if (r->prop.indev && r->prop.outdev && !strcmp(r->prop.indev, r->prop.outdev))
		return fail(err, EINVAL, "indev= and outdev= are the same device, %.64s; they have to be two",
			    r->prop.indev);
	ret = chardev_named("indev", r->prop.indev, &r->in, err) ?:
								   chardev_named("outdev", r->prop.outdev, &r->out, err);
	if (ret)
		return ret;
	r->reader = chr_reader_new(r->prop.vnet_hdr_support);
	if (!r->reader)
		return fail(err, ENOMEM, "no memory");
	memcpy(r->injects, f->acts, sizeof(r->injects));
	if (!r->out)
		f->acts[FILTER_RX] = f->acts[FILTER_TX] = false; /* what comes through goes through */
	f->passes = r->prop.vnet_hdr_support ? NET_OFF_ALL : 0;
	return 0;
}

static void redirector_close(struct filter *f)
{
	free(to_redirector(f)->reader);
	to_redirector(f)->reader = NULL;
}

static void redirector_port_close(struct filter_port *p)
{
	struct redirector *r = to_redirector(p->filter);

	if (p->queue)
		return;
	if (r->out)
		chardev_detach(r->out);
	if (r->in)
		chardev_detach(r->in);
}

static int redirector_port_open(struct filter_port *p, struct error *err)
{
	struct redirector *r = to_redirector(p->filter);
	const struct chardev_client out = { .room = out_room, .event = out_event, .opaque = r, .out_size = RING };
	const struct chardev_client in = {
		.capacity = in_capacity, .input = in_input, .event = in_event, .opaque = r, .in_size = INPUT
	};
	struct loop *loop = filter_in(p, FILTER_TX)->loop;
	char user[96];
	int ret = 0;

	if (p->queue)
		return 0;
	snprintf(user, sizeof(user), "filter-redirector,id=%.60s", p->filter->base.id);
	if (r->out)
		ret = chardev_attach(r->out, user, &out, loop, err);
	if (ret) {
		error_prefix(err, "outdev=%.64s: ", r->prop.outdev);
		return ret;
	}
	if (r->in)
		ret = chardev_attach(r->in, user, &in, loop, err);
	if (!ret)
		return 0;
	error_prefix(err, "indev=%.64s: ", r->prop.indev);
	if (r->out)
		chardev_detach(r->out);
	return ret;
}

static json_t *redirector_describe(struct filter_port *p)
{
	const struct redirector *r = to_redirector(p->filter);

	return json_pack("{s:s?, s:s?, s:I, s:I, s:I, s:I, s:I}", "indev", r->prop.indev, "outdev", r->prop.outdev,
			 "sent", (json_int_t)counter_get(&r->sent), "lost", (json_int_t)counter_get(&r->lost),
			 "injected", (json_int_t)counter_get(&r->injected), "bad-frames",
			 (json_int_t)counter_get(&r->bad_frames), "bad-streams",
			 (json_int_t)counter_get(&r->bad_streams));
}

static void redirector_class_init(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->open = redirector_open;
	fc->close = redirector_close;
	fc->port_open = redirector_port_open;
	fc->port_close = redirector_port_close;
	fc->start = redirector_start;
	fc->quiesce = redirector_quiesce;
	fc->send = redirector_send;
	fc->room = redirector_room;
	fc->leave = redirector_leave;
	fc->describe = redirector_describe;
}

#define PROP(field, name, kind, ...) OPT_F(struct redirector, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(indev, "indev", OPT_STR, .arg = "id", .help = "character device from which frames come into the wire"),
	PROP(outdev, "outdev", OPT_STR, .arg = "id", .help = "character device to which the wire's frames go instead"),
	PROP(vnet_hdr_support, "vnet_hdr_support", OPT_BOOL, .def = "off",
	     .help = "messages have vnet headers, and frames may be long; the other end has to know"),
	OPT_END,
};

const struct type type_filter_redirector = {
	.name = "filter-redirector",
	.parent = "netfilter",
	.desc = "leads frames to a character device, and frames from one into the wire",
	.instance_size = sizeof(struct redirector),
	.class_init = redirector_class_init,
	.props = props,
};
