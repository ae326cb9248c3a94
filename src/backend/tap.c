/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The net client of a tap device of the host's kernel: one for each of its queues.
 *
 * From the tap to the guest. The window that the peer lends is read into directly, with the vnet header in front and,
 * if the window is small, a spill buffer behind: asking for little is cheap (fewer pieces a call) and safe (a longer
 * frame is completed by copy). How much to ask for follows the longest of the last frames. One commit ends a round of
 * at most BUDGET frames. The descriptor is watched level-triggered, so that a round may end before the tap is empty:
 * traffic that comes one frame at a time (requests and answers) is read with one call a frame instead of two. A round
 * reads on to the end while rounds find more than one frame, and now and then to find out.
 *
 * A peer that has no windows to lend (a hub) gets what a round has read as one batch (tap_ahead.h). What it does not
 * take is held, and goes first.
 *
 * When the peer has no room the tap is not watched for input until NET_WAKE_ROOM: frames wait in the kernel's queue,
 * whose length bounds them.
 *
 * An interface that is down is no broken wire: what is written is counted as tap-down. One that was deleted is: the
 * link goes down, and once a second we look whether there is one of that name again, and attach to it. It is never made
 * anew by us.
 *
 * A guest may change what it takes as often as it likes, and to tell the kernel takes a lock that all of the host's
 * network configuration waits for (the rtnl mutex). So it is told a few times at once, and then only now and then, by a
 * timer. Until it has been told frames come as before; the core lowers what the guest does not take.
 *
 * The kernel spreads flows over all queues that are enabled, read or not. So a queue of several is enabled only when it
 * is started the first time, which is when there is somebody at the other end.
 */
#include "backend/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/script.h"
#include "backend/tap_ahead.h"
#include "backend/tap_steer.h"
#include "base/iov.h"
#include "base/log.h"

#define BUDGET	   64	/* frames a round */
#define WANT_PLAIN 1518 /* Ethernet with a VLAN tag */
#define WANT_JUMBO 9018
#define WANT_EPOCH 64 /* frames after which the wish may shrink */
#define PROBE_MIN  4  /* rounds of one frame between two that read on, while nothing more is found */
#define PROBE_MAX  16
#define RETRY_NS   NSEC_PER_SEC /* between attempts to attach again */

/* How often the kernel is told of other offloads: so many times in a row, and then once in so long */
#define TELL_BURST    8
#define TELL_PAUSE_NS (20 * NSEC_PER_MSEC)

struct tap {
	struct net_client c;
	struct tap_dev dev;
	struct watch watch;
	struct timer retry;
	uint32_t events; /* that we want to hear of */
	bool lost;	 /* the interface is gone */

	uint32_t want, peak, frames; /* bytes to ask for; longest frame of this epoch; frames in it */
	bool burst;		     /* rounds read on to the end */
	unsigned lonely;	     /* rounds of one frame in a row, while they do */
	unsigned skip, interval;     /* rounds until the next that reads on, while they do not */

	uint32_t asked, told; /* offloads that the peer wants, that the kernel knows of */
	uint64_t tell_due;    /* ns: when all that it was told has been paid for, a pause each */
	struct timer tell;    /* armed while asked is not told */
	counter tells;

	bool batches; /* the other end takes batches only */
	struct tap_ahead ahead;
	unsigned held; /* frames in there that tx.held has */

	char *downscript;
	struct virtio_net_hdr_mrg_rxbuf rx_hdr, tx_hdr;
	struct iovec rx_iov[NET_IOV_MAX];
	uint8_t spill[NET_FRAME_MAX + 1]; /* a byte more than any frame: one that is cut is seen */
};

static struct tap *to_tap(struct net_client *c)
{
	return container_of(c, struct tap, c);
}

/* ---- offloads ---- */

static void tell(struct tap *t, uint64_t now)
{
	timer_cancel(&t->tell);
	t->tell_due = MAX(t->tell_due, now) + TELL_PAUSE_NS;
	if (tap_dev_set_offload(&t->dev, t->asked) == 0)
		t->told = t->asked;
	counter_add(&t->tells, 1);
}

static void tell_late(struct timer *timer)
{
	struct tap *t = container_of(timer, struct tap, tell);

	tell(t, clock_now(CLOCK_HOST_NS));
	net_gives_changed(&t->c, t->dev.gives);
}

static uint32_t tap_set_offload(struct net_client *c, uint32_t takes)
{
	struct tap *t = to_tap(c);
	uint64_t now = clock_now(CLOCK_HOST_NS), debt = t->tell_due > now ? t->tell_due - now : 0;
	const uint64_t most = (TELL_BURST - 1) * (uint64_t)TELL_PAUSE_NS;

	t->asked = takes & t->dev.offloads;
	if (!t->dev.vnet_hdr || t->asked == t->told)
		timer_cancel(&t->tell);
	else if (!c->started || debt <= most || timer_arm(&t->tell, now + debt - most) < 0)
		tell(t, now);
	return t->dev.gives;
}

/* ---- the descriptor ---- */

static void update_watch(struct tap *t)
{
	if (t->watch.loop && t->watch.events != t->events)
		watch_mod(&t->watch, t->events);
}

static void listen_for(struct tap *t, uint32_t events, bool on)
{
	t->events = on ? t->events | events : t->events & ~events;
	update_watch(t);
}

/* Nothing to be had from the descriptor for a while: never spin on it. */
static void rest(struct tap *t)
{
	watch_del(&t->watch);
	timer_arm(&t->retry, clock_now(CLOCK_HOST_NS) + RETRY_NS);
}

static void lost(struct tap *t)
{
	if (!t->lost) {
		t->lost = true;
		log_warn("%s: the interface %s was deleted; link down until there is one of that name again", t->c.name,
			 t->dev.ifname);
		net_set_carrier(&t->c, false);
	}
	rest(t);
}

static void watch_again_later(struct tap *t)
{
	if (watch_add(t->c.loop, &t->watch, t->events) < 0)
		rest(t);
	else if (t->ahead.batch.n)
		watch_again(&t->watch);
}

static void retry(struct timer *timer)
{
	struct tap *t = container_of(timer, struct tap, retry);

	if (t->lost && (tap_dev_reattach(&t->dev) < 0 || tap_dev_enable(&t->dev) < 0)) {
		rest(t);
		return;
	}
	watch_again_later(t);
	if (t->lost) {
		t->lost = false;
		log_info("%s: attached to the new interface %s; link up", t->c.name, t->dev.ifname);
		if (t->asked != t->told)
			tell_late(&t->tell);
		net_set_carrier(&t->c, true);
	}
}

/* ---- from the tap ---- */

enum round {
	ROUND_FRAME,
	ROUND_EMPTY,
	ROUND_NO_ROOM,
	ROUND_ERROR
};

static uint32_t want_for(uint32_t len)
{
	return len <= WANT_PLAIN ? WANT_PLAIN : len <= WANT_JUMBO ? WANT_JUMBO : NET_FRAME_MAX;
}

static void note_length(struct tap *t, size_t len)
{
	if (len > t->peak)
		t->peak = (uint32_t)len;
	if (len > t->want)
		t->want = want_for(t->peak);
	if (++t->frames < WANT_EPOCH)
		return;
	t->want = want_for(t->peak);
	t->peak = t->frames = 0;
}

static enum round drop_in(struct tap *t, enum net_drop why)
{
	net_count_tx_in(&t->c, 1);
	net_drop_tx(&t->c, why);
	return ROUND_FRAME;
}

/* What was read, rx_hdr before it: *m, or why it is no frame. */
static enum net_drop judge(const struct tap *t, size_t len, struct frame_meta *m)
{
	*m = (struct frame_meta){ 0 };
	if (len > NET_FRAME_MAX)
		return NET_DROP_TOO_BIG;
	return t->dev.vnet_hdr ? net_vnet_decode(&t->rx_hdr.hdr, len, m) : NET_OK;
}

static enum round accept_frame(struct tap *t, const struct net_window *w, size_t len)
{
	struct frame_meta m;
	enum net_drop why = judge(t, len, &m);

	if (unlikely(why))
		return drop_in(t, why);
	note_length(t, len);
	if (likely(len <= w->room))
		net_take(&t->c, len, &m);
	else
		net_take_spilled(&t->c, w, len, t->spill, &m);
	return ROUND_FRAME;
}

static enum round read_error(struct tap *t, int code)
{
	if (code == EAGAIN || code == EINTR)
		return ROUND_EMPTY;
	if (code == EBADFD || code == EBADF)
		lost(t);
	else
		rest(t);
	return ROUND_ERROR;
}

/*
 * Where to read to: the window in place, if it holds any frame; else rx_iov[], with window and spill buffer one behind
 * the other. *w becomes the part of the window that has a place there. Returns the pieces; the header's slot is in
 * front.
 */
static unsigned gather(struct tap *t, struct net_window *w)
{
	struct iovec *iov = t->rx_iov;

	if (likely(w->room >= NET_FRAME_MAX && w->cnt < IOV_MAX))
		return w->cnt;
	if (unlikely(w->cnt > NET_IOV_MAX - 2)) {
		w->cnt = NET_IOV_MAX - 2;
		w->room = iov_size(w->iov, w->cnt);
	}
	memcpy(iov + 1, w->iov, w->cnt * sizeof(*iov));
	w->iov = iov + 1;
	iov[w->cnt + 1] = (struct iovec){ t->spill, NET_FRAME_MAX + 1 - MIN(w->room, (size_t)NET_FRAME_MAX) };
	return w->cnt + 1;
}

static enum round read_frame(struct tap *t)
{
	struct net_window w;
	unsigned cnt;
	ssize_t n;

	if (net_lend(&t->c, t->want, &w))
		return ROUND_NO_ROOM;
	cnt = gather(t, &w);
	if (t->dev.vnet_hdr) {
		w.iov[-1] = (struct iovec){ &t->rx_hdr, TAP_VNET_HDR_LEN };
		n = readv(t->dev.fd, w.iov - 1, (int)cnt + 1);
	} else {
		n = readv(t->dev.fd, w.iov, (int)cnt);
	}
	if (n <= 0)
		return read_error(t, n < 0 ? errno : EIO);
	if (t->dev.vnet_hdr && (n -= (ssize_t)TAP_VNET_HDR_LEN) < 0)
		return drop_in(t, NET_DROP_VNET_HDR);
	return accept_frame(t, &w, (size_t)n);
}

/* ---- from the tap, in batches ---- */

static enum round add_frame(struct tap *t, size_t len)
{
	struct frame_meta m;
	enum net_drop why = judge(t, len, &m);

	if (unlikely(why))
		return drop_in(t, why);
	tap_ahead_add(&t->ahead, len, &m);
	net_count_tx_in(&t->c, 1);
	return ROUND_FRAME;
}

static enum round read_ahead(struct tap *t)
{
	struct iovec iov[2] = { { &t->rx_hdr, TAP_VNET_HDR_LEN }, { tap_ahead_next(&t->ahead), NET_FRAME_MAX + 1 } };
	bool hdr = t->dev.vnet_hdr;
	ssize_t n = hdr ? readv(t->dev.fd, iov, 2) : read(t->dev.fd, iov[1].iov_base, iov[1].iov_len);

	if (n <= 0)
		return read_error(t, n < 0 ? errno : EIO);
	if (hdr && (n -= (ssize_t)TAP_VNET_HDR_LEN) < 0)
		return drop_in(t, NET_DROP_VNET_HDR);
	return add_frame(t, (size_t)n);
}

static void count_held(struct tap *t)
{
	counter_add(&t->c.tx.held, (uint64_t)t->ahead.batch.n - t->held);
	t->held = t->ahead.batch.n;
}

/* What was read goes on, as far as there is room; the tap is listened to only if that was all. */
static bool hand_on(struct tap *t)
{
	struct batch *b = &t->ahead.batch;

	if (b->n)
		tap_ahead_done(&t->ahead, net_send(&t->c, b));
	count_held(t);
	listen_for(t, EPOLLIN, !b->n);
	return !b->n;
}

/* How many frames this round may read: see the head of this file. */
static unsigned round_limit(struct tap *t)
{
	if (t->burst || t->c.draining)
		return BUDGET;
	if (t->skip) {
		t->skip--;
		return 1;
	}
	return BUDGET;
}

static void note_round(struct tap *t, unsigned limit, unsigned n)
{
	if (n > 1) {
		t->burst = true;
		t->lonely = 0;
		t->interval = PROBE_MIN;
	} else if (t->burst) {
		t->burst = ++t->lonely < 2;
		t->skip = t->burst ? 0 : t->interval;
	} else if (limit > 1) {
		t->interval = MIN(t->interval * 2, (unsigned)PROBE_MAX);
		t->skip = t->interval;
	}
}

static void receive(struct tap *t)
{
	unsigned limit = round_limit(t), n = 0;
	enum round r = ROUND_FRAME;

	while (n < limit && (r = read_frame(t)) == ROUND_FRAME)
		n++;
	if (n)
		net_commit(&t->c);
	note_round(t, limit, n);
	if (r == ROUND_NO_ROOM)
		listen_for(t, EPOLLIN, false);
	else if (r == ROUND_EMPTY && t->c.draining)
		net_drained(&t->c);
}

static void receive_batch(struct tap *t)
{
	unsigned limit = round_limit(t), n = 0;
	enum round r = ROUND_FRAME;

	if (!hand_on(t))
		return;
	while (n < limit && tap_ahead_room(&t->ahead) && (r = read_ahead(t)) == ROUND_FRAME)
		n++;
	note_round(t, limit, n);
	if (hand_on(t) && r == ROUND_EMPTY && t->c.draining)
		net_drained(&t->c);
}

static void ready(struct watch *w, uint32_t events)
{
	struct tap *t = container_of(w, struct tap, watch);

	if (events & (EPOLLERR | EPOLLHUP)) {
		lost(t);
		return;
	}
	if (events & EPOLLOUT) {
		listen_for(t, EPOLLOUT, false);
		net_wake_peer(&t->c, NET_WAKE_ROOM);
	}
	if (t->batches && (events & EPOLLIN || !events))
		receive_batch(t);
	else if (events & EPOLLIN)
		receive(t);
}

/* ---- to the tap ---- */

static ssize_t write_frame(struct tap *t, const struct batch *b, const struct frame *f)
{
	struct iovec *iov = frame_iov(b, f), whole[2];
	unsigned cnt = f->cnt;
	ssize_t n;

	if (unlikely(cnt + t->dev.vnet_hdr > IOV_MAX)) { /* more pieces than the kernel takes: in one */
		whole[1] =
			(struct iovec){ t->spill, iov_read_at(iov, cnt, 0, t->spill, MIN(f->len, sizeof(t->spill))) };
		iov = whole + 1;
		cnt = 1;
	}
	if (t->dev.vnet_hdr) {
		net_vnet_encode(&f->meta, &t->tx_hdr.hdr);
		*--iov = (struct iovec){ &t->tx_hdr, TAP_VNET_HDR_LEN };
		cnt++;
	}
	do
		n = writev(t->dev.fd, iov, (int)cnt);
	while (unlikely(n < 0 && errno == EINTR));
	return n;
}

static enum net_drop reason(int code)
{
	switch (code) {
	case EIO:
	case EBADFD:
		return NET_DROP_TAP_DOWN;
	default:
		return net_drop_of_errno(code);
	}
}

static void write_error(struct tap *t, int code)
{
	net_drop_rx(&t->c, reason(code));
	if (code == EBADFD)
		lost(t);
}

static unsigned tap_send(struct net_client *c, struct batch *b)
{
	struct tap *t = to_tap(c);
	uint64_t bytes = 0;
	unsigned i, out = 0;

	for (i = 0; i < b->n; i++) {
		const struct frame *f = &b->frame[i];

		if (unlikely(f->len < ETH_HDR_LEN)) { /* the kernel was not always careful with those */
			net_drop_rx(c, NET_DROP_TOO_SHORT);
			continue;
		}
		if (likely(write_frame(t, b, f) >= 0)) {
			bytes += f->len;
			out++;
		} else if (errno == EAGAIN) {
			listen_for(t, EPOLLOUT, true);
			break;
		} else {
			write_error(t, errno);
		}
	}
	net_count_rx_out(c, out, bytes);
	return i;
}

/* ---- client ---- */

static void tap_wake(struct net_client *c, unsigned what)
{
	if (what & NET_WAKE_ROOM)
		hand_on(to_tap(c));
}

static void tap_parted(struct net_client *c)
{
	struct tap *t = to_tap(c);

	counter_add(&c->tx.dropped[NET_DROP_STOPPED], t->ahead.batch.n);
	tap_ahead_done(&t->ahead, t->ahead.batch.n);
	count_held(t);
	if (t->dev.steer && !c->queue)
		tap_steer_set(&t->dev, NULL, NULL);
}

static void tap_start(struct net_client *c)
{
	struct tap *t = to_tap(c);
	const struct net_client *far = net_far_end(c);

	t->batches = far && !far->ops->lend;
	t->events = EPOLLIN;
	if (t->asked != t->told)
		tell_late(&t->tell);
	if (tap_dev_enable(&t->dev) < 0 && !t->lost)
		log_limited(LOG_WARN, "%s: the kernel refuses to enable queue %u of %s", c->name, c->queue,
			    t->dev.ifname);
	if (t->lost)
		rest(t);
	else
		watch_again_later(t);
}

static void tap_quiesce(struct net_client *c)
{
	struct tap *t = to_tap(c);

	watch_del(&t->watch);
	timer_cancel(&t->retry);
	timer_cancel(&t->tell);
}

static void tap_retire(struct net_client *c)
{
	tap_dev_disable(&to_tap(c)->dev);
}

static void tap_may_steer(struct net_client *c)
{
	if (to_tap(c)->dev.steer)
		tap_steer_load(to_tap(c)->dev.steer);
}

static int tap_steer(struct net_client *c, const struct rss_hash *hash, const struct rss_table *table)
{
	struct tap_dev *d = &to_tap(c)->dev;

	return d->steer ? tap_steer_set(d, hash, table) : -ENOTSUP;
}

static json_t *tap_describe(struct net_client *c)
{
	struct tap *t = to_tap(c);
	json_t *o =
		json_pack("{s:s, s:b, s:i, s:b, s:I}", "ifname", t->dev.ifname, "vnet_hdr", t->dev.vnet_hdr, "sndbuf",
			  t->dev.sndbuf, "deleted", t->lost, "offload-changes", (json_int_t)counter_get(&t->tells));

	if (t->dev.steer)
		json_object_set_new(o, "ebpf", json_string(tap_steer_state(t->dev.steer)));
	return o;
}

static void tap_info(struct net_client *c, char *buf, size_t size)
{
	struct tap *t = to_tap(c);

	snprintf(buf, size, "ifname=%s,vnet_hdr=%s", t->dev.ifname, t->dev.vnet_hdr ? "on" : "off");
}

static void tap_free(struct tap *t)
{
	tap_ahead_fini(&t->ahead);
	free(t->downscript);
	free(t);
}

static void tap_destroy(struct net_client *c)
{
	struct tap *t = to_tap(c);
	struct error err;

	if (t->downscript && script_run(t->downscript, t->dev.ifname, SCRIPT_TIMEOUT_MS, &err))
		log_warn("%s: downscript: %s", c->name, err.msg);
	tap_dev_close(&t->dev);
	tap_free(t);
}

static const struct net_client_ops tap_ops = {
	.type = "tap",
	.send = tap_send,
	.wake = tap_wake,
	.start = tap_start,
	.quiesce = tap_quiesce,
	.retire = tap_retire,
	.parted = tap_parted,
	.set_offload = tap_set_offload,
	.steer = tap_steer,
	.may_steer = tap_may_steer,
	.describe = tap_describe,
	.info = tap_info,
	.destroy = tap_destroy,
};

/* ---- life ---- */

static void init_client(struct tap *t, const char *id, unsigned queue, struct loop *loop)
{
	t->c.ops = &tap_ops;
	t->c.kind = NET_KIND_BACKEND;
	t->c.loop = loop;
	t->c.queue = queue;
	t->c.takes = t->dev.offloads;
	t->c.gives = t->dev.gives;
	t->c.max_frame = NET_FRAME_MAX;
	snprintf(t->c.name, sizeof(t->c.name), "%s", id);
	t->want = WANT_PLAIN;
	t->interval = PROBE_MIN;
	watch_init(&t->watch, "tap", t->dev.fd, ready);
	timer_init(&t->retry, loop, CLOCK_HOST_NS, retry);
	timer_init(&t->tell, loop, CLOCK_HOST_NS, tell_late);
}

static int tap_alloc(struct tap **out, const char *downscript)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	if (tap_ahead_init(&t->ahead) || (downscript && !(t->downscript = strdup(downscript)))) {
		tap_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

int tap_new(const char *id, unsigned queue, const struct tap_dev *dev, struct loop *loop, const char *downscript,
	    struct error *err)
{
	struct tap *t;
	int ret = tap_alloc(&t, downscript);

	if (ret)
		return fail(err, ENOMEM, "no memory");
	t->dev = *dev;
	init_client(t, id, queue, loop);
	ret = net_client_add(&t->c, err);
	if (ret)
		tap_free(t);
	return ret;
}

struct fd_user {
	int fd;
	const char *name;
};

static void find_fd_user(struct net_client *c, void *arg)
{
	struct fd_user *u = arg;

	if (c->ops == &tap_ops && to_tap(c)->dev.fd == u->fd)
		u->name = c->name;
}

const char *tap_fd_user(int fd)
{
	struct fd_user user = { .fd = fd };

	net_client_each(find_fd_user, &user);
	return user.name;
}
