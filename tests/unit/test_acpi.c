/* SPDX-License-Identifier: BSD-2-Clause */
/* The ACPI tables: checksums and pointers here, their meaning by iasl, which disassembles and compiles them again. */
#include "unit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/acpi.h"
#include "machine/aml.h"

static uint8_t area[ACPI_SIZE];
static struct error err;

static size_t build(unsigned cpus, unsigned serials, uint64_t ram, size_t size)
{
	struct acpi_config cfg = { .cpus = cpus, .serials = serials, .mmio = 0xff };

	assert_int_equal(memmap_windows(ram, &cfg.windows, &err), 0);
	memset(area, 0xee, sizeof(area));
	return acpi_build(&cfg, area, ACPI_BASE, size);
}

static uint64_t load(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

/* The table at a guest address, its signature and checksum checked. */
static const uint8_t *table(uint64_t gpa, const char *signature)
{
	const uint8_t *p = area + (gpa - ACPI_BASE);

	assert_in_range(gpa, ACPI_BASE, ACPI_BASE + ACPI_SIZE - 36);
	assert_memory_equal(p, signature, 4);
	if (strcmp(signature, "FACS") != 0)
		assert_int_equal(sum(p, load(p + 4, 4)), 0);
	return p;
}

static const uint8_t *from_xsdt(unsigned i, const char *signature)
{
	const uint8_t *xsdt = table(load(area + 24, 8), "XSDT");

	return table(load(xsdt + 36 + 8 * i, 8), signature);
}

static void pointers_and_checksums_hold(void **state)
{
	const uint8_t *fadt, *dsdt;
	size_t used = build(2, 1, 256 * MIB, ACPI_SIZE);

	(void)state;
	assert_in_range(used, 1024, 16384);
	assert_memory_equal(area, "RSD PTR ", 8);
	assert_int_equal(sum(area, 20), 0);
	assert_int_equal(sum(area, 36), 0);
	assert_int_equal(area[used], 0xee); /* nothing behind the end */
	fadt = from_xsdt(0, "FACP");
	from_xsdt(1, "APIC");
	from_xsdt(2, "MCFG");
	dsdt = table(load(fadt + 40, 4), "DSDT");
	assert_int_equal(load(fadt + 140, 8), load(fadt + 40, 4));
	table(load(fadt + 36, 4), "FACS");
	assert_int_equal(load(fadt + 36, 4) % 64, 0);
	assert_true(load(dsdt + 4, 4) > 1000);
}

static void madt_lists_all_cpus(void **state)
{
	static const unsigned counts[] = { 1, 2, 8, 64 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		const uint8_t *madt, *p;
		unsigned cpus = 0;

		assert_true(build(counts[i], 1, 256 * MIB, ACPI_SIZE) > 0);
		madt = from_xsdt(1, "APIC");
		for (p = madt + 44; p < madt + load(madt + 4, 4); p += p[1]) {
			assert_true(p[1] >= 6);
			cpus += p[0] == 0;
		}
		assert_ptr_equal(p, madt + load(madt + 4, 4));
		assert_int_equal(cpus, counts[i]);
	}
}

static void too_small_an_area_is_refused(void **state)
{
	size_t used = build(64, 15, 256 * MIB, ACPI_SIZE);

	(void)state;
	for (size_t size = 0; size < used; size += 61) {
		assert_int_equal(build(64, 15, 256 * MIB, size), 0);
		assert_int_equal(area[size], 0xee);
	}
	assert_int_equal(build(64, 15, 256 * MIB, used), used);
}

static void package_lengths_of_all_sizes(void **state)
{
	static const struct {
		size_t content; /* with the name */
		uint8_t enc[4];
		size_t n;
	} cases[] = {
		{ 4, { 0x05 }, 1 },
		{ 62, { 0x3f }, 1 },
		{ 63, { 0x41, 0x04 }, 2 },
		{ 4093, { 0x4f, 0xff }, 2 },
		{ 4094, { 0x81, 0x00, 0x01 }, 3 },
	};
	static uint8_t buf[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct aml a = { .buf = buf, .cap = sizeof(buf) };

		aml_scope(&a, "\\_SB"); /* 5 bytes with the root's backslash */
		a.len = 1;		/* only the opcode */
		for (size_t n = 0; n < cases[i].content; n++)
			aml_byte(&a, 0xa3);
		aml_end(&a);
		assert_false(a.full);
		assert_int_equal(a.len, 1 + cases[i].n + cases[i].content);
		assert_memory_equal(buf + 1, cases[i].enc, cases[i].n);
	}
}

/* ---- iasl ---- */

static void dump(const char *dir, const char *name, const uint8_t *p)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, load(p + 4, 4), 1, f), 1);
	fclose(f);
}

static void iasl_finds_no_fault(void **state)
{
	char dir[] = "/tmp/acpi.XXXXXX", cmd[512];
	int rc;

	(void)state;
	if (system("command -v iasl >/dev/null") != 0) {
		print_message("iasl (package acpica-tools) is not here\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	assert_true(build(8, 15, 5 * GIB, ACPI_SIZE) > 0);
	dump(dir, "facp", from_xsdt(0, "FACP"));
	dump(dir, "apic", from_xsdt(1, "APIC"));
	dump(dir, "mcfg", from_xsdt(2, "MCFG"));
	dump(dir, "dsdt", table(load(from_xsdt(0, "FACP") + 40, 4), "DSDT"));
	snprintf(
		cmd, sizeof(cmd),
		"cd %s && for t in facp apic mcfg dsdt; do iasl -d $t.dat >$t.log 2>&1 && iasl -ve $t.dsl >>$t.log 2>&1 &&"
		" ! grep -iE '^(error|warning)|invalid|unknown|bad checksum' $t.log || { cat $t.log; exit 1; }; done;"
		" grep -q 'Name (_HID, EisaId (\"PNP0A08\")' dsdt.dsl && grep -q '_S5' dsdt.dsl &&"
		" grep -q 'QEMU0001' dsdt.dsl && [ $(grep -c LNRO0005 dsdt.dsl) = 8 ] &&"
		" grep -q 'Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive' dsdt.dsl",
		dir);
	rc = system(cmd);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(rc, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointers_and_checksums_hold),	cmocka_unit_test(madt_lists_all_cpus),
		cmocka_unit_test(too_small_an_area_is_refused), cmocka_unit_test(package_lengths_of_all_sizes),
		cmocka_unit_test(iasl_finds_no_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
