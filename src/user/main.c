/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vwire-user: user networking for vwire, in a process of its own. Started by vwire, not by hand.
 *
 * Three phases: configuration over the control socket (user/proto.h), lock-down (user/sandbox.h), and the loop, which
 * ends when vwire closes the socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <malloc.h>
#undef MIN
#undef MAX
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/control.h"
#include "user/guestfwd.h"
#include "user/sandbox.h"
#include "user/stack.h"

#define FLOWS 1024 /* sockets for the guest's connections, beside those of forwards that may come */

struct helper {
	struct stack stack;
	struct sandbox sandbox;
	struct user_config config;
	bool configured;
	int wake; /* pipe: vwire wakes us by a byte */
	unsigned guestfwds;
	uint16_t index[USER_GUESTFWD_MAX]; /* by which vwire knows them */
	char resolv[USER_RESOLV_MAX];
	uint32_t resolv_len;
};

/* ---- configuration ---- */

static int map_memory(struct helper *h, int fd, struct error *err)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct stack *s = &h->stack;
	uint8_t *in, *out;

	/* Sealed: it can neither shrink under us nor be anything but memory. */
	if ((fcntl(fd, F_GET_SEALS) & seals) != seals || lseek(fd, 0, SEEK_END) != USER_SHM_SIZE)
		return fail(err, EPROTO, "the shared memory is not what it should be");
	s->shm = mmap(NULL, USER_SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	in = ring_map(fd, USER_SHM_PAGE, USER_RING_SIZE);
	out = ring_map(fd, USER_SHM_PAGE + USER_RING_SIZE, USER_RING_SIZE);
	if (s->shm == MAP_FAILED || !in || !out)
		return fail(err, errno, "cannot map the rings: %s", errno_str(errno));
	ring_init(&s->in, &s->shm->to_user, in, USER_RING_SIZE);
	ring_init(&s->out, &s->shm->to_vwire, out, USER_RING_SIZE);
	return 0;
}

static int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Each has an entry for poll(), too. */
static unsigned most_descriptors(const struct helper *h)
{
	return FLOWS + h->config.forwards + 16;
}

static int configure(struct helper *h, const struct user_config *c, int fds[CONTROL_FDS], struct error *err)
{
	int rc;

	if (h->configured || fds[2] < 0 || !control_config_ok(c))
		return fail(err, EPROTO, "configuration that makes no sense");
	h->config = *c;
	h->wake = take_fd(&fds[1]);
	h->stack.wake_vwire = take_fd(&fds[2]);
	rc = map_memory(h, fds[0], err);
	if (rc)
		return rc;
	h->stack.poll_base = 2;
	h->stack.poll_max = most_descriptors(h);
	h->stack.poll = calloc(h->stack.poll_max, sizeof(struct pollfd));
	if (!h->stack.poll)
		return fail(err, ENOMEM, "no memory");
	h->configured = true;
	return stack_init(&h->stack, c, err);
}

/* The guest connected to a rule. */
static void on_guestfwd(void *opaque, unsigned n, int fd)
{
	struct helper *h = opaque;

	control_spawn(h->index[n], fd);
}

static int add_guestfwd(struct helper *h, const struct user_guestfwd *g, struct error *err)
{
	char path[32];
	int rc;

	if (h->guestfwds == USER_GUESTFWD_MAX)
		return fail(err, ENOSPC, "at most %d rules", USER_GUESTFWD_MAX);
	guestfwd_path(path, sizeof(path), h->guestfwds);
	rc = stack_add_guestfwd(&h->stack, g, path, err);
	if (rc)
		return rc;
	h->index[h->guestfwds++] = g->index;
	guestfwd_accept(h->guestfwds, on_guestfwd, h);
	return 0;
}

static void set_resolv(struct helper *h, const char *text, uint32_t len)
{
	int fd = h->sandbox.resolv_fd;

	if (len > USER_RESOLV_MAX)
		return;
	memcpy(h->resolv, text, len);
	h->resolv_len = len;
	/* libslirp looks at the file's time and size before it uses what it knows. */
	if (fd >= 0 && (ftruncate(fd, 0) || pwrite(fd, h->resolv, len, 0) != (ssize_t)len))
		control_log("cannot update resolv.conf: %s", errno_str(errno));
}

/* ---- lock-down ---- */

static int lock_down(struct helper *h, struct error *err)
{
	struct sandbox *b = &h->sandbox;
	int rc;

	b->tftp = *h->config.tftp ? h->config.tftp : NULL;
	b->pidns = h->config.pidns;
	b->socket_pairs = h->guestfwds > 0;
	b->descriptors = most_descriptors(h);
	rc = sandbox_enter(b, err);
	if (rc)
		return rc;
	set_resolv(h, h->resolv, h->resolv_len);
	rc = sandbox_lock(b, err);
	/* poll() takes no more entries than there may be descriptors. */
	h->stack.poll_max = MIN(h->stack.poll_max, b->descriptors);
	return rc;
}

/* ---- requests ---- */

static int request(struct helper *h, struct user_msg *m, int fds[CONTROL_FDS], bool *started, struct error *err)
{
	if (m->type == USER_CONFIG && !*started)
		return configure(h, &m->config, fds, err);
	if (!h->configured)
		return fail(err, EPROTO, "request before the configuration");
	switch (m->type) {
	case USER_RESOLV:
		set_resolv(h, m->resolv.text, m->resolv.len);
		return 0;
	case USER_FWD_ADD:
		return stack_add_fwd(&h->stack, &m->fwd, err);
	case USER_FWD_DEL:
		return stack_del_fwd(&h->stack, &m->fwd, err);
	case USER_GUESTFWD:
		if (!*started)
			return add_guestfwd(h, &m->guestfwd, err);
		break;
	case USER_START:
		if (!*started) {
			*started = true;
			return lock_down(h, err);
		}
	}
	return fail(err, EPROTO, "request out of order");
}

/* One request; false ends the program. */
static bool serve(struct helper *h, bool wait, bool *started)
{
	static struct user_msg m;
	struct error err = { 0 };
	int fds[CONTROL_FDS];
	int got = control_recv(&m, fds, wait), rc;

	if (got <= 0)
		return !got;
	rc = request(h, &m, fds, started, &err);
	/* What nobody took, whatever the request: else they would pile up. */
	for (unsigned i = 0; i < CONTROL_FDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	control_reply(-rc, err.msg, h->sandbox.layers, m.type == USER_FWD_ADD ? m.fwd.host_port : 0);
	return !rc || *started || m.type == USER_FWD_ADD || m.type == USER_GUESTFWD;
}

/* ---- the loop ---- */

static void clear_wake(int fd)
{
	char bytes[64];

	if (read(fd, bytes, sizeof(bytes)) < 0)
		return; /* nothing there: it is non-blocking */
}

static void prepare(struct helper *h)
{
	struct pollfd *p = h->stack.poll;

	p[0] = (struct pollfd){ .fd = h->wake, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = USER_CTL_FD, .events = POLLIN };
}

static bool turn(struct helper *h)
{
	struct stack *s = &h->stack;
	bool more = stack_input(s), started = true;
	int timeout = stack_fill(s), ready;

	stack_flush(s);
	if (more || !ring_ask_data(&s->in))
		timeout = 0;
	ready = poll(s->poll, s->poll_n, timeout);
	ring_awake(&s->in);
	if (s->in.broken || s->out.broken)
		return false;
	if (ready < 0 && errno != EINTR)
		return false;
	if (s->poll[0].revents)
		clear_wake(h->wake);
	stack_poll(s, ready);
	return ready <= 0 || !s->poll[1].revents || serve(h, false, &started);
}

/* libslirp and GLib speak through this; what a guest can cause must not fill a terminal. */
static void on_glib_log(const gchar *domain, GLogLevelFlags level, const gchar *msg, gpointer data)
{
	(void)domain;
	(void)data;
	if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING))
		control_log("%s", msg);
}

/* The last words of an assertion. */
static void on_glib_print(const gchar *text)
{
	control_log("%s", text);
}

int main(void)
{
	static struct helper h;
	bool started = false;
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(USER_CTL_FD, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET) {
		fputs("vwire-user: started by vwire for -netdev user, not by hand\n", stderr);
		return 1;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	/*
	 * libslirp's buffers of 128 KiB a connection are mapped, not cut from the heap: zeroed without being touched.
	 */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	g_log_set_default_handler(on_glib_log, NULL);
	g_set_printerr_handler(on_glib_print);
	h.sandbox.resolv_fd = -1;
	while (!started) {
		if (!serve(&h, true, &started))
			return 1;
	}
	prepare(&h);
	while (turn(&h))
		continue;
	_exit(0); /* the kernel cleans up; libraries' exit handlers want more than is allowed now */
}
