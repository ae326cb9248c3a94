/* SPDX-License-Identifier: BSD-2-Clause */
/* The 16550A by its registers, and character devices under it: a file, a UNIX socket, nothing. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "char/type.h"
#include "ctl/types.h"
#include "machine/serial.h"
#include "char/terminal.h"

static struct error err;
static struct loop *loop;
static struct serial port;
static bool line;
static unsigned edges;
static char dir[32];

static void set_line(void *opaque, unsigned gsi, bool level)
{
	(void)opaque;
	assert_int_equal(gsi, 4);
	assert_true(level != line);
	line = level;
	edges++;
}

static const struct irq_chip chip = { .set_line = set_line };

static uint8_t in(unsigned reg)
{
	uint8_t v;

	mutex_lock(&port.lock);
	v = (uint8_t)port.region.ops->read(&port, reg, 1);
	mutex_unlock(&port.lock);
	return v;
}

static void out(unsigned reg, uint8_t v)
{
	mutex_lock(&port.lock);
	port.region.ops->write(&port, reg, v, 1);
	mutex_unlock(&port.lock);
}

static void settle(void)
{
	for (unsigned i = 0; i < 50; i++) {
		while (loop_turn(loop))
			;
		usleep(1000); /* output waits a little for more */
	}
}

static void quit(void *opaque)
{
	(void)opaque;
}

static void plug(const char *spec)
{
	struct chardev *chr = NULL;

	line = false;
	edges = 0;
	if (spec)
		assert_int_equal(chardev_open("-serial", spec, &chr, &err), 0);
	serial_init(&port, &chip, 4, chr);
	assert_int_equal(serial_start(&port, loop, quit, NULL, &err), 0);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/serial.XXXXXX");
	assert_non_null(mkdtemp(dir));
	loop = loop_new("test", &err);
	chardev_set_main_loop(loop);
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	char cmd[64];

	(void)state;
	serial_destroy(&port);
	memset(&port, 0, sizeof(port));
	loop_free(loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static const char *in_dir(const char *prefix, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s%s/%s", prefix, dir, name);
	return path;
}

/* ---- registers ---- */

static void a_fresh_port_is_idle(void **state)
{
	(void)state;
	plug(NULL);
	assert_int_equal(in(5), 0x60); /* transmitter empty, nothing received */
	assert_int_equal(in(2), 0x01); /* no interrupt, no FIFOs */
	assert_int_equal(in(6), 0xb0); /* CTS, DSR, DCD */
	assert_false(line);
	assert_int_equal(in(0), 0);
}

static void scratch_and_divisor_are_kept(void **state)
{
	(void)state;
	plug(NULL);
	out(7, 0x5a);
	assert_int_equal(in(7), 0x5a);
	out(3, 0x83);
	out(0, 0x34);
	out(1, 0x12);
	assert_int_equal(in(0), 0x34);
	assert_int_equal(in(1), 0x12);
	out(3, 0x03);
	assert_int_equal(in(1), 0);
	assert_int_equal(in(3), 0x03);
}

/* What drivers do to see whether a 16550A is there. */
static void loopback_connects_data_and_modem_lines(void **state)
{
	(void)state;
	plug("null");
	out(4, 0x10 | 0x0a); /* RTS, OUT2 */
	assert_int_equal(in(6) & 0xf0, 0x90);
	out(4, 0x10 | 0x05);
	assert_int_equal(in(6) & 0xf0, 0x60);
	out(2, 0x01);
	out(0, 'x');
	assert_int_equal(in(5) & 1, 1);
	assert_int_equal(in(0), 'x');
	assert_int_equal(in(5) & 1, 0);
	assert_int_equal(in(2), 0xc1);
}

static void transmitter_interrupts_once_until_asked(void **state)
{
	(void)state;
	plug("null");
	out(4, 0x08); /* OUT2: the gate of the line */
	out(1, 0x02);
	assert_true(line); /* empty at once */
	assert_int_equal(in(2), 0x02);
	assert_false(line); /* reading IIR clears it */
	assert_int_equal(in(2), 0x01);
	out(0, 'a');
	assert_true(line);
	out(4, 0);
	assert_false(line);
	out(4, 0x08);
	assert_true(line);
	out(1, 0);
	assert_false(line);
}

static void overrun_keeps_the_fifo_and_says_so(void **state)
{
	(void)state;
	plug(NULL);
	out(2, 0x01);
	out(4, 0x10);
	for (unsigned i = 0; i < 20; i++)
		out(0, (uint8_t)('a' + i));
	assert_int_equal(in(5) & 0x03, 0x03);
	assert_int_equal(in(5) & 0x02, 0);
	for (unsigned i = 0; i < SERIAL_FIFO; i++)
		assert_int_equal(in(0), 'a' + i);
	assert_int_equal(in(5) & 1, 0);
	out(0, 'z');
	out(2, 0x03); /* clear the receiver */
	assert_int_equal(in(5) & 1, 0);
}

static void reset_drops_the_line(void **state)
{
	(void)state;
	plug("null");
	out(4, 0x08);
	out(1, 0x02);
	assert_true(line);
	serial_reset(&port);
	assert_false(line);
	assert_int_equal(in(1), 0);
	assert_int_equal(in(4), 0);
}

/* ---- with a character device ---- */

static void output_reaches_a_file(void **state)
{
	char got[64] = "";
	int fd;

	(void)state;
	plug(in_dir("file:", "out"));
	for (const char *s = "hello\r\n"; *s; s++)
		out(0, (uint8_t)*s);
	settle();
	fd = open(in_dir("", "out"), O_RDONLY);
	assert_int_equal(read(fd, got, sizeof(got)), 7);
	assert_string_equal(got, "hello\r\n");
	/* What was written last is there after the end too. */
	out(0, '!');
	serial_destroy(&port);
	serial_init(&port, &chip, 4, NULL);
	assert_int_equal(read(fd, got, sizeof(got)), 1);
	close(fd);
}

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sa.sun_path, in_dir("", "sock"));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	settle();
	return fd;
}

static void input_waits_for_room(void **state)
{
	char text[101], spec[160];
	int fd;

	(void)state;
	snprintf(spec, sizeof(spec), "%s,server=on,wait=off", in_dir("unix:", "sock"));
	plug(spec);
	out(2, 0xc1); /* FIFOs, trigger at 14 */
	out(1, 0x01);
	out(4, 0x08);
	fd = dial();
	for (unsigned i = 0; i < 100; i++)
		text[i] = (char)('0' + i % 64);
	assert_int_equal(write(fd, text, 100), 100);
	for (unsigned i = 0; i < 100; i++) {
		if (!(in(5) & 1))
			settle();
		assert_true(line);
		assert_int_equal(in(2) & 0x0f, port.rx_len >= 14 ? 0x04 : 0x0c);
		assert_int_equal(in(0), text[i]);
		assert_int_equal(in(5) & 0x02, 0); /* never an overrun */
	}
	settle();
	assert_false(line);
	close(fd);
}

static void input_comes_when_loopback_ends(void **state)
{
	char spec[160];
	int fd;

	(void)state;
	snprintf(spec, sizeof(spec), "%s,server=on,wait=off", in_dir("unix:", "sock"));
	plug(spec);
	fd = dial();
	out(4, 0x10);
	assert_int_equal(write(fd, "a", 1), 1);
	settle();
	assert_int_equal(in(5) & 1, 0);
	out(4, 0);
	settle();
	assert_int_equal(in(5) & 1, 1);
	assert_int_equal(in(0), 'a');
	close(fd);
}

static void a_stuck_reader_stops_the_transmitter_only(void **state)
{
	char spec[160], buf[4096];
	unsigned sent = 0, got = 0;
	int fd;

	(void)state;
	snprintf(spec, sizeof(spec), "%s,server=on,wait=off", in_dir("unix:", "sock"));
	plug(spec);
	fd = dial();
	/* A driver that waits for THRE fills the socket and then the ring. */
	for (unsigned idle = 0; idle < 3;) {
		if (in(5) & 0x20) {
			out(0, (uint8_t)sent++);
			idle = 0;
		} else {
			settle();
			idle++;
		}
		assert_true(sent < 10000000);
	}
	out(4, 0x08);
	out(1, 0x02);
	assert_false(line);
	out(0, 0xff); /* written all the same: lost and counted */
	assert_int_equal(counter_get(&port.lost), 1);
	/* The reader wakes up: everything arrives in order, and the interrupt comes. */
	while (got < sent) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0) {
			settle();
			continue;
		}
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal((uint8_t)buf[i], (uint8_t)got);
	}
	settle();
	assert_true(line);
	assert_int_equal(in(5) & 0x60, 0x60);
	close(fd);
}

static _Atomic bool flooding;
static _Atomic uint64_t flooded; /* bytes that were taken */

static void *flood(void *arg)
{
	uint8_t text[512];
	bool full;

	memset(text, 'x', sizeof(text));
	while (atomic_load(&flooding))
		atomic_fetch_add(&flooded, chardev_write(arg, text, sizeof(text), &full));
	return NULL;
}

/* Output that comes as fast as it is written keeps nobody else on the loop waiting. */
static void a_flood_of_output_leaves_turns_to_others(void **state)
{
	struct chardev *chr;
	uint64_t most = 0;
	pthread_t writer;

	(void)state;
	plug("file:/dev/null");
	chr = port.chr;
	atomic_store(&flooding, true);
	assert_int_equal(pthread_create(&writer, NULL, flood, chr), 0);
	/* A turn writes no more than some rings full. */
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t before = atomic_load(&flooded), took;

		loop_turn(loop);
		took = atomic_load(&flooded) - before;
		most = MAX(most, took);
	}
	atomic_store(&flooding, false);
	pthread_join(writer, NULL);
	settle();
	assert_int_equal(chr->len, 0);
	assert_true(most <= 4 * CHARDEV_RING);
}

static void a_server_takes_one_after_the_other(void **state)
{
	char spec[160], c;
	int fd;

	(void)state;
	snprintf(spec, sizeof(spec), "%s,server=on,wait=off", in_dir("unix:", "sock"));
	plug(spec);
	out(0, '?'); /* nobody there: lost */
	settle();
	for (unsigned i = 0; i < 3; i++) {
		fd = dial();
		out(0, (uint8_t)('a' + i));
		settle();
		assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 1);
		assert_int_equal(c, 'a' + i);
		close(fd);
		settle();
	}
	serial_destroy(&port);
	serial_init(&port, &chip, 4, NULL);
	assert_int_equal(access(in_dir("", "sock"), F_OK), -1);
}

static void make_named(const char *text)
{
	struct opt_list l = { 0 };

	assert_int_equal(opt_list_parse(text, "backend", &l, &err), 0);
	assert_int_equal(chardev_add(&l, &err), 0);
	opt_list_free(&l);
}

/* Started or not, a port that did not get the device leaves it to whoever has it. */
static void another_front_end_keeps_its_device(void **state)
{
	const struct chardev_client client = { 0 };
	char text[160], got[8] = "";
	struct chardev *c;
	FILE *f;

	(void)state;
	plug(NULL);
	snprintf(text, sizeof(text), "file,id=c,path=%s", in_dir("", "out"));
	make_named(text);
	c = chardev_find("c");
	assert_int_equal(chardev_attach(c, "filter-mirror,id=m", &client, loop, &err), 0);
	for (unsigned i = 0; i < 2; i++) {
		bool full;

		serial_destroy(&port);
		assert_int_equal(chardev_open("-serial", "chardev:c", &c, &err), 0);
		serial_init(&port, &chip, 4, c);
		if (i) {
			assert_int_equal(serial_start(&port, loop, quit, NULL, &err), -EBUSY);
			assert_non_null(strstr(err.msg, "in use by filter-mirror,id=m"));
		}
		serial_destroy(&port);
		serial_init(&port, &chip, 4, NULL);
		assert_int_equal(chardev_write(c, "ab", 2, &full), 2);
		assert_int_equal(chardev_del("c", &err), -EBUSY);
	}
	chardev_detach(c);
	assert_int_equal(chardev_lost(c), 0);
	assert_int_equal(chardev_del("c", &err), 0);
	f = fopen(in_dir("", "out"), "r");
	assert_int_equal(fread(got, 1, sizeof(got), f), 4);
	fclose(f);
	assert_memory_equal(got, "abab", 4);
}

static void refused(const char *spec, const char *text)
{
	struct chardev *c;

	err.msg[0] = 0;
	assert_true(chardev_open("-serial", spec, &c, &err) < 0);
	assert_null(c);
	if (!strstr(err.msg, text))
		print_error("'%s' lacks '%s'\n", err.msg, text);
	assert_non_null(strstr(err.msg, text));
	assert_non_null(strstr(err.msg, "-serial"));
	assert_null(strchr(err.msg, '\n'));
}

static void bad_specifications_are_explained(void **state)
{
	char spec[256], longest[160];

	(void)state;
	plug(NULL);
	refused("ptty", "allowed are stdio, file:PATH");
	refused("file:", "path");
	refused("file:/nonexistent/x", "No such file");
	snprintf(spec, sizeof(spec), "file:%s", dir);
	refused(spec, "directory");
	refused("unix:", "");
	refused(in_dir("unix:", "nobody"), "server=on makes the socket here");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	snprintf(spec, sizeof(spec), "unix:%s", longest);
	refused(spec, "at most 108");
	snprintf(spec, sizeof(spec), "%s,server=maybe", in_dir("unix:", "s"));
	refused(spec, "server");
	snprintf(spec, sizeof(spec), "%s,sever=on", in_dir("unix:", "s"));
	refused(spec, "sever");
	assert_int_equal(mkfifo(in_dir("", "fifo"), 0600), 0);
	refused(in_dir("file:", "fifo"), "reader");
}

static void a_socket_file_left_behind_is_replaced(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char spec[160];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	strcpy(sa.sun_path, in_dir("", "sock"));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	snprintf(spec, sizeof(spec), "%s,server=on,wait=off", in_dir("unix:", "sock"));
	/* Somebody serves it: not ours to take, and still there afterwards. */
	assert_int_equal(listen(fd, 1), 0);
	refused(spec, "in use");
	assert_int_equal(access(in_dir("", "sock"), F_OK), 0);
	close(fd);
	plug(spec);
	close(dial());
}

/* ---- Ctrl-a ---- */

static unsigned quits;

static void count_quit(void *arg)
{
	(void)arg;
	quits++;
}

static void ctrl_a_commands(void **state)
{
	bool escaped = false;
	uint8_t buf[32];

	(void)state;
	plug(NULL);
	memcpy(buf, "ab\001\001c\001", 6);
	assert_int_equal(terminal_filter(&escaped, buf, 6, count_quit, NULL), 4);
	assert_memory_equal(buf, "ab\001c", 4);
	assert_true(escaped); /* across reads */
	memcpy(buf, "xyz", 3);
	assert_int_equal(terminal_filter(&escaped, buf, 3, count_quit, NULL), 0);
	assert_int_equal(quits, 1);
}

/* A child with the terminal for its input and output; it waits for its end. */
static void child(int tty)
{
	struct chardev_client client = { 0 };
	struct chardev *c;

	dup2(tty, 0);
	dup2(tty, 1);
	if (chardev_open("-serial", "stdio", &c, &err) < 0 || chardev_attach(c, "test", &client, loop, &err) < 0)
		_exit(99);
	if (write(tty, "raw", 3) == 3)
		pause();
	_exit(98);
}

static void the_terminal_is_restored_whatever_happens(void **state)
{
	static const int ends[] = { SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGBUS };

	(void)state;
	plug(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct termios before, raw, after;
		int master, tty, st;
		char buf[8];
		pid_t pid;

		assert_int_equal(openpty(&master, &tty, NULL, NULL, NULL), 0);
		tcgetattr(tty, &before);
		pid = fork();
		if (pid == 0) {
			for (size_t k = 0; k < ARRAY_SIZE(ends); k++)
				signal(ends[k], SIG_DFL); /* a sanitizer's handler would be in the way */
			child(tty);
		}
		assert_int_equal(read(master, buf, 3), 3);
		tcgetattr(tty, &raw);
		assert_int_equal(raw.c_lflag & (ICANON | ECHO | ISIG), 0);
		kill(pid, ends[i]);
		assert_int_equal(waitpid(pid, &st, 0), pid);
		assert_true(WIFSIGNALED(st) && WTERMSIG(st) == ends[i]);
		tcgetattr(tty, &after);
		assert_int_equal(after.c_lflag, before.c_lflag);
		assert_int_equal(after.c_iflag, before.c_iflag);
		assert_int_equal(after.c_oflag, before.c_oflag);
		assert_memory_equal(after.c_cc, before.c_cc, VEOL2);
		close(master);
		close(tty);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_fresh_port_is_idle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(scratch_and_divisor_are_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(loopback_connects_data_and_modem_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(transmitter_interrupts_once_until_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(overrun_keeps_the_fifo_and_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reset_drops_the_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(output_reaches_a_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(input_waits_for_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(input_comes_when_loopback_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stuck_reader_stops_the_transmitter_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flood_of_output_leaves_turns_to_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_server_takes_one_after_the_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(another_front_end_keeps_its_device, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_specifications_are_explained, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_socket_file_left_behind_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ctrl_a_commands, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_terminal_is_restored_whatever_happens, set_up, tear_down),
	};

	chardev_types_init(chardev_types);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
