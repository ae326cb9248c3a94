/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects of -object: their help, making them in the order of the command line, and taking them down. Main thread. */
#ifndef CTL_OBJECTS_H
#define CTL_OBJECTS_H

#include "ctl/options.h"

/*
 * Make the threads among the objects, which netdevs and devices may be placed on; and the last thing, take them down.
 */
int objects_add_threads(struct config *cfg, struct error *err) __must_check;
void objects_remove_threads(struct config *cfg);
/* Is this one of them, made or not yet? */
bool objects_is_thread(const struct object_item *item);

/* Make all others; they may refer to netdevs. Those that are made stay on an error: objects_remove() takes them. */
int objects_add(struct config *cfg, struct error *err) __must_check;

/* Take down what objects_add() made, last one first. */
void objects_remove(struct config *cfg);

/* "-object help" (type NULL) or "-object TYPE,help"; then CMDLINE_DONE. */
int objects_help(const char *type, struct error *err);

/* Is there such a type? -ENOENT or -ENOTSUP with what to do instead. */
int objects_check_type(const char *type, struct error *err) __must_check;

#endif
