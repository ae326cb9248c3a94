/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory mapped transport of virtio: see virtio_mmio.h.
 *
 * Registers are 32 bits wide and aligned (4.2.2.2), the device's configuration from 0x100 on may be read in any width.
 * What else is tried reads 0, writes nothing and is counted. The handlers take the control mutex themselves, as a kick
 * of a device that runs needs none.
 *
 * The interrupt is a level: asserted while InterruptStatus is not 0. Who changes the status, a loop that raises or the
 * vCPU that acknowledges, drives the pin to what it sees and looks again until both agree, as virtio_pci.c does with
 * INTx; the wire keeps calls into the chip in order.
 */
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sched.h"

#define MAGIC	    0x74726976 /* "virt" */
#define VENDOR	    0x1af4
#define QUEUE_RESET 0xc0       /* not in Debian 12's headers */
#define NO_SHM	    UINT32_MAX /* length and base of a shared memory region that does not exist (4.2.2) */

static bool is_legacy(const struct virtio_mmio *m)
{
	return m->force_legacy;
}

/* ---- the line ---- */

static void set_pin(struct virtio_mmio *m, bool level)
{
	SCHED_POINT();
	if (atomic_exchange(&m->driven, level) != level)
		irq_wire_add(&m->wire, m->at.irq, m->at.gsi, level ? 1 : -1);
}

static void drive_pin(struct virtio_mmio *m)
{
	bool level;

	do {
		SCHED_POINT();
		level = atomic_load(&m->vdev->isr) != 0;
		set_pin(m, level);
		SCHED_POINT();
	} while ((atomic_load(&m->vdev->isr) != 0) != level);
}

static void queue_call(void *opaque, struct virtq *q)
{
	(void)q;
	drive_pin(opaque);
}

static void config_changed(void *opaque)
{
	drive_pin(opaque);
}

/* ---- doorbells ---- */

/* Others may be building a map of the space: the table is changed inside of begin and commit. */
static void set_doorbells(struct virtio_mmio *m, bool on)
{
	if (!m->bells || m->bound == on)
		return;
	m->bound = on;
	space_begin(m->at.mem);
	for (unsigned i = 0; i < m->vdev->n_queues; i++)
		m->bells[i].fd = on ? m->vdev->queue[i].kick_fd : -1;
	space_doorbells_changed(m->at.mem, &m->region);
	space_commit(m->at.mem);
}

/* ---- reading ---- */

static void refused(struct virtio_mmio *m)
{
	counter_add_shared(&m->region.refused, 1);
}

static struct virtq *selected(const struct virtio_mmio *m)
{
	return m->queue_sel < m->vdev->n_queues ? &m->vdev->queue[m->queue_sel].q : NULL;
}

static uint32_t features_read(const struct virtio_mmio *m)
{
	if (is_legacy(m))
		return m->device_sel == 0 ? virtio_legacy_offered(m->vdev) : 0;
	return m->device_sel < 2 ? (uint32_t)(virtio_offered(m->vdev) >> 32 * m->device_sel) : 0;
}

static uint32_t page_frame(const struct virtio_mmio *m, const struct virtq *q)
{
	return q->enabled && is_power_of_2(m->guest_page) ? (uint32_t)(q->desc_gpa >> __builtin_ctz(m->guest_page)) : 0;
}

/* The largest ring; of split ones a power of two (2.7). */
static uint32_t largest(const struct virtio_mmio *m, const struct virtq *q)
{
	return virtio_has(m->vdev, VIRTIO_F_RING_PACKED) ? q->max_size : power_of_2_within(q->max_size);
}

/* Of a queue that does not exist all is 0. */
static uint32_t queue_read(struct virtio_mmio *m, unsigned off)
{
	const struct virtq *q = selected(m);

	if (off == VIRTIO_MMIO_QUEUE_NUM_MAX)
		return q ? largest(m, q) : 0;
	if (off == VIRTIO_MMIO_QUEUE_PFN && is_legacy(m))
		return q ? page_frame(m, q) : 0;
	if (off == VIRTIO_MMIO_QUEUE_READY && !is_legacy(m))
		return q && q->enabled;
	if (off == QUEUE_RESET && !is_legacy(m))
		return 0; /* a reset is complete when the write of 1 is */
	refused(m);
	return 0;
}

static uint32_t register_read(struct virtio_mmio *m, unsigned off)
{
	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return is_legacy(m) ? 1 : 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return m->vdev->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return features_read(m);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load(&m->vdev->isr);
	case VIRTIO_MMIO_STATUS:
		/* NEEDS_RESET came with 1.0 (2.1.2). */
		return virtio_get_status(m->vdev) & (uint8_t) ~(is_legacy(m) ? VIRTIO_STATUS_NEEDS_RESET : 0);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return is_legacy(m) ? 0 : NO_SHM;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return is_legacy(m) ? 0 : (uint8_t)atomic_load(&m->vdev->config_generation);
	default:
		return queue_read(m, off);
	}
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_mmio *m = opaque;
	uint32_t v = 0;

	mutex_lock(&m->dev.lock);
	if (off >= VIRTIO_MMIO_CONFIG)
		virtio_config_read(m->vdev, (unsigned)off - VIRTIO_MMIO_CONFIG, size, (uint8_t *)&v);
	else if (size == 4)
		v = htole32(register_read(m, (unsigned)off));
	else
		refused(m);
	mutex_unlock(&m->dev.lock);
	return le32toh(v);
}

/* ---- writing ---- */

static void set_half(uint64_t *v, bool high, uint32_t value)
{
	if (high)
		*v = (*v & UINT32_MAX) | (uint64_t)value << 32;
	else
		*v = (*v & ~(uint64_t)UINT32_MAX) | value;
}

/*
 * 4.2.4: a page frame of pages whose size, and an alignment that, the driver has told. What is no number of bytes is
 * nowhere.
 */
static void page_frame_write(struct virtio_mmio *m, struct virtq *q, uint32_t pfn)
{
	uint64_t gpa = is_power_of_2(m->guest_page) ? (uint64_t)pfn * m->guest_page : UINT64_MAX;

	virtio_legacy_set_ring(m->vdev, q->index, pfn ? gpa : 0, m->align[q->index]);
}

static void queue_write_legacy(struct virtio_mmio *m, struct virtq *q, unsigned off, uint32_t value)
{
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		if (q->enabled)
			refused(m);
		else
			q->size = value <= UINT16_MAX ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_ALIGN:
		m->align[q->index] = value;
		break;
	case VIRTIO_MMIO_QUEUE_PFN:
		page_frame_write(m, q, value);
		break;
	default:
		refused(m);
	}
}

static void ring_write(struct virtio_mmio *m, struct virtq *q, unsigned off, uint32_t value)
{
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->size = value <= UINT16_MAX ? (uint16_t)value : 0;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (value == 1)
			virtio_queue_enable(m->vdev, q->index);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&q->desc_gpa, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&q->driver_gpa, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&q->device_gpa, off == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	default:
		refused(m);
	}
}

/*
 * What configures a queue is frozen once it is ready, and for all that were not reset alone once the device has
 * started.
 */
static void queue_write(struct virtio_mmio *m, unsigned off, uint32_t value)
{
	struct virtq *q = selected(m);
	bool live = m->vdev->started && !(q && q->was_reset);

	if (!q)
		refused(m);
	else if (is_legacy(m))
		queue_write_legacy(m, q, off, value);
	else if (off == VIRTIO_MMIO_QUEUE_READY && value == 0)
		virtio_queue_disable(m->vdev, q->index);
	else if (off == QUEUE_RESET && value == 1)
		virtio_queue_reset(m->vdev, q->index);
	else if (!q->enabled && !live)
		ring_write(m, q, off, value);
	else
		refused(m);
}

static void features_write(struct virtio_mmio *m, uint32_t value)
{
	if (!is_legacy(m))
		virtio_set_features(m->vdev, m->driver_sel, value);
	else if (m->driver_sel == 0)
		virtio_legacy_set_features(m->vdev, value);
}

/* All but the page size, which Linux tells before its first reset and never again. */
static void registers_reset(struct virtio_mmio *m)
{
	m->device_sel = m->driver_sel = m->queue_sel = 0;
	if (m->align)
		memset(m->align, 0, m->vdev->n_queues * sizeof(m->align[0]));
	/* The next legacy driver's first kick may be what starts the device: it must come to the register. */
	if (is_legacy(m))
		set_doorbells(m, false);
	drive_pin(m);
}

static void status_write(struct virtio_mmio *m, uint8_t value)
{
	if (is_legacy(m))
		virtio_legacy_set_status(m->vdev, value);
	else
		virtio_set_status(m->vdev, value);
	if (value == 0)
		registers_reset(m);
	else if (virtio_get_status(m->vdev) & VIRTIO_CONFIG_S_DRIVER_OK)
		set_doorbells(m, true);
}

/*
 * With NOTIFICATION_DATA the number is the lower half (4.2.3.3); such kicks are no doorbells, as their value matters.
 */
static void notify(struct virtio_mmio *m, uint32_t value)
{
	uint32_t index = virtio_has(m->vdev, VIRTIO_F_NOTIFICATION_DATA) ? (uint16_t)value : value;

	if (index >= m->vdev->n_queues)
		refused(m);
	else if (!is_legacy(m))
		sys_eventfd_signal(m->vdev->queue[index].kick_fd);
	else if (virtio_legacy_kick(m->vdev, index))
		set_doorbells(m, true);
}

static void guest_page_write(struct virtio_mmio *m, uint32_t value)
{
	if (is_legacy(m))
		m->guest_page = value;
	else
		refused(m);
}

static void register_write(struct virtio_mmio *m, unsigned off, uint32_t value)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->device_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		features_write(m, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->driver_sel = value;
		break;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		guest_page_write(m, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notify(m, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		virtio_ack_isr(m->vdev, (uint8_t)value);
		drive_pin(m);
		break;
	case VIRTIO_MMIO_STATUS:
		status_write(m, (uint8_t)value);
		break;
	case VIRTIO_MMIO_SHM_SEL: /* none exists, whichever is selected */
		break;
	default:
		queue_write(m, off, value);
	}
}

static void config_write(struct virtio_mmio *m, unsigned off, unsigned size, uint32_t value)
{
	uint32_t v = htole32(value);

	if (is_legacy(m))
		virtio_legacy_config_write(m->vdev, off, size, (const uint8_t *)&v);
	else
		virtio_config_write(m->vdev, off, size, (const uint8_t *)&v);
}

static void mmio_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_mmio *m = opaque;

	if (off == VIRTIO_MMIO_QUEUE_NOTIFY && size == 4 && value < m->vdev->n_queues &&
	    virtio_get_status(m->vdev) & VIRTIO_CONFIG_S_DRIVER_OK) {
		sys_eventfd_signal(m->vdev->queue[value].kick_fd);
		return;
	}
	mutex_lock(&m->dev.lock);
	if (off >= VIRTIO_MMIO_CONFIG)
		config_write(m, (unsigned)off - VIRTIO_MMIO_CONFIG, size, (uint32_t)value);
	else if (size == 4)
		register_write(m, (unsigned)off, (uint32_t)value);
	else
		refused(m);
	mutex_unlock(&m->dev.lock);
}

static const struct region_ops mmio_ops = { .read = mmio_read, .write = mmio_write, .min = 1, .max = 4 };

/* ---- the bus: a device comes and goes ---- */

static struct virtio_mmio *bus_to_mmio(struct bus *b)
{
	return container_of(b, struct virtio_mmio, bus);
}

static int bus_attach(struct bus *b, struct device *d, struct error *err)
{
	struct virtio_mmio *m = bus_to_mmio(b);
	struct virtio_device *v = to_virtio_device(d);

	(void)err;
	m->transport = (struct virtio_transport){ queue_call, config_changed, m };
	v->transport = &m->transport;
	v->dma = &m->dma;
	v->lock = &m->dev.lock;
	v->loop = m->at.place ? m->at.place(m->at.place_arg) : m->at.main_loop;
	return 0;
}

static void forget(struct virtio_mmio *m)
{
	free(m->bells);
	free(m->align);
	m->bells = NULL;
	m->align = NULL;
	m->vdev = NULL;
	m->bus.full = false;
}

static int add_doorbells(struct virtio_mmio *m)
{
	unsigned n = m->vdev->n_queues;

	m->align = calloc(n, sizeof(*m->align));
	m->bells = m->ioeventfd ? calloc(n, sizeof(*m->bells)) : NULL;
	if (!m->align || (m->ioeventfd && !m->bells))
		return -ENOMEM;
	for (unsigned i = 0; m->bells && i < n; i++)
		m->bells[i] = (struct doorbell){
			.offset = VIRTIO_MMIO_QUEUE_NOTIFY, .width = 4, .match = true, .value = i, .fd = -1
		};
	m->region.bells = m->bells;
	m->region.n_bells = m->bells ? n : 0;
	return 0;
}

/* How many queues it has is known now. */
static int bus_attached(struct bus *b, struct device *d, struct error *err)
{
	struct virtio_mmio *m = bus_to_mmio(b);
	int r;

	m->vdev = to_virtio_device(d);
	m->region = (struct region){
		.name = "virtio-mmio", .size = VIRTIO_MMIO_SIZE, .ops = &mmio_ops, .opaque = m, .policy = REGION_NONE
	};
	m->bound = false;
	r = add_doorbells(m);
	if (r == 0)
		r = space_map(m->at.mem, &m->region, m->at.base, m->at.priority);
	if (r < 0) {
		forget(m);
		return fail(err, -r, "%s: cannot be shown to the guest: %s", b->name, errno_str(-r));
	}
	m->bus.full = true;
	return 0;
}

/* First out of the guest's reach, then wait for accesses that are under way. */
static void bus_detach(struct bus *b, struct device *d)
{
	struct virtio_mmio *m = bus_to_mmio(b);

	(void)d;
	mutex_lock(&m->dev.lock);
	set_doorbells(m, false);
	mutex_unlock(&m->dev.lock);
	space_unmap(m->at.mem, &m->region);
	epoch_synchronize();
	virtio_reset(m->vdev);
	set_pin(m, false);
	forget(m);
}

/* ---- life ---- */

static int mmio_realize(struct device *d, struct error *err)
{
	struct virtio_mmio *m = container_of(d, struct virtio_mmio, dev);
	char name[sizeof(m->bus.name)];

	(void)err;
	snprintf(name, sizeof(name), "virtio-mmio-bus.%u", m->at.index);
	bus_init(&m->bus, "virtio", name, &d->obj);
	m->bus.attach = bus_attach;
	m->bus.attached = bus_attached;
	m->bus.detach = bus_detach;
	m->dma.ram = m->at.ram;
	atomic_init(&m->dma.on, true);
	return 0;
}

static void mmio_unrealize(struct device *d)
{
	bus_deinit(&container_of(d, struct virtio_mmio, dev)->bus);
}

static void mmio_reset(struct device *d)
{
	struct virtio_mmio *m = container_of(d, struct virtio_mmio, dev);

	if (!m->vdev)
		return;
	virtio_reset(m->vdev);
	registers_reset(m);
	m->guest_page = 0;
}

struct virtio_mmio *virtio_mmio_new(const struct virtio_mmio_place *at,
				    int (*globals)(void *arg, struct object *o, struct error *err), void *arg,
				    struct error *err)
{
	struct object *o = object_new("virtio-mmio", err);
	struct virtio_mmio *m;

	if (!o)
		return NULL;
	m = container_of(to_device(o), struct virtio_mmio, dev);
	m->at = *at;
	if ((globals && globals(arg, o, err) < 0) || device_realize(&m->dev, NULL, err) < 0) {
		object_free(o);
		return NULL;
	}
	return m;
}

void virtio_mmio_free(struct virtio_mmio *m)
{
	if (m)
		device_del(&m->dev);
}

void virtio_mmio_stop(struct virtio_mmio *m, bool stop)
{
	if (!m || !m->vdev)
		return;
	mutex_lock(&m->dev.lock);
	if (stop)
		virtio_quiesce(m->vdev);
	else
		virtio_resume(m->vdev);
	mutex_unlock(&m->dev.lock);
}

/* ---- the type ---- */

static void mmio_class_init(struct class *class)
{
	struct device_class *c = container_of(class, struct device_class, class);

	c->internal = true;
	c->realize = mmio_realize;
	c->unrealize = mmio_unrealize;
	c->reset = mmio_reset;
}

static const struct opt mmio_props[] = {
	OPT_F(struct virtio_mmio, force_legacy, "force-legacy", OPT_BOOL, .def = "on",
	      .help = "version 1, the legacy interface; off: version 2"),
	OPT_F(struct virtio_mmio, ioeventfd, "ioeventfd", OPT_BOOL, .def = "on",
	      .help = "kicks by ioeventfd, without a return to the vCPU's thread"),
	OPT_F(struct virtio_mmio, format_transport_address, "format_transport_address", OPT_BOOL, .def = "on",
	      .help = "accepted; nothing depends on it"),
	OPT_END,
};

const struct type type_virtio_mmio = {
	.name = "virtio-mmio",
	.parent = "device",
	.desc = "virtio over memory mapped registers",
	.instance_size = sizeof(struct virtio_mmio),
	.class_init = mmio_class_init,
	.props = mmio_props,
};
