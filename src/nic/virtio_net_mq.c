/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net with several pairs of queues (virtio 1.2, 5.1.2, 5.1.6.5.5): which of them are active, and how all of them
 * come to know what the driver configured.
 *
 * The control queue runs on the first pair's loop, and what its commands set (filter, steering, offloads, active pairs)
 * is that loop's. Pairs on other loops have copies. A command that was carried out is told to them by a post, each
 * adopts it on its own loop and posts back, and only when the last one has done so does the driver get its answer, and
 * the next command its turn: until then nothing changes what they are copying. No loop waits for another; a reset takes
 * the posts back.
 *
 * A pair that is not active is quiet: it takes nothing from its rings, and its peer is retired, so that a tap's flows
 * go to the queues of the others. The kernel detaches and attaches queues under a lock that all of the host's network
 * configuration waits for, and so it is told who steers frames. So a driver that changes this often, by whichever
 * command, waits for its answers; and if it resets the device instead, its next command waits.
 */
#include "nic/virtio_net_ctrl.h"

/* So many changes in a row, and then one in so long. */
#define CHANGE_BURST	8
#define CHANGE_PAUSE_NS (20 * NSEC_PER_MSEC)

/* ---- which pairs are active; the pair's loop ---- */

static void activate(struct vnet_pair *p)
{
	p->active = true;
	if (vnet_running(p))
		vnet_rx_start(p);
	net_start(&p->client);
}

/* What the guest has posted to send goes out, as far as there is room, before its flows go elsewhere. */
static void deactivate(struct vnet_pair *p)
{
	bool running = vnet_running(p);

	atomic_store(&p->open, false);
	if (running)
		vnet_tx_kick(p);
	net_retire(&p->client);
	if (running)
		vnet_rx_stop(p);
	vnet_rx_drop_held(p, NET_DROP_STOPPED);
	vnet_steer_drop(p, NET_DROP_STOPPED);
	p->active = false;
}

static void set_active(struct vnet_pair *p, bool active)
{
	if (active && !p->active)
		activate(p);
	else if (!active && p->active)
		deactivate(p);
}

void vnet_mq_reset_pair(struct vnet_pair *p)
{
	loop_unpost(p->lane->loop, &p->adopt);
	set_active(p, p == p->net->pair);
	if (p == p->net->pair)
		vnet_steer_wire(p->net, NULL);
}

/* ---- what the driver configured ---- */

static void copy_config(struct vnet_pair *p)
{
	if (p->filter == &p->net->filter)
		return;
	p->copy.filter = p->net->filter;
	p->copy.rss = p->net->rss;
}

void vnet_mq_start_pair(struct vnet_pair *p)
{
	copy_config(p);
	net_takes_changed(&p->client, p->net->takes);
}

static void adopt(struct vnet_pair *p)
{
	copy_config(p);
	if (p->client.takes != p->net->takes) {
		net_takes_changed(&p->client, p->net->takes);
		vnet_rx_takes_changed(p);
	}
	set_active(p, p < p->net->pair + p->net->active);
}

static void on_adopt(struct post *post)
{
	struct vnet_pair *p = container_of(post, struct vnet_pair, adopt);

	adopt(p);
	loop_post(p->net->vdev.loop, &p->adopted);
}

static void note_change(struct virtio_net *n)
{
	uint64_t now = clock_now(CLOCK_VM_NS);

	n->ctrl.due = MAX(n->ctrl.due, now) + CHANGE_PAUSE_NS;
}

/* Each pair that the table names is there: frames may come to it. */
static void all_adopted(struct virtio_net *n)
{
	bool did = atomic_load(&n->wire_steers);

	if (n->ctrl.new_table || did != n->rss.steering)
		vnet_steer_wire(n, &n->rss);
	n->ctrl.new_table = false;
	if (atomic_load(&n->wire_steers) != did)
		note_change(n);
}

static void on_adopted(struct post *post)
{
	struct virtio_net *n = container_of(post, struct vnet_pair, adopted)->net;

	if (--n->ctrl.telling)
		return;
	all_adopted(n);
	watch_again(&n->ctrlq->watch);
}

/* By the table of MQ_RSS_CONFIG a frame may go to more than the driver sends by. */
static unsigned pairs_wanted(const struct virtio_net *n)
{
	const struct vnet_rss *r = &n->rss;
	unsigned pairs = r->steering ? MAX(r->pairs, r->table.unclassified + 1u) : n->pairs_set;

	for (unsigned i = 0; r->steering && i <= r->table.mask; i++)
		pairs = MAX(pairs, r->table.queue[i] + 1u);
	return MIN(pairs, n->n_pairs);
}

bool vnet_mq_tell(struct virtio_net *n)
{
	unsigned active = pairs_wanted(n);

	if (active != n->active)
		note_change(n);
	n->active = active;
	for (struct vnet_pair *p = n->pair; p < n->pair + n->n_pairs; p++) {
		if (p->lane == n->pair->lane) {
			adopt(p);
			continue;
		}
		n->ctrl.telling++;
		loop_post(p->lane->loop, &p->adopt);
	}
	if (!n->ctrl.telling)
		all_adopted(n);
	return n->ctrl.telling;
}

uint64_t vnet_mq_answer_at(const struct virtio_net *n)
{
	const uint64_t burst = CHANGE_BURST * (uint64_t)CHANGE_PAUSE_NS;

	return n->ctrl.due > burst ? n->ctrl.due - burst : 0;
}

/* ---- VQ_PAIRS_SET ---- */

bool vnet_pairs_set(struct virtio_net *n, struct vnet_cmd *c)
{
	uint16_t pairs;

	if (!vnet_has(n, VIRTIO_NET_F_MQ) || !vnet_cmd_get_all(c, &pairs, sizeof(pairs)))
		return false;
	pairs = le16toh(pairs);
	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > n->n_pairs)
		return false;
	n->pairs_set = pairs;
	n->rss.steering = false; /* the device's own choice again, 5.1.6.5.5 */
	return true;
}

/* ---- the device ---- */

void vnet_mq_reset(struct virtio_net *n)
{
	for (unsigned i = 0; n->ctrl.telling && i < n->n_pairs; i++)
		loop_unpost(n->vdev.loop, &n->pair[i].adopted);
	n->ctrl.telling = 0;
	n->ctrl.busy = n->ctrl.forgotten = n->ctrl.new_table = false;
	n->pairs_set = n->active = 1;
}

/*
 * The control queue is behind the pairs that there are, if the driver knows of several, else the third (5.1.2). That
 * one is then not the second pair's, nor on its loop.
 */
void vnet_mq_arrange(struct virtio_net *n)
{
	bool several = n->vdev.guest_features & (BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_RSS));
	struct virtio_queue *third = &n->vdev.queue[2];

	if (!n->prop.ctrl_vq)
		return;
	n->ctrlq = several ? &n->vdev.queue[2 * n->n_pairs] : third;
	if (n->n_pairs == 1)
		return;
	third->lane = several ? n->pair[1].lane : n->pair[0].lane;
	third->q.max_size = several ? n->prop.rx_queue_size : VNET_CTRL_QUEUE_SIZE;
	if (!third->q.enabled)
		third->q.size = third->q.max_size;
}

void vnet_mq_init_pair(struct vnet_pair *p)
{
	struct virtio_net *n = p->net;
	bool first = p->lane == n->pair->lane;

	post_init(&p->adopt, on_adopt);
	post_init(&p->adopted, on_adopted);
	p->active = p == n->pair;
	p->quiet = !p->active;
	p->filter = first ? &n->filter : &p->copy.filter;
	p->rss = first ? &n->rss : &p->copy.rss;
}
