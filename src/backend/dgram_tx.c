/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames out, one a datagram: see dgram_tx.h. */
#include "backend/dgram_tx.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>

#include "base/iov.h"
#include "base/wirefmt.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define RUN_MAX 65507 /* bytes of a run: what UDP on IPv4 carries */

int dgram_tx_init(struct dgram_tx *t, int fd, const struct endpoint *to, const struct dgram_head *head, bool segments)
{
	t->fd = fd;
	t->to = *to;
	t->head = *head;
	t->segments = segments;
	t->segment_max = RUN_MAX;
	t->bounce = malloc(NET_FRAME_MAX + DGRAM_HEAD_MAX);
	t->heads = malloc(NET_BATCH * (size_t)MAX(head->len, 1U));
	if (!t->bounce || !t->heads)
		return -ENOMEM;
	for (unsigned i = 0; i < NET_BATCH; i++) {
		struct cmsghdr *c = &t->control[i].align;

		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
		memcpy(t->heads + i * head->len, head->bytes, head->len);
		if (to->len) {
			t->msg[i].msg_hdr.msg_name = &t->to.sa;
			t->msg[i].msg_hdr.msg_namelen = to->len;
		}
	}
	return 0;
}

void dgram_tx_fini(struct dgram_tx *t)
{
	free(t->heads);
	free(t->bounce);
	t->heads = t->bounce = NULL;
}

/* ---- messages ---- */

/* The header of frame i of the batch, the first of which has number t->head.counter. */
static struct iovec header(struct dgram_tx *t, unsigned i, unsigned first)
{
	uint8_t *p = t->heads;

	if (t->head.counter_at >= 0) {
		p += i * t->head.len;
		put32(p + t->head.counter_at, t->head.counter + (i - first));
	}
	return (struct iovec){ p, t->head.len };
}

static unsigned pieces(const struct dgram_tx *t, const struct frame *f)
{
	return f->cnt + (t->head.len ? 1 : 0);
}

/* How many frames from i on make a run that has a place in piece[]: 1 if there is none worth one. */
static unsigned run_length(const struct dgram_tx *t, const struct batch *b, unsigned i)
{
	size_t head = t->head.len, size = head + b->frame[i].len, total = size, len;
	unsigned cnt = pieces(t, &b->frame[i]), n = 1;

	if (!t->segments || size > t->segment_max)
		return 1;
	for (; i + n < b->n; n++) {
		const struct frame *f = &b->frame[i + n];

		len = head + f->len;
		if (len > size || total + len > RUN_MAX || cnt + pieces(t, f) > NET_IOV_MAX - t->used)
			break;
		total += len;
		cnt += pieces(t, f);
		if (len < size) {
			n++;
			break;
		}
	}
	return n;
}

static struct msghdr *add_message(struct dgram_tx *t, unsigned frames, struct iovec *iov, size_t cnt)
{
	struct msghdr *m = &t->msg[t->n].msg_hdr;

	t->frames[t->n++] = (uint8_t)frames;
	m->msg_iov = iov;
	m->msg_iovlen = cnt;
	m->msg_control = NULL;
	m->msg_controllen = 0;
	return m;
}

static void add_run(struct dgram_tx *t, const struct batch *b, unsigned i, unsigned n, unsigned first)
{
	uint16_t size = (uint16_t)(t->head.len + b->frame[i].len);
	struct iovec *iov = &t->piece[t->used];
	unsigned cnt = 0, at = t->n;
	struct msghdr *m;

	for (unsigned k = i; k < i + n; k++) {
		const struct frame *f = &b->frame[k];

		if (t->head.len)
			iov[cnt++] = header(t, k, first);
		memcpy(&iov[cnt], frame_iov(b, f), f->cnt * sizeof(*iov));
		cnt += f->cnt;
	}
	t->used += cnt;
	m = add_message(t, n, iov, cnt);
	memcpy(CMSG_DATA(&t->control[at].align), &size, sizeof(size));
	m->msg_control = &t->control[at];
	m->msg_controllen = sizeof(t->control[at]);
}

static void add_bounced(struct dgram_tx *t, const struct batch *b, const struct frame *f, unsigned i, unsigned first)
{
	struct iovec h = header(t, i, first), *iov = frame_iov(b, f) - 1;
	size_t len =
		iov_read_at(frame_iov(b, f), f->cnt, 0, t->bounce + h.iov_len, MIN(f->len, (uint32_t)NET_FRAME_MAX));

	memcpy(t->bounce, h.iov_base, h.iov_len);
	*iov = (struct iovec){ t->bounce, h.iov_len + len };
	add_message(t, 1, iov, 1);
}

static void add_frame(struct dgram_tx *t, const struct batch *b, unsigned i, unsigned first)
{
	const struct frame *f = &b->frame[i];
	struct iovec *iov = frame_iov(b, f);

	if (t->head.len)
		*--iov = header(t, i, first);
	add_message(t, 1, iov, pieces(t, f));
}

/* Describe the frames from `first` on, or some of them. */
static void plan(struct dgram_tx *t, const struct batch *b, unsigned first)
{
	unsigned i = first, n;

	t->n = t->used = 0;
	while (i < b->n) {
		n = run_length(t, b, i);
		if (n > 1) {
			add_run(t, b, i, n, first);
		} else if (unlikely(pieces(t, &b->frame[i]) > IOV_MAX)) {
			add_bounced(t, b, &b->frame[i], i, first);
			return; /* there is one such buffer */
		} else {
			add_frame(t, b, i, first);
		}
		i += n;
	}
}

/* ---- sending ---- */

/* The kernel refused a run. True: it is not to be one when it is planned anew. */
static bool without_segments(struct dgram_tx *t, const struct batch *b, unsigned i, int code)
{
	switch (code) {
	case EINVAL: /* longer than the path's MTU */
	case EMSGSIZE:
		t->segment_max = t->head.len + b->frame[i].len - 1;
		return true;
	case EIO: /* no checksum offload on the way out */
	case EOPNOTSUPP:
	case ENOPROTOOPT:
		t->segments = false;
		return true;
	default:
		return false;
	}
}

unsigned dgram_tx_send(struct dgram_tx *t, struct batch *b, unsigned first, struct dgram_refusal *r)
{
	unsigned i = first, n, msg;
	int ret;

	*r = (struct dgram_refusal){ 0 };
	while (i < b->n) {
		plan(t, b, i);
		ret = sendmmsg(t->fd, t->msg, t->n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (ret <= 0) {
			if (ret < 0 && (errno == EINTR || (t->frames[0] > 1 && without_segments(t, b, i, errno))))
				continue;
			*r = (struct dgram_refusal){ ret < 0 ? errno : EIO, t->frames[0] };
			break;
		}
		for (msg = n = 0; msg < (unsigned)ret; msg++)
			n += t->frames[msg];
		t->head.counter += n;
		i += n;
	}
	return i - first;
}
