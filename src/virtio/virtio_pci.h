/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI transport of virtio (virtio 1.2, 4.1): a PCI device that contains a virtio device on a bus of its own, gives
 * it doorbells and interrupts, and shows its registers: the modern ones in BAR 4 and by the PCI configuration access
 * capability, the legacy ones (virtio_pci_legacy.c) in BAR 0. BAR 1 is for MSI-X. A device with both is transitional.
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
#define VIRTIO_PCI_BAR_LEGACY  0
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
	bool ioeventfd, page_per_vq;
	bool ats, aer, modern_pio_notify; /* must be off */
	bool accepted[9];		  /* QEMU's switches for its older machines, and of PCI Express */
	bool disable_modern;		  /* of VIRTIO_PCI_GENERIC, as the next */
	uint8_t disable_legacy;		  /* enum onoffauto */
	int32_t vectors;		  /* -1: one for each queue and one for changes; 0: INTx only */

	bool legacy, modern; /* which interfaces there are; at least one */

	/* registers; control mutex */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	_Atomic uint16_t config_vector; /* read by whoever changes the config */

	uint32_t notify_mult; /* bytes between doorbells */
	unsigned cfg_cap;     /* PCI configuration access capability */
	struct region part[VPCI_PARTS];
	struct doorbell *bells; /* one a queue; bound from the first DRIVER_OK on */
	bool bells_bound;

	struct region legacy_io;
	struct doorbell *legacy_bells; /* one a queue; bound while a legacy driver has the device */
	bool legacy_bound;
};

enum virtio_pci_kind {
	VIRTIO_PCI_GENERIC, /* the interfaces are a matter of properties: VIRTIO_PCI_GENERIC_PROPS */
	VIRTIO_PCI_TRANSITIONAL,
	VIRTIO_PCI_NON_TRANSITIONAL,
};

struct virtio_pci_class {
	struct pci_class pci;
	const char *child; /* type of the virtio device */
	enum virtio_pci_kind kind;
	/* PCI device id and subsystem id (the virtio device id) with a legacy interface; 0: there is none (4.1.2.3). */
	uint16_t legacy_device, legacy_subsystem;
};

#define VIRTIO_PCI_GENERIC_PROPS                                                                     \
	OPT_F(struct virtio_pci, disable_legacy, "disable-legacy", OPT_ONOFFAUTO, .def = "auto",     \
	      .help = "no legacy interface, only that of virtio 1.0 and later; auto: there is one"), \
		OPT_F(struct virtio_pci, disable_modern, "disable-modern", OPT_BOOL, .def = "off",   \
		      .help = "only the legacy interface, for drivers from before virtio 1.0")

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
