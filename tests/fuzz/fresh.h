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

#include "loop/loop.h"
#include "mem/ram.h"
#include "object/state.h"

/* Once: log writes to this RAM, all of which is zero. */
void fresh_start(struct ram *r);
/* The fuzzer writes here. */
void fresh_mark(uint64_t gpa, uint64_t len);
void fresh_mark_host(const void *host, size_t len); /* if that is in RAM */
/* The input writes: one to 32 bytes, anywhere below limit, as it says. */
void fresh_poke(uint64_t limit);
/* Behind an input: all of RAM is zero again. */
void fresh_clear(void);
/* The same, and the wire and the VM's clock are as at the beginning, behind the device's reset; the account is balanced. */
void fresh_over(struct loop *l);
/* As many turns as an operation may take: what goes on for ever does not keep the fuzzer. */
void fresh_turns(struct loop *l);

/*
 * All fields of the table, but those whose names begin with one of `but` (ends with NULL), are in `now` as they are in
 * `then`; aborts with a field's name.
 */
void fresh_expect(const struct state_table *t, const void *now, const void *then, const char *const *but);

#endif
