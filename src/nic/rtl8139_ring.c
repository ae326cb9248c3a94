/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C mode's receive buffer (data sheet: RBSTART, CAPR, CBR, RCR; programming guide, "Packet Reception"): a ring of bytes
 * in which each frame stands behind a header of four bytes, followed by its check sequence, at a multiple of four.
 *
 * The device writes at wp, which CBR shows; the driver has read up to CAPR + 16, whatever it says: taken modulo the
 * size of the ring. Equal means empty, so the ring never becomes full to the last byte.
 *
 *	|....free....|header frame fcs|header frame fcs|....free....|  (WRAP: the rest of an ordinary frame here)
 *	             ^ CAPR + 16                       ^ wp
 *
 * While the ring is too full for a frame, ROK stands again whenever the driver acknowledges it. A driver that stops
 * reading in the middle (Linux's does, at its budget) relies on the next frame to be told of the rest, and here there
 * would be none.
 *
 * A frame that reaches the end of the buffer goes on at its start, or, with WRAP, behind it; then there is one piece,
 * and the start of the buffer is left out. Drivers have between 1530 and 2048 bytes there. What the wire gives is in
 * the buffer before it is judged, so a longer frame must not be shown more than an ordinary one needs.
 */
#include <errno.h>

#include "base/log.h"
#include "nic/rtl8139.h"

#define HEADER	   4
#define ORDINARY   1518u /* a frame of this size fits, or nothing is lent: the driver has some to read first */
#define STATUS_OK  0x0001
#define STATUS_BAR 0x2000
#define STATUS_PAM 0x4000
#define STATUS_MAR 0x8000

static uint32_t read_pointer(struct rtl8139 *r)
{
	return (atomic_load(&r->capr) + 16u) & (r->cfg.ring_size - 1);
}

/* What a frame and its check sequence may take of the ring so that wp stays behind the read pointer. */
static size_t free_bytes(struct rtl8139 *r, bool *empty)
{
	uint32_t size = r->cfg.ring_size, avail = (read_pointer(r) - r->rx.wp) & (size - 1);

	*empty = !avail;
	avail = ((avail ? avail : size) - 1) & ~3u;
	return avail > HEADER ? avail - HEADER : 0;
}

/* One piece from wp on: to the end of what may be written behind the buffer. */
static size_t straight(struct rtl8139 *r, size_t room)
{
	struct rtl_rx *rx = &r->rx;
	const struct rtl_config *c = &r->cfg;
	size_t most = MAX((size_t)(c->ring_size - rx->wp - HEADER), (size_t)RTL_RING_SLACK);
	uint64_t at = (uint64_t)c->rbstart + rx->wp;

	room = MIN(room, most);
	/* A driver that has no memory behind the buffer loses the frames that would need it. */
	if (!dma_ptr(&r->pci.dma, at, HEADER + room))
		room = MIN(room, (size_t)(c->ring_size - rx->wp - HEADER));
	rx->iov[1] = (struct iovec){ rx->header + HEADER, room };
	rx->cnt = 1;
	return room;
}

static size_t around(struct rtl8139 *r, uint8_t *base, size_t room)
{
	struct rtl_rx *rx = &r->rx;
	size_t first = MIN(room, (size_t)(r->cfg.ring_size - rx->wp - HEADER));

	rx->cnt = 0;
	if (first)
		rx->iov[++rx->cnt] = (struct iovec){ rx->header + HEADER, first };
	if (room > first)
		rx->iov[++rx->cnt] = (struct iovec){ base, room - first };
	return room;
}

static void no_ram(struct rtl8139 *r)
{
	r->rx.cnt = 0;
	r->rx.room = 0;
	if (!r->rx.told_bad)
		log_limited(LOG_WARN, "%s: the guest's receive buffer at %#x is not in RAM: frames are dropped",
			    device_label(&r->pci.dev), r->cfg.rbstart);
	r->rx.told_bad = true;
	counter_add(&r->guest_errors, 1);
}

int rtl_ring_lend(struct rtl8139 *r, size_t want)
{
	struct rtl_rx *rx = &r->rx;
	uint8_t *base = dma_ptr(&r->pci.dma, r->cfg.rbstart, r->cfg.ring_size);
	size_t need = MIN(want, (size_t)ORDINARY) + RTL_FCS_LEN, room;
	bool empty;

	if (!base) {
		no_ram(r); /* all that comes goes into the spill, and is missed */
		return 0;
	}
	room = free_bytes(r, &empty);
	if (!empty && room < need) {
		rtl_rx_starve(r);
		room = free_bytes(r, &empty); /* who wrote CAPR before may not have seen that */
		if (!empty && room < need) {
			rtl_interrupt(r, INT_ROK);
			return -EAGAIN;
		}
	}
	rx->header = base + rx->wp;
	rx->room = r->cfg.wrap ? straight(r, room) : around(r, base, room);
	return 0;
}

void rtl_ring_publish(struct rtl8139 *r, const struct rtl_received *what)
{
	struct rtl_rx *rx = &r->rx;
	uint32_t len = (uint32_t)(what->len + RTL_FCS_LEN), status = STATUS_OK;

	status |= what->flags & RXD_BAR ? STATUS_BAR : 0;
	status |= what->flags & RXD_PAM ? STATUS_PAM : 0;
	status |= what->flags & RXD_MAR ? STATUS_MAR : 0;
	/* wp is a multiple of four, the buffer need not be. */
	memcpy(rx->header, &(uint32_t){ htole32(len << 16 | status) }, HEADER);
	if (unlikely(atomic_load_explicit(&r->pci.dma.ram->log, memory_order_relaxed)))
		ram_dirty_host(r->pci.dma.ram, rx->header, HEADER);
	rx->wp = (rx->wp + HEADER + ALIGN_UP(len, 4u)) & (r->cfg.ring_size - 1);
	atomic_store(&r->cbr, (uint16_t)rx->wp);
}
