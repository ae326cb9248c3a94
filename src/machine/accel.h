/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What runs the guest: KVM (kvm/kvm.c), or nothing but a test's commands (ctl/qtest.c). The board and all devices are
 * the same for both.
 */
#ifndef MACHINE_ACCEL_H
#define MACHINE_ACCEL_H

#include "mem/ram.h"
#include "mem/space.h"
#include "object/irq.h"

struct machine;

/* How the boot processor starts. Others wait for INIT/SIPI. */
struct boot_cpu {
	enum {
		BOOT_LONG_MODE,
		BOOT_PVH
	} mode; /* flat 64-bit with paging; flat 32-bit protected */
	uint64_t rip, rsi, rbx, rsp;
	uint64_t cr3;		 /* BOOT_LONG_MODE: page tables, already in RAM */
	uint64_t gdt, gdt_limit; /* already in RAM; selectors as the boot protocol says (0x10 code, 0x18 data) */
};

struct accel_env {
	struct machine *machine;
	unsigned cpus;
	const char *cpu_model; /* "host" */
	const struct ram *ram;
	struct space *mem, *io;
	uint16_t level_gsis; /* bit per ISA line that is level-triggered: what firmware writes into the ELCR */
};

struct accel {
	const char *name;
	const struct irq_chip *irq;
	const struct doorbell_ops *bells; /* NULL: writes signal the eventfds by the slow path */
	void *opaque;

	/* All of these but the last: main thread. */
	int (*cpus_start)(struct accel *a, struct error *err); /* make the threads, paused */
	/* While paused; also PIC, IOAPIC, PIT, clock. After an error nothing may run before another one succeeded. */
	int (*cpus_reset)(struct accel *a, const struct boot_cpu *boot, struct error *err);
	void (*pause)(struct accel *a); /* returns when no vCPU runs or handles an exit */
	void (*resume)(struct accel *a);
	/*
	 * A vCPU's thread, in a handler: its guest asked for something that ends what it does (a reset, power off). It
	 * executes no further instruction before cpus_reset(). Does not wait. NULL: nothing runs by itself.
	 */
	void (*cpu_hold)(struct accel *a);
	void (*destroy)(struct accel *a);
};

/* Makers. err names the remedy ("/dev/kvm: permission denied; add yourself to group kvm"). */
struct accel *kvm_accel_new(const struct accel_env *env, struct error *err);

#endif
