/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices and buses: who is on which, the lifecycle, and `-device`. All of it is the main thread's. */
#include "object/device.h"

#include <errno.h>
#include <stdlib.h>

static struct list buses = LIST_INIT(buses);
static struct list realized = LIST_INIT(realized);

/* ---- the type ---- */

static void device_instance_init(struct object *o)
{
	struct device *d = to_device(o);

	mutex_init(&d->lock);
	list_init(&d->bus_node);
	list_init(&d->node);
}

static void device_finalize(struct object *o)
{
	struct device *d = to_device(o);

	mutex_destroy(&d->lock);
	free(d->id);
	d->id = NULL;
}

const struct type type_device = {
	.name = "device",
	.parent = "object",
	.desc = "parent of all devices",
	.instance_size = sizeof(struct device),
	.class_size = sizeof(struct device_class),
	.abstract = true,
	.instance_init = device_instance_init,
	.finalize = device_finalize,
};

const char *device_label(const struct device *d)
{
	return d->id ? d->id : d->obj.class->type->name;
}

/* ---- buses ---- */

void bus_init(struct bus *b, const char *type, const char *name, struct object *owner)
{
	*b = (struct bus){ .type = type, .owner = owner };
	snprintf(b->name, sizeof(b->name), "%s", name);
	list_init(&b->devices);
	list_append(&buses, &b->node);
}

void bus_deinit(struct bus *b)
{
	while (!list_empty(&b->devices))
		device_unrealize(list_entry(b->devices.prev, struct device, bus_node));
	list_remove(&b->node);
}

struct bus *bus_find(const char *type, const char *name)
{
	struct bus *b;

	list_for_each(b, &buses, node) {
		if (type && strcmp(b->type, type))
			continue;
		if (!name ? !b->full : !strcmp(b->name, name) || (b->alias && !strcmp(b->alias, name)))
			return b;
	}
	return NULL;
}

/* "pci.0, pci.1": the names of all buses of a type. */
static void bus_names(const char *type, char *buf, size_t size)
{
	struct bus *b;
	size_t n = 0;

	snprintf(buf, size, "none");
	list_for_each(b, &buses, node)
		if (!strcmp(b->type, type) && n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", b->name);
}

static int bus_check(const struct device *d, const struct bus *b, struct error *err)
{
	const char *type = device_class(d)->bus_type;

	if (!type)
		return b ? fail(err, EINVAL, "bus=%s: this device goes on no bus; leave bus= out", b->name) : 0;
	if (!b)
		return fail(err, ENOSPC, "there is no %s bus that takes one more device", type);
	if (strcmp(b->type, type))
		return fail(err, EINVAL, "bus=%s: is a %s bus, the device needs a %s bus", b->name, b->type, type);
	if (b->full)
		return fail(err, ENOSPC, "bus=%s: takes no more devices", b->name);
	return 0;
}

/* ---- lifecycle ---- */

static void device_leave(struct device *d)
{
	list_remove(&d->node);
	list_remove(&d->bus_node);
	d->bus = NULL;
}

static int bus_take(struct device *d, struct error *err)
{
	const struct device_class *c = device_class(d);
	struct bus *b = d->bus;
	int ret = b && b->attach ? b->attach(b, d, err) : 0;

	if (!ret && c->realize)
		ret = c->realize(d, err);
	if (ret || !b || !b->attached)
		return ret;
	ret = b->attached(b, d, err);
	if (ret && c->unrealize)
		c->unrealize(d);
	return ret;
}

int device_realize(struct device *d, struct bus *bus, struct error *err)
{
	const struct device_class *c = device_class(d);
	int ret;

	if (d->state == DEVICE_REALIZED)
		return fail(err, EBUSY, "is realized already");
	if (!bus && c->bus_type)
		bus = bus_find(c->bus_type, NULL);
	ret = bus_check(d, bus, err);
	if (ret)
		return ret;
	d->bus = bus;
	if (bus)
		list_append(&bus->devices, &d->bus_node);
	ret = bus_take(d, err);
	if (ret) {
		device_leave(d);
		return ret;
	}
	d->state = DEVICE_REALIZED;
	list_append(&realized, &d->node);
	device_reset(d);
	return 0;
}

void device_unrealize(struct device *d)
{
	const struct device_class *c = device_class(d);

	if (d->state != DEVICE_REALIZED)
		return;
	d->state = DEVICE_UNREALIZED;
	if (d->bus && d->bus->detach)
		d->bus->detach(d->bus, d);
	if (c->unrealize)
		c->unrealize(d);
	device_leave(d);
}

void device_reset(struct device *d)
{
	const struct device_class *c = device_class(d);

	mutex_lock(&d->lock);
	if (c->reset)
		c->reset(d);
	mutex_unlock(&d->lock);
}

int device_save(struct device *d, struct state_bytes *b)
{
	const struct device_class *c = device_class(d);

	return c->save ? c->save(d, b) : -ENOTSUP;
}

int device_load(struct device *d, const uint8_t *p, size_t len, struct error *err)
{
	const struct device_class *c = device_class(d);
	int r;

	device_reset(d);
	r = c->load ? c->load(d, p, len, err) : fail(err, ENOTSUP, "its state cannot be loaded");
	if (r < 0) {
		error_prefix(err, "%s: ", device_label(d));
		device_reset(d);
	}
	return r;
}

void device_del(struct device *d)
{
	device_unrealize(d);
	object_free(&d->obj);
}

struct device *device_find(const char *id)
{
	struct device *d;

	list_for_each(d, &realized, node)
		if (d->id && !strcmp(d->id, id))
			return d;
	return NULL;
}

void device_each(void (*fn)(struct device *d, void *arg), void *arg)
{
	struct device *d, *next;

	list_for_each_safe(d, next, &realized, node)
		fn(d, arg);
}

/* ---- -device ---- */

static const struct device_class *as_device_class(const struct class *c)
{
	return container_of(c, struct device_class, class);
}

/* May a user name this type? */
static bool for_users(const struct class *c)
{
	return c && class_is_a(c, "device") && !c->type->abstract && !as_device_class(c)->internal;
}

struct names {
	const char *v[512];
	size_t n;
};

static void collect_names(const struct class *c, void *arg)
{
	struct names *names = arg;

	if (!for_users(c) || names->n + 2 > ARRAY_SIZE(names->v))
		return;
	names->v[names->n++] = c->type->name;
	if (c->type->alias)
		names->v[names->n++] = c->type->alias;
}

static const struct class *find_driver(const char *driver, struct error *err)
{
	const struct class *c = class_find(driver);
	struct names names = { .n = 0 };
	const char *near;

	if (for_users(c))
		return c;
	class_each("device", false, collect_names, &names);
	near = nearest_name(driver, names.v, names.n);
	if (near)
		fail(err, ENOENT, "unknown device; did you mean '%s'?", near);
	else
		fail(err, ENOENT, "unknown device; `-device help` lists what there is");
	return NULL;
}

static int check_id(const char *id, struct error *err)
{
	const struct device *other;

	if (!id)
		return 0;
	if (!id_wellformed(id))
		return fail(err, EINVAL,
			    "id=%.64s: an id is a letter, then letters, digits, '-', '.' or '_', at most 127 in all",
			    id);
	other = device_find(id);
	if (other)
		return fail(err, EEXIST, "id=%s: is taken by another device (%s); ids must differ", id,
			    other->obj.class->type->name);
	return 0;
}

/* The bus that the user named, or the first that is free; NULL without an error if the device needs none. */
static int choose_bus(const struct device *d, const char *name, struct bus **bus, struct error *err)
{
	const char *type = device_class(d)->bus_type;
	char names[200];

	*bus = NULL;
	if (!name) {
		*bus = type ? bus_find(type, NULL) : NULL;
		return bus_check(d, *bus, err);
	}
	if (!type)
		return fail(err, EINVAL, "bus=%.64s: this device goes on no bus; leave bus= out", name);
	*bus = bus_find(type, name);
	if (!*bus)
		*bus = bus_find(NULL, name);
	if (*bus)
		return bus_check(d, *bus, err);
	bus_names(type, names, sizeof(names));
	return fail(err, ENOENT, "bus=%.64s: no such bus; %s buses: %s", name, type, names);
}

/* Its place in the tree is below the bus's owner, so that it goes when that goes. */
static void adopt_by_bus(struct device *d, struct bus *bus)
{
	static unsigned serial;
	char name[160];

	if (!bus || !bus->owner)
		return;
	if (d->id)
		snprintf(name, sizeof(name), "%s", d->id);
	else
		snprintf(name, sizeof(name), "%s[%u]", device_label(d), serial++);
	object_adopt(bus->owner, &d->obj, name);
}

static int device_set_up(struct device *d, const char *id, const char *bus_name, struct opt_list *l, struct error *err)
{
	struct bus *bus;
	int ret;

	if (id) {
		d->id = strdup(id);
		if (!d->id)
			return fail(err, ENOMEM, "out of memory");
	}
	ret = object_apply(&d->obj, l, err);
	if (!ret)
		ret = choose_bus(d, bus_name, &bus, err);
	if (ret)
		return ret;
	adopt_by_bus(d, bus);
	return device_realize(d, bus, err);
}

static struct device *device_make(const char *driver, const char *id, struct opt_list *l, struct error *err)
{
	const char *bus_name = opt_list_take(l, "bus");
	const struct class *c = find_driver(driver, err);
	struct object *o;

	if (!c || check_id(id, err))
		return NULL;
	o = object_new(c->type->name, err);
	if (o && device_set_up(to_device(o), id, bus_name, l, err)) {
		object_free(o);
		o = NULL;
	}
	return o ? to_device(o) : NULL;
}

void device_error_prefix(const char *driver, const char *id, struct error *err)
{
	error_prefix(err, "-device %.64s%s%.64s: ", driver, id ? ",id=" : "", id ? id : "");
}

struct device *device_add(struct opt_list *l, struct error *err)
{
	const char *driver = opt_list_take(l, "driver"), *id = opt_list_take(l, "id");
	struct device *d;

	if (!driver) {
		fail(err, EINVAL, "-device: names no driver, as in -device virtio-net-pci,netdev=n0");
		return NULL;
	}
	d = device_make(driver, id, l, err);
	if (!d)
		device_error_prefix(driver, id, err);
	return d;
}

static int device_try(const char *driver, const char *id, struct opt_list *l, struct error *err)
{
	const struct class *c = find_driver(driver, err);
	struct object *o;
	int ret;

	opt_list_take(l, "bus");
	if (!c || check_id(id, err))
		return -EINVAL;
	o = object_new(c->type->name, err);
	if (!o)
		return -ENOMEM;
	ret = object_apply(o, l, err);
	object_free(o);
	return ret;
}

int device_check(const struct opt_list *l, struct error *err)
{
	const char *driver, *id;
	struct opt_list trial;
	int ret = opt_list_copy(l, &trial, err);

	driver = opt_list_take(&trial, "driver");
	id = opt_list_take(&trial, "id");
	if (!ret && driver) {
		ret = device_try(driver, id, &trial, err);
		if (ret)
			device_error_prefix(driver, id, err);
	}
	opt_list_free(&trial);
	return ret;
}

/* ---- help ---- */

struct help {
	FILE *out;
	const char *category; /* being printed, or, while looking for the next, the last one printed */
	const char *next;
};

static const char *category_of(const struct class *c)
{
	const char *category = as_device_class(c)->category;

	return category ? category : "misc";
}

/* The first category in the alphabet behind the last one printed. */
static void next_category(const struct class *c, void *arg)
{
	struct help *h = arg;
	const char *category = category_of(c);

	if (for_users(c) && (!h->category || strcmp(category, h->category) > 0) &&
	    (!h->next || strcmp(category, h->next) < 0))
		h->next = category;
}

static void help_line(const struct class *c, void *arg)
{
	const struct type *t = c->type;
	struct help *h = arg;

	if (!for_users(c) || strcmp(category_of(c), h->category))
		return;
	fprintf(h->out, "name \"%s\"", t->name);
	if (as_device_class(c)->bus_type)
		fprintf(h->out, ", bus %s", as_device_class(c)->bus_type);
	if (t->alias)
		fprintf(h->out, ", alias \"%s\"", t->alias);
	if (t->desc)
		fprintf(h->out, ", desc \"%s\"", t->desc);
	fputc('\n', h->out);
}

void device_help(FILE *out)
{
	struct help h = { .out = out };

	for (;;) {
		h.next = NULL;
		class_each("device", false, next_category, &h);
		if (!h.next)
			return;
		fprintf(out, "%s%c%s devices:\n", h.category ? "\n" : "", h.next[0] & ~0x20, h.next + 1);
		h.category = h.next;
		class_each("device", false, help_line, &h);
	}
}
