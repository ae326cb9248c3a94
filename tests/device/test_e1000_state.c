/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state of e1000, saved from one board and loaded on another that has a copy of its memory: all registers read the
 * same, and what was under way goes on: frames in the ring, contexts, a frame that is held, timers, the EEPROM's clocks.
 * And bytes that no device wrote.
 */
#include "../unit/unit.h"

#include "../fake_net.h"
#include "base/csum.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "e1000_guest.h"
#include "state_spots.h"

static struct eg guest[2], *const g = &guest[0], *const h = &guest[1];
static struct fake *wire[2];
static struct state_bytes bytes, again;
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];

static void bars(struct eg *e)
{
	pci_config_write(&e->bus, e->pci->devfn, PCI_BASE_ADDRESS_0, 4, EG_BAR_MEM);
	pci_config_write(&e->bus, e->pci->devfn, PCI_BASE_ADDRESS_1, 4, EG_BAR_IO);
	eg_master(e, true);
}

static void open_board(unsigned i)
{
	static const char *const name[] = { "wire0", "wire1" };
	char text[80];
	struct error err;

	snprintf(text, sizeof(text), "e1000,bus=pci.%u,romfile=,mac=52:54:00:12:34:5%u", i, i);
	eg_open(&guest[i], text);
	wire[i] = fake_new(name[i], NET_KIND_BACKEND, &fake_sender_ops, guest[i].loop);
	wire[i]->gives = 0;
	assert_int_equal(net_connect(guest[i].nic, &wire[i]->c, &err), 0);
	net_start(&wire[i]->c);
	fake_room(wire[i], FAKE_ALL);
	device_reset(&guest[i].pci->dev); /* the cable was not in when it was reset */
	bars(&guest[i]);
	eg_settle(&guest[i]);
	net_drained(&wire[i]->c);
}

static int setup(void **state)
{
	(void)state;
	open_board(0);
	open_board(1);
	bytes = again = (struct state_bytes){ 0 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		eg_write(&guest[i], E1000_IMC, ~0u);
		eg_settle(&guest[i]);
		assert_true(fake_balanced(guest[i].nic));
		fake_free(wire[i]);
		eg_close(&guest[i]);
	}
	free(bytes.p);
	free(again.p);
	return 0;
}

/* Registers that can be read without a change to them. */
static bool harmless(unsigned off)
{
	return off != E1000_ICR && (off < E1000_CRCERRS || off > E1000_TSCTFC);
}

static void same_registers(void)
{
	for (unsigned off = 0; off < E1000_BAR_SIZE; off += 4)
		if (harmless(off) && eg_read(g, off) != eg_read(h, off)) {
			print_error("register %#x\n", off);
			assert_int_equal(eg_read(g, off), eg_read(h, off));
		}
	for (unsigned off = 0; off < PCI_CONFIG_SIZE; off++)
		assert_int_equal(pci_config_read(&g->bus, g->pci->devfn, off, 1),
				 pci_config_read(&h->bus, h->pci->devfn, off, 1));
	for (unsigned r = 2; r < 32; r++)
		assert_int_equal(atomic_load(&g->dev->phy[r]), atomic_load(&h->dev->phy[r]));
	assert_int_equal(atomic_load(&g->level), atomic_load(&h->level));
}

static void load(void)
{
	struct error err = { "" };

	if (device_load(&h->pci->dev, bytes.p, bytes.len, &err))
		print_error("%s\n", err.msg);
	assert_string_equal(err.msg, "");
}

/* The VM moves: memory, the driver's own memory, the device. What it has then is what there was, to the last byte. */
static void move(void)
{
	net_quiesce(g->nic);
	bytes.len = again.len = 0;
	assert_int_equal(device_save(&g->pci->dev, &bytes), 0);
	memcpy(eg_at(h, 0), eg_at(g, 0), EG_RAM0);
	memcpy(eg_at(h, EG_RAM1), eg_at(g, EG_RAM1), EG_RAM1_END - EG_RAM1);
	h->n_rx = g->n_rx;
	h->n_tx = g->n_tx;
	h->buffer = g->buffer;
	h->rx_next = g->rx_next;
	h->tx_next = g->tx_next;
	h->tx_done = g->tx_done;
	net_quiesce(h->nic);
	load();
	assert_int_equal(device_save(&h->pci->dev, &again), 0);
	assert_int_equal(again.len, bytes.len);
	assert_memory_equal(again.p, bytes.p, bytes.len);
	same_registers();
	assert_true(fake_balanced(h->nic));
	net_start(h->nic);
	eg_settle(h);
}

static int into(unsigned i, const uint8_t *p, size_t len)
{
	struct frame_meta m = { 0 };
	struct net_window w;
	int r = net_lend(&wire[i]->c, len, &w);

	if (r)
		return r;
	iov_write_at(w.iov, w.cnt, 0, p, len);
	r = (int)net_take(&wire[i]->c, len, &m);
	net_commit(&wire[i]->c);
	eg_settle(&guest[i]);
	return r;
}

static int plain_into(unsigned i, size_t len, unsigned seed)
{
	make_plain(frame, len, seed);
	return into(i, frame, len);
}

#define CONTEXT(ipcss, ipcso, ipcse, tucss, tucso, tucse)                                                 \
	((uint64_t)(ipcss) | (uint64_t)(ipcso) << 8 | (uint64_t)(ipcse) << 16 | (uint64_t)(tucss) << 32 | \
	 (uint64_t)(tucso) << 40 | (uint64_t)(tucse) << 48)
#define CONTEXT2(paylen, bits, hdrlen, mss) \
	((uint64_t)(paylen) | TXD_DEXT | TXD_RS | (bits) | (uint64_t)(hdrlen) << 40 | (uint64_t)(mss) << 48)
#define DATA(len, bits, popts) ((uint64_t)(len) | 1u << 20 | TXD_DEXT | TXD_RS | (bits) | (uint64_t)(popts) << 40)

/* ---- what was under way ---- */

/* Frames wait for room, others are received and not read yet, the rings have come around: both go on behind that. */
static void under_way(void **state)
{
	unsigned sent = 0;

	(void)state;
	eg_up(g, 16, EG_RCTL);
	for (unsigned i = 0; i < 40; i++) {
		make_plain(frame, 100, sent++);
		eg_send(g, frame, 100, TXD_RS);
		eg_tx_kick(g);
		eg_tx_reap(g);
		assert_int_equal(plain_into(0, 200 + i, i), NET_OK);
		assert_int_equal(eg_receive(g, back, sizeof(back)), 200 + i);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(plain_into(0, 300 + i, i), NET_OK);
	fake_room(wire[0], 2);
	for (unsigned i = 0; i < 7; i++) {
		make_plain(frame, 100, sent + i);
		eg_send(g, frame, 100, TXD_RS);
	}
	eg_tx_kick(g);
	assert_int_equal(wire[0]->n_got, sent + 2);
	move();
	assert_int_equal(wire[1]->n_got, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_true(is_plain(wire[1]->got[i].bytes, 100, sent + 2 + i));
	assert_int_equal(eg_tx_reap(h), 7);
	assert_int_equal(plain_into(1, 400, 9), NET_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(eg_receive(h, back, sizeof(back)), 300 + i);
	assert_int_equal(eg_receive(h, back, sizeof(back)), 400);
	assert_true(is_plain(back, 400, 9));
	assert_int_equal(eg_read(h, E1000_GPTC), sent + 7);
	assert_int_equal(eg_read(h, E1000_GPRC), 44);
	eg_read(h, E1000_ICR);
}

/* Contexts came before, data comes after; one frame of which the first part was posted; one that is segmented. */
static void contexts(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1, 1000, &m);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	memset(frame + 24, 0, 2);
	memcpy(eg_at(g, EG_FREE), frame, len);
	eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 0), CONTEXT2(0, 0, 0, 0));
	eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 0), CONTEXT2(1000, TXD_TSE | TUCMD_TCP | TUCMD_IP, 54, 300));
	eg_tx_kick(g);
	assert_int_equal(eg_read(g, E1000_TDH), 2);
	eg_tx_desc(g, EG_FREE, DATA(54, 0, POPTS_IXSM | POPTS_TXSM));
	eg_tx_kick(g);
	assert_int_equal(eg_read(g, E1000_TDH), 2);
	move();
	assert_int_equal(wire[1]->n_got, 0);
	eg_tx_desc(h, EG_FREE + 54, DATA(len - 54, TXD_EOP, 0));
	eg_tx_desc(h, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, POPTS_IXSM | POPTS_TXSM));
	eg_tx_kick(h);
	assert_int_equal(eg_tx_reap(h), 5);
	assert_int_equal(wire[1]->n_got, 2);
	assert_int_equal(wire[1]->got[0].len, len);
	assert_int_equal(wire[1]->got[0].meta.csum_start, 34);
	assert_int_equal(wire[1]->got[0].meta.csum_offset, 16);
	assert_int_equal(csum_fold(csum_add(0, wire[1]->got[0].bytes + 14, 20)), 0xffff);
	assert_int_equal(wire[1]->got[1].meta.gso, NET_GSO_TCP4);
	assert_int_equal(wire[1]->got[1].meta.gso_size, 300);
	assert_int_equal(eg_read(h, E1000_GPTC), 1 + 4);
	eg_read(h, E1000_ICR);
}

/* Contexts come between frames that wait for room: what is in force is what was so at the head. */
static void contexts_at_the_head(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1, 1000, &m);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	memcpy(eg_at(g, EG_FREE), frame, len);
	fake_room(wire[0], 1);
	for (unsigned i = 0; i < 4; i++) {
		eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 40 + i, 0), CONTEXT2(0, 0, 0, 0));
		eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP, POPTS_TXSM));
	}
	eg_tx_kick(g);
	assert_int_equal(wire[0]->n_got, 1);
	move();
	assert_int_equal(wire[1]->n_got, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(wire[1]->got[i].meta.csum_offset, 7 + i);
	eg_read(h, E1000_ICR);
}

/* A frame that filled the ring without an end was given up: its end, when it comes, is still a part of it. */
static void given_up(void **state)
{
	(void)state;
	eg_up(g, 8, EG_RCTL);
	for (unsigned i = 0; i < 7; i++)
		eg_tx_desc(g, EG_FREE, 100 | TXD_RS);
	eg_tx_kick(g);
	assert_int_equal(eg_tx_reap(g), 7);
	move();
	eg_tx_desc(h, EG_FREE, 100 | TXD_RS | TXD_EOP);
	make_plain(frame, 90, 3);
	eg_send(h, frame, 90, TXD_RS);
	eg_tx_kick(h);
	assert_int_equal(wire[1]->n_got, 1);
	assert_true(is_plain(wire[1]->got[0].bytes, 90, 3));
	eg_read(h, E1000_ICR);
}

/* A frame is held for want of descriptors: it comes in there when there are some, or is lost when its time is over. */
static void held(void **state)
{
	(void)state;
	for (unsigned late = 0; late < 3; late++) {
		unsigned n = 0;

		eg_up(g, 24, (EG_RCTL | RCTL_LPE) & ~(late == 2 ? RCTL_SECRC : 0));
		eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
		make_plain(frame, 9000, 4);
		memcpy(frame + 12, "\x81\x00\xa1\x23\x88\xb5", 6);
		while (into(0, frame, 9000) == NET_OK)
			n++;
		assert_int_equal(n, 5);
		assert_int_equal(counter_get(&g->nic->rx.held), 1);
		eg_step(g, 20 * NSEC_PER_MSEC);
		move();
		assert_int_equal(counter_get(&h->nic->rx.held), 1);
		assert_int_equal(into(1, frame, 100), -EAGAIN);
		if (late == 1) { /* what is left of its 50 ms */
			eg_step(h, 30 * NSEC_PER_MSEC - 1);
			assert_int_equal(counter_get(&h->nic->rx.held), 1);
			eg_step(h, 1);
			assert_int_equal(counter_get(&h->nic->rx.held), 0);
			assert_int_equal(counter_get(&h->nic->rx.dropped[NET_DROP_NO_BUFFER]), 1);
			assert_int_equal(eg_read(h, E1000_MPC), 1);
			assert_true(eg_read(h, E1000_ICR) & ICR_RXO);
		} else {
			for (n = 0; eg_receive(h, back, sizeof(back)) == (late ? 9000 : 8996); n++) {
				assert_memory_equal(back, frame, 12);
				assert_memory_equal(back + 12, frame + 16, 8984);
				assert_true(h->rx_status & RXD_VP);
				assert_int_equal(h->rx_special, 0xa123);
				eg_settle(h);
			}
			assert_int_equal(n, 5);
			assert_int_equal(counter_get(&h->nic->rx.held), 0);
		}
		eg_write(h, E1000_CTRL, CTRL_RST);
		eg_write(g, E1000_CTRL, CTRL_RST);
		net_start(g->nic);
		eg_settle(g);
	}
}

/* ---- times ---- */

/* The delays and ITR have run for a while: what is left of them runs there. */
static void moderation(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 5; way++) {
		uint32_t cause = way < 2 ? ICR_RXT0 : way < 4 ? ICR_TXDW : ICR_RXDMT0;

		eg_up(g, 64, EG_RCTL);
		eg_write(g, E1000_IMS, cause);
		eg_write(g, E1000_RDTR, way == 0 ? 30 : 50);
		eg_write(g, E1000_RADV, way == 0 ? 50 : 30);
		eg_write(g, E1000_TIDV, way == 2 ? 30 : 50);
		eg_write(g, E1000_TADV, way == 2 ? 50 : 30);
		if (way < 2) {
			assert_int_equal(plain_into(0, 100, 1), NET_OK);
		} else if (way < 4) {
			eg_send(g, frame, 100, TXD_RS | TXD_IDE);
			eg_tx_kick(g);
		} else {
			eg_write(g, E1000_ITR, 120); /* as long as 30 of the others */
			eg_write(g, E1000_ICS, cause);
			assert_true(g->level);
			eg_read(g, E1000_ICR);
			eg_write(g, E1000_ICS, cause);
			assert_false(g->level);
			eg_settle(g);
		}
		eg_step(g, 10 * 1024);
		assert_false(g->level);
		move();
		assert_false(h->level);
		eg_step(h, 20 * 1024 - 1);
		assert_false(h->level);
		eg_step(h, 1);
		assert_true(h->level);
		assert_true(eg_read(h, E1000_ICR) & cause);
		assert_false(h->level);
		eg_write(h, E1000_CTRL, CTRL_RST);
		eg_write(g, E1000_CTRL, CTRL_RST);
		net_start(g->nic);
		eg_settle(g);
	}
}

/* The pin was up not long ago: there too it may not go up again before its time. A pin that is up is up there. */
static void throttled(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_ITR, 1000); /* 256 us */
	eg_write(g, E1000_IMS, ICR_RXT0);
	eg_write(g, E1000_ICS, ICR_RXT0);
	eg_step(g, 100000);
	assert_true(g->level);
	move();
	assert_true(h->level);
	assert_int_equal(eg_read(h, E1000_ICR), ICR_RXT0);
	assert_false(h->level);
	eg_write(h, E1000_ICS, ICR_RXT0);
	eg_settle(h);
	eg_step(h, 155999);
	assert_false(h->level);
	eg_step(h, 1);
	assert_true(h->level);
	eg_read(h, E1000_ICR);
	/* One that waits while ITR is set to nothing goes on to wait: that is how it was. */
	net_start(g->nic);
	eg_read(g, E1000_ICR);
	eg_write(g, E1000_ICS, ICR_RXT0);
	eg_settle(g);
	assert_true(g->level); /* its time was over */
	eg_read(g, E1000_ICR);
	eg_write(g, E1000_ICS, ICR_RXT0);
	eg_settle(g);
	eg_write(g, E1000_ITR, 0);
	assert_false(g->level);
	move();
	assert_false(h->level);
	eg_step(h, 256000);
	assert_true(h->level);
	eg_read(h, E1000_ICR);
	/* A flush that was asked for, and not come to yet. */
	net_start(g->nic);
	eg_write(g, E1000_RDTR, 1000);
	eg_read(g, E1000_ICR);
	assert_int_equal(plain_into(0, 100, 1), NET_OK);
	eg_write(g, E1000_RDTR, 1000 | RDTR_FPD);
	move();
	assert_int_equal(eg_read(h, E1000_ICR) & ICR_RXT0, ICR_RXT0);
	eg_read(g, E1000_ICR);
}

static bool link_up(struct eg *e)
{
	return eg_read(e, E1000_STATUS) & STATUS_LU;
}

/* Negotiation goes on; a link that was lost reads so once; the cable is the one that is in there. */
static void link_state(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_phy_write(g, 0, 0x1340);
	eg_step(g, 400000);
	assert_false(link_up(g));
	move();
	eg_step(h, 599999);
	assert_false(link_up(h));
	eg_step(h, 1);
	assert_true(link_up(h));
	assert_int_equal(eg_read(h, E1000_ICR), ICR_LSC);
	assert_int_equal(eg_phy_read(h, 1) & 4, 0);
	assert_int_equal(eg_phy_read(h, 1) & 4, 4);
	/* Powered down: it stays so. */
	net_start(g->nic);
	eg_phy_write(g, 0, 0x1940);
	move();
	eg_step(h, NSEC_PER_SEC);
	assert_false(link_up(h));
	/* No cable there: the driver is told. */
	net_start(g->nic);
	eg_phy_write(g, 0, 0x1140);
	eg_step(g, NSEC_PER_SEC);
	assert_true(link_up(g));
	eg_read(g, E1000_ICR);
	eg_read(h, E1000_ICR);
	net_set_link(&wire[1]->c, false);
	eg_settle(h);
	bytes.len = 0;
	net_quiesce(g->nic);
	net_quiesce(h->nic);
	assert_int_equal(device_save(&g->pci->dev, &bytes), 0);
	load();
	assert_false(link_up(h));
	assert_int_equal(eg_read(h, E1000_ICR), ICR_LSC);
	/* And one there but not here. */
	net_start(h->nic);
	net_set_link(&wire[0]->c, false);
	net_set_link(&wire[1]->c, true);
	net_start(g->nic);
	eg_settle(g);
	eg_settle(h);
	net_quiesce(g->nic);
	net_quiesce(h->nic);
	bytes.len = 0;
	assert_int_equal(device_save(&g->pci->dev, &bytes), 0);
	load();
	assert_false(link_up(h));
	eg_step(h, 10 * NSEC_PER_MSEC);
	assert_true(link_up(h));
	net_start(h->nic);
	eg_read(h, E1000_ICR);
}

/* ---- registers ---- */

static void eecd(struct eg *e, uint32_t v)
{
	eg_write(e, E1000_EECD, EECD_REQ | v);
}

/* The upper `n` of these bits, from the highest on. */
static void shift_in(struct eg *e, unsigned n, uint32_t v)
{
	while (n--) {
		uint32_t di = v >> n & 1 ? EECD_DI : 0;

		eecd(e, EECD_CS | di);
		eecd(e, EECD_CS | di | EECD_SK);
	}
}

/* Everything that a driver can write, the statistics, the EEPROM in the middle of a word, one word changed. */
static void registers(void **state)
{
	uint16_t v = 0;

	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned off = 0; off < E1000_BAR_SIZE; off += 4)
		if (off != E1000_CTRL && off != E1000_CTRL_DUP && off != E1000_EECD && off != E1000_MDIC)
			eg_write(g, off, off * 2654435761u);
	for (unsigned r = 4; r < 32; r++)
		eg_phy_write(g, r, (uint16_t)(r * 40503));
	eg_write(g, E1000_CTRL, CTRL_SLU);
	eg_write(g, E1000_RCTL, 0);
	eg_write(g, E1000_TCTL, 0);
	eg_write(g, E1000_EERD, 63u << 8 | EERD_START);
	eg_write(g, E1000_ITR, 0);
	eg_write(g, E1000_IMS, ICR_LSC);
	eg_write(g, E1000_ICS, ICR_LSC);
	eg_settle(g);
	space_write(g->io, EG_BAR_IO, 4, E1000_RDBAH);
	for (unsigned i = 0; i < E1000_STATS; i++) {
		counter_add(&g->dev->stat[i], 1000 + i);
		if (i % 3 == 0)
			eg_read(g, E1000_CRCERRS + 4 * i);
		counter_add(&g->dev->stat[i], (uint64_t)i << 28);
	}
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 9, 0x130); /* EWEN */
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 25, (5u << 6 | 7) << 16 | 0xbeef); /* WRITE word 7 */
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 9, 6u << 6 | 7); /* READ it, and the first bits of it */
	for (unsigned i = 0; i < 5; i++) {
		eecd(g, EECD_CS);
		eecd(g, EECD_CS | EECD_SK);
		v = (uint16_t)(v << 1 | !!(eg_read(g, E1000_EECD) & EECD_DO));
	}
	move();
	eecd(h, EECD_CS | EECD_SK); /* no edge: it was high */
	for (unsigned i = 5; i < 16; i++) {
		eecd(h, EECD_CS);
		eecd(h, EECD_CS | EECD_SK);
		v = (uint16_t)(v << 1 | !!(eg_read(h, E1000_EECD) & EECD_DO));
	}
	assert_int_equal(v, 0xbeef);
	assert_int_equal(eg_read(h, E1000_RA + 4) & 0xffff, ((E1000_RA + 4) * 2654435761u) & 0xffff);
	space_write(h->io, EG_BAR_IO + 4, 4, 0x13579bdf); /* IOADDR moved too */
	assert_int_equal(eg_read(h, E1000_RDBAH), 0x13579bdf);
	for (unsigned i = 0; i < E1000_STATS; i++)
		assert_int_equal(eg_read(h, E1000_CRCERRS + 4 * i), eg_read(g, E1000_CRCERRS + 4 * i));
	assert_int_equal(eg_read(h, E1000_ICR) & ICR_LSC, ICR_LSC);
	eg_read(g, E1000_ICR);
	/* Its own address, which is the EEPROM's, moved. */
	eg_write(h, E1000_CTRL, CTRL_RST);
	assert_int_equal(eg_read(h, E1000_RA + 4), 0x80005034);
}

/* The EEPROM has all of a WRITE, or all of a word to be read but one edge: the next edges are seen there. */
static void eeprom_edges(void **state)
{
	uint32_t was = eg_read(h, E1000_EECD);

	(void)state;
	assert_true(was & EECD_DO);
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 9, 0x130); /* EWEN */
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 25, (5u << 6 | 9) << 16 | 0x1234);
	move();
	eecd(h, EECD_CS);
	eecd(h, 0); /* this programs */
	eg_write(h, E1000_EERD, 9u << 8 | EERD_START);
	assert_int_equal(eg_read(h, E1000_EERD) >> 16, 0x1234);
	eg_write(g, E1000_EERD, 9u << 8 | EERD_START);
	assert_int_equal(eg_read(g, E1000_EERD) >> 16, 0xffff);
	/* Programming is on there: one more, without EWEN. */
	eecd(h, EECD_CS);
	shift_in(h, 25, (5u << 6 | 9) << 16 | 0x5678);
	eecd(h, 0);
	eg_write(h, E1000_EERD, 9u << 8 | EERD_START);
	assert_int_equal(eg_read(h, E1000_EERD) >> 16, 0x5678);
	/* ERASE, whose opcode alone tells it from a READ; DO low, as it is when a word begins. */
	net_start(g->nic);
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 9, 7u << 6 | 0);
	move();
	eecd(h, 0);
	eg_write(h, E1000_EERD, 0u << 8 | EERD_START);
	assert_int_equal(eg_read(h, E1000_EERD) >> 16, 0xffff);
	net_start(g->nic);
	eecd(g, 0);
	eecd(g, EECD_CS);
	shift_in(g, 9, 6u << 6 | 1);
	assert_false(eg_read(g, E1000_EECD) & EECD_DO);
	move();
	assert_false(eg_read(h, E1000_EECD) & EECD_DO);
}

/* Descriptors without a buffer were used up, which the driver is told with the next thing that happens. */
static void used_up(void **state)
{
	(void)state;
	eg_up(g, 16, RCTL_SECRC);
	for (unsigned i = 0; i < 16; i++)
		eg_put64(g, EG_RX_RING + i * 16, 0);
	assert_int_equal(plain_into(0, 100, 1), -EAGAIN);
	assert_int_equal(eg_read(g, E1000_RDH), 15);
	assert_int_equal(eg_read(g, E1000_ICR), 0);
	move();
	eg_put64(h, EG_RX_RING + 15 * 16, EG_RX_BUF(15));
	eg_write(h, E1000_RDT, 0);
	eg_settle(h);
	assert_int_equal(plain_into(1, 100, 1), NET_DROP_FILTER_MAC);
	assert_true(eg_read(h, E1000_ICR) & ICR_RXT0);
}

/* What keeps a device from working, or from interrupting, keeps it there, and is ended there. */
static void asleep(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_IMS, ICR_TXDW);
	eg_master(g, false);
	make_plain(frame, 100, 1);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	move();
	assert_int_equal(wire[1]->n_got, 0);
	assert_int_equal(plain_into(1, 100, 1), -EAGAIN);
	pci_config_write(&h->bus, h->pci->devfn, PCI_COMMAND, 2, 7 | PCI_COMMAND_INTX_DISABLE);
	eg_settle(h);
	assert_int_equal(wire[1]->n_got, 1);
	assert_false(h->level);
	/* And back, by way of the first board. */
	net_quiesce(h->nic);
	bytes.len = 0;
	assert_int_equal(device_save(&h->pci->dev, &bytes), 0);
	load();
	assert_false(h->level);
	net_start(h->nic);
	eg_master(h, true);
	assert_true(h->level);
	eg_read(h, E1000_ICR);
	/* D3hot. */
	net_start(g->nic);
	eg_master(g, true);
	eg_settle(g);
	eg_read(g, E1000_ICR);
	fake_room(wire[0], 0);
	eg_send(g, frame, 100, TXD_RS);
	eg_tx_kick(g);
	pci_config_write(&g->bus, g->pci->devfn, g->pci->pm_cap + PCI_PM_CTRL, 2, 3);
	fake_forget(wire[1]);
	move();
	assert_int_equal(wire[1]->n_got, 0);
	pci_config_write(&h->bus, h->pci->devfn, h->pci->pm_cap + PCI_PM_CTRL, 2, 0);
	eg_settle(h);
	assert_int_equal(wire[1]->n_got, 1);
	eg_read(h, E1000_ICR);
	pci_config_write(&g->bus, g->pci->devfn, g->pci->pm_cap + PCI_PM_CTRL, 2, 0);
	eg_settle(g);
	eg_read(g, E1000_ICR);
}

/* ---- bytes of nonsense ---- */

/* Whatever was loaded: something happens, and nothing goes wrong. */
static void live_a_little(void)
{
	net_start(h->nic);
	eg_settle(h);
	plain_into(1, 100, 1);
	plain_into(1, 9000, 1);
	eg_write(h, E1000_TDT, 5);
	eg_write(h, E1000_RDT, 5);
	eg_step(h, NSEC_PER_MSEC);
	eg_read(h, E1000_ICR);
	eg_read(h, E1000_EECD);
	net_quiesce(h->nic);
	assert_true(fake_balanced(h->nic));
}

static void still_well(void)
{
	device_reset(&h->pci->dev);
	net_start(h->nic);
	bars(h);
	eg_settle(h);
	eg_up(h, 16, EG_RCTL);
	fake_forget(wire[1]);
	fake_room(wire[1], FAKE_ALL);
	make_plain(frame, 100, 1);
	eg_send(h, frame, 100, TXD_RS);
	eg_tx_kick(h);
	assert_int_equal(eg_tx_reap(h), 1);
	assert_int_equal(wire[1]->n_got, 1);
	assert_int_equal(plain_into(1, 100, 1), NET_OK);
	assert_int_equal(eg_receive(h, back, sizeof(back)), 100);
	assert_true(fake_balanced(h->nic));
	eg_read(h, E1000_ICR);
	net_quiesce(h->nic);
}

/* A state in which much is under way. */
static void full_state(void)
{
	unsigned n = 0;

	eg_up(g, 24, EG_RCTL | RCTL_LPE);
	eg_write(g, E1000_RDTR, 100);
	eg_write(g, E1000_RADV, 200);
	eg_write(g, E1000_TIDV, 100);
	eg_write(g, E1000_TADV, 200);
	eg_write(g, E1000_ITR, 1000);
	eg_write(g, E1000_IMS, ICR_LSC | ICR_RXT0);
	eg_send(g, frame, 100, TXD_RS | TXD_IDE);
	eg_tx_kick(g);
	while (plain_into(0, 9000, 1) == NET_OK)
		n++;
	assert_int_equal(n, 5);
	eg_phy_write(g, 0, 0x1340);
	eg_read(g, E1000_ICR);
	fake_room(wire[0], 0);
	for (unsigned i = 0; i < 3; i++) {
		eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, 0), CONTEXT2(0, 0, 0, 0));
		eg_send(g, frame, 100, TXD_RS);
	}
	eg_tx_kick(g);
	move();
	assert_int_equal(counter_get(&h->nic->rx.held), 1);
	net_quiesce(h->nic);
}

static unsigned taken, refused;

static void try(const struct state_spot *s, void *arg)
{
	struct error err = { "" };
	int r = device_load(&h->pci->dev, bytes.p, bytes.len, &err);

	(void)arg;
	if (r != 0 && r != -EPROTO && r != -EINVAL)
		print_error("%s\n", s->field);
	assert_true(r == 0 || r == -EPROTO || r == -EINVAL);
	if (r < 0)
		assert_non_null(strstr(err.msg, "e1000: "));
	*(r ? &refused : &taken) += 1;
	live_a_little();
	if ((taken + refused) % 200 == 0)
		still_well();
}

static void boundaries(void **state)
{
	(void)state;
	full_state();
	state_at_boundaries(&bytes, try, NULL);
	still_well();
	assert_true(taken > 1000 && refused > 1000);
}

static void cut_short(void **state)
{
	struct error err;

	(void)state;
	full_state();
	for (size_t n = 0; n < bytes.len; n += 1 + n / 40) {
		assert_int_equal(device_load(&h->pci->dev, bytes.p, n, &err), -EPROTO);
		assert_non_null(strstr(err.msg, "e1000"));
	}
	still_well();
}

static void of_chance(void **state)
{
	struct error err;

	(void)state;
	full_state();
	srandom(8254);
	for (unsigned i = 0; i < 10000; i++) {
		uint8_t was[4];
		size_t at[4];
		int r;

		for (unsigned k = 0; k < 4; k++) { /* most of it is registers */
			at[k] = k & 1 ? bytes.len - 1 - (size_t)random() % 2000 : (size_t)random() % bytes.len;
			was[k] = bytes.p[at[k]];
			bytes.p[at[k]] = (uint8_t)random();
		}
		r = device_load(&h->pci->dev, bytes.p, bytes.len, &err);
		assert_true(r == 0 || r == -EPROTO || r == -EINVAL);
		live_a_little();
		for (unsigned k = 4; k-- > 0;)
			bytes.p[at[k]] = was[k];
		if (i % 500 == 0)
			still_well();
	}
	still_well();
}

/* Each thing that no device can have, by name. */
static void impossible(void **state)
{
	static const struct {
		const char *field;
		uint32_t i;
		uint64_t value;
		const char *said;
	} rows[] = {
		{ "reg", E1000_STATUS / 4, 1, "reg" },
		{ "reg", E1000_RDLEN / 4, 0x100000, "reg" },
		{ "reg", E1000_RDH / 4, 0x10000, "reg" },
		{ "reg", 0x9ffc / 4, 1, "reg" },
		{ "tails[1].value", 0, 1ull << 32, "tails" },
		{ "io_address", 0, 0x100000, "io_address" },
		{ "icr", 0, 0x20000, "icr" },
		{ "ims", 0, 0x80000000, "ims" },
		{ "times.left", E1000_TIMER_ITR, 0xffff * 256 + 2, "times" },
		{ "times.left", E1000_TIMER_RADV, 0xffff * 1024 + 2, "times" },
		{ "times.left", E1000_TIMER_PATIENCE, 50 * NSEC_PER_MSEC + 2, "times" },
		{ "times.quiet", 0, 0xffff * 256 + 1, "times" },
		{ "link", 0, 3, "link" },
		{ "link", 0, E1000_LINK_UP, "link" }, /* while it negotiates */
		{ "phy", 2, 0x0142, "phy" },
		{ "phy", 31, 1, "phy" },
		{ "eeprom.phase", 0, 6, "eeprom" },
		{ "eeprom.bits", 0, 17, "eeprom" },
		{ "eeprom.address", 0, 64, "eeprom" },
		{ "stat_base", 0, 1, "stat_base" },
		{ "tx.context[CONTEXT_TSO].paylen", 0, 0x100000, "tx.context" },
		{ "rx.causes", 0, 0x20000, "rx" },
		{ "rx.held_len", 0, 9001, "rx" },
		{ "rx.held_body", 0, 8990, "rx" },
		{ "tx.skipping", 0, 2, "tx.skipping" },
	};
	struct error err;

	(void)state;
	full_state();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct state_spot s = state_spot(&bytes, rows[i].field);
		uint64_t was = state_get(&s, rows[i].i);
		int want = strcmp(rows[i].field, "tx.skipping") ? -EINVAL : -EPROTO;

		state_put(&s, rows[i].i, rows[i].value);
		assert_int_equal(device_load(&h->pci->dev, bytes.p, bytes.len, &err), want);
		if (!strstr(err.msg, rows[i].said))
			print_error("%s: %s\n", rows[i].field, err.msg);
		assert_non_null(strstr(err.msg, rows[i].said));
		state_put(&s, rows[i].i, was);
	}
	still_well();
	load();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(under_way),  TEST(contexts),  TEST(contexts_at_the_head), TEST(given_up),	TEST(held),
		TEST(moderation), TEST(throttled), TEST(link_state),	       TEST(registers), TEST(eeprom_edges),
		TEST(used_up),	  TEST(asleep),	   TEST(boundaries),	       TEST(cut_short), TEST(of_chance),
		TEST(impossible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
