/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board under KVM with a guest of a few instructions, for tests. It starts by the 64-bit entry of a bzImage made
 * here, with the first 4 GiB mapped and 32 MiB of RAM; it leaves results at MAILBOX. Serial port 1 writes to a memfd.
 */
#ifndef TINYGUEST_H
#define TINYGUEST_H

#include "unit.h"

#include "machine/machine.h"

#define MAILBOX 0x50000

/* clang-format off */
#define GUEST(name, text)                                                                                              \
	extern const uint8_t guest_##name[], guest_##name##_end[];                                                     \
	__asm__(".pushsection .rodata\n .globl guest_" #name ", guest_" #name "_end\n"                                 \
		".set MAILBOX, 0x50000\n .code64\n guest_" #name ":\n" text "\n"                                       \
		"guest_" #name "_end:\n .popsection\n")

#define POWEROFF "mov $0x604, %dx\n mov $(1 << 13 | 5 << 10), %ax\n out %ax, %dx\n 9: hlt\n jmp 9b\n"
/* clang-format on */

#define IMAGE(name) guest_##name, (size_t)(guest_##name##_end - guest_##name)

extern struct error err;
extern struct loop *loop; /* main's; turned by the test */
extern struct machine *machine;
extern struct accel *accel;
extern int serial_fd;
extern int status; /* what the machine ended with; -1: it did not */

/* First of all: register the types. Exits with 77 if there is no KVM here. */
void prepare(const struct type *const *types);
/* Up to the point where devices may be added; their queues go to `net`, or if that is NULL to `loop`. */
void make(const uint8_t *code, size_t len, struct machine_config cfg, struct loop *net);
void unmake(void);
volatile uint32_t *mailbox(unsigned off);
void start(void);
void run(void); /* from start to end */
/* Turn the main loop until the guest has come so far. */
void until(unsigned off, uint32_t value);

#endif
