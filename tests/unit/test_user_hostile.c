/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a vwire-user that was taken over may do to vwire by the descriptors and memory that they share. This program is
 * both: started by a name that begins with "hostile-" it is such a vwire-user, and the rest of the name is what it does.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <jansson.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/unit.h"
#include "unit/userguest.h"
#include "user/filter.h"
#include "user/proto.h"

/* Then vwire-user keeps the descriptor that reports go to. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

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

/* Answers like a good one until it is told to start. */
static void obey(void)
{
	static struct user_msg m, reply;

	while (m.type != USER_START) {
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
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { NULL, 0 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	memcpy(CMSG_DATA(&c.align), &(int){ 0 }, sizeof(int));
	usleep(200000); /* vwire may still be reading the answer to the start */
	sendmsg(USER_CTL_FD, &h, 0);
	for (;;)
		pause();
}

static int hostile_main(const char *what)
{
	obey();
	if (!strcmp(what, "block"))
		block();
	if (!strcmp(what, "smuggle"))
		smuggle();
	return 1;
}

/* ---- vwire ---- */

static char dir[] = "/tmp/vwire-hostile-XXXXXX", link_path[64];

static struct guest *guest_with(const char *what)
{
	struct error err;
	struct guest *g;
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = 0;
	snprintf(link_path, sizeof(link_path), "%s/hostile-%s", dir, what);
	assert_int_equal(symlink(self, link_path), 0);
	setenv("VWIRE_USER", link_path, 1);
	g = guest_new("", &err);
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

/* ---- and what it cannot do ---- */

static pid_t helper_pid(struct guest *g)
{
	json_t *o = net_describe(g->user);
	pid_t pid = (pid_t)json_integer_value(json_object_get(o, "helper"));

	json_decref(o);
	assert_true(pid > 0);
	return pid;
}

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
	assert_int_equal(getsid(pid), pid);
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

/* The wait status of a process that sends a signal, which is none, behind the filter. */
static int signal_filtered(bool self)
{
	pid_t me = getpid(), pid = fork();
	int status;

	if (pid == 0) {
		pid_t to = self ? getpid() : me;

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (filter_load(false))
			_exit(2);
		syscall(SYS_tgkill, to, to, 0);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_signals(void **state)
{
	int status = signal_filtered(false);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	assert_int_equal(signal_filtered(true), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_no_terminal, guest_teardown),
		cmocka_unit_test(test_signals),
		cmocka_unit_test_teardown(test_wakes_do_not_block, teardown),
		cmocka_unit_test_teardown(test_no_descriptor_stays, teardown),
	};
	const char *path = (const char *)getauxval(AT_EXECFN), *name = strrchr(path, '/');
	int failed;

	if (name && !strncmp(name + 1, "hostile-", 8))
		return hostile_main(name + 9);
	if (!mkdtemp(dir))
		return 1;
	chmod(dir, 0755);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
