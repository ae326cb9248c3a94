/* SPDX-License-Identifier: BSD-2-Clause */
/* An open character device and its front end: output ring, input, what happens when the other end goes. */
#include "char/chardev.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "char/type.h"

#define CLOSE_WAIT_MS 1000
#define CAREFUL_WRITE 256
#define RETRY_DELAY   (20 * NSEC_PER_MSEC) /* the descriptor cannot be watched */
/* The other end of a connection hung up, the front end has no room for what it left behind: so long it may be read. */
#define LINGER	      NSEC_PER_SEC

uint64_t chardev_lost(const struct chardev *c)
{
	return counter_get(&c->lost);
}

/* ---- open and closed ---- */

static void watch_input(struct chardev *c);
static void on_writable(struct watch *w, uint32_t events);

static void tell(struct chardev *c, enum chardev_event e)
{
	if (c->client.event)
		c->client.event(c->client.opaque, e);
}

static void tell_room(struct chardev *c)
{
	bool tell;

	mutex_lock(&c->lock);
	tell = c->was_full && c->len <= c->size / 2;
	if (tell)
		c->was_full = false;
	mutex_unlock(&c->lock);
	if (tell && c->client.room)
		c->client.room(c->client.opaque);
}

void chardev_up(struct chardev *c, int in, int out)
{
	c->in = in;
	c->out = out;
	c->hang_up = false;
	watch_init(&c->out_watch, "chardev output", out, on_writable);
	mutex_lock(&c->lock);
	c->open = true;
	mutex_unlock(&c->lock);
	tell(c, CHARDEV_OPENED);
	watch_input(c);
}

static void unwatch(struct chardev *c)
{
	watch_del(&c->in_watch);
	watch_del(&c->out_watch);
	timer_cancel(&c->linger);
}

void chardev_down(struct chardev *c)
{
	bool was_open;

	unwatch(c);
	c->in = c->out = -1;
	mutex_lock(&c->lock);
	was_open = c->open;
	c->open = false;
	counter_add_shared(&c->lost, c->len);
	c->head = c->len = 0;
	mutex_unlock(&c->lock);
	if (was_open)
		tell(c, CHARDEV_CLOSED);
	tell_room(c);
}

/* Nothing more is to be read. */
static void hang_up(struct chardev *c)
{
	if (c->type->ended) {
		chardev_down(c);
		c->type->ended(c);
	} else {
		watch_del(&c->in_watch);
		c->in = -1;
	}
}

/* ---- output ---- */

static ssize_t write_some(struct chardev *c, const uint8_t *p, size_t n)
{
	struct pollfd pfd = { .fd = c->out, .events = POLLOUT };

	if (c->type->socket)
		return send(c->out, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (c->out_blocks) {
		if (poll(&pfd, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		n = MIN(n, (size_t)CAREFUL_WRITE);
	}
	return write(c->out, p, n);
}

static void consume(struct chardev *c, size_t n)
{
	mutex_lock(&c->lock);
	c->head = (c->head + n) % c->size;
	c->len -= n;
	mutex_unlock(&c->lock);
}

/* The first contiguous piece of what is in the ring. It stays there until consume(). */
static size_t peek(struct chardev *c, const uint8_t **p)
{
	size_t n;

	mutex_lock(&c->lock);
	*p = c->ring + c->head;
	n = MIN(c->len, c->size - c->head);
	mutex_unlock(&c->lock);
	return n;
}

enum written {
	WRITTEN_ALL,
	WRITTEN_SOME, /* enough for one turn: a guest may go on for ever */
	WRITTEN_STUCK /* no more can be written now */
};

static enum written write_ring(struct chardev *c)
{
	const uint8_t *p;
	size_t n, sum = 0;

	for (; (n = peek(c, &p)) > 0; sum += n) {
		ssize_t done = c->out < 0 ? -1 : sum < c->size ? write_some(c, p, n) : 0;

		if (sum >= c->size)
			return WRITTEN_SOME;
		if (done >= 0) {
			n = (size_t)done;
		} else if (c->out >= 0 && errno == EAGAIN) {
			return WRITTEN_STUCK;
		} else if (c->out >= 0 && errno == EINTR) {
			n = 0;
		} else {
			/*
			 * A full disk, a connection that ended: what cannot be written is lost, and the guest goes on.
			 * What the other end sent before it went is still to be read; the end is found there.
			 */
			counter_add_shared(&c->lost, n);
			if (c->type->ended)
				c->out = -1;
		}
		consume(c, n);
	}
	return WRITTEN_ALL;
}

static void flush(struct chardev *c)
{
	timer_cancel(&c->flush_timer);
	mutex_lock(&c->lock);
	c->flush_due = false;
	mutex_unlock(&c->lock);
	switch (write_ring(c)) {
	case WRITTEN_ALL:
		watch_del(&c->out_watch);
		break;
	case WRITTEN_SOME:
		timer_arm(&c->flush_timer, clock_now(CLOCK_HOST_NS));
		break;
	case WRITTEN_STUCK:
		if (!c->out_watch.loop && watch_add(c->loop, &c->out_watch, EPOLLOUT) < 0)
			timer_arm(&c->flush_timer, clock_now(CLOCK_HOST_NS) + RETRY_DELAY);
		break;
	}
	tell_room(c);
}

static void on_writable(struct watch *w, uint32_t events)
{
	(void)events;
	flush(container_of(w, struct chardev, out_watch));
}

static void on_flush_timer(struct timer *t)
{
	flush(container_of(t, struct chardev, flush_timer));
}

/* The first byte after silence: wait for more, if the front end likes. Half a ring: now. */
static void on_flush_post(struct post *p)
{
	struct chardev *c = container_of(p, struct chardev, flush_post);
	bool now;

	mutex_lock(&c->lock);
	now = c->len >= c->size / 2;
	mutex_unlock(&c->lock);
	if (now || !c->client.delay_ns || timer_arm(&c->flush_timer, clock_now(CLOCK_HOST_NS) + c->client.delay_ns) < 0)
		flush(c);
}

/* Returns how many bytes had room. *post: the loop must be told. */
static size_t put(struct chardev *c, const void *p, size_t n, bool *post) REQUIRES(c->lock)
{
	size_t before = c->len, tail, first;

	n = MIN(n, c->size - c->len);
	if (!n)
		return 0;
	tail = (c->head + c->len) % c->size;
	first = MIN(n, c->size - tail);
	memcpy(c->ring + tail, p, first);
	memcpy(c->ring, (const uint8_t *)p + first, n - first);
	c->len += n;
	*post |= !c->flush_due || (before < c->size / 2 && c->len >= c->size / 2);
	c->flush_due = true;
	return n;
}

size_t chardev_write(struct chardev *c, const void *p, size_t n, bool *full)
{
	bool post = false;

	*full = false;
	if (c->type->no_message)
		return n;
	mutex_lock(&c->lock);
	if (c->open) {
		n = put(c, p, n, &post);
		if (c->len == c->size)
			*full = c->was_full = true;
	} else {
		counter_add_shared(&c->lost, n);
	}
	mutex_unlock(&c->lock);
	if (post)
		loop_post(c->loop, &c->flush_post);
	return n;
}

int chardev_send(struct chardev *c, const struct iovec *iov, unsigned cnt)
{
	size_t n = iov_size(iov, cnt);
	bool post = false;
	int rc = 0;

	if (c->type->no_message)
		return 0;
	mutex_lock(&c->lock);
	if (!c->open) {
		rc = -ENOTCONN;
	} else if (n > c->size) {
		rc = -EMSGSIZE;
	} else if (n > c->size - c->len) {
		rc = -EAGAIN;
		c->was_full = true;
	} else {
		for (unsigned i = 0; i < cnt; i++)
			put(c, iov[i].iov_base, iov[i].iov_len, &post);
	}
	mutex_unlock(&c->lock);
	if (post)
		loop_post(c->loop, &c->flush_post);
	return rc;
}

/* ---- input ---- */

/* Not to be read now. That the other end goes is of interest all the same. */
static void rest(struct chardev *c)
{
	if (c->in_watch.loop)
		watch_mod(&c->in_watch, EPOLLRDHUP);
}

static void read_input(struct chardev *c)
{
	size_t room = c->client.capacity(c->client.opaque);
	ssize_t n;

	if (!room) {
		rest(c);
		return;
	}
	n = read(c->in, c->buf, MIN(room, c->client.in_size));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(c);
		return;
	}
	if (timer_armed(&c->linger))
		timer_arm(&c->linger, clock_now(CLOCK_HOST_NS) + LINGER);
	if (c->type->filter)
		n = (ssize_t)c->type->filter(c, c->buf, (size_t)n);
	if (n)
		c->client.input(c->client.opaque, c->buf, (size_t)n);
	if (c->hang_up)
		hang_up(c);
	else if (c->in_polls)
		loop_post(c->loop, &c->want_post); /* until there is no room, or the end */
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct chardev *c = container_of(w, struct chardev, in_watch);

	if (w->events & EPOLLIN) {
		read_input(c);
	} else if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
		/*
		 * It is gone, and may have left something that the front end has no room for yet: chardev_want() reads
		 * on. A next connection does not wait for that for ever; where none can come, nothing is lost.
		 */
		watch_del(w);
		if (!c->client.capacity)
			hang_up(c);
		else if (c->type->ended)
			timer_arm(&c->linger, clock_now(CLOCK_HOST_NS) + LINGER);
	}
}

static void on_linger(struct timer *t)
{
	hang_up(container_of(t, struct chardev, linger));
}

static void on_want(struct post *p)
{
	struct chardev *c = container_of(p, struct chardev, want_post);

	if (c->in < 0)
		return;
	if (c->hang_up)
		hang_up(c);
	else if (c->in_polls)
		read_input(c);
	else if (c->in_watch.loop)
		watch_mod(&c->in_watch, EPOLLIN);
	else
		watch_add(c->loop, &c->in_watch, EPOLLIN);
}

void chardev_want(struct chardev *c)
{
	if (c->loop)
		loop_post(c->loop, &c->want_post);
}

void chardev_hang_up(struct chardev *c)
{
	c->hang_up = true;
	loop_post(c->loop, &c->want_post);
}

/* A front end that reads nothing is still to learn that the other end went. */
static void watch_input(struct chardev *c)
{
	if (c->in < 0)
		return;
	watch_init(&c->in_watch, "chardev input", c->in, on_readable);
	c->in_polls = watch_add(c->loop, &c->in_watch, EPOLLRDHUP) < 0;
	if (c->client.capacity)
		loop_post(c->loop, &c->want_post);
}

/* ---- front ends ---- */

static void start(void *arg)
{
	struct chardev *c = arg;

	c->type->start(c);
}

static int make_buffers(struct chardev *c, struct error *err)
{
	c->size = c->client.out_size;
	c->ring = c->type->no_message ? NULL : malloc(c->size);
	c->buf = c->client.capacity ? malloc(c->client.in_size) : NULL;
	if ((!c->ring && !c->type->no_message) || (!c->buf && c->client.capacity)) {
		free(c->ring);
		free(c->buf);
		c->ring = c->buf = NULL;
		return fail(err, ENOMEM, "%s: out of memory", c->label);
	}
	return 0;
}

int chardev_attach(struct chardev *c, const char *user, const struct chardev_client *client, struct loop *loop,
		   struct error *err)
{
	int rc;

	if (*c->user)
		return fail(err, EBUSY, "%s is in use by %s; one thing can use it, make another", c->label, c->user);
	c->client = *client;
	if (!c->client.out_size)
		c->client.out_size = CHARDEV_RING;
	if (!c->client.in_size)
		c->client.in_size = CHARDEV_INPUT;
	rc = make_buffers(c, err);
	if (rc < 0)
		return rc;
	snprintf(c->user, sizeof(c->user), "%s", user);
	c->head = c->len = 0;
	c->flush_due = c->was_full = false;
	c->loop = loop;
	post_init(&c->flush_post, on_flush_post);
	post_init(&c->want_post, on_want);
	timer_init(&c->flush_timer, loop, CLOCK_HOST_NS, on_flush_timer);
	timer_init(&c->linger, loop, CLOCK_HOST_NS, on_linger);
	loop_call(loop, start, c);
	return 0;
}

/* ---- the end ---- */

struct ending {
	struct chardev *c;
	enum written written;
	int out;
};

/* Only output matters any more. */
static void silence(void *arg)
{
	struct chardev *c = arg;
	struct chardev_client none = { .out_size = c->client.out_size, .in_size = c->client.in_size };

	c->client = none;
	watch_del(&c->in_watch);
	timer_cancel(&c->linger);
}

static void write_rest(void *arg)
{
	struct ending *e = arg;

	e->written = write_ring(e->c);
	e->out = e->c->out;
}

/* The last words of a guest are the ones that matter. The loop itself does not wait. */
static void drain(struct chardev *c)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + CLOSE_WAIT_MS * NSEC_PER_MSEC;
	struct ending e = { .c = c };

	do {
		struct pollfd pfd = { .events = POLLOUT };

		loop_call(c->loop, write_rest, &e);
		pfd.fd = e.out;
		if (e.written == WRITTEN_STUCK)
			poll(&pfd, 1, 50);
	} while (e.written != WRITTEN_ALL && clock_now(CLOCK_HOST_NS) < end);
}

static void stop(void *arg)
{
	struct chardev *c = arg;

	c->type->stop(c);
	loop_unpost(c->loop, &c->flush_post);
	loop_unpost(c->loop, &c->want_post);
	timer_cancel(&c->flush_timer);
	unwatch(c);
	c->in = c->out = -1;
}

void chardev_detach(struct chardev *c)
{
	if (!*c->user)
		return;
	loop_call(c->loop, silence, c);
	if (!c->type->no_message)
		drain(c);
	loop_call(c->loop, stop, c);
	mutex_lock(&c->lock);
	c->open = false;
	counter_add_shared(&c->lost, c->len);
	c->len = 0;
	mutex_unlock(&c->lock);
	free(c->ring);
	free(c->buf);
	c->ring = c->buf = NULL;
	c->loop = NULL;
	*c->user = 0;
}
