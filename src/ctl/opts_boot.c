/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of booting: kernel, initrd, command line, and what QEMU's scripts say about firmware and clock. */
#include "ctl/options.h"

static const char *const rtc_bases[] = { "utc", NULL };
static const char *const rtc_clocks[] = { "host", NULL };

static const struct opt boot_keys[] = {
	OPT_F(struct boot_opts, order, "order", OPT_STR, .arg = "drives",
	      .help = "accepted; there is one thing to boot"),
	OPT_F(struct boot_opts, once, "once", OPT_STR, .arg = "drives", .help = "accepted as order"),
	OPT_F(struct boot_opts, menu, "menu", OPT_BOOL, .help = "accepted; there is no menu"),
	OPT_F(struct boot_opts, strict, "strict", OPT_BOOL, .help = "accepted"),
	OPT_END,
};

static const struct opt rtc_keys[] = {
	OPT_F(struct rtc_opts, base, "base", OPT_ENUM, .choices = rtc_bases, .help = "the clock runs in UTC"),
	OPT_F(struct rtc_opts, clock, "clock", OPT_ENUM, .choices = rtc_clocks, .help = "it follows the host's"),
	OPT_END,
};

const struct cmd boot_cmds[] = {
	{ .name = "kernel",
	  .kind = CMD_TEXT,
	  .arg = "file",
	  .offset = offsetof(struct config, kernel),
	  .help = "Boot this Linux kernel: a bzImage, or an ELF vmlinux with a PVH entry. There is no firmware" },
	{ .name = "initrd",
	  .kind = CMD_TEXT,
	  .arg = "file",
	  .offset = offsetof(struct config, initrd),
	  .help = "Hand this initial RAM file system to the kernel" },
	{ .name = "append",
	  .kind = CMD_TEXT,
	  .arg = "text",
	  .offset = offsetof(struct config, append),
	  .empty_ok = true,
	  .help = "Give the kernel this command line" },
	{ .name = "boot",
	  .kind = CMD_KEYS,
	  .arg = "[order=drives][,menu=on|off]",
	  .implied = "order",
	  .keys = boot_keys,
	  .offset = offsetof(struct config, boot),
	  .help = "Accepted and checked; it changes nothing beside -kernel" },
	{ .name = "rtc",
	  .kind = CMD_KEYS,
	  .arg = "[base=utc][,clock=host]",
	  .implied = NULL,
	  .keys = rtc_keys,
	  .offset = offsetof(struct config, rtc),
	  .help = "Accepted in this form: the clock runs in UTC and follows the host's" },
	{ .name = "no-hpet",
	  .kind = CMD_FLAG,
	  .offset = offsetof(struct config, no_hpet),
	  .help = "Accepted: there is no HPET" },
	{ .name = NULL },
};
