/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames over a stream of bytes: each is its length, 32 bits big-endian, and then itself. What QEMU's -netdev socket
 * and stream speak, and passt.
 *
 * One of these belongs to a net client and does its data path; who makes and loses connections is its owner's business.
 * All functions but init and free run on the client's loop.
 */
#ifndef BACKEND_FRAME_STREAM_H
#define BACKEND_FRAME_STREAM_H

#include "net/client.h"

struct frame_stream {
	struct net_client *c;
	int fd; /* -1: not connected */
	/*
	 * The connection is over, for the reason `why`: it was let go of (frame_stream_detach()), and the descriptor is
	 * the owner's again.
	 */
	void (*lost)(struct frame_stream *s, const char *why);
	counter framing_errors;

	/* the rest is its own */
	struct watch watch;
	uint32_t events;     /* that we want to hear of */
	bool no_room;	     /* the peer's, for what was received */
	bool owes;	     /* a wake to the peer, for what we had no room for */
	const char *ending;  /* nothing more is to be had from the connection: why. Frames may still wait in rx[] */
	const char *tx_dead; /* nothing can be sent any more: why */

	uint8_t *rx;		  /* what was received and not delivered: rx[head..tail) */
	size_t head, tail;	  /* head is at the start of a frame */
	uint64_t rx_counted;	  /* frames there that are in the account already, as held */
	struct iovec *rx_iov;	  /* arena of the batch that is delivered */
	struct iovec *tx_iov;	  /* of a sendmsg() */
	uint8_t *tx_small;	  /* headers, and small frames behind them */
	uint8_t *rest;		  /* of a frame of which the kernel took the first part */
	size_t rest_at, rest_len; /* rest[rest_at..rest_len) is still to go */
	size_t rest_frame;	  /* length of that frame */
	struct batch batch;
};

/* Main thread; fields c and lost are set before. -ENOMEM, then nothing is left. */
int frame_stream_init(struct frame_stream *s) __must_check;
void frame_stream_free(struct frame_stream *s); /* detached before */

/*
 * From now on `fd` (connected, non-blocking) carries the client's frames; the client's carrier goes up. The descriptor
 * stays the owner's, who closes it after it was lost or detached.
 */
void frame_stream_attach(struct frame_stream *s, int fd);
/* Let go of the connection: frames that were under way are dropped and counted. The carrier is left as it is. */
void frame_stream_detach(struct frame_stream *s);

/* The client's ops of these names. */
unsigned frame_stream_send(struct frame_stream *s, struct batch *b);
void frame_stream_wake(struct frame_stream *s, unsigned what);
void frame_stream_start(struct frame_stream *s);
void frame_stream_quiesce(struct frame_stream *s);
void frame_stream_parted(struct frame_stream *s);

#endif
