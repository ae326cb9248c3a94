/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See inbox.h. Frames and bytes that were reserved ever are one word, so that one compare-and-swap reserves both; the
 * same two of what was taken out are another, which only the taker writes. Both count on and wrap around at 2^32. A
 * frame that does not fit before the end of the bytes begins at their front, and what it skipped is part of its place.
 *
 * A slot and its bytes belong to the giver from its swap until `ready` is its ticket plus one, which nobody else
 * writes; then to the taker until `head` has passed them. The ticket of a slot's next use is higher by INBOX_FRAMES, so
 * that what was ready once is not taken for ready again.
 */
#include "net/inbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ALIGN_TO 64u /* a cache line: two givers do not write to one */

static uint32_t frames_of(uint64_t cursor)
{
	return (uint32_t)(cursor >> 32);
}

static uint32_t bytes_of(uint64_t cursor)
{
	return (uint32_t)cursor;
}

static uint64_t cursor(uint32_t frames, uint32_t bytes)
{
	return (uint64_t)frames << 32 | bytes;
}

int inbox_init(struct inbox *in)
{
	in->bytes = aligned_alloc(ALIGN_TO, INBOX_BYTES);
	return in->bytes ? 0 : -ENOMEM;
}

void inbox_destroy(struct inbox *in)
{
	free(in->bytes);
	in->bytes = NULL;
}

/* Where a frame of len bytes would begin, in bytes ever. */
static uint32_t place(uint32_t from, uint32_t len)
{
	uint32_t left = INBOX_BYTES - from % INBOX_BYTES;

	return len > left ? from + left : from;
}

uint8_t *inbox_reserve(struct inbox *in, uint32_t len, uint32_t *ticket)
{
	/* First the head: it is not behind a tail that is read later. */
	uint64_t head = atomic_load_explicit(&in->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&in->tail, memory_order_relaxed), next;
	struct inbox_slot *s;
	uint32_t at;

	do {
		at = place(bytes_of(tail), len);
		next = cursor(frames_of(tail) + 1, at + ALIGN_UP(len, ALIGN_TO));
		if (frames_of(next) - frames_of(head) > INBOX_FRAMES || bytes_of(next) - bytes_of(head) > INBOX_BYTES)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(&in->tail, &tail, next, memory_order_relaxed,
							memory_order_relaxed));
	*ticket = frames_of(tail);
	s = &in->slot[*ticket % INBOX_FRAMES];
	s->at = at % INBOX_BYTES;
	s->len = len;
	return in->bytes + s->at;
}

void inbox_ready(struct inbox *in, uint32_t ticket, const struct frame_meta *m)
{
	struct inbox_slot *s = &in->slot[ticket % INBOX_FRAMES];

	s->meta = *m;
	atomic_store_explicit(&s->ready, ticket + 1, memory_order_release);
}

uint32_t inbox_arrived(struct inbox *in)
{
	uint32_t before = in->seen;

	while (atomic_load_explicit(&in->slot[in->seen % INBOX_FRAMES].ready, memory_order_acquire) == in->seen + 1)
		in->seen++;
	return in->seen - before;
}

const struct inbox_slot *inbox_first(const struct inbox *in)
{
	uint32_t ticket = frames_of(atomic_load_explicit(&in->head, memory_order_relaxed));

	return ticket == in->seen ? NULL : &in->slot[ticket % INBOX_FRAMES];
}

void inbox_pop(struct inbox *in)
{
	uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
	uint32_t ticket = frames_of(head), len = in->slot[ticket % INBOX_FRAMES].len;

	head = cursor(ticket + 1, place(bytes_of(head), len) + ALIGN_UP(len, ALIGN_TO));
	atomic_store_explicit(&in->head, head, memory_order_release);
}
