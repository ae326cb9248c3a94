/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A PCI bus for tests: address spaces, a little RAM, an interrupt chip that writes everything down, and a device type
 * "test-pci" with BARs of all kinds. Guest accesses go through the address spaces, as a vCPU's do.
 */
#ifndef TEST_PCIBENCH_H
#define TEST_PCIBENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#undef fail /* it is base/error.h's here */

#include "loop/loop.h"
#include "pci/msix.h"
#include "pci/pci.h"

#define bench_fail(text) (print_error("%s\n", text), _fail(__FILE__, __LINE__))

#define BENCH_ROUTES 4096
#define BENCH_ECAM   0xb0000000ull
#define BENCH_MEM32  0xc0000000ull
#define BENCH_MEM64  0x100000000ull
#define BENCH_IO     0xc000ull
#define BENCH_RAM    (1 * MIB)

struct bench {
	struct pci_bus bus;
	struct space *mem, *io;
	struct ram ram;
	struct irq_chip irq;
	struct region ecam, address, data;
	struct loop *loop; /* for devices; a thread of its own if bench_init() was told so */

	/* what the interrupt chip saw */
	_Atomic int level[PCI_LINES];
	_Atomic unsigned edges;
	_Atomic unsigned
		bad_edges; /* no change, or two at a time on one line: right only where threads contend for it */
	_Atomic int busy[PCI_LINES];
	_Atomic unsigned routes, route_sets;
	int route_fd[BENCH_ROUTES];
	_Atomic int route_limit; /* route_add fails from here on */
	struct msi_message route_msg[BENCH_ROUTES];
};

/* The device: BAR 0 memory 4 KiB (a 32-bit scratch word at 0, under the control mutex), 1 MSI-X, 2 I/O 64, 4 64-bit. */
struct test_pci {
	struct pci_device pci;
	uint32_t vectors; /* property; 0: no MSI-X */
	struct region mem, io, wide;
	uint32_t word;
	/* what the bus did with it */
	unsigned quiesces, resumes, resets;
	bool quiet;
	bool dma_in_quiesce, dma_in_resume;
	_Atomic bool realized; /* an access without this is a use after unrealize */
	_Atomic unsigned stray;
};

extern const struct type type_test_pci;

/* `types`: further records, NULL-terminated; or NULL. */
void bench_init(struct bench *b, const struct type *const *types, bool threaded);
void bench_destroy(struct bench *b);
/* As -device TEXT; fails the test if it cannot be made. */
struct pci_device *bench_add(const char *text);
/* The same where failure is wanted: its text. */
const char *bench_add_fails(const char *text);
void bench_assign(struct bench *b);

/* Turns of the loop, if it has no thread, until there is nothing to do. */
void bench_settle(struct bench *b);
void *bench_ram(struct bench *b, uint64_t gpa);
uint64_t bench_read(struct bench *b, uint64_t addr, unsigned size);
void bench_write(struct bench *b, uint64_t addr, uint64_t value, unsigned size);
/* Config space of a device, through ECAM. */
uint32_t cfg_read(struct bench *b, const struct pci_device *p, unsigned off, unsigned size);
void cfg_write(struct bench *b, const struct pci_device *p, unsigned off, uint32_t value, unsigned size);
uint64_t bench_bar(struct bench *b, const struct pci_device *p, unsigned n); /* its address by the registers */
unsigned bench_cap(struct bench *b, const struct pci_device *p, uint8_t id); /* offset; 0: none */
/* Signals on a route since the last look. */
uint64_t bench_signals(struct bench *b, unsigned route);

/* Run fn(arg, index) on n threads, each a reader of snapshots as a vCPU is: between bench_enter() and bench_leave(). */
struct bench_vcpu {
	pthread_t thread;
	struct epoch_reader reader;
	void (*fn)(struct bench_vcpu *v);
	void *arg;
	unsigned index;
	uint32_t seed;
};

void bench_vcpus_start(struct bench_vcpu *v, unsigned n, void (*fn)(struct bench_vcpu *v), void *arg);
void bench_vcpus_join(struct bench_vcpu *v, unsigned n);
uint32_t bench_random(struct bench_vcpu *v);

#endif
