/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A net client at one end of a byte stream: what -netdev socket (listen, connect, fd), stream and passt have in common.
 * The connection is made and renewed on main (loop/connector.h), frames move on the client's loop (frame_stream.h).
 */
#ifndef BACKEND_STREAM_CLIENT_H
#define BACKEND_STREAM_CLIENT_H

#include "backend/frame_stream.h"
#include "loop/connector.h"

struct stream_client {
	struct net_client c;
	struct frame_stream frames;
	struct connector connector;
	int fd; /* main's: the connection, or -1 */
	/* On main: what to do instead of telling the connector, when the connection is gone and closed; may be NULL. */
	void (*gone)(struct stream_client *s, const char *why);

	/* its own */
	struct loop *main;
	struct post lost;
	const char *why; /* it was lost; the loop's until the post, then main's */
	char what[80];
};

/*
 * Fill in a client that its maker has zeroed: `ops` of the kind, which has STREAM_CLIENT_OPS. Its carrier is down.
 * -ENOMEM: nothing is left. Main thread, as all here.
 */
int stream_client_init(struct stream_client *s, const char *id, const struct net_client_ops *ops, struct loop *loop,
		       struct error *err) __must_check;
/* Free what init took; also of one that runs, after net_client_remove(). The structure is the maker's. */
void stream_client_end(struct stream_client *s);

/*
 * The whole of a kind that consists of a connection only: a client in the registry, whose connector has begun.
 * Destroyed by its ops. On an error nothing is left.
 */
struct stream_setup {
	const struct net_client_ops *ops;
	const struct addr *addr;
	bool server;
	uint64_t pause_ns;
};

int stream_client_create(const char *id, const struct stream_setup *how, struct loop *loop,
			 struct error *err) __must_check;

/* The connection is `fd` from now on, which belongs to the client. */
void stream_client_attach(struct stream_client *s, int fd);

unsigned stream_client_send(struct net_client *c, struct batch *b);
void stream_client_wake(struct net_client *c, unsigned what);
void stream_client_start(struct net_client *c);
void stream_client_quiesce(struct net_client *c);
void stream_client_parted(struct net_client *c);
struct json_t *stream_client_describe(struct net_client *c);
void stream_client_destroy(struct net_client *c); /* of stream_client_create() */

#define STREAM_CLIENT_OPS                                                                     \
	.send = stream_client_send, .wake = stream_client_wake, .start = stream_client_start, \
	.quiesce = stream_client_quiesce, .parted = stream_client_parted

static inline struct stream_client *to_stream_client(struct net_client *c)
{
	return container_of(c, struct stream_client, c);
}

#endif
