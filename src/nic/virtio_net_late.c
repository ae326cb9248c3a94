/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: calls for sent frames that are put off.
 *
 * A driver asks to be called when a frame has been sent, so that it can free it. In a conversation, one frame there and
 * one back, it comes by that itself: Linux frees what was sent before it sends the next frame, and when it receives
 * one. The call then is an interrupt for nothing, and costs more than all else that the device does for the frame. So
 * in a conversation the used index is published as ever, but the question whether the driver wants to hear of it is put
 * before the next frame is sent, or when a time is over. With the event index the driver has mostly moved on by then,
 * and no call is due. Without it there is no telling, and nothing is put off.
 *
 * A frame that was sent alone leaves the ring empty, so nobody waits for room in it. What the driver does with a frame
 * that it frees (a socket's room for more) waits for that time at most. A driver that has said itself how long calls of
 * the queue may wait (NOTF_COAL, VQ_NOTF_COAL), even if it said not at all, gets them as it said.
 */
#include "nic/virtio_net.h"

bool vnet_late_may(const struct vnet_pair *p)
{
	return p->late.allowed && loop_converses(p->lane->loop) &&
	       !atomic_load_explicit(&p->coal[1].said, memory_order_relaxed);
}

void vnet_late_flush(struct vnet_pair *p)
{
	virtq_publish_quietly(&p->txq->q);
	p->late.owed = true;
	if (timer_arm(&p->late.timer, clock_now(CLOCK_VM_NS) + p->net->prop.tx_call_delay) < 0)
		vnet_late_ask(p);
}

void vnet_late_start(struct vnet_pair *p)
{
	p->late.allowed = vnet_has(p->net, VIRTIO_RING_F_EVENT_IDX) && p->net->prop.tx_call_delay;
	vnet_late_ask(p);
}

void vnet_late_stop(struct vnet_pair *p)
{
	timer_cancel(&p->late.timer);
}

void vnet_late_forget(struct vnet_pair *p)
{
	vnet_late_stop(p);
	p->late.owed = false;
}

void vnet_late_ask(struct vnet_pair *p)
{
	if (!p->late.owed)
		return;
	vnet_late_forget(p);
	if (virtq_ask(&p->txq->q))
		virtio_queue_call(&p->net->vdev, p->txq);
}

static void on_time(struct timer *t)
{
	vnet_late_ask(container_of(t, struct vnet_pair, late.timer));
}

void vnet_late_init(struct vnet_pair *p)
{
	timer_init(&p->late.timer, p->lane->loop, CLOCK_VM_NS, on_time);
}
