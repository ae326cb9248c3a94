/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "machine/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open.h"

/* ---- files ---- */

static int open_file(struct boot_file *f, const char *option, const char *path, struct error *err)
{
	struct open_request r = { .kind = OPEN_FILE, .path = path, .flags = O_RDONLY, .nonblock = true };
	struct stat st;

	f->option = option;
	f->path = path;
	f->fd = open_request(&r, err);
	if (f->fd < 0) {
		error_prefix(err, "%s %s: ", option, path);
		return f->fd;
	}
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return fail(err, EINVAL, "%s %s: not a regular file", option, path);
	f->size = (uint64_t)st.st_size;
	return 0;
}

int boot_open(struct boot *b, const char *kernel, const char *initrd, const char *append, struct error *err)
{
	int r;

	*b = (struct boot){ .kernel.fd = -1, .initrd.fd = -1, .append = append ? append : "" };
	r = open_file(&b->kernel, "-kernel", kernel, err);
	if (r == 0 && initrd)
		r = open_file(&b->initrd, "-initrd", initrd, err);
	if (r < 0)
		boot_close(b);
	return r;
}

void boot_close(struct boot *b)
{
	if (b->kernel.fd >= 0)
		close(b->kernel.fd);
	if (b->initrd.fd >= 0)
		close(b->initrd.fd);
	b->kernel.fd = b->initrd.fd = -1;
}

int boot_read(const struct boot_file *f, uint64_t off, void *to, uint64_t len, struct error *err)
{
	uint8_t *p = to;

	if (!range_within(off, len, f->size))
		return fail(err, EINVAL, "%s %s: truncated: it has %llu bytes and needs %llu", f->option, f->path,
			    (unsigned long long)f->size,
			    (unsigned long long)(off > UINT64_MAX - len ? UINT64_MAX : off + len));
	while (len) {
		ssize_t n = pread(f->fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(err, n ? errno : EIO, "%s %s: cannot be read: %s", f->option, f->path,
				    n ? errno_str(errno) : "it became shorter");
		p += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int boot_read_ram(const struct boot_file *f, uint64_t off, const struct ram *ram, uint64_t gpa, uint64_t len,
		  struct error *err)
{
	void *to = ram_ptr(ram, gpa, len);

	if (!to)
		return boot_too_little(f, ram, gpa > UINT64_MAX - len ? UINT64_MAX : gpa + len, err);
	return boot_read(f, off, to, len, err);
}

int boot_too_little(const struct boot_file *f, const struct ram *ram, uint64_t end, struct error *err)
{
	if (end > LOW_RAM_MAX)
		return fail(err, EFBIG, "%s %s: too large: it does not fit below 3 GiB", f->option, f->path);
	return fail(err, ENOMEM, "%s %s: too little memory: needs at least -m %lluM, and there are %lluM", f->option,
		    f->path, (unsigned long long)((end + MIB - 1) / MIB), (unsigned long long)(low_ram_end(ram) / MIB));
}

/* ---- what every kernel gets ---- */

int boot_place_initrd(const struct boot *b, const struct ram *ram, uint64_t floor, uint64_t limit, uint64_t *addr,
		      struct error *err)
{
	uint64_t end = MIN(low_ram_end(ram), limit), size = b->initrd.size;

	*addr = 0;
	if (b->initrd.fd < 0 || !size)
		return 0;
	floor = ALIGN_UP(floor, 4096ULL);
	if (end < floor || size > end - floor || ALIGN_DOWN(end - size, 4096ULL) < floor) {
		if (limit <= low_ram_end(ram) || size > LOW_RAM_MAX)
			return fail(err, EFBIG, "-initrd %s: %llu MiB are more than this kernel can take",
				    b->initrd.path, (unsigned long long)(size / MIB));
		return boot_too_little(&b->initrd, ram, floor + ALIGN_UP(size, 4096ULL), err);
	}
	*addr = ALIGN_DOWN(end - size, 4096ULL);
	return boot_read_ram(&b->initrd, 0, ram, *addr, size, err);
}

int boot_place_cmdline(const struct boot *b, const struct ram *ram, uint64_t max, struct error *err)
{
	size_t len = strlen(b->append);

	max = MIN(max, BOOT_CMDLINE_MAX - 1);
	if (len > max)
		return fail(err, E2BIG, "-append: the command line has %zu bytes, and this kernel takes at most %llu",
			    len, (unsigned long long)max);
	memcpy(boot_ptr(ram, BOOT_CMDLINE), b->append, len + 1);
	return 0;
}

/* Selectors 0x10 and 0x18, flat, as both boot protocols have them. */
void boot_place_gdt(const struct ram *ram, bool code64, struct boot_cpu *cpu)
{
	const uint64_t gdt[] = { 0, 0, code64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff, 0x00cf93000000ffff };

	memcpy(boot_ptr(ram, BOOT_GDT), gdt, sizeof(gdt));
	cpu->gdt = BOOT_GDT;
	cpu->gdt_limit = sizeof(gdt) - 1;
	cpu->rsp = BOOT_STACK;
}

int boot_load(const struct boot *b, const struct ram *ram, bool fresh, struct boot_cpu *cpu, struct error *err)
{
	uint8_t head[BOOT_HEAD] = { 0 };
	int r = boot_read(&b->kernel, 0, head, MIN(b->kernel.size, sizeof(head)), err);

	*cpu = (struct boot_cpu){ 0 };
	if (r < 0)
		return r;
	if (memcmp(head, "\177ELF", 4) == 0)
		return boot_elf(b, ram, head, fresh, cpu, err);
	if (memcmp(head + 0x202, "HdrS", 4) == 0)
		return boot_bzimage(b, ram, head, cpu, err);
	return fail(err, ENOEXEC, "-kernel %s: not a kernel: neither a Linux bzImage nor an ELF file", b->kernel.path);
}
