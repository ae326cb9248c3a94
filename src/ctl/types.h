/* SPDX-License-Identifier: BSD-2-Clause */
/* The one table of all kinds of devices and backends; NULL-terminated. */
#ifndef CTL_TYPES_H
#define CTL_TYPES_H

#include "char/chardev.h"
#include "net/netdev.h"
#include "object/object.h"

extern const struct type *const all_types[];
extern const struct netdev_type *const netdev_types[];
extern const struct chardev_type *const chardev_types[];

#endif
