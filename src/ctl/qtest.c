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
#include "ctl/qtest.h"
#include "char/unix_spec.h"

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

static int open_unix(struct qtest *q, const char *text, struct error *err)
{
	struct unix_spec s;
	int rc = unix_spec_parse(text, &s, err), fd;

	fd = rc < 0 ? rc : unix_spec_open(&s, err);
	if (fd >= 0 && s.server) {
		q->listener = fd;
		q->path = s.path;
		s.path = NULL;
	} else if (fd >= 0) {
		q->in = q->out = q->own = fd;
	}
	unix_spec_free(&s);
	return MIN(fd, 0);
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

static int open_channel(struct qtest *q, const char *chardev, struct error *err)
{
	if (!strcmp(chardev, "stdio")) {
		q->in = STDIN_FILENO;
		q->out = STDOUT_FILENO;
		return 0;
	}
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
	q->in = q->out = q->own = q->listener = -1;
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
	if (q->own >= 0)
		close(q->own);
	if (q->listener >= 0)
		close(q->listener);
	if (q->path)
		unlink(q->path);
	if (q->log)
		fclose(q->log);
	free(q->path);
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

static void accept_client(struct qtest *q)
{
	int fd = socket_accept(q->listener, false);

	if (fd >= 0)
		q->in = q->out = q->own = fd;
}

void qtest_run(struct qtest *q)
{
	while (!q->done) {
		struct pollfd fds[] = {
			{ .fd = loop_fd(q->loop), .events = POLLIN },
			{ .fd = q->in >= 0 ? q->in : q->listener, .events = POLLIN },
		};

		poll(fds, 2, IDLE_MS);
		qtest_settle(q);
		if (q->done || !fds[1].revents)
			continue;
		if (q->in >= 0)
			read_channel(q);
		else
			accept_client(q);
	}
}

void qtest_stop(struct qtest *q)
{
	q->done = true;
}
