/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest RAM: a few blocks of memory, mapped for good. Nothing moves or goes away while the VM lives, so a translation
 * needs no lock and a host pointer stays valid.
 *
 * DMA reaches RAM and nothing else: an address in a BAR, a ROM or a hole has no translation. That is what makes a
 * device that writes its own registers (re-entrancy) impossible by construction. A range must lie inside one block,
 * whole.
 */
#ifndef MEM_RAM_H
#define MEM_RAM_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/util.h"

#define RAM_BLOCKS_MAX 4

/*
 * What the memory is. Anonymous memory comes in huge pages wherever the host has them; a memfd does only if the host's
 * administrator has set shmem_enabled, which no distribution does, so each 4 KiB page costs a fault of its own.
 */
enum ram_backing {
	RAM_PRIVATE, /* anonymous: this process alone has it */
	RAM_SHARED,  /* one memfd, which other processes can map */
};

struct ram_block {
	uint64_t gpa;
	uint64_t size;
	uint8_t *host;
	uint64_t fd_offset; /* RAM_SHARED: where the block is in the file */
};

struct dirty_log;

struct ram {
	int fd; /* RAM_SHARED: the memfd, sealed against changes of its size; else -1 */
	unsigned n;
	struct ram_block block[RAM_BLOCKS_MAX]; /* sorted by gpa */
	struct dirty_log *_Atomic log;		/* NULL: nobody wants to know */
};

/*
 * Make RAM of `n` blocks (gpa and size filled in, page multiples, sorted), all zero. The pages beside each block are
 * inaccessible; the contents are not in core dumps, nor in the child of a fork. On an error nothing is left, and `r` is
 * as ram_destroy() leaves it: without blocks, fd -1.
 */
int ram_init(struct ram *r, const struct ram_block *blocks, unsigned n, enum ram_backing backing,
	     struct error *err) __must_check;
void ram_destroy(struct ram *r);

/* Host pointer to [gpa, gpa + len), or NULL unless the whole range is in one block. len 0: gpa must be in a block. */
static inline void *ram_ptr(const struct ram *r, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < r->n; i++) {
		const struct ram_block *b = &r->block[i];
		uint64_t off = gpa - b->gpa;

		if (gpa >= b->gpa && off < b->size && len <= b->size - off)
			return b->host + off;
	}
	return NULL;
}

/* ---- what a device holds ---- */

/*
 * A device's way to RAM. `on` is the bus master enable bit: while it is off nothing translates. Writes tell the dirty
 * log. Any thread may read `on`; who turns it off must quiesce the queues afterwards.
 */
struct dma {
	const struct ram *ram;
	_Atomic bool on;
};

static inline void *dma_ptr(const struct dma *d, uint64_t gpa, uint64_t len)
{
	if (unlikely(!atomic_load_explicit(&d->on, memory_order_acquire)))
		return NULL;
	return ram_ptr(d->ram, gpa, len);
}

/* Copies for the slow paths; -EFAULT if the range is not RAM (then nothing was copied). */
int dma_read(const struct dma *d, uint64_t gpa, void *to, uint64_t len) __must_check;
int dma_write(const struct dma *d, uint64_t gpa, const void *from, uint64_t len) __must_check;

void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t len);

/* To be called after a device wrote [gpa, gpa + len) through a host pointer. One relaxed load if nobody logs. */
static inline void dma_dirty(const struct dma *d, uint64_t gpa, uint64_t len)
{
	struct dirty_log *log = atomic_load(&d->ram->log);

	if (unlikely(log != NULL))
		dirty_log_mark(log, gpa, len);
}
/* The same by host pointer (which must be inside RAM), for those who kept only iovecs. */
void ram_dirty_host(const struct ram *r, const void *host, uint64_t len);

/* ---- the log: one bit a 4 KiB page and block ---- */

#define DIRTY_PAGE 4096

/* Main thread. NULL and err if the log is on already or there is no memory. */
struct dirty_log *dirty_log_start(struct ram *r, struct error *err);
/*
 * Move the bits of `block` that were set since the last call into bitmap, one bit a page from bit 0 of bitmap[0] on,
 * and clear them here. What bitmap held before is gone. Returns the number of pages. Any thread.
 */
uint64_t dirty_log_sync(struct dirty_log *log, unsigned block, uint64_t *bitmap);
/* Waits until every loop has passed a turn, then frees the log. Main thread; harmless if there is none. */
void dirty_log_stop(struct ram *r);

#endif
