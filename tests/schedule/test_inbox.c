/* SPDX-License-Identifier: BSD-2-Clause */
/* Inboxes: order, both bounds, wrap-around, and several threads that give at once while one takes. */
#include <pthread.h>

#include "net/inbox.h"
#include "../unit/unit.h"

#define GIVERS 3
#define EACH   20000

static struct inbox in;

static const struct frame_meta no_meta;

/* Bytes that only this frame has. */
static void write_frame(uint8_t *at, uint32_t len, uint32_t id)
{
	for (uint32_t i = 0; i < len; i += 4)
		memcpy(at + i, &(uint32_t){ id + i }, MIN(len - i, 4u));
}

static void check_frame(const struct inbox_slot *s, uint32_t len, uint32_t id)
{
	assert_int_equal(s->len, len);
	for (uint32_t i = 0; i < len; i += 4)
		assert_memory_equal(in.bytes + s->at + i, &(uint32_t){ id + i }, MIN(len - i, 4u));
}

static bool put(uint32_t len, uint32_t id)
{
	uint32_t ticket;
	uint8_t *at = inbox_reserve(&in, len, &ticket);

	if (!at)
		return false;
	assert_true(at >= in.bytes && at + len <= in.bytes + INBOX_BYTES);
	write_frame(at, len, id);
	inbox_ready(&in, ticket, &no_meta);
	return true;
}

static uint32_t len_of(uint32_t id)
{
	return id % 5 ? 1 + id * 7919 % 2000 : 1 + id * 7919 % NET_FRAME_MAX;
}

static int setup(void **state)
{
	(void)state;
	memset(&in, 0, sizeof(in));
	return inbox_init(&in);
}

static int teardown(void **state)
{
	(void)state;
	inbox_destroy(&in);
	return 0;
}

/* Filled and emptied again and again, until both counts have wrapped; the counts are set near their end for that. */
static void test_order_and_wrap(void **state)
{
	uint32_t given = 0, taken = 0, start = UINT32_MAX - 1000;
	const struct inbox_slot *s;

	(void)state;
	in.head = in.tail = (uint64_t)start << 32 | (UINT32_MAX - 8 * INBOX_BYTES + 1);
	in.seen = start;
	while (taken < 20000) {
		while (put(len_of(given), given))
			given++;
		assert_true(given > taken && given - taken <= INBOX_FRAMES);
		assert_int_equal(inbox_arrived(&in), given - taken);
		assert_int_equal(inbox_arrived(&in), 0);
		for (unsigned n = 1 + given % 300; n && (s = inbox_first(&in)); n--) {
			check_frame(s, len_of(taken), taken);
			inbox_pop(&in);
			taken++;
		}
		given = taken; /* start over with what is left forgotten */
		while (inbox_first(&in))
			inbox_pop(&in);
		assert_true(in.head == in.tail); /* all of the room is there again */
	}
}

/* A frame that is not ready holds up those behind; none is seen before it was counted. */
static void test_not_ready(void **state)
{
	uint32_t ticket;
	uint8_t *at = inbox_reserve(&in, 100, &ticket);

	(void)state;
	assert_non_null(at);
	assert_true(put(60, 2));
	assert_int_equal(inbox_arrived(&in), 0);
	assert_null(inbox_first(&in));
	write_frame(at, 100, 1);
	inbox_ready(&in, ticket, &(struct frame_meta){ .gso_size = 77 });
	assert_null(inbox_first(&in));
	assert_int_equal(inbox_arrived(&in), 2);
	check_frame(inbox_first(&in), 100, 1);
	assert_int_equal(inbox_first(&in)->meta.gso_size, 77);
	inbox_pop(&in);
	check_frame(inbox_first(&in), 60, 2);
	inbox_pop(&in);
	assert_null(inbox_first(&in));
}

static void test_bounds(void **state)
{
	unsigned n = 0;

	(void)state;
	while (put(1, n))
		n++;
	assert_int_equal(n, INBOX_FRAMES);
	assert_int_equal(inbox_arrived(&in), n);
	while (inbox_first(&in))
		inbox_pop(&in);
	for (n = 0; put(NET_FRAME_MAX, n);)
		n++;
	/* As many as fit without a frame in two parts, from wherever it began. */
	assert_in_range(n, INBOX_BYTES / (NET_FRAME_MAX + 64) - 1, INBOX_BYTES / NET_FRAME_MAX);
}

static void *giver(void *arg)
{
	uint32_t who = *(const uint32_t *)arg;

	for (uint32_t i = 0; i < EACH;) {
		uint32_t id = who << 24 | i;

		if (put(len_of(id) % 3000 + 8, id))
			i++;
		else
			sched_yield();
	}
	return NULL;
}

/* Each giver's frames come in its order, whole, and none is missing. */
static void test_threads(void **state)
{
	uint32_t who[GIVERS], next[GIVERS] = { 0 }, all = 0;
	pthread_t thread[GIVERS];
	const struct inbox_slot *s;

	(void)state;
	for (uint32_t i = 0; i < GIVERS; i++) {
		who[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, giver, &who[i]), 0);
	}
	while (all < GIVERS * EACH) {
		if (!inbox_arrived(&in))
			sched_yield();
		while ((s = inbox_first(&in))) {
			uint32_t id, from;

			memcpy(&id, in.bytes + s->at, sizeof(id));
			from = id >> 24;
			assert_true(from < GIVERS);
			assert_int_equal(id & 0xffffff, next[from]++);
			check_frame(s, len_of(id) % 3000 + 8, id);
			inbox_pop(&in);
			all++;
		}
	}
	for (uint32_t i = 0; i < GIVERS; i++)
		pthread_join(thread[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_and_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
