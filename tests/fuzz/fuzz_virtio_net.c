/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net against a driver and a wire that do anything: the input is a list of operations on guest RAM, registers,
 * the wire and time. Some of them are what a sane driver does (bring the device up, post a chain), so that an input
 * gets deep into the device without having to guess; all of them take their values from the input.
 *
 * Beside what the sanitizers see, it holds that every frame is accounted for after each operation, and that a reset
 * ends everything.
 */
#include <unistd.h>

#include "base/log.h"
#include "fresh.h"
#include "nic/virtio_net.h"
#include "nic_wire.h"

#define BLOCK	   (128 * KIB)
#define BLOCK2_GPA (256 * KIB)
#define RING(i)	   ((i)*0x2000u)
#define AVAIL	   0x1000
#define USED	   0x1400
#define BUFFERS	   0x6000
#define MAX_OPS	   2000

static struct loop *loop;
static struct ram ram;
static struct dma dma;
static struct mutex lock;
static struct bus bus;
static struct virtio_device *dev;
static struct virtio_net *nic;
static uint16_t posted[3], next_desc[3];
static bool wrap[3]; /* of packed rings: the driver's counter at next_desc */

/* ---- the wire ---- */

/* A frame whose header and first bytes come from the input. */
static void wire_frames(void)
{
	size_t len = get(2), want = get(2);
	struct virtio_net_hdr h = { 0 };
	struct frame_meta m = { 0 };

	for (unsigned i = 0; i < sizeof(h) && get(1) & 1; i++)
		((uint8_t *)&h)[i] = (uint8_t)get(1);
	if (net_vnet_decode(&h, len, &m))
		m = (struct frame_meta){ 0 };
	wire_give(1 + get(1) % 4, len, want, NULL, 18, &m);
}

/* ---- the driver ---- */

static void transport_call(void *opaque, struct virtq *q)
{
	(void)opaque, (void)q;
}

static void transport_config(void *opaque)
{
	(void)opaque;
}

static void *gpa_ptr(uint64_t gpa, size_t len)
{
	return ram_ptr(&ram, gpa, len);
}

static void bring_up(void)
{
	unsigned how = (unsigned)get(1);
	uint64_t features = how & 1 ? UINT64_MAX : get(8);
	uint16_t size = (uint16_t)(1u << get(1) % 9);

	virtio_set_status(dev, 0);
	if (!(how & 0x40))
		features &= ~(BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER));
	features = (features & virtio_offered(dev)) | BIT(VIRTIO_F_VERSION_1);
	virtio_set_features(dev, 0, (uint32_t)features);
	virtio_set_features(dev, 1, (uint32_t)(features >> 32));
	virtio_set_status(dev, VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < dev->n_queues; i++) {
		struct virtq *q = &dev->queue[i].q;

		q->size = MIN(size, q->max_size);
		q->desc_gpa = RING(i);
		q->driver_gpa = RING(i) + AVAIL;
		q->device_gpa = RING(i) + USED;
		memset(gpa_ptr(RING(i) + AVAIL, 1), 0, 0xc00);
		virtio_queue_enable(dev, i);
		posted[i] = next_desc[i] = 0;
		wrap[i] = true;
		if (how & 0x40)
			memset(gpa_ptr(RING(i), 1), 0, AVAIL);
	}
	virtio_set_status(dev, VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

static bool is_packed(void)
{
	return virtio_has(dev, VIRTIO_F_RING_PACKED);
}

/* The next descriptor of a packed ring; the chain's id is where it began. */
static void put_packed(unsigned i, const struct virtq *q, const struct vring_desc *d, uint16_t id)
{
	struct vring_packed_desc *p = gpa_ptr(RING(i), 1);
	unsigned mark = wrap[i] ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED;

	p[next_desc[i]] = (struct vring_packed_desc){ d->addr, d->len, id, (uint16_t)(d->flags | 1u << mark) };
	if (++next_desc[i] >= q->size) {
		next_desc[i] = 0;
		wrap[i] = !wrap[i];
	}
}

/* A chain, mostly well-formed, of pieces whose place, length and flags the input says. */
static void post_chain(void)
{
	unsigned i = get(1) % 3, n = 1 + get(1) % 8, mask;
	struct virtq *q = &dev->queue[i % dev->n_queues].q;
	struct vring_desc *d = gpa_ptr(RING(i), 1);
	uint16_t head, *avail = gpa_ptr(RING(i) + AVAIL, 1);

	if (!is_power_of_2(q->size) || q->size > 256)
		return;
	mask = q->size - 1u;
	next_desc[i] &= is_packed() ? mask : UINT16_MAX;
	head = next_desc[i] & mask;
	for (unsigned k = 0; k < n; k++) {
		uint64_t gpa = BUFFERS + get(2) % (BLOCK - BUFFERS);
		uint32_t len = (uint32_t)get(2);
		uint16_t flags = (uint16_t)get(1);

		len = MIN(len, (uint32_t)(BLOCK - gpa));
		if (flags & 0x80) { /* as is right for the queue */
			flags = i == 0 || (i == 2 && k + 1 == n && k) ? VRING_DESC_F_WRITE : 0;
			flags |= k + 1 < n ? VRING_DESC_F_NEXT : 0;
			len += !len;
		}
		if (is_packed()) {
			put_packed(i, q, &(struct vring_desc){ gpa, len, flags, 0 }, head);
			continue;
		}
		d[next_desc[i] & mask] = (struct vring_desc){ gpa, len, flags, (uint16_t)((next_desc[i] + 1) & mask) };
		next_desc[i]++;
	}
	if (is_packed())
		return;
	avail[2 + (posted[i] & mask)] = head;
	avail[1] = ++posted[i];
}

/* A control command where it is found, with its place for the answer. */
static void post_control(void)
{
	unsigned len = 2 + get(1) % 64;
	uint8_t *p = gpa_ptr(BUFFERS, 128);
	struct vring_desc *d = gpa_ptr(RING(2), 1);
	uint16_t *avail = gpa_ptr(RING(2) + AVAIL, 1);
	unsigned mask = MIN(dev->queue[dev->n_queues - 1].q.size, 64) - 1u;

	for (unsigned i = 0; i < len; i++)
		p[i] = (uint8_t)get(1);
	if (is_packed()) {
		const struct virtq *q = &dev->queue[dev->n_queues - 1].q;
		uint16_t id = next_desc[2] &= 255;

		put_packed(2, q, &(struct vring_desc){ BUFFERS, len, VRING_DESC_F_NEXT, 0 }, id);
		put_packed(2, q, &(struct vring_desc){ BUFFERS + 127, 1, VRING_DESC_F_WRITE, 0 }, id);
		return;
	}
	d[0] = (struct vring_desc){ BUFFERS, len, VRING_DESC_F_NEXT, 1 };
	d[1] = (struct vring_desc){ BUFFERS + 127, 1, VRING_DESC_F_WRITE, 0 };
	avail[2 + (posted[2] & mask)] = 0;
	avail[1] = ++posted[2];
}

/* What a transport lets through: registers of a queue that is not enabled. */
static void reset_queue(void)
{
	virtio_queue_reset(dev, (unsigned)get(1));
}

static void set_queue(void)
{
	unsigned i = get(1) % dev->n_queues;
	struct virtq *q = &dev->queue[i].q;

	if (q->enabled || (virtio_get_status(dev) & VIRTIO_CONFIG_S_DRIVER_OK && !q->was_reset))
		return;
	q->size = (uint16_t)get(2);
	q->desc_gpa = get(8);
	q->driver_gpa = get(8);
	q->device_gpa = get(8);
	virtio_queue_enable(dev, i);
}

static void kick(void)
{
	uint64_t one = 1;
	ssize_t r = write(dev->queue[get(1) % dev->n_queues].kick_fd, &one, sizeof(one));

	(void)r;
}

static void config_access(void)
{
	unsigned off = (unsigned)get(2), size = 1 + get(1) % 8;
	uint8_t bytes[8] = { 0 };

	virtio_config_write(dev, off, size, bytes);
	virtio_config_read(dev, off, size, bytes);
}

static void stop_and_go(void)
{
	unsigned how = (unsigned)get(1);

	virtio_quiesce(dev);
	atomic_store(&dma.on, !(how & 1));
	if (how & 2)
		loop_turn(loop);
	virtio_resume(dev);
}

static void other_side(void)
{
	unsigned how = (unsigned)get(1);

	take = how % 16 ? how % 16 - 1 : NET_BATCH;
	if (how & 0x10)
		net_wake_peer(wire, NET_WAKE_ROOM);
	if (how & 0x20)
		net_set_link(how & 0x40 ? wire : &nic->pair[0].client, how & 0x80);
	if (how & 0x40)
		net_drained(wire);
}

static void operation(void)
{
	switch (get(1) % 16) {
	case 0:
		bring_up();
		break;
	case 1:
	case 2:
		post_chain();
		break;
	case 3:
	case 4:
		wire_frames();
		break;
	case 5:
		post_control();
		break;
	case 6:
		fresh_poke(BLOCK);
		break;
	case 7:
	case 8:
		kick();
		break;
	case 9:
		virtio_set_status(dev, (uint8_t)get(1));
		break;
	case 10:
		if (get(1) & 1) {
			reset_queue();
			break;
		}
		virtio_set_features(dev, (unsigned)get(1), (uint32_t)get(4));
		break;
	case 11:
		set_queue();
		break;
	case 12:
		config_access();
		break;
	case 13:
		stop_and_go();
		break;
	case 14:
		other_side();
		break;
	case 15:
		vm_clock_step(clock_now(CLOCK_VM_NS) + get(4));
		break;
	}
}

/* ---- life ---- */

static void open_device(void)
{
	static const struct virtio_transport transport = { transport_call, transport_config, NULL };
	struct error err = { "" };
	struct object *o = object_new("virtio-net-device", &err);

	CHECK(o && object_set(o, "netdev", "wire", &err) == 0);
	CHECK(object_set(o, "packed", "on", &err) == 0 && object_set(o, "in_order", "on", &err) == 0);
	dev = to_virtio_device(to_device(o));
	nic = to_virtio_net(dev);
	dev->transport = &transport;
	dev->dma = &dma;
	dev->loop = loop;
	dev->lock = &lock;
	bus_init(&bus, "virtio", "virtio-bus", NULL);
	if (device_realize(&dev->dev, &bus, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
}

static void open_all(void)
{
	static const struct type *const types[] = { &type_object, &type_device, &type_virtio_device, &type_virtio_net,
						    NULL };
	static const struct ram_block blocks[] = { { .gpa = 0, .size = BLOCK }, { .gpa = BLOCK2_GPA, .size = BLOCK } };

	log_init("fuzz", LOG_ERR);
	CHECK(types_init(types, NULL) == 0);
	loop = loop_new("fuzz", NULL);
	CHECK(loop);
	vm_clock_manual();
	mutex_init(&lock);
	CHECK(ram_init(&ram, blocks, ARRAY_SIZE(blocks), RAM_PRIVATE, NULL) == 0);
	dma.ram = &ram;
	wire_open("wire", loop, NET_OFF_ALL);
	open_device();
	fresh_start(&ram);
}

/* As after power-on. */
static void start_over(void)
{
	atomic_store(&dma.on, true);
	virtio_quiesce(dev);
	virtio_resume(dev);
	virtio_reset(dev);
	fresh_over(loop);
	CHECK(counter_get(&nic->pair[0].client.tx.held) == 0);
	CHECK(counter_get(&nic->pair[0].client.rx.held) == 0);
	memset(posted, 0, sizeof(posted));
	memset(next_desc, 0, sizeof(next_desc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!loop)
		open_all();
	in = data;
	left = size;
	fresh_mark(0, BUFFERS + 128); /* rings and commands */
	for (unsigned i = 0; left && i < MAX_OPS; i++) {
		operation();
		fresh_turns(loop);
		CHECK(wire_balanced());
	}
	start_over();
	return 0;
}
