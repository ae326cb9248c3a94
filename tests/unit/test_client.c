/* SPDX-License-Identifier: BSD-2-Clause */
/* Net clients and the wire between two: every way a frame can go, and that the accounts are exact on each. */
#include "unit.h"

#include <jansson.h>

#include "fake_net.h"
#include "net/offload.h"

static struct loop *loop;
static struct fake *nic, *back;
static struct iovec arena[3 * NET_BATCH];
static struct batch batch;
static uint8_t frames[NET_BATCH][NET_FRAME_MAX + 1];

static void connect_ends(void)
{
	struct error err;

	assert_int_equal(net_connect(&nic->c, &back->c, &err), 0);
	net_start(&nic->c);
	settle(loop);
	nic->wakes = back->wakes = 0;
}

/* `giver` and `taker`: the ops of the two ends; by convention the NIC is the lender. */
static int make_wire(void)
{
	struct error err;

	loop = loop_new("test", &err);
	nic = fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, loop);
	back = fake_new("net0", NET_KIND_BACKEND, &fake_sender_ops, loop);
	batch = (struct batch){ .iov = arena };
	connect_ends();
	net_drained(&back->c);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return make_wire();
}

static int teardown(void **state)
{
	(void)state;
	fake_free(nic);
	fake_free(back);
	loop_free(loop);
	return 0;
}

static void check_accounts(void)
{
	assert_true(net_account_balanced(&nic->c.tx));
	assert_true(net_account_balanced(&nic->c.rx));
	assert_true(net_account_balanced(&back->c.tx));
	assert_true(net_account_balanced(&back->c.rx));
	assert_int_equal(counter_get(&nic->c.tx.out), counter_get(&back->c.rx.in));
	assert_int_equal(counter_get(&back->c.tx.out), counter_get(&nic->c.rx.in));
}

/* ---- the NIC sends ---- */

static unsigned nic_sends(void)
{
	unsigned n = net_send(&nic->c, &batch);

	net_count_tx_in(&nic->c, n);
	return n;
}

static void fill_plain(unsigned n, size_t len)
{
	batch.n = 0;
	for (unsigned i = 0; i < n; i++) {
		make_plain(frames[i], len, i);
		batch_add(&batch, frames[i], len, NULL);
	}
}

static void send_straight(void **state)
{
	(void)state;
	fill_plain(64, 60);
	assert_true(nic->c.sends);
	assert_int_equal(nic_sends(), 64);
	assert_int_equal(back->n_got, 64);
	for (unsigned i = 0; i < 64; i++)
		assert_true(back->got[i].len == 60 && is_plain(back->got[i].bytes, 60, i));
	assert_int_equal(counter_get(&nic->c.tx.bytes), 64 * 60);
	check_accounts();
}

static void send_partly(void **state)
{
	(void)state;
	fill_plain(10, 100);
	fake_room(back, 4);
	assert_int_equal(nic_sends(), 4);
	check_accounts();
	settle(loop);
	assert_int_equal(nic->wakes, 0);
	fake_room(back, 10);
	assert_int_equal(nic->wakes, 0); /* not from within */
	settle(loop);
	assert_int_equal(nic->wakes, 1);
	assert_int_equal(nic->woken_for & NET_WAKE_ROOM, NET_WAKE_ROOM);
	assert_int_equal(nic_sends(), 10);
	assert_int_equal(counter_get(&nic->c.tx.out), 14);
	assert_int_equal(counter_get(&nic->c.tx.bytes), 1400);
	check_accounts();
}

static void send_odd_lengths(void **state)
{
	static const size_t len[] = { 14, 13, 60, 0, 1, NET_FRAME_MAX, NET_FRAME_MAX + 1, 61 };

	(void)state;
	batch.n = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
		make_plain(frames[i], len[i], i);
		batch_add(&batch, frames[i], len[i], NULL);
	}
	assert_int_equal(nic_sends(), ARRAY_SIZE(len));
	assert_int_equal(back->n_got, 4);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_TOO_SHORT]), 3);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_TOO_BIG]), 1);
	check_accounts();
	/* Lengths that no frame has. */
	for (unsigned i = 0; i < 2; i++) {
		fill_plain(1, 60);
		batch.frame[0].len = i == 0 ? UINT32_MAX : 1u << 20;
		assert_int_equal(nic_sends(), 1);
		check_accounts();
	}
	back->c.max_frame = 1514;
	fill_plain(1, 1515);
	assert_int_equal(nic_sends(), 1);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_TOO_BIG]), 4);
	check_accounts();
}

/* The payload of TCP segments got so far is the counting bytes from `seq` on. Returns its length. */
static size_t check_stream(const struct fake *f, uint32_t seq, size_t mss)
{
	uint32_t at = seq;

	for (unsigned i = 0; i < f->n_got; i++) {
		const uint8_t *p = f->got[i].bytes;

		assert_true(f->got[i].len >= 54 && f->got[i].len - 54 <= mss);
		assert_int_equal((uint32_t)p[38] << 24 | p[39] << 16 | p[40] << 8 | p[41], at);
		for (size_t k = 54; k < f->got[i].len; k++, at++)
			assert_int_equal(p[k], at % 251);
	}
	return at - seq;
}

static void fill_tso(unsigned i, uint32_t seq, size_t n, unsigned mss)
{
	struct frame_meta m;
	size_t len = make_tcp(frames[i], seq, n, &m);

	m.gso = NET_GSO_TCP4;
	m.gso_size = (uint16_t)mss;
	batch_add(&batch, frames[i], len, &m);
}

/* One frame of 30 segments in the batch, for a peer that takes plain frames only and has room for so many. */
static void fill_30_segments(unsigned room)
{
	back->c.takes = 0;
	batch.n = 0;
	fill_tso(0, 1000, 30000, 1000);
	fake_room(back, room);
}

static void send_lowered(void **state)
{
	(void)state;
	back->c.takes = 0;
	batch.n = 0;
	fill_tso(0, 1000, 64000, 1448);
	fill_tso(1, 65000, 3000, 1448);
	assert_int_equal(nic_sends(), 2);
	assert_int_equal(back->n_got, 45 + 3);
	assert_int_equal(check_stream(back, 1000, 1448), 67000);
	for (unsigned i = 0; i < back->n_got; i++)
		assert_int_equal(frame_needs(&back->got[i].meta), 0);
	assert_int_equal(counter_get(&nic->c.tx.in), 2);
	assert_int_equal(counter_get(&nic->c.tx.made), 46);
	assert_int_equal(counter_get(&nic->c.tx.out), 48);
	check_accounts();
}

/* A frame that was cut, and room for some of it only: it is taken, the rest is held, and its memory is not needed. */
static void send_lowered_partly(void **state)
{
	(void)state;
	back->c.takes = 0;
	batch.n = 0;
	fill_tso(0, 1000, 100000 % 65000, 1000); /* 35 segments */
	fill_tso(1, 36000, 2000, 1000);
	fake_room(back, 10);
	assert_int_equal(nic_sends(), 1);
	memset(frames[0], 0xee, sizeof(frames[0]));
	assert_int_equal(counter_get(&nic->c.tx.held), 25);
	check_accounts();
	batch.n = 0;
	fill_tso(0, 36000, 2000, 1000);
	assert_int_equal(nic_sends(), 0); /* still no room: nothing is taken */
	fake_room(back, 5);
	settle(loop);
	assert_int_equal(back->n_got, 15);
	assert_int_equal(counter_get(&nic->c.tx.held), 20);
	assert_int_equal(nic->wakes, 0); /* what is held goes first */
	check_accounts();
	fake_room(back, FAKE_ALL);
	settle(loop);
	assert_int_equal(nic->wakes, 1);
	assert_int_equal(counter_get(&nic->c.tx.held), 0);
	assert_int_equal(nic_sends(), 1);
	assert_int_equal(back->n_got, 37);
	assert_int_equal(check_stream(back, 1000, 1000), 37000);
	check_accounts();
}

/* As many segments as a guest likes to ask for: they go a few at a time. */
static void send_cut_to_pieces(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frames[0], 1000, 60000, &m);
	unsigned got = 0, turns = 0;

	(void)state;
	back->c.takes = 0;
	m.gso = NET_GSO_TCP4;
	m.gso_size = 20;
	for (unsigned i = 0; i < 2; i++)
		batch_add(&batch, frames[0], len, &m);
	assert_int_equal(nic_sends(), 1);
	while (counter_get(&nic->c.tx.held)) {
		assert_in_range(back->n_got - got, 1, 10 * 256);
		got = back->n_got;
		check_accounts();
		loop_turn(loop);
		assert_true(++turns < 100);
	}
	assert_int_equal(back->n_got, 3000);
	assert_int_equal(check_stream(back, 1000, 20), 60000);
	settle(loop);
	assert_int_equal(nic->wakes, 1); /* for the second one */
	check_accounts();
}

/* What is held goes first, even if there is room again before anybody was woken. */
static void held_goes_first(void **state)
{
	(void)state;
	fill_30_segments(10);
	assert_int_equal(nic_sends(), 1);
	assert_false(nic->c.sends);
	fake_room(back, FAKE_ALL);
	batch.n = 0;
	fill_tso(0, 31000, 500, 1000);
	batch.frame[0].meta = (struct frame_meta){ 0 }; /* needs nothing */
	assert_int_equal(nic_sends(), 1);
	assert_int_equal(check_stream(back, 1000, 1000), 30500);
	assert_true(nic->c.sends);
	check_accounts();
}

/* No room for the first piece: the frame stays with the sender, nothing is counted. */
static void send_lowered_not_at_all(void **state)
{
	(void)state;
	fill_30_segments(0);
	assert_int_equal(nic_sends(), 0);
	assert_int_equal(counter_get(&nic->c.tx.made), 0);
	assert_int_equal(counter_get(&nic->c.tx.held), 0);
	check_accounts();
	fake_room(back, FAKE_ALL);
	settle(loop);
	assert_int_equal(nic->wakes, 1);
	assert_int_equal(nic_sends(), 1);
	assert_int_equal(check_stream(back, 1000, 1000), 30000);
	check_accounts();
}

static void send_malformed(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	back->c.takes = 0;
	batch.n = 0;
	len = make_tcp(frames[0], 0, 3000, &m);
	m.gso = NET_GSO_TCP6;
	m.gso_size = 100;
	batch_add(&batch, frames[0], len, &m);
	fill_tso(1, 1000, 3000, 1000);
	assert_int_equal(nic_sends(), 2);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_VNET_HDR]), 1);
	assert_int_equal(check_stream(back, 1000, 1000), 3000);
	check_accounts();
}

/* To a taker that only lends: by copy, with holding, and with its refusals counted as its own. */
static void send_to_lender(void **state)
{
	struct fake *other;
	struct error err;

	(void)state;
	net_disconnect(&nic->c);
	other = fake_new("nic1", NET_KIND_NIC, &fake_lender_ops, loop);
	other->c.takes = 0;
	assert_int_equal(net_connect(&nic->c, &other->c, &err), 0);
	net_start(&nic->c);
	batch.n = 0;
	fill_tso(0, 1000, 30000, 1000);
	fake_room(other, 7);
	assert_int_equal(nic_sends(), 1);
	assert_int_equal(counter_get(&nic->c.tx.held), 23);
	assert_int_equal(other->commits, 1);
	fake_room(other, FAKE_ALL);
	settle(loop);
	assert_int_equal(check_stream(other, 1000, 1000), 30000);
	other->refuse = NET_DROP_FILTER_MAC;
	fill_plain(3, 100);
	assert_int_equal(nic_sends(), 3);
	assert_int_equal(counter_get(&other->c.rx.dropped[NET_DROP_FILTER_MAC]), 3);
	assert_true(net_account_balanced(&other->c.rx));
	assert_true(net_account_balanced(&nic->c.tx));
	fake_free(other);
}

static void send_without_peer(void **state)
{
	(void)state;
	net_disconnect(&nic->c);
	fill_plain(5, 60);
	assert_int_equal(nic_sends(), 5);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_NO_PEER]), 5);
	assert_true(net_account_balanced(&nic->c.tx));
}

/* ---- the backend receives ---- */

/* As a backend does: a window, a frame into it, its length. */
static int back_receives(const uint8_t *p, size_t len, const struct frame_meta *m)
{
	static const struct frame_meta none;
	struct net_window w;
	size_t at = 0;
	int ret = net_lend(&back->c, 1518, &w);

	if (ret)
		return ret;
	w.iov[-1] = (struct iovec){ NULL, 0 };
	for (unsigned i = 0; i < w.cnt && at < len; i++) {
		size_t n = MIN(w.iov[i].iov_len, len - at);

		memcpy(w.iov[i].iov_base, p + at, n);
		at += n;
	}
	if (at < len)
		return net_take_spilled(&back->c, &w, len, p + w.room, m ? m : &none);
	return net_take(&back->c, len, m ? m : &none);
}

static void lend_straight(void **state)
{
	struct net_window w;

	(void)state;
	assert_true(back->c.direct);
	assert_int_equal(net_lend(&back->c, 1518, &w), 0);
	assert_ptr_equal(w.iov[0].iov_base, nic->buf);
	for (unsigned i = 0; i < 10; i++) {
		make_plain(frames[0], 60 + i, i);
		assert_int_equal(back_receives(frames[0], 60 + i, NULL), NET_OK);
	}
	net_commit(&back->c);
	assert_int_equal(nic->commits, 1);
	for (unsigned i = 0; i < 10; i++)
		assert_true(nic->got[i].len == 60 + i && is_plain(nic->got[i].bytes, 60 + i, i));
	nic->refuse = NET_DROP_FILTER_VLAN;
	assert_int_equal(back_receives(frames[0], 60, NULL), NET_DROP_FILTER_VLAN);
	assert_int_equal(counter_get(&nic->c.rx.dropped[NET_DROP_FILTER_VLAN]), 1);
	assert_int_equal(counter_get(&nic->c.rx.out), 10);
	assert_int_equal(counter_get(&back->c.tx.in), 11);
	check_accounts();
}

static void lend_without_room(void **state)
{
	(void)state;
	fake_room(nic, 0);
	assert_int_equal(back_receives(frames[0], 60, NULL), -EAGAIN);
	fake_room(nic, 1);
	settle(loop);
	assert_int_equal(back->wakes, 1);
	make_plain(frames[0], 60, 1);
	assert_int_equal(back_receives(frames[0], 60, NULL), NET_OK);
	check_accounts();
}

static void take_odd_lengths(void **state)
{
	static const struct frame_meta none;
	static const size_t len[] = { 0, 1, 13, NET_FRAME_MAX + 1, 1 << 20, SIZE_MAX };

	(void)state;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
			struct net_window w;

			assert_int_equal(net_lend(&back->c, 1518, &w), 0);
			assert_int_equal(net_take(&back->c, len[i], &none),
					 i < 3 ? NET_DROP_TOO_SHORT : NET_DROP_TOO_BIG);
			assert_int_equal(net_take_spilled(&back->c, &w, len[i], frames[0], &none), NET_DROP_TOO_BIG);
			check_accounts();
		}
		assert_int_equal(nic->n_got, 0);
		net_takes_changed(&nic->c, 0); /* the other way: not straight */
		assert_false(back->c.direct);
	}
}

/* A frame longer than the window: completed in a larger one; else held in host memory, or cut down to size there. */
static void spilled(void **state)
{
	(void)state;
	nic->window = 100;
	make_plain(frames[0], 1000, 3);
	assert_int_equal(back_receives(frames[0], 1000, NULL), NET_OK);
	assert_int_equal(nic->n_got, 1);
	assert_true(is_plain(nic->got[0].bytes, 1000, 3));
	/* One buffer only: its window does not grow. It is copied out and refused as too small, counted. */
	fake_room(nic, 1);
	assert_int_equal(back_receives(frames[0], 1000, NULL), NET_OK);
	assert_int_equal(counter_get(&nic->c.rx.dropped[NET_DROP_BUFFER_SMALL]), 1);
	check_accounts();
}

/* Frames that need more than the guest takes: the window is host memory, and what arrives is segments. */
static void lend_lowered(void **state)
{
	struct frame_meta m;
	struct net_window w;
	size_t len;

	(void)state;
	net_takes_changed(&nic->c, 0);
	assert_int_equal(back->c.gives, 0);
	assert_true(back->c.draining);
	assert_int_equal(net_lend(&back->c, 60, &w), 0);
	assert_ptr_not_equal(w.iov[0].iov_base, nic->buf);
	assert_true(w.room >= NET_FRAME_MAX);
	for (unsigned i = 0; i < 3; i++) { /* what waited in the tap from before */
		len = make_tcp(frames[0], 1000 + i * 60000, 60000, &m);
		m.gso = NET_GSO_TCP4;
		m.gso_size = 1448;
		assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
	}
	net_commit(&back->c);
	assert_int_equal(check_stream(nic, 1000, 1448), 180000);
	for (unsigned i = 0; i < nic->n_got; i++)
		assert_int_equal(frame_needs(&nic->got[i].meta), 0);
	assert_int_equal(counter_get(&back->c.tx.in), 3);
	assert_int_equal(counter_get(&back->c.tx.made), 3 * 41);
	check_accounts();
	net_drained(&back->c);
	assert_true(back->c.direct);
	assert_int_equal(net_lend(&back->c, 60, &w), 0);
	assert_ptr_equal(w.iov[0].iov_base, nic->buf);
}

/* A NIC that can do nothing and wants its peer to do it all the same. */
static void nic_wants(uint32_t wants)
{
	nic->c.wants = wants;
	net_takes_changed(&nic->c, 0);
	net_drained(&back->c);
}

static bool own_window(void)
{
	struct net_window w;

	assert_int_equal(net_lend(&back->c, 1518, &w), 0);
	return w.iov[0].iov_base == nic->buf;
}

/* What fits the NIC, or lacks but a checksum, stays in its own window; all of a round is one commit. */
static void wanted_in_place(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	nic_wants(NET_OFF_CSUM | NET_OFF_TSO4);
	assert_int_equal(back->c.gives, NET_OFF_CSUM | NET_OFF_TSO4);
	assert_false(back->c.direct);
	assert_true(own_window());
	make_plain(frames[0], 1000, 1);
	assert_int_equal(back_receives(frames[0], 1000, NULL), NET_OK);
	assert_true(own_window());
	assert_true(is_plain(nic->got[0].bytes, 1000, 1));
	assert_false(nic->got[0].meta.data_valid);
	fake_forget(nic);
	len = make_tcp(frames[0], 7, 1001, &m);
	m.gso = NET_GSO_NONE;
	memset(frames[0] + 50, 0xa5, 2); /* stands for the pseudo header's sum, and counts */
	assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
	assert_true(own_window());
	assert_int_equal(nic->n_got, 1);
	assert_int_equal(frame_needs(&nic->got[0].meta), 0);
	assert_true(nic->got[0].meta.data_valid);
	assert_int_equal(offload_csum(&(struct iovec){ frames[0], len }, 1, len, &m),
			 nic->got[0].bytes[50] | nic->got[0].bytes[51] << 8);
	memcpy(nic->got[0].bytes + 50, frames[0] + 50, 2);
	assert_memory_equal(nic->got[0].bytes, frames[0], len);
	m.csum_start = (uint16_t)(len - m.csum_offset - 1);
	assert_int_equal(back_receives(frames[0], len, &m), NET_DROP_VNET_HDR);
	assert_int_equal(nic->commits, 0);
	net_commit(&back->c);
	assert_int_equal(nic->commits, 1);
	check_accounts();
}

/* What is to be cut is, once; the window is host memory as long as such frames come. */
static void wanted_cut(void **state)
{
	struct frame_meta m;
	size_t len = 0;

	(void)state;
	nic_wants(NET_OFF_CSUM | NET_OFF_TSO4);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(own_window(), !i);
		len = make_tcp(frames[0], 1000 + i * 30000, 30000, &m);
		m.gso = NET_GSO_TCP4;
		m.gso_size = 1448;
		assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
	}
	assert_int_equal(nic->commits, 0);
	net_commit(&back->c);
	assert_int_equal(nic->commits, 1);
	assert_int_equal(check_stream(nic, 1000, 1448), 90000);
	for (unsigned i = 0; i < nic->n_got; i++)
		assert_true(!frame_needs(&nic->got[i].meta) && nic->got[i].meta.data_valid);
	assert_false(own_window());
	make_plain(frames[0], 1000, 1);
	assert_int_equal(back_receives(frames[0], 1000, NULL), NET_OK);
	assert_true(own_window());
	/* Longer than the window that was lent. */
	make_plain(frames[0], 5000, 2);
	assert_int_equal(back_receives(frames[0], 5000, NULL), NET_OK);
	assert_true(is_plain(nic->got[nic->n_got - 1].bytes, 5000, 2));
	/* More pieces than there is room for: the rest is held, and comes when there is. */
	assert_true(own_window());
	len = make_tcp(frames[0], 1, 1000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 100;
	fake_forget(nic);
	fake_room(nic, 4);
	assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
	assert_int_equal(counter_get(&back->c.tx.held), 6);
	net_commit(&back->c);
	assert_int_equal(nic->commits, 2);
	fake_room(nic, FAKE_ALL);
	settle(loop);
	assert_int_equal(nic->commits, 3);
	assert_int_equal(check_stream(nic, 1, 100), 1000);
	check_accounts();
}

/* The guest's offloads change while a frame is held: what is left of it suits the new ones. */
static void lend_lowered_and_held(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	net_takes_changed(&nic->c, NET_OFF_CSUM);
	len = make_tcp(frames[0], 1000, 60000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	fake_room(nic, 10);
	assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
	assert_int_equal(nic->n_got, 10);
	assert_int_equal(frame_needs(&nic->got[9].meta), NET_OFF_CSUM);
	assert_int_equal(counter_get(&back->c.tx.held), 50);
	assert_int_equal(back_receives(frames[0], len, &m), -EAGAIN);
	check_accounts();
	net_takes_changed(&nic->c, 0);
	fake_room(nic, FAKE_ALL);
	settle(loop);
	assert_int_equal(back->wakes, 1);
	assert_int_equal(frame_needs(&nic->got[10].meta), 0);
	assert_int_equal(check_stream(nic, 1000, 1000), 60000);
	check_accounts();
}

/* The same with a frame of which nothing has gone: it needs no cutting, then it does, then it does not again. */
static void held_whole(void **state)
{
	struct frame_meta m;
	struct net_window w;
	size_t len;

	(void)state;
	/* The straight way is shut by `draining` alone: the frame could go as it is. */
	net_takes_changed(&nic->c, NET_OFF_ALL & ~NET_OFF_UFO);
	net_takes_changed(&nic->c, NET_OFF_ALL);
	assert_true(back->c.draining);
	len = make_tcp(frames[0], 1000, 30000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	assert_int_equal(net_lend(&back->c, 1518, &w), 0);
	memcpy(w.iov[0].iov_base, frames[0], len);
	fake_room(nic, 0);
	assert_int_equal(net_take(&back->c, len, &m), NET_OK);
	assert_int_equal(counter_get(&back->c.tx.held), 1);
	check_accounts();
	for (unsigned i = 0; i < 3; i++) {
		net_takes_changed(&nic->c, i & 1 ? NET_OFF_ALL : 0);
		assert_int_equal(back_receives(frames[1], 60, NULL), -EAGAIN);
		assert_int_equal(counter_get(&back->c.tx.held), i & 1 ? 1 : 30);
		check_accounts();
	}
	/* Once a part has gone the rest stays cut as it is. */
	fake_room(nic, 10);
	settle(loop);
	assert_int_equal(nic->n_got, 10);
	net_takes_changed(&nic->c, NET_OFF_ALL);
	fake_room(nic, FAKE_ALL);
	settle(loop);
	assert_int_equal(nic->n_got, 30);
	assert_int_equal(check_stream(nic, 1000, 1000), 30000);
	assert_int_equal(counter_get(&back->c.tx.held), 0);
	check_accounts();
}

/*
 * Main has set the flag and the loop has not heard of it yet. A part of a frame is held in the host window: neither may
 * that be lent to the next frame while the part is there, nor may the part go on.
 */
static void link_falls_while_held(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	net_takes_changed(&nic->c, 0);
	len = make_tcp(frames[0], 1000, 60000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	for (unsigned pass = 0; pass < 2; pass++) {
		fake_forget(nic);
		fake_room(nic, 10);
		assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
		assert_int_equal(counter_get(&back->c.tx.held), 50);
		atomic_store(&nic->c.link_down, true);
		memset(frames[1], 0xee, 60000);
		if (pass)
			assert_int_equal(back_receives(frames[1], 60000, NULL), NET_DROP_LINK_DOWN);
		fake_room(nic, FAKE_ALL);
		settle(loop);
		assert_int_equal(nic->n_got, 10);
		net_set_link(&nic->c, false);
		assert_int_equal(counter_get(&back->c.tx.held), 0);
		assert_int_equal(counter_get(&back->c.tx.dropped[NET_DROP_LINK_DOWN]), pass ? 101 : 50);
		check_accounts();
		net_set_link(&nic->c, true);
		settle(loop);
		assert_int_equal(nic->n_got, 10);
	}
	fake_forget(nic);
	assert_int_equal(back_receives(frames[0], len, &m), NET_OK);
	assert_int_equal(check_stream(nic, 1000, 1000), 60000);
}

/* ---- quiesce, link ---- */

static void quiesced_in_mid_batch(void **state)
{
	(void)state;
	fill_30_segments(10);
	assert_int_equal(nic_sends(), 1);
	net_quiesce(&back->c);
	assert_int_equal(nic->quiesced, 1);
	assert_int_equal(back->quiesced, 1);
	fake_room(back, FAKE_ALL);
	settle(loop);
	assert_int_equal(back->n_got, 10); /* nothing moves */
	assert_int_equal(nic->wakes, 0);
	assert_int_equal(nic_sends(), 0);
	assert_int_equal(back_receives(frames[0], 60, NULL), -EAGAIN);
	assert_int_equal(counter_get(&nic->c.tx.held), 20);
	check_accounts();
	net_start(&back->c);
	settle(loop);
	assert_int_equal(check_stream(back, 1000, 1000), 30000);
	assert_true(nic->wakes && back->wakes);
	check_accounts();
}

static void disconnected_in_mid_batch(void **state)
{
	(void)state;
	fill_30_segments(10);
	assert_int_equal(nic_sends(), 1);
	net_disconnect(&back->c);
	assert_int_equal(counter_get(&nic->c.tx.held), 0);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_STOPPED]), 20);
	assert_false(nic->link); /* the cable is out */
	check_accounts();
	connect_ends();
	assert_true(nic->link);
}

static void set_link(unsigned which, bool up)
{
	if (which == 0)
		net_set_link(&nic->c, up);
	else if (which == 1)
		net_set_link(&back->c, up);
	else
		net_set_carrier(&back->c, up);
}

static void link_down_drains(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 3; which++) {
		uint64_t before = counter_get(&nic->c.tx.dropped[NET_DROP_LINK_DOWN]);
		unsigned events = nic->link_events;

		/* Both ends wait for room when the link goes. */
		fill_plain(3, 60);
		fake_room(back, 0);
		fake_room(nic, 0);
		assert_int_equal(nic_sends(), 0);
		assert_int_equal(back_receives(frames[0], 60, NULL), -EAGAIN);
		nic->wakes = back->wakes = 0;
		set_link(which, false);
		settle(loop);
		assert_false(net_link_up(&nic->c) || net_link_up(&back->c));
		assert_false(nic->link || back->link);
		assert_int_equal(nic->link_events, events + 1);
		assert_true(nic->wakes && back->wakes);
		assert_int_equal(nic_sends(), 3);
		assert_int_equal(back_receives(frames[0], 60, NULL), NET_DROP_LINK_DOWN);
		assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_LINK_DOWN]), before + 3);
		check_accounts();
		set_link(which, false);
		assert_int_equal(nic->link_events, events + 1);
		set_link(which, true);
		settle(loop);
		assert_true(nic->link && back->link);
		fake_room(back, FAKE_ALL);
		fake_room(nic, FAKE_ALL);
		assert_int_equal(nic_sends(), 3);
		assert_int_equal(back_receives(frames[0], 60, NULL), NET_OK);
		check_accounts();
	}
}

static void link_down_drops_what_is_held(void **state)
{
	(void)state;
	fill_30_segments(10);
	assert_int_equal(nic_sends(), 1);
	net_set_link(&nic->c, false);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_LINK_DOWN]), 20);
	assert_int_equal(counter_get(&nic->c.tx.held), 0);
	check_accounts();
}

static void link_told_by_main(void **state)
{
	struct error err;
	struct loop *main_loop = loop_new("main", &err);

	(void)state;
	net_set_main_loop(main_loop);
	net_set_carrier(&back->c, false);
	assert_true(nic->link);
	settle(main_loop);
	assert_false(nic->link);
	/* There and back again before main looks: nothing to tell. */
	nic->link_events = 0;
	net_set_carrier(&back->c, true);
	net_set_carrier(&back->c, false);
	settle(main_loop);
	assert_int_equal(nic->link_events, 0);
	net_set_carrier(&back->c, true);
	net_set_main_loop(NULL);
	loop_free(main_loop);
}

static void link_toggled_under_traffic(void **state)
{
	(void)state;
	back->c.takes = 0;
	for (unsigned i = 0; i < 100000; i++) {
		batch.n = 0;
		if (i % 64 == 0)
			fill_tso(0, i, 4000, 1000);
		else
			fill_plain(1, 60);
		fake_room(back, i % 3);
		nic_sends();
		net_set_link(i & 2 ? &nic->c : &back->c, i & 1);
		if (i % 16 == 0)
			fake_forget(back);
	}
	net_set_link(&nic->c, true);
	net_set_link(&back->c, true);
	fake_room(back, FAKE_ALL);
	settle(loop);
	fake_forget(back);
	fill_plain(3, 60);
	assert_int_equal(nic_sends(), 3);
	assert_int_equal(back->n_got, 3);
	check_accounts();
}

/* ---- registry ---- */

static void names(void **state)
{
	struct fake *more, *nic2;
	struct error err = { 0 };

	(void)state;
	assert_null(fake_new("net0", NET_KIND_BACKEND, &fake_sender_ops, loop));
	assert_null(fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, loop));
	/* A device may be called as a backend is. */
	nic2 = fake_new("net0", NET_KIND_NIC, &fake_lender_ops, loop);
	assert_non_null(nic2);
	assert_ptr_equal(net_client_find("net0", 0), &back->c);
	assert_ptr_equal(net_client_find("nic0", 0), &nic->c);
	assert_null(net_client_find("net0", 1));
	assert_int_equal(net_connect(&nic2->c, &back->c, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "net0"));
	assert_non_null(strstr(err.msg, "nic0"));
	more = fake_new("net1", NET_KIND_BACKEND, &fake_sender_ops, loop);
	assert_int_equal(net_connect(&more->c, &nic->c, &err), -EBUSY);
	assert_int_equal(net_connect(&more->c, &more->c, &err), -EINVAL);
	fake_free(more);
	fake_free(nic2);
}

static void json(void **state)
{
	json_t *o, *drops;

	(void)state;
	fill_plain(2, 60);
	batch.frame[1].len = 10;
	assert_int_equal(nic_sends(), 2);
	o = net_account_json(&nic->c, true);
	assert_string_equal(json_string_value(json_object_get(o, "client")), "nic0");
	assert_string_equal(json_string_value(json_object_get(o, "dir")), "tx");
	assert_int_equal(json_integer_value(json_object_get(o, "in")), 2);
	assert_int_equal(json_integer_value(json_object_get(o, "out")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "bytes")), 60);
	drops = json_object_get(o, "dropped");
	assert_int_equal(json_object_size(drops), 1);
	assert_int_equal(json_integer_value(json_object_get(drops, "too-short")), 1);
	json_decref(o);
	o = net_describe(&nic->c);
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "peer")), "net0");
	assert_true(json_is_true(json_object_get(o, "link")));
	json_decref(o);
}

/* ---- anything, in any order ---- */

static void back_gives_something(unsigned i)
{
	struct frame_meta m;
	size_t len = make_tcp(frames[0], i, (size_t)random() % 20000 + 1, &m);

	m.gso = random() & 1 ? NET_GSO_TCP4 : NET_GSO_NONE;
	m.gso_size = (uint16_t)(random() % 2000 + 200);
	/* What the giver promised not to give it does not give, but for what waited. */
	if (back->c.draining || !(frame_needs(&m) & ~back->c.gives))
		back_receives(frames[0], len, &m);
}

static void nic_gives_something(unsigned i)
{
	batch.n = 0;
	for (unsigned k = (unsigned)random() % 8; k < 8; k++) {
		if (random() & 1)
			fill_tso(batch.n, i, (size_t)random() % 20000 + 1, (unsigned)random() % 2000 + 200);
		else
			batch_add(&batch, frames[batch.n], (size_t)random() % 1600, NULL);
	}
	nic_sends();
}

static void do_something(unsigned *seed)
{
	unsigned what = (unsigned)random() % 16, i = (*seed)++;

	switch (what) {
	case 0:
		nic->c.wants = random() & 1 ? 0 : (unsigned)random() & NET_OFF_ALL;
		net_takes_changed(&nic->c, (unsigned)random() & NET_OFF_ALL);
		break;
	case 1:
		net_takes_changed(&back->c, (unsigned)random() & NET_OFF_ALL);
		break;
	case 2:
		fake_room(nic, (unsigned)random() % 40);
		break;
	case 3:
		fake_room(back, (unsigned)random() % 40);
		break;
	case 4:
		set_link((unsigned)random() % 3, random() % 4);
		break;
	case 5:
		random() & 1 ? net_quiesce(&nic->c) : net_start(&nic->c);
		break;
	case 6:
		net_drained(&back->c);
		break;
	case 7:
		nic->refuse = random() % 4 ? NET_OK : NET_DROP_FILTER_MAC;
		nic->window = random() & 1 ? 0 : 200;
		break;
	case 8:
	case 9:
	case 10:
		back_gives_something(i);
		break;
	case 11:
		net_commit(&back->c);
		break;
	default:
		nic_gives_something(i);
	}
}

static void anything(void **state)
{
	unsigned seed = 0;

	(void)state;
	srandom(7);
	for (unsigned i = 0; i < 30000; i++) {
		do_something(&seed);
		if (random() & 1)
			loop_turn(loop);
		check_accounts();
		if (back->n_got > FAKE_KEPT / 2)
			fake_forget(back);
		if (nic->n_got > FAKE_KEPT / 2)
			fake_forget(nic);
	}
	assert_true(counter_get(&nic->c.tx.made) > 1000);
	assert_true(counter_get(&back->c.tx.made) > 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(send_straight),
		TEST(send_partly),
		TEST(send_odd_lengths),
		TEST(send_lowered),
		TEST(send_lowered_partly),
		TEST(send_cut_to_pieces),
		TEST(held_goes_first),
		TEST(send_lowered_not_at_all),
		TEST(send_malformed),
		TEST(send_to_lender),
		TEST(send_without_peer),
		TEST(lend_straight),
		TEST(lend_without_room),
		TEST(take_odd_lengths),
		TEST(spilled),
		TEST(lend_lowered),
		TEST(wanted_in_place),
		TEST(wanted_cut),
		TEST(lend_lowered_and_held),
		TEST(held_whole),
		TEST(link_falls_while_held),
		TEST(quiesced_in_mid_batch),
		TEST(disconnected_in_mid_batch),
		TEST(link_down_drains),
		TEST(link_down_drops_what_is_held),
		TEST(link_told_by_main),
		TEST(link_toggled_under_traffic),
		TEST(names),
		TEST(json),
		TEST(anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
