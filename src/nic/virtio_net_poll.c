/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: queues that are polled (poll-us, or the thread's poll-max-ns).
 *
 * While the loop has something to do, or polls for it (loop/poll.h), it looks in each turn whether the driver has
 * posted something; so the driver need not kick, and a guest does not exit for it. When the loop is about to sleep the
 * driver is asked for a kick, and the ring looked at once more: the order of the two, with the barrier between them
 * (virtq_kick_enable), makes that nothing waits unseen. A loop that wakes because of something else and will not poll
 * leaves it at that: the kick that was asked for stands. If it is going to poll, it is revoked.
 *
 * Receiving concerns this only when the ring ran out of buffers while the peer has frames: else nobody waits for kicks
 * there. A frame that is held for want of buffers waits for one in the ordinary way. With tx=timer frames wait on
 * purpose, from a kick on: then nothing is polled.
 *
 * A pair is polled between start and stop, and not once the device broke.
 */
#include "nic/virtio_net.h"

static struct virtq *queue_of(struct vnet_pair *p, bool tx)
{
	return tx ? &p->txq->q : &p->rxq->q;
}

/* Is something to be done as soon as there is something in the ring? */
static bool waits_for_ring(const struct vnet_pair *p, bool tx)
{
	if (tx)
		return vnet_tx_free(p);
	return p->rx.ready && p->rx.starved && !p->rx.holding && !p->quiet;
}

static bool look_at(struct vnet_pair *p, bool tx)
{
	struct virtq *q = queue_of(p, tx);

	if (!waits_for_ring(p, tx) || virtio_broken(&p->net->vdev))
		return false;
	if (p->poll.asked[tx] && loop_polls(p->lane->loop)) {
		virtq_kick_revoke(q);
		p->poll.asked[tx] = false;
	}
	if (likely(!virtq_waits(q)))
		return false;
	if (tx)
		vnet_tx_kick(p);
	else
		vnet_rx_kick(p);
	return true;
}

static bool look(struct poller *poller)
{
	struct vnet_pair *p = container_of(poller, struct vnet_pair, poll.poller);
	bool sent = look_at(p, true);

	return look_at(p, false) || sent;
}

static bool ask_for_kick(struct vnet_pair *p, bool tx)
{
	struct virtq *q = queue_of(p, tx);

	if (!waits_for_ring(p, tx) || p->poll.asked[tx] || virtio_broken(&p->net->vdev))
		return false;
	p->poll.asked[tx] = true;
	if (virtq_kick_enable(q))
		return true;
	if (unlikely(q->fault)) {
		vnet_break(p->net, tx ? p->txq : p->rxq, q->fault);
		return true; /* there is something to say about that, and then to sleep on */
	}
	return false;
}

static bool rest(struct poller *poller)
{
	struct vnet_pair *p = container_of(poller, struct vnet_pair, poll.poller);
	bool more = ask_for_kick(p, true);

	return ask_for_kick(p, false) || more;
}

/* What was asked for before has come, or has been passed. */
bool vnet_poll_more(struct vnet_pair *p, bool tx)
{
	p->poll.asked[tx] = false;
	return virtq_waits(queue_of(p, tx));
}

void vnet_poll_init(struct vnet_pair *p)
{
	poller_init(&p->poll.poller, look, rest);
}

void vnet_poll_start(struct vnet_pair *p)
{
	p->poll.asked[0] = p->poll.asked[1] = false;
	if (p->net->prop.tx == TX_BH)
		poller_add(p->lane->loop, &p->poll.poller, p->net->prop.poll_us * NSEC_PER_USEC);
}

void vnet_poll_stop(struct vnet_pair *p)
{
	poller_del(&p->poll.poller);
}
