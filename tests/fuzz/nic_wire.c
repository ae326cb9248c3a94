/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "nic_wire.h"

#include "../free_slots.h"
#include "base/iov.h"
#include "fresh.h"

const uint8_t *in;
size_t left;
struct net_client *wire;
unsigned take;

uint64_t get(unsigned bytes)
{
	size_t n = MIN((size_t)bytes, left);
	uint64_t v = 0;

	memcpy(&v, in, n);
	in += n;
	left -= n;
	return le64toh(v);
}

/* All of it is read: by the copies. */
static void look_at(const struct net_client *c, struct batch *b, const struct frame *f)
{
	struct iov_cur cur = iov_cur(frame_iov(b, f), f->cnt);
	uint8_t piece[4096];

	frame_iov(b, f)[-1] = (struct iovec){ 0 };
	CHECK(f->cnt + 1 <= NET_IOV_MAX);
	CHECK(iov_left(&cur) == f->len);
	CHECK(!(frame_needs(&f->meta) & ~c->takes));
	CHECK(!f->meta.needs_csum || f->meta.csum_start + f->meta.csum_offset + 2u <= f->len);
	while (iov_get(&cur, piece, sizeof(piece)))
		;
}

static unsigned wire_send(struct net_client *c, struct batch *b)
{
	unsigned n = MIN(b->n, take);

	CHECK(slots_free(b));
	for (unsigned i = 0; i < n; i++) {
		look_at(c, b, &b->frame[i]);
		net_count_rx_out(c, 1, b->frame[i].len);
	}
	return n;
}

static uint32_t wire_offload(struct net_client *c, uint32_t takes)
{
	(void)c;
	return takes;
}

void wire_open(const char *name, struct loop *loop, uint32_t gives)
{
	static const struct net_client_ops ops = { .type = "fuzz", .send = wire_send, .set_offload = wire_offload };

	wire = calloc(1, sizeof(*wire));
	CHECK(wire);
	*wire = (struct net_client){ .ops = &ops,
				     .kind = NET_KIND_BACKEND,
				     .loop = loop,
				     .takes = NET_OFF_ALL,
				     .gives = gives,
				     .max_frame = NET_FRAME_MAX };
	snprintf(wire->name, sizeof(wire->name), "%s", name);
	CHECK(net_client_add(wire, NULL) == 0);
}

void wire_start_over(void)
{
	take = NET_BATCH;
	net_start(wire);
	net_takes_changed(wire, NET_OFF_ALL);
	net_set_link(wire, true);
	net_set_link(wire->peer, true);
	net_drained(wire);
	net_wake_peer(wire, NET_WAKE_ROOM);
}

bool wire_balanced(void)
{
	const struct net_client *nic = wire->peer;

	return net_account_balanced(&nic->tx) && net_account_balanced(&nic->rx) && net_account_balanced(&wire->tx) &&
	       net_account_balanced(&wire->rx);
}

/* The first bytes of n frames: `head`, or the input's. */
static void fill_head(uint8_t *to, const uint8_t *head, size_t n)
{
	if (head)
		memcpy(to, head, n);
	for (size_t i = 0; i < n && !head; i++)
		to[i] = (uint8_t)get(1);
}

/* Of a window, what frames of this length are written to. */
static void mark_window(const struct net_window *w, size_t len)
{
	size_t n;

	for (unsigned i = 0; i < w->cnt && len; i++, len -= n) {
		n = MIN(len, w->iov[i].iov_len);
		fresh_mark_host(w->iov[i].iov_base, n);
	}
}

void wire_give(unsigned n, size_t len, size_t want, const uint8_t *head, size_t input, const struct frame_meta *m)
{
	struct net_window w;
	struct iov_cur cur;
	uint8_t bytes[64];

	input = MIN(input, MIN(len, sizeof(bytes)));
	want = MIN(want, (size_t)NET_FRAME_MAX);
	for (; n && net_lend(wire, want, &w) >= 0; n--) {
		w.iov[-1] = (struct iovec){ 0 };
		CHECK(w.cnt && w.room >= want && iov_size(w.iov, w.cnt) == w.room);
		CHECK(w.cnt + 1 <= NET_IOV_MAX);
		fill_head(bytes, head, input);
		cur = iov_cur(w.iov, w.cnt);
		iov_put(&cur, bytes, input);
		iov_fill(&cur, 0x5a, len - input);
		mark_window(&w, len);
		net_take(wire, len, m);
	}
	net_commit(wire);
}
