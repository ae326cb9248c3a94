/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the rings and the transmit path read of the guest's memory, and when: every load goes through a hook here.
 *
 *  - No word of a chain is read twice, nor of a vnet header: the hook spoils each word behind the load, as a driver
 * would that rewrites what was checked, and says so if it is loaded again. What is sent is what was read first.
 *  - No wake-up is lost: the hook lets the driver act between any two loads, by chance; and then in a thread of its
 * own.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

static void guest_read(const void *p, size_t size);

#define GUEST_READ(p, size) guest_read(p, size)
#include "virtio/ring_split.c"
#include "virtio/ring_packed.c"
#define settle	   settle_tx /* the bench has these too */
#define make_frame make_tx_frame
#include "nic/virtio_net_tx.c"
#undef settle
#undef make_frame

#include "guest.h"

static void (*hook)(const void *p, unsigned size);

static void guest_read(const void *p, size_t size)
{
	if (hook)
		hook(p, (unsigned)size);
}

/* ---- no word twice ---- */

static struct spoiled {
	uint8_t *at, saved[16];
	unsigned size;
} spoiled[4096];
static unsigned n_spoiled, twice;
static const struct gq *spoil_queue;

/*
 * The driver's index is there to be looked at again, as are flags that do not say yet that there is something. With a
 * packed ring, who asks whether there is something reads the flags alone, and the descriptor, flags included, when it
 * takes it.
 */
static bool may_be_read_again(const void *p, unsigned size)
{
	const struct gq *q = spoil_queue;
	const unsigned both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
	uintptr_t i = ((uintptr_t)p - (uintptr_t)q->ring) / sizeof(*q->ring);
	unsigned flags;

	if (q->packed) {
		if (p == q->driver || size == sizeof(uint16_t))
			return true;
		flags = i < q->size ? q->ring[i].flags & both : 1;
		return flags == 0 || flags == both;
	}
	return p == &spoil_queue->avail->idx || p == &spoil_queue->avail->flags ||
	       p == &spoil_queue->avail->ring[spoil_queue->size];
}

static void spoil(const void *p, unsigned size)
{
	struct spoiled *s = &spoiled[n_spoiled];

	if (may_be_read_again(p, size))
		return;
	for (unsigned i = 0; i < n_spoiled; i++) {
		if ((uint8_t *)p < spoiled[i].at + spoiled[i].size && spoiled[i].at < (uint8_t *)p + size)
			twice++;
	}
	assert_true(n_spoiled < ARRAY_SIZE(spoiled));
	n_spoiled++;
	s->at = (uint8_t *)p;
	s->size = size;
	memcpy(s->saved, p, size);
	for (unsigned i = 0; i < size; i++)
		s->at[i] ^= 0xff;
}

static void unspoil(void)
{
	while (n_spoiled) {
		const struct spoiled *s = &spoiled[--n_spoiled];
		bool mine = true;

		for (unsigned i = 0; i < s->size; i++)
			mine = mine && (s->at[i] ^ s->saved[i]) == 0xff;
		if (mine) /* else the device has marked it used */
			memcpy(s->at, s->saved, s->size);
	}
}

/* Nothing, a checksum, or a checksum and segmentation asked for. */
static struct virtio_net_hdr_mrg_rxbuf random_header(void)
{
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };
	unsigned kind = rnd(4);

	if (!kind)
		return h;
	h.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h.hdr.csum_start = htole16((uint16_t)(34 + 4 * rnd(10)));
	h.hdr.csum_offset = htole16((uint16_t)(kind == 1 ? 6 : 16));
	if (kind == 1)
		return h;
	h.hdr.gso_type = kind == 2 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	h.hdr.gso_size = htole16((uint16_t)(500 + rnd(1000)));
	h.hdr.hdr_len = htole16((uint16_t)(le16toh(h.hdr.csum_start) + 20));
	return h;
}

static void expect_meta(const struct frame_meta *got, const struct virtio_net_hdr_mrg_rxbuf *posted, size_t len)
{
	struct frame_meta meta;
	struct virtio_net_hdr h[2];

	assert_int_equal(net_vnet_decode(&posted->hdr, len, &meta), NET_OK);
	net_vnet_encode(&meta, &h[0]);
	net_vnet_encode(got, &h[1]);
	assert_memory_equal(&h[1], &h[0], sizeof(h[0]));
}

static void tx_one(struct bench *b, const uint8_t *frame, uint32_t len, const uint32_t *pieces)
{
	struct virtio_net_hdr_mrg_rxbuf h = random_header();

	spoil_queue = &b->q[TXQ];
	post_tx(b, &h, frame, len, pieces);
	kick(&b->q[TXQ]);
	hook = spoil;
	settle(b);
	hook = NULL;
	unspoil();
	assert_int_equal(b->n_sunk, 1);
	assert_int_equal(b->sunk[0].len, len);
	assert_memory_equal(b->sunk[0].data, frame, len);
	expect_meta(&b->sunk[0].meta, &h, len);
	forget_sunk(b);
	assert_true(reap(&b->q[TXQ], NULL, NULL));
}

static void rx_one(struct bench *b, const uint8_t *frame, uint32_t len)
{
	static uint8_t back[3000];

	for (unsigned k = 0; k < 4; k++)
		post_rx(b, 900);
	spoil_queue = &b->q[RXQ];
	hook = spoil;
	assert_int_equal(wire_frame(b, frame, len, NULL), NET_OK);
	hook = NULL;
	unspoil();
	assert_int_equal(receive(b, back, sizeof(back), NULL), (int)len);
	assert_memory_equal(back, frame, len);
}

static void test_nothing_is_read_twice(void **state)
{
	static uint8_t frame[3000];
	struct bench b;

	(void)state;
	for (unsigned indirect = 0; indirect < 2; indirect++) {
		bench_open(&b, NULL);
		driver_up(&b, indirect ? ALL_FEATURES : ALL_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC));
		for (unsigned i = 0; i < 500; i++) {
			/* the header in one piece, or in several */
			uint32_t pieces[] = { 1 + rnd(20), 1 + rnd(20), 1 + rnd(500), 0 };

			make_frame(frame, sizeof(frame), i);
			tx_one(&b, frame, sizeof(frame), pieces);
			rx_one(&b, frame, sizeof(frame));
		}
		assert_int_equal(twice, 0);
		bench_close(&b);
	}
}

/* ---- no wake-up lost, by chance at every load ---- */

static struct bench *act_bench;
static unsigned act_left;

static void act_tx(const void *p, unsigned size)
{
	static const uint8_t frame[60];
	struct gq *q = &act_bench->q[TXQ];

	(void)p, (void)size;
	if (!act_left || !q->n_free || rnd(4))
		return;
	act_left--;
	post_tx(act_bench, NULL, frame, sizeof(frame), NULL);
	kick_if_due(q);
}

static void act_rx(const void *p, unsigned size)
{
	(void)p, (void)size;
	if (!act_bench->q[RXQ].n_free || rnd(3))
		return;
	post_rx(act_bench, 100);
	kick_if_due(&act_bench->q[RXQ]);
}

static void run_chance(uint64_t features)
{
	uint8_t frame[60], back[60];
	struct bench b;
	bool waits = false;
	unsigned wakes = 0;

	bench_open(&b, NULL);
	b.queue_size = 4;
	driver_up(&b, features);
	act_bench = &b;
	for (unsigned i = 0; i < 20000; i++) {
		act_left = 1 + rnd(4);
		hook = act_tx;
		act_tx(NULL, 0);
		settle(&b);
		hook = NULL;
		/* Everything that was posted went, without a kick that nobody asked for. */
		assert_int_equal(used_idx(&b.q[TXQ]), b.q[TXQ].posted);
		while (reap(&b.q[TXQ], NULL, NULL))
			;
		forget_sunk(&b);
	}
	make_frame(frame, sizeof(frame), 0);
	for (unsigned i = 0; i < 20000; i++) {
		int r;

		hook = act_rx;
		wakes = b.wakes;
		r = wire_frame(&b, frame, sizeof(frame), NULL);
		settle(&b);
		hook = NULL;
		waits = r == -EAGAIN && b.wakes == wakes;
		/* Who waits does so because there is nothing. */
		if (waits)
			assert_int_equal(b.q[RXQ].posted, b.q[RXQ].seen);
		while (receive(&b, back, sizeof(back), NULL) >= 0)
			;
		while (waits && b.wakes == wakes) {
			act_rx(NULL, 0);
			settle(&b);
		}
	}
	bench_close(&b);
}

static void test_chance_event_idx(void **state)
{
	(void)state;
	run_chance(ALL_FEATURES);
}

static void test_chance_flags(void **state)
{
	(void)state;
	run_chance(ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX));
}

/* ---- no wake-up lost, with a driver on another processor ---- */

enum {
	THREAD_FRAMES = 20000,
	STUCK_SECONDS = 30, /* no frame in so long: a wake-up was lost. A busy machine needs milliseconds for each. */
	ENOUGH_SECONDS = 5, /* where both threads share a processor it takes minutes: fewer frames have to do */
};

struct driver {
	struct bench *b;
	struct seg frame;
	bool wants_calls;
	_Atomic unsigned sent; /* and came back */
	_Atomic bool done, enough, give_up;
};

/* A while that is a little different each time. */
static void dawdle(unsigned i)
{
	for (volatile unsigned n = i * 7 % 1500; n; n--)
		;
}

/* Look often, but leave the processor to the device where there is but one. */
static void spin(unsigned *n)
{
	if (++*n % 4096 == 0)
		sched_yield();
}

/* Wait for the frame in the ring: by looking, or by a call. False: it did not come. */
static bool await_used(struct driver *d, struct gq *q)
{
	unsigned calls, spins = 0;

	for (; !atomic_load(&d->give_up); spin(&spins)) {
		calls = atomic_load(&d->b->calls[TXQ]);
		want_calls(q);
		atomic_thread_fence(memory_order_seq_cst);
		if (used_waits(q))
			return true;
		/*
		 * Not there when it asked for a call: it sleeps, and does not look. (A call may be that of the frame
		 * before.)
		 */
		while (d->wants_calls && atomic_load(&d->b->calls[TXQ]) == calls && !atomic_load(&d->give_up))
			spin(&spins);
	}
	return false;
}

/*
 * One frame at a time, so that the device asks for a kick, or decides about a call, at the very time when the driver
 * posts, or asks for a call.
 */
static void *drive(void *arg)
{
	struct driver *d = arg;
	struct gq *q = &d->b->q[TXQ];

	for (unsigned sent = 0; sent < THREAD_FRAMES && !atomic_load(&d->enough); sent++) {
		want_no_calls(q);
		chain(q, &d->frame, 1);
		kick_if_due(q);
		dawdle(sent);
		if (!await_used(d, q))
			return NULL;
		reap(q, NULL, NULL);
		atomic_store(&d->sent, sent + 1);
	}
	atomic_store(&d->done, true);
	return NULL;
}

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* The device's side: turns are made all the time, but they look at rings only when they are kicked. */
static void run_device(struct bench *b, struct driver *d)
{
	time_t now, begin = seconds(), moved = begin;
	unsigned sent, last = 0;

	while (!atomic_load(&d->done) && !atomic_load(&d->give_up)) {
		for (unsigned i = 0; i < 100; i++)
			loop_turn(b->loop);
		if (b->n_sunk > 1000)
			forget_sunk(b);
		now = seconds();
		sent = atomic_load(&d->sent);
		if (sent != last)
			moved = now;
		last = sent;
		atomic_store(&d->enough, now - begin > ENOUGH_SECONDS);
		atomic_store(&d->give_up, now - moved > STUCK_SECONDS);
	}
}

static void run_thread(uint64_t features, bool wants_calls)
{
	struct driver d = { .wants_calls = wants_calls };
	struct bench b;
	pthread_t thread;

	bench_open(&b, NULL);
	b.queue_size = 2;
	driver_up(&b, features);
	d.b = &b;
	d.frame = (struct seg){ buf(&b, HDR + 60), HDR + 60, false };
	memset(at(&b, d.frame.gpa), 0, HDR + 60);
	assert_int_equal(pthread_create(&thread, NULL, drive, &d), 0);
	run_device(&b, &d);
	pthread_join(thread, NULL);
	if (!atomic_load(&d.done))
		fail_msg("a wake-up was lost after %u frames", atomic_load(&d.sent));
	settle(&b);
	assert_true(d.sent >= 100);
	assert_int_equal(counter_get(&b.nic->tx.out), d.sent);
	bench_close(&b);
}

static void test_thread_kicks_event_idx(void **state)
{
	(void)state;
	run_thread(ALL_FEATURES, false);
}

static void test_thread_kicks_flags(void **state)
{
	(void)state;
	run_thread(ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX), false);
}

static void test_thread_calls_event_idx(void **state)
{
	(void)state;
	run_thread(ALL_FEATURES, true);
}

static void test_thread_calls_flags(void **state)
{
	(void)state;
	run_thread(ALL_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX), true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_read_twice), cmocka_unit_test(test_chance_event_idx),
		cmocka_unit_test(test_chance_flags),	      cmocka_unit_test(test_thread_kicks_event_idx),
		cmocka_unit_test(test_thread_kicks_flags),    cmocka_unit_test(test_thread_calls_event_idx),
		cmocka_unit_test(test_thread_calls_flags),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
