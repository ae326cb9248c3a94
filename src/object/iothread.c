/* SPDX-License-Identifier: BSD-2-Clause */
/* See iothread.h. */
#include "object/iothread.h"

#include <errno.h>
#include <stdlib.h>

struct iothread {
	struct creatable base;
	struct loop *loop;
	bool started;
	struct list node;
	struct {
		uint64_t poll_max_ns;
		/* accepted: nothing depends on them */
		uint64_t poll_grow, poll_shrink, aio_max_batch, pool_min, pool_max;
	} prop;
};

static struct list threads = LIST_INIT(threads);
static struct loop *the_only;

static struct iothread *to_iothread(struct creatable *c)
{
	return container_of(c, struct iothread, base);
}

void iothread_use(struct loop *only)
{
	the_only = only;
}

int iothread_none(const char *id, struct error *err)
{
	return fail(err, ENOENT, "iothread=%.64s: there is no such thread; add -object iothread,id=%.64s", id, id);
}

struct loop *iothread_loop(const char *id, struct error *err)
{
	struct creatable *c = creatable_find(id);

	if (c && class_is_a(c->obj.class, "iothread"))
		return to_iothread(c)->loop;
	iothread_none(id, err);
	return NULL;
}

int iothread_start_all(struct error *err)
{
	struct iothread *t;
	int rc = 0;

	list_for_each(t, &threads, node) {
		if (rc == 0 && !t->started && t->loop != the_only)
			rc = loop_start_thread(t->loop, err);
		t->started = rc == 0;
	}
	return rc;
}

/* ---- the type ---- */

static int complete(struct creatable *c, struct error *err)
{
	struct iothread *t = to_iothread(c);

	t->loop = the_only ? the_only : loop_new(c->id, err);
	if (!t->loop)
		return -ENOMEM;
	if (t->loop != the_only)
		loop_set_poll(t->loop, t->prop.poll_max_ns);
	list_append(&threads, &t->node);
	return 0;
}

static void instance_init(struct object *o)
{
	list_init(&to_iothread(to_creatable(o))->node);
}

static void finalize(struct object *o)
{
	struct iothread *t = to_iothread(to_creatable(o));

	list_remove(&t->node);
	if (t->loop != the_only)
		loop_free(t->loop);
}

static void class_init(struct class *c)
{
	container_of(c, struct creatable_class, class)->complete = complete;
}

#define ACCEPTED(field, name, value)                                                       \
	OPT_F(struct iothread, prop.field, name, OPT_UINT, .def = value, .max = INT64_MAX, \
	      .help = "accepted; nothing depends on it")

static const struct opt props[] = {
	OPT_F(struct iothread, prop.poll_max_ns, "poll-max-ns", OPT_UINT, .def = "0", .max = INT64_MAX, .arg = "ns",
	      .help = "how long it may poll before it sleeps, if that has been worth it of late; 0: not at all"),
	ACCEPTED(poll_grow, "poll-grow", "0"),
	ACCEPTED(poll_shrink, "poll-shrink", "0"),
	ACCEPTED(aio_max_batch, "aio-max-batch", "0"),
	ACCEPTED(pool_min, "thread-pool-min", "0"),
	ACCEPTED(pool_max, "thread-pool-max", "64"),
	OPT_END,
};

const struct type type_iothread = {
	.name = "iothread",
	.parent = "user-creatable",
	.desc = "a thread for the queues of the NICs that name it by iothread=",
	.instance_size = sizeof(struct iothread),
	.class_init = class_init,
	.instance_init = instance_init,
	.finalize = finalize,
	.props = props,
};
