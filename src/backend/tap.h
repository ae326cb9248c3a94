/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev tap: a tap device of the host's kernel. */
#ifndef BACKEND_TAP_H
#define BACKEND_TAP_H

#include "net/netdev.h"

extern const struct netdev_type tap_netdev;

#endif
