/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI transport of virtio (virtio 1.2, 4.1; modern interface only): a PCI device that contains a virtio device on a
 * bus of its own, gives it doorbells and interrupts, and shows its registers in BAR 4 and by the PCI configuration
 * access capability. BAR 1 is for MSI-X.
 *
 * A leaf type (virtio-net-pci) is a record whose class_init names the PCI ids and the type of the child; properties
 * that the proxy does not know are the child's.
 */
#ifndef VIRTIO_VIRTIO_PCI_H
#define VIRTIO_VIRTIO_PCI_H

#include "pci/pci.h"
#include "virtio/device.h"

#define VIRTIO_PCI_VENDOR      0x1af4
#define VIRTIO_PCI_DEVICE(id)  (0x1040 + (id)) /* by virtio device id */
#define VIRTIO_PCI_SUBSYSTEM   0x1100
#define VIRTIO_PCI_BAR_MSIX    1
#define VIRTIO_PCI_BAR_REGS    4
#define VPCI_PART_SIZE	       0x1000 /* each group of registers has a page; doorbells come last */
#define VIRTIO_PCI_NOTIFY_MULT 4

enum vpci_part {
	VPCI_COMMON,
	VPCI_ISR,
	VPCI_DEVICE,
	VPCI_NOTIFY,
	VPCI_PARTS
};

struct virtio_pci {
	struct pci_device pci;
	struct bus vbus;
	struct virtio_device *vdev; /* the child; NULL only if it could not be made */
	struct virtio_transport transport;

	/* properties */
	bool ioeventfd, disable_modern, page_per_vq, ats, aer;
	uint8_t disable_legacy; /* enum onoffauto */
	int32_t vectors;	/* -1: one for each queue and one for changes; 0: INTx only */

	/* registers; control mutex */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	_Atomic uint16_t config_vector; /* read by whoever changes the config */

	uint32_t notify_mult; /* bytes between doorbells */
	unsigned cfg_cap;     /* PCI configuration access capability */
	struct region part[VPCI_PARTS];
	struct doorbell *bells; /* one a queue; bound from the first DRIVER_OK on */
	bool bells_bound;
};

struct virtio_pci_class {
	struct pci_class pci;
	const char *child; /* type of the virtio device */
};

extern const struct type type_virtio_pci; /* abstract */

static inline struct virtio_pci *to_virtio_pci(struct pci_device *p)
{
	return container_of(p, struct virtio_pci, pci);
}

/* For class_init of a leaf. */
static inline struct virtio_pci_class *to_virtio_pci_class(struct class *c)
{
	return container_of(c, struct virtio_pci_class, pci.dev.class);
}

#endif
