/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting vwire-user.
 *
 * A pid namespace can only be given at birth, so this is clone(2): with the right to make one (root), directly; else
 * together with a user namespace, whose map must be written before execve (an unmapped user could not make the further
 * namespaces). The child shares our memory until it executes and we wait for that (as vfork), so a VM's large address
 * space costs nothing.
 */
#include "backend/user_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/script.h"
#include "user/proto.h"

#ifndef VWIRE_LIBEXECDIR
#define VWIRE_LIBEXECDIR "/usr/libexec/vwire"
#endif

#define PROGRAM	   "vwire-user"
#define STACK_SIZE (64 * KIB)

extern char **environ;

/* ---- where it is ---- */

static bool try_path(char *path, size_t size, const char *dir, size_t dir_len, const char *rest)
{
	return snprintf(path, size, "%.*s%s" PROGRAM, (int)dir_len, dir, rest) < (int)size && !access(path, X_OK);
}

static int find_program(char *path, size_t size, struct error *err)
{
	const char *forced = getenv("VWIRE_USER");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t dir = 0;

	if (forced) {
		if (snprintf(path, size, "%s", forced) < (int)size && !access(path, X_OK))
			return 0;
		return fail(err, errno, "VWIRE_USER=%s: %s", forced, errno_str(errno));
	}
	for (ssize_t i = 0; i < n; i++)
		dir = self[i] == '/' ? (size_t)i + 1 : dir;
	if (try_path(path, size, self, dir, "") || try_path(path, size, self, dir, "../libexec/vwire/") ||
	    try_path(path, size, VWIRE_LIBEXECDIR "/", sizeof(VWIRE_LIBEXECDIR), ""))
		return 0;
	return fail(err, ENOENT,
		    "the program " PROGRAM " is neither beside vwire (%.*s) nor in " VWIRE_LIBEXECDIR
		    "; install it there",
		    (int)dir, self);
}

/* ---- the child ---- */

struct birth {
	const char *path;
	char *argv[2], *envp[4];
	int ctl;
	bool map; /* it is in a new user namespace: map the user to itself */
	char uid[48], gid[48];
	int error;
};

static bool write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Only what is safe in the memory of another: system calls. */
static int child(void *arg)
{
	struct birth *b = arg;
	int null;

	if (b->map && (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/gid_map", b->gid) ||
		       !write_file("/proc/self/uid_map", b->uid))) {
		b->error = EPERM;
		_exit(127);
	}
	/* Out of the session: no terminal can be got at by /dev/tty, and Ctrl-C there is not meant for it. */
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	/* A descriptor that is dup'ed to itself would keep its close-on-exec flag. */
	if (b->ctl == USER_CTL_FD)
		fcntl(b->ctl, F_SETFD, 0);
	else
		dup2(b->ctl, USER_CTL_FD);
	syscall(SYS_close_range, USER_CTL_FD + 1, ~0U, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execve(b->path, b->argv, b->envp);
	b->error = errno;
	_exit(127);
}

static int clone_child(struct birth *b, int flags, struct user_child *c, void *stack)
{
	sigset_t all, old;
	int pidfd = -1;
	pid_t pid;

	b->map = flags & CLONE_NEWUSER;
	b->error = 0;
	/* No handler of ours must run in the child, nor a thread be told to do anything while it shares our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone(child, (char *)stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | flags, b,
		    &pidfd);
	if (pid < 0)
		b->error = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return -b->error;
	*c = (struct user_child){ .pid = pid, .pidfd = pidfd, .pidns = flags & CLONE_NEWPID };
	if (!b->error)
		return 0;
	user_child_end(c, NULL, 0);
	return -b->error;
}

/* What the sanitizers want to know; the rest of the environment is not vwire-user's business. */
static void pick_environment(char **to, unsigned max)
{
	for (char **e = environ; *e && max > 1; e++) {
		size_t name = strcspn(*e, "=");

		if (name > 11 && !strncmp(*e + name - 11, "SAN_OPTIONS", 11)) {
			*to++ = *e;
			max--;
		}
	}
	*to = NULL;
}

int user_spawn(struct user_child *c, int ctl, struct error *err)
{
	char path[PATH_MAX];
	struct birth b = { .path = path, .argv = { PROGRAM, NULL }, .ctl = ctl };
	void *stack;
	int rc = find_program(path, sizeof(path), err);

	if (rc)
		return rc;
	pick_environment(b.envp, ARRAY_SIZE(b.envp));
	snprintf(b.uid, sizeof(b.uid), "%u %u 1", geteuid(), geteuid());
	snprintf(b.gid, sizeof(b.gid), "%u %u 1", getegid(), getegid());
	stack = aligned_alloc(64, STACK_SIZE);
	if (!stack)
		return fail(err, ENOMEM, "no memory");
	rc = clone_child(&b, geteuid() ? CLONE_NEWUSER | CLONE_NEWPID : CLONE_NEWPID, c, stack);
	if (rc)
		rc = clone_child(&b, 0, c, stack);
	free(stack);
	return rc ? fail(err, -rc, "cannot start %s: %s", path, errno_str(-rc)) : 0;
}

/* ---- commands ---- */

int user_spawn_command(struct user_child *c, const char *command, int fd, struct error *err)
{
	char *argv[] = { "/bin/sh", "-c", (char *)command, NULL };
	posix_spawn_file_actions_t files;
	int rc;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, fd, 0);
	posix_spawn_file_actions_adddup2(&files, fd, 1);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	rc = program_spawn(&c->pid, argv, &files, POSIX_SPAWN_SETPGROUP);
	if (rc)
		return fail(err, rc, "cannot run %s: %s", command, errno_str(rc));
	c->pidns = false;
	c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	return 0;
}

bool user_child_stopped(const struct user_child *c)
{
	siginfo_t info = { .si_pid = 0 };

	return c->pid > 0 && !waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WNOHANG | WNOWAIT) && info.si_pid == c->pid;
}

void user_child_end(struct user_child *c, char *how, size_t size)
{
	int status = 0;

	if (c->pid <= 0)
		return;
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (c->pidfd >= 0)
		close(c->pidfd);
	c->pid = 0;
	c->pidfd = -1;
	if (WIFSIGNALED(status))
		snprintf(how, size, "killed by signal %d (%s)", WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
	else
		snprintf(how, size, "status %d", WEXITSTATUS(status));
}
