/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev vde: a port of a Virtual Distributed Ethernet switch, through libvdeplug(3), which is loaded for it.
 *
 * The library opens its sockets itself, and gives no scatter lists: frames that are in pieces are put together in
 * `out`, frames that come in are read to `in` and copied to the window that the peer lent before. Plain frames only.
 *
 * When the switch has no room (EAGAIN) nothing says when it has again: polling the socket does not for all of the
 * library's modules. We look again after a millisecond.
 *
 * The switch is gone when the control socket ends or the data socket fails: link down. The loop lets go of the
 * connection then, and main closes it and connects again, once a second until there is a switch. A connection is closed
 * only when the loop uses it no more, and given to the loop by a call into it.
 */
#include "backend/vde.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/vde_connect.h"
#include "base/iov.h"
#include "base/log.h"

#define BUDGET	  64 /* frames a round */
#define WANT	  1518
#define MAX_FRAME VDE_ETHBUFSIZE
#define RETRY_NS  (NSEC_PER_SEC / 1000)
#define AGAIN_NS  NSEC_PER_SEC /* between attempts to connect again */
#define ANSWER_MS 10000	       /* that a switch has for its answer, at the start */

struct vde {
	struct net_client c;
	VDECONN *conn;
	struct vde_target to;
	struct watch data, ctl;
	struct timer retry;
	bool gone, full;

	/* main's: connecting again */
	struct loop *main;
	struct post lost;
	struct timer again;
	struct vde_attempt *attempt;
	struct watch over;
	bool complained;
	counter connections;
	uint8_t out[MAX_FRAME], in[MAX_FRAME + 1]; /* a byte more than any frame: one that is cut is seen */
};

static struct vde *to_vde(struct net_client *c)
{
	return container_of(c, struct vde, c);
}

static const char *shown(const struct vde *v)
{
	return v->to.sock ? v->to.sock : "(default)";
}

static void let_go(struct vde *v)
{
	watch_del(&v->data);
	watch_del(&v->ctl);
	timer_cancel(&v->retry);
	v->full = false;
}

static void gone(struct vde *v)
{
	if (v->gone)
		return;
	v->gone = true;
	let_go(v);
	net_set_carrier(&v->c, false);
	loop_post(v->main, &v->lost);
}

/* ---- from the switch ---- */

enum round {
	ROUND_FRAME,
	ROUND_EMPTY,
	ROUND_NO_ROOM,
	ROUND_GONE
};

static enum round drop_in(struct vde *v, enum net_drop why)
{
	net_count_tx_in(&v->c, 1);
	net_drop_tx(&v->c, why);
	return ROUND_FRAME;
}

static enum round read_frame(struct vde *v)
{
	static const struct frame_meta plain;
	struct net_window w;
	ssize_t n;
	size_t len;

	if (net_lend(&v->c, WANT, &w))
		return ROUND_NO_ROOM;
	n = libvde.recv(v->conn, v->in, sizeof(v->in), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? ROUND_EMPTY : ROUND_GONE;
	if (n <= 1) /* the library's word for a datagram that was none of the switch */
		return n ? ROUND_FRAME : ROUND_EMPTY;
	len = (size_t)n;
	if (len < ETH_HDR_LEN)
		return drop_in(v, NET_DROP_TOO_SHORT);
	if (len > MAX_FRAME)
		return drop_in(v, NET_DROP_TOO_BIG);
	iov_write_at(w.iov, w.cnt, 0, v->in, MIN(len, w.room));
	if (len <= w.room)
		net_take(&v->c, len, &plain);
	else
		net_take_spilled(&v->c, &w, len, v->in + w.room, &plain);
	return ROUND_FRAME;
}

static void readable(struct watch *watch, uint32_t events)
{
	struct vde *v = container_of(watch, struct vde, data);
	enum round r = ROUND_FRAME;
	unsigned n = 0;

	(void)events;
	while (n < BUDGET && (r = read_frame(v)) == ROUND_FRAME)
		n++;
	if (n)
		net_commit(&v->c);
	if (r == ROUND_NO_ROOM)
		watch_mod(&v->data, 0);
	else if (r == ROUND_GONE)
		gone(v);
	else if (r == ROUND_EMPTY && v->c.draining)
		net_drained(&v->c);
}

/* The control socket is silent after the handshake: its end is the switch's. */
static void ctl_ready(struct watch *watch, uint32_t events)
{
	struct vde *v = container_of(watch, struct vde, ctl);
	char byte[64];

	if (!(events & (EPOLLERR | EPOLLHUP)) && recv(v->ctl.fd, byte, sizeof(byte), MSG_DONTWAIT) > 0)
		return;
	gone(v);
}

/* ---- to the switch ---- */

static ssize_t write_frame(struct vde *v, const struct batch *b, const struct frame *f)
{
	const struct iovec *iov = frame_iov(b, f);
	ssize_t n;

	if (f->cnt > 1)
		iov_read_at(iov, f->cnt, 0, v->out, f->len);
	do
		n = libvde.send(v->conn, f->cnt > 1 ? v->out : iov->iov_base, f->len, MSG_DONTWAIT);
	while (unlikely(n < 0 && errno == EINTR));
	return n;
}

static bool is_full(int code)
{
	return code == EAGAIN || code == ENOBUFS;
}

static unsigned vde_client_send(struct net_client *c, struct batch *b)
{
	struct vde *v = to_vde(c);
	uint64_t bytes = 0;
	unsigned i, out = 0;

	if (v->full)
		return 0;
	for (i = 0; i < b->n; i++) {
		const struct frame *f = &b->frame[i];

		if (v->gone) {
			net_drop_rx(c, NET_DROP_PEER_GONE);
		} else if (unlikely(f->len < ETH_HDR_LEN || f->len > MAX_FRAME)) {
			net_drop_rx(c, f->len < ETH_HDR_LEN ? NET_DROP_TOO_SHORT : NET_DROP_TOO_BIG);
		} else if (likely(write_frame(v, b, f) >= 0)) {
			bytes += f->len;
			out++;
		} else if (is_full(errno)) {
			v->full = true;
			timer_arm(&v->retry, clock_now(CLOCK_HOST_NS) + RETRY_NS);
			break;
		} else {
			net_drop_rx(c, NET_DROP_WIRE_REFUSED);
		}
	}
	net_count_rx_out(c, out, bytes);
	return i;
}

static void retry(struct timer *t)
{
	struct vde *v = container_of(t, struct vde, retry);

	v->full = false;
	net_wake_peer(&v->c, NET_WAKE_ROOM);
}

/* ---- client ---- */

static void vde_wake(struct net_client *c, unsigned what)
{
	struct vde *v = to_vde(c);

	if ((what & NET_WAKE_ROOM) && v->data.loop)
		watch_mod(&v->data, EPOLLIN);
}

static void watch_switch(struct vde *v)
{
	if (watch_add(v->c.loop, &v->data, EPOLLIN) < 0 ||
	    (v->ctl.fd >= 0 && watch_add(v->c.loop, &v->ctl, EPOLLIN) < 0))
		gone(v);
}

static void vde_start(struct net_client *c)
{
	struct vde *v = to_vde(c);

	if (!v->gone)
		watch_switch(v);
}

static void vde_quiesce(struct net_client *c)
{
	let_go(to_vde(c));
}

static json_t *vde_describe(struct net_client *c)
{
	struct vde *v = to_vde(c);

	return json_pack("{s:s, s:b, s:I}", "sock", v->to.sock ? v->to.sock : "", "gone", v->gone, "connections",
			 (json_int_t)counter_get(&v->connections));
}

static void vde_info(struct net_client *c, char *buf, size_t size)
{
	struct vde *v = to_vde(c);

	snprintf(buf, size, "sock=%s,fd=%d", v->to.sock ? v->to.sock : "", v->data.fd);
}

/* ---- the connection; main ---- */

/* The library's modules do not all heed MSG_DONTWAIT. */
static void never_wait(int fd)
{
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void adopt(struct vde *v, VDECONN *conn)
{
	v->conn = conn;
	never_wait(libvde.datafd(conn));
	watch_init(&v->data, "vde", libvde.datafd(conn), readable);
	watch_init(&v->ctl, "vde control", libvde.ctlfd(conn), ctl_ready);
	counter_add(&v->connections, 1);
}

static void close_connection(struct vde *v)
{
	if (v->conn)
		libvde.close(v->conn);
	v->conn = NULL;
}

static void try_later(struct vde *v)
{
	if (timer_arm(&v->again, clock_now(CLOCK_HOST_NS) + AGAIN_NS) < 0)
		log_err("%s: no memory for a timer; it stays down", v->c.name);
}

static void on_lost(struct post *p)
{
	struct vde *v = container_of(p, struct vde, lost);

	log_limited(LOG_WARN, "%s: the switch %s is gone; link down until it is there again", v->c.name, shown(v));
	close_connection(v);
	v->complained = false;
	try_later(v);
}

static void go_on(void *arg)
{
	struct vde *v = arg;

	v->gone = false;
	if (v->c.started)
		watch_switch(v);
	if (!v->gone)
		net_set_carrier(&v->c, true);
}

static void failed(struct vde *v, const struct error *why)
{
	if (!v->complained)
		log_warn("%s: %s: %s; trying again", v->c.name, shown(v), why->msg);
	v->complained = true;
	try_later(v);
}

static void on_over(struct watch *w, uint32_t events)
{
	struct vde *v = container_of(w, struct vde, over);
	struct error err;
	VDECONN *conn;

	(void)events;
	watch_del(&v->over);
	conn = vde_attempt_take(v->attempt, &err);
	vde_attempt_free(v->attempt);
	v->attempt = NULL;
	if (!conn) {
		failed(v, &err);
		return;
	}
	adopt(v, conn);
	log_limited(LOG_INFO, "%s: connected to the switch %s again; link up", v->c.name, shown(v));
	loop_call(v->c.loop, go_on, v);
}

static void connect_again(struct timer *t)
{
	struct vde *v = container_of(t, struct vde, again);
	struct error err;

	v->attempt = vde_attempt_new(&v->to, &err);
	if (!v->attempt) {
		failed(v, &err);
		return;
	}
	watch_init(&v->over, "vde attempt", vde_attempt_fd(v->attempt), on_over);
	if (watch_add(v->main, &v->over, EPOLLIN) < 0) {
		vde_attempt_free(v->attempt);
		v->attempt = NULL;
		try_later(v);
	}
}

static void vde_free(struct vde *v)
{
	close_connection(v);
	vde_attempt_free(v->attempt);
	free(v->to.sock);
	free(v->to.group);
	free(v);
}

static void vde_destroy(struct net_client *c)
{
	struct vde *v = to_vde(c);

	loop_unpost(v->main, &v->lost);
	timer_cancel(&v->again);
	watch_del(&v->over);
	vde_free(v);
}

static const struct net_client_ops vde_ops = {
	.type = "vde",
	.send = vde_client_send,
	.wake = vde_wake,
	.start = vde_start,
	.quiesce = vde_quiesce,
	.describe = vde_describe,
	.info = vde_info,
	.destroy = vde_destroy,
};

/* ---- options ---- */

struct vde_opts {
	char *sock, *group, *mode;
	uint16_t port;
};

#define O(field, name, kind, ...) OPT_F(struct vde_opts, field, name, kind, __VA_ARGS__)

static const struct opt vde_options[] = {
	O(sock, "sock", OPT_STR, .arg = "path|url", .help = "the switch: its control folder, or a URL of libvdeplug"),
	O(port, "port", OPT_UINT, .def = "0", .help = "port of the switch; 0: any"),
	O(group, "group", OPT_STR, .arg = "name", .help = "group that our socket is given"),
	O(mode, "mode", OPT_STR, .def = "0700", .arg = "octal", .help = "access rights of our socket"),
	OPT_END,
};

static int parse_mode(const char *text, mode_t *mode, struct error *err)
{
	char *end;
	unsigned long n = strtoul(text, &end, 8);

	if (*text < '0' || *text > '7' || *end || n > 07777)
		return fail(err, EINVAL, "mode=%s: octal access rights are wanted, from 0 to 7777, such as 0700", text);
	*mode = (mode_t)n;
	return 0;
}

/* The first time: who starts us wants to know. */
static int connect_switch(struct vde *v, struct error *err)
{
	struct vde_attempt *a;
	VDECONN *conn = NULL;
	int ret = vde_library_open(err);

	a = ret ? NULL : vde_attempt_new(&v->to, err);
	if (!a)
		return error_prefix(err, "sock=%s: ", shown(v)), ret ? ret : -EINVAL;
	if (!vde_attempt_wait(a, ANSWER_MS)) {
		ret = fail(err, ETIMEDOUT,
			   "sock=%s: who listens there does not answer as a switch with a free port does", shown(v));
	} else if (!(conn = vde_attempt_take(a, err))) {
		error_prefix(err, "sock=%s: ", shown(v));
		ret = fail(err, ECONNREFUSED, "%s; is one running there? vde_switch -s PATH", err->msg);
	}
	vde_attempt_free(a);
	if (conn)
		adopt(v, conn);
	return ret;
}

static void init_client(struct vde *v, const char *id, struct loop *loop)
{
	v->c.ops = &vde_ops;
	v->c.kind = NET_KIND_BACKEND;
	v->c.loop = loop;
	v->c.max_frame = MAX_FRAME;
	snprintf(v->c.name, sizeof(v->c.name), "%s", id);
	v->main = net_main_loop() ? net_main_loop() : loop;
	timer_init(&v->retry, loop, CLOCK_HOST_NS, retry);
	timer_init(&v->again, v->main, CLOCK_HOST_NS, connect_again);
	post_init(&v->lost, on_lost);
}

static int take_target(struct vde_target *t, const struct vde_opts *o, struct error *err)
{
	t->port = o->port;
	t->sock = o->sock ? strdup(o->sock) : NULL;
	t->group = o->group ? strdup(o->group) : NULL;
	if ((o->sock && !t->sock) || (o->group && !t->group))
		return fail(err, ENOMEM, "no memory");
	return parse_mode(o->mode, &t->mode, err);
}

static int vde_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	struct vde *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return fail(err, ENOMEM, "no memory");
	init_client(v, id, loop);
	ret = take_target(&v->to, opts, err) ?: connect_switch(v, err) ?: net_client_add(&v->c, err);
	if (ret)
		vde_free(v);
	return ret;
}

const struct netdev_type vde_netdev = {
	.name = "vde",
	.help = "a port of a Virtual Distributed Ethernet switch",
	.opts = vde_options,
	.opts_size = sizeof(struct vde_opts),
	.create = vde_create,
};
