/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory. `now` counts retirements. A reader writes down the count when it enters. An object that was retired as number
 * e may be seen only by readers that entered before the count was e: their `seen` is not 0 and below e. So it is free
 * to go when the least `seen` of all that are inside is at least e.
 *
 * A reader that has read the count but not yet written it down looks as if it were outside. If the writer overlooks it,
 * its look (a seq_cst load of `seen`) comes before the reader's seq_cst write of `seen` in the one order of all such
 * accesses; the pointer was swapped before the look and is read after the write: the reader gets the new object.
 */
#include "mem/epoch.h"

#include <stdatomic.h>

#include "base/sched.h"

static struct mutex lock = MUTEX_INIT;
static struct list readers GUARDED_BY(lock) = LIST_INIT(readers);
static struct list waiting GUARDED_BY(lock) = LIST_INIT(waiting); /* struct retired, in the order of their numbers */
static _Atomic bool some_wait;					  /* `waiting` is not empty */
static _Atomic uint64_t now = 1;

/* The readers that the calling thread is inside of, innermost first. */
#ifdef VWIRE_SCHED
#define self (*(struct epoch_reader **)sched_local(0))
#else
static _Thread_local struct epoch_reader *self;
#endif

void epoch_register(struct epoch_reader *r)
{
	atomic_init(&r->seen, 0);
	r->outer = NULL;
	mutex_lock(&lock);
	list_append(&readers, &r->node);
	mutex_unlock(&lock);
}

void epoch_unregister(struct epoch_reader *r)
{
	mutex_lock(&lock);
	list_remove(&r->node);
	mutex_unlock(&lock);
}

void epoch_enter(struct epoch_reader *r)
{
	uint64_t e;

	SCHED_POINT();
	e = atomic_load(&now);
	SCHED_POINT();
	atomic_exchange(&r->seen, e);
	if (unlikely(self != r)) {
		r->outer = self;
		self = r;
	}
}

void epoch_leave(struct epoch_reader *r)
{
	SCHED_POINT();
	atomic_store_explicit(&r->seen, 0, memory_order_release);
	self = r->outer;
}

static bool is_own(const struct epoch_reader *r)
{
	const struct epoch_reader *mine = self;

	while (mine && mine != r)
		mine = mine->outer;
	return mine;
}

/* The least count that a reader inside has seen. */
static uint64_t least_seen(bool own_too) REQUIRES(lock)
{
	uint64_t least = UINT64_MAX;
	struct epoch_reader *r;

	list_for_each(r, &readers, node) {
		uint64_t seen;

		SCHED_POINT();
		seen = atomic_load(&r->seen);
		if (seen && seen < least && (own_too || !is_own(r)))
			least = seen;
	}
	return least;
}

/* Move to `due` what nobody can see any more. */
static void take_due(struct list *due) REQUIRES(lock)
{
	uint64_t least = least_seen(true);
	struct retired *r, *next;

	list_for_each_safe(r, next, &waiting, node) {
		if (r->epoch > least)
			break;
		list_remove(&r->node);
		list_append(due, &r->node);
	}
	atomic_store_explicit(&some_wait, !list_empty(&waiting), memory_order_relaxed);
}

static void free_due(struct list *due)
{
	while (!list_empty(due)) {
		struct retired *r = list_entry(due->next, struct retired, node);

		list_remove(&r->node);
		r->free(r);
	}
}

void epoch_retire(struct retired *r, void (*free)(struct retired *r))
{
	struct list due = LIST_INIT(due);

	r->free = free;
	mutex_lock(&lock);
	SCHED_POINT();
	r->epoch = atomic_fetch_add(&now, 1) + 1;
	list_append(&waiting, &r->node);
	take_due(&due);
	mutex_unlock(&lock);
	free_due(&due);
}

void epoch_collect(void)
{
	struct list due = LIST_INIT(due);

	if (likely(!atomic_load_explicit(&some_wait, memory_order_relaxed)) || !mutex_trylock(&lock))
		return;
	take_due(&due);
	mutex_unlock(&lock);
	free_due(&due);
}

void epoch_synchronize(void)
{
	uint64_t e = atomic_fetch_add(&now, 1) + 1;

	for (;;) {
		struct list due = LIST_INIT(due);
		uint64_t least;

		mutex_lock(&lock);
		least = least_seen(false);
		take_due(&due);
		mutex_unlock(&lock);
		free_due(&due);
		if (least >= e)
			return;
		sys_pause("all readers have passed");
	}
}
