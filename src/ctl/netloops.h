/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loops that run queues and the backends wired to them: net0, net1, ... up to as many as there are processors, each
 * made when the placement first deals something to it. Main thread.
 */
#ifndef CTL_NETLOOPS_H
#define CTL_NETLOOPS_H

#include "loop/loop.h"

#define NET_LOOPS_MAX 64

struct net_loops {
	struct loop *only; /* not NULL: everything is on this one, which is somebody else's */
	struct loop *loop[NET_LOOPS_MAX];
	char name[NET_LOOPS_MAX][16];
	unsigned n, max, next;
};

/* With the first loop; only: there is no other. */
int net_loops_init(struct net_loops *n, struct loop *only, struct error *err) __must_check;
struct loop *net_loops_first(const struct net_loops *n);
/* The next one in turn. NULL: it cannot be made. */
struct loop *net_loops_deal(struct net_loops *n, struct error *err);
/* Start the threads of all of them and of all iothreads. */
int net_loops_start(struct net_loops *n, struct error *err) __must_check;
void net_loops_free(struct net_loops *n);

#endif
