/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net: life, properties, features, config space. The rest is in virtio_net_{tx,rx,ctrl}.c; see virtio_net.h.
 *
 * A guest is offered what the properties say, whatever the backend can: what its peer cannot do is done in net/. So
 * features never change because of what the NIC is connected to.
 */
#include <errno.h>
#include <jansson.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "nic/nic.h"
#include "nic/virtio_net.h"
#include "net/vlan.h"
#include "object/iothread.h"

#define SPEED_UNKNOWN	  (-1)
/* From when a link is up again until the guest is to announce itself there. */
#define ANNOUNCE_AFTER_NS (50 * NSEC_PER_MSEC)

enum {
	DUPLEX_UNSET,
	DUPLEX_OPT_HALF,
	DUPLEX_OPT_FULL
};

/* ---- offloads and features ---- */

static const struct {
	uint64_t guest, host; /* features: all of them */
	uint8_t off;	      /* enum net_offload */
} offloads[] = {
	{ BIT(VIRTIO_NET_F_GUEST_CSUM), BIT(VIRTIO_NET_F_CSUM), NET_OFF_CSUM },
	{ BIT(VIRTIO_NET_F_GUEST_TSO4), BIT(VIRTIO_NET_F_HOST_TSO4), NET_OFF_TSO4 },
	{ BIT(VIRTIO_NET_F_GUEST_TSO6), BIT(VIRTIO_NET_F_HOST_TSO6), NET_OFF_TSO6 },
	{ BIT(VIRTIO_NET_F_GUEST_ECN), BIT(VIRTIO_NET_F_HOST_ECN), NET_OFF_ECN },
	{ BIT(VIRTIO_NET_F_GUEST_UFO), BIT(VIRTIO_NET_F_HOST_UFO), NET_OFF_UFO },
	{ BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6), BIT(VIRTIO_NET_F_HOST_USO), NET_OFF_USO },
};

uint32_t vnet_guest_offloads(uint64_t features)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++)
		bits |= (features & offloads[i].guest) == offloads[i].guest ? offloads[i].off : 0;
	return bits;
}

/* What a legacy driver may send by GSO (5.1.3.2): any type of those that there were then. */
#define ANY_GSO (NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN | NET_OFF_UFO)

static uint32_t host_offloads(uint64_t features)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(offloads); i++)
		bits |= features & offloads[i].host ? offloads[i].off : 0;
	return features & BIT(VIRTIO_NET_F_GSO) ? bits | ANY_GSO : bits;
}

unsigned vnet_hdr_len(uint64_t features)
{
	if (features & BIT(VIRTIO_NET_F_HASH_REPORT))
		return sizeof(struct virtio_net_hdr_v1_hash);
	if (features & (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF)))
		return sizeof(struct virtio_net_hdr_mrg_rxbuf);
	return sizeof(struct virtio_net_hdr);
}

/* What needs what (5.1.3.1): `bit` is only good with one of `any`. */
static const struct {
	uint8_t bit;
	uint64_t any;
} needs[] = {
	{ VIRTIO_NET_F_GUEST_TSO4, BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_TSO6, BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_ECN, BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ VIRTIO_NET_F_GUEST_UFO, BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_USO4, BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_GUEST_USO6, BIT(VIRTIO_NET_F_GUEST_CSUM) },
	{ VIRTIO_NET_F_HOST_TSO4, BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_TSO6, BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_ECN, BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) },
	{ VIRTIO_NET_F_HOST_UFO, BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_HOST_USO, BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_GSO, BIT(VIRTIO_NET_F_CSUM) },
	{ VIRTIO_NET_F_CTRL_RX, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_CTRL_VLAN, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_GUEST_ANNOUNCE, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_CTRL_MAC_ADDR, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_MQ, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_RSS, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_RSC_EXT, BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) },
	{ VIRTIO_NET_F_NOTF_COAL, BIT(VIRTIO_NET_F_CTRL_VQ) },
	{ VIRTIO_NET_F_VQ_NOTF_COAL, BIT(VIRTIO_NET_F_CTRL_VQ) },
};

/* The standard does not say so, but without a control queue they are of no use: not offered, but no fault either. */
#define USELESS_WITHOUT_CTRL_VQ                                                                                    \
	(BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_HASH_REPORT) | \
	 BIT(VIRTIO_NET_F_DEVICE_STATS))

/* The features that lack what they need. Those that need features in the list come behind these there. */
static uint64_t dangling(uint64_t features)
{
	uint64_t bad = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
		if ((features & BIT(needs[i].bit)) && !(features & ~bad & needs[i].any))
			bad |= BIT(needs[i].bit);
	}
	return bad;
}

static uint64_t offered_features(const struct virtio_net *n)
{
	uint64_t f = BIT(VIRTIO_NET_F_MAC);

#define X(field, name, bit, help) f |= n->prop.field ? BIT(bit) : 0;
	VNET_FEATURES(X)
#undef X
	f |= n->prop.mq ? BIT(VIRTIO_NET_F_MQ) : 0;
	if (n->prop.rsc_ext && (n->prop.guest_tso4 || n->prop.guest_tso6))
		f |= BIT(VIRTIO_NET_F_RSC_EXT);
	f |= n->prop.failover ? BIT(VIRTIO_NET_F_STANDBY) : 0;
	f |= n->prop.rss ? BIT(VIRTIO_NET_F_RSS) : 0;
	f |= n->prop.hash ? BIT(VIRTIO_NET_F_HASH_REPORT) : 0;
	if (n->prop.host_mtu)
		f |= BIT(VIRTIO_NET_F_MTU);
	if (n->prop.speed != SPEED_UNKNOWN || n->prop.duplex != DUPLEX_UNSET)
		f |= BIT(VIRTIO_NET_F_SPEED_DUPLEX);
	if (!n->prop.ctrl_vq)
		f &= ~USELESS_WITHOUT_CTRL_VQ;
	return f & ~dangling(f);
}

/* All types or none. */
static uint64_t legacy_only(const struct virtio_net *n)
{
	return n->prop.gso && (host_offloads(n->vdev.host_features) & ANY_GSO) == ANY_GSO ? BIT(VIRTIO_NET_F_GSO) : 0;
}

static void vnet_features_changed(struct virtio_device *v)
{
	vnet_mq_arrange(to_virtio_net(v));
}

static bool vnet_validate(struct virtio_device *v, uint64_t features)
{
	(void)v;
	return !dangling(features);
}

/* What drivers that took every feature, BAD_FEATURE with them, are known to understand (Linux 2.6.25). */
#define BAD_DRIVERS_KNOW                                                                                              \
	(BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
	 BIT(VIRTIO_NET_F_HOST_ECN))

static uint64_t vnet_legacy_features(struct virtio_device *v, uint64_t features)
{
	(void)v;
	if (features & BIT(VIRTIO_F_BAD_FEATURE))
		features &= BAD_DRIVERS_KNOW;
	return features & ~dangling(features);
}

/* ---- config space (5.1.4): read-only for a driver of virtio 1.0 or later ---- */

/* As much of it as the offered features need. */
static size_t config_len(uint64_t features)
{
	if (features & (BIT(VIRTIO_NET_F_RSS) | BIT(VIRTIO_NET_F_HASH_REPORT)))
		return offsetof(struct virtio_net_config, supported_hash_types) + sizeof(uint32_t);
	if (features & BIT(VIRTIO_NET_F_SPEED_DUPLEX))
		return offsetof(struct virtio_net_config, duplex) + 1;
	if (features & BIT(VIRTIO_NET_F_MTU))
		return offsetof(struct virtio_net_config, speed);
	if (features & BIT(VIRTIO_NET_F_MQ))
		return offsetof(struct virtio_net_config, mtu);
	return offsetof(struct virtio_net_config, max_virtqueue_pairs);
}

static void vnet_config_read(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out)
{
	static const uint8_t duplex[] = { 0xff, 0, 1 };
	struct virtio_net *n = to_virtio_net(v);
	uint64_t mac = atomic_load(&n->mac);
	struct virtio_net_config c = {
		.status = htole16(atomic_load(&n->status)),
		.max_virtqueue_pairs = htole16((uint16_t)n->n_pairs),
		.mtu = htole16(n->prop.host_mtu),
		.speed = htole32((uint32_t)n->prop.speed),
		.duplex = duplex[n->prop.duplex],
		.rss_max_key_size = RSS_KEY_LEN,
		.rss_max_indirection_table_length = htole16(RSS_TABLE_MAX),
		.supported_hash_types = htole32(vnet_hash_types(n)),
	};

	memcpy(c.mac, &mac, sizeof(c.mac));
	memcpy(out, (uint8_t *)&c + off, size);
}

struct mac_bytes {
	struct virtio_net *n;
	unsigned off, size;
	const uint8_t *in;
};

/* The filter is the loop's. */
static void write_mac_on_loop(void *arg)
{
	const struct mac_bytes *w = arg;
	uint64_t key = atomic_load(&w->n->mac);

	memcpy((uint8_t *)&key + w->off, w->in, w->size);
	atomic_store(&w->n->mac, key);
	w->n->filter.mac = key;
}

/*
 * A legacy driver may write the address, at any time, if it has no command for that (5.1.4.3), nor several pairs of
 * queues, which came later. It comes in any pieces: what lies between the first and the last one is no address yet, and
 * matches nothing that anybody sends.
 */
static void vnet_legacy_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in)
{
	struct mac_bytes w = { to_virtio_net(v), off, 0, in };

	if (off >= ETH_ALEN ||
	    v->guest_features & (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_MQ)))
		return; /* read-only */
	w.size = MIN(size, ETH_ALEN - off);
	loop_call(v->loop, write_mac_on_loop, &w);
}

/* ---- queues ---- */

void vnet_break(struct virtio_net *n, struct virtio_queue *vq, enum virtq_fault why)
{
	virtio_break(&n->vdev, &vq->q, why);
}

/* The pairs that a lane serves. */
#define for_each_pair(p, n, l)                                              \
	for (p = (n)->pair; (n)->pair && p < (n)->pair + (n)->n_pairs; p++) \
		if (p->lane == (l))

static void vnet_broke(struct virtio_device *v, struct virtio_lane *l)
{
	struct virtio_net *n = to_virtio_net(v);
	struct vnet_pair *p;

	for_each_pair(p, n, l) {
		vnet_tx_drop_waiting(p, NET_DROP_BROKEN);
		vnet_rx_drop_held(p, NET_DROP_BROKEN);
		vnet_tx_stop(p);
		vnet_coal_stop(p);
		vnet_late_forget(p);
		vnet_poll_stop(p);
		p->rx.ready = false;
		vnet_steer_again(p);
	}
}

/* NULL: it is the control queue, or would be if the driver knew of several pairs. */
static struct vnet_pair *pair_of(const struct virtio_net *n, const struct virtio_queue *vq)
{
	unsigned i = vq->q.index / 2;

	return vq == n->ctrlq || i >= n->n_pairs ? NULL : &n->pair[i];
}

static void vnet_kick(struct virtio_device *v, struct virtio_queue *vq)
{
	struct virtio_net *n = to_virtio_net(v);
	struct vnet_pair *p = pair_of(n, vq);

	if (!p && vq == n->ctrlq)
		vnet_ctrl_kick(n);
	else if (p && vq == p->txq)
		vnet_tx_kick(p);
	else if (p)
		vnet_rx_kick(p);
}

static void vnet_ready(struct virtio_device *v)
{
	struct virtio_net *n = to_virtio_net(v);

	n->filter.vlan_on = vnet_has(n, VIRTIO_NET_F_CTRL_VLAN);
	n->takes = vnet_guest_offloads(v->guest_features);
}

/* A driver that knows the MTU gets no packet beyond it that is one packet (5.1.4.1); tags are not counted. */
static uint32_t longest_frame(const struct virtio_net *n, uint64_t features)
{
	if (!(features & BIT(VIRTIO_NET_F_MTU)))
		return NET_FRAME_MAX;
	return MIN(n->prop.host_mtu + ETH_HDR_LEN + VLAN_TAG_LEN, NET_FRAME_MAX);
}

/* What the driver has changed since it was ready survives a quiesce: what the features say is set only once. */
static void pair_start(struct vnet_pair *p)
{
	uint64_t features = p->net->vdev.guest_features;

	if (!p->negotiated) {
		p->hdr_len = vnet_hdr_len(features);
		p->sends = host_offloads(features);
		p->rsc = features & BIT(VIRTIO_NET_F_RSC_EXT);
		p->longest = longest_frame(p->net, features);
		vnet_steer_drop(p, NET_DROP_RESET); /* other loops went on a little longer */
		vnet_mq_start_pair(p);
	}
	p->negotiated = true;
	if (p->active)
		vnet_rx_start(p);
	vnet_coal_start(p);
	vnet_late_start(p);
	vnet_poll_start(p);
}

static void vnet_start(struct virtio_device *v, struct virtio_lane *l)
{
	struct virtio_net *n = to_virtio_net(v);
	struct vnet_pair *p;

	for_each_pair(p, n, l)
		pair_start(p);
}

static void vnet_stop(struct virtio_device *v, struct virtio_lane *l)
{
	struct virtio_net *n = to_virtio_net(v);
	struct vnet_pair *p;

	for_each_pair(p, n, l) {
		vnet_rx_stop(p);
		vnet_tx_stop(p);
		vnet_coal_stop(p);
		vnet_late_stop(p);
		vnet_poll_stop(p);
	}
	if (l == n->pair->lane)
		vnet_ctrl_stop(n);
}

/* What waits in the transmit ring goes with it, and so do frames that wait for receive buffers. */
static void vnet_queue_reset(struct virtio_device *v, struct virtio_queue *vq)
{
	struct virtio_net *n = to_virtio_net(v);
	struct vnet_pair *p = pair_of(n, vq);

	if (vq == n->ctrlq)
		vnet_ctrl_forget(n);
	if (!p)
		return;
	if (vq == p->txq) {
		vnet_tx_drop_waiting(p, NET_DROP_RESET);
		vnet_tx_stop(p);
		vnet_late_forget(p);
	} else {
		vnet_rx_off(p);
	}
	vnet_coal_queue_reset(&p->coal[vq == p->txq]);
}

static void vnet_queue_start(struct virtio_device *v, struct virtio_queue *vq)
{
	struct vnet_pair *p = pair_of(to_virtio_net(v), vq);

	if (p && vq == p->rxq && p->active)
		vnet_rx_start(p);
}

static void vnet_reset_lane(struct virtio_device *v, struct virtio_lane *l)
{
	struct virtio_net *n = to_virtio_net(v);
	struct vnet_pair *p;

	for_each_pair(p, n, l) {
		vnet_tx_drop_waiting(p, NET_DROP_RESET);
		vnet_rx_drop_held(p, NET_DROP_RESET);
		vnet_coal_reset(p);
		vnet_late_forget(p);
		vnet_steer_reset(p);
		vnet_mq_reset_pair(p);
		p->rx.off = p->negotiated = false;
		atomic_store(&p->open, false);
	}
}

static void vnet_reset(struct virtio_device *v)
{
	struct virtio_net *n = to_virtio_net(v);

	rx_filter_reset(&n->filter, n->prop.mac.addr);
	vnet_rss_reset(&n->rss);
	vnet_mq_reset(n);
	vnet_mq_arrange(n);
	atomic_store(&n->coal[0], 0);
	atomic_store(&n->coal[1], 0);
	loop_unpost(v->loop, &n->back_post);
	timer_cancel(&n->announce);
	atomic_store(&n->mac, n->filter.mac);
	atomic_fetch_and(&n->status, VIRTIO_NET_S_LINK_UP);
}

void virtio_net_announce(struct virtio_net *n)
{
	if (!vnet_has(n, VIRTIO_NET_F_GUEST_ANNOUNCE) || !(virtio_get_status(&n->vdev) & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	atomic_fetch_or(&n->status, VIRTIO_NET_S_ANNOUNCE);
	virtio_config_changed(&n->vdev);
}

/* A link that is up again may lead to another network, which does not know where the guest is. */
static void on_back(struct post *post)
{
	struct virtio_net *n = container_of(post, struct virtio_net, back_post);

	/* Not at once: a driver that takes its link up for this sends nothing before it is up. */
	timer_arm(&n->announce, clock_now(CLOCK_VM_NS) + ANNOUNCE_AFTER_NS);
}

static void on_announce(struct timer *t)
{
	struct virtio_net *n = container_of(t, struct virtio_net, announce);

	if (atomic_load(&n->status) & VIRTIO_NET_S_LINK_UP)
		virtio_net_announce(n);
}

/* ---- the net client ---- */

static void client_wake(struct net_client *c, unsigned what)
{
	if (what & NET_WAKE_ROOM)
		vnet_tx_room(to_pair(c));
}

static void client_start(struct net_client *c)
{
	struct vnet_pair *p = to_pair(c);

	p->quiet = false;
	if (vnet_running(p) && p->rxq->q.running)
		watch_again(&p->rxq->watch);
	if (vnet_running(p) && p->txq->q.running)
		watch_again(&p->txq->watch);
}

static void client_quiesce(struct net_client *c)
{
	to_pair(c)->quiet = true;
}

static void client_link_changed(struct net_client *c, bool up)
{
	struct virtio_net *n = to_pair(c)->net;
	uint16_t old;

	if (c->queue) /* the pairs' wires go the same way */
		return;
	if (up)
		old = atomic_fetch_or(&n->status, VIRTIO_NET_S_LINK_UP);
	else
		old = atomic_fetch_and(&n->status, (uint16_t)~VIRTIO_NET_S_LINK_UP);
	if (!!(old & VIRTIO_NET_S_LINK_UP) == up)
		return;
	virtio_config_changed(&n->vdev);
	if (up)
		loop_post(n->vdev.loop, &n->back_post);
}

static json_int_t shown(const counter *c)
{
	return (json_int_t)counter_get(c);
}

static json_t *client_describe(struct net_client *c)
{
	const struct vnet_pair *p = to_pair(c);
	const struct virtq *rx = &p->rxq->q, *tx = &p->txq->q;

	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "guest-errors",
			 shown(&p->net->vdev.guest_errors), "steering", vnet_steering(p), "rx-handed-on",
			 shown(&p->handed_on), "rx-kicks", shown(&rx->stats.kicks), "rx-calls", shown(&rx->stats.calls),
			 "rx-calls-suppressed", shown(&rx->stats.calls_suppressed), "tx-kicks", shown(&tx->stats.kicks),
			 "tx-calls", shown(&tx->stats.calls), "tx-calls-suppressed",
			 shown(&tx->stats.calls_suppressed));
}

static const char *model(const struct virtio_net *n)
{
	const struct device *proxy = virtio_proxy(&n->vdev);

	return (proxy ? proxy : &n->vdev.dev)->obj.class->type->name;
}

static void client_info(struct net_client *c, char *buf, size_t size)
{
	struct virtio_net *n = to_pair(c)->net;
	uint64_t key = atomic_load(&n->mac);
	uint8_t mac[sizeof(key)];

	memcpy(mac, &key, sizeof(key));
	snprintf(buf, size, "model=%s,macaddr=" MAC_FMT, model(n), MAC_ARGS(mac));
}

static const struct net_client_ops client_ops = {
	.type = "nic",
	.lend = vnet_rx_lend,
	.take = vnet_rx_take,
	.commit = vnet_rx_commit,
	.wake = client_wake,
	.start = client_start,
	.quiesce = client_quiesce,
	.link_changed = client_link_changed,
	.describe = client_describe,
	.info = client_info,
};

/* ---- life ---- */

static int pair_init(struct virtio_net *n, unsigned i, struct error *err)
{
	struct vnet_pair *p = &n->pair[i];

	p->net = n;
	p->rxq = &n->vdev.queue[2 * i];
	p->txq = &n->vdev.queue[2 * i + 1];
	p->lane = p->rxq->lane;
	vnet_mq_init_pair(p);
	p->client = (struct net_client){
		.ops = &client_ops,
		.kind = NET_KIND_NIC,
		.queue = i,
		.loop = p->lane->loop,
		.gives = host_offloads(n->vdev.host_features),
		.max_frame = NET_FRAME_MAX,
	};
	if (i)
		memcpy(p->client.name, n->pair->client.name, sizeof(p->client.name));
	else
		nic_name_client(&p->client, virtio_label(&n->vdev), model(n));
	p->longest = NET_FRAME_MAX;
	vnet_coal_init(p);
	vnet_late_init(p);
	vnet_poll_init(p);
	vnet_tx_init(p);
	p->tx.batch.iov = p->tx.iov;
	p->tx.flat = malloc(NET_FRAME_MAX);
	if (!p->tx.flat || vnet_rx_init(p) < 0 || vnet_steer_init(p) < 0)
		return fail(err, ENOMEM, "no memory for queue pair %u", i);
	return 0;
}

static void pair_deinit(struct vnet_pair *p)
{
	free(p->tx.flat);
	vnet_rx_destroy(p);
	vnet_steer_destroy(p);
}

static int check_size(const struct virtio_net *n, const char *name, uint16_t size, struct error *err)
{
	if (n->vdev.packed || is_power_of_2(size))
		return 0;
	return fail(err, EINVAL,
		    "%s=%u: must be a power of 2, as packed=off; use 256, 512 or 1024, or packed=on for any size", name,
		    size);
}

static int check_props(struct virtio_net *n, struct error *err)
{
	if (n->prop.host_mtu && n->prop.host_mtu < ETH_MTU_MIN)
		return fail(err, EINVAL, "host_mtu=%u: must be 0 (not told) or %u to 65535", n->prop.host_mtu,
			    ETH_MTU_MIN);
	if (n->prop.poll_us && n->prop.tx == TX_TIMER)
		return fail(err, EINVAL,
			    "poll-us=%u: with tx=timer frames wait for a kick and a time; leave one of them out",
			    n->prop.poll_us);
	if (check_size(n, "rx_queue_size", n->prop.rx_queue_size, err) < 0 ||
	    check_size(n, "tx_queue_size", n->prop.tx_queue_size, err) < 0)
		return -EINVAL;
	return 0;
}

/* Pairs: as many as the netdev has queues, if the driver is to know of them. */
static unsigned count_pairs(const struct virtio_net *n)
{
	unsigned pairs = 1;

	while (n->prop.mq && n->prop.netdev && pairs < VNET_PAIRS_MAX && nic_loop(n->prop.netdev, pairs, NULL))
		pairs++;
	if (n->prop.mq && n->prop.netdev && pairs == 1)
		log_warn("%s: mq=on: netdev %s has one queue, so there is one pair; a tap with queues=N has more",
			 virtio_label(&n->vdev), n->prop.netdev);
	return pairs;
}

/* A pair's loop is that of what is wired to it; the control queue's the first pair's. */
static int choose_loops(const struct virtio_net *n, struct loop **loop, struct error *err)
{
	const char *thread = n->prop.iothread;
	struct loop *own = thread ? iothread_loop(thread, err) : n->vdev.loop;

	if (thread && !own)
		return -ENOENT;
	for (unsigned i = 0; i < n->n_pairs; i++)
		loop[2 * i] = loop[2 * i + 1] = nic_loop(n->prop.netdev, i, own);
	loop[2 * n->n_pairs] = loop[0];
	if (thread && loop[0] != own)
		return fail(err, EINVAL, "iothread=%s: netdev %s runs in another thread", thread, n->prop.netdev);
	return 0;
}

static int make_queues(struct virtio_net *n, struct error *err)
{
	unsigned queues = 2 * n->n_pairs;
	uint16_t size[2 * VNET_PAIRS_MAX + 1];
	struct loop *loop[ARRAY_SIZE(size)];
	int r = choose_loops(n, loop, err);

	for (unsigned i = 0; i < queues; i++)
		size[i] = i & 1 ? n->prop.tx_queue_size : n->prop.rx_queue_size;
	size[queues] = VNET_CTRL_QUEUE_SIZE;
	return r ?: virtio_queues_init(&n->vdev, queues + n->prop.ctrl_vq, size, loop, err);
}

static void vnet_unmake(struct virtio_net *n)
{
	for (unsigned i = 0; n->pair && i < n->n_pairs; i++)
		pair_deinit(&n->pair[i]);
	free(n->pair);
	n->pair = NULL;
	n->ctrlq = NULL;
	if (n->mac_taken)
		mac_release(&n->prop.mac);
	n->mac_taken = false;
}

static int vnet_make(struct virtio_net *n, struct error *err)
{
	int r = check_props(n, err);

	if (r == 0)
		r = mac_assign(&n->prop.mac, virtio_label(&n->vdev), err);
	if (r < 0)
		return r;
	n->mac_taken = true;
	n->n_pairs = count_pairs(n);
	n->pair = calloc(n->n_pairs, sizeof(*n->pair));
	if (!n->pair)
		return fail(err, ENOMEM, "no memory for %u queue pairs", n->n_pairs);
	r = make_queues(n, err);
	for (unsigned i = 0; r == 0 && i < n->n_pairs; i++)
		r = pair_init(n, i, err);
	return r;
}

static void disconnect(struct virtio_net *n, unsigned pairs)
{
	while (pairs--)
		net_client_remove(&n->pair[pairs].client);
}

/* The first pair is active from the beginning, others when the driver says so. */
static int vnet_connect(struct virtio_net *n, struct error *err)
{
	struct net_client *c = &n->pair[0].client;

	for (unsigned i = 0; i < n->n_pairs; i++) {
		int r = nic_join(&n->pair[i].client, n->prop.netdev, virtio_label(&n->vdev), err);

		if (r < 0) {
			disconnect(n, i);
			return r;
		}
	}
	if (n->n_pairs > 1 && n->prop.rss)
		net_may_steer(c);
	atomic_store(&n->status, net_link_up(c) ? VIRTIO_NET_S_LINK_UP : 0);
	net_start(c);
	return 0;
}

static int vnet_realize(struct virtio_device *v, struct error *err)
{
	struct virtio_net *n = to_virtio_net(v);
	int r;

	v->device_id = VIRTIO_ID_NET;
	v->host_features = offered_features(n);
	v->legacy_only = legacy_only(n);
	v->config_len = config_len(v->host_features);
	r = vnet_make(n, err);
	if (r == 0) {
		vnet_ctrl_init(n);
		post_init(&n->back_post, on_back);
		timer_init(&n->announce, v->loop, CLOCK_VM_NS, on_announce);
		vnet_reset(v);
		r = vnet_connect(n, err);
	}
	if (r < 0)
		vnet_unmake(n);
	return r;
}

static void vnet_unrealize(struct virtio_device *v)
{
	struct virtio_net *n = to_virtio_net(v);

	disconnect(n, n->n_pairs);
	vnet_unmake(n);
}

/* ---- the type ---- */

static struct virtio_net *object_to_net(struct object *o)
{
	return to_virtio_net(to_virtio_device(to_device(o)));
}

static void vnet_instance_init(struct object *o)
{
	atomic_init(&object_to_net(o)->status, VIRTIO_NET_S_LINK_UP);
}

static void vnet_class_init(struct class *class)
{
	struct virtio_device_class *c = container_of(class, struct virtio_device_class, dev.class);

	c->dev.category = "network";
	c->dev.internal = false; /* virtio-mmio's bus takes it as it is */
	c->realize = vnet_realize;
	c->unrealize = vnet_unrealize;
	c->features_changed = vnet_features_changed;
	c->validate = vnet_validate;
	c->legacy_features = vnet_legacy_features;
	c->config_read = vnet_config_read;
	c->legacy_config_write = vnet_legacy_config_write;
	c->ready = vnet_ready;
	c->start = vnet_start;
	c->stop = vnet_stop;
	c->kick = vnet_kick;
	c->broke = vnet_broke;
	c->queue_reset = vnet_queue_reset;
	c->queue_start = vnet_queue_start;
	c->reset_lane = vnet_reset_lane;
	c->reset = vnet_reset;
}

static const char *const duplex_names[] = { "unknown", "half", "full", NULL };
/* By TX_* of virtio_net.h. */
static const char *const tx_names[] = { "bh", "timer", NULL };

#define PROP(field, name, kind, ...) OPT_F(struct virtio_net, prop.field, name, kind, __VA_ARGS__)
#define HASH_TYPE(i, name, what) \
	PROP(hash_type[i], name, OPT_ONOFFAUTO, .def = "auto", .help = "hash " what "; auto: on")

static const struct opt props[] = {
	PROP(netdev, "netdev", OPT_STR, .arg = "id", .help = "the network backend that it is connected to"),
	PROP(iothread, "iothread", OPT_STR, .arg = "id",
	     .help = "the thread that runs its queues and what is wired to it, an -object iothread; without it one is chosen"),
	PROP(mac, "mac", OPT_MAC, .help = "its address; without it one from 52:54:00:12:34:56 on"),
#define X(field, name, bit, text) PROP(field, name, OPT_BOOL, .def = "on", .help = text),
	VNET_FEATURES(X)
#undef X
		PROP(rx_queue_size, "rx_queue_size", OPT_UINT, .min = 256, .max = VIRTQ_SIZE_MAX, .def = "256",
		     .help = "entries in the receive ring, a power of two; with packed=on any number"),
	PROP(tx_queue_size, "tx_queue_size", OPT_UINT, .min = 256, .max = VIRTQ_SIZE_MAX, .def = "256",
	     .help = "entries in the transmit ring, a power of two; with packed=on any number"),
	PROP(host_mtu, "host_mtu", OPT_UINT, .def = "0", .help = "MTU told to the guest, from 68 on; 0: none is told"),
	PROP(speed, "speed", OPT_INT, .min = (uint64_t)-1, .max = INT32_MAX, .def = "-1", .arg = "Mbit/s",
	     .help = "speed told to the guest; -1: none is told"),
	PROP(duplex, "duplex", OPT_ENUM, .choices = duplex_names, .def = "unknown", .help = "duplex told to the guest"),
	PROP(bootindex, "bootindex", OPT_INT, .min = (uint64_t)-1, .max = INT32_MAX, .def = "-1",
	     .help = "place in firmware's boot order; there is no firmware, so it changes nothing"),
	PROP(gso, "gso", OPT_BOOL, .def = "on",
	     .help = "legacy drivers are told by one more bit that they may send any unsegmented frames"),
	PROP(mtu_bypass, "x-mtu-bypass-backend", OPT_BOOL, .def = "on",
	     .help = "accepted; host_mtu is told whatever the backend can"),
	PROP(tx, "tx", OPT_ENUM, .choices = tx_names, .def = "bh",
	     .help = "timer: frames wait for more, x-txtimer long"),
	PROP(tx_timer, "x-txtimer", OPT_UINT, .def = "150000", .arg = "ns", .help = "how long, for tx=timer"),
	PROP(tx_call_delay, "x-txcall", OPT_UINT, .max = 1000000000, .def = "200000", .arg = "ns",
	     .help = "how long the call for a frame may be put off in a conversation; 0: not at all"),
	PROP(poll_us, "poll-us", OPT_UINT, .max = 1000, .def = "0", .arg = "us",
	     .help = "how long its threads may poll before they sleep, if that has been worth it of late; 0: not at all"),
	PROP(tx_burst, "x-txburst", OPT_INT, .min = 1, .max = INT32_MAX, .def = "256",
	     .help = "frames that are sent in one go, before others get their turn"),
	PROP(rsc_interval, "rsc_interval", OPT_UINT, .def = "300000", .arg = "ns",
	     .help = "accepted; segments are joined by the backend, which waits for none"),
	PROP(mq, "mq", OPT_BOOL, .def = "off", .help = "a pair of queues for each queue of the netdev"),
	PROP(rss, "rss", OPT_BOOL, .def = "off", .help = "receive-side scaling: the guest says which flow goes where"),
	PROP(hash, "hash", OPT_BOOL, .def = "off", .help = "the guest is told each frame's hash"),
	HASH_TYPE(0, "hash-ipv4", "addresses of IPv4"),
	HASH_TYPE(1, "hash-tcp4", "TCP over IPv4"),
	HASH_TYPE(2, "hash-udp4", "UDP over IPv4"),
	HASH_TYPE(3, "hash-ipv6", "addresses of IPv6"),
	HASH_TYPE(4, "hash-tcp6", "TCP over IPv6"),
	HASH_TYPE(5, "hash-udp6", "UDP over IPv6"),
	HASH_TYPE(6, "hash-ipv6ex", "addresses of IPv6 with extension headers"),
	HASH_TYPE(7, "hash-tcp6ex", "TCP over IPv6 with extension headers"),
	HASH_TYPE(8, "hash-udp6ex", "UDP over IPv6 with extension headers"),
	PROP(rsc_ext, "guest_rsc_ext", OPT_BOOL, .def = "off",
	     .help = "the guest is told how many segments a large frame was made of"),
	PROP(failover, "failover", OPT_BOOL, .def = "off",
	     .help = "the guest may use it as the standby of another card"),
	OPT_END,
};

const struct type type_virtio_net = {
	.name = "virtio-net-device",
	.parent = "virtio-device",
	.desc = "virtio network card on virtio-mmio",
	.instance_size = sizeof(struct virtio_net),
	.class_init = vnet_class_init,
	.instance_init = vnet_instance_init,
	.props = props,
};
