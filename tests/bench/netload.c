/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netload: the measuring tool of the bench, both ends in one static binary
 *
 *   netload agent HOST PORT             in the guest: serve the tests (agent.h)
 *   netload run [OPTION...] -- VMM...   on the host: start a VMM, run the tests on its guest (load.h), print a line of
 *                                       key=value pairs for each, end the VMM
 *     -t TAG      names the run in every line           -p PORT   the agent's (7000; data use the next one)
 *     -g ADDRESS  of the guest                          -m MIB    of the guest's memory
 *     -s MS       to settle after the start             -T LIST   of tests, with commas
 *     -l FILE     what the VMM prints, the guest's console
 *     -f FLOWS    so many agents at a time, each on two ports of its own, do each test at once (1)
 *   netload start -t TAG -- VMM...      on the host: from the VMM's exec to its first KVM_RUN, by the kernel's trace
 *
 * Lines: B the start, S from netload start, M memory, R a test, F a failure. The tests of the second agent are called
 * th.1 and so on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "load.h"
#include "util.h"

#define FLOWS_MAX   8
#define START_LIMIT 120000000000ull /* ns until the agent must have come */
#define TRACE	    "/sys/kernel/tracing/"

/* Where the processes that drive the flows meet: each test begins when all are there. */
struct meeting {
	_Atomic unsigned arrived;
	_Atomic int failed;
};

struct options {
	struct bench bench; /* the first flow's */
	struct bench flow[FLOWS_MAX];
	unsigned flows;
	struct meeting *meeting;
	const char *log;
	char *tests;
	int port, settle_ms;
	uint64_t ram_kib;
	char **vmm;
};

/* --- the VMM ---------------------------------------------------------------------------------------------------- */

struct vmm {
	pid_t pid;
	int output;
	const char *log;
	uint64_t started, user_space; /* ns; the guest's first line is the mark of its user space */
};

static void *read_console(void *arg)
{
	static const char mark[] = "GUEST UP";
	struct vmm *v = arg;
	int log = open(v->log, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	size_t matched = 0;
	char part[4096];
	ssize_t got;

	while ((got = read(v->output, part, sizeof(part))) > 0) {
		uint64_t now = now_ns();

		write_all(log, part, got);
		for (ssize_t i = 0; i < got && !v->user_space; i++) {
			matched = part[i] == mark[matched] ? matched + 1 : part[i] == mark[0];
			if (!mark[matched])
				v->user_space = now;
		}
	}
	close(log);
	return NULL;
}

static void start_vmm(struct vmm *v, char **command)
{
	int output[2];
	pthread_t reader;

	if (pipe2(output, O_CLOEXEC))
		die("pipe");
	v->started = now_ns();
	v->pid = fork();
	if (v->pid == 0) {
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(output[1], 1);
		dup2(output[1], 2);
		execvp(command[0], command);
		_exit(127);
	}
	close(output[1]);
	v->output = output[0];
	if (v->pid < 0 || pthread_create(&reader, NULL, read_console, v))
		die("cannot start %s", command[0]);
	pthread_detach(reader);
}

static int vmm_ended(struct vmm *v)
{
	int status;

	if (v->pid && waitpid(v->pid, &status, WNOHANG) == v->pid)
		v->pid = 0;
	return !v->pid;
}

/* Twice SIGTERM ends at once whoever takes the first for the power button. */
static void end_vmm(struct vmm *v)
{
	for (int i = 0; i < 100 && !vmm_ended(v); i++) {
		if (i % 20 == 0)
			kill(v->pid, SIGTERM);
		usleep(50000);
	}
	if (!vmm_ended(v)) {
		kill(v->pid, SIGKILL);
		waitpid(v->pid, NULL, 0);
	}
}

/* --- run -------------------------------------------------------------------------------------------------------- */

static void print_memory(struct options *o, struct vmm *v)
{
	struct memory_use use;

	measure_memory(v->pid, o->ram_kib, &use);
	printf("M tag=%s pss_kib=%" PRIu64 " ram_pss_kib=%" PRIu64 " ram_mapped_kib=%" PRIu64, o->bench.tag, use.pss,
	       use.ram_pss, use.ram_mapped);
	printf(" own_kib=%" PRIu64 " processes=%u threads=%u\n", use.pss - use.ram_pss, use.processes, use.threads);
	fflush(stdout);
}

static void show_log(struct options *o)
{
	char command[256];

	fflush(stdout);
	snprintf(command, sizeof(command), "tail -n 20 %s | sed 's/^/F   /'", o->log);
	if (system(command))
		printf("F   (no log)\n");
}

/* Where the agents are to come to. */
static void listen_for_agents(struct options *o, int *listener)
{
	for (unsigned i = 0; i < o->flows; i++) {
		struct bench *b = &o->flow[i];
		int port = o->port + 2 * (int)i;

		*b = o->bench;
		b->flow = i;
		listener[i] = listen_on(port, SOCK_STREAM);
		b->listener = listen_on(port + 1, SOCK_STREAM);
		b->datagrams = listen_on(port + 1, SOCK_DGRAM);
	}
}

/* Wait for an agent's connection, as long as the VMM lives. */
static int meet_agent(struct bench *b, struct vmm *v, int listener)
{
	char hello[64];

	receive_timeout(listener, 1000);
	do {
		b->control = accept_from(listener);
	} while (b->control < 0 && now_ns() - v->started < START_LIMIT && !vmm_ended(v));
	if (b->control < 0)
		return -1;
	receive_timeout(b->control, 120000);
	return get_line(b->control, hello, sizeof(hello)) < 0 ? -1 : 0;
}

static int meet_agents(struct options *o, struct vmm *v, const int *listener)
{
	for (unsigned i = 0; i < o->flows; i++) {
		if (meet_agent(&o->flow[i], v, listener[i]))
			return -1;
	}
	return 0;
}

/* Until all flows have come to the n-th test. */
static int meet(struct options *o, unsigned n)
{
	atomic_fetch_add(&o->meeting->arrived, 1);
	while (atomic_load(&o->meeting->arrived) < n * o->flows && !atomic_load(&o->meeting->failed))
		usleep(100);
	return atomic_load(&o->meeting->failed);
}

static int drive(struct options *o, struct vmm *v, struct bench *b)
{
	unsigned n = 0;
	char *rest;

	for (char *t = strtok_r(o->tests, ",", &rest); t; t = strtok_r(NULL, ",", &rest)) {
		if (meet(o, ++n) || run_test(b, t) || (!b->flow && vmm_ended(v))) {
			printf("F tag=%s test %s of flow %u did not come to its end\n", b->tag, t, b->flow);
			atomic_store(&o->meeting->failed, 1);
			return -1;
		}
	}
	return 0;
}

/* The first flow here, each other one in a process of its own. */
static int run_tests(struct options *o, struct vmm *v)
{
	pid_t other[FLOWS_MAX];
	int rc, status;

	o->meeting = mmap(NULL, sizeof(*o->meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (o->meeting == MAP_FAILED)
		die("mmap");
	for (unsigned i = 1; i < o->flows; i++) {
		other[i] = fork();
		if (other[i] == 0) {
			rc = drive(o, v, &o->flow[i]);
			fflush(stdout);
			_exit(rc ? 1 : 0);
		}
	}
	rc = drive(o, v, &o->flow[0]);
	for (unsigned i = 1; i < o->flows; i++) {
		if (other[i] < 0 || waitpid(other[i], &status, 0) != other[i] || status)
			rc = -1;
	}
	return rc;
}

static int run(struct options *o)
{
	struct vmm v = { .log = o->log };
	struct sample before, after;
	int listener[FLOWS_MAX], rc = -1;

	listen_for_agents(o, listener);
	sample_host(&before);
	start_vmm(&v, o->vmm);
	if (meet_agents(o, &v, listener)) {
		printf("F tag=%s the guest's agent did not come; its console ends:\n", o->bench.tag);
	} else {
		uint64_t met = now_ns();

		sample_host(&after);
		printf("B tag=%s user_space_ns=%" PRIu64 " agent_ns=%" PRIu64 " idle_ns=%" PRIu64 " exits=%" PRIu64
		       "\n",
		       o->bench.tag, v.user_space - v.started, met - v.started, after.idle_ns - before.idle_ns,
		       after.kvm[0] - before.kvm[0]);
		usleep(o->settle_ms * 1000);
		print_memory(o, &v);
		rc = run_tests(o, &v);
	}
	if (rc)
		show_log(o);
	end_vmm(&v);
	return rc ? 1 : 0;
}

/* --- start ------------------------------------------------------------------------------------------------------ */

static void trace_set(const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), TRACE "%s", file);
	if (write_text(path, value))
		die("cannot write %s to %s", value, path);
}

/*
 * The time of an event of the trace, in ns: "task-pid [cpu] flags seconds.micros: event: ..."
 */
static uint64_t trace_time(const char *line, const char *event)
{
	const char *dot = NULL;

	for (const char *c = line; c < event; c++) {
		if (*c == '.' && c > line && c[-1] >= '0' && c[-1] <= '9')
			dot = c;
	}
	if (!dot)
		return 0;
	while (dot > line && dot[-1] != ' ')
		dot--;
	return (uint64_t)(strtod(dot, NULL) * 1e6 + 0.5) * 1000;
}

/* From the first exec to the first entry into a guest, less the time that the processor was idle in between. */
static int read_trace(const char *tag)
{
	static char text[8 << 20];
	uint64_t exec = 0, idle_since = 0, idle = 0;
	char *rest, *event;

	read_text(TRACE "trace", text, sizeof(text));
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if ((event = strstr(line, ": sched_process_exec: ")) && !exec) {
			exec = trace_time(line, event);
		} else if ((event = strstr(line, ": cpu_idle: ")) && exec) {
			uint64_t now = trace_time(line, event);

			if (!strstr(event, "state=4294967295"))
				idle_since = now;
			else if (idle_since)
				idle += now - idle_since, idle_since = 0;
		} else if ((event = strstr(line, ": kvm_entry: ")) && exec) {
			printf("S tag=%s exec_to_run_ns=%" PRIu64 " idle_ns=%" PRIu64 "\n", tag,
			       trace_time(line, event) - exec, idle);
			return 0;
		}
	}
	return -1;
}

static int start(struct options *o)
{
	struct vmm v = { .log = o->log };
	int rc = -1;

	trace_set("tracing_on", "0");
	trace_set("trace_clock", "mono");
	trace_set("options/overwrite", "0"); /* the first events are the ones wanted */
	trace_set("buffer_size_kb", "2048");
	trace_set("trace", "");
	trace_set("events/sched/sched_process_exec/enable", "1");
	trace_set("events/power/cpu_idle/enable", "1");
	trace_set("events/kvm/kvm_entry/enable", "1");
	/* With a condition the trigger fires behind the event, which so is still recorded. */
	trace_set("events/kvm/kvm_entry/trigger", "traceoff if vcpu_id >= 0");
	trace_set("tracing_on", "1");
	start_vmm(&v, o->vmm);
	for (int i = 0; i < 600 && rc && !vmm_ended(&v); i++) {
		usleep(100000);
		if (!read_number(TRACE "tracing_on"))
			rc = read_trace(o->bench.tag);
	}
	if (rc) {
		printf("F tag=%s no exec and first KVM_RUN in the trace\n", o->bench.tag);
		show_log(o);
	}
	trace_set("events/enable", "0");
	trace_set("events/kvm/kvm_entry/trigger", "!traceoff if vcpu_id >= 0");
	end_vmm(&v);
	return rc ? 1 : 0;
}

/* ---------------------------------------------------------------------------------------------------------------- */

static int parse(struct options *o, int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "+t:p:g:m:s:T:l:f:")) != -1) {
		switch (option) {
		case 't':
			o->bench.tag = optarg;
			break;
		case 'p':
			o->port = atoi(optarg);
			break;
		case 'g':
			o->bench.guest = optarg;
			break;
		case 'm':
			o->ram_kib = strtoull(optarg, NULL, 10) * 1024;
			break;
		case 's':
			o->settle_ms = atoi(optarg);
			break;
		case 'T':
			o->tests = optarg;
			break;
		case 'l':
			o->log = optarg;
			break;
		case 'f':
			o->flows = (unsigned)atoi(optarg);
			break;
		default:
			return -1;
		}
	}
	o->vmm = argv + optind;
	return *o->vmm && o->flows && o->flows <= FLOWS_MAX ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct options o = {
		.bench = { .tag = "vmm", .guest = "" },
		.log = "/tmp/vmm.log",
		.tests = "",
		.port = 7000,
		.flows = 1,
		.settle_ms = 3000,
		.ram_kib = 256 * 1024,
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "agent"))
		return agent(argv[2], atoi(argv[3]));
	if (argc > 2 && !strcmp(argv[1], "run") && !parse(&o, argc - 1, argv + 1))
		return run(&o);
	if (argc > 2 && !strcmp(argv[1], "start") && !parse(&o, argc - 1, argv + 1))
		return start(&o);
	fprintf(stderr, "usage: see the head of netload.c\n");
	return 2;
}
