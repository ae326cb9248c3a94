/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bounded queue of frames that were copied: frame memory, for the few that may own some (a hub's port towards a slow
 * peer). Its bytes are taken when it is made; nothing is allocated later, and memory that was never needed is never
 * touched. It belongs to whoever owns it and runs on that one's loop.
 */
#ifndef NET_FRAMEQ_H
#define NET_FRAMEQ_H

#include "net/frame.h"

struct frameq;

/* What frameq_new() may be asked for: room for one frame of any length, and an offset that fits into 32 bits. */
#define FRAMEQ_MIN (128 * KIB)
#define FRAMEQ_MAX GIB

/* Iovec slots that the arena of a batch for frameq_head() has. */
#define FRAMEQ_ARENA (2 * NET_BATCH)

struct frameq *frameq_new(size_t bytes); /* NULL: no memory */
void frameq_free(struct frameq *q);	 /* NULL is fine */

unsigned frameq_count(const struct frameq *q); /* frames */
/* Is there room for a frame of any length? */
bool frameq_has_room(const struct frameq *q);
/* Append a copy of frame f of batch b; false: there is no room, nothing happened. f->len <= NET_FRAME_MAX. */
bool frameq_put(struct frameq *q, const struct batch *b, const struct frame *f);

/*
 * Describe the first frames, NET_BATCH at most, in *b, whose arena has FRAMEQ_ARENA slots; returns how many. They stay,
 * and where they are, until frameq_pop() takes the first n of them away.
 */
unsigned frameq_head(const struct frameq *q, struct batch *b);
void frameq_pop(struct frameq *q, unsigned n);

#endif
