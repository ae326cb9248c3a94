/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A level-triggered interrupt wire, asserted while at least one of the pins on it is. Pins are changed by loops and by
 * vCPUs at the same time, and a loop must not wait, so there is no lock.
 */
#ifndef OBJECT_IRQ_WIRE_H
#define OBJECT_IRQ_WIRE_H

#include <stdatomic.h>

#include "object/irq.h"

/* Zeroed: no pin is asserted. */
struct irq_wire {
	_Atomic int32_t pins;  /* how many are asserted */
	_Atomic uint32_t work; /* changes that the chip may not have seen */
	_Atomic bool again;    /* the chip was told "low" out of turn: tell it the level whatever it was told last */
	bool level;	       /* what the chip was told; of the thread that has the work */
};

/*
 * A pin was asserted (+1) or let go (-1): exactly one call for each change. When it returns from a -1 that leaves no pin
 * asserted, the chip has heard of it. Any thread. The chip and the wire's number in it are the same in every call.
 */
void irq_wire_add(struct irq_wire *w, const struct irq_chip *chip, unsigned gsi, int delta);

#endif
