/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host 10.0.2.2 as a process of its own, at the other end of a socket: answers ARP and ping, and nothing else. It
 * ends with the connection, or with us.
 */
#ifndef RESPONDER_H
#define RESPONDER_H

#include "base/addr.h"

struct responder {
	struct endpoint at;
	bool listens;	      /* else it connects to it, and waits until that can be done */
	bool dgram;	      /* frames are datagrams; else each has its length in front, 32 bits big-endian */
	struct endpoint from; /* dgram: its own address; len 0: none */
	int fd;		      /* >= 0: a connected socket instead of all that */
};

/* Start one (several may run). When this returns one that listens does so. */
void responder_start(const struct responder *r);
void responders_end(void); /* all of them */

#endif
