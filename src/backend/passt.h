/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev passt: the host's network through passt(1), which vwire starts. */
#ifndef BACKEND_PASST_H
#define BACKEND_PASST_H

#include "net/netdev.h"

extern const struct netdev_type passt_netdev;

#endif
