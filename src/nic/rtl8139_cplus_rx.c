/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive descriptors of C+ mode (data sheet, 9.2): a ring of up to 64, each with a buffer. A frame takes one or, if it
 * is longer than the first buffer, several; the first is marked FS, the last LS and has the length, with the check
 * sequence.
 *
 * Descriptors are collected for a window and belong to the driver again when the frame was taken; those that it did not
 * need are collected again. One whose buffer is no RAM, or has no length, is given back with an error when it is the
 * next one; before that it ends the window.
 */
#include <errno.h>

#include "nic/rtl8139.h"

static _Atomic uint32_t *desc_at(struct rtl8139 *r, unsigned index)
{
	return dma_ptr(&r->pci.dma, r->cfg.rx_ring + index * RTL_DESC_LEN, RTL_DESC_LEN);
}

static uint8_t behind(unsigned index, uint32_t opts1)
{
	return opts1 & DESC_EOR ? 0 : (uint8_t)((index + 1) % RTL_DESCS);
}

static void write_status(struct rtl8139 *r, unsigned index, uint32_t opts1, uint32_t opts2)
{
	_Atomic uint32_t *d = desc_at(r, index);

	if (!d)
		return;
	atomic_store_explicit(&d[1], htole32(opts2), memory_order_relaxed);
	atomic_store_explicit(d, htole32(opts1), memory_order_release);
	dma_dirty(&r->pci.dma, r->cfg.rx_ring + index * RTL_DESC_LEN, RTL_DESC_LEN);
}

/* The next descriptor, which no frame can be put into. */
static void refuse(struct rtl8139 *r, uint32_t opts1)
{
	write_status(r, r->rx.index, (opts1 & DESC_EOR) | DESC_FS | DESC_LS | RXD_RES, 0);
	r->rx.index = r->rx.next = behind(r->rx.index, opts1);
	r->tally.rx_err++;
	counter_add(&r->guest_errors, 1);
	rtl_interrupt(r, INT_RER);
}

/* Collect one descriptor more. False: the next one is not the device's, or cannot be used, or all are collected. */
static bool collect_one(struct rtl8139 *r, uint64_t *seen)
{
	struct rtl_rx *rx = &r->rx;
	_Atomic uint32_t *d = desc_at(r, rx->next);
	uint32_t opts1 = d ? le32toh(atomic_load_explicit(d, memory_order_acquire)) : 0, len = opts1 & RXD_SIZE;
	uint64_t address;
	void *p;

	if (!(opts1 & DESC_OWN) || *seen & BIT(rx->next))
		return false;
	*seen |= BIT(rx->next);
	address = le32toh(atomic_load_explicit(&d[2], memory_order_relaxed)) |
		  (uint64_t)le32toh(atomic_load_explicit(&d[3], memory_order_relaxed)) << 32;
	p = len ? dma_ptr(&r->pci.dma, address, len) : NULL;
	if (!p) {
		if (rx->cnt)
			return false;
		refuse(r, opts1);
		return true;
	}
	rx->d[rx->cnt].index = rx->next;
	rx->d[rx->cnt].opts1 = opts1;
	rx->iov[++rx->cnt] = (struct iovec){ p, len };
	rx->room += len;
	rx->next = behind(rx->next, opts1);
	return true;
}

void rtl_cplus_extend(struct rtl8139 *r, size_t want)
{
	uint64_t seen = 0;

	for (unsigned i = 0; i < r->rx.cnt; i++)
		seen |= BIT(r->rx.d[i].index);
	while (r->rx.room < want && r->rx.cnt < RTL_DESCS && collect_one(r, &seen))
		;
}

static void collect(struct rtl8139 *r, size_t want)
{
	r->rx.cnt = 0;
	r->rx.room = 0;
	r->rx.index %= RTL_DESCS;
	r->rx.next = r->rx.index;
	rtl_cplus_extend(r, want);
}

int rtl_cplus_lend(struct rtl8139 *r, size_t want)
{
	want = MIN(want, r->cfg.rx_max) + RTL_FCS_LEN;
	collect(r, want);
	if (!r->rx.cnt) {
		rtl_rx_starve(r);
		collect(r, want);
	}
	if (r->rx.cnt) {
		r->rx.dry = false;
		return 0;
	}
	if (!r->rx.dry)
		rtl_interrupt(r, INT_RXOVW);
	r->rx.dry = true;
	return -EAGAIN;
}

void rtl_cplus_publish(struct rtl8139 *r, const struct rtl_received *what)
{
	struct rtl_rx *rx = &r->rx;
	size_t left = what->len + RTL_FCS_LEN;

	for (unsigned i = 0; i < rx->cnt && left; i++) {
		size_t n = MIN(left, rx->iov[1 + i].iov_len);
		uint32_t opts1 = (rx->d[i].opts1 & DESC_EOR) | what->flags | (i ? 0 : DESC_FS);

		left -= n;
		opts1 |= left ? (uint32_t)n : DESC_LS | (uint32_t)(what->len + RTL_FCS_LEN);
		rx->index = behind(rx->d[i].index, rx->d[i].opts1);
		write_status(r, rx->d[i].index, opts1, what->tag);
	}
	rx->next = rx->index;
}
