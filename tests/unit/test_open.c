/* SPDX-License-Identifier: BSD-2-Clause */
/* Opening: files, inherited descriptors, sockets of every kind; what remains after an error. */
#include "base/open.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"
#include "unix_addr.h"

static char dir[] = "/tmp/vwire-open-XXXXXX";

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1; /* rmdir: nothing was left behind */
}

static int lowest_free(void)
{
	int fd = open("/", O_PATH);

	close(fd);
	return fd;
}

/* It fails with this code, a text that says `word`, and no descriptor more than before. */
static void refuse(const struct open_request *r, int code, const char *word)
{
	struct error err = { "" };
	int before = lowest_free();

	assert_int_equal(open_request(r, &err), -code);
	if (!strstr(err.msg, word))
		print_error("'%s' is not in '%s'\n", word, err.msg);
	assert_non_null(strstr(err.msg, word));
	assert_int_equal(lowest_free(), before);
	assert_int_equal(open_request(r, NULL), -code);
}

static int must(const struct open_request *r)
{
	struct error err;
	int fd = open_request(r, &err);

	if (fd < 0)
		print_error("%s\n", err.msg);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(!!(fcntl(fd, F_GETFL) & O_NONBLOCK), r->nonblock);
	return fd;
}

static void files(void **state)
{
	struct open_request r = { .kind = OPEN_FILE, .path = "f", .flags = O_RDWR };
	struct stat st;
	int fd;

	(void)state;
	refuse(&r, ENOENT, "No such file");
	umask(022);
	r.flags |= O_CREAT | O_EXCL;
	r.mode = 0664;
	fd = must(&r);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	close(fd);
	refuse(&r, EEXIST, "exists");
	r.flags = O_RDONLY;
	r.nonblock = true;
	close(must(&r));
	unlink("f");
}

/* Only a descriptor without close-on-exec came from outside, and once taken it has it. */
static void inherited(void **state)
{
	int pair[2];
	struct open_request r = { .kind = OPEN_INHERITED };

	(void)state;
	assert_int_equal(pipe(pair), 0);
	r.fd = pair[1];
	assert_int_equal(must(&r), pair[1]);
	refuse(&r, EBUSY, "in use");
	r.fd = pair[0];
	r.nonblock = true;
	assert_int_equal(must(&r), pair[0]);
	close(pair[0]);
	refuse(&r, EBADF, "not open");
	close(pair[1]);
	r.fd = -1;
	refuse(&r, EBADF, "not open");
}

/* ---- UNIX sockets ---- */

static struct open_request unix_request(bool server, const char *path)
{
	struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_UNIX, .type = SOCK_STREAM, .backlog = server };

	*(server ? &r.local : &r.remote) = unix_addr(path);
	return r;
}

static void unix_stream(void **state)
{
	struct open_request s = unix_request(true, "s"), c = unix_request(false, "s");
	int listener, client, server;
	char byte = 0;

	(void)state;
	refuse(&c, ENOENT, "cannot connect");
	s.nonblock = true;
	listener = must(&s);
	refuse(&s, EADDRINUSE, "cannot listen: Address already in use; remove the file");
	s.take_over = true;
	refuse(&s, EADDRINUSE, "remove the file"); /* it is served */
	assert_int_equal(socket_accept(listener, true), -EAGAIN);
	client = must(&c);
	server = socket_accept(listener, true);
	assert_int_equal(fcntl(server, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(server, F_GETFL) & O_NONBLOCK);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(server, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(client);
	close(server);
	close(listener);
	/* Now nobody serves it: without the word it is in the way, with it it goes. */
	refuse(&c, ECONNREFUSED, "cannot connect");
	s.take_over = false;
	refuse(&s, EADDRINUSE, "remove the file");
	s.take_over = true;
	close(must(&s));
	unlink("s");
	/* What is no socket is not touched. */
	close(open("s", O_CREAT | O_WRONLY, 0600));
	refuse(&s, EADDRINUSE, "remove the file");
	assert_int_equal(unlink("s"), 0);
}

static void unix_datagram(void **state)
{
	struct open_request a = { .kind = OPEN_SOCKET, .domain = AF_UNIX, .type = SOCK_DGRAM, .take_over = true }, b;
	char buf[8];
	int fa, fb;

	(void)state;
	b = a;
	a.local = unix_addr("a");
	b.remote = a.local;
	/* A step that fails after bind() removes the file again. */
	b.local = unix_addr("b");
	refuse(&b, ENOENT, "cannot connect");
	assert_int_equal(access("b", F_OK), -1);
	fa = must(&a);
	refuse(&a, EADDRINUSE, "cannot bind to the address");
	fb = must(&b);
	assert_int_equal(write(fb, "hello", 5), 5);
	assert_int_equal(read(fa, buf, sizeof(buf)), 5);
	close(fa);
	close(fb);
	fa = must(&a); /* took its own dead file over */
	close(fa);
	unlink("a");
	unlink("b");
}

static void unix_names(void **state)
{
	char path[200];
	struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_UNIX, .type = SOCK_STREAM, .backlog = 1 };
	struct sockaddr_un *un = (struct sockaddr_un *)&r.local.sa;

	(void)state;
	memset(path, 'x', sizeof(path));
	path[108] = 0; /* no zero byte behind it in the address */
	r.local = unix_addr(path);
	close(must(&r));
	assert_int_equal(unlink(path), 0);
	/* Abstract: no file, gone with its socket. */
	r.local = (struct endpoint){ .len = offsetof(struct sockaddr_un, sun_path) + 30 };
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path + 1, 29, "vwire-%d", getpid());
	r.take_over = true;
	close(must(&r));
	close(must(&r));
}

/* ---- internet ---- */

static struct endpoint loopback(uint16_t port)
{
	struct endpoint a = { .len = sizeof(struct sockaddr_in) };
	struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->sin_port = htons(port);
	return a;
}

static struct endpoint name_of(int fd)
{
	struct endpoint a = { .len = sizeof(a.sa) };

	assert_int_equal(getsockname(fd, (struct sockaddr *)&a.sa, &a.len), 0);
	return a;
}

static int option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* A connect() under way is no error; how it went is asked when the socket is writable. */
static int connect_slowly(const struct endpoint *to)
{
	struct open_request r = { .kind = OPEN_SOCKET,
				  .domain = AF_INET,
				  .type = SOCK_STREAM,
				  .nonblock = true,
				  .nodelay = true,
				  .sndbuf = 10000,
				  .rcvbuf = 20000,
				  .remote = *to };
	struct pollfd p = { .fd = must(&r), .events = POLLOUT };
	int rc;

	assert_int_equal(option(p.fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(p.fd, SOL_SOCKET, SO_SNDBUF), 20000); /* socket(7): the kernel doubles it */
	assert_int_equal(option(p.fd, SOL_SOCKET, SO_RCVBUF), 40000);
	assert_int_equal(poll(&p, 1, -1), 1);
	rc = socket_error(p.fd);
	close(p.fd);
	return rc;
}

static void tcp(void **state)
{
	struct open_request s = { .kind = OPEN_SOCKET, .domain = AF_INET, .type = SOCK_STREAM, .backlog = 1 };
	struct open_request c = s;
	int listener;

	(void)state;
	s.local = loopback(0);
	s.reuse_addr = true;
	listener = must(&s);
	assert_int_equal(option(listener, SOL_SOCKET, SO_REUSEADDR), 1);
	c.backlog = 0;
	c.remote = s.local = name_of(listener);
	refuse(&s, EADDRINUSE, "cannot listen: Address already in use");
	close(must(&c));
	assert_int_equal(connect_slowly(&c.remote), 0);
	close(listener);
	refuse(&c, ECONNREFUSED, "cannot connect: Connection refused");
	assert_int_equal(connect_slowly(&c.remote), -ECONNREFUSED);
	c.remote.len = 0;
	c.v6only = OPEN_V6_ONLY;
	refuse(&c, ENOPROTOOPT, "between IPv4 and IPv6");
	c.domain = 12345;
	refuse(&c, EAFNOSUPPORT, "cannot make a socket");
}

static void v6only(void **state)
{
	struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_INET6, .type = SOCK_DGRAM };
	int fd = open_request(&r, NULL);

	(void)state;
	if (fd < 0)
		skip(); /* a host without IPv6 */
	close(fd);
	for (int v = OPEN_V6_ONLY; v <= OPEN_V6_AND_V4; v++) {
		r.v6only = (uint8_t)v;
		fd = must(&r);
		assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), v == OPEN_V6_ONLY);
		close(fd);
	}
}

/* Two members on one host hear each other through the loopback interface. */
static void multicast(void **state)
{
	struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_INET, .type = SOCK_DGRAM, .reuse_addr = true };
	struct sockaddr_in *group = (struct sockaddr_in *)&r.group.sa, *local = (struct sockaddr_in *)&r.local.sa;
	char buf[8] = "";
	int a, b;

	(void)state;
	r.local = r.group = loopback(0);
	r.via = loopback(0);
	refuse(&r, EINVAL, "cannot join the multicast group"); /* no group's address */
	assert_int_equal(inet_pton(AF_INET, "239.255.77.77", &group->sin_addr), 1);
	local->sin_addr = group->sin_addr;
	a = must(&r);
	r.local = name_of(a);
	b = must(&r);
	assert_int_equal(sendto(b, "hello", 5, 0, (struct sockaddr *)&r.local.sa, r.local.len), 5);
	assert_int_equal(read(a, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	close(a);
	close(b);
}

/* No descriptor left: said as it is, and once there is one the connection is still to be had. */
static void no_descriptors(void **state)
{
	struct open_request s = unix_request(true, "s"), c = unix_request(false, "s");
	struct rlimit old, few;
	int listener, client, fd;

	(void)state;
	s.nonblock = true;
	listener = must(&s);
	client = must(&c);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)lowest_free();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	fd = socket_accept(listener, true);
	assert_int_equal(open_request(&c, NULL), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(fd, -EMFILE);
	fd = socket_accept(listener, true);
	assert_true(fd >= 0);
	close(fd);
	close(client);
	close(listener);
	unlink("s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),	 cmocka_unit_test(inherited),  cmocka_unit_test(unix_stream),
		cmocka_unit_test(unix_datagram), cmocka_unit_test(unix_names), cmocka_unit_test(tcp),
		cmocka_unit_test(v6only),	 cmocka_unit_test(multicast),  cmocka_unit_test(no_descriptors),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
