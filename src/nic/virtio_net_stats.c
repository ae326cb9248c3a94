/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: device statistics (virtio 1.4, 5.1.6.5, "Device Statistics"): the accounts of the net clients and the
 * counters of the queues, as the driver asks for them. Basic statistics of each receive and transmit queue, and those
 * of the control queue. They count from when the device was made, resets or not.
 */
#include "nic/virtio_net_ctrl.h"

#define TYPES_RX BIT(VNET_STATS_RX_BASIC)
#define TYPES_TX BIT(VNET_STATS_TX_BASIC)
#define TYPES_CV BIT(VNET_STATS_CVQ)

static void reply(struct vnet_cmd *c, unsigned type, uint16_t index, const uint64_t *value, unsigned n)
{
	struct {
		struct vnet_std_stats_hdr hdr;
		uint64_t value[6];
	} r = { .hdr = { .type = (uint8_t)type,
			 .vq_index = htole16(index),
			 .size = htole16((uint16_t)(sizeof(r.hdr) + n * sizeof(*value))) } };

	for (unsigned i = 0; i < n; i++)
		r.value[i] = htole64(value[i]);
	vnet_cmd_put(c, &r, sizeof(r.hdr) + n * sizeof(*value));
}

static uint64_t all_drops(const struct net_account *a)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < NET_DROP_COUNT; i++)
		sum += counter_get(&a->dropped[i]);
	return sum;
}

static void reply_rx(struct vnet_cmd *c, const struct vnet_pair *p)
{
	const struct net_account *a = &p->client.rx;
	const uint64_t value[] = {
		counter_get(&p->rxq->q.stats.kicks), counter_get(&a->out), counter_get(&a->bytes),
		counter_get(&p->rxq->q.stats.calls), all_drops(a),	   counter_get(&a->dropped[NET_DROP_NO_BUFFER]),
	};

	reply(c, VNET_STATS_RX_BASIC, p->rxq->q.index, value, ARRAY_SIZE(value));
}

static void reply_tx(struct vnet_cmd *c, const struct vnet_pair *p)
{
	static const enum net_drop malformed[] = { NET_DROP_TOO_SHORT, NET_DROP_TOO_BIG, NET_DROP_VNET_HDR,
						   NET_DROP_MALFORMED };
	const struct net_account *a = &p->client.tx;
	uint64_t value[] = {
		counter_get(&p->txq->q.stats.kicks), counter_get(&a->out), counter_get(&a->bytes),
		counter_get(&p->txq->q.stats.calls), all_drops(a),	   0,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(malformed); i++)
		value[5] += counter_get(&a->dropped[malformed[i]]);
	reply(c, VNET_STATS_TX_BASIC, p->txq->q.index, value, ARRAY_SIZE(value));
}

/* One entry of a STATS_GET. False: there is no such queue, or it has no such statistics. */
static bool reply_to(struct virtio_net *n, struct vnet_cmd *c, const struct vnet_std_stats_query *q)
{
	uint16_t index = le16toh(q->vq_index);
	uint64_t types = le64toh(q->types);

	if (index < (vnet_has(n, VIRTIO_NET_F_MQ) || vnet_has(n, VIRTIO_NET_F_RSS) ? 2 * n->n_pairs : 2)) {
		if (types & ~(index & 1 ? TYPES_TX : TYPES_RX))
			return false;
		if (types && index & 1)
			reply_tx(c, &n->pair[index / 2]);
		else if (types)
			reply_rx(c, &n->pair[index / 2]);
		return true;
	}
	if (index != n->ctrlq->q.index || types & ~TYPES_CV)
		return false;
	/* This command counts, and it went well unless something is wrong with a later entry. */
	if (types)
		reply(c, VNET_STATS_CVQ, index, (const uint64_t[]){ n->commands + 1, n->commands_ok + 1 }, 2);
	return true;
}

static bool query(struct vnet_cmd *c)
{
	uint64_t types = htole64(TYPES_RX | TYPES_TX | TYPES_CV);

	if (c->left)
		return false;
	vnet_cmd_put(c, &types, sizeof(types));
	return true;
}

/* More entries than that ask for something twice, and could keep the loop busy for long. */
#define ENTRIES_PER_QUEUE 4

/* Each entry is read once and answered at once: if a later one is bad, what was written says nothing. */
static bool get(struct virtio_net *n, struct vnet_cmd *c)
{
	struct vnet_std_stats_query q;

	if (!c->left || c->left % sizeof(q) || c->left / sizeof(q) > ENTRIES_PER_QUEUE * n->vdev.n_queues)
		return false;
	while (c->left) {
		if (!vnet_cmd_get(c, &q, sizeof(q)) || !reply_to(n, c, &q))
			return false;
	}
	return true;
}

bool vnet_stats_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	if (!vnet_has(n, VIRTIO_NET_F_DEVICE_STATS))
		return false;
	switch (what) {
	case VIRTIO_NET_CTRL_STATS_QUERY:
		return query(c);
	case VIRTIO_NET_CTRL_STATS_GET:
		return get(n, c);
	}
	return false;
}
