/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: frames go to the pair that the driver's table says (virtio 1.2, 5.1.6.5.7.3), whichever queue of the netdev
 * they came by.
 *
 * The wire is asked to give frames by the right queue (net_steer()). If it cannot, the kernel spreads a tap's flows over
 * its queues by rules of its own; if it can, a frame may still come by another queue while something changes. So each is
 * looked at. One that came to another pair than its own lies in that one's buffers, which were not given to the driver
 * yet. It is copied to the inbox of its own pair, whose loop
 * delivers it as if its wire had brought it; the buffers are free for the next frame. An inbox that is full costs the
 * frame ("queue-full"). Frames of one flow keep their order as long as they come by one queue.
 *
 * A queue may be reset alone, and enabled again or not. Frames that the table says are its are dropped meanwhile
 * ("reset"), those in the inbox as well. Where the device chooses it chooses another pair, by the same way.
 *
 * The account: such a frame crosses the wire at the pair that it came to, and is received by the other. What is in an
 * inbox and was seen by its loop counts as held; a stop keeps it, a reset does not.
 */
#include <stdlib.h>

#include "base/iov.h"
#include "nic/virtio_net.h"

/* ---- the wire ---- */

void vnet_steer_wire(struct virtio_net *n, const struct vnet_rss *r)
{
	bool on = r && r->steering;
	int ret = net_steer(&n->pair->client, on ? &r->hash : NULL, on ? &r->table : NULL);

	atomic_store(&n->wire_steers, on && !ret);
}

const char *vnet_steering(const struct vnet_pair *p)
{
	if (!p->rss->steering)
		return "none";
	return atomic_load(&p->net->wire_steers) ? "backend" : "inbox";
}

/* ---- the pair that it came to ---- */

/* Another pair whose queue is enabled; if there is none, p itself. */
static struct vnet_pair *any_other(struct vnet_pair *p)
{
	struct virtio_net *n = p->net;
	unsigned self = (unsigned)(p - n->pair);

	for (unsigned i = 1; i < n->n_pairs; i++) {
		struct vnet_pair *to = &n->pair[(self + i) % n->n_pairs];

		if (atomic_load(&to->open))
			return to;
	}
	return p;
}

struct vnet_pair *vnet_steer_to(struct vnet_pair *p, size_t len)
{
	unsigned report;
	uint32_t hash;

	if (!p->rss->steering)
		return any_other(p);
	report = vnet_rx_hash(p, len, &hash);
	return &p->net->pair[vnet_rss_pair(p->rss, report, hash)];
}

enum net_drop vnet_steer(struct vnet_pair *p, struct vnet_pair *to, size_t len, const struct frame_meta *m)
{
	struct net_account *a = &p->client.rx;
	uint32_t ticket;
	uint8_t *place = inbox_reserve(to->inbox, (uint32_t)len, &ticket);

	if (!place)
		return NET_DROP_QUEUE_FULL;
	vnet_rx_read(p, place, len);
	inbox_ready(to->inbox, ticket, m);
	vnet_steer_again(to);
	counter_add(&p->handed_on, 1);
	/* The wire counts it as received here. */
	counter_add(&a->in, (uint64_t)-1);
	counter_add(&a->out, (uint64_t)-1);
	counter_add(&a->bytes, (uint64_t)-len);
	return NET_OK;
}

/* ---- the pair whose it is ---- */

static void count_arrived(struct vnet_pair *p)
{
	uint32_t n = inbox_arrived(p->inbox);

	counter_add(&p->client.rx.in, n);
	counter_add(&p->client.rx.held, n);
}

static void done(struct vnet_pair *p, size_t len, enum net_drop why)
{
	inbox_pop(p->inbox);
	counter_add(&p->client.rx.held, (uint64_t)-1);
	if (why)
		net_drop_rx(&p->client, why);
	else
		net_count_rx_out(&p->client, 1, len);
}

/* False: there is no room for it now. */
static bool deliver(struct vnet_pair *p, const struct inbox_slot *s)
{
	enum net_drop why = NET_DROP_OFFLOAD; /* the driver changed its mind meanwhile */
	struct net_window w;

	if (!(frame_needs(&s->meta) & ~p->client.takes)) {
		if (vnet_rx_lend(&p->client, s->len, &w))
			return false;
		iov_write_at(w.iov, w.cnt, 0, p->inbox->bytes + s->at, s->len);
		why = vnet_rx_put(p, s->len, &s->meta);
	}
	done(p, s->len, why);
	return true;
}

/* Why nothing is to be delivered, now or later. Other loops go on giving a little longer than this one receives. */
static enum net_drop refusal(const struct vnet_pair *p)
{
	if (!p->negotiated)
		return NET_DROP_RESET;
	if (!p->active)
		return NET_DROP_STOPPED;
	return virtio_broken(&p->net->vdev) ? NET_DROP_BROKEN : NET_OK;
}

void vnet_steer_run(struct vnet_pair *p)
{
	const struct inbox_slot *s;
	enum net_drop why = refusal(p);
	bool any = false;

	if (!p->inbox)
		return;
	count_arrived(p);
	if (why)
		vnet_steer_drop(p, why);
	while ((s = inbox_first(p->inbox)) && deliver(p, s))
		any = true;
	if (any)
		vnet_rx_commit(&p->client);
}

void vnet_steer_drop(struct vnet_pair *p, enum net_drop why)
{
	if (!p->inbox)
		return;
	count_arrived(p);
	while (inbox_first(p->inbox))
		done(p, 0, why);
}

void vnet_steer_again(struct vnet_pair *p)
{
	if (p->inbox)
		loop_post(p->lane->loop, &p->arrival);
}

void vnet_steer_reset(struct vnet_pair *p)
{
	loop_unpost(p->lane->loop, &p->arrival);
	vnet_steer_drop(p, NET_DROP_RESET);
}

static void on_arrival(struct post *post)
{
	vnet_steer_run(container_of(post, struct vnet_pair, arrival));
}

int vnet_steer_init(struct vnet_pair *p)
{
	post_init(&p->arrival, on_arrival);
	if (p->net->n_pairs == 1)
		return 0;
	p->inbox = calloc(1, sizeof(*p->inbox));
	return p->inbox ? inbox_init(p->inbox) : -ENOMEM;
}

void vnet_steer_destroy(struct vnet_pair *p)
{
	if (p->inbox)
		inbox_destroy(p->inbox);
	free(p->inbox);
	p->inbox = NULL;
}
