/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device bench for virtio-net: the real device, a wire with the test at its other end, and a guest made of a few
 * functions that write rings into guest RAM. No vCPU, no thread: what the loop has to do is run by settle().
 *
 * RAM is [0, 1 MiB), next to it [1 MiB, 1.25 MiB), a hole, and [2 MiB, 3 MiB), filled with a pattern. Whatever the test
 * does not name by buf() or as a ring must be unchanged at the end: bench_close() looks.
 */
#ifndef TESTS_DEVICE_GUEST_H
#define TESTS_DEVICE_GUEST_H

#include "net/client.h"
#include "nic/virtio_net.h"

/* Last: its fail() is a macro. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define RAM0_SIZE (1 * MIB)
#define RAM1_GPA  RAM0_SIZE
#define RAM1_SIZE (256 * KIB)
#define RAM2_GPA  (2 * MIB)
#define RAM2_SIZE (1 * MIB)
#define RAM2_END  (RAM2_GPA + RAM2_SIZE)
#define BUFS_GPA  0x30000 /* buffers from here on, rings before */
#define HDR	  ((unsigned)sizeof(struct virtio_net_hdr_mrg_rxbuf))

enum {
	RXQ,
	TXQ,
	CTRLQ,
	N_QUEUES,
	BENCH_QUEUES = 5 /* of two pairs */
};

struct bench;

/* Where queue i has its rings. */
#define RING_GPA(i) (0x10000 + (uint64_t)(i)*0x8000)
#define AVAIL_OFF   0x4000
#define USED_OFF    0x5000

/* A queue as its driver sees it. */
struct gq {
	struct bench *b;
	unsigned index;
	uint16_t size;
	uint64_t gpa;
	bool packed, in_order;
	/* a split ring */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	/* a packed one */
	struct vring_packed_desc *ring;
	struct vring_packed_desc_event *driver, *device;
	struct vring_packed_desc mine[VIRTQ_SIZE_MAX]; /* what the driver wrote: the ring's are overwritten */
	uint16_t put_at, take_at;		       /* next descriptor to make available, to find used */
	bool put_wrap, take_wrap;
	uint16_t first[VIRTQ_SIZE_MAX], span[VIRTQ_SIZE_MAX]; /* of a chain, by its id */
	uint16_t added;					      /* descriptors since the last kick */

	uint16_t posted, seen, kicked; /* chains */
	uint16_t next[VIRTQ_SIZE_MAX]; /* the driver's own record of free and used descriptors, or ids */
	uint16_t free_head, n_free;    /* n_free: descriptors */
	/* chains in the order in which they were posted, and how many of them the used entry in hand stands for */
	uint16_t order[VIRTQ_SIZE_MAX];
	unsigned n_order, batch;
	uint32_t batch_len;
};

/* A piece of a chain. */
struct seg {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

/* A frame that reached the wire. */
struct sunk {
	uint8_t *data;
	size_t len;
	struct frame_meta meta;
};

struct bench {
	struct loop *loop;
	struct ram ram;
	struct dma dma;
	struct mutex lock;
	struct bus bus;
	struct virtio_device *v;
	struct virtio_net *n;
	struct net_client wire;
	struct net_client *nic;

	_Atomic unsigned calls[BENCH_QUEUES];
	unsigned config_calls;
	struct gq q[BENCH_QUEUES];
	uint16_t queue_size;
	unsigned hdr_len;		       /* of what was negotiated; HDR without HASH_REPORT */
	struct virtio_net_hdr_v1_hash got_hdr; /* of the last frame received, and zeros behind */
	uint64_t next_buf;
	uint8_t *named; /* a bit a byte: RAM that may change */

	/* the wire */
	bool hold_all;	    /* takes nothing */
	unsigned take_most; /* of a batch; 0: all */
	unsigned n_sunk, sunk_room, wakes;
	struct sunk *sunk;
	size_t want; /* what the wire asks for when it lends; 0: the frame's length */
	void (*on_send)(struct bench *b, struct batch *batch);
	bool steers; /* it can, and by which table it was told to last; NULL: by none */
	const struct rss_table *table;
};

/* Benches that are opened have packed rings, or split ones; and use them in order. */
extern bool bench_packed, bench_in_order;
/* Makes the netdev "wire", in place of the bench's own; bench_close() deletes it. NULL: none does. */
extern void (*bench_netdev)(struct bench *b);
/*
 * All tests on split rings, then those from the n_split_only-th on once more on packed ones. Returns how many failed.
 * bench_run_in_order() runs these on both kinds with IN_ORDER too.
 */
int bench_run_in_order(const struct CMUnitTest *tests, unsigned n, unsigned n_split_only);
int bench_run(const struct CMUnitTest *tests, unsigned n, unsigned n_split_only);

/* props: "name=value" strings, NULL-terminated, or NULL. */
void bench_open(struct bench *b, const char *const *props);
/* Checks RAM, the accounts, and that the device can still be reset; frees everything. */
void bench_close(struct bench *b);
/* The same as one call each around a test. */
void settle(struct bench *b);

/* ---- the driver's way up ---- */
uint64_t offered(struct bench *b);
/* Reset, negotiate exactly `features`; false if the device does not take them. */
bool negotiate(struct bench *b, uint64_t features);
/* Place and enable the queues (size b->queue_size each, the control queue 64 at most). */
void place_queues(struct bench *b);
void place_queue(struct bench *b, unsigned i); /* one of them */
void driver_ok(struct bench *b);
/* All of it, with VERSION_1 added. */
void driver_up(struct bench *b, uint64_t features);

/* ---- memory ---- */
void *at(struct bench *b, uint64_t gpa);     /* host pointer; the test fails if it is not RAM */
uint64_t buf(struct bench *b, uint32_t len); /* a named range of RAM */
void name_range(struct bench *b, uint64_t gpa, uint64_t len);

/* ---- rings (guest_ring.c) ---- */
void gq_init(struct bench *b, unsigned index, uint16_t size); /* zeroed, of the kind that was negotiated */
/* A chain that breaks the queue, by a head or an id that is out of range. */
void post_nonsense(struct gq *q);
/* Split rings only, as raw as can be; chains that are made so are not to be reaped. */
void set_desc(struct gq *q, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next);
void post(struct gq *q, uint16_t head); /* into the avail ring; visible at once */
/* Link descriptors for the pieces and post them; the head, or id. The test fails if there is no room. */
uint16_t chain(struct gq *q, const struct seg *s, unsigned n);
uint16_t chain_indirect(struct gq *q, const struct seg *s, unsigned n);
void kick(struct gq *q);	/* always */
bool kick_if_due(struct gq *q); /* as the device asked for: true if it did */
/* Take a used chain; it is free again. In order, and not told of by an entry of its own: *len is 0. */
bool reap(struct gq *q, uint16_t *head, uint32_t *len);
/* Chains that were used since the queue was placed, reaped or not, modulo 2^16. */
uint16_t used_idx(const struct gq *q);
bool used_waits(const struct gq *q); /* there is one to reap */
/* The driver wants no call; or one for what comes next. */
void want_no_calls(struct gq *q);
void want_calls(struct gq *q);
/* The address in a chain's first descriptor; the same of the k-th chain that was posted since the queue was placed. */
uint64_t chain_addr(const struct gq *q, uint16_t head);
uint64_t posted_addr(const struct gq *q, unsigned k);
/* Copy what the device wrote to a chain, up to len bytes; all of len must be there. */
void gather_chain(struct gq *q, uint16_t head, uint8_t *to, uint32_t len);

/* ---- the control queue ---- */
struct ctrl_cmd {
	uint8_t class, what;
	uint32_t len; /* of the data */
	const void *data;
	uint32_t room;	      /* for answer and result; 0: a byte, for the answer */
	uint32_t cut, cut_in; /* bytes of the first piece, of command and room; 0, or all: there is one piece */
};
/* Post a command to a queue. The address of the answer, all of whose bytes are CTRL_UNWRITTEN by now. */
uint64_t ctrl_post(struct bench *b, unsigned queue, const struct ctrl_cmd *c);
/* Have CTRLQ carry it out, and take all of the answer and result; returns how many bytes of them were used. */
uint32_t ctrl_run(struct bench *b, const struct ctrl_cmd *c, uint8_t *result);
/* One without a result: VIRTIO_NET_OK or VIRTIO_NET_ERR. */
uint8_t ctrl(struct bench *b, uint8_t class, uint8_t what, const void *data, uint32_t len);
#define CTRL_UNWRITTEN 77

/* ---- traffic ---- */
/* Post a transmit chain of header and frame, in pieces of the lengths given (0-terminated; the rest is one). */
uint16_t post_tx(struct bench *b, const struct virtio_net_hdr_mrg_rxbuf *h, const uint8_t *frame, uint32_t len,
		 const uint32_t *pieces);
void post_rx(struct bench *b, uint32_t len); /* one receive buffer */
/* A frame from the wire; commits if `last`. -EAGAIN: nothing was lent; else the answer (enum net_drop). */
int wire_frame(struct bench *b, const uint8_t *frame, size_t len, const struct frame_meta *m);
/* Read one received frame of any number of buffers into `to`; its length, or -1 if there is none. */
int receive(struct bench *b, uint8_t *to, size_t room, struct virtio_net_hdr_mrg_rxbuf *h);
void forget_sunk(struct bench *b);
/* A frame of `len` bytes for the NIC's address whose payload depends on `seed`. */
void make_frame(uint8_t *frame, size_t len, unsigned seed);

/* ---- outcomes ---- */
uint64_t dropped_tx(struct bench *b, enum net_drop why);
uint64_t dropped_rx(struct bench *b, enum net_drop why);
void expect_balanced(struct bench *b);
/* BROKEN: said once by NEEDS_RESET and a config interrupt, rings untouched from then on, all well after a reset. */
void expect_broken(struct bench *b, unsigned queue, enum virtq_fault why);
void expect_healthy(struct bench *b);

/* xorshift: the same numbers in each run. */
uint32_t rnd(uint32_t below);

#define MIN_FEATURES BIT(VIRTIO_F_VERSION_1)
#define ALL_FEATURES UINT64_MAX /* all that is offered */

#endif
