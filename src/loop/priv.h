/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of loop/ share: the loop itself, its timer heaps, and the clocks' way to wake loops. */
#ifndef LOOP_PRIV_H
#define LOOP_PRIV_H

#include "base/sched.h"
#include "loop/loop.h"
#include "loop/pace.h"
#include "loop/poll.h"
#include "mem/epoch.h"

#define CLOCKS	   2
#define CACHE_LINE 64

struct timer_heap {
	struct timer **v; /* a binary heap by deadline */
	uint32_t n, size;
};

/* A place in the table of watches. An epoll event names the place and the generation it was made for. */
struct watch_slot {
	struct watch *watch; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct loop {
	/* Written by other threads, on a cache line of their own. */
	struct post *_Atomic posted; /* stack, newest first */
	_Atomic bool asleep;	     /* in epoll_wait or about to be: a post must signal wake_fd */
	_Atomic bool stop;
	char pad[CACHE_LINE];

	/* The loop thread's own. */
	int epfd;
	int wake_fd;
	const char *name;
	struct post *ready; /* posts taken off the stack, in order */
	struct watch_slot *slots;
	uint32_t n_slots, free_slot;
	struct list again; /* watches to be called once more */
	struct list hooks; /* armed for the end of the turn */
	struct timer_heap heap[CLOCKS];
	uint64_t now; /* host clock when timers were last looked at in this turn; 0: not read */
	struct epoch_reader reader;
	struct pace pace;
	struct poll poll;
	struct loop_stats stats;
	counter longest;	      /* turn, in ticks */
	uint64_t born_ns, born_ticks; /* to convert ticks */

	_Atomic bool running; /* in loop_run(), or its thread is about to be */
	bool threaded;	      /* has a thread of its own */
	pthread_t thread;
	struct list node; /* in the list of all loops */
};

/* Debug builds: a function that is the loop thread's own was called by another one. */
#ifdef VWIRE_CHECKS
void loop_check_here(const struct loop *l, const char *what);
#else
static inline void loop_check_here(const struct loop *l, const char *what)
{
	(void)l;
	(void)what;
}
#endif

/* Make a loop that sleeps look at its clocks again. Any thread. */
void loop_kick(struct loop *l);
void loops_kick_all(void);

/* timer.c */
int timers_init(struct loop *l);
void timers_free(struct loop *l);
bool timers_run(struct loop *l);	 /* what is due; reads the clock */
uint64_t timers_timeout(struct loop *l); /* ns until the next is due; SCHED_FOREVER: none */

/* clock.c: the VM clock at a given host time; how long until it shows `deadline`, SCHED_FOREVER if it stands. */
uint64_t vm_clock_at(uint64_t host_ns);
uint64_t vm_clock_until(uint64_t deadline, uint64_t host_ns);

#endif
