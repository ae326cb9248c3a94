/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 8 vCPUs under KVM move the BARs of a virtio-net-pci and switch its memory and its bus mastering off and on, ring its
 * doorbells wherever they may be, while frames go both ways, and the VM is stopped and continued, and reset, all the
 * time: in a VM that stands no byte of RAM changes; after a reset the device touches none of its old rings; in the end
 * the device works where it is, and nowhere else.
 *
 * CPU 0 writes config space by ECAM, the others by the ports, whose address register they share: so registers also get
 * what was meant for others. The driver that fills the rings is this program's main thread.
 */
#include "tinyguest.h"

#include <linux/virtio_pci.h>
#include <sched.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/client.h"
#include "nic/virtio_net.h"
#include "nic/virtio_net_pci.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

#define CPUS	8
#define ROUNDS	120
#define HOME	0xd0100000u /* the BAR's first place; the others are the next ones of its size */
#define PLACES	8
#define BAR_LEN 0x4000u
#define NOTIFY	(VPCI_NOTIFY * VPCI_PART_SIZE)

/* ---- the guest ---- */

/* What it says, from MAILBOX on. */
#define CPU0_ROUNDS 0
#define CPUS_ROUNDS 4
#define ENOUGH	    8 /* to the guest: come to rest */
#define RESTING	    12

/* clang-format off */
GUEST(storm,
	"lea 6f(%rip), %rsi\n mov $0x60000, %edi\n mov $7f - 6f, %ecx\n cld\n rep movsb\n"
	"mov $0xfee00300, %edi\n"
	"movl $0xc4500, (%rdi)\n"	/* INIT, all but self */
	"1: testl $0x1000, (%rdi)\n jnz 1b\n"
	"movl $0xc4660, (%rdi)\n"	/* SIPI, vector 0x60 */
	"mov $0xc0008000, %esi\n"	/* ECAM: 00:01.0 */
	"2: inc %ebx\n"
	"mov %ebx, %edi\n and $7, %edi\n shl $14, %edi\n add $0xd0100000, %edi\n"
	"mov %edi, 0x20(%rsi)\n"	/* BAR 4 */
	"movw $0, 0x3000(%rdi)\n movw $1, 0x3004(%rdi)\n"
	"mov 0x14(%rdi), %al\n"		/* device status */
	"test $3, %bl\n jnz 3f\n movw $3, 4(%rsi)\n"	/* command: no bus master */
	"3: movw $7, 4(%rsi)\n"
	"movw $0, 0x3000(%rdi)\n movw $1, 0x3004(%rdi)\n"
	"incl MAILBOX\n"
	"cmpl $0, MAILBOX + 8\n jz 2b\n"
	"lock incl MAILBOX + 12\n 4: hlt\n jmp 4b\n"
	".code16\n"
	"6: mov $0x5000, %ax\n mov %ax, %ds\n"
	"5: inc %ebx\n"
	"mov %ebx, %ecx\n and $7, %ecx\n shl $14, %ecx\n add $0xd0100000, %ecx\n"
	"mov $0x80000820, %eax\n mov $0xcf8, %dx\n out %eax, %dx\n"
	"mov %ecx, %eax\n mov $0xcfc, %dx\n out %eax, %dx\n in %dx, %eax\n"
	"mov $0x80000804, %eax\n mov $0xcf8, %dx\n out %eax, %dx\n"
	"mov $7, %ax\n test $3, %bl\n jnz 1f\n"
	"mov $3, %ax\n test $4, %bl\n jnz 1f\n"
	"mov $5, %ax\n"			/* no memory */
	"1: mov $0xcfc, %dx\n out %ax, %dx\n"
	"lock incl 4\n"
	"cmpl $0, 8\n jz 5b\n"
	"lock incl 12\n 4: hlt\n jmp 4b\n"
	"7: .code64\n");
/* clang-format on */

/* ---- the other end of the wire, on the net loop ---- */

#define FRAME 200

static struct loop *net;
static struct net_client wire;
static struct timer feeder;
static _Atomic unsigned tries, sent; /* of frames to the guest; from it */

static unsigned wire_send(struct net_client *c, struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++)
		net_count_rx_out(c, 1, b->frame[i].len);
	atomic_fetch_add(&sent, b->n);
	return b->n;
}

static void wire_wake(struct net_client *c, unsigned what)
{
	(void)c, (void)what;
}

static const struct net_client_ops wire_ops = { .type = "test", .send = wire_send, .wake = wire_wake };

static void feed(struct timer *t)
{
	static const struct frame_meta plain;
	struct net_window w;

	for (unsigned i = 0; i < 4 && net_lend(&wire, FRAME, &w) == 0; i++) {
		memset(w.iov[0].iov_base, 0xff, MIN(w.iov[0].iov_len, (size_t)FRAME)); /* a broadcast */
		net_take(&wire, FRAME, &plain);
	}
	net_commit(&wire);
	atomic_fetch_add(&tries, 1);
	timer_arm(t, clock_now(CLOCK_HOST_NS) + 50 * NSEC_PER_USEC);
}

static void feed_on(void *arg)
{
	(void)arg;
	timer_init(&feeder, net, CLOCK_HOST_NS, feed);
	feed(&feeder);
}

static void feed_off(void *arg)
{
	(void)arg;
	timer_cancel(&feeder);
}

/* ---- the driver: while the VM stands, or by memory alone ---- */

#define QSIZE	 64
#define RAM_AT	 0x800000ull /* rings and buffers */
#define RAM_LEN	 0x100000u
#define RING(q)	 (RAM_AT + (q)*0x4000ull)
#define BUFFER	 2048u
#define BUFS(q)	 (RAM_AT + 0x10000 + (uint64_t)(q)*QSIZE * BUFFER)
#define QUEUES	 2
#define RX	 0
#define TX	 1
#define FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF))

static struct pci_device *nic;
static struct epoch_reader reader; /* main's, as a vCPU's */
static unsigned got;		   /* frames that arrived in the guest */

static struct driver_queue {
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t posted, seen;
} queue[QUEUES];

static void *guest(uint64_t gpa)
{
	return ram_ptr(machine_accel_env(machine).ram, gpa, 1);
}

static void set(unsigned off, uint64_t value, unsigned size)
{
	epoch_enter(&reader);
	assert_true(space_write(machine_accel_env(machine).mem, HOME + off, size, value));
	epoch_leave(&reader);
}

static uint64_t get(unsigned off, unsigned size)
{
	uint64_t v;

	epoch_enter(&reader);
	assert_true(space_read(machine_accel_env(machine).mem, HOME + off, size, &v));
	epoch_leave(&reader);
	return v;
}

static bool is_at(unsigned where)
{
	uint64_t v;
	bool is;

	epoch_enter(&reader);
	is = space_read(machine_accel_env(machine).mem, HOME + where * BAR_LEN, 1, &v);
	epoch_leave(&reader);
	return is;
}

static void post(unsigned q, uint16_t head)
{
	queue[q].avail->ring[queue[q].posted % QSIZE] = head;
	__atomic_store_n(&queue[q].avail->idx, ++queue[q].posted, __ATOMIC_RELEASE);
}

/* All descriptors of a queue, each a chain of its own, posted. */
static void fill_queue(unsigned q)
{
	struct vring_desc *desc = guest(RING(q));

	queue[q] = (struct driver_queue){ .avail = guest(RING(q) + 0x1000), .used = guest(RING(q) + 0x2000) };
	memset(desc, 0, 0x4000);
	for (uint16_t i = 0; i < QSIZE; i++) {
		desc[i] =
			(struct vring_desc){ .addr = BUFS(q) + (uint64_t)i * BUFFER,
					     .len = q == RX ? BUFFER : sizeof(struct virtio_net_hdr_mrg_rxbuf) + FRAME,
					     .flags = q == RX ? VRING_DESC_F_WRITE : 0 };
		memset(guest(desc[i].addr), 0, BUFFER);
		post(q, i);
	}
}

static void place_queue(unsigned q)
{
	fill_queue(q);
	set(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
	set(VIRTIO_PCI_COMMON_Q_SIZE, QSIZE, 2);
	set(VIRTIO_PCI_COMMON_Q_DESCLO, RING(q), 4);
	set(VIRTIO_PCI_COMMON_Q_AVAILLO, RING(q) + 0x1000, 4);
	set(VIRTIO_PCI_COMMON_Q_USEDLO, RING(q) + 0x2000, 4);
	set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

static void go_home(void)
{
	pci_config_write(nic->bus, nic->devfn, PCI_BASE_ADDRESS_4, 4, HOME);
	pci_config_write(nic->bus, nic->devfn, PCI_BASE_ADDRESS_5, 4, 0);
	pci_config_write(nic->bus, nic->devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void driver_up(void)
{
	const uint8_t ready = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;

	go_home();
	set(VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 1);
	for (unsigned i = 0; i < 2; i++) {
		set(VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		set(VIRTIO_PCI_COMMON_GF, (uint32_t)(FEATURES >> 32 * i), 4);
	}
	set(VIRTIO_PCI_COMMON_STATUS, ready, 1);
	for (unsigned q = 0; q < QUEUES; q++)
		place_queue(q);
	set(VIRTIO_PCI_COMMON_STATUS, ready | VIRTIO_CONFIG_S_DRIVER_OK, 1);
	assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 1), ready | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Post again what came back. */
static void refill(void)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		while (queue[q].seen != __atomic_load_n(&queue[q].used->idx, __ATOMIC_ACQUIRE)) {
			struct vring_used_elem *e = &queue[q].used->ring[queue[q].seen++ % QSIZE];

			assert_in_range(e->id, 0, QSIZE - 1);
			assert_int_equal(e->len, q == RX ? sizeof(struct virtio_net_hdr_mrg_rxbuf) + FRAME : 0);
			got += q == RX;
			post(q, (uint16_t)e->id);
		}
	}
}

/* ---- the test ---- */

static uint64_t digest(void)
{
	const uint64_t *p = guest(RAM_AT);
	uint64_t h = 1469598103934665603ull;

	for (unsigned i = 0; i < RAM_LEN / 8; i++)
		h = (h ^ READ_ONCE(p[i])) * 1099511628211ull;
	return h;
}

static void ask(enum machine_request r)
{
	machine_request(machine, r, "test");
	loop_turn(loop);
}

#define EVENTUALLY(cond)                               \
	do {                                           \
		for (unsigned n_ = 0; !(cond); n_++) { \
			assert_true(n_ < 60000);       \
			usleep(500);                   \
		}                                      \
	} while (0)

/* The wire goes on offering frames; none may reach RAM. */
static void expect_stillness(void)
{
	uint64_t before = digest();
	unsigned count = atomic_load(&tries), out = atomic_load(&sent);

	EVENTUALLY(atomic_load(&tries) > count + 4);
	assert_true(digest() == before);
	assert_int_equal(atomic_load(&sent), out);
}

static void stop_and_continue(void)
{
	const struct virtio_device *v = to_virtio_pci(nic)->vdev;
	uint32_t rounds[2];

	ask(MACHINE_PAUSE);
	assert_string_equal(machine_state_name(machine), "paused");
	assert_true(v->lane[0].quiesced && !v->lane[0].running);
	rounds[0] = *mailbox(CPU0_ROUNDS);
	rounds[1] = *mailbox(CPUS_ROUNDS);
	expect_stillness();
	assert_int_equal(*mailbox(CPU0_ROUNDS), rounds[0]);
	assert_int_equal(*mailbox(CPUS_ROUNDS), rounds[1]);
	ask(MACHINE_RESUME);
	assert_true(machine_running(machine));
}

/* The guest starts anew; the device has no driver until this one has stopped the VM and set it up. */
static void reset_and_continue(void)
{
	ask(MACHINE_RESET);
	assert_true(machine_running(machine));
	expect_stillness();
	ask(MACHINE_PAUSE);
	driver_up();
	ask(MACHINE_RESUME);
}

/* Both sides of the guest go on, and frames go both ways. */
static void some_progress(void)
{
	uint32_t cpu0 = *mailbox(CPU0_ROUNDS), cpus = *mailbox(CPUS_ROUNDS);
	unsigned rx = got, tx = atomic_load(&sent);

	EVENTUALLY((refill(), *mailbox(CPU0_ROUNDS) > cpu0 && *mailbox(CPUS_ROUNDS) > cpus + CPUS && got > rx &&
				      atomic_load(&sent) > tx));
}

static void set_up(void)
{
	struct opt_list l;
	struct device *d;

	net = loop_new("net0", &err);
	assert_non_null(net);
	make(IMAGE(storm), (struct machine_config){ .cpus = CPUS }, net);
	net_set_main_loop(loop);
	wire = (struct net_client){ .ops = &wire_ops,
				    .kind = NET_KIND_BACKEND,
				    .name = "wire",
				    .loop = net,
				    .takes = NET_OFF_ALL,
				    .max_frame = NET_FRAME_MAX };
	assert_int_equal(net_client_add(&wire, &err), 0);
	assert_int_equal(opt_list_parse("virtio-net-pci,netdev=wire", "driver", &l, &err), 0);
	d = device_add(&l, &err);
	opt_list_free(&l);
	assert_non_null(d);
	nic = to_pci_device(d);
	assert_int_equal(nic->devfn, PCI_DEVFN(1, 0)); /* where the guest looks for it */
	assert_int_equal(loop_start_thread(net, &err), 0);
	epoch_register(&reader);
}

static void expect_balanced(const struct net_client *c)
{
	assert_true(net_account_balanced(&c->tx));
	assert_true(net_account_balanced(&c->rx));
}

static void tear_down(void)
{
	epoch_unregister(&reader);
	loop_call(net, feed_off, NULL);
	net_quiesce(&wire);
	expect_balanced(&wire);
	expect_balanced(wire.peer);
	device_del(&nic->dev);
	net_client_remove(&wire);
	unmake();
	loop_free(net);
}

static void ring(void)
{
	refill();
	set(NOTIFY, RX, 2);
	set(NOTIFY + VIRTIO_PCI_NOTIFY_MULT, TX, 2);
}

static void expect_flow(void)
{
	unsigned tx = atomic_load(&sent), rx = got;

	ring();
	EVENTUALLY((refill(), got > rx + QSIZE && atomic_load(&sent) > tx));
}

/*
 * At home the registers are there and the doorbells ring, at the other places is nothing; no DMA without bus mastering.
 */
static void expect_at_home(void)
{
	go_home();
	for (unsigned i = 0; i < PLACES; i++)
		assert_true(is_at(i) == (i == 0));
	expect_flow();
	pci_config_write(nic->bus, nic->devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ring();
	expect_stillness();
	go_home();
	expect_flow();
}

static void bars_move_while_the_vm_stops(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(machine_ready(machine, &err), 0);
	driver_up();
	loop_call(net, feed_on, NULL);
	machine_start(machine);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % 20 == 19)
			reset_and_continue();
		else
			stop_and_continue();
		if (i % 8 == 0)
			some_progress();
	}
	some_progress();
	*mailbox(ENOUGH) = 1;
	EVENTUALLY(*mailbox(RESTING) == CPUS);
	expect_at_home();
	tear_down();
}

int main(void)
{
	static const struct type *const types[] = {
		&type_object,	     &type_device,     &type_pci_device, &type_pci_host_bridge, &type_virtio_mmio,
		&type_virtio_device, &type_virtio_net, &type_virtio_pci, &type_virtio_net_pci,	NULL
	};
	const struct CMUnitTest tests[] = { cmocka_unit_test(bars_move_while_the_vm_stops) };

	prepare(types);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
