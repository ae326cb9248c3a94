/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports of a bridge of the host's kernel. */
#ifndef BACKEND_BRIDGE_H
#define BACKEND_BRIDGE_H

#include "backend/tap_dev.h"
#include "net/netdev.h"

#define DEFAULT_BRIDGE "br0"

extern const struct netdev_type bridge_netdev;

/* A name that can be one of a bridge: 1 to 15 characters, as any interface's. */
int bridge_check_name(const char *br, struct error *err) __must_check;

/*
 * Open a tap that is a port of the bridge `br`: made by ourselves if we may (CAP_NET_ADMIN), else by `helper`, or by
 * the installed one if that is NULL; a helper that is named is always used. On success *d is the caller's. Errors name
 * br= or helper=, and the remedy. Main thread.
 */
int bridge_open_port(struct tap_dev *d, const char *br, const char *helper, int sndbuf, struct error *err) __must_check;

#endif
