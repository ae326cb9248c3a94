/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ports by which a guest resets a PC: the keyboard controller's command FEh or its output port (8042, ports 0x60
 * and 0x64; there is no keyboard), the fast reset bit of port 0x92, and the reset register 0xcf9 (which the ACPI tables
 * name). 0xcf9 lies within the four ports of the PCI address register, so that region is wrapped here: byte accesses
 * at offset 1 are the reset register, everything else goes to the PCI host.
 */
#ifndef MACHINE_RESET_PORTS_H
#define MACHINE_RESET_PORTS_H

#include "mem/space.h"

struct reset_ports {
	struct region i8042, a20, config_address;
	struct region pci_address; /* filled in by pci_host_ports_init() */
	struct mutex lock;
	void (*reset)(void *opaque); /* any thread */
	void *opaque;
	bool output_port; /* the next byte to port 0x60 is for the output port */
	uint8_t a20_value, cf9_value;
};

void reset_ports_init(struct reset_ports *p, void (*reset)(void *opaque), void *opaque);
void reset_ports_reset(struct reset_ports *p);

#endif
