/* SPDX-License-Identifier: BSD-2-Clause */
/* Hubs for tests: ports with a fake (fake_net.h) at the end of each, all accounts held against their equation. */
#ifndef HUBBENCH_H
#define HUBBENCH_H

#include "../fake_net.h"
#include "net/hub.h"

#define ENDS 8

extern struct loop *loop;
extern struct fake *station[ENDS];    /* what is joined to the ports */
extern struct net_client *port[ENDS]; /* named p0, p1, ... */
extern struct batch batch;
extern uint8_t frames[NET_BATCH][NET_FRAME_MAX];

/* cmocka's */
int hub_setup(void **state);
int hub_teardown(void **state);

/* -netdev with these options. */
int try_port(const char *options, struct error *err);
void must(const char *fmt, ...) __printf(1, 2);
void refuse(const char *options, int code, const char *says);

/* Port i of a hub, with end i at it; `more`: further options, ",queue=1M". */
void add_end(unsigned i, int hub, const struct net_client_ops *ops, const char *more);
void setup_ends(unsigned n, const char *more);
void remove_port(unsigned i);

/* Each client's account balances, what crossed is the same on both sides, what hubs got is what they gave. */
void check_client(struct net_client *c, void *arg);
void check_accounts(void);

/* Send what is in `batch`; n plain frames, numbered from `first`. Returns how many were taken. */
unsigned send_batch(struct fake *f);
unsigned send_plain(struct fake *f, unsigned first, unsigned n, size_t len);
/* The frames that f got from `at` on are the plain ones numbered from `first`. */
void assert_got(struct fake *f, unsigned at, unsigned first, unsigned n, size_t len);

#endif
