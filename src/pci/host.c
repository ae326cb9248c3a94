/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host bridge: a device at 00:00.0 for those who look for one, and the two ways into config space, mechanism 1
 * (PCI 3.0, 3.2.2.3.2) and ECAM (PCI Express 4.0, 7.2.2). The handlers take the bus's config mutex themselves; the
 * address latch is one atomic word, and two vCPUs that use the ports at the same time must agree among themselves, as
 * on any PC.
 */
#include <errno.h>

#include "pci/host.h"

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_MASK   0x80fffffcu

static uint64_t address_read(void *opaque, uint64_t off, unsigned size)
{
	struct pci_bus *b = opaque;

	(void)off, (void)size;
	return atomic_load(&b->config_address);
}

static void address_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct pci_bus *b = opaque;

	(void)off, (void)size;
	atomic_store(&b->config_address, (uint32_t)value & ADDRESS_MASK);
}

/* The latch holds bus 23:16, device and function 15:8, register 7:2. There is only bus 0. */
static bool latched(struct pci_bus *b, uint64_t port_off, unsigned *devfn, unsigned *off)
{
	uint32_t a = atomic_load(&b->config_address);

	*devfn = a >> 8 & 0xff;
	*off = (a & 0xfc) + (unsigned)port_off;
	return (a & ADDRESS_ENABLE) && (a >> 16 & 0xff) == 0;
}

static uint64_t data_read(void *opaque, uint64_t port_off, unsigned size)
{
	unsigned devfn, off;

	return latched(opaque, port_off, &devfn, &off) ? pci_config_read(opaque, devfn, off, size) : UINT64_MAX;
}

static void data_write(void *opaque, uint64_t port_off, uint64_t value, unsigned size)
{
	unsigned devfn, off;

	if (latched(opaque, port_off, &devfn, &off))
		pci_config_write(opaque, devfn, off, size, (uint32_t)value);
}

static const struct region_ops address_ops = { .read = address_read, .write = address_write, .min = 4, .max = 4 };
static const struct region_ops data_ops = { .read = data_read,
					    .write = data_write,
					    .min = 1,
					    .max = 4,
					    .unaligned = true };

void pci_host_ports_init(struct pci_bus *b, struct region *address, struct region *data)
{
	*address = (struct region){
		.name = "pci.address", .size = 4, .ops = &address_ops, .opaque = b, .policy = REGION_NONE
	};
	*data = (struct region){ .name = "pci.data", .size = 4, .ops = &data_ops, .opaque = b, .policy = REGION_NONE };
}

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned size)
{
	return pci_config_read(opaque, (unsigned)(off >> 12), off & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	pci_config_write(opaque, (unsigned)(off >> 12), off & 0xfff, size, (uint32_t)value);
}

static const struct region_ops ecam_ops = { .read = ecam_read, .write = ecam_write, .min = 1, .max = 4 };

void pci_ecam_init(struct pci_bus *b, struct region *ecam)
{
	*ecam = (struct region){
		.name = "pci.ecam", .size = MIB, .ops = &ecam_ops, .opaque = b, .policy = REGION_NONE
	};
}

/* ---- 00:00.0 ---- */

static void host_bridge_class_init(struct class *class)
{
	struct pci_class *c = container_of(class, struct pci_class, dev.class);

	c->dev.internal = true;
	c->vendor = 0x1b36; /* Red Hat: generic PCIe host bridge */
	c->device = 0x0008;
	c->subsystem_vendor = 0x1af4;
	c->subsystem = 0x1100;
	c->class_code = 0x060000;
}

const struct type type_pci_host_bridge = {
	.name = "pci-host-bridge",
	.parent = "pci-device",
	.desc = "host bridge",
	.instance_size = sizeof(struct pci_device),
	.class_init = host_bridge_class_init,
};

int pci_host_bridge_add(struct pci_bus *b, struct error *err)
{
	struct object *o = object_new("pci-host-bridge", err);
	struct device *d;
	int r;

	if (!o)
		return -ENOMEM;
	d = to_device(o);
	to_pci_device(d)->addr_slot = PCI_DEVFN(0, 0);
	r = device_realize(d, &b->bus, err);
	if (r < 0) {
		object_free(o);
		return r;
	}
	return 0;
}
