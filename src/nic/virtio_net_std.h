/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the virtio standard (1.2 to 1.4, chapter 5.1) says of network devices and the uapi headers of Linux 6.1 do not:
 * feature bits, commands, formats. Structures have names of our own, so that newer headers do no harm.
 */
#ifndef NIC_VIRTIO_NET_STD_H
#define NIC_VIRTIO_NET_STD_H

#include <linux/virtio_net.h>

/* ---- feature bits (5.1.3) ---- */

#ifndef VIRTIO_NET_F_DEVICE_STATS
#define VIRTIO_NET_F_DEVICE_STATS 50
#endif
#ifndef VIRTIO_NET_F_HASH_TUNNEL
#define VIRTIO_NET_F_HASH_TUNNEL 51
#endif
#ifndef VIRTIO_NET_F_VQ_NOTF_COAL
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#endif
#ifndef VIRTIO_NET_F_NOTF_COAL
#define VIRTIO_NET_F_NOTF_COAL 53
#endif
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef VIRTIO_NET_F_GUEST_HDRLEN
#define VIRTIO_NET_F_GUEST_HDRLEN 59
#endif
/* From bit 64 on: not reachable for a device that offers 64 bits. */
#ifndef VIRTIO_NET_F_RSS_CONTEXT
#define VIRTIO_NET_F_RSS_CONTEXT 64
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO      65
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM 66
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO       67
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM  68
#endif
#ifndef VIRTIO_NET_F_OUT_NET_HEADER
#define VIRTIO_NET_F_OUT_NET_HEADER 69
#endif

/* ---- commands (5.1.6.5) ---- */

#ifndef VIRTIO_NET_CTRL_NOTF_COAL
#define VIRTIO_NET_CTRL_NOTF_COAL	 6
#define VIRTIO_NET_CTRL_NOTF_COAL_TX_SET 0
#define VIRTIO_NET_CTRL_NOTF_COAL_RX_SET 1
#endif
#ifndef VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif
#ifndef VIRTIO_NET_CTRL_STATS
#define VIRTIO_NET_CTRL_STATS	    8
#define VIRTIO_NET_CTRL_STATS_QUERY 0
#define VIRTIO_NET_CTRL_STATS_GET   1
#endif

/* Coalescing of one kind of queue, and of one queue (1.3, 5.1.6.5.9). */
struct vnet_std_coal {
	__le32 max_packets;
	__le32 max_usecs;
};

struct vnet_std_coal_vq {
	__le16 vq_index;
	__le16 reserved;
	struct vnet_std_coal coal;
};

/* Statistics (1.4, 5.1.6.5, "Device Statistics"): their types as bits, and a reply's header. */
enum {
	VNET_STATS_RX_BASIC = 0,
	VNET_STATS_RX_CSUM = 1,
	VNET_STATS_RX_GSO = 2,
	VNET_STATS_RX_SPEED = 3,
	VNET_STATS_TX_BASIC = 16,
	VNET_STATS_TX_CSUM = 17,
	VNET_STATS_TX_GSO = 18,
	VNET_STATS_TX_SPEED = 19,
	VNET_STATS_CVQ = 32,
};

struct vnet_std_stats_query {
	__le16 vq_index;
	__le16 reserved[3];
	__le64 types;
};

struct vnet_std_stats_hdr {
	__u8 type;
	__u8 reserved;
	__le16 vq_index;
	__le16 reserved1;
	__le16 size;
};

#endif
