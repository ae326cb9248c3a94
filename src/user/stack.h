/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libslirp and the two rings: the network that the guest sees.
 *
 * One turn of vwire-user's loop:
 *
 *	stack_input()	frames from the guest, up to a budget: copied out of shared memory, checked, given to libslirp
 *	stack_fill()	the descriptors that libslirp wants to have polled
 *	poll
 *	stack_poll()	libslirp works on what is ready; its timers
 *
 * Frames towards the guest go into the ring from inside these calls and are shown to vwire by stack_flush(), once a
 * turn. Back-pressure: while the ring has no room for two large frames, sockets are not read, so what the guest does
 * not take stays in the host's socket buffers. Answers to what the guest itself sends still have that room; what does
 * not fit even then is counted as overrun and is repeated by TCP.
 */
#ifndef USER_STACK_H
#define USER_STACK_H

#include <poll.h>
#include <slirp/libslirp.h>

#include "base/error.h"
#include "user/toguest.h"

#define STACK_TIMERS 4
#define STACK_FDS    4096 /* more than the limit of descriptors, whatever the forwards */

struct stack_timer {
	SlirpTimerId id;
	void *cb_opaque;
	int64_t expires; /* ms; -1: not armed */
	bool used;
};

struct stack {
	Slirp *slirp;
	struct user_shm *shm;
	struct ring in, out; /* from and to the guest */
	int wake_vwire;	     /* eventfd */
	struct check check;
	struct toguest toguest;
	struct stack_timer timer[STACK_TIMERS];
	struct pollfd *poll; /* the caller's: libslirp's are appended from poll_base on */
	unsigned poll_base, poll_n, poll_max;
	bool known[STACK_FDS];		   /* the descriptors that libslirp has registered */
	bool choked;			   /* no room towards the guest: sockets are not read */
	int64_t due;			   /* ms: when libslirp wants to be called whatever happens */
	uint8_t frame[RING_FRAME_MAX + 1]; /* the guest's frame in private memory */
};

/* Make libslirp by the configuration, which was checked. The strings are copied. */
int stack_init(struct stack *s, const struct user_config *c, struct error *err) __must_check;

/* Returns 0 or an errno value with the text. */
/* A host port of 0 becomes one that is free. */
int stack_add_fwd(struct stack *s, struct user_fwd *f, struct error *err) __must_check;
int stack_del_fwd(struct stack *s, const struct user_fwd *f, struct error *err) __must_check;
/* Connections of the guest to that address go to the UNIX socket at `path`. */
int stack_add_guestfwd(struct stack *s, const struct user_guestfwd *f, const char *path,
		       struct error *err) __must_check;

/* Take a budget of frames. True: there may be more. */
bool stack_input(struct stack *s);
/* Append libslirp's descriptors to the poll table and return the time to sleep at most in ms (-1: no limit). */
int stack_fill(struct stack *s);
/* After poll: `ready` is its result. */
void stack_poll(struct stack *s, int ready);
/* Show vwire what there is and wake it if it sleeps. */
void stack_flush(struct stack *s);

int64_t stack_now_ms(void);

#endif
