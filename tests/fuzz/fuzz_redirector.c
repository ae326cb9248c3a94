/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the other end of a filter-redirector's indev may send: a stream of messages, right or wrong, cut anywhere.
 *
 * The first byte of the input says how the stream is cut: bit 0, with vnet headers; the rest, bytes of a piece. The
 * frames that come out must not depend on that, and the first wrong length must end them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "net/chr_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(x)                                                                              \
	do {                                                                                  \
		if (!(x)) {                                                                   \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #x); \
			abort();                                                              \
		}                                                                             \
	} while (0)

/* What came out of a stream. */
struct outcome {
	uint64_t sum; /* of all frames, what they say and their order */
	unsigned frames, refused;
	bool bad;
	size_t left; /* bytes of a message that is not whole */
};

static uint64_t mix(uint64_t sum, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n--)
		sum = (sum ^ *b++) * 0x100000001b3;
	return sum;
}

static void take_frame(struct outcome *o, const struct chr_reader *r, const struct chr_frame *f)
{
	check(f->len >= ETH_HDR_LEN && f->len <= NET_FRAME_MAX);
	check(f->data >= r->buf + r->head && f->data + f->len == r->buf + r->head + f->bytes);
	check(r->head + f->bytes <= r->tail);
	if (f->why == NET_OK && f->meta.needs_csum)
		check((size_t)f->meta.csum_start + f->meta.csum_offset + 2 <= f->len);
	o->sum = mix(o->sum, f->data, f->len);
	o->sum = mix(o->sum, &f->why, sizeof(f->why));
	o->sum = mix(o->sum, &f->meta.gso_size, sizeof(f->meta.gso_size));
	o->frames++;
	o->refused += f->why != NET_OK;
}

static void read_frames(struct outcome *o, struct chr_reader *r)
{
	struct chr_frame f;
	enum chr_read got;

	while ((got = chr_reader_next(r, &f)) == CHR_FRAME) {
		take_frame(o, r, &f);
		chr_reader_pop(r, &f);
	}
	o->bad = got == CHR_BAD;
	check(got == CHR_BAD || chr_reader_room(r) > 0);
}

static struct outcome run(bool vnet, const uint8_t *p, size_t n, size_t piece)
{
	struct chr_reader *r = chr_reader_new(vnet);
	struct outcome o = { .sum = 0xcbf29ce484222325 };

	while (n && !o.bad) {
		size_t k = MIN(MIN(n, piece), chr_reader_room(r));

		chr_reader_put(r, p, k);
		p += k;
		n -= k;
		read_frames(&o, r);
	}
	o.left = r->tail - r->head;
	if (!o.bad) {
		chr_reader_cut(r);
		check(r->tail == 0); /* no whole message was left */
	}
	free(r);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, pieces;
	bool vnet;

	if (!size)
		return 0;
	vnet = data[0] & 1;
	whole = run(vnet, data + 1, size - 1, size);
	pieces = run(vnet, data + 1, size - 1, 1 + data[0] / 2);
	check(whole.sum == pieces.sum && whole.frames == pieces.frames && whole.refused == pieces.refused);
	check(whole.bad == pieces.bad);
	check(whole.bad || whole.left == pieces.left);
	return 0;
}
