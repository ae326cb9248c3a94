/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket as vwire-user sees it: see control.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "user/control.h"

#define LOG_PER_SECOND 10

static void keep_fds(const struct msghdr *h, int fds[CONTROL_FDS])
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < CONTROL_FDS)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
}

int control_recv(struct user_msg *m, int fds[CONTROL_FDS], bool wait)
{
	union {
		char buf[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
		struct cmsghdr align;
	} c;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = sizeof(c.buf) };
	ssize_t n;

	for (unsigned i = 0; i < CONTROL_FDS; i++)
		fds[i] = -1;
	do {
		n = recvmsg(USER_CTL_FD, &h, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	keep_fds(&h, fds);
	if (n < (ssize_t)sizeof(m->type) || (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
	    (size_t)n != user_msg_size(m->type))
		return -1;
	return 1;
}

static void control_send(const struct user_msg *m, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c = { 0 };
	struct iovec iov = { (void *)m, user_msg_size(m->type) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		h.msg_control = c.buf;
		h.msg_controllen = sizeof(c.buf);
		c.align = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&c.align), &fd, sizeof(fd));
	}
	/* Replies are few and waited for; a notice that does not fit is lost. Never wait for vwire. */
	if (sendmsg(USER_CTL_FD, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

void control_reply(int code, const char *text, uint32_t layers, uint16_t port)
{
	struct user_msg m = { .type = USER_REPLY, .reply = { .error = code, .layers = layers, .port = port } };

	snprintf(m.reply.text, sizeof(m.reply.text), "%s", text ? text : "");
	control_send(&m, -1);
}

void control_spawn(uint32_t index, int fd)
{
	struct user_msg m = { .type = USER_SPAWN, .spawn_index = index };

	control_send(&m, fd);
	close(fd);
}

void control_log(const char *fmt, ...)
{
	static time_t second;
	static unsigned said;
	struct user_msg m = { .type = USER_LOG };
	struct timespec now;
	va_list ap;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != second) {
		second = now.tv_sec;
		said = 0;
	}
	if (said++ >= LOG_PER_SECOND)
		return;
	va_start(ap, fmt);
	vsnprintf(m.log, sizeof(m.log), fmt, ap);
	va_end(ap);
	control_send(&m, -1);
}

static bool ends(const char *s, size_t size)
{
	return memchr(s, 0, size) != NULL;
}

bool control_config_ok(const struct user_config *c)
{
	unsigned strings = 0;

	for (size_t i = 0; i < sizeof(c->search); i++)
		strings += !c->search[i];
	return c->version == USER_PROTO_VERSION && c->prefix_len <= 126 && c->forwards <= USER_FWD_MAX &&
	       (c->ipv4 || c->ipv6) && ends(c->hostname, sizeof(c->hostname)) &&
	       ends(c->domainname, sizeof(c->domainname)) && ends(c->tftp_server_name, sizeof(c->tftp_server_name)) &&
	       ends(c->bootfile, sizeof(c->bootfile)) && ends(c->tftp, sizeof(c->tftp)) && c->searches <= strings &&
	       (!*c->tftp || (c->tftp[0] == '/' && c->tftp[1]));
}
