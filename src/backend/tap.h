/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev tap: a tap device of the host's kernel. */
#ifndef BACKEND_TAP_H
#define BACKEND_TAP_H

#include "backend/tap_dev.h"
#include "net/netdev.h"

extern const struct netdev_type tap_netdev;

/*
 * Make the net client `id` of one queue of a tap. On success it owns the device and closes it in the end, after
 * `downscript` (may be NULL; copied) was run with the interface's name. -EEXIST, -ENOMEM. Main thread.
 */
int tap_new(const char *id, unsigned queue, const struct tap_dev *dev, struct loop *loop, const char *downscript,
	    struct error *err) __must_check;
/* The id of the client that owns this descriptor, or NULL. Main thread. */
const char *tap_fd_user(int fd);

#endif
