/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000 against a driver and a wire that do anything: the input is a list of operations on registers, rings, guest RAM,
 * the wire and time. Some of them are what a sane driver does (bring the device up, queue a frame), so that an input
 * gets deep into the device without having to guess; all of them take their values from the input.
 *
 * Beside what the sanitizers see, it holds that every frame is accounted for after each operation, and that a reset
 * ends everything.
 */

#include "../device/e1000_guest.h"
#include "fresh.h"
#include "nic_wire.h"

#define MAX_OPS	  1000
#define SEGMENTS  40	   /* of a packet, about */
#define RINGS	  64	   /* descriptors in each, at most */
#define POKED	  0x10000u /* what the input may write to: rings and the first places of frames */
#define POKED_LEN (256 * KIB)

static struct eg guest, *const g = &guest;
static struct eeprom93 eeprom; /* as it was made: a reset does not bring it back */
static struct e1000 fresh;     /* as it was behind the first reset */
static bool open_already;

/* ---- the wire ---- */

static void wire_frames(void)
{
	static const struct frame_meta plain;
	size_t len = get(2), want = get(2);
	uint8_t head[64];

	memset(head, 0xff, 12);
	for (unsigned i = 12; i < sizeof(head); i++)
		head[i] = (uint8_t)get(1);
	wire_give(1 + get(1) % 4, len, want, head, sizeof(head), &plain);
}

/* ---- the driver ---- */

static const uint16_t popular[] = {
	E1000_CTRL,  E1000_RCTL,   E1000_TCTL,	E1000_RDBAL, E1000_RDBAH, E1000_RDLEN,	E1000_RDH,  E1000_RDT,
	E1000_TDBAL, E1000_TDBAH,  E1000_TDLEN, E1000_TDH,   E1000_TDT,	  E1000_RXCSUM, E1000_ITR,  E1000_RDTR,
	E1000_RADV,  E1000_TIDV,   E1000_TADV,	E1000_IMS,   E1000_IMC,	  E1000_ICS,	E1000_MDIC, E1000_EECD,
	E1000_EERD,  E1000_TXDCTL, E1000_RSRPD, E1000_VET,   E1000_RA,	  E1000_RA + 4, E1000_VFTA, E1000_MTA,
};

static unsigned offset(void)
{
	unsigned v = (unsigned)get(1);

	return v < 0xe0 ? popular[v % ARRAY_SIZE(popular)] : (unsigned)get(3) % E1000_BAR_SIZE;
}

static void access_register(void)
{
	unsigned how = (unsigned)get(1), off = offset(), size = 1u << how % 4;
	uint64_t v = 0;

	if (how & 0x80)
		space_read(g->mem, EG_BAR_MEM + off, size, &v);
	else if (how & 0x40)
		eg_io_write(g, off, (uint32_t)get(4));
	else
		space_write(g->mem, EG_BAR_MEM + off, how & 0x20 ? 4 : size, get(4));
}

static void descriptor(uint64_t ring, unsigned i)
{
	unsigned how = (unsigned)get(1);
	uint64_t address = EG_TX_RING + 0x10000 + get(2), word;

	if (how & 1)
		address = get(8);
	word = get(8);
	if (how & 2) /* a sane one */
		word = (word & 0x0fff) | TXD_RS | (how & 4 ? TXD_EOP : 0) | (how & 8 ? TXD_DEXT | 1u << 20 : 0) |
		       (how & 16 ? TXD_TSE : 0) | (how & 32 ? 3ull << 40 : 0) | (how & 64 ? TXD_VLE : 0);
	eg_put64(g, ring + i * 16, address);
	eg_put64(g, ring + i * 16 + 8, word);
}

static void queue_tx(void)
{
	for (unsigned n = 1 + get(1) % 16; n; n--) {
		descriptor(EG_TX_RING, g->tx_next);
		g->tx_next = (g->tx_next + 1) % g->n_tx;
	}
	if (get(1) & 1)
		eg_write(g, E1000_TDT, g->tx_next);
}

/*
 * A TCP packet with its context, whose numbers are nearly right. Few segments: a fuzzer that may have thousands made of
 * one packet does little else.
 */
static void queue_tso(void)
{
	static const uint8_t packet[] = { 2, 0, 0, 0, 0,  1, 2, 0, 0,  0, 0,	2,  8,	0, 0x45, 0, 0, 0,
					  0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0,	1,  10, 0, 0,	 2, 0, 1,
					  0, 2, 0, 0, 0,  1, 0, 0, 0,  1, 0x50, 16, 0,	1, 0,	 0, 0, 0 };
	uint8_t *p = eg_at(g, EG_TX_BUF(0));
	unsigned payload = (unsigned)get(2) % 30000, mss = (unsigned)get(2),
		 len = 54 + MIN(payload, (mss + 1) * SEGMENTS), hdr = 54 + (get(1) ? 0 : (unsigned)get(1));
	uint64_t context = 14 | 24 << 8 | 33 << 16 | 34ull << 32 | 50ull << 40;

	fresh_mark(EG_TX_BUF(0), sizeof(packet) + 64);
	memcpy(p, packet, sizeof(packet));
	for (unsigned n = (unsigned)get(1) % 4; n; n--)
		p[get(1) % 64] = (uint8_t)get(1);
	eg_tx_desc(g, context ^ (get(1) & 1 ? get(8) : 0),
		   (len - 54) | TXD_DEXT | 7u << 24 | (uint64_t)(hdr & 255) << 40 | (uint64_t)mss << 48);
	eg_tx_desc(g, EG_TX_BUF(0), len | 1u << 20 | TXD_DEXT | TXD_TSE | TXD_EOP | TXD_RS | TXD_VLE | 3ull << 40);
	eg_write(g, E1000_TDT, g->tx_next);
}

static void post_rx(void)
{
	for (unsigned n = 1 + get(1) % 16; n; n--)
		descriptor(EG_RX_RING, (unsigned)get(1) % g->n_rx);
	eg_write(g, E1000_RDT, (uint32_t)get(1));
}

static void poke(void)
{
	uint64_t gpa = POKED + get(3) % POKED_LEN;
	uint8_t *p = eg_at(g, gpa);
	unsigned n = 1 + (unsigned)get(1) % 32;

	fresh_mark(gpa, n);
	while (n--)
		*p++ = (uint8_t)get(1);
}

static void bring_up(void)
{
	unsigned how = (unsigned)get(1);

	eg_write(g, E1000_IMC, ~0u);
	eg_up(g, 8 + how % (RINGS / 8) * 8, EG_RCTL ^ ((uint32_t)get(4) & 0x06dfb3fc));
	if (how & 0x80)
		eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
}

static void other_side(void)
{
	unsigned how = (unsigned)get(1);

	take = how % 16 ? how % 16 - 1 : NET_BATCH;
	if (how & 0x10)
		net_wake_peer(wire, NET_WAKE_ROOM);
	if (how & 0x20)
		net_set_link(how & 0x40 ? wire : g->nic, how & 0x80);
	else if (how & 0x40)
		net_takes_changed(wire, how & 0x80 ? NET_OFF_ALL : 0);
}

static void config(void)
{
	unsigned how = (unsigned)get(1);

	if (how & 1)
		eg_master(g, how & 2);
	else if (how & 4)
		pci_config_write(&g->bus, g->pci->devfn, g->pci->pm_cap + PCI_PM_CTRL, 2, how >> 4 & 3);
	else
		(how & 8 ? net_quiesce : net_start)(wire);
}

/* ---- all of it ---- */

static void operation(void)
{
	static void (*const op[])(void) = {
		bring_up,  access_register, access_register, access_register, queue_tx, queue_tx,   queue_tso,
		queue_tso, post_rx,	    wire_frames,     wire_frames,     poke,	other_side, config,
	};
	unsigned which = (unsigned)get(1) % 16;

	if (which < ARRAY_SIZE(op))
		op[which]();
	else
		vm_clock_step(clock_now(CLOCK_VM_NS) + get(4));
}

/* As after power-on. */
static void start_over(void)
{
	wire_start_over();
	vm_clock_step(0);
	g->dev->eeprom = eeprom;
	device_reset(&g->pci->dev);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_0, 4, EG_BAR_MEM);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_1, 4, EG_BAR_IO);
	eg_master(g, true);
	fresh_turns(g->loop);
	CHECK(wire_balanced());
	CHECK(counter_get(&g->nic->tx.held) == 0 && counter_get(&g->nic->rx.held) == 0);
	CHECK(!g->level);
	fresh_clear();
}

static void open_all(void)
{
	eg_open(g, "e1000,romfile=,mac=52:54:00:12:34:56");
	eeprom = g->dev->eeprom;
	wire_open("wire", g->loop, 0);
	CHECK(net_connect(g->nic, wire, NULL) == 0);
	net_set_main_loop(g->loop);
	fresh_start(&g->ram);
	start_over();
	memcpy(&fresh, g->dev, sizeof(fresh));
	open_already = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Counters only count on; of a frame that is held no more its facts are left. */
	static const char *const lasting[] = { "stat", "rx.held", NULL };

	if (!open_already)
		open_all();
	in = data;
	left = size;
	fresh_mark(EG_RX_RING, RINGS * 16);
	fresh_mark(EG_TX_RING, RINGS * 16);
	eg_up(g, RINGS, EG_RCTL);
	for (unsigned i = 0; left && i < MAX_OPS; i++) {
		operation();
		fresh_turns(g->loop);
		CHECK(wire_balanced());
	}
	start_over();
	fresh_expect(&e1000_state, g->dev, &fresh, lasting);
	return 0;
}
