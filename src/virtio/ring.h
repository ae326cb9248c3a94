/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues, device side (virtio 1.2, chapters 2.7 and 2.8): split rings in ring_split.c, packed ones in
 * ring_packed.c, what they share in ring.c and ring_chain.h.
 *
 * The driver's memory is hostile: each index, ring entry and descriptor is read once into a local copy, the copy is
 * checked, and only the copy is used. What breaks a rule breaks the queue (virtq_break): nothing of it is touched until
 * reset. A chain has at most queue-size descriptors; heads in flight are marked, one that is posted twice is refused.
 * What is called a head here is the first descriptor's index with a split ring, and the buffer id with a packed one.
 *
 * Ring configuration (size, addresses, vector) belongs to the control mutex of the device while the queue is not
 * enabled, and is frozen after. Run state belongs to the queue's loop.
 *
 *	collect: virtq_pop() chains one by one into an iovec arena; virtq_unpop() gives the newest ones back
 *	fill:    virtq_push() writes used entries; virtq_publish() makes them visible, all at once, and says whether the
 *	         driver wants a call
 *	sleep:   virtq_kick_disable() while working; virtq_kick_enable() before sleeping, which looks again and says if
 *	         something arrived meanwhile
 *	poll:    virtq_kick_revoke() instead of sleeping, and virtq_waits() again and again
 */
#ifndef VIRTIO_RING_H
#define VIRTIO_RING_H

#include <errno.h>
#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "base/counter.h"
#include "mem/ram.h"

/*
 * Behind each load of what the driver may change and the device decides by. Tests define it, to see every such load and
 * to change what lies there.
 */
#ifndef GUEST_READ
#define GUEST_READ(address, size) ((void)0)
#endif

#define VIRTQ_SIZE_MAX	1024 /* largest that we offer */
#define VIRTQ_CHAIN_MAX 1024 /* descriptors in one chain, indirect ones counted */

/* Why a queue broke: for the log and the counters. */
#define VIRTQ_FAULTS(X)                                                  \
	X(ADDRESS, "descriptor outside of RAM")                          \
	X(ZERO_LEN, "descriptor of length 0")                            \
	X(LOOP, "chain longer than the queue")                           \
	X(TOO_LONG, "chain of 4 GiB or more")                            \
	X(NEXT, "next out of range")                                     \
	X(INDIRECT, "bad indirect descriptor")                           \
	X(ORDER, "readable descriptor after a writable one")             \
	X(AVAIL_IDX, "avail index jumps by more than the queue's size")  \
	X(OVERRUN, "descriptor made available again before it was used") \
	X(HEAD, "head or buffer id out of range")                        \
	X(IN_FLIGHT, "head or buffer id posted twice")                   \
	X(DIRECTION, "buffers of the wrong direction")                   \
	X(HEADER, "chain cannot hold its header")                        \
	X(RING, "ring outside of RAM or misaligned")                     \
	X(CONTROL, "malformed control command")                          \
	X(HOST, "the host cannot serve it")

enum virtq_fault {
	VIRTQ_FINE = 0,
#define X(sym, text) VIRTQ_FAULT_##sym,
	VIRTQ_FAULTS(X)
#undef X
};

const char *virtq_fault_text(enum virtq_fault f);

/*
 * What serves a queue. A switch on it is the only thing that a call of the data path costs for there being two kinds.
 */
enum virtq_mode {
	VIRTQ_OFF, /* not running, or broken */
	VIRTQ_SPLIT,
	VIRTQ_PACKED,
};

/* What was negotiated, as far as it concerns rings. */
struct virtq_features {
	bool event_idx, indirect, packed, in_order, notify_on_empty;
};

/*
 * Where a queue is, while nothing of it is in flight: the next entry to take and the next to fill. With a split ring
 * both are indices modulo 2^16; with a packed one bits 0 to 14 are a place in the ring and bit 15 is the wrap counter.
 * So they are the halves of vhost's VRING_BASE, avail in the lower one.
 */
struct virtq_base {
	uint16_t avail, used;
};

struct virtq {
	/* configuration: control mutex while not enabled, frozen after */
	uint16_t index;
	uint16_t max_size;
	uint16_t size;
	uint16_t vector; /* MSI-X, or MSIX_NO_VECTOR */
	uint64_t desc_gpa, driver_gpa, device_gpa;
	bool enabled;
	bool was_reset; /* alone, since the device was reset: it may be enabled again while the device runs */

	/* run state: the queue's loop */
	struct dma *dma;
	uint8_t mode; /* enum virtq_mode */
	bool running; /* rings are mapped, kicks count */
	bool event_idx, indirect, in_order, notify_on_empty;
	bool skipping; /* in order: the entry pushed last stands for those before it, and may for the next one; at: */
	uint16_t batch_at; /* ... of the entry */
	enum virtq_fault fault;
	union {
		struct {
			const struct vring_desc *desc;
			const struct vring_avail *avail;
			struct vring_used *used;
			uint16_t last_avail;   /* next entry to take */
			uint16_t shadow_avail; /* the driver's index as last read */
			uint16_t used_idx;     /* next entry to fill */
			uint16_t used_published;
			uint16_t signalled; /* used index at the last call that was sent or suppressed */
			bool signalled_valid;
		};
		struct {
			struct vring_packed_desc *ring;
			const struct vring_packed_desc_event *driver_event;
			struct vring_packed_desc_event *device_event;
			uint16_t avail_at, used_at;	  /* next descriptor to take, to fill */
			uint16_t avail_flags, used_flags; /* AVAIL and USED bits there, by the wrap counters */
			uint16_t batch_flags;		  /* used_flags at batch_at */
			uint16_t first_at; /* first descriptor that was filled and not published; its end: */
			uint64_t first;
			uint16_t n_filled; /* chains, and ... */
			uint16_t n_passed; /* ... descriptors that they had, since the last publish */
			uint32_t event;	   /* what device_event holds */
		} packed;
	};
	unsigned n_in_flight; /* chains; with a packed ring descriptors */
	uint64_t in_flight[VIRTQ_SIZE_MAX / 64];
	uint16_t span[VIRTQ_SIZE_MAX]; /* packed: descriptors of the chain in flight that has this id */

	struct {
		counter kicks, calls, calls_suppressed, chains, faults;
	} stats;
};

struct vchain {
	uint16_t head;
	uint16_t n_out, n_in;	  /* pieces: readable ones first in the arena, then writable ones */
	uint32_t out_len, in_len; /* bytes, each at most 4 GiB - 1 (a chain that sums to more is a fault) */
};

/* The position after a reset. */
struct virtq_base virtq_base_first(bool packed);
struct virtq_base virtq_base_get(const struct virtq *q);

/*
 * Map the rings by the configuration and start at `base` (NULL: as after a reset). -EFAULT with q->fault set: the rings
 * are no good; -EINVAL, and the queue stays off: there is no such position. Loop.
 */
int virtq_start(struct virtq *q, struct dma *dma, const struct virtq_features *f,
		const struct virtq_base *base) __must_check;
void virtq_stop(struct virtq *q); /* forgets what is in flight */

/*
 * Size, alignment and range of a configuration, before it is enabled: 0 or -EINVAL. A packed ring has any size from 1
 * on, a split one a power of two. Any thread.
 */
int virtq_check(const struct virtq *q, const struct dma *dma, bool packed) __must_check;

/* The two kinds; their contracts are those of virtq_*() below. */
int virtq_split_check(const struct virtq *q, const struct dma *dma) __must_check;
void virtq_split_map(struct virtq *q, struct dma *dma, uint16_t base);
void virtq_split_store_used(struct virtq *q);
int virtq_split_pop(struct virtq *q, struct iovec *iov, unsigned max, struct vchain *c) __must_check;
void virtq_split_unpop(struct virtq *q, const uint16_t *heads, unsigned n);
void virtq_split_push(struct virtq *q, uint16_t head, uint32_t written);
bool virtq_split_ask(struct virtq *q) __must_check;
void virtq_split_kick_disable(struct virtq *q);
bool virtq_split_kick_enable(struct virtq *q) __must_check;
void virtq_split_kick_revoke(struct virtq *q);
bool virtq_split_waits(const struct virtq *q);

int virtq_packed_check(const struct virtq *q, const struct dma *dma) __must_check;
void virtq_packed_map(struct virtq *q, struct dma *dma, uint16_t base);
void virtq_packed_store_used(struct virtq *q);
int virtq_packed_pop(struct virtq *q, struct iovec *iov, unsigned max, struct vchain *c) __must_check;
void virtq_packed_unpop(struct virtq *q, const uint16_t *heads, unsigned n);
void virtq_packed_push(struct virtq *q, uint16_t head, uint32_t written);
bool virtq_packed_ask(struct virtq *q) __must_check;
void virtq_packed_kick_disable(struct virtq *q);
bool virtq_packed_kick_enable(struct virtq *q) __must_check;
bool virtq_packed_waits(const struct virtq *q);

/*
 * Take the next chain: its pieces go to iov[0..max). 1: taken; 0: nothing there; -EPROTO: the queue broke just now or
 * is broken (fault says why); -E2BIG: more pieces than max (the chain stays where it is; VIRTQ_CHAIN_MAX is always
 * enough).
 */
static inline __must_check int virtq_pop(struct virtq *q, struct iovec *iov, unsigned max, struct vchain *c)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		return virtq_split_pop(q, iov, max, c);
	if (likely(q->mode == VIRTQ_PACKED))
		return virtq_packed_pop(q, iov, max, c);
	return q->fault ? -EPROTO : 0;
}

/* Give the newest n popped chains back, in reverse order of popping: heads[n - 1] was popped last. */
static inline void virtq_unpop(struct virtq *q, const uint16_t *heads, unsigned n)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		virtq_split_unpop(q, heads, n);
	else if (q->mode == VIRTQ_PACKED)
		virtq_packed_unpop(q, heads, n);
}

/*
 * Each chain that was popped, once; `written` bytes of it were, 0 if there is nothing to write in it. In any order,
 * unless IN_ORDER was negotiated: then as they were popped, and of chains with nothing to write that are pushed one
 * after the other between two publishes only the last one gets an entry (2.7.9, 2.8.8). It may stand for others too,
 * which were filled to the brim, but there are drivers that read the length of each.
 */
static inline void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		virtq_split_push(q, head, written);
	else if (q->mode == VIRTQ_PACKED)
		virtq_packed_push(q, head, written);
}

/* Publish what was pushed, and leave it to a later virtq_ask() whether the driver is to be called. */
static inline void virtq_publish_quietly(struct virtq *q)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		virtq_split_store_used(q);
	else if (q->mode == VIRTQ_PACKED)
		virtq_packed_store_used(q);
}

/*
 * Is the driver to be called for what was published since this was last asked? By what it wants now (event index or
 * flags; 2.7.7, 2.8.10): it may have come by meanwhile, and look for later ones.
 */
static inline __must_check bool virtq_ask(struct virtq *q)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		return virtq_split_ask(q);
	return q->mode == VIRTQ_PACKED && virtq_packed_ask(q);
}

/* Publish what was pushed; true if the driver is to be called. */
static inline __must_check bool virtq_publish(struct virtq *q)
{
	virtq_publish_quietly(q);
	return virtq_ask(q);
}

static inline void virtq_kick_disable(struct virtq *q)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		virtq_split_kick_disable(q);
	else if (q->mode == VIRTQ_PACKED)
		virtq_packed_kick_disable(q);
}

/* True: something is there, go on. */
static inline __must_check bool virtq_kick_enable(struct virtq *q)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		return virtq_split_kick_enable(q);
	return q->mode == VIRTQ_PACKED && virtq_packed_kick_enable(q);
}

/*
 * As virtq_kick_disable(), of a driver that was asked for a kick and has not made it: with the event index that one is
 * outstanding until it is asked for one that it has passed already.
 */
static inline void virtq_kick_revoke(struct virtq *q)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		virtq_split_kick_revoke(q);
	else if (q->mode == VIRTQ_PACKED)
		virtq_packed_kick_disable(q);
}

/* Is there something to take, by a look that takes and judges nothing? Nonsense counts as something. */
static inline bool virtq_waits(const struct virtq *q)
{
	if (likely(q->mode == VIRTQ_SPLIT))
		return virtq_split_waits(q);
	return q->mode == VIRTQ_PACKED && virtq_packed_waits(q);
}

/* As many chains as the driver can ever post have been popped and not pushed. */
static inline bool virtq_exhausted(const struct virtq *q)
{
	return q->n_in_flight >= q->size;
}

/* Stop for good, until reset. Counted; said once by the device. */
void virtq_break(struct virtq *q, enum virtq_fault why);

#endif
