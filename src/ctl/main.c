/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program: options, then one thing after the other as bring_up() says, then the main loop until the end, then all
 * of it in reverse. When something fails, what is there by then is taken down again: no tap, socket, file or helper
 * remains.
 */
#include <stdio.h>

#include "base/log.h"
#include "char/char_stdio.h"
#include "char/chardev.h"
#include "ctl/account.h"
#include "ctl/cmdline.h"
#include "ctl/nicopts.h"
#include "ctl/objects.h"
#include "ctl/placement.h"
#include "ctl/process.h"
#include "ctl/qtest.h"
#include "ctl/types.h"
#include "ctl/wiring.h"
#include "machine/machine.h"

struct vm {
	struct config cfg;
	struct net_plan plan;
	struct loop *main_loop;
	struct net_loops net;	 /* the main loop under qtest */
	struct qtest *qtest;	 /* NULL: KVM runs the guest */
	struct machine *machine; /* NULL: -machine none, no guest */
	struct signals signals;
	struct pidfile pidfile;
	int status;
};

/* Where a device runs that nothing is wired to. */
static struct loop *place(void *arg)
{
	struct vm *vm = arg;

	return net_loops_first(&vm->net);
}

static void on_exit_request(void *arg, int status)
{
	struct vm *vm = arg;

	vm->status = status;
	if (vm->qtest)
		qtest_stop(vm->qtest);
	else
		loop_stop(vm->main_loop);
}

/* ---- steps ---- */

/* A server may wait for its client. */
static int make_chardevs(struct vm *vm, struct error *err)
{
	for (unsigned i = 0; i < vm->cfg.chardev.n; i++) {
		const char *text = vm->cfg.chardev.v[i];
		struct opt_list list;
		int rc = opt_list_parse(text, "backend", &list, err);

		if (rc == 0)
			rc = chardev_add(&list, err);
		opt_list_free(&list);
		if (rc < 0) {
			error_prefix(err, "-chardev %.300s: ", text);
			return rc;
		}
	}
	return 0;
}

static int make_loops(struct vm *vm, struct error *err)
{
	vm->main_loop = loop_new("main", err);
	if (!vm->main_loop)
		return -1;
	net_set_main_loop(vm->main_loop);
	chardev_set_main_loop(vm->main_loop);
	if (config_qtest(&vm->cfg)) {
		vm_clock_manual();
		vm->qtest = qtest_new(vm->cfg.qtest, vm->cfg.qtest_log, vm->main_loop, err);
		return vm->qtest ? net_loops_init(&vm->net, vm->main_loop, err) : -1;
	}
	return net_loops_init(&vm->net, NULL, err);
}

static int make_machine(struct vm *vm, struct error *err)
{
	const struct config *cfg = &vm->cfg;
	struct machine_config mc = {
		.name = cfg->name.guest,
		.ram_size = cfg->memory.size,
		.cpus = cfg->smp.cpus,
		.cpu_model = "host",
		.kernel = cfg->kernel,
		.initrd = cfg->initrd,
		.append = cfg->append,
		.no_reboot = cfg->no_reboot,
		.no_shutdown = cfg->no_shutdown,
		.globals = wiring_globals,
		.globals_arg = &vm->cfg,
	};

	for (unsigned i = 0; i < cfg->serial.n; i++)
		mc.serial[i] = cfg->serial.v[i];
	if (!cfg->serial.n && !cfg->nodefaults && !vm->qtest && !stdio_user())
		mc.serial[0] = "stdio";
	vm->machine = machine_new(&mc, vm->main_loop, err);
	if (!vm->machine)
		return -1;
	machine_on_exit(vm->machine, on_exit_request, vm);
	return 0;
}

static int choose_accel(struct vm *vm, struct error *err)
{
	struct accel_env env = machine_accel_env(vm->machine);
	struct accel *a = vm->qtest ? qtest_accel(vm->qtest, &env) : kvm_accel_new(&env, err);

	if (a)
		machine_set_accel(vm->machine, a);
	return a ? 0 : -1;
}

/* ---- the order ---- */

static int options(struct vm *vm, int argc, char **argv, struct error *err)
{
	int rc = types_init(all_types, err) ?: config_init(&vm->cfg, err);

	netdev_types_init(netdev_types);
	chardev_types_init(chardev_types);
	return rc						?:
		       cmdline_parse(&vm->cfg, argc, argv, err) ?:
		       config_check(&vm->cfg, err)		?:
		       net_plan_make(&vm->cfg, &vm->plan, err)	?:
		       wiring_check(&vm->plan, &vm->cfg, err)	?:
								  placement_make(&vm->plan, &vm->cfg, err);
}

/* -machine none. */
static int bring_up_wires(struct vm *vm, struct error *err)
{
	return make_chardevs(vm, err)						   ?:
		       signals_block(err)					   ?:
		       signals_watch(&vm->signals, NULL, true, vm->main_loop, err) ?:
		       pidfile_write(&vm->pidfile, vm->cfg.pidfile, err)	   ?:
		       objects_add_threads(&vm->cfg, err)			   ?:
		       wiring_add_netdevs(&vm->plan, &vm->net, err)		   ?:
		       objects_add(&vm->cfg, err)				   ?:
										     net_loops_start(&vm->net, err);
}

/*
 * What a user can have got wrong comes before what the host may lack: netdevs before the kernel's file, and that before
 * /dev/kvm.
 */
static int bring_up_guest(struct vm *vm, struct error *err)
{
	return make_chardevs(vm, err)	     ?:
		       make_machine(vm, err) ?:
		       /* A character device may have waited for its client: only now is a signal ours to handle. */
		       signals_block(err)						       ?:
		       signals_watch(&vm->signals, vm->machine, vm->qtest, vm->main_loop, err) ?:
		       pidfile_write(&vm->pidfile, vm->cfg.pidfile, err)		       ?:
		       objects_add_threads(&vm->cfg, err)				       ?:
		       wiring_add_netdevs(&vm->plan, &vm->net, err)			       ?:
		       objects_add(&vm->cfg, err)					       ?:
		       machine_load(vm->machine, err)					       ?:
		       choose_accel(vm, err)						       ?:
		       machine_init_buses(vm->machine, place, vm, err)			       ?:
		       wiring_add_devices(&vm->plan, &vm->cfg, err)			       ?:
		       net_loops_start(&vm->net, err)					       ?:
		       machine_ready(vm->machine, err);
}

static int bring_up(struct vm *vm, struct error *err)
{
	int rc;

	process_set_name(vm->cfg.name.process);
	rc = make_loops(vm, err);
	if (rc < 0)
		return rc;
	return config_no_guest(&vm->cfg) ? bring_up_wires(vm, err) : bring_up_guest(vm, err);
}

static void run(struct vm *vm)
{
	wiring_warn(&vm->cfg);
	if (vm->machine && !vm->cfg.paused)
		machine_start(vm->machine);
	if (vm->qtest)
		qtest_run(vm->qtest);
	else
		loop_run(vm->main_loop);
	wiring_quiesce();
	accounts_print();
}

static void tear_down(struct vm *vm)
{
	wiring_remove(&vm->plan, &vm->cfg);
	signals_unwatch(&vm->signals);
	machine_free(vm->machine);
	chardev_free_all();
	net_loops_free(&vm->net);
	objects_remove_threads(&vm->cfg);
	qtest_free(vm->qtest);
	loop_free(vm->main_loop);
	pidfile_remove(&vm->pidfile);
	net_plan_free(&vm->plan);
	config_free(&vm->cfg);
}

int main(int argc, char **argv)
{
	struct vm vm = { .status = 0 };
	struct error err = { "" };
	int rc;

	log_init("vwire", LOG_INFO);
	rc = process_init(&err) ?: options(&vm, argc, argv, &err);
	if (rc == 0) {
		rc = bring_up(&vm, &err);
		if (rc == 0)
			run(&vm);
	}
	if (rc < 0) {
		log_err("%s", err.msg);
		vm.status = 1;
	}
	tear_down(&vm);
	return vm.status;
}
