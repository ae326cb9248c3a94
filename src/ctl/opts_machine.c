/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of the machine: board, accelerator, processors, memory. */
#include <errno.h>
#include <stdlib.h>
#include <sys/sysinfo.h>

#include "ctl/options.h"
#include "machine/machine.h"

static const char *const off_only[] = { "off", NULL };
static const char *const off_or_auto[] = { "off", "auto", NULL };
static const char *const on_only[] = { "on", NULL };
static const char *const on_or_auto[] = { "on", "auto", NULL };
static const char *const off_or_on[] = { "off", "on", NULL };

static const struct opt board_keys[] = {
	OPT_F(struct board_opts, type, "type", OPT_STR, .arg = "vwire|pc|q35|none",
	      .help = "the board; there is one, vwire, and pc and q35 are other names for it; none: no guest at all, nothing "
		      "but backends and the hubs that join them"),
	OPT_F(struct board_opts, accel, "accel", OPT_STR, .arg = "kvm|qtest", .help = "as -accel"),
	OPT_F(struct board_opts, kernel, "kernel", OPT_STR, .arg = "file", .help = "as -kernel"),
	OPT_F(struct board_opts, initrd, "initrd", OPT_STR, .arg = "file", .help = "as -initrd"),
	OPT_F(struct board_opts, append, "append", OPT_STR, .arg = "text", .help = "as -append"),
	OPT_F(struct board_opts, irqchip, "kernel_irqchip", OPT_ENUM, .choices = on_only,
	      .help = "interrupt controllers are the kernel's"),
	OPT_F(struct board_opts, irqchip, "kernel-irqchip", OPT_ENUM, .choices = on_only,
	      .help = "another spelling of kernel_irqchip"),
	OPT_F(struct board_opts, acpi, "acpi", OPT_ENUM, .choices = on_or_auto, .help = "there is always ACPI"),
	OPT_F(struct board_opts, usb, "usb", OPT_ENUM, .choices = off_only, .help = "there is no USB"),
	OPT_F(struct board_opts, vmport, "vmport", OPT_ENUM, .choices = off_or_auto, .help = "there is no VMware port"),
	OPT_F(struct board_opts, smm, "smm", OPT_ENUM, .choices = off_or_auto,
	      .help = "there is no system management mode"),
	OPT_F(struct board_opts, hpet, "hpet", OPT_ENUM, .choices = off_only, .help = "there is no HPET"),
	OPT_F(struct board_opts, sata, "sata", OPT_ENUM, .choices = off_only, .help = "there is no disk controller"),
	OPT_F(struct board_opts, i8042, "i8042", OPT_ENUM, .choices = on_only,
	      .help = "the keyboard controller resets, and does nothing else"),
	OPT_F(struct board_opts, graphics, "graphics", OPT_ENUM, .choices = off_or_on,
	      .help = "accepted; there is no display either way"),
	OPT_END,
};

static const struct opt accel_keys[] = {
	OPT_F(struct accel_opts, name, "accel", OPT_STR, .arg = "kvm|qtest",
	      .help = "what runs the guest: KVM, or nothing but the commands of a test"),
	OPT_END,
};

/* "size=512", "512M", "1G": MiB without a suffix. */
static int parse_megs(const struct opt *o, const char *value, void *field, struct error *err)
{
	uint64_t size;
	int rc = parse_size(value, 'M', &size, err);

	(void)o;
	if (rc < 0)
		return rc;
	if (size < MACHINE_RAM_MIN)
		return fail(err, ERANGE, "too little; a guest needs at least %llu MiB", MACHINE_RAM_MIN / MIB);
	if (size % 4096)
		return fail(err, EINVAL, "not a multiple of a page, 4096 bytes");
	*(uint64_t *)field = size;
	return 0;
}

static int parse_no_hotplug(const struct opt *o, const char *value, void *field, struct error *err)
{
	(void)o;
	(void)field;
	if (!strcmp(value, "0"))
		return 0;
	return fail(err, ENOTSUP, "memory cannot be added while the guest runs; give it all by size=");
}

static const struct opt memory_keys[] = {
	OPT_F(struct memory_opts, size, "size", OPT_CUSTOM, .def = "128", .arg = "megs", .parse = parse_megs,
	      .help = "guest memory, MiB without a suffix; suffixes b k M G T"),
	OPT_F(struct memory_opts, slots, "slots", OPT_CUSTOM, .arg = "0", .parse = parse_no_hotplug,
	      .help = "memory cannot be added while the guest runs"),
	OPT_F(struct memory_opts, maxmem, "maxmem", OPT_CUSTOM, .arg = "0", .parse = parse_no_hotplug,
	      .help = "as slots"),
	OPT_END,
};

static const struct opt smp_keys[] = {
	OPT_F(struct smp_opts, cpus, "cpus", OPT_UINT, .min = 1, .max = MACHINE_CPUS_MAX, .arg = "n",
	      .help = "processors"),
	OPT_F(struct smp_opts, maxcpus, "maxcpus", OPT_UINT, .min = 1, .max = MACHINE_CPUS_MAX, .arg = "n",
	      .help = "as cpus: processors cannot be added later"),
	OPT_F(struct smp_opts, sockets, "sockets", OPT_UINT, .min = 1, .max = MACHINE_CPUS_MAX, .arg = "n",
	      .help = "sockets; the product of the topology is the number of processors"),
	OPT_F(struct smp_opts, dies, "dies", OPT_UINT, .min = 1, .max = MACHINE_CPUS_MAX, .arg = "n",
	      .help = "dies in a socket"),
	OPT_F(struct smp_opts, cores, "cores", OPT_UINT, .min = 1, .max = MACHINE_CPUS_MAX, .arg = "n",
	      .help = "cores in a die"),
	OPT_F(struct smp_opts, threads, "threads", OPT_UINT, .min = 1, .max = MACHINE_CPUS_MAX, .arg = "n",
	      .help = "threads in a core"),
	OPT_END,
};

/* ---- names ---- */

static const char *const boards[] = { "vwire", "pc", "q35", "none" };
static const char *const models[] = { "host", "max" };
static const char *const accels[] = { "kvm", "qtest" };

static void show_machines(void)
{
	printf("Supported machines are:\n"
	       "vwire                x86-64 board with PCI, ACPI and serial ports (default)\n"
	       "pc                   alias of vwire\n"
	       "q35                  alias of vwire\n"
	       "none                 no guest: netdevs and hubs only\n"
	       "Properties:\n");
}

static int check_machine(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	const char *type = cfg->board.type;
	const char *near;

	(void)cmd;
	(void)arg;
	for (unsigned i = 0; !type || i < ARRAY_SIZE(boards); i++) {
		if (!type || !strcmp(type, boards[i]))
			return 0;
	}
	near = nearest_name(type, boards, ARRAY_SIZE(boards));
	return fail(err, EINVAL,
		    "there is no machine '%.60s'; there is one board, vwire, also called pc and q35, and none%s%s%s",
		    type, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static int check_cpu(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	size_t len = strcspn(arg, ",");

	(void)cfg;
	(void)cmd;
	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		printf("Available CPUs:\n"
		       "host                 the host's processor as KVM offers it (default)\n"
		       "max                  alias of host\n");
		return CMDLINE_DONE;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
		if (len != strlen(models[i]) || memcmp(models[i], arg, len))
			continue;
		if (!arg[len])
			return 0;
		return fail(err, ENOTSUP, "feature flags are not offered; write %s alone, without '%.60s'", models[i],
			    arg + len);
	}
	return fail(err, EINVAL, "there is no processor model '%.*s'; there are host and max",
		    (int)MIN(len, (size_t)60), arg);
}

/* One of "kvm:tcg": QEMU takes the first that works, so a list with kvm in it means kvm. */
static bool accel_among(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; p; p = strchr(p, ':'), p = p ? p + 1 : NULL) {
		if (strcspn(p, ":") == len && !memcmp(p, name, len))
			return true;
	}
	return false;
}

static void show_accels(void)
{
	printf("Accelerators supported in vwire:\n"
	       "kvm                  the kernel's virtual machines (default)\n"
	       "qtest                no processor: a test drives the devices through -qtest\n");
}

int accel_check(const char *list, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(accels); i++) {
		if (accel_among(list, accels[i]))
			return 0;
	}
	return fail(err, EINVAL, "there is no accelerator '%.60s'; there are kvm and qtest", list);
}

static int check_accel(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	(void)cmd;
	(void)arg;
	return cfg->accel.name ? accel_check(cfg->accel.name, err) : 0;
}

bool config_no_guest(const struct config *cfg)
{
	return cfg->board.type && !strcmp(cfg->board.type, "none");
}

bool config_qtest(const struct config *cfg)
{
	return !config_no_guest(cfg) && cfg->accel.name && accel_among(cfg->accel.name, "qtest");
}

static int check_topology(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct smp_opts *s = &cfg->smp;
	uint64_t product = (uint64_t)MAX(s->sockets, 1u) * MAX(s->dies, 1u) * MAX(s->cores, 1u) * MAX(s->threads, 1u);
	bool topology = s->sockets || s->dies || s->cores || s->threads;
	uint64_t all = s->maxcpus ? s->maxcpus : s->cpus ? s->cpus : product;

	(void)cmd;
	(void)arg;
	if (all > MACHINE_CPUS_MAX)
		return fail(err, ERANGE, "%llu processors are too many; allowed are 1 to %d", (unsigned long long)all,
			    MACHINE_CPUS_MAX);
	/* What is not said of the topology is sockets, as QEMU would have it. */
	if (topology && (s->sockets ? product != all : all % product))
		return fail(err, EINVAL,
			    "sockets * dies * cores * threads = %llu, which is not the number of processors, %llu",
			    (unsigned long long)product, (unsigned long long)all);
	if (s->cpus && s->cpus != all)
		return fail(err, ENOTSUP,
			    "cpus=%u is not maxcpus=%llu; processors cannot be added while the guest runs", s->cpus,
			    (unsigned long long)all);
	s->cpus = (uint32_t)all;
	s->maxcpus = 0;
	return 0;
}

static int check_memory(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct sysinfo si;
	uint64_t host;

	(void)cmd;
	(void)arg;
	if (sysinfo(&si) < 0)
		return 0;
	host = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
	if (cfg->memory.size > host)
		return fail(err, ERANGE, "%llu MiB are more than the host's memory and swap, %llu MiB",
			    (unsigned long long)(cfg->memory.size / MIB), (unsigned long long)(host / MIB));
	return 0;
}

const struct cmd machine_cmds[] = {
	{ .name = "machine",
	  .alias = "M",
	  .kind = CMD_KEYS,
	  .arg = "[type=]name[,prop=value]...",
	  .implied = "type",
	  .keys = board_keys,
	  .offset = offsetof(struct config, board),
	  .apply = check_machine,
	  .show = show_machines,
	  .help = "Select the board and set its properties; -machine help lists them" },
	{ .name = "accel",
	  .kind = CMD_KEYS,
	  .arg = "name",
	  .implied = "accel",
	  .keys = accel_keys,
	  .offset = offsetof(struct config, accel),
	  .apply = check_accel,
	  .show = show_accels,
	  .help = "Select what runs the guest; KVM is the default. Of a list such as kvm:tcg, what is offered is taken" },
	{ .name = "enable-kvm",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, enable_kvm),
	  .help = "The same as -accel kvm" },
	{ .name = "cpu",
	  .kind = CMD_CUSTOM,
	  .arg = "host|max",
	  .apply = check_cpu,
	  .help = "Select the processor model; there are host and max, which are the same" },
	{ .name = "smp",
	  .kind = CMD_KEYS,
	  .arg = "[cpus=]n[,sockets=n][,dies=n][,cores=n][,threads=n]",
	  .implied = "cpus",
	  .keys = smp_keys,
	  .offset = offsetof(struct config, smp),
	  .apply = check_topology,
	  .help = "Set the number of processors (default: 1). A topology must come to the same number; the guest sees cores of "
		  "one socket whatever it is" },
	{ .name = "m",
	  .kind = CMD_KEYS,
	  .arg = "[size=]megs",
	  .implied = "size",
	  .keys = memory_keys,
	  .offset = offsetof(struct config, memory),
	  .apply = check_memory,
	  .help = "Set the guest's memory" },
	{ .name = NULL },
};
