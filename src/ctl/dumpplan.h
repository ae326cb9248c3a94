/* SPDX-License-Identifier: BSD-2-Clause */
/* -net dump, the old way to write down what goes through a vlan number: it becomes a filter-dump. Main thread. */
#ifndef CTL_DUMPPLAN_H
#define CTL_DUMPPLAN_H

#include "ctl/nicopts.h"

extern const struct opt net_dump_keys[];

/*
 * Add one -object for each -net dump of the plan to those of the command line. It stands in the wire of one member of
 * the vlan number, through which all frames of a hub go: a backend or, without one, a device's port. Hence after
 * hubplan_vlans(). -ENOENT: nobody is there.
 */
int dumpplan_objects(const struct net_plan *plan, struct config *cfg, struct error *err) __must_check;

#endif
