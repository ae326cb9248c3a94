/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of a learning switch (IEEE 802.1Q, 8.8, there the filtering database): behind which port an address was
 * seen last, in each VLAN by itself. Bounded, and made whole at the start. Entries age: one that was not seen for so
 * long is as good as none. All of it runs on the loop of the switch, but for making and freeing.
 *
 * A port that shows very many addresses cannot push out those of others: a part of the table is kept for ports that
 * have few. What is not learned is flooded, as on any switch whose table is full.
 */
#ifndef NET_FDB_H
#define NET_FDB_H

#include "base/util.h"

#define FDB_SIZE     4096 /* entries */
#define FDB_RESERVED 16	  /* entries that every port can have, if there are not too many ports */

struct fdb;

/* What the table knows of a port; embedded in it. */
struct fdb_port {
	unsigned count; /* entries */
};

struct fdb_entry {
	uint8_t mac[6];
	uint16_t vid;
	unsigned age; /* seconds */
};

struct fdb_stats {
	unsigned count;
	uint64_t moved;	  /* stations that showed up behind another port */
	uint64_t refused; /* addresses that were not learned: no room */
};

struct fdb *fdb_new(void); /* NULL: no memory */
void fdb_free(struct fdb *f);

void fdb_set_ageing(struct fdb *f, uint64_t ns);
void fdb_set_ports(struct fdb *f, unsigned n); /* how many share the table */

/* `mac` was seen behind `port` at time `now` (ns). A group address or zero is never learned. */
void fdb_learn(struct fdb *f, struct fdb_port *port, const uint8_t *mac, uint16_t vid, uint64_t now);
/* The port behind which `mac` is, NULL: not known. */
struct fdb_port *fdb_find(struct fdb *f, const uint8_t *mac, uint16_t vid, uint64_t now);
/* Forget what was learned on this port. */
void fdb_forget(struct fdb *f, struct fdb_port *port);

/* Each entry of this port, in no order. */
void fdb_each(const struct fdb *f, const struct fdb_port *port, uint64_t now,
	      void (*fn)(const struct fdb_entry *e, void *arg), void *arg);
void fdb_stats(const struct fdb *f, struct fdb_stats *s);

#endif
