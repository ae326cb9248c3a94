/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The object model: types with single inheritance, by embedding the parent's struct first.
 *
 * A type is a constant record; all records stand in one table that ctl/ hands to types_init(). From each a class is
 * made once: memory of class_size, filled by the class_init functions from the root down, so that a type overrides
 * what its parent set. An instance is zeroed memory of instance_size; instance_init functions run from the root down
 * (they cannot fail and see no properties), finalize functions from the leaf up.
 *
 * Properties are `struct opt` tables (base/opts.h) with offsets into the instance. Looking a property up goes from the
 * leaf type to the root, then to the object that class->delegate() names (a PCI proxy and the virtio device in it).
 *
 * Objects form a tree: a parent owns its children and frees them; no reference counts.
 */
#ifndef OBJECT_OBJECT_H
#define OBJECT_OBJECT_H

#include "base/error.h"
#include "base/list.h"
#include "base/opts.h"

struct object;
struct class;

struct type {
	const char *name;
	const char *parent; /* NULL: a root */
	const char *desc;   /* one line for help */
	const char *alias;  /* second name for users ("virtio-net"), or NULL */
	size_t instance_size;
	size_t class_size; /* 0: as the parent's */
	bool abstract;
	void (*class_init)(struct class *c);
	void (*instance_init)(struct object *o);
	void (*finalize)(struct object *o);
	const struct opt *props; /* may be NULL */
};

/* The formatter takes "class" for C++. */
/* clang-format off */
struct class {
	const struct type *type;
	const struct class *parent;
	struct object *(*delegate)(struct object *o); /* further properties live there; may be NULL */
};
/* clang-format on */

struct object {
	const struct class *class;
	struct object *parent;
	char *name; /* path component; the id of a device made by the user */
	struct list children;
	struct list node; /* in parent->children */
};

/* The root of all types. */
extern const struct type type_object;

/* All types, NULL-terminated, once at start before any object; classes are made then. Main thread. */
int types_init(const struct type *const *types, struct error *err) __must_check;
const struct class *class_find(const char *name_or_alias); /* NULL: no such type */
bool class_is_a(const struct class *c, const char *type_name);
/* Call fn for each type that is (a descendant of) `base`, sorted by name. */
void class_each(const char *base, bool abstract_too, void (*fn)(const struct class *c, void *arg), void *arg);

/* New instance of a type that is not abstract, with property defaults set. NULL and err if there is no such type. */
struct object *object_new(const char *type, struct error *err);
/* Unlink from the parent, free the children, finalize, free. NULL: nothing. */
void object_free(struct object *o);

void object_adopt(struct object *parent, struct object *child, const char *name);
/* "/machine/pci.0/net0" into buf. */
void object_path(const struct object *o, char *buf, size_t size);

int object_set(struct object *o, const char *prop, const char *value, struct error *err) __must_check;
/* Print a property. -ENOENT: there is no such property; -ENOTSUP: it cannot be printed. */
int object_get(struct object *o, const char *prop, char *buf, size_t size);
/* Apply all untaken pairs of a list, by the leaf-to-root-to-delegate rule; an unknown one is an error. */
int object_apply(struct object *o, struct opt_list *l, struct error *err) __must_check;
/* The help of all properties of a type, its ancestors and its delegate's. */
void class_help(FILE *out, const struct class *c);

#endif
