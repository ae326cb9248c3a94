/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a vwire-user that was taken over may do to vwire by the descriptors and memory that they share. This program is
 * both: started by a name that begins with "hostile-" it is such a vwire-user, and the rest of the name is what it
 * does.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/unit.h"
#include "unit/userguest.h"

/* All of the backend, but with less patience. */
#define HUNG_TICKS 10
#include "backend/user.c"
#include "char/char_file.h"
#undef fail

#include "user/filter.h"
#include "user/proto.h"

/* ---- vwire-user ---- */

static struct user_shm *shm;
static int wake_in = -1;

static void take_fds(struct msghdr *h)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	int fds[3];

	if (!c || c->cmsg_len != CMSG_LEN(sizeof(fds)))
		return;
	memcpy(fds, CMSG_DATA(c), sizeof(fds));
	shm = mmap(NULL, USER_SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	wake_in = fds[1];
}

static ssize_t send_with_fd(int ctl, const void *msg, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { (void *)msg, len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	memcpy(CMSG_DATA(&c.align), &fd, sizeof(fd));
	return sendmsg(ctl, &h, 0);
}

/* Answers like a good one until it is asked `last`. */
static void obey(uint32_t last)
{
	static struct user_msg m, reply;

	while (m.type != last) {
		union {
			char buf[CMSG_SPACE(3 * sizeof(int))];
			struct cmsghdr align;
		} c;
		struct iovec iov = { &m, sizeof(m) };
		struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

		if (recvmsg(USER_CTL_FD, &h, 0) <= 0)
			_exit(1);
		take_fds(&h);
		reply.type = USER_REPLY;
		if (send(USER_CTL_FD, &reply, user_msg_size(USER_REPLY), 0) < 0)
			_exit(1);
	}
}

/* The descriptor that it is woken by shall block whoever writes to it, and always seem to be waited for. */
static void block(void)
{
	uint64_t most = UINT64_MAX - 1;

	fcntl(wake_in, F_SETFL, 0);
	/* No signal for a descriptor that only reads. */
	if (write(wake_in, &most, sizeof(most)) < 0)
		usleep(1);
	for (;;) {
		atomic_store(&shm->to_user.want_data, 1);
		usleep(100);
	}
}

/* An empty message, which is like the end, with a descriptor in it. */
static void smuggle(void)
{
	usleep(200000); /* vwire may still be reading the answer to the start */
	send_with_fd(USER_CTL_FD, NULL, 0, 0);
}

/* A command is to be run before the guest is there. */
static void hurry(void)
{
	struct user_msg m = { .type = USER_SPAWN };

	obey(USER_GUESTFWD);
	send_with_fd(USER_CTL_FD, &m, user_msg_size(USER_SPAWN), 0);
	obey(USER_START);
}

/* The answer to a forward that is asked for later is none. */
static void babble(void)
{
	struct user_msg m = { .type = USER_LOG };

	obey(USER_START);
	if (recv(USER_CTL_FD, &m, sizeof(m), 0) > 0)
		send(USER_CTL_FD, &m, 5, 0);
}

/* Connections of the guest to a character device that are none: files, pipes, datagrams, an epoll set, ends of a pair. */
static void strange(void)
{
	struct user_msg m = { .type = USER_SPAWN };
	int pair[2], pipes[2];

	usleep(200000); /* vwire may still be reading the answer to the start */
	for (unsigned i = 0; i < 20; i++) {
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) || pipe(pipes))
			_exit(1);
		const int fds[] = { open("/dev/zero", O_RDWR),
				    open("/proc/self/exe", O_RDONLY),
				    pair[0],
				    pair[1],
				    pipes[0],
				    pipes[1],
				    epoll_create1(0),
				    USER_CTL_FD,
				    socket(AF_INET, SOCK_STREAM, 0) };

		if (write(pipes[1], "x", 1) != 1 || send(pair[0], "x", 1, 0) != 1)
			_exit(1);
		for (unsigned k = 0; k < ARRAY_SIZE(fds); k++) {
			send_with_fd(USER_CTL_FD, &m, user_msg_size(USER_SPAWN), fds[k]);
			if (fds[k] != USER_CTL_FD)
				close(fds[k]);
		}
	}
}

/* As a library does that finds its own mistake: in the first process of a pid namespace, which no signal ends. */
static void give_up(void)
{
	usleep(200000);
	abort();
}

static void hostile_main(const char *what)
{
	if (!strcmp(what, "hurry"))
		hurry();
	else if (!strcmp(what, "babble"))
		babble();
	else
		obey(USER_START);
	if (!strcmp(what, "block"))
		block();
	else if (!strcmp(what, "smuggle"))
		smuggle();
	else if (!strcmp(what, "strange"))
		strange();
	else if (!strcmp(what, "give-up"))
		give_up();
	for (;;)
		pause(); /* and does nothing any more, until it is killed */
}

/* ---- vwire ---- */

static char dir[] = "/tmp/vwire-hostile-XXXXXX", link_path[64];

static struct guest *guest_of(const char *what, const char *options, struct error *err)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = 0;
	snprintf(link_path, sizeof(link_path), "%s/hostile-%s", dir, what);
	assert_int_equal(symlink(self, link_path), 0);
	setenv("VWIRE_USER", link_path, 1);
	return guest_new(options, err);
}

static struct guest *guest_with(const char *what)
{
	struct error err;
	struct guest *g = guest_of(what, "", &err);

	if (!g)
		print_error("%s\n", err.msg);
	assert_non_null(g);
	return g;
}

static int teardown(void **state)
{
	unlink(link_path);
	return guest_teardown(state);
}

/* HF: a net loop waits for nobody. Who is not woken is none of its business. */
static void test_wakes_do_not_block(void **state)
{
	struct guest *g = guest_with("block");
	uint8_t frame[64];
	size_t len = build_arp(frame, HOST_IP);

	(void)state;
	alarm(30);
	for (unsigned i = 0; i < 500; i++) {
		guest_send(g, frame, len);
		guest_run(g, 1);
	}
	alarm(0);
	guest_free(g);
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool is_down(struct guest *g, void *arg)
{
	(void)arg;
	return !g->link;
}

static void test_no_descriptor_stays(void **state)
{
	unsigned before = open_fds();
	struct guest *g = guest_with("smuggle");

	(void)state;
	assert_true(guest_until(g, is_down, NULL, 5000));
	guest_free(g);
	assert_int_equal(open_fds(), before);
}

static pid_t helper_pid(struct guest *g)
{
	json_t *o = net_describe(g->user);
	pid_t pid = (pid_t)json_integer_value(json_object_get(o, "helper"));

	json_decref(o);
	return pid;
}

static bool is_another(struct guest *g, void *arg)
{
	pid_t now = helper_pid(g);

	return now && now != *(pid_t *)arg && g->link;
}

/* It takes no frame, and nobody has stopped it: there will be another one. */
static void test_one_that_does_nothing_is_ended(void **state)
{
	struct guest *g = guest_with("deaf");
	pid_t pid = helper_pid(g);
	uint8_t frame[64];
	size_t len = build_arp(frame, HOST_IP);

	(void)state;
	guest_run(g, 1500); /* without work it is not suspected */
	assert_int_equal(helper_pid(g), pid);
	assert_true(g->link);
	unsetenv("VWIRE_USER");
	guest_name_helper();
	assert_true(guest_send(g, frame, len));
	assert_true(guest_until(g, is_another, &pid, 60000));
	assert_int_equal(counter_get(&g->user->rx.dropped[NET_DROP_PEER_GONE]), 1);
	guest_free(g);
}

static void test_no_command_before_the_start(void **state)
{
	char options[128], made[64];
	struct error err;

	(void)state;
	snprintf(made, sizeof(made), "%s/made", dir);
	snprintf(options, sizeof(options), "guestfwd=tcp:10.0.2.100:7-cmd:touch %s", made);
	assert_null(guest_of("hurry", options, &err));
	assert_non_null(strstr(err.msg, "too early"));
	assert_int_equal(access(made, F_OK), -1);
}

/* It is asked for something and answers nonsense: that is its end, as at any other time. */
static void test_nonsense_for_an_answer(void **state)
{
	struct guest *g = guest_with("babble");
	pid_t pid = helper_pid(g);
	struct error err;

	(void)state;
	assert_int_equal(user_hostfwd_add(g->user, "tcp:127.0.0.1:12345-:80", &err), -EPROTO);
	assert_int_not_equal(helper_pid(g), pid);
	unsetenv("VWIRE_USER");
	guest_name_helper();
	assert_true(guest_until(g, is_another, &pid, 30000));
	assert_int_equal(to_user(g->user)->net.n_fwd, 0);
	guest_free(g);
}

static bool many_turns(struct guest *g, void *arg)
{
	(void)g;
	return ++*(unsigned *)arg > 1000;
}

static void test_strange_connections(void **state)
{
	static const struct chardev_type *const types[] = { &chardev_null, NULL };
	unsigned before = open_fds(), turns = 0;
	struct error err;
	struct guest *g;
	pid_t pid;

	(void)state;
	chardev_types_init(types);
	g = guest_of("strange", "guestfwd=tcp:10.0.2.100:7-null", &err);
	assert_non_null(g);
	pid = helper_pid(g);
	guest_run(g, 500);
	assert_true(guest_until(g, many_turns, &turns, 60000));
	assert_int_equal(helper_pid(g), pid);
	assert_true(g->link);
	assert_true(to_user(g->user)->guestdev[0].n <= USER_GUESTDEV_CONNECTIONS);
	guest_free(g);
	assert_int_equal(open_fds(), before);
}

static void test_one_that_gives_up(void **state)
{
	struct guest *g = guest_with("give-up");
	pid_t pid = helper_pid(g);

	(void)state;
	unsetenv("VWIRE_USER");
	guest_name_helper();
	assert_true(guest_until(g, is_another, &pid, 60000));
	guest_free(g);
}

/* ---- and what vwire may do to it ---- */

static void on_helper_event(struct user_helper *h, enum user_event e)
{
	(void)h;
	(void)e;
}

/* Descriptors with a message that has none do not pile up there. */
static void test_it_keeps_no_descriptor(void **state)
{
	struct user_msg m = { .type = USER_RESOLV };
	static struct user_net net;
	struct user_helper h;
	struct error err;
	struct pollfd p;
	int ends[2];

	(void)state;
	unsetenv("VWIRE_USER");
	guest_name_helper();
	net.config = (struct user_config){
		.version = USER_PROTO_VERSION, .ipv4 = 1, .net = htonl(0x0a000200), .mask = htonl(0xffffff00)
	};
	user_helper_init(&h, &net, loop_new("test", &err));
	h.event = on_helper_event;
	if (user_helper_start_wait(&h, &err))
		print_error("%s\n", err.msg);
	assert_true(h.ready);
	assert_int_equal(pipe(ends), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(send_with_fd(h.ctl, &m, user_msg_size(m.type), ends[1]) > 0);
	close(ends[1]);
	p = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, 30000), 1); /* the end: nobody has the other one any more */
	assert_int_equal(read(ends[0], &m, 1), 0);
	close(ends[0]);
	user_helper_end(&h, NULL, 0);
	user_helper_unmap(&h);
	loop_free(h.loop);
}

/* ---- and what it cannot do ---- */

static void test_no_terminal(void **state)
{
	char path[64], to[64] = "";
	struct error err;
	struct guest *g;
	pid_t pid;

	(void)state;
	unsetenv("VWIRE_USER");
	g = guest_new("", &err);
	assert_non_null(g);
	pid = helper_pid(g);
	assert_true(pid > 0);
	assert_int_equal(getsid(pid), pid);
	/* With a sanitizer it keeps the descriptor that reports go to. */
	for (unsigned fd = 0; fd < 3 - (unsigned)SANITIZED; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
		if (readlink(path, to, sizeof(to) - 1) < 0) {
			assert_int_equal(errno, EACCES); /* it is nobody's to look at, but root's */
			continue;
		}
		assert_string_equal(to, "/dev/null");
	}
	guest_free(g);
}

/* What a process that calls fn(arg) behind the filter ends with: what fn returns, or minus the signal. */
static int behind_filter(bool socket_pairs, int (*fn)(const void *arg), const void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		syscall(SYS_exit_group, filter_load(socket_pairs) ? 255 : fn(arg));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* A signal which is none. */
static int send_signal(const void *to)
{
	pid_t pid = to ? *(const pid_t *)to : getpid();

	return syscall(SYS_tgkill, pid, pid, 0) ? errno : 0;
}

static void test_signals(void **state)
{
	pid_t me = getpid();

	(void)state;
	assert_int_equal(behind_filter(false, send_signal, &me), -SIGSYS);
	assert_int_equal(behind_filter(false, send_signal, NULL), 0);
}

static int make_socket(const void *arg)
{
	const int *a = arg;

	return syscall(SYS_socket, a[0], a[1], a[2]) < 0 ? errno : 0;
}

static int make_pair(const void *arg)
{
	const int *a = arg;
	int pair[2];

	return syscall(SYS_socketpair, a[0], a[1], a[2], pair) ? errno : 0;
}

/* TCP, UDP and pings, and nothing else: neither raw packets nor the services behind UNIX sockets. */
static void test_sockets(void **state)
{
	static const struct {
		int socket[3], outcome;
	} all[] = {
		{ { AF_INET, SOCK_STREAM, 0 }, 0 },
		{ { AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP }, 0 },
		{ { AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0 }, 0 },
		{ { AF_INET, SOCK_DGRAM, IPPROTO_UDP }, 0 },
		{ { AF_INET6, SOCK_STREAM, 0 }, 0 },
		{ { AF_INET6, SOCK_STREAM, IPPROTO_TCP }, 0 },
		{ { AF_INET6, SOCK_DGRAM, 0 }, 0 },
		{ { AF_INET6, SOCK_DGRAM, IPPROTO_UDP }, 0 },
		{ { AF_INET, SOCK_RAW, IPPROTO_ICMP }, EACCES },
		{ { AF_INET, SOCK_RAW, IPPROTO_RAW }, EACCES },
		{ { AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 }, EACCES },
		{ { AF_INET, 10 /* SOCK_PACKET */, 0 }, EACCES },
		{ { AF_INET, SOCK_SEQPACKET, 132 /* SCTP */ }, EACCES },
		{ { AF_INET, SOCK_STREAM, 132 }, EACCES },
		{ { AF_INET, SOCK_STREAM, 262 /* MPTCP */ }, EACCES },
		{ { AF_INET, SOCK_DGRAM, 136 /* UDP-Lite */ }, EACCES },
		{ { AF_INET, SOCK_DGRAM, 115 /* L2TP */ }, EACCES },
		{ { AF_INET6, SOCK_DGRAM, IPPROTO_ICMP }, EACCES },
		{ { AF_UNIX, SOCK_STREAM, 0 }, EAFNOSUPPORT },
		{ { AF_UNIX, SOCK_DGRAM, 0 }, EAFNOSUPPORT },
		{ { AF_PACKET, SOCK_RAW, 0 }, -SIGSYS },
		{ { AF_NETLINK, SOCK_RAW, 0 }, -SIGSYS },
		{ { AF_VSOCK, SOCK_STREAM, 0 }, -SIGSYS },
	};
	static const int ping[] = { AF_INET, SOCK_DGRAM, IPPROTO_ICMP },
			 ping6[] = { AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 };
	int allowed = make_socket(ping);

	(void)state;
	for (unsigned pairs = 0; pairs < 2; pairs++) {
		for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
			if (all[i].socket[0] == AF_INET6 && !all[i].outcome && make_socket(all[i].socket))
				continue; /* this host has no IPv6 */
			assert_int_equal(behind_filter(pairs, make_socket, all[i].socket), all[i].outcome);
		}
		assert_int_equal(behind_filter(pairs, make_socket, ping), allowed); /* the host's to say */
		assert_int_equal(behind_filter(pairs, make_socket, ping6), make_socket(ping6));
	}
}

/* With guestfwd: pairs of streams, which reach nobody else. */
static void test_socket_pairs(void **state)
{
	static const int stream[] = { AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0 }, dgram[] = { AF_UNIX, SOCK_DGRAM, 0 };
	static const int inet[] = { AF_INET, SOCK_STREAM, 0 };

	(void)state;
	assert_int_equal(behind_filter(true, make_pair, stream), 0);
	assert_int_equal(behind_filter(true, make_pair, dgram), -SIGSYS);
	assert_int_equal(behind_filter(true, make_pair, inet), -SIGSYS);
	assert_int_equal(behind_filter(false, make_pair, stream), -SIGSYS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_no_terminal, guest_teardown),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_socket_pairs),
		cmocka_unit_test_teardown(test_wakes_do_not_block, teardown),
		cmocka_unit_test_teardown(test_no_descriptor_stays, teardown),
		cmocka_unit_test_teardown(test_one_that_does_nothing_is_ended, teardown),
		cmocka_unit_test_teardown(test_no_command_before_the_start, teardown),
		cmocka_unit_test_teardown(test_nonsense_for_an_answer, teardown),
		cmocka_unit_test_teardown(test_strange_connections, teardown),
		cmocka_unit_test_teardown(test_one_that_gives_up, teardown),
		cmocka_unit_test(test_it_keeps_no_descriptor),
	};
	const char *path = (const char *)getauxval(AT_EXECFN), *name = strrchr(path, '/');
	int failed;

	if (name && !strncmp(name + 1, "hostile-", 8))
		hostile_main(name + 9); /* ends when it is killed */
	if (!mkdtemp(dir))
		return 1;
	chmod(dir, 0755);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
