/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects that users make: -object TYPE,id=ID,property=value,... and later object-add.
 *
 *	instance_init -> properties set -> complete -> ... -> finalize
 *
 * A type for users descends from "user-creatable" and sets `complete` in its class: it opens and joins what the
 * properties name, may fail, and has then undone itself. finalize takes down what complete made. Ids are the objects'
 * own: a netdev or device of the same id does not matter. All of this is the main thread's.
 */
#ifndef OBJECT_CREATABLE_H
#define OBJECT_CREATABLE_H

#include "object/object.h"

struct creatable {
	struct object obj;
	char *id;
	struct list node; /* in the list of all, in the order of making */
};

struct creatable_class {
	struct class class;
	int (*complete)(struct creatable *c, struct error *err);
};

/* The type "user-creatable", abstract; for the table of types. */
extern const struct type type_user_creatable;

static inline struct creatable *to_creatable(struct object *o)
{
	return container_of(o, struct creatable, obj);
}

/*
 * Make an object of a parsed list with qom-type= and id= (taken here) and the type's properties. NULL: nothing is left;
 * the error is complete but for the option's name: "filter-dump,id=f0: file=: ...".
 */
struct creatable *creatable_add(struct opt_list *l, struct error *err);
/* Take it down and free it. */
void creatable_del(struct creatable *c);
struct creatable *creatable_find(const char *id);

/* A type that users can make. NULL and err, with the nearest name: there is no such type. */
const struct class *creatable_class_find(const char *type, struct error *err);

#endif
