/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev vde when libvdeplug says what no switch makes it say: errors, nothing, too little, too much. This program's
 * library_load() gives out functions that say so; their data descriptor is a socket that is readable when they are to.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fake_net.h"
#include "backend/vde.h"
#include "backend/vde_connect.h"
#include "base/library.h"

static struct loop *loop;
static struct fake *nic;
static struct net_client *back;
static int data[2], ctl[2]; /* ours, and what the library says */
static unsigned opened, closed, refused;
static struct {
	ssize_t result; /* what recv says next; < 0: an errno value */
	ssize_t send;	/* what send says; < 0: an errno value; 0: all of it */
} say;

static VDECONN *fake_open(char *sock, char *what, int version, struct vde_open_args *args)
{
	(void)what;
	(void)version;
	(void)args;
	assert_string_equal(sock, "x");
	if (refused) {
		refused--;
		errno = ECONNREFUSED;
		return NULL;
	}
	opened++;
	return (VDECONN *)&say;
}

static ssize_t fake_recv(VDECONN *c, void *buf, size_t len, int flags)
{
	char byte;

	(void)c;
	(void)flags;
	if (recv(data[1], &byte, 1, MSG_DONTWAIT) != 1)
		return -1; /* EAGAIN */
	if (say.result < 0) {
		errno = (int)-say.result;
		return -1;
	}
	make_plain(buf, MIN((size_t)say.result, len), 7);
	return say.result;
}

static ssize_t fake_send(VDECONN *c, const void *buf, size_t len, int flags)
{
	(void)c;
	(void)flags;
	assert_non_null(buf);
	if (say.send < 0) {
		errno = (int)-say.send;
		return -1;
	}
	return say.send ? say.send : (ssize_t)len;
}

static int fake_datafd(VDECONN *c)
{
	(void)c;
	return data[1];
}

static int fake_ctlfd(VDECONN *c)
{
	(void)c;
	return ctl[1];
}

static int fake_close(VDECONN *c)
{
	assert_ptr_equal(c, &say);
	closed++;
	return 0;
}

int library_load(const struct library *l, void *table, struct error *err)
{
	const struct vde_functions f = { fake_open, fake_recv, fake_send, fake_datafd, fake_ctlfd, fake_close };

	(void)err;
	assert_string_equal(l->sonames[0], "libvdeplug.so.2");
	memcpy(table, &f, sizeof(f));
	return 0;
}

static struct net_client *make_netdev(void)
{
	void *opts = calloc(1, vde_netdev.opts_size);
	struct opt_list l;
	struct error err;

	assert_int_equal(opt_list_parse("sock=x", NULL, &l, &err), 0);
	assert_int_equal(opts_defaults(vde_netdev.opts, opts, &err), 0);
	assert_int_equal(opts_apply(vde_netdev.opts, &l, opts, true, &err), 0);
	assert_int_equal(vde_netdev.create("net0", opts, loop, &err), 0);
	opts_free(vde_netdev.opts, opts);
	opt_list_free(&l);
	free(opts);
	return net_client_find("net0", 0);
}

static int setup(void **state)
{
	struct error err;

	(void)state;
	loop = loop_new("test", &err);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, data), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ctl), 0);
	opened = closed = refused = 0;
	memset(&say, 0, sizeof(say));
	back = make_netdev();
	nic = fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, loop);
	assert_int_equal(net_connect(&nic->c, back, &err), 0);
	fake_room(nic, FAKE_ALL);
	net_start(&nic->c);
	settle(loop);
	return 0;
}

static int teardown(void **state)
{
	struct error err;

	(void)state;
	net_quiesce(&nic->c);
	assert_true(fake_balanced(back));
	assert_true(fake_balanced(&nic->c));
	assert_int_equal(netdev_del("net0", &err), 0);
	fake_free(nic);
	assert_int_equal(closed, opened);
	for (unsigned i = 0; i < 2; i++) {
		close(data[i]);
		close(ctl[i]);
	}
	loop_free(loop);
	return 0;
}

static void readable(ssize_t result)
{
	say.result = result;
	assert_int_equal(send(data[0], "x", 1, 0), 1);
	settle(loop);
}

static void lengths(void **state)
{
	(void)state;
	readable(64);
	assert_int_equal(nic->n_got, 1);
	assert_true(is_plain(nic->got[0].bytes, 64, 7));
	readable(VDE_ETHBUFSIZE);
	assert_int_equal(nic->n_got, 2);
	assert_int_equal(nic->got[1].len, VDE_ETHBUFSIZE);
	/* Nothing, the library's word for a stranger's datagram, less than a header, more than a frame. */
	readable(0);
	readable(1);
	readable(13);
	assert_int_equal(counter_get(&back->tx.dropped[NET_DROP_TOO_SHORT]), 1);
	readable(VDE_ETHBUFSIZE + 1);
	assert_int_equal(counter_get(&back->tx.dropped[NET_DROP_TOO_BIG]), 1);
	assert_int_equal(nic->n_got, 2);
	assert_int_equal(counter_get(&back->tx.in), 4);
	readable(-EAGAIN);
	readable(-EINTR);
	readable(60);
	assert_int_equal(nic->n_got, 3);
	assert_true(nic->link);
}

static void until_link(bool up)
{
	uint64_t end = clock_now(CLOCK_HOST_NS) + 60 * NSEC_PER_SEC;

	while (nic->link != up) {
		assert_true(clock_now(CLOCK_HOST_NS) < end);
		if (!loop_turn(loop))
			usleep(1000);
	}
}

/* The switch's socket fails: gone, and connected again after attempts that fail too. */
static void broken(void **state)
{
	(void)state;
	refused = 2;
	readable(-EIO);
	until_link(false);
	until_link(true);
	assert_int_equal(opened, 2);
	readable(64);
	assert_int_equal(nic->n_got, 1);
}

static unsigned send_frames(unsigned n)
{
	static uint8_t p[64];
	struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };

	make_plain(p, sizeof(p), 1);
	for (unsigned i = 0; i < n; i++)
		batch_add(&batch, p, sizeof(p), NULL);
	n = net_send(&nic->c, &batch);
	net_count_tx_in(&nic->c, n);
	return n;
}

static void errors_out(void **state)
{
	static const int full[] = { EAGAIN, ENOBUFS };
	uint64_t end;

	(void)state;
	assert_int_equal(send_frames(3), 3);
	say.send = -EIO;
	assert_int_equal(send_frames(3), 3);
	assert_int_equal(counter_get(&back->rx.dropped[NET_DROP_WIRE_REFUSED]), 3);
	say.send = 10; /* a part of it: nothing that could be sent again */
	assert_int_equal(send_frames(1), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(full); i++) {
		say.send = -full[i];
		nic->woken_for = 0;
		assert_int_equal(send_frames(3), 0);
		assert_int_equal(send_frames(3), 0);
		say.send = 0;
		end = clock_now(CLOCK_HOST_NS) + 60 * NSEC_PER_SEC;
		while (!(nic->woken_for & NET_WAKE_ROOM)) {
			assert_true(clock_now(CLOCK_HOST_NS) < end);
			loop_turn(loop);
		}
		assert_int_equal(send_frames(3), 3);
	}
	assert_int_equal(counter_get(&back->rx.out), 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(lengths), TEST(broken), TEST(errors_out) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
