/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest may put in front of and into a frame: vnet header and headers of any shape, lowered for a taker of any
 * capability. What comes out is within the bounds that were promised, and is the same again when it is made again.
 *
 * Input: one byte of what the taker takes, one of how the frame is scattered, a vnet header, the frame. A frame is
 * lengthened with zeros up to a length that the second byte says, so that small inputs make large frames.
 */
#include <stdlib.h>

#include "base/iov.h"
#include "net/offload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t frame_bytes[NET_FRAME_MAX], out[NET_FRAME_MAX + 8];
static struct iovec arena[1 + 256];

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void scatter(struct batch *b, const struct frame_meta *m, size_t len, unsigned piece)
{
	struct frame *f = &b->frame[0];
	size_t at = 0, n;

	*f = (struct frame){ .meta = *m, .iov = 1, .len = (uint32_t)len };
	for (; at < len; at += n) {
		n = f->cnt == 255 ? len - at : MIN((size_t)piece + 1, len - at);
		arena[1 + f->cnt++] = (struct iovec){ frame_bytes + at, n };
	}
	b->iov = arena;
	b->n = 1;
}

static void run(struct offload_ctx *x, uint32_t takes)
{
	static struct batch b;
	size_t most = offload_largest(x);
	unsigned n, sum = 0, back = 1;
	uint32_t first;

	while ((n = offload_next(x, &b))) {
		first = b.frame[0].len;
		for (unsigned i = 0; i < n; i++) {
			const struct frame *f = &b.frame[i];

			check(f->len <= most && f->iov > 0 && f->cnt <= NET_IOV_MAX + 1);
			check((frame_needs(&f->meta) & ~takes) == 0);
			check(iov_read_at(frame_iov(&b, f), f->cnt, 0, out, f->len) == f->len);
		}
		if (back) { /* once: not taken, from memory of our own the next time */
			back = 0;
			offload_unget(x, n);
			offload_keep(x);
			check(offload_next(x, &b) == n && b.frame[0].len == first);
		}
		sum += n;
	}
	check(sum == offload_total(x));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct offload_ctx *x;
	struct virtio_net_hdr h;
	struct frame_meta m;
	struct batch b;
	size_t len;

	if (!x)
		x = offload_new();
	if (!x || size < 2 + sizeof(h) + 1 || size > sizeof(frame_bytes))
		return 0;
	memcpy(&h, data + 2, sizeof(h));
	len = size - 2 - sizeof(h);
	memcpy(frame_bytes, data + 2 + sizeof(h), len);
	if (data[1] & 0x80) {
		size_t more = (size_t)(data[1] & 0x7f) * 512;

		if (more > len) {
			memset(frame_bytes + len, 0, more - len);
			len = more;
		}
	}
	if (net_vnet_decode(&h, len, &m))
		return 0;
	scatter(&b, &m, len, data[1]);
	if (offload_begin(x, &b, &b.frame[0], data[0] & NET_OFF_ALL) == NET_OK)
		run(x, data[0] & NET_OFF_ALL);
	return 0;
}
