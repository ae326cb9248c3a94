/* SPDX-License-Identifier: BSD-2-Clause */
/* filter-mirror: a copy of each frame goes to a character device. See docs/filters.md. */
#ifndef NET_FILTER_MIRROR_H
#define NET_FILTER_MIRROR_H

#include "object/object.h"

extern const struct type type_filter_mirror;

#endif
