/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of e1000: registers, EEPROM, PHY, statistics, interrupts with the times that their timers have left, the
 * contexts that are in force where the transmit ring's head is, and the frame that is held for want of descriptors.
 *
 * Frames that wait to be sent, whole or in part, are in the guest's ring, behind TDH; descriptors that were fetched
 * ahead are, behind RDH. The copy finds both there. Whether the cable is in is the copy's own matter.
 */
#include <errno.h>

#include "nic/e1000.h"

#define F(member)    STATE(struct e1000, member)
#define FLAG(member) STATE_BOOL(struct e1000, member)
#define A(member)    STATE_ARRAY(struct e1000, member)
#define CONTEXT(i)                                                                                             \
	F(tx.context[i].ipcss), F(tx.context[i].ipcso), F(tx.context[i].ipcse), F(tx.context[i].tucss),        \
		F(tx.context[i].tucso), F(tx.context[i].tucse), F(tx.context[i].paylen), F(tx.context[i].mss), \
		F(tx.context[i].hdrlen), FLAG(tx.context[i].ip4), FLAG(tx.context[i].tcp)

static const struct state_field fields[] = {
	A(reg),
	F(tails[0].value),
	F(tails[1].value),
	F(io_address),
	F(icr),
	F(ims),
	FLAG(pin),
	A(times.left),
	F(times.quiet),
	A(phy),
	F(link),
	FLAG(link_lost),
	A(eeprom.word),
	FLAG(eeprom.cs),
	FLAG(eeprom.sk),
	FLAG(eeprom.out),
	FLAG(eeprom.writable),
	F(eeprom.phase),
	F(eeprom.bits),
	F(eeprom.opcode),
	F(eeprom.address),
	F(eeprom.shift),
	A(stat),
	A(stat_base),
	CONTEXT(CONTEXT_SUM),
	CONTEXT(CONTEXT_TSO),
	FLAG(tx.skipping),
	FLAG(rx.took),
	F(rx.causes),
	F(rx.held_len),
	F(rx.held_body),
	F(rx.held_info.status),
	F(rx.held_info.tag),
	FLAG(rx.held_info.strip),
	STATE_BEHIND(struct e1000, rx.flat, rx.held_all, E1000_RX_FRAME_MAX),
};

/* ---- times ---- */

static const struct {
	uint32_t offset;
	uint64_t most; /* ns that it can have left */
} timers[E1000_TIMERS] = {
	[E1000_TIMER_ITR] = { offsetof(struct e1000, itr_timer), 0xffff * E1000_ITR_NS },
	[E1000_TIMER_RDTR] = { offsetof(struct e1000, rx_delay), 0xffff * E1000_DELAY_NS },
	[E1000_TIMER_RADV] = { offsetof(struct e1000, rx_absolute), 0xffff * E1000_DELAY_NS },
	[E1000_TIMER_TIDV] = { offsetof(struct e1000, tx_delay), 0xffff * E1000_DELAY_NS },
	[E1000_TIMER_TADV] = { offsetof(struct e1000, tx_absolute), 0xffff * E1000_DELAY_NS },
	[E1000_TIMER_PATIENCE] = { offsetof(struct e1000, rx.patience), E1000_PATIENCE_NS },
	[E1000_TIMER_NEGOTIATION] = { offsetof(struct e1000, negotiation), E1000_NEGOTIATION_NS },
};

static struct timer *timer_of(struct e1000 *e, unsigned i)
{
	return (struct timer *)(void *)((uint8_t *)e + timers[i].offset);
}

static uint64_t until(uint64_t then, uint64_t now, uint64_t most)
{
	return then > now ? MIN(then - now, most) : 0;
}

static void note_times(void *arg)
{
	struct e1000 *e = arg;
	uint64_t now = clock_now(CLOCK_VM_NS);

	e1000_intr_flush(e);
	for (unsigned i = 0; i < E1000_TIMERS; i++) {
		const struct timer *t = timer_of(e, i);

		e->times.left[i] = timer_armed(t) ? until(t->deadline, now, timers[i].most) + 1 : 0;
	}
	e->times.quiet = until(atomic_load(&e->not_before), now, timers[E1000_TIMER_ITR].most);
}

static void saving(void *object)
{
	struct e1000 *e = object;

	loop_call(e->loop, note_times, e);
}

/* ---- loading ---- */

static bool times_sane(const struct e1000 *e)
{
	for (unsigned i = 0; i < E1000_TIMERS; i++)
		if (e->times.left[i] > timers[i].most + 1)
			return false;
	return e->times.quiet <= timers[E1000_TIMER_ITR].most;
}

static bool interrupts_sane(const struct e1000 *e)
{
	return !((atomic_load(&e->icr) | atomic_load(&e->ims)) & ~ICR_ALL);
}

static bool stats_sane(const struct e1000 *e)
{
	for (unsigned i = 0; i < E1000_STATS; i++)
		if (e->stat_base[i] > counter_get(&e->stat[i]))
			return false;
	return true;
}

static bool contexts_sane(const struct e1000 *e)
{
	return e->tx.context[CONTEXT_SUM].paylen <= 0xfffff && e->tx.context[CONTEXT_TSO].paylen <= 0xfffff;
}

static bool places_sane(const struct e1000 *e)
{
	return e->io_address <= 0xfffff && atomic_load(&e->tails[0].value) <= UINT32_MAX &&
	       atomic_load(&e->tails[1].value) <= UINT32_MAX;
}

static const char *what_is_wrong(const struct e1000 *e)
{
	if (!e1000_regs_sane(e))
		return "reg";
	if (!eeprom93_sane(&e->eeprom))
		return "eeprom";
	if (!places_sane(e))
		return "io_address or tails";
	if (!interrupts_sane(e))
		return "icr or ims";
	if (!times_sane(e))
		return "times";
	if (!e1000_phy_sane(e))
		return "phy or link";
	if (!stats_sane(e))
		return "stat_base";
	if (!contexts_sane(e))
		return "tx.context";
	return e1000_rx_sane(e) ? NULL : "rx";
}

/* What a reset does not put in order. */
static void forget(struct e1000 *e)
{
	for (unsigned off = 0; off < E1000_REG_END; off += 4)
		e1000_put(e, off, 0);
	e->rx.held_all = 0;
	for (unsigned i = 0; i < E1000_STATS; i++)
		e->stat_base[i] = counter_get(&e->stat[i]);
}

static void go_on(void *arg)
{
	struct e1000 *e = arg;
	uint64_t now = clock_now(CLOCK_VM_NS);

	for (unsigned i = 0; i < E1000_TIMERS; i++)
		if (e->times.left[i])
			timer_arm(timer_of(e, i), now + e->times.left[i] - 1);
	atomic_store(&e->not_before, e->times.quiet ? now + e->times.quiet : 0);
	e->tx.head = e1000_get(e, E1000_TDH);
	e1000_rx_go_on(e);
	e1000_phy_go_on(e);
	e1000_intr_go_on(e);
}

/* DMA is off: rings and buffers are looked at when it comes on, as after each time that it was off. */
static int loaded(void *object, struct error *err)
{
	struct e1000 *e = to_e1000(container_of((struct device *)object, struct pci_device, dev));
	const char *field = what_is_wrong(e);

	if (field) {
		forget(e);
		return fail(err, EINVAL, "%s is none that this device can have", field);
	}
	loop_call(e->loop, go_on, e);
	return 0;
}

const struct state_table e1000_state = { "e1000", fields, ARRAY_SIZE(fields), saving, loaded };
