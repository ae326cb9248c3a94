/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Polling: how long a loop with nothing to do looks around before it sleeps.
 *
 * To sleep and be woken costs a loop some microseconds, and whoever wakes it a system call; a guest that kicks exits for
 * it. Where the next thing comes soon it is cheaper to wait for it awake. That cannot be known, but mostly it is as it
 * was the last time: so there is a window, for which the loop polls before it sleeps, and which is judged by each idle
 * time when it is over, from when there was nothing left to do until something came, the sleep in it or not.
 *
 *	idle <= window		it was found by polling, or would have been: stay so
 *	window < idle <= limit	a larger window would have found it: double it, from POLL_FIRST_NS up to the limit
 *	limit < idle		no window that is allowed would have: do not poll at all
 *
 * What counts as something are posts, events and what pollers found. A timer is none: it was known when it would come.
 * Idle time goes on behind it, so timers that come and go do not keep a loop polling.
 *
 * A processor that polls does nothing else: only a loop that has a thread of its own does it, and only if somebody wants
 * it (pollers, struct poller; or the loop's own limit).
 */
#ifndef LOOP_POLL_H
#define LOOP_POLL_H

#include "base/list.h"

#define POLL_FIRST_NS 4000 /* the smallest window */

struct loop;

struct poll_window {
	uint64_t limit; /* ns; 0: never */
	uint64_t width; /* ns; from 0 to limit */
};

/* Something came after so long. */
void poll_window_judge(struct poll_window *w, uint64_t idle_ns);

struct poll {
	struct poll_window window; /* its limit is the largest of all */
	uint64_t own;		   /* the loop's own limit */
	uint64_t since;		   /* host clock: since when there is nothing to do; 0: there is */
	bool over;		   /* the window was over, since then */
	bool allowed;
	bool asking, changed; /* pollers are being asked; and some came or went meanwhile */
	struct list pollers;
};

void poll_init(struct poll *p);
/* The loop has, or is about to have, a thread of its own. */
void poll_allow(struct poll *p);

/* For a loop's turn; while there is a limit. */
/* There is nothing to do. True: nor has there been for long enough, and all pollers rest. */
bool poll_over(struct loop *l);
/* Look at the pollers. `came`: there was something else in this turn. Returns if there was anything. */
bool poll_look(struct loop *l, bool came);

#endif
