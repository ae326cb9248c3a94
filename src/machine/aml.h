/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A writer of ACPI Machine Language (ACPI 6.4, chapter 20): just the terms that the board's DSDT needs. Blocks are
 * opened and closed; closing puts the package length in, in as few bytes as it takes. Writing past the end of the
 * buffer is remembered and nothing else: look at `full` when done.
 */
#ifndef MACHINE_AML_H
#define MACHINE_AML_H

#include "base/util.h"

#define AML_DEPTH 8

struct aml {
	uint8_t *buf;
	size_t len, cap;
	bool full;
	unsigned depth;
	size_t start[AML_DEPTH]; /* where the content of each open block begins */
};

void aml_byte(struct aml *a, uint8_t v);
void aml_bytes(struct aml *a, const void *p, size_t n);

/* Names are paths: "\\_SB", "PCI0", up to two segments. */
void aml_name(struct aml *a, const char *path);
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
/* "PNP0A08" as the compressed 32-bit form. */
void aml_eisaid(struct aml *a, const char *id);

/* Named blocks; each is closed by aml_end(). */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_package(struct aml *a, uint8_t elements);
void aml_end(struct aml *a);

/* Name(name, value): what follows is the value. */
void aml_name_is(struct aml *a, const char *name);

/* A resource template as the value of a buffer; descriptors between begin and end. */
void aml_resources_begin(struct aml *a);
void aml_resources_end(struct aml *a);
void aml_io(struct aml *a, uint16_t port, uint8_t len);
void aml_irq(struct aml *a, unsigned line);	 /* edge, active high, not shared */
void aml_interrupt(struct aml *a, uint32_t gsi); /* level, active high, not shared */
void aml_memory32(struct aml *a, uint32_t base, uint32_t len);
void aml_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_memory32_window(struct aml *a, uint32_t first, uint32_t last);
void aml_memory64_window(struct aml *a, uint64_t first, uint64_t last);

#endif
