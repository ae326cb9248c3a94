/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio device whose queues run on two loops, under the deterministic scheduler: it is reset while a lane breaks it,
 * held quiet while kicks arrive, reset while its configuration changes. A lost kick is a deadlock here. SCHED_SEEDS=N
 * is how many interleavings of each scenario; SCHED_SEED=N runs just that one.
 */
#ifndef VWIRE_SCHED
#define VWIRE_SCHED 1
#endif
/* The code under test, with its scheduling points. */
#include "virtio/device.c"

#include <stdio.h>

#include "interleave.h"

#define CHANCE(n) (sched_random(n) == 0)
#include "lanes.h"

#define SEEDS 40000

static unsigned threads_done, threads_all, loop_thread[LANES];
static bool driver_is_up;
static struct mutex control;

static void striped_post(struct post *p)
{
	on_config_post(p);
}

static void run_loop(void *arg)
{
	loop_run(arg);
}

static bool loops_up(void *arg)
{
	(void)arg;
	return !loop_here(lane_loop[0]) && !loop_here(lane_loop[1]);
}

static bool driver_up(void *arg)
{
	(void)arg;
	return driver_is_up;
}

static void boot(void *arg)
{
	(void)arg;
	sched_wait_for(loops_up, NULL, "the loops run");
	striped_up();
	driver_is_up = true;
}

static bool all_done(void *arg)
{
	(void)arg;
	return threads_done == threads_all;
}

static void spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	threads_all++;
	sched_spawn(name, fn, arg);
}

/* Nothing moves, and no interrupt comes. */
static void expect_still(void)
{
	struct work before[LANES];
	unsigned calls = atomic_load(&config_calls);

	memcpy(before, work, sizeof(before));
	for (unsigned i = 0; i < 5; i++) {
		SCHED_POINT();
		EXPECT(!memcmp(before, work, sizeof(before)));
		EXPECT(atomic_load(&config_calls) == calls && !atomic_load(&striped.isr));
	}
}

static void take_down(void)
{
	virtio_reset(&striped);
	queues_free(&striped);
	for (unsigned i = 0; i < LANES; i++) {
		loop_stop(lane_loop[i]);
		sched_join(loop_thread[i]);
		loop_free(lane_loop[i]);
	}
}

/* ---- threads of all scenarios ---- */

static unsigned kicks;

static void kicker(void *arg)
{
	sched_wait_for(driver_up, NULL, "the driver is up");
	for (unsigned i = 0; i < kicks; i++)
		striped_kick_from_guest(*(const unsigned *)arg);
	threads_done++;
}

static void changer(void *arg)
{
	(void)arg;
	sched_wait_for(driver_up, NULL, "the driver is up");
	for (unsigned i = 0; i < 2; i++)
		virtio_config_changed(&striped);
	threads_done++;
}

/* A vCPU's resets, and the driver's way up after each. */
static void resetter(void *arg)
{
	(void)arg;
	sched_wait_for(driver_up, NULL, "the driver is up");
	for (unsigned i = 0; i < 3; i++) {
		mutex_lock(&control);
		virtio_set_status(&striped, 0);
		EXPECT(!virtio_get_status(&striped) && !atomic_load(&striped.broken));
		expect_still();
		striped_up();
		mutex_unlock(&control);
	}
	threads_done++;
}

static void quieter(void *arg)
{
	(void)arg;
	sched_wait_for(driver_up, NULL, "the driver is up");
	for (unsigned i = 0; i < 3; i++) {
		mutex_lock(&control);
		virtio_quiesce(&striped);
		for (unsigned k = 0; k < LANES; k++)
			EXPECT(!striped.lane[k].running && !work[k].serving);
		expect_still();
		virtio_resume(&striped);
		mutex_unlock(&control);
	}
	threads_done++;
}

/* ---- the device breaks on one of its lanes while it is reset ---- */

static bool dropped_all(void *arg)
{
	(void)arg;
	return !work[0].held && !work[1].held && atomic_load(&config_calls);
}

static void breaks_main(void *arg)
{
	(void)arg;
	sched_wait_for(all_done, NULL, "kicks and resets are through");
	if (atomic_load(&striped.broken)) {
		EXPECT(virtio_get_status(&striped) & VIRTIO_STATUS_NEEDS_RESET);
		sched_wait_for(dropped_all, NULL, "both lanes have dropped what they held, and the driver is told");
	}
	take_down();
}

static void breaks(void)
{
	static const unsigned index[LANES] = { 0, 1 };

	break_chance = 3;
	kicks = 6;
	spawn("guest0", kicker, (void *)&index[0]);
	spawn("guest1", kicker, (void *)&index[1]);
	spawn("vcpu0", resetter, NULL);
	sched_spawn("test", breaks_main, NULL);
}

/* ---- kicks while the device is held quiet: each is heard, later ---- */

static bool all_heard(void *arg)
{
	(void)arg;
	return work[0].heard == kicks && work[1].heard == kicks;
}

static void quiet_main(void *arg)
{
	(void)arg;
	sched_wait_for(all_done, NULL, "kicks and quiet times are through");
	sched_wait_for(all_heard, NULL, "each kick is heard");
	EXPECT(!atomic_load(&config_calls));
	take_down();
}

static void quiet(void)
{
	static const unsigned index[LANES] = { 0, 1 };

	break_chance = 0;
	kicks = 4;
	spawn("guest0", kicker, (void *)&index[0]);
	spawn("guest1", kicker, (void *)&index[1]);
	spawn("main", quieter, NULL);
	sched_spawn("test", quiet_main, NULL);
}

/* ---- the configuration changes, a lane breaks the device, and the driver resets it ---- */

static void config_main(void *arg)
{
	(void)arg;
	sched_wait_for(all_done, NULL, "changes and resets are through");
	mutex_lock(&control);
	virtio_set_status(&striped, 0);
	EXPECT(!atomic_load(&striped.isr));
	expect_still();
	mutex_unlock(&control);
	take_down();
}

static void config(void)
{
	static const unsigned second = 1;

	break_chance = 2;
	kicks = 3;
	spawn("main", changer, NULL);
	spawn("guest1", kicker, (void *)&second);
	spawn("vcpu0", resetter, NULL);
	sched_spawn("test", config_main, NULL);
}

/* ---- all seeds ---- */

static void begin(void)
{
	static const char *const names[LANES] = { "net0", "net1" };

	threads_done = threads_all = 0;
	mutex_init(&control);
	for (unsigned k = 0; k < LANES; k++) {
		lane_loop[k] = loop_new(names[k], NULL);
		EXPECT(lane_loop[k]);
	}
	striped_make();
	driver_is_up = false;
	for (unsigned k = 0; k < LANES; k++)
		loop_thread[k] = sched_spawn(names[k], run_loop, lane_loop[k]);
	sched_spawn("boot", boot, NULL);
}

#define SCENARIO(f)                                    \
	{                                              \
		.name = #f, .begin = begin, .start = f \
	}
static const struct sched_scenario scenarios[] = { SCENARIO(breaks), SCENARIO(quiet), SCENARIO(config) };

int main(void)
{
	striped_memory();
	sched_seeds(scenarios, ARRAY_SIZE(scenarios), SEEDS);
	return 0;
}
