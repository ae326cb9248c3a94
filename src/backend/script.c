/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running the user's programs. One that is waited for says by a close-on-exec pipe if it could not be executed; of one
 * that runs beside us posix_spawn() knows.
 */
#include "backend/script.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void child(char *const argv[], int keep_fd, int report)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY), code;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (keep_fd >= 0)
		fcntl(keep_fd, F_SETFD, 0);
	execve(argv[0], argv, environ);
	code = errno;
	if (write(report, &code, sizeof(code)) != sizeof(code))
		_exit(126);
	_exit(127);
}

/* Wait until the process ends or the time is over; then it is killed. Returns its wait status, or -1 if it was late. */
static int wait_for(pid_t pid, unsigned timeout_ms)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status, ready;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	do
		ready = pidfd < 0 ? 1 : poll(&p, 1, (int)timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (pidfd >= 0)
		close(pidfd);
	if (ready == 0) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL); /* it may have left the group that we made for it */
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return ready == 0 ? -1 : status;
}

static int judge(const char *path, int status, int exec_errno, unsigned timeout_ms, struct error *err)
{
	if (exec_errno == ENOEXEC)
		return fail(err, ENOEXEC, "%s is no program; a script's first line names its shell: #!/bin/sh", path);
	if (exec_errno)
		return fail(err, exec_errno, "cannot execute %s: %s", path, errno_str(exec_errno));
	if (status == -1)
		return fail(err, ETIMEDOUT, "%s did not end within %u s and was killed", path, timeout_ms / 1000);
	if (WIFSIGNALED(status))
		return fail(err, EIO, "%s was killed by signal %d", path, WTERMSIG(status));
	if (WEXITSTATUS(status))
		return fail(err, EIO, "%s failed with status %d", path, WEXITSTATUS(status));
	return 0;
}

int script_run(const char *path, const char *arg, unsigned timeout_ms, struct error *err)
{
	char *const argv[] = { (char *)path, (char *)arg, NULL };

	return program_run(argv, -1, timeout_ms, err);
}

int program_run(char *const argv[], int keep_fd, unsigned timeout_ms, struct error *err)
{
	const char *path = argv[0];
	int report[2], status, exec_errno = 0;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return fail(err, errno, "cannot run %s: %s", path, errno_str(errno));
	pid = fork();
	if (pid < 0) {
		status = errno;
		close(report[0]);
		close(report[1]);
		return fail(err, status, "cannot run %s: %s", path, errno_str(status));
	}
	if (pid == 0)
		child(argv, keep_fd, report[1]);
	setpgid(pid, pid);
	close(report[1]);
	/* End of file, without a word, when the program has started. */
	if (read(report[0], &exec_errno, sizeof(exec_errno)) != sizeof(exec_errno))
		exec_errno = 0;
	close(report[0]);
	status = wait_for(pid, timeout_ms);
	return judge(path, status, exec_errno, timeout_ms, err);
}

int program_spawn(pid_t *pid, char *const argv[], posix_spawn_file_actions_t *files, short flags)
{
	posix_spawnattr_t attr;
	sigset_t none, pipes;
	int rc;

	sigemptyset(&none);
	sigemptyset(&pipes);
	sigaddset(&pipes, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &pipes);
	posix_spawnattr_setflags(&attr, (short)(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
	rc = posix_spawnp(pid, argv[0], files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(files);
	posix_spawnattr_destroy(&attr);
	if (rc)
		*pid = 0;
	return rc;
}
