/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does vwire-user get on with its work? Asked while frames are in its hands, and only then: one that has nothing to do
 * is not disturbed, and not suspected.
 *
 * Time is counted in ticks of a timer and not by a clock. On a machine that is overloaded, or stopped as a whole, ticks
 * are late too: a tick is a chance that both had.
 *
 * All functions: the loop.
 */
#ifndef BACKEND_USER_PROGRESS_H
#define BACKEND_USER_PROGRESS_H

#include "loop/loop.h"

#define USER_TICK_NS	   (100 * NSEC_PER_MSEC)
#define USER_SUSPECT_TICKS 5 /* so many without any progress, and `suspect` is called; again after as many */

struct user_progress {
	/* Set by the owner, who says what is to be done. */
	uint64_t (*done)(struct user_progress *p, bool *more); /* frames done with so far; are there more? */
	void (*suspect)(struct user_progress *p);
	void (*goes_on)(struct user_progress *p); /* after `suspect` */

	struct timer timer;
	uint64_t seen;	       /* done, at the last tick */
	_Atomic unsigned idle; /* ticks without progress; may be read by any thread */
	bool suspected;
};

void user_progress_init(struct user_progress *p, struct loop *loop);

/* There is work. Cheap if it is known already. */
static inline bool user_progress_watches(const struct user_progress *p)
{
	return timer_armed(&p->timer);
}
void user_progress_watch(struct user_progress *p);
/* Why it does not get on has been found, and it is not its own fault: count from the first suspicion on again. */
void user_progress_excuse(struct user_progress *p);
/* Look no more; what is suspected stays so. */
void user_progress_pause(struct user_progress *p);
/* Another vwire-user. */
void user_progress_reset(struct user_progress *p);

#endif
