/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parsers of single option values. Numbers are parsed by hand: strtoull() takes signs, spaces and octal, and knows
 * fractions only as double.
 */
#include "base/opts.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

int parse_bool(const char *s, bool *out, struct error *err)
{
	static const char *const words[] = { "off", "on", "no", "yes", "false", "true", "n", "y" };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(s, words[i])) {
			*out = i & 1;
			return 0;
		}
	}
	return fail(err, EINVAL, "expected on or off");
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* Digits of a base, at least one: -EINVAL if there is none, -ERANGE if the number is too large. */
static int parse_digits(const char **s, int base, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;
	bool over = false;

	for (; digit_value(*p) < base; p++)
		over |= __builtin_mul_overflow(v, (uint64_t)base, &v) ||
			__builtin_add_overflow(v, (uint64_t)digit_value(*p), &v);
	if (p == *s)
		return -EINVAL;
	*s = p;
	*out = v;
	return over ? -ERANGE : 0;
}

/* A whole number, decimal or 0x hexadecimal, and nothing behind it. */
static int parse_number(const char *s, uint64_t *out)
{
	int base = 10, ret;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	}
	ret = parse_digits(&s, base, out);
	return ret != -EINVAL && *s ? -EINVAL : ret;
}

int parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct error *err)
{
	bool negative = *s == '-';
	uint64_t v;
	int ret = parse_number(s + negative, &v);

	if (ret == -EINVAL)
		return fail(err, EINVAL, "expected a number between %" PRIu64 " and %" PRIu64, min, max);
	if (ret || (negative && v) || v < min || v > max)
		return fail(err, ERANGE, "must be between %" PRIu64 " and %" PRIu64, min, max);
	*out = v;
	return 0;
}

/* The power of 1024 of a suffix, or -1. */
static int suffix_shift(char c)
{
	static const char suffixes[] = "bkmgtpe";
	const char *p = c ? strchr(suffixes, tolower((unsigned char)c)) : NULL;

	return p ? 10 * (int)(p - suffixes) : -1;
}

/* ".DIGITS" of a unit of 1 << shift bytes, rounded down to bytes. Digits beyond the 18th cannot matter below 1E. */
static uint64_t parse_fraction(const char **s, int shift)
{
	unsigned __int128 num = 0, den = 1;

	for (; isdigit((unsigned char)**s); (*s)++) {
		if (den < 1000000000000000000ULL) {
			num = num * 10 + (unsigned)(**s - '0');
			den *= 10;
		}
	}
	return (uint64_t)((num << shift) / den);
}

static int parse_size_parts(const char *s, char default_suffix, uint64_t *out)
{
	const char *dot = NULL;
	uint64_t whole, part = 0;
	int shift, ret;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return parse_number(s, out);
	ret = parse_digits(&s, 10, &whole);
	if (ret)
		return ret;
	if (*s == '.') {
		dot = ++s;
		s += strspn(s, "0123456789");
		if (s == dot)
			return -EINVAL;
	}
	shift = suffix_shift(*s ? *s++ : default_suffix);
	if (shift < 0 || *s || (dot && !shift))
		return -EINVAL;
	if (dot)
		part = parse_fraction(&dot, shift);
	if (__builtin_mul_overflow(whole, 1ULL << shift, &whole) || __builtin_add_overflow(whole, part, out))
		return -ERANGE;
	return 0;
}

int parse_size(const char *s, char default_suffix, uint64_t *out, struct error *err)
{
	uint64_t v;
	int ret = parse_size_parts(s, default_suffix ? default_suffix : 'b', &v);

	if (ret == -ERANGE)
		return fail(err, ERANGE, "must be less than 16E (2^64 bytes)");
	if (ret)
		return fail(err, EINVAL, "expected a size, such as 65536, 512M or 1.5G");
	*out = v;
	return 0;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
	for (; units->name; units++)
		if (!strcmp(units->name, name))
			return units;
	return NULL;
}

int parse_units(const char *s, const struct unit *units, uint64_t max, uint64_t *out)
{
	uint64_t whole, num = 0, den = 1;
	const struct unit *unit;
	unsigned __int128 v;
	int ret = parse_digits(&s, 10, &whole);

	if (ret)
		return ret;
	if (*s == '.' && !isdigit((unsigned char)*++s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++) {
		if (den < 1000000000000ULL) {
			num = num * 10 + (unsigned)(*s - '0');
			den *= 10;
		}
	}
	unit = find_unit(units, s);
	if (!unit)
		return -EINVAL;
	v = (unsigned __int128)whole * unit->value + (unsigned __int128)num * unit->value / den;
	if (v > max)
		return -ERANGE;
	*out = (uint64_t)v;
	return 0;
}

int parse_mac(const char *s, uint8_t mac[6], struct error *err)
{
	uint8_t v[6];
	char sep = 0;

	for (unsigned i = 0; i < 6; i++) {
		int hi = digit_value(s[0]), lo = hi < 16 ? digit_value(s[1]) : 99;

		if (lo >= 16)
			goto bad;
		v[i] = (uint8_t)(hi << 4 | lo);
		s += 2;
		if (i == 5)
			break;
		if ((*s != ':' && *s != '-') || (sep && *s != sep))
			goto bad;
		sep = *s++;
	}
	if (*s)
		goto bad;
	memcpy(mac, v, 6);
	return 0;
bad:
	return fail(err, EINVAL, "expected a MAC address, such as 52:54:00:12:34:56");
}

bool id_wellformed(const char *id)
{
	static const char rest[] = "-._";
	const char *p = id;

	if (!isascii((unsigned char)*p) || !isalpha((unsigned char)*p))
		return false;
	for (; *p; p++)
		if (!isascii((unsigned char)*p) || (!isalnum((unsigned char)*p) && !strchr(rest, *p)))
			return false;
	return p - id <= 127;
}

/*
 * Edit distance where a swap of neighbours is one step (optimal string alignment). Words longer than this are nobody's
 * typing error.
 */
#define WORD_MAX 48

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	return MIN(MIN(a, b), c);
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned row[3][WORD_MAX + 1];
	unsigned *older = row[0], *old = row[1], *now = row[2], *swap;

	for (size_t j = 0; j <= nb; j++)
		old[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned cost = !same_letter(a[i - 1], b[j - 1]);

			now[j] = min3(old[j] + 1, now[j - 1] + 1, old[j - 1] + cost);
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
				now[j] = MIN(now[j], older[j - 2] + 1);
		}
		swap = older, older = old, old = now, now = swap;
	}
	return old[nb];
}

const char *nearest_name(const char *word, const char *const *names, size_t n)
{
	size_t len = strnlen(word, WORD_MAX + 1);
	unsigned best = (unsigned)len / 3 + 1;
	const char *found = NULL;

	if (len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t other = strlen(names[i]);
		unsigned d;

		if (other > WORD_MAX)
			continue;
		d = distance(word, len, names[i], other);
		if (d < best) {
			best = d;
			found = names[i];
		}
	}
	return found;
}
