/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mutexes and roles that clang's thread-safety analysis understands. A "role" is a capability without a lock: the
 * right to touch what one thread owns ("runs on the loop of ..."); it is asserted, never taken.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#if defined(__clang__)
#define TSA(x) __attribute__((x))
#else
#define TSA(x)
#endif

#define CAPABILITY(name)     TSA(capability(name))
#define GUARDED_BY(x)	     TSA(guarded_by(x))
#define PT_GUARDED_BY(x)     TSA(pt_guarded_by(x))
#define REQUIRES(...)	     TSA(requires_capability(__VA_ARGS__))
#define EXCLUDES(...)	     TSA(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...)	     TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...)	     TSA(release_capability(__VA_ARGS__))
#define ASSERT_CAPABILITY(x) TSA(assert_capability(x))
#define NO_THREAD_SAFETY     TSA(no_thread_safety_analysis)

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t m;
};

#define MUTEX_INIT                        \
	{                                 \
		PTHREAD_MUTEX_INITIALIZER \
	}

static inline void mutex_init(struct mutex *m)
{
	pthread_mutex_init(&m->m, NULL);
}

static inline void mutex_destroy(struct mutex *m)
{
	pthread_mutex_destroy(&m->m);
}

#ifdef VWIRE_SCHED /* see base/sched.h */
void mutex_lock(struct mutex *m) ACQUIRE(m);
bool mutex_trylock(struct mutex *m) TSA(try_acquire_capability(true, m));
void mutex_unlock(struct mutex *m) RELEASE(m);
#else

static inline void mutex_lock(struct mutex *m) ACQUIRE(m) NO_THREAD_SAFETY
{
	pthread_mutex_lock(&m->m);
}

static inline bool mutex_trylock(struct mutex *m) TSA(try_acquire_capability(true, m)) NO_THREAD_SAFETY
{
	return !pthread_mutex_trylock(&m->m);
}

static inline void mutex_unlock(struct mutex *m) RELEASE(m) NO_THREAD_SAFETY
{
	pthread_mutex_unlock(&m->m);
}

#endif

#endif
