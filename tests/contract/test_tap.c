/* SPDX-License-Identifier: BSD-2-Clause */
/* The tap backend against the kernel's: what its options refuse, and what the interface may do under it. */
#include "../unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/script.h"
#include "base/csum.h"
#include "bench.h"
#include "net/netdev.h"

#define PLAIN "tap,id=net0,ifname=vtap0,script=no,downscript=no"

static struct bench bench, *const b = &bench;
static int packet_fd = -1;

static void tap_up(struct bench *bb)
{
	(void)bb;
	assert_true(run_ip("addr add 10.0.2.2/24 dev vtap0"));
	assert_true(run_ip("link set vtap0 up"));
}

static int setup(void **state)
{
	(void)state;
	bench_open(b, PLAIN, tap_up);
	return 0;
}

static int setup_without_vnet_hdr(void **state)
{
	(void)state;
	bench_open(b, PLAIN ",vnet_hdr=off", tap_up);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_close(b);
	return 0;
}

/* ---- the other end: what passes the interface, with its vnet header ---- */

static void open_packet(void)
{
	int on = 1;
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex("vtap0") };

	packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(packet_fd >= 0);
	assert_int_equal(setsockopt(packet_fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(packet_fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(bind(packet_fd, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void close_packet(void)
{
	close(packet_fd);
	packet_fd = -1;
}

static bool packet_send(const uint8_t *p, size_t len, const struct frame_meta *m)
{
	struct virtio_net_hdr h;
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)p, len } };

	net_vnet_encode(m, &h);
	return writev(packet_fd, iov, 2) == (ssize_t)(len + sizeof(h));
}

/* The next frame that came in, or 0. */
static size_t packet_recv(uint8_t *p, size_t size, struct frame_meta *m)
{
	struct virtio_net_hdr h;
	struct iovec iov[2] = { { &h, sizeof(h) }, { p, size } };
	ssize_t n = readv(packet_fd, iov, 2);

	if (n < (ssize_t)sizeof(h))
		return 0;
	n -= (ssize_t)sizeof(h);
	assert_int_equal(net_vnet_decode(&h, (size_t)n, m), NET_OK);
	return (size_t)n;
}

static bool tcp_csum_good(const uint8_t *p, size_t len)
{
	uint8_t tail[4] = { 0, 6, (uint8_t)((len - 34) >> 8), (uint8_t)(len - 34) };

	return csum_fold(csum_add(csum_add(csum_add(0, p + 26, 8), tail, 4), p + 34, len - 34)) == 0xffff;
}

static bool got_frames(struct bench *bb, unsigned n)
{
	return bb->nic->n_got >= n;
}

static bool is_tcp(const struct fake_frame *g)
{
	return g->len >= 54 && g->bytes[12] == 8 && g->bytes[13] == 0 && g->bytes[23] == 6;
}

static bool got_payload(struct bench *bb, unsigned bytes)
{
	size_t sum = 0;

	for (unsigned i = 0; i < bb->nic->n_got; i++)
		sum += is_tcp(&bb->nic->got[i]) ? bb->nic->got[i].len - 54 : 0;
	return sum >= bytes;
}

/* TCP segments among what the NIC got, from sequence number 1000 on: bytes in order, none above mss. */
static size_t stream_length(const struct fake *nic, size_t mss, bool summed)
{
	uint32_t at = 1000;

	for (unsigned i = 0; i < nic->n_got; i++) {
		const uint8_t *p = nic->got[i].bytes;
		size_t len = nic->got[i].len;

		if (!is_tcp(&nic->got[i]))
			continue;
		assert_true(len - 54 <= mss);
		assert_int_equal((uint32_t)p[38] << 24 | p[39] << 16 | p[40] << 8 | p[41], at);
		if (summed)
			assert_true(tcp_csum_good(p, len));
		for (size_t k = 54; k < len; k++, at++)
			assert_int_equal(p[k], at % 251);
	}
	return at - 1000;
}

static size_t make_tso(uint8_t *p, uint32_t seq, size_t n, struct frame_meta *m)
{
	size_t len = make_tcp(p, seq, n, m);

	m->gso = NET_GSO_TCP4;
	m->gso_size = 1448;
	return len;
}

/* ---- offloads ---- */

static uint8_t big[NET_FRAME_MAX];

/* Frames of 64 KiB wait in the tap; then the guest turns all its offloads off; then it receives. */
static void gso_frames_that_waited(void **state)
{
	struct frame_meta m;
	size_t len;

	(void)state;
	open_packet();
	fake_room(b->nic, 0);
	for (unsigned i = 0; i < 20; i++) {
		len = make_tso(big, 1000 + i * 65000, 65000, &m);
		assert_true(packet_send(big, len, &m));
	}
	close_packet();
	idle(b, 10);
	net_takes_changed(&b->nic->c, 0);
	b->nic->window = 1526;
	fake_room(b->nic, 100); /* and not for all of them at once */
	assert_true(until(b, got_frames, 100));
	idle(b, 10);
	assert_int_equal(b->nic->n_got, 100);
	assert_int_equal(counter_get(&b->back->tx.held), 3 * 45 - 100);
	assert_true(counter_get(&b->back->tx.made) > 100); /* the kernel did not cut them */
	check_accounts(b);
	fake_room(b->nic, FAKE_ALL);
	assert_true(until(b, got_payload, 20 * 65000));
	for (unsigned i = 0; i < b->nic->n_got; i++)
		assert_int_equal(frame_needs(&b->nic->got[i].meta), 0);
	assert_int_equal(stream_length(b->nic, 1448, true), 20 * 65000);
	assert_true(b->back->direct); /* the old frames are through */
	fake_forget(b->nic);
	assert_true(pings_work(b, 1, 4, 1000));
}

/* ---- a peer that only takes ---- */

static struct fake *port;
static unsigned plain_sent, plain_got;

static int setup_port(void **state)
{
	struct error err;

	(void)state;
	b->loop = loop_new("test", &err);
	assert_non_null(b->loop);
	assert_int_equal(try_netdev(b->loop, PLAIN, &err), 0);
	b->back = net_client_find("net0", 0);
	tap_up(b);
	port = fake_new("port", NET_KIND_PORT, &fake_sender_ops, b->loop);
	assert_non_null(port);
	assert_int_equal(net_connect(b->back, &port->c, &err), 0);
	net_start(b->back);
	plain_sent = plain_got = 0;
	open_packet();
	return 0;
}

static int teardown_port(void **state)
{
	struct error err;

	(void)state;
	close_packet();
	net_quiesce(b->back);
	assert_true(net_account_balanced(&b->back->tx));
	assert_int_equal(counter_get(&b->back->tx.out), counter_get(&port->c.rx.in));
	assert_int_equal(netdev_del("net0", &err), 0);
	fake_free(port);
	loop_free(b->loop);
	return 0;
}

static void send_plain(unsigned n)
{
	static const struct frame_meta none;

	for (unsigned i = 0; i < n; i++, plain_sent++) {
		make_plain(big, 60 + plain_sent, plain_sent);
		assert_true(packet_send(big, 60 + plain_sent, &none));
	}
}

/* What has come is plain_sent's, each once and in order; whatever else the host sends stands between. */
static void look_at_plain(void)
{
	for (unsigned i = 0; i < port->n_got; i++) {
		const struct fake_frame *g = &port->got[i];

		if (g->len < 60 || g->bytes[12] != 0x88)
			continue;
		assert_int_equal(g->len, 60 + plain_got);
		assert_true(is_plain(g->bytes, g->len, plain_got));
		plain_got++;
	}
	fake_forget(port);
}

static bool came(struct bench *bb, unsigned n)
{
	(void)bb;
	look_at_plain();
	return plain_got == n;
}

static bool port_got(struct bench *bb, unsigned n)
{
	(void)bb;
	return port->n_got >= n;
}

static bool held(struct bench *bb, unsigned n)
{
	return counter_get(&bb->back->tx.held) >= n;
}

/* Frames are read ahead for a peer that lends no windows; it takes them as it has room; order and account are kept. */
static void read_ahead(void **state)
{
	struct frame_meta m;
	unsigned whole = 0;
	size_t len;

	(void)state;
	fake_room(port, 10);
	send_plain(200);
	assert_true(until(b, held, 1));
	assert_true(net_account_balanced(&b->back->tx));
	for (unsigned i = 0; i < 10; i++) {
		fake_room(port, 7);
		idle(b, 1);
	}
	fake_room(port, FAKE_ALL);
	assert_true(until(b, came, 200));
	assert_int_equal(counter_get(&b->back->tx.held), 0);
	/* More of the longest than it reads ahead. */
	len = make_tso(big, 1000, 65000, &m);
	for (unsigned i = 0; i < 12; i++)
		assert_true(packet_send(big, len, &m));
	assert_true(until(b, port_got, 12));
	for (unsigned i = 0; i < port->n_got; i++)
		whole += port->got[i].len == len && port->got[i].meta.gso;
	assert_int_equal(whole, 12);
	fake_forget(port);
	assert_true(net_account_balanced(&b->back->tx));
}

/* What was read ahead and cannot go any more is counted. */
static void read_ahead_and_parted(void **state)
{
	uint64_t was;

	(void)state;
	fake_room(port, 0);
	send_plain(20);
	assert_true(until(b, held, 1));
	was = counter_get(&b->back->tx.held);
	net_quiesce(b->back);
	assert_int_equal(counter_get(&b->back->tx.held), was);
	net_start(b->back);
	fake_room(port, 1);
	assert_true(until(b, came, 1));
	fake_room(port, 0);
	was = counter_get(&b->back->tx.held);
	assert_true(was > 0);
	net_disconnect(b->back);
	assert_int_equal(counter_get(&b->back->tx.held), 0);
	assert_int_equal(counter_get(&b->back->tx.dropped[NET_DROP_STOPPED]), was);
	assert_true(net_account_balanced(&b->back->tx));
}

static unsigned times_told(void)
{
	json_t *d = net_describe(b->back);
	unsigned n = (unsigned)json_integer_value(json_object_get(d, "offload-changes"));

	json_decref(d);
	return n;
}

static bool kernel_knows(struct bench *bb, unsigned offloads)
{
	return bb->back->gives == (offloads & bb->back->takes);
}

/* A guest that changes its offloads all the time: the kernel is told of few, the frames are right all the same. */
static void offloads_change_all_the_time(void **state)
{
	uint64_t begin = clock_now(CLOCK_HOST_NS);
	unsigned before = times_told(), told;
	struct frame_meta m;
	size_t len = make_tso(big, 1000, 65000, &m);

	(void)state;
	open_packet();
	for (unsigned i = 0; i < 2000; i++) {
		net_takes_changed(&b->nic->c, i & 1 ? 0 : NET_OFF_ALL);
		if (i % 200 != 199)
			continue;
		fake_forget(b->nic);
		assert_true(packet_send(big, len, &m));
		assert_true(until(b, got_frames, 1));
		for (unsigned k = 0; k < b->nic->n_got; k++)
			assert_int_equal(frame_needs(&b->nic->got[k].meta), 0);
		assert_int_equal(stream_length(b->nic, 1448, true), 65000);
	}
	told = times_told() - before;
	assert_true(told > 0 && told <= 8 + 1 + (clock_now(CLOCK_HOST_NS) - begin) / (20 * NSEC_PER_MSEC));
	assert_true(until(b, kernel_knows, 0));
	net_takes_changed(&b->nic->c, NET_OFF_ALL);
	assert_true(until(b, kernel_knows, NET_OFF_ALL));
	told = times_told();
	for (unsigned i = 0; i < 100; i++)
		net_takes_changed(&b->nic->c, NET_OFF_ALL);
	assert_int_equal(times_told(), told);
	fake_forget(b->nic);
	assert_true(packet_send(big, len, &m));
	assert_true(until(b, got_frames, 1));
	assert_int_equal(b->nic->n_got, 1);
	assert_int_equal(b->nic->got[0].len, len);
	close_packet();
	check_accounts(b);
}

/* With all offloads a segment of 64 KiB goes straight through, both ways. */
static void pass_straight(size_t len, const struct frame_meta *m)
{
	struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	static uint8_t back[NET_FRAME_MAX];
	struct frame_meta got;

	fake_forget(b->nic);
	assert_true(packet_send(big, len, m));
	assert_true(until(b, got_frames, 1));
	idle(b, 10);
	assert_int_equal(b->nic->n_got, 1);
	assert_int_equal(b->nic->got[0].len, len);
	assert_int_equal(b->nic->got[0].meta.gso, m->gso);
	assert_int_equal(b->nic->got[0].meta.gso_size, 1448);
	assert_memory_equal(b->nic->got[0].bytes, big, len);
	batch_add(&batch, big, len, m);
	net_count_tx_in(&b->nic->c, net_send(&b->nic->c, &batch));
	assert_int_equal(packet_recv(back, sizeof(back), &got), len);
	assert_int_equal(got.gso, m->gso);
	assert_memory_equal(back, big, len);
	assert_int_equal(counter_get(&b->nic->c.tx.made), 0);
}

/* A UDP/IPv4 frame with n bytes of payload. */
static size_t make_uso(uint8_t *p, size_t n, struct frame_meta *m)
{
	size_t len = make_tcp(p, 1000, n, m) - 12;
	uint16_t sum;

	memmove(p + 42, p + 54, n);
	p[16] = (uint8_t)((len - 14) >> 8);
	p[17] = (uint8_t)(len - 14);
	p[23] = 17;
	memset(p + 24, 0, 2);
	sum = (uint16_t)~csum_fold(csum_add(0, p + 14, 20));
	memcpy(p + 24, &sum, 2);
	memset(p + 40, 0, 2);
	p[38] = (uint8_t)((len - 34) >> 8);
	p[39] = (uint8_t)(len - 34);
	sum = csum_fold(csum_add(csum_add(0, p + 26, 8), (uint8_t[]){ 0, 17, p[38], p[39] }, 4));
	memcpy(p + 40, &sum, 2);
	m->gso = NET_GSO_UDP_L4;
	m->gso_size = 1448;
	m->hdr_len = 42;
	m->csum_offset = 6;
	return len;
}

static void gso_straight(void **state)
{
	struct frame_meta m;
	size_t len = make_tso(big, 1000, 65000, &m);

	(void)state;
	open_packet();
	pass_straight(len, &m);
	close_packet();
}

/* Kernels from 6.2 on; older ones take and give none, and say so. */
static void uso_straight(void **state)
{
	struct frame_meta m;
	size_t len = make_uso(big, 60000, &m);

	(void)state;
	if (!(b->back->takes & NET_OFF_USO))
		skip();
	open_packet();
	pass_straight(len, &m);
	close_packet();
}

/* Without vnet headers the guest keeps its offloads: they are done here. */
static void without_vnet_hdr(void **state)
{
	struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	struct frame_meta m, got;
	size_t len = make_tso(big, 1000, 65000, &m), sum = 0, n;
	static uint8_t p[4000];

	(void)state;
	assert_int_equal(b->back->takes, 0);
	assert_int_equal(b->back->gives, 0);
	assert_true(pings_work(b, 1, 64, 1000));
	open_packet();
	batch_add(&batch, big, len, &m);
	net_count_tx_in(&b->nic->c, net_send(&b->nic->c, &batch));
	while ((n = packet_recv(p, sizeof(p), &got))) {
		assert_true(tcp_csum_good(p, n));
		assert_memory_equal(p + 54, big + 54 + sum, n - 54);
		sum += n - 54;
	}
	assert_int_equal(sum, 65000);
	/* The kernel cuts what it gives. */
	assert_true(packet_send(big, len, &m));
	assert_true(until(b, got_payload, 65000));
	assert_int_equal(stream_length(b->nic, 1448, true), 65000);
	close_packet();
}

/* ---- kernels that refuse some: this program once more, behind a filter of system calls ---- */

#define REFUSING "refusing"
#define FAILING	 "failing"
#define TUN_TSO	 (TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define TUN_USO	 (0x20 | 0x40) /* TUN_F_USO4 and 6, Linux 6.2 */

static uint32_t left; /* offloads that such a kernel still has */

static bool filter_calls(struct sock_filter *code, unsigned short n)
{
	struct sock_fprog program = { n, code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static bool refuse_offloads(uint32_t tun)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TUNSETOFFLOAD, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, tun, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return filter_calls(code, ARRAY_SIZE(code));
}

/* What the tap does not take is done here; what it does not give, by the kernel. */
static void refused_offloads(void **state)
{
	struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	struct frame_meta m, got;
	static uint8_t p[NET_FRAME_MAX];
	size_t len = make_tso(big, 1000, 65000, &m), sum = 0, frames = 0, n;
	bool tso = left & NET_OFF_TSO4;

	(void)state;
	assert_int_equal(b->back->takes, left);
	assert_true(pings_work(b, 1, 64, 1000));
	open_packet();
	batch_add(&batch, big, len, &m);
	net_count_tx_in(&b->nic->c, net_send(&b->nic->c, &batch));
	for (; (n = packet_recv(p, sizeof(p), &got)); frames++) {
		assert_int_equal(got.gso, tso ? NET_GSO_TCP4 : NET_GSO_NONE);
		assert_memory_equal(p + 54, big + 54 + sum, n - 54);
		sum += n - 54;
	}
	assert_int_equal(sum, 65000);
	assert_int_equal(frames, tso ? 1 : 45);
	fake_forget(b->nic);
	assert_true(packet_send(big, len, &m));
	assert_true(until(b, got_payload, 65000));
	assert_int_equal(stream_length(b->nic, tso ? 65000 : 1448, !left), 65000);
	close_packet();
}

static int once_more(const char *args)
{
	char self[200], command[300];

	assert_true(readlink("/proc/self/exe", memset(self, 0, sizeof(self)), sizeof(self) - 1) > 0);
	snprintf(command, sizeof(command), "'%s' %s", self, args);
	return system(command);
}

static void kernels_that_refuse_some(void **state)
{
	static const struct {
		uint32_t refused, left;
	} row[] = {
		{ TUN_USO, NET_OFF_ALL & ~NET_OFF_USO },
		{ TUN_USO | TUN_F_UFO, NET_OFF_ALL & ~(NET_OFF_USO | NET_OFF_UFO) },
		{ TUN_USO | TUN_F_UFO | TUN_TSO, NET_OFF_CSUM },
		{ TUN_USO | TUN_F_UFO | TUN_TSO | TUN_F_CSUM, 0 },
	};
	char args[60];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
		snprintf(args, sizeof(args), REFUSING " %u %u", row[i].refused, row[i].left);
		assert_int_equal(once_more(args), 0);
	}
}

/* ---- reads and writes that fail: the same, by the number of pieces ---- */

#define PIECES_MAX 20
#define READ_FAILS 3 /* vnet header and a whole window */

/* With the vnet header, which is one more. */
static const struct failure {
	unsigned pieces;
	int code;
	enum net_drop why;
} write_fails[] = {
	{ 13, ENOBUFS, NET_DROP_QUEUE_FULL },  { 14, ENOMEM, NET_DROP_QUEUE_FULL },  { 15, EMSGSIZE, NET_DROP_TOO_BIG },
	{ 16, EINVAL, NET_DROP_WIRE_REFUSED }, { 17, EPERM, NET_DROP_WIRE_REFUSED }, { 18, EIO, NET_DROP_TAP_DOWN },
};

static unsigned add_failure(struct sock_filter *code, unsigned call, unsigned pieces, int error)
{
	const struct sock_filter row[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, pieces, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
	};

	memcpy(code, row, sizeof(row));
	return ARRAY_SIZE(row);
}

static bool make_calls_fail(int read_error)
{
	struct sock_filter code[5 * (ARRAY_SIZE(write_fails) + 1) + 1];
	unsigned n = add_failure(code, SYS_readv, READ_FAILS, read_error);

	for (unsigned i = 0; i < ARRAY_SIZE(write_fails); i++)
		n += add_failure(code + n, SYS_writev, write_fails[i].pieces, write_fails[i].code);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return filter_calls(code, (unsigned short)n);
}

/* A frame whose first pieces have one byte each; the arena is iov[PIECES_MAX * NET_BATCH]. */
static void add_pieces(struct batch *batch, uint8_t *p, size_t len, unsigned pieces, const struct frame_meta *m)
{
	struct frame *f = &batch->frame[batch->n];

	*f = (struct frame){ .iov = PIECES_MAX * batch->n + 1, .cnt = pieces, .len = (uint32_t)len };
	if (m)
		f->meta = *m;
	for (unsigned i = 0; i < pieces; i++)
		frame_iov(batch, f)[i] = (struct iovec){ p + i, i + 1 < pieces ? 1 : len - i };
	batch->n++;
}

static bool all_pongs(struct bench *bb, unsigned arg)
{
	return count_pongs(bb, 1, arg, 64) == arg;
}

/* Each frame that cannot be written is dropped for its own reason, and those around it go. */
static void failing_writes(void **state)
{
	const unsigned n = ARRAY_SIZE(write_fails);
	struct iovec arena[PIECES_MAX * NET_BATCH];
	struct batch batch = { .iov = arena };
	uint64_t want[NET_DROP_COUNT] = { 0 };
	uint8_t ping[ARRAY_SIZE(write_fails)][200], bad[300];

	(void)state;
	make_plain(bad, sizeof(bad), 1);
	for (unsigned i = 0; i < n; i++) {
		add_pieces(&batch, bad, sizeof(bad), write_fails[i].pieces - 1, NULL);
		add_pieces(&batch, ping[i], make_ping(b, ping[i], 1 + i, 64), 2, NULL);
		want[write_fails[i].why]++;
	}
	net_count_tx_in(&b->nic->c, batch.n);
	assert_int_equal(net_send(&b->nic->c, &batch), batch.n);
	assert_true(until(b, all_pongs, n));
	for (unsigned i = 0; i < NET_DROP_COUNT; i++)
		assert_int_equal(counter_get(&b->back->rx.dropped[i]), want[i]);
	assert_true(b->nic->link);
	check_accounts(b);
	fake_forget(b->nic);
	assert_true(pings_work(b, 100, 64, 1000));
}

/* A descriptor that cannot be read is left alone for a second, and then read on. */
static void failing_reads(void **state)
{
	(void)state;
	b->nic->window = NET_FRAME_MAX;
	assert_int_equal(send_pings(b, 1, 10, 64), 10);
	assert_true(becomes_quiet(b));
	assert_int_equal(b->nic->n_got, 0);
	assert_true(b->nic->link);
	check_accounts(b);
	b->nic->window = 0;
	assert_true(until(b, all_pongs, 10));
	fake_forget(b->nic);
	assert_true(pings_work(b, 100, 64, 1000));
}

static void calls_that_fail(void **state)
{
	static const int read_errors[] = { EIO, ENOBUFS, 0 }; /* 0: nothing was read */
	char args[60];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(read_errors); i++) {
		snprintf(args, sizeof(args), FAILING " %d", read_errors[i]);
		assert_int_equal(once_more(args), 0);
	}
}

/* Headers that pass every check of ours, as they contradict the frame's contents only, and that no kernel takes. */
static void refused_by_the_kernel(void **state)
{
	struct iovec arena[PIECES_MAX * NET_BATCH];
	struct batch batch = { .iov = arena };
	struct virtio_net_hdr h;
	uint8_t ping[200], bad[100];
	struct frame_meta m, again;

	(void)state;
	make_tcp(bad, 1000, 8, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1448;
	for (size_t len = 52; len < 54; len++) { /* the TCP header is cut */
		net_vnet_encode(&m, &h);
		assert_int_equal(net_vnet_decode(&h, len, &again), NET_OK);
		add_pieces(&batch, bad, len, 2, &again);
	}
	add_pieces(&batch, ping, make_ping(b, ping, 1, 64), 2, NULL);
	net_count_tx_in(&b->nic->c, batch.n);
	assert_int_equal(net_send(&b->nic->c, &batch), batch.n);
	assert_true(until(b, all_pongs, 1));
	assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_WIRE_REFUSED]), 2);
	check_accounts(b);
}

static void mtu_changes(void **state)
{
	static const unsigned mtus[] = { 576, 9000, 1500, 65500, 1500 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(mtus); i++) {
		size_t n = MIN(mtus[i] - 28, 9000u);

		assert_true(run_ip("link set vtap0 mtu %u", mtus[i]));
		for (unsigned k = 0; k < 20; k++)
			assert_true(pings_work(b, i * 1000 + k * 4, 4, k & 1 ? n : 56));
		check_accounts(b);
	}
}

/* ---- the interface ---- */

static void down_and_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(run_ip("link set vtap0 down"));
		assert_int_equal(send_pings(b, 1, 10, 64), 10);
		idle(b, 20);
		assert_true(b->nic->link); /* no broken wire */
		assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_TAP_DOWN]), 10 * (i + 1));
		check_accounts(b);
		assert_true(run_ip("link set vtap0 up"));
		fake_forget(b->nic);
		assert_true(resolve(b)); /* the host forgot us when it went down */
		assert_true(pings_work(b, 100, 10, 64));
	}
}

/* Without a carrier the host sends nothing; it is a host's interface, not the guest's link. */
static void carrier_off(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t out = counter_get(&b->back->rx.out);

		if (!run_ip("link set vtap0 carrier off"))
			skip(); /* before Linux 5.0 */
		assert_int_equal(send_pings(b, 1, 10, 64), 10);
		idle(b, 20);
		assert_true(b->nic->link);
		assert_int_equal(counter_get(&b->back->rx.out), out + 10); /* the kernel takes them all the same */
		check_accounts(b);
		assert_true(run_ip("link set vtap0 carrier on"));
		fake_forget(b->nic);
		assert_true(resolve(b));
		assert_true(pings_work(b, 100, 10, 64));
	}
}

static pid_t other_namespace(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static bool link_is(struct bench *bb, unsigned up)
{
	return bb->nic->link == (up != 0);
}

/* The interface goes to another network namespace, works there, and goes with it. */
static void moved(void **state)
{
	pid_t pid = other_namespace();
	char command[200];

	(void)state;
	assert_true(pings_work(b, 1, 4, 64));
	assert_true(run_ip("link set vtap0 netns %d", (int)pid));
	assert_int_equal(send_pings(b, 1, 10, 64), 10);
	assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_TAP_DOWN]), 10); /* it is down after that */
	assert_true(b->nic->link);
	snprintf(command, sizeof(command),
		 "PATH=$PATH:/usr/sbin:/sbin; nsenter -t %d -n sh -c 'ip addr add 10.0.2.2/24 dev vtap0 && "
		 "ip link set vtap0 up'",
		 (int)pid);
	assert_int_equal(system(command), 0);
	fake_forget(b->nic);
	assert_true(resolve(b));
	assert_true(pings_work(b, 100, 64, 1000));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(until(b, link_is, 0));
	check_accounts(b);
}

static void deleted_and_made_again(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fake_room(b->nic, i ? 0 : FAKE_ALL); /* seen when reading; when writing, while it waits for room */
		if (i)
			assert_int_equal(send_pings(b, 1, 4, 64), 4);
		idle(b, 20);
		assert_true(run_ip("link del vtap0"));
		if (i) {
			assert_int_equal(send_pings(b, 1, 2, 64), 2);
			assert_int_equal(counter_get(&b->back->rx.dropped[NET_DROP_TAP_DOWN]), 2);
		}
		assert_true(until(b, link_is, 0));
		assert_int_equal(send_pings(b, 1, 10, 64), 10);
		assert_true(becomes_quiet(b));
		assert_int_equal(counter_get(&b->nic->c.tx.dropped[NET_DROP_LINK_DOWN]), 10 * (i + 1));
		assert_int_equal(if_nametoindex("vtap0"), 0); /* it is not ours to make */
		check_accounts(b);
		fake_room(b->nic, FAKE_ALL);
		assert_true(run_ip("tuntap add dev vtap0 mode tap"));
		tap_up(b);
		assert_true(until(b, link_is, 1));
		assert_true(resolve(b));
		assert_true(pings_work(b, 100, 10, 64));
		assert_true(pings_work(b, 200, 10, 1400));
	}
	assert_true(run_ip("link del vtap0")); /* it would stay: it was made without us */
}

/* Somebody floods the tap while the guest does not receive: the kernel's queue bounds what waits. */
static void flood_while_stopped(void **state)
{
	static const struct frame_meta none;
	static uint8_t p[60];
	unsigned sent = 0;

	(void)state;
	open_packet();
	fake_room(b->nic, 0);
	make_plain(p, sizeof(p), 1);
	for (unsigned i = 0; i < 20000; i++) {
		sent += packet_send(p, sizeof(p), &none);
		if (i % 256 == 0)
			loop_turn(b->loop);
	}
	assert_true(sent > 0);
	close_packet();
	assert_int_equal(b->nic->n_got, 0);
	assert_int_equal(counter_get(&b->back->tx.held), 0);
	fake_room(b->nic, FAKE_ALL);
	assert_true(until(b, got_frames, 500));
	idle(b, 50);
	assert_true(b->nic->n_got < 4000);
	fake_forget(b->nic);
	assert_true(pings_work(b, 1, 4, 64));
}

/* One commit for a burst. */
static void bursts_are_batches(void **state)
{
	unsigned before;

	(void)state;
	assert_true(pings_work(b, 1, 64, 64)); /* finds out that there are bursts */
	before = b->nic->commits;
	assert_true(pings_come(b, 100, 60, 64));
	assert_true(b->nic->commits - before <= 2);
}

/* Frames that come one at a time are read with hardly more than one call each. */
static void lonely_frames(void **state)
{
	unsigned before;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		assert_true(pings_work(b, i, 1, 64));
	before = b->nic->lends;
	for (unsigned i = 0; i < 100; i++)
		assert_true(pings_work(b, 100 + i, 1, 64));
	assert_in_range(b->nic->lends - before, 100, 110);
	/* A burst is soon seen to be one. */
	before = b->nic->commits;
	for (unsigned i = 0; i < 4; i++)
		assert_true(pings_work(b, 1000 + i * 64, 60, 64));
	assert_in_range(b->nic->commits - before, 4, 4 + 16 + 2);
}

/* ---- sndbuf ---- */

static int setup_sndbuf(void **state)
{
	(void)state;
	bench_open(b, PLAIN ",sndbuf=20000", tap_up);
	return 0;
}

/* A port forwards some time after it is up, when the kernel comes to it; frames for one that does not are gone. */
static bool forwards(const char *port)
{
	char command[200];

	snprintf(command, sizeof(command),
		 "PATH=$PATH:/usr/sbin:/sbin; for i in $(seq 3000); do"
		 "	ip -d link show dev %s | grep -q 'state forwarding' && exit; sleep 0.02;"
		 "done; exit 1",
		 port);
	return system(command) == 0;
}

/*
 * Frames are charged to the tap while a queue behind a bridge holds them: there is no room, then a wake, none is lost.
 */
static void no_room_in_the_tap(void **state)
{
	unsigned sent = 0, all = 0, waits = 0;
	static uint8_t p[1514];
	struct iovec arena[3 * NET_BATCH];
	uint64_t before = counter_get(&b->back->rx.out);

	(void)state;
	if (!run_ip("link add vbr0 type bridge") || !run_ip("link add vout0 type veth peer name vout1") ||
	    !run_ip("link set vtap0 master vbr0") || !run_ip("link set vout0 master vbr0") ||
	    !run_ip("link set vbr0 up") || !run_ip("link set vout0 up") || !run_ip("link set vout1 up") ||
	    system("PATH=$PATH:/sbin:/usr/sbin tc qdisc add dev vout0 root tbf rate 400kbit burst 3000 limit 1000000") !=
		    0) {
		print_message("no bridge, veth or tbf in this kernel\n");
		skip();
	}
	assert_true(forwards("vtap0") && forwards("vout0"));
	make_plain(p, sizeof(p), 1);
	while (all < 64) {
		struct batch batch = { .iov = arena };

		for (unsigned i = 0; i < MIN(64 - all, 32u); i++)
			batch_add(&batch, p, sizeof(p), NULL);
		b->nic->woken_for = 0;
		sent = net_send(&b->nic->c, &batch);
		net_count_tx_in(&b->nic->c, sent);
		all += sent;
		check_accounts(b);
		if (sent < batch.n) {
			waits++;
			assert_true(until(b, has_room, 0));
		}
	}
	assert_true(waits > 0);
	assert_int_equal(counter_get(&b->back->rx.out) - before, 64);
	run_ip("link del vbr0");
	run_ip("link del vout0");
}

/* ---- options ---- */

static void refuse(const char *netdev, int code, const char *word)
{
	struct error err = { 0 };
	struct loop *loop = loop_new("test", &err);
	int before = count_fds(), ret = try_netdev(loop, netdev, &err);

	if (ret != -code || !strstr(err.msg, word))
		print_error("%s: %d, %s\n", netdev, ret, err.msg);
	assert_int_equal(ret, -code);
	assert_non_null(strstr(err.msg, word));
	assert_null(strchr(err.msg, '\n'));
	assert_null(net_client_find("net0", 0));
	assert_int_equal(count_fds(), before);
	loop_free(loop);
}

static void bad_names(void **state)
{
	(void)state;
	refuse("tap,id=net0,ifname=a234567890123456", EINVAL, "15");
	refuse("tap,id=net0,ifname=a2345678901234567", EINVAL, "15");
	refuse("tap,id=net0,ifname=", EINVAL, "ifname");
	refuse("tap,id=net0,ifname=tap%d", EINVAL, "tap%d");
	refuse("tap,id=net0,ifname=../x", EINVAL, "../x");
	refuse("tap,id=net0,ifname=.", EINVAL, "ifname");
	refuse("tap,id=net0,ifname=a b", EINVAL, "a b");
	refuse("tap,id=net0,ifname=lo", EINVAL, "lo");
	refuse("tap,id=net0,ifnam=x", EINVAL, "ifname");
	refuse("tap,ifname=x", EINVAL, "id=");
	refuse("tab,id=net0", EINVAL, "tap");
	refuse("tap,id=0net", EINVAL, "0net");
}

static void busy(void **state)
{
	struct error err;
	struct loop *loop = loop_new("test", &err);

	(void)state;
	assert_int_equal(try_netdev(loop, "tap,id=netA,ifname=a23456789012345,script=no,downscript=no", &err), 0);
	refuse("tap,id=net0,ifname=a23456789012345", EBUSY, "in use");
	refuse("tap,id=netA,ifname=other", EEXIST, "netA");
	assert_int_equal(netdev_del("netA", &err), 0);
	assert_int_equal(netdev_del("netA", &err), -ENOENT);
	loop_free(loop);
}

static void not_offered(void **state)
{
	static const char *const rows[][2] = {
		{ "vhost=on", "vhost" },     { "vhostforce=on", "vhost" }, { "vhostfd=3", "vhost" },
		{ "vhostfds=3:4", "vhost" }, { "poll-us=5", "vhost" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[100];

		snprintf(text, sizeof(text), "tap,id=net0,%s", rows[i][0]);
		refuse(text, ENOTSUP, rows[i][1]);
	}
}

/* As what an execve() left open: without close-on-exec. */
static int open_tap(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static void bad_fds(void **state)
{
	int dir = open("/", O_RDONLY), tun = open_tap("vtun0", IFF_TUN | IFF_NO_PI);
	int bare = open("/dev/net/tun", O_RDWR), ours = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	char text[100];

	(void)state;
	refuse("tap,id=net0,fd=0", EINVAL, "fd=0");
	refuse("tap,id=net0,fd=-1", EINVAL, "fd=-1");
	refuse("tap,id=net0,fd=mine", EINVAL, "fd=mine");
	refuse("tap,id=net0,fd=999", EBADF, "fd=999");
	snprintf(text, sizeof(text), "tap,id=net0,fd=%d", dir);
	refuse(text, EINVAL, "no tap");
	snprintf(text, sizeof(text), "tap,id=net0,fd=%d", tun);
	refuse(text, EINVAL, "no tap");
	snprintf(text, sizeof(text), "tap,id=net0,fd=%d", bare);
	refuse(text, EINVAL, "no tap");
	snprintf(text, sizeof(text), "tap,id=net0,fd=%d", ours);
	refuse(text, EBUSY, "in use");
	refuse("tap,id=net0,fd=5,ifname=x", EINVAL, "ifname");
	refuse("tap,id=net0,fd=5,vnet_hdr=on", EINVAL, "vnet_hdr");
	refuse("tap,id=net0,fd=5,script=no", EINVAL, "script");
	close(dir);
	close(tun);
	close(bare);
	close(ours);
}

static void inherited_fd(void **state)
{
	struct error err;
	char text[100];
	int flags[] = { IFF_TAP | IFF_NO_PI, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		int fd = open_tap("vtap0", flags[i]);

		fcntl(fd, F_DUPFD, 200);
		snprintf(text, sizeof(text), "tap,id=net0,fd=%d", fcntl(fd, F_DUPFD, 200));
		close(fd);
		close(200);
		bench_open(b, text, tap_up);
		assert_int_equal(b->back->takes != 0, i);
		assert_true(pings_work(b, 1, 64, 1000));
		snprintf(strrchr(text, ','), 20, ",fd=201");
		memcpy(strstr(text, "net0"), "net1", 4);
		assert_int_equal(try_netdev(b->loop, text, &err), -EBUSY);
		net_quiesce(&b->nic->c);
		check_accounts(b);
		assert_int_equal(netdev_del("net0", &err), 0);
		fake_free(b->nic);
		loop_free(b->loop);
		assert_int_equal(fcntl(201, F_GETFD), -1);
	}
}

/* In a mount namespace without it. */
static void no_device_file(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		struct error err = { 0 };
		struct loop *loop = loop_new("test", &err);

		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "/dev/net", "tmpfs", 0, NULL))
			_exit(2);
		if (try_netdev(loop, "tap,id=net0,ifname=vtap9", &err) != -ENOENT || !strstr(err.msg, "/dev/net/tun"))
			_exit(3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void device_file(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) { /* as somebody who may not */
		struct error err = { 0 };
		struct loop *loop = loop_new("test", &err);
		int ret;

		if (setuid(65534))
			_exit(2);
		ret = try_netdev(loop, "tap,id=net0,ifname=vtap9", &err);
		if ((ret != -EACCES && ret != -EPERM) ||
		    (!strstr(err.msg, "/dev/net/tun") && !strstr(err.msg, "CAP_NET_ADMIN")))
			_exit(3);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- scripts ---- */

static void write_script(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

static void scripts(void **state)
{
	char dir[] = "/tmp/vwire-tap-XXXXXX", text[300], path[100];
	struct error err;
	struct loop *loop = loop_new("test", &err);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/up", dir);
	snprintf(text, sizeof(text), "#!/bin/sh\necho \"$0 $*\" >> %s/log\n", dir);
	write_script(path, text, 0755);
	snprintf(text, sizeof(text), "tap,id=net0,ifname=vtap0,script=%s,downscript=%s", path, path);
	assert_int_equal(try_netdev(loop, text, &err), 0);
	assert_int_equal(netdev_del("net0", &err), 0);
	snprintf(text, sizeof(text), "test \"$(cat %s/log)\" = \"%s vtap0\n%s vtap0\"", dir, path, path);
	assert_int_equal(system(text), 0);

	snprintf(text, sizeof(text), "tap,id=net0,ifname=vtap0,downscript=no,script=%s", path);
	write_script(path, "#!/bin/sh\nexit 3\n", 0755);
	refuse(text, EIO, "status 3");
	write_script(path, "#!/bin/sh\nkill -9 $$\n", 0755);
	refuse(text, EIO, "signal 9");
	write_script(path, "exit 0\n", 0755);
	refuse(text, ENOEXEC, "#!");
	write_script(path, "#!/bin/sh\n", 0644);
	refuse(text, EACCES, path);
	refuse("tap,id=net0,ifname=vtap0,script=/nonexistent", ENOENT, "/nonexistent");
	assert_int_equal(if_nametoindex("vtap0"), 0);

	/* One that hangs, and has children, is killed with them. */
	write_script(path, "#!/bin/sh\nsleep 61.5 &\nsleep 61.5\n", 0755);
	assert_int_equal(script_run(path, "x", 300, &err), -ETIMEDOUT);
	assert_int_not_equal(system("pgrep -f 'sleep 61[.]5' >/dev/null"), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
	snprintf(text, sizeof(text), "rm -r %s", dir);
	assert_int_equal(system(text), 0);
	loop_free(loop);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int one_that_refuses(char **argv)
{
	const struct CMUnitTest tests[] = { TEST(refused_offloads) };

	left = (uint32_t)strtoul(argv[3], NULL, 0);
	if (!bench_isolate() || !refuse_offloads((uint32_t)strtoul(argv[2], NULL, 0)))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

static int one_that_fails(char **argv)
{
	const struct CMUnitTest tests[] = { TEST(failing_writes), TEST(failing_reads) };

	if (!bench_isolate() || !make_calls_fail(atoi(argv[2])))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(gso_frames_that_waited),
		TEST(gso_straight),
		TEST(uso_straight),
		TEST(offloads_change_all_the_time),
		cmocka_unit_test_setup_teardown(without_vnet_hdr, setup_without_vnet_hdr, teardown),
		cmocka_unit_test(kernels_that_refuse_some),
		cmocka_unit_test(calls_that_fail),
		TEST(refused_by_the_kernel),
		TEST(mtu_changes),
		TEST(down_and_up),
		TEST(carrier_off),
		TEST(moved),
		TEST(deleted_and_made_again),
		TEST(flood_while_stopped),
		TEST(bursts_are_batches),
		TEST(lonely_frames),
		cmocka_unit_test_setup_teardown(no_room_in_the_tap, setup_sndbuf, teardown),
		cmocka_unit_test_setup_teardown(read_ahead, setup_port, teardown_port),
		cmocka_unit_test_setup_teardown(read_ahead_and_parted, setup_port, teardown_port),
		cmocka_unit_test(bad_names),
		cmocka_unit_test(busy),
		cmocka_unit_test(not_offered),
		cmocka_unit_test(bad_fds),
		cmocka_unit_test(inherited_fd),
		cmocka_unit_test(no_device_file),
		cmocka_unit_test(device_file),
		cmocka_unit_test(scripts),
	};

	if (argc == 4 && !strcmp(argv[1], REFUSING))
		return one_that_refuses(argv);
	if (argc == 3 && !strcmp(argv[1], FAILING))
		return one_that_fails(argv);
	if (!bench_isolate())
		return 77;
	if (access("/dev/net/tun", R_OK | W_OK)) {
		printf("needs /dev/net/tun\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
