/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The KVM accelerator, as its own files see it. Everyone else knows struct accel (machine/accel.h) only.
 *
 * Pausing. `paused` says what main wants, `active` counts the vCPU threads that are not parked. pause() sets
 * immediate_exit in each kvm_run and signals each thread, so that KVM_RUN ends with EINTR whether the thread was in it
 * or about to enter. A thread parks only after such an EINTR: KVM_RUN with immediate_exit first completes the I/O
 * of the exit before, so that the registers of a parked vCPU are whole and may be replaced (reset) or read.
 *
 * A vCPU that asked for a reset, or for the end, would go on until main has carried that out, with whatever its kernel
 * does when it fails. So it holds itself (kvm_cpu_hold): `dead`, as after a triple fault, and immediate_exit, so that
 * it parks by the same way as all others, its exit completed. It waits in no handler and holds no lock, so a pause or
 * the end of the program finds it parked; main, which alone carries requests out, lets it go by cpus_reset().
 *
 * A pause therefore waits for the exit in hand. What a guest can make of that is bounded by KVM: one exit of a string
 * instruction carries no more accesses than KVM's buffer holds (1,024 bytes of input, one element of output), and after
 * 1,024 repetitions KVM_RUN looks at immediate_exit whatever the instruction is. Reads wait for nobody (machine/, pci/,
 * virtio/ take a mutex and answer), so that is a matter of milliseconds.
 */
#ifndef KVM_KVM_H
#define KVM_KVM_H

#include <linux/kvm.h>

#include "machine/accel.h"
#include "mem/epoch.h"

#define IOAPIC_PINS  24
#define MSI_GSI_BASE IOAPIC_PINS

struct kvm;

struct vcpu {
	struct kvm *kvm;
	unsigned id; /* also its APIC ID */
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	bool ran;  /* its registers are not as KVM made them */
	bool dead; /* cannot run before a reset (shutdown, internal error), or is not to: it asked for one */
	struct epoch_reader reader;
};

/* One message-signalled interrupt: GSI MSI_GSI_BASE + its index. */
struct irq_route {
	int fd;
	bool used;
	bool assigned; /* the irqfd is bound */
	bool live;     /* msg is in KVM's table */
	struct msi_message msg;
};

struct kvm {
	struct accel accel;
	struct irq_chip irq;
	struct accel_env env;
	int dev, vm;
	size_t run_size;
	bool any_length; /* an ioeventfd may match writes of any length */

	struct mutex lock; /* guards paused, quit, active, and dead and ran of each vCPU */
	pthread_cond_t go, idle;
	bool paused;
	bool quit;
	unsigned active;
	struct vcpu *cpu; /* env.cpus of them, from cpus_start() on */

	struct mutex route_lock; /* guards route, routes */
	struct irq_route *route;
	unsigned routes, max_routes;

	struct kvm_clock_data clock; /* kvmclock as it stood when the vCPUs were paused */
	bool clock_saved;
};

static inline struct kvm *to_kvm(struct accel *a)
{
	return container_of(a, struct kvm, accel);
}

/* An ioctl that gives -errno and is done again when a signal interrupts it. */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* ---- irq.c: main thread but for the calls in struct irq_chip ---- */
int kvm_irq_init(struct kvm *k, struct error *err) __must_check;
void kvm_irq_destroy(struct kvm *k);
void kvm_irq_reset(struct kvm *k); /* PIC, IOAPIC and PIT as after power on; vCPUs paused */

/* ---- cpuid.c ---- */
/* What the host's KVM can give, to be freed by the caller; NULL and err if it does not say. */
struct kvm_cpuid2 *kvm_cpuid_host(const struct kvm *k, struct error *err);
/* Make it CPU `id` of `cpus`: topology and APIC ID. May be called again for another one. */
void kvm_cpuid_for(struct kvm_cpuid2 *c, unsigned id, unsigned cpus);

/* ---- cpustate.c: vCPU paused or not yet started, except the dump, which its own thread may make ---- */
/* Registers as after power on; CPU 0 then as `boot` says (NULL: at the reset vector), the others wait for SIPI. */
int vcpu_reset_state(struct vcpu *v, const struct boot_cpu *boot);
void vcpu_dump(const struct vcpu *v); /* to the log */

/* ---- vcpu.c ---- */
int kvm_cpus_start(struct accel *a, struct error *err);
void kvm_cpus_stop(struct kvm *k); /* ends and joins the threads */
void kvm_pause(struct accel *a);
void kvm_resume(struct accel *a);
void kvm_cpu_hold(struct accel *a); /* the calling vCPU; on other threads nothing */

#endif
