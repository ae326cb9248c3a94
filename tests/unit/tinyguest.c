/* SPDX-License-Identifier: BSD-2-Clause */
/* See the header. */
#include "tinyguest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asm/bootparam.h>

#include "ctl/types.h"

struct error err;
struct loop *loop;
struct machine *machine;
struct accel *accel;
int serial_fd, status;
static int image_fd;

static void on_exit_request(void *arg, int st)
{
	(void)arg;
	status = st;
	loop_stop(loop);
}

static struct loop *place(void *arg)
{
	return arg;
}

static const char *make_image(const uint8_t *code, size_t len)
{
	static char path[32];
	static uint8_t image[8192];
	struct setup_header *h = (void *)(image + 0x1f1);

	memset(image, 0, sizeof(image));
	h->setup_sects = 1;
	h->syssize = (0x200 + 0x1000) / 16;
	h->boot_flag = 0xaa55;
	h->jump = 0x66eb;
	h->header = 0x53726448;
	h->version = 0x020f;
	h->loadflags = LOADED_HIGH;
	h->initrd_addr_max = 0x7fffffff;
	h->xloadflags = XLF_KERNEL_64;
	h->cmdline_size = 255;
	h->pref_address = 0x100000;
	assert_true(len <= 0x1000);
	memcpy(image + 1024 + 0x200, code, len);
	image_fd = memfd_create("image", MFD_CLOEXEC);
	assert_int_equal(write(image_fd, image, sizeof(image)), sizeof(image));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", image_fd);
	return path;
}

void make(const uint8_t *code, size_t len, struct machine_config cfg, struct loop *net)
{
	char serial[48];
	struct accel_env env;

	serial_fd = memfd_create("serial", MFD_CLOEXEC);
	snprintf(serial, sizeof(serial), "file:/proc/self/fd/%d", serial_fd);
	cfg.serial[0] = serial;
	cfg.kernel = make_image(code, len);
	cfg.ram_size = 32 * MIB;
	cfg.cpus = cfg.cpus ? cfg.cpus : 1;
	cfg.cpu_model = "host";
	status = -1;
	loop = loop_new("main", &err);
	assert_non_null(loop);
	machine = machine_new(&cfg, loop, &err);
	assert_non_null(machine);
	assert_int_equal(machine_load(machine, &err), 0);
	machine_on_exit(machine, on_exit_request, NULL);
	env = machine_accel_env(machine);
	accel = kvm_accel_new(&env, &err);
	assert_non_null(accel);
	machine_set_accel(machine, accel);
	assert_int_equal(machine_init_buses(machine, place, net ? net : loop, &err), 0);
}

volatile uint32_t *mailbox(unsigned off)
{
	return ram_ptr(machine_accel_env(machine).ram, MAILBOX + off, 4);
}

void start(void)
{
	assert_int_equal(machine_ready(machine, &err), 0);
	assert_string_equal(machine_state_name(machine), "prelaunch");
	machine_start(machine);
}

void unmake(void)
{
	machine_free(machine);
	loop_free(loop);
	close(image_fd);
	close(serial_fd);
}

void run(void)
{
	start();
	loop_run(loop);
}

void until(unsigned off, uint32_t value)
{
	for (unsigned i = 0; *mailbox(off) < value; i++) {
		assert_true(i < 10000);
		loop_turn(loop);
		usleep(1000);
	}
}

void prepare(const struct type *const *types)
{
	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		printf("/dev/kvm cannot be used here\n");
		exit(77);
	}
	chardev_types_init(chardev_types);
	if (types_init(types, &err) != 0)
		exit(1);
}
