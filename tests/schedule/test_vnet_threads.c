/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-net with two pairs of queues whose loops run in threads of their own, under traffic both ways, while the driver
 * turns the second pair off and on, changes filters and steering, resets queues and breaks the device, and while that is
 * held quiet and reset. Under the thread sanitizer this shows who touches what; without it, that accounts are exact
 * whenever the device stands still, and that each command is answered once. Once with loops that sleep and once with loops
 * that poll.
 */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "../device/mqbench.h"
#include "loop/priv.h"

#define FRAME 60

static uint64_t room[2][64]; /* buffers of each pair, used in turn */
static uint64_t orders, acks;
static unsigned n_steered; /* commands */

/* ---- frames from both queues of the netdev ---- */

struct source {
	struct watch watch;
	struct net_client *c;
	struct loop *loop;
	int fd[2];
};

static struct source source[2];

static void give(struct watch *w, uint32_t events)
{
	struct net_client *c = container_of(w, struct source, watch)->c;
	struct frame_meta m = { 0 };
	struct net_window win;
	uint8_t frame[FRAME];

	(void)events;
	make_frame(frame, sizeof(frame), 1);
	if (net_lend(c, sizeof(frame), &win) || win.iov[0].iov_len < sizeof(frame))
		return;
	memcpy(win.iov[0].iov_base, frame, sizeof(frame));
	net_take(c, sizeof(frame), &m);
	net_commit(c);
}

static void join(void *arg)
{
	struct source *s = arg;

	watch_init(&s->watch, "source", s->fd[0], give);
	assert_int_equal(watch_add(s->loop, &s->watch, EPOLLIN), 0);
}

static void leave(void *arg)
{
	watch_del(&((struct source *)arg)->watch);
}

static void start_source(struct source *s, struct net_client *c, struct loop *l)
{
	struct error err;

	s->c = c;
	s->loop = l;
	assert_int_equal(pipe(s->fd), 0);
	assert_int_equal(write(s->fd[1], "x", 1), 1); /* readable for ever */
	assert_int_equal(loop_start_thread(l, &err), 0);
	loop_call(l, join, s);
}

static void stop_source(struct source *s)
{
	loop_call(s->loop, leave, s);
	close(s->fd[0]);
	close(s->fd[1]);
}

/* ---- the driver ---- */

static void open_bench(const char *poll)
{
	const char *const props[] = { "mq=on", "rss=on", poll, NULL };

	open_mqbench(props);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(room[0]); i++)
		room[i & 1][i / 2] = buf(&b, 1600);
	orders = buf(&b, HDR + FRAME);
	memset(at(&b, orders), 0, HDR + FRAME);
	acks = buf(&b, 1);
}

static void start_anew(void)
{
	assert_true(negotiate(&b, offered(&b)));
	place_queues(&b);
	virtio_set_status(b.v, virtio_get_status(b.v) | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_false(virtio_get_status(b.v) & VIRTIO_STATUS_NEEDS_RESET);
}

static void post_one(unsigned queue, unsigned i)
{
	unsigned pair = queue / 2;
	struct seg s = { room[pair][i % ARRAY_SIZE(room[0])], queue & 1 ? HDR + FRAME : 1600, !(queue & 1) };

	if (!b.q[queue].n_free)
		return;
	if (queue & 1)
		s.gpa = orders; /* what is sent does not matter: zeros */
	chain(&b.q[queue], &s, 1);
	kick(&b.q[queue]);
}

static void reap_all(unsigned queue)
{
	while (reap(&b.q[queue], NULL, NULL))
		;
}

/* On all queues but one. */
static void traffic_but(unsigned round, unsigned but)
{
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned queue = RXQ; queue <= TXQ1; queue++)
			if (queue != but)
				post_one(queue, 4 * round + i);
	}
	for (unsigned queue = RXQ; queue <= TXQ1; queue++)
		if (queue != but)
			reap_all(queue);
}

static void traffic(unsigned round)
{
	traffic_but(round, UINT_MAX);
}

static void post_order(uint8_t class, uint8_t what, uint16_t data, unsigned len)
{
	struct seg s[2] = { { buf(&b, 4), 2 + len, false }, { acks, 1, true } };
	uint8_t bytes[4] = { class, what, (uint8_t)data, (uint8_t)(data >> 8) };

	memcpy(at(&b, s[0].gpa), bytes, 2 + len);
	chain(&b.q[MQCTRL], s, 2);
	kick(&b.q[MQCTRL]);
}

/* All frames go to one pair, whichever they come to. */
static void steer(uint16_t pair)
{
	uint8_t bytes[2 + 16] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_RSS_CONFIG };
	struct seg s[2] = { { buf(&b, sizeof(bytes)), sizeof(bytes), false }, { acks, 1, true } };

	bytes[8] = (uint8_t)pair; /* unclassified, and no types: mask and table are 0 */
	bytes[12] = 2;		  /* pairs that it sends by */
	memcpy(at(&b, s[0].gpa), bytes, 15);
	s[0].len = 15;
	chain(&b.q[MQCTRL], s, 2);
	kick(&b.q[MQCTRL]);
}

/* The VM's clock goes on: who changes pairs often waits for it. */
static void await_answer(void)
{
	for (unsigned i = 0; !reap(&b.q[MQCTRL], NULL, NULL); i++) {
		assert_true(i < 1000000);
		vm_clock_step(clock_now(CLOCK_VM_NS) + NSEC_PER_MSEC);
		usleep(20);
	}
	assert_false(reap(&b.q[MQCTRL], NULL, NULL));
}

static void look(void *arg)
{
	struct net_client *c = arg;

	assert_true(net_account_balanced(&c->tx) && net_account_balanced(&c->rx));
}

static void check_accounts(void)
{
	loop_call(b.loop, look, &b.n->pair[0].client);
	loop_call(loop1, look, &b.n->pair[1].client);
	loop_call(loop1, look, &second.c);
}

static void restart(void)
{
	start_anew();
	check_accounts();
}

/* What the driver asks for in its round i. The answer may still be under way at the end of it. */
static void ask(unsigned i)
{
	bool wait = i % 30 != 27;

	if (i % 3 == 0) {
		post_order(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint16_t)(1 + i % 2), 2);
		traffic(i);
		if (wait)
			await_answer();
	} else if (i % 3 == 1) {
		post_order(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, i & 4, 1);
		await_answer();
	}
	if (i % 7 == 3 && wait) {
		steer(i & 1);
		traffic(i);
		await_answer();
		n_steered += *(uint8_t *)at(&b, acks) == VIRTIO_NET_OK;
	}
}

/* What befalls the device in it. */
static void disturb(unsigned i)
{
	if (i % 11 == 6) { /* frames of the other pair may be on their way to it */
		virtio_queue_reset(b.v, i % 4);
		traffic_but(i, i % 4);
		place_queue(&b, i % 4);
	}
	if (i % 30 == 14) { /* one loop breaks the device, the other one is in the middle of something */
		post_nonsense(&b.q[i / 30 % 4]);
		kick(&b.q[i / 30 % 4]);
		traffic_but(i, i / 30 % 4);
		restart();
	}
	if (i % 10 == 5) {
		virtio_quiesce(b.v);
		check_accounts();
		virtio_resume(b.v);
	}
	if (i % 30 == 27) { /* a command may be under way */
		restart();
		b.next_buf = RAM2_GPA + 512 * KIB;
	}
}

static void take_down(void)
{
	device_del(&b.v->dev);
	net_client_remove(&b.wire);
	net_client_remove(&second.c);
	loop_free(b.loop);
	loop_free(loop1);
	forget_sunk(&b);
	free(b.sunk);
	free(b.named);
	ram_destroy(&b.ram);
}

static void everything_at_once(const char *poll, unsigned rounds)
{
	n_steered = 0;
	open_bench(poll);
	start_source(&source[0], &b.wire, b.loop);
	start_source(&source[1], &second.c, loop1);
	start_anew();
	for (unsigned i = 0; i < rounds; i++) {
		traffic(i);
		ask(i);
		disturb(i);
	}
	virtio_reset(b.v);
	check_accounts();
	stop_source(&source[0]);
	stop_source(&source[1]);
	assert_true(counter_get(&b.n->pair[0].client.tx.out) > 100 && counter_get(&b.n->pair[1].client.tx.out) > 100);
	assert_true(counter_get(&b.n->pair[1].client.rx.out) > 100);
	assert_true(n_steered > rounds / 12);
	assert_true(list_empty(&b.loop->poll.pollers) && list_empty(&loop1->poll.pollers));
	take_down();
}

static void loops_that_sleep(void **state)
{
	(void)state;
	everything_at_once(NULL, 600);
}

static void loops_that_poll(void **state)
{
	(void)state;
	everything_at_once("poll-us=100", 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_that_sleep),
		cmocka_unit_test(loops_that_poll),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
