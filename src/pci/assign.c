/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What firmware does with a PCI bus: addresses for all BARs, interrupt line registers, decoding on. Each window is
 * filled with the largest BARs first, so that natural alignment wastes nothing between them.
 */
#include <errno.h>

#include "pci/config.h"

struct window {
	const char *name;
	uint64_t next, end;
};

enum {
	WINDOW_IO,
	WINDOW_MEM32,
	WINDOW_MEM64,
	WINDOWS
};

/* The windows that a BAR may go to, the best one first; WINDOWS: none. */
static unsigned window_of(const struct pci_bar *b, unsigned choice)
{
	bool io = b->flags & PCI_BASE_ADDRESS_SPACE_IO;

	if (io)
		return choice == 0 ? WINDOW_IO : WINDOWS;
	if (b->flags & PCI_BASE_ADDRESS_MEM_TYPE_64)
		return choice == 0 ? WINDOW_MEM64 : choice == 1 ? WINDOW_MEM32 : WINDOWS;
	return choice == 0 ? WINDOW_MEM32 : WINDOWS;
}

static bool window_take(struct window *w, uint64_t size, uint64_t *address)
{
	uint64_t at = ALIGN_UP(w->next, size);

	if (w->next == 0 || at < w->next || !range_within(at, size, w->end))
		return false;
	*address = at;
	w->next = at + size;
	return true;
}

static int assign_bar(struct pci_device *p, unsigned n, struct window *windows, struct error *err)
{
	const struct pci_bar *b = &p->bar[n];
	unsigned w = WINDOWS;
	uint64_t address;

	for (unsigned choice = 0; (w = window_of(b, choice)) < WINDOWS; choice++) {
		if (!window_take(&windows[w], b->size, &address))
			continue;
		mutex_lock(&p->dev.lock);
		pci_config_set_bar(p, n, address);
		mutex_unlock(&p->dev.lock);
		return 0;
	}
	w = window_of(b, 0);
	return fail(err, ENOSPC, "device '%s': no room for BAR %u (%llu KiB) in the %s window; use fewer devices",
		    device_label(&p->dev), n, (unsigned long long)((b->size + KIB - 1) / KIB), windows[w].name);
}

static uint64_t largest_below(const struct pci_bus *b, uint64_t limit)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(b->slot); i++)
		for (unsigned n = 0; b->slot[i] && n < PCI_BARS; n++)
			if (b->slot[i]->bar[n].size < limit)
				size = MAX(size, b->slot[i]->bar[n].size);
	return size;
}

static int assign_bars(struct pci_bus *b, struct window *windows, struct error *err)
{
	for (uint64_t size = UINT64_MAX; (size = largest_below(b, size)) != 0;) {
		for (unsigned i = 0; i < ARRAY_SIZE(b->slot); i++) {
			for (unsigned n = 0; b->slot[i] && n < PCI_BARS; n++) {
				int r = b->slot[i]->bar[n].size == size ? assign_bar(b->slot[i], n, windows, err) : 0;

				if (r < 0)
					return r;
			}
		}
	}
	return 0;
}

static void enable(struct pci_device *p)
{
	uint16_t command = 0;

	mutex_lock(&p->dev.lock);
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (p->bar[n].size)
			command |= p->bar[n].flags & PCI_BASE_ADDRESS_SPACE_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	pci_set16(p, PCI_COMMAND, pci_get16(p, PCI_COMMAND) | command);
	if (p->intx_gsi >= 0)
		p->config[PCI_INTERRUPT_LINE] = (uint8_t)p->intx_gsi;
	pci_config_apply(p);
	mutex_unlock(&p->dev.lock);
}

int pci_assign(struct pci_bus *b, const struct pci_windows *w, struct error *err)
{
	struct window windows[WINDOWS] = {
		[WINDOW_IO] = { "I/O", w->io, w->io_end },
		[WINDOW_MEM32] = { "32-bit memory", w->mem32, w->mem32_end },
		[WINDOW_MEM64] = { "64-bit memory", w->mem64, w->mem64_end },
	};
	int r;

	mutex_lock(&b->lock);
	r = assign_bars(b, windows, err);
	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(b->slot); i++)
		if (b->slot[i])
			enable(b->slot[i]);
	mutex_unlock(&b->lock);
	return r;
}
