/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of rtl8139. Frames under way are in the guest's rings, unmarked until they went: a copy finds them there,
 * by the places that its transmitter and receiver have reached. The loop's configuration follows from the registers.
 */
#include <errno.h>

#include "nic/rtl8139.h"

#define F(member) STATE(struct rtl8139, member)
#define A(member) STATE_ARRAY(struct rtl8139, member)

static const struct state_field fields[] = {
	A(reg),
	A(eeprom.word),
	STATE_BOOL(struct rtl8139, eeprom.cs),
	STATE_BOOL(struct rtl8139, eeprom.sk),
	STATE_BOOL(struct rtl8139, eeprom.out),
	STATE_BOOL(struct rtl8139, eeprom.writable),
	F(eeprom.phase),
	F(eeprom.bits),
	F(eeprom.opcode),
	F(eeprom.address),
	F(eeprom.shift),
	A(tsd),
	A(tsad),
	F(isr),
	F(imr),
	F(capr),
	F(cbr),
	F(tdok),
	F(missed),
	F(poll),
	F(timer_base),
	F(timer_written),
	F(timer_int),
	F(tx.slot),
	A(tx.index),
	F(tx.polled),
	F(rx.wp),
	F(rx.index),
	F(tally.tx_ok),
	F(tally.rx_ok),
	F(tally.tx_err),
	F(tally.rx_phys),
	F(tally.rx_bcast),
	F(tally.rx_err),
	F(tally.rx_mcast),
	F(tally.missed),
	F(tally.tx_abort),
};

static int refuse(struct error *err, const char *field)
{
	return fail(err, EINVAL, "%s is none that this device can have", field);
}

/* Registers are masked where they are used; places are not. */
static int check(const struct rtl8139 *r, struct error *err)
{
	uint32_t ring = 8192u << (rtl_reg32(r, R_RCR) >> RCR_RBLEN_SHIFT & 3);

	if (!eeprom93_sane(&r->eeprom))
		return refuse(err, "eeprom");
	if (r->tx.slot >= RTL_SLOTS)
		return refuse(err, "tx.slot");
	if (r->tx.index[0] >= RTL_DESCS || r->tx.index[1] >= RTL_DESCS)
		return refuse(err, "tx.index");
	if (r->rx.index >= RTL_DESCS)
		return refuse(err, "rx.index");
	if (r->rx.wp >= ring || r->rx.wp % 4 || atomic_load(&r->cbr) != (uint16_t)r->rx.wp)
		return refuse(err, "rx.wp");
	if (atomic_load(&r->timer_written) < atomic_load(&r->timer_base) ||
	    atomic_load(&r->timer_written) > clock_now(CLOCK_VM_NS))
		return refuse(err, "timer_written");
	if ((atomic_load(&r->isr) | atomic_load(&r->imr)) & ~INT_ALL)
		return refuse(err, "isr or imr");
	if (r->tx.polled & ~(POLL_HIGH | POLL_NORMAL))
		return refuse(err, "tx.polled");
	if (r->reg[R_CR] & ~(CR_RE | CR_TE) || rtl_reg16(r, R_CPCR) & ~0x7b)
		return refuse(err, "reg");
	return 0;
}

static int loaded(void *object, struct error *err)
{
	struct rtl8139 *r = to_rtl8139(container_of((struct device *)object, struct pci_device, dev));
	int ret = check(r, err);

	if (ret)
		return ret;
	/* A doorbell may have been signalled that nobody had come to yet. */
	atomic_fetch_or(&r->poll, POLL_NORMAL);
	rtl_adopt(r, 0);
	loop_post(r->loop, &r->timer_post);
	rtl_drive_pin(r);
	return 0;
}

const struct state_table rtl_state = { "rtl8139", fields, ARRAY_SIZE(fields), NULL, loaded };
