/* SPDX-License-Identifier: BSD-2-Clause */
/* See rings.h. */
#include "rings.h"

/* Descriptors go round by twos. */
static uint16_t head_of(uint16_t n)
{
	return n * 2 % QSIZE;
}

static uint64_t buffer_gpa(unsigned q, uint16_t head)
{
	return queue_gpa(q) + BUFFERS + head * 16;
}

void rings_clear(struct rings *r, unsigned q)
{
	memset(bench_ram(r->b, queue_gpa(q)), 0, 0x10000);
	r->avail[q] = r->used[q] = 0;
}

void rings_post(struct rings *r, unsigned q, uint64_t value)
{
	struct vring_desc *desc = bench_ram(r->b, queue_gpa(q));
	uint16_t *avail = bench_ram(r->b, queue_gpa(q) + RING_AVAIL), n = r->avail[q]++, head = head_of(n);
	uint64_t buf = buffer_gpa(q, head);

	*(uint64_t *)bench_ram(r->b, buf) = value;
	*(uint64_t *)bench_ram(r->b, buf + 8) = 0;
	desc[head] = (struct vring_desc){ .addr = buf, .len = 8, .flags = VRING_DESC_F_NEXT, .next = head + 1 };
	desc[head + 1] = (struct vring_desc){ .addr = buf + 8, .len = 8, .flags = VRING_DESC_F_WRITE };
	avail[2 + n % QSIZE] = head;
	__atomic_store_n(&avail[1], r->avail[q], __ATOMIC_SEQ_CST);
}

uint16_t rings_used(const struct rings *r, unsigned q)
{
	return __atomic_load_n((uint16_t *)bench_ram(r->b, queue_gpa(q) + RING_USED + 2), __ATOMIC_SEQ_CST);
}

uint64_t rings_take(struct rings *r, unsigned q)
{
	uint16_t head = head_of(r->used[q]);

	assert_int_not_equal(rings_used(r, q), r->used[q]);
	r->used[q]++;
	return *(uint64_t *)bench_ram(r->b, buffer_gpa(q, head) + 8);
}

void rings_work(struct rings *r, unsigned q, void (*kick)(unsigned q))
{
	uint64_t value = 0x1122334455667788 + q + r->avail[q];
	uint16_t head = head_of(r->avail[q]);

	rings_post(r, q, value);
	kick(q);
	bench_settle(r->b);
	assert_int_equal(rings_used(r, q), r->avail[q]);
	r->used[q] = r->avail[q];
	assert_true(*(uint64_t *)bench_ram(r->b, buffer_gpa(q, head) + 8) == value);
}
