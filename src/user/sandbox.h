/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What vwire-user takes away from itself before the first byte of the guest reaches libslirp.
 *
 * In this order, after the forwarded ports are bound with the user's own rights: root becomes `nobody`; new user, mount
 * and ipc namespaces; a root directory that is an empty tmpfs with a copy of resolv.conf and, if asked for, the TFTP
 * directory (read-only); resource limits; no capabilities; no new privileges; a system
 * call filter (user/filter.h). The pid namespace was made by vwire (clone). The network namespace stays: it is the
 * purpose.
 *
 * Where the kernel refuses namespaces (many containers), the rest goes on; sandbox_enter() says what is in force.
 */
#ifndef USER_SANDBOX_H
#define USER_SANDBOX_H

#include "base/error.h"
#include "user/proto.h"

struct sandbox {
	const char *tftp;     /* directory, absolute and not "/"; or NULL */
	bool socket_pairs;    /* guestfwd: connections to commands (user/guestfwd.h) */
	bool pidns;	      /* vwire says that we are in one of our own */
	unsigned descriptors; /* limit; sandbox_lock() makes it what it came to be */
	/* results */
	int resolv_fd; /* resolv.conf in the new root, to be kept up to date; -1: the host's own is seen */
	uint32_t layers;
};

/* The first half: user, namespaces and root directory. -errno only if the TFTP directory cannot be had. */
int sandbox_enter(struct sandbox *s, struct error *err) __must_check;
/* The second half, nothing comes after it: limits, capabilities, seccomp. */
int sandbox_lock(struct sandbox *s, struct error *err) __must_check;

#endif
