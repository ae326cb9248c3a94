/* SPDX-License-Identifier: BSD-2-Clause */
/* The data path of user networking: see user_data.h. */
#include "backend/user_data.h"

#include <errno.h>
#include <unistd.h>

#include "base/iov.h"

#define BUDGET 64 /* frames in one call */

static void report_broken(struct user_data *d)
{
	if (d->told_broken)
		return;
	d->told_broken = true;
	d->broken(d);
}

static void wake_user(struct user_data *d)
{
	/* Our own end of a pipe, non-blocking whatever the other side does (user_helper.c). */
	if (write(d->wake_user, "", 1) < 0)
		return; /* it is full: vwire-user has been woken often enough */
}

/* ---- accounts ---- */

static uint64_t read_stat(const _Atomic uint64_t *s)
{
	return atomic_load_explicit((_Atomic uint64_t *)s, memory_order_acquire);
}

/* What became of the frames that are held. Nothing is believed beyond their number. */
static void count_outcomes(struct user_data *d)
{
	struct net_account *a = &d->c->rx;
	uint64_t held = counter_get(&a->held);
	uint64_t filtered = read_stat(&d->shm->stats.filtered) - d->filtered;
	uint64_t passed = read_stat(&d->shm->stats.passed) - d->passed;
	uint64_t bytes = read_stat(&d->shm->stats.passed_bytes) - d->passed_bytes;

	if (!filtered && !passed)
		return;
	if (passed > held || filtered > held - passed) {
		report_broken(d);
		return;
	}
	bytes = MIN(bytes, d->held_bytes);
	d->filtered += filtered;
	d->passed += passed;
	d->passed_bytes += bytes;
	d->held_bytes = passed + filtered == held ? 0 : d->held_bytes - bytes;
	counter_add(&a->held, -(passed + filtered));
	counter_add(&a->dropped[NET_DROP_PREFILTER], filtered);
	net_count_rx_out(d->c, (unsigned)passed, bytes);
}

static void count_overrun(struct user_data *d)
{
	uint64_t n = read_stat(&d->shm->stats.overrun) - d->overrun;

	if (!n || n > INT64_MAX)
		return;
	d->overrun += n;
	counter_add(&d->c->tx.in, n);
	counter_add(&d->c->tx.dropped[NET_DROP_QUEUE_FULL], n);
}

static void count(struct user_data *d)
{
	count_outcomes(d);
	count_overrun(d);
}

/* ---- does it get on? ---- */

static uint64_t frames_done(struct user_progress *p, bool *more)
{
	struct user_data *d = container_of(p, struct user_data, progress);

	count(d);
	*more = counter_get(&d->c->rx.held) > 0 && !d->told_broken;
	return d->passed + d->filtered;
}

static void on_suspect(struct user_progress *p)
{
	struct user_data *d = container_of(p, struct user_data, progress);

	/* If a wake was lost, whoever lost it: this is another. */
	wake_user(d);
	d->suspect(d);
}

static void on_goes_on(struct user_progress *p)
{
	struct user_data *d = container_of(p, struct user_data, progress);

	d->goes_on(d);
}

/* ---- to vwire-user ---- */

/* A place for a frame, or NULL if there is none for now; then a wake is owed by vwire-user. */
static uint8_t *reserve(struct user_data *d, uint32_t len)
{
	uint8_t *to = ring_reserve(&d->tx, len);

	if (likely(to))
		return to;
	if (ring_ask_room(&d->tx))
		return NULL;
	return ring_reserve(&d->tx, len);
}

static bool put_frame(struct user_data *d, const struct batch *b, const struct frame *f)
{
	struct virtio_net_hdr hdr;
	uint8_t *to;

	if (unlikely(f->len < ETH_HDR_LEN || f->len > RING_FRAME_MAX)) {
		net_drop_rx(d->c, f->len < ETH_HDR_LEN ? NET_DROP_TOO_SHORT : NET_DROP_TOO_BIG);
		return true;
	}
	to = reserve(d, f->len);
	if (!to)
		return false;
	/* Never less than the length that the record says: what is left of the ring's old bytes must not go out. */
	if (unlikely(iov_read_at(frame_iov(b, f), f->cnt, 0, to, f->len) != f->len)) {
		net_drop_rx(d->c, NET_DROP_MALFORMED);
		return true;
	}
	net_vnet_encode(&f->meta, &hdr);
	ring_push(&d->tx, f->len, &hdr);
	counter_add(&d->c->rx.held, 1);
	d->held_bytes += f->len;
	return true;
}

unsigned user_data_send(struct user_data *d, struct batch *b)
{
	unsigned i = 0;

	if (unlikely(!d->attached || d->told_broken)) {
		for (; i < b->n; i++)
			net_drop_rx(d->c, NET_DROP_PEER_GONE);
		return i;
	}
	count_outcomes(d);
	while (i < b->n && put_frame(d, b, &b->frame[i]))
		i++;
	if (ring_publish(&d->tx))
		wake_user(d);
	if (unlikely(!user_progress_watches(&d->progress)))
		user_progress_watch(&d->progress);
	if (unlikely(i < b->n)) {
		d->waiting = true;
		if (d->tx.broken)
			report_broken(d);
	}
	return i;
}

/* ---- from vwire-user ---- */

static void refuse(struct user_data *d, enum net_drop why)
{
	net_count_tx_in(d->c, 1);
	net_drop_tx(d->c, why);
}

static bool take_frame(struct user_data *d, const struct ring_frame *f)
{
	struct frame_meta meta;
	enum net_drop why = net_vnet_decode(&f->hdr, f->len, &meta);
	struct net_window w;
	struct iov_cur cur;

	if (unlikely(why)) {
		refuse(d, why);
		return true;
	}
	if (net_lend(d->c, f->len, &w))
		return false;
	cur = iov_cur(w.iov, w.cnt);
	if (likely(w.room >= f->len)) {
		iov_put(&cur, f->data, f->len);
		net_take(d->c, f->len, &meta);
	} else {
		iov_put(&cur, f->data, w.room);
		net_take_spilled(d->c, &w, f->len, f->data + w.room, &meta);
	}
	return true;
}

enum round {
	ROUND_EMPTY,
	ROUND_NO_ROOM,
	ROUND_BUDGET,
	ROUND_BROKEN,
};

static enum round drain(struct user_data *d)
{
	enum round end = ROUND_BUDGET;
	struct ring_frame f;
	unsigned n;

	for (n = 0; n < BUDGET; n++) {
		enum ring_result r = ring_peek(&d->rx, &f);

		if (r != RING_FRAME) {
			end = r == RING_EMPTY ? ROUND_EMPTY : ROUND_BROKEN;
			break;
		}
		if (!take_frame(d, &f)) {
			end = ROUND_NO_ROOM;
			break;
		}
		ring_pop(&d->rx, &f);
	}
	if (n)
		net_commit(d->c);
	if (n && ring_release(&d->rx))
		wake_user(d);
	return d->rx.broken ? ROUND_BROKEN : end;
}

static void receive(struct user_data *d)
{
	switch (drain(d)) {
	case ROUND_EMPTY:
		if (!ring_ask_data(&d->rx))
			watch_again(&d->watch);
		if (d->rx.broken)
			report_broken(d);
		break;
	case ROUND_BUDGET:
		watch_again(&d->watch);
		break;
	case ROUND_NO_ROOM: /* user_data_wake() goes on */
		break;
	case ROUND_BROKEN:
		report_broken(d);
		break;
	}
}

static void on_wake(struct watch *w, uint32_t events)
{
	struct user_data *d = container_of(w, struct user_data, watch);

	(void)events;
	if (d->told_broken)
		return;
	count(d);
	if (d->waiting) {
		d->waiting = false;
		net_wake_peer(d->c, NET_WAKE_ROOM);
	}
	receive(d);
}

void user_data_wake(struct user_data *d, unsigned what)
{
	if ((what & NET_WAKE_ROOM) && d->running && !d->told_broken)
		receive(d);
}

/* ---- life ---- */

/* The eventfd is never read: edge-triggered, each write is an event. */
static void run(struct user_data *d)
{
	if (!d->attached || d->running)
		return;
	d->running = !watch_add(d->c->loop, &d->watch, EPOLLIN | EPOLLET);
	if (!d->running) {
		report_broken(d);
		return;
	}
	watch_again(&d->watch);
	user_progress_watch(&d->progress);
}

void user_data_start(struct user_data *d)
{
	run(d);
}

void user_data_quiesce(struct user_data *d)
{
	if (!d->attached)
		return;
	watch_del(&d->watch);
	user_progress_pause(&d->progress);
	d->running = false;
	count(d);
}

void user_data_init(struct user_data *d, struct net_client *c)
{
	*d = (struct user_data){ .c = c };
	d->progress.done = frames_done;
	d->progress.suspect = on_suspect;
	d->progress.goes_on = on_goes_on;
	user_progress_init(&d->progress, c->loop);
}

void user_data_attach(struct user_data *d, const struct user_data_memory *m)
{
	ring_init(&d->tx, &m->shm->to_user, m->to_user, USER_RING_SIZE);
	ring_init(&d->rx, &m->shm->to_vwire, m->to_vwire, USER_RING_SIZE);
	d->shm = m->shm;
	d->wake_user = m->wake_user;
	d->held_bytes = d->passed = d->passed_bytes = d->filtered = d->overrun = 0;
	d->waiting = d->told_broken = false;
	d->attached = true;
	watch_init(&d->watch, "user rings", m->wake_vwire, on_wake);
	if (d->c->started)
		run(d);
}

static void count_lost(struct user_data *d)
{
	struct ring_frame f;
	uint64_t held = counter_get(&d->c->rx.held);

	counter_add(&d->c->rx.held, -held);
	counter_add(&d->c->rx.dropped[NET_DROP_PEER_GONE], held);
	/* The ring is finite, and each record takes some of it: this ends. */
	while (ring_peek(&d->rx, &f) == RING_FRAME) {
		refuse(d, NET_DROP_PEER_GONE);
		ring_pop(&d->rx, &f);
	}
}

void user_data_detach(struct user_data *d)
{
	if (!d->attached)
		return;
	watch_del(&d->watch);
	user_progress_reset(&d->progress);
	d->running = false;
	d->told_broken = true; /* nobody is to be told any more */
	count(d);
	count_lost(d);
	d->attached = false;
	if (d->waiting)
		net_wake_peer(d->c, NET_WAKE_ROOM);
	d->waiting = false;
}
