/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net, wire to guest (virtio 1.2, 5.1.6.3).
 *
 * Collect ahead, fill, then decide. Lending pops chains until they hold what the giver wants, and shows their pieces as
 * one window, the header's place cut off at its head. The giver reads a frame into it (readv() from a tap: no copy),
 * and only then is it known how many chains the frame used. Those are pushed; the others stay collected and are the
 * head of the next window. So each chain is popped once, and the work of a frame is that of the chains it used.
 *
 * The collected chains lie one behind the other in an arena, chain records in step with their pieces:
 *
 *	iov:	... used | header slot | pieces of chain 0 | chain 1 | ... | spill slot
 *	                                ^first                       ^last or end
 *
 * Both are moved to the front when they are empty, which is nearly always, or have gone far enough. A spill slot (host
 * memory) stands behind the window. A frame that runs into it is completed by copy, from chains that are collected
 * then. If there are not enough of them now, the frame is held, and nothing is lent, until the driver has refilled the
 * ring; if that does not happen soon, or the ring is full and still too small, it is dropped. No part of a frame is
 * ever published alone.
 *
 * Without merged buffers a frame has exactly one chain, so only one is collected.
 *
 * Of a queue that was reset alone, or taken out of use, frames do not wait until it is enabled again: of several queues
 * the device re-selects another one, or drops the frame (5.1.6.5.6.2, 5.1.6.5.7.3). So its wire is lent the spill slot
 * alone, and each frame is looked at there. A driver that knows of one pair only has no such rule: its frames wait in the
 * wire.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/csum.h"
#include "base/iov.h"
#include "nic/virtio_net.h"

/* The front of the arena is used up to here before what is collected is moved there, if that is little. */
#define COMPACT_AT   256
#define COMPACT_LIVE 128
/* How long a frame waits for buffers that do not suffice. */
#define PATIENCE_NS  (50 * NSEC_PER_MSEC)

static bool mergeable(const struct vnet_pair *p)
{
	return vnet_has(p->net, VIRTIO_NET_F_MRG_RXBUF);
}

/* ---- the arena ---- */

static unsigned n_chains(const struct vnet_rx *rx)
{
	return rx->c_last - rx->c_first;
}

static void arena_clear(struct vnet_rx *rx)
{
	rx->first = rx->last = 1; /* slot 0 is the header slot */
	rx->c_first = rx->c_last = 0;
	rx->bytes = 0;
	rx->end = 0;
	rx->room = 0;
	rx->patched = false;
}

/* Put back the piece that the spill slot stood in for. */
static void unpatch(struct vnet_rx *rx)
{
	if (unlikely(rx->patched)) {
		rx->iov[rx->end] = rx->saved;
		rx->patched = false;
	}
}

static __attribute__((noinline)) void compact(struct vnet_rx *rx)
{
	unsigned by = rx->first - 1;

	memmove(&rx->iov[1], &rx->iov[rx->first], (rx->last - rx->first) * sizeof(rx->iov[0]));
	memmove(&rx->chain[0], &rx->chain[rx->c_first], n_chains(rx) * sizeof(rx->chain[0]));
	rx->first -= by;
	rx->last -= by;
	rx->end -= MIN(rx->end, by);
	rx->c_last -= rx->c_first;
	rx->c_first = 0;
}

/* ---- headers ---- */

/* The header's place is scattered over several pieces, or is a piece of its own, or there is none. */
static __attribute__((noinline)) void peel_slow(struct vnet_pair *p, struct vnet_rx_chain *ch)
{
	struct vnet_rx *rx = &p->rx;
	struct vnet_rx_header *h = &rx->header;
	unsigned left = p->hdr_len;

	h->at = NULL;
	h->n = 0;
	h->none = ch->len < p->hdr_len;
	if (h->none)
		return;
	while (left) {
		struct iovec *v = &rx->iov[rx->first];
		unsigned n = (unsigned)MIN(v->iov_len, (size_t)left);

		h->piece[h->n++] = (struct iovec){ v->iov_base, n };
		left -= n;
		if (n < v->iov_len) {
			v->iov_base = (uint8_t *)v->iov_base + n;
			v->iov_len -= n;
		} else {
			rx->first++;
			ch->cnt--;
		}
	}
	ch->len -= p->hdr_len;
}

/* Cut the header's place off the first chain. */
static inline void peel(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;
	struct vnet_rx_chain *ch = &rx->chain[rx->c_first];
	struct iovec *v = &rx->iov[rx->first];
	uint32_t before = ch->len;

	if (likely(v->iov_len > p->hdr_len)) {
		rx->header.at = v->iov_base;
		rx->header.none = false;
		v->iov_base = (uint8_t *)v->iov_base + p->hdr_len;
		v->iov_len -= p->hdr_len;
		ch->len -= p->hdr_len;
	} else {
		peel_slow(p, ch);
	}
	rx->bytes -= before - ch->len;
}

/*
 * The first bytes of a frame of len bytes, `size` at most, which lies in the first cnt pieces: a copy, as the guest could
 * change them while they are judged. What is behind the frame is anything.
 */
static inline void peek(const struct vnet_rx *rx, unsigned cnt, size_t len, uint8_t *head, size_t size)
{
	if (likely(rx->iov[rx->first].iov_len >= size && rx->room))
		vnet_copy(head, rx->iov[rx->first].iov_base, size);
	else
		iov_read_at(&rx->iov[rx->first], cnt, 0, head, MIN(len, size));
}

/* The hash of the frame that lies in the first cnt pieces (5.1.6.4.4), by a copy of its headers. */
static __attribute__((noinline)) unsigned hash_frame(struct vnet_pair *p, unsigned cnt, size_t len, uint32_t *value)
{
	uint8_t head[RSS_PEEK];

	*value = 0;
	if (!p->rss->hash.types)
		return VIRTIO_NET_HASH_REPORT_NONE;
	peek(&p->rx, cnt, len, head, sizeof(head));
	return rss_hash_frame(&p->rss->hash, head, len, value);
}

/*
 * How many segments a frame stands for, in place of where its checksum is (RSC_EXT; 5.1.6.4.1). They were joined by who
 * gave it, the host's kernel or vwire-user, which keep no repeated acknowledgements back: of those there are none.
 */
static __attribute__((noinline)) void write_segments(struct vnet_pair *p, const struct frame_meta *m, size_t len,
						     struct virtio_net_hdr *h)
{
	struct vnet_rx *rx = &p->rx;
	size_t head = m->csum_start, n = 8;
	uint8_t offset = 0;

	if (m->gso == NET_GSO_TCP4 || m->gso == NET_GSO_TCP6) {
		iov_read_at(&rx->iov[rx->first], rx->last - rx->first, head + 12, &offset, 1);
		n = (offset >> 4) * 4;
	}
	head += n;
	if (!m->needs_csum || head > len)
		head = MIN(m->hdr_len, len);
	n = (len - head + m->gso_size - 1) / m->gso_size;
	h->flags |= VIRTIO_NET_HDR_F_RSC_INFO;
	h->csum_start = htole16((uint16_t)MAX(n, (size_t)1));
	h->csum_offset = 0;
}

static void write_header(struct vnet_pair *p, const struct frame_meta *m, unsigned buffers, size_t len)
{
	struct vnet_rx_header *h = &p->rx.header;
	union {
		struct virtio_net_hdr plain;
		struct virtio_net_hdr_mrg_rxbuf mrg;
		struct virtio_net_hdr_v1_hash hash;
	} hdr;

	net_vnet_encode(m, &hdr.plain);
	/* Without GUEST_CSUM the flags are zero, and the checksum is there (5.1.6.4.1). */
	if (unlikely(!(p->client.takes & NET_OFF_CSUM)))
		hdr.plain.flags = 0;
	if (unlikely(m->gso && p->rsc))
		write_segments(p, m, len, &hdr.plain);
	hdr.mrg.num_buffers = htole16((uint16_t)buffers);
	if (likely(h->at && p->hdr_len == sizeof(hdr.mrg))) {
		memcpy(h->at, &hdr.mrg, sizeof(hdr.mrg));
	} else {
		struct iovec one = { h->at, p->hdr_len };
		struct iov_cur cur = h->at ? iov_cur(&one, 1) : iov_cur(h->piece, h->n);

		if (p->hdr_len == sizeof(hdr.hash)) {
			uint32_t hash = p->rx.hash.value;
			unsigned report = p->rx.hash.known ? p->rx.hash.report :
							     hash_frame(p, p->rx.last - p->rx.first, len, &hash);

			hdr.hash.hash_report = htole16((uint16_t)report);
			hdr.hash.hash_value = htole32(hash);
			hdr.hash.padding = 0;
		}
		iov_put(&cur, &hdr, p->hdr_len);
	}
}

/* ---- collecting ---- */

/* May a chain of this shape be a receive buffer? */
static enum virtq_fault judge_chain(const struct vnet_pair *p, const struct vchain *c)
{
	if (unlikely(c->n_out))
		return VIRTQ_FAULT_DIRECTION;
	if (unlikely(c->in_len < p->hdr_len && mergeable(p)))
		return VIRTQ_FAULT_HEADER;
	return VIRTQ_FINE;
}

static void append(struct vnet_pair *p, const struct vchain *c)
{
	struct vnet_rx *rx = &p->rx;

	rx->chain[rx->c_last++] = (struct vnet_rx_chain){ c->head, c->n_in, c->in_len };
	rx->last += c->n_in;
	rx->bytes += c->in_len;
	if (n_chains(rx) == 1)
		peel(p);
}

/* Pop one chain more. 1: done; 0: there is none, or no place for it; negative: the queue broke. */
static int collect_one(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;
	enum virtq_fault why;
	struct vchain c;
	int r = virtq_pop(&p->rxq->q, &rx->iov[rx->last], VNET_RX_IOV - rx->last, &c);

	if (unlikely(r == -E2BIG)) {
		compact(rx);
		r = virtq_pop(&p->rxq->q, &rx->iov[rx->last], VNET_RX_IOV - rx->last, &c);
		if (r == -E2BIG)
			return 0;
	}
	if (r < 0) {
		vnet_break(p->net, p->rxq, p->rxq->q.fault);
		return r;
	}
	if (r == 0)
		return 0;
	why = judge_chain(p, &c);
	if (unlikely(why)) {
		vnet_break(p->net, p->rxq, why);
		return -EPROTO;
	}
	append(p, &c);
	return 1;
}

/* Collect until a frame of `want` bytes fits, or there is nothing more. Negative: the queue broke. */
static int collect(struct vnet_pair *p, size_t want)
{
	struct vnet_rx *rx = &p->rx;
	int r = 1;

	if (rx->first > COMPACT_AT && rx->last - rx->first <= COMPACT_LIVE)
		compact(rx);
	if (!mergeable(p))
		return n_chains(rx) ? 0 : collect_one(p);
	while (r > 0 && (rx->bytes < want || !n_chains(rx)) && rx->c_last < VNET_RX_IOV)
		r = collect_one(p);
	return r;
}

/* Nothing is collected: ask for a kick, and look again. True: there is something now. */
static bool starve(struct vnet_pair *p, size_t want)
{
	struct vnet_rx *rx = &p->rx;

	while (vnet_more(p, false)) {
		virtq_kick_disable(&p->rxq->q);
		if (collect(p, want) < 0)
			return false;
		if (n_chains(rx))
			return true;
	}
	if (p->rxq->q.fault)
		vnet_break(p->net, p->rxq, p->rxq->q.fault);
	else
		rx->starved = true;
	return false;
}

/* ---- lending ---- */

/*
 * The window's end: behind all that is collected, unless the giver wants much less than that (it wanted more before),
 * or it would be more pieces than readv() takes.
 */
static __attribute__((noinline)) void cut_window(struct vnet_rx *rx, size_t want)
{
	const struct vnet_rx_chain *ch = &rx->chain[rx->c_first];

	want = MAX(want, (size_t)1); /* a chain at least */
	rx->end = rx->first;
	rx->room = 0;
	for (; rx->room < want && ch < &rx->chain[rx->c_last]; ch++) {
		if (rx->end - rx->first + ch->cnt > VNET_WINDOW)
			break;
		rx->end += ch->cnt;
		rx->room += ch->len;
	}
	if (rx->end > rx->first || ch == &rx->chain[rx->c_last])
		return;
	/* The first chain alone has more pieces. */
	for (unsigned i = 0; i < VNET_WINDOW; i++)
		rx->room += rx->iov[rx->end++].iov_len;
}

static inline void make_window(struct vnet_rx *rx, size_t want, struct net_window *w)
{
	rx->end = rx->last;
	rx->room = rx->bytes;
	if (unlikely(rx->last - rx->first > VNET_WINDOW || rx->bytes - rx->chain[rx->c_last - 1].len >= want))
		cut_window(rx, want);
	w->iov = &rx->iov[rx->first];
	w->cnt = rx->end - rx->first;
	w->room = rx->room;
	if (likely(rx->room < NET_FRAME_MAX)) {
		rx->patched = rx->end < rx->last;
		rx->saved = rx->iov[rx->end];
		rx->iov[rx->end] = (struct iovec){ rx->spill, NET_FRAME_MAX - rx->room };
		w->cnt++;
		w->room = NET_FRAME_MAX;
	}
}

/* A window of which nothing is the driver's: what is taken there goes to another pair, or nowhere. */
static __attribute__((noinline)) int lend_off(struct vnet_pair *p, struct net_window *w)
{
	struct vnet_rx *rx = &p->rx;

	if (!rx->off || !vnet_running(p))
		return -EAGAIN;
	if (!vnet_has(p->net, VIRTIO_NET_F_MQ) && !vnet_has(p->net, VIRTIO_NET_F_RSS))
		return -EAGAIN;
	arena_clear(rx);
	rx->header.none = true;
	rx->end = rx->first;
	rx->iov[rx->end] = (struct iovec){ rx->spill, NET_FRAME_MAX };
	*w = (struct net_window){ .iov = &rx->iov[rx->end], .cnt = 1, .room = NET_FRAME_MAX };
	return 0;
}

int vnet_rx_lend(struct net_client *c, size_t want, struct net_window *w)
{
	struct vnet_pair *p = to_pair(c);
	struct vnet_rx *rx = &p->rx;

	if (unlikely(!rx->ready || rx->holding || p->quiet || virtio_broken(&p->net->vdev)))
		return lend_off(p, w);
	unpatch(rx);
	if (rx->bytes < want || !n_chains(rx)) {
		if (unlikely(collect(p, want) < 0))
			return -EAGAIN;
		if (unlikely(!n_chains(rx)) && !starve(p, want))
			return -EAGAIN;
	}
	make_window(rx, want, w);
	return 0;
}

/* ---- taking ---- */

/* The window's pieces, the spill slot among them. */
static inline unsigned window_pieces(const struct vnet_rx *rx)
{
	return rx->end + 1 - rx->first;
}

static enum net_drop filter(struct vnet_pair *p, size_t len)
{
	uint8_t head[RX_FILTER_PEEK];

	if (p->filter->promisc)
		return NET_OK;
	peek(&p->rx, window_pieces(&p->rx), len, head, sizeof(head));
	return rx_filter_judge(p->filter, head, len);
}

/* Header and frame, len bytes in all that is collected. */
static __attribute__((noinline)) void mark_dirty(struct vnet_pair *p, size_t len)
{
	const struct ram *ram = p->rxq->q.dma->ram;
	struct vnet_rx *rx = &p->rx;

	if (rx->header.at)
		ram_dirty_host(ram, rx->header.at, p->hdr_len);
	for (unsigned k = 0; !rx->header.at && k < rx->header.n; k++)
		ram_dirty_host(ram, rx->header.piece[k].iov_base, rx->header.piece[k].iov_len);
	for (unsigned i = rx->first; len; i++) {
		size_t n = MIN(len, rx->iov[i].iov_len);

		ram_dirty_host(ram, rx->iov[i].iov_base, n);
		len -= n;
	}
}

/* Push the first n chains, which hold a frame of len bytes, and go past them. */
static inline void consume(struct vnet_pair *p, unsigned n, size_t len)
{
	struct vnet_rx *rx = &p->rx;
	uint32_t extra = p->hdr_len;

	if (unlikely(atomic_load_explicit(&p->rxq->q.dma->ram->log, memory_order_relaxed)))
		mark_dirty(p, len);
	while (n--) {
		const struct vnet_rx_chain *ch = &rx->chain[rx->c_first++];
		uint32_t used = (uint32_t)MIN(len, (size_t)ch->len);

		virtq_push(&p->rxq->q, ch->head, used + extra);
		extra = 0;
		len -= used;
		rx->first += ch->cnt;
		rx->bytes -= ch->len;
	}
	rx->end = 0;
	if (rx->c_first == rx->c_last)
		arena_clear(rx);
	else
		peel(p);
}

/* How many of the collected chains, which are enough, a frame of len bytes uses. */
static unsigned chains_for(const struct vnet_rx *rx, size_t len)
{
	const struct vnet_rx_chain *ch = &rx->chain[rx->c_first];
	unsigned n = 1;

	for (; len > ch->len; ch++, n++)
		len -= ch->len;
	return n;
}

static void deliver(struct vnet_pair *p, size_t len, const struct frame_meta *m)
{
	unsigned n = chains_for(&p->rx, len);

	write_header(p, m, n, len);
	consume(p, n, len);
}

/*
 * Copy what lies in the spill slot, all of the frame if there was no room, to the collected chains, which are enough
 * now.
 */
static void unspill(struct vnet_pair *p, size_t len)
{
	struct vnet_rx *rx = &p->rx;
	unsigned at = rx->room ? rx->end : rx->first;
	struct iov_cur cur = iov_cur(&rx->iov[at], rx->last - at);

	iov_put(&cur, rx->spill, len - rx->room);
}

/* All that the driver can ever post is collected already. */
static bool ring_exhausted(const struct vnet_pair *p)
{
	const struct virtq *q = &p->rxq->q;

	return virtq_exhausted(q) || (q->mode == VIRTQ_SPLIT && p->rx.last - p->rx.first >= q->size);
}

/* Collect for a frame of len bytes. If they do not suffice a kick is asked for. Negative: the queue broke. */
static int gather(struct vnet_pair *p, size_t len)
{
	struct vnet_rx *rx = &p->rx;
	struct virtq *q = &p->rxq->q;
	unsigned before;

	do {
		before = n_chains(rx);
		if (collect(p, len) < 0)
			return -EPROTO;
		if (rx->bytes >= len || ring_exhausted(p)) {
			virtq_kick_disable(q);
			return 0;
		}
	} while (virtq_kick_enable(q) && n_chains(rx) != before);
	if (unlikely(q->fault)) {
		vnet_break(p->net, p->rxq, q->fault);
		return -EPROTO;
	}
	return 0;
}

static void hold(struct vnet_rx *rx, size_t len, const struct frame_meta *m)
{
	rx->holding = true;
	rx->counted = false;
	rx->held_len = len;
	rx->held_meta = *m;
	timer_arm(&rx->patience, clock_now(CLOCK_VM_NS) + PATIENCE_NS);
}

/* The frame reaches into the spill slot. */
static __attribute__((noinline)) enum net_drop take_spilled(struct vnet_pair *p, size_t len, const struct frame_meta *m)
{
	struct vnet_rx *rx = &p->rx;

	unpatch(rx);
	if (mergeable(p) && gather(p, len) < 0)
		return NET_DROP_BROKEN;
	if (rx->bytes >= len) {
		unspill(p, len);
		deliver(p, len, m);
		return NET_OK;
	}
	if (!mergeable(p))
		return NET_DROP_BUFFER_SMALL;
	if (ring_exhausted(p))
		return NET_DROP_NO_BUFFER;
	hold(rx, len, m);
	return NET_OK;
}

enum net_drop vnet_rx_put(struct vnet_pair *p, size_t len, const struct frame_meta *m)
{
	struct vnet_rx *rx = &p->rx;

	if (unlikely(rx->header.none))
		return rx->off ? NET_DROP_RESET : NET_DROP_BUFFER_SMALL;
	if (unlikely(len > rx->room))
		return take_spilled(p, len, m);
	unpatch(rx);
	if (likely(len <= rx->chain[rx->c_first].len)) {
		write_header(p, m, 1, len);
		consume(p, 1, len);
	} else {
		deliver(p, len, m);
	}
	return NET_OK;
}

enum net_drop vnet_rx_take(struct net_client *c, size_t len, const struct frame_meta *m)
{
	struct vnet_pair *p = to_pair(c);
	struct vnet_rx *rx = &p->rx;
	enum net_drop why;

	if (unlikely(!rx->end)) /* no window, or none any more */
		return NET_DROP_STOPPED;
	if (unlikely(len > p->longest) && (!m->gso || len > NET_FRAME_MAX))
		return NET_DROP_TOO_BIG;
	why = filter(p, len);
	if (unlikely(why))
		return why;
	if (unlikely(p->inbox) && (p->rss->steering || rx->off)) {
		struct vnet_pair *to = vnet_steer_to(p, len);

		why = to == p ? vnet_rx_put(p, len, m) : vnet_steer(p, to, len, m);
		rx->hash.known = false;
		return why;
	}
	return vnet_rx_put(p, len, m);
}

unsigned vnet_rx_hash(struct vnet_pair *p, size_t len, uint32_t *value)
{
	struct vnet_rx *rx = &p->rx;

	rx->hash.report = hash_frame(p, window_pieces(rx), len, &rx->hash.value);
	rx->hash.known = true;
	*value = rx->hash.value;
	return rx->hash.report;
}

void vnet_rx_read(struct vnet_pair *p, void *to, size_t len)
{
	iov_read_at(&p->rx.iov[p->rx.first], window_pieces(&p->rx), 0, to, len);
}

/* The wrapper has counted a frame that is held as delivered by now: it is not. */
static void count_held(struct vnet_pair *p)
{
	p->rx.counted = true;
	counter_add(&p->client.rx.out, (uint64_t)-1);
	counter_add(&p->client.rx.bytes, (uint64_t)-p->rx.held_len);
	counter_add(&p->client.rx.held, 1);
}

void vnet_rx_commit(struct net_client *c)
{
	struct vnet_pair *p = to_pair(c);

	if (unlikely(p->rx.holding && !p->rx.counted))
		count_held(p);
	if (likely(p->rx.ready))
		vnet_flush(p, false);
}

/* ---- a frame that is held ---- */

static void room_again(struct vnet_pair *p)
{
	net_wake_peer(&p->client, NET_WAKE_ROOM);
	vnet_steer_again(p);
}

static void end_hold(struct vnet_pair *p)
{
	p->rx.holding = false;
	timer_cancel(&p->rx.patience);
	counter_add(&p->client.rx.held, (uint64_t)-1);
}

void vnet_rx_drop_held(struct vnet_pair *p, enum net_drop why)
{
	if (!p->rx.holding)
		return;
	if (!p->rx.counted)
		count_held(p);
	end_hold(p);
	net_drop_rx(&p->client, why);
}

/*
 * The frame's first part, which lies in the collected chains, moves to the spill slot too: all of it is in host memory.
 */
static void rescue_held(struct vnet_rx *rx)
{
	memmove(rx->spill + rx->room, rx->spill, rx->held_len - rx->room);
	iov_read_at(&rx->iov[rx->first], rx->end - rx->first, 0, rx->spill, rx->room);
	rx->room = 0;
}

/* Fill in the checksum of a frame that is not to be cut. False: the metadata has no place for one. */
static bool finish_held(struct vnet_rx *rx)
{
	struct frame_meta *m = &rx->held_meta;
	size_t at = (size_t)m->csum_start + m->csum_offset;
	uint16_t sum;

	if (m->gso || at + sizeof(sum) > rx->held_len)
		return false;
	rescue_held(rx);
	sum = (uint16_t)~csum_fold(csum_add(0, rx->spill + m->csum_start, rx->held_len - m->csum_start));
	sum = sum ? sum : 0xffff;
	memcpy(rx->spill + at, &sum, sizeof(sum));
	*m = (struct frame_meta){ 0 };
	return true;
}

void vnet_rx_takes_changed(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (!rx->holding || !(frame_needs(&rx->held_meta) & ~p->client.takes) || finish_held(rx))
		return;
	/* There is one place for a frame that waits, and it would become many. */
	vnet_rx_drop_held(p, NET_DROP_OFFLOAD);
	room_again(p);
}

/* There may be buffers now. */
static void retry_held(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;
	size_t len = rx->held_len;

	if (gather(p, len) < 0)
		return;
	if (rx->bytes >= len) {
		end_hold(p);
		unspill(p, len);
		deliver(p, len, &rx->held_meta);
		net_count_rx_out(&p->client, 1, len);
		vnet_flush(p, false);
	} else if (ring_exhausted(p)) {
		vnet_rx_drop_held(p, NET_DROP_NO_BUFFER);
	} else {
		return;
	}
	room_again(p);
}

static void out_of_patience(struct timer *t)
{
	struct vnet_pair *p = container_of(t, struct vnet_pair, rx.patience);

	vnet_rx_drop_held(p, NET_DROP_NO_BUFFER);
	room_again(p);
}

/* ---- life ---- */

int vnet_rx_init(struct vnet_pair *p)
{
	timer_init(&p->rx.patience, p->lane->loop, CLOCK_VM_NS, out_of_patience);
	arena_clear(&p->rx);
	/* Pages of it exist once a frame has run into it. */
	p->rx.spill = malloc(NET_FRAME_MAX);
	return p->rx.spill ? 0 : -ENOMEM;
}

void vnet_rx_destroy(struct vnet_pair *p)
{
	free(p->rx.spill);
	p->rx.spill = NULL;
}

static void turn_on(struct vnet_pair *p)
{
	if (p->rx.off)
		vnet_steer_drop(p, NET_DROP_RESET); /* they came while it was off */
	p->rx.off = false;
	atomic_store(&p->open, true);
	virtq_kick_disable(&p->rxq->q);
}

void vnet_rx_start(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	arena_clear(rx);
	rx->ready = p->rxq->q.running;
	rx->starved = false;
	if (rx->ready)
		turn_on(p);
	else
		vnet_rx_drop_held(p, NET_DROP_STOPPED);
	if (rx->holding) /* the kick that follows every start tries again */
		timer_arm(&rx->patience, clock_now(CLOCK_VM_NS) + PATIENCE_NS);
	net_wake_peer(&p->client, NET_WAKE_ROOM);
}

void vnet_rx_stop(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	rx->ready = false;
	if (rx->holding) {
		timer_cancel(&rx->patience);
		rescue_held(rx);
	}
	while (rx->c_last > rx->c_first)
		virtq_unpop(&p->rxq->q, &rx->chain[--rx->c_last].head, 1);
	arena_clear(rx);
}

void vnet_rx_off(struct vnet_pair *p)
{
	atomic_store(&p->open, false);
	if (p->rx.ready)
		vnet_rx_stop(p);
	p->rx.off = true;
	vnet_rx_drop_held(p, NET_DROP_RESET);
	vnet_steer_drop(p, NET_DROP_RESET);
	net_wake_peer(&p->client, NET_WAKE_ROOM); /* if it waits for buffers: it need not any more */
}

void vnet_rx_kick(struct vnet_pair *p)
{
	struct vnet_rx *rx = &p->rx;

	if (!rx->ready || p->quiet)
		return;
	if (rx->holding) {
		retry_held(p);
	} else if (rx->starved) {
		rx->starved = false;
		virtq_kick_disable(&p->rxq->q);
		net_wake_peer(&p->client, NET_WAKE_ROOM);
	}
	vnet_steer_run(p);
}
