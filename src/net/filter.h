/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filters: what stands inside a wire and looks at frames, holds them, changes them or leads them elsewhere.
 *
 *	netdev <-> | near  filter  far | <-> ... further filters ... <-> NIC (or hub port)
 *
 * A filter has two net clients for each queue of its netdev; a frame that enters one leaves by the other. Without a
 * filter the two ends are peers of each other, and so they are while a filter's status is off: it costs nothing then.
 * Links, carriers, offloads, start and quiesce go through it without its doing (net/client.h).
 *
 * There are two sorts:
 *  - one that watches (dump, mirror) has `see`. All frames go through at once; it hands the window of who takes them on
 *    to who gives them, so a frame from a tap still goes straight into guest memory.
 *  - one that interferes (buffer, impairment, redirector) has `send`. It decides on each frame, so none of it may lie
 *    in guest memory before: it lends no window, and who gives frames fills one in host memory (net/wire.c).
 * In directions that queue= leaves out both sorts hand everything through.
 *
 * A direction is as QEMU has it, from the netdev's point of view: rx goes to the netdev, tx comes from it. The filters
 * of a netdev are ordered from head, next to it, to tail.
 *
 * The account, at each of the two clients: a frame is rx.in and rx.out where it enters, tx.in and tx.out where it
 * leaves. What a filter holds or drops is held or dropped in the rx of the client where it entered; what it makes is
 * made there too.
 */
#ifndef NET_FILTER_H
#define NET_FILTER_H

#include "net/client.h"
#include "object/creatable.h"

enum filter_dir {
	FILTER_RX, /* to the netdev */
	FILTER_TX, /* from it */
};

struct filter_port;

/* One client, by the direction of the frames that enter there: end[FILTER_TX] is next to the netdev. */
struct filter_end {
	struct net_client c;
	struct filter_port *port;
	enum filter_dir dir;
	struct net_window lent; /* that whoever gives frames here has got */
};

/* A filter's place on one queue. */
struct filter_port {
	struct filter *filter;
	unsigned queue;
	unsigned careful; /* batches that are still to be handed on frame by frame: see fate() */
	struct filter_end end[2];
	void *own; /* the type's */
};

struct filter {
	struct creatable base;
	struct {
		char *netdev, *position;
		unsigned queue, insert;
		bool status;
	} prop;
	bool acts[2];	 /* in this direction */
	uint32_t passes; /* offloads that frames may need which it acts on: open() may leave some out */
	bool wants_fate; /* fate() is to be called: set by open() */
	bool in_wire;	 /* status, as it is */
	bool opened;
	struct list node; /* all filters; those of one netdev in their order */
	struct filter_port *port;
	unsigned n_ports;
};

/*
 * What became of frames that were handed on: of the last `of` that were seen, `dropped` were, for (one of them) `why`.
 */
struct filter_fate {
	unsigned of, dropped;
	enum net_drop why;
};

struct filter_class {
	struct creatable_class base;

	/* Main thread. Make what is the type's own, before any port is in a wire; what close() takes down. */
	int (*open)(struct filter *f, struct error *err);
	void (*close)(struct filter *f);
	/* The same for each port. */
	int (*port_open)(struct filter_port *p, struct error *err);
	void (*port_close)(struct filter_port *p);

	/* From here on: the loop of the port. Optional: frames flow, or nothing is to move until start. */
	void (*start)(struct filter_port *p);
	void (*quiesce)(struct filter_port *p);

	/* Frames enter, and see() follows for those of them that were taken: for who wants to know when they came. */
	void (*enter)(struct filter_port *p, enum filter_dir d);
	/* Look at a frame that goes through; its first `len` bytes count. */
	void (*see)(struct filter_port *p, enum filter_dir d, const struct iovec *iov, unsigned cnt, size_t len,
		    const struct frame_meta *m);
	/*
	 * After each see(), if the filter wants it. Exact for frames that come one at a time. Of a batch only the
	 * number of those that were dropped is known; after one with losses the next ones are handed on frame by frame.
	 */
	void (*fate)(struct filter_port *p, enum filter_dir d, const struct filter_fate *fate);

	/* As a client's send: take the first frames of the batch, say how many. */
	unsigned (*send)(struct filter_port *p, enum filter_dir d, struct batch *b);
	/* Frames in direction d, acting in it or not, may be handed on again. */
	void (*room)(struct filter_port *p, enum filter_dir d);
	/* It is about to be taken out of its wire: what it holds goes on now, or is dropped. */
	void (*leave)(struct filter_port *p);

	struct json_t *(*describe)(struct filter_port *p);
};

/* The type "netfilter", abstract; for the table of types. */
extern const struct type type_netfilter;

static inline struct filter *to_filter(struct object *o)
{
	return container_of(o, struct filter, base.obj);
}

static inline const struct filter_class *filter_class(const struct filter *f)
{
	return container_of(f->base.obj.class, struct filter_class, base.class);
}

/* The client where frames of direction d enter, and the one where they leave. */
static inline struct net_client *filter_in(struct filter_port *p, enum filter_dir d)
{
	return &p->end[d].c;
}

static inline struct net_client *filter_out(struct filter_port *p, enum filter_dir d)
{
	return &p->end[!d].c;
}

/* Put it into its wires or take it out of them, in its place among the others. Main thread. */
int filter_set_status(struct filter *f, bool on, struct error *err) __must_check;

#endif
