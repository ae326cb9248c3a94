/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio device of two queues, each a lane of its own, that does nothing but keep an account: a kick brings in one
 * piece of work, which is done or held, and now and then the device breaks. For tests that include it behind the
 * definition of EXPECT() and CHANCE(one in so many).
 */
#ifndef SCHEDULE_LANES_H
#define SCHEDULE_LANES_H

#include "base/log.h"
#include "base/sched.h"
#include "virtio/device.h"

#define LANES	 2
#define RING_GPA 0x4000ull

/* What a lane has done: its loop's, as all of its kind. */
static struct work {
	bool serving;
	unsigned in, out, held, dropped, heard;
} work[LANES];
static struct virtio_device striped;
static struct loop *lane_loop[LANES];
static _Atomic unsigned given[LANES], config_calls;
static unsigned break_chance; /* a kick breaks the device, once in so many; 0: never */

static unsigned lane_index(const struct virtio_lane *l)
{
	return (unsigned)(l - striped.lane);
}

static void drop_held(struct work *w)
{
	w->dropped += w->held;
	w->held = 0;
}

static void striped_start(struct virtio_device *v, struct virtio_lane *l)
{
	(void)v;
	EXPECT(loop_here(l->loop) && !work[lane_index(l)].serving);
	work[lane_index(l)].serving = true;
}

static void striped_stop(struct virtio_device *v, struct virtio_lane *l)
{
	(void)v;
	EXPECT(loop_here(l->loop));
	work[lane_index(l)].serving = false;
}

static void striped_kick(struct virtio_device *v, struct virtio_queue *vq)
{
	struct work *w = &work[vq->q.index];

	EXPECT(loop_here(vq->lane->loop) && vq->lane->running && w->serving);
	w->heard = atomic_load(&given[vq->q.index]);
	w->in++;
	SCHED_POINT();
	if (CHANCE(3))
		w->held++;
	else
		w->out++;
	SCHED_POINT();
	if (break_chance && CHANCE(break_chance))
		virtio_break(v, &vq->q, VIRTQ_FAULT_HEADER);
}

static void striped_broke(struct virtio_device *v, struct virtio_lane *l)
{
	(void)v;
	EXPECT(loop_here(l->loop));
	drop_held(&work[lane_index(l)]);
}

static void striped_reset_lane(struct virtio_device *v, struct virtio_lane *l)
{
	(void)v;
	EXPECT(loop_here(l->loop) && !work[lane_index(l)].serving);
	drop_held(&work[lane_index(l)]);
}

static void striped_reset(struct virtio_device *v)
{
	EXPECT(loop_here(v->loop) && !atomic_load(&v->broken));
	for (unsigned i = 0; i < LANES; i++)
		EXPECT(!work[i].serving && !work[i].held && work[i].in == work[i].out + work[i].dropped);
}

/* The driver is told while it is there, and by the first lane. */
static void striped_config(void *opaque)
{
	(void)opaque;
	EXPECT(loop_here(striped.loop) && virtio_get_status(&striped) & VIRTIO_CONFIG_S_DRIVER_OK);
	atomic_fetch_add(&config_calls, 1);
}

static void striped_call(void *opaque, struct virtq *q)
{
	(void)opaque, (void)q;
}

static struct virtio_device_class striped_class = {
	.start = striped_start,
	.stop = striped_stop,
	.kick = striped_kick,
	.broke = striped_broke,
	.reset_lane = striped_reset_lane,
	.reset = striped_reset,
};

static struct ram striped_ram;
static struct dma striped_dma = { .ram = &striped_ram };
static const struct virtio_transport striped_transport = { striped_call, striped_config, NULL };

static inline void striped_memory(void)
{
	static const struct ram_block block = { .gpa = 0, .size = 64 * KIB };
	struct error err;

	log_init("lanes", LOG_ERR);
	EXPECT(ram_init(&striped_ram, &block, 1, RAM_PRIVATE, &err) == 0);
	atomic_store(&striped_dma.on, true);
}

static void striped_post(struct post *p);

/* The device, on the loops of lane_loop[], which are there. */
static inline void striped_make(void)
{
	static char id[] = "striped";
	static const uint16_t sizes[LANES] = { 4, 4 };
	struct error err;

	memset(work, 0, sizeof(work));
	memset(&striped, 0, sizeof(striped));
	for (unsigned i = 0; i < LANES; i++)
		atomic_store(&given[i], 0);
	atomic_store(&config_calls, 0);
	striped.dev.id = id;
	striped.dev.obj.class = &striped_class.dev.class;
	striped.transport = &striped_transport;
	striped.dma = &striped_dma;
	striped.loop = lane_loop[0];
	striped.host_features = BIT(VIRTIO_F_VERSION_1);
	post_init(&striped.config_post, striped_post);
	EXPECT(virtio_queues_init(&striped, LANES, sizes, lane_loop, &err) == 0);
	EXPECT(striped.n_lanes == LANES);
}

/* The driver's way up; whoever calls holds the control mutex. */
static inline void striped_up(void)
{
	uint8_t s = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	virtio_set_status(&striped, s);
	virtio_set_features(&striped, 1, 1);
	virtio_set_status(&striped, s |= VIRTIO_CONFIG_S_FEATURES_OK);
	EXPECT(virtio_get_status(&striped) & VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < LANES; i++) {
		struct virtq *q = &striped.queue[i].q;

		q->desc_gpa = RING_GPA * (i + 1);
		q->driver_gpa = q->desc_gpa + 0x1000;
		q->device_gpa = q->desc_gpa + 0x2000;
		virtio_queue_enable(&striped, i);
	}
	virtio_set_status(&striped, s | VIRTIO_CONFIG_S_DRIVER_OK);
}

static inline void striped_kick_from_guest(unsigned i)
{
	atomic_fetch_add(&given[i], 1);
	SCHED_POINT();
	sys_eventfd_signal(striped.queue[i].kick_fd);
}

#endif
