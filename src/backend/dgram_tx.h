/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames out, one a datagram: a batch of frames is one sendmmsg(2) straight from where they lie. Belongs to its owner
 * (dgram_io.h) and runs on that one's loop.
 *
 * On UDP, runs of frames of one length (the last may be shorter) go down the host's stack as one message and are cut
 * into datagrams at its end (UDP_SEGMENT, udp(7)): on the wire they are the same datagrams. Where a path does not take
 * that (its MTU is below the datagram, no checksum offload), it is left off from then on.
 */
#ifndef BACKEND_DGRAM_TX_H
#define BACKEND_DGRAM_TX_H

#include <sys/socket.h>

#include "base/addr.h"
#include "net/frame.h"

#define DGRAM_HEAD_MAX 280 /* bytes of a tunnel's header */

/* What stands in front of each frame: these bytes, with a 32-bit big-endian number in them that counts frames. */
struct dgram_head {
	uint8_t bytes[DGRAM_HEAD_MAX];
	unsigned len;	/* 0: nothing */
	int counter_at; /* offset of the number; negative: there is none */
	uint32_t counter;
};

#define DGRAM_CONTROL CMSG_SPACE(sizeof(uint16_t))

struct dgram_tx {
	int fd;
	bool segments;		/* UDP_SEGMENT is used ... */
	uint32_t segment_max;	/* ... for datagrams up to this many bytes */
	struct endpoint to;	/* len 0: the socket is connected */
	struct dgram_head head; /* counter: of the next frame */

	/* What is handed to the kernel next. */
	unsigned n;
	uint8_t frames[NET_BATCH]; /* in each message */
	struct mmsghdr msg[NET_BATCH];
	union {
		struct cmsghdr align;
		uint8_t bytes[DGRAM_CONTROL];
	} control[NET_BATCH];
	unsigned used;			 /* pieces of the following */
	struct iovec piece[NET_IOV_MAX]; /* of runs */
	uint8_t *heads;			 /* NET_BATCH headers, if each is different */
	uint8_t *bounce;		 /* for a frame of more pieces than the kernel takes */
};

/* `segments`: the socket is UDP. fd stays the caller's. -ENOMEM. */
int dgram_tx_init(struct dgram_tx *t, int fd, const struct endpoint *to, const struct dgram_head *head,
		  bool segments) __must_check;
void dgram_tx_fini(struct dgram_tx *t); /* harmless after zeroing */

/* Frames that did not go, and why. */
struct dgram_refusal {
	int code;	 /* errno; 0: all went */
	unsigned frames; /* that the kernel refused with it, behind those that went; of EAGAIN: wait */
};

/*
 * Send the frames of b from `first` on, without waiting. Returns how many went. b is left as it was but for free slots.
 */
unsigned dgram_tx_send(struct dgram_tx *t, struct batch *b, unsigned first, struct dgram_refusal *r);

/* The frames are not sent at all: their numbers are used up. */
static inline void dgram_tx_skip(struct dgram_tx *t, unsigned frames)
{
	t->head.counter += frames;
}

#endif
