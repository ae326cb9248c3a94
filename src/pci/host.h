/* SPDX-License-Identifier: BSD-2-Clause */
/* The host bridge device, for use inside pci/. */
#ifndef PCI_HOST_H
#define PCI_HOST_H

#include "pci/pci.h"

/* Make the host bridge of a new bus and put it at 00:00.0. */
int pci_host_bridge_add(struct pci_bus *b, struct error *err) __must_check;

#endif
