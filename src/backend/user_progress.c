/* SPDX-License-Identifier: BSD-2-Clause */
/* Does vwire-user get on with its work? See user_progress.h. */
#include "backend/user_progress.h"

static void next_tick(struct user_progress *p)
{
	/* Without memory for a timer nobody is suspected. */
	if (timer_arm(&p->timer, clock_now(CLOCK_HOST_NS) + USER_TICK_NS) < 0)
		return;
}

static void got_on(struct user_progress *p)
{
	bool suspected = p->suspected;

	atomic_store_explicit(&p->idle, 0, memory_order_relaxed);
	p->suspected = false;
	if (suspected)
		p->goes_on(p);
}

static void got_nowhere(struct user_progress *p)
{
	unsigned idle = atomic_load_explicit(&p->idle, memory_order_relaxed) + 1;

	atomic_store_explicit(&p->idle, idle, memory_order_relaxed);
	if (idle % USER_SUSPECT_TICKS)
		return;
	p->suspected = true;
	p->suspect(p);
}

static void on_tick(struct timer *t)
{
	struct user_progress *p = container_of(t, struct user_progress, timer);
	bool more;
	uint64_t done = p->done(p, &more);

	if (more)
		next_tick(p);
	if (!more || done != p->seen)
		got_on(p);
	else
		got_nowhere(p);
	p->seen = done;
}

void user_progress_init(struct user_progress *p, struct loop *loop)
{
	timer_init(&p->timer, loop, CLOCK_HOST_NS, on_tick);
	user_progress_reset(p);
}

void user_progress_watch(struct user_progress *p)
{
	bool more;

	p->seen = p->done(p, &more);
	if (more || p->suspected)
		next_tick(p);
}

void user_progress_excuse(struct user_progress *p)
{
	unsigned idle = atomic_load_explicit(&p->idle, memory_order_relaxed);

	atomic_store_explicit(&p->idle, MIN(idle, (unsigned)USER_SUSPECT_TICKS), memory_order_relaxed);
}

void user_progress_pause(struct user_progress *p)
{
	timer_cancel(&p->timer);
}

void user_progress_reset(struct user_progress *p)
{
	timer_cancel(&p->timer);
	atomic_store_explicit(&p->idle, 0, memory_order_relaxed);
	p->suspected = false;
	p->seen = 0;
}
