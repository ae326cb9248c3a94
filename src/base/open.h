/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening: the one way by which vwire gets a descriptor for something outside of itself: a file, a device node, a tap,
 * a socket, a descriptor that it was started with.
 *
 * A request is a plain record: numbers, addresses and strings, nothing that means something in this process only. Today
 * the call opens by itself; a process that may open nothing any more will send the record to one that still may, and
 * get the descriptor back. So names are resolved before (DNS is no opening), and what can be asked of the descriptor
 * afterwards (getsockname(2), TUNGETIFF) is not part of the answer.
 *
 * What has no name outside is no opening and needs no request: eventfd, memfd, pipe, socketpair, epoll, a duplicate, a
 * connection accepted from a socket that one has. tests/lint/opens holds all other files to this.
 */
#ifndef BASE_OPEN_H
#define BASE_OPEN_H

#include <sys/types.h>

#include "base/addr.h"

enum open_kind {
	OPEN_FILE,
	OPEN_INHERITED,
	OPEN_TAP,
	OPEN_SOCKET,
};

enum open_v6only {
	OPEN_V6_DEFAULT, /* what the system does */
	OPEN_V6_ONLY,
	OPEN_V6_AND_V4,
};

struct open_request {
	enum open_kind kind;
	bool nonblock; /* the descriptor does not block; of OPEN_INHERITED: else it is left as it is */

	/* OPEN_FILE: open(2). O_CLOEXEC and O_NOCTTY are added. */
	const char *path;
	int flags;
	mode_t mode;

	/* OPEN_INHERITED: the number. */
	int fd;

	/*
	 * OPEN_TAP: a queue of the interface `ifname`, which is made if there is none; NULL: the kernel picks a name.
	 */
	const char *ifname;
	uint16_t tap_flags; /* IFF_*: must be, and */
	uint16_t tap_wish;  /* may be: set as far as the kernel has them. TUNGETIFF says what came of it */

	/* OPEN_SOCKET: socket(2), then in this order what is set of: */
	int domain, type, protocol;
	bool reuse_addr;	/* SO_REUSEADDR */
	uint8_t v6only;		/* enum open_v6only */
	bool nodelay;		/* TCP_NODELAY */
	int sndbuf, rcvbuf;	/* bytes; the kernel may give less */
	bool take_over;		/* AF_UNIX: a socket file at `local` that nobody serves any more is removed */
	struct endpoint local;	/* bind(2) */
	struct endpoint group;	/* join this multicast group, and hear what this host sends to it */
	struct endpoint via;	/* multicast goes by the interface with this address (IPv6: with this scope id) */
	int backlog;		/* listen(2); 0: no */
	struct endpoint remote; /* connect(2) */
};

/*
 * Open what `r` says. Returns a descriptor, close-on-exec, which belongs to the caller; or -errno, with a text that
 * says what failed and names neither option nor value (of OPEN_TAP: names them as option tap has them): the caller puts
 * them in front. On an error nothing remains: no socket file, no descriptor (an inherited one stays open). Waits only
 * where a blocking open or connect does; main thread.
 *
 * A non-blocking connect() may be under way on return: when the socket is writable, socket_error() says how it went.
 *
 * OPEN_INHERITED: -EBADF if it is not open; -EBUSY if it is, but vwire was not started with it or took it already.
 */
int open_request(const struct open_request *r, struct error *err) __must_check;

/* What a socket has to say of itself: SO_ERROR, taken; 0 or -errno. -ENOTSOCK, ... if it cannot be asked. */
int socket_error(int fd);

/*
 * The next connection of a listening socket, close-on-exec, or -errno: -EAGAIN if there is none (any more), and for
 * connections that ended before they were accepted; -EMFILE and the like stay true for a while: do not ask again at
 * once.
 */
int socket_accept(int listener, bool nonblock);

/*
 * connect(2) a datagram socket to `to`, whatever it was connected to before: it does not wait. 0 or -errno, and then it
 * is connected as before.
 */
int socket_reconnect(int fd, const struct endpoint *to);

/*
 * The request for candidate `i` of an address: to listen there, or to bind datagrams to it, if `use` has ADDR_LISTEN;
 * else to connect to it. Non-blocking; backlog is 1; addr_tune() remains to be called. Of type ADDR_FD: the inherited
 * one.
 */
struct open_request addr_request(const struct addr *a, unsigned i, unsigned use);

#endif
