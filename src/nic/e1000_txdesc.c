/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: one frame out of the transmit ring's descriptors (3.3.3 legacy, 3.3.6 context, 3.3.7 data).
 *
 * Each descriptor is copied once; what is decided is decided by the copy. The contexts that a frame uses are those of
 * its first data descriptor: one that comes in the middle of it is for the next frame. A frame's bytes stay in guest
 * memory and are referred to; headers that are changed (a tag, an IP checksum, everything about segmentation) are
 * copied to host memory first, judged and changed there.
 *
 * The arena of a batch: each frame has two free slots in front of its pieces, one for a vnet header, one for the copy
 * of its headers.
 *
 * Checksums and segmentation become metadata of the frame: what the peer cannot do is done in net/offload.
 */
#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "nic/e1000.h"

#define TAG_LEN	   4u
#define TAG_AT	   12u
#define HDR_COPY   (E1000_TX_HDR - TAG_LEN)
#define FREE_SLOTS 2u

/* ---- descriptors ---- */

struct desc {
	uint64_t address, word;
};

static struct desc read_desc(const struct e1000_tx *t, uint32_t i)
{
	const uint64_t *p = (const uint64_t *)(const void *)(t->ring + (size_t)i * E1000_DESC);

	return (struct desc){ le64toh(READ_ONCE(p[0])), le64toh(READ_ONCE(p[1])) };
}

static void load_context(struct e1000_tx *t, const struct desc *d)
{
	t->context[d->word & TXD_TSE ? CONTEXT_TSO : CONTEXT_SUM] = (struct e1000_context){
		.ipcss = (uint8_t)d->address,
		.ipcso = (uint8_t)(d->address >> 8),
		.ipcse = (uint16_t)(d->address >> 16),
		.tucss = (uint8_t)(d->address >> 32),
		.tucso = (uint8_t)(d->address >> 40),
		.tucse = (uint16_t)(d->address >> 48),
		.paylen = (uint32_t)d->word & 0xfffff,
		.tcp = d->word & TUCMD_TCP,
		.ip4 = d->word & TUCMD_IP,
		.hdrlen = (uint8_t)(d->word >> 40),
		.mss = (uint16_t)(d->word >> 48),
	};
}

static void begin(const struct e1000_tx *t, struct e1000_tx_frame *f, uint64_t word)
{
	f->any = true;
	f->extended = word & TXD_DEXT;
	memcpy(f->context, t->context, sizeof(f->context));
	if (!f->extended) {
		f->cso = (uint8_t)(word >> 16);
		f->css = (uint8_t)(word >> 40);
		return;
	}
	f->tso = word & TXD_TSE;
	f->popts = TXD_POPTS(word);
	f->vlan = f->tso && (word & TXD_VLE);
	f->tag = TXD_SPECIAL(word);
}

/*
 * IC and VLE count in the descriptor with EOP (3.3.3.1), and so does VLE of data descriptors, unless they are to be
 * segmented: then it is the first one's (3.3.7.1). Drivers know that one or the other way, so there either will do; so
 * it is with CSS and CSO, which are the first one's (3.3.3).
 */
static void end(struct e1000_tx_frame *f, uint64_t word)
{
	if (!f->extended) {
		f->sum = word & TXD_IC;
		if (!f->cso && !f->css) {
			f->cso = (uint8_t)(word >> 16);
			f->css = (uint8_t)(word >> 40);
		}
	}
	if (!f->vlan) {
		f->vlan = word & TXD_VLE;
		f->tag = TXD_SPECIAL(word);
	}
}

static enum net_drop add_bytes(struct e1000 *e, struct e1000_tx_frame *f, const struct desc *d)
{
	size_t len = d->word & (d->word & TXD_DEXT ? 0xfffff : 0xffff);
	void *p;

	if ((d->word & TXD_DEXT) && TXD_TYPE(d->word) != TXD_TYPE_DATA) {
		e1000_complain(e, "a transmit descriptor of a type that does not exist");
		return NET_DROP_MALFORMED;
	}
	/* A null address is no data either (3.3.3.1). */
	if (!len || !d->address)
		return NET_OK;
	f->len += len;
	if (f->len > NET_FRAME_MAX)
		return NET_DROP_TOO_BIG;
	p = dma_ptr(&e->pci.dma, d->address, len);
	if (!p) {
		e1000_complain(e, "bytes to transmit are not in RAM");
		return NET_DROP_MALFORMED;
	}
	if (f->cnt == E1000_TX_PIECES) {
		e1000_complain(e, "a frame to transmit is in too many pieces");
		return NET_DROP_MALFORMED;
	}
	e->tx.iov[f->iov + f->cnt++] = (struct iovec){ p, len };
	return NET_OK;
}

/* More descriptors than there is room to report on, and no frame yet. */
static enum e1000_gather too_many(struct e1000 *e, struct e1000_tx_frame *f)
{
	if (e->tx.batch.n)
		return GATHER_FULL;
	if (!f->any)
		return GATHER_NONE;
	e1000_complain(e, "a frame to transmit is in too many descriptors");
	f->bad = NET_DROP_MALFORMED;
	e->tx.skipping = true;
	return GATHER_FRAME;
}

static void note_report(struct e1000_tx *t, struct e1000_tx_frame *f, uint32_t i, uint64_t word)
{
	if (!(word & (TXD_RS | TXD_RPS)))
		return;
	t->report[t->n_reports++] = (uint16_t)i;
	f->prompt |= !(word & TXD_IDE);
}

enum e1000_gather e1000_gather(struct e1000 *e, uint32_t *pos, struct e1000_tx_frame *f)
{
	struct e1000_tx *t = &e->tx;
	bool skipping = t->skipping;

	*f = (struct e1000_tx_frame){ .iov = t->iov_end + FREE_SLOTS };
	if (f->iov + E1000_TX_PIECES + 1 > E1000_TX_IOV)
		return GATHER_FULL;
	while (*pos != t->tail) {
		struct desc d;

		if (t->n_reports == E1000_TX_REPORTS || f->descriptors++ == E1000_TX_REPORTS)
			return too_many(e, f);
		d = read_desc(t, *pos);
		note_report(t, f, *pos, d.word);
		*pos = *pos + 1 < t->count ? *pos + 1 : 0;
		if ((d.word & TXD_DEXT) && TXD_TYPE(d.word) == TXD_TYPE_CONTEXT) {
			load_context(t, &d);
			continue;
		}
		if (skipping) {
			t->skipping = !(d.word & TXD_EOP);
			if (!t->skipping)
				return GATHER_NONE;
			continue;
		}
		if (!f->any)
			begin(t, f, d.word);
		if (!f->bad)
			f->bad = add_bytes(e, f, &d);
		if (d.word & TXD_EOP) {
			end(f, d.word);
			return GATHER_FRAME;
		}
	}
	return f->any ? GATHER_PART : GATHER_NONE;
}

/* ---- headers ---- */

/* The frame under way: f->iov[0..cnt), its first `head` bytes a copy in host memory, where they may be changed. */
struct work {
	struct e1000 *e;
	struct frame *f;
	uint8_t *h;
	unsigned head;
	unsigned first; /* where its pieces began */
};

/* Copy the first n bytes (at most HDR_COPY, and of the frame) in place of the pieces that they are in. */
static void own(struct work *w, unsigned n)
{
	struct iovec *arena = w->e->tx.iov, *v = &arena[w->f->iov];
	struct iov_cur cur = iov_cur(v, w->f->cnt);
	unsigned gone;

	if (w->head >= n)
		return;
	iov_get(&cur, w->h, n);
	gone = w->f->cnt - (unsigned)cur.cnt;
	if (cur.cnt) {
		v[gone].iov_base = (uint8_t *)v[gone].iov_base + cur.off;
		v[gone].iov_len -= cur.off;
	}
	/* The slot in front of what is left: one that is used up, or free. */
	w->f->iov += gone - 1;
	w->f->cnt -= gone - 1;
	arena[w->f->iov] = (struct iovec){ w->h, n };
	w->head = n;
}

/* The frame ends after len bytes. */
static void cut(struct work *w, size_t len)
{
	struct iovec *v = &w->e->tx.iov[w->f->iov];
	size_t left = len;
	unsigned i;

	for (i = 0; i < w->f->cnt && left; i++) {
		v[i].iov_len = MIN(v[i].iov_len, left);
		left -= v[i].iov_len;
	}
	w->f->cnt = i;
	w->f->len = (uint32_t)len;
}

/* Four bytes behind the addresses. */
static void insert_tag(struct work *w, uint16_t tag)
{
	struct frame *f = w->f;

	own(w, TAG_AT);
	memmove(w->h + TAG_AT + TAG_LEN, w->h + TAG_AT, w->head - TAG_AT);
	put16(w->h + TAG_AT, e1000_get(w->e, E1000_VET));
	put16(w->h + TAG_AT + 2, tag);
	w->head += TAG_LEN;
	w->e->tx.iov[f->iov].iov_len += TAG_LEN;
	f->len += TAG_LEN;
	f->meta.csum_start = (uint16_t)(f->meta.csum_start + (f->meta.needs_csum ? TAG_LEN : 0));
	f->meta.hdr_len = (uint16_t)(f->meta.hdr_len + (f->meta.gso ? TAG_LEN : 0));
}

/* ---- checksums (3.6) ---- */

/* Bytes that a checksum is asked for: [start, stop), stored at `at`. */
struct range {
	unsigned start, at;
	size_t stop;
};

static bool range_of(const struct work *w, unsigned css, unsigned cso, unsigned cse, struct range *r)
{
	*r = (struct range){ css, cso, cse ? cse + 1u : w->f->len };
	if (r->start < r->stop && r->stop <= w->f->len && range_within(r->at, 2, w->f->len))
		return true;
	e1000_complain(w->e, "a checksum is asked for outside of the frame");
	return false;
}

/* Into the copy of the headers. What lies beyond that is no IP header. */
static void insert_ip_sum(struct work *w, const struct e1000_context *c)
{
	struct range r;
	uint16_t sum;

	if (!range_of(w, c->ipcss, c->ipcso, c->ipcse, &r))
		return;
	if (r.stop > HDR_COPY) {
		e1000_complain(w->e, "an IP checksum is asked for over more than a header");
		return;
	}
	own(w, (unsigned)MAX(r.stop, (size_t)r.at + 2));
	sum = (uint16_t)~csum_fold(csum_add(0, w->h + r.start, r.stop - r.start));
	memcpy(w->h + r.at, &sum, 2);
}

/*
 * A sum that metadata cannot say: the frame moves to host memory and gets it there. The slot of the copy of its headers
 * is free again, for another one: a tag may yet be inserted.
 */
static void sum_here(struct work *w, const struct range *r)
{
	struct e1000_tx *t = &w->e->tx;
	struct iov_cur cur = iov_cur(&t->iov[w->f->iov], w->f->cnt);
	uint16_t sum;

	iov_get(&cur, t->flat, w->f->len);
	sum = (uint16_t)~csum_fold(csum_add(0, t->flat + r->start, r->stop - r->start));
	memcpy(t->flat + r->at, &sum, 2);
	w->f->iov = w->first;
	t->iov[w->f->iov] = (struct iovec){ t->flat, w->f->len };
	w->f->cnt = 1;
	w->head = 0;
}

/* Returns whether the frame lies in tx.flat now. */
static bool ask_sum(struct work *w, unsigned css, unsigned cso, unsigned cse)
{
	struct range r;

	if (!range_of(w, css, cso, cse, &r))
		return false;
	if (r.stop == w->f->len && r.at >= r.start && range_within(r.start, r.at - r.start + 2, w->f->len)) {
		w->f->meta.needs_csum = true;
		w->f->meta.csum_start = (uint16_t)r.start;
		w->f->meta.csum_offset = (uint16_t)(r.at - r.start);
		return false;
	}
	sum_here(w, &r);
	return true;
}

/* ---- segmentation (3.5) ---- */

static unsigned l3_of(const struct work *w, unsigned *type)
{
	unsigned at = 12;

	*type = get16(w->h + at);
	for (int i = 0; i < 2 && (*type == ETH_VLAN || *type == ETH_QINQ); i++)
		*type = get16(w->h + (at += 4));
	return at + 2;
}

/* Do the offsets say what the headers do? They are for hardware that believes them; here both are held to agree. */
static enum net_drop check_headers(const struct work *w, const struct e1000_context *c)
{
	unsigned type, l3, l4 = c->tucss, ihl, doff;

	if (w->head < ETH_HDR_LEN + 8)
		return NET_DROP_MALFORMED;
	l3 = l3_of(w, &type);
	if (!c->tcp || type != (c->ip4 ? ETH_IPV4 : ETH_IPV6))
		return NET_DROP_OFFLOAD;
	if (c->ipcss != l3 || c->tucso != l4 + TCP_CSUM || !range_within(l4, TCP_LEN, w->head))
		return NET_DROP_MALFORMED;
	ihl = c->ip4 ? (w->h[l3] & 15) * 4 : IP6_LEN;
	doff = (w->h[l4 + 12] >> 4) * 4;
	if (w->h[l3] >> 4 != (c->ip4 ? 4 : 6) || ihl < IP4_LEN || doff < TCP_LEN || l4 + doff != c->hdrlen)
		return NET_DROP_MALFORMED;
	if (c->ip4)
		return l4 == l3 + ihl && w->h[l3 + 9] == PROTO_TCP ? NET_OK : NET_DROP_MALFORMED;
	return l4 >= l3 + ihl ? NET_OK : NET_DROP_MALFORMED; /* there may be extension headers */
}

/*
 * The driver's headers are a template for each segment: no length in IP, none in TCP's pseudo header. A frame that is
 * to be cut later has those of the whole.
 */
static void fill_lengths(struct work *w, const struct e1000_context *c)
{
	uint8_t *ip = w->h + c->ipcss, *field = w->h + c->tucso, len[2];
	uint16_t sum;

	if (c->ip4) {
		put16(ip + 2, w->f->len - c->ipcss);
		memset(ip + 10, 0, 2);
		sum = (uint16_t)~csum_fold(csum_add(0, ip, (ip[0] & 15) * 4));
		memcpy(ip + 10, &sum, 2);
	} else {
		put16(ip + 4, w->f->len - c->ipcss - IP6_LEN);
	}
	put16(len, w->f->len - c->tucss);
	sum = csum_fold(csum_add(csum_add(0, field, 2), len, 2));
	memcpy(field, &sum, 2);
}

static enum net_drop segment(struct work *w, const struct e1000_tx_frame *g)
{
	const struct e1000_context *c = &g->context[CONTEXT_TSO];
	struct frame_meta *m = &w->f->meta;
	enum net_drop why;

	if (!c->mss || !c->hdrlen || !c->paylen || (size_t)c->hdrlen + c->paylen > g->len)
		return NET_DROP_MALFORMED;
	cut(w, (size_t)c->hdrlen + c->paylen);
	own(w, c->hdrlen);
	why = check_headers(w, c);
	if (why)
		return why;
	if (w->f->len - c->ipcss > 65535)
		return NET_DROP_TOO_BIG;
	fill_lengths(w, c);
	*m = (struct frame_meta){ .needs_csum = true, .csum_start = c->tucss, .csum_offset = TCP_CSUM };
	if (c->paylen <= c->mss)
		return NET_OK;
	m->gso = c->ip4 ? NET_GSO_TCP4 : NET_GSO_TCP6;
	m->gso_size = c->mss;
	m->hdr_len = c->hdrlen;
	m->ecn = w->h[c->tucss + 13] & TCP_CWR;
	return NET_OK;
}

/* ---- frames ---- */

/* 13.4.33 PSP: to the shortest that there may be on a wire. */
static void pad(struct work *w)
{
	static uint8_t zero[ETH_MIN_LEN];

	if (w->f->len >= ETH_MIN_LEN || !(e1000_get(w->e, E1000_TCTL) & TCTL_PSP))
		return;
	w->e->tx.iov[w->f->iov + w->f->cnt++] = (struct iovec){ zero, ETH_MIN_LEN - w->f->len };
	w->f->len = ETH_MIN_LEN;
}

static enum net_drop do_offloads(struct work *w, const struct e1000_tx_frame *g, bool *solo)
{
	const struct e1000_context *c = &g->context[CONTEXT_SUM];

	if (g->tso)
		return segment(w, g);
	if (g->len > E1000_TX_FRAME_MAX)
		return NET_DROP_TOO_BIG;
	if (g->popts & POPTS_IXSM)
		insert_ip_sum(w, c);
	if (g->popts & POPTS_TXSM)
		*solo = ask_sum(w, c->tucss, c->tucso, c->tucse);
	else if (g->sum)
		*solo = ask_sum(w, g->css, g->cso, 0);
	return NET_OK;
}

enum net_drop e1000_make_frame(struct e1000 *e, const struct e1000_tx_frame *g, unsigned i, bool *solo)
{
	struct frame *f = &e->tx.batch.frame[i];
	struct work w = { .e = e, .f = f, .h = e->tx.header[i], .first = g->iov };
	enum net_drop why = g->bad;

	*solo = false;
	if (unlikely(why))
		return why;
	*f = (struct frame){ .iov = g->iov, .cnt = g->cnt, .len = (uint32_t)g->len };
	pad(&w);
	if (unlikely(f->len < ETH_HDR_LEN))
		return NET_DROP_TOO_SHORT;
	why = do_offloads(&w, g, solo);
	if (!why && g->vlan && (e1000_get(e, E1000_CTRL) & CTRL_VME))
		insert_tag(&w, g->tag);
	e->tx.iov_end = f->iov + f->cnt;
	return why;
}
