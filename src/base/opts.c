/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of options: setting, checking, printing and explaining fields of a structure. */
#include "base/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

const struct opt *opt_find(const struct opt *table, const char *name)
{
	for (const struct opt *o = table; o && o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

/* ---- ranges ---- */

/* A size as people write it: the largest unit that divides it. */
static const char *size_text(uint64_t v, char *buf, size_t size)
{
	unsigned unit = 0;

	while (v && unit < 6 && !(v % 1024)) {
		v /= 1024;
		unit++;
	}
	snprintf(buf, size, "%" PRIu64 "%.1s", v, &"\0KMGTPE"[unit]);
	return buf;
}

static uint64_t width_max(unsigned width)
{
	return width >= 8 ? UINT64_MAX : BIT(8 * width) - 1;
}

static void uint_range(const struct opt *o, uint64_t *min, uint64_t *max)
{
	*min = o->min;
	*max = o->min || o->max ? o->max : width_max(o->kind == OPT_SIZE ? 8 : o->width);
}

static void int_range(const struct opt *o, int64_t *min, int64_t *max)
{
	*min = (int64_t)o->min;
	*max = (int64_t)o->max;
	if (!*min && !*max) {
		*max = (int64_t)(width_max(o->width) >> 1);
		*min = -*max - 1;
	}
}

/* ---- setting one field ---- */

static void store(void *field, unsigned width, uint64_t v)
{
	switch (width) {
	case 1:
		*(uint8_t *)field = (uint8_t)v;
		break;
	case 2:
		*(uint16_t *)field = (uint16_t)v;
		break;
	case 4:
		*(uint32_t *)field = (uint32_t)v;
		break;
	default:
		*(uint64_t *)field = v;
	}
}

static uint64_t load(const void *field, unsigned width)
{
	switch (width) {
	case 1:
		return *(const uint8_t *)field;
	case 2:
		return *(const uint16_t *)field;
	case 4:
		return *(const uint32_t *)field;
	default:
		return *(const uint64_t *)field;
	}
}

static int set_uint(const struct opt *o, const char *value, void *field, struct error *err)
{
	uint64_t min, max, v;
	int ret;

	uint_range(o, &min, &max);
	ret = parse_uint(value, min, max, &v, err);
	if (ret)
		return ret;
	if (o->power_of_2 && !is_power_of_2(v))
		return fail(err, EINVAL, "must be a power of 2 between %" PRIu64 " and %" PRIu64, min, max);
	store(field, o->width, v);
	return 0;
}

static int set_int(const struct opt *o, const char *value, void *field, struct error *err)
{
	bool negative = *value == '-';
	int64_t min, max, v;
	struct error dummy;
	uint64_t mag;
	int ret;

	int_range(o, &min, &max);
	ret = parse_uint(value + negative, 0, (uint64_t)INT64_MAX + negative, &mag, &dummy);
	if (ret == -EINVAL || (negative && value[1] == '-'))
		return fail(err, EINVAL, "expected a number between %" PRId64 " and %" PRId64, min, max);
	v = ret ? 0 : (int64_t)(negative ? 0 - mag : mag);
	if (ret || v < min || v > max)
		return fail(err, ERANGE, "must be between %" PRId64 " and %" PRId64, min, max);
	store(field, o->width, (uint64_t)v);
	return 0;
}

static int set_size(const struct opt *o, const char *value, void *field, struct error *err)
{
	char lo[32], hi[32];
	uint64_t min, max, v;
	int ret = parse_size(value, 'b', &v, err);

	if (ret)
		return ret;
	uint_range(o, &min, &max);
	size_text(min, lo, sizeof(lo));
	size_text(max, hi, sizeof(hi));
	if (v < min || v > max)
		return fail(err, ERANGE, "must be between %s and %s", lo, hi);
	if (o->power_of_2 && !is_power_of_2(v))
		return fail(err, EINVAL, "must be a power of 2 between %s and %s", lo, hi);
	*(uint64_t *)field = v;
	return 0;
}

static int set_onoffauto(const char *value, uint8_t *field, struct error *err)
{
	bool on;

	if (!strcmp(value, "auto")) {
		*field = OPT_AUTO;
		return 0;
	}
	if (parse_bool(value, &on, NULL))
		return fail(err, EINVAL, "expected on, off or auto");
	*field = on ? OPT_ON : OPT_OFF;
	return 0;
}

/* "a, b or c" */
static void choices_text(const struct opt *o, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned i = 0; o->choices[i] && n < size; i++) {
		const char *sep = !i ? "" : o->choices[i + 1] ? ", " : " or ";

		n += (size_t)snprintf(buf + n, size - n, "%s%s", sep, o->choices[i]);
	}
}

static int set_enum(const struct opt *o, const char *value, unsigned *field, struct error *err)
{
	char text[300];

	for (unsigned i = 0; o->choices[i]; i++) {
		if (!strcmp(o->choices[i], value)) {
			*field = i;
			return 0;
		}
	}
	choices_text(o, text, sizeof(text));
	return fail(err, EINVAL, "expected %s", text);
}

static int set_str(const char *value, char **field, struct error *err)
{
	char *s = strdup(value);

	if (!s)
		return fail(err, ENOMEM, "out of memory");
	free(*field);
	*field = s;
	return 0;
}

static int add_str(const char *value, struct strlist *list, struct error *err)
{
	char **v = realloc(list->v, (list->n + 1) * sizeof(*v));
	char *s = strdup(value);

	if (v)
		list->v = v;
	if (!v || !s) {
		free(s);
		return fail(err, ENOMEM, "out of memory");
	}
	list->v[list->n++] = s;
	return 0;
}

static int set_mac(const char *value, struct mac_opt *mac, struct error *err)
{
	int ret = parse_mac(value, mac->addr, err);

	if (!ret)
		mac->set = true;
	return ret;
}

static int set_field(const struct opt *o, const char *value, void *field, struct error *err)
{
	switch (o->kind) {
	case OPT_BOOL:
		return parse_bool(value, field, err);
	case OPT_ONOFFAUTO:
		return set_onoffauto(value, field, err);
	case OPT_UINT:
		return set_uint(o, value, field, err);
	case OPT_INT:
		return set_int(o, value, field, err);
	case OPT_SIZE:
		return set_size(o, value, field, err);
	case OPT_STR:
		return set_str(value, field, err);
	case OPT_STRLIST:
		return add_str(value, field, err);
	case OPT_ENUM:
		return set_enum(o, value, field, err);
	case OPT_MAC:
		return set_mac(value, field, err);
	case OPT_CUSTOM:
		return o->parse(o, value, field, err);
	}
	return fail(err, EINVAL, "has no known kind");
}

int opt_set(const struct opt *o, const char *value, void *target, struct error *err)
{
	int ret = set_field(o, value, (char *)target + o->offset, err);

	if (ret)
		error_prefix(err, "%s=%.64s%s: ", o->name, value, strnlen(value, 65) > 64 ? "..." : "");
	return ret;
}

/* ---- printing one field ---- */

static const char *onoff(bool on)
{
	return on ? "on" : "off";
}

static void print_strlist(const struct strlist *l, char *buf, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < l->n && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? "," : "", l->v[i]);
}

static void print_int(const struct opt *o, const void *field, char *buf, size_t size)
{
	unsigned unused = 64 - 8 * MIN(o->width, 8u);

	snprintf(buf, size, "%" PRId64, (int64_t)(load(field, o->width) << unused) >> unused);
}

static void print_mac(const struct mac_opt *m, char *buf, size_t size)
{
	if (m->set)
		snprintf(buf, size, MAC_FMT, MAC_ARGS(m->addr));
}

static const char *choice_name(const struct opt *o, unsigned v)
{
	for (unsigned i = 0; o->choices[i]; i++)
		if (i == v)
			return o->choices[i];
	return "";
}

int opt_get(const struct opt *o, const void *target, char *buf, size_t size)
{
	const void *field = (const char *)target + o->offset;
	const char *s;

	if (size)
		buf[0] = 0;
	switch (o->kind) {
	case OPT_BOOL:
		snprintf(buf, size, "%s", onoff(*(const bool *)field));
		break;
	case OPT_ONOFFAUTO:
		snprintf(buf, size, "%s",
			 *(const uint8_t *)field == OPT_AUTO ? "auto" : onoff(*(const uint8_t *)field == OPT_ON));
		break;
	case OPT_UINT:
	case OPT_SIZE:
		snprintf(buf, size, "%" PRIu64, load(field, o->kind == OPT_SIZE ? 8 : o->width));
		break;
	case OPT_INT:
		print_int(o, field, buf, size);
		break;
	case OPT_STR:
		s = *(char *const *)field;
		snprintf(buf, size, "%s", s ? s : "");
		break;
	case OPT_STRLIST:
		print_strlist(field, buf, size);
		break;
	case OPT_ENUM:
		snprintf(buf, size, "%s", choice_name(o, *(const unsigned *)field));
		break;
	case OPT_MAC:
		print_mac(field, buf, size);
		break;
	case OPT_CUSTOM:
		return -ENOTSUP;
	}
	return 0;
}

/* ---- whole tables ---- */

int opts_defaults(const struct opt *table, void *target, struct error *err)
{
	for (const struct opt *o = table; o && o->name; o++) {
		int ret = o->def ? opt_set(o, o->def, target, err) : 0;

		if (ret)
			return ret;
	}
	return 0;
}

/* QEMU's old short form: a bare "nofoo" is foo=off. */
static const struct opt *find_negated(const struct opt *table, const struct opt_pair *p)
{
	const struct opt *o = p->bare && !strncmp(p->key, "no", 2) ? opt_find(table, p->key + 2) : NULL;

	return o && (o->kind == OPT_BOOL || o->kind == OPT_ONOFFAUTO) && !strcmp(p->value, "on") ? o : NULL;
}

/* A bare word is a switch; a value that was forgotten must not become the text "on". */
static int check_bare(const struct opt *o, const struct opt_pair *p, struct error *err)
{
	if (!p->bare || strcmp(p->value, "on") || o->kind == OPT_BOOL || o->kind == OPT_ONOFFAUTO)
		return 0;
	return fail(err, EINVAL, "%s: needs a value, as in %s=<%s>", o->name, o->name, o->arg ? o->arg : "value");
}

static int apply_pair(const struct opt *table, struct opt_pair *p, void *target, struct error *err)
{
	const struct opt *o = opt_find(table, p->key), *negated = o ? NULL : find_negated(table, p);
	int ret;

	if (negated) {
		p->taken = true;
		return opt_set(negated, "off", target, err);
	}
	if (!o)
		return 0;
	p->taken = true;
	ret = check_bare(o, p, err);
	return ret ? ret : opt_set(o, p->value, target, err);
}

static int check_required(const struct opt *table, const struct opt_list *l, struct error *err)
{
	for (const struct opt *o = table; o && o->name; o++) {
		unsigned i = 0;

		while (i < l->n && strcmp(l->v[i].key, o->name))
			i++;
		if (o->required && i == l->n)
			return fail(err, EINVAL, "%s=<%s> is missing (%s)", o->name, o->arg ? o->arg : "value",
				    o->help ? o->help : "required");
	}
	return 0;
}

int opts_apply(const struct opt *table, struct opt_list *l, void *target, bool complete, struct error *err)
{
	for (unsigned i = 0; i < l->n; i++) {
		int ret = l->v[i].taken ? 0 : apply_pair(table, &l->v[i], target, err);

		if (ret)
			return ret;
	}
	return complete ? check_required(table, l, err) : 0;
}

static const char *nearest_opt(const char *word, const struct opt *const *tables)
{
	const char *names[512];
	size_t n = 0;

	for (; *tables; tables++)
		for (const struct opt *o = *tables; o->name && n < ARRAY_SIZE(names); o++)
			names[n++] = o->name;
	return nearest_name(word, names, n);
}

int opts_reject_rest(const struct opt_list *l, const struct opt *const *tables, struct error *err)
{
	for (unsigned i = 0; i < l->n; i++) {
		const char *near;

		if (l->v[i].taken)
			continue;
		near = nearest_opt(l->v[i].key, tables);
		if (near)
			return fail(err, EINVAL, "unknown option '%.64s'; did you mean '%s'?", l->v[i].key, near);
		return fail(err, EINVAL, "unknown option '%.64s'; the word help in its place lists what there is",
			    l->v[i].key);
	}
	return 0;
}

void opts_free(const struct opt *table, void *target)
{
	for (const struct opt *o = table; o && o->name; o++) {
		void *field = (char *)target + o->offset;

		if (o->kind == OPT_STR) {
			free(*(char **)field);
			*(char **)field = NULL;
		} else if (o->kind == OPT_STRLIST) {
			struct strlist *l = field;

			for (unsigned i = 0; i < l->n; i++)
				free(l->v[i]);
			free(l->v);
			*l = (struct strlist){ 0 };
		}
	}
}

/* ---- help ---- */

static void kind_text(const struct opt *o, char *buf, size_t size)
{
	static const char *const names[] = {
		[OPT_BOOL] = "on|off", [OPT_ONOFFAUTO] = "on|off|auto", [OPT_SIZE] = "size",
		[OPT_STR] = "str",     [OPT_STRLIST] = "str",		[OPT_MAC] = "mac",
		[OPT_CUSTOM] = "str",
	};
	size_t n = 0;

	if (o->arg)
		snprintf(buf, size, "%s", o->arg);
	else if (o->kind == OPT_ENUM)
		for (unsigned i = 0; o->choices[i] && n < size; i++)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? "|" : "", o->choices[i]);
	else if (o->kind == OPT_UINT && (o->min || o->max))
		snprintf(buf, size, "%" PRIu64 "..%" PRIu64, o->min, o->max);
	else if (o->kind == OPT_INT && (o->min || o->max))
		snprintf(buf, size, "%" PRId64 "..%" PRId64, (int64_t)o->min, (int64_t)o->max);
	else if (o->kind == OPT_UINT || o->kind == OPT_INT)
		snprintf(buf, size, "%sint%u", o->kind == OPT_UINT ? "u" : "", 8u * o->width);
	else
		snprintf(buf, size, "%s", names[o->kind]);
}

void opts_help(FILE *out, const struct opt *table)
{
	for (const struct opt *o = table; o && o->name; o++) {
		char kind[300], left[400];

		kind_text(o, kind, sizeof(kind));
		snprintf(left, sizeof(left), "%s=<%s>", o->name, kind);
		fprintf(out, "  %-22s - %s", left, o->help ? o->help : "");
		if (o->required)
			fputs(" (required)", out);
		if (o->def)
			fprintf(out, " (default: %s)", *o->def ? o->def : "none");
		fputc('\n', out);
	}
}
