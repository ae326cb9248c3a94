/* SPDX-License-Identifier: BSD-2-Clause */
/* Hubs for tests. */
#include "hubbench.h"

#include "unit.h"

static const struct netdev_type *const types[] = { &hubport_netdev, NULL };
struct loop *loop;
struct fake *station[ENDS]; /* what is joined to the ports */
struct net_client *port[ENDS];
static struct iovec arena[3 * NET_BATCH];
struct batch batch;
uint8_t frames[NET_BATCH][NET_FRAME_MAX];

int try_port(const char *options, struct error *err)
{
	struct opt_list l;
	int rc = opt_list_parse(options, "type", &l, err);

	if (rc == 0)
		rc = netdev_add_on(&l, loop, err);
	opt_list_free(&l);
	return rc;
}

void must(const char *fmt, ...)
{
	struct error err;
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (try_port(text, &err)) {
		print_error("%s: %s\n", text, err.msg);
		assert_true(false);
	}
}

void refuse(const char *options, int code, const char *says)
{
	struct error err = { "" };

	assert_int_equal(try_port(options, &err), -code);
	if (!strstr(err.msg, says)) {
		print_error("%s\nsays nothing of: %s\n", err.msg, says);
		assert_true(false);
	}
}

void add_end(unsigned i, int hub, const struct net_client_ops *ops, const char *more)
{
	char name[20];

	snprintf(name, sizeof(name), "e%u", i);
	station[i] = fake_new(name, NET_KIND_BACKEND, ops, loop);
	must("hubport,id=p%u,hubid=%d,netdev=%s%s", i, hub, name, more);
	snprintf(name, sizeof(name), "p%u", i);
	port[i] = net_client_find(name, 0);
	assert_non_null(port[i]);
}

void setup_ends(unsigned n, const char *more)
{
	for (unsigned i = 0; i < n; i++)
		add_end(i, 0, i & 1 ? &fake_lender_ops : &fake_sender_ops, more);
	settle(loop);
}

int hub_setup(void **state)
{
	struct error err;

	(void)state;
	loop = loop_new("test", &err);
	netdev_types_init(types);
	batch = (struct batch){ .iov = arena };
	return 0;
}

void check_client(struct net_client *c, void *arg)
{
	(void)arg;
	if (!net_account_balanced(&c->tx) || !net_account_balanced(&c->rx)) {
		print_error("%s: the account does not balance\n", c->name);
		assert_true(false);
	}
	if (!c->peer)
		return;
	assert_int_equal(counter_get(&c->tx.out), counter_get(&c->peer->rx.in));
}

/* What hubs got is what they gave. */
struct sums {
	uint64_t rx_out, tx_in;
};

static void sum_port(struct net_client *c, void *arg)
{
	struct sums *s = arg;

	if (c->kind != NET_KIND_PORT)
		return;
	s->rx_out += counter_get(&c->rx.out);
	s->tx_in += counter_get(&c->tx.in);
}

void check_accounts(void)
{
	struct sums s = { 0, 0 };

	net_client_each(check_client, NULL);
	net_client_each(sum_port, &s);
	assert_int_equal(s.rx_out, s.tx_in);
}

void remove_port(unsigned i)
{
	struct error err;
	char name[20];

	snprintf(name, sizeof(name), "p%u", i);
	assert_int_equal(netdev_del(name, &err), 0);
	port[i] = NULL;
}

int hub_teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ENDS; i++) {
		if (port[i])
			remove_port(i);
		if (station[i]) {
			assert_true(net_account_balanced(&station[i]->c.tx));
			fake_free(station[i]);
		}
		station[i] = NULL;
	}
	loop_free(loop);
	return 0;
}

/* ---- frames ---- */

unsigned send_batch(struct fake *f)
{
	unsigned n = net_send(&f->c, &batch);

	net_count_tx_in(&f->c, n);
	return n;
}

unsigned send_plain(struct fake *f, unsigned first, unsigned n, size_t len)
{
	batch.n = 0;
	for (unsigned i = 0; i < n; i++) {
		make_plain(frames[i], len, first + i);
		batch_add(&batch, frames[i], len, NULL);
	}
	return send_batch(f);
}

void assert_got(struct fake *f, unsigned at, unsigned first, unsigned n, size_t len)
{
	assert_true(f->n_got >= at + n);
	for (unsigned i = 0; i < n; i++)
		assert_true(f->got[at + i].len == len && is_plain(f->got[at + i].bytes, len, first + i));
}
