/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots that readers use without a lock. A reader (a loop's thread, a vCPU's thread) says when it is inside
 * (epoch_enter) and outside (epoch_leave: asleep in epoll, inside KVM_RUN). A writer swaps the pointer and retires the
 * old object: it is freed when every reader that was inside at that moment has been outside or entered anew. vCPUs
 * inside KVM_RUN therefore never hold anything up.
 */
#ifndef MEM_EPOCH_H
#define MEM_EPOCH_H

#include "base/list.h"
#include "base/thread.h"

struct epoch_reader {
	_Atomic uint64_t seen; /* 0: outside */
	struct list node;
};

void epoch_register(struct epoch_reader *r); /* the reader starts outside */
void epoch_unregister(struct epoch_reader *r);

void epoch_enter(struct epoch_reader *r); /* reader's own thread; not nested */
void epoch_leave(struct epoch_reader *r);

struct retired {
	void (*free)(struct retired *r);
	uint64_t epoch;
	struct list node;
};

/* Free `r` by r->free(r) once nobody can see it. Never waits; runs what is due of earlier ones in passing. */
void epoch_retire(struct retired *r, void (*free)(struct retired *r));

/* Wait until every reader that is inside now has passed. Main thread only, and it must not be inside itself. */
void epoch_synchronize(void);

#endif
