/* SPDX-License-Identifier: BSD-2-Clause */
/* virtio-net-pci, and QEMU's names for two of its forms: records for the table of types. */
#ifndef NIC_VIRTIO_NET_PCI_H
#define NIC_VIRTIO_NET_PCI_H

#include "object/object.h"

extern const struct type type_virtio_net_pci;
extern const struct type type_virtio_net_pci_transitional;
extern const struct type type_virtio_net_pci_non_transitional;

#endif
