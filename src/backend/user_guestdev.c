/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections of the guest to a character device: see user_guestdev.h. */
#include "backend/user_guestdev.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define PIECE 4096

struct connection {
	struct user_guestdev *dev;
	struct list node;
	struct watch watch;
	int fd;
	bool finished;	/* the guest sends no more */
	size_t at, end; /* in rest: what the guest has had no room for yet */
	uint8_t rest[PIECE];
};

static struct connection *newest(struct user_guestdev *d)
{
	return list_empty(&d->connections) ? NULL : list_entry(d->connections.prev, struct connection, node);
}

static bool waits(const struct connection *k)
{
	return k->at < k->end;
}

/* What to be woken for. One that has ended while the device took nothing is read on now (on_connection). */
static void watch(struct connection *k)
{
	bool read = !k->finished && !k->dev->full;

	if (!k->watch.loop && (!read || watch_add(k->dev->loop, &k->watch, EPOLLIN)))
		return;
	watch_mod(&k->watch, (read ? EPOLLIN : 0) | (waits(k) ? EPOLLOUT : 0));
}

static void end(struct connection *k)
{
	struct user_guestdev *d = k->dev;

	watch_del(&k->watch);
	close(k->fd);
	list_remove(&k->node);
	free(k);
	d->n--;
	if (newest(d))
		chardev_want(d->chr); /* another one gets what comes */
}

/* Nothing comes from the guest any more, and nothing will go to it. */
static bool is_over(const struct connection *k)
{
	return k->finished && !waits(k) && (k != newest(k->dev) || !k->dev->open);
}

static void end_those_that_are_over(struct user_guestdev *d)
{
	struct connection *k, *tmp;

	list_for_each_safe(k, tmp, &d->connections, node) {
		if (is_over(k))
			end(k);
	}
}

/* ---- from the guest ---- */

/* What the device does not take is left in the socket: so it is looked at first, and taken out then. */
static ssize_t pass_on(struct connection *k)
{
	struct user_guestdev *d = k->dev;
	uint8_t piece[PIECE];
	ssize_t n = recv(k->fd, piece, sizeof(piece), MSG_PEEK | MSG_DONTWAIT);
	size_t taken;

	if (n <= 0)
		return n;
	taken = chardev_write(d->chr, piece, (size_t)n, &d->full);
	return taken ? recv(k->fd, piece, taken, MSG_DONTWAIT) : 1;
}

/* False: the connection is no more. */
static bool from_guest(struct connection *k)
{
	ssize_t n = pass_on(k);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		end(k);
		return false;
	}
	k->finished = !n;
	return true;
}

static void watch_all(struct user_guestdev *d)
{
	struct connection *k;

	list_for_each(k, &d->connections, node)
		watch(k);
}

/* ---- to the guest ---- */

static bool write_rest(struct connection *k)
{
	ssize_t n = send(k->fd, k->rest + k->at, k->end - k->at, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		end(k);
		return false;
	}
	k->at += n > 0 ? (size_t)n : 0;
	if (!waits(k) && k == newest(k->dev))
		chardev_want(k->dev->chr);
	return true;
}

static void on_connection(struct watch *w, uint32_t events)
{
	struct connection *k = container_of(w, struct connection, watch);
	struct user_guestdev *d = k->dev;

	if (events & EPOLLOUT && waits(k) && !write_rest(k))
		return;
	if (events & EPOLLIN && !k->finished && !d->full && !from_guest(k))
		return;
	if (events & (EPOLLHUP | EPOLLERR)) {
		/* It has ended both ways, and would be told so again and again while what it left is not read. */
		if (d->full && !k->finished)
			watch_del(w);
		if (k->finished) {
			end(k);
			return;
		}
	}
	watch_all(d);
	end_those_that_are_over(d);
}

/* ---- the device ---- */

static size_t capacity(void *opaque)
{
	struct connection *k = newest(opaque);

	return k && !waits(k) ? PIECE : 0;
}

static void input(void *opaque, const uint8_t *p, size_t n)
{
	struct connection *k = newest(opaque);

	if (!k || waits(k))
		return;
	k->at = 0;
	k->end = MIN(n, sizeof(k->rest));
	memcpy(k->rest, p, k->end);
	if (write_rest(k))
		watch(k);
}

static void room(void *opaque)
{
	struct user_guestdev *d = opaque;

	d->full = false;
	watch_all(d);
}

static void event(void *opaque, enum chardev_event e)
{
	struct user_guestdev *d = opaque;

	d->open = e == CHARDEV_OPENED;
	end_those_that_are_over(d);
}

/* ---- all of it ---- */

int user_guestdev_open(struct user_guestdev *d, const char *spec, struct loop *loop, struct error *err)
{
	const struct chardev_client client = { .capacity = capacity,
					       .input = input,
					       .room = room,
					       .event = event,
					       .opaque = d,
					       .out_size = 64 * KIB,
					       .in_size = PIECE };
	int rc;

	*d = (struct user_guestdev){ .loop = loop };
	list_init(&d->connections);
	rc = chardev_open("guestfwd to", spec, &d->chr, err);
	if (rc < 0)
		return rc;
	if (!d->chr)
		return fail(err, EINVAL, "guestfwd to %.64s: a connection has to go somewhere; use null", spec);
	rc = chardev_attach(d->chr, "guestfwd", &client, loop, err);
	if (rc == 0)
		return 0;
	error_prefix(err, "guestfwd to %.64s: ", spec);
	chardev_close(d->chr);
	d->chr = NULL;
	return rc;
}

void user_guestdev_close(struct user_guestdev *d)
{
	struct connection *k, *tmp;

	if (!d->chr)
		return;
	list_for_each_safe(k, tmp, &d->connections, node)
		end(k);
	chardev_detach(d->chr);
	chardev_close(d->chr);
	d->chr = NULL;
}

void user_guestdev_connect(struct user_guestdev *d, int fd)
{
	struct connection *k = calloc(1, sizeof(*k));
	int rc = -ENOMEM;

	if (k && d->n == USER_GUESTDEV_CONNECTIONS)
		end(list_entry(d->connections.next, struct connection, node));
	if (k) {
		k->dev = d;
		k->fd = fd;
		watch_init(&k->watch, "guestfwd connection", fd, on_connection);
		rc = watch_add(d->loop, &k->watch, EPOLLIN);
	}
	if (rc) {
		log_limited(LOG_WARN, "guestfwd: the guest's connection is closed: %s", errno_str(-rc));
		close(fd);
		free(k);
		return;
	}
	list_append(&d->connections, &k->node);
	d->n++;
	watch(k);
	end_those_that_are_over(d);
	chardev_want(d->chr);
}
