/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening a socket for datagrams to one peer: two addresses of one family, and errors that say what to do. */
#ifndef BACKEND_DGRAM_BIND_H
#define BACKEND_DGRAM_BIND_H

#include "base/addr.h"

struct dgram_pair {
	const char *local_name, *remote_name; /* options, for messages */
	const struct addr *local, *remote;
	int type, protocol; /* SOCK_DGRAM, 0 */
};

/*
 * Open a socket bound to the first address of local that has the family of one of remote's. *here is that, *peer the
 * other one, to which the socket is not connected. Main thread.
 */
int dgram_bind(const struct dgram_pair *p, struct endpoint *here, struct endpoint *peer,
	       struct error *err) __must_check;

/* The longest payload of a datagram between addresses of this family; `raw`: that of IP. */
uint32_t dgram_longest(int family, bool raw);

#endif
