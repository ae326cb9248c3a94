/* SPDX-License-Identifier: BSD-2-Clause */
/* The vCPU threads: KVM_RUN, what it comes back for, and how they are paused (kvm/kvm.h). */
#include "kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/machine.h"

#define STACK_SIZE (256 * KIB)

/* Only there to end KVM_RUN. */
#define KICK_SIGNAL SIGUSR1

/* The vCPU whose thread this is; NULL: not one of ours. */
static _Thread_local struct vcpu *self;

static void on_kick(int sig)
{
	(void)sig;
}

/* ---- exits ---- */

static uint64_t load_le(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static void port_access(struct space *io, const struct kvm_run *run, uint8_t *p)
{
	unsigned size = run->io.size;
	uint64_t value;

	if (run->io.direction == KVM_EXIT_IO_OUT) {
		space_write(io, run->io.port, size, load_le(p, size));
		return;
	}
	space_read(io, run->io.port, size, &value);
	memcpy(p, &value, size);
}

/*
 * One port access, or the repetitions of a string instruction; all at the same port. How many KVM hands over at once is
 * the guest's choice, up to what KVM buffers. They are carried out to the last, because KVM completes the exit as a
 * whole; but whoever changes a map is not kept waiting for all of them: entering anew is to have passed.
 */
static void exit_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *p = (uint8_t *)run + run->io.data_offset;

	for (uint32_t n = run->io.count; n; n--, p += run->io.size) {
		port_access(v->kvm->env.io, run, p);
		if (n > 1)
			epoch_enter(&v->reader);
	}
}

/* KVM splits at pages but not at powers of two. */
static void exit_mmio(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	struct space *mem = v->kvm->env.mem;
	uint64_t addr = run->mmio.phys_addr, value;
	unsigned left = MIN(run->mmio.len, 8U), size;

	for (uint8_t *p = run->mmio.data; left; left -= size, p += size, addr += size) {
		size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
		if (run->mmio.is_write) {
			space_write(mem, addr, size, load_le(p, size));
			continue;
		}
		space_read(mem, addr, size, &value);
		memcpy(p, &value, size);
	}
}

/* ---- the ends of a vCPU ---- */

static void set_dead(struct vcpu *v)
{
	mutex_lock(&v->kvm->lock);
	v->dead = true;
	mutex_unlock(&v->kvm->lock);
}

void kvm_cpu_hold(struct accel *a)
{
	(void)a;
	if (!self)
		return;
	set_dead(self);
	WRITE_ONCE(self->run->immediate_exit, 1);
}

static void triple_fault(struct vcpu *v)
{
	/* As often as a guest likes: each leads to a reset. */
	log_limited(LOG_WARN, "the guest's CPU %u met a triple fault", v->id);
	set_dead(v);
	machine_request(v->kvm->env.machine, MACHINE_RESET, "triple fault");
}

static void crash(struct vcpu *v, const char *why)
{
	vcpu_dump(v);
	set_dead(v);
	machine_request(v->kvm->env.machine, MACHINE_CRASH, why);
}

static void internal_error(struct vcpu *v)
{
	const struct kvm_run *run = v->run;
	char bytes[64] = "";
	unsigned n = 0;

	/* If the instruction could not be emulated, KVM may say which it was. */
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
		n = MIN(run->emulation_failure.insn_size, 15);
	for (unsigned i = 0; i < n; i++)
		snprintf(bytes + 3 * i, sizeof(bytes) - 3 * i, " %02x", run->emulation_failure.insn_bytes[i]);
	log_err("CPU %u: KVM internal error %u%s%s%s", v->id, run->internal.suberror,
		run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? ", an instruction it cannot emulate" : "",
		n ? ":" : "", bytes);
	crash(v, "KVM internal error");
}

static void fail_entry(struct vcpu *v)
{
	log_err("CPU %u: the processor refuses to enter the guest, hardware reason %#llx", v->id,
		(unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
	crash(v, "KVM cannot enter the guest");
}

static void system_event(struct vcpu *v)
{
	struct machine *m = v->kvm->env.machine;

	kvm_cpu_hold(&v->kvm->accel);
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_request(m, MACHINE_SHUTDOWN, "guest poweroff");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_request(m, MACHINE_RESET, "guest reset");
		break;
	default:
		crash(v, "KVM reports that the guest crashed");
	}
}

/* False if the vCPU cannot go on. */
static bool handle_exit(struct vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(v);
		return true;
	case KVM_EXIT_MMIO:
		exit_mmio(v);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SYSTEM_EVENT:
		system_event(v);
		return true;
	case KVM_EXIT_SHUTDOWN:
		triple_fault(v);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(v);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		fail_entry(v);
		return false;
	default:
		log_err("CPU %u: KVM exit %u, which nobody expects", v->id, v->run->exit_reason);
		crash(v, "unexpected KVM exit");
		return false;
	}
}

/* ---- the thread ---- */

/* Wait while the VM is paused or this vCPU is dead. False: the end. */
static bool park(struct vcpu *v)
{
	struct kvm *k = v->kvm;
	bool quit;

	mutex_lock(&k->lock);
	if (--k->active == 0)
		pthread_cond_signal(&k->idle);
	while ((k->paused || v->dead) && !k->quit)
		pthread_cond_wait(&k->go, &k->lock.m);
	k->active++;
	v->run->immediate_exit = 0;
	quit = k->quit;
	v->ran = true;
	mutex_unlock(&k->lock);
	return !quit;
}

static void run_failed(struct vcpu *v, int code)
{
	log_err("CPU %u: KVM_RUN: %s", v->id, errno_str(code));
	crash(v, "KVM_RUN failed");
}

/* One KVM_RUN and what it came back for. False: go to park(). */
static bool run_once(struct vcpu *v)
{
	bool more;

	if (ioctl(v->fd, KVM_RUN, 0) < 0) {
		int code = errno;

		if (code == EINTR)
			return false;
		if (code == EAGAIN)
			return true;
		run_failed(v, code);
		return false;
	}
	epoch_enter(&v->reader);
	more = handle_exit(v);
	epoch_leave(&v->reader);
	return more;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	sigset_t kick;
	char name[16];

	self = v;
	snprintf(name, sizeof(name), "cpu%u", v->id);
	prctl(PR_SET_NAME, name);

	/* Born with all signals blocked; a kick that came before this is pending and only makes one turn more. */
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	epoch_register(&v->reader);
	while (park(v))
		while (run_once(v))
			;
	epoch_unregister(&v->reader);
	return NULL;
}

static int create(struct vcpu *v, struct kvm *k, unsigned id, struct kvm_cpuid2 *cpuid)
{
	int r;

	v->kvm = k;
	v->id = id;
	v->fd = kvm_ioctl(k->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)id);
	if (v->fd < 0)
		return v->fd;
	v->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return -errno;
	}
	kvm_cpuid_for(cpuid, id, k->env.cpus);
	r = kvm_ioctl(v->fd, KVM_SET_CPUID2, cpuid);
	return r;
}

static int start_thread(struct vcpu *v)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r != 0)
		return -r;
	v->started = true;
	return 0;
}

int kvm_cpus_start(struct accel *a, struct error *err)
{
	struct kvm *k = to_kvm(a);
	struct kvm_cpuid2 *cpuid = kvm_cpuid_host(k, err);
	struct sigaction sa = { .sa_handler = on_kick };
	int size = kvm_ioctl(k->dev, KVM_GET_VCPU_MMAP_SIZE, NULL), r = 0;

	if (!cpuid)
		return -EIO;
	k->run_size = size > 0 ? (size_t)size : 0;
	sigaction(KICK_SIGNAL, &sa, NULL);
	k->cpu = calloc(k->env.cpus, sizeof(*k->cpu));
	if (!k->cpu)
		r = -ENOMEM;
	for (unsigned i = 0; r == 0 && i < k->env.cpus; i++)
		k->cpu[i].fd = -1;
	for (unsigned i = 0; r == 0 && i < k->env.cpus; i++)
		r = create(&k->cpu[i], k, i, cpuid);
	for (unsigned i = 0; r == 0 && i < k->env.cpus; i++) {
		mutex_lock(&k->lock);
		k->active++; /* until the thread parks */
		mutex_unlock(&k->lock);
		r = start_thread(&k->cpu[i]);
		if (r < 0) {
			mutex_lock(&k->lock);
			k->active--;
			mutex_unlock(&k->lock);
		}
	}
	free(cpuid);
	if (r < 0)
		return fail(err, -r, "-smp %u: cannot make the CPUs: %s", k->env.cpus, errno_str(-r));
	return 0;
}

/* ---- pause and resume: main thread ---- */

static void kick_all(struct kvm *k) REQUIRES(k->lock)
{
	for (unsigned i = 0; i < k->env.cpus; i++) {
		struct vcpu *v = &k->cpu[i];

		if (!v->started)
			continue;
		WRITE_ONCE(v->run->immediate_exit, 1);
		pthread_kill(v->thread, KICK_SIGNAL);
	}
}

void kvm_pause(struct accel *a)
{
	struct kvm *k = to_kvm(a);
	bool was;

	if (!k->cpu)
		return;
	mutex_lock(&k->lock);
	was = k->paused;
	k->paused = true;
	if (!was)
		kick_all(k);
	while (k->active)
		pthread_cond_wait(&k->idle, &k->lock.m);
	mutex_unlock(&k->lock);
	if (!was)
		k->clock_saved = kvm_ioctl(k->vm, KVM_GET_CLOCK, &k->clock) == 0;
}

/* kvmclock goes on where it stood, and the guest's watchdogs are told that it was stopped. */
static void resume_clock(struct kvm *k)
{
	struct kvm_clock_data c = { .clock = k->clock.clock };

	if (!k->clock_saved)
		return;
	kvm_ioctl(k->vm, KVM_SET_CLOCK, &c);
	for (unsigned i = 0; i < k->env.cpus; i++)
		kvm_ioctl(k->cpu[i].fd, KVM_KVMCLOCK_CTRL, NULL); /* -EINVAL: this guest does not use it */
	k->clock_saved = false;
}

void kvm_resume(struct accel *a)
{
	struct kvm *k = to_kvm(a);

	mutex_lock(&k->lock);
	if (k->paused) {
		resume_clock(k);
		k->paused = false;
		pthread_cond_broadcast(&k->go);
	}
	mutex_unlock(&k->lock);
}

void kvm_cpus_stop(struct kvm *k)
{
	if (!k->cpu)
		return;
	kvm_pause(&k->accel);
	mutex_lock(&k->lock);
	k->quit = true;
	pthread_cond_broadcast(&k->go);
	mutex_unlock(&k->lock);
	for (unsigned i = 0; i < k->env.cpus; i++) {
		struct vcpu *v = &k->cpu[i];

		if (v->started)
			pthread_join(v->thread, NULL);
		if (v->run)
			munmap(v->run, k->run_size);
		if (v->fd >= 0)
			close(v->fd);
	}
	free(k->cpu);
	k->cpu = NULL;
}
