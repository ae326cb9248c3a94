/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive-side scaling: the Toeplitz hash of a frame's addresses and ports, by which a NIC spreads flows over queues and
 * which it tells its guest.
 *
 * What is hashed, and by which rules, is as virtio 1.2, 5.1.6.4.3 has it, which is as Microsoft's RSS: types are
 * VIRTIO_NET_RSS_HASH_TYPE_* bits, what was hashed a VIRTIO_NET_HASH_REPORT_*. A fragment has no ports: only its
 * addresses are hashed. Tags (802.1Q, 802.1ad) are passed over.
 *
 * The hash of an input is the exclusive or of what each of its half bytes contributes; the contributions are in a table
 * that is made of the key.
 */
#ifndef NET_RSS_H
#define NET_RSS_H

#include <linux/virtio_net.h>

#include "base/util.h"

#define RSS_KEY_LEN   40
#define RSS_INPUT_MAX 36  /* two addresses of IPv6, two ports */
#define RSS_PEEK      192 /* bytes of a frame that are looked at: what lies behind them is not seen */
#define RSS_TYPES     0x1ff

struct rss_hash {
	uint32_t types; /* VIRTIO_NET_RSS_HASH_TYPE_*: what may be hashed; 0: nothing */
	uint8_t key[RSS_KEY_LEN];
	uint32_t table[2 * RSS_INPUT_MAX][16];
};

/* A key of `len` bytes (at most RSS_KEY_LEN); what is missing is zero. */
void rss_set_key(struct rss_hash *h, const uint8_t *key, size_t len);
/* The Toeplitz hash of len (<= RSS_INPUT_MAX) bytes. */
uint32_t rss_toeplitz(const struct rss_hash *h, const uint8_t *input, size_t len);
/*
 * Hash a frame by its first MIN(len, RSS_PEEK) bytes at `head`, which nobody else changes. Returns what was hashed, and
 * the hash in *value; VIRTIO_NET_HASH_REPORT_NONE: nothing (0 in *value).
 */
unsigned rss_hash_frame(const struct rss_hash *h, const uint8_t *head, size_t len, uint32_t *value);

#endif
