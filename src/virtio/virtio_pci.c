/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI transport of virtio: its life, and the modern registers. See virtio_pci.h; virtio_pci_legacy.c has the
 * others.
 *
 * Registers are reached by vCPUs under the control mutex of the PCI device. An access counts if it is of a field's
 * width at the field's place; any other reads as 0, writes nothing and is counted. What configures a queue is frozen
 * once the queue is enabled, and all queues are once DRIVER_OK is set; only the vectors stay open until DRIVER_OK, as
 * drivers set them after enabling. A queue that was reset alone is open until it is enabled again.
 *
 * Doorbells have an address for each queue, so the value written does not matter and the write becomes a signal to the
 * queue's eventfd. They are bound at the first DRIVER_OK: while a guest enumerates and sizes BARs there is nothing to
 * unbind. A write that is not taken by a doorbell (none bound, or ioeventfd=off) signals the same eventfd from here.
 *
 * INTx. The ISR and the pin are changed by the loop (queue call) and by vCPUs (read of the ISR) at the same time. After
 * any change of the ISR, who made it drives the pin to (isr != 0) and looks again until both agree: whoever drove the
 * pin last saw the ISR that is there now. A call thus never ends with the ISR set and the pin low (an interrupt lost),
 * nor with the pin stuck high.
 */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sched.h"
#include "pci/msix.h"
#include "virtio/virtio_pci_legacy.h"

/* ---- interrupts ---- */

void virtio_pci_drive_pin(struct virtio_pci *vp)
{
	bool level;

	do {
		SCHED_POINT();
		level = atomic_load(&vp->vdev->isr) != 0;
		SCHED_POINT();
		pci_set_intx(&vp->pci, level);
		SCHED_POINT();
	} while ((atomic_load(&vp->vdev->isr) != 0) != level);
}

/* The core has set the ISR bit. With MSI-X a vector of MSIX_NO_VECTOR is out of range and notifies nobody. */
static void queue_call(void *opaque, struct virtq *q)
{
	struct virtio_pci *vp = opaque;

	if (likely(msix_enabled(&vp->pci)))
		msix_notify(&vp->pci, __atomic_load_n(&q->vector, __ATOMIC_RELAXED));
	else
		virtio_pci_drive_pin(vp);
}

static void config_changed(void *opaque)
{
	struct virtio_pci *vp = opaque;

	if (msix_enabled(&vp->pci))
		msix_notify(&vp->pci, atomic_load(&vp->config_vector));
	else
		virtio_pci_drive_pin(vp);
}

/* What cannot be mapped to a vector reads back as NO_VECTOR (4.1.5.1.2.1). */
uint16_t virtio_pci_valid_vector(const struct virtio_pci *vp, uint16_t vector)
{
	return vector < msix_vectors(&vp->pci) ? vector : VIRTIO_MSI_NO_VECTOR;
}

/* ---- doorbells ---- */

void virtio_pci_set_doorbells(struct virtio_pci *vp, struct space *space, struct region *region, struct doorbell *bells,
			      bool on)
{
	space_begin(space);
	for (unsigned i = 0; i < vp->vdev->n_queues; i++)
		bells[i].fd = on ? vp->vdev->queue[i].kick_fd : -1;
	space_doorbells_changed(space, region);
	space_commit(space);
}

static void bind_doorbells(struct virtio_pci *vp)
{
	if (!vp->bells || vp->bells_bound)
		return;
	vp->bells_bound = true;
	virtio_pci_set_doorbells(vp, vp->pci.bus->host.mem, &vp->part[VPCI_NOTIFY], vp->bells, true);
}

static uint64_t notify_read(void *opaque, uint64_t off, unsigned size)
{
	(void)opaque, (void)off, (void)size;
	return 0;
}

/* REGION_NONE: nothing but a signal. The queue is the one of the address; one that is not enabled does not listen. */
static void notify_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_pci *vp = opaque;
	uint64_t index = off / vp->notify_mult;

	(void)value, (void)size;
	if (off % vp->notify_mult || index >= vp->vdev->n_queues) {
		counter_add_shared(&vp->part[VPCI_NOTIFY].refused, 1);
		return;
	}
	sys_eventfd_signal(vp->vdev->queue[index].kick_fd);
}

/* ---- common configuration (4.1.4.3) ---- */

#define FIELD(off, size) ((off) << 4 | (size))

static struct virtq *selected(struct virtio_pci *vp)
{
	return vp->queue_select < vp->vdev->n_queues ? &vp->vdev->queue[vp->queue_select].q : NULL;
}

static uint32_t half(uint64_t v, uint64_t off)
{
	return (uint32_t)(off & 4 ? v >> 32 : v);
}

static void set_half(uint64_t *v, uint64_t off, uint32_t value)
{
	if (off & 4)
		*v = (*v & UINT32_MAX) | (uint64_t)value << 32;
	else
		*v = (*v & ~(uint64_t)UINT32_MAX) | value;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

static void refused(struct virtio_pci *vp)
{
	counter_add_shared(&vp->part[VPCI_COMMON].refused, 1);
}

static uint32_t queue_read(struct virtio_pci *vp, uint64_t off, unsigned size)
{
	const struct virtq *q = selected(vp);

	if (!q)
		return 0;
	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_PCI_COMMON_Q_SIZE, 2):
		return q->size;
	case FIELD(VIRTIO_PCI_COMMON_Q_MSIX, 2):
		return q->vector;
	case FIELD(VIRTIO_PCI_COMMON_Q_ENABLE, 2):
		return q->enabled;
	case FIELD(VIRTIO_PCI_COMMON_Q_NOFF, 2):
		return q->index;
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCHI, 4):
		return half(q->desc_gpa, off);
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILHI, 4):
		return half(q->driver_gpa, off);
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDHI, 4):
		return half(q->device_gpa, off);
	case FIELD(VIRTIO_PCI_COMMON_Q_NDATA, 2): /* a feature that is not offered */
	case FIELD(VIRTIO_PCI_COMMON_Q_RESET, 2): /* a reset is complete when the write of 1 is */
		return 0;
	default:
		refused(vp);
		return 0;
	}
}

static uint64_t common_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_pci *vp = opaque;
	struct virtio_device *v = vp->vdev;

	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_PCI_COMMON_DFSELECT, 4):
		return vp->device_feature_select;
	case FIELD(VIRTIO_PCI_COMMON_DF, 4):
		return feature_word(virtio_offered(v), vp->device_feature_select);
	case FIELD(VIRTIO_PCI_COMMON_GFSELECT, 4):
		return vp->driver_feature_select;
	case FIELD(VIRTIO_PCI_COMMON_GF, 4):
		return feature_word(v->guest_features, vp->driver_feature_select);
	case FIELD(VIRTIO_PCI_COMMON_MSIX, 2):
		return atomic_load(&vp->config_vector);
	case FIELD(VIRTIO_PCI_COMMON_NUMQ, 2):
		return v->n_queues;
	case FIELD(VIRTIO_PCI_COMMON_STATUS, 1):
		return virtio_get_status(v);
	case FIELD(VIRTIO_PCI_COMMON_CFGGENERATION, 1):
		return (uint8_t)atomic_load(&v->config_generation);
	case FIELD(VIRTIO_PCI_COMMON_Q_SELECT, 2):
		return vp->queue_select;
	default:
		return queue_read(vp, off, size);
	}
}

/* The ring's place and size, while it may still be changed. */
static void queue_write_ring(struct virtio_pci *vp, struct virtq *q, uint64_t off, unsigned size, uint32_t value)
{
	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_PCI_COMMON_Q_SIZE, 2):
		q->size = (uint16_t)value;
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_ENABLE, 2):
		if (value == 1)
			virtio_queue_enable(vp->vdev, q->index);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_DESCHI, 4):
		set_half(&q->desc_gpa, off, value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_AVAILHI, 4):
		set_half(&q->driver_gpa, off, value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDLO, 4):
	case FIELD(VIRTIO_PCI_COMMON_Q_USEDHI, 4):
		set_half(&q->device_gpa, off, value);
		break;
	default:
		refused(vp);
	}
}

static void queue_write(struct virtio_pci *vp, uint64_t off, unsigned size, uint32_t value)
{
	struct virtq *q = selected(vp);
	bool live = vp->vdev->started || virtio_get_status(vp->vdev) & VIRTIO_CONFIG_S_DRIVER_OK;

	bool alone = q && q->was_reset && !q->enabled;

	if (q && (!live || alone) && FIELD(off, size) == FIELD(VIRTIO_PCI_COMMON_Q_MSIX, 2))
		q->vector = virtio_pci_valid_vector(vp, (uint16_t)value);
	else if (q && value == 1 && FIELD(off, size) == FIELD(VIRTIO_PCI_COMMON_Q_RESET, 2))
		virtio_queue_reset(vp->vdev, q->index);
	else if (q && (!live || alone) && !q->enabled)
		queue_write_ring(vp, q, off, size, value);
	else
		refused(vp);
}

void virtio_pci_registers_reset(struct virtio_pci *vp)
{
	virtio_pci_legacy_unbind(vp);
	vp->device_feature_select = vp->driver_feature_select = 0;
	vp->queue_select = 0;
	atomic_store(&vp->config_vector, VIRTIO_MSI_NO_VECTOR);
	virtio_pci_drive_pin(vp);
}

static void status_write(struct virtio_pci *vp, uint8_t value)
{
	virtio_set_status(vp->vdev, value);
	if (value == 0)
		virtio_pci_registers_reset(vp);
	else if (virtio_get_status(vp->vdev) & VIRTIO_CONFIG_S_DRIVER_OK)
		bind_doorbells(vp);
}

static void common_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_pci *vp = opaque;

	switch (FIELD(off, size)) {
	case FIELD(VIRTIO_PCI_COMMON_DFSELECT, 4):
		vp->device_feature_select = (uint32_t)value;
		break;
	case FIELD(VIRTIO_PCI_COMMON_GFSELECT, 4):
		vp->driver_feature_select = (uint32_t)value;
		break;
	case FIELD(VIRTIO_PCI_COMMON_GF, 4):
		virtio_set_features(vp->vdev, vp->driver_feature_select, (uint32_t)value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_MSIX, 2):
		atomic_store(&vp->config_vector, virtio_pci_valid_vector(vp, (uint16_t)value));
		break;
	case FIELD(VIRTIO_PCI_COMMON_STATUS, 1):
		status_write(vp, (uint8_t)value);
		break;
	case FIELD(VIRTIO_PCI_COMMON_Q_SELECT, 2):
		vp->queue_select = (uint16_t)value;
		break;
	default:
		queue_write(vp, off, size, (uint32_t)value);
	}
}

/* ---- ISR (4.1.4.5) and device configuration (4.1.4.6) ---- */

static uint64_t isr_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_pci *vp = opaque;
	uint8_t isr;

	(void)size;
	if (off != 0)
		return 0;
	isr = virtio_read_isr(vp->vdev);
	virtio_pci_drive_pin(vp);
	return isr;
}

static void isr_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_pci *vp = opaque;

	(void)off, (void)value, (void)size;
	counter_add_shared(&vp->part[VPCI_ISR].refused, 1);
}

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_pci *vp = opaque;
	uint64_t v = 0;

	virtio_config_read(vp->vdev, (unsigned)off, size, (uint8_t *)&v);
	return le64toh(v);
}

static void device_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct virtio_pci *vp = opaque;
	uint64_t v = htole64(value);

	virtio_config_write(vp->vdev, (unsigned)off, size, (const uint8_t *)&v);
}

static const struct region_ops part_ops[VPCI_PARTS] = {
	[VPCI_COMMON] = { .read = common_read, .write = common_write, .min = 1, .max = 4 },
	[VPCI_ISR] = { .read = isr_read, .write = isr_write, .min = 1, .max = 4 },
	[VPCI_DEVICE] = { .read = device_read, .write = device_write, .min = 1, .max = 8 },
	[VPCI_NOTIFY] = { .read = notify_read, .write = notify_write, .min = 1, .max = 8 },
};

/* ---- the PCI configuration access capability (4.1.4.9) ---- */

#define CFG_BAR	   offsetof(struct virtio_pci_cap, bar)
#define CFG_OFFSET offsetof(struct virtio_pci_cap, offset)
#define CFG_LENGTH offsetof(struct virtio_pci_cap, length)
#define CFG_DATA   offsetof(struct virtio_pci_cfg_cap, pci_cfg_data)

/*
 * The region that the window's registers point at; NULL if they are no good. Handlers are called straight: the control
 * mutex is held already.
 */
static const struct region *window(const struct virtio_pci *vp, uint32_t *off, uint32_t *length)
{
	const struct pci_device *p = &vp->pci;
	uint32_t offset = pci_get32(p, vp->cfg_cap + CFG_OFFSET), len = pci_get32(p, vp->cfg_cap + CFG_LENGTH);
	const struct pci_bar *bar = &p->bar[VIRTIO_PCI_BAR_REGS];

	if (p->config[vp->cfg_cap + CFG_BAR] != VIRTIO_PCI_BAR_REGS || (len != 1 && len != 2 && len != 4) ||
	    offset % len)
		return NULL;
	for (unsigned i = 0; i < bar->n_parts; i++) {
		const struct region *r = bar->part[i].region;

		if (offset < bar->part[i].offset || !range_within(offset - bar->part[i].offset, len, r->size))
			continue;
		*off = (uint32_t)(offset - bar->part[i].offset);
		*length = len;
		return r;
	}
	return NULL;
}

static bool is_window_data(const struct virtio_pci *vp, unsigned off, unsigned size)
{
	unsigned data = vp->cfg_cap + CFG_DATA;

	return vp->cfg_cap && off < data + 4 && data < off + size;
}

static void virtio_pci_config_read(struct pci_device *p, unsigned off, unsigned size)
{
	struct virtio_pci *vp = to_virtio_pci(p);
	const struct region *r;
	uint32_t at, len;

	if (!is_window_data(vp, off, size))
		return;
	r = window(vp, &at, &len);
	pci_set32(p, vp->cfg_cap + CFG_DATA, r ? (uint32_t)r->ops->read(r->opaque, at, len) : 0);
}

static void virtio_pci_config_written(struct pci_device *p, unsigned off, unsigned size)
{
	struct virtio_pci *vp = to_virtio_pci(p);
	const struct region *r;
	uint32_t at, len, value;

	if (!is_window_data(vp, off, size))
		return;
	r = window(vp, &at, &len);
	if (!r)
		return;
	value = pci_get32(p, vp->cfg_cap + CFG_DATA);
	r->ops->write(r->opaque, at, len == 4 ? value : value & ((1u << 8 * len) - 1), len);
}

/* ---- making it ---- */

/* A vendor capability (4.1.4); `extra` bytes follow the common part. Returns its offset. */
static int add_virtio_cap(struct pci_device *p, uint8_t type, uint32_t offset, uint32_t length, unsigned extra)
{
	unsigned size = sizeof(struct virtio_pci_cap) + extra;
	int off = pci_add_cap(p, PCI_CAP_ID_VNDR, size);

	if (off < 0)
		return off;
	p->config[off + offsetof(struct virtio_pci_cap, cap_len)] = (uint8_t)size;
	p->config[off + offsetof(struct virtio_pci_cap, cfg_type)] = type;
	p->config[off + CFG_BAR] = type == VIRTIO_PCI_CAP_PCI_CFG ? 0 : VIRTIO_PCI_BAR_REGS;
	pci_set32(p, (unsigned)off + CFG_OFFSET, offset);
	pci_set32(p, (unsigned)off + CFG_LENGTH, length);
	return off;
}

static int add_caps(struct virtio_pci *vp)
{
	static const uint8_t type[VPCI_PARTS] = {
		[VPCI_COMMON] = VIRTIO_PCI_CAP_COMMON_CFG,
		[VPCI_ISR] = VIRTIO_PCI_CAP_ISR_CFG,
		[VPCI_DEVICE] = VIRTIO_PCI_CAP_DEVICE_CFG,
		[VPCI_NOTIFY] = VIRTIO_PCI_CAP_NOTIFY_CFG,
	};
	struct pci_device *p = &vp->pci;
	int off;

	for (unsigned i = 0; i < VPCI_PARTS; i++) {
		off = add_virtio_cap(p, type[i], i * VPCI_PART_SIZE, (uint32_t)vp->part[i].size,
				     i == VPCI_NOTIFY ? 4 : 0);
		if (off < 0)
			return off;
		if (i == VPCI_NOTIFY)
			pci_set32(p, (unsigned)off + sizeof(struct virtio_pci_cap), vp->notify_mult);
	}
	off = add_virtio_cap(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4);
	if (off < 0)
		return off;
	vp->cfg_cap = (unsigned)off;
	p->wmask[vp->cfg_cap + CFG_BAR] = 0xff;
	memset(&p->wmask[vp->cfg_cap + CFG_OFFSET], 0xff, 12); /* offset, length, data */
	return 0;
}

static const char *const part_name[VPCI_PARTS] = { "virtio-pci.common", "virtio-pci.isr", "virtio-pci.device",
						   "virtio-pci.notify" };

static void add_bar(struct virtio_pci *vp)
{
	struct pci_device *p = &vp->pci;
	uint64_t notify = MAX(vp->vdev->n_queues * (uint64_t)vp->notify_mult, (uint64_t)VPCI_PART_SIZE),
		 size = 16 * KIB;

	while (size < VPCI_NOTIFY * VPCI_PART_SIZE + notify)
		size *= 2;
	pci_bar_init(p, VIRTIO_PCI_BAR_REGS, size, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
	for (unsigned i = 0; i < VPCI_PARTS; i++) {
		vp->part[i] = (struct region){
			.name = part_name[i],
			.size = i == VPCI_NOTIFY ? notify : VPCI_PART_SIZE,
			.ops = &part_ops[i],
			.opaque = vp,
			.policy = i == VPCI_NOTIFY ? REGION_NONE : REGION_DEVICE,
			.lock = &p->dev.lock,
		};
		pci_bar_add(p, VIRTIO_PCI_BAR_REGS, &vp->part[i], i * VPCI_PART_SIZE);
	}
}

/* Doorbells for every queue, bound to nothing yet. NULL if there is no memory. */
struct doorbell *virtio_pci_new_doorbells(const struct virtio_pci *vp)
{
	struct doorbell *bells = calloc(vp->vdev->n_queues, sizeof(*bells));

	for (unsigned i = 0; bells && i < vp->vdev->n_queues; i++)
		bells[i].fd = -1;
	return bells;
}

static int add_doorbells(struct virtio_pci *vp, struct error *err)
{
	unsigned n = vp->vdev->n_queues;

	if (!vp->ioeventfd)
		return 0;
	vp->bells = virtio_pci_new_doorbells(vp);
	if (!vp->bells)
		return fail(err, ENOMEM, "no memory for %u doorbells", n);
	for (unsigned i = 0; i < n; i++)
		vp->bells[i].offset = (uint64_t)i * vp->notify_mult;
	vp->part[VPCI_NOTIFY].bells = vp->bells;
	vp->part[VPCI_NOTIFY].n_bells = n;
	return 0;
}

static const struct virtio_pci_class *virtio_pci_class(const struct virtio_pci *vp)
{
	return container_of(pci_class(&vp->pci), struct virtio_pci_class, pci);
}

/* Which interfaces there are. On this bus, which is a conventional one, auto means a legacy one too. */
static int choose_interfaces(struct virtio_pci *vp, struct error *err)
{
	const struct virtio_pci_class *c = virtio_pci_class(vp);
	bool generic = c->kind == VIRTIO_PCI_GENERIC;

	vp->modern = !generic || !vp->disable_modern;
	vp->legacy = c->legacy_device && c->kind != VIRTIO_PCI_NON_TRANSITIONAL;
	if (generic && vp->disable_legacy == OPT_ON)
		vp->legacy = false;
	if (!vp->modern && !vp->legacy)
		return fail(
			err, EINVAL,
			"disable-modern=on with disable-legacy=on: no interface would be left; leave one of them out");
	return 0;
}

static int check_options(struct virtio_pci *vp, struct error *err)
{
	if (vp->ats)
		return fail(err, ENOTSUP, "ats=on: there is no IOMMU; leave it out");
	if (vp->aer)
		return fail(err, ENOTSUP, "aer=on: PCI Express error reporting is not offered; leave it out");
	if (vp->modern_pio_notify)
		return fail(err, ENOTSUP,
			    "modern-pio-notify=on: kicks are by memory, and doorbells as cheap; leave it out");
	return choose_interfaces(vp, err);
}

static int child_realize(struct virtio_pci *vp, struct error *err)
{
	struct pci_device *p = &vp->pci;
	struct virtio_device *v = vp->vdev;
	char name[sizeof(vp->vbus.name)];
	int r;

	if (!v)
		return fail(err, ENOMEM, "the virtio device could not be made");
	vp->transport = (struct virtio_transport){ queue_call, config_changed, vp };
	v->transport = &vp->transport;
	v->dma = &p->dma;
	v->lock = &p->dev.lock;
	v->loop = pci_place(p);

	snprintf(name, sizeof(name), "virtio-bus.%x.%x", p->devfn >> 3, p->devfn & 7);
	bus_init(&vp->vbus, "virtio", name, &p->dev.obj);
	r = device_realize(&v->dev, &vp->vbus, err);
	vp->vbus.full = true;
	if (r < 0)
		bus_deinit(&vp->vbus);
	return r;
}

static int vectors_init(struct virtio_pci *vp, struct error *err)
{
	unsigned n = vp->vectors < 0 ? vp->vdev->n_queues + 1 : (unsigned)vp->vectors;
	int r = n ? msix_init(&vp->pci, n, VIRTIO_PCI_BAR_MSIX, err) : 0;

	if (r < 0)
		error_prefix(err, "vectors=%u: ", n);
	return r;
}

static void virtio_pci_unrealize(struct pci_device *p)
{
	struct virtio_pci *vp = to_virtio_pci(p);

	bus_deinit(&vp->vbus); /* takes the child off */
	msix_destroy(p);
	free(vp->bells);
	vp->bells = NULL;
	free(vp->legacy_bells);
	vp->legacy_bells = NULL;
}

static int modern_init(struct virtio_pci *vp, struct error *err)
{
	vp->notify_mult = vp->page_per_vq ? 4096 : VIRTIO_PCI_NOTIFY_MULT;
	add_bar(vp);
	if (add_caps(vp) < 0)
		return fail(err, ENOSPC, "no room for the capabilities in config space");
	return add_doorbells(vp, err);
}

static int virtio_pci_realize(struct pci_device *p, struct error *err)
{
	struct virtio_pci *vp = to_virtio_pci(p);
	int r = check_options(vp, err);

	if (r == 0)
		r = child_realize(vp, err);
	if (r < 0)
		return r;
	p->config[PCI_INTERRUPT_PIN] = 1;
	atomic_init(&vp->config_vector, VIRTIO_MSI_NO_VECTOR);
	r = vectors_init(vp, err);
	if (r == 0 && vp->modern)
		r = modern_init(vp, err);
	if (r == 0 && vp->legacy)
		r = virtio_pci_legacy_init(vp, err);
	if (r < 0)
		virtio_pci_unrealize(p);
	return r;
}

static void virtio_pci_reset(struct pci_device *p)
{
	struct virtio_pci *vp = to_virtio_pci(p);

	virtio_reset(vp->vdev);
	virtio_pci_registers_reset(vp);
	if (!vp->cfg_cap)
		return;
	p->config[vp->cfg_cap + CFG_BAR] = 0;
	memset(&p->config[vp->cfg_cap + CFG_OFFSET], 0, 12);
}

static void virtio_pci_quiesce(struct pci_device *p)
{
	virtio_quiesce(to_virtio_pci(p)->vdev);
}

static void virtio_pci_resume(struct pci_device *p)
{
	virtio_resume(to_virtio_pci(p)->vdev);
}

/* ---- the type ---- */

static struct virtio_pci *object_to_virtio_pci(struct object *o)
{
	return to_virtio_pci(to_pci_device(to_device(o)));
}

static void virtio_pci_instance_init(struct object *o)
{
	struct virtio_pci *vp = object_to_virtio_pci(o);
	const struct virtio_pci_class *c = container_of(o->class, struct virtio_pci_class, pci.dev.class);
	struct object *child = object_new(c->child, NULL);

	if (!child)
		return;
	vp->vdev = to_virtio_device(to_device(child));
	object_adopt(o, child, "virtio");
}

static struct object *virtio_pci_delegate(struct object *o)
{
	struct virtio_pci *vp = object_to_virtio_pci(o);

	return vp->vdev ? &vp->vdev->dev.obj : NULL;
}

static void virtio_pci_class_init(struct class *class)
{
	struct pci_class *c = &to_virtio_pci_class(class)->pci;

	class->delegate = virtio_pci_delegate;
	c->vendor = VIRTIO_PCI_VENDOR;
	c->subsystem_vendor = VIRTIO_PCI_VENDOR;
	c->subsystem = VIRTIO_PCI_SUBSYSTEM;
	c->revision = 1;
	c->realize = virtio_pci_realize;
	c->unrealize = virtio_pci_unrealize;
	c->reset = virtio_pci_reset;
	c->config_read = virtio_pci_config_read;
	c->config_written = virtio_pci_config_written;
	c->quiesce = virtio_pci_quiesce;
	c->resume = virtio_pci_resume;
}

#define ACCEPTED(i, name, value) \
	OPT_F(struct virtio_pci, accepted[i], name, OPT_BOOL, .def = value, .help = "accepted; nothing depends on it")

static const struct opt virtio_pci_props[] = {
	OPT_F(struct virtio_pci, ioeventfd, "ioeventfd", OPT_BOOL, .def = "on",
	      .help = "kicks by ioeventfd, without a return to the vCPU's thread"),
	OPT_F(struct virtio_pci, vectors, "vectors", OPT_INT, .min = (uint64_t)-1, .max = 2048, .def = "-1",
	      .help = "MSI-X vectors; 0: INTx only; -1: one for each queue and one for changes"),
	OPT_F(struct virtio_pci, page_per_vq, "page-per-vq", OPT_BOOL, .def = "off",
	      .help = "a page for each queue's doorbell"),
	OPT_F(struct virtio_pci, ats, "ats", OPT_BOOL, .def = "off", .help = "only off: address translation service"),
	OPT_F(struct virtio_pci, modern_pio_notify, "modern-pio-notify", OPT_BOOL, .def = "off",
	      .help = "only off: kicks by an I/O port"),
	ACCEPTED(0, "x-ats-page-aligned", "on"),
	ACCEPTED(1, "x-pcie-deverr-init", "on"),
	ACCEPTED(2, "x-pcie-lnkctl-init", "on"),
	ACCEPTED(3, "x-pcie-pm-init", "on"),
	ACCEPTED(4, "x-pcie-flr-init", "on"),
	ACCEPTED(5, "x-pcie-pm-no-soft-reset", "off"),
	ACCEPTED(6, "x-disable-pcie", "off"),
	ACCEPTED(7, "x-ignore-backend-features", "off"),
	ACCEPTED(8, "virtio-pci-bus-master-bug-migration", "off"),
	OPT_F(struct virtio_pci, aer, "aer", OPT_BOOL, .def = "off", .help = "only off: advanced error reporting"),
	OPT_END,
};

const struct type type_virtio_pci = {
	.name = "virtio-pci",
	.parent = "pci-device",
	.desc = "virtio over PCI",
	.instance_size = sizeof(struct virtio_pci),
	.class_size = sizeof(struct virtio_pci_class),
	.abstract = true,
	.class_init = virtio_pci_class_init,
	.instance_init = virtio_pci_instance_init,
	.props = virtio_pci_props,
};
