/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A NIC's receive filter: receive modes, a table of addresses, a table of VLANs. The guest programs it, and it judges
 * frames that came from elsewhere by a copy of their first bytes.
 *
 * A class of addresses (unicast, multicast) whose table was programmed with more entries than fit is let through whole:
 * too much is harmless to a guest, too little is not.
 */
#ifndef NET_RXFILTER_H
#define NET_RXFILTER_H

#include "net/drop.h"
#include "net/mac.h"

#define RX_FILTER_MACS	64
#define RX_FILTER_VLANS 4096
#define RX_FILTER_PEEK	18 /* bytes of a frame that it looks at: addresses, VLAN tag */

struct rx_filter {
	bool promisc; /* everything; the rest is not asked */
	bool allmulti, alluni;
	bool nomulti, nouni, nobcast;
	bool uc_overflow, mc_overflow;
	bool vlan_on; /* tagged frames must be of a VLAN in the table */
	uint64_t mac; /* the NIC's own address, as all of them a mac_key() */
	unsigned n_uc, n_mc;
	uint64_t table[RX_FILTER_MACS]; /* n_uc unicast addresses, then n_mc multicast ones */
	uint64_t vlan[RX_FILTER_VLANS / 64];
};

/* Power-on state: promiscuous, tables empty. */
void rx_filter_reset(struct rx_filter *f, const uint8_t mac[6]);

static inline void rx_filter_set_vlan(struct rx_filter *f, unsigned vid, bool on)
{
	if (on)
		f->vlan[vid / 64] |= BIT(vid % 64);
	else
		f->vlan[vid / 64] &= ~BIT(vid % 64);
}

/*
 * Judge a frame of `len` bytes (at least an Ethernet header) whose first MIN(len, RX_FILTER_PEEK) bytes are at `head`:
 * NET_OK, NET_DROP_FILTER_MAC or NET_DROP_FILTER_VLAN. To be called if the filter is not promiscuous.
 */
enum net_drop rx_filter_judge(const struct rx_filter *f, const uint8_t *head, size_t len) __must_check;

#endif
