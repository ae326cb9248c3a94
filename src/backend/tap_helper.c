/* SPDX-License-Identifier: BSD-2-Clause */
/* Taps from a helper program: it may have rights that we have not (setuid), and passes the open tap to us. */
#include "backend/tap_helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/script.h"
#include "base/util.h"

#define HELPER_TIMEOUT_MS 30000

const char *tap_helper_default(void)
{
	static const char *const paths[] = {
		"/usr/lib/qemu/qemu-bridge-helper",
		"/usr/libexec/qemu-bridge-helper",
		"/usr/local/libexec/qemu-bridge-helper",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	}
	return NULL;
}

/* The descriptor in the message that the helper left, or -errno. */
static int take_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int run(const char *helper, const char *br, int fd, struct error *err)
{
	char fd_arg[32], br_arg[64], *command;
	int ret;

	snprintf(fd_arg, sizeof(fd_arg), "--fd=%d", fd);
	snprintf(br_arg, sizeof(br_arg), "--br=%s", br);
	if (!strpbrk(helper, " \t")) {
		char *const argv[] = { (char *)helper, "--use-vnet", fd_arg, br_arg, NULL };

		return program_run(argv, fd, HELPER_TIMEOUT_MS, err);
	}
	/* The bridge was named by the user, as the command was; who can write options can write commands. */
	if (asprintf(&command, "%s --use-vnet %s %s", helper, fd_arg, strstr(helper, "--br=") ? "" : br_arg) < 0)
		return fail(err, ENOMEM, "no memory");
	ret = program_run((char *const[]){ "/bin/sh", "-c", command, NULL }, fd, HELPER_TIMEOUT_MS, err);
	free(command);
	return ret;
}

int tap_helper_open(const char *helper, const char *br, struct error *err)
{
	int sock[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		return fail(err, errno, "helper=%s: %s", helper, errno_str(errno));
	ret = run(helper, br, sock[1], err);
	close(sock[1]);
	if (ret)
		error_prefix(err, "helper=%s: ", helper);
	else if ((ret = take_fd(sock[0])) < 0)
		fail(err, -ret, "helper=%s: it ended well, but passed no descriptor (br=%s)", helper, br);
	close(sock[0]);
	return ret;
}
