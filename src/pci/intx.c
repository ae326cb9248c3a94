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
 * and goes on until nobody has raised it meanwhile; the others leave, knowing that their change will be seen.
 *
 * When it will be seen is up to the scheduler, though: a "high" wakes the vCPU, which may push the talker aside before
 * its call has returned. A vCPU that has just acknowledged the interrupt must not go back into the guest with the wire
 * high, for it would take the same interrupt again and again until the talker runs. So who lowers a wire while another
 * talks says "low" out of turn, and asks for the wire's level to be told once more behind that: whatever was overtaken
 * is put right, and an edge too many is all that can be seen of it.
 */
#include "base/sched.h"
#include "pci/intx.h"

/* Somebody else talks; true: he has left meanwhile, and it is our turn. */
static bool low_out_of_turn(struct pci_bus *b, unsigned gsi)
{
	struct pci_line *l = &b->line[gsi];

	SCHED_POINT();
	if (atomic_load(&l->pins) > 0)
		return false;
	b->host.irq->set_line(b->host.irq->opaque, gsi, false);
	SCHED_POINT();
	atomic_store(&l->again, true);
	SCHED_POINT();
	return atomic_fetch_add(&l->work, 1) == 0;
}

static void line_update(struct pci_bus *b, unsigned gsi, bool lowered)
{
	struct pci_line *l = &b->line[gsi];
	uint32_t seen = 1;

	SCHED_POINT();
	if (atomic_fetch_add(&l->work, 1) != 0 && !(lowered && low_out_of_turn(b, gsi)))
		return;
	do {
		bool again, level;

		SCHED_POINT();
		again = atomic_exchange(&l->again, false);
		SCHED_POINT();
		level = atomic_load(&l->pins) > 0;
		if (again || level != l->level) {
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
	line_update(p->bus, (unsigned)p->intx_gsi, delta < 0);
}

void pci_set_intx(struct pci_device *p, bool level)
{
	pin_change(p, level ? 0 : INTX_DRIVEN, level ? INTX_DRIVEN : 0);
}

void pci_intx_gate(struct pci_device *p, enum pci_intx gate, bool closed)
{
	pin_change(p, closed ? 0 : (uint8_t)gate, closed ? (uint8_t)gate : 0);
}
