/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A delay line: frames that were copied, each with a time before which it does not go on; they go on in the order in
 * which they came. Its memory is taken when it is made.
 *
 * Times are those of the network: the host's clock, which goes on while the VM stands still, as the other end of a real
 * wire would. Only where a test steps the VM's clock by hand is that the network's clock too (clock_of_network()).
 *
 * A frame is held in the rx of the client where it entered, from delay_line_put() on. All on the loop of the two
 * clients, where nothing else is said.
 */
#ifndef NET_DELAY_LINE_H
#define NET_DELAY_LINE_H

#include "net/client.h"
#include "net/frameq.h"

#define DELAY_LINE_MIN FRAMEQ_MIN
#define DELAY_LINE_MAX FRAMEQ_MAX

struct delay_line {
	struct net_client *in, *out; /* where frames enter and leave */
	struct frameq *queue;
	uint64_t *when; /* of each frame in the queue, ns; a ring */
	uint32_t mask, first;
	struct timer timer;
	bool owes; /* the giver was refused a frame, and waits for a wake */
};

/* For `bytes` of frames (DELAY_LINE_MIN to DELAY_LINE_MAX), as many as fit. Main thread. -ENOMEM. */
int delay_line_init(struct delay_line *l, size_t bytes, struct net_client *in, struct net_client *out,
		    struct error *err) __must_check;
void delay_line_free(struct delay_line *l); /* harmless if it was not made; nothing is in it any more */

uint64_t delay_line_now(const struct delay_line *l); /* ns */

/*
 * Append a copy of frame f, which goes on at `when`, or right behind the one before it if that is later. False: no
 * room.
 */
bool delay_line_put(struct delay_line *l, const struct batch *b, const struct frame *f, uint64_t when);
/* The giver has to keep frames for want of room: it is woken when there is some. */
static inline void delay_line_refused(struct delay_line *l)
{
	l->owes = true;
}

/* Hand on what is due, as far as there is room behind, and wait for the next. Returns the number that went. */
unsigned delay_line_run(struct delay_line *l);
/* Nothing goes on by itself until delay_line_run(). */
void delay_line_stop(struct delay_line *l);
/* Hand on all that there is, due or not, as far as that goes; drop the rest. */
void delay_line_empty(struct delay_line *l, enum net_drop why);

#endif
