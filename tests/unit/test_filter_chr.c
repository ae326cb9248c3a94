/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter-mirror and filter-redirector: frames as messages on a socket, whole, in pieces, wrong, and at ends that are
 * slow.
 */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/wirefmt.h"
#include "char/chardev.h"
#include "ctl/types.h"
#include "filterbench.h"
#include "net/chr_frames.h"

static struct loop *loop;
static struct fake *nic, *back;
static struct filter *filter;
static struct error err;
static char dir[] = "/tmp/vwire-filter-XXXXXX";
static int ends[2]; /* our ends of the character devices `a` and `b` */
static struct iovec arena[3 * NET_BATCH];
static struct batch batch;
static uint8_t frames[NET_BATCH][NET_FRAME_MAX];
static unsigned turns;

/* Turns until it is so; a slow machine may take its time. */
#define UNTIL(what)                                     \
	for (turns = 0; !(what); turns++) {             \
		assert_true(turns < 60000);             \
		if (!loop_turn(loop) && turns)          \
			usleep(turns < 100 ? 0 : 1000); \
	}

/* ---- the bench: two character devices, and a socket of ours to each ---- */

static void make_device(const char *id)
{
	struct opt_list l;
	char text[100];

	snprintf(text, sizeof(text), "socket,id=%s,path=%s,server=on,wait=off", id, id);
	assert_int_equal(opt_list_parse(text, "backend", &l, &err), 0);
	if (chardev_add(&l, &err)) {
		print_error("%s: %s\n", text, err.msg);
		assert_true(false);
	}
	opt_list_free(&l);
}

static int dial(const char *id)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", id);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	settle(loop);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new("test", &err);
	chardev_set_main_loop(loop);
	make_device("a");
	make_device("b");
	ends[0] = ends[1] = -1;
	make_wire(loop, &nic, &back);
	batch = (struct batch){ .iov = arena };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (filter)
		creatable_del(&filter->base);
	filter = NULL;
	check_accounts();
	assert_int_equal(chardev_del("a", &err), 0);
	assert_int_equal(chardev_del("b", &err), 0);
	for (unsigned i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	fake_free(nic);
	fake_free(back);
	loop_free(loop);
	return 0;
}

/* The filter, and somebody at the other ends. */
static void with(const char *text)
{
	filter = new_filter(text);
	ends[0] = dial("a");
	ends[1] = dial("b");
	net_drained(&back->c);
}

static unsigned give(struct fake *from, unsigned first, unsigned n, size_t len)
{
	unsigned sent;

	batch.n = 0;
	for (unsigned i = 0; i < n; i++) {
		make_plain(frames[i], len, first + i);
		batch_add(&batch, frames[i], len, NULL);
	}
	sent = net_send(&from->c, &batch);
	net_count_tx_in(&from->c, sent);
	check_accounts();
	return sent;
}

static void give_tso(struct fake *from, size_t n)
{
	struct frame_meta m;
	size_t len = make_tcp(frames[0], 0, n, &m);

	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	batch.n = 0;
	batch_add(&batch, frames[0], len, &m);
	assert_int_equal(net_send(&from->c, &batch), 1);
	net_count_tx_in(&from->c, 1);
	check_accounts();
}

/* Read exactly n bytes from our end. */
static void read_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r;

		UNTIL((r = read(fd, p, n)) > 0);
		p += r;
		n -= (size_t)r;
	}
}

static bool closed(int fd)
{
	char c;
	ssize_t n = read(fd, &c, 1);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

static bool silent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	settle(loop);
	return poll(&p, 1, 0) == 0;
}

static void put_all(int fd, const uint8_t *p, size_t n, size_t piece)
{
	while (n) {
		ssize_t r = write(fd, p, MIN(n, piece));

		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
		settle(loop);
	}
}

/* A message with a frame in it, at p; returns its bytes. */
static size_t message(uint8_t *p, unsigned seed, size_t len)
{
	put32(p, (uint32_t)len);
	make_plain(p + 4, len, seed);
	return 4 + len;
}

static void assert_got(const struct fake *f, unsigned i, size_t len, unsigned seed)
{
	assert_true(i < f->n_got);
	assert_int_equal(f->got[i].len, len);
	assert_true(is_plain(f->got[i].bytes, len, seed));
}

static void assert_message(int fd, size_t len, unsigned seed)
{
	static uint8_t p[NET_FRAME_MAX + 4];

	read_all(fd, p, 4 + len);
	assert_int_equal(get32(p), len);
	assert_true(is_plain(p + 4, len, seed));
}

/* ---- filter-mirror ---- */

static void mirrors(void **state)
{
	(void)state;
	with("filter-mirror,id=f,netdev=net0,outdev=a");
	assert_int_equal(give(nic, 1, 3, 100), 3);
	assert_int_equal(give(back, 10, 2, 60), 2);
	assert_int_equal(back->n_got, 3); /* they went on, too */
	assert_int_equal(nic->n_got, 2);
	for (unsigned i = 0; i < 3; i++)
		assert_message(ends[0], 100, 1 + i);
	for (unsigned i = 0; i < 2; i++)
		assert_message(ends[0], 60, 10 + i);
	assert_true(silent(ends[0]));
}

static void mirrors_one_direction(void **state)
{
	(void)state;
	with("filter-mirror,id=f,netdev=net0,outdev=a,queue=tx");
	assert_int_equal(give(nic, 1, 3, 100), 3);
	assert_int_equal(give(back, 10, 2, 60), 2);
	assert_message(ends[0], 60, 10);
	assert_message(ends[0], 60, 11);
	assert_true(silent(ends[0]));
}

/* A long frame goes on as it is; its copies are whole frames. */
static void mirrors_segments(void **state)
{
	static uint8_t p[2000];

	(void)state;
	with("filter-mirror,id=f,netdev=net0,outdev=a");
	give_tso(nic, 2500);
	assert_int_equal(back->n_got, 1);
	assert_int_equal(back->got[0].meta.gso, NET_GSO_TCP4);
	for (unsigned i = 0; i < 3; i++) {
		size_t n = 54 + (i < 2 ? 1000 : 500);

		read_all(ends[0], p, 4 + n);
		assert_int_equal(get32(p), n);
		assert_int_equal(get32(p + 4 + 38), 1000 * i); /* sequence number */
	}
	assert_true(silent(ends[0]));
}

static void mirrors_vnet_headers(void **state)
{
	static uint8_t p[8 + 12 + 2554];
	struct virtio_net_hdr h;

	(void)state;
	with("filter-mirror,id=f,netdev=net0,outdev=a,vnet_hdr_support=on");
	give_tso(nic, 2500);
	read_all(ends[0], p, sizeof(p));
	assert_int_equal(get32(p), 12 + 2554);
	assert_int_equal(get32(p + 4), 12);
	memcpy(&h, p + 8, sizeof(h));
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(le16toh(h.gso_size), 1000);
	assert_memory_equal(p + 20, back->got[0].bytes, 2554);
	assert_int_equal(give(nic, 5, 1, 60), 1);
	read_all(ends[0], p, 80);
	assert_int_equal(get32(p), 72);
	assert_true(silent(ends[0]));
}

/* Nobody there, or one who does not read: copies are missed, frames are not. */
static void mirrors_to_nobody(void **state)
{
	unsigned got = 0;

	(void)state;
	with("filter-mirror,id=f,netdev=net0,outdev=a");
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(give(nic, 0, 64, 1500), 64);
	assert_int_equal(back->n_got, 40 * 64);
	for (unsigned i = 0; i < 100; i++)
		assert_message(ends[0], 1500, i % 64);
	close(ends[0]);
	ends[0] = -1;
	settle(loop);
	assert_int_equal(give(nic, 0, 64, 1500), 64);
	ends[0] = dial("a"); /* the next one begins with a whole message */
	assert_int_equal(give(nic, 7, 1, 99), 1);
	assert_message(ends[0], 99, 7);
	(void)got;
}

/* ---- filter-redirector, out ---- */

static void leads_away(void **state)
{
	(void)state;
	with("filter-redirector,id=f,netdev=net0,outdev=a,queue=rx");
	assert_int_equal(give(nic, 1, 3, 100), 3);
	assert_int_equal(back->n_got, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_message(ends[0], 100, 1 + i);
	assert_int_equal(counter_get(&filter_in(&filter->port[0], FILTER_RX)->rx.out), 3);
	assert_int_equal(give(back, 1, 3, 100), 3); /* the other direction goes through */
	assert_int_equal(nic->n_got, 3);
	/* Segments, for who knows no vnet header. */
	give_tso(nic, 2500);
	assert_int_equal(counter_get(&filter_in(&filter->port[0], FILTER_RX)->rx.out), 6);
}

static void leads_to_nobody(void **state)
{
	(void)state;
	with("filter-redirector,id=f,netdev=net0,outdev=a");
	close(ends[0]);
	ends[0] = -1;
	settle(loop);
	assert_int_equal(give(nic, 1, 3, 100), 3);
	assert_int_equal(give(back, 1, 2, 100), 2);
	assert_int_equal(counter_get(&filter_in(&filter->port[0], FILTER_RX)->rx.dropped[NET_DROP_PEER_GONE]), 3);
	assert_int_equal(counter_get(&filter_in(&filter->port[0], FILTER_TX)->rx.dropped[NET_DROP_PEER_GONE]), 2);
	ends[0] = dial("a");
	assert_int_equal(give(nic, 9, 1, 100), 1);
	assert_message(ends[0], 100, 9);
}

/* The other end does not read: the giver keeps his frames, and is woken; nothing is lost. */
static void leads_to_one_who_is_slow(void **state)
{
	unsigned sent = 0, n, seen = 0;

	(void)state;
	with("filter-redirector,id=f,netdev=net0,outdev=a");
	do {
		n = give(nic, sent, 64, 1500);
		sent += n;
		settle(loop);
		assert_true(sent < 4000);
	} while (n == 64);
	nic->wakes = 0;
	for (; seen < sent; seen++)
		assert_message(ends[0], 1500, seen);
	UNTIL(nic->wakes);
	assert_int_equal(give(nic, sent, 5, 1500), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_message(ends[0], 1500, sent + i);
	/* He goes: whoever waits is woken too. */
	do {
		n = give(nic, sent, 64, 1500);
		settle(loop);
	} while (n == 64);
	nic->wakes = 0;
	close(ends[0]);
	ends[0] = -1;
	UNTIL(nic->wakes);
	assert_int_equal(give(nic, sent, 5, 1500), 5);
}

/* ---- filter-redirector, in ---- */

static uint8_t wire[300000];

static void comes_in(void **state)
{
	static const size_t lens[] = { 14, 60, 1514, 9018, NET_FRAME_MAX };
	size_t n = 0;

	(void)state;
	with("filter-redirector,id=f,netdev=net0,indev=b,queue=tx");
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		n += message(wire + n, i, lens[i]);
	put_all(ends[1], wire, n, n);
	UNTIL(nic->n_got == ARRAY_SIZE(lens));
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		assert_got(nic, i, lens[i], i);
	assert_int_equal(back->n_got, 0);
	assert_int_equal(counter_get(&filter_out(&filter->port[0], FILTER_TX)->tx.in), ARRAY_SIZE(lens));
	/* What goes through goes through, straight. */
	assert_true(back->c.direct);
	assert_int_equal(give(back, 9, 1, 60), 1);
	assert_got(nic, ARRAY_SIZE(lens), 60, 9);
	check_accounts();
	/* In pieces of every length. */
	fake_forget(nic);
	for (size_t piece = 1; piece < 70; piece++) {
		n = message(wire, (unsigned)piece, 60);
		n += message(wire + n, (unsigned)piece + 1, 61);
		put_all(ends[1], wire, n, piece);
	}
	UNTIL(nic->n_got == 2 * 69);
	for (unsigned i = 0; i < 69; i++) {
		assert_got(nic, 2 * i, 60, i + 1);
		assert_got(nic, 2 * i + 1, 61, i + 2);
	}
	check_accounts();
}

static void comes_in_both_ways(void **state)
{
	size_t n = message(wire, 1, 60);

	(void)state;
	with("filter-redirector,id=f,netdev=net0,indev=b,outdev=a");
	n += message(wire + n, 2, 70);
	put_all(ends[1], wire, n, n);
	UNTIL(nic->n_got == 2 && back->n_got == 2);
	assert_got(nic, 1, 70, 2);
	assert_got(back, 0, 60, 1);
	check_accounts();
	/* One has no room: the other gets its copy once, the next frames wait. */
	fake_room(nic, 0);
	n = message(wire, 3, 80);
	n += message(wire + n, 4, 90);
	put_all(ends[1], wire, n, n);
	UNTIL(back->n_got == 3);
	settle(loop);
	assert_int_equal(back->n_got, 3);
	assert_int_equal(counter_get(&filter_out(&filter->port[0], FILTER_TX)->tx.held), 1);
	check_accounts();
	fake_room(nic, FAKE_ALL);
	UNTIL(nic->n_got == 4 && back->n_got == 4);
	assert_got(nic, 2, 80, 3);
	assert_got(back, 3, 90, 4);
	check_accounts();
}

/* The NIC has no room for long: what comes waits in the socket, and our memory does not grow. */
static void comes_in_without_room(void **state)
{
	unsigned sent = 0, i;
	size_t n;

	(void)state;
	with("filter-redirector,id=f,netdev=net0,indev=b,queue=tx");
	fake_room(nic, 0);
	for (i = 0; i < 20; i++) {
		n = message(wire, sent, 1500);
		if (write(ends[1], wire, n) != (ssize_t)n)
			break;
		sent++;
		settle(loop);
	}
	fake_room(nic, FAKE_ALL);
	UNTIL(nic->n_got == sent);
	for (i = 0; i < sent; i++)
		assert_got(nic, i, 1500, i);
	check_accounts();
	/* Stopped: nothing is read. */
	net_quiesce(&nic->c);
	n = message(wire, 1, 60);
	put_all(ends[1], wire, n, n);
	assert_int_equal(nic->n_got, sent);
	net_start(&nic->c);
	UNTIL(nic->n_got == sent + 1);
	/* Removed with one in hand. */
	fake_room(nic, 0);
	put_all(ends[1], wire, n, n);
	settle(loop);
	check_accounts();
}

static void wrong_lengths(void **state)
{
	static const uint32_t lens[] = { 0, 1, 13, NET_FRAME_MAX + 1, 0x7fffffff, 0xffffffff };
	size_t n;

	(void)state;
	with("filter-redirector,id=f,netdev=net0,indev=b,queue=tx");
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		n = message(wire, i, 100);
		put32(wire + n, lens[i]);
		put_all(ends[1], wire, n + 4, i % 2 ? 1 : n + 4);
		UNTIL(closed(ends[1]));
		close(ends[1]);
		assert_int_equal(nic->n_got, i + 1); /* what came before was good */
		ends[1] = dial("b");
	}
	n = message(wire, 50, 100);
	put_all(ends[1], wire, n, n);
	UNTIL(nic->n_got == ARRAY_SIZE(lens) + 1);
	assert_got(nic, ARRAY_SIZE(lens), 100, 50);
	check_accounts();
}

/* A connection that ends within a message: the next one begins anew. */
static void cut_off(void **state)
{
	size_t n = message(wire, 1, 100), whole = n;

	(void)state;
	with("filter-redirector,id=f,netdev=net0,indev=b,queue=tx");
	n += message(wire + n, 2, 100);
	for (size_t at = 1; at < whole; at += 9) {
		fake_forget(nic);
		put_all(ends[1], wire, whole + at, whole + at);
		close(ends[1]);
		UNTIL(nic->n_got == 1);
		ends[1] = dial("b");
		put_all(ends[1], wire, whole, whole);
		UNTIL(nic->n_got == 2);
		assert_got(nic, 1, 100, 1);
		assert_true(silent(ends[1]));
	}
	/* While the first waits for room, and a part of the second is there. */
	fake_forget(nic);
	fake_room(nic, 0);
	put_all(ends[1], wire, whole + 50, whole + 50);
	close(ends[1]);
	settle(loop);
	ends[1] = dial("b");
	fake_room(nic, FAKE_ALL);
	put_all(ends[1], wire, whole, whole);
	UNTIL(nic->n_got == 2);
	assert_got(nic, 0, 100, 1);
	assert_got(nic, 1, 100, 1);
	check_accounts();
}

static size_t vnet_message(uint8_t *p, unsigned vnet_len, const uint8_t *frame, size_t len, const struct frame_meta *m)
{
	struct virtio_net_hdr_mrg_rxbuf h = { .num_buffers = 0 };

	net_vnet_encode(m, &h.hdr);
	put32(p, (uint32_t)(vnet_len + len));
	put32(p + 4, vnet_len);
	memcpy(p + 8, &h, vnet_len);
	memcpy(p + 8 + vnet_len, frame, len);
	return 8 + vnet_len + len;
}

static void vnet_headers_come_in(void **state)
{
	static const uint32_t wrong[] = { 1, 9, 11, 13, 255, 0x80000000 };
	static const unsigned known[] = { 0, 10, 12 };
	struct frame_meta m;
	size_t len, n = 0;

	(void)state;
	with("filter-redirector,id=f,netdev=net0,indev=b,queue=tx,vnet_hdr_support=on");
	len = make_tcp(frames[0], 0, 3000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	n += vnet_message(wire + n, 12, frames[0], len, &m);
	n += vnet_message(wire + n, 10, frames[0], len, &m);
	put_all(ends[1], wire, n, n);
	UNTIL(nic->n_got == 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(nic->got[i].len, len);
		assert_int_equal(nic->got[i].meta.gso_size, 1000);
	}
	/* For a taker that cannot take it so. */
	net_takes_changed(&nic->c, 0);
	put_all(ends[1], wire, n, n);
	UNTIL(nic->n_got == 8);
	check_accounts();
	fake_forget(nic);
	for (unsigned i = 0; i < 3; i++) {
		make_plain(frames[1], 60, i);
		n = vnet_message(wire, known[i], frames[1], 60, &(struct frame_meta){ 0 });
		put_all(ends[1], wire, n, 7);
		UNTIL(nic->n_got == i + 1);
		assert_got(nic, i, 60, i);
	}
	/* A header that contradicts its frame: that one alone is dropped. */
	m.csum_start = 60000;
	n = vnet_message(wire, 12, frames[0], 100, &m);
	n += vnet_message(wire + n, 12, frames[1], 60, &(struct frame_meta){ 0 });
	put_all(ends[1], wire, n, n);
	UNTIL(nic->n_got == 4);
	assert_int_equal(counter_get(&filter_out(&filter->port[0], FILTER_TX)->tx.dropped[NET_DROP_VNET_HDR]), 1);
	check_accounts();
	/* Lengths of headers that there are none of, or that leave no frame. */
	for (unsigned i = 0; i <= ARRAY_SIZE(wrong); i++) {
		put32(wire, i < ARRAY_SIZE(wrong) ? 100 : 25);
		put32(wire + 4, i < ARRAY_SIZE(wrong) ? wrong[i] : 12);
		put_all(ends[1], wire, 8, 8);
		UNTIL(closed(ends[1]));
		close(ends[1]);
		ends[1] = dial("b");
	}
	assert_int_equal(nic->n_got, 4);
}

static void refused(void **state)
{
	static const char *const rows[][2] = {
		{ "filter-mirror,id=f,netdev=net0", "outdev=<id> is missing" },
		{ "filter-mirror,id=f,netdev=net0,outdev=c", "outdev=c: there is no such character device" },
		{ "filter-redirector,id=f,netdev=net0", "one of indev= and outdev= is needed" },
		{ "filter-redirector,id=f,netdev=net0,indev=a,outdev=a", "the same device, a" },
		{ "filter-redirector,id=f,netdev=net0,indev=a,outdev=c",
		  "outdev=c: there is no such character device" },
		{ "filter-redirector,id=f,netdev=net0,outdev=b,indev=a", "indev=a: chardev a is in use by" },
		{ "filter-mirror,id=f,netdev=net0,outdev=a", "outdev=a: chardev a is in use by filter-mirror,id=g" },
	};
	struct filter *g = try_filter("filter-mirror,id=g,netdev=net0,outdev=a", &err);

	(void)state;
	assert_non_null(g);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_null(try_filter(rows[i][0], &err));
		if (!strstr(err.msg, rows[i][1]))
			print_error("%s: %s\n", rows[i][0], err.msg);
		assert_non_null(strstr(err.msg, rows[i][1]));
	}
	creatable_del(&g->base);
	assert_ptr_equal(nic->c.peer, &back->c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mirrors),
		TEST(mirrors_one_direction),
		TEST(mirrors_segments),
		TEST(mirrors_vnet_headers),
		TEST(mirrors_to_nobody),
		TEST(leads_away),
		TEST(leads_to_nobody),
		TEST(leads_to_one_who_is_slow),
		TEST(comes_in),
		TEST(comes_in_both_ways),
		TEST(comes_in_without_room),
		TEST(wrong_lengths),
		TEST(cut_off),
		TEST(vnet_headers_come_in),
		TEST(refused),
	};
	int failed;

	chardev_types_init(chardev_types);
	if (types_init(all_types, &err) || !mkdtemp(dir) || chdir(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed || chdir("/") || rmdir(dir); /* no file is left */
}
