/* SPDX-License-Identifier: BSD-2-Clause */
/* -chardev stdio: standard input and output, usually a terminal. */
#include "char/char_stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "char/terminal.h"
#include "char/type.h"

struct char_stdio {
	struct chardev c;
	int in, out;
	bool own_out; /* a description of our own */
	bool signals;
	bool escaped; /* Ctrl-a was typed */
};

struct stdio_opts {
	bool signals;
};

static const struct opt stdio_options[] = {
	OPT_F(struct stdio_opts, signals, "signal", OPT_BOOL, .def = "off",
	      .help = "Ctrl-c and the like end vwire; off: the front end gets them, and Ctrl-a x ends vwire"),
	OPT_END,
};

static const char *user;

const char *stdio_user(void)
{
	return user;
}

int stdio_claim(const char *who, struct error *err)
{
	if (user)
		return fail(err, EBUSY, "stdio is in use by %s; one thing can use it", user);
	user = who;
	return 0;
}

void stdio_release(void)
{
	user = NULL;
}

static struct char_stdio *to_stdio(struct chardev *c)
{
	return container_of(c, struct char_stdio, c);
}

/*
 * Standard output as a description of our own that may be non-blocking: setting that on the one we share with our
 * parent would break the shell. A pipe or terminal can be opened anew; else poll() has to do.
 */
static void open_stdout(struct char_stdio *s)
{
	struct open_request r = { .kind = OPEN_FILE, .path = "/proc/self/fd/1", .flags = O_WRONLY, .nonblock = true };
	struct stat st;
	int fd;

	s->out = STDOUT_FILENO;
	if (fstat(STDOUT_FILENO, &st) < 0)
		s->out = -1;
	if (s->out < 0 || S_ISREG(st.st_mode))
		return;
	s->c.out_blocks = true;
	fd = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) ? open_request(&r, NULL) : -1;
	if (fd < 0)
		return;
	s->out = fd;
	s->own_out = true;
	s->c.out_blocks = false;
}

static int stdio_open(struct chardev *c, const void *opts, struct error *err)
{
	const struct stdio_opts *o = opts;
	struct char_stdio *s = to_stdio(c);
	bool in = fcntl(STDIN_FILENO, F_GETFD) >= 0;
	int rc;

	if (!in && fcntl(STDOUT_FILENO, F_GETFD) < 0)
		return fail(err, EBADF, "standard input and output are closed; use a file, or none");
	rc = stdio_claim(c->label, err);
	if (rc < 0)
		return rc;
	s->in = in ? STDIN_FILENO : -1;
	s->signals = o->signals;
	open_stdout(s);
	return 0;
}

static void stdio_start(struct chardev *c)
{
	struct char_stdio *s = to_stdio(c);
	struct error err;

	if (terminal_raw(s->signals, &err) < 0)
		log_warn("%s: %s", c->label, err.msg);
	chardev_up(c, s->in, s->out);
}

static void stdio_stop(struct chardev *c)
{
	(void)c;
	terminal_restore();
}

static void stdio_close(struct chardev *c)
{
	if (to_stdio(c)->own_out)
		close(to_stdio(c)->out);
	stdio_release();
}

static size_t stdio_filter(struct chardev *c, uint8_t *p, size_t n)
{
	return terminal_filter(&to_stdio(c)->escaped, p, n, c->client.quit, c->client.opaque);
}

const struct chardev_type chardev_stdio = {
	.name = "stdio",
	.help = "standard input and output, this terminal",
	.opts = stdio_options,
	.opts_size = sizeof(struct stdio_opts),
	.size = sizeof(struct char_stdio),
	.open = stdio_open,
	.close = stdio_close,
	.start = stdio_start,
	.stop = stdio_stop,
	.filter = stdio_filter,
};
