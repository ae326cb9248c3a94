/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A loop that polls before it sleeps, under the deterministic scheduler: rings to which their drivers add at any step,
 * and kick only if they are asked to; posters, a timer, and pollers that come and go. Nothing but what each does by the
 * rules wakes the loop, so whatever is lost is a deadlock; in every second run there is one ring and nothing else, which
 * could wake it by chance. SCHED_SEED and SCHED_SEEDS are as in test_interleave.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "interleave.h"
#include "loop/priv.h"

#define SEEDS  100000
#define RINGS  2
#define ROUNDS 6
#define STEPS  3

static struct loop *net;
static unsigned net_thread, changer_thread;
static unsigned rings;
static bool alone; /* one ring, and nothing else happens */

/* What they came to, over all seeds. */
static uint64_t found, vain, kicked, spared, changes;

/* ---- rings ---- */

static struct ring {
	struct watch watch;
	struct poller poller;
	bool polled, asked;	/* the device's */
	_Atomic bool wanted;	/* the driver is to kick: written by the device */
	_Atomic unsigned added; /* written by the driver */
	_Atomic unsigned taken;
	unsigned thread;
	int fd;
} ring[RINGS];

static bool waits(struct ring *r)
{
	SCHED_POINT();
	return atomic_load(&r->added) != atomic_load(&r->taken);
}

static void want(struct ring *r, bool wanted)
{
	SCHED_POINT();
	atomic_store(&r->wanted, wanted);
	SCHED_POINT();
}

static void serve(struct ring *r)
{
	do {
		want(r, false);
		atomic_store(&r->taken, atomic_load(&r->added));
		if (r->polled)
			break;
		want(r, true);
	} while (waits(r));
	r->asked = false;
}

static void on_kick(struct watch *w, uint32_t events)
{
	(void)events;
	serve(container_of(w, struct ring, watch));
}

static void unpoll(struct ring *r)
{
	if (!r->polled)
		return;
	poller_del(&r->poller);
	r->polled = false;
	watch_again(&r->watch); /* from now on by kicks */
	changes++;
}

static void poll(struct ring *r)
{
	if (r->polled)
		return;
	r->asked = false;
	r->polled = true;
	EXPECT(poller_add(net, &r->poller, 200u << sched_random(10)));
	watch_again(&r->watch);
	changes++;
}

static bool look(struct poller *p)
{
	struct ring *r = container_of(p, struct ring, poller);

	EXPECT(r->polled && loop_here(net));
	if (!alone && !sched_random(50))
		unpoll(&ring[sched_random(RINGS)]);
	if (r->asked && loop_polls(net)) {
		r->asked = false;
		want(r, false);
	}
	if (!waits(r))
		return false;
	serve(r);
	return true;
}

static bool rest(struct poller *p)
{
	struct ring *r = container_of(p, struct ring, poller);

	EXPECT(r->polled && loop_here(net));
	if (!alone && !sched_random(50)) {
		unpoll(&ring[sched_random(RINGS)]);
		return true;
	}
	if (r->asked)
		return false;
	r->asked = true;
	want(r, true);
	return waits(r);
}

static bool served(void *arg)
{
	struct ring *r = arg;

	return r->taken == r->added;
}

static void driver(void *arg)
{
	struct ring *r = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned n = 1 + sched_random(STEPS); n; n--) {
			SCHED_POINT();
			atomic_fetch_add(&r->added, 1);
			SCHED_POINT();
			if (atomic_load(&r->wanted)) {
				sys_eventfd_signal(r->fd);
				kicked++;
			} else {
				spared++;
			}
		}
		sched_wait_for(served, r, "the ring is served");
	}
}

/* ---- who else has something for the loop ---- */

static struct post note;
static struct timer alarm_clock;
static unsigned given, seen, rang;

static void on_note(struct post *p)
{
	(void)p;
	SCHED_POINT();
	seen = given;
}

static void on_alarm(struct timer *t)
{
	EXPECT(clock_now(CLOCK_HOST_NS) >= t->deadline);
	if (rang++ < 3)
		EXPECT(!timer_arm(t, clock_now(CLOCK_HOST_NS) + sched_random(10000)));
}

static void change(void *arg)
{
	struct ring *r = arg;

	if (r->polled)
		unpoll(r);
	else
		poll(r);
}

static bool all_seen(void *arg)
{
	(void)arg;
	return seen == given;
}

static void changer(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		given++;
		loop_post(net, &note);
		if (sched_random(2))
			sched_wait_for(all_seen, NULL, "the post has run");
		if (!sched_random(3))
			loop_call(net, change, &ring[sched_random(RINGS)]);
	}
	sched_wait_for(all_seen, NULL, "the post has run");
}

/* ---- a run ---- */

static void set_up(void *arg)
{
	(void)arg;
	if (!alone)
		EXPECT(!timer_arm(&alarm_clock, clock_now(CLOCK_HOST_NS) + 1000));
	for (unsigned i = 0; i < rings; i++) {
		EXPECT(!watch_add(net, &ring[i].watch, EPOLLIN | EPOLLET));
		poll(&ring[i]);
	}
	net->poll.window.width = sched_random(2) * net->poll.window.limit;
}

static void take_down(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < rings; i++) {
		EXPECT(served(&ring[i]));
		poller_del(&ring[i].poller);
		watch_del(&ring[i].watch);
		sys_close(ring[i].fd);
	}
	EXPECT(list_empty(&net->poll.pollers) && net->poll.window.limit == net->poll.own);
}

static bool loop_up(void *arg)
{
	(void)arg;
	return !loop_here(net);
}

static bool rung(void *arg)
{
	(void)arg;
	return rang == 4;
}

static void main_thread(void *arg)
{
	(void)arg;
	sched_wait_for(loop_up, NULL, "the loop runs");
	loop_call(net, set_up, NULL);
	if (!alone)
		changer_thread = sched_spawn("changer", changer, NULL);
	for (unsigned i = 0; i < rings; i++)
		ring[i].thread = sched_spawn(i ? "driver1" : "driver0", driver, &ring[i]);
	for (unsigned i = 0; i < rings; i++)
		sched_join(ring[i].thread);
	if (!alone) {
		sched_join(changer_thread);
		sched_wait_for(rung, NULL, "the timer has fired");
	}
	loop_call(net, take_down, NULL);
	found += counter_get(&loop_stats(net)->polls_found);
	vain += counter_get(&loop_stats(net)->polls_vain);
	loop_stop(net);
	sched_join(net_thread);
	loop_free(net);
}

static void run_loop(void *arg)
{
	loop_run(arg);
}

static void start(void)
{
	memset(ring, 0, sizeof(ring));
	given = seen = rang = 0;
	alone = sched_random(2);
	rings = alone ? 1 : RINGS;
	net = loop_new("net0", NULL);
	EXPECT(net);
	poll_allow(&net->poll);
	loop_set_poll(net, sched_random(2) * 500);
	post_init(&note, on_note);
	timer_init(&alarm_clock, net, CLOCK_HOST_NS, on_alarm);
	for (unsigned i = 0; i < rings; i++) {
		ring[i].fd = sys_eventfd();
		watch_init(&ring[i].watch, "ring", ring[i].fd, on_kick);
		poller_init(&ring[i].poller, look, rest);
	}
	net_thread = sched_spawn("net0", run_loop, net);
	sched_spawn("main", main_thread, NULL);
}

int main(void)
{
	static const struct sched_scenario polling = { .name = "polling", .start = start };
	uint64_t seeds = sched_seeds(&polling, 1, SEEDS);

	printf("polls that found something %llu, that did not %llu; kicks %llu, spared %llu; changes %llu\n",
	       (unsigned long long)found, (unsigned long long)vain, (unsigned long long)kicked,
	       (unsigned long long)spared, (unsigned long long)changes);
	if (seeds > 1000)
		EXPECT(found > seeds && vain > seeds / 4 && kicked > seeds && spared > seeds && changes > seeds);
	return 0;
}
