/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors and messages: cut, prefixed, limited, and never a way to drive a terminal. */
#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"

static void fail_returns_code(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(fail(&err, EINVAL, "%s=%d", "queues", 0), -EINVAL);
	assert_string_equal(err.msg, "queues=0");
	assert_int_equal(fail(NULL, ENOMEM, "nobody reads this"), -ENOMEM);
	error_prefix(NULL, "nor this");
}

static void prefix_goes_in_front(void **state)
{
	struct error err;

	(void)state;
	fail(&err, EINVAL, "bad");
	error_prefix(&err, "-netdev tap,id=%s: ", "n0");
	assert_string_equal(err.msg, "-netdev tap,id=n0: bad");
	/* The old text may be an argument of the new one. */
	fail(&err, EINVAL, "again: %s", err.msg);
	assert_string_equal(err.msg, "again: -netdev tap,id=n0: bad");
}

static void long_texts_are_cut(void **state)
{
	struct error err;
	char big[2000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	fail(&err, EINVAL, "%s", big);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	error_prefix(&err, "p: ");
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "p: xxx", 6);
	error_prefix(&err, "%s", big);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void errno_texts(void **state)
{
	(void)state;
	assert_string_equal(errno_str(ENOENT), "No such file or directory");
	assert_string_equal(errno_str(-ENOENT), "No such file or directory");
	assert_string_equal(errno_str(123456), "unknown error");
}

/* ---- messages ---- */

static int saved_stderr, pipe_fd;

static void capture(void)
{
	int fds[2];

	fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	pipe_fd = fds[0];
}

static const char *captured(void)
{
	static char text[65536];
	ssize_t n;

	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	n = read(pipe_fd, text, sizeof(text) - 1);
	close(pipe_fd);
	text[n < 0 ? 0 : n] = 0;
	return text;
}

static void lines_have_level_and_name(void **state)
{
	(void)state;
	capture();
	log_err("one");
	log_warn("two %d", 2);
	log_debug("not shown");
	log_init("vwire-user", LOG_DEBUG);
	log_debug("shown");
	log_init("vwire", LOG_INFO);
	assert_string_equal(captured(), "vwire: one\nvwire: warning: two 2\nvwire-user: debug: shown\n");
}

static void a_message_is_one_clean_line(void **state)
{
	char big[5000];
	const char *text;

	(void)state;
	capture();
	log_info("a\nb\033[2Jc");
	assert_string_equal(captured(), "vwire: info: a?b?[2Jc\n");
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	capture();
	log_info("%s", big);
	text = captured();
	assert_int_equal(strchr(text, '\n') - text, strlen(text) - 1);
}

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void others_cannot_flood(void **state)
{
	const char *text;

	(void)state;
	capture();
	for (unsigned i = 0; i < 1000; i++)
		log_limited(LOG_WARN, "guest line %u", i);
	text = captured();
	assert_non_null(strstr(text, "guest line 9\n"));
	assert_null(strstr(text, "guest line 10\n"));
	assert_non_null(strstr(text, "too many messages"));
	assert_int_equal(count_lines(text), 11);
	usleep(1050000);
	capture();
	log_limited(LOG_WARN, "later");
	assert_string_equal(captured(), "vwire: warning: 990 messages were left out\nvwire: warning: later\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fail_returns_code),	     cmocka_unit_test(prefix_goes_in_front),
		cmocka_unit_test(long_texts_are_cut),	     cmocka_unit_test(errno_texts),
		cmocka_unit_test(lines_have_level_and_name), cmocka_unit_test(a_message_is_one_clean_line),
		cmocka_unit_test(others_cannot_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
