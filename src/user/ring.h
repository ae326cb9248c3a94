/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bounded ring of frames in shared memory between two processes that do not trust one another.
 *
 * One producer, one consumer. The ring is a power of two of bytes, mapped twice in a row, so that a record is always
 * contiguous. A record is a header (length, vnet header), then the frame, padded to RING_ALIGN. `head` and `tail` count
 * bytes and run freely modulo 2^32: head - tail is what is in the ring.
 *
 * Who trusts what. Each side has its own index in private memory and only ever writes it to the shared word; of the
 * other side's index it takes one copy and checks it: never more than the ring's size apart, always aligned. A record's
 * header is copied once; its length must lie within what the producer has published and between an Ethernet header and
 * RING_FRAME_MAX. Whatever else is found breaks the ring for good (RING_BROKEN): the owner ends the other process. The
 * frame's bytes may change at any time; who judges by them copies them first.
 *
 * Wakes. Nobody is woken who runs. A consumer that finds the ring empty says so and looks once more before it sleeps;
 * a producer publishes and then looks whether the consumer sleeps:
 *
 *	consumer: want_data = 1;  if (head != tail) stay awake
 *	producer: head = h;  if (want_data) { want_data = 0; wake }
 *
 * All four accesses are sequentially consistent, so at least one of the two sees the other's store, and no wake is
 * lost. Room is told the same way round: a producer that found no room sets want_room and looks at tail once more; the
 * consumer moves tail and looks at want_room. Room means that half of the ring is free: a wake for each frame freed
 * would be as dear as the frame.
 */
#ifndef USER_RING_H
#define USER_RING_H

#include <linux/virtio_net.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "base/util.h"

#define RING_ALIGN	16
#define RING_FRAME_MIN	14		 /* an Ethernet header */
#define RING_FRAME_MAX	(65535 + 14 + 4) /* a 64 KiB packet, Ethernet, VLAN tag */
#define RING_RECORD_MAX ALIGN_UP(RING_FRAME_MAX + 16, RING_ALIGN)

/* In shared memory; each line is written by one side, but for the two flags, which the other clears. */
struct ring_ctl {
	alignas(64) _Atomic uint32_t head; /* producer's */
	_Atomic uint32_t want_room;
	alignas(64) _Atomic uint32_t tail; /* consumer's */
	_Atomic uint32_t want_data;
};

/* In front of each frame. */
struct ring_record {
	uint32_t len; /* of the frame */
	uint16_t zero;
	struct virtio_net_hdr hdr; /* little-endian, like the machine */
};

_Static_assert(sizeof(struct ring_record) == RING_ALIGN, "a record's header keeps the frame aligned");

/* One end, in private memory. */
struct ring {
	struct ring_ctl *ctl;
	uint8_t *data; /* 2 * size bytes of address space */
	uint32_t size;
	uint32_t pos;	/* own index, ahead of what is published */
	uint32_t shown; /* own index as published */
	uint32_t other; /* the other's index when last looked at and found good */
	bool broken;	/* the other side broke a rule; nothing works any more */
};

struct ring_frame {
	const uint8_t *data; /* shared memory: may change */
	uint32_t len;
	struct virtio_net_hdr hdr; /* a copy */
};

enum ring_result {
	RING_EMPTY,
	RING_FRAME,
	RING_BROKEN
};

/* Map `size` bytes at `offset` of fd twice in a row. NULL: errno is set. Unmap with ring_unmap(). */
uint8_t *ring_map(int fd, size_t offset, uint32_t size);
void ring_unmap(uint8_t *data, uint32_t size);

/* An end of a ring that is fresh (zeroed control words). size is a power of two, at least 2 * RING_RECORD_MAX. */
void ring_init(struct ring *r, struct ring_ctl *ctl, uint8_t *data, uint32_t size);

/* ---- the producer ---- */

/* Bytes free, by the consumer's index as it is now; 0 if the ring is broken. */
uint32_t ring_room(struct ring *r);
/*
 * Where a frame of len (<= RING_FRAME_MAX) bytes is to be written, or NULL if there is no room or the ring is broken.
 */
uint8_t *ring_reserve(struct ring *r, uint32_t len);
/*
 * The frame stands where ring_reserve() said: complete its record. The consumer does not see it before ring_publish().
 */
void ring_push(struct ring *r, uint32_t len, const struct virtio_net_hdr *hdr);
/* Show what was pushed. True if the consumer sleeps and must be woken: it is woken once for each true. */
bool ring_publish(struct ring *r) __must_check;
/* Ask to be woken when half of the ring is free. False if it is already: go on. */
bool ring_ask_room(struct ring *r) __must_check;

/* ---- the consumer ---- */

/* The next frame; it stays where it is until ring_pop() and ring_release(). */
enum ring_result ring_peek(struct ring *r, struct ring_frame *f) __must_check;
void ring_pop(struct ring *r, const struct ring_frame *f);
/* Give the room of what was popped back. True if the producer waits for it and must be woken. */
bool ring_release(struct ring *r) __must_check;
/* About to sleep: true if the ring is empty and the producer will wake us; false if there is something to do. */
bool ring_ask_data(struct ring *r) __must_check;
/* Awake for another reason: no wake is wanted any more. */
void ring_awake(struct ring *r);

#endif
