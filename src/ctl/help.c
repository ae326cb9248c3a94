/* SPDX-License-Identifier: BSD-2-Clause */
/* Help from the option tables: for a terminal, and as mdoc(7) for the manual page. */
#include "ctl/help.h"

#include <stdio.h>
#include <stdlib.h>

#include "char/type.h"
#include "ctl/nicopts.h"
#include "ctl/types.h"
#include "net/netdev.h"
#include "object/device.h"

#define WIDTH 100 /* columns of -help */

/* ---- for a terminal ---- */

/* `text` in lines of at most WIDTH columns, each `indent` deep; the first continues at column `at`. */
static void print_wrapped(const char *text, unsigned at, unsigned indent)
{
	while (*text) {
		unsigned len = (unsigned)strcspn(text, " ");

		if (at + 1 + len > WIDTH && at > indent) {
			printf("\n%*s", indent, "");
			at = indent;
		}
		at += (unsigned)printf("%s%.*s", at > indent ? " " : "", len, text);
		text += len;
		text += strspn(text, " ");
	}
	printf("\n");
}

static void print_option(const struct cmd *c)
{
	int at = printf("-%s%s%s%s%s", c->name, c->alias ? ", -" : "", c->alias ? c->alias : "", c->arg ? " " : "",
			c->arg ? c->arg : "");

	if (at >= 23) {
		printf("\n");
		at = 0;
	}
	printf("%*s", 24 - at, "");
	print_wrapped(c->help, 24, 24);
}

int help_print(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	(void)cfg, (void)cmd, (void)arg, (void)err;
	printf("usage: vwire -kernel file [option]...\n       vwire -machine none -netdev type,... [option]...\n");
	for (const struct cmd_group *g = cmd_groups; g->title; g++) {
		if (g->cmds == refused_cmds)
			continue;
		printf("\n%s:\n", g->title);
		for (const struct cmd *c = g->cmds; c->name; c++) {
			if (c->help)
				print_option(c);
		}
	}
	printf("\nOptions with an argument of keys list them by -option help. The manual page is vwire(1).\n");
	return CMDLINE_DONE;
}

int help_version(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	(void)cfg, (void)cmd, (void)arg, (void)err;
	printf("vwire version " VWIRE_VERSION "\n");
	return CMDLINE_DONE;
}

/* ---- mdoc ---- */

/* Text as mdoc input: backslashes escaped, no line that begins with a control character. */
static void man_text(const char *text)
{
	if (*text == '.' || *text == '\'')
		printf("\\&");
	for (; *text; text++)
		printf(*text == '\\' ? "\\e" : *text == '-' ? "\\-" : "%c", *text);
}

static void man_line(const char *text)
{
	man_text(text);
	printf(".\n");
}

static const char *kind_name(const struct opt *o)
{
	static const char *const names[] = {
		[OPT_BOOL] = "on|off",	[OPT_ONOFFAUTO] = "on|off|auto",
		[OPT_UINT] = "number",	[OPT_INT] = "number",
		[OPT_SIZE] = "size",	[OPT_STR] = "text",
		[OPT_STRLIST] = "text", [OPT_MAC] = "address",
	};

	return o->arg ? o->arg : o->kind < ARRAY_SIZE(names) && names[o->kind] ? names[o->kind] : "value";
}

static void man_key(const struct opt *o)
{
	printf(".It Cm ");
	man_text(o->name);
	printf("=");
	if (o->kind == OPT_ENUM) {
		for (const char *const *c = o->choices; *c; c++) {
			printf(c == o->choices ? "" : "|");
			man_text(*c);
		}
	} else {
		man_text(kind_name(o));
	}
	printf("\n");
	if (o->help)
		man_text(o->help);
	if (o->required)
		printf(" (required)");
	else if (o->def)
		printf(" (default: %s)", o->def);
	printf("\n");
}

static void man_keys(const struct opt *table)
{
	if (!table || !table->name)
		return;
	printf(".Bl -tag -width Ds -compact\n");
	for (; table->name; table++)
		man_key(table);
	printf(".El\n");
}

static void man_option(const struct cmd *c)
{
	printf(".It Fl ");
	man_text(c->name);
	if (c->alias)
		printf(" , Fl %s", c->alias);
	if (c->arg) {
		printf(" Ar ");
		man_text(c->arg);
	}
	printf("\n");
	man_line(c->help);
	man_keys(c->keys);
}

static void man_type(const char *name, const char *help, const struct opt *opts)
{
	printf(".It Cm ");
	man_text(name);
	printf("\n");
	man_line(help);
	man_keys(opts);
}

static void man_netdevs(void)
{
	printf(".Sh NETWORK BACKENDS\nTypes of\n.Fl netdev\nand\n.Fl nic ,\nwith the options of each:\n.Bl -tag -width Ds\n");
	for (const struct netdev_type *const *t = netdev_types; *t; t++) {
		if (!(*t)->unsupported)
			man_type((*t)->name, (*t)->help, (*t)->opts);
	}
	printf(".El\n");
}

static void man_chardevs(void)
{
	printf(".Sh CHARACTER DEVICES\nTypes of\n.Fl chardev ,\nwith the options of each:\n.Bl -tag -width Ds\n");
	for (const struct chardev_type *const *t = chardev_types; *t; t++) {
		if (!(*t)->unsupported)
			man_type((*t)->name, (*t)->help, (*t)->opts);
	}
	printf(".El\n");
}

static void man_class_keys(const struct class *c)
{
	for (; c; c = c->parent) {
		for (const struct opt *o = c->type->props; o && o->name; o++)
			man_key(o);
	}
}

/* Types that differ in name only share one list. */
struct man_devices {
	const struct class *last, *last_inner;
};

static bool same_keys(const struct man_devices *m, const struct class *c, const struct class *inner)
{
	return m->last && !c->type->props && !m->last->type->props && c->parent == m->last->parent &&
	       inner == m->last_inner;
}

static void man_device(const struct class *c, void *arg)
{
	struct man_devices *m = arg;
	struct object *o, *inner;

	if (nic_model_find(c->type->name) != c)
		return;
	o = c->delegate ? object_new(c->type->name, NULL) : NULL;
	inner = o ? c->delegate(o) : NULL;
	printf(".It Cm ");
	man_text(c->type->name);
	printf("\n");
	if (c->type->desc)
		man_line(c->type->desc);
	if (same_keys(m, c, inner ? inner->class : NULL)) {
		printf("Its properties are those of\n.Cm ");
		man_text(m->last->type->name);
		printf(" .\n");
	} else {
		printf(".Bl -tag -width Ds -compact\n");
		man_class_keys(c);
		man_class_keys(inner ? inner->class : NULL);
		printf(".El\n");
		*m = (struct man_devices){ c, inner ? inner->class : NULL };
	}
	object_free(o);
}

static void man_object(const struct class *c, void *arg)
{
	(void)arg;
	printf(".It Cm ");
	man_text(c->type->name);
	printf("\n");
	man_line(c->type->desc);
	printf(".Bl -tag -width Ds -compact\n");
	man_class_keys(c);
	printf(".El\n");
}

static void man_objects(void)
{
	printf(".Sh OBJECTS\nTypes of\n.Fl object ,\nwith the properties of each:\n.Bl -tag -width Ds\n");
	class_each("user-creatable", false, man_object, NULL);
	printf(".El\n");
}

int help_man(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct man_devices devices = { NULL, NULL };

	(void)cfg, (void)cmd, (void)arg, (void)err;
	for (const struct cmd_group *g = cmd_groups; g->title; g++) {
		printf(".Ss %s\n", g->title);
		if (g->cmds == refused_cmds)
			printf("Options of QEMU that are known, and refused with what to do instead:\n");
		printf(".Bl -tag -width Ds\n");
		for (const struct cmd *c = g->cmds; c->name; c++) {
			if (c->help)
				man_option(c);
		}
		printf(".El\n");
	}
	man_netdevs();
	man_objects();
	printf(".Sh NETWORK DEVICES\nDrivers of\n.Fl device\nand of\n.Cm model= ,\nwith the properties of each:\n"
	       ".Bl -tag -width Ds\n");
	class_each("device", false, man_device, &devices);
	printf(".El\n");
	man_chardevs();
	return CMDLINE_DONE;
}
