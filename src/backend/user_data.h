/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path of user networking in vwire: between the peer's frames and the two rings that vwire-user shares.
 *
 * To vwire-user each frame is copied into the ring, with its offload metadata; the peer is done with it then. In the
 * account it is held, until the statistics say whether libslirp got it (out) or the frame check stopped it (dropped:
 * prefilter). When the ring is full the frames stay with the peer until half of it is free.
 *
 * From vwire-user each frame is copied from the ring into the window that the peer lends. While the peer has no room
 * they stay in the ring, and when that is full, in the sockets of the host. What vwire-user itself could not put there
 * is counted as queue-full.
 *
 * One copy each way is the price of the wall between the two processes. All functions: the client's loop.
 */
#ifndef BACKEND_USER_DATA_H
#define BACKEND_USER_DATA_H

#include "backend/user_progress.h"
#include "net/client.h"
#include "user/proto.h"

struct user_data {
	struct net_client *c;
	/* The owner's, set after user_data_init(). */
	void (*broken)(
		struct user_data *d); /* vwire-user broke a rule of the rings: end it. Called once for an attach */
	void (*suspect)(struct user_data *d); /* it holds frames and does nothing: see user_progress.h */
	void (*goes_on)(struct user_data *d); /* it does again */

	bool attached, running, told_broken;
	bool waiting; /* the peer waits for room */
	struct ring tx, rx;
	struct user_shm *shm;
	int wake_user;
	struct watch watch;
	uint64_t held_bytes;
	uint64_t passed, passed_bytes, filtered, overrun; /* statistics that are in the account */
	struct user_progress progress;
};

/* What an attach needs; memory and descriptors stay the owner's, until detached. */
struct user_data_memory {
	struct user_shm *shm;
	uint8_t *to_user, *to_vwire;
	int wake_user, wake_vwire;
};

void user_data_init(struct user_data *d, struct net_client *c);
void user_data_attach(struct user_data *d, const struct user_data_memory *m);
/* Account for all that is in the rings (peer-gone) and forget them. Harmless if not attached. */
void user_data_detach(struct user_data *d);

/* The client's operations. */
unsigned user_data_send(struct user_data *d, struct batch *b) __must_check;
void user_data_wake(struct user_data *d, unsigned what);
void user_data_start(struct user_data *d);
void user_data_quiesce(struct user_data *d);

#endif
