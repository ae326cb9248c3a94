/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wires: see irq_wire.h.
 *
 * Each change of a pin adds +1 or -1 to its wire exactly once. The sum may be off for an instant (one thread's -1 may
 * overtake another's +1), but whoever adds to it then calls update(), so the last of them sees the true sum.
 *
 * update() must keep calls into the chip in order: a late "low" of one thread must not follow a newer "high" of another.
 * `work` is both the counter of unseen changes and the right to talk to the chip: who raises it from 0 talks, and goes on
 * until nobody has raised it meanwhile; the others leave, knowing that their change will be seen.
 *
 * When it will be seen is up to the scheduler, though: a "high" wakes the vCPU, which may push the talker aside before
 * its call has returned. A vCPU that has just acknowledged the interrupt must not go back into the guest with the wire
 * high, for it would take the same interrupt again and again until the talker runs. So who lowers a wire while another
 * talks says "low" out of turn, and asks for the wire's level to be told once more behind that: whatever was overtaken
 * is put right, and an edge too many is all that can be seen of it.
 */
#include "object/irq_wire.h"

#include "base/sched.h"

/* Somebody else talks; true: he has left meanwhile, and it is our turn. */
static bool low_out_of_turn(struct irq_wire *l, const struct irq_chip *chip, unsigned gsi)
{
	SCHED_POINT();
	if (atomic_load(&l->pins) > 0)
		return false;
	chip->set_line(chip->opaque, gsi, false);
	SCHED_POINT();
	atomic_store(&l->again, true);
	SCHED_POINT();
	return atomic_fetch_add(&l->work, 1) == 0;
}

static void update(struct irq_wire *l, const struct irq_chip *chip, unsigned gsi, bool lowered)
{
	uint32_t seen = 1;

	SCHED_POINT();
	if (atomic_fetch_add(&l->work, 1) != 0 && !(lowered && low_out_of_turn(l, chip, gsi)))
		return;
	do {
		bool again, level;

		SCHED_POINT();
		again = atomic_exchange(&l->again, false);
		SCHED_POINT();
		level = atomic_load(&l->pins) > 0;
		if (again || level != l->level) {
			l->level = level;
			chip->set_line(chip->opaque, gsi, level);
		}
		SCHED_POINT();
	} while (!atomic_compare_exchange_strong(&l->work, &seen, 0));
}

void irq_wire_add(struct irq_wire *l, const struct irq_chip *chip, unsigned gsi, int delta)
{
	SCHED_POINT();
	atomic_fetch_add(&l->pins, delta);
	update(l, chip, gsi, delta < 0);
}
