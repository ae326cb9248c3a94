/* SPDX-License-Identifier: BSD-2-Clause */
/* What -serial says, and opening it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "char/chardev.h"
#include "char/unix_spec.h"

/* ---- stdio ---- */

/*
 * Standard output as a description of our own that may be non-blocking: setting that on the one we share with our
 * parent would break the shell. A pipe or terminal can be opened anew; else poll() has to do.
 */
static void open_stdout(struct chardev *c)
{
	struct stat st;

	c->out = STDOUT_FILENO;
	if (fstat(STDOUT_FILENO, &st) < 0) {
		c->out = -1;
		return;
	}
	if (S_ISREG(st.st_mode))
		return;
	c->out_blocks = true;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		struct open_request r = {
			.kind = OPEN_FILE, .path = "/proc/self/fd/1", .flags = O_WRONLY, .nonblock = true
		};
		int fd = open_request(&r, NULL);

		if (fd < 0)
			return;
		c->out = fd;
		c->own_out = true;
		c->out_blocks = false;
	}
}

static int open_stdio(struct chardev *c, struct error *err)
{
	if (fcntl(STDIN_FILENO, F_GETFD) < 0 && fcntl(STDOUT_FILENO, F_GETFD) < 0)
		return fail(err, EBADF, "-serial stdio: standard input and output are closed; use file:PATH or none");
	if (fcntl(STDIN_FILENO, F_GETFD) >= 0)
		c->in = STDIN_FILENO;
	open_stdout(c);
	return 0;
}

/* ---- file ---- */

static int open_file(struct chardev *c, const char *path, struct error *err)
{
	struct open_request r = {
		.kind = OPEN_FILE, .path = path, .flags = O_WRONLY | O_CREAT | O_TRUNC, .mode = 0644, .nonblock = true
	};

	if (!*path)
		return fail(err, EINVAL, "-serial file: a path is missing; write file:PATH");
	c->out = open_request(&r, err);
	if (c->out == -ENXIO)
		return fail(err, ENXIO, "-serial file:%s: nobody reads this FIFO; start the reader first", path);
	if (c->out < 0) {
		error_prefix(err, "-serial file:%s: ", path);
		return c->out;
	}
	c->own_out = true;
	return 0;
}

/* ---- unix ---- */

static int wait_for_client(struct chardev *c, struct error *err)
{
	int fd;

	log_info("-serial unix:%s: waiting for the connection; wait=off does not", c->path);
	do
		fd = socket_accept(c->listener, true);
	while (fd == -EAGAIN);
	if (fd < 0)
		return fail(err, -fd, "%s", errno_str(fd));
	c->in = c->out = fd;
	c->own_in = c->own_out = true;
	return 0;
}

static int open_socket(struct chardev *c, struct unix_spec *s, struct error *err)
{
	int fd = unix_spec_open(s, err), rc = 0;

	if (fd < 0)
		return fd;
	if (s->server) {
		c->listener = fd;
		c->path = s->path;
		s->path = NULL;
		if (s->wait)
			rc = wait_for_client(c, err);
	} else {
		c->in = c->out = fd;
		c->own_in = c->own_out = true;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return rc;
}

static int open_unix(struct chardev *c, const char *text, struct error *err)
{
	struct unix_spec s;
	int rc = unix_spec_parse(text, &s, err);

	if (rc == 0)
		rc = open_socket(c, &s, err);
	if (rc < 0)
		error_prefix(err, "-serial unix:%s: ", text);
	unix_spec_free(&s);
	return rc;
}

/* ---- all ---- */

static struct chardev *chardev_new(struct loop *loop)
{
	struct chardev *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->loop = loop;
	c->in = c->out = c->listener = -1;
	mutex_init(&c->lock);
	return c;
}

static int open_kind(struct chardev *c, const char *spec, struct error *err)
{
	if (strcmp(spec, "null") == 0) {
		c->kind = CHARDEV_NULL;
		return 0;
	}
	if (strcmp(spec, "stdio") == 0 || strcmp(spec, "mon:stdio") == 0) {
		c->kind = CHARDEV_STDIO;
		return open_stdio(c, err);
	}
	if (strncmp(spec, "file:", 5) == 0) {
		c->kind = CHARDEV_FILE;
		return open_file(c, spec + 5, err);
	}
	if (strncmp(spec, "unix:", 5) == 0) {
		c->kind = CHARDEV_UNIX;
		return open_unix(c, spec + 5, err);
	}
	return fail(
		err, EINVAL,
		"-serial %s: unknown; allowed are stdio, file:PATH, unix:PATH[,server=on|off][,wait=on|off], null, none",
		spec);
}

int chardev_open(const char *spec, struct loop *main_loop, struct chardev **out, struct error *err)
{
	struct chardev *c;
	int r;

	*out = NULL;
	if (strcmp(spec, "none") == 0)
		return 0;
	c = chardev_new(main_loop);
	if (!c)
		return fail(err, ENOMEM, "-serial %s: out of memory", spec);
	r = open_kind(c, spec, err);
	if (r < 0) {
		chardev_close(c);
		return r;
	}
	*out = c;
	return 0;
}
