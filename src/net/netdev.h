/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kinds of backend: one record each; all records stand in one table that ctl/ hands over at start. A new backend is
 * one new file and one line in that table.
 */
#ifndef NET_NETDEV_H
#define NET_NETDEV_H

#include "base/opts.h"
#include "net/client.h"

/* Where the queues of a netdev are to run. */
struct netdev_place {
	/* NULL: err. Main thread; asked once for each queue, the first one first. */
	struct loop *(*loop)(const struct netdev_place *p, unsigned queue, struct error *err);
};

struct netdev_type {
	const char *name; /* "tap" */
	const char *help; /* one line */
	const struct opt *opts;
	size_t opts_size; /* of the structure that opts describes */
	/*
	 * Make the clients (usually one) of a netdev: open what is to be opened, net_client_add() each with name `id`
	 * on `loop`. opts stays the caller's (copy what is kept). On an error nothing is left. Main thread.
	 */
	int (*create)(const char *id, const void *opts, struct loop *loop, struct error *err);
	/* In place of it for a kind that may have several queues: each on a loop of its own. */
	int (*create_queues)(const char *id, const void *opts, const struct netdev_place *place, struct error *err);
	const char *unsupported; /* the kind exists in QEMU's dialect but not here: why, and what to use instead */
};

void netdev_types_init(const struct netdev_type *const *types);
const struct netdev_type *netdev_type_find(const char *name);
void netdev_help(FILE *out);

/* Create from a parsed list with type= and id= (taken here): "-netdev". Errors are prefixed with type and id. */
int netdev_add(struct opt_list *l, const struct netdev_place *place, struct error *err) __must_check;
/* The same with all queues on one loop. */
int netdev_add_on(struct opt_list *l, struct loop *loop, struct error *err) __must_check;
/*
 * Would netdev_add() take type, id and options, as far as that is to be known without making anything? The list stays.
 */
int netdev_check(const struct opt_list *l, struct error *err) __must_check;
int netdev_del(const char *id, struct error *err) __must_check;

#endif
