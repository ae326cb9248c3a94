/* SPDX-License-Identifier: BSD-2-Clause */
/* See copier.h. */
#include "copier.h"

#include <errno.h>

#include "base/iov.h"

static int copier_realize(struct virtio_device *v, struct error *err)
{
	static const uint16_t sizes[QUEUES] = { QSIZE, QSIZE, QSIZE };

	if (to_copier(v)->rejects)
		return fail(err, EINVAL, "rejects=on: as you wish");
	v->device_id = COPIER_ID;
	v->config_len = CONFIG_LEN;
	v->host_features = 1;
	return virtio_queues_init(v, QUEUES, sizes, NULL, err);
}

static void copier_unrealize(struct virtio_device *v)
{
	(void)v;
}

static void copier_config_read(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out)
{
	memcpy(out, to_copier(v)->config + off, size);
}

static void copier_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in)
{
	memcpy(to_copier(v)->config + off, in, size);
}

static void copier_start(struct virtio_device *v, struct virtio_lane *l)
{
	(void)l;
	to_copier(v)->starts++;
}

static void copier_stop(struct virtio_device *v, struct virtio_lane *l)
{
	(void)l;
	to_copier(v)->stops++;
}

static uint32_t copy_chain(const struct iovec *iov, const struct vchain *c)
{
	struct iov_cur from = iov_cur(iov, c->n_out), to = iov_cur(iov + c->n_out, c->n_in);

	return (uint32_t)iov_move(&to, &from, SIZE_MAX);
}

static void copier_kick(struct virtio_device *v, struct virtio_queue *vq)
{
	struct iovec iov[VIRTQ_CHAIN_MAX];
	struct vchain c;
	int r;

	do {
		virtq_kick_disable(&vq->q);
		while ((r = virtq_pop(&vq->q, iov, ARRAY_SIZE(iov), &c)) == 1)
			virtq_push(&vq->q, c.head, copy_chain(iov, &c));
		if (r < 0) {
			virtio_break(v, &vq->q, vq->q.fault);
			return;
		}
	} while (virtq_kick_enable(&vq->q));
	virtio_queue_flush(v, vq);
}

static void copier_class_init(struct class *class)
{
	struct virtio_device_class *c = container_of(class, struct virtio_device_class, dev.class);

	c->realize = copier_realize;
	c->unrealize = copier_unrealize;
	c->config_read = copier_config_read;
	c->config_write = copier_config_write;
	c->start = copier_start;
	c->stop = copier_stop;
	c->kick = copier_kick;
}

static const struct opt copier_props[] = {
	OPT_F(struct copier, rejects, "rejects", OPT_BOOL, .def = "off", .help = "fail"),
	OPT_END,
};

const struct type type_copier = {
	.name = "copier",
	.parent = "virtio-device",
	.instance_size = sizeof(struct copier),
	.class_init = copier_class_init,
	.props = copier_props,
};
