/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State tables: what of an object a copy of it elsewhere needs to go on from here, as a list of its fields. What
 * follows from other fields is not in it; `loaded` works it out again, and refuses what no device could have reached.
 *
 * As bytes a table is its name and each field's name, width, count and values, little-endian, so that a reader says
 * which field is missing or of another shape. The bytes may come from anywhere: all of them are checked before any is
 * used. Objects of several types have a table for each; they stand one behind the other.
 *
 * Main thread, with all that works on the object standing still.
 */
#ifndef OBJECT_STATE_H
#define OBJECT_STATE_H

#include "base/error.h"
#include "base/util.h"

struct state_field {
	const char *name;
	uint32_t offset;
	uint32_t width; /* bytes of an element: 1, 2, 4 or 8 */
	uint32_t count;
	bool truth; /* a bool: nothing but 0 and 1 is taken */
	/* Bytes that the object has a pointer to: `count` is their largest number, a uint32_t at `number` how many now. */
	bool behind;
	uint32_t number;
};

struct state_table {
	const char *name;
	const struct state_field *field;
	unsigned n;
	/* May be NULL. Before fields are saved: bring into them what is kept in other forms while the object works. */
	void (*saving)(void *object);
	/* May be NULL. The fields are there: is it a state that can be? -EINVAL and which field if not. */
	int (*loaded)(void *object, struct error *err);
};

/* A number, or an atomic one; an array of them; a bool. */
#define STATE_FIELD(type, member, width, count, truth)                                                           \
	{                                                                                                        \
#member, (uint32_t)offsetof(type, member), (uint32_t)(width), (uint32_t)(count), truth, false, 0 \
	}
#define STATE(type, member)	 STATE_FIELD(type, member, sizeof(((type *)0)->member), 1, false)
#define STATE_BOOL(type, member) STATE_FIELD(type, member, 1, 1, true)
#define STATE_ARRAY(type, member) \
	STATE_FIELD(type, member, sizeof(((type *)0)->member[0]), ARRAY_SIZE(((type *)0)->member), false)
/* `member` is a pointer to at most `most` bytes, `number` a uint32_t: how many of them count. */
#define STATE_BEHIND(type, member, number, most)                                                                    \
	{                                                                                                           \
#member, (uint32_t)offsetof(type, member), 1, (most), false, true, (uint32_t)offsetof(type, number) \
	}

struct state_bytes {
	uint8_t *p; /* free()d by the owner */
	size_t len, room;
};

/* Append the object's state. -ENOMEM. */
int state_save(const struct state_table *t, void *object, struct state_bytes *b) __must_check;
/*
 * Take the state from p[len]; *used says how much of it that was. On an error the object is as it was if the bytes
 * themselves are wrong (-EPROTO), and in need of a reset if `loaded` refused (-EINVAL). Errors name table and field.
 */
int state_load(const struct state_table *t, void *object, const uint8_t *p, size_t len, size_t *used,
	       struct error *err) __must_check;

#endif
