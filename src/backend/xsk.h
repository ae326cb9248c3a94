/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AF_XDP sockets (the kernel's Documentation/networking/af_xdp.rst, <linux/if_xdp.h>): a socket, its umem and its four
 * rings, and the XDP program that sends a queue's frames there.
 *
 * Made from the kernel's interface alone: libxdp leaves two descriptors open for each socket that it closes, and its
 * program stays on the interface when the process is killed. Ours is held by a BPF link, which goes with its
 * descriptor.
 */
#ifndef BACKEND_XSK_H
#define BACKEND_XSK_H

#include <linux/if_xdp.h>

#include "base/error.h"

#define XSK_CHUNK  4096u
#define XSK_CHUNKS 1024u /* for receiving, and as many for sending; a power of 2: the rings' size */
#define XSK_UMEM   (2ull * XSK_CHUNKS * XSK_CHUNK)

/* One of the rings. Who fills it moves `producer`, who empties it `consumer`; both count on, modulo 2^32. */
struct xsk_ring {
	uint32_t *producer, *consumer, *flags; /* shared with the kernel */
	void *entries;			       /* uint64_t in fill and comp, struct xdp_desc in rx and tx */
	uint32_t mine;			       /* our own index */
	void *map;
	size_t map_size;
};

struct xsk {
	int fd;
	uint8_t *umem;
	struct xsk_ring fill, comp, rx, tx;
};

/* Entries that we may take (rx, comp), or free places (fill, tx). The owning loop. */
uint32_t xsk_ready(const struct xsk_ring *r);
uint32_t xsk_room(const struct xsk_ring *r);
/* The entries that are next, by their number from the first one on. */
struct xdp_desc *xsk_desc(const struct xsk_ring *r, uint32_t i);
uint64_t *xsk_addr(const struct xsk_ring *r, uint32_t i);
/* n entries were taken, or filled: the kernel may see it. */
void xsk_taken(struct xsk_ring *r, uint32_t n);
void xsk_filled(struct xsk_ring *r, uint32_t n);
/* The kernel wants a system call to go on with this ring. */
bool xsk_needs_wakeup(const struct xsk_ring *r);

/*
 * Make the umem and the rings of a socket; fd is an open unbound one that is taken over, or -1. On an error xsk_close()
 * is still due. Main thread.
 */
int xsk_open(struct xsk *x, int fd, struct error *err) __must_check;
/* Bind to a queue of an interface; `flags` are XDP_COPY and the like. -errno. */
int xsk_bind(struct xsk *x, int ifindex, unsigned queue, unsigned flags);
void xsk_close(struct xsk *x);

/* ---- the program ---- */

struct xdp_prog;

/*
 * The program on the interface that gives each queue's frames to the socket in that slot of its map, and to the host's
 * stack where the slot is empty. One an interface, shared and counted. xdp_flags: XDP_FLAGS_SKB_MODE or _DRV_MODE.
 * -errno in *error. Main thread.
 */
struct xdp_prog *xdp_prog_get(int ifindex, unsigned xdp_flags, int *error);
void xdp_prog_put(struct xdp_prog *p); /* the last one takes it off; NULL is fine */
/* -errno. */
int xdp_prog_enter(struct xdp_prog *p, unsigned queue, int fd);
/* Put a socket into a slot of a pinned map of somebody else's. -errno. */
int xdp_map_enter(const char *path, unsigned slot, int fd);

#endif
