/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter-buffer: a delay line for each direction, whose frames are all due at the end of the interval in which they
 * came. When its memory is full the giver keeps its frames: in the guest's ring, in the tap.
 */
#include "net/filter_buffer.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "net/delay_line.h"
#include "net/filter.h"

struct buffer {
	struct filter base;
	struct {
		uint32_t interval; /* us */
		uint64_t limit;
	} prop;
};

struct buffer_port {
	struct delay_line line[2];
	uint64_t begin; /* of an interval, ns */
};

static struct buffer *to_buffer(struct filter *f)
{
	return container_of(f, struct buffer, base);
}

/* The end of the interval that `now` is in. */
static uint64_t interval_end(const struct filter_port *p, uint64_t now)
{
	const struct buffer_port *own = p->own;
	uint64_t interval = to_buffer(p->filter)->prop.interval * NSEC_PER_USEC;

	return now + interval - (now - own->begin) % interval;
}

static unsigned buffer_send(struct filter_port *p, enum filter_dir d, struct batch *b)
{
	struct buffer_port *own = p->own;
	struct delay_line *l = &own->line[d];
	uint64_t end = interval_end(p, delay_line_now(l));
	unsigned i;

	for (i = 0; i < b->n && delay_line_put(l, b, &b->frame[i], end); i++)
		;
	if (i < b->n)
		delay_line_refused(l);
	delay_line_run(l);
	return i;
}

static void buffer_room(struct filter_port *p, enum filter_dir d)
{
	struct buffer_port *own = p->own;

	delay_line_run(&own->line[d]);
}

static void buffer_start(struct filter_port *p)
{
	buffer_room(p, FILTER_RX);
	buffer_room(p, FILTER_TX);
}

static void buffer_quiesce(struct filter_port *p)
{
	struct buffer_port *own = p->own;

	delay_line_stop(&own->line[FILTER_RX]);
	delay_line_stop(&own->line[FILTER_TX]);
}

static void buffer_leave(struct filter_port *p)
{
	struct buffer_port *own = p->own;

	delay_line_empty(&own->line[FILTER_RX], NET_DROP_STOPPED);
	delay_line_empty(&own->line[FILTER_TX], NET_DROP_STOPPED);
}

static void buffer_port_close(struct filter_port *p)
{
	struct buffer_port *own = p->own;

	delay_line_free(&own->line[FILTER_RX]);
	delay_line_free(&own->line[FILTER_TX]);
	free(own);
}

static int buffer_port_open(struct filter_port *p, struct error *err)
{
	struct buffer_port *own = calloc(1, sizeof(*own));
	size_t limit = to_buffer(p->filter)->prop.limit;
	int ret;

	if (!own)
		return fail(err, ENOMEM, "no memory");
	p->own = own;
	ret = delay_line_init(&own->line[FILTER_RX], limit, filter_in(p, FILTER_RX), filter_out(p, FILTER_RX), err) ?:
		      delay_line_init(&own->line[FILTER_TX], limit, filter_in(p, FILTER_TX), filter_out(p, FILTER_TX),
				      err);
	if (ret) {
		buffer_port_close(p);
		return ret;
	}
	own->begin = delay_line_now(&own->line[FILTER_RX]);
	return 0;
}

static json_t *buffer_describe(struct filter_port *p)
{
	const struct buffer *b = to_buffer(p->filter);

	return json_pack("{s:I, s:I}", "interval-us", (json_int_t)b->prop.interval, "limit", (json_int_t)b->prop.limit);
}

static void buffer_class_init(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->port_open = buffer_port_open;
	fc->port_close = buffer_port_close;
	fc->start = buffer_start;
	fc->quiesce = buffer_quiesce;
	fc->send = buffer_send;
	fc->room = buffer_room;
	fc->leave = buffer_leave;
	fc->describe = buffer_describe;
}

#define PROP(field, name, kind, ...) OPT_F(struct buffer, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(interval, "interval", OPT_UINT, .required = true, .min = 1, .max = UINT32_MAX, .arg = "us",
	     .help = "microseconds after which what was held goes on"),
	PROP(limit, "limit", OPT_SIZE, .def = "4M", .min = DELAY_LINE_MIN, .max = DELAY_LINE_MAX, .arg = "bytes",
	     .help = "memory for frames of one direction; when it is full, the giver has to wait"),
	OPT_END,
};

const struct type type_filter_buffer = {
	.name = "filter-buffer",
	.parent = "netfilter",
	.desc = "holds frames and lets them go together at intervals",
	.instance_size = sizeof(struct buffer),
	.class_init = buffer_class_init,
	.props = props,
};
