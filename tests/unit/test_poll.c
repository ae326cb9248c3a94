/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a loop polls before it sleeps, who may have it do so, and what it counts. */
#include <unistd.h>

#include "loop/priv.h"
#include "object/iothread.h"
#include "unit.h"

/* ---- the window ---- */

static void it_starts_with_none(void **state)
{
	struct poll p;

	(void)state;
	poll_init(&p);
	poll_allow(&p);
	assert_int_equal(p.window.width, 0);
	assert_int_equal(p.window.limit, 0);
}

static void short_sleeps_make_it_larger(void **state)
{
	struct poll_window w = { .limit = 50000 };
	static const uint64_t widths[] = { POLL_FIRST_NS, 2 * POLL_FIRST_NS, 4 * POLL_FIRST_NS, 8 * POLL_FIRST_NS,
					   50000 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(widths); i++) {
		poll_window_judge(&w, 45000);
		assert_int_equal(w.width, widths[i]);
	}
	/* Now it is found by polling. */
	poll_window_judge(&w, 45000);
	poll_window_judge(&w, 1);
	poll_window_judge(&w, 50000);
	assert_int_equal(w.width, 50000);
}

static void it_grows_no_further_than_is_of_use(void **state)
{
	struct poll_window w = { .limit = 1000000 };

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		poll_window_judge(&w, 10000);
	assert_int_equal(w.width, 4 * POLL_FIRST_NS);
}

static void a_long_sleep_ends_it(void **state)
{
	struct poll_window w = { .limit = 50000, .width = 50000 };

	(void)state;
	poll_window_judge(&w, 50001);
	assert_int_equal(w.width, 0);
	for (unsigned i = 0; i < 100; i++) {
		poll_window_judge(&w, 51000 + i * 1000000);
		assert_int_equal(w.width, 0);
	}
	poll_window_judge(&w, 20000);
	assert_int_equal(w.width, POLL_FIRST_NS);
}

static void limits_at_the_ends(void **state)
{
	struct poll_window w = { .limit = 1 };

	(void)state;
	poll_window_judge(&w, 0);
	assert_int_equal(w.width, 0);
	poll_window_judge(&w, 1);
	assert_int_equal(w.width, 1);
	w.limit = INT64_MAX;
	for (unsigned i = 0; i < 100; i++)
		poll_window_judge(&w, INT64_MAX);
	assert_int_equal(w.width, INT64_MAX);
	w.limit = w.width = 0;
	poll_window_judge(&w, 0);
	poll_window_judge(&w, 1);
	assert_int_equal(w.width, 0);
}

/* ---- pollers ---- */

struct counted {
	struct poller poller;
	unsigned looks, rests;
	bool something; /* is there, until it is looked at */
	struct counted *removes;
};

static bool look(struct poller *p)
{
	struct counted *c = container_of(p, struct counted, poller);
	bool was = c->something;

	c->looks++;
	c->something = false;
	if (c->removes)
		poller_del(&c->removes->poller);
	return was;
}

static bool rest(struct poller *p)
{
	struct counted *c = container_of(p, struct counted, poller);

	c->rests++;
	return c->something;
}

static void counted_init(struct counted *c)
{
	*c = (struct counted){ .looks = 0 };
	poller_init(&c->poller, look, rest);
}

static struct loop *new_loop(void)
{
	struct loop *l = loop_new("poll", NULL);

	assert_non_null(l);
	return l;
}

static void a_loop_without_a_thread_never_polls(void **state)
{
	struct loop *l = new_loop();
	struct counted c;

	(void)state;
	counted_init(&c);
	loop_set_poll(l, 1000000);
	assert_false(poller_add(l, &c.poller, 1000000));
	assert_false(poller_added(&c.poller));
	loop_turn(l);
	assert_int_equal(c.looks + c.rests, 0);
	assert_int_equal(l->poll.window.limit, 0);
	poller_del(&c.poller);
	loop_free(l);
}

static void the_largest_wish_counts(void **state)
{
	struct loop *l = new_loop();
	struct counted c[3];

	(void)state;
	poll_allow(&l->poll);
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
		counted_init(&c[i]);
	assert_false(poller_add(l, &c[0].poller, 0)); /* nobody wants it */
	assert_true(poller_add(l, &c[0].poller, 20));
	assert_true(poller_add(l, &c[1].poller, 30));
	assert_true(poller_add(l, &c[1].poller, 40)); /* it is there already */
	assert_int_equal(l->poll.window.limit, 30);
	l->poll.window.width = 30;
	poller_del(&c[1].poller);
	assert_int_equal(l->poll.window.limit, 20);
	assert_int_equal(l->poll.window.width, 20);
	loop_set_poll(l, 50);
	assert_int_equal(l->poll.window.limit, 50);
	assert_true(poller_add(l, &c[2].poller, 0)); /* the loop's own limit is its */
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++)
		poller_del(&c[i].poller);
	assert_int_equal(l->poll.window.limit, 50);
	assert_true(list_empty(&l->poll.pollers));
	loop_set_poll(l, 0);
	assert_int_equal(l->poll.window.limit, 0);
	assert_int_equal(l->poll.window.width, 0);
	loop_free(l);
}

static void each_is_looked_at_in_each_turn(void **state)
{
	struct loop *l = new_loop();
	struct counted c[4];

	(void)state;
	poll_allow(&l->poll);
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		counted_init(&c[i]);
		assert_true(poller_add(l, &c[i].poller, 10));
	}
	c[2].something = true;
	assert_true(loop_turn(l));
	assert_false(loop_turn(l));
	/* One that goes while they are being looked at; itself, one that was looked at, one that was not. */
	c[1].removes = &c[1];
	loop_turn(l);
	c[2].removes = &c[0];
	loop_turn(l);
	assert_int_equal(c[0].looks, 4);
	c[2].removes = &c[3];
	loop_turn(l);
	assert_int_equal(c[0].looks, 4);
	assert_int_equal(c[1].looks, 3);
	assert_int_equal(c[2].looks, 5);
	assert_int_equal(c[3].looks, 4);
	assert_int_equal(l->poll.window.limit, 10);
	c[2].removes = &c[2];
	loop_turn(l);
	assert_int_equal(l->poll.window.limit, 0);
	loop_free(l);
}

/* ---- the thread ---- */

struct visit {
	struct loop *loop;
	struct counted c;
};

static void add(void *arg)
{
	struct visit *v = arg;

	assert_true(poller_add(v->loop, &v->c.poller, 1));
}

static void leave(void *arg)
{
	poller_del(&((struct visit *)arg)->c.poller);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* With no end to its patience a loop polls for ever, sooner or later; it is called all the same, and stopped. */
static void it_is_called_while_it_polls(void **state)
{
	struct loop *l = new_loop();
	uint64_t turns;

	(void)state;
	loop_set_poll(l, INT64_MAX);
	assert_int_equal(loop_start_thread(l, NULL), 0);
	while (counter_get(&loop_stats(l)->polls_found) < 100) {
		loop_call(l, nothing, NULL);
		usleep(10);
	}
	turns = counter_get(&loop_stats(l)->turns);
	while (counter_get(&loop_stats(l)->turns) < turns + 1000) {
		/* The window may still end; each sleep doubles it. */
		loop_call(l, nothing, NULL);
		usleep(10);
	}
	loop_free(l);
}

/* A poller whose time is short: it rests, and is looked at when the loop wakes; and it goes while the loop runs. */
static void it_sleeps_in_the_end(void **state)
{
	struct visit v = { .loop = new_loop() };
	unsigned looks;

	(void)state;
	counted_init(&v.c);
	assert_int_equal(loop_start_thread(v.loop, NULL), 0);
	loop_call(v.loop, add, &v);
	for (unsigned i = 0; i < 100; i++)
		loop_call(v.loop, nothing, NULL);
	loop_call(v.loop, leave, &v);
	looks = v.c.looks;
	assert_true(looks >= 100);
	loop_call(v.loop, nothing, NULL);
	assert_int_equal(v.c.looks, looks);
	loop_free(v.loop);
	assert_int_equal(v.c.looks, looks);
}

/* ---- -object iothread,poll-max-ns= ---- */

static void expect_own_limit(const char *options, uint64_t limit)
{
	struct error err = { "" };
	struct opt_list list;
	struct creatable *c;

	assert_int_equal(opt_list_parse(options, "qom-type", &list, &err), 0);
	c = creatable_add(&list, &err);
	opt_list_free(&list);
	assert_non_null(c);
	assert_int_equal(iothread_loop("t0", &err)->poll.own, limit);
	creatable_del(c);
}

static void a_thread_may_poll_by_itself(void **state)
{
	static const struct type *const types[] = { &type_object, &type_user_creatable, &type_iothread, NULL };
	struct loop *only = new_loop();

	(void)state;
	assert_int_equal(types_init(types, NULL), 0);
	expect_own_limit("iothread,id=t0", 0);
	expect_own_limit("iothread,id=t0,poll-max-ns=32768", 32768);
	/* Where there is but one loop it is not the thread's. */
	iothread_use(only);
	expect_own_limit("iothread,id=t0,poll-max-ns=32768", 0);
	iothread_use(NULL);
	loop_free(only);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_starts_with_none),
		cmocka_unit_test(short_sleeps_make_it_larger),
		cmocka_unit_test(it_grows_no_further_than_is_of_use),
		cmocka_unit_test(a_long_sleep_ends_it),
		cmocka_unit_test(limits_at_the_ends),
		cmocka_unit_test(a_loop_without_a_thread_never_polls),
		cmocka_unit_test(the_largest_wish_counts),
		cmocka_unit_test(each_is_looked_at_in_each_turn),
		cmocka_unit_test(it_is_called_while_it_polls),
		cmocka_unit_test(it_sleeps_in_the_end),
		cmocka_unit_test(a_thread_may_poll_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
