/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of a vCPU: as after power on (Intel SDM volume 3, 9.1), then for CPU 0 what the kernel's boot protocol
 * asks for. KVM has reset a vCPU that never ran, so all of this matters after a reboot; the first time only what
 * firmware would have set is new.
 */
#include <errno.h>

#include "base/log.h"
#include "kvm/kvm.h"

#define CR0_PE	 BIT(0)
#define CR0_ET	 BIT(4)
#define CR0_NW	 BIT(29)
#define CR0_CD	 BIT(30)
#define CR0_PG	 BIT(31)
#define CR4_PAE	 BIT(5)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)

#define APIC_BASE	 0xfee00000ULL
#define APIC_BASE_BSP	 BIT(8)
#define APIC_BASE_ENABLE BIT(11)

/* ---- segments ---- */

static struct kvm_segment real_segment(uint16_t selector, uint64_t base, uint8_t type)
{
	return (struct kvm_segment){
		.base = base,
		.limit = 0xffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
	};
}

static void power_on_sregs(struct kvm_sregs *s)
{
	struct kvm_segment data = real_segment(0, 0, 3);

	s->cs = real_segment(0xf000, 0xffff0000, 11);
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = real_segment(0, 0, 11);
	s->ldt = real_segment(0, 0, 2);
	s->tr.s = s->ldt.s = 0;
	s->gdt = s->idt = (struct kvm_dtable){ .limit = 0xffff };
	s->cr0 = CR0_ET | CR0_NW | CR0_CD;
	s->cr2 = s->cr3 = s->cr4 = s->cr8 = s->efer = 0;
	memset(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap));
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type, bool code64)
{
	return (struct kvm_segment){
		.base = 0,
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code64,
		.db = !code64,
	};
}

static void boot_sregs(struct kvm_sregs *s, const struct boot_cpu *boot)
{
	bool wide = boot->mode == BOOT_LONG_MODE;

	s->cs = flat_segment(0x10, 11, wide);
	s->ds = s->es = s->fs = s->gs = s->ss = flat_segment(0x18, 3, false);
	s->tr.limit = 0x67;
	s->gdt = (struct kvm_dtable){ .base = boot->gdt, .limit = (uint16_t)boot->gdt_limit };
	s->idt = (struct kvm_dtable){ 0 };
	s->cr0 = CR0_PE | CR0_ET;
	if (wide) {
		s->cr0 |= CR0_PG;
		s->cr3 = boot->cr3;
		s->cr4 = CR4_PAE;
		s->efer = EFER_LME | EFER_LMA;
	}
}

static int reset_sregs(struct vcpu *v, const struct boot_cpu *boot)
{
	struct kvm_sregs s;
	int r = kvm_ioctl(v->fd, KVM_GET_SREGS, &s);

	if (r < 0)
		return r;
	power_on_sregs(&s);
	s.apic_base = APIC_BASE | APIC_BASE_ENABLE | (v->id == 0 ? APIC_BASE_BSP : 0);
	if (v->id == 0 && boot)
		boot_sregs(&s, boot);
	return kvm_ioctl(v->fd, KVM_SET_SREGS, &s);
}

static int reset_regs(struct vcpu *v, const struct boot_cpu *boot)
{
	struct kvm_regs r = { .rip = 0xfff0, .rflags = 2 };

	if (v->id == 0 && boot) {
		r.rip = boot->rip;
		r.rsi = boot->rsi;
		r.rbx = boot->rbx;
		r.rsp = boot->rsp;
	}
	return kvm_ioctl(v->fd, KVM_SET_REGS, &r);
}

/* ---- model-specific registers ---- */

struct msr_value {
	uint32_t index;
	uint64_t value;
};

/* What firmware sets: fast strings, and write-back as the default type of memory. */
static const struct msr_value firmware_msrs[] = {
	{ 0x1a0, 1 },	  /* IA32_MISC_ENABLE */
	{ 0x2ff, 0x806 }, /* IA32_MTRR_DEF_TYPE: enabled, write-back */
};

/* What a guest may have set; a processor or a KVM that lacks one refuses it, which is as good. */
static const struct msr_value power_on_msrs[] = {
	/* KVM's own first: they make KVM write into guest memory */
	{ 0x4b564d01, 0 },
	{ 0x4b564d00, 0 },
	{ 0x12, 0 },
	{ 0x11, 0 },
	{ 0x4b564d02, 0 },
	{ 0x4b564d03, 0 },
	{ 0x4b564d04, 0 },
	{ 0x4b564d05, 1 },
	{ 0x6e0, 0 }, /* TSC deadline */
	{ 0x174, 0 },
	{ 0x175, 0 },
	{ 0x176, 0 }, /* SYSENTER */
	{ 0xc0000081, 0 },
	{ 0xc0000082, 0 },
	{ 0xc0000083, 0 },
	{ 0xc0000084, 0 },	       /* SYSCALL */
	{ 0xc0000102, 0 },	       /* KERNEL_GS_BASE */
	{ 0xc0000103, 0 },	       /* TSC_AUX */
	{ 0x277, 0x0007040600070406 }, /* PAT */
	{ 0x48, 0 },
	{ 0xc001011f, 0 }, /* SPEC_CTRL */
	{ 0x1d9, 0 },	   /* DEBUGCTL */
	{ 0xda0, 0 },	   /* XSS */
	{ 0xd90, 0 },	   /* BNDCFGS */
	{ 0x17a, 0 },	   /* MCG_STATUS */
	{ 0x38f, 0 },
	{ 0x38d, 0 },
	{ 0x186, 0 },
	{ 0x187, 0 }, /* performance counters */
	{ 0xc0010000, 0 },
	{ 0xc0010001, 0 },
	{ 0xc0010002, 0 },
	{ 0xc0010003, 0 },
	{ 0xc0010117, 0 }, /* VM_HSAVE_PA */
	{ 0x140, 0 },	   /* MISC_FEATURES_ENABLES */
	{ 0xe1, 0 },	   /* UMWAIT_CONTROL */
};

static void set_msrs(struct vcpu *v, const struct msr_value *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		union {
			struct kvm_msrs head;
			uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
		} one = { .head.nmsrs = 1 };
		struct kvm_msr_entry *e = one.head.entries;

		*e = (struct kvm_msr_entry){ .index = m[i].index, .data = m[i].value };
		kvm_ioctl(v->fd, KVM_SET_MSRS, &one);
	}
}

/* ---- local APIC, FPU and the rest ---- */

static void put_reg(struct kvm_lapic_state *l, unsigned off, uint32_t value)
{
	memcpy(l->regs + off, &value, sizeof(value));
}

/* SDM 10.4.7; CPU 0's LINT0 is the PIC's output and LINT1 the NMI, as firmware leaves them. */
static int reset_lapic(struct vcpu *v)
{
	struct kvm_lapic_state old, l = { 0 };
	int r = kvm_ioctl(v->fd, KVM_GET_LAPIC, &old);

	if (r < 0)
		return r;
	memcpy(l.regs + 0x30, old.regs + 0x30, 4); /* version */
	put_reg(&l, 0x20, v->id << 24);
	put_reg(&l, 0xe0, 0xffffffff); /* destination format: flat */
	put_reg(&l, 0xf0, 0xff);       /* spurious vector, software-disabled */
	for (unsigned off = 0x320; off <= 0x370; off += 0x10)
		put_reg(&l, off, 0x10000); /* local vectors: masked */
	if (v->id == 0) {
		put_reg(&l, 0xf0, 0x1ff);
		put_reg(&l, 0x350, 0x700);
		put_reg(&l, 0x360, 0x400);
	}
	return kvm_ioctl(v->fd, KVM_SET_LAPIC, &l);
}

static void reset_fpu(struct vcpu *v)
{
	struct kvm_xsave x;
	struct kvm_xcrs xcr = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = 1 } } };
	const uint16_t fcw = 0x37f;
	const uint32_t mxcsr = 0x1f80;

	/* An empty XSTATE_BV puts every component into its initial state. */
	memset(&x, 0, sizeof(x));
	memcpy((uint8_t *)x.region, &fcw, sizeof(fcw));
	memcpy((uint8_t *)x.region + 24, &mxcsr, sizeof(mxcsr));
	kvm_ioctl(v->fd, KVM_SET_XSAVE, &x);
	kvm_ioctl(v->fd, KVM_SET_XCRS, &xcr);
}

static void reset_events(struct vcpu *v)
{
	struct kvm_vcpu_events e = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW,
	};
	struct kvm_debugregs d = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };

	kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e);
	kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &d);
}

int vcpu_reset_state(struct vcpu *v, const struct boot_cpu *boot)
{
	struct kvm_mp_state mp = { .mp_state = v->id == 0 ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED };
	int r = 0;

	if (v->ran) {
		reset_fpu(v);
		reset_events(v);
		set_msrs(v, power_on_msrs, ARRAY_SIZE(power_on_msrs));
	}
	if (v->ran || v->id == 0) {
		r = reset_sregs(v, boot);
		if (r == 0)
			r = reset_lapic(v);
		if (r == 0)
			r = reset_regs(v, boot);
	}
	set_msrs(v, firmware_msrs, ARRAY_SIZE(firmware_msrs));
	if (r == 0 && v->ran)
		r = kvm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
	return r;
}

/* ---- for people ---- */

static void dump_segment(const char *name, const struct kvm_segment *s)
{
	log_err("  %s %04x base %016llx limit %08x type %x dpl %u db %u l %u g %u p %u", name, s->selector,
		(unsigned long long)s->base, s->limit, s->type, s->dpl, s->db, s->l, s->g, s->present);
}

void vcpu_dump(const struct vcpu *v)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (kvm_ioctl(v->fd, KVM_GET_REGS, &r) < 0 || kvm_ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return;
	log_err("CPU %u: rip %016llx rsp %016llx rflags %08llx", v->id, r.rip, r.rsp, r.rflags);
	log_err("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", r.rax, r.rbx, r.rcx, r.rdx);
	log_err("  rsi %016llx rdi %016llx rbp %016llx r8  %016llx", r.rsi, r.rdi, r.rbp, r.r8);
	log_err("  r9  %016llx r10 %016llx r11 %016llx r12 %016llx", r.r9, r.r10, r.r11, r.r12);
	log_err("  r13 %016llx r14 %016llx r15 %016llx", r.r13, r.r14, r.r15);
	dump_segment("cs", &s.cs);
	dump_segment("ss", &s.ss);
	dump_segment("ds", &s.ds);
	dump_segment("tr", &s.tr);
	log_err("  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx gdt %llx:%x idt %llx:%x", s.cr0, s.cr2, s.cr3, s.cr4,
		s.efer, s.gdt.base, s.gdt.limit, s.idt.base, s.idt.limit);
}
