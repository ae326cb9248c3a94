/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev stream: frames over TCP or a UNIX socket, as server or client. */
#ifndef BACKEND_STREAM_H
#define BACKEND_STREAM_H

#include "net/netdev.h"

extern const struct netdev_type stream_netdev;

#endif
