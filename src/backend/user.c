/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * -netdev user: the host's network by NAT, through libslirp in vwire-user.
 *
 * Who does what: user_opts.c and user_rules.c resolve the options; user_helper.c starts and configures a vwire-user;
 * user_data.c moves frames; here is the client, and what happens when vwire-user dies: its frames are accounted for,
 * the link goes down, another one is started after a while (100 ms, doubled each time; after RETRIES in a row, once a
 * minute), it gets the same configuration, the link goes up. Threads: all of that is main's; the data path is the
 * loop's and is called into by loop_call().
 *
 * One that lives and does nothing, while frames wait for it (user_progress.c): if somebody stopped it the link is down
 * until it goes on, and that is all, for it is not its own fault. Else it may be no more than starved, and its guest's
 * connections are worth waiting for; but after HUNG_TICKS it is ended.
 */
#include "backend/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "backend/user_command.h"
#include "backend/user_data.h"
#include "backend/user_guestdev.h"
#include "backend/user_helper.h"
#include "backend/user_resolv.h"
#include "base/log.h"

#define RETRIES	     5
#define FIRST_DELAY  (100 * NSEC_PER_MSEC)
#define LAST_DELAY   (60 * NSEC_PER_SEC)
#define STEADY	     (60 * NSEC_PER_SEC) /* who lived so long starts the count anew */
#define CONFIG_LIMIT (10 * NSEC_PER_SEC) /* for one that is being configured */
#ifndef HUNG_TICKS			 /* a test has less time */
#define HUNG_TICKS 100
#endif

struct user {
	struct net_client c;
	struct user_net net;
	struct loop *main;
	struct user_helper helper;
	struct user_data data;
	struct user_commands commands;
	struct user_guestdev guestdev[USER_GUESTFWD_MAX]; /* of rules that are no command */
	struct resolv_watch resolv;
	struct post broken, slow;
	bool held_down;	    /* the link, because vwire-user is stopped; the loop's */
	struct timer retry; /* start another; or this one is too slow to start */
	unsigned failures;  /* in a row */
	uint64_t ready_at;  /* ns */
	counter restarts;
};

static struct user *to_user(struct net_client *c)
{
	return container_of(c, struct user, c);
}

/* ---- death and what follows; main ---- */

static void detach(void *arg)
{
	struct user *u = arg;

	user_data_detach(&u->data);
	u->held_down = false;
	net_set_carrier(&u->c, false);
}

static void attach(void *arg)
{
	struct user *u = arg;
	struct user_data_memory m = {
		.shm = u->helper.shm,
		.to_user = u->helper.to_user,
		.to_vwire = u->helper.to_vwire,
		.wake_user = u->helper.wake_user,
		.wake_vwire = u->helper.wake_vwire,
	};

	user_data_attach(&u->data, &m);
	net_set_carrier(&u->c, true);
}

static uint64_t next_delay(struct user *u)
{
	uint64_t now = clock_now(CLOCK_HOST_NS);

	if (u->ready_at && now - u->ready_at > STEADY)
		u->failures = 0;
	u->ready_at = 0;
	return u->failures++ < RETRIES ? (uint64_t)FIRST_DELAY << (u->failures - 1) : (uint64_t)LAST_DELAY;
}

static void arm(struct user *u, uint64_t delay)
{
	if (timer_arm(&u->retry, clock_now(CLOCK_HOST_NS) + delay))
		log_err("user network %s: no memory for a timer; it stays down", u->c.name);
}

static void try_later(struct user *u, const char *why)
{
	uint64_t delay = next_delay(u);

	log_warn("user network %s: %s; the link is down, next attempt in %u ms", u->c.name, why,
		 (unsigned)(delay / NSEC_PER_MSEC));
	arm(u, delay);
}

static void bury(struct user *u, const char *why)
{
	char how[64] = "", text[sizeof(u->helper.error.msg) + 80];

	user_helper_end(&u->helper, how, sizeof(how));
	loop_call(u->c.loop, detach, u);
	user_helper_unmap(&u->helper);
	snprintf(text, sizeof(text), "%s (%s)", why, how);
	try_later(u, text);
}

static void on_event(struct user_helper *h, enum user_event e)
{
	struct user *u = container_of(h, struct user, helper);

	if (e == USER_EVENT_DEAD) {
		bury(u, h->error.msg);
		return;
	}
	timer_cancel(&u->retry);
	u->ready_at = clock_now(CLOCK_HOST_NS);
	counter_add(&u->restarts, 1);
	log_info("user network %s: vwire-user runs again; the link is up", u->c.name);
	loop_call(u->c.loop, attach, u);
}

static void on_retry(struct timer *t)
{
	struct user *u = container_of(t, struct user, retry);
	struct error err;

	if (u->helper.ctl >= 0) {
		bury(u, "vwire-user does not get ready");
		return;
	}
	if (user_helper_start(&u->helper, &err))
		try_later(u, err.msg);
	else
		arm(u, CONFIG_LIMIT);
}

static void on_broken_post(struct post *p)
{
	struct user *u = container_of(p, struct user, broken);

	if (u->helper.ready)
		bury(u, "vwire-user broke the rules of the shared memory");
}

/* On the loop: main has to act. */
static void on_broken(struct user_data *d)
{
	struct user *u = container_of(d, struct user, data);

	loop_post(u->main, &u->broken);
}

/* ---- one that does nothing ---- */

static void hold_down(void *arg)
{
	struct user *u = arg;

	if (!u->data.progress.suspected)
		return; /* it goes on already */
	user_progress_excuse(&u->data.progress);
	if (u->held_down)
		return;
	log_warn("user network %s: vwire-user is stopped; the link is down until it continues", u->c.name);
	u->held_down = true;
	net_set_carrier(&u->c, false);
}

static void on_slow_post(struct post *p)
{
	struct user *u = container_of(p, struct user, slow);
	unsigned idle = atomic_load_explicit(&u->data.progress.idle, memory_order_relaxed);

	if (!u->helper.ready || idle < USER_SUSPECT_TICKS)
		return;
	if (user_child_stopped(&u->helper.child))
		loop_call(u->c.loop, hold_down, u);
	else if (idle >= HUNG_TICKS)
		bury(u, "vwire-user does nothing although frames wait for it");
}

/* On the loop: whether it was stopped is main's to find out, whose child it is. */
static void on_suspect(struct user_data *d)
{
	struct user *u = container_of(d, struct user, data);

	loop_post(u->main, &u->slow);
}

static void on_goes_on(struct user_data *d)
{
	struct user *u = container_of(d, struct user, data);

	if (!u->held_down)
		return;
	log_info("user network %s: vwire-user continues; the link is up", u->c.name);
	u->held_down = false;
	net_set_carrier(&u->c, true);
}

/* ---- connections of guestfwd, and resolv.conf ---- */

static void on_spawn(struct user_helper *h, unsigned index, int fd)
{
	struct user *u = container_of(h, struct user, helper);

	const char *command = u->net.guestfwd[index].command;

	if (command)
		user_commands_run(&u->commands, command, fd);
	else
		user_guestdev_connect(&u->guestdev[index], fd);
}

static int open_guestdevs(struct user *u, struct error *err)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < u->net.n_guestfwd; i++) {
		if (!u->net.guestfwd[i].command)
			rc = user_guestdev_open(&u->guestdev[i], u->net.guestfwd[i].target, u->main, err);
	}
	return rc;
}

static void on_resolv(struct resolv_watch *r)
{
	user_helper_resolv(&container_of(r, struct user, resolv)->helper);
}

/* ---- client ---- */

static unsigned user_send(struct net_client *c, struct batch *b)
{
	return user_data_send(&to_user(c)->data, b);
}

static void user_wake(struct net_client *c, unsigned what)
{
	user_data_wake(&to_user(c)->data, what);
}

static void user_start(struct net_client *c)
{
	user_data_start(&to_user(c)->data);
}

static void user_quiesce(struct net_client *c)
{
	user_data_quiesce(&to_user(c)->data);
}

static json_t *layers_json(uint32_t layers)
{
	static const char *const names[] = {
#define X(sym, name) name,
		USER_LAYERS(X)
#undef X
	};
	json_t *list = json_array();

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (layers & 1U << i)
			json_array_append_new(list, json_string(names[i]));
	}
	return list;
}

static json_t *forwards_json(const struct user_net *n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n->n_fwd; i++) {
		const struct user_fwd_rule *r = &n->fwd[i];

		json_array_append_new(list, r->picked ? json_sprintf("%s (port %u)", r->text, r->picked) :
							json_string(r->text));
	}
	return list;
}

static json_t *checks_json(const struct user_stats *s)
{
	static const char *const names[] = { NULL,
#define X(sym, name, meaning) name,
					     USER_CHECKS(X)
#undef X
	};
	json_t *o = json_object();

	for (unsigned i = 1; i < USER_CHECK_COUNT; i++) {
		uint64_t n = atomic_load_explicit((_Atomic uint64_t *)&s->check[i], memory_order_relaxed);

		if (n)
			json_object_set_new(o, names[i], json_integer((json_int_t)n));
	}
	return o;
}

/* Main thread: the shared memory is there as long as the helper is. */
static json_t *user_describe(struct net_client *c)
{
	struct user *u = to_user(c);
	const struct user_stats *s = u->helper.shm ? &u->helper.shm->stats : NULL;
	json_t *o = json_pack("{s:i, s:b, s:I, s:o, s:o}", "helper", (int)u->helper.child.pid, "ready", u->helper.ready,
			      "restarts", (json_int_t)counter_get(&u->restarts), "layers",
			      layers_json(u->helper.layers), "hostfwd", forwards_json(&u->net));

	if (o && s) {
		json_object_set_new(o, "prefilter", checks_json(s));
		json_object_set_new(o, "sockets",
				    json_integer((json_int_t)atomic_load((_Atomic uint64_t *)&s->sockets)));
	}
	return o;
}

static void user_info(struct net_client *c, char *buf, size_t size)
{
	struct user *u = to_user(c);
	struct in_addr net = { u->net.config.net };
	char text[INET_ADDRSTRLEN];

	snprintf(buf, size, "net=%s,restrict=%s", inet_ntop(AF_INET, &net, text, sizeof(text)),
		 u->net.config.restricted ? "on" : "off");
}

static void detach_only(void *arg)
{
	user_data_detach(arg);
}

static void user_free(struct user *u)
{
	timer_cancel(&u->retry);
	resolv_watch_stop(&u->resolv);
	/* First its end: what it still put into the ring would be counted as long as it goes on. */
	user_helper_end(&u->helper, NULL, 0);
	loop_call(u->c.loop, detach_only, &u->data);
	loop_unpost(u->main, &u->broken);
	loop_unpost(u->main, &u->slow);
	user_helper_unmap(&u->helper);
	user_commands_end(&u->commands);
	for (unsigned i = 0; i < USER_GUESTFWD_MAX; i++)
		user_guestdev_close(&u->guestdev[i]);
	user_net_free(&u->net);
	free(u);
}

static void user_destroy(struct net_client *c)
{
	user_free(to_user(c));
}

static const struct net_client_ops user_ops = {
	.type = "user",
	.send = user_send,
	.wake = user_wake,
	.start = user_start,
	.quiesce = user_quiesce,
	.describe = user_describe,
	.info = user_info,
	.destroy = user_destroy,
};

/* ---- forwards while it runs ---- */

static int ask_fwd(struct user *u, uint32_t type, const struct user_fwd *f, const char *rule, struct error *err)
{
	struct user_msg m = { .type = type, .fwd = *f };
	int rc = user_helper_ask(&u->helper, &m, err);

	return rc && type == USER_FWD_ADD && rc != -EAGAIN ? user_fwd_error(rule, f, -rc, err) : rc;
}

int user_hostfwd_add(struct net_client *c, const char *rule, struct error *err)
{
	struct user *u = to_user(c);
	struct user_fwd f;
	int rc;

	if (c->ops != &user_ops)
		return fail(err, ENOTSUP, "%s is no user network", c->name);
	rc = user_fwd_parse(rule, false, &f, err)	  ?:
		     user_net_check_fwd(&u->net, &f, err) ?:
							    user_net_add_fwd(&u->net, rule, &f, err);
	if (rc) {
		error_prefix(err, "hostfwd=%.127s: ", rule);
		return rc;
	}
	rc = ask_fwd(u, USER_FWD_ADD, &f, rule, err);
	if (!rc)
		user_helper_picked(&u->helper, &u->net.fwd[u->net.n_fwd - 1]);
	else
		u->net.n_fwd--; /* the one that was just added */
	return rc;
}

int user_hostfwd_remove(struct net_client *c, const char *rule, struct error *err)
{
	struct user *u = to_user(c);
	struct user_fwd f;
	int rc;

	if (c->ops != &user_ops)
		return fail(err, ENOTSUP, "%s is no user network", c->name);
	rc = user_fwd_parse(rule, true, &f, err)	?:
		     user_net_del_fwd(&u->net, &f, err) ?:
							  ask_fwd(u, USER_FWD_DEL, &f, rule, err);
	if (rc)
		error_prefix(err, "hostfwd=%.127s: ", rule);
	return rc;
}

/* ---- creation ---- */

static void init_client(struct user *u, const char *id, struct loop *loop)
{
	struct net_client *c = &u->c;

	c->ops = &user_ops;
	c->kind = NET_KIND_BACKEND;
	snprintf(c->name, sizeof(c->name), "%s", id);
	c->loop = loop;
	c->takes = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6 | NET_OFF_ECN | NET_OFF_UFO;
	c->gives = NET_OFF_CSUM | NET_OFF_TSO4 | NET_OFF_TSO6;
	c->max_frame = RING_FRAME_MAX;
}

static void init_parts(struct user *u)
{
	u->main = net_main_loop() ? net_main_loop() : u->c.loop;
	user_helper_init(&u->helper, &u->net, u->main);
	u->helper.event = on_event;
	u->helper.spawn = on_spawn;
	user_data_init(&u->data, &u->c);
	u->data.broken = on_broken;
	u->data.suspect = on_suspect;
	u->data.goes_on = on_goes_on;
	u->commands.loop = u->main;
	post_init(&u->broken, on_broken_post);
	post_init(&u->slow, on_slow_post);
	timer_init(&u->retry, u->main, CLOCK_HOST_NS, on_retry);
	resolv_watch_start(&u->resolv, u->main, on_resolv);
}

static void log_layers(const struct user *u)
{
	json_t *list = layers_json(u->helper.layers);
	char *text = json_dumps(list, JSON_COMPACT);

	log_debug("user network %s: vwire-user is process %d; in force: %s", u->c.name, (int)u->helper.child.pid,
		  text ? text : "?");
	free(text);
	json_decref(list);
}

static int user_create(const char *id, const void *opts, struct loop *loop, struct error *err)
{
	struct user *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return fail(err, ENOMEM, "no memory");
	rc = user_opts_resolve(opts, &u->net, err);
	if (rc) {
		free(u);
		return rc;
	}
	init_client(u, id, loop);
	init_parts(u);
	rc = user_helper_start_wait(&u->helper, err) ?: open_guestdevs(u, err) ?: net_client_add(&u->c, err);
	if (rc) {
		user_free(u);
		return rc;
	}
	u->ready_at = clock_now(CLOCK_HOST_NS);
	log_layers(u);
	loop_call(loop, attach, u);
	return 0;
}

const struct netdev_type user_netdev = {
	.name = "user",
	.help = "the host's network by NAT, without any rights",
	.opts = user_opt_table,
	.opts_size = sizeof(struct user_opts),
	.create = user_create,
};
