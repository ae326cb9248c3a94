/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters for tests; see filterbench.h. */
#include "filterbench.h"

#include "unit.h"

void make_wire(struct loop *loop, struct fake **nic, struct fake **back)
{
	struct error err;

	*nic = fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, loop);
	*back = fake_new("net0", NET_KIND_BACKEND, &fake_sender_ops, loop);
	assert_int_equal(net_connect(&(*nic)->c, &(*back)->c, &err), 0);
	net_start(&(*nic)->c);
	settle(loop);
	net_drained(&(*back)->c);
}

struct filter *try_filter(const char *options, struct error *err)
{
	struct opt_list l;
	struct creatable *c;

	assert_int_equal(opt_list_parse(options, "qom-type", &l, err), 0);
	c = creatable_add(&l, err);
	opt_list_free(&l);
	return c ? to_filter(&c->obj) : NULL;
}

struct filter *new_filter(const char *options)
{
	struct error err = { "" };
	struct filter *f = try_filter(options, &err);

	if (!f)
		print_error("%s: %s\n", options, err.msg);
	assert_non_null(f);
	return f;
}

static void check_client(struct net_client *c, void *arg)
{
	(void)arg;
	assert_true(fake_balanced(c));
}

void check_accounts(void)
{
	net_client_each(check_client, NULL);
}
