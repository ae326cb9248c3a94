/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offsets and numbers of the protocols that frames are judged and cut by, big-endian words. RFC 791, 8200, 9293, 768.
 */
#ifndef BASE_WIREFMT_H
#define BASE_WIREFMT_H

#include <stdint.h>

enum {
	ETH_LEN = 14,
	ETH_IPV4 = 0x0800,
	ETH_ARP = 0x0806,
	ETH_VLAN = 0x8100,
	ETH_IPV6 = 0x86dd,
	ETH_QINQ = 0x88a8,
	ARP_LEN = 28,
	IP4_LEN = 20,
	IP4_MF = 0x2000,
	IP4_OFFSET = 0x1fff,
	IP6_LEN = 40,
	IP6_FRAG_LEN = 8,
	TCP_LEN = 20,
	UDP_LEN = 8,
	ICMP_LEN = 8,
	PROTO_HOP_BY_HOP = 0, /* extension headers of IPv6 are protocols too */
	PROTO_ICMP = 1,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_ICMP6 = 58,
	PROTO_DEST_OPTIONS = 60,
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_PSH = 0x08,
	TCP_URG = 0x20,
	TCP_CWR = 0x80,
	TCP_CSUM = 16, /* offset in the header */
	UDP_CSUM = 6,
	ICMP_ECHO = 8,
	ICMP6_ECHO = 128,
	ICMP6_ROUTER_SOLICIT = 133,
	ICMP6_NEIGHBOUR_SOLICIT = 135,
	ICMP6_NEIGHBOUR_ADVERT = 136,
	PORT_BOOTP = 67,
	PORT_TFTP = 69,
	PORT_DHCP6 = 547,
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

#endif
