/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of an open character device: output ring, input, connections. */
#include "char/chardev.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/open.h"
#include "char/terminal.h"

/* Output waits this long for more, so that a line is one write and not eighty. */
#define FLUSH_DELAY   (2 * NSEC_PER_MSEC)
#define CLOSE_WAIT_MS 1000
#define CAREFUL_WRITE 256

/* ---- connections ---- */

static void drop_connection(struct chardev *c)
{
	watch_del(&c->in_watch);
	watch_del(&c->out_watch);
	if (c->own_in && c->in >= 0)
		close(c->in);
	if (c->own_out && c->out >= 0 && c->out != c->in)
		close(c->out);
	c->in = c->out = -1;
}

/* The other end went away. A server waits for the next one. */
static void hang_up(struct chardev *c)
{
	drop_connection(c);
	if (c->listener >= 0 && chardev_listen_again(c) < 0)
		log_warn("-serial unix:%s: cannot listen again", c->path);
}

/* ---- output ---- */

static ssize_t write_some(struct chardev *c, const uint8_t *p, size_t n)
{
	struct pollfd pfd = { .fd = c->out, .events = POLLOUT };

	if (c->kind == CHARDEV_UNIX)
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

static void consume(struct chardev *c, unsigned n)
{
	mutex_lock(&c->lock);
	c->head = (c->head + n) % CHARDEV_RING;
	c->len -= n;
	mutex_unlock(&c->lock);
}

/* The first contiguous piece of what is in the ring. It stays there until consume(). */
static unsigned peek(struct chardev *c, const uint8_t **p)
{
	unsigned n;

	mutex_lock(&c->lock);
	*p = c->ring + c->head;
	n = MIN(c->len, CHARDEV_RING - c->head);
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
	unsigned n, sum = 0;
	const uint8_t *p;

	for (; (n = peek(c, &p)) > 0; sum += n) {
		ssize_t done;

		if (sum >= CHARDEV_RING)
			return WRITTEN_SOME;
		if (c->out < 0) {
			counter_add_shared(&c->lost, n);
			consume(c, n);
			continue;
		}
		done = write_some(c, p, n);
		if (done >= 0) {
			n = (unsigned)done;
			consume(c, n);
		} else if (errno == EAGAIN) {
			return WRITTEN_STUCK;
		} else if (errno != EINTR) {
			if (c->kind == CHARDEV_UNIX) {
				hang_up(c);
				continue;
			}
			/* A full disk, a closed pipe: what cannot be written is lost, and the guest goes on. */
			counter_add_shared(&c->lost, n);
			consume(c, n);
		}
	}
	return WRITTEN_ALL;
}

static void tell_room(struct chardev *c)
{
	bool tell;

	mutex_lock(&c->lock);
	tell = c->was_full && c->len <= CHARDEV_RING / 2;
	if (tell)
		c->was_full = false;
	mutex_unlock(&c->lock);
	if (tell && c->client.room)
		c->client.room(c->client.opaque);
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
			timer_arm(&c->flush_timer, clock_now(CLOCK_HOST_NS) + 10 * FLUSH_DELAY);
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

/* The first byte after silence: wait for the rest of the line. Half a ring: now. */
static void on_flush_post(struct post *p)
{
	struct chardev *c = container_of(p, struct chardev, flush_post);
	bool now;

	mutex_lock(&c->lock);
	now = c->len >= CHARDEV_RING / 2;
	mutex_unlock(&c->lock);
	if (now || timer_arm(&c->flush_timer, clock_now(CLOCK_HOST_NS) + FLUSH_DELAY) < 0)
		flush(c);
}

size_t chardev_write(struct chardev *c, const uint8_t *p, size_t n, bool *full)
{
	size_t done = 0;
	bool post;

	*full = false;
	if (c->kind == CHARDEV_NULL)
		return n;
	mutex_lock(&c->lock);
	post = !c->flush_due;
	for (; done < n && c->len < CHARDEV_RING; done++)
		c->ring[(c->head + c->len++) % CHARDEV_RING] = p[done];
	post = (post && done) || (c->len >= CHARDEV_RING / 2 && c->len - done < CHARDEV_RING / 2);
	c->flush_due |= done > 0;
	if (c->len == CHARDEV_RING)
		*full = c->was_full = true;
	mutex_unlock(&c->lock);
	if (post)
		loop_post(c->loop, &c->flush_post);
	return done;
}

/* ---- input ---- */

static void read_input(struct chardev *c)
{
	uint8_t buf[256];
	size_t room = c->client.capacity ? c->client.capacity(c->client.opaque) : 0;
	ssize_t n;

	if (!room) {
		if (c->in_watch.loop)
			watch_mod(&c->in_watch, 0);
		return;
	}
	n = read(c->in, buf, MIN(room, sizeof(buf)));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (c->kind == CHARDEV_UNIX) {
			hang_up(c);
			return;
		}
		watch_del(&c->in_watch);
		c->in = -1;
		return;
	}
	if (c->kind == CHARDEV_STDIO)
		n = (ssize_t)terminal_filter(&c->escaped, buf, (size_t)n, c->client.quit, c->client.opaque);
	if (n)
		c->client.input(c->client.opaque, buf, (size_t)n);
}

static void on_readable(struct watch *w, uint32_t events)
{
	struct chardev *c = container_of(w, struct chardev, in_watch);

	/* With interest in nothing there is still the end of the other side. */
	if (!(events & EPOLLIN) && events & (EPOLLHUP | EPOLLERR)) {
		if (c->kind == CHARDEV_UNIX) {
			hang_up(c);
		} else {
			watch_del(&c->in_watch);
			c->in = -1;
		}
		return;
	}
	read_input(c);
}

static void on_want(struct post *p)
{
	struct chardev *c = container_of(p, struct chardev, want_post);

	if (c->in < 0)
		return;
	if (c->in_polls)
		read_input(c);
	else if (c->in_watch.loop)
		watch_mod(&c->in_watch, EPOLLIN);
}

void chardev_want(struct chardev *c)
{
	loop_post(c->loop, &c->want_post);
}

static void watch_input(struct chardev *c)
{
	if (c->in < 0 || !c->client.input)
		return;
	watch_init(&c->in_watch, "serial input", c->in, on_readable);
	if (watch_add(c->loop, &c->in_watch, EPOLLIN) < 0)
		c->in_polls = true;
	chardev_want(c);
}

/* ---- server ---- */

static void on_connection(struct watch *w, uint32_t events)
{
	struct chardev *c = container_of(w, struct chardev, listen_watch);
	int fd = socket_accept(c->listener, true);

	(void)events;
	if (fd >= 0)
		chardev_connected(c, fd);
}

/* One connection at a time: the next may come when this one is gone. */
int chardev_listen_again(struct chardev *c)
{
	watch_init(&c->listen_watch, "serial server", c->listener, on_connection);
	return watch_add(c->loop, &c->listen_watch, EPOLLIN);
}

void chardev_connected(struct chardev *c, int fd)
{
	watch_del(&c->listen_watch);
	c->in = c->out = fd;
	c->own_in = c->own_out = true;
	watch_init(&c->out_watch, "serial output", fd, on_writable);
	watch_input(c);
}

/* ---- life ---- */

int chardev_start(struct chardev *c, const struct chardev_client *client, struct error *err)
{
	int r = 0;

	c->client = *client;
	post_init(&c->flush_post, on_flush_post);
	post_init(&c->want_post, on_want);
	timer_init(&c->flush_timer, c->loop, CLOCK_HOST_NS, on_flush_timer);
	watch_init(&c->out_watch, "serial output", c->out, on_writable);
	if (c->kind == CHARDEV_STDIO)
		r = terminal_raw(err);
	if (r == 0 && c->listener >= 0 && c->in < 0) {
		r = chardev_listen_again(c);
		if (r < 0)
			fail(err, -r, "-serial unix:%s: %s", c->path, errno_str(-r));
	}
	if (r == 0)
		watch_input(c);
	return r;
}

/* The last words of a guest are the ones that matter. */
static void drain(struct chardev *c)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + CLOSE_WAIT_MS * NSEC_PER_MSEC;

	enum written w;

	while ((w = write_ring(c)) != WRITTEN_ALL && clock_now(CLOCK_HOST_NS) < end) {
		struct pollfd pfd = { .fd = c->out, .events = POLLOUT };

		if (w == WRITTEN_STUCK)
			poll(&pfd, 1, 50);
	}
}

void chardev_close(struct chardev *c)
{
	if (!c)
		return;
	c->client = (struct chardev_client){ 0 };
	if (c->flush_post.fn) {
		drain(c);
		loop_unpost(c->loop, &c->flush_post);
		loop_unpost(c->loop, &c->want_post);
		timer_cancel(&c->flush_timer);
		watch_del(&c->listen_watch);
	}
	drop_connection(c);
	if (c->listener >= 0) {
		close(c->listener);
		unlink(c->path);
	}
	free(c->path);
	mutex_destroy(&c->lock);
	free(c);
}
