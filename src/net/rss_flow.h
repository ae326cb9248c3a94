/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What receive-side scaling makes of a frame: which bytes of it are hashed, by which type, and where the hash leads.
 *
 * This is compiled twice, into vwire (rss.c) and for the kernel's BPF machine (backend/steer.bpf.c), so that both
 * say the same of each frame. It is written for the second: everything is inlined, there are no tables of constants, and
 * a frame is copied from piece by piece. Who includes it defines
 *
 *	struct rss_frame	with a field `have`: bytes of the frame that may be looked at
 *	rss_copy(f, at, to, n)	n bytes of the frame from `at` on, which `have` covers
 *	rss_forget(f, x)	x. The kernel's verifier is to forget what it knows of its value: it follows every path with
 *				every range of values apart, and would not come to an end
 *
 * Rules and types are those of virtio 1.2, 5.1.6.4.3. A fragment has no ports: only its addresses are hashed. Tags
 * (802.1Q, 802.1ad) are passed over.
 */
#ifndef NET_RSS_FLOW_H
#define NET_RSS_FLOW_H

#include "base/wirefmt.h"
#include "net/rss.h"

#define RSS_INLINE static inline __attribute__((always_inline))

#define RSS_TAGS	  2
#define RSS_EXTENSIONS	  8
#define RSS_OPTIONS	  8    /* of one destination options header: the home address is behind one of padding */
#define RSS_HOME_ADDRESS  0xc9 /* RFC 6275, 6.3: option of the destination options header */
#define RSS_HOME_LEN	  18   /* of that option */
#define RSS_ROUTING_2	  2    /* RFC 6275, 6.4 */
#define RSS_ROUTING_2_LEN 24

/* The types of one sort of packet are three bits one behind the other: addresses, TCP, UDP. */
enum rss_sort {
	RSS_IP4 = 0,
	RSS_IP6 = 3,
	RSS_IP6_EXT = 6
};

/* What a frame has to be hashed by: places in it. */
struct rss_flow {
	uint32_t addr;	     /* source, then destination; 0: no IP */
	uint32_t home, care; /* IPv6 with extension headers: addresses to use instead; 0: none */
	uint32_t ports;	     /* 0: none that can be seen */
	bool v6, ext;
	uint8_t proto; /* PROTO_TCP or PROTO_UDP if there are ports */
};

RSS_INLINE bool rss_within(const struct rss_frame *f, uint32_t at, uint32_t n)
{
	return at + n <= f->have; /* neither is large */
}

RSS_INLINE void rss_find_ports(struct rss_flow *flow, const struct rss_frame *f, uint32_t at, uint8_t proto)
{
	/* Whole headers are not asked for: a short segment has ports too. */
	if ((proto != PROTO_TCP && proto != PROTO_UDP) || !rss_within(f, at, 4))
		return;
	flow->proto = proto;
	flow->ports = at;
}

RSS_INLINE void rss_parse_ip4(struct rss_flow *flow, const struct rss_frame *f, uint32_t at)
{
	uint8_t ip[IP4_LEN];
	uint32_t len;

	if (!rss_within(f, at, IP4_LEN))
		return;
	rss_copy(f, at, ip, IP4_LEN);
	if (ip[0] >> 4 != 4)
		return;
	flow->addr = at + 12;
	len = (ip[0] & 15) * 4u;
	if (len >= IP4_LEN && !(get16(ip + 6) & (IP4_MF | IP4_OFFSET)))
		rss_find_ports(flow, f, at + len, ip[9]);
}

/* The home address among the options of the destination options header of len bytes at `ext`; 0: none. */
RSS_INLINE uint32_t rss_home_address(const struct rss_frame *f, uint32_t ext, uint32_t len)
{
	uint32_t at = 2;

	for (unsigned i = 0; i < RSS_OPTIONS; i++) {
		uint8_t opt[2];

		at = rss_forget(f, at);
		if (at + RSS_HOME_LEN > len)
			return 0;
		rss_copy(f, ext + at, opt, 2);
		if (opt[0] == RSS_HOME_ADDRESS && opt[1] == RSS_HOME_LEN - 2)
			return ext + at + 2;
		at += opt[0] ? 2u + opt[1] : 1; /* Pad1 has no length */
	}
	return 0;
}

/* An extension header at `at`: note what it says, and return where it ends. 0: nothing can be found behind it. */
RSS_INLINE uint32_t rss_pass_extension(struct rss_flow *flow, const struct rss_frame *f, uint32_t at, uint8_t *proto)
{
	uint8_t ext[8];
	uint32_t len;

	flow->ext = true;
	if (!rss_within(f, at, sizeof(ext)))
		return 0;
	rss_copy(f, at, ext, sizeof(ext));
	len = *proto == PROTO_FRAGMENT ? IP6_FRAG_LEN : (ext[1] + 1u) * 8;
	if (!rss_within(f, at, len))
		return 0;
	if (*proto == PROTO_FRAGMENT && get16(ext + 2) & 0xfff9)
		return 0;
	if (*proto == PROTO_DEST_OPTIONS && !flow->home)
		flow->home = rss_home_address(f, at, len);
	if (*proto == PROTO_ROUTING && ext[2] == RSS_ROUTING_2 && len == RSS_ROUTING_2_LEN)
		flow->care = at + 8;
	*proto = ext[0];
	return at + len;
}

RSS_INLINE void rss_parse_ip6(struct rss_flow *flow, const struct rss_frame *f, uint32_t at)
{
	uint8_t ip[8], proto;

	if (!rss_within(f, at, IP6_LEN))
		return;
	rss_copy(f, at, ip, sizeof(ip));
	if (ip[0] >> 4 != 6)
		return;
	flow->v6 = true;
	flow->addr = at + 8;
	proto = ip[6];
	at += IP6_LEN;
	for (unsigned i = 0; i < RSS_EXTENSIONS; i++) {
		at = rss_forget(f, at);
		if (proto != PROTO_HOP_BY_HOP && proto != PROTO_ROUTING && proto != PROTO_FRAGMENT &&
		    proto != PROTO_DEST_OPTIONS)
			break;
		at = rss_pass_extension(flow, f, at, &proto);
		if (!at)
			return;
	}
	rss_find_ports(flow, f, at, proto);
}

/* `tags` are those that may still be passed over. */
RSS_INLINE void rss_parse(struct rss_flow *flow, const struct rss_frame *f, unsigned tags)
{
	uint8_t type[2];
	uint32_t at = 12;

	if (!rss_within(f, 0, ETH_LEN))
		return;
	rss_copy(f, at, type, 2);
	for (unsigned i = 0; i < tags && (get16(type) == ETH_VLAN || get16(type) == ETH_QINQ); i++) {
		at += 4;
		if (!rss_within(f, at, 2))
			return;
		rss_copy(f, at, type, 2);
	}
	at = rss_forget(f, at);
	if (get16(type) == ETH_IPV4)
		rss_parse_ip4(flow, f, at + 2);
	else if (get16(type) == ETH_IPV6)
		rss_parse_ip6(flow, f, at + 2);
}

/* The type of this sort that fits the frame and is enabled; 0: none. */
RSS_INLINE uint32_t rss_choose(const struct rss_flow *flow, enum rss_sort s, uint32_t types)
{
	const uint32_t ip = 1u << s, tcp = 2u << s, udp = 4u << s;

	if (flow->ports && flow->proto == PROTO_TCP && types & tcp)
		return tcp;
	if (flow->ports && flow->proto == PROTO_UDP && types & udp)
		return udp;
	return types & ip;
}

/*
 * What is hashed of a frame: its type, a VIRTIO_NET_RSS_HASH_TYPE_* of `types` (0: nothing), and the bytes in input[],
 * whose number is *len.
 */
RSS_INLINE uint32_t rss_input(const struct rss_frame *f, uint32_t types, unsigned tags, uint8_t input[RSS_INPUT_MAX],
			      uint32_t *len)
{
	struct rss_flow flow = { 0 };
	bool ext;
	uint32_t type;

	rss_parse(&flow, f, tags);
	if (!flow.addr)
		return 0;
	type = flow.ext ? rss_choose(&flow, RSS_IP6_EXT, types) : 0;
	ext = type;
	if (!type)
		type = rss_choose(&flow, flow.v6 ? RSS_IP6 : RSS_IP4, types);
	if (!type)
		return 0;
	if (flow.v6) {
		rss_copy(f, ext && flow.home ? flow.home : flow.addr, input, 16);
		rss_copy(f, ext && flow.care ? flow.care : flow.addr + 16, input + 16, 16);
		*len = 32;
	} else {
		rss_copy(f, flow.addr, input, 8);
		*len = 8;
	}
	if (!(type & (1u << RSS_IP4 | 1u << RSS_IP6 | 1u << RSS_IP6_EXT))) {
		if (flow.v6)
			rss_copy(f, flow.ports, input + 32, 4);
		else
			rss_copy(f, flow.ports, input + 8, 4);
		*len += 4;
	}
	return type;
}

/* The Toeplitz hash of len bytes: the exclusive or of what each half byte contributes. */
RSS_INLINE uint32_t rss_sum(const struct rss_hash *h, const uint8_t input[RSS_INPUT_MAX], uint32_t len)
{
	uint32_t hash = 0;

	for (unsigned i = 0; i < RSS_INPUT_MAX && i < len; i++)
		hash ^= h->table[2 * i][input[i] >> 4] ^ h->table[2 * i + 1][input[i] & 15];
	return hash;
}

/* The queue of a frame of which `type` was hashed. */
RSS_INLINE unsigned rss_queue(const struct rss_table *t, uint32_t type, uint32_t hash)
{
	return type ? t->queue[hash & t->mask & (RSS_TABLE_MAX - 1)] : t->unclassified;
}

#endif
