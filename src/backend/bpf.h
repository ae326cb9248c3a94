/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf(2), which has no function in the C library. */
#ifndef BACKEND_BPF_H
#define BACKEND_BPF_H

#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -errno, or what the kernel says: a descriptor, or 0. */
static inline int bpf_call(int cmd, union bpf_attr *attr)
{
	int ret = (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

#endif
