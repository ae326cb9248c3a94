/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The legacy PCI interface of virtio (virtio 1.2, 4.1.4.10): registers in I/O BAR 0, for drivers from before 1.0.
 *
 *	0	4	features of the device	16	2	notify
 *	4	4	features of the driver	18	1	status
 *	8	4	page of the ring	19	1	ISR, cleared by reading
 *	12	2	size of the ring	20	2	vector for changes	while MSI-X is enabled
 *	14	2	queue selected		22	2	vector of the queue	likewise
 *
 * Then the device's own configuration: from 20 on, or from 24 on while MSI-X is enabled. An access to a register counts
 * if it is of its width and at its place, as with the modern ones.
 *
 * The handlers take the control mutex themselves, for two things must be done without it: a kick of a running device
 * needs no mutex, and bus mastering is changed by the way of the bus, whose mutex comes first.
 *
 * All queues are kicked at one address, by their number, so a doorbell of each matches its number. They are bound from
 * the start of the device by a legacy driver to the next reset; before that a kick must come here, as it may be what
 * starts the device.
 */
#include <errno.h>
#include <linux/virtio_pci.h>

#include "base/sched.h"
#include "pci/msix.h"
#include "virtio/virtio_pci_legacy.h"

#define FIELD(off, size) ((off) << 4 | (size))

static struct virtq *selected(const struct virtio_pci *vp)
{
	return vp->queue_select < vp->vdev->n_queues ? &vp->vdev->queue[vp->queue_select].q : NULL;
}

static unsigned config_start(const struct virtio_pci *vp)
{
	return VIRTIO_PCI_CONFIG_OFF(msix_enabled(&vp->pci));
}

static void refused(struct virtio_pci *vp)
{
	counter_add_shared(&vp->legacy_io.refused, 1);
}

/* ---- doorbells ---- */

static void bind_doorbells(struct virtio_pci *vp)
{
	if (!vp->legacy_bells || vp->legacy_bound)
		return;
	vp->legacy_bound = true;
	virtio_pci_set_doorbells(vp, vp->pci.bus->host.io, &vp->legacy_io, vp->legacy_bells, true);
}

void virtio_pci_legacy_unbind(struct virtio_pci *vp)
{
	if (!vp->legacy_bound)
		return;
	vp->legacy_bound = false;
	virtio_pci_set_doorbells(vp, vp->pci.bus->host.io, &vp->legacy_io, vp->legacy_bells, false);
}

/* ---- reading ---- */

static uint32_t config_read(struct virtio_pci *vp, unsigned off, unsigned size)
{
	uint32_t v = 0;

	virtio_config_read(vp->vdev, off, size, (uint8_t *)&v);
	return le32toh(v); /* in the guest's own order, which is that of this processor */
}

static uint32_t isr_read(struct virtio_pci *vp)
{
	uint32_t isr = virtio_read_isr(vp->vdev);

	virtio_pci_drive_pin(vp);
	return isr;
}

static uint32_t queue_read(struct virtio_pci *vp, uint64_t off)
{
	const struct virtq *q = selected(vp);

	if (!q)
		return off == VIRTIO_MSI_QUEUE_VECTOR ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (off) {
	case VIRTIO_PCI_QUEUE_PFN:
		return q->enabled ? (uint32_t)(q->desc_gpa >> VIRTIO_PCI_QUEUE_ADDR_SHIFT) : 0;
	case VIRTIO_PCI_QUEUE_NUM:
		return virtio_legacy_queue_size(q);
	default:
		return q->vector;
	}
}

static uint32_t vector_read(struct virtio_pci *vp, uint64_t off, unsigned size)
{
	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_MSI_CONFIG_VECTOR, 2):
		return atomic_load(&vp->config_vector);
	case FIELD(VIRTIO_MSI_QUEUE_VECTOR, 2):
		return queue_read(vp, off);
	default:
		refused(vp);
		return 0;
	}
}

static uint32_t register_read(struct virtio_pci *vp, uint64_t off, unsigned size)
{
	unsigned config = config_start(vp);

	if (off >= config)
		return config_read(vp, (unsigned)off - config, size);
	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_PCI_HOST_FEATURES, 4):
		return virtio_legacy_offered(vp->vdev);
	case FIELD(VIRTIO_PCI_GUEST_FEATURES, 4):
		return (uint32_t)vp->vdev->guest_features;
	case FIELD(VIRTIO_PCI_QUEUE_PFN, 4):
	case FIELD(VIRTIO_PCI_QUEUE_NUM, 2):
		return queue_read(vp, off);
	case FIELD(VIRTIO_PCI_QUEUE_SEL, 2):
		return vp->queue_select;
	case FIELD(VIRTIO_PCI_QUEUE_NOTIFY, 2):
		return 0;
	case FIELD(VIRTIO_PCI_STATUS, 1):
		/* NEEDS_RESET came with 1.0 (2.1.2). */
		return virtio_get_status(vp->vdev) & (uint8_t)~VIRTIO_STATUS_NEEDS_RESET;
	case FIELD(VIRTIO_PCI_ISR, 1):
		return isr_read(vp);
	default:
		return vector_read(vp, off, size);
	}
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_pci *vp = opaque;
	uint32_t v;

	mutex_lock(&vp->pci.dev.lock);
	v = register_read(vp, off, size);
	mutex_unlock(&vp->pci.dev.lock);
	return v;
}

/* ---- writing ---- */

static void config_write(struct virtio_pci *vp, unsigned off, unsigned size, uint32_t value)
{
	uint32_t v = htole32(value);

	virtio_legacy_config_write(vp->vdev, off, size, (const uint8_t *)&v);
}

static void status_write(struct virtio_pci *vp, uint8_t value)
{
	virtio_legacy_set_status(vp->vdev, value);
	if (value == 0)
		virtio_pci_registers_reset(vp);
	else if (virtio_get_status(vp->vdev) & VIRTIO_CONFIG_S_DRIVER_OK)
		bind_doorbells(vp);
}

/* The loop may be looking at it. */
static void queue_vector_write(struct virtio_pci *vp, uint16_t value)
{
	struct virtq *q = selected(vp);

	if (q)
		__atomic_store_n(&q->vector, virtio_pci_valid_vector(vp, value), __ATOMIC_RELAXED);
	else
		refused(vp);
}

static void vector_write(struct virtio_pci *vp, uint64_t off, unsigned size, uint32_t value)
{
	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_MSI_CONFIG_VECTOR, 2):
		atomic_store(&vp->config_vector, virtio_pci_valid_vector(vp, (uint16_t)value));
		break;
	case FIELD(VIRTIO_MSI_QUEUE_VECTOR, 2):
		queue_vector_write(vp, (uint16_t)value);
		break;
	default:
		refused(vp);
	}
}

static void notify(struct virtio_pci *vp, uint32_t index)
{
	if (index >= vp->vdev->n_queues)
		refused(vp);
	else if (virtio_legacy_kick(vp->vdev, index))
		bind_doorbells(vp);
}

static void register_write(struct virtio_pci *vp, uint64_t off, unsigned size, uint32_t value)
{
	unsigned config = config_start(vp);

	if (off >= config) {
		config_write(vp, (unsigned)off - config, size, value);
		return;
	}
	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_PCI_GUEST_FEATURES, 4):
		virtio_legacy_set_features(vp->vdev, value);
		break;
	case FIELD(VIRTIO_PCI_QUEUE_PFN, 4):
		virtio_legacy_set_ring(vp->vdev, vp->queue_select, (uint64_t)value << VIRTIO_PCI_QUEUE_ADDR_SHIFT,
				       VIRTIO_PCI_VRING_ALIGN);
		break;
	case FIELD(VIRTIO_PCI_QUEUE_SEL, 2):
		vp->queue_select = (uint16_t)value;
		break;
	case FIELD(VIRTIO_PCI_QUEUE_NOTIFY, 2):
		notify(vp, value);
		break;
	case FIELD(VIRTIO_PCI_STATUS, 1):
		status_write(vp, (uint8_t)value);
		break;
	default:
		vector_write(vp, off, size, value);
	}
}

/*
 * Drivers before Linux 2.6.34 do not turn bus mastering on, and expect the device to work. It is turned on for them
 * when they say that they are there; whoever turns it off later means it.
 */
static void master_for_old_drivers(struct virtio_pci *vp)
{
	struct pci_device *p = &vp->pci;
	uint32_t command = pci_config_read(p->bus, p->devfn, PCI_COMMAND, 2);

	if (!(command & PCI_COMMAND_MASTER))
		pci_config_write(p->bus, p->devfn, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
}

static void io_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_pci *vp = opaque;

	if (FIELD(off, size) == FIELD(VIRTIO_PCI_QUEUE_NOTIFY, 2) && value < vp->vdev->n_queues &&
	    virtio_get_status(vp->vdev) & VIRTIO_CONFIG_S_DRIVER_OK) {
		sys_eventfd_signal(vp->vdev->queue[value].kick_fd);
		return;
	}
	if (FIELD(off, size) == FIELD(VIRTIO_PCI_STATUS, 1) &&
	    value == (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER))
		master_for_old_drivers(vp);
	mutex_lock(&vp->pci.dev.lock);
	register_write(vp, off, size, (uint32_t)value);
	mutex_unlock(&vp->pci.dev.lock);
}

static const struct region_ops io_ops = { .read = io_read, .write = io_write, .min = 1, .max = 4 };

/* ---- making it ---- */

static void set_ids(struct virtio_pci *vp)
{
	const struct virtio_pci_class *c = container_of(pci_class(&vp->pci), struct virtio_pci_class, pci);
	struct pci_device *p = &vp->pci;

	pci_set16(p, PCI_DEVICE_ID, c->legacy_device);
	pci_set16(p, PCI_SUBSYSTEM_ID, c->legacy_subsystem);
	p->config[PCI_REVISION_ID] = VIRTIO_PCI_ABI_VERSION;
}

int virtio_pci_legacy_init(struct virtio_pci *vp, struct error *err)
{
	uint64_t size = 32, used = VIRTIO_PCI_CONFIG_OFF(vp->pci.msix != NULL) + vp->vdev->config_len;
	unsigned n = vp->vdev->n_queues;

	while (size < used)
		size *= 2;
	set_ids(vp);
	vp->legacy_io = (struct region){
		.name = "virtio-pci.legacy", .size = size, .ops = &io_ops, .opaque = vp, .policy = REGION_NONE
	};
	pci_bar_init(&vp->pci, VIRTIO_PCI_BAR_LEGACY, size, PCI_BASE_ADDRESS_SPACE_IO);
	pci_bar_add(&vp->pci, VIRTIO_PCI_BAR_LEGACY, &vp->legacy_io, 0);
	if (!vp->ioeventfd)
		return 0;
	vp->legacy_bells = virtio_pci_new_doorbells(vp);
	if (!vp->legacy_bells)
		return fail(err, ENOMEM, "no memory for %u doorbells", n);
	for (unsigned i = 0; i < n; i++) {
		vp->legacy_bells[i].offset = VIRTIO_PCI_QUEUE_NOTIFY;
		vp->legacy_bells[i].width = 2;
		vp->legacy_bells[i].match = true;
		vp->legacy_bells[i].value = i;
	}
	vp->legacy_io.bells = vp->legacy_bells;
	vp->legacy_io.n_bells = n;
	return 0;
}
