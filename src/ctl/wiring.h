/* SPDX-License-Identifier: BSD-2-Clause */
/* Carrying out the plan of netdevs and devices, and taking it down again. Main thread. */
#ifndef CTL_WIRING_H
#define CTL_WIRING_H

#include "ctl/netloops.h"
#include "ctl/nicopts.h"

/*
 * Types, drivers, ids, options and properties, as far as they can be judged before anything is made; -global's are put
 * in. Comes before the others.
 */
int wiring_check(struct net_plan *plan, const struct config *cfg, struct error *err) __must_check;

/* Make all netdevs, each on the loops that placement.h gives it, or none. */
int wiring_add_netdevs(const struct net_plan *plan, struct net_loops *loops, struct error *err) __must_check;

/* What -global says of an object that the board makes; `config` is a struct config. Main. */
int wiring_globals(void *config, struct object *o, struct error *err) __must_check;
/* Make all devices. Those that are made stay on an error: wiring_remove() takes them. */
int wiring_add_devices(const struct net_plan *plan, const struct config *cfg, struct error *err) __must_check;

/* Say of each netdev that nothing uses it; a NIC without a netdev says so itself. */
void wiring_warn(struct config *cfg);

/* Stop all data; nothing is in flight after. */
void wiring_quiesce(void);

/* Remove the plan's devices, the objects, the plan's netdevs, last one first. */
void wiring_remove(const struct net_plan *plan, struct config *cfg);

#endif
