/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attempts to connect to a VDE switch: see vde_connect.h.
 *
 * An attempt belongs to two: the thread that makes it and who asked for it. The last of them that lets go frees it, and
 * closes a connection that nobody took. The thread writes its result before it signals, and does nothing behind that
 * but let go; the other reads it only after the signal.
 */
#include "backend/vde_connect.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/library.h"

struct vde_functions libvde;

#define FN(name) LIBRARY_FN(struct vde_functions, name, vde_##name)

static const struct library_fn vde_fn[] = {
	FN(open_real), FN(recv), FN(send), FN(datafd), FN(ctlfd), FN(close),
};

static const struct library vde_library = {
	.sonames = (const char *const[]){ "libvdeplug.so.2", NULL },
	.package = "libvdeplug2",
	.fn = vde_fn,
	.n = ARRAY_SIZE(vde_fn),
};

struct vde_attempt {
	atomic_uint owners;
	int over; /* eventfd */
	struct vde_target to;
	VDECONN *conn; /* the thread's until it signals */
	int code;
};

int vde_library_open(struct error *err)
{
	return library_load(&vde_library, &libvde, err);
}

static void put(struct vde_attempt *a)
{
	if (atomic_fetch_sub(&a->owners, 1) > 1)
		return;
	if (a->conn)
		libvde.close(a->conn);
	if (a->over >= 0)
		close(a->over);
	free(a->to.sock);
	free(a->to.group);
	free(a);
}

static void *attempt(void *arg)
{
	struct vde_attempt *a = arg;
	struct vde_open_args args = { .port = a->to.port, .group = a->to.group, .mode = a->to.mode };

	errno = 0;
	a->conn = libvde.open_real(a->to.sock, (char *)"vwire", LIBVDEPLUG_INTERFACE_VERSION, &args);
	a->code = a->conn ? 0 : errno ? errno : ECONNREFUSED;
	eventfd_write(a->over, 1); /* the only one: it has room */
	put(a);
	return NULL;
}

/*
 * Sockets are made in the switch's folder, and frames read from one that is named there: a link that somebody else may
 * turn around is no name for it.
 */
static int check_folder(const char *sock, struct error *err)
{
	const char *path = sock && !strncmp(sock, "vde://", 6) ? sock + 6 : sock;
	char name[4096];
	size_t n = path ? strnlen(path, sizeof(name)) : 0;
	struct stat st;

	if (!n || n == sizeof(name) || (path == sock && strstr(path, "://")))
		return 0;
	memcpy(name, path, n + 1);
	while (n > 1 && name[n - 1] == '/') /* with it the link would be followed */
		name[--n] = 0;
	if (lstat(name, &st) < 0 || !S_ISLNK(st.st_mode) || !st.st_uid || st.st_uid == geteuid())
		return 0;
	return fail(err, EPERM, "this is a symbolic link of another user (%u); name the folder itself",
		    (unsigned)st.st_uid);
}

/* 0 or an error code. The thread is nobody's: no signal is for it, nobody waits for it. */
static int start_thread(struct vde_attempt *a)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int code = pthread_attr_init(&attr);

	if (code)
		return code;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_store(&a->owners, 2);
	code = pthread_create(&thread, &attr, attempt, a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (code)
		atomic_store(&a->owners, 1);
	return code;
}

static char *copy(const char *text, bool *lacks)
{
	char *s = text ? strdup(text) : NULL;

	*lacks |= text && !s;
	return s;
}

struct vde_attempt *vde_attempt_new(const struct vde_target *t, struct error *err)
{
	struct vde_attempt *a;
	bool lacks = false;
	int code;

	if (check_folder(t->sock, err))
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a) {
		fail(err, ENOMEM, "no memory");
		return NULL;
	}
	atomic_init(&a->owners, 1);
	a->to = *t;
	a->to.sock = copy(t->sock, &lacks);
	a->to.group = copy(t->group, &lacks);
	a->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	code = lacks ? ENOMEM : a->over < 0 ? errno : start_thread(a);
	if (!code)
		return a;
	fail(err, code, "cannot begin to connect: %s", errno_str(code));
	put(a);
	return NULL;
}

int vde_attempt_fd(const struct vde_attempt *a)
{
	return a->over;
}

bool vde_attempt_wait(const struct vde_attempt *a, unsigned ms)
{
	struct pollfd p = { .fd = a->over, .events = POLLIN };
	int ready;

	do
		ready = poll(&p, 1, (int)ms);
	while (ready < 0 && errno == EINTR);
	return ready > 0;
}

VDECONN *vde_attempt_take(struct vde_attempt *a, struct error *err)
{
	VDECONN *conn = a->conn;

	if (!conn)
		fail(err, a->code, "cannot connect to the switch: %s", errno_str(a->code));
	a->conn = NULL;
	return conn;
}

void vde_attempt_free(struct vde_attempt *a)
{
	if (a)
		put(a);
}
