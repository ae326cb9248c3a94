/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames and batches.
 *
 * A frame is one Ethernet frame (no CRC) as a scatter list with its offload metadata decoded, in host byte order. A
 * batch is up to 64 frames over one iovec arena that its maker owns and reuses. In front of each frame's pieces one
 * iovec slot is free (frame.iov - 1), so that a vnet header is put on without moving anything.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "base/util.h"
#include "net/drop.h"

#define ETH_HDR_LEN   14
#define ETH_MIN_LEN   60			/* without CRC */
#define NET_FRAME_MAX (65535 + ETH_HDR_LEN + 4) /* largest frame on a wire: a 64 KiB packet, Ethernet, VLAN tag */
#define NET_BATCH     64
#define NET_IOV_MAX   1024 /* most pieces a frame may have (IOV_MAX) with the header slot left free */

/* Offloads as bits: what a frame needs, what a client takes or gives. */
enum net_offload {
	NET_OFF_CSUM = 1 << 0, /* partial checksum: the taker fills it in (or knows it need not) */
	NET_OFF_TSO4 = 1 << 1,
	NET_OFF_TSO6 = 1 << 2,
	NET_OFF_ECN = 1 << 3, /* TSO of segments with CWR */
	NET_OFF_UFO = 1 << 4,
	NET_OFF_USO = 1 << 5,
	NET_OFF_ALL = (1 << 6) - 1,
};

enum net_gso {
	NET_GSO_NONE,
	NET_GSO_TCP4,
	NET_GSO_TCP6,
	NET_GSO_UDP,
	NET_GSO_UDP_L4
};

struct frame_meta {
	uint8_t gso; /* enum net_gso */
	bool ecn;
	bool needs_csum;   /* checksum from csum_start to the end, stored at csum_start + csum_offset */
	bool data_valid;   /* checksums were verified already */
	uint16_t gso_size; /* payload bytes a segment; > 0 if gso */
	uint16_t hdr_len;  /* bytes of headers, advisory */
	uint16_t csum_start;
	uint16_t csum_offset;
};

/* The offload bits that a frame with this metadata needs of its taker. */
static inline uint32_t frame_needs(const struct frame_meta *m)
{
	static const uint8_t bit[] = { 0, NET_OFF_TSO4, NET_OFF_TSO6, NET_OFF_UFO, NET_OFF_USO };

	return bit[m->gso] | (m->needs_csum ? NET_OFF_CSUM : 0) | (m->ecn ? NET_OFF_ECN : 0);
}

struct frame {
	struct frame_meta meta;
	uint32_t iov;	/* first piece in batch.iov; the slot before it is free */
	uint32_t cnt;	/* pieces */
	uint32_t len;	/* bytes in all pieces */
	uint32_t token; /* the maker's */
};

struct batch {
	struct iovec *iov; /* arena */
	unsigned n;
	struct frame frame[NET_BATCH];
};

static inline struct iovec *frame_iov(const struct batch *b, const struct frame *f)
{
	return &b->iov[f->iov];
}

/*
 * Vnet header <-> metadata. The header is virtio_net_hdr in little-endian (virtio 1.x; tap with TUNSETVNETLE) in host
 * memory: a guest's was copied first. net_vnet_decode() checks it against the frame's length `len`: what is impossible
 * (csum field beyond the frame, GSO without size, unknown type) is refused with NET_DROP_VNET_HDR.
 */
enum net_drop net_vnet_decode(const struct virtio_net_hdr *h, size_t len, struct frame_meta *m) __must_check;
void net_vnet_encode(const struct frame_meta *m, struct virtio_net_hdr *h);

#endif
