/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues, device side (virtio 1.2, chapter 2.7).
 *
 * Indices run freely modulo 2^16; the queue's size is a power of two, so an index is masked to find its slot.
 *
 *	last_avail <= shadow_avail <= the driver's avail.idx		taken, seen, posted
 *	used_published <= used_idx					visible to the driver, filled
 *
 * Barriers. There are four places where the order of accesses to shared memory matters:
 *  - avail.idx is loaded with acquire: ring entries and descriptors are read after it.
 *  - used.idx is stored with release: used entries (and the frames) are written before it.
 *  - Between the store of used.idx and the load of used_event or avail.flags there is a full barrier. The driver stores
 *    used_event, and then loads used.idx; one of the two sees the other's store, or a call would be lost.
 *  - Between the store of avail_event or used.flags and the load of avail.idx there is one for the same reason: a kick
 *    would be lost.
 * On x86 the first two are plain accesses.
 */
#include "virtio/ring_chain.h"

static inline uint16_t guest_u16_acquire(const uint16_t *p)
{
	uint16_t v = __atomic_load_n(p, __ATOMIC_ACQUIRE);

	GUEST_READ(p, sizeof(v));
	return le16toh(v);
}

static inline uint16_t *avail_event(const struct virtq *q)
{
	return (uint16_t *)&q->used->ring[q->size];
}

/* ---- configuration ---- */

static size_t desc_bytes(const struct virtq *q)
{
	return sizeof(struct vring_desc) * q->size;
}

/* Both with the event index behind the ring, whether it is used or not: 2.7 reserves its place. */
static size_t avail_bytes(const struct virtq *q)
{
	return sizeof(struct vring_avail) + sizeof(uint16_t) * q->size + sizeof(uint16_t);
}

static size_t used_bytes(const struct virtq *q)
{
	return sizeof(struct vring_used) + sizeof(struct vring_used_elem) * q->size + sizeof(uint16_t);
}

int virtq_split_check(const struct virtq *q, const struct dma *dma)
{
	if (!is_power_of_2(q->size))
		return -EINVAL;
	if (q->desc_gpa % VRING_DESC_ALIGN_SIZE || q->driver_gpa % VRING_AVAIL_ALIGN_SIZE ||
	    q->device_gpa % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	if (!ram_ptr(dma->ram, q->desc_gpa, desc_bytes(q)) || !ram_ptr(dma->ram, q->driver_gpa, avail_bytes(q)) ||
	    !ram_ptr(dma->ram, q->device_gpa, used_bytes(q)))
		return -EINVAL;
	return 0;
}

void virtq_split_map(struct virtq *q, struct dma *dma, uint16_t base)
{
	q->desc = ram_ptr(dma->ram, q->desc_gpa, desc_bytes(q));
	q->avail = ram_ptr(dma->ram, q->driver_gpa, avail_bytes(q));
	q->used = ram_ptr(dma->ram, q->device_gpa, used_bytes(q));
	q->last_avail = q->shadow_avail = base;
	q->used_idx = q->used_published = q->signalled = base;
	q->signalled_valid = false;
	if (q->event_idx)
		WRITE_ONCE(q->used->flags, 0);
}

/* ---- taking chains ---- */

/* Read the driver's index anew. True if something is there that was not taken. */
static bool look(struct virtq *q)
{
	uint16_t idx;

	idx = guest_u16_acquire((const uint16_t *)&q->avail->idx);
	if (unlikely((uint16_t)(idx - q->last_avail) > q->size)) {
		broken(q, VIRTQ_FAULT_AVAIL_IDX);
		return false;
	}
	q->shadow_avail = idx;
	return idx != q->last_avail;
}

/*
 * Walk the chain from descriptor `head` on, which is `d`. The bound is a count: a table of n entries has no chain of
 * more than n, so whatever a loop looks like, it is left after n steps. The count starts anew in an indirect table,
 * once: that it is one cannot be told from its address, as the driver may name the queue's own descriptors.
 */
static __attribute__((noinline)) int walk(struct virtq *q, struct vring_desc d, unsigned head, struct iovec *iov,
					  unsigned max, struct vchain *c)
{
	const struct vring_desc *table = q->desc;
	struct found f = { .iov = iov, .max = max };
	unsigned size = q->size, steps = 0, i = head;
	bool indirect = false;
	int r;

	for (;; d = guest_desc(table, i)) {
		if (unlikely(steps++ == size || f.n == VIRTQ_CHAIN_MAX))
			return broken(q, VIRTQ_FAULT_LOOP);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			table = unlikely(indirect) ? NULL : indirect_table(q, &d, &size);
			if (unlikely(!table))
				return broken(q, VIRTQ_FAULT_INDIRECT);
			indirect = true;
			steps = i = 0;
			continue;
		}
		r = find_buffer(q, &f, &d);
		if (unlikely(r))
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		i = d.next;
		if (unlikely(i >= size))
			return broken(q, VIRTQ_FAULT_NEXT);
	}
	return found_chain(q, &f, head, c);
}

int virtq_split_pop(struct virtq *q, struct iovec *iov, unsigned max, struct vchain *c)
{
	uint64_t *word, bit;
	struct vring_desc d;
	unsigned head;
	int r;

	if (q->last_avail == q->shadow_avail && !look(q))
		return q->fault ? -EPROTO : 0;
	head = guest_u16((const uint16_t *)&q->avail->ring[q->last_avail & (q->size - 1)]);
	if (unlikely(head >= q->size))
		return broken(q, VIRTQ_FAULT_HEAD);
	word = &q->in_flight[head / 64];
	bit = BIT(head % 64);
	if (unlikely(*word & bit))
		return broken(q, VIRTQ_FAULT_IN_FLIGHT);
	d = guest_desc(q->desc, head);
	if (likely(!(d.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT))))
		r = single_buffer(q, &d, head, iov, max, c);
	else
		r = walk(q, d, head, iov, max, c);
	if (unlikely(r < 0))
		return r;
	*word |= bit;
	q->n_in_flight++;
	q->last_avail++;
	return 1;
}

void virtq_split_unpop(struct virtq *q, const uint16_t *heads, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		q->in_flight[heads[i] / 64] &= ~BIT(heads[i] % 64);
	q->n_in_flight -= n;
	q->last_avail -= n;
}

/* ---- giving chains back ---- */

void virtq_split_push(struct virtq *q, uint16_t head, uint32_t written)
{
	struct vring_used_elem *e;

	uint16_t at = q->used_idx;

	if (unlikely(q->in_order)) {
		at = q->skipping ? q->batch_at : at;
		q->batch_at = at;
		q->skipping = !written;
	}
	e = &q->used->ring[at & (q->size - 1)];
	e->id = htole32(head);
	e->len = htole32(written);
	q->in_flight[head / 64] &= ~BIT(head % 64);
	q->n_in_flight--;
	q->used_idx++;
}

static inline void store_used_idx(struct virtq *q)
{
	__atomic_store_n(&q->used->idx, htole16(q->used_idx), __ATOMIC_RELEASE);
	dma_dirty(q->dma, q->device_gpa, used_bytes(q));
	counter_add(&q->stats.chains, (uint16_t)(q->used_idx - q->used_published));
	q->used_published = q->used_idx;
	q->skipping = false;
}

void virtq_split_store_used(struct virtq *q)
{
	if (q->used_idx != q->used_published)
		store_used_idx(q);
}

/* Nothing is under way, and nothing more posted. */
static bool ran_empty(struct virtq *q)
{
	return !q->n_in_flight && guest_u16((const uint16_t *)&q->avail->idx) == q->last_avail;
}

/*
 * Does the driver want to hear of the entries from `old` on? (2.7.7; of an empty ring, whatever it suppresses, by
 * NOTIFY_ON_EMPTY: 6.3)
 */
static bool wants_call(struct virtq *q, uint16_t old)
{
	bool valid = q->signalled_valid;

	if (unlikely(q->notify_on_empty) && ran_empty(q)) {
		q->signalled_valid = true;
		return true;
	}
	if (!q->event_idx)
		return !(guest_u16((const uint16_t *)&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	q->signalled_valid = true;
	return vring_need_event(guest_u16((const uint16_t *)&q->avail->ring[q->size]), q->used_idx, old) || !valid;
}

bool virtq_split_ask(struct virtq *q)
{
	uint16_t old = q->signalled;

	if (old == q->used_published)
		return false;
	q->signalled = q->used_published;
	atomic_thread_fence(memory_order_seq_cst);
	if (!wants_call(q, old)) {
		counter_add(&q->stats.calls_suppressed, 1);
		return false;
	}
	counter_add(&q->stats.calls, 1);
	return true;
}

/* ---- kicks ---- */

/* With the event index there is nothing to write: the index that was asked for is passed once, and stays behind. */
void virtq_split_kick_disable(struct virtq *q)
{
	if (!q->event_idx)
		WRITE_ONCE(q->used->flags, htole16(VRING_USED_F_NO_NOTIFY));
}

bool virtq_split_kick_enable(struct virtq *q)
{
	if (q->event_idx)
		WRITE_ONCE(*avail_event(q), htole16(q->last_avail));
	else
		WRITE_ONCE(q->used->flags, 0);
	dma_dirty(q->dma, q->device_gpa, used_bytes(q));
	atomic_thread_fence(memory_order_seq_cst);
	return look(q);
}

void virtq_split_kick_revoke(struct virtq *q)
{
	virtq_split_kick_disable(q);
	if (!q->event_idx)
		return;
	WRITE_ONCE(*avail_event(q), htole16((uint16_t)(q->last_avail - 1)));
	dma_dirty(q->dma, q->device_gpa, used_bytes(q));
}

bool virtq_split_waits(const struct virtq *q)
{
	return q->shadow_avail != q->last_avail || guest_u16((const uint16_t *)&q->avail->idx) != q->last_avail;
}
