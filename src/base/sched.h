/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The places where one thread can meet another: what the lock-free code of loop/ and mem/ uses to wait, to wake, to
 * read time and to know its thread. Normally thin names for system calls. With VWIRE_SCHED defined (tests/schedule) all
 * of them, and SCHED_POINT() in front of each shared access, go to a deterministic scheduler which runs the threads of
 * a test as coroutines, one at a time, in an order that a seed decides.
 */
#ifndef BASE_SCHED_H
#define BASE_SCHED_H

#include <stdatomic.h>
#include <sys/epoll.h>

#include "base/thread.h"
#include "base/util.h"

#define SCHED_FOREVER UINT64_MAX

#ifdef VWIRE_SCHED

#define SCHED_POINT() sched_point()
void sched_point(void);
/* Slot k of the running coroutine's own variables, in place of thread-local ones. */
void **sched_local(unsigned k);
uintptr_t sys_thread(void);
uint64_t sys_clock_ns(void);
int sys_epoll_create(void);
int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int sys_epoll_wait(int epfd, struct epoll_event *ev, int max, uint64_t timeout_ns);
int sys_eventfd(void);
void sys_eventfd_signal(int fd);
void sys_close(int fd);
void sys_wait_word(_Atomic uint32_t *word, const char *whom);
void sys_wake_word(_Atomic uint32_t *word);
void sys_pause(const char *what);

#else

#include <errno.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SCHED_POINT() ((void)0)

/* Something that differs between threads. */
static inline uintptr_t sys_thread(void)
{
	return (uintptr_t)pthread_self();
}

static inline uint64_t sys_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline int sys_epoll_create(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

static inline int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return epoll_ctl(epfd, op, fd, ev);
}

static inline int sys_epoll_wait(int epfd, struct epoll_event *ev, int max, uint64_t timeout_ns)
{
	struct timespec ts;

	if (likely(timeout_ns == SCHED_FOREVER || !timeout_ns))
		return epoll_wait(epfd, ev, max, timeout_ns ? -1 : 0);
	ts.tv_sec = (time_t)(timeout_ns / NSEC_PER_SEC);
	ts.tv_nsec = (long)(timeout_ns % NSEC_PER_SEC);
	return epoll_pwait2(epfd, ev, max, &ts, NULL);
}

static inline int sys_eventfd(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* It fails only when the count is at its limit, and then the reader has been told often enough. */
static inline void sys_eventfd_signal(int fd)
{
	uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static inline void sys_close(int fd)
{
	close(fd);
}

/* Wait until *word is not 0. `whom` is who sets it, for those who ask who waits for whom. */
static inline void sys_wait_word(_Atomic uint32_t *word, const char *whom)
{
	(void)whom;
	while (!atomic_load_explicit(word, memory_order_acquire))
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

/*
 * After *word was set. The waiter may have seen it and be gone with the word: the kernel then finds nobody at that
 * address, or wakes a stranger who looks again, as all do.
 */
static inline void sys_wake_word(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Let others go on, for one who looks again and again until `what`. */
static inline void sys_pause(const char *what)
{
	(void)what;
	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

#endif

#endif
