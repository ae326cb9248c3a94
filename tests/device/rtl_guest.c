/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "../unit/unit.h"

#include "base/iov.h"
#include "net/fcs.h"
#include "object/object.h"
#include "rtl_guest.h"

/* ---- the board ---- */

static void rg_set_line(void *opaque, unsigned gsi, bool level)
{
	struct rtl_guest *g = opaque;

	(void)gsi;
	if (atomic_exchange(&g->level, level) != level && level)
		atomic_fetch_add(&g->edges, 1);
}

static unsigned rg_gsi(unsigned slot, unsigned pin)
{
	return 16 + (slot + pin) % 4;
}

static struct loop *rg_place(void *arg)
{
	return arg;
}

static void rg_config(struct rtl_guest *g, unsigned off, unsigned size, uint32_t v)
{
	pci_config_write(&g->bus, g->pci->devfn, off, size, v);
}

static unsigned rg_boards; /* there are now */

static struct pci_device *rg_device(const char *bus, const char *options)
{
	struct error err = { "" };
	struct opt_list l;
	struct device *d;
	char text[200];

	snprintf(text, sizeof(text), "rtl8139,bus=%s%s%s", bus, *options ? "," : "", options);
	assert_int_equal(opt_list_parse(text, "driver", &l, &err), 0);
	d = device_add(&l, &err);
	opt_list_free(&l);
	if (!d)
		print_error("%s\n", err.msg);
	assert_non_null(d);
	return container_of(d, struct pci_device, dev);
}

void rg_open(struct rtl_guest *g, const char *options)
{
	static const struct ram_block blocks[] = { { .gpa = 0, .size = RG_RAM0 },
						   { .gpa = RG_RAM1, .size = RG_RAM1_END - RG_RAM1 } };
	struct pci_host host;
	struct error err;
	struct loop *loop = g->loop;
	char bus[16];

	memset(g, 0, sizeof(*g));
	g->loop = loop ? loop : loop_new("test", &err);
	assert_non_null(g->loop);
	g->mem = space_new("memory", 1ULL << 40, false);
	g->io = space_new("io", 65536, true);
	assert_int_equal(ram_init(&g->ram, blocks, 2, RAM_PRIVATE, &err), 0);
	g->irq = (struct irq_chip){ .set_line = rg_set_line, .opaque = g };
	host = (struct pci_host){ .mem = g->mem,
				  .io = g->io,
				  .ram = &g->ram,
				  .irq = &g->irq,
				  .main_loop = g->loop,
				  .place = rg_place,
				  .place_arg = g->loop,
				  .intx_gsi = rg_gsi };
	snprintf(bus, sizeof(bus), "pci.%u", rg_boards++);
	assert_int_equal(pci_bus_init(&g->bus, bus, &host, &err), 0);
	g->pci = rg_device(bus, options);
	g->dev = to_rtl8139(g->pci);
	g->nic = &g->dev->client;
	rg_config(g, PCI_BASE_ADDRESS_0, 4, RG_BAR_IO);
	rg_config(g, PCI_BASE_ADDRESS_1, 4, RG_BAR_MEM);
	rg_config(g, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void rg_close(struct rtl_guest *g)
{
	pci_bus_deinit(&g->bus);
	rg_boards--;
	assert_false(atomic_load(&g->level));
	loop_free(g->loop);
	space_free(g->mem);
	space_free(g->io);
	ram_destroy(&g->ram);
	g->loop = NULL;
}

/* ---- accesses ---- */

uint32_t rg_read(struct rtl_guest *g, unsigned off, unsigned size)
{
	uint64_t v;

	assert_true(space_read(g->mem, RG_BAR_MEM + off, size, &v));
	return (uint32_t)v;
}

void rg_write(struct rtl_guest *g, unsigned off, unsigned size, uint32_t v)
{
	assert_true(space_write(g->mem, RG_BAR_MEM + off, size, v));
}

uint32_t rg_in(struct rtl_guest *g, unsigned off, unsigned size)
{
	uint64_t v;

	assert_true(space_read(g->io, RG_BAR_IO + off, size, &v));
	return (uint32_t)v;
}

void rg_out(struct rtl_guest *g, unsigned off, unsigned size, uint32_t v)
{
	assert_true(space_write(g->io, RG_BAR_IO + off, size, v));
}

void *rg_at(struct rtl_guest *g, uint64_t gpa)
{
	void *p = ram_ptr(&g->ram, gpa, 0);

	assert_non_null(p);
	return p;
}

uint32_t rg_get32(struct rtl_guest *g, uint64_t gpa)
{
	/* The device may write it at the same time. */
	return le32toh(atomic_load((_Atomic uint32_t *)rg_at(g, gpa)));
}

void rg_put32(struct rtl_guest *g, uint64_t gpa, uint32_t v)
{
	atomic_store((_Atomic uint32_t *)rg_at(g, gpa), htole32(v));
}

/* ---- the driver ---- */

static void rg_reset(struct rtl_guest *g)
{
	rg_write(g, R_CR, 1, CR_RST);
	assert_int_equal(rg_read(g, R_CR, 1) & CR_RST, 0);
	g->cur_rx = g->cur_tx = g->dirty_tx = g->cur_desc = 0;
}

void rg_up_c(struct rtl_guest *g, unsigned rblen, bool wrap)
{
	rg_reset(g);
	g->cplus = false;
	g->ring_len = 8192u << rblen;
	rg_write(g, R_RBSTART, 4, RG_RING);
	rg_write(g, R_CR, 1, CR_RE | CR_TE);
	rg_write(g, R_RCR, 4,
		 7u << 13 | rblen << RCR_RBLEN_SHIFT | 6u << 8 | (wrap ? RCR_WRAP : 0u) | RCR_AB | RCR_APM | RCR_AM);
	for (unsigned i = 0; i < RTL_SLOTS; i++)
		rg_write(g, R_TSAD0 + 4 * i, 4, RG_TX_BUF(2 * i));
	rg_write(g, R_IMR, 2, INT_ALL);
}

void rg_desc(struct rtl_guest *g, uint64_t ring, unsigned i, uint32_t opts1, uint32_t opts2, uint64_t addr)
{
	uint64_t d = ring + (uint64_t)i * RTL_DESC_LEN;

	rg_put32(g, d + 4, opts2);
	rg_put32(g, d + 8, (uint32_t)addr);
	rg_put32(g, d + 12, (uint32_t)(addr >> 32));
	rg_put32(g, d, opts1);
}

static void rg_fill_rx(struct rtl_guest *g, unsigned i)
{
	rg_desc(g, RG_RX_RING, i, DESC_OWN | (i == RTL_DESCS - 1 ? DESC_EOR : 0u) | RG_RX_LEN, 0, RG_RX_BUF(i));
}

void rg_up_cplus(struct rtl_guest *g)
{
	rg_reset(g);
	g->cplus = true;
	memset(rg_at(g, RG_TX_RING), 0, RTL_DESCS * RTL_DESC_LEN);
	for (unsigned i = 0; i < RTL_DESCS; i++)
		rg_fill_rx(g, i);
	rg_write(g, R_CPCR, 2, CPCR_TX | CPCR_RX | 1 << 4 | 1 << 3);
	rg_write(g, R_THPDS, 4, 0);
	rg_write(g, R_THPDS + 4, 4, 0);
	rg_write(g, R_RDSAR, 4, RG_RX_RING);
	rg_write(g, R_RDSAR + 4, 4, 0);
	rg_write(g, R_TNPDS, 4, RG_TX_RING);
	rg_write(g, R_TNPDS + 4, 4, 0);
	rg_write(g, R_CR, 1, CR_RE | CR_TE);
	rg_write(g, R_RCR, 4, 7u << 13 | 6u << 8 | RCR_AB | RCR_APM | RCR_AM);
	rg_write(g, R_IMR, 2, INT_ALL);
}

void rg_poll(struct rtl_guest *g)
{
	rg_write(g, R_TPPOLL, 1, POLL_NORMAL);
}

bool rg_send(struct rtl_guest *g, const void *frame, unsigned len, uint32_t opts1, uint32_t opts2)
{
	unsigned i = g->cur_tx;

	if (!g->cplus) {
		if (!(rg_read(g, R_TSD0 + 4 * i, 4) & TSD_OWN))
			return false;
		memcpy(rg_at(g, RG_TX_BUF(2 * i)), frame, len);
		rg_write(g, R_TSD0 + 4 * i, 4, len | opts1);
		g->cur_tx = (i + 1) % RTL_SLOTS;
		return true;
	}
	if (rg_get32(g, RG_TX_RING + i * RTL_DESC_LEN) & DESC_OWN)
		return false;
	memcpy(rg_at(g, RG_TX_BUF(i)), frame, len);
	rg_desc(g, RG_TX_RING, i, DESC_OWN | DESC_FS | DESC_LS | (i == RTL_DESCS - 1 ? DESC_EOR : 0u) | opts1 | len,
		opts2, RG_TX_BUF(i));
	g->cur_tx = (i + 1) % RTL_DESCS;
	return true;
}

/* ---- receiving ---- */

static uint32_t rg_last_status;

uint32_t rg_rx_status(void)
{
	return rg_last_status;
}

static void rg_check_fcs(const uint8_t *p, size_t len)
{
	uint32_t fcs;

	memcpy(&fcs, p + len, 4);
	assert_int_equal(le32toh(fcs), fcs_end(fcs_add(FCS_INIT, p, len)));
}

static int rg_receive_c(struct rtl_guest *g, uint8_t *to, size_t room)
{
	static uint8_t p[8192 + 4];
	bool wrap = rg_read(g, R_RCR, 4) & RCR_WRAP && g->ring_len < 65536;
	uint32_t at = g->cur_rx % g->ring_len, len;

	if (rg_read(g, R_CR, 1) & CR_BUFE)
		return -1;
	rg_last_status = rg_get32(g, RG_RING + at);
	len = rg_last_status >> 16;
	assert_in_range(len, 4, room + 4);
	for (uint32_t i = 0; i < len; i++) {
		uint32_t off = at + 4 + i;

		p[i] = *(uint8_t *)rg_at(g, RG_RING + (wrap ? off : off % g->ring_len));
	}
	rg_check_fcs(p, len - 4);
	memcpy(to, p, len - 4);
	g->cur_rx = (g->cur_rx + len + 4 + 3) & ~3u;
	rg_write(g, R_CAPR, 2, (uint16_t)(g->cur_rx % g->ring_len - 16));
	return (int)(len - 4);
}

static int rg_receive_cplus(struct rtl_guest *g, uint8_t *to, size_t room)
{
	unsigned i = g->cur_desc;
	uint32_t status = rg_get32(g, RG_RX_RING + i * RTL_DESC_LEN), len = status & RXD_SIZE;

	if (status & DESC_OWN)
		return -1;
	rg_last_status = status;
	assert_true(status & DESC_FS && status & DESC_LS);
	if (status & RXD_RES)
		len = 4;
	else
		assert_in_range(len, 4, room + 4);
	memcpy(to, rg_at(g, RG_RX_BUF(i)), len - 4);
	if (!(status & RXD_RES) && !(rg_get32(g, RG_RX_RING + i * RTL_DESC_LEN + 4) & RXD_TAVA))
		rg_check_fcs(rg_at(g, RG_RX_BUF(i)), len - 4);
	rg_fill_rx(g, i);
	g->cur_desc = (i + 1) % RTL_DESCS;
	return (int)(len - 4);
}

int rg_receive(struct rtl_guest *g, uint8_t *to, size_t room)
{
	return g->cplus ? rg_receive_cplus(g, to, room) : rg_receive_c(g, to, room);
}
