/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening files, inherited descriptors and taps; sockets are in open_socket.c. */
#include "base/open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/open_priv.h"

#define TUN_PATH "/dev/net/tun"

/* ---- files ---- */

static int open_path(const char *path, int flags, mode_t mode, bool nonblock)
{
	int fd;

	flags |= O_CLOEXEC | O_NOCTTY | (nonblock ? O_NONBLOCK : 0);
	do
		fd = open(path, flags, mode);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

static int open_file(const struct open_request *r, struct error *err)
{
	int fd = open_path(r->path, r->flags, r->mode, r->nonblock);

	return fd < 0 ? fail(err, -fd, "%s", errno_str(fd)) : fd;
}

/* ---- inherited descriptors ---- */

/*
 * execve(2) closes what has the close-on-exec flag, and vwire sets it on all that it opens or takes: who has the flag
 * is no descriptor that came from outside and is still free.
 */
static int open_inherited(const struct open_request *r, struct error *err)
{
	int flags = fcntl(r->fd, F_GETFD), fl = fcntl(r->fd, F_GETFL);

	if (flags < 0 || fl < 0)
		return fail(err, EBADF, "this descriptor is not open; the program that starts vwire opens it");
	if (flags & FD_CLOEXEC)
		return fail(err, EBUSY, "this descriptor is in use by vwire already; give each its own");
	if (r->nonblock && fcntl(r->fd, F_SETFL, fl | O_NONBLOCK) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	if (fcntl(r->fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail(err, errno, "%s", errno_str(errno));
	return r->fd;
}

/* ---- taps: Documentation/networking/tuntap.rst ---- */

static int tun_error(int code, struct error *err)
{
	if (code == ENOENT || code == ENODEV || code == ENXIO)
		return fail(err, code, TUN_PATH ": %s; load the driver: modprobe tun", errno_str(code));
	if (code == EACCES || code == EPERM)
		return fail(err, code, TUN_PATH ": %s; let the user read and write it, or pass an open tap with fd=",
			    errno_str(code));
	return fail(err, code, TUN_PATH ": %s", errno_str(code));
}

static int attach_error(const struct open_request *r, int code, struct error *err)
{
	const char *shown = r->ifname ? r->ifname : "", *one = r->ifname ? r->ifname : "tap0";
	bool multi = r->tap_flags & IFF_MULTI_QUEUE;

	if (code == EPERM)
		return fail(err, code,
			    "ifname=%s: no permission; it needs CAP_NET_ADMIN, or make the interface first: ip tuntap "
			    "add %s mode tap%s user $USER",
			    shown, one, multi ? " multi_queue" : "");
	if (code == EBUSY)
		return fail(err, code,
			    "ifname=%s: the interface is in use, by another backend or program; choose a different one",
			    shown);
	if (code == E2BIG)
		return fail(err, code,
			    "ifname=%s: the interface has as many queues as the kernel allows; ask for fewer", shown);
	if (code == EINVAL)
		return fail(err, code,
			    "ifname=%s: the interface exists and is no tap with %s; make it with: ip tuntap add "
			    "%s mode tap%s",
			    shown, multi ? "several queues" : "one queue", one, multi ? " multi_queue" : "");
	return fail(err, code, "ifname=%s: cannot attach to the interface: %s", shown, errno_str(code));
}

static int open_tap(const struct open_request *r, struct error *err)
{
	const char *name = r->ifname ? r->ifname : "tap%d";
	struct ifreq ifr = { .ifr_flags = (short)r->tap_flags };
	unsigned features = 0;
	int fd, code;

	if (strlen(name) >= sizeof(ifr.ifr_name))
		return fail(err, EINVAL, "ifname=%s: an interface's name has at most %zu characters", name,
			    sizeof(ifr.ifr_name) - 1);
	memcpy(ifr.ifr_name, name, strlen(name) + 1);
	fd = open_path(TUN_PATH, O_RDWR, 0, r->nonblock);
	if (fd < 0)
		return tun_error(-fd, err);
	if (ioctl(fd, TUNGETFEATURES, &features) < 0)
		features = r->tap_flags;
	if (r->tap_flags & ~features) {
		close(fd);
		return fail(err, ENOTSUP, "this kernel's tap lacks what is asked for (flags %#x)",
			    r->tap_flags & ~features);
	}
	ifr.ifr_flags |= (short)(r->tap_wish & features);
	if (ioctl(fd, TUNSETIFF, &ifr) == 0)
		return fd;
	code = errno;
	close(fd);
	return attach_error(r, code, err);
}

/* ---- all ---- */

int open_request(const struct open_request *r, struct error *err)
{
	switch (r->kind) {
	case OPEN_FILE:
		return open_file(r, err);
	case OPEN_INHERITED:
		return open_inherited(r, err);
	case OPEN_TAP:
		return open_tap(r, err);
	case OPEN_SOCKET:
		return open_socket(r, err);
	}
	return fail(err, EINVAL, "unknown kind of request");
}
