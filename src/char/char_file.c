/* SPDX-License-Identifier: BSD-2-Clause */
/* -chardev file: output into a file. -chardev pipe: a pair of FIFOs. -chardev null: nothing. */
#include "char/char_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/open.h"
#include "char/type.h"

struct char_file {
	struct chardev c;
	int in, out; /* -1: none */
};

static struct char_file *to_file(struct chardev *c)
{
	return container_of(c, struct char_file, c);
}

static void file_start(struct chardev *c)
{
	chardev_up(c, to_file(c)->in, to_file(c)->out);
}

static void file_stop(struct chardev *c)
{
	(void)c;
}

static void file_close(struct chardev *c)
{
	struct char_file *f = to_file(c);

	if (f->in >= 0)
		close(f->in);
	if (f->out >= 0 && f->out != f->in)
		close(f->out);
	f->in = f->out = -1;
}

/* ---- file ---- */

struct file_opts {
	char *path, *input;
	bool append;
};

static const struct opt file_options[] = {
	OPT_F(struct file_opts, path, "path", OPT_STR, .required = true, .arg = "path", .help = "the file, made anew"),
	OPT_F(struct file_opts, append, "append", OPT_BOOL, .def = "off", .help = "keep what is in it"),
	OPT_F(struct file_opts, input, "input-path", OPT_STR, .arg = "path",
	      .help = "a FIFO, device or file to read from"),
	OPT_END,
};

static int open_output(const struct file_opts *o, struct error *err)
{
	struct open_request r = {
		.kind = OPEN_FILE,
		.path = o->path,
		.flags = O_WRONLY | O_CREAT | (o->append ? O_APPEND : O_TRUNC),
		.mode = 0644,
		.nonblock = true,
	};
	int fd;

	if (!*o->path)
		return fail(err, EINVAL, "a path is missing");
	fd = open_request(&r, err);
	if (fd == -ENXIO)
		return fail(err, ENXIO, "nobody reads this FIFO; start the reader first");
	return fd;
}

static int open_input(const char *path, struct error *err)
{
	struct open_request r = { .kind = OPEN_FILE, .path = path, .flags = O_RDONLY, .nonblock = true };
	int fd = path ? open_request(&r, err) : -1;

	if (path && fd < 0) {
		error_prefix(err, "input-path=%.200s: ", path);
		return fd;
	}
	return fd;
}

static int file_open(struct chardev *c, const void *opts, struct error *err)
{
	const struct file_opts *o = opts;
	struct char_file *f = to_file(c);

	f->in = open_input(o->input, err);
	if (o->input && f->in < 0)
		return f->in;
	f->out = open_output(o, err);
	if (f->out >= 0)
		return 0;
	if (f->in >= 0)
		close(f->in);
	return f->out;
}

const struct chardev_type chardev_file = {
	.name = "file",
	.help = "output into a file",
	.opts = file_options,
	.opts_size = sizeof(struct file_opts),
	.size = sizeof(struct char_file),
	.open = file_open,
	.close = file_close,
	.start = file_start,
	.stop = file_stop,
};

/* ---- pipe ---- */

struct pipe_opts {
	char *path;
};

static const struct opt pipe_options[] = {
	OPT_F(struct pipe_opts, path, "path", OPT_STR, .required = true, .arg = "path",
	      .help = "path.in is read, path.out written; where there is neither, path is both"),
	OPT_END,
};

/* For reading and writing: so a FIFO opens without another end, and has no end of file when that goes. */
static int open_fifo(const char *path, const char *suffix, struct error *err)
{
	char name[4200];
	struct open_request r = { .kind = OPEN_FILE, .path = name, .flags = O_RDWR, .nonblock = true };
	struct stat st;
	int fd;

	if (snprintf(name, sizeof(name), "%s%s", path, suffix) >= (int)sizeof(name))
		return fail(err, ENAMETOOLONG, "the path is too long");
	fd = open_request(&r, err);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))) {
		close(fd);
		fd = fail(err, EINVAL, "neither a FIFO nor a device");
	}
	if (fd < 0)
		error_prefix(err, "%.200s%s: ", path, suffix);
	return fd;
}

static int pipe_open(struct chardev *c, const void *opts, struct error *err)
{
	const struct pipe_opts *o = opts;
	struct char_file *f = to_file(c);

	if (!*o->path)
		return fail(err, EINVAL, "a path is missing");
	f->in = open_fifo(o->path, ".in", err);
	f->out = open_fifo(o->path, ".out", err);
	if (f->in >= 0 && f->out >= 0)
		return 0;
	file_close(c);
	f->in = f->out = open_fifo(o->path, "", err);
	if (f->in < 0)
		return fail(err, -f->in, "%.300s; make two FIFOs: mkfifo PATH.in PATH.out", err ? err->msg : "");
	return 0;
}

const struct chardev_type chardev_pipe = {
	.name = "pipe",
	.help = "a pair of FIFOs",
	.opts = pipe_options,
	.opts_size = sizeof(struct pipe_opts),
	.size = sizeof(struct char_file),
	.open = pipe_open,
	.close = file_close,
	.start = file_start,
	.stop = file_stop,
};

/* ---- null ---- */

static const struct opt null_options[] = { OPT_END };

static int null_open(struct chardev *c, const void *opts, struct error *err)
{
	(void)opts;
	(void)err;
	to_file(c)->in = to_file(c)->out = -1;
	return 0;
}

const struct chardev_type chardev_null = {
	.name = "null",
	.help = "output goes nowhere, input never comes",
	.opts = null_options,
	.size = sizeof(struct char_file),
	.open = null_open,
	.close = file_close,
	.start = file_start,
	.stop = file_stop,
	.no_message = true,
};
