/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transceiver of rtl8139: MII registers mapped into the device's own (data sheet: BMCR to CSCR), IEEE 802.3 22.2.4.
 * The other end can do 10 and 100 Mbit/s in both duplexes, and negotiation is over as soon as it has begun.
 */
#include "nic/rtl8139.h"

enum {
	BMSR_ABLE = 0x7809, /* 10 and 100 Mbit/s, both duplexes, negotiation, extended registers */
	BMSR_AN_DONE = 1 << 5,
	BMSR_LINK = 1 << 2,
	AN_ALL = 0x05e1, /* all of it, and pause frames */
	AN_ACK = 1 << 14,
	ANER_PARTNER = 1 << 0,
	CSCR_ON = 0x03c0,
	CSCR_CONNECTED = 1 << 3,
	MSR_SPEED_10 = 1 << 3,
	MSR_LINKB = 1 << 2,
	MSR_FLOW = 0xc0,
};

void rtl_phy_reset(struct rtl8139 *r)
{
	rtl_set_reg(r, R_BMCR, 2, BMCR_AUTO | BMCR_FULL);
	rtl_set_reg(r, R_ANAR, 2, AN_ALL);
	rtl_set_reg(r, R_CSCR, 2, CSCR_ON);
}

/* Speed, duplex and negotiation are under the lock of the Config registers. */
void rtl_bmcr_write(struct rtl8139 *r, uint16_t v)
{
	uint16_t free = rtl_eem(r) == EEM_CONFIG ? BMCR_100 | BMCR_AUTO | BMCR_FULL : 0;

	if (v & BMCR_RESET) {
		rtl_phy_reset(r);
		return;
	}
	rtl_set_reg(r, R_BMCR, 2, (uint32_t)((rtl_reg16(r, R_BMCR) & ~free) | (v & free)));
}

static bool negotiated(const struct rtl8139 *r)
{
	return atomic_load(&r->link) && rtl_reg16(r, R_BMCR) & BMCR_AUTO;
}

uint16_t rtl_phy_read(const struct rtl8139 *r, unsigned reg)
{
	bool link = atomic_load(&r->link);

	switch (reg) {
	case R_BMSR:
		return (uint16_t)(BMSR_ABLE | (link ? BMSR_LINK : 0) | (negotiated(r) ? BMSR_AN_DONE : 0));
	case R_ANLPAR:
		return negotiated(r) ? AN_ALL | AN_ACK : 0;
	case R_ANER:
		return negotiated(r) ? ANER_PARTNER : 0;
	default:
		return (uint16_t)((rtl_reg16(r, R_CSCR) & ~CSCR_CONNECTED) | (link ? CSCR_CONNECTED : 0));
	}
}

uint8_t rtl_msr_read(const struct rtl8139 *r)
{
	bool slow = !(rtl_reg16(r, R_BMCR) & (BMCR_AUTO | BMCR_100));

	return (uint8_t)((r->reg[R_MSR] & MSR_FLOW) | (slow ? MSR_SPEED_10 : 0) |
			 (atomic_load(&r->link) ? 0 : MSR_LINKB));
}

void rtl_link_set(struct rtl8139 *r, bool up)
{
	if (atomic_exchange(&r->link, up) != up)
		rtl_interrupt(r, INT_LINKCHG);
}
