/* SPDX-License-Identifier: BSD-2-Clause */
/* What split and packed virtqueues share: see ring.h. */
#include "virtio/ring.h"

#define WRAP 0x8000u

const char *virtq_fault_text(enum virtq_fault f)
{
	static const char *const text[] = { "fine",
#define X(sym, text) text,
					    VIRTQ_FAULTS(X)
#undef X
	};

	return text[f];
}

int virtq_check(const struct virtq *q, const struct dma *dma, bool packed)
{
	if (q->size > q->max_size || q->max_size > VIRTQ_SIZE_MAX)
		return -EINVAL;
	return packed ? virtq_packed_check(q, dma) : virtq_split_check(q, dma);
}

/* ---- position ---- */

struct virtq_base virtq_base_first(bool packed)
{
	uint16_t at = packed ? WRAP : 0;

	return (struct virtq_base){ at, at };
}

static uint16_t packed_base(unsigned at, unsigned flags, unsigned wrapped)
{
	return (uint16_t)(at | (flags == wrapped ? WRAP : 0));
}

struct virtq_base virtq_base_get(const struct virtq *q)
{
	const unsigned avail = 1u << VRING_PACKED_DESC_F_AVAIL, used = 1u << VRING_PACKED_DESC_F_USED;

	if (q->mode == VIRTQ_PACKED)
		return (struct virtq_base){ packed_base(q->packed.avail_at, q->packed.avail_flags, avail),
					    packed_base(q->packed.used_at, q->packed.used_flags, avail | used) };
	return (struct virtq_base){ q->last_avail, q->used_idx };
}

/* ---- life ---- */

int virtq_start(struct virtq *q, struct dma *dma, const struct virtq_features *f, const struct virtq_base *base)
{
	struct virtq_base from = base ? *base : virtq_base_first(f->packed);

	if (from.avail != from.used || (f->packed && (from.avail & ~WRAP) >= q->size))
		return -EINVAL;
	q->dma = dma;
	q->event_idx = f->event_idx;
	q->indirect = f->indirect;
	q->in_order = f->in_order;
	q->skipping = false;
	q->notify_on_empty = f->notify_on_empty;
	q->fault = VIRTQ_FINE;
	q->mode = VIRTQ_OFF;
	memset(q->in_flight, 0, sizeof(q->in_flight));
	q->n_in_flight = 0;
	if (virtq_check(q, dma, f->packed) == 0 && atomic_load(&dma->on)) {
		if (f->packed)
			virtq_packed_map(q, dma, from.avail);
		else
			virtq_split_map(q, dma, from.avail);
		q->running = true;
	}
	if (!q->running) {
		q->fault = VIRTQ_FAULT_RING;
		return -EFAULT;
	}
	q->mode = f->packed ? VIRTQ_PACKED : VIRTQ_SPLIT;
	return 0;
}

void virtq_stop(struct virtq *q)
{
	q->running = false;
	q->mode = VIRTQ_OFF;
	q->n_in_flight = 0;
}

/* What was filled before the fault is counted as delivered, so it is published; after that nothing is touched. */
void virtq_break(struct virtq *q, enum virtq_fault why)
{
	if (q->fault)
		return;
	q->fault = why;
	counter_add(&q->stats.faults, 1);
	if (q->mode == VIRTQ_SPLIT)
		virtq_split_store_used(q);
	else if (q->mode == VIRTQ_PACKED)
		virtq_packed_store_used(q);
	q->mode = VIRTQ_OFF;
}
