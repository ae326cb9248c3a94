/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "nic_wire.h"

#include "base/iov.h"

const uint8_t *in;
size_t left;
struct net_client wire;
unsigned take;
static volatile uint8_t eaten;

uint64_t get(unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && left; i++, left--)
		v |= (uint64_t)*in++ << 8 * i;
	return v;
}

static void look_at(const struct net_client *c, struct batch *b, const struct frame *f)
{
	struct iov_cur cur = iov_cur(frame_iov(b, f), f->cnt);
	uint8_t byte;

	frame_iov(b, f)[-1] = (struct iovec){ 0 };
	CHECK(f->cnt + 1 <= NET_IOV_MAX);
	CHECK(iov_left(&cur) == f->len);
	CHECK(!(frame_needs(&f->meta) & ~c->takes));
	CHECK(!f->meta.needs_csum || f->meta.csum_start + f->meta.csum_offset + 2u <= f->len);
	while (iov_get(&cur, &byte, 1))
		eaten ^= byte;
}

static unsigned wire_send(struct net_client *c, struct batch *b)
{
	unsigned n = MIN(b->n, take);

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

void wire_open(struct loop *loop, uint32_t gives)
{
	static const struct net_client_ops ops = { .type = "fuzz", .send = wire_send, .set_offload = wire_offload };

	wire = (struct net_client){ .ops = &ops,
				    .kind = NET_KIND_BACKEND,
				    .name = "wire",
				    .loop = loop,
				    .takes = NET_OFF_ALL,
				    .gives = gives,
				    .max_frame = NET_FRAME_MAX };
	CHECK(net_client_add(&wire, NULL) == 0);
}

void wire_give(unsigned n, size_t len, size_t want, const uint8_t *head, size_t input, const struct frame_meta *m)
{
	struct net_window w;
	struct iov_cur cur;

	input = MIN(input, len);
	want = MIN(want, (size_t)NET_FRAME_MAX);
	for (; n && net_lend(&wire, want, &w) >= 0; n--) {
		w.iov[-1] = (struct iovec){ 0 };
		CHECK(w.cnt && w.room >= want && iov_size(w.iov, w.cnt) == w.room);
		CHECK(w.cnt + 1 <= NET_IOV_MAX);
		cur = iov_cur(w.iov, w.cnt);
		for (size_t i = 0; i < input; i++)
			iov_put(&cur, &(uint8_t){ head ? head[i] : (uint8_t)get(1) }, 1);
		iov_fill(&cur, 0x5a, len - input);
		net_take(&wire, len, m);
	}
	net_commit(&wire);
}
