/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ethernet addresses: compared as 48-bit keys, and the addresses that NICs get which were given none.
 */
#ifndef NET_MAC_H
#define NET_MAC_H

#include "base/opts.h"

#define MAC_KEY_BROADCAST 0xffffffffffffULL

/* Six bytes as a number that is equal for equal addresses (its order means nothing). */
static inline uint64_t mac_key(const uint8_t *addr)
{
	uint32_t low;
	uint16_t high;

	memcpy(&low, addr, sizeof(low));
	memcpy(&high, addr + sizeof(low), sizeof(high));
	return low | (uint64_t)high << 32;
}

static inline bool mac_is_multicast(const uint8_t *addr)
{
	return addr[0] & 1;
}

/* Was an address given? All zero counts as none. */
bool mac_given(const struct mac_opt *mac);
/* Can it be a NIC's? -EINVAL for a multicast address. */
int mac_check(const struct mac_opt *mac, struct error *err) __must_check;

/*
 * The address of a NIC called `who`: the one that was given (all zero counts as none; -EINVAL for a multicast address),
 * else the first of 52:54:00:12:34:56, :57, ... that no other NIC has. One that another NIC has too is warned of.
 * mac_release() when the NIC goes. Main thread.
 */
int mac_assign(struct mac_opt *mac, const char *who, struct error *err) __must_check;
void mac_release(const struct mac_opt *mac);

#endif
