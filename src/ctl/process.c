/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors 0..2, signals, pid file, name. */
#include "ctl/process.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl/account.h"
#include "base/open.h"
#include "machine/machine.h"

/* ---- first of all ---- */

static int open_standard_fds(struct error *err)
{
	for (int fd = 0; fd <= 2; fd++) {
		struct open_request r = { .kind = OPEN_FILE, .path = "/dev/null", .flags = fd ? O_WRONLY : O_RDONLY };
		int got;

		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number, which is this one: those below are open. */
		got = open_request(&r, err);
		if (got < 0) {
			error_prefix(err, "/dev/null: ");
			return got;
		}
		fcntl(got, F_SETFD, 0); /* for programs that we start, too */
	}
	return 0;
}

/*
 * Queues, wires and backends have tables for the worst case, of which a guest may never use more than the first page.
 * From the heap they would be cleared, and so taken, whole. malloc() maps what is large only if the top of the heap has
 * no room for it, so that must be smaller.
 */
static void keep_large_tables_untouched(void)
{
	mallopt(M_MMAP_THRESHOLD, 64 * KIB);
	mallopt(M_TOP_PAD, 16 * KIB);
}

int process_init(struct error *err)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	keep_large_tables_untouched();
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL); /* write() says so */
	return open_standard_fds(err);
}

void process_set_name(const char *name)
{
	if (name)
		prctl(PR_SET_NAME, name, 0, 0, 0);
}

/* ---- pid file ---- */

static int pidfile_lock(int fd, const char *path, struct error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_SETLK, &lock) == 0)
		return 0;
	if ((errno == EAGAIN || errno == EACCES) && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
		return fail(err, EBUSY, "-pidfile %.200s: in use by process %d; give each its own", path, lock.l_pid);
	return fail(err, errno, "-pidfile %.200s: cannot be locked: %s", path, errno_str(errno));
}

int pidfile_write(struct pidfile *p, const char *path, struct error *err)
{
	struct open_request r = {
		.kind = OPEN_FILE, .path = path, .flags = O_RDWR | O_CREAT | O_NOFOLLOW, .mode = 0644, .nonblock = true
	};
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", getpid());
	int fd, rc;

	if (!path)
		return 0;
	fd = open_request(&r, err);
	if (fd < 0) {
		error_prefix(err, "-pidfile %.200s: cannot be written: ", path);
		return fd;
	}
	rc = pidfile_lock(fd, path, err);
	if (rc == 0 && (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)len) != len)) {
		rc = fail(err, errno, "-pidfile %.200s: cannot be written: %s", path, errno_str(errno));
		unlink(path);
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*p = (struct pidfile){ path, fd };
	return 0;
}

void pidfile_remove(struct pidfile *p)
{
	if (!p->path)
		return;
	unlink(p->path);
	close(p->fd);
	p->path = NULL;
}

/* ---- signals ---- */

static void our_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR2);
}

int signals_block(struct error *err)
{
	sigset_t set;

	our_signals(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fail(err, errno, "sigprocmask: %s", errno_str(errno));
	return 0;
}

static const char *signal_reason(uint32_t signo)
{
	switch (signo) {
	case SIGINT:
		return "terminating on signal 2";
	case SIGHUP:
		return "terminating on signal 1";
	default:
		return "terminating on signal 15";
	}
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct signals *s = container_of(w, struct signals, watch);
	struct signalfd_siginfo info;
	bool now;

	(void)events;
	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR2) {
		accounts_show();
		return;
	}
	if (!s->machine) {
		log_info("%s", signal_reason(info.ssi_signo));
		loop_stop(s->loop);
		return;
	}
	/* A guest that does not run cannot answer its power button. */
	now = s->at_once || s->asked || info.ssi_signo == SIGHUP || !machine_running(s->machine);
	s->asked = true;
	machine_request(s->machine, now ? MACHINE_SHUTDOWN : MACHINE_POWERDOWN, signal_reason(info.ssi_signo));
}

int signals_watch(struct signals *s, struct machine *m, bool at_once, struct loop *main_loop, struct error *err)
{
	sigset_t set;
	int rc;

	our_signals(&set);
	s->machine = m;
	s->at_once = at_once;
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd < 0)
		return fail(err, errno, "signalfd: %s", errno_str(errno));
	watch_init(&s->watch, "signals", s->fd, on_signal);
	rc = watch_add(main_loop, &s->watch, EPOLLIN);
	s->loop = rc ? NULL : main_loop;
	if (rc == 0)
		return 0;
	close(s->fd);
	return fail(err, -rc, "epoll: %s", errno_str(rc));
}

void signals_unwatch(struct signals *s)
{
	if (!s->loop)
		return;
	watch_del(&s->watch);
	close(s->fd);
	s->loop = NULL;
}
