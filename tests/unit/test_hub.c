/* SPDX-License-Identifier: BSD-2-Clause */
/* Hubs: who gets what, slow ports, ports that go, offloads, circles; the accounts of all clients after each case. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "hubbench.h"
#include "net/frameq.h"

/* ---- cases ---- */

static void floods(void **state)
{
	(void)state;
	setup_ends(8, "");
	for (unsigned giver = 0; giver < 8; giver++) {
		assert_int_equal(send_plain(station[giver], giver, 64, 60 + giver), 64);
		for (unsigned i = 0; i < 8; i++) {
			assert_int_equal(station[i]->n_got, i == giver ? 0 : 64);
			if (i != giver)
				assert_got(station[i], 0, giver, 64, 60 + giver);
			fake_forget(station[i]);
		}
		check_accounts();
	}
	assert_int_equal(counter_get(&port[0]->rx.made), 6 * 64);
	assert_int_equal(counter_get(&port[0]->rx.out), 7 * 64);
	assert_int_equal(counter_get(&port[0]->rx.bytes), 7 * 64 * 60);
}

static void alone(void **state)
{
	(void)state;
	setup_ends(1, "");
	must("hubport,id=p7,hubid=0"); /* nothing is joined to it */
	port[7] = net_client_find("p7", 0);
	assert_int_equal(send_plain(station[0], 0, 10, 60), 10);
	assert_int_equal(counter_get(&port[0]->rx.dropped[NET_DROP_NO_PEER]), 10);
	check_accounts();
}

static void received_frames(void **state)
{
	struct frame_meta m = { 0 };
	struct net_window w;

	(void)state;
	setup_ends(3, "");
	assert_int_equal(net_lend(&station[0]->c, 1518, &w), 0);
	assert_true(w.room >= NET_FRAME_MAX);
	make_plain(w.iov[0].iov_base, 1000, 5);
	assert_int_equal(net_take(&station[0]->c, 1000, &m), NET_OK);
	net_commit(&station[0]->c);
	assert_got(station[1], 0, 5, 1, 1000);
	assert_got(station[2], 0, 5, 1, 1000);
	check_accounts();
}

/* Others get everything, the slow one what its queue holds, in order, when it has room again. */
static void slow_port(void **state)
{
	unsigned sent = 0, queued;

	(void)state;
	setup_ends(4, ",queue=128K");
	fake_room(station[1], 3);
	while (sent < 10 * 64) {
		assert_int_equal(send_plain(station[0], sent, 64, 1500), 64);
		sent += 64;
		check_accounts();
	}
	assert_int_equal(station[1]->n_got, 3);
	assert_got(station[2], 0, 0, sent, 1500);
	assert_got(station[3], 0, 0, sent, 1500);
	queued = (unsigned)counter_get(&port[1]->tx.held);
	assert_in_range(queued, 128 * KIB / 1600, 128 * KIB / 1500);
	assert_int_equal(counter_get(&port[1]->tx.dropped[NET_DROP_QUEUE_FULL]), sent - 3 - queued);
	settle(loop);
	assert_int_equal(station[1]->n_got, 3);
	fake_room(station[1], FAKE_ALL);
	settle(loop);
	assert_got(station[1], 0, 0, 3 + queued, 1500);
	assert_int_equal(counter_get(&port[1]->tx.held), 0);
	check_accounts();
	fake_forget(station[1]);
	assert_int_equal(send_plain(station[0], 7, 1, 1500), 1);
	assert_got(station[1], 0, 7, 1, 1500);
}

/* What comes while older frames wait goes behind them, also when there is room by then. */
static void order_is_kept(void **state)
{
	unsigned sent = 0;

	(void)state;
	setup_ends(3, "");
	for (unsigned i = 0; i < 200; i++) {
		fake_room(station[1], i % 7);
		fake_room(station[2], i % 3 ? FAKE_ALL : 0);
		assert_int_equal(send_plain(station[0], sent, i % 5, 60 + i), i % 5);
		sent += i % 5;
		if (i % 4 == 0)
			settle(loop);
		check_accounts();
	}
	fake_room(station[1], FAKE_ALL);
	fake_room(station[2], FAKE_ALL);
	settle(loop);
	for (unsigned k = 1; k < 3; k++) {
		unsigned seed = 0;

		assert_int_equal(station[k]->n_got, sent);
		for (unsigned i = 0; i < 200; i++) {
			for (unsigned j = 0; j < i % 5; j++, seed++)
				assert_true(is_plain(station[k]->got[seed].bytes, 60 + i, seed));
		}
	}
}

/* Where nobody has room nothing is lost: the giver keeps its frames, and is woken. */
static void all_slow(void **state)
{
	unsigned sent = 0, n;

	(void)state;
	setup_ends(3, ",queue=128K");
	fake_room(station[1], 0);
	fake_room(station[2], 0);
	do {
		n = send_plain(station[0], sent, 64, 9000);
		sent += n;
		check_accounts();
	} while (n == 64);
	assert_int_equal(send_plain(station[0], sent, 64, 9000), 0);
	settle(loop);
	station[0]->woken_for = 0;
	fake_room(station[2], FAKE_ALL);
	settle(loop);
	assert_int_equal(station[0]->woken_for & NET_WAKE_ROOM, NET_WAKE_ROOM);
	assert_got(station[2], 0, 0, sent, 9000);
	assert_int_equal(send_plain(station[0], sent, 1, 9000), 1);
	assert_got(station[2], sent, sent, 1, 9000);
	fake_room(station[1], FAKE_ALL);
	settle(loop);
	assert_got(station[1], 0, 0, sent, 9000);
	check_accounts();
}

static void giver_is_woken_when_the_slow_one_goes(void **state)
{
	unsigned n;

	(void)state;
	setup_ends(2, ",queue=128K");
	for (unsigned i = 0; i < 2; i++) {
		fake_room(station[1], 0);
		while ((n = send_plain(station[0], 0, 64, 9000)) == 64)
			;
		settle(loop);
		station[0]->woken_for = 0;
		if (i == 0)
			net_set_link(&station[1]->c, false);
		else
			remove_port(1);
		settle(loop);
		assert_int_equal(station[0]->woken_for & NET_WAKE_ROOM, NET_WAKE_ROOM);
		assert_int_equal(send_plain(station[0], 0, 64, 9000), 64);
		net_client_each(check_client, NULL);
		net_set_link(&station[1]->c, true);
		settle(loop);
	}
	assert_true(net_account_balanced(&station[1]->c.rx));
}

/* One takes whole what another needs in segments with checksums. */
static void offloads(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	setup_ends(3, "");
	net_takes_changed(&station[1]->c, 0);
	for (unsigned round = 0; round < 2; round++) {
		len = make_tcp(frames[0], 100, 40000, &m);
		m.gso = NET_GSO_TCP4;
		m.gso_size = 1000;
		batch.n = 0;
		batch_add(&batch, frames[0], len, &m);
		if (round)
			fake_room(station[2], 0);
		assert_int_equal(send_batch(station[0]), 1);
		fake_room(station[2], FAKE_ALL);
		settle(loop);
		assert_int_equal(station[2]->n_got, 1);
		assert_int_equal(station[2]->got[0].len, len);
		assert_memory_equal(&station[2]->got[0].meta, &m, sizeof(m));
		assert_memory_equal(station[2]->got[0].bytes, frames[0], len);
		assert_int_equal(station[1]->n_got, 40);
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(frame_needs(&station[1]->got[i].meta), 0);
		check_accounts();
		fake_forget(station[1]);
		fake_forget(station[2]);
	}
}

/* Segments are left in the core when the port has no room; then it can take more at once. */
static void offload_change_while_frames_wait(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	setup_ends(3, "");
	net_takes_changed(&station[1]->c, 0);
	fake_room(station[1], 5);
	for (unsigned i = 0; i < 3; i++) {
		len = make_tcp(frames[0], 100, 40000, &m);
		m.gso = NET_GSO_TCP4;
		m.gso_size = 1000;
		batch.n = 0;
		batch_add(&batch, frames[0], len, &m);
		assert_int_equal(send_batch(station[0]), 1);
		check_accounts();
	}
	assert_int_equal(station[1]->n_got, 5);
	net_takes_changed(&station[1]->c, NET_OFF_ALL);
	fake_room(station[1], FAKE_ALL);
	settle(loop);
	assert_int_equal(counter_get(&port[1]->tx.held), 0);
	assert_int_equal(station[1]->got[station[1]->n_got - 1].len, len);
	check_accounts();
}

static void links(void **state)
{
	(void)state;
	setup_ends(3, "");
	fake_room(station[1], 0);
	assert_int_equal(send_plain(station[0], 0, 10, 60), 10);
	net_set_link(&station[1]->c, false);
	settle(loop);
	assert_true(net_link_up(&station[0]->c)); /* a hub passes no link on */
	assert_int_equal(counter_get(&port[1]->tx.dropped[NET_DROP_LINK_DOWN]), 10);
	assert_int_equal(send_plain(station[0], 10, 10, 60), 10);
	assert_int_equal(counter_get(&port[1]->tx.dropped[NET_DROP_LINK_DOWN]), 20);
	assert_got(station[2], 0, 0, 20, 60);
	check_accounts();
	net_set_link(&station[1]->c, true);
	fake_room(station[1], FAKE_ALL);
	settle(loop);
	assert_int_equal(send_plain(station[0], 20, 10, 60), 10);
	assert_got(station[1], 0, 20, 10, 60);
	check_accounts();
}

static void quiesced(void **state)
{
	(void)state;
	setup_ends(3, "");
	fake_room(station[1], 5);
	assert_int_equal(send_plain(station[0], 0, 20, 60), 20);
	net_quiesce(&station[1]->c);
	check_accounts();
	fake_room(station[1], FAKE_ALL);
	assert_int_equal(send_plain(station[0], 20, 20, 60), 20);
	settle(loop);
	assert_int_equal(station[1]->n_got, 5);
	assert_int_equal(counter_get(&port[1]->tx.held), 35);
	net_start(&station[1]->c);
	settle(loop);
	assert_got(station[1], 0, 0, 40, 60);
	check_accounts();
}

/* With frames in its queue, and while the others go on; then the next one on that port gets none of them. */
static void port_goes(void **state)
{
	struct error err;

	(void)state;
	setup_ends(4, "");
	fake_room(station[1], 0);
	assert_int_equal(send_plain(station[0], 0, 64, 1000), 64);
	net_disconnect(port[1]);
	assert_int_equal(counter_get(&port[1]->tx.dropped[NET_DROP_STOPPED]), 64);
	check_accounts();
	assert_int_equal(send_plain(station[0], 0, 64, 1000), 64);
	fake_room(station[1], FAKE_ALL);
	assert_int_equal(net_connect(port[1], &station[1]->c, &err), 0);
	net_start(port[1]);
	settle(loop);
	assert_int_equal(station[1]->n_got, 0);
	fake_room(station[2], 0);
	assert_int_equal(send_plain(station[0], 64, 64, 1000), 64);
	assert_got(station[1], 0, 64, 64, 1000);
	check_accounts();
	remove_port(2);
	assert_int_equal(send_plain(station[0], 128, 10, 1000), 10);
	assert_got(station[3], 128, 64, 64, 1000);
	assert_got(station[3], 192, 128, 10, 1000);
	net_client_each(check_client, NULL);
}

static void two_hubs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++)
		add_end(i, i < 3 ? 1 : -2, i & 1 ? &fake_lender_ops : &fake_sender_ops, "");
	must("hubport,id=p6,hubid=1");
	must("hubport,id=p7,hubid=-2,netdev=p6");
	port[6] = net_client_find("p6", 0);
	port[7] = net_client_find("p7", 0);
	assert_int_equal(send_plain(station[0], 3, 64, 100), 64);
	for (unsigned i = 1; i < 6; i++)
		assert_got(station[i], 0, 3, 64, 100);
	assert_int_equal(station[0]->n_got, 0);
	check_accounts();
	refuse("hubport,id=x,hubid=5,netdev=p7", EBUSY, "p7");
	must("hubport,id=x,hubid=1");
	refuse("hubport,id=y,hubid=-2,netdev=x", ELOOP, "hub 1 - p6 - p7 - hub -2");
	refuse("hubport,id=y,hubid=1,netdev=x", ELOOP, "hub 1");
	assert_null(net_client_find("y", 0));
	must("hubport,id=z,hubid=3,netdev=x");
	must("hubport,id=z2,hubid=3");
	refuse("hubport,id=y,hubid=-2,netdev=z2", ELOOP, "hub 3 - z - x - hub 1 - p6 - p7 - hub -2");
	fake_forget(station[5]);
	assert_int_equal(send_plain(station[0], 3, 1, 100), 1);
	assert_got(station[5], 0, 3, 1, 100);
	for (unsigned i = 0; i < 3; i++) {
		struct error err;
		const char *const names[] = { "x", "z", "z2" };

		assert_int_equal(netdev_del(names[i], &err), 0);
	}
}

static void refused(void **state)
{
	struct error err;

	(void)state;
	setup_ends(1, "");
	refuse("hubport,id=x", EINVAL, "hubid");
	refuse("hubport,id=x,hubid=zero", EINVAL, "hubid=zero");
	refuse("hubport,id=x,hubid=2147483648", ERANGE, "hubid=2147483648");
	refuse("hubport,id=x,hubid=0,netdev=nobody", ENOENT, "nobody");
	refuse("hubport,id=x,hubid=0,netdev=e0", EBUSY, "e0");
	refuse("hubport,id=x,hubid=0,queue=127K", ERANGE, "queue");
	refuse("hubport,id=p0,hubid=0", EEXIST, "p0");
	refuse("hubport,id=x,hubid=0,hub=1", EINVAL, "hub");
	must("hubport,id=x,hubid=0");
	refuse("hubport,id=y,hubid=0,netdev=x", ELOOP, "hub 0");
	assert_int_equal(netdev_del("x", &err), 0);
}

/* ---- the queue alone ---- */

static void frame_queue(void **state)
{
	struct frameq *q = frameq_new(FRAMEQ_MIN);
	struct iovec out_arena[FRAMEQ_ARENA];
	struct batch out = { .iov = out_arena };
	unsigned in = 0, gone = 0, seed = 1, n;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		size_t len = 14 + (seed = seed * 1103515245 + 12345) / 65536 % (i % 100 ? 3000 : 60000);

		batch.n = 0;
		make_plain(frames[0], len, in);
		batch_add(&batch, frames[0], len, &(struct frame_meta){ .gso_size = (uint16_t)in });
		if (frameq_put(q, &batch, &batch.frame[0]))
			in++;
		else
			assert_false(frameq_has_room(q));
		if (i % 3 && frameq_count(q) < 70)
			continue;
		n = frameq_head(q, &out);
		assert_int_equal(n, MIN(frameq_count(q), (unsigned)NET_BATCH));
		for (unsigned k = 0; k < n; k++) {
			assert_int_equal(out.frame[k].meta.gso_size, (uint16_t)(gone + k));
			assert_true(is_plain(frame_iov(&out, &out.frame[k])->iov_base, out.frame[k].len, gone + k));
		}
		n = i % 17 ? n / 2 : n;
		frameq_pop(q, n);
		gone += n;
	}
	assert_true(in > 10000);
	assert_int_equal(frameq_count(q), in - gone);
	frameq_free(q);
}

static bool put(struct frameq *q, size_t len)
{
	batch.n = 0;
	make_plain(frames[0], len, 1);
	batch_add(&batch, frames[0], len, NULL);
	return frameq_put(q, &batch, &batch.frame[0]);
}

/* A frame at the start of the memory may not reach into the first one that waits, not by one byte. */
static void frame_queue_wraps(void **state)
{
	struct frameq *q = frameq_new(FRAMEQ_MIN);
	struct iovec out_arena[FRAMEQ_ARENA];
	struct batch out = { .iov = out_arena };
	unsigned fits = 0;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_true(put(q, 32000));
	assert_false(put(q, 4000)); /* neither behind them nor in front */
	frameq_pop(q, 1);
	for (size_t len = 32064; len > 31000 && !fits; len--)
		fits = put(q, len) ? (unsigned)len : 0;
	assert_in_range(fits, 32000, 32015); /* as large as the one that went, up to its padding */
	assert_false(put(q, 14));
	assert_int_equal(frameq_head(q, &out), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(is_plain(frame_iov(&out, &out.frame[i])->iov_base, i < 3 ? 32000 : fits, 1));
	frameq_free(q);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, hub_setup, hub_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(floods),
		TEST(alone),
		TEST(received_frames),
		TEST(slow_port),
		TEST(order_is_kept),
		TEST(all_slow),
		TEST(giver_is_woken_when_the_slow_one_goes),
		TEST(offloads),
		TEST(offload_change_while_frames_wait),
		TEST(links),
		TEST(quiesced),
		TEST(port_goes),
		TEST(two_hubs),
		TEST(refused),
		TEST(frame_queue),
		TEST(frame_queue_wraps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
