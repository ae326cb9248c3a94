/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux bzImage by its 64-bit entry: Documentation/arch/x86/boot.rst of the kernel. The part behind the real-mode
 * setup code is loaded at the address that the kernel prefers, where it unpacks itself within init_size bytes.
 */
#include <errno.h>

#include <asm/bootparam.h>

#include "machine/boot.h"

#define HEADER_OFFSET	 0x1f1
#define VERSION_64BIT	 0x020c
#define SECTOR		 512
#define ENTRY_64	 0x200
#define ENTRY_MIN	 0x201 /* bytes of a payload that has it */
#define LOADER_UNDEFINED 0xff
#define VIDEO_NORMAL	 0xffff

/* ---- the header ---- */

static int check_header(const struct boot *b, const struct setup_header *h, struct error *err)
{
	if (h->boot_flag != 0xaa55)
		return fail(err, ENOEXEC, "-kernel %s: not a kernel: the boot sector's signature is missing",
			    b->kernel.path);
	if (h->version < VERSION_64BIT || !(h->xloadflags & XLF_KERNEL_64))
		return fail(err, ENOEXEC,
			    "-kernel %s: has no 64-bit entry (boot protocol %u.%02u); x86-64 kernels from Linux 3.8 on "
			    "have one",
			    b->kernel.path, h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return fail(err, ENOEXEC, "-kernel %s: a zImage, which loads low; only bzImage is taken",
			    b->kernel.path);
	return 0;
}

/* Where the protected-mode part is in the file. */
struct payload {
	uint64_t off, len;
};

static int find_payload(const struct boot *b, const struct setup_header *h, struct payload *p, struct error *err)
{
	uint64_t need = h->syssize * 16ULL, least;

	p->off = (h->setup_sects ? h->setup_sects : 4) + 1;
	p->off *= SECTOR;
	least = p->off + MAX(need, (uint64_t)ENTRY_MIN);
	if (b->kernel.size < least)
		return fail(err, EINVAL, "-kernel %s: truncated: it has %llu bytes and needs %llu", b->kernel.path,
			    (unsigned long long)b->kernel.size, (unsigned long long)least);
	p->len = need ? need : b->kernel.size - p->off;
	return 0;
}

/* Where it goes: first byte, and the end of what it needs for unpacking itself. */
static int find_place(const struct boot *b, const struct setup_header *h, const struct payload *p,
		      const struct ram *ram, uint64_t *start, uint64_t *end, struct error *err)
{
	uint64_t need = MAX((uint64_t)h->init_size, p->len);

	*start = h->pref_address;
	if (*start < KERNEL_MIN || *start > LOW_RAM_MAX)
		return fail(err, ENOEXEC, "-kernel %s: wants to be loaded at %#llx, which is no place for a kernel",
			    b->kernel.path, (unsigned long long)*start);
	*end = *start + need;
	if (*end > low_ram_end(ram))
		return boot_too_little(&b->kernel, ram, *end, err);
	return 0;
}

/* ---- what it finds in memory ---- */

/* Identity map of the first 4 GiB in 2 MiB pages: PML4, PDPT, four page directories. */
static void place_page_tables(const struct ram *ram, struct boot_cpu *cpu)
{
	const uint64_t link = 3, large = 0x83;
	uint64_t *t = boot_ptr(ram, BOOT_PAGE_TABLES);

	memset(t, 0, 2 * 4096);
	t[0] = (BOOT_PAGE_TABLES + 4096) | link;
	for (uint64_t i = 0; i < 4; i++)
		t[512 + i] = (BOOT_PAGE_TABLES + (2 + i) * 4096) | link;
	for (uint64_t i = 0; i < 4 * 512; i++)
		t[1024 + i] = i * (2 * MIB) | large;
	cpu->cr3 = BOOT_PAGE_TABLES;
}

static void fill_e820(const struct ram *ram, struct boot_params *bp)
{
	struct map_entry map[MAP_ENTRIES_MAX];
	unsigned n = memmap_e820(ram, map);

	bp->e820_entries = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		bp->e820_table[i] = (struct boot_e820_entry){ map[i].start, map[i].size, map[i].type };
}

/* `head` holds the file's header, whose length is its jump's target. */
static void place_params(const struct boot *b, const struct ram *ram, const uint8_t *head, uint64_t initrd)
{
	struct boot_params *bp = boot_ptr(ram, BOOT_PARAMS);
	size_t len = 0x202 + head[0x201] - HEADER_OFFSET;
	struct setup_header *h = &bp->hdr;

	memset(bp, 0, sizeof(*bp));
	memcpy(h, head + HEADER_OFFSET, MIN(len, sizeof(*h)));
	h->type_of_loader = LOADER_UNDEFINED;
	h->vid_mode = VIDEO_NORMAL;
	h->loadflags &= (uint8_t)~CAN_USE_HEAP;
	h->setup_data = 0;
	h->cmd_line_ptr = BOOT_CMDLINE;
	h->ramdisk_image = (uint32_t)initrd;
	h->ramdisk_size = initrd ? (uint32_t)b->initrd.size : 0;
	bp->acpi_rsdp_addr = ACPI_BASE;
	fill_e820(ram, bp);
}

int boot_bzimage(const struct boot *b, const struct ram *ram, const uint8_t *head, struct boot_cpu *cpu,
		 struct error *err)
{
	struct setup_header h;
	struct payload p = { 0 };
	uint64_t start = 0, end = 0, initrd = 0;
	int r;

	memcpy(&h, head + HEADER_OFFSET, sizeof(h));
	r = check_header(b, &h, err);
	if (r == 0)
		r = find_payload(b, &h, &p, err);
	if (r == 0)
		r = find_place(b, &h, &p, ram, &start, &end, err);
	if (r == 0)
		r = boot_place_cmdline(b, ram, h.cmdline_size, err);
	if (r == 0)
		r = boot_read_ram(&b->kernel, p.off, ram, start, p.len, err);
	if (r == 0)
		r = boot_place_initrd(b, ram, end, h.initrd_addr_max + 1ULL, &initrd, err);
	if (r < 0)
		return r;
	place_params(b, ram, head, initrd);
	place_page_tables(ram, cpu);
	boot_place_gdt(ram, true, cpu);
	cpu->mode = BOOT_LONG_MODE;
	cpu->rip = start + ENTRY_64;
	cpu->rsi = BOOT_PARAMS;
	return 0;
}
