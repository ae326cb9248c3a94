/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a fuzzer of a device sets back between two inputs, so that the device need not be made anew for each, and an
 * input still does the same alone as behind a million others: guest RAM. (The device has its reset, the VM's clock is
 * set back to 0.)
 *
 * RAM is cleared where the dirty log says that it was written: the fuzzer tells it of its own writes. Free buffers that
 * a device wrote and did not give to the guest (a refused frame that was looped back) need not be in the log: there is a
 * page in turn beside.
 */
#ifndef TESTS_FUZZ_FRESH_H
#define TESTS_FUZZ_FRESH_H

#include "mem/ram.h"
#include "object/state.h"

/* Once: log writes to this RAM, all of which is zero. */
void fresh_start(struct ram *r);
/* The fuzzer writes here. */
void fresh_mark(uint64_t gpa, uint64_t len);
void fresh_mark_host(const void *host, size_t len); /* if that is in RAM */
/* Behind an input: all of RAM is zero again. */
void fresh_clear(void);

/*
 * All fields of the table, but those whose names begin with one of `but` (ends with NULL), are in `now` as they are in
 * `then`; aborts with a field's name.
 */
void fresh_expect(const struct state_table *t, const void *now, const void *then, const char *const *but);

#endif
