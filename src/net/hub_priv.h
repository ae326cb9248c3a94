/* SPDX-License-Identifier: BSD-2-Clause */
/* What hub.c and switch.c share. Private to them; all on the hub's loop. */
#ifndef NET_HUB_PRIV_H
#define NET_HUB_PRIV_H

#include "net/fdb.h"
#include "net/frameq.h"
#include "net/hub.h"

struct hub_switch;

struct hub {
	int32_t id;
	struct loop *loop;
	struct list ports; /* changed on the loop */
	unsigned n_ports;
	struct hub_switch *sw;	   /* NULL: everything goes everywhere */
	unsigned learn, learn_not; /* ports that say learning=on, and off; main thread's */
	uint32_t ageing;	   /* seconds, that a port said; 0: none did; main thread's */
	struct batch out;	   /* of a queue that is drained */
	struct iovec arena[FRAMEQ_ARENA];
	struct list node;
};

struct hub_port {
	struct net_client c;
	struct hub *hub;
	struct list node;
	struct frameq *queue;
	struct sleep_hook more; /* the queue is not drained yet, its turn was over */
	bool owes;		/* its peer was refused a frame, and waits for a wake */
	unsigned took;		/* frames of the batch in hand */
	struct vlan_port vlan;
	struct fdb_port fdb;
};

/*
 * Give a batch to the port's peer; what it has no room for is copied into the port's queue. Returns how many of them
 * that makes, from the first on. Counts nothing but what is held.
 */
unsigned hub_give(struct hub_port *p, struct batch *b);

/* ---- switch.c ---- */

struct hub_switch *switch_new(void); /* NULL: no memory */
void switch_free(struct hub_switch *sw);

/* From now on: learn (ageing in ns; 0: do not), and heed VLANs. What was on stays on. */
void switch_learn(struct hub_switch *sw, uint64_t ageing);
void switch_heed_vlans(struct hub_switch *sw);

/* The number of ports is another one; a port's peer is gone, or its link is down. */
void switch_ports(struct hub_switch *sw, unsigned n);
void switch_forget(struct hub_switch *sw, struct hub_port *p);

/* As net_client_ops.send of a port. */
unsigned switch_send(struct hub_switch *sw, struct hub_port *from, struct batch *b);

/* What is to be said of a port, added to the object. */
void switch_describe(struct hub_switch *sw, struct hub_port *p, struct json_t *to);

#endif
