/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net's control queue (virtio 1.2, 5.1.6.5): receive modes, address and VLAN tables, the NIC's address,
 * offloads.
 *
 * A command is read through a cursor that passes each byte once, its length is checked before its data is looked at,
 * and what it sets is replaced when all of it was found good: a command that is refused changes nothing. A chain that
 * is no command at all breaks the device.
 *
 * One that was carried out is answered when all pairs have adopted what it set for them (virtio_net_mq.c); the answer
 * is in place by then, and only its used entry is missing. A kick, or the last pair that adopts, goes on from there.
 */
#include <errno.h>

#include "nic/virtio_net_ctrl.h"

/* Commands in one go. */
#define CTRL_BUDGET 64

/* ---- the classes of commands: true if the command was carried out ---- */

static bool rx_mode(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	struct rx_filter *f = &n->filter;
	bool *const mode[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc, [VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,   [VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,	    [VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
	};
	unsigned needs = what > VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX;
	uint8_t on;

	if (what >= ARRAY_SIZE(mode) || !vnet_has(n, needs) || !vnet_cmd_get_all(c, &on, 1))
		return false;
	*mode[what] = on;
	return true;
}

/*
 * One of the two tables of MAC_TABLE_SET into table[at..): *count entries, or *overflow if they are too many. The
 * number is checked against the bytes that are there by division: it may be anything.
 */
static bool get_macs(struct vnet_cmd *c, uint64_t *table, unsigned at, unsigned *count, bool *overflow)
{
	uint8_t mac[6];
	uint32_t n;

	if (!vnet_cmd_get(c, &n, sizeof(n)))
		return false;
	n = le32toh(n);
	if (n > c->left / sizeof(mac))
		return false;
	*overflow = n > RX_FILTER_MACS - at;
	*count = *overflow ? 0 : n;
	if (*overflow) {
		c->left -= n * sizeof(mac);
		return iov_skip(&c->cur, n * sizeof(mac)) == n * sizeof(mac);
	}
	for (unsigned i = 0; i < n; i++) {
		if (!vnet_cmd_get(c, mac, sizeof(mac)))
			return false;
		table[at + i] = mac_key(mac);
	}
	return true;
}

static bool mac_table_set(struct virtio_net *n, struct vnet_cmd *c)
{
	struct rx_filter *f = &n->filter;
	uint64_t table[RX_FILTER_MACS];
	bool uc_overflow, mc_overflow;
	unsigned n_uc, n_mc;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_RX) || !get_macs(c, table, 0, &n_uc, &uc_overflow) ||
	    !get_macs(c, table, n_uc, &n_mc, &mc_overflow) || c->left)
		return false;
	memcpy(f->table, table, (n_uc + n_mc) * sizeof(table[0]));
	f->n_uc = n_uc;
	f->n_mc = n_mc;
	f->uc_overflow = uc_overflow;
	f->mc_overflow = mc_overflow;
	return true;
}

static bool mac_addr_set(struct virtio_net *n, struct vnet_cmd *c)
{
	uint8_t mac[6];

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR) || !vnet_cmd_get_all(c, mac, sizeof(mac)) || mac_is_multicast(mac))
		return false;
	n->filter.mac = mac_key(mac);
	atomic_store(&n->mac, n->filter.mac);
	return true;
}

static bool mac_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	switch (what) {
	case VIRTIO_NET_CTRL_MAC_TABLE_SET:
		return mac_table_set(n, c);
	case VIRTIO_NET_CTRL_MAC_ADDR_SET:
		return mac_addr_set(n, c);
	}
	return false;
}

static bool vlan_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	uint16_t vid;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_VLAN) || what > VIRTIO_NET_CTRL_VLAN_DEL ||
	    !vnet_cmd_get_all(c, &vid, sizeof(vid)))
		return false;
	vid = le16toh(vid);
	if (vid >= RX_FILTER_VLANS)
		return false;
	rx_filter_set_vlan(&n->filter, vid, what == VIRTIO_NET_CTRL_VLAN_ADD);
	return true;
}

static bool announce_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	if (!vnet_has(n, VIRTIO_NET_F_GUEST_ANNOUNCE) || what != VIRTIO_NET_CTRL_ANNOUNCE_ACK || c->left)
		return false;
	atomic_fetch_and(&n->status, (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
	return true;
}

static bool offloads_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	uint64_t bits;

	if (!vnet_has(n, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || what != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !vnet_cmd_get_all(c, &bits, sizeof(bits)))
		return false;
	bits = le64toh(bits);
	if (bits & ~(n->vdev.guest_features & VNET_GUEST_OFFLOADS))
		return false;
	n->takes = vnet_guest_offloads(bits);
	return true;
}

/*
 * Does it set what all pairs have to adopt? What the others set is told in another way, or nobody's but the device's.
 */
static bool is_for_pairs(uint8_t class)
{
	return class != VIRTIO_NET_CTRL_ANNOUNCE && class != VIRTIO_NET_CTRL_NOTF_COAL &&
	       class != VIRTIO_NET_CTRL_STATS;
}

static bool command(struct virtio_net *n, const struct virtio_net_ctrl_hdr *h, struct vnet_cmd *c)
{
	switch (h->class) {
	case VIRTIO_NET_CTRL_RX:
		return rx_mode(n, h->cmd, c);
	case VIRTIO_NET_CTRL_MAC:
		return mac_command(n, h->cmd, c);
	case VIRTIO_NET_CTRL_VLAN:
		return vlan_command(n, h->cmd, c);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return announce_command(n, h->cmd, c);
	case VIRTIO_NET_CTRL_MQ:
		return vnet_mq_command(n, h->cmd, c);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return offloads_command(n, h->cmd, c);
	case VIRTIO_NET_CTRL_NOTF_COAL:
		return vnet_coal_command(n, h->cmd, c);
	case VIRTIO_NET_CTRL_STATS:
		return vnet_stats_command(n, h->cmd, c);
	}
	return false;
}

/* ---- the queue ---- */

/* What was written for a chain: n bytes of its writable part, from the first on. */
static void mark_dirty(struct virtio_net *n, const struct iovec *iov, size_t len)
{
	for (; len; iov++) {
		size_t part = MIN(len, iov->iov_len);

		ram_dirty_host(n->vdev.dma->ram, iov->iov_base, part);
		len -= part;
	}
}

static void late(struct timer *t)
{
	watch_again(&container_of(t, struct virtio_net, ctrl.late)->ctrlq->watch);
}

/* May the driver have its answer, as often as it had one? If not, it comes by itself. */
static bool is_time(struct virtio_net *n)
{
	uint64_t at = vnet_mq_answer_at(n);

	return at <= clock_now(CLOCK_VM_NS) || timer_arm(&n->ctrl.late, at) < 0;
}

/* Carry out the command of a chain and answer it; or leave it busy. */
static void answer(struct virtio_net *n, const struct vchain *ch, const struct iovec *iov)
{
	const struct iovec *in = iov + ch->n_out;
	struct vnet_cmd c = {
		iov_cur(iov, ch->n_out), ch->out_len, iov_cur(in, ch->n_in), iov_cur(in, ch->n_in), ch->in_len - 1, 0, 0
	};
	struct iov_cur at = c.in;
	struct virtio_net_ctrl_hdr h;
	uint8_t ack;

	iov_skip(&c.out, 1);
	ack = vnet_cmd_get(&c, &h, sizeof(h)) && command(n, &h, &c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
	n->commands++;
	n->commands_ok += ack == VIRTIO_NET_OK;
	iov_skip(&at, c.ack_at);
	iov_put(&at, &ack, 1);
	mark_dirty(n, in, MAX(c.written, c.ack_at) + 1);
	if (ack != VIRTIO_NET_OK)
		c.written = 0; /* it says nothing */
	n->ctrl.head = ch->head;
	n->ctrl.written = (uint32_t)MAX(c.written, c.ack_at) + 1;
	n->ctrl.busy = ack == VIRTIO_NET_OK && ((is_for_pairs(h.class) && vnet_mq_tell(n)) || !is_time(n));
	if (!n->ctrl.busy)
		virtq_push(&n->ctrlq->q, n->ctrl.head, n->ctrl.written);
}

/*
 * Go on with the command that is under way: true if it is answered now, or there is none. One that a reset forgot has
 * the next one wait.
 */
static bool go_on(struct virtio_net *n)
{
	if (!n->ctrl.busy)
		return is_time(n);
	if (n->ctrl.telling || !is_time(n))
		return false;
	n->ctrl.busy = false;
	if (!n->ctrl.forgotten)
		virtq_push(&n->ctrlq->q, n->ctrl.head, n->ctrl.written);
	n->ctrl.forgotten = false;
	return true;
}

/* Up to a budget of commands. True: there may be more. */
static bool run(struct virtio_net *n)
{
	struct iovec *iov = n->pair[0].tx.iov; /* nothing is in it between two runs of the transmit queue */
	struct virtq *q = &n->ctrlq->q;
	struct vchain c;
	int r = 0;

	for (unsigned budget = CTRL_BUDGET; budget; budget--) {
		r = virtq_pop(q, iov, VNET_TX_IOV, &c);
		if (r != 1)
			break;
		if (!c.n_out || !c.n_in || c.out_len < sizeof(struct virtio_net_ctrl_hdr)) {
			vnet_break(n, n->ctrlq, VIRTQ_FAULT_CONTROL);
			return false;
		}
		answer(n, &c, iov);
		if (n->ctrl.busy)
			return false;
	}
	if (r < 0)
		vnet_break(n, n->ctrlq, q->fault);
	return r == 1;
}

void vnet_ctrl_kick(struct virtio_net *n)
{
	struct virtq *q = &n->ctrlq->q;
	bool more;

	if (!go_on(n))
		return;
	virtq_kick_disable(q);
	more = run(n);
	virtio_queue_flush(&n->vdev, n->ctrlq);
	if (q->fault || n->ctrl.busy)
		return;
	if (more || virtq_kick_enable(q))
		watch_again(&n->ctrlq->watch);
	else if (q->fault)
		vnet_break(n, n->ctrlq, q->fault);
}

void vnet_ctrl_stop(struct virtio_net *n)
{
	timer_cancel(&n->ctrl.late);
}

/* What is to be adopted still has the next command wait. */
void vnet_ctrl_forget(struct virtio_net *n)
{
	n->ctrl.forgotten = n->ctrl.busy;
}

void vnet_ctrl_init(struct virtio_net *n)
{
	timer_init(&n->ctrl.late, n->vdev.loop, CLOCK_VM_NS, late);
}
