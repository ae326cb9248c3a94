/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. Tables are written one behind the other; what points at others comes last. */
#include "machine/acpi.h"

#include "machine/acpi_pm.h"
#include "machine/aml.h"
#include "machine/serial.h"
#include "virtio/virtio_mmio.h"

#define HEADER_SIZE 36
#define RSDP_SIZE   36
#define FADT_SIZE   268
#define ALIGNMENT   64

/* ---- a table ---- */

struct area {
	uint8_t *p;
	uint64_t gpa;
	size_t len, size;
	bool full;
};

struct table {
	uint8_t *p;
	size_t len, cap;
	bool full;
};

static void put(struct table *t, uint64_t v, size_t n)
{
	v = htole64(v);
	if (n > t->cap - t->len) {
		t->full = true;
		return;
	}
	memcpy(t->p + t->len, &v, n);
	t->len += n;
}

static void put_at(struct table *t, size_t off, uint64_t v, size_t n)
{
	v = htole64(v);
	if (off + n <= t->cap)
		memcpy(t->p + off, &v, n);
}

static uint8_t checksum(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum += *p++;
	return (uint8_t)-sum;
}

/* The rest of the area, with the common header (5.2.6) in front. */
static struct table table_begin(const struct area *a, const char *signature, uint8_t revision)
{
	struct table t = { .p = a->p + a->len, .cap = a->size - a->len };

	if (a->full || t.cap < HEADER_SIZE) {
		t.full = true;
		t.cap = 0;
		return t;
	}
	memset(t.p, 0, HEADER_SIZE);
	memcpy(t.p, signature, 4);
	t.p[8] = revision;
	memcpy(t.p + 10, "VWIRE ", 6);
	memcpy(t.p + 16, "VWIREPC ", 8);
	put_at(&t, 24, 1, 4);
	memcpy(t.p + 28, "VWIR", 4);
	put_at(&t, 32, 1, 4);
	t.len = HEADER_SIZE;
	return t;
}

/* Take `len` bytes of the area; returns where they are. */
static uint64_t take(struct area *a, size_t len)
{
	uint64_t gpa = a->gpa + a->len;

	len = ALIGN_UP(len, (size_t)ALIGNMENT);
	if (len > a->size - a->len) {
		a->full = true;
		return 0;
	}
	a->len += len;
	return gpa;
}

/* Length, checksum; returns its address. */
static uint64_t table_end(struct area *a, struct table *t)
{
	if (t->full) {
		a->full = true;
		return 0;
	}
	put_at(t, 4, t->len, 4);
	t->p[9] = 0;
	t->p[9] = checksum(t->p, t->len);
	return take(a, t->len);
}

/* ---- DSDT ---- */

static void device(struct aml *a, const char *name, const char *eisaid, unsigned uid)
{
	aml_device(a, name);
	aml_name_is(a, "_HID");
	aml_eisaid(a, eisaid);
	aml_name_is(a, "_UID");
	aml_int(a, uid);
}

/* _PRT: each pin of each slot to its GSI (6.2.13). */
static void pci_routing(struct aml *a)
{
	aml_name_is(a, "_PRT");
	aml_package(a, PCI_SLOTS * 4);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			aml_package(a, 4);
			aml_int(a, slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, intx_gsi(slot, pin));
			aml_end(a);
		}
	}
	aml_end(a);
}

static void pci_root(struct aml *a, const struct pci_windows *w)
{
	device(a, "PCI0", "PNP0A08", 0);
	aml_name_is(a, "_CID");
	aml_eisaid(a, "PNP0A03");
	aml_name_is(a, "_SEG");
	aml_int(a, 0);
	aml_name_is(a, "_BBN");
	aml_int(a, 0);
	aml_name_is(a, "_CRS");
	aml_resources_begin(a);
	aml_bus_window(a, 0, 0);
	aml_io(a, PORT_PCI_CONFIG, 8);
	aml_io_window(a, 0, PORT_PCI_CONFIG - 1);
	aml_io_window(a, PORT_PCI_CONFIG + 8, 0xffff);
	aml_memory32_window(a, (uint32_t)w->mem32, (uint32_t)(w->mem32_end - 1));
	if (w->mem64_end > w->mem64)
		aml_memory64_window(a, w->mem64, w->mem64_end - 1);
	aml_resources_end(a);
	pci_routing(a);
	aml_end(a);
}

/* What is taken but belongs to no device: ECAM (its window counts only if it is reserved so) and the PM block. */
static void board_resources(struct aml *a)
{
	device(a, "MBRD", "PNP0C02", 0);
	aml_name_is(a, "_CRS");
	aml_resources_begin(a);
	aml_memory32(a, ECAM_BASE, ECAM_SIZE);
	aml_io(a, PORT_PM, PORT_PM_SIZE);
	aml_resources_end(a);
	aml_end(a);
}

static void serial_ports(struct aml *a, unsigned mask)
{
	char name[] = "COM1";

	for (unsigned i = 0; i < ARRAY_SIZE(serial_places); i++) {
		if (!(mask & BIT(i)))
			continue;
		name[3] = (char)('1' + i);
		device(a, name, "PNP0501", i + 1);
		aml_name_is(a, "_CRS");
		aml_resources_begin(a);
		aml_io(a, serial_places[i].port, SERIAL_PORTS);
		aml_irq(a, serial_places[i].gsi);
		aml_resources_end(a);
		aml_end(a);
	}
}

static void rtc_device(struct aml *a)
{
	device(a, "RTC", "PNP0B00", 0);
	aml_name_is(a, "_CRS");
	aml_resources_begin(a);
	aml_io(a, PORT_RTC, 2);
	aml_irq(a, GSI_RTC);
	aml_resources_end(a);
	aml_end(a);
}

static void panic_device(struct aml *a)
{
	aml_device(a, "PEVT");
	aml_name_is(a, "_HID");
	aml_string(a, "QEMU0001");
	aml_name_is(a, "_STA");
	aml_int(a, 0x0f);
	aml_name_is(a, "_CRS");
	aml_resources_begin(a);
	aml_io(a, PORT_PVPANIC, 1);
	aml_resources_end(a);
	aml_end(a);
}

/* The id is the one by which Linux's driver knows them. */
static void mmio_transports(struct aml *a, unsigned mask)
{
	char name[] = "VR00";

	for (unsigned i = 0; i < MMIO_SLOTS; i++) {
		if (!(mask & BIT(i)))
			continue;
		name[3] = (char)('0' + i);
		aml_device(a, name);
		aml_name_is(a, "_HID");
		aml_string(a, "LNRO0005");
		aml_name_is(a, "_UID");
		aml_int(a, i);
		aml_name_is(a, "_CRS");
		aml_resources_begin(a);
		aml_memory32(a, (uint32_t)(MMIO_BASE + i * VIRTIO_MMIO_SIZE), VIRTIO_MMIO_SIZE);
		aml_interrupt(a, mmio_gsis[i]);
		aml_resources_end(a);
		aml_end(a);
	}
}

static void sleep_states(struct aml *a)
{
	aml_name_is(a, "\\_S5");
	aml_package(a, 4);
	aml_int(a, PM_SLEEP_TYPE_S5);
	aml_int(a, PM_SLEEP_TYPE_S5);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}

static uint64_t build_dsdt(struct area *area, const struct acpi_config *cfg)
{
	struct table t = table_begin(area, "DSDT", 2);
	struct aml a = { .buf = t.p + t.len, .cap = t.cap - t.len };

	if (t.full)
		return table_end(area, &t);
	aml_scope(&a, "\\_SB");
	pci_root(&a, &cfg->windows);
	board_resources(&a);
	serial_ports(&a, cfg->serials);
	rtc_device(&a);
	panic_device(&a);
	mmio_transports(&a, cfg->mmio);
	aml_end(&a);
	sleep_states(&a);
	t.full = a.full;
	t.len += a.len;
	return table_end(area, &t);
}

/* ---- the others ---- */

static uint64_t build_facs(struct area *area)
{
	size_t at = area->len;
	uint64_t gpa = take(area, 64);

	if (!gpa)
		return 0;
	memset(area->p + at, 0, 64);
	memcpy(area->p + at, "FACS", 4);
	area->p[at + 4] = 64;
	area->p[at + 32] = 2; /* version */
	return gpa;
}

/* A generic address structure (5.2.3.2) in port space. */
static void put_gas(struct table *t, size_t off, uint16_t port, uint8_t bits, uint8_t access)
{
	put_at(t, off, 1, 1);
	put_at(t, off + 1, bits, 1);
	put_at(t, off + 2, 0, 1);
	put_at(t, off + 3, access, 1);
	put_at(t, off + 4, port, 8);
}

/* 5.2.9. Offsets are the table's own; SMI_CMD 0: ACPI mode is always on. */
static uint64_t build_fadt(struct area *area, uint64_t facs, uint64_t dsdt)
{
	struct table t = table_begin(area, "FACP", 5);

	if (t.cap < FADT_SIZE) {
		t.full = true;
		return table_end(area, &t);
	}
	memset(t.p + HEADER_SIZE, 0, FADT_SIZE - HEADER_SIZE);
	t.len = FADT_SIZE;
	put_at(&t, 36, facs, 4);
	put_at(&t, 40, dsdt, 4);
	put_at(&t, 45, 1, 1); /* preferred profile: desktop */
	put_at(&t, 46, GSI_SCI, 2);
	put_at(&t, 56, PORT_PM + PM1_EVENT, 4);
	put_at(&t, 64, PORT_PM + PM1_CONTROL, 4);
	put_at(&t, 76, PORT_PM + PM_TIMER, 4);
	put_at(&t, 88, 4, 1);	  /* PM1 event length */
	put_at(&t, 89, 2, 1);	  /* PM1 control length */
	put_at(&t, 91, 4, 1);	  /* PM timer length */
	put_at(&t, 96, 0xfff, 2); /* no C2 */
	put_at(&t, 98, 0xfff, 2); /* no C3 */
	put_at(&t, 108, 0x32, 1); /* century in CMOS */
	put_at(&t, 109, 0x15, 2); /* boot: legacy devices, no VGA, no ASPM; no 8042 */
	/* flags: WBINVD, C1, sleep button is not fixed hardware, reset register */
	put_at(&t, 112, BIT(0) | BIT(2) | BIT(5) | BIT(10), 4);
	put_gas(&t, 116, PORT_PCI_CONFIG + 1, 8, 1);
	put_at(&t, 128, 0x06, 1); /* reset value */
	put_at(&t, 132, 0, 8);	  /* X_FIRMWARE_CTRL: the 32-bit one counts */
	put_at(&t, 140, dsdt, 8);
	put_gas(&t, 148, PORT_PM + PM1_EVENT, 32, 2);
	put_gas(&t, 172, PORT_PM + PM1_CONTROL, 16, 2);
	put_gas(&t, 208, PORT_PM + PM_TIMER, 32, 3);
	return table_end(area, &t);
}

#define LEVEL_HIGH 0x0d
#define LEVEL_LOW  0x0f

static void madt_override(struct table *t, unsigned irq, unsigned gsi, unsigned flags)
{
	put(t, 2, 1);
	put(t, 10, 1);
	put(t, 0, 1); /* ISA */
	put(t, irq, 1);
	put(t, gsi, 4);
	put(t, flags, 2);
}

/* 5.2.12 */
static uint64_t build_madt(struct area *area, unsigned cpus, unsigned mmio)
{
	struct table t = table_begin(area, "APIC", 3);

	put(&t, LAPIC_BASE, 4);
	put(&t, 1, 4); /* there is a PIC too */
	for (unsigned i = 0; i < cpus; i++) {
		put(&t, 0, 1);
		put(&t, 8, 1);
		put(&t, i, 1);
		put(&t, i, 1);
		put(&t, 1, 4); /* enabled */
	}
	put(&t, 1, 1); /* IOAPIC */
	put(&t, 12, 1);
	put(&t, 0, 2);
	put(&t, IOAPIC_BASE, 4);
	put(&t, 0, 4);
	madt_override(&t, 0, 2, 0); /* the PIT */
	madt_override(&t, GSI_SCI, GSI_SCI, LEVEL_HIGH);
	for (unsigned i = 0; i < INTX_GSIS; i++)
		madt_override(&t, intx_gsis[i], intx_gsis[i], LEVEL_LOW);
	for (unsigned i = 0; i < MMIO_SLOTS; i++)
		if ((mmio & BIT(i)) && mmio_gsis[i] < 16)
			madt_override(&t, mmio_gsis[i], mmio_gsis[i], LEVEL_HIGH);
	put(&t, 4, 1); /* NMI: LINT1 of every CPU */
	put(&t, 6, 1);
	put(&t, 0xff, 1);
	put(&t, 0, 2);
	put(&t, 1, 1);
	return table_end(area, &t);
}

static uint64_t build_mcfg(struct area *area)
{
	struct table t = table_begin(area, "MCFG", 1);

	put(&t, 0, 8);
	put(&t, ECAM_BASE, 8);
	put(&t, 0, 2); /* segment */
	put(&t, 0, 1); /* buses 0 to 0 */
	put(&t, 0, 1);
	put(&t, 0, 4);
	return table_end(area, &t);
}

/* 5.2.5.3 */
static void build_rsdp(uint8_t *p, uint64_t xsdt)
{
	/* signature, checksum, OEM, revision */
	static const uint8_t rsdp_head[16] = "RSD PTR \0VWIRE \2";
	struct table t = { .p = p, .cap = RSDP_SIZE };

	memset(p, 0, RSDP_SIZE);
	memcpy(p, rsdp_head, sizeof(rsdp_head));
	put_at(&t, 20, RSDP_SIZE, 4);
	put_at(&t, 24, xsdt, 8);
	p[8] = checksum(p, 20);
	p[32] = checksum(p, RSDP_SIZE);
}

size_t acpi_build(const struct acpi_config *cfg, uint8_t *p, uint64_t gpa, size_t size)
{
	struct area a = { .p = p, .gpa = gpa, .size = size };
	uint64_t tables[3], facs, dsdt, xsdt;
	struct table t;

	take(&a, RSDP_SIZE);
	facs = build_facs(&a);
	dsdt = build_dsdt(&a, cfg);
	tables[0] = build_fadt(&a, facs, dsdt);
	tables[1] = build_madt(&a, cfg->cpus, cfg->mmio);
	tables[2] = build_mcfg(&a);
	t = table_begin(&a, "XSDT", 1);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		put(&t, tables[i], 8);
	xsdt = table_end(&a, &t);
	if (a.full)
		return 0;
	build_rsdp(p, xsdt);
	return a.len;
}
