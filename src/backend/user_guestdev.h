/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A character device at an address of a user network (guestfwd): the guest's connections to that address share it, as in
 * QEMU. What any of them sends goes to the device; what comes from the device goes to the newest, and waits while there
 * is none. What a guest sends while nobody is at the other end of the device is lost. A connection that has finished
 * sending may still be answered, until there is a newer one or the other end of the device goes.
 *
 * All on the main thread and its loop. The data path has no part in it: vwire-user hands each connection over as a
 * stream socket (user/guestfwd.h), which is as hostile as the guest.
 */
#ifndef BACKEND_USER_GUESTDEV_H
#define BACKEND_USER_GUESTDEV_H

#include "base/list.h"
#include "char/chardev.h"

#define USER_GUESTDEV_CONNECTIONS 16 /* at a time; with one more the oldest ends */

struct user_guestdev {
	struct chardev *chr; /* NULL: none */
	struct loop *loop;
	struct list connections; /* the oldest first */
	unsigned n;
	bool open; /* somebody is at the other end of the device */
	bool full; /* the device takes no more until it says so: no connection is read */
};

/* The device that `spec` names (chardev_open()) is ours from here on. On an error nothing is left. */
int user_guestdev_open(struct user_guestdev *d, const char *spec, struct loop *loop, struct error *err) __must_check;
/* End all connections and give the device back. Harmless if none is open. */
void user_guestdev_close(struct user_guestdev *d);
/* A connection of the guest; owns fd, a stream socket. */
void user_guestdev_connect(struct user_guestdev *d, int fd);

#endif
