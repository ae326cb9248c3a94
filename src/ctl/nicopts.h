/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What -netdev, -device, -nic, -net, -redir and their absence mean together: a plan of netdevs and devices, in the
 * order in which they are made. Nothing is opened here; what can be refused without opening anything is refused here,
 * so that a bad line leaves nothing behind. Main thread.
 */
#ifndef CTL_NICOPTS_H
#define CTL_NICOPTS_H

#include "ctl/options.h"
#include "object/object.h"

#define MAX_NICS    8 /* of -nic and -net nic */
#define DEFAULT_NIC "virtio-net-pci"

struct device;
struct loop;

struct planned {
	struct opt_list list; /* as of -netdev or -device */
	const char *option;   /* what the user wrote it with; NULL: the default network */
	const char *text;
	bool on_vlan; /* of -net, joined by `vlan` */
	bool by_hub;  /* ... through a port of hub `vlan` */
	int64_t vlan;
	char *id;	       /* copy of the id, once it is known; NULL: none */
	bool made;	       /* a netdev that exists */
	struct device *device; /* that was made of it */

	/* of a netdev: see placement.h */
	unsigned joined; /* index of another one of its component; the last one's own. That one has what follows: */
	const struct planned *wants; /* a device that wants a thread for the component; NULL: none */
	bool apart;		     /* a device uses several queues: each on its own loop */
	bool together;		     /* but a filter keeps them on one */
	struct loop *loop;	     /* once it is needed */
};

struct net_plan {
	struct planned *netdev, *device, *dump;
	unsigned n_netdevs, n_devices, n_dumps;
};

int net_plan_make(struct config *cfg, struct net_plan *plan, struct error *err) __must_check;
void net_plan_free(struct net_plan *plan);

/* "-nic user,model=x" or "the default network": for messages. */
void planned_prefix(const struct planned *p, struct error *err);

/* For who adds to the plan: one more netdev, of what the user wrote as `like`; NULL with err. Pointers into it move. */
struct planned *planned_new_netdev(struct net_plan *plan, const struct planned *like, struct error *err);
struct planned *planned_netdev_by_id(const struct net_plan *plan, const char *id);
/* p->id is what its list says by now. */
int planned_remember_id(struct planned *p, struct error *err) __must_check;

/* Network devices by the names that -nic model= takes: QEMU's short names too ("virtio"). NULL: none. */
const struct class *nic_model_find(const char *name);
int nic_model_unknown(const char *name, struct error *err); /* -EINVAL with the nearest name, or -ENOTSUP with why */
void nic_models_help(FILE *out);

/* "tcp:2222:10.0.2.15:22" -> "tcp::2222-10.0.2.15:22". */
int redir_to_hostfwd(const char *redir, char *out, size_t size, struct error *err) __must_check;

extern const struct opt nic_keys[], net_nic_keys[];

#endif
