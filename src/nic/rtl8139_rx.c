/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reception of rtl8139: what both modes share.
 *
 * A window is the memory that the driver has for frames now: in C mode the free part of the receive buffer behind the
 * place of the next header, one piece or two; in C+ mode the buffers of as many descriptors as the frame may need. A
 * frame is read straight into it. Behind it stands the spill, host memory, so that a longer frame is seen to be one.
 * Only then is the frame judged, by a copy of its first bytes, and its check sequence and header or status are written.
 *
 * A frame from which a tag is taken off, or that reaches into the spill, is put together in host memory and written
 * again. A frame shorter than a wire can carry is filled up, wherever it came from: this is the only way in.
 *
 * When there is no room nothing is lent, and the frame waits where it is; the peer is woken when a register is written
 * that says or may mean that there is room (CAPR; the mask and the status, at the end of a driver's poll). Descriptors
 * can come back without a word: a timer looks too. A frame is missed (MPC) only if it was there and had no place.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "net/fcs.h"
#include "nic/rtl8139.h"

#define TAG_LEN	     4
#define RETRY_MIN_NS (1 * NSEC_PER_MSEC)
#define RETRY_MAX_NS (64 * NSEC_PER_MSEC)

/* ---- lending ---- */

void rtl_rx_starve(struct rtl8139 *r)
{
	atomic_store(&r->starved, true);
}

static bool receiving(const struct rtl8139 *r)
{
	return rtl_running(r) && r->cfg.re;
}

/* C+: descriptors come back without a word. */
static void wait_for_descriptors(struct rtl8139 *r)
{
	struct rtl_rx *rx = &r->rx;

	if (timer_armed(&rx->retry))
		return;
	rx->retry_ns = MIN(MAX(2 * rx->retry_ns, (uint64_t)RETRY_MIN_NS), (uint64_t)RETRY_MAX_NS);
	timer_arm(&rx->retry, clock_now(CLOCK_VM_NS) + rx->retry_ns);
}

static int lend_guest(struct rtl8139 *r, size_t want)
{
	int ret;

	if (!r->cfg.cp_rx)
		return rtl_ring_lend(r, want);
	ret = rtl_cplus_lend(r, want);
	if (ret)
		wait_for_descriptors(r);
	else
		r->rx.retry_ns = 0;
	return ret;
}

int rtl_rx_lend(struct net_client *c, size_t want, struct net_window *w)
{
	struct rtl8139 *r = client_rtl8139(c);
	struct rtl_rx *rx = &r->rx;

	rx->lent = false;
	if (unlikely(!receiving(r) || lend_guest(r, want)))
		return -EAGAIN;
	rx->lent = true;
	rx->iov[rx->cnt + 1] = (struct iovec){ rx->spill, NET_FRAME_MAX - rx->room };
	*w = (struct net_window){ &rx->iov[1], rx->cnt + 1, NET_FRAME_MAX };
	return 0;
}

void rtl_rx_forget(struct rtl8139 *r)
{
	r->rx.lent = false;
	r->rx.room = 0;
	r->rx.cnt = 0;
}

static void wake(struct rtl8139 *r)
{
	atomic_store(&r->starved, false);
	net_wake_peer(&r->client, NET_WAKE_ROOM);
}

void rtl_rx_post(struct post *p)
{
	wake(container_of(p, struct rtl8139, rx_post));
}

void rtl_rx_retry(struct timer *t)
{
	wake(container_of(t, struct rtl8139, rx.retry));
}

/* ---- judging (data sheet: RCR, MAR) ---- */

/* Multicast addresses are looked up by the upper six bits of their check sequence, bit by bit from the wire. */
static bool in_mar(const struct rtl8139 *r, const uint8_t *mac)
{
	uint32_t crc = UINT32_MAX;
	unsigned i;

	for (i = 0; i < 48; i++) {
		bool bit = (crc >> 31) ^ (mac[i / 8] >> i % 8 & 1);

		crc = crc << 1 ^ (bit ? 0x04c11db7 : 0);
	}
	i = crc >> 26;
	return r->cfg.mar[i / 8] >> i % 8 & 1;
}

/* May the frame come in, and what class is it of? RCR's "all packets" are all that have one station's address. */
static enum net_drop judge(const struct rtl8139 *r, const uint8_t *head, uint32_t *flags)
{
	uint64_t to = mac_key(head);
	uint32_t rcr = r->cfg.rcr;

	*flags = 0;
	if (to == MAC_KEY_BROADCAST) {
		*flags = RXD_BAR;
		return rcr & RCR_AB ? NET_OK : NET_DROP_FILTER_MAC;
	}
	if (mac_is_multicast(head)) {
		*flags = RXD_MAR;
		return rcr & RCR_AM && in_mar(r, head) ? NET_OK : NET_DROP_FILTER_MAC;
	}
	if (to == r->cfg.mac)
		*flags = RXD_PAM;
	return rcr & RCR_AAP || (rcr & RCR_APM && *flags) ? NET_OK : NET_DROP_FILTER_MAC;
}

/* ---- taking ---- */

/* All of the frame lies in scratch, `len` bytes without what is to be taken off: into the pieces, and filled up. */
static void write_frame(struct rtl8139 *r, const uint8_t *p, size_t len, size_t fill)
{
	struct rtl_rx *rx = &r->rx;
	struct iov_cur cur = iov_cur(&rx->iov[1], rx->cnt);

	iov_put(&cur, p, len);
	iov_fill(&cur, 0, fill);
}

static uint32_t fcs_of_pieces(const struct rtl_rx *rx, size_t len)
{
	uint32_t fcs = FCS_INIT;

	for (unsigned i = 1; i <= rx->cnt && len; i++) {
		size_t n = MIN(len, rx->iov[i].iov_len);

		fcs = fcs_add(fcs, rx->iov[i].iov_base, n);
		len -= n;
	}
	return fcs_end(fcs);
}

/* The check sequence of the frame as it is in the buffers. */
static void write_fcs(struct rtl_rx *rx, size_t len)
{
	uint32_t fcs = htole32(fcs_of_pieces(rx, len));

	iov_write_at(&rx->iov[1], rx->cnt, len, &fcs, sizeof(fcs));
}

static void mark_dirty(struct rtl8139 *r, size_t len)
{
	for (unsigned i = 1; i <= r->rx.cnt && len; i++) {
		size_t n = MIN(len, r->rx.iov[i].iov_len);

		ram_dirty_host(r->pci.dma.ram, r->rx.iov[i].iov_base, n);
		len -= n;
	}
}

static void count(struct rtl8139 *r, uint32_t flags)
{
	r->tally.rx_ok++;
	r->tally.rx_phys += !!(flags & RXD_PAM);
	r->tally.rx_bcast += !!(flags & RXD_BAR);
	r->tally.rx_mcast += !!(flags & RXD_MAR);
}

/* It was here, and has no place. */
static enum net_drop miss(struct rtl8139 *r)
{
	atomic_fetch_add(&r->missed, 1);
	r->tally.missed++;
	rtl_interrupt(r, INT_RXOVW);
	return NET_DROP_NO_BUFFER;
}

static bool has_tag(const struct rtl8139 *r, const uint8_t *head, size_t len)
{
	return r->cfg.cp_rx && r->cfg.strip && len >= ETH_HDR_LEN + TAG_LEN && get16(head + 12) == ETH_VLAN;
}

/* The frame lies at the window's head, or in the window and the spill. */
static enum net_drop deliver(struct rtl8139 *r, size_t len, const uint8_t *head, struct rtl_received *what, bool valid)
{
	struct rtl_rx *rx = &r->rx;
	bool strip = has_tag(r, head, len), whole = strip || len > rx->room;
	size_t cut = strip ? TAG_LEN : 0, fill = len < ETH_MIN_LEN ? ETH_MIN_LEN - len : 0;

	what->len = len + fill - cut;
	if (whole)
		iov_read_at(&rx->iov[1], rx->cnt + 1, 0, rx->scratch, len);
	if (what->len + RTL_FCS_LEN > rx->room && r->cfg.cp_rx)
		rtl_cplus_extend(r, what->len + RTL_FCS_LEN);
	if (what->len + RTL_FCS_LEN > rx->room) {
		rtl_rx_forget(r);
		return miss(r);
	}
	if (strip) {
		what->tag = RXD_TAVA | rx->scratch[14] | (uint32_t)rx->scratch[15] << 8;
		memmove(rx->scratch + 12, rx->scratch + 16, len - 16);
	}
	if (whole)
		write_frame(r, rx->scratch, len - cut, fill);
	else if (fill)
		iov_write_at(&rx->iov[1], rx->cnt, len, (const uint8_t[ETH_MIN_LEN]){ 0 }, fill);
	if (r->cfg.cp_rx && r->cfg.check)
		what->flags |= rtl_csum_status(&rx->iov[1], rx->cnt, what->len, valid);
	write_fcs(rx, what->len);
	if (unlikely(atomic_load_explicit(&r->pci.dma.ram->log, memory_order_relaxed)))
		mark_dirty(r, what->len + RTL_FCS_LEN);
	return NET_OK;
}

static enum net_drop take(struct rtl8139 *r, size_t len, bool valid)
{
	struct rtl_rx *rx = &r->rx;
	struct rtl_received what = { 0 };
	uint8_t head[ETH_HDR_LEN + TAG_LEN] = { 0 };
	enum net_drop why;

	if (len > r->cfg.rx_max)
		return NET_DROP_TOO_BIG;
	if (len < ETH_HDR_LEN)
		return NET_DROP_TOO_SHORT;
	/* A copy: the driver could change it while it is judged. */
	iov_read_at(&rx->iov[1], rx->cnt + 1, 0, head, MIN(len, sizeof(head)));
	why = judge(r, head, &what.flags);
	if (!why)
		why = deliver(r, len, head, &what, valid);
	if (why)
		return why;
	count(r, what.flags);
	if (r->cfg.cp_rx)
		rtl_cplus_publish(r, &what);
	else
		rtl_ring_publish(r, &what);
	rtl_rx_forget(r);
	rx->rok = true;
	return NET_OK;
}

enum net_drop rtl_rx_take(struct net_client *c, size_t len, const struct frame_meta *m)
{
	struct rtl8139 *r = client_rtl8139(c);

	if (unlikely(!r->rx.lent))
		return NET_DROP_STOPPED;
	return take(r, len, m->data_valid);
}

void rtl_rx_commit(struct net_client *c)
{
	struct rtl8139 *r = client_rtl8139(c);

	if (!r->rx.rok)
		return;
	r->rx.rok = false;
	rtl_interrupt(r, INT_ROK);
}

/* ---- loopback ---- */

static void loop_frame(struct rtl8139 *r, const struct batch *b, const struct frame *f)
{
	struct iov_cur from = iov_cur(frame_iov(b, f), f->cnt), to;
	struct net_window w;

	if (rtl_rx_lend(&r->client, f->len, &w)) {
		if (r->cfg.re)
			miss(r);
		return;
	}
	to = iov_cur(w.iov, w.cnt);
	if (iov_move(&to, &from, f->len) == f->len)
		take(r, f->len, false);
}

void rtl_rx_loop(struct rtl8139 *r, const struct batch *b)
{
	struct offload_ctx *x = r->tx.lower;
	struct batch out;

	for (unsigned i = 0; i < b->n; i++) {
		/* More than the receive ring can take in one go is not looked at. */
		if (offload_begin(x, b, &b->frame[i], 0) != NET_OK || !offload_next(x, &out))
			continue;
		for (unsigned k = 0; k < out.n; k++)
			loop_frame(r, &out, &out.frame[k]);
	}
	rtl_rx_commit(&r->client);
}

/* ---- life ---- */

int rtl_rx_init(struct rtl8139 *r)
{
	timer_init(&r->rx.retry, r->loop, CLOCK_VM_NS, rtl_rx_retry);
	/* Pages of them exist once a frame has run into them. */
	r->rx.spill = malloc(NET_FRAME_MAX);
	r->rx.scratch = malloc(NET_FRAME_MAX);
	return r->rx.spill && r->rx.scratch ? 0 : -ENOMEM;
}

void rtl_rx_destroy(struct rtl8139 *r)
{
	free(r->rx.spill);
	free(r->rx.scratch);
	r->rx.spill = r->rx.scratch = NULL;
}
