/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stream of frames as a hostile program would write it, and as a bad kernel would carry it: any bytes in any
 * portions, sends cut anywhere, ends at any time, a peer with or without room. Beside it runs a model, which keeps all
 * bytes of a connection: what the peer got is the beginning of what the model finds in them, and what the program at
 * the other end reads is the beginning of what was accepted for it. At the end nothing is missing that was not counted.
 *
 * Input: steps of three bytes {operation, value, value}; raw bytes for the stream follow their step.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fake_net.h"
#include "backend/frame_stream.h"
#include "base/iov.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS	   96
#define STREAM_MAX (1024 * 1024)

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- a kernel that takes so much and no more ---- */

static size_t kernel_takes;

ssize_t sendmsg(int sock, const struct msghdr *m, int flags)
{
	static uint8_t flat[1024 * 1024];
	size_t n = iov_read_at(m->msg_iov, m->msg_iovlen, 0, flat, MIN(sizeof(flat), kernel_takes));
	ssize_t ret;

	if (!n) {
		errno = EAGAIN;
		return -1;
	}
	ret = send(sock, flat, n, flags);
	if (kernel_takes != SIZE_MAX && ret > 0)
		kernel_takes -= (size_t)ret;
	return ret;
}

/* ---- the client, its peer, the program at the other end ---- */

static struct loop *loop;
static struct fake *peer;
static struct net_client c;
static struct frame_stream s;
static int fd[2]; /* ours; the program's, -1 if it has hung up */
static bool lost, running;
static bool all_read; /* the connection was lost after its last byte was read, or one that is nonsense */
static unsigned seed;

/* Of this connection. */
static struct {
	uint8_t in[STREAM_MAX], out[STREAM_MAX];
	size_t in_len, in_at;	/* written by the program; seen by the peer */
	size_t out_len, out_at; /* accepted from the peer; read by the program */
	uint64_t dropped_before;
} model;

static unsigned on_send(struct net_client *x, struct batch *b)
{
	(void)x;
	return frame_stream_send(&s, b);
}

static void on_wake(struct net_client *x, unsigned what)
{
	(void)x;
	frame_stream_wake(&s, what);
}

static void on_start(struct net_client *x)
{
	(void)x;
	frame_stream_start(&s);
}

static void on_quiesce(struct net_client *x)
{
	(void)x;
	frame_stream_quiesce(&s);
}

static void on_parted(struct net_client *x)
{
	(void)x;
	frame_stream_parted(&s);
}

static const struct net_client_ops ops = {
	.type = "stream",
	.send = on_send,
	.wake = on_wake,
	.start = on_start,
	.quiesce = on_quiesce,
	.parted = on_parted,
};

static void on_lost(struct frame_stream *x, const char *why)
{
	(void)x;
	must(why != NULL);
	must(!lost);
	all_read = strstr(why, "closed the connection") || strstr(why, "nonsense");
	lost = true;
}

/* ---- what must be true ---- */

static uint32_t length_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The model's next whole frame: its length, or 0. */
static uint32_t next_in(size_t at)
{
	uint32_t len = model.in_len - at >= 4 ? length_at(model.in + at) : 0;

	return len >= ETH_HDR_LEN && len <= NET_FRAME_MAX && model.in_len - at - 4 >= len ? len : 0;
}

static void check_in(void)
{
	for (unsigned i = 0; i < peer->n_got; i++) {
		must(peer->got[i].len == next_in(model.in_at));
		must(!memcmp(peer->got[i].bytes, model.in + model.in_at + 4, peer->got[i].len));
		model.in_at += 4 + peer->got[i].len;
	}
	fake_forget(peer);
}

static void program_reads(size_t max)
{
	static uint8_t p[65536];
	ssize_t n = fd[1] < 0 ? 0 : recv(fd[1], p, MIN(max, sizeof(p)), MSG_DONTWAIT);

	if (n <= 0)
		return;
	must((size_t)n <= model.out_len - model.out_at);
	must(!memcmp(p, model.out + model.out_at, (size_t)n));
	model.out_at += (size_t)n;
}

static void check_accounts(void)
{
	must(net_account_balanced(&c.tx));
	must(net_account_balanced(&c.rx));
	must(net_account_balanced(&peer->c.tx));
	must(net_account_balanced(&peer->c.rx));
	must(counter_get(&c.tx.out) == counter_get(&peer->c.rx.in));
	must(counter_get(&peer->c.tx.out) == counter_get(&c.rx.in));
}

static uint64_t dropped_whole(void)
{
	return counter_get(&c.tx.dropped[NET_DROP_PEER_GONE]) + counter_get(&c.tx.dropped[NET_DROP_STOPPED]);
}

/* The connection is over: all whole frames were seen, or counted, or never read. */
static void check_end(void)
{
	uint64_t missing = 0;
	uint32_t len;

	check_in();
	for (size_t at = model.in_at; (len = next_in(at)); at += 4 + len)
		missing++;
	must(missing >= dropped_whole() - model.dropped_before);
	must(!all_read || missing == dropped_whole() - model.dropped_before);
}

/* ---- steps ---- */

static void connect_it(void)
{
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	model.in_len = model.in_at = model.out_len = model.out_at = 0;
	model.dropped_before = dropped_whole();
	lost = all_read = false;
	frame_stream_attach(&s, fd[0]);
}

static void program_hangs_up(void)
{
	if (fd[1] >= 0)
		close(fd[1]);
	fd[1] = -1;
}

static void program_writes(const uint8_t *p, size_t n)
{
	ssize_t got = fd[1] < 0 || n > STREAM_MAX - model.in_len ? 0 : send(fd[1], p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (got <= 0)
		return;
	memcpy(model.in + model.in_len, p, (size_t)got);
	model.in_len += (size_t)got;
}

static void program_writes_frame(size_t len)
{
	static uint8_t p[4 + NET_FRAME_MAX];
	uint32_t be = htobe32((uint32_t)len);

	memcpy(p, &be, 4);
	make_plain(p + 4, len, seed++);
	program_writes(p, 4 + len);
}

static void peer_sends(unsigned count, size_t len)
{
	static uint8_t p[8][NET_FRAME_MAX];
	static struct iovec arena[3 * NET_BATCH];
	struct batch b = { .iov = arena };
	unsigned n;

	if (model.out_len + 8 * (4 + len) > STREAM_MAX)
		return;
	for (unsigned i = 0; i < count; i++) {
		make_plain(p[i], len + i, seed + i);
		batch_add(&b, p[i], len + i, NULL);
	}
	n = net_send(&peer->c, &b);
	net_count_tx_in(&peer->c, n);
	must(n <= count);
	seed += count;
	for (unsigned i = 0; i < n; i++) {
		uint32_t be = htobe32((uint32_t)(len + i));

		memcpy(model.out + model.out_len, &be, 4);
		memcpy(model.out + model.out_len + 4, p[i], len + i);
		model.out_len += 4 + len + i;
	}
}

static void turn(void)
{
	for (unsigned i = 0; i < 50 && loop_turn(loop); i++)
		;
	check_in();
	if (!lost)
		return;
	check_end();
	close(fd[0]);
	program_hangs_up();
	connect_it();
}

static void step(unsigned op, unsigned v)
{
	switch (op % 9) {
	case 1:
		program_writes_frame(ETH_HDR_LEN + v % (NET_FRAME_MAX - ETH_HDR_LEN + 1));
		break;
	case 2:
		fake_room(peer, v & 0x80 ? FAKE_ALL : v & 7);
		break;
	case 3:
		peer_sends(1 + (v & 7), ETH_HDR_LEN + (v >> 3) % 8000);
		break;
	case 4:
		kernel_takes = v & 0x8000 ? SIZE_MAX : v;
		break;
	case 5:
		program_reads(v + 1);
		break;
	case 6:
		program_hangs_up();
		break;
	case 7:
		if (running)
			net_quiesce(&c);
		else
			net_start(&c);
		running = !running;
		check_accounts();
		break;
	case 8:
		turn();
	}
}

/* ---- one input ---- */

static void begin(void)
{
	struct error err;

	if (!loop) {
		loop = loop_new("fuzz", &err);
		must(loop != NULL);
		/* Kept: it is the engine that is judged, not how it is made. */
		s.c = &c;
		s.lost = on_lost;
		must(frame_stream_init(&s) == 0);
	}
	memset(&c, 0, sizeof(c));
	c.ops = &ops;
	c.kind = NET_KIND_BACKEND;
	c.loop = loop;
	strcpy(c.name, "net0");
	must(net_client_add(&c, &err) == 0);
	peer = fake_new("nic0", NET_KIND_NIC, seed & 1 ? &fake_sender_ops : &fake_lender_ops, loop);
	must(net_connect(&c, &peer->c, &err) == 0);
	net_start(&c);
	running = true;
	kernel_takes = SIZE_MAX;
	connect_it();
}

/* Room for everybody, everything read: what is on its way arrives. */
static void let_all_through(void)
{
	if (!running)
		net_start(&c);
	kernel_takes = SIZE_MAX;
	fake_room(peer, FAKE_ALL);
	for (unsigned i = 0; i < 200; i++) {
		program_reads(SIZE_MAX);
		turn();
	}
	must(fd[1] < 0 || model.out_at == model.out_len);
	program_hangs_up();
	for (unsigned i = 0; i < 10 && !lost; i++) {
		if (!loop_turn(loop))
			break;
		check_in();
	}
}

static void end(void)
{
	net_quiesce(&c);
	check_accounts();
	net_client_remove(&c);
	frame_stream_detach(&s);
	check_end();
	must(net_account_balanced(&c.tx) && net_account_balanced(&c.rx));
	must(counter_get(&c.tx.held) == 0 && counter_get(&c.rx.held) == 0);
	close(fd[0]);
	program_hangs_up();
	fake_free(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	seed = size ? data[0] : 0;
	begin();
	for (unsigned i = 0; i < STEPS && size >= 3; i++) {
		unsigned op = data[0], v = (unsigned)data[1] << 8 | data[2];

		data += 3;
		size -= 3;
		if (op % 9 == 0) {
			size_t n = MIN(size, (size_t)v % 1024);

			program_writes(data, n);
			data += n;
			size -= n;
		} else {
			step(op, v);
		}
	}
	let_all_through();
	end();
	return 0;
}
