/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory mapped transport of virtio (virtio 1.2, 4.2): a window of registers and an interrupt line. The board makes
 * transports; each has a bus that takes one virtio device, and is seen by the guest once it has one.
 *
 * Version 1 is the legacy interface (4.2.4), version 2 the modern one. As with QEMU the property force-legacy, on if it
 * is not given, chooses version 1.
 */
#ifndef VIRTIO_VIRTIO_MMIO_H
#define VIRTIO_VIRTIO_MMIO_H

#include "mem/space.h"
#include "object/irq_wire.h"
#include "virtio/device.h"

#define VIRTIO_MMIO_SIZE 0x200

/* What the board gives to a transport. */
struct virtio_mmio_place {
	unsigned index; /* its bus is virtio-mmio-bus.INDEX */
	struct space *mem;
	uint64_t base;
	int priority; /* in that space */
	unsigned gsi;
	const struct irq_chip *irq;
	const struct ram *ram;
	struct loop *main_loop;
	struct loop *(*place)(void *arg); /* the net loop for a new device; NULL: main_loop */
	void *place_arg;
};

struct virtio_mmio {
	struct device dev;
	struct virtio_mmio_place at; /* set by the board before realize */
	struct bus bus;
	struct virtio_device *vdev; /* NULL: there is none, and the guest sees nothing */
	struct virtio_transport transport;
	struct dma dma; /* always on: there is no bus master bit */

	/* properties */
	bool force_legacy, ioeventfd;
	bool format_transport_address; /* accepted: nothing depends on it */

	/* registers; control mutex */
	uint32_t device_sel, driver_sel, queue_sel;
	uint32_t guest_page; /* version 1: bytes of a page */
	uint32_t *align;     /* version 1: of each queue's used ring */

	struct region region;
	struct doorbell *bells; /* one a queue, each matches its number; bound while a driver has the device */
	bool bound;
	struct irq_wire wire;
	_Atomic bool driven; /* the pin */
};

/* The board's part: make transport number at->index, realized. `globals` may set properties of it; NULL: none. Main. */
struct virtio_mmio *virtio_mmio_new(const struct virtio_mmio_place *at,
				    int (*globals)(void *arg, struct object *o, struct error *err), void *arg,
				    struct error *err);
void virtio_mmio_free(struct virtio_mmio *m);
/* The VM stops, or goes on. */
void virtio_mmio_stop(struct virtio_mmio *m, bool stop);

extern const struct type type_virtio_mmio;

#endif
