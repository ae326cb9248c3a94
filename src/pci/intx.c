/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INTx: pins, and wires that several pins share.
 *
 * A pin is one atomic word; it is asserted when the device drives it and no gate is closed. Each change is one
 * compare-and-swap, so all changes of a pin stand in one order and each that (de)asserts it adds +1 or -1 to its wire
 * (object/irq_wire.h) exactly once.
 */
#include "base/sched.h"
#include "pci/intx.h"

static void pin_change(struct pci_device *p, uint8_t clear, uint8_t set)
{
	uint8_t old, new;
	int delta;

	old = atomic_load(&p->intx);
	do {
		SCHED_POINT();
		new = (uint8_t)((old & ~clear) | set);
		if (new == old)
			return;
	} while (!atomic_compare_exchange_weak(&p->intx, &old, new));

	delta = (new == INTX_DRIVEN) - (old == INTX_DRIVEN);
	if (delta == 0 || p->intx_gsi < 0)
		return;
	irq_wire_add(&p->bus->line[p->intx_gsi], p->bus->host.irq, (unsigned)p->intx_gsi, delta);
}

void pci_set_intx(struct pci_device *p, bool level)
{
	pin_change(p, level ? 0 : INTX_DRIVEN, level ? INTX_DRIVEN : 0);
}

void pci_intx_gate(struct pci_device *p, enum pci_intx gate, bool closed)
{
	pin_change(p, closed ? 0 : (uint8_t)gate, closed ? (uint8_t)gate : 0);
}
