/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -chardev pty: a new pseudo terminal, whose name is said. It is open while somebody has the other side open. The
 * kernel tells only when the last one closes it, and not when one opens it: so one that is closed is looked at now and
 * then.
 */
#include "char/char_pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "char/type.h"

#define LOOK_NS (200 * NSEC_PER_MSEC)

struct char_pty {
	struct chardev c;
	int fd;
	struct timer look;
};

static const struct opt pty_options[] = { OPT_END };

static struct char_pty *to_pty(struct chardev *c)
{
	return container_of(c, struct char_pty, c);
}

static void on_look(struct timer *t)
{
	struct char_pty *p = container_of(t, struct char_pty, look);
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };

	if (poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP))
		chardev_up(&p->c, p->fd, p->fd);
	else
		timer_arm(t, clock_now(CLOCK_HOST_NS) + LOOK_NS);
}

static void pty_start(struct chardev *c)
{
	struct char_pty *p = to_pty(c);

	timer_init(&p->look, c->loop, CLOCK_HOST_NS, on_look);
	on_look(&p->look);
}

static void pty_stop(struct chardev *c)
{
	timer_cancel(&to_pty(c)->look);
}

static void pty_ended(struct chardev *c)
{
	timer_arm(&to_pty(c)->look, clock_now(CLOCK_HOST_NS) + LOOK_NS);
}

static void pty_close(struct chardev *c)
{
	close(to_pty(c)->fd);
}

/* No echo, no line editing: bytes. And once it was open and closed, it says that nobody has it. */
static int make_raw(const char *name, struct error *err)
{
	struct open_request r = { .kind = OPEN_FILE, .path = name, .flags = O_RDWR };
	int fd = open_request(&r, err);
	struct termios t;

	if (fd < 0)
		return fd;
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(fd, TCSANOW, &t);
	}
	close(fd);
	return 0;
}

static int pty_open(struct chardev *c, const void *opts, struct error *err)
{
	struct open_request r = { .kind = OPEN_FILE, .path = "/dev/ptmx", .flags = O_RDWR, .nonblock = true };
	struct char_pty *p = to_pty(c);
	char name[64];
	int rc;

	(void)opts;
	p->fd = open_request(&r, err);
	if (p->fd < 0) {
		error_prefix(err, "/dev/ptmx: ");
		return p->fd;
	}
	rc = unlockpt(p->fd) < 0 ? errno : ptsname_r(p->fd, name, sizeof(name));
	rc = rc ? fail(err, rc, "cannot make a pseudo terminal: %s", errno_str(rc)) : make_raw(name, err);
	if (rc < 0) {
		close(p->fd);
		return rc;
	}
	log_info("char device redirected to %s (label %s)", name, c->id ? c->id : c->label);
	return 0;
}

const struct chardev_type chardev_pty = {
	.name = "pty",
	.help = "a new pseudo terminal; its name is said",
	.opts = pty_options,
	.size = sizeof(struct char_pty),
	.open = pty_open,
	.close = pty_close,
	.start = pty_start,
	.stop = pty_stop,
	.ended = pty_ended,
};
