/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transmission of rtl8139: what both modes share, the four slots of C mode, and loopback.
 *
 * Frames are collected from slots or descriptors, from where the last one ended, and handed to the peer as one batch;
 * those that it took are marked as sent, and one interrupt says so. What it had no room for stays with the driver, who
 * sees nothing of it, and is collected again when there is room: those frames are counted as held. They are the first
 * ones of the ring, so a number says which. A driver can take them back (a descriptor whose owner bit is cleared, a
 * slot that is written again): then they are gone.
 *
 * Something that makes no frame is never taken behind good ones: it waits for its turn, is the first of its batch, and
 * is dropped there.
 *
 * In loopback frames go to the receiver, by copy; they never reach the wire and are no part of its account.
 */
#include "nic/nic.h"
#include "nic/rtl8139.h"

/* Batches in one go, so that others on the loop get their turn. */
#define TX_BUDGET 4

/* ---- accounts ---- */

void rtl_tx_drop_waiting(struct rtl8139 *r, enum net_drop why)
{
	nic_tx_drop_waiting(&r->client, &r->tx.waiting, 0, why);
}

void rtl_tx_refuse(struct rtl8139 *r, enum net_drop why)
{
	if (!r->cfg.loopback) {
		nic_tx_settle(&r->client, &r->tx.waiting, 1);
		net_drop_tx(&r->client, why);
	}
	r->tally.tx_err++;
	counter_add(&r->guest_errors, 1);
	rtl_interrupt(r, INT_TER);
}

/* ---- C mode: four slots, used in turn (data sheet: TSD, TSAD) ---- */

/* The frame in slot i. NET_OK, or why it is none. */
static enum net_drop slot_frame(struct rtl8139 *r, unsigned i, uint32_t tsd, unsigned at, struct frame *f)
{
	uint32_t len = tsd & TSD_SIZE;
	void *p = dma_ptr(&r->pci.dma, atomic_load(&r->tsad[i]), len);

	if (len < ETH_HDR_LEN)
		return NET_DROP_TOO_SHORT;
	if (!p)
		return NET_DROP_MALFORMED;
	r->tx.iov[at] = (struct iovec){ p, len };
	*f = (struct frame){ .iov = at, .cnt = 1, .len = len };
	return NET_OK;
}

static void slot_done(struct rtl8139 *r, unsigned i, uint32_t status)
{
	atomic_fetch_or(&r->tsd[i], TSD_OWN | status);
	r->tx.slot = (uint8_t)((i + 1) % RTL_SLOTS);
}

static unsigned slots_collect(struct rtl8139 *r)
{
	struct rtl_tx *t = &r->tx;
	struct batch *b = &t->batch;
	unsigned n;

	b->n = 0;
	for (n = 0; n < RTL_SLOTS; n++) {
		unsigned i = (t->slot + b->n) % RTL_SLOTS;
		uint32_t tsd = atomic_load(&r->tsd[i]);
		enum net_drop why;

		if (tsd & TSD_OWN)
			break;
		why = slot_frame(r, i, tsd, 1 + 2 * b->n, &b->frame[b->n]);
		if (why && b->n)
			break;
		if (why) {
			slot_done(r, i, TSD_TABT);
			r->tally.tx_abort++;
			rtl_tx_refuse(r, why);
			continue;
		}
		b->n++;
	}
	return n;
}

static void slots_done(struct rtl8139 *r, unsigned n)
{
	while (n--)
		slot_done(r, r->tx.slot, TSD_TOK);
}

/* ---- both ---- */

static unsigned collect(struct rtl8139 *r)
{
	struct rtl_tx *t = &r->tx;
	unsigned n;

	if (!r->cfg.cp_tx)
		return slots_collect(r);
	t->polled |= atomic_exchange(&r->poll, 0);
	for (t->ring = 2; t->ring-- > 0;) { /* the high priority ring comes first */
		uint8_t bit = t->ring ? POLL_HIGH : POLL_NORMAL;

		if (!(t->polled & bit))
			continue;
		n = rtl_cplus_collect(r, t->ring);
		if (n)
			return n;
		t->polled &= (uint8_t)~bit;
	}
	t->ring = 0;
	t->batch.n = 0;
	return 0;
}

/* Hand the batch on. Returns how many frames went. */
static unsigned hand_on(struct rtl8139 *r)
{
	struct batch *b = &r->tx.batch;
	unsigned n;

	if (r->cfg.loopback) {
		rtl_rx_loop(r, b);
		return b->n;
	}
	n = net_send(&r->client, b);
	nic_tx_settle(&r->client, &r->tx.waiting, n);
	nic_tx_wait(&r->client, &r->tx.waiting, b->n - n);
	return n;
}

/* Returns how many frames went. */
static unsigned send_batch(struct rtl8139 *r)
{
	struct batch *b = &r->tx.batch;
	unsigned n;

	nic_tx_drop_waiting(&r->client, &r->tx.waiting, b->n, NET_DROP_MALFORMED); /* the driver took them back */
	if (!b->n)
		return 0;
	n = hand_on(r);
	r->tally.tx_ok += n;
	if (r->cfg.cp_tx)
		rtl_cplus_done(r, n);
	else
		slots_done(r, n);
	r->tx.blocked = n < b->n;
	return n;
}

static bool may_send(const struct rtl8139 *r)
{
	return rtl_running(r) && r->cfg.te && !r->tx.blocked;
}

/* One interrupt decision a batch; the ring's end is part of the last one. */
void rtl_tx_run(struct rtl8139 *r)
{
	unsigned events = 0;

	for (unsigned budget = TX_BUDGET; may_send(r); budget--) {
		unsigned n;

		if (!budget) {
			loop_post(r->loop, &r->tx_post);
			break;
		}
		n = collect(r);
		if (!n) {
			nic_tx_drop_waiting(&r->client, &r->tx.waiting, 0, NET_DROP_MALFORMED);
			if (events && r->cfg.cp_tx)
				events |= INT_TDU;
			break;
		}
		if (send_batch(r))
			events |= INT_TOK;
	}
	if (events)
		rtl_interrupt(r, events);
}

void rtl_tx_room(struct rtl8139 *r)
{
	r->tx.blocked = false;
	rtl_tx_run(r);
}
