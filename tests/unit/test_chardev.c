/* SPDX-License-Identifier: BSD-2-Clause */
/* Character devices with a front end that keeps messages apart: sockets that come and go, slow and dead ends. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/open.h"
#include "char/char_stdio.h"
#include "char/chardev.h"
#include "ctl/types.h"
#include "unix_addr.h"

#define RING 65536

static struct loop *loop;
static struct error err;
static char dir[] = "/tmp/vwire-char-XXXXXX";
static unsigned turns;

/* ---- a front end ---- */

static struct {
	struct chardev *dev;
	uint8_t got[4 * RING];
	size_t len, capacity;
	unsigned opened, closed, rooms;
	size_t len_at_close;
} fe;

static size_t on_capacity(void *opaque)
{
	(void)opaque;
	return MIN(fe.capacity, sizeof(fe.got) - fe.len);
}

static void on_input(void *opaque, const uint8_t *p, size_t n)
{
	(void)opaque;
	assert_true(n <= fe.capacity);
	assert_true(fe.opened > fe.closed);
	memcpy(fe.got + fe.len, p, n);
	fe.len += n;
	fe.capacity -= n;
}

static void on_room(void *opaque)
{
	(void)opaque;
	fe.rooms++;
}

static void on_event(void *opaque, enum chardev_event e)
{
	(void)opaque;
	if (e == CHARDEV_OPENED) {
		fe.opened++;
	} else {
		fe.closed++;
		fe.len_at_close = fe.len;
	}
	assert_true(fe.opened == fe.closed || fe.opened == fe.closed + 1);
}

static const struct chardev_client client = {
	.capacity = on_capacity,
	.input = on_input,
	.room = on_room,
	.event = on_event,
	.out_size = RING,
	.in_size = 4096,
};

/* ---- help ---- */

static int setup(void **state)
{
	(void)state;
	loop = loop_new("test", &err);
	chardev_set_main_loop(loop);
	return loop && mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1; /* rmdir: nothing was left behind */
}

static int make(const char *text)
{
	struct opt_list l;
	int rc = opt_list_parse(text, "backend", &l, &err);

	err.msg[0] = 0;
	if (rc == 0)
		rc = chardev_add(&l, &err);
	opt_list_free(&l);
	return rc;
}

static int attach(const char *id, size_t capacity)
{
	memset(&fe, 0, sizeof(fe));
	fe.capacity = capacity;
	fe.dev = chardev_find(id);
	assert_non_null(fe.dev);
	return chardev_attach(fe.dev, "test", &client, loop, &err);
}

static void plug(const char *text, size_t capacity)
{
	int rc = make(text);

	if (rc)
		print_error("%s: %s\n", text, err.msg);
	assert_int_equal(rc, 0);
	assert_int_equal(attach("c", capacity), 0);
}

static void unplug(void)
{
	chardev_detach(fe.dev);
	assert_int_equal(chardev_del("c", &err), 0);
	assert_null(chardev_find("c"));
}

/* Turns until it is so; a slow machine may take its time. */
#define UNTIL(what)                                     \
	for (turns = 0; !(what); turns++) {             \
		assert_true(turns < 60000);             \
		if (!loop_turn(loop) && turns)          \
			usleep(turns < 100 ? 0 : 1000); \
	}

static void settle(void)
{
	while (loop_turn(loop))
		;
}

static int dial(const char *path)
{
	struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_UNIX, .type = SOCK_STREAM, .nonblock = true };

	r.remote = unix_addr(path);
	return open_request(&r, &err);
}

static int serve(const char *path)
{
	struct open_request r = { .kind = OPEN_SOCKET,
				  .domain = AF_UNIX,
				  .type = SOCK_STREAM,
				  .nonblock = true,
				  .backlog = 5,
				  .take_over = true };

	r.local = unix_addr(path);
	return open_request(&r, &err);
}

static int send_text(const char *text)
{
	struct iovec iov[2] = { { (void *)text, 1 }, { (void *)(text + 1), strlen(text) - 1 } };

	return chardev_send(fe.dev, iov, 2);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void expect(int fd, const char *text)
{
	size_t n = strlen(text), got = 0;
	char buf[256];

	while (got < n) {
		ssize_t r;

		UNTIL(readable(fd));
		r = read(fd, buf + got, n - got);
		assert_true(r > 0);
		got += (size_t)r;
	}
	assert_memory_equal(buf, text, n);
}

/* ---- sockets ---- */

static void a_server_serves_one_after_the_other(void **state)
{
	int a, b;

	(void)state;
	plug("socket,id=c,path=s,server=on,wait=off", RING);
	assert_int_equal(send_text("lost"), -ENOTCONN);
	assert_int_equal(fe.opened, 0);
	a = dial("s");
	b = dial("s"); /* waits in the kernel */
	assert_true(a >= 0 && b >= 0);
	UNTIL(fe.opened == 1);
	assert_int_equal(send_text("hello"), 0);
	expect(a, "hello");
	assert_int_equal(write(a, "abc", 3), 3);
	assert_int_equal(write(b, "def", 3), 3);
	UNTIL(fe.len == 3);
	assert_int_equal(fe.opened, 1);
	close(a);
	UNTIL(fe.opened == 2);
	assert_int_equal(fe.closed, 1);
	UNTIL(fe.len == 6);
	assert_memory_equal(fe.got, "abcdef", 6);
	assert_int_equal(send_text("second"), 0);
	expect(b, "second");
	close(b);
	UNTIL(fe.closed == 2);
	unplug();
}

/* What the other end sent before it went is delivered first, even if there is no room for it at once. */
static void input_before_the_end(void **state)
{
	int fd;

	(void)state;
	plug("socket,id=c,path=s,server=on,wait=off", 5);
	fd = dial("s");
	assert_int_equal(write(fd, "0123456789", 10), 10);
	close(fd);
	UNTIL(fe.len == 5);
	settle();
	assert_int_equal(fe.closed, 0);
	fe.capacity = 3;
	chardev_want(fe.dev);
	UNTIL(fe.len == 8);
	fe.capacity = 100;
	chardev_want(fe.dev);
	UNTIL(fe.closed == 1);
	assert_int_equal(fe.len_at_close, 10);
	assert_memory_equal(fe.got, "0123456789", 10);
	/* Who never reads holds up the next one for a second, not for ever. */
	fe.capacity = 0;
	fd = dial("s");
	UNTIL(fe.opened == 2);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	UNTIL(fe.closed == 2);
	assert_int_equal(fe.len, 10);
	unplug();
}

/* A peer that reads nothing: the front end is told so, and nobody waits for it. */
static void a_stuck_peer(void **state)
{
	char text[1000], back[1000];
	unsigned sent = 0, refused = 0;
	int fd;

	(void)state;
	plug("socket,id=c,path=s,server=on,wait=off", RING);
	fd = dial("s");
	UNTIL(fe.opened == 1);
	for (; refused < 100; settle()) {
		struct iovec iov = { text, sizeof(text) };
		int rc;

		memset(text, (int)sent, sizeof(text));
		rc = chardev_send(fe.dev, &iov, 1);
		if (rc == 0)
			sent++;
		else
			refused++;
		assert_true(rc == 0 || rc == -EAGAIN);
		assert_true(sent < 100000);
	}
	assert_int_equal(fe.rooms, 0);
	/* Whole messages, in order, none of those that were refused. */
	for (unsigned i = 0; i < sent; i++) {
		for (size_t got = 0; got < sizeof(back);) {
			ssize_t n;

			UNTIL(readable(fd));
			n = read(fd, back + got, sizeof(back) - got);
			assert_true(n > 0);
			got += (size_t)n;
		}
		memset(text, (int)i, sizeof(text));
		assert_memory_equal(back, text, sizeof(text));
	}
	UNTIL(fe.rooms == 1);
	assert_false(readable(fd));
	assert_int_equal(chardev_lost(fe.dev), 0);
	close(fd);
	unplug();
}

/* A peer that is killed in the middle of a message: the next one gets no rest of it. */
static void killed_in_mid_message(void **state)
{
	struct iovec big = { calloc(1, RING), RING };
	unsigned rc = 0;
	char c;
	int fd;

	(void)state;
	plug("socket,id=c,path=s,server=on,wait=off", RING);
	memset(big.iov_base, 'x', RING);
	fd = dial("s");
	UNTIL(fe.opened == 1);
	for (unsigned i = 0; i < 100; i++) {
		rc |= (unsigned)-chardev_send(fe.dev, &big, 1);
		settle();
	}
	assert_int_equal(rc, EAGAIN);
	for (unsigned i = 0; i < 777; i++)
		assert_int_equal(read(fd, &c, 1), 1);
	close(fd);
	UNTIL(fe.closed == 1);
	assert_true(chardev_lost(fe.dev) > 0);
	assert_int_equal(send_text("late"), -ENOTCONN);
	fd = dial("s");
	UNTIL(fe.opened == 2);
	assert_int_equal(send_text("fresh"), 0);
	expect(fd, "fresh");
	assert_false(readable(fd));
	assert_int_equal(chardev_send(fe.dev, &(struct iovec){ big.iov_base, RING + 1 }, 1), -EMSGSIZE);
	free(big.iov_base);
	close(fd);
	unplug();
}

static void a_client_connects_again(void **state)
{
	int s, fd;

	(void)state;
	plug("socket,id=c,path=s,reconnect-ms=5", RING);
	for (unsigned i = 0; i < 3; i++)
		loop_turn(loop);
	assert_int_equal(fe.opened, 0); /* nobody serves yet */
	s = serve("s");
	for (unsigned i = 1; i <= 3; i++) {
		UNTIL(readable(s));
		fd = socket_accept(s, true);
		assert_true(fd >= 0);
		UNTIL(fe.opened == i);
		assert_int_equal(send_text("hello"), 0);
		expect(fd, "hello");
		close(fd);
		UNTIL(fe.closed == i);
	}
	/* The server goes for a while. */
	close(s);
	unlink("s");
	UNTIL(fe.closed == fe.opened);
	s = serve("s");
	UNTIL(readable(s));
	close(s);
	unlink("s");
	unplug();
}

static void a_client_without_reconnect_stays_away(void **state)
{
	int s = serve("s"), fd;

	(void)state;
	plug("socket,id=c,path=s", RING);
	assert_int_equal(fe.opened, 1);
	fd = socket_accept(s, true);
	assert_int_equal(write(fd, "abc", 3), 3);
	UNTIL(fe.len == 3);
	close(fd);
	UNTIL(fe.closed == 1);
	settle();
	assert_false(readable(s));
	close(s);
	unlink("s");
	unplug();
}

static void tcp(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct open_request r = { .kind = OPEN_SOCKET, .domain = AF_INET, .type = SOCK_STREAM, .backlog = 1 };
	socklen_t len = sizeof(a);
	char text[200];
	int taken, fd;

	(void)state;
	memcpy(&r.local.sa, &a, sizeof(a));
	r.local.len = sizeof(a);
	taken = open_request(&r, &err);
	assert_int_equal(getsockname(taken, (struct sockaddr *)&a, &len), 0);
	/* The next free port. */
	snprintf(text, sizeof(text), "socket,id=c,host=127.0.0.1,port=%d,server,nowait", ntohs(a.sin_port));
	assert_int_equal(make(text), -EADDRINUSE);
	snprintf(text, sizeof(text), "socket,id=c,host=127.0.0.1,port=%d,to=%d,server,nowait", ntohs(a.sin_port),
		 MIN(ntohs(a.sin_port) + 100, 65535));
	plug(text, RING);
	r.local.len = 0;
	r.backlog = 0;
	r.remote.len = sizeof(a);
	for (fd = -1; fd < 0;) {
		a.sin_port = htons((uint16_t)(ntohs(a.sin_port) + 1));
		memcpy(&r.remote.sa, &a, sizeof(a));
		fd = open_request(&r, NULL);
	}
	close(taken);
	UNTIL(fe.opened == 1);
	assert_int_equal(write(fd, "abc", 3), 3);
	UNTIL(fe.len == 3);
	close(fd);
	UNTIL(fe.closed == 1);
	unplug();
}

static void inherited(void **state)
{
	char text[80];
	int pair[2], s;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(text, sizeof(text), "socket,id=c,fd=%d", pair[0]);
	plug(text, RING);
	assert_int_equal(fe.opened, 1);
	assert_int_equal(send_text("hello"), 0);
	expect(pair[1], "hello");
	close(pair[1]);
	UNTIL(fe.closed == 1);
	unplug();
	s = serve("s");
	snprintf(text, sizeof(text), "socket,id=c,fd=%d", dup(s));
	assert_int_equal(make(text), -ENOTCONN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(text, sizeof(text), "socket,id=c,fd=%d,server=on", pair[0]);
	assert_int_equal(make(text), -EINVAL);
	assert_non_null(strstr(err.msg, "does not listen"));
	close(pair[1]);
	fcntl(s, F_SETFD, 0);
	snprintf(text, sizeof(text), "socket,id=c,fd=%d", s);
	strcat(text, ",server=on,wait=off");
	plug(text, RING);
	pair[0] = dial("s");
	UNTIL(fe.opened == 1);
	close(pair[0]);
	unplug();
	unlink("s"); /* who listened made it */
}

/* No descriptor for a client: said, not asked in every turn; and when there is one it is served. */
static void no_descriptors(void **state)
{
	struct rlimit old, few;
	uint64_t begin;
	int fd, calls = 0;

	(void)state;
	plug("socket,id=c,path=s,server=on,wait=off", RING);
	fd = dial("s");
	getrlimit(RLIMIT_NOFILE, &old);
	few = old;
	few.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	begin = clock_now(CLOCK_HOST_NS);
	for (unsigned i = 0; i < 10000; i++)
		calls += loop_turn(loop);
	/* Twenty times a second would be a lot. */
	assert_true((uint64_t)calls <= 20 + 20 * (clock_now(CLOCK_HOST_NS) - begin) / NSEC_PER_SEC);
	assert_int_equal(fe.opened, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	UNTIL(fe.opened == 1);
	close(fd);
	unplug();
}

/* ---- front ends ---- */

static void one_front_end(void **state)
{
	struct error why;
	int fd;

	(void)state;
	plug("socket,id=c,path=s,server=on,wait=off", RING);
	fd = dial("s");
	UNTIL(fe.opened == 1);
	assert_int_equal(chardev_attach(fe.dev, "other", &client, loop, &why), -EBUSY);
	assert_non_null(strstr(why.msg, "chardev c is in use by test"));
	assert_int_equal(chardev_del("c", &why), -EBUSY);
	/* The next one finds the connection as it is, with what waits there. */
	assert_int_equal(send_text("bye"), 0);
	chardev_detach(fe.dev);
	expect(fd, "bye");
	assert_int_equal(write(fd, "abc", 3), 3);
	settle();
	assert_int_equal(attach("c", RING), 0);
	assert_int_equal(fe.opened, 1);
	UNTIL(fe.len == 3);
	close(fd);
	unplug();
}

/* In a thread of its own, as a net loop is. */
static void another_loop(void **state)
{
	struct loop *net = loop_new("net", &err);
	struct timespec ms = { .tv_nsec = 1000000 };
	int fd;

	(void)state;
	assert_int_equal(loop_start_thread(net, &err), 0);
	assert_int_equal(make("socket,id=c,path=s,server=on,wait=off"), 0);
	memset(&fe, 0, sizeof(fe));
	fe.dev = chardev_find("c");
	assert_int_equal(chardev_attach(fe.dev, "test", &(struct chardev_client){ .out_size = RING }, net, &err), 0);
	fd = dial("s");
	for (unsigned i = 0; i < 1000; i++) {
		while (send_text("hello") < 0) {
			loop_turn(loop); /* main, which makes the connection */
			nanosleep(&ms, NULL);
		}
	}
	for (unsigned i = 0; i < 1000; i++)
		expect(fd, "hello");
	assert_int_equal(send_text("bye"), 0);
	chardev_detach(fe.dev);
	expect(fd, "bye");
	loop_free(net);
	assert_int_equal(chardev_del("c", &err), 0);
	close(fd);
}

/* ---- other types ---- */

static void files(void **state)
{
	char buf[16];
	int fd;

	(void)state;
	plug("file,id=c,path=a,,b", RING);
	assert_int_equal(fe.opened, 1);
	assert_int_equal(send_text("one"), 0);
	unplug();
	plug("file,id=c,path=a,,b,append=on", RING);
	assert_int_equal(send_text("two"), 0);
	unplug();
	fd = open("a,b", O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "onetwo", 6);
	close(fd);
	unlink("a,b");
	plug("file,id=c,path=/dev/full", RING);
	assert_int_equal(send_text("never"), 0);
	UNTIL(chardev_lost(fe.dev) == 5);
	assert_int_equal(fe.closed, 0);
	unplug();
	plug("null,id=c", RING);
	assert_int_equal(send_text("never"), 0);
	unplug();
}

static void pipes(void **state)
{
	int in, out;

	(void)state;
	assert_int_equal(make("pipe,id=c,path=p"), -ENOENT);
	assert_non_null(strstr(err.msg, "mkfifo"));
	assert_int_equal(mkfifo("p.in", 0600) | mkfifo("p.out", 0600), 0);
	plug("pipe,id=c,path=p", RING);
	in = open("p.in", O_WRONLY | O_NONBLOCK);
	out = open("p.out", O_RDONLY | O_NONBLOCK);
	assert_int_equal(write(in, "abc", 3), 3);
	UNTIL(fe.len == 3);
	assert_int_equal(send_text("hello"), 0);
	expect(out, "hello");
	/* The other end may go and come back. */
	close(in);
	settle();
	in = open("p.in", O_WRONLY | O_NONBLOCK);
	assert_int_equal(write(in, "def", 3), 3);
	UNTIL(fe.len == 6);
	assert_int_equal(fe.closed, 0);
	close(in);
	close(out);
	unplug();
	unlink("p.in");
	unlink("p.out");
}

/* A descriptor of its own for 0 or 1; what was there is returned. */
static int put_in_place(int fd, int at)
{
	int was = dup(at);

	assert_int_equal(dup2(fd, at), at);
	close(fd);
	return was;
}

/* What was piped in is delivered whole, whenever the guest reads it; then there is no input, and output goes on. */
static void standard_input_that_ends(void **state)
{
	int in[2], out[2], was_in, was_out;
	char text[1000];

	(void)state;
	assert_int_equal(pipe(in) | pipe(out), 0);
	was_in = put_in_place(in[0], 0);
	was_out = put_in_place(out[1], 1);
	plug("stdio,id=c", 5);
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	assert_int_equal(write(in[1], text, sizeof(text)), sizeof(text));
	UNTIL(fe.len == 5);
	close(in[1]);
	settle();
	usleep(1200000); /* longer than what a connection leaves behind is kept */
	settle();
	while (fe.len < sizeof(text)) {
		size_t before = fe.len;

		fe.capacity = 7;
		chardev_want(fe.dev);
		UNTIL(fe.len > before);
		settle();
	}
	assert_memory_equal(fe.got, text, sizeof(text));
	fe.capacity = 7;
	chardev_want(fe.dev);
	settle();
	assert_int_equal(fe.len, sizeof(text));
	assert_int_equal(fe.closed, 0);
	assert_int_equal(send_text("still here"), 0);
	expect(out[0], "still here");
	unplug();
	close(put_in_place(was_in, 0));
	close(put_in_place(was_out, 1));
	close(out[0]);
}

/* A file cannot be watched; it is read to its end all the same. */
static void input_from_a_file(void **state)
{
	static uint8_t text[3 * 4096 + 1];
	int fd;

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 >> 3);
	fd = open("i", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	close(fd);
	plug("file,id=c,path=o,input-path=i", RING);
	UNTIL(fe.len == sizeof(text));
	assert_memory_equal(fe.got, text, sizeof(text));
	settle();
	assert_int_equal(fe.closed, 0);
	unplug();
	unlink("i");
	unlink("o");
}

/* The name is said on stderr. */
static void pty_name(char *name, size_t size)
{
	char line[200] = "", *at;
	int saved = dup(2), log = memfd_create("log", 0);

	dup2(log, 2);
	assert_int_equal(make("pty,id=c"), 0);
	dup2(saved, 2);
	assert_true(pread(log, line, sizeof(line) - 1, 0) > 0);
	close(saved);
	close(log);
	at = strstr(line, "/dev/pts/");
	assert_non_null(at);
	snprintf(name, size, "%.*s", (int)strcspn(at, " "), at);
}

static void pseudo_terminals(void **state)
{
	char name[64];
	int fd;

	(void)state;
	if (access("/dev/ptmx", R_OK | W_OK))
		skip();
	pty_name(name, sizeof(name));
	assert_int_equal(attach("c", RING), 0);
	settle();
	assert_int_equal(fe.opened, 0);
	for (unsigned i = 1; i <= 2; i++) {
		fd = open(name, O_RDWR | O_NONBLOCK | O_NOCTTY);
		assert_true(fd >= 0);
		UNTIL(fe.opened == i);
		assert_int_equal(send_text("hello\n"), 0);
		expect(fd, "hello\n");
		assert_int_equal(write(fd, "abc", 3), 3);
		UNTIL(fe.len == 3 * i);
		close(fd);
		UNTIL(fe.closed == i);
	}
	unplug();
}

/* ---- words ---- */

static void refused(const char *text, const char *word)
{
	assert_true(make(text) < 0);
	if (!strstr(err.msg, word))
		print_error("%s: '%s' is not in '%s'\n", text, word, err.msg);
	assert_non_null(strstr(err.msg, word));
	assert_null(strchr(err.msg, '\n'));
	assert_null(chardev_find("c"));
}

static void bad_options(void **state)
{
	(void)state;
	refused("sockt,id=c", "did you mean \"socket\"");
	refused("udp,id=c", "not offered");
	refused("null", "id= is missing");
	refused("null,id=1", "letter");
	refused("null,id=c,path=x", "path");
	refused("null,id=c,mux=on", "mux=on");
	refused("null,id=c,logfile=x", "file is a device");
	refused("file,id=c", "path");
	refused("socket,id=c", "one of path=");
	refused("socket,id=c,path=s,port=1", "only one of path=");
	refused("socket,id=c,host=x", "port= is missing");
	refused("socket,id=c,port=70000", "65535");
	refused("socket,id=c,port=1,abstract=on", "abstract is for path=");
	refused("socket,id=c,path=s,ipv4=on", "ipv4 is for port=");
	refused("socket,id=c,path=s,telnet=on,server=on", "telnet=on: not offered");
	refused("socket,id=c,path=s,tls-creds=t", "tls-creds=t: TLS is not offered");
	refused("socket,id=c,path=s,server=on,reconnect=1", "reconnect is for those who connect");
	refused("socket,id=c,path=s,reconnect=1,reconnect-ms=5", "exclude each other");
	refused("socket,id=c,path=s,wait=on", "wait=on is for server=on");
	refused("socket,id=c,path=s,reconnect=-1", "reconnect");
	refused("socket,id=c,fd=99", "fd=99: this descriptor is not open");
	refused("socket,id=c,fd=0", "3 or above");
	refused("socket,id=c,path=none", "server=on makes the socket here");
	refused("pipe,id=c,path=", "a path is missing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_serves_one_after_the_other),
		cmocka_unit_test(input_before_the_end),
		cmocka_unit_test(a_stuck_peer),
		cmocka_unit_test(killed_in_mid_message),
		cmocka_unit_test(a_client_connects_again),
		cmocka_unit_test(a_client_without_reconnect_stays_away),
		cmocka_unit_test(tcp),
		cmocka_unit_test(inherited),
		cmocka_unit_test(no_descriptors),
		cmocka_unit_test(one_front_end),
		cmocka_unit_test(another_loop),
		cmocka_unit_test(files),
		cmocka_unit_test(pipes),
		cmocka_unit_test(standard_input_that_ends),
		cmocka_unit_test(input_from_a_file),
		cmocka_unit_test(pseudo_terminals),
		cmocka_unit_test(bad_options),
	};

	chardev_types_init(chardev_types);
	return cmocka_run_group_tests(tests, setup, teardown);
}
