/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler. Each thread is a coroutine with a stack of its own; makecontext() is used to get onto the stack, and
 * _setjmp() and _longjmp() to switch, because they make no system call. Threads that wait say for what; whether the
 * wait is over is computed from the simulated objects whenever the next thread is chosen, so nothing can be forgotten
 * to be woken that the real thing would not forget too.
 *
 * Time stands still while anybody can run. When nobody can, it jumps to the next timeout of an epoll_wait; now and then
 * it does so earlier, because time-outs race with events.
 */
#undef _FORTIFY_SOURCE /* its longjmp() refuses to change stacks */
#undef free	       /* the files under test call interleave_free() */
#include "interleave.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

#define FDS	  64
#define FD_FIRST  1000
#define WATCHES	  16
#define LOCALS	  4
#define HELD	  32
#define POLL_NS	  100	 /* that a look at events takes, for who does nothing else */
#define STEPS_MAX 200000 /* who needs more goes round in circles */

enum wait {
	RUNNABLE,
	WAIT_MUTEX,
	WAIT_WORD,
	WAIT_EPOLL,
	WAIT_JOIN,
	WAIT_COND,
	DONE
};

struct thread {
	const char *name;
	void (*fn)(void *arg);
	void *arg;
	jmp_buf at;
	bool entered;
	char *stack;
	void *locals[LOCALS];

	enum wait wait;
	const void *object; /* mutex, word */
	const char *whom;
	bool woken;
	int epfd;
	uint64_t wake_at; /* SCHED_FOREVER: none */
	unsigned joined;
	bool (*cond)(void *arg);
	void *cond_arg;
};

struct fake_watch {
	int fd; /* 0: free */
	uint32_t events;
	uint64_t key;
	bool edge; /* signalled since the last report */
};

struct fake_fd {
	enum {
		FD_FREE,
		FD_EPOLL,
		FD_EVENT
	} kind;
	uint64_t count;
	struct fake_watch watch[WATCHES];
};

static struct thread thread[SCHED_THREADS];
static unsigned n_threads;
static struct thread *running;
static jmp_buf scheduler;
static struct fake_fd fds[FDS];
static struct {
	const struct mutex *mutex;
	struct thread *owner;
} held[HELD];
static uint64_t seed, random_state, now;
static uint32_t switch_chance; /* one in so many points */
static char report[2048];

/* ---- chance ---- */

uint32_t sched_random(uint32_t below)
{
	/* xorshift64* */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 33) % below;
}

void sched_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: seed %llu, thread %s: ", file, line, (unsigned long long)seed,
		running ? running->name : "none");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

void interleave_free(void *p)
{
	/* Who still reads it is to find nonsense. */
	if (p)
		memset(p, 0xdd, malloc_usable_size(p));
	free(p);
}

/* ---- threads ---- */

void sched_begin(uint64_t s)
{
	static const uint32_t chances[] = { 1, 2, 3, 5, 10, 30 };

	seed = s;
	random_state = s * 0x9e3779b97f4a7c15ULL + 1;
	for (unsigned i = 0; i < 4; i++)
		sched_random(2);
	switch_chance = chances[sched_random(ARRAY_SIZE(chances))];
	n_threads = 0;
	now = 1000000;
	memset(fds, 0, sizeof(fds));
	memset(held, 0, sizeof(held));
}

unsigned sched_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	struct thread *t = &thread[n_threads];
	char *stack = t->stack ? t->stack : malloc(SCHED_STACK);

	if (n_threads == SCHED_THREADS || !stack)
		sched_fail(__FILE__, __LINE__, "cannot make thread %s", name);
	*t = (struct thread){ .name = name, .fn = fn, .arg = arg, .stack = stack };
	return n_threads++;
}

static void thread_main(void)
{
	running->fn(running->arg);
	running->wait = DONE;
	_longjmp(scheduler, 1);
}

/* Give the processor back; returns when this thread is chosen again. */
static void yield(void)
{
	if (!_setjmp(running->at))
		_longjmp(scheduler, 1);
}

static void enter(struct thread *t)
{
	static ucontext_t here;
	ucontext_t on_stack;

	t->entered = true;
	getcontext(&on_stack);
	on_stack.uc_stack.ss_sp = t->stack;
	on_stack.uc_stack.ss_size = SCHED_STACK;
	makecontext(&on_stack, thread_main, 0);
	swapcontext(&here, &on_stack);
}

static void resume(struct thread *t)
{
	running = t;
	if (_setjmp(scheduler))
		return;
	if (t->entered)
		_longjmp(t->at, 1);
	enter(t);
}

/* ---- who can go on ---- */

static struct thread *mutex_owner(const struct mutex *m)
{
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].mutex == m)
			return held[i].owner;
	return NULL;
}

static struct fake_fd *fake(int fd, int kind)
{
	struct fake_fd *f = &fds[fd - FD_FIRST];

	if (fd < FD_FIRST || fd >= FD_FIRST + FDS || (int)f->kind != kind)
		sched_fail(__FILE__, __LINE__, "descriptor %d is not open, or of another kind", fd);
	return f;
}

static uint32_t ready_events(const struct fake_watch *w)
{
	if (!w->fd || !(w->events & EPOLLIN) || !fake(w->fd, FD_EVENT)->count)
		return 0;
	return w->events & EPOLLET && !w->edge ? 0 : EPOLLIN;
}

static bool epoll_ready(int epfd)
{
	const struct fake_fd *ep = fake(epfd, FD_EPOLL);

	for (unsigned i = 0; i < WATCHES; i++)
		if (ready_events(&ep->watch[i]))
			return true;
	return false;
}

static bool can_run(const struct thread *t)
{
	switch (t->wait) {
	case RUNNABLE:
		return true;
	case WAIT_MUTEX:
		return !mutex_owner(t->object);
	case WAIT_WORD:
		return t->woken;
	case WAIT_EPOLL:
		return t->wake_at <= now || epoll_ready(t->epfd);
	case WAIT_JOIN:
		return thread[t->joined].wait == DONE;
	case WAIT_COND:
		return t->cond(t->cond_arg);
	case DONE:
		break;
	}
	return false;
}

/* Let time pass until the next timeout; false if nobody has one. */
static bool pass_time(void)
{
	uint64_t next = SCHED_FOREVER;

	for (unsigned i = 0; i < n_threads; i++)
		if (thread[i].wait == WAIT_EPOLL && thread[i].wake_at > now)
			next = MIN(next, thread[i].wake_at);
	if (next == SCHED_FOREVER)
		return false;
	now = next;
	return true;
}

static struct thread *choose(void)
{
	struct thread *ready[SCHED_THREADS];
	unsigned n = 0;

	running = NULL;
	if (!sched_random(64))
		pass_time();
	for (unsigned i = 0; i < n_threads; i++)
		if (can_run(&thread[i]))
			ready[n++] = &thread[i];
	return n ? ready[sched_random(n)] : NULL;
}

static void add_report(const char *fmt, ...)
{
	size_t n = strlen(report);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(report + n, sizeof(report) - n, fmt, ap);
	va_end(ap);
}

static void report_thread(const struct thread *t)
{
	switch (t->wait) {
	case WAIT_MUTEX:
		add_report("%s waits for mutex %p, held by %s\n", t->name, t->object, mutex_owner(t->object)->name);
		break;
	case WAIT_WORD:
		add_report("%s waits for %s\n", t->name, t->whom);
		break;
	case WAIT_EPOLL:
		add_report("%s sleeps in epoll_wait, nobody wakes it\n", t->name);
		break;
	case WAIT_JOIN:
		add_report("%s waits for %s to end\n", t->name, thread[t->joined].name);
		break;
	case WAIT_COND:
		add_report("%s waits until %s\n", t->name, t->whom);
		break;
	case RUNNABLE:
		add_report("%s runs%s%s\n", t->name, t->whom ? ", until " : "", t->whom ? t->whom : "");
		break;
	case DONE:
		break;
	}
}

const char *sched_report(void)
{
	return report;
}

bool sched_run(void)
{
	bool all_done = true;
	struct thread *t;

	report[0] = 0;
	for (unsigned step = 0; step < STEPS_MAX; step++) {
		t = choose();
		if (!t && !pass_time())
			break;
		if (t)
			resume(t);
	}
	for (unsigned i = 0; i < n_threads; i++) {
		report_thread(&thread[i]);
		all_done &= thread[i].wait == DONE;
	}
	return all_done;
}

/* ---- for threads ---- */

const char *sched_thread_name(void)
{
	return running ? running->name : "none";
}

void sched_point(void)
{
	if (running && !sched_random(switch_chance))
		yield();
}

/* Wait, as the fields of `running` say. */
static void block(enum wait wait)
{
	running->wait = wait;
	yield();
	running->wait = RUNNABLE;
	running->whom = NULL;
}

void sched_join(unsigned other)
{
	running->joined = other;
	block(WAIT_JOIN);
}

void sched_wait_for(bool (*cond)(void *arg), void *arg, const char *what)
{
	running->cond = cond;
	running->cond_arg = arg;
	running->whom = what;
	block(WAIT_COND);
}

void **sched_local(unsigned k)
{
	static void *outside[LOCALS];

	return running ? &running->locals[k] : &outside[k];
}

uintptr_t sys_thread(void)
{
	return running ? (uintptr_t)(running - thread) + 1 : SCHED_THREADS + 1;
}

uint64_t sys_clock_ns(void)
{
	return now;
}

void sys_pause(const char *what)
{
	if (!running)
		return;
	running->whom = what;
	yield();
	running->whom = NULL;
}

/* ---- mutexes ---- */

static bool take_mutex(const struct mutex *m)
{
	if (mutex_owner(m))
		return false;
	for (unsigned i = 0; i < HELD; i++) {
		if (!held[i].mutex) {
			held[i].mutex = m;
			held[i].owner = running;
			return true;
		}
	}
	sched_fail(__FILE__, __LINE__, "too many mutexes");
}

void mutex_lock(struct mutex *m) NO_THREAD_SAFETY
{
	if (!running)
		return;
	sched_point();
	while (!take_mutex(m)) {
		running->object = m;
		block(WAIT_MUTEX);
	}
}

bool mutex_trylock(struct mutex *m) NO_THREAD_SAFETY
{
	if (!running)
		return true;
	sched_point();
	return take_mutex(m);
}

void mutex_unlock(struct mutex *m) NO_THREAD_SAFETY
{
	if (!running)
		return;
	for (unsigned i = 0; i < HELD; i++) {
		if (held[i].mutex == m) {
			EXPECT(held[i].owner == running);
			held[i].mutex = NULL;
		}
	}
	sched_point();
}

/* ---- futexes ---- */

void sys_wait_word(_Atomic uint32_t *word, const char *whom)
{
	for (;;) {
		sched_point();
		/* From here to the wait nobody else runs: the kernel's promise for FUTEX_WAIT. */
		if (atomic_load(word))
			return;
		running->object = (const void *)word;
		running->whom = whom;
		running->woken = false;
		block(WAIT_WORD);
	}
}

void sys_wake_word(_Atomic uint32_t *word)
{
	sched_point();
	/* The address only: what is there may be gone. */
	for (unsigned i = 0; i < n_threads; i++)
		if (thread[i].wait == WAIT_WORD && thread[i].object == (const void *)word)
			thread[i].woken = true;
}

/* ---- descriptors ---- */

static int open_fake(int kind)
{
	for (unsigned i = 0; i < FDS; i++) {
		if (fds[i].kind == FD_FREE) {
			fds[i] = (struct fake_fd){ .kind = kind };
			return FD_FIRST + (int)i;
		}
	}
	sched_fail(__FILE__, __LINE__, "too many descriptors");
}

int sys_epoll_create(void)
{
	return open_fake(FD_EPOLL);
}

int sys_eventfd(void)
{
	return open_fake(FD_EVENT);
}

void sys_close(int fd)
{
	fds[fd - FD_FIRST].kind = FD_FREE;
	/* What is closed leaves all epoll sets. */
	for (unsigned i = 0; i < FDS; i++)
		for (unsigned k = 0; k < WATCHES; k++)
			if (fds[i].watch[k].fd == fd)
				fds[i].watch[k].fd = 0;
}

void sys_eventfd_signal(int fd)
{
	sched_point();
	fake(fd, FD_EVENT)->count++;
	for (unsigned i = 0; i < FDS; i++)
		for (unsigned k = 0; k < WATCHES; k++)
			if (fds[i].kind == FD_EPOLL && fds[i].watch[k].fd == fd)
				fds[i].watch[k].edge = true;
	sched_point();
}

uint64_t sched_eventfd_read(int fd)
{
	struct fake_fd *f = fake(fd, FD_EVENT);
	uint64_t count;

	sched_point();
	count = f->count;
	f->count = 0;
	return count;
}

uint64_t sched_eventfd_count(int fd)
{
	return fake(fd, FD_EVENT)->count;
}

int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct fake_fd *ep = fake(epfd, FD_EPOLL);
	int want = op == EPOLL_CTL_ADD ? 0 : fd;

	for (unsigned i = 0; i < WATCHES; i++) {
		struct fake_watch *w = &ep->watch[i];

		if (w->fd != want)
			continue;
		*w = (struct fake_watch){ .fd = op == EPOLL_CTL_DEL ? 0 : fd };
		if (op != EPOLL_CTL_DEL) {
			w->events = ev->events;
			w->key = ev->data.u64;
			w->edge = true;
		}
		return 0;
	}
	errno = ENOENT;
	return -1;
}

static int take_events(int epfd, struct epoll_event *ev, int max)
{
	struct fake_fd *ep = fake(epfd, FD_EPOLL);
	unsigned first = sched_random(WATCHES);
	int n = 0;

	for (unsigned i = 0; i < WATCHES && n < max; i++) {
		struct fake_watch *w = &ep->watch[(first + i) % WATCHES];
		uint32_t events = ready_events(w);

		if (!events)
			continue;
		w->edge = false;
		ev[n++] = (struct epoll_event){ .events = events, .data.u64 = w->key };
	}
	return n;
}

int sys_epoll_wait(int epfd, struct epoll_event *ev, int max, uint64_t timeout_ns)
{
	sched_point();
	if (!timeout_ns)
		now += POLL_NS;
	if (timeout_ns && !epoll_ready(epfd)) {
		EXPECT(running);
		running->epfd = epfd;
		running->wake_at = timeout_ns > SCHED_FOREVER - now ? SCHED_FOREVER : now + timeout_ns;
		block(WAIT_EPOLL);
	}
	max = take_events(epfd, ev, max);
	sched_point();
	return max;
}

/* ---- all seeds ---- */

static uint64_t number(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void run_one(const struct sched_scenario *s, uint64_t with)
{
	sched_begin(with);
	if (s->begin)
		s->begin();
	s->start();
	if (!sched_run())
		sched_fail(__FILE__, __LINE__, "%s: they wait for one another:\n%s", s->name, sched_report());
	if (s->end)
		s->end();
}

uint64_t sched_seeds(const struct sched_scenario *scenario, unsigned n, uint64_t seeds)
{
	uint64_t first = number("SCHED_SEED", 0), all = getenv("SCHED_SEED") ? 1 : number("SCHED_SEEDS", seeds);

	for (unsigned i = 0; i < n; i++) {
		clock_t begin = clock();

		for (uint64_t s = first; s < first + all; s++)
			run_one(&scenario[i], s);
		printf("%-10s %llu seeds, %.1f s\n", scenario[i].name, (unsigned long long)all,
		       (double)(clock() - begin) / CLOCKS_PER_SEC);
		fflush(stdout);
	}
	return all;
}
