/* SPDX-License-Identifier: BSD-2-Clause */
/* When a loop polls, and whom: see poll.h. */
#include "loop/poll.h"

#include "loop/priv.h"

/* ---- the window ---- */

void poll_window_judge(struct poll_window *w, uint64_t idle_ns)
{
	if (idle_ns <= w->width)
		return;
	if (idle_ns > w->limit)
		w->width = 0;
	else
		w->width = MIN(MAX(2 * w->width, (uint64_t)POLL_FIRST_NS), w->limit);
}

/* ---- who wants it ---- */

void poll_init(struct poll *p)
{
	*p = (struct poll){ .own = 0 };
	list_init(&p->pollers);
}

static void update_limit(struct poll *p)
{
	const struct poller *poller;
	uint64_t limit = p->own;

	p->changed = p->asking;
	if (p->asking) /* not all of them are in the list */
		return;
	list_for_each(poller, &p->pollers, node)
		limit = MAX(limit, poller->limit);
	p->window.limit = p->allowed ? limit : 0;
	p->window.width = MIN(p->window.width, p->window.limit);
	if (!p->window.limit)
		p->since = 0;
}

void poll_allow(struct poll *p)
{
	p->allowed = true;
	update_limit(p);
}

void loop_set_poll(struct loop *l, uint64_t limit_ns)
{
	l->poll.own = limit_ns;
	update_limit(&l->poll);
}

bool loop_polls(const struct loop *l)
{
	return l->poll.window.width;
}

void poller_init(struct poller *p, poller_fn *look, poller_fn *rest)
{
	*p = (struct poller){ .look = look, .rest = rest };
	list_init(&p->node);
}

bool poller_add(struct loop *l, struct poller *p, uint64_t limit_ns)
{
	loop_check_here(l, "poller_add");
	if (p->loop || !l->poll.allowed || !(limit_ns | l->poll.own))
		return p->loop;
	p->loop = l;
	p->limit = limit_ns;
	list_append(&l->poll.pollers, &p->node);
	update_limit(&l->poll);
	return true;
}

void poller_del(struct poller *p)
{
	struct loop *l = p->loop;

	if (!l)
		return;
	loop_check_here(l, "poller_del");
	list_remove(&p->node);
	p->loop = NULL;
	update_limit(&l->poll);
}

/* ---- polling ---- */

/* All of them, each once, whichever are removed meanwhile. */
static bool ask_pollers(struct poll *p, bool rest)
{
	struct list todo;
	bool any = false;

	p->asking = true;
	list_take_all(&todo, &p->pollers);
	while (!list_empty(&todo)) {
		struct poller *poller = list_entry(todo.next, struct poller, node);

		list_remove(&poller->node);
		list_append(&p->pollers, &poller->node);
		any |= rest ? poller->rest(poller) : poller->look(poller);
	}
	p->asking = false;
	if (unlikely(p->changed))
		update_limit(p);
	return any;
}

bool poll_over(struct loop *l)
{
	struct poll *p = &l->poll;
	uint64_t now = sys_clock_ns();

	if (!p->since) {
		p->since = now;
		p->over = false;
	}
	if (now - p->since < p->window.width)
		return false;
	if (!p->over && p->window.width)
		counter_add(&l->stats.polls_vain, 1);
	p->over = true;
	return !ask_pollers(p, true);
}

bool poll_look(struct loop *l, bool came)
{
	struct poll *p = &l->poll;

	came |= ask_pollers(p, false);
	if (!came || !p->since)
		return came;
	if (!p->over)
		counter_add(&l->stats.polls_found, 1);
	poll_window_judge(&p->window, sys_clock_ns() - p->since);
	p->since = 0;
	return came;
}
