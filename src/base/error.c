/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors for people: text in the caller's frame, cut if it is too long. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

void error_set(struct error *err, const char *fmt, ...)
{
	char text[sizeof(err->msg)];
	va_list ap;

	if (!err)
		return;
	/* Arguments may point into err->msg: the old text is part of many a new one. */
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(err->msg, text, sizeof(text));
}

void error_prefix(struct error *err, const char *fmt, ...)
{
	char text[sizeof(err->msg)];
	va_list ap;
	size_t n;

	if (!err)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = strlen(text);
	memcpy(text + n, err->msg, MIN(strlen(err->msg) + 1, sizeof(text) - n));
	text[sizeof(text) - 1] = 0;
	memcpy(err->msg, text, sizeof(text));
}

const char *errno_str(int code)
{
	const char *s = strerrordesc_np(code < 0 ? -code : code);

	return s ? s : "unknown error";
}
