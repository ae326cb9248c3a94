/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An interrupt line of one device of the board: only edges go to the chip. The caller serialises (the device's lock).
 */
#ifndef MACHINE_ISA_IRQ_H
#define MACHINE_ISA_IRQ_H

#include "object/irq.h"

struct isa_irq {
	const struct irq_chip *chip;
	unsigned gsi;
	bool level;
};

static inline void isa_irq_set(struct isa_irq *i, bool level)
{
	if (i->level == level)
		return;
	i->level = level;
	i->chip->set_line(i->chip->opaque, i->gsi, level);
}

#endif
