/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Config space (PCI Local Bus 3.0, chapter 6): masked accesses, the command register, BARs.
 *
 * A write changes registers first; pci_config_apply() then compares what the registers ask for with what is in force
 * and changes the difference, in this order: quiesce the device if something it may be using goes away (a BAR with its
 * doorbells, bus mastering), change each address space by one snapshot, change bus mastering, let the device go on. A
 * write that changes nothing (the same address again, sizing while decoding is off) costs none of it. When the write
 * returns, the old addresses are dead for every access that starts later, and no DMA is under way if it was turned off.
 */
#include <errno.h>

#include "base/log.h"
#include "pci/config.h"
#include "pci/intx.h"
#include "pci/msix.h"

#define BAR_NOWHERE  UINT64_MAX
/* Devices on one bus may overlap as the guest likes; above whatever lies behind all of them. */
#define BAR_PRIORITY 1

static bool touches(unsigned off, unsigned size, unsigned reg, unsigned reg_size)
{
	return off < reg + reg_size && reg < off + size;
}

void pci_set16(struct pci_device *p, unsigned off, uint16_t v)
{
	p->config[off] = (uint8_t)v;
	p->config[off + 1] = (uint8_t)(v >> 8);
}

void pci_set32(struct pci_device *p, unsigned off, uint32_t v)
{
	pci_set16(p, off, (uint16_t)v);
	pci_set16(p, off + 2, (uint16_t)(v >> 16));
}

/* ---- the header ---- */

static void set_mask(struct pci_device *p, unsigned off, unsigned size, uint32_t mask)
{
	for (unsigned i = 0; i < size; i++)
		p->wmask[off + i] = (uint8_t)(mask >> 8 * i);
}

void pci_config_init(struct pci_device *p)
{
	const struct pci_class *c = pci_class(p);

	memset(p->config, 0, sizeof(p->config));
	memset(p->wmask, 0, sizeof(p->wmask));
	memset(p->w1cmask, 0, sizeof(p->w1cmask));
	p->config_size = c->express ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;
	p->cap_end = PCI_STD_HEADER_SIZEOF;

	pci_set16(p, PCI_VENDOR_ID, c->vendor);
	pci_set16(p, PCI_DEVICE_ID, c->device);
	pci_set32(p, PCI_CLASS_REVISION, c->class_code << 8 | c->revision);
	p->config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_NORMAL | (p->multifunction ? 0x80 : 0);
	pci_set16(p, PCI_SUBSYSTEM_VENDOR_ID, c->subsystem_vendor);
	pci_set16(p, PCI_SUBSYSTEM_ID, c->subsystem);

	set_mask(p, PCI_COMMAND, 2,
		 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			 PCI_COMMAND_INTX_DISABLE);
	p->w1cmask[PCI_STATUS + 1] =
		(PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT |
		 PCI_STATUS_REC_MASTER_ABORT | PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY) >>
		8;
	set_mask(p, PCI_CACHE_LINE_SIZE, 1, 0xff);
	set_mask(p, PCI_INTERRUPT_LINE, 1, 0xff);
}

void pci_config_reset(struct pci_device *p)
{
	pci_set16(p, PCI_COMMAND, 0);
	pci_set16(p, PCI_STATUS, pci_get16(p, PCI_STATUS) & PCI_STATUS_CAP_LIST);
	p->config[PCI_CACHE_LINE_SIZE] = 0;
	p->config[PCI_INTERRUPT_LINE] = 0;
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (p->bar[n].size)
			pci_config_set_bar(p, n, 0);
	if (p->pm_cap)
		pci_set16(p, p->pm_cap + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
	if (p->msix)
		msix_reset(p);
	pci_config_apply(p);
	pci_set_intx(p, false);
}

/* ---- capabilities ---- */

int pci_add_cap(struct pci_device *p, uint8_t id, unsigned size)
{
	unsigned off = ALIGN_UP((unsigned)p->cap_end, 4u), link = PCI_CAPABILITY_LIST;

	if (size < 2 || !range_within(off, size, PCI_CONFIG_SIZE - 4))
		return -ENOSPC;
	while (p->config[link])
		link = p->config[link] + PCI_CAP_LIST_NEXT;
	p->config[link] = (uint8_t)off;
	p->config[off + PCI_CAP_LIST_ID] = id;
	p->config[off + PCI_CAP_LIST_NEXT] = 0;
	pci_set16(p, PCI_STATUS, pci_get16(p, PCI_STATUS) | PCI_STATUS_CAP_LIST);
	p->cap_end = (uint8_t)(off + size);
	return (int)off;
}

int pci_add_pm(struct pci_device *p)
{
	int off = pci_add_cap(p, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	if (off < 0)
		return off;
	p->pm_cap = (uint8_t)off;
	pci_set16(p, p->pm_cap + PCI_PM_PMC, 3); /* version 1.2; neither D1, D2 nor PME */
	pci_set16(p, p->pm_cap + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
	set_mask(p, p->pm_cap + PCI_PM_CTRL, 2, PCI_PM_CTRL_STATE_MASK);
	return off;
}

static unsigned pm_state(const struct pci_device *p)
{
	return p->pm_cap ? pci_get16(p, p->pm_cap + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK : 0;
}

/* A state that is not offered is written without effect (PCI PM 1.2, 3.2.4). */
static void pm_written(struct pci_device *p, unsigned old)
{
	unsigned reg = p->pm_cap + PCI_PM_CTRL, state = pm_state(p);

	if (state == 1 || state == 2)
		p->config[reg] = (uint8_t)((p->config[reg] & ~PCI_PM_CTRL_STATE_MASK) | old);
}

/* ---- BARs ---- */

static bool bar_is_io(const struct pci_bar *b)
{
	return b->flags & PCI_BASE_ADDRESS_SPACE_IO;
}

static bool bar_is_64(const struct pci_bar *b)
{
	return !bar_is_io(b) && (b->flags & PCI_BASE_ADDRESS_MEM_TYPE_64);
}

static unsigned bar_reg(unsigned n)
{
	return n == PCI_ROM_BAR ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * n;
}

void pci_bar_init(struct pci_device *p, unsigned n, uint64_t size, uint8_t flags)
{
	struct pci_bar *b = &p->bar[n];

	*b = (struct pci_bar){ .size = size, .flags = flags };
	pci_set32(p, bar_reg(n), flags);
	set_mask(p, bar_reg(n), 4, (uint32_t) ~(size - 1) | (n == PCI_ROM_BAR ? PCI_ROM_ADDRESS_ENABLE : 0));
	if (bar_is_64(b))
		set_mask(p, bar_reg(n + 1), 4, (uint32_t)(~(size - 1) >> 32));
}

void pci_bar_add(struct pci_device *p, unsigned n, struct region *r, uint64_t offset)
{
	struct pci_bar *b = &p->bar[n];

	if (b->n_parts < PCI_BAR_REGIONS)
		b->part[b->n_parts++] = (struct pci_bar_part){ r, offset };
}

void pci_config_set_bar(struct pci_device *p, unsigned n, uint64_t address)
{
	const struct pci_bar *b = &p->bar[n];

	pci_set32(p, bar_reg(n), (uint32_t)address | b->flags);
	if (bar_is_64(b))
		pci_set32(p, bar_reg(n + 1), (uint32_t)(address >> 32));
}

/*
 * Where the registers want BAR n. Address 0 and an end at the very top of 16, 32 or 64 bits are what sizing leaves
 * behind: they map nothing.
 */
static uint64_t bar_wanted(const struct pci_device *p, unsigned n)
{
	const struct pci_bar *b = &p->bar[n];
	uint16_t command = pci_get16(p, PCI_COMMAND);
	uint64_t address = pci_get32(p, bar_reg(n)), last;

	if (!b->size || pm_state(p) != 0)
		return BAR_NOWHERE;
	if (n == PCI_ROM_BAR && !(address & PCI_ROM_ADDRESS_ENABLE))
		return BAR_NOWHERE;
	if (!(command & (bar_is_io(b) ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return BAR_NOWHERE;
	if (bar_is_64(b))
		address |= (uint64_t)pci_get32(p, bar_reg(n + 1)) << 32;
	address &= ~(b->size - 1);
	last = address + b->size - 1;
	if (address == 0 || last == UINT32_MAX || last == UINT64_MAX)
		return BAR_NOWHERE;
	if (bar_is_io(b) && last >= UINT16_MAX)
		return BAR_NOWHERE;
	return address;
}

static struct space *bar_space(const struct pci_device *p, const struct pci_bar *b)
{
	return bar_is_io(b) ? p->bus->host.io : p->bus->host.mem;
}

static void bar_unmap(struct pci_device *p, struct pci_bar *b)
{
	for (unsigned i = 0; i < b->n_parts; i++)
		space_unmap(bar_space(p, b), b->part[i].region);
	b->mapped = false;
}

static void bar_map(struct pci_device *p, struct pci_bar *b, uint64_t address)
{
	struct space *s = bar_space(p, b);

	for (unsigned i = 0; i < b->n_parts; i++) {
		if (space_map(s, b->part[i].region, address + b->part[i].offset, BAR_PRIORITY) == 0)
			continue;
		while (i-- > 0)
			space_unmap(s, b->part[i].region);
		log_limited(LOG_DEBUG, "%s: a BAR at %#llx is outside of the address space", device_label(&p->dev),
			    (unsigned long long)address);
		return;
	}
	b->mapped = true;
	b->address = address;
}

/* Is BAR n where the registers want it? */
static bool bar_in_place(const struct pci_device *p, unsigned n)
{
	const struct pci_bar *b = &p->bar[n];
	uint64_t want = bar_wanted(p, n);

	return want == (b->mapped ? b->address : BAR_NOWHERE);
}

static void bars_move(struct pci_device *p, struct space *s)
{
	space_begin(s);
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (bar_space(p, &p->bar[n]) == s && p->bar[n].mapped && !bar_in_place(p, n))
			bar_unmap(p, &p->bar[n]);
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (bar_space(p, &p->bar[n]) == s && !bar_in_place(p, n))
			bar_map(p, &p->bar[n], bar_wanted(p, n));
	space_commit(s);
}

/* ---- what follows from the registers ---- */

void pci_config_apply(struct pci_device *p)
{
	const struct pci_class *c = pci_class(p);
	bool awake = pm_state(p) == 0, dma = awake && (pci_get16(p, PCI_COMMAND) & PCI_COMMAND_MASTER);
	bool had_dma = atomic_load(&p->dma.on), mem = false, io = false, loses = had_dma && !dma;

	for (unsigned n = 0; n < PCI_BARS; n++) {
		if (bar_in_place(p, n))
			continue;
		*(bar_is_io(&p->bar[n]) ? &io : &mem) = true;
		loses |= p->bar[n].mapped;
	}

	if (loses && c->quiesce)
		c->quiesce(p);
	if (mem)
		bars_move(p, p->bus->host.mem);
	if (io)
		bars_move(p, p->bus->host.io);
	atomic_store(&p->dma.on, dma);
	if ((loses || (dma && !had_dma)) && c->resume)
		c->resume(p);

	pci_intx_gate(p, INTX_ASLEEP, !awake);
	pci_intx_gate(p, INTX_DISABLED, pci_get16(p, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);
	if (p->msix)
		msix_update(p);
}

/* ---- accesses ---- */

static struct pci_device *function_at(struct pci_bus *b, unsigned devfn, unsigned off, unsigned size)
{
	struct pci_device *p = devfn < ARRAY_SIZE(b->slot) ? b->slot[devfn] : NULL;

	return p && size <= 4 && range_within(off, size, p->config_size) ? p : NULL;
}

static uint32_t config_read(struct pci_device *p, unsigned off, unsigned size)
{
	const struct pci_class *c = pci_class(p);
	uint8_t *status = &p->config[PCI_STATUS];
	uint32_t v = 0;

	if (touches(off, size, PCI_STATUS, 1))
		*status =
			(uint8_t)((*status & ~PCI_STATUS_INTERRUPT) | (pci_intx_driven(p) ? PCI_STATUS_INTERRUPT : 0));
	if (c->config_read)
		c->config_read(p, off, size);
	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)p->config[off + i] << 8 * i;
	return v;
}

static void config_write(struct pci_device *p, unsigned off, unsigned size, uint32_t value)
{
	const struct pci_class *c = pci_class(p);
	unsigned pm_old = pm_state(p);

	for (unsigned i = off; i < off + size; i++, value >>= 8) {
		uint8_t v = (uint8_t)value;

		p->config[i] = (uint8_t)((p->config[i] & ~p->wmask[i]) | (v & p->wmask[i]));
		p->config[i] &= (uint8_t) ~(v & p->w1cmask[i]);
	}
	if (p->pm_cap && touches(off, size, p->pm_cap + PCI_PM_CTRL, 2))
		pm_written(p, pm_old);
	pci_config_apply(p);
	if (c->config_written)
		c->config_written(p, off, size);
}

uint32_t pci_config_read(struct pci_bus *b, unsigned devfn, unsigned off, unsigned size)
{
	uint32_t v = (uint32_t)((1ULL << 8 * MIN(size, 4u)) - 1);
	struct pci_device *p;

	mutex_lock(&b->lock);
	p = function_at(b, devfn, off, size);
	if (p) {
		mutex_lock(&p->dev.lock);
		v = config_read(p, off, size);
		mutex_unlock(&p->dev.lock);
	}
	mutex_unlock(&b->lock);
	return v;
}

void pci_config_write(struct pci_bus *b, unsigned devfn, unsigned off, unsigned size, uint32_t value)
{
	struct pci_device *p;

	mutex_lock(&b->lock);
	p = function_at(b, devfn, off, size);
	if (p) {
		mutex_lock(&p->dev.lock);
		config_write(p, off, size, value);
		mutex_unlock(&p->dev.lock);
	}
	mutex_unlock(&b->lock);
}
