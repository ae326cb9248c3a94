/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From an option's text to a list of pairs: QEMU's "key=value,..." or a JSON object. Only the form is judged here, what
 * the keys mean is the tables' business.
 */
#include "base/opts.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

/* Far more than a person writes; keeps what is quadratic in the number of pairs cheap. */
#define PAIRS_MAX      10000
#define JSON_DEPTH_MAX 8
#define KEY_MAX	       256

/* ---- the list ---- */

/* Append a pair; takes both strings, also when it fails. */
static int add_pair(struct opt_list *l, char *key, char *value, bool bare, struct error *err)
{
	struct opt_pair *v = l->v;

	if (l->n == PAIRS_MAX) {
		free(key);
		free(value);
		return fail(err, E2BIG, "more than %d options", PAIRS_MAX);
	}
	if (!(l->n & (l->n - 1)))
		v = realloc(l->v, (l->n ? 2 * l->n : 1) * sizeof(*v));
	if (!v || !key || !value) {
		l->v = v ? v : l->v;
		free(key);
		free(value);
		return fail(err, ENOMEM, "out of memory");
	}
	l->v = v;
	l->v[l->n++] = (struct opt_pair){ key, value, bare, false };
	return 0;
}

void opt_list_free(struct opt_list *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		free(l->v[i].key);
		free(l->v[i].value);
	}
	free(l->v);
	*l = (struct opt_list){ 0 };
}

int opt_list_copy(const struct opt_list *l, struct opt_list *out, struct error *err)
{
	int rc = 0;

	*out = (struct opt_list){ .json = l->json };
	for (unsigned i = 0; rc == 0 && i < l->n; i++) {
		const struct opt_pair *p = &l->v[i];

		if (!p->taken)
			rc = add_pair(out, strdup(p->key), strdup(p->value), p->bare, err);
	}
	return rc;
}

const char *opt_list_take(struct opt_list *l, const char *key)
{
	const char *value = NULL;

	for (unsigned i = 0; i < l->n; i++) {
		if (!strcmp(l->v[i].key, key)) {
			l->v[i].taken = true;
			value = l->v[i].value;
		}
	}
	return value;
}

static bool is_help(const char *s)
{
	return !strcmp(s, "help") || !strcmp(s, "?");
}

bool opt_list_wants_help(const struct opt_list *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->v[i].bare && (is_help(l->v[i].key) || is_help(l->v[i].value)))
			return true;
	return false;
}

/* ---- key=value,... ---- */

/* A value up to the next single comma, with ",," made one. *text stands behind it then. */
static char *cut_value(const char **text)
{
	const char *p = *text;
	char *value = malloc(strlen(p) + 1), *to = value;

	if (!value)
		return NULL;
	for (; *p && !(p[0] == ',' && p[1] != ','); p++) {
		if (*p == ',')
			p++;
		*to++ = *p;
	}
	*to = 0;
	*text = *p ? p + 1 : p;
	return value;
}

static int parse_text(const char *text, const char *implied, struct opt_list *out, struct error *err)
{
	int ret = 0;

	for (bool first = true; *text && !ret; first = false) {
		size_t len = strcspn(text, "=,");
		char *key;

		if (first && implied && text[len] != '=') {
			key = strdup(implied);
			ret = add_pair(out, key, cut_value(&text), true, err);
			continue;
		}
		if (!len)
			return fail(err, EINVAL,
				    "an option's name is missing before '%.20s' (a comma in a value is written ,,)",
				    text);
		key = strndup(text, len);
		text += len;
		if (*text == '=') {
			text++;
			ret = add_pair(out, key, cut_value(&text), false, err);
		} else {
			text += *text == ',';
			ret = add_pair(out, key, strdup("on"), true, err);
		}
	}
	return ret;
}

/* ---- JSON ---- */

static int flatten(struct opt_list *l, const char *key, json_t *v, unsigned depth, struct error *err);

static bool has_key(const struct opt_list *l, const char *key)
{
	for (unsigned i = 0; i < l->n; i++)
		if (!strcmp(l->v[i].key, key))
			return true;
	return false;
}

/* The text of a scalar, allocated; NULL if it is none. */
static char *scalar_text(json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		return strdup(json_string_value(v));
	case JSON_TRUE:
		return strdup("on");
	case JSON_FALSE:
		return strdup("off");
	case JSON_INTEGER:
	case JSON_REAL:
		return json_dumps(v, JSON_ENCODE_ANY);
	default:
		return NULL;
	}
}

static int flatten_object(struct opt_list *l, const char *prefix, json_t *o, unsigned depth, struct error *err)
{
	const char *name;
	json_t *v;

	json_object_foreach(o, name, v)
	{
		char key[KEY_MAX];
		int ret = snprintf(key, sizeof(key), "%s%s%s", prefix, *prefix ? "." : "", name);

		if (!*name)
			return fail(err, EINVAL, "JSON: a member without a name");
		if (ret >= (int)sizeof(key))
			return fail(err, EINVAL, "JSON: member '%.40s...' has too long a name", key);
		/*
		 * Members of one object differ (the parser saw to it), but "a.b" and {"a":{"b"}} are the same option.
		 */
		if (strchr(key, '.') && has_key(l, key))
			return fail(err, EINVAL, "JSON: '%s' is given twice", key);
		ret = flatten(l, key, v, depth + 1, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int flatten_array(struct opt_list *l, const char *key, json_t *a, struct error *err)
{
	size_t i;
	json_t *v;

	json_array_foreach(a, i, v)
	{
		json_t *str = json_object_get(v, "str");
		char *text;
		int ret;

		if (json_is_object(v) && json_object_size(v) == 1 && json_is_string(str))
			v = str;
		text = scalar_text(v);
		if (!text)
			return fail(err, EINVAL, "JSON: '%s' must be a list of plain values or of {\"str\": value}",
				    key);
		ret = add_pair(l, strdup(key), text, false, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int flatten(struct opt_list *l, const char *key, json_t *v, unsigned depth, struct error *err)
{
	char *text;

	if (depth > JSON_DEPTH_MAX)
		return fail(err, EINVAL, "JSON: '%.60s' is nested deeper than %d objects", key, JSON_DEPTH_MAX);
	if (json_is_object(v))
		return flatten_object(l, key, v, depth, err);
	if (json_is_array(v))
		return flatten_array(l, key, v, err);
	text = scalar_text(v);
	if (!text)
		return fail(err, EINVAL, "JSON: '%s' is null: leave it out instead", key);
	return add_pair(l, strdup(key), text, false, err);
}

static int parse_json(const char *text, struct opt_list *out, struct error *err)
{
	json_error_t where;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	int ret;

	out->json = true;
	if (!root)
		return fail(err, EINVAL, "bad JSON at line %d, column %d: %s", where.line, where.column, where.text);
	ret = flatten(out, "", root, 0, err);
	json_decref(root);
	return ret;
}

int opt_list_parse(const char *text, const char *implied, struct opt_list *out, struct error *err)
{
	int ret;

	*out = (struct opt_list){ 0 };
	ret = *text == '{' ? parse_json(text, out, err) : parse_text(text, implied, out, err);
	if (ret)
		opt_list_free(out);
	return ret;
}
