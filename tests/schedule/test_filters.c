/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filters that come and go in a wire whose loop runs in a thread of its own, under traffic both ways: the main thread
 * puts them in, turns them off and on, takes them out, starts and stops the wire, and looks at it. Accounts are exact
 * whenever nothing moves, and the two ends are peers again when the last filter is gone.
 */
#include "../unit/unit.h"

#include <jansson.h>
#include <unistd.h>

#include "../unit/filterbench.h"
#include "char/chardev.h"
#include "ctl/types.h"
#include "pump.h"

#define ROUNDS	 300
#define PAUSE_US 100

static struct loop *loop, *main_loop;
static struct fake *nic, *back;
static unsigned turn;

static const char *const kinds[] = {
	"filter-dump,id=f0,netdev=net0,file=/dev/null,format=pcapng",
	"filter-buffer,id=f1,netdev=net0,interval=200,position=head",
	"filter-dump,id=f2,netdev=net0,file=/dev/null,expr=tcp,queue=rx",
	"filter-impair,id=f3,netdev=net0,delay=100us,jitter=50us,loss=5,duplicate=5,reorder=5,corrupt=5,rate=1G,seed=1",
	"filter-mirror,id=f4,netdev=net0,outdev=m",
};

static struct filter *filter[ARRAY_SIZE(kinds)];

/* Traffic: on the loop. */
static void pump_frames(struct watch *w, uint32_t events)
{
	static uint8_t frame[2][9000];
	static struct iovec arena[3 * NET_BATCH];
	struct batch batch = { .iov = arena };
	struct frame_meta m = { 0 };
	struct net_window win;
	size_t len;

	(void)w;
	(void)events;
	turn++;
	fake_forget(nic);
	fake_forget(back);
	fake_room(nic, turn % 7);
	fake_room(back, turn % 5);
	if (turn % 64 == 0)
		net_takes_changed(&nic->c, turn & 64 ? NET_OFF_ALL : 0);
	if (turn % 50 == 0)
		net_set_carrier(&back->c, turn % 100 != 0);
	if (net_lend(&back->c, 60, &win) == 0) {
		memcpy(win.iov[0].iov_base, frame[1], MIN(win.iov[0].iov_len, (size_t)30));
		net_take(&back->c, 60, &m);
		net_commit(&back->c);
	}
	len = make_tcp(frame[0], turn, 8000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	batch_add(&batch, frame[0], len, &m);
	batch_add(&batch, frame[1], 60, NULL);
	net_count_tx_in(&nic->c, net_send(&nic->c, &batch));
}

/* Between two calls of the pump, which drops frames of a link that is down even while nothing flows. */
static void check_all(void *arg)
{
	(void)arg;
	check_accounts();
}

static void stop_and_check(void)
{
	net_quiesce(&nic->c);
	loop_call(loop, check_all, NULL);
	usleep(PAUSE_US);
	loop_call(loop, check_all, NULL);
	net_start(&back->c);
}

static void read_turn(void *arg)
{
	*(unsigned *)arg = turn;
}

/* The pump has its turns, however few processors there are. */
static void let_it_run(unsigned turns)
{
	unsigned begin, now;

	loop_call(loop, read_turn, &begin);
	do {
		usleep(PAUSE_US);
		loop_call(loop, read_turn, &now);
	} while (now - begin < turns);
}

static void look_at(struct net_client *c, void *arg)
{
	json_t *o = net_describe(c);

	(void)arg;
	assert_non_null(o);
	json_decref(o);
}

static void come(unsigned i)
{
	filter[i] = new_filter(kinds[i]);
}

static void go(unsigned i)
{
	creatable_del(&filter[i]->base);
	filter[i] = NULL;
}

static void change_one(unsigned round)
{
	unsigned i = round * 7 % ARRAY_SIZE(kinds);
	struct error err;

	if (!filter[i])
		come(i);
	else if (round % 3)
		assert_int_equal(filter_set_status(filter[i], round % 2, &err), 0);
	else
		go(i);
}

static void make_device(void)
{
	struct error err;
	struct opt_list l;

	assert_int_equal(opt_list_parse("file,id=m,path=/dev/null", "backend", &l, &err), 0);
	assert_int_equal(chardev_add(&l, &err), 0);
	opt_list_free(&l);
}

static void set_up(void)
{
	struct error err;

	loop = loop_new("net", &err);
	main_loop = loop_new("main", &err);
	net_set_main_loop(main_loop);
	chardev_set_main_loop(main_loop);
	make_device();
	make_wire(loop, &nic, &back);
	pump_start(loop, pump_frames);
}

static void take_down(void)
{
	fake_free(nic);
	fake_free(back);
	loop_free(loop);
	chardev_free_all();
	net_set_main_loop(NULL);
	loop_free(main_loop);
}

static void they_come_and_go(void **state)
{
	(void)state;
	set_up();
	let_it_run(100);
	for (unsigned round = 0; round < ROUNDS; round++) {
		change_one(round);
		if (round % 4 == 0)
			stop_and_check();
		if (round % 5 == 0)
			net_set_link(round & 1 ? &nic->c : &back->c, round % 3 != 0);
		net_client_each(look_at, NULL);
		while (loop_turn(main_loop))
			;
		if (round % 4 == 0)
			let_it_run(3);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (filter[i])
			go(i);
	assert_ptr_equal(nic->c.peer, &back->c);
	net_set_link(&nic->c, true);
	net_set_link(&back->c, true);
	stop_and_check();
	pump_stop();
	assert_true(counter_get(&nic->c.tx.out) > 0);
	assert_true(counter_get(&back->c.tx.out) > 0);
	take_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_come_and_go),
	};
	struct error err;

	chardev_types_init(chardev_types);
	if (types_init(all_types, &err))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
