/* SPDX-License-Identifier: Apache-2.0 */
/*
 * payload.h - what the files of the payload share.  README.md has the overview.
 *
 * Everything here runs at privilege level 3, identity mapped, with port I/O
 * allowed by the TSS bitmap and the local APIC mapped; the three things it cannot
 * do itself go through int3 (boot.S, trap_call).
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE 4096ul

enum fill {
	FILL_ZERO,
	FILL_TEXT,
	FILL_RANDOM,
	FILL_MIXED
};

struct options { /* README.md lists them */
	enum fill fill;
	uint64_t mem, ws; /* bytes */
	uint64_t rate;    /* pages per millisecond, all CPUs together */
	uint64_t sweep;   /* pages per millisecond that are verified without rewriting */
	uint64_t cpus;
	uint64_t tick_us, report_ms;
	uint64_t disk, disk_ms, inc;
	uint64_t net, net_size;
	uint64_t tsc_khz;
	uint64_t poweroff_ms, reset_ms; /* 0: never */
	uint64_t break_ms;              /* corrupt one byte at that time: shows that the check bites */
};

/* What one CPU did; written by that CPU alone, read (and gap_us taken) by the boot CPU. */
struct cpu {
	uint64_t index;
	uint64_t rewritten, verified, errors;
	uint64_t sweeps;               /* complete passes over its own pages */
	uint64_t gap, gap_max;         /* TSC ticks; gap is since the last report */
	uint64_t last;                 /* TSC at the last check point */
	uint64_t due_from, sweep_from; /* TSC up to which work has been asked for */
	uint64_t ws_first, ws_pages, ws_at, ws_stride;
	uint64_t rest_first, rest_pages, sweep_at;
	uint64_t verify_all_seen;
	volatile bool up, filled;
} __attribute__((aligned(128)));

extern struct options opt;
extern struct cpu cpus[CPUS_MAX];
extern uint64_t tsc_khz, boot_tsc;

/* ---- cpu ---- */
#ifdef PAYLOAD_LINUX
uint64_t rdtsc(void); /* ns: an ordinary process asks the kernel's clock */
#else
static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc"
			 : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}
#endif

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(sub));
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::
				 : "memory");
}

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)
			 : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0"
			 : "=a"(v)
			 : "Nd"(port)
			 : "memory");
	return v;
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port)
			 : "memory");
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)
			 : "memory");
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0"
			 : "=a"(v)
			 : "Nd"(port)
			 : "memory");
	return v;
}

/* mmio: one mov each, so that an emulating hypervisor sees the access it expects */
static inline void mmio_w8(uint64_t a, uint8_t v)
{
	__asm__ volatile("movb %0, (%1)" ::"q"(v), "r"(a)
			 : "memory");
}

static inline uint8_t mmio_r8(uint64_t a)
{
	uint8_t v;

	__asm__ volatile("movb (%1), %0"
			 : "=q"(v)
			 : "r"(a)
			 : "memory");
	return v;
}

static inline void mmio_w16(uint64_t a, uint16_t v)
{
	__asm__ volatile("movw %0, (%1)" ::"r"(v), "r"(a)
			 : "memory");
}

static inline uint16_t mmio_r16(uint64_t a)
{
	uint16_t v;

	__asm__ volatile("movw (%1), %0"
			 : "=r"(v)
			 : "r"(a)
			 : "memory");
	return v;
}

static inline void mmio_w32(uint64_t a, uint32_t v)
{
	__asm__ volatile("movl %0, (%1)" ::"r"(v), "r"(a)
			 : "memory");
}

static inline uint32_t mmio_r32(uint64_t a)
{
	uint32_t v;

	__asm__ volatile("movl (%1), %0"
			 : "=r"(v)
			 : "r"(a)
			 : "memory");
	return v;
}

void cpu_setup_idt(void);
void cpu_find_tsc(void);           /* opt.tsc_khz, CPUID, pvclock, or the LAPIC */
void cpu_start_all(void);          /* INIT-SIPI for 1..opt.cpus-1; each ends in ap_main() */
void cpu_timer_start(void);        /* periodic, opt.tick_us */
void cpu_rest(void);               /* until the next tick */
void cpu_wait_tick(struct cpu *c); /* rest until the next tick; counts lateness as gap */
void cpu_check(struct cpu *c);     /* a check point: time since the last one is a gap */
void cpu_reset(void) __attribute__((noreturn));
void cpu_stop(void) __attribute__((noreturn));
static inline uint64_t us_of(uint64_t tsc)
{
	return tsc * 1000 / tsc_khz;
}
static inline uint64_t tsc_of_us(uint64_t us)
{
	return us * tsc_khz / 1000;
}

/* ---- boot information ---- */
struct range {
	uint64_t start, size;
};
#define RANGES_MAX 16
extern struct range ram[RANGES_MAX]; /* usable RAM above the image, page aligned */
extern size_t n_ram;
extern uint64_t rsdp_pa;
void info_read(void);                                  /* options, memory map */
void options_read(const char *words);                  /* "mem=64M rate=20 ..." into opt */
void map_add(uint64_t pa, uint64_t size, bool device); /* identity-map what lies above 4 GiB */

/* ---- memory workload ---- */
void mem_init(void);          /* lay out pages and the version table */
void mem_fill(struct cpu *c); /* this CPU's share */
void mem_work(struct cpu *c); /* rewrite and sweep what is due by now */
void mem_verify_all(struct cpu *c);
void mem_break(void);
void mem_print_errors(void); /* boot CPU only */
uint64_t mem_pages(void), mem_ws_pages(void);

/* ---- disk ---- */
void disk_init(void);
void disk_work(void); /* boot CPU, every tick */
extern struct disk_stats {
	bool present;
	uint64_t seq, inc, foreign, io_errors;
} disk_stats;

/* ---- network: load on a card ---- */
void net_init(void);
bool net_work(uint64_t us); /* for so long; false at once when there is nothing to do */

/* ---- acpi ---- */
void acpi_poweroff(void);
void acpi_reset(void);
bool acpi_button(void); /* pressed since the last call */

/* ---- text, queued; serial: a few bytes of it per tick, since each byte costs an exit ---- */
void put_str(const char *s);
void put_dec(uint64_t v);
void put_milli(uint64_t v); /* 12345 -> 12.345 */
void put_hex(uint64_t v);
void put_kv(const char *key, uint64_t v); /* " key=123" */
bool text_waiting(void);
char text_take(void); /* the next byte, when one is waiting */
void serial_pump(void);
void serial_flush(void);
int serial_getc(void); /* -1: nothing there */

#endif
