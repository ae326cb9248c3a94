/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: notification coalescing (virtio 1.3, 5.1.6.5.9; NOTF_COAL, VQ_NOTF_COAL).
 *
 * The used index is published as ever, a driver that polls sees no difference: only the call waits. At each publish the
 * ring says whether the driver wants to hear of it; if so a call is owed. It is sent when max_packets frames have
 * passed, or max_usecs after the first of them; and at once if either is 0. While nothing is configured, which is one
 * load, none of this is in the way.
 *
 * The parameters are written by the loop of the control queue and read by the queue's: one word, and a post that has
 * the queue's loop look at them. All else is the queue's loop's. A stop keeps what is owed, a reset forgets it.
 */
#include "nic/virtio_net_ctrl.h"

/* A guest that asks for more harms itself, but an interface that seems dead for an hour helps nobody. */
#define USECS_MAX 1000000u

static uint32_t max_packets(uint64_t params)
{
	return (uint32_t)(params >> 32);
}

static uint32_t max_usecs(uint64_t params)
{
	return (uint32_t)params;
}

static struct virtio_queue *queue_of(const struct vnet_coal *c)
{
	return c->tx ? c->pair->txq : c->pair->rxq;
}

/* Frames that passed the queue, ever. */
static uint64_t frames(const struct vnet_coal *c)
{
	return c->tx ? counter_get(&c->pair->txq->q.stats.chains) : counter_get(&c->pair->client.rx.out);
}

/* ---- the queue's loop ---- */

static void fire(struct vnet_coal *c)
{
	struct virtio_queue *vq = queue_of(c);

	timer_cancel(&c->timer);
	c->from = frames(c);
	c->counting = false;
	if (!c->owed)
		return;
	c->owed = false;
	counter_add(&vq->q.stats.calls, 1);
	virtio_queue_call(vq->vdev, vq);
}

/* Is it time? If not, a timer says when. */
static void judge(struct vnet_coal *c)
{
	uint64_t params = atomic_load_explicit(&c->params, memory_order_relaxed), n = frames(c) - c->from;

	if (!n && !c->owed)
		return;
	if (!max_packets(params) || !max_usecs(params) || !n || n >= max_packets(params)) {
		fire(c);
		return;
	}
	if (!c->counting)
		c->since = clock_now(CLOCK_VM_NS);
	c->counting = true;
	if (timer_arm(&c->timer, c->since + MIN(max_usecs(params), USECS_MAX) * NSEC_PER_USEC) < 0)
		fire(c);
}

void vnet_coal_flush(struct vnet_coal *c)
{
	struct virtio_queue *vq = queue_of(c);

	if (virtq_publish(&vq->q)) {
		c->owed = true;
		counter_add(&vq->q.stats.calls, (uint64_t)-1); /* not yet */
	}
	judge(c);
}

static void on_time(struct timer *t)
{
	fire(container_of(t, struct vnet_coal, timer));
}

static void on_params(struct post *p)
{
	struct vnet_coal *c = container_of(p, struct vnet_coal, post);

	if (!c->counting && !c->owed)
		c->from = frames(c); /* those before were told of, one batch at a time */
	if (vnet_running(c->pair))
		judge(c);
}

void vnet_coal_init(struct vnet_pair *p)
{
	for (unsigned tx = 0; tx < 2; tx++) {
		struct vnet_coal *c = &p->coal[tx];

		c->pair = p;
		c->tx = tx;
		timer_init(&c->timer, c->pair->lane->loop, CLOCK_VM_NS, on_time);
		post_init(&c->post, on_params);
	}
}

void vnet_coal_start(struct vnet_pair *p)
{
	for (unsigned tx = 0; tx < 2; tx++) {
		if (p->coal[tx].owed)
			fire(&p->coal[tx]);
	}
}

static void stop(struct vnet_coal *c)
{
	timer_cancel(&c->timer);
	loop_unpost(c->pair->lane->loop, &c->post);
}

void vnet_coal_stop(struct vnet_pair *p)
{
	stop(&p->coal[0]);
	stop(&p->coal[1]);
}

/* Nothing is owed any more, and these are the parameters. */
static void start_over(struct vnet_coal *c, uint64_t params)
{
	stop(c); /* a post may have come behind a stop */
	atomic_store(&c->params, params);
	c->from = frames(c);
	c->owed = c->counting = false;
}

void vnet_coal_queue_reset(struct vnet_coal *c)
{
	start_over(c, atomic_load(&c->pair->net->coal[c->tx]));
}

void vnet_coal_reset(struct vnet_pair *p)
{
	for (unsigned tx = 0; tx < 2; tx++) {
		atomic_store(&p->coal[tx].said, false);
		start_over(&p->coal[tx], 0);
	}
}

/* ---- the control queue's loop ---- */

static uint64_t params_of(const struct vnet_std_coal *c)
{
	return (uint64_t)le32toh(c->max_packets) << 32 | le32toh(c->max_usecs);
}

static void set(struct vnet_coal *c, uint64_t params)
{
	atomic_store(&c->said, true);
	atomic_store(&c->params, params);
	loop_post(c->pair->lane->loop, &c->post);
}

static bool set_all(struct virtio_net *n, bool tx, struct vnet_cmd *c)
{
	struct vnet_std_coal to;

	if (!vnet_has(n, VIRTIO_NET_F_NOTF_COAL) || !vnet_cmd_get_all(c, &to, sizeof(to)))
		return false;
	atomic_store(&n->coal[tx], params_of(&to));
	for (unsigned i = 0; i < n->n_pairs; i++)
		set(&n->pair[i].coal[tx], params_of(&to));
	return true;
}

/*
 * The parameters of a queue that is enabled, by its index as the driver wrote it; NULL: it is not, or is the control
 * queue, which is the third for a driver that knows of one pair only.
 */
static struct vnet_coal *coal_of(struct virtio_net *n, uint16_t index)
{
	struct vnet_coal *c;

	index = le16toh(index);
	if (index >= 2 * n->n_pairs || index == n->ctrlq->q.index)
		return NULL;
	c = &n->pair[index / 2].coal[index & 1];
	return queue_of(c)->q.enabled ? c : NULL;
}

static bool set_one(struct virtio_net *n, struct vnet_cmd *c)
{
	struct vnet_std_coal_vq to;
	struct vnet_coal *coal;

	if (!vnet_has(n, VIRTIO_NET_F_VQ_NOTF_COAL) || !vnet_cmd_get_all(c, &to, sizeof(to)))
		return false;
	coal = coal_of(n, to.vq_index);
	if (coal)
		set(coal, params_of(&to.coal));
	return coal;
}

/*
 * The one command whose data has a part for the device to write: it stands before the answer, as data does, whereas a
 * result (of which 5.1.6.5 names those that have one) stands behind it.
 */
static bool get_one(struct virtio_net *n, struct vnet_cmd *c)
{
	struct vnet_std_coal is = { 0 };
	struct vnet_coal *coal;
	uint16_t which[2];
	uint64_t params;

	if (!vnet_has(n, VIRTIO_NET_F_VQ_NOTF_COAL) || !vnet_cmd_data_first(c, sizeof(is)))
		return false;
	coal = vnet_cmd_get_all(c, which, sizeof(which)) ? coal_of(n, which[0]) : NULL;
	if (coal) {
		params = atomic_load(&coal->params);
		is = (struct vnet_std_coal){ htole32(max_packets(params)), htole32(max_usecs(params)) };
	}
	vnet_cmd_put(c, &is, sizeof(is));
	return coal;
}

bool vnet_coal_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	switch (what) {
	case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
		return set_all(n, true, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
		return set_all(n, false, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
		return set_one(n, c);
	case VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET:
		return get_one(n, c);
	}
	return false;
}
