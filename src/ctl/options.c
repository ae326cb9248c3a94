/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line's result as a whole: defaults, -global, and what options mean together. */
#include "ctl/options.h"

#include <errno.h>
#include <stdlib.h>

#include "machine/machine.h"

int config_init(struct config *cfg, struct error *err)
{
	for (const struct cmd_group *g = cmd_groups; g->title; g++) {
		for (const struct cmd *c = g->cmds; c->name; c++) {
			int rc = c->kind == CMD_KEYS ? opts_defaults(c->keys, (char *)cfg + c->offset, err) : 0;

			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static void free_list(struct strlist *l)
{
	for (unsigned i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct strlist){ 0 };
}

void config_free(struct config *cfg)
{
	for (const struct cmd_group *g = cmd_groups; g->title; g++) {
		for (const struct cmd *c = g->cmds; c->name; c++) {
			void *field = (char *)cfg + c->offset;

			if (c->kind == CMD_KEYS)
				opts_free(c->keys, field);
			else if (c->kind == CMD_LIST)
				free_list(field);
			else if (c->kind == CMD_TEXT)
				free(*(char **)field);
		}
	}
	for (unsigned i = 0; i < cfg->n_items; i++)
		opt_list_free(&cfg->item[i].list);
	free(cfg->item);
	for (unsigned i = 0; i < cfg->n_objects; i++)
		opt_list_free(&cfg->object[i].list);
	free(cfg->object);
	free_list(&cfg->global);
	free(cfg->uuid);
	*cfg = (struct config){ 0 };
}

/* ---- -global ---- */

static const struct opt global_keys[] = {
	OPT_F(struct global_opt, driver, "driver", OPT_STR, .required = true, .help = "type of device"),
	OPT_F(struct global_opt, property, "property", OPT_STR, .required = true, .help = "its property"),
	OPT_F(struct global_opt, value, "value", OPT_STR, .required = true, .help = "the value"),
	OPT_END,
};

static int global_long_form(const char *text, struct global_opt *g, struct error *err)
{
	struct opt_list list;
	int rc = opt_list_parse(text, NULL, &list, err);

	if (rc < 0)
		return rc;
	rc = opts_apply(global_keys, &list, g, true, err);
	if (rc == 0)
		rc = opts_reject_rest(&list, (const struct opt *const[]){ global_keys, NULL }, err);
	opt_list_free(&list);
	return rc;
}

int global_parse(const char *text, struct global_opt *g, struct error *err)
{
	size_t driver = strcspn(text, ".=");
	size_t property = text[driver] == '.' ? strcspn(text + driver + 1, "=") : 0;
	const char *value = text + driver + 1 + property;
	int rc = 0;

	*g = (struct global_opt){ 0 };
	if (driver && property && *value == '=') {
		g->driver = strndup(text, driver);
		g->property = strndup(text + driver + 1, property);
		g->value = strdup(value + 1);
		if (!g->driver || !g->property || !g->value)
			rc = fail(err, ENOMEM, "out of memory");
	} else if (!strncmp(text, "driver=", 7)) {
		rc = global_long_form(text, g, err);
	} else {
		rc = fail(err, EINVAL, "expected driver.property=value");
	}
	if (rc < 0)
		global_free(g);
	return rc;
}

void global_free(struct global_opt *g)
{
	opts_free(global_keys, g);
}

/* ---- what options mean together ---- */

/* -machine kernel=x is -kernel x; the option of its own wins. */
static void prefer(char **own, char **of_machine)
{
	if (*own || !*of_machine)
		return;
	*own = *of_machine;
	*of_machine = NULL;
}

/* What needs a guest, and what the user wrote of it; the rest of the options change nothing then. */
static int check_no_guest(const struct config *cfg, struct error *err)
{
	const struct {
		const char *option, *value;
	} rows[] = {
		{ "-kernel", cfg->kernel },
		{ "-initrd", cfg->initrd },
		{ "-append", cfg->append },
		{ "-qtest", cfg->qtest },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].value)
			return fail(err, EINVAL, "%s %.200s: there is no guest with -machine none; leave it out",
				    rows[i].option, rows[i].value);
	}
	for (unsigned i = 0; i < cfg->serial.n; i++) {
		if (strcmp(cfg->serial.v[i], "none"))
			return fail(err, EINVAL,
				    "-serial %.200s: there is no serial port with -machine none; leave it out",
				    cfg->serial.v[i]);
	}
	return 0;
}

static int check_boot(const struct config *cfg, struct error *err)
{
	if (cfg->append && !cfg->kernel)
		return fail(err, EINVAL, "-append: only together with -kernel");
	if (cfg->initrd && !cfg->kernel)
		return fail(err, EINVAL, "-initrd %.200s: only together with -kernel", cfg->initrd);
	if (!cfg->kernel && !config_qtest(cfg))
		return fail(err, EINVAL,
			    "-kernel: missing; there is no firmware to boot anything else, give a bzImage or vmlinux");
	return 0;
}

/* Which accelerator, after all: cfg->accel.name says it. */
static int choose_accel(struct config *cfg, struct error *err)
{
	const char *of_machine = cfg->board.accel;

	if (of_machine && cfg->accel.name)
		return fail(err, EINVAL, "-machine accel=%.60s: -accel %.60s says it already; leave one out",
			    of_machine, cfg->accel.name);
	if (of_machine && accel_check(of_machine, err) < 0) {
		error_prefix(err, "-machine accel=%.60s: ", of_machine);
		return -EINVAL;
	}
	prefer(&cfg->accel.name, &cfg->board.accel);
	if (!cfg->accel.name)
		cfg->accel.name = strdup(cfg->qtest && !cfg->enable_kvm ? "qtest" : "kvm");
	if (!cfg->accel.name)
		return fail(err, ENOMEM, "out of memory");
	if (cfg->enable_kvm && config_qtest(cfg))
		return fail(err, EINVAL, "-enable-kvm: -accel qtest says something else; leave one out");
	if (cfg->qtest && !config_qtest(cfg))
		return fail(err, EINVAL, "-qtest %.200s: a guest that KVM runs cannot be driven; use -accel qtest",
			    cfg->qtest);
	return 0;
}

static int check_serial(const struct config *cfg, struct error *err)
{
	if (cfg->serial.n > MACHINE_SERIALS)
		return fail(err, ERANGE, "-serial %.200s: there are %d serial ports, no more",
			    cfg->serial.v[MACHINE_SERIALS], MACHINE_SERIALS);
	return 0;
}

int config_check(struct config *cfg, struct error *err)
{
	prefer(&cfg->kernel, &cfg->board.kernel);
	prefer(&cfg->initrd, &cfg->board.initrd);
	prefer(&cfg->append, &cfg->board.append);
	cfg->no_reboot |= cfg->action.reboot == 1;
	cfg->no_shutdown |= cfg->action.shutdown == 1;
	if (!cfg->smp.cpus)
		cfg->smp.cpus = 1;
	if (config_no_guest(cfg))
		return check_no_guest(cfg, err);
	return choose_accel(cfg, err) ?: check_boot(cfg, err) ?: check_serial(cfg, err);
}
