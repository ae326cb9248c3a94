/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUID of `-cpu host`: what KVM can give of the host's processor, but for the leaves that say which CPU this is and
 * how many there are. All CPUs are cores of one package without hyperthreads. KVM's own leaves (0x40000000: signature,
 * kvmclock) stay. Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
 */
#include <errno.h>
#include <stdlib.h>

#include "kvm/kvm.h"

#define ENTRIES 160 /* KVM gives about 50; room for what we add */
#define SPARE	4

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf)
			return &c->entries[i];
	return NULL;
}

static void remove_leaf(struct kvm_cpuid2 *c, uint32_t leaf)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function != leaf)
			c->entries[n++] = c->entries[i];
	c->nent = n;
}

struct kvm_cpuid2 *kvm_cpuid_host(const struct kvm *k, struct error *err)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + ENTRIES * sizeof(c->entries[0]));
	struct kvm_cpuid_entry2 *e;
	int r = -ENOMEM;

	if (c) {
		c->nent = ENTRIES - SPARE;
		r = kvm_ioctl(k->dev, KVM_GET_SUPPORTED_CPUID, c);
	}
	if (r < 0) {
		fail(err, -r, "/dev/kvm: cannot read the processor's features: %s", errno_str(-r));
		free(c);
		return NULL;
	}
	e = find(c, 1);
	if (e) {
		e->ecx |= BIT(31); /* there is a hypervisor */
		if (kvm_ioctl(k->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			e->ecx |= BIT(24);
	}
	return c;
}

static unsigned bits_for(unsigned cpus)
{
	unsigned bits = 0;

	while (1U << bits < cpus)
		bits++;
	return bits;
}

static void set_field(uint32_t *reg, unsigned shift, unsigned width, uint32_t value)
{
	uint32_t mask = (uint32_t)(BIT(width) - 1) << shift;

	*reg = (*reg & ~mask) | (value << shift & mask);
}

/* Leaf 1, and for AMD 0x80000001 and 0x80000008: CPUs in the package. */
static void basic_topology(struct kvm_cpuid2 *c, unsigned id, unsigned cpus)
{
	struct kvm_cpuid_entry2 *e = find(c, 1);

	if (e) {
		set_field(&e->ebx, 24, 8, id);
		set_field(&e->ebx, 16, 8, 1U << bits_for(cpus));
		set_field(&e->edx, 28, 1, cpus > 1);
	}
	e = find(c, 0x80000001);
	if (e)
		set_field(&e->ecx, 1, 1, cpus > 1);
	e = find(c, 0x80000008);
	if (e) {
		set_field(&e->ecx, 0, 8, cpus - 1);
		set_field(&e->ecx, 12, 4, bits_for(cpus));
	}
	e = find(c, 0x8000001e);
	if (e) {
		e->eax = id;
		e->ebx = id;
		e->ecx = 0;
	}
}

/* Leaf 4 and AMD's 0x8000001d: each CPU has its own first two levels of cache, the third is common to all. */
static void cache_topology(struct kvm_cpuid2 *c, unsigned cpus)
{
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function != 4 && e->function != 0x8000001d)
			continue;
		if (!(e->eax & 31))
			continue;
		set_field(&e->eax, 14, 12, (e->eax >> 5 & 7) >= 3 ? (1U << bits_for(cpus)) - 1 : 0);
		if (e->function == 4)
			set_field(&e->eax, 26, 6, MIN((1U << bits_for(cpus)) - 1, 63U));
	}
}

/* Leaf 0xb: one thread a core, all cores in the package. 0x1f and 0x80000026 would say the same and are left out. */
static void extended_topology(struct kvm_cpuid2 *c, unsigned id, unsigned cpus)
{
	struct kvm_cpuid_entry2 *e = find(c, 0);

	remove_leaf(c, 0xb);
	remove_leaf(c, 0x1f);
	remove_leaf(c, 0x80000026);
	if (!e || e->eax < 0xb || c->nent + 3 > ENTRIES)
		return;
	for (unsigned level = 0; level < 3; level++) {
		e = &c->entries[c->nent++];
		*e = (struct kvm_cpuid_entry2){
			.function = 0xb,
			.index = level,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = level == 1 ? bits_for(cpus) : 0,
			.ebx = level == 0 ? 1 :
			       level == 1 ? cpus :
					    0,
			.ecx = level | (level < 2 ? (level + 1) << 8 : 0),
			.edx = id,
		};
	}
}

void kvm_cpuid_for(struct kvm_cpuid2 *c, unsigned id, unsigned cpus)
{
	basic_topology(c, id, cpus);
	cache_topology(c, cpus);
	extended_topology(c, id, cpus);
}
