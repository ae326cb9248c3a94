/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loading a kernel straight into guest RAM, without firmware: a Linux bzImage by the 64-bit entry of the boot protocol
 * (boot_bzimage.c) or an ELF kernel by its PVH note (boot_elf.c), with initrd and command line. The files stay open,
 * and all is loaded again at each reset.
 *
 * Every number in the files is a stranger's: it is copied, checked against file and RAM, and only then used.
 */
#ifndef MACHINE_BOOT_H
#define MACHINE_BOOT_H

#include "machine/accel.h"
#include "machine/memmap.h"

struct boot_file {
	const char *option, *path; /* "-kernel", ... for messages; not owned */
	int fd;			   /* < 0: none */
	uint64_t size;
};

struct boot {
	struct boot_file kernel, initrd;
	const char *append; /* "" if none was given */
};

/* Open the files (initrd and append may be NULL). Strings must outlive `b`. Main thread. */
int boot_open(struct boot *b, const char *kernel, const char *initrd, const char *append,
	      struct error *err) __must_check;
void boot_close(struct boot *b);

/* Load everything and say how CPU 0 starts. `fresh`: RAM is known to be zero. */
int boot_load(const struct boot *b, const struct ram *ram, bool fresh, struct boot_cpu *cpu,
	      struct error *err) __must_check;

/* ---- shared by the two loaders ---- */

/* Where RAM below 4 GiB ends. */
static inline uint64_t low_ram_end(const struct ram *ram)
{
	return ram->block[0].size;
}

/* Boot structures: their places are fixed, below MACHINE_RAM_MIN. */
static inline void *boot_ptr(const struct ram *ram, uint64_t gpa)
{
	return ram->block[0].host + gpa;
}

/* Read exactly len bytes at `off`; what the file does not have is an error that calls it truncated. */
int boot_read(const struct boot_file *f, uint64_t off, void *to, uint64_t len, struct error *err) __must_check;
/* The same, into guest RAM at gpa; the caller has checked the range. */
int boot_read_ram(const struct boot_file *f, uint64_t off, const struct ram *ram, uint64_t gpa, uint64_t len,
		  struct error *err) __must_check;
/* Put the initrd as high as it may be: below `limit` (exclusive) and above `floor`. *addr is 0 if there is none. */
int boot_place_initrd(const struct boot *b, const struct ram *ram, uint64_t floor, uint64_t limit, uint64_t *addr,
		      struct error *err) __must_check;
/* Put the command line at BOOT_CMDLINE; `max` is what the kernel takes. */
int boot_place_cmdline(const struct boot *b, const struct ram *ram, uint64_t max, struct error *err) __must_check;
void boot_place_gdt(const struct ram *ram, bool code64, struct boot_cpu *cpu);
/* "needs at least N MiB of memory (-m)" */
int boot_too_little(const struct boot_file *f, const struct ram *ram, uint64_t end, struct error *err);

#define BOOT_HEAD 1024
/* `head`: the file's first BOOT_HEAD bytes, zeroed where the file is shorter. */
int boot_bzimage(const struct boot *b, const struct ram *ram, const uint8_t *head, struct boot_cpu *cpu,
		 struct error *err) __must_check;
int boot_elf(const struct boot *b, const struct ram *ram, const uint8_t *head, bool fresh, struct boot_cpu *cpu,
	     struct error *err) __must_check;

#endif
