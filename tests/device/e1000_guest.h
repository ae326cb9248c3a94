/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A board with one e1000 on it, and a guest made of a few functions that write its registers and rings: the real device
 * behind the real PCI bus, registers reached through the address spaces as a vCPU reaches them. No vCPU, no thread:
 * what the loop has to do is run by eg_settle(). Whatever cannot go wrong here, but does, aborts.
 *
 * RAM is [0, 4 MiB), a hole, and [8 MiB, 8.25 MiB).
 */
#ifndef TESTS_DEVICE_E1000_GUEST_H
#define TESTS_DEVICE_E1000_GUEST_H

#include "nic/e1000.h"

#define EG_RAM0	    (4 * MIB)
#define EG_RAM1	    (8 * MIB)
#define EG_RAM1_END (EG_RAM1 + 256 * KIB)
#define EG_BAR_MEM  0xe0000000u
#define EG_BAR_IO   0xc000u

/* Where the driver keeps things. */
#define EG_RX_RING   0x10000u
#define EG_TX_RING   0x20000u
#define EG_TX_BUF(i) (0x40000u + (i)*0x1000u)  /* of descriptor i, up to 256 of them */
#define EG_RX_BUF(i) (0x180000u + (i)*0x1000u) /* likewise */
#define EG_FREE	     0x300000u		       /* nothing of the driver's from here on */

struct eg {
	struct loop *loop;
	struct ram ram;
	struct space *mem, *io;
	struct irq_chip irq;
	struct pci_bus bus;
	struct pci_device *pci;
	struct e1000 *dev;
	struct net_client *nic;
	_Atomic bool level; /* the interrupt line */
	_Atomic unsigned edges;

	/* the driver's */
	unsigned n_rx, n_tx, buffer; /* buffer: bytes in one, for the device's eyes */
	unsigned rx_next, tx_next, tx_done;
	uint16_t rx_special, rx_checksum; /* of the last frame received */
	uint8_t rx_status, rx_errors;
	unsigned rx_pieces;
};

/* The board and a device "MODEL,<options>". */
void eg_open(struct eg *g, const char *options);
void eg_close(struct eg *g);
void eg_settle(struct eg *g);
void eg_step(struct eg *g, uint64_t ns); /* the VM's clock goes on by so much, and what is due is run */
void eg_late(uint64_t ns);		 /* ... but the loop does not come to run */

/* Registers, by the memory BAR; by the I/O BAR. Where there is none (a BAR that is off): nothing. */
uint32_t eg_read(struct eg *g, unsigned off);
void eg_write(struct eg *g, unsigned off, uint32_t v);
uint32_t eg_io_read(struct eg *g, unsigned off);
void eg_io_write(struct eg *g, unsigned off, uint32_t v);
void eg_master(struct eg *g, bool on);
uint16_t eg_phy_read(struct eg *g, unsigned r);
void eg_phy_write(struct eg *g, unsigned r, uint16_t v);

void *eg_at(struct eg *g, uint64_t gpa); /* host pointer into RAM */
void eg_put64(struct eg *g, uint64_t gpa, uint64_t v);
uint64_t eg_get64(struct eg *g, uint64_t gpa);

/*
 * The driver's way up: reset, rings of n descriptors each (a multiple of 8, up to 256), receive with `rctl` besides EN
 * and buffers of its size, transmit with padding, link up. All buffers but one are posted.
 */
void eg_up(struct eg *g, unsigned n, uint32_t rctl);
#define EG_RCTL (RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC)

/* Descriptors at the driver's place in the transmit ring; the tail stays as it is until eg_tx_kick(). */
void eg_tx_desc(struct eg *g, uint64_t address, uint64_t word);
void eg_tx_kick(struct eg *g);
unsigned eg_tx_reap(struct eg *g); /* descriptors with DD, from the oldest on */
/* A frame into the buffer of the next descriptor, by one legacy descriptor with these command bits besides EOP. */
void eg_send(struct eg *g, const void *frame, unsigned len, uint64_t bits);

/* Receive the next frame, post its buffers again; its length, or -1. */
int eg_receive(struct eg *g, uint8_t *to, size_t room);

#endif
