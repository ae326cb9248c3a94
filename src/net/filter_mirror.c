/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter-mirror. It only watches: a copy that the device does not take is missed, and counted. Without vnet headers in
 * its messages a frame that is still to be cut or checksummed is lowered for the copy alone; the frame goes on as it
 * is.
 */
#include "net/filter_mirror.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/iov.h"
#include "char/chardev.h"
#include "net/chr_frames.h"
#include "net/filter.h"
#include "net/offload.h"

#define RING (512 * KIB)

struct mirror {
	struct filter base;
	struct {
		char *outdev;
		bool vnet_hdr_support;
	} prop;
	struct chardev *out;
	struct offload_ctx *x;
	struct batch one, pieces;	   /* the frame, what it was cut into */
	struct iovec iov[NET_IOV_MAX + 1]; /* of `one`: a slot, the frame's pieces */
	counter sent, missed;
};

static struct mirror *to_mirror(struct filter *f)
{
	return container_of(f, struct mirror, base);
}

static void send_copy(struct mirror *m, const struct batch *b, const struct frame *f)
{
	counter_add(chr_frame_send(m->out, m->prop.vnet_hdr_support, b, f) ? &m->missed : &m->sent, 1);
}

static void send_lowered(struct mirror *m)
{
	if (offload_begin(m->x, &m->one, &m->one.frame[0], 0)) {
		counter_add(&m->missed, 1);
		return;
	}
	while (offload_next(m->x, &m->pieces)) {
		for (unsigned i = 0; i < m->pieces.n; i++)
			send_copy(m, &m->pieces, &m->pieces.frame[i]);
	}
}

static void mirror_see(struct filter_port *p, enum filter_dir d, const struct iovec *iov, unsigned cnt, size_t len,
		       const struct frame_meta *meta)
{
	struct mirror *m = to_mirror(p->filter);
	struct iov_cur cur = iov_cur(iov, cnt);
	struct frame *f = &m->one.frame[0];

	(void)d;
	*f = (struct frame){ .meta = *meta, .iov = 1, .len = (uint32_t)len };
	f->cnt = iov_refer(&cur, len, m->iov + 1, NET_IOV_MAX);
	m->one.iov = m->iov;
	m->one.n = 1;
	if (iov_size(m->iov + 1, f->cnt) != len)
		counter_add(&m->missed, 1);
	else if (!m->prop.vnet_hdr_support && frame_needs(meta))
		send_lowered(m);
	else
		send_copy(m, &m->one, f);
}

/* ---- life ---- */

static int mirror_open(struct filter *f, struct error *err)
{
	struct mirror *m = to_mirror(f);
	int ret = chardev_named("outdev", m->prop.outdev, &m->out, err);

	if (ret)
		return ret;
	m->x = offload_new();
	return m->x ? 0 : fail(err, ENOMEM, "no memory");
}

static void mirror_close(struct filter *f)
{
	offload_free(to_mirror(f)->x);
	to_mirror(f)->x = NULL;
}

/* All queues share the device: the first one's loop serves it. */
static int mirror_port_open(struct filter_port *p, struct error *err)
{
	static const struct chardev_client client = { .out_size = RING };
	struct mirror *m = to_mirror(p->filter);
	char user[80];
	int ret;

	if (p->queue)
		return 0;
	snprintf(user, sizeof(user), "filter-mirror,id=%.60s", p->filter->base.id);
	ret = chardev_attach(m->out, user, &client, filter_in(p, FILTER_TX)->loop, err);
	if (ret)
		error_prefix(err, "outdev=%.64s: ", m->prop.outdev);
	return ret;
}

static void mirror_port_close(struct filter_port *p)
{
	if (!p->queue)
		chardev_detach(to_mirror(p->filter)->out);
}

static json_t *mirror_describe(struct filter_port *p)
{
	const struct mirror *m = to_mirror(p->filter);

	return json_pack("{s:s, s:I, s:I}", "outdev", m->prop.outdev, "sent", (json_int_t)counter_get(&m->sent),
			 "missed", (json_int_t)counter_get(&m->missed));
}

static void mirror_class_init(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->open = mirror_open;
	fc->close = mirror_close;
	fc->port_open = mirror_port_open;
	fc->port_close = mirror_port_close;
	fc->see = mirror_see;
	fc->describe = mirror_describe;
}

#define PROP(field, name, kind, ...) OPT_F(struct mirror, prop.field, name, kind, __VA_ARGS__)

static const struct opt props[] = {
	PROP(outdev, "outdev", OPT_STR, .required = true, .arg = "id",
	     .help = "character device that the copies go to"),
	PROP(vnet_hdr_support, "vnet_hdr_support", OPT_BOOL, .def = "off",
	     .help = "messages have vnet headers, and frames may be long; the other end has to know"),
	OPT_END,
};

const struct type type_filter_mirror = {
	.name = "filter-mirror",
	.parent = "netfilter",
	.desc = "sends a copy of each frame to a character device",
	.instance_size = sizeof(struct mirror),
	.class_init = mirror_class_init,
	.props = props,
};
