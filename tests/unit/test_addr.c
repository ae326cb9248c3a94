/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses of sockets: options and host:port in, socket addresses and text out. */
#include "unit.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"

struct target {
	struct addr_opts addr;
};

static const struct opt table[] = {
	ADDR_OPTS(struct target, addr, "addr"),
	OPT_END,
};

static struct addr got;
static struct error err;

/* What a command line with these keys gives. */
static int resolve(const char *text, unsigned use)
{
	const struct opt *const tables[] = { table, NULL };
	struct target t = { 0 };
	struct opt_list l;
	int ret;

	err.msg[0] = 0;
	assert_int_equal(opts_defaults(table, &t, &err), 0);
	assert_int_equal(opt_list_parse(text, NULL, &l, &err), 0);
	ret = opts_apply(table, &l, &t, true, &err) ?: opts_reject_rest(&l, tables, &err);
	if (!ret)
		ret = addr_resolve(&t.addr, "addr", use, &got, &err);
	opt_list_free(&l);
	opts_free(table, &t);
	return ret;
}

static const char *text_of(unsigned i)
{
	static char buf[256];

	return endpoint_text(&got.e[i], buf, sizeof(buf));
}

static void inet(void **state)
{
	(void)state;
	assert_int_equal(resolve("addr.type=inet,addr.host=127.0.0.1,addr.port=1234", 0), 0);
	assert_int_equal(got.type, ADDR_INET);
	assert_int_equal(got.n, 1);
	assert_string_equal(text_of(0), "127.0.0.1:1234");
	assert_int_equal(resolve("addr.type=inet,addr.host=::1,addr.port=65535,addr.ipv6=on", 0), 0);
	assert_string_equal(text_of(0), "[::1]:65535");
	assert_int_equal(
		resolve("{\"addr\":{\"type\":\"inet\",\"host\":\"10.1.2.3\",\"port\":\"7\",\"ipv4\":true}}", 0), 0);
	assert_string_equal(text_of(0), "10.1.2.3:7");
	assert_int_equal(resolve("addr.type=inet,addr.host=localhost,addr.port=80,addr.ipv4=on", 0), 0);
	assert_string_equal(text_of(0), "127.0.0.1:80");
	assert_int_equal(resolve("addr.type=inet,addr.host=127.0.0.1,addr.port=5,addr.to=9", ADDR_LISTEN), 0);
	assert_int_equal(got.to, 9);
}

static void any_host(void **state)
{
	(void)state;
	assert_int_equal(resolve("addr.type=inet,addr.host=,addr.port=0", ADDR_LISTEN), 0);
	assert_int_equal(got.n, 2);
	assert_false(got.only_v6);
	assert_string_equal(text_of(0), "[::]:0");
	assert_string_equal(text_of(1), "0.0.0.0:0");
	assert_int_equal(resolve("addr.type=inet,addr.host=,addr.port=99,addr.ipv4=on", ADDR_LISTEN), 0);
	assert_int_equal(got.n, 1);
	assert_string_equal(text_of(0), "0.0.0.0:99");
	assert_int_equal(resolve("addr.type=inet,addr.host=,addr.port=99,addr.ipv4=off", ADDR_LISTEN), 0);
	assert_int_equal(got.n, 1);
	assert_true(got.only_v6);
	assert_string_equal(text_of(0), "[::]:99");
}

static void unix_path(void **state)
{
	char path[130] = "addr.type=unix,addr.path=", *p = path + strlen(path);
	const struct sockaddr_un *un = (const struct sockaddr_un *)&got.e[0].sa;

	(void)state;
	assert_int_equal(resolve("addr.type=unix,addr.path=/tmp/x", 0), 0);
	assert_int_equal(got.type, ADDR_UNIX);
	assert_string_equal(text_of(0), "/tmp/x");
	assert_string_equal(un->sun_path, "/tmp/x");
	for (unsigned n = 107; n <= 109; n++) {
		char all[200];

		memset(p, 0, sizeof(path) - (size_t)(p - path));
		snprintf(all, sizeof(all), "%s%0*d", path, (int)n, 1);
		assert_int_equal(resolve(all, 0), n > 108 ? -ENAMETOOLONG : 0);
		assert_true(got.e[0].len <= sizeof(*un));
		snprintf(all, sizeof(all), "%s%0*d,addr.abstract=on", path, (int)n, 1);
		assert_int_equal(resolve(all, 0), n > 107 ? -ENAMETOOLONG : 0);
	}
}

static void unix_abstract(void **state)
{
	(void)state;
	assert_int_equal(resolve("addr.type=unix,addr.path=name,addr.abstract=on", 0), 0);
	assert_int_equal(got.e[0].len, offsetof(struct sockaddr_un, sun_path) + 5);
	assert_string_equal(text_of(0), "@name");
	assert_int_equal(resolve("addr.type=unix,addr.path=name,addr.abstract=on,addr.tight=off", 0), 0);
	assert_int_equal(got.e[0].len, sizeof(struct sockaddr_un));
	assert_string_equal(text_of(0), "@name");
}

static void refused(void **state)
{
	static const struct {
		const char *text;
		unsigned use;
		const char *says;
	} row[] = {
		{ "addr.host=x", 0, "addr.type is missing" },
		{ "addr.type=bogus", 0, "addr.type=bogus: expected inet, unix or fd" },
		{ "addr.type=vsock", 0, "addr.type=vsock: vsock is not offered; use a UNIX socket" },
		{ "addr.type=vsock,addr.cid=3,addr.port=1", 0, "addr.cid=3: vsock is not offered" },
		{ "addr.type=inet", 0, "addr.host is missing" },
		{ "addr.type=inet,addr.host=x", 0, "addr.port is missing" },
		{ "addr.type=inet,addr.host=,addr.port=1", 0, "addr.host= is empty" },
		{ "addr.type=inet,addr.host=::1,addr.port=70000", 0, "port 70000: must be between 1 and 65535" },
		{ "addr.type=inet,addr.host=::1,addr.port=-1", 0, "port -1: must be between 1 and 65535" },
		{ "addr.type=inet,addr.host=::1,addr.port=0", 0, "port 0: must be between 1 and 65535" },
		{ "addr.type=inet,addr.host=::1,addr.port=12x", 0, "port 12x: expected a number" },
		{ "addr.type=inet,addr.host=::1,addr.port=nosuchservice", 0, "neither a number nor a service" },
		{ "addr.type=inet,addr.host=::1,addr.port=1,addr.ipv6=off", 0, "host ::1: " },
		{ "addr.type=inet,addr.host=no..name,addr.port=1", 0, "host no..name: " },
		{ "addr.type=inet,addr.host=localhost,addr.port=1,addr.numeric=on", 0, "host localhost: " },
		{ "addr.type=inet,addr.host=::1,addr.port=1,addr.ipv6=off,addr.ipv4=off", 0, "one of them is needed" },
		{ "addr.type=inet,addr.host=::1,addr.port=1,addr.to=2", 0, "for those who listen" },
		{ "addr.type=inet,addr.host=::1,addr.port=5,addr.to=4", ADDR_LISTEN, "below addr.port=5" },
		{ "addr.type=inet,addr.host=::1,addr.port=5,addr.path=x", 0, "addr.path does not go with" },
		{ "addr.type=inet,addr.host=::1,addr.port=5,addr.keep-alive-idle=3", 0, "need addr.keep-alive=on" },
		{ "addr.type=inet,addr.host=::1,addr.port=5,addr.keep-alive=on", ADDR_DGRAM, "is for TCP" },
		{ "addr.type=unix", 0, "addr.path is missing" },
		{ "addr.type=unix,addr.path=", 0, "addr.path is missing" },
		{ "addr.type=unix,addr.path=x,addr.port=1", 0, "addr.port does not go with" },
		{ "addr.type=fd", 0, "addr.str is missing" },
		{ "addr.type=fd,addr.str=2", 0, "3 or above" },
		{ "addr.type=fd,addr.str=x", 0, "3 or above" },
		{ "addr.type=fd,addr.str=999999", 0, "this descriptor is not open" },
		{ "addr.type=fd,addr.str=3,addr.tight=off", 0, "addr.tight does not go with" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		int ret = resolve(row[i].text, row[i].use);

		if (ret >= 0 || !strstr(err.msg, row[i].says))
			print_error("%s: %d %s\n", row[i].text, ret, err.msg);
		assert_true(ret < 0);
		assert_non_null(strstr(err.msg, row[i].says));
	}
	assert_int_equal(resolve("", 0), 0);
	assert_int_equal(got.type, ADDR_NONE);
}

static void descriptors(void **state)
{
	int stream = socket(AF_UNIX, SOCK_STREAM, 0), dgram = socket(AF_UNIX, SOCK_DGRAM, 0), pipes[2], fd;
	char text[40];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	snprintf(text, sizeof(text), "addr.type=fd,addr.str=%d", stream);
	assert_int_equal(resolve(text, 0), 0);
	assert_int_equal(got.type, ADDR_FD);
	assert_int_equal(got.fd, stream);
	assert_int_equal(resolve(text, ADDR_DGRAM), -EPROTOTYPE);
	snprintf(text, sizeof(text), "%d", dgram);
	assert_int_equal(addr_parse_fd(text, SOCK_STREAM, &fd, &err), -EPROTOTYPE);
	assert_int_equal(addr_parse_fd(text, SOCK_DGRAM, &fd, &err), 0);
	assert_int_equal(fd, dgram);
	snprintf(text, sizeof(text), "%d", pipes[0]);
	assert_int_equal(addr_parse_fd(text, SOCK_STREAM, &fd, &err), -ENOTSOCK);
	close(stream);
	close(dgram);
	close(pipes[0]);
	close(pipes[1]);
}

static void hostport(void **state)
{
	static const struct {
		const char *text;
		unsigned use;
		const char *first; /* NULL: refused */
	} row[] = {
		{ "127.0.0.1:1234", 0, "127.0.0.1:1234" },
		{ ":1234", ADDR_LISTEN, "0.0.0.0:1234" },
		{ ":1234", 0, "127.0.0.1:1234" },
		{ "localhost:1234", 0, "127.0.0.1:1234" },
		{ "[::1]:1234", 0, "[::1]:1234" },
		{ "[::]:1234", ADDR_LISTEN, "[::]:1234" },
		{ "[]:1234", ADDR_LISTEN, "[::]:1234" },
		{ "[]:1234", 0, "[::1]:1234" },
		{ "230.0.0.1:1234", ADDR_DGRAM, "230.0.0.1:1234" },
		{ "1234", 0, NULL },
		{ "", 0, NULL },
		{ ":", 0, NULL },
		{ "[", 0, NULL },
		{ "[:1", 0, NULL },
		{ "]:1", 0, NULL },
		{ "::1:1234", 0, NULL },
		{ "[::1]1234", 0, NULL },
		{ "127.0.0.1:0", 0, NULL },
		{ "127.0.0.1:65536", 0, NULL },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		int ret = addr_parse_hostport(row[i].text, row[i].use, &got, &err);

		if ((ret == 0) != (row[i].first != NULL))
			print_error("%s: %d %s\n", row[i].text, ret, ret ? err.msg : text_of(0));
		assert_int_equal(ret == 0, row[i].first != NULL);
		if (!ret)
			assert_string_equal(text_of(0), row[i].first);
	}
}

static void endpoints(void **state)
{
	struct endpoint a, b = { .len = 0 };
	char buf[300];

	(void)state;
	assert_int_equal(addr_parse_hostport("127.0.0.1:7", 0, &got, &err), 0);
	a = got.e[0];
	assert_true(endpoint_equal(&a, &a));
	assert_false(endpoint_equal(&a, &b));
	assert_int_equal(endpoint_port(&a), 7);
	assert_int_equal(endpoint_port(&b), -1);
	b = a;
	endpoint_set_port(&b, 8);
	assert_false(endpoint_equal(&a, &b));
	assert_int_equal(addr_parse_hostport("[::1]:7", 0, &got, &err), 0);
	assert_false(endpoint_equal(&a, &got.e[0]));
	assert_int_equal(resolve("addr.type=unix,addr.path=a\nb\x01\xff,addr.abstract=on", 0), 0);
	assert_string_equal(text_of(0), "@a\\x0ab\\x01\\xff");
	/* However long it is: cut, and terminated. */
	for (size_t size = 1; size < sizeof(buf); size++)
		assert_true(strlen(endpoint_text(&got.e[0], buf, size)) < size);
	got.e[0].len = offsetof(struct sockaddr_un, sun_path);
	assert_string_equal(text_of(0), "unnamed");
}

static void sockets(void **state)
{
	socklen_t len = sizeof(int);
	int fd, value;

	(void)state;
	assert_int_equal(resolve("addr.type=inet,addr.host=127.0.0.1,addr.port=9,addr.keep-alive=on,"
				 "addr.keep-alive-count=4,addr.keep-alive-idle=5,addr.keep-alive-interval=6",
				 0),
			 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	addr_tune(&got, fd);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
	assert_int_equal(value, 1);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &value, &len), 0);
	assert_int_equal(value, 4);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len), 0);
	assert_int_equal(value, 5);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, &len), 0);
	assert_int_equal(value, 6);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_true(value);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inet),		 cmocka_unit_test(any_host),  cmocka_unit_test(unix_path),
		cmocka_unit_test(unix_abstract), cmocka_unit_test(refused),   cmocka_unit_test(descriptors),
		cmocka_unit_test(hostport),	 cmocka_unit_test(endpoints), cmocka_unit_test(sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
