/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What of the plan goes by hubs: the members of a -net vlan number, and the order in which ports are made. Main thread.
 */
#ifndef CTL_HUBPLAN_H
#define CTL_HUBPLAN_H

#include "ctl/nicopts.h"

/*
 * Join what -net put on the same vlan number N: one NIC and one backend directly, if nothing else is on hub N; else
 * each by a port of hub N, which is added to the plan. Who is alone stays alone.
 */
int hubplan_vlans(struct net_plan *plan, struct error *err) __must_check;

/* Backends before ports, ports that are joined to ports last: so that the order on the command line does not matter. */
int hubplan_order(struct net_plan *plan, struct error *err) __must_check;

/* Is this a hubport? */
bool hubplan_is_port(const struct planned *p);

#endif
