/* SPDX-License-Identifier: BSD-2-Clause */
/* e1000: registers, EEPROM, PHY, interrupts, resets, and frames both ways, as a driver sees them. */
#include "../unit/unit.h"

#include "../fake_net.h"
#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "e1000_guest.h"
#include "net/fcs.h"

static struct eg guest, *const g = &guest;
static struct fake *wire;
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];

static const uint8_t our_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static void open_model(const char *options)
{
	struct error err;

	eg_open(g, options);
	wire = fake_new("wire", NET_KIND_BACKEND, &fake_sender_ops, g->loop);
	wire->gives = 0; /* frames are read straight into the guest's buffers, and answers come from the NIC */
	assert_int_equal(net_connect(g->nic, &wire->c, &err), 0);
	net_start(&wire->c);
	fake_room(wire, FAKE_ALL);
	net_set_main_loop(g->loop);
	/* Connected only now: the cable was not in when it was reset. */
	device_reset(&g->pci->dev);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_0, 4, EG_BAR_MEM);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_1, 4, EG_BAR_IO);
	eg_master(g, true);
	eg_settle(g);
	net_drained(&wire->c);
}

static int setup(void **state)
{
	(void)state;
	open_model("e1000,mac=52:54:00:12:34:56");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	eg_settle(g);
	assert_true(net_account_balanced(&g->nic->tx));
	assert_true(net_account_balanced(&g->nic->rx));
	fake_free(wire);
	eg_close(g);
	return 0;
}

/* A frame for the NIC's address. */
static void for_us(uint8_t *p, size_t len, unsigned seed)
{
	make_plain(p, len, seed);
	memcpy(p, our_mac, 6);
}

/* From the wire; -EAGAIN: nothing was lent; else the answer. */
static int wire_give(const uint8_t *p, size_t len)
{
	struct net_window w;
	struct frame_meta m = { 0 };
	struct iov_cur cur;
	int r = net_lend(&wire->c, MIN(len, (size_t)NET_FRAME_MAX), &w);

	if (r)
		return r;
	cur = iov_cur(w.iov, w.cnt);
	assert_int_equal(iov_put(&cur, p, len), len);
	r = (int)net_take(&wire->c, len, &m);
	net_commit(&wire->c);
	eg_settle(g);
	return r;
}

/* ---- registers ---- */

static void pattern(unsigned off, uint32_t mask, uint32_t write)
{
	static const uint32_t test[] = { 0x5a5a5a5a, 0xa5a5a5a5, 0, 0xffffffff };

	for (unsigned i = 0; i < ARRAY_SIZE(test); i++) {
		eg_write(g, off, write & test[i]);
		assert_int_equal(eg_read(g, off), write & test[i] & mask);
	}
}

/* Which bits can be written (13.4), as the drivers' own self-tests ask. */
static void register_masks(void **state)
{
	static const struct {
		unsigned off;
		uint32_t mask, write;
	} rows[] = {
		{ E1000_FCAL, 0xffffffff, 0xffffffff },	 { E1000_FCAH, 0xffff, 0xffffffff },
		{ E1000_FCT, 0xffff, 0xffffffff },	 { E1000_VET, 0xffff, 0xffffffff },
		{ E1000_RDTR, 0xffff, 0xffffffff },	 { E1000_RDBAH, 0xffffffff, 0xffffffff },
		{ E1000_RDLEN, 0xfff80, 0xfffff },	 { E1000_RDH, 0xffff, 0xffff },
		{ E1000_RDT, 0xffff, 0xffff },		 { E1000_FCRTH, 0xfff8, 0xfff8 },
		{ E1000_FCTTV, 0xffff, 0xffff },	 { E1000_TIPG, 0x3fffffff, 0x3fffffff },
		{ E1000_TDBAH, 0xffffffff, 0xffffffff }, { E1000_TDLEN, 0xfff80, 0xfffff },
		{ E1000_TDH, 0xffff, 0xffff },		 { E1000_TDT, 0xffff, 0xffff },
		{ E1000_RDBAL, 0xfffffff0, 0xffffffff }, { E1000_TXCW, 0xc000ffff, 0xffff },
		{ E1000_TDBAL, 0xfffffff0, 0xffffffff }, { E1000_TIDV, 0xffff, 0xffff },
		{ E1000_RADV, 0xffff, 0xffffffff },	 { E1000_ITR, 0xffff, 0xffffffff },
		{ E1000_IP4AT + 8, 0xffffffff, ~0u },	 { E1000_FFLT + 24, 0x7ff, ~0u },
		{ E1000_FFMT + 8 * 127, 0xf, ~0u },	 { E1000_FFVT + 8 * 127, 0xffffffff, ~0u },
		{ E1000_LEDCTL, 0xcfcfcfcf, ~0u },
	};
	uint32_t status = eg_read(g, E1000_STATUS);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		pattern(rows[i].off, rows[i].mask, rows[i].write);
	for (unsigned i = 0; i < E1000_RA_ENTRIES; i++)
		pattern(E1000_RA + 8 * i + 4, 0x8003ffff, 0xffffffff);
	for (unsigned i = 0; i < E1000_MTA_WORDS; i++)
		pattern(E1000_MTA + 4 * i, 0xffffffff, 0xffffffff);
	for (unsigned i = 0; i < E1000_VFTA_WORDS; i++)
		pattern(E1000_VFTA + 4 * i, 0xffffffff, 0xffffffff);
	eg_write(g, E1000_STATUS, ~status);
	assert_int_equal(eg_read(g, E1000_STATUS), status);
	eg_write(g, E1000_RCTL, 0x06dfb3fe);
	assert_int_equal(eg_read(g, E1000_RCTL), 0x06dfb3fe);
	eg_write(g, E1000_RCTL, 0);
	assert_int_equal(eg_read(g, E1000_RCTL), 0);
	assert_int_equal(eg_read(g, E1000_PBA), 0x00100030);
	eg_write(g, E1000_PBA, 40);
	assert_int_equal(eg_read(g, E1000_PBA), 24 << 16 | 40);
}

/* The same register by its old place, by the I/O BAR, in parts. */
static void ways_to_a_register(void **state)
{
	uint64_t v;

	(void)state;
	eg_write(g, 0x0110, 0x12345670);
	assert_int_equal(eg_read(g, E1000_RDBAL), 0x12345670);
	eg_write(g, 0x0438, 77);
	assert_int_equal(eg_read(g, E1000_TDT), 77);
	eg_write(g, 0x0044, 0x80001234);
	assert_int_equal(eg_read(g, E1000_RA + 4), 0x80001234);
	eg_write(g, 0x0204, 5);
	assert_int_equal(eg_read(g, E1000_MTA + 4), 5);
	eg_write(g, 0x07fc, 6);
	assert_int_equal(eg_read(g, E1000_VFTA + 4 * 127), 6);

	eg_io_write(g, E1000_TDT, 33);
	assert_int_equal(eg_read(g, E1000_TDT), 33);
	eg_io_write(g, E1000_RDBAH, 0xabcdef01);
	assert_int_equal(eg_io_read(g, E1000_RDBAH), 0xabcdef01);
	assert_int_equal(eg_io_read(g, 0x7fffc), 0);
	eg_io_write(g, 0xffffffff, 1);

	for (unsigned i = 0; i < 4; i++) {
		assert_true(space_read(g->mem, EG_BAR_MEM + E1000_RDBAH + i, 1, &v));
		assert_int_equal(v, 0xabcdef01 >> 8 * i & 0xff);
	}
	/* Partial writes do nothing; eight bytes are two registers. */
	space_write(g->mem, EG_BAR_MEM + E1000_RDBAH, 2, 0x1111);
	assert_int_equal(eg_read(g, E1000_RDBAH), 0xabcdef01);
	space_write(g->mem, EG_BAR_MEM + E1000_RDBAL, 8, 0x1122334455667788);
	assert_int_equal(eg_read(g, E1000_RDBAL), 0x55667780);
	assert_int_equal(eg_read(g, E1000_RDBAH), 0x11223344);
}

/* A read that changes nothing. */
static bool harmless(unsigned off)
{
	return off != E1000_ICR && (off < E1000_CRCERRS || off > E1000_TSCTFC);
}

/* Parts of a register that can be read without an effect are parts of what is read whole. */
static void read_in_parts(struct space *s, uint64_t at, unsigned off)
{
	uint64_t whole = 0, v;

	space_read(s, at, 4, &whole);
	for (unsigned size = 1; size <= 2; size *= 2)
		for (unsigned i = 0; i < 4; i += size) {
			assert_true(space_read(s, at + i, size, &v));
			if (harmless(off))
				assert_int_equal(v, whole >> 8 * i & ((1u << 8 * size) - 1));
		}
}

static const uint32_t boundary[] = { 0, 1, 0x80, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff };

static void still_works(void)
{
	eg_step(g, NSEC_PER_SEC);
	eg_write(g, E1000_MDIC, (uint32_t)MDIC_OP_WRITE << 26 | 1u << 21 | 0x1140);
	eg_step(g, NSEC_PER_SEC);
	fake_forget(wire);
	eg_up(g, 64, EG_RCTL);
	for_us(frame, 100, 1);
	assert_int_equal(wire_give(frame, 100), NET_OK);
	assert_int_equal(eg_receive(g, back, sizeof(back)), 100);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	assert_int_equal(wire->n_got, 1);
	eg_read(g, E1000_ICR);
}

/*
 * Every offset at every width and alignment, with boundary values, while the wire gives frames: it lives, time goes on, and
 * with no place to be (bus mastering is off, then there is no ring) no byte of RAM changes.
 */
static void sweep(void **state)
{
	static uint8_t before[EG_RAM1_END - EG_RAM1];
	uint64_t v;

	(void)state;
	memset(eg_at(g, EG_RAM1), 0x5a, sizeof(before));
	memcpy(before, eg_at(g, EG_RAM1), sizeof(before));
	for (unsigned off = 0; off < E1000_BAR_SIZE + 16; off++) {
		unsigned dense = off < 0x6000 || (off >= 0x8000 && off < 0x8100) || off >= E1000_BAR_SIZE - 16;

		for (unsigned size = 1; size <= 8; size *= 2)
			space_read(g->mem, EG_BAR_MEM + off, size, &v);
		if (off % 4 == 0 && off < E1000_BAR_SIZE)
			read_in_parts(g->mem, EG_BAR_MEM + off, off);
		for (unsigned size = 1; size <= 8; size *= 2)
			for (unsigned i = dense ? 0 : 8; i < ARRAY_SIZE(boundary); i++)
				space_write(g->mem, EG_BAR_MEM + off, size, boundary[i] | (uint64_t)boundary[i] << 32);
		if (off % 64 == 0) {
			eg_step(g, 1000000);
			wire_give(frame, 60);
		}
	}
	for (unsigned off = 0; off < E1000_BAR_SIZE; off += 4)
		for (unsigned i = 0; i < ARRAY_SIZE(boundary); i++)
			eg_write(g, off, boundary[i]);
	assert_memory_equal(before, eg_at(g, EG_RAM1), sizeof(before));
	still_works();
}

/* The same by the I/O BAR: each of its ports at every width and alignment, each register by it, and what is beyond. */
static void sweep_io(void **state)
{
	uint64_t v;

	(void)state;
	for (unsigned port = 0; port < E1000_IO_SIZE; port++)
		for (unsigned size = 1; size <= 4; size *= 2)
			for (unsigned i = 0; i < ARRAY_SIZE(boundary); i++) {
				space_write(g->io, EG_BAR_IO, 4, E1000_RDBAH);
				space_write(g->io, EG_BAR_IO + port, size, boundary[i]);
				space_read(g->io, EG_BAR_IO + port, size, &v);
				/* Nothing is behind the two registers. */
				if (port >= 8 && port % size == 0)
					assert_int_equal(v, 0);
			}
	eg_io_write(g, E1000_CTRL, CTRL_RST);
	for (unsigned off = 0; off < E1000_BAR_SIZE; off += 4) {
		for (unsigned i = 0; i < ARRAY_SIZE(boundary); i++)
			eg_io_write(g, off, boundary[i]);
		space_write(g->io, EG_BAR_IO, 4, off);
		read_in_parts(g->io, EG_BAR_IO + 4, off);
		if (harmless(off))
			assert_int_equal(eg_io_read(g, off), eg_read(g, off));
		if (off % 64 == 0)
			eg_step(g, 1000000);
	}
	/* Offsets that are none: no register is changed, and none is read. IOADDR has 20 bits. */
	for (unsigned bit = 17; bit < 32; bit++) {
		eg_write(g, E1000_RDBAH, 0x11223344);
		eg_io_write(g, 1u << bit | E1000_RDBAH, 0x55667788);
		assert_int_equal(eg_io_read(g, 1u << bit | E1000_RDBAH), bit < 20 ? 0 : 0x55667788);
		assert_int_equal(eg_read(g, E1000_RDBAH), bit < 20 ? 0x11223344 : 0x55667788);
	}
	still_works();
}

/* ---- EEPROM ---- */

static void pins(uint32_t v)
{
	eg_write(g, E1000_EECD, EECD_REQ | v);
}

static void clock_out(unsigned bits, uint32_t v)
{
	while (bits--) {
		uint32_t di = v >> bits & 1 ? EECD_DI : 0;

		pins(EECD_CS | di);
		pins(EECD_CS | di | EECD_SK);
		pins(EECD_CS | di);
	}
}

static uint16_t microwire(unsigned at)
{
	uint16_t v = 0;

	pins(0);
	pins(EECD_CS);
	clock_out(3, 6);
	clock_out(6, at);
	for (unsigned i = 0; i < 16; i++) {
		pins(EECD_CS | EECD_SK);
		v = (uint16_t)(v << 1 | !!(eg_read(g, E1000_EECD) & EECD_DO));
		pins(EECD_CS);
	}
	pins(0);
	return v;
}

static void eeprom(void **state)
{
	uint16_t sum = 0, w[3];

	(void)state;
	eg_write(g, E1000_EECD, EECD_REQ);
	assert_true(eg_read(g, E1000_EECD) & EECD_GNT);
	assert_true(eg_read(g, E1000_EECD) & EECD_PRES);
	for (unsigned i = 0; i < 64; i++) {
		uint16_t v = microwire(i);

		sum = (uint16_t)(sum + v);
		eg_write(g, E1000_EERD, i << 8 | EERD_START);
		assert_true(eg_read(g, E1000_EERD) & EERD_DONE);
		assert_int_equal(eg_read(g, E1000_EERD) >> 16, v);
		if (i < 3)
			w[i] = v;
	}
	assert_int_equal(sum, 0xbaba);
	assert_memory_equal(w, our_mac, 6);
	for (unsigned i = 64; i < 256; i++) {
		eg_write(g, E1000_EERD, i << 8 | EERD_START);
		assert_int_equal(eg_read(g, E1000_EERD), 0xffff0000 | i << 8 | EERD_DONE);
	}
	eg_write(g, E1000_EECD, 0);
	assert_false(eg_read(g, E1000_EECD) & EECD_GNT);
	/* The address is in the first receive address too, and there again after a reload. */
	assert_int_equal(eg_read(g, E1000_RA), 0x12005452);
	assert_int_equal(eg_read(g, E1000_RA + 4), 0x80005634);
	eg_write(g, E1000_RA, 1);
	eg_write(g, E1000_CTRL_EXT, CTRL_EXT_EE_RST);
	assert_int_equal(eg_read(g, E1000_RA), 0x12005452);
	assert_false(eg_read(g, E1000_CTRL_EXT) & CTRL_EXT_EE_RST);
	for (unsigned i = 0; i < 1000000; i++)
		eg_write(g, E1000_EECD, (i * 2654435761u) >> 20);
	assert_true(eeprom93_sane(&g->dev->eeprom));
}

/* ---- the PHY and the link ---- */

static void phy_ids(void **state)
{
	static const struct {
		const char *model;
		uint16_t device, id2;
	} rows[] = { { "e1000", 0x100e, 0x0c20 },
		     { "e1000-82544gc", 0x1008, 0x0c30 },
		     { "e1000-82545em", 0x100f, 0x0c20 } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		open_model(rows[i].model);
		assert_int_equal(pci_config_read(&g->bus, g->pci->devfn, PCI_VENDOR_ID, 4),
				 0x8086u | (uint32_t)rows[i].device << 16);
		assert_int_equal(eg_phy_read(g, 2), 0x0141);
		assert_int_equal(eg_phy_read(g, 3) & 0xfff0, rows[i].id2);
		teardown(NULL);
	}
}

static void mdic(void **state)
{
	(void)state;
	for (unsigned address = 0; address < 32; address++)
		for (unsigned r = 0; r < 32; r++)
			for (unsigned op = 0; op < 4; op++) {
				uint32_t v;

				eg_write(g, E1000_MDIC, op << 26 | address << 21 | r << 16 | 0x1140);
				v = eg_read(g, E1000_MDIC);
				assert_true(v & MDIC_READY);
				assert_int_equal(!!(v & MDIC_ERROR), address != 1 || op == 0 || op == 3);
			}
	eg_step(g, 10 * NSEC_PER_MSEC);
	eg_read(g, E1000_ICR);
	eg_write(g, E1000_MDIC, MDIC_INTR | (uint32_t)MDIC_OP_READ << 26 | 1u << 21);
	assert_int_equal(eg_read(g, E1000_ICR), ICR_MDAC);
}

static bool link_up(void)
{
	return eg_read(g, E1000_STATUS) & STATUS_LU;
}

static void link_state(void **state)
{
	(void)state;
	assert_false(link_up()); /* SLU is not set */
	eg_up(g, 64, EG_RCTL);
	assert_true(link_up());
	assert_int_equal(eg_read(g, E1000_STATUS) & 0xc1, 0x81); /* 1000 Mbit/s, full duplex */
	assert_int_equal(eg_phy_read(g, 1) & 0x24, 0x24);

	net_set_link(&wire->c, false);
	eg_settle(g);
	assert_false(link_up());
	assert_true(eg_read(g, E1000_ICR) & ICR_LSC);
	net_set_link(&wire->c, true);
	eg_settle(g);
	assert_false(link_up());
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_true(link_up());
	assert_true(eg_read(g, E1000_ICR) & ICR_LSC);
	assert_int_equal(eg_phy_read(g, 1) & 0x04, 0); /* it was down since it was last asked */
	assert_int_equal(eg_phy_read(g, 1) & 0x04, 0x04);

	/* Negotiation anew, a reset, power off: down, and up again. */
	eg_phy_write(g, 0, 0x1340);
	assert_false(link_up());
	assert_int_equal(eg_phy_read(g, 0), 0x1140);
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_true(link_up());
	eg_write(g, E1000_CTRL, eg_read(g, E1000_CTRL) | CTRL_PHY_RST);
	assert_false(link_up());
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_true(link_up());
	eg_phy_write(g, 0, 0x1940);
	assert_false(link_up());
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_false(link_up());
	eg_phy_write(g, 0, 0x1140);
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_true(link_up());

	/* Forced: 100 Mbit/s, half duplex; then only 10 is advertised. */
	eg_phy_write(g, 0, 0x2000);
	assert_true(link_up());
	assert_int_equal(eg_read(g, E1000_STATUS) & 0xc1, 0x40);
	eg_phy_write(g, 9, 0);
	eg_phy_write(g, 4, 0x0041);
	eg_phy_write(g, 0, 0x1200);
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_int_equal(eg_read(g, E1000_STATUS) & 0xc3, 0x03);
	eg_phy_write(g, 4, 0x0001);
	eg_phy_write(g, 0, 0x1200);
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_false(link_up());
	eg_read(g, E1000_ICR);
}

/*
 * A loop that is held up for longer than negotiation takes: who looks at the link finds it up, and what was to be sent
 * before has been. (Linux's driver takes frames in the ring without a link, when it looks, for a hang.)
 */
static void late_loop(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned by_status = 0; by_status < 2; by_status++) {
		eg_phy_write(g, 0, 0x1340);
		eg_read(g, E1000_ICR);
		eg_late(E1000_NEGOTIATION_NS - 1);
		assert_false(link_up());
		assert_int_equal(eg_phy_read(g, 1) & 0x24, 0);
		eg_late(1);
		if (by_status)
			assert_true(link_up());
		else
			assert_int_equal(eg_phy_read(g, 17) >> 10, 0x2b); /* 1000 Mbit/s, full duplex, resolved, link */
		assert_true(eg_read(g, E1000_ICR) & ICR_LSC);
		eg_settle(g);
		assert_false(eg_read(g, E1000_ICR) & ICR_LSC); /* once */
	}
	eg_phy_read(g, 1);
}

/* ---- interrupts ---- */

/* As ethtool's test has it: for each cause, masked and not. */
static void causes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 17; i++) {
		eg_write(g, E1000_IMC, 0xffffffff);
		eg_read(g, E1000_ICR);
		eg_write(g, E1000_ICS, 1u << i);
		assert_false(g->level);
		assert_int_equal(eg_read(g, E1000_IMS), 0);
		eg_write(g, E1000_IMS, 1u << i);
		assert_true(g->level);
		assert_int_equal(eg_read(g, E1000_ICR), 1u << i);
		assert_false(g->level);
		assert_int_equal(eg_read(g, E1000_ICR), 0);
		eg_write(g, E1000_ICS, 1u << i);
		assert_true(g->level);
		eg_write(g, E1000_IMC, 1u << i);
		assert_false(g->level);
		eg_write(g, E1000_IMS, 1u << i);
		eg_write(g, E1000_ICR, 1u << i); /* writing clears too */
		assert_false(g->level);
		eg_write(g, E1000_ICS, ~(1u << i));
		assert_false(g->level);
	}
	eg_write(g, E1000_IMC, 0xffffffff);
}

static void throttled(void **state)
{
	unsigned edges;

	(void)state;
	eg_write(g, E1000_ITR, 1000); /* 256 us */
	eg_write(g, E1000_IMS, ICR_RXT0);
	eg_write(g, E1000_ICS, ICR_RXT0);
	assert_true(g->level);
	eg_read(g, E1000_ICR);
	assert_false(g->level);
	edges = g->edges;
	for (unsigned i = 0; i < 20; i++) {
		eg_write(g, E1000_ICS, ICR_RXT0);
		eg_step(g, 10000);
	}
	assert_int_equal(g->edges, edges);
	eg_step(g, 60000);
	assert_true(g->level);
	assert_int_equal(g->edges, edges + 1);
	/* A cause that the driver takes before its time does not come. */
	eg_read(g, E1000_ICR);
	eg_write(g, E1000_ICS, ICR_RXT0);
	eg_read(g, E1000_ICR);
	eg_step(g, NSEC_PER_MSEC);
	assert_false(g->level);
}

static void delayed_rx(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_IMS, ICR_RXT0);
	eg_write(g, E1000_RDTR, 10);
	eg_write(g, E1000_RADV, 25);
	for_us(frame, 100, 1);
	for (unsigned i = 0; i < 3; i++) { /* each starts the packet timer anew, until the absolute one is over */
		assert_int_equal(wire_give(frame, 100), NET_OK);
		assert_false(g->level);
		eg_step(g, 8 * 1024);
	}
	assert_false(g->level);
	eg_step(g, 1024);
	assert_true(g->level);
	assert_int_equal(eg_read(g, E1000_ICR) & ICR_RXT0, ICR_RXT0);
	assert_int_equal(wire_give(frame, 100), NET_OK);
	assert_false(g->level);
	eg_step(g, 10 * 1024);
	assert_true(g->level);
	eg_read(g, E1000_ICR);
	/* FPD: now. */
	assert_int_equal(wire_give(frame, 100), NET_OK);
	eg_write(g, E1000_RDTR, 10 | RDTR_FPD);
	eg_settle(g);
	assert_true(g->level);
	eg_read(g, E1000_ICR);
	/* A small packet is not waited with. */
	eg_write(g, E1000_RSRPD, 128);
	eg_write(g, E1000_IMS, ICR_SRPD);
	assert_int_equal(wire_give(frame, 100), NET_OK);
	assert_true(g->level);
	assert_true(eg_read(g, E1000_ICR) & ICR_SRPD);
	eg_step(g, NSEC_PER_MSEC);
	eg_read(g, E1000_ICR);
}

static void delayed_tx(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_IMS, ICR_TXDW);
	eg_write(g, E1000_TIDV, 10);
	eg_write(g, E1000_TADV, 15);
	for_us(frame, 100, 1);
	for (unsigned i = 0; i < 2; i++) {
		eg_send(g, frame, 100, TXD_RS | TXD_IDE);
		eg_tx_kick(g);
		assert_false(g->level);
		eg_step(g, 7 * 1024);
	}
	eg_step(g, 1024);
	assert_true(g->level);
	eg_read(g, E1000_ICR);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	assert_true(g->level);
	assert_true(eg_read(g, E1000_ICR) & ICR_TXDW);
	assert_int_equal(eg_tx_reap(g), 3);
	/* Without a report, nothing but that the ring is empty. */
	eg_send(g, frame, 100, 0);
	eg_tx_kick(g);
	assert_false(g->level);
	assert_int_equal(eg_read(g, E1000_ICR), ICR_TXQE);
	assert_int_equal(wire->n_got, 4);
}

/* ---- resets ---- */

static void resets(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for_us(frame, 100, 1);
	fake_room(wire, 0);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	assert_int_equal(counter_get(&g->nic->tx.held), 1);
	eg_write(g, E1000_IMS, ICR_RXT0);
	assert_int_equal(wire_give(frame, 100), NET_OK);
	assert_true(g->level);
	eg_io_write(g, E1000_CTRL, CTRL_RST); /* the way that Linux has it */
	assert_false(g->level);
	assert_int_equal(counter_get(&g->nic->tx.held), 0);
	assert_int_equal(counter_get(&g->nic->tx.dropped[NET_DROP_RESET]), 1);
	assert_false(eg_read(g, E1000_CTRL) & CTRL_RST);
	assert_int_equal(eg_read(g, E1000_RCTL), 0);
	assert_int_equal(eg_read(g, E1000_TDT), 0);
	assert_int_equal(eg_read(g, E1000_IMS), 0);
	assert_int_equal(eg_read(g, E1000_RA), 0x12005452);
	assert_int_equal(eg_read(g, E1000_GPRC), 0);
	fake_room(wire, FAKE_ALL);
	eg_settle(g);
	assert_int_equal(wire->n_got, 0);
	assert_int_equal(wire_give(frame, 100), -EAGAIN);
	eg_read(g, E1000_ICR);
}

/* By each of the ways PBA alone stays. */
static void ways_to_reset(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned way = 0; way < 4; way++) {
		eg_write(g, E1000_PBA, 40);
		eg_write(g, E1000_VFTA + 4, 7);
		if (way == 0)
			eg_write(g, E1000_CTRL, CTRL_RST);
		else if (way == 1)
			eg_write(g, E1000_CTRL_DUP, CTRL_RST);
		else if (way == 2)
			eg_io_write(g, E1000_CTRL_DUP, CTRL_RST | CTRL_PHY_RST);
		else
			device_reset(&g->pci->dev);
		if (way == 3) {
			pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_0, 4, EG_BAR_MEM);
			eg_master(g, true);
		}
		assert_int_equal(eg_read(g, E1000_PBA) & 0xffff, way == 3 ? 0x30 : 40);
		assert_int_equal(eg_read(g, E1000_VFTA + 4), 0);
		assert_int_equal(eg_read(g, E1000_CTRL), CTRL_FD | CTRL_SPEED_1G);
	}
	eg_step(g, 10 * NSEC_PER_MSEC);
	eg_read(g, E1000_ICR);
}

/* While DMA is off nothing moves; what was posted goes on behind it. */
static void bus_master(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for_us(frame, 100, 1);
	eg_master(g, false);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	assert_int_equal(wire->n_got, 0);
	assert_int_equal(wire_give(frame, 100), -EAGAIN);
	eg_master(g, true);
	eg_settle(g);
	assert_int_equal(wire->n_got, 1);
	assert_int_equal(wire_give(frame, 100), NET_OK);
	assert_int_equal(eg_receive(g, back, sizeof(back)), 100);
	eg_read(g, E1000_ICR);
}

/* ---- receive ---- */

static void buffer_sizes(void **state)
{
	static const size_t lens[] = { 0,   1,	  13,	14,   59,   60,	  61,	 255,	256,
				       257, 1514, 1518, 1519, 4096, 9014, 16379, 16380, 16381 };

	(void)state;
	for (unsigned code = 0; code < 8; code++) {
		uint32_t rctl = EG_RCTL | (code & 3) << 16 | (code & 4 ? RCTL_BSEX : 0);
		unsigned size = code & 4 && code & 3 ? 2048u * 16 >> (code & 3) : 2048u >> (code & 3);

		for (unsigned k = 0; k < 4; k++) {
			bool lpe = k & 1, strip = k & 2;

			eg_up(g, 256, (rctl & ~RCTL_SECRC) | (lpe ? RCTL_LPE : 0) | (strip ? RCTL_SECRC : 0));
			g->buffer = size;
			if (size > 4096) /* larger than the places that the driver has for them: one frame fills it */
				continue;
			for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
				size_t len = lens[i], on_wire = MAX(len, (size_t)60) + 4,
				       want = on_wire - (strip ? 4 : 0);
				int r;

				for_us(frame, len < 14 ? 14 : len, i);
				r = wire_give(frame, len);
				if (len < 14) {
					assert_int_equal(r, NET_DROP_TOO_SHORT);
				} else if (on_wire > (lpe ? 16384u : 1522u)) {
					assert_int_equal(r, NET_DROP_TOO_BIG);
				} else {
					assert_int_equal(r, NET_OK);
					assert_int_equal(eg_receive(g, back, sizeof(back)), want);
					assert_int_equal(g->rx_pieces, (want + size - 1) / size);
					assert_memory_equal(back, frame, len);
					for (size_t z = len; z < MAX(len, (size_t)60); z++)
						assert_int_equal(back[z], 0);
					/* With its CRC behind it, every frame has the same remainder. */
					if (!strip)
						assert_int_equal(fcs_end(fcs_add(FCS_INIT, back, want)), 0x2144df1c);
				}
				assert_int_equal(eg_receive(g, back, sizeof(back)), -1);
			}
		}
	}
	eg_read(g, E1000_ICR);
}

/* No buffers: the wire waits, and is told when there are some. */
static void no_buffers(void **state)
{
	unsigned n = 0;

	(void)state;
	eg_up(g, 8, EG_RCTL);
	for_us(frame, 200, 3);
	while (wire_give(frame, 200) == NET_OK)
		n++;
	assert_int_equal(n, 7);
	assert_int_equal(eg_read(g, E1000_RDH), 7);
	assert_true(eg_read(g, E1000_RNBC) > 0);
	assert_true(eg_read(g, E1000_ICR) & ICR_RXDMT0);
	wire->wakes = 0;
	assert_int_equal(eg_receive(g, back, sizeof(back)), 200);
	eg_settle(g);
	assert_int_equal(wire->wakes, 1);
	assert_int_equal(wire_give(frame, 200), NET_OK);
	for (n = 0; eg_receive(g, back, sizeof(back)) == 200; n++)
		;
	assert_int_equal(n, 7);
	eg_read(g, E1000_ICR);
}

/* A frame for which there are too few buffers waits for more, and is lost in the end as in a FIFO that overruns. */
static void overrun(void **state)
{
	unsigned frames = 0;

	(void)state;
	eg_up(g, 24, EG_RCTL | RCTL_LPE);
	eg_write(g, E1000_IMS, ICR_RXO);
	for_us(frame, 9000, 1);
	for (unsigned round = 0; round < 5; round++) {
		while (wire_give(frame, 9000) == NET_OK)
			frames++;
		assert_int_equal(counter_get(&g->nic->rx.held), 1);
		assert_true(net_account_balanced(&g->nic->rx));
		while (eg_receive(g, back, sizeof(back)) == 9000) {
			assert_memory_equal(back, frame, 9000);
			frames--;
			eg_settle(g);
		}
		assert_int_equal(counter_get(&g->nic->rx.held), 0);
		assert_int_equal(frames, 0);
	}
	assert_int_equal(eg_read(g, E1000_MPC), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(wire_give(frame, 9000), NET_OK);
	assert_false(g->level);
	eg_step(g, 60 * NSEC_PER_MSEC);
	assert_int_equal(counter_get(&g->nic->rx.dropped[NET_DROP_NO_BUFFER]), 1);
	assert_int_equal(eg_read(g, E1000_MPC), 1);
	assert_true(g->level);
	assert_true(eg_read(g, E1000_ICR) & ICR_RXO);
	eg_read(g, E1000_ICR);
}

/* One that is held while DMA is off for a moment; when the device is reset; and a ring that is too small for any. */
static void held_meanwhile(void **state)
{
	unsigned frames;

	(void)state;
	eg_up(g, 24, EG_RCTL | RCTL_LPE);
	for_us(frame, 9000, 1);
	while (wire_give(frame, 9000) == NET_OK)
		;
	eg_master(g, false);
	eg_settle(g);
	assert_int_equal(counter_get(&g->nic->rx.held), 1);
	eg_master(g, true);
	eg_settle(g);
	for (frames = 0; eg_receive(g, back, sizeof(back)) == 9000; frames++)
		eg_settle(g);
	assert_int_equal(frames, 5);
	assert_memory_equal(back, frame, 9000);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(wire_give(frame, 9000), NET_OK);
	assert_int_equal(wire_give(frame, 9000), NET_OK);
	eg_write(g, E1000_CTRL, CTRL_RST);
	assert_int_equal(counter_get(&g->nic->rx.dropped[NET_DROP_RESET]), 1);
	eg_up(g, 8, EG_RCTL | RCTL_LPE | 3u << 16);
	assert_int_equal(wire_give(frame, 9000), NET_DROP_BUFFER_SMALL);
	assert_int_equal(wire_give(frame, 1000), NET_OK);
	assert_int_equal(eg_receive(g, back, sizeof(back)), 1000);
	eg_read(g, E1000_ICR);
}

static int give_to(const char *to, const char *vlan)
{
	for_us(frame, 100, 1);
	memcpy(frame, to, 6);
	if (vlan)
		memcpy(frame + 12, vlan, 4);
	return wire_give(frame, 100);
}

static void filters(void **state)
{
	static const char us[] = "\x52\x54\x00\x12\x34\x56", other[] = "\x52\x54\x00\x12\x34\x57",
			  all[] = "\xff\xff\xff\xff\xff\xff", multi[] = "\x01\x00\x5e\x00\x00\xfb";

	(void)state;
	eg_up(g, 256, RCTL_SECRC);
	assert_int_equal(give_to(us, NULL), NET_OK);
	assert_int_equal(give_to(other, NULL), NET_DROP_FILTER_MAC);
	assert_int_equal(give_to(all, NULL), NET_DROP_FILTER_MAC);
	assert_int_equal(give_to(multi, NULL), NET_DROP_FILTER_MAC);
	eg_write(g, E1000_RCTL, RCTL_EN | RCTL_SECRC | RCTL_BAM);
	assert_int_equal(give_to(all, NULL), NET_OK);
	eg_write(g, E1000_RCTL, RCTL_EN | RCTL_SECRC | RCTL_UPE);
	assert_int_equal(give_to(other, NULL), NET_OK);
	assert_int_equal(give_to(multi, NULL), NET_DROP_FILTER_MAC);
	eg_write(g, E1000_RCTL, RCTL_EN | RCTL_SECRC | RCTL_MPE);
	assert_int_equal(give_to(multi, NULL), NET_OK);
	assert_int_equal(give_to(other, NULL), NET_DROP_FILTER_MAC);
	/* The last receive address, valid and not. */
	eg_write(g, E1000_RCTL, RCTL_EN | RCTL_SECRC);
	eg_write(g, E1000_RA + 8 * 15, 0x12005452);
	eg_write(g, E1000_RA + 8 * 15 + 4, 0x5734);
	assert_int_equal(give_to(other, NULL), NET_DROP_FILTER_MAC);
	eg_write(g, E1000_RA + 8 * 15 + 4, 0x80005734);
	assert_int_equal(give_to(other, NULL), NET_OK);
	/* The hash, by each of the four selections; none of the other bits lets it in. */
	for (unsigned mo = 0; mo < 4; mo++) {
		static const uint8_t shift[] = { 4, 3, 2, 0 };
		unsigned bit = (0x00u | 0xfbu << 8) >> shift[mo] & 0xfff;

		eg_write(g, E1000_RCTL, RCTL_EN | RCTL_SECRC | mo << 12);
		eg_write(g, E1000_MTA + bit / 32 * 4, ~(1u << bit % 32));
		assert_int_equal(give_to(multi, NULL), NET_DROP_FILTER_MAC);
		eg_write(g, E1000_MTA + bit / 32 * 4, 1u << bit % 32);
		assert_int_equal(give_to(multi, NULL), NET_OK);
		eg_write(g, E1000_MTA + bit / 32 * 4, 0);
	}
	eg_read(g, E1000_ICR);
}

static void vlan_filter(void **state)
{
	static const char us[] = "\x52\x54\x00\x12\x34\x56";

	(void)state;
	eg_up(g, 64, RCTL_SECRC | RCTL_VFE);
	assert_int_equal(give_to(us, NULL), NET_OK);
	assert_int_equal(give_to(us, "\x81\x00\x60\x05"), NET_DROP_FILTER_VLAN);
	eg_write(g, E1000_VFTA, 1u << 5);
	assert_int_equal(give_to(us, "\x81\x00\x60\x05"), NET_OK);
	assert_int_equal(give_to(us, "\x81\x00\x6f\xff"), NET_DROP_FILTER_VLAN);
	eg_write(g, E1000_VFTA + 4 * 127, 1u << 31);
	assert_int_equal(give_to(us, "\x81\x00\x6f\xff"), NET_OK);
	eg_write(g, E1000_RCTL, RCTL_EN | RCTL_SECRC | RCTL_VFE | RCTL_CFIEN);
	assert_int_equal(give_to(us, "\x81\x00\x70\x05"), NET_DROP_FILTER_VLAN);
	assert_int_equal(give_to(us, "\x81\x00\x60\x05"), NET_OK);
	assert_true(eg_read(g, E1000_TPR) > eg_read(g, E1000_GPRC));
	eg_read(g, E1000_ICR);
}

static int control_frame(const uint8_t *to, unsigned opcode, unsigned time)
{
	memset(frame, 0, 60);
	memcpy(frame, to, 6);
	frame[6] = 2;
	put16(frame + 12, 0x8808);
	put16(frame + 14, opcode);
	put16(frame + 16, time);
	return wire_give(frame, 60);
}

/* PAUSE frames are counted, and end there, where the driver has flow control on; nothing is stopped by them. */
static void flow_control(void **state)
{
	static const uint8_t group[6] = { 1, 0x80, 0xc2, 0, 0, 1 };

	(void)state;
	eg_up(g, 64, EG_RCTL);
	/* RFCE is off: a frame like others. */
	assert_int_equal(control_frame(group, 1, 1000), NET_OK);
	assert_int_equal(eg_read(g, E1000_XOFFRXC), 0);
	assert_int_equal(eg_read(g, E1000_GPRC), 1);
	eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_RFCE);
	assert_int_equal(control_frame(group, 1, 0xffff), NET_DROP_FILTER_MAC);
	assert_int_equal(eg_read(g, E1000_XOFFRXC), 1);
	assert_int_equal(eg_read(g, E1000_GPRC), 0);
	assert_int_equal(eg_read(g, E1000_TPR), 2);
	for_us(frame, 100, 1);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	assert_int_equal(wire->n_got, 1);
	/* To its own address: it is seen too, unless DPF is set. */
	assert_int_equal(control_frame(our_mac, 1, 0xffff), NET_OK);
	eg_write(g, E1000_RCTL, EG_RCTL | RCTL_EN | RCTL_DPF);
	assert_int_equal(control_frame(our_mac, 1, 0), NET_DROP_FILTER_MAC);
	assert_int_equal(eg_read(g, E1000_XOFFRXC), 1);
	assert_int_equal(eg_read(g, E1000_XONRXC), 1);
	/* Another opcode: by the filters, or past them. */
	eg_write(g, E1000_RCTL, RCTL_SECRC | RCTL_EN);
	assert_int_equal(control_frame(group, 2, 7), NET_DROP_FILTER_MAC);
	eg_write(g, E1000_RCTL, RCTL_SECRC | RCTL_EN | RCTL_PMCF);
	assert_int_equal(control_frame(group, 2, 7), NET_OK);
	assert_int_equal(eg_read(g, E1000_FCRUC), 2);
	/* Neither address: nothing of the kind. */
	assert_int_equal(control_frame((const uint8_t[6]){ 1, 0x80, 0xc2, 0, 0, 2 }, 1, 9), NET_DROP_FILTER_MAC);
	assert_int_equal(eg_read(g, E1000_XOFFRXC), 0);
	eg_read(g, E1000_ICR);
}

static void vlan_strip(void **state)
{
	static const uint32_t sizes[] = { 0, 3u << 16 };
	static const size_t lens[] = { 18, 59, 60, 64, 255, 256, 260, 264, 1000, 1518 };

	(void)state;
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		eg_up(g, 256, EG_RCTL | sizes[s]);
		eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			size_t len = lens[i], left = MAX(len, (size_t)60) - 4;

			memset(frame, 0, 100);
			for_us(frame, len, i);
			memset(frame + len, 0, 64);
			memcpy(frame + 12, "\x81\x00\xa1\x23", 4);
			assert_int_equal(wire_give(frame, len), NET_OK);
			assert_int_equal(eg_receive(g, back, sizeof(back)), left);
			assert_true(g->rx_status & RXD_VP);
			assert_int_equal(g->rx_special, 0xa123);
			assert_memory_equal(back, frame, 12);
			assert_memory_equal(back + 12, frame + 16, left - 12);
			for_us(frame, len, i);
			assert_int_equal(wire_give(frame, len), NET_OK);
			assert_int_equal(eg_receive(g, back, sizeof(back)), MAX(len, (size_t)60));
			assert_false(g->rx_status & RXD_VP);
		}
	}
	eg_read(g, E1000_ICR);
}

static void fill_csum(uint8_t *p, size_t len)
{
	uint8_t pseudo[12];
	uint16_t c;

	memset(p + 24, 0, 2);
	c = (uint16_t)~csum_fold(csum_add(0, p + 14, 20));
	memcpy(p + 24, &c, 2);
	memcpy(pseudo, p + 26, 8);
	pseudo[8] = 0;
	pseudo[9] = 6;
	put16(pseudo + 10, (unsigned)(len - 34));
	memset(p + 50, 0, 2);
	c = (uint16_t)~csum_fold(csum_add(csum_add(0, pseudo, 12), p + 34, len - 34));
	memcpy(p + 50, &c, 2);
}

static size_t tcp_for_us(uint8_t *p, size_t n)
{
	struct frame_meta m;
	size_t len = make_tcp(p, 1000, n, &m);

	memcpy(p, our_mac, 6);
	fill_csum(p, len);
	return len;
}

static void rx_checksums(void **state)
{
	size_t len;

	(void)state;
	eg_up(g, 256, EG_RCTL);
	len = tcp_for_us(frame, 1000);
	assert_int_equal(wire_give(frame, len), NET_OK);
	eg_receive(g, back, sizeof(back));
	assert_true(g->rx_status & RXD_IXSM);
	assert_int_equal(g->rx_checksum, (uint16_t)~csum_fold(csum_add(0, frame, len)));
	eg_write(g, E1000_RXCSUM, RXCSUM_IPOFL | RXCSUM_TUOFL | 14);
	for (unsigned odd = 0; odd < 2; odd++) {
		len = tcp_for_us(frame, 1000 + odd);
		assert_int_equal(wire_give(frame, len), NET_OK);
		eg_receive(g, back, sizeof(back));
		assert_int_equal(g->rx_status & (RXD_IXSM | RXD_TCPCS | RXD_IPCS), RXD_TCPCS | RXD_IPCS);
		assert_int_equal(g->rx_errors, 0);
		assert_int_equal(g->rx_checksum, (uint16_t)~csum_fold(csum_add(0, frame + 14, len - 14)));
		frame[len - 1] ^= 1;
		assert_int_equal(wire_give(frame, len), NET_OK);
		eg_receive(g, back, sizeof(back));
		assert_int_equal(g->rx_errors, RXD_TCPE);
		frame[22]--;
		assert_int_equal(wire_give(frame, len), NET_OK);
		eg_receive(g, back, sizeof(back));
		assert_int_equal(g->rx_errors, RXD_TCPE | RXD_IPE);
	}
	/* Headers that say more than there is. */
	for (unsigned i = 0; i < 4000; i++) {
		len = tcp_for_us(frame, i % 50);
		for (unsigned k = 0; k < 3; k++)
			frame[12 + (i * 7 + k * 5 + i / 50) % 42] = (uint8_t)(i * 2654435761u >> (8 + k));
		assert_int_equal(wire_give(frame, MAX((size_t)14, len - i % 41)), NET_OK);
		assert_true(eg_receive(g, back, sizeof(back)) >= 60);
	}
	eg_read(g, E1000_ICR);
}

/* ---- transmit ---- */

static void legacy(void **state)
{
	(void)state;
	eg_up(g, 8, EG_RCTL);
	for (unsigned i = 0; i < 50; i++) {
		unsigned len = 14 + i * 29;

		for_us(frame, len, i);
		if (i % 3) {
			eg_send(g, frame, len, TXD_RS);
		} else { /* in two pieces, one of them in the other block of RAM, an empty one between */
			memcpy(eg_at(g, EG_RAM1), frame, 14);
			eg_tx_desc(g, EG_RAM1, 14 | TXD_RS);
			eg_tx_desc(g, 0, 0 | TXD_RS);
			memcpy(eg_at(g, EG_FREE), frame + 14, len - 14);
			eg_tx_desc(g, EG_FREE, (len - 14) | TXD_EOP | TXD_RS);
		}
		eg_tx_kick(g);
		assert_int_equal(eg_tx_reap(g), i % 3 ? 1 : 3);
		assert_int_equal(wire->n_got, i + 1);
		assert_int_equal(wire->got[i].len, MAX(len, 60u));
		assert_memory_equal(wire->got[i].bytes, frame, len);
	}
	assert_int_equal(eg_read(g, E1000_TDH), eg_read(g, E1000_TDT));
	assert_int_equal(eg_read(g, E1000_GPTC), 50);
	assert_int_equal(eg_read(g, E1000_GPTC), 0);
	eg_read(g, E1000_ICR);
}

/* The peer has room for some: the others stay in the ring, and go in order, contexts and all. */
static void no_room(void **state)
{
	unsigned sent = 0;

	(void)state;
	eg_up(g, 256, EG_RCTL);
	for (unsigned round = 0; round < 30; round++) {
		fake_room(wire, round % 5);
		for (unsigned i = 0; i < 7; i++, sent++) {
			for_us(frame, 100, sent);
			eg_send(g, frame, 100, TXD_RS);
		}
		eg_tx_kick(g);
		assert_true(net_account_balanced(&g->nic->tx));
		fake_room(wire, FAKE_ALL);
		eg_settle(g);
		eg_tx_reap(g);
	}
	assert_int_equal(wire->n_got, sent);
	for (unsigned i = 0; i < sent; i++) {
		for_us(frame, 100, i);
		assert_memory_equal(wire->got[i].bytes, frame, 100);
	}
	assert_int_equal(counter_get(&g->nic->tx.held), 0);
	eg_read(g, E1000_ICR);
}

#define CONTEXT(ipcss, ipcso, ipcse, tucss, tucso, tucse)                                                 \
	((uint64_t)(ipcss) | (uint64_t)(ipcso) << 8 | (uint64_t)(ipcse) << 16 | (uint64_t)(tucss) << 32 | \
	 (uint64_t)(tucso) << 40 | (uint64_t)(tucse) << 48)
#define CONTEXT2(paylen, bits, hdrlen, mss) \
	((uint64_t)(paylen) | TXD_DEXT | (bits) | (uint64_t)(hdrlen) << 40 | (uint64_t)(mss) << 48)
#define DATA(len, bits, popts) ((uint64_t)(len) | 1u << 20 | TXD_DEXT | (bits) | (uint64_t)(popts) << 40)

static void checksums(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1, 500, &m);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	memset(frame + 24, 0, 2);
	memcpy(eg_at(g, EG_FREE), frame, len);
	eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 0), CONTEXT2(0, TXD_RS, 0, 0));
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP | TXD_RS, POPTS_IXSM | POPTS_TXSM));
	/* The contexts stay in force. */
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP | TXD_RS, POPTS_TXSM));
	/* An end before the frame's: summed here. */
	eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 99), CONTEXT2(0, TXD_RS, 0, 0));
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP | TXD_RS, POPTS_TXSM));
	/* Legacy. */
	eg_tx_desc(g, EG_FREE, len | TXD_EOP | TXD_IC | TXD_RS | 50u << 16 | 34ull << 40);
	/* Outside of the frame: it goes as it is. */
	eg_tx_desc(g, EG_FREE, 200 | TXD_EOP | TXD_IC | TXD_RS | 255u << 16 | 255ull << 40);
	eg_tx_desc(g, EG_FREE, 60 | TXD_EOP | TXD_IC | TXD_RS | 59u << 16 | 34ull << 40);
	eg_tx_kick(g);
	assert_int_equal(eg_tx_reap(g), 8);
	assert_int_equal(wire->n_got, 6);
	assert_int_equal(csum_fold(csum_add(0, wire->got[0].bytes + 14, 20)), 0xffff);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2) {
			uint16_t want = (uint16_t)~csum_fold(csum_add(0, frame + 34, 100 - 34));

			assert_memory_equal(wire->got[i].bytes + 50, &want, 2);
			assert_false(wire->got[i].meta.needs_csum);
			continue;
		}
		assert_true(wire->got[i].meta.needs_csum);
		assert_int_equal(wire->got[i].meta.csum_start, 34);
		assert_int_equal(wire->got[i].meta.csum_offset, 16);
	}
	assert_false(wire->got[4].meta.needs_csum);
	assert_memory_equal(wire->got[4].bytes, frame, 200);
	assert_false(wire->got[5].meta.needs_csum);
	eg_read(g, E1000_ICR);
}

/* A driver's template: no length in IP, and none in the pseudo header. */
static size_t tso_template(uint8_t *p, size_t n, bool v6)
{
	unsigned l3 = v6 ? 40 : 20, l4 = 14 + l3;
	uint8_t tail[4] = { 0, 6, 0, 0 };
	uint16_t c;

	memset(p, 0, l4 + 20);
	memcpy(p, "\x02\0\0\0\0\1\x52\x54\x00\x12\x34\x56", 12);
	put16(p + 12, v6 ? ETH_IPV6 : ETH_IPV4);
	p[14] = v6 ? 0x60 : 0x45;
	if (v6) {
		p[20] = 6;
		p[21] = 64;
		p[37] = 1;
		p[53] = 2;
	} else {
		p[22] = 64;
		p[23] = 6;
		memcpy(p + 26, "\x0a\0\0\1\x0a\0\0\2", 8);
	}
	put16(p + l4, 1);
	put16(p + l4 + 2, 2);
	p[l4 + 12] = 0x50;
	p[l4 + 13] = 0x10;
	c = csum_fold(csum_add(csum_add(0, p + (v6 ? 22 : 26), v6 ? 32 : 8), tail, 4));
	memcpy(p + l4 + 16, &c, 2);
	for (size_t i = 0; i < n; i++)
		p[l4 + 20 + i] = (uint8_t)(i * 13 + (i >> 8));
	return l4 + 20 + n;
}

static void check_segment(const struct fake_frame *f, bool v6, const uint8_t *payload, size_t n)
{
	const uint8_t *ip = f->bytes + 14, *tcp = ip + (v6 ? 40 : 20);
	uint8_t tail[4] = { 0, 6 };

	put16(tail + 2, (unsigned)(20 + n));
	assert_int_equal(f->len, 14 + (v6 ? 40 : 20) + 20 + n);
	if (v6) {
		assert_int_equal(get16(ip + 4), 20 + n);
	} else {
		assert_int_equal(get16(ip + 2), 40 + n);
		assert_int_equal(csum_fold(csum_add(0, ip, 20)), 0xffff);
	}
	assert_int_equal(csum_fold(csum_fold(csum_add(csum_add(0, ip + (v6 ? 8 : 12), v6 ? 32 : 8), tail, 4)) +
				   (uint64_t)csum_fold(csum_add(0, tcp, 20 + n))),
			 0xffff);
	assert_memory_equal(tcp + 20, payload, n);
}

static void segmentation(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		unsigned l4 = v6 ? 54 : 34, hdr = l4 + 20;
		size_t n = 20000, len = tso_template(frame, n, v6), at = 0;
		uint64_t ctx = CONTEXT(14, 24, l4 - 1, l4, l4 + 16, 0),
			 ctx2 = CONTEXT2(n, TXD_TSE | TUCMD_TCP | (v6 ? 0 : TUCMD_IP) | TXD_RS, hdr, 1448);

		fake_forget(wire);
		eg_up(g, 64, EG_RCTL);
		memcpy(eg_at(g, EG_FREE), frame, len);
		eg_tx_desc(g, ctx, ctx2);
		eg_tx_desc(g, EG_FREE, DATA(hdr, TXD_TSE | TXD_RS, POPTS_IXSM | POPTS_TXSM));
		for (size_t off = hdr; off < len; off += 4096)
			eg_tx_desc(g, EG_FREE + off,
				   DATA(MIN((size_t)4096, len - off),
					TXD_TSE | TXD_RS | (off + 4096 >= len ? TXD_EOP : 0), 0));
		net_takes_changed(&wire->c, v6 ? 0 : NET_OFF_ALL);
		eg_tx_kick(g);
		if (!v6) { /* whole, for a peer that takes it */
			assert_int_equal(wire->n_got, 1);
			assert_int_equal(wire->got[0].meta.gso, NET_GSO_TCP4);
			assert_int_equal(wire->got[0].meta.gso_size, 1448);
			assert_int_equal(get16(wire->got[0].bytes + 16), len - 14);
			assert_int_equal(eg_read(g, E1000_GPTC), (n + 1447) / 1448);
			assert_int_equal(eg_read(g, E1000_TSCTC), 1);
			fake_forget(wire);
			net_takes_changed(&wire->c, 0);
			eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_RS | TXD_EOP, POPTS_IXSM | POPTS_TXSM));
			eg_tx_kick(g);
		}
		assert_int_equal(wire->n_got, (n + 1447) / 1448);
		for (unsigned i = 0; i < wire->n_got; i++, at += 1448)
			check_segment(&wire->got[i], v6, frame + hdr + at, MIN(n - at, (size_t)1448));
		/* One segment. */
		fake_forget(wire);
		eg_tx_desc(g, ctx, CONTEXT2(100, TXD_TSE | TUCMD_TCP | (v6 ? 0 : TUCMD_IP), hdr, 1448));
		eg_tx_desc(g, EG_FREE, DATA(hdr + 100, TXD_TSE | TXD_RS | TXD_EOP, POPTS_IXSM | POPTS_TXSM));
		eg_tx_kick(g);
		assert_int_equal(wire->n_got, 1);
		check_segment(&wire->got[0], v6, frame + hdr, 100);
	}
	eg_read(g, E1000_ICR);
}

static void vlan_insert(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1, 500, &m);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	memcpy(eg_at(g, EG_FREE), frame, len);
	eg_tx_desc(g, EG_FREE, len | TXD_EOP | TXD_VLE | 0xa123ull << 48); /* VME is off */
	eg_tx_kick(g);
	eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
	eg_tx_desc(g, EG_FREE, len | TXD_EOP | TXD_VLE | 0xa123ull << 48);
	eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 0), CONTEXT2(0, 0, 0, 0));
	/* Where it counts: in the last one, whatever the others say. */
	eg_tx_desc(g, EG_FREE, DATA(5, TXD_VLE, POPTS_IXSM | POPTS_TXSM) | 0xb456ull << 48);
	eg_tx_desc(g, EG_FREE + 5, DATA(len - 5, TXD_VLE | TXD_EOP, 0) | 0xa123ull << 48);
	eg_tx_desc(g, EG_FREE, 14 | TXD_EOP | TXD_VLE | 0xa123ull << 48);
	eg_tx_kick(g);
	assert_int_equal(wire->n_got, 4);
	assert_int_equal(wire->got[0].len, len);
	for (unsigned i = 1; i < 4; i++) {
		const uint8_t *p = wire->got[i].bytes;

		assert_int_equal(wire->got[i].len, i == 3 ? 64 : len + 4);
		assert_memory_equal(p, frame, 12);
		assert_memory_equal(p + 12, "\x81\x00\xa1\x23", 4);
		assert_memory_equal(p + 16, frame + 12, 2);
		if (i == 2) {
			assert_int_equal(wire->got[i].meta.csum_start, 38);
			assert_memory_equal(p + 38, frame + 34, len - 34);
		}
	}
	eg_read(g, E1000_ICR);
}

/* As FreeBSD's, OpenBSD's and NetBSD's drivers have it, VLE in the last descriptor; when segmented, in either. */
static void vlan_in_pieces(void **state)
{
	size_t len = tso_template(frame, 3000, false), n;

	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
	memcpy(eg_at(g, EG_FREE), frame, len);
	net_takes_changed(&wire->c, NET_OFF_ALL);
	for (unsigned how = 0; how < 6; how++) {
		bool tso = how < 3, first = how % 3 == 0, last = how % 3 == 1;
		uint64_t vle = TXD_VLE, tag = 0xa123ull << 48, tse = tso ? TXD_TSE : 0;

		fake_forget(wire);
		n = tso ? len : 1000;
		eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 0),
			   CONTEXT2(n - 54, (tso ? TXD_TSE : 0) | TUCMD_TCP | TUCMD_IP, 54, 1000));
		eg_tx_desc(g, EG_FREE, DATA(54, tse | (first ? vle : 0), 0) | (first ? tag : 0));
		eg_tx_desc(g, EG_FREE + 54, DATA(100, tse, 0));
		eg_tx_desc(g, EG_FREE + 154, DATA(n - 154, tse | TXD_EOP | (last ? vle : 0), 0) | (last ? tag : 0));
		eg_tx_kick(g);
		assert_int_equal(wire->n_got, 1);
		if (last || (tso && first)) {
			assert_int_equal(wire->got[0].len, n + 4);
			assert_memory_equal(wire->got[0].bytes + 12, "\x81\x00\xa1\x23\x08\x00", 6);
		} else {
			assert_int_equal(wire->got[0].len, n);
		}
	}
	eg_read(g, E1000_ICR);
}

/* CSS and CSO in the first descriptor, IC in the last; in the last alone; a descriptor of no address has no bytes. */
static void legacy_in_pieces(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1, 500, &m);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	memcpy(eg_at(g, EG_FREE), frame, len);
	for (unsigned where = 0; where < 3; where++) {
		uint64_t place = 50u << 16 | 34ull << 40;

		fake_forget(wire);
		eg_tx_desc(g, EG_FREE, 54 | (where != 1 ? place : 0) | (where == 2 ? TXD_IC : 0));
		eg_tx_desc(g, 0, 300);
		eg_tx_desc(g, EG_FREE + 54, (len - 54) | TXD_EOP | (where == 1 ? place : 0) | (where < 2 ? TXD_IC : 0));
		eg_tx_kick(g);
		assert_int_equal(wire->n_got, 1);
		assert_int_equal(wire->got[0].len, len);
		assert_memory_equal(wire->got[0].bytes, frame, 50);
		assert_int_equal(wire->got[0].meta.needs_csum, where < 2);
		if (where < 2)
			assert_int_equal(wire->got[0].meta.csum_start, 34);
	}
	eg_read(g, E1000_ICR);
}

/* ---- loopback ---- */

static void loop_round(unsigned n, unsigned len)
{
	for (unsigned i = 0; i < n; i++) {
		for_us(frame, MAX(len, 14u), i);
		eg_send(g, frame, len, TXD_RS);
		eg_tx_kick(g);
		eg_tx_reap(g);
		assert_int_equal(eg_receive(g, back, sizeof(back)), MAX(len, 60u));
		assert_memory_equal(back, frame, len);
	}
}

static void loopback(void **state)
{
	static const unsigned lens[] = { 0, 1, 10, 13, 14, 59, 60, 1024, 1514 };

	(void)state;
	for (unsigned by = 0; by < 3; by++) {
		eg_up(g, 64, EG_RCTL | (by == 0 ? 1u << 6 : by == 1 ? 3u << 6 : 0));
		if (by == 2)
			eg_phy_write(g, 0, 0x4140);
		for (unsigned i = lens[0] ? 0 : 1; i < ARRAY_SIZE(lens); i++)
			loop_round(20, lens[i]);
		for_us(frame, 100, 1);
		assert_int_equal(wire_give(frame, 100), -EAGAIN);
		eg_phy_write(g, 0, 0x1140);
		eg_step(g, 10 * NSEC_PER_MSEC);
	}
	assert_int_equal(wire->n_got, 0);
	eg_write(g, E1000_RCTL, EG_RCTL | RCTL_EN);
	assert_int_equal(wire_give(frame, 100), NET_OK);
	assert_int_equal(eg_receive(g, back, sizeof(back)), 100);
	eg_read(g, E1000_ICR);
}

/*
 * The loopback test of Linux's driver: the PHY set up by hand, descriptors used again and again as they are, one write
 * of RDT for ever, so that the ring runs dry in the middle.
 */
static void loopback_of_linux(void **state)
{
	unsigned tail = 0;

	(void)state;
	eg_phy_write(g, 0, 0x1940);
	eg_up(g, 256, RCTL_BAM);
	eg_phy_write(g, 0, 0x1140);
	eg_phy_write(g, 16, 0x0808);
	eg_phy_write(g, 0, 0x9140);
	eg_phy_write(g, 0, 0x8140);
	eg_phy_write(g, 0, 0x4140);
	assert_int_equal(eg_phy_read(g, 0), 0x4140);
	eg_write(g, E1000_CTRL, eg_read(g, E1000_CTRL) | CTRL_FRCSPD | CTRL_FRCDPX | CTRL_SPEED_1G | CTRL_FD | 1u << 7);
	eg_phy_write(g, 29, 0x1f);
	eg_phy_write(g, 30, 0x8ffc);
	memset(frame, 0xff, 1024);
	memset(frame + 512, 0xaa, 511);
	frame[522] = 0xbe;
	frame[524] = 0xaf;
	for (unsigned i = 0; i < 256; i++)
		eg_send(g, frame, 1024, TXD_RPS);
	for (unsigned round = 0; round < 10; round++) {
		tail = (tail + 64) % 256;
		eg_write(g, E1000_TDT, tail);
		eg_settle(g);
		assert_int_equal(eg_read(g, E1000_TDH), tail);
	}
	assert_int_equal(eg_read(g, E1000_RDH), 255);
	assert_int_equal(eg_read(g, E1000_GPRC), 255);
	assert_int_equal(eg_read(g, E1000_MPC), 640 - 255);
	for (unsigned i = 0; i < 255; i++) {
		assert_int_equal(eg_get64(g, EG_RX_RING + i * 16 + 8) & 0xffff, 1028);
		assert_memory_equal(eg_at(g, EG_RX_BUF(i)), frame, 1024);
	}
	assert_int_equal(wire->n_got, 0);
	eg_phy_write(g, 0, 0x1340);
	eg_step(g, 10 * NSEC_PER_MSEC);
	assert_true(link_up());
	eg_read(g, E1000_ICR);
}

/* ---- statistics ---- */

static void statistics(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for_us(frame, 1514, 1);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(wire_give(frame, i ? 100 : 60), NET_OK);
		eg_receive(g, back, sizeof(back));
	}
	assert_int_equal(give_to("\xff\xff\xff\xff\xff\xff", NULL), NET_OK);
	assert_int_equal(give_to("\x01\x00\x5e\x00\x00\x01", NULL), NET_OK);
	eg_receive(g, back, sizeof(back));
	eg_receive(g, back, sizeof(back));
	assert_int_equal(eg_read(g, E1000_GPRC), 12);
	assert_int_equal(eg_read(g, E1000_GPRC), 0);
	assert_int_equal(eg_read(g, E1000_TPR), 12);
	assert_int_equal(eg_read(g, E1000_PRC64), 1);
	assert_int_equal(eg_read(g, E1000_PRC64 + 4), 11);
	assert_int_equal(eg_read(g, E1000_BPRC), 1);
	assert_int_equal(eg_read(g, E1000_MPRC), 1);
	assert_int_equal(eg_read(g, E1000_GORCL), 64 + 11 * 104);
	assert_int_equal(eg_read(g, E1000_GORCL), 64 + 11 * 104); /* cleared by the other half */
	assert_int_equal(eg_read(g, E1000_GORCH), 0);
	assert_int_equal(eg_read(g, E1000_GORCL), 0);
	eg_read(g, E1000_ICR);
	/* They stick at the top; a pair does not lose what is above 32 bits. */
	counter_add(&g->dev->stat[(E1000_MPC - E1000_CRCERRS) / 4], 1ull << 33);
	counter_add(&g->dev->stat[(E1000_TOTL - E1000_CRCERRS) / 4], 5ull << 32 | 7);
	assert_int_equal(eg_read(g, E1000_MPC), 0xffffffff);
	assert_int_equal(eg_read(g, E1000_MPC), 0);
	assert_int_equal(eg_read(g, E1000_TOTL), 7);
	assert_int_equal(eg_read(g, E1000_TOTH), 5);
	assert_int_equal(eg_read(g, E1000_TOTL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(register_masks), TEST(ways_to_a_register),
		TEST(sweep),	      TEST(sweep_io),
		TEST(eeprom),	      cmocka_unit_test(phy_ids),
		TEST(mdic),	      TEST(link_state),
		TEST(late_loop),      TEST(causes),
		TEST(throttled),      TEST(delayed_rx),
		TEST(delayed_tx),     TEST(resets),
		TEST(ways_to_reset),  TEST(bus_master),
		TEST(buffer_sizes),   TEST(no_buffers),
		TEST(overrun),	      TEST(held_meanwhile),
		TEST(filters),	      TEST(vlan_filter),
		TEST(flow_control),   TEST(vlan_strip),
		TEST(rx_checksums),   TEST(legacy),
		TEST(no_room),	      TEST(checksums),
		TEST(segmentation),   TEST(vlan_insert),
		TEST(vlan_in_pieces), TEST(legacy_in_pieces),
		TEST(loopback),	      TEST(loopback_of_linux),
		TEST(statistics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
