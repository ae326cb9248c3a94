/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reaching a peer that is an AF_UNIX datagram socket with a name, which may come later than we, go, and come back.
 *
 * We are connected to it while it is there: the name is not looked up for every frame, a full queue of the peer's can
 * be waited for, and nobody else can send to us. When it is gone a send says so, and the name is tried again, at most
 * once in a while. Our kernel does not tell that it was replaced by another one, whose datagrams it would refuse to us
 * as those of a stranger; so the name is looked up once a second too.
 */
#ifndef BACKEND_DGRAM_UNIX_H
#define BACKEND_DGRAM_UNIX_H

#include "backend/dgram_io.h"

struct dgram_unix {
	int fd;
	struct endpoint peer;
	bool there;
	uint64_t next, pause; /* when to try again, ns; from one try to the next */
	struct timer timer;
};

/* fd, the caller's, is not connected yet. Main thread. */
void dgram_unix_init(struct dgram_unix *u, int fd, const struct endpoint *peer, struct loop *loop);
struct dgram_route dgram_unix_route(struct dgram_unix *u);

#endif
