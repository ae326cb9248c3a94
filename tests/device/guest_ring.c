/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rings of the guest in guest.h: the driver's side of split and packed virtqueues (virtio 1.2, 2.7 and 2.8), in order
 * or not, written to be read beside the standard.
 */
#include <unistd.h>

#include "guest.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	(1u << VRING_PACKED_DESC_F_USED)
#define WRAP	(1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static bool event_idx(const struct gq *q)
{
	return virtio_has(q->b->v, VIRTIO_RING_F_EVENT_IDX);
}

void gq_init(struct bench *b, unsigned index, uint16_t size)
{
	struct gq *q = &b->q[index];

	*q = (struct gq){ .b = b, .index = index, .size = size, .gpa = RING_GPA(index) };
	q->packed = virtio_has(b->v, VIRTIO_F_RING_PACKED);
	q->in_order = virtio_has(b->v, VIRTIO_F_IN_ORDER);
	q->desc = at(b, q->gpa);
	q->avail = at(b, q->gpa + AVAIL_OFF);
	q->used = at(b, q->gpa + USED_OFF);
	q->ring = at(b, q->gpa);
	q->driver = at(b, q->gpa + AVAIL_OFF);
	q->device = at(b, q->gpa + USED_OFF);
	q->put_wrap = q->take_wrap = true;
	name_range(b, q->gpa, 0x8000);
	memset(q->desc, 0, 0x8000);
	q->n_free = size;
	for (uint16_t k = 0; k < size; k++)
		q->next[k] = (uint16_t)(k + 1);
}

/* ---- posting ---- */

void set_desc(struct gq *q, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	q->desc[i] = (struct vring_desc){ gpa, len, flags, next };
}

void post(struct gq *q, uint16_t head)
{
	q->avail->ring[q->posted % q->size] = head;
	__atomic_store_n(&q->avail->idx, ++q->posted, __ATOMIC_RELEASE);
}

/* The k-th of the chains that wait to be used. */
static uint16_t *waiting(const struct gq *q, unsigned k)
{
	return (uint16_t *)&q->order[(unsigned)(q->seen + k) % VIRTQ_SIZE_MAX];
}

static void remember(struct gq *q, uint16_t head)
{
	if (!q->packed && !q->in_order)
		return;
	*waiting(q, q->n_order++) = head;
}

static uint16_t take_desc(struct gq *q)
{
	uint16_t i = q->free_head;

	assert_true(q->n_free > 0);
	q->free_head = q->next[i];
	q->n_free--;
	return i;
}

static uint16_t flags_of(const struct seg *s, bool more)
{
	return (uint16_t)((s->write ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0));
}

static uint16_t chain_split(struct gq *q, const struct seg *s, unsigned n)
{
	uint16_t head = q->free_head, i = 0;

	for (unsigned k = 0; k < n; k++) {
		i = take_desc(q);
		set_desc(q, i, s[k].gpa, s[k].len, flags_of(&s[k], k + 1 < n), q->free_head);
	}
	q->next[i] = UINT16_MAX; /* the driver's own record of where the chain ends */
	remember(q, head);
	post(q, head);
	return head;
}

static void store_second(struct gq *q, unsigned at, const struct vring_packed_desc *d)
{
	uint64_t second;

	memcpy(&second, &d->len, sizeof(second));
	__atomic_store_n((uint64_t *)&q->ring[at].len, second, __ATOMIC_RELEASE);
}

/* Make descriptors available, the first one last; all of them have the chain's id. */
static uint16_t chain_packed(struct gq *q, const struct seg *s, unsigned n, uint16_t flag)
{
	uint16_t id = q->free_head, first = q->put_at;

	assert_true(q->n_free >= n);
	q->free_head = q->next[id];
	q->n_free = (uint16_t)(q->n_free - n);
	q->added = (uint16_t)(q->added + n);
	q->first[id] = first;
	q->span[id] = (uint16_t)n;
	for (unsigned k = 0; k < n; k++) {
		struct vring_packed_desc *d = &q->mine[q->put_at];

		*d = (struct vring_packed_desc){ s[k].gpa, s[k].len, id,
						 (uint16_t)(flags_of(&s[k], k + 1 < n) | flag |
							    (q->put_wrap ? F_AVAIL : F_USED)) };
		q->ring[q->put_at].addr = d->addr;
		if (k)
			store_second(q, q->put_at, d);
		if (++q->put_at == q->size) {
			q->put_at = 0;
			q->put_wrap = !q->put_wrap;
		}
	}
	remember(q, id);
	q->posted++;
	store_second(q, first, &q->mine[first]);
	return id;
}

uint16_t chain(struct gq *q, const struct seg *s, unsigned n)
{
	return q->packed ? chain_packed(q, s, n, 0) : chain_split(q, s, n);
}

/* Both kinds have descriptors of the same layout but for what is in the place of `next` and of `flags`. */
static void write_table(struct gq *q, uint64_t gpa, const struct seg *s, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		struct vring_desc d = { s[k].gpa, s[k].len, flags_of(&s[k], k + 1 < n), (uint16_t)(k + 1) };
		struct vring_packed_desc p = { s[k].gpa, s[k].len, 0, flags_of(&s[k], false) };

		memcpy((uint8_t *)at(q->b, gpa) + k * sizeof(d), q->packed ? (void *)&p : (void *)&d, sizeof(d));
	}
}

uint16_t chain_indirect(struct gq *q, const struct seg *s, unsigned n)
{
	uint32_t len = n * (uint32_t)sizeof(struct vring_desc);
	uint64_t gpa = buf(q->b, len);
	uint16_t head;

	write_table(q, gpa, s, n);
	if (q->packed)
		return chain_packed(q, &(struct seg){ gpa, len, false }, 1, VRING_DESC_F_INDIRECT);
	head = take_desc(q);
	set_desc(q, head, gpa, len, VRING_DESC_F_INDIRECT, 0);
	q->next[head] = UINT16_MAX;
	remember(q, head);
	post(q, head);
	return head;
}

void post_nonsense(struct gq *q)
{
	if (!q->packed) {
		post(q, UINT16_MAX);
		return;
	}
	q->ring[q->put_at] = (struct vring_packed_desc){ BUFS_GPA, 1, UINT16_MAX, q->put_wrap ? F_AVAIL : F_USED };
}

/* ---- kicks ---- */

void kick(struct gq *q)
{
	uint64_t one = 1;

	assert_int_equal(write(q->b->v->queue[q->index].kick_fd, &one, sizeof(one)), sizeof(one));
	q->kicked = q->posted;
	q->added = 0;
}

static bool packed_due(struct gq *q, uint16_t added)
{
	uint32_t e = READ_ONCE(*(uint32_t *)q->device);
	unsigned flags = e >> 16;
	uint16_t at = (uint16_t)(e & (WRAP - 1));

	assert_true(flags <= VRING_PACKED_EVENT_FLAG_DESC);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	assert_true(event_idx(q) && at < q->size);
	if (!!(e & WRAP) != q->put_wrap)
		at = (uint16_t)(at - q->size);
	return vring_need_event(at, q->put_at, (uint16_t)(q->put_at - added));
}

bool kick_if_due(struct gq *q)
{
	uint16_t old = q->kicked, added = q->added;
	bool due;

	q->kicked = q->posted;
	q->added = 0;
	atomic_thread_fence(memory_order_seq_cst);
	if (q->packed)
		due = packed_due(q, added);
	else if (event_idx(q))
		due = vring_need_event(READ_ONCE(*(uint16_t *)&q->used->ring[q->size]), q->posted, old);
	else
		due = !(READ_ONCE(q->used->flags) & VRING_USED_F_NO_NOTIFY);
	if (due)
		kick(q);
	return due;
}

/* ---- reaping ---- */

static bool used_at(const struct gq *q, unsigned at, bool wrap, uint64_t *second)
{
	unsigned flags;

	*second = __atomic_load_n((uint64_t *)&q->ring[at].len, __ATOMIC_ACQUIRE);
	flags = (unsigned)(*second >> 48);
	return !!(flags & F_AVAIL) == wrap && !!(flags & F_USED) == wrap;
}

/* The place of a chain among those that wait. */
static unsigned place_of(const struct gq *q, unsigned head)
{
	for (unsigned k = 0; k < q->n_order; k++) {
		if (*waiting(q, k) == head)
			return k;
	}
	fail_msg("queue %u: chain %u was used, but it was not posted", q->index, head);
	return 0;
}

/* Used descriptors are looked for where they must be: each one `span` of its chain behind the last. */
static uint16_t used_idx_packed(const struct gq *q)
{
	unsigned k = q->batch, at = q->take_at;
	bool wrap = q->take_wrap;
	uint64_t second;

	for (unsigned i = 0; i < k; i++)
		at += q->span[*waiting(q, i)];
	for (;;) {
		unsigned last;

		if (at >= q->size) {
			at -= q->size;
			wrap = !wrap;
		}
		if (k == q->n_order || !used_at(q, at, wrap, &second))
			return (uint16_t)(q->seen + k);
		last = q->in_order ? place_of(q, (uint16_t)(second >> 32)) : k;
		if (!q->in_order)
			at += q->span[(uint16_t)(second >> 32)];
		for (unsigned i = k; q->in_order && i <= last; i++)
			at += q->span[*waiting(q, i)];
		k = last + 1;
	}
}

uint16_t used_idx(const struct gq *q)
{
	return q->packed ? used_idx_packed(q) : __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE);
}

bool used_waits(const struct gq *q)
{
	uint64_t second;

	if (!q->packed)
		return q->batch || q->seen != __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE);
	return q->batch || (q->n_order && used_at(q, q->take_at, q->take_wrap, &second));
}

void want_no_calls(struct gq *q)
{
	if (q->packed) {
		WRITE_ONCE(q->driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
		return;
	}
	WRITE_ONCE(q->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	WRITE_ONCE(q->avail->ring[q->size], (uint16_t)(q->seen - 1));
}

void want_calls(struct gq *q)
{
	if (q->packed) {
		uint32_t flags = event_idx(q) ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;

		WRITE_ONCE(*(uint32_t *)q->driver, flags << 16 | (q->take_wrap ? WRAP : 0) | q->take_at);
		return;
	}
	WRITE_ONCE(q->avail->flags, 0);
	WRITE_ONCE(q->avail->ring[q->size], q->seen);
}

/* An entry: the chain that it names, and the bytes written. False: there is none. */
static bool next_entry(struct gq *q, unsigned *head, uint32_t *len)
{
	uint64_t second;

	if (!used_waits(q))
		return false;
	if (q->packed) {
		assert_true(used_at(q, q->take_at, q->take_wrap, &second));
		*head = (uint16_t)(second >> 32);
		*len = (uint32_t)second;
		assert_true(!*len == !(second >> 48 & VRING_DESC_F_WRITE));
	} else {
		const struct vring_used_elem *e = &q->used->ring[q->seen % q->size];

		*head = e->id;
		*len = e->len;
	}
	assert_true(*head < q->size);
	return true;
}

/* Its descriptors, or its id and its places in the ring, are free again. */
static void free_chain(struct gq *q, uint16_t head)
{
	uint16_t i;

	if (q->packed) {
		q->n_free = (uint16_t)(q->n_free + q->span[head]);
		q->take_at = (uint16_t)(q->take_at + q->span[head]);
		if (q->take_at >= q->size) {
			q->take_at = (uint16_t)(q->take_at - q->size);
			q->take_wrap = !q->take_wrap;
		}
		i = head;
	} else {
		for (i = head, q->n_free++; q->next[i] != UINT16_MAX; i = q->next[i])
			q->n_free++;
	}
	q->next[i] = q->free_head;
	q->free_head = head;
}

/* The chain at place k of those that wait is no more. */
static uint16_t take_waiting(struct gq *q, unsigned k)
{
	uint16_t head = *waiting(q, k);

	for (; k; k--)
		*waiting(q, k) = *waiting(q, k - 1);
	q->n_order--;
	return head;
}

bool reap(struct gq *q, uint16_t *head, uint32_t *len)
{
	unsigned entry = 0, k = 0;
	uint16_t h;

	if (!q->batch) {
		if (!next_entry(q, &entry, &q->batch_len))
			return false;
		q->batch = 1;
		if (q->in_order)
			q->batch = place_of(q, entry) + 1;
		else if (q->packed)
			k = place_of(q, entry);
	}
	h = q->packed || q->in_order ? take_waiting(q, k) : (uint16_t)entry;
	q->seen++;
	q->batch--;
	free_chain(q, h);
	if (head)
		*head = h;
	if (len)
		*len = q->batch ? 0 : q->batch_len;
	/* As a driver that wants to hear of the next one; the flags are the test's. */
	if (!q->packed)
		__atomic_store_n(&q->avail->ring[q->size], q->seen, __ATOMIC_RELAXED);
	else if (!q->batch && READ_ONCE(q->driver->flags) != VRING_PACKED_EVENT_FLAG_DISABLE)
		want_calls(q);
	return true;
}

/* ---- what the device wrote ---- */

uint64_t chain_addr(const struct gq *q, uint16_t head)
{
	return q->packed ? q->mine[q->first[head]].addr : q->desc[head].addr;
}

uint64_t posted_addr(const struct gq *q, unsigned k)
{
	return chain_addr(q, q->packed ? q->order[k] : q->avail->ring[k]);
}

/* Descriptor i of a table that may lie at any address. */
static struct vring_desc desc_of(const uint8_t *table, unsigned i)
{
	struct vring_desc d;

	memcpy(&d, table + i * sizeof(d), sizeof(d));
	return d;
}

static uint32_t gather_piece(struct gq *q, uint64_t gpa, uint32_t room, uint8_t **to, uint32_t left)
{
	uint32_t part = MIN(left, room);

	memcpy(*to, at(q->b, gpa), part);
	*to += part;
	return left - part;
}

static void gather_split(struct gq *q, uint16_t head, uint8_t *to, uint32_t len)
{
	const uint8_t *table = (const uint8_t *)q->desc;
	struct vring_desc d = desc_of(table, head);

	for (;;) {
		if (d.flags & VRING_DESC_F_INDIRECT) {
			table = at(q->b, d.addr);
			d = desc_of(table, 0);
			continue;
		}
		len = gather_piece(q, d.addr, d.len, &to, len);
		if (!len || !(d.flags & VRING_DESC_F_NEXT))
			break;
		d = desc_of(table, d.next);
	}
	assert_int_equal(len, 0);
}

static void gather_packed(struct gq *q, uint16_t id, uint8_t *to, uint32_t len)
{
	for (unsigned k = 0; k < q->span[id]; k++) {
		const struct vring_packed_desc *d = &q->mine[(q->first[id] + k) % q->size];

		if (!(d->flags & VRING_DESC_F_INDIRECT)) {
			len = gather_piece(q, d->addr, d->len, &to, len);
			continue;
		}
		for (unsigned i = 0; i < d->len / sizeof(struct vring_desc); i++) {
			struct vring_desc e = desc_of(at(q->b, d->addr), i);

			len = gather_piece(q, e.addr, e.len, &to, len);
		}
	}
	assert_int_equal(len, 0);
}

void gather_chain(struct gq *q, uint16_t head, uint8_t *to, uint32_t len)
{
	if (q->packed)
		gather_packed(q, head, to, len);
	else
		gather_split(q, head, to, len);
}
