/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hubs: N ports, each a net client of kind NET_KIND_PORT; what enters one leaves by all the others.
 *
 * A hub exists while it has ports. It takes and gives all offloads: the core lowers for each taker what that one lacks.
 * Frames go straight from the giver's batch into each taker. What a port has no room for is copied into that port's own
 * bounded queue, and what does not fit there is dropped (queue-full), so a slow port does not stop the others. Only
 * where no port at all has room the giver keeps its frames, as on a wire without a hub.
 *
 * A hub may learn which addresses are behind which port, and give a frame to that port only; and it may heed 802.1Q
 * VLANs (vlan.h). It does either as soon as one port asks for it.
 */
#ifndef NET_HUB_H
#define NET_HUB_H

#include "net/client.h"
#include "net/netdev.h"
#include "net/vlan.h"

/* What a port is to be. */
struct hub_port_config {
	int32_t hubid;
	size_t queue;		 /* bytes of its queue, FRAMEQ_MIN to FRAMEQ_MAX */
	enum onoffauto learning; /* of the hub: on makes it a switch; ports must not contradict one another */
	uint32_t ageing;	 /* of the hub, seconds; 0: not said */
	struct vlan_port vlan;	 /* a mode other than VLAN_NONE makes the hub heed VLANs, on all its ports */
};

#define HUB_AGEING 300 /* seconds, if no port says anything (IEEE 802.1Q, table 8-6) */

/*
 * Make a port and add it as net client `id` on `loop`, on which all ports of a hub are. Returns NULL with err. Main
 * thread.
 */
struct net_client *hub_port_new(const struct hub_port_config *cfg, const char *id, struct loop *loop,
				struct error *err);

/*
 * May a port of hub `hubid` be joined to `c`? If c is a port of a hub from which there is a way to hubid already,
 * frames would go around for ever: -ELOOP, with that way. Main thread.
 */
int hub_check_circle(int32_t hubid, const struct net_client *c, struct error *err) __must_check;

/* -netdev hubport */
extern const struct netdev_type hubport_netdev;

#endif
