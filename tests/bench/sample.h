/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sample: every counter that a test is measured by, at one moment
 */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdint.h>
#include <sys/types.h>

#define KVM_COUNTERS 12

extern const char *const kvm_counter_names[KVM_COUNTERS];

/* What the guest says of itself; its NIC is eth0. */
struct guest_counters {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t drops; /* and errors, both directions */
	uint64_t interrupts;
};

struct sample {
	struct guest_counters guest;
	uint64_t kvm[KVM_COUNTERS];
	uint64_t context_switches; /* of the host */
	uint64_t idle_ns;	   /* of the host's processors */
	uint64_t tap_drops;	   /* of tap0, both directions */
};

/* The host's part of a sample; the guest's is left as it is. */
void sample_host(struct sample *s);
void sample_guest(struct guest_counters *g);

/*
 * Memory of a VMM, in KiB: the Pss of the process and all its descendants, less that of guest RAM (the mappings of at
 * least half its size).
 */
struct memory_use {
	uint64_t pss, ram_pss, ram_mapped;
	unsigned processes, threads;
};
void measure_memory(pid_t vmm, uint64_t ram_kib, struct memory_use *use);

#endif
