/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Net clients: the two ends of a virtual wire.
 *
 * Two clients are peers of one another and know nothing more. All data calls run on the loop that owns both. There
 * are two ways for a frame:
 *
 *  - it is somewhere already (a guest's transmit chains, a hub's pool): net_send() hands a batch to the peer, who says
 *    how many he took; the rest stay where they are and net_wake() tells when there is room. The guest's ring is the
 *    queue: back-pressure is a count, not a copy.
 *  - it has yet to be received (a tap is readable): net_lend() asks the peer for a window of his buffers, the giver
 *    fills one frame at its head from a descriptor, net_take() says its length and metadata; after the last frame
 *    net_commit() publishes: one index, one interrupt decision.
 *
 * A backend implements `send` and, for the other direction, calls net_lend/net_take/net_commit. A NIC implements lend,
 * take and commit, and calls net_send. Who holds frames (a hub, a filter) calls net_send() too: it does not matter
 * which of the two ways the peer implements, frames are copied into windows of one that only lends.
 *
 * Between the two stand the wrappers below. They keep the accounts, drop what meets a link that is down, and lower
 * offloads that the taker lacks (net/offload.h): a giver never has to ask what its peer can. The direct way (peer's
 * own window, no copy) is taken only while what the giver may give is a subset of what the taker takes; else, and
 * while old frames may still wait after an offload change, the window is host scratch and delivery is a copy.
 *
 * A NIC without offloads is better served by a giver that has them: one frame of 64 KiB that the core cuts costs a
 * fraction of 45 that the host's kernel cuts and hands over one by one. Such a NIC says in `wants` what its peer is to
 * give all the same. It lends its own window still (`mixed`): a frame that it can take as it is, or that lacks but a
 * checksum, stays where it was read to; one that is to be cut is copied out of the window first.
 *
 * Nobody is entered twice: a wake is posted to the end of the turn.
 *
 * A filter (net/filter.h) is two clients, each the other's `through`, that stand between the two ends of a wire: what
 * enters one of them leaves by the other. The ends stay the ones that decide: link, carrier, largest frame, offloads
 * and the draining of old frames are those of the two ends, handed on through all filters between them; start and
 * quiesce concern them all. Who is at the other end behind all filters says net_far_end().
 *
 * The account. Directions are as seen from the client: tx is what it gives to its peer, rx what it gets from it.
 *	in + made = out + dropped[reason] + held		for each direction, at any quiesce
 * tx.in counts frames that came from outside (the guest, the wire), tx.out those that crossed to the peer; rx.in those
 * that came across, rx.out those that went on (into the guest, onto the wire). made: by segmentation or cloning. The
 * wrappers count the crossing on both sides, and tx.in of the lend way; `rx.out` for the lend way too. Clients count
 * the rest: a NIC net_count_tx_in(), a backend net_count_rx_out() and drops of either.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/counter.h"
#include "base/error.h"
#include "base/list.h"
#include "loop/loop.h"
#include "net/frame.h"

struct net_client;
struct json_t;
struct rss_hash;
struct rss_table;

/* A window of writable buffers: iov[-1] is free for a header. */
struct net_window {
	struct iovec *iov;
	unsigned cnt;
	size_t room; /* bytes; the last piece may be a host spill slot, counted here too */
};

enum net_wake {
	NET_WAKE_ROOM = 1 << 0,	  /* peer takes frames again: net_send() may be repeated, net_lend() too */
	NET_WAKE_FRAMES = 1 << 1, /* peer has frames again, for those who poll it */
};

struct net_client_ops {
	const char *type; /* "tap", "user", "nic": shown by info network */

	/*
	 * Take frames of the batch from the first on; return how many (0..n). Less than n only for want of room, and
	 * then NET_WAKE_ROOM is owed. A frame that cannot go on is taken and dropped with a reason (net_drop_rx).
	 * Frames taken are done with on return. The batch is left as it was but for the free slot in front of each
	 * frame: others may get it next.
	 */
	unsigned (*send)(struct net_client *c, struct batch *b);

	/*
	 * Expose one window with at least `want` bytes if there are so many (want <= NET_FRAME_MAX), else with what
	 * there is and a spill slot behind. -EAGAIN: none now, NET_WAKE_ROOM is owed.
	 */
	int (*lend)(struct net_client *c, size_t want, struct net_window *w);
	/*
	 * The window's head holds a frame of len bytes. NET_OK, or why it was refused (its buffers are free again). The
	 * wrapper counts either: the client itself counts nothing here.
	 */
	enum net_drop (*take)(struct net_client *c, size_t len, const struct frame_meta *m);
	void (*commit)(struct net_client *c);

	void (*wake)(struct net_client *c, unsigned what); /* bits of enum net_wake */

	/* optional from here */
	void (*start)(struct net_client *c); /* on the loop: the peer is there, data may flow */
	void (*quiesce)(
		struct net_client *c); /* on the loop: touch nothing until start; nothing is in flight on return */
	void (*retire)(
		struct net_client *c); /* on the loop, quiesced: one queue of several that is not used until start */
	void (*parted)(struct net_client *c); /* on the loop: the peer is gone; what was held for it is to be dropped */
	/*
	 * The peer now takes `takes`: give no more than that from now on. Returns what the client may give from now on;
	 * frames that waited before may still need more, until net_drained(). Without this op it gives what `gives`
	 * says, whatever its peer takes: the core lowers the rest.
	 */
	uint32_t (*set_offload)(struct net_client *c, uint32_t takes);
	/*
	 * Of several queues, asked of the first: give each frame by the queue that the table says (net/rss.h), from now on;
	 * NULL, NULL: by any. On the loop. -errno: frames come by any queue.
	 */
	int (*steer)(struct net_client *c, const struct rss_hash *hash, const struct rss_table *table);
	void (*may_steer)(struct net_client *c); /* main, before start: get ready, steer may be called later */
	void (*link_changed)(struct net_client *c, bool up); /* own and peer's flag together; main thread */
	struct json_t *(*describe)(struct net_client *c);    /* further facts; any thread's snapshot of plain values */
	void (*info)(struct net_client *c, char *buf, size_t size); /* QEMU's info string */
	void (*destroy)(struct net_client *c);			    /* main, after quiesce and disconnect: free it */
};

struct net_account {
	counter in, made, out, held, bytes; /* bytes: of `out` */
	counter dropped[NET_DROP_COUNT];
};

enum net_kind {
	NET_KIND_BACKEND,
	NET_KIND_NIC,
	NET_KIND_PORT,
	NET_KIND_FILTER
};

struct net_client {
	const struct net_client_ops *ops;
	enum net_kind kind;
	char name[64];	/* the netdev's id, the NIC's id or a made-up one */
	unsigned queue; /* index in a group of several */
	struct net_client *peer;
	struct net_client *through; /* of a filter: its other client; else NULL */
	struct loop *loop;	    /* owner of all data calls */
	bool started;

	/* capabilities: set before net_client_add(); `takes` changes by net_takes_changed() only */
	uint32_t takes;	    /* offload bits it can take from its peer */
	uint32_t wants;	    /* of a NIC: what it cannot take, but its peer had better give, for the core to finish */
	uint32_t gives;	    /* offload bits that frames it gives may need */
	uint32_t max_frame; /* largest frame it takes; NET_FRAME_MAX if any */
	uint32_t passes;    /* of a filter: offloads of the taker behind it that it hands on */

	/* core's own */
	_Atomic bool link_down;	     /* own flag */
	_Atomic bool link_auto_down; /* the other end of the wire is gone (dead helper, dead stream) */
	bool link_told;		     /* what link_changed said last; main's */
	struct post link_post;
	bool sends;    /* net_send may go straight to the peer */
	bool direct;   /* lend gives the peer's own window */
	bool mixed;    /* so it does, and what the peer does not take is finished when it is taken */
	bool draining; /* frames from before an offload change may wait */
	unsigned wake_bits;
	struct sleep_hook wake_hook;
	struct net_scratch *scratch; /* for lowering, made when connected */
	struct net_account tx, rx;
	struct list node;
};

/* ---- life; main thread ---- */

/*
 * Put an initialised client (ops, kind, name, loop, caps) into the list of all. -EEXIST: name and queue are taken.
 * NICs, filters and all others have name spaces of their own.
 */
int net_client_add(struct net_client *c, struct error *err) __must_check;
void net_client_remove(struct net_client *c); /* quiesces and disconnects first; does not call destroy */
struct net_client *net_client_find(const char *name, unsigned queue); /* not filters; a backend before a NIC */
void net_client_each(void (*fn)(struct net_client *c, void *arg), void *arg);

/*
 * Wire two clients of one loop together; filters that one of them has already stand between them then. -EBUSY: one has
 * a peer; says who with whom.
 */
int net_connect(struct net_client *a, struct net_client *b, struct error *err) __must_check;
/* Quiesced by itself. Filters of c's wire stay with the other end, whoever that is. */
void net_disconnect(struct net_client *c);
/* The client at the other end of c's wire, behind all filters. NULL: there is none (yet). */
struct net_client *net_far_end(const struct net_client *c);
/*
 * Put the two clients of a filter, added and with `through` set, into the wire of `at`, next to it, `near` towards
 * `at`; or take them out again, and the ends are as before. A running wire is quiesced and goes on. -ENOMEM.
 */
int net_insert(struct net_client *at, struct net_client *near, struct error *err) __must_check;
void net_extract(struct net_client *near);
/* Let data flow (both ends), or stop it: on return nothing is in flight. Main or vCPU thread; waits for the loop. */
void net_start(struct net_client *c);
void net_quiesce(struct net_client *c);
/*
 * The same, and the other end's queue, which is one of several, is not used until net_start(): what would go to it goes
 * to others.
 */
void net_retire(struct net_client *c);

/*
 * Have the other end give each frame by the queue that the table says, c being the first of several; NULL, NULL: by any
 * again. c's loop. -errno: it cannot. A queue may still get a frame of another, so its taker has to look all the same.
 */
int net_steer(struct net_client *c, const struct rss_hash *hash, const struct rss_table *table);
/* There may be a net_steer(): what needs rights is done now. Main, not started. */
void net_may_steer(struct net_client *c);

/* Link: own flag of `c`; both ends are told by link_changed. */
void net_set_link(struct net_client *c, bool up);
/* A backend's other end is gone, or back again. From the loop; the NIC's link_changed is posted to main (see below). */
void net_set_carrier(struct net_client *c, bool up);
bool net_link_up(const struct net_client *c); /* flags and carriers of both ends; any thread */

/* The main loop, where link changes are told. Set once at start. */
void net_set_main_loop(struct loop *l);
struct loop *net_main_loop(void); /* NULL: not set */

/* ---- data; the owning loop ---- */

unsigned net_send(struct net_client *from, struct batch *b) __must_check;
int net_lend(struct net_client *from, size_t want, struct net_window *w) __must_check;
enum net_drop net_take(struct net_client *from, size_t len, const struct frame_meta *m);
void net_commit(struct net_client *from);
/*
 * As net_take() for a frame that was longer than the window `w`: its first w->room bytes lie there, the rest (len -
 * w->room bytes) in host memory at `rest`, copied before this returns. Lending little is safe that way. Returns
 * NET_OK also if the frame waits in the core for room.
 */
enum net_drop net_take_spilled(struct net_client *from, const struct net_window *w, size_t len, const void *rest,
			       const struct frame_meta *m);
/* Tell c's peer that c has room (or frames) again; at the end of the turn. */
void net_wake_peer(struct net_client *c, unsigned what);
/* c->takes is now `takes`: the peer is told, the direct way is closed until old frames are through. */
void net_takes_changed(struct net_client *c, uint32_t takes);
/*
 * c may give `gives` from now on: what its set_offload() promised, but could not bring about at once. Frames from
 * before may need more, until net_drained().
 */
void net_gives_changed(struct net_client *c, uint32_t gives);
/* c's wire had nothing more to read: frames from before an offload change are through. */
void net_drained(struct net_client *c);

static inline void net_count_tx_in(struct net_client *c, unsigned n)
{
	counter_add(&c->tx.in, n);
}

static inline void net_count_rx_out(struct net_client *c, unsigned n, uint64_t bytes)
{
	counter_add(&c->rx.out, n);
	counter_add(&c->rx.bytes, bytes);
}

static inline void net_drop_tx(struct net_client *c, enum net_drop why)
{
	counter_add(&c->tx.dropped[why], 1);
}

static inline void net_drop_rx(struct net_client *c, enum net_drop why)
{
	counter_add(&c->rx.dropped[why], 1);
}

/* The account as JSON {"client","dir","in","made","out","bytes","held","dropped":{reason:n}} (non-zero reasons). */
struct json_t *net_account_json(const struct net_client *c, bool tx);
/*
 * All that is known of a client: {"name","type","queue","peer","link","takes","gives","direct","tx","rx"} and what its
 * describe() adds. Main thread; asked on the client's loop.
 */
struct json_t *net_describe(struct net_client *c);
/* in + made == out + dropped + held; exact only while quiesced. */
bool net_account_balanced(const struct net_account *a);

#endif
