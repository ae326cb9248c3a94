/* SPDX-License-Identifier: BSD-2-Clause */
/* Hubs that learn, and that heed VLANs. */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/wirefmt.h"
#include "hubbench.h"

#define ALL 99 /* destination: everybody */

/* An Ethernet frame from station `src` to station `dst` of `len` bytes in all; tci < 0: without a tag. */
static void add_frame(unsigned src, unsigned dst, int tci, size_t len, const struct frame_meta *m)
{
	uint8_t *p = frames[batch.n];
	size_t at = 12;

	for (unsigned i = 0; i < 6; i++) {
		p[i] = dst == ALL ? 0xff : 0;
		p[6 + i] = 0;
	}
	if (dst != ALL) {
		p[0] = 2;
		p[5] = (uint8_t)dst;
	}
	p[6] = 2;
	p[11] = (uint8_t)src;
	if (tci >= 0) {
		put16(p + 12, ETH_VLAN);
		put16(p + 14, (unsigned)tci);
		at = 16;
	}
	put16(p + at, 0x88b5);
	for (size_t i = at + 2; i < len; i++)
		p[i] = (uint8_t)(i * 7 + src);
	batch_add(&batch, p, len, m);
}

static unsigned send_one(unsigned src, unsigned dst, int tci)
{
	batch.n = 0;
	add_frame(src, dst, tci, 100, NULL);
	return send_batch(station[src]);
}

/* Who got something, as bits; what they got is forgotten. */
static unsigned who(void)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < ENDS; i++) {
		if (!station[i])
			continue;
		assert_in_range(station[i]->n_got, 0, 1);
		bits |= station[i]->n_got << i;
		fake_forget(station[i]);
	}
	check_accounts();
	return bits;
}

static uint64_t dropped(unsigned i, enum net_drop why)
{
	return counter_get(&port[i]->rx.dropped[why]);
}

/* ---- learning ---- */

static void learns(void **state)
{
	(void)state;
	setup_ends(4, ",learning=on");
	send_one(0, 1, -1);
	assert_int_equal(who(), 0xe); /* not known: flooded */
	send_one(1, 0, -1);
	assert_int_equal(who(), 0x1);
	send_one(0, 1, -1);
	assert_int_equal(who(), 0x2);
	send_one(2, ALL, -1);
	assert_int_equal(who(), 0xb);
	send_one(3, 2, -1);
	assert_int_equal(who(), 0x4);
	/* A tag is nothing to it. */
	send_one(0, 1, 55);
	assert_int_equal(who(), 0x2);
	/* The destination is where the frame came from. */
	batch.n = 0;
	add_frame(5, 0, -1, 100, NULL);
	send_batch(station[0]);
	assert_int_equal(who(), 0);
	assert_int_equal(dropped(0, NET_DROP_SAME_PORT), 1);
}

static void stations_move(void **state)
{
	(void)state;
	setup_ends(4, ",learning=on");
	send_one(0, ALL, -1);
	who();
	batch.n = 0;
	add_frame(0, ALL, -1, 60, NULL); /* station 0, behind port 3 now */
	send_batch(station[3]);
	assert_int_equal(who(), 0x7);
	send_one(1, 0, -1);
	assert_int_equal(who(), 0x8);
	/* Its port goes: flooded until it is seen again. */
	net_disconnect(port[3]);
	send_one(1, 0, -1);
	assert_int_equal(who(), 0x5);
}

static void link_down_forgets(void **state)
{
	(void)state;
	setup_ends(4, ",learning=on");
	send_one(0, ALL, -1);
	who();
	net_set_link(&station[0]->c, false);
	settle(loop);
	send_one(1, 0, -1);
	assert_int_equal(who(), 0xc);
	assert_int_equal(counter_get(&port[0]->tx.dropped[NET_DROP_LINK_DOWN]), 1);
}

/* One batch for several ports; a slow one stops nobody, and what it has no room for is dropped. */
static void slow_station(void **state)
{
	unsigned sent = 0;

	(void)state;
	setup_ends(4, ",learning=on,queue=128K");
	for (unsigned i = 0; i < 4; i++)
		send_one(i, ALL, -1);
	for (unsigned i = 0; i < 4; i++)
		fake_forget(station[i]);
	fake_room(station[1], 0);
	for (unsigned round = 0; round < 10; round++) {
		batch.n = 0;
		for (unsigned i = 0; i < 64; i++)
			add_frame(0, 1 + i % 3, -1, 1000, NULL);
		assert_int_equal(send_batch(station[0]), 64);
		sent += 22;
		check_accounts();
	}
	assert_int_equal(station[1]->n_got, 0);
	assert_int_equal(station[2]->n_got, 210);
	assert_int_equal(station[3]->n_got, 210);
	fake_room(station[1], FAKE_ALL);
	settle(loop);
	assert_in_range(station[1]->n_got, 100, 131);
	assert_int_equal(counter_get(&port[1]->tx.dropped[NET_DROP_QUEUE_FULL]), sent - station[1]->n_got);
	check_accounts();
}

/* Where nobody has room the giver keeps what it has, each frame leaves once. */
static void all_slow(void **state)
{
	unsigned sent = 0, n, rounds = 0;

	(void)state;
	setup_ends(3, ",learning=on,queue=128K");
	for (unsigned i = 0; i < 3; i++)
		send_one(i, ALL, -1);
	for (unsigned i = 0; i < 3; i++)
		fake_forget(station[i]);
	fake_room(station[1], 0);
	fake_room(station[2], 0);
	do {
		batch.n = 0;
		for (unsigned i = 0; i < 64; i++)
			add_frame(0, ALL, -1, 3000, NULL);
		n = send_batch(station[0]);
		sent += n;
		check_accounts();
	} while (n == 64 && ++rounds < 100);
	assert_in_range(sent, 40, 64);
	settle(loop);
	station[0]->woken_for = 0;
	fake_room(station[1], FAKE_ALL);
	fake_room(station[2], FAKE_ALL);
	settle(loop);
	assert_int_equal(station[0]->woken_for & NET_WAKE_ROOM, NET_WAKE_ROOM);
	assert_int_equal(station[1]->n_got, sent);
	assert_int_equal(station[2]->n_got, sent);
	check_accounts();
}

static json_t *describe(unsigned i)
{
	json_t *o = net_describe(port[i]);

	assert_non_null(o);
	return o;
}

static void shows_its_table(void **state)
{
	json_t *o, *list, *e;

	(void)state;
	setup_ends(3, ",learning=on,ageing=1000");
	send_one(1, ALL, -1);
	o = describe(1);
	list = json_object_get(o, "addresses");
	assert_int_equal(json_array_size(list), 1);
	e = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(e, "mac")), "02:00:00:00:00:01");
	assert_int_equal(json_integer_value(json_object_get(e, "vlan")), 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "table"), "entries")), 1);
	json_decref(o);
	o = describe(0);
	assert_int_equal(json_array_size(json_object_get(o, "addresses")), 0);
	json_decref(o);
}

static void one_asks_for_all(void **state)
{
	struct error err;

	(void)state;
	add_end(0, 0, &fake_sender_ops, "");
	add_end(1, 0, &fake_lender_ops, "");
	send_one(0, 1, -1);
	assert_int_equal(who(), 2);
	add_end(2, 0, &fake_sender_ops, ",learning=on"); /* from now on it is a switch */
	send_one(1, ALL, -1);
	assert_int_equal(who(), 5);
	send_one(0, 1, -1);
	assert_int_equal(who(), 2);
	refuse("hubport,id=x,hubid=0,learning=off", EINVAL, "learning=off");
	refuse("hubport,id=x,hubid=0,ageing=5", EINVAL, "ageing=5");
	must("hubport,id=x,hubid=0,learning=on,ageing=5");
	refuse("hubport,id=y,hubid=0,learning=on,ageing=6", EINVAL, "ageing=6");
	must("hubport,id=y,hubid=1,learning=off");
	refuse("hubport,id=z,hubid=1,learning=on", EINVAL, "learning=on");
	assert_int_equal(netdev_del("x", &err), 0);
	assert_int_equal(netdev_del("y", &err), 0);
}

/* ---- VLANs ---- */

/* The VLAN tag of the only frame that end i got: -1: none, -2: no frame. */
static int tci_of(unsigned i)
{
	const struct fake_frame *g = &station[i]->got[0];
	size_t at = 12;
	int tci = -1;

	if (station[i]->n_got == 0)
		return -2;
	assert_int_equal(station[i]->n_got, 1);
	if (get16(g->bytes + 12) == ETH_VLAN) {
		tci = get16(g->bytes + 14);
		at = 16;
	}
	assert_int_equal(get16(g->bytes + at), 0x88b5);
	fake_forget(station[i]);
	return tci;
}

static void expect_tcis(const int *tci)
{
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(tci_of(i), tci[i]);
	check_accounts();
}

/* Two access ports of 10, one of 20, a trunk of all, one of 10-15 and 30 with native VLAN 20, one that says nothing. */
static void setup_vlans(const char *more)
{
	static const char *const ports[] = { "vlan-mode=access,tag=10",
					     "tag=10",
					     "vlan-mode=access,tag=20",
					     "vlan-mode=trunk",
					     "vlan-mode=trunk,trunks=10-15:30,tag=20",
					     "" };
	char text[100];

	for (unsigned i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "%s%s%s", *ports[i] ? "," : "", ports[i], more);
		add_end(i, 0, i & 1 ? &fake_lender_ops : &fake_sender_ops, text);
	}
	settle(loop);
}

static void vlans(void **state)
{
	(void)state;
	setup_vlans("");
	send_one(0, ALL, -1);
	expect_tcis((int[]){ -2, -1, -2, 10, 10, 10 });
	send_one(0, ALL, 0xa000); /* a priority tag: the priority stays */
	expect_tcis((int[]){ -2, -1, -2, 0xa00a, 0xa00a, 0xa00a });
	send_one(2, ALL, -1);
	expect_tcis((int[]){ -2, -2, -2, 20, -1, 20 });
	send_one(3, ALL, 0x6014);
	expect_tcis((int[]){ -2, -2, -1, -2, -1, 0x6014 });
	send_one(3, ALL, 30);
	expect_tcis((int[]){ -2, -2, -2, -2, 30, 30 });
	send_one(3, ALL, 31);
	expect_tcis((int[]){ -2, -2, -2, -2, -2, 31 });
	send_one(4, ALL, -1); /* native */
	expect_tcis((int[]){ -2, -2, -1, 20, -2, 20 });
	send_one(4, ALL, 20); /* the same, said */
	expect_tcis((int[]){ -2, -2, -1, 20, -2, 20 });
	send_one(5, ALL, -1);
	expect_tcis((int[]){ -2, -2, -2, -1, -2, -2 });
	send_one(5, ALL, 0xe000);
	expect_tcis((int[]){ -2, -2, -2, 0xe000, -2, -2 });
}

static void vlans_refused(void **state)
{
	(void)state;
	setup_vlans("");
	send_one(0, ALL, 10); /* access ports take no tags, not even their own */
	send_one(0, ALL, 20);
	assert_int_equal(dropped(0, NET_DROP_PORT_VLAN), 2);
	send_one(4, ALL, 31);
	send_one(3, ALL, 0xfff);
	assert_int_equal(dropped(4, NET_DROP_PORT_VLAN), 1);
	assert_int_equal(dropped(3, NET_DROP_PORT_VLAN), 1);
	batch.n = 0;
	add_frame(3, ALL, 10, 18, NULL);
	batch.frame[0].len = 17;
	batch.frame[0].cnt = 2;
	frame_iov(&batch, &batch.frame[0])[1].iov_len--;
	send_batch(station[3]);
	assert_int_equal(dropped(3, NET_DROP_MALFORMED), 1);
	batch.n = 0;
	add_frame(0, ALL, -1, NET_FRAME_MAX - 3, NULL);
	send_batch(station[0]);
	assert_int_equal(dropped(0, NET_DROP_TOO_BIG), 1);
	expect_tcis((int[]){ -2, -2, -2, -2, -2, -2 });
	send_one(3, ALL, 99); /* nobody carries it but the last, which goes */
	fake_forget(station[5]);
	remove_port(5);
	send_one(3, ALL, 99);
	assert_int_equal(dropped(3, NET_DROP_NO_PEER), 1);
}

static void send_twice_tagged(unsigned src, unsigned dst, int tci)
{
	batch.n = 0;
	add_frame(src, dst, tci, 100, NULL);
	put16(frames[0] + 16, ETH_VLAN); /* behind it: a tag of VLAN 30 */
	put16(frames[0] + 18, 30);
	put16(frames[0] + 20, 0x88b5);
	send_batch(station[src]);
}

/* What is behind a tag must not become the tag: nobody reaches VLAN 30 by way of another. */
static void vlans_twice_tagged(void **state)
{
	(void)state;
	setup_vlans(",learning=on");
	send_twice_tagged(0, ALL, 0);
	assert_int_equal(who(), 0);
	assert_int_equal(dropped(0, NET_DROP_PORT_VLAN), 1);
	send_twice_tagged(3, ALL, 20); /* access and native ports of 20 would take the first off */
	assert_int_equal(who(), 1 << 5);
	send_twice_tagged(3, ALL, 10);
	assert_int_equal(who(), 1 << 4 | 1 << 5);
	send_one(4, ALL, -1);
	who();
	send_one(3, 4, 20);
	assert_int_equal(who(), 1 << 4);
	send_twice_tagged(3, 4, 20);
	assert_int_equal(who(), 0);
	assert_int_equal(dropped(3, NET_DROP_NO_PEER), 1);
	send_twice_tagged(5, ALL, 0); /* VLAN 0 leaves as it came */
	assert_int_equal(who(), 1 << 3);
}

static void vlans_learn_by_themselves(void **state)
{
	(void)state;
	setup_vlans(",learning=on");
	send_one(3, ALL, 10);
	for (unsigned i = 0; i < 6; i++)
		fake_forget(station[i]);
	send_one(0, 3, -1);
	expect_tcis((int[]){ -2, -2, -2, 10, -2, -2 });
	send_one(2, 3, -1); /* not known in 20 */
	expect_tcis((int[]){ -2, -2, -2, 20, -1, 20 });
	send_one(3, 0, 10);
	expect_tcis((int[]){ -1, -2, -2, -2, -2, -2 });
	send_one(3, 0, 20);
	expect_tcis((int[]){ -2, -2, -1, -2, -1, 20 });
}

/* What the metadata points to moves with the tag; what lies behind it is the same bytes, however it was scattered. */
static void tags_and_offloads(void **state)
{
	static const int tcis[] = { -1, 10 };

	(void)state;
	add_end(0, 0, &fake_sender_ops, ",vlan-mode=trunk,tag=10");
	add_end(1, 0, &fake_sender_ops, ",vlan-mode=trunk");
	add_end(2, 0, &fake_lender_ops, ",vlan-mode=access,tag=10");
	settle(loop);
	net_takes_changed(&station[2]->c, 0);
	for (unsigned k = 0; k < 2; k++) {
		struct frame_meta m;
		uint8_t whole[6000];
		size_t len = make_tcp(whole, 1, 5000, &m);
		unsigned from = k ? 1 : 0, to = k ? 0 : 1;

		m.gso = NET_GSO_TCP4;
		m.gso_size = 1000;
		memcpy(frames[0], whole, len);
		if (tcis[k] >= 0) {
			memmove(frames[0] + 16, whole + 12, len - 12);
			put16(frames[0] + 12, ETH_VLAN);
			put16(frames[0] + 14, (unsigned)tcis[k]);
			len += 4;
			m.csum_start += 4;
			m.hdr_len += 4;
		}
		batch.n = 0;
		batch_add(&batch, frames[0], len, &m);
		/* cut in the middle of the addresses, and of the tag */
		frame_iov(&batch, &batch.frame[0])[0].iov_len = k ? 13 : 3;
		frame_iov(&batch, &batch.frame[0])[1] = (struct iovec){ frames[0] + (k ? 13 : 3), len - (k ? 13 : 3) };
		assert_int_equal(send_batch(station[from]), 1);
		assert_int_equal(station[to]->n_got, 1);
		assert_int_equal(station[to]->got[0].meta.csum_start, k ? 34 : 38);
		assert_int_equal(station[to]->got[0].meta.hdr_len, k ? 54 : 58);
		assert_int_equal(station[to]->got[0].len, 5054 + (k ? 0 : 4));
		assert_memory_equal(station[to]->got[0].bytes, whole, 12);
		assert_memory_equal(station[to]->got[0].bytes + (k ? 12 : 16), whole + 12, 5042);
		if (!k)
			assert_int_equal(get16(station[to]->got[0].bytes + 14), 10);
		assert_int_equal(station[2]->n_got, 5); /* cut, and without tags */
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(station[2]->got[i].len, 1054);
			assert_int_equal(get16(station[2]->got[i].bytes + 12), ETH_IPV4);
		}
		for (unsigned i = 0; i < 3; i++)
			fake_forget(station[i]);
		check_accounts();
	}
}

/* Metadata that points into the header cannot be moved. */
static void tags_and_wrong_offloads(void **state)
{
	(void)state;
	add_end(0, 0, &fake_sender_ops, ",vlan-mode=trunk,tag=10");
	add_end(1, 0, &fake_sender_ops, ",vlan-mode=trunk");
	settle(loop);
	batch.n = 0;
	add_frame(1, ALL, 10, 100, &(struct frame_meta){ .needs_csum = true, .csum_start = 17 });
	assert_int_equal(send_batch(station[1]), 1);
	assert_int_equal(dropped(1, NET_DROP_VNET_HDR), 1);
	check_accounts();
}

/* Frames of a great many pieces: some fit a chunk, some are flattened. */
static void many_pieces(void **state)
{
	static struct iovec slots[4][NET_IOV_MAX + 1];
	static struct iovec all[4 * (NET_IOV_MAX + 1)];

	(void)state;
	setup_ends(3, ",learning=on");
	for (unsigned cnt = NET_IOV_MAX - 2; cnt <= NET_IOV_MAX; cnt++) {
		struct batch b = { .iov = all, .n = 4 };

		batch.n = 0;
		for (unsigned k = 0; k < 4; k++) {
			add_frame(0, 100 + k, -1, 2000, NULL);
			for (unsigned i = 0; i < cnt; i++)
				slots[k][1 + i] = (struct iovec){ frames[k] + i, i + 1 < cnt ? 1 : 2000 - i };
			memcpy(&all[k * (NET_IOV_MAX + 1)], slots[k], sizeof(slots[k]));
			b.frame[k] = (struct frame){ .iov = k * (NET_IOV_MAX + 1) + 1, .cnt = cnt, .len = 2000 };
		}
		assert_int_equal(net_send(&station[0]->c, &b), 4);
		net_count_tx_in(&station[0]->c, 4);
		for (unsigned i = 1; i < 3; i++) {
			assert_int_equal(station[i]->n_got, 4);
			for (unsigned k = 0; k < 4; k++)
				assert_memory_equal(station[i]->got[k].bytes, frames[k], 2000);
			fake_forget(station[i]);
		}
		check_accounts();
	}
}

/* The guest changes the bytes behind our back: what was judged is what leaves. */
static unsigned change_send(struct net_client *c, struct batch *b)
{
	memset(frames[0], 0xee, 18); /* the first port that gets it: the bytes change now */
	for (unsigned i = 0; i < b->n; i++)
		net_count_rx_out(c, 1, b->frame[i].len);
	return b->n;
}

static void judged_by_a_copy(void **state)
{
	struct net_client_ops changing = fake_sender_ops;

	(void)state;
	changing.send = change_send;
	add_end(0, 0, &fake_sender_ops, ",vlan-mode=trunk");
	add_end(1, 0, &changing, ",vlan-mode=trunk");
	add_end(2, 0, &fake_sender_ops, ",vlan-mode=trunk");
	settle(loop);
	send_one(0, ALL, 0x600a);
	assert_int_equal(tci_of(2), 0x600a);
	check_accounts();
	remove_port(1);
	fake_free(station[1]);
	station[1] = NULL;
}

static void options_refused(void **state)
{
	(void)state;
	refuse("hubport,id=x,hubid=0,vlan-mode=access", EINVAL, "tag=");
	refuse("hubport,id=x,hubid=0,vlan-mode=hybrid", EINVAL, "vlan-mode=hybrid");
	refuse("hubport,id=x,hubid=0,tag=0", ERANGE, "tag=0");
	refuse("hubport,id=x,hubid=0,tag=4095", ERANGE, "tag=4095");
	refuse("hubport,id=x,hubid=0,tag=10,trunks=20", EINVAL, "vlan-mode=trunk");
	refuse("hubport,id=x,hubid=0,vlan-mode=access,tag=10,trunks=20", EINVAL, "trunks=20");
	static const char *const bad[] = { "",	  "x",	 "10-",	  "-10",      "20-10", "4095",
					   "10:", ":10", "10;20", "10-20-30", "1 ",    "99999999999999999999" };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[100];

		snprintf(text, sizeof(text), "hubport,id=x,hubid=0,trunks=%s", bad[i]);
		refuse(text, EINVAL, "trunks=");
	}
	must("hubport,id=p0,hubid=0,trunks=10,trunks=20-30:40,,50");
	port[0] = net_client_find("p0", 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, hub_setup, hub_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(learns),
		TEST(stations_move),
		TEST(link_down_forgets),
		TEST(slow_station),
		TEST(all_slow),
		TEST(shows_its_table),
		TEST(one_asks_for_all),
		TEST(vlans),
		TEST(vlans_refused),
		TEST(vlans_twice_tagged),
		TEST(vlans_learn_by_themselves),
		TEST(tags_and_offloads),
		TEST(tags_and_wrong_offloads),
		TEST(many_pieces),
		TEST(judged_by_a_copy),
		TEST(options_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
