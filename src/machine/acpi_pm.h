/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI fixed hardware (ACPI 6.4, 4.8.3): PM1a event block (power button, timer carry), PM1a control (S5), the power
 * management timer of 3.579545 MHz. ACPI mode is always on: there is no SMI. The SCI is a level on its line.
 */
#ifndef MACHINE_ACPI_PM_H
#define MACHINE_ACPI_PM_H

#include "loop/loop.h"
#include "machine/isa_irq.h"
#include "mem/space.h"

/* Offsets from the block's base port, for the FADT. */
#define PM1_EVENT	 0x00
#define PM1_CONTROL	 0x04
#define PM_TIMER	 0x08
#define PM_SLEEP_TYPE_S5 5

struct acpi_pm {
	struct region region;
	struct loop *loop;
	struct timer timer; /* the next carry, while its interrupt is enabled */
	struct post rearm;
	struct mutex lock; /* guards the fields below */
	struct isa_irq sci;
	uint16_t status, enable, control;
	uint64_t carries;		/* of the timer's highest bit, seen so far */
	void (*poweroff)(void *opaque); /* any thread */
	void *opaque;
};

void acpi_pm_init(struct acpi_pm *p, struct loop *main_loop, const struct irq_chip *irq, unsigned gsi, uint64_t size);
void acpi_pm_on_poweroff(struct acpi_pm *p, void (*poweroff)(void *opaque), void *opaque);
void acpi_pm_power_button(struct acpi_pm *p);
void acpi_pm_reset(struct acpi_pm *p);
void acpi_pm_destroy(struct acpi_pm *p);

#endif
