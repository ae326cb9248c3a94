/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects of -object. */
#include "ctl/objects.h"

#include <errno.h>
#include <stdio.h>

#include "ctl/cmdline.h"
#include "ctl/pairs.h"
#include "ctl/types.h"
#include "object/creatable.h"

static void help_line(const struct class *c, void *arg)
{
	(void)arg;
	printf("%-18s %s\n", c->type->name, c->type->desc);
}

int objects_help(const char *type, struct error *err)
{
	const struct class *c;
	int rc;

	if (!type || !strcmp(type, "help") || !strcmp(type, "?")) {
		printf("Available object types:\n");
		class_each("user-creatable", false, help_line, NULL);
		printf("\nObjects of QEMU that are not offered:\n");
		for (const struct unoffered *u = unoffered_objects; u->name; u++)
			printf("%-18s %s\n", u->name, u->why);
		return CMDLINE_DONE;
	}
	rc = objects_check_type(type, err);
	if (rc < 0)
		return rc;
	c = creatable_class_find(type, err);
	printf("%s options:\n", type);
	class_help(stdout, c);
	return CMDLINE_DONE;
}

int objects_check_type(const char *type, struct error *err)
{
	const char *why = unoffered_why(unoffered_objects, type);

	if (why)
		return fail(err, ENOTSUP, "%s is not offered: %s", type, why);
	return creatable_class_find(type, err) ? 0 : -ENOENT;
}

static void prefix(const struct object_item *item, struct error *err)
{
	if (item->option)
		cmdline_prefix(err, item->option, item->text);
	else
		error_prefix(err, "-object ");
}

bool objects_is_thread(const struct object_item *item)
{
	const char *type = pair_peek(&item->list, "qom-type");

	return item->made ? class_is_a(item->made->obj.class, "iothread") : type && !strcmp(type, "iothread");
}

static int add(struct config *cfg, bool threads, struct error *err)
{
	for (unsigned i = 0; i < cfg->n_objects; i++) {
		struct object_item *item = &cfg->object[i];

		if (item->made || objects_is_thread(item) != threads)
			continue;
		item->made = creatable_add(&item->list, err);
		if (!item->made) {
			prefix(item, err);
			return -EINVAL;
		}
	}
	return 0;
}

static void remove_all(struct config *cfg, bool threads)
{
	for (unsigned i = cfg->n_objects; i-- > 0;) {
		struct object_item *item = &cfg->object[i];

		if (!item->made || objects_is_thread(item) != threads)
			continue;
		creatable_del(item->made);
		item->made = NULL;
	}
}

int objects_add_threads(struct config *cfg, struct error *err)
{
	return add(cfg, true, err);
}

int objects_add(struct config *cfg, struct error *err)
{
	return add(cfg, false, err);
}

void objects_remove(struct config *cfg)
{
	remove_all(cfg, false);
}

void objects_remove_threads(struct config *cfg)
{
	remove_all(cfg, true);
}
