/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filters: their places in wires, what goes through them untouched, and that the accounts are exact at both their
 * clients.
 */
#include "unit.h"

#include "fake_net.h"
#include "net/filter.h"

/* ---- two filters of our own: one that watches, one that interferes ---- */

struct watcher {
	struct filter f;
	unsigned seen[2], fates[2], dropped, unsure;
	size_t bytes;
	enum net_drop why;
	uint8_t last[NET_FRAME_MAX];
	size_t last_len;
};

static struct watcher *to_watcher(struct filter *f)
{
	return container_of(f, struct watcher, f);
}

static int watcher_open(struct filter *f, struct error *err)
{
	(void)err;
	f->wants_fate = true;
	return 0;
}

static void watcher_see(struct filter_port *p, enum filter_dir d, const struct iovec *iov, unsigned cnt, size_t len,
			const struct frame_meta *m)
{
	struct watcher *w = to_watcher(p->filter);

	(void)m;
	w->seen[d]++;
	w->bytes += len;
	w->last_len = len;
	for (unsigned i = 0, at = 0; i < cnt && at < len; i++) {
		size_t n = MIN(iov[i].iov_len, len - at);

		memcpy(w->last + at, iov[i].iov_base, n);
		at += n;
	}
}

static void watcher_fate(struct filter_port *p, enum filter_dir d, const struct filter_fate *fate)
{
	struct watcher *w = to_watcher(p->filter);

	w->fates[d]++;
	if (!fate->dropped)
		return;
	w->why = fate->why;
	if (fate->dropped == fate->of)
		w->dropped++;
	else
		w->unsure++;
}

static void watcher_class(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->open = watcher_open;
	fc->see = watcher_see;
	fc->fate = watcher_fate;
}

static const struct type type_watcher = {
	.name = "watcher",
	.parent = "netfilter",
	.desc = "watches",
	.instance_size = sizeof(struct watcher),
	.class_init = watcher_class,
};

/* Takes frames as long as its one place is free; fails to open if it is told to. */
struct holder {
	struct filter f;
	char *fault;
	uint8_t frame[2000];
	size_t len;
	enum filter_dir dir;
	unsigned started, quiesced, rooms, ports;
};

static struct holder *to_holder(struct filter *f)
{
	return container_of(f, struct holder, f);
}

static int holder_open(struct filter *f, struct error *err)
{
	struct holder *h = to_holder(f);

	return h->fault && !strcmp(h->fault, "open") ? fail(err, EIO, "told to fail") : 0;
}

static int holder_port_open(struct filter_port *p, struct error *err)
{
	struct holder *h = to_holder(p->filter);

	if (h->fault && !strcmp(h->fault, "port") && p->queue == 1)
		return fail(err, EIO, "told to fail");
	h->ports++;
	return 0;
}

static void holder_port_close(struct filter_port *p)
{
	to_holder(p->filter)->ports--;
}

static unsigned holder_send(struct filter_port *p, enum filter_dir d, struct batch *b)
{
	struct holder *h = to_holder(p->filter);
	const struct frame *f = &b->frame[0];

	if (h->len || !b->n)
		return 0;
	h->dir = d;
	for (unsigned i = 0; i < f->cnt; i++) {
		const struct iovec *v = frame_iov(b, f) + i;

		memcpy(h->frame + h->len, v->iov_base, v->iov_len);
		h->len += v->iov_len;
	}
	counter_add(&filter_in(p, d)->rx.held, 1);
	return 1;
}

static void holder_push(struct filter_port *p)
{
	struct holder *h = to_holder(p->filter);
	struct iovec iov[2] = { { NULL, 0 }, { h->frame, h->len } };
	struct batch b = { .iov = iov, .n = 1, .frame[0] = { .iov = 1, .cnt = 1, .len = (uint32_t)h->len } };

	if (!h->len || !net_send(filter_out(p, h->dir), &b))
		return;
	net_count_tx_in(filter_out(p, h->dir), 1);
	net_count_rx_out(filter_in(p, h->dir), 1, h->len);
	counter_add(&filter_in(p, h->dir)->rx.held, -(uint64_t)1);
	h->len = 0;
	net_wake_peer(filter_in(p, h->dir), NET_WAKE_ROOM);
}

static void holder_room(struct filter_port *p, enum filter_dir d)
{
	(void)d;
	to_holder(p->filter)->rooms++;
}

static void holder_start(struct filter_port *p)
{
	to_holder(p->filter)->started++;
}

static void holder_quiesce(struct filter_port *p)
{
	to_holder(p->filter)->quiesced++;
}

static void holder_class(struct class *c)
{
	struct filter_class *fc = container_of(c, struct filter_class, base.class);

	fc->open = holder_open;
	fc->port_open = holder_port_open;
	fc->port_close = holder_port_close;
	fc->send = holder_send;
	fc->room = holder_room;
	fc->start = holder_start;
	fc->quiesce = holder_quiesce;
}

static const struct opt holder_props[] = {
	OPT_F(struct holder, fault, "fault", OPT_STR, .help = "where it fails"),
	OPT_END,
};

static const struct type type_holder = {
	.name = "holder",
	.parent = "netfilter",
	.desc = "holds one frame",
	.instance_size = sizeof(struct holder),
	.class_init = holder_class,
	.props = holder_props,
};

static const struct type *const types[] = {
	&type_object, &type_user_creatable, &type_netfilter, &type_watcher, &type_holder, NULL,
};

/* ---- the bench ---- */

static struct loop *loop;
static struct fake *nic, *back;
static struct iovec arena[3 * NET_BATCH];
static struct batch batch;
static uint8_t frames[NET_BATCH][NET_FRAME_MAX + 1];

static struct filter *try_filter(const char *text, struct error *err)
{
	struct opt_list l;
	struct creatable *c;

	assert_int_equal(opt_list_parse(text, "qom-type", &l, err), 0);
	c = creatable_add(&l, err);
	opt_list_free(&l);
	return c ? to_filter(&c->obj) : NULL;
}

static struct filter *add(const char *text)
{
	struct error err = { "" };
	struct filter *f = try_filter(text, &err);

	if (!f)
		print_error("%s: %s\n", text, err.msg);
	assert_non_null(f);
	return f;
}

static void del(struct filter *f)
{
	creatable_del(&f->base);
}

static void connect_ends(void)
{
	struct error err;

	assert_int_equal(net_connect(&nic->c, &back->c, &err), 0);
	net_start(&nic->c);
	settle(loop);
	net_drained(&back->c);
	nic->wakes = back->wakes = nic->link_events = back->link_events = 0;
}

static int setup(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(types_init(types, &err), 0);
	loop = loop_new("test", &err);
	nic = fake_new("nic0", NET_KIND_NIC, &fake_lender_ops, loop);
	back = fake_new("net0", NET_KIND_BACKEND, &fake_sender_ops, loop);
	batch = (struct batch){ .iov = arena };
	return 0;
}

/* `arg`: wires were as they are from the beginning. */
static void check_client(struct net_client *c, void *arg)
{
	assert_true(net_account_balanced(&c->tx));
	assert_true(net_account_balanced(&c->rx));
	if (c->peer && arg) {
		assert_ptr_equal(c->peer->peer, c);
		assert_int_equal(counter_get(&c->tx.out), counter_get(&c->peer->rx.in));
	}
}

static void check_accounts(void)
{
	net_client_each(check_client, loop);
}

static int teardown(void **state)
{
	(void)state;
	if (nic)
		fake_free(nic);
	if (back)
		fake_free(back);
	loop_free(loop);
	nic = back = NULL;
	return 0;
}

static unsigned nic_sends(unsigned n, size_t len)
{
	unsigned sent;

	batch.n = 0;
	for (unsigned i = 0; i < n; i++) {
		make_plain(frames[i], len, i);
		batch_add(&batch, frames[i], len, NULL);
	}
	sent = net_send(&nic->c, &batch);
	net_count_tx_in(&nic->c, sent);
	return sent;
}

/* One frame by the lend way; -EAGAIN if there is no room. */
static int back_gives(size_t len, const struct frame_meta *m, unsigned seed, enum net_drop *why)
{
	static const struct frame_meta plain;
	static uint8_t p[NET_FRAME_MAX + 1];
	struct net_window w;
	int ret = net_lend(&back->c, len, &w);
	size_t at = 0, in;

	if (ret)
		return ret;
	make_plain(p, len, seed);
	in = MIN(len, w.room);
	for (unsigned i = 0; i < w.cnt && at < in; i++) {
		size_t n = MIN(w.iov[i].iov_len, in - at);

		memcpy(w.iov[i].iov_base, p + at, n);
		at += n;
	}
	if (len <= w.room)
		*why = net_take(&back->c, len, m ? m : &plain);
	else
		*why = net_take_spilled(&back->c, &w, len, p + in, m ? m : &plain);
	net_commit(&back->c);
	return 0;
}

static void assert_got(struct fake *f, unsigned i, size_t len, unsigned seed)
{
	assert_true(i < f->n_got);
	assert_int_equal(f->got[i].len, len);
	assert_true(is_plain(f->got[i].bytes, len, seed));
}

/* The filters from the netdev on, as "a b c". */
static void order(const char *expected)
{
	char text[200] = "";
	const struct net_client *c;

	for (c = back->c.peer; c && c->through; c = c->through->peer) {
		const struct filter_end *e = container_of(c, struct filter_end, c);

		assert_int_equal(e->dir, FILTER_TX);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", *text ? " " : "",
			 e->port->filter->base.id);
	}
	assert_string_equal(text, expected);
}

/* ---- places ---- */

static void places_before_connection(void **state)
{
	struct filter *f[6];

	(void)state;
	f[0] = add("watcher,id=a,netdev=net0");
	order("a");
	f[1] = add("watcher,id=b,netdev=net0");
	order("a b");
	f[2] = add("watcher,id=c,netdev=net0,position=head");
	order("c a b");
	f[3] = add("watcher,id=d,netdev=net0,position=id=a");
	order("c a d b");
	f[4] = add("watcher,id=e,netdev=net0,position=id=a,insert=before");
	order("c e a d b");
	f[5] = add("watcher,id=f,netdev=net0,position=tail,status=off");
	order("c e a d b");
	assert_null(net_far_end(&back->c));
	assert_false(back->c.started);
	connect_ends();
	assert_ptr_equal(net_far_end(&back->c), &nic->c);
	assert_ptr_equal(net_far_end(&nic->c), &back->c);
	assert_int_equal(nic_sends(3, 60), 3);
	assert_int_equal(back->n_got, 3);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(to_watcher(f[i])->seen[FILTER_RX], 3);
	assert_int_equal(to_watcher(f[5])->seen[FILTER_RX], 0);
	check_accounts();
	for (unsigned i = 0; i < 6; i++)
		del(f[i]);
	assert_ptr_equal(nic->c.peer, &back->c);
	check_accounts();
}

static void places_in_a_running_wire(void **state)
{
	struct error err;
	struct filter *a, *b, *c;

	(void)state;
	connect_ends();
	assert_ptr_equal(nic->c.peer, &back->c);
	a = add("watcher,id=a,netdev=net0,status=off");
	b = add("watcher,id=b,netdev=net0");
	c = add("watcher,id=c,netdev=net0");
	order("b c");
	assert_true(nic->c.started && back->c.started && nic->c.sends);
	assert_int_equal(filter_set_status(a, true, &err), 0);
	order("a b c");
	assert_int_equal(filter_set_status(b, false, &err), 0);
	assert_int_equal(filter_set_status(b, false, &err), 0);
	order("a c");
	assert_int_equal(nic_sends(2, 60), 2);
	assert_int_equal(filter_set_status(b, true, &err), 0);
	order("a b c");
	assert_int_equal(nic_sends(2, 60), 2);
	assert_int_equal(to_watcher(a)->seen[FILTER_RX], 4);
	assert_int_equal(to_watcher(b)->seen[FILTER_RX], 2);
	del(b);
	order("a c");
	del(c);
	del(a);
	order("");
	assert_ptr_equal(nic->c.peer, &back->c);
	assert_true(nic->c.started && nic->c.sends);
	assert_int_equal(nic->link_events + back->link_events, 0);
	assert_int_equal(nic_sends(2, 60), 2);
	assert_int_equal(back->n_got, 6);
	check_accounts();
}

/* Filters of both ends of one wire. */
static void filters_of_both_ends(void **state)
{
	struct fake *other = fake_new("net1", NET_KIND_PORT, &fake_sender_ops, loop);
	struct filter *a = add("watcher,id=a,netdev=net0"), *b = add("watcher,id=b,netdev=net1");
	struct error err;

	(void)state;
	assert_int_equal(net_connect(&other->c, &back->c, &err), 0);
	net_start(&other->c);
	assert_ptr_equal(net_far_end(&back->c), &other->c);
	assert_int_equal(net_connect(&nic->c, &back->c, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "\"net0\" is connected to \"net1\""));
	batch.n = 0;
	make_plain(frames[0], 100, 7);
	batch_add(&batch, frames[0], 100, NULL);
	assert_int_equal(net_send(&other->c, &batch), 1);
	net_count_tx_in(&other->c, 1);
	assert_got(back, 0, 100, 7);
	assert_int_equal(to_watcher(a)->seen[FILTER_RX], 1);
	assert_int_equal(to_watcher(b)->seen[FILTER_TX], 1); /* it comes from that netdev */
	check_accounts();
	del(a);
	assert_ptr_equal(net_far_end(&back->c), &other->c);
	fake_free(other);
	del(b);
}

static void refused(void **state)
{
	static const char *const rows[][2] = {
		{ "watcher,id=a", "netdev" },
		{ "watcher,id=a,netdev=net9", "netdev=net9: there is no such network backend" },
		{ "watcher,id=a,netdev=nic0", "is a device" },
		{ "watcher,id=a,netdev=net0,queue=both", "queue=both: expected all, rx or tx" },
		{ "watcher,id=a,netdev=net0,position=middle", "position=middle: expected head, tail or id=ID" },
		{ "watcher,id=a,netdev=net0,position=id=x", "there is no filter 'x' yet" },
		{ "watcher,id=a,netdev=net0,insert=after", "expected before or behind" },
		{ "watcher,id=a,netdev=net0,status=maybe", "on or off" },
		{ "watcher,id=b,netdev=net0", "taken by another object" },
		{ "watcher,id=0,netdev=net0", "an id is a letter" },
		{ "watcher,netdev=net0", "id= is missing" },
		{ "watcher,id=a2345678901234567890123456789012345678901234567890123456789,netdev=net0",
		  "at most 56 characters" },
		{ "wacher,id=a,netdev=net0", "did you mean 'watcher'?" },
		{ "netfilter,id=a,netdev=net0", "there is no such type" },
		{ "object,id=a", "there is no such type" },
		{ "holder,id=a,netdev=net0,fault=open", "told to fail" },
	};
	struct filter *b = add("watcher,id=b,netdev=net0");

	(void)state;
	connect_ends();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = { "" };

		assert_null(try_filter(rows[i][0], &err));
		if (!strstr(err.msg, rows[i][1]))
			print_error("%s: %s\n", rows[i][0], err.msg);
		assert_non_null(strstr(err.msg, rows[i][1]));
		assert_null(creatable_find("a"));
		order("b");
	}
	del(b);
}

/* ---- frames ---- */

static void straight_into_the_taker(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0"), *g = add("watcher,id=b,netdev=net0");
	enum net_drop why;
	struct net_window w;

	(void)state;
	connect_ends();
	assert_true(back->c.direct);
	assert_int_equal(net_lend(&back->c, 1000, &w), 0);
	assert_ptr_equal(w.iov[0].iov_base, nic->buf); /* the guest's own */
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(back_gives(100 + i, NULL, i, &why), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_got(nic, i, 100 + i, i);
	assert_int_equal(nic->commits, 5);
	assert_int_equal(to_watcher(f)->seen[FILTER_TX], 5);
	assert_int_equal(to_watcher(f)->fates[FILTER_TX], 5);
	assert_int_equal(to_watcher(f)->seen[FILTER_RX], 0);
	assert_int_equal(to_watcher(f)->bytes, 510);
	assert_true(is_plain(to_watcher(g)->last, 104, 4));
	check_accounts();
	/* No room: nothing is lent; then a wake comes through. */
	fake_room(nic, 0);
	assert_int_equal(back_gives(100, NULL, 1, &why), -EAGAIN);
	fake_room(nic, FAKE_ALL);
	settle(loop);
	assert_int_equal(back->wakes, 1);
	assert_int_equal(back_gives(100, NULL, 1, &why), 0);
	check_accounts();
	del(f);
	del(g);
}

/* A frame that the end refuses: dropped there, and handed on at the filter. */
static void refused_behind_it(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0");
	enum net_drop why;

	(void)state;
	connect_ends();
	nic->refuse = NET_DROP_FILTER_MAC;
	assert_int_equal(back_gives(100, NULL, 1, &why), 0);
	assert_int_equal(why, NET_DROP_FILTER_MAC);
	assert_int_equal(to_watcher(f)->dropped, 1);
	assert_int_equal(to_watcher(f)->why, NET_DROP_FILTER_MAC);
	assert_int_equal(counter_get(&nic->c.rx.dropped[NET_DROP_FILTER_MAC]), 1);
	assert_int_equal(counter_get(&filter_in(&f->port[0], FILTER_TX)->rx.out), 1);
	assert_int_equal(counter_get(&filter_out(&f->port[0], FILTER_TX)->tx.out), 1);
	nic->refuse = NET_OK;
	assert_int_equal(back_gives(100, NULL, 1, &why), 0);
	assert_int_equal(to_watcher(f)->dropped, 1);
	check_accounts();
	del(f);
}

static void longer_than_the_window(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0");
	enum net_drop why;

	(void)state;
	connect_ends();
	nic->window = 100;
	assert_int_equal(back_gives(1000, NULL, 3, &why), 0);
	assert_got(nic, 0, 1000, 3);
	assert_true(to_watcher(f)->last_len == 1000 && is_plain(to_watcher(f)->last, 1000, 3));
	check_accounts();
	/* It does not grow now: the frame is held, and comes when there is room. */
	fake_room(nic, 1);
	assert_int_equal(back_gives(1000, NULL, 4, &why), 0);
	check_accounts();
	nic->window = 0;
	fake_room(nic, FAKE_ALL);
	settle(loop);
	assert_int_equal(back_gives(1000, NULL, 5, &why), 0);
	check_accounts();
	del(f);
}

static void sent_partly(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0"), *g = add("watcher,id=b,netdev=net0,queue=tx");

	(void)state;
	connect_ends();
	assert_true(nic->c.sends);
	fake_room(back, 4);
	assert_int_equal(nic_sends(10, 100), 4);
	assert_int_equal(to_watcher(f)->seen[FILTER_RX], 4);
	check_accounts();
	settle(loop);
	assert_int_equal(nic->wakes, 0);
	fake_room(back, FAKE_ALL);
	assert_int_equal(nic->wakes, 0); /* not from within */
	settle(loop);
	assert_int_equal(nic->wakes, 1);
	assert_int_equal(nic_sends(64, 100), 64);
	assert_int_equal(to_watcher(f)->seen[FILTER_RX], 68);
	assert_int_equal(to_watcher(g)->seen[FILTER_RX], 0);
	assert_int_equal(counter_get(&filter_in(&g->port[0], FILTER_RX)->rx.out), 68);
	check_accounts();
	del(f);
	del(g);
}

/* Of a batch that lost some it is not known which; the next ones go frame by frame, and then it is. */
static void fates_of_batches(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0");
	struct watcher *w = to_watcher(f);

	(void)state;
	connect_ends();
	assert_int_equal(nic_sends(5, 60), 5);
	assert_true(w->dropped == 0 && w->unsure == 0);
	batch.n = 0;
	for (unsigned i = 0; i < 6; i++) {
		size_t len = i == 2 ? 2000 : 100;

		make_plain(frames[i], len, i);
		batch_add(&batch, frames[i], len, NULL);
	}
	back->c.max_frame = 1514; /* behind the filter's back */
	assert_int_equal(net_send(&nic->c, &batch), 6);
	net_count_tx_in(&nic->c, 6);
	assert_int_equal(w->unsure, 6);
	assert_int_equal(w->why, NET_DROP_TOO_BIG);
	assert_int_equal(net_send(&nic->c, &batch), 6);
	net_count_tx_in(&nic->c, 6);
	assert_int_equal(w->unsure, 6);
	assert_int_equal(w->dropped, 1);
	assert_int_equal(w->seen[FILTER_RX], 17);
	check_accounts();
	del(f);
}

/* ---- what is agreed on ---- */

static void offloads_go_through(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0"), *g = add("watcher,id=b,netdev=net0");
	struct frame_meta m;
	struct net_window w;
	size_t len;

	(void)state;
	connect_ends();
	assert_int_equal(back->c.gives, NET_OFF_ALL);
	assert_true(back->c.direct);
	net_takes_changed(&nic->c, NET_OFF_CSUM);
	assert_int_equal(back->c.gives, NET_OFF_CSUM);
	assert_int_equal(nic->c.peer->gives, NET_OFF_CSUM);
	assert_false(back->c.direct); /* old frames may wait */
	assert_false(nic->c.peer->direct);
	/* One of those: cut on the way, before the filters. */
	len = make_tcp(frames[0], 0, 3000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	assert_int_equal(net_lend(&back->c, len, &w), 0);
	memcpy(w.iov[0].iov_base, frames[0], len);
	assert_int_equal(net_take(&back->c, len, &m), NET_OK);
	net_commit(&back->c);
	assert_int_equal(nic->n_got, 3);
	assert_int_equal(to_watcher(f)->seen[FILTER_TX], 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(frame_needs(&nic->got[i].meta), NET_OFF_CSUM);
	net_drained(&back->c);
	assert_true(back->c.direct && nic->c.peer->direct);
	check_accounts();
	/* The other way: the backend takes nothing, the NIC may go on giving. */
	net_takes_changed(&back->c, 0);
	assert_int_equal(nic->c.peer->takes, 0);
	batch.n = 0;
	len = make_tcp(frames[0], 0, 3000, &m);
	m.gso = NET_GSO_TCP4;
	m.gso_size = 1000;
	batch_add(&batch, frames[0], len, &m);
	assert_int_equal(net_send(&nic->c, &batch), 1);
	net_count_tx_in(&nic->c, 1);
	assert_int_equal(back->n_got, 3);
	assert_int_equal(frame_needs(&back->got[0].meta), 0);
	check_accounts();
	del(f);
	del(g);
	assert_int_equal(back->c.gives, NET_OFF_CSUM);
}

static void largest_frame_goes_through(void **state)
{
	struct filter *f;

	(void)state;
	back->c.max_frame = 1514;
	f = add("watcher,id=a,netdev=net0");
	connect_ends();
	assert_int_equal(nic->c.peer->max_frame, 1514);
	assert_int_equal(nic_sends(1, 1515), 1);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_TOO_BIG]), 1);
	check_accounts();
	del(f);
}

static void links_go_through(void **state)
{
	struct filter *f = add("watcher,id=a,netdev=net0"), *g = add("holder,id=b,netdev=net0");
	enum net_drop why;

	(void)state;
	connect_ends();
	assert_true(net_link_up(&nic->c));
	net_set_link(&back->c, false);
	assert_false(nic->link);
	assert_false(net_link_up(&nic->c) || net_link_up(nic->c.peer) || net_link_up(back->c.peer));
	assert_int_equal(nic_sends(3, 60), 3);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_LINK_DOWN]), 3);
	net_set_link(&back->c, true);
	assert_true(nic->link);
	net_set_carrier(&back->c, false);
	assert_false(nic->link);
	assert_int_equal(back_gives(60, NULL, 1, &why), 0); /* drained, and dropped */
	assert_int_equal(why, NET_DROP_LINK_DOWN);
	net_set_carrier(&back->c, true);
	assert_true(nic->link);
	net_set_link(&nic->c, false);
	assert_false(net_link_up(&back->c));
	net_set_link(&nic->c, true);
	assert_true(net_link_up(&back->c));
	assert_int_equal(nic->link_events, 6);
	check_accounts();
	/* The far end goes: no link. */
	fake_free(back);
	back = NULL;
	assert_false(nic->link);
	assert_null(net_far_end(&nic->c));
	assert_int_equal(nic_sends(2, 60), 2);
	assert_int_equal(counter_get(&nic->c.tx.dropped[NET_DROP_LINK_DOWN]), 5);
	del(f);
	del(g);
	assert_null(nic->c.peer);
	assert_false(nic->link);
	check_accounts();
}

/* ---- one that interferes ---- */

static void nothing_is_lent_by_it(void **state)
{
	struct filter *f = add("holder,id=a,netdev=net0"), *g = add("watcher,id=b,netdev=net0");
	struct holder *h = to_holder(f);
	enum net_drop why;
	struct net_window w;

	(void)state;
	connect_ends();
	assert_int_equal(h->started, 1);
	assert_false(back->c.direct);
	assert_int_equal(net_lend(&back->c, 100, &w), 0);
	assert_ptr_not_equal(w.iov[0].iov_base, nic->buf);
	assert_int_equal(back_gives(100, NULL, 5, &why), 0);
	assert_int_equal(nic->n_got, 0);
	assert_int_equal(counter_get(&filter_in(&f->port[0], FILTER_TX)->rx.held), 1);
	check_accounts();
	/* A second one waits in the wire, then there is no room any more. */
	assert_int_equal(back_gives(100, NULL, 6, &why), 0);
	assert_int_equal(back_gives(100, NULL, 7, &why), -EAGAIN);
	check_accounts();
	back->wakes = 0;
	holder_push(&f->port[0]);
	settle(loop);
	assert_got(nic, 0, 100, 5);
	assert_int_equal(back->wakes, 1);
	holder_push(&f->port[0]);
	settle(loop);
	assert_got(nic, 1, 100, 6);
	assert_int_equal(to_watcher(g)->seen[FILTER_TX], 2);
	check_accounts();
	/* The way in the other direction is its own too. */
	assert_int_equal(nic_sends(3, 60), 1);
	holder_push(&f->port[0]);
	settle(loop);
	assert_got(back, 0, 60, 0);
	check_accounts();
	/* Room at the end is told to it. */
	fake_room(back, 0);
	assert_int_equal(nic_sends(1, 60), 1);
	h->rooms = 0;
	holder_push(&f->port[0]);
	assert_int_equal(h->len, 60);
	fake_room(back, FAKE_ALL);
	settle(loop);
	assert_int_equal(h->rooms, 1);
	holder_push(&f->port[0]);
	assert_int_equal(h->len, 0);
	net_quiesce(&nic->c);
	assert_int_equal(h->quiesced, 1);
	check_accounts();
	del(g);
	del(f);
}

/* It acts in one direction: the other is lent through. */
static void lent_in_the_other_direction(void **state)
{
	struct filter *f = add("holder,id=a,netdev=net0,queue=rx");
	enum net_drop why;

	(void)state;
	connect_ends();
	assert_true(back->c.direct);
	assert_int_equal(back_gives(100, NULL, 5, &why), 0);
	assert_got(nic, 0, 100, 5);
	assert_int_equal(nic_sends(2, 60), 1);
	assert_int_equal(back->n_got, 0);
	holder_push(&f->port[0]);
	assert_got(back, 0, 60, 0);
	check_accounts();
	del(f);
}

/* ---- several queues ---- */

static void several_queues(void **state)
{
	struct fake *nic1 = fake_new("nic1", NET_KIND_NIC, &fake_lender_ops, loop), *back1 = calloc(1, sizeof(*back1));
	struct filter *f;
	struct error err = { "" };

	(void)state;
	*back1 = (struct fake){ .c = { .ops = &fake_sender_ops,
				       .kind = NET_KIND_BACKEND,
				       .queue = 1,
				       .loop = loop,
				       .takes = NET_OFF_ALL,
				       .gives = NET_OFF_ALL,
				       .name = "net0" },
				.gives = NET_OFF_ALL,
				.room = FAKE_ALL };
	assert_int_equal(net_client_add(&back1->c, &err), 0);
	assert_null(try_filter("holder,id=a,netdev=net0,fault=port", &err));
	f = add("watcher,id=a,netdev=net0");
	assert_int_equal(f->n_ports, 2);
	connect_ends();
	assert_int_equal(net_connect(&nic1->c, &back1->c, &err), 0);
	net_start(&nic1->c);
	batch.n = 0;
	make_plain(frames[0], 60, 1);
	batch_add(&batch, frames[0], 60, NULL);
	assert_int_equal(net_send(&nic1->c, &batch), 1);
	net_count_tx_in(&nic1->c, 1);
	assert_got(back1, 0, 60, 1);
	assert_int_equal(nic_sends(2, 60), 2);
	assert_int_equal(to_watcher(f)->seen[FILTER_RX], 3);
	assert_int_equal(counter_get(&f->port[1].end[FILTER_RX].c.rx.in), 1);
	check_accounts();
	del(f);
	assert_ptr_equal(nic1->c.peer, &back1->c);
	fake_free(nic1);
	fake_free(back1);
}

/* ---- all go, in any order, with frames on the way ---- */

static void removed_in_any_order(void **state)
{
	static const uint8_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	enum net_drop why;

	for (unsigned i = 0; i < 6; i++) {
		struct filter *f = add("watcher,id=a,netdev=net0"), *g = add("holder,id=b,netdev=net0");

		connect_ends();
		back_gives(100, NULL, 1, &why);
		back_gives(100, NULL, 2, &why);
		for (unsigned k = 0; k < 3; k++) {
			if (orders[i][k] == 0) {
				fake_free(nic);
				nic = NULL;
			} else if (orders[i][k] == 1) {
				fake_free(back);
				back = NULL;
			} else {
				del(i & 1 ? f : g);
				del(i & 1 ? g : f);
			}
			net_client_each(check_client, NULL);
		}
		teardown(state);
		setup(state);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(places_before_connection),
		TEST(places_in_a_running_wire),
		TEST(filters_of_both_ends),
		TEST(refused),
		TEST(straight_into_the_taker),
		TEST(refused_behind_it),
		TEST(longer_than_the_window),
		TEST(sent_partly),
		TEST(fates_of_batches),
		TEST(offloads_go_through),
		TEST(largest_frame_goes_through),
		TEST(links_go_through),
		TEST(nothing_is_lent_by_it),
		TEST(lent_in_the_other_direction),
		TEST(several_queues),
		TEST(removed_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
