/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offload lowering: checksum and segmentation in software, once for the whole program, for takers that lack them.
 *
 * A frame that needs more than `takes` is turned into one or more frames that need no more than that: the checksum is
 * filled in; TCP (v4, v6, with and without ECN), UDP fragmentation (UFO) and UDP segmentation (USO) are cut at gso_size
 * with headers made anew for each piece (RFC 791, 8200, 9293; ids, flags, sequence numbers, lengths, checksums).
 * Headers are copied to host memory before they are looked at; the payload is referred to where it lies, unless its
 * checksum is needed, which reads it (the frame goes out as it is then: a guest that changes it meanwhile harms itself
 * alone).
 */
#ifndef NET_OFFLOAD_H
#define NET_OFFLOAD_H

#include "net/frame.h"

/*
 * The checksum that a frame with needs_csum and no segmentation is to have, as it is stored at csum_start + csum_offset;
 * both lie within len. The bytes in its place count.
 */
uint16_t offload_csum(const struct iovec *iov, unsigned cnt, size_t len, const struct frame_meta *m);

/* Scratch for one frame under way: headers of up to NET_BATCH segments and an iovec arena. Allocated once. */
struct offload_ctx;
struct offload_ctx *offload_new(void);
void offload_free(struct offload_ctx *x);

/*
 * Begin to lower frame f of batch b for a taker of `takes`. Returns NET_OK or why it cannot be done (VNET_HDR: headers
 * contradict the metadata; OFFLOAD: nothing that software can do). The frame's pieces must stay valid until the end.
 */
enum net_drop offload_begin(struct offload_ctx *x, const struct batch *b, const struct frame *f,
			    uint32_t takes) __must_check;
/*
 * Make the next up to NET_BATCH frames in *out (its arena is the context's own). Returns the number, 0 at the end. The
 * batch is valid until the next call.
 */
unsigned offload_next(struct offload_ctx *x, struct batch *out);
/* The last n frames of the last batch were not taken: offload_next() makes them again. */
void offload_unget(struct offload_ctx *x, unsigned n);
/* What is left goes to a taker of `takes` from now on. Only for a frame that is cut (offload_total() > 1). */
void offload_set_takes(struct offload_ctx *x, uint32_t takes);
/* Copy what is left of the frame to the context's own memory: its pieces may go. */
void offload_keep(struct offload_ctx *x);
/* Bytes in the largest frame that the context makes of this one. */
size_t offload_largest(const struct offload_ctx *x);
/* Frames in all that offload_begin() found the frame to make (>= 1). */
unsigned offload_total(const struct offload_ctx *x);

#endif
