/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Expansion ROMs (PCI 3.0, 6.2.5.2 and 6.3.1): an image in a BAR of its own, read-only, decoded while its register's
 * enable bit and the command register's memory bit are set. For use inside pci/.
 */
#ifndef PCI_ROM_H
#define PCI_ROM_H

#include "pci/pci.h"

/*
 * Give the device the ROM that its properties ask for: romfile's, else the one that its class names if that is
 * installed; none with rombar=0 or an empty name. A name without a slash that is no file here is looked for among the
 * images of iPXE. Main thread, before realize. Errors name romfile and its value.
 */
int pci_rom_init(struct pci_device *p, struct error *err) __must_check;
void pci_rom_destroy(struct pci_device *p); /* harmless if there is none */

#endif
