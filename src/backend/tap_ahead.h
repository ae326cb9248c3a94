/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that were read from a tap ahead of their taker.
 *
 * Whoever only takes frames that are there already (a hub, another backend) lends no window to read into. One frame
 * would cross at a time, and everything behind (a send on a socket, above all) would be done for one frame at a time.
 * So they are read into memory here, up to a batch, and cross together. All on the tap's loop but init and fini.
 */
#ifndef BACKEND_TAP_AHEAD_H
#define BACKEND_TAP_AHEAD_H

#include "net/frame.h"

struct tap_ahead {
	struct batch batch; /* frames from the first on that nobody has taken yet */
	struct iovec piece[2 * NET_BATCH];
	uint8_t *memory;
	size_t used;
};

int tap_ahead_init(struct tap_ahead *a) __must_check; /* -ENOMEM */
void tap_ahead_fini(struct tap_ahead *a);

/* Is there room for one more frame of any length? */
bool tap_ahead_room(const struct tap_ahead *a);
/* Where the next frame is to lie: NET_FRAME_MAX + 1 bytes, so that one that is too long is seen to be. */
uint8_t *tap_ahead_next(struct tap_ahead *a);
/* It lies there, with this length, at most NET_FRAME_MAX. */
void tap_ahead_add(struct tap_ahead *a, size_t len, const struct frame_meta *m);
/* The first n frames of the batch are done with. */
void tap_ahead_done(struct tap_ahead *a, unsigned n);

#endif
