/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two sockets of a multicast group that is a wire: every frame is a datagram to the group, and whoever is a member
 * gets it, on other hosts and on this one.
 *
 * The kernel must hand what we send to other members on this host too, and with that to ourselves; but a guest that
 * hears its own frames takes them for another's who has its addresses. All members of a host share the group's port, so
 * a sender's address cannot tell them apart. So we send from a second socket, with a port of its own, and a filter on
 * the first one leaves out what comes from that port of this host before it takes a place in the queue. On the wire it
 * differs from QEMU's only in the source port, which no receiver looks at.
 */
#ifndef BACKEND_DGRAM_MCAST_H
#define BACKEND_DGRAM_MCAST_H

#include "base/addr.h"

bool endpoint_is_multicast(const struct endpoint *e);

struct dgram_mcast {
	int rx, tx;
};

/*
 * Open both. `local`: nothing, an address that chooses the interface, or an inherited socket to receive by, which joins
 * the group. Errors name neither option. Main thread.
 */
int dgram_mcast_open(struct dgram_mcast *m, const struct endpoint *group, const struct addr *local,
		     struct error *err) __must_check;

#endif
