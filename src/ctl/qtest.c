/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The qtest server: the channel and the turn of a command. What commands do is in qtest_cmd.c.
 *
 * Lines are assembled in one buffer that grows to LINE_MAX_BYTES; a longer line is answered by FAIL and skipped.
 */
#include "ctl/qtest_cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "base/opts.h"
#include "char/char_stdio.h"
#include "ctl/qtest.h"

#define LINE_MAX_BYTES (16 * MIB)
#define READ_BYTES     65536
#define TURNS_MAX      100000 /* a device that never comes to rest must not hang the server */
#define IDLE_MS	       20     /* timers of the host's clock run this exactly while no command comes */

/* ---- the channel ---- */

void qtest_say(struct qtest *q, const char *fmt, ...)
{
	va_list ap;
	char *line;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&line, fmt, ap);
	va_end(ap);
	if (len < 0) {
		q->done = true;
		return;
	}
	if (q->log)
		fprintf(q->log, "[S] %s\n", line);
	line[len] = '\n'; /* in place of the NUL */
	for (int sent = 0; sent <= len && q->out >= 0;) {
		ssize_t n = write(q->out, line + sent, (size_t)(len + 1 - sent));

		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ .fd = q->out, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			q->out = -1; /* nobody listens any more; reading will find the end */
		else if (n > 0)
			sent += (int)n;
	}
	free(line);
}

static void say_irq(void *opaque, const char *line)
{
	qtest_say(opaque, "%s", line);
}

struct unix_opts {
	struct addr_opts addr;
	bool server, wait;
};

static const struct opt unix_keys[] = {
	OPT_F(struct unix_opts, addr.path, "path", OPT_STR, .required = true, .help = "path of the socket"),
	OPT_F(struct unix_opts, addr.abstract, "abstract", OPT_BOOL, .def = "off", .help = "a name without a file"),
	OPT_F(struct unix_opts, addr.tight, "tight", OPT_BOOL, .def = "on", .help = "no zero bytes behind it"),
	OPT_F(struct unix_opts, server, "server", OPT_BOOL, .def = "off", .help = "listen, do not connect"),
	OPT_F(struct unix_opts, wait, "wait", OPT_BOOL, .def = "on", .help = "accepted; nothing runs without commands"),
	OPT_END,
};

static void on_client(struct connector *k, int fd)
{
	struct qtest *q = container_of(k, struct qtest, connector);

	q->in = q->out = q->own = fd;
}

static int connect_channel(struct qtest *q, const struct unix_opts *o, struct error *err)
{
	struct addr_opts a = o->addr;
	int rc;

	a.type = "unix";
	q->connector.loop = q->loop;
	q->connector.what = "-qtest";
	q->connector.up = on_client;
	q->connector.server = o->server;
	rc = addr_resolve(&a, "", o->server ? ADDR_LISTEN : 0, &q->connector.addr, err);
	if (rc < 0)
		return rc;
	rc = connector_open(&q->connector, err);
	if (rc < 0 && !o->server)
		return fail(err, -rc, "%.500s; server=on makes the socket here", err->msg);
	return rc;
}

static int open_unix(struct qtest *q, const char *text, struct error *err)
{
	static const struct opt *const tables[] = { unix_keys, NULL };
	struct unix_opts o = { .server = false };
	struct opt_list list;
	int rc = opt_list_parse(text, "path", &list, err);

	if (rc < 0)
		return rc;
	rc = opts_defaults(unix_keys, &o, err)			 ?:
		     opts_apply(unix_keys, &list, &o, true, err) ?:
		     opts_reject_rest(&list, tables, err)	 ?:
								   connect_channel(q, &o, err);
	opts_free(unix_keys, &o);
	opt_list_free(&list);
	return rc;
}

static int open_fd(struct qtest *q, const char *text, struct error *err)
{
	struct open_request r = { .kind = OPEN_INHERITED };
	uint64_t fd;
	int rc = parse_uint(text, 0, INT32_MAX, &fd, err);

	if (rc < 0)
		return rc;
	r.fd = (int)fd;
	rc = open_request(&r, err);
	if (rc < 0)
		return rc;
	q->in = q->out = q->own = rc;
	return 0;
}

static int open_stdio(struct qtest *q, struct error *err)
{
	int rc = stdio_claim("-qtest", err);

	if (rc < 0)
		return rc;
	q->in = STDIN_FILENO;
	q->out = STDOUT_FILENO;
	return 0;
}

static int open_channel(struct qtest *q, const char *chardev, struct error *err)
{
	if (!strcmp(chardev, "stdio"))
		return open_stdio(q, err);
	if (!strncmp(chardev, "unix:", 5))
		return open_unix(q, chardev + 5, err);
	if (!strncmp(chardev, "fd:", 3))
		return open_fd(q, chardev + 3, err);
	return fail(err, EINVAL, "no such channel; allowed are stdio, unix:PATH[,server=on][,wait=off] and fd:N");
}

static int open_log(struct qtest *q, const char *path, struct error *err)
{
	struct open_request r = {
		.kind = OPEN_FILE, .path = path, .flags = O_WRONLY | O_CREAT | O_TRUNC, .mode = 0644
	};
	int fd = open_request(&r, err);

	if (fd < 0) {
		error_prefix(err, "-qtest-log %.200s: ", path);
		return fd;
	}
	q->log = fdopen(fd, "w");
	if (!q->log) {
		close(fd);
		return fail(err, ENOMEM, "-qtest-log %.200s: out of memory", path);
	}
	setvbuf(q->log, NULL, _IOLBF, 0);
	return 0;
}

struct qtest *qtest_new(const char *chardev, const char *log, struct loop *main_loop, struct error *err)
{
	struct qtest *q = calloc(1, sizeof(*q));
	int rc = 0;

	if (!q) {
		fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	q->loop = main_loop;
	q->in = q->out = q->own = -1;
	if (log && strcmp(log, "none"))
		rc = open_log(q, log, err);
	if (rc == 0 && chardev) {
		rc = open_channel(q, chardev, err);
		if (rc < 0)
			error_prefix(err, "-qtest %.200s: ", chardev);
	}
	if (rc < 0) {
		qtest_free(q);
		return NULL;
	}
	return q;
}

void qtest_free(struct qtest *q)
{
	if (!q)
		return;
	if (q->in == STDIN_FILENO && q->own < 0)
		stdio_release();
	connector_close(&q->connector);
	if (q->own >= 0)
		close(q->own);
	if (q->log)
		fclose(q->log);
	free(q->buf);
	free(q);
}

struct accel *qtest_accel(struct qtest *q, const struct accel_env *env)
{
	q->machine = env->machine;
	q->ram = env->ram;
	q->mem = env->mem;
	q->io = env->io;
	qtest_accel_init(&q->accel, env, q->loop, say_irq, q);
	return &q->accel.accel;
}

/* ---- a command's turn ---- */

void qtest_settle(struct qtest *q)
{
	for (unsigned n = 0; n < TURNS_MAX; n++) {
		if (!loop_turn(q->loop))
			return;
	}
	log_limited(LOG_WARN, "-qtest: the devices did not come to rest");
}

static void serve_line(struct qtest *q, char *line)
{
	if (q->log)
		fprintf(q->log, "[R] %s\n", line);
	qtest_command(q, line);
}

/* Carry out the whole lines in the buffer and keep what is left. */
static void serve_buffer(struct qtest *q)
{
	char *line = q->buf;
	char *end;

	while (!q->done && (end = memchr(line, '\n', q->len - (size_t)(line - q->buf)))) {
		*end = 0;
		if (end > line && end[-1] == '\r')
			end[-1] = 0;
		if (q->skipping)
			qtest_say(q, "FAIL line too long");
		else
			serve_line(q, line);
		q->skipping = false;
		line = end + 1;
	}
	q->len -= (size_t)(line - q->buf);
	memmove(q->buf, line, q->len);
	if (q->len >= LINE_MAX_BYTES) {
		q->skipping = true;
		q->len = 0;
	}
}

static void read_channel(struct qtest *q)
{
	ssize_t n;

	if (q->cap - q->len < READ_BYTES) {
		size_t cap = MAX(2 * q->cap, (size_t)2 * READ_BYTES);
		char *buf = realloc(q->buf, cap);

		if (!buf) {
			q->skipping = true;
			q->len = 0;
			return;
		}
		q->buf = buf;
		q->cap = cap;
	}
	n = read(q->in, q->buf + q->len, q->cap - q->len);
	if (n > 0) {
		q->len += (size_t)n;
		serve_buffer(q);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		q->done = true;
	}
}

void qtest_run(struct qtest *q)
{
	while (!q->done) {
		struct pollfd fds[] = {
			{ .fd = loop_fd(q->loop), .events = POLLIN },
			{ .fd = q->in, .events = POLLIN }, /* -1, which is passed over, until there is a client */
		};

		poll(fds, 2, IDLE_MS);
		qtest_settle(q);
		if (!q->done && fds[1].revents)
			read_channel(q);
	}
}

void qtest_stop(struct qtest *q)
{
	q->done = true;
}
