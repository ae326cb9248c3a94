/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames as messages on a character device, as QEMU's filter-mirror and filter-redirector have them: a length, 32 bits
 * big-endian; if both ends agree on that, the length of a vnet header, 32 bits big-endian too; then so many bytes, the
 * vnet header among them.
 *
 * The other end is not to be trusted: a length that no frame has is no reason to allocate or to wait for so much, but
 * the end of the connection.
 */
#ifndef NET_CHR_FRAMES_H
#define NET_CHR_FRAMES_H

#include "net/frame.h"

struct chardev;

#define CHR_FRAME_HEAD	 20				  /* most bytes in front of a frame */
#define CHR_FRAME_BYTES	 (CHR_FRAME_HEAD + NET_FRAME_MAX) /* longest message */
#define CHR_READER_BYTES ((size_t)4 * CHR_FRAME_BYTES)

/* What stands in front of a frame: its bytes, written to `head`. vnet: with a vnet header (of 12 bytes). */
size_t chr_frame_head(uint8_t head[CHR_FRAME_HEAD], bool vnet, size_t len, const struct frame_meta *m);

/*
 * Send a frame of the batch as a message, its head in the slot in front of the frame's pieces. As chardev_send(): 0, or
 * -EAGAIN or another error, and nothing of it was sent. The device's loop.
 */
int chr_frame_send(struct chardev *c, bool vnet, const struct batch *b, const struct frame *f);

/* ---- reading ---- */

struct chr_reader {
	bool vnet;
	size_t head, tail; /* buf[head..tail) is unread, head is at the start of a message */
	uint8_t buf[CHR_READER_BYTES];
};

enum chr_read {
	CHR_MORE,  /* no whole message is there */
	CHR_FRAME, /* one is, and it is a frame */
	CHR_BAD,   /* no message begins like this: what follows means nothing */
};

struct chr_frame {
	uint8_t *data;
	size_t len;
	struct frame_meta meta;
	enum net_drop why; /* NET_OK, or the vnet header contradicts the frame: not to be handed on */
	size_t bytes;	   /* of the message: for chr_reader_pop() */
};

struct chr_reader *chr_reader_new(bool vnet); /* NULL: no memory; free() it */
void chr_reader_reset(struct chr_reader *r);
/* Bytes that chr_reader_put() takes. Never 0 while chr_reader_next() says CHR_MORE. */
size_t chr_reader_room(const struct chr_reader *r);
void chr_reader_put(struct chr_reader *r, const uint8_t *p, size_t n);
/* The first message; it stays in place until it is popped. */
enum chr_read chr_reader_next(struct chr_reader *r, struct chr_frame *f);
void chr_reader_pop(struct chr_reader *r, const struct chr_frame *f);
/* The connection is over: whole messages stay, the part of one goes. */
void chr_reader_cut(struct chr_reader *r);

#endif
