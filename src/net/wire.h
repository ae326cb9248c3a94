/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path between two clients, and what client.c asks of it. Private to the net core. All on the owning loop,
 * but for the making and freeing of scratch memory.
 */
#ifndef NET_WIRE_H
#define NET_WIRE_H

#include "net/client.h"

/* Memory of a client's way out: a host window, and the context that lowers frames. NULL: no memory. */
struct net_scratch *wire_scratch_new(void);
void wire_scratch_free(struct net_scratch *s); /* NULL is fine */

/* c has a peer and scratch memory now: the two agree on offloads, through filters with who is behind. */
void wire_join(struct net_client *c);
/* c->peer is about to go: frames that are held are dropped. Returns the scratch memory, which c has no more. */
struct net_scratch *wire_part(struct net_client *c);

/* Work out anew which short ways are open to c. */
void wire_refresh(struct net_client *c);
/* The link of c's wire changed: held frames go if it is down; c and its peer are woken, to drain or to go on. */
void wire_link_changed(struct net_client *c);

/* The end-of-turn hook of a client whose peer is to be woken. */
void wire_wake(struct sleep_hook *h);

#endif
