/* SPDX-License-Identifier: BSD-2-Clause */
/* The one table of all kinds of devices and backends; NULL-terminated. */
#ifndef CTL_TYPES_H
#define CTL_TYPES_H

#include "char/chardev.h"
#include "net/netdev.h"
#include "object/object.h"

/* Something of QEMU's that is known, so that the answer is better than a guess at a typing error. */
struct unoffered {
	const char *name, *why;
};

extern const struct type *const all_types[];
extern const struct netdev_type *const netdev_types[];
extern const struct chardev_type *const chardev_types[];
/* Each ends with one without a name. */
extern const struct unoffered unoffered_devices[], unoffered_objects[];

/* Why `name` of that table is not offered; NULL: it is not in it. */
const char *unoffered_why(const struct unoffered *table, const char *name);

#endif
