/* SPDX-License-Identifier: BSD-2-Clause */
/* Expansion ROMs: see rom.h. The image is read once, into memory; what is behind it reads as an empty flash does. */
#include "pci/rom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open.h"

#define IPXE_IMAGES "/usr/lib/ipxe/qemu" /* of Debian's ipxe-qemu */
#define ROM_MIN	    (2 * KIB)		 /* the register has no bits for less */
#define ROM_MAX	    (16 * MIB)

struct pci_rom {
	struct region region;
	uint64_t size; /* a power of two */
	uint8_t image[];
};

static uint64_t rom_read(void *opaque, uint64_t off, unsigned size)
{
	const struct pci_rom *rom = opaque;
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)rom->image[off + i] << 8 * i;
	return v;
}

static void rom_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
	(void)opaque;
	(void)off;
	(void)value;
	(void)size;
}

static const struct region_ops rom_ops = { .read = rom_read,
					   .write = rom_write,
					   .min = 1,
					   .max = 8,
					   .unaligned = true };

/* ---- the file ---- */

static int open_file(const char *path, struct error *err)
{
	struct open_request r = { .kind = OPEN_FILE, .path = path, .flags = O_RDONLY, .nonblock = true };

	return open_request(&r, err);
}

static int open_ipxe(const char *name, struct error *err)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", IPXE_IMAGES, name);
	return open_file(path, err);
}

static int open_named(const char *name, struct error *err)
{
	struct error second; /* the text is to be that of the name as it was given */
	int fd = open_file(name, err), ipxe;

	if (fd != -ENOENT || strchr(name, '/'))
		return fd;
	ipxe = open_ipxe(name, &second);
	return ipxe < 0 ? fd : ipxe;
}

static int read_all(int fd, uint8_t *to, size_t n, struct error *err)
{
	while (n) {
		ssize_t k = read(fd, to, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return fail(err, errno, "%s", errno_str(errno));
		if (k == 0)
			return fail(err, EIO, "it became shorter while it was read");
		to += k;
		n -= (size_t)k;
	}
	return 0;
}

static int load(int fd, struct pci_rom **rom, struct error *err)
{
	uint64_t size = ROM_MIN;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	if (!S_ISREG(st.st_mode))
		return fail(err, EINVAL, "it is no file; give the image of an option ROM");
	if (st.st_size == 0 || st.st_size > (off_t)ROM_MAX)
		return fail(err, EINVAL, "it has %lld bytes; an option ROM has 1 to %llu", (long long)st.st_size,
			    (unsigned long long)ROM_MAX);
	while (size < (uint64_t)st.st_size)
		size *= 2;
	*rom = malloc(sizeof(**rom) + size);
	if (!*rom)
		return fail(err, ENOMEM, "no memory for it");
	memset((*rom)->image + st.st_size, 0xff, size - (uint64_t)st.st_size);
	(*rom)->size = size;
	r = read_all(fd, (*rom)->image, (size_t)st.st_size, err);
	if (r < 0) {
		free(*rom);
		*rom = NULL;
	}
	return r;
}

/* ---- the BAR ---- */

static void show(struct pci_device *p, struct pci_rom *rom)
{
	rom->region = (struct region){
		.name = "pci.rom",
		.size = rom->size,
		.ops = &rom_ops,
		.opaque = rom,
		.policy = REGION_NONE,
	};
	p->rom = rom;
	pci_bar_init(p, PCI_ROM_BAR, rom->size, 0);
	pci_bar_add(p, PCI_ROM_BAR, &rom->region, 0);
}

int pci_rom_init(struct pci_device *p, struct error *err)
{
	bool named = p->romfile != NULL;
	const char *name = named ? p->romfile : pci_class(p)->romfile;
	struct pci_rom *rom = NULL;
	int fd, r;

	if (!name || !*name || p->rombar == 0)
		return 0;
	fd = named ? open_named(name, err) : open_ipxe(name, err);
	r = fd < 0 ? fd : load(fd, &rom, err);
	if (fd >= 0)
		close(fd);
	if (rom)
		show(p, rom);
	else if (named)
		error_prefix(err, "romfile=%s: ", name);
	return named ? r : 0;
}

void pci_rom_destroy(struct pci_device *p)
{
	p->bar[PCI_ROM_BAR] = (struct pci_bar){ 0 };
	free(p->rom);
	p->rom = NULL;
}
