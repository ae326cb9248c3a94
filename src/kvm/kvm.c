/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM: the VM, its memory, clock and doorbells. What is missing is found before anything is made, and said with the
 * remedy. The API is described in the kernel's Documentation/virt/kvm/api.rst.
 */
#include "kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "machine/machine.h"

#define DEVICE "/dev/kvm"

/* Four pages that processors without unrestricted guest mode need; the machine's memory map leaves them free. */
#define IDENTITY_MAP 0xfeffc000ULL
#define TSS_PAGES    0xfeffd000ULL

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* ---- what must be there ---- */

static int open_device(struct kvm *k, struct error *err)
{
	struct open_request r = { .kind = OPEN_FILE, .path = DEVICE, .flags = O_RDWR };

	k->dev = open_request(&r, NULL);
	if (k->dev >= 0)
		return 0;
	switch (-k->dev) {
	case ENOENT:
		return fail(err, ENOENT,
			    DEVICE
			    ": does not exist; load the module kvm_intel or kvm_amd, and if that fails switch on "
			    "virtualisation in the firmware setup");
	case EACCES:
	case EPERM:
		return fail(err, EACCES,
			    DEVICE
			    ": permission denied; add yourself to group kvm (adduser USER kvm) and log in again");
	default:
		return fail(err, -k->dev, DEVICE ": %s", errno_str(k->dev));
	}
}

static void warn_without_hardware(void)
{
	unsigned a, b, c, d;
	bool vmx = __get_cpuid(1, &a, &b, &c, &d) && c & BIT(5);
	bool svm = __get_cpuid(0x80000001, &a, &b, &c, &d) && c & BIT(2);

	if (!vmx && !svm)
		log_warn(DEVICE ": this processor shows neither vmx nor svm, so stock guests will not boot on it; a "
				"virtual host needs nested virtualisation switched on");
}

static int check_capabilities(struct kvm *k, struct error *err)
{
	static const struct {
		unsigned long cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
		{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
		{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
		{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
		{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
		{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	};
	int version = kvm_ioctl(k->dev, KVM_GET_API_VERSION, NULL);

	if (version == -ENOTTY)
		return fail(err, ENOTTY, DEVICE ": is not the device of KVM; load the module kvm_intel or kvm_amd");
	if (version != KVM_API_VERSION)
		return fail(err, ENOTSUP, DEVICE ": API version %d, but %d is needed", version, KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		int n = kvm_ioctl(k->dev, KVM_CHECK_EXTENSION, (void *)needed[i].cap);

		if (n <= 0)
			return fail(err, ENOTSUP, DEVICE ": this kernel lacks %s; Linux 4.11 or newer has it",
				    needed[i].name);
		if (needed[i].cap == KVM_CAP_IRQ_ROUTING)
			k->max_routes = (unsigned)n;
	}
	return 0;
}

static int check_cpus(const struct kvm *k, struct error *err)
{
	int max = kvm_ioctl(k->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MAX_VCPUS);

	if (max > 0 && k->env.cpus > (unsigned)max)
		return fail(err, EINVAL, "-smp %u: KVM on this host takes at most %d", k->env.cpus, max);
	if (k->env.cpu_model && strcmp(k->env.cpu_model, "host") != 0)
		return fail(err, EINVAL, "-cpu %s: only 'host' is offered", k->env.cpu_model);
	return 0;
}

/* ---- the VM ---- */

static int create_vm(struct kvm *k, struct error *err)
{
	uint64_t identity = IDENTITY_MAP;
	int r;

	k->vm = kvm_ioctl(k->dev, KVM_CREATE_VM, NULL);
	if (k->vm < 0)
		return fail(err, -k->vm, DEVICE ": cannot make a VM: %s%s", errno_str(-k->vm),
			    k->vm == -EBUSY ? "; another hypervisor uses the processor's virtualisation" : "");
	r = kvm_ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (r == 0)
		r = kvm_ioctl(k->vm, KVM_SET_TSS_ADDR, (void *)TSS_PAGES);
	if (r < 0)
		return fail(err, -r, DEVICE ": cannot place the TSS pages: %s", errno_str(-r));
	return 0;
}

static int add_memory(struct kvm *k, struct error *err)
{
	const struct ram *ram = k->env.ram;

	for (unsigned i = 0; i < ram->n; i++) {
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = ram->block[i].gpa,
			.memory_size = ram->block[i].size,
			.userspace_addr = (uintptr_t)ram->block[i].host,
		};
		int r = kvm_ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &slot);

		if (r < 0)
			return fail(err, -r,
				    DEVICE ": cannot give the VM %llu MiB of memory at %#llx: %s; try a smaller -m",
				    (unsigned long long)(slot.memory_size / MIB),
				    (unsigned long long)slot.guest_phys_addr, errno_str(-r));
	}
	return 0;
}

/* ---- doorbells ---- */

static int bell_ioctl(struct kvm *k, bool pio, uint64_t addr, const struct doorbell *b, uint32_t flags)
{
	struct kvm_ioeventfd e = {
		.addr = addr,
		.len = b->width,
		.fd = b->fd,
		.datamatch = b->match ? b->value : 0,
		.flags = flags | (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (b->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0),
	};

	if (!b->width && (!k->any_length || b->match))
		return -ENOTSUP;
	return kvm_ioctl(k->vm, KVM_IOEVENTFD, &e);
}

static int bell_bind(void *opaque, bool pio, uint64_t addr, const struct doorbell *b)
{
	return bell_ioctl(opaque, pio, addr, b, 0);
}

static void bell_unbind(void *opaque, bool pio, uint64_t addr, const struct doorbell *b)
{
	bell_ioctl(opaque, pio, addr, b, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static const struct doorbell_ops kvm_bells = { .bind = bell_bind, .unbind = bell_unbind };

/* ---- the accelerator ---- */

static int kvm_cpus_reset(struct accel *a, const struct boot_cpu *boot, struct error *err)
{
	struct kvm *k = to_kvm(a);

	kvm_irq_reset(k);
	for (unsigned i = 0; i < k->env.cpus; i++) {
		int r = vcpu_reset_state(&k->cpu[i], boot);

		if (r < 0)
			return fail(err, -r, "cannot reset CPU %u: %s", i, errno_str(-r));
	}
	mutex_lock(&k->lock);
	for (unsigned i = 0; i < k->env.cpus; i++)
		k->cpu[i].dead = false;
	mutex_unlock(&k->lock);
	/* kvmclock counts from the last reset. */
	k->clock = (struct kvm_clock_data){ 0 };
	k->clock_saved = true;
	return 0;
}

static void kvm_destroy(struct accel *a)
{
	struct kvm *k = to_kvm(a);

	kvm_cpus_stop(k);
	kvm_irq_destroy(k);
	if (k->vm >= 0)
		close(k->vm);
	if (k->dev >= 0)
		close(k->dev);
	pthread_cond_destroy(&k->go);
	pthread_cond_destroy(&k->idle);
	mutex_destroy(&k->lock);
	mutex_destroy(&k->route_lock);
	free(k);
}

static int kvm_init(struct kvm *k, struct error *err)
{
	int r = open_device(k, err);

	if (r == 0)
		r = check_capabilities(k, err);
	if (r == 0)
		r = check_cpus(k, err);
	if (r < 0)
		return r;
	warn_without_hardware();
	k->any_length = kvm_ioctl(k->dev, KVM_CHECK_EXTENSION, (void *)KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
	r = create_vm(k, err);
	if (r == 0)
		r = kvm_irq_init(k, err);
	if (r == 0)
		r = add_memory(k, err);
	return r;
}

struct accel *kvm_accel_new(const struct accel_env *env, struct error *err)
{
	struct kvm *k = calloc(1, sizeof(*k));

	if (!k) {
		fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	k->dev = k->vm = -1;
	k->env = *env;
	k->paused = true;
	mutex_init(&k->lock);
	mutex_init(&k->route_lock);
	pthread_cond_init(&k->go, NULL);
	pthread_cond_init(&k->idle, NULL);
	k->accel = (struct accel){
		.name = "kvm",
		.irq = &k->irq,
		.bells = &kvm_bells,
		.opaque = k,
		.cpus_start = kvm_cpus_start,
		.cpus_reset = kvm_cpus_reset,
		.pause = kvm_pause,
		.resume = kvm_resume,
		.cpu_hold = kvm_cpu_hold,
		.destroy = kvm_destroy,
	};
	if (kvm_init(k, err) < 0) {
		kvm_destroy(&k->accel);
		return NULL;
	}
	return &k->accel;
}
