/* SPDX-License-Identifier: BSD-2-Clause */
/* libslirp and the two rings: see stack.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "user/control.h"
#include "user/stack.h"

#define BUDGET	   64 /* frames in one turn */
#define PORT_TRIES 10
/*
 * The MSS: half of the largest window that a guest can offer to libslirp, so that one segment is on its way while the
 * last is acknowledged; and a divisor of libslirp's buffers of 128 KiB, which it otherwise reallocates, and copies, for
 * each connection (IPv6 has 20 bytes less).
 */
#define STACK_MSS  32768
#define STACK_MTU  (STACK_MSS + 40)
#define CHOKE	   (2 * RING_RECORD_MAX) /* less room than this towards the guest: sockets are not read */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int64_t stack_now_ms(void)
{
	return now_ns() / 1000000;
}

/* ---- what libslirp calls ---- */

static ssize_t on_packet(const void *buf, size_t len, void *opaque)
{
	struct stack *s = opaque;

	toguest_send(&s->toguest, buf, len);
	return (ssize_t)len;
}

static void on_guest_error(const char *msg, void *opaque)
{
	(void)opaque;
	control_log("%s", msg);
}

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return now_ns();
}

static void *on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct stack *s = opaque;

	for (unsigned i = 0; i < STACK_TIMERS; i++) {
		if (!s->timer[i].used) {
			s->timer[i] = (struct stack_timer){ id, cb_opaque, -1, true };
			return &s->timer[i];
		}
	}
	return NULL;
}

static void on_timer_free(void *timer, void *opaque)
{
	(void)opaque;
	if (timer)
		((struct stack_timer *)timer)->used = false;
}

static void on_timer_mod(void *timer, int64_t expires_ms, void *opaque)
{
	(void)opaque;
	if (timer)
		((struct stack_timer *)timer)->expires = expires_ms;
}

static void on_register(int fd, void *opaque)
{
	struct stack *s = opaque;

	if (fd < 0 || fd >= STACK_FDS || s->known[fd])
		return;
	s->known[fd] = true;
	atomic_fetch_add_explicit(&s->shm->stats.sockets, 1, memory_order_relaxed);
}

/* It comes also for sockets that could not be made, and were never registered. */
static void on_unregister(int fd, void *opaque)
{
	struct stack *s = opaque;

	if (fd < 0 || fd >= STACK_FDS || !s->known[fd])
		return;
	s->known[fd] = false;
	atomic_fetch_sub_explicit(&s->shm->stats.sockets, 1, memory_order_relaxed);
}

/* All runs in one thread, which looks again before it sleeps anyway. */
static void on_notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = on_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_register,
	.unregister_poll_fd = on_unregister,
	.notify = on_notify,
	.timer_new_opaque = on_timer_new,
};

/* ---- configuration ---- */

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

static void init_check(struct check *c, const struct user_config *conf)
{
	c->all = !conf->prefilter;
	c->ipv4 = conf->ipv4;
	c->ipv6 = conf->ipv6;
	c->tftp = *conf->tftp;
	c->host = conf->host;
	memcpy(c->host6, conf->host6, sizeof(c->host6));
	c->big_mss = STACK_MSS;
}

static void list_search(const struct user_config *c, const char **list, unsigned max)
{
	const char *p = c->search;

	for (unsigned i = 0; i < c->searches && i + 1 < max && p < c->search + sizeof(c->search); i++) {
		*list++ = p;
		p += strlen(p) + 1;
	}
	*list = NULL;
}

static int on_revents(int idx, void *opaque);

int stack_init(struct stack *s, const struct user_config *c, struct error *err)
{
	const char *search[64];
	SlirpConfig conf = {
		.version = 4,
		.restricted = c->restricted,
		.in_enabled = c->ipv4,
		.vnetwork.s_addr = c->net,
		.vnetmask.s_addr = c->mask,
		.vhost.s_addr = c->host,
		.vdhcp_start.s_addr = c->dhcp_start,
		.vnameserver.s_addr = c->dns,
		.in6_enabled = c->ipv6,
		.vprefix_len = c->prefix_len,
		.vhostname = or_null(c->hostname),
		.tftp_server_name = or_null(c->tftp_server_name),
		.tftp_path = or_null(c->tftp),
		.bootfile = or_null(c->bootfile),
		.vdomainname = or_null(c->domainname),
		.vdnssearch = c->searches ? search : NULL,
		.if_mtu = STACK_MTU,
		.if_mru = STACK_MTU,
	};

	memcpy(&conf.vprefix_addr6, c->prefix6, 16);
	memcpy(&conf.vhost6, c->host6, 16);
	memcpy(&conf.vnameserver6, c->dns6, 16);
	list_search(c, search, ARRAY_SIZE(search));
	init_check(&s->check, c);
	s->toguest = (struct toguest){ .ring = &s->out, .mss = &s->check.mss, .stats = &s->shm->stats };
	s->slirp = slirp_new(&conf, &callbacks, s);
	if (!s->slirp)
		return fail(err, EINVAL, "libslirp %s refuses the configuration", slirp_version_string());
	/* It looks at the clock in here alone: a UDP flow of a guest that speaks first would be out of date at once. */
	slirp_pollfds_poll(s->slirp, 1, on_revents, s);
	return 0;
}

/* A port that is free now: libslirp would take 0 too, but not say what it became. */
static int pick_port(const struct user_fwd *f, uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = f->host_addr };
	int fd = socket(AF_INET, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0), rc = 0;
	socklen_t len = sizeof(a);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || getsockname(fd, (struct sockaddr *)&a, &len))
		rc = -errno;
	close(fd);
	*port = ntohs(a.sin_port);
	return rc;
}

static int add_hostfwd(struct stack *s, const struct user_fwd *f, uint16_t port)
{
	struct in_addr host = { f->host_addr }, guest = { f->guest_addr };

	errno = 0;
	if (!slirp_add_hostfwd(s->slirp, f->udp, host, port, guest, f->guest_port))
		return 0;
	return errno ? -errno : -EIO;
}

int stack_add_fwd(struct stack *s, struct user_fwd *f, struct error *err)
{
	uint16_t port = f->host_port;
	int rc = 0;

	/* Somebody else may be faster. */
	for (unsigned tries = 0; tries < PORT_TRIES; tries++) {
		if (!f->host_port)
			rc = pick_port(f, &port);
		if (!rc)
			rc = add_hostfwd(s, f, port);
		if (rc != -EADDRINUSE || f->host_port)
			break;
	}
	if (rc)
		return fail(err, -rc, "%s", errno_str(-rc));
	f->host_port = port;
	return 0;
}

int stack_del_fwd(struct stack *s, const struct user_fwd *f, struct error *err)
{
	struct in_addr host = { f->host_addr };

	if (!slirp_remove_hostfwd(s->slirp, f->udp, host, f->host_port))
		return 0;
	return fail(err, ENOENT, "there is no such rule");
}

int stack_add_guestfwd(struct stack *s, const struct user_guestfwd *f, const char *path, struct error *err)
{
	struct in_addr addr = { f->addr };

	if (!slirp_add_unix(s->slirp, path, &addr, f->port))
		return 0;
	return fail(
		err, EINVAL,
		"the address must lie in the guest's network, be neither host= nor dns=, and be used once for a port");
}

/* ---- frames from the guest ---- */

static void count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

/*
 * ARP and neighbour discovery may be what frames towards the guest have waited for. libslirp sends those when it is
 * called the next time, and while they wait it does not read the socket that they came from.
 */
static bool tells_address(const uint8_t *frame, uint32_t len)
{
	unsigned type = (unsigned)frame[12] << 8 | frame[13];

	return type == ETHERTYPE_ARP || (type == ETHERTYPE_IPV6 && len > 20 && frame[20] == IPPROTO_ICMPV6);
}

/* Copy once: what is checked is what libslirp gets. */
static void input_frame(struct stack *s, const struct ring_frame *f)
{
	struct user_stats *st = &s->shm->stats;
	uint32_t len = f->len;
	enum user_check why;

	memcpy(s->frame, f->data, f->len);
	why = check_frame(&s->check, s->frame, &len, &f->hdr);
	if (why == USER_PASS) {
		slirp_input(s->slirp, s->frame, (int)len);
		if (tells_address(s->frame, len))
			s->due = 0;
		count(&st->passed_bytes, f->len);
		count(&st->passed, 1);
	} else {
		count(&st->check[why], 1);
		count(&st->filtered, 1);
	}
}

static void wake(struct stack *s)
{
	uint64_t one = 1;

	if (write(s->wake_vwire, &one, sizeof(one)) < 0)
		return; /* the counter is full: vwire has been woken often enough */
}

bool stack_input(struct stack *s)
{
	struct ring_frame f;
	unsigned n = 0;

	while (n < BUDGET && ring_peek(&s->in, &f) == RING_FRAME) {
		input_frame(s, &f);
		ring_pop(&s->in, &f);
		n++;
	}
	if (n && ring_release(&s->in))
		wake(s);
	return n == BUDGET;
}

void stack_flush(struct stack *s)
{
	if (ring_publish(&s->out))
		wake(s);
}

/* ---- sockets ---- */

static bool is_choked(struct stack *s)
{
	return ring_room(&s->out) < CHOKE;
}

static int on_add_poll(int fd, int events, void *opaque)
{
	struct stack *s = opaque;
	short ev = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
			   (events & SLIRP_POLL_PRI ? POLLPRI : 0));

	if (s->poll_n == s->poll_max)
		return -1;
	if (s->choked)
		ev &= POLLOUT;
	/* Errors and hang-ups would be told whatever is asked for. */
	s->poll[s->poll_n] = (struct pollfd){ .fd = ev ? fd : -1, .events = ev };
	return (int)s->poll_n++;
}

static int on_revents(int idx, void *opaque)
{
	struct stack *s = opaque;
	int r;

	if (idx < (int)s->poll_base || idx >= (int)s->poll_n || s->poll[idx].fd < 0)
		return 0;
	r = s->poll[idx].revents;
	/* One readable socket fills at most a window: look for each, as those before it may have used the room. */
	if (r & (POLLIN | POLLHUP | POLLERR | POLLPRI) && is_choked(s))
		r &= POLLOUT;
	return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (r & POLLPRI ? SLIRP_POLL_PRI : 0) | (r & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static int64_t next_timer(const struct stack *s, int64_t due)
{
	for (unsigned i = 0; i < STACK_TIMERS; i++) {
		if (s->timer[i].used && s->timer[i].expires >= 0 && s->timer[i].expires < due)
			due = s->timer[i].expires;
	}
	return due;
}

int stack_fill(struct stack *s)
{
	uint32_t timeout = UINT32_MAX;
	int64_t now = stack_now_ms(), next;

	/* With the ring full, ask for a wake, unless it got room in this moment. */
	s->choked = is_choked(s) && ring_ask_room(&s->out);
	s->poll_n = s->poll_base;
	slirp_pollfds_fill(s->slirp, &timeout, on_add_poll, s);
	/* From the first time it was asked for: what wakes us in between does not put it off. */
	if (timeout != UINT32_MAX)
		s->due = MIN(s->due, now + timeout);
	next = next_timer(s, s->due);
	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 : (int)MIN(next - now, 60000);
}

static void run_timers(struct stack *s, int64_t now)
{
	for (unsigned i = 0; i < STACK_TIMERS; i++) {
		if (s->timer[i].used && s->timer[i].expires >= 0 && s->timer[i].expires <= now) {
			s->timer[i].expires = -1;
			slirp_handle_timer(s->slirp, s->timer[i].id, s->timer[i].cb_opaque);
		}
	}
}

static bool sockets_ready(const struct stack *s)
{
	for (unsigned i = s->poll_base; i < s->poll_n; i++) {
		if (s->poll[i].revents)
			return true;
	}
	return false;
}

void stack_poll(struct stack *s, int ready)
{
	int64_t now = stack_now_ms();

	if (now >= s->due || (ready > 0 && sockets_ready(s))) {
		s->due = INT64_MAX;
		slirp_pollfds_poll(s->slirp, ready < 0, on_revents, s);
	}
	run_timers(s, now);
}
