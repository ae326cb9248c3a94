/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Theory of operation.
 *
 * Sleeping and waking. A post goes onto a stack of the loop (one compare-and-swap), and only if the loop sleeps or may
 * be about to, its eventfd is written. Loop and poster each write one word and then read the other's, all of it
 * sequentially consistent:
 *
 *	loop:	asleep = true;	 look at `posted`;	empty: epoll_wait
 *	poster:	push to `posted`; look at `asleep`;	true: make it false, write the eventfd
 *
 * One of the two sees the other, so no post waits while the loop sleeps. loop_stop() and a change of the VM clock use
 * the same protocol with their own word in the place of `posted`. The eventfd is watched edge-triggered and never read.
 * A late write, for a sleep that has ended, costs one empty turn.
 *
 * Watches. The kernel holds no pointer: an event names a place in a table and the generation of the place for which it
 * was made. watch_del() empties the place and steps its generation, so an event that is in the batch already finds
 * nothing, and a new watch in the same place gets only events of its own.
 *
 * Snapshots. The loop is a reader of mem/epoch.h, inside from the end of epoll_wait until it is about to sleep. A turn
 * that does not sleep enters anew, so a busy loop holds nothing up.
 *
 * Polling (loop/poll.h). A loop that polls is not asleep, and what comes it finds by itself: a poll is a turn that does
 * not sleep, so posts, the word of loop_stop(), clocks and timers are looked at, and the epoch is entered anew, each
 * time. Before it sleeps each poller has asked for events and looked again, after which it is as above: who comes later
 * signals a descriptor that epoll watches.
 *
 * Cost. A turn that serves one watch makes one system call, epoll_wait. The clock is read only if a timer is armed,
 * once, behind the watches; the next sleep is computed from that. The longest turn is measured in ticks of the CPU.
 */
#include "loop/loop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "loop/priv.h"

#define BATCH	      64 /* events taken at once */
#define SLOTS_INITIAL 32
#define NO_SLOT	      UINT32_MAX
#define WAKE_KEY      UINT64_MAX /* what epoll says of wake_fd */
#define HOOK_ROUNDS   8

static struct mutex loops_lock = MUTEX_INIT;
static struct list loops GUARDED_BY(loops_lock) = LIST_INIT(loops);

/* The loop whose turn the calling thread is in. */
#ifdef VWIRE_SCHED
#define here (*(struct loop **)sched_local(1))
#else
static _Thread_local struct loop *here;
#endif

static inline uint64_t ticks(void)
{
#if defined(__x86_64__) && !defined(VWIRE_SCHED)
	return __builtin_ia32_rdtsc();
#else
	return sys_clock_ns();
#endif
}

/* ---- checks ---- */

#ifdef VWIRE_CHECKS
void loop_check_here(const struct loop *l, const char *what)
{
	if (loop_here(l))
		return;
	log_err("%s: called for loop %s from another thread", what, l->name);
	abort();
}
#endif

/* Who may wait: a net loop waits for nobody. */
static void check_may_wait(const struct loop *l)
{
#ifdef VWIRE_CHECKS
	if (!here || !here->threaded)
		return;
	log_err("loop_call: loop %s must not wait for loop %s", here->name, l->name);
	abort();
#else
	(void)l;
#endif
}

/* ---- life ---- */

static int loop_open(struct loop *l)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = WAKE_KEY };

	l->epfd = sys_epoll_create();
	l->wake_fd = sys_eventfd();
	if (l->epfd < 0 || l->wake_fd < 0 || sys_epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wake_fd, &ev))
		return -errno;
	return timers_init(l);
}

static void loop_release(struct loop *l)
{
	timers_free(l);
	if (l->wake_fd >= 0)
		sys_close(l->wake_fd);
	if (l->epfd >= 0)
		sys_close(l->epfd);
	free(l->slots);
	free(l);
}

struct loop *loop_new(const char *name, struct error *err)
{
	struct loop *l = aligned_alloc(CACHE_LINE, ALIGN_UP(sizeof(*l), CACHE_LINE));
	int ret;

	if (!l) {
		fail(err, ENOMEM, "loop %s: out of memory", name);
		return NULL;
	}
	memset(l, 0, sizeof(*l));
	l->name = name;
	l->epfd = l->wake_fd = -1;
	l->free_slot = NO_SLOT;
	list_init(&l->again);
	list_init(&l->hooks);
	pace_init(&l->pace);
	poll_init(&l->poll);
	ret = loop_open(l);
	if (ret) {
		fail(err, -ret, "loop %s: %s", name, errno_str(ret));
		loop_release(l);
		return NULL;
	}
	l->born_ns = sys_clock_ns();
	l->born_ticks = ticks();
	epoch_register(&l->reader);
	mutex_lock(&loops_lock);
	list_append(&loops, &l->node);
	mutex_unlock(&loops_lock);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->threaded) {
		loop_stop(l);
		pthread_join(l->thread, NULL);
	}
	mutex_lock(&loops_lock);
	list_remove(&l->node);
	mutex_unlock(&loops_lock);
	epoch_unregister(&l->reader);
	loop_release(l);
}

bool loop_here(const struct loop *l)
{
	return here == l || !atomic_load_explicit(&l->running, memory_order_acquire);
}

int loop_fd(const struct loop *l)
{
	return l->epfd;
}

const char *loop_name(const struct loop *l)
{
	return l->name;
}

struct epoch_reader *loop_reader(struct loop *l)
{
	return &l->reader;
}

const struct loop_stats *loop_stats(const struct loop *l)
{
	uint64_t span = ticks() - l->born_ticks, ns = sys_clock_ns() - l->born_ns;
	uint64_t longest = counter_get(&l->longest);
	counter *to = (counter *)&l->stats.longest_ns;

	atomic_store_explicit(to, span ? (uint64_t)((unsigned __int128)longest * ns / span) : 0, memory_order_relaxed);
	return &l->stats;
}

void loop_each(void (*fn)(const struct loop *l, void *arg), void *arg)
{
	const struct loop *l;

	mutex_lock(&loops_lock);
	list_for_each(l, &loops, node)
		fn(l, arg);
	mutex_unlock(&loops_lock);
}

/* ---- waking ---- */

void loop_kick(struct loop *l)
{
	SCHED_POINT();
	if (!atomic_load(&l->asleep))
		return;
	SCHED_POINT();
	if (atomic_exchange(&l->asleep, false))
		sys_eventfd_signal(l->wake_fd);
}

void loops_kick_all(void)
{
	struct loop *l;

	mutex_lock(&loops_lock);
	list_for_each(l, &loops, node)
		loop_kick(l);
	mutex_unlock(&loops_lock);
}

void loop_stop(struct loop *l)
{
	SCHED_POINT();
	atomic_store(&l->stop, true);
	loop_kick(l);
}

/* ---- posts ---- */

void loop_post(struct loop *l, struct post *p)
{
	struct post *top;

	SCHED_POINT();
	if (atomic_exchange(&p->queued, true))
		return;
	SCHED_POINT();
	top = atomic_load_explicit(&l->posted, memory_order_relaxed);
	do {
		p->next = top;
		SCHED_POINT();
	} while (!atomic_compare_exchange_weak(&l->posted, &top, p));
	loop_kick(l);
}

/* Move what was posted behind what is ready, oldest first. Returns how many are ready. */
static unsigned take_posts(struct loop *l)
{
	struct post *p, *next, *list = NULL, **end = &l->ready;
	unsigned n = 0;

	SCHED_POINT();
	for (p = atomic_exchange(&l->posted, NULL); p; p = next) {
		next = p->next;
		p->next = list;
		list = p;
	}
	for (; *end; end = &(*end)->next)
		n++;
	*end = list;
	for (; list; list = list->next)
		n++;
	return n;
}

static bool posts_wait(struct loop *l)
{
	SCHED_POINT();
	return atomic_load(&l->posted) || l->ready;
}

static bool run_posts(struct loop *l)
{
	unsigned n;

	if (likely(!posts_wait(l)))
		return false;
	/* What these post runs in the next turn. */
	for (n = take_posts(l); n && l->ready; n--) {
		struct post *p = l->ready;

		l->ready = p->next;
		counter_add(&l->stats.posts, 1);
		/* First idle, then called: a loop_post() from now on asks for another run. */
		SCHED_POINT();
		atomic_exchange(&p->queued, false);
		p->fn(p);
	}
	return true;
}

void loop_unpost(struct loop *l, struct post *p)
{
	loop_check_here(l, "loop_unpost");
	if (!atomic_load_explicit(&p->queued, memory_order_acquire))
		return;
	take_posts(l);
	for (struct post **at = &l->ready; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			atomic_exchange(&p->queued, false);
			return;
		}
	}
}

struct call {
	struct post post;
	void (*fn)(void *arg);
	void *arg;
	_Atomic uint32_t done;
};

static void call_post(struct post *p)
{
	struct call *c = container_of(p, struct call, post);

	c->fn(c->arg);
	/* The caller may see this and return at once: `c` is gone then. */
	SCHED_POINT();
	atomic_store_explicit(&c->done, 1, memory_order_release);
	sys_wake_word(&c->done);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	if (loop_here(l)) {
		fn(arg);
		return;
	}
	check_may_wait(l);
	post_init(&c.post, call_post);
	loop_post(l, &c.post);
	sys_wait_word(&c.done, l->name);
}

/* ---- watches ---- */

static int grow_slots(struct loop *l)
{
	uint32_t n = l->n_slots ? 2 * l->n_slots : SLOTS_INITIAL;
	struct watch_slot *slots = realloc(l->slots, n * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = l->n_slots; i < n; i++)
		slots[i] = (struct watch_slot){ .next_free = i + 1 < n ? i + 1 : NO_SLOT };
	l->free_slot = l->n_slots;
	l->slots = slots;
	l->n_slots = n;
	return 0;
}

static int watch_ctl(struct watch *w, int op, uint32_t events)
{
	struct watch_slot *s = &w->loop->slots[w->slot];
	struct epoll_event ev = { .events = events, .data.u64 = (uint64_t)s->generation << 32 | w->slot };

	return sys_epoll_ctl(w->loop->epfd, op, w->fd, &ev) ? -errno : 0;
}

static void release_slot(struct loop *l, uint32_t slot)
{
	struct watch_slot *s = &l->slots[slot];

	s->watch = NULL;
	s->generation++;
	s->next_free = l->free_slot;
	l->free_slot = slot;
}

void watch_init(struct watch *w, const char *name, int fd, watch_fn *fn)
{
	*w = (struct watch){ .fn = fn, .name = name, .fd = fd };
	list_init(&w->node);
}

int watch_add(struct loop *l, struct watch *w, uint32_t events)
{
	int ret;

	loop_check_here(l, "watch_add");
	if (w->loop)
		return -EEXIST;
	if (l->free_slot == NO_SLOT && grow_slots(l))
		return -ENOMEM;
	w->loop = l;
	w->slot = l->free_slot;
	w->events = events;
	l->free_slot = l->slots[w->slot].next_free;
	ret = watch_ctl(w, EPOLL_CTL_ADD, events);
	if (ret) {
		release_slot(l, w->slot);
		w->loop = NULL;
		return ret;
	}
	l->slots[w->slot].watch = w;
	return 0;
}

static void cancel_again(struct watch *w)
{
	w->again = false;
	list_remove(&w->node);
}

int watch_mod(struct watch *w, uint32_t events)
{
	int ret;

	if (!w->loop)
		return -ENOENT;
	loop_check_here(w->loop, "watch_mod");
	if (events == w->events)
		return 0;
	ret = watch_ctl(w, EPOLL_CTL_MOD, events);
	if (ret)
		return ret;
	w->events = events;
	if (!events)
		cancel_again(w);
	return 0;
}

void watch_del(struct watch *w)
{
	struct loop *l = w->loop;

	if (!l)
		return;
	loop_check_here(l, "watch_del");
	/* The owner may have closed it already; then the kernel has forgotten it. */
	watch_ctl(w, EPOLL_CTL_DEL, 0);
	release_slot(l, w->slot);
	cancel_again(w);
	w->loop = NULL;
}

void watch_again(struct watch *w)
{
	if (!w->loop || w->again)
		return;
	loop_check_here(w->loop, "watch_again");
	w->again = true;
	list_append(&w->loop->again, &w->node);
}

static void call_watch(struct loop *l, struct watch *w, uint32_t events)
{
	if (w->again)
		cancel_again(w);
	counter_add(&l->stats.watches, 1);
	w->fn(w, events);
}

static bool dispatch(struct loop *l, const struct epoll_event *ev, int n)
{
	bool ran = false;

	for (int i = 0; i < n; i++) {
		uint64_t key = ev[i].data.u64;
		const struct watch_slot *s;
		uint32_t events;

		if (key == WAKE_KEY)
			continue;
		s = &l->slots[(uint32_t)key];
		if (unlikely(!s->watch || s->generation != key >> 32))
			continue;
		/* The function of another watch may have silenced this one. */
		events = ev[i].events & (s->watch->events | EPOLLERR | EPOLLHUP);
		if (unlikely(!events))
			continue;
		call_watch(l, s->watch, events);
		ran = true;
	}
	return ran;
}

static bool run_watches(struct loop *l, const struct epoll_event *ev, int n)
{
	struct list todo;
	bool ran;

	if (likely(list_empty(&l->again)))
		return n > 0 && dispatch(l, ev, n);
	/* Those that asked in the turn before. An event for one of them counts as its call. */
	list_take_all(&todo, &l->again);
	ran = dispatch(l, ev, n);
	while (!list_empty(&todo)) {
		call_watch(l, list_entry(todo.next, struct watch, node), 0);
		ran = true;
	}
	return ran;
}

/* ---- the end of a turn ---- */

void loop_before_sleep(struct loop *l, struct sleep_hook *h)
{
	loop_check_here(l, "loop_before_sleep");
	if (list_empty(&h->node))
		list_append(&l->hooks, &h->node);
}

void loop_cancel_sleep(struct sleep_hook *h)
{
	list_remove(&h->node);
}

/* A hook may arm others (a wake leads to a send, that to a publish). What is left after some rounds waits a turn. */
static bool run_hooks(struct loop *l)
{
	struct list todo;
	bool ran = false;

	for (unsigned round = 0; round < HOOK_ROUNDS && !list_empty(&l->hooks); round++) {
		list_take_all(&todo, &l->hooks);
		while (!list_empty(&todo)) {
			struct sleep_hook *h = list_entry(todo.next, struct sleep_hook, node);

			list_remove(&h->node);
			h->fn(h);
		}
		ran = true;
	}
	return ran;
}

/* ---- turns ---- */

/* Take events; sleep for them if nothing else is left to do. The loop is outside the epoch while it sleeps. */
static int wait_events(struct loop *l, struct epoll_event *ev, bool may_sleep)
{
	uint64_t timeout = 0;
	int n;

	if (may_sleep) {
		epoch_leave(&l->reader);
		epoch_collect();
		SCHED_POINT();
		atomic_store(&l->asleep, true);
		SCHED_POINT();
		if (likely(!posts_wait(l) && !atomic_load(&l->stop)))
			timeout = timers_timeout(l);
	}
	n = sys_epoll_wait(l->epfd, ev, BATCH, timeout);
	if (may_sleep)
		atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
	epoch_enter(&l->reader);
	return n;
}

void loop_moved(struct loop *l, bool into_guest, unsigned frames, uint64_t bytes)
{
	l->pace.frames[into_guest] += frames;
	l->pace.bytes += bytes;
}

bool loop_converses(const struct loop *l)
{
	return l->pace.agreement == PACE_SURE;
}

/* The main loop's thread is not ours to slow down. */
static void keep_pace(struct loop *l)
{
	struct sched_param param = { 0 };

	if (pace_turn(&l->pace) && l->threaded)
		sched_setscheduler(0, l->pace.batch ? SCHED_BATCH : SCHED_OTHER, &param);
}

static bool turn(struct loop *l, bool may_sleep)
{
	struct epoll_event ev[BATCH];
	bool ran = run_posts(l);
	uint64_t start, end;
	int n;

	may_sleep = may_sleep && !ran && list_empty(&l->again) && list_empty(&l->hooks);
	if (unlikely(l->poll.window.limit) && may_sleep)
		may_sleep = poll_over(l);
	n = wait_events(l, ev, may_sleep);
	start = ticks();
	ran |= run_watches(l, ev, n);
	if (unlikely(l->poll.window.limit))
		ran = poll_look(l, ran);
	ran |= timers_run(l);
	ran |= run_hooks(l);
	if (l->pace.bytes)
		keep_pace(l);
	epoch_collect();
	counter_add(&l->stats.turns, 1);
	end = ticks();
	if (unlikely(end > start && end - start > counter_get(&l->longest)))
		atomic_store_explicit(&l->longest, end - start, memory_order_relaxed);
	return ran;
}

bool loop_turn(struct loop *l)
{
	struct loop *outer = here;
	bool ran;

	/* In a watch's function of this same loop: the turn around us holds the epoch. */
	if (outer == l)
		return turn(l, false);
	loop_check_here(l, "loop_turn");
	here = l;
	epoch_enter(&l->reader);
	ran = turn(l, false);
	epoch_leave(&l->reader);
	here = outer;
	return ran;
}

void loop_run(struct loop *l)
{
	atomic_store_explicit(&l->running, true, memory_order_release);
	here = l;
	/* Timers are to be as exact as they can. */
	prctl(PR_SET_TIMERSLACK, 1);
	l->now = 0;
	epoch_enter(&l->reader);
	while (!atomic_load_explicit(&l->stop, memory_order_relaxed))
		turn(l, true);
	/* Who waits for a call that was posted before the stop gets it. */
	for (unsigned i = 0; i < HOOK_ROUNDS && run_posts(l); i++)
		run_hooks(l);
	epoch_leave(&l->reader);
	here = NULL;
	atomic_store(&l->stop, false);
	atomic_store_explicit(&l->running, false, memory_order_release);
}

static void *loop_thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

int loop_start_thread(struct loop *l, struct error *err)
{
	sigset_t all, old;
	char name[16];
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* From now on others must post: before the thread is there. */
	atomic_store(&l->running, true);
	l->threaded = true;
	poll_allow(&l->poll);
	ret = pthread_create(&l->thread, NULL, loop_thread, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		l->threaded = false;
		poll_init(&l->poll);
		atomic_store(&l->running, false);
		return fail(err, ret, "loop %s: cannot start a thread: %s", l->name, errno_str(ret));
	}
	snprintf(name, sizeof(name), "%s", l->name);
	pthread_setname_np(l->thread, name);
	return 0;
}
