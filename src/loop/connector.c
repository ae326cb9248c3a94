/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection and its renewal.
 *
 * One watch serves both roles: a server's on its listening socket, silent while there is a client; a client's on the
 * attempt that is under way. The timer is the end of an attempt, the pause before the next one, or the rest after an
 * accept() for which there was no descriptor (who is waiting keeps the listening socket readable: without a rest that
 * is a busy loop).
 */
#include "loop/connector.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"

#define ATTEMPT_NS     (10 * NSEC_PER_SEC) /* for one address to answer */
#define ACCEPT_REST_NS (200 * NSEC_PER_MSEC)
#define QUEUE_WAIT_MS  10 /* between attempts at a UNIX socket whose queue is full */

static void on_timer(struct timer *t);
static void attempt(struct connector *k);

/* ---- text ---- */

void connector_text(const struct connector *k, char *buf, size_t size)
{
	char uri[280];

	switch (k->state) {
	case CONNECTOR_OVER:
		snprintf(buf, size, "error: %s", k->why[0] ? k->why : "not connected");
		break;
	case CONNECTOR_LISTENING:
		snprintf(buf, size, "listening on %s", addr_uri(&k->addr, &k->here, uri, sizeof(uri)));
		break;
	case CONNECTOR_CONNECTING:
	case CONNECTOR_PAUSED:
		snprintf(buf, size, "connecting to %s%s%s", addr_uri(&k->addr, &k->addr.e[0], uri, sizeof(uri)),
			 k->why[0] ? "; last error: " : "", k->why);
		break;
	case CONNECTOR_UP:
		addr_uri(&k->addr, &k->there, buf, size);
	}
}

/* ---- both roles ---- */

static void let_go(struct connector *k)
{
	watch_del(&k->watch);
	timer_cancel(&k->timer);
	if (k->trial >= 0)
		close(k->trial);
	k->trial = -1;
}

static void remember_peer(struct connector *k, int fd)
{
	struct endpoint e = { .len = sizeof(e.sa) };

	if (getpeername(fd, (struct sockaddr *)&e.sa, &e.len) < 0)
		e.len = 0;
	/* A client of a UNIX socket has no name as a rule: the server's says more. */
	if (e.len <= offsetof(struct sockaddr_un, sun_path))
		e = k->server ? k->here : k->addr.e[0];
	k->there = e;
}

static void connected(struct connector *k, int fd)
{
	char uri[280];

	remember_peer(k, fd);
	if (k->complained)
		log_limited(LOG_INFO, "%s: connected to %s", k->what, addr_uri(&k->addr, &k->there, uri, sizeof(uri)));
	addr_tune(&k->addr, fd);
	k->state = CONNECTOR_UP;
	k->complained = false;
	k->why[0] = 0;
	counter_add(&k->connections, 1);
	k->up(k, fd);
}

/* ---- server ---- */

static void rest(struct connector *k)
{
	watch_mod(&k->watch, 0);
	if (timer_arm(&k->timer, clock_now(CLOCK_HOST_NS) + ACCEPT_REST_NS) < 0)
		log_err("%s: no memory for a timer; no further connection is accepted", k->what);
}

static void on_client(struct watch *w, uint32_t events)
{
	struct connector *k = container_of(w, struct connector, watch);
	int fd = socket_accept(k->listener, true);

	(void)events;
	if (fd >= 0) {
		watch_mod(w, 0);
		connected(k, fd);
	} else if (fd != -EAGAIN) {
		if (!k->complained)
			log_limited(LOG_WARN, "%s: cannot accept a connection: %s; going on when that is over", k->what,
				    errno_str(fd));
		k->complained = true;
		rest(k);
	}
}

static void note_listener(struct connector *k)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&k->here.sa;
	struct stat st;

	k->here.len = sizeof(k->here.sa);
	if (getsockname(k->listener, (struct sockaddr *)&k->here.sa, &k->here.len) < 0)
		k->here.len = 0;
	k->file[0] = k->file[1] = 0;
	if (k->addr.type == ADDR_UNIX && !k->addr.abstract && stat(un->sun_path, &st) == 0) {
		k->file[0] = st.st_dev;
		k->file[1] = st.st_ino;
	}
}

/* The first candidate and port that is to be had. */
static int listen_somewhere(struct connector *k, struct error *err)
{
	int fd = -1, port, last;

	for (unsigned i = 0; i < MAX(k->addr.n, 1u); i++) {
		struct open_request r = addr_request(&k->addr, i, ADDR_LISTEN);

		port = endpoint_port(&r.local);
		last = MAX(port, (int)k->addr.to);
		do {
			if (port > 0)
				endpoint_set_port(&r.local, (uint16_t)port);
			fd = open_request(&r, err);
		} while (fd == -EADDRINUSE && port++ < last);
		if (fd >= 0)
			break;
	}
	if (fd == -EADDRINUSE && k->addr.type == ADDR_INET)
		return fail(err, EADDRINUSE, "%s; choose another port", err->msg);
	if (fd == -EACCES && k->addr.type == ADDR_INET)
		return fail(err, EACCES, "%s; ports below 1024 need CAP_NET_BIND_SERVICE, choose another", err->msg);
	return fd;
}

static int check_listening(int fd, struct error *err)
{
	socklen_t len = sizeof(int);
	int on = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	return on ? 0 : fail(err, EINVAL, "the socket does not listen; a server needs one that does");
}

static int open_server(struct connector *k, struct error *err)
{
	int fd = listen_somewhere(k, err), ret;

	if (fd < 0)
		return fd;
	k->listener = fd;
	note_listener(k);
	ret = check_listening(fd, err);
	if (!ret) {
		watch_init(&k->watch, "listener", fd, on_client);
		ret = watch_add(k->loop, &k->watch, EPOLLIN);
		if (ret)
			fail(err, -ret, "cannot watch the socket: %s", errno_str(ret));
	}
	if (ret)
		connector_close(k);
	else
		k->state = CONNECTOR_LISTENING;
	return ret;
}

/* ---- client ---- */

/*
 * Who connects over and over to a free port of this host may get itself: the kernel picks that very port as the near
 * end.
 */
static bool met_itself(int fd)
{
	struct endpoint a = { .len = sizeof(a.sa) }, b = { .len = sizeof(b.sa) };

	return getsockname(fd, (struct sockaddr *)&a.sa, &a.len) == 0 &&
	       getpeername(fd, (struct sockaddr *)&b.sa, &b.len) == 0 && endpoint_port(&a) > 0 &&
	       endpoint_equal(&a, &b);
}

/* How an attempt went whose socket is writable: 0 or -errno. */
static int outcome(int fd)
{
	int ret = socket_error(fd);

	return !ret && met_itself(fd) ? -ECONNREFUSED : ret;
}

static void wait_and_retry(struct connector *k)
{
	k->state = CONNECTOR_PAUSED;
	if (timer_arm(&k->timer, clock_now(CLOCK_HOST_NS) + k->pause_ns) < 0) {
		log_err("%s: no memory for a timer; not connected again", k->what);
		k->state = CONNECTOR_OVER;
	}
}

static void attempt_failed(struct connector *k, const char *why)
{
	char uri[280];

	let_go(k);
	snprintf(k->why, sizeof(k->why), "%s", why);
	if (++k->candidate < k->addr.n) {
		attempt(k);
		return;
	}
	if (!k->complained)
		log_warn("%s: %s: %s; trying again every %u ms", k->what,
			 addr_uri(&k->addr, &k->addr.e[0], uri, sizeof(uri)), why,
			 (unsigned)(k->pause_ns / NSEC_PER_MSEC));
	k->complained = true;
	k->candidate = 0;
	wait_and_retry(k);
}

static void on_outcome(struct watch *w, uint32_t events)
{
	struct connector *k = container_of(w, struct connector, watch);
	int ret = outcome(k->trial), fd = k->trial;

	(void)events;
	if (ret) {
		attempt_failed(k, errno_str(ret));
		return;
	}
	k->trial = -1;
	let_go(k);
	connected(k, fd);
}

static void attempt(struct connector *k)
{
	struct open_request r = addr_request(&k->addr, k->candidate, 0);
	struct error err;

	k->state = CONNECTOR_CONNECTING;
	k->trial = open_request(&r, &err);
	if (k->trial < 0) {
		attempt_failed(k, err.msg);
		return;
	}
	watch_init(&k->watch, "connect", k->trial, on_outcome);
	if (watch_add(k->loop, &k->watch, EPOLLOUT) < 0 ||
	    timer_arm(&k->timer, clock_now(CLOCK_HOST_NS) + ATTEMPT_NS) < 0)
		attempt_failed(k, "no memory to wait for the connection");
}

/* Connect to a candidate and wait: a descriptor or -errno. Only for who has not begun to run. */
static int connect_waiting(struct connector *k, unsigned i, struct error *err)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + ATTEMPT_NS;
	struct open_request r = addr_request(&k->addr, i, 0);
	struct pollfd p = { .events = POLLOUT };
	int ret, left;

	while ((p.fd = open_request(&r, err)) == -EAGAIN && clock_now(CLOCK_HOST_NS) < end)
		poll(NULL, 0, QUEUE_WAIT_MS); /* a server that is busy, and whose queue is full */
	if (p.fd < 0)
		return p.fd;
	do {
		left = (int)((int64_t)(end - clock_now(CLOCK_HOST_NS)) / NSEC_PER_MSEC);
		ret = poll(&p, 1, MAX(left, 0));
	} while (ret < 0 && errno == EINTR);
	ret = ret == 1 ? outcome(p.fd) : -ETIMEDOUT;
	if (!ret)
		return p.fd;
	close(p.fd);
	return fail(err, -ret, "cannot connect: %s", errno_str(ret));
}

static int connect_once(struct connector *k, struct error *err)
{
	int fd = -1;

	for (unsigned i = 0; i < k->addr.n; i++) {
		fd = connect_waiting(k, i, err);
		if (fd >= 0)
			break;
	}
	return fd;
}

/* A descriptor from outside that is to be a connection. */
static int adopt(struct connector *k, struct error *err)
{
	struct open_request r = addr_request(&k->addr, 0, 0);
	struct endpoint e = { .len = sizeof(e.sa) };
	int fd = open_request(&r, err);

	if (fd >= 0 && getpeername(fd, (struct sockaddr *)&e.sa, &e.len) < 0) {
		int code = errno;

		close(fd);
		return fail(err, code, "the socket is not connected: %s", errno_str(code));
	}
	return fd;
}

static int open_client(struct connector *k, struct error *err)
{
	int fd;

	if (k->addr.type != ADDR_FD && k->pause_ns) {
		attempt(k);
		return 0;
	}
	fd = k->addr.type == ADDR_FD ? adopt(k, err) : connect_once(k, err);
	if (fd < 0)
		return fd;
	connected(k, fd);
	return 0;
}

/* ---- life ---- */

static void on_timer(struct timer *t)
{
	struct connector *k = container_of(t, struct connector, timer);

	if (k->state == CONNECTOR_LISTENING)
		watch_mod(&k->watch, EPOLLIN);
	else if (k->state == CONNECTOR_CONNECTING)
		attempt_failed(k, errno_str(ETIMEDOUT));
	else if (k->state == CONNECTOR_PAUSED)
		attempt(k);
}

int connector_open(struct connector *k, struct error *err)
{
	k->listener = k->trial = -1;
	k->candidate = 0;
	k->state = CONNECTOR_OVER;
	timer_init(&k->timer, k->loop, CLOCK_HOST_NS, on_timer);
	watch_init(&k->watch, "connector", -1, on_client);
	return k->server ? open_server(k, err) : open_client(k, err);
}

int connector_wait(struct connector *k, struct error *err)
{
	struct pollfd p = { .fd = k->listener, .events = POLLIN };
	int fd;

	do {
		poll(&p, 1, -1);
		fd = socket_accept(k->listener, true);
	} while (fd == -EAGAIN);
	if (fd < 0)
		return fail(err, -fd, "cannot accept a connection: %s", errno_str(fd));
	watch_mod(&k->watch, 0);
	connected(k, fd);
	return 0;
}

static void tell_lost(const struct connector *k, const char *why)
{
	char uri[280];

	addr_uri(&k->addr, &k->there, uri, sizeof(uri));
	if (k->server)
		log_limited(LOG_INFO, "%s: %s is gone: %s; listening for the next", k->what, uri, why);
	else if (k->pause_ns && k->addr.type != ADDR_FD)
		log_limited(LOG_INFO, "%s: %s is gone: %s; connecting again", k->what, uri, why);
	else
		log_warn("%s: %s is gone: %s; the link stays down", k->what, uri, why);
}

void connector_lost(struct connector *k, const char *why)
{
	if (why)
		tell_lost(k, why);
	snprintf(k->why, sizeof(k->why), "%s", why ? why : "closed");
	if (k->server) {
		k->state = CONNECTOR_LISTENING;
		watch_mod(&k->watch, EPOLLIN);
	} else if (k->pause_ns && k->addr.type != ADDR_FD) {
		wait_and_retry(k);
	} else {
		k->state = CONNECTOR_OVER;
	}
}

void connector_close(struct connector *k)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&k->here.sa;
	struct stat st;

	if (!k->loop || !k->timer.fn)
		return;
	let_go(k);
	if (k->listener >= 0) {
		if (k->file[1] && stat(un->sun_path, &st) == 0 && st.st_dev == k->file[0] && st.st_ino == k->file[1])
			unlink(un->sun_path);
		close(k->listener);
	}
	k->listener = -1;
	k->state = CONNECTOR_OVER;
}
