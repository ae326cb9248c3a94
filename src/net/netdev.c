/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and removing backends by the table of their types. */
#include "net/netdev.h"

#include <errno.h>
#include <stdlib.h>

#define NAMES_MAX 64

static const struct netdev_type *const *types;

void netdev_types_init(const struct netdev_type *const *table)
{
	types = table;
}

const struct netdev_type *netdev_type_find(const char *name)
{
	for (const struct netdev_type *const *t = types; t && *t; t++) {
		if (!strcmp((*t)->name, name))
			return *t;
	}
	return NULL;
}

void netdev_help(FILE *out)
{
	fprintf(out, "Available netdev backend types:\n");
	for (const struct netdev_type *const *t = types; t && *t; t++) {
		if (!(*t)->unsupported)
			fprintf(out, "%-12s %s\n", (*t)->name, (*t)->help);
	}
}

static int unknown_type(const char *name, struct error *err)
{
	const char *names[NAMES_MAX], *near;
	char list[256] = "";
	unsigned n = 0;

	for (const struct netdev_type *const *t = types; t && *t && n < NAMES_MAX; t++) {
		if ((*t)->unsupported)
			continue;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", n ? ", " : "", (*t)->name);
		names[n++] = (*t)->name;
	}
	near = nearest_name(name, names, n);
	if (near)
		return fail(err, EINVAL, "type=%.64s: there is no such backend; did you mean \"%s\"?", name, near);
	return fail(err, EINVAL, "type=%.64s: there is no such backend; there are: %s", name, list);
}

/* Several queues are asked for, of a kind that has one. */
static int check_queues(const struct netdev_type *t, const struct opt_list *l, struct error *err)
{
	for (unsigned i = 0; i < l->n; i++) {
		const struct opt_pair *p = &l->v[i];

		if (!p->taken && !strcmp(p->key, "queues") && strcmp(p->value, "1"))
			return fail(err, ENOTSUP,
				    "queues=%.64s: %s has one queue; leave it out, or use tap, which may have several",
				    p->value, t->name);
	}
	return 0;
}

static int make(const struct netdev_type *t, const char *id, const void *opts, const struct netdev_place *place,
		struct error *err)
{
	struct loop *loop;

	if (t->create_queues)
		return t->create_queues(id, opts, place, err);
	loop = place->loop(place, 0, err);
	return loop ? t->create(id, opts, loop, err) : -ENOMEM;
}

/* Without a place: only a trial. */
static int create(const struct netdev_type *t, const char *id, struct opt_list *l, const struct netdev_place *place,
		  struct error *err)
{
	const struct opt *const tables[] = { t->opts, NULL };
	void *opts = calloc(1, MAX(t->opts_size, (size_t)1));
	int ret;

	if (!opts)
		return fail(err, ENOMEM, "no memory");
	ret = opts_defaults(t->opts, opts, err);
	if (!ret)
		ret = opts_apply(t->opts, l, opts, true, err);
	if (!ret)
		ret = check_queues(t, l, err);
	if (!ret)
		ret = opts_reject_rest(l, tables, err);
	if (!ret && place)
		ret = make(t, id, opts, place, err);
	opts_free(t->opts, opts);
	free(opts);
	return ret;
}

static int check_id(const char *id, struct error *err)
{
	const struct net_client *c;

	if (!id)
		return fail(err, EINVAL, "id= is missing; give the backend a name that a device can refer to, id=net0");
	if (!id_wellformed(id) || strlen(id) >= sizeof(c->name))
		return fail(err, EINVAL,
			    "id=%.64s: an id is a letter, then letters, digits, '-', '.' and '_', at most %zu", id,
			    sizeof(c->name) - 1);
	c = net_client_find(id, 0);
	if (c && c->kind != NET_KIND_NIC)
		return fail(err, EEXIST, "id=%s: this id is taken by another backend; choose a different one", id);
	return 0;
}

static int add(struct opt_list *l, const struct netdev_place *place, struct error *err)
{
	const char *name = opt_list_take(l, "type"), *id = opt_list_take(l, "id");
	const struct netdev_type *t;
	int ret;

	if (!name)
		return fail(err, EINVAL, "the type is missing; see \"-netdev help\"");
	t = netdev_type_find(name);
	if (!t)
		return unknown_type(name, err);
	if (t->unsupported)
		return fail(err, ENOTSUP, "type=%.64s is not offered: %s", name, t->unsupported);
	ret = check_id(id, err);
	if (!ret)
		ret = create(t, id, l, place, err);
	if (ret && id)
		error_prefix(err, "%.64s,id=%.64s: ", name, id);
	else if (ret)
		error_prefix(err, "%.64s: ", name);
	return ret;
}

int netdev_add(struct opt_list *l, const struct netdev_place *place, struct error *err)
{
	return add(l, place, err);
}

struct one_loop {
	struct netdev_place place;
	struct loop *loop;
};

static struct loop *the_loop(const struct netdev_place *p, unsigned queue, struct error *err)
{
	(void)queue, (void)err;
	return container_of(p, struct one_loop, place)->loop;
}

int netdev_add_on(struct opt_list *l, struct loop *loop, struct error *err)
{
	const struct one_loop one = { { the_loop }, loop };

	return add(l, &one.place, err);
}

int netdev_check(const struct opt_list *l, struct error *err)
{
	struct opt_list trial;
	int ret = opt_list_copy(l, &trial, err);

	if (!ret)
		ret = add(&trial, NULL, err);
	opt_list_free(&trial);
	return ret;
}

int netdev_del(const char *id, struct error *err)
{
	struct net_client *c = net_client_find(id, 0);

	if (!c || c->kind == NET_KIND_NIC)
		return fail(err, ENOENT, "there is no backend with the id \"%s\"", id);
	for (unsigned queue = 0; (c = net_client_find(id, queue)) && c->kind != NET_KIND_NIC; queue++) {
		net_client_remove(c);
		if (c->ops->destroy)
			c->ops->destroy(c);
	}
	return 0;
}
