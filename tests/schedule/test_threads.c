/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same meetings as test_interleave.c with real threads, the kernel's epoll and the machine's memory order: for the
 * thread sanitizer, and for what only real time brings about. A watchdog says who was doing what if nothing goes on.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop/loop.h"
#include "mem/epoch.h"
#include "mem/ram.h"
#include "mem/space.h"

#define HANG_SECONDS 20
#define THREADS	     8
#define ROUNDS	     3000

#define EXPECT(cond)                                                               \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)

/* ---- threads, and what they are doing ---- */

static struct worker {
	pthread_t thread;
	const char *name;
	void (*fn)(struct worker *w);
	const char *_Atomic doing;
	_Atomic unsigned rounds;
	struct epoch_reader reader;
} workers[THREADS];
static unsigned n_workers;
static _Atomic unsigned n_done;

static void doing(struct worker *w, const char *what)
{
	atomic_store(&w->doing, what);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	epoch_register(&w->reader);
	for (unsigned i = 0; i < ROUNDS; i++) {
		w->fn(w);
		atomic_fetch_add(&w->rounds, 1);
	}
	epoch_unregister(&w->reader);
	doing(w, "nothing, it is done");
	atomic_fetch_add(&n_done, 1);
	return NULL;
}

static void start(const char *name, void (*fn)(struct worker *w))
{
	struct worker *w = &workers[n_workers++];

	*w = (struct worker){ .name = name, .fn = fn, .doing = "starting" };
	EXPECT(!pthread_create(&w->thread, NULL, worker_main, w));
}

static unsigned progress(void)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < n_workers; i++)
		sum += atomic_load(&workers[i].rounds);
	return sum;
}

/* Wait for all workers; if none gets on for a while, say what each waits for. */
static void finish(void)
{
	unsigned last = progress(), still = 0;

	while (atomic_load(&n_done) < n_workers) {
		usleep(10000);
		still = progress() == last ? still + 1 : 0;
		last = progress();
		if (still < HANG_SECONDS * 100)
			continue;
		for (unsigned i = 0; i < n_workers; i++)
			fprintf(stderr, "%s: %s, in round %u\n", workers[i].name, atomic_load(&workers[i].doing),
				atomic_load(&workers[i].rounds));
		exit(1);
	}
	for (unsigned i = 0; i < n_workers; i++)
		pthread_join(workers[i].thread, NULL);
	n_workers = 0;
	atomic_store(&n_done, 0);
}

static struct loop *net[2];

static void start_loops(void)
{
	static const char *const names[] = { "net0", "net1" };

	for (unsigned i = 0; i < 2; i++) {
		net[i] = loop_new(names[i], NULL);
		EXPECT(net[i] && !loop_start_thread(net[i], NULL));
	}
}

static void free_loops(void)
{
	for (unsigned i = 0; i < 2; i++)
		loop_free(net[i]);
}

/* ---- posts and calls ---- */

struct told {
	struct post post;
	_Atomic unsigned given, seen;
};

static void told_fn(struct post *p)
{
	struct told *t = container_of(p, struct told, post);

	atomic_store_explicit(&t->seen, atomic_load_explicit(&t->given, memory_order_relaxed), memory_order_relaxed);
}

/* Post, and wait for what was posted without waking anybody. */
static void post_and_wait(struct worker *w)
{
	static _Thread_local struct told t;
	unsigned round = atomic_load(&w->rounds) + 1;

	if (round == 1)
		post_init(&t.post, told_fn);
	doing(w, "waits for a post to net0");
	atomic_store_explicit(&t.given, round, memory_order_relaxed);
	loop_post(net[0], &t.post);
	while (atomic_load_explicit(&t.seen, memory_order_relaxed) != round)
		usleep(1);
}

static void count(void *arg)
{
	(*(unsigned *)arg)++;
}

static void call(struct worker *w)
{
	unsigned runs = 0;

	doing(w, "waits for a call to net0");
	loop_call(net[0], count, &runs);
	EXPECT(runs == 1);
	doing(w, "waits for a call to net1");
	loop_call(net[1], count, &runs);
	EXPECT(runs == 2);
}

static void posts_and_calls(void)
{
	start_loops();
	start("poster0", post_and_wait);
	start("poster1", post_and_wait);
	start("vcpu0", call);
	start("vcpu1", call);
	finish();
	free_loops();
}

/* ---- two loops that post to each other, and a watch that comes and goes ---- */

static struct watch watch;
static int event_fd;
static _Atomic uint64_t taken;
static uint64_t given;

static void take(struct watch *w, uint32_t events)
{
	uint64_t v;

	(void)events;
	if (read(w->fd, &v, sizeof(v)) == sizeof(v))
		atomic_fetch_add(&taken, v);
}

static void watch_here(void *arg)
{
	watch_init(&watch, "event", event_fd, take);
	EXPECT(!watch_add(arg, &watch, EPOLLIN));
}

static void unwatch(void *arg)
{
	(void)arg;
	watch_del(&watch);
}

static void signal_event(struct worker *w)
{
	uint64_t one = 1;

	doing(w, "signals");
	EXPECT(write(event_fd, &one, sizeof(one)) == sizeof(one));
	given++;
}

static void move_watch(struct worker *w)
{
	unsigned to = atomic_load(&w->rounds) % 2;

	doing(w, "moves the watch from one loop to the other");
	loop_call(net[!to], unwatch, NULL);
	loop_call(net[to], watch_here, net[to]);
}

static void watches(void)
{
	event_fd = eventfd(0, EFD_NONBLOCK);
	start_loops();
	loop_call(net[1], watch_here, net[1]);
	start("signaller", signal_event);
	start("mover", move_watch);
	finish();
	for (unsigned i = 0; i < HANG_SECONDS * 1000 && atomic_load(&taken) != given; i++)
		usleep(1000);
	EXPECT(atomic_load(&taken) == given);
	loop_call(net[(ROUNDS - 1) % 2], unwatch, NULL);
	free_loops();
	close(event_fd);
}

/* ---- epochs and address spaces ---- */

struct object {
	struct retired retired;
	unsigned alive;
};

static struct object *_Atomic current;
static _Atomic unsigned made, freed;

static void object_free(struct retired *r)
{
	struct object *o = container_of(r, struct object, retired);

	o->alive = 0;
	free(o);
	atomic_fetch_add(&freed, 1);
}

static struct object *object_new(void)
{
	struct object *o = calloc(1, sizeof(*o));

	EXPECT(o);
	o->alive = 1;
	atomic_fetch_add(&made, 1);
	return o;
}

static void look(void *arg)
{
	(void)arg;
	EXPECT(atomic_load(&current)->alive == 1);
}

static void reader(struct worker *w)
{
	doing(w, "reads");
	epoch_enter(&w->reader);
	look(NULL);
	if (atomic_load(&w->rounds) % 8 == 0) {
		doing(w, "waits for a call to net0, inside its epoch");
		loop_call(net[0], look, NULL);
	}
	look(NULL);
	epoch_leave(&w->reader);
}

static void writer(struct worker *w)
{
	doing(w, "replaces");
	epoch_retire(&atomic_exchange(&current, object_new())->retired, object_free);
	if (atomic_load(&w->rounds) % 64 == 0) {
		doing(w, "waits for all readers");
		epoch_synchronize();
	}
}

static void epochs(void)
{
	atomic_store(&current, object_new());
	start_loops();
	start("vcpu0", reader);
	start("vcpu1", reader);
	start("writer0", writer);
	start("writer1", writer);
	finish();
	epoch_synchronize();
	for (unsigned i = 0; i < HANG_SECONDS * 1000 && atomic_load(&freed) + 1 != atomic_load(&made); i++)
		usleep(1000);
	EXPECT(atomic_load(&freed) + 1 == atomic_load(&made));
	free(atomic_load(&current));
	free_loops();
}

static struct space *space;
static struct doorbell bell = { .width = 2 };
static int bell_fd[2];
static _Atomic uint64_t kicks;

static uint64_t region_read(void *opaque, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return (uintptr_t)opaque;
}

static const struct region_ops ops = { region_read, NULL, 1, 8, false };
static struct region low = { .name = "low", .size = 0x100, .ops = &ops, .opaque = (void *)1, .policy = REGION_NONE };
static struct region high = { .name = "high", .size = 0x100, .ops = &ops, .opaque = (void *)2, .policy = REGION_NONE };
static struct region rung = { .name = "rung",
			      .size = 0x100,
			      .ops = &ops,
			      .policy = REGION_NONE,
			      .bells = &bell,
			      .n_bells = 1 };

static void access_space(struct worker *w)
{
	uint64_t v;

	doing(w, "reads and kicks");
	epoch_enter(&w->reader);
	EXPECT(space_read(space, 0x1000, 4, &v) && (v == 1 || v == 2));
	EXPECT(space_write(space, 0x2000, 2, 0));
	epoch_leave(&w->reader);
	atomic_fetch_add(&kicks, 1);
}

static void swap_regions(struct worker *w)
{
	bool back = atomic_load(&w->rounds) % 2;

	doing(w, "swaps regions");
	space_begin(space);
	space_unmap(space, back ? &high : &low);
	EXPECT(!space_map(space, back ? &low : &high, 0x1000, 0));
	space_commit(space);
}

static void swap_bells(struct worker *w)
{
	doing(w, "swaps doorbells");
	space_begin(space);
	bell.fd = bell_fd[atomic_load(&w->rounds) % 2];
	space_doorbells_changed(space, &rung);
	space_commit(space);
}

static void spaces(void)
{
	uint64_t v[2] = { 0, 0 };

	for (unsigned i = 0; i < 2; i++)
		bell_fd[i] = eventfd(0, EFD_NONBLOCK);
	bell.fd = bell_fd[0];
	space = space_new("memory", 1 << 20, false);
	EXPECT(!space_map(space, &low, 0x1000, 0) && !space_map(space, &rung, 0x2000, 0));
	start("vcpu0", access_space);
	start("vcpu1", access_space);
	start("mover", swap_regions);
	start("rebinder", swap_bells);
	finish();
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(read(bell_fd[i], &v[i], sizeof(v[i])) == sizeof(v[i]) || errno == EAGAIN);
		close(bell_fd[i]);
	}
	EXPECT(v[0] + v[1] == atomic_load(&kicks));
	epoch_synchronize();
	space_free(space);
}

/* ---- the dirty log: a page that was written is found by the next look ---- */

static struct ram ram;
static struct dma dma = { .ram = &ram, .on = true };
static struct dirty_log *dirty;
static _Atomic uint64_t written[16], copied[16];

static void write_page(struct worker *w)
{
	unsigned page = atomic_load(&w->rounds) % 16;

	doing(w, "writes pages");
	epoch_enter(&w->reader);
	atomic_fetch_add_explicit(&written[page], 1, memory_order_relaxed);
	dma_dirty(&dma, page * DIRTY_PAGE, 8);
	epoch_leave(&w->reader);
}

static void copy_dirty(void)
{
	uint64_t map;

	dirty_log_sync(dirty, 0, &map);
	for (unsigned i = 0; i < 16; i++)
		if (map >> i & 1)
			copied[i] = atomic_load_explicit(&written[i], memory_order_relaxed);
}

static void copy_pages(struct worker *w)
{
	doing(w, "copies pages");
	copy_dirty();
}

static void dirty_pages(void)
{
	const struct ram_block block = { .size = 16 * DIRTY_PAGE };

	EXPECT(!ram_init(&ram, &block, 1, RAM_PRIVATE, NULL));
	dirty = dirty_log_start(&ram, NULL);
	EXPECT(dirty);
	start("net0", write_page);
	start("net1", write_page);
	start("migration", copy_pages);
	finish();
	copy_dirty();
	for (unsigned i = 0; i < 16; i++)
		EXPECT(copied[i] == written[i]);
	ram_destroy(&ram);
}

/* ---- the VM clock starts and stops under loops that sleep ---- */

static struct timer vm_timer;
static _Atomic unsigned fired;

static void on_time(struct timer *t)
{
	(void)t;
	atomic_fetch_add(&fired, 1);
}

static void arm(void *arg)
{
	(void)arg;
	EXPECT(!timer_arm(&vm_timer, clock_now(CLOCK_VM_NS) + 1000));
}

static void clock_round(struct worker *w)
{
	unsigned before = atomic_load(&fired);

	if (atomic_load(&w->rounds) % 10)
		return;
	doing(w, "waits for a VM timer");
	vm_clock_run(false);
	loop_call(net[0], arm, NULL);
	vm_clock_run(true);
	while (atomic_load(&fired) == before)
		usleep(1);
}

static void clocks(void)
{
	start_loops();
	timer_init(&vm_timer, net[0], CLOCK_VM_NS, on_time);
	start("main", clock_round);
	finish();
	free_loops();
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "posts and calls", posts_and_calls },
		{ "watches", watches },
		{ "epochs", epochs },
		{ "spaces", spaces },
		{ "dirty pages", dirty_pages },
		{ "clocks", clocks },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(scenarios); i++) {
		uint64_t begin = clock_now(CLOCK_HOST_NS);

		scenarios[i].run();
		printf("%s: %.2f s\n", scenarios[i].name, (double)(clock_now(CLOCK_HOST_NS) - begin) / NSEC_PER_SEC);
		fflush(stdout);
	}
	return 0;
}
