/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An inbox: frames on their way to another loop. Any loop may give, each frame is copied once; one loop takes them out,
 * in the order in which places were reserved. Bounded in frames and in bytes: what finds no room is the giver's to
 * drop. Nobody waits, and nothing is locked.
 *
 * Who gives reserves a place, writes the frame to it and says that it is ready; then it tells the taker (loop_post()).
 * A giver that is slow with its frame holds up those behind, who told the taker already; it will be told again.
 */
#ifndef NET_INBOX_H
#define NET_INBOX_H

#include "net/frame.h"

#define INBOX_FRAMES 256
#define INBOX_BYTES  (4096 * 1024u) /* 64 of the longest: a TCP flow soon has as many under way */

struct inbox_slot {
	_Atomic uint32_t ready; /* its ticket plus one, once the frame is whole */
	uint32_t at, len;	/* bytes[at..at+len), one piece */
	struct frame_meta meta;
};

struct inbox {
	_Atomic uint64_t tail; /* reserved, ever: frames in the upper half, bytes in the lower */
	_Atomic uint64_t head; /* taken out, likewise */
	uint32_t seen;	       /* the taker's: frames that it counted */
	uint8_t *bytes;
	struct inbox_slot slot[INBOX_FRAMES];
};

/* Memory for the frames; pages of it exist once they are used. -ENOMEM. */
int inbox_init(struct inbox *in);
void inbox_destroy(struct inbox *in); /* harmless without inbox_init() */

/* ---- givers; any thread ---- */

/* A place for a frame of len (1..NET_FRAME_MAX) bytes, and its ticket. NULL: no room. */
uint8_t *inbox_reserve(struct inbox *in, uint32_t len, uint32_t *ticket) __must_check;
/* The frame of that ticket is whole. */
void inbox_ready(struct inbox *in, uint32_t ticket, const struct frame_meta *m);

/* ---- the taker ---- */

/* How many frames became ready, in order, since this was last asked. */
uint32_t inbox_arrived(struct inbox *in);
/* The oldest frame of those that inbox_arrived() counted; its bytes are bytes + at. NULL: there is none. */
const struct inbox_slot *inbox_first(const struct inbox *in);
/* The oldest frame, that inbox_first() said, is done with. */
void inbox_pop(struct inbox *in);

#endif
