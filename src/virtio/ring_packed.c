/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packed virtqueues, device side (virtio 1.2, chapter 2.8).
 *
 * One ring of any size; what a descriptor is, its flags AVAIL and USED say against a wrap counter, which each side
 * toggles when it passes the ring's end. Three places follow one another around it:
 *
 *	first unpublished <= used_at	visible to the driver up to here; filled up to here
 *	used_at <= avail_at		taken and in flight; after that the driver's or free
 *
 * A wrap counter is kept as what it is good for: avail_flags are the two bits of a descriptor at avail_at that the
 * driver made available, used_flags those that a used one at used_at gets.
 *
 * Used descriptors. A chain of n descriptors is used by one of them, and the next one is written n places further on,
 * so for each id in flight its n is kept (span). All used descriptors of a batch but the first are written at once; the
 * first one's second word, which has length, id and flags, is stored by the publish, with release: the driver looks at
 * that place and at no other, so nothing of the batch is seen before all of it is (2.8.9 wants that of a frame in
 * several buffers).
 *
 * A ring cannot be overtaken. The descriptors in flight are counted: the driver has none left to make available once
 * that many are the ring, and a chain may not reach beyond those that are left. Whatever flags say, there is always an
 * end, and whether something is there costs one load.
 *
 * Barriers are as in ring_split.c: flags are loaded with acquire and stored with release, and between the store of
 * flags and the load of the driver's event suppression, as between the store of ours and the load of flags, there is a
 * full barrier. An event suppression structure is one word, read and written by one access.
 */
#include "virtio/ring_chain.h"

#define F_AVAIL	 (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	 (1u << VRING_PACKED_DESC_F_USED)
#define F_BOTH	 (F_AVAIL | F_USED)
#define WRAP	 0x8000u
#define EV_ALIGN 4

static inline uint64_t *second_word(const struct virtq *q, unsigned i)
{
	return (uint64_t *)&q->packed.ring[i].len;
}

/* Flags, id and length, from the top down. */
static inline uint64_t guest_second(const struct virtq *q, unsigned i)
{
	const uint64_t *p = second_word(q, i);
	uint64_t v = __atomic_load_n(p, __ATOMIC_ACQUIRE);

	GUEST_READ(p, sizeof(v));
	return le64toh(v);
}

static inline uint64_t guest_addr(const struct virtq *q, unsigned i)
{
	const uint64_t *p = (const uint64_t *)&q->packed.ring[i].addr;
	uint64_t v = READ_ONCE(*p);

	GUEST_READ(p, sizeof(v));
	return le64toh(v);
}

/* Off and wrap counter in the lower half, flags in the upper one. */
static inline uint32_t guest_event(const struct vring_packed_desc_event *e)
{
	const uint32_t *p = (const uint32_t *)e;
	uint32_t v = READ_ONCE(*p);

	GUEST_READ(p, sizeof(v));
	return le32toh(v);
}

/* ---- configuration ---- */

static size_t ring_bytes(const struct virtq *q)
{
	return sizeof(struct vring_packed_desc) * q->size;
}

int virtq_packed_check(const struct virtq *q, const struct dma *dma)
{
	const size_t event = sizeof(struct vring_packed_desc_event);

	if (q->size == 0 || q->desc_gpa % sizeof(struct vring_packed_desc) || q->driver_gpa % EV_ALIGN ||
	    q->device_gpa % EV_ALIGN)
		return -EINVAL;
	if (!ram_ptr(dma->ram, q->desc_gpa, ring_bytes(q)) || !ram_ptr(dma->ram, q->driver_gpa, event) ||
	    !ram_ptr(dma->ram, q->device_gpa, event))
		return -EINVAL;
	return 0;
}

static void store_event(struct virtq *q, uint32_t event)
{
	if (q->packed.event == event)
		return;
	q->packed.event = event;
	WRITE_ONCE(*(uint32_t *)q->packed.device_event, htole32(event));
	dma_dirty(q->dma, q->device_gpa, sizeof(event));
}

void virtq_packed_map(struct virtq *q, struct dma *dma, uint16_t base)
{
	uint16_t at = base & (uint16_t)~WRAP;
	bool wrap = base & WRAP;

	memset(&q->packed, 0, sizeof(q->packed));
	q->packed.ring = ram_ptr(dma->ram, q->desc_gpa, ring_bytes(q));
	q->packed.driver_event = ram_ptr(dma->ram, q->driver_gpa, sizeof(struct vring_packed_desc_event));
	q->packed.device_event = ram_ptr(dma->ram, q->device_gpa, sizeof(struct vring_packed_desc_event));
	q->packed.avail_at = q->packed.used_at = at;
	q->packed.avail_flags = wrap ? F_AVAIL : F_USED;
	q->packed.used_flags = wrap ? F_BOTH : 0;
	q->packed.event = UINT32_MAX; /* unknown */
	store_event(q, VRING_PACKED_EVENT_FLAG_ENABLE);
}

/* ---- taking chains ---- */

static inline bool is_available(const struct virtq *q, unsigned flags)
{
	return (flags & F_BOTH) == q->packed.avail_flags;
}

/* The buffers of an indirect table: they follow one another, and of their flags only WRITE counts. */
static int walk_table(struct virtq *q, struct found *f, const struct vring_desc *d)
{
	const struct vring_desc *table;
	unsigned n;

	table = indirect_table(q, d, &n);
	if (unlikely(!table))
		return broken(q, VIRTQ_FAULT_INDIRECT);
	for (unsigned i = 0; i < n; i++) {
		struct vring_desc entry = guest_desc(table, i);
		int r;

		entry.flags = entry.next; /* what is in its place there is the id, which counts for nothing */
		r = find_buffer(q, f, &entry);

		if (unlikely(r))
			return r;
	}
	return 0;
}

static inline struct vring_desc desc_of(const struct virtq *q, unsigned i, uint64_t second)
{
	return (struct vring_desc){ guest_addr(q, i), (uint32_t)second, (uint16_t)(second >> 48),
				    (uint16_t)(second >> 32) };
}

/*
 * Walk the chain that begins at avail_at and whose first second word is `second`. Returns its descriptors, at most
 * `room`, and in *id the last one's; or negative.
 */
static inline int walk_ring(struct virtq *q, struct found *f, uint64_t second, unsigned room, unsigned *id)
{
	unsigned i = q->packed.avail_at, n = 0;

	*id = 0;
	for (;;) {
		struct vring_desc d = desc_of(q, i, second);
		int r;

		if (likely(!(d.flags & VRING_DESC_F_INDIRECT)))
			r = find_buffer(q, f, &d);
		else if (unlikely(n)) /* a list has descriptors of one kind (2.8.5) */
			r = broken(q, VIRTQ_FAULT_INDIRECT);
		else
			r = walk_table(q, f, &d);
		if (unlikely(r))
			return r;
		n++;
		*id = d.next;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return (int)n;
		if (unlikely(n == room))
			return broken(q, VIRTQ_FAULT_LOOP);
		if (unlikely(++i == q->size))
			i = 0;
		second = guest_second(q, i);
	}
}

static inline void pass_avail(struct virtq *q, unsigned n)
{
	unsigned at = q->packed.avail_at + n;

	if (unlikely(at >= q->size)) {
		at -= q->size;
		q->packed.avail_flags ^= F_BOTH;
	}
	q->packed.avail_at = (uint16_t)at;
	q->n_in_flight += n;
}

/* More than one descriptor. Returns how many places they take, and in *c the chain but for its head; or negative. */
static __attribute__((noinline)) int pop_chain(struct virtq *q, uint64_t second, unsigned room, struct iovec *iov,
					       unsigned max, unsigned *id, struct vchain *c)
{
	struct found f = { .iov = iov, .max = max };
	int n = walk_ring(q, &f, second, room, id);
	int r = n < 0 ? n : found_chain(q, &f, 0, c);

	return r < 0 ? r : n;
}

int virtq_packed_pop(struct virtq *q, struct iovec *iov, unsigned max, struct vchain *c)
{
	uint64_t *word, bit, second = guest_second(q, q->packed.avail_at);
	unsigned flags = (unsigned)(second >> 48), room = q->size - q->n_in_flight, id;
	int n;

	if (!is_available(q, flags))
		return 0;
	if (unlikely(!room))
		return broken(q, VIRTQ_FAULT_OVERRUN);
	if (likely(!(flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)))) {
		struct vring_desc d = desc_of(q, q->packed.avail_at, second);

		id = d.next;
		n = single_buffer(q, &d, id, iov, max, c);
	} else {
		n = pop_chain(q, second, room, iov, max, &id, c);
	}
	if (unlikely(n < 0))
		return n;
	if (unlikely(id >= q->size))
		return broken(q, VIRTQ_FAULT_HEAD);
	word = &q->in_flight[id / 64];
	bit = BIT(id % 64);
	if (unlikely(*word & bit))
		return broken(q, VIRTQ_FAULT_IN_FLIGHT);
	c->head = (uint16_t)id;
	*word |= bit;
	q->span[id] = (uint16_t)n;
	pass_avail(q, (unsigned)n);
	return 1;
}

void virtq_packed_unpop(struct virtq *q, const uint16_t *heads, unsigned n)
{
	unsigned back = 0;

	for (unsigned i = 0; i < n; i++) {
		q->in_flight[heads[i] / 64] &= ~BIT(heads[i] % 64);
		back += q->span[heads[i]];
	}
	q->n_in_flight -= back;
	if (back > q->packed.avail_at) {
		q->packed.avail_at = (uint16_t)(q->packed.avail_at + q->size);
		q->packed.avail_flags ^= F_BOTH;
	}
	q->packed.avail_at = (uint16_t)(q->packed.avail_at - back);
}

/* ---- giving chains back ---- */

static inline void pass_used(struct virtq *q, unsigned n)
{
	unsigned at = q->packed.used_at + n;

	if (unlikely(at >= q->size)) {
		at -= q->size;
		q->packed.used_flags ^= F_BOTH;
	}
	q->packed.used_at = (uint16_t)at;
	q->packed.n_passed = (uint16_t)(q->packed.n_passed + n);
	q->n_in_flight -= n;
}

/* Where the entry of the next chain goes is where the last one is, if that stands for it as well. */
static inline void in_order_place(struct virtq *q, uint32_t written)
{
	if (!q->skipping) {
		q->batch_at = q->packed.used_at;
		q->packed.batch_flags = q->packed.used_flags;
	}
	q->skipping = !written;
}

void virtq_packed_push(struct virtq *q, uint16_t head, uint32_t written)
{
	unsigned at = q->packed.used_at, flags = q->packed.used_flags;
	uint64_t second;

	if (unlikely(q->in_order)) {
		in_order_place(q, written);
		at = q->batch_at;
		flags = q->packed.batch_flags;
	}
	flags |= written ? VRING_DESC_F_WRITE : 0;
	second = (uint64_t)flags << 48 | (uint64_t)head << 32 | written;
	if (!q->packed.n_filled++)
		q->packed.first_at = (uint16_t)at;
	if (at == q->packed.first_at)
		q->packed.first = second;
	else
		WRITE_ONCE(*second_word(q, at), htole64(second));
	q->in_flight[head / 64] &= ~BIT(head % 64);
	pass_used(q, q->span[head]);
}

void virtq_packed_store_used(struct virtq *q)
{
	if (!q->packed.n_filled)
		return;
	__atomic_store_n(second_word(q, q->packed.first_at), htole64(q->packed.first), __ATOMIC_RELEASE);
	dma_dirty(q->dma, q->desc_gpa, ring_bytes(q));
	counter_add(&q->stats.chains, q->packed.n_filled);
	q->packed.n_filled = 0;
	q->skipping = false;
}

/*
 * Does the driver want to hear of the n descriptors that were passed before used_at? (2.8.10) What makes no sense, a
 * reserved flag or a place outside of the ring, is taken for yes.
 */
static bool wants_packed_call(struct virtq *q, unsigned n)
{
	uint32_t event = guest_event(q->packed.driver_event);
	unsigned flags = event >> 16 & 3, at = event & ~WRAP & UINT16_MAX, end = q->packed.used_at;
	bool wrap = event & WRAP;

	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !q->event_idx || at >= q->size)
		return true;
	/* Its place lies in this lap of the ring, or in the last one. */
	if (wrap != !!q->packed.used_flags)
		end += q->size;
	return at < end && end - at <= n;
}

bool virtq_packed_ask(struct virtq *q)
{
	unsigned n = q->packed.n_passed;

	if (!n)
		return false;
	q->packed.n_passed = 0;
	atomic_thread_fence(memory_order_seq_cst);
	if (!wants_packed_call(q, n)) {
		counter_add(&q->stats.calls_suppressed, 1);
		return false;
	}
	counter_add(&q->stats.calls, 1);
	return true;
}

/* ---- kicks ---- */

void virtq_packed_kick_disable(struct virtq *q)
{
	store_event(q, (uint32_t)VRING_PACKED_EVENT_FLAG_DISABLE << 16);
}

bool virtq_packed_kick_enable(struct virtq *q)
{
	uint32_t event = (uint32_t)VRING_PACKED_EVENT_FLAG_ENABLE << 16;

	if (q->event_idx)
		event = (uint32_t)VRING_PACKED_EVENT_FLAG_DESC << 16 | (q->packed.avail_flags == F_AVAIL ? WRAP : 0) |
			q->packed.avail_at;
	store_event(q, event);
	atomic_thread_fence(memory_order_seq_cst);
	return virtq_packed_waits(q);
}

bool virtq_packed_waits(const struct virtq *q)
{
	unsigned flags = guest_u16(&q->packed.ring[q->packed.avail_at].flags);

	return is_available(q, flags) && q->n_in_flight < q->size;
}
