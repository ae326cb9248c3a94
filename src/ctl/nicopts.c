/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From options to a plan. Each -nic becomes a netdev and a device, -net is paired by its vlan number, -redir and its
 * like become options of the first user network; then all ids and references are checked against each other.
 */
#include "ctl/nicopts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "ctl/cmdline.h"
#include "ctl/dumpplan.h"
#include "ctl/hubplan.h"
#include "ctl/pairs.h"
#include "ctl/types.h"
#include "net/mac.h"
#include "object/device.h"

/* ---- names of network devices ---- */

static bool is_nic(const struct class *c)
{
	const struct device_class *dc;

	if (!class_is_a(c, "device") || c->type->abstract)
		return false;
	dc = container_of(c, struct device_class, class);
	return !dc->internal && dc->category && !strcmp(dc->category, "network");
}

const struct class *nic_model_find(const char *name)
{
	const struct class *c = class_find(!strcmp(name, "virtio") ? DEFAULT_NIC : name);

	return c && is_nic(c) ? c : NULL;
}

#define MODELS_MAX 64

struct models {
	const char *name[MODELS_MAX];
	unsigned n;
};

static void collect_model(const struct class *c, void *arg)
{
	struct models *m = arg;

	if (is_nic(c) && m->n < MODELS_MAX)
		m->name[m->n++] = c->type->name;
}

static void all_models(struct models *m)
{
	m->n = 0;
	class_each("device", false, collect_model, m);
}

int nic_model_unknown(const char *name, struct error *err)
{
	const char *near, *why = unoffered_why(unoffered_devices, name);
	struct models m;

	if (why)
		return fail(err, ENOTSUP, "%s is not offered: %s", name, why);
	all_models(&m);
	near = nearest_name(name, m.name, m.n);
	if (near)
		return fail(err, EINVAL, "there is no device '%s'; did you mean %s?", name, near);
	return fail(err, EINVAL, "there is no device '%s'; -device help lists them", name);
}

void nic_models_help(FILE *out)
{
	struct models m;

	all_models(&m);
	fprintf(out, "Supported NIC models:\n");
	for (unsigned i = 0; i < m.n; i++)
		fprintf(out, "%s%s\n", m.name[i], strcmp(m.name[i], DEFAULT_NIC) ? "" : " (default)");
}

/* ---- the keys of -nic and -net nic ---- */

struct nic_opts {
	char *type, *model, *id;
	struct mac_opt mac;
};

const struct opt nic_keys[] = {
	OPT_F(struct nic_opts, type, "type", OPT_STR, .def = "user", .arg = "type",
	      .help = "kind of backend; its options follow"),
	OPT_F(struct nic_opts, model, "model", OPT_STR, .def = DEFAULT_NIC, .arg = "name",
	      .help = "kind of device; model=help lists them"),
	OPT_F(struct nic_opts, mac, "mac", OPT_MAC,
	      .help = "the guest's address; 52:54:00:12:34:56 counting up if not given"),
	OPT_F(struct nic_opts, id, "id", OPT_STR, .arg = "name", .help = "id of the backend"),
	OPT_END,
};

struct net_nic_opts {
	char *netdev, *model, *addr, *id, *name;
	struct mac_opt mac;
	char *vectors;
	int32_t vlan;
};

const struct opt net_nic_keys[] = {
	OPT_F(struct net_nic_opts, netdev, "netdev", OPT_STR, .arg = "id",
	      .help = "join this -netdev, and not by vlan"),
	OPT_F(struct net_nic_opts, vlan, "vlan", OPT_INT, .min = 0, .max = INT32_MAX, .arg = "n",
	      .help = "number of the wire (0 if not given), also of -net type"),
	OPT_F(struct net_nic_opts, model, "model", OPT_STR, .def = DEFAULT_NIC, .arg = "name",
	      .help = "kind of device; model=help lists them"),
	OPT_F(struct net_nic_opts, mac, "macaddr", OPT_MAC, .help = "the guest's address"),
	OPT_F(struct net_nic_opts, addr, "addr", OPT_STR, .arg = "slot", .help = "PCI slot"),
	OPT_F(struct net_nic_opts, vectors, "vectors", OPT_STR, .arg = "n", .help = "MSI-X vectors, of virtio devices"),
	OPT_F(struct net_nic_opts, id, "id", OPT_STR, .arg = "name", .help = "id of the device"),
	OPT_F(struct net_nic_opts, name, "name", OPT_STR, .arg = "name", .help = "old spelling of id"),
	OPT_END,
};

static int mac_text(const struct mac_opt *mac, struct opt_list *to, struct error *err)
{
	char text[MAC_TEXT];

	if (!mac_given(mac))
		return 0;
	snprintf(text, sizeof(text), MAC_FMT, MAC_ARGS(mac->addr));
	return mac_check(mac, err) ?: pair_add(to, "mac", text, err);
}

static int add_if(struct opt_list *to, const char *key, const char *value, struct error *err)
{
	return value ? pair_add(to, key, value, err) : 0;
}

/* ---- the plan ---- */

static struct planned *grow(struct planned **v, unsigned *n, struct error *err)
{
	struct planned *bigger = realloc(*v, (*n + 1) * sizeof(*bigger));

	if (!bigger) {
		fail(err, ENOMEM, "out of memory");
		return NULL;
	}
	*v = bigger;
	memset(&bigger[*n], 0, sizeof(*bigger));
	return &bigger[(*n)++];
}

static struct planned *written_as(struct planned *p, const char *option, const char *text)
{
	if (p) {
		p->option = option;
		p->text = text;
	}
	return p;
}

static struct planned *new_netdev(struct net_plan *plan, const struct net_item *from, struct error *err)
{
	return written_as(grow(&plan->netdev, &plan->n_netdevs, err), from ? from->option : NULL,
			  from ? from->text : NULL);
}

static struct planned *new_device(struct net_plan *plan, const struct net_item *from, struct error *err)
{
	return written_as(grow(&plan->device, &plan->n_devices, err), from ? from->option : NULL,
			  from ? from->text : NULL);
}

static struct planned *new_dump(struct net_plan *plan, const struct net_item *from, struct error *err)
{
	return written_as(grow(&plan->dump, &plan->n_dumps, err), from->option, from->text);
}

struct planned *planned_new_netdev(struct net_plan *plan, const struct planned *like, struct error *err)
{
	return written_as(grow(&plan->netdev, &plan->n_netdevs, err), like->option, like->text);
}

void planned_prefix(const struct planned *p, struct error *err)
{
	if (p->option)
		cmdline_prefix(err, p->option, p->text);
	else
		error_prefix(err, "the default network (-nic none turns it off): ");
}

struct planned *planned_netdev_by_id(const struct net_plan *plan, const char *id)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		if (plan->netdev[i].id && !strcmp(plan->netdev[i].id, id))
			return &plan->netdev[i];
	}
	return NULL;
}

int planned_remember_id(struct planned *p, struct error *err)
{
	const char *id = pair_peek(&p->list, "id");

	if (!id || p->id)
		return 0;
	p->id = strdup(id);
	return p->id ? 0 : fail(err, ENOMEM, "out of memory");
}

/* A name for what the user gave none: the first nicN that is free. */
static int invent_id(struct net_plan *plan, struct planned *p, struct error *err)
{
	char id[32];
	unsigned n = 0;

	do
		snprintf(id, sizeof(id), "nic%u", n++);
	while (planned_netdev_by_id(plan, id));
	p->id = strdup(id);
	return p->id ? pair_add(&p->list, "id", id, err) : fail(err, ENOMEM, "out of memory");
}

static int check_model(const char *model, struct error *err)
{
	return nic_model_find(model) ? 0 : nic_model_unknown(model, err);
}

/* The two options name the address differently, in QEMU too. */
static int check_mac_key(const struct opt_list *l, const char *wrong, const char *right, struct error *err)
{
	const char *value = pair_peek(l, wrong);

	return value ? fail(err, EINVAL, "unknown option '%s'; here it is %s=%.64s", wrong, right, value) : 0;
}

static int plan_nic_parts(struct net_plan *plan, const struct net_item *item, struct opt_list *list,
			  const struct nic_opts *o, struct error *err)
{
	struct planned *netdev = new_netdev(plan, item, err);
	struct planned *device = new_device(plan, item, err);

	if (!netdev || !device)
		return -ENOMEM;
	return check_model(o->model, err)							    ?:
		       pair_add(&netdev->list, "type", o->type, err)				    ?:
		       add_if(&netdev->list, "id", o->id, err)					    ?:
		       planned_remember_id(netdev, err)						    ?:
		       pair_move_rest(list, &netdev->list, err)					    ?:
		       (netdev->id ? 0 : invent_id(plan, netdev, err))				    ?:
		       pair_add(&device->list, "driver", nic_model_find(o->model)->type->name, err) ?:
		       mac_text(&o->mac, &device->list, err)					    ?:
		       pair_add(&device->list, "netdev", netdev->id, err);
}

/* -nic; without an item: the default network. */
static int plan_nic(struct net_plan *plan, struct net_item *item, struct error *err)
{
	struct nic_opts o = { 0 };
	struct opt_list nothing = { 0 };
	struct opt_list *list = item ? &item->list : &nothing;
	int rc = opts_defaults(nic_keys, &o, err);

	if (rc == 0)
		rc = check_mac_key(list, "macaddr", "mac", err) ?: opts_apply(nic_keys, list, &o, false, err);
	if (rc == 0 && strcmp(o.type, "none"))
		rc = plan_nic_parts(plan, item, list, &o, err);
	else if (rc == 0)
		rc = opts_reject_rest(list, (const struct opt *const[]){ nic_keys, NULL }, err);
	opts_free(nic_keys, &o);
	return rc;
}

static int plan_net_nic(struct net_plan *plan, struct net_item *item, struct error *err)
{
	struct net_nic_opts o = { 0 };
	struct planned *device = new_device(plan, item, err);
	int rc = device ? opts_defaults(net_nic_keys, &o, err) : -ENOMEM;

	if (rc == 0)
		rc = check_mac_key(&item->list, "mac", "macaddr", err) ?:
			     opts_apply(net_nic_keys, &item->list, &o, true, err);
	if (rc == 0)
		rc = opts_reject_rest(&item->list, (const struct opt *const[]){ net_nic_keys, NULL }, err);
	if (rc == 0)
		rc = check_model(o.model, err);
	if (rc == 0) {
		device->on_vlan = !o.netdev;
		device->vlan = o.vlan;
		rc = pair_add(&device->list, "driver", nic_model_find(o.model)->type->name, err) ?:
			     mac_text(&o.mac, &device->list, err)				 ?:
			     add_if(&device->list, "id", o.id ? o.id : o.name, err)		 ?:
			     add_if(&device->list, "netdev", o.netdev, err)			 ?:
			     add_if(&device->list, "addr", o.addr, err)				 ?:
			     add_if(&device->list, "vectors", o.vectors, err);
	}
	opts_free(net_nic_keys, &o);
	return rc;
}

static int plan_net_backend(struct net_plan *plan, struct net_item *item, const char *type, struct error *err)
{
	struct planned *netdev = new_netdev(plan, item, err);
	const char *vlan = opt_list_take(&item->list, "vlan");
	const char *name = opt_list_take(&item->list, "name");
	uint64_t number = 0;
	int rc;

	if (!netdev)
		return -ENOMEM;
	rc = vlan ? parse_uint(vlan, 0, INT32_MAX, &number, err) : 0;
	if (rc < 0) {
		error_prefix(err, "vlan=%s: ", vlan);
		return rc;
	}
	netdev->on_vlan = true;
	netdev->vlan = (int64_t)number;
	return pair_add(&netdev->list, "type", type, err)	       ?:
		       add_if(&netdev->list, "id", name, err)	       ?:
		       pair_move_rest(&item->list, &netdev->list, err) ?:
		       planned_remember_id(netdev, err)		       ?:
									 (netdev->id ? 0 : invent_id(plan, netdev, err));
}

static int plan_plain(struct planned *p, struct net_item *item, struct error *err)
{
	if (!p)
		return -ENOMEM;
	p->list = item->list;
	item->list = (struct opt_list){ 0 };
	return planned_remember_id(p, err);
}

static int plan_net(struct net_plan *plan, struct net_item *item, struct error *err)
{
	const char *type = opt_list_take(&item->list, "type");

	if (!type)
		return fail(err, EINVAL, "the type is missing: -net nic|user|tap|none");
	if (!strcmp(type, "nic"))
		return plan_net_nic(plan, item, err);
	if (!strcmp(type, "none"))
		return opts_reject_rest(&item->list, (const struct opt *const[]){ NULL }, err);
	if (!strcmp(type, "dump"))
		return plan_plain(new_dump(plan, item, err), item, err);
	return plan_net_backend(plan, item, type, err);
}

static int plan_item(struct net_plan *plan, struct net_item *item, struct error *err)
{
	switch (item->kind) {
	case ITEM_NETDEV:
		return plan_plain(new_netdev(plan, item, err), item, err);
	case ITEM_DEVICE:
		return plan_plain(new_device(plan, item, err), item, err);
	case ITEM_NIC:
		return plan_nic(plan, item, err);
	case ITEM_NET:
		return plan_net(plan, item, err);
	case ITEM_LEGACY:
		break;
	}
	return 0;
}

static int plan_kind(struct net_plan *plan, struct config *cfg, enum net_item_kind kind, struct error *err)
{
	for (unsigned i = 0; i < cfg->n_items; i++) {
		struct net_item *item = &cfg->item[i];
		int rc = item->kind == kind ? plan_item(plan, item, err) : 0;

		if (rc < 0) {
			cmdline_prefix(err, item->option, item->text);
			return rc;
		}
	}
	return 0;
}

/* ---- what QEMU removed ---- */

int redir_to_hostfwd(const char *redir, char *out, size_t size, struct error *err)
{
	char copy[128];
	char *rest = copy;
	const char *part[4]; /* protocol, host's port, guest's address, guest's port */

	if (snprintf(copy, sizeof(copy), "%s", redir) >= (int)sizeof(copy))
		return fail(err, EINVAL, "too long; expected [tcp|udp]:hostport:[guestaddr]:guestport");
	for (unsigned i = 0; i < 4; i++) {
		part[i] = strsep(&rest, ":");
		if (!part[i])
			return fail(err, EINVAL, "expected [tcp|udp]:hostport:[guestaddr]:guestport");
	}
	if (rest)
		return fail(err, EINVAL, "expected [tcp|udp]:hostport:[guestaddr]:guestport, without ':%s'", rest);
	snprintf(out, size, "%s::%s-%s:%s", part[0], part[1], part[2], part[3]);
	return 0;
}

static struct planned *first_user_network(struct net_plan *plan)
{
	for (unsigned i = 0; i < plan->n_netdevs; i++) {
		const char *type = pair_peek(&plan->netdev[i].list, "type");

		if (type && !strcmp(type, "user"))
			return &plan->netdev[i];
	}
	return NULL;
}

static int plan_legacy(struct net_plan *plan, const struct net_item *item, struct error *err)
{
	struct planned *user = first_user_network(plan);
	char rule[512];
	int rc;

	if (!user)
		return fail(err, EINVAL, "there is no user network that this could be an option of; add -nic user");
	if (strcmp(item->key, "hostfwd"))
		return pair_add(&user->list, item->key, item->text, err);
	rc = redir_to_hostfwd(item->text, rule, sizeof(rule), err);
	return rc < 0 ? rc : pair_add(&user->list, "hostfwd", rule, err);
}

static int plan_all_legacy(struct net_plan *plan, const struct config *cfg, struct error *err)
{
	for (unsigned i = 0; i < cfg->n_items; i++) {
		const struct net_item *item = &cfg->item[i];
		int rc = item->kind == ITEM_LEGACY ? plan_legacy(plan, item, err) : 0;

		if (rc < 0) {
			cmdline_prefix(err, item->option, item->text);
			return rc;
		}
	}
	return 0;
}

/* ---- all against all ---- */

static int check_ids(const struct planned *v, unsigned n, const char *what, struct error *err)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; v[i].id && j < i; j++) {
			if (!v[j].id || strcmp(v[i].id, v[j].id))
				continue;
			fail(err, EEXIST, "Duplicate ID '%.127s' for %s; each needs its own", v[i].id, what);
			planned_prefix(&v[i], err);
			return -EEXIST;
		}
	}
	return 0;
}

/* Who comes before the user number i of the backend `netdev`: devices after ports. NULL: nobody. */
static const struct planned *user_of(const struct net_plan *plan, const char *netdev, const struct planned *self)
{
	const struct {
		const struct planned *v;
		unsigned n;
	} all[] = { { plan->netdev, plan->n_netdevs }, { plan->device, plan->n_devices } };

	for (unsigned k = 0; k < ARRAY_SIZE(all); k++) {
		for (unsigned i = 0; i < all[k].n; i++) {
			const struct planned *p = &all[k].v[i];
			const char *theirs = k || hubplan_is_port(p) ? pair_peek(&p->list, "netdev") : NULL;

			if (p == self)
				return NULL;
			if (theirs && !strcmp(theirs, netdev))
				return p;
		}
	}
	return NULL;
}

static int check_reference(const struct net_plan *plan, const struct planned *p, struct error *err)
{
	const char *netdev = pair_peek(&p->list, "netdev");
	const struct planned *other;

	if (!netdev)
		return 0;
	if (!planned_netdev_by_id(plan, netdev))
		return fail(err, ENOENT, "netdev=%.127s: there is no such backend; add -netdev type,id=%.127s", netdev,
			    netdev);
	other = user_of(plan, netdev, p);
	if (other)
		return fail(err, EBUSY,
			    "netdev=%.127s is in use by %s %.160s; a backend serves one, a hub joins several", netdev,
			    other->option, other->text);
	return 0;
}

static int check_references(const struct net_plan *plan, struct error *err)
{
	for (unsigned i = 0; i < plan->n_netdevs + plan->n_devices; i++) {
		const struct planned *p = i < plan->n_netdevs ? &plan->netdev[i] : &plan->device[i - plan->n_netdevs];
		int rc = i >= plan->n_netdevs || hubplan_is_port(p) ? check_reference(plan, p, err) : 0;

		if (rc < 0) {
			planned_prefix(p, err);
			return rc;
		}
	}
	return 0;
}

static int check_no_devices(const struct net_plan *plan, struct error *err)
{
	if (!plan->n_devices)
		return 0;
	fail(err, EINVAL,
	     "there is no board to plug a device into with -machine none; -netdev joins backends by hubports");
	planned_prefix(&plan->device[0], err);
	return -EINVAL;
}

static int check_nics(const struct net_plan *plan, struct error *err)
{
	unsigned nics = 0;

	for (unsigned i = 0; i < plan->n_devices; i++) {
		const struct planned *d = &plan->device[i];

		if (!d->option || !strcmp(d->option, "-device"))
			continue;
		if (++nics > MAX_NICS) {
			fail(err, ERANGE,
			     "too many NICs; -nic and -net nic make at most %d, more can be had with -device",
			     MAX_NICS);
			planned_prefix(d, err);
			return -ERANGE;
		}
	}
	return 0;
}

static bool wants_default(const struct config *cfg)
{
	for (unsigned i = 0; i < cfg->n_items; i++) {
		if (cfg->item[i].kind != ITEM_DEVICE && cfg->item[i].kind != ITEM_LEGACY)
			return false;
	}
	return !cfg->nodefaults && !config_no_guest(cfg);
}

static int plan_default(struct net_plan *plan, struct error *err)
{
	int rc = plan_nic(plan, NULL, err);

	if (rc < 0)
		planned_prefix(&(struct planned){ 0 }, err);
	return rc;
}

int net_plan_make(struct config *cfg, struct net_plan *plan, struct error *err)
{
	int rc = plan_kind(plan, cfg, ITEM_NETDEV, err)	     ?:
			 plan_kind(plan, cfg, ITEM_NIC, err) ?:
			 plan_kind(plan, cfg, ITEM_NET, err) ?:
			 hubplan_vlans(plan, err)	     ?:
							       plan_kind(plan, cfg, ITEM_DEVICE, err);

	if (rc == 0 && wants_default(cfg))
		rc = plan_default(plan, err);
	for (unsigned i = 0; rc == 0 && i < plan->n_devices; i++)
		rc = planned_remember_id(&plan->device[i], err);
	if (rc == 0 && config_no_guest(cfg))
		rc = check_no_devices(plan, err);
	return rc							       ?:
		       plan_all_legacy(plan, cfg, err)			       ?:
		       check_nics(plan, err)				       ?:
		       dumpplan_objects(plan, cfg, err)			       ?:
		       check_ids(plan->netdev, plan->n_netdevs, "netdev", err) ?:
		       check_ids(plan->device, plan->n_devices, "device", err) ?:
		       check_references(plan, err)			       ?:
										 hubplan_order(plan, err);
}

static void free_planned(struct planned *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		opt_list_free(&v[i].list);
		free(v[i].id);
	}
	free(v);
}

void net_plan_free(struct net_plan *plan)
{
	free_planned(plan->netdev, plan->n_netdevs);
	free_planned(plan->device, plan->n_devices);
	free_planned(plan->dump, plan->n_dumps);
	*plan = (struct net_plan){ 0 };
}
