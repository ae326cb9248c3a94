/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line's result, and the tables that say which options there are.
 *
 * Options come in groups; a group is one array of `struct cmd`. A row drives parsing (cmdline.c), the help text and the
 * option part of the manual page (help.c); a row with keys points at the `struct opt` table that describes them. What
 * QEMU has and vwire has not stands in the tables too, with what to write instead.
 *
 * All of this is the main thread's, before anything of the virtual machine exists.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include "base/opts.h"

/* ---- what the rows fill ---- */

struct memory_opts {
	uint64_t size, maxmem;
	uint32_t slots;
};

struct smp_opts {
	uint32_t cpus, maxcpus, sockets, dies, cores, threads;
};

struct board_opts {
	char *type, *accel;
	char *kernel, *initrd, *append;
	unsigned usb, vmport, smm, hpet, sata, i8042, acpi, graphics, irqchip; /* choices that are fixed here */
};

struct accel_opts {
	char *name;
};

struct name_opts {
	char *guest, *process;
	bool debug_threads;
};

struct action_opts {
	unsigned reboot, shutdown; /* indices of their choices */
};

struct rtc_opts {
	unsigned base, clock;
};

/* Options that change nothing here, but whose keys are checked all the same. */
struct boot_opts {
	char *order, *once;
	bool menu, strict;
};

struct global_opt {
	char *driver, *property, *value;
};

enum net_item_kind {
	ITEM_NETDEV,
	ITEM_DEVICE,
	ITEM_NIC,
	ITEM_NET,
	ITEM_LEGACY
};

/* One -netdev, -device, -nic, -net, -redir, ... in the order of the command line. */
struct net_item {
	enum net_item_kind kind;
	const char *option; /* "-netdev", for messages */
	const char *text;   /* argument as written; belongs to argv */
	const char *key;    /* ITEM_LEGACY: the option of user networking that it sets */
	struct opt_list list;
};

struct creatable;

/* One -object, or what stands for one. */
struct object_item {
	struct opt_list list;
	const char *option, *text; /* what the user wrote instead; NULL: -object */
	struct creatable *made;	   /* that exists */
};

struct config {
	struct memory_opts memory;
	struct smp_opts smp;
	struct board_opts board;
	struct accel_opts accel;
	struct name_opts name;
	struct action_opts action;
	struct rtc_opts rtc;
	struct boot_opts boot;
	char *kernel, *initrd, *append;
	char *pidfile, *uuid;
	char *qtest, *qtest_log;
	struct strlist serial;
	struct strlist chardev; /* texts; parsed again where they are made */
	struct strlist global;	/* texts; parsed again where they are used */
	struct net_item *item;
	unsigned n_items;
	struct object_item *object;
	unsigned n_objects;
	bool nographic, nodefaults, no_user_config, no_reboot, no_shutdown, paused, enable_kvm, no_hpet;
};

/* ---- the tables ---- */

enum cmd_kind {
	CMD_FLAG,    /* no argument; sets the bool at `offset` */
	CMD_TEXT,    /* char * at `offset` */
	CMD_LIST,    /* struct strlist at `offset`: given by repetition */
	CMD_KEYS,    /* key=value list, by `keys` into the structure at `offset` */
	CMD_CUSTOM,  /* apply() does it */
	CMD_CHOICE,  /* one of `choices`; nothing is stored: there is only one way here */
	CMD_REFUSED, /* of QEMU, not here: `help` says what to do */
	CMD_HELP,    /* apply() prints something and the program ends */
};

struct cmd;
typedef int cmd_fn(struct config *cfg, const struct cmd *cmd, const char *arg, struct error *err);

struct cmd {
	const char *name;
	const char *alias; /* a second name, or NULL */
	enum cmd_kind kind;
	const char *arg;  /* what stands for the argument in help; NULL: the option takes none */
	const char *help; /* sentences, no full stop at the end */
	const struct opt *keys;
	const char *implied; /* key of a first bare word */
	size_t offset;	     /* into struct config */
	/* CMD_CUSTOM, CMD_HELP: all of it; CMD_KEYS: a check afterwards; CMD_LIST: one before; or NULL */
	cmd_fn *apply;
	void (*show)(void); /* CMD_KEYS: what -option help prints before the keys, or NULL */
	const char *const *choices;
	bool empty_ok; /* CMD_TEXT: "" is an argument too */
};

struct cmd_group {
	const char *title;
	const struct cmd *cmds; /* ends with a row without a name */
};

extern const struct cmd_group cmd_groups[]; /* ends with a group without a title */
extern const struct cmd machine_cmds[], boot_cmds[], net_cmds[], object_cmds[], console_cmds[], run_cmds[], help_cmds[];
extern const struct cmd refused_cmds[];

/* ---- use ---- */

/* Returned by parsers when help was printed and the program is to end with status 0. */
#define CMDLINE_DONE 1

int config_init(struct config *cfg, struct error *err) __must_check;
void config_free(struct config *cfg);

/* Split "driver.prop=value" or "driver=D,property=P,value=V". The caller frees with global_free(). */
int global_parse(const char *text, struct global_opt *g, struct error *err) __must_check;
void global_free(struct global_opt *g);

/* What the rows of several groups mean together; fills in what was left open. */
int config_check(struct config *cfg, struct error *err) __must_check;

/* Is there something in a list like "kvm:tcg" that is offered? */
int accel_check(const char *list, struct error *err) __must_check;

/* -machine none: no guest, nothing but netdevs and what joins them. */
bool config_no_guest(const struct config *cfg);

/* True if nothing but a test's commands drives the guest's side. */
bool config_qtest(const struct config *cfg);

#endif
