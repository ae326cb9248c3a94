/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hub that may learn and heed VLANs, against a model of what such a switch does: which port gets which frame, with
 * which tag, in which order. Ports are slow, lose their links and their peers meanwhile. What a port gets is what the
 * model gave it, in order; all of it, where nothing could be lost. The accounts after each operation.
 *
 * Input: one byte: ports, learning; one or two a port: mode, tag, trunks; then operations.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../fake_net.h"
#include "base/wirefmt.h"
#include "net/frameq.h"
#include "net/hub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORTS	 6
#define STATIONS 8
#define VIDS	 8
#define OPS	 400
#define EXPECTED 65536
#define BATCH	 16

static const uint16_t vids[VIDS] = { 0, 1, 2, 10, 20, 63, 64, 4094 };

struct expected {
	uint32_t seq;
	int tci; /* -1: no tag */
	uint16_t csum_start;
	uint32_t len;
	bool twice;
};

struct model_port {
	struct fake *f;
	struct net_client *c;
	struct hub_port_config cfg;
	bool carries[VIDS];
	bool lossy; /* something may have been lost */
	bool up, joined;
	struct expected *want;
	unsigned n_want, n_met;
};

static struct loop *loop;
static struct model_port port[PORTS];
static unsigned ports;
static bool learning, vlans;
static int behind[VIDS][STATIONS]; /* port of a station, -1: not known */
static uint32_t seq;

static const uint8_t *in;
static size_t left;

static uint8_t next(void)
{
	if (!left)
		return 0;
	left--;
	return *in++;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* ---- the model ---- */

struct sent {
	unsigned from, src, dst; /* dst == STATIONS: everybody; above: a group */
	int tci;
	bool twice; /* behind the tag there is another, or the first bytes of one */
	uint32_t seq, len;
	struct frame_meta meta;
};

static unsigned head_len(const struct sent *s)
{
	return s->tci >= 0 ? 18 : 14;
}

/* The index of the VLAN that the frame belongs to, -1: it is refused. */
static int enter(const struct sent *s)
{
	const struct model_port *p = &port[s->from];
	unsigned vid = s->tci >= 0 ? s->tci & 0xfff : 0;

	if (!vlans)
		return 0;
	if (p->cfg.vlan.mode == VLAN_ACCESS && (vid || s->twice))
		return -1;
	if (!vid)
		vid = p->cfg.vlan.tag;
	if (s->meta.needs_csum && s->meta.csum_start < head_len(s))
		return -1;
	for (int i = 0; i < VIDS; i++) {
		if (vids[i] == vid)
			return p->carries[i] ? i : -1;
	}
	return -1;
}

static int leave(const struct model_port *p, const struct sent *s, int vlan)
{
	if (!vlans || !vids[vlan])
		return s->tci;
	if (p->cfg.vlan.mode == VLAN_ACCESS || vids[vlan] == p->cfg.vlan.tag)
		return -1;
	return (s->tci >= 0 ? s->tci & 0xf000 : 0) | vids[vlan];
}

static void expect(struct model_port *p, const struct sent *s, int vlan)
{
	int tci = leave(p, s, vlan), shift = ((tci >= 0) - (s->tci >= 0)) * 4;
	struct expected *e = &p->want[p->n_want++];

	check(p->n_want < EXPECTED, "the test's own limit");
	*e = (struct expected){ s->seq, tci, s->meta.needs_csum ? (uint16_t)(s->meta.csum_start + shift) : 0,
				s->len + (uint32_t)shift, s->twice };
}

static void model(const struct sent *s)
{
	int vlan = enter(s), to = -1;

	if (vlan < 0)
		return;
	if (learning) {
		behind[vlan][s->src] = (int)s->from;
		to = s->dst < STATIONS ? behind[vlan][s->dst] : -1;
	}
	if (to == (int)s->from)
		return;
	for (unsigned i = 0; i < ports; i++) {
		struct model_port *p = &port[i];

		if (i == s->from || !p->joined || (to >= 0 ? to != (int)i : vlans && !p->carries[vlan]))
			continue;
		if (!s->twice || leave(p, s, vlan) >= 0)
			expect(p, s, vlan);
	}
}

static void forget(unsigned i)
{
	for (unsigned v = 0; v < VIDS; v++) {
		for (unsigned k = 0; k < STATIONS; k++) {
			if (behind[v][k] == (int)i)
				behind[v][k] = -1;
		}
	}
}

/* ---- what came ---- */

static bool is_it(const struct fake_frame *g, const struct expected *e)
{
	size_t at = e->tci >= 0 ? 18 : 14;

	if (g->len != e->len || get32(g->bytes + at) != e->seq ||
	    get16(g->bytes + at - 2) != (e->twice ? ETH_VLAN : 0x88b5))
		return false;
	if (e->tci >= 0 && (get16(g->bytes + 12) != ETH_VLAN || get16(g->bytes + 14) != e->tci))
		return false;
	for (size_t i = at + 4; i < g->len; i++) {
		if (g->bytes[i] != (uint8_t)(e->seq + i - at))
			return false;
	}
	return !e->csum_start || g->meta.csum_start == e->csum_start;
}

static void look(struct model_port *p)
{
	for (unsigned i = 0; i < p->f->n_got; i++) {
		while (p->n_met < p->n_want && !is_it(&p->f->got[i], &p->want[p->n_met])) {
			check(p->lossy, "a frame is missing, or is not as it should be");
			p->n_met++;
		}
		check(p->n_met < p->n_want, "a frame that should not have come");
		p->n_met++;
	}
	fake_forget(p->f);
}

static void check_client(struct net_client *c, void *arg)
{
	(void)arg;
	check(net_account_balanced(&c->tx) && net_account_balanced(&c->rx), "the account does not balance");
	check(!c->peer || counter_get(&c->tx.out) == counter_get(&c->peer->rx.in), "not what the peer got");
}

static void check_all(void)
{
	uint64_t sum = 0;

	net_client_each(check_client, NULL);
	for (unsigned i = 0; i < ports; i++) {
		look(&port[i]);
		sum += counter_get(&port[i].c->rx.out) - counter_get(&port[i].c->tx.in);
	}
	check(sum == 0, "the hub gave another number of frames than it got");
}

/* ---- operations ---- */

/* A refused frame would be sent again after the model had learned from it: only one at a time then. */
static bool somebody_has_room(unsigned from)
{
	for (unsigned i = 0; i < ports; i++) {
		if (i != from && port[i].joined && port[i].f->room == FAKE_ALL)
			return true;
	}
	return false;
}

static uint8_t bytes[BATCH][2100];

static size_t make(const struct sent *s, uint8_t *p)
{
	size_t at = 12;

	memset(p, s->dst < STATIONS ? 0 : 0xff, 6);
	memset(p + 6, 0, 6);
	p[0] = s->dst < STATIONS ? 2 : s->dst == STATIONS ? 0xff : 1;
	p[5] = (uint8_t)s->dst;
	p[6] = 2;
	p[11] = (uint8_t)s->src;
	if (s->dst == STATIONS)
		p[5] = 0xff;
	if (s->tci >= 0) {
		put16(p + 12, ETH_VLAN);
		put16(p + 14, (unsigned)s->tci);
		at = 16;
	}
	put16(p + at, s->twice ? ETH_VLAN : 0x88b5);
	put32(p + at + 2, s->seq);
	for (size_t i = at + 6; i < s->len; i++)
		p[i] = (uint8_t)(s->seq + i - at - 2);
	return s->len;
}

static struct sent choose(unsigned from)
{
	unsigned a = next(), b = next(), c = next();
	struct sent s = {
		.from = from, .src = a % STATIONS, .dst = a / STATIONS % (STATIONS + 2), .tci = -1, .seq = seq++
	};

	if (b & 0x80)
		s.tci = (b & 0x40) && c == 255 ? 4095 : (int)(vids[b % VIDS] | (b & 0x30) << 8);
	s.twice = s.tci >= 0 && c % 8 == 5;
	s.len = head_len(&s) + 4 + c * 8;
	if (b & 0x08)
		s.meta = (struct frame_meta){ .needs_csum = true, .csum_start = c & 1 ? 12 : 18, .csum_offset = 2 };
	return s;
}

static void scatter(struct batch *b, uint8_t *p, const struct sent *s)
{
	struct frame *f = &b->frame[b->n];
	size_t cut = s->seq % 23 % s->len;

	*f = (struct frame){ .meta = s->meta, .iov = 3 * b->n + 1, .cnt = 2, .len = s->len };
	frame_iov(b, f)[0] = (struct iovec){ p, cut };
	frame_iov(b, f)[1] = (struct iovec){ p + cut, s->len - cut };
	b->n++;
}

static void send_frames(struct model_port *p)
{
	static struct iovec arena[3 * NET_BATCH];
	struct batch b = { .iov = arena };
	unsigned from = (unsigned)(p - port), n = 1 + next() % BATCH, sent;
	struct sent s[BATCH];

	if (!p->joined)
		return;
	if (!somebody_has_room(from))
		n = 1;
	for (unsigned i = 0; i < n; i++) {
		s[i] = choose(from);
		make(&s[i], bytes[i]);
		scatter(&b, bytes[i], &s[i]);
	}
	for (unsigned tries = 0; (sent = net_send(&p->f->c, &b)) < n; tries++) {
		check(sent == 0 && tries == 0 && n == 1, "not taken though somebody had room");
		for (unsigned i = 0; i < ports; i++)
			fake_room(port[i].f, FAKE_ALL);
		settle(loop);
	}
	net_count_tx_in(&p->f->c, n);
	for (unsigned i = 0; i < n && p->up; i++)
		model(&s[i]);
}

static void set_link(struct model_port *p, bool up)
{
	net_set_link(&p->f->c, up);
	settle(loop);
	p->up = up;
	if (!up) {
		p->lossy = true;
		forget((unsigned)(p - port));
	}
}

static void part_or_join(struct model_port *p)
{
	struct error err;

	if (p->joined) {
		net_disconnect(p->c);
		p->lossy = true;
		forget((unsigned)(p - port));
	} else {
		check(net_connect(p->c, &p->f->c, &err) == 0, "cannot be joined again");
		net_start(p->c);
	}
	p->joined = !p->joined;
	settle(loop);
}

static void operate(void)
{
	unsigned op = next(), arg;
	struct model_port *p = &port[op / 8 % ports];

	switch (op % 8) {
	case 0:
		arg = next();
		fake_room(p->f, arg % 32 ? arg % 32 : FAKE_ALL);
		p->lossy |= arg % 32 != 0; /* its queue may overflow */
		break;
	case 1:
		arg = next();
		if (arg % 4 == 0)
			set_link(p, !p->up);
		else if (arg % 4 == 1)
			part_or_join(p);
		break;
	case 2:
		settle(loop);
		break;
	default:
		send_frames(p);
		break;
	}
}

/* ---- setting up ---- */

static struct vlan_port choose_vlan(bool *carries)
{
	struct strlist list = { NULL, 0 };
	struct vlan_port v;
	uint8_t a = next(), b;
	char text[VIDS * 6] = "", *one = text;
	unsigned tag = a & 4 ? vids[1 + a / 8 % (VIDS - 1)] : 0;
	enum vlan_mode mode = a % 3;

	if (mode == VLAN_ACCESS && !tag)
		tag = 1;
	if (mode == VLAN_NONE)
		tag = 0;
	b = mode == VLAN_TRUNK && a & 0x80 ? next() : 0;
	for (unsigned i = 0; i < VIDS; i++) {
		if (b & BIT(i))
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u", *text ? ":" : "", vids[i]);
		carries[i] = mode != VLAN_ACCESS && (!b || b & BIT(i));
		carries[i] |= tag && vids[i] == tag;
	}
	if (b)
		list = (struct strlist){ &one, 1 };
	check(vlan_port_init(&v, mode, tag, &list, NULL) == 0, "options");
	return v;
}

static void make_ports(void)
{
	uint8_t flags = next();
	struct error err;

	ports = 2 + flags % (PORTS - 1);
	learning = flags & 0x40;
	vlans = false;
	for (unsigned i = 0; i < ports; i++) {
		struct model_port *p = &port[i];
		struct expected *want = p->want ? p->want : malloc(EXPECTED * sizeof(*want));
		char name[2][16];

		*p = (struct model_port){ .up = true, .joined = true, .want = want };
		p->cfg = (struct hub_port_config){ .queue = FRAMEQ_MIN, .learning = learning ? OPT_ON : OPT_AUTO };
		if (flags & 0x80)
			p->cfg.vlan = choose_vlan(p->carries);
		else
			check(vlan_port_init(&p->cfg.vlan, VLAN_NONE, 0, &(struct strlist){ 0 }, NULL) == 0, "options");
		vlans |= p->cfg.vlan.mode != VLAN_NONE;
		snprintf(name[0], sizeof(name[0]), "e%u", i);
		snprintf(name[1], sizeof(name[1]), "p%u", i);
		p->f = fake_new(name[0], NET_KIND_BACKEND, i & 1 ? &fake_lender_ops : &fake_sender_ops, loop);
		p->c = hub_port_new(&p->cfg, name[1], loop, &err);
		check(p->c && net_connect(p->c, &p->f->c, &err) == 0, "a port");
		net_start(p->c);
	}
	settle(loop);
}

static void remove_ports(void)
{
	struct error err;

	for (unsigned i = 0; i < ports; i++) {
		check(netdev_del(port[i].c->name, &err) == 0, "a port cannot be removed");
		fake_free(port[i].f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err;

	in = data;
	left = size;
	loop = loop_new("fuzz", &err);
	memset(behind, 0xff, sizeof(behind));
	make_ports();
	for (unsigned i = 0; i < OPS && left; i++) {
		operate();
		check_all();
	}
	for (unsigned i = 0; i < ports; i++)
		fake_room(port[i].f, FAKE_ALL);
	settle(loop);
	check_all();
	for (unsigned i = 0; i < ports; i++) {
		check(port[i].lossy || port[i].n_met == port[i].n_want, "frames have not come");
		check(!port[i].joined || counter_get(&port[i].c->tx.held) == 0, "frames are held for good");
	}
	remove_ports();
	loop_free(loop);
	return 0;
}
