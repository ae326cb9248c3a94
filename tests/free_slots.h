/* SPDX-License-Identifier: BSD-2-Clause */
/* What a batch promises to who takes it, checked: net/frame.h. */
#ifndef TESTS_FREE_SLOTS_H
#define TESTS_FREE_SLOTS_H

#include "net/frame.h"

/* In front of each frame's pieces is a slot of the arena that is no piece of any frame. */
static inline bool slots_free(const struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		uint32_t slot = b->frame[i].iov - 1;

		if (!b->frame[i].iov)
			return false;
		for (unsigned k = 0; k < b->n; k++)
			if (slot >= b->frame[k].iov && slot - b->frame[k].iov < b->frame[k].cnt)
				return false;
	}
	return true;
}

#endif
