/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory map's functions; see the header. */
#include "machine/memmap.h"

#include <cpuid.h>
#include <errno.h>

#define PCI64_SIZE (32 * GIB)

/* ISA lines that no device of this board uses. */
const uint8_t intx_gsis[INTX_GSIS] = { 10, 11, 5, 15 };

const uint8_t mmio_gsis[MMIO_SLOTS] = { 12, 14, 16, 17, 18, 19, 20, 21 };

unsigned intx_gsi(unsigned slot, unsigned pin)
{
	return intx_gsis[(slot + pin) % INTX_GSIS];
}

uint16_t level_gsis(void)
{
	uint16_t mask = BIT(GSI_SCI);

	for (unsigned i = 0; i < INTX_GSIS; i++)
		mask |= BIT(intx_gsis[i]);
	for (unsigned i = 0; i < MMIO_SLOTS; i++)
		mask |= mmio_gsis[i] < 16 ? BIT(mmio_gsis[i]) : 0;
	return mask;
}

unsigned memmap_blocks(uint64_t size, struct ram_block blocks[2])
{
	uint64_t low = MIN(size, LOW_RAM_MAX);

	blocks[0] = (struct ram_block){ .gpa = 0, .size = low };
	if (size == low)
		return 1;
	blocks[1] = (struct ram_block){ .gpa = HIGH_RAM_BASE, .size = size - low };
	return 2;
}

static unsigned address_bits(void)
{
	unsigned a, b, c, d;

	if (__get_cpuid(0x80000008, &a, &b, &c, &d) && (a & 0xff) >= 36)
		return MIN(a & 0xff, 52U);
	return 36;
}

int memmap_windows(uint64_t ram_size, struct pci_windows *w, struct error *err)
{
	struct ram_block b[2];
	unsigned bits = address_bits();
	uint64_t end = HIGH_RAM_BASE;

	if (memmap_blocks(ram_size, b) == 2) {
		if (b[1].size > BIT(52))
			end = BIT(53);
		else
			end = b[1].gpa + b[1].size;
	}
	end = ALIGN_UP(end, GIB);
	if (end + GIB > BIT(bits))
		return fail(err, EINVAL, "-m %lluM: more than this processor's %u address bits reach; at most %lluM",
			    (unsigned long long)(ram_size / MIB), bits,
			    (unsigned long long)((BIT(bits) - 2 * GIB) / MIB));
	*w = (struct pci_windows){
		.io = PCI_PORTS_BASE,
		.io_end = PCI_PORTS_END,
		.mem32 = PCI32_BASE,
		.mem32_end = PCI32_END,
		.mem64 = end,
		.mem64_end = MIN(end + PCI64_SIZE, BIT(bits)),
	};
	return 0;
}

unsigned memmap_e820(const struct ram *ram, struct map_entry map[MAP_ENTRIES_MAX])
{
	unsigned n = 0;

	map[n++] = (struct map_entry){ 0, LOW_RAM_END, MAP_RAM };
	map[n++] = (struct map_entry){ LOW_RAM_END, 0xa0000 - LOW_RAM_END, MAP_RESERVED };
	map[n++] = (struct map_entry){ ACPI_BASE, ACPI_SIZE, MAP_RESERVED };
	map[n++] = (struct map_entry){ KERNEL_MIN, ram->block[0].size - KERNEL_MIN, MAP_RAM };
	map[n++] = (struct map_entry){ ECAM_BASE, ECAM_SIZE, MAP_RESERVED };
	map[n++] = (struct map_entry){ KVM_PAGES_BASE, KVM_PAGES_SIZE, MAP_RESERVED };
	if (ram->n > 1)
		map[n++] = (struct map_entry){ ram->block[1].gpa, ram->block[1].size, MAP_RAM };
	return n;
}
