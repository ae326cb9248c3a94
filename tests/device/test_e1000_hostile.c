/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * e1000 and drivers that mean harm: each test is a way in which virtual cards of this kind have been broken. What has to
 * hold each time: work is bounded by the ring, nothing but the driver's own buffers is written, accounts balance, and
 * the card works again after a reset, if not at once.
 */
#include "../unit/unit.h"

#include "../fake_net.h"
#include "base/iov.h"
#include "base/wirefmt.h"
#include "e1000_guest.h"
#include "leaks.h"

static struct eg guest, *const g = &guest;
static struct fake *wire;
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];

static const uint8_t our_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

static int setup(void **state)
{
	struct error err;

	(void)state;
	eg_open(g, "e1000,mac=52:54:00:12:34:56");
	wire = fake_new("wire", NET_KIND_BACKEND, &fake_sender_ops, g->loop);
	wire->gives = 0;
	assert_int_equal(net_connect(g->nic, &wire->c, &err), 0);
	net_start(&wire->c);
	fake_room(wire, FAKE_ALL);
	net_drained(&wire->c);
	return 0;
}

static void balanced(void)
{
	eg_settle(g);
	assert_true(net_account_balanced(&g->nic->tx));
	assert_true(net_account_balanced(&g->nic->rx));
}

static int wire_give(size_t len)
{
	struct net_window w;
	struct frame_meta m = { 0 };
	struct iov_cur cur;
	int r = net_lend(&wire->c, MIN(len, (size_t)NET_FRAME_MAX), &w);

	if (r)
		return r;
	make_plain(frame, len, 1);
	memcpy(frame, our_mac, MIN(len, sizeof(our_mac)));
	cur = iov_cur(w.iov, w.cnt);
	iov_put(&cur, frame, len);
	r = (int)net_take(&wire->c, len, &m);
	net_commit(&wire->c);
	eg_settle(g);
	return r;
}

/* After a reset all is well. */
static void works(void)
{
	unsigned had;

	eg_master(g, true);
	eg_write(g, E1000_IMC, ~0u);
	fake_room(wire, FAKE_ALL);
	eg_settle(g);
	fake_forget(wire);
	eg_up(g, 16, EG_RCTL);
	had = wire->n_got;
	for (unsigned i = 0; i < 40; i++) {
		make_plain(frame, 200, i);
		memcpy(frame, our_mac, 6);
		eg_send(g, frame, 200, TXD_RS);
		eg_tx_kick(g);
		assert_int_equal(eg_tx_reap(g), 1);
		assert_int_equal(wire->n_got, had + i + 1);
		assert_memory_equal(wire->got[had + i].bytes, frame, 200);
		assert_int_equal(wire_give(200), NET_OK);
		assert_int_equal(eg_receive(g, back, sizeof(back)), 200);
		assert_memory_equal(back, frame, 200);
	}
	balanced();
	eg_read(g, E1000_ICR);
}

static int teardown(void **state)
{
	(void)state;
	balanced();
	works();
	fake_free(wire);
	eg_close(g);
	return 0;
}

#define CONTEXT(ipcss, ipcso, ipcse, tucss, tucso, tucse)                                                 \
	((uint64_t)(ipcss) | (uint64_t)(ipcso) << 8 | (uint64_t)(ipcse) << 16 | (uint64_t)(tucss) << 32 | \
	 (uint64_t)(tucso) << 40 | (uint64_t)(tucse) << 48)
#define CONTEXT2(paylen, bits, hdrlen, mss) \
	((uint64_t)(paylen) | TXD_DEXT | TXD_RS | (bits) | (uint64_t)(hdrlen) << 40 | (uint64_t)(mss) << 48)
#define DATA(len, bits, popts) ((uint64_t)(len) | 1u << 20 | TXD_DEXT | TXD_RS | (bits) | (uint64_t)(popts) << 40)
#define TCP_CONTEXT	       CONTEXT(14, 24, 33, 34, 50, 0)
#define TSO		       (TXD_TSE | TUCMD_TCP | TUCMD_IP)

static uint64_t dropped_tx(enum net_drop why)
{
	return counter_get(&g->nic->tx.dropped[why]);
}

/* An IPv4 TCP packet at EG_FREE. */
static size_t packet(size_t n)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1, n, &m);

	memcpy(eg_at(g, EG_FREE), frame, len);
	return len;
}

/* All was used up, in order. */
static void all_consumed(void)
{
	eg_tx_kick(g);
	assert_int_equal(eg_read(g, E1000_TDH), g->tx_next);
	eg_tx_reap(g);
	assert_int_equal(g->tx_done, g->tx_next);
	balanced();
}

/* ---- transmit ---- */

/* A legacy descriptor inside a frame that is to be segmented; a context that comes in between. */
static void mixed_descriptors(void **state)
{
	size_t len = packet(4000);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned mss = 0; mss < 3000; mss += 37) {
		eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(4000, TSO, 54, mss));
		eg_tx_desc(g, EG_FREE, DATA(len - 100, TXD_TSE, POPTS_TXSM));
		eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(1, TSO, 255, 1)); /* lowered in the middle */
		eg_tx_desc(g, EG_FREE, 100 | TXD_RS);
		eg_tx_desc(g, EG_FREE, 0 | TXD_RS | TXD_EOP);
		all_consumed();
		assert_int_equal(dropped_tx(NET_DROP_MALFORMED), 1); /* MSS 0 */
		fake_forget(wire);
	}
}

/* Segmentation whose numbers cannot be. */
static void impossible_segments(void **state)
{
	static const unsigned hdrs[] = { 0, 1, 13, 33, 53, 54, 55, 255 }, msss[] = { 0, 1, 1448, 65535 };
	static const unsigned pays[] = { 0, 1, 500, 501, 0xfffff };
	size_t len = packet(500);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned h = 0; h < ARRAY_SIZE(hdrs); h++)
		for (unsigned m = 0; m < ARRAY_SIZE(msss); m++)
			for (unsigned p = 0; p < ARRAY_SIZE(pays); p++) {
				bool good = hdrs[h] == 54 && msss[m] && pays[p] && pays[p] <= 500;

				fake_forget(wire);
				eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(pays[p], TSO, hdrs[h], msss[m]));
				eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, POPTS_TXSM | POPTS_IXSM));
				all_consumed();
				assert_int_equal(wire->n_got > 0, good);
			}
	assert_int_equal(counter_get(&g->nic->tx.out),
			 counter_get(&g->nic->tx.in) + counter_get(&g->nic->tx.made) - dropped_tx(NET_DROP_MALFORMED));
}

/* Segmentation of what is no TCP; headers that lie, every byte of them. */
static void not_tcp(void **state)
{
	size_t len = packet(500);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(500, TXD_TSE | TUCMD_IP, 54, 100)); /* UDP */
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, POPTS_TXSM));
	eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(500, TXD_TSE | TUCMD_TCP, 54, 100)); /* IPv6 */
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, POPTS_TXSM));
	all_consumed();
	assert_int_equal(wire->n_got, 0);
	assert_int_equal(dropped_tx(NET_DROP_OFFLOAD), 2);
	for (unsigned at = 12; at < 54; at++)
		for (unsigned v = 0; v < 256; v += 5) {
			uint8_t *p = (uint8_t *)eg_at(g, EG_FREE) + at, old = *p;

			fake_forget(wire);
			*p = (uint8_t)v;
			eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(500, TSO, 54, 100));
			eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, POPTS_TXSM));
			eg_tx_desc(g, EG_FREE, DATA(MIN(len, (size_t)v), TXD_EOP, POPTS_TXSM | POPTS_IXSM));
			all_consumed();
			*p = old;
		}
}

/* Checksums at any place, in frames of any length. */
static void checksum_places(void **state)
{
	static const unsigned at[] = { 0, 1, 13, 58, 59, 60, 61, 254, 255 }, ends[] = { 0, 1, 33, 59, 60, 300, 65535 };

	(void)state;
	eg_up(g, 64, EG_RCTL);
	packet(500);
	for (unsigned s = 0; s < ARRAY_SIZE(at); s++)
		for (unsigned o = 0; o < ARRAY_SIZE(at); o++)
			for (unsigned e = 0; e < ARRAY_SIZE(ends); e++)
				for (unsigned len = 14; len < 554; len += 135) {
					fake_forget(wire);
					eg_tx_desc(g, CONTEXT(at[s], at[o], ends[e], at[s], at[o], ends[e]),
						   CONTEXT2(0, 0, 0, 0));
					eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP | TXD_VLE, 3));
					eg_tx_desc(g, EG_FREE,
						   (uint64_t)len | TXD_EOP | TXD_IC | TXD_RS | at[o] << 16 |
							   (uint64_t)at[s] << 40);
					all_consumed();
					assert_int_equal(wire->n_got, 2);
				}
}

/* One of the three ways to ask for a sum. */
static void ask_for_sum(unsigned way, uint64_t gpa, size_t len, const uint16_t r[3])
{
	if (way == 2) {
		eg_tx_desc(g, gpa,
			   (uint64_t)len | TXD_EOP | TXD_IC | TXD_RS | (uint64_t)r[1] << 16 | (uint64_t)r[0] << 40);
		return;
	}
	eg_tx_desc(g, CONTEXT(r[0], r[1], r[2], r[0], r[1], r[2]), CONTEXT2(0, 0, 0, 0));
	eg_tx_desc(g, gpa, DATA(len, TXD_EOP, way ? POPTS_TXSM : POPTS_IXSM));
}

/*
 * A checksum whose place, or bytes, are not all in the frame is none: the frame goes as it is, and no byte of an earlier
 * one with it. Nor is one over more than a header, in a batch of many, whose copies lie side by side.
 */
static void checksums_outside(void **state)
{
	static const uint16_t rows[][3] = { { 14, 59, 0 },     { 14, 60, 0 },  { 14, 255, 0 }, { 60, 24, 0 },
					    { 255, 24, 0 },    { 14, 59, 33 }, { 14, 24, 60 }, { 14, 24, 300 },
					    { 14, 24, 65535 }, { 34, 24, 33 } };
	static const uint16_t large[3] = { 14, 24, 1999 };

	(void)state;
	eg_up(g, 256, EG_RCTL);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned way = 0; way < 3 - (rows[i][2] != 0); way++) {
			fake_forget(wire);
			memset(eg_at(g, EG_FREE), 0xff, 1500);
			ask_for_sum(way, EG_FREE, 1500, (const uint16_t[3]){ 14, 24, 300 });
			all_consumed();
			make_plain(eg_at(g, EG_FREE), 60, i);
			ask_for_sum(way, EG_FREE, 60, rows[i]);
			all_consumed();
			assert_int_equal(wire->n_got, 2);
			assert_int_equal(wire->got[1].len, 60);
			assert_memory_equal(wire->got[1].bytes, eg_at(g, EG_FREE), 60);
		}
	}
	fake_forget(wire);
	for (unsigned i = 0; i < NET_BATCH; i++) {
		make_plain(eg_at(g, EG_FREE + i * 2048), 2000, i);
		ask_for_sum(0, EG_FREE + i * 2048, 2000, large);
	}
	all_consumed();
	assert_int_equal(wire->n_got, NET_BATCH);
	for (unsigned i = 0; i < NET_BATCH; i++)
		assert_memory_equal(wire->got[i].bytes, eg_at(g, EG_FREE + i * 2048), 2000);
}

/* Headers of other protocols than the context says, and cut short anywhere, to be segmented and to be summed. */
static void others_segmented(void **state)
{
	static const struct {
		unsigned type;
		const char *head; /* of the packet; zeros behind */
		unsigned len;
	} rows[] = {
		{ ETH_IPV4, "\x45\0\0\0\0\0\0\0\x40\x11", 10 },	      /* UDP */
		{ ETH_IPV4, "\x45\0\0\0\0\0\0\0\x40\x84", 10 },	      /* SCTP */
		{ ETH_IPV4, "\x45\0\0\x30\0\0\x20\x03\x40\x84", 10 }, /* ... a fragment */
		{ ETH_IPV4, "\x4f\0\0\0\0\0\0\0\x40\x06", 10 },	      /* options that are not there */
		{ ETH_IPV4, "\x44\0\0\0\0\0\0\0\x40\x06", 10 },	      /* a header of 16 bytes */
		{ ETH_IPV4, "\x60\0\0\0\0\0\0\0\x40\x06", 10 },	      /* of another version */
		{ ETH_IPV6, "\x60\0\0\0\0\x20\x2b\x40", 8 },	      /* a routing header */
		{ ETH_IPV6, "\x60\0\0\0\xff\xff\0\x40", 8 },	      /* hop by hop options */
		{ ETH_IPV6, "\x60\0\0\0\0\x20\x2c\x40", 8 },	      /* a fragment */
		{ ETH_IPV6, "\x45\0\0\0\0\0\x06\x40", 8 },
		{ 0x0806, "\0\1\x08\0\6\4\0\1", 8 }, /* ARP */
		{ 0x0005, "", 0 },		     /* a length */
		{ ETH_VLAN, "\0\1\x81\0\0\2\x81\0", 8 },
	};

	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		bool v6 = i & 1;
		unsigned l4 = v6 ? 54 : 34;
		uint8_t *p = eg_at(g, EG_FREE);

		memset(p, 0, 200);
		memcpy(p, our_mac, 6);
		put16(p + 12, rows[i / 2].type);
		memcpy(p + 14, rows[i / 2].head, rows[i / 2].len);
		p[l4 + 12] = 0x50;
		for (unsigned len = 0; len < 140; len++) {
			uint64_t kind = TXD_TSE | TUCMD_TCP | (v6 ? 0 : TUCMD_IP);

			fake_forget(wire);
			eg_tx_desc(g, CONTEXT(14, 24, l4 - 1, l4, l4 + 16, 0), CONTEXT2(len, kind, l4 + 20, 10));
			eg_tx_desc(g, EG_FREE, DATA(0, TXD_TSE, 3)); /* nothing, to begin with */
			eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, 3));
			eg_tx_desc(g, CONTEXT(14, 24, l4 - 1, l4, l4 + 16, 0), CONTEXT2(0, 0, 0, 0));
			eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP | TXD_VLE, 3));
			all_consumed();
			/* What is not segmented goes, padded; its fields are changed only where they are. */
			assert_int_equal(wire->n_got, 1);
			assert_int_equal(wire->got[0].len, MAX(len, 60u));
			if (len >= 14 && len <= 24)
				assert_memory_equal(wire->got[0].bytes, p, len);
		}
	}
	assert_int_equal(dropped_tx(NET_DROP_MALFORMED) + dropped_tx(NET_DROP_OFFLOAD), 2 * ARRAY_SIZE(rows) * 140);
}

/*
 * All that is done to a header, of one frame: an IP checksum, a sum that ends before the frame does, a tag. The slot in
 * front of what comes out of it is still the peer's to use.
 */
static void summed_with_tag(void **state)
{
	size_t len = packet(500);

	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
	for (unsigned end = 53; end < 60; end++) {
		fake_forget(wire);
		eg_tx_desc(g, CONTEXT(14, 24, 33, 34, 50, end), CONTEXT2(0, 0, 0, 0));
		eg_tx_desc(g, EG_FREE, DATA(len, TXD_EOP | TXD_VLE, 3) | 0x123ull << 48);
		all_consumed();
		assert_int_equal(wire->n_got, 1);
		assert_int_equal(wire->got[0].len, len + 4);
		assert_memory_equal(wire->got[0].bytes, frame, 12);
		assert_memory_equal(wire->got[0].bytes + 12, "\x81\x00\x01\x23\x08\x00", 6);
		assert_memory_equal(wire->got[0].bytes + 58, frame + 54, len - 54);
	}
}

/* A header in as many descriptors as it has bytes, with empty ones between. */
static void header_in_pieces(void **state)
{
	size_t len = packet(3000);

	(void)state;
	for (unsigned hdr = 54; hdr <= 255; hdr += 201) {
		eg_up(g, 256, EG_RCTL);
		fake_forget(wire);
		net_takes_changed(&wire->c, NET_OFF_ALL);
		eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(len - hdr, TSO, hdr, 1000));
		for (unsigned i = 0; i < 120; i++) {
			eg_tx_desc(g, EG_FREE + i, DATA(1, TXD_TSE, 3));
			eg_tx_desc(g, EG_FREE + i, DATA(0, TXD_TSE, 3));
		}
		eg_tx_desc(g, EG_FREE + 120, DATA(len - 120, TXD_TSE | TXD_EOP, 3));
		all_consumed();
		assert_int_equal(wire->n_got, hdr == 54); /* the other one is not what TCP says */
		if (hdr != 54)
			continue;
		assert_int_equal(wire->got[0].len, len);
		assert_int_equal(wire->got[0].meta.hdr_len, 54);
		assert_memory_equal(wire->got[0].bytes + 54, (uint8_t *)eg_at(g, EG_FREE) + 54, len - 54);
	}
}

/* The largest packets, with a tag before them: in one, and cut into the smallest segments that there may be. */
static void largest_with_tag(void **state)
{
	(void)state;
	for (size_t n = 65535 - 42; n <= 65535 - 38; n++) {
		size_t len = packet(n);
		bool fits = n <= 65535 - 40;

		eg_up(g, 64, EG_RCTL);
		eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
		for (unsigned whole = 0; whole < 2; whole++) {
			fake_forget(wire);
			net_takes_changed(&wire->c, whole ? NET_OFF_ALL : 0);
			eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(n, TSO, 54, whole ? 1448 : 16000));
			eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP | TXD_VLE, 3) | 0x123ull << 48);
			all_consumed();
			assert_int_equal(wire->n_got, !fits ? 0 : whole ? 1 : 5);
			for (unsigned i = 0; i < wire->n_got; i++)
				assert_memory_equal(wire->got[i].bytes + 12, "\x81\x00\x01\x23\x08\x00", 6);
			if (wire->n_got == 1)
				assert_int_equal(wire->got[0].len, len + 4);
		}
	}
	net_takes_changed(&wire->c, NET_OFF_ALL);
}

/* No end of a frame: a ring that is full of it, again and again; then one. */
static void endless(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	packet(500);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 63; i++)
			eg_tx_desc(g, EG_FREE, round & 1 ? 0xffff | TXD_RS : 100 | TXD_RS);
		all_consumed();
		assert_int_equal(wire->n_got, 0);
	}
	assert_int_equal(dropped_tx(NET_DROP_MALFORMED) + dropped_tx(NET_DROP_TOO_BIG), 1);
	eg_tx_desc(g, EG_FREE, 100 | TXD_RS | TXD_EOP); /* the end of all that */
	eg_tx_desc(g, EG_FREE, 100 | TXD_RS | TXD_EOP);
	all_consumed();
	assert_int_equal(wire->n_got, 1);
	/* Not full: it waits, for ever if need be. */
	eg_tx_desc(g, EG_FREE, 100 | TXD_RS);
	eg_tx_kick(g);
	assert_int_equal(eg_tx_reap(g), 0);
	eg_tx_desc(g, EG_FREE, 100 | TXD_RS | TXD_EOP);
	all_consumed();
	assert_int_equal(wire->n_got, 2);
	assert_int_equal(wire->got[1].len, 200);
}

static void sizes(void **state)
{
	(void)state;
	eg_up(g, 128, EG_RCTL);
	for (unsigned i = 0; i < 16; i++) /* sixteen times 64 KiB */
		eg_tx_desc(g, EG_FREE, 0xffff | TXD_RS | (i == 15 ? TXD_EOP : 0));
	eg_tx_desc(g, EG_FREE, DATA(0xfffff, TXD_EOP, 0));
	eg_tx_desc(g, EG_FREE, DATA(16289, TXD_EOP, 0));
	eg_tx_desc(g, EG_FREE, 0 | TXD_RS | TXD_EOP);
	eg_tx_desc(g, EG_FREE, DATA(16288, TXD_EOP, 0));
	all_consumed();
	assert_int_equal(dropped_tx(NET_DROP_TOO_BIG), 3);
	assert_int_equal(wire->n_got, 2);
	assert_int_equal(wire->got[0].len, 60);
	assert_int_equal(wire->got[1].len, 16288);
	/* Without padding. */
	eg_write(g, E1000_TCTL, TCTL_EN);
	for (unsigned len = 0; len < 20; len++)
		eg_tx_desc(g, EG_FREE, len | TXD_RS | TXD_EOP);
	all_consumed();
	assert_int_equal(dropped_tx(NET_DROP_TOO_SHORT), 14);
	assert_int_equal(wire->n_got, 8);
	/* A tag in front of as much as there may be. */
	eg_write(g, E1000_CTRL, CTRL_SLU | CTRL_VME);
	eg_tx_desc(g, EG_FREE, DATA(16288, TXD_EOP | TXD_VLE, 0));
	all_consumed();
	assert_int_equal(wire->got[8].len, 16292);
}

/* Very many pieces of one byte, and empty ones. */
static void many_pieces(void **state)
{
	(void)state;
	for (unsigned n = 900; n <= 3000; n += 300) {
		eg_up(g, 64, EG_RCTL);
		eg_write(g, E1000_TDBAL, EG_FREE + 0x10000);
		eg_write(g, E1000_TDLEN, 4096 * 16);
		for (unsigned i = 0; i < n; i++) {
			eg_put64(g, EG_FREE + 0x10000 + i * 16, EG_FREE);
			eg_put64(g, EG_FREE + 0x10000 + i * 16 + 8, (i & 1) | TXD_RS | (i == n - 1 ? TXD_EOP : 0));
		}
		eg_write(g, E1000_TDT, n);
		eg_settle(g);
		assert_int_equal(eg_read(g, E1000_TDH), n);
		for (unsigned i = 0; i < n; i++)
			assert_true(eg_get64(g, EG_FREE + 0x10000 + i * 16 + 8) >> 32 & TXD_DD);
		balanced();
	}
	/* Contexts alone, a ring full of them. */
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_TDBAL, EG_FREE + 0x10000);
	eg_write(g, E1000_TDLEN, 4096 * 16);
	for (unsigned i = 0; i < 4096; i++) {
		eg_put64(g, EG_FREE + 0x10000 + i * 16, ~0ull);
		eg_put64(g, EG_FREE + 0x10000 + i * 16 + 8, TXD_DEXT | TXD_RS | TXD_TSE);
	}
	eg_write(g, E1000_TDT, 4095);
	eg_settle(g);
	assert_int_equal(eg_read(g, E1000_TDH), 4095);
}

/* ---- rings ---- */

static void base(unsigned reg, uint64_t gpa, uint32_t len)
{
	eg_write(g, reg, (uint32_t)gpa);
	eg_write(g, reg + 4, (uint32_t)(gpa >> 32));
	eg_write(g, reg + 8, len);
}

/* Rings of every length, at every bad place, heads and tails of every value, in every order. */
static void rings(void **state)
{
	static const uint64_t places[] = {
		0,	    EG_FREE,	       EG_FREE + 8,	 EG_RAM0 - 128,	   EG_RAM0 - 64, EG_RAM0,
		EG_BAR_MEM, EG_RAM1_END - 128, EG_RAM1_END - 16, UINT64_MAX - 127, 1ull << 63,	 0x500000
	};
	static const uint32_t lens[] = { 0, 1, 0x7f, 0x80, 0x100, 0xfff80, 0xffffffff };
	static const uint32_t ends[] = { 0, 1, 7, 8, 15, 0xffff, 0xffffffff };

	(void)state;
	for (unsigned p = 0; p < ARRAY_SIZE(places); p++)
		for (unsigned l = 0; l < ARRAY_SIZE(lens); l++)
			for (unsigned h = 0; h < ARRAY_SIZE(ends); h++)
				for (unsigned t = 0; t < ARRAY_SIZE(ends); t++) {
					bool first = (p + l + h + t) & 1;

					eg_write(g, E1000_CTRL, CTRL_RST);
					if (first) {
						eg_write(g, E1000_TCTL, TCTL_EN | TCTL_PSP);
						eg_write(g, E1000_RCTL, RCTL_EN | RCTL_UPE);
					}
					base(E1000_TDBAL, places[p], lens[l]);
					base(E1000_RDBAL, places[p], lens[l]);
					eg_write(g, E1000_TDT, ends[t]);
					eg_write(g, E1000_RDT, ends[t]);
					eg_write(g, E1000_TDH, ends[h]);
					eg_write(g, E1000_RDH, ends[h]);
					if (!first) {
						eg_write(g, E1000_TCTL, TCTL_EN | TCTL_PSP);
						eg_write(g, E1000_RCTL, RCTL_EN | RCTL_UPE);
					}
					eg_settle(g);
					for (unsigned i = 0; i < 3; i++)
						wire_give(100);
					fake_forget(wire);
				}
	balanced();
}

/* One of the 720 orders of six things. */
static void order_of(unsigned number, unsigned order[6])
{
	for (unsigned i = 0; i < 6; i++)
		order[i] = i;
	for (unsigned i = 6; i > 1; number /= i--) {
		unsigned k = number % i, last = order[i - 1];

		order[i - 1] = order[k];
		order[k] = last;
	}
}

/* The six registers of a ring in every order: it works when the last one that it needs is there. */
static void every_order(void **state)
{
	enum {
		LOW,
		HIGH,
		LEN,
		HEAD,
		TAIL,
		ENABLE
	};

	(void)state;
	for (unsigned number = 0; number < 2 * 720; number++) {
		bool tx = number & 1, twice = false;
		unsigned base = tx ? E1000_TDBAL : E1000_RDBAL, order[6], have = 0;

		eg_write(g, E1000_CTRL, CTRL_RST);
		eg_settle(g);
		fake_forget(wire);
		make_plain(frame, 100, number);
		memcpy(eg_at(g, EG_FREE), frame, 100);
		eg_put64(g, EG_TX_RING, EG_FREE);
		eg_put64(g, EG_TX_RING + 8, 100 | TXD_EOP);
		for (unsigned i = 0; i < 8; i++) {
			eg_put64(g, EG_RX_RING + i * 16, EG_RX_BUF(i));
			eg_put64(g, EG_RX_RING + i * 16 + 8, 0);
		}
		order_of(number / 2, order);
		for (unsigned i = 0; i < 6; i++) {
			static const unsigned off[] = { 0, 4, 8, 0x10, 0x18 };
			const uint32_t value[] = { tx ? EG_TX_RING : EG_RX_RING, 0, 128, 0, tx ? 1 : 7 };

			/* The head is set behind what was sent already: the driver asks for it once more. */
			twice |= order[i] == HEAD && !(~have & (1 << LOW | 1 << LEN | 1 << TAIL | 1 << ENABLE));
			have |= 1u << order[i];
			if (order[i] == ENABLE && tx)
				eg_write(g, E1000_TCTL, TCTL_EN | TCTL_PSP);
			else if (order[i] == ENABLE)
				eg_write(g, E1000_RCTL, RCTL_EN | EG_RCTL);
			else
				eg_write(g, base + off[order[i]], value[order[i]]);
			eg_settle(g);
		}
		assert_int_equal(have, 63);
		if (tx) {
			assert_int_equal(wire->n_got, twice ? 2 : 1);
			assert_memory_equal(wire->got[0].bytes, frame, 100);
			assert_int_equal(eg_read(g, E1000_TDH), 1);
		} else {
			assert_int_equal(wire_give(100), NET_OK);
			assert_int_equal(eg_get64(g, EG_RX_RING + 8) & 0xffff, 100);
			assert_memory_equal(eg_at(g, EG_RX_BUF(0)), frame, 100);
		}
	}
}

/* Enabled first, the base afterwards: the last values count. */
static void enabled_first(void **state)
{
	(void)state;
	eg_up(g, 16, EG_RCTL);
	make_plain(frame, 100, 7);
	memcpy(eg_at(g, EG_FREE), frame, 100);
	eg_put64(g, EG_RAM1, EG_FREE);
	eg_put64(g, EG_RAM1 + 8, 100 | TXD_EOP | TXD_RS);
	eg_write(g, E1000_TDLEN, 0);
	eg_write(g, E1000_TDBAL, EG_RAM1);
	eg_write(g, E1000_TDBAH, 0);
	eg_write(g, E1000_TDLEN, 128);
	eg_write(g, E1000_TDH, 0);
	eg_write(g, E1000_TDT, 1);
	eg_settle(g);
	assert_int_equal(wire->n_got, 1);
	assert_memory_equal(wire->got[0].bytes, frame, 100);
}

/* Descriptors and bytes in the card's own registers, in nothing, across the end of RAM. */
static void not_ram(void **state)
{
	static const uint64_t bad[] = { EG_BAR_MEM + E1000_TDT, EG_BAR_MEM, EG_RAM0 - 50, EG_RAM0, 1ull << 40,
					UINT64_MAX - 10 };

	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		eg_tx_desc(g, bad[i], 100 | TXD_EOP | TXD_RS);
		eg_tx_desc(g, EG_FREE, 14 | TXD_RS);
		eg_tx_desc(g, bad[i], DATA(100, TXD_EOP, 3));
		eg_put64(g, EG_RX_RING + i * 16, bad[i]);
	}
	all_consumed();
	assert_int_equal(wire->n_got, 0);
	assert_int_equal(dropped_tx(NET_DROP_MALFORMED), 2 * ARRAY_SIZE(bad));
	/* Receive: the bad ones are used up with nothing in them, the frame comes behind them. */
	assert_int_equal(wire_give(100), NET_OK);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t word = eg_get64(g, EG_RX_RING + i * 16 + 8);

		assert_int_equal(word, (uint64_t)RXD_DD << 32);
	}
	assert_int_equal(eg_get64(g, EG_RX_RING + ARRAY_SIZE(bad) * 16 + 8) & 0xffff, 100);
	assert_memory_equal(eg_at(g, EG_RX_BUF(ARRAY_SIZE(bad))), frame, 100);
	assert_int_equal(eg_read(g, E1000_RDH), ARRAY_SIZE(bad) + 1);
}

/* Null buffers among good ones: what is accounted for is what was written. */
static void null_buffers(void **state)
{
	(void)state;
	for (unsigned every = 1; every < 5; every++) {
		size_t got = 0;
		unsigned i;

		eg_up(g, 64, EG_RCTL | 3u << 16 | RCTL_LPE); /* 256 bytes each */
		for (i = 0; i < 64; i++)
			if (i % every == 0)
				eg_put64(g, EG_RX_RING + i * 16, 0);
		if (every == 1) { /* all of them: the ring is used up, and the wire waits */
			assert_int_equal(wire_give(1000), -EAGAIN);
			assert_int_equal(eg_read(g, E1000_RDH), 63);
			continue;
		}
		assert_int_equal(wire_give(1000), NET_OK);
		for (i = 0; got < 1000; i++) {
			uint64_t word = eg_get64(g, EG_RX_RING + i * 16 + 8);
			unsigned n = word & 0xffff;

			assert_true(word >> 32 & RXD_DD);
			assert_int_equal(n > 0, i % every != 0);
			assert_memory_equal(eg_at(g, EG_RX_BUF(i)), frame + got, n);
			got += n;
			assert_int_equal(!!(word >> 32 & RXD_EOP), got == 1000);
		}
		assert_int_equal(got, 1000);
	}
}

/* ---- receive ---- */

/*
 * Frames from the wire that are larger than the driver, or anybody, allows: they leave no trace but a number. A buffer of
 * the driver is as long as the longest frame that it lets in, whatever the register says.
 */
static void oversize(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned i = 0; i < 64; i++)
		memset(eg_at(g, EG_RX_BUF(i)), 0x5a, 4096);
	for (size_t len = 1519; len <= NET_FRAME_MAX; len += len < 20000 ? 97 : 9973)
		assert_int_equal(wire_give(len), NET_DROP_TOO_BIG);
	assert_int_equal(wire_give(NET_FRAME_MAX), NET_DROP_TOO_BIG);
	assert_true(eg_read(g, E1000_ROC) > 100);
	assert_int_equal(eg_read(g, E1000_RDH), 0);
	assert_int_equal(eg_get64(g, EG_RX_RING + 8), 0);
	for (unsigned i = 0; i < 64; i++)
		for (unsigned k = 1522; k < 4096; k++)
			assert_int_equal(((uint8_t *)eg_at(g, EG_RX_BUF(i)))[k], 0x5a);
}

/* All codes of the buffers' size, frames of every length: no more in a buffer than its code says, and nothing beside. */
static void buffer_codes(void **state)
{
	static const size_t lens[] = { 60,   251,  252,	 253,  508,  1000, 1514, 1518, 2043,  2044,
				       2045, 4091, 4092, 4093, 8188, 8189, 9014, 9018, 16379, 16380 };
	const uint32_t at = EG_FREE, step = 0x5000, n = 8; /* the largest buffer, and a place behind it */

	(void)state;
	for (unsigned code = 0; code < 16; code++) {
		uint32_t rctl = EG_RCTL | RCTL_LPE | (code & 3) << 16 | (code & 4 ? RCTL_BSEX : 0);
		size_t size = code & 4 && code & 3 ? 2048u * 16 >> (code & 3) : 2048u >> (code & 3);

		if (code & 8)
			rctl &= ~RCTL_SECRC;
		for (unsigned l = 0; l < ARRAY_SIZE(lens); l++) {
			size_t want = lens[l] + (code & 8 ? 4 : 0), got = 0;
			bool fits = want <= 7 * size;

			eg_up(g, n, rctl);
			for (unsigned i = 0; i < n; i++)
				eg_put64(g, EG_RX_RING + i * 16, at + i * step);
			memset(eg_at(g, at), 0xa5, (size_t)n * step);
			if (!fits) {
				assert_int_equal(wire_give(lens[l]), NET_DROP_BUFFER_SMALL);
				assert_int_equal(eg_read(g, E1000_MPC), 1);
				continue;
			}
			assert_int_equal(wire_give(lens[l]), NET_OK);
			for (unsigned i = 0; i < n; i++) {
				uint64_t word = eg_get64(g, EG_RX_RING + i * 16 + 8);
				const uint8_t *p = eg_at(g, at + i * step);
				size_t k = word & 0xffff;

				assert_true(k <= size);
				assert_int_equal(k == size || got + k == want || !k, true);
				if (k)
					assert_memory_equal(p, frame + got, MIN(k, lens[l] > got ? lens[l] - got : 0));
				got += k;
				for (k = size; k < step; k++)
					assert_int_equal(p[k], 0xa5);
			}
			assert_int_equal(got, want);
		}
	}
}

/* A frame that fills all buffers to the last byte, so that there is no place for its CRC; likewise when it is looped. */
static void crc_has_no_place(void **state)
{
	(void)state;
	for (unsigned loop = 0; loop < 2; loop++)
		for (unsigned over = 0; over < 8; over++) {
			size_t len = 7 * 256 - 8 + over;
			bool fits = len + 4 <= 7 * 256;

			eg_up(g, 8, (EG_RCTL & ~RCTL_SECRC) | 3u << 16 | RCTL_LPE | (loop ? 3u << 6 : 0));
			if (loop) {
				make_plain(frame, len, over);
				memcpy(eg_at(g, EG_FREE), frame, len);
				eg_tx_desc(g, EG_FREE, len | TXD_EOP | TXD_RS);
				all_consumed();
			} else {
				assert_int_equal(wire_give(len), fits ? NET_OK : NET_DROP_BUFFER_SMALL);
			}
			assert_int_equal(eg_receive(g, back, sizeof(back)), fits ? (int)len + 4 : -1);
			assert_int_equal(eg_read(g, E1000_MPC), !fits);
			if (fits)
				assert_memory_equal(back, frame, len);
		}
}

/* The limits of a frame's length, and what is counted. */
static void long_frames(void **state)
{
	static const size_t lens[] = { 1514, 1518, 1519, 9014, 9018, 16380, 16381, 17000 };

	(void)state;
	for (unsigned lpe = 0; lpe < 2; lpe++)
		for (unsigned sbp = 0; sbp < 2; sbp++)
			for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
				bool good = lens[i] <= (lpe ? 16380u : 1518u);

				eg_up(g, 64, EG_RCTL | (lpe ? RCTL_LPE : 0) | (sbp ? 1u << 2 : 0));
				assert_int_equal(wire_give(lens[i]), good ? NET_OK : NET_DROP_TOO_BIG);
				assert_int_equal(eg_read(g, E1000_ROC), !good);
				assert_int_equal(eg_read(g, E1000_RLEC), !good);
				assert_int_equal(eg_read(g, E1000_GPRC), good);
				assert_int_equal(eg_read(g, E1000_TPR), 1);
				assert_int_equal(eg_read(g, E1000_TORL), lens[i] + 4);
				assert_int_equal(eg_read(g, E1000_PRC64 + 20), good);
			}
}

/* RDT is written, and what is in the buffers turned over, between lending and taking: nothing is entered twice. */
static void tail_in_between(void **state)
{
	struct frame_meta m = { 0 };
	struct net_window w;

	(void)state;
	eg_up(g, 8, EG_RCTL);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(net_lend(&wire->c, 1000, &w), 0);
		make_plain(frame, 1000, i);
		iov_write_at(w.iov, w.cnt, 0, frame, 1000);
		eg_write(g, E1000_RDT, (i * 5) % 8);
		eg_write(g, E1000_RDT, (i + 7) % 8);
		eg_write(g, E1000_TDT, 0);
		assert_int_equal(net_take(&wire->c, 1000, &m), NET_OK);
		net_commit(&wire->c);
		assert_int_equal(eg_receive(g, back, sizeof(back)), 1000);
		assert_memory_equal(back, frame, 1000);
		eg_settle(g);
	}
	/* All buffers are the register of their own tail: there is none. */
	eg_up(g, 8, EG_RCTL);
	for (unsigned i = 0; i < 8; i++)
		eg_put64(g, EG_RX_RING + i * 16, EG_BAR_MEM + E1000_RDT);
	assert_int_equal(wire_give(100), -EAGAIN);
	assert_int_equal(eg_read(g, E1000_RDH), 7);
}

/* The hash's first and last bit by each selection; the last VLAN; the last address, turned on and off. */
static void filter_edges(void **state)
{
	static const uint8_t shift[] = { 4, 3, 2, 0 };
	struct frame_meta m = { 0 };

	(void)state;
	for (unsigned mo = 0; mo < 4; mo++)
		for (unsigned top = 0; top < 2; top++)
			for (unsigned on = 0; on < 2; on++) {
				unsigned word = top ? E1000_MTA + 4 * 127 : E1000_MTA, v = (top ? 0xfffu : 0)
											   << shift[mo];
				uint32_t bit = top ? 1u << 31 : 1;
				struct net_window w;

				eg_up(g, 8, RCTL_SECRC | mo << 12);
				eg_write(g, word, on ? bit : ~bit);
				make_plain(frame, 60, 1);
				frame[0] = 1;
				frame[4] = (uint8_t)v;
				frame[5] = (uint8_t)(v >> 8);
				assert_int_equal(net_lend(&wire->c, 60, &w), 0);
				iov_write_at(w.iov, w.cnt, 0, frame, 60);
				assert_int_equal(net_take(&wire->c, 60, &m), on ? NET_OK : NET_DROP_FILTER_MAC);
				net_commit(&wire->c);
			}
	/* Source addresses, and a selection that does not exist (13.5: reserved). */
	for (unsigned asel = 0; asel < 4; asel++) {
		struct net_window w;

		eg_up(g, 8, RCTL_SECRC);
		make_plain(frame, 60, 1);
		eg_write(g, E1000_RA + 8 * 15, 0x00000002);
		eg_write(g, E1000_RA + 8 * 15 + 4, 0x80000200 | asel << 16);
		assert_int_equal(net_lend(&wire->c, 60, &w), 0);
		iov_write_at(w.iov, w.cnt, 0, frame, 60);
		assert_int_equal(net_take(&wire->c, 60, &m), asel == 1 ? NET_OK : NET_DROP_FILTER_MAC);
		net_commit(&wire->c);
	}
}

/* A window that is filled after the ring was taken away: no byte is reported. */
static void taken_away(void **state)
{
	struct frame_meta m = { 0 };
	struct net_window w;

	(void)state;
	for (unsigned how = 0; how < 5; how++) {
		eg_up(g, 64, EG_RCTL);
		assert_int_equal(net_lend(&wire->c, 1000, &w), 0);
		if (how == 0)
			eg_write(g, E1000_CTRL, CTRL_RST);
		else if (how == 1)
			eg_write(g, E1000_RCTL, EG_RCTL);
		else if (how == 2)
			eg_write(g, E1000_RDLEN, 0);
		else if (how == 3)
			eg_write(g, E1000_RDH, 5);
		else
			eg_master(g, false);
		assert_int_equal(net_take(&wire->c, 1000, &m), NET_DROP_STOPPED);
		net_commit(&wire->c);
		assert_int_equal(eg_get64(g, EG_RX_RING + 8), 0);
		eg_master(g, true);
		balanced();
	}
}

/* The ring is turned off and on while frames come and go. */
static void toggled(void **state)
{
	(void)state;
	eg_up(g, 64, EG_RCTL);
	for (unsigned i = 0; i < 500; i++) {
		if (i % 3 == 0)
			eg_write(g, E1000_RCTL, EG_RCTL | (i & 1 ? RCTL_EN : 0));
		if (i % 5 == 0)
			eg_write(g, E1000_TCTL, TCTL_PSP | (i & 1 ? TCTL_EN : 0));
		if (i % 7 == 0)
			eg_write(g, E1000_RA + 4, i & 2 ? 0x80005634 : 0x5634);
		fake_room(wire, i % 4);
		eg_send(g, frame, 100, TXD_RS);
		eg_tx_kick(g);
		eg_tx_reap(g);
		wire_give(100);
		eg_receive(g, back, sizeof(back));
		balanced();
		fake_forget(wire);
	}
}

/* ---- loopback and recursion ---- */

/* What comes back is written over the ring that it came from, the card's registers, and itself. */
static void loop_on_itself(void **state)
{
	static const uint64_t places[] = { EG_TX_RING, EG_RX_RING, EG_BAR_MEM + E1000_TDT, EG_FREE };

	(void)state;
	for (unsigned p = 0; p < ARRAY_SIZE(places); p++) {
		eg_up(g, 64, EG_RCTL | 3u << 6);
		for (unsigned i = 0; i < 64; i++)
			eg_put64(g, EG_RX_RING + i * 16, places[p]);
		for (unsigned round = 0; round < 50; round++) {
			for (unsigned i = 0; i < 1024; i += 8)
				eg_put64(g, EG_FREE + i, round & 1 ? ~0ull : 60ull | TXD_EOP | TXD_RS);
			for (unsigned i = 0; i < 20; i++)
				eg_tx_desc(g, EG_FREE, 1000 | TXD_EOP | TXD_RS);
			eg_write(g, E1000_TDT, g->tx_next);
			eg_write(g, E1000_RDT, round % 64);
			eg_settle(g);
		}
		assert_int_equal(wire->n_got, 0);
	}
}

/* Looped frames that are to be cut, and for which there is no buffer. */
static void loop_offloads(void **state)
{
	size_t len = packet(4000);
	unsigned n = 0;

	(void)state;
	eg_up(g, 64, EG_RCTL | 1u << 6);
	eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(4000, TSO, 54, 1000));
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, 3));
	all_consumed();
	while (eg_receive(g, back, sizeof(back)) == 1054)
		n++;
	assert_int_equal(n, 4);
	eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(4000, TSO, 54, 1));
	eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, 3));
	all_consumed();
	assert_true(eg_read(g, E1000_MPC) > 0);
	while (eg_receive(g, back, sizeof(back)) >= 0)
		eg_settle(g);
	/* Much of it, of every short length, by the PHY too. */
	for (unsigned i = 0; i < 100000; i++) {
		if (i == 50000) {
			eg_up(g, 64, EG_RCTL);
			eg_phy_write(g, 0, 0x4140);
		}
		eg_tx_desc(g, EG_FREE, (i % 70) | TXD_EOP | TXD_RS);
		eg_tx_kick(g);
		eg_tx_reap(g);
		assert_int_equal(eg_receive(g, back, sizeof(back)), MAX(i % 70, 60u));
	}
	assert_int_equal(wire->n_got, 0);
	eg_phy_write(g, 0, 0x1140);
	eg_step(g, 10 * NSEC_PER_MSEC);
}

/*
 * Large frames looped back, cut into segments of a byte each, or of 300, that no filter lets in and that so take no
 * buffers: the loop has its turns all the same.
 */
static void loop_takes_turns(void **state)
{
	static const uint16_t mss[] = { 1, 300 };
	const unsigned n = 150;
	size_t len = packet(60000);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(mss); i++) {
		uint64_t looped = counter_get(&g->dev->looped);
		unsigned all = 0;

		eg_up(g, 256, 3u << 6);
		eg_tx_desc(g, TCP_CONTEXT, CONTEXT2(60000, TSO, 54, mss[i]));
		for (unsigned k = 0; k < n; k++)
			eg_tx_desc(g, EG_FREE, DATA(len, TXD_TSE | TXD_EOP, 3));
		eg_write(g, E1000_TDT, g->tx_next);
		while (loop_turn(g->loop)) {
			unsigned judged = eg_read(g, E1000_TPR), missed = eg_read(g, E1000_MPC);

			assert_true(judged + missed <= NET_BATCH * 4 * NET_BATCH);
			all += judged + missed;
		}
		assert_int_equal(counter_get(&g->dev->looped), looped + n);
		assert_int_equal(eg_read(g, E1000_TDH), g->tx_next);
		assert_int_equal(all, mss[i] == 1 ? n : n * 200);
	}
}

/* ---- interrupts ---- */

/* Timers of the largest and the smallest value, a mode that changes while they run, a reset while they run. */
static void timers(void **state)
{
	(void)state;
	for (unsigned v = 0; v < 3; v++) {
		uint32_t t = v == 0 ? 0xffff : v == 1 ? 1 : 0;

		eg_up(g, 64, EG_RCTL);
		eg_write(g, E1000_IMS, ~0u);
		for (unsigned off = 0; off < 5; off++)
			eg_write(g, (unsigned[]){ E1000_RDTR, E1000_RADV, E1000_TIDV, E1000_TADV, E1000_ITR }[off], t);
		for (unsigned i = 0; i < 5; i++) {
			wire_give(100);
			eg_send(g, frame, 100, TXD_RS | TXD_IDE);
			eg_tx_kick(g);
		}
		pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2,
				 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
		eg_step(g, 200 * NSEC_PER_MSEC);
		assert_false(g->level);
		eg_master(g, true);
		eg_step(g, 200 * NSEC_PER_MSEC);
		assert_true(g->level);
		wire_give(100);
		eg_write(g, E1000_CTRL, CTRL_RST);
		assert_false(g->level);
		eg_step(g, NSEC_PER_SEC);
		assert_false(g->level);
		assert_int_equal(eg_read(g, E1000_ICR), 0);
	}
}

/* No more than ITR allows, whatever the driver does. */
static void storm(void **state)
{
	unsigned edges;

	(void)state;
	eg_up(g, 64, EG_RCTL);
	eg_write(g, E1000_ITR, 488); /* 8000 a second */
	eg_write(g, E1000_IMS, ~0u);
	edges = atomic_load(&g->edges);
	for (unsigned i = 0; i < 10000; i++) {
		eg_write(g, E1000_ICS, 1u << i % 17);
		eg_step(g, 10000);
		eg_read(g, E1000_ICR);
	}
	assert_true((atomic_load(&g->edges) - edges) / 2 <= 801);
}

/* ---- time after time ---- */

static void plugged(void **state)
{
	struct leaks before = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct opt_list l;
		struct error err;
		struct device *d;

		assert_int_equal(opt_list_parse("e1000,id=other", "driver", &l, &err), 0);
		d = device_add(&l, &err);
		opt_list_free(&l);
		assert_non_null(d);
		device_del(d);
		if (i == 10)
			before = leaks_now();
	}
	assert_int_equal(leaks_since(&before), 0);
	/* Registers after that, and a kick behind a reset. */
	eg_write(g, E1000_CTRL, CTRL_RST);
	eg_write(g, E1000_TDT, 5);
	eg_write(g, E1000_RDT, 5);
	eg_settle(g);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mixed_descriptors),
		TEST(impossible_segments),
		TEST(not_tcp),
		TEST(checksum_places),
		TEST(checksums_outside),
		TEST(others_segmented),
		TEST(summed_with_tag),
		TEST(header_in_pieces),
		TEST(largest_with_tag),
		TEST(endless),
		TEST(sizes),
		TEST(many_pieces),
		TEST(rings),
		TEST(every_order),
		TEST(enabled_first),
		TEST(not_ram),
		TEST(null_buffers),
		TEST(oversize),
		TEST(buffer_codes),
		TEST(crc_has_no_place),
		TEST(long_frames),
		TEST(tail_in_between),
		TEST(filter_edges),
		TEST(taken_away),
		TEST(toggled),
		TEST(loop_on_itself),
		TEST(loop_offloads),
		TEST(loop_takes_turns),
		TEST(timers),
		TEST(storm),
		TEST(plugged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
