/* SPDX-License-Identifier: BSD-2-Clause */
/* A process that answers ARP and ping over a socket. Blocking, one frame after the other: it is no model of speed. */
#include "responder.h"

#include "../unit/unit.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/csum.h"
#include "net/frame.h"

#define MAX_RESPONDERS 8

static const uint8_t mac[6] = { 0x52, 0x55, 10, 0, 2, 2 }, ip[4] = { 10, 0, 2, 2 };
static pid_t running[MAX_RESPONDERS];
static unsigned n_running;

/* ---- answers ---- */

static void turn_ethernet(uint8_t *p)
{
	memcpy(p, p + 6, 6);
	memcpy(p + 6, mac, 6);
}

static size_t answer_arp(uint8_t *p, size_t len)
{
	if (len < 42 || p[21] != 1 || memcmp(p + 38, ip, 4))
		return 0;
	turn_ethernet(p);
	p[21] = 2;
	memcpy(p + 32, p + 22, 10);
	memcpy(p + 22, mac, 6);
	memcpy(p + 28, ip, 4);
	return 42;
}

/* The request with addresses and type turned round: its IP checksum stays right, the other changes by the type. */
static size_t answer_ping(uint8_t *p, size_t len)
{
	uint16_t c;

	if (len < 42 || p[14] != 0x45 || p[23] != 1 || memcmp(p + 30, ip, 4) || p[34] != 8)
		return 0;
	turn_ethernet(p);
	memcpy(p + 30, p + 26, 4);
	memcpy(p + 26, ip, 4);
	p[34] = 0;
	memset(p + 36, 0, 2);
	c = (uint16_t)~csum_fold(csum_add(0, p + 34, len - 34));
	memcpy(p + 36, &c, 2);
	return len;
}

static size_t answer(uint8_t *p, size_t len)
{
	unsigned type = len >= 14 ? (unsigned)(p[12] << 8 | p[13]) : 0;

	return type == 0x0806 ? answer_arp(p, len) : type == 0x0800 ? answer_ping(p, len) : 0;
}

/* ---- the two wires ---- */

static bool read_all(int fd, void *to, size_t n)
{
	for (ssize_t k; n; n -= (size_t)k, to = (char *)to + k) {
		k = read(fd, to, n);
		if (k <= 0)
			return false;
	}
	return true;
}

static bool write_all(int fd, const void *from, size_t n)
{
	for (ssize_t k; n; n -= (size_t)k, from = (const char *)from + k) {
		k = write(fd, from, n);
		if (k <= 0)
			return false;
	}
	return true;
}

static void serve_stream(int fd)
{
	static uint8_t p[4 + NET_FRAME_MAX];
	uint32_t len;

	while (read_all(fd, p, 4)) {
		memcpy(&len, p, 4);
		len = be32toh(len);
		if (len > NET_FRAME_MAX || !read_all(fd, p + 4, len))
			return;
		len = (uint32_t)answer(p + 4, len);
		if (!len)
			continue;
		memcpy(p, &(uint32_t){ htobe32(len) }, 4);
		if (!write_all(fd, p, 4 + len))
			return;
	}
}

static void serve_dgram(int fd, const struct endpoint *to)
{
	static uint8_t p[NET_FRAME_MAX];
	ssize_t n;

	while ((n = recv(fd, p, sizeof(p), 0)) >= 0) {
		size_t len = answer(p, (size_t)n);

		if (len)
			sendto(fd, p, len, 0, to->len ? (const struct sockaddr *)&to->sa : NULL, to->len);
	}
}

/* ---- the process ---- */

static int try_connect(const struct responder *r)
{
	int fd = socket(r->at.sa.ss_family, SOCK_STREAM, 0);

	if (connect(fd, (const struct sockaddr *)&r->at.sa, r->at.len) == 0)
		return fd;
	close(fd);
	return -1;
}

static int make_socket(const struct responder *r)
{
	const struct sockaddr *at = (const struct sockaddr *)&r->at.sa;
	int fd, on = 1;

	if (r->fd >= 0)
		return r->fd;
	if (!r->dgram && !r->listens) {
		while ((fd = try_connect(r)) < 0)
			usleep(5000);
		return fd;
	}
	fd = socket(r->at.sa.ss_family, r->dgram ? SOCK_DGRAM : SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (r->dgram)
		at = (const struct sockaddr *)&r->from.sa;
	if ((!r->dgram || r->from.len) && bind(fd, at, r->dgram ? r->from.len : r->at.len) < 0)
		_exit(1);
	if (r->listens && listen(fd, 1) < 0)
		_exit(1);
	return fd;
}

static _Noreturn void child(const struct responder *r, int ready)
{
	int fd = -1, room = 4 << 20; /* a test sends so much at once, and who sends datagrams does not wait */

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	if (r->listens || r->dgram || r->fd >= 0)
		fd = make_socket(r);
	if (r->dgram)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
	if (fd < 0)
		fd = make_socket(r);
	if (r->listens)
		fd = accept(fd, NULL, NULL);
	if (r->dgram)
		serve_dgram(fd, &r->at);
	else
		serve_stream(fd);
	_exit(0);
}

void responder_start(const struct responder *r)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_true(n_running < MAX_RESPONDERS);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* What else is open is not ours to keep open. */
		for (int fd = 3; fd < 256; fd++) {
			if (fd != ready[1] && fd != r->fd)
				close(fd);
		}
		child(r, ready[1]);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	running[n_running++] = pid;
}

void responders_end(void)
{
	while (n_running) {
		kill(running[--n_running], SIGKILL);
		waitpid(running[n_running], NULL, 0);
	}
}
