/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening sockets: one function a step, in the order of open.h; what was made is undone if a later step fails. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/open_priv.h"

static const struct sockaddr *sa_of(const struct endpoint *a)
{
	return (const struct sockaddr *)&a->sa;
}

/* The path of a socket file, or NULL: no AF_UNIX address, or one of the abstract name space. */
static const char *file_of(const struct endpoint *a)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;

	return a->len > offsetof(struct sockaddr_un, sun_path) && un->sun_family == AF_UNIX && un->sun_path[0] ?
		       un->sun_path :
		       NULL;
}

/* ---- options ---- */

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_options(const struct open_request *r, int fd, struct error *err)
{
	int rc = 0;

	if (r->reuse_addr && (rc = set(fd, SOL_SOCKET, SO_REUSEADDR, 1)))
		return fail(err, -rc, "cannot share the address: %s", errno_str(rc));
	if (r->v6only && (rc = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, r->v6only == OPEN_V6_ONLY)))
		return fail(err, -rc, "cannot choose between IPv4 and IPv6: %s", errno_str(rc));
	if (r->nodelay && (rc = set(fd, IPPROTO_TCP, TCP_NODELAY, 1)))
		return fail(err, -rc, "cannot send without delay: %s", errno_str(rc));
	if (r->sndbuf && (rc = set(fd, SOL_SOCKET, SO_SNDBUF, r->sndbuf)))
		return fail(err, -rc, "cannot set the send buffer: %s", errno_str(rc));
	if (r->rcvbuf && (rc = set(fd, SOL_SOCKET, SO_RCVBUF, r->rcvbuf)))
		return fail(err, -rc, "cannot set the receive buffer: %s", errno_str(rc));
	return 0;
}

/* ---- bind ---- */

/*
 * A server that was killed leaves its file; of one that lives bind() will say so. Asked by a datagram socket, which a
 * living server does not notice: only where nobody is bound is the answer ECONNREFUSED.
 */
static void remove_dead(const struct open_request *r)
{
	const char *path = file_of(&r->local);
	struct stat st;
	int probe;

	if (!r->take_over || !path || stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return;
	if (connect(probe, sa_of(&r->local), r->local.len) < 0 && errno == ECONNREFUSED)
		unlink(path);
	close(probe);
}

static int bind_local(const struct open_request *r, int fd, struct error *err)
{
	int code;

	if (!r->local.len)
		return 0;
	remove_dead(r);
	if (bind(fd, sa_of(&r->local), r->local.len) == 0)
		return 0;
	code = errno;
	return fail(err, code, "cannot %s: %s%s", r->backlog ? "listen" : "bind to the address", errno_str(code),
		    code == EADDRINUSE && file_of(&r->local) ? "; remove the file or choose another path" : "");
}

/* ---- multicast ---- */

static int join4(int fd, const struct sockaddr_in *group, const struct sockaddr_in *via)
{
	struct ip_mreqn m = { .imr_multiaddr = group->sin_addr };

	if (via)
		m.imr_address = via->sin_addr;
	if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 ||
	    (via && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)) < 0))
		return -errno;
	return set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
}

static int join6(int fd, const struct sockaddr_in6 *group, const struct sockaddr_in6 *via)
{
	struct ipv6_mreq m = { .ipv6mr_multiaddr = group->sin6_addr, .ipv6mr_interface = group->sin6_scope_id };

	if (via)
		m.ipv6mr_interface = via->sin6_scope_id;
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 ||
	    (via && setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &m.ipv6mr_interface, sizeof(m.ipv6mr_interface))))
		return -errno;
	return set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
}

static int join_group(const struct open_request *r, int fd, struct error *err)
{
	const void *group = &r->group.sa, *via = r->via.len ? &r->via.sa : NULL;
	int rc;

	if (!r->group.len)
		return 0;
	rc = r->group.sa.ss_family == AF_INET ? join4(fd, group, via) : join6(fd, group, via);
	return rc ? fail(err, -rc, "cannot join the multicast group: %s", errno_str(rc)) : 0;
}

/* ---- listen, connect ---- */

/* A signal came while connect() waited; it goes on by itself. */
static int wait_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	while (poll(&p, 1, -1) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return socket_error(fd);
}

static int reach(const struct open_request *r, int fd, struct error *err)
{
	int rc = 0;

	if (r->backlog && listen(fd, r->backlog) < 0)
		return fail(err, errno, "cannot listen: %s", errno_str(errno));
	if (!r->remote.len || connect(fd, sa_of(&r->remote), r->remote.len) == 0)
		return 0;
	rc = -errno;
	if (rc == -EINPROGRESS)
		return 0;
	if (rc == -EINTR)
		rc = wait_connected(fd);
	return rc ? fail(err, -rc, "cannot connect: %s", errno_str(rc)) : 0;
}

/* ---- all ---- */

int open_socket(const struct open_request *r, struct error *err)
{
	int fd = socket(r->domain, r->type | SOCK_CLOEXEC | (r->nonblock ? SOCK_NONBLOCK : 0), r->protocol), rc;

	if (fd < 0)
		return fail(err, errno, "cannot make a socket: %s", errno_str(errno));
	rc = set_options(r, fd, err) ?: bind_local(r, fd, err);
	if (!rc) {
		rc = join_group(r, fd, err) ?: reach(r, fd, err);
		if (rc && file_of(&r->local))
			unlink(file_of(&r->local));
	}
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int socket_error(int fd)
{
	socklen_t len = sizeof(int);
	int code;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 ? -errno : -code;
}

int socket_reconnect(int fd, const struct endpoint *to)
{
	return connect(fd, sa_of(to), to->len) < 0 ? -errno : 0;
}

int socket_accept(int listener, bool nonblock)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0));

	if (fd >= 0)
		return fd;
	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
		return -errno;
	default: /* accept(2): errors of the network, of a connection that is no more, are like EAGAIN */
		return -EAGAIN;
	}
}

struct open_request addr_request(const struct addr *a, unsigned i, unsigned use)
{
	struct open_request r = { .kind = OPEN_INHERITED, .fd = a->fd, .nonblock = true };
	bool dgram = use & ADDR_DGRAM, listen = use & ADDR_LISTEN;

	if (a->type == ADDR_FD)
		return r;
	r.kind = OPEN_SOCKET;
	r.domain = a->e[i].sa.ss_family;
	r.type = dgram ? SOCK_DGRAM : SOCK_STREAM;
	r.protocol = a->mptcp && !dgram && r.domain != AF_UNIX ? IPPROTO_MPTCP : 0;
	if (r.domain == AF_INET6)
		r.v6only = a->only_v6 ? OPEN_V6_ONLY : OPEN_V6_AND_V4;
	r.reuse_addr = listen && r.domain != AF_UNIX;
	r.take_over = listen && !a->abstract;
	r.backlog = listen && !dgram;
	*(listen ? &r.local : &r.remote) = a->e[i];
	return r;
}
