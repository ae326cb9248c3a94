/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The meetings of test_lanes.c with real threads, for the thread sanitizer: a virtio device whose queues run on two
 * loops is kicked, broken, reset, held quiet and changed, all at once, and its account is exact whenever it stands.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sched.h"

#define EXPECT(cond)                                                               \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

static bool chance(unsigned n)
{
	static _Thread_local uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (state >> 16) % n == 0;
}
#define CHANCE(n) chance(n)
#include "lanes.h"

#define ROUNDS 1500

static struct mutex control = MUTEX_INIT;
static _Atomic bool over;

/* What the core does with it: it is told of what is posted by whoever changes the configuration. */
static void striped_post(struct post *p)
{
	(void)p;
	if (virtio_get_status(&striped) & VIRTIO_CONFIG_S_DRIVER_OK)
		striped_config(NULL);
}

static void *kicker(void *arg)
{
	while (!atomic_load(&over)) {
		striped_kick_from_guest(*(const unsigned *)arg);
		if (chance(8))
			sys_pause("others to go on");
	}
	return NULL;
}

static void *changer(void *arg)
{
	(void)arg;
	while (!atomic_load(&over)) {
		virtio_config_changed(&striped);
		sys_pause("others to go on");
	}
	return NULL;
}

static void read_work(void *arg)
{
	struct virtio_lane *l = arg;

	EXPECT(!l->running && !work[lane_index(l)].serving);
	EXPECT(work[lane_index(l)].in ==
	       work[lane_index(l)].out + work[lane_index(l)].held + work[lane_index(l)].dropped);
}

static void expect_exact(void)
{
	for (unsigned i = 0; i < LANES; i++)
		loop_call(lane_loop[i], read_work, &striped.lane[i]);
}

static void *quieter(void *arg)
{
	(void)arg;
	while (!atomic_load(&over)) {
		mutex_lock(&control);
		virtio_quiesce(&striped);
		expect_exact();
		virtio_resume(&striped);
		mutex_unlock(&control);
		sys_pause("others to go on");
	}
	return NULL;
}

static void reset_and_up(void)
{
	mutex_lock(&control);
	virtio_set_status(&striped, 0);
	EXPECT(!virtio_get_status(&striped) && !atomic_load(&striped.broken) && !atomic_load(&striped.isr));
	expect_exact();
	striped_up();
	mutex_unlock(&control);
}

int main(void)
{
	static const char *const names[LANES] = { "net0", "net1" };
	static const unsigned index[LANES] = { 0, 1 };
	void *(*const fn[])(void *) = { kicker, kicker, changer, quieter };
	void *arg[] = { (void *)&index[0], (void *)&index[1], NULL, NULL };
	pthread_t thread[ARRAY_SIZE(fn)];
	struct error err;

	striped_memory();
	break_chance = 20;
	for (unsigned i = 0; i < LANES; i++)
		lane_loop[i] = loop_new(names[i], &err);
	striped_make();
	for (unsigned i = 0; i < LANES; i++)
		EXPECT(loop_start_thread(lane_loop[i], &err) == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fn); i++)
		EXPECT(!pthread_create(&thread[i], NULL, fn[i], arg[i]));
	for (unsigned i = 0; i < ROUNDS; i++) {
		reset_and_up();
		if (chance(2))
			sys_pause("others to go on");
	}
	atomic_store(&over, true);
	for (unsigned i = 0; i < ARRAY_SIZE(fn); i++)
		pthread_join(thread[i], NULL);
	virtio_reset(&striped);
	expect_exact();
	EXPECT(work[0].out && work[1].out && work[0].dropped && work[1].dropped && atomic_load(&config_calls));
	for (unsigned i = 0; i < LANES; i++)
		loop_free(lane_loop[i]);
	ram_destroy(&striped_ram);
	return 0;
}
