/* SPDX-License-Identifier: BSD-2-Clause */
/* The pvpanic device (port 0x505, ACPI QEMU0001): a guest that panics says so. QEMU's docs/specs/pvpanic. */
#ifndef MACHINE_PVPANIC_H
#define MACHINE_PVPANIC_H

#include "mem/space.h"

struct pvpanic {
	struct region region;
	void (*panicked)(void *opaque); /* any thread */
	void *opaque;
};

void pvpanic_init(struct pvpanic *p, void (*panicked)(void *opaque), void *opaque);

#endif
