/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI tables of the board (ACPI 6.4, chapter 5): RSDP, XSDT, FADT, FACS, MADT, MCFG and a DSDT with the PCI root,
 * its interrupt routing, the ports that are there, and S5.
 */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include "machine/memmap.h"

struct acpi_config {
	unsigned cpus;
	unsigned serials; /* bit mask: COM1 is bit 0 */
	struct pci_windows windows;
	unsigned mmio; /* bit mask: virtio-mmio transports with a device */
};

/*
 * Write them to `area`, which is guest memory at `gpa` (16-aligned). Returns the bytes used, or 0 if they do not fit.
 * The RSDP stands at the beginning.
 */
size_t acpi_build(const struct acpi_config *cfg, uint8_t *area, uint64_t gpa, size_t size);

#endif
