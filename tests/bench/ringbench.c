/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a frame costs on a ring, without a guest, a kernel or a wire: the device's side, as it is in vwire, in one thread,
 * a driver's side in another, both with the event index, asleep in an eventfd when there is nothing to do. The device
 * copies each frame out of the ring's buffers (send) or into them (receive), in batches of up to 64.
 *
 *	ringbench split|packed send|receive BYTES in-order|any-order SECONDS	frames per second, kicks and calls
 *	ringbench ...                                                0		all in one thread, 100,000 frames: for
 *										callgrind, which counts device_turn()
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "virtio/ring.h"

#define RING_SIZE 256u
#define BATCH	  64u
#define COUNTED	  100000
#define RING	  0x1000u
#define DRIVER	  0x4000u
#define DEVICE	  0x5000u
#define BUFFERS	  0x10000u
#define BUFFER	  2048u
#define F_AVAIL	  (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	  (1u << VRING_PACKED_DESC_F_USED)
#define WRAP	  0x8000u

static struct ram ram;
static struct dma dma;
static struct virtq q;
static bool packed, in_order, receive;
static uint32_t bytes;
static int kick_fd, call_fd;
static _Atomic bool stop;
static uint64_t kicks, calls;

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void sleep_on(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		abort();
}

/* ---- the device ---- */

/* Batches until there is nothing more. Returns the frames. */
static __attribute__((noinline)) unsigned long device_turn(void)
{
	static uint8_t frame[BUFFER];
	unsigned long done = 0;
	struct vchain c;
	struct iovec iov[4];

	virtq_kick_disable(&q);
	do {
		unsigned n;

		do {
			for (n = 0; n < BATCH && virtq_pop(&q, iov, 4, &c) == 1; n++) {
				if (receive)
					memcpy(iov[0].iov_base, frame, bytes);
				else
					memcpy(frame, iov[0].iov_base, bytes);
				virtq_push(&q, c.head, receive ? bytes : 0);
			}
			done += n;
			if (virtq_publish(&q)) {
				calls++;
				signal_fd(call_fd);
			}
		} while (n == BATCH);
		if (q.fault)
			abort();
	} while (virtq_kick_enable(&q));
	return done;
}

static void *device(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		sleep_on(kick_fd);
		device_turn();
	}
	return NULL;
}

/* ---- the driver: each buffer has a descriptor of its own, and they go round in order ---- */

static struct vring_desc *desc;
static struct vring_packed_desc *ring;
static struct vring_avail *avail;
static const struct vring_used *used;
static uint16_t posted, reaped; /* free running; with a packed ring their lap is a counter apart */
static unsigned put_at, take_at;
static bool put_wrap = true, take_wrap = true;

static void post(unsigned n)
{
	uint16_t flags = receive ? VRING_DESC_F_WRITE : 0;

	for (; n; n--, posted++) {
		unsigned i = packed ? put_at : posted % RING_SIZE;
		uint64_t gpa = BUFFERS + i * BUFFER;

		if (!receive)
			*(uint64_t *)ram_ptr(&ram, gpa, 8) = posted; /* the frame is new */
		if (!packed) {
			desc[i] = (struct vring_desc){ gpa, bytes, flags, 0 };
			avail->ring[i] = (uint16_t)i;
			continue;
		}
		ring[i].addr = gpa;
		ring[i].len = bytes;
		ring[i].id = (uint16_t)i;
		__atomic_store_n(&ring[i].flags, (uint16_t)(flags | (put_wrap ? F_AVAIL : F_USED)), __ATOMIC_RELEASE);
		if (++put_at == RING_SIZE) {
			put_at = 0;
			put_wrap = !put_wrap;
		}
	}
	if (!packed)
		__atomic_store_n(&avail->idx, posted, __ATOMIC_RELEASE);
}

static bool kick_due(unsigned n)
{
	uint32_t e;
	uint16_t at;

	atomic_thread_fence(memory_order_seq_cst);
	if (!packed)
		return vring_need_event(READ_ONCE(*(uint16_t *)&used->ring[RING_SIZE]), posted, (uint16_t)(posted - n));
	e = READ_ONCE(*(uint32_t *)ram_ptr(&ram, DEVICE, 4));
	if (e >> 16 != VRING_PACKED_EVENT_FLAG_DESC)
		return e >> 16 == VRING_PACKED_EVENT_FLAG_ENABLE;
	at = (uint16_t)(e & (WRAP - 1));
	if (!!(e & WRAP) != put_wrap)
		at = (uint16_t)(at - RING_SIZE);
	return vring_need_event(at, (uint16_t)put_at, (uint16_t)(put_at - n));
}

/* Take what is used: with a packed ring an entry at a time, each of which may stand for several. */
static void reap(void)
{
	uint64_t second;
	unsigned i;

	if (!packed) {
		reaped = __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE);
		return;
	}
	while (reaped != posted) {
		second = __atomic_load_n((uint64_t *)&ring[take_at].len, __ATOMIC_ACQUIRE);
		if (!!(second >> 48 & F_AVAIL) != take_wrap || !!(second >> 48 & F_USED) != take_wrap)
			break;
		do {
			i = take_at;
			reaped++;
			if (++take_at == RING_SIZE) {
				take_at = 0;
				take_wrap = !take_wrap;
			}
		} while (in_order && i != (uint16_t)(second >> 32));
	}
}

static void want_call(void)
{
	if (packed)
		WRITE_ONCE(*(uint32_t *)ram_ptr(&ram, DRIVER, 4),
			   (uint32_t)VRING_PACKED_EVENT_FLAG_DESC << 16 | (take_wrap ? WRAP : 0) | take_at);
	else
		WRITE_ONCE(avail->ring[RING_SIZE], reaped);
	atomic_thread_fence(memory_order_seq_cst);
}

/* Fill the ring; kick if that is wanted. */
static bool fill(void)
{
	unsigned room = RING_SIZE - (uint16_t)(posted - reaped), n = MIN(room, BATCH);

	if (!n)
		return false;
	post(n);
	if (!kick_due(n))
		return true;
	kicks++;
	signal_fd(kick_fd);
	return true;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The ring is full. */
static void reap_or_sleep(void)
{
	uint16_t before = reaped;

	reap();
	if (reaped != before)
		return;
	want_call();
	reap();
	if (reaped == before)
		sleep_on(call_fd);
}

static double drive(double length, unsigned long *frames)
{
	double begin = seconds(), now = begin;

	for (unsigned turn = 0; now < begin + length; turn++) {
		uint16_t before = reaped;

		if (!fill())
			reap_or_sleep();
		*frames += (uint16_t)(reaped - before);
		if (turn % 64 == 0)
			now = seconds();
	}
	return now - begin;
}

/* ---- setting up ---- */

static void set_up(void)
{
	static const struct ram_block block = { .gpa = 0, .size = BUFFERS + RING_SIZE * BUFFER };
	const struct virtq_features f = { .event_idx = true, .indirect = true, .packed = packed, .in_order = in_order };
	struct error err;

	if (ram_init(&ram, &block, 1, RAM_PRIVATE, &err) < 0)
		abort();
	dma.ram = &ram;
	atomic_init(&dma.on, true);
	q = (struct virtq){ .size = RING_SIZE, .max_size = RING_SIZE, .desc_gpa = RING, .driver_gpa = DRIVER };
	q.device_gpa = DEVICE;
	if (virtq_start(&q, &dma, &f, NULL) < 0 || virtq_kick_enable(&q))
		abort();
	desc = ram_ptr(&ram, RING, 1);
	ring = ram_ptr(&ram, RING, 1);
	avail = ram_ptr(&ram, DRIVER, 1);
	used = ram_ptr(&ram, DEVICE, 1);
	kick_fd = eventfd(0, EFD_CLOEXEC);
	call_fd = eventfd(0, EFD_CLOEXEC);
	if (kick_fd < 0 || call_fd < 0)
		abort();
}

static void run_threads(double length)
{
	unsigned long frames = 0;
	pthread_t thread;
	double took;

	if (pthread_create(&thread, NULL, device, NULL) != 0)
		abort();
	took = drive(length, &frames);
	atomic_store(&stop, true);
	signal_fd(kick_fd);
	pthread_join(thread, NULL);
	printf("%.0f %.4f %.4f\n", (double)frames / took, (double)kicks / (double)frames,
	       (double)calls / (double)frames);
}

static void run_counted(void)
{
	unsigned long frames = 0;

	while (frames < COUNTED) {
		post(BATCH);
		frames += device_turn();
		reap();
	}
	printf("%lu\n", frames);
}

int main(int argc, char **argv)
{
	double length;

	if (argc != 6) {
		fprintf(stderr, "usage: ringbench split|packed send|receive BYTES in-order|any-order SECONDS\n");
		return 1;
	}
	packed = argv[1][0] == 'p';
	receive = argv[2][0] == 'r';
	bytes = (uint32_t)strtoul(argv[3], NULL, 10);
	bytes = MIN(MAX(bytes, 8u), BUFFER);
	in_order = argv[4][0] == 'i';
	length = atof(argv[5]);
	set_up();
	if (length > 0)
		run_threads(length);
	else
		run_counted();
	return 0;
}
