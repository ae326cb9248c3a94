/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options: one table describes a group of options or a device's properties, and drives parsing, range checks, the help
 * text, introspection and the man page.
 *
 * The way of a text: opt_list_parse() splits QEMU's "key=value,key=value" (",," is a comma; the first bare word may
 * have an implied key) or a JSON object ("{...}"; nested objects become dotted keys, arrays repeated keys, booleans
 * on/off, an array of {"str": X} the list of X) into pairs; opts_apply() then sets the fields of a target structure by
 * a table, checking each value. Callers that find their table by one of the values (type=, driver=) take that out with
 * opt_list_take() first. A pair that no table takes is an error that names the nearest option there is.
 */
#ifndef BASE_OPTS_H
#define BASE_OPTS_H

#include <stdio.h>

#include "base/error.h"
#include "base/util.h"

enum opt_kind {
	OPT_BOOL,      /* bool: on/off yes/no true/false y/n; a bare name means on */
	OPT_ONOFFAUTO, /* uint8_t (enum onoffauto) */
	OPT_UINT,      /* uint8_t..uint64_t by width; decimal, 0x hex; min..max */
	OPT_INT,       /* int8_t..int64_t by width; min..max taken as signed */
	OPT_SIZE,      /* uint64_t: bytes with suffix b k K M G T (powers of 1024); min..max */
	OPT_STR,       /* char *, allocated; NULL if not given and without default */
	OPT_STRLIST,   /* struct strlist: given by repetition */
	OPT_ENUM,      /* unsigned: the index in choices[] */
	OPT_MAC,       /* struct mac_opt */
	OPT_CUSTOM,    /* parse() does it */
};

enum onoffauto {
	OPT_AUTO,
	OPT_ON,
	OPT_OFF
};

struct strlist {
	char **v;
	unsigned n;
};

struct mac_opt {
	uint8_t addr[6];
	bool set;
};

struct opt {
	const char *name;
	enum opt_kind kind;
	uint8_t width;		    /* bytes of the field, for OPT_UINT and OPT_INT */
	bool required;		    /* an error if not given */
	bool power_of_2;	    /* of OPT_UINT, OPT_SIZE: refused otherwise */
	uint32_t offset;	    /* of the field in the target */
	uint64_t min, max;	    /* inclusive; both 0: the whole range of the width */
	const char *def;	    /* default, written as a user would; NULL: the zeroed field stays */
	const char *const *choices; /* OPT_ENUM: NULL-terminated */
	const char *arg;	    /* what stands for the value in help: "addr[/bits]"; NULL: by kind */
	const char *help;	    /* one sentence, no full stop */
	int (*parse)(const struct opt *o, const char *value, void *field, struct error *err); /* OPT_CUSTOM */
};

/* Table entries: `OPT_F(struct user_opts, restricted, "restrict", OPT_BOOL, .def = "off", .help = "...")`. */
#define OPT_F(type, field, optname, optkind, ...)                                          \
	{                                                                                  \
		.name = (optname), .kind = (optkind), .width = sizeof(((type *)0)->field), \
		.offset = offsetof(type, field), __VA_ARGS__                               \
	}
#define OPT_END              \
	{                    \
		.name = NULL \
	}

struct opt_pair {
	char *key;
	char *value; /* text form */
	bool bare;   /* no '=': "foo" (value "on"), or the implied key's value */
	bool taken;
};

struct opt_list {
	struct opt_pair *v;
	unsigned n;
	bool json;
};

/*
 * Split `text`. `implied` (may be NULL) is the key of a first word without '='. Errors: empty key, bad JSON (with its
 * position), a key twice where JSON forbids it. The caller frees with opt_list_free().
 */
int opt_list_parse(const char *text, const char *implied, struct opt_list *out, struct error *err) __must_check;
void opt_list_free(struct opt_list *l);

/* A copy of the pairs that nobody took yet, for a trial; freed with opt_list_free(), also after an error. */
int opt_list_copy(const struct opt_list *l, struct opt_list *out, struct error *err) __must_check;

/* The last value of `key`, marked as taken; NULL if it is not there. Belongs to the list. */
const char *opt_list_take(struct opt_list *l, const char *key);

/* True if `help` or `?` stands among the pairs as a bare word. */
bool opt_list_wants_help(const struct opt_list *l);

/*
 * Apply defaults of the table to *target (zeroed by the caller).
 * Then opts_apply(): set what the list has and the table knows; marks the pairs as taken. Missing required options are
 * errors if `complete`. On an error the target stays valid for opts_free().
 */
int opts_defaults(const struct opt *table, void *target, struct error *err) __must_check;
int opts_apply(const struct opt *table, struct opt_list *l, void *target, bool complete,
	       struct error *err) __must_check;

/* Error for the first pair that nobody took, with the nearest name of the tables (NULL-terminated array of tables). */
int opts_reject_rest(const struct opt_list *l, const struct opt *const *tables, struct error *err) __must_check;

/* Set one field from text; `opts_get` prints it (for help, introspection and tests); both by the table's entry. */
int opt_set(const struct opt *o, const char *value, void *target, struct error *err) __must_check;
int opt_get(const struct opt *o, const void *target, char *buf, size_t size);

const struct opt *opt_find(const struct opt *table, const char *name);

/* Free what OPT_STR and OPT_STRLIST fields hold and zero them. */
void opts_free(const struct opt *table, void *target);

/* Help as QEMU prints it: "  name=<kind>  - help (default: x)". */
void opts_help(FILE *out, const struct opt *table);

/* The nearest of `n` names to `word` by edit distance (at most a third of it wrong), or NULL: "did you mean". */
const char *nearest_name(const char *word, const char *const *names, size_t n);

/* Parsers of single values, for those who have no table. Errors name what is allowed, not the option. */
int parse_bool(const char *s, bool *out, struct error *err) __must_check;
int parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct error *err) __must_check;
int parse_size(const char *s, char default_suffix, uint64_t *out, struct error *err) __must_check;
/*
 * A decimal number, perhaps with a fraction, and one of the units (ends with a NULL name; "" is no unit), whose value
 * is what one of it stands for; rounded down. -EINVAL: no number, or another unit; -ERANGE: more than max.
 */
struct unit {
	const char *name;
	uint64_t value;
};
int parse_units(const char *s, const struct unit *units, uint64_t max, uint64_t *out) __must_check;
int parse_mac(const char *s, uint8_t mac[6], struct error *err) __must_check;
/* ... and back: printf(MAC_FMT, MAC_ARGS(mac)), MAC_TEXT bytes with the zero. */
#define MAC_FMT	    "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_ARGS(a) (a)[0], (a)[1], (a)[2], (a)[3], (a)[4], (a)[5]
#define MAC_TEXT    18

/* Ids: a letter, then letters, digits, '-', '.', '_' (QEMU's rule); at most 127 characters. */
bool id_wellformed(const char *id);

#endif
