/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections and their renewal: listening, connecting, and what goes wrong with both. */
#include "unit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "loop/connector.h"

static struct loop *loop;
static struct connector k;
static struct error err;
static int up_fd;
static unsigned ups;
static int listener, far_fd; /* of closed_in_each_state() */

static void on_up(struct connector *x, int fd)
{
	assert_ptr_equal(x, &k);
	assert_int_equal(up_fd, -1);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	up_fd = fd;
	ups++;
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new("test", &err);
	up_fd = -1;
	ups = 0;
	memset(&k, 0, sizeof(k));
	k.loop = loop;
	k.what = "netdev test";
	k.up = on_up;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	connector_close(&k);
	if (up_fd >= 0)
		close(up_fd);
	loop_free(loop);
	return 0;
}

static void drop(const char *why)
{
	close(up_fd);
	up_fd = -1;
	connector_lost(&k, why);
}

/* Turns until cond() is true; 20 s are for ever. */
static bool until(bool (*cond)(unsigned), unsigned arg)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + 20 * NSEC_PER_SEC;

	while (!cond(arg)) {
		if (clock_now(CLOCK_HOST_NS) > end)
			return false;
		if (!loop_turn(loop))
			usleep(1000);
	}
	return true;
}

static bool n_ups(unsigned n)
{
	return ups >= n;
}

static bool in_state(unsigned s)
{
	return k.state == s;
}

static void use_hostport(const char *text, bool server)
{
	k.server = server;
	assert_int_equal(addr_parse_hostport(text, server ? ADDR_LISTEN : 0, &k.addr, &err), 0);
}

static void use_unix(const char *path, bool server)
{
	struct addr_opts o = { .type = (char *)"unix", .path = (char *)path, .tight = true };

	k.server = server;
	assert_int_equal(addr_resolve(&o, "addr", server ? ADDR_LISTEN : 0, &k.addr, &err), 0);
}

static int connect_to(const struct endpoint *e)
{
	int fd = socket(e->sa.ss_family, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&e->sa, e->len), 0);
	return fd;
}

static bool talks(int a, int b)
{
	char byte = 0;

	return write(a, "x", 1) == 1 && recv(b, &byte, 1, 0) == 1 && byte == 'x';
}

static const char *text_of(void)
{
	static char buf[400];

	connector_text(&k, buf, sizeof(buf));
	return buf;
}

/* ---- server ---- */

/* One client at a time; the next one waits, and is served when the first has gone. */
static void serves(void **state)
{
	int first, second;

	(void)state;
	use_hostport("127.0.0.1:0", true);
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(k.state, CONNECTOR_LISTENING);
	assert_true(endpoint_port(&k.here) > 0);
	assert_non_null(strstr(text_of(), "listening on tcp:127.0.0.1:"));
	first = connect_to(&k.here);
	assert_true(until(n_ups, 1));
	assert_true(talks(first, up_fd));
	assert_non_null(strstr(text_of(), "tcp:127.0.0.1:"));
	second = connect_to(&k.here);
	for (unsigned i = 0; i < 10; i++)
		loop_turn(loop);
	assert_int_equal(ups, 1);
	close(first);
	drop("test");
	assert_true(until(n_ups, 2));
	assert_true(talks(second, up_fd));
	assert_int_equal(counter_get(&k.connections), 2);
	close(second);
}

static void next_free_port(void **state)
{
	struct addr_opts o = { .type = (char *)"inet", .host = (char *)"127.0.0.1", .tight = true, .to = 65535 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int taken = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(in);
	char port[16];

	(void)state;
	assert_int_equal(bind(taken, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(taken, 1), 0);
	assert_int_equal(getsockname(taken, (struct sockaddr *)&in, &len), 0);
	snprintf(port, sizeof(port), "%d", ntohs(in.sin_port));
	o.port = port;
	k.server = true;
	assert_int_equal(addr_resolve(&o, "addr", ADDR_LISTEN, &k.addr, &err), 0);
	assert_int_equal(connector_open(&k, &err), 0);
	assert_true(endpoint_port(&k.here) > ntohs(in.sin_port));
	connector_close(&k);
	k.addr.to = 0;
	assert_int_equal(connector_open(&k, &err), -EADDRINUSE);
	close(taken);
}

static int listen_at(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	use_unix(path, false);
	assert_int_equal(bind(fd, (struct sockaddr *)&k.addr.e[0].sa, k.addr.e[0].len), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

/* Without a descriptor for it a connection cannot be accepted: tried again after a rest, and not all the time. */
static void no_descriptor(void **state)
{
	struct rlimit old, few;
	uint64_t calls;
	int fd;

	(void)state;
	use_unix("busy.sock", true);
	assert_int_equal(connector_open(&k, &err), 0);
	fd = connect_to(&k.addr.e[0]);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (unsigned i = 0; i < 5; i++)
		loop_turn(loop);
	calls = counter_get(&loop_stats(loop)->watches);
	for (unsigned i = 0; i < 50; i++)
		loop_turn(loop);
	assert_int_equal(counter_get(&loop_stats(loop)->watches), calls);
	assert_int_equal(ups, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(until(n_ups, 1));
	assert_true(talks(fd, up_fd));
	close(fd);
}

static bool timers_since(unsigned n)
{
	return counter_get(&loop_stats(loop)->timers) >= n;
}

/* Nor can one be begun: a client tries again after its pause, not sooner, and comes back by itself. */
static void no_descriptor_for_a_client(void **state)
{
	struct rlimit old, few;
	uint64_t begin;
	unsigned timers;
	int listener;

	(void)state;
	use_unix("few.sock", false);
	listener = listen_at("few.sock");
	k.pause_ns = 5 * NSEC_PER_MSEC;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_true(until(n_ups, 1));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	timers = (unsigned)counter_get(&loop_stats(loop)->timers);
	begin = clock_now(CLOCK_HOST_NS);
	drop("it is gone");
	assert_true(until(timers_since, timers + 20));
	assert_true(clock_now(CLOCK_HOST_NS) - begin >= 19 * k.pause_ns);
	assert_int_equal(k.state, CONNECTOR_PAUSED);
	assert_non_null(strstr(text_of(), "Too many open files"));
	assert_int_equal(ups, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(until(n_ups, 2));
	close(listener);
	unlink("few.sock");
}

/* Who came and went again before he was accepted is none of anybody's business. */
static void gone_before_accept(void **state)
{
	(void)state;
	use_unix("gone.sock", true);
	assert_int_equal(connector_open(&k, &err), 0);
	close(connect_to(&k.addr.e[0]));
	assert_true(until(n_ups, 1));
	drop("it is gone");
	assert_int_equal(k.state, CONNECTOR_LISTENING);
}

static void socket_files(void **state)
{
	struct connector *other = calloc(1, sizeof(*other));
	struct stat st;
	int dead, fd;

	(void)state;
	use_unix("file.sock", true);
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(stat("file.sock", &st), 0);
	*other = (struct connector){ .loop = loop, .addr = k.addr, .server = true, .what = "other", .up = on_up };
	assert_int_equal(connector_open(other, &err), -EADDRINUSE); /* it lives */
	assert_int_equal(stat("file.sock", &st), 0);
	connector_close(&k);
	assert_int_equal(stat("file.sock", &st), -1);
	/* A server that was killed left this one. */
	dead = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(dead, (struct sockaddr *)&k.addr.e[0].sa, k.addr.e[0].len), 0);
	close(dead);
	assert_int_equal(connector_open(&k, &err), 0);
	/* Somebody put another one in its place: not ours to remove. */
	assert_int_equal(rename("file.sock", "moved.sock"), 0);
	fd = open("file.sock", O_CREAT | O_WRONLY, 0600);
	connector_close(&k);
	assert_int_equal(stat("file.sock", &st), 0);
	/* And what is no socket is never removed. */
	assert_int_equal(connector_open(&k, &err), -EADDRINUSE);
	assert_int_equal(stat("file.sock", &st), 0);
	close(fd);
	unlink("file.sock");
	unlink("moved.sock");
	free(other);
}

/* ---- client ---- */

static void connects_once(void **state)
{
	int server = listen_at("once.sock"), there;

	(void)state;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(k.state, CONNECTOR_UP);
	assert_string_equal(text_of(), "unix:once.sock");
	there = accept(server, NULL, NULL);
	assert_true(talks(there, up_fd));
	drop("gone");
	assert_int_equal(k.state, CONNECTOR_OVER);
	assert_string_equal(text_of(), "error: gone");
	close(there);
	close(server);
	unlink("once.sock");
	connector_close(&k);
	assert_int_equal(connector_open(&k, &err), -ENOENT);
	use_hostport("127.0.0.1:1", false);
	assert_int_equal(connector_open(&k, &err), -ECONNREFUSED);
	assert_int_equal(ups, 1);
}

/* It starts before the server, outlives it twice, and is not busy meanwhile. */
static void connects_again(void **state)
{
	int server, there;

	(void)state;
	use_unix("again.sock", false);
	k.pause_ns = 5 * NSEC_PER_MSEC;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(k.state, CONNECTOR_PAUSED);
	assert_non_null(strstr(text_of(), "connecting to unix:again.sock; last error: "));
	for (unsigned i = 1; i <= 3; i++) {
		server = listen_at("again.sock");
		assert_true(until(n_ups, i));
		there = accept(server, NULL, NULL);
		assert_true(talks(there, up_fd));
		close(there);
		close(server);
		unlink("again.sock");
		drop("gone");
		assert_int_equal(k.state, CONNECTOR_PAUSED);
	}
}

static void refused_tcp(void **state)
{
	uint64_t calls;

	(void)state;
	use_hostport("127.0.0.1:1", false);
	k.pause_ns = 3600 * (uint64_t)NSEC_PER_SEC;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_true(until(in_state, CONNECTOR_PAUSED));
	calls = counter_get(&loop_stats(loop)->watches);
	for (unsigned i = 0; i < 50; i++)
		loop_turn(loop);
	assert_int_equal(counter_get(&loop_stats(loop)->watches), calls);
	assert_non_null(strstr(text_of(), "Connection refused"));
}

static void on_other_up(struct connector *x, int fd)
{
	(void)x;
	close(fd);
}

/* Several addresses: the first that answers. */
static void candidates(void **state)
{
	struct connector *server = calloc(1, sizeof(*server));

	(void)state;
	server->loop = loop;
	server->server = true;
	server->what = "server";
	server->up = on_other_up;
	assert_int_equal(addr_parse_hostport("127.0.0.1:0", ADDR_LISTEN, &server->addr, &err), 0);
	assert_int_equal(connector_open(server, &err), 0);
	use_hostport("127.0.0.1:1", false);
	k.addr.e[1] = server->here;
	k.addr.n = 2;
	for (unsigned i = 0; i < 2; i++) {
		k.pause_ns = i * NSEC_PER_MSEC;
		assert_int_equal(connector_open(&k, &err), 0);
		assert_true(until(n_ups, i + 1));
		assert_true(endpoint_equal(&k.there, &server->here));
		close(up_fd);
		up_fd = -1;
		connector_close(&k);
	}
	connector_close(server);
	free(server);
}

/* ---- the end, whatever goes on ---- */

static void server_listens(void)
{
	use_unix("end.sock", true);
}

/* Somebody is on his way: the loop has not heard of him yet. */
static void server_with_a_client(void)
{
	struct addr a;

	use_unix("end.sock", true);
	a = k.addr;
	assert_int_equal(connector_open(&k, &err), 0);
	far_fd = connect_to(&a.e[0]);
}

static void server_up(void)
{
	server_with_a_client();
	assert_true(until(n_ups, 1));
	assert_int_equal(k.state, CONNECTOR_UP);
}

/* The listener's queue is full, and who comes then is not answered. */
static void client_connects(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	char text[40];

	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	far_fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(far_fd, (struct sockaddr *)&a, len), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(a.sin_port));
	use_hostport(text, false);
	k.pause_ns = NSEC_PER_MSEC;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(k.state, CONNECTOR_CONNECTING);
}

static void client_waits(void)
{
	use_unix("end.sock", false);
	k.pause_ns = NSEC_PER_MSEC;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(k.state, CONNECTOR_PAUSED);
	usleep(2000); /* its time has come, but the loop has not turned */
}

static void client_up(void)
{
	listener = listen_at("end.sock");
	use_unix("end.sock", false);
	k.pause_ns = NSEC_PER_MSEC;
	assert_int_equal(connector_open(&k, &err), 0);
	assert_true(until(in_state, CONNECTOR_UP));
}

static unsigned n_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Closed in each state: nothing is heard of it again, no descriptor and no file stays. */
static void closed_in_each_state(void **state)
{
	static void (*const reach[])(void) = { server_listens, client_connects, server_with_a_client,
					       client_waits,   server_up,	client_up };
	struct stat st;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(reach); i++) {
		unsigned before = n_descriptors(), n;

		listener = far_fd = -1;
		k = (struct connector){ .loop = loop, .what = "netdev test", .up = on_up };
		reach[i]();
		if (k.state == CONNECTOR_OVER)
			assert_int_equal(connector_open(&k, &err), 0);
		n = ups;
		connector_close(&k);
		memset(&k, 0xa5, sizeof(k)); /* whoever comes back finds nonsense */
		for (unsigned t = 0; t < 20; t++) {
			loop_turn(loop);
			usleep(500);
		}
		assert_int_equal(ups, n);
		if (up_fd >= 0)
			close(up_fd);
		up_fd = -1;
		if (listener >= 0)
			close(listener);
		if (far_fd >= 0)
			close(far_fd);
		if (i == 5)
			unlink("end.sock"); /* ours */
		assert_int_equal(stat("end.sock", &st), -1);
		assert_int_equal(n_descriptors(), before);
	}
	memset(&k, 0, sizeof(k));
}

/* ---- descriptors from outside ---- */

static void inherited(void **state)
{
	int pair[2], server;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	k.addr = (struct addr){ .type = ADDR_FD, .fd = pair[0] };
	k.pause_ns = NSEC_PER_MSEC; /* does not help: it cannot be had again */
	assert_int_equal(connector_open(&k, &err), 0);
	assert_int_equal(up_fd, pair[0]);
	assert_true(talks(pair[1], up_fd));
	drop("gone");
	assert_int_equal(k.state, CONNECTOR_OVER);
	close(pair[1]);

	/* A server's listens, a client's is connected. */
	k.addr.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connector_open(&k, &err), -ENOTCONN);
	k.addr.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	k.server = true;
	assert_int_equal(connector_open(&k, &err), -EINVAL);

	server = listen_at("inherited.sock");
	k.server = true;
	pair[0] = connect_to(&k.addr.e[0]);
	k.addr = (struct addr){ .type = ADDR_FD, .fd = server };
	assert_int_equal(connector_open(&k, &err), 0);
	assert_true(until(n_ups, 2));
	assert_true(talks(pair[0], up_fd));
	close(pair[0]);
	unlink("inherited.sock");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(serves),
		TEST(next_free_port),
		TEST(no_descriptor),
		TEST(no_descriptor_for_a_client),
		TEST(gone_before_accept),
		TEST(socket_files),
		TEST(connects_once),
		TEST(connects_again),
		TEST(refused_tcp),
		TEST(candidates),
		TEST(closed_in_each_state),
		TEST(inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
