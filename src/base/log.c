/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages on stderr, one write(2) a line, so that lines of several threads do not mix. Control characters are
 * replaced: a message may quote what a peer or a guest sent, and must not drive the terminal.
 *
 * The limit for what others can cause is a window of one second with LINES_PER_SECOND lines. The first line that does
 * not fit is answered by one that says so; how many were left out is said before the next line of any kind once the
 * second is over.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"

#define LINES_PER_SECOND 10

static struct mutex lock = MUTEX_INIT;
static char program[32] GUARDED_BY(lock) = "vwire";
static enum log_level max_level GUARDED_BY(lock) = LOG_INFO;
static uint64_t window_start GUARDED_BY(lock);
static unsigned window_lines GUARDED_BY(lock);
static unsigned long suppressed GUARDED_BY(lock);

static const char *const level_text[] = { "", "warning: ", "info: ", "debug: " };

void log_init(const char *name, enum log_level max)
{
	mutex_lock(&lock);
	snprintf(program, sizeof(program), "%s", name);
	max_level = max;
	mutex_unlock(&lock);
}

static void write_line(enum log_level level, const char *text) REQUIRES(lock)
{
	char line[1100];
	int n = snprintf(line, sizeof(line) - 1, "%s: %s%s", program, level_text[level], text);

	n = MIN(n, (int)sizeof(line) - 2);
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	/* There is nowhere to tell that stderr is gone. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Begin a new window if the old one is over, and settle what it left out. */
static void turn_window(uint64_t now) REQUIRES(lock)
{
	char text[64];

	if (window_lines && now - window_start < (uint64_t)NSEC_PER_SEC)
		return;
	if (suppressed) {
		snprintf(text, sizeof(text), "%lu messages were left out", suppressed);
		write_line(LOG_WARN, text);
	}
	suppressed = 0;
	window_lines = 0;
	window_start = now;
}

static bool window_admits(void) REQUIRES(lock)
{
	if (window_lines++ < LINES_PER_SECOND)
		return true;
	if (!suppressed++)
		write_line(LOG_WARN, "too many messages; leaving some out");
	return false;
}

static void vlog(enum log_level level, bool limited, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	mutex_lock(&lock);
	if (level <= max_level) {
		if (limited || suppressed)
			turn_window(now_ns());
		if (!limited || window_admits())
			write_line(level, text);
	}
	mutex_unlock(&lock);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(level, false, fmt, ap);
	va_end(ap);
}

void log_limited(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(level, true, fmt, ap);
	va_end(ap);
}
