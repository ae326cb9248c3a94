/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every split ring of up to 2 entries and every packed one of up to 2, with every combination of the values at which a
 * field's meaning changes, against a model of virtio 1.2, 2.7 and 2.8. The model reads the ring as the standard tells
 * it, knows nothing of hosts and threads, and says which chains are taken, with which buffers, what the driver finds
 * used, and whether it is called.
 */
#include <stdlib.h>
#include <string.h>

#include "virtio/ring.h"

/* Last: its fail() is a macro. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define RAM_SIZE  0x10000u
#define RING	  0x1000u
#define DRIVER	  0x2000u
#define DEVICE	  0x3000u
#define TABLES	  0x4000u
#define BUFFER	  0x8000u
#define F_AVAIL	  (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	  (1u << VRING_PACKED_DESC_F_USED)
#define WRAP	  0x8000u
#define MAX_CHAIN 8

static struct ram ram;
static struct dma dma;
static struct virtq q;
static unsigned long cases;

/* A descriptor of either kind. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, other; /* next, or id */
};

/* Places and lengths of buffers and of tables. */
static const struct {
	uint64_t addr;
	uint32_t len;
} places[] = {
	{ BUFFER, 1 },		 { BUFFER, 16 }, /* as a table: of zeroes, whose buffers have no length */
	{ BUFFER, 0 },		 { RAM_SIZE - 16, 17 },
	{ UINT64_MAX - 15, 16 }, { TABLES, 16 }, /* one readable buffer; the first of two with NEXT or WRITE: */
	{ TABLES + 0x100, 32 },	 { TABLES + 0x200, 32 },
};
#define N_PLACES (sizeof(places) / sizeof(places[0]))

static void *at(uint64_t gpa)
{
	return ram_ptr(&ram, gpa, 1);
}

/* ---- the model ---- */

/* What is to become of a chain. */
struct expected {
	bool good;
	unsigned head, n_out, n_in, descs; /* descs: places in the ring */
	uint32_t len[MAX_CHAIN];
	uint64_t addr[MAX_CHAIN];
};

static bool in_ram(uint64_t addr, uint32_t len)
{
	return addr < RAM_SIZE && len <= RAM_SIZE - addr;
}

static bool model_buffer(struct expected *e, const struct desc *d)
{
	unsigned n = e->n_out + e->n_in;

	if (!d->len || !in_ram(d->addr, d->len) || n == MAX_CHAIN)
		return false;
	if (d->flags & VRING_DESC_F_WRITE)
		e->n_in++;
	else if (e->n_in)
		return false;
	else
		e->n_out++;
	e->addr[n] = d->addr;
	e->len[n] = d->len;
	return true;
}

static bool model_table(const struct desc *d, bool indirect)
{
	return indirect && !(d->flags & VRING_DESC_F_NEXT) && d->len && d->len % 16 == 0 && in_ram(d->addr, d->len);
}

static struct desc split_desc(uint64_t table, unsigned i)
{
	struct vring_desc d;

	memcpy(&d, at(table + 16 * i), sizeof(d));
	return (struct desc){ d.addr, d.len, d.flags, d.next };
}

static struct desc packed_desc(uint64_t table, unsigned i)
{
	struct vring_packed_desc d;

	memcpy(&d, at(table + 16 * i), sizeof(d));
	return (struct desc){ d.addr, d.len, d.flags, d.id };
}

/* 2.7.5: follow NEXT; a descriptor of a table ends the direct part, and no table is in a table. */
static struct expected model_split(unsigned head, unsigned size, bool indirect)
{
	struct expected e = { .head = head };
	uint64_t table = RING;
	unsigned n = size, i = head, steps = 0;
	bool inside = false;

	while (i < n && steps++ < n) {
		struct desc d = split_desc(table, i);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (inside || !model_table(&d, indirect))
				return e;
			inside = true;
			table = d.addr;
			n = d.len / 16;
			i = steps = 0;
			continue;
		}
		if (!model_buffer(&e, &d))
			return e;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			e.good = true;
			return e;
		}
		i = d.other;
	}
	return e;
}

/* 2.8.5 to 2.8.7: one behind the other around the ring, at most `room`; or one table, of whose flags WRITE counts. */
static struct expected model_packed(unsigned from, unsigned size, unsigned room, bool indirect)
{
	struct expected e = { 0 };
	struct desc d;

	do {
		if (e.descs == room)
			return e;
		d = packed_desc(RING, (from + e.descs++) % size);
		if (!(d.flags & VRING_DESC_F_INDIRECT)) {
			if (!model_buffer(&e, &d))
				return e;
			continue;
		}
		if (e.descs > 1 || !model_table(&d, indirect))
			return e;
		for (unsigned i = 0; i < d.len / 16; i++) {
			struct desc t = packed_desc(d.addr, i);

			if (!model_buffer(&e, &t))
				return e;
		}
	} while (d.flags & VRING_DESC_F_NEXT);
	e.head = d.other;
	e.good = d.other < size;
	return e;
}

/* ---- the comparison ---- */

/* The next chain is taken, and is this one; or the queue breaks. */
static bool expect_pop(const struct expected *e)
{
	struct iovec iov[MAX_CHAIN];
	struct vchain c = { 0 };
	uint64_t out = 0, in = 0;
	int r = virtq_pop(&q, iov, MAX_CHAIN, &c);

	cases++;
	if (!e->good) {
		assert_int_equal(r, -EPROTO);
		assert_int_not_equal(q.fault, VIRTQ_FINE);
		assert_int_equal(virtq_pop(&q, iov, MAX_CHAIN, &c), -EPROTO);
		assert_false(virtq_kick_enable(&q));
		return false;
	}
	assert_int_equal(r, 1);
	assert_int_equal(c.head, e->head);
	assert_int_equal(c.n_out, e->n_out);
	assert_int_equal(c.n_in, e->n_in);
	for (unsigned i = 0; i < e->n_out + e->n_in; i++) {
		assert_ptr_equal(iov[i].iov_base, at(e->addr[i]));
		assert_int_equal(iov[i].iov_len, e->len[i]);
		*(i < e->n_out ? &out : &in) += e->len[i];
	}
	assert_int_equal(c.out_len, out);
	assert_int_equal(c.in_len, in);
	return true;
}

static void expect_empty(void)
{
	struct iovec iov[MAX_CHAIN];
	struct vchain c;

	assert_int_equal(virtq_pop(&q, iov, MAX_CHAIN, &c), 0);
	assert_int_equal(q.fault, VIRTQ_FINE);
}

static void place(unsigned size)
{
	q = (struct virtq){ .size = (uint16_t)size, .max_size = 1024, .desc_gpa = RING, .driver_gpa = DRIVER };
	q.device_gpa = DEVICE;
}

static void start(bool packed, bool event_idx, bool indirect, uint16_t base)
{
	const struct virtq_features f = { .event_idx = event_idx, .indirect = indirect, .packed = packed };
	const struct virtq_base b = { base, base };

	assert_int_equal(virtq_start(&q, &dma, &f, &b), 0);
}

/* ---- split ---- */

static struct vring_desc *ring_split(void)
{
	return at(RING);
}

static struct vring_avail *avail(void)
{
	return at(DRIVER);
}

static struct vring_used *used(void)
{
	return at(DEVICE);
}

/* Descriptor i, of the k-th combination; false: there are no more. */
static bool nth_split(unsigned i, unsigned k, unsigned size)
{
	static const uint16_t next[] = { 0, 1, 2, UINT16_MAX };
	unsigned flags = k % 8, n = k / 8 % 4, p = k / 32;
	uint16_t unknown = (uint16_t)(k % 3 ? 0 : 0xfff8);

	if (p == N_PLACES)
		return false;
	if (!(flags & VRING_DESC_F_NEXT) && n) /* it is not looked at */
		return nth_split(i, k - 8 * n, size);
	ring_split()[i] = (struct vring_desc){ places[p].addr, places[p].len, (uint16_t)(flags | unknown), next[n] };
	return true;
}

/* All that is posted is taken, used and published; each step as the model has it. */
static void run_split(unsigned size, unsigned base, unsigned posted, bool indirect)
{
	unsigned n = 0, taken[2];

	memset(used(), 0xee, 32);
	used()->idx = (uint16_t)base;
	start(false, false, indirect, (uint16_t)base);
	if (posted > size) {
		assert_false(expect_pop(&(struct expected){ 0 }));
		return;
	}
	for (; n < posted; n++) {
		unsigned head = avail()->ring[(base + n) % size];
		struct expected e = head < size ? model_split(head, size, indirect) : (struct expected){ 0 };

		if (n && head == taken[0])
			e.good = false;
		if (!expect_pop(&e))
			break;
		taken[n] = head;
	}
	if (n == posted)
		expect_empty();
	else
		return;
	for (unsigned i = 0; i < n; i++)
		virtq_push(&q, (uint16_t)taken[i], i + 7);
	assert_int_equal(used()->idx, (uint16_t)base);
	assert_int_equal(virtq_publish(&q), n != 0);
	assert_int_equal(used()->idx, (uint16_t)(base + n));
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(used()->ring[(base + i) % size].id, taken[i]);
		assert_int_equal(used()->ring[(base + i) % size].len, i + 7);
	}
}

/* With these descriptors, all that can be posted. */
static void post_split(unsigned size, unsigned base, bool indirect)
{
	static const uint16_t heads[] = { 0, 1, 2, UINT16_MAX };
	static const unsigned posted[] = { 0, 1, 2, 3, UINT16_MAX };

	for (unsigned n = 0; n < 5; n++) {
		/* what is not posted, or that too much is, does not depend on what it is */
		unsigned ways = posted[n] == 1 ? 4 : posted[n] == 2 ? 16 : 1;

		for (unsigned k = 0; k < ways; k++) {
			avail()->ring[base % size] = heads[k % 4];
			if (posted[n] == 2)
				avail()->ring[(base + 1) % size] = heads[k / 4];
			avail()->idx = (uint16_t)(base + posted[n]);
			run_split(size, base, posted[n], indirect);
		}
	}
}

static void test_split(void **state)
{
	(void)state;
	avail()->flags = 0;
	for (unsigned size = 1; size <= 2; size++) {
		place(size);
		for (unsigned a = 0; nth_split(0, a, size); a++) {
			for (unsigned b = 0; nth_split(1, b, size) && (size == 2 || !b); b++)
				post_split(size, b % 2 ? 0 : UINT16_MAX, (a + b) % 5);
		}
	}
}

/* 2.7.7.1, 2.7.10: the driver is called if its index, or flags, are as they must be; the very first time in any case. */
static void test_split_calls(void **state)
{
	(void)state;
	place(2);
	ring_split()[0] = ring_split()[1] = (struct vring_desc){ BUFFER, 1, 0, 0 };
	for (unsigned base = 0xfff8; base < 0x10008; base++) {
		for (unsigned n = 0; n <= 2; n++) {
			for (int event = -4; event <= 4; event++) {
				bool wanted = false;
				struct iovec iov[2];
				struct vchain c;

				start(false, true, true, (uint16_t)base);
				avail()->ring[0] = 0;
				avail()->ring[1] = 1;
				avail()->ring[2] = (uint16_t)(base + event); /* used_event */
				avail()->idx = (uint16_t)(base + n);
				q.signalled_valid = true;
				for (unsigned i = 0; i < n; i++) {
					assert_int_equal(virtq_pop(&q, iov, 2, &c), 1);
					virtq_push(&q, c.head, 0);
					wanted = wanted || (int)i == event;
				}
				assert_int_equal(virtq_publish(&q), wanted);
				cases++;
			}
		}
	}
	for (unsigned flags = 0; flags < 4; flags++) {
		struct iovec iov[2];
		struct vchain c;

		start(false, false, true, 0);
		avail()->flags = (uint16_t)flags;
		avail()->idx = 1;
		assert_int_equal(virtq_pop(&q, iov, 2, &c), 1);
		virtq_push(&q, c.head, 0);
		assert_int_equal(virtq_publish(&q), !(flags & VRING_AVAIL_F_NO_INTERRUPT));
	}
	avail()->flags = 0;
}

/* ---- packed ---- */

static struct vring_packed_desc *ring_packed(void)
{
	return at(RING);
}

static bool nth_packed(unsigned i, unsigned k)
{
	static const uint16_t id[] = { 0, 1, 2, UINT16_MAX };
	unsigned flags = k % 8, n = k / 8 % 4, marks = k / 32 % 4, p = k / 128;

	if (p == N_PLACES)
		return false;
	flags |= (marks & 1 ? F_AVAIL : 0) | (marks & 2 ? F_USED : 0) | (k % 3 ? 0 : 0x7f78);
	ring_packed()[i] = (struct vring_packed_desc){ places[p].addr, places[p].len, id[n], (uint16_t)flags };
	return true;
}

/* A place in the ring as both sides count it. */
struct cursor {
	unsigned at;
	bool wrap;
};

static void pass(struct cursor *c, unsigned n, unsigned size)
{
	c->at += n;
	if (c->at >= size) {
		c->at -= size;
		c->wrap = !c->wrap;
	}
}

static bool available(const struct cursor *c)
{
	unsigned flags = ring_packed()[c->at].flags;

	return !!(flags & F_AVAIL) == c->wrap && !!(flags & F_USED) != c->wrap;
}

static void expect_used(struct cursor *c, unsigned id, uint32_t len)
{
	const struct vring_packed_desc *d = &ring_packed()[c->at];

	assert_int_equal(d->id, id);
	assert_int_equal(d->len, len);
	assert_int_equal(!!(d->flags & F_AVAIL), c->wrap);
	assert_int_equal(!!(d->flags & F_USED), c->wrap);
	assert_int_equal(!!(d->flags & VRING_DESC_F_WRITE), len != 0);
}

static void run_packed(unsigned size, struct cursor base, bool indirect)
{
	struct cursor c = base;
	unsigned n = 0, flying = 0, id[2], descs[2];

	start(true, false, indirect, (uint16_t)(base.at | (base.wrap ? WRAP : 0)));
	while (available(&c)) {
		struct expected e = { 0 };

		if (flying < size)
			e = model_packed(c.at, size, size - flying, indirect);
		if (n && e.good && e.head == id[0])
			e.good = false;
		if (!expect_pop(&e))
			return;
		id[n] = e.head;
		descs[n++] = e.descs;
		flying += e.descs;
		pass(&c, e.descs, size);
	}
	expect_empty();
	for (unsigned i = 0; i < n; i++)
		virtq_push(&q, (uint16_t)id[i], i);
	assert_int_equal(virtq_publish(&q), n != 0);
	for (unsigned i = 0; i < n; i++) {
		expect_used(&base, id[i], i);
		pass(&base, descs[i], size);
	}
}

static void test_packed(void **state)
{
	(void)state;
	memset(at(DRIVER), 0, 4);
	for (unsigned size = 1; size <= 2; size++) {
		place(size);
		for (unsigned k = 0; k < 2 * size; k++) {
			struct cursor base = { k % size, k < size };
			unsigned first = base.at, second = (base.at + 1) % size;

			for (unsigned a = 0; nth_packed(first, a); a++) {
				bool reached = available(&base) && size == 2;

				for (unsigned b = 0; size == 1 || nth_packed(second, b); b++) {
					nth_packed(first, a); /* a run has changed it */
					run_packed(size, base, (a + b) % 5);
					if (!reached)
						break;
				}
			}
		}
	}
}

/* 2.8.10: places are counted over two laps, and the driver is called if the one that it named was passed. */
static void test_packed_calls(void **state)
{
	(void)state;
	for (unsigned size = 1; size <= 3; size++) {
		place(size);
		for (unsigned k = 0; k < 2 * size * (size + 1) * 8 * (size + 2); k++) {
			unsigned from = k % (2 * size), n = k / (2 * size) % (size + 1),
				 rest = k / (2 * size) / (size + 1);
			unsigned flags = rest % 4, wrap = rest / 4 % 2, off = rest / 8;
			struct cursor c = { from % size, from < size };
			bool sense = flags == VRING_PACKED_EVENT_FLAG_DESC && off < size, wanted = flags != 1;
			uint16_t base = (uint16_t)(c.at | (c.wrap ? WRAP : 0));

			memset(ring_packed(), 0, 16 * size);
			start(true, true, true, base);
			*(uint32_t *)at(DRIVER) = flags << 16 | wrap << 15 | off;
			if (sense)
				wanted = false;
			for (unsigned i = 0; i < n; i++) {
				struct iovec iov[2];
				struct vchain v;

				ring_packed()[c.at] =
					(struct vring_packed_desc){ BUFFER, 1, (uint16_t)i,
								    (uint16_t)(c.wrap ? F_AVAIL : F_USED) };
				assert_int_equal(virtq_pop(&q, iov, 2, &v), 1);
				if (sense && off == c.at && wrap == c.wrap)
					wanted = true;
				pass(&c, 1, size);
			}
			for (unsigned i = 0; i < n; i++)
				virtq_push(&q, (uint16_t)i, 0);
			assert_int_equal(virtq_publish(&q), n && wanted);
			cases++;
		}
	}
}

/* ---- life ---- */

/* Tables: one buffer; two; two in the wrong order of directions. With split rings NEXT leads from one to the other. */
static void write_tables(bool packed)
{
	static const struct desc entry[3][2] = {
		{ { BUFFER + 1, 3, 0, 0 }, { 0 } },
		{ { BUFFER + 1, 3, VRING_DESC_F_NEXT, 1 }, { BUFFER + 5, 7, VRING_DESC_F_WRITE, 0 } },
		{ { BUFFER + 1, 3, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 }, { BUFFER + 5, 7, 0, 0 } },
	};

	for (unsigned i = 0; i < 6; i++) {
		const struct desc *e = &entry[i / 2][i % 2];
		struct vring_desc d = { e->addr, e->len, e->flags, e->other };
		struct vring_packed_desc p = { e->addr, e->len, e->other, e->flags };

		memcpy((uint8_t *)at(TABLES + i / 2 * 0x100) + i % 2 * 16, packed ? (void *)&p : (void *)&d, 16);
	}
}

static int open_tables(bool packed)
{
	static const struct ram_block block = { .gpa = 0, .size = RAM_SIZE };

	assert_int_equal(ram_init(&ram, &block, 1, RAM_PRIVATE, NULL), 0);
	dma.ram = &ram;
	atomic_init(&dma.on, true);
	write_tables(packed);
	return 0;
}

static int open_split(void **state)
{
	(void)state;
	return open_tables(false);
}

static int open_packed(void **state)
{
	(void)state;
	return open_tables(true);
}

static int done(void **state)
{
	(void)state;
	ram_destroy(&ram);
	return 0;
}

/* What a guest may say is the size. */
static void test_sizes(void **state)
{
	(void)state;
	for (unsigned size = 0; size <= UINT16_MAX; size++) {
		bool two = size && !(size & (size - 1)), fits = 16 * size <= RAM_SIZE - 0xf000;

		place(size);
		q.desc_gpa = 0xf000;
		assert_int_equal(virtq_check(&q, &dma, false) == 0, two && fits);
		assert_int_equal(virtq_check(&q, &dma, true) == 0, size && fits);
	}
}

/* That many there were: a loop that is cut short does not go unnoticed. */
static void test_number_of_cases(void **state)
{
	(void)state;
	assert_true(cases > 500000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sizes, open_split, done),
		cmocka_unit_test_setup_teardown(test_split, open_split, done),
		cmocka_unit_test_setup_teardown(test_split_calls, open_split, done),
		cmocka_unit_test_setup_teardown(test_packed, open_packed, done),
		cmocka_unit_test_setup_teardown(test_packed_calls, open_packed, done),
		cmocka_unit_test(test_number_of_cases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
