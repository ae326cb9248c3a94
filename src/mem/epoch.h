/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots that readers use without a lock. A reader (a loop's thread, a vCPU's thread) says when it is inside
 * (epoch_enter) and outside (epoch_leave: asleep in epoll, inside KVM_RUN). A writer swaps the pointer and retires the
 * old object: it is freed when every reader that was inside at that moment has been outside or entered anew. vCPUs
 * inside KVM_RUN therefore never hold anything up.
 *
 * Both sides use sequentially consistent accesses to the pointer (plain atomic_load, atomic_exchange): either the
 * reader sees the new object, or the writer sees the reader.
 */
#ifndef MEM_EPOCH_H
#define MEM_EPOCH_H

#include "base/list.h"
#include "base/thread.h"

struct epoch_reader {
	_Atomic uint64_t seen; /* 0: outside */
	struct list node;
	struct epoch_reader *outer; /* another reader that the same thread was inside of before this one */
};

void epoch_register(struct epoch_reader *r); /* the reader starts outside */
void epoch_unregister(struct epoch_reader *r);

/*
 * Reader's own thread. To enter while inside is to have been outside for a moment: no pointer is kept across it.
 * Readers of several loops that one thread runs may nest.
 */
void epoch_enter(struct epoch_reader *r);
void epoch_leave(struct epoch_reader *r);

struct retired {
	void (*free)(struct retired *r);
	uint64_t epoch;
	struct list node;
};

/* Free `r` by r->free(r) once nobody can see it. Never waits; runs what is due of earlier ones in passing. */
void epoch_retire(struct retired *r, void (*free)(struct retired *r));

/* Free what is due. Nearly free of cost if nothing waits; loops do it at the end of each turn. Any thread. */
void epoch_collect(void);

/*
 * Wait until every reader that is inside now has passed. Main thread only. The readers that the caller itself is inside
 * of (main's loop) are not waited for: it must hold no pointer from a snapshot.
 */
void epoch_synchronize(void);

#endif
