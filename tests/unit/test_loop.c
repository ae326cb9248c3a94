/* SPDX-License-Identifier: BSD-2-Clause */
/* Loops: watches, posts, calls, hooks, timers and clocks; by single turns, and with a thread. */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop/loop.h"

static struct error err;
static struct loop *loop;
static char trace[512];

static void note(const char *what)
{
	snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), "%s ", what);
}

static void assert_trace(const char *want)
{
	assert_string_equal(trace, want);
	trace[0] = 0;
}

static int set_up(void **state)
{
	(void)state;
	loop = loop_new("test", &err);
	assert_non_null(loop);
	trace[0] = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void settle(void)
{
	for (unsigned i = 0; i < 100; i++)
		if (!loop_turn(loop))
			return;
	assert_false(true);
}

/* ---- watches ---- */

/* An eventfd with its watch, which reads it. */
struct source {
	struct watch w;
	int fd;
	unsigned calls;
	uint32_t events;
	void (*extra)(struct source *s);
	struct source *other;
};

static void source_fn(struct watch *w, uint32_t events)
{
	struct source *s = container_of(w, struct source, w);
	uint64_t v;

	s->calls++;
	s->events = events;
	note(w->name);
	if (read(s->fd, &v, sizeof(v)) < 0)
		assert_int_equal(errno, EAGAIN);
	if (s->extra)
		s->extra(s);
}

static void source_open(struct source *s, const char *name)
{
	memset(s, 0, sizeof(*s));
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	watch_init(&s->w, name, s->fd, source_fn);
}

static void source_signal(struct source *s)
{
	uint64_t one = 1;

	assert_int_equal(write(s->fd, &one, sizeof(one)), sizeof(one));
}

static void source_close(struct source *s)
{
	watch_del(&s->w);
	close(s->fd);
}

static void watches_are_called(void **state)
{
	struct source s;

	(void)state;
	source_open(&s, "s");
	assert_int_equal(watch_add(loop, &s.w, EPOLLIN), 0);
	assert_int_equal(watch_add(loop, &s.w, EPOLLIN), -EEXIST);
	assert_false(loop_turn(loop));
	source_signal(&s);
	assert_true(loop_turn(loop));
	assert_int_equal(s.events, EPOLLIN);
	assert_false(loop_turn(loop));
	assert_trace("s ");
	watch_del(&s.w);
	watch_del(&s.w);
	source_signal(&s);
	assert_false(loop_turn(loop));
	assert_int_equal(watch_mod(&s.w, EPOLLIN), -ENOENT);
	source_close(&s);
}

static void silent_watches_stay_silent(void **state)
{
	struct source s;

	(void)state;
	source_open(&s, "s");
	assert_int_equal(watch_add(loop, &s.w, 0), 0);
	source_signal(&s);
	assert_false(loop_turn(loop));
	assert_int_equal(watch_mod(&s.w, EPOLLIN), 0);
	assert_int_equal(watch_mod(&s.w, EPOLLIN), 0);
	assert_true(loop_turn(loop));
	assert_trace("s ");
	watch_again(&s.w);
	assert_int_equal(watch_mod(&s.w, 0), 0);
	assert_false(loop_turn(loop));
	source_close(&s);
}

static void bad_descriptors_are_refused(void **state)
{
	struct watch w;

	(void)state;
	watch_init(&w, "bad", -1, source_fn);
	assert_int_equal(watch_add(loop, &w, EPOLLIN), -EBADF);
	assert_null(w.loop);
	watch_del(&w);
}

static void del_other(struct source *s)
{
	watch_del(&s->other->w);
	close(s->other->fd);
	free(s->other);
	s->other = NULL;
}

static void a_removed_watch_is_not_called_from_the_batch(void **state)
{
	struct source *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b)), *c = malloc(sizeof(*c));

	(void)state;
	source_open(a, "a");
	source_open(b, "b");
	source_open(c, "c");
	watch_add(loop, &a->w, EPOLLIN);
	watch_add(loop, &b->w, EPOLLIN);
	watch_add(loop, &c->w, EPOLLIN);
	/* epoll hands out events in the order in which they came. */
	source_signal(a);
	source_signal(b);
	source_signal(c);
	a->extra = del_other;
	a->other = b;
	c->extra = del_other;
	c->other = a;
	assert_true(loop_turn(loop));
	assert_trace("a c ");
	assert_false(loop_turn(loop));
	source_close(c);
	free(c);
}

static void replace_other(struct source *s)
{
	struct source *o = s->other;

	watch_del(&o->w);
	assert_int_equal(watch_add(loop, &o->w, EPOLLIN), 0);
	s->extra = NULL;
}

static void an_old_event_does_not_reach_a_new_watch_in_its_place(void **state)
{
	struct source s[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		source_open(&s[i], i ? "b" : "a");
		s[i].extra = replace_other;
		s[i].other = &s[!i];
		assert_int_equal(watch_add(loop, &s[i].w, EPOLLIN), 0);
		source_signal(&s[i]);
	}
	/*
	 * Both are in the batch; the first replaces the second, whose old event must fall away; the new one has its
	 * own.
	 */
	assert_true(loop_turn(loop));
	assert_int_equal(s[0].calls + s[1].calls, 1);
	s[0].extra = s[1].extra = NULL;
	assert_true(loop_turn(loop));
	assert_int_equal(s[0].calls, 1);
	assert_int_equal(s[1].calls, 1);
	assert_false(loop_turn(loop));
	source_close(&s[0]);
	source_close(&s[1]);
}

static void ask_again(struct source *s)
{
	if (s->calls < 3)
		watch_again(&s->w);
}

static void edge_triggered_watches_ask_for_more(void **state)
{
	struct source s;

	(void)state;
	source_open(&s, "s");
	s.extra = ask_again;
	assert_int_equal(watch_add(loop, &s.w, EPOLLIN | EPOLLET), 0);
	source_signal(&s);
	assert_true(loop_turn(loop));
	assert_int_equal(s.events, EPOLLIN);
	assert_true(loop_turn(loop));
	assert_int_equal(s.events, 0);
	/* An event takes the place of the call that was asked for. */
	source_signal(&s);
	assert_true(loop_turn(loop));
	assert_int_equal(s.events, EPOLLIN);
	assert_int_equal(s.calls, 3);
	assert_false(loop_turn(loop));
	watch_again(&s.w);
	watch_del(&s.w);
	assert_false(loop_turn(loop));
	source_close(&s);
}

static void many_watches(void **state)
{
	static struct source s[200];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
		source_open(&s[i], "");
		assert_int_equal(watch_add(loop, &s[i].w, EPOLLIN), 0);
		source_signal(&s[i]);
	}
	settle();
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		assert_int_equal(s[i].calls, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i += 2)
		watch_del(&s[i].w);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		source_signal(&s[i]);
	settle();
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
		assert_int_equal(s[i].calls, i % 2 ? 2 : 1);
		source_close(&s[i]);
	}
}

/* ---- posts ---- */

struct named_post {
	struct post p;
	const char *name;
	struct named_post *then, *unpost;
};

static void post_note(struct post *p)
{
	struct named_post *n = container_of(p, struct named_post, p);

	note(n->name);
	if (n->then)
		loop_post(loop, &n->then->p);
	if (n->unpost)
		loop_unpost(loop, &n->unpost->p);
}

static void posts_run_in_order_and_once(void **state)
{
	struct named_post a = { .name = "a" }, b = { .name = "b" }, c = { .name = "c" };

	(void)state;
	post_init(&a.p, post_note);
	post_init(&b.p, post_note);
	post_init(&c.p, post_note);
	loop_post(loop, &a.p);
	loop_post(loop, &b.p);
	loop_post(loop, &a.p);
	loop_post(loop, &c.p);
	assert_true(loop_turn(loop));
	assert_trace("a b c ");
	assert_false(loop_turn(loop));
	/* One that posts itself runs once a turn. */
	a.then = &a;
	loop_post(loop, &a.p);
	assert_true(loop_turn(loop));
	assert_trace("a ");
	assert_true(loop_turn(loop));
	assert_trace("a ");
	loop_unpost(loop, &a.p);
	assert_false(loop_turn(loop));
}

static void posts_are_taken_back(void **state)
{
	struct named_post a = { .name = "a" }, b = { .name = "b" }, c = { .name = "c" };

	(void)state;
	post_init(&a.p, post_note);
	post_init(&b.p, post_note);
	post_init(&c.p, post_note);
	loop_unpost(loop, &a.p);
	a.unpost = &b;
	loop_post(loop, &a.p);
	loop_post(loop, &b.p);
	loop_post(loop, &c.p);
	settle();
	assert_trace("a c ");
	loop_post(loop, &b.p);
	loop_post(loop, &c.p);
	loop_unpost(loop, &b.p);
	loop_post(loop, &b.p);
	settle();
	assert_trace("c b ");
}

/* ---- hooks ---- */

struct named_hook {
	struct sleep_hook h;
	const char *name;
	struct named_hook *then;
	unsigned times;
};

static void hook_note(struct sleep_hook *h)
{
	struct named_hook *n = container_of(h, struct named_hook, h);

	note(n->name);
	if (n->then && n->times++ < 1000)
		loop_before_sleep(loop, &n->then->h);
}

static void hooks_run_once_at_the_end(void **state)
{
	struct named_hook a = { .name = "a" }, b = { .name = "b" };

	(void)state;
	sleep_hook_init(&a.h, hook_note);
	sleep_hook_init(&b.h, hook_note);
	loop_before_sleep(loop, &a.h);
	loop_before_sleep(loop, &a.h);
	a.then = &b;
	assert_true(loop_turn(loop));
	assert_trace("a b ");
	assert_false(loop_turn(loop));
	loop_before_sleep(loop, &a.h);
	loop_cancel_sleep(&a.h);
	loop_cancel_sleep(&a.h);
	assert_false(loop_turn(loop));
	/* One that arms itself does not hold the loop for ever. */
	a.then = &a;
	loop_before_sleep(loop, &a.h);
	assert_true(loop_turn(loop));
	assert_true(a.times < 100);
	loop_cancel_sleep(&a.h);
}

/* ---- timers ---- */

struct named_timer {
	struct timer t;
	const char *name;
	uint64_t again;
};

static void timer_note(struct timer *t)
{
	struct named_timer *n = container_of(t, struct named_timer, t);

	assert_false(timer_armed(t));
	note(n->name);
	if (n->again)
		assert_int_equal(timer_arm(t, n->again), 0);
}

static void vm_timers_follow_the_vm_clock(void **state)
{
	struct named_timer a = { .name = "a" }, b = { .name = "b" }, c = { .name = "c" };

	(void)state;
	vm_clock_manual();
	timer_init(&a.t, loop, CLOCK_VM_NS, timer_note);
	timer_init(&b.t, loop, CLOCK_VM_NS, timer_note);
	timer_init(&c.t, loop, CLOCK_VM_NS, timer_note);
	timer_cancel(&a.t);
	assert_int_equal(loop_next_vm_deadline(loop), UINT64_MAX);
	timer_arm(&c.t, 300);
	timer_arm(&a.t, 100);
	timer_arm(&b.t, 200);
	assert_int_equal(loop_next_vm_deadline(loop), 100);
	assert_int_equal(clock_now(CLOCK_VM_NS), 0);
	assert_false(loop_turn(loop));
	vm_clock_step(99);
	assert_false(loop_turn(loop));
	vm_clock_step(200);
	assert_int_equal(clock_now(CLOCK_VM_NS), 200);
	assert_true(loop_turn(loop));
	assert_trace("a b ");
	timer_arm(&c.t, 150);
	assert_true(loop_turn(loop));
	assert_trace("c ");
	/* For the past, again and again: once a turn. */
	a.again = 100;
	timer_arm(&a.t, 100);
	assert_true(loop_turn(loop));
	assert_trace("a ");
	assert_true(loop_turn(loop));
	assert_trace("a ");
	timer_cancel(&a.t);
	assert_false(timer_armed(&a.t));
	assert_false(loop_turn(loop));
	/* A running VM does not move a clock that is stepped by hand. */
	vm_clock_run(true);
	usleep(1000);
	assert_int_equal(clock_now(CLOCK_VM_NS), 200);
}

static void host_timers_are_due_in_time(void **state)
{
	struct named_timer a = { .name = "a" };
	uint64_t start = clock_now(CLOCK_HOST_NS);

	(void)state;
	timer_init(&a.t, loop, CLOCK_HOST_NS, timer_note);
	timer_arm(&a.t, start + 3 * NSEC_PER_MSEC);
	assert_false(loop_turn(loop));
	while (!loop_turn(loop))
		;
	assert_true(clock_now(CLOCK_HOST_NS) - start >= 3 * NSEC_PER_MSEC);
	assert_trace("a ");
}

static struct timer heap_timer[500];
static uint64_t heap_last;
static unsigned heap_fired;

static void heap_fn(struct timer *t)
{
	assert_true(t->deadline >= heap_last);
	heap_last = t->deadline;
	heap_fired++;
}

static void the_heap_keeps_order(void **state)
{
	unsigned armed = 0;

	(void)state;
	srand(1);
	heap_last = heap_fired = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(heap_timer); i++)
		timer_init(&heap_timer[i], loop, CLOCK_HOST_NS, heap_fn);
	for (unsigned i = 0; i < 20000; i++) {
		struct timer *t = &heap_timer[rand() % (int)ARRAY_SIZE(heap_timer)];

		if (rand() % 3)
			assert_int_equal(timer_arm(t, (uint64_t)rand() % 1000000), 0);
		else
			timer_cancel(t);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(heap_timer); i++)
		armed += timer_armed(&heap_timer[i]);
	assert_true(armed > 100);
	settle();
	assert_int_equal(heap_fired, armed);
	for (unsigned i = 0; i < ARRAY_SIZE(heap_timer); i++)
		assert_false(timer_armed(&heap_timer[i]));
}

/* ---- with a thread ---- */

struct asked {
	struct loop *l;
	pthread_t thread;
	unsigned runs;
};

static void ask(void *arg)
{
	struct asked *a = arg;

	a->thread = pthread_self();
	a->runs++;
	assert_true(loop_here(a->l));
	/* From the loop itself: at once. */
	if (a->runs == 1)
		loop_call(a->l, ask, a);
}

static void calls_run_on_the_loops_thread(void **state)
{
	struct asked a = { .l = loop };

	(void)state;
	loop_call(loop, ask, &a);
	assert_int_equal(a.runs, 2);
	assert_true(pthread_equal(a.thread, pthread_self()));
	assert_int_equal(loop_start_thread(loop, &err), 0);
	assert_false(loop_here(loop));
	a.runs = 0;
	loop_call(loop, ask, &a);
	assert_int_equal(a.runs, 2);
	assert_false(pthread_equal(a.thread, pthread_self()));
	assert_true(counter_get(&loop_stats(loop)->posts) == 1);
}

static void stop_from_post(struct post *p)
{
	(void)p;
	loop_stop(loop);
}

static void a_loop_runs_until_it_is_stopped(void **state)
{
	struct named_post late = { .name = "late" };
	struct post p;

	(void)state;
	post_init(&p, stop_from_post);
	post_init(&late.p, post_note);
	for (unsigned i = 0; i < 2; i++) {
		loop_post(loop, &p);
		loop_post(loop, &late.p);
		loop_run(loop);
		assert_trace("late ");
		assert_true(loop_here(loop));
	}
	/* A stop before the start is not lost. */
	loop_stop(loop);
	loop_run(loop);
}

static _Atomic unsigned timed;

static void timed_fn(struct timer *t)
{
	(void)t;
	timed++;
}

static void arm_vm(void *arg)
{
	timer_arm(arg, clock_now(CLOCK_VM_NS) + 5 * NSEC_PER_MSEC);
}

static void cancel(void *arg)
{
	timer_cancel(arg);
}

/* The first test: the VM clock is one for all, and here it is not yet stepped by hand. */
static void a_sleeping_loop_sees_the_vm_clock_start(void **state)
{
	struct timer t;
	uint64_t start;

	(void)state;
	assert_int_equal(clock_now(CLOCK_VM_NS), 0);
	timer_init(&t, loop, CLOCK_VM_NS, timed_fn);
	assert_int_equal(loop_start_thread(loop, &err), 0);
	timed = 0;
	loop_call(loop, arm_vm, &t);
	usleep(20000);
	assert_int_equal(timed, 0);
	start = clock_now(CLOCK_HOST_NS);
	vm_clock_run(true);
	while (!timed && clock_now(CLOCK_HOST_NS) - start < 5 * (uint64_t)NSEC_PER_SEC)
		usleep(100);
	assert_int_equal(timed, 1);
	assert_true(clock_now(CLOCK_HOST_NS) - start >= 5 * NSEC_PER_MSEC);
	vm_clock_run(false);
	start = clock_now(CLOCK_VM_NS);
	assert_true(start >= 5 * (uint64_t)NSEC_PER_MSEC);
	loop_call(loop, arm_vm, &t);
	usleep(20000);
	assert_int_equal(timed, 1);
	assert_int_equal(clock_now(CLOCK_VM_NS), start);
	loop_call(loop, cancel, &t);
}

static void the_longest_turn_is_measured(void **state)
{
	struct named_post p = { .name = "p" };
	const struct loop_stats *s;
	struct source slow;

	(void)state;
	post_init(&p.p, post_note);
	source_open(&slow, "s");
	watch_add(loop, &slow.w, EPOLLIN);
	source_signal(&slow);
	loop_post(loop, &p.p);
	usleep(1000);
	settle();
	s = loop_stats(loop);
	assert_int_equal(counter_get(&s->turns), 2);
	assert_int_equal(counter_get(&s->watches), 1);
	assert_int_equal(counter_get(&s->posts), 1);
	assert_true(counter_get(&s->longest_ns) > 0 && counter_get(&s->longest_ns) < 1000000000);
	source_close(&slow);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_sleeping_loop_sees_the_vm_clock_start),
		T(watches_are_called),
		T(silent_watches_stay_silent),
		T(bad_descriptors_are_refused),
		T(a_removed_watch_is_not_called_from_the_batch),
		T(an_old_event_does_not_reach_a_new_watch_in_its_place),
		T(edge_triggered_watches_ask_for_more),
		T(many_watches),
		T(posts_run_in_order_and_once),
		T(posts_are_taken_back),
		T(hooks_run_once_at_the_end),
		T(vm_timers_follow_the_vm_clock),
		T(host_timers_are_due_in_time),
		T(the_heap_keeps_order),
		T(calls_run_on_the_loops_thread),
		T(a_loop_runs_until_it_is_stopped),
		T(the_longest_turn_is_measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
