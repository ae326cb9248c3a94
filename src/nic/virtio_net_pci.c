/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-net-pci: a virtio-net device behind the PCI transport. */
#include <linux/virtio_ids.h>

#include "nic/virtio_net_pci.h"
#include "virtio/virtio_pci.h"

#define LEGACY_DEVICE 0x1000 /* of all virtio network cards (4.1.2.3) */

static struct virtio_pci_class *common_init(struct class *class)
{
	struct virtio_pci_class *c = to_virtio_pci_class(class);

	c->child = "virtio-net-device";
	c->pci.dev.category = "network";
	c->pci.device = VIRTIO_PCI_DEVICE(VIRTIO_ID_NET);
	c->legacy_device = LEGACY_DEVICE;
	c->legacy_subsystem = VIRTIO_ID_NET;
	c->pci.class_code = 0x020000; /* Ethernet */
	return c;
}

static void generic_class_init(struct class *class)
{
	common_init(class);
}

static void transitional_class_init(struct class *class)
{
	common_init(class)->kind = VIRTIO_PCI_TRANSITIONAL;
}

static void non_transitional_class_init(struct class *class)
{
	common_init(class)->kind = VIRTIO_PCI_NON_TRANSITIONAL;
}

static const struct opt generic_props[] = { VIRTIO_PCI_GENERIC_PROPS, OPT_END };

const struct type type_virtio_net_pci = {
	.name = "virtio-net-pci",
	.parent = "virtio-pci",
	.desc = "virtio network card",
	.alias = "virtio-net",
	.class_init = generic_class_init,
	.props = generic_props,
};

const struct type type_virtio_net_pci_transitional = {
	.name = "virtio-net-pci-transitional",
	.parent = "virtio-pci",
	.desc = "virtio network card, for drivers from before virtio 1.0 too",
	.class_init = transitional_class_init,
};

const struct type type_virtio_net_pci_non_transitional = {
	.name = "virtio-net-pci-non-transitional",
	.parent = "virtio-pci",
	.desc = "virtio network card, for drivers of virtio 1.0 and later only",
	.class_init = non_transitional_class_init,
};
