/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - order of boot, the loop of each CPU, the report.
 *
 * Every CPU: do what is due, rest until the next tick.  The boot CPU besides
 * writes the disk records, prints the report and listens on the serial line.
 */
#include "payload.h"

struct cpu cpus[CPUS_MAX];
static volatile uint64_t fill_go, work_go, verify_request;

void payload_main(void), ap_main(void);
uint64_t ap_take_index(void);

static void cpu_begin(struct cpu *c)
{
	c->last = c->due_from = c->sweep_from = rdtsc();
	c->gap = c->gap_max = 0;
}

static void cpu_work(struct cpu *c)
{
	uint64_t wanted = verify_request;

	mem_work(c);
	if (c->verify_all_seen != wanted) {
		mem_verify_all(c);
		__atomic_store_n(&c->verify_all_seen, wanted, __ATOMIC_RELEASE);
	}
}

void ap_main(void)
{
	struct cpu *c = &cpus[ap_take_index()];

	while (!fill_go)
		cpu_relax();
	cpu_timer_start();
	cpu_begin(c);
	mem_fill(c);
	__atomic_store_n(&c->filled, true, __ATOMIC_RELEASE);
	while (!work_go)
		cpu_wait_tick(c);
	cpu_begin(c);
	for (;;) {
		cpu_work(c);
		cpu_wait_tick(c);
	}
}

static uint64_t total(size_t field)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < opt.cpus; i++)
		sum += *(volatile uint64_t *)((char *)&cpus[i] + field);
	return sum;
}

#define TOTAL(f) total(offsetof(struct cpu, f))

static uint64_t uptime_ms(void)
{
	return us_of(rdtsc() - boot_tsc) / 1000;
}

/* D: t=12.000 pages=1200000 rate=100.000 errors=0 gap_us=80 max_us=310 sweeps=3 ... */
static void report(void)
{
	static uint64_t last_pages, last_us;
	uint64_t now_us = us_of(rdtsc() - boot_tsc), pages = TOTAL(rewritten);
	uint64_t gap = 0, gap_max = 0, sweeps = -1ul;

	mem_print_errors();
	for (uint64_t i = 0; i < opt.cpus; i++) {
		uint64_t g = __atomic_exchange_n(&cpus[i].gap, 0, __ATOMIC_RELAXED);

		gap = g > gap ? g : gap;
		gap_max = cpus[i].gap_max > gap_max ? cpus[i].gap_max : gap_max;
		sweeps = cpus[i].sweeps < sweeps ? cpus[i].sweeps : sweeps;
	}
	put_str("D: t=");
	put_milli(now_us / 1000);
	put_kv("pages", pages);
	put_str(" rate=");
	put_milli((pages - last_pages) * 1000000 / (now_us - last_us + 1));
	put_kv("errors", TOTAL(errors));
	put_kv("gap_us", us_of(gap));
	put_kv("max_us", us_of(gap_max));
	put_kv("sweeps", sweeps);
	if (disk_stats.present) {
		put_kv("seq", disk_stats.seq);
		put_kv("inc", disk_stats.inc);
		put_kv("foreign", disk_stats.foreign);
		put_kv("io_errors", disk_stats.io_errors);
	}
	put_str("\n");
	last_pages = pages;
	last_us = now_us;
}

/* v: verify every page now   p: report now   q: power off   r: reset */
static void command(int c)
{
	if (c == 'v')
		verify_request++;
	else if (c == 'p')
		report();
	else if (c == 'q')
		acpi_poweroff();
	else if (c == 'r')
		acpi_reset();
}

static void verify_answer(void)
{
	static uint64_t answered;

	if (answered == verify_request)
		return;
	for (uint64_t i = 0; i < opt.cpus; i++)
		if (__atomic_load_n(&cpus[i].verify_all_seen, __ATOMIC_ACQUIRE) != verify_request)
			return;
	answered = verify_request;
	mem_print_errors();
	put_str("D: verified");
	put_kv("pages", mem_pages());
	put_kv("errors", TOTAL(errors));
	put_str("\n");
}

static void timed_events(uint64_t ms)
{
	if (opt.break_ms && ms >= opt.break_ms) {
		mem_break();
		opt.break_ms = 0;
	}
	if (opt.poweroff_ms && ms >= opt.poweroff_ms) {
		opt.poweroff_ms = 0;
		acpi_poweroff();
	}
	if (opt.reset_ms && ms >= opt.reset_ms) {
		opt.reset_ms = 0;
		acpi_reset();
	}
}

static void boot_cpu_loop(struct cpu *c)
{
	uint64_t next_report = uptime_ms() + opt.report_ms, next_poll = 0, next_button = 0, ms;

	for (;;) {
		cpu_work(c);
		disk_work();
		ms = uptime_ms();
		timed_events(ms);
		if (ms >= next_report) {
			report();
			next_report += opt.report_ms;
			if (next_report < ms)
				next_report = ms + opt.report_ms;
		}
		if (ms >= next_poll) { /* an exit each time: not every tick */
			command(serial_getc());
			next_poll = ms + 20;
		}
		if (ms >= next_button) { /* another exit */
			if (acpi_button())
				acpi_poweroff();
			next_button = ms + 100;
		}
		verify_answer();
		serial_pump();
		if (!net_work(opt.tick_us))
			cpu_wait_tick(c);
	}
}

static void greet(void)
{
	static const char *const names[] = { "zero", "text", "random", "mixed" };

	put_str("D: payload fill=");
	put_str(names[opt.fill]);
	put_kv("cpus", opt.cpus);
	put_kv("pages", mem_pages());
	put_kv("ws", mem_ws_pages());
	put_kv("rate", opt.rate);
	put_kv("tsc_khz", tsc_khz);
	put_str("\n");
}

void payload_main(void)
{
	struct cpu *c = &cpus[0];

	boot_tsc = rdtsc();
	cpu_setup_idt();
	info_read();
	cpu_find_tsc();
	mem_init();
	greet();
	cpu_start_all();
	cpu_timer_start();
	disk_init();
	net_init();
	cpu_begin(c);
	fill_go = 1;
	mem_fill(c);
	c->filled = true;
	for (uint64_t i = 0; i < opt.cpus; i++)
		while (!__atomic_load_n(&cpus[i].filled, __ATOMIC_ACQUIRE))
			cpu_wait_tick(c);
	put_str("D: filled");
	put_kv("ms", uptime_ms());
	put_str("\n");
	work_go = 1;
	cpu_begin(c);
	boot_cpu_loop(c);
}
