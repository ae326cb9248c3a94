/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000: statistics (13.7). Reading clears, and numbers stick at the top. The loop counts up and never down; reading
 * notes how far (stat_base), so that neither side needs a locked instruction.
 *
 * Octet counts are pairs of 64 bits: the low half is read first and shows without clearing, the high half clears both.
 */
#include "nic/e1000.h"

static unsigned index_of(unsigned off)
{
	return (off - E1000_CRCERRS) / 4;
}

/* The low half of the pair that a register belongs to; 0: it is no pair. */
static unsigned pair_of(unsigned off)
{
	switch (off & ~4u) {
	case E1000_GORCL:
	case E1000_GOTCL:
	case E1000_TORL:
	case E1000_TOTL:
		return off & ~4u;
	default:
		return 0;
	}
}

uint32_t e1000_stat_read(struct e1000 *e, unsigned off)
{
	unsigned pair = pair_of(off), i = index_of(pair ? pair : off);
	uint64_t now = counter_get(&e->stat[i]), n = now - e->stat_base[i];

	if (pair == off && pair)
		return (uint32_t)n;
	e->stat_base[i] = now;
	return pair ? (uint32_t)(n >> 32) : (uint32_t)MIN(n, (uint64_t)UINT32_MAX);
}

void e1000_stats_reset(struct e1000 *e)
{
	for (unsigned i = 0; i < E1000_STATS; i++)
		e->stat_base[i] = counter_get(&e->stat[i]);
}

/* The register of six that counts frames of this length: 64, 65 to 127, ... 1024 to 1522 (more too, with LPE). */
static unsigned size_class(size_t len)
{
	unsigned k = 0;

	for (size_t most = 64; k < 5 && len > most; most = most == 64 ? 127 : 2 * most + 1)
		k++;
	return 4 * k;
}

void e1000_count_rx(struct e1000 *e, size_t len, const uint8_t *to, bool passed)
{
	e1000_stat(e, E1000_TPR, 1);
	e1000_stat(e, E1000_TORL, len);
	if (!passed)
		return;
	e1000_stat(e, E1000_GPRC, 1);
	e1000_stat(e, E1000_GORCL, len);
	e1000_stat(e, E1000_PRC64 + size_class(len), 1);
	if (mac_key(to) == MAC_KEY_BROADCAST)
		e1000_stat(e, E1000_BPRC, 1);
	else if (mac_is_multicast(to))
		e1000_stat(e, E1000_MPRC, 1);
}

void e1000_count_tx(struct e1000 *e, unsigned frames, uint64_t bytes, size_t len, const uint8_t *to)
{
	e1000_stat(e, E1000_TPT, frames);
	e1000_stat(e, E1000_GPTC, frames);
	e1000_stat(e, E1000_TOTL, bytes);
	e1000_stat(e, E1000_GOTCL, bytes);
	e1000_stat(e, E1000_PTC64 + size_class(len), frames);
	if (mac_key(to) == MAC_KEY_BROADCAST)
		e1000_stat(e, E1000_BPTC, frames);
	else if (mac_is_multicast(to))
		e1000_stat(e, E1000_MPTC, frames);
}
