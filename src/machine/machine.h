/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board: an x86-64 PC without legacy ballast. RAM, PCI host bridge with config ports and ECAM, 16550A serial ports,
 * RTC, i8042 (reset only), ACPI (power button, S5, reset register, PCI routing), pvpanic; the interrupt controllers and
 * the PIT are the accelerator's. It loads a kernel directly (bzImage by the 64-bit entry, ELF by PVH), without
 * firmware, and does what firmware would (BARs, ACPI tables, memory map).
 *
 * Run states: prelaunch -> running <-> paused -> shutdown. Requests may come from any thread (a vCPU that wrote the
 * reset register, a signal, QMP); the main loop carries them out: pause vCPUs, stop devices, act, go on.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "loop/loop.h"
#include "machine/accel.h"
#include "pci/pci.h"

#define MACHINE_SERIALS 4

/* The strings must outlive the machine. */
struct machine_config {
	const char *name;
	uint64_t ram_size; /* bytes, page multiple */
	unsigned cpus;	   /* 1..MACHINE_CPUS_MAX */
	const char *cpu_model;
	const char *kernel, *initrd, *append; /* kernel NULL: none (qtest) */
	bool no_reboot;			      /* a reset ends the program */
	bool no_shutdown;		      /* a poweroff pauses */
	/* As chardev_open() has them: "stdio", "file:PATH", "chardev:ID", ...; "none", NULL: absent */
	const char *serial[MACHINE_SERIALS];
	/* Sets properties of a device that the board makes, by -global; NULL: none. */
	int (*globals)(void *arg, struct object *o, struct error *err);
	void *globals_arg;
};

#define MACHINE_CPUS_MAX 64
#define MACHINE_RAM_MIN	 (16 * MIB)

enum machine_request {
	MACHINE_RESET,	   /* guest or host asked for a reboot */
	MACHINE_SHUTDOWN,  /* guest powered off, or host wants the end now */
	MACHINE_POWERDOWN, /* press the power button */
	MACHINE_PAUSE,
	MACHINE_RESUME,
	MACHINE_CRASH, /* the guest cannot go on: said with the reason, then status 1 (no_shutdown: a stop) */
};

/* Memory and serial ports; may wait for whoever is to connect to one. */
struct machine *machine_new(const struct machine_config *cfg, struct loop *main_loop, struct error *err);
/* Choose the accelerator, before devices are added. qtest passes its own; takes ownership. */
struct accel_env machine_accel_env(struct machine *m);
void machine_set_accel(struct machine *m, struct accel *a);
/* The root bus exists after machine_set_accel(); devices go there. */
int machine_init_buses(struct machine *m, struct loop *(*place)(void *arg), void *arg, struct error *err) __must_check;
/* Open kernel and initrd and load them; before machine_ready(). */
int machine_load(struct machine *m, struct error *err) __must_check;
/* After devices: ACPI, BARs, vCPUs. Then machine_start() lets it run (not with -S). */
int machine_ready(struct machine *m, struct error *err) __must_check;
void machine_start(struct machine *m);

/* Any thread. `why` is a static string that is shown to the user ("guest reset", "terminating on signal 15"). */
void machine_request(struct machine *m, enum machine_request r, const char *why);
/* Set by main: called on the main loop when the program is to end, with the exit status. */
void machine_on_exit(struct machine *m, void (*fn)(void *arg, int status), void *arg);
bool machine_running(const struct machine *m);
const char *machine_state_name(const struct machine *m); /* QEMU's RunState names */

/* Stop everything, free. Restores the terminal. */
void machine_free(struct machine *m);

#endif
