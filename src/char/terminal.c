/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. What a signal handler reads is written before the handler can run. */
#include "char/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_A 0x01

static struct termios saved;
static volatile sig_atomic_t is_raw;

void terminal_restore(void)
{
	if (!is_raw)
		return;
	is_raw = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

/* The default action of these ends the program without a chance to clean up. */
static void on_fatal(int sig)
{
	terminal_restore();
	raise(sig); /* SA_RESETHAND: the default action now */
}

static void catch_fatal(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL,	 SIGFPE, SIGABRT, SIGSYS,
				       SIGQUIT, SIGHUP, SIGTERM, SIGINT, SIGXCPU, SIGXFSZ };
	struct sigaction fatal = { .sa_handler = on_fatal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) }, old;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(signals[i], &fatal, NULL);
}

int terminal_raw(bool signals, struct error *err)
{
	static bool registered;
	struct termios t;

	if (!isatty(STDIN_FILENO) || is_raw)
		return 0;
	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return fail(err, errno, "cannot read the terminal's settings: %s", errno_str(errno));
	if (!registered) {
		registered = true;
		atexit(terminal_restore);
		catch_fatal();
	}
	t = saved;
	cfmakeraw(&t);
	t.c_oflag |= OPOST; /* what vwire itself says still needs its carriage returns */
	if (signals)
		t.c_lflag |= ISIG;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	is_raw = 1;
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0) {
		is_raw = 0;
		return fail(err, errno, "cannot set the terminal: %s", errno_str(errno));
	}
	return 0;
}

static void print_help(void)
{
	static const char text[] = "\n"
				   "Ctrl-a h       this text\n"
				   "Ctrl-a x       end vwire at once\n"
				   "Ctrl-a c       there is no monitor on this terminal\n"
				   "Ctrl-a Ctrl-a  send Ctrl-a to the guest\n";
	ssize_t n = write(STDOUT_FILENO, text, sizeof(text) - 1);

	(void)n;
}

size_t terminal_filter(bool *escaped, uint8_t *buf, size_t n, void (*quit)(void *arg), void *arg)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = buf[i];

		if (!*escaped) {
			if (c == CTRL_A)
				*escaped = true;
			else
				buf[out++] = c;
			continue;
		}
		*escaped = false;
		if (c == CTRL_A) {
			buf[out++] = c;
		} else if (c == 'x') {
			quit(arg);
			return out;
		} else {
			print_help();
		}
	}
	return out;
}
