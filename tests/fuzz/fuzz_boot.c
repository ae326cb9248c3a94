/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel loaders on any file: a bzImage or ELF header and what follows. What is accepted starts inside of RAM. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ram ram;
	static int file = -1;
	struct ram_block block = { .size = 64 * MIB };
	struct boot_cpu cpu;
	struct error err;
	struct boot b;

	if (file < 0) {
		file = memfd_create("kernel", MFD_CLOEXEC);
		if (file < 0 || ram_init(&ram, &block, 1, RAM_PRIVATE, &err) < 0)
			abort();
	}
	if (ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		abort();
	b = (struct boot){
		.kernel = { .option = "-kernel", .path = "input", .fd = file, .size = size },
		.initrd = { .option = "-initrd", .path = "input", .fd = file, .size = size },
		.append = "console=ttyS0",
	};
	if (boot_load(&b, &ram, false, &cpu, &err) == 0 && !ram_ptr(&ram, cpu.rip, 1))
		abort();
	return 0;
}
