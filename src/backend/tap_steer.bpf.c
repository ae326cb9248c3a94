/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program that the kernel asks by which queue of a tap a frame is to come (TUNSETSTEERINGEBPF): that of the NIC's
 * pair, by the hash and the table of receive-side scaling. What is made of a frame is what the NIC makes of it, by the
 * same source (net/rss_flow.h). clang compiles this for the kernel's BPF machine, embed-bpf makes a table of that, and
 * tap_steer.c loads it.
 *
 * The frame begins with its Ethernet header. A tag that the kernel has put aside, for the hardware to add, is not among
 * its bytes here, but will be when the guest gets it: in front of all others.
 */
#include <linux/bpf.h>

#include "backend/tap_steer_map.h"

#define TAG_LEN 4

struct rss_frame {
	struct __sk_buff *skb;
	uint32_t have;
};

static long (*const skb_load_bytes)(const void *skb, uint32_t at, void *to,
				    uint32_t n) = (void *)BPF_FUNC_skb_load_bytes;

static inline __attribute__((always_inline)) void rss_copy(const struct rss_frame *f, uint32_t at, void *to, uint32_t n)
{
	skb_load_bytes(f->skb, at, to, n); /* if it fails, which it does not, these are zeros */
}

/* The scratch words of an skb may hold anything. */
static inline __attribute__((always_inline)) uint32_t rss_forget(const struct rss_frame *f, uint32_t x)
{
	volatile uint32_t *word = &f->skb->cb[0];

	*word = x;
	return *word;
}

#include "net/rss_flow.h"

struct tap_steer_map steering; /* it lies in the map */

__attribute__((section("socket"), used)) int steer(struct __sk_buff *skb)
{
	const uint32_t tags = skb->vlan_present ? 1 : 0, peek = RSS_PEEK - tags * TAG_LEN;
	const struct rss_frame f = { skb, skb->len < peek ? skb->len : peek };
	const uint32_t slot = *(volatile uint32_t *)&steering.slot & 1;
	const struct rss_hash *h = &steering.slots[slot].hash;
	uint8_t input[RSS_INPUT_MAX] = { 0 };
	uint32_t n = 0, type = rss_input(&f, h->types, RSS_TAGS - tags, input, &n);
	uint32_t hash = type ? rss_sum(h, input, n) : 0;

	return steering.place[rss_queue(&steering.slots[slot].table, type, hash) % TAP_QUEUES_MAX];
}
