/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A deterministic scheduler: threads of a test are coroutines of one thread, and which of them goes on at each
 * SCHED_POINT() and each wait is decided by a seed. Files under test are compiled with VWIRE_SCHED (base/sched.h), and
 * then their mutexes, futexes, epoll, eventfds and clock are the ones here. The memory is sequentially consistent; what
 * depends on weaker orders is test_threads.c's, under the thread sanitizer.
 */
#ifndef SCHEDULE_INTERLEAVE_H
#define SCHEDULE_INTERLEAVE_H

#include "base/sched.h"

#define SCHED_STACK   (64 * 1024)
#define SCHED_THREADS 12

/* Forget everything of the run before and start anew with this seed. */
void sched_begin(uint64_t seed);
/* Add a thread. `name` is a static string. Before sched_run() or from a thread. Returns its number. */
unsigned sched_spawn(const char *name, void (*fn)(void *arg), void *arg);
/* Run until all threads have returned: true. False: those left wait for one another, or get nowhere; sched_report(). */
bool sched_run(void);
/* Who waits for whom: "main waits for net0; net0 waits for mutex 0x.. held by main". */
const char *sched_report(void);

/*
 * A test's main part: each scenario under each seed, SCHED_SEEDS=N or `seeds` of them, or under that of SCHED_SEED=N
 * alone. begin(), which may be NULL, and start() prepare a run, which sched_begin() has begun, and add its threads; end(),
 * likewise, looks at what came of it. A run in which they wait for one another ends the program. Returns how many seeds
 * there were.
 */
struct sched_scenario {
	const char *name;
	void (*begin)(void), (*start)(void), (*end)(void);
};
uint64_t sched_seeds(const struct sched_scenario *scenario, unsigned n, uint64_t seeds);

/* free() of all files that are compiled with VWIRE_SCHED (-Dfree=interleave_free): spoils what it frees. */
void interleave_free(void *p);

/* ---- from a thread ---- */

const char *sched_thread_name(void);
void sched_join(unsigned thread);
/* Wait until cond(arg); `what` says for what, in the report. Wakes nobody and touches nothing. */
void sched_wait_for(bool (*cond)(void *arg), void *arg, const char *what);
uint32_t sched_random(uint32_t below);

/* Eventfds of the simulation: take the count, and look at it. */
uint64_t sched_eventfd_read(int fd);
uint64_t sched_eventfd_count(int fd);

/* End the program with the seed and the text: a wrong result. */
void sched_fail(const char *file, int line, const char *fmt, ...) __attribute__((noreturn)) __printf(3, 4);
#define EXPECT(cond)                                                 \
	do {                                                         \
		if (!(cond))                                         \
			sched_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)

#endif
