/* SPDX-License-Identifier: BSD-2-Clause */
/* Timers: one binary heap a loop and clock. A timer knows its place, so that moving and cancelling need no search. */
#include <errno.h>
#include <stdlib.h>

#include "loop/priv.h"

#define HEAP_INITIAL 64

int timers_init(struct loop *l)
{
	for (unsigned c = 0; c < CLOCKS; c++) {
		struct timer_heap *h = &l->heap[c];

		h->v = calloc(HEAP_INITIAL, sizeof(struct timer *));
		if (!h->v)
			return -ENOMEM;
		h->size = HEAP_INITIAL;
	}
	return 0;
}

void timers_free(struct loop *l)
{
	for (unsigned c = 0; c < CLOCKS; c++) {
		for (uint32_t i = 0; i < l->heap[c].n; i++)
			l->heap[c].v[i]->index = 0;
		free(l->heap[c].v);
	}
}

static void place(struct timer_heap *h, uint32_t i, struct timer *t)
{
	h->v[i] = t;
	t->index = i + 1;
}

/* Find the place of `t`, which belongs at i or nearer to the root. */
static void sift_up(struct timer_heap *h, uint32_t i, struct timer *t)
{
	while (i && h->v[(i - 1) / 2]->deadline > t->deadline) {
		place(h, i, h->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, t);
}

/* Find the place of `t`, which belongs at i or farther from the root. */
static void sift_down(struct timer_heap *h, uint32_t i, struct timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < h->n && h->v[child + 1]->deadline < h->v[child]->deadline)
			child++;
		if (child >= h->n || h->v[child]->deadline >= t->deadline)
			break;
		place(h, i, h->v[child]);
		i = child;
	}
	place(h, i, t);
}

static void sift(struct timer_heap *h, uint32_t i, struct timer *t)
{
	if (i && h->v[(i - 1) / 2]->deadline > t->deadline)
		sift_up(h, i, t);
	else
		sift_down(h, i, t);
}

static bool grow(struct timer_heap *h)
{
	struct timer **v = realloc(h->v, 2 * h->size * sizeof(struct timer *));

	if (!v)
		return false;
	h->v = v;
	h->size *= 2;
	return true;
}

void timer_init(struct timer *t, struct loop *l, enum clock_kind c, timer_fn *fn)
{
	*t = (struct timer){ .loop = l, .fn = fn, .clock = c };
}

int timer_arm(struct timer *t, uint64_t deadline_ns)
{
	struct timer_heap *h = &t->loop->heap[t->clock];

	loop_check_here(t->loop, "timer_arm");
	if (t->index) {
		t->deadline = deadline_ns;
		sift(h, t->index - 1, t);
		return 0;
	}
	if (unlikely(h->n == h->size) && !grow(h))
		return -ENOMEM;
	t->deadline = deadline_ns;
	sift_up(h, h->n++, t);
	return 0;
}

void timer_cancel(struct timer *t)
{
	struct timer_heap *h;
	struct timer *last;
	uint32_t i;

	if (!t->index)
		return;
	loop_check_here(t->loop, "timer_cancel");
	h = &t->loop->heap[t->clock];
	i = t->index - 1;
	last = h->v[--h->n];
	t->index = 0;
	if (last != t)
		sift(h, i, last);
}

static bool run_heap(struct loop *l, struct timer_heap *h, uint64_t now)
{
	bool ran = false;

	/* As many as there are now: one that arms itself for the past must not keep the loop here. */
	for (uint32_t left = h->n; left && h->n && h->v[0]->deadline <= now; left--) {
		struct timer *t = h->v[0];

		timer_cancel(t);
		counter_add(&l->stats.timers, 1);
		t->fn(t);
		ran = true;
	}
	return ran;
}

bool timers_run(struct loop *l)
{
	bool ran = false;

	l->now = 0;
	if (likely(!l->heap[CLOCK_HOST_NS].n && !l->heap[CLOCK_VM_NS].n))
		return false;
	l->now = sys_clock_ns();
	if (l->heap[CLOCK_HOST_NS].n)
		ran |= run_heap(l, &l->heap[CLOCK_HOST_NS], l->now);
	if (l->heap[CLOCK_VM_NS].n)
		ran |= run_heap(l, &l->heap[CLOCK_VM_NS], vm_clock_at(l->now));
	return ran;
}

uint64_t timers_timeout(struct loop *l)
{
	struct timer_heap *host = &l->heap[CLOCK_HOST_NS], *vm = &l->heap[CLOCK_VM_NS];
	uint64_t timeout = SCHED_FOREVER;

	if (likely(!host->n && !vm->n))
		return timeout;
	if (!l->now)
		l->now = sys_clock_ns();
	if (host->n)
		timeout = host->v[0]->deadline > l->now ? host->v[0]->deadline - l->now : 0;
	if (vm->n)
		timeout = MIN(timeout, vm_clock_until(vm->v[0]->deadline, l->now));
	return timeout;
}

uint64_t loop_next_vm_deadline(struct loop *l)
{
	const struct timer_heap *h = &l->heap[CLOCK_VM_NS];

	return h->n ? h->v[0]->deadline : UINT64_MAX;
}
