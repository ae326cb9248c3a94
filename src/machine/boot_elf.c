/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An ELF kernel (Linux's vmlinux, and others) by its PVH note: XEN_ELFNOTE_PHYS32_ENTRY names the 32-bit entry, and
 * ebx points at struct hvm_start_info. Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h.
 */
#include <elf.h>
#include <errno.h>

#include "machine/boot.h"

#define NOTE_PHYS32_ENTRY 18
#define SEGMENTS_MAX	  64
#define NOTES_MAX	  256
#define CMDLINE_MAX	  2047

/* The start info, version 1; all addresses are physical. */
struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct hvm_modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

#define START_INFO_MAGIC 0x336ec578

/* All of it at BOOT_PARAMS. */
struct start_page {
	struct hvm_start_info info;
	struct hvm_modlist_entry module;
	struct hvm_memmap_entry map[MAP_ENTRIES_MAX];
};

/* ---- headers ---- */

static int check_ehdr(const struct boot *b, const Elf64_Ehdr *e, struct error *err)
{
	if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_ident[EI_DATA] != ELFDATA2LSB || e->e_machine != EM_X86_64)
		return fail(err, ENOEXEC, "-kernel %s: an ELF file, but not for x86-64", b->kernel.path);
	if (e->e_phentsize != sizeof(Elf64_Phdr) || !e->e_phnum || e->e_phnum > SEGMENTS_MAX)
		return fail(err, ENOEXEC,
			    "-kernel %s: %u program headers of %u bytes; between 1 and %u of %zu are taken",
			    b->kernel.path, e->e_phnum, e->e_phentsize, SEGMENTS_MAX, sizeof(Elf64_Phdr));
	return 0;
}

/* Find the entry note in one PT_NOTE segment; 0 in *entry if it is not there. */
static int scan_notes(const struct boot *b, const Elf64_Phdr *ph, uint64_t *entry, struct error *err)
{
	uint64_t off = ph->p_offset, left = ph->p_filesz;

	for (unsigned i = 0; i < NOTES_MAX && left >= sizeof(Elf64_Nhdr); i++) {
		Elf64_Nhdr n;
		uint64_t name, desc;
		char text[4];
		int r = boot_read(&b->kernel, off, &n, sizeof(n), err);

		if (r < 0)
			return r;
		name = ALIGN_UP((uint64_t)n.n_namesz, 4ULL);
		desc = ALIGN_UP((uint64_t)n.n_descsz, 4ULL);
		if (sizeof(n) + name + desc > left)
			return 0;
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 && n.n_descsz >= 4) {
			r = boot_read(&b->kernel, off + sizeof(n), text, sizeof(text), err);
			if (r == 0 && memcmp(text, "Xen", 4) == 0)
				return boot_read(&b->kernel, off + sizeof(n) + name, entry, MIN(n.n_descsz, 8U), err);
			if (r < 0)
				return r;
		}
		off += sizeof(n) + name + desc;
		left -= sizeof(n) + name + desc;
	}
	return 0;
}

/* ---- loading ---- */

static int load_segment(const struct boot *b, const struct ram *ram, const Elf64_Phdr *ph, bool fresh, uint64_t *end,
			struct error *err)
{
	uint8_t *bss;
	int r;

	if (!ph->p_memsz)
		return 0;
	if (ph->p_filesz > ph->p_memsz || ph->p_paddr < KERNEL_MIN || ph->p_paddr > LOW_RAM_MAX ||
	    ph->p_memsz > LOW_RAM_MAX)
		return fail(err, ENOEXEC,
			    "-kernel %s: a segment of %#llx bytes at %#llx, which is no place for a kernel",
			    b->kernel.path, (unsigned long long)ph->p_memsz, (unsigned long long)ph->p_paddr);
	if (ph->p_paddr + ph->p_memsz > low_ram_end(ram))
		return boot_too_little(&b->kernel, ram, ph->p_paddr + ph->p_memsz, err);
	r = boot_read_ram(&b->kernel, ph->p_offset, ram, ph->p_paddr, ph->p_filesz, err);
	if (r < 0)
		return r;
	bss = ram_ptr(ram, ph->p_paddr + ph->p_filesz, ph->p_memsz - ph->p_filesz);
	if (!fresh && bss)
		memset(bss, 0, ph->p_memsz - ph->p_filesz);
	*end = MAX(*end, ph->p_paddr + ph->p_memsz);
	return 0;
}

static int load_segments(const struct boot *b, const struct ram *ram, const Elf64_Ehdr *e, bool fresh, uint64_t *entry,
			 uint64_t *end, struct error *err)
{
	Elf64_Phdr ph[SEGMENTS_MAX];
	int r = boot_read(&b->kernel, e->e_phoff, ph, e->e_phnum * sizeof(ph[0]), err);

	for (unsigned i = 0; r == 0 && i < e->e_phnum; i++)
		if (ph[i].p_type == PT_NOTE && !*entry)
			r = scan_notes(b, &ph[i], entry, err);
	if (r == 0 && !*entry)
		return fail(err, ENOEXEC,
			    "-kernel %s: an ELF file without a PVH entry; Linux has one if built with CONFIG_PVH",
			    b->kernel.path);
	for (unsigned i = 0; r == 0 && i < e->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			r = load_segment(b, ram, &ph[i], fresh, end, err);
	if (r == 0 && (*entry < KERNEL_MIN || *entry >= *end))
		return fail(err, ENOEXEC, "-kernel %s: its entry, %#llx, is not in what it loads", b->kernel.path,
			    (unsigned long long)*entry);
	return r;
}

static void place_start_info(const struct boot *b, const struct ram *ram, uint64_t initrd)
{
	struct start_page *s = boot_ptr(ram, BOOT_PARAMS);
	struct map_entry map[MAP_ENTRIES_MAX];
	unsigned n = memmap_e820(ram, map);

	memset(s, 0, sizeof(*s));
	s->info = (struct hvm_start_info){
		.magic = START_INFO_MAGIC,
		.version = 1,
		.nr_modules = initrd ? 1 : 0,
		.modlist_paddr = initrd ? BOOT_PARAMS + offsetof(struct start_page, module) : 0,
		.cmdline_paddr = BOOT_CMDLINE,
		.rsdp_paddr = ACPI_BASE,
		.memmap_paddr = BOOT_PARAMS + offsetof(struct start_page, map),
		.memmap_entries = n,
	};
	s->module = (struct hvm_modlist_entry){ .paddr = initrd, .size = initrd ? b->initrd.size : 0 };
	for (unsigned i = 0; i < n; i++)
		s->map[i] = (struct hvm_memmap_entry){ map[i].start, map[i].size, map[i].type, 0 };
}

int boot_elf(const struct boot *b, const struct ram *ram, const uint8_t *head, bool fresh, struct boot_cpu *cpu,
	     struct error *err)
{
	uint64_t entry = 0, end = 0, initrd = 0;
	Elf64_Ehdr e;
	int r;

	memcpy(&e, head, sizeof(e));
	r = check_ehdr(b, &e, err);
	if (r == 0)
		r = load_segments(b, ram, &e, fresh, &entry, &end, err);
	if (r == 0)
		r = boot_place_cmdline(b, ram, CMDLINE_MAX, err);
	if (r == 0)
		r = boot_place_initrd(b, ram, end, LOW_RAM_MAX, &initrd, err);
	if (r < 0)
		return r;
	place_start_info(b, ram, initrd);
	boot_place_gdt(ram, false, cpu);
	cpu->mode = BOOT_PVH;
	cpu->rip = entry;
	cpu->rbx = BOOT_PARAMS;
	return 0;
}
