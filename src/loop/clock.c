/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two clocks. The VM clock is one word, so that reading it needs no lock: bit 0 says whether it runs; above are the
 * time at which it stands, or, if it runs, the host's time at which it would have shown 0.
 *
 * Who changes it signals all loops that sleep or are about to. A loop says that it is about to sleep before it reads
 * the clock to compute for how long: it sees the change, or it gets the signal.
 */
#include "loop/priv.h"

#include <stdatomic.h>

static struct mutex lock = MUTEX_INIT;
static bool manual GUARDED_BY(lock);
static _Atomic int64_t vm_word;

static void set_word(int64_t value, bool running) REQUIRES(lock)
{
	SCHED_POINT();
	atomic_store(&vm_word, (int64_t)((uint64_t)value << 1) | running);
}

uint64_t vm_clock_at(uint64_t host_ns)
{
	int64_t word;

	SCHED_POINT();
	word = atomic_load(&vm_word);
	return word & 1 ? host_ns - (uint64_t)(word >> 1) : (uint64_t)(word >> 1);
}

uint64_t vm_clock_until(uint64_t deadline, uint64_t host_ns)
{
	int64_t word;
	uint64_t vm_ns;

	SCHED_POINT();
	word = atomic_load(&vm_word);
	vm_ns = word & 1 ? host_ns - (uint64_t)(word >> 1) : (uint64_t)(word >> 1);
	if (deadline <= vm_ns)
		return 0;
	return word & 1 ? deadline - vm_ns : SCHED_FOREVER;
}

uint64_t clock_now(enum clock_kind c)
{
	uint64_t host_ns = sys_clock_ns();

	return c == CLOCK_HOST_NS ? host_ns : vm_clock_at(host_ns);
}

void vm_clock_run(bool running)
{
	mutex_lock(&lock);
	if (!manual && running != (atomic_load(&vm_word) & 1)) {
		uint64_t host_ns = sys_clock_ns(), vm_ns = vm_clock_at(host_ns);

		set_word((int64_t)(running ? host_ns - vm_ns : vm_ns), running);
	}
	mutex_unlock(&lock);
	loops_kick_all();
}

void vm_clock_manual(void)
{
	mutex_lock(&lock);
	manual = true;
	set_word(0, false);
	mutex_unlock(&lock);
	loops_kick_all();
}

enum clock_kind clock_of_network(void)
{
	bool stepped;

	mutex_lock(&lock);
	stepped = manual;
	mutex_unlock(&lock);
	return stepped ? CLOCK_VM_NS : CLOCK_HOST_NS;
}

void vm_clock_step(uint64_t to_ns)
{
	mutex_lock(&lock);
	if (manual)
		set_word((int64_t)to_ns, false);
	mutex_unlock(&lock);
	loops_kick_all();
}
