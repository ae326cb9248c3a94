/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which netdevs share a loop. What is joined by wires is on one loop, so that nothing on the way of a frame needs a
 * lock: a netdev and its device, a hub with all ports and what they lead to, filters. The plan shows all of that before
 * anything is made.
 *
 * Queues behind the first of a netdev with several have wires of their own, and so a loop of their own if the device
 * uses them. Main thread.
 */
#ifndef CTL_PLACEMENT_H
#define CTL_PLACEMENT_H

#include "ctl/netloops.h"
#include "ctl/nicopts.h"

/*
 * Find the components of the plan; two devices of one that want different threads, and a thread that is none, are
 * refused. Behind wiring_check(), which puts -global's in.
 */
int placement_make(struct net_plan *plan, const struct config *cfg, struct error *err) __must_check;

/* The loop of a netdev's queue, dealt from `loops` when a component is first asked for. NULL: err. */
struct loop *placement_loop(const struct net_plan *plan, const struct planned *netdev, unsigned queue,
			    struct net_loops *loops, struct error *err);

#endif
