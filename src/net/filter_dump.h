/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter-dump: what goes through a wire, as a capture file: see docs/filters.md.
 *
 * Frames are written as they go by: without vnet header, and with offloads one long frame. In pcapng a comment says
 * what was still to be done with a frame (segmentation, checksum), and that it was dropped behind this place, and why,
 * as far as who takes it says so at once.
 */
#ifndef NET_FILTER_DUMP_H
#define NET_FILTER_DUMP_H

#include "object/object.h"

extern const struct type type_filter_dump;

#endif
