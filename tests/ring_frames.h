/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbered frames in the rings of user networking, for the tests of the ring: what was put in is known by its number.
 */
#ifndef TESTS_RING_FRAMES_H
#define TESTS_RING_FRAMES_H

#include "unit/unit.h"
#include "user/ring.h"

/* Frame number n, of len bytes; false: there is no room. */
static inline bool put_numbered(struct ring *r, uint32_t n, uint32_t len)
{
	uint8_t *to = ring_reserve(r, len);
	struct virtio_net_hdr h = { .gso_size = (uint16_t)n };

	if (!to)
		return false;
	to[0] = (uint8_t)n;
	to[len - 1] = (uint8_t)~n;
	ring_push(r, len, &h);
	return true;
}

static inline void check_numbered(const struct ring_frame *f, uint32_t n, uint32_t len)
{
	assert_int_equal(f->len, len);
	assert_int_equal(f->hdr.gso_size, (uint16_t)n);
	assert_int_equal(f->data[0], (uint8_t)n);
	assert_int_equal(f->data[f->len - 1], (uint8_t)~n);
}

#endif
