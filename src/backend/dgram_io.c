/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine of datagram backends: see dgram_io.h. */
#include "backend/dgram_io.h"

#include <errno.h>
#include <jansson.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS	4	     /* batches in one call */
#define REST_NS NSEC_PER_SEC /* for a descriptor that says nothing but errors */

enum {
	WATCH_RX,
	WATCH_TX
};

struct dgram_io {
	struct net_client *c;
	struct dgram_tx tx;
	struct dgram_rx rx;
	struct dgram_route route;
	struct watch watch[2]; /* the second only if frames go out by another socket */
	uint32_t events[2];    /* that we want to hear of */
	bool two, running;
	bool blocked;  /* the peer has no room */
	uint64_t held; /* of tx.held */
	struct timer rest;
};

/* ---- descriptors ---- */

static void update(struct dgram_io *io, unsigned i)
{
	struct watch *w = &io->watch[i];

	if (w->loop && w->events != io->events[i])
		watch_mod(w, io->events[i]);
}

static void listen_for(struct dgram_io *io, uint32_t event, bool on)
{
	unsigned i = io->two && event == EPOLLOUT ? WATCH_TX : WATCH_RX;

	io->events[i] = on ? io->events[i] | event : io->events[i] & ~event;
	update(io, i);
}

static void take_rest(struct dgram_io *io)
{
	watch_del(&io->watch[WATCH_RX]);
	watch_del(&io->watch[WATCH_TX]);
	timer_arm(&io->rest, clock_now(CLOCK_HOST_NS) + REST_NS);
}

/* An error that tells of what was sent before, or of the path: the socket works. */
static bool error_passes(int code)
{
	switch (code) {
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case ENETRESET:
	case EPROTO:
	case ENOPROTOOPT:
	case EMSGSIZE:
	case EACCES:
	case EPERM:
	case ETIMEDOUT:
	case EOPNOTSUPP:
	case ENONET:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

/* epoll says that there is an error: read it. False: it is one that stays. */
static bool clear_error(int fd)
{
	struct pollfd p = { .fd = fd };
	socklen_t len = sizeof(int);
	int code = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		return false;
	/* What epoll saw may have been read by a send meanwhile. */
	return code ? error_passes(code) : poll(&p, 1, 0) == 0;
}

/* Frames that were received are to be handed on. */
static void go_on(struct dgram_io *io)
{
	if (io->rx.pending && !io->blocked && io->watch[WATCH_RX].loop)
		watch_again(&io->watch[WATCH_RX]);
}

static void watch_all(struct dgram_io *io)
{
	for (unsigned i = 0; i <= io->two; i++) {
		if (watch_add(io->c->loop, &io->watch[i], io->events[i]) < 0) {
			take_rest(io);
			return;
		}
	}
	go_on(io);
}

static void rested(struct timer *t)
{
	struct dgram_io *io = container_of(t, struct dgram_io, rest);

	watch_all(io);
}

/* ---- in ---- */

static void count_held(struct dgram_io *io)
{
	counter_add(&io->c->tx.held, io->rx.pending - io->held);
	io->held = io->rx.pending;
}

enum round {
	ROUND_DONE,
	ROUND_MORE,
	ROUND_NO_ROOM,
	ROUND_ERROR
};

static enum round hand_on(struct dgram_io *io)
{
	struct dgram_rx *r = &io->rx;
	unsigned n;

	dgram_rx_fill(r);
	n = r->batch.n ? net_send(io->c, &r->batch) : 0;
	dgram_rx_done(r, n);
	if (r->batch.n)
		return ROUND_NO_ROOM;
	return r->pending || dgram_rx_full(r) ? ROUND_MORE : ROUND_DONE;
}

static enum round receive_some(struct dgram_io *io)
{
	int n;

	if (!io->rx.pending) {
		n = dgram_rx_read(&io->rx);
		if (n < 0)
			return error_passes(-n) ? ROUND_MORE : ROUND_ERROR;
		if (n == 0)
			return ROUND_DONE;
		net_count_tx_in(io->c, (unsigned)n);
	}
	return hand_on(io);
}

static void receive(struct dgram_io *io)
{
	enum round r = ROUND_MORE;

	for (unsigned i = 0; i < ROUNDS && r == ROUND_MORE; i++)
		r = receive_some(io);
	count_held(io);
	if (r == ROUND_NO_ROOM) {
		io->blocked = true;
		listen_for(io, EPOLLIN, false);
	} else if (r == ROUND_ERROR) {
		take_rest(io);
	} else {
		go_on(io);
	}
}

static void ready(struct dgram_io *io, const struct watch *w, uint32_t events)
{
	if ((events & (EPOLLERR | EPOLLHUP)) && !clear_error(w->fd)) {
		take_rest(io);
		return;
	}
	if (events & EPOLLOUT) {
		listen_for(io, EPOLLOUT, false);
		net_wake_peer(io->c, NET_WAKE_ROOM);
	}
	if (w == &io->watch[WATCH_RX] && !io->blocked && (events & EPOLLIN || !events))
		receive(io);
}

static void rx_ready(struct watch *w, uint32_t events)
{
	ready(container_of(w, struct dgram_io, watch[WATCH_RX]), w, events);
}

static void tx_ready(struct watch *w, uint32_t events)
{
	ready(container_of(w, struct dgram_io, watch[WATCH_TX]), w, events);
}

/* ---- out ---- */

static enum net_drop reason(int code)
{
	switch (code) {
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOENT:
	case ENOTCONN:
	case EPIPE:
		return NET_DROP_PEER_GONE;
	default:
		return net_drop_of_errno(code);
	}
}

static void drop_frames(struct dgram_io *io, enum net_drop why, unsigned n)
{
	dgram_tx_skip(&io->tx, n);
	while (n--)
		net_drop_rx(io->c, why);
}

static void count_out(struct dgram_io *io, const struct batch *b, unsigned first, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = first; i < first + n; i++)
		bytes += b->frame[i].len;
	net_count_rx_out(io->c, n, bytes);
}

/* May a frame be sent once more that was refused with this? */
static bool try_again(struct dgram_io *io, int code)
{
	if (io->route.lost && reason(code) == NET_DROP_PEER_GONE)
		return io->route.lost(io->route.arg);
	/* Of a connected socket: it may be what became of an earlier datagram, and is taken now. */
	return !io->tx.to.len && error_passes(code);
}

unsigned dgram_io_send(struct dgram_io *io, struct batch *b)
{
	struct dgram_refusal r;
	bool tried = false;
	unsigned i = 0, n;

	if (io->route.there && !io->route.there(io->route.arg)) {
		drop_frames(io, NET_DROP_PEER_GONE, b->n);
		return b->n;
	}
	while (i < b->n) {
		n = dgram_tx_send(&io->tx, b, i, &r);
		count_out(io, b, i, n);
		i += n;
		tried = tried && !n;
		if (!r.code)
			break;
		if (r.code == EAGAIN) {
			listen_for(io, EPOLLOUT, true);
			break;
		}
		if (!tried && try_again(io, r.code)) {
			tried = true;
			continue;
		}
		drop_frames(io, reason(r.code), r.frames);
		i += r.frames;
		tried = false;
	}
	return i;
}

/* ---- life ---- */

void dgram_io_wake(struct dgram_io *io, unsigned what)
{
	if (!(what & NET_WAKE_ROOM) || !io->running)
		return;
	io->blocked = false;
	listen_for(io, EPOLLIN, true);
	go_on(io);
}

void dgram_io_start(struct dgram_io *io)
{
	io->running = true;
	io->blocked = false;
	io->events[WATCH_RX] = EPOLLIN;
	io->events[WATCH_TX] = 0;
	watch_all(io);
	if (io->route.run)
		io->route.run(io->route.arg, true);
}

void dgram_io_quiesce(struct dgram_io *io)
{
	if (io->route.run)
		io->route.run(io->route.arg, false);
	io->running = false;
	watch_del(&io->watch[WATCH_RX]);
	watch_del(&io->watch[WATCH_TX]);
	timer_cancel(&io->rest);
}

void dgram_io_parted(struct dgram_io *io)
{
	uint64_t n = dgram_rx_forget(&io->rx);

	counter_add(&io->c->tx.dropped[NET_DROP_STOPPED], n);
	count_held(io);
}

struct dgram_io *dgram_io_new(struct net_client *c, const struct dgram_setup *s)
{
	static const struct dgram_head no_head = { .counter_at = -1 };
	const struct dgram_head *head = s->head ? s->head : &no_head;
	static const struct dgram_judge no_judge = { 0 };
	struct dgram_io *io = calloc(1, sizeof(*io));
	int tx_fd = s->tx_fd >= 0 ? s->tx_fd : s->fd;

	if (!io) {
		close(s->fd);
		if (s->tx_fd >= 0)
			close(s->tx_fd);
		return NULL;
	}
	io->c = c;
	io->two = s->tx_fd >= 0;
	io->rx.fd = s->fd;
	io->tx.fd = tx_fd;
	if (s->route)
		io->route = *s->route;
	watch_init(&io->watch[WATCH_RX], "datagrams", s->fd, rx_ready);
	watch_init(&io->watch[WATCH_TX], "datagrams out", tx_fd, tx_ready);
	timer_init(&io->rest, c->loop, CLOCK_HOST_NS, rested);
	c->max_frame = MIN(s->max_datagram - head->len, (uint32_t)NET_FRAME_MAX);
	if (dgram_tx_init(&io->tx, tx_fd, &s->to, head, s->udp) ||
	    dgram_rx_init(&io->rx, s->fd, s->judge ? s->judge : &no_judge, c->tx.dropped, s->udp)) {
		dgram_io_free(io);
		return NULL;
	}
	return io;
}

void dgram_io_free(struct dgram_io *io)
{
	if (!io)
		return;
	dgram_tx_fini(&io->tx);
	dgram_rx_fini(&io->rx);
	close(io->rx.fd);
	if (io->two)
		close(io->tx.fd);
	free(io);
}

/* ---- facts ---- */

static uint32_t kernel_dropped(int fd)
{
	uint32_t mem[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(mem);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len) < 0)
		return 0;
	return mem[SK_MEMINFO_DROPS];
}

json_t *dgram_io_describe(const struct dgram_io *io)
{
	struct endpoint local = { .len = sizeof(local.sa) };
	char here[160], there[160];

	if (getsockname(io->rx.fd, (struct sockaddr *)&local.sa, &local.len) < 0)
		local.len = 0;
	endpoint_text(&local, here, sizeof(here));
	endpoint_text(&io->tx.to, there, sizeof(there));
	return json_pack("{s:s, s:s, s:I, s:b, s:b}", "local", here, "remote", there, "kernel_dropped",
			 (json_int_t)kernel_dropped(io->rx.fd), "segments", io->tx.segments, "coalesced",
			 io->rx.coalesced);
}
