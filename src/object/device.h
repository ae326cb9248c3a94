/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices: objects with a lifecycle, on buses.
 *
 *	instance_init -> properties set -> realize -> reset -> (running) -> unrealize -> finalize
 *
 * realize may fail, and has then undone itself. Properties cannot be set after it. All of this is the main thread's.
 * Each device has one control mutex: the core takes it around the handlers of its REGION_DEVICE regions (vCPU threads)
 * and main takes it around reset and link changes. State of queues is never under it: a queue belongs to its loop, and
 * whoever needs to change it calls into the loop (loop_call), with this mutex held if need be; no loop ever takes it.
 */
#ifndef OBJECT_DEVICE_H
#define OBJECT_DEVICE_H

#include "base/thread.h"
#include "object/object.h"
#include "object/state.h"

struct bus;

enum device_state {
	DEVICE_CREATED,
	DEVICE_REALIZED,
	DEVICE_UNREALIZED
};

struct device {
	struct object obj;
	char *id; /* of -device id=; NULL if none was given */
	enum device_state state;
	struct bus *bus;
	struct list bus_node;
	struct list node;  /* in the list of realized devices */
	struct mutex lock; /* control mutex */
};

struct device_class {
	struct class class;
	const char *bus_type; /* the kind of bus it goes on ("PCI"); NULL: none */
	const char *category; /* "network" */
	bool internal;	      /* not for -device */
	int (*realize)(struct device *d, struct error *err);
	void (*unrealize)(struct device *d);
	void (*reset)(struct device *d); /* to the state after power on; called with the control mutex held */
	/* NULL: it cannot be saved. See device_save(), device_load(). */
	int (*save)(struct device *d, struct state_bytes *b);
	int (*load)(struct device *d, const uint8_t *p, size_t len, struct error *err);
};

/* A bus belongs to the device (or board) that makes it; kinds of bus embed it. */
struct bus {
	const char *type;  /* "PCI", "virtio" */
	char name[32];	   /* "pci.0" */
	const char *alias; /* another name that users may give for it, or NULL */
	struct object *owner;
	struct list devices; /* of struct device, bus_node */
	struct list node;    /* in the list of all buses */
	bool full;	     /* takes no more devices */
	/*
	 * What the bus does about a device, or NULL: before its realize and behind it (either may fail, and has then undone
	 * itself; the device comes off), and when it is unrealized. Main.
	 */
	int (*attach)(struct bus *b, struct device *d, struct error *err);
	int (*attached)(struct bus *b, struct device *d, struct error *err);
	void (*detach)(struct bus *b, struct device *d); /* before the device's own unrealize */
};

/* The type "device", abstract: parent of all devices; for the table of types. */
extern const struct type type_device;

static inline struct device *to_device(struct object *o)
{
	return container_of(o, struct device, obj);
}

static inline const struct device_class *device_class(const struct device *d)
{
	return container_of(d->obj.class, struct device_class, class);
}

void bus_init(struct bus *b, const char *type, const char *name, struct object *owner);
void bus_deinit(struct bus *b); /* unrealizes what is still on it, last one first; frees nothing */
struct bus *bus_find(const char *type, const char *name); /* by name, else the first of that type that is not full */

/*
 * The whole way of `-device DRIVER,...`: find the type, make it, set properties (id, bus= and the rest), put it on its
 * bus, realize, reset. On failure nothing is left. `l` still has the untaken pairs; "driver" is taken. Errors are
 * complete: "-device e1000,id=n0: mac=1: expected ...".
 */
struct device *device_add(struct opt_list *l, struct error *err);
/* Would device_add() take driver, id and properties, as far as that is to be known without a bus? The list stays. */
int device_check(const struct opt_list *l, struct error *err) __must_check;
/*
 * The same for a device that the board or another device makes: put it on the bus (NULL: on the first one of its kind
 * that is not full, if it needs one), realize, reset. On failure it is as before and may be freed.
 */
int device_realize(struct device *d, struct bus *bus, struct error *err) __must_check;
void device_unrealize(struct device *d); /* harmless if it is not realized */
void device_reset(struct device *d);	 /* takes the control mutex */
void device_del(struct device *d);	 /* unrealize, free */

struct device *device_find(const char *id);
void device_each(void (*fn)(struct device *d, void *arg), void *arg); /* realized ones, in the order of realization */
/*
 * Append the state of a realized device: registers, and what of its work is under way. -ENOTSUP: it cannot be saved.
 * Or take it: one of the same type, realized with the same properties and on the same place goes on from there; guest
 * memory and the VM's clock must be there already. It is reset first, so nothing of what it did before is left. An error
 * says what is wrong, and the device is reset once more. The guest does not run meanwhile, and the device does nothing
 * of itself: the VM is stopped.
 */
int device_save(struct device *d, struct state_bytes *b) __must_check;
int device_load(struct device *d, const uint8_t *p, size_t len, struct error *err) __must_check;
const char *device_label(const struct device *d); /* the id, or the type's name: for messages */
/* Put "-device DRIVER,id=ID: " before an error; `id` may be NULL. */
void device_error_prefix(const char *driver, const char *id, struct error *err);

/* Help of -device help and -device TYPE,help. */
void device_help(FILE *out);

#endif
