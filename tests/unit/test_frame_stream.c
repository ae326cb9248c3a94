/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames over a stream of bytes: cut at every offset on the way in and on the way out, with the other end gone at every
 * byte, and with lengths that are none. After each the accounts are exact.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fake_net.h"
#include "backend/frame_stream.h"
#include "base/iov.h"

struct end {
	struct net_client c;
	struct frame_stream s;
	const char *why; /* it was lost */
	unsigned losses;
};

static struct loop *loop;
static struct end end, *const e = &end;
static struct fake *peer;
static int fd[2] = { -1, -1 }; /* ours, and the one of the program at the other end */

static struct end *to_end(struct net_client *c)
{
	return container_of(c, struct end, c);
}

static unsigned end_send(struct net_client *c, struct batch *b)
{
	return frame_stream_send(&to_end(c)->s, b);
}

static void end_wake(struct net_client *c, unsigned what)
{
	frame_stream_wake(&to_end(c)->s, what);
}

static void end_start(struct net_client *c)
{
	frame_stream_start(&to_end(c)->s);
}

static void end_quiesce(struct net_client *c)
{
	frame_stream_quiesce(&to_end(c)->s);
}

static void end_parted(struct net_client *c)
{
	frame_stream_parted(&to_end(c)->s);
}

static const struct net_client_ops end_ops = {
	.type = "end",
	.send = end_send,
	.wake = end_wake,
	.start = end_start,
	.quiesce = end_quiesce,
	.parted = end_parted,
};

static void on_lost(struct frame_stream *s, const char *why)
{
	struct end *x = container_of(s, struct end, s);

	x->why = why;
	x->losses++;
}

/*
 * A kernel that takes so many bytes and then nothing: stands in front of the C library's. Sockets cut where they like,
 * and not at every offset.
 */
static size_t kernel_takes = SIZE_MAX;

ssize_t sendmsg(int sock, const struct msghdr *m, int flags)
{
	static uint8_t flat[200000];
	size_t n = iov_read_at(m->msg_iov, m->msg_iovlen, 0, flat, MIN(sizeof(flat), kernel_takes));
	ssize_t ret;

	if (!kernel_takes) {
		errno = EAGAIN;
		return -1;
	}
	ret = send(sock, flat, n, flags);
	if (kernel_takes != SIZE_MAX && ret > 0)
		kernel_takes -= (size_t)ret;
	return ret;
}

/* ---- connections ---- */

static void hang_up(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

static void connect_it(void)
{
	hang_up();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	e->why = NULL;
	frame_stream_attach(&e->s, fd[0]);
	settle(loop);
}

static int make(const struct net_client_ops *peer_ops)
{
	struct error err;

	loop = loop_new("test", &err);
	memset(e, 0, sizeof(*e));
	e->c.ops = &end_ops;
	e->c.kind = NET_KIND_BACKEND;
	e->c.loop = loop;
	strcpy(e->c.name, "net0");
	atomic_store(&e->c.link_auto_down, true);
	e->s.c = &e->c;
	e->s.lost = on_lost;
	assert_int_equal(frame_stream_init(&e->s), 0);
	assert_int_equal(net_client_add(&e->c, &err), 0);
	peer = fake_new("nic0", NET_KIND_NIC, peer_ops, loop);
	assert_int_equal(net_connect(&e->c, &peer->c, &err), 0);
	net_start(&e->c);
	connect_it();
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return make(&fake_lender_ops);
}

static int setup_sender(void **state)
{
	(void)state;
	return make(&fake_sender_ops);
}

static void check_accounts(void)
{
	assert_true(net_account_balanced(&e->c.tx));
	assert_true(net_account_balanced(&e->c.rx));
	assert_true(net_account_balanced(&peer->c.tx));
	assert_true(net_account_balanced(&peer->c.rx));
	assert_int_equal(counter_get(&e->c.tx.out), counter_get(&peer->c.rx.in));
	assert_int_equal(counter_get(&peer->c.tx.out), counter_get(&e->c.rx.in));
}

static int teardown(void **state)
{
	(void)state;
	net_quiesce(&e->c);
	check_accounts();
	net_client_remove(&e->c);
	frame_stream_detach(&e->s);
	assert_true(net_account_balanced(&e->c.tx));
	assert_true(net_account_balanced(&e->c.rx));
	assert_int_equal(counter_get(&e->c.tx.held), 0);
	assert_int_equal(counter_get(&e->c.rx.held), 0);
	hang_up();
	fake_free(peer);
	frame_stream_free(&e->s);
	loop_free(loop);
	return 0;
}

/* ---- what goes over it ---- */

#define N_SMALL 4
static const size_t small_lens[N_SMALL] = { 14, 60, 15, 99 };

/* Length and frame of `len` bytes, made from `seed`; returns the bytes. */
static size_t put_frame(uint8_t *p, size_t len, unsigned seed)
{
	uint32_t be = htobe32((uint32_t)len);

	memcpy(p, &be, 4);
	make_plain(p + 4, len, seed);
	return 4 + len;
}

static size_t put_small(uint8_t *p)
{
	size_t n = 0;

	for (unsigned i = 0; i < N_SMALL; i++)
		n += put_frame(p + n, small_lens[i], i);
	return n;
}

static void give(const uint8_t *p, size_t n)
{
	assert_int_equal(write(fd[1], p, n), n);
	settle(loop);
}

static void got_small(unsigned n)
{
	assert_int_equal(peer->n_got, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(peer->got[i].len, small_lens[i]);
		assert_true(is_plain(peer->got[i].bytes, peer->got[i].len, i));
	}
}

static uint64_t dropped(enum net_drop why)
{
	return counter_get(&e->c.tx.dropped[why]);
}

/* ---- in ---- */

static void cut_in_two(void **state)
{
	uint8_t p[512];
	size_t n = put_small(p);

	(void)state;
	for (size_t cut = 0; cut <= n; cut++) {
		if (cut)
			give(p, cut);
		if (cut < n)
			give(p + cut, n - cut);
		got_small(N_SMALL);
		fake_forget(peer);
		check_accounts();
	}
	assert_int_equal(e->losses, 0);
}

static void byte_by_byte(void **state)
{
	uint8_t p[512];
	size_t n = put_small(p);

	(void)state;
	for (size_t i = 0; i < n; i++)
		give(p + i, 1);
	got_small(N_SMALL);
}

/* As much as the buffer takes and more, in pieces of odd sizes: each frame once, in order. */
static void many_in(void **state)
{
	static uint8_t p[400000];
	size_t n = 0, at = 0;
	unsigned made = 0, seen = 0;

	(void)state;
	while (n < sizeof(p) - 2100)
		n += put_frame(p + n, 14 + made * 37 % 2000, made), made++;
	while (at < n) {
		ssize_t k = write(fd[1], p + at, MIN(n - at, 1 + at % 7001));

		at += k > 0 ? (size_t)k : 0;
		loop_turn(loop);
	}
	settle(loop);
	assert_int_equal(peer->n_got, made);
	for (; seen < made; seen++)
		assert_true(is_plain(peer->got[seen].bytes, peer->got[seen].len, seen));
}

static void largest_in(void **state)
{
	static uint8_t p[3 * (4 + NET_FRAME_MAX)];
	size_t n = 0, at = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		n += put_frame(p + n, NET_FRAME_MAX, i);
	while (at < n) {
		ssize_t k = write(fd[1], p + at, n - at);

		at += k > 0 ? (size_t)k : 0;
		settle(loop);
	}
	assert_int_equal(peer->n_got, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(peer->got[i].len, NET_FRAME_MAX);
		assert_true(is_plain(peer->got[i].bytes, NET_FRAME_MAX, i));
	}
}

/* The other end is gone after each byte: the whole frames arrive, what is left of one is counted, the next is whole. */
static void killed_at_each_byte(void **state)
{
	uint8_t p[512];
	size_t n = put_small(p), border[N_SMALL + 1] = { 0 };
	uint64_t truncated = 0;

	(void)state;
	for (unsigned i = 0; i < N_SMALL; i++)
		border[i + 1] = border[i] + 4 + small_lens[i];
	for (size_t cut = 0; cut <= n; cut++) {
		unsigned whole = 0;

		while (whole < N_SMALL && border[whole + 1] <= cut)
			whole++;
		truncated += cut != border[whole];
		if (cut)
			give(p, cut);
		close(fd[1]);
		fd[1] = -1;
		settle(loop);
		got_small(whole);
		assert_non_null(e->why);
		assert_false(net_link_up(&e->c));
		assert_int_equal(dropped(NET_DROP_TRUNCATED), truncated);
		check_accounts();
		fake_forget(peer);
		connect_it();
		assert_true(net_link_up(&e->c));
		give(p, n);
		got_small(N_SMALL);
		fake_forget(peer);
	}
	assert_int_equal(e->losses, n + 1);
}

static void bad_lengths(void **state)
{
	static const uint32_t lens[] = { 0, 1, 13, NET_FRAME_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff };
	uint8_t p[600];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		size_t n = put_small(p);
		uint32_t be = htobe32(lens[i]);

		/* Frames before it are good; what is behind it nobody knows. */
		memcpy(p + n, &be, 4);
		memset(p + n + 4, 0, 60);
		give(p, n + 64);
		got_small(N_SMALL);
		assert_string_equal(e->why, "the length of a frame is nonsense");
		assert_int_equal(counter_get(&e->s.framing_errors), i + 1);
		assert_int_equal(dropped(NET_DROP_MALFORMED), i + 1);
		assert_int_equal(dropped(NET_DROP_TOO_SHORT), 0);
		check_accounts();
		fake_forget(peer);
		connect_it();
	}
}

/* What there is no room for waits, and when its buffer is full too, the sender has to wait. */
static void no_room(void **state)
{
	static uint8_t p[60000];
	unsigned sent = 0, n;
	uint64_t turns;

	(void)state;
	fake_room(peer, 3);
	for (n = 0; n < 1000; n++) {
		size_t len = put_frame(p, 1000, n);

		if (write(fd[1], p, len) != (ssize_t)len)
			break;
		sent++;
		loop_turn(loop);
	}
	settle(loop);
	assert_int_equal(peer->n_got, 3);
	assert_true(sent < 1000);
	turns = counter_get(&loop_stats(loop)->watches);
	for (unsigned i = 0; i < 20; i++)
		loop_turn(loop);
	assert_true(counter_get(&loop_stats(loop)->watches) - turns < 3);
	net_quiesce(&e->c);
	assert_true(counter_get(&e->c.tx.held) > 0);
	check_accounts();
	net_start(&e->c);
	fake_room(peer, FAKE_ALL);
	settle(loop);
	assert_true(peer->n_got >= sent);
	assert_int_equal(counter_get(&e->c.tx.held), 0);
	for (unsigned i = 0; i < sent; i++)
		assert_true(is_plain(peer->got[i].bytes, 1000, i));
}

/* It closes while frames wait for room: they still come, and then only is the connection over. */
static void closed_without_room(void **state)
{
	uint8_t p[512];

	(void)state;
	fake_room(peer, 1);
	give(p, put_small(p));
	close(fd[1]);
	fd[1] = -1;
	for (unsigned i = 0; i < 10; i++)
		settle(loop);
	got_small(1);
	assert_int_equal(e->losses, 0);
	fake_room(peer, FAKE_ALL);
	settle(loop);
	got_small(N_SMALL);
	assert_int_equal(e->losses, 1);
	check_accounts();
}

/* ---- out ---- */

static struct iovec arena[3 * NET_BATCH];
static struct batch batch;

static unsigned send_batch(void)
{
	unsigned n = net_send(&peer->c, &batch);

	net_count_tx_in(&peer->c, n);
	return n;
}

/* Read what came, into p; returns the bytes. */
static size_t take(uint8_t *p, size_t max)
{
	ssize_t n = read(fd[1], p, max);

	return n > 0 ? (size_t)n : 0;
}

/* Every mixture of small and large frames, read in portions: the bytes are those that were meant. */
static void batches_out(void **state)
{
	static uint8_t frame[NET_BATCH][2000], want[NET_BATCH * 2004], got[NET_BATCH * 2004];

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		size_t n = 0, at = 0;
		unsigned count = 1 + round * 7 % NET_BATCH;

		batch = (struct batch){ .iov = arena };
		for (unsigned i = 0; i < count; i++) {
			size_t len = 14 + (i * 131 + round * 57) % (round & 1 ? 300 : 1900);

			make_plain(frame[i], len, i);
			batch_add(&batch, frame[i], len, NULL);
			n += put_frame(want + n, len, i);
		}
		assert_int_equal(send_batch(), count);
		while (at < n) {
			size_t k = take(got + at, MIN(n - at, (size_t)997));

			assert_true(k > 0);
			at += k;
		}
		assert_memory_equal(got, want, n);
		check_accounts();
	}
}

/* The kernel stops after each byte of a batch, and then takes the rest. */
static void cut_out_everywhere(void **state)
{
	static const size_t lens[] = { 14, 300, 20, 15, 500, 257, 256, 60 };
	static uint8_t frame[ARRAY_SIZE(lens)][600], want[4000], got[4000];
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		make_plain(frame[i], lens[i], i);
		n += put_frame(want + n, lens[i], i);
	}
	for (size_t cut = 0; cut <= n; cut++) {
		unsigned next = 0;
		size_t at = 0;

		kernel_takes = cut;
		while (next < ARRAY_SIZE(lens)) {
			batch = (struct batch){ .iov = arena };
			for (unsigned i = next; i < ARRAY_SIZE(lens); i++)
				batch_add(&batch, frame[i], lens[i], NULL);
			next += send_batch();
			assert_true(counter_get(&e->c.rx.held) <= 1);
			check_accounts();
			kernel_takes = SIZE_MAX;
			settle(loop);
		}
		while (at < n) {
			size_t k = take(got + at, n - at);

			assert_true(k > 0);
			at += k;
		}
		assert_memory_equal(got, want, n);
	}
	assert_int_equal(counter_get(&e->c.rx.out), (n + 1) * ARRAY_SIZE(lens));
}

static void many_pieces_out(void **state)
{
	static const unsigned counts[] = { 1, 2, 100, NET_IOV_MAX - 2, NET_IOV_MAX - 1, NET_IOV_MAX };
	static struct iovec many[2 * (NET_IOV_MAX + 1)];
	static uint8_t frame[3000], want[2 * 3004], got[2 * 3004];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		unsigned cnt = counts[i];
		size_t len = 2000 + i, n;

		make_plain(frame, len, 0);
		batch = (struct batch){ .iov = many, .n = 2 };
		for (unsigned f = 0; f < 2; f++) {
			struct iovec *iov = many + f * (NET_IOV_MAX + 1) + 1;

			for (unsigned k = 0; k < cnt; k++)
				iov[k] = (struct iovec){ frame + k, k + 1 < cnt ? 1 : len - k };
			batch.frame[f] =
				(struct frame){ .iov = f * (NET_IOV_MAX + 1) + 1, .cnt = cnt, .len = (uint32_t)len };
		}
		n = put_frame(want, len, 0);
		n += put_frame(want + n, len, 0);
		assert_int_equal(send_batch(), 2);
		assert_int_equal(take(got, sizeof(got)), n);
		assert_memory_equal(got, want, n);
	}
}

/*
 * The other end reads a little at a time, and the kernel's buffer is as small as it may be: what has no room stays with
 * the giver, who is woken, and frames are cut anywhere. The stream is the same as if it had never been.
 */
static void slow_reader(void **state)
{
	static uint8_t frame[N_SMALL * 40][3000], want[N_SMALL * 40 * 3004], got[sizeof(want)];
	unsigned total = N_SMALL * 40, next = 0, woken = 0;
	size_t n = 0, at = 0;
	int small = 1;

	(void)state;
	assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (unsigned i = 0; i < total; i++)
		n += put_frame(want + n, 14 + i * 211 % 2900, i), make_plain(frame[i], 14 + i * 211 % 2900, i);
	while (at < n) {
		unsigned k = 0;

		batch = (struct batch){ .iov = arena };
		for (unsigned i = next; i < total && k < NET_BATCH; i++, k++)
			batch_add(&batch, frame[i], 14 + i * 211 % 2900, NULL);
		if (k)
			next += send_batch();
		assert_true(counter_get(&e->c.rx.held) <= 1);
		check_accounts();
		peer->woken_for = 0;
		at += take(got + at, MIN(n - at, 1 + at % 1777));
		settle(loop);
		woken += !!(peer->woken_for & NET_WAKE_ROOM);
	}
	assert_int_equal(next, total);
	assert_memory_equal(got, want, n);
	assert_true(woken > 10);
	assert_int_equal(counter_get(&e->c.rx.out), total);
}

/* A full socket is not tried over and over. */
static void full_is_quiet(void **state)
{
	static uint8_t frame[60000];
	uint64_t turns;
	unsigned n = 0;

	(void)state;
	make_plain(frame, sizeof(frame), 0);
	for (;;) {
		batch = (struct batch){ .iov = arena };
		batch_add(&batch, frame, sizeof(frame), NULL);
		if (!send_batch())
			break;
		n++;
	}
	assert_true(n > 1 && n < 100);
	settle(loop);
	turns = counter_get(&loop_stats(loop)->watches);
	for (unsigned i = 0; i < 20; i++)
		loop_turn(loop);
	assert_int_equal(counter_get(&loop_stats(loop)->watches), turns);
}

/* The connection ends in the middle of a frame of ours: the next one begins with a whole frame, and all is counted. */
static void cut_in_ours(void **state)
{
	static uint8_t frame[60000], got[300000];
	uint64_t sent = 0;

	(void)state;
	make_plain(frame, sizeof(frame), 7);
	for (unsigned round = 0; round < 20; round++) {
		int small = 1 + (int)round * 3000;
		unsigned n = 0;

		setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		do {
			batch = (struct batch){ .iov = arena };
			batch_add(&batch, frame, sizeof(frame), NULL);
			n = send_batch();
			sent += n;
		} while (n);
		close(fd[1]);
		fd[1] = -1;
		settle(loop);
		assert_int_equal(e->losses, round + 1);
		assert_int_equal(counter_get(&e->c.rx.held), 0);
		check_accounts();
		connect_it();
		batch = (struct batch){ .iov = arena };
		batch_add(&batch, frame, 100, NULL);
		assert_int_equal(send_batch(), 1);
		sent++;
		assert_int_equal(take(got, sizeof(got)), 104);
		assert_memory_equal(got + 4, frame, 100);
	}
	assert_int_equal(counter_get(&e->c.rx.in), sent);
	assert_true(counter_get(&e->c.rx.dropped[NET_DROP_PEER_GONE]) > 0);
}

/* Sending is the first to see that nobody is there: frames that had come before that are not lost. */
static void broken_pipe(void **state)
{
	static uint8_t frame[100];
	uint8_t p[512];

	(void)state;
	make_plain(frame, sizeof(frame), 0);
	assert_int_equal(write(fd[1], p, put_small(p)), (ssize_t)(put_small(p)));
	close(fd[1]);
	fd[1] = -1;
	for (unsigned i = 0; i < 3; i++) {
		batch = (struct batch){ .iov = arena };
		batch_add(&batch, frame, sizeof(frame), NULL);
		batch_add(&batch, frame, sizeof(frame), NULL);
		assert_int_equal(send_batch(), 2);
	}
	settle(loop);
	got_small(N_SMALL);
	assert_int_equal(e->losses, 1);
	assert_int_equal(counter_get(&e->c.rx.dropped[NET_DROP_PEER_GONE]), 6);
	batch = (struct batch){ .iov = arena };
	batch_add(&batch, frame, sizeof(frame), NULL);
	assert_int_equal(send_batch(), 1);
	assert_int_equal(counter_get(&peer->c.tx.dropped[NET_DROP_LINK_DOWN]), 1);
}

/* ... and if the frames that came have no room, the connection is not kept for them. */
static void broken_pipe_without_room(void **state)
{
	static uint8_t frame[100];
	uint8_t p[512];

	(void)state;
	make_plain(frame, sizeof(frame), 0);
	fake_room(peer, 1);
	give(p, put_small(p));
	close(fd[1]);
	fd[1] = -1;
	settle(loop);
	assert_int_equal(e->losses, 0);
	batch = (struct batch){ .iov = arena };
	batch_add(&batch, frame, sizeof(frame), NULL);
	assert_int_equal(send_batch(), 1);
	settle(loop);
	assert_int_equal(e->losses, 1);
	assert_int_equal(dropped(NET_DROP_PEER_GONE), N_SMALL - 1);
	check_accounts();
}

/* ---- stops ---- */

/*
 * Nothing moves while it is stopped, and nothing is lost by it: neither what came nor a connection that came or went.
 */
static void stopped(void **state)
{
	uint8_t p[512];
	size_t n = put_small(p);

	(void)state;
	give(p, 10);
	net_quiesce(&e->c);
	check_accounts();
	give(p + 10, n - 10);
	assert_int_equal(peer->n_got, 0);
	net_start(&e->c);
	settle(loop);
	got_small(N_SMALL);
	fake_forget(peer);
	net_quiesce(&e->c);
	close(fd[1]);
	fd[1] = -1;
	settle(loop);
	assert_int_equal(e->losses, 0);
	net_start(&e->c);
	settle(loop);
	assert_int_equal(e->losses, 1);
	net_quiesce(&e->c);
	connect_it();
	give(p, n);
	assert_int_equal(peer->n_got, 0);
	net_start(&e->c);
	settle(loop);
	got_small(N_SMALL);
}

/* The peer goes away with frames waiting for it: they are counted. What comes later is the next one's. */
static void parted(void **state)
{
	struct error err;
	uint8_t p[512];
	size_t n = put_small(p);

	(void)state;
	memcpy(p + n, p, 30);
	fake_room(peer, 1);
	give(p, n + 30);
	net_disconnect(&e->c);
	assert_int_equal(dropped(NET_DROP_STOPPED), N_SMALL);
	assert_int_equal(counter_get(&e->c.tx.held), 0);
	assert_true(net_account_balanced(&e->c.tx));
	fake_forget(peer);
	fake_room(peer, FAKE_ALL);
	assert_int_equal(net_connect(&e->c, &peer->c, &err), 0);
	net_start(&e->c);
	give(p + 30, n - 30);
	assert_int_equal(peer->n_got, N_SMALL - 1);
	for (unsigned i = 1; i < N_SMALL; i++)
		assert_true(is_plain(peer->got[i - 1].bytes, small_lens[i], i));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_SENDER(f)                                                 \
	{                                                              \
#f " (peer has send)", f, setup_sender, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cut_in_two),
		TEST_SENDER(cut_in_two),
		TEST(byte_by_byte),
		TEST(many_in),
		TEST_SENDER(many_in),
		TEST(largest_in),
		TEST(killed_at_each_byte),
		TEST_SENDER(killed_at_each_byte),
		TEST(bad_lengths),
		TEST(no_room),
		TEST_SENDER(no_room),
		TEST(closed_without_room),
		TEST(batches_out),
		TEST(many_pieces_out),
		TEST(cut_out_everywhere),
		TEST(slow_reader),
		TEST(full_is_quiet),
		TEST(cut_in_ours),
		TEST(broken_pipe),
		TEST(broken_pipe_without_room),
		TEST(stopped),
		TEST(parted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
