/* SPDX-License-Identifier: BSD-2-Clause */
/* The Toeplitz hash of a frame: see rss.h. */
#include "net/rss.h"

#include "base/util.h"

/* The frame's first bytes, in memory. */
struct rss_frame {
	const uint8_t *head;
	uint32_t have;
};

static inline void rss_copy(const struct rss_frame *f, uint32_t at, void *to, uint32_t n)
{
	memcpy(to, f->head + at, n);
}

static inline uint32_t rss_forget(const struct rss_frame *f, uint32_t x)
{
	(void)f;
	return x;
}

#include "net/rss_flow.h"

/* ---- the hash ---- */

/* 32 bits of the key from bit `at` on; behind its end come zeros. */
static uint32_t key_bits(const uint8_t *key, unsigned at)
{
	uint64_t v = 0;

	for (unsigned i = at / 8; i < at / 8 + 5; i++)
		v = v << 8 | (i < RSS_KEY_LEN ? key[i] : 0);
	return (uint32_t)(v >> (8 - at % 8));
}

void rss_set_key(struct rss_hash *h, const uint8_t *key, size_t len)
{
	memset(h->key, 0, sizeof(h->key));
	memcpy(h->key, key, MIN(len, sizeof(h->key)));
	for (unsigned i = 0; i < 2 * RSS_INPUT_MAX; i++) {
		for (unsigned v = 0; v < 16; v++) {
			uint32_t sum = 0;

			for (unsigned bit = 0; bit < 4; bit++)
				sum ^= v & (8u >> bit) ? key_bits(h->key, 4 * i + bit) : 0;
			h->table[i][v] = sum;
		}
	}
}

uint32_t rss_toeplitz(const struct rss_hash *h, const uint8_t *input, size_t len)
{
	return rss_sum(h, input, (uint32_t)len);
}

unsigned rss_hash_frame(const struct rss_hash *h, const uint8_t *head, size_t len, uint32_t *value)
{
	const struct rss_frame f = { head, (uint32_t)MIN(len, (size_t)RSS_PEEK) };
	uint8_t input[RSS_INPUT_MAX];
	uint32_t n, type = rss_input(&f, h->types, RSS_TAGS, input, &n);

	*value = 0;
	if (!type)
		return VIRTIO_NET_HASH_REPORT_NONE;
	*value = rss_sum(h, input, n);
	return (unsigned)__builtin_ctz(type) + 1;
}
