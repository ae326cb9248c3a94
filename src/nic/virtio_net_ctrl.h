/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A command of virtio-net's control queue while it is carried out (virtio 1.4, 5.1.6.5): what is left to read of it,
 * and where its answer goes. virtio_net_ctrl.c makes one, others carry some classes out. All of it on the loop.
 */
#ifndef NIC_VIRTIO_NET_CTRL_H
#define NIC_VIRTIO_NET_CTRL_H

#include "base/iov.h"
#include "nic/virtio_net.h"

struct vnet_cmd {
	struct iov_cur cur; /* of the command-specific data */
	size_t left;	    /* bytes of it */
	struct iov_cur in;  /* of the writable part */
	struct iov_cur out; /* in there, behind the answer: where a result goes */
	size_t room;	    /* bytes of it */
	size_t ack_at;	    /* where in the writable part the answer is: first, as a rule */
	size_t written;	    /* bytes of result */
};

/* Each byte is read once. False: there are not so many. */
static inline bool vnet_cmd_get(struct vnet_cmd *c, void *to, size_t n)
{
	if (c->left < n || iov_get(&c->cur, to, n) != n)
		return false;
	c->left -= n;
	return true;
}

/* ... and there is no more than that. */
static inline bool vnet_cmd_get_all(struct vnet_cmd *c, void *to, size_t n)
{
	return c->left == n && vnet_cmd_get(c, to, n);
}

/* Append to the result; what there is no room for is left out (5.1.6.5: "only up to the valid bytes"). */
static inline void vnet_cmd_put(struct vnet_cmd *c, const void *from, size_t n)
{
	n = iov_put(&c->out, from, MIN(n, c->room));
	c->room -= n;
	c->written += n;
}

/* n bytes of the writable part belong to the command's data, in front of the answer. False: there are not so many. */
static inline bool vnet_cmd_data_first(struct vnet_cmd *c, size_t n)
{
	if (c->room < n)
		return false;
	c->ack_at = n;
	c->out = c->in;
	return true;
}

/* Classes that have a file of their own: true if the command was carried out. */
bool vnet_mq_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c);	 /* virtio_net_rss.c */
bool vnet_coal_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c);	 /* virtio_net_coal.c */
bool vnet_stats_command(struct virtio_net *n, uint8_t what, struct vnet_cmd *c); /* virtio_net_stats.c */
bool vnet_pairs_set(struct virtio_net *n, struct vnet_cmd *c);			 /* virtio_net_mq.c */

#endif
