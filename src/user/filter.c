/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system call filter of vwire-user: see filter.h.
 *
 * The program checks the architecture, then compares the call's number with one entry after the other. Calls that are
 * allowed whatever their arguments are remembered by the kernel and do not even run it (since Linux 5.11). Only the low 32
 * bits of an argument are looked at: all arguments that are judged here are ints, or flags in those bits.
 */
#include "user/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define WRITING		(O_ACCMODE | O_CREAT | O_TRUNC | O_TMPFILE)
#define FAIL_WITH(code) (SECCOMP_RET_ERRNO | (code))
#define MAX_PROGRAM	256

static const int allowed[] = {
	SYS_poll,
	SYS_read,
	SYS_write,
	SYS_recvfrom,
	SYS_sendto,
	SYS_recvmsg,
	SYS_sendmsg,
	SYS_readv,
	SYS_writev,
	SYS_ppoll,
	SYS_accept,
	SYS_accept4,
	SYS_bind,
	SYS_connect,
	SYS_listen,
	SYS_setsockopt,
	SYS_getsockopt,
	SYS_getsockname,
	SYS_getpeername,
	SYS_shutdown,
	SYS_close,
	SYS_fcntl,
	SYS_lseek,
	SYS_fstat,
	SYS_stat,
	SYS_newfstatat,
	SYS_pread64,
	SYS_pwrite64,
	SYS_ftruncate,
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_futex,
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_time,
	SYS_getpid,
	SYS_gettid,
	SYS_rt_sigprocmask,
	SYS_rt_sigaction,
	SYS_rt_sigreturn,
	SYS_exit,
	SYS_exit_group,
	SYS_getrandom,
	SYS_restart_syscall,
	SYS_sched_yield,
#ifdef SANITIZED /* what its run time needs besides, to print a report */
	SYS_sigaltstack,
	SYS_readlink,
	SYS_sched_getaffinity,
	SYS_getuid,
	SYS_prctl,
#endif
};

/* An action for a call one argument of which, masked, is `value`. */
struct rule {
	int call;
	unsigned arg;
	uint32_t mask, value, action;
};

static const struct rule rules[] = {
	{ SYS_socket, 0, UINT32_MAX, AF_INET, SECCOMP_RET_ALLOW },
	{ SYS_socket, 0, UINT32_MAX, AF_INET6, SECCOMP_RET_ALLOW },
	{ SYS_socket, 0, UINT32_MAX, AF_UNIX, FAIL_WITH(EAFNOSUPPORT) },
	{ SYS_open, 1, WRITING, 0, SECCOMP_RET_ALLOW },
	{ SYS_openat, 2, WRITING, 0, SECCOMP_RET_ALLOW },
	{ SYS_mmap, 2, PROT_EXEC, 0, SECCOMP_RET_ALLOW },
	{ SYS_mprotect, 2, PROT_EXEC, 0, SECCOMP_RET_ALLOW },
	{ SYS_ioctl, 1, UINT32_MAX, FIONREAD, SECCOMP_RET_ALLOW },
	{ SYS_ioctl, 1, UINT32_MAX, FIONBIO, SECCOMP_RET_ALLOW },
	{ SYS_ioctl, 1, UINT32_MAX, SIOCATMARK, SECCOMP_RET_ALLOW },
	{ SYS_ioctl, 1, UINT32_MAX, SIOCGIFINDEX, SECCOMP_RET_ALLOW }, /* the scope of an IPv6 address */
	{ SYS_ioctl, 1, UINT32_MAX, TCGETS, FAIL_WITH(ENOTTY) },
};

struct program {
	struct sock_filter insn[MAX_PROGRAM];
	unsigned short n;
};

static void emit(struct program *p, struct sock_filter insn)
{
	if (p->n < MAX_PROGRAM)
		p->insn[p->n++] = insn;
}

static void load(struct program *p, size_t offset)
{
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void finish(struct program *p, uint32_t action)
{
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Unless the accumulator is `value`, skip so many instructions. */
static void unless_skip(struct program *p, uint32_t value, uint8_t n)
{
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n));
}

/* Each rule stands for itself: number, argument, action; then the number is loaded again for the next. */
static void emit_rule(struct program *p, const struct rule *r, uint32_t action)
{
	unless_skip(p, (uint32_t)r->call, 5);
	load(p, offsetof(struct seccomp_data, args) + r->arg * sizeof(uint64_t));
	emit(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask));
	unless_skip(p, r->value, 1);
	finish(p, action);
	load(p, offsetof(struct seccomp_data, nr));
}

static void build(struct program *p, bool unix_sockets)
{
	/* abort() signals itself; without a pid namespace others of the same user could be reached. */
	const struct rule self = { SYS_tgkill, 0, UINT32_MAX, (uint32_t)getpid(), SECCOMP_RET_ALLOW };

	load(p, offsetof(struct seccomp_data, arch));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	finish(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		unless_skip(p, (uint32_t)allowed[i], 1);
		finish(p, SECCOMP_RET_ALLOW);
	}
	emit_rule(p, &self, self.action);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		bool is_unix = rules[i].call == SYS_socket && rules[i].value == AF_UNIX;

		emit_rule(p, &rules[i], is_unix && unix_sockets ? SECCOMP_RET_ALLOW : rules[i].action);
	}
	finish(p, SECCOMP_RET_KILL_PROCESS);
}

int filter_load(bool unix_sockets)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog;

	build(&p, unix_sockets);
	if (p.n == MAX_PROGRAM)
		return -E2BIG;
	prog = (struct sock_fprog){ .len = p.n, .filter = p.insn };
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}
