/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path between two clients.
 *
 * Short ways. `sends`: net_send() hands the batch to the peer's send, or copies it into windows of a peer that only
 * lends, with one commit, after a look at each frame's length and needs. `direct`: net_lend() and net_take() are the
 * peer's own. Everything else goes the long way, through one point (cross()): judge the frame, lower it (net/offload.h;
 * a frame that needs nothing is "lowered" to itself), hand over what comes out.
 *
 * `mixed`: the giver gives what the taker does not take, because that one asked for it (client.h: wants). The window is
 * the taker's own as long as frames come that fit it, or that lack a checksum, which is filled in where they lie. One
 * that is to be cut is copied into host scratch and takes the long way from there; while such frames come, the window
 * is host scratch at once. Nothing is decided by what lies in guest memory: a checksum is a sum, whatever of.
 *
 * Holding. Lowering turns one frame into many, and the taker may have room for some of them only. The giver's frame is
 * then done with: the rest stays in the lowering context (c->scratch), copied to host memory, counted in tx.held, and
 * goes first when there is room. At most one frame is held; meanwhile the short ways are shut, and nothing more is
 * taken. A frame received into the host window is held in the same way if there is no room for it at all.
 *
 * Accounts. Where things are counted: hand_over() and take_direct() count the crossing; cross() what was made and what
 * never crossed.
 */
#include "net/wire.h"

#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"
#include "net/offload.h"

#define MIXED_WANT 9018		   /* bytes of the taker's own window, at most, where longer frames are to be cut */
#define PUSH_MAX   (4 * NET_BATCH) /* frames that one frame is cut into, in one go */

struct net_scratch {
	struct offload_ctx *x;
	struct batch out;     /* what the context makes */
	struct batch one;     /* the frame in the window */
	struct iovec slot[2]; /* of `one`: free, window */
	bool lent;	      /* the window is with the giver */
	bool taking;	      /* a frame of the giver's: it commits when it has no more */
	bool guest_lent;      /* mixed: the taker's own is, `guest` */
	bool large;	      /* mixed: the last frame had to be cut */
	struct net_window guest;
	bool busy;			   /* the context holds (a part of) a frame */
	bool own;			   /* ... and that lies in the window, none of it gone */
	uint32_t takes;			   /* what it was lowered for */
	uint64_t held;			   /* frames in the context that have not crossed */
	uint8_t window[NET_FRAME_MAX + 1]; /* a byte more, so that a frame that is too long is seen to be */
};

struct net_scratch *wire_scratch_new(void)
{
	struct net_scratch *s = calloc(1, sizeof(*s));

	if (s && !(s->x = offload_new())) {
		free(s);
		return NULL;
	}
	return s;
}

void wire_scratch_free(struct net_scratch *s)
{
	if (s)
		offload_free(s->x);
	free(s);
}

/* ---- state ---- */

void wire_refresh(struct net_client *c)
{
	const struct net_client *peer = c->peer;
	bool flows = peer && c->started && net_link_up(c) && !c->scratch->busy;

	c->sends = flows;
	c->direct = flows && peer->ops->lend && !c->draining && !(c->gives & ~peer->takes);
	c->mixed = flows && peer->ops->lend && peer->wants && !c->direct && !c->through;
}

static void set_held(struct net_client *c, uint64_t n)
{
	counter_add(&c->tx.held, n - c->scratch->held);
	c->scratch->held = n;
}

static void drop_n(struct net_client *c, enum net_drop why, uint64_t n)
{
	counter_add(&c->tx.dropped[why], n);
}

static void release(struct net_client *c)
{
	set_held(c, 0);
	c->scratch->busy = c->scratch->own = false;
	wire_refresh(c);
}

static void drop_held(struct net_client *c, enum net_drop why)
{
	if (!c->scratch->busy)
		return;
	drop_n(c, why, c->scratch->held);
	release(c);
}

/* What c gives, and whether old frames wait in it, is so for all filters that its frames come through. */
static void tell_gives(struct net_client *c)
{
	wire_refresh(c);
	for (struct net_client *f = c->peer->through; f; f = f->peer ? f->peer->through : NULL) {
		f->gives = c->gives;
		f->draining = c->draining;
		wire_refresh(f);
	}
}

void net_gives_changed(struct net_client *c, uint32_t gives)
{
	if (c->peer && c->gives & ~c->peer->takes)
		c->draining = true;
	c->gives = gives;
	if (c->peer)
		tell_gives(c);
}

/*
 * The peer takes something else now: c gives accordingly. If c is a filter's, who gives is behind it: what the peer
 * takes is what the filter's other client takes from now on.
 */
static void agree(struct net_client *c)
{
	if (c->through) {
		c->through->takes = c->peer->takes & c->through->passes;
		c->through->max_frame = c->peer->max_frame;
		if (c->through->peer)
			agree(c->through->peer);
	} else if (c->ops->set_offload) {
		net_gives_changed(c, c->ops->set_offload(c, c->peer->takes | c->peer->wants));
	} else {
		tell_gives(c);
	}
}

void wire_join(struct net_client *c)
{
	/* What waited before anybody listened may need anything. */
	if (!c->through)
		c->draining = c->ops->set_offload != NULL;
	agree(c);
	wire_refresh(c);
}

struct net_scratch *wire_part(struct net_client *c)
{
	struct net_scratch *s = c->scratch;

	drop_held(c, NET_DROP_STOPPED);
	loop_cancel_sleep(&c->wake_hook);
	c->wake_bits = 0;
	c->sends = c->direct = c->mixed = false;
	c->scratch = NULL;
	return s;
}

void wire_link_changed(struct net_client *c)
{
	struct net_client *end[] = { c, c->peer };

	if (!c->peer)
		return;
	for (unsigned i = 0; i < 2; i++) {
		wire_refresh(end[i]);
		if (!net_link_up(c))
			drop_held(end[i], NET_DROP_LINK_DOWN);
		net_wake_peer(end[i], NET_WAKE_ROOM | NET_WAKE_FRAMES);
	}
}

void net_takes_changed(struct net_client *c, uint32_t takes)
{
	if (takes == c->takes)
		return;
	c->takes = takes;
	if (c->peer)
		agree(c->peer);
}

void net_drained(struct net_client *c)
{
	c->draining = false;
	if (c->peer)
		tell_gives(c);
}

/* ---- handing over ---- */

/* Copy frames into windows of `to`: for a taker that only lends. Returns how many there was room for. */
static unsigned put_batch(struct net_client *to, const struct batch *b, bool commit)
{
	struct net_window w;
	unsigned i;

	for (i = 0; i < b->n; i++) {
		const struct frame *f = &b->frame[i];
		struct iov_cur src = iov_cur(frame_iov(b, f), f->cnt), dst;
		enum net_drop why = NET_DROP_BUFFER_SMALL;

		if (to->ops->lend(to, f->len, &w))
			break;
		dst = iov_cur(w.iov, w.cnt);
		if (w.room >= f->len && iov_move(&dst, &src, f->len) == f->len)
			why = to->ops->take(to, f->len, &f->meta);
		if (why)
			net_drop_rx(to, why);
		else
			net_count_rx_out(to, 1, f->len);
	}
	if (i && commit)
		to->ops->commit(to);
	return i;
}

static void count_crossing(struct net_client *from, struct net_client *to, unsigned n, uint64_t bytes)
{
	counter_add(&from->tx.out, n);
	counter_add(&from->tx.bytes, bytes);
	counter_add(&to->rx.in, n);
	if (from->kind == NET_KIND_NIC || to->kind == NET_KIND_NIC)
		loop_moved(from->loop, from->kind != NET_KIND_NIC, n, bytes);
}

/* Frames that need no more than the peer takes: returns how many went. */
static unsigned hand_over(struct net_client *from, struct batch *b)
{
	struct net_client *to = from->peer;
	unsigned n = to->ops->send ? to->ops->send(to, b) : put_batch(to, b, !from->scratch->taking);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += b->frame[i].len;
	count_crossing(from, to, n, bytes);
	return n;
}

/*
 * Hand over what the context still has; returns the frames that went. A guest can ask for 65,535 segments a frame:
 * others have their turn in between, as if the taker had had no room for a moment.
 */
static uint64_t push_rest(struct net_client *from)
{
	struct net_scratch *s = from->scratch;
	uint64_t went;
	unsigned n, k;

	for (went = 0; went < PUSH_MAX; went += k) {
		n = offload_next(s->x, &s->out);
		if (!n)
			return went;
		k = hand_over(from, &s->out);
		if (k < n) {
			offload_unget(s->x, n - k);
			return went + k;
		}
	}
	net_wake_peer(from->peer, NET_WAKE_ROOM);
	return went;
}

static enum net_drop judge(const struct net_client *from, size_t len)
{
	if (!from->peer)
		return NET_DROP_NO_PEER;
	if (!net_link_up(from))
		return NET_DROP_LINK_DOWN;
	if (len < ETH_HDR_LEN)
		return NET_DROP_TOO_SHORT;
	return len > NET_FRAME_MAX ? NET_DROP_TOO_BIG : NET_OK;
}

static enum net_drop lower(struct net_client *from, const struct batch *b, const struct frame *f)
{
	struct net_scratch *s = from->scratch;
	enum net_drop why = judge(from, f->len);

	if (why)
		return why;
	s->takes = from->peer->takes;
	why = offload_begin(s->x, b, f, s->takes);
	if (!why && offload_largest(s->x) > from->peer->max_frame)
		why = NET_DROP_TOO_BIG;
	return why;
}

/*
 * The long way of one frame; `own`: it lies in the window. Returns whether the frame is done with; *why says whether
 * it was dropped.
 */
static bool cross(struct net_client *from, const struct batch *b, const struct frame *f, bool own, enum net_drop *why)
{
	struct net_scratch *s = from->scratch;
	uint64_t went, total;

	*why = lower(from, b, f);
	if (*why) {
		net_drop_tx(from, *why);
		return true;
	}
	total = offload_total(s->x);
	went = push_rest(from);
	if (!went && !own)
		return false;
	counter_add(&from->tx.made, total - 1);
	if (went < total) {
		s->busy = true;
		s->own = own && !went;
		if (!own)
			offload_keep(s->x);
		set_held(from, total - went);
		wire_refresh(from);
	}
	return true;
}

/* The taker takes something else than when the frame in the context was lowered. */
static enum net_drop lower_anew(struct net_client *from)
{
	struct net_scratch *s = from->scratch;
	uint64_t before = s->held;
	enum net_drop why;

	if (s->takes == from->peer->takes)
		return NET_OK;
	if (!s->own) {
		s->takes = from->peer->takes;
		offload_set_takes(s->x, s->takes);
		return NET_OK;
	}
	why = lower(from, &s->one, &s->one.frame[0]);
	if (!why) {
		set_held(from, offload_total(s->x));
		counter_add(&from->tx.made, s->held - before);
	}
	return why;
}

/* Hand over what is held. True: nothing is held any more. */
static bool flush(struct net_client *from)
{
	struct net_scratch *s = from->scratch;
	enum net_drop why;
	uint64_t went;

	if (!s->busy)
		return true;
	/* The flag may be seen here before wire_link_changed() is called for it. */
	why = net_link_up(from) ? lower_anew(from) : NET_DROP_LINK_DOWN;
	if (why) {
		drop_held(from, why);
		return true;
	}
	went = push_rest(from);
	if (went)
		s->own = false;
	set_held(from, s->held - went);
	if (!s->held)
		release(from);
	return !s->busy;
}

/* ---- frames that are there ---- */

static unsigned drop_batch(struct net_client *from, const struct batch *b, enum net_drop why)
{
	drop_n(from, why, b->n);
	return b->n;
}

static unsigned send_slow(struct net_client *from, struct batch *b)
{
	enum net_drop why;
	unsigned i;

	if (!from->peer)
		return drop_batch(from, b, NET_DROP_NO_PEER);
	if (!net_link_up(from))
		return drop_batch(from, b, NET_DROP_LINK_DOWN);
	if (!from->started || !flush(from))
		return 0;
	for (i = 0; i < b->n && !from->scratch->busy; i++) {
		if (!cross(from, b, &b->frame[i], false, &why))
			break;
	}
	return i;
}

unsigned net_send(struct net_client *from, struct batch *b)
{
	struct net_client *to = from->peer;
	uint64_t bytes = 0;
	uint32_t needs = 0;
	size_t max;
	unsigned n;

	if (unlikely(!from->sends))
		return send_slow(from, b);
	max = to->max_frame - ETH_HDR_LEN;
	for (unsigned i = 0; i < b->n; i++) {
		size_t len = b->frame[i].len;

		if (unlikely(len - ETH_HDR_LEN > max)) /* too short wraps around */
			return send_slow(from, b);
		needs |= frame_needs(&b->frame[i].meta);
		bytes += len;
	}
	if (unlikely(needs & ~to->takes))
		return send_slow(from, b);
	n = likely(to->ops->send) ? to->ops->send(to, b) : put_batch(to, b, true);
	for (unsigned i = n; unlikely(i < b->n); i++)
		bytes -= b->frame[i].len;
	count_crossing(from, to, n, bytes);
	return n;
}

/* ---- frames that are yet to come ---- */

static int lend_mixed(struct net_client *from, size_t want, struct net_window *w)
{
	struct net_scratch *s = from->scratch;
	int ret = from->peer->ops->lend(from->peer, MIN(want, (size_t)MIXED_WANT), w);

	s->lent = false;
	s->guest_lent = !ret;
	s->guest = *w;
	return ret;
}

static int lend_slow(struct net_client *from, size_t want, struct net_window *w)
{
	struct net_scratch *s = from->scratch;
	struct net_client *to = from->peer;
	struct net_window probe;
	int ret;

	if (!to || !from->started)
		return -EAGAIN;
	/* Before anything else: what is held may lie in the window. */
	if (!flush(from))
		return -EAGAIN;
	s->guest_lent = false;
	if (from->mixed && !s->large)
		return lend_mixed(from, want, w);
	if (net_link_up(from)) {
		if (from->direct)
			return to->ops->lend(to, want, w);
		ret = to->ops->lend ? to->ops->lend(to, ETH_MIN_LEN, &probe) : 0;
		if (ret)
			return ret;
	}
	s->lent = true;
	s->slot[1] = (struct iovec){ s->window, sizeof(s->window) };
	*w = (struct net_window){ &s->slot[1], 1, sizeof(s->window) };
	return 0;
}

int net_lend(struct net_client *from, size_t want, struct net_window *w)
{
	if (likely(from->direct))
		return from->peer->ops->lend(from->peer, want, w);
	return lend_slow(from, want, w);
}

/* The frame of len bytes that lies in the scratch window. */
static enum net_drop take_window(struct net_client *from, size_t len, const struct frame_meta *m)
{
	struct net_scratch *s = from->scratch;
	enum net_drop why;

	s->lent = false;
	s->large = m->gso;
	s->slot[1] = (struct iovec){ s->window, MIN(len, sizeof(s->window)) };
	s->one.iov = s->slot;
	s->one.n = 1;
	s->one.frame[0] = (struct frame){ .meta = *m, .iov = 1, .cnt = 1, .len = (uint32_t)MIN(len, UINT32_MAX) };
	s->taking = true;
	cross(from, &s->one, &s->one.frame[0], true, &why);
	s->taking = false;
	return why;
}

static enum net_drop refuse(struct net_client *from, enum net_drop why)
{
	counter_add(&from->tx.in, 1);
	net_drop_tx(from, why);
	return why;
}

/* The frame lies in the taker's own window, and lacks nothing. */
static enum net_drop take_direct(struct net_client *from, size_t len, const struct frame_meta *m)
{
	struct net_client *to = from->peer;
	enum net_drop why;

	if (unlikely(len - ETH_HDR_LEN > to->max_frame - ETH_HDR_LEN))
		return refuse(from, len < ETH_HDR_LEN ? NET_DROP_TOO_SHORT : NET_DROP_TOO_BIG);
	if (unlikely(frame_needs(m) & ~to->takes))
		return refuse(from, NET_DROP_OFFLOAD);
	why = to->ops->take(to, len, m);
	counter_add(&from->tx.in, 1);
	count_crossing(from, to, 1, len);
	if (likely(why == NET_OK) ||
	    to->through) /* a filter hands it on: it was refused behind it, and counted there */
		net_count_rx_out(to, 1, len);
	else
		net_drop_rx(to, why);
	return why;
}

/* The checksum into the taker's own window. */
static enum net_drop take_summed(struct net_client *from, size_t len, const struct frame_meta *m)
{
	const struct net_window *w = &from->scratch->guest;
	size_t at = (size_t)m->csum_start + m->csum_offset;
	struct frame_meta done = { .data_valid = true };
	uint16_t sum;

	if (len < ETH_HDR_LEN || !range_within(at, 2, len))
		return refuse(from, NET_DROP_VNET_HDR);
	sum = offload_csum(w->iov, w->cnt, len, m);
	iov_write_at(w->iov, w->cnt, at, &sum, sizeof(sum));
	return take_direct(from, len, &done);
}

static enum net_drop take_mixed(struct net_client *from, size_t len, const struct frame_meta *m)
{
	struct net_scratch *s = from->scratch;
	uint32_t lacks = frame_needs(m) & ~from->peer->takes;

	s->guest_lent = false;
	if (!lacks)
		return take_direct(from, len, m);
	if (len > s->guest.room)
		return refuse(from, NET_DROP_TOO_BIG);
	if (lacks == NET_OFF_CSUM && !m->gso)
		return take_summed(from, len, m);
	iov_read_at(s->guest.iov, s->guest.cnt, 0, s->window, MIN(len, sizeof(s->window)));
	counter_add(&from->tx.in, 1);
	return take_window(from, len, m);
}

static enum net_drop take_slow(struct net_client *from, size_t len, const struct frame_meta *m)
{
	/* A window of the peer's that it took back meanwhile (it stopped), or none at all. */
	enum net_drop why = !from->peer ? NET_DROP_NO_PEER : NET_DROP_STOPPED;

	if (from->peer && from->mixed && from->scratch->guest_lent)
		return take_mixed(from, len, m);
	counter_add(&from->tx.in, 1);
	if (from->peer && from->scratch->lent)
		return take_window(from, len, m);
	net_drop_tx(from, why);
	return why;
}

enum net_drop net_take(struct net_client *from, size_t len, const struct frame_meta *m)
{
	return likely(from->direct) ? take_direct(from, len, m) : take_slow(from, len, m);
}

/* The frame cannot lie in the peer's buffers now: it moves to the scratch window and takes the long way from there. */
static enum net_drop spill_to_scratch(struct net_client *from, const struct net_window *w, size_t len, const void *rest,
				      const struct frame_meta *m)
{
	struct net_scratch *s = from->scratch;

	if (iov_read_at(w->iov, w->cnt, 0, s->window, w->room) != w->room)
		return refuse(from, NET_DROP_TRUNCATED);
	memcpy(s->window + w->room, rest, len - w->room);
	counter_add(&from->tx.in, 1);
	return take_window(from, len, m);
}

enum net_drop net_take_spilled(struct net_client *from, const struct net_window *w, size_t len, const void *rest,
			       const struct frame_meta *m)
{
	struct net_client *to = from->peer;
	struct net_window more;

	if (len > NET_FRAME_MAX || len <= w->room)
		return refuse(from, NET_DROP_TOO_BIG);
	if (from->mixed && from->scratch->guest_lent) {
		from->scratch->guest_lent = false;
		return spill_to_scratch(from, w, len, rest, m);
	}
	if (!from->direct)
		return refuse(from, NET_DROP_STOPPED); /* the host window holds any frame: it was another's */
	/* The same window again, larger: what lies at its head stays. */
	if (to->ops->lend(to, len, &more) == 0 && more.room >= len && more.room > w->room &&
	    iov_write_at(more.iov, more.cnt, w->room, rest, len - w->room) == len - w->room)
		return net_take(from, len, m);
	return spill_to_scratch(from, w, len, rest, m);
}

void net_commit(struct net_client *from)
{
	struct net_client *to = from->peer;

	if (to && to->ops->commit)
		to->ops->commit(to);
}

/* ---- wakes ---- */

void net_wake_peer(struct net_client *c, unsigned what)
{
	c->wake_bits |= what;
	loop_before_sleep(c->loop, &c->wake_hook);
}

void wire_wake(struct sleep_hook *h)
{
	struct net_client *c = container_of(h, struct net_client, wake_hook), *peer = c->peer;
	unsigned what = c->wake_bits;

	c->wake_bits = 0;
	if (!peer || !peer->started)
		return;
	if ((what & NET_WAKE_ROOM) && !flush(peer))
		what &= ~(unsigned)NET_WAKE_ROOM;
	if (what && peer->ops->wake)
		peer->ops->wake(peer, what);
}
