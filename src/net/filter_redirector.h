/* SPDX-License-Identifier: BSD-2-Clause */
/* filter-redirector: frames go to a character device, and come from one, instead. See docs/filters.md. */
#ifndef NET_FILTER_REDIRECTOR_H
#define NET_FILTER_REDIRECTOR_H

#include "object/object.h"

extern const struct type type_filter_redirector;

#endif
