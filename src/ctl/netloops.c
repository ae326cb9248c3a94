/* SPDX-License-Identifier: BSD-2-Clause */
/* See netloops.h. */
#include "ctl/netloops.h"

#include <sched.h>
#include <stdio.h>

#include "object/iothread.h"

static unsigned processors(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return MIN(MAX((unsigned)CPU_COUNT(&set), 1u), (unsigned)NET_LOOPS_MAX);
}

static struct loop *add(struct net_loops *n, struct error *err)
{
	struct loop *l;

	snprintf(n->name[n->n], sizeof(n->name[0]), "net%u", n->n);
	l = loop_new(n->name[n->n], err);
	if (l)
		n->loop[n->n++] = l;
	return l;
}

int net_loops_init(struct net_loops *n, struct loop *only, struct error *err)
{
	*n = (struct net_loops){ .only = only, .max = only ? 0 : processors() };
	iothread_use(only);
	return only || add(n, err) ? 0 : -1;
}

struct loop *net_loops_first(const struct net_loops *n)
{
	return n->only ? n->only : n->loop[0];
}

struct loop *net_loops_deal(struct net_loops *n, struct error *err)
{
	unsigned i;

	if (n->only)
		return n->only;
	i = n->next++ % n->max;
	return i < n->n ? n->loop[i] : add(n, err);
}

int net_loops_start(struct net_loops *n, struct error *err)
{
	int rc = iothread_start_all(err);

	for (unsigned i = 0; rc == 0 && i < n->n; i++)
		rc = loop_start_thread(n->loop[i], err);
	return rc;
}

void net_loops_free(struct net_loops *n)
{
	while (n->n)
		loop_free(n->loop[--n->n]);
}
