/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server of QEMU's qtest protocol: lines in, lines out, that read and write ports and memory, step the clock and
 * watch interrupts, in place of a processor.
 *
 * With -accel qtest there is one loop, the main one, and it runs in qtest_run(): a command is carried out, then turns
 * are run until nothing is left to do (posts, kicks, timers that are due, interrupts), then the reply is sent. What
 * another process sends (a tap, a helper) is handled between commands too, whenever it arrives.
 *
 *	outb outw outl ADDR VALUE, inb inw inl ADDR
 *	writeb writew writel writeq ADDR VALUE, readb readw readl readq ADDR
 *	read ADDR SIZE, write ADDR SIZE 0xDATA, b64read ADDR SIZE, b64write ADDR SIZE DATA, memset ADDR SIZE BYTE
 *	(memread and memwrite are the same as read and write)
 *	irq_intercept_in ioapic: lines are said from now on, "IRQ raise N", "IRQ lower N"
 *	irq_intercept_in msi: messages to local APICs too, "IRQ msi ADDRESS DATA"
 *	set_irq_in ioapic NAME N LEVEL
 *	clock_step [NS], clock_set NS: replies with the virtual clock; without NS to the next timer
 *	endianness, module_load PREFIX NAME
 *
 * Numbers are as C writes them. Replies are "OK", "OK VALUE" and "FAIL reason". Main thread.
 */
#ifndef CTL_QTEST_H
#define CTL_QTEST_H

#include "loop/loop.h"
#include "machine/accel.h"

struct qtest;

/*
 * Open a channel: "stdio", "unix:PATH[,server=on][,wait=off]", "fd:N"; NULL: none, the machine waits for a signal. A
 * socket that we listen on is removed by qtest_free(). `log`: a file, "none" or NULL.
 */
struct qtest *qtest_new(const char *chardev, const char *log, struct loop *main_loop, struct error *err);
void qtest_free(struct qtest *q);

/* The accelerator, for machine_set_accel(). It lives as long as the server. */
struct accel *qtest_accel(struct qtest *q, const struct accel_env *env);

/* Serve until qtest_stop() or the end of the channel. */
void qtest_run(struct qtest *q);
void qtest_stop(struct qtest *q);

#endif
