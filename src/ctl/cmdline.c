/* SPDX-License-Identifier: BSD-2-Clause */
/* The walk over argv by the option tables: one or two dashes, arguments apart, as QEMU has it. */
#include "ctl/cmdline.h"

#include <errno.h>
#include <stdlib.h>

#define NAMES_MAX   256 /* rows of all tables */
#define SHOWN_VALUE 160 /* bytes of an option's argument that a message repeats */

const struct cmd_group cmd_groups[] = {
	{ "Machine", machine_cmds }, { "Boot", boot_cmds },	      { "Network", net_cmds },
	{ "Objects", object_cmds },  { "Consoles", console_cmds },    { "Process", run_cmds },
	{ "Help", help_cmds },	     { "Not offered", refused_cmds }, { NULL, NULL },
};

const struct cmd *cmd_find(const char *name)
{
	for (const struct cmd_group *g = cmd_groups; g->title; g++) {
		for (const struct cmd *c = g->cmds; c->name; c++) {
			if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name)))
				return c;
		}
	}
	return NULL;
}

void cmdline_prefix(struct error *err, const char *option, const char *value)
{
	bool cut = value && strlen(value) > SHOWN_VALUE;

	if (value && !*value)
		value = "''";

	error_prefix(err, "%s%s%s%.*s%s: ", *option == '-' ? "" : "-", option, value ? " " : "", SHOWN_VALUE,
		     value ? value : "", cut ? "..." : "");
}

static int unknown_option(const char *arg, struct error *err)
{
	const char *names[NAMES_MAX];
	const char *near;
	size_t n = 0;

	for (const struct cmd_group *g = cmd_groups; g->title; g++) {
		for (const struct cmd *c = g->cmds; c->name; c++) {
			if (c->kind == CMD_REFUSED || !c->help)
				continue;
			if (n < NAMES_MAX)
				names[n++] = c->name;
			if (c->alias && n < NAMES_MAX)
				names[n++] = c->alias;
		}
	}
	near = nearest_name(arg + strspn(arg, "-"), names, n);
	if (near)
		fail(err, EINVAL, "no such option; did you mean -%s?", near);
	else
		fail(err, EINVAL, "no such option; vwire -help lists all");
	cmdline_prefix(err, arg, NULL);
	return -EINVAL;
}

static int set_text(char **field, const char *arg, bool empty_ok, struct error *err)
{
	if (!*arg && !empty_ok)
		return fail(err, EINVAL, "the argument is empty");
	free(*field);
	*field = strdup(arg);
	return *field ? 0 : fail(err, ENOMEM, "out of memory");
}

static int add_text(struct strlist *list, const char *arg, struct error *err)
{
	char **v = realloc(list->v, (list->n + 1) * sizeof(*v));

	if (!v)
		return fail(err, ENOMEM, "out of memory");
	list->v = v;
	list->v[list->n] = NULL;
	return set_text(&list->v[list->n++], arg, false, err);
}

static int set_keys(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	const struct opt *const tables[] = { cmd->keys, NULL };
	struct opt_list list;
	int rc;

	if (!*arg)
		return fail(err, EINVAL, "the argument is empty; expected %s", cmd->arg);
	rc = opt_list_parse(arg, cmd->implied, &list, err);
	if (rc < 0)
		return rc;
	if (opt_list_wants_help(&list)) {
		if (cmd->show)
			cmd->show();
		opts_help(stdout, cmd->keys);
		opt_list_free(&list);
		return CMDLINE_DONE;
	}
	rc = opts_apply(cmd->keys, &list, (char *)cfg + cmd->offset, false, err);
	if (rc == 0)
		rc = opts_reject_rest(&list, tables, err);
	if (rc == 0 && cmd->apply)
		rc = cmd->apply(cfg, cmd, arg, err);
	opt_list_free(&list);
	return rc;
}

static int check_choice(const struct cmd *cmd, const char *arg, struct error *err)
{
	for (const char *const *c = cmd->choices; *c; c++) {
		if (!strcmp(*c, arg))
			return 0;
	}
	return fail(err, EINVAL, "not offered. %s", cmd->help);
}

static int apply_cmd(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	int rc;

	switch (cmd->kind) {
	case CMD_FLAG:
		*(bool *)((char *)cfg + cmd->offset) = true;
		return 0;
	case CMD_TEXT:
		return set_text((char **)((char *)cfg + cmd->offset), arg, cmd->empty_ok, err);
	case CMD_LIST:
		rc = cmd->apply ? cmd->apply(cfg, cmd, arg, err) : 0;
		return rc ?: add_text((struct strlist *)((char *)cfg + cmd->offset), arg, err);
	case CMD_KEYS:
		return set_keys(cfg, cmd, arg, err);
	case CMD_CHOICE:
		return check_choice(cmd, arg, err);
	case CMD_CUSTOM:
	case CMD_HELP:
		return cmd->apply(cfg, cmd, arg, err);
	case CMD_REFUSED:
		break;
	}
	return fail(err, ENOTSUP, "not offered; %s", cmd->help);
}

int cmdline_parse(struct config *cfg, int argc, char **argv, struct error *err)
{
	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		const char *name = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
		const struct cmd *cmd;
		const char *arg = ""; /* of options that take none */
		int rc;

		if (word[0] != '-') {
			fail(err, EINVAL,
			     "not an option; there are no disk images here, a kernel is given with -kernel");
			error_prefix(err, "%.*s: ", SHOWN_VALUE, word);
			return -EINVAL;
		}
		cmd = cmd_find(name);
		if (!cmd)
			return unknown_option(word, err);
		if (cmd->arg && cmd->kind != CMD_REFUSED) {
			if (i + 1 == argc) {
				fail(err, EINVAL, "needs an argument: %s", cmd->arg);
				cmdline_prefix(err, word, NULL);
				return -EINVAL;
			}
			arg = argv[++i];
		}
		rc = apply_cmd(cfg, cmd, arg, err);
		if (rc < 0)
			cmdline_prefix(err, word, cmd->arg && cmd->kind != CMD_REFUSED ? arg : NULL);
		if (rc != 0)
			return rc;
	}
	return 0;
}
