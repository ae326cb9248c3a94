/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The legacy registers of the PCI transport (virtio_pci_legacy.c), and what both register sets of virtio_pci.c need of
 * each other. For use inside virtio/.
 */
#ifndef VIRTIO_VIRTIO_PCI_LEGACY_H
#define VIRTIO_VIRTIO_PCI_LEGACY_H

#include "virtio/virtio_pci.h"

/* ---- virtio_pci_legacy.c ---- */
/* BAR 0, the ids, the doorbells: behind vectors and queues. Main. */
int virtio_pci_legacy_init(struct virtio_pci *vp, struct error *err) __must_check;
/* After a reset: kicks come to the register again, as the next driver's first one may be what starts the device. */
void virtio_pci_legacy_unbind(struct virtio_pci *vp);

/* ---- virtio_pci.c; control mutex ---- */
/* Make the pin agree with the ISR. Any thread, without the mutex too. */
void virtio_pci_drive_pin(struct virtio_pci *vp);
/* What reads back of a vector that is written (4.1.5.1.2.1). */
uint16_t virtio_pci_valid_vector(const struct virtio_pci *vp, uint16_t vector);
void virtio_pci_registers_reset(struct virtio_pci *vp);
/* A doorbell for each queue, bound to nothing; NULL: no memory. */
struct doorbell *virtio_pci_new_doorbells(const struct virtio_pci *vp);
/*
 * Bind them to the queues' eventfds, or to nothing. Others may be building a map of the space: the table is changed
 * inside of begin and commit.
 */
void virtio_pci_set_doorbells(struct virtio_pci *vp, struct space *space, struct region *region, struct doorbell *bells,
			      bool on);

#endif
