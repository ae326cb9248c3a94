/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A wire whose loop runs in a thread of its own, under traffic both ways, while the main thread starts and stops it,
 * sets links, takes it apart and looks at it. Under the thread sanitizer this shows who touches what; without it, that
 * accounts are exact at every quiesce and that nothing moves then.
 */
#include "../unit/unit.h"

#include <jansson.h>
#include <unistd.h>

#include "../fake_net.h"
#include "pump.h"

#define ROUNDS	 400
#define PAUSE_US 100

static struct loop *loop, *main_loop;
static struct fake *nic, *back;
static unsigned turn;

/* Traffic: on the loop. */
static void pump_frames(struct watch *w, uint32_t events)
{
	static uint8_t frame[2][9000];
	static struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	struct net_window win;
	struct frame_meta m;
	size_t len;

	(void)w;
	(void)events;
	turn++;
	fake_forget(nic);
	fake_forget(back);
	fake_room(nic, turn % 7);
	fake_room(back, turn % 5);
	if (turn % 64 == 0) {
		net_takes_changed(&nic->c, turn & 64 ? NET_OFF_ALL : 0);
		net_takes_changed(&back->c, turn & 64 ? 0 : NET_OFF_ALL);
	}
	if (turn % 50 == 0)
		net_set_carrier(&back->c, turn % 100 != 0);
	len = make_tcp(frame[0], turn, 8000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	batch_add(&batch, frame[0], len, &m);
	batch_add(&batch, frame[1], 60, NULL);
	net_count_tx_in(&nic->c, net_send(&nic->c, &batch));
	m = (struct frame_meta){ 0 };
	if (net_lend(&back->c, 60, &win) == 0) {
		memcpy(win.iov[0].iov_base, frame[0], MIN(win.iov[0].iov_len, (size_t)30));
		net_take(&back->c, 60, &m);
		net_commit(&back->c);
	}
}

static void look(void)
{
	json_t *o = net_describe(&nic->c);

	assert_non_null(o);
	json_decref(o);
	o = net_account_json(&back->c, false);
	assert_non_null(o);
	json_decref(o);
}

static void read_totals(void *arg)
{
	uint64_t *sum = arg;

	sum[0] = counter_get(&nic->c.tx.out);
	sum[1] = counter_get(&back->c.tx.out);
}

static void stop_and_check(void)
{
	uint64_t before[2], after[2];

	net_quiesce(&nic->c);
	loop_call(loop, read_totals, before);
	assert_true(fake_balanced(&nic->c));
	assert_true(fake_balanced(&back->c));
	usleep(PAUSE_US);
	loop_call(loop, read_totals, after);
	assert_memory_equal(before, after, sizeof(before));
	net_start(&back->c);
}

static void take_apart(void)
{
	struct error err;

	net_disconnect(&nic->c);
	usleep(PAUSE_US);
	assert_int_equal(net_connect(&back->c, &nic->c, &err), 0);
	net_start(&nic->c);
}

static void everything_at_once(void **state)
{
	struct error err;

	(void)state;
	loop = loop_new("net", &err);
	main_loop = loop_new("main", &err);
	net_set_main_loop(main_loop);
	nic = fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, loop);
	back = fake_new("net0", NET_KIND_BACKEND, &fake_sender_ops, loop);
	assert_int_equal(net_connect(&nic->c, &back->c, &err), 0);
	net_start(&nic->c);
	pump_start(loop, pump_frames);
	for (unsigned i = 0; i < ROUNDS; i++) {
		stop_and_check();
		net_set_link(i & 1 ? &nic->c : &back->c, i & 2);
		look();
		if (i % 16 == 0)
			take_apart();
		loop_turn(main_loop);
		usleep(i % 4 ? 0 : PAUSE_US);
	}
	pump_stop();
	assert_true(counter_get(&nic->c.tx.out) > 0);
	assert_true(counter_get(&back->c.tx.out) > 0);
	fake_free(nic);
	fake_free(back);
	loop_free(loop);
	net_set_main_loop(NULL);
	loop_free(main_loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
