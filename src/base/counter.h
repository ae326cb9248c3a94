/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters: one thread writes, any thread reads. A plain add for the writer (no locked instruction), a torn-free
 * load for the reader.
 */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>

#include "base/util.h"

typedef _Atomic uint64_t counter;

static inline uint64_t counter_get(const counter *c)
{
	return atomic_load_explicit((counter *)c, memory_order_relaxed);
}

static inline void counter_add(counter *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

/* For the few counters that several threads write (a region's refused accesses). */
static inline void counter_add_shared(counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

#endif
