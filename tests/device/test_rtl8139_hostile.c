/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtl8139 and drivers that mean harm or know no better: what has felled other models of this card and its relatives
 * (loops, lengths, addresses that are the card's own, resets in the middle), one test each.
 */
#include "../unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../fake_net.h"
#include "base/iov.h"
#include "base/log.h"
#include "leaks.h"
#include "rtl_guest.h"

static struct rtl_guest guest, *const g = &guest;
static struct fake *wire;
static uint8_t frame[NET_FRAME_MAX + 16], got[NET_FRAME_MAX];
static uint8_t before0[RG_RAM0], before1[RG_RAM1_END - RG_RAM1];

static int open_with(const char *options)
{
	struct error err;

	g->loop = loop_new("test", &err);
	assert_non_null(g->loop);
	wire = fake_new("wire", NET_KIND_BACKEND, &fake_sender_ops, g->loop);
	fake_room(wire, FAKE_ALL);
	rg_open(g, options);
	net_drained(&wire->c);
	settle(g->loop);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return open_with("netdev=wire,mac=52:54:00:aa:bb:cc");
}

/* It is well: after a reset, frames go and come in both modes. Then nothing is left, and nothing is lost. */
static int teardown(void **state)
{
	(void)state;
	settle(g->loop);
	fake_room(wire, FAKE_ALL);
	pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2,
			 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned i = 0; i < 2; i++) {
		static const struct frame_meta plain;
		struct net_window w;
		unsigned n;

		if (i)
			rg_up_cplus(g);
		else
			rg_up_c(g, 0, false);
		rg_write(g, R_RCR, 4, RCR_AAP);
		settle(g->loop);
		n = wire->n_got;
		make_plain(frame, 100, 5);
		assert_true(rg_send(g, frame, 100, 0, 0));
		rg_poll(g);
		settle(g->loop);
		assert_int_equal(wire->n_got, n + 1);
		assert_true(is_plain(wire->got[n].bytes, 100, 5));
		assert_int_equal(net_lend(&wire->c, 100, &w), 0);
		iov_write_at(w.iov, w.cnt, 0, frame, 100);
		assert_int_equal(net_take(&wire->c, 100, &plain), NET_OK);
		net_commit(&wire->c);
		assert_int_equal(rg_receive(g, got, sizeof(got)), 100);
	}
	assert_true(fake_balanced(g->nic));
	assert_true(fake_balanced(&wire->c));
	net_disconnect(g->nic);
	fake_free(wire);
	rg_close(g);
	return 0;
}

static int from_wire(size_t len)
{
	static const struct frame_meta plain;
	struct net_window w;
	int why;

	if (net_lend(&wire->c, MIN(len, (size_t)NET_FRAME_MAX), &w))
		return -EAGAIN;
	make_plain(frame, MIN(len, sizeof(frame)), 1);
	iov_write_at(w.iov, w.cnt, 0, frame, MIN(len, sizeof(frame)));
	why = net_take(&wire->c, len, &plain);
	net_commit(&wire->c);
	settle(g->loop);
	return why;
}

static void remember(void)
{
	memcpy(before0, rg_at(g, 0), sizeof(before0));
	memcpy(before1, rg_at(g, RG_RAM1), sizeof(before1));
}

/* RAM is as it was, but for [from, to) of the first block. */
static void unchanged_but(uint64_t from, uint64_t to)
{
	assert_memory_equal(before1, rg_at(g, RG_RAM1), sizeof(before1));
	assert_memory_equal(before0, rg_at(g, 0), from);
	if (to < RG_RAM0)
		assert_memory_equal(before0 + to, rg_at(g, to), RG_RAM0 - to);
}

static const uint64_t nowhere[] = {
	RG_BAR_MEM, /* its own registers */
	RG_BAR_MEM + R_TPPOLL,
	RG_RAM0,     /* a hole */
	RG_RAM0 - 8, /* RAM ends within */
	RG_RAM1_END - 1,
	RG_RAM1 - 1,
	UINT32_MAX - 3,
};

/* ---- transmission ---- */

/* B1: no descriptor ends the ring, and all are the device's. */
static void ring_without_end(void **state)
{
	(void)state;
	rg_up_cplus(g);
	make_plain(rg_at(g, RG_TX_BUF(0)), 60, 1);
	for (unsigned i = 0; i < 1024; i++) /* far beyond what the ring may have */
		rg_desc(g, RG_FREE, i, DESC_OWN | DESC_FS | DESC_LS | 60, 0, RG_TX_BUF(0));
	rg_write(g, R_TNPDS, 4, RG_FREE);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, RTL_DESCS);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(!!(rg_get32(g, RG_FREE + i * 16) & DESC_OWN), i >= RTL_DESCS);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, RTL_DESCS);
}

/* R6, R7: EOR at 0; LS without FS; FS without LS for ever; FS in the middle; rings that reach out of RAM. */
static void rings_of_nonsense(void **state)
{
	static const struct {
		unsigned n;
		uint32_t opts1;
		unsigned sent, dropped;
	} rows[] = {
		{ 1, DESC_EOR | DESC_FS | DESC_LS | 60, 1, 0 },
		{ 1, DESC_EOR | DESC_LS | 60, 0, 1 },
		{ 1, DESC_EOR | DESC_FS | 60, 0, 1 },
		{ 1, DESC_EOR | 60, 0, 1 },
		{ 64, DESC_FS | 60, 0, 1 },
		{ 64, DESC_FS | 0xffff, 0, 1 },
		{ 64, DESC_LS | 60, 0, 64 },
		{ 64, DESC_FS | DESC_LS | 0xffff, 0, 64 },
		{ 64, 0, 0, 1 },
		{ 64, DESC_FS | DESC_LS | 13, 0, 64 },
		{ 64, DESC_FS | DESC_LS, 0, 64 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t dropped = 0, now = 0;

		rg_up_cplus(g);
		fake_forget(wire);
		for (unsigned k = 0; k < NET_DROP_COUNT; k++)
			dropped += counter_get(&g->nic->tx.dropped[k]);
		for (unsigned k = 0; k < rows[i].n; k++)
			rg_desc(g, RG_TX_RING, k, DESC_OWN | rows[i].opts1, 0,
				(rows[i].opts1 & 0xffff) == 0xffff ? 0xf8000 : 0x40000);
		rg_poll(g);
		settle(g->loop);
		for (unsigned k = 0; k < NET_DROP_COUNT; k++)
			now += counter_get(&g->nic->tx.dropped[k]);
		assert_int_equal(wire->n_got, rows[i].sent);
		assert_int_equal(now - dropped, rows[i].dropped);
		for (unsigned k = 0; k < rows[i].n; k++)
			assert_false(rg_get32(g, RG_TX_RING + k * 16) & DESC_OWN);
	}
}

static void rings_nowhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		rg_up_cplus(g);
		remember();
		rg_write(g, R_TNPDS, 4, (uint32_t)nowhere[i]);
		rg_write(g, R_THPDS, 4, (uint32_t)nowhere[i]);
		rg_write(g, R_TPPOLL, 1, POLL_HIGH | POLL_NORMAL);
		settle(g->loop);
		rg_write(g, R_TNPDS + 4, 4, UINT32_MAX);
		rg_poll(g);
		settle(g->loop);
		unchanged_but(0, 0);
	}
}

/* A11, B13, B17: addresses that are registers, holes, ends of RAM, in transmit descriptors and slots. */
static void transmit_from_nowhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		rg_up_cplus(g);
		fake_forget(wire);
		rg_desc(g, RG_TX_RING, 0, DESC_OWN | DESC_EOR | DESC_FS | DESC_LS | 60, 0, nowhere[i]);
		rg_poll(g);
		settle(g->loop);
		assert_int_equal(wire->n_got, 0);
		assert_int_equal(rg_get32(g, RG_TX_RING) & (DESC_OWN | TXD_TES), TXD_TES);
		assert_int_equal(rg_read(g, R_ISR, 2) & INT_TER, INT_TER);

		rg_up_c(g, 0, false);
		rg_write(g, R_TSAD0, 4, (uint32_t)nowhere[i]);
		rg_write(g, R_TSD0, 4, 60);
		rg_write(g, R_TSD0 + 4, 4, 60);
		settle(g->loop);
		assert_int_equal(rg_read(g, R_TSD0, 4) & (TSD_OWN | TSD_TABT | TSD_TOK), TSD_OWN | TSD_TABT);
		assert_int_equal(rg_read(g, R_TSD0 + 4, 4) & (TSD_OWN | TSD_TABT | TSD_TOK), TSD_OWN | TSD_TOK);
		assert_int_equal(wire->n_got, 1); /* the next slot is well */
	}
}

/* R4, R5: sizes; a slot written twice; slots in another order than that of the device. */
static void slots_of_nonsense(void **state)
{
	static const uint32_t size[] = { 0, 1, 13, 14, 1792, 1793, 8191 };
	unsigned n = 0;

	(void)state;
	rg_up_c(g, 0, false);
	for (unsigned i = 0; i < ARRAY_SIZE(size); i++) {
		rg_write(g, R_TSD0 + 4 * (i % 4), 4, size[i]);
		settle(g->loop);
		n += size[i] >= 14;
		assert_int_equal(wire->n_got, n);
		assert_int_equal(!!(rg_read(g, R_TSD0 + 4 * (i % 4), 4) & TSD_TABT), size[i] < 14);
	}
	rg_up_c(g, 0, false);
	fake_forget(wire);
	for (unsigned i = 3; i > 0; i--)
		rg_write(g, R_TSD0 + 4 * i, 4, 60 + i);
	settle(g->loop);
	assert_int_equal(wire->n_got, 0); /* slot 0 is next, and not there */
	rg_write(g, R_TSD0, 4, 60);
	rg_write(g, R_TSD0, 4, 61);
	settle(g->loop);
	assert_int_equal(wire->n_got, 4);
	assert_int_equal(wire->got[0].len, 61);
	assert_int_equal(wire->got[3].len, 63);
	/* OWN set: not to be sent. */
	rg_write(g, R_TSD0, 4, TSD_OWN | 60);
	settle(g->loop);
	assert_int_equal(wire->n_got, 4);
}

/* A15, A16, A18, A24, B3, B4, R8: headers whose lengths lie, in frames that are to be offloaded. */
static void offloads_of_nonsense(void **state)
{
	static const uint32_t what[] = { TXD_IPCS,
					 TXD_IPCS | TXD_TCPCS,
					 TXD_IPCS | TXD_UDPCS,
					 TXD_TCPCS | TXD_UDPCS,
					 (uint32_t)TXD_LGSEN,
					 TXD_LGSEN | 1u << TXD_MSS_SHIFT,
					 TXD_LGSEN | 1448u << TXD_MSS_SHIFT,
					 TXD_LGSEN | (uint32_t)TXD_MSS << TXD_MSS_SHIFT };
	struct frame_meta m;

	(void)state;
	rg_up_cplus(g);
	srandom(8139);
	for (unsigned i = 0; i < 40000; i++) {
		uint32_t opts1 = what[i % ARRAY_SIZE(what)], opts2 = i & 64 ? TXD_TAGC | (uint32_t)(i & 0xffff) : 0;
		size_t len = make_tcp(frame, i, (size_t)random() % 200, &m), n = len;

		if (i & 8) /* one byte of the headers */
			frame[12 + random() % 42] = (uint8_t)random();
		if (i & 16)
			n = 14 + (size_t)random() % (len - 13);
		if (i & 32)
			memcpy(frame + 16, (uint8_t[]){ 0, (uint8_t)(random() % 64) }, 2);
		fake_forget(wire);
		net_takes_changed(&wire->c, i & 128 ? NET_OFF_ALL : 0);
		assert_true(rg_send(g, frame, (unsigned)n, opts1, opts2));
		rg_poll(g);
		settle(g->loop);
		for (unsigned k = 0; k < wire->n_got; k++) {
			const struct fake_frame *f = &wire->got[k];

			if (f->meta.needs_csum)
				assert_true(f->meta.csum_start + f->meta.csum_offset + 2u <= f->len);
			assert_true(!f->meta.gso || f->meta.gso_size);
			assert_true(f->len <= n + 4);
		}
		/* Not asked for a large send: it goes in any case, as long as it is. */
		if (!(opts1 & TXD_LGSEN)) {
			assert_int_equal(wire->n_got, 1);
			assert_int_equal(wire->got[0].len, n + (opts2 ? 4 : 0));
		}
		if (opts1 == (uint32_t)TXD_LGSEN)
			assert_int_equal(wire->n_got, 0);
		assert_int_equal(rg_get32(g, RG_TX_RING + (i % RTL_DESCS) * 16) & DESC_OWN, 0);
	}
}

/* A21, A22, B14: pieces whose sum is more than any frame. */
static void pieces_that_sum(void **state)
{
	(void)state;
	for (unsigned n = 2; n <= RTL_DESCS; n++) {
		rg_up_cplus(g);
		for (unsigned i = 0; i < n; i++)
			rg_desc(g, RG_TX_RING, i,
				DESC_OWN | (i ? 0 : DESC_FS) | (i + 1 == n ? DESC_LS | DESC_EOR : 0) | 0xffff, 0,
				0x40000);
		fake_forget(wire);
		rg_poll(g);
		settle(g->loop);
		assert_int_equal(wire->n_got, 0);
		assert_int_equal(rg_get32(g, RG_TX_RING) & (DESC_OWN | TXD_TES), TXD_TES);
	}
	assert_int_equal(counter_get(&g->nic->tx.dropped[NET_DROP_TOO_BIG]), RTL_DESCS - 1);
}

/* A25: the transmitter is on before its ring is told, in three writes, each of which could be its start. */
static void ring_told_late(void **state)
{
	(void)state;
	rg_up_cplus(g);
	make_plain(rg_at(g, RG_TX_BUF(0)), 60, 1);
	rg_desc(g, RG_RAM1, 0, DESC_OWN | DESC_EOR | DESC_FS | DESC_LS | 60, 0, RG_TX_BUF(0));
	rg_write(g, R_TNPDS + 4, 4, 7);
	rg_poll(g);
	settle(g->loop);
	rg_write(g, R_TNPDS, 4, RG_RAM1);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 0);
	rg_write(g, R_TNPDS + 4, 4, 0);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 1);
}

/* One of the n! orders of n things. */
static void order_of(unsigned number, unsigned n, unsigned *order)
{
	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n; i > 1; number /= i--) {
		unsigned k = number % i, last = order[i - 1];

		order[i - 1] = order[k];
		order[k] = last;
	}
}

/* A frame each way. */
static void works_now(void)
{
	assert_int_equal(from_wire(200), NET_OK);
	assert_int_equal(rg_receive(g, got, sizeof(got)), 200);
	make_plain(frame, 100, 3);
	assert_true(rg_send(g, frame, 100, 0, 0));
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 1);
	assert_true(is_plain(wire->got[0].bytes, 100, 3));
}

struct reg_write {
	uint8_t off, size;
	uint32_t value;
};

/* After a reset, these writes in the order of that number; with each third one the loop comes between any two. */
static void set_up_in_order(unsigned number, const struct reg_write *w, unsigned n)
{
	unsigned order[8];

	assert_true(n <= ARRAY_SIZE(order));
	rg_write(g, R_CR, 1, CR_RST);
	fake_forget(wire);
	settle(g->loop);
	order_of(number, n, order);
	for (unsigned i = 0; i < n; i++) {
		rg_write(g, w[order[i]].off, w[order[i]].size, w[order[i]].value);
		if (number % 3 == 0)
			settle(g->loop);
	}
	settle(g->loop);
}

/* The registers that set C+ mode up, in every order. */
static void every_order_cplus(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 5040; number++) {
		static const struct reg_write w[] = {
			{ R_CPCR, 2, CPCR_TX | CPCR_RX },
			{ R_CR, 1, CR_RE | CR_TE },
			{ R_TNPDS, 4, RG_TX_RING },
			{ R_TNPDS + 4, 4, 0 },
			{ R_RDSAR, 4, RG_RX_RING },
			{ R_RDSAR + 4, 4, 0 },
			{ R_RCR, 4, RCR_AAP },
		};

		rg_up_cplus(g);
		set_up_in_order(number, w, ARRAY_SIZE(w));
		works_now();
	}
}

/* Likewise of C mode; a slot's address, which is its own, among them. */
static void every_order_c(void **state)
{
	(void)state;
	for (unsigned number = 0; number < 720; number++) {
		static const struct reg_write w[] = {
			{ R_CPCR, 2, 0 },
			{ R_CR, 1, CR_RE | CR_TE },
			{ R_RBSTART, 4, RG_RING },
			{ R_TSAD0, 4, RG_TX_BUF(0) },
			{ R_RCR, 4, RCR_AAP | RCR_WRAP },
			{ R_CAPR, 2, 0xfff0 },
		};

		rg_up_c(g, 0, true);
		set_up_in_order(number, w, ARRAY_SIZE(w));
		assert_int_equal(rg_read(g, R_TSAD0, 4), RG_TX_BUF(0));
		works_now();
	}
}

/* ---- reception ---- */

/* B6: a frame that fills its buffers to the last byte, so that there is no place for its check sequence. */
static void no_place_for_the_check_sequence(void **state)
{
	(void)state;
	for (unsigned loop = 0; loop < 2; loop++)
		for (unsigned i = 0; i < 10; i++) {
			unsigned len = RG_RX_LEN - 8 + i, n = 7;
			bool fits = len + 4 <= RG_RX_LEN;

			/* C+: the ring has one descriptor. */
			rg_up_cplus(g);
			rg_write(g, R_RCR, 4, RCR_AAP);
			rg_desc(g, RG_RX_RING, 0, DESC_OWN | DESC_EOR | RG_RX_LEN, 0, RG_RX_BUF(0));
			memset(rg_at(g, RG_RX_BUF(0) + RG_RX_LEN), 0xa5, 16);
			if (loop)
				rg_write(g, R_TCR, 4, TCR_LBK);
			settle(g->loop);
			make_plain(frame, len, 1);
			if (loop) {
				assert_true(rg_send(g, frame, len, 0, 0));
				rg_poll(g);
				settle(g->loop);
			} else {
				assert_int_equal(from_wire(len), fits ? NET_OK : NET_DROP_NO_BUFFER);
			}
			assert_int_equal(!(rg_get32(g, RG_RX_RING) & DESC_OWN), fits);
			for (unsigned k = 0; k < 16; k++)
				assert_int_equal(*(uint8_t *)rg_at(g, RG_RX_BUF(0) + RG_RX_LEN + k), 0xa5);

			/* C: seven frames first, so that what is left of 8 KiB is what is wanted, or a little less. */
			rg_up_c(g, 0, false);
			rg_write(g, R_RCR, 4, (rg_read(g, R_RCR, 4) & ~63u) | RCR_AAP);
			settle(g->loop);
			remember();
			while (n--)
				assert_int_equal(from_wire(1000), NET_OK);
			assert_int_equal(rg_read(g, R_CBR, 2), 7 * 1008);
			/* 8192 - 7056 = 1136; four for the header, four for the check sequence, one so that it is not full. */
			assert_int_equal(from_wire(1120 + i), i + 1120 + 8 <= 1132 ? NET_OK : -EAGAIN);
			unchanged_but(RG_RING, RG_RING + 8192);
		}
}

/* B2, B7, B16: lengths that no frame has, from a peer that means harm too. */
static void lengths(void **state)
{
	static const size_t len[] = { 0,     1,	    13,		RTL_RX_MAX + 1, 65535,		 NET_FRAME_MAX,
				      65549, 65554, 0x80000001, UINT32_MAX,	(size_t)1 << 32, SIZE_MAX };

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(len); i++) {
		if (i & 1)
			rg_up_cplus(g);
		else
			rg_up_c(g, 3, false);
		rg_write(g, R_RCR, 4, (rg_read(g, R_RCR, 4) & ~63u) | RCR_AAP);
		settle(g->loop);
		assert_int_not_equal(from_wire(len[i / 2]), NET_OK);
		assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
	}
	/* The other mode takes longer ones. */
	rg_up_c(g, 3, false);
	rg_write(g, R_RCR, 4, (rg_read(g, R_RCR, 4) & ~63u) | RCR_AAP);
	settle(g->loop);
	assert_int_equal(from_wire(RTL_RX_MAX_C + 1), NET_DROP_TOO_BIG);
	assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
}

/* R2, B9, B10: CAPR is anything; what is written lies in the ring, also of a frame that is too long; it always ends. */
static void read_pointers(void **state)
{
	(void)state;
	srandom(38);
	for (unsigned rblen = 0; rblen < 4; rblen++) {
		uint32_t size = 8192u << rblen;

		for (unsigned wrap = 0; wrap < 2; wrap++) {
			rg_up_c(g, rblen, wrap);
			rg_write(g, R_RCR, 4, (rg_read(g, R_RCR, 4) & ~63u) | RCR_AAP);
			settle(g->loop);
			remember();
			for (unsigned i = 0; i < 300; i++) {
				rg_write(g, R_CAPR, 2, i < 40 ? rg_read(g, R_CBR, 2) + i - 28 : (uint32_t)random());
				from_wire(i % 4 ? 60 + (size_t)random() % 1455 : 1515 + (size_t)random() % 20000);
				assert_true(rg_read(g, R_CBR, 2) < size);
				assert_int_equal(rg_read(g, R_CBR, 2) % 4, 0);
			}
			unchanged_but(RG_RING, RG_RING + size + (wrap && rblen < 3 ? RTL_RING_SLACK : 0));
		}
	}
}

static unsigned lines_of(int fd)
{
	unsigned n = 0;
	char c;

	lseek(fd, 0, SEEK_SET);
	while (read(fd, &c, 1) == 1)
		n += c == '\n';
	return n;
}

/* A receiver that is turned off and on, its buffer nowhere: that is said, but not as often as the guest pleases. */
static void no_flood_of_messages(void **state)
{
	int said = memfd_create("stderr", MFD_CLOEXEC), was = dup(STDERR_FILENO);

	(void)state;
	rg_up_c(g, 0, false);
	rg_write(g, R_RBSTART, 4, RG_RAM0);
	fflush(stderr);
	dup2(said, STDERR_FILENO);
	log_init("test", LOG_WARN);
	for (unsigned i = 0; i < 2000; i++) {
		rg_write(g, R_CR, 1, CR_TE);
		rg_write(g, R_CR, 1, CR_TE | CR_RE);
		settle(g->loop);
		from_wire(100);
	}
	log_init("test", LOG_ERR);
	dup2(was, STDERR_FILENO);
	assert_in_range(lines_of(said), 1, 1000);
	close(was);
	close(said);
}

/* R3: receive buffers at the ends of RAM, and where there is none. */
static void buffers_at_the_end(void **state)
{
	static const uint64_t at[] = {
		RG_RAM0 - 1,	 RG_RAM0 - 8191, RG_RAM0 - 8192, RG_RAM0 - 8196, RG_RAM0 - 8192 - 1552,
		RG_RAM1_END - 1, RG_RAM1 - 1,	 RG_BAR_MEM,	 UINT32_MAX
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(at); i++) {
		uint64_t base = at[i / 2];
		bool whole = base + 8192 <= RG_RAM0;

		rg_up_c(g, 0, i & 1);
		rg_write(g, R_RCR, 4, (rg_read(g, R_RCR, 4) & ~63u) | RCR_AAP);
		rg_write(g, R_RBSTART, 4, (uint32_t)base);
		settle(g->loop);
		remember();
		for (unsigned k = 0; k < 30; k++) {
			int why = from_wire(1000);

			assert_true(whole ? why == NET_OK || why == NET_DROP_NO_BUFFER : why == NET_DROP_NO_BUFFER);
			rg_write(g, R_CAPR, 2, rg_read(g, R_CBR, 2) - 16u);
			settle(g->loop);
		}
		if (!whole)
			assert_int_equal(rg_read(g, R_MPC, 4), 30);
		unchanged_but(whole ? base : 0, whole ? MIN(base + 8192 + 1552, RG_RAM0) : 0);
	}
}

/* R9, A5, A6: descriptors without length, without RAM, at address 0, or whose ring is nowhere. */
static void descriptors_of_nonsense(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= ARRAY_SIZE(nowhere); i++) {
		rg_up_cplus(g);
		rg_write(g, R_RCR, 4, RCR_AAP);
		for (unsigned k = 0; k < 8; k++)
			rg_desc(g, RG_RX_RING, k, DESC_OWN | (i < ARRAY_SIZE(nowhere) ? RG_RX_LEN : 0), 0,
				i < ARRAY_SIZE(nowhere) ? nowhere[i] : RG_FREE);
		settle(g->loop);
		remember();
		assert_int_equal(from_wire(500), NET_OK);
		unchanged_but(RG_RX_RING, RG_RX_BUF(9));
		for (unsigned k = 0; k < 8; k++)
			assert_int_equal(rg_get32(g, RG_RX_RING + k * 16) & (DESC_OWN | RXD_RES), RXD_RES);
		assert_int_equal(rg_get32(g, RG_RX_RING + 8 * 16) & (DESC_OWN | RXD_SIZE), 504);
	}
	/* Between good ones: the frame takes those before, and does not fit. */
	rg_up_cplus(g);
	rg_write(g, R_RCR, 4, RCR_AAP);
	rg_desc(g, RG_RX_RING, 0, DESC_OWN | 100, 0, RG_FREE);
	rg_desc(g, RG_RX_RING, 1, DESC_OWN | 100, 0, RG_BAR_MEM);
	settle(g->loop);
	assert_int_equal(from_wire(500), NET_DROP_NO_BUFFER);
	assert_int_equal(from_wire(90), NET_OK);
	assert_int_equal(from_wire(500), NET_OK);
	assert_int_equal(rg_get32(g, RG_RX_RING + 1 * 16) & (DESC_OWN | RXD_RES), RXD_RES);
	/* Address 0 is RAM. */
	rg_up_cplus(g);
	rg_write(g, R_RCR, 4, RCR_AAP);
	rg_desc(g, RG_RX_RING, 0, DESC_OWN | 0x600, 0, 0);
	settle(g->loop);
	assert_int_equal(from_wire(500), NET_OK);
	assert_memory_equal(rg_at(g, 0), frame, 500);
	/* All 64 are bad, and the ring has no end. */
	rg_up_cplus(g);
	rg_write(g, R_RCR, 4, RCR_AAP);
	for (unsigned k = 0; k < RTL_DESCS; k++)
		rg_desc(g, RG_RX_RING, k, DESC_OWN, 0, 0);
	settle(g->loop);
	assert_int_equal(from_wire(500), -EAGAIN);
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		rg_write(g, R_RDSAR, 4, (uint32_t)nowhere[i]);
		rg_write(g, R_RDSAR + 4, 4, i & 1 ? UINT32_MAX : 0);
		remember();
		settle(g->loop);
		assert_int_equal(from_wire(500), -EAGAIN);
		unchanged_but(0, 0);
	}
}

/* Descriptors that are the buffer of their own frame, or of the ring's others: data is data. */
static void buffers_that_are_rings(void **state)
{
	(void)state;
	rg_up_cplus(g);
	rg_write(g, R_RCR, 4, RCR_AAP);
	for (unsigned k = 0; k < RTL_DESCS; k++)
		rg_desc(g, RG_RX_RING, k, DESC_OWN | 0x600, 0, RG_RX_RING + k);
	settle(g->loop);
	for (unsigned k = 0; k < 10; k++)
		from_wire(1500);
	rg_up_c(g, 0, true);
	rg_write(g, R_RCR, 4, RCR_AAP);
	rg_write(g, R_TSAD0, 4, RG_RING);
	settle(g->loop);
	from_wire(1500);
	rg_write(g, R_TSD0, 4, 1500);
	settle(g->loop);
}

/* ---- loopback ---- */

/* A9, A10, B6, R14: short, long and to itself; nothing nests, nothing grows. */
static void loopback(void **state)
{
	(void)state;
	for (unsigned cplus = 0; cplus < 2; cplus++) {
		for (unsigned len = 0; len < 4200; len += len < 80 ? 1 : 59) {
			if (cplus)
				rg_up_cplus(g);
			else
				rg_up_c(g, 0, len & 1);
			rg_write(g, R_RCR, 4, (rg_read(g, R_RCR, 4) & ~63u) | RCR_AAP);
			rg_write(g, R_TCR, 4, TCR_LBK);
			make_plain(frame, len, 1);
			/* Its buffer is the receive buffer: the frame is copied, whatever comes of it. */
			assert_true(rg_send(g, frame, len, cplus ? TXD_IPCS | TXD_TCPCS : 0, 0));
			rg_poll(g);
			settle(g->loop);
			if (len < 14)
				assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
			else if (cplus && len + 4 > RG_RX_LEN) /* in several descriptors */
				assert_int_equal(rg_get32(g, RG_RX_RING) & (DESC_OWN | DESC_FS | DESC_LS), DESC_FS);
			else if (len <= RTL_RX_MAX_C)
				assert_int_equal(rg_receive(g, got, sizeof(got)), MAX(len, 60u));
			else
				assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
		}
	}
}

/* Of more bytes than a length in a descriptor has bits for. */
static void loopback_of_many_bytes(void **state)
{
	(void)state;
	rg_up_cplus(g);
	rg_write(g, R_RCR, 4, RCR_AAP);
	rg_write(g, R_TCR, 4, TCR_LBK);
	make_plain(rg_at(g, RG_FREE), 12000, 1);
	rg_desc(g, RG_TX_RING, 0, DESC_OWN | DESC_FS | 6000, 0, RG_FREE);
	rg_desc(g, RG_TX_RING, 1, DESC_OWN | DESC_LS | DESC_EOR | 6000, 0, RG_FREE + 6000);
	rg_poll(g);
	settle(g->loop);
	assert_false(rg_get32(g, RG_TX_RING + 16) & DESC_OWN);
	assert_true(rg_get32(g, RG_RX_RING) & DESC_OWN);
	assert_int_equal(wire->n_got, 0);
	assert_int_equal(counter_get(&g->nic->tx.in), 0);
}

/* A large send into the own receiver is cut, and ends where there is no room. */
static void loopback_of_a_large_send(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	rg_up_cplus(g);
	rg_write(g, R_RCR, 4, RCR_AAP);
	rg_write(g, R_TCR, 4, TCR_LBK);
	len = make_tcp(rg_at(g, RG_FREE), 1, 60000, &m);
	rg_desc(g, RG_TX_RING, 0,
		DESC_OWN | DESC_FS | DESC_LS | DESC_EOR | TXD_LGSEN | 1 << TXD_MSS_SHIFT | (uint32_t)len, 0, RG_FREE);
	rg_poll(g);
	settle(g->loop);
	for (unsigned i = 0; i < RTL_DESCS; i++)
		assert_int_equal(rg_receive(g, got, sizeof(got)), 60);
	assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
}

/* ---- tally, timer, EEPROM, registers ---- */

/* B5, R10. */
static void tally_to_nowhere(void **state)
{
	static const uint64_t at[] = {
		RG_RAM0 - 63, RG_RAM0, RG_RAM1_END, RG_BAR_MEM, UINT64_MAX - 63, 0xfffffffffffc0
	};

	(void)state;
	rg_up_cplus(g);
	settle(g->loop);
	remember();
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		uint64_t to = i ? at[i] : RG_RAM1_END; /* the address has no lower bits: the last of RAM is well */

		rg_write(g, R_DTCCR + 4, 4, (uint32_t)(to >> 32));
		rg_write(g, R_DTCCR, 4, (uint32_t)to | 8);
		assert_int_equal(rg_read(g, R_DTCCR, 4) & 8, 0);
		unchanged_but(0, 0);
	}
	rg_write(g, R_DTCCR + 4, 4, 0);
	rg_write(g, R_DTCCR, 4, (uint32_t)at[0] | 8);
	unchanged_but(RG_RAM0 - 64, RG_RAM0);
}

/* R12: no alarm before its time, however it is set; and none that repeats by itself. */
static void timers(void **state)
{
	static const uint32_t value[] = { 1, 2, 0x7fffffff, 0x80000000, UINT32_MAX, 0 };
	unsigned fired = 0;

	(void)state;
	rg_up_cplus(g);
	for (unsigned i = 0; i < 1000; i++) {
		rg_write(g, R_TIMERINT, 4, value[i % ARRAY_SIZE(value)]);
		if (i & 1)
			rg_write(g, R_TCTR, 4, value[i % 5]);
		vm_clock_step(clock_now(CLOCK_VM_NS) + 100);
		settle(g->loop);
		fired += !!(rg_read(g, R_ISR, 2) & INT_TIMEOUT);
		rg_write(g, R_ISR, 2, INT_TIMEOUT);
	}
	assert_true(fired <= 1000);
	rg_write(g, R_TIMERINT, 4, 1);
	rg_write(g, R_TCTR, 4, 0);
	for (unsigned i = 0; i < 1000; i++) {
		vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_MSEC);
		settle(g->loop);
		assert_int_equal(!!(rg_read(g, R_ISR, 2) & INT_TIMEOUT), i == 0);
		rg_write(g, R_ISR, 2, INT_TIMEOUT);
	}
	/* A28: a reset forgets it. */
	rg_write(g, R_TIMERINT, 4, 40000);
	rg_write(g, R_CR, 1, CR_RST);
	rg_write(g, R_IMR, 2, INT_ALL);
	vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
	settle(g->loop);
	assert_int_equal(rg_read(g, R_ISR, 2), 0);
}

/* R11: clocks at random; the lock holds meanwhile. */
static void eeprom(void **state)
{
	uint32_t c1;

	(void)state;
	rg_up_cplus(g);
	rg_write(g, R_9346CR, 1, 0);
	c1 = rg_read(g, R_CONFIG1, 1);
	srandom(9346);
	for (unsigned i = 0; i < 300000; i++) {
		rg_write(g, R_9346CR, 1, 0x80 | ((uint32_t)random() & 0x0f));
		if (i % 64 == 0)
			rg_write(g, R_CONFIG1, 1, (uint32_t)random());
		assert_int_equal(rg_read(g, R_9346CR, 1) & 0xf0, 0x80);
	}
	assert_int_equal(rg_read(g, R_CONFIG1, 1), c1);
	assert_true(eeprom93_sane(&g->dev->eeprom));
	rg_write(g, R_9346CR, 1, 0x40);
	device_reset(&g->pci->dev);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_0, 4, RG_BAR_IO);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_1, 4, RG_BAR_MEM);
}

/* R13: every place, width and alignment, by both BARs: the same, and nothing but what is written. */
static void sweep(void **state)
{
	static const uint32_t value[] = { 0, 1, 0x55555555, 0x80, 0x10, 0xff, 0xffff, 0x7fffffff, UINT32_MAX };

	(void)state;
	for (unsigned round = 0; round < 2 * ARRAY_SIZE(value); round++) {
		uint32_t v = value[round / 2];

		if (round & 1)
			rg_up_cplus(g);
		else
			rg_up_c(g, 1, true);
		for (unsigned off = 0; off < RTL_REGS; off++) {
			for (unsigned size = 1; size <= 4; size *= 2) {
				if (off + size > RTL_REGS)
					continue;
				assert_int_equal(rg_in(g, off, size), rg_read(g, off, size));
				if (off & 1)
					rg_out(g, off, size, v);
				else
					rg_write(g, off, size, v);
				if (off % 16 == 0) {
					settle(g->loop);
					from_wire(100);
				}
				assert_int_equal(rg_in(g, off, size), rg_read(g, off, size));
			}
		}
		settle(g->loop);
		device_reset(&g->pci->dev);
		pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_0, 4, RG_BAR_IO);
		pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_1, 4, RG_BAR_MEM);
		pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, 7);
	}
}

/* ---- resets ---- */

/* R1, A28: a reset while frames wait for room, or between asking and sending: none goes afterwards. */
static void reset_in_the_middle(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		unsigned n = i & 1 ? 20 : 4;

		if (i & 1)
			rg_up_cplus(g);
		else
			rg_up_c(g, 0, false);
		fake_forget(wire);
		fake_room(wire, 0);
		for (unsigned k = 0; k < n; k++)
			assert_true(rg_send(g, frame, 60, 0, 0));
		rg_poll(g);
		if (i & 2)
			settle(g->loop);
		if (i & 4)
			rg_write(g, R_CR, 1, CR_RST);
		else
			rg_write(g, R_CR, 1, 0);
		fake_room(wire, FAKE_ALL);
		settle(g->loop);
		assert_int_equal(wire->n_got, 0);
		assert_int_equal(counter_get(&g->nic->tx.held), 0);
		assert_true(fake_balanced(g->nic));
		assert_int_equal(rg_read(g, R_ISR, 2), 0);
		assert_int_equal(from_wire(60), -EAGAIN);
		/* Its kick register without a receiver or a transmitter: nothing. */
		rg_poll(g);
		rg_write(g, R_TSD0, 4, 60);
		settle(g->loop);
		assert_int_equal(wire->n_got, 0);
	}
}

/* B12: made and unmade, again and again. */
static void made_and_unmade(void **state)
{
	struct leaks before = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct error err = { "" };
		struct opt_list l;
		struct device *d;

		assert_int_equal(opt_list_parse(i & 1 ? "rtl8139,id=x" : "rtl8139,cplus=off", "driver", &l, &err), 0);
		d = device_add(&l, &err);
		opt_list_free(&l);
		assert_non_null(d);
		if (i % 3 == 0)
			settle(g->loop);
		device_del(d);
		if (i == 10)
			before = leaks_now();
	}
	settle(g->loop);
	assert_int_equal(leaks_since(&before), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct type *const types[] = { &type_object,	   &type_device,  &type_pci_device,
						    &type_pci_host_bridge, &type_rtl8139, NULL };
	const struct CMUnitTest tests[] = {
		TEST(ring_without_end),
		TEST(rings_of_nonsense),
		TEST(rings_nowhere),
		TEST(transmit_from_nowhere),
		TEST(slots_of_nonsense),
		TEST(offloads_of_nonsense),
		TEST(pieces_that_sum),
		TEST(ring_told_late),
		TEST(every_order_cplus),
		TEST(every_order_c),
		TEST(no_place_for_the_check_sequence),
		TEST(lengths),
		TEST(read_pointers),
		TEST(no_flood_of_messages),
		TEST(buffers_at_the_end),
		TEST(descriptors_of_nonsense),
		TEST(buffers_that_are_rings),
		TEST(loopback),
		TEST(loopback_of_many_bytes),
		TEST(loopback_of_a_large_send),
		TEST(tally_to_nowhere),
		TEST(timers),
		TEST(eeprom),
		TEST(sweep),
		TEST(reset_in_the_middle),
		TEST(made_and_unmade),
	};
	struct error err;

	log_init("test", LOG_ERR);
	vm_clock_manual();
	if (types_init(types, &err))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
