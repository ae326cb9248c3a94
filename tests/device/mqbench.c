/* SPDX-License-Identifier: BSD-2-Clause */
/* See mqbench.h. */
#include "mqbench.h"

#include "base/iov.h"

struct second second;
struct loop *loop1;
struct bench b;

static unsigned second_send(struct net_client *c, struct batch *batch)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < batch->n; i++)
		bytes += batch->frame[i].len;
	net_count_rx_out(c, batch->n, bytes);
	second.sent += batch->n;
	return batch->n;
}

static void second_wake(struct net_client *c, unsigned what)
{
	(void)c, (void)what;
}

static void second_start(struct net_client *c)
{
	(void)c;
	second.started++;
}

static void second_quiesce(struct net_client *c)
{
	(void)c;
	second.quiesced++;
}

static void second_retire(struct net_client *c)
{
	assert_false(c->started);
	second.retired++;
}

static const struct net_client_ops second_ops = {
	.type = "test",
	.send = second_send,
	.wake = second_wake,
	.start = second_start,
	.quiesce = second_quiesce,
	.retire = second_retire,
};

/* ---- the bench ---- */

void settle_both(void)
{
	bool more = true;

	while (more) {
		more = loop_turn(loop1);
		more |= loop_turn(b.loop);
	}
}

void open_mqbench(const char *const *props)
{
	struct error err;

	memset(&second, 0, sizeof(second));
	loop1 = loop_new("second", &err);
	assert_non_null(loop1);
	second.c = (struct net_client){
		.ops = &second_ops,
		.kind = NET_KIND_BACKEND,
		.name = "wire",
		.queue = 1,
		.loop = loop1,
		.takes = NET_OFF_ALL,
		.max_frame = NET_FRAME_MAX,
	};
	assert_int_equal(net_client_add(&second.c, &err), 0);
	bench_open(&b, props);
	b.next_buf = RAM2_GPA; /* five rings take more than three */
	assert_int_equal(b.n->n_pairs, 2);
	assert_int_equal(b.v->n_lanes, 2);
}

void close_mqbench(void)
{
	settle_both();
	assert_true(net_account_balanced(&second.c.rx) && net_account_balanced(&second.c.tx));
	assert_true(net_account_balanced(&b.n->pair[1].client.rx) && net_account_balanced(&b.n->pair[1].client.tx));
	bench_close(&b);
	net_client_remove(&second.c);
	loop_free(loop1);
}

void up(uint64_t features)
{
	driver_up(&b, features);
	settle_both();
}

/* ---- the control queue ---- */

uint64_t post_command(unsigned queue, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
	uint64_t ack =
		ctrl_post(&b, queue, &(struct ctrl_cmd){ .class = class, .what = what, .len = len, .data = data });

	kick(&b.q[queue]);
	return ack;
}

uint8_t command(uint8_t class, uint8_t what, const void *data, uint32_t len)
{
	uint64_t ack = post_command(MQCTRL, class, what, data, len);

	settle_both();
	assert_true(reap(&b.q[MQCTRL], NULL, NULL));
	return *(uint8_t *)at(&b, ack);
}

uint8_t set_pairs(uint16_t pairs)
{
	pairs = htole16(pairs);
	return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, sizeof(pairs));
}

uint64_t post_pairs(uint16_t pairs)
{
	pairs = htole16(pairs);
	return post_command(MQCTRL, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, sizeof(pairs));
}

void post_on_second(void)
{
	struct seg s = { buf(&b, 1600), 1600, true };

	chain(&b.q[RXQ1], &s, 1);
	kick(&b.q[RXQ1]);
}

int give_second(const uint8_t *frame, size_t len)
{
	struct frame_meta m = { 0 };
	struct net_window w;
	int r = net_lend(&second.c, len, &w);

	if (r < 0)
		return r;
	assert_int_equal(iov_write_at(w.iov, w.cnt, 0, frame, len), len);
	r = (int)net_take(&second.c, len, &m);
	net_commit(&second.c);
	return r;
}
