/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "e1000_guest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define MUST(cond)                                                                 \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                   \
		}                                                                  \
	} while (0)

static uint64_t now;
static unsigned boards; /* open now: the n-th one's bus is "pci.n" */

/* ---- the board ---- */

static void set_line(void *opaque, unsigned gsi, bool level)
{
	struct eg *g = opaque;

	(void)gsi;
	atomic_store(&g->level, level);
	atomic_fetch_add(&g->edges, 1);
}

static unsigned intx_gsi(unsigned slot, unsigned pin)
{
	return 16 + (slot + pin) % 4;
}

static struct loop *place(void *arg)
{
	return arg;
}

static void types_open(void)
{
	static const struct type *const types[] = { &type_object,	   &type_device,	&type_pci_device,
						    &type_pci_host_bridge, &type_e1000_base,	&type_e1000,
						    &type_e1000_82544gc,   &type_e1000_82545em, NULL };
	struct error err;

	if (!class_find("e1000"))
		MUST(types_init(types, &err) == 0);
}

static void board_open(struct eg *g)
{
	static const struct ram_block blocks[] = {
		{ .gpa = 0, .size = EG_RAM0 },
		{ .gpa = EG_RAM1, .size = EG_RAM1_END - EG_RAM1 },
	};
	struct error err;
	char name[16];

	snprintf(name, sizeof(name), "pci.%u", boards++);
	MUST((g->loop = loop_new("guest", &err)) != NULL);
	MUST(ram_init(&g->ram, blocks, ARRAY_SIZE(blocks), RAM_PRIVATE, &err) == 0);
	g->mem = space_new("memory", 1ull << 46, false);
	g->io = space_new("io", 65536, true);
	g->irq = (struct irq_chip){ .set_line = set_line, .opaque = g };

	struct pci_host host = {
		.mem = g->mem,
		.io = g->io,
		.ram = &g->ram,
		.irq = &g->irq,
		.main_loop = g->loop,
		.place = place,
		.place_arg = g->loop,
		.intx_gsi = intx_gsi,
	};
	MUST(pci_bus_init(&g->bus, name, &host, &err) == 0);
}

static void config(struct eg *g, unsigned off, uint32_t v)
{
	pci_config_write(&g->bus, g->pci->devfn, off, 4, v);
}

void eg_open(struct eg *g, const char *options)
{
	struct opt_list l;
	struct error err = { "" };
	struct device *d;

	*g = (struct eg){ 0 };
	log_init("guest", LOG_ERR);
	types_open();
	vm_clock_manual();
	vm_clock_step(now);
	board_open(g);
	MUST(opt_list_parse(options, "driver", &l, &err) == 0);
	d = device_add(&l, &err);
	opt_list_free(&l);
	if (!d)
		fprintf(stderr, "%s: %s\n", options, err.msg);
	MUST(d);
	g->pci = to_pci_device(d);
	g->dev = to_e1000(g->pci);
	g->nic = &g->dev->client;
	config(g, PCI_BASE_ADDRESS_0, EG_BAR_MEM);
	config(g, PCI_BASE_ADDRESS_1, EG_BAR_IO);
	config(g, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	eg_settle(g);
}

void eg_close(struct eg *g)
{
	pci_bus_deinit(&g->bus);
	boards--;
	MUST(!g->level);
	loop_free(g->loop);
	space_free(g->mem);
	space_free(g->io);
	ram_destroy(&g->ram);
}

void eg_settle(struct eg *g)
{
	for (unsigned turns = 0; loop_turn(g->loop); turns++)
		MUST(turns < 100000);
}

void eg_late(uint64_t ns)
{
	now += ns;
	vm_clock_step(now);
}

void eg_step(struct eg *g, uint64_t ns)
{
	eg_late(ns);
	eg_settle(g);
}

/* ---- registers ---- */

uint32_t eg_read(struct eg *g, unsigned off)
{
	uint64_t v = 0;

	space_read(g->mem, EG_BAR_MEM + off, 4, &v);
	return (uint32_t)v;
}

void eg_write(struct eg *g, unsigned off, uint32_t v)
{
	space_write(g->mem, EG_BAR_MEM + off, 4, v);
}

uint32_t eg_io_read(struct eg *g, unsigned off)
{
	uint64_t v = 0;

	space_write(g->io, EG_BAR_IO, 4, off);
	space_read(g->io, EG_BAR_IO + 4, 4, &v);
	return (uint32_t)v;
}

void eg_io_write(struct eg *g, unsigned off, uint32_t v)
{
	space_write(g->io, EG_BAR_IO, 4, off);
	space_write(g->io, EG_BAR_IO + 4, 4, v);
}

void eg_master(struct eg *g, bool on)
{
	config(g, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0));
}

uint16_t eg_phy_read(struct eg *g, unsigned r)
{
	uint32_t v;

	eg_write(g, E1000_MDIC, (uint32_t)MDIC_OP_READ << 26 | 1u << 21 | r << 16);
	v = eg_read(g, E1000_MDIC);
	MUST((v & MDIC_READY) && !(v & MDIC_ERROR));
	return (uint16_t)v;
}

void eg_phy_write(struct eg *g, unsigned r, uint16_t v)
{
	eg_write(g, E1000_MDIC, (uint32_t)MDIC_OP_WRITE << 26 | 1u << 21 | r << 16 | v);
}

/* ---- memory ---- */

void *eg_at(struct eg *g, uint64_t gpa)
{
	void *p = ram_ptr(&g->ram, gpa, 1);

	MUST(p);
	return p;
}

void eg_put64(struct eg *g, uint64_t gpa, uint64_t v)
{
	memcpy(eg_at(g, gpa), &v, sizeof(v));
}

uint64_t eg_get64(struct eg *g, uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, eg_at(g, gpa), sizeof(v));
	return v;
}

/* ---- the driver ---- */

static unsigned size_of(uint32_t rctl)
{
	unsigned size = 2048u >> RCTL_BSIZE(rctl);

	return rctl & RCTL_BSEX ? size * 16 : size;
}

static void post_rx(struct eg *g, unsigned i)
{
	eg_put64(g, EG_RX_RING + i * 16, EG_RX_BUF(i));
	eg_put64(g, EG_RX_RING + i * 16 + 8, 0);
}

static void ring(struct eg *g, unsigned base, uint32_t gpa, unsigned n)
{
	eg_write(g, base, gpa);
	eg_write(g, base + 4, 0);
	eg_write(g, base + 8, n * 16);
	eg_write(g, base + 0x10, 0);
	eg_write(g, base + 0x18, 0);
}

void eg_up(struct eg *g, unsigned n, uint32_t rctl)
{
	eg_write(g, E1000_CTRL, CTRL_RST);
	g->n_rx = g->n_tx = n;
	g->rx_next = g->tx_next = g->tx_done = 0;
	g->buffer = size_of(rctl);
	eg_write(g, E1000_CTRL, eg_read(g, E1000_CTRL) | CTRL_SLU);
	ring(g, E1000_RDBAL, EG_RX_RING, n);
	ring(g, E1000_TDBAL, EG_TX_RING, n);
	for (unsigned i = 0; i < n; i++)
		post_rx(g, i);
	memset(eg_at(g, EG_TX_RING), 0, (size_t)n * 16);
	eg_write(g, E1000_RCTL, rctl | RCTL_EN);
	eg_write(g, E1000_RDT, n - 1);
	eg_write(g, E1000_TCTL, TCTL_EN | TCTL_PSP);
	eg_settle(g);
	eg_read(g, E1000_ICR);
}

void eg_tx_desc(struct eg *g, uint64_t address, uint64_t word)
{
	eg_put64(g, EG_TX_RING + g->tx_next * 16, address);
	eg_put64(g, EG_TX_RING + g->tx_next * 16 + 8, word);
	g->tx_next = (g->tx_next + 1) % g->n_tx;
}

void eg_tx_kick(struct eg *g)
{
	eg_write(g, E1000_TDT, g->tx_next);
	eg_settle(g);
}

unsigned eg_tx_reap(struct eg *g)
{
	unsigned n = 0;

	for (; g->tx_done != g->tx_next; n++) {
		uint64_t *word = eg_at(g, EG_TX_RING + g->tx_done * 16 + 8);

		if (!(*word >> 32 & TXD_DD))
			break;
		*word = 0;
		g->tx_done = (g->tx_done + 1) % g->n_tx;
	}
	return n;
}

void eg_send(struct eg *g, const void *frame, unsigned len, uint64_t bits)
{
	uint32_t at = EG_TX_BUF(g->tx_next);

	memcpy(eg_at(g, at), frame, len);
	eg_tx_desc(g, at, len | TXD_EOP | bits);
}

int eg_receive(struct eg *g, uint8_t *to, size_t room)
{
	size_t len = 0;
	uint64_t word;

	g->rx_pieces = 0;
	do {
		word = eg_get64(g, EG_RX_RING + g->rx_next * 16 + 8);
		if (!(word >> 32 & RXD_DD))
			return -1;
		MUST((word & 0xffff) <= g->buffer && len + (word & 0xffff) <= room);
		memcpy(to + len, eg_at(g, EG_RX_BUF(g->rx_next)), word & 0xffff);
		len += word & 0xffff;
		post_rx(g, g->rx_next);
		eg_write(g, E1000_RDT, g->rx_next);
		g->rx_next = (g->rx_next + 1) % g->n_rx;
		g->rx_pieces++;
	} while (!(word >> 32 & RXD_EOP));
	g->rx_checksum = (uint16_t)(word >> 16);
	g->rx_status = (uint8_t)(word >> 32);
	g->rx_errors = (uint8_t)(word >> 40);
	g->rx_special = (uint16_t)(word >> 48);
	return (int)len;
}
