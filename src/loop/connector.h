/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection and its renewal: for who speaks over one byte stream at a time, whichever end opens it.
 *
 * A server listens for as long as it lives and serves one client; who comes meanwhile waits in the kernel's short queue
 * and is served next. A client connects at once; with a pause given it tries again after each failure and each loss,
 * else once, and then connector_open() waits for the outcome. A descriptor from outside is a connection that cannot be
 * renewed, or a listening socket.
 *
 * Everything here runs on one loop, where waiting is harmless: main's. The owner gets descriptors, uses them on
 * whatever loop, closes them, and says so.
 */
#ifndef LOOP_CONNECTOR_H
#define LOOP_CONNECTOR_H

#include "base/addr.h"
#include "loop/loop.h"

enum connector_state {
	CONNECTOR_OVER, /* not opened; or lost, and there is no other */
	CONNECTOR_LISTENING,
	CONNECTOR_CONNECTING,
	CONNECTOR_PAUSED, /* until the next attempt to connect */
	CONNECTOR_UP
};

struct connector {
	/* the owner's, set before connector_open() */
	struct loop *loop;
	struct addr addr;
	bool server;
	uint64_t pause_ns; /* of a client, before it tries again; 0: it does not */
	const char *what;  /* in messages: "netdev net0"; stays there */
	/* A connection, non-blocking, which is the callee's now. Called from connector_open() too. */
	void (*up)(struct connector *k, int fd);

	/* to be read */
	enum connector_state state;
	struct endpoint here;  /* where it listens; of a client: unset */
	struct endpoint there; /* the other end, while up */
	counter connections;

	/* its own */
	int listener, trial;
	unsigned candidate;
	bool complained; /* of this row of failures */
	char why[128];	 /* the last attempt failed */
	struct watch watch;
	struct timer timer;
	uint64_t file[2]; /* device and inode of the listener's socket file */
};

/*
 * Begin. Errors name neither option nor value where the caller knows better. -ETIMEDOUT: a client without a pause had
 * no answer. After an error nothing is left.
 */
int connector_open(struct connector *k, struct error *err) __must_check;
/*
 * A server's first client: wait for it. Only before the loop runs. -errno if no connection can be accepted at all; then
 * it still listens.
 */
int connector_wait(struct connector *k, struct error *err) __must_check;
/*
 * The connection that `up` gave is closed, for this reason (NULL: not to be talked of): get another one, if that may
 * be.
 */
void connector_lost(struct connector *k, const char *why);
/* Stop; removes the file of a listening socket. The connection itself is the owner's. Harmless if not opened. */
void connector_close(struct connector *k);

/* What to tell a person: "listening on tcp:127.0.0.1:1234", "tcp:127.0.0.1:1234", "connecting", "error: ...". */
void connector_text(const struct connector *k, char *buf, size_t size);

#endif
