/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wake protocol of the frame rings between vwire and vwire-user: a producer and a consumer that sleep whenever the
 * protocol says they may. A lost wake is a test that does not end; an order that is not kept is a race for TSan.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring_frames.h"

#define SIZE   (256 * 1024U)
#define FRAMES 200000

struct threads {
	struct ring p, c;
	int data, room; /* eventfds */
};

/* Mostly small, now and then large. */
static uint32_t len_of(uint32_t n)
{
	return n % 16 ? 60 + n % 1400 : RING_FRAME_MAX - n % 1000;
}

static bool put(struct ring *r, uint32_t n)
{
	return put_numbered(r, n, len_of(n));
}

static void sleep_on(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	uint64_t n;

	assert_int_equal(poll(&p, 1, 20000), 1); /* else a wake was lost */
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
}

static void kick(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void *produce(void *arg)
{
	struct threads *t = arg;
	uint32_t n = 0;

	while (n < FRAMES) {
		uint32_t before = n;

		while (n < FRAMES && n - before < 1 + n % 5 && put(&t->p, n))
			n++;
		if (ring_publish(&t->p))
			kick(t->data);
		if (n == before && ring_ask_room(&t->p))
			sleep_on(t->room);
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct threads *t = arg;
	struct ring_frame f;
	uint32_t n = 0;

	while (n < FRAMES) {
		unsigned k = 0;

		while (k++ < 1 + n % 7 && ring_peek(&t->c, &f) == RING_FRAME) {
			check_numbered(&f, n, len_of(n));
			n++;
			ring_pop(&t->c, &f);
		}
		if (ring_release(&t->c))
			kick(t->room);
		if (n < FRAMES && ring_ask_data(&t->c))
			sleep_on(t->data);
	}
	return NULL;
}

/* Both ends use one mapping here, so that the sanitizer sees that they touch the same bytes. */
static void test_threads(void **state)
{
	struct threads t = { .data = eventfd(0, 0), .room = eventfd(0, 0) };
	int fd = memfd_create("ring", 0);
	struct ring_ctl *ctl;
	pthread_t thread;
	uint8_t *data;

	(void)state;
	assert_int_equal(ftruncate(fd, 4096 + SIZE), 0);
	ctl = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	data = ring_map(fd, 4096, SIZE);
	assert_non_null(data);
	ring_init(&t.p, ctl, data, SIZE);
	ring_init(&t.c, ctl, data, SIZE);
	assert_int_equal(pthread_create(&thread, NULL, produce, &t), 0);
	consume(&t);
	pthread_join(thread, NULL);
	munmap(ctl, 4096);
	ring_unmap(data, SIZE);
	close(fd);
	close(t.data);
	close(t.room);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
