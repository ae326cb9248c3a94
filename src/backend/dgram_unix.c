/* SPDX-License-Identifier: BSD-2-Clause */
/* Reaching a peer that is an AF_UNIX datagram socket: see dgram_unix.h. */
#include "backend/dgram_unix.h"

#include "base/open.h"

#define PAUSE_MIN  (10 * NSEC_PER_MSEC)
#define PAUSE_MAX  NSEC_PER_SEC
#define LOOK_EVERY NSEC_PER_SEC

static bool look(struct dgram_unix *u)
{
	u->there = socket_reconnect(u->fd, &u->peer) == 0;
	u->pause = u->there ? PAUSE_MIN : MIN(u->pause * 2, (uint64_t)PAUSE_MAX);
	u->next = clock_now(CLOCK_HOST_NS) + u->pause;
	return u->there;
}

static bool there(void *arg)
{
	struct dgram_unix *u = arg;

	return u->there || (clock_now(CLOCK_HOST_NS) >= u->next && look(u));
}

static bool lost(void *arg)
{
	struct dgram_unix *u = arg;

	u->there = false;
	return look(u);
}

static void look_again(struct timer *t)
{
	struct dgram_unix *u = container_of(t, struct dgram_unix, timer);

	look(u);
	timer_arm(t, clock_now(CLOCK_HOST_NS) + LOOK_EVERY);
}

static void run(void *arg, bool on)
{
	struct dgram_unix *u = arg;

	if (on)
		look_again(&u->timer);
	else
		timer_cancel(&u->timer);
}

void dgram_unix_init(struct dgram_unix *u, int fd, const struct endpoint *peer, struct loop *loop)
{
	*u = (struct dgram_unix){ .fd = fd, .peer = *peer, .pause = PAUSE_MIN };
	timer_init(&u->timer, loop, CLOCK_HOST_NS, look_again);
}

struct dgram_route dgram_unix_route(struct dgram_unix *u)
{
	return (struct dgram_route){ .arg = u, .there = there, .lost = lost, .run = run };
}
