/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the fuzzers of NICs share: the input, read value by value, and the other end of the NIC's wire, which looks at all
 * that it is given and takes as much as it is told to.
 */
#ifndef TESTS_FUZZ_NIC_WIRE_H
#define TESTS_FUZZ_NIC_WIRE_H

#include <stdio.h>
#include <stdlib.h>

#include "net/client.h"

#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			abort();                                                \
		}                                                               \
	} while (0)

/* What is left of the input. get(): its next bytes, low ones first; 0 where it has ended. */
extern const uint8_t *in;
extern size_t left;
uint64_t get(unsigned bytes);

extern struct net_client *wire;
extern unsigned take; /* how many frames it takes of each batch */

/* A wire of this name, added, on this loop; it becomes `wire`. It takes all offloads. */
void wire_open(const char *name, struct loop *loop, uint32_t gives);
/* It takes all frames and offloads again, is started, and the link is up at both ends. To be followed by turns. */
void wire_start_over(void);
/* Is every frame accounted for, at both ends? */
bool wire_balanced(void);
/*
 * Frames of `len` bytes from the wire, `n` of them or as many as there is room for: the first `input` bytes (64 at most)
 * of each are `head`, or come from the input if that is NULL. Each asks for a window of `want` bytes.
 */
void wire_give(unsigned n, size_t len, size_t want, const uint8_t *head, size_t input, const struct frame_meta *m);

#endif
