/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net (virtio 1.2, 5.1): the parts of one device that its files share.
 *
 *	virtio_net.c		life, properties, features, config space
 *	virtio_net_tx.c		guest to wire
 *	virtio_net_rx.c		wire to guest
 *	virtio_net_ctrl.c	control queue
 *	virtio_net_mq.c		several pairs
 *	virtio_net_rss.c	receive-side scaling and hash report
 *	virtio_net_steer.c	steering by the wire, and frames that came to another pair than their own
 *	virtio_net_coal.c	notification coalescing
 *	virtio_net_late.c	calls for sent frames that are put off
 *	virtio_net_poll.c	queues that are polled
 *	virtio_net_stats.c	device statistics
 *
 * A pair is a receive and a transmit queue with a net client of its own, the peer of one queue of the netdev. A pair
 * belongs to its queues' loop while the device runs; all else but the properties to the first pair's, which serves the
 * control queue too.
 */
#ifndef NIC_VIRTIO_NET_H
#define NIC_VIRTIO_NET_H

#include "net/client.h"
#include "net/inbox.h"
#include "net/rss.h"
#include "net/rxfilter.h"
#include "nic/virtio_net_std.h"
#include "virtio/device.h"

#define ETH_MTU_MIN 68u /* RFC 791 */

/* tx=: frames are sent when the guest kicks, or when it has had time for more. */
enum {
	TX_BH,
	TX_TIMER
};

/* The longest header in front of a frame: vnet_hdr_len(). */
#define VNET_HDR_MAX ((unsigned)sizeof(struct virtio_net_hdr_v1_hash))

/* What CTRL_GUEST_OFFLOADS may turn off: the bits of a command are those of the features. */
#define VNET_GUEST_OFFLOADS                                                                           \
	(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_GUEST_USO4) |   \
	 BIT(VIRTIO_NET_F_GUEST_USO6))

#define VNET_CTRL_QUEUE_SIZE 64
#define VNET_PAIRS_MAX	     256

/* Room for a batch of ordinary chains, and always for one of the longest. */
#define VNET_TX_IOV (VIRTQ_CHAIN_MAX + 1024)
#define VNET_RX_IOV (2 * VIRTQ_CHAIN_MAX)
/* Pieces in a window: with the header slot before and the spill slot behind no more than readv() takes. */
#define VNET_WINDOW (NET_IOV_MAX - 2)

struct vnet_tx {
	struct batch batch;
	struct iovec iov[VNET_TX_IOV];
	unsigned waiting;   /* frames at the head of the ring that the peer had no room for: held */
	bool blocked;	    /* owed a wake by the peer */
	struct timer timer; /* tx=timer: from a kick until frames are sent */
	uint8_t *flat;	    /* for a frame in more pieces than writev() takes */
};

/* A chain that was collected and not used yet. */
struct vnet_rx_chain {
	uint16_t head;
	uint16_t cnt; /* pieces left, without those of the header */
	uint32_t len; /* bytes in them */
};

/* Where the header goes: nearly always one piece. */
struct vnet_rx_header {
	uint8_t *at; /* NULL: scattered over pieces */
	unsigned n;
	struct iovec piece[VNET_HDR_MAX];
	bool none; /* the chain is too short for it */
};

struct vnet_rx {
	bool ready;   /* lending is possible */
	bool off;     /* the queue was reset alone, or taken out of use, since it was ready */
	bool starved; /* owes its peer a wake when there are buffers again */

	/* collected: chain[c_first..c_last) with the pieces iov[first..last), together `bytes` */
	unsigned first, last, c_first, c_last;
	size_t bytes;
	struct vnet_rx_header header; /* of the first chain */

	/* the window lent last: iov[first..end), `room` bytes, then the spill slot in place of iov[end] */
	unsigned end;
	size_t room;
	bool patched;
	struct iovec saved;

	/* a frame that was received whole but for which there are not enough buffers yet: held */
	bool holding, counted;
	size_t held_len;
	struct frame_meta held_meta;
	struct timer patience;

	/* of the frame that is being taken, if its hash was asked for already */
	struct {
		bool known;
		unsigned report;
		uint32_t value;
	} hash;

	uint8_t *spill; /* NET_FRAME_MAX bytes */
	struct iovec iov[VNET_RX_IOV + 1];
	struct vnet_rx_chain chain[VNET_RX_IOV];
};

struct virtio_net;

/* When the driver is called for a queue. On the queue's loop but for params, said and post: see virtio_net_coal.c. */
struct vnet_coal {
	_Atomic uint64_t params; /* max_packets, max_usecs in the lower half; 0: a call for each batch */
	_Atomic bool said;	 /* the driver set them, since the last reset */
	bool tx;
	bool owed;     /* a call that the driver wants */
	bool counting; /* since `since`, VM clock */
	uint64_t from; /* frames that had passed at the last call */
	uint64_t since;
	struct vnet_pair *pair;
	struct timer timer;
	struct post post; /* the parameters changed */
};

/* Calls for sent frames that are put off: see virtio_net_late.c. On the transmit queue's loop. */
struct vnet_late {
	bool allowed; /* with this driver */
	bool owed;    /* what was sent last is published, and the driver was not asked if it wants to hear of it */
	struct timer timer;
};

/* The pair's queues are polled: see virtio_net_poll.c. On the pair's loop. */
struct vnet_poll {
	struct poller poller;
	bool asked[2]; /* for a kick, and none has come since: receive, transmit */
};

/* Receive steering by hash (MQ_RSS_CONFIG), and what is hashed at all. */
struct vnet_rss {
	bool steering;		/* by the table; else by the device's own choice */
	uint16_t pairs;		/* that may be used */
	struct rss_table table; /* of pairs, each < n_pairs */
	struct rss_hash hash;
};

struct vnet_pair {
	struct net_client client; /* first: see to_pair() */
	struct virtio_net *net;
	struct virtio_queue *rxq, *txq;
	struct virtio_lane *lane; /* theirs, if the driver knows of the pair */
	bool quiet;		  /* by the net core: between quiesce and start */
	bool active;		  /* the driver uses the pair: see virtio_net_mq.c */
	_Atomic bool open;	  /* ... and its receive queue is enabled: other pairs' frames may come */
	/* what the driver configured: the device's, or a copy if that is another loop's */
	const struct rx_filter *filter;
	const struct vnet_rss *rss;
	struct {
		struct rx_filter filter;
		struct vnet_rss rss;
	} copy;
	struct post adopt, adopted; /* to the pair's loop and back */
	struct inbox *inbox;	    /* frames that came to other pairs; NULL: none can be */
	struct post arrival;	    /* there are some in it, or room for them */
	counter handed_on;	    /* frames that came here and are another pair's */
	bool negotiated;	    /* what follows from the features is in force */
	unsigned hdr_len;	    /* of the header in front of each frame: follows from the features, as the next */
	uint32_t sends;		    /* NET_OFF_* that the guest negotiated for what it sends */
	bool rsc;		    /* headers of frames that stand for many say how many (RSC_EXT) */
	uint32_t longest;	    /* frame that is not to be cut: by the MTU, if the driver took it */
	struct vnet_coal coal[2];   /* receive, transmit */
	struct vnet_late late;
	struct vnet_poll poll;
	struct vnet_tx tx;
	struct vnet_rx rx;
};

/* Features that a property of the same kind offers. X(field, property, bit, help) */
#define VNET_FEATURES(X)                                                                                  \
	X(csum, "csum", VIRTIO_NET_F_CSUM, "the guest may leave checksums to the host")                   \
	X(guest_csum, "guest_csum", VIRTIO_NET_F_GUEST_CSUM, "the guest takes frames without checksum")   \
	X(guest_tso4, "guest_tso4", VIRTIO_NET_F_GUEST_TSO4, "the guest takes unsegmented TCP over IPv4") \
	X(guest_tso6, "guest_tso6", VIRTIO_NET_F_GUEST_TSO6, "the guest takes unsegmented TCP over IPv6") \
	X(guest_ecn, "guest_ecn", VIRTIO_NET_F_GUEST_ECN, "the guest takes unsegmented TCP with ECN")     \
	X(guest_ufo, "guest_ufo", VIRTIO_NET_F_GUEST_UFO, "the guest takes unfragmented UDP")             \
	X(guest_uso4, "guest_uso4", VIRTIO_NET_F_GUEST_USO4, "the guest takes unsegmented UDP over IPv4") \
	X(guest_uso6, "guest_uso6", VIRTIO_NET_F_GUEST_USO6, "the guest takes unsegmented UDP over IPv6") \
	X(host_tso4, "host_tso4", VIRTIO_NET_F_HOST_TSO4, "the guest may send unsegmented TCP over IPv4") \
	X(host_tso6, "host_tso6", VIRTIO_NET_F_HOST_TSO6, "the guest may send unsegmented TCP over IPv6") \
	X(host_ecn, "host_ecn", VIRTIO_NET_F_HOST_ECN, "the guest may send unsegmented TCP with ECN")     \
	X(host_ufo, "host_ufo", VIRTIO_NET_F_HOST_UFO, "the guest may send unfragmented UDP")             \
	X(host_uso, "host_uso", VIRTIO_NET_F_HOST_USO, "the guest may send unsegmented UDP")              \
	X(mrg_rxbuf, "mrg_rxbuf", VIRTIO_NET_F_MRG_RXBUF, "a frame may be received into several buffers") \
	X(status, "status", VIRTIO_NET_F_STATUS, "the guest sees the link's state")                       \
	X(ctrl_vq, "ctrl_vq", VIRTIO_NET_F_CTRL_VQ, "there is a control queue")                           \
	X(ctrl_rx, "ctrl_rx", VIRTIO_NET_F_CTRL_RX, "the guest programs receive modes and addresses")     \
	X(ctrl_rx_extra, "ctrl_rx_extra", VIRTIO_NET_F_CTRL_RX_EXTRA, "there are further receive modes")  \
	X(ctrl_vlan, "ctrl_vlan", VIRTIO_NET_F_CTRL_VLAN, "the guest programs which VLANs it receives")   \
	X(ctrl_mac_addr, "ctrl_mac_addr", VIRTIO_NET_F_CTRL_MAC_ADDR, "the guest may change its address") \
	X(ctrl_guest_offloads, "ctrl_guest_offloads", VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,                   \
	  "the guest may turn offloads off and on while it runs")                                         \
	X(notf_coal, "notf_coal", VIRTIO_NET_F_NOTF_COAL, "the guest says how long calls wait for more")  \
	X(vq_notf_coal, "vq_notf_coal", VIRTIO_NET_F_VQ_NOTF_COAL, "... for each queue")                  \
	X(device_stats, "device_stats", VIRTIO_NET_F_DEVICE_STATS, "the guest may read statistics")       \
	X(guest_announce, "guest_announce", VIRTIO_NET_F_GUEST_ANNOUNCE, "the guest announces itself when told to")

struct virtio_net {
	struct virtio_device vdev;

	/* properties */
	struct {
#define X(field, name, bit, help) bool field;
		VNET_FEATURES(X)
#undef X
		bool gso;	 /* of the legacy interface */
		bool mtu_bypass; /* accepted, nothing depends on it */
		bool failover, rsc_ext, mq, rss, hash;
		enum onoffauto hash_type[9]; /* by VIRTIO_NET_HASH_REPORT_*, less one */
		uint16_t rx_queue_size, tx_queue_size, host_mtu;
		int32_t speed, bootindex, tx_burst;
		uint32_t tx_timer, tx_call_delay, rsc_interval, poll_us;
		unsigned duplex, tx;
		char *netdev, *iothread;
		struct mac_opt mac;
	} prop;

	_Atomic uint64_t mac;	 /* mac_key(): what the config space shows */
	_Atomic uint16_t status; /* VIRTIO_NET_S_* */
	struct post back_post;	 /* the link is up again, for the loop; then: */
	struct timer announce;	 /* until the driver is asked to announce itself */
	/* What the driver configured of its receiving. While a command is under way it does not change. */
	struct rx_filter filter;
	struct vnet_rss rss;
	uint32_t takes;		    /* NET_OFF_* */
	unsigned pairs_set, active; /* pairs, by VQ_PAIRS_SET; from the first on */
	_Atomic bool wire_steers;   /* by the table: frames come to the pair that they are for */
	struct {
		bool busy;	  /* a command was carried out and is not answered yet */
		bool forgotten;	  /* nor will it be: its queue was reset */
		bool new_table;	  /* it set what frames are steered by */
		unsigned telling; /* pairs that have not adopted it yet */
		uint16_t head;	  /* its chain, and what was written to it */
		uint32_t written;
		uint64_t due; /* VM's clock: when all changes of the pairs' number have been paid for */
		struct timer late;
	} ctrl;
	_Atomic uint64_t coal[2];	/* params of receive and transmit queues that are enabled anew */
	uint64_t commands, commands_ok; /* of the control queue, ever */

	bool mac_taken; /* from the table of addresses in use */
	unsigned n_pairs;
	struct vnet_pair *pair;
	struct virtio_queue *ctrlq; /* NULL: none */
};

static inline struct virtio_net *to_virtio_net(struct virtio_device *v)
{
	return container_of(v, struct virtio_net, vdev);
}

static inline struct vnet_pair *to_pair(struct net_client *c)
{
	return container_of(c, struct vnet_pair, client);
}

static inline bool vnet_has(const struct virtio_net *n, unsigned bit)
{
	return virtio_has(&n->vdev, bit);
}

static inline bool vnet_running(const struct vnet_pair *p)
{
	return p->lane->running && !virtio_broken(&p->net->vdev);
}

/*
 * Copy from guest memory once: the barrier keeps the compiler from reading the guest's bytes again where the copy is
 * used.
 */
static inline void vnet_copy(void *to, const void *guest, size_t n)
{
	memcpy(to, guest, n);
	__asm__ volatile("" : : "r"(to) : "memory");
	GUEST_READ(guest, n);
}

/*
 * Bytes of the header in front of each frame (5.1.6, 5.1.6.1): 20 with HASH_REPORT; 12 with VERSION_1 or MRG_RXBUF; 10
 * for a driver of the legacy interface without merged buffers.
 */
unsigned vnet_hdr_len(uint64_t features);
/*
 * Which offloads the guest takes, of the VIRTIO_NET_F_GUEST_* bits in `features` (5.1.6.5.8 uses the same bits). A
 * guest that takes UDP segmentation of one version of IP only takes none: taps know both or none.
 */
uint32_t vnet_guest_offloads(uint64_t features);
/* The guest broke a rule on queue vq: the device stands still, what it held is dropped. */
void vnet_break(struct virtio_net *n, struct virtio_queue *vq, enum virtq_fault why);

/* ---- virtio_net_tx.c; loop ---- */
void vnet_tx_init(struct vnet_pair *p);
void vnet_tx_stop(struct vnet_pair *p);
void vnet_tx_kick(struct vnet_pair *p);	      /* send what the guest posted */
bool vnet_tx_free(const struct vnet_pair *p); /* nothing but the ring can be in the way of sending */
void vnet_tx_room(struct vnet_pair *p);	      /* the peer has room again */
void vnet_tx_drop_waiting(struct vnet_pair *p, enum net_drop why);

/* ---- virtio_net_rx.c; loop ---- */
int vnet_rx_init(struct vnet_pair *p);
void vnet_rx_destroy(struct vnet_pair *p);
int vnet_rx_lend(struct net_client *c, size_t want, struct net_window *w);
enum net_drop vnet_rx_take(struct net_client *c, size_t len, const struct frame_meta *m);
void vnet_rx_commit(struct net_client *c);
void vnet_rx_start(struct vnet_pair *p);
void vnet_rx_stop(struct vnet_pair *p); /* gives collected chains back; a frame that is held stays so */
void vnet_rx_off(struct vnet_pair *p);	/* until it starts again with its queue enabled: frames are dropped */
void vnet_rx_kick(struct vnet_pair *p);
void vnet_rx_drop_held(struct vnet_pair *p, enum net_drop why);
void vnet_rx_takes_changed(struct vnet_pair *p); /* a frame that is held may need what the guest takes no more */
/* What vnet_rx_take() does with a frame that was found to be this pair's. */
enum net_drop vnet_rx_put(struct vnet_pair *p, size_t len, const struct frame_meta *m);
/* Of the frame of len bytes at the head of the window: what of it was hashed, and all of it. */
unsigned vnet_rx_hash(struct vnet_pair *p, size_t len, uint32_t *value);
void vnet_rx_read(struct vnet_pair *p, void *to, size_t len);

/*
 * Ask the driver to announce its addresses on the link (5.1.6.5.4), if it said that it can. Any thread. What is asked
 * is forgotten when the driver has acknowledged it, or at a reset.
 */
void virtio_net_announce(struct virtio_net *n);

/* ---- virtio_net_coal.c; the queue's loop ---- */
void vnet_coal_init(struct vnet_pair *p);
void vnet_coal_start(struct vnet_pair *p);
void vnet_coal_stop(struct vnet_pair *p);
void vnet_coal_reset(struct vnet_pair *p);
void vnet_coal_queue_reset(struct vnet_coal *c);
void vnet_coal_flush(struct vnet_coal *c);

/* ---- virtio_net_late.c; the transmit queue's loop ---- */
void vnet_late_init(struct vnet_pair *p);
/* May the call for a frame that was sent alone be put off? */
bool vnet_late_may(const struct vnet_pair *p);
void vnet_late_flush(struct vnet_pair *p); /* publish it, and put the call off */
void vnet_late_ask(struct vnet_pair *p);   /* call now, if the driver wants it still */
void vnet_late_start(struct vnet_pair *p);
void vnet_late_stop(struct vnet_pair *p); /* what is owed stays so */
void vnet_late_forget(struct vnet_pair *p);

/* ---- virtio_net_poll.c; the pair's loop ---- */
void vnet_poll_init(struct vnet_pair *p);
void vnet_poll_start(struct vnet_pair *p);
void vnet_poll_stop(struct vnet_pair *p); /* no ring is looked at any more */
/* vnet_more() of a queue that is polled. */
bool vnet_poll_more(struct vnet_pair *p, bool tx);

/*
 * All that was found in the queue has been dealt with. True: there is more. False: when there is, the driver kicks, or
 * the loop comes by to look; or the queue broke.
 */
static inline bool vnet_more(struct vnet_pair *p, bool tx)
{
	if (unlikely(poller_added(&p->poll.poller)))
		return vnet_poll_more(p, tx);
	return virtq_kick_enable(tx ? &p->txq->q : &p->rxq->q);
}

/* Publish what was pushed to a pair's receive or transmit queue, and call now or later if it is wanted. */
static inline void vnet_flush(struct vnet_pair *p, bool tx)
{
	if (likely(!atomic_load_explicit(&p->coal[tx].params, memory_order_relaxed)))
		virtio_queue_flush(&p->net->vdev, tx ? p->txq : p->rxq);
	else
		vnet_coal_flush(&p->coal[tx]);
}

/* ---- virtio_net_rss.c ---- */
/* Which types of hash the properties allow (VIRTIO_NET_RSS_HASH_TYPE_*). Any thread. */
uint32_t vnet_hash_types(const struct virtio_net *n);
void vnet_rss_reset(struct vnet_rss *r);
/*
 * The pair for a frame of which rss_hash_frame() said `report` and `hash`; only while r->steering. It was below n_pairs
 * when it was configured, and is so still.
 */
unsigned vnet_rss_pair(const struct vnet_rss *r, unsigned report, uint32_t hash);

/* ---- virtio_net_steer.c; the pair's loop ---- */
int vnet_steer_init(struct vnet_pair *p); /* main; -ENOMEM */
void vnet_steer_destroy(struct vnet_pair *p);
/* Whose the frame at the head of p's window is: by the table; without one, as p's queue is off, another pair's. */
struct vnet_pair *vnet_steer_to(struct vnet_pair *p, size_t len);
/* Hand it on. NET_DROP_QUEUE_FULL: there is no room for it. */
enum net_drop vnet_steer(struct vnet_pair *p, struct vnet_pair *to, size_t len, const struct frame_meta *m);
void vnet_steer_run(struct vnet_pair *p);   /* what is in p's inbox goes to the guest, as far as there are buffers */
void vnet_steer_again(struct vnet_pair *p); /* ... soon */
void vnet_steer_drop(struct vnet_pair *p, enum net_drop why);
void vnet_steer_reset(struct vnet_pair *p);
/* Have the first pair's wire do it, if it can and r->steering; NULL: not any more. The first pair's loop. */
void vnet_steer_wire(struct virtio_net *n, const struct vnet_rss *r);
/* Who does it: "none", as frames go where they came; "backend"; or "inbox". Any thread. */
const char *vnet_steering(const struct vnet_pair *p);

/* ---- virtio_net_ctrl.c; v->loop ---- */
void vnet_ctrl_init(struct virtio_net *n);
void vnet_ctrl_kick(struct virtio_net *n);
void vnet_ctrl_stop(struct virtio_net *n);
void vnet_ctrl_forget(struct virtio_net *n); /* the queue was reset alone */

/* ---- virtio_net_mq.c ---- */
void vnet_mq_init_pair(struct vnet_pair *p);  /* lane is set; main */
void vnet_mq_start_pair(struct vnet_pair *p); /* first start behind DRIVER_OK; the pair's loop */
void vnet_mq_reset_pair(struct vnet_pair *p); /* the pair's loop */
void vnet_mq_reset(struct virtio_net *n);     /* the device's part; v->loop */
void vnet_mq_arrange(struct virtio_net *n);   /* the queues as by guest_features; nothing runs */
bool vnet_mq_tell(struct virtio_net *n);      /* a command was carried out; true: not all pairs know yet. v->loop */
uint64_t vnet_mq_answer_at(const struct virtio_net *n); /* VM's clock: no answer to it before */

/* For the table of types. */
extern const struct type type_virtio_net;

#endif
