/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sample: see sample.h
 */
#include "sample.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

const char *const kvm_counter_names[KVM_COUNTERS] = {
	"exits",	"io_exits",	  "mmio_exits",	      "halt_exits",
	"signal_exits", "irq_exits",	  "irq_window_exits", "nmi_window_exits",
	"hypercalls",	"insn_emulation", "irq_injections",   "halt_wakeup",
};

static char text[4 << 20]; /* large enough for smaps and timer_list */

static uint64_t idle_ns(void)
{
	uint64_t sum = 0;

	read_text("/proc/timer_list", text, sizeof(text));
	for (const char *at = text; (at = strstr(at, ".idle_sleeptime")); at++)
		sum += number_after(at, ".idle_sleeptime");
	return sum;
}

static uint64_t nic_counter(const char *nic, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", nic, name);
	return read_number(path);
}

static uint64_t nic_drops(const char *nic)
{
	return nic_counter(nic, "rx_dropped") + nic_counter(nic, "tx_dropped") + nic_counter(nic, "rx_errors") +
	       nic_counter(nic, "tx_errors");
}

void sample_host(struct sample *s)
{
	char path[128];

	for (unsigned i = 0; i < KVM_COUNTERS; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%s", kvm_counter_names[i]);
		s->kvm[i] = read_number(path);
	}
	s->context_switches = number_after(read_text("/proc/stat", text, sizeof(text)), "\nctxt ");
	s->tap_drops = nic_drops("tap0");
	s->idle_ns = idle_ns();
}

void sample_guest(struct guest_counters *g)
{
	g->rx_packets = nic_counter("eth0", "rx_packets");
	g->tx_packets = nic_counter("eth0", "tx_packets");
	g->rx_bytes = nic_counter("eth0", "rx_bytes");
	g->tx_bytes = nic_counter("eth0", "tx_bytes");
	g->drops = nic_drops("eth0");
	g->interrupts = number_after(read_text("/proc/stat", text, sizeof(text)), "\nintr ");
}

static void add_process(pid_t pid, uint64_t ram_kib, struct memory_use *use)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	use->threads += number_after(read_text(path, text, sizeof(text)), "\nThreads:");
	use->processes++;
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	read_text(path, text, sizeof(text));
	for (const char *at = text; (at = strstr(at, "\nSize:")); at++) {
		uint64_t size = number_after(at, "\nSize:");
		uint64_t pss = number_after(at, "\nPss:");

		use->pss += pss;
		if (size >= ram_kib / 2) {
			/* A mapping that was only reserved is not guest RAM. */
			use->ram_pss += pss;
			if (pss)
				use->ram_mapped += size;
		}
	}
}

static pid_t parent_of(pid_t pid)
{
	char path[64], stat[512];
	const char *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	read_text(path, stat, sizeof(stat));
	end = strrchr(stat, ')'); /* the name before it may hold anything */
	return end && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : 0;
}

static int descends_from(pid_t pid, pid_t ancestor)
{
	while (pid > 1 && pid != ancestor)
		pid = parent_of(pid);
	return pid == ancestor;
}

void measure_memory(pid_t vmm, uint64_t ram_kib, struct memory_use *use)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	memset(use, 0, sizeof(*use));
	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (isdigit((unsigned char)entry->d_name[0]) && descends_from(pid, vmm))
			add_process(pid, ram_kib, use);
	}
	if (proc)
		closedir(proc);
}
