/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the process at the other end of the shared memory may write there: any index at any time, any record. The
 * consumer reads nothing outside of the ring, ends, and gives no frame of an impossible length; the producer never
 * writes outside; both notice what breaks the rules for good.
 *
 * Input: 8-byte steps {operation, value}; what is left fills the ring.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "user/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SIZE (256 * 1024U)

static volatile uint8_t sink;

struct step {
	uint32_t op, value;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void consume(struct ring *r)
{
	struct ring_frame f;

	for (unsigned n = 0; ring_peek(r, &f) == RING_FRAME; n++) {
		must(n <= SIZE / 16);
		must(f.len >= RING_FRAME_MIN && f.len <= RING_FRAME_MAX);
		sink = f.data[0];
		sink = f.data[f.len - 1];
		ring_pop(r, &f);
	}
	if (ring_release(r))
		sink = 1;
}

static void produce(struct ring *r, uint32_t len)
{
	static const struct virtio_net_hdr none;
	uint8_t *to = ring_reserve(r, len);

	if (!to)
		return;
	to[0] = to[len ? len - 1 : 0] = 1;
	ring_push(r, len, &none);
	if (ring_publish(r))
		to[0] = 2;
}

static void run(const struct step *s, struct ring_ctl *ctl, struct ring *p, struct ring *c, uint8_t *memory)
{
	switch (s->op % 7) {
	case 0:
		atomic_store(&ctl->head, s->value);
		break;
	case 1:
		atomic_store(&ctl->tail, s->value);
		break;
	case 2:
		*(uint32_t *)(memory + ALIGN_DOWN(s->value % SIZE, 4)) = s->op;
		break;
	case 3:
		consume(c);
		break;
	case 4:
		produce(p, s->value);
		break;
	case 5:
		must(ring_ask_data(c) || !c->broken);
		break;
	default:
		must(ring_room(p) <= SIZE);
		must(ring_ask_room(p) || !p->broken);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *memory;
	static struct ring_ctl ctl;
	struct ring p, c;
	struct step s;
	unsigned steps = size ? data[0] : 0;

	if (!memory) {
		int fd = memfd_create("ring", 0);

		must(!ftruncate(fd, SIZE));
		memory = ring_map(fd, 0, SIZE);
		must(memory);
	}
	memset(&ctl, 0, sizeof(ctl));
	ring_init(&p, &ctl, memory, SIZE);
	ring_init(&c, &ctl, memory, SIZE);
	if (size > 1 + 8 * (size_t)steps)
		memcpy(memory, data + 1 + 8 * steps, MIN(size - 1 - 8 * steps, (size_t)SIZE));
	for (unsigned i = 0; i < steps && 1 + 8 * (i + 1) <= size; i++) {
		memcpy(&s, data + 1 + 8 * i, sizeof(s));
		run(&s, &ctl, &p, &c, memory);
	}
	return 0;
}
