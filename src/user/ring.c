/* SPDX-License-Identifier: BSD-2-Clause */
/* Frame rings between processes: see ring.h for the rules. */
#include <sys/mman.h>

#include "user/ring.h"

uint8_t *ring_map(int fd, size_t offset, uint32_t size)
{
	uint8_t *p = mmap(NULL, 2 * (size_t)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	for (unsigned i = 0; i < 2; i++) {
		if (mmap(p + i * (size_t)size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 (off_t)offset) == MAP_FAILED) {
			ring_unmap(p, size);
			return NULL;
		}
	}
	return p;
}

void ring_unmap(uint8_t *data, uint32_t size)
{
	if (data)
		munmap(data, 2 * (size_t)size);
}

void ring_init(struct ring *r, struct ring_ctl *ctl, uint8_t *data, uint32_t size)
{
	*r = (struct ring){ .ctl = ctl, .data = data, .size = size };
}

static uint32_t record_size(uint32_t len)
{
	return ALIGN_UP((uint32_t)sizeof(struct ring_record) + len, (uint32_t)RING_ALIGN);
}

/* Take the other side's index if it is possible: it lies `behind`..`behind` + size on the way, and is aligned. */
static bool see_tail(struct ring *r)
{
	uint32_t tail = atomic_load(&r->ctl->tail);

	if (r->pos - tail > r->size || tail % RING_ALIGN || r->pos - tail > r->pos - r->other)
		r->broken = true;
	else
		r->other = tail;
	return !r->broken;
}

static bool see_head(struct ring *r)
{
	uint32_t head = atomic_load(&r->ctl->head);

	if (head - r->pos > r->size || head % RING_ALIGN || head - r->pos < r->other - r->pos)
		r->broken = true;
	else
		r->other = head;
	return !r->broken;
}

uint32_t ring_room(struct ring *r)
{
	if (r->broken || !see_tail(r))
		return 0;
	return r->size - (r->pos - r->other);
}

uint8_t *ring_reserve(struct ring *r, uint32_t len)
{
	uint32_t need = record_size(len);

	if (r->broken || len > RING_FRAME_MAX)
		return NULL;
	if (r->size - (r->pos - r->other) < need && ring_room(r) < need)
		return NULL;
	return r->data + r->pos % r->size + sizeof(struct ring_record);
}

void ring_push(struct ring *r, uint32_t len, const struct virtio_net_hdr *hdr)
{
	struct ring_record *rec = (struct ring_record *)(r->data + r->pos % r->size);

	*rec = (struct ring_record){ .len = len, .hdr = *hdr };
	r->pos += record_size(len);
}

bool ring_publish(struct ring *r)
{
	if (r->pos == r->shown)
		return false;
	atomic_store(&r->ctl->head, r->pos);
	r->shown = r->pos;
	return atomic_load(&r->ctl->want_data) && atomic_exchange(&r->ctl->want_data, 0);
}

bool ring_ask_room(struct ring *r)
{
	atomic_store(&r->ctl->want_room, 1);
	if (ring_room(r) < r->size / 2)
		return true;
	atomic_store(&r->ctl->want_room, 0);
	return false;
}

enum ring_result ring_peek(struct ring *r, struct ring_frame *f)
{
	struct ring_record rec;
	uint32_t there;

	if (r->broken)
		return RING_BROKEN;
	if (r->other == r->pos && !see_head(r))
		return RING_BROKEN;
	there = r->other - r->pos;
	if (!there)
		return RING_EMPTY;
	/* Indices are aligned to a header's size, so a whole header is there. One copy, and only that is used. */
	rec.len = READ_ONCE(((struct ring_record *)(r->data + r->pos % r->size))->len);
	memcpy(&rec.hdr, r->data + r->pos % r->size + offsetof(struct ring_record, hdr), sizeof(rec.hdr));
	if (rec.len < RING_FRAME_MIN || rec.len > RING_FRAME_MAX || record_size(rec.len) > there) {
		r->broken = true;
		return RING_BROKEN;
	}
	*f = (struct ring_frame){ r->data + r->pos % r->size + sizeof(rec), rec.len, rec.hdr };
	return RING_FRAME;
}

void ring_pop(struct ring *r, const struct ring_frame *f)
{
	r->pos += record_size(f->len);
}

bool ring_release(struct ring *r)
{
	if (r->pos == r->shown)
		return false;
	atomic_store(&r->ctl->tail, r->pos);
	r->shown = r->pos;
	if (!atomic_load(&r->ctl->want_room))
		return false;
	/*
	 * What the producer published meanwhile counts as used: by its index as it is now, if that is a possible one.
	 */
	return see_head(r) && r->other - r->pos <= r->size / 2 && atomic_exchange(&r->ctl->want_room, 0);
}

bool ring_ask_data(struct ring *r)
{
	if (r->broken)
		return true; /* nothing will ever be there; the owner looks at `broken` */
	atomic_store(&r->ctl->want_data, 1);
	if (see_head(r) && r->other == r->pos)
		return true;
	atomic_store(&r->ctl->want_data, 0);
	return r->broken;
}

void ring_awake(struct ring *r)
{
	if (atomic_load_explicit(&r->ctl->want_data, memory_order_relaxed))
		atomic_store(&r->ctl->want_data, 0);
}
