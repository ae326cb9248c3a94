/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all NICs have in common: the name of a net client, how it finds the backend that netdev= names (main), and the
 * account of what waits in a transmit ring.
 */
#ifndef NIC_NIC_H
#define NIC_NIC_H

#include "net/client.h"

/*
 * Name a client that is to be added: `label` (device_label()) if the device was given an id, else its model with the
 * first free number behind it ("e1000.0").
 */
void nic_name_client(struct net_client *c, const char *label, const char *model);
/*
 * Add a client and connect it to the queue of that backend that is its own; NULL: warned of, nothing is connected.
 * -ENOENT: there is none; -EBUSY: it has another peer. On an error it is not added. net_start() is still to be called.
 */
int nic_join(struct net_client *c, const char *netdev, const char *label, struct error *err) __must_check;

/* The loop that runs queue `queue` of this backend; `otherwise` if it has no such queue. netdev may be NULL. Main. */
struct loop *nic_loop(const char *netdev, unsigned queue, struct loop *otherwise);

/* ---- frames that wait at the head of a transmit ring ---- */

/*
 * What the peer had no room for stays in the ring, is collected again, and is held meanwhile in the client's account.
 * Such frames are the first ones of the ring, so that a number says which: *waiting. The client's loop.
 */

/* n frames were taken from the ring's head for good. */
static inline void nic_tx_settle(struct net_client *c, unsigned *waiting, unsigned n)
{
	unsigned seen = MIN(n, *waiting);

	net_count_tx_in(c, n - seen);
	if (unlikely(seen)) {
		*waiting -= seen;
		counter_add(&c->tx.held, -(uint64_t)seen);
	}
}

/* The first n frames of the ring wait: those that did not before came in just now. */
static inline void nic_tx_wait(struct net_client *c, unsigned *waiting, unsigned n)
{
	if (n <= *waiting)
		return;
	net_count_tx_in(c, n - *waiting);
	counter_add(&c->tx.held, n - *waiting);
	*waiting = n;
}

/* Of those that wait the first `keep` do so still; the others are dropped. */
static inline void nic_tx_drop_waiting(struct net_client *c, unsigned *waiting, unsigned keep, enum net_drop why)
{
	unsigned n = *waiting > keep ? *waiting - keep : 0;

	*waiting -= n;
	counter_add(&c->tx.held, -(uint64_t)n);
	counter_add(&c->tx.dropped[why], n);
}

#endif
