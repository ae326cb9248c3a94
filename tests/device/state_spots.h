/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes of a saved device (object/state.h), for tests that write other ones into them. */
#ifndef TESTS_DEVICE_STATE_SPOTS_H
#define TESTS_DEVICE_STATE_SPOTS_H

#include "object/state.h"

/* A field where it lies in the bytes. */
struct state_spot {
	char table[32], field[64];
	uint8_t *count_at; /* four bytes */
	uint8_t *values;
	unsigned width;
	uint32_t count;
};

/* Find all of them, at most `room`; aborts where the bytes are none that state_save() writes. */
unsigned state_spots(const struct state_bytes *b, struct state_spot *to, unsigned room);
struct state_spot state_spot(const struct state_bytes *b, const char *field); /* the first of that name; aborts */
uint64_t state_get(const struct state_spot *s, uint32_t i);
void state_put(const struct state_spot *s, uint32_t i, uint64_t v);

/*
 * Every field at every boundary value (of arrays with more than 256 elements each element at one of them, in turn), one
 * change at a time, and every count off by one: after each, try(arg). Bytes are as they were afterwards.
 */
void state_at_boundaries(const struct state_bytes *b, void (*try)(const struct state_spot *s, void *arg), void *arg);

#endif
