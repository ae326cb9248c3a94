/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See placement.h. Components are found by joining sets (each netdev points to another one of its component, the last
 * one to itself): a port joins its hub's first port and the netdev that it names, a device the netdev that it names.
 */
#include "ctl/placement.h"

#include <errno.h>
#include <stdlib.h>

#include "ctl/hubplan.h"
#include "ctl/objects.h"
#include "ctl/pairs.h"
#include "object/device.h"
#include "object/iothread.h"

/* ---- sets ---- */

static struct planned *root_of(const struct net_plan *plan, const struct planned *p)
{
	while (&plan->netdev[p->joined] != p)
		p = &plan->netdev[p->joined];
	return (struct planned *)p;
}

static void join(const struct net_plan *plan, const struct planned *a, const struct planned *b)
{
	root_of(plan, a)->joined = root_of(plan, b)->joined;
}

static struct planned *netdev_of(const struct net_plan *plan, const struct opt_list *l)
{
	const char *id = pair_peek(l, "netdev");

	return id ? planned_netdev_by_id(plan, id) : NULL;
}

static int64_t hub_of(const struct planned *p)
{
	const char *id = pair_peek(&p->list, "hubid");

	return id ? strtoll(id, NULL, 0) : 0;
}

static void join_hubs(const struct net_plan *plan)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		const struct planned *p = &plan->netdev[i], *other = netdev_of(plan, &p->list);

		if (!hubplan_is_port(p))
			continue;
		if (other)
			join(plan, p, other);
		for (unsigned k = 0; k < i; k++) {
			if (hubplan_is_port(&plan->netdev[k]) && hub_of(&plan->netdev[k]) == hub_of(p))
				join(plan, p, &plan->netdev[k]);
		}
	}
}

/* ---- what devices and filters want ---- */

static int of_device(const struct planned *device, int rc, struct error *err)
{
	const char *driver = pair_peek(&device->list, "driver");

	device_error_prefix(driver ? driver : "", pair_peek(&device->list, "id"), err);
	return rc;
}

static int check_thread(const struct config *cfg, const struct planned *device, const char *thread, struct error *err)
{
	for (unsigned i = 0; i < cfg->n_objects; i++) {
		const char *id = pair_peek(&cfg->object[i].list, "id");

		if (id && !strcmp(id, thread) && objects_is_thread(&cfg->object[i]))
			return 0;
	}
	return of_device(device, iothread_none(thread, err), err);
}

/* What it is joined to wants another thread. */
static int refuse_other(const struct planned *wants, const char *thread, struct error *err)
{
	const char *id = pair_peek(&wants->list, "id");

	return fail(err, EINVAL,
		    "iothread=%.64s: it is joined to -device %.64s%s%.64s, which has iothread=%.64s, and what is "
		    "joined runs in one thread; name the same one for both",
		    thread, pair_peek(&wants->list, "driver"), id ? ",id=" : "", id ? id : "",
		    pair_peek(&wants->list, "iothread"));
}

static int place_device(const struct net_plan *plan, const struct planned *device, struct error *err)
{
	const char *thread = pair_peek(&device->list, "iothread"), *mq = pair_peek(&device->list, "mq");
	struct planned *netdev = netdev_of(plan, &device->list), *root = netdev ? root_of(plan, netdev) : NULL;
	bool several;

	if (!root)
		return 0;
	root->apart |= mq && parse_bool(mq, &several, NULL) == 0 && several;
	if (!thread)
		return 0;
	if (root->wants && strcmp(pair_peek(&root->wants->list, "iothread"), thread))
		return of_device(device, refuse_other(root->wants, thread, err), err);
	root->wants = device;
	return 0;
}

/* What a filter keeps is one loop's: then all queues of its netdev are. */
static void gather_filtered(const struct net_plan *plan, const struct config *cfg)
{
	for (unsigned i = 0; i < cfg->n_objects; i++) {
		struct planned *netdev = netdev_of(plan, &cfg->object[i].list);

		if (netdev)
			root_of(plan, netdev)->together = true;
	}
}

int placement_make(struct net_plan *plan, const struct config *cfg, struct error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < plan->n_netdevs; i++)
		plan->netdev[i].joined = i;
	join_hubs(plan);
	for (unsigned i = 0; rc == 0 && i < plan->n_devices; i++) {
		const char *thread = pair_peek(&plan->device[i].list, "iothread");

		rc = thread ? check_thread(cfg, &plan->device[i], thread, err) : 0;
		if (rc == 0)
			rc = place_device(plan, &plan->device[i], err);
	}
	gather_filtered(plan, cfg);
	return rc;
}

/* ---- loops ---- */

struct loop *placement_loop(const struct net_plan *plan, const struct planned *netdev, unsigned queue,
			    struct net_loops *loops, struct error *err)
{
	struct planned *root = root_of(plan, netdev);

	if (!root->loop)
		root->loop = root->wants ? iothread_loop(pair_peek(&root->wants->list, "iothread"), err) :
					   net_loops_deal(loops, err);
	if (!queue || root->wants || !root->apart || root->together || !root->loop)
		return root->loop;
	return net_loops_deal(loops, err);
}
