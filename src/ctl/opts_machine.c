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
	OPT_F(struct board_opts, type, "type", OPT_STR, .arg = "vwire|pc|q35",
	      .help = "the board; there is one, vwire, and pc and q35 are other names for it"),
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

static const struct opt cpu_keys[] = {
	OPT_F(struct cpu_opts, model, "model", OPT_STR, .def = "host", .arg = "host|max",
	      .help = "the host's processor as KVM offers it; max is the same"),
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
		return fail(err, ERANGE, "%s is too little; a guest needs at least %llu MiB", value,
			    MACHINE_RAM_MIN / MIB);
	if (size % 4096)
		return fail(err, EINVAL, "%s is not a multiple of a page, 4096 bytes", value);
	*(uint64_t *)field = size;
	return 0;
}

static int parse_no_hotplug(const struct opt *o, const char *value, void *field, struct error *err)
{
	(void)field;
	if (!strcmp(value, "0"))
		return 0;
	return fail(err, ENOTSUP, "%s=%s: memory cannot be added while the guest runs; give it all by size=", o->name,
		    value);
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

static const char *const boards[] = { "vwire", "pc", "q35" };
static const char *const models[] = { "host", "max" };
static const char *const accels[] = { "kvm", "qtest" };

int machine_check(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	const char *type = cfg ? cfg->board.type : NULL;
	const char *near;

	(void)arg;
	if (!cfg) {
		printf("Supported machines are:\n"
		       "vwire                x86-64 board with PCI, ACPI and serial ports (default)\n"
		       "pc                   alias of vwire\n"
		       "q35                  alias of vwire\n"
		       "Properties:\n");
		opts_help(stdout, cmd->keys);
		return 0;
	}
	for (unsigned i = 0; !type || i < ARRAY_SIZE(boards); i++) {
		if (!type || !strcmp(type, boards[i]))
			return 0;
	}
	near = nearest_name(type, boards, ARRAY_SIZE(boards));
	return fail(err, EINVAL, "there is no machine '%s'; there is one board, vwire, also called pc and q35%s%s%s",
		    type, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

int cpu_check(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	(void)cmd;
	(void)arg;
	if (!cfg) {
		printf("Available CPUs:\n"
		       "host                 the host's processor as KVM offers it\n"
		       "max                  alias of host\n");
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
		if (!strcmp(cfg->cpu.model, models[i]))
			return 0;
	}
	return fail(err, EINVAL, "processor model '%s' is not offered; there are host and max, without feature flags",
		    cfg->cpu.model);
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

static int accel_pick(const char *list, const char **name, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(accels); i++) {
		if (accel_among(list, accels[i])) {
			*name = accels[i];
			return 0;
		}
	}
	return fail(err, EINVAL, "accelerator '%s' is not offered; there are kvm and qtest", list);
}

int accel_check(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	const char *name;

	(void)cmd;
	(void)arg;
	if (!cfg) {
		printf("Accelerators supported in vwire:\n"
		       "kvm                  the kernel's virtual machines (default)\n"
		       "qtest                no processor: a test drives the devices through -qtest\n");
		return 0;
	}
	return accel_pick(cfg->accel.name, &name, err);
}

bool config_qtest(const struct config *cfg)
{
	return cfg->accel.name && accel_among(cfg->accel.name, "qtest");
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
	  .apply = machine_check,
	  .help = "Select the board and set its properties; -machine help lists them" },
	{ .name = "accel",
	  .kind = CMD_KEYS,
	  .arg = "name",
	  .implied = "accel",
	  .keys = accel_keys,
	  .offset = offsetof(struct config, accel),
	  .apply = accel_check,
	  .help = "Select what runs the guest; KVM is the default. Of a list such as kvm:tcg, what is offered is taken" },
	{ .name = "enable-kvm",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, enable_kvm),
	  .help = "The same as -accel kvm" },
	{ .name = "cpu",
	  .kind = CMD_KEYS,
	  .arg = "model",
	  .implied = "model",
	  .keys = cpu_keys,
	  .offset = offsetof(struct config, cpu),
	  .apply = cpu_check,
	  .help = "Select the processor model; there are host and max, which are the same" },
	{ .name = "smp",
	  .kind = CMD_KEYS,
	  .arg = "[cpus=]n[,sockets=n][,dies=n][,cores=n][,threads=n]",
	  .implied = "cpus",
	  .keys = smp_keys,
	  .offset = offsetof(struct config, smp),
	  .apply = check_topology,
	  .help = "Set the number of processors (default: 1); a topology must come to the same number" },
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
