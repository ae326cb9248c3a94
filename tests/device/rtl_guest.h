/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A board with one rtl8139 on it, and a guest made of a few functions that write its registers and rings: the real
 * device behind the real PCI bus, its registers reached through the address spaces as a vCPU reaches them. No vCPU, no
 * thread: what the loop has to do is run by settle() of fake_net.h.
 *
 * RAM is [0, 1 MiB), a hole, and [2 MiB, 2.25 MiB).
 */
#ifndef TESTS_DEVICE_RTL_GUEST_H
#define TESTS_DEVICE_RTL_GUEST_H

#include "nic/rtl8139.h"

#define RG_RAM0	    (1 * MIB)
#define RG_RAM1	    (2 * MIB)
#define RG_RAM1_END (RG_RAM1 + 256 * KIB)
#define RG_BAR_MEM  0xe0000000u
#define RG_BAR_IO   0xc000u

/* Where the driver keeps things. */
#define RG_RX_RING   0x1000u
#define RG_TX_RING   0x2000u
#define RG_HIGH_RING 0x3000u
#define RG_TALLY     0x4000u
#define RG_RX_BUF(i) (0x10000u + (i)*0x800u)
#define RG_RX_LEN    0x600u
#define RG_TX_BUF(i) (0x40000u + (i)*0x1000u)
#define RG_RING	     0x90000u /* C mode's receive buffer */
#define RG_FREE	     0xc0000u /* nothing of the driver's from here on */

struct rtl_guest {
	struct loop *loop;
	struct ram ram;
	struct space *mem, *io;
	struct irq_chip irq;
	struct pci_bus bus;
	struct pci_device *pci;
	struct rtl8139 *dev;
	struct net_client *nic;
	_Atomic bool level; /* the interrupt line */
	_Atomic unsigned edges;

	/* the driver's */
	bool cplus;
	uint32_t ring_len; /* C: without slack */
	uint32_t cur_rx;   /* C: where it reads next */
	unsigned cur_tx;   /* C: slot that is next; C+: descriptor */
	unsigned dirty_tx; /* the oldest that is not given back */
	unsigned cur_desc; /* C+: receive descriptor that is next */
};

/* The board and a device "rtl8139,<options>". */
void rg_open(struct rtl_guest *g, const char *options);
void rg_close(struct rtl_guest *g);

/* Registers, by the memory BAR; rg_in() and rg_out() by the I/O BAR. */
uint32_t rg_read(struct rtl_guest *g, unsigned off, unsigned size);
void rg_write(struct rtl_guest *g, unsigned off, unsigned size, uint32_t v);
uint32_t rg_in(struct rtl_guest *g, unsigned off, unsigned size);
void rg_out(struct rtl_guest *g, unsigned off, unsigned size, uint32_t v);

void *rg_at(struct rtl_guest *g, uint64_t gpa); /* host pointer into RAM */
uint32_t rg_get32(struct rtl_guest *g, uint64_t gpa);
void rg_put32(struct rtl_guest *g, uint64_t gpa, uint32_t v);

/* The driver's way up: reset, rings, receiver and transmitter on, all interrupts. */
void rg_up_c(struct rtl_guest *g, unsigned rblen, bool wrap);
void rg_up_cplus(struct rtl_guest *g);
void rg_desc(struct rtl_guest *g, uint64_t ring, unsigned i, uint32_t opts1, uint32_t opts2, uint64_t addr);
void rg_poll(struct rtl_guest *g); /* TPPoll, NPQ */

/*
 * Send a frame by the next slot or descriptor, with further bits in its two words. False: there is none that is free.
 * C+: rg_poll() is still to be called.
 */
bool rg_send(struct rtl_guest *g, const void *frame, unsigned len, uint32_t opts1, uint32_t opts2);
/* Receive the next frame, without its check sequence, whose rightness is asserted; its length, or -1. */
int rg_receive(struct rtl_guest *g, uint8_t *to, size_t room);
uint32_t rg_rx_status(void); /* of the last one */

#endif
