/* SPDX-License-Identifier: BSD-2-Clause */
/* Loading kernels that were made here: whole ones, truncated ones, hostile ones. */
#include "unit.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asm/bootparam.h>

#include "machine/boot.h"

#define RAM_SIZE   (64 * MIB)
#define KERNEL_AT  (16 * MIB)
#define IMAGE_SIZE 0x3000

static struct error err;
static struct ram ram;
static struct boot_cpu cpu;
static uint8_t image[IMAGE_SIZE];
static int kernel_fd = -1, initrd_fd = -1;

static int set_up(void **state)
{
	struct ram_block b = { .gpa = 0, .size = RAM_SIZE };

	(void)state;
	return ram_init(&ram, &b, 1, RAM_PRIVATE, &err);
}

static int tear_down(void **state)
{
	(void)state;
	ram_destroy(&ram);
	close(kernel_fd);
	close(initrd_fd);
	kernel_fd = initrd_fd = -1;
	return 0;
}

/* ---- files ---- */

static const char *file_of(int *fd, char path[32], const void *p, size_t n)
{
	close(*fd);
	*fd = memfd_create("image", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(write(*fd, p, n), n);
	snprintf(path, 32, "/proc/self/fd/%d", *fd);
	return path;
}

static int load_sized(const void *p, size_t n, const void *initrd, size_t initrd_size, const char *append)
{
	char kernel_path[32], initrd_path[32];
	struct boot b;
	int r;

	err.msg[0] = 0;
	if (initrd)
		file_of(&initrd_fd, initrd_path, initrd, initrd_size);
	r = boot_open(&b, file_of(&kernel_fd, kernel_path, p, n), initrd ? initrd_path : NULL, append, &err);
	assert_int_equal(r, 0);
	r = boot_load(&b, &ram, true, &cpu, &err);
	boot_close(&b);
	assert_true(r <= 0);
	return r;
}

static int load(const void *p, size_t n)
{
	return load_sized(p, n, NULL, 0, NULL);
}

static void refused(size_t n, const char *text)
{
	assert_true(load(image, n) < 0);
	if (!strstr(err.msg, text))
		print_error("'%s' lacks '%s'\n", err.msg, text);
	assert_non_null(strstr(err.msg, text));
	assert_non_null(strstr(err.msg, "-kernel /proc/self/fd/"));
	assert_null(strchr(err.msg, '\n'));
}

/* ---- bzImage ---- */

static struct setup_header *make_bzimage(void)
{
	struct setup_header *h = (void *)(image + 0x1f1);

	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 7);
	memset(image, 0, 1024);
	h->setup_sects = 3;
	h->syssize = (IMAGE_SIZE - 4 * 512) / 16;
	h->boot_flag = 0xaa55;
	h->jump = 0x66eb;
	h->header = 0x53726448;
	h->version = 0x020f;
	h->loadflags = LOADED_HIGH;
	h->initrd_addr_max = 0x7fffffff;
	h->kernel_alignment = 0x200000;
	h->relocatable_kernel = 1;
	h->xloadflags = XLF_KERNEL_64;
	h->cmdline_size = 255;
	h->pref_address = KERNEL_AT;
	h->init_size = 8 * MIB;
	return h;
}

static void a_whole_bzimage_is_loaded(void **state)
{
	static uint8_t initrd[10000];
	const struct boot_params *bp = ram_ptr(&ram, BOOT_PARAMS, 4096);
	const uint64_t *tables;
	uint64_t total = 0;

	(void)state;
	make_bzimage();
	memset(initrd, 0x77, sizeof(initrd));
	assert_int_equal(load_sized(image, sizeof(image), initrd, sizeof(initrd), "console=ttyS0"), 0);
	assert_int_equal(cpu.mode, BOOT_LONG_MODE);
	assert_int_equal(cpu.rip, KERNEL_AT + 0x200);
	assert_int_equal(cpu.rsi, BOOT_PARAMS);
	assert_memory_equal(ram_ptr(&ram, KERNEL_AT, 1), image + 4 * 512, IMAGE_SIZE - 4 * 512);
	assert_string_equal((char *)ram_ptr(&ram, bp->hdr.cmd_line_ptr, 14), "console=ttyS0");
	assert_int_equal(bp->hdr.type_of_loader, 0xff);
	assert_int_equal(bp->hdr.ramdisk_size, sizeof(initrd));
	assert_int_equal(bp->hdr.ramdisk_image, (RAM_SIZE - sizeof(initrd)) & ~4095UL);
	assert_memory_equal(ram_ptr(&ram, bp->hdr.ramdisk_image, 1), initrd, sizeof(initrd));
	assert_int_equal(bp->acpi_rsdp_addr, ACPI_BASE);
	for (unsigned i = 0; i < bp->e820_entries; i++)
		if (bp->e820_table[i].type == MAP_RAM)
			total += bp->e820_table[i].size;
	assert_int_equal(total, RAM_SIZE - MIB + LOW_RAM_END);
	tables = ram_ptr(&ram, cpu.cr3, 6 * 4096);
	assert_int_equal(tables[0] & ~0xfffUL, cpu.cr3 + 4096);
	assert_int_equal(tables[1024 + 8], KERNEL_AT | 0x83);
	assert_int_equal(((uint64_t *)ram_ptr(&ram, cpu.gdt, 32))[2], 0x00af9b000000ffff);
}

static void every_truncation_is_noticed(void **state)
{
	(void)state;
	make_bzimage();
	for (size_t n = 0; n < 0x206; n++)
		refused(n, "not a kernel");
	for (size_t n = 0x260; n < IMAGE_SIZE - 16; n += 37)
		refused(n, "truncated");
	assert_int_equal(load(image, sizeof(image)), 0);
}

static void hostile_headers_are_refused(void **state)
{
	struct setup_header *h = make_bzimage();

	(void)state;
	h->syssize = UINT32_MAX;
	refused(sizeof(image), "truncated");
	h = make_bzimage();
	h->setup_sects = 255;
	refused(sizeof(image), "truncated");
	h = make_bzimage();
	h->pref_address = 0x7000; /* our own structures */
	refused(sizeof(image), "no place for a kernel");
	h->pref_address = UINT64_MAX - 4096;
	refused(sizeof(image), "no place for a kernel");
	h->pref_address = LOW_RAM_MAX;
	refused(sizeof(image), "too large");
	h = make_bzimage();
	h->init_size = UINT32_MAX;
	refused(sizeof(image), "too large");
	h->init_size = 100 * MIB;
	refused(sizeof(image), "needs at least -m 116M");
	h = make_bzimage();
	h->version = 0x0205;
	refused(sizeof(image), "no 64-bit entry");
	h = make_bzimage();
	h->xloadflags = 0;
	refused(sizeof(image), "no 64-bit entry");
	h = make_bzimage();
	h->loadflags = 0;
	refused(sizeof(image), "bzImage");
	h = make_bzimage();
	h->boot_flag = 0;
	refused(sizeof(image), "not a kernel");
	/* A header that says it is longer than it can be. */
	make_bzimage();
	image[0x201] = 0xff;
	assert_int_equal(load(image, sizeof(image)), 0);
}

static void command_line_has_a_limit(void **state)
{
	char line[300];

	(void)state;
	make_bzimage();
	memset(line, 'x', sizeof(line));
	line[256] = 0;
	assert_true(load_sized(image, sizeof(image), NULL, 0, line) < 0);
	assert_non_null(strstr(err.msg, "-append"));
	assert_non_null(strstr(err.msg, "256 bytes"));
	assert_non_null(strstr(err.msg, "at most 255"));
	line[255] = 0;
	assert_int_equal(load_sized(image, sizeof(image), NULL, 0, line), 0);
}

static void initrd_must_fit(void **state)
{
	struct setup_header *h = make_bzimage();
	uint8_t *big = calloc(1, 45 * MIB);

	(void)state;
	assert_true(load_sized(image, sizeof(image), big, 45 * MIB, NULL) < 0);
	assert_non_null(strstr(err.msg, "-initrd"));
	assert_non_null(strstr(err.msg, "needs at least -m 69M"));
	h->initrd_addr_max = 0x1ffffff; /* below 32 MiB */
	assert_true(load_sized(image, sizeof(image), big, 20 * MIB, NULL) < 0);
	assert_non_null(strstr(err.msg, "more than this kernel can take"));
	assert_int_equal(load_sized(image, sizeof(image), big, 4 * MIB, NULL), 0);
	h->initrd_addr_max = 0;
	assert_true(load_sized(image, sizeof(image), big, 1, NULL) < 0);
	h->initrd_addr_max = UINT32_MAX;
	assert_int_equal(load_sized(image, sizeof(image), big, 1, NULL), 0);
	free(big);
}

/* ---- ELF ---- */

struct elf {
	Elf64_Ehdr e;
	Elf64_Phdr ph[2];
	Elf64_Nhdr note;
	char name[4];
	uint32_t entry;
	uint8_t text[512];
};

static struct elf *make_elf(void)
{
	struct elf *f = (void *)image;

	memset(image, 0, sizeof(image));
	memcpy(f->e.e_ident, "\177ELF\2\1\1", 7);
	f->e.e_type = ET_EXEC;
	f->e.e_machine = EM_X86_64;
	f->e.e_phoff = offsetof(struct elf, ph);
	f->e.e_phentsize = sizeof(Elf64_Phdr);
	f->e.e_phnum = 2;
	f->ph[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct elf, text),
		.p_paddr = KERNEL_AT,
		.p_filesz = sizeof(f->text),
		.p_memsz = MIB,
	};
	f->ph[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct elf, note), .p_filesz = 20 };
	f->note = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 4, .n_type = 18 };
	memcpy(f->name, "Xen", 4);
	f->entry = KERNEL_AT + 16;
	memset(f->text, 0x90, sizeof(f->text));
	return f;
}

static void an_elf_kernel_starts_by_pvh(void **state)
{
	const uint32_t *info;

	(void)state;
	make_elf();
	assert_int_equal(load_sized(image, sizeof(struct elf), "initrd", 6, "quiet"), 0);
	assert_int_equal(cpu.mode, BOOT_PVH);
	assert_int_equal(cpu.rip, KERNEL_AT + 16);
	assert_int_equal(*(uint8_t *)ram_ptr(&ram, KERNEL_AT + 511, 1), 0x90);
	info = ram_ptr(&ram, cpu.rbx, 64);
	assert_int_equal(info[0], 0x336ec578);
	assert_int_equal(info[3], 1);
	assert_string_equal((char *)ram_ptr(&ram, ((const uint64_t *)info)[3], 6), "quiet");
}

static void bss_is_cleared_when_ram_was_used(void **state)
{
	char path[32];
	uint8_t *bss = ram_ptr(&ram, KERNEL_AT + 512, MIB - 512);
	struct boot b;

	(void)state;
	make_elf();
	memset(bss, 0xff, MIB - 512);
	assert_int_equal(boot_open(&b, file_of(&kernel_fd, path, image, sizeof(struct elf)), NULL, NULL, &err), 0);
	assert_int_equal(boot_load(&b, &ram, false, &cpu, &err), 0);
	boot_close(&b);
	assert_int_equal(bss[0], 0);
	assert_int_equal(bss[MIB - 513], 0);
}

static void hostile_elf_files_are_refused(void **state)
{
	struct elf *f = make_elf();

	(void)state;
	for (size_t n = 4; n < offsetof(struct elf, text) + sizeof(f->text); n++)
		assert_true(load(image, n) < 0);
	f->e.e_machine = EM_AARCH64;
	refused(sizeof(*f), "not for x86-64");
	make_elf()->e.e_phnum = UINT16_MAX;
	refused(sizeof(*f), "program headers");
	make_elf()->e.e_phentsize = 1;
	refused(sizeof(*f), "program headers");
	make_elf()->e.e_phoff = UINT64_MAX - 8;
	refused(sizeof(*f), "truncated");
	make_elf()->ph[0].p_offset = UINT64_MAX - 16;
	refused(sizeof(*f), "truncated");
	make_elf()->ph[0].p_paddr = 0;
	refused(sizeof(*f), "no place for a kernel");
	make_elf()->ph[0].p_paddr = UINT64_MAX - 256;
	refused(sizeof(*f), "no place for a kernel");
	make_elf()->ph[0].p_memsz = 1;
	refused(sizeof(*f), "no place for a kernel");
	make_elf()->ph[0].p_memsz = 100 * MIB;
	refused(sizeof(*f), "needs at least -m 116M");
	make_elf()->note.n_type = 7;
	refused(sizeof(*f), "without a PVH entry");
	make_elf()->note.n_namesz = UINT32_MAX;
	refused(sizeof(*f), "without a PVH entry");
	make_elf()->note.n_descsz = UINT32_MAX;
	refused(sizeof(*f), "without a PVH entry");
	make_elf()->entry = 0x7000;
	refused(sizeof(*f), "entry");
	make_elf()->ph[1].p_filesz = UINT64_MAX;
	assert_true(load(image, sizeof(*f)) <= 0);
}

/* ---- others ---- */

static void what_is_no_kernel_is_named(void **state)
{
	struct boot b;

	(void)state;
	memset(image, 'x', sizeof(image));
	refused(sizeof(image), "not a kernel");
	assert_true(boot_open(&b, "/nonexistent", NULL, NULL, &err) < 0);
	assert_string_equal(err.msg, "-kernel /nonexistent: No such file or directory");
	assert_true(boot_open(&b, "/tmp", NULL, NULL, &err) < 0);
	assert_string_equal(err.msg, "-kernel /tmp: not a regular file");
	assert_true(boot_open(&b, "/proc/self/exe", "/nonexistent", NULL, &err) < 0);
	assert_string_equal(err.msg, "-initrd /nonexistent: No such file or directory");
}

/* Headers with a few bytes changed: whatever is accepted starts inside of RAM. */
static void changed_bytes_do_no_harm(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		bool elf = i & 1;
		size_t span = elf ? offsetof(struct elf, text) : 0x280;

		if (elf)
			make_elf();
		else
			make_bzimage();
		for (unsigned n = 0; n < 1 + i % 4; n++) {
			seed = seed * 1664525 + 1013904223;
			image[(seed >> 8) % (span - 8) + (elf ? 4 : 0)] = (uint8_t)(seed >> 24);
		}
		if (load(image, sizeof(image)) == 0)
			assert_non_null(ram_ptr(&ram, cpu.rip, 1));
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_whole_bzimage_is_loaded),
		T(every_truncation_is_noticed),
		T(hostile_headers_are_refused),
		T(command_line_has_a_limit),
		T(initrd_must_fit),
		T(an_elf_kernel_starts_by_pvh),
		T(bss_is_cleared_when_ram_was_used),
		T(hostile_elf_files_are_refused),
		T(what_is_no_kernel_is_named),
		T(changed_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
