/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of all kinds of devices and backends: a new one is one new file and one line here. */
#include "ctl/types.h"

#include "object/device.h"
#include "pci/pci.h"
#include "virtio/device.h"

const struct type *const all_types[] = {
	&object_type, &device_type, &type_pci_device, &type_pci_host_bridge, &type_virtio_device, NULL,
};

const struct netdev_type *const netdev_types[] = {
	NULL,
};
