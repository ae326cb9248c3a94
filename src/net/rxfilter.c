/* SPDX-License-Identifier: BSD-2-Clause */
/* The judgement of a receive filter: VLAN first, then the destination's class, then the table. */
#include <linux/if_ether.h>

#include "net/rxfilter.h"

void rx_filter_reset(struct rx_filter *f, const uint8_t mac[6])
{
	*f = (struct rx_filter){ .promisc = true, .mac = mac_key(mac) };
}

/* VLAN 0 is a priority tag on a frame that is in no VLAN (802.1Q, 9.6): it passes. */
static bool vlan_passes(const struct rx_filter *f, const uint8_t *head, size_t len)
{
	unsigned vid;

	if (len < RX_FILTER_PEEK || (head[12] << 8 | head[13]) != ETH_P_8021Q)
		return true;
	vid = (head[14] << 8 | head[15]) % RX_FILTER_VLANS;
	return vid == 0 || f->vlan[vid / 64] & BIT(vid % 64);
}

static bool in_table(const struct rx_filter *f, unsigned from, unsigned n, uint64_t key)
{
	for (unsigned i = from; i < from + n; i++) {
		if (f->table[i] == key)
			return true;
	}
	return false;
}

static bool mac_passes(const struct rx_filter *f, const uint8_t *head)
{
	uint64_t key = mac_key(head);

	if (key == MAC_KEY_BROADCAST)
		return !f->nobcast;
	if (mac_is_multicast(head))
		return !f->nomulti && (f->allmulti || f->mc_overflow || in_table(f, f->n_uc, f->n_mc, key));
	return !f->nouni && (f->alluni || f->uc_overflow || key == f->mac || in_table(f, 0, f->n_uc, key));
}

enum net_drop rx_filter_judge(const struct rx_filter *f, const uint8_t *head, size_t len)
{
	if (f->vlan_on && !vlan_passes(f, head, len))
		return NET_DROP_FILTER_VLAN;
	return mac_passes(f, head) ? NET_OK : NET_DROP_FILTER_MAC;
}
