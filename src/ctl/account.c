/* SPDX-License-Identifier: BSD-2-Clause */
/* Frame accounts at exit, and the state of all clients at any time. */
#include "ctl/account.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/client.h"

static const char *kind_name(enum net_kind kind)
{
	static const char *const names[] = { "netdev", "nic", "netdev", "filter" };

	return names[kind];
}

static void print_direction(const struct net_client *c, bool tx)
{
	json_t *account = net_account_json(c, tx);
	char *text = NULL;

	if (account && json_object_set_new(account, "queue", json_integer(c->queue)) == 0 &&
	    json_object_set_new(account, "kind", json_string(kind_name(c->kind))) == 0)
		text = json_dumps(account, JSON_COMPACT | JSON_PRESERVE_ORDER);

	if (text)
		fprintf(stderr, "account %s\n", text);
	free(text);
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
	json_t *o = net_describe(c);
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

	(void)arg;
	if (text)
		fprintf(stderr, "client %s\n", text);
	free(text);
	json_decref(o);
}

void accounts_show(void)
{
	net_client_each(show_client, NULL);
}

void accounts_print(void)
{
	const char *wanted = getenv("VWIRE_ACCOUNTS");

	if (wanted && *wanted == '1')
		net_client_each(print_client, NULL);
}
