/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio device core: see device.h.
 *
 * Kicks. Each queue has an eventfd, which the doorbell (ioeventfd) or the transport signals. It is watched
 * edge-triggered and never read: epoll reports an edge for each signal that comes after the last report, whatever the
 * counter says, so that the read(2) a kick would cost is saved. (The counter is 64 bits wide: it does not fill up. A
 * test holds the kernel to it.)
 *
 * Life of the queues. DRIVER_OK maps the rings of all enabled queues (started) and, as soon as DMA is allowed and
 * nobody holds the device quiet, lets them be served (running). `status` is written by vCPUs under the control mutex,
 * but for NEEDS_RESET, which loops set too: it is changed by atomic operations on single bits.
 *
 * Lanes and the device. A reset stops lane after lane, and then, on the first lane's loop, clears what is the device's:
 * no loop is inside of the device any more. A lane that has not been stopped yet may break the device meanwhile. What
 * it then posts to others is taken back (the config interrupt), or comes too late and finds nothing to do (a lane that
 * is told to drop what it holds).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sched.h"
#include "virtio/device.h"

#define ISR_QUEUE	 1
#define ISR_CONFIG	 2
#define NO_VECTOR	 0xffff
#define STATUS_OF_DRIVER ((uint8_t)~VIRTIO_STATUS_NEEDS_RESET)

const struct device *virtio_proxy(const struct virtio_device *v)
{
	const struct bus *bus = v->dev.bus;
	const struct device *owner = bus && bus->owner ? to_device(bus->owner) : NULL;

	return owner && !device_class(owner)->internal ? owner : NULL;
}

const char *virtio_label(const struct virtio_device *v)
{
	const struct device *proxy = virtio_proxy(v);

	return device_label(v->dev.id || !proxy ? &v->dev : proxy);
}

/* ---- telling the driver ---- */

static void raise_isr(struct virtio_device *v, uint8_t bit)
{
	SCHED_POINT();
	/* With MSI-X nobody reads it: once set, it costs a load. */
	if (!(atomic_load_explicit(&v->isr, memory_order_relaxed) & bit))
		atomic_fetch_or(&v->isr, bit);
}

void virtio_queue_call(struct virtio_device *v, struct virtio_queue *vq)
{
	raise_isr(v, ISR_QUEUE);
	v->transport->call(v->transport->opaque, &vq->q);
}

void virtio_queue_flush(struct virtio_device *v, struct virtio_queue *vq)
{
	if (virtq_publish(&vq->q))
		virtio_queue_call(v, vq);
}

static void config_interrupt(struct virtio_device *v)
{
	if (!(atomic_load(&v->status) & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	raise_isr(v, ISR_CONFIG);
	v->transport->config_changed(v->transport->opaque);
}

static void on_config_post(struct post *p)
{
	config_interrupt(container_of(p, struct virtio_device, config_post));
}

/*
 * The interrupt is the first lane's loop's to raise, as is the end of a reset: the status that is looked at is then the
 * one that holds until the ISR is set, and what a reset has cleared stays clear.
 */
static void tell_config(struct virtio_device *v)
{
	SCHED_POINT();
	if (loop_here(v->loop))
		config_interrupt(v);
	else if (atomic_load(&v->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		loop_post(v->loop, &v->config_post);
}

void virtio_config_changed(struct virtio_device *v)
{
	atomic_fetch_add(&v->config_generation, 1);
	tell_config(v);
}

/* ---- breaking ---- */

static void lane_broke(struct virtio_lane *l)
{
	SCHED_POINT();
	if (atomic_load(&l->vdev->broken) && virtio_class(l->vdev)->broke)
		virtio_class(l->vdev)->broke(l->vdev, l);
}

static void on_broken_post(struct post *p)
{
	lane_broke(container_of(p, struct virtio_lane, broken_post));
}

/* Said even if another lane has said it: what the caller had in hand, its own lane has got only now. */
static void tell_lanes(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_lanes; i++) {
		if (loop_here(v->lane[i].loop))
			lane_broke(&v->lane[i]);
		else
			loop_post(v->lane[i].loop, &v->lane[i].broken_post);
	}
}

void virtio_break(struct virtio_device *v, struct virtq *q, enum virtq_fault why)
{
	if (q)
		virtq_break(q, why);
	if (why != VIRTQ_FAULT_HOST)
		counter_add_shared(&v->guest_errors, 1);
	SCHED_POINT();
	if (!atomic_exchange(&v->broken, true)) {
		atomic_fetch_or(&v->status, VIRTIO_STATUS_NEEDS_RESET);
		log_limited(LOG_WARN, "%s: queue %d: %s; the device stands still until its driver resets it",
			    virtio_label(v), q ? q->index : -1, virtq_fault_text(why));
		tell_config(v);
	}
	tell_lanes(v);
}

/* ---- queues ---- */

static void queue_kicked(struct watch *w, uint32_t events)
{
	struct virtio_queue *vq = container_of(w, struct virtio_queue, watch);
	struct virtio_device *v = vq->vdev;

	SCHED_POINT();
	if (unlikely(virtio_broken(v))) /* it runs, else the watch would not be there */
		return;
	if (events) /* else it is watch_again() that calls */
		counter_add(&vq->q.stats.kicks, 1);
	virtio_class(v)->kick(v, vq);
}

/* A size that the ring may have: split ones have powers of two, whatever the options say (2.7). */
static uint16_t size_offered(const struct virtio_device *v, uint16_t size)
{
	bool split = atomic_load(&v->status) & VIRTIO_CONFIG_S_FEATURES_OK && !virtio_has(v, VIRTIO_F_RING_PACKED);

	return split ? (uint16_t)power_of_2_within(size) : size;
}

static void queue_reset(struct virtq *q)
{
	q->was_reset = false;
	q->size = q->max_size;
	q->vector = NO_VECTOR;
	q->desc_gpa = q->driver_gpa = q->device_gpa = 0;
	q->enabled = false;
	q->fault = VIRTQ_FINE;
}

static void lane_unpost(void *arg)
{
	struct virtio_lane *l = arg;

	loop_unpost(l->loop, &l->broken_post);
}

static void queues_free(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_lanes; i++)
		loop_call(v->lane[i].loop, lane_unpost, &v->lane[i]);
	for (unsigned i = 0; i < v->n_queues; i++) {
		if (v->queue[i].kick_fd >= 0)
			sys_close(v->queue[i].kick_fd);
	}
	free(v->queue);
	free(v->lane);
	v->queue = NULL;
	v->lane = NULL;
	v->n_queues = v->n_lanes = 0;
}

static struct virtio_lane *lane_of(struct virtio_device *v, struct loop *loop)
{
	struct virtio_lane *l;

	for (unsigned i = 0; i < v->n_lanes; i++) {
		if (v->lane[i].loop == loop)
			return &v->lane[i];
	}
	l = &v->lane[v->n_lanes++];
	*l = (struct virtio_lane){ .vdev = v, .loop = loop };
	post_init(&l->broken_post, on_broken_post);
	return l;
}

static void queue_init(struct virtio_device *v, unsigned i, uint16_t max_size, struct loop *loop)
{
	struct virtio_queue *vq = &v->queue[i];

	vq->vdev = v;
	vq->lane = lane_of(v, loop);
	vq->q.index = (uint16_t)i;
	vq->q.max_size = max_size;
	vq->kick_fd = -1;
	queue_reset(&vq->q);
}

int virtio_queues_init(struct virtio_device *v, unsigned n, const uint16_t *max_sizes, struct loop *const *loops,
		       struct error *err)
{
	v->queue = calloc(n, sizeof(*v->queue));
	v->lane = calloc(n, sizeof(*v->lane)); /* at most one for each: they do not move */
	if (!v->queue || !v->lane) {
		queues_free(v);
		return fail(err, ENOMEM, "no memory for %u queues", n);
	}
	v->n_queues = n;
	for (unsigned i = 0; i < n; i++)
		queue_init(v, i, max_sizes[i], loops ? loops[i] : v->loop);
	v->loop = v->lane[0].loop;
	for (unsigned i = 0; i < n; i++) {
		struct virtio_queue *vq = &v->queue[i];

		vq->kick_fd = sys_eventfd();
		if (vq->kick_fd < 0) {
			int code = errno;

			queues_free(v);
			return fail(err, code, "cannot make an eventfd for queue %u: %s", i, errno_str(code));
		}
		watch_init(&vq->watch, "virtqueue kick", vq->kick_fd, queue_kicked);
	}
	return 0;
}

/* ---- start and stop of a lane, on its loop ---- */

#define for_each_queue(vq, l)                                                          \
	for (vq = (l)->vdev->queue; vq < (l)->vdev->queue + (l)->vdev->n_queues; vq++) \
		if (vq->lane == (l))

static int map_ring(struct virtio_device *v, struct virtq *q)
{
	const struct virtq_features f = {
		.event_idx = virtio_has(v, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(v, VIRTIO_RING_F_INDIRECT_DESC),
		.packed = virtio_has(v, VIRTIO_F_RING_PACKED),
		.in_order = virtio_has(v, VIRTIO_F_IN_ORDER),
		.notify_on_empty = v->legacy && virtio_has(v, VIRTIO_F_NOTIFY_ON_EMPTY),
	};

	if (!q->enabled || q->running)
		return 0;
	if (virtq_start(q, v->dma, &f, NULL) < 0) {
		virtio_break(v, q, VIRTQ_FAULT_RING);
		return -EFAULT;
	}
	return 0;
}

static int map_rings(struct virtio_lane *l)
{
	struct virtio_queue *vq;

	for_each_queue(vq, l) {
		int r = map_ring(l->vdev, &vq->q);

		if (r < 0)
			return r;
	}
	return 0;
}

static void unwatch_queues(struct virtio_lane *l)
{
	struct virtio_queue *vq;

	for_each_queue(vq, l)
		watch_del(&vq->watch);
}

/* A queue whose kicks nobody hears would stand still, and the driver would never learn of it. */
static int watch_queue(struct virtio_queue *vq)
{
	int r = vq->q.running ? watch_add(vq->lane->loop, &vq->watch, EPOLLIN | EPOLLET) : 0;

	if (r < 0)
		log_err("%s: queue %u: kicks cannot be watched: %s", virtio_label(vq->vdev), vq->q.index,
			errno_str(-r));
	return r;
}

static int watch_queues(struct virtio_lane *l)
{
	struct virtio_queue *vq;

	for_each_queue(vq, l) {
		int r = watch_queue(vq);

		if (r < 0) {
			unwatch_queues(l);
			virtio_break(l->vdev, &vq->q, VIRTQ_FAULT_HOST);
			return r;
		}
	}
	return 0;
}

/* Serve the queues from now on, if nothing is against it. */
static void run(struct virtio_lane *l)
{
	struct virtio_device *v = l->vdev;
	struct virtio_queue *vq;

	SCHED_POINT();
	if (l->running || !l->started || l->quiesced || atomic_load(&v->broken) || !atomic_load(&v->dma->on))
		return;
	if (map_rings(l) < 0 || watch_queues(l) < 0)
		return;
	l->running = true;
	virtio_class(v)->start(v, l);
	for_each_queue(vq, l)
		watch_again(&vq->watch); /* what was posted before */
}

static void halt(struct virtio_lane *l)
{
	if (!l->running)
		return;
	unwatch_queues(l);
	virtio_class(l->vdev)->stop(l->vdev, l);
	l->running = false;
}

static void lane_start(void *arg)
{
	struct virtio_lane *l = arg;

	l->started = true;
	run(l);
}

/* All of it here, while the caller waits: what the type resets (counters, frames that wait) is the loop's own. */
static void lane_reset(void *arg)
{
	struct virtio_lane *l = arg;
	struct virtio_queue *vq;

	halt(l);
	for_each_queue(vq, l)
		virtq_stop(&vq->q);
	l->started = false;
	if (virtio_class(l->vdev)->reset_lane)
		virtio_class(l->vdev)->reset_lane(l->vdev, l);
}

static void lane_quiesce(void *arg)
{
	struct virtio_lane *l = arg;

	l->quiesced = true;
	halt(l);
}

static void lane_resume(void *arg)
{
	struct virtio_lane *l = arg;

	l->quiesced = false;
	run(l);
}

/* One after the other: main or a vCPU waits for each. */
static void visit_lanes(struct virtio_device *v, void (*fn)(void *lane))
{
	for (unsigned i = 0; i < v->n_lanes; i++)
		loop_call(v->lane[i].loop, fn, &v->lane[i]);
}

/* To start them: the first one is the last, so that what it has to say to the others comes when they are there. */
static void visit_lanes_back(struct virtio_device *v, void (*fn)(void *lane))
{
	for (unsigned i = v->n_lanes; i-- > 0;)
		loop_call(v->lane[i].loop, fn, &v->lane[i]);
}

/* ---- one queue alone ---- */

/* Its lane goes on. The class drops what it has of the queue before that is forgotten. */
static void queue_reset_on_loop(void *arg)
{
	struct virtio_queue *vq = arg;
	struct virtio_device *v = vq->vdev;

	if (vq->lane->running)
		watch_del(&vq->watch);
	if (virtio_class(v)->queue_reset)
		virtio_class(v)->queue_reset(v, vq);
	virtq_stop(&vq->q);
	queue_reset(&vq->q);
	vq->q.size = size_offered(v, vq->q.max_size);
	vq->q.was_reset = true;
}

void virtio_queue_reset(struct virtio_device *v, unsigned index)
{
	if (index < v->n_queues && virtio_has(v, VIRTIO_F_RING_RESET) &&
	    atomic_load(&v->status) & VIRTIO_CONFIG_S_FEATURES_OK)
		loop_call(v->queue[index].lane->loop, queue_reset_on_loop, &v->queue[index]);
}

static void queue_start_on_loop(void *arg)
{
	struct virtio_queue *vq = arg;
	struct virtio_device *v = vq->vdev;

	if (!vq->lane->running || virtio_broken(v)) /* else it starts with its lane */
		return;
	if (map_ring(v, &vq->q) < 0)
		return;
	if (watch_queue(vq) < 0) {
		virtio_break(v, &vq->q, VIRTQ_FAULT_HOST);
		return;
	}
	if (virtio_class(v)->queue_start)
		virtio_class(v)->queue_start(v, vq);
	watch_again(&vq->watch);
}

void virtio_queue_enable(struct virtio_device *v, unsigned index)
{
	bool live = v->started || atomic_load(&v->status) & VIRTIO_CONFIG_S_DRIVER_OK;
	struct virtq *q;

	if (index >= v->n_queues)
		return;
	q = &v->queue[index].q;
	if (q->enabled || (live && !q->was_reset))
		return;
	if (virtq_check(q, v->dma, virtio_has(v, VIRTIO_F_RING_PACKED)) < 0) {
		virtio_break(v, q, VIRTQ_FAULT_RING);
		return;
	}
	q->enabled = true;
	if (live)
		loop_call(v->queue[index].lane->loop, queue_start_on_loop, &v->queue[index]);
}

/* ---- start and stop of the device ---- */

static void ready_on_loop(void *arg)
{
	struct virtio_device *v = arg;

	virtio_class(v)->ready(v);
}

static void start(struct virtio_device *v)
{
	v->started = true;
	if (virtio_class(v)->ready)
		loop_call(v->loop, ready_on_loop, v);
	visit_lanes_back(v, lane_start);
}

/* All lanes stand still. */
static void reset_on_loop(void *arg)
{
	struct virtio_device *v = arg;

	loop_unpost(v->loop, &v->config_post);
	v->started = v->legacy = false;
	atomic_store(&v->status, 0);
	atomic_store(&v->isr, 0);
	atomic_store(&v->broken, false);
	v->guest_features = 0;
	for (unsigned i = 0; i < v->n_queues; i++)
		queue_reset(&v->queue[i].q);
	if (virtio_class(v)->reset)
		virtio_class(v)->reset(v);
}

void virtio_reset(struct virtio_device *v)
{
	visit_lanes(v, lane_reset);
	loop_call(v->loop, reset_on_loop, v);
}

void virtio_quiesce(struct virtio_device *v)
{
	visit_lanes(v, lane_quiesce);
}

void virtio_resume(struct virtio_device *v)
{
	visit_lanes_back(v, lane_resume);
}

/* ---- the driver's side of the registers; control mutex ---- */

uint64_t virtio_offered(const struct virtio_device *v)
{
	return v->host_features;
}

static void take_features(struct virtio_device *v, uint64_t features)
{
	v->guest_features = features;
	if (virtio_class(v)->features_changed)
		virtio_class(v)->features_changed(v);
}

void virtio_set_features(struct virtio_device *v, unsigned word, uint32_t value)
{
	if (word > 1 || v->started || atomic_load(&v->status) & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	take_features(v, (v->guest_features & ~((uint64_t)UINT32_MAX << 32 * word)) | (uint64_t)value << 32 * word);
}

static bool features_fine(struct virtio_device *v)
{
	uint64_t f = v->guest_features;

	if (f & ~v->host_features || !(f & BIT(VIRTIO_F_VERSION_1)))
		return false;
	return !virtio_class(v)->validate || virtio_class(v)->validate(v, f);
}

uint8_t virtio_get_status(const struct virtio_device *v)
{
	return atomic_load(&((struct virtio_device *)v)->status);
}

/* What rings there will be is known from now on. */
static void offer_sizes(struct virtio_device *v)
{
	for (unsigned i = 0; i < v->n_queues; i++) {
		struct virtq *q = &v->queue[i].q;

		if (!q->enabled && q->size == q->max_size)
			q->size = size_offered(v, q->size);
	}
}

/* Bits are only ever added: 2.1.1 forbids a driver to clear one, and who does it all the same is not heard. */
void virtio_set_status(struct virtio_device *v, uint8_t value)
{
	uint8_t old = atomic_load(&v->status), new = (value & STATUS_OF_DRIVER) & ~old;

	if (value == 0) {
		virtio_reset(v);
		return;
	}
	if ((new &VIRTIO_CONFIG_S_FEATURES_OK) && (v->started || !features_fine(v)))
		new &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((old | new) & VIRTIO_CONFIG_S_FEATURES_OK))
		new &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	atomic_fetch_or(&v->status, new);
	if (new &VIRTIO_CONFIG_S_FEATURES_OK)
		offer_sizes(v);
	if (new &VIRTIO_CONFIG_S_DRIVER_OK)
		start(v);
}

uint8_t virtio_read_isr(struct virtio_device *v)
{
	return atomic_exchange(&v->isr, 0);
}

void virtio_ack_isr(struct virtio_device *v, uint8_t bits)
{
	atomic_fetch_and(&v->isr, (uint8_t)~bits);
}

void virtio_config_read(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out)
{
	memset(out, 0, size);
	if (off < v->config_len)
		virtio_class(v)->config_read(v, off, (unsigned)MIN((size_t)size, v->config_len - off), out);
}

void virtio_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in)
{
	if (off < v->config_len && virtio_class(v)->config_write)
		virtio_class(v)->config_write(v, off, (unsigned)MIN((size_t)size, v->config_len - off), in);
}

/* ---- legacy drivers; control mutex ---- */

/* What only the legacy interface has (6.3). */
static uint64_t legacy_bits(const struct virtio_device *v)
{
	return v->legacy_only | BIT(VIRTIO_F_BAD_FEATURE) | (v->any_layout ? BIT(VIRTIO_F_ANY_LAYOUT) : 0) |
	       (v->notify_on_empty ? BIT(VIRTIO_F_NOTIFY_ON_EMPTY) : 0);
}

uint32_t virtio_legacy_offered(const struct virtio_device *v)
{
	return (uint32_t)(v->host_features | legacy_bits(v));
}

/* While a driver is setting up: neither has it started the device, nor has a modern one settled what it is. */
static bool legacy_open(struct virtio_device *v)
{
	return !v->started && !(atomic_load(&v->status) & VIRTIO_CONFIG_S_FEATURES_OK);
}

void virtio_legacy_set_features(struct virtio_device *v, uint32_t value)
{
	if (legacy_open(v))
		take_features(v, value);
}

/* The driver is a legacy one: from now on it has what it may have. */
static void legacy_begin(struct virtio_device *v)
{
	uint64_t f = v->guest_features & virtio_legacy_offered(v);

	take_features(v, virtio_class(v)->legacy_features ? virtio_class(v)->legacy_features(v, f) : f);
	v->legacy = true;
}

void virtio_legacy_set_status(struct virtio_device *v, uint8_t value)
{
	uint8_t new = value &STATUS_OF_DRIVER &(uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;

	if (value == 0) {
		virtio_reset(v);
		return;
	}
	if ((new &VIRTIO_CONFIG_S_DRIVER_OK) && legacy_open(v))
		legacy_begin(v);
	new &= (uint8_t)~atomic_fetch_or(&v->status, new);
	if ((new &VIRTIO_CONFIG_S_DRIVER_OK) && !v->started)
		start(v);
}

void virtio_legacy_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in)
{
	const struct virtio_device_class *c = virtio_class(v);
	void (*write)(struct virtio_device *, unsigned, unsigned, const uint8_t *) =
		c->legacy_config_write ? c->legacy_config_write : c->config_write;

	if (off < v->config_len && write)
		write(v, off, (unsigned)MIN((size_t)size, v->config_len - off), in);
}

bool virtio_legacy_kick(struct virtio_device *v, unsigned index)
{
	bool first;

	if (index >= v->n_queues)
		return false;
	first = legacy_open(v) && v->queue[index].q.enabled;
	if (first) {
		legacy_begin(v);
		start(v);
	}
	sys_eventfd_signal(v->queue[index].kick_fd);
	return first;
}

uint16_t virtio_legacy_queue_size(const struct virtq *q)
{
	return q->size == q->max_size ? (uint16_t)power_of_2_within(q->size) : q->size;
}

struct legacy_ring {
	struct virtio_queue *vq;
	uint64_t gpa, align;
};

/* Descriptors, then the avail ring, then, aligned, the used ring (2.7.2). */
static void place_ring(struct virtq *q, uint64_t gpa, uint64_t align)
{
	uint64_t avail = sizeof(struct vring_desc) * q->size, used = avail + sizeof(uint16_t) * (3 + (uint64_t)q->size);

	q->desc_gpa = gpa;
	q->driver_gpa = gpa + avail;
	q->device_gpa = gpa + ALIGN_UP(used, align);
}

/* What it holds is dropped, its ring is forgotten. Its lane stands still, or has not started. */
static void take_out_of_use(struct virtio_queue *vq)
{
	if (virtio_class(vq->vdev)->queue_reset)
		virtio_class(vq->vdev)->queue_reset(vq->vdev, vq);
	virtq_stop(&vq->q);
	vq->q.enabled = false;
}

static void disable_on_loop(void *arg)
{
	struct virtio_queue *vq = arg;

	halt(vq->lane);
	take_out_of_use(vq);
	run(vq->lane);
}

void virtio_queue_disable(struct virtio_device *v, unsigned index)
{
	if (index < v->n_queues && v->queue[index].q.enabled)
		loop_call(v->queue[index].lane->loop, disable_on_loop, &v->queue[index]);
}

static void set_ring_on_loop(void *arg)
{
	const struct legacy_ring *r = arg;
	struct virtio_queue *vq = r->vq;
	struct virtq *q = &vq->q;

	halt(vq->lane);
	take_out_of_use(vq);
	q->desc_gpa = q->driver_gpa = q->device_gpa = 0;
	if (r->gpa) {
		q->size = virtio_legacy_queue_size(q);
		/* Of any other alignment there is no ring. */
		if (is_power_of_2(r->align))
			place_ring(q, r->gpa, r->align);
		q->enabled = is_power_of_2(r->align) && virtq_check(q, vq->vdev->dma, false) == 0;
		if (!q->enabled)
			virtio_break(vq->vdev, q, VIRTQ_FAULT_RING);
	}
	run(vq->lane);
}

void virtio_legacy_set_ring(struct virtio_device *v, unsigned index, uint64_t gpa, uint64_t align)
{
	struct legacy_ring r = { .gpa = gpa, .align = align };

	/* A modern driver's queues are set up its way. */
	if (index >= v->n_queues || atomic_load(&v->status) & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	r.vq = &v->queue[index];
	loop_call(r.vq->lane->loop, set_ring_on_loop, &r);
}

/* ---- the type ---- */

static int check_props(const struct virtio_device *v, struct error *err)
{
	if (v->iommu_platform)
		return fail(err, ENOTSUP, "iommu_platform=on: there is no IOMMU; leave it off");
	return 0;
}

static int device_realized(struct device *d, struct error *err)
{
	struct virtio_device *v = to_virtio_device(d);
	int r = check_props(v, err);

	post_init(&v->config_post, on_config_post);
	if (r == 0)
		r = virtio_class(v)->realize(v, err);
	if (r < 0) {
		queues_free(v);
		return r;
	}
	v->host_features |= BIT(VIRTIO_F_VERSION_1);
	if (v->event_idx_ok)
		v->host_features |= BIT(VIRTIO_RING_F_EVENT_IDX);
	if (v->indirect_ok)
		v->host_features |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (v->packed)
		v->host_features |= BIT(VIRTIO_F_RING_PACKED);
	if (v->in_order)
		v->host_features |= BIT(VIRTIO_F_IN_ORDER);
	if (v->queue_reset)
		v->host_features |= BIT(VIRTIO_F_RING_RESET);
	if (v->notification_data)
		v->host_features |= BIT(VIRTIO_F_NOTIFICATION_DATA);
	return 0;
}

static void device_unrealized(struct device *d)
{
	struct virtio_device *v = to_virtio_device(d);

	virtio_reset(v);
	virtio_class(v)->unrealize(v);
	queues_free(v);
}

static void device_reset_hook(struct device *d)
{
	virtio_reset(to_virtio_device(d));
}

static void class_init(struct class *c)
{
	struct device_class *dc = container_of(c, struct device_class, class);

	dc->bus_type = "virtio";
	dc->internal = true;
	dc->realize = device_realized;
	dc->unrealize = device_unrealized;
	dc->reset = device_reset_hook;
}

#define UNUSED_PROP(i, name, value)                                            \
	OPT_F(struct virtio_device, accepted[i], name, OPT_BOOL, .def = value, \
	      .help = "accepted; nothing depends on it")

static const struct opt props[] = {
	OPT_F(struct virtio_device, event_idx_ok, "event_idx", OPT_BOOL, .def = "on",
	      .help = "offer notification by event index"),
	OPT_F(struct virtio_device, indirect_ok, "indirect_desc", OPT_BOOL, .def = "on",
	      .help = "offer indirect descriptors"),
	OPT_F(struct virtio_device, any_layout, "any_layout", OPT_BOOL, .def = "on",
	      .help = "tell legacy drivers that the layout of buffers is theirs; it always is"),
	OPT_F(struct virtio_device, notify_on_empty, "notify_on_empty", OPT_BOOL, .def = "on",
	      .help = "offer legacy drivers an interrupt when a ring runs empty"),
	OPT_F(struct virtio_device, queue_reset, "queue_reset", OPT_BOOL, .def = "on",
	      .help = "offer the reset of single queues"),
	OPT_F(struct virtio_device, packed, "packed", OPT_BOOL, .def = "off", .help = "offer packed rings"),
	OPT_F(struct virtio_device, in_order, "in_order", OPT_BOOL, .def = "off",
	      .help = "offer to use buffers in the order in which they were posted"),
	OPT_F(struct virtio_device, notification_data, "notification_data", OPT_BOOL, .def = "off",
	      .help = "offer kicks that say where the ring is; nothing is made of it"),
	OPT_F(struct virtio_device, iommu_platform, "iommu_platform", OPT_BOOL, .def = "off",
	      .help = "only off: addresses through an IOMMU"),
	UNUSED_PROP(0, "use-started", "on"),
	UNUSED_PROP(1, "use-disabled-flag", "on"),
	UNUSED_PROP(2, "x-disable-legacy-check", "off"),
	OPT_END,
};

const struct type type_virtio_device = {
	.name = "virtio-device",
	.parent = "device",
	.desc = "virtio device",
	.instance_size = sizeof(struct virtio_device),
	.class_size = sizeof(struct virtio_device_class),
	.abstract = true,
	.class_init = class_init,
	.props = props,
};
