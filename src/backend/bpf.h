/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf(2), which has no function in the C library, and what all who load a program say by it. */
#ifndef BACKEND_BPF_H
#define BACKEND_BPF_H

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -errno, or what the kernel says: a descriptor, or 0. */
static inline int bpf_call(int cmd, union bpf_attr *attr)
{
	int ret = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

/* A program's descriptor, or -errno. */
static inline int bpf_load(enum bpf_prog_type type, const struct bpf_insn *code, unsigned n)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (uintptr_t)code;
	a.insn_cnt = n;
	a.license = (uintptr_t) "BSD";
	memcpy(a.prog_name, "vwire", sizeof("vwire"));
	return bpf_call(BPF_PROG_LOAD, &a);
}

#endif
