/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev af-xdp: a queue of an interface of the host by an AF_XDP socket (the kernel's
 * Documentation/networking/af_xdp.rst), one net client a queue.
 *
 * What the interface receives goes past the host's stack to us, and what we send goes straight to its driver. Frames
 * lie in memory that we share with the kernel, the umem, in chunks of XSK_CHUNK bytes. Half of the chunks are for
 * receiving: they go round by the fill ring (ours to give), the rx ring (full ones) and back. The other half are for
 * sending: from the stack free[] by the tx ring to the kernel, and back by the completion ring. A ring has a place for
 * each chunk of its half, so that one that we hold always finds its place.
 *
 * The guest's memory is no part of the umem: each frame is copied once on its way, either way. There are no offloads:
 * what the guest leaves to its device, the core does.
 *
 * When all chunks for sending are under way we look again after a fraction of a millisecond: the socket is said to be
 * writable as soon as its ring has room, which is before the chunks are back.
 */
#include "backend/af_xdp.h"

#include <errno.h>
#include <jansson.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "backend/xsk.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/open.h"

#define BUDGET	   64		     /* frames a round */
#define MAX_FRAME  (XSK_CHUNK - 256) /* the kernel keeps a headroom for XDP in front of what it receives */
#define KICKS_MAX  4 /* system calls a batch: without a driver's help the kernel sends 32 frames a call */
#define RETRY_NS   (NSEC_PER_SEC / 5000)
#define QUEUES_MAX 64

enum xdp_mode {
	MODE_AUTO,
	MODE_NATIVE,
	MODE_SKB
};

struct xdp {
	struct net_client c;
	char ifname[IFNAMSIZ];
	unsigned host_queue;
	enum xdp_mode mode; /* that it got */

	struct xsk sock;
	struct xdp_prog *prog;
	uint64_t free[XSK_CHUNKS]; /* addresses in the umem */
	unsigned n_free;

	struct watch watch;
	struct timer retry;
	bool full, down; /* no free chunk; the interface is down, as the kernel last said */
};

static struct xdp *to_xdp(struct net_client *c)
{
	return container_of(c, struct xdp, c);
}

/* ---- from the interface ---- */

/* The chunk goes back to the kernel, which takes the address of its beginning. It has a place for each. */
static void give_back(struct xdp *x, uint64_t addr)
{
	*xsk_addr(&x->sock.fill, 0) = addr & ~(uint64_t)(XSK_CHUNK - 1);
	xsk_filled(&x->sock.fill, 1);
}

/* False: the peer has no room, nothing was done. */
static bool take_in(struct xdp *x, const struct xdp_desc *d)
{
	static const struct frame_meta plain;
	const uint8_t *p = x->sock.umem + d->addr;
	struct net_window w;

	if (net_lend(&x->c, d->len, &w))
		return false;
	if (d->len < ETH_HDR_LEN) {
		net_count_tx_in(&x->c, 1);
		net_drop_tx(&x->c, NET_DROP_TOO_SHORT);
		return true;
	}
	iov_write_at(w.iov, w.cnt, 0, p, MIN((size_t)d->len, w.room));
	if (d->len <= w.room)
		net_take(&x->c, d->len, &plain);
	else
		net_take_spilled(&x->c, &w, d->len, p + w.room, &plain);
	return true;
}

static void receive(struct xdp *x)
{
	uint32_t n = MIN(xsk_ready(&x->sock.rx), (uint32_t)BUDGET), i;

	for (i = 0; i < n; i++) {
		const struct xdp_desc *d = xsk_desc(&x->sock.rx, i);

		if (!take_in(x, d))
			break;
		give_back(x, d->addr);
	}
	xsk_taken(&x->sock.rx, i);
	if (i < n)
		watch_mod(&x->watch, 0);
	if (i)
		net_commit(&x->c);
	else if (!n && x->c.draining)
		net_drained(&x->c);
	/* Some drivers wait for a word after the fill ring was empty. */
	if (i && xsk_needs_wakeup(&x->sock.fill))
		recvfrom(x->watch.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void ready(struct watch *w, uint32_t events)
{
	struct xdp *x = container_of(w, struct xdp, watch);

	if (events & (EPOLLERR | EPOLLHUP)) {
		log_warn("%s: the socket of %s failed (%s); link down", x->c.name, x->ifname,
			 if_nametoindex(x->ifname) ? "error" : "the interface is gone");
		watch_del(&x->watch);
		net_set_carrier(&x->c, false);
		return;
	}
	receive(x);
}

/* ---- to the interface ---- */

static void reclaim(struct xdp *x)
{
	uint32_t n = MIN(xsk_ready(&x->sock.comp), XSK_CHUNKS - x->n_free);

	for (uint32_t i = 0; i < n; i++)
		x->free[x->n_free++] = *xsk_addr(&x->sock.comp, i) & ~(uint64_t)(XSK_CHUNK - 1);
	xsk_taken(&x->sock.comp, n);
}

static void put_out(struct xdp *x, const struct batch *b, const struct frame *f)
{
	struct xdp_desc *d = xsk_desc(&x->sock.tx, 0);

	*d = (struct xdp_desc){ .addr = x->free[--x->n_free], .len = f->len };
	iov_read_at(frame_iov(b, f), f->cnt, 0, x->sock.umem + d->addr, f->len);
	xsk_filled(&x->sock.tx, 1);
}

/* Frames of the batch that have a place, put there. Returns how many were handled, drops among them. */
static unsigned fill_ring(struct xdp *x, struct batch *b, unsigned *sent, uint64_t *bytes)
{
	unsigned i;

	for (i = 0; i < b->n; i++) {
		const struct frame *f = &b->frame[i];

		if (unlikely(f->len < ETH_HDR_LEN || f->len > MAX_FRAME)) {
			net_drop_rx(&x->c, f->len < ETH_HDR_LEN ? NET_DROP_TOO_SHORT : NET_DROP_TOO_BIG);
			continue;
		}
		if (!x->n_free || !xsk_room(&x->sock.tx)) {
			if (!x->down)
				break;
			net_drop_rx(&x->c, NET_DROP_TAP_DOWN);
			continue;
		}
		put_out(x, b, f);
		*bytes += f->len;
		++*sent;
	}
	return i;
}

/*
 * Tell the kernel that there are frames. Without help of the driver it sends them in this call, some at a time, and
 * says EAGAIN when there are more. While the interface is down or its queue is full they wait in the ring; what finds
 * no place there while it is down is dropped.
 */
static void kick(struct xdp *x)
{
	for (unsigned i = 0; i < KICKS_MAX && xsk_needs_wakeup(&x->sock.tx); i++) {
		bool sent = sendto(x->watch.fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0;

		x->down = !sent && errno == ENETDOWN;
		if (sent || errno != EAGAIN)
			return;
	}
}

static void look_again(struct xdp *x)
{
	if (!timer_armed(&x->retry))
		timer_arm(&x->retry, clock_now(CLOCK_HOST_NS) + RETRY_NS);
}

static unsigned xdp_send(struct net_client *c, struct batch *b)
{
	struct xdp *x = to_xdp(c);
	uint64_t bytes = 0;
	unsigned n, sent = 0;

	reclaim(x);
	n = fill_ring(x, b, &sent, &bytes);
	if (sent)
		kick(x);
	net_count_rx_out(c, sent, bytes);
	x->full = n < b->n;
	if (x->full || x->n_free < XSK_CHUNKS)
		look_again(x);
	return n;
}

/* What is still in the ring is told of again: the kernel may have had no room. */
static void retry(struct timer *t)
{
	struct xdp *x = container_of(t, struct xdp, retry);

	reclaim(x);
	if (x->n_free < XSK_CHUNKS)
		kick(x);
	reclaim(x);
	if (x->full && x->n_free) {
		x->full = false;
		net_wake_peer(&x->c, NET_WAKE_ROOM);
	}
	if (x->full || x->n_free < XSK_CHUNKS)
		timer_arm(&x->retry, clock_now(CLOCK_HOST_NS) + (x->full ? RETRY_NS : 50 * RETRY_NS));
}

/* ---- client ---- */

static void xdp_wake(struct net_client *c, unsigned what)
{
	struct xdp *x = to_xdp(c);

	if ((what & NET_WAKE_ROOM) && x->watch.loop)
		watch_mod(&x->watch, EPOLLIN);
}

static void xdp_start(struct net_client *c)
{
	struct xdp *x = to_xdp(c);

	if (watch_add(c->loop, &x->watch, EPOLLIN) < 0)
		log_warn("%s: the socket of %s cannot be watched", c->name, x->ifname);
}

static void xdp_quiesce(struct net_client *c)
{
	struct xdp *x = to_xdp(c);

	watch_del(&x->watch);
	timer_cancel(&x->retry);
	x->full = false;
}

static json_t *xdp_describe(struct net_client *c)
{
	struct xdp *x = to_xdp(c);

	return json_pack("{s:s, s:i, s:s}", "ifname", x->ifname, "host_queue", x->host_queue, "mode",
			 x->mode == MODE_NATIVE ? "native" : "skb");
}

static void xdp_info(struct net_client *c, char *buf, size_t size)
{
	struct xdp *x = to_xdp(c);

	snprintf(buf, size, "ifname=%s,queue=%u,mode=%s", x->ifname, x->host_queue,
		 x->mode == MODE_NATIVE ? "native" : "skb");
}

static void xdp_free(struct xdp *x)
{
	xdp_prog_put(x->prog);
	xsk_close(&x->sock);
	free(x);
}

static void xdp_destroy(struct net_client *c)
{
	xdp_free(to_xdp(c));
}

static const struct net_client_ops xdp_ops = {
	.type = "af-xdp",
	.send = xdp_send,
	.wake = xdp_wake,
	.start = xdp_start,
	.quiesce = xdp_quiesce,
	.describe = xdp_describe,
	.info = xdp_info,
	.destroy = xdp_destroy,
};

/* ---- options ---- */

struct xdp_opts {
	char *ifname, *sock_fds, *map_path;
	unsigned mode;
	bool force_copy, inhibit;
	uint32_t queues, start_queue, map_start_index;
};

#define O(field, name, kind, ...) OPT_F(struct xdp_opts, field, name, kind, __VA_ARGS__)

static const char *const modes[] = { "auto", "native", "skb", NULL };

static const struct opt xdp_options[] = {
	O(ifname, "ifname", OPT_STR, .required = true, .arg = "name",
	  .help = "the interface; its traffic becomes ours"),
	O(mode, "mode", OPT_ENUM, .choices = modes, .def = "auto",
	  .help = "native: the driver's own XDP; skb: the kernel's, slower, on any; auto: the first that works"),
	O(force_copy, "force-copy", OPT_BOOL, .def = "off", .help = "do without the driver's zero copy"),
	O(queues, "queues", OPT_UINT, .min = 1, .max = QUEUES_MAX, .def = "1", .help = "queues of the interface"),
	O(start_queue, "start-queue", OPT_UINT, .def = "0", .max = 65535, .help = "the first of them"),
	O(inhibit, "inhibit", OPT_BOOL, .def = "off",
	  .help = "load no XDP program: one is there; needs map-path or sock-fds"),
	O(map_path, "map-path", OPT_STR, .arg = "path", .help = "pinned map of that program that the sockets go to"),
	O(map_start_index, "map-start-index", OPT_UINT, .def = "0", .max = INT32_MAX, .help = "first slot in the map"),
	O(sock_fds, "sock-fds", OPT_STR, .arg = "n:n...",
	  .help = "unbound AF_XDP sockets that were opened for us, one a queue; needs inhibit=on"),
	OPT_END,
};

static int check_options(const struct xdp_opts *o, struct error *err)
{
	if (o->sock_fds && o->map_path)
		return fail(err, EINVAL, "sock-fds=%s and map-path=%s exclude each other; leave out one of them",
			    o->sock_fds, o->map_path);
	if (o->inhibit != (o->map_path || o->sock_fds))
		return fail(err, EINVAL, "inhibit=on goes with map-path= or sock-fds=, and they with it");
	if (strlen(o->ifname) >= IFNAMSIZ || !if_nametoindex(o->ifname))
		return fail(err, ENODEV, "ifname=%s: there is no such interface; see: ip link", o->ifname);
	return 0;
}

/* ---- creation ---- */

/* The socket that sock-fds has for this queue; -1: none is given. */
static int inherited(const struct xdp_opts *o, unsigned queue, struct error *err)
{
	struct open_request r = { .kind = OPEN_INHERITED, .nonblock = true };
	const char *p = o->sock_fds;
	char *end;
	int ret;

	if (!p)
		return -1;
	for (unsigned i = 0; i < queue && p; i++)
		p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL;
	r.fd = p ? (int)strtol(p, &end, 10) : -1;
	if (!p || end == p || (*end && *end != ':') || r.fd < 3)
		return fail(err, EINVAL, "sock-fds=%s: one descriptor for each of %u queues is wanted, as 5:6",
			    o->sock_fds, o->queues);
	ret = open_request(&r, err);
	if (ret < 0)
		error_prefix(err, "sock-fds=%s: descriptor %d: ", o->sock_fds, r.fd);
	return ret;
}

static int open_socket(struct xdp *x, const struct xdp_opts *o, struct error *err)
{
	int fd = inherited(o, x->c.queue, err);

	return fd < 0 && o->sock_fds ? fd : xsk_open(&x->sock, fd, err);
}

/* The program, unless another is there, and the queue. -errno. */
static int try_mode(struct xdp *x, const struct xdp_opts *o, enum xdp_mode mode)
{
	unsigned flags = mode == MODE_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	unsigned copy = o->force_copy || mode == MODE_SKB ? XDP_COPY : 0;
	int ret = 0;

	if (!o->inhibit && !x->prog)
		x->prog = xdp_prog_get((int)if_nametoindex(x->ifname), flags, &ret);
	ret = ret ?: xsk_bind(&x->sock, (int)if_nametoindex(x->ifname), x->host_queue, XDP_USE_NEED_WAKEUP | copy);
	if (!ret && x->prog)
		ret = xdp_prog_enter(x->prog, x->host_queue, x->sock.fd);
	x->mode = mode;
	return ret;
}

static int bind_error(const struct xdp *x, const struct xdp_opts *o, int code, struct error *err)
{
	if (code == EBUSY || code == EEXIST)
		return fail(err, EBUSY,
			    "ifname=%s: queue %u is in use, or another XDP program is there; see: ip link show %s",
			    x->ifname, x->host_queue, x->ifname);
	if (code == EINVAL || code == EOPNOTSUPP)
		return fail(err, code, "ifname=%s: it has no queue %u%s%s; see: ethtool -l %s", x->ifname,
			    x->host_queue,
			    o->mode == MODE_AUTO ? "" : ", or no mode=", o->mode == MODE_AUTO ? "" : modes[o->mode],
			    x->ifname);
	if (code == EPERM || code == EACCES)
		return fail(err, EPERM, "no permission for an XDP program; it needs CAP_BPF and CAP_NET_ADMIN");
	return fail(err, code, "ifname=%s: no AF_XDP socket on queue %u in mode %s: %s", x->ifname, x->host_queue,
		    modes[o->mode], errno_str(code));
}

static int bind_socket(struct xdp *x, const struct xdp_opts *o, struct error *err)
{
	int ret = try_mode(x, o, o->mode == MODE_SKB ? MODE_SKB : MODE_NATIVE);

	if (ret && o->mode == MODE_AUTO) {
		xdp_prog_put(x->prog);
		x->prog = NULL;
		ret = try_mode(x, o, MODE_SKB);
	}
	return ret ? bind_error(x, o, -ret, err) : 0;
}

/* A program of the user's sends us what he wants us to have, by our place in its map. */
static int enter_map(struct xdp *x, const struct xdp_opts *o, struct error *err)
{
	unsigned slot = o->map_start_index + x->c.queue;
	int ret = o->map_path ? xdp_map_enter(o->map_path, slot, x->sock.fd) : 0;

	return ret ? fail(err, -ret, "map-path=%s: slot %u does not take the socket: %s", o->map_path, slot,
			  errno_str(ret)) :
		     0;
}

static void hand_out_chunks(struct xdp *x)
{
	for (uint64_t i = 0; i < XSK_CHUNKS; i++) {
		give_back(x, i * XSK_CHUNK);
		x->free[x->n_free++] = (XSK_CHUNKS + i) * XSK_CHUNK;
	}
}

static void init_client(struct xdp *x, const char *id, struct loop *loop)
{
	x->c.ops = &xdp_ops;
	x->c.kind = NET_KIND_BACKEND;
	x->c.loop = loop;
	x->c.max_frame = MAX_FRAME;
	snprintf(x->c.name, sizeof(x->c.name), "%s", id);
	watch_init(&x->watch, "af-xdp", x->sock.fd, ready);
	timer_init(&x->retry, loop, CLOCK_HOST_NS, retry);
}

static int make_queue(const char *id, const struct xdp_opts *o, unsigned queue, struct loop *loop, struct error *err)
{
	struct xdp *x = calloc(1, sizeof(*x));
	int ret;

	if (!x)
		return fail(err, ENOMEM, "no memory");
	x->sock.fd = -1;
	x->c.queue = queue;
	x->host_queue = o->start_queue + queue;
	snprintf(x->ifname, sizeof(x->ifname), "%s", o->ifname);
	ret = open_socket(x, o, err);
	ret = ret ?: bind_socket(x, o, err);
	ret = ret ?: enter_map(x, o, err);
	if (!ret) {
		hand_out_chunks(x);
		init_client(x, id, loop);
		ret = net_client_add(&x->c, err);
	}
	if (ret)
		xdp_free(x);
	return ret;
}

static void remove_queues(const char *id, unsigned n)
{
	while (n--) {
		struct net_client *c = net_client_find(id, n);

		net_client_remove(c);
		xdp_destroy(c);
	}
}

static int xdp_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	const struct xdp_opts *o = opts;
	int ret = check_options(o, err);

	for (unsigned i = 0; !ret && i < o->queues; i++) {
		ret = make_queue(id, o, i, loop, err);
		if (ret)
			remove_queues(id, i);
	}
	return ret;
}

const struct netdev_type af_xdp_netdev = {
	.name = "af-xdp",
	.help = "a queue of an interface of the host, past its network stack",
	.opts = xdp_options,
	.opts_size = sizeof(struct xdp_opts),
	.create = xdp_create,
};
