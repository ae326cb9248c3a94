/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Net clients for tests: ends of a wire that do as they are told and remember what they got.
 *
 * A fake takes frames by send, or lends windows over buffers of its own (as a NIC does), as its ops say. `room` frames
 * are taken, then it has none and owes a wake; fake_room() gives room again and wakes. What it got is kept, whole, in
 * the order of arrival.
 */
#ifndef FAKE_NET_H
#define FAKE_NET_H

#include <limits.h>

#include "net/client.h"

#define FAKE_ALL  UINT_MAX
#define FAKE_KEPT 4096

struct fake_frame {
	struct frame_meta meta;
	size_t len;
	uint8_t *bytes;
};

struct fake {
	struct net_client c;
	unsigned room;
	enum net_drop refuse; /* what take() answers, if not NET_OK */
	size_t window;	      /* bytes that lend() shows at most; 0: as many as are wanted */
	uint32_t gives;	      /* what set_offload() answers at most */
	bool entered;	      /* in an op now: another call is an error */

	struct fake_frame got[FAKE_KEPT];
	unsigned n_got;
	unsigned wakes, started, quiesced, link_events, lends, commits;
	unsigned woken_for; /* bits of enum net_wake since last cleared */
	bool link, owes;

	struct iovec iov[4];
	uint8_t buf[NET_FRAME_MAX];
};

extern const struct net_client_ops fake_sender_ops; /* has send */
extern const struct net_client_ops fake_lender_ops; /* has lend, take, commit */

struct fake *fake_new(const char *name, enum net_kind kind, const struct net_client_ops *ops, struct loop *loop);
void fake_free(struct fake *f);	  /* removes the client */
void fake_forget(struct fake *f); /* frees what it got */
void fake_room(struct fake *f, unsigned room);

/* Run turns until nothing happens any more. */
void settle(struct loop *loop);

/* Frames. An IPv4 TCP frame with n bytes of payload that start with `seq` and count on; returns its length. */
size_t make_tcp(uint8_t *p, uint32_t seq, size_t n, struct frame_meta *m);
/* Any frame of len bytes: a local experimental EtherType, bytes that depend on seed. */
void make_plain(uint8_t *p, size_t len, unsigned seed);
bool is_plain(const uint8_t *p, size_t len, unsigned seed);
/* Put one frame more into a batch whose arena is iov[3 * NET_BATCH]. */
void batch_add(struct batch *b, uint8_t *p, size_t len, const struct frame_meta *m);

/* Do both accounts of the client balance? Asked on its loop: a link that is down takes frames at any time. */
bool fake_balanced(struct net_client *c);

#endif
