/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hubs whose loop runs in a thread of its own, under traffic from every port, while the main thread adds and removes
 * ports, sets links, stops and starts wires and asks for descriptions. Under the thread sanitizer this shows who
 * touches what; without it, that accounts are exact whenever all is quiet.
 */
#include "../unit/unit.h"

#include <jansson.h>
#include <unistd.h>

#include "../fake_net.h"
#include "pump.h"
#include "net/frameq.h"
#include "net/hub.h"

#define ROUNDS	 300
#define PAUSE_US 100
#define ENDS	 5

static const struct netdev_type *const types[] = { &hubport_netdev, NULL };
static struct loop *loop;
static struct fake *station[ENDS];
static unsigned turn;
static bool learning;

/* Traffic: on the loop. */
static void pump_frames(struct watch *w, uint32_t events)
{
	static uint8_t frame[2][9000];
	static struct iovec arena[3 * NET_BATCH];
	struct frame_meta m;

	(void)w;
	(void)events;
	turn++;
	for (unsigned i = 0; i < ENDS; i++) {
		struct batch batch = { .iov = arena };
		size_t len = make_tcp(frame[0], turn, 8000, &m);

		fake_forget(station[i]);
		fake_room(station[i], (turn + i) % 7 * ((turn + i) % 2));
		if (turn % 64 == 0)
			net_takes_changed(&station[i]->c, (turn / 64 + i) & 1 ? NET_OFF_ALL : 0);
		m.gso = NET_GSO_TCP4;
		m.gso_size = 1000;
		frame[0][5] = (uint8_t)((turn + i) % ENDS);
		frame[0][11] = (uint8_t)(turn % 97 ? i : 0); /* now and then somebody else's address */
		batch_add(&batch, frame[0], len, &m);
		make_plain(frame[1], 60, turn);
		batch_add(&batch, frame[1], 60, NULL);
		net_count_tx_in(&station[i]->c, net_send(&station[i]->c, &batch));
	}
}

static void add_port(unsigned i)
{
	struct error err = { "" };
	struct opt_list l;
	char text[200];

	snprintf(text, sizeof(text), "hubport,id=p%u,hubid=%u,netdev=e%u,queue=128K%s", i, i == 4, i,
		 !learning ? "" :
		 i == 4	   ? ",vlan-mode=trunk" :
			     ",learning=on,vlan-mode=trunk");
	assert_int_equal(opt_list_parse(text, "type", &l, &err), 0);
	if (netdev_add_on(&l, loop, &err)) {
		print_error("%s: %s\n", text, err.msg);
		assert_true(false);
	}
	opt_list_free(&l);
}

static void remove_port(unsigned i)
{
	struct error err;
	char name[8];

	snprintf(name, sizeof(name), "p%u", i);
	assert_int_equal(netdev_del(name, &err), 0);
}

static void look(struct net_client *c, void *arg)
{
	json_t *o = net_describe(c);

	(void)arg;
	assert_non_null(o);
	json_decref(o);
}

static void quiesce_one(struct net_client *c, void *arg)
{
	(void)arg;
	net_quiesce(c);
}

static void start_one(struct net_client *c, void *arg)
{
	(void)arg;
	net_start(c);
}

static void check_one(struct net_client *c, void *arg)
{
	(void)arg;
	assert_true(fake_balanced(c)); /* what crossed is not compared: a port that comes anew counts from zero */
}

static void stop_and_check(void)
{
	net_client_each(quiesce_one, NULL);
	net_client_each(check_one, NULL);
	net_client_each(start_one, NULL);
}

static void everything_at_once(void **state)
{
	struct error err;

	learning = *state != NULL;
	netdev_types_init(types);
	loop = loop_new("net", &err);
	for (unsigned i = 0; i < ENDS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "e%u", i);
		station[i] = fake_new(name, NET_KIND_BACKEND, i & 1 ? &fake_lender_ops : &fake_sender_ops, loop);
		add_port(i);
	}
	pump_start(loop, pump_frames);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned k = i % ENDS;

		if (i % 4 == 0)
			stop_and_check();
		net_set_link(&station[k]->c, i & 8);
		net_client_each(look, NULL);
		if (i % 8 == 3) {
			remove_port(k);
			usleep(PAUSE_US);
			add_port(k);
		}
		usleep(i % 3 ? 0 : PAUSE_US);
	}
	pump_stop();
	stop_and_check();
	for (unsigned i = 0; i < ENDS; i++) {
		assert_true(counter_get(&station[i]->c.tx.in) > 0);
		remove_port(i);
		assert_true(net_account_balanced(&station[i]->c.tx));
		fake_free(station[i]);
	}
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_at_once),
		cmocka_unit_test_prestate(everything_at_once, "a switch"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
