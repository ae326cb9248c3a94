/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net's control queue: commands of any class, length and place, good ones and nearly good ones, cut into
 * descriptors anywhere, with room for an answer or not, over one another; between them frames both ways and time.
 *
 * Beside what the sanitizers see: each command that is a command is answered by OK or ERR, one that is answered ERR
 * changed nothing of what it could have; tables hold pairs that exist; calls that are owed come within a second; every
 * frame is accounted for.
 */
#include <unistd.h>

#include "base/log.h"
#include "fresh.h"
#include "nic/virtio_net.h"
#include "nic_wire.h"

#define BLOCK	(128 * KIB)
#define RING(i) ((i)*0x2000u)
#define AVAIL	0x1000
#define USED	0x1400
#define COMMAND 0x6000 /* 4 KiB: readable part */
#define RESULT	0x7000 /* 4 KiB: writable part */
#define BUFFERS 0x8000
#define QSIZE	64u
#define MAX_OPS 500

static struct loop *loop;
static struct ram ram;
static struct dma dma;
static struct mutex lock;
static struct bus bus;
static struct virtio_device *dev;
static struct virtio_net *nic;
static uint16_t posted[3];
static bool mangled; /* the last command: it is no command any more, maybe */

static void transport_call(void *opaque, struct virtq *q)
{
	(void)opaque, (void)q;
}

static void transport_config(void *opaque)
{
	(void)opaque;
}

static void *gpa_ptr(uint64_t gpa)
{
	return ram_ptr(&ram, gpa, 1);
}

/* ---- the driver ---- */

static void bring_up(void)
{
	uint64_t features = virtio_offered(dev) & ~BIT(VIRTIO_F_RING_PACKED);

	virtio_set_status(dev, 0);
	features &= get(1) & 3 ? UINT64_MAX : get(8) | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_F_VERSION_1);
	virtio_set_features(dev, 0, (uint32_t)features);
	virtio_set_features(dev, 1, (uint32_t)(features >> 32));
	virtio_set_status(dev, VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < dev->n_queues; i++) {
		struct virtq *q = &dev->queue[i].q;

		q->size = QSIZE;
		q->desc_gpa = RING(i);
		q->driver_gpa = RING(i) + AVAIL;
		q->device_gpa = RING(i) + USED;
		memset(gpa_ptr(RING(i) + AVAIL), 0, 0xc00);
		virtio_queue_enable(dev, i);
		posted[i] = 0;
	}
	virtio_set_status(dev, VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	fresh_turns(loop);
}

static void post(unsigned queue, uint16_t head)
{
	uint16_t *avail = gpa_ptr(RING(queue) + AVAIL), *idx = &avail[1];

	avail[2 + posted[queue] % QSIZE] = head;
	*idx = ++posted[queue];
}

static void kick(unsigned queue)
{
	uint64_t one = 1;
	ssize_t r = write(dev->queue[queue].kick_fd, &one, sizeof(one));

	(void)r;
	fresh_turns(loop);
}

static void transmit(void)
{
	struct vring_desc *d = gpa_ptr(RING(1));
	uint16_t at = posted[1] % QSIZE;
	uint32_t len = 12 + 8 + 14 + (uint32_t)get(1);

	memset(gpa_ptr(BUFFERS), 0, 20);
	d[at] = (struct vring_desc){ BUFFERS, len, 0, 0 };
	post(1, at);
	kick(1);
}

static void receive(void)
{
	struct frame_meta m = { 0 };
	struct vring_desc *d = gpa_ptr(RING(0));
	size_t len = 14 + get(1);

	for (unsigned n = 0; n < 4; n++) {
		uint16_t at = posted[0] % QSIZE;

		d[at] = (struct vring_desc){ BUFFERS + 0x1000 + at * 0x200u, 0x200, VRING_DESC_F_WRITE, 0 };
		post(0, at);
	}
	kick(0);
	wire_give(1 + get(1) % 4, len, len, NULL, 64, &m);
	fresh_turns(loop);
}

/* ---- commands ---- */

static uint8_t *p;

static void put(uint64_t value, unsigned bytes)
{
	memcpy(p, &value, bytes);
	p += bytes;
}

/* A value that is good nearly always: of a number that is `good`, or anything. */
static uint64_t nearly(uint64_t good, unsigned bytes)
{
	return get(1) % 16 ? good : get(bytes);
}

static void put_rss(bool rss)
{
	uint16_t mask = (uint16_t)nearly((1u << get(1) % 8) - 1, 2);
	uint8_t key = (uint8_t)nearly(40, 1);

	put(nearly(get(2) & 0x1ff, 4), 4);
	put(rss ? mask : 0, 2);
	put(nearly(0, 2), 2);
	for (unsigned i = 0; i <= (rss ? MIN(mask, 1000u) : 0u); i++)
		put(i % 32 ? 0 : nearly(0, 2), 2);
	put(nearly(1, 2), 2);
	put(key, 1);
	for (unsigned i = 0; i < key; i++)
		put(i * 7 + 1, 1);
}

static void put_stats(void)
{
	for (unsigned n = 1 + get(1) % 4; n; n--) {
		unsigned queue = get(1) % 3;

		put(nearly(queue, 2), 2);
		put(0, 6);
		put(nearly(queue == 2 ? BIT(32) : queue ? BIT(16) : BIT(0), 8), 8);
	}
}

static void put_macs(void)
{
	for (unsigned table = 0; table < 2; table++) {
		unsigned n = get(1) % 80;

		put(nearly(n, 4), 4);
		for (unsigned i = 0; i < n; i++)
			put(0x020000000000 + i * 2 + table, 6);
	}
}

static void put_command(void)
{
	uint8_t class = (uint8_t)nearly(get(1) % 9, 1), what = (uint8_t)nearly(get(1) % 4, 1);

	put(class, 1);
	put(what, 1);
	if (class == VIRTIO_NET_CTRL_MQ)
		put_rss(what == VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
	else if (class == VIRTIO_NET_CTRL_MAC && !what)
		put_macs();
	else if (class == VIRTIO_NET_CTRL_STATS && what == 1)
		put_stats();
	else if (class == VIRTIO_NET_CTRL_NOTF_COAL && what >= 2)
		put(nearly(get(1) % 2, 4), 4);
	else
		put(get(1), 1 + get(1) % 8);
	if (class == VIRTIO_NET_CTRL_NOTF_COAL && what < 3) {
		put(nearly(get(1), 4), 4);
		put(nearly(get(1), 4), 4);
	}
}

/* What a command that was refused must have left as it was. */
struct before {
	struct rx_filter filter;
	struct vnet_rss rss;
	uint64_t params[2], mac;
	uint32_t takes;
};

static void look(struct before *b)
{
	memset(b, 0, sizeof(*b));
	b->filter = nic->filter;
	b->rss = nic->rss;
	b->params[0] = atomic_load(&nic->pair[0].coal[0].params);
	b->params[1] = atomic_load(&nic->pair[0].coal[1].params);
	b->mac = atomic_load(&nic->mac);
	b->takes = nic->pair[0].client.takes;
}

static void expect_same(const struct before *b)
{
	CHECK(!memcmp(&b->filter, &nic->filter, sizeof(b->filter)));
	CHECK(!memcmp(&b->rss, &nic->rss, sizeof(b->rss)));
	CHECK(b->params[0] == atomic_load(&nic->pair[0].coal[0].params));
	CHECK(b->params[1] == atomic_load(&nic->pair[0].coal[1].params));
	CHECK(b->mac == atomic_load(&nic->mac));
	CHECK(b->takes == nic->pair[0].client.takes);
}

/* Readable and writable part in pieces; now and then they overlap, or a piece is of the wrong kind or place. */
static uint16_t place(uint32_t out_len, uint32_t in_len)
{
	struct vring_desc *d = gpa_ptr(RING(2));
	uint64_t result = get(1) % 8 ? RESULT : COMMAND;
	unsigned n = 0;

	for (uint32_t at = 0, part; at < out_len; at += part) {
		part = n < 20 ? (uint32_t)MIN(1 + get(1), out_len - at) : out_len - at;
		d[n] = (struct vring_desc){ COMMAND + at, part, VRING_DESC_F_NEXT, (uint16_t)(n + 1) };
		n++;
	}
	for (uint32_t at = 0, part; at < in_len; at += part) {
		part = n < 40 ? (uint32_t)MIN(1 + get(1), in_len - at) : in_len - at;
		d[n] = (struct vring_desc){ result + at, part, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
					    (uint16_t)(n + 1) };
		n++;
	}
	if (n)
		d[n - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
	mangled = n && get(1) % 32 == 0;
	if (mangled && get(1) % 2)
		d[get(1) % n].flags ^= (uint16_t)get(1) & 7;
	if (mangled && get(1) % 2)
		d[get(1) % n].addr = get(8);
	return (uint16_t)n;
}

static void command(void)
{
	const struct vring_used_elem *e;
	const uint16_t *used = gpa_ptr(RING(2) + USED);
	uint32_t out_len, in_len, was = used[1];

	p = gpa_ptr(COMMAND);
	put_command();
	out_len = (uint32_t)(p - (uint8_t *)gpa_ptr(COMMAND));
	if (get(1) % 16 == 0)
		out_len = (uint32_t)get(2) % 0x1000;
	in_len = get(1) % 4 ? 1 + (uint32_t)get(1) : (uint32_t)get(1) % 12;
	memset(gpa_ptr(RESULT), 77, 0x200);
	if (!place(out_len, in_len))
		return;
	post(2, 0);
	kick(2);
	if (!mangled && used[1] == (uint16_t)(was + 1)) {
		e = (const struct vring_used_elem *)(used + 2) + was % QSIZE;
		CHECK(e->len >= 1 && e->len <= in_len);
	}
}

/* A command was refused if it was counted and not well: asked of the device, as the answer may lie anywhere. */
static void command_checked(void)
{
	static struct before before;
	uint64_t n = nic->commands, ok = nic->commands_ok;

	look(&before);
	command();
	if (nic->commands_ok == ok && nic->commands == n + 1)
		expect_same(&before);
}

static void expect_sane(void)
{
	const struct vnet_rss *r = &nic->rss;

	CHECK(r->pairs >= 1 || !r->steering);
	CHECK(r->table.mask < RSS_TABLE_MAX && r->table.unclassified < nic->n_pairs);
	for (unsigned i = 0; i <= r->table.mask; i++)
		CHECK(r->table.queue[i] < nic->n_pairs);
	CHECK(!(r->hash.types & ~vnet_hash_types(nic)));
	CHECK(nic->filter.n_uc + nic->filter.n_mc <= RX_FILTER_MACS);
}

/* Calls that are owed come. */
static void a_second(void)
{
	vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_SEC);
	fresh_turns(loop);
	for (unsigned tx = 0; tx < 2; tx++)
		CHECK(!nic->pair[0].coal[tx].owed || !nic->vdev.lane[0].running || atomic_load(&dev->broken));
}

static void operation(void)
{
	switch (get(1) % 16) {
	case 0:
		bring_up();
		break;
	case 1:
		transmit();
		break;
	case 2:
	case 3:
		receive();
		break;
	case 4:
		vm_clock_step(clock_now(CLOCK_VM_NS) + get(3));
		fresh_turns(loop);
		break;
	case 5:
		a_second();
		break;
	case 6:
		virtio_quiesce(dev);
		virtio_resume(dev);
		fresh_turns(loop);
		break;
	default:
		command_checked();
		break;
	}
}

/* ---- life ---- */

static void open_device(void)
{
	static const struct virtio_transport transport = { transport_call, transport_config, NULL };
	static const char *const props[][2] = { { "netdev", "wire" }, { "rss", "on" }, { "hash", "on" } };
	struct error err = { "" };
	struct object *o = object_new("virtio-net-device", &err);

	CHECK(o);
	for (unsigned i = 0; i < ARRAY_SIZE(props); i++)
		CHECK(object_set(o, props[i][0], props[i][1], &err) == 0);
	dev = to_virtio_device(to_device(o));
	nic = to_virtio_net(dev);
	dev->transport = &transport;
	dev->dma = &dma;
	dev->loop = loop;
	dev->lock = &lock;
	bus_init(&bus, "virtio", "virtio-bus", NULL);
	CHECK(device_realize(&dev->dev, &bus, &err) == 0);
}

static void open_all(void)
{
	static const struct type *const types[] = { &type_object, &type_device, &type_virtio_device, &type_virtio_net,
						    NULL };
	static const struct ram_block blocks[] = { { .gpa = 0, .size = BLOCK } };

	log_init("fuzz", LOG_ERR);
	CHECK(types_init(types, NULL) == 0);
	loop = loop_new("fuzz", NULL);
	CHECK(loop);
	vm_clock_manual();
	mutex_init(&lock);
	CHECK(ram_init(&ram, blocks, ARRAY_SIZE(blocks), RAM_PRIVATE, NULL) == 0);
	atomic_store(&dma.on, true);
	dma.ram = &ram;
	wire_open("wire", loop, NET_OFF_ALL);
	open_device();
	fresh_start(&ram);
}

/* As after power-on. */
static void start_over(void)
{
	virtio_reset(dev);
	fresh_over(loop);
	memset(posted, 0, sizeof(posted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!loop)
		open_all();
	in = data;
	left = size;
	fresh_mark(0, BUFFERS + 0x1000);
	bring_up();
	for (unsigned i = 0; left && i < MAX_OPS; i++) {
		operation();
		expect_sane();
		CHECK(wire_balanced());
	}
	start_over();
	return 0;
}
