/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where everything is: guest-physical memory, ports and interrupt lines.
 *
 *	0000_0000  RAM, up to 3 GiB; the first MiB has boot structures and the ACPI tables (below)
 *	c000_0000  ECAM of PCI bus 0, 1 MiB
 *	c010_0000  32-bit PCI window
 *	feb0_0000  virtio-mmio
 *	fec0_0000  IOAPIC, local APICs, KVM's own pages
 *	1_0000_0000  the rest of RAM
 *	above RAM  64-bit PCI window
 */
#ifndef MACHINE_MEMMAP_H
#define MACHINE_MEMMAP_H

#include "base/error.h"
#include "mem/ram.h"
#include "pci/pci.h"

#define LOW_RAM_MAX    0xc0000000ULL
#define HIGH_RAM_BASE  0x100000000ULL
#define ECAM_BASE      0xc0000000ULL
#define ECAM_SIZE      0x100000ULL
#define PCI32_BASE     0xc0100000ULL
#define PCI32_END      0xfeb00000ULL
#define MMIO_BASE      0xfeb00000ULL /* virtio-mmio transports, one behind the other */
#define IOAPIC_BASE    0xfec00000ULL
#define LAPIC_BASE     0xfee00000ULL
#define KVM_PAGES_BASE 0xfeffc000ULL
#define KVM_PAGES_SIZE 0x4000ULL

/* Boot structures, in what the guest sees as free RAM: it copies or drops them early. */
#define BOOT_GDT	 0x1000ULL
#define BOOT_STACK	 0x7000ULL /* grows down */
#define BOOT_PARAMS	 0x7000ULL /* struct boot_params, or the PVH start info */
#define BOOT_PAGE_TABLES 0x9000ULL /* 6 pages */
#define BOOT_CMDLINE	 0x20000ULL
#define BOOT_CMDLINE_MAX 0x10000ULL
#define LOW_RAM_END	 0x9fc00ULL /* end of conventional memory */

/* Not RAM to the guest, but RAM to us. Scanned by guests that look for the RSDP themselves. */
#define ACPI_BASE  0xe0000ULL
#define ACPI_SIZE  0x20000ULL
#define KERNEL_MIN 0x100000ULL

/* Ports */
#define PORT_RTC	0x70
#define PORT_I8042	0x60
#define PORT_A20	0x92
#define PORT_PVPANIC	0x505
#define PORT_PM		0x600
#define PORT_PM_SIZE	16
#define PORT_PCI_CONFIG 0xcf8
#define PCI_PORTS_BASE	0xc000ULL
#define PCI_PORTS_END	0x10000ULL

/* Lines */
#define GSI_RTC 8
#define GSI_SCI 9

/* GSI of a PCI interrupt pin: lines that both the PIC and the IOAPIC have, level-triggered. */
#define INTX_GSIS 4
extern const uint8_t intx_gsis[INTX_GSIS];
unsigned intx_gsi(unsigned slot, unsigned pin);
/* Of virtio-mmio transports: a line each. The first two are on the PIC as well, for kernels without ACPI. */
#define MMIO_SLOTS 8
extern const uint8_t mmio_gsis[MMIO_SLOTS];
uint16_t level_gsis(void); /* as a mask: those of them that the PIC has, and the SCI */

/* Split RAM of `size` bytes; returns the number of blocks (1 or 2). */
unsigned memmap_blocks(uint64_t size, struct ram_block blocks[2]);
/* -EINVAL if the processor cannot address that much. */
int memmap_windows(uint64_t ram_size, struct pci_windows *w, struct error *err) __must_check;

/* The map that the guest gets (BIOS function E820h). */
enum map_type {
	MAP_RAM = 1,
	MAP_RESERVED = 2
};
struct map_entry {
	uint64_t start, size;
	enum map_type type;
};
#define MAP_ENTRIES_MAX 8
unsigned memmap_e820(const struct ram *ram, struct map_entry map[MAP_ENTRIES_MAX]);

#endif
