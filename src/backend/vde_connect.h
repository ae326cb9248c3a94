/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connecting to a VDE switch by libvdeplug(3), which is loaded for it.
 *
 * The library waits for the switch's answer, and a switch that is stopped, or that is none, never gives one. So each
 * attempt is made by a thread of its own, which does nothing else; who asked for it waits as long as he likes and then
 * lets it go. What a forsaken attempt brings is closed by its thread, whenever that comes.
 */
#ifndef BACKEND_VDE_CONNECT_H
#define BACKEND_VDE_CONNECT_H

#include <libvdeplug.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/util.h"

struct vde_functions {
	__typeof__(vde_open_real) *open_real;
	__typeof__(vde_recv) *recv;
	__typeof__(vde_send) *send;
	__typeof__(vde_datafd) *datafd;
	__typeof__(vde_ctlfd) *ctlfd;
	__typeof__(vde_close) *close;
};

extern struct vde_functions libvde; /* after vde_library_open() */

/* Main thread. -ENOENT: it is not installed. */
int vde_library_open(struct error *err) __must_check;

struct vde_target {
	char *sock;  /* path or URL; NULL: the library's default */
	char *group; /* may be NULL */
	uint16_t port;
	mode_t mode;
};

struct vde_attempt;

/* Begin to connect; the strings are copied. NULL with an error: it was refused, or there is no memory. */
struct vde_attempt *vde_attempt_new(const struct vde_target *t, struct error *err);
/* Readable when it is over; the attempt's own. */
int vde_attempt_fd(const struct vde_attempt *a);
/* Wait until it is over, so long at most. False: it is not. */
bool vde_attempt_wait(const struct vde_attempt *a, unsigned ms);
/* What came of one that is over: a connection, now the caller's; NULL with an error. */
VDECONN *vde_attempt_take(struct vde_attempt *a, struct error *err);
/* Let it go, over or not. NULL is fine. */
void vde_attempt_free(struct vde_attempt *a);

#endif
