/* SPDX-License-Identifier: BSD-2-Clause */
/* See guest.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "guest.h"
#include "net/netdev.h"

#define ALL_RAM (RAM0_SIZE + RAM1_SIZE + RAM2_SIZE)

bool bench_packed, bench_in_order;
void (*bench_netdev)(struct bench *b);

int bench_run(const struct CMUnitTest *tests, unsigned n, unsigned n_split_only)
{
	int failed = _cmocka_run_group_tests("split", tests, n, NULL, NULL);

	bench_packed = true;
	failed += _cmocka_run_group_tests("packed", tests + n_split_only, n - n_split_only, NULL, NULL);
	bench_packed = false;
	return failed;
}

int bench_run_in_order(const struct CMUnitTest *tests, unsigned n, unsigned n_split_only)
{
	int failed = bench_run(tests, n, n_split_only);

	bench_in_order = true;
	failed += bench_run(tests + n_split_only, n - n_split_only, 0);
	bench_in_order = false;
	return failed;
}

uint32_t rnd(uint32_t below)
{
	static uint64_t s = 88172645463325252ULL;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return (uint32_t)(s >> 20) % below;
}

/* ---- memory ---- */

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 0x9e3779b97f4a7c15ULL >> 56);
}

/* Blocks one behind the other, as if there were no hole. */
static uint64_t linear(uint64_t gpa)
{
	return gpa >= RAM2_GPA ? gpa - RAM2_GPA + RAM0_SIZE + RAM1_SIZE : gpa;
}

static uint8_t *linear_at(struct bench *b, uint64_t i)
{
	return at(b, i >= RAM0_SIZE + RAM1_SIZE ? i - RAM0_SIZE - RAM1_SIZE + RAM2_GPA : i);
}

void *at(struct bench *b, uint64_t gpa)
{
	void *p = ram_ptr(&b->ram, gpa, 1);

	assert_non_null(p);
	return p;
}

void name_range(struct bench *b, uint64_t gpa, uint64_t len)
{
	for (uint64_t i = linear(gpa); i < linear(gpa) + len && i < ALL_RAM; i++)
		b->named[i / 8] |= (uint8_t)(1 << i % 8);
}

uint64_t buf(struct bench *b, uint32_t len)
{
	uint64_t gpa;

	if (b->next_buf < RAM0_SIZE && b->next_buf + len + 16 > RAM0_SIZE)
		b->next_buf = RAM2_GPA;
	if (b->next_buf + len + 16 > RAM2_END)
		b->next_buf = BUFS_GPA;
	gpa = b->next_buf;
	b->next_buf += len + 1 + rnd(16);
	name_range(b, gpa, len);
	return gpa;
}

static void ram_open(struct bench *b)
{
	static const struct ram_block blocks[] = {
		{ .gpa = 0, .size = RAM0_SIZE },
		{ .gpa = RAM1_GPA, .size = RAM1_SIZE },
		{ .gpa = RAM2_GPA, .size = RAM2_SIZE },
	};
	struct error err;

	assert_int_equal(ram_init(&b->ram, blocks, ARRAY_SIZE(blocks), RAM_PRIVATE, &err), 0);
	b->named = calloc(1, ALL_RAM / 8);
	assert_non_null(b->named);
	for (uint64_t page = 0; page < ALL_RAM; page += 4096) {
		uint8_t *p = linear_at(b, page);

		for (unsigned i = 0; i < 4096; i++)
			p[i] = pattern(page + i);
	}
	b->dma.ram = &b->ram;
	atomic_init(&b->dma.on, true);
	b->next_buf = BUFS_GPA;
}

static void ram_check(struct bench *b)
{
	for (uint64_t page = 0; page < ALL_RAM; page += 4096) {
		const uint8_t *p = linear_at(b, page);

		for (uint64_t i = page; i < page + 4096; i++) {
			if (!(b->named[i / 8] & 1 << i % 8) && p[i - page] != pattern(i))
				fail_msg("RAM that nobody named was changed, at %#lx of all", (unsigned long)i);
		}
	}
}

/* ---- the wire ---- */

static void sink(struct bench *b, const struct batch *batch, const struct frame *f)
{
	struct iov_cur cur = iov_cur(frame_iov(batch, f), f->cnt);
	struct sunk *s;

	if (b->n_sunk == b->sunk_room) {
		b->sunk_room = b->sunk_room * 2 + 64;
		b->sunk = realloc(b->sunk, b->sunk_room * sizeof(*b->sunk));
		assert_non_null(b->sunk);
	}
	s = &b->sunk[b->n_sunk++];
	*s = (struct sunk){ .data = malloc(f->len), .len = f->len, .meta = f->meta };
	assert_non_null(s->data);
	assert_int_equal(iov_size(frame_iov(batch, f), f->cnt), f->len);
	assert_true(f->cnt + 1 <= NET_IOV_MAX); /* with its header a writev() */
	assert_int_equal(iov_get(&cur, s->data, f->len), f->len);
}

static unsigned wire_send(struct net_client *c, struct batch *batch)
{
	struct bench *b = container_of(c, struct bench, wire);
	unsigned n = b->hold_all ? 0 : batch->n;

	if (b->take_most)
		n = MIN(n, b->take_most);
	if (b->on_send)
		b->on_send(b, batch);
	for (unsigned i = 0; i < n; i++) {
		struct iovec *iov = frame_iov(batch, &batch->frame[i]);

		iov[-1] = (struct iovec){ 0 }; /* the slot is the taker's */
		sink(b, batch, &batch->frame[i]);
		net_count_rx_out(c, 1, batch->frame[i].len);
	}
	return n;
}

static void wire_wake(struct net_client *c, unsigned what)
{
	struct bench *b = container_of(c, struct bench, wire);

	b->wakes += !!(what & NET_WAKE_ROOM);
}

static uint32_t wire_offload(struct net_client *c, uint32_t takes)
{
	(void)c;
	return takes;
}

static int wire_steer(struct net_client *c, const struct rss_hash *hash, const struct rss_table *table)
{
	struct bench *b = container_of(c, struct bench, wire);

	assert_true(!hash == !table);
	b->table = table;
	return b->steers ? 0 : -ENOTSUP;
}

static const struct net_client_ops wire_ops = {
	.type = "test",
	.send = wire_send,
	.wake = wire_wake,
	.set_offload = wire_offload,
	.steer = wire_steer,
};

void forget_sunk(struct bench *b)
{
	for (unsigned i = 0; i < b->n_sunk; i++)
		free(b->sunk[i].data);
	b->n_sunk = 0;
}

/* ---- the transport ---- */

static void transport_call(void *opaque, struct virtq *q)
{
	((struct bench *)opaque)->calls[q->index]++;
}

static void transport_config(void *opaque)
{
	((struct bench *)opaque)->config_calls++;
}

/* ---- life ---- */

static void types_open(void)
{
	static const struct type *const types[] = { &type_object, &type_device, &type_virtio_device, &type_virtio_net,
						    NULL };

	if (!class_find("virtio-net-device"))
		assert_int_equal(types_init(types, NULL), 0);
}

static void device_open(struct bench *b, const char *const *props)
{
	static struct virtio_transport transport;
	struct error err = { "" };
	struct object *o;

	types_open();
	transport = (struct virtio_transport){ transport_call, transport_config, b };
	o = object_new("virtio-net-device", &err);
	assert_non_null(o);
	b->v = to_virtio_device(to_device(o));
	b->n = to_virtio_net(b->v);
	assert_int_equal(object_set(o, "netdev", "wire", &err), 0);
	/* Calls at once; test_vnet_late looks at the others. */
	assert_int_equal(object_set(o, "x-txcall", "0", &err), 0);
	for (; props && *props; props++) {
		char name[64];
		const char *eq = strchr(*props, '=');

		snprintf(name, sizeof(name), "%.*s", (int)(eq - *props), *props);
		if (object_set(o, name, eq + 1, &err) < 0)
			fail_msg("%s: %s", *props, err.msg);
	}
	if (bench_packed)
		assert_int_equal(object_set(o, "packed", "on", &err), 0);
	if (bench_in_order)
		assert_int_equal(object_set(o, "in_order", "on", &err), 0);
	b->v->transport = &transport;
	b->v->dma = &b->dma;
	b->v->loop = b->loop;
	b->v->lock = &b->lock;
	bus_init(&b->bus, "virtio", "virtio-bus", NULL);
	if (device_realize(&b->v->dev, &b->bus, &err) < 0)
		fail_msg("realize: %s", err.msg);
	b->nic = &b->n->pair[0].client;
}

void bench_open(struct bench *b, const char *const *props)
{
	struct error err = { "" };

	*b = (struct bench){ .queue_size = 256, .hdr_len = HDR };
	log_init("bench", LOG_ERR);
	b->loop = loop_new("bench", &err);
	assert_non_null(b->loop);
	vm_clock_manual();
	mutex_init(&b->lock);
	ram_open(b);
	b->wire = (struct net_client){
		.ops = &wire_ops,
		.kind = NET_KIND_BACKEND,
		.name = "wire",
		.loop = b->loop,
		.takes = NET_OFF_ALL,
		.gives = NET_OFF_ALL,
		.max_frame = NET_FRAME_MAX,
	};
	if (bench_netdev)
		bench_netdev(b);
	else
		assert_int_equal(net_client_add(&b->wire, &err), 0);
	device_open(b, props);
	settle(b);
	net_drained(&b->wire);
}

void bench_close(struct bench *b)
{
	struct error err;

	settle(b);
	expect_balanced(b);
	virtio_reset(b->v);
	expect_balanced(b);
	assert_int_equal(counter_get(&b->nic->tx.held), 0);
	assert_int_equal(counter_get(&b->nic->rx.held), 0);
	ram_check(b);
	device_del(&b->v->dev);
	bus_deinit(&b->bus);
	if (bench_netdev)
		assert_int_equal(netdev_del("wire", &err), 0);
	else
		net_client_remove(&b->wire);
	forget_sunk(b);
	free(b->sunk);
	free(b->named);
	ram_destroy(&b->ram);
	loop_free(b->loop);
	mutex_destroy(&b->lock);
}

void settle(struct bench *b)
{
	for (unsigned turns = 0; loop_turn(b->loop); turns++)
		assert_true(turns < 100000);
}

/* ---- the driver's way up ---- */

uint64_t offered(struct bench *b)
{
	return virtio_offered(b->v);
}

bool negotiate(struct bench *b, uint64_t features)
{
	if (bench_packed)
		features |= BIT(VIRTIO_F_RING_PACKED);
	if (bench_in_order)
		features |= BIT(VIRTIO_F_IN_ORDER);
	virtio_set_status(b->v, 0);
	virtio_set_status(b->v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_set_status(b->v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	virtio_set_features(b->v, 0, (uint32_t)features);
	virtio_set_features(b->v, 1, (uint32_t)(features >> 32));
	virtio_set_status(b->v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
	return virtio_get_status(b->v) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void place_queue(struct bench *b, unsigned i)
{
	struct virtq *q = &b->v->queue[i].q;
	uint16_t size = MIN(b->queue_size, q->max_size);

	gq_init(b, i, size);
	q->size = size;
	q->desc_gpa = RING_GPA(i);
	q->driver_gpa = RING_GPA(i) + AVAIL_OFF;
	q->device_gpa = RING_GPA(i) + USED_OFF;
	virtio_queue_enable(b->v, i);
}

void place_queues(struct bench *b)
{
	for (unsigned i = 0; i < b->v->n_queues; i++)
		place_queue(b, i);
}

void driver_ok(struct bench *b)
{
	virtio_set_status(b->v, virtio_get_status(b->v) | VIRTIO_CONFIG_S_DRIVER_OK);
	settle(b);
}

void driver_up(struct bench *b, uint64_t features)
{
	assert_true(negotiate(b, (features & offered(b)) | MIN_FEATURES));
	b->hdr_len = vnet_hdr_len(b->v->guest_features);
	place_queues(b);
	driver_ok(b);
	assert_false(virtio_get_status(b->v) & VIRTIO_STATUS_NEEDS_RESET);
	net_drained(&b->wire);
}

/* ---- the control queue ---- */

static unsigned in_pieces(struct seg *s, uint64_t gpa, uint32_t len, uint32_t cut, bool write)
{
	if (!cut || cut >= len) {
		s[0] = (struct seg){ gpa, len, write };
		return 1;
	}
	s[0] = (struct seg){ gpa, cut, write };
	s[1] = (struct seg){ gpa + cut, len - cut, write };
	return 2;
}

uint64_t ctrl_post(struct bench *b, unsigned queue, const struct ctrl_cmd *c)
{
	uint32_t room = MAX(c->room, 1u);
	uint64_t gpa = buf(b, 2 + c->len), ack = buf(b, room);
	struct seg s[4];
	unsigned n;

	memcpy(at(b, gpa), (uint8_t[]){ c->class, c->what }, 2);
	if (c->len)
		memcpy((uint8_t *)at(b, gpa) + 2, c->data, c->len);
	memset(at(b, ack), CTRL_UNWRITTEN, room);
	n = in_pieces(s, gpa, 2 + c->len, c->cut, false);
	n += in_pieces(s + n, ack, room, c->cut_in, true);
	chain(&b->q[queue], s, n);
	return ack;
}

uint32_t ctrl_run(struct bench *b, const struct ctrl_cmd *c, uint8_t *result)
{
	uint64_t ack = ctrl_post(b, CTRLQ, c);
	uint32_t used;

	kick_if_due(&b->q[CTRLQ]);
	settle(b);
	assert_true(reap(&b->q[CTRLQ], NULL, &used));
	assert_false(virtio_get_status(b->v) & VIRTIO_STATUS_NEEDS_RESET);
	memcpy(result, at(b, ack), MAX(c->room, 1u));
	return used;
}

uint8_t ctrl(struct bench *b, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
	uint8_t ack;

	ctrl_run(b, &(struct ctrl_cmd){ class, what, len, data, 0, 0, 0 }, &ack);
	return ack;
}

/* ---- traffic ---- */

void make_frame(uint8_t *frame, size_t len, unsigned seed)
{
	static const uint8_t head[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };

	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 8));
	memcpy(frame, head, MIN(len, sizeof(head)));
}

uint16_t post_tx(struct bench *b, const struct virtio_net_hdr_mrg_rxbuf *h, const uint8_t *frame, uint32_t len,
		 const uint32_t *pieces)
{
	static const struct virtio_net_hdr_mrg_rxbuf none;
	struct seg s[VIRTQ_SIZE_MAX];
	uint32_t left = b->hdr_len + len, off = 0;
	uint8_t *all = calloc(1, left);
	unsigned n = 0;
	bool indirect = virtio_has(b->v, VIRTIO_RING_F_INDIRECT_DESC);

	assert_non_null(all);
	memcpy(all, h ? h : &none, MIN(b->hdr_len, HDR));
	memcpy(all + b->hdr_len, frame, len);
	while (left) {
		uint32_t part = pieces && *pieces ? MIN(*pieces++, left) : left;

		assert_true(n < ARRAY_SIZE(s));
		s[n] = (struct seg){ buf(b, part), part, false };
		memcpy(at(b, s[n++].gpa), all + off, part);
		off += part;
		left -= part;
	}
	free(all);
	return indirect && n > 1 ? chain_indirect(&b->q[TXQ], s, n) : chain(&b->q[TXQ], s, n);
}

void post_rx(struct bench *b, uint32_t len)
{
	struct seg s = { buf(b, len), len, true };

	chain(&b->q[RXQ], &s, 1);
}

int wire_frame(struct bench *b, const uint8_t *frame, size_t len, const struct frame_meta *m)
{
	static const struct frame_meta plain;
	struct net_window w;
	struct iov_cur cur;
	enum net_drop why;
	int r = net_lend(&b->wire, b->want ? b->want : len, &w);

	if (r < 0)
		return r;
	w.iov[-1] = (struct iovec){ 0 }; /* the slot is the giver's */
	cur = iov_cur(w.iov, w.cnt);
	assert_true(iov_size(w.iov, w.cnt) == w.room);
	if (iov_put(&cur, frame, len) != len)
		fail_msg("the window has no room for the frame");
	why = net_take(&b->wire, len, m ? m : &plain);
	net_commit(&b->wire);
	return (int)why;
}

int receive(struct bench *b, uint8_t *to, size_t room, struct virtio_net_hdr_mrg_rxbuf *h)
{
	static uint8_t all[VNET_HDR_MAX + NET_FRAME_MAX];
	struct virtio_net_hdr_v1_hash hdr = { 0 };
	struct gq *q = &b->q[RXQ];
	unsigned buffers = 0;
	uint32_t done = 0;

	if (q->seen == used_idx(q))
		return -1;
	do {
		uint16_t head;
		uint32_t len;

		assert_true(reap(q, &head, &len)); /* all of a frame's buffers come at once */
		assert_true(done + len <= sizeof(all));
		gather_chain(q, head, all + done, len);
		done += len;
		assert_true(done >= b->hdr_len);
		memcpy(&hdr, all, b->hdr_len);
	} while (++buffers < hdr.hdr.num_buffers);
	done -= b->hdr_len;
	assert_true(done <= room);
	memcpy(to, all + b->hdr_len, done);
	b->got_hdr = hdr;
	if (h)
		memcpy(h, &hdr, sizeof(*h));
	return (int)done;
}

/* ---- outcomes ---- */

uint64_t dropped_tx(struct bench *b, enum net_drop why)
{
	return counter_get(&b->nic->tx.dropped[why]);
}

uint64_t dropped_rx(struct bench *b, enum net_drop why)
{
	return counter_get(&b->nic->rx.dropped[why]);
}

static void expect_account(const struct net_account *a, const char *name)
{
	if (!net_account_balanced(a))
		fail_msg("%s does not balance: in %lu made %lu out %lu held %lu", name, counter_get(&a->in),
			 counter_get(&a->made), counter_get(&a->out), counter_get(&a->held));
}

void expect_balanced(struct bench *b)
{
	expect_account(&b->nic->tx, "nic tx");
	expect_account(&b->nic->rx, "nic rx");
	expect_account(&b->wire.tx, "wire tx");
	expect_account(&b->wire.rx, "wire rx");
}

/* A frame each way. */
void expect_healthy(struct bench *b)
{
	uint8_t frame[100], back[200];
	unsigned sunk = b->n_sunk;

	assert_false(virtio_get_status(b->v) & VIRTIO_STATUS_NEEDS_RESET);
	make_frame(frame, sizeof(frame), 1);
	post_tx(b, NULL, frame, sizeof(frame), NULL);
	kick(&b->q[TXQ]);
	settle(b);
	assert_int_equal(b->n_sunk, sunk + 1);
	assert_memory_equal(b->sunk[sunk].data, frame, sizeof(frame));
	while (receive(b, back, sizeof(back), NULL) >= 0)
		;
	post_rx(b, 200);
	kick(&b->q[RXQ]);
	settle(b);
	assert_int_equal(wire_frame(b, frame, sizeof(frame), NULL), NET_OK);
	assert_int_equal(receive(b, back, sizeof(back), NULL), (int)sizeof(frame));
	assert_memory_equal(back, frame, sizeof(frame));
}

void expect_broken(struct bench *b, unsigned queue, enum virtq_fault why)
{
	uint8_t frame[60];
	uint16_t used[N_QUEUES];
	unsigned sunk;

	settle(b);
	if (!(virtio_get_status(b->v) & VIRTIO_STATUS_NEEDS_RESET))
		fail_msg("the device did not stop; expected: %s", virtq_fault_text(why));
	assert_string_equal(virtq_fault_text(b->v->queue[queue].q.fault), virtq_fault_text(why));
	assert_int_equal(b->config_calls, 1);
	assert_int_equal(counter_get(&b->v->guest_errors), 1);
	sunk = b->n_sunk;
	for (unsigned i = 0; i < b->v->n_queues; i++)
		used[i] = used_idx(&b->q[i]);
	make_frame(frame, sizeof(frame), 2);
	assert_int_equal(wire_frame(b, frame, sizeof(frame), NULL), -EAGAIN);
	for (unsigned i = 0; i < b->v->n_queues; i++)
		kick(&b->q[i]);
	settle(b);
	assert_int_equal(b->n_sunk, sunk);
	assert_int_equal(b->config_calls, 1);
	for (unsigned i = 0; i < b->v->n_queues; i++)
		assert_int_equal(used_idx(&b->q[i]), used[i]);
	expect_balanced(b);
	driver_up(b, ALL_FEATURES);
	expect_healthy(b);
}
