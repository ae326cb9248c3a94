/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One virtqueue, split or packed, of any size and at any position, whose driver writes anything: the input is a list of
 * operations, of the driver on the ring and of the device by the calls of virtio/ring.h. Beside what the sanitizers see
 * it holds that a chain's buffers lie in RAM and sum to what is said of them, that none is popped twice, that what is
 * given back is there again, that a queue that broke stays so, and that the device writes nowhere but into its ring.
 */
#include "nic_wire.h"
#include "virtio/ring.h"

#define RAM_SIZE 0x2000u
#define RING	 0x400u /* up to 64 entries, split or packed */
#define DRIVER	 0x800u
#define DEVICE	 0xa00u
#define BUFFERS	 0x1000u
#define SIZE	 64
#define PIECES	 VIRTQ_CHAIN_MAX
#define MAX_OPS	 2000
#define F_AVAIL	 (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	 (1u << VRING_PACKED_DESC_F_USED)

static struct ram ram;
static struct dma dma;
static struct virtq q;
static struct virtq_features features;
static struct iovec iov[PIECES];
static uint16_t flying[SIZE]; /* heads that were popped, oldest first */
static unsigned n_flying, put_at;
static unsigned n_newest; /* of them; nothing that is younger was pushed: they may be given back */
static bool put_wrap;
static uint16_t posted;
static uint8_t quiet[RAM_SIZE]; /* what the driver has written: all else must be as it was */

static uint8_t *at(uint64_t gpa)
{
	return ram_ptr(&ram, gpa, 1);
}

/* ---- the driver ---- */

static void poke(void)
{
	uint64_t gpa = RING + get(2) % (BUFFERS - RING);
	unsigned n = 1 + get(1) % 32;

	while (n-- && gpa < BUFFERS)
		*at(gpa++) = (uint8_t)get(1);
}

/* A descriptor whose fields are sane, but for what the input wants otherwise. */
static struct vring_desc some_desc(bool more)
{
	unsigned how = (unsigned)get(1);
	struct vring_desc d = { BUFFERS + get(1) * 16, 16, 0, 0 };

	d.flags = (uint16_t)((how & 1 ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0));
	if (how & 2)
		d.flags ^= (uint16_t)get(2);
	if (how & 4)
		d.len = (uint32_t)get(4);
	if (how & 8)
		d.addr = get(8);
	if (how & 16) { /* a table: the ring, or whatever is there */
		d.flags |= VRING_DESC_F_INDIRECT;
		d.addr = how & 32 ? RING : d.addr;
		d.len = 16 * (1 + (how >> 6));
	}
	return d;
}

static void post_split(unsigned n, unsigned head)
{
	uint16_t *avail = (uint16_t *)(void *)at(DRIVER);

	for (unsigned k = 0; k < n; k++) {
		struct vring_desc d = some_desc(k + 1 < n);

		d.next = (uint16_t)((head + k + 1) % q.size);
		memcpy(at(RING + 16 * ((head + k) % q.size)), &d, sizeof(d));
	}
	avail[2 + posted % q.size] = (uint16_t)(head % q.size);
	avail[1] = ++posted;
}

static void post_packed(unsigned n, unsigned id)
{
	for (unsigned k = 0; k < n; k++) {
		struct vring_desc d = some_desc(k + 1 < n);
		struct vring_packed_desc p = { d.addr, d.len, (uint16_t)id, d.flags };

		p.flags |= put_wrap ? F_AVAIL : F_USED;
		memcpy(at(RING + 16 * put_at), &p, sizeof(p));
		if (++put_at == q.size) {
			put_at = 0;
			put_wrap = !put_wrap;
		}
	}
}

static void post_chain(void)
{
	unsigned n = 1 + get(1) % 4, id = (unsigned)get(1);

	if (features.packed)
		post_packed(n, id);
	else
		post_split(n, id);
}

/* ---- the device ---- */

static void start(const struct virtq_base *base)
{
	n_flying = n_newest = 0;
	if (virtq_start(&q, &dma, &features, base) < 0) {
		CHECK(!q.running && q.mode == VIRTQ_OFF);
		return;
	}
	CHECK(q.running && virtq_base_get(&q).avail == virtq_base_get(&q).used);
}

/* Any ring; mostly one that can be. */
static void set_up(void)
{
	unsigned how = (unsigned)get(1);
	struct virtq_base base = { 0 };

	virtq_stop(&q);
	features = (struct virtq_features){ how & 1, how & 2, how & 4, how & 8, how & 16 };
	q = (struct virtq){ .max_size = SIZE, .desc_gpa = RING, .driver_gpa = DRIVER, .device_gpa = DEVICE };
	q.size = (uint16_t)(features.packed ? 1 + get(1) % SIZE : 1u << get(1) % 7);
	if (how & 0x80) {
		q.size = (uint16_t)get(2);
		q.desc_gpa = get(8);
		q.driver_gpa = get(8);
		q.device_gpa = get(8);
	}
	base = virtq_base_first(features.packed);
	if (how & 0x40)
		base.avail = base.used = (uint16_t)get(2);
	start(&base);
	put_at = base.avail & 0x7fff;
	put_wrap = base.avail & 0x8000;
	posted = base.avail;
	if (!q.running || how & 0x80) { /* what goes on is a queue that never ran, or one whose ring nobody writes */
		q.size = MIN(q.size, (uint16_t)SIZE);
		q.size = MAX(q.size, (uint16_t)1);
		put_at %= q.size;
		virtq_stop(&q);
	}
}

static bool is_flying(uint16_t head)
{
	for (unsigned k = 0; k < n_flying; k++) {
		if (flying[k] == head)
			return true;
	}
	return false;
}

static void check_chain(const struct vchain *c)
{
	uint64_t out = 0, inn = 0;

	CHECK(c->n_out + c->n_in > 0 && c->n_out + c->n_in <= PIECES);
	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		const uint8_t *p = iov[i].iov_base;

		CHECK(p >= at(0) && iov[i].iov_len && iov[i].iov_len <= RAM_SIZE - (size_t)(p - at(0)));
		*(i < c->n_out ? &out : &inn) += iov[i].iov_len;
	}
	CHECK(out == c->out_len && inn == c->in_len);
}

static void pop(void)
{
	unsigned max = get(1) & 1 ? PIECES : (unsigned)get(1);
	enum virtq_fault before = q.fault;
	struct vchain c;
	int r = virtq_pop(&q, iov, max, &c);

	CHECK(r == 1 || r == 0 || r == -EPROTO || (r == -E2BIG && max < PIECES));
	CHECK((r == -EPROTO) == (q.fault != VIRTQ_FINE) || !q.running);
	CHECK(!before || q.fault == before);
	if (r != 1)
		return;
	check_chain(&c);
	CHECK(c.head < q.size && !is_flying(c.head) && n_flying < q.size);
	flying[n_flying++] = c.head;
	n_newest++;
}

static void unpop(void)
{
	unsigned n = (unsigned)MIN(get(1), n_newest);

	n_newest -= n;
	for (; n; n--)
		virtq_unpop(&q, &flying[--n_flying], 1);
	CHECK(n_flying || q.mode == VIRTQ_OFF || q.n_in_flight == 0);
}

static void push(void)
{
	unsigned k = features.in_order || !n_flying ? 0 : (unsigned)get(1) % n_flying;

	if (!n_flying)
		return;
	virtq_push(&q, flying[k], (uint32_t)get(1));
	memmove(&flying[k], &flying[k + 1], (n_flying - k - 1) * sizeof(flying[0]));
	n_flying--;
	n_newest = MIN(n_newest, n_flying - k);
}

/* Nothing is in flight: another queue goes on there. */
static void move(void)
{
	struct virtq_base base;
	bool call;

	if (n_flying || q.mode == VIRTQ_OFF)
		return;
	call = virtq_publish(&q);
	(void)call;
	base = virtq_base_get(&q);
	virtq_stop(&q);
	start(&base);
	CHECK(q.running && virtq_base_get(&q).avail == base.avail);
}

/* What the driver wrote from there to there is as it was. */
static bool untouched(unsigned from, unsigned to)
{
	return !memcmp(quiet + from, at(0) + from, to - from);
}

static void expect_own_writes(void)
{
	unsigned ring_end = RING + (features.packed ? 16u * q.size : 0);
	unsigned device_end = DEVICE + (features.packed ? 4 : 6 + 8u * q.size);

	if (!q.running) {
		CHECK(untouched(0, RAM_SIZE));
		return;
	}
	CHECK(untouched(0, RING) && untouched(ring_end, DEVICE) && untouched(device_end, RAM_SIZE));
}

static void device_call(unsigned what)
{
	bool unused = false;

	memcpy(quiet, at(0), RAM_SIZE);
	switch (what) {
	case 0:
	case 1:
		pop();
		break;
	case 2:
		unpop();
		break;
	case 3:
	case 4:
		push();
		break;
	case 5:
		unused = virtq_publish(&q);
		break;
	case 6:
		virtq_kick_disable(&q);
		break;
	case 7:
		unused = virtq_kick_enable(&q);
		break;
	case 8:
		move();
		break;
	}
	(void)unused;
	expect_own_writes();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ram_block block = { .gpa = 0, .size = RAM_SIZE };

	if (!ram.n) {
		CHECK(ram_init(&ram, &block, 1, RAM_PRIVATE, NULL) == 0);
		dma.ram = &ram;
		atomic_init(&dma.on, true);
	}
	in = data;
	left = size;
	memset(at(0), 0, RAM_SIZE);
	set_up();
	for (unsigned i = 0; left && i < MAX_OPS; i++) {
		unsigned op = (unsigned)get(1) % 16;

		if (op == 15)
			set_up();
		else if (op >= 13)
			poke();
		else if (op >= 9)
			post_chain();
		else
			device_call(op);
	}
	virtq_stop(&q);
	return 0;
}
