/* SPDX-License-Identifier: BSD-2-Clause */
/* The walk over argv by the option tables. */
#ifndef CTL_CMDLINE_H
#define CTL_CMDLINE_H

#include "ctl/options.h"

/*
 * Parse argv[1..argc) into *cfg (set up by config_init). Returns 0, CMDLINE_DONE, or -errno with one line in err that
 * begins with the option. Main thread.
 */
int cmdline_parse(struct config *cfg, int argc, char **argv, struct error *err) __must_check;

/* Put "-option value: " in front of an error's text; long values are shortened. */
void cmdline_prefix(struct error *err, const char *option, const char *value);

/* The row of an option by its name without dashes, NULL if there is none. */
const struct cmd *cmd_find(const char *name);

#endif
