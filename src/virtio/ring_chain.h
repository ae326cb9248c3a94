/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What both kinds of rings do with a chain: read descriptors, judge buffers. For ring_split.c and ring_packed.c alone.
 *
 * Guest memory is read by guest_*() alone, one load for each word, so that no value can change between its check and
 * its use; tests include the files with GUEST_READ defined (virtio/ring.h).
 */
#ifndef VIRTIO_RING_CHAIN_H
#define VIRTIO_RING_CHAIN_H

#include <stdatomic.h>

#include "virtio/ring.h"

/* An indirect table has no alignment to rely on. */
typedef uint64_t __attribute__((aligned(1))) unaligned_u64;

static inline uint16_t guest_u16(const uint16_t *p)
{
	uint16_t v = __atomic_load_n(p, __ATOMIC_RELAXED);

	GUEST_READ(p, sizeof(v));
	return le16toh(v);
}

/*
 * A descriptor as two loads. Those of a packed ring have the id in the place of the flags, and these in that of `next`.
 */
static inline struct vring_desc guest_desc(const struct vring_desc *table, unsigned i)
{
	const unaligned_u64 *p = (const unaligned_u64 *)((const uint8_t *)table + i * sizeof(*table));
	uint64_t addr = READ_ONCE(p[0]), rest = READ_ONCE(p[1]);

	GUEST_READ(p, sizeof(*table));
	addr = le64toh(addr);
	rest = le64toh(rest);
	return (struct vring_desc){ addr, (uint32_t)rest, (uint16_t)(rest >> 32), (uint16_t)(rest >> 48) };
}

static __attribute__((cold, noinline)) int broken(struct virtq *q, enum virtq_fault why)
{
	virtq_break(q, why);
	return -EPROTO;
}

/*
 * The table that an indirect descriptor names, and in *n its entries; NULL if the descriptor is bad (2.7.5.3, 2.8.7).
 */
static inline const struct vring_desc *indirect_table(struct virtq *q, const struct vring_desc *d, unsigned *n)
{
	if (unlikely(!q->indirect || (d->flags & VRING_DESC_F_NEXT) || d->len % sizeof(*d) || d->len == 0 ||
		     d->len > VIRTQ_CHAIN_MAX * sizeof(*d)))
		return NULL;
	*n = d->len / sizeof(*d);
	return dma_ptr(q->dma, d->addr, d->len);
}

/* What was found of a chain so far. */
struct found {
	struct iovec *iov;
	unsigned max, n, n_out;
	uint64_t bytes[2]; /* readable, writable */
};

static inline int find_buffer(struct virtq *q, struct found *f, const struct vring_desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	void *host;

	if (unlikely(d->len == 0))
		return broken(q, VIRTQ_FAULT_ZERO_LEN);
	host = dma_ptr(q->dma, d->addr, d->len);
	if (unlikely(!host))
		return broken(q, VIRTQ_FAULT_ADDRESS);
	if (unlikely(f->n == f->max))
		return -E2BIG;
	f->iov[f->n++] = (struct iovec){ host, d->len };
	f->bytes[writable] += d->len;
	if (!writable && unlikely(f->n != ++f->n_out))
		return broken(q, VIRTQ_FAULT_ORDER);
	return 0;
}

/* A chain of this one descriptor, which is what nearly all are: as find_buffer() and found_chain(), for less. */
static inline int single_buffer(struct virtq *q, const struct vring_desc *d, unsigned head, struct iovec *iov,
				unsigned max, struct vchain *c)
{
	void *host = dma_ptr(q->dma, d->addr, d->len);

	if (unlikely(!d->len || !host))
		return broken(q, d->len ? VIRTQ_FAULT_ADDRESS : VIRTQ_FAULT_ZERO_LEN);
	if (unlikely(!max))
		return -E2BIG;
	*iov = (struct iovec){ host, d->len };
	if (d->flags & VRING_DESC_F_WRITE)
		*c = (struct vchain){ .head = (uint16_t)head, .n_in = 1, .in_len = d->len };
	else
		*c = (struct vchain){ .head = (uint16_t)head, .n_out = 1, .out_len = d->len };
	return 1;
}

static inline int found_chain(struct virtq *q, const struct found *f, unsigned head, struct vchain *c)
{
	if (unlikely(f->bytes[0] > UINT32_MAX || f->bytes[1] > UINT32_MAX))
		return broken(q, VIRTQ_FAULT_TOO_LONG);
	*c = (struct vchain){ (uint16_t)head, (uint16_t)f->n_out, (uint16_t)(f->n - f->n_out), (uint32_t)f->bytes[0],
			      (uint32_t)f->bytes[1] };
	return 1;
}

#endif
