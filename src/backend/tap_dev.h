/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A tap device of the kernel (Documentation/networking/tuntap.rst): opening or adopting a queue of it, and its
 * settings. Frames on the descriptor have a 12-byte little-endian vnet header in front if vnet_hdr is set.
 */
#ifndef BACKEND_TAP_DEV_H
#define BACKEND_TAP_DEV_H

#include <linux/virtio_net.h>
#include <net/if.h>

#include "base/error.h"
#include "base/opts.h"

#define TAP_VNET_HDR_LEN sizeof(struct virtio_net_hdr_mrg_rxbuf)

struct tap_dev {
	int fd; /* non-blocking, close-on-exec */
	char ifname[IFNAMSIZ];
	bool vnet_hdr;
	uint32_t offloads; /* NET_OFF_* that the kernel can, in either direction */
	uint32_t gives;	   /* NET_OFF_* that frames from it may need now */
	int sndbuf;
	uint16_t flags; /* of TUNSETIFF */
	bool detached;	/* a queue that the kernel gives no frames */
	/* of several queues: tap_steer.h */
	struct tap_steer *steer; /* NULL: it is the only one */
	uint8_t queue;
	unsigned ifindex; /* of the interface that it was attached to when the first one was gone */
};

/*
 * Attach to the interface `ifname`, which is made if it does not exist and we may; NULL: the kernel picks a name.
 * sndbuf: bytes under way to the host before writing says EAGAIN. several: as one more queue of an interface with
 * several (IFF_MULTI_QUEUE), detached until tap_dev_enable(). Errors name the option and the remedy.
 */
int tap_dev_open(struct tap_dev *d, const char *ifname, enum onoffauto vnet_hdr, bool several, int sndbuf,
		 struct error *err);
/* Let the kernel use a detached queue; nothing to do for others. -errno. */
int tap_dev_enable(struct tap_dev *d);
/* Detach a queue, if the interface may have several; frames that wait in it are lost. */
void tap_dev_disable(struct tap_dev *d);
/* Take over an open tap: one that vwire was started with, or one that it was passed. It stays open on an error. */
int tap_dev_adopt(struct tap_dev *d, int fd, int sndbuf, struct error *err);
int tap_dev_take(struct tap_dev *d, int fd, int sndbuf, struct error *err);
/* Frames that are put into the device's queue from now on need no more than these NET_OFF_*. -errno. */
int tap_dev_set_offload(struct tap_dev *d, uint32_t offloads);
/* The interface was deleted: attach to one of the same name and settings, if there is one again. -errno. */
int tap_dev_reattach(struct tap_dev *d);
void tap_dev_close(struct tap_dev *d);

#endif
