/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address spaces (memory, ports) and the regions in them that have handlers.
 *
 * A space is an immutable sorted snapshot of non-overlapping ranges; a change (a BAR that moved) builds a new one and
 * swaps a pointer. vCPU threads look addresses up in the snapshot of the moment. Changes are serialised by one mutex.
 * When two regions overlap, the higher priority wins, at equal priority the one that was mapped first. RAM is not in
 * here: KVM sends no exit for it, and it wins over everything.
 *
 * The core checks range, size and alignment before a handler is called, so a handler never has to assert on what a
 * guest did: what does not fit the region's rule reads as all ones, writes nothing, and is counted.
 *
 * Doorbells: a {offset, width, value} of a region that becomes an ioeventfd while the region is mapped, if the
 * accelerator can; where it cannot (qtest), a matching write signals the same eventfd. No handler call either way.
 *
 * What a write does is done on the vCPU, by the region's policy, but for posted registers, which are a loop's.
 */
#ifndef MEM_SPACE_H
#define MEM_SPACE_H

#include "base/counter.h"
#include "base/error.h"
#include "base/list.h"
#include "base/thread.h"
#include "mem/epoch.h"

/* ---- regions ---- */

struct region_ops {
	uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
	void (*write)(void *opaque, uint64_t off, uint64_t value, unsigned size);
	/*
	 * Access sizes the handlers take: powers of two, 1..8. A larger aligned access is split into max-sized pieces,
	 * low address first; a smaller one is refused. Unaligned ones are refused unless `unaligned`.
	 */
	uint8_t min, max;
	bool unaligned;
};

/* Who runs the handlers. */
enum region_policy {
	REGION_DEVICE, /* the calling vCPU, under the device's control mutex */
	REGION_NONE,   /* the calling vCPU, no lock: the handlers use atomics */
};

struct doorbell {
	uint64_t offset;
	uint8_t width; /* 0: any width */
	bool match;    /* only writes of `value` */
	uint64_t value;
	int fd; /* eventfd, owned by the device; < 0: not in use now */
};

/*
 * A posted register: it belongs to a loop, and a vCPU carries nothing out for it (a tail pointer whose write starts
 * transmission). A write of its width leaves the value here, the last one only, and tells the loop, by no handler and
 * under no lock; other widths, and reads, go to the handlers. Where the value does not matter a doorbell is cheaper.
 *
 * The value is there before posted() is called, so that a post function of the loop that loads it sees this write or
 * a later one. It is the guest's: load it once, and check it.
 */
struct posted_register {
	uint64_t offset;
	uint8_t width;
	void (*posted)(struct posted_register *r); /* the writing vCPU's thread: loop_post(), and nothing that waits */
	_Atomic uint64_t value;
};

struct region {
	const char *name;
	uint64_t size;
	const struct region_ops *ops;
	void *opaque;
	enum region_policy policy;
	struct mutex *lock; /* REGION_DEVICE */
	const struct doorbell *bells;
	unsigned n_bells;
	struct posted_register *posted; /* few of them: each write looks through them */
	unsigned n_posted;
	counter refused; /* accesses that did not fit the rule */
};

/* ---- spaces ---- */

struct space;

struct doorbell_ops {
	/* Bind or unbind an ioeventfd at an absolute address. -errno: fall back to the write path. */
	int (*bind)(void *opaque, bool pio, uint64_t addr, const struct doorbell *b);
	void (*unbind)(void *opaque, bool pio, uint64_t addr, const struct doorbell *b);
};

struct space *space_new(const char *name, uint64_t size, bool pio);
void space_free(struct space *s);
void space_set_doorbell_ops(struct space *s, const struct doorbell_ops *ops, void *opaque);

/*
 * Changes; any thread but a net loop's. Between space_begin() and space_commit() several changes become one snapshot
 * (begin/commit may nest). After commit returns, accesses that start later use the new map; old doorbells are unbound
 * and new ones bound. One that is under way on another vCPU may still end in the old map.
 */
void space_begin(struct space *s);
void space_commit(struct space *s);
int space_map(struct space *s, struct region *r, uint64_t base, int priority) __must_check; /* -EINVAL: does not fit */
/*
 * The region must stay until those inside the old map have left: epoch_synchronize() before it is freed. Until then a
 * posted register may still be written, so the loop's post is taken back behind that.
 */
void space_unmap(struct space *s, struct region *r);
/*
 * A mapped region changed its doorbell table (fds): what differs is bound anew at the next commit. An fd that is to be
 * closed is set to -1 first, and closed behind the commit and epoch_synchronize().
 */
void space_doorbells_changed(struct space *s, struct region *r);

/*
 * Accesses; a vCPU's thread (inside its epoch) or the qtest server. size 1, 2, 4 or 8. True if a region was there; a
 * read of nothing gives all ones.
 */
bool space_read(struct space *s, uint64_t addr, unsigned size, uint64_t *value);
bool space_write(struct space *s, uint64_t addr, unsigned size, uint64_t value);

#endif
