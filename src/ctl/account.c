/* SPDX-License-Identifier: BSD-2-Clause */
/* Frame accounts at exit. */
#include "ctl/account.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/client.h"

static void print_direction(const struct net_client *c, bool tx)
{
	json_t *account = net_account_json(c, tx);
	char *text = NULL;

	if (account && json_object_set_new(account, "queue", json_integer(c->queue)) == 0 &&
	    json_object_set_new(account, "kind", json_string(c->kind == NET_KIND_NIC ? "nic" : "netdev")) == 0)
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

void accounts_print(void)
{
	const char *wanted = getenv("VWIRE_ACCOUNTS");

	if (wanted && *wanted == '1')
		net_client_each(print_client, NULL);
}
