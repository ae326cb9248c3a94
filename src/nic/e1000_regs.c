/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: the register file (chapter 13), as a table: where, what it holds after a reset, which bits can be written, and
 * what else an access does. Registers that are not in the table read as 0.
 *
 * Registers are 32 bits wide and to be read and written whole. A shorter read shows its part of the word, with
 * all effects of a read; a shorter write does nothing.
 *
 * The I/O BAR (13.2.2) has two registers: IOADDR holds the offset of the register that IODATA reads and writes.
 */
#include "base/sched.h"
#include "nic/e1000.h"

#define IOADDR 0
#define IODATA 4

struct reg {
	uint16_t offset, count, stride; /* `count` words, `stride` bytes apart; 0: one */
	uint32_t reset, writable;
	uint32_t (*read)(struct e1000 *e, unsigned off);
	void (*write)(struct e1000 *e, unsigned off, uint32_t v);
};

/* ---- effects ---- */

static void refresh_queues(void *arg)
{
	struct e1000 *e = arg;

	e1000_rx_refresh(e);
	e1000_tx_refresh(e);
}

static const struct reg *reg_at(unsigned off);

static void store(struct e1000 *e, unsigned off, uint32_t v)
{
	e1000_put(e, off, v & reg_at(off)->writable);
}

/* What the queues hold depends on it: it changes when the loop has left what it was doing, and it sees it at once. */
static void write_queue(struct e1000 *e, unsigned off, uint32_t v)
{
	store(e, off, v);
	loop_call(e->loop, refresh_queues, e);
}

static void set_rx_head(void *arg)
{
	struct e1000 *e = arg;

	e->rx.head = e1000_get(e, E1000_RDH);
	e1000_rx_refresh(e);
}

static void set_tx_head(void *arg)
{
	struct e1000 *e = arg;

	e1000_tx_reset(e, NET_DROP_RESET);
	e->tx.head = e1000_get(e, E1000_TDH);
	e1000_tx_refresh(e);
}

static void write_head(struct e1000 *e, unsigned off, uint32_t v)
{
	store(e, off, v);
	loop_call(e->loop, off == E1000_TDH ? set_tx_head : set_rx_head, e);
}

static uint32_t read_tail(struct e1000 *e, unsigned off)
{
	return e1000_tail(e, off == E1000_TDT);
}

/* By another way than the register's own word in the memory BAR. */
static void write_tail(struct e1000 *e, unsigned off, uint32_t v)
{
	struct posted_register *r = &e->tails[off == E1000_TDT];

	atomic_store(&r->value, v);
	r->posted(r);
}

static void write_ctrl(struct e1000 *e, unsigned off, uint32_t v)
{
	uint32_t old = e1000_get(e, E1000_CTRL);
	bool up = atomic_load(&e->link) == E1000_LINK_UP;

	(void)off;
	if (v & CTRL_RST) {
		e1000_software_reset(e);
		if (v & CTRL_PHY_RST)
			e1000_phy_reset(e);
		return;
	}
	store(e, E1000_CTRL, v);
	if (v & CTRL_PHY_RST)
		e1000_phy_reset(e);
	else if (up && ((old ^ v) & CTRL_SLU))
		e1000_cause(e, ICR_LSC);
	if ((old ^ v) & CTRL_VME)
		loop_call(e->loop, refresh_queues, e);
}

static uint32_t read_ctrl(struct e1000 *e, unsigned off)
{
	(void)off;
	return e1000_get(e, E1000_CTRL);
}

static void write_ctrl_ext(struct e1000 *e, unsigned off, uint32_t v)
{
	store(e, off, v);
	if (v & CTRL_EXT_EE_RST)
		e1000_load_address(e);
}

static uint32_t read_status(struct e1000 *e, unsigned off)
{
	(void)off;
	e1000_phy_look(e);
	return e1000_status(e);
}

static uint32_t read_eecd(struct e1000 *e, unsigned off)
{
	(void)off;
	return e1000_eecd_read(e);
}

static void write_eecd(struct e1000 *e, unsigned off, uint32_t v)
{
	store(e, off, v);
	e1000_eecd_write(e, v);
}

static void write_eerd(struct e1000 *e, unsigned off, uint32_t v)
{
	e1000_put(e, off, v & EERD_START ? e1000_eerd(e, v) : v & ~EERD_DONE);
}

static void write_mdic(struct e1000 *e, unsigned off, uint32_t v)
{
	e1000_put(e, off, e1000_mdic(e, v));
	if (v & MDIC_INTR)
		e1000_cause(e, ICR_MDAC);
}

static uint32_t read_icr(struct e1000 *e, unsigned off)
{
	(void)off;
	return e1000_icr_read(e);
}

static void write_icr(struct e1000 *e, unsigned off, uint32_t v)
{
	(void)off;
	e1000_icr_clear(e, v);
}

static void write_ics(struct e1000 *e, unsigned off, uint32_t v)
{
	(void)off;
	e1000_cause(e, v & ICR_ALL);
}

static uint32_t read_ims(struct e1000 *e, unsigned off)
{
	(void)off;
	return atomic_load(&e->ims);
}

static void write_ims(struct e1000 *e, unsigned off, uint32_t v)
{
	(void)off;
	e1000_ims_change(e, v & ICR_ALL, 0);
}

static void write_imc(struct e1000 *e, unsigned off, uint32_t v)
{
	(void)off;
	e1000_ims_change(e, 0, v);
}

/* FPD: what is delayed comes now (13.4.30). */
static void write_delay(struct e1000 *e, unsigned off, uint32_t v)
{
	store(e, off, v);
	if (v & RDTR_FPD)
		loop_post(e->loop, &e->flush_post);
}

/* What receive does not have, transmit has: 64 KiB in all (13.4.16). */
static uint32_t read_pba(struct e1000 *e, unsigned off)
{
	uint32_t rx = e1000_get(e, off);

	return rx | (64 - MIN(rx, 64u)) << 16;
}

static uint32_t read_stat(struct e1000 *e, unsigned off)
{
	return e1000_stat_read(e, off);
}

static void write_1_clears(struct e1000 *e, unsigned off, uint32_t v)
{
	e1000_put(e, off, e1000_get(e, off) & ~v);
}

static uint32_t read_zero(struct e1000 *e, unsigned off)
{
	(void)e, (void)off;
	return 0;
}

/* ---- the table ---- */

#define ALL 0xffffffffu
/* RW(offset, reset, writable), of tables (offset, words, bytes apart, writable) */
#define RW(off, res, mask)                                          \
	{                                                           \
		.offset = (off), .reset = (res), .writable = (mask) \
	}
#define TABLE(off, n, step, mask)                                                   \
	{                                                                           \
		.offset = (off), .count = (n), .stride = (step), .writable = (mask) \
	}
#define QUEUE(off, mask)                                                  \
	{                                                                 \
		.offset = (off), .writable = (mask), .write = write_queue \
	}

static const struct reg regs[] = {
	{ .offset = E1000_CTRL, .reset = CTRL_FD | CTRL_SPEED_1G, .writable = 0x5bfc1be9, .write = write_ctrl },
	{ .offset = E1000_CTRL_DUP, .read = read_ctrl, .write = write_ctrl },
	{ .offset = E1000_STATUS, .read = read_status },
	{ .offset = E1000_EECD,
	  .writable = EECD_SK | EECD_CS | EECD_DI | EECD_FWE | EECD_REQ,
	  .read = read_eecd,
	  .write = write_eecd },
	{ .offset = E1000_EERD, .writable = ALL, .write = write_eerd },
	{ .offset = E1000_CTRL_EXT, .writable = 0x0003cfff & ~CTRL_EXT_EE_RST, .write = write_ctrl_ext },
	RW(E1000_FLA, 0, 0),
	{ .offset = E1000_MDIC, .reset = MDIC_READY, .writable = ALL, .write = write_mdic },
	RW(E1000_FCAL, 0x00c28001, ALL),
	RW(E1000_FCAH, 0x0100, 0xffff),
	RW(E1000_FCT, 0x8808, 0xffff),
	RW(E1000_VET, 0, 0xffff),
	{ .offset = E1000_ICR, .read = read_icr, .write = write_icr },
	RW(E1000_ITR, 0, 0xffff),
	{ .offset = E1000_ICS, .read = read_zero, .write = write_ics },
	{ .offset = E1000_IMS, .read = read_ims, .write = write_ims },
	{ .offset = E1000_IMC, .read = read_zero, .write = write_imc },
	QUEUE(E1000_RCTL, 0x06dfb3fe),
	RW(E1000_FCTTV, 0, 0xffff),
	RW(E1000_TXCW, 0, 0xc000ffff),
	RW(E1000_RXCW, 0, 0),
	QUEUE(E1000_TCTL, 0x03fffffa),
	RW(E1000_TIPG, 0x00602008, 0x3fffffff),
	RW(E1000_TBT, 0, ALL),
	RW(E1000_AIT, 0, 0xffff),
	RW(E1000_LEDCTL, 0x07068302, 0xcfcfcfcf),
	{ .offset = E1000_PBA, .reset = 0x30, .writable = 0x7f, .read = read_pba },
	RW(E1000_FCRTL, 0, 0x8000fff8),
	RW(E1000_FCRTH, 0, 0x0000fff8),
	RW(E1000_RDFH, 0, 0x1fff),
	RW(E1000_RDFT, 0, 0x1fff),
	RW(E1000_RDFHS, 0, 0x1fff),
	RW(E1000_RDFTS, 0, 0x1fff),
	RW(E1000_RDFPC, 0, 0x1fff),
	QUEUE(E1000_RDBAL, 0xfffffff0),
	QUEUE(E1000_RDBAH, ALL),
	QUEUE(E1000_RDLEN, 0x000fff80),
	{ .offset = E1000_RDH, .writable = 0xffff, .write = write_head },
	{ .offset = E1000_RDT, .read = read_tail, .write = write_tail },
	{ .offset = E1000_RDTR, .writable = 0xffff, .write = write_delay },
	RW(E1000_RXDCTL, 0x01010000, 0x013f3f3f),
	RW(E1000_RADV, 0, 0xffff),
	RW(E1000_RSRPD, 0, 0x0fff),
	RW(E1000_TXDMAC, 1, 1),
	RW(E1000_TDFH, 0, 0x1fff),
	RW(E1000_TDFT, 0, 0x1fff),
	RW(E1000_TDFHS, 0, 0x1fff),
	RW(E1000_TDFTS, 0, 0x1fff),
	RW(E1000_TDFPC, 0, 0x1fff),
	QUEUE(E1000_TDBAL, 0xfffffff0),
	QUEUE(E1000_TDBAH, ALL),
	QUEUE(E1000_TDLEN, 0x000fff80),
	{ .offset = E1000_TDH, .writable = 0xffff, .write = write_head },
	{ .offset = E1000_TDT, .read = read_tail, .write = write_tail },
	{ .offset = E1000_TIDV, .writable = 0xffff, .write = write_delay },
	RW(E1000_TXDCTL, 0, 0xff7f3f3f),
	RW(E1000_TADV, 0, 0xffff),
	RW(E1000_TSPMT, 0x01000400, ALL),
	{ .offset = E1000_CRCERRS, .count = E1000_STATS, .stride = 4, .read = read_stat },
	RW(E1000_RXCSUM, 0, 0x07ff),
	TABLE(E1000_MTA, E1000_MTA_WORDS, 4, ALL),
	TABLE(E1000_RA, E1000_RA_ENTRIES, 8, ALL),
	TABLE(E1000_RA + 4, E1000_RA_ENTRIES, 8, 0x8003ffff),
	TABLE(E1000_VFTA, E1000_VFTA_WORDS, 4, ALL),
	RW(E1000_WUC, 0, 0x0000000b),
	RW(E1000_WUFC, 0, 0x000f80ff),
	{ .offset = E1000_WUS, .write = write_1_clears },
	RW(E1000_MANC, 0, 0x01ffff00),
	RW(E1000_IPAV, 0, 0x0001000f),
	TABLE(E1000_IP4AT, 4, 8, ALL),
	TABLE(E1000_IP6AT, 4, 4, ALL),
	RW(E1000_WUPL, 0, 0),
	TABLE(E1000_WUPM, 32, 4, 0),
	TABLE(E1000_FFLT, 4, 8, 0x07ff),
	TABLE(E1000_FFMT, 128, 8, 0x0f),
	TABLE(E1000_FFVT, 128, 8, ALL),
};

static unsigned words(const struct reg *r)
{
	return r->count ? r->count : 1;
}

/* By word: the row + 1. Filled once. */
static uint8_t row_of[E1000_REG_WORDS];

static void fill_rows(void)
{
	if (row_of[E1000_CTRL / 4])
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		for (unsigned k = 0; k < words(&regs[i]); k++)
			row_of[(regs[i].offset + k * regs[i].stride) / 4] = (uint8_t)(i + 1);
}

static const struct reg *reg_at(unsigned off)
{
	unsigned row = off < E1000_REG_END ? row_of[off / 4] : 0;

	return row ? &regs[row - 1] : NULL;
}

/* Registers of the 82542 that answer at their old places too (chapter 13, "alias"). */
static unsigned resolve(unsigned off)
{
	static const struct {
		uint16_t from, to, bytes;
	} alias[] = {
		{ 0x0040, E1000_RA, 0x80 },    { 0x0108, E1000_RDTR, 4 },    { 0x0110, E1000_RDBAL, 12 },
		{ 0x0120, E1000_RDH, 4 },      { 0x0128, E1000_RDT, 4 },     { 0x0160, E1000_FCRTH, 4 },
		{ 0x0168, E1000_FCRTL, 4 },    { 0x0200, E1000_MTA, 0x200 }, { 0x0420, E1000_TDBAL, 12 },
		{ 0x0430, E1000_TDH, 4 },      { 0x0438, E1000_TDT, 4 },     { 0x0440, E1000_TIDV, 4 },
		{ 0x0600, E1000_VFTA, 0x200 }, { 0x8000, E1000_RDFH, 4 },    { 0x8008, E1000_RDFT, 4 },
		{ 0x8010, E1000_TDFH, 4 },     { 0x8018, E1000_TDFT, 4 },
	};

	if ((off >= 0x0800 && off < 0x8000) || off < 0x0040)
		return off;
	for (unsigned i = 0; i < ARRAY_SIZE(alias); i++)
		if (off >= alias[i].from && off < alias[i].from + alias[i].bytes)
			return alias[i].to + off - alias[i].from;
	return off;
}

static uint32_t read_word(struct e1000 *e, unsigned off)
{
	const struct reg *r = reg_at(off = resolve(off));

	if (!r)
		return 0;
	return r->read ? r->read(e, off) : e1000_get(e, off);
}

static void write_word(struct e1000 *e, unsigned off, uint32_t v)
{
	const struct reg *r = reg_at(off = resolve(off));

	if (!r)
		return;
	SCHED_POINT();
	if (r->write)
		r->write(e, off, v);
	else if (r->writable)
		store(e, off, v);
}

/* ---- the BARs ---- */

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	(void)size;
	return read_word(opaque, (unsigned)off & ~3u) >> 8 * (off & 3);
}

static void mmio_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
	if (size == 4)
		write_word(opaque, (unsigned)off, (uint32_t)v);
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
	struct e1000 *e = opaque;
	uint32_t v = 0;

	(void)size;
	if ((off & ~3ull) == IOADDR)
		v = e->io_address;
	else if ((off & ~3ull) == IODATA && e->io_address < E1000_BAR_SIZE)
		v = read_word(e, e->io_address & ~3u);
	return v >> 8 * (off & 3);
}

static void io_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
	struct e1000 *e = opaque;

	if (size != 4)
		return;
	if (off == IOADDR)
		e->io_address = (uint32_t)v & 0xfffff;
	else if (off == IODATA && e->io_address < E1000_BAR_SIZE)
		write_word(e, e->io_address & ~3u, (uint32_t)v);
}

static const struct region_ops mmio_ops = { .read = mmio_read, .write = mmio_write, .min = 1, .max = 4 };
static const struct region_ops io_ops = { .read = io_read, .write = io_write, .min = 1, .max = 4 };

/* ---- tails ---- */

/*
 * Nobody asked to be told of new receive buffers unless the ring was found empty. The flag is looked at behind the
 * store of the value, and set before the value is loaded once more.
 */
static void rdt_posted(struct posted_register *r)
{
	struct e1000 *e = container_of(r, struct e1000, tails[0]);

	SCHED_POINT();
	if (atomic_load(&e->rx.starved))
		loop_post(e->loop, &e->rx_post);
}

static void tdt_posted(struct posted_register *r)
{
	struct e1000 *e = container_of(r, struct e1000, tails[1]);

	loop_post(e->loop, &e->tx_post);
}

static void on_rx_post(struct post *p)
{
	e1000_rx_posted(container_of(p, struct e1000, rx_post));
}

static void on_tx_post(struct post *p)
{
	e1000_tx_run(container_of(p, struct e1000, tx_post));
}

void e1000_regs_init(struct e1000 *e)
{
	fill_rows();
	e->tails[0] = (struct posted_register){ .offset = E1000_RDT, .width = 4, .posted = rdt_posted };
	e->tails[1] = (struct posted_register){ .offset = E1000_TDT, .width = 4, .posted = tdt_posted };
	post_init(&e->rx_post, on_rx_post);
	post_init(&e->tx_post, on_tx_post);
	e->mmio = (struct region){
		.name = "e1000",
		.size = E1000_BAR_SIZE,
		.ops = &mmio_ops,
		.opaque = e,
		.policy = REGION_DEVICE,
		.lock = &e->pci.dev.lock,
		.posted = e->tails,
		.n_posted = ARRAY_SIZE(e->tails),
	};
	e->io = (struct region){
		.name = "e1000-io",
		.size = E1000_IO_SIZE,
		.ops = &io_ops,
		.opaque = e,
		.policy = REGION_DEVICE,
		.lock = &e->pci.dev.lock,
	};
}

/* ---- resets ---- */

void e1000_load_address(struct e1000 *e)
{
	const uint16_t *w = e->eeprom.word;

	e1000_put(e, E1000_RA, w[0] | (uint32_t)w[1] << 16);
	e1000_put(e, E1000_RA + 4, w[2] | RAH_AV);
}

static void reset_row(struct e1000 *e, const struct reg *r)
{
	unsigned off = r->offset, stride = r->stride;
	uint32_t value = r->reset;

	for (unsigned n = words(r); n; n--, off += stride)
		e1000_put(e, off, value);
}

static void reset_registers(struct e1000 *e)
{
	uint32_t ims;

	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		reset_row(e, &regs[i]);
	if (e->prop.init_vet)
		e1000_put(e, E1000_VET, 0x8100);
	e1000_load_address(e);
	atomic_store(&e->tails[0].value, 0);
	atomic_store(&e->tails[1].value, 0);
	e1000_stats_reset(e);
	ims = atomic_load(&e->ims);
	e1000_icr_clear(e, ~0u);
	e1000_ims_change(e, 0, ims);
}

/* Only bits that can be written are other than after a reset, and words that are no register are 0. */
bool e1000_regs_sane(const struct e1000 *e)
{
	for (unsigned off = 0; off < E1000_REG_END; off += 4) {
		const struct reg *r = reg_at(off);

		if ((e1000_get(e, off) ^ (r ? r->reset : 0)) & ~(r ? r->writable : 0))
			return false;
	}
	return true;
}

/* On the loop: nothing is under way, and nothing is left that would be. */
static void stop_all(void *arg)
{
	struct e1000 *e = arg;

	e1000_put(e, E1000_RCTL, 0);
	e1000_put(e, E1000_TCTL, 0);
	e1000_tx_reset(e, NET_DROP_RESET);
	e1000_rx_drop_held(e, NET_DROP_RESET);
	e->rx.head = e->tx.head = 0;
	e1000_rx_refresh(e);
	e1000_tx_refresh(e);
	e1000_intr_reset(e);
	e->rx.took = false;
	e->rx.causes = 0;
	e->complained = false;
}

void e1000_power_on(struct e1000 *e)
{
	loop_call(e->loop, stop_all, e);
	reset_registers(e);
}

/* How the packet buffer is divided stays: drivers set it, and then reset. */
void e1000_software_reset(struct e1000 *e)
{
	uint32_t pba = e1000_get(e, E1000_PBA);

	e1000_power_on(e);
	e1000_put(e, E1000_PBA, pba);
}
