/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine of backends whose wire is a datagram socket, one frame a datagram: -netdev socket with udp=, mcast= or
 * fd=, dgram, l2tpv3. It owns the sockets and does what a backend's send, wake, start and quiesce are to do; all of
 * these on the client's loop, the rest on the main thread.
 *
 * Out: a whole batch with one system call, from where the frames lie (dgram_tx.h). EAGAIN is back-pressure: the frames
 * stay with the giver until the socket can be written. Any other error is a frame dropped with a reason; a datagram has
 * no wire that could be broken.
 *
 * In: one system call fills many slots of host memory (dgram_rx.h), whose frames are handed on in batches. What the
 * peer has no room for stays there, counted as held, and the socket is not read until there is room: frames wait in the
 * kernel's buffer, which bounds them; what it drops it counts (SO_MEMINFO).
 *
 * An error that the socket reports for what was sent before (ICMP, udp(7)) is taken note of by reading it: it is
 * neither the next frame's fault nor a reason to stop.
 */
#ifndef BACKEND_DGRAM_IO_H
#define BACKEND_DGRAM_IO_H

#include "backend/dgram_rx.h"
#include "backend/dgram_tx.h"
#include "net/client.h"

struct json_t;

/* How a peer with a name that may come and go is reached: unix sockets (dgram_unix.h). */
struct dgram_route {
	void *arg;
	bool (*there)(void *arg); /* it is, as far as one knows; asked before a batch is sent */
	bool (*lost)(void *arg);  /* it was not: look again. True: there is another, send once more */
	void (*run)(void *arg, bool on);
};

struct dgram_setup {
	int fd;	   /* taken over, also if dgram_io_new() fails */
	int tx_fd; /* sends, if not fd; else negative. Taken over too */
	bool udp;
	struct endpoint to; /* where frames go; len 0: the socket is connected */
	uint32_t max_datagram;
	const struct dgram_head *head;	 /* copied; NULL: none */
	const struct dgram_judge *judge; /* copied; NULL: anything is a frame */
	const struct dgram_route *route; /* copied; NULL: none */
};

struct dgram_io;

/* For client c, whose loop is set; sets c->max_frame. NULL: no memory. */
struct dgram_io *dgram_io_new(struct net_client *c, const struct dgram_setup *s);
void dgram_io_free(struct dgram_io *io); /* quiesced; NULL is fine */

unsigned dgram_io_send(struct dgram_io *io, struct batch *b);
void dgram_io_wake(struct dgram_io *io, unsigned what);
void dgram_io_start(struct dgram_io *io);
void dgram_io_quiesce(struct dgram_io *io);
/* The peer is gone for good: what is held for it is dropped as `stopped`. */
void dgram_io_parted(struct dgram_io *io);

/* {"local","kernel_dropped","segments","coalesced"}: what the kernel dropped for want of room, and what it batches. */
struct json_t *dgram_io_describe(const struct dgram_io *io);

#endif
