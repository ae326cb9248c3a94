/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of the network: what they mean together is nicopts.c's. */
#include <errno.h>
#include <stdlib.h>

#include "ctl/dumpplan.h"
#include "ctl/nicopts.h"
#include "ctl/options.h"
#include "ctl/pairs.h"
#include "ctl/types.h"
#include "net/netdev.h"
#include "object/device.h"

static const char device_help_text[] =
	"Add a device. Its properties are listed by -device driver,help, all drivers by -device help";

/* Keep one option for later: its place in the order counts, and nothing exists yet. */
static int keep_item(struct config *cfg, struct net_item *item, const char *implied, struct error *err)
{
	struct net_item *v = realloc(cfg->item, (cfg->n_items + 1) * sizeof(*v));
	int rc;

	if (!v)
		return fail(err, ENOMEM, "out of memory");
	cfg->item = v;
	rc = opt_list_parse(item->text, implied, &item->list, err);
	if (rc == 0)
		cfg->item[cfg->n_items++] = *item;
	return rc;
}

static int netdev_option_help(const char *type, struct error *err)
{
	const struct netdev_type *t;

	if (!type || !strcmp(type, "help") || !strcmp(type, "?")) {
		netdev_help(stdout);
		return CMDLINE_DONE;
	}
	t = netdev_type_find(type);
	if (!t)
		return fail(err, EINVAL, "there is no network backend '%s'; -netdev help lists them", type);
	if (t->unsupported)
		return fail(err, ENOTSUP, "%s", t->unsupported);
	printf("%s options:\n", t->name);
	opts_help(stdout, t->opts);
	return CMDLINE_DONE;
}

static int add_netdev(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct net_item item = { .kind = ITEM_NETDEV, .option = "-netdev", .text = arg };
	int rc = keep_item(cfg, &item, "type", err);

	(void)cmd;
	if (rc == 0 && opt_list_wants_help(&item.list))
		return netdev_option_help(opt_list_take(&item.list, "type"), err);
	return rc;
}

static int device_option_help(const char *driver, struct error *err)
{
	const struct class *c;

	if (!driver || !strcmp(driver, "help") || !strcmp(driver, "?")) {
		device_help(stdout);
		return CMDLINE_DONE;
	}
	c = nic_model_find(driver);
	if (!c)
		return nic_model_unknown(driver, err);
	printf("%s options:\n", c->type->name);
	class_help(stdout, c);
	return CMDLINE_DONE;
}

static int add_device(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct net_item item = { .kind = ITEM_DEVICE, .option = "-device", .text = arg };
	int rc = keep_item(cfg, &item, "driver", err);
	const char *driver;

	(void)cmd;
	if (rc == 0 && opt_list_wants_help(&item.list))
		return device_option_help(opt_list_take(&item.list, "driver"), err);
	driver = rc == 0 ? pair_peek(&item.list, "driver") : NULL;
	if (driver && unoffered_why(unoffered_devices, driver))
		return nic_model_unknown(driver, err);
	return rc;
}

static int nic_models_wanted(const struct opt_list *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		if (!strcmp(l->v[i].key, "model") && (!strcmp(l->v[i].value, "help") || !strcmp(l->v[i].value, "?")))
			return CMDLINE_DONE;
	}
	return 0;
}

static int add_nic(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct net_item item = { .kind = ITEM_NIC, .option = "-nic", .text = arg };
	int rc = keep_item(cfg, &item, "type", err);

	if (rc < 0)
		return rc;
	if (nic_models_wanted(&item.list)) {
		nic_models_help(stdout);
		return CMDLINE_DONE;
	}
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		printf("-nic %s\n%s.\n", cmd->arg, cmd->help);
		opts_help(stdout, cmd->keys);
		netdev_help(stdout);
		return CMDLINE_DONE;
	}
	if (opt_list_wants_help(&item.list))
		return netdev_option_help(opt_list_take(&item.list, "type"), err);
	return 0;
}

static int add_net(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct net_item item = { .kind = ITEM_NET, .option = "-net", .text = arg };
	int rc = keep_item(cfg, &item, "type", err);
	const char *type;

	if (rc < 0)
		return rc;
	if (nic_models_wanted(&item.list)) {
		nic_models_help(stdout);
		return CMDLINE_DONE;
	}
	if (opt_list_wants_help(&item.list)) {
		type = opt_list_take(&item.list, "type");
		if (type && !strcmp(type, "dump")) {
			printf("-net dump options:\n");
			opts_help(stdout, net_dump_keys);
			return CMDLINE_DONE;
		}
		if (type && strcmp(type, "help") && strcmp(type, "nic"))
			return netdev_option_help(type, err);
		printf("-net %s\n%s.\n", cmd->arg, cmd->help);
		opts_help(stdout, cmd->keys);
		netdev_help(stdout);
		return CMDLINE_DONE;
	}
	return 0;
}

/* What is left of options that QEMU removed: each sets one option of user networking. */
static int add_legacy(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct net_item item = { .kind = ITEM_LEGACY, .text = arg, .option = cmd->name, .key = cmd->implied };
	struct net_item *v = realloc(cfg->item, (cfg->n_items + 1) * sizeof(*v));
	char rule[512];

	if (!v)
		return fail(err, ENOMEM, "out of memory");
	cfg->item = v;
	if (!*arg)
		return fail(err, EINVAL, "the argument is empty");
	if (!strcmp(cmd->name, "redir")) {
		int rc = redir_to_hostfwd(arg, rule, sizeof(rule), err);

		if (rc < 0)
			return rc;
	}
	cfg->item[cfg->n_items++] = item;
	return 0;
}

static int add_global(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	char **v = realloc(cfg->global.v, (cfg->global.n + 1) * sizeof(*v));
	struct global_opt g;
	int rc;

	(void)cmd;
	if (!v)
		return fail(err, ENOMEM, "out of memory");
	cfg->global.v = v;
	rc = global_parse(arg, &g, err);
	if (rc < 0)
		return rc;
	global_free(&g);
	v[cfg->global.n] = strdup(arg);
	if (!v[cfg->global.n])
		return fail(err, ENOMEM, "out of memory");
	cfg->global.n++;
	return 0;
}

const struct cmd net_cmds[] = {
	{ .name = "netdev",
	  .kind = CMD_CUSTOM,
	  .arg = "type,id=name[,option=value]...",
	  .apply = add_netdev,
	  .help = "Add a network backend, to which a device is joined by its netdev= property. -netdev help lists the types, "
		  "-netdev type,help the options of one. JSON is understood too" },
	{ .name = "device",
	  .kind = CMD_CUSTOM,
	  .arg = "driver[,id=name][,property=value]...",
	  .apply = add_device,
	  .help = device_help_text },
	{ .name = "nic",
	  .kind = CMD_CUSTOM,
	  .arg = "[type][,model=name][,mac=address][,option=value]...",
	  .keys = nic_keys,
	  .apply = add_nic,
	  .help = "Add a backend and a device that is joined to it in one option. -nic none turns the default network off; "
		  "without any option of this group there is one virtio-net-pci device on user networking" },
	{ .name = "net",
	  .kind = CMD_CUSTOM,
	  .arg = "nic|type|dump[,option=value]...|none",
	  .keys = net_nic_keys,
	  .apply = add_net,
	  .help = "The old pair of options: -net nic is the device, -net type the backend, and what has the same vlan= number "
		  "(default 0) is joined; more than two by the hub of that number. -net dump,file=path writes down what goes through; "
		  "-net dump,help. -net none turns the default network off" },
	{ .name = "redir",
	  .kind = CMD_CUSTOM,
	  .arg = "[tcp|udp]:hostport:[guestaddr]:guestport",
	  .apply = add_legacy,
	  .implied = "hostfwd",
	  .help = "The same as hostfwd= of the first user network; the guest's address stands between the ports" },
	{ .name = "tftp",
	  .kind = CMD_CUSTOM,
	  .arg = "dir",
	  .apply = add_legacy,
	  .implied = "tftp",
	  .help = "The same as tftp= of the first user network" },
	{ .name = "bootp",
	  .kind = CMD_CUSTOM,
	  .arg = "file",
	  .apply = add_legacy,
	  .implied = "bootfile",
	  .help = "The same as bootfile= of the first user network" },
	{ .name = "smb",
	  .kind = CMD_CUSTOM,
	  .arg = "dir",
	  .apply = add_legacy,
	  .implied = "smb",
	  .help = "The same as smb= of the first user network" },
	{ .name = "global",
	  .kind = CMD_CUSTOM,
	  .arg = "driver.property=value",
	  .apply = add_global,
	  .help = "Set a property of all devices of this driver that do not set it themselves" },
	{ .name = NULL },
};
