/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A 16550A serial port (National Semiconductor PC16550D): FIFOs, interrupts, loopback, modem lines. Its transmitter is
 * as fast as whoever takes the bytes: while the character device has no room, the transmit holding register is not
 * empty, and the guest waits for the interrupt as it would on a real line. A byte that a guest writes all the same is
 * lost and counted.
 */
#ifndef MACHINE_SERIAL_H
#define MACHINE_SERIAL_H

#include "char/chardev.h"
#include "machine/isa_irq.h"
#include "mem/space.h"

#define SERIAL_FIFO  16
#define SERIAL_PORTS 8

struct serial {
	struct region region;
	struct mutex lock; /* guards everything below */
	struct isa_irq irq;
	struct chardev *chr; /* of chardev_open(), owned; NULL: nothing is connected */
	bool attached;	     /* to it; main thread */
	void (*quit)(void *opaque);
	void *opaque;

	uint8_t rx[SERIAL_FIFO];
	unsigned rx_head, rx_len;
	uint8_t ier, lcr, mcr, scr, fcr;
	uint8_t lsr_errors; /* overrun, break: until LSR is read */
	uint8_t msr_delta;  /* until MSR is read */
	uint8_t dll, dlm;
	bool thr_interrupt; /* the transmitter became empty and nobody has asked yet */
	bool stalled;	    /* the character device has no room */
	counter lost;
};

/* COM1 to COM4 at their usual ports; the lines of the last two are their own, as edges cannot be shared. */
struct serial_place {
	uint16_t port;
	uint8_t gsi;
};
extern const struct serial_place serial_places[4];

void serial_init(struct serial *s, const struct irq_chip *irq, unsigned gsi, struct chardev *chr);
/* Connect it: input may come from now on. quit(opaque): the user asked for the end at the terminal. */
int serial_start(struct serial *s, struct loop *main_loop, void (*quit)(void *opaque), void *opaque,
		 struct error *err) __must_check;
void serial_reset(struct serial *s);
void serial_destroy(struct serial *s); /* also the character device */

#endif
