/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver and a device on one ring, in random schedules: neither ever sleeps while the other has left something for it.
 *
 * The device is the real one. Behind each of its loads from the ring the driver, a machine that makes one access to
 * shared memory a step, goes on for as many steps as chance has it. Both sleep as real ones do: the device asks for a
 * kick and looks again, the driver asks for a call and looks again. When both sleep everything must be done: whatever
 * was posted was used and taken back, once.
 *
 * What a schedule is made of follows from its seed: kind of ring, size, event index or flags, in order or not, lengths
 * of chains, batches of both sides, chains that the device gives back and takes again, calls that it puts off.
 * SCHED_SEED=N runs one again, SCHED_SEEDS=N says how many. Memory is as if accesses were made in the order in which
 * they are written; device/ring_reads does the same with two threads, where barriers count.
 */
#include <stdlib.h>
#include <string.h>

static void guest_read(void);

#define GUEST_READ(p, size) guest_read()
#include "virtio/ring_split.c"
#include "virtio/ring_packed.c"

/* Last: its fail() is a macro. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define RING	0x1000u
#define DRIVER	0x2000u
#define DEVICE	0x3000u
#define BUFFER	0x4000u
#define SIZE	5 /* of the largest ring */
#define TOO_BIG 100000

enum phase {
	POST,	/* make a chain available */
	ASK,	/* does the device want a kick? */
	REAP,	/* take what is used */
	ARM,	/* ask for a call ... */
	LOOK,	/* ... and look again */
	ASLEEP, /* until called */
	DISARM,
};

static struct ram ram;
static struct dma dma;
static struct virtq q;
static uint64_t seed;
static bool kicked; /* somebody rang the device's bell */
static bool owed;   /* the device put off the question whether the driver is to be called */

static struct {
	bool packed, event_idx, in_order, called, done;
	enum phase phase;
	unsigned size, to_post, batch, added, n_free;
	uint16_t posted, asked, seen; /* chains; asked: at the last look whether to kick */
	/* split */
	uint16_t next_desc;
	/* packed */
	unsigned put_at, take_at;
	bool put_wrap, take_wrap;
	/* chains in the order in which they were posted; split heads are never posted twice at a time */
	uint16_t order[SIZE], span[SIZE];
	unsigned n_order;
	unsigned left; /* chains that the used entry in hand stands for still */
} drv;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

static void *at(uint64_t gpa)
{
	return ram_ptr(&ram, gpa, 1);
}

#define D  ((struct vring_desc *)at(RING))
#define P  ((struct vring_packed_desc *)at(RING))
#define AV ((struct vring_avail *)at(DRIVER))
#define US ((struct vring_used *)at(DEVICE))
#define DE ((uint32_t *)at(DRIVER)) /* driver's event suppression */
#define EV ((uint32_t *)at(DEVICE)) /* device's */

/* ---- the driver: a step is an access ---- */

static void pass(unsigned *place, bool *wrap, unsigned n)
{
	*place += n;
	if (*place >= drv.size) {
		*place -= drv.size;
		*wrap = !*wrap;
	}
}

/* An id, or a head with its descriptors behind it, that is not in use. */
static uint16_t free_id(void)
{
	for (uint16_t id = 0;; id++) {
		bool used = false;

		for (unsigned k = 0; k < drv.n_order; k++)
			used = used ||
			       (id >= drv.order[k] && id < drv.order[k] + (drv.packed ? 1u : drv.span[drv.order[k]]));
		if (!used)
			return id;
	}
}

static void post_packed(uint16_t id, unsigned n)
{
	unsigned first = drv.put_at, flags = 0;

	for (unsigned k = 0; k < n; k++) {
		unsigned f = (drv.put_wrap ? F_AVAIL : F_USED) | (k + 1 < n ? VRING_DESC_F_NEXT : 0);

		P[drv.put_at].addr = BUFFER;
		P[drv.put_at].len = 16;
		P[drv.put_at].id = id;
		if (k)
			P[drv.put_at].flags = (uint16_t)f;
		else
			flags = f;
		pass(&drv.put_at, &drv.put_wrap, 1);
	}
	P[first].flags = (uint16_t)flags; /* the only access that counts */
}

static void post_chain(void)
{
	unsigned n = drv.packed ? 1 + rnd(MIN(drv.n_free, 3u)) : 1;
	uint16_t id = free_id();

	drv.span[id] = (uint16_t)n;
	drv.order[drv.n_order++] = id;
	drv.n_free -= n;
	drv.added += n;
	drv.to_post--;
	if (drv.packed) {
		post_packed(id, n);
	} else {
		D[id] = (struct vring_desc){ BUFFER, 16, 0, 0 };
		AV->ring[drv.posted % drv.size] = id;
		AV->idx = (uint16_t)(drv.posted + 1);
	}
	drv.posted++;
}

static bool kick_due(void)
{
	uint16_t off;

	if (!drv.packed) {
		if (!drv.event_idx)
			return !(US->flags & VRING_USED_F_NO_NOTIFY);
		return vring_need_event(*(uint16_t *)&US->ring[drv.size], drv.posted, drv.asked);
	}
	if (*EV >> 16 != VRING_PACKED_EVENT_FLAG_DESC)
		return *EV >> 16 == VRING_PACKED_EVENT_FLAG_ENABLE;
	off = (uint16_t)(*EV & 0x7fff);
	if (!!(*EV & WRAP) != drv.put_wrap)
		off = (uint16_t)(off - drv.size);
	return vring_need_event(off, (uint16_t)drv.put_at, (uint16_t)(drv.put_at - drv.added));
}

/* The id that is next in the used ring; -1: there is none. */
static int used_id(void)
{
	unsigned flags = P[drv.take_at].flags;

	if (!drv.packed)
		return US->idx == drv.seen ? -1 : (int)US->ring[drv.seen % drv.size].id;
	if (!!(flags & F_AVAIL) != drv.take_wrap || !!(flags & F_USED) != drv.take_wrap)
		return -1;
	return P[drv.take_at].id;
}

static void take_chain(unsigned k)
{
	uint16_t id = drv.order[k];

	memmove(&drv.order[k], &drv.order[k + 1], (drv.n_order - k - 1) * sizeof(drv.order[0]));
	drv.n_order--;
	drv.n_free += drv.span[id];
	drv.seen++;
	pass(&drv.take_at, &drv.take_wrap, drv.span[id]);
}

/* Take an entry, and the chains that it stands for. False: there is none. */
static bool reap(void)
{
	int id = used_id();
	unsigned k = 0;

	if (id < 0)
		return false;
	while (k < drv.n_order && drv.order[k] != id)
		k++;
	assert_true(k < drv.n_order);
	for (unsigned i = 0; drv.in_order && i < k; i++)
		take_chain(0);
	take_chain(drv.in_order ? 0 : k);
	return true;
}

static void want_calls(bool wanted)
{
	if (drv.packed) {
		uint32_t flags = drv.event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;

		*DE = wanted ? flags << 16 | (drv.take_wrap ? WRAP : 0) | drv.take_at :
			       (uint32_t)VRING_PACKED_EVENT_FLAG_DISABLE << 16;
	} else if (!drv.event_idx) {
		AV->flags = wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	} else if (wanted) {
		AV->ring[drv.size] = drv.seen;
	}
}

/* One access, or none if it sleeps. */
static void driver_step(void)
{
	switch (drv.phase) {
	case POST:
		if (drv.to_post && drv.n_free && drv.batch) {
			post_chain();
			drv.batch--;
		} else {
			drv.phase = drv.added ? ASK : REAP;
		}
		break;
	case ASK:
		kicked = kick_due() || kicked;
		drv.asked = drv.posted;
		drv.added = 0;
		drv.phase = REAP;
		break;
	case REAP:
		drv.batch = 1 + rnd(drv.size);
		if (reap())
			drv.phase = rnd(2) ? REAP : POST;
		else
			drv.phase = drv.to_post && drv.n_free && rnd(4) ? POST : ARM;
		break;
	case ARM:
		want_calls(true);
		drv.phase = LOOK;
		break;
	case LOOK:
		drv.phase = used_id() >= 0 ? DISARM : ASLEEP;
		drv.batch = 1;
		if (drv.phase == ASLEEP && drv.to_post && drv.n_free)
			drv.phase = DISARM;
		break;
	case ASLEEP:
		if (drv.called)
			drv.phase = DISARM;
		drv.called = false;
		break;
	case DISARM:
		want_calls(false);
		drv.phase = rnd(2) ? POST : REAP;
		break;
	}
}

static void guest_read(void)
{
	for (unsigned n = rnd(4); n; n--)
		driver_step();
}

/* ---- the device ---- */

/* Now, or when the driver has gone on for a while: before anything else is taken, or when all sleep (a timer). */
static void ask_now(void)
{
	owed = false;
	if (virtq_ask(&q))
		drv.called = true;
}

static void device_publish(void)
{
	virtq_publish_quietly(&q);
	if (rnd(3))
		ask_now();
	else
		owed = true;
}

/* Take what there is, in batches; now and then give the newest ones back and take them again later. */
static void device_serve(void)
{
	unsigned written = drv.in_order ? 0 : 5;
	struct iovec iov[SIZE];
	struct vchain c[SIZE];
	uint16_t head;
	int r;

	if (owed)
		ask_now();
	virtq_kick_disable(&q);
	do {
		unsigned n = 0, most = 1 + rnd(SIZE), keep;

		while (n < most && (r = virtq_pop(&q, iov, SIZE, &c[n])) == 1)
			n++;
		assert_int_equal(q.fault, VIRTQ_FINE);
		keep = rnd(3) ? n : rnd(n + 1);
		for (unsigned i = 0; i < keep; i++)
			virtq_push(&q, c[i].head, rnd(2) ? written : 0);
		for (unsigned i = n; i-- > keep;) {
			head = c[i].head;
			virtq_unpop(&q, &head, 1);
		}
		device_publish();
		if (keep == n && n < most && !virtq_kick_enable(&q))
			return;
		virtq_kick_disable(&q);
	} while (true);
}

/* ---- a schedule ---- */

/* Returns how many chains there will be. */
static unsigned set_up(void)
{
	struct virtq_features f = { .indirect = true };
	unsigned posts = 1 + rnd(15);

	memset(&drv, 0, sizeof(drv));
	memset(at(RING), 0, 0x3000);
	f.packed = drv.packed = rnd(2);
	f.event_idx = drv.event_idx = rnd(2);
	f.in_order = drv.in_order = rnd(2);
	drv.size = drv.packed ? 1 + rnd(SIZE) : 1u << rnd(3);
	drv.n_free = drv.size;
	drv.to_post = posts;
	drv.put_wrap = drv.take_wrap = true;
	drv.batch = 1 + rnd(drv.size);
	q = (struct virtq){ .size = (uint16_t)drv.size, .max_size = SIZE, .desc_gpa = RING, .driver_gpa = DRIVER };
	q.device_gpa = DEVICE;
	kicked = owed = false;
	assert_int_equal(virtq_start(&q, &dma, &f, NULL), 0);
	if (virtq_kick_enable(&q)) /* the driver goes on meanwhile */
		kicked = true;
	return posts;
}

static void run_one(uint64_t number)
{
	unsigned posts, steps = 0;

	seed = (number + 1) * 0x9e3779b97f4a7c15ULL;
	rnd(2);
	posts = set_up();
	while (steps++ < TOO_BIG) {
		if (kicked) {
			kicked = false;
			device_serve();
		} else if (drv.phase != ASLEEP || drv.called) {
			driver_step();
		} else if (owed) {
			ask_now();
		} else {
			break;
		}
	}
	if (drv.to_post || drv.n_order || drv.seen != posts || steps >= TOO_BIG)
		fail_msg(
			"SCHED_SEED=%lu: a wake-up was lost: %s ring of %u, event index %d, in order %d: %u of %u chains "
			"posted, %u taken back",
			(unsigned long)number, drv.packed ? "packed" : "split", drv.size, drv.event_idx, drv.in_order,
			drv.posted, posts, drv.seen);
}

static void test_schedules(void **state)
{
	static const struct ram_block block = { .gpa = 0, .size = 0x10000 };
	const char *one = getenv("SCHED_SEED"), *many = getenv("SCHED_SEEDS");
	unsigned long n = many ? strtoul(many, NULL, 0) : 100000;

	(void)state;
	assert_int_equal(ram_init(&ram, &block, 1, RAM_PRIVATE, NULL), 0);
	dma.ram = &ram;
	atomic_init(&dma.on, true);
	if (one)
		run_one(strtoul(one, NULL, 0));
	for (unsigned long i = 0; !one && i < n; i++)
		run_one(i);
	ram_destroy(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_schedules) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
