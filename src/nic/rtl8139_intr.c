/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts of rtl8139 (data sheet: ISR, IMR) and its timer (TCTR, TimerInt).
 *
 * Status, mask and pin are changed by the loop and by vCPUs at the same time. After any change of status or mask, who
 * made it drives the pin to what they say and looks again until both agree: whoever drove the pin last saw what is
 * there now.
 *
 * The timer counts cycles of a PCI clock of 33 MHz, of the VM's time; its count is never kept, only when it was 0.
 */
#include "base/sched.h"
#include "nic/rtl8139.h"

#define TIMER_MHZ 33

static bool wanted(struct rtl8139 *r)
{
	return atomic_load(&r->isr) & atomic_load(&r->imr);
}

void rtl_drive_pin(struct rtl8139 *r)
{
	bool level;

	do {
		SCHED_POINT();
		level = wanted(r);
		SCHED_POINT();
		pci_set_intx(&r->pci, level);
		SCHED_POINT();
	} while (wanted(r) != level);
}

void rtl_interrupt(struct rtl8139 *r, unsigned bits)
{
	/* What the status says already the pin says too. */
	if ((atomic_fetch_or(&r->isr, (uint16_t)bits) & bits) != bits)
		rtl_drive_pin(r);
}

/* ---- the timer ---- */

static uint64_t ticks_since(const struct rtl8139 *r, uint64_t now)
{
	uint64_t base = atomic_load(&r->timer_base);

	return now > base ? (now - base) * TIMER_MHZ / 1000 : 0;
}

uint32_t rtl_timer_count(const struct rtl8139 *r)
{
	return (uint32_t)ticks_since(r, clock_now(CLOCK_VM_NS));
}

/*
 * The count is 32 bits wide: TimerInt comes by once in 2^32 ticks, for the first time after `from`. That may be over by
 * now: the loop comes to it later than the driver wrote.
 */
static void arm(struct rtl8139 *r, uint64_t from)
{
	uint32_t at = atomic_load(&r->timer_int);
	uint64_t ticks = ticks_since(r, from), next;

	if (!at) {
		timer_cancel(&r->timer);
		return;
	}
	next = (ticks & ~(uint64_t)UINT32_MAX) | at;
	if (next <= ticks)
		next += 1ULL << 32;
	timer_arm(&r->timer, atomic_load(&r->timer_base) + (next * 1000 + TIMER_MHZ - 1) / TIMER_MHZ);
}

void rtl_timer_post(struct post *p)
{
	struct rtl8139 *r = container_of(p, struct rtl8139, timer_post);

	arm(r, atomic_load(&r->timer_written));
}

void rtl_timer_fired(struct timer *t)
{
	struct rtl8139 *r = container_of(t, struct rtl8139, timer);
	uint64_t due = t->deadline;

	if (atomic_load(&r->timer_int))
		rtl_interrupt(r, INT_TIMEOUT);
	arm(r, due);
}
