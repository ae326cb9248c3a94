/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The copier's rings as a driver has them: split ones of QSIZE entries, laid out as the legacy interfaces want it. Each
 * queue has 64 KiB of RAM, the ring in front, buffers behind.
 */
#ifndef TEST_RINGS_H
#define TEST_RINGS_H

#include "copier.h"
#include "pcibench.h"

#define RING_AVAIL (sizeof(struct vring_desc) * QSIZE)
#define RING_USED  0x1000
#define BUFFERS	   0x4000

struct rings {
	struct bench *b;
	uint16_t avail[QUEUES]; /* chains that were posted */
	uint16_t used[QUEUES];	/* chains that rings_take() took */
};

static inline uint64_t queue_gpa(unsigned q)
{
	return 0x10000 * (q + 1);
}

/* All of a queue's RAM is zero, and nothing was posted. */
void rings_clear(struct rings *r, unsigned q);
/* One chain: 8 bytes to be copied. */
void rings_post(struct rings *r, unsigned q, uint64_t value);
/* The used index. */
uint16_t rings_used(const struct rings *r, unsigned q);
/* Take one used chain: its copied value; fails the test if there is none. */
uint64_t rings_take(struct rings *r, unsigned q);
/* A chain is posted, kicked, copied, and the last one to be used. */
void rings_work(struct rings *r, unsigned q, void (*kick)(unsigned q));

#endif
