/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-net-pci: a virtio-net device behind the PCI transport. */
#include <linux/virtio_ids.h>

#include "nic/virtio_net_pci.h"
#include "virtio/virtio_pci.h"

static void virtio_net_pci_class_init(struct class *class)
{
	struct virtio_pci_class *c = to_virtio_pci_class(class);

	c->child = "virtio-net-device";
	c->pci.dev.category = "network";
	c->pci.device = VIRTIO_PCI_DEVICE(VIRTIO_ID_NET);
	c->pci.class_code = 0x020000; /* Ethernet */
}

const struct type type_virtio_net_pci = {
	.name = "virtio-net-pci",
	.parent = "virtio-pci",
	.desc = "virtio network card",
	.alias = "virtio-net",
	.class_init = virtio_net_pci_class_init,
};

const struct type type_virtio_net_pci_non_transitional = {
	.name = "virtio-net-pci-non-transitional",
	.parent = "virtio-pci",
	.desc = "virtio network card, by the name that says modern interface only",
	.class_init = virtio_net_pci_class_init,
};
