/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dirty log: one bit a page, set after the page was written, moved out by whoever copies pages.
 *
 * Setting is always an atomic OR, also if the bit is set already: it orders the write of the page before whatever the
 * copier finds. To look first and skip the OR would let a copier take the old bit and then the old page.
 */
#include <errno.h>
#include <stdlib.h>

#include "mem/epoch.h"
#include "mem/ram.h"

struct dirty_log {
	const struct ram *ram;
	_Atomic uint64_t *bits[RAM_BLOCKS_MAX];
};

static uint64_t words_of(const struct ram_block *b)
{
	return (b->size / DIRTY_PAGE + 63) / 64;
}

static void log_free(struct dirty_log *log)
{
	for (unsigned i = 0; log && i < RAM_BLOCKS_MAX; i++)
		free(log->bits[i]);
	free(log);
}

struct dirty_log *dirty_log_start(struct ram *r, struct error *err)
{
	struct dirty_log *log;

	if (atomic_load(&r->log)) {
		fail(err, EBUSY, "writes to guest RAM are being logged already");
		return NULL;
	}
	log = calloc(1, sizeof(*log));
	for (unsigned i = 0; log && i < r->n; i++) {
		log->bits[i] = calloc(words_of(&r->block[i]), sizeof(uint64_t));
		if (!log->bits[i]) {
			log_free(log);
			log = NULL;
		}
	}
	if (!log) {
		fail(err, ENOMEM, "no memory to log writes to guest RAM");
		return NULL;
	}
	log->ram = r;
	atomic_store(&r->log, log);
	return log;
}

void dirty_log_stop(struct ram *r)
{
	struct dirty_log *log = atomic_exchange(&r->log, NULL);

	if (!log)
		return;
	epoch_synchronize();
	log_free(log);
}

/* Set the bits [first, last]. */
static void set_bits(_Atomic uint64_t *bits, uint64_t first, uint64_t last)
{
	for (uint64_t w = first / 64; w <= last / 64; w++) {
		uint64_t mask = UINT64_MAX;

		if (w == first / 64)
			mask &= UINT64_MAX << first % 64;
		if (w == last / 64)
			mask &= UINT64_MAX >> (63 - last % 64);
		atomic_fetch_or(&bits[w], mask);
	}
}

static void mark(struct dirty_log *log, unsigned block, uint64_t off, uint64_t len)
{
	set_bits(log->bits[block], off / DIRTY_PAGE, (off + len - 1) / DIRTY_PAGE);
}

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; len && i < log->ram->n; i++) {
		const struct ram_block *b = &log->ram->block[i];

		if (gpa >= b->gpa && range_within(gpa - b->gpa, len, b->size))
			mark(log, i, gpa - b->gpa, len);
	}
}

void ram_dirty_host(const struct ram *r, const void *host, uint64_t len)
{
	struct dirty_log *log = atomic_load(&r->log);

	for (unsigned i = 0; log && len && i < r->n; i++) {
		const struct ram_block *b = &r->block[i];
		uintptr_t p = (uintptr_t)host, start = (uintptr_t)b->host;

		if (p >= start && range_within(p - start, len, b->size))
			mark(log, i, p - start, len);
	}
}

uint64_t dirty_log_sync(struct dirty_log *log, unsigned block, uint64_t *bitmap)
{
	_Atomic uint64_t *bits = log->bits[block];
	uint64_t n = words_of(&log->ram->block[block]), pages = 0;

	for (uint64_t i = 0; i < n; i++) {
		bitmap[i] = atomic_load_explicit(&bits[i], memory_order_relaxed) ? atomic_exchange(&bits[i], 0) : 0;
		pages += (uint64_t)__builtin_popcountll(bitmap[i]);
	}
	return pages;
}
