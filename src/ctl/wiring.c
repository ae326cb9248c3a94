/* SPDX-License-Identifier: BSD-2-Clause */
/* Carrying out the plan of netdevs and devices. */
#include "ctl/wiring.h"

#include <errno.h>

#include "base/log.h"
#include "ctl/objects.h"
#include "ctl/pairs.h"
#include "ctl/placement.h"
#include "net/client.h"
#include "net/netdev.h"
#include "object/device.h"

/* ---- netdevs ---- */

/* netdev_add() names type and id in its errors; what else the user wrote is said if it came from -nic and the like. */
static void netdev_prefix(const struct planned *p, bool typed, struct error *err)
{
	if (typed && p->option && !strcmp(p->option, "-netdev"))
		error_prefix(err, "-netdev ");
	else
		planned_prefix(p, err);
}

struct netdev_placing {
	struct netdev_place place;
	const struct net_plan *plan;
	const struct planned *netdev;
	struct net_loops *loops;
};

static struct loop *loop_for(const struct netdev_place *p, unsigned queue, struct error *err)
{
	const struct netdev_placing *n = container_of(p, struct netdev_placing, place);

	return placement_loop(n->plan, n->netdev, queue, n->loops, err);
}

int wiring_add_netdevs(const struct net_plan *plan, struct net_loops *loops, struct error *err)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		struct planned *p = &plan->netdev[i];
		bool typed = pair_peek(&p->list, "type") != NULL;
		const struct netdev_placing n = { { loop_for }, plan, p, loops };
		int rc = netdev_add(&p->list, &n.place, err);

		if (rc < 0) {
			netdev_prefix(p, typed, err);
			return rc;
		}
		p->made = true;
	}
	return 0;
}

/* ---- -global ---- */

/* Is `driver` the type of this object, an ancestor of it, or that of the device that a proxy stands for? */
static bool concerns(struct object *o, const char *driver)
{
	struct object *inner = o->class->delegate ? o->class->delegate(o) : NULL;

	return class_is_a(o->class, driver) || (inner && class_is_a(inner->class, driver));
}

typedef int global_fn(const struct global_opt *g, const struct class *named, struct object *o, struct opt_list *list,
		      struct error *err);

/* Hand one of them to `fn`, unless there is no driver of that name. */
static int with_global(const char *text, global_fn *fn, struct object *o, struct opt_list *list, struct error *err)
{
	const struct class *named;
	struct global_opt g;
	int rc = global_parse(text, &g, err);

	if (rc == 0) {
		named = class_find(g.driver);
		rc = named ? fn(&g, named, o, list, err) : 0;
		global_free(&g);
	}
	if (rc < 0)
		error_prefix(err, "-global %.160s: ", text);
	return rc;
}

static int apply_global(const struct global_opt *g, const struct class *named, struct object *sample,
			struct opt_list *list, struct error *err)
{
	if (!concerns(sample, named->type->name))
		return 0;
	return object_set(sample, g->property, g->value, err) ?: pair_add_front(list, g->property, g->value, err);
}

/* The later ones win, and what the device's own option says wins over all: hence front, last one first. */
static int apply_globals(const struct config *cfg, struct object *sample, struct opt_list *list, struct error *err)
{
	int rc = 0;

	for (unsigned i = cfg->global.n; rc == 0 && i-- > 0;)
		rc = with_global(cfg->global.v[i], apply_global, sample, list, err);
	return rc;
}

static int use_globals(const struct config *cfg, struct opt_list *list, struct error *err)
{
	const char *driver = pair_peek(list, "driver");
	const struct class *c = driver ? nic_model_find(driver) : NULL;
	struct object *sample;
	int rc;

	if (!c || !cfg->global.n)
		return 0;
	sample = object_new(c->type->name, err);
	if (!sample)
		return -ENOMEM;
	rc = apply_globals(cfg, sample, list, err);
	object_free(sample);
	return rc;
}

static int set_global(const struct global_opt *g, const struct class *named, struct object *o, struct opt_list *list,
		      struct error *err)
{
	(void)list;
	return class_is_a(o->class, named->type->name) ? object_set(o, g->property, g->value, err) : 0;
}

int wiring_globals(void *config, struct object *o, struct error *err)
{
	const struct config *cfg = config;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < cfg->global.n; i++)
		rc = with_global(cfg->global.v[i], set_global, o, NULL, err);
	return rc;
}

/* A -global for a driver that is not there changes nothing; QEMU says so, and goes on. */
static void warn_globals(const struct config *cfg)
{
	for (unsigned i = 0; i < cfg->global.n; i++) {
		struct global_opt g;

		if (global_parse(cfg->global.v[i], &g, NULL) < 0)
			continue;
		if (!class_find(g.driver))
			log_warn("-global %.160s: there is no driver '%.60s'; it changes nothing", cfg->global.v[i],
				 g.driver);
		global_free(&g);
	}
}

/* ---- before anything is made ---- */

static void device_prefix(const struct planned *p, struct error *err)
{
	if (!p->option || strcmp(p->option, "-device"))
		planned_prefix(p, err);
}

int wiring_check(struct net_plan *plan, const struct config *cfg, struct error *err)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < plan->n_netdevs; i++) {
		struct planned *p = &plan->netdev[i];

		rc = netdev_check(&p->list, err);
		if (rc < 0)
			netdev_prefix(p, pair_peek(&p->list, "type"), err);
	}
	for (unsigned i = 0; rc == 0 && i < plan->n_devices; i++) {
		struct planned *p = &plan->device[i];

		rc = use_globals(cfg, &p->list, err);
		if (rc < 0)
			return rc;
		rc = device_check(&p->list, err);
		if (rc < 0)
			device_prefix(p, err);
	}
	return rc;
}

/* ---- devices ---- */

int wiring_add_devices(const struct net_plan *plan, const struct config *cfg, struct error *err)
{
	warn_globals(cfg);
	for (unsigned i = 0; i < plan->n_devices; i++) {
		struct planned *p = &plan->device[i];

		p->device = device_add(&p->list, err);
		if (!p->device) {
			device_prefix(p, err);
			return -EINVAL;
		}
	}
	return 0;
}

/* ---- all clients ---- */

static void warn_client(struct net_client *c, void *arg)
{
	const struct config *cfg = arg;
	const char *user = config_no_guest(cfg) ? "-netdev hubport,id=ID,hubid=N" : "-device DRIVER";

	if (!c->queue && !net_far_end(c) && (c->kind == NET_KIND_BACKEND || c->kind == NET_KIND_PORT))
		log_warn("netdev %s has no peer: nothing uses it; %s,netdev=%s does", c->name, user, c->name);
}

void wiring_warn(struct config *cfg)
{
	net_client_each(warn_client, cfg);
}

static void quiesce_client(struct net_client *c, void *arg)
{
	(void)arg;
	net_quiesce(c);
}

void wiring_quiesce(void)
{
	net_client_each(quiesce_client, NULL);
}

void wiring_remove(const struct net_plan *plan, struct config *cfg)
{
	struct error ignored;

	for (unsigned i = plan->n_devices; i-- > 0;) {
		if (plan->device[i].device)
			device_del(plan->device[i].device);
		plan->device[i].device = NULL;
	}
	objects_remove(cfg);
	for (unsigned i = plan->n_netdevs; i-- > 0;) {
		struct planned *p = &plan->netdev[i];

		if (p->made && netdev_del(p->id, &ignored) < 0)
			log_warn("%s", ignored.msg);
		p->made = false;
	}
}
