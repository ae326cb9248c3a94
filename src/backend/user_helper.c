/* SPDX-License-Identifier: BSD-2-Clause */
/* One life of vwire-user: see user_helper.h. */
#include "backend/user_helper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"

#define START_TIMEOUT_MS 10000
#define ASK_TIMEOUT_MS	 3000
#define CONFIG_FDS	 3

static watch_fn on_control;

void user_helper_init(struct user_helper *h, struct user_net *net, struct loop *main_loop)
{
	memset(h, 0, sizeof(*h));
	h->net = net;
	h->loop = main_loop;
	h->ctl = h->wake_user = h->woken_user = h->wake_vwire = -1;
	h->child.pidfd = -1;
}

/* ---- messages ---- */

static int send_msg(int ctl, const struct user_msg *m, const int *fds, unsigned n)
{
	union {
		char buf[CMSG_SPACE(CONFIG_FDS * sizeof(int))];
		struct cmsghdr align;
	} c = { 0 };
	struct iovec iov = { (void *)m, user_msg_size(m->type) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		h.msg_control = c.buf;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c.align = (struct cmsghdr){ CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&c.align), fds, n * sizeof(int));
	}
	return sendmsg(ctl, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* The descriptor that came along, if any; more than one is against the rules, and the kernel closed the rest. */
static int take_fd(struct msghdr *h)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* 1: a message; 0: none now; -errno: gone, or nonsense. */
static int recv_msg(int ctl, struct user_msg *m, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = CMSG_LEN(sizeof(int))
	};
	ssize_t n = recvmsg(ctl, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	/* An empty message looks like the end of the file, but may have brought a descriptor. */
	*fd = take_fd(&h);
	if (!n && *fd < 0)
		return -ECONNRESET;
	if (n < (ssize_t)sizeof(m->type) || m->type < USER_REPLY || (size_t)n != user_msg_size(m->type) ||
	    (h.msg_flags & MSG_TRUNC)) {
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		return -EPROTO;
	}
	return 1;
}

/* Text from an untrusted process goes to a terminal: printable only. */
static void clean_text(char *s, size_t size)
{
	s[size - 1] = 0;
	for (; *s; s++) {
		if (*s < ' ' || *s > '~')
			*s = '?';
	}
}

/* ---- the configuration, request by request ---- */

static uint32_t read_resolv(char *text)
{
	struct open_request r = { .kind = OPEN_FILE, .path = "/etc/resolv.conf", .flags = O_RDONLY };
	int fd = open_request(&r, NULL);
	ssize_t n = fd >= 0 ? read(fd, text, USER_RESOLV_MAX) : 0;

	if (fd >= 0)
		close(fd);
	return n > 0 ? (uint32_t)n : 0;
}

static void make_resolv(struct user_helper *h, struct user_msg *m)
{
	h->resolv_len = read_resolv(h->resolv);
	m->type = USER_RESOLV;
	m->resolv.len = h->resolv_len;
	memcpy(m->resolv.text, h->resolv, h->resolv_len);
}

/* Request number h->step; false: all are done. */
static bool make_request(struct user_helper *h, struct user_msg *m)
{
	const struct user_net *n = h->net;
	unsigned i = h->step;

	memset(m, 0, sizeof(*m));
	if (i == 0) {
		m->type = USER_CONFIG;
		m->config = n->config;
		m->config.pidns = h->child.pidns;
		m->config.forwards = USER_FWD_MAX;
		return true;
	}
	if (i == 1) {
		make_resolv(h, m);
		return true;
	}
	i -= 2;
	if (i < n->n_fwd) {
		m->type = USER_FWD_ADD;
		m->fwd = n->fwd[i].fwd;
		/* After a death the port is to be the same. */
		if (!m->fwd.host_port)
			m->fwd.host_port = n->fwd[i].picked;
		return true;
	}
	i -= n->n_fwd;
	if (i < n->n_guestfwd) {
		m->type = USER_GUESTFWD;
		m->guestfwd = n->guestfwd[i].fwd;
		return true;
	}
	m->type = USER_START;
	return i == n->n_guestfwd;
}

static int send_step(struct user_helper *h, int memfd)
{
	const int fds[CONFIG_FDS] = { memfd, h->woken_user, h->wake_vwire };
	struct user_msg m;
	int rc;

	if (!make_request(h, &m))
		return 0;
	rc = send_msg(h->ctl, &m, fds, h->step ? 0 : CONFIG_FDS);
	if (!rc)
		h->owed++;
	return rc;
}

static int guestfwd_error(const struct user_guestfwd_rule *r, int code, const char *why, struct error *err)
{
	struct in_addr a = { r->fwd.addr };
	char addr[INET_ADDRSTRLEN];

	return fail(err, code, "guestfwd=tcp:%s:%u-%.127s: %s", inet_ntop(AF_INET, &a, addr, sizeof(addr)), r->fwd.port,
		    r->target, why);
}

/* The error of the request that was refused, in the words of the option that it came from. */
static int refused(struct user_helper *h, struct error *err)
{
	struct user_net *n = h->net;
	int code = h->last.error > 0 && h->last.error < 4096 ? h->last.error : EPROTO;
	unsigned i = h->step - 2;

	if (h->step >= 2 && i < n->n_fwd) {
		n->fwd[i].picked = 0; /* somebody else has it by now */
		return user_fwd_error(n->fwd[i].text, &n->fwd[i].fwd, code, err);
	}
	i -= n->n_fwd;
	if (h->step >= 2 && i < n->n_guestfwd)
		return guestfwd_error(&n->guestfwd[i], code, h->last.text, err);
	return fail(err, code, "%s", h->last.text);
}

void user_helper_picked(const struct user_helper *h, struct user_fwd_rule *r)
{
	if (r->fwd.host_port || !h->last.port || r->picked == h->last.port)
		return;
	r->picked = h->last.port;
	log_info("hostfwd=%s: the port of the host is %u", r->text, r->picked);
}

/* The reply to the step in hand. 0: go on; -errno with h->error. */
static int next_step(struct user_helper *h)
{
	int rc;

	if (h->last.error)
		return refused(h, &h->error);
	if (h->step >= 2 && h->step - 2 < h->net->n_fwd)
		user_helper_picked(h, &h->net->fwd[h->step - 2]);
	h->step++;
	if (h->step == 3 + h->net->n_fwd + h->net->n_guestfwd) {
		h->layers = h->last.layers;
		h->ready = true;
		return 0;
	}
	rc = send_step(h, -1);
	return rc ? fail(&h->error, -rc, "cannot talk to vwire-user: %s", errno_str(-rc)) : 0;
}

/* ---- what comes ---- */

static int take_reply(struct user_helper *h, struct user_msg *m)
{
	if (!h->owed)
		return fail(&h->error, EPROTO, "vwire-user answered without having been asked");
	h->owed--;
	h->last = m->reply;
	clean_text(h->last.text, sizeof(h->last.text));
	return h->ready ? 0 : next_step(h);
}

static int take_message(struct user_helper *h, struct user_msg *m, int fd)
{
	if (m->type == USER_SPAWN && fd >= 0 && m->spawn_index < h->net->n_guestfwd && h->ready) {
		h->spawn(h, m->spawn_index, fd);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (m->type == USER_REPLY)
		return take_reply(h, m);
	if (m->type == USER_SPAWN)
		return fail(&h->error, EPROTO, "vwire-user asked for a command that there is not, or too early");
	clean_text(m->log, sizeof(m->log));
	log_limited(LOG_DEBUG, "vwire-user: %s", m->log);
	return 0;
}

/* All messages that are there, but not for ever. 0, or -errno with h->error. */
static int receive(struct user_helper *h)
{
	struct user_msg m;
	int fd, rc;

	for (unsigned i = 0; i < 64; i++) {
		rc = recv_msg(h->ctl, &m, &fd);
		if (rc == -ECONNRESET || rc == -EPIPE)
			return fail(&h->error, -rc, "vwire-user ended");
		if (rc < 0)
			return fail(&h->error, -rc, "vwire-user speaks nonsense: %s", errno_str(-rc));
		if (!rc)
			return 0;
		rc = take_message(h, &m, fd);
		if (rc)
			return rc;
	}
	return 0;
}

static void on_control(struct watch *w, uint32_t events)
{
	struct user_helper *h = container_of(w, struct user_helper, watch);
	bool was_ready = h->ready;

	(void)events;
	if (receive(h))
		h->event(h, USER_EVENT_DEAD);
	else if (h->ready && !was_ready)
		h->event(h, USER_EVENT_READY);
}

/* ---- life ---- */

/*
 * vwire-user is woken by a pipe and not by an eventfd: an eventfd's flags would be shared with it, and if it took away
 * O_NONBLOCK and filled the counter, the loop would wait for it. The pipe's end that we write to is ours alone. The
 * other one stays open here too, so that no write meets a pipe without a reader.
 */
static bool make_wakes(struct user_helper *h)
{
	int wake[2];

	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK))
		return false;
	h->woken_user = wake[0];
	h->wake_user = wake[1];
	fcntl(h->wake_user, F_SETPIPE_SZ, 4096); /* a hint: as many bytes as wakes that nobody heard */
	h->wake_vwire = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return h->wake_vwire >= 0;
}

static int make_shared(struct user_helper *h, int *memfd, struct error *err)
{
	int fd = memfd_create("vwire-user", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	*memfd = fd;
	if (fd < 0 || ftruncate(fd, USER_SHM_SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fail(err, errno, "cannot make shared memory: %s", errno_str(errno));
	h->shm = mmap(NULL, USER_SHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (h->shm == MAP_FAILED)
		h->shm = NULL;
	h->to_user = ring_map(fd, USER_SHM_PAGE, USER_RING_SIZE);
	h->to_vwire = ring_map(fd, USER_SHM_PAGE + USER_RING_SIZE, USER_RING_SIZE);
	if (!h->shm || !h->to_user || !h->to_vwire || !make_wakes(h))
		return fail(err, errno, "cannot map shared memory: %s", errno_str(errno));
	return 0;
}

static int start_process(struct user_helper *h, struct error *err)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return fail(err, errno, "cannot make a socket: %s", errno_str(errno));
	rc = user_spawn(&h->child, pair[1], err);
	close(pair[1]);
	if (rc)
		close(pair[0]);
	else
		h->ctl = pair[0];
	return rc;
}

static int start(struct user_helper *h, struct error *err)
{
	int memfd = -1, rc;

	h->step = h->owed = 0;
	h->ready = false;
	h->layers = 0;
	rc = make_shared(h, &memfd, err) ?: start_process(h, err);
	if (!rc) {
		rc = send_step(h, memfd);
		if (rc)
			fail(err, -rc, "cannot talk to vwire-user: %s", errno_str(-rc));
	}
	if (memfd >= 0)
		close(memfd);
	if (rc) {
		user_helper_end(h, NULL, 0);
		user_helper_unmap(h);
	}
	return rc;
}

static int watch_control(struct user_helper *h, struct error *err)
{
	int rc;

	watch_init(&h->watch, "user control", h->ctl, on_control);
	rc = watch_add(h->loop, &h->watch, EPOLLIN);
	return rc ? fail(err, -rc, "cannot watch vwire-user: %s", errno_str(-rc)) : 0;
}

int user_helper_start(struct user_helper *h, struct error *err)
{
	int rc = start(h, err);

	if (rc)
		return rc;
	rc = watch_control(h, err);
	if (rc) {
		user_helper_end(h, NULL, 0);
		user_helper_unmap(h);
	}
	return rc;
}

/* Wait until `*done` or an error, at most so long. */
static int wait_until(struct user_helper *h, bool (*done)(const struct user_helper *h), int timeout_ms)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	struct pollfd p = { .fd = h->ctl, .events = POLLIN };
	int rc = 0;

	while (!rc && !done(h)) {
		uint64_t now = clock_now(CLOCK_HOST_NS);

		if (now >= end)
			return fail(&h->error, ETIMEDOUT, "vwire-user does not answer");
		if (poll(&p, 1, (int)((end - now) / NSEC_PER_MSEC) + 1) > 0)
			rc = receive(h);
	}
	return rc;
}

static bool is_ready(const struct user_helper *h)
{
	return h->ready;
}

static bool all_answered(const struct user_helper *h)
{
	return !h->owed;
}

int user_helper_start_wait(struct user_helper *h, struct error *err)
{
	char how[64] = "";
	int rc = start(h, err);

	if (rc)
		return rc;
	rc = wait_until(h, is_ready, START_TIMEOUT_MS);
	if (rc)
		fail(err, -rc, "%s", h->error.msg);
	else
		rc = watch_control(h, err);
	if (!rc)
		return 0;
	user_helper_end(h, how, sizeof(how));
	user_helper_unmap(h);
	if (rc == -ECONNRESET || rc == -EPIPE)
		fail(err, -rc, "vwire-user ended while it was configured: %s", how);
	return rc;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void user_helper_end(struct user_helper *h, char *how, size_t size)
{
	if (h->ctl >= 0)
		watch_del(&h->watch);
	close_fd(&h->ctl);
	user_child_end(&h->child, how, size);
	h->ready = false;
}

void user_helper_unmap(struct user_helper *h)
{
	if (h->shm)
		munmap(h->shm, USER_SHM_PAGE);
	ring_unmap(h->to_user, USER_RING_SIZE);
	ring_unmap(h->to_vwire, USER_RING_SIZE);
	h->shm = NULL;
	h->to_user = h->to_vwire = NULL;
	close_fd(&h->wake_user);
	close_fd(&h->woken_user);
	close_fd(&h->wake_vwire);
}

/* ---- while it runs ---- */

int user_helper_ask(struct user_helper *h, const struct user_msg *m, struct error *err)
{
	int rc;

	if (!h->ready)
		return fail(err, EAGAIN, "vwire-user is not running; try again when the link is up");
	rc = send_msg(h->ctl, m, NULL, 0);
	if (rc)
		return fail(err, -rc, "cannot talk to vwire-user: %s", errno_str(-rc));
	h->owed++;
	rc = wait_until(h, all_answered, ASK_TIMEOUT_MS);
	if (rc) {
		fail(err, -rc, "%s", h->error.msg);
		/* One that is slow may still answer. What else went wrong nobody would hear of again. */
		if (rc != -ETIMEDOUT)
			h->event(h, USER_EVENT_DEAD);
		return rc;
	}
	return h->last.error ? fail(err, h->last.error > 0 && h->last.error < 4096 ? h->last.error : EPROTO, "%s",
				    h->last.text) :
			       0;
}

void user_helper_resolv(struct user_helper *h)
{
	struct user_msg m = { 0 };
	char old[USER_RESOLV_MAX];
	uint32_t old_len = h->resolv_len;

	if (!h->ready)
		return;
	memcpy(old, h->resolv, old_len);
	make_resolv(h, &m);
	if (h->resolv_len == old_len && !memcmp(old, h->resolv, old_len))
		return;
	if (!send_msg(h->ctl, &m, NULL, 0))
		h->owed++;
}
