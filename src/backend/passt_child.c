/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A running passt.
 *
 * It is in a session of its own, so that Ctrl-C at a terminal means us. It ends with its socket: when we are gone,
 * however that came, so is the other end of it (passt changes its user, and with that the kernel forgets a signal that
 * was asked for on our death). That it is ready it does not say; that it has read from the socket the kernel does.
 */
#include "backend/passt_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/script.h"
#include "base/log.h"

#define SOCK_FD	   3
#define READY_NS   (20 * NSEC_PER_SEC)
#define LOOK_MS	   5 /* between two looks at whether it has read */
#define MANY_READS 16

/* ---- its words ---- */

/*
 * What it says whenever it is started by root, and what Debian's says of each line that it cannot send to syslog as
 * well.
 */
static bool is_noise(const char *line)
{
	return !*line || !strncmp(line, "Failed to send ", 15) || !strncmp(line, "Don't run as root", 17);
}

static void end_line(struct passt_child *p)
{
	p->line[p->n] = 0;
	p->n = 0;
	if (is_noise(p->line))
		return;
	if (!p->starting)
		log_limited(LOG_INFO, "%s: %.*s", p->what, (int)sizeof(p->line), p->line);
	else if (!p->said[0])
		memcpy(p->said, p->line, sizeof(p->said));
}

static void hear(struct passt_child *p, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			end_line(p);
		else if (p->n < sizeof(p->line) - 1)
			p->line[p->n++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
	}
}

/* Returns whether more may come. */
static bool listen_once(struct passt_child *p)
{
	char text[512];
	ssize_t n = read(p->words, text, sizeof(text));

	if (n > 0)
		hear(p, text, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_words(struct watch *w, uint32_t events)
{
	struct passt_child *p = container_of(w, struct passt_child, watch);

	(void)events;
	if (!listen_once(p))
		watch_del(w);
}

static void listen_to_the_rest(struct passt_child *p)
{
	struct pollfd f = { .fd = p->words, .events = POLLIN };

	for (unsigned i = 0; i < MANY_READS && poll(&f, 1, 0) == 1; i++) {
		if (!listen_once(p))
			break;
	}
}

/* ---- start ---- */

static int spawn(struct passt_child *p, char *const argv[], int sock, int words)
{
	posix_spawn_file_actions_t files;

	posix_spawn_file_actions_init(&files);
	/* In this order: neither of the two may be overwritten before it has been copied. */
	posix_spawn_file_actions_adddup2(&files, words, STDERR_FILENO);
	posix_spawn_file_actions_adddup2(&files, sock, SOCK_FD);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&files, SOCK_FD + 1);
	return program_spawn(&p->pid, argv, &files, POSIX_SPAWN_SETSID);
}

int passt_child_start(struct passt_child *p, char *const argv[], int sock, struct loop *loop, struct error *err)
{
	int words[2], rc;

	if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	rc = spawn(p, argv, sock, words[1]);
	close(words[1]);
	if (rc) {
		close(words[0]);
		p->words = -1;
		return fail(err, rc, "path=%s: cannot be started: %s", argv[0], errno_str(rc));
	}
	p->words = words[0];
	p->n = 0;
	p->said[0] = 0;
	p->starting = true;
	watch_init(&p->watch, "passt", p->words, on_words);
	if (watch_add(loop, &p->watch, EPOLLIN) < 0)
		log_warn("%s: what passt says cannot be heard", p->what);
	return 0;
}

/* ---- ready, or not ---- */

/* It has ended, and its status was taken. */
static bool has_ended(struct passt_child *p, int *status)
{
	pid_t got = waitpid(p->pid, status, WNOHANG);

	return got == p->pid || (got < 0 && errno == ECHILD);
}

static void describe(int status, char *how, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(how, size, "killed by signal %d (%s)", WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
	else
		snprintf(how, size, "status %d", WEXITSTATUS(status));
}

static int ended_early(struct passt_child *p, int status, struct error *err)
{
	char how[64];

	p->pid = 0;
	listen_to_the_rest(p);
	describe(status, how, sizeof(how));
	return fail(err, EIO, "passt ended with %s%s%s", how, p->said[0] ? ": " : "", p->said);
}

int passt_child_wait_ready(struct passt_child *p, int near, struct error *err)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + READY_NS;
	struct pollfd f[2] = { { .fd = p->words, .events = POLLIN }, { .fd = near } };
	int unread = 1, status = 0;

	while (unread || (f[1].revents & POLLHUP)) {
		if (has_ended(p, &status))
			return ended_early(p, status, err);
		if (clock_now(CLOCK_HOST_NS) > end)
			return fail(err, ETIMEDOUT, "passt was started and does not read from its socket");
		if (poll(f, 1, LOOK_MS) == 1 && !listen_once(p))
			poll(NULL, 0, LOOK_MS);
		/* Nothing is unread either when it has closed the socket. */
		if (ioctl(near, SIOCOUTQ, &unread) < 0 || poll(&f[1], 1, 0) < 0)
			return fail(err, errno, "%s", errno_str(errno));
	}
	p->starting = false;
	return 0;
}

/* ---- end ---- */

void passt_child_end(struct passt_child *p, char *how, size_t size)
{
	int status = 0;

	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
			continue;
	}
	p->pid = 0;
	describe(status, how, size);
	if (p->words < 0)
		return;
	p->starting = false;
	listen_to_the_rest(p);
	watch_del(&p->watch);
	close(p->words);
	p->words = -1;
}
