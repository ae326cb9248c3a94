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
 * The switch is gone when the control socket ends or the data socket fails: link down. The library's way to connect
 * waits for the switch, which a loop must not: it is not tried again.
 */
#include "backend/vde.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libvdeplug.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/iov.h"
#include "base/library.h"
#include "base/log.h"

#define BUDGET	  64 /* frames a round */
#define WANT	  1518
#define MAX_FRAME VDE_ETHBUFSIZE
#define RETRY_NS  (NSEC_PER_SEC / 1000)

static struct vde_functions {
	__typeof__(vde_open_real) *open_real;
	__typeof__(vde_recv) *recv;
	__typeof__(vde_send) *send;
	__typeof__(vde_datafd) *datafd;
	__typeof__(vde_ctlfd) *ctlfd;
	__typeof__(vde_close) *close;
} libvde;

#define FN(name) LIBRARY_FN(struct vde_functions, name, vde_##name)

static const struct library_fn vde_fn[] = {
	FN(open_real), FN(recv), FN(send), FN(datafd), FN(ctlfd), FN(close),
};

static const struct library vde_library = {
	.sonames = (const char *const[]){ "libvdeplug.so.2", NULL },
	.package = "libvdeplug2",
	.fn = vde_fn,
	.n = ARRAY_SIZE(vde_fn),
};

struct vde {
	struct net_client c;
	VDECONN *conn;
	char *sock; /* as the user wrote it; NULL: the library's default */
	struct watch data, ctl;
	struct timer retry;
	bool gone, full;
	uint8_t out[MAX_FRAME], in[MAX_FRAME + 1]; /* a byte more than any frame: one that is cut is seen */
};

static struct vde *to_vde(struct net_client *c)
{
	return container_of(c, struct vde, c);
}

static void gone(struct vde *v)
{
	if (!v->gone)
		log_warn("%s: the switch %s is gone; link down", v->c.name, v->sock ? v->sock : "(default)");
	v->gone = true;
	watch_del(&v->data);
	watch_del(&v->ctl);
	timer_cancel(&v->retry);
	net_set_carrier(&v->c, false);
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

static void vde_start(struct net_client *c)
{
	struct vde *v = to_vde(c);

	if (v->gone)
		return;
	if (watch_add(c->loop, &v->data, EPOLLIN) < 0 || (v->ctl.fd >= 0 && watch_add(c->loop, &v->ctl, EPOLLIN) < 0))
		gone(v);
}

static void vde_quiesce(struct net_client *c)
{
	struct vde *v = to_vde(c);

	watch_del(&v->data);
	watch_del(&v->ctl);
	timer_cancel(&v->retry);
	v->full = false;
}

static json_t *vde_describe(struct net_client *c)
{
	struct vde *v = to_vde(c);

	return json_pack("{s:s, s:b}", "sock", v->sock ? v->sock : "", "gone", v->gone);
}

static void vde_info(struct net_client *c, char *buf, size_t size)
{
	struct vde *v = to_vde(c);

	snprintf(buf, size, "sock=%s,fd=%d", v->sock ? v->sock : "", v->data.fd);
}

static void vde_free(struct vde *v)
{
	if (v->conn)
		libvde.close(v->conn);
	free(v->sock);
	free(v);
}

static void vde_destroy(struct net_client *c)
{
	vde_free(to_vde(c));
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

static int connect_switch(struct vde *v, const struct vde_opts *o, struct error *err)
{
	struct vde_open_args args = { .port = o->port, .group = o->group };
	const char *shown = o->sock ? o->sock : "(default)";
	int ret = parse_mode(o->mode, &args.mode, err);

	if (ret)
		return ret;
	ret = library_load(&vde_library, &libvde, err);
	if (ret)
		return error_prefix(err, "sock=%s: ", shown), ret;
	errno = 0;
	v->conn = libvde.open_real(v->sock, (char *)"vwire", LIBVDEPLUG_INTERFACE_VERSION, &args);
	if (!v->conn)
		return fail(err, errno ? errno : ECONNREFUSED,
			    "sock=%s: cannot connect to the switch: %s; is one running there? vde_switch -s PATH",
			    shown, errno ? errno_str(errno) : "it refused");
	return 0;
}

/* The library's modules do not all heed MSG_DONTWAIT. */
static void never_wait(int fd)
{
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void init_client(struct vde *v, const char *id, struct loop *loop)
{
	v->c.ops = &vde_ops;
	v->c.kind = NET_KIND_BACKEND;
	v->c.loop = loop;
	v->c.max_frame = MAX_FRAME;
	snprintf(v->c.name, sizeof(v->c.name), "%s", id);
	never_wait(libvde.datafd(v->conn));
	watch_init(&v->data, "vde", libvde.datafd(v->conn), readable);
	watch_init(&v->ctl, "vde control", libvde.ctlfd(v->conn), ctl_ready);
	timer_init(&v->retry, loop, CLOCK_HOST_NS, retry);
}

static int vde_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct vde_opts *o = opts;
	struct vde *v = calloc(1, sizeof(*v));
	int ret;

	if (!v || (o->sock && !(v->sock = strdup(o->sock)))) {
		free(v);
		return fail(err, ENOMEM, "no memory");
	}
	ret = connect_switch(v, o, err);
	if (!ret) {
		init_client(v, id, loop);
		ret = net_client_add(&v->c, err);
	}
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
