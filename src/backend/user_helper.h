/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One life of vwire-user, as vwire's main thread sees it: started, configured, running, dead.
 *
 * The conversation is a list of requests, made from struct user_net: the next goes out when the reply to the last has
 * come. The same code runs it at start (waiting for each reply, so that an option's error is the command's) and after
 * a death (by events, so that nothing waits). It is told to the owner by `event`.
 *
 * vwire-user is not trusted. Its messages are checked for size and order; the shared memory's data words belong to the
 * data path (user.c).
 */
#ifndef BACKEND_USER_HELPER_H
#define BACKEND_USER_HELPER_H

#include "backend/user_opts.h"
#include "backend/user_spawn.h"
#include "loop/loop.h"

enum user_event {
	USER_EVENT_READY, /* the network runs: attach to the rings */
	USER_EVENT_DEAD,  /* it ended, or broke a rule, or refused; `error` says what */
};

struct user_helper {
	struct user_net *net;
	struct loop *loop; /* main */
	void (*event)(struct user_helper *h, enum user_event e);
	void (*spawn)(struct user_helper *h, unsigned index, int fd); /* a connection to rule index; owns fd */

	struct user_child child;
	int ctl; /* -1: not running */
	struct watch watch;
	unsigned step; /* next request of the configuration */
	unsigned owed; /* replies */
	bool ready;
	struct user_reply last;
	struct error error;

	struct user_shm *shm;
	uint8_t *to_user, *to_vwire; /* rings' data */
	int wake_user, woken_user;   /* the pipe that wakes it: our end, its end */
	int wake_vwire;		     /* eventfd */
	uint32_t layers;
	char resolv[USER_RESOLV_MAX]; /* what it was told */
	uint32_t resolv_len;
};

void user_helper_init(struct user_helper *h, struct user_net *net, struct loop *main_loop);

/* Start it and send the first request; READY or DEAD follow. -errno: it could not be started, nothing follows. */
int user_helper_start(struct user_helper *h, struct error *err) __must_check;
/* The same, but wait for READY; no event is told. */
int user_helper_start_wait(struct user_helper *h, struct error *err) __must_check;
/*
 * End it and free what start made, except for the shared memory: that is user_helper_unmap()'s, when the data path has
 * let go. `how` (size bytes; NULL and 0: nobody asks) gets the text of how it ended.
 */
void user_helper_end(struct user_helper *h, char *how, size_t size);
void user_helper_unmap(struct user_helper *h);

/*
 * Ask a running one and wait for its reply. USER_FWD_ADD, USER_FWD_DEL. If it ends or breaks a rule meanwhile, DEAD is
 * told before this returns.
 */
int user_helper_ask(struct user_helper *h, const struct user_msg *m, struct error *err) __must_check;
/* The last reply was to this rule: if its port was left open, remember and say what it became. */
void user_helper_picked(const struct user_helper *h, struct user_fwd_rule *r);
/* resolv.conf may have changed: tell it. */
void user_helper_resolv(struct user_helper *h);

#endif
