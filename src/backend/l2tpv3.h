/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev l2tpv3: a static pseudowire (RFC 3931), to QEMU, to a router, to Linux (ip l2tp). */
#ifndef BACKEND_L2TPV3_H
#define BACKEND_L2TPV3_H

#include "net/netdev.h"

extern const struct netdev_type l2tpv3_netdev;

#endif
