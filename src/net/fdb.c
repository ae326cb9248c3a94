/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hash table with chains. The hash is keyed by chance, so that a guest cannot choose addresses that make one long
 * chain. Old entries are freed when they are met, and all of them when there is no room, once a second at most: an idle
 * switch needs no timer.
 *
 * Room. A port with fewer than `reserved` entries gets one while there is any; the others stop when no more than
 * ports * reserved are free. Ports below the limit need no more than that in all, so they always find one.
 */
#include "net/fdb.h"

#include <stdlib.h>
#include <sys/random.h>

#include "net/mac.h"

#define NONE	 UINT16_MAX
#define SWEEP_NS NSEC_PER_SEC

struct node {
	uint64_t key; /* address, and the VLAN above it */
	struct fdb_port *port;
	uint64_t seen; /* ns */
	uint16_t next; /* in the chain, or on the free list */
};

struct fdb {
	uint64_t ageing, last_sweep;
	uint64_t odd[2]; /* of the hash */
	unsigned ports, reserved;
	unsigned count;
	uint64_t moved, refused;
	uint16_t free;
	uint16_t head[FDB_SIZE];
	struct node node[FDB_SIZE];
};

struct fdb *fdb_new(void)
{
	struct fdb *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	if (getrandom(f->odd, sizeof(f->odd), GRND_NONBLOCK) < 0)
		f->odd[0] = f->odd[1] = (uintptr_t)f * 0x9e3779b97f4a7c15ULL;
	f->odd[0] |= 1;
	f->odd[1] |= 1;
	for (unsigned i = 0; i < FDB_SIZE; i++) {
		f->head[i] = NONE;
		f->node[i].next = (uint16_t)(i + 1 < FDB_SIZE ? i + 1 : NONE);
	}
	fdb_set_ports(f, 1);
	return f;
}

void fdb_free(struct fdb *f)
{
	free(f);
}

void fdb_set_ageing(struct fdb *f, uint64_t ns)
{
	f->ageing = ns;
}

void fdb_set_ports(struct fdb *f, unsigned n)
{
	f->ports = MAX(n, 1u);
	f->reserved = MIN((unsigned)FDB_RESERVED, FDB_SIZE / 2 / f->ports);
}

static uint64_t key_of(const uint8_t *mac, uint16_t vid)
{
	return mac_key(mac) | (uint64_t)vid << 48;
}

static uint16_t *chain_of(struct fdb *f, uint64_t key)
{
	uint64_t h = key * f->odd[0];

	h = (h ^ h >> 32) * f->odd[1];
	return &f->head[h >> 52];
}

static bool is_old(const struct fdb *f, const struct node *n, uint64_t now)
{
	return now > n->seen && now - n->seen > f->ageing;
}

/* Free the node that *at names. */
static void release(struct fdb *f, uint16_t *at)
{
	uint16_t i = *at;
	struct node *n = &f->node[i];

	*at = n->next;
	n->port->count--;
	n->port = NULL;
	n->next = f->free;
	f->free = i;
	f->count--;
}

/* What in the table is old (port NULL), or of this port. */
static void release_all(struct fdb *f, const struct fdb_port *port, uint64_t now)
{
	for (unsigned i = 0; i < FDB_SIZE; i++) {
		for (uint16_t *at = &f->head[i]; *at != NONE;) {
			struct node *n = &f->node[*at];

			if (port ? n->port == port : is_old(f, n, now))
				release(f, at);
			else
				at = &n->next;
		}
	}
}

static struct node *find(struct fdb *f, uint64_t key, uint64_t now)
{
	for (uint16_t *at = chain_of(f, key); *at != NONE;) {
		struct node *n = &f->node[*at];

		if (is_old(f, n, now)) {
			release(f, at);
			continue;
		}
		if (n->key == key)
			return n;
		at = &n->next;
	}
	return NULL;
}

static bool has_room(const struct fdb *f, const struct fdb_port *port)
{
	unsigned left = FDB_SIZE - f->count;

	return port->count < f->reserved ? left > 0 : left > f->ports * f->reserved;
}

static bool make_room(struct fdb *f, const struct fdb_port *port, uint64_t now)
{
	if (has_room(f, port))
		return true;
	if (now - f->last_sweep < SWEEP_NS)
		return false;
	f->last_sweep = now;
	release_all(f, NULL, now);
	return has_room(f, port);
}

static void move(struct fdb *f, struct node *n, struct fdb_port *to)
{
	n->port->count--;
	to->count++;
	n->port = to;
	f->moved++;
}

static void insert(struct fdb *f, uint64_t key, struct fdb_port *port, uint64_t now)
{
	uint16_t *chain = chain_of(f, key), i = f->free;
	struct node *n = &f->node[i];

	f->free = n->next;
	*n = (struct node){ .key = key, .port = port, .seen = now, .next = *chain };
	*chain = i;
	port->count++;
	f->count++;
}

void fdb_learn(struct fdb *f, struct fdb_port *port, const uint8_t *mac, uint16_t vid, uint64_t now)
{
	uint64_t key = key_of(mac, vid);
	struct node *n;

	if (mac_is_multicast(mac) || !mac_key(mac))
		return;
	n = find(f, key, now);
	if (n) {
		if (unlikely(n->port != port))
			move(f, n, port);
		n->seen = now;
		return;
	}
	if (!make_room(f, port, now)) {
		f->refused++;
		return;
	}
	insert(f, key, port, now);
}

struct fdb_port *fdb_find(struct fdb *f, const uint8_t *mac, uint16_t vid, uint64_t now)
{
	struct node *n = mac_is_multicast(mac) ? NULL : find(f, key_of(mac, vid), now);

	return n ? n->port : NULL;
}

void fdb_forget(struct fdb *f, struct fdb_port *port)
{
	if (port->count)
		release_all(f, port, 0);
}

void fdb_each(const struct fdb *f, const struct fdb_port *port, uint64_t now,
	      void (*fn)(const struct fdb_entry *e, void *arg), void *arg)
{
	for (unsigned i = 0; i < FDB_SIZE; i++) {
		const struct node *n = &f->node[i];
		struct fdb_entry e;

		if (n->port != port || is_old(f, n, now))
			continue;
		memcpy(e.mac, &n->key, sizeof(e.mac));
		e.vid = (uint16_t)(n->key >> 48);
		e.age = (unsigned)(now > n->seen ? (now - n->seen) / NSEC_PER_SEC : 0);
		fn(&e, arg);
	}
}

void fdb_stats(const struct fdb *f, struct fdb_stats *s)
{
	*s = (struct fdb_stats){ f->count, f->moved, f->refused };
}
