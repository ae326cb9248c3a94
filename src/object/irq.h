/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts as devices see them: no device knows KVM. The board hands each bus an irq_chip.
 *
 * Lines: level-triggered wires. What a device drives is its own output; the bus ORs the outputs of all who share the
 * wire and only edges reach the chip.
 *
 * Messages: an msi_route is a place to send one message-signalled interrupt, bound to an eventfd: whoever signals the
 * eventfd raises the interrupt, from any thread, without a lock.
 */
#ifndef OBJECT_IRQ_H
#define OBJECT_IRQ_H

#include "base/error.h"
#include "base/util.h"

struct msi_message {
	uint64_t address;
	uint32_t data;
};

struct irq_chip {
	/* Drive a global system interrupt; edges only; any thread. */
	void (*set_line)(void *opaque, unsigned gsi, bool level);
	/* A route: returns a handle >= 0 and the eventfd that raises it, or -errno. Main and vCPU threads. */
	int (*route_add)(void *opaque, int *eventfd, struct error *err);
	void (*route_del)(void *opaque, int route);
	/* Point a route at a message; NULL: at nothing (signals are lost). Takes effect before it returns. */
	int (*route_set)(void *opaque, int route, const struct msi_message *msg);
	void *opaque;
};

#endif
