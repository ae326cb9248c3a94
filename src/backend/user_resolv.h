/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Following the host's resolv.conf. The file is often replaced (rename) and often a symbolic link into /run: both the
 * folder of the link and that of the file it leads to are watched.
 */
#ifndef BACKEND_USER_RESOLV_H
#define BACKEND_USER_RESOLV_H

#include "loop/loop.h"

struct resolv_watch {
	struct watch watch;
	int fd;
	void (*changed)(struct resolv_watch *r); /* may be called when nothing changed */
};

/* Without inotify nothing is followed. Main thread. */
void resolv_watch_start(struct resolv_watch *r, struct loop *l, void (*changed)(struct resolv_watch *r));
void resolv_watch_stop(struct resolv_watch *r);

#endif
