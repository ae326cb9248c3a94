/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames in, one a datagram: see dgram_rx.h. */
#include "backend/dgram_rx.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* A frame of any length with the longest headers; not a power of two, so that slots do not share their cache lines. */
#define SLOT_SIZE (NET_FRAME_MAX + 1 + 558)

int dgram_rx_init(struct dgram_rx *r, int fd, const struct dgram_judge *judge, counter *dropped, bool udp)
{
	static const int on = 1;

	r->fd = fd;
	r->judge = *judge;
	r->dropped = dropped;
	r->coalesced = udp && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0;
	r->batch.iov = r->piece;
	r->memory = malloc((size_t)DGRAM_SLOTS * SLOT_SIZE);
	if (!r->memory)
		return -ENOMEM;
	for (unsigned i = 0; i < DGRAM_SLOTS; i++) {
		struct msghdr *m = &r->msg[i].msg_hdr;

		r->slot[i] = (struct iovec){ r->memory + (size_t)i * SLOT_SIZE, SLOT_SIZE };
		m->msg_iov = &r->slot[i];
		m->msg_iovlen = 1;
	}
	r->n = DGRAM_SLOTS; /* all are to be made ready */
	r->next = DGRAM_SLOTS;
	return 0;
}

void dgram_rx_fini(struct dgram_rx *r)
{
	free(r->memory);
	r->memory = NULL;
}

/* ---- receiving ---- */

/* What the kernel wrote into the headers of the slots that it filled. */
static void make_ready(struct dgram_rx *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct msghdr *m = &r->msg[i].msg_hdr;

		if (r->judge.sender) {
			m->msg_name = &r->from[i].sa;
			m->msg_namelen = sizeof(r->from[i].sa);
		}
		if (r->coalesced) {
			m->msg_control = &r->control[i];
			m->msg_controllen = sizeof(r->control[i]);
		}
		m->msg_flags = 0;
	}
}

/* The length of each datagram in the slot; the last may be shorter. */
static size_t datagram_size(struct dgram_rx *r, unsigned i)
{
	struct msghdr *m = &r->msg[i].msg_hdr;
	size_t len = r->msg[i].msg_len;
	int size;

	if (!r->coalesced)
		return len;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO || c->cmsg_len < CMSG_LEN(sizeof(size)))
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		if (size > 0 && (size_t)size < len)
			return (size_t)size;
	}
	return len;
}

static uint64_t datagrams(struct dgram_rx *r, unsigned i)
{
	size_t size = datagram_size(r, i);

	return size ? (r->msg[i].msg_len + size - 1) / size : 1;
}

int dgram_rx_read(struct dgram_rx *r)
{
	uint64_t before = r->pending;
	int n;

	make_ready(r);
	n = recvmmsg(r->fd, r->msg, DGRAM_SLOTS, MSG_DONTWAIT, NULL);
	r->next = r->n = n < 0 ? 0 : (unsigned)n;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	r->next = 0;
	r->at = 0;
	for (unsigned i = 0; i < r->n; i++)
		r->pending += datagrams(r, i);
	return (int)(r->pending - before);
}

/* ---- frames ---- */

static void drop(struct dgram_rx *r, enum net_drop why, uint64_t n)
{
	r->pending -= n;
	counter_add(&r->dropped[why], n);
}

/* Is there anything in this slot that may be looked at? */
static enum net_drop judge_slot(struct dgram_rx *r, unsigned i)
{
	if (r->msg[i].msg_hdr.msg_flags & MSG_TRUNC)
		return NET_DROP_TRUNCATED;
	if (!r->judge.sender)
		return NET_OK;
	r->from[i].len = r->msg[i].msg_hdr.msg_namelen;
	return r->judge.sender(r->judge.arg, &r->from[i]);
}

static void add_frame(struct dgram_rx *r, uint8_t *p, size_t len)
{
	struct batch *b = &r->batch;
	enum net_drop why = NET_OK;
	size_t skip = 0;

	if (r->judge.header)
		why = r->judge.header(r->judge.arg, p, len, &skip);
	if (!why && len - skip < ETH_HDR_LEN)
		why = NET_DROP_TOO_SHORT;
	if (unlikely(why)) {
		drop(r, why, 1);
		return;
	}
	b->frame[b->n] = (struct frame){ .iov = 2 * b->n + 1, .cnt = 1, .len = (uint32_t)(len - skip) };
	r->piece[2 * b->n + 1] = (struct iovec){ p + skip, len - skip };
	b->n++;
}

/* Put the datagrams of slot i, from r->at on, into the batch. True: all of them are there. */
static bool add_slot(struct dgram_rx *r, unsigned i)
{
	size_t len = r->msg[i].msg_len, size = datagram_size(r, i), n;
	uint8_t *p = r->slot[i].iov_base;
	enum net_drop why = r->at ? NET_OK : judge_slot(r, i);

	if (unlikely(why)) {
		drop(r, why, datagrams(r, i));
		return true;
	}
	do {
		if (r->batch.n == NET_BATCH)
			return false;
		n = MIN(size, len - r->at);
		add_frame(r, p + r->at, n);
		r->at += n;
	} while (r->at < len);
	return true;
}

void dgram_rx_fill(struct dgram_rx *r)
{
	if (r->batch.n)
		return;
	while (r->next < r->n && add_slot(r, r->next)) {
		r->next++;
		r->at = 0;
	}
}

void dgram_rx_done(struct dgram_rx *r, unsigned n)
{
	struct batch *b = &r->batch;

	r->pending -= n;
	b->n -= n;
	if (b->n)
		memmove(b->frame, b->frame + n, b->n * sizeof(b->frame[0]));
}

uint64_t dgram_rx_forget(struct dgram_rx *r)
{
	uint64_t n = r->pending;

	r->pending = 0;
	r->batch.n = 0;
	r->next = r->n;
	return n;
}
