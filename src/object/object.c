/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Types, classes, instances, the tree of objects and their properties.
 *
 * The registry is built once from the table of types and constant afterwards: looking up needs no lock.
 */
#include "object/object.h"

#include <errno.h>
#include <stdlib.h>

#define DELEGATES_MAX 4 /* an object, what it stands for, and so on: two in practice */
#define TABLES_MAX    32

const struct type type_object = {
	.name = "object",
	.desc = "root of all types",
	.instance_size = sizeof(struct object),
	.class_size = sizeof(struct class),
	.abstract = true,
};

/* ---- the registry ---- */

static const struct type *const *all_types;
static struct class **classes; /* beside all_types */
static size_t n_types;

static int type_index(const char *name)
{
	for (size_t i = 0; i < n_types; i++)
		if (!strcmp(all_types[i]->name, name))
			return (int)i;
	return -1;
}

static size_t class_size(const struct type *t)
{
	while (!t->class_size && t->parent)
		t = all_types[type_index(t->parent)];
	return t->class_size ? t->class_size : sizeof(struct class);
}

static size_t instance_size(const struct type *t)
{
	while (!t->instance_size && t->parent)
		t = all_types[type_index(t->parent)];
	return t->instance_size ? t->instance_size : sizeof(struct object);
}

static bool name_taken(const char *name, size_t before)
{
	for (size_t i = 0; i < before; i++)
		if (!strcmp(all_types[i]->name, name) || (all_types[i]->alias && !strcmp(all_types[i]->alias, name)))
			return true;
	return false;
}

/* One record against those before it, and its ancestors; the table is ours, so a fault here is a programmer's. */
static int check_type(size_t i, struct error *err)
{
	const struct type *t = all_types[i], *p = t;

	if (name_taken(t->name, i) || (t->alias && name_taken(t->alias, i)))
		return fail(err, EEXIST, "type %s: its name or alias is taken", t->name);
	for (size_t depth = 0; p->parent; depth++) {
		int up = type_index(p->parent);

		if (up < 0 || depth == n_types)
			return fail(err, EINVAL, "type %s: parent %s %s", p->name, p->parent,
				    up < 0 ? "is not known" : "is its own ancestor");
		p = all_types[up];
	}
	p = t->parent ? all_types[type_index(t->parent)] : NULL;
	if (p && (class_size(t) < class_size(p) || instance_size(t) < instance_size(p)))
		return fail(err, EINVAL, "type %s: smaller than its parent", t->name);
	return 0;
}

static void class_fill(struct class *c, const struct type *t)
{
	if (t->parent)
		class_fill(c, all_types[type_index(t->parent)]);
	if (t->class_init)
		t->class_init(c);
}

static void registry_free(void)
{
	for (size_t i = 0; classes && i < n_types; i++)
		free(classes[i]);
	free(classes);
	classes = NULL;
	n_types = 0;
}

static int classes_make(struct error *err)
{
	classes = calloc(n_types + 1, sizeof(*classes));
	if (!classes)
		return fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n_types; i++) {
		classes[i] = calloc(1, class_size(all_types[i]));
		if (!classes[i])
			return fail(err, ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < n_types; i++) {
		const struct type *t = all_types[i];

		classes[i]->type = t;
		classes[i]->parent = t->parent ? classes[type_index(t->parent)] : NULL;
		class_fill(classes[i], t);
	}
	return 0;
}

int types_init(const struct type *const *types, struct error *err)
{
	int ret = 0;

	registry_free();
	all_types = types;
	while (types[n_types])
		n_types++;
	for (size_t i = 0; i < n_types && !ret; i++)
		ret = check_type(i, err);
	if (!ret)
		ret = classes_make(err);
	if (ret)
		registry_free();
	return ret;
}

const struct class *class_find(const char *name)
{
	for (size_t i = 0; i < n_types; i++)
		if (!strcmp(all_types[i]->name, name) || (all_types[i]->alias && !strcmp(all_types[i]->alias, name)))
			return classes[i];
	return NULL;
}

bool class_is_a(const struct class *c, const char *type_name)
{
	for (; c; c = c->parent)
		if (!strcmp(c->type->name, type_name))
			return true;
	return false;
}

static int by_name(const void *a, const void *b)
{
	const struct class *const *x = a, *const *y = b;

	return strcmp((*x)->type->name, (*y)->type->name);
}

void class_each(const char *base, bool abstract_too, void (*fn)(const struct class *c, void *arg), void *arg)
{
	const struct class **found = calloc(n_types + 1, sizeof(struct class *));
	size_t n = 0;

	if (!found)
		return;
	for (size_t i = 0; i < n_types; i++)
		if (class_is_a(classes[i], base) && (abstract_too || !all_types[i]->abstract))
			found[n++] = classes[i];
	qsort(found, n, sizeof(struct class *), by_name);
	for (size_t i = 0; i < n; i++)
		fn(found[i], arg);
	free(found);
}

/* ---- instances ---- */

static void instance_init(struct object *o, const struct class *c)
{
	if (c->parent)
		instance_init(o, c->parent);
	if (c->type->instance_init)
		c->type->instance_init(o);
}

static int instance_defaults(struct object *o, const struct class *c, struct error *err)
{
	int ret = c->parent ? instance_defaults(o, c->parent, err) : 0;

	return ret ? ret : opts_defaults(c->type->props, o, err);
}

/* All but the memory. */
static void object_deinit(struct object *o)
{
	list_remove(&o->node);
	/* The last child first: what was made later may use what was there before. */
	for (struct list *n = o->children.prev, *prev; n != &o->children; n = prev) {
		prev = n->prev;
		object_free(list_entry(n, struct object, node));
	}
	for (const struct class *c = o->class; c; c = c->parent)
		if (c->type->finalize)
			c->type->finalize(o);
	for (const struct class *c = o->class; c; c = c->parent)
		opts_free(c->type->props, o);
	free(o->name);
}

static int object_init(struct object *o, const struct class *c, struct error *err)
{
	int ret;

	memset(o, 0, instance_size(c->type));
	o->class = c;
	list_init(&o->children);
	list_init(&o->node);
	instance_init(o, c);
	ret = instance_defaults(o, c, err);
	if (ret)
		object_deinit(o);
	return ret;
}

static const struct class *instantiable(const char *type, struct error *err)
{
	const struct class *c = class_find(type);

	if (!c || c->type->abstract) {
		fail(err, ENOENT, "%s: %s", type, c ? "cannot be made, only what is derived from it" : "no such type");
		return NULL;
	}
	return c;
}

struct object *object_new(const char *type, struct error *err)
{
	const struct class *c = instantiable(type, err);
	struct object *o = c ? malloc(instance_size(c->type)) : NULL;

	if (c && !o)
		fail(err, ENOMEM, "out of memory");
	if (o && object_init(o, c, err)) {
		free(o);
		o = NULL;
	}
	return o;
}

void object_free(struct object *o)
{
	if (!o)
		return;
	object_deinit(o);
	free(o);
}

/* ---- the tree ---- */

void object_adopt(struct object *parent, struct object *child, const char *name)
{
	free(child->name);
	child->name = strdup(name);
	list_remove(&child->node);
	child->parent = parent;
	list_append(&parent->children, &child->node);
}

void object_path(const struct object *o, char *buf, size_t size)
{
	size_t n;

	if (o->parent) {
		object_path(o->parent, buf, size);
	} else if (size) {
		buf[0] = 0;
	}
	n = strnlen(buf, size);
	if (n < size)
		snprintf(buf + n, size - n, "/%s", o->name ? o->name : o->class->type->name);
}

/* ---- properties ---- */

static struct object *delegate_of(struct object *o)
{
	return o->class->delegate ? o->class->delegate(o) : NULL;
}

/* The property tables in the order of looking up, and the objects whose fields they describe. */
struct tables {
	const struct opt *table[TABLES_MAX + 1]; /* ends with NULL */
	struct object *owner[TABLES_MAX];
	unsigned n;
};

static void tables_of_class(struct tables *t, struct object *o, const struct class *c)
{
	for (; c; c = c->parent) {
		if (!c->type->props || t->n == TABLES_MAX)
			continue;
		t->owner[t->n] = o;
		t->table[t->n++] = c->type->props;
	}
	t->table[t->n] = NULL;
}

static void tables_of_object(struct tables *t, struct object *o)
{
	t->n = 0;
	t->table[0] = NULL;
	for (unsigned i = 0; o && i < DELEGATES_MAX; i++, o = delegate_of(o))
		tables_of_class(t, o, o->class);
}

int object_set(struct object *o, const char *prop, const char *value, struct error *err)
{
	struct opt_pair pair = { (char *)prop, (char *)value, false, false };
	struct opt_list l = { &pair, 1, false };
	struct tables t;
	int ret = 0;

	tables_of_object(&t, o);
	for (unsigned i = 0; i < t.n && !ret; i++)
		ret = opts_apply(t.table[i], &l, t.owner[i], false, err);
	return ret ? ret : opts_reject_rest(&l, t.table, err);
}

int object_get(struct object *o, const char *prop, char *buf, size_t size)
{
	struct tables t;

	tables_of_object(&t, o);
	for (unsigned i = 0; i < t.n; i++) {
		const struct opt *opt = opt_find(t.table[i], prop);

		if (opt)
			return opt_get(opt, t.owner[i], buf, size);
	}
	return -ENOENT;
}

int object_apply(struct object *o, struct opt_list *l, struct error *err)
{
	struct tables t;
	int ret = 0;

	tables_of_object(&t, o);
	/* Unknown names first: a typing error must not show as "is missing". */
	for (unsigned i = 0; i < t.n && !ret; i++)
		ret = opts_apply(t.table[i], l, t.owner[i], false, err);
	if (!ret)
		ret = opts_reject_rest(l, t.table, err);
	for (unsigned i = 0; i < t.n && !ret; i++)
		ret = opts_apply(t.table[i], l, t.owner[i], true, err);
	return ret;
}

static int opt_by_name(const void *a, const void *b)
{
	return strcmp(((const struct opt *)a)->name, ((const struct opt *)b)->name);
}

/* All properties in one table, the first one found of each name, sorted. Ends with OPT_END; the caller frees. */
static struct opt *merge_tables(const struct tables *t)
{
	struct opt *all;
	size_t n = 0;

	for (unsigned i = 0; i < t->n; i++)
		for (const struct opt *o = t->table[i]; o->name; o++)
			n++;
	all = calloc(n + 1, sizeof(*all));
	n = 0;
	for (unsigned i = 0; all && i < t->n; i++)
		for (const struct opt *o = t->table[i]; o->name; o++)
			if (!opt_find(all, o->name))
				all[n++] = *o;
	if (all)
		qsort(all, n, sizeof(*all), opt_by_name);
	return all;
}

void class_help(FILE *out, const struct class *c)
{
	/* Which type a delegate has is known only to an instance. */
	struct object *o = c->type->abstract ? NULL : object_new(c->type->name, NULL);
	struct tables t = { .n = 0 };
	struct opt *all;

	if (o)
		tables_of_object(&t, o);
	else
		tables_of_class(&t, NULL, c);
	all = merge_tables(&t);
	if (all)
		opts_help(out, all);
	free(all);
	object_free(o);
}
