/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From libslirp to the guest: frames get their offload metadata and go into the ring.
 *
 * libslirp is told a large MTU and (see check.h) a large MSS, so that its cost is for 32 KiB and not for each 1,460
 * bytes. A TCP segment larger than the guest's own MSS goes as a TSO frame: its checksum field holds the sum of the
 * pseudo header, gso_size is the guest's MSS. A guest that does not take TSO is served by vwire's software
 * segmentation. Other packets larger than the guest's MTU are fragmented here, as a router would (RFC 791, 8200).
 * libslirp computed the checksums of all the rest, which is said (DATA_VALID), so that nobody verifies them again.
 */
#ifndef USER_TOGUEST_H
#define USER_TOGUEST_H

#include "user/check.h"

#define GUEST_MTU 1500 /* of what cannot be segmented */

struct toguest {
	struct ring *ring;
	const struct mss_table *mss;
	struct user_stats *stats;
	uint32_t fragment_id; /* IPv6 */
};

/* Put the frame (of any length; too short ones are libslirp's fault and counted as overrun) into the ring. */
void toguest_send(struct toguest *t, const uint8_t *frame, size_t len);

#endif
