/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract of net clients: the same tests for every kind of backend and filter. */
#ifndef SUITE_H
#define SUITE_H

#include "bench.h"

struct row {
	const char *type;   /* there may be several of one */
	const char *netdev; /* options, with id=net0; or make, unmake, turn (bench.h) */
	struct net_client *(*make)(struct bench *b);
	void (*unmake)(struct bench *b);
	bool (*turn)(struct bench *b);
	const char *object;		  /* of a filter: its options */
	void (*prepare)(struct bench *b); /* and what it needs */
	void (*after)(struct bench *b);	  /* what the far end needs */
	size_t largest_ping;
	size_t waiting;	      /* answers of 64 bytes that surely wait in it while the NIC has no room */
	void (*before)(void); /* what is there before it is made */
	void (*end)(void);    /* and goes after it */
};

/* Run all tests; the number of those that failed. */
int suite_run(const struct row *r);

#endif
