/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accelerator of -accel qtest: no processors, and an interrupt chip that reports instead of interrupting. Lines are
 * said on the channel if the client asked for them; a message goes where its address says: into RAM as a 32-bit store,
 * as a bus would do it, or, at a local APIC's address, into a count. All of it runs on the server's thread.
 */
#ifndef CTL_QTEST_ACCEL_H
#define CTL_QTEST_ACCEL_H

#include "loop/loop.h"
#include "machine/accel.h"

#define QTEST_LINES  256
#define QTEST_ROUTES 4096

struct qtest_route {
	struct qtest_accel *owner;
	struct watch watch; /* of the eventfd that raises it */
	int fd;
	bool bound;
	struct msi_message msg;
};

struct qtest_accel {
	struct accel accel;
	struct irq_chip chip;
	struct loop *loop;
	const struct ram *ram;
	bool level[QTEST_LINES];
	bool report_lines, report_messages; /* the client asked for "ioapic", for "msi" */
	struct qtest_route *route[QTEST_ROUTES];
	counter messages, lost; /* that went to an APIC; that went nowhere */
	void (*say)(void *opaque, const char *line);
	void *opaque;
};

/* `say` is called with one line without its end: "IRQ raise 4", or, of messages, "IRQ msi 0xfee00000 0x21". */
void qtest_accel_init(struct qtest_accel *q, const struct accel_env *env, struct loop *loop,
		      void (*say)(void *opaque, const char *line), void *opaque);

/* Drive a line as a device would. Out of range: nothing. */
void qtest_accel_line(struct qtest_accel *q, unsigned gsi, bool level);

#endif
