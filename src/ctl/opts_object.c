/* SPDX-License-Identifier: BSD-2-Clause */
/* The option -object: kept for later, when what objects refer to is there. */
#include <errno.h>
#include <stdlib.h>

#include "ctl/objects.h"
#include "ctl/options.h"
#include "ctl/pairs.h"

static int keep(struct config *cfg, struct object_item *item, const char *text, struct error *err)
{
	struct object_item *v = realloc(cfg->object, (cfg->n_objects + 1) * sizeof(*v));
	int rc;

	if (!v)
		return fail(err, ENOMEM, "out of memory");
	cfg->object = v;
	rc = opt_list_parse(text, "qom-type", &item->list, err);
	if (rc == 0)
		cfg->object[cfg->n_objects++] = *item;
	return rc;
}

static int add_object(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct object_item item = { .made = NULL };
	int rc = keep(cfg, &item, arg, err);
	const char *type;

	(void)cmd;
	if (rc < 0)
		return rc;
	type = pair_peek(&item.list, "qom-type");
	if (opt_list_wants_help(&item.list))
		return objects_help(type, err);
	return type ? objects_check_type(type, err) : fail(err, EINVAL, "the type is missing; -object help lists them");
}

const struct cmd object_cmds[] = {
	{ .name = "object",
	  .kind = CMD_CUSTOM,
	  .arg = "type,id=name[,property=value]...",
	  .apply = add_object,
	  .help = "Add an object, such as a filter that stands in the wire of a network backend. -object help lists the types, "
		  "-object type,help the properties of one. Objects are made in the order of the options, after the backends" },
	{ .name = NULL },
};
