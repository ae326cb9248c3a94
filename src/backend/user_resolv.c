/* SPDX-License-Identifier: BSD-2-Clause */
/* Following the host's resolv.conf: see user_resolv.h. */
#include "backend/user_resolv.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#define FILE_NAME "/etc/resolv.conf"
#define EVENTS	  (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE)

static void on_events(struct watch *w, uint32_t events)
{
	struct resolv_watch *r = container_of(w, struct resolv_watch, watch);
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool ours = false;
	ssize_t n;

	(void)events;
	while ((n = read(r->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(buf + i);

			ours = ours || (e->len && strstr(e->name, "resolv"));
			i += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	if (ours)
		r->changed(r);
}

void resolv_watch_start(struct resolv_watch *r, struct loop *l, void (*changed)(struct resolv_watch *r))
{
	char real[PATH_MAX];

	r->changed = changed;
	r->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	watch_init(&r->watch, "resolv.conf", r->fd, on_events);
	if (r->fd < 0)
		return;
	inotify_add_watch(r->fd, "/etc", EVENTS);
	if (realpath(FILE_NAME, real)) {
		*strrchr(real, '/') = 0;
		inotify_add_watch(r->fd, *real ? real : "/", EVENTS);
	}
	if (watch_add(l, &r->watch, EPOLLIN))
		resolv_watch_stop(r);
}

void resolv_watch_stop(struct resolv_watch *r)
{
	watch_del(&r->watch);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}
