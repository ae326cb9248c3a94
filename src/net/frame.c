/* SPDX-License-Identifier: BSD-2-Clause */
/* Vnet header to metadata and back (virtio 1.2, chapter 5.1.6). */
#include "net/frame.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* uapi headers since 6.2 */
#endif

static int gso_of_type(uint8_t type)
{
	switch (type) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return NET_GSO_NONE;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return NET_GSO_TCP4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return NET_GSO_TCP6;
	case VIRTIO_NET_HDR_GSO_UDP:
		return NET_GSO_UDP;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return NET_GSO_UDP_L4;
	default:
		return -1;
	}
}

static enum net_drop decode_gso(const struct virtio_net_hdr *h, struct frame_meta *m)
{
	int gso = gso_of_type(h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN);

	m->ecn = h->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	if (gso < 0 || (m->ecn && gso != NET_GSO_TCP4 && gso != NET_GSO_TCP6))
		return NET_DROP_VNET_HDR;
	if (gso == NET_GSO_NONE)
		return NET_OK;
	m->gso = (uint8_t)gso;
	m->gso_size = le16toh(h->gso_size);
	return m->gso_size ? NET_OK : NET_DROP_VNET_HDR;
}

enum net_drop net_vnet_decode(const struct virtio_net_hdr *h, size_t len, struct frame_meta *m)
{
	*m = (struct frame_meta){ 0 };
	if (!(h->flags | h->gso_type)) /* most frames */
		return NET_OK;
	m->hdr_len = le16toh(h->hdr_len) <= len ? le16toh(h->hdr_len) : 0; /* advisory: nonsense is forgotten */
	m->data_valid = h->flags & VIRTIO_NET_HDR_F_DATA_VALID;
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		m->needs_csum = true;
		m->csum_start = le16toh(h->csum_start);
		m->csum_offset = le16toh(h->csum_offset);
		if ((size_t)m->csum_start + m->csum_offset + 2 > len)
			return NET_DROP_VNET_HDR;
	}
	return decode_gso(h, m);
}

void net_vnet_encode(const struct frame_meta *m, struct virtio_net_hdr *h)
{
	static const uint8_t type[] = {
		VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4,  VIRTIO_NET_HDR_GSO_TCPV6,
		VIRTIO_NET_HDR_GSO_UDP,	 VIRTIO_NET_HDR_GSO_UDP_L4,
	};

	*h = (struct virtio_net_hdr){ 0 };
	h->flags = m->data_valid ? VIRTIO_NET_HDR_F_DATA_VALID : 0;
	if (m->needs_csum) {
		h->flags |= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = htole16(m->csum_start);
		h->csum_offset = htole16(m->csum_offset);
	}
	if (m->gso == NET_GSO_NONE)
		return;
	h->gso_type = type[m->gso] | (m->ecn ? VIRTIO_NET_HDR_GSO_ECN : 0);
	h->gso_size = htole16(m->gso_size);
	h->hdr_len = htole16(m->hdr_len);
}
