/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtl8139 against a driver and a wire that do anything: the input is a list of operations on registers (of any place
 * and width, through the address spaces), rings, config space, the wire and time. Some are what a sane driver does, so
 * that an input gets deep into the device without having to guess; all take their values from the input.
 *
 * Beside what the sanitizers see: every frame is accounted for after each operation, the interrupt line is what status
 * and mask say, the loop comes to rest, and a reset ends everything.
 */

#include "base/log.h"
#include "fresh.h"
#include "nic/rtl8139.h"
#include "nic_wire.h"

#define RAM_SIZE (256 * KIB)
#define BAR_IO	 0xc000u
#define BAR_MEM	 0xe0000000u
#define RX_RING	 0x1000u
#define TX_RING	 0x2000u
#define HIGH	 0x3000u
#define BUFFERS	 0x4000u
#define BUFFER	 0x10000u /* C mode's */
#define MAX_OPS	 1000
#define UNPLUG	 0xf0 /* inputs that begin with this or more end with the device's end */

static struct loop *loop;
static struct ram ram;
static struct space *mem, *io;
static struct pci_bus bus;
static struct irq_chip irq;
static bool level;

/* Both kinds of the device: each input begins with which it is for. */
static struct board {
	struct rtl8139 *nic;
	struct net_client *wire;
	struct eeprom93 eeprom; /* as it was made: a reset does not bring it back */
	struct rtl8139 fresh;	/* ... and reset: what the state table says of it is looked at */
	uint32_t io, mem;	/* its BARs */
} boards[2], *board;
static struct pci_device *pci;
static struct rtl8139 *nic;

/* ---- the board ---- */

static void set_line(void *opaque, unsigned gsi, bool l)
{
	(void)opaque;
	(void)gsi;
	level = l;
}

static unsigned gsi(unsigned slot, unsigned pin)
{
	return 16 + (slot + pin) % 4;
}

static struct loop *place(void *arg)
{
	return arg;
}

static void config(unsigned off, unsigned size, uint32_t v)
{
	pci_config_write(&bus, pci->devfn, off, size, v);
}

static void map(void)
{
	config(PCI_BASE_ADDRESS_0, 4, board->io);
	config(PCI_BASE_ADDRESS_1, 4, board->mem);
	config(PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void write_reg(unsigned off, unsigned size, uint32_t v)
{
	space_write(mem, board->mem + off, size, v);
}

/* ---- the wire ---- */

static void wire_frames(void)
{
	size_t len = get(2), want = get(2);
	struct frame_meta m = { .data_valid = get(1) & 1 };

	wire_give(1 + get(1) % 8, len, want, NULL, 40, &m);
}

/* ---- the driver ---- */

static void up_c(uint32_t how)
{
	write_reg(R_CR, 1, CR_RST);
	write_reg(R_RBSTART, 4, how & 64 ? (uint32_t)get(4) : BUFFER);
	write_reg(R_CR, 1, CR_RE | CR_TE);
	write_reg(R_RCR, 4, (how & 15) << 11 >> 2 | (how & 16 ? RCR_WRAP : 0u) | RCR_AAP | RCR_AB | RCR_AM);
	write_reg(R_TCR, 4, how & 32 ? TCR_LBK : 0);
	for (unsigned i = 0; i < RTL_SLOTS; i++)
		write_reg(R_TSAD0 + 4 * i, 4, BUFFERS + 0x800 * i);
	write_reg(R_IMR, 2, INT_ALL);
}

static void up_cplus(uint32_t how)
{
	write_reg(R_CR, 1, CR_RST);
	write_reg(R_CPCR, 2, 0x1b | (how & 3) << 5);
	write_reg(R_RDSAR, 4, RX_RING);
	write_reg(R_TNPDS, 4, TX_RING);
	write_reg(R_THPDS, 4, HIGH);
	write_reg(R_CR, 1, CR_RE | CR_TE);
	write_reg(R_RCR, 4, RCR_AAP | RCR_AB | RCR_AM);
	write_reg(R_TCR, 4, how & 32 ? TCR_LBK : 0);
	write_reg(R_IMR, 2, INT_ALL);
}

static void put32(uint64_t gpa, uint32_t v)
{
	v = htole32(v);
	fresh_mark(gpa, 4);
	memcpy(ram_ptr(&ram, gpa, 4), &v, 4);
}

/* Descriptors from `i` on: address within the buffers unless the input says otherwise. */
static void descriptors(uint64_t ring)
{
	unsigned i = get(1) % 70, n = 1 + get(1) % 8;
	uint32_t opts1 = (uint32_t)get(4), opts2 = (uint32_t)get(4);

	for (; n; n--, i++) {
		uint32_t at = (uint32_t)get(2), high = 0;

		if (at & 1)
			at = (uint32_t)get(4), high = (uint32_t)get(1);
		put32(ring + i * 16 + 4, opts2);
		put32(ring + i * 16 + 8, at);
		put32(ring + i * 16 + 12, high);
		put32(ring + i * 16, opts1 | DESC_OWN);
		if (get(1) & 1)
			opts1 = (uint32_t)get(4);
	}
}

/* The headers of a TCP frame, then what the input has: something to be offloaded. */
static void tcp_frame(void)
{
	static const uint8_t head[54] = { 2, 0,	 0, 0, 0,  1, 2, 0, 0,	0, 0,	 2,    8,  0, 0x45, 0, 0, 200,
					  0, 1,	 0, 0, 64, 6, 0, 0, 10, 0, 0,	 1,    10, 0, 0,    2, 0, 80,
					  0, 90, 0, 0, 0,  0, 0, 0, 0,	0, 0x50, 0x18, 1,  0, 0,    0, 0, 0 };
	uint64_t at = BUFFERS + get(1) % 16 * 64;
	uint8_t *p = ram_ptr(&ram, at, 80);

	fresh_mark(at, 80);
	memcpy(p, head, sizeof(head));
	for (unsigned n = get(1) % 8; n; n--)
		p[get(1) % 80] = (uint8_t)get(1);
}

static void poke(void)
{
	uint64_t at = get(3) % RAM_SIZE, n = MIN(get(1), RAM_SIZE - at);
	uint8_t *p = ram_ptr(&ram, at, n);

	fresh_mark(at, n);
	for (uint64_t i = 0; i < n && left; i++)
		p[i] = (uint8_t)get(1);
}

static void access(bool pio)
{
	unsigned off = get(1), size = 1u << get(1) % 3;
	uint64_t v;

	if (pio) {
		space_write(io, board->io + off, size, get(size));
		return;
	}
	if (!(get(1) & 3))
		space_read(mem, board->mem + off, size, &v);
	else
		write_reg(off, size, (uint32_t)get(size));
}

static void other_side(unsigned how)
{
	if (how & 1)
		config((unsigned)get(1), 1u << get(1) % 3, (uint32_t)get(4));
	else if (how & 2)
		(how & 4 ? net_start : net_quiesce)(wire);
	else
		net_set_link(&nic->client, get(1) & 1);
}

static void operation(void)
{
	switch (get(1) % 20) {
	case 0:
		up_c((uint32_t)get(1));
		break;
	case 1:
		up_cplus((uint32_t)get(1));
		break;
	case 2:
	case 3:
		access(false);
		break;
	case 4:
		access(true);
		break;
	case 5:
	case 6:
		descriptors(TX_RING);
		break;
	case 7:
	case 8:
		descriptors(RX_RING);
		break;
	case 9:
		descriptors(HIGH);
		break;
	case 10:
		write_reg(R_TPPOLL, 1, get(1) & 1 ? POLL_NORMAL : POLL_HIGH | POLL_NORMAL);
		break;
	case 11:
		write_reg(R_TSD0 + 4 * (get(1) & 3), 4, (uint32_t)get(2));
		break;
	case 12:
	case 13:
		wire_frames();
		break;
	case 14:
		take = get(1) & 1 ? NET_BATCH : (unsigned)get(1) % 8;
		net_wake_peer(wire, NET_WAKE_ROOM);
		break;
	case 15:
		net_takes_changed(wire, get(1) & 1 ? NET_OFF_ALL : (uint32_t)get(1) & NET_OFF_ALL);
		break;
	case 16:
		tcp_frame();
		break;
	case 17:
		poke();
		break;
	case 18:
		vm_clock_step(clock_now(CLOCK_VM_NS) + get(5));
		break;
	default:
		other_side((unsigned)get(1));
		map();
	}
}

static void rest(void)
{
	unsigned turns = 0;

	while (loop_turn(loop))
		CHECK(++turns < 10000);
	CHECK(wire_balanced());
	CHECK(nic->rx.wp < nic->cfg.ring_size && nic->tx.slot < RTL_SLOTS);
	CHECK((atomic_load(&pci->intx) & 1) == !!(atomic_load(&nic->isr) & atomic_load(&nic->imr)));
	CHECK(eeprom93_sane(&nic->eeprom));
}

/* ---- life ---- */

static void make_device(unsigned which)
{
	static const char *const options[] = { "rtl8139,romfile=,mac=52:54:00:aa:bb:cc",
					       "rtl8139,romfile=,mac=52:54:00:aa:bb:cd,cplus=off" };
	struct board *b = &boards[which];
	struct opt_list l;
	struct device *d;

	CHECK(opt_list_parse(options[which], "driver", &l, NULL) == 0);
	d = device_add(&l, NULL);
	opt_list_free(&l);
	CHECK(d);
	b->nic = to_rtl8139(container_of(d, struct pci_device, dev));
	CHECK(net_connect(&b->nic->client, b->wire, NULL) == 0);
}

static void choose(unsigned which)
{
	board = &boards[which];
	nic = board->nic;
	pci = &nic->pci;
	wire = board->wire;
}

/* As after power-on. */
static void start_over(void)
{
	wire_start_over();
	vm_clock_step(0);
	nic->eeprom = board->eeprom;
	device_reset(&pci->dev);
	map();
	rest();
	CHECK(!counter_get(&nic->client.tx.held) && !counter_get(&nic->client.rx.held) && !level);
	fresh_clear();
}

/* Whatever is under way, the device goes. Another one takes its place. */
static void unplug(unsigned which)
{
	device_del(&pci->dev);
	CHECK(!level);
	make_device(which);
	choose(which);
}

static void init(void)
{
	static const struct type *const types[] = { &type_object,	   &type_device,  &type_pci_device,
						    &type_pci_host_bridge, &type_rtl8139, NULL };
	static const struct ram_block block = { .gpa = 0, .size = RAM_SIZE };
	struct pci_host host = { 0 };

	log_init("fuzz", LOG_ERR);
	vm_clock_manual();
	CHECK(types_init(types, NULL) == 0);
	loop = loop_new("fuzz", NULL);
	mem = space_new("memory", 1ULL << 40, false);
	io = space_new("io", 65536, true);
	CHECK(loop && mem && io && ram_init(&ram, &block, 1, RAM_PRIVATE, NULL) == 0);
	fresh_start(&ram);
	irq.set_line = set_line;
	host = (struct pci_host){ mem, io, &ram, &irq, loop, place, loop, gsi };
	CHECK(pci_bus_init(&bus, "pci.0", &host, NULL) == 0);
	for (unsigned i = 0; i < 2; i++) {
		wire_open(i ? "c" : "cplus", loop, 0);
		boards[i] = (struct board){ .wire = wire, .io = BAR_IO + i * 0x1000, .mem = BAR_MEM + i * 0x1000 };
		make_device(i);
		choose(i);
		board->eeprom = nic->eeprom;
		start_over();
		memcpy(&board->fresh, nic, sizeof(*nic));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t first;

	if (!loop)
		init();
	in = data;
	left = size;
	first = get(1);
	choose(first & 1);
	for (unsigned i = 0; left && i < MAX_OPS; i++) {
		operation();
		rest();
	}
	if (first >= UNPLUG)
		unplug(first & 1);
	start_over();
	fresh_expect(&rtl_state, nic, &board->fresh, (const char *[]){ NULL });
	return 0;
}
