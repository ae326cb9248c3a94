/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INTx, for use inside pci/: what holds a pin back. A device drives its pin with pci_set_intx(); it is asserted on the
 * wire unless one of the gates is closed.
 */
#ifndef PCI_INTX_H
#define PCI_INTX_H

#include "pci/pci.h"

enum pci_intx {
	INTX_DRIVEN = 1,   /* the device wants it */
	INTX_DISABLED = 2, /* gate: command register */
	INTX_MSIX = 4,	   /* gate: MSI-X is enabled (PCI 3.0, 6.8.3.3) */
	INTX_ASLEEP = 8,   /* gate: not in D0 */
};

/* Close or open a gate. Any thread. */
void pci_intx_gate(struct pci_device *p, enum pci_intx gate, bool closed);

static inline bool pci_intx_driven(const struct pci_device *p)
{
	return atomic_load(&p->intx) & INTX_DRIVEN;
}

#endif
