/* SPDX-License-Identifier: BSD-2-Clause */
/* Tally counters of rtl8139 (data sheet: DTCCR): 64 bytes, written to guest memory when the driver asks. */
#include "nic/rtl8139.h"

#define TALLY_LEN 64

struct tally_layout {
	uint64_t tx_ok, rx_ok, tx_err;
	uint32_t rx_err;
	uint16_t missed, frame_align;
	uint32_t tx_one_collision, tx_collisions;
	uint64_t rx_phys, rx_bcast;
	uint32_t rx_mcast;
	uint16_t tx_abort, tx_underrun;
};
_Static_assert(sizeof(struct tally_layout) == TALLY_LEN, "as the driver reads it");

/* All of it is RAM, or nothing is written. */
static void dump(void *arg)
{
	struct rtl8139 *r = arg;
	const struct rtl_tally *t = &r->tally;
	uint64_t to = rtl_reg32(r, R_DTCCR) | (uint64_t)rtl_reg32(r, R_DTCCR + 4) << 32;
	struct tally_layout l = {
		.tx_ok = htole64(t->tx_ok),
		.rx_ok = htole64(t->rx_ok),
		.tx_err = htole64(t->tx_err),
		.rx_err = htole32(t->rx_err),
		.missed = htole16(t->missed),
		.rx_phys = htole64(t->rx_phys),
		.rx_bcast = htole64(t->rx_bcast),
		.rx_mcast = htole32(t->rx_mcast),
		.tx_abort = htole16(t->tx_abort),
	};

	if (dma_write(&r->pci.dma, to & ~(uint64_t)(TALLY_LEN - 1), &l, sizeof(l)) < 0)
		counter_add(&r->guest_errors, 1);
}

void rtl_tally_dump(struct rtl8139 *r)
{
	loop_call(r->loop, dump, r);
}

static void clear(void *arg)
{
	struct rtl8139 *r = arg;

	r->tally = (struct rtl_tally){ 0 };
}

void rtl_tally_reset(struct rtl8139 *r)
{
	loop_call(r->loop, clear, r);
}
