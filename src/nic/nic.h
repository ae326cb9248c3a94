/* SPDX-License-Identifier: BSD-2-Clause */
/* What all NICs have in common: the name of a net client, and how it finds the backend that netdev= names. Main. */
#ifndef NIC_NIC_H
#define NIC_NIC_H

#include "net/client.h"

/*
 * Name a client that is to be added: `label` (device_label()) if the device was given an id, else its model with the
 * first free number behind it ("e1000.0").
 */
void nic_name_client(struct net_client *c, const char *label, const char *model);
/*
 * Add a client and connect it to the queue of that backend that is its own; NULL: warned of, nothing is connected. -ENOENT: there is none;
 * -EBUSY: it has another peer. On an error it is not added. net_start() is still to be called.
 */
int nic_join(struct net_client *c, const char *netdev, const char *label, struct error *err) __must_check;

/* The loop that runs queue `queue` of this backend; `otherwise` if it has no such queue. netdev may be NULL. Main. */
struct loop *nic_loop(const char *netdev, unsigned queue, struct loop *otherwise);

#endif
