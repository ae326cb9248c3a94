/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections to what vwire has at the other end: see guestfwd.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "user/guestfwd.h"

static struct {
	unsigned rules;
	void (*fn)(void *opaque, unsigned n, int fd);
	void *opaque;
	int near, far; /* the pair whose near end is not connected yet; libslirp connects one at once after making it */
} state = { .near = -1, .far = -1 };

void guestfwd_path(char *path, size_t size, unsigned n)
{
	snprintf(path, size, "/guestfwd%u", n);
}

void guestfwd_accept(unsigned rules, void (*fn)(void *opaque, unsigned n, int fd), void *opaque)
{
	state.rules = rules;
	state.fn = fn;
	state.opaque = opaque;
}

static int take_far(void)
{
	int fd = state.far;

	state.near = state.far = -1;
	return fd;
}

static int make_pair(int type)
{
	int pair[2];

	if (state.far >= 0)
		close(take_far());
	if (!state.rules || (type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != SOCK_STREAM) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -1;
	if (type & SOCK_NONBLOCK)
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
	state.near = pair[0];
	state.far = pair[1];
	return pair[0];
}

static int rule_of(const struct sockaddr_un *a, socklen_t len)
{
	char path[sizeof(a->sun_path)];

	for (unsigned n = 0; n < state.rules; n++) {
		guestfwd_path(path, sizeof(path), n);
		if (len > offsetof(struct sockaddr_un, sun_path) + strlen(path) && !strcmp(a->sun_path, path))
			return (int)n;
	}
	return -1;
}

/* ---- what the libraries call by the names of the C library's ---- */

int our_socket(int domain, int type, int protocol) __asm__("socket");
int our_connect(int fd, const struct sockaddr *a, socklen_t len) __asm__("connect");

int our_socket(int domain, int type, int protocol)
{
	return domain == AF_UNIX ? make_pair(type) : (int)syscall(SYS_socket, domain, type, protocol);
}

int our_connect(int fd, const struct sockaddr *a, socklen_t len)
{
	int n;

	if (len < sizeof(a->sa_family) || a->sa_family != AF_UNIX)
		return (int)syscall(SYS_connect, fd, a, len);
	n = rule_of((const struct sockaddr_un *)a, len);
	if (n < 0 || fd < 0 || fd != state.near) {
		errno = ECONNREFUSED;
		return -1;
	}
	state.fn(state.opaque, (unsigned)n, take_far());
	return 0;
}
