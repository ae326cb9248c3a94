/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames in, one a datagram: one recvmmsg(2) fills up to DGRAM_SLOTS slots of host memory, from which batches of frames
 * are handed on. Belongs to its owner (dgram_io.h) and runs on that one's loop.
 *
 * A slot holds the longest datagram that carries a frame, and a byte more, so that a longer one is seen to be cut. On
 * UDP the kernel may put several datagrams of one length and sender into a slot (UDP_GRO, udp(7)); they are told apart
 * by the length that it says. Memory that no datagram needed is never touched.
 */
#ifndef BACKEND_DGRAM_RX_H
#define BACKEND_DGRAM_RX_H

#include <sys/socket.h>

#include "base/addr.h"
#include "base/counter.h"
#include "net/frame.h"

#define DGRAM_SLOTS 32

/* Who is to look at what comes. NULL: nothing is looked at. */
struct dgram_judge {
	void *arg;
	/* May it come from there? from->len is 0 if the sender has no address. */
	enum net_drop (*sender)(void *arg, const struct endpoint *from);
	/* Is there a frame in these len bytes of one datagram? *skip: what stands in front of it. */
	enum net_drop (*header)(void *arg, const uint8_t *p, size_t len, size_t *skip);
};

struct dgram_rx {
	int fd;
	bool coalesced; /* UDP_GRO is on */
	struct dgram_judge judge;
	counter *dropped; /* by reason: of frames that were not handed on */

	uint64_t pending;   /* frames that were received and are neither handed on nor dropped */
	struct batch batch; /* the first of them */
	unsigned n, next;   /* slots filled; the first that is not in the batch yet */
	size_t at;	    /* and where in it */

	struct mmsghdr msg[DGRAM_SLOTS];
	struct iovec slot[DGRAM_SLOTS];
	struct endpoint from[DGRAM_SLOTS];
	union {
		struct cmsghdr align;
		uint8_t bytes[64];
	} control[DGRAM_SLOTS];
	struct iovec piece[2 * NET_BATCH]; /* arena of the batch: free slot, frame */
	uint8_t *memory;
};

/* `udp`: the socket is UDP. fd stays the caller's. -ENOMEM. */
int dgram_rx_init(struct dgram_rx *r, int fd, const struct dgram_judge *judge, counter *dropped, bool udp) __must_check;
void dgram_rx_fini(struct dgram_rx *r); /* harmless after zeroing */

/*
 * Fill the slots, all of which have been handed on, without waiting. Returns how many frames came (they are pending), 0
 * if none did; or -errno.
 */
int dgram_rx_read(struct dgram_rx *r);
/* All slots were filled: there may be more. */
static inline bool dgram_rx_full(const struct dgram_rx *r)
{
	return r->n == DGRAM_SLOTS;
}

/* The next frames, if there are pending ones: r->batch has as many of them as it can hold, or it is empty. */
void dgram_rx_fill(struct dgram_rx *r);
/* The first n frames of the batch went on. */
void dgram_rx_done(struct dgram_rx *r, unsigned n);
/* Forget all that is pending; returns how many frames it was. */
uint64_t dgram_rx_forget(struct dgram_rx *r);

#endif
