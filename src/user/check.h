/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frame check: what the guest sends is judged and made plain before libslirp sees it.
 *
 * libslirp's faults of the past were all reached by frames that no guest's kernel needs to send: IPv4 options and
 * fragments, urgent data, headers longer than the packet, packets of a service shorter than its structures. Such frames
 * stop here. What passes has: an Ethernet header and exactly the IP packet's bytes (padding is cut), complete headers,
 * lengths that agree, checksums filled in, no urgent data.
 *
 * Two things are changed besides. A partial checksum (virtio's NEEDS_CSUM) is completed: a TSO frame goes into
 * libslirp whole. And the MSS that the guest announces in a SYN is remembered and replaced by a large one: libslirp
 * then makes segments of up to 32 KiB, which go to the guest as TSO frames with the guest's own MSS as their segment
 * size (see toguest.h). That is what GRO would do afterwards, without the cost of making the small segments first.
 *
 * Frames are in private memory: they are changed, and nobody else changes them.
 */
#ifndef USER_CHECK_H
#define USER_CHECK_H

#include "user/proto.h"

#define MSS_SLOTS 4096
#define MSS_MIN	  536 /* smaller announcements are left to libslirp */

/*
 * The MSS that the guest announced, by connection: a table without chains. Two connections in one slot share the later
 * one's, which matters only to a guest that uses several MTUs at once.
 */
struct mss_table {
	uint16_t mss[MSS_SLOTS]; /* 0: none */
};

struct check {
	bool all; /* let IPv4 options, fragments and other protocols through (prefilter=off) */
	bool ipv4, ipv6, tftp;
	uint32_t host; /* network byte order */
	uint8_t host6[16];
	uint16_t big_mss; /* what the guest's MSS is replaced with */
	struct mss_table mss;
};

/*
 * Judge the frame of *len bytes (14..RING_FRAME_MAX) with its vnet header; change it and *len as said above. USER_PASS
 * or the reason why it stops.
 */
enum user_check check_frame(struct check *c, uint8_t *frame, uint32_t *len, const struct virtio_net_hdr *hdr);

/*
 * The guest's MSS for a TCP segment on its way to the guest, or the default of its family. `l4` points at the ports;
 * addr is the sender's (the outer world's) address of addr_len bytes.
 */
uint16_t mss_lookup(const struct mss_table *t, const uint8_t *addr, size_t addr_len, const uint8_t *l4);

#endif
