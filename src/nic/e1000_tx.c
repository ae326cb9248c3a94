/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000, guest to wire (3.3 to 3.6).
 *
 * A write of TDT wakes the loop, which collects up to 64 frames out of the ring (e1000_txdesc.c), hands them to the
 * peer as one batch, reports the status of their descriptors, moves TDH and raises one interrupt. What the peer has no
 * room for stays in the ring: the head goes back to where the first such frame begins, with the contexts that were in
 * force there, and is gone over again when there is room. Frames that wait so are counted as held.
 *
 * Only the newest frames can be given back, so one that is no frame is never taken behind good ones: it waits for its
 * turn, is the first of its batch, and is dropped there. So does one that had to be summed in the one place there is
 * for that.
 *
 * A frame whose end the driver has not posted yet is left where it is, unless the ring is full: then it has no end, and
 * its descriptors are used up as those of a frame that was dropped.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"
#include "nic/e1000.h"
#include "nic/nic.h"

/* Batches in one go, so that others on the loop get their turn. */
#define TX_BUDGET 4

/* ---- the ring ---- */

static uint32_t pending(const struct e1000_tx *t, uint32_t from)
{
	return t->tail >= from ? t->tail - from : t->tail + t->count - from;
}

/* The first n reports: DD into each (3.3.3.2). */
static void report(struct e1000 *e, unsigned n)
{
	struct e1000_tx *t = &e->tx;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *status = t->ring + (size_t)t->report[i] * E1000_DESC + TXD_STATUS;

		__atomic_store_n(status, (uint8_t)(READ_ONCE(*status) | TXD_DD), __ATOMIC_RELEASE);
		dma_dirty(&e->pci.dma, t->gpa + (uint64_t)t->report[i] * E1000_DESC, E1000_DESC);
	}
}

/* What is behind `head` now is the device's no more: tell the driver, as far as it wants to know. */
static void advance(struct e1000 *e, uint32_t head, unsigned reports, bool prompt)
{
	struct e1000_tx *t = &e->tx;
	uint32_t low = TXDCTL_LWTHRESH(e1000_get(e, E1000_TXDCTL)) * 8, before = pending(t, t->head), causes = 0;

	report(e, reports);
	t->head = head;
	e1000_put(e, E1000_TDH, head);
	if (low && before > low && pending(t, head) <= low)
		causes |= ICR_TXD_LOW;
	if (head == t->tail)
		causes |= ICR_TXQE;
	if (causes)
		e1000_cause(e, causes);
	if (reports)
		e1000_tx_cause(e, !prompt);
}

/* ---- batches ---- */

static void drop(struct e1000 *e, uint32_t pos, bool prompt, enum net_drop why)
{
	nic_tx_settle(&e->client, &e->tx.waiting, 1);
	net_drop_tx(&e->client, why);
	advance(e, pos, e->tx.n_reports, prompt);
	e->tx.n_reports = 0;
}

/* What has no end, and fills the ring, never will have one. */
static bool endless(const struct e1000_tx *t, uint32_t start)
{
	return pending(t, start) + 1 >= t->count;
}

/* One more frame, from *pos on. False: the batch ends here, *pos is where it was. */
static bool collect_one(struct e1000 *e, uint32_t *pos, bool *solo)
{
	struct e1000_tx *t = &e->tx;
	struct batch *b = &t->batch;
	struct e1000_tx_mark *m = &t->mark[b->n];
	unsigned reports = t->n_reports;
	struct e1000_tx_frame g;
	uint32_t at = *pos;
	enum e1000_gather r;
	enum net_drop why;

	m->start = (uint16_t)at;
	memcpy(m->context, t->context, sizeof(m->context));
	r = e1000_gather(e, &at, &g);
	if (r == GATHER_PART && !b->n && endless(t, *pos)) {
		e1000_complain(e, "the transmit ring is full and has no end of a frame");
		g.bad = NET_DROP_MALFORMED;
		t->skipping = true;
		r = GATHER_FRAME;
	}
	if (r == GATHER_NONE && !b->n) {
		advance(e, at, t->n_reports, g.prompt);
		t->n_reports = 0;
		*pos = at;
		return at != t->tail;
	}
	if (r == GATHER_FRAME) {
		why = e1000_make_frame(e, &g, b->n, solo);
		if (why && !b->n) {
			drop(e, at, g.prompt, why);
			*pos = at;
			return true;
		}
		if (!why && (!*solo || !b->n)) {
			m->reports = (uint16_t)t->n_reports;
			m->prompt = g.prompt;
			b->n++;
			*pos = at;
			return true;
		}
	}
	t->n_reports = reports;
	memcpy(t->context, m->context, sizeof(m->context));
	return false;
}

/* Collect a batch; returns where it ends. Drops what is no frame. */
static uint32_t collect(struct e1000 *e)
{
	struct e1000_tx *t = &e->tx;
	uint32_t pos = t->head;
	bool solo = false;

	t->batch.n = 0;
	t->n_reports = 0;
	t->iov_end = 0;
	for (unsigned i = 0; i < NET_BATCH && !solo && pos != t->tail; i++)
		if (!collect_one(e, &pos, &solo))
			break;
	return pos;
}

static void count(struct e1000 *e, const struct frame *f)
{
	unsigned frames = 1, head = f->meta.hdr_len;
	uint8_t to[6] = { 0 };
	uint64_t bytes = f->len;
	size_t len = f->len;

	iov_read_at(frame_iov(&e->tx.batch, f), f->cnt, 0, to, sizeof(to));
	if (f->meta.gso) {
		frames = (f->len - head + f->meta.gso_size - 1) / f->meta.gso_size;
		bytes += (uint64_t)(frames - 1) * head;
		len = head + f->meta.gso_size;
		e1000_stat(e, E1000_TSCTC, 1);
	}
	e1000_count_tx(e, frames, bytes + (uint64_t)frames * E1000_CRC_LEN, len + E1000_CRC_LEN, to);
}

/* Give the batch away; returns how many frames went. */
static unsigned give(struct e1000 *e)
{
	struct batch *b = &e->tx.batch;
	unsigned n = b->n;

	if (unlikely(e1000_loops(e))) {
		/* They never come near the wire, so its account does not know them; those that waited it does. */
		nic_tx_drop_waiting(&e->client, &e->tx.waiting, 0, NET_DROP_STOPPED);
		e1000_rx_loop(e, b);
		return n;
	}
	n = net_send(&e->client, b);
	nic_tx_settle(&e->client, &e->tx.waiting, n);
	return n;
}

/* Send what was collected, up to `end`. True: all of it went. */
static bool send_batch(struct e1000 *e, uint32_t end)
{
	struct e1000_tx *t = &e->tx;
	struct batch *b = &t->batch;
	bool prompt = false;
	unsigned n;

	if (!b->n)
		return true;
	n = give(e);
	for (unsigned i = 0; i < n; i++) {
		count(e, &b->frame[i]);
		prompt |= t->mark[i].prompt;
	}
	if (likely(n == b->n)) {
		advance(e, end, t->n_reports, prompt);
		return true;
	}
	nic_tx_wait(&e->client, &e->tx.waiting, b->n - n);
	memcpy(t->context, t->mark[n].context, sizeof(t->context));
	t->blocked = true;
	if (n)
		advance(e, t->mark[n].start, t->mark[n - 1].reports, prompt);
	return false;
}

/* Is there a ring, and may it be gone through? */
static bool look_at_ring(struct e1000 *e)
{
	struct e1000_tx *t = &e->tx;

	if (!t->ring || t->blocked || e->quiet || e->stopped || !(e1000_get(e, E1000_TCTL) & TCTL_EN))
		return false;
	t->tail = e1000_tail(e, true);
	if (likely(t->tail < t->count))
		return true;
	e1000_complain(e, "TDT is outside of the transmit ring");
	return false;
}

void e1000_tx_run(struct e1000 *e)
{
	struct e1000_tx *t = &e->tx;

	/* What is looped back is also cut, summed and received here. */
	for (unsigned budget = e1000_loops(e) ? 1 : TX_BUDGET; budget && look_at_ring(e); budget--) {
		uint32_t before = t->head, end;

		if (before == t->tail)
			return;
		end = collect(e);
		if (!send_batch(e, end) || t->head == before)
			return;
	}
	if (look_at_ring(e) && t->head != t->tail)
		loop_post(e->loop, &e->tx_post);
}

void e1000_tx_room(struct e1000 *e)
{
	e->tx.blocked = false;
	e1000_tx_run(e);
}

/* ---- life ---- */

void e1000_tx_refresh(struct e1000 *e)
{
	struct e1000_tx *t = &e->tx;
	uint32_t len = e1000_get(e, E1000_TDLEN);
	bool on = e1000_get(e, E1000_TCTL) & TCTL_EN;

	t->gpa = e1000_get(e, E1000_TDBAL) | (uint64_t)e1000_get(e, E1000_TDBAH) << 32;
	t->count = len / E1000_DESC;
	t->ring = len ? dma_ptr(&e->pci.dma, t->gpa, len) : NULL;
	if (!on || e->stopped || !len)
		return;
	if (!t->ring) {
		e1000_complain(e, "the transmit ring is not in RAM");
	} else if (t->head >= t->count) {
		e1000_complain(e, "TDH is outside of the transmit ring");
		t->ring = NULL;
	} else {
		loop_post(e->loop, &e->tx_post);
	}
}

void e1000_tx_reset(struct e1000 *e, enum net_drop why)
{
	struct e1000_tx *t = &e->tx;

	nic_tx_drop_waiting(&e->client, &e->tx.waiting, 0, why);
	memset(t->context, 0, sizeof(t->context));
	t->skipping = t->blocked = false;
}

int e1000_tx_init(struct e1000 *e)
{
	e->tx.batch.iov = e->tx.iov;
	e->tx.flat = malloc(NET_FRAME_MAX);
	return e->tx.flat ? 0 : -ENOMEM;
}

void e1000_tx_destroy(struct e1000 *e)
{
	free(e->tx.flat);
	e->tx.flat = NULL;
}
