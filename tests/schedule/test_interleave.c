/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loops, posts, calls, epochs and address spaces under the deterministic scheduler, each scenario with very many seeds.
 * SCHED_SEEDS=N is how many; SCHED_SEED=N runs just that one (a failure names its seed).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "loop/loop.h"
#include "mem/epoch.h"
#include "mem/space.h"
#include "interleave.h"

#define SEEDS 100000

static struct loop *net, *main_loop;
static unsigned net_thread;

static void run_loop(void *arg)
{
	loop_run(arg);
}

static struct loop *new_loop(const char *name)
{
	struct loop *l = loop_new(name, NULL);

	EXPECT(l);
	return l;
}

/* A loop that runs as a thread; whoever calls it must find it running. */
static unsigned spawn_loop(struct loop *l)
{
	return sched_spawn(loop_name(l), run_loop, l);
}

static bool loop_up(void *arg)
{
	return !loop_here(arg);
}

static void wait_loop_up(struct loop *l)
{
	sched_wait_for(loop_up, l, "the loop runs");
}

static void end_loop(struct loop *l, unsigned t)
{
	loop_stop(l);
	sched_join(t);
	loop_free(l);
}

/* ---- no post is lost, and none runs more often than it was posted ---- */

#define POSTERS 3
#define ROUNDS	3

static struct posted {
	struct post post;
	unsigned thread, given, seen, runs, made;
} posted[POSTERS];

static void posted_fn(struct post *p)
{
	struct posted *x = container_of(p, struct posted, post);

	SCHED_POINT();
	x->seen = x->given;
	x->runs++;
	SCHED_POINT();
}

static void poster(void *arg)
{
	struct posted *x = arg;

	wait_loop_up(net);
	for (unsigned i = 0; i < ROUNDS; i++) {
		x->given++;
		x->made++;
		loop_post(net, &x->post);
		SCHED_POINT();
	}
}

static bool all_seen(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < POSTERS; i++)
		if (posted[i].given != ROUNDS || posted[i].seen != ROUNDS)
			return false;
	return true;
}

static void posts_main(void *arg)
{
	(void)arg;
	/* Nothing here wakes the loop: a post that was lost is a deadlock. */
	sched_wait_for(all_seen, NULL, "all posts have run");
	for (unsigned i = 0; i < POSTERS; i++) {
		EXPECT(posted[i].runs <= posted[i].made);
		/* It may still be inside loop_post(). */
		sched_join(posted[i].thread);
	}
	end_loop(net, net_thread);
}

static void posts(void)
{
	memset(posted, 0, sizeof(posted));
	net = new_loop("net0");
	net_thread = spawn_loop(net);
	for (unsigned i = 0; i < POSTERS; i++) {
		post_init(&posted[i].post, posted_fn);
		posted[i].thread = sched_spawn("poster", poster, &posted[i]);
	}
	sched_spawn("main", posts_main, NULL);
}

/* ---- a call has run, once, on the loop, when it returns ---- */

static unsigned callers_done;

static void call_fn(void *arg)
{
	SCHED_POINT();
	EXPECT(!strcmp(sched_thread_name(), loop_name(net)));
	EXPECT(loop_here(net));
	(*(unsigned *)arg)++;
	SCHED_POINT();
}

static void caller(void *arg)
{
	(void)arg;
	wait_loop_up(net);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned runs = 0;

		loop_call(net, call_fn, &runs);
		EXPECT(runs == 1);
	}
	callers_done++;
}

static bool callers_are_done(void *arg)
{
	return callers_done == *(unsigned *)arg;
}

static void calls_main(void *arg)
{
	static unsigned all = 3;

	caller(arg);
	sched_wait_for(callers_are_done, &all, "all callers are done");
	end_loop(net, net_thread);
}

static void calls(void)
{
	callers_done = 0;
	net = new_loop("net0");
	net_thread = spawn_loop(net);
	sched_spawn("vcpu0", caller, NULL);
	sched_spawn("vcpu1", caller, NULL);
	sched_spawn("main", calls_main, NULL);
}

/* ---- events: none is lost, none reaches a watch that was removed ---- */

#define SOURCES 3

static struct source {
	struct watch w;
	unsigned magic, index;
} * source[SOURCES];
static int source_fd[SOURCES];
static unsigned signalled, taken, churns;
static unsigned signallers_done;

#define ALIVE  0x600d
#define CHURNS 20

/* Memory of removed ones is not used again: an event that reaches one of them shows. */
static struct source sources[SOURCES + 2 * CHURNS];
static unsigned n_sources;

static void source_fn(struct watch *w, uint32_t events);

static void add_source(unsigned i)
{
	source[i] = &sources[n_sources++];
	source[i]->magic = ALIVE;
	source[i]->index = i;
	watch_init(&source[i]->w, "source", source_fd[i], source_fn);
	EXPECT(!watch_add(net, &source[i]->w, EPOLLIN | (i == 0 ? EPOLLET : 0)));
}

static void remove_source(unsigned i)
{
	watch_del(&source[i]->w);
	source[i]->magic = 0;
}

/* Two at once, so that each gets the other's old place in the loop's table. */
static void replace_sources(unsigned i, unsigned j)
{
	remove_source(i);
	if (j != i)
		remove_source(j);
	add_source(i);
	if (j != i)
		add_source(j);
}

static void source_fn(struct watch *w, uint32_t events)
{
	struct source *s = container_of(w, struct source, w);
	unsigned i = s->index;

	EXPECT(s->magic == ALIVE && s == source[i] && !(events & ~(uint32_t)EPOLLIN));
	/* Only this watch reads it: an event finds it readable, or it was another watch's. */
	EXPECT(!events || sched_eventfd_count(source_fd[i]));
	taken += (unsigned)sched_eventfd_read(source_fd[i]);
	/* Remove any of them, this one too, and put a new one into its place. */
	if (churns < CHURNS && sched_random(2)) {
		churns++;
		replace_sources(sched_random(SOURCES), sched_random(SOURCES));
	} else if (s->magic == ALIVE && !sched_random(4)) {
		watch_again(w);
	}
}

static void signaller(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 5; i++) {
		signalled++;
		sys_eventfd_signal(source_fd[sched_random(SOURCES)]);
	}
	signallers_done++;
}

static bool all_taken(void *arg)
{
	(void)arg;
	return signallers_done == 2 && taken == signalled;
}

static void watches_main(void *arg)
{
	(void)arg;
	sched_wait_for(all_taken, NULL, "all events are taken");
	loop_stop(net);
	sched_join(net_thread);
	for (unsigned i = 0; i < SOURCES; i++) {
		watch_del(&source[i]->w);
		sys_close(source_fd[i]);
	}
	loop_free(net);
}

static void watches(void)
{
	signalled = taken = churns = signallers_done = n_sources = 0;
	net = new_loop("net0");
	for (unsigned i = 0; i < SOURCES; i++) {
		source_fd[i] = sys_eventfd();
		add_source(i);
	}
	net_thread = spawn_loop(net);
	sched_spawn("signaller", signaller, NULL);
	sched_spawn("signaller", signaller, NULL);
	sched_spawn("main", watches_main, NULL);
}

/* ---- a loop that sleeps or is about to sees the VM clock start ---- */

static struct timer vm_timer, host_timer;
static unsigned vm_fired, host_fired;

static void vm_timer_fn(struct timer *t)
{
	EXPECT(clock_now(CLOCK_VM_NS) >= t->deadline);
	vm_fired++;
}

static void host_timer_fn(struct timer *t)
{
	EXPECT(clock_now(CLOCK_HOST_NS) >= t->deadline);
	host_fired++;
}

static bool vm_timer_fired(void *arg)
{
	(void)arg;
	return vm_fired;
}

static void arm_timers(void *arg)
{
	(void)arg;
	EXPECT(!timer_arm(&vm_timer, clock_now(CLOCK_VM_NS) + 100));
	EXPECT(!timer_arm(&host_timer, clock_now(CLOCK_HOST_NS) + 50));
}

static void clock_main(void *arg)
{
	(void)arg;
	wait_loop_up(net);
	loop_call(net, arm_timers, NULL);
	EXPECT(!vm_fired);
	vm_clock_run(true);
	sched_wait_for(vm_timer_fired, NULL, "the VM timer has fired");
	vm_clock_run(false);
	end_loop(net, net_thread);
	EXPECT(vm_fired == 1 && host_fired == 1);
}

static void clocks(void)
{
	vm_fired = host_fired = 0;
	net = new_loop("net0");
	timer_init(&vm_timer, net, CLOCK_VM_NS, vm_timer_fn);
	timer_init(&host_timer, net, CLOCK_HOST_NS, host_timer_fn);
	net_thread = spawn_loop(net);
	sched_spawn("main", clock_main, NULL);
}

/* ---- epochs: freed only when nobody can see it, and always in the end ---- */

#define OBJECTS 64

static struct object {
	struct retired retired;
	bool alive;
} object[OBJECTS];
static unsigned n_objects, n_freed;
static struct object *_Atomic current;
static struct epoch_reader reader[2];
static struct post look_post;

static void object_free(struct retired *r)
{
	struct object *o = container_of(r, struct object, retired);

	EXPECT(o->alive);
	o->alive = false;
	n_freed++;
}

static struct object *object_new(void)
{
	EXPECT(n_objects < OBJECTS);
	object[n_objects].alive = true;
	return &object[n_objects++];
}

static void look(void)
{
	struct object *o;

	SCHED_POINT();
	o = atomic_load(&current);
	for (unsigned i = 0; i < 3; i++) {
		SCHED_POINT();
		EXPECT(o->alive);
	}
}

static bool busy;

static void look_fn(struct post *p)
{
	look();
	/* A loop that never sleeps must not hold up who waits for readers. */
	if (busy)
		loop_post(net, p);
}

static void epoch_vcpu(void *arg)
{
	struct epoch_reader *r = arg;

	for (unsigned i = 0; i < 4; i++) {
		epoch_enter(r);
		look();
		if (sched_random(2)) {
			epoch_enter(r);
			look();
		}
		epoch_leave(r);
		SCHED_POINT();
		loop_post(net, &look_post);
	}
}

static void replace_object(void)
{
	struct object *o = object_new();

	SCHED_POINT();
	epoch_retire(&atomic_exchange(&current, o)->retired, object_free);
}

static void epoch_writer(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 5; i++) {
		replace_object();
		SCHED_POINT();
	}
}

static unsigned epoch_threads[4];

static bool all_freed(void *arg)
{
	(void)arg;
	return n_freed == n_objects - 1;
}

static void epoch_main(void *arg)
{
	(void)arg;
	wait_loop_up(net);
	loop_post(net, &look_post);
	replace_object();
	epoch_synchronize();
	busy = false;
	for (unsigned i = 0; i < ARRAY_SIZE(epoch_threads); i++)
		sched_join(epoch_threads[i]);
	epoch_synchronize();
	/* The loop may have the last one in hand. */
	sched_wait_for(all_freed, NULL, "all objects but the one in use are freed");
	EXPECT(atomic_load(&current)->alive);
	end_loop(net, net_thread);
	for (unsigned i = 0; i < 2; i++)
		epoch_unregister(&reader[i]);
}

static void epochs(void)
{
	n_objects = n_freed = 0;
	busy = true;
	atomic_store(&current, object_new());
	net = new_loop("net0");
	post_init(&look_post, look_fn);
	for (unsigned i = 0; i < 2; i++)
		epoch_register(&reader[i]);
	net_thread = spawn_loop(net);
	epoch_threads[0] = sched_spawn("vcpu0", epoch_vcpu, &reader[0]);
	epoch_threads[1] = sched_spawn("vcpu1", epoch_vcpu, &reader[1]);
	epoch_threads[2] = sched_spawn("writer0", epoch_writer, NULL);
	epoch_threads[3] = sched_spawn("writer1", epoch_writer, NULL);
	sched_spawn("main", epoch_main, NULL);
}

/* ---- main, inside its own loop, waits for readers and for calls while others wait for loops ---- */

static unsigned main_thread;
static struct post work_post;

static void work_fn(struct post *p)
{
	unsigned runs = 0;

	(void)p;
	replace_object();
	epoch_synchronize();
	loop_call(net, call_fn, &runs);
	EXPECT(runs == 1);
	replace_object();
	epoch_synchronize();
	loop_stop(main_loop);
}

static void waiting_vcpu(void *arg)
{
	struct epoch_reader *r = arg;

	wait_loop_up(net);
	for (unsigned i = 0; i < 3; i++) {
		unsigned runs = 0;

		epoch_enter(r);
		look();
		/* A register write that quiesces a queue: inside the epoch, and it may wait for net loops. */
		loop_call(net, call_fn, &runs);
		look();
		epoch_leave(r);
	}
}

static void waiting_main(void *arg)
{
	unsigned *vcpu = arg;

	wait_loop_up(net);
	loop_post(main_loop, &work_post);
	sched_join(main_thread);
	sched_join(vcpu[0]);
	sched_join(vcpu[1]);
	end_loop(net, net_thread);
	loop_free(main_loop);
	epoch_synchronize();
	EXPECT(all_freed(NULL));
	for (unsigned i = 0; i < 2; i++)
		epoch_unregister(&reader[i]);
}

static void waits(void)
{
	static unsigned vcpu[2];

	n_objects = n_freed = 0;
	atomic_store(&current, object_new());
	net = new_loop("net0");
	main_loop = new_loop("main");
	post_init(&work_post, work_fn);
	net_thread = spawn_loop(net);
	main_thread = spawn_loop(main_loop);
	for (unsigned i = 0; i < 2; i++) {
		epoch_register(&reader[i]);
		vcpu[i] = sched_spawn(i ? "vcpu1" : "vcpu0", waiting_vcpu, &reader[i]);
	}
	sched_spawn("starter", waiting_main, vcpu);
}

/* ---- address spaces: never half a map, every kick arrives once ---- */

static struct space *space;
static struct region low, high, moving;
static struct doorbell bell;
static int bell_fd[2];
static bool bell_bound[2]; /* what the accelerator knows */
static unsigned kicks;
static unsigned space_threads[4];

#define SHARED 0x1000 /* always shows `low` or `high` */
#define BELL   0x3000

static uint64_t region_read(void *opaque, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	SCHED_POINT();
	return (uintptr_t)opaque;
}

static const struct region_ops region_ops = { region_read, NULL, 1, 8, false };

static int fake_bind(void *opaque, bool pio, uint64_t addr, const struct doorbell *b)
{
	unsigned i = b->fd == bell_fd[1];

	(void)opaque;
	(void)pio;
	EXPECT(addr == BELL && !bell_bound[0] && !bell_bound[1]);
	SCHED_POINT();
	if (!sched_random(4))
		return -ENOSPC;
	bell_bound[i] = true;
	return 0;
}

static void fake_unbind(void *opaque, bool pio, uint64_t addr, const struct doorbell *b)
{
	unsigned i = b->fd == bell_fd[1];

	(void)opaque;
	(void)pio;
	EXPECT(addr == BELL && bell_bound[i]);
	SCHED_POINT();
	bell_bound[i] = false;
}

static const struct doorbell_ops fake_bells = { fake_bind, fake_unbind };

/* A guest's write: the accelerator looks first, and exits only if it knows no doorbell. */
static void guest_kick(void)
{
	kicks++;
	SCHED_POINT();
	for (unsigned i = 0; i < 2; i++) {
		if (bell_bound[i]) {
			sys_eventfd_signal(bell_fd[i]);
			return;
		}
	}
	EXPECT(space_write(space, BELL, 2, 7));
}

static void space_vcpu(void *arg)
{
	struct epoch_reader *r = arg;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t v;

		epoch_enter(r);
		EXPECT(space_read(space, SHARED, 4, &v) && (v == 1 || v == 2));
		if (space_read(space, 0x2000, 4, &v))
			EXPECT(v == 3);
		guest_kick();
		epoch_leave(r);
	}
}

/* Swap what is at SHARED, and move another one, in one step. */
static void space_mover(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 4; i++) {
		space_begin(space);
		space_unmap(space, i % 2 ? &high : &low);
		EXPECT(!space_map(space, i % 2 ? &low : &high, SHARED, 0));
		space_unmap(space, &moving);
		EXPECT(!space_map(space, &moving, i % 2 ? 0x2000 : 0x5000, 0));
		space_commit(space);
	}
}

static struct region bell_region;

static void space_rebinder(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 4; i++) {
		/* The table is the device's; the space reads it with its lock held. */
		space_begin(space);
		bell.fd = bell_fd[!(i % 2)];
		space_doorbells_changed(space, &bell_region);
		space_commit(space);
	}
}

static void space_main(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ARRAY_SIZE(space_threads); i++)
		sched_join(space_threads[i]);
	EXPECT(sched_eventfd_count(bell_fd[0]) + sched_eventfd_count(bell_fd[1]) == kicks);
	epoch_synchronize();
	space_free(space);
	EXPECT(!bell_bound[0] && !bell_bound[1]);
	for (unsigned i = 0; i < 2; i++)
		epoch_unregister(&reader[i]);
}

static struct region simple_region(const char *name, uintptr_t value)
{
	return (struct region){
		.name = name, .size = 0x100, .ops = &region_ops, .opaque = (void *)value, .policy = REGION_NONE
	};
}

static void spaces(void)
{
	kicks = 0;
	bell_bound[0] = bell_bound[1] = false;
	low = simple_region("low", 1);
	high = simple_region("high", 2);
	moving = simple_region("moving", 3);
	bell_region = simple_region("bell", 4);
	for (unsigned i = 0; i < 2; i++)
		bell_fd[i] = sys_eventfd();
	bell = (struct doorbell){ .width = 2, .fd = bell_fd[0] };
	bell_region.bells = &bell;
	bell_region.n_bells = 1;
	space = space_new("memory", BIT(32), false);
	space_set_doorbell_ops(space, &fake_bells, NULL);
	EXPECT(!space_map(space, &low, SHARED, 0) && !space_map(space, &moving, 0x2000, 0));
	EXPECT(!space_map(space, &bell_region, BELL, 0));
	for (unsigned i = 0; i < 2; i++)
		epoch_register(&reader[i]);
	space_threads[0] = sched_spawn("vcpu0", space_vcpu, &reader[0]);
	space_threads[1] = sched_spawn("vcpu1", space_vcpu, &reader[1]);
	space_threads[2] = sched_spawn("mover", space_mover, NULL);
	space_threads[3] = sched_spawn("rebinder", space_rebinder, NULL);
	sched_spawn("main", space_main, NULL);
}

/*
 * ---- posted registers: the loop sees the last write of each vCPU, and none behind the removal of the region ----
 */

#define WRITES 4

static struct posted_register tail_reg[2];
static struct tail {
	struct post post;
	uint64_t seen;
	unsigned runs;
} tail[2];
static struct region tail_region;
static unsigned tail_threads[2], tail_writes;
static bool tail_gone, tail_removed;

static void tail_posted(struct posted_register *r)
{
	EXPECT(!tail_gone);
	loop_post(net, &tail[r - tail_reg].post);
}

static void tail_post(struct post *p)
{
	struct tail *t = container_of(p, struct tail, post);
	uint64_t now;

	EXPECT(!tail_gone && loop_here(net));
	SCHED_POINT();
	now = atomic_load(&tail_reg[t - tail].value);
	EXPECT(now >= t->seen);
	t->seen = now;
	t->runs++;
}

/* Each vCPU has a register of its own. */
static void tail_vcpu(void *arg)
{
	struct tail *t = arg;
	struct epoch_reader *r = &reader[t - tail];
	uint64_t base = (uint64_t)(t - tail) * 4;

	wait_loop_up(net);
	for (uint64_t i = 1; i <= WRITES; i++) {
		epoch_enter(r);
		tail_writes++;
		EXPECT(space_write(space, SHARED + base, 4, i) || tail_removed);
		epoch_leave(r);
	}
}

static bool tails_seen(void *arg)
{
	(void)arg;
	return tail[0].seen == WRITES && tail[1].seen == WRITES;
}

static void take_back(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++)
		loop_unpost(net, &tail[i].post);
}

static void tail_main(void *arg)
{
	(void)arg;
	wait_loop_up(net);
	if (sched_random(2)) {
		/* Nothing here wakes the loop: a write that is not seen is a deadlock. */
		sched_wait_for(tails_seen, NULL, "the last writes have been seen");
		EXPECT(tail[0].runs + tail[1].runs <= tail_writes);
	}
	tail_removed = true;
	space_unmap(space, &tail_region);
	epoch_synchronize();
	loop_call(net, take_back, NULL);
	tail_gone = true;
	for (unsigned i = 0; i < 2; i++)
		sched_join(tail_threads[i]);
	end_loop(net, net_thread);
	epoch_synchronize();
	space_free(space);
	for (unsigned i = 0; i < 2; i++)
		epoch_unregister(&reader[i]);
}

static void tails(void)
{
	tail_writes = 0;
	tail_gone = tail_removed = false;
	net = new_loop("net0");
	net_thread = spawn_loop(net);
	space = space_new("memory", BIT(32), false);
	memset(tail, 0, sizeof(tail));
	tail_region = simple_region("tails", 1);
	tail_region.posted = tail_reg;
	tail_region.n_posted = 2;
	EXPECT(!space_map(space, &tail_region, SHARED, 0));
	for (unsigned i = 0; i < 2; i++) {
		tail_reg[i] = (struct posted_register){ .offset = 4 * i, .width = 4, .posted = tail_posted };
		post_init(&tail[i].post, tail_post);
		epoch_register(&reader[i]);
		tail_threads[i] = sched_spawn(i ? "vcpu1" : "vcpu0", tail_vcpu, &tail[i]);
	}
	sched_spawn("main", tail_main, NULL);
}

/* ---- the detector itself: a deadlock is found, and says who waits for whom ---- */

static struct mutex control = MUTEX_INIT;

static void take_control(void *arg)
{
	(void)arg;
	mutex_lock(&control);
	mutex_unlock(&control);
}

static void careless_vcpu(void *arg)
{
	(void)arg;
	wait_loop_up(net);
	mutex_lock(&control);
	/* No loop may take the control mutex. */
	loop_call(net, take_control, NULL);
	mutex_unlock(&control);
}

static void check_detector(void)
{
	char want[200];

	sched_begin(1);
	net = new_loop("net0");
	spawn_loop(net);
	sched_spawn("vcpu0", careless_vcpu, NULL);
	EXPECT(!sched_run());
	snprintf(want, sizeof(want), "net0 waits for mutex %p, held by vcpu0\nvcpu0 waits for net0\n",
		 (void *)&control);
	if (strcmp(sched_report(), want))
		sched_fail(__FILE__, __LINE__, "the report is wrong:\n%s", sched_report());
	printf("a deadlock made on purpose is reported:\n%s", sched_report());
	/* Whoever waits there waits for ever; nobody is told. */
}

/* ---- main ---- */

#define SCENARIO(f)                    \
	{                              \
		.name = #f, .start = f \
	}
static const struct sched_scenario scenarios[] = {
	SCENARIO(posts),  SCENARIO(calls), SCENARIO(watches), SCENARIO(clocks),
	SCENARIO(epochs), SCENARIO(waits), SCENARIO(spaces),  SCENARIO(tails),
};

int main(void)
{
	sched_seeds(scenarios, ARRAY_SIZE(scenarios), SEEDS);
	check_detector();
	return 0;
}
