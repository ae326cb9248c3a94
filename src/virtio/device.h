/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio device core (virtio 1.2, chapter 2): status machine, feature negotiation, queues, config space, ISR. A
 * transport (virtio_pci.h, virtio_mmio.h) sits in front of it and calls in from vCPU threads under the control mutex of
 * the proxy; a device type (virtio-net) stands behind it.
 *
 * Lanes. Each queue has a loop; those of one loop are a lane, which that loop serves, starts and stops, whatever the
 * other lanes do. A lane's state is its loop's. What concerns the device as a whole (features, status, ISR) changes
 * while all lanes stand still.
 *
 * Start and stop. A write of DRIVER_OK starts the device, a reset stops it; both visit one lane after the other by
 * loop_call() and return when it is done, so that after a reset no byte of guest memory changes because of older work.
 * Kicks arrive on the loop through the queues' eventfds. A device that meets nonsense breaks itself (virtio_break):
 * NEEDS_RESET, config interrupt, rings untouched until reset. The other lanes begin nothing new from then on, and drop
 * what they hold when they come to it.
 *
 * Legacy drivers (the sections called "Legacy Interface"). They know 32 features and no FEATURES_OK, give a ring as one
 * address, and may use a queue before they set DRIVER_OK, or never set it. A transport that offers the legacy interface
 * passes what comes through it to the virtio_legacy_*() functions. Whose the device is, is decided when it starts: it
 * is a legacy driver's if FEATURES_OK is not set then, and what the driver wrote is cut down to what it may have.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <linux/virtio_config.h>

#include "loop/loop.h"
#include "object/device.h"
#include "virtio/ring.h"

#define VIRTIO_STATUS_NEEDS_RESET 0x40
/*
 * Offered by the legacy interface; a driver that takes it takes all that it sees, and understands little of it (6.3).
 */
#define VIRTIO_F_BAD_FEATURE	  30

/* Not in the kernel's headers of Debian 12 (virtio 1.2, chapter 6). */
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif

struct virtio_device;

/* What a transport does for the device; any thread. */
struct virtio_transport {
	void (*call)(void *opaque, struct virtq *q); /* queue interrupt */
	void (*config_changed)(void *opaque);	     /* config interrupt */
	void *opaque;
};

struct virtio_lane;

struct virtio_queue {
	struct virtq q;
	struct virtio_device *vdev;
	struct virtio_lane *lane;
	int kick_fd;	    /* eventfd; the transport binds its doorbell to it */
	struct watch watch; /* on the lane's loop */
};

/* The queues of a device that share a loop. All of it is the loop's. */
struct virtio_lane {
	struct virtio_device *vdev;
	struct loop *loop;
	bool started; /* the driver is ready (DRIVER_OK) */
	bool quiesced;
	bool running;		 /* started, not quiesced, DMA allowed: queues are served */
	struct post broken_post; /* the device broke: drop what the lane holds */
};

struct virtio_device {
	struct device dev;			  /* on a virtio bus, inside a proxy */
	const struct virtio_transport *transport; /* set by the proxy before realize */
	struct dma *dma;			  /* the proxy's, set before realize */
	struct loop *loop;  /* for queues that have no other, set before realize; from then on that
						     of the first lane, which raises config interrupts */
	struct mutex *lock; /* the proxy's control mutex */

	uint16_t device_id; /* VIRTIO_ID_NET */
	size_t config_len;
	unsigned n_queues;
	struct virtio_queue *queue; /* made by virtio_queues_init() */
	unsigned n_lanes;
	struct virtio_lane *lane; /* lane[0] is queue 0's */

	uint64_t host_features;	 /* offered; fixed at realize */
	uint64_t legacy_only;	 /* ... and what the legacy interface alone offers of the class */
	uint64_t guest_features; /* what the driver wrote; negotiated once FEATURES_OK is set */

	/* properties */
	bool event_idx_ok, indirect_ok, packed, in_order, queue_reset, notification_data;
	bool any_layout, notify_on_empty; /* of the legacy interface */
	bool iommu_platform;		  /* must be off */
	bool accepted[3];		  /* QEMU's switches for its older machines */

	/* Of the start, until the reset; changed under the control mutex, while all lanes stand still. */
	bool started; /* the driver uses the device */
	bool legacy;  /* ... by the legacy interface */

	_Atomic uint8_t status;
	_Atomic uint8_t isr;
	_Atomic uint32_t config_generation; /* low 8 bits are shown */
	struct post config_post;	    /* config interrupt, for the loop to raise */
	_Atomic bool broken;
	counter guest_errors;
};

struct virtio_device_class {
	struct device_class dev;
	/* On the leaf type; main thread. realize sets host_features, config_len, and calls virtio_queues_init(). */
	int (*realize)(struct virtio_device *v, struct error *err);
	void (*unrealize)(struct virtio_device *v);
	/* guest_features is other than it was, and not final yet; nothing runs. Control mutex; NULL: nothing to do. */
	void (*features_changed)(struct virtio_device *v);
	/* Is this set of negotiated features consistent (dependencies, 5.1.3.1)? The core checked it is a subset. */
	bool (*validate)(struct virtio_device *v, uint64_t features);
	/*
	 * What a legacy driver that wrote this subset of what it was offered gets: it cannot be told that features
	 * contradict each other, so those are left out. NULL: as it wrote them. Control mutex.
	 */
	uint64_t (*legacy_features)(struct virtio_device *v, uint64_t features);
	/* Config space, off + size within config_len. Control mutex. */
	void (*config_read)(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out);
	void (*config_write)(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in);
	/* The same by the legacy interface; NULL: there is no difference. */
	void (*legacy_config_write)(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in);
	/*
	 * The driver is ready: its features are final. On v->loop, before the first lane starts; NULL: nothing to do.
	 */
	void (*ready)(struct virtio_device *v);
	/*
	 * On the lane's loop, for its queues. start: those that are enabled run already, and each is kicked once after.
	 * stop: give back what was taken but not used (virtq_unpop), touch no queue after. Reset, and also quiesce and
	 * resume, come this way.
	 */
	void (*start)(struct virtio_device *v, struct virtio_lane *l);
	void (*stop)(struct virtio_device *v, struct virtio_lane *l);
	void (*kick)(struct virtio_device *v, struct virtio_queue *vq); /* on the queue's loop */
	/*
	 * One queue is reset (2.6.1), whether its lane runs or not: drop what is held of it, begin nothing with it.
	 * Later it runs again, with rings of another size and place maybe, and is kicked once after; if that is while
	 * the lane stands still there is only the lane's start. On the queue's loop; NULL: nothing to do.
	 */
	void (*queue_reset)(struct virtio_device *v, struct virtio_queue *vq);
	void (*queue_start)(struct virtio_device *v, struct virtio_queue *vq);
	/*
	 * The device broke: drop what the lane holds, and begin nothing. On the lane's loop; maybe more than once, or
	 * when a reset has come already.
	 */
	void (*broke)(struct virtio_device *v, struct virtio_lane *l);
	/*
	 * Stopped already: modelled state to power-on. First each lane's, on its loop; then, while all of them stand
	 * still, the device's, on v->loop. A holder of the control mutex waits for it.
	 */
	void (*reset_lane)(struct virtio_device *v, struct virtio_lane *l);
	void (*reset)(struct virtio_device *v);
};

static inline struct virtio_device *to_virtio_device(struct device *d)
{
	return container_of(d, struct virtio_device, dev);
}

static inline const struct virtio_device_class *virtio_class(const struct virtio_device *v)
{
	return container_of(device_class(&v->dev), struct virtio_device_class, dev);
}

static inline bool virtio_broken(const struct virtio_device *v)
{
	return atomic_load_explicit(&v->broken, memory_order_relaxed);
}

static inline bool virtio_has(const struct virtio_device *v, unsigned bit)
{
	return v->guest_features & BIT(bit);
}

/* The parent of all virtio devices (abstract), for the table of types. */
extern const struct type type_virtio_device;

/* ---- for device types ---- */
/* The device that users named, if it contains this one; NULL: they named this one, for a transport of the board. */
const struct device *virtio_proxy(const struct virtio_device *v);
/* The name that people know the device by: its proxy's id or type, or its own. */
const char *virtio_label(const struct virtio_device *v);
/* Make n queues, queue i of at most max_sizes[i] entries, served by loops[i]; loops NULL: all of them by v->loop. */
int virtio_queues_init(struct virtio_device *v, unsigned n, const uint16_t *max_sizes, struct loop *const *loops,
		       struct error *err) __must_check;
/* Publish and, if wanted, call. The queue's loop. */
void virtio_queue_flush(struct virtio_device *v, struct virtio_queue *vq);
/* Call, whatever the ring says. The queue's loop. */
void virtio_queue_call(struct virtio_device *v, struct virtio_queue *vq);
/* The config space changed: generation, config interrupt (by v->loop, soon). Any thread. */
void virtio_config_changed(struct virtio_device *v);
/*
 * The guest broke a rule, or the host cannot serve it: said once, counted, NEEDS_RESET; class->broke for the caller's
 * lane now, for others soon. q's loop; for queue_enable under the control mutex.
 */
void virtio_break(struct virtio_device *v, struct virtq *q, enum virtq_fault why);

/* ---- for transports; control mutex held ---- */
uint64_t virtio_offered(const struct virtio_device *v);
void virtio_set_features(struct virtio_device *v, unsigned word, uint32_t value); /* ignored once FEATURES_OK */
uint8_t virtio_get_status(const struct virtio_device *v);
void virtio_set_status(struct virtio_device *v, uint8_t value); /* 0: reset; DRIVER_OK: start */
void virtio_reset(struct virtio_device *v);
uint8_t virtio_read_isr(struct virtio_device *v);	    /* clears; the transport then lowers its line */
void virtio_ack_isr(struct virtio_device *v, uint8_t bits); /* clears these; likewise */
void virtio_config_read(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out); /* beyond the end: 0 */
void virtio_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in);
/*
 * Enable a configured queue (queue_enable = 1). Refused (and the device broken) if virtq_check() fails. While the
 * device runs only a queue that was reset alone is enabled; it runs when this returns.
 */
void virtio_queue_enable(struct virtio_device *v, unsigned index);

/* ---- for transports with a legacy interface; control mutex held ---- */
uint32_t virtio_legacy_offered(const struct virtio_device *v);
void virtio_legacy_set_features(struct virtio_device *v, uint32_t value); /* ignored once the device has started */
void virtio_legacy_set_status(struct virtio_device *v, uint8_t value);	  /* 0: reset; DRIVER_OK: start */
void virtio_legacy_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in);
/* The size of its ring: what the driver chose, or the largest power of two that is offered. */
uint16_t virtio_legacy_queue_size(const struct virtq *q);
/*
 * The ring's one address (2.7.2), in bytes, and the alignment of its used part; 0: the queue is no longer used. At any
 * time: a device that runs stands still meanwhile. A ring that is no good breaks the device.
 */
void virtio_legacy_set_ring(struct virtio_device *v, unsigned index, uint64_t gpa, uint64_t align);
/*
 * A kick that came by the register: signals the queue's eventfd. The first one from a legacy driver without DRIVER_OK
 * starts the device; true if this one did.
 */
bool virtio_legacy_kick(struct virtio_device *v, unsigned index);

/* Take a queue out of use until the next reset: its ring is not touched when this returns. */
void virtio_queue_disable(struct virtio_device *v, unsigned index);
/*
 * Reset one queue (queue_reset = 1), if RING_RESET was negotiated: when this returns nothing of its rings or buffers is
 * touched any more, and its configuration is that after a reset of the device. The other queues notice nothing.
 */
void virtio_queue_reset(struct virtio_device *v, unsigned index);
/*
 * Stop touching guest memory, and go on, with the state kept: BAR moves, bus master bit, VM stop. While dma->on is
 * false resume leaves the device as it is: it goes on by the resume after DMA came back.
 */
void virtio_quiesce(struct virtio_device *v);
void virtio_resume(struct virtio_device *v);

#endif
