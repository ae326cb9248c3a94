/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: receive-side scaling and hash report (virtio 1.2, 5.1.6.4.3, 5.1.6.5.6, 5.1.6.5.7). The hash is
 * net/rss.h's; here are the commands that configure it, and which pair of queues a frame goes to by it.
 *
 * MQ_RSS_CONFIG and MQ_HASH_CONFIG have the same beginning and end. All of a command is found good before anything of
 * it is in force.
 */
#include "nic/virtio_net_ctrl.h"

struct hash_tail {
	uint8_t key_len;
	uint8_t key[RSS_KEY_LEN];
};

/* Types, key: of either command. What was read is good. */
static bool fine_hash(const struct virtio_net *n, uint32_t types, const struct hash_tail *t)
{
	return !(types & ~vnet_hash_types(n)) && (t->key_len || !types);
}

/* The key is the last of a command. */
static bool get_tail(struct vnet_cmd *c, struct hash_tail *t)
{
	*t = (struct hash_tail){ 0 };
	return vnet_cmd_get(c, &t->key_len, 1) && t->key_len <= RSS_KEY_LEN && vnet_cmd_get_all(c, t->key, t->key_len);
}

static void set_hash(struct vnet_rss *r, uint32_t types, const struct hash_tail *t)
{
	rss_set_key(&r->hash, t->key, t->key_len);
	r->hash.types = types;
}

static bool hash_config(struct virtio_net *n, struct vnet_cmd *c)
{
	struct hash_tail tail;
	uint16_t reserved[4];
	uint32_t types;

	/* Linux fills in the reserved words what they are in the other command: they are not looked at. */
	if (!vnet_has(n, VIRTIO_NET_F_HASH_REPORT) || !vnet_cmd_get(c, &types, sizeof(types)) ||
	    !vnet_cmd_get(c, reserved, sizeof(reserved)) || !get_tail(c, &tail) || !fine_hash(n, le32toh(types), &tail))
		return false;
	n->rss.steering = false;
	set_hash(&n->rss, le32toh(types), &tail);
	return true;
}

/* A number of a pair, bits 1 to 16 of its receive queue's index. */
static bool get_pair(struct virtio_net *n, struct vnet_cmd *c, uint16_t *pair)
{
	if (!vnet_cmd_get(c, pair, sizeof(*pair)))
		return false;
	*pair = le16toh(*pair);
	return *pair < n->n_pairs;
}

static bool get_table(struct virtio_net *n, struct vnet_cmd *c, struct rss_table *t)
{
	uint16_t mask;

	if (!vnet_cmd_get(c, &mask, sizeof(mask)))
		return false;
	t->mask = le16toh(mask);
	if (t->mask >= RSS_TABLE_MAX || !is_power_of_2(t->mask + 1u) || !get_pair(n, c, &t->unclassified))
		return false;
	for (unsigned i = 0; i <= t->mask; i++) {
		if (!get_pair(n, c, &t->queue[i]))
			return false;
	}
	return true;
}

static bool rss_config(struct virtio_net *n, struct vnet_cmd *c)
{
	struct vnet_rss to = { .steering = true };
	struct hash_tail tail;
	uint32_t types;
	uint16_t max_tx;

	if (!vnet_has(n, VIRTIO_NET_F_RSS) || !vnet_cmd_get(c, &types, sizeof(types)) || !get_table(n, c, &to.table) ||
	    !vnet_cmd_get(c, &max_tx, sizeof(max_tx)))
		return false;
	to.pairs = le16toh(max_tx);
	if (!to.pairs || to.pairs > n->n_pairs || !get_tail(c, &tail) || !fine_hash(n, le32toh(types), &tail))
		return false;
	set_hash(&to, le32toh(types), &tail);
	n->rss = to;
	n->ctrl.new_table = true;
	return true;
}

bool vnet_mq_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c)
{
	switch (what) {
	case VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET:
		return vnet_pairs_set(n, c);
	case VIRTIO_NET_CTRL_MQ_RSS_CONFIG:
		return rss_config(n, c);
	case VIRTIO_NET_CTRL_MQ_HASH_CONFIG:
		return hash_config(n, c);
	}
	return false;
}

/* ---- what follows from it ---- */

uint32_t vnet_hash_types(const struct virtio_net *n)
{
	uint32_t types = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(n->prop.hash_type); i++)
		types |= n->prop.hash_type[i] != OPT_OFF ? 1u << i : 0;
	return types;
}

void vnet_rss_reset(struct vnet_rss *r)
{
	*r = (struct vnet_rss){ .pairs = 1 };
}

unsigned vnet_rss_pair(const struct vnet_rss *r, unsigned report, uint32_t hash)
{
	return report == VIRTIO_NET_HASH_REPORT_NONE ? r->table.unclassified : r->table.queue[hash & r->table.mask];
}
