/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transmit descriptors of C+ mode (data sheet, 9.1): up to 64 of them in a ring, of which one or more make a frame,
 * from FS to LS. The ring ends at EOR, or after 64.
 *
 * A descriptor's first word, which says whose it is, is read before the others, once. A frame whose last descriptor is
 * not there yet stays where it is. One that is none (no FS at its start, an address that is no RAM, a ring full of
 * descriptors without an end) is gone past as far as it was looked at, its descriptors marked with an error.
 *
 * Owner bits are cleared when a batch was sent, so within one go no descriptor is looked at twice.
 */
#include "nic/rtl8139.h"

#define LARGE_SEND ((uint32_t)(TXD_LGSEN | TXD_MSS << TXD_MSS_SHIFT))

struct walk {
	struct rtl8139 *r;
	uint64_t base;
	unsigned index;
	uint64_t seen; /* a bit a descriptor that was looked at in this go */
};

static _Atomic uint32_t *desc_at(const struct walk *w)
{
	return dma_ptr(&w->r->pci.dma, w->base + w->index * RTL_DESC_LEN, RTL_DESC_LEN);
}

static void advance(struct walk *w, uint32_t opts1)
{
	w->index = opts1 & DESC_EOR ? 0 : (w->index + 1) % RTL_DESCS;
}

struct gathered {
	unsigned n; /* descriptors */
	unsigned pieces;
	size_t len;
	uint32_t opts1, opts2; /* of the first; what is to be offloaded */
	enum net_drop why;
	struct iovec piece[RTL_DESCS];
};

static void add_piece(struct rtl8139 *r, struct gathered *g, uint32_t len, uint64_t address)
{
	void *p = dma_ptr(&r->pci.dma, address, len);

	if (!len)
		return;
	if (!p)
		g->why = NET_DROP_MALFORMED;
	else
		g->piece[g->pieces++] = (struct iovec){ p, len };
	g->len += len;
}

/*
 * One frame from where w stands, whose descriptors' places go to `where`. False: there is none that is complete.
 */
static bool gather(struct walk *w, struct gathered *g, uint8_t *where)
{
	bool alone = !w->seen;

	g->n = g->pieces = 0;
	g->len = 0;
	g->why = NET_OK;
	while (!(w->seen & BIT(w->index))) {
		_Atomic uint32_t *d = desc_at(w);
		uint32_t opts1 = d ? le32toh(atomic_load_explicit(d, memory_order_acquire)) : 0, opts2;
		uint64_t address;

		if (!(opts1 & DESC_OWN))
			return false;
		w->seen |= BIT(w->index);
		opts2 = le32toh(atomic_load_explicit(&d[1], memory_order_relaxed));
		address = le32toh(atomic_load_explicit(&d[2], memory_order_relaxed)) |
			  (uint64_t)le32toh(atomic_load_explicit(&d[3], memory_order_relaxed)) << 32;
		if (!g->n) {
			g->opts1 = opts1;
			g->opts2 = opts2;
		}
		/* Drivers have asked for a large send in every descriptor but the first. */
		if (opts1 & TXD_LGSEN)
			g->opts1 = (g->opts1 & ~LARGE_SEND) | (opts1 & LARGE_SEND);
		if (!!(opts1 & DESC_FS) != !g->n)
			g->why = NET_DROP_MALFORMED;
		add_piece(w->r, g, opts1 & TXD_SIZE, address);
		where[g->n++] = (uint8_t)w->index;
		advance(w, opts1);
		if (opts1 & DESC_LS)
			return true;
	}
	g->why = NET_DROP_MALFORMED; /* all of the ring, and no end */
	return alone && g->n;
}

/* Give descriptors back to the driver, n of them from `first` on, `status` in the place of errors. */
static void give_back(struct rtl8139 *r, unsigned first, unsigned n, uint32_t status)
{
	struct walk w = { r, r->cfg.tx_ring[r->tx.ring], 0, 0 };

	for (unsigned i = first; i < first + n; i++) {
		_Atomic uint32_t *d;
		uint32_t v;

		w.index = r->tx.where[i];
		d = desc_at(&w);
		if (!d)
			continue;
		v = le32toh(atomic_load_explicit(d, memory_order_relaxed));
		atomic_store_explicit(d, htole32((v & ~(DESC_OWN | DESC_STATUS)) | status), memory_order_release);
		dma_dirty(&r->pci.dma, w.base + w.index * RTL_DESC_LEN, RTL_DESC_LEN);
		atomic_store_explicit(&r->tdok, (uint16_t)(w.base + w.index * RTL_DESC_LEN), memory_order_relaxed);
	}
	r->tx.index[r->tx.ring] = r->tx.where[first + n];
}

static enum net_drop make_frame(struct rtl8139 *r, const struct gathered *g, unsigned at)
{
	struct rtl_tx *t = &r->tx;
	struct frame *f = &t->batch.frame[t->batch.n];

	if (g->why)
		return g->why;
	if (g->len < ETH_HDR_LEN)
		return NET_DROP_TOO_SHORT;
	if (g->len > NET_FRAME_MAX)
		return NET_DROP_TOO_BIG;
	return rtl_offload(t, g->piece, g->pieces, g->len, g->opts1, g->opts2, at, t->head[t->batch.n], f);
}

unsigned rtl_cplus_collect(struct rtl8139 *r, unsigned ring)
{
	struct rtl_tx *t = &r->tx;
	struct batch *b = &t->batch;
	struct walk w = { r, r->cfg.tx_ring[ring], t->index[ring] % RTL_DESCS, 0 };
	unsigned n = 0, at = 1;

	b->n = 0;
	while (b->n < NET_BATCH) {
		struct gathered g;
		enum net_drop why;

		if (!gather(&w, &g, t->where + n))
			break;
		why = make_frame(r, &g, at);
		if (why && b->n)
			break;
		t->frame[b->n] = (struct rtl_tx_frame){ (uint8_t)n, (uint8_t)g.n };
		n += g.n;
		t->where[n] = (uint8_t)w.index;
		if (why) {
			give_back(r, n - g.n, g.n, TXD_TES);
			rtl_tx_refuse(r, why);
			return n;
		}
		at += b->frame[b->n].cnt + 1;
		b->n++;
	}
	return n;
}

void rtl_cplus_done(struct rtl8139 *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		give_back(r, r->tx.frame[i].first, r->tx.frame[i].n, 0);
}
