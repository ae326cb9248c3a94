/* SPDX-License-Identifier: BSD-2-Clause */
/* -net dump becomes an object. */
#include "ctl/dumpplan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/hubplan.h"
#include "ctl/pairs.h"

struct net_dump_opts {
	char *file, *id, *name;
	uint64_t len;
	int32_t vlan;
};

#define O(field, name, kind, ...) OPT_F(struct net_dump_opts, field, name, kind, __VA_ARGS__)

const struct opt net_dump_keys[] = {
	O(vlan, "vlan", OPT_INT, .min = 0, .max = INT32_MAX, .arg = "n", .help = "number of the wire (0 if not given)"),
	O(file, "file", OPT_STR, .arg = "path", .help = "the capture; qemu-vlanN.pcap if not given"),
	O(len, "len", OPT_SIZE, .def = "64K", .min = 1, .max = UINT32_MAX,
	  .help = "bytes of each frame that are kept at most"),
	O(id, "id", OPT_STR, .arg = "name", .help = "id of the object"),
	O(name, "name", OPT_STR, .arg = "name", .help = "old spelling of id"),
	OPT_END,
};

/* Does this backend stand on the number, or is it a port of the hub of that number? */
static bool is_there(const struct planned *p, int64_t vlan)
{
	const char *hub = hubplan_is_port(p) ? pair_peek(&p->list, "hubid") : NULL;

	return (p->on_vlan && p->vlan == vlan) || (hub && strtoll(hub, NULL, 0) == vlan);
}

static const char *wire_of(const struct net_plan *plan, int64_t vlan)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		if (is_there(&plan->netdev[i], vlan))
			return plan->netdev[i].id;
	}
	return NULL;
}

static struct object_item *new_object(struct config *cfg, const struct planned *from, struct error *err)
{
	struct object_item *v = realloc(cfg->object, (cfg->n_objects + 1) * sizeof(*v));

	if (!v) {
		fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	cfg->object = v;
	v[cfg->n_objects] = (struct object_item){ .option = from->option, .text = from->text };
	return &v[cfg->n_objects++];
}

/* number: of the dump, for the id of one that has none. */
static int add_object(struct config *cfg, const struct planned *p, const struct net_dump_opts *o, const char *wire,
		      unsigned number, struct error *err)
{
	const char *given = o->id ? o->id : o->name;
	struct object_item *item = new_object(cfg, p, err);
	char id[32], file[48], len[24];

	snprintf(id, sizeof(id), "dump%u", number);
	snprintf(file, sizeof(file), "qemu-vlan%" PRId32 ".pcap", o->vlan);
	snprintf(len, sizeof(len), "%" PRIu64, o->len);
	if (!item)
		return -ENOMEM;
	return pair_add(&item->list, "qom-type", "filter-dump", err)		    ?:
		       pair_add(&item->list, "id", given ? given : id, err)	    ?:
		       pair_add(&item->list, "netdev", wire, err)		    ?:
		       pair_add(&item->list, "file", o->file ? o->file : file, err) ?:
		       pair_add(&item->list, "maxlen", len, err);
}

static int plan_dump(const struct net_plan *plan, unsigned number, struct config *cfg, struct error *err)
{
	struct planned *p = &plan->dump[number];
	struct net_dump_opts o = { 0 };
	const char *wire;
	int rc = opts_defaults(net_dump_keys, &o, err);

	if (rc == 0)
		rc = opts_apply(net_dump_keys, &p->list, &o, true, err);
	if (rc == 0)
		rc = opts_reject_rest(&p->list, (const struct opt *const[]){ net_dump_keys, NULL }, err);
	if (rc == 0) {
		wire = wire_of(plan, o.vlan);
		rc = wire ? add_object(cfg, p, &o, wire, number, err) :
			    fail(err, ENOENT,
				 "no backend has vlan=%" PRId32
				 ", so there is nothing to write down; add -net TYPE,vlan=%" PRId32,
				 o.vlan, o.vlan);
	}
	opts_free(net_dump_keys, &o);
	return rc;
}

int dumpplan_objects(const struct net_plan *plan, struct config *cfg, struct error *err)
{
	for (unsigned i = 0; i < plan->n_dumps; i++) {
		int rc = plan_dump(plan, i, cfg, err);

		if (rc < 0) {
			planned_prefix(&plan->dump[i], err);
			return rc;
		}
	}
	return 0;
}
