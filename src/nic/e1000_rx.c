/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000, wire to guest (3.2).
 *
 * Descriptors are fetched ahead: lending reads as many as the giver wants bytes, and shows their buffers as one window,
 * a spill slot of host memory behind them. The giver reads a frame into it, straight into the guest's memory; taking
 * judges it (filters, length), adds what the wire does not carry (padding of a short frame, the four bytes of the CRC
 * unless SECRC strips them) and writes the descriptors that it used back. The others stay fetched and are the head of
 * the next window.
 *
 *	iov:	... used | buffer of descriptor `head` | head + 1 | ... | spill slot
 *	                 ^first                                        ^last
 *
 * A frame that was lent room beyond what is fetched, or whose tag is to be stripped, goes through host memory (`flat`)
 * instead. One for which there are not enough descriptors is held there, and nothing is lent, until the driver has
 * posted more; if that does not happen soon, or all of the ring is too small, it is dropped, as by a hardware FIFO that
 * overruns (MPC, RXO). While there are no descriptors at all nothing is lent, and the wire waits.
 *
 * What the wire gives is in the buffers before it is judged. So a window never shows more of a buffer than the longest
 * frame needs that is let in: Linux's driver has buffers of 1522 bytes where the register says 2048, for without LPE no
 * frame is longer, and behind them is other memory.
 *
 * A descriptor whose address is null, or not RAM, is used up and holds no byte.
 *
 * The wire carries no CRC, so where the driver does not have it stripped it is made.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"
#include "base/sched.h"
#include "net/fcs.h"
#include "nic/e1000.h"

#define IOV_FIRST 1u
#define LONG_LEN  1522u /* longest frame with CRC unless LPE is set */
#define TAG_LEN	  4u
#define TAG_AT	  12u
/* Frames that one that is looped back may be cut into. Others are missed: a segment for each byte takes for ever. */
#define LOOP_MAX  (4 * NET_BATCH)

/* ---- the ring ---- */

static unsigned fetched(const struct e1000_rx *rx)
{
	return rx->last - rx->first;
}

static void forget(struct e1000_rx *rx)
{
	rx->first = rx->last = IOV_FIRST;
	rx->bytes = 0;
	rx->lent = false;
}

static uint32_t after(const struct e1000_rx *rx, uint32_t i)
{
	return i + 1 < rx->count ? i + 1 : 0;
}

static uint32_t ahead(const struct e1000_rx *rx, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : to + rx->count - from;
}

/* Write descriptor `head` back, its second word as one, and go past it. */
static void write_back(struct e1000 *e, uint64_t word)
{
	struct e1000_rx *rx = &e->rx;
	uint8_t *at = rx->ring + (size_t)rx->head * E1000_DESC;

	__atomic_store_n((uint64_t *)(void *)(at + 8), htole64(word), __ATOMIC_RELEASE);
	dma_dirty(&e->pci.dma, rx->gpa + (uint64_t)rx->head * E1000_DESC, E1000_DESC);
	rx->head = after(rx, rx->head);
	e1000_put(e, E1000_RDH, rx->head);
}

/* The descriptors at the front that hold nothing are done with. */
static void skip_empty(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;

	while (fetched(rx) && !rx->iov[rx->first].iov_len) {
		rx->first++;
		write_back(e, (uint64_t)RXD_DD << 32);
		rx->took = true;
	}
	if (!fetched(rx))
		forget(rx);
}

static void compact(struct e1000_rx *rx)
{
	memmove(&rx->iov[IOV_FIRST], &rx->iov[rx->first], fetched(rx) * sizeof(rx->iov[0]));
	rx->last = IOV_FIRST + fetched(rx);
	rx->first = IOV_FIRST;
}

/* The tail, or the head if it is nonsense: then there is nothing. */
static uint32_t tail_of(struct e1000 *e)
{
	uint32_t tail = e1000_tail(e, false);

	if (likely(tail < e->rx.count))
		return tail;
	e1000_complain(e, "RDT is outside of the receive ring");
	return e->rx.head;
}

static void fetch_one(struct e1000 *e, uint32_t i)
{
	struct e1000_rx *rx = &e->rx;
	const uint64_t *at = (const uint64_t *)(const void *)(rx->ring + (size_t)i * E1000_DESC);
	uint64_t gpa = le64toh(READ_ONCE(*at));
	void *host = gpa ? dma_ptr(&e->pci.dma, gpa, rx->buffer) : NULL;

	if (unlikely(gpa && !host))
		e1000_complain(e, "a receive buffer is not in RAM");
	rx->iov[rx->last++] = (struct iovec){ host ? host : rx->spill, host ? rx->buffer : 0 };
	rx->bytes += host ? rx->buffer : 0;
}

/* Fetch until there is room for so many bytes, or there are no more. */
static void fetch(struct e1000 *e, size_t bytes)
{
	struct e1000_rx *rx = &e->rx;
	uint32_t tail = tail_of(e), left = ahead(rx, rx->head, tail);
	uint32_t next;

	/* A driver that takes posted descriptors back gets what it asked for. */
	if (unlikely(left < fetched(rx)))
		return;
	left -= fetched(rx);
	next = rx->head + fetched(rx);
	next -= next >= rx->count ? rx->count : 0;
	for (; left && rx->bytes < bytes && fetched(rx) < E1000_RX_FETCH; left--) {
		if (rx->last == ARRAY_SIZE(rx->iov) - 1)
			compact(rx);
		fetch_one(e, next);
		next = after(rx, next);
		skip_empty(e);
	}
}

/*
 * Nothing is there: be told of the next write of RDT, and look again. True: there is something now. Each side writes
 * its word and then reads the other's, so one of the two sees the other.
 */
static bool starve(struct e1000 *e, size_t bytes)
{
	struct e1000_rx *rx = &e->rx;

	if (!atomic_load(&rx->starved))
		e1000_stat(e, E1000_RNBC, 1);
	SCHED_POINT();
	atomic_store(&rx->starved, true);
	SCHED_POINT();
	fetch(e, bytes);
	if (!fetched(rx))
		return false;
	atomic_store(&rx->starved, false);
	return true;
}

/* ---- lending ---- */

bool e1000_loops(const struct e1000 *e)
{
	return (e1000_get(e, E1000_RCTL) & RCTL_LBM) || e1000_phy_loops(e);
}

static int lend(struct e1000 *e, size_t want, struct net_window *w)
{
	struct e1000_rx *rx = &e->rx;

	want = MAX(want, (size_t)ETH_MIN_LEN) + E1000_CRC_LEN;
	if (rx->bytes < want)
		fetch(e, want);
	if (unlikely(!fetched(rx)) && !starve(e, want)) {
		rx->lent = false;
		return -EAGAIN;
	}
	rx->lent = true;
	rx->room = rx->bytes;
	*w = (struct net_window){ &rx->iov[rx->first], fetched(rx), rx->bytes };
	rx->iov[rx->last] = (struct iovec){ rx->spill, 0 };
	if (likely(rx->bytes < NET_FRAME_MAX)) {
		rx->iov[rx->last].iov_len = NET_FRAME_MAX - rx->bytes;
		w->room = NET_FRAME_MAX;
		w->cnt++;
	}
	return 0;
}

int e1000_rx_lend(struct net_client *c, size_t want, struct net_window *w)
{
	struct e1000 *e = client_to_e1000(c);

	if (unlikely(!e->rx.ready || e->rx.held_all || e->quiet || e1000_loops(e)))
		return -EAGAIN;
	return lend(e, want, w);
}

/* ---- taking ---- */

/* The first bytes, judged by a copy: the guest could change them meanwhile. */
static void peek(const struct e1000_rx *rx, size_t len, uint8_t head[18])
{
	memset(head, 0, 18);
	iov_read_at(&rx->iov[rx->first], fetched(rx) + 1, 0, head, MIN(len, (size_t)18));
	__asm__ volatile("" : : "r"(head) : "memory");
}

static enum net_drop judge(struct e1000 *e, size_t len, const uint8_t *head, struct e1000_rx_info *info)
{
	size_t whole = MAX(len, (size_t)ETH_MIN_LEN) + E1000_CRC_LEN;
	enum e1000_control control = CONTROL_NONE;
	enum net_drop why;
	bool fits = whole <= (e1000_get(e, E1000_RCTL) & RCTL_LPE ? E1000_RX_FRAME_MAX : LONG_LEN);

	if (unlikely(e1000_get(e, E1000_CTRL) & CTRL_RFCE))
		control = e1000_flow(e, head);
	why = control == CONTROL_TAKEN ? NET_DROP_FILTER_MAC : e1000_filter(e, head, len, info);
	if (unlikely(control == CONTROL_PASS))
		why = NET_OK;
	e1000_count_rx(e, whole, head, !why && fits && !control);
	if (why || fits)
		return why;
	e1000_stat(e, E1000_ROC, 1);
	e1000_stat(e, E1000_RLEC, 1);
	return NET_DROP_TOO_BIG;
}

/* The driver gets more bytes than it has descriptors for: the FIFO overruns (13.4.17 RXO). */
static enum net_drop overrun(struct e1000 *e, enum net_drop why)
{
	e1000_stat(e, E1000_MPC, 1);
	e->rx.causes |= ICR_RXO;
	return why;
}

/* All that the driver can ever post is fetched already. */
static bool exhausted(const struct e1000_rx *rx)
{
	return fetched(rx) + 1 >= MIN(rx->count, (uint32_t)E1000_RX_FETCH);
}

/* By way of host memory: `total` bytes, CRC and all, are to be in the buffers. */
static enum net_drop place_slowly(struct e1000 *e, size_t len, size_t padded, size_t total, bool strip)
{
	struct e1000_rx *rx = &e->rx;
	uint8_t *p = rx->flat;
	uint32_t fcs;

	iov_read_at(&rx->iov[rx->first], fetched(rx) + 1, 0, p, len);
	memset(p + len, 0, padded - len);
	fcs = htole32(fcs_end(fcs_add(FCS_INIT, p, padded)));
	memcpy(p + padded, &fcs, sizeof(fcs));
	if (strip)
		memmove(p + TAG_AT, p + TAG_AT + TAG_LEN, padded + E1000_CRC_LEN - TAG_AT - TAG_LEN);
	fetch(e, total);
	if (rx->bytes < total)
		return exhausted(rx) ? overrun(e, NET_DROP_BUFFER_SMALL) : NET_DROP_NO_BUFFER;
	iov_write_at(&rx->iov[rx->first], fetched(rx), 0, p, total);
	return NET_OK;
}

/* The CRC of a frame that lies in the window, behind it. */
static void append_crc(struct e1000_rx *rx, size_t len)
{
	const struct iovec *v = &rx->iov[rx->first];
	uint32_t fcs = FCS_INIT;

	for (size_t left = len; left; v++) {
		size_t n = MIN(left, v->iov_len);

		fcs = fcs_add(fcs, v->iov_base, n);
		left -= n;
	}
	fcs = htole32(fcs_end(fcs));
	iov_write_at(&rx->iov[rx->first], fetched(rx), len, &fcs, sizeof(fcs));
}

/* The frame lies in the window. What is missing behind it is added. */
static enum net_drop place(struct e1000 *e, size_t len, size_t padded, size_t total, bool strip)
{
	static const uint8_t zero[ETH_MIN_LEN];
	struct e1000_rx *rx = &e->rx;

	if (unlikely(strip || len > rx->room || total > rx->bytes))
		return place_slowly(e, len, padded, total, strip);
	if (padded > len)
		iov_write_at(&rx->iov[rx->first], fetched(rx), len, zero, padded - len);
	if (total > padded)
		append_crc(rx, padded);
	return NET_OK;
}

/* Write the descriptors of a frame of `total` bytes back. */
static void consume(struct e1000 *e, size_t total, const struct e1000_rx_info *info)
{
	struct e1000_rx *rx = &e->rx;
	bool log = atomic_load_explicit(&e->pci.dma.ram->log, memory_order_relaxed);

	while (total) {
		const struct iovec *v = &rx->iov[rx->first++];
		size_t n = MIN(total, v->iov_len);
		uint64_t word = (uint64_t)n | (uint64_t)RXD_DD << 32;

		total -= n;
		rx->bytes -= v->iov_len;
		if (unlikely(log) && n)
			ram_dirty_host(e->pci.dma.ram, v->iov_base, n);
		if (n)
			word |= (uint64_t)info->checksum << 16 | (uint64_t)info->tag << 48;
		if (!total)
			word |= (uint64_t)(info->status | RXD_EOP) << 32 | (uint64_t)info->errors << 40;
		write_back(e, word);
	}
	rx->lent = false;
	rx->took = true;
	skip_empty(e);
}

/* The frame is in the buffers. */
static void finish(struct e1000 *e, size_t body, size_t total, struct e1000_rx_info *info)
{
	uint32_t small = e1000_get(e, E1000_RSRPD);

	e1000_rx_sum(e, &e->rx.iov[e->rx.first], fetched(&e->rx), body, info);
	consume(e, total, info);
	if (small && total <= small)
		e->rx.causes |= ICR_SRPD;
}

static void hold(struct e1000 *e, size_t len, size_t body, size_t total, const struct e1000_rx_info *info)
{
	struct e1000_rx *rx = &e->rx;

	rx->counted = false;
	rx->held_len = (uint32_t)len;
	rx->held_body = (uint32_t)body;
	rx->held_all = (uint32_t)total;
	rx->held_info = *info;
	rx->lent = false;
	atomic_store(&rx->starved, true);
	timer_arm(&rx->patience, clock_now(CLOCK_VM_NS) + E1000_PATIENCE_NS);
	/* The driver may have posted more before it could see that it is asked to tell. */
	loop_post(e->loop, &e->rx_post);
}

static enum net_drop receive(struct e1000 *e, size_t len, bool valid, bool may_hold)
{
	struct e1000_rx_info info = { .valid = valid };
	size_t padded = MAX(len, (size_t)ETH_MIN_LEN), body, total;
	uint8_t head[18];
	enum net_drop why;

	peek(&e->rx, len, head);
	why = judge(e, len, head, &info);
	if (unlikely(why))
		return why;
	body = padded - (info.strip ? TAG_LEN : 0);
	total = body + (e1000_get(e, E1000_RCTL) & RCTL_SECRC ? 0 : E1000_CRC_LEN);
	why = place(e, len, padded, total, info.strip);
	if (likely(!why))
		finish(e, body, total, &info);
	else if (why == NET_DROP_NO_BUFFER && may_hold)
		hold(e, len, body, total, &info);
	else if (why == NET_DROP_NO_BUFFER)
		return overrun(e, why);
	else
		return why;
	return NET_OK;
}

enum net_drop e1000_rx_take(struct net_client *c, size_t len, const struct frame_meta *m)
{
	struct e1000 *e = client_to_e1000(c);

	if (unlikely(!e->rx.lent)) /* no window, or none any more */
		return NET_DROP_STOPPED;
	if (unlikely(len > NET_FRAME_MAX))
		return NET_DROP_TOO_BIG;
	return receive(e, len, m->data_valid, true);
}

/* Are there so few descriptors left that the driver wants to know (RDMTS)? Told once each time it gets so far. */
static void check_threshold(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;
	uint32_t rdmts = RCTL_RDMTS(e1000_get(e, E1000_RCTL)), tail = e1000_tail(e, false);
	bool below = tail < rx->count && ahead(rx, rx->head, tail) <= rx->count >> (1 + MIN(rdmts, 2u));

	if (below && !rx->below)
		rx->causes |= ICR_RXDMT0;
	rx->below = below;
}

/* The wrapper has counted a frame that is held as delivered by now: it is not. */
static void count_held(struct e1000 *e)
{
	e->rx.counted = true;
	counter_add(&e->client.rx.out, (uint64_t)-1);
	counter_add(&e->client.rx.bytes, -(uint64_t)e->rx.held_len);
	counter_add(&e->client.rx.held, 1);
}

void e1000_rx_commit(struct net_client *c)
{
	struct e1000 *e = client_to_e1000(c);
	struct e1000_rx *rx = &e->rx;

	if (unlikely(rx->held_all && !rx->counted))
		count_held(e);
	if (rx->took)
		check_threshold(e);
	if (rx->causes)
		e1000_cause(e, rx->causes);
	if (rx->took)
		e1000_rx_cause(e);
	rx->took = false;
	rx->causes = 0;
}

/* ---- a frame that is held ---- */

static void end_hold(struct e1000 *e)
{
	if (!e->rx.counted)
		count_held(e);
	e->rx.held_all = 0;
	timer_cancel(&e->rx.patience);
	counter_add(&e->client.rx.held, (uint64_t)-1);
}

void e1000_rx_drop_held(struct e1000 *e, enum net_drop why)
{
	if (!e->rx.held_all)
		return;
	end_hold(e);
	net_drop_rx(&e->client, overrun(e, why));
	e1000_rx_commit(&e->client);
	net_wake_peer(&e->client, NET_WAKE_ROOM);
}

/* There may be descriptors now. */
static void retry_held(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;
	uint32_t all = rx->held_all;

	fetch(e, all);
	if (rx->bytes >= all) {
		end_hold(e);
		iov_write_at(&rx->iov[rx->first], fetched(rx), 0, rx->flat, all);
		finish(e, rx->held_body, all, &rx->held_info);
		net_count_rx_out(&e->client, 1, rx->held_len);
		e1000_rx_commit(&e->client);
		atomic_store(&rx->starved, false);
		net_wake_peer(&e->client, NET_WAKE_ROOM);
	} else if (exhausted(rx)) {
		e1000_rx_drop_held(e, NET_DROP_BUFFER_SMALL);
	}
}

static void out_of_patience(struct timer *t)
{
	e1000_rx_drop_held(container_of(t, struct e1000, rx.patience), NET_DROP_NO_BUFFER);
}

/* ---- loopback (13.4.22 LBM; PHY register 0) ---- */

static void loop_one(struct e1000 *e, const struct batch *b, const struct frame *f)
{
	struct iov_cur from = iov_cur(frame_iov(b, f), f->cnt), to;
	struct net_window w;

	if (!e->rx.ready || e->rx.held_all || lend(e, f->len, &w)) {
		e1000_stat(e, E1000_MPC, 1);
		return;
	}
	to = iov_cur(w.iov, w.cnt);
	if (iov_move(&to, &from, f->len) == f->len)
		receive(e, f->len, f->meta.data_valid, false);
}

/*
 * What is sent comes back, checksums filled in and cut as on a wire. It comes into receive buffers by the same door as
 * what comes from a wire, and nothing that happens there sends anything.
 */
void e1000_rx_loop(struct e1000 *e, const struct batch *b)
{
	struct batch *out = e->loop_out;

	for (unsigned i = 0; i < b->n; i++) {
		if (offload_begin(e->offload, b, &b->frame[i], 0))
			continue;
		if (offload_total(e->offload) > LOOP_MAX) {
			e1000_stat(e, E1000_MPC, 1);
			continue;
		}
		while (offload_next(e->offload, out))
			for (unsigned k = 0; k < out->n; k++)
				loop_one(e, out, &out->frame[k]);
	}
	counter_add(&e->looped, b->n);
	e1000_rx_commit(&e->client);
}

/* ---- the ring's place ---- */

static void map_ring(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;
	uint32_t len = e1000_get(e, E1000_RDLEN);

	rx->gpa = e1000_get(e, E1000_RDBAL) | (uint64_t)e1000_get(e, E1000_RDBAH) << 32;
	rx->count = len / E1000_DESC;
	rx->ring = len ? dma_ptr(&e->pci.dma, rx->gpa, len) : NULL;
}

static uint32_t buffer_size(uint32_t rctl)
{
	uint32_t size = 2048u >> RCTL_BSIZE(rctl);

	/* BSEX with BSIZE 0 is reserved (13.4.22): the size without it. */
	return (rctl & RCTL_BSEX) && RCTL_BSIZE(rctl) ? size * 16 : size;
}

/* Is there a ring to receive into? */
static bool look_at_ring(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;

	if (!(e1000_get(e, E1000_RCTL) & RCTL_EN) || e->stopped || !rx->count)
		return false;
	if (!rx->ring)
		e1000_complain(e, "the receive ring is not in RAM");
	else if (rx->head >= rx->count)
		e1000_complain(e, "RDH is outside of the receive ring");
	return rx->ring && rx->head < rx->count;
}

void e1000_rx_refresh(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;

	forget(rx);
	map_ring(e);
	rx->buffer = buffer_size(e1000_get(e, E1000_RCTL));
	/* Drivers rely on it that what is not let in is not written, and their buffers can be as short as that. */
	if (!(e1000_get(e, E1000_RCTL) & RCTL_LPE))
		rx->buffer = MIN(rx->buffer, LONG_LEN);
	rx->below = false;
	rx->ready = look_at_ring(e);
	atomic_store(&rx->starved, rx->ready);
	if (rx->ready)
		loop_post(e->loop, &e->rx_post);
	else if (!e->stopped) /* a BAR that moves loses no frame */
		e1000_rx_drop_held(e, NET_DROP_STOPPED);
}

void e1000_rx_posted(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;

	if (!rx->ready || e->quiet || !atomic_load(&rx->starved))
		return;
	if (rx->held_all) {
		retry_held(e);
		return;
	}
	atomic_store(&rx->starved, false);
	net_wake_peer(&e->client, NET_WAKE_ROOM);
}

/* ---- state ---- */

bool e1000_rx_sane(const struct e1000 *e)
{
	const struct e1000_rx *rx = &e->rx;
	uint32_t tag = rx->held_info.strip ? TAG_LEN : 0;

	if (rx->causes & ~ICR_ALL)
		return false;
	if (!rx->held_all)
		return !e->times.left[E1000_TIMER_PATIENCE];
	return rx->held_len <= E1000_RX_FRAME_MAX && rx->held_body + tag == MAX(rx->held_len, (uint32_t)ETH_MIN_LEN) &&
	       (rx->held_all == rx->held_body || rx->held_all == rx->held_body + E1000_CRC_LEN);
}

/* A frame that is held came in here too. */
void e1000_rx_go_on(struct e1000 *e)
{
	struct e1000_rx *rx = &e->rx;

	rx->head = e1000_get(e, E1000_RDH);
	rx->counted = rx->held_all;
	if (!rx->held_all)
		return;
	counter_add(&e->client.rx.in, 1);
	counter_add(&e->client.rx.held, 1);
	if (!timer_armed(&rx->patience))
		timer_arm(&rx->patience, clock_now(CLOCK_VM_NS) + E1000_PATIENCE_NS);
}

/* ---- life ---- */

int e1000_rx_init(struct e1000 *e)
{
	forget(&e->rx);
	timer_init(&e->rx.patience, e->loop, CLOCK_VM_NS, out_of_patience);
	/* Pages of them exist once they have been used. */
	e->rx.spill = malloc(NET_FRAME_MAX);
	e->rx.flat = malloc(NET_FRAME_MAX + ETH_MIN_LEN + E1000_CRC_LEN);
	e->loop_out = calloc(1, sizeof(*e->loop_out));
	e->offload = offload_new();
	return e->rx.spill && e->rx.flat && e->loop_out && e->offload ? 0 : -ENOMEM;
}

void e1000_rx_destroy(struct e1000 *e)
{
	free(e->rx.spill);
	free(e->rx.flat);
	free(e->loop_out);
	offload_free(e->offload);
	e->rx.spill = e->rx.flat = NULL;
	e->loop_out = NULL;
	e->offload = NULL;
}
