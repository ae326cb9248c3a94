/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects that users make: by type and id, from a list of options. */
#include "object/creatable.h"

#include <errno.h>
#include <stdlib.h>

static struct list all = LIST_INIT(all);

/* ---- the type ---- */

static void creatable_instance_init(struct object *o)
{
	list_init(&to_creatable(o)->node);
}

static void creatable_finalize(struct object *o)
{
	struct creatable *c = to_creatable(o);

	list_remove(&c->node);
	free(c->id);
	c->id = NULL;
}

const struct type type_user_creatable = {
	.name = "user-creatable",
	.parent = "object",
	.desc = "parent of all objects that users make",
	.instance_size = sizeof(struct creatable),
	.class_size = sizeof(struct creatable_class),
	.abstract = true,
	.instance_init = creatable_instance_init,
	.finalize = creatable_finalize,
};

/* ---- finding ---- */

struct creatable *creatable_find(const char *id)
{
	struct creatable *c;

	list_for_each(c, &all, node) {
		if (!strcmp(c->id, id))
			return c;
	}
	return NULL;
}

struct names {
	const char *v[64];
	size_t n;
};

static void collect_name(const struct class *c, void *arg)
{
	struct names *names = arg;

	if (names->n < ARRAY_SIZE(names->v))
		names->v[names->n++] = c->type->name;
}

const struct class *creatable_class_find(const char *type, struct error *err)
{
	const struct class *c = class_find(type);
	struct names names = { .n = 0 };
	const char *near;

	if (c && class_is_a(c, "user-creatable") && !c->type->abstract)
		return c;
	class_each("user-creatable", false, collect_name, &names);
	near = nearest_name(type, names.v, names.n);
	if (near)
		fail(err, ENOENT, "%.64s: there is no such type of object; did you mean '%s'?", type, near);
	else
		fail(err, ENOENT, "%.64s: there is no such type of object; -object help lists them", type);
	return NULL;
}

/* ---- making ---- */

static int check_id(const char *id, struct error *err)
{
	const struct creatable *other;

	if (!id)
		return fail(err, EINVAL, "id= is missing; give the object a name of its own, id=f0");
	if (!id_wellformed(id))
		return fail(err, EINVAL,
			    "id=%.64s: an id is a letter, then letters, digits, '-', '.' or '_', at most 127 in all",
			    id);
	other = creatable_find(id);
	if (other)
		return fail(err, EEXIST, "id=%s: is taken by another object (%s); ids must differ", id,
			    other->obj.class->type->name);
	return 0;
}

static int set_up(struct creatable *c, const char *id, struct opt_list *l, struct error *err)
{
	const struct creatable_class *class = container_of(c->obj.class, struct creatable_class, class);
	int ret;

	c->id = strdup(id);
	if (!c->id)
		return fail(err, ENOMEM, "out of memory");
	ret = object_apply(&c->obj, l, err);
	if (!ret && class->complete)
		ret = class->complete(c, err);
	if (ret)
		return ret;
	list_append(&all, &c->node);
	return 0;
}

struct creatable *creatable_add(struct opt_list *l, struct error *err)
{
	const char *type = opt_list_take(l, "qom-type"), *id = opt_list_take(l, "id");
	const struct class *c = NULL;
	struct object *o = NULL;

	if (!type)
		fail(err, EINVAL, "the type is missing; -object help lists them");
	else
		c = creatable_class_find(type, err);
	if (!c)
		return NULL;
	if (!check_id(id, err))
		o = object_new(c->type->name, err);
	if (o && set_up(to_creatable(o), id, l, err)) {
		object_free(o);
		o = NULL;
	}
	if (!o)
		error_prefix(err, "%.64s%s%.64s: ", type, id ? ",id=" : "", id ? id : "");
	return o ? to_creatable(o) : NULL;
}

void creatable_del(struct creatable *c)
{
	object_free(&c->obj);
}
