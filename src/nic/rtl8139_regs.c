/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The register file of rtl8139 (data sheet, chapter 5): 256 bytes, the same in I/O and memory space.
 *
 * Registers stand in a table, each with its place, width and what a write may change. An access of any size at any
 * place is that of all registers it touches, from the lowest on; bytes of a register that a write does not touch are
 * what a read would give, but for those that are cleared by ones, where they are zero. What stands nowhere in the table
 * reads as zero: drivers tell these chips from later ones by what is missing (RMS at 0xda, by iPXE's). All handlers run
 * on a vCPU under the control mutex.
 *
 * What still costs a vCPU an exit, and why: ISR and IMR must be answered and take effect at once; TSD and TSAD carry
 * values; CAPR too, and CR is asked for BUFE. TPPoll carries none: written with NPQ alone it is a doorbell.
 */
#include "nic/rtl8139.h"

struct reg {
	uint8_t off, width;
	uint8_t flags;
	uint32_t mask; /* bits of reg[] that a write changes, if there is no set() */
	uint32_t (*get)(const struct rtl8139 *r, unsigned off);
	void (*set)(struct rtl8139 *r, unsigned off, uint32_t v);
};

enum {
	LOCKED = 1 << 0, /* written only in 9346CR's configuration mode */
	ONES = 1 << 1,	 /* bytes that a write does not touch are written as zero */
	CPLUS = 1 << 2,	 /* not there without cplus */
	ADOPT = 1 << 3,	 /* the loop works by it */
};

/* ---- transmit slots, and what lies at the same place in C+ mode ---- */

/* The first two slots are the tally command, unless the transmitter runs in C mode. */
static bool tally_mode(const struct rtl8139 *r)
{
	return r->prop.cplus && (r->reg[R_CPCR] & CPCR_TX || !(r->reg[R_CR] & CR_TE));
}

static uint32_t get_tsd(const struct rtl8139 *r, unsigned off)
{
	unsigned i = (off - R_TSD0) / 4;

	return i < 2 && tally_mode(r) ? rtl_reg32(r, off) : atomic_load(&r->tsd[i]);
}

static void set_tsd(struct rtl8139 *r, unsigned off, uint32_t v)
{
	unsigned i = (off - R_TSD0) / 4;

	if (i < 2 && tally_mode(r)) {
		rtl_set_reg(r, off, 4, v & ~8u);
		if (!i && v & 8)
			rtl_tally_dump(r);
		return;
	}
	atomic_store(&r->tsd[i], v & (TSD_SIZE | TSD_OWN | TSD_ERTXTH));
	if (!(v & TSD_OWN))
		loop_post(r->loop, &r->tx_post);
}

static uint32_t get_tsad(const struct rtl8139 *r, unsigned off)
{
	return atomic_load(&r->tsad[(off - R_TSAD0) / 4]);
}

static void set_tsad(struct rtl8139 *r, unsigned off, uint32_t v)
{
	atomic_store(&r->tsad[(off - R_TSAD0) / 4], v);
	if (r->reg[R_CPCR] & CPCR_TX)
		rtl_adopt(r, off < R_THPDS ? RTL_RESTART_TX : RTL_RESTART_HIGH);
}

/* The summary of all slots: four bits each of OWN, TABT, TUN, TOK. */
static uint32_t get_summary(const struct rtl8139 *r, unsigned off)
{
	uint32_t v = 0;

	(void)off;
	for (unsigned i = 0; i < RTL_SLOTS; i++) {
		uint32_t t = atomic_load(&r->tsd[i]);

		v |= (t & TSD_OWN ? 1u : 0) << i | (t & TSD_TABT ? 1u : 0) << (4 + i) |
		     (t & TSD_TUN ? 1u : 0) << (8 + i) | (t & TSD_TOK ? 1u : 0) << (12 + i);
	}
	return v;
}

static uint32_t get_tdok(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->tdok);
}

/* ---- the receive buffer ---- */

static uint32_t ring_mask(const struct rtl8139 *r)
{
	return (8192u << (rtl_reg32(r, R_RCR) >> RCR_RBLEN_SHIFT & 3)) - 1;
}

static bool ring_empty(const struct rtl8139 *r)
{
	return ((atomic_load(&r->capr) + 16u) & ring_mask(r)) == (atomic_load(&r->cbr) & ring_mask(r));
}

static uint32_t get_capr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->capr);
}

static void set_capr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	atomic_store(&r->capr, (uint16_t)v);
	rtl_rx_unstarve(r);
}

static uint32_t get_cbr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->cbr);
}

/* ---- commands ---- */

static uint32_t get_cr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return r->reg[R_CR] | (ring_empty(r) ? CR_BUFE : 0u);
}

static void set_cr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	uint8_t old = r->reg[R_CR];
	unsigned restart = 0;

	(void)off;
	if (v & CR_RST) {
		rtl_chip_reset(r);
		return;
	}
	r->reg[R_CR] = v & (CR_RE | CR_TE);
	if (r->reg[R_CR] == old)
		return;
	if (v & ~(uint32_t)old & CR_RE)
		restart |= RTL_RESTART_RX;
	if (v & ~(uint32_t)old & CR_TE)
		restart |= RTL_RESTART_TX | RTL_RESTART_HIGH;
	rtl_adopt(r, restart);
}

static void set_cpcr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	uint16_t old = rtl_reg16(r, R_CPCR);
	unsigned restart = 0;

	(void)off;
	rtl_set_reg(r, R_CPCR, 2, v & 0x7b);
	if (v & ~(uint32_t)old & CPCR_RX)
		restart |= RTL_RESTART_RX;
	if (v & ~(uint32_t)old & CPCR_TX)
		restart |= RTL_RESTART_TX | RTL_RESTART_HIGH;
	rtl_adopt(r, restart);
}

static void set_rdsar(struct rtl8139 *r, unsigned off, uint32_t v)
{
	rtl_set_reg(r, off, 4, off == R_RDSAR ? v & ~0xffu : v);
	rtl_adopt(r, r->reg[R_CPCR] & CPCR_RX ? RTL_RESTART_RX : 0);
}

static void set_tppoll(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	if (v & POLL_SWINT)
		rtl_interrupt(r, INT_SW);
	atomic_fetch_or(&r->poll, (uint8_t)(v & (POLL_HIGH | POLL_NORMAL)));
	if (v & (POLL_HIGH | POLL_NORMAL))
		loop_post(r->loop, &r->tx_post);
}

/* ---- interrupts, timer, counters ---- */

static uint32_t get_imr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->imr);
}

/* A driver that polls has given descriptors back when it wants interrupts again. */
static void set_imr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	atomic_store(&r->imr, v & INT_ALL);
	rtl_drive_pin(r);
	rtl_rx_unstarve(r);
}

static uint32_t get_isr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->isr);
}

static void set_isr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	atomic_fetch_and(&r->isr, (uint16_t)~v);
	rtl_drive_pin(r);
	rtl_rx_unstarve(r);
}

static uint32_t get_tctr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return rtl_timer_count(r);
}

static void timer_written(struct rtl8139 *r, uint64_t now)
{
	atomic_store(&r->timer_written, now);
	loop_post(r->loop, &r->timer_post);
}

static void set_tctr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	(void)v;
	atomic_store(&r->timer_base, clock_now(CLOCK_VM_NS));
	timer_written(r, atomic_load(&r->timer_base));
}

static uint32_t get_timer_int(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->timer_int);
}

static void set_timer_int(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	atomic_store(&r->timer_int, v);
	timer_written(r, clock_now(CLOCK_VM_NS));
}

static uint32_t get_mpc(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return atomic_load(&r->missed) & 0xffffff;
}

static void set_mpc(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	(void)v;
	atomic_store(&r->missed, 0);
}

/* ---- configuration ---- */

static uint32_t get_tcr(const struct rtl8139 *r, unsigned off)
{
	return rtl_reg32(r, off) | (r->prop.cplus ? TCR_HWID_CPLUS : TCR_HWID_C);
}

static uint32_t get_9346cr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return rtl_eeprom_read(r);
}

static void set_9346cr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	rtl_eeprom_write(r, (uint8_t)v);
}

static uint32_t get_msr(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return rtl_msr_read(r);
}

static uint32_t get_revision(const struct rtl8139 *r, unsigned off)
{
	(void)off;
	return r->pci.config[PCI_REVISION_ID];
}

static void set_bmcr(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)off;
	rtl_bmcr_write(r, (uint16_t)v);
}

static uint32_t get_phy(const struct rtl8139 *r, unsigned off)
{
	return rtl_phy_read(r, off);
}

/* A write that changes nothing, for registers that are read only and need no reg[]. */
static void no_set(struct rtl8139 *r, unsigned off, uint32_t v)
{
	(void)r;
	(void)off;
	(void)v;
}

/* ---- the table ---- */

#define STORE(off, width, mask)                 \
	{                                       \
		off, width, 0, mask, NULL, NULL \
	}
#define STORE_IF(off, width, flags, mask)           \
	{                                           \
		off, width, flags, mask, NULL, NULL \
	}
#define PAIR(off, mask) STORE_IF(off, 4, ADOPT, mask), STORE_IF((off) + 4, 4, ADOPT, mask)
#define WAKEUP(i)	STORE(R_WAKEUP0 + 8 * (i), 4, UINT32_MAX), STORE(R_WAKEUP0 + 8 * (i) + 4, 4, UINT32_MAX)

static const struct reg regs[] = {
	PAIR(R_IDR0, UINT32_MAX),
	PAIR(R_MAR0, UINT32_MAX),
	{ R_TSD0, 4, 0, 0, get_tsd, set_tsd },
	{ R_TSD0 + 4, 4, 0, 0, get_tsd, set_tsd },
	{ R_TSD0 + 8, 4, 0, 0, get_tsd, set_tsd },
	{ R_TSD0 + 12, 4, 0, 0, get_tsd, set_tsd },
	{ R_TSAD0, 4, 0, 0, get_tsad, set_tsad },
	{ R_TSAD0 + 4, 4, 0, 0, get_tsad, set_tsad },
	{ R_TSAD0 + 8, 4, 0, 0, get_tsad, set_tsad },
	{ R_TSAD0 + 12, 4, 0, 0, get_tsad, set_tsad },
	STORE_IF(R_RBSTART, 4, ADOPT, UINT32_MAX),
	STORE(R_ERBCR, 2, 0),
	STORE(R_ERSR, 1, 0),
	{ R_CR, 1, 0, 0, get_cr, set_cr },
	{ R_CAPR, 2, 0, 0, get_capr, set_capr },
	{ R_CBR, 2, 0, 0, get_cbr, no_set },
	{ R_IMR, 2, 0, 0, get_imr, set_imr },
	{ R_ISR, 2, ONES, 0, get_isr, set_isr },
	{ R_TCR, 4, ADOPT, 0x030f07f0, get_tcr, NULL },
	STORE_IF(R_RCR, 4, ADOPT, 0x0f03ffbf),
	{ R_TCTR, 4, 0, 0, get_tctr, set_tctr },
	{ R_MPC, 4, 0, 0, get_mpc, set_mpc },
	{ R_9346CR, 1, 0, 0, get_9346cr, set_9346cr },
	STORE(R_CONFIG0, 1, 0),
	STORE_IF(R_CONFIG1, 1, LOCKED, 0xf3),
	{ R_TIMERINT, 4, 0, 0, get_timer_int, set_timer_int },
	{ R_MSR, 1, 0, 0xc0, get_msr, NULL },
	STORE_IF(R_CONFIG3, 1, LOCKED, 0x70),
	STORE_IF(R_CONFIG4, 1, LOCKED, 0xf5),
	STORE(R_HLTCLK, 1, 0xff),
	STORE(R_MULINT, 2, 0x0fff),
	{ R_RERID, 1, 0, 0, get_revision, no_set },
	{ R_TSAD, 2, 0, 0, get_summary, no_set },
	{ R_BMCR, 2, 0, 0, NULL, set_bmcr },
	{ R_BMSR, 2, 0, 0, get_phy, no_set },
	STORE(R_ANAR, 2, 0x2fff),
	{ R_ANLPAR, 2, 0, 0, get_phy, no_set },
	{ R_ANER, 2, 0, 0, get_phy, no_set },
	STORE(R_DIS, 2, 0),
	STORE(R_FCSC, 2, 0),
	STORE(R_NWAYTR, 2, 0x0080),
	STORE(R_REC, 2, 0),
	{ R_CSCR, 2, 0, 0xffff, get_phy, NULL },
	STORE(R_PHY1_PARM, 4, UINT32_MAX),
	STORE(R_TW_PARM, 4, UINT32_MAX),
	STORE(R_PHY2_PARM, 1, 0xff),
	{ R_TDOKLADDR, 2, CPLUS, 0, get_tdok, no_set },
	STORE(R_CRC0, 4, UINT32_MAX),
	STORE(R_CRC0 + 4, 4, UINT32_MAX),
	WAKEUP(0),
	WAKEUP(1),
	WAKEUP(2),
	WAKEUP(3),
	WAKEUP(4),
	WAKEUP(5),
	WAKEUP(6),
	WAKEUP(7),
	STORE(R_LSBCRC0, 4, UINT32_MAX),
	STORE(R_LSBCRC0 + 4, 4, UINT32_MAX),
	STORE(R_FLASH, 4, 0),
	STORE(R_CONFIG5, 1, CONFIG5_MASK),
	{ R_TPPOLL, 1, CPLUS, 0, NULL, set_tppoll },
	{ R_CPCR, 2, CPLUS, 0, NULL, set_cpcr },
	STORE_IF(R_MITIGATE, 2, CPLUS, 0xffff),
	{ R_RDSAR, 4, CPLUS, 0, NULL, set_rdsar },
	{ R_RDSAR + 4, 4, CPLUS, 0, NULL, set_rdsar },
	STORE_IF(R_MTPS, 1, CPLUS, 0x3f),
};

/* The register that has a byte: its place in the table + 1, or 0. Filled in once, before there is a device. */
static uint8_t reg_at[RTL_REGS];

static __attribute__((constructor)) void fill_reg_at(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		memset(reg_at + regs[i].off, (int)i + 1, regs[i].width);
}

static const struct reg *reg_find(const struct rtl8139 *r, uint64_t off)
{
	const struct reg *g = off < RTL_REGS && reg_at[off] ? &regs[reg_at[off] - 1] : NULL;

	return g && g->flags & CPLUS && !r->prop.cplus ? NULL : g;
}

/* ---- accesses ---- */

static uint32_t load(const struct rtl8139 *r, const struct reg *g)
{
	uint32_t v = 0;

	if (g->get)
		return g->get(r, g->off);
	for (unsigned i = g->width; i-- > 0;)
		v = v << 8 | r->reg[g->off + i];
	return v;
}

static void store(struct rtl8139 *r, const struct reg *g, uint32_t v)
{
	uint32_t old = 0;

	if (g->set) {
		g->set(r, g->off, v);
		return;
	}
	if (g->flags & LOCKED && rtl_eem(r) != EEM_CONFIG)
		return;
	for (unsigned i = g->width; i-- > 0;)
		old = old << 8 | r->reg[g->off + i];
	v = (old & ~g->mask) | (v & g->mask);
	rtl_set_reg(r, g->off, g->width, v);
	if (g->flags & ADOPT && v != old)
		rtl_adopt(r, 0);
}

static uint64_t regs_read(void *opaque, uint64_t off, unsigned size)
{
	const struct rtl8139 *r = opaque;
	uint64_t v = 0, end = off + size;

	for (uint64_t at = off; at < end;) {
		const struct reg *g = reg_find(r, at);
		uint64_t w;

		if (!g) {
			at++;
			continue;
		}
		w = load(r, g);
		v |= (g->off < off ? w >> 8 * (off - g->off) : w << 8 * (g->off - off));
		at = (uint64_t)g->off + g->width;
	}
	return size < 8 ? v & ((1ULL << 8 * size) - 1) : v;
}

/* The register's new value of an access to [off, off + size). */
static uint32_t merge(const struct rtl8139 *r, const struct reg *g, uint64_t off, uint64_t value, unsigned size)
{
	uint32_t v;

	if (off <= g->off && off + size >= (uint64_t)g->off + g->width)
		return (uint32_t)(value >> 8 * (g->off - off));
	v = g->flags & ONES ? 0 : load(r, g);
	for (unsigned i = 0; i < g->width; i++) {
		uint64_t at = g->off + i;

		if (at >= off && at < off + size)
			v = (v & ~(0xffu << 8 * i)) | (uint32_t)(value >> 8 * (at - off) & 0xff) << 8 * i;
	}
	return v;
}

static void regs_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	struct rtl8139 *r = opaque;
	uint64_t end = off + size;

	for (uint64_t at = off; at < end;) {
		const struct reg *g = reg_find(r, at);

		if (!g) {
			at++;
			continue;
		}
		store(r, g, merge(r, g, off, value, size));
		at = (uint64_t)g->off + g->width;
	}
}

const struct region_ops rtl_region_ops = {
	.read = regs_read,
	.write = regs_write,
	.min = 1,
	.max = 4,
	.unaligned = true,
};

/* ---- resets ---- */

/* Addresses (IDR, MAR), configuration, transceiver and wake-up patterns stay (data sheet: CR). */
void rtl_chip_reset(struct rtl8139 *r)
{
	static const struct {
		uint8_t from, to;
	} cleared[] = { { R_RBSTART, R_9346CR }, { R_MULINT, R_RERID }, { R_TPPOLL, 0xff } };

	for (unsigned i = 0; i < ARRAY_SIZE(cleared); i++)
		memset(r->reg + cleared[i].from, 0, (size_t)cleared[i].to - cleared[i].from + 1);
	memset(r->reg + R_TSD0, 0, R_RBSTART - R_TSD0);
	rtl_set_reg(r, R_TCR, 4, 0x03000000); /* the standard's gap between frames */
	eeprom93_pins(&r->eeprom, false, false, false);
	atomic_store(&r->imr, 0);
	atomic_store(&r->timer_int, 0);
	atomic_store(&r->timer_base, clock_now(CLOCK_VM_NS));
	timer_written(r, atomic_load(&r->timer_base));
	rtl_adopt(r, RTL_RESTART_ALL);
	/* Behind the loop's last word. */
	atomic_store(&r->isr, 0);
	atomic_store(&r->missed, 0);
	atomic_store(&r->tdok, 0);
	atomic_store(&r->poll, 0);
	rtl_drive_pin(r);
}

void rtl_power_on(struct rtl8139 *r)
{
	memset(r->reg, 0, sizeof(r->reg));
	eeprom93_power_on(&r->eeprom);
	rtl_eeprom_load(r);
	rtl_phy_reset(r);
	rtl_chip_reset(r);
	/* Behind what was still under way. */
	rtl_tally_reset(r);
}
