/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev af-xdp: an interface of the host by AF_XDP sockets. */
#ifndef BACKEND_AF_XDP_H
#define BACKEND_AF_XDP_H

#include "net/netdev.h"

extern const struct netdev_type af_xdp_netdev;

#endif
