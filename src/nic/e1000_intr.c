/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: interrupts.
 *
 * Causes gather in ICR; the pin is driven while one of them is enabled in IMS. Loop and vCPUs change both: who did
 * drives the pin to what they say, and looks again until they agree, so the last one to look has it right.
 *
 * ITR (13.4.18) puts a time between two assertions of the pin: until it is over the cause waits in ICR, and a timer of
 * the loop, which owns it, drives the pin. The four delay timers (13.4.30, .31, .41, .44) hold a cause itself back: a
 * packet timer that each frame (or status report) starts anew, and an absolute one that the first of them starts. All
 * know only the VM's time.
 *
 * A pin that is high stays so, whatever ITR says, until the driver has read the cause or masked it.
 */
#include "base/sched.h"
#include "nic/e1000.h"

static bool wants(const struct e1000 *e)
{
	return atomic_load(&e->icr) & atomic_load(&e->ims);
}

/* May the pin go up now? If so the time to the next one begins. */
static bool may_assert(struct e1000 *e)
{
	uint32_t itr = e1000_get(e, E1000_ITR);
	uint64_t now;

	if (!itr)
		return true;
	now = clock_now(CLOCK_VM_NS);
	/* A clock that was set back (it is saved with the VM) must not hold the pin down for long. */
	if (now < atomic_load(&e->not_before) && atomic_load(&e->not_before) - now <= (uint64_t)itr * E1000_ITR_NS)
		return false;
	atomic_store(&e->not_before, now + (uint64_t)itr * E1000_ITR_NS);
	return true;
}

/* False: there is no waiting, for want of memory; an interrupt too early is better than none. */
static bool wait_for_itr(struct e1000 *e)
{
	if (loop_here(e->loop))
		return timer_arm(&e->itr_timer, atomic_load(&e->not_before)) == 0;
	loop_post(e->loop, &e->itr_post);
	return true;
}

static void update(struct e1000 *e)
{
	bool level;

	do {
		SCHED_POINT();
		level = wants(e);
		if (level && !atomic_load(&e->pin) && !may_assert(e) && wait_for_itr(e))
			return;
		SCHED_POINT();
		atomic_store(&e->pin, level);
		pci_set_intx(&e->pci, level);
		SCHED_POINT();
	} while (wants(e) != level);
}

static void on_itr(struct timer *t)
{
	update(container_of(t, struct e1000, itr_timer));
}

static void on_itr_post(struct post *p)
{
	struct e1000 *e = container_of(p, struct e1000, itr_post);

	if (!timer_armed(&e->itr_timer))
		update(e);
}

void e1000_cause(struct e1000 *e, uint32_t causes)
{
	/*
	 * What was known already changes nothing: the pin is up, or about to be. The exchange is a barrier too: who
	 * reads the cause from now on sees what was written to the rings before.
	 */
	if ((atomic_fetch_or(&e->icr, causes) & causes) != causes)
		update(e);
}

uint32_t e1000_icr_read(struct e1000 *e)
{
	uint32_t icr = atomic_exchange(&e->icr, 0);

	update(e);
	return icr;
}

void e1000_icr_clear(struct e1000 *e, uint32_t causes)
{
	atomic_fetch_and(&e->icr, ~causes);
	update(e);
}

void e1000_ims_change(struct e1000 *e, uint32_t set, uint32_t clear)
{
	if (set)
		atomic_fetch_or(&e->ims, set);
	if (clear)
		atomic_fetch_and(&e->ims, ~clear);
	update(e);
}

/* ---- delays ---- */

static void flush_rx(struct e1000 *e)
{
	timer_cancel(&e->rx_delay);
	timer_cancel(&e->rx_absolute);
	e1000_cause(e, ICR_RXT0);
}

static void flush_tx(struct e1000 *e)
{
	timer_cancel(&e->tx_delay);
	timer_cancel(&e->tx_absolute);
	e1000_cause(e, ICR_TXDW);
}

/* True: the cause comes later. */
static bool delay(struct e1000 *e, struct timer *each, struct timer *first, unsigned each_reg, unsigned first_reg)
{
	uint32_t ticks = e1000_get(e, each_reg), most = e1000_get(e, first_reg);
	uint64_t now;

	if (!ticks)
		return false;
	now = clock_now(CLOCK_VM_NS);
	/* ITR keeps the pin down for longer than that: what else would become of the delay costs a wake of the loop. */
	if (now + (uint64_t)ticks * E1000_DELAY_NS <= atomic_load(&e->not_before))
		return false;
	if (timer_arm(each, now + (uint64_t)ticks * E1000_DELAY_NS))
		return false;
	if (most && !timer_armed(first) && timer_arm(first, now + (uint64_t)most * E1000_DELAY_NS))
		return false;
	return true;
}

void e1000_rx_cause(struct e1000 *e)
{
	if (!delay(e, &e->rx_delay, &e->rx_absolute, E1000_RDTR, E1000_RADV))
		flush_rx(e);
}

void e1000_tx_cause(struct e1000 *e, bool delayable)
{
	if (!delayable || !delay(e, &e->tx_delay, &e->tx_absolute, E1000_TIDV, E1000_TADV))
		flush_tx(e);
}

static void on_rx_delay(struct timer *t)
{
	flush_rx(container_of(t, struct e1000, rx_delay));
}

static void on_rx_absolute(struct timer *t)
{
	flush_rx(container_of(t, struct e1000, rx_absolute));
}

static void on_tx_delay(struct timer *t)
{
	flush_tx(container_of(t, struct e1000, tx_delay));
}

static void on_tx_absolute(struct timer *t)
{
	flush_tx(container_of(t, struct e1000, tx_absolute));
}

static void flush(struct e1000 *e)
{
	if (timer_armed(&e->rx_delay) || timer_armed(&e->rx_absolute))
		flush_rx(e);
	if (timer_armed(&e->tx_delay) || timer_armed(&e->tx_absolute))
		flush_tx(e);
}

static void on_flush(struct post *p)
{
	flush(container_of(p, struct e1000, flush_post));
}

/* ---- state ---- */

void e1000_intr_flush(struct e1000 *e)
{
	if (atomic_load(&e->flush_post.queued))
		flush(e);
}

/* A pin that waits for its time goes on to wait, even if ITR would let it up now. */
void e1000_intr_go_on(struct e1000 *e)
{
	pci_set_intx(&e->pci, atomic_load(&e->pin));
	if (!timer_armed(&e->itr_timer))
		update(e);
}

/* ---- life ---- */

void e1000_intr_init(struct e1000 *e)
{
	timer_init(&e->itr_timer, e->loop, CLOCK_VM_NS, on_itr);
	timer_init(&e->rx_delay, e->loop, CLOCK_VM_NS, on_rx_delay);
	timer_init(&e->rx_absolute, e->loop, CLOCK_VM_NS, on_rx_absolute);
	timer_init(&e->tx_delay, e->loop, CLOCK_VM_NS, on_tx_delay);
	timer_init(&e->tx_absolute, e->loop, CLOCK_VM_NS, on_tx_absolute);
	post_init(&e->itr_post, on_itr_post);
	post_init(&e->flush_post, on_flush);
}

void e1000_intr_reset(struct e1000 *e)
{
	timer_cancel(&e->itr_timer);
	timer_cancel(&e->rx_delay);
	timer_cancel(&e->rx_absolute);
	timer_cancel(&e->tx_delay);
	timer_cancel(&e->tx_absolute);
	atomic_store(&e->not_before, 0);
}

void e1000_intr_cancel(struct e1000 *e)
{
	e1000_intr_reset(e);
	loop_unpost(e->loop, &e->itr_post);
	loop_unpost(e->loop, &e->flush_post);
}
