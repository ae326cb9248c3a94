/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames that were read from a tap ahead of their taker: see tap_ahead.h. */
#include "backend/tap_ahead.h"

#include <errno.h>
#include <stdlib.h>

#define BYTES \
	(256 * 1024) /* of frames, beyond which no further one is begun; pages that no frame reached are not there */
#define ALIGN 16

int tap_ahead_init(struct tap_ahead *a)
{
	a->batch.iov = a->piece;
	a->memory = malloc(BYTES + ALIGN + NET_FRAME_MAX + 1);
	return a->memory ? 0 : -ENOMEM;
}

void tap_ahead_fini(struct tap_ahead *a)
{
	free(a->memory);
	a->memory = NULL;
}

bool tap_ahead_room(const struct tap_ahead *a)
{
	return a->batch.n < NET_BATCH && a->used < BYTES;
}

uint8_t *tap_ahead_next(struct tap_ahead *a)
{
	return a->memory + a->used;
}

void tap_ahead_add(struct tap_ahead *a, size_t len, const struct frame_meta *m)
{
	struct batch *b = &a->batch;
	unsigned at = 2 * b->n + 1;

	a->piece[at] = (struct iovec){ a->memory + a->used, len };
	b->frame[b->n++] = (struct frame){ .meta = *m, .iov = at, .cnt = 1, .len = (uint32_t)len };
	a->used += ALIGN_UP(len, (size_t)ALIGN);
}

void tap_ahead_done(struct tap_ahead *a, unsigned n)
{
	struct batch *b = &a->batch;

	b->n -= n;
	if (b->n)
		memmove(b->frame, b->frame + n, b->n * sizeof(b->frame[0]));
	else
		a->used = 0;
}
