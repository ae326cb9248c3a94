/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system call filter of vwire-user: see filter.h.
 *
 * The program checks the architecture, then compares the call's number with one entry after the other. Calls that are
 * allowed whatever their arguments are remembered by the kernel and do not even run it (since Linux 5.11). Only the low
 * 32 bits of an argument are looked at: all arguments that are judged here are ints, or flags in those bits.
 */
#include "user/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#define WRITING		(O_ACCMODE | O_CREAT | O_TRUNC | O_TMPFILE)
#define FAIL_WITH(code) (SECCOMP_RET_ERRNO | (code))
#define MAX_PROGRAM	512

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
#if SANITIZED /* what its run time needs besides, to print a report */
	SYS_sigaltstack,
	SYS_readlink,
	SYS_sched_getaffinity,
	SYS_getuid,
	SYS_prctl,
#endif
};

/* An argument, masked, is `value`. */
struct test {
	unsigned arg;
	uint32_t mask, value;
};

#define TESTS 3

/* An action for a call whose arguments pass all tests; they end with one that has no mask. */
struct rule {
	int call;
	uint32_t action;
	struct test test[TESTS];
};

#define IS(arg, value)                 \
	{                              \
		arg, UINT32_MAX, value \
	}
#define NO(arg, bits)        \
	{                    \
		arg, bits, 0 \
	}
/* Family, type whatever its flags, protocol. */
#define SOCKET(family, type, protocol)                                                                          \
	{                                                                                                       \
		SYS_socket, SECCOMP_RET_ALLOW,                                                                  \
		{                                                                                               \
			IS(0, family), { 1, (uint32_t) ~(SOCK_CLOEXEC | SOCK_NONBLOCK), type }, IS(2, protocol) \
		}                                                                                               \
	}

static const struct rule rules[] = {
	SOCKET(AF_INET, SOCK_STREAM, 0),
	SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	SOCKET(AF_INET, SOCK_DGRAM, 0),
	SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), /* echo requests, see icmp(7) */
	SOCKET(AF_INET6, SOCK_STREAM, 0),
	SOCKET(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	SOCKET(AF_INET6, SOCK_DGRAM, 0),
	SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6),
	/* libslirp tries a raw socket where there is none for pings. */
	{ SYS_socket, FAIL_WITH(EACCES), { IS(0, AF_INET) } },
	{ SYS_socket, FAIL_WITH(EACCES), { IS(0, AF_INET6) } },
	{ SYS_socket, FAIL_WITH(EAFNOSUPPORT), { IS(0, AF_UNIX) } },
	{ SYS_open, SECCOMP_RET_ALLOW, { NO(1, WRITING) } },
	{ SYS_openat, SECCOMP_RET_ALLOW, { NO(2, WRITING) } },
	{ SYS_mmap, SECCOMP_RET_ALLOW, { NO(2, PROT_EXEC) } },
	{ SYS_mprotect, SECCOMP_RET_ALLOW, { NO(2, PROT_EXEC) } },
	{ SYS_ioctl, SECCOMP_RET_ALLOW, { IS(1, FIONREAD) } },
	{ SYS_ioctl, SECCOMP_RET_ALLOW, { IS(1, FIONBIO) } },
	{ SYS_ioctl, SECCOMP_RET_ALLOW, { IS(1, SIOCATMARK) } },
	{ SYS_ioctl, SECCOMP_RET_ALLOW, { IS(1, SIOCGIFINDEX) } }, /* the scope of an IPv6 address */
	{ SYS_ioctl, FAIL_WITH(ENOTTY), { IS(1, TCGETS) } },
};

/* Connected for good: neither end reaches anybody else. */
static const struct rule pair_rule = {
	SYS_socketpair,
	SECCOMP_RET_ALLOW,
	{ IS(0, AF_UNIX), IS(1, SOCK_STREAM | SOCK_CLOEXEC), IS(2, 0) },
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

/* Each rule stands for itself: number, arguments, action; then the number is loaded again for the next. */
static void emit_rule(struct program *p, const struct rule *r)
{
	unsigned n = 0;

	while (n < TESTS && r->test[n].mask)
		n++;
	unless_skip(p, (uint32_t)r->call, (uint8_t)(3 * n + 2));
	for (const struct test *t = r->test; n; n--, t++) {
		load(p, offsetof(struct seccomp_data, args) + t->arg * sizeof(uint64_t));
		emit(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, t->mask));
		unless_skip(p, t->value, (uint8_t)(3 * (n - 1) + 1));
	}
	finish(p, r->action);
	load(p, offsetof(struct seccomp_data, nr));
}

static void build(struct program *p, bool socket_pairs)
{
	/* abort() signals itself; without a pid namespace others of the same user could be reached. */
	const struct rule self = { SYS_tgkill, SECCOMP_RET_ALLOW, { IS(0, (uint32_t)getpid()) } };

	load(p, offsetof(struct seccomp_data, arch));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	finish(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		unless_skip(p, (uint32_t)allowed[i], 1);
		finish(p, SECCOMP_RET_ALLOW);
	}
	emit_rule(p, &self);
	if (socket_pairs)
		emit_rule(p, &pair_rule);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		emit_rule(p, &rules[i]);
	finish(p, SECCOMP_RET_KILL_PROCESS);
}

int filter_load(bool socket_pairs)
{
	struct program p = { .n = 0 };
	struct sock_fprog prog;

	build(&p, socket_pairs);
	if (p.n == MAX_PROGRAM)
		return -E2BIG;
	prog = (struct sock_fprog){ .len = p.n, .filter = p.insn };
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) ? -errno : 0;
}
