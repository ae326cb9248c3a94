/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev socket: QEMU's older way to join two guests by TCP or UDP. */
#ifndef BACKEND_SOCKET_H
#define BACKEND_SOCKET_H

#include "net/netdev.h"

extern const struct netdev_type socket_netdev;

#endif
