/* SPDX-License-Identifier: BSD-2-Clause */
/* Net clients for tests. */
#include "fake_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/csum.h"
#include "base/iov.h"
#include "free_slots.h"

static struct fake *to_fake(struct net_client *c)
{
	return container_of(c, struct fake, c);
}

static void enter(struct fake *f)
{
	if (f->entered) {
		fprintf(stderr, "%s is entered twice\n", f->c.name);
		abort();
	}
	f->entered = true;
}

static void keep(struct fake *f, const struct iovec *iov, unsigned cnt, size_t len, const struct frame_meta *m)
{
	struct fake_frame *g = &f->got[f->n_got++];

	if (f->n_got > FAKE_KEPT)
		abort();
	*g = (struct fake_frame){ .meta = *m, .len = len, .bytes = malloc(len + !len) };
	if (iov_read_at(iov, cnt, 0, g->bytes, len) != len)
		abort();
}

static bool has_room(struct fake *f)
{
	if (f->room == FAKE_ALL)
		return true;
	if (f->room == 0) {
		f->owes = true;
		return false;
	}
	f->room--;
	return true;
}

static unsigned fake_send(struct net_client *c, struct batch *b)
{
	struct fake *f = to_fake(c);
	unsigned i;

	enter(f);
	if (!slots_free(b)) {
		fprintf(stderr, "%s gets a batch without a free slot in front of each frame\n", f->c.name);
		abort();
	}
	for (i = 0; i < b->n && has_room(f); i++) {
		const struct frame *fr = &b->frame[i];

		keep(f, frame_iov(b, fr), fr->cnt, fr->len, &fr->meta);
		frame_iov(b, fr)[-1] = (struct iovec){ NULL, 0 }; /* the slot is ours */
		net_count_rx_out(c, 1, fr->len);
	}
	f->entered = false;
	return i;
}

static int fake_lend(struct net_client *c, size_t want, struct net_window *w)
{
	struct fake *f = to_fake(c);
	size_t room = f->window ? f->window : want, half = room / 2;

	enter(f);
	f->entered = false;
	f->lends++;
	if (f->room == 0) {
		f->owes = true;
		return -EAGAIN;
	}
	if (f->window && want > f->window && f->room > 1) { /* more than one buffer is there: the window grows */
		room = MIN(want, sizeof(f->buf));
		half = f->window / 2;
	}
	f->iov[1] = (struct iovec){ f->buf, half };
	f->iov[2] = (struct iovec){ f->buf + half, room - half };
	*w = (struct net_window){ f->iov + 1, 2, room };
	return 0;
}

static enum net_drop fake_take(struct net_client *c, size_t len, const struct frame_meta *m)
{
	struct fake *f = to_fake(c);

	enter(f);
	f->entered = false;
	if (f->refuse)
		return f->refuse;
	if (!has_room(f))
		return NET_DROP_NO_BUFFER;
	keep(f, f->iov + 1, 2, len, m);
	return NET_OK;
}

static void fake_commit(struct net_client *c)
{
	to_fake(c)->commits++;
}

static void fake_wake(struct net_client *c, unsigned what)
{
	struct fake *f = to_fake(c);

	enter(f);
	f->wakes++;
	f->woken_for |= what;
	f->entered = false;
}

static void fake_start(struct net_client *c)
{
	to_fake(c)->started++;
}

static void fake_quiesce(struct net_client *c)
{
	to_fake(c)->quiesced++;
}

static uint32_t fake_set_offload(struct net_client *c, uint32_t takes)
{
	return to_fake(c)->gives & takes;
}

static void fake_link(struct net_client *c, bool up)
{
	struct fake *f = to_fake(c);

	f->link_events++;
	f->link = up;
}

const struct net_client_ops fake_sender_ops = {
	.type = "fake-sender",
	.send = fake_send,
	.wake = fake_wake,
	.start = fake_start,
	.quiesce = fake_quiesce,
	.set_offload = fake_set_offload,
	.link_changed = fake_link,
};

const struct net_client_ops fake_lender_ops = {
	.type = "fake-lender",
	.lend = fake_lend,
	.take = fake_take,
	.commit = fake_commit,
	.wake = fake_wake,
	.start = fake_start,
	.quiesce = fake_quiesce,
	.link_changed = fake_link,
};

struct fake *fake_new(const char *name, enum net_kind kind, const struct net_client_ops *ops, struct loop *loop)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct error err;

	f->c.ops = ops;
	f->c.kind = kind;
	f->c.loop = loop;
	f->c.takes = f->c.gives = f->gives = NET_OFF_ALL;
	f->c.max_frame = NET_FRAME_MAX;
	f->room = FAKE_ALL;
	f->link = true;
	snprintf(f->c.name, sizeof(f->c.name), "%s", name);
	if (net_client_add(&f->c, &err)) {
		free(f);
		return NULL;
	}
	return f;
}

void fake_forget(struct fake *f)
{
	while (f->n_got)
		free(f->got[--f->n_got].bytes);
}

void fake_free(struct fake *f)
{
	net_client_remove(&f->c);
	fake_forget(f);
	free(f);
}

void fake_room(struct fake *f, unsigned room)
{
	f->room = room;
	if (room && f->owes) {
		f->owes = false;
		net_wake_peer(&f->c, NET_WAKE_ROOM);
	}
}

void settle(struct loop *loop)
{
	while (loop_turn(loop))
		;
}

/* ---- frames ---- */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

size_t make_tcp(uint8_t *p, uint32_t seq, size_t n, struct frame_meta *m)
{
	static const uint8_t head[54] = {
		2,    0,  0, 0,	 0, 1, 2,    0, 0,  0, 0, 2, 8,	   0,			    /* Ethernet */
		0x45, 0,  0, 0,	 0, 1, 0x40, 0, 64, 6, 0, 0, 10,   0,	 0, 1, 10, 0, 0, 2, /* IPv4 */
		0,    80, 0, 90, 0, 0, 0,    0, 0,  0, 0, 0, 0x50, 0x18, 1, 0, 0,  0, 0, 0, /* TCP */
	};
	uint8_t tail[4] = { 0, 6 };
	uint16_t c;

	memcpy(p, head, sizeof(head));
	put16(p + 16, (unsigned)(40 + n));
	c = (uint16_t)~csum_fold(csum_add(0, p + 14, 20));
	memcpy(p + 24, &c, 2);
	put16(p + 38, seq >> 16);
	put16(p + 40, seq & 0xffff);
	put16(tail + 2, (unsigned)(20 + n));
	c = csum_fold(csum_add(csum_add(0, p + 26, 8), tail, 4));
	memcpy(p + 50, &c, 2);
	for (size_t i = 0; i < n; i++)
		p[54 + i] = (uint8_t)((seq + i) % 251);
	*m = (struct frame_meta){ .needs_csum = true, .csum_start = 34, .csum_offset = 16, .hdr_len = 54 };
	return 54 + n;
}

void make_plain(uint8_t *p, size_t len, unsigned seed)
{
	static const uint8_t head[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5 };

	for (size_t i = 0; i < len; i++)
		p[i] = i < sizeof(head) ? head[i] : (uint8_t)(seed * 7 + i);
}

bool is_plain(const uint8_t *p, size_t len, unsigned seed)
{
	if (len < 14 || p[12] != 0x88 || p[13] != 0xb5)
		return false;
	for (size_t i = 14; i < len; i++) {
		if (p[i] != (uint8_t)(seed * 7 + i))
			return false;
	}
	return true;
}

void batch_add(struct batch *b, uint8_t *p, size_t len, const struct frame_meta *m)
{
	struct frame *f = &b->frame[b->n];
	size_t half = len / 2;

	*f = (struct frame){ .iov = 3 * b->n + 1, .cnt = 2, .len = (uint32_t)len, .token = b->n };
	if (m)
		f->meta = *m;
	frame_iov(b, f)[0] = (struct iovec){ p, half };
	frame_iov(b, f)[1] = (struct iovec){ p + half, len - half };
	b->n++;
}

struct balance {
	const struct net_client *c;
	bool ok;
};

static void look_at(void *arg)
{
	struct balance *b = arg;

	b->ok = net_account_balanced(&b->c->tx) && net_account_balanced(&b->c->rx);
}

bool fake_balanced(struct net_client *c)
{
	struct balance b = { .c = c };

	loop_call(c->loop, look_at, &b);
	return b.ok;
}
