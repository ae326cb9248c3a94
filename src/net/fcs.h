/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame check sequence of Ethernet (IEEE 802.3, 3.2.9), which no backend carries: for NICs that hand it to the
 * guest. It is stored little-endian.
 */
#ifndef NET_FCS_H
#define NET_FCS_H

#include "base/util.h"

#define FCS_INIT UINT32_MAX

/* Add n bytes. */
uint32_t fcs_add(uint32_t fcs, const void *p, size_t n);

static inline uint32_t fcs_end(uint32_t fcs)
{
	return ~fcs;
}

#endif
