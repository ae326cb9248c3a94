/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev dgram, and what of -netdev socket is datagrams: UDP, AF_UNIX, multicast, an inherited socket. */
#ifndef BACKEND_DGRAM_H
#define BACKEND_DGRAM_H

#include "base/addr.h"
#include "net/netdev.h"

extern const struct netdev_type dgram_netdev;

enum dgram_kind {
	DGRAM_NETDEV, /* -netdev dgram */
	DGRAM_SOCKET, /* -netdev socket */
};

/*
 * Which addresses there are says what it is:
 *	local an inherited socket, no remote	whatever that is connected to
 *	remote a multicast group	local: an address that chooses the interface, a socket to receive by, or none
 *	remote an address		local: one of the same family, to send from; others' datagrams are dropped
 */
struct dgram_wire {
	enum dgram_kind kind;
	const char *local_name, *remote_name; /* options, for messages: "localaddr", "udp" */
	struct addr local, remote;	      /* resolved with ADDR_LISTEN | ADDR_DGRAM, and ADDR_DGRAM */
};

/* As netdev_type.create. */
int dgram_create(const char *id, const struct dgram_wire *w, struct loop *loop, struct error *err) __must_check;

#endif
