/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each feature bit on and off, alone and among others: what the device makes of the negotiated set, frames and commands.
 *
 * A set is refused exactly if the standard says so (5.1.3.1). With one that is taken, plain frames, frames without a
 * checksum and frames to be cut go both ways: every byte arrives, in the form that was negotiated and in no other; a frame
 * that the set does not allow is dropped. A command is carried out exactly if its feature was negotiated.
 */
#include "base/csum.h"
#include "base/wirefmt.h"
#include "guest.h"

#define PAYLOAD 4000u
#define UNIT	1000u

static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX];
static struct bench b;

#define F(x) BIT(VIRTIO_NET_F_##x)

/* 5.1.3.1: what needs one of what. */
static const struct {
	uint64_t bit, any;
} needs[] = {
	{ F(GUEST_TSO4), F(GUEST_CSUM) },
	{ F(GUEST_TSO6), F(GUEST_CSUM) },
	{ F(GUEST_ECN), F(GUEST_TSO4) | F(GUEST_TSO6) },
	{ F(GUEST_UFO), F(GUEST_CSUM) },
	{ F(GUEST_USO4), F(GUEST_CSUM) },
	{ F(GUEST_USO6), F(GUEST_CSUM) },
	{ F(HOST_TSO4), F(CSUM) },
	{ F(HOST_TSO6), F(CSUM) },
	{ F(HOST_ECN), F(HOST_TSO4) | F(HOST_TSO6) },
	{ F(HOST_UFO), F(CSUM) },
	{ F(HOST_USO), F(CSUM) },
	{ F(CTRL_RX), F(CTRL_VQ) },
	{ F(CTRL_VLAN), F(CTRL_VQ) },
	{ F(GUEST_ANNOUNCE), F(CTRL_VQ) },
	{ F(MQ), F(CTRL_VQ) },
	{ F(CTRL_MAC_ADDR), F(CTRL_VQ) },
	{ F(NOTF_COAL), F(CTRL_VQ) },
	{ F(VQ_NOTF_COAL), F(CTRL_VQ) },
	{ F(RSC_EXT), F(HOST_TSO4) | F(HOST_TSO6) },
	{ F(RSS), F(CTRL_VQ) },
};

static uint64_t lacking(uint64_t f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
		if (f & needs[i].bit && !(f & needs[i].any))
			return needs[i].bit;
	}
	return 0;
}

/* ---- frames ---- */

enum kind {
	PLAIN,
	CSUM,
	TSO4,
	TSO6,
	ECN,
	UFO,
	USO,
	N_KINDS
};

static const uint64_t of_guest[] = { 0,
				     F(CSUM),
				     F(CSUM) | F(HOST_TSO4),
				     F(CSUM) | F(HOST_TSO6),
				     F(HOST_TSO4) | F(HOST_ECN),
				     F(CSUM) | F(HOST_UFO),
				     F(CSUM) | F(HOST_USO) };
static const uint64_t for_guest[] = { 0,
				      F(GUEST_CSUM),
				      F(GUEST_TSO4),
				      F(GUEST_TSO6),
				      F(GUEST_TSO4) | F(GUEST_ECN),
				      F(GUEST_UFO),
				      F(GUEST_USO4) | F(GUEST_USO6) };
static const uint8_t gso_of[] = { NET_GSO_NONE, NET_GSO_NONE, NET_GSO_TCP4,  NET_GSO_TCP6,
				  NET_GSO_TCP4, NET_GSO_UDP,  NET_GSO_UDP_L4 };

/* A frame of this kind; its length, and where its payload begins. */
static uint32_t make(enum kind k, struct frame_meta *m, unsigned *payload)
{
	bool v6 = k == TSO6, udp = k >= UFO;
	unsigned l4 = v6 ? 54 : 34, head = udp ? UDP_LEN : TCP_LEN, n = k >= TSO4 ? PAYLOAD : UNIT, len = head + n;
	uint8_t tail[4] = { 0, udp ? PROTO_UDP : PROTO_TCP, (uint8_t)(len >> 8), (uint8_t)len };
	uint16_t sum;

	make_frame(frame, ETH_LEN, 0);
	memset(frame + ETH_LEN, 0, l4 + head - ETH_LEN);
	put16(frame + 12, v6 ? ETH_IPV6 : ETH_IPV4);
	if (v6) {
		frame[14] = 0x60;
		put16(frame + 18, len);
		frame[20] = tail[1];
	} else {
		frame[14] = 0x45;
		put16(frame + 16, IP4_LEN + len);
		frame[22] = 64;
		frame[23] = tail[1];
		sum = (uint16_t)~csum_fold(csum_add(0, frame + 14, IP4_LEN));
		memcpy(frame + 24, &sum, 2);
	}
	if (udp)
		put16(frame + l4 + 4, len);
	else
		frame[l4 + 12] = 0x50;
	if (k == ECN)
		frame[l4 + 13] = TCP_CWR;
	sum = csum_fold(csum_add(csum_add(0, frame + (v6 ? 22 : 26), v6 ? 32 : 8), tail, 4));
	memcpy(frame + l4 + (udp ? UDP_CSUM : TCP_CSUM), &sum, 2);
	for (unsigned i = 0; i < n; i++)
		frame[l4 + head + i] = (uint8_t)(i * 3 + (i >> 8));
	*payload = l4 + head;
	*m = (struct frame_meta){ .gso = gso_of[k], .ecn = k == ECN };
	if (k > PLAIN) {
		m->needs_csum = true;
		m->csum_start = (uint16_t)l4;
		m->csum_offset = udp ? UDP_CSUM : TCP_CSUM;
	}
	if (k >= TSO4) {
		m->gso_size = UNIT;
		m->hdr_len = (uint16_t)*payload;
	}
	return l4 + len;
}

static unsigned payload_sum(const uint8_t *p, size_t n)
{
	unsigned sum = 0;

	while (n--)
		sum += *p++;
	return sum;
}

static void send_kind(enum kind k, uint64_t f)
{
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };
	struct frame_meta m;
	unsigned payload;
	uint32_t len = make(k, &m, &payload);
	bool fine = (f & of_guest[k]) == of_guest[k];
	uint64_t before = dropped_tx(&b, NET_DROP_VNET_HDR);

	net_vnet_encode(&m, &h.hdr);
	forget_sunk(&b);
	post_tx(&b, &h, frame, len, NULL);
	kick(&b.q[TXQ]);
	settle(&b);
	assert_true(reap(&b.q[TXQ], NULL, NULL));
	assert_int_equal(b.n_sunk, fine);
	assert_int_equal(dropped_tx(&b, NET_DROP_VNET_HDR) - before, !fine);
	if (!fine)
		return;
	assert_int_equal(b.sunk[0].len, len);
	assert_memory_equal(b.sunk[0].data, frame, len);
	assert_memory_equal(&b.sunk[0].meta, &m, sizeof(m));
}

/* One frame for the guest, in which form ever: its header's types are negotiated ones, and no payload is lost. */
static void receive_kind(enum kind k, uint64_t f)
{
	struct virtio_net_hdr_mrg_rxbuf h;
	struct frame_meta m;
	unsigned payload, sum = 0, frames = 0;
	uint32_t len = make(k, &m, &payload);
	bool whole = (f & for_guest[k]) == for_guest[k] && (k == PLAIN || f & F(GUEST_CSUM));
	int n;

	assert_int_equal(wire_frame(&b, frame, len, &m), NET_OK);
	settle(&b);
	while ((n = receive(&b, back, sizeof(back), &h)) >= 0) {
		/* A fragment's payload begins sooner, but for the first one's. */
		unsigned at = !whole && k == UFO && frames ? payload - UDP_LEN : payload;

		frames++;
		sum += payload_sum(back + at, (size_t)n - at);
		assert_int_equal(h.hdr.gso_type & ~VIRTIO_NET_HDR_GSO_ECN ? gso_of[k] : NET_GSO_NONE,
				 whole ? gso_of[k] : NET_GSO_NONE);
		assert_int_equal(!!(h.hdr.gso_type & VIRTIO_NET_HDR_GSO_ECN), whole && k == ECN);
		assert_int_equal(!!(h.hdr.flags & VIRTIO_NET_HDR_F_RSC_INFO), f & F(RSC_EXT) && whole && k >= TSO4);
		if (!(f & F(GUEST_CSUM)))
			assert_int_equal(h.hdr.flags, 0);
		if (!(f & F(MRG_RXBUF)))
			assert_int_equal(h.num_buffers, 1);
	}
	assert_int_equal(sum, payload_sum(frame + payload, len - payload));
	assert_true(whole ? frames == 1 : k >= TSO4 ? frames >= PAYLOAD / UNIT : frames == 1);
}

static void fill(uint64_t f)
{
	while (b.q[RXQ].n_free > 100)
		post_rx(&b, f & F(MRG_RXBUF) ? 1526 : 6000);
	kick(&b.q[RXQ]);
	settle(&b);
}

/* ---- commands ---- */

static const struct {
	uint8_t class, what, len, data[60];
	uint64_t need;
} commands[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, { 1 }, F(CTRL_RX) },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 1, { 1 }, F(CTRL_RX_EXTRA) },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 8, { 0 }, F(CTRL_RX) },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 6, { 0x52, 0x54, 0, 0x12, 0x34, 0x56 }, F(CTRL_MAC_ADDR) },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 2, { 7 }, F(CTRL_VLAN) },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0, { 0 }, F(GUEST_ANNOUNCE) },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, 13 + 40, { 2, [10] = 1, [12] = 40 }, F(RSS) },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_HASH_CONFIG, 13 + 40, { 2, [12] = 40 }, F(HASH_REPORT) },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 8, { 0 }, F(NOTF_COAL) },
	{ VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, 12, { 0 }, F(VQ_NOTF_COAL) },
	{ VIRTIO_NET_CTRL_STATS, VIRTIO_NET_CTRL_STATS_QUERY, 0, { 0 }, F(DEVICE_STATS) },
};

static void run_commands(uint64_t f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct ctrl_cmd c = { .class = commands[i].class,
					    .what = commands[i].what,
					    .len = commands[i].len,
					    .data = commands[i].data,
					    .room = 9 };
		uint8_t result[9];

		ctrl_run(&b, &c, result);
		assert_int_equal(result[0], f & commands[i].need ? VIRTIO_NET_OK : VIRTIO_NET_ERR);
	}
}

/* ---- sets ---- */

static unsigned n_taken, n_refused;

static void check_set(uint64_t f)
{
	if (lacking(f)) {
		assert_false(negotiate(&b, f | MIN_FEATURES));
		n_refused++;
		return;
	}
	driver_up(&b, f);
	net_gives_changed(&b.wire, NET_OFF_ALL); /* a wire that does not ask what the guest takes */
	fill(f);
	for (enum kind k = PLAIN; k < N_KINDS; k++) {
		send_kind(k, f);
		receive_kind(k, f);
	}
	if (f & F(CTRL_VQ))
		run_commands(f);
	expect_balanced(&b);
	n_taken++;
}

/* Add what the set lacks, so that a set of chance is not refused nearly always. */
static uint64_t completed(uint64_t f)
{
	for (unsigned i = 2 * ARRAY_SIZE(needs); i--;) {
		const uint64_t any = needs[i % ARRAY_SIZE(needs)].any;

		if (f & needs[i % ARRAY_SIZE(needs)].bit && !(f & any))
			f |= any & -any;
	}
	return f;
}

static void test_sets(void **state)
{
	uint64_t all;

	(void)state;
	bench_open(&b, (const char *const[]){ "rss=on", "hash=on", "failover=on", "guest_rsc_ext=on", "host_mtu=9000",
					      "speed=1000", NULL });
	all = offered(&b) & ~BIT(VIRTIO_F_RING_PACKED);
	if (bench_packed)
		all |= offered(&b) & BIT(VIRTIO_F_RING_PACKED);
	n_taken = n_refused = 0;
	check_set(all);
	check_set(0);
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(all & BIT(bit)) || (BIT(bit) & MIN_FEATURES))
			continue;
		check_set(all & ~BIT(bit));
		check_set(BIT(bit));
		check_set(completed(BIT(bit)));
	}
	for (unsigned i = 0; i < 100; i++) {
		uint64_t some = ((uint64_t)rnd(1u << 31) << 33 ^ (uint64_t)rnd(1u << 31) << 16 ^ rnd(1u << 16)) & all;

		check_set(i % 4 ? completed(some) : some);
	}
	assert_true(n_taken > 100 && n_refused > 30);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sets),
	};

	return bench_run(tests, ARRAY_SIZE(tests), 0);
}
