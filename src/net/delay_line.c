/* SPDX-License-Identifier: BSD-2-Clause */
/* A bounded line of frames with times. See delay_line.h. */
#include "net/delay_line.h"

#include <errno.h>
#include <stdlib.h>

#define FRAME_BYTES 64 /* frames are as many as fit if each has so many bytes or more */

static void due(struct timer *t)
{
	delay_line_run(container_of(t, struct delay_line, timer));
}

int delay_line_init(struct delay_line *l, size_t bytes, struct net_client *in, struct net_client *out,
		    struct error *err)
{
	uint32_t n = 1;

	while (n < bytes / FRAME_BYTES)
		n *= 2;
	*l = (struct delay_line){ .in = in, .out = out, .mask = n - 1 };
	timer_init(&l->timer, in->loop, clock_of_network(), due);
	l->queue = frameq_new(bytes);
	l->when = malloc(n * sizeof(*l->when));
	if (l->queue && l->when)
		return 0;
	delay_line_free(l);
	return fail(err, ENOMEM, "no memory for %zu bytes of frames", bytes);
}

void delay_line_free(struct delay_line *l)
{
	frameq_free(l->queue);
	free(l->when);
	l->queue = NULL;
	l->when = NULL;
}

uint64_t delay_line_now(const struct delay_line *l)
{
	return clock_now(l->timer.clock);
}

static uint64_t *when_of(struct delay_line *l, unsigned i)
{
	return &l->when[(l->first + i) & l->mask];
}

bool delay_line_put(struct delay_line *l, const struct batch *b, const struct frame *f, uint64_t when)
{
	unsigned n = frameq_count(l->queue);

	if (n > l->mask || !frameq_put(l->queue, b, f))
		return false;
	*when_of(l, n) = n ? MAX(when, *when_of(l, n - 1)) : when;
	counter_add(&l->in->rx.held, 1);
	return true;
}

static void pop(struct delay_line *l, unsigned n)
{
	frameq_pop(l->queue, n);
	l->first += n;
	counter_add(&l->in->rx.held, -(uint64_t)n);
}

static unsigned hand_on(struct delay_line *l, struct batch *b)
{
	unsigned n = net_send(l->out, b);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += b->frame[i].len;
	pop(l, n);
	net_count_tx_in(l->out, n);
	net_count_rx_out(l->in, n, bytes);
	return n;
}

/* Frames that are due at `until`, in batches; stops where there is no room. */
static unsigned run_until(struct delay_line *l, uint64_t until)
{
	struct iovec arena[FRAMEQ_ARENA];
	struct batch b;
	unsigned ready, went, all = 0;

	b.iov = arena;
	do {
		frameq_head(l->queue, &b);
		for (ready = 0; ready < b.n && *when_of(l, ready) <= until; ready++)
			;
		b.n = ready;
		went = ready ? hand_on(l, &b) : 0;
		all += went;
	} while (ready && went == ready);
	return all;
}

unsigned delay_line_run(struct delay_line *l)
{
	uint64_t now = delay_line_now(l);
	unsigned n;

	n = run_until(l, now);
	timer_cancel(&l->timer);
	/* What is due and found no room waits for that. */
	if (frameq_count(l->queue) && *when_of(l, 0) > now)
		timer_arm(&l->timer, *when_of(l, 0));
	if (l->owes && frameq_count(l->queue) <= l->mask && frameq_has_room(l->queue)) {
		l->owes = false;
		net_wake_peer(l->in, NET_WAKE_ROOM);
	}
	return n;
}

void delay_line_stop(struct delay_line *l)
{
	timer_cancel(&l->timer);
}

void delay_line_empty(struct delay_line *l, enum net_drop why)
{
	unsigned left;

	run_until(l, UINT64_MAX);
	timer_cancel(&l->timer);
	left = frameq_count(l->queue);
	pop(l, left);
	counter_add(&l->in->rx.dropped[why], left);
}
