/* SPDX-License-Identifier: BSD-2-Clause */
/* Frame accounts at exit, and the state of all clients and loops at any time. */
#include "ctl/account.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop/loop.h"
#include "net/client.h"

static const char *kind_name(enum net_kind kind)
{
	static const char *const names[] = { "netdev", "nic", "netdev", "filter" };

	return names[kind];
}

/* A line; the object, which may be NULL, is no longer the caller's. */
static void print(const char *what, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

	if (text)
		fprintf(stderr, "%s %s\n", what, text);
	free(text);
	json_decref(o);
}

static void print_direction(const struct net_client *c, bool tx)
{
	json_t *account = net_account_json(c, tx);

	if (account && json_object_set_new(account, "queue", json_integer(c->queue)) == 0 &&
	    json_object_set_new(account, "kind", json_string(kind_name(c->kind))) == 0)
		print("account", json_incref(account));
	json_decref(account);
}

static void print_client(struct net_client *c, void *arg)
{
	(void)arg;
	print_direction(c, true);
	print_direction(c, false);
}

static void show_client(struct net_client *c, void *arg)
{
	(void)arg;
	print("client", net_describe(c));
}

static json_int_t value(const counter *c)
{
	return (json_int_t)counter_get(c);
}

static void show_loop(const struct loop *l, void *arg)
{
	const struct loop_stats *s = loop_stats(l);

	(void)arg;
	print("loop", json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", loop_name(l), "turns",
				value(&s->turns), "events", value(&s->watches), "posts", value(&s->posts), "timers",
				value(&s->timers), "longest-turn-ns", value(&s->longest_ns), "polls-found",
				value(&s->polls_found), "polls-in-vain", value(&s->polls_vain)));
}

void accounts_show(void)
{
	net_client_each(show_client, NULL);
	loop_each(show_loop, NULL);
}

void accounts_print(void)
{
	const char *wanted = getenv("VWIRE_ACCOUNTS");

	if (wanted && *wanted == '1')
		net_client_each(print_client, NULL);
}
