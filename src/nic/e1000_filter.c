/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: receive filters (3.2.1): first by address (exact, multicast hash, broadcast, promiscuous), then by VLAN. They
 * are judged by a copy of the frame's first bytes. The tables are read as they are at the moment: a driver that changes
 * an entry under traffic may see either.
 */
#include "base/wirefmt.h"
#include "nic/e1000.h"

#define ASEL_DESTINATION 0
#define ASEL_SOURCE	 1

/* A receive address as mac_key() has it: RAL is its first four bytes, RAH the others (13.5.2, 13.5.3). */
static bool exact(const struct e1000 *e, const uint8_t *head)
{
	uint64_t key[] = { mac_key(head), mac_key(head + 6) };

	for (unsigned i = 0; i < E1000_RA_ENTRIES; i++) {
		uint32_t high = e1000_get(e, E1000_RA + 8 * i + 4), which = RAH_ASEL(high);

		if ((high & RAH_AV) && which <= ASEL_SOURCE &&
		    key[which] == (e1000_get(e, E1000_RA + 8 * i) | (uint64_t)(high & 0xffff) << 32))
			return true;
	}
	return false;
}

/* 13.5.1: 12 bits out of the address's last two bytes, at one of four places. */
static bool hashed(const struct e1000 *e, const uint8_t *to, uint32_t rctl)
{
	static const uint8_t shift[] = { 4, 3, 2, 0 };
	unsigned bit = (unsigned)(to[4] | to[5] << 8) >> shift[RCTL_MO(rctl)] & 0xfff;

	return e1000_get(e, E1000_MTA + bit / 32 * 4) >> bit % 32 & 1;
}

static bool for_us(const struct e1000 *e, const uint8_t *to, uint32_t rctl, struct e1000_rx_info *info)
{
	if (mac_key(to) == MAC_KEY_BROADCAST && (rctl & RCTL_BAM))
		return true;
	if (exact(e, to))
		return true;
	if (!mac_is_multicast(to)) {
		info->status |= RXD_PIF;
		return rctl & RCTL_UPE;
	}
	info->status |= RXD_PIF;
	return (rctl & RCTL_MPE) || hashed(e, to, rctl);
}

static bool vlan_for_us(const struct e1000 *e, uint16_t tci, uint32_t rctl)
{
	unsigned vid = tci & 0xfff;

	if (!(e1000_get(e, E1000_VFTA + vid / 32 * 4) >> vid % 32 & 1))
		return false;
	return !(rctl & RCTL_CFIEN) || !!(tci & 0x1000) == !!(rctl & RCTL_CFI);
}

enum net_drop e1000_filter(const struct e1000 *e, const uint8_t head[18], size_t len, struct e1000_rx_info *info)
{
	uint32_t rctl = e1000_get(e, E1000_RCTL);

	if (!for_us(e, head, rctl, info))
		return NET_DROP_FILTER_MAC;
	if (len < 18 || get16(head + 12) != e1000_get(e, E1000_VET))
		return NET_OK;
	if ((rctl & RCTL_VFE) && !vlan_for_us(e, (uint16_t)get16(head + 14), rctl))
		return NET_DROP_FILTER_VLAN;
	if (e1000_get(e, E1000_CTRL) & CTRL_VME) {
		info->strip = true;
		info->status |= RXD_VP;
		info->tag = (uint16_t)get16(head + 14);
	}
	return NET_OK;
}
