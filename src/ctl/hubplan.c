/* SPDX-License-Identifier: BSD-2-Clause */
/* Hubs in the plan of netdevs and devices. */
#include "ctl/hubplan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/pairs.h"

bool hubplan_is_port(const struct planned *p)
{
	const char *type = pair_peek(&p->list, "type");

	return type && !strcmp(type, "hubport");
}

/* ---- vlan numbers ---- */

/* Is there a port of this hub that the user wrote? A number that is none is complained of later. */
static bool hub_is_named(const struct net_plan *plan, int64_t hub)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		const struct planned *p = &plan->netdev[i];
		const char *id = pair_peek(&p->list, "hubid");

		if (hubplan_is_port(p) && id && strtoll(id, NULL, 0) == hub)
			return true;
	}
	return false;
}

static unsigned count_on(const struct planned *v, unsigned n, int64_t vlan)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n; i++)
		found += v[i].on_vlan && v[i].vlan == vlan;
	return found;
}

/* One NIC and one backend need no hub, and who is alone has nobody to reach by one. */
static bool wants_hub(const struct net_plan *plan, int64_t vlan)
{
	unsigned devices = count_on(plan->device, plan->n_devices, vlan);
	unsigned backends = count_on(plan->netdev, plan->n_netdevs, vlan);

	return hub_is_named(plan, vlan) || devices > 1 || backends > 1;
}

static void choose(const struct net_plan *plan, struct planned *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		v[i].by_hub = v[i].on_vlan && wants_hub(plan, v[i].vlan);
}

/* ---- ports ---- */

/* A name as QEMU's, "hub0port1"; the first that is free. */
static void port_name(const struct net_plan *plan, int64_t hub, char *id, size_t size)
{
	unsigned n = 0;

	do
		snprintf(id, size, "hub%" PRId64 "port%u", hub, n++);
	while (planned_netdev_by_id(plan, id));
}

/* A port of hub `vlan` for what the user wrote as `of`; netdev: the backend that it is joined to, or NULL. */
static int add_port(struct net_plan *plan, const struct planned *of, const char *netdev, char *id, size_t size,
		    struct error *err)
{
	struct planned from = *of; /* the arrays move */
	char hub[24];
	struct planned *port;

	port_name(plan, from.vlan, id, size);
	snprintf(hub, sizeof(hub), "%" PRId64, from.vlan);
	port = planned_new_netdev(plan, &from, err);
	if (!port)
		return -ENOMEM;
	return pair_add(&port->list, "type", "hubport", err)			   ?:
		       pair_add(&port->list, "id", id, err)			   ?:
		       pair_add(&port->list, "hubid", hub, err)			   ?:
		       (netdev ? pair_add(&port->list, "netdev", netdev, err) : 0) ?:
										     planned_remember_id(port, err);
}

static int join_backend(struct net_plan *plan, unsigned i, struct error *err)
{
	char id[40];

	return add_port(plan, &plan->netdev[i], plan->netdev[i].id, id, sizeof(id), err);
}

static int join_device(struct net_plan *plan, unsigned i, struct error *err)
{
	char id[40];
	int rc = add_port(plan, &plan->device[i], NULL, id, sizeof(id), err);

	return rc < 0 ? rc : pair_add(&plan->device[i].list, "netdev", id, err);
}

static int join_directly(struct net_plan *plan, struct planned *device, struct error *err)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		const struct planned *p = &plan->netdev[i];

		if (p->on_vlan && p->vlan == device->vlan)
			return pair_add(&device->list, "netdev", p->id, err);
	}
	return 0;
}

int hubplan_vlans(struct net_plan *plan, struct error *err)
{
	unsigned backends = plan->n_netdevs; /* without the ports that come */
	int rc = 0;

	choose(plan, plan->netdev, plan->n_netdevs);
	choose(plan, plan->device, plan->n_devices);
	for (unsigned i = 0; rc == 0 && i < backends; i++)
		rc = plan->netdev[i].by_hub ? join_backend(plan, i, err) : 0;
	for (unsigned i = 0; rc == 0 && i < plan->n_devices; i++) {
		if (plan->device[i].by_hub)
			rc = join_device(plan, i, err);
		else if (plan->device[i].on_vlan)
			rc = join_directly(plan, &plan->device[i], err);
	}
	return rc;
}

/* ---- order ---- */

static unsigned rank(const struct net_plan *plan, const struct planned *p)
{
	const char *netdev = pair_peek(&p->list, "netdev");
	const struct planned *peer = netdev ? planned_netdev_by_id(plan, netdev) : NULL;

	if (!hubplan_is_port(p))
		return 0;
	return peer && hubplan_is_port(peer) ? 2 : 1;
}

int hubplan_order(struct net_plan *plan, struct error *err)
{
	struct planned *sorted = calloc(plan->n_netdevs + 1, sizeof(*sorted));
	unsigned n = 0;

	if (!sorted)
		return fail(err, ENOMEM, "out of memory");
	for (unsigned r = 0; r <= 2; r++) {
		for (unsigned i = 0; i < plan->n_netdevs; i++) {
			if (rank(plan, &plan->netdev[i]) == r)
				sorted[n++] = plan->netdev[i];
		}
	}
	free(plan->netdev);
	plan->netdev = sorted;
	return 0;
}
