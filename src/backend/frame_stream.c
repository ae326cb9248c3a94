/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames over a stream of bytes.
 *
 * Sending. A batch goes out by one sendmsg(): small frames are copied behind their lengths, so that a run of them is
 * one piece; large ones go from where they lie. The kernel may take a part only, and cut a frame: then what is left of
 * that one frame is copied here at once (it was begun, so it must end, whatever its owner does with it meanwhile) and
 * goes first; the frames behind it stay with the caller. So at most one frame waits here, `held` in the account.
 *
 * Receiving. One recv() takes what there is, up to RX_SIZE, and the frames in it are delivered in batches from there.
 * What the peer has no room for stays in the buffer, and when that is so nothing more is read: the kernel's buffer
 * fills, and then the sender has to wait. A frame in the buffer is counted in when it is delivered, or, as held, at a
 * quiesce.
 *
 * The end. A stream whose length word is nonsense cannot be understood from there on: the connection is given up, after
 * the frames before were delivered. So it is at an end of file. An error of the socket ends it at once. A frame of
 * which only a part came, or only a part went, is counted as dropped and forgotten with the connection: the first byte
 * of the next one is the first of a frame, in both directions.
 */
#include "backend/frame_stream.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/iov.h"

#define HDR	    4
#define RX_SIZE	    (128 * KIB) /* more than a frame */
#define BUDGET	    (4 * NET_BATCH)
#define LONG	    16384 /* frames from here on are read one by one */
#define MOVE_ALWAYS 2048  /* bytes that are moved to the front of the buffer for the sake of a longer read */

#define SMALL	      256 /* frames up to this are copied */
#define TX_SMALL_SIZE (NET_BATCH * (HDR + SMALL))

static void put_length(uint8_t *p, uint32_t len)
{
	len = htobe32(len);
	memcpy(p, &len, HDR);
}

static uint32_t get_length(const uint8_t *p)
{
	uint32_t len;

	memcpy(&len, p, HDR);
	return be32toh(len);
}

static bool length_ok(uint32_t len)
{
	return len >= ETH_HDR_LEN && len <= NET_FRAME_MAX;
}

/* ---- the descriptor ---- */

static void lose(struct frame_stream *s, const char *why);

static void watch_on(struct frame_stream *s)
{
	if (watch_add(s->c->loop, &s->watch, s->events) < 0)
		lose(s, "no memory to watch the connection");
	else if (s->ending || s->tx_dead || s->tail > s->head)
		watch_again(&s->watch);
}

static void listen_for(struct frame_stream *s, uint32_t events, bool on)
{
	uint32_t want = on ? s->events | events : s->events & ~events;

	if (want == s->events)
		return;
	s->events = want;
	if (s->watch.loop)
		watch_mod(&s->watch, want);
}

static void count_in(struct frame_stream *s, unsigned n)
{
	uint64_t known = MIN((uint64_t)n, s->rx_counted);

	s->rx_counted -= known;
	counter_add(&s->c->tx.held, -known);
	net_count_tx_in(s->c, n - (unsigned)known);
}

/* ---- the end of a connection ---- */

static void end_rest(struct frame_stream *s)
{
	counter_add(&s->c->rx.held, (uint64_t)-1);
	s->rest_at = s->rest_len = 0;
}

/* The next whole frame from `at` on: its length; 0: there is none. */
static uint32_t whole_frame(const struct frame_stream *s, size_t at)
{
	uint32_t len;

	if (s->tail - at < HDR)
		return 0;
	len = get_length(s->rx + at);
	return length_ok(len) && s->tail - at - HDR >= len ? len : 0;
}

static void drop_whole(struct frame_stream *s, enum net_drop why)
{
	uint32_t len;

	while ((len = whole_frame(s, s->head))) {
		s->head += HDR + len;
		count_in(s, 1);
		net_drop_tx(s->c, why);
	}
}

static void drop_received(struct frame_stream *s)
{
	drop_whole(s, NET_DROP_PEER_GONE);
	if (s->tail - s->head >= HDR && !length_ok(get_length(s->rx + s->head))) {
		net_count_tx_in(s->c, 1);
		net_drop_tx(s->c, NET_DROP_MALFORMED);
	} else if (s->tail > s->head) {
		net_count_tx_in(s->c, 1);
		net_drop_tx(s->c, NET_DROP_TRUNCATED);
	}
	s->head = s->tail = 0;
}

void frame_stream_detach(struct frame_stream *s)
{
	if (s->fd < 0)
		return;
	watch_del(&s->watch);
	s->fd = -1;
	drop_received(s);
	if (s->rest_len) {
		end_rest(s);
		net_drop_rx(s->c, NET_DROP_PEER_GONE);
	}
	s->ending = s->tx_dead = NULL;
	s->no_room = false;
}

static void lose(struct frame_stream *s, const char *why)
{
	frame_stream_detach(s);
	net_set_carrier(s->c, false);
	s->lost(s, why);
}

/* ---- to the wire ---- */

static bool would_block(int code)
{
	return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

/* As sendmsg(), but 0 where the kernel takes nothing: now, or, with tx_dead set, any more. */
static size_t push(struct frame_stream *s, struct iovec *iov, unsigned cnt)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = cnt };
	ssize_t n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (likely(n >= 0))
		return (size_t)n;
	if (!would_block(errno)) {
		s->tx_dead = errno_str(errno);
		if (!s->watch.loop && watch_add(s->c->loop, &s->watch, 0) < 0)
			return 0; /* seen when the peer has room */
		watch_again(&s->watch);
	}
	return 0;
}

/* The rest of a frame that was begun. Returns whether nothing is left of it. */
static bool flush_rest(struct frame_stream *s)
{
	struct iovec iov = { s->rest + s->rest_at, s->rest_len - s->rest_at };

	if (!s->rest_len)
		return true;
	s->rest_at += push(s, &iov, 1);
	if (s->rest_at < s->rest_len)
		return false;
	end_rest(s);
	net_count_rx_out(s->c, 1, s->rest_frame);
	return true;
}

/* The kernel took the first `sent` bytes of length and frame, not all of them. */
static void keep_rest(struct frame_stream *s, const struct batch *b, const struct frame *f, size_t sent)
{
	put_length(s->rest, f->len);
	iov_read_at(frame_iov(b, f), f->cnt, 0, s->rest + HDR, f->len);
	s->rest_at = sent;
	s->rest_len = HDR + f->len;
	s->rest_frame = f->len;
	counter_add(&s->c->rx.held, 1);
}

/* What goes out by one call: pieces in tx_iov[], of which those of small frames lie in tx_small[]. */
struct parcel {
	unsigned frames, cnt;
	bool run;     /* the last piece is one of tx_small[] */
	size_t small; /* bytes in tx_small[] */
	size_t bytes;
};

/* A run of bytes in tx_small[]: its own piece, or the end of the one before. */
static void add_small(struct frame_stream *s, struct parcel *p, size_t len)
{
	if (p->run)
		s->tx_iov[p->cnt - 1].iov_len += len;
	else
		s->tx_iov[p->cnt++] = (struct iovec){ s->tx_small + p->small, len };
	p->run = true;
	p->small += len;
}

/* Add one frame; of one in more pieces than a call takes, rest[] makes one piece. */
static void pack_frame(struct frame_stream *s, const struct iovec *iov, const struct frame *f, struct parcel *p)
{
	uint8_t *at = s->tx_small + p->small;

	put_length(at, f->len);
	if (f->len <= SMALL) {
		iov_read_at(iov, f->cnt, 0, at + HDR, f->len);
		add_small(s, p, HDR + f->len);
	} else {
		add_small(s, p, HDR);
		p->run = false;
		if (f->cnt < IOV_MAX) {
			memcpy(s->tx_iov + p->cnt, iov, f->cnt * sizeof(*iov));
			p->cnt += f->cnt;
		} else {
			iov_read_at(iov, f->cnt, 0, s->rest + HDR, f->len);
			s->tx_iov[p->cnt++] = (struct iovec){ s->rest + HDR, f->len };
		}
	}
	p->bytes += HDR + f->len;
	p->frames++;
}

/* Frames from the first on, as many as there are pieces for. */
static void pack(struct frame_stream *s, const struct batch *b, unsigned first, struct parcel *p)
{
	*p = (struct parcel){ 0 };
	for (unsigned i = first; i < b->n; i++) {
		const struct frame *f = &b->frame[i];

		if (p->frames && p->cnt + 1 + (f->len <= SMALL ? 0 : f->cnt) > IOV_MAX)
			break;
		pack_frame(s, frame_iov(b, f), f, p);
	}
}

/* Of the parcel that begins with frame `first`, `sent` bytes went. Returns how many frames are done with. */
static unsigned account_sent(struct frame_stream *s, const struct batch *b, unsigned first, const struct parcel *p,
			     size_t sent)
{
	unsigned i = 0;

	if (likely(sent == p->bytes)) {
		net_count_rx_out(s->c, p->frames, p->bytes - (size_t)p->frames * HDR);
		return p->frames;
	}
	for (; i < p->frames && sent >= HDR + b->frame[first + i].len; i++) {
		sent -= HDR + b->frame[first + i].len;
		net_count_rx_out(s->c, 1, b->frame[first + i].len);
	}
	if (!sent)
		return i;
	keep_rest(s, b, &b->frame[first + i], sent);
	return i + 1;
}

static void drop_from(struct frame_stream *s, const struct batch *b, unsigned first)
{
	for (unsigned i = first; i < b->n; i++)
		net_drop_rx(s->c, NET_DROP_PEER_GONE);
}

/* No room now: the peer is woken when there is some. */
static unsigned full(struct frame_stream *s, unsigned taken)
{
	s->owes = true;
	listen_for(s, EPOLLOUT, true);
	return taken;
}

unsigned frame_stream_send(struct frame_stream *s, struct batch *b)
{
	unsigned done = 0;
	struct parcel p;
	size_t n;

	if (unlikely(s->rest_len) && s->fd >= 0 && !s->tx_dead && !flush_rest(s) && !s->tx_dead)
		return full(s, 0);
	while (done < b->n && s->fd >= 0 && !s->tx_dead) {
		pack(s, b, done, &p);
		n = push(s, s->tx_iov, p.cnt);
		done += account_sent(s, b, done, &p, n);
		if (unlikely(n < p.bytes) && !s->tx_dead)
			return full(s, done);
	}
	drop_from(s, b, done);
	return b->n;
}

static void writable(struct frame_stream *s)
{
	if (s->tx_dead || !flush_rest(s))
		return;
	listen_for(s, EPOLLOUT, false);
	if (s->owes)
		net_wake_peer(s->c, NET_WAKE_ROOM);
	s->owes = false;
}

/* ---- from the wire ---- */

/* Room for the rest of the frame at the head, at least, behind the tail. */
static void make_space(struct frame_stream *s)
{
	size_t have = s->tail - s->head;
	size_t need = have < HDR ? HDR + NET_FRAME_MAX : HDR + get_length(s->rx + s->head);

	if (s->head && (have <= MOVE_ALWAYS || RX_SIZE - s->head < need)) {
		memmove(s->rx, s->rx + s->head, have);
		s->head = 0;
		s->tail = have;
	}
}

/*
 * How many bytes to ask for: all that there is room for; but a long frame is read to its end, and the length of the
 * next one with it. Then no part of a long frame is ever moved, and the same bytes of memory, which the processor has
 * near, are used for each.
 */
static size_t portion(const struct frame_stream *s)
{
	size_t have = s->tail - s->head, room = RX_SIZE - s->tail;
	uint32_t len = have < HDR ? 0 : get_length(s->rx + s->head);

	return len < LONG ? room : MIN(room, HDR + len - have + HDR);
}

/* Read what there is, once. */
static void fill(struct frame_stream *s)
{
	ssize_t n;

	make_space(s);
	n = recv(s->fd, s->rx + s->tail, portion(s), MSG_DONTWAIT);
	if (n > 0)
		s->tail += (size_t)n;
	else if (!n)
		s->ending = "the program at the other end closed the connection";
	else if (!would_block(errno))
		s->ending = errno_str(errno);
	else if (s->tx_dead)
		s->ending = s->tx_dead; /* nothing to be had any more, and nothing can be sent */
}

/* The next frames in the buffer, up to a batch; the bytes behind the last one are at *end. */
static void parse(struct frame_stream *s, size_t *end)
{
	struct batch *b = &s->batch;
	uint32_t len;

	b->n = 0;
	for (*end = s->head; b->n < NET_BATCH && (len = whole_frame(s, *end)); *end += HDR + len) {
		uint32_t at = 2 * b->n + 1;

		s->rx_iov[at] = (struct iovec){ s->rx + *end + HDR, len };
		b->frame[b->n++] = (struct frame){ .iov = at, .cnt = 1, .len = len };
	}
}

/* Nothing can be made of what stands at the head. */
static bool nonsense(const struct frame_stream *s)
{
	return s->tail - s->head >= HDR && !length_ok(get_length(s->rx + s->head));
}

/* One batch. Returns how many frames went; less than there were only if the peer has no room. */
static unsigned deliver(struct frame_stream *s)
{
	unsigned n, i;
	size_t end;

	parse(s, &end);
	if (!s->batch.n)
		return 0;
	n = net_send(s->c, &s->batch);
	count_in(s, n);
	for (i = 0; i < n; i++)
		s->head += HDR + s->batch.frame[i].len;
	if (n < s->batch.n) {
		s->no_room = true;
		listen_for(s, EPOLLIN, false);
	}
	return n;
}

/* No frame is left that could be delivered. */
static void drained(struct frame_stream *s)
{
	if (nonsense(s)) {
		counter_add(&s->framing_errors, 1);
		lose(s, "the length of a frame is nonsense");
	} else if (s->ending) {
		lose(s, s->ending);
	}
}

static void receive(struct frame_stream *s)
{
	unsigned n, total = 0;

	if (!s->ending && !whole_frame(s, s->head) && !nonsense(s))
		fill(s);
	do
		total += n = deliver(s);
	while (n == NET_BATCH && total < BUDGET);
	if (s->no_room)
		return;
	if (n == NET_BATCH)
		watch_again(&s->watch);
	else
		drained(s);
}

static void ready(struct watch *w, uint32_t events)
{
	struct frame_stream *s = container_of(w, struct frame_stream, watch);

	if (events & EPOLLOUT)
		writable(s);
	if (!s->no_room)
		receive(s);
	else if (s->tx_dead)
		lose(s, s->tx_dead);
	else if (events & (EPOLLERR | EPOLLHUP))
		watch_del(&s->watch); /* it would say so for ever; what is there is read when there is room */
}

/* ---- life ---- */

void frame_stream_wake(struct frame_stream *s, unsigned what)
{
	if (!(what & NET_WAKE_ROOM) || s->fd < 0)
		return;
	s->no_room = false;
	listen_for(s, EPOLLIN, true);
	if (!s->watch.loop)
		watch_on(s);
	else if (s->tail > s->head)
		watch_again(&s->watch);
}

void frame_stream_start(struct frame_stream *s)
{
	if (s->fd >= 0)
		watch_on(s);
}

/* What lies here between two sessions of the peer is in the account. */
static void count_held(struct frame_stream *s)
{
	uint64_t n = 0;
	uint32_t len;

	for (size_t at = s->head; (len = whole_frame(s, at)); at += HDR + len)
		n++;
	counter_add(&s->c->tx.held, n - s->rx_counted);
	net_count_tx_in(s->c, (unsigned)(n - s->rx_counted));
	s->rx_counted = n;
}

void frame_stream_quiesce(struct frame_stream *s)
{
	watch_del(&s->watch);
	count_held(s);
}

/* What was held for the peer; of a frame that is not whole yet the rest will come. */
void frame_stream_parted(struct frame_stream *s)
{
	drop_whole(s, NET_DROP_STOPPED);
}

void frame_stream_attach(struct frame_stream *s, int fd)
{
	s->fd = fd;
	s->events = EPOLLIN;
	s->owes = false;
	watch_init(&s->watch, "stream", fd, ready);
	if (s->c->started)
		watch_on(s);
	net_set_carrier(s->c, true);
}

int frame_stream_init(struct frame_stream *s)
{
	s->fd = -1;
	s->rx = malloc(RX_SIZE);
	s->rx_iov = calloc(2 * NET_BATCH, sizeof(*s->rx_iov));
	s->tx_iov = calloc(IOV_MAX + 1, sizeof(*s->tx_iov));
	s->tx_small = malloc(TX_SMALL_SIZE);
	s->rest = malloc(HDR + NET_FRAME_MAX);
	s->batch.iov = s->rx_iov;
	if (s->rx && s->rx_iov && s->tx_iov && s->tx_small && s->rest)
		return 0;
	frame_stream_free(s);
	return -ENOMEM;
}

void frame_stream_free(struct frame_stream *s)
{
	free(s->rx);
	free(s->rx_iov);
	free(s->tx_iov);
	free(s->tx_small);
	free(s->rest);
	s->rx = s->tx_small = s->rest = NULL;
	s->rx_iov = s->tx_iov = NULL;
}
