/* SPDX-License-Identifier: BSD-2-Clause */
/* filter-impair: a wire with delay, jitter, loss, ... made to measure and repeatable. See docs/filters.md. */
#ifndef NET_FILTER_IMPAIR_H
#define NET_FILTER_IMPAIR_H

#include "object/object.h"

extern const struct type type_filter_impair;

#endif
