/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MSI-X (PCI 3.0, 6.8.2): a table of vectors and their pending bits in a BAR, each vector a route to the interrupt
 * chip with its own eventfd. A vector that is masked (by its own bit, or the function's) keeps its signal in the PBA
 * and sends it once when it is unmasked. msix_notify() is for any thread and takes no lock. A message is a write to
 * memory: it needs bus mastering, and waits without it.
 */
#ifndef PCI_MSIX_H
#define PCI_MSIX_H

#include "pci/pci.h"

#define MSIX_NO_VECTOR 0xffff

/* Give the device `n` vectors (1..2048), table and PBA in BAR `bar` (memory, made here). */
int msix_init(struct pci_device *p, unsigned n, unsigned bar, struct error *err) __must_check;
void msix_destroy(struct pci_device *p);
void msix_reset(struct pci_device *p);

bool msix_enabled(const struct pci_device *p); /* the function's enable bit */
unsigned msix_vectors(const struct pci_device *p);
/* Raise vector v: signal its eventfd, or leave it pending. Out of range: nothing. */
void msix_notify(struct pci_device *p, unsigned v);
/* After whatever may change the function's mask: the control word, bus mastering. Control mutex; called by pci/. */
void msix_update(struct pci_device *p);
/* Messages that the interrupt chip did not take, and routes that could not be had. */
uint64_t msix_refused(const struct pci_device *p);

#endif
