/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI: a bus of up to 32 slots with 8 functions, config space with write masks, BARs made of regions, capabilities,
 * INTx as a wire-OR, MSI-X (pci/msix.h). PCI Local Bus Specification 3.0 and PCI Express Base 4.0 chapter 7 for the
 * config space (4 KiB by ECAM, 256 bytes by ports 0xcf8/0xcfc).
 *
 * Config accesses come from vCPU threads, serialised by the bus's config mutex, which is taken before the device's
 * control mutex. When a write moves or disables a BAR, or clears the bus master bit, the device is quiesced first
 * (class->quiesce), then the map changes in one snapshot, then it goes on (class->resume): after the write returns the
 * old address is dead, its doorbells are unbound, and no DMA is under way if bus mastering went off.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <linux/pci_regs.h>

#include "loop/loop.h"
#include "mem/ram.h"
#include "mem/space.h"
#include "object/device.h"
#include "object/irq_wire.h"

#define PCI_CONFIG_SIZE	    256
#define PCIE_CONFIG_SIZE    4096
#define PCI_SLOTS	    32
#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
#define PCI_BAR_REGIONS	    8
#define PCI_ROM_BAR	    6 /* the expansion ROM's, behind the six of the header */
#define PCI_BARS	    7

struct pci_device;
struct msix;
struct pci_rom;

/* One region at an offset in a BAR. */
struct pci_bar_part {
	struct region *region;
	uint64_t offset;
};

struct pci_bar {
	uint64_t size; /* power of two; 0: none */
	uint8_t flags; /* PCI_BASE_ADDRESS_SPACE_IO, _MEM_TYPE_64, _MEM_PREFETCH */
	unsigned n_parts;
	struct pci_bar_part part[PCI_BAR_REGIONS];
	bool mapped;
	uint64_t address; /* where it is mapped now */
};

struct pci_device {
	struct device dev;
	int32_t addr_slot;  /* property addr=slot[.fn]; -1: next free. Parsed form: devfn or -1 */
	char *romfile;	    /* property; NULL: the class's; "": none */
	int32_t rombar;	    /* property; 0: the ROM is not shown */
	bool multifunction; /* property: other functions of the slot may be there */
	/* Properties of QEMU's that must be as they are by default, or change nothing. */
	uint32_t acpi_index;
	char *failover_pair;
	uint64_t bounce_size;
	bool accepted[5];
	uint8_t devfn;
	struct pci_bus *bus; /* NULL: not on it yet, or not any more */

	uint8_t config[PCIE_CONFIG_SIZE];  /* guarded by the bus's config mutex */
	uint8_t wmask[PCIE_CONFIG_SIZE];   /* bits that a guest may write */
	uint8_t w1cmask[PCIE_CONFIG_SIZE]; /* bits that a written 1 clears */
	uint8_t cap_end;		   /* first free byte for capabilities */
	uint8_t pm_cap;			   /* power management capability; 0: none */
	uint16_t config_size;		   /* 256 or 4096 */

	struct pci_bar bar[PCI_BARS];
	struct dma dma;	      /* follows the bus master bit; off in D3hot */
	_Atomic uint8_t intx; /* what it drives on its pin and what keeps it back; see pci/intx.h */
	int intx_gsi;	      /* where the pin leads; -1: no pin */
	struct msix *msix;    /* NULL: none */
	struct pci_rom *rom;  /* NULL: none */
};

struct pci_class {
	struct device_class dev;
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	const struct state_table *state; /* the leaf type's; NULL: it cannot be saved */
	uint32_t class_code;		 /* 24 bits */
	bool express;			 /* has 4 KiB of config space */
	const char *romfile;		 /* its option ROM, one of iPXE's, if they are installed; NULL: none */
	/* Template for leaf types: config header and dma are set up already; add BARs and capabilities. */
	int (*realize)(struct pci_device *p, struct error *err);
	void (*unrealize)(struct pci_device *p);
	void (*reset)(struct pci_device *p); /* control mutex; config space is reset already: no DMA, nothing mapped */
	/* Config access hooks, after the range check; NULL: none. Called with config and control mutex held. */
	void (*config_read)(struct pci_device *p, unsigned off, unsigned size);	   /* refresh config[] before a read */
	void (*config_written)(struct pci_device *p, unsigned off, unsigned size); /* config[] has the new value */
	/*
	 * Stop all DMA, and go on as far as p->dma.on allows; control mutex held, vCPU (config write) or main thread.
	 * resume is also called alone, when p->dma.on came on.
	 */
	void (*quiesce)(struct pci_device *p);
	void (*resume)(struct pci_device *p);
};

/* What the board gives to its root bus. */
struct pci_host {
	struct space *mem, *io;
	const struct ram *ram;
	const struct irq_chip *irq;
	struct loop *main_loop;
	struct loop *(*place)(void *arg); /* the net loop for a new device; NULL: main_loop */
	void *place_arg;
	unsigned (*intx_gsi)(unsigned slot, unsigned pin); /* pin 0..3 (A..D) */
};

#define PCI_LINES 256

struct pci_bus {
	struct bus bus;
	struct mutex lock; /* config accesses, BAR map, slots */
	struct pci_host host;
	struct pci_device *slot[PCI_SLOTS * 8];
	struct irq_wire line[PCI_LINES]; /* by GSI */
	_Atomic uint32_t config_address; /* port 0xcf8 */
};

extern const struct type type_pci_device;      /* abstract */
extern const struct type type_pci_host_bridge; /* 00:00.0 */

/* ---- the board's part ---- */
/* Makes the host bridge too, so types_init() comes first. pci_bus_deinit() deletes whatever is still on the bus. */
int pci_bus_init(struct pci_bus *b, const char *name, const struct pci_host *host, struct error *err) __must_check;
void pci_bus_deinit(struct pci_bus *b);
/* Config access by (devfn, offset); size 1, 2, 4. What is not there reads as all ones. vCPU or main thread. */
uint32_t pci_config_read(struct pci_bus *b, unsigned devfn, unsigned off, unsigned size);
void pci_config_write(struct pci_bus *b, unsigned devfn, unsigned off, unsigned size, uint32_t value);
/* Ports 0xcf8..0xcff (config mechanism 1) and the ECAM window of bus 0, as regions for the board to map. */
void pci_host_ports_init(struct pci_bus *b, struct region *address, struct region *data); /* 0xcf8, 0xcfc */
void pci_ecam_init(struct pci_bus *b, struct region *ecam);				  /* 1 MiB */
/*
 * What firmware would do: give every BAR an address (io window, 32-bit window, 64-bit window above all RAM), set the
 * interrupt line register, enable decoding. At start and after each reset, vCPUs stopped.
 */
struct pci_windows {
	uint64_t io, io_end, mem32, mem32_end, mem64, mem64_end; /* [start, end) */
};
int pci_assign(struct pci_bus *b, const struct pci_windows *w, struct error *err) __must_check;

/* ---- the device's part ---- */
static inline struct pci_device *to_pci_device(struct device *d)
{
	return container_of(d, struct pci_device, dev);
}

static inline const struct pci_class *pci_class(const struct pci_device *p)
{
	return container_of(device_class(&p->dev), struct pci_class, dev);
}

static inline uint16_t pci_get16(const struct pci_device *p, unsigned off)
{
	return (uint16_t)(p->config[off] | p->config[off + 1] << 8);
}
static inline uint32_t pci_get32(const struct pci_device *p, unsigned off)
{
	return pci_get16(p, off) | (uint32_t)pci_get16(p, off + 2) << 16;
}
void pci_set16(struct pci_device *p, unsigned off, uint16_t v);
void pci_set32(struct pci_device *p, unsigned off, uint32_t v);

/* The loop that a device being realized is to run on. Main. */
static inline struct loop *pci_place(const struct pci_device *p)
{
	const struct pci_host *host = &p->bus->host;

	return host->place ? host->place(host->place_arg) : host->main_loop;
}

/* Declare BAR n (before realize ends). A 64-bit BAR takes n and n + 1. */
void pci_bar_init(struct pci_device *p, unsigned n, uint64_t size, uint8_t flags);
void pci_bar_add(struct pci_device *p, unsigned n, struct region *r, uint64_t offset);
/*
 * Room for a capability of `size` bytes (id and next included): offset, or -ENOSPC. Contents read-only until wmask is
 * set.
 */
int pci_add_cap(struct pci_device *p, uint8_t id, unsigned size);
/* PCI power management (1.2): D0 and D3hot, where neither DMA nor interrupts nor BARs work; the state is kept. */
int pci_add_pm(struct pci_device *p);
/* Drive the device's INTx pin (edges reach the chip). Any thread. Honours the command register's disable bit. */
void pci_set_intx(struct pci_device *p, bool level);

#endif
