/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INTx: pins, and wires that several pins share.
 *
 * Pins and wires are changed by loops and by vCPUs at the same time, and a loop must not wait, so there is no lock.
 * A pin is one atomic word; it is asserted when the device drives it and no gate is closed. Each change is one
 * compare-and-swap, so all changes of a pin stand in one order and each that (de)asserts it adds +1 or -1 to its wire
 * exactly once. The sum may be off for an instant (one thread's -1 may overtake another's +1), but whoever adds to it
 * then calls line_update(), so the last of them sees the true sum.
 *
 * line_update() must keep calls into the chip in order: a late "low" of one thread must not follow a newer "high" of
 * another. `work` is both the counter of unseen changes and the right to talk to the chip: who raises it from 0 talks,
 * and goes on until nobody has raised it meanwhile; the others leave at once, knowing that their change will be seen.
 */
#include "base/sched.h"
#include "pci/intx.h"

static void line_update(struct pci_bus *b, unsigned gsi)
{
	struct pci_line *l = &b->line[gsi];
	uint32_t seen;

	SCHED_POINT();
	seen = atomic_fetch_add(&l->work, 1) + 1;
	if (seen != 1)
		return;
	do {
		bool level;

		SCHED_POINT();
		level = atomic_load(&l->pins) > 0;
		if (level != l->level) {
			l->level = level;
			b->host.irq->set_line(b->host.irq->opaque, gsi, level);
		}
		SCHED_POINT();
	} while (!atomic_compare_exchange_strong(&l->work, &seen, 0));
}

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
	SCHED_POINT();
	atomic_fetch_add(&p->bus->line[p->intx_gsi].pins, delta);
	line_update(p->bus, (unsigned)p->intx_gsi);
}

void pci_set_intx(struct pci_device *p, bool level)
{
	pin_change(p, level ? 0 : INTX_DRIVEN, level ? INTX_DRIVEN : 0);
}

void pci_intx_gate(struct pci_device *p, enum pci_intx gate, bool closed)
{
	pin_change(p, closed ? 0 : (uint8_t)gate, closed ? (uint8_t)gate : 0);
}
