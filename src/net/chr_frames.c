/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames as messages on a character device; see chr_frames.h. */
#include "net/chr_frames.h"

#include <stdlib.h>

#include "base/wirefmt.h"
#include "char/chardev.h"

#define VNET_LEN     sizeof(struct virtio_net_hdr_mrg_rxbuf) /* that we write */
#define VNET_LEN_OLD sizeof(struct virtio_net_hdr)	     /* may come, too */

size_t chr_frame_head(uint8_t head[CHR_FRAME_HEAD], bool vnet, size_t len, const struct frame_meta *m)
{
	struct virtio_net_hdr_mrg_rxbuf h = { .num_buffers = 0 };

	if (!vnet) {
		put32(head, (uint32_t)len);
		return 4;
	}
	net_vnet_encode(m, &h.hdr);
	put32(head, (uint32_t)(VNET_LEN + len));
	put32(head + 4, VNET_LEN);
	memcpy(head + 8, &h, VNET_LEN);
	return 8 + VNET_LEN;
}

int chr_frame_send(struct chardev *c, bool vnet, const struct batch *b, const struct frame *f)
{
	struct iovec *iov = frame_iov(b, f);
	uint8_t head[CHR_FRAME_HEAD];

	iov[-1] = (struct iovec){ head, chr_frame_head(head, vnet, f->len, &f->meta) };
	return chardev_send(c, iov - 1, f->cnt + 1);
}

/* ---- reading ---- */

struct chr_reader *chr_reader_new(bool vnet)
{
	struct chr_reader *r = malloc(sizeof(*r));

	if (r) {
		r->vnet = vnet;
		chr_reader_reset(r);
	}
	return r;
}

void chr_reader_reset(struct chr_reader *r)
{
	r->head = r->tail = 0;
}

size_t chr_reader_room(const struct chr_reader *r)
{
	return sizeof(r->buf) - (r->tail - r->head);
}

void chr_reader_put(struct chr_reader *r, const uint8_t *p, size_t n)
{
	if (n > sizeof(r->buf) - r->tail) {
		memmove(r->buf, r->buf + r->head, r->tail - r->head);
		r->tail -= r->head;
		r->head = 0;
	}
	n = MIN(n, sizeof(r->buf) - r->tail);
	memcpy(r->buf + r->tail, p, n);
	r->tail += n;
}

static bool vnet_len_known(uint32_t n)
{
	return n == 0 || n == VNET_LEN || n == VNET_LEN_OLD;
}

/* The two lengths of a message are believed only if there can be such a frame. */
static bool lengths_valid(uint32_t len, uint32_t vnet_len)
{
	return vnet_len_known(vnet_len) && len >= vnet_len + ETH_HDR_LEN && len - vnet_len <= NET_FRAME_MAX;
}

static void take_meta(struct chr_frame *f, uint32_t vnet_len)
{
	struct virtio_net_hdr h;

	f->meta = (struct frame_meta){ 0 };
	f->why = NET_OK;
	if (!vnet_len)
		return;
	memcpy(&h, f->data - vnet_len, sizeof(h));
	f->why = net_vnet_decode(&h, f->len, &f->meta);
}

enum chr_read chr_reader_next(struct chr_reader *r, struct chr_frame *f)
{
	size_t have = r->tail - r->head, lengths = r->vnet ? 8 : 4;
	uint8_t *p = r->buf + r->head;
	uint32_t len, vnet_len;

	if (have < lengths)
		return CHR_MORE;
	len = get32(p);
	vnet_len = r->vnet ? get32(p + 4) : 0;
	if (!lengths_valid(len, vnet_len))
		return CHR_BAD;
	if (have - lengths < len)
		return CHR_MORE;
	f->data = p + lengths + vnet_len;
	f->len = len - vnet_len;
	f->bytes = lengths + len;
	take_meta(f, vnet_len);
	return CHR_FRAME;
}

void chr_reader_pop(struct chr_reader *r, const struct chr_frame *f)
{
	r->head += f->bytes;
	if (r->head == r->tail)
		chr_reader_reset(r);
}

void chr_reader_cut(struct chr_reader *r)
{
	struct chr_frame f;
	size_t head = r->head;

	while (chr_reader_next(r, &f) == CHR_FRAME)
		r->head += f.bytes;
	r->tail = r->head;
	r->head = head;
	if (r->head == r->tail)
		chr_reader_reset(r);
}
