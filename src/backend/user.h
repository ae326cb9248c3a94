/* SPDX-License-Identifier: BSD-2-Clause */
/* -netdev user: the host's network by NAT, through libslirp in a process of its own. */
#ifndef BACKEND_USER_H
#define BACKEND_USER_H

#include "net/netdev.h"

extern const struct netdev_type user_netdev;

/*
 * Add or remove a rule "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport" ("[tcp|udp]:[hostaddr]:hostport" to
 * remove) while the network runs. -ENOTSUP: the client is no user network. Main thread; waits for vwire-user's answer,
 * but at most a few seconds.
 */
int user_hostfwd_add(struct net_client *c, const char *rule, struct error *err) __must_check;
int user_hostfwd_remove(struct net_client *c, const char *rule, struct error *err) __must_check;

#endif
