/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtqueues, device side (virtio 1.2, chapter 2.7; split ring).
 *
 * The driver's memory is hostile: each index, ring entry and descriptor is read once into a local copy, the copy is
 * checked, and only the copy is used. What breaks a rule breaks the queue (virtq_break): nothing of it is touched until
 * reset. A chain has at most queue-size descriptors; heads in flight are marked, one that is posted twice is refused.
 *
 * Ring configuration (size, addresses, vector) belongs to the control mutex of the device while the queue is not
 * enabled, and is frozen after. Run state belongs to the queue's loop.
 *
 *	collect: virtq_pop() chains one by one into an iovec arena; virtq_unpop() gives the newest ones back
 *	fill:    virtq_push() writes used entries; virtq_publish() makes them visible, all at once, and says whether the
 *	         driver wants a call
 *	sleep:   virtq_kick_disable() while working; virtq_kick_enable() before sleeping, which looks again and says if
 *	         something arrived meanwhile
 */
#ifndef VIRTIO_RING_H
#define VIRTIO_RING_H

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
#define VIRTQ_FAULTS(X)                                                 \
	X(ADDRESS, "descriptor outside of RAM")                         \
	X(ZERO_LEN, "descriptor of length 0")                           \
	X(LOOP, "chain longer than the queue")                          \
	X(TOO_LONG, "chain of 4 GiB or more")                           \
	X(NEXT, "next out of range")                                    \
	X(INDIRECT, "bad indirect descriptor")                          \
	X(ORDER, "readable descriptor after a writable one")            \
	X(AVAIL_IDX, "avail index jumps by more than the queue's size") \
	X(HEAD, "head out of range")                                    \
	X(IN_FLIGHT, "head posted twice")                               \
	X(DIRECTION, "buffers of the wrong direction")                  \
	X(HEADER, "chain cannot hold its header")                       \
	X(RING, "ring outside of RAM or misaligned")                    \
	X(CONTROL, "malformed control command")                         \
	X(HOST, "the host cannot serve it")

enum virtq_fault {
	VIRTQ_FINE = 0,
#define X(sym, text) VIRTQ_FAULT_##sym,
	VIRTQ_FAULTS(X)
#undef X
};

const char *virtq_fault_text(enum virtq_fault f);

struct virtq {
	/* configuration: control mutex while not enabled, frozen after */
	uint16_t index;
	uint16_t max_size;
	uint16_t size;
	uint16_t vector; /* MSI-X, or MSIX_NO_VECTOR */
	uint64_t desc_gpa, driver_gpa, device_gpa;
	bool enabled;

	/* run state: the queue's loop */
	struct dma *dma;
	bool running; /* rings are mapped, kicks count */
	bool event_idx, indirect;
	enum virtq_fault fault;
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	uint16_t last_avail;   /* next entry to take */
	uint16_t shadow_avail; /* the driver's index as last read */
	uint16_t used_idx;     /* next entry to fill */
	uint16_t used_published;
	uint16_t signalled; /* used index at the last call that was sent or suppressed */
	bool signalled_valid;
	uint64_t in_flight[VIRTQ_SIZE_MAX / 64];
	unsigned n_in_flight;

	struct {
		counter kicks, calls, calls_suppressed, chains, faults;
	} stats;
};

struct vchain {
	uint16_t head;
	uint16_t n_out, n_in;	  /* pieces: readable ones first in the arena, then writable ones */
	uint32_t out_len, in_len; /* bytes, each at most 4 GiB - 1 (a chain that sums to more is a fault) */
};

/* Map the rings by the configuration and start at index `base` (0 after reset). -EFAULT with q->fault set. Loop. */
int virtq_start(struct virtq *q, struct dma *dma, bool event_idx, bool indirect, uint16_t base) __must_check;
void virtq_stop(struct virtq *q); /* forgets what is in flight */

/* Size, alignment and range of a configuration, before it is enabled: 0 or -EINVAL. Any thread. */
int virtq_check(const struct virtq *q, const struct dma *dma) __must_check;

/*
 * Take the next chain: its pieces go to iov[0..max). 1: taken; 0: nothing there; -EPROTO: the queue broke just now or
 * is broken (fault says why); -E2BIG: more pieces than max (the chain stays where it is; VIRTQ_CHAIN_MAX is always
 * enough).
 */
int virtq_pop(struct virtq *q, struct iovec *iov, unsigned max, struct vchain *c) __must_check;
/* Give the newest n popped chains back, in reverse order of popping: heads[n - 1] was popped last. */
void virtq_unpop(struct virtq *q, const uint16_t *heads, unsigned n);

void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/* Publish what was pushed; true if the driver is to be called (event index or flags; 2.7.7, 2.7.8). */
bool virtq_publish(struct virtq *q) __must_check;

void virtq_kick_disable(struct virtq *q);
bool virtq_kick_enable(struct virtq *q) __must_check; /* true: something is there, go on */

/* Stop for good, until reset. Counted; said once by the device. */
void virtq_break(struct virtq *q, enum virtq_fault why);

#endif
