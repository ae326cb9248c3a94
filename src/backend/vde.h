/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev vde: a port of a Virtual Distributed Ethernet switch. */
#ifndef BACKEND_VDE_H
#define BACKEND_VDE_H

#include "net/netdev.h"

extern const struct netdev_type vde_netdev;

#endif
