/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of consoles, of the process, and of help. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "char/chardev.h"
#include "ctl/help.h"
#include "ctl/options.h"

/* ---- consoles ---- */

static const char *const none_only[] = { "none", NULL };
static const char *const no_monitor[] = { "none", "null", NULL };

static int chardev_option_help(const char *type, struct error *err)
{
	if (type && strcmp(type, "help") && strcmp(type, "?"))
		return chardev_type_help(type, stdout, err) ?: CMDLINE_DONE;
	chardev_help(stdout);
	return CMDLINE_DONE;
}

/* Kept as text: nothing exists yet. But help is given at once. */
static int check_chardev(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	struct opt_list list;
	int rc = opt_list_parse(arg, "backend", &list, err);

	(void)cfg;
	(void)cmd;
	if (rc == 0 && opt_list_wants_help(&list))
		rc = chardev_option_help(opt_list_take(&list, "backend"), err);
	opt_list_free(&list);
	return rc;
}

const struct cmd console_cmds[] = {
	{ .name = "serial",
	  .kind = CMD_LIST,
	  .arg = "chardev:id|stdio|file:path|unix:path[,option]...|tcp:[host]:port[,option]...|pipe:path|pty|null|none",
	  .offset = offsetof(struct config, serial),
	  .help = "Connect the next serial port (up to four), to a -chardev or to one that is made for it. If none is said, "
		  "the first is stdio. On stdio, Ctrl-a x ends vwire; mon:stdio is taken as stdio" },
	{ .name = "chardev",
	  .kind = CMD_LIST,
	  .arg = "type,id=name[,option=value]...",
	  .offset = offsetof(struct config, chardev),
	  .apply = check_chardev,
	  .help = "Add a character device, which one front end uses by its id: a serial port, a filter. -chardev help lists "
		  "the types, -chardev type,help the options of one" },
	{ .name = "nographic",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, nographic),
	  .help = "Accepted: there is no display, and the first serial port is stdio anyway" },
	{ .name = "display",
	  .kind = CMD_CHOICE,
	  .arg = "none",
	  .choices = none_only,
	  .help = "There is no display: none is the only choice" },
	{ .name = "vga",
	  .kind = CMD_CHOICE,
	  .arg = "none",
	  .choices = none_only,
	  .help = "There is no display: none is the only choice" },
	{ .name = "monitor",
	  .kind = CMD_CHOICE,
	  .arg = "none",
	  .choices = no_monitor,
	  .help = "There is no monitor yet: none and null are the only choices" },
	{ .name = NULL },
};

/* ---- the process ---- */

static const char *const reboot_actions[] = { "reset", "shutdown", NULL };
static const char *const shutdown_actions[] = { "poweroff", "pause", NULL };

static const struct opt name_keys[] = {
	OPT_F(struct name_opts, guest, "guest", OPT_STR, .arg = "name", .help = "name of the virtual machine"),
	OPT_F(struct name_opts, process, "process", OPT_STR, .arg = "name",
	      .help = "name of the process, as ps shows it (at most 15 characters are shown)"),
	OPT_F(struct name_opts, debug_threads, "debug-threads", OPT_BOOL,
	      .help = "accepted; threads always have names"),
	OPT_END,
};

static const struct opt action_keys[] = {
	OPT_F(struct action_opts, reboot, "reboot", OPT_ENUM, .def = "reset", .choices = reboot_actions,
	      .help = "when the guest reboots"),
	OPT_F(struct action_opts, shutdown, "shutdown", OPT_ENUM, .def = "poweroff", .choices = shutdown_actions,
	      .help = "when the guest powers off"),
	OPT_END,
};

static int set_uuid(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	bool good = strlen(arg) == strlen(form);

	(void)cmd;
	for (unsigned i = 0; good && i < strlen(form); i++)
		good = form[i] == '-' ? arg[i] == '-' : strchr("0123456789abcdefABCDEF", arg[i]) != NULL;
	if (!good)
		return fail(err, EINVAL, "not a UUID; expected %s in hexadecimal digits", form);
	free(cfg->uuid);
	cfg->uuid = strdup(arg);
	return cfg->uuid ? 0 : fail(err, ENOMEM, "out of memory");
}

const struct cmd run_cmds[] = {
	{ .name = "name",
	  .kind = CMD_KEYS,
	  .arg = "[guest=]name[,process=name]",
	  .implied = "guest",
	  .keys = name_keys,
	  .offset = offsetof(struct config, name),
	  .help = "Name the virtual machine" },
	{ .name = "uuid",
	  .kind = CMD_CUSTOM,
	  .arg = "uuid",
	  .apply = set_uuid,
	  .help = "Accepted and checked, for programs that manage machines; the guest is not shown it" },
	{ .name = "pidfile",
	  .kind = CMD_TEXT,
	  .arg = "file",
	  .offset = offsetof(struct config, pidfile),
	  .help = "Write the process id to a file, which is locked meanwhile and removed at the end" },
	{ .name = "no-reboot",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, no_reboot),
	  .help = "End when the guest reboots" },
	{ .name = "no-shutdown",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, no_shutdown),
	  .help = "Pause when the guest powers off, and do not end" },
	{ .name = "action",
	  .kind = CMD_KEYS,
	  .arg = "[reboot=action][,shutdown=action]",
	  .keys = action_keys,
	  .offset = offsetof(struct config, action),
	  .help = "Say what follows when the guest reboots or powers off" },
	{ .name = "S",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, paused),
	  .help = "Do not start the processors; there is no monitor yet by which they could be started later, so the "
		  "guest never runs, and a signal ends vwire at once" },
	{ .name = "nodefaults",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, nodefaults),
	  .help = "Make no default devices: no network and no serial port that were not asked for" },
	{ .name = "no-user-config",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, no_user_config),
	  .help = "Accepted: there are no configuration files" },
	{ .name = "qtest",
	  .kind = CMD_TEXT,
	  .arg = "stdio|unix:path[,server=on][,wait=off]|fd:n",
	  .offset = offsetof(struct config, qtest),
	  .help = "Drive the devices by QEMU's qtest protocol on this channel; implies -accel qtest. vwire ends when "
		  "the channel is closed" },
	{ .name = "qtest-log",
	  .kind = CMD_TEXT,
	  .arg = "file|none",
	  .offset = offsetof(struct config, qtest_log),
	  .help = "Log what goes over the qtest channel; none is the default" },
	{ .name = NULL },
};

const struct cmd help_cmds[] = {
	{ .name = "help", .alias = "h", .kind = CMD_HELP, .apply = help_print, .help = "Print this list and end" },
	{ .name = "version", .kind = CMD_HELP, .apply = help_version, .help = "Print the version and end" },
	{ .name = "help=man", .kind = CMD_HELP, .apply = help_man },
	{ .name = NULL },
};

/* ---- what QEMU has and vwire has not ---- */

#define NO_DISKS     "there are no disks; put what the guest needs into -initrd, or use its network"
#define NO_DISPLAY   "there is no display; use -serial"
#define NO_MONITOR   "there is no monitor yet"
#define NO_MIGRATION "there is no migration yet"
#define NO_FIRMWARE  "there is no firmware; give a kernel with -kernel"
#define NO_USB	     "there is no USB"
#define NO_SMBIOS    "there are no SMBIOS tables"
#define NO_SHARED_FS "there are no shared folders; use the guest's network"

#define REFUSED(n, why)                                       \
	{                                                     \
		.name = (n), .kind = CMD_REFUSED, .help = why \
	}

const struct cmd refused_cmds[] = {
	REFUSED("daemonize",
		"run vwire in the background by the shell (vwire ... &), setsid or a service manager, with -pidfile"),
	REFUSED("sandbox", "vwire starts without a sandbox in this version; leave -sandbox out"),
	REFUSED("runas", "start vwire as that user"),
	REFUSED("chroot", "start vwire in that root"),
	REFUSED("no-acpi", "there is always ACPI; give the guest acpi=off with -append"),
	REFUSED("no-fd-bootchk", NO_DISKS),
	REFUSED("bios", NO_FIRMWARE),
	REFUSED("pflash", NO_FIRMWARE),
	REFUSED("option-rom", NO_FIRMWARE),
	REFUSED("dtb", "there is ACPI and no device tree"),
	REFUSED("drive", NO_DISKS),
	REFUSED("blockdev", NO_DISKS),
	REFUSED("hda", NO_DISKS),
	REFUSED("hdb", NO_DISKS),
	REFUSED("hdc", NO_DISKS),
	REFUSED("hdd", NO_DISKS),
	REFUSED("cdrom", NO_DISKS),
	REFUSED("fda", NO_DISKS),
	REFUSED("fdb", NO_DISKS),
	REFUSED("sd", NO_DISKS),
	REFUSED("mtdblock", NO_DISKS),
	REFUSED("snapshot", NO_DISKS),
	REFUSED("virtfs", NO_SHARED_FS),
	REFUSED("fsdev", NO_SHARED_FS),
	REFUSED("usb", NO_USB),
	REFUSED("usbdevice", NO_USB),
	REFUSED("vnc", NO_DISPLAY),
	REFUSED("spice", NO_DISPLAY),
	REFUSED("sdl", NO_DISPLAY),
	REFUSED("curses", NO_DISPLAY),
	REFUSED("full-screen", NO_DISPLAY),
	REFUSED("k", NO_DISPLAY),
	REFUSED("audio", "there is no sound"),
	REFUSED("audiodev", "there is no sound"),
	REFUSED("soundhw", "there is no sound"),
	REFUSED("parallel", "there is no parallel port"),
	REFUSED("mon", NO_MONITOR),
	REFUSED("qmp", NO_MONITOR),
	REFUSED("qmp-pretty", NO_MONITOR),
	REFUSED("debugcon", "there is no debug port; use a serial port"),
	REFUSED("gdb", "there is no debugger's port"),
	REFUSED("s", "there is no debugger's port"),
	REFUSED("smbios", NO_SMBIOS),
	REFUSED("acpitable", "the ACPI tables are vwire's own"),
	REFUSED("fw_cfg", NO_FIRMWARE),
	REFUSED("numa", "there is one node of memory"),
	REFUSED("mem-path", "guest memory is anonymous"),
	REFUSED("mem-prealloc", "guest memory is taken as it is touched"),
	REFUSED("incoming", NO_MIGRATION),
	REFUSED("loadvm", NO_MIGRATION),
	REFUSED("only-migratable", NO_MIGRATION),
	REFUSED("readconfig", "there are no configuration files; write the options out"),
	REFUSED("writeconfig", "there are no configuration files"),
	REFUSED("trace", "there are no trace files yet"),
	REFUSED("icount", "the guest's instructions are not counted"),
	REFUSED("watchdog", "there is no watchdog"),
	REFUSED("no-kvm", "vwire runs guests with KVM only"),
	REFUSED("tpmdev", "there is no TPM"),
	REFUSED("win2k-hack", NO_DISKS),
	{ .name = NULL },
};
