/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Config space of one device, for use inside pci/: what follows from its registers (BARs in the address spaces, bus
 * mastering, INTx gates). All of it with the bus's config mutex and the device's control mutex held.
 */
#ifndef PCI_CONFIG_H
#define PCI_CONFIG_H

#include "pci/pci.h"

/* Header and masks of a new device, from its class. */
void pci_config_init(struct pci_device *p);
/* Registers to their values after power on; then nothing is mapped, no DMA, no interrupts. */
void pci_config_reset(struct pci_device *p);
/* Make the map, DMA and INTx agree with the registers. Quiesces the device only if something it uses goes away. */
void pci_config_apply(struct pci_device *p);
/* Write registers as firmware would, without masks' help: BAR n (both halves of a 64-bit one), keeping its flags. */
void pci_config_set_bar(struct pci_device *p, unsigned n, uint64_t address);

#endif
