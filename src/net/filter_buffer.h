/* SPDX-License-Identifier: BSD-2-Clause */
/* filter-buffer: frames are held, and let go all together at the end of each interval. See docs/filters.md. */
#ifndef NET_FILTER_BUFFER_H
#define NET_FILTER_BUFFER_H

#include "object/object.h"

extern const struct type type_filter_buffer;

#endif
