/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI bus: config space, BARs that move, bus mastering, power states, shared INTx lines, places, assignment. */
#include <sched.h>
#include <unistd.h>

#include "pcibench.h"

static struct bench bench;
static struct bench *const b = &bench;

static int setup(void **state)
{
	(void)state;
	bench_init(b, NULL, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_destroy(b);
	return 0;
}

static struct test_pci *test_of(struct pci_device *p)
{
	return container_of(p, struct test_pci, pci);
}

static uint16_t command(struct pci_device *p)
{
	return (uint16_t)cfg_read(b, p, PCI_COMMAND, 2);
}

static void set_command(struct pci_device *p, uint16_t set, uint16_t clear)
{
	cfg_write(b, p, PCI_COMMAND, (uint16_t)((command(p) | set) & ~clear), 2);
}

/* ---- config space ---- */

static void header(void **state)
{
	struct pci_device *p = bench_add("test-pci");

	(void)state;
	assert_int_equal(cfg_read(b, b->bus.slot[0], 0, 4), 0x00081b36);
	assert_int_equal(cfg_read(b, b->bus.slot[0], PCI_CLASS_REVISION, 4) >> 8, 0x060000);
	assert_int_equal(p->devfn, PCI_DEVFN(1, 0));
	assert_int_equal(cfg_read(b, p, PCI_VENDOR_ID, 4), 0x56781234);
	assert_int_equal(cfg_read(b, p, PCI_CLASS_REVISION, 4), 0xff000007);
	assert_int_equal(cfg_read(b, p, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x87654321);
	assert_int_equal(cfg_read(b, p, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(cfg_read(b, p, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(command(p), 0);
	assert_true(bench_cap(b, p, PCI_CAP_ID_PM));
	assert_true(bench_cap(b, p, PCI_CAP_ID_MSIX));
	assert_false(bench_cap(b, p, PCI_CAP_ID_EXP));
}

static void nothing_reads_as_ones(void **state)
{
	struct pci_device *p = bench_add("test-pci,addr=3");

	(void)state;
	for (unsigned size = 1; size <= 4; size *= 2) {
		uint32_t ones = (uint32_t)((1ull << 8 * size) - 1);

		assert_int_equal(pci_config_read(&b->bus, PCI_DEVFN(4, 0), 0, size), ones);
		assert_int_equal(pci_config_read(&b->bus, p->devfn + 1, 0, size), ones);
		assert_int_equal(pci_config_read(&b->bus, p->devfn, 256, size), ones);
		assert_int_equal(pci_config_read(&b->bus, p->devfn, 4096, size), ones);
		assert_int_equal(pci_config_read(&b->bus, 256, 0, size), ones);
		assert_int_equal(pci_config_read(&b->bus, UINT32_MAX, UINT32_MAX, size), ones);
	}
	pci_config_write(&b->bus, p->devfn, 255, 4, 0);
	pci_config_write(&b->bus, p->devfn, UINT32_MAX - 1, 4, 0);
	assert_int_equal(cfg_read(b, p, 256, 4), UINT32_MAX);
}

static uint64_t port_read(uint16_t port, unsigned size)
{
	uint64_t v = 0;

	space_read(b->io, port, size, &v);
	return v;
}

static void ports(void **state)
{
	struct pci_device *p = bench_add("test-pci,addr=5");
	uint32_t at = 0x80000000u | (uint32_t)p->devfn << 8;

	(void)state;
	space_write(b->io, 0xcf8, 4, at | PCI_COMMAND);
	assert_int_equal(port_read(0xcf8, 4), at | PCI_COMMAND);
	space_write(b->io, 0xcfc, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	assert_int_equal(command(p), PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	space_write(b->io, 0xcfd, 1, PCI_COMMAND_INTX_DISABLE >> 8);
	assert_int_equal(port_read(0xcfc, 4) & 0xffff, command(p));
	assert_true(command(p) & PCI_COMMAND_INTX_DISABLE);

	/* every byte by every width equals ECAM */
	for (unsigned off = 0; off < 256; off++) {
		space_write(b->io, 0xcf8, 4, at | off); /* low bits of the latch are no register bits */
		assert_int_equal(port_read((uint16_t)(0xcfc + off % 4), 1), cfg_read(b, p, off, 1));
		if (off % 2 == 0)
			assert_int_equal(port_read((uint16_t)(0xcfc + off % 4), 2), cfg_read(b, p, off, 2));
		if (off % 4 == 0)
			assert_int_equal(port_read(0xcfc, 4), cfg_read(b, p, off, 4));
	}
	space_write(b->io, 0xcf8, 4, at & ~0x80000000u);
	assert_int_equal(port_read(0xcfc, 4), UINT32_MAX);
	space_write(b->io, 0xcf8, 4, at | 1 << 16);
	assert_int_equal(port_read(0xcfc, 4), UINT32_MAX);
	space_write(b->io, 0xcfc, 4, 0);
	assert_true(command(p) & PCI_COMMAND_MASTER);
	space_write(b->io, 0xcf8, 4, at);
	space_write(b->io, 0xcf8, 1, 0xff); /* the latch is a dword register only */
	assert_int_equal(port_read(0xcf8, 4), at);
}

/* Bytes that no guest may change, whatever it writes. */
static bool read_only(const struct pci_device *p, unsigned off)
{
	return off < PCI_COMMAND || (off >= PCI_CLASS_REVISION && off < PCI_CACHE_LINE_SIZE) ||
			       (off > PCI_CACHE_LINE_SIZE && off < PCI_BASE_ADDRESS_0) ||
			       (off >= PCI_CARDBUS_CIS && off < PCI_INTERRUPT_LINE) || off > PCI_INTERRUPT_LINE ?
		       p->wmask[off] == 0 :
		       false;
}

static void sweep(struct pci_device *p, uint32_t pattern)
{
	uint8_t before[PCI_CONFIG_SIZE];

	for (unsigned i = 0; i < sizeof(before); i++)
		before[i] = (uint8_t)cfg_read(b, p, i, 1);
	for (unsigned size = 1; size <= 4; size *= 2)
		for (unsigned off = 0; off < PCIE_CONFIG_SIZE; off++)
			pci_config_write(&b->bus, p->devfn, off, size, pattern ^ off);
	for (unsigned i = 0; i < sizeof(before); i++)
		if (read_only(p, i))
			assert_int_equal(cfg_read(b, p, i, 1), before[i]);
	assert_int_equal(cfg_read(b, p, PCI_CAPABILITY_LIST, 1), before[PCI_CAPABILITY_LIST]);
	assert_int_equal(cfg_read(b, p, p->pm_cap, 2), before[p->pm_cap] | before[p->pm_cap + 1] << 8);
}

static void config_sweep(void **state)
{
	static const uint32_t pattern[] = { 0, ~0u, 0x55555555, 0xaaaaaaaa, 0x00ff00ff, 0x12345678, 0xfee00000 };
	struct pci_device *p = bench_add("test-pci");
	uint64_t at;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pattern); i++) {
		sweep(p, pattern[i]);
		for (unsigned off = 0; off < PCIE_CONFIG_SIZE; off++)
			pci_config_write(&b->bus, 0, off, 4, pattern[i] ^ off);
		assert_int_equal(cfg_read(b, b->bus.slot[0], 0, 4), 0x00081b36);
	}
	/* after a reset it is as new */
	device_reset(&p->dev);
	assert_int_equal(command(p), 0);
	bench_assign(b);
	at = bench_bar(b, p, 0);
	bench_write(b, at, 0x1234, 4);
	assert_int_equal(bench_read(b, at, 4), 0x1234);
}

/* ---- BARs ---- */

static uint64_t size_bar(struct pci_device *p, unsigned n)
{
	unsigned reg = PCI_BASE_ADDRESS_0 + 4 * n;
	uint32_t old = cfg_read(b, p, reg, 4), mask;

	cfg_write(b, p, reg, UINT32_MAX, 4);
	mask = cfg_read(b, p, reg, 4);
	cfg_write(b, p, reg, old, 4);
	return (uint32_t) - (mask & (mask & 1 ? ~3u : ~15u));
}

static void sizing(void **state)
{
	struct pci_device *p = bench_add("test-pci");

	(void)state;
	bench_assign(b);
	set_command(p, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	test_of(p)->quiesces = 0;
	assert_int_equal(size_bar(p, 0), 4096);
	assert_int_equal(size_bar(p, 1), 4096);
	assert_int_equal(size_bar(p, 2), 64);
	assert_int_equal(size_bar(p, 4), 16 * KIB);
	assert_int_equal(cfg_read(b, p, PCI_BASE_ADDRESS_3, 4), 0);
	cfg_write(b, p, PCI_BASE_ADDRESS_3, UINT32_MAX, 4);
	assert_int_equal(cfg_read(b, p, PCI_BASE_ADDRESS_3, 4), 0);
	cfg_write(b, p, PCI_ROM_ADDRESS, UINT32_MAX, 4);
	assert_int_equal(cfg_read(b, p, PCI_ROM_ADDRESS, 4), 0);
	cfg_write(b, p, PCI_BASE_ADDRESS_5, UINT32_MAX, 4);
	assert_int_equal(cfg_read(b, p, PCI_BASE_ADDRESS_5, 4), UINT32_MAX);
	cfg_write(b, p, PCI_BASE_ADDRESS_5, 1, 4);
	assert_int_equal(test_of(p)->quiesces, 0); /* nothing was mapped, nothing had to stop */
	set_command(p, PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 0);
	assert_int_equal(test_of(p)->quiesces, 0); /* what only appears stops nobody */
}

/* ---- the option ROM ---- */

static const char *write_rom(size_t size)
{
	static char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/vwire-test-rom.%d", (int)getpid());
	f = fopen(path, "w");
	assert_non_null(f);
	for (size_t i = 0; i < size; i++)
		fputc((int)(i * 7 % 251), f);
	assert_int_equal(fclose(f), 0);
	return path;
}

static struct pci_device *add_with_rom(size_t size, const char *more)
{
	char text[128];
	struct pci_device *p;

	snprintf(text, sizeof(text), "test-pci,romfile=%s%s", write_rom(size), more);
	p = bench_add(text);
	unlink(write_rom(0)); /* it was read once */
	return p;
}

static uint32_t size_rom(struct pci_device *p)
{
	uint32_t old = cfg_read(b, p, PCI_ROM_ADDRESS, 4), v;

	cfg_write(b, p, PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_MASK, 4);
	v = cfg_read(b, p, PCI_ROM_ADDRESS, 4);
	cfg_write(b, p, PCI_ROM_ADDRESS, old, 4);
	return ~(v & ~PCI_ROM_ADDRESS_ENABLE) + 1;
}

static void rom(void **state)
{
	static const struct {
		size_t file;
		uint32_t bar;
	} rows[] = { { 1, 2048 }, { 2048, 2048 }, { 2049, 4096 }, { 65536, 65536 }, { 100000, 131072 } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pci_device *p = add_with_rom(rows[i].file, "");
		uint64_t at = 0xc2000000, v;

		assert_int_equal(size_rom(p), rows[i].bar);
		set_command(p, PCI_COMMAND_MEMORY, 0);
		cfg_write(b, p, PCI_ROM_ADDRESS, (uint32_t)at, 4);
		assert_false(space_read(b->mem, at, 4, &v)); /* not enabled */
		cfg_write(b, p, PCI_ROM_ADDRESS, (uint32_t)at | PCI_ROM_ADDRESS_ENABLE, 4);
		assert_int_equal(bench_read(b, at, 1), 0);
		if (rows[i].file > 8) {
			assert_int_equal(bench_read(b, at, 4), 0x150e0700);
			assert_int_equal(bench_read(b, at + 1, 2), 0x0e07);
			assert_int_equal(bench_read(b, at, 8), 0x312a231c150e0700);
		}
		assert_int_equal(bench_read(b, at + rows[i].file - 1, 1), (rows[i].file - 1) * 7 % 251);
		if (rows[i].file < rows[i].bar)
			assert_int_equal(bench_read(b, at + rows[i].bar - 1, 1), 0xff);
		bench_write(b, at, 0x12345678, 4);
		assert_int_equal(bench_read(b, at, 1), 0);
		/* It moves, and goes with memory decoding and with sleep. */
		cfg_write(b, p, PCI_ROM_ADDRESS, 0xc3000000 | PCI_ROM_ADDRESS_ENABLE, 4);
		assert_false(space_read(b->mem, at, 4, &v));
		assert_true(space_read(b->mem, 0xc3000000, 4, &v));
		set_command(p, 0, PCI_COMMAND_MEMORY);
		assert_false(space_read(b->mem, 0xc3000000, 4, &v));
		set_command(p, PCI_COMMAND_MEMORY, 0);
		assert_true(space_read(b->mem, 0xc3000000, 4, &v));
		device_reset(&p->dev);
		assert_false(space_read(b->mem, 0xc3000000, 4, &v));
		assert_int_equal(cfg_read(b, p, PCI_ROM_ADDRESS, 4), 0);
		set_command(p, PCI_COMMAND_MEMORY, 0);
		cfg_write(b, p, PCI_ROM_ADDRESS, (uint32_t)at | PCI_ROM_ADDRESS_ENABLE, 4);
		device_del(&p->dev);
		assert_false(space_read(b->mem, at, 4, &v));
	}
}

/* Firmware gives it a place and leaves it off. */
static void rom_assigned_or_hidden(void **state)
{
	struct pci_device *p = add_with_rom(5000, ",rombar=1"), *q = add_with_rom(5000, ",rombar=0"), *r;

	(void)state;
	r = bench_add("test-pci,romfile=");
	bench_assign(b);
	assert_int_not_equal(cfg_read(b, p, PCI_ROM_ADDRESS, 4), 0);
	assert_int_equal(cfg_read(b, p, PCI_ROM_ADDRESS, 4) & PCI_ROM_ADDRESS_ENABLE, 0);
	cfg_write(b, q, PCI_ROM_ADDRESS, UINT32_MAX, 4);
	assert_int_equal(cfg_read(b, q, PCI_ROM_ADDRESS, 4), 0);
	cfg_write(b, r, PCI_ROM_ADDRESS, UINT32_MAX, 4);
	assert_int_equal(cfg_read(b, r, PCI_ROM_ADDRESS, 4), 0);
}

static void rom_refused(void **state)
{
	char text[128];

	(void)state;
	assert_string_equal(bench_add_fails("test-pci,romfile=/nowhere/rom"),
			    "-device test-pci: romfile=/nowhere/rom: No such file or directory");
	assert_string_equal(bench_add_fails("test-pci,romfile=no-such.rom"),
			    "-device test-pci: romfile=no-such.rom: No such file or directory");
	assert_string_equal(bench_add_fails("test-pci,romfile=/tmp"),
			    "-device test-pci: romfile=/tmp: it is no file; give the image of an option ROM");
	snprintf(text, sizeof(text), "test-pci,romfile=%s", write_rom(0));
	assert_non_null(strstr(bench_add_fails(text), "it has 0 bytes; an option ROM has 1 to 16777216"));
	unlink(write_rom(0));
}

static void bar_moves(void **state)
{
	struct pci_device *p = bench_add("test-pci");
	struct test_pci *t = test_of(p);
	uint64_t at, to;

	(void)state;
	bench_assign(b);
	at = bench_bar(b, p, 0);
	to = at + 8 * MIB;
	bench_write(b, at, 0xabcd, 4);
	assert_int_equal(t->word, 0xabcd);

	t->quiesces = t->resumes = 0;
	cfg_write(b, p, PCI_BASE_ADDRESS_0, (uint32_t)at, 4); /* where it is */
	assert_int_equal(t->quiesces, 0);
	cfg_write(b, p, PCI_BASE_ADDRESS_0, (uint32_t)to, 4);
	assert_int_equal(t->quiesces, 1);
	assert_int_equal(t->resumes, 1);
	assert_false(t->quiet);
	assert_int_equal(bench_read(b, at, 4), UINT32_MAX);
	bench_write(b, at, 1, 4);
	assert_int_equal(bench_read(b, to, 4), 0xabcd);

	/* the 64-bit one, half by half */
	at = bench_bar(b, p, 4);
	assert_true(at >= BENCH_MEM64);
	cfg_write(b, p, PCI_BASE_ADDRESS_5, 0x20, 4);
	assert_int_equal(bench_read(b, at, 4), UINT32_MAX);
	assert_int_equal(bench_read(b, 0x2000000000 | (uint32_t)at, 4), 0xabcd);

	/* ports */
	at = bench_bar(b, p, 2);
	assert_int_equal(port_read((uint16_t)at, 4), 0xabcd);
	set_command(p, 0, PCI_COMMAND_IO);
	assert_int_equal(port_read((uint16_t)at, 4), UINT32_MAX);
	assert_int_equal(bench_read(b, to, 4), 0xabcd);
	set_command(p, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(bench_read(b, to, 4), UINT32_MAX);
	set_command(p, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(bench_read(b, to, 4), 0xabcd);
}

static void bar_at_odd_places(void **state)
{
	static const uint64_t place[] = { 0, 0x1000, 0xfee00000, 0xfec00000, 0xfffff000, 0xffffffff, 0x80000000 };
	struct pci_device *p = bench_add("test-pci");

	(void)state;
	bench_assign(b);
	for (unsigned i = 0; i < ARRAY_SIZE(place); i++) {
		cfg_write(b, p, PCI_BASE_ADDRESS_0, (uint32_t)place[i], 4);
		cfg_write(b, p, PCI_BASE_ADDRESS_4, (uint32_t)place[i], 4);
		cfg_write(b, p, PCI_BASE_ADDRESS_5, 0xffffffff, 4); /* beyond the space */
		cfg_write(b, p, PCI_BASE_ADDRESS_2, (uint32_t)place[i], 4);
	}
	assert_false(p->bar[4].mapped);
	cfg_write(b, p, PCI_BASE_ADDRESS_5, 0x1, 4);
	assert_true(p->bar[4].mapped);
	/* an I/O BAR ends below 64 KiB */
	cfg_write(b, p, PCI_BASE_ADDRESS_2, 0x1fc00, 4);
	assert_false(p->bar[2].mapped);
	cfg_write(b, p, PCI_BASE_ADDRESS_2, 0xff80, 4);
	assert_true(p->bar[2].mapped);
}

/* Two devices at one place: who was there first wins; both are whole again when one leaves. On the bridge: it stays. */
static void bars_overlap(void **state)
{
	struct pci_device *p = bench_add("test-pci"), *q = bench_add("test-pci");
	uint64_t at, other;

	(void)state;
	bench_assign(b);
	at = bench_bar(b, p, 0);
	other = bench_bar(b, q, 0);
	bench_write(b, at, 1, 4);
	bench_write(b, other, 2, 4);
	cfg_write(b, q, PCI_BASE_ADDRESS_0, (uint32_t)at, 4);
	assert_int_equal(bench_read(b, at, 4), 1);
	cfg_write(b, p, PCI_BASE_ADDRESS_0, (uint32_t)other, 4);
	assert_int_equal(bench_read(b, at, 4), 2);
	assert_int_equal(bench_read(b, other, 4), 1);
	cfg_write(b, q, PCI_BASE_ADDRESS_1, (uint32_t)at, 4); /* two of one device */
	assert_int_equal(bench_read(b, at, 4), 2);
	cfg_write(b, q, PCI_BASE_ADDRESS_0, (uint32_t)BENCH_ECAM, 4);
	assert_int_equal(cfg_read(b, p, 0, 4), 0x56781234);
	space_write(b->io, 0xcf8, 4, 0x80000000u);
	cfg_write(b, q, PCI_BASE_ADDRESS_2, 0xcc0, 4); /* 0xcc0..0xcff holds the config ports */
	assert_int_equal(port_read(0xcfc, 4), 0x00081b36);
	cfg_write(b, q, PCI_BASE_ADDRESS_0, (uint32_t)at + 0x10000, 4);
	assert_int_equal(bench_read(b, at + 0x10000, 4), 2);
}

/* ---- DMA and power ---- */

static void bus_master(void **state)
{
	struct pci_device *p = bench_add("test-pci");
	struct test_pci *t = test_of(p);

	(void)state;
	bench_assign(b);
	assert_false(atomic_load(&p->dma.on));
	assert_null(dma_ptr(&p->dma, 0, 16));
	t->quiesces = t->resumes = 0;
	set_command(p, PCI_COMMAND_MASTER, 0);
	assert_true(atomic_load(&p->dma.on));
	assert_non_null(dma_ptr(&p->dma, 0, 16));
	assert_int_equal(t->quiesces, 0);
	assert_int_equal(t->resumes, 1); /* now it may go on */
	assert_true(t->dma_in_resume);
	set_command(p, PCI_COMMAND_MASTER, 0);
	assert_int_equal(t->resumes, 1);
	set_command(p, 0, PCI_COMMAND_MASTER);
	assert_int_equal(t->quiesces, 1);
	assert_true(t->dma_in_quiesce); /* what it holds is given back while it still can */
	assert_false(t->dma_in_resume);
	assert_null(dma_ptr(&p->dma, 0, 16));
}

static void power_states(void **state)
{
	struct pci_device *p = bench_add("test-pci");
	struct test_pci *t = test_of(p);
	unsigned pm;
	uint64_t at;

	(void)state;
	bench_assign(b);
	set_command(p, PCI_COMMAND_MASTER, 0);
	pm = bench_cap(b, p, PCI_CAP_ID_PM) + PCI_PM_CTRL;
	at = bench_bar(b, p, 0);
	bench_write(b, at, 77, 4);
	pci_set_intx(p, true);
	assert_int_equal(atomic_load(&b->level[p->intx_gsi]), 1);

	for (unsigned no = 1; no <= 2; no++) { /* D1, D2 */
		cfg_write(b, p, pm, no, 2);
		assert_int_equal(cfg_read(b, p, pm, 2) & PCI_PM_CTRL_STATE_MASK, 0);
	}
	cfg_write(b, p, pm, 3, 2);
	assert_int_equal(cfg_read(b, p, pm, 2), 3 | PCI_PM_CTRL_NO_SOFT_RESET);
	assert_false(atomic_load(&p->dma.on));
	assert_int_equal(bench_read(b, at, 4), UINT32_MAX);
	assert_int_equal(atomic_load(&b->level[p->intx_gsi]), 0);
	assert_true(t->dma_in_quiesce);
	set_command(p, PCI_COMMAND_MASTER, 0);
	assert_false(atomic_load(&p->dma.on));
	cfg_write(b, p, pm, 2, 2);
	assert_int_equal(cfg_read(b, p, pm, 2) & PCI_PM_CTRL_STATE_MASK, 3);
	cfg_write(b, p, pm, 0, 2);
	assert_true(atomic_load(&p->dma.on));
	assert_true(t->dma_in_resume);
	assert_int_equal(bench_read(b, at, 4), 77);
	assert_int_equal(atomic_load(&b->level[p->intx_gsi]), 1);
	pci_set_intx(p, false);
}

/* ---- INTx ---- */

static void intx_gates(void **state)
{
	struct pci_device *p = bench_add("test-pci");
	_Atomic int *level;

	(void)state;
	bench_assign(b);
	level = &b->level[p->intx_gsi];
	assert_int_equal(cfg_read(b, p, PCI_INTERRUPT_LINE, 1), p->intx_gsi);
	pci_set_intx(p, true);
	assert_int_equal(atomic_load(level), 1);
	assert_true(cfg_read(b, p, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	set_command(p, PCI_COMMAND_INTX_DISABLE, 0);
	assert_int_equal(atomic_load(level), 0);
	assert_true(cfg_read(b, p, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT); /* the cause is still there */
	set_command(p, 0, PCI_COMMAND_INTX_DISABLE);
	assert_int_equal(atomic_load(level), 1);
	pci_set_intx(p, false);
	assert_int_equal(atomic_load(level), 0);
	assert_false(cfg_read(b, p, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);

	/* MSI-X takes the pin's place */
	pci_set_intx(p, true);
	cfg_write(b, p, bench_cap(b, p, PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(atomic_load(level), 0);
	device_reset(&p->dev);
	assert_int_equal(atomic_load(level), 0);
	assert_int_equal(cfg_read(b, p, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
}

/* Slots 1 and 5 have the same pin A. */
static void intx_shared(void **state)
{
	struct pci_device *p = bench_add("test-pci,addr=1"), *q = bench_add("test-pci,addr=5");
	struct pci_device *other = bench_add("test-pci,addr=2");
	int gsi = p->intx_gsi;

	(void)state;
	assert_int_equal(q->intx_gsi, gsi);
	assert_int_not_equal(other->intx_gsi, gsi);
	pci_set_intx(p, true);
	pci_set_intx(q, true);
	pci_set_intx(q, true);
	assert_int_equal(atomic_load(&b->edges), 1);
	pci_set_intx(p, false);
	assert_int_equal(atomic_load(&b->level[gsi]), 1);
	assert_int_equal(atomic_load(&b->level[other->intx_gsi]), 0);
	pci_set_intx(p, true);
	device_reset(&q->dev);
	assert_int_equal(atomic_load(&b->level[gsi]), 1);
	pci_set_intx(p, false);
	assert_int_equal(atomic_load(&b->level[gsi]), 0);
	assert_int_equal(atomic_load(&b->edges), 2);
	pci_set_intx(q, true);
	device_del(&q->dev); /* unplugged with its pin high */
	assert_int_equal(atomic_load(&b->level[gsi]), 0);
}

#define TOGGLES 20000

static void toggle(struct bench_vcpu *v)
{
	struct pci_device **dev = v->arg, *p = dev[v->index % 2];

	for (unsigned i = 0; i < TOGGLES; i++) {
		switch (bench_random(v) % 8) {
		case 0:
			epoch_enter(&v->reader);
			set_command(p, bench_random(v) % 2 ? PCI_COMMAND_INTX_DISABLE : 0, PCI_COMMAND_INTX_DISABLE);
			set_command(p, 0, PCI_COMMAND_INTX_DISABLE);
			epoch_leave(&v->reader);
			break;
		default:
			pci_set_intx(p, bench_random(v) % 2);
		}
	}
	pci_set_intx(p, v->index & 2);
}

/*
 * Whatever the threads did, the line is the OR of the pins in the end. While they contend the chip may hear a "low" out
 * of turn; afterwards it sees clean edges one by one.
 */
static void intx_threads(void **state)
{
	struct pci_device *dev[2] = { bench_add("test-pci,addr=1"), bench_add("test-pci,addr=5") };
	struct bench_vcpu v[4];
	int gsi = dev[0]->intx_gsi;

	(void)state;
	bench_vcpus_start(v, 4, toggle, dev);
	bench_vcpus_join(v, 4);
	assert_int_equal(atomic_load(&b->level[gsi]),
			 atomic_load(&dev[0]->intx) == 1 || atomic_load(&dev[1]->intx) == 1);
	atomic_store(&b->bad_edges, 0);
	pci_set_intx(dev[0], true);
	assert_int_equal(atomic_load(&b->level[gsi]), 1);
	pci_set_intx(dev[0], false);
	pci_set_intx(dev[1], false);
	assert_int_equal(atomic_load(&b->level[gsi]), 0);
	assert_int_equal(atomic_load(&b->bus.line[gsi].pins), 0);
	assert_int_equal(atomic_load(&b->bad_edges), 0);
}

/* ---- places ---- */

static void addresses(void **state)
{
	static const char *const bad[] = { "20", "3.8", "", "x", "-1", "3.", "3.1.1", "0x", "3.-1", " 3", "100000003" };
	char text[64];

	(void)state;
	assert_int_equal(bench_add("test-pci,addr=3")->devfn, PCI_DEVFN(3, 0));
	assert_int_equal(bench_add("test-pci,addr=0x4")->devfn, PCI_DEVFN(4, 0));
	assert_int_equal(bench_add("test-pci,addr=1f.7")->devfn, PCI_DEVFN(31, 7));
	assert_int_equal(bench_add("test-pci,addr=0x6.0x0,multifunction=on")->devfn, PCI_DEVFN(6, 0));
	assert_int_equal(bench_add("test-pci,addr=6.1")->devfn, PCI_DEVFN(6, 1));
	assert_int_equal(bench_add("test-pci")->devfn, PCI_DEVFN(1, 0));
	assert_int_equal(bench_add("test-pci,romfile=,rombar=0,bus=pci.0")->devfn, PCI_DEVFN(2, 0));
	assert_int_equal(cfg_read(b, b->bus.slot[PCI_DEVFN(6, 0)], PCI_HEADER_TYPE, 1), 0x80);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "test-pci,addr=%s", bad[i]);
		assert_non_null(strstr(bench_add_fails(text), "expected slot[.function]"));
	}
	assert_non_null(strstr(bench_add_fails("test-pci,addr=0"), "in use by 'pci-host-bridge'"));
	assert_non_null(strstr(bench_add_fails("test-pci,addr=6.1"), "in use"));
	assert_non_null(strstr(bench_add_fails("test-pci,addr=3.1"), "multifunction=on"));
	assert_non_null(strstr(bench_add_fails("test-pci,addr=1f.0"), "multifunction=on"));
	assert_non_null(strstr(bench_add_fails("test-pci,romfile=nix.rom"), "romfile=nix.rom"));
	assert_non_null(strstr(bench_add_fails("pci-device"), "unknown device"));
	assert_non_null(strstr(bench_add_fails("pci-host-bridge"), "unknown device"));
	assert_null(b->bus.slot[PCI_DEVFN(3, 1)]);
}

static void all_slots(void **state)
{
	(void)state;
	for (unsigned i = 1; i < PCI_SLOTS; i++)
		assert_int_equal(bench_add("test-pci")->devfn, PCI_DEVFN(i, 0));
	assert_non_null(strstr(bench_add_fails("test-pci"), "all 32 slots"));
	bench_assign(b);
	device_del(&b->bus.slot[PCI_DEVFN(9, 0)]->dev);
	assert_int_equal(bench_add("test-pci")->devfn, PCI_DEVFN(9, 0));
}

/* ---- what firmware does ---- */

static bool in_window(const struct pci_device *p, unsigned n)
{
	const struct pci_bar *bar = &p->bar[n];

	if (bar->address % bar->size)
		return false;
	if (n == 2)
		return bar->address >= BENCH_IO && bar->address + bar->size <= 0x10000;
	if (n == 4)
		return bar->address >= BENCH_MEM64 && bar->address + bar->size <= BENCH_MEM64 + GIB;
	return bar->address >= BENCH_MEM32 && bar->address + bar->size <= BENCH_MEM32 + 64 * MIB;
}

static bool disjoint(const struct pci_bar *x, const struct pci_bar *y)
{
	return x->address + x->size <= y->address || y->address + y->size <= x->address;
}

static void assignment(void **state)
{
	static const unsigned bars[] = { 0, 1, 2, 4 };
	struct pci_device *dev[8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(dev); i++)
		dev[i] = bench_add("test-pci");
	for (unsigned round = 0; round < 2; round++) {
		bench_assign(b);
		for (unsigned i = 0; i < ARRAY_SIZE(dev) * 4; i++) {
			struct pci_device *p = dev[i / 4];

			assert_true(p->bar[bars[i % 4]].mapped);
			assert_true(in_window(p, bars[i % 4]));
			for (unsigned j = 0; j < i; j++)
				if ((bars[i % 4] == 2) == (bars[j % 4] == 2))
					assert_true(disjoint(&p->bar[bars[i % 4]], &dev[j / 4]->bar[bars[j % 4]]));
		}
		assert_int_equal(command(dev[0]), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
		assert_int_equal(command(b->bus.slot[0]), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(dev); i++)
			device_reset(&dev[i]->dev); /* and once more, as after a reboot */
		assert_false(dev[0]->bar[0].mapped);
	}
}

static void no_room(void **state)
{
	struct pci_windows w = {
		.io = 0xc000, .io_end = 0x10000, .mem32 = BENCH_MEM32, .mem32_end = BENCH_MEM32 + 0x8000
	};
	struct error err;

	(void)state;
	bench_add("test-pci");
	assert_int_equal(pci_assign(&b->bus, &w, &err), 0); /* the 64-bit BAR falls back to the window below 4 GiB */
	bench_add("test-pci,id=fat");
	assert_int_not_equal(pci_assign(&b->bus, &w, &err), 0);
	assert_non_null(strstr(err.msg, "no room for BAR"));
}

/* ---- all at once ---- */

struct storm {
	_Atomic bool stop;
	_Atomic unsigned rounds;
};

/* A vCPU that moves BARs of all devices, also to where others are, and accesses whatever is there. */
static void storm(struct bench_vcpu *v)
{
	struct storm *s = v->arg;

	while (!atomic_load(&s->stop)) {
		uint32_t r = bench_random(v);
		unsigned devfn = PCI_DEVFN(1 + r % 4, 0), reg = PCI_BASE_ADDRESS_0 + (r >> 8) % 6 * 4;
		uint32_t at = (uint32_t)BENCH_MEM32 + (r >> 12) % 8 * 0x1000;
		uint64_t value;

		epoch_enter(&v->reader);
		switch ((r >> 4) % 8) {
		case 0:
			pci_config_write(&b->bus, devfn, PCI_COMMAND, 2, r >> 16);
			break;
		case 1:
		case 2:
			pci_config_write(&b->bus, devfn, reg, 4, reg == PCI_BASE_ADDRESS_5 ? 1 : at);
			break;
		case 3:
			pci_config_write(&b->bus, devfn, PCI_COMMAND, 2, 7);
			break;
		case 4:
			pci_config_read(&b->bus, devfn, (r >> 16) % 256, 4);
			break;
		case 5:
			space_write(b->mem, at, 4, r);
			break;
		default:
			space_read(b->mem, at, 4, &value);
		}
		epoch_leave(&v->reader);
		atomic_fetch_add(&s->rounds, 1);
	}
}

/*
 * 8 vCPUs, while devices are reset, unplugged and plugged again. Main stops the vCPUs for none of this.
 */
static void storm_and_reset(void **state)
{
	struct storm s = { 0 };
	struct bench_vcpu v[8];
	unsigned rounds = 300;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		bench_add("test-pci");
	bench_vcpus_start(v, 8, storm, &s);
	for (unsigned i = 0; i < rounds; i++) {
		struct pci_device *p = b->bus.slot[PCI_DEVFN(1 + i % 4, 0)];

		while (atomic_load(&s.rounds) < i * 50)
			sched_yield(); /* let the vCPUs do their part */
		if (i % 3) {
			device_reset(&p->dev);
			continue;
		}
		device_unrealize(&p->dev);
		assert_int_equal(atomic_load(&test_of(p)->stray), 0); /* nobody came after the end */
		object_free(&p->dev.obj);
		bench_add("test-pci");
	}
	atomic_store(&s.stop, true);
	bench_vcpus_join(v, 8);
	for (unsigned i = 0; i < 4; i++)
		device_reset(&b->bus.slot[PCI_DEVFN(1 + i, 0)]->dev);
	bench_assign(b);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = bench_bar(b, b->bus.slot[PCI_DEVFN(1 + i, 0)], 0);

		bench_write(b, at, 100 + i, 4);
		assert_int_equal(bench_read(b, at, 4), 100 + i);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(header),
		T(nothing_reads_as_ones),
		T(ports),
		T(config_sweep),
		T(sizing),
		T(bar_moves),
		T(rom),
		T(rom_assigned_or_hidden),
		T(rom_refused),
		T(bar_at_odd_places),
		T(bars_overlap),
		T(bus_master),
		T(power_states),
		T(intx_gates),
		T(intx_shared),
		T(intx_threads),
		T(addresses),
		T(all_slots),
		T(assignment),
		T(no_room),
		T(storm_and_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
