/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose memory it is. The device may write into receive buffers from when they are posted until they come back, into
 * the acknowledgement of a control command, and into the used rings of queues that run; into nothing else, ever, and
 * after a reset into nothing at all. A driver and a wire do what they like, by chance: frames of all sizes and
 * offloads, chains of all shapes, changes of offloads and of the link, quiet periods, DMA off and on, time that passes,
 * resets with whatever is in flight. All the while RAM is compared with what the driver knows of it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/iov.h"
#include "guest.h"

#define STEPS	 12000
#define SEEDS	 4
#define SLOTS	 300 /* buffers: small ones, and a few large ones */
#define SMALL	 2048u
#define LARGE	 (68u * 1024)
#define N_LARGE	 12
#define SLOT_GPA 0x30000ull
#define RINGS	 0x10000ull
#define RING_LEN 0x8000u
#define ALL	 (RAM2_GPA + RAM2_SIZE)
#define CHUNK	 512u

/* A chain that the device has. */
struct chain {
	unsigned n;
	struct seg seg[6];
	unsigned slot[6];
	unsigned n_slots;
};

static struct bench b;
static uint8_t *shadow, *devices; /* what RAM holds by the driver's knowledge; 1: the device may write the byte */
static bool slot_taken[SLOTS + N_LARGE];
static struct chain chains[N_QUEUES][VIRTQ_SIZE_MAX];
static bool up, quiet;
static uint8_t frame[NET_FRAME_MAX], back[NET_FRAME_MAX + 64];
static unsigned received, resets;

/* ---- memory ---- */

static bool is_ram(uint64_t gpa)
{
	return gpa < RAM1_GPA + RAM1_SIZE || (gpa >= RAM2_GPA && gpa < ALL);
}

static void check_now(const char *step)
{
	for (uint64_t gpa = 0; gpa < ALL; gpa += CHUNK) {
		const uint8_t *p;

		if (!is_ram(gpa))
			continue;
		p = at(&b, gpa);
		if (!memcmp(p, shadow + gpa, CHUNK))
			continue;
		for (unsigned i = 0; i < CHUNK; i++)
			if (p[i] != shadow[gpa + i] && !devices[gpa + i])
				fail_msg("%s: the byte at %#lx changed", step, (unsigned long)(gpa + i));
	}
}

/* Not each time: what is wrong stays so until the driver fills that buffer anew. */
static void check(const char *step)
{
	if (!rnd(4))
		check_now(step);
}

/* The driver has it, and fills it anew, so that each write shows. */
static void claim(uint64_t gpa, uint32_t len)
{
	uint8_t *p = at(&b, gpa);

	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)rnd(256);
	memcpy(shadow + gpa, p, len);
	memset(devices + gpa, 0, len);
}

static void yield_to_device(uint64_t gpa, uint32_t len)
{
	memset(devices + gpa, 1, len);
}

static uint64_t slot_at(unsigned slot)
{
	if (slot < SLOTS)
		return SLOT_GPA + (uint64_t)slot * SMALL;
	return RAM2_GPA + (uint64_t)(slot - SLOTS) * LARGE;
}

static uint32_t slot_len(unsigned slot)
{
	return slot < SLOTS ? SMALL : LARGE;
}

/* A free slot of the kind, or -1. */
static int take_slot(bool large)
{
	unsigned first = large ? SLOTS : 0, n = large ? N_LARGE : SLOTS, at = rnd(n);

	for (unsigned i = 0; i < n; i++) {
		unsigned slot = first + (at + i) % n;

		if (slot_taken[slot])
			continue;
		slot_taken[slot] = true;
		return (int)slot;
	}
	return -1;
}

/* ---- the driver ---- */

static void release(struct chain *c)
{
	for (unsigned i = 0; i < c->n_slots; i++) {
		claim(slot_at(c->slot[i]), slot_len(c->slot[i]));
		slot_taken[c->slot[i]] = false;
	}
	c->n = c->n_slots = 0;
}

/* A piece of up to `most` bytes in a slot of its own; false: there is none. */
static bool add_piece(struct chain *c, uint32_t most, bool write)
{
	int slot = take_slot(most > SMALL);
	uint32_t len, off;

	if (slot < 0)
		return false;
	len = MIN(most, slot_len((unsigned)slot));
	off = rnd(slot_len((unsigned)slot) - len + 1);
	c->slot[c->n_slots++] = (unsigned)slot;
	c->seg[c->n++] = (struct seg){ slot_at((unsigned)slot) + off, len, write };
	return true;
}

static void write_piece(const struct seg *s, const uint8_t *data)
{
	memcpy(at(&b, s->gpa), data, s->len);
	memcpy(shadow + s->gpa, data, s->len);
}

/* An indirect table in a slot. */
static uint16_t post_indirect(struct gq *q, struct chain *c)
{
	struct seg *s = c->seg, table;
	struct vring_desc d[ARRAY_SIZE(c->seg)];
	unsigned n = c->n;
	uint16_t head = q->free_head;

	if (!add_piece(c, n * (uint32_t)sizeof(d[0]), false))
		return chain(q, s, n);
	table = c->seg[--c->n];
	for (unsigned i = 0; i < n; i++)
		d[i] = (struct vring_desc){ s[i].gpa, s[i].len,
					    (uint16_t)((s[i].write ? VRING_DESC_F_WRITE : 0) |
						       (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
					    (uint16_t)(i + 1) };
	write_piece(&table, (const uint8_t *)d);
	q->free_head = q->next[head];
	q->n_free--;
	q->next[head] = UINT16_MAX;
	set_desc(q, head, table.gpa, table.len, VRING_DESC_F_INDIRECT, 0);
	post(q, head);
	return head;
}

static void post_chain(struct gq *q, struct chain *c)
{
	bool indirect = virtio_has(b.v, VIRTIO_RING_F_INDIRECT_DESC) && c->n + 1 < ARRAY_SIZE(c->seg) && rnd(2);
	uint16_t head;

	if (!c->n)
		return;
	if (q->n_free < c->n) {
		release(c);
		return;
	}
	for (unsigned i = 0; i < c->n; i++)
		if (c->seg[i].write)
			yield_to_device(c->seg[i].gpa, c->seg[i].len);
	head = indirect ? post_indirect(q, c) : chain(q, c->seg, c->n);
	chains[q->index][head] = *c;
}

static void post_buffers(void)
{
	static const uint32_t sizes[] = { 13, 60, 200, 1526, SMALL, LARGE };
	bool mergeable = virtio_has(b.v, VIRTIO_NET_F_MRG_RXBUF);

	for (unsigned n = rnd(24); n; n--) {
		struct chain c = { 0 };
		uint32_t most = sizes[rnd(mergeable ? 5 : 6)];

		for (unsigned pieces = rnd(3) ? 1 : 1 + rnd(4); pieces; pieces--)
			add_piece(&c, 12 + rnd(most - 11), true);
		post_chain(&b.q[RXQ], &c);
	}
}

/* A TCP/IPv4 frame of `len` bytes, if it can be one, or a plain one; with what it needs. */
static void random_frame(uint32_t len, unsigned seed, struct virtio_net_hdr_mrg_rxbuf *h)
{
	uint32_t ip_len = len - 14;

	memset(h, 0, sizeof(*h));
	make_frame(frame, len, seed);
	if (len < 200 || rnd(2))
		return;
	memcpy(frame + 12, (uint8_t[]){ 8, 0, 0x45, 0, (uint8_t)(ip_len >> 8), (uint8_t)ip_len, 0, 1, 0x40, 0, 64, 6 },
	       12);
	frame[46] = 0x50;
	h->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->hdr.csum_start = htole16(34);
	h->hdr.csum_offset = htole16(16);
	if (rnd(3))
		return;
	h->hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	h->hdr.gso_size = htole16((uint16_t)(500 + rnd(1000)));
	h->hdr.hdr_len = htole16(54);
}

static uint32_t random_length(void)
{
	static const uint32_t most[] = { 60, 200, 1514, 1514, 9000 };

	/* The largest ones empty the ring: seldom. */
	return 14 + rnd((rnd(30) ? most[rnd(ARRAY_SIZE(most))] : 65000) - 13);
}

static void transmit(void)
{
	for (unsigned n = rnd(6); n; n--) {
		struct virtio_net_hdr_mrg_rxbuf h;
		uint32_t len = random_length();
		struct chain c = { 0 };

		random_frame(len, rnd(1000), &h);
		if (!add_piece(&c, HDR, false) || !add_piece(&c, len, false) || c.seg[1].len != len) {
			release(&c);
			continue;
		}
		write_piece(&c.seg[0], (const uint8_t *)&h);
		write_piece(&c.seg[1], frame);
		post_chain(&b.q[TXQ], &c);
	}
}

/* The bytes that make_frame() makes; in TCP frames there are others at the start. */
static void expect_frame(uint32_t len)
{
	if (len < 16 || back[12] == 8)
		return;
	for (uint32_t i = 14; i < len; i++)
		if (back[i] != (uint8_t)(back[14] + (i - 14) * 7 + (i >> 8)))
			fail_msg("byte %u of a frame of %u changed", i, len);
}

/* One chain that came back: its bytes to `to`. */
static uint32_t take_back(struct gq *q, uint8_t *to)
{
	uint32_t len, left;
	uint16_t head;
	struct chain *c;

	assert_true(reap(q, &head, &len));
	c = &chains[q->index][head];
	assert_true(c->n > 0);
	left = len;
	for (unsigned i = 0; i < c->n && to; i++) {
		uint32_t part = MIN(left, c->seg[i].len);

		memcpy(to, at(&b, c->seg[i].gpa), part);
		to += part;
		left -= part;
	}
	release(c);
	return len;
}

static void take_frames(void)
{
	static uint8_t all[HDR + sizeof(back)];
	struct gq *q = &b.q[RXQ];

	while (q->seen != used_idx(q)) {
		struct virtio_net_hdr_mrg_rxbuf h;
		uint32_t len = take_back(q, all);

		memcpy(&h, all, HDR);
		for (unsigned n = 1; n < le16toh(h.num_buffers); n++)
			len += take_back(q, all + len);
		memcpy(back, all + HDR, len - HDR);
		expect_frame(len - HDR);
		received++;
	}
	while (b.q[TXQ].seen != used_idx(&b.q[TXQ]))
		take_back(&b.q[TXQ], NULL);
	while (virtio_has(b.v, VIRTIO_NET_F_CTRL_VQ) && b.q[CTRLQ].seen != used_idx(&b.q[CTRLQ]))
		take_back(&b.q[CTRLQ], NULL);
}

static void change_offloads(void)
{
	uint64_t offloads = (uint64_t)rnd(1 << 30) & b.v->guest_features & VNET_GUEST_OFFLOADS;
	uint8_t command[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };
	struct chain c = { 0 };

	if (!virtio_has(b.v, VIRTIO_NET_F_CTRL_VQ))
		return;
	memcpy(command + 2, &offloads, sizeof(offloads));
	if (!add_piece(&c, sizeof(command), false) || !add_piece(&c, 1, true)) {
		release(&c);
		return;
	}
	write_piece(&c.seg[0], command);
	post_chain(&b.q[CTRLQ], &c);
	kick(&b.q[CTRLQ]);
}

/* Everything is the driver's again. */
static void take_all_back(void)
{
	for (unsigned q = 0; q < N_QUEUES; q++)
		for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++)
			release(&chains[q][i]);
	claim(RINGS, N_QUEUES * RING_LEN);
	up = false;
	resets++;
}

static void bring_up(void)
{
	static const uint16_t sizes[] = { 4, 64, 256, 256 };
	uint64_t features = ((uint64_t)rnd(1u << 31) << 31 | rnd(1u << 31)) | BIT(VIRTIO_NET_F_CTRL_VQ);

	if (rnd(2))
		features = ALL_FEATURES;
	b.queue_size = sizes[rnd(ARRAY_SIZE(sizes))];
	if (!negotiate(&b, (features & offered(&b)) | MIN_FEATURES))
		assert_true(negotiate(&b, offered(&b)));
	yield_to_device(RINGS, N_QUEUES * RING_LEN);
	place_queues(&b);
	virtio_set_status(b.v, virtio_get_status(b.v) | VIRTIO_CONFIG_S_DRIVER_OK);
	up = true;
}

/* ---- the wire ---- */

/* As a backend does: a frame into the window, and what is longer beside it. */
static bool give_frame(void)
{
	static const uint32_t wants[] = { 60, 1518, 9018, NET_FRAME_MAX };
	struct virtio_net_hdr_mrg_rxbuf h;
	struct frame_meta m;
	struct net_window w;
	struct iov_cur cur;
	uint32_t len = random_length();
	size_t part;

	random_frame(len, rnd(1000), &h);
	assert_int_equal(net_vnet_decode(&h.hdr, len, &m), NET_OK);
	if (net_lend(&b.wire, wants[rnd(ARRAY_SIZE(wants))], &w) < 0)
		return false;
	w.iov[-1] = (struct iovec){ 0 };
	if (!rnd(10)) /* there was no frame */
		return true;
	part = MIN(len, w.room);
	cur = iov_cur(w.iov, w.cnt);
	assert_int_equal(iov_put(&cur, frame, part), part);
	if (part == len)
		net_take(&b.wire, len, &m);
	else
		net_take_spilled(&b.wire, &w, len, frame + part, &m);
	return true;
}

static void give(void)
{
	for (unsigned n = 1 + rnd(rnd(2) ? 2 : 8); n && give_frame(); n--)
		;
	net_commit(&b.wire);
}

/* ---- steps ---- */

static void kicks(void)
{
	for (unsigned i = 0; i < b.v->n_queues; i++)
		if (rnd(2))
			kick(&b.q[i]);
}

static void be_quiet(void)
{
	if (!quiet && rnd(2))
		atomic_store(&b.dma.on, false);
	if (!quiet)
		virtio_quiesce(b.v);
	quiet = true;
	/* What it took and did not use is in the rings again. */
	for (unsigned i = 0; up && i < b.v->n_queues; i++) {
		const struct virtq *q = &b.v->queue[i].q;

		if (!q->running)
			continue;
		assert_int_equal(q->n_in_flight, 0);
		assert_int_equal(q->last_avail, used_idx(&b.q[i]));
	}
}

static void go_on(void)
{
	atomic_store(&b.dma.on, true);
	virtio_resume(b.v);
	quiet = false;
}

static void time_passes(void)
{
	vm_clock_step(clock_now(CLOCK_VM_NS) + rnd(60) * NSEC_PER_MSEC);
}

static void reset(void)
{
	virtio_set_status(b.v, 0);
	take_all_back();
}

static void wire_is_full(void)
{
	b.hold_all = !b.hold_all;
	if (!b.hold_all)
		net_wake_peer(&b.wire, NET_WAKE_ROOM);
}

static void link_flaps(void)
{
	net_set_link(&b.wire, rnd(2));
}

static void drained(void)
{
	net_drained(&b.wire);
}

static const struct {
	const char *name;
	void (*fn)(void);
	unsigned often;
	bool driver; /* needs one */
} steps[] = {
	{ "buffers posted", post_buffers, 40, true },
	{ "frames given", give, 40, false },
	{ "frames sent", transmit, 15, true },
	{ "frames taken", take_frames, 20, true },
	{ "kicks", kicks, 15, true },
	{ "offloads changed", change_offloads, 5, true },
	{ "quiet", be_quiet, 2, false },
	{ "going on", go_on, 6, false },
	{ "time passes", time_passes, 4, false },
	{ "reset", reset, 1, false },
	{ "wire full or not", wire_is_full, 3, false },
	{ "link", link_flaps, 4, false },
	{ "drained", drained, 4, false },
};

static void step(void)
{
	unsigned sum = 0, at, i = 0;

	for (unsigned k = 0; k < ARRAY_SIZE(steps); k++)
		sum += steps[k].often;
	for (at = rnd(sum); at >= steps[i].often; i++)
		at -= steps[i].often;
	if (!up && steps[i].driver) {
		if (rnd(4) == 0)
			bring_up();
		check("driver up");
		return;
	}
	steps[i].fn();
	check(steps[i].name);
	if (rnd(3)) {
		settle(&b);
		check(steps[i].name);
	}
	if (b.n_sunk > 100)
		forget_sunk(&b);
}

static void test_ownership(void **state)
{
	(void)state;
	shadow = calloc(1, ALL);
	devices = calloc(1, ALL);
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		bench_open(&b, NULL);
		received = resets = 0;
		quiet = false;
		memset(devices, 0, ALL);
		for (uint64_t gpa = 0; gpa < ALL; gpa += 4096)
			if (is_ram(gpa))
				memcpy(shadow + gpa, at(&b, gpa), 4096);
		name_range(&b, SLOT_GPA, SLOTS * SMALL);
		name_range(&b, RAM2_GPA, N_LARGE * LARGE);
		name_range(&b, RINGS, N_QUEUES * RING_LEN);
		take_all_back();
		for (unsigned i = 0; i < STEPS; i++)
			step();
		assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
		assert_true(received > 100 && resets > 5);
		go_on();
		reset();
		settle(&b);
		check_now("the end");
		bench_close(&b);
	}
	free(shadow);
	free(devices);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ownership) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
