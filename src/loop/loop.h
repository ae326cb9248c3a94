/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One loop, one thread, one epoll set.
 *
 * A turn: read the clocks, run posts, epoll (without sleeping if something is left to do), watches each with its
 * budget, due timers, before_sleep hooks (publish, interrupts, dirty marks), deferred frees.
 *
 * - Watches, timers, posts and hooks are embedded in their owners: nothing is allocated here after loop_new().
 * - Everything but loop_post() and loop_call() is for the loop's own thread only; debug builds check it.
 * - A removed watch is never called again, even if its event is already in the batch in hand.
 * - Edge-triggered watches (EPOLLET) whose function stops at its budget ask for another call with watch_again().
 * - Who may wait: main waits for any loop and for vCPUs; a vCPU waits for net loops; a net loop waits for nobody.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <sys/epoll.h>

#include "base/counter.h"
#include "base/error.h"
#include "base/list.h"
#include "base/thread.h"

struct loop;
struct watch;
struct timer;
struct post;
struct sleep_hook;

/* ---- loops ---- */

/* Create a loop named `name` (static string). It runs in the thread that calls loop_run(), or in one of its own: */
struct loop *loop_new(const char *name, struct error *err);
int loop_start_thread(struct loop *l, struct error *err); /* signals are blocked in that thread */
void loop_run(struct loop *l);				  /* until loop_stop() */
void loop_stop(struct loop *l);				  /* any thread; what was posted before still runs */
/* Stops and joins the thread, if any. Nobody else may be inside loop_post() or loop_call() for it. */
void loop_free(struct loop *l);

bool loop_here(const struct loop *l); /* the caller is the loop's thread (or the loop does not run yet) */
const char *loop_name(const struct loop *l);
/* For who runs turns himself: readable when a watch has an event. The loop's own, not to be read or changed. */
int loop_fd(const struct loop *l);

/*
 * Run one turn that does not sleep, in the calling thread, for tests and the qtest accelerator. Returns true if
 * anything ran (posts, watches, timers, hooks): call until false to reach the quiet state.
 */
bool loop_turn(struct loop *l);

/* ---- watches: level-triggered unless events has EPOLLET ---- */

typedef void watch_fn(struct watch *w, uint32_t events);

struct watch {
	struct loop *loop; /* NULL: not watched */
	watch_fn *fn;
	const char *name;
	int fd;
	uint32_t events;
	bool again;	  /* run once more next turn */
	struct list node; /* on the loop's again list */
	uint32_t slot;	  /* loop's own: place in its table of watches */
};

void watch_init(struct watch *w, const char *name, int fd, watch_fn *fn);
int watch_add(struct loop *l, struct watch *w, uint32_t events); /* -errno of epoll_ctl */
int watch_mod(struct watch *w, uint32_t events);		 /* 0 events: stays in the set, silent but for errors */
void watch_del(struct watch *w);				 /* harmless if not added */
void watch_again(struct watch *w); /* call fn(w, 0) in the next turn, without sleeping before */

/* ---- timers ---- */

/*
 * Two clocks. CLOCK_HOST_NS is CLOCK_MONOTONIC. CLOCK_VM_NS runs while the VM runs and is stepped by qtest; device
 * timers know only this one. Time of a loop turn is read once.
 */
enum clock_kind {
	CLOCK_HOST_NS,
	CLOCK_VM_NS
};

uint64_t clock_now(enum clock_kind c);		/* ns; any thread */
void vm_clock_run(bool running);		/* any thread; loops re-arm by themselves */
void vm_clock_manual(void);			/* qtest: stands at 0, moves by vm_clock_step only */
enum clock_kind clock_of_network(void);		/* of what is outside: the host's; under qtest the VM's */
void vm_clock_step(uint64_t to_ns);		/* qtest: set the clock; due timers then run in the loops' turns */
uint64_t loop_next_vm_deadline(struct loop *l); /* qtest; UINT64_MAX if none */

typedef void timer_fn(struct timer *t);

struct timer {
	struct loop *loop;
	timer_fn *fn;
	enum clock_kind clock;
	uint64_t deadline; /* ns */
	uint32_t index;	   /* place in the loop's heap + 1; 0: not armed */
};

void timer_init(struct timer *t, struct loop *l, enum clock_kind c, timer_fn *fn);
int timer_arm(struct timer *t, uint64_t deadline_ns); /* absolute; moves an armed timer. -ENOMEM: heap cannot grow */
void timer_cancel(struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
	return t->index != 0;
}

/* ---- posts: from any thread ---- */

typedef void post_fn(struct post *p);

/* A post that is already waiting is not queued twice (one run follows each loop_post() that found it idle). */
struct post {
	post_fn *fn;
	struct post *next;
	_Atomic bool queued;
};

static inline void post_init(struct post *p, post_fn *fn)
{
	p->fn = fn;
	p->next = NULL;
	atomic_init(&p->queued, false);
}

void loop_post(struct loop *l, struct post *p);
/* Take a waiting post back; loop's thread only. */
void loop_unpost(struct loop *l, struct post *p);

/*
 * Run fn(arg) on the loop's thread and wait for it; directly if the caller is that thread or the loop does not run.
 * The common path of quiesce, reset and configuration. See "who may wait".
 */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);

/* ---- before the loop sleeps ---- */

typedef void sleep_fn(struct sleep_hook *h);

/* Armed by its owner during a turn, run once at the end of it. */
struct sleep_hook {
	sleep_fn *fn;
	struct list node;
};

static inline void sleep_hook_init(struct sleep_hook *h, sleep_fn *fn)
{
	h->fn = fn;
	list_init(&h->node);
}

void loop_before_sleep(struct loop *l, struct sleep_hook *h); /* loop's thread; idempotent */
void loop_cancel_sleep(struct sleep_hook *h);

/* ---- pace (loop/pace.h) ---- */

/* `frames` frames of `bytes` bytes in all crossed in this turn, out of the guest or into it. The loop's thread. */
void loop_moved(struct loop *l, bool into_guest, unsigned frames, uint64_t bytes);
/* Of late, each frame answered the one before. The loop's thread. */
bool loop_converses(const struct loop *l);

/* ---- polling (loop/poll.h): for loops with a thread of their own ---- */

struct poller;
typedef bool poller_fn(struct poller *p);

/*
 * Somebody who need not be told by an event that there is something to do, as long as the loop comes by to look.
 * look(): in each turn; do it, if there is something. rest(): the loop is about to sleep: from now on be told by an
 * event, and then look if there is something already, without doing it. Both say if there was. Any of them may be
 * removed meanwhile.
 */
struct poller {
	poller_fn *look, *rest;
	struct loop *loop; /* NULL: nobody looks */
	uint64_t limit;	   /* how long the loop may poll, ns */
	struct list node;
};

void poller_init(struct poller *p, poller_fn *look, poller_fn *rest);
/*
 * From now on the loop may poll for limit_ns before it sleeps, if others want no more, and looks at p. False: it does not
 * poll, as it has no thread of its own or nobody wants it to, and nothing was done. Loop's thread.
 */
bool poller_add(struct loop *l, struct poller *p, uint64_t limit_ns);
void poller_del(struct poller *p); /* harmless if not added */
static inline bool poller_added(const struct poller *p)
{
	return p->loop;
}

/* The loop may poll for so long, in ns, even if no poller wants it to. Before its thread starts. */
void loop_set_poll(struct loop *l, uint64_t limit_ns);
/* Of late polling has been worth it: the loop will poll before it sleeps. Loop's thread. */
bool loop_polls(const struct loop *l);

/* ---- readers of snapshots (see mem/epoch.h) ---- */

struct epoch_reader;
struct epoch_reader *loop_reader(struct loop *l);

/*
 * Since the loop was made: turns, watch calls, posts, timers, longest turn in ns; times of polling that ended with
 * something to do, and those that ended with sleep. Any thread.
 */
struct loop_stats {
	counter turns, watches, posts, timers, longest_ns, polls_found, polls_vain;
};
const struct loop_stats *loop_stats(const struct loop *l);
/* All loops there are, in the order in which they were made; fn makes and frees none. Any thread. */
void loop_each(void (*fn)(const struct loop *l, void *arg), void *arg);

#endif
