/* SPDX-License-Identifier: BSD-2-Clause */
/* rtl8139 as its drivers use it: registers, EEPROM, link, both ways of transmission and reception, interrupts. */
#include "../unit/unit.h"

#include <errno.h>

#include "../fake_net.h"
#include "base/csum.h"
#include "base/iov.h"
#include "base/log.h"
#include "rtl_guest.h"

static struct rtl_guest guest, *const g = &guest;
static struct fake *wire;
static uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX];
static const uint8_t mac[6] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };

static int open_with(const char *options)
{
	struct error err;

	g->loop = loop_new("test", &err);
	assert_non_null(g->loop);
	wire = fake_new("wire", NET_KIND_BACKEND, &fake_sender_ops, g->loop);
	fake_room(wire, FAKE_ALL);
	rg_open(g, options);
	net_drained(&wire->c); /* the direct way is open */
	settle(g->loop);
	return 0;
}

static int setup_cplus(void **state)
{
	(void)state;
	return open_with("netdev=wire,mac=52:54:00:aa:bb:cc");
}

static int setup_c(void **state)
{
	(void)state;
	return open_with("netdev=wire,mac=52:54:00:aa:bb:cc,cplus=off");
}

static int teardown(void **state)
{
	(void)state;
	settle(g->loop);
	assert_true(fake_balanced(g->nic));
	assert_true(fake_balanced(&wire->c));
	net_disconnect(g->nic);
	fake_free(wire);
	rg_close(g);
	return 0;
}

/* A frame from the wire; what it was told. */
static int from_wire(const uint8_t *p, size_t len, const struct frame_meta *m)
{
	static const struct frame_meta plain;
	struct net_window w;
	int why;

	if (net_lend(&wire->c, len, &w))
		return -EAGAIN;
	assert_int_equal(iov_size(w.iov, w.cnt), w.room);
	iov_write_at(w.iov, w.cnt, 0, p, len);
	why = net_take(&wire->c, len, m ? m : &plain);
	net_commit(&wire->c);
	settle(g->loop);
	return why;
}

static void plain_for_us(uint8_t *p, size_t len, unsigned seed)
{
	make_plain(p, len, seed);
	memcpy(p, mac, 6);
}

static void interrupts_are(unsigned isr)
{
	assert_int_equal(rg_read(g, R_ISR, 2), isr);
	assert_int_equal(atomic_load(&g->level), isr != 0);
	rg_write(g, R_ISR, 2, 0xffff);
	assert_int_equal(rg_read(g, R_ISR, 2), 0);
	assert_false(atomic_load(&g->level));
}

/* ---- what it is ---- */

static void identity(void **state)
{
	bool cplus = *state == NULL;

	assert_int_equal(pci_config_read(&g->bus, g->pci->devfn, 0, 4), 0x813910ec);
	assert_int_equal(pci_config_read(&g->bus, g->pci->devfn, PCI_REVISION_ID, 1), cplus ? 0x20 : 0x10);
	assert_int_equal(rg_read(g, R_TCR, 4) & 0x7cc00000, cplus ? 0x74800000 : 0x74000000);
	assert_int_equal(rg_read(g, R_RERID, 1), cplus ? 0x20 : 0x10);
	assert_int_equal(rg_read(g, R_IDR0, 4), 0xaa005452);
	assert_int_equal(rg_read(g, R_IDR0 + 4, 2), 0xccbb);
	assert_int_equal(rg_read(g, R_CR, 1), CR_BUFE);
	assert_int_equal(rg_read(g, R_CAPR, 2), 0xfff0);
	/* What only the C+ has, and what only later chips have: iPXE's driver tells them by that. */
	rg_write(g, R_CPCR, 2, CPCR_RX | CPCR_TX | 0x18);
	assert_int_equal(rg_read(g, R_CPCR, 2), cplus ? CPCR_RX | CPCR_TX | 0x18 : 0);
	rg_write(g, 0xda, 2, 1522);
	assert_int_equal(rg_read(g, 0xda, 2), 0);
	assert_int_equal(rg_read(g, R_RCR, 4) & 1 << 6, 0); /* the EEPROM is a 93C46 */
}

static int identity_c_setup(void **state)
{
	setup_c(state);
	*state = g;
	return 0;
}

/* FreeBSD's way: eleven bits, zeros in front of the start bit. */
static unsigned eeprom_read_11(unsigned word)
{
	unsigned v = 0;

	rg_write(g, R_9346CR, 1, 0x80);
	rg_write(g, R_9346CR, 1, 0x88);
	for (int i = 10; i >= 0; i--) {
		unsigned di = (0x180 | word) >> i & 1 ? 2 : 0;

		rg_write(g, R_9346CR, 1, 0x88 | di);
		rg_write(g, R_9346CR, 1, 0x88 | di | 4);
		rg_write(g, R_9346CR, 1, 0x88 | di);
	}
	rg_write(g, R_9346CR, 1, 0x88);
	for (int i = 0; i < 16; i++) {
		rg_write(g, R_9346CR, 1, 0x8c);
		v = v << 1 | (rg_read(g, R_9346CR, 1) & 1);
		rg_write(g, R_9346CR, 1, 0x88);
	}
	rg_write(g, R_9346CR, 1, 0);
	return v;
}

/* 8139cp's read_eeprom(). */
static unsigned eeprom_read(unsigned word)
{
	unsigned command = 6u << 6 | word, v = 0;

	rg_write(g, R_9346CR, 1, 0x80);
	rg_write(g, R_9346CR, 1, 0x88);
	for (int i = 8; i >= 0; i--) {
		unsigned di = command >> i & 1 ? 2 : 0;

		rg_write(g, R_9346CR, 1, 0x88 | di);
		rg_write(g, R_9346CR, 1, 0x88 | di | 4);
	}
	rg_write(g, R_9346CR, 1, 0x88);
	for (int i = 0; i < 16; i++) {
		rg_write(g, R_9346CR, 1, 0x8c);
		v = v << 1 | (rg_read(g, R_9346CR, 1) & 1);
		rg_write(g, R_9346CR, 1, 0x88);
	}
	rg_write(g, R_9346CR, 1, 0);
	return v;
}

static void eeprom_and_lock(void **state)
{
	(void)state;
	assert_int_equal(eeprom_read(0), 0x8129);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(eeprom_read_11(i), eeprom_read(i));
	assert_int_equal(eeprom_read(1), 0x10ec);
	assert_int_equal(eeprom_read(2), 0x8139);
	assert_int_equal(eeprom_read(7), 0x5452);
	assert_int_equal(eeprom_read(8), 0xaa00);
	assert_int_equal(eeprom_read(9), 0xccbb);

	/* Config1, 3, 4 and the speed are behind the lock, Config5 and restarting negotiation are not. */
	for (unsigned open = 0; open < 2; open++) {
		uint32_t c1 = rg_read(g, R_CONFIG1, 1), c3 = rg_read(g, R_CONFIG3, 1), c4 = rg_read(g, R_CONFIG4, 1);

		rg_write(g, R_9346CR, 1, open ? 0xc0 : 0);
		rg_write(g, R_CONFIG1, 1, c1 ^ 0x20);
		rg_write(g, R_CONFIG3, 1, c3 ^ 0x20);
		rg_write(g, R_CONFIG4, 1, c4 ^ 0x10);
		rg_write(g, R_BMCR, 2, BMCR_100);
		rg_write(g, R_CONFIG5, 1, open ? 0x70 : 0x10);
		assert_int_equal(rg_read(g, R_CONFIG1, 1), open ? c1 ^ 0x20 : c1);
		assert_int_equal(rg_read(g, R_CONFIG3, 1), open ? c3 ^ 0x20 : c3);
		assert_int_equal(rg_read(g, R_CONFIG4, 1), open ? c4 ^ 0x10 : c4);
		assert_int_equal(rg_read(g, R_CONFIG5, 1), open ? 0x70 : 0x10);
		assert_int_equal(rg_read(g, R_BMCR, 2), open ? BMCR_100 : BMCR_AUTO | BMCR_FULL);
	}
	/* A chip reset leaves them and the address; auto-load brings them back. */
	rg_write(g, R_IDR0, 4, 0x01020304);
	rg_write(g, R_CR, 1, CR_RST);
	assert_int_equal(rg_read(g, R_CONFIG5, 1), 0x70);
	assert_int_equal(rg_read(g, R_IDR0, 4), 0x01020304);
	rg_write(g, R_9346CR, 1, 0x40);
	assert_int_equal(rg_read(g, R_9346CR, 1) & 0xc0, 0);
	assert_int_equal(rg_read(g, R_IDR0, 4), 0xaa005452);
	assert_int_equal(rg_read(g, R_CONFIG5, 1), 1);
	device_reset(&g->pci->dev);
}

static void link_and_phy(void **state)
{
	(void)state;
	rg_up_cplus(g);
	assert_int_equal(rg_read(g, R_BMSR, 2), 0x782d);
	assert_int_equal(rg_read(g, R_ANLPAR, 2), 0x45e1);
	assert_int_equal(rg_read(g, R_MSR, 1), 0);
	net_set_link(g->nic, false);
	settle(g->loop);
	assert_int_equal(rg_read(g, R_BMSR, 2), 0x7809);
	assert_int_equal(rg_read(g, R_ANLPAR, 2), 0);
	assert_int_equal(rg_read(g, R_MSR, 1), 4);
	interrupts_are(INT_LINKCHG);
	net_set_link(g->nic, true);
	settle(g->loop);
	assert_int_equal(rg_read(g, R_BMSR, 2), 0x782d);
	interrupts_are(INT_LINKCHG);
	rg_write(g, R_9346CR, 1, 0xc0);
	rg_write(g, R_BMCR, 2, 0);
	assert_int_equal(rg_read(g, R_MSR, 1), 8); /* 10 Mbit/s */
	rg_write(g, R_BMCR, 2, BMCR_RESET);
	assert_int_equal(rg_read(g, R_BMCR, 2), BMCR_AUTO | BMCR_FULL);
}

/* TCTR counts 33 MHz of the VM's time; TimerInt is an alarm. */
static void timer(void **state)
{
	uint64_t now = clock_now(CLOCK_VM_NS);

	(void)state;
	rg_up_c(g, 0, false);
	rg_write(g, R_TCTR, 4, 1);
	assert_int_equal(rg_read(g, R_TCTR, 4), 0);
	rg_write(g, R_TIMERINT, 4, 33000);
	settle(g->loop);
	vm_clock_step(now + 999999);
	settle(g->loop);
	assert_in_range(rg_read(g, R_TCTR, 4), 32900, 33000);
	interrupts_are(0);
	vm_clock_step(now + NSEC_PER_MSEC);
	settle(g->loop);
	interrupts_are(INT_TIMEOUT);
	/* Not again before the count comes round: 130 s. */
	vm_clock_step(now + 100 * NSEC_PER_SEC);
	settle(g->loop);
	interrupts_are(0);
	vm_clock_step(now + 131 * NSEC_PER_SEC);
	settle(g->loop);
	interrupts_are(INT_TIMEOUT);
	rg_write(g, R_TIMERINT, 4, 0);
	rg_write(g, R_TCTR, 4, 0);
	vm_clock_step(now + 500 * NSEC_PER_SEC);
	settle(g->loop);
	interrupts_are(0);
}

/* ---- transmission, C mode ---- */

static void slots(void **state)
{
	(void)state;
	rg_up_c(g, 0, false);
	assert_int_equal(rg_read(g, R_TSAD, 2), 0x000f);
	for (unsigned i = 0; i < 10; i++) {
		make_plain(frame, 60 + i, i);
		assert_true(rg_send(g, frame, 60 + i, 3u << 16, 0));
		settle(g->loop);
		assert_int_equal(wire->n_got, i + 1);
		assert_true(is_plain(wire->got[i].bytes, 60 + i, i));
		assert_int_equal(wire->got[i].len, 60 + i);
		assert_int_equal(rg_read(g, R_TSD0 + 4 * (i % 4), 4), TSD_OWN | TSD_TOK | 3 << 16 | (60 + i));
		interrupts_are(INT_TOK);
	}
	assert_int_equal(rg_read(g, R_TSAD, 2), 0xf00f);
}

/* Four at once are one batch and one interrupt; those that find no room wait, and are seen to wait. */
static void slots_wait(void **state)
{
	unsigned edges;

	(void)state;
	rg_up_c(g, 0, false);
	fake_room(wire, 1);
	edges = atomic_load(&g->edges);
	for (unsigned i = 0; i < 4; i++) {
		make_plain(frame, 1514, i);
		assert_true(rg_send(g, frame, 1514, 0, 0));
	}
	assert_false(rg_send(g, frame, 1514, 0, 0));
	settle(g->loop);
	assert_int_equal(wire->n_got, 1);
	assert_int_equal(counter_get(&g->nic->tx.held), 3);
	assert_true(fake_balanced(g->nic));
	assert_int_equal(rg_read(g, R_TSAD, 2), 0x1001);
	assert_int_equal(atomic_load(&g->edges), edges + 1);
	rg_write(g, R_ISR, 2, 0xffff);
	fake_room(wire, FAKE_ALL);
	settle(g->loop);
	assert_int_equal(atomic_load(&g->edges), edges + 2);
	assert_int_equal(wire->n_got, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(is_plain(wire->got[i].bytes, 1514, i));
	assert_int_equal(counter_get(&g->nic->tx.held), 0);
	interrupts_are(INT_TOK);
}

/* ---- transmission, C+ mode ---- */

static void descriptors(void **state)
{
	(void)state;
	rg_up_cplus(g);
	for (unsigned i = 0; i < 200; i++) {
		unsigned d = i % RTL_DESCS;

		make_plain(frame, 60 + i, i);
		assert_true(rg_send(g, frame, 60 + i, 0, 0));
		rg_poll(g);
		settle(g->loop);
		assert_int_equal(wire->n_got, i + 1);
		assert_true(is_plain(wire->got[i].bytes, 60 + i, i));
		assert_int_equal(rg_get32(g, RG_TX_RING + d * RTL_DESC_LEN),
				 DESC_FS | DESC_LS | (d == RTL_DESCS - 1 ? DESC_EOR : 0) | (60 + i));
		interrupts_are(INT_TOK | INT_TDU);
	}
}

static void descriptors_wait(void **state)
{
	unsigned edges;

	(void)state;
	rg_up_cplus(g);
	fake_room(wire, 10);
	edges = atomic_load(&g->edges);
	for (unsigned i = 0; i < 63; i++) {
		make_plain(frame, 200, i);
		assert_true(rg_send(g, frame, 200, 0, 0));
	}
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 10);
	assert_int_equal(counter_get(&g->nic->tx.held), 53);
	assert_int_equal(atomic_load(&g->edges), edges + 1);
	/* The driver may take back what was not sent: it is gone, and known to be. */
	for (unsigned i = 10; i < 63; i++)
		rg_put32(g, RG_TX_RING + i * RTL_DESC_LEN, 0);
	fake_room(wire, FAKE_ALL);
	settle(g->loop);
	assert_int_equal(wire->n_got, 10);
	assert_int_equal(counter_get(&g->nic->tx.dropped[NET_DROP_MALFORMED]), 53);
	rg_up_cplus(g);
	for (unsigned i = 0; i < 64; i++) {
		make_plain(frame, 200, i);
		assert_true(rg_send(g, frame, 200, 0, 0));
	}
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 74);
}

/* A frame in pieces, one of no length, across the ring's end; and the high priority ring goes first. */
static void pieces_and_priority(void **state)
{
	(void)state;
	rg_up_cplus(g);
	make_plain(frame, 1000, 7);
	memcpy(rg_at(g, RG_TX_BUF(0)), frame, 1000);
	rg_desc(g, RG_TX_RING, 1, DESC_OWN | 0, 0, RG_TX_BUF(0));
	rg_desc(g, RG_TX_RING, 2, DESC_OWN | DESC_EOR | 1, 0, RG_TX_BUF(0) + 100);
	rg_desc(g, RG_TX_RING, 0, DESC_OWN | DESC_FS | 100, 0, RG_TX_BUF(0));
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 0); /* its end is missing; the ring is full of it: it is none */
	assert_int_equal(counter_get(&g->nic->tx.dropped[NET_DROP_MALFORMED]), 1);
	rg_up_cplus(g);
	rg_desc(g, RG_TX_RING, 1, DESC_OWN | 0, 0, RG_TX_BUF(0));
	rg_desc(g, RG_TX_RING, 2, DESC_OWN | 1, 0, RG_TX_BUF(0) + 100);
	rg_desc(g, RG_TX_RING, 0, DESC_OWN | DESC_FS | 100, 0, RG_TX_BUF(0));
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 0);
	assert_true(rg_get32(g, RG_TX_RING) & DESC_OWN); /* not complete: it waits */
	rg_desc(g, RG_TX_RING, 3, DESC_OWN | DESC_EOR | DESC_LS | 899, 0, RG_TX_BUF(0) + 101);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 1);
	assert_int_equal(wire->got[0].len, 1000);
	assert_true(is_plain(wire->got[0].bytes, 1000, 7));

	make_plain(rg_at(g, RG_TX_BUF(1)), 60, 1);
	make_plain(rg_at(g, RG_TX_BUF(2)), 60, 2);
	rg_desc(g, RG_TX_RING, 0, DESC_OWN | DESC_FS | DESC_LS | 60, 0, RG_TX_BUF(1));
	rg_desc(g, RG_HIGH_RING, 0, DESC_OWN | DESC_EOR | DESC_FS | DESC_LS | 60, 0, RG_TX_BUF(2));
	rg_write(g, R_THPDS, 4, RG_HIGH_RING);
	rg_write(g, R_TPPOLL, 1, POLL_HIGH | POLL_NORMAL);
	settle(g->loop);
	assert_int_equal(wire->n_got, 3);
	assert_true(is_plain(wire->got[1].bytes, 60, 2));
	assert_true(is_plain(wire->got[2].bytes, 60, 1));
}

/* Is the checksum of the TCP or UDP frame right? */
static bool sum_right(const uint8_t *p, unsigned l3)
{
	unsigned total = (unsigned)(p[l3 + 2] << 8 | p[l3 + 3]), l4_len = total - 20;
	uint8_t rest[4] = { 0, p[l3 + 9], (uint8_t)(l4_len >> 8), (uint8_t)l4_len };

	return csum_fold(csum_add(0, p + l3, 20)) == 0xffff &&
	       csum_fold(csum_add(csum_add(csum_add(0, p + l3 + 12, 8), rest, 4), p + l3 + 20, l4_len)) == 0xffff;
}

static size_t make_udp(uint8_t *p, size_t n)
{
	struct frame_meta m;

	make_tcp(p, 1, n + 8, &m);
	p[23] = 17;
	memmove(p + 42, p + 54, n);
	p[34] = 0, p[35] = 80, p[36] = 0, p[37] = 90;
	p[38] = (uint8_t)((n + 8) >> 8), p[39] = (uint8_t)(n + 8);
	p[16] = (uint8_t)((n + 28) >> 8), p[17] = (uint8_t)(n + 28);
	p[40] = p[41] = 0;
	return 42 + n;
}

static void checksums(void **state)
{
	struct frame_meta m;

	(void)state;
	rg_up_cplus(g);
	for (unsigned i = 0; i < 40; i++) {
		bool tcp = i & 1;
		size_t n = 1 + i * 37, len = tcp ? make_tcp(frame, i, n, &m) : make_udp(frame, n), pad = 0;
		struct fake_frame *f;

		frame[24] = frame[25] = 0x5a; /* what is there does not matter */
		frame[tcp ? 50 : 40] ^= 0x77;
		if (i % 4 == 2)
			pad = 9; /* and bytes behind the packet are none of it */
		memset(frame + len, 0xee, pad);
		wire->c.takes = i & 2 ? NET_OFF_ALL : 0;
		net_takes_changed(&wire->c, i & 2 ? 0 : NET_OFF_ALL);
		fake_forget(wire);
		assert_true(rg_send(g, frame, (unsigned)(len + pad), TXD_IPCS | (tcp ? TXD_TCPCS : TXD_UDPCS), 0));
		rg_poll(g);
		settle(g->loop);
		assert_int_equal(wire->n_got, 1);
		f = &wire->got[0];
		assert_int_equal(f->len, len + pad);
		if (f->meta.needs_csum) {
			uint16_t c;

			assert_true(!(i & 2) && !pad);
			assert_int_equal(f->meta.csum_start, 34);
			c = (uint16_t)~csum_fold(csum_add(0, f->bytes + 34, f->len - 34));
			memcpy(f->bytes + 34 + f->meta.csum_offset, &c, 2);
		}
		assert_true(sum_right(f->bytes, 14));
		assert_memory_equal(f->bytes + (tcp ? 54 : 42), frame + (tcp ? 54 : 42), n);
	}
}

static void large_send(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 1000, 20000, &m), at = 0;

	(void)state;
	rg_up_cplus(g);
	for (unsigned round = 0; round < 2; round++) {
		net_takes_changed(&wire->c, round ? 0 : NET_OFF_ALL);
		fake_forget(wire);
		/* In pieces of one page, as it would not fit elsewhere; only those behind the first ask for it. */
		for (unsigned i = 0; i * 4096 < len; i++) {
			size_t n = MIN(len - i * 4096, (size_t)4096);

			memcpy(rg_at(g, RG_TX_BUF(i)), frame + i * 4096, n);
			rg_desc(g, RG_TX_RING, (g->cur_tx + i) % RTL_DESCS,
				DESC_OWN | (i ? TXD_LGSEN | 1448 << TXD_MSS_SHIFT : DESC_FS | TXD_IPCS | TXD_TCPCS) |
					((i + 1) * 4096 >= len ? DESC_LS : 0) | (uint32_t)n,
				0, RG_TX_BUF(i));
		}
		g->cur_tx += (unsigned)(len + 4095) / 4096;
		rg_poll(g);
		settle(g->loop);
		if (!round) {
			assert_int_equal(wire->n_got, 1);
			assert_int_equal(wire->got[0].len, len);
			assert_int_equal(wire->got[0].meta.gso, NET_GSO_TCP4);
			assert_int_equal(wire->got[0].meta.gso_size, 1448);
			assert_int_equal(wire->got[0].meta.hdr_len, 54);
			assert_true(wire->got[0].meta.needs_csum);
			continue;
		}
		assert_int_equal(wire->n_got, (20000 + 1447) / 1448);
		for (unsigned i = 0; i < wire->n_got; i++) {
			const struct fake_frame *f = &wire->got[i];

			assert_true(sum_right(f->bytes, 14));
			assert_memory_equal(f->bytes + 54, frame + 54 + at, f->len - 54);
			at += f->len - 54;
		}
		assert_int_equal(at, 20000);
	}
	/* No bit of the size is left in the status for an error. */
	for (unsigned i = 0; i < RTL_DESCS; i++)
		assert_int_equal(rg_get32(g, RG_TX_RING + i * RTL_DESC_LEN) & DESC_STATUS, 0);
}

static void tags_inserted(void **state)
{
	struct frame_meta m;
	size_t len = make_tcp(frame, 5, 100, &m);

	(void)state;
	rg_up_cplus(g);
	rg_send(g, frame, (unsigned)len, TXD_IPCS | TXD_TCPCS, TXD_TAGC | 0x3421); /* VLAN 0x134, priority 1 */
	make_plain(frame, 60, 3);
	rg_send(g, frame, 60, 0, TXD_TAGC | 0x0500);
	rg_poll(g);
	net_takes_changed(&wire->c, 0);
	settle(g->loop);
	assert_int_equal(wire->n_got, 2);
	assert_int_equal(wire->got[0].len, len + 4);
	assert_memory_equal(wire->got[0].bytes + 12, "\x81\x00\x21\x34\x08\x00", 6);
	assert_true(sum_right(wire->got[0].bytes, 18));
	assert_int_equal(wire->got[1].len, 64);
	assert_memory_equal(wire->got[1].bytes + 12, "\x81\x00\x00\x05\x88\xb5", 6);
	assert_memory_equal(wire->got[1].bytes + 18, frame + 14, 46);
}

/* ---- reception ---- */

static void receive_ring(void **state)
{
	(void)state;
	for (unsigned rblen = 0; rblen < 4; rblen++) {
		for (unsigned wrap = 0; wrap < 2; wrap++) {
			unsigned n = (8192u << rblen) / 400;

			rg_up_c(g, rblen, wrap);
			for (unsigned i = 0; i < n; i++) {
				size_t len = 60 + (i * 131) % 1455;

				plain_for_us(frame, len, i);
				assert_int_equal(from_wire(frame, len, NULL), NET_OK);
				interrupts_are(INT_ROK);
				assert_int_equal(rg_receive(g, got, sizeof(got)), len);
				assert_int_equal(rg_rx_status() & 0xffff, 0x4001);
				assert_memory_equal(got, frame, len);
				assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
			}
		}
	}
}

/* The ring fills up, nothing is lost, and CAPR makes room; one interrupt for a batch. */
static void ring_full(void **state)
{
	unsigned n = 0, read = 0, edges, wakes;
	struct net_window w;
	static const struct frame_meta plain;

	(void)state;
	rg_up_c(g, 0, true);
	settle(g->loop);
	edges = atomic_load(&g->edges);
	for (; !net_lend(&wire->c, 1514, &w); n++) {
		plain_for_us(frame, 1000, n);
		iov_write_at(w.iov, w.cnt, 0, frame, 1000);
		assert_int_equal(net_take(&wire->c, 1000, &plain), NET_OK);
	}
	net_commit(&wire->c);
	assert_int_equal(atomic_load(&g->edges), edges + 1);
	assert_in_range(n, 6, 8);
	settle(g->loop);
	wakes = wire->wakes;
	for (; rg_receive(g, got, sizeof(got)) == 1000; read++) {
		settle(g->loop);
		plain_for_us(frame, 1000, read);
		assert_memory_equal(got, frame, 1000);
	}
	assert_int_equal(read, n);
	assert_int_equal(wire->wakes, wakes + 1); /* told once, not for every CAPR */
	assert_int_equal(from_wire(frame, 1000, NULL), NET_OK);
	assert_int_equal(rg_read(g, R_MPC, 4), 0);
}

/* The driver acknowledges and does not read on: while the ring is full it is told again, then no more. */
static void ring_full_and_acknowledged(void **state)
{
	unsigned n = 0;

	(void)state;
	rg_up_c(g, 0, true);
	settle(g->loop);
	plain_for_us(frame, 1000, 1);
	for (; from_wire(frame, 1000, NULL) == NET_OK; n++)
		rg_write(g, R_ISR, 2, 0xffff);
	for (unsigned i = 0; i < 3; i++) {
		rg_write(g, R_ISR, 2, 0xffff);
		settle(g->loop); /* the peer is woken, */
		assert_int_equal(from_wire(frame, 1000, NULL), -EAGAIN);
		assert_true(atomic_load(&g->level));
	}
	while (n--)
		assert_int_equal(rg_receive(g, got, sizeof(got)), 1000);
	rg_write(g, R_ISR, 2, 0xffff);
	settle(g->loop);
	interrupts_are(0);
}

static void receive_descriptors(void **state)
{
	(void)state;
	rg_up_cplus(g);
	for (unsigned i = 0; i < 200; i++) {
		size_t len = 60 + (i * 131) % 1455;

		plain_for_us(frame, len, i);
		assert_int_equal(from_wire(frame, len, NULL), NET_OK);
		interrupts_are(INT_ROK);
		assert_int_equal(rg_receive(g, got, sizeof(got)), len);
		assert_int_equal(rg_rx_status() & 0x0fffe000, RXD_PAM);
		assert_memory_equal(got, frame, len);
		assert_int_equal(rg_receive(g, got, sizeof(got)), -1);
	}
	/* Short ones are filled up. */
	plain_for_us(frame, 20, 1);
	assert_int_equal(from_wire(frame, 20, NULL), NET_OK);
	assert_int_equal(rg_receive(g, got, sizeof(got)), 60);
	assert_memory_equal(got, frame, 20);
	for (unsigned i = 20; i < 60; i++)
		assert_int_equal(got[i], 0);
}

/* No descriptor: said once, nothing lost; they come back without a word, and a timer sees it. */
static void descriptors_dry(void **state)
{
	unsigned wakes;

	(void)state;
	rg_up_cplus(g);
	for (unsigned i = 0; i < RTL_DESCS; i++) {
		plain_for_us(frame, 100, i);
		assert_int_equal(from_wire(frame, 100, NULL), NET_OK);
	}
	rg_write(g, R_ISR, 2, 0xffff);
	assert_int_equal(from_wire(frame, 100, NULL), -EAGAIN);
	interrupts_are(INT_RXOVW);
	settle(g->loop);
	assert_int_equal(from_wire(frame, 100, NULL), -EAGAIN);
	interrupts_are(0);
	settle(g->loop);
	for (unsigned i = 0; i < RTL_DESCS; i++)
		assert_int_equal(rg_receive(g, got, sizeof(got)), 100);
	wakes = wire->wakes;
	vm_clock_step(clock_now(CLOCK_VM_NS) + 65 * NSEC_PER_MSEC);
	settle(g->loop);
	assert_int_equal(wire->wakes, wakes + 1);
	assert_int_equal(from_wire(frame, 100, NULL), NET_OK);
	assert_int_equal(rg_read(g, R_MPC, 4), 0);
}

/* A frame longer than a buffer takes several, one longer than all of them is missed. */
static void frame_in_descriptors(void **state)
{
	uint32_t last;

	(void)state;
	rg_up_cplus(g);
	plain_for_us(frame, 5000, 1);
	assert_int_equal(from_wire(frame, 5000, NULL), NET_OK);
	assert_int_equal(rg_get32(g, RG_RX_RING) & 0x70001fff, DESC_FS | RG_RX_LEN);
	assert_int_equal(rg_get32(g, RG_RX_RING + 16) & 0x70001fff, RG_RX_LEN);
	last = rg_get32(g, RG_RX_RING + 3 * 16);
	assert_int_equal(last & 0xf0001fff, DESC_LS | 5004);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(*(uint8_t *)rg_at(g, RG_RX_BUF(i / RG_RX_LEN) + i % RG_RX_LEN), frame[i]);
	/* The check sequence alone can need one more. */
	plain_for_us(frame, RG_RX_LEN - 2, 2);
	assert_int_equal(from_wire(frame, RG_RX_LEN - 2, NULL), NET_OK);
	assert_int_equal(rg_get32(g, RG_RX_RING + 4 * 16) & 0x70001fff, DESC_FS | RG_RX_LEN);
	assert_int_equal(rg_get32(g, RG_RX_RING + 5 * 16) & 0x70001fff, DESC_LS | (RG_RX_LEN + 2));
	for (unsigned i = 7; i < RTL_DESCS; i++)
		rg_put32(g, RG_RX_RING + i * 16, 0);
	assert_int_equal(from_wire(frame, 3000, NULL), NET_DROP_NO_BUFFER);
	assert_int_equal(rg_read(g, R_MPC, 4), 1);
	plain_for_us(frame, 100, 3);
	assert_int_equal(from_wire(frame, 100, NULL), NET_OK); /* into the one that it did not get */
	assert_int_equal(rg_get32(g, RG_RX_RING + 6 * 16) & 0x70001fff, DESC_FS | DESC_LS | 104);
}

static void tags_and_checksums_received(void **state)
{
	struct frame_meta m, valid = { .data_valid = true };
	size_t len;

	(void)state;
	rg_up_cplus(g);
	rg_write(g, R_CPCR, 2, CPCR_RX | CPCR_TX | CPCR_RXVLAN | CPCR_RXCSUM);
	plain_for_us(frame, 200, 9);
	memcpy(frame + 12, "\x81\x00\x21\x34", 4);
	assert_int_equal(from_wire(frame, 200, NULL), NET_OK);
	assert_int_equal(rg_get32(g, RG_RX_RING + 4), RXD_TAVA | 0x3421);
	assert_int_equal(rg_receive(g, got, sizeof(got)), 196);
	assert_memory_equal(got, frame, 12);
	assert_memory_equal(got + 12, frame + 16, 184);
	for (unsigned i = 0; i < 6; i++) {
		static const uint32_t want[] = { RXD_PID_TCP, RXD_PID_TCP | RXD_TCPF, RXD_PID_TCP, RXD_PID_IP | RXD_IPF,
						 RXD_PID_UDP, RXD_PID_UDP | RXD_UDPF };
		uint16_t c;

		len = i < 4 ? make_tcp(frame, i, 333, &m) : make_udp(frame, 333);
		memcpy(frame, mac, 6);
		memset(frame + 24, 0, 2);
		c = (uint16_t)~csum_fold(csum_add(0, frame + 14, 20));
		memcpy(frame + 24, &c, 2);
		c = (uint16_t)~csum_fold(csum_add(0, frame + 34, len - 34));
		if (i < 4)
			memcpy(frame + 50, &c, 2);
		if (i == 5)
			frame[40] = 1;
		frame[60] ^= i == 1 || i == 2;
		frame[15] ^= i == 3;
		assert_int_equal(from_wire(frame, len, i == 2 ? &valid : NULL), NET_OK);
		assert_int_equal(rg_receive(g, got, sizeof(got)), len);
		assert_int_equal(rg_rx_status() & 0x3e000, want[i]);
	}
}

static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 }, other[6] = { 2, 0, 0, 0, 0, 9 },
		     group[6] = { 1, 0, 0x5e, 0, 0, 1 };

static void filter(void **state)
{
	static const struct {
		const uint8_t *to;
		uint32_t need; /* any of these */
		uint32_t flag;
	} rows[] = {
		{ mac, RCR_APM | RCR_AAP, 0x4000 },
		{ other, RCR_AAP, 0 },
		{ broadcast, RCR_AB, 0x2000 },
		{ group, RCR_AM, 0x8000 },
	};

	(void)state;
	rg_up_c(g, 1, false);
	/* 01:00:5e:00:00:01: the upper six bits of its check sequence are 31, by Linux's ether_crc(). */
	for (unsigned mar = 0; mar < 2; mar++) {
		rg_write(g, R_MAR0, 4, mar ? 1u << 31 : 0x7fffffff);
		rg_write(g, R_MAR0 + 4, 4, mar ? 0 : UINT32_MAX);
		for (uint32_t bits = 0; bits < 64; bits++) {
			rg_write(g, R_RCR, 4, bits | 1 << RCR_RBLEN_SHIFT);
			for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
				bool in = bits & rows[i].need && (rows[i].to != group || mar);

				plain_for_us(frame, 100, i);
				memcpy(frame, rows[i].to, 6);
				assert_int_equal(from_wire(frame, 100, NULL), in ? NET_OK : NET_DROP_FILTER_MAC);
				if (!in)
					continue;
				assert_int_equal(rg_receive(g, got, sizeof(got)), 100);
				assert_int_equal(rg_rx_status() & 0xe000, rows[i].flag);
			}
		}
	}
}

/* ---- loopback, counters ---- */

static void loopback(void **state)
{
	(void)state;
	for (unsigned cplus = 0; cplus < 2; cplus++) {
		if (cplus)
			rg_up_cplus(g);
		else
			rg_up_c(g, 2, true);
		rg_write(g, R_TCR, 4, TCR_LBK);
		for (unsigned i = 14; i < 1514; i += 50) {
			plain_for_us(frame, i, i);
			assert_true(rg_send(g, frame, i, 0, 0));
			if (cplus)
				rg_poll(g);
			settle(g->loop);
			assert_int_equal(rg_receive(g, got, sizeof(got)), MAX(i, 60u));
			assert_memory_equal(got, frame, i);
			interrupts_are(INT_ROK | INT_TOK | (cplus ? INT_TDU : 0u));
		}
	}
	assert_int_equal(wire->n_got, 0);
	assert_int_equal(counter_get(&g->nic->tx.in), 0);
	rg_write(g, R_TCR, 4, 0);
	rg_send(g, frame, 60, 0, 0);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 1);
}

static uint64_t tally64(unsigned off)
{
	return rg_get32(g, RG_TALLY + off) | (uint64_t)rg_get32(g, RG_TALLY + off + 4) << 32;
}

static void tally(void **state)
{
	(void)state;
	rg_up_cplus(g);
	for (unsigned i = 0; i < 5; i++)
		rg_send(g, frame, 60, 0, 0);
	rg_poll(g);
	settle(g->loop);
	rg_write(g, R_MAR0, 4, UINT32_MAX);
	for (unsigned i = 0; i < 7; i++) {
		plain_for_us(frame, 60, i);
		if (i >= 4)
			memcpy(frame, i == 6 ? group : broadcast, 6);
		assert_int_equal(from_wire(frame, 60, NULL), NET_OK);
	}
	rg_write(g, R_DTCCR + 4, 4, 0);
	rg_write(g, R_DTCCR, 4, RG_TALLY | 8);
	assert_int_equal(rg_read(g, R_DTCCR, 4), RG_TALLY);
	assert_int_equal(tally64(0), 5);
	assert_int_equal(tally64(8), 7);
	assert_int_equal(tally64(40), 4);
	assert_int_equal(tally64(48), 2);
	assert_int_equal(rg_get32(g, RG_TALLY + 56), 1);
}

static void map_again(void)
{
	unsigned all = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_1, 4, RG_BAR_MEM);
	pci_config_write(&g->bus, g->pci->devfn, PCI_BASE_ADDRESS_0, 4, RG_BAR_IO);
	pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, all);
}

/* Nothing that the state table knows of outlives a power-on reset: counters and TDOKLADDR neither. */
static void power_on(void **state)
{
	struct rtl8139 *before = malloc(sizeof(*before));

	device_reset(&g->pci->dev);
	settle(g->loop);
	assert_non_null(before);
	memcpy(before, g->dev, sizeof(*before));
	map_again();
	tally(state);
	assert_int_not_equal(atomic_load(&g->dev->tdok), 0);
	device_reset(&g->pci->dev);
	settle(g->loop);
	for (unsigned i = 0; i < rtl_state.n; i++) {
		const struct state_field *f = &rtl_state.field[i];

		assert_memory_equal((uint8_t *)before + f->offset, (uint8_t *)g->dev + f->offset,
				    (size_t)f->width * f->count);
	}
	free(before);
}

/* ---- what the bus does ---- */

static void bus(void **state)
{
	static const unsigned command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
	unsigned wakes;

	(void)state;
	rg_up_cplus(g);
	/* Without bus mastering nothing is read or written; what was asked for is done when it is back. */
	pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, command);
	make_plain(frame, 60, 1);
	rg_send(g, frame, 60, 0, 0);
	rg_poll(g);
	settle(g->loop);
	assert_int_equal(wire->n_got, 0);
	plain_for_us(frame, 60, 2);
	assert_int_equal(from_wire(frame, 60, NULL), -EAGAIN);
	wakes = wire->wakes;
	pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, command | PCI_COMMAND_MASTER);
	settle(g->loop);
	assert_int_equal(wire->n_got, 1);
	assert_true(wire->wakes > wakes);
	assert_int_equal(from_wire(frame, 60, NULL), NET_OK);
	/* A window that was lent is void after a stop, and after a reset. */
	for (unsigned i = 0; i < 3; i++) {
		static const struct frame_meta m;
		struct net_window w;

		assert_int_equal(net_lend(&wire->c, 100, &w), 0);
		if (i == 0)
			pci_config_write(&g->bus, g->pci->devfn, PCI_COMMAND, 2, command);
		else if (i == 1)
			rg_write(g, R_CR, 1, CR_RST);
		else
			device_reset(&g->pci->dev);
		assert_int_not_equal(net_take(&wire->c, 100, &m), NET_OK);
		net_commit(&wire->c);
		map_again();
		rg_up_cplus(g);
		settle(g->loop);
	}
}

#define CPLUS(f) cmocka_unit_test_setup_teardown(f, setup_cplus, teardown)
#define C(f)	 cmocka_unit_test_setup_teardown(f, setup_c, teardown)

int main(void)
{
	static const struct type *const types[] = { &type_object,	   &type_device,  &type_pci_device,
						    &type_pci_host_bridge, &type_rtl8139, NULL };
	const struct CMUnitTest tests[] = {
		CPLUS(identity),
		cmocka_unit_test_setup_teardown(identity, identity_c_setup, teardown),
		C(eeprom_and_lock),
		CPLUS(link_and_phy),
		C(timer),
		C(slots),
		CPLUS(slots),
		C(slots_wait),
		CPLUS(descriptors),
		CPLUS(descriptors_wait),
		CPLUS(pieces_and_priority),
		CPLUS(checksums),
		CPLUS(large_send),
		CPLUS(tags_inserted),
		C(receive_ring),
		CPLUS(receive_ring),
		C(ring_full),
		C(ring_full_and_acknowledged),
		CPLUS(receive_descriptors),
		CPLUS(descriptors_dry),
		CPLUS(frame_in_descriptors),
		CPLUS(tags_and_checksums_received),
		C(filter),
		CPLUS(loopback),
		CPLUS(tally),
		CPLUS(power_on),
		CPLUS(bus),
	};
	struct error err;

	log_init("test", LOG_ERR);
	vm_clock_manual();
	if (types_init(types, &err))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
