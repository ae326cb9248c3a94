/* SPDX-License-Identifier: BSD-2-Clause */
/* What -serial says, and opening it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/opts.h"
#include "machine/chardev.h"

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
		int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

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
	if (!*path)
		return fail(err, EINVAL, "-serial file: a path is missing; write file:PATH");
	c->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
	if (c->out < 0 && errno == ENXIO)
		return fail(err, ENXIO, "-serial file:%s: nobody reads this FIFO; start the reader first", path);
	if (c->out < 0)
		return fail(err, errno, "-serial file:%s: %s", path, errno_str(errno));
	c->own_out = true;
	return 0;
}

/* ---- unix ---- */

struct unix_opts {
	char *path;
	bool server, wait;
};

static const struct opt unix_table[] = {
	OPT_F(struct unix_opts, path, "path", OPT_STR, .required = true, .help = "path of the socket"),
	OPT_F(struct unix_opts, server, "server", OPT_BOOL, .def = "off", .help = "listen, do not connect"),
	OPT_F(struct unix_opts, wait, "wait", OPT_BOOL, .def = "on",
	      .help = "a server waits for the connection at start"),
	OPT_END,
};

static int make_server(struct chardev *c, const struct sockaddr_un *sa, struct error *err)
{
	struct stat st;

	/* One that was left behind would be in the way; one that somebody serves will not let us bind. */
	if (stat(sa->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool dead = probe >= 0 && connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) < 0 &&
			    errno == ECONNREFUSED;

		if (probe >= 0)
			close(probe);
		if (dead)
			unlink(sa->sun_path);
	}
	if (bind(c->listener, (const struct sockaddr *)sa, sizeof(*sa)) < 0) {
		int code = errno;

		close(c->listener);
		c->listener = -1; /* not ours: chardev_close() must not remove it */
		return fail(err, code, "-serial unix:%s: cannot listen: %s%s", c->path, errno_str(code),
			    code == EADDRINUSE ? "; remove the file or choose another path" : "");
	}
	if (listen(c->listener, 1) < 0)
		return fail(err, errno, "-serial unix:%s: cannot listen: %s", c->path, errno_str(errno));
	return 0;
}

static int wait_for_client(struct chardev *c, struct error *err)
{
	int fd;

	log_info("-serial unix:%s: waiting for the connection; wait=off does not", c->path);
	do
		fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return fail(err, errno, "-serial unix:%s: %s", c->path, errno_str(errno));
	c->in = c->out = fd;
	c->own_in = c->own_out = true;
	return 0;
}

static int open_unix(struct chardev *c, const struct unix_opts *o, struct error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (!*o->path || strlen(o->path) >= sizeof(sa.sun_path))
		return fail(err, EINVAL, "-serial unix:%s: the path must have 1 to %zu characters", o->path,
			    sizeof(sa.sun_path) - 1);
	memcpy(sa.sun_path, o->path, strlen(o->path)); /* the rest is zero */
	c->path = strdup(o->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !c->path) {
		if (fd >= 0)
			close(fd);
		return fail(err, ENOMEM, "-serial unix:%s: cannot make a socket", o->path);
	}
	if (o->server) {
		int r;

		c->listener = fd;
		r = make_server(c, &sa, err);
		if (r == 0 && o->wait)
			return wait_for_client(c, err);
		if (r == 0)
			fcntl(c->listener, F_SETFL, O_NONBLOCK);
		return r;
	}
	c->in = c->out = fd;
	c->own_in = c->own_out = true;
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return fail(err, errno, "-serial unix:%s: cannot connect: %s; server=on makes the socket here", o->path,
			    errno_str(errno));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return 0;
}

static int parse_unix(struct chardev *c, const char *text, struct error *err)
{
	static const struct opt *const tables[] = { unix_table, NULL };
	struct unix_opts o = { 0 };
	struct opt_list l;
	int r = opt_list_parse(text, "path", &l, err);

	if (r < 0) {
		error_prefix(err, "-serial unix:%s: ", text);
		return r;
	}
	r = opts_defaults(unix_table, &o, err);
	if (r == 0)
		r = opts_apply(unix_table, &l, &o, true, err);
	if (r == 0)
		r = opts_reject_rest(&l, tables, err);
	if (r < 0)
		error_prefix(err, "-serial unix:%s: ", text);
	else
		r = open_unix(c, &o, err);
	opts_free(unix_table, &o);
	opt_list_free(&l);
	return r;
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
		return parse_unix(c, spec + 5, err);
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
