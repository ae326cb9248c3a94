/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring of records, each a head and the frame's bytes in one piece. A record that does not fit before the end of the
 * memory begins at its start; `end` is then where the records before that end.
 *
 *	not wrapped (head <= tail):	[  free  |head ... tail|  free   ]	end == size
 *	wrapped (head >= tail):		[... tail|  free  |head ... end|  ]
 */
#include "net/frameq.h"

#include <stdlib.h>

#include "base/iov.h"

struct record {
	uint32_t size; /* of the record, this head included; a multiple of its alignment */
	uint32_t len;  /* of the frame */
	struct frame_meta meta;
};

#define RECORD_ALIGN 16

struct frameq {
	uint8_t *mem;
	uint32_t size, end;
	uint32_t head, tail;
	uint32_t count;
	bool wrapped;
};

static uint32_t record_size(size_t len)
{
	return (uint32_t)ALIGN_UP(sizeof(struct record) + len, (size_t)RECORD_ALIGN);
}

struct frameq *frameq_new(size_t bytes)
{
	struct frameq *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->size = q->end =
		(uint32_t)ALIGN_DOWN(MIN(MAX(bytes, (size_t)FRAMEQ_MIN), (size_t)FRAMEQ_MAX), (size_t)RECORD_ALIGN);
	q->mem = malloc(q->size);
	if (!q->mem) {
		free(q);
		return NULL;
	}
	return q;
}

void frameq_free(struct frameq *q)
{
	if (q)
		free(q->mem);
	free(q);
}

unsigned frameq_count(const struct frameq *q)
{
	return q->count;
}

/* Where a record of `size` bytes would begin; false: nowhere. */
static bool place(const struct frameq *q, uint32_t size, uint32_t *at)
{
	*at = q->tail;
	if (q->wrapped)
		return size <= q->head - q->tail;
	if (size <= q->size - q->tail)
		return true;
	*at = 0;
	return size <= q->head;
}

bool frameq_has_room(const struct frameq *q)
{
	uint32_t at;

	return place(q, record_size(NET_FRAME_MAX), &at);
}

bool frameq_put(struct frameq *q, const struct batch *b, const struct frame *f)
{
	uint32_t size = record_size(f->len), at;
	struct record *r;

	if (f->len > NET_FRAME_MAX || !place(q, size, &at))
		return false;
	r = (struct record *)(q->mem + at);
	if (iov_read_at(frame_iov(b, f), f->cnt, 0, r + 1, f->len) != f->len)
		return false;
	r->size = size;
	r->len = f->len;
	r->meta = f->meta;
	if (at < q->tail) {
		q->end = q->tail;
		q->wrapped = true;
	}
	q->tail = at + size;
	q->count++;
	return true;
}

unsigned frameq_head(const struct frameq *q, struct batch *b)
{
	uint32_t at = q->head;

	b->n = 0;
	while (b->n < q->count && b->n < NET_BATCH) {
		struct record *r = (struct record *)(q->mem + (at == q->end ? at = 0 : at));
		struct frame *f = &b->frame[b->n];

		*f = (struct frame){ .meta = r->meta, .iov = 2 * b->n + 1, .cnt = 1, .len = r->len, .token = b->n };
		*frame_iov(b, f) = (struct iovec){ r + 1, r->len };
		at += r->size;
		b->n++;
	}
	return b->n;
}

void frameq_pop(struct frameq *q, unsigned n)
{
	for (; n && q->count; n--, q->count--) {
		if (q->head == q->end) {
			q->head = 0;
			q->end = q->size;
			q->wrapped = false;
		}
		q->head += ((struct record *)(q->mem + q->head))->size;
	}
	if (!q->count) { /* the same memory again: it is in the cache */
		q->head = q->tail = 0;
		q->end = q->size;
		q->wrapped = false;
	}
}
