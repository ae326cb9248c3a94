/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams and conversations are told apart, and the loop's thread is scheduled by it. */
#include <sched.h>
#include <unistd.h>

#include "loop/loop.h"
#include "loop/pace.h"
#include "unit.h"

/* A turn that moved `out` and `in` frames of `bytes` each. */
static void one_turn(struct pace *p, unsigned out, unsigned in, unsigned bytes)
{
	p->frames[0] = out;
	p->frames[1] = in;
	p->bytes = (uint64_t)(out + in) * bytes;
	pace_turn(p);
}

static void a_loop_starts_in_conversation(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p);
	assert_false(p.batch);
}

static void answers_are_a_conversation(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p);
	for (unsigned i = 0; i < 1000; i++) {
		one_turn(&p, i % 2, !(i % 2), 98);
		assert_false(p.batch);
	}
}

static void one_direction_is_a_stream(void **state)
{
	struct pace p;

	(void)state;
	for (unsigned in = 0; in < 2; in++) {
		pace_init(&p);
		for (unsigned i = 0; i < PACE_SURE; i++)
			one_turn(&p, !in, in, 106);
		assert_true(p.batch);
	}
}

static void bursts_with_a_request_between_stay_a_stream(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p);
	for (unsigned i = 0; i < 100; i++)
		one_turn(&p, 1, 0, 106);
	for (unsigned i = 0; i < 1000; i++) {
		one_turn(&p, 0, 1, 106);
		one_turn(&p, 64, 0, 106);
		assert_true(p.batch);
	}
}

static void large_frames_with_small_answers_are_a_stream(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p);
	for (unsigned i = 0; i < 100; i++)
		one_turn(&p, i % 2, !(i % 2), i % 2 ? 65226 : 66);
	assert_true(p.batch);
}

static void a_conversation_after_a_stream_is_noticed(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p);
	for (unsigned i = 0; i < 100; i++)
		one_turn(&p, 0, 8, 1514);
	assert_true(p.batch);
	for (unsigned i = 0; i < 2 * PACE_SURE; i++)
		one_turn(&p, i % 2, !(i % 2), 98);
	assert_false(p.batch);
}

/* ---- the thread ---- */

struct mover {
	struct loop *loop;
	unsigned out, in;
	int policy;
};

static void move(void *arg)
{
	struct mover *m = arg;

	m->policy = sched_getscheduler(0);
	if (m->out)
		loop_moved(m->loop, false, m->out, m->out * 100);
	if (m->in)
		loop_moved(m->loop, true, m->in, m->in * 100);
}

static void the_thread_follows(void **state)
{
	struct mover m = { .loop = loop_new("pace", NULL) };

	(void)state;
	assert_non_null(m.loop);
	assert_int_equal(loop_start_thread(m.loop, NULL), 0);
	m.out = 4;
	for (unsigned i = 0; i < 1000 && m.policy != SCHED_BATCH; i++)
		loop_call(m.loop, move, &m);
	assert_int_equal(m.policy, SCHED_BATCH);
	for (unsigned i = 0; i < 1000 && m.policy != SCHED_OTHER; i++) {
		m.out = i % 2;
		m.in = !m.out;
		loop_call(m.loop, move, &m);
		usleep(100); /* a turn each */
	}
	assert_int_equal(m.policy, SCHED_OTHER);
	loop_free(m.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_starts_in_conversation),
		cmocka_unit_test(answers_are_a_conversation),
		cmocka_unit_test(one_direction_is_a_stream),
		cmocka_unit_test(bursts_with_a_request_between_stay_a_stream),
		cmocka_unit_test(large_frames_with_small_answers_are_a_stream),
		cmocka_unit_test(a_conversation_after_a_stream_is_noticed),
		cmocka_unit_test(the_thread_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
