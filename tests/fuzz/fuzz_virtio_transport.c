/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transports of virtio against drivers that do anything: the input is a list of register accesses, in I/O ports, BARs,
 * virtio-mmio windows and config space, of guest memory and frames on the wire. Its first byte says which device: a
 * transitional NIC on PCI, one on virtio-mmio of version 1, one of version 2. Some operations are what a sane driver does
 * (all of its way up; a chain), so that an input gets behind the registers without having to guess.
 *
 * Beside what the sanitizers see, it holds that every frame is accounted for after each operation, and that after a reset
 * nothing is left: no status, no interrupt on the line, no queue, no legacy driver.
 */
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "fresh.h"
#include "nic/virtio_net.h"
#include "nic/virtio_net_pci.h"
#include "nic_wire.h"
#include "pci/pci.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

#define RAM_SIZE  (256 * KIB)
#define RING(i)	  (0x4000u * (1 + (i)))
#define BUFFERS	  0x10000
#define PORTS	  0xc000
#define BAR_MSIX  0xd0000000ULL
#define BAR_REGS  0xd1000000ULL
#define MMIO_AT	  0xd2000000ULL
#define GSI	  20
#define MAX_OPS	  2000
#define MAX_SIZE  256
#define ALIGNMENT 4096

enum {
	ON_PCI,
	ON_MMIO1,
	ON_MMIO2,
	BOARDS
};

static struct board {
	struct net_client *wire;
	struct device *proxy;
	struct virtio_device *v;
	uint64_t window; /* of virtio-mmio */
} boards[BOARDS], *board;

static struct loop *loop;
static struct ram ram;
static struct space *mem, *io;
static struct pci_bus bus;
static struct pci_device *pci;
static bool level[PCI_LINES];

/* ---- the board ---- */

static void set_line(void *opaque, unsigned gsi, bool on)
{
	(void)opaque;
	level[gsi] = on;
}

static int route_add(void *opaque, int *fd, struct error *err)
{
	(void)opaque, (void)err;
	*fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return *fd;
}

static void route_del(void *opaque, int route)
{
	(void)opaque;
	close(route);
}

static int route_set(void *opaque, int route, const struct msi_message *msg)
{
	(void)opaque, (void)route, (void)msg;
	return 0;
}

static const struct irq_chip irq = { set_line, route_add, route_del, route_set, NULL };

static unsigned gsi(unsigned slot, unsigned pin)
{
	return (slot + pin) % 4;
}

static struct loop *place(void *arg)
{
	return arg;
}

/* ---- registers ---- */

static void port_write(unsigned off, unsigned size, uint64_t v)
{
	space_write(io, PORTS + off, size, v);
}

static uint32_t port_read(unsigned off, unsigned size)
{
	uint64_t v = 0;

	space_read(io, PORTS + off, size, &v);
	return (uint32_t)v;
}

static void mem_write(uint64_t at, unsigned size, uint64_t v)
{
	space_write(mem, at, size, v);
}

static uint32_t mem_read(uint64_t at, unsigned size)
{
	uint64_t v = 0;

	space_read(mem, at, size, &v);
	return (uint32_t)v;
}

static unsigned some_size(void)
{
	return 1u << get(1) % 4;
}

/* A value that means something more often than chance would have it. */
static uint64_t some_value(void)
{
	unsigned how = (unsigned)get(1);

	switch (how % 8) {
	case 0:
		return how / 8;
	case 1:
		return RING(how / 8 % 3) >> 12;
	case 2:
		return RING(how / 8 % 3);
	case 3:
		return UINT64_MAX >> how / 8;
	case 4:
		return BIT(how / 8);
	default:
		return get(4);
	}
}

/* ---- drivers ---- */

static void *gpa_ptr(uint64_t gpa, size_t len)
{
	return ram_ptr(&ram, gpa, len);
}

static void up_by_ports(void)
{
	uint32_t features = get(1) & 1 ? 0x3fffffff : (uint32_t)get(4);

	port_write(VIRTIO_PCI_STATUS, 1, 0);
	port_write(VIRTIO_PCI_STATUS, 1, 3);
	port_write(VIRTIO_PCI_GUEST_FEATURES, 4, port_read(VIRTIO_PCI_HOST_FEATURES, 4) & features);
	for (unsigned i = 0; i < 3; i++) {
		port_write(VIRTIO_PCI_QUEUE_SEL, 2, i);
		memset(gpa_ptr(RING(i), 0x3000), 0, 0x3000);
		port_write(VIRTIO_PCI_QUEUE_PFN, 4, RING(i) >> 12);
	}
	if (get(1) & 7)
		port_write(VIRTIO_PCI_STATUS, 1, 7);
}

static void up_by_bar(void)
{
	uint64_t features = get(1) & 1 ? UINT64_MAX : get(8) | BIT(VIRTIO_F_VERSION_1);

	mem_write(BAR_REGS + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	for (unsigned word = 0; word < 2; word++) {
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_DFSELECT, 4, word);
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_GFSELECT, 4, word);
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_GF, 4,
			  mem_read(BAR_REGS + VIRTIO_PCI_COMMON_DF, 4) & (uint32_t)(features >> 32 * word));
	}
	mem_write(BAR_REGS + VIRTIO_PCI_COMMON_STATUS, 1, 11);
	for (unsigned i = 0; i < 3; i++) {
		memset(gpa_ptr(RING(i), 0x3000), 0, 0x3000);
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_Q_DESCLO, 4, RING(i));
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_Q_AVAILLO, 4, RING(i) + 0x1000);
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_Q_USEDLO, 4, RING(i) + 0x2000);
		mem_write(BAR_REGS + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	}
	mem_write(BAR_REGS + VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

static void reg(unsigned off, uint32_t v)
{
	mem_write(board->window + off, 4, v);
}

static void mmio_ring(unsigned i, unsigned size)
{
	reg(VIRTIO_MMIO_QUEUE_SEL, i);
	memset(gpa_ptr(RING(i), 0x3000), 0, 0x3000);
	reg(VIRTIO_MMIO_QUEUE_NUM, MIN(size, mem_read(board->window + VIRTIO_MMIO_QUEUE_NUM_MAX, 4)));
	reg(VIRTIO_MMIO_QUEUE_ALIGN, ALIGNMENT);
	reg(VIRTIO_MMIO_QUEUE_PFN, RING(i) / ALIGNMENT);
	reg(VIRTIO_MMIO_QUEUE_DESC_LOW, RING(i));
	reg(VIRTIO_MMIO_QUEUE_AVAIL_LOW, RING(i) + 0x1000);
	reg(VIRTIO_MMIO_QUEUE_USED_LOW, RING(i) + 0x2000);
	reg(VIRTIO_MMIO_QUEUE_READY, 1);
}

/* Registers of the other version are written too: they are not there. */
static void up_by_mmio(void)
{
	uint64_t features = get(1) & 1 ? ~BIT(VIRTIO_F_BAD_FEATURE) : get(8) | BIT(VIRTIO_F_VERSION_1);
	unsigned size = 1u << get(1) % 9;

	reg(VIRTIO_MMIO_STATUS, 0);
	reg(VIRTIO_MMIO_STATUS, 3);
	reg(VIRTIO_MMIO_GUEST_PAGE_SIZE, ALIGNMENT);
	for (unsigned word = 0; word < 2; word++) {
		reg(VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
		reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		reg(VIRTIO_MMIO_DRIVER_FEATURES,
		    mem_read(board->window + VIRTIO_MMIO_DEVICE_FEATURES, 4) & (uint32_t)(features >> 32 * word));
	}
	reg(VIRTIO_MMIO_STATUS, 11);
	for (unsigned i = 0; i < 3; i++)
		mmio_ring(i, size);
	if (get(1) & 7)
		reg(VIRTIO_MMIO_STATUS, 15);
}

static void bring_up(void)
{
	if (board != &boards[ON_PCI])
		up_by_mmio();
	else if (get(1) & 1)
		up_by_ports();
	else
		up_by_bar();
}

/* A chain of up to four pieces, where the device looks for it. */
static void post_chain(void)
{
	unsigned i = get(1) % board->v->n_queues, n = 1 + get(1) % 4;
	const struct virtq *q = &board->v->queue[i].q;
	unsigned mask = q->size - 1u, at;
	struct vring_desc *d = gpa_ptr(q->desc_gpa, sizeof(*d) * q->size);
	uint16_t *avail = gpa_ptr(q->driver_gpa, 2 * (3 + (size_t)q->size));

	if (!q->enabled || !is_power_of_2(q->size) || q->size > MAX_SIZE || !d || !avail)
		return;
	fresh_mark_host(d, sizeof(*d) * q->size);
	fresh_mark_host(avail, 2 * (3 + (size_t)q->size));
	at = avail[1] * 4u;
	avail[2 + (avail[1] & mask)] = (uint16_t)(at & mask);
	for (unsigned k = 0; k < n; k++, at++) {
		uint64_t gpa = BUFFERS + get(2) % (RAM_SIZE - BUFFERS - 4096);
		uint16_t flags = k + 1 < n ? VRING_DESC_F_NEXT : 0;

		if (i == 0 || (i == 2 && k + 1 == n))
			flags |= VRING_DESC_F_WRITE;
		d[at & mask] =
			(struct vring_desc){ gpa, 1 + (uint32_t)get(2) % 4096, flags, (uint16_t)((at + 1) & mask) };
	}
	avail[1]++;
}

static void kick(void)
{
	unsigned i = (unsigned)get(1) % 4;

	if (board != &boards[ON_PCI])
		reg(VIRTIO_MMIO_QUEUE_NOTIFY, i);
	else if (get(1) & 1)
		port_write(VIRTIO_PCI_QUEUE_NOTIFY, 2, i);
	else
		mem_write(BAR_REGS + VPCI_NOTIFY * VPCI_PART_SIZE + 4 * i, 2, 0);
}

/* ---- any access ---- */

static void access_ports(void)
{
	unsigned off = get(1) % 80, size = some_size();

	if (get(1) & 1)
		port_read(off, size);
	else
		port_write(off, size, some_value());
}

static void access_memory(uint64_t base, uint64_t size)
{
	uint64_t at = base + get(2) % size;
	unsigned width = some_size();

	if (get(1) & 1)
		mem_read(at, width);
	else
		mem_write(at, width, some_value());
}

static void access_mmio(void)
{
	uint64_t at = board->window + get(1) % 128 * 4;

	if (get(1) & 1)
		mem_read(at, 4);
	else
		mem_write(at, 4, some_value());
}

static void access_config(void)
{
	unsigned off = (unsigned)get(1), size = 1u << get(1) % 3;

	if (get(1) & 1)
		pci_config_read(&bus, pci->devfn, off, size);
	else
		pci_config_write(&bus, pci->devfn, off, size, (uint32_t)some_value());
}

static void any_access(void)
{
	if (board != &boards[ON_PCI]) {
		if (get(1) & 3)
			access_mmio();
		else
			access_memory(board->window, VIRTIO_MMIO_SIZE + 8);
		return;
	}
	switch (get(1) % 8) {
	case 0:
		access_memory(BAR_MSIX, 0x1000);
		break;
	case 1:
		access_config();
		break;
	case 2:
	case 3:
		access_memory(BAR_REGS, 64);
		break;
	case 4:
		access_memory(BAR_REGS, 0x4000);
		break;
	default:
		access_ports();
	}
}

static void operation(void)
{
	static const struct frame_meta plain;
	size_t len;

	switch (get(1) % 10) {
	case 0:
		bring_up();
		break;
	case 1:
	case 2:
		post_chain();
		break;
	case 3:
		kick();
		break;
	case 4:
		len = get(2);
		wire_give(1 + get(1) % 4, len, len, NULL, 18, &plain);
		break;
	case 5:
		fresh_poke(RAM_SIZE);
		break;
	case 6:
		net_set_link(wire, get(1) & 1); /* a change of the configuration */
		break;
	default:
		any_access();
	}
}

/* ---- life ---- */

static struct virtio_device *finish(struct object *o, unsigned which)
{
	struct virtio_device *v = to_virtio_device(to_device(o));

	boards[which].v = v;
	return v;
}

static struct object *new_nic(const char *type, const char *on)
{
	struct object *o = object_new(type, NULL);

	CHECK(o && object_set(o, "netdev", on, NULL) == 0);
	return o;
}

static void make_pci(void)
{
	struct object *o;

	wire_open("pci", loop, NET_OFF_ALL);
	o = new_nic("virtio-net-pci", "pci");
	boards[ON_PCI].wire = wire;
	boards[ON_PCI].proxy = to_device(o);
	CHECK(device_realize(to_device(o), &bus.bus, NULL) == 0);
	pci = to_pci_device(to_device(o));
	boards[ON_PCI].v = to_virtio_pci(pci)->vdev;
}

static int set_version(void *legacy, struct object *o, struct error *err)
{
	return object_set(o, "force-legacy", legacy ? "on" : "off", err);
}

static void make_mmio(unsigned which, const char *name)
{
	struct virtio_mmio_place at = {
		.index = which,
		.mem = mem,
		.base = MMIO_AT + which * 0x1000,
		.gsi = GSI + which,
		.irq = &irq,
		.ram = &ram,
		.main_loop = loop,
	};
	struct virtio_mmio *m;
	struct object *o;

	wire_open(name, loop, NET_OFF_ALL);
	m = virtio_mmio_new(&at, set_version, which == ON_MMIO1 ? &at : NULL, NULL);
	CHECK(m);
	o = new_nic("virtio-net-device", name);
	CHECK(device_realize(to_device(o), &m->bus, NULL) == 0);
	finish(o, which);
	boards[which].wire = wire;
	boards[which].proxy = &m->dev;
	boards[which].window = at.base;
}

static void init(void)
{
	static const struct type *const types[] = {
		&type_object,	  &type_device,	     &type_pci_device, &type_pci_host_bridge, &type_virtio_device,
		&type_virtio_pci, &type_virtio_mmio, &type_virtio_net, &type_virtio_net_pci,  NULL
	};
	static const struct ram_block block = { .gpa = 0, .size = RAM_SIZE };
	struct pci_host host;

	log_init("fuzz", LOG_ERR);
	vm_clock_manual();
	CHECK(types_init(types, NULL) == 0);
	loop = loop_new("fuzz", NULL);
	mem = space_new("memory", 1ULL << 40, false);
	io = space_new("io", 65536, true);
	CHECK(loop && mem && io && ram_init(&ram, &block, 1, RAM_PRIVATE, NULL) == 0);
	fresh_start(&ram);
	host = (struct pci_host){ mem, io, &ram, &irq, loop, place, loop, gsi };
	CHECK(pci_bus_init(&bus, "pci.0", &host, NULL) == 0);
	make_pci();
	make_mmio(ON_MMIO1, "mmio1");
	make_mmio(ON_MMIO2, "mmio2");
}

static void expect_fresh(void)
{
	struct virtio_device *v = board->v;

	CHECK(!virtio_get_status(v) && !atomic_load(&v->isr) && !v->started && !v->legacy && !v->guest_features);
	for (unsigned i = 0; i < v->n_queues; i++)
		CHECK(!v->queue[i].q.enabled && !v->queue[i].q.running && v->queue[i].q.vector == 0xffff);
	for (unsigned i = 0; i < PCI_LINES; i++)
		CHECK(!level[i]);
}

static void bar(unsigned n, uint32_t address)
{
	pci_config_write(&bus, pci->devfn, PCI_BASE_ADDRESS_0 + 4 * n, 4, address);
}

/* As after power-on, and what firmware does then. */
static void start_over(void)
{
	device_reset(board->proxy);
	expect_fresh();
	fresh_over(loop);
	if (board != &boards[ON_PCI])
		return;
	bar(0, PORTS);
	bar(1, BAR_MSIX);
	bar(4, BAR_REGS);
	bar(5, 0);
	pci_config_write(&bus, pci->devfn, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!loop)
		init();
	in = data;
	left = size;
	board = &boards[get(1) % BOARDS];
	wire = board->wire;
	start_over();
	fresh_mark(0, BUFFERS);
	for (unsigned i = 0; left && i < MAX_OPS; i++) {
		operation();
		fresh_turns(loop);
		CHECK(wire_balanced());
	}
	start_over();
	return 0;
}
