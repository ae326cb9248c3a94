/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive-side scaling: the Toeplitz hash of a frame's addresses and ports, by which a NIC spreads flows over queues and
 * which it tells its guest.
 *
 * What is hashed, and by which rules, is as virtio 1.2, 5.1.6.4.3 has it, which is as Microsoft's RSS: types are
 * VIRTIO_NET_RSS_HASH_TYPE_* bits, what was hashed a VIRTIO_NET_HASH_REPORT_*. How it is found is in rss_flow.h, which
 * the kernel runs too, on a tap.
 *
 * The hash of an input is the exclusive or of what each of its half bytes contributes; the contributions are in a table
 * that is made of the key.
 */
#ifndef NET_RSS_H
#define NET_RSS_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RSS_KEY_LEN   40
#define RSS_INPUT_MAX 36  /* two addresses of IPv6, two ports */
#define RSS_PEEK      192 /* bytes of a frame that are looked at: what lies behind them is not seen */
#define RSS_TYPES     0x1ff
#define RSS_TABLE_MAX 128 /* the least that virtio 1.2, 5.1.4.1 allows as the most */

struct rss_hash {
	uint32_t types; /* VIRTIO_NET_RSS_HASH_TYPE_*: what may be hashed; 0: nothing */
	uint8_t key[RSS_KEY_LEN];
	uint32_t table[2 * RSS_INPUT_MAX][16];
};

/* Which queue a frame goes to. */
struct rss_table {
	uint16_t unclassified;	       /* one without a hash */
	uint16_t mask;		       /* of the hash: a power of two less one, below RSS_TABLE_MAX */
	uint16_t queue[RSS_TABLE_MAX]; /* one with a hash, by hash & mask */
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
