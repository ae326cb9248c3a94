/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI bus and the base type of its devices: places (slot and function), properties, life. Config space is in config.c,
 * interrupt pins in intx.c, the bridge and the ways into config space in host.c.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "mem/epoch.h"
#include "pci/config.h"
#include "pci/host.h"
#include "pci/intx.h"
#include "pci/msix.h"
#include "pci/rom.h"

#define ADDR_AUTO (-1)

/* ---- the bus ---- */

int pci_bus_init(struct pci_bus *b, const char *name, const struct pci_host *host, struct error *err)
{
	int r;

	memset(b, 0, sizeof(*b));
	mutex_init(&b->lock);
	b->host = *host;
	bus_init(&b->bus, "PCI", name, NULL);
	r = pci_host_bridge_add(b, err);
	if (r < 0) {
		bus_deinit(&b->bus);
		mutex_destroy(&b->lock);
	}
	return r;
}

void pci_bus_deinit(struct pci_bus *b)
{
	for (unsigned i = ARRAY_SIZE(b->slot); i-- > 0;)
		if (b->slot[i])
			device_del(&b->slot[i]->dev);
	bus_deinit(&b->bus);
	mutex_destroy(&b->lock);
}

static struct pci_bus *to_pci_bus(struct bus *b)
{
	return container_of(b, struct pci_bus, bus);
}

/* ---- a device's place ---- */

static int addr_parse(const struct opt *o, const char *value, void *field, struct error *err)
{
	char *end = NULL;
	unsigned long slot = ULONG_MAX, fn = 0;

	(void)o;
	if (isxdigit((unsigned char)value[0]))
		slot = strtoul(value, &end, 16);
	if (end && end[0] == '.' && isxdigit((unsigned char)end[1]))
		fn = strtoul(end + 1, &end, 16);
	if (!end || *end || slot >= PCI_SLOTS || fn >= 8)
		return fail(err, EINVAL, "expected slot[.function] in hexadecimal, 0 to 1f and 0 to 7");
	*(int32_t *)field = (int32_t)PCI_DEVFN(slot, fn);
	return 0;
}

static int addr_in_use(struct pci_bus *b, unsigned devfn, unsigned by, struct error *err)
{
	const char *label = device_label(&b->slot[by]->dev);

	if (devfn == by)
		return fail(err, EBUSY, "addr=%x.%x: in use by '%s'; choose another one, or leave addr out", devfn >> 3,
			    devfn & 7, label);
	return fail(err, EBUSY,
		    "addr=%x.%x: '%s' in function %x of the slot does not allow it; give function 0 multifunction=on",
		    devfn >> 3, devfn & 7, label, by & 7);
}

/* May `p` sit at devfn? Function 0 says whether a slot has others (PCI 3.0, 6.2.1). */
static int addr_check(struct pci_bus *b, const struct pci_device *p, unsigned devfn, struct error *err)
{
	unsigned first = devfn & ~7u;

	if (b->slot[devfn])
		return addr_in_use(b, devfn, devfn, err);
	if (devfn != first)
		return b->slot[first] && !b->slot[first]->multifunction ? addr_in_use(b, devfn, first, err) : 0;
	for (unsigned i = first + 1; i < first + 8 && !p->multifunction; i++)
		if (b->slot[i])
			return addr_in_use(b, devfn, i, err);
	return 0;
}

static int addr_choose(struct pci_bus *b, struct pci_device *p, struct error *err)
{
	if (p->addr_slot != ADDR_AUTO) {
		p->devfn = (uint8_t)p->addr_slot;
		return addr_check(b, p, p->devfn, err);
	}
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		p->devfn = (uint8_t)PCI_DEVFN(slot, 0);
		if (addr_check(b, p, p->devfn, NULL) == 0)
			return 0;
	}
	return fail(err, ENOSPC,
		    "bus %s: all %d slots are in use; put several devices into one with addr=SLOT.FUNCTION and "
		    "multifunction=on",
		    b->bus.name, PCI_SLOTS);
}

/* ---- life ---- */

static void set_slot(struct pci_device *p, struct pci_device *occupant)
{
	mutex_lock(&p->bus->lock);
	p->bus->slot[p->devfn] = occupant;
	mutex_unlock(&p->bus->lock);
}

static int check_props(const struct pci_device *p, struct error *err)
{
	if (p->acpi_index)
		return fail(err, ENOTSUP, "acpi-index=%u: cards are not named by ACPI here; leave it out",
			    p->acpi_index);
	if (p->failover_pair)
		return fail(err, ENOTSUP,
			    "failover_pair_id=%.64s: there are no cards of the host's to pair; leave it out",
			    p->failover_pair);
	return 0;
}

static int pci_realize(struct device *d, struct error *err)
{
	struct pci_device *p = to_pci_device(d);
	const struct pci_class *c = pci_class(p);
	struct pci_bus *b = to_pci_bus(d->bus);
	int r = check_props(p, err);

	if (r == 0)
		r = addr_choose(b, p, err);
	if (r < 0)
		return r;
	p->bus = b;
	p->dma.ram = b->host.ram;
	pci_config_init(p);
	r = pci_rom_init(p, err);
	if (r == 0 && c->realize)
		r = c->realize(p, err);
	if (r < 0) {
		pci_rom_destroy(p);
		p->bus = NULL;
		return r;
	}
	if (p->config[PCI_INTERRUPT_PIN]) {
		unsigned gsi = b->host.intx_gsi(p->devfn >> 3, p->config[PCI_INTERRUPT_PIN] - 1);

		p->intx_gsi = gsi < PCI_LINES ? (int)gsi : -1;
	}
	set_slot(p, p);
	return 0;
}

/* First out of the guest's reach, then wait for the accesses that are under way, then the device's own part. */
static void pci_unrealize(struct device *d)
{
	struct pci_device *p = to_pci_device(d);
	const struct pci_class *c = pci_class(p);

	set_slot(p, NULL);
	mutex_lock(&p->bus->lock);
	mutex_lock(&d->lock);
	pci_set16(p, PCI_COMMAND, 0);
	pci_config_apply(p);
	mutex_unlock(&d->lock);
	mutex_unlock(&p->bus->lock);
	epoch_synchronize();

	if (c->unrealize)
		c->unrealize(p);
	msix_destroy(p);
	pci_rom_destroy(p);
	pci_set_intx(p, false);
	p->bus = NULL;
}

/*
 * The config mutex comes before the control mutex, and the caller holds only the latter: it is let go for a moment. A
 * config access that slips in between finds the device as it was before the reset.
 */
static void pci_reset(struct device *d) NO_THREAD_SAFETY
{
	struct pci_device *p = to_pci_device(d);
	const struct pci_class *c = pci_class(p);

	mutex_unlock(&d->lock);
	mutex_lock(&p->bus->lock);
	mutex_lock(&d->lock);
	pci_config_reset(p);
	if (c->reset)
		c->reset(p);
	mutex_unlock(&p->bus->lock);
}

/* ---- state: of config space what the guest may write; the rest is the type's ---- */

struct pci_state {
	uint8_t config[PCIE_CONFIG_SIZE];
};

static const struct state_field pci_fields[] = { STATE_ARRAY(struct pci_state, config) };
static const struct state_table pci_table = { "pci", pci_fields, ARRAY_SIZE(pci_fields), NULL, NULL };

static uint8_t guest_bits(const struct pci_device *p, unsigned i)
{
	return p->wmask[i] | p->w1cmask[i];
}

static int pci_save(struct device *d, struct state_bytes *b)
{
	struct pci_device *p = to_pci_device(d);
	const struct state_table *own = pci_class(p)->state;
	struct pci_state s = { 0 };
	int r;

	if (!own)
		return -ENOTSUP;
	mutex_lock(&p->bus->lock);
	mutex_lock(&d->lock);
	for (unsigned i = 0; i < p->config_size; i++)
		s.config[i] = p->config[i] & guest_bits(p, i);
	r = state_save(&pci_table, &s, b);
	r = r ? r : state_save(own, d, b);
	mutex_unlock(&d->lock);
	mutex_unlock(&p->bus->lock);
	return r;
}

/* The type's own first: what follows from config space may let it go on. */
static int pci_load(struct device *d, const uint8_t *from, size_t len, struct error *err)
{
	struct pci_device *p = to_pci_device(d);
	const struct state_table *own = pci_class(p)->state;
	struct pci_state s;
	size_t used, more;
	int r;

	if (!own)
		return fail(err, ENOTSUP, "its state cannot be loaded");
	r = state_load(&pci_table, &s, from, len, &used, err);
	if (r < 0)
		return r;
	mutex_lock(&p->bus->lock);
	mutex_lock(&d->lock);
	r = state_load(own, d, from + used, len - used, &more, err);
	for (unsigned i = 0; r == 0 && i < p->config_size; i++)
		p->config[i] = (uint8_t)((p->config[i] & ~guest_bits(p, i)) | (s.config[i] & guest_bits(p, i)));
	if (r == 0)
		pci_config_apply(p);
	mutex_unlock(&d->lock);
	mutex_unlock(&p->bus->lock);
	return r;
}

static void pci_device_class_init(struct class *class)
{
	struct device_class *c = container_of(class, struct device_class, class);

	c->bus_type = "PCI";
	c->realize = pci_realize;
	c->unrealize = pci_unrealize;
	c->reset = pci_reset;
	c->save = pci_save;
	c->load = pci_load;
}

static void pci_device_instance_init(struct object *o)
{
	struct pci_device *p = to_pci_device(to_device(o));

	p->addr_slot = ADDR_AUTO;
	p->intx_gsi = -1;
}

/* Of PCI Express, which this bus is not, and of QEMU's DMA. */
#define NO_EFFECT		 "accepted; nothing depends on it"
#define ACCEPTED(i, name, value) OPT_F(struct pci_device, accepted[i], name, OPT_BOOL, .def = value, .help = NO_EFFECT)

static const struct opt pci_device_props[] = {
	OPT_F(struct pci_device, addr_slot, "addr", OPT_CUSTOM, .parse = addr_parse, .arg = "slot[.function]",
	      .help = "place on the bus, hexadecimal; the first free slot if not given"),
	OPT_F(struct pci_device, multifunction, "multifunction", OPT_BOOL, .def = "off",
	      .help = "other functions may be in the same slot"),
	OPT_F(struct pci_device, romfile, "romfile", OPT_STR, .arg = "file",
	      .help = "image of its option ROM; empty: none. Without it that of iPXE, for a card that had one, if installed"),
	OPT_F(struct pci_device, rombar, "rombar", OPT_INT, .min = (uint64_t)-1, .max = 1, .def = "-1",
	      .help = "0: the guest does not see the option ROM; 1 and -1: it does"),
	OPT_F(struct pci_device, acpi_index, "acpi-index", OPT_UINT, .max = UINT32_MAX, .def = "0",
	      .help = "only 0: the number by which ACPI names it"),
	OPT_F(struct pci_device, failover_pair, "failover_pair_id", OPT_STR, .arg = "id",
	      .help = "not offered: the card for which it stands by"),
	OPT_F(struct pci_device, bounce_size, "x-max-bounce-buffer-size", OPT_SIZE, .def = "4096", .help = NO_EFFECT),
	ACCEPTED(0, "x-pcie-lnksta-dllla", "on"),
	ACCEPTED(1, "x-pcie-extcap-init", "on"),
	ACCEPTED(2, "x-pcie-err-unc-mask", "on"),
	ACCEPTED(3, "x-pcie-ext-tag", "on"),
	ACCEPTED(4, "x-pcie-ari-nextfn-1", "off"),
	OPT_END,
};

const struct type type_pci_device = {
	.name = "pci-device",
	.parent = "device",
	.desc = "PCI device",
	.instance_size = sizeof(struct pci_device),
	.class_size = sizeof(struct pci_class),
	.abstract = true,
	.class_init = pci_device_class_init,
	.instance_init = pci_device_instance_init,
	.props = pci_device_props,
};
