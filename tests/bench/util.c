/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * util: see util.h
 */
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DATAGRAM_BUFFER (4 << 20) /* bytes: a burst must not be lost in the socket of the measuring end */

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void die(const char *format, ...)
{
	va_list args;

	printf("F netload: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(" (%s)\n", strerror(errno));
	fflush(stdout);
	exit(1);
}

char *read_text(const char *path, char *buf, size_t size)
{
	size_t used = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		while (used < size - 1 && (got = read(fd, buf + used, size - 1 - used)) > 0)
			used += got;
		close(fd);
	}
	buf[used] = 0;
	return buf;
}

uint64_t read_number(const char *path)
{
	char text[64];

	return strtoull(read_text(path, text, sizeof(text)), NULL, 10);
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -1;
	rc = write_all(fd, text, strlen(text));
	close(fd);
	return rc;
}

uint64_t number_after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	if (!at)
		return 0;
	at += strlen(key);
	at += strcspn(at, "0123456789");
	return strtoull(at, NULL, 10);
}

int read_all(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = read(fd, (char *)buf + done, n - done);

		if (got <= 0)
			return -1;
		done += got;
	}
	return 0;
}

int write_all(int fd, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t put = write(fd, (const char *)buf + done, n - done);

		if (put <= 0)
			return -1;
		done += put;
	}
	return 0;
}

int get_line(int fd, char *line, size_t size)
{
	size_t used = 0;
	char c;

	while (used < size - 1) {
		if (read(fd, &c, 1) != 1)
			return -1;
		if (c == '\n')
			break;
		line[used++] = c;
	}
	line[used] = 0;
	return (int)used;
}

int put_line(int fd, const char *format, ...)
{
	char line[4096];
	va_list args;
	int used;

	va_start(args, format);
	used = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (used > (int)sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	return write_all(fd, line, used);
}

void receive_timeout(int fd, int ms)
{
	struct timeval t = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static void tune(int fd, int type)
{
	int one = 1;
	int size = DATAGRAM_BUFFER;

	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	else
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
}

int listen_on(int port, int type)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1;
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("bind to port %d", port);
	if (type == SOCK_STREAM && listen(fd, 8))
		die("listen on port %d", port);
	if (type == SOCK_DGRAM)
		tune(fd, type);
	receive_timeout(fd, 10000);
	return fd;
}

int connect_to(const char *name, int port, int type)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	inet_aton(name, &address.sin_addr);
	tune(fd, type);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

int accept_from(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		tune(fd, SOCK_STREAM);
		receive_timeout(fd, 10000);
	}
	return fd;
}
