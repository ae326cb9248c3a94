/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract of net clients, held against every NIC there is: the suite's end is what a backend would be, a guest's
 * driver answers. A NIC without a row here fails the test.
 */
#include "../unit/unit.h"

#include "ctl/types.h"
#include "nic_guest.h"
#include "object/device.h"
#include "suite.h"

#define VIRTIO_NET(name)                                                                                     \
	{                                                                                                    \
		.type = name, .make = virtio_net_make, .unmake = virtio_net_unmake, .turn = virtio_net_turn, \
		.largest_ping = 9000, .waiting = 64                                                          \
	}

#define RTL8139(mode)                                                                                             \
	{                                                                                                         \
		.type = "rtl8139", .make = rtl8139_##mode##_make, .unmake = rtl8139_unmake, .turn = rtl8139_turn, \
		.largest_ping = 1472, .waiting = 60                                                               \
	}

#define E1000(name, model)                                                                                            \
	{                                                                                                             \
		.type = name, .make = model##_make, .unmake = e1000_unmake, .turn = e1000_turn, .largest_ping = 9000, \
		.waiting = 64                                                                                         \
	}

/* The transport makes no difference to the client: the device is the same. */
static const struct row rows[] = {
	VIRTIO_NET("virtio-net-device"),
	VIRTIO_NET("virtio-net-pci"),
	VIRTIO_NET("virtio-net-pci-non-transitional"),
	VIRTIO_NET("virtio-net-pci-transitional"),
	RTL8139(c),
	RTL8139(cplus),
	E1000("e1000", e1000),
	E1000("e1000-82544gc", e1000_82544gc),
	E1000("e1000-82545em", e1000_82545em),
};

static int failed;

static void run_nic(const struct class *c, void *arg)
{
	const struct device_class *dc = container_of(c, struct device_class, class);
	bool found = false;

	(void)arg;
	if (dc->internal || !dc->category || strcmp(dc->category, "network") != 0)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].type, c->type->name) != 0)
			continue;
		found = true;
		failed |= suite_run(&rows[i]) != 0;
	}
	if (!found)
		printf("%s: a NIC without a row in this test\n", c->type->name);
	failed |= !found;
}

int main(void)
{
	struct error err;

	if (types_init(all_types, &err))
		return 1;
	class_each("device", false, run_nic, NULL);
	return failed;
}
