/* SPDX-License-Identifier: BSD-2-Clause */
/* The control queue: what breaks the device, what is answered with an error and changes nothing, what works. */
#include <errno.h>
#include <stdlib.h>

#include "guest.h"

enum {
	OK = VIRTIO_NET_OK,
	ERR = VIRTIO_NET_ERR
};

struct cmd {
	uint8_t class, what;
	uint32_t len;
	const void *data;
};

/* In one piece, or in two, the first one of `cut` bytes. Its answer is all that a command writes. */
static uint8_t run_cut(struct bench *b, struct cmd c, uint32_t cut)
{
	uint8_t ack;

	assert_int_equal(ctrl_run(b, &(struct ctrl_cmd){ c.class, c.what, c.len, c.data, .cut = cut }, &ack), 1);
	return ack;
}

static uint8_t run_cmd(struct bench *b, struct cmd c)
{
	return run_cut(b, c, 0);
}

#define CMD(cl, co, ...) \
	((struct cmd){ (cl), (co), sizeof((uint8_t[]){ __VA_ARGS__ }), (const uint8_t[]){ __VA_ARGS__ } })
#define BARE(cl, co) ((struct cmd){ (cl), (co), 0, NULL })

static void open_up(struct bench *b)
{
	bench_open(b, NULL);
	driver_up(b, ALL_FEATURES);
}

/* The filter as it is, to see that a refused command changed nothing. */
static void expect_error(struct bench *b, struct cmd c)
{
	struct rx_filter before = b->n->filter;
	uint32_t takes = b->nic->takes;
	uint64_t mac = atomic_load(&b->n->mac);

	assert_int_equal(run_cmd(b, c), ERR);
	assert_memory_equal(&b->n->filter, &before, sizeof(before));
	assert_int_equal(b->nic->takes, takes);
	assert_int_equal(atomic_load(&b->n->mac), mac);
}

/* CV1: no answer's place, no command, a command of one byte */
static void test_malformed(void **state)
{
	(void)state;
	for (unsigned how = 0; how < 4; how++) {
		struct seg s[2];
		struct bench b;
		uint64_t gpa;

		open_up(&b);
		gpa = buf(&b, 8);
		memset(at(&b, gpa), 0, 8);
		s[0] = (struct seg){ gpa, how == 2 ? 1 : 2, how == 1 };
		s[1] = (struct seg){ gpa + 4, 1, true };
		chain(&b.q[CTRLQ], s, how == 0 || how == 1 ? 1 : 2);
		if (how == 3) { /* a length of 0 for the answer */
			set_desc(&b.q[CTRLQ], 1, gpa + 4, 0, VRING_DESC_F_WRITE, 0);
			kick(&b.q[CTRLQ]);
			expect_broken(&b, CTRLQ, VIRTQ_FAULT_ZERO_LEN);
		} else {
			kick(&b.q[CTRLQ]);
			expect_broken(&b, CTRLQ, VIRTQ_FAULT_CONTROL);
		}
		assert_int_equal(*((uint8_t *)at(&b, gpa) + 4), 0);
		bench_close(&b);
	}
}

/* CV2: a longer place for the answer: one byte of it is written */
static void test_long_ack(void **state)
{
	struct bench b;
	uint64_t ack;
	uint32_t used;
	uint8_t on = 1;

	(void)state;
	open_up(&b);
	ack = ctrl_post(&b, CTRLQ, &(struct ctrl_cmd){ VIRTIO_NET_CTRL_RX, 0, 1, &on, .cut = 1, .room = 100 });
	kick(&b.q[CTRLQ]);
	settle(&b);
	assert_true(reap(&b.q[CTRLQ], NULL, &used));
	assert_int_equal(used, 1);
	assert_int_equal(*(uint8_t *)at(&b, ack), OK);
	for (unsigned i = 1; i < 100; i++)
		assert_int_equal(*((uint8_t *)at(&b, ack) + i), CTRL_UNWRITTEN);
	bench_close(&b);
}

/* CV3 and CV10, CV11, CV18: what is not offered is unknown */
static void test_unknown(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	for (unsigned class = 0; class < 256; class ++) {
		for (unsigned cmd = 0; cmd < 256; cmd += class < 8 ? 1 : 51) {
			uint8_t data[600] = { 0 };

			if (class == VIRTIO_NET_CTRL_ANNOUNCE && cmd == 0)
				continue;
			/* A length that no command has */
			expect_error(&b, (struct cmd){ (uint8_t) class, (uint8_t)cmd, 13, data });
			if (class > VIRTIO_NET_CTRL_GUEST_OFFLOADS || class == VIRTIO_NET_CTRL_MQ)
				expect_error(&b, (struct cmd){ (uint8_t) class, (uint8_t)cmd, 2, data });
		}
	}
	bench_close(&b);
}

/* A class that was not negotiated */
static void test_not_negotiated(void **state)
{
	uint8_t data[16] = { 0 };
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, BIT(VIRTIO_NET_F_CTRL_VQ));
	expect_error(&b, CMD(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0));
	expect_error(&b, CMD(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 0));
	expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_MAC, 0, 8, data });
	expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_MAC, 1, 6, data });
	expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_VLAN, 0, 2, data });
	expect_error(&b, BARE(VIRTIO_NET_CTRL_ANNOUNCE, 0));
	expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, 8, data });
	driver_up(&b, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX));
	assert_int_equal(run_cmd(&b, CMD(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0)), OK);
	expect_error(&b, CMD(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 0));
	bench_close(&b);
}

/* CV4, CV5 */
static void test_rx_modes(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	for (uint8_t cmd = 0; cmd < 6; cmd++) {
		expect_error(&b, BARE(VIRTIO_NET_CTRL_RX, cmd));
		expect_error(&b, CMD(VIRTIO_NET_CTRL_RX, cmd, 1, 1));
		assert_int_equal(run_cmd(&b, CMD(VIRTIO_NET_CTRL_RX, cmd, 0)), OK);
		assert_int_equal(run_cmd(&b, CMD(VIRTIO_NET_CTRL_RX, cmd, 0x80)), OK);
		assert_true(((bool[]){ b.n->filter.promisc, b.n->filter.allmulti, b.n->filter.alluni,
				       b.n->filter.nomulti, b.n->filter.nouni, b.n->filter.nobcast })[cmd]);
	}
	expect_error(&b, CMD(VIRTIO_NET_CTRL_RX, 6, 1));
	bench_close(&b);
}

/* CV6 */
static void test_mac(void **state)
{
	struct bench b;
	uint8_t mac[6];

	(void)state;
	open_up(&b);
	expect_error(&b, CMD(VIRTIO_NET_CTRL_MAC, 1, 2, 0, 0, 0, 1));
	expect_error(&b, CMD(VIRTIO_NET_CTRL_MAC, 1, 2, 0, 0, 0, 0, 1, 0));
	expect_error(&b, CMD(VIRTIO_NET_CTRL_MAC, 1, 1, 0, 0, 0, 0, 1));
	expect_error(&b, CMD(VIRTIO_NET_CTRL_MAC, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
	assert_int_equal(run_cmd(&b, CMD(VIRTIO_NET_CTRL_MAC, 1, 2, 0, 0, 0, 0, 9)), OK);
	virtio_config_read(b.v, 0, 6, mac);
	assert_memory_equal(mac, ((uint8_t[]){ 2, 0, 0, 0, 0, 9 }), 6);
	bench_close(&b);
}

/* MAC_TABLE_SET with n_uc and n_mc entries announced, and `len` bytes there. */
static struct cmd mac_table(uint32_t n_uc, uint32_t n_mc, uint32_t len)
{
	static uint8_t data[2000];
	size_t second = 4 + (n_uc <= 200 ? n_uc : 0) * 6;

	memset(data, 0, sizeof(data));
	for (unsigned i = 4; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 6 * 2);
	n_uc = htole32(n_uc);
	n_mc = htole32(n_mc);
	memcpy(data, &n_uc, 4);
	memcpy(data + second, &n_mc, 4);
	return (struct cmd){ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, len, data };
}

/* CV7 */
static void test_mac_table(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	assert_int_equal(run_cmd(&b, mac_table(2, 3, 8 + 30)), OK);
	assert_int_equal(b.n->filter.n_uc, 2);
	assert_int_equal(b.n->filter.n_mc, 3);
	for (uint32_t len = 0; len < 8 + 30; len++) /* cut anywhere */
		expect_error(&b, mac_table(2, 3, len));
	expect_error(&b, mac_table(2, 3, 8 + 31)); /* trailing bytes */
	expect_error(&b, mac_table(2, 3, 8 + 36));
	expect_error(&b, mac_table(0x2aaaaaab, 0, 200)); /* times 6 wraps to 2 */
	expect_error(&b, mac_table(UINT32_MAX, 0, 200));
	expect_error(&b, mac_table(0, 0x2aaaaaab, 200));
	expect_error(&b, mac_table(0, 33, 8 + 192));
	assert_int_equal(run_cmd(&b, mac_table(64, 0, 8 + 64 * 6)), OK);
	assert_int_equal(b.n->filter.n_uc, 64);
	/* More than the table holds: that class is let through. */
	assert_int_equal(run_cmd(&b, mac_table(65, 2, 8 + 67 * 6)), OK);
	assert_true(b.n->filter.uc_overflow && !b.n->filter.mc_overflow);
	assert_int_equal(b.n->filter.n_uc, 0);
	assert_int_equal(b.n->filter.n_mc, 2);
	assert_int_equal(run_cmd(&b, mac_table(10, 100, 8 + 110 * 6)), OK);
	assert_true(!b.n->filter.uc_overflow && b.n->filter.mc_overflow);
	assert_int_equal(b.n->filter.n_uc, 10);
	assert_int_equal(run_cmd(&b, mac_table(0, 0, 8)), OK);
	assert_true(!b.n->filter.uc_overflow && !b.n->filter.mc_overflow);
	bench_close(&b);
}

/* CV8, CV9 */
static void test_vlan(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	for (uint8_t cmd = 0; cmd < 2; cmd++) {
		expect_error(&b, CMD(VIRTIO_NET_CTRL_VLAN, cmd, 0, 0x10));
		expect_error(&b, CMD(VIRTIO_NET_CTRL_VLAN, cmd, 0xff, 0xff));
		expect_error(&b, CMD(VIRTIO_NET_CTRL_VLAN, cmd, 1));
		expect_error(&b, CMD(VIRTIO_NET_CTRL_VLAN, cmd, 1, 0, 0));
	}
	expect_error(&b, CMD(VIRTIO_NET_CTRL_VLAN, 2, 1, 0));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(run_cmd(&b, CMD(VIRTIO_NET_CTRL_VLAN, 0, 0xff, 0x0f)), OK);
	assert_int_equal(b.n->filter.vlan[63], BIT(63));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(run_cmd(&b, CMD(VIRTIO_NET_CTRL_VLAN, 1, 0xff, 0x0f)), OK);
	assert_int_equal(b.n->filter.vlan[63], 0);
	bench_close(&b);
}

/* CV13 */
static void test_offloads(void **state)
{
	uint64_t f = BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
	struct bench b;

	(void)state;
	bench_open(&b, NULL);
	driver_up(&b, f | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	assert_int_equal(b.nic->takes, NET_OFF_CSUM | NET_OFF_TSO4);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t v = htole64(BIT(bit));

		if (!(f & BIT(bit)))
			expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, 8, &v });
	}
	for (uint32_t len = 0; len < 12; len++) {
		uint8_t data[12] = { 0 };

		if (len != 8)
			expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, len, data });
	}
	expect_error(&b, (struct cmd){ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, 8, &f });
	f = htole64(BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(run_cmd(&b, (struct cmd){ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, 8, &f }), OK);
	assert_int_equal(b.nic->takes, NET_OFF_CSUM);
	f = 0;
	assert_int_equal(run_cmd(&b, (struct cmd){ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, 8, &f }), OK);
	assert_int_equal(b.nic->takes, 0);
	/* A quiesce keeps what was set, a reset does not. */
	virtio_quiesce(b.v);
	virtio_resume(b.v);
	assert_int_equal(b.nic->takes, 0);
	driver_up(&b, BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(b.nic->takes, NET_OFF_CSUM);
	bench_close(&b);
}

/* CV15 */
static void test_announce(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	assert_int_equal(run_cmd(&b, BARE(VIRTIO_NET_CTRL_ANNOUNCE, 0)), OK);
	expect_error(&b, CMD(VIRTIO_NET_CTRL_ANNOUNCE, 0, 1));
	expect_error(&b, BARE(VIRTIO_NET_CTRL_ANNOUNCE, 1));
	bench_close(&b);
}

/* CV16: 1000 commands, as many at a time as the ring holds: a turn takes a part of them. */
static void test_many(void **state)
{
	uint8_t on = 1;
	struct bench b;
	uint64_t table, ack;
	struct gq *q;

	(void)state;
	open_up(&b);
	q = &b.q[CTRLQ];
	ack = buf(&b, 1);
	table = ALIGN_UP(buf(&b, 64), 16);
	name_range(&b, table, 32);
	memcpy(at(&b, table), (uint8_t[]){ VIRTIO_NET_CTRL_RX, 0, on }, 3);
	for (unsigned sent = 0; sent < 1000;) {
		struct seg s[2] = { { table, 3, false }, { ack, 1, true } };
		unsigned n;

		for (n = 0; sent < 1000 && q->n_free; n++, sent++)
			chain_indirect(q, s, 2);
		kick(q);
		loop_turn(b.loop);
		assert_true(n <= 64);
		settle(&b);
		for (; n; n--)
			assert_true(reap(q, NULL, NULL));
	}
	assert_false(reap(q, NULL, NULL));
	bench_close(&b);
}

/* CV17: the answer lies over the command: it was read before */
static void test_alias(void **state)
{
	struct bench b;
	struct seg s[2];
	uint64_t gpa;

	(void)state;
	open_up(&b);
	for (uint32_t off = 0; off < 3; off++) {
		gpa = buf(&b, 3);
		memcpy(at(&b, gpa), (uint8_t[]){ VIRTIO_NET_CTRL_RX, 0, off == 1 }, 3);
		s[0] = (struct seg){ gpa, 3, false };
		s[1] = (struct seg){ gpa + off, 1, true };
		chain(&b.q[CTRLQ], s, 2);
		kick_if_due(&b.q[CTRLQ]);
		settle(&b);
		assert_true(reap(&b.q[CTRLQ], NULL, NULL));
		assert_int_equal(*((uint8_t *)at(&b, gpa) + off), OK);
		assert_int_equal(b.n->filter.promisc, off == 1);
	}
	bench_close(&b);
}

/* A command in pieces of any length */
static void test_pieces(void **state)
{
	struct bench b;

	(void)state;
	open_up(&b);
	for (uint32_t first = 1; first < 2 + 8 + 30; first++) {
		b.n->filter.n_uc = 0;
		assert_int_equal(run_cut(&b, mac_table(2, 3, 8 + 30), first), OK);
		assert_int_equal(b.n->filter.n_uc, 2);
	}
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed),      cmocka_unit_test(test_long_ack), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_not_negotiated), cmocka_unit_test(test_rx_modes), cmocka_unit_test(test_mac),
		cmocka_unit_test(test_mac_table),      cmocka_unit_test(test_vlan),	cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_announce),       cmocka_unit_test(test_many),	cmocka_unit_test(test_alias),
		cmocka_unit_test(test_pieces),
	};

	return bench_run_in_order(tests, ARRAY_SIZE(tests), 0);
}
