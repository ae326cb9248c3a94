/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A net client at one end of a byte stream.
 *
 * A connection's way: the connector gives it to main, main gives it to the loop (attach). When it ends, the loop lets
 * go of it first and posts; main closes it then and asks for another. So a descriptor is closed only when no loop can
 * use it.
 */
#include "backend/stream_client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- ops ---- */

unsigned stream_client_send(struct net_client *c, struct batch *b)
{
	return frame_stream_send(&to_stream_client(c)->frames, b);
}

void stream_client_wake(struct net_client *c, unsigned what)
{
	frame_stream_wake(&to_stream_client(c)->frames, what);
}

void stream_client_start(struct net_client *c)
{
	frame_stream_start(&to_stream_client(c)->frames);
}

void stream_client_quiesce(struct net_client *c)
{
	frame_stream_quiesce(&to_stream_client(c)->frames);
}

void stream_client_parted(struct net_client *c)
{
	frame_stream_parted(&to_stream_client(c)->frames);
}

json_t *stream_client_describe(struct net_client *c)
{
	struct stream_client *s = to_stream_client(c);
	char text[400];

	connector_text(&s->connector, text, sizeof(text));
	return json_pack("{s:s, s:I, s:I}", "connection", text, "connections",
			 (json_int_t)counter_get(&s->connector.connections), "framing-errors",
			 (json_int_t)counter_get(&s->frames.framing_errors));
}

/* ---- connections ---- */

static void attach(void *arg)
{
	struct stream_client *s = arg;

	frame_stream_attach(&s->frames, s->fd);
}

static void detach(void *arg)
{
	struct stream_client *s = arg;

	frame_stream_detach(&s->frames);
}

void stream_client_attach(struct stream_client *s, int fd)
{
	s->fd = fd;
	loop_call(s->c.loop, attach, s);
}

static void close_connection(struct stream_client *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void on_lost_post(struct post *p)
{
	struct stream_client *s = container_of(p, struct stream_client, lost);

	close_connection(s);
	if (s->gone)
		s->gone(s, s->why);
	else
		connector_lost(&s->connector, s->why);
}

/* On the loop. */
static void on_lost(struct frame_stream *f, const char *why)
{
	struct stream_client *s = container_of(f, struct stream_client, frames);

	s->why = why;
	loop_post(s->main, &s->lost);
}

static void on_up(struct connector *k, int fd)
{
	stream_client_attach(container_of(k, struct stream_client, connector), fd);
}

/* ---- life ---- */

int stream_client_init(struct stream_client *s, const char *id, const struct net_client_ops *ops, struct loop *loop,
		       struct error *err)
{
	struct net_client *c = &s->c;

	c->ops = ops;
	c->kind = NET_KIND_BACKEND;
	c->loop = loop;
	c->max_frame = NET_FRAME_MAX;
	snprintf(c->name, sizeof(c->name), "%s", id);
	atomic_store(&c->link_auto_down, true);
	s->fd = -1;
	s->main = net_main_loop() ? net_main_loop() : loop;
	post_init(&s->lost, on_lost_post);
	snprintf(s->what, sizeof(s->what), "netdev %s", c->name);
	s->frames.c = c;
	s->frames.lost = on_lost;
	return frame_stream_init(&s->frames) < 0 ? fail(err, ENOMEM, "no memory") : 0;
}

void stream_client_end(struct stream_client *s)
{
	connector_close(&s->connector);
	loop_call(s->c.loop, detach, s);
	loop_unpost(s->main, &s->lost);
	close_connection(s);
	frame_stream_free(&s->frames);
}

static int begin(struct stream_client *s, const struct stream_setup *how, struct error *err)
{
	struct connector *k = &s->connector;
	int ret;

	k->loop = s->main;
	k->addr = *how->addr;
	k->server = how->server;
	k->pause_ns = how->pause_ns;
	k->what = s->what;
	k->up = on_up;
	ret = net_client_add(&s->c, err);
	if (ret)
		return ret;
	ret = connector_open(k, err);
	if (ret)
		net_client_remove(&s->c);
	return ret;
}

int stream_client_create(const char *id, const struct stream_setup *how, struct loop *loop, struct error *err)
{
	struct stream_client *s = calloc(1, sizeof(*s));
	int ret = s ? stream_client_init(s, id, how->ops, loop, err) : fail(err, ENOMEM, "no memory");

	if (!ret) {
		ret = begin(s, how, err);
		if (ret)
			stream_client_end(s);
	}
	if (ret)
		free(s);
	return ret;
}

void stream_client_destroy(struct net_client *c)
{
	stream_client_end(to_stream_client(c));
	free(to_stream_client(c));
}
