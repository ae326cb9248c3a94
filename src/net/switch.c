/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hub that does not give everything to everybody: it learns addresses (fdb.h), or heeds VLANs (vlan.h), or both.
 *
 * A batch is taken in chunks. First each frame of a chunk is judged: its Ethernet header is copied to host memory, so
 * that what is judged is what leaves, and the rest is referred to where it lies. Then each port gets one batch of the
 * frames that are for it, each with the head that it leaves that port in. Nothing of a chunk is kept when it is done.
 *
 * A frame that no port has room for stays with the giver only if no port has room for anything (`cut`), as in a hub:
 * else one slow station would stop the frames to all others.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/iov.h"
#include "net/hub_priv.h"
#include "net/mac.h"
#include "net/vlan.h"

#define HEAD_MAX (ETH_HDR_LEN + VLAN_TAG_LEN)
#define ARENA	 (2 * (NET_IOV_MAX + 2))

/* A frame of the chunk. */
struct judged {
	struct vlan_head head;
	struct frame_meta meta;
	uint32_t iov;  /* the head's slot in the arena */
	uint32_t cnt;  /* pieces with the head */
	uint32_t len;  /* as it came */
	uint32_t rest; /* bytes behind the head */
	enum net_drop why;
	const struct hub_port *to; /* NULL: all that carry its VLAN */
	unsigned targets;	   /* ports that it was given to */
};

struct hub_switch {
	bool learning, vlans;
	struct fdb *fdb;
	struct judged f[NET_BATCH];
	unsigned n;    /* frames of the chunk */
	unsigned used; /* slots of the arena */
	bool flat_used;
	struct batch out; /* for one port */
	struct iovec arena[ARENA];
	uint8_t flat[NET_FRAME_MAX]; /* of a frame of too many pieces */
};

struct hub_switch *switch_new(void)
{
	struct hub_switch *sw = calloc(1, sizeof(*sw));

	if (!sw)
		return NULL;
	sw->out.iov = sw->arena;
	sw->fdb = fdb_new();
	if (sw->fdb)
		return sw;
	free(sw);
	return NULL;
}

void switch_free(struct hub_switch *sw)
{
	if (sw)
		fdb_free(sw->fdb);
	free(sw);
}

void switch_learn(struct hub_switch *sw, uint64_t ageing)
{
	if (!ageing)
		return;
	sw->learning = true;
	fdb_set_ageing(sw->fdb, ageing);
}

void switch_heed_vlans(struct hub_switch *sw)
{
	sw->vlans = true;
}

void switch_ports(struct hub_switch *sw, unsigned n)
{
	fdb_set_ports(sw->fdb, n);
}

void switch_forget(struct hub_switch *sw, struct hub_port *p)
{
	fdb_forget(sw->fdb, &p->fdb);
}

/* ---- judging ---- */

static enum net_drop judge_vlan(struct hub_switch *sw, const struct hub_port *from, const struct frame *f,
				const uint8_t *bytes, size_t have, struct vlan_head *h)
{
	if (sw->vlans)
		return vlan_enter(&from->vlan, bytes, have, f, h);
	h->vid = 0; /* a tag is a part of the frame like any other */
	h->tagged = h->twice = false;
	memcpy(h->plain, bytes, ETH_HDR_LEN);
	return NET_OK;
}

/* Learn where it comes from, and find out where it goes. */
static enum net_drop judge_addrs(struct hub_switch *sw, struct hub_port *from, struct judged *j, uint64_t now)
{
	struct fdb_port *to;

	j->to = NULL;
	if (!sw->learning)
		return NET_OK;
	fdb_learn(sw->fdb, &from->fdb, j->head.plain + 6, j->head.vid, now);
	to = fdb_find(sw->fdb, j->head.plain, j->head.vid, now);
	if (to)
		j->to = container_of(to, struct hub_port, fdb);
	return j->to == from ? NET_DROP_SAME_PORT : NET_OK;
}

/* ---- the chunk ---- */

/* Refer to what lies behind the frame's head. False: there is no place for it in this chunk. */
static bool refer(struct hub_switch *sw, struct judged *j, const struct batch *b, const struct frame *f)
{
	struct iov_cur cur = iov_cur(frame_iov(b, f), f->cnt);
	struct iovec *rest = &sw->arena[j->iov + 1];

	iov_skip(&cur, f->len - j->rest);
	if (f->cnt < NET_IOV_MAX) {
		j->cnt = 1 + iov_refer(&cur, j->rest, rest, f->cnt);
		return true;
	}
	if (sw->flat_used)
		return false;
	sw->flat_used = true;
	*rest = (struct iovec){ sw->flat, iov_get(&cur, sw->flat, j->rest) };
	j->cnt = 2;
	return true;
}

/* False: no place in this chunk, nothing happened. */
static bool add(struct hub_switch *sw, struct hub_port *from, const struct batch *b, const struct frame *f,
		uint64_t now)
{
	struct judged *j = &sw->f[sw->n];
	uint8_t bytes[HEAD_MAX];
	size_t have;

	if (sw->used + f->cnt + 2 > ARENA)
		return false;
	have = iov_read_at(frame_iov(b, f), f->cnt, 0, bytes, MIN(f->len, (uint32_t)HEAD_MAX));
	j->why = have < ETH_HDR_LEN ? NET_DROP_TOO_SHORT : judge_vlan(sw, from, f, bytes, have, &j->head);
	j->len = f->len;
	j->targets = 0;
	if (!j->why) {
		j->meta = f->meta;
		j->iov = sw->used + 1;
		j->rest = f->len - vlan_head_len(&j->head);
		if (!refer(sw, j, b, f))
			return false;
		sw->used += 1 + j->cnt;
		j->why = judge_addrs(sw, from, j, now);
	}
	sw->n++;
	return true;
}

/* As many frames of the batch, from `first` on, as there is a place for: one at least. */
static void fill(struct hub_switch *sw, struct hub_port *from, const struct batch *b, unsigned first, uint64_t now)
{
	sw->n = sw->used = 0;
	sw->flat_used = false;
	for (unsigned i = first; i < b->n && add(sw, from, b, &b->frame[i], now); i++)
		;
}

/* ---- giving ---- */

static bool is_for(const struct hub_switch *sw, const struct judged *j, const struct hub_port *p)
{
	if (j->why)
		return false;
	if (j->to && j->to != p)
		return false;
	return !sw->vlans || vlan_may_leave(&p->vlan, &j->head);
}

static void put_out(struct hub_switch *sw, const struct hub_port *p, unsigned i)
{
	struct judged *j = &sw->f[i];
	struct frame *f = &sw->out.frame[sw->out.n++];
	struct iovec *head = &sw->arena[j->iov];

	*f = (struct frame){ .meta = j->meta, .iov = j->iov, .cnt = j->cnt, .token = i };
	*head = sw->vlans ? vlan_leave(&p->vlan, &j->head, &f->meta) : (struct iovec){ j->head.plain, ETH_HDR_LEN };
	f->len = (uint32_t)head->iov_len + j->rest;
	j->targets++;
}

/* Returns the end of what the port took: no frame of the chunk from there on. */
static unsigned give(struct hub_switch *sw, struct hub_port *p)
{
	sw->out.n = 0;
	for (unsigned i = 0; i < sw->n; i++) {
		if (is_for(sw, &sw->f[i], p))
			put_out(sw, p, i);
	}
	p->took = sw->out.n ? hub_give(p, &sw->out) : 0;
	return p->took ? sw->out.frame[p->took - 1].token + 1 : 0;
}

/* ---- accounts: of the chunk's first `cut` frames ---- */

static void account_in(struct hub_switch *sw, struct hub_port *from, unsigned cut)
{
	uint64_t out = 0, made = 0, bytes = 0;

	for (unsigned i = 0; i < cut; i++) {
		const struct judged *j = &sw->f[i];

		if (j->why || !j->targets) {
			net_drop_rx(&from->c, j->why ? j->why : NET_DROP_NO_PEER);
			continue;
		}
		out += j->targets;
		made += j->targets - 1;
		bytes += (uint64_t)j->len * j->targets;
	}
	counter_add(&from->c.rx.made, made);
	net_count_rx_out(&from->c, (unsigned)out, bytes);
}

static void account_out(struct hub_switch *sw, struct hub_port *p, unsigned cut)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cut; i++)
		n += is_for(sw, &sw->f[i], p);
	net_count_tx_in(&p->c, n);
	counter_add(&p->c.tx.dropped[NET_DROP_QUEUE_FULL], n - p->took);
}

/* ---- a batch ---- */

static bool takes_part(const struct hub_port *p, const struct hub_port *from)
{
	return p != from && net_far_end(&p->c);
}

/* Give the chunk away; returns how much of it is done with. */
static unsigned forward(struct hub_switch *sw, struct hub_port *from)
{
	unsigned cut = 0, ports = 0, full = 0;
	struct hub_port *p;

	list_for_each(p, &from->hub->ports, node) {
		if (!takes_part(p, from))
			continue;
		cut = MAX(cut, give(sw, p));
		ports++;
		full += !frameq_has_room(p->queue);
	}
	if (!ports || full < ports)
		cut = sw->n;
	account_in(sw, from, cut);
	list_for_each(p, &from->hub->ports, node) {
		if (takes_part(p, from))
			account_out(sw, p, cut);
	}
	return cut;
}

unsigned switch_send(struct hub_switch *sw, struct hub_port *from, struct batch *b)
{
	uint64_t now = sw->learning ? clock_now(CLOCK_HOST_NS) : 0;
	unsigned done = 0, cut;

	while (done < b->n) {
		fill(sw, from, b, done, now);
		cut = forward(sw, from);
		done += cut;
		if (cut == sw->n)
			continue;
		from->owes = true;
		break;
	}
	return done;
}

/* ---- what is to be said ---- */

static void add_entry(const struct fdb_entry *e, void *arg)
{
	char mac[MAC_TEXT];

	snprintf(mac, sizeof(mac), MAC_FMT, MAC_ARGS(e->mac));
	json_array_append_new(arg, json_pack("{s:s, s:i, s:i}", "mac", mac, "vlan", e->vid, "age", (int)e->age));
}

static void describe_vlan(const struct vlan_port *v, json_t *to)
{
	static const char *const names[] = { "none", "access", "trunk" };

	json_object_set_new(to, "vlan-mode", json_string(names[v->mode]));
	if (v->tag)
		json_object_set_new(to, "tag", json_integer(v->tag));
}

void switch_describe(struct hub_switch *sw, struct hub_port *p, json_t *to)
{
	json_t *table = json_array();
	struct fdb_stats s;

	if (sw->vlans)
		describe_vlan(&p->vlan, to);
	json_object_set_new(to, "learning", json_boolean(sw->learning));
	if (sw->learning) {
		fdb_stats(sw->fdb, &s);
		fdb_each(sw->fdb, &p->fdb, clock_now(CLOCK_HOST_NS), add_entry, table);
		json_object_set_new(to, "table",
				    json_pack("{s:i, s:I, s:I}", "entries", (int)s.count, "moved", (json_int_t)s.moved,
					      "refused", (json_int_t)s.refused));
		json_object_set(to, "addresses", table);
	}
	json_decref(table);
}
