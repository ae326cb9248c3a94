/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio device core (virtio 1.2, chapter 2): status machine, feature negotiation, queues, config space, ISR. A
 * transport (virtio_pci.h) sits in front of it and calls in from vCPU threads under the control mutex of the proxy; a
 * device type (virtio-net) stands behind it.
 *
 * Start and stop. A write of DRIVER_OK starts the device, a reset stops it; both go to the queues' loop by loop_call()
 * and return when it is done, so that after a reset no byte of guest memory changes because of older work. Kicks arrive
 * on the loop through the queues' eventfds. A device that meets nonsense breaks itself (virtio_break): NEEDS_RESET,
 * config interrupt, rings untouched until reset.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <linux/virtio_config.h>

#include "loop/loop.h"
#include "object/device.h"
#include "virtio/ring.h"

#define VIRTIO_STATUS_NEEDS_RESET 0x40

struct virtio_device;

/* What a transport does for the device; any thread. */
struct virtio_transport {
	void (*call)(void *opaque, struct virtq *q); /* queue interrupt */
	void (*config_changed)(void *opaque);	     /* config interrupt */
	void *opaque;
};

struct virtio_queue {
	struct virtq q;
	struct virtio_device *vdev;
	int kick_fd;	    /* eventfd; the transport binds its doorbell to it */
	struct watch watch; /* on the device's loop */
};

struct virtio_device {
	struct device dev;			  /* on a virtio bus, inside a proxy */
	const struct virtio_transport *transport; /* set by the proxy before realize */
	struct dma *dma;			  /* the proxy's, set before realize */
	struct loop *loop;			  /* where queues run, set before realize */
	struct mutex *lock;			  /* the proxy's control mutex */

	uint16_t device_id; /* VIRTIO_ID_NET */
	size_t config_len;
	unsigned n_queues;
	struct virtio_queue *queue; /* made by virtio_queues_init() */

	uint64_t host_features;	 /* offered; fixed at realize */
	uint64_t guest_features; /* what the driver wrote; negotiated once FEATURES_OK is set */

	/* properties */
	bool event_idx_ok, indirect_ok;
	bool legacy_only[2];		       /* accepted: they say nothing about the modern interface */
	bool queue_reset;		       /* accepted: not offered yet */
	bool packed, iommu_platform, in_order; /* must be off */

	_Atomic uint8_t status;
	_Atomic uint8_t isr;
	_Atomic uint32_t config_generation; /* low 8 bits are shown */
	struct post config_post;	    /* config interrupt, for the loop to raise */
	bool started;			    /* the driver is ready (DRIVER_OK); the loop's, as the next two */
	bool quiesced;
	bool running; /* started, not quiesced, DMA allowed: queues are served */
	_Atomic bool broken;
	counter guest_errors;
};

struct virtio_device_class {
	struct device_class dev;
	/* On the leaf type; main thread. realize sets host_features, config_len, and calls virtio_queues_init(). */
	int (*realize)(struct virtio_device *v, struct error *err);
	void (*unrealize)(struct virtio_device *v);
	/* Is this set of negotiated features consistent (dependencies, 5.1.3.1)? The core checked it is a subset. */
	bool (*validate)(struct virtio_device *v, uint64_t features);
	/* Config space, off + size within config_len. Control mutex. */
	void (*config_read)(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out);
	void (*config_write)(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in);
	/*
	 * On the loop. start: queues that are enabled run already, and each is kicked once after. stop: give back what
	 * was taken but not used (virtq_unpop), touch no queue after. Reset, and also quiesce and resume, come this
	 * way.
	 */
	void (*start)(struct virtio_device *v);
	void (*stop)(struct virtio_device *v);
	void (*kick)(struct virtio_device *v, struct virtio_queue *vq); /* on the loop */
	/* Stopped already: modelled state to power-on. On the loop, while a holder of the control mutex waits. */
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

static inline bool virtio_has(const struct virtio_device *v, unsigned bit)
{
	return v->guest_features & BIT(bit);
}

/* The parent of all virtio devices (abstract), for the table of types. */
extern const struct type type_virtio_device;

/* ---- for device types ---- */
/* The name that people know the device by: its proxy's id or type. */
const char *virtio_label(const struct virtio_device *v);
int virtio_queues_init(struct virtio_device *v, unsigned n, const uint16_t *max_sizes, struct error *err) __must_check;
/* Publish and, if wanted, call. Loop. */
void virtio_queue_flush(struct virtio_device *v, struct virtio_queue *vq);
/* The config space changed: generation, config interrupt (by the loop, soon). Any thread. */
void virtio_config_changed(struct virtio_device *v);
/*
 * The guest broke a rule, or the host cannot serve it: said once, counted, NEEDS_RESET. Loop; for queue_enable also
 * under the control mutex.
 */
void virtio_break(struct virtio_device *v, struct virtq *q, enum virtq_fault why);

/* ---- for transports; control mutex held ---- */
uint64_t virtio_offered(const struct virtio_device *v);
void virtio_set_features(struct virtio_device *v, unsigned word, uint32_t value); /* ignored once FEATURES_OK */
uint8_t virtio_get_status(const struct virtio_device *v);
void virtio_set_status(struct virtio_device *v, uint8_t value); /* 0: reset; DRIVER_OK: start */
void virtio_reset(struct virtio_device *v);
uint8_t virtio_read_isr(struct virtio_device *v); /* clears; the transport then lowers its line */
void virtio_config_read(struct virtio_device *v, unsigned off, unsigned size, uint8_t *out); /* beyond the end: 0 */
void virtio_config_write(struct virtio_device *v, unsigned off, unsigned size, const uint8_t *in);
/* Enable a configured queue (queue_enable = 1). Refused (and the device broken) if virtq_check() fails. */
void virtio_queue_enable(struct virtio_device *v, unsigned index);
/*
 * Stop touching guest memory, and go on, with the state kept: BAR moves, bus master bit, VM stop. While dma->on is
 * false resume leaves the device as it is: it goes on by the resume after DMA came back.
 */
void virtio_quiesce(struct virtio_device *v);
void virtio_resume(struct virtio_device *v);

#endif
