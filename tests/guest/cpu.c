/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.c - interrupts, the tick, the other CPUs, and time.
 *
 * A CPU's clock is its TSC; its rest is `int3` -> `sti; hlt` until the LAPIC timer
 * ticks.  The timer is periodic: should one tick be lost, the next one comes.
 */
#include "payload.h"

extern uint8_t gdt[], tss0[], ap_trampoline[], ap_trampoline_end[];
extern uint64_t idt[][2], fault_table[32], boot_rip, boot_rsp, boot_tss;
extern uint64_t fault_vector, fault_error, fault_cr2, fault_rip;
void trap_call(void), irq_ignore(void), fault_user(void), ap_main(void);

uint64_t tsc_khz = 1000000, boot_tsc;

#define LAPIC_SVR 0xf0
#define LAPIC_ICR_LOW 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_TIMER_COUNT 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0

static void wrmsr(uint32_t msr, uint64_t v)
{
	uint32_t call = CALL_WRMSR;

	__asm__ volatile("int3"
			 : "+b"(call)
			 : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
			 : "memory");
}

void cpu_rest(void)
{
	uint32_t call = CALL_HLT;

	__asm__ volatile("int3"
			 : "+b"(call)::"memory");
}

void cpu_reset(void)
{
	uint32_t call = CALL_RESET;

	out8(0x64, 0xfe);
	__asm__ volatile("int3"
			 : "+b"(call)::"memory");
	for (;;)
		;
}

void cpu_stop(void)
{
	mmio_w32(LAPIC_PA + LAPIC_LVT_TIMER, 0x10000 | VEC_TIMER);
	for (;;)
		cpu_rest();
}

/* Level 0 sends every exception here, on a stack of its own. */
void fault_user(void)
{
	put_str("D: panic fault=");
	put_dec(fault_vector);
	put_str(" error=");
	put_hex(fault_error);
	put_str(" rip=");
	put_hex(fault_rip);
	put_str(" cr2=");
	put_hex(fault_cr2);
	put_str("\n");
	serial_flush();
	cpu_stop();
}

static void idt_set(int vector, uint64_t handler, int dpl)
{
	idt[vector][0] = (handler & 0xffff) | (uint64_t)SEL_KCODE << 16 |
			 (uint64_t)(0x8e00 | dpl << 13) << 32 | (handler & 0xffff0000) << 32;
	idt[vector][1] = handler >> 32;
}

/* pvclock (KVM's documented guest ABI): a page with the factor from TSC to ns. */
static uint64_t khz_from_pvclock(void)
{
	static volatile struct {
		uint32_t version, pad;
		uint64_t tsc, ns;
		uint32_t mul;
		int8_t shift;
		uint8_t flags, pad2[2];
	} page __attribute__((aligned(4096)));
	uint64_t khz;

	wrmsr(0x4b564d01, (uintptr_t)&page | 1);
	for (int i = 0; i < 1000 && !page.mul; i++)
		cpu_relax();
	wrmsr(0x4b564d01, 0);
	if (!page.mul)
		return 0;
	khz = (1000000ull << 32) / page.mul;
	return page.shift < 0 ? khz << -page.shift : khz >> page.shift;
}

/* 10 ms of the local APIC's timer, which counts nanoseconds in KVM and in QEMU. */
static uint64_t khz_from_lapic(void)
{
	const uint32_t count = 1000000000;
	uint64_t t0 = rdtsc(), t1;
	uint32_t passed;

	mmio_w32(LAPIC_PA + LAPIC_SVR, 0x100 | VEC_SPURIOUS);
	mmio_w32(LAPIC_PA + LAPIC_TIMER_DIVIDE, 0xb);
	mmio_w32(LAPIC_PA + LAPIC_LVT_TIMER, 0x10000 | VEC_TIMER);
	mmio_w32(LAPIC_PA + LAPIC_TIMER_COUNT, count);
	do {
		passed = count - mmio_r32(LAPIC_PA + LAPIC_TIMER_CURRENT);
		t1 = rdtsc();
	} while (passed < 10000000 && t1 - t0 < 1000000000);
	return passed ? (t1 - t0) * 1000000 / passed : 1000000;
}

static uint64_t khz_from_hypervisor(void)
{
	uint32_t r[4], sig;

	cpuid(1, 0, r);
	if (!(r[2] & 1u << 31))
		return 0;
	cpuid(0x40000000, 0, r);
	sig = r[1];
	if (r[0] >= 0x40000010 && r[0] < 0x40010000) {
		cpuid(0x40000010, 0, r);
		if (r[0])
			return r[0];
	}
	if (sig != 0x4b4d564b) /* "KVMK" */
		return 0;
	cpuid(0x40000001, 0, r);
	return r[0] & 1u << 3 ? khz_from_pvclock() : 0;
}

static uint64_t khz_find(void)
{
	uint64_t khz = opt.tsc_khz ? opt.tsc_khz : khz_from_hypervisor();
	uint32_t r[4];

	if (khz)
		return khz;
	cpuid(0, 0, r);
	if (r[0] >= 0x15) {
		cpuid(0x15, 0, r);
		if (r[0] && r[1] && r[2])
			return (uint64_t)r[2] * r[1] / r[0] / 1000;
	}
	return khz_from_lapic();
}

void cpu_setup_idt(void)
{
	for (int i = 0; i < 32; i++)
		idt_set(i, fault_table[i], 0);
	for (int i = 32; i < 256; i++)
		idt_set(i, (uintptr_t)irq_ignore, 0);
	idt_set(3, (uintptr_t)trap_call, 3);
	mmio_w32(LAPIC_PA + LAPIC_LVT_LINT0, 0x10000);
}

void cpu_find_tsc(void)
{
	tsc_khz = khz_find();
}

void cpu_timer_start(void)
{
	mmio_w32(LAPIC_PA + LAPIC_SVR, 0x100 | VEC_SPURIOUS);
	mmio_w32(LAPIC_PA + LAPIC_TIMER_DIVIDE, 0xb); /* by 1; KVM and QEMU count ns */
	mmio_w32(LAPIC_PA + LAPIC_LVT_TIMER, 0x20000 | VEC_TIMER);
	mmio_w32(LAPIC_PA + LAPIC_TIMER_COUNT, opt.tick_us * 1000);
}

/* ---- the other CPUs ---- */
struct tss {
	uint32_t reserved;
	uint64_t rsp0;
	uint8_t skip[90];
	uint16_t io_base;
	uint8_t io_map[TSS_IO_PORTS / 8 + 1];
} __attribute__((packed, aligned(16)));

static struct tss ap_tss[CPUS_MAX];
static uint8_t ap_stacks[CPUS_MAX][2][4096] __attribute__((aligned(16)));
static volatile uint64_t ap_index;

static void ipi(uint32_t apic_id, uint32_t command)
{
	mmio_w32(LAPIC_PA + LAPIC_ICR_HIGH, apic_id << 24);
	mmio_w32(LAPIC_PA + LAPIC_ICR_LOW, command);
}

static bool ap_wait(struct cpu *c, uint64_t us)
{
	uint64_t end = rdtsc() + tsc_of_us(us);

	while (!c->up && rdtsc() < end)
		cpu_relax();
	return c->up;
}

static bool ap_start(uint64_t i)
{
	struct tss *t = &ap_tss[i];
	uint64_t *desc = (uint64_t *)(gdt + SEL_TSS0 + 16 * i), base = (uintptr_t)t;

	t->rsp0 = (uintptr_t)ap_stacks[i][0] + 4096;
	t->io_base = 0x68;
	t->io_map[TSS_IO_PORTS / 8] = 0xff;
	desc[0] = TSS_LIMIT | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	desc[1] = base >> 32;
	boot_tss = SEL_TSS0 + 16 * i;
	boot_rsp = (uintptr_t)ap_stacks[i][1] + 4096 - 8;
	boot_rip = (uintptr_t)ap_main;
	ap_index = i;
	ipi(i, 0x4500); /* INIT */
	ap_wait(&cpus[i], 200);
	ipi(i, 0x4600 | AP_TRAMPOLINE_PA >> 12); /* SIPI */
	if (ap_wait(&cpus[i], 20000))
		return true;
	ipi(i, 0x4600 | AP_TRAMPOLINE_PA >> 12); /* the second one that real CPUs may need */
	return ap_wait(&cpus[i], 1000000);
}

uint64_t ap_take_index(void);
uint64_t ap_take_index(void)
{
	uint64_t i = ap_index;

	cpus[i].up = true;
	return i;
}

void cpu_start_all(void)
{
	uint8_t *to = (uint8_t *)AP_TRAMPOLINE_PA;

	if (opt.cpus < 2)
		return;
	/* cppcheck-suppress comparePointers ; the linker's names for both ends of one thing */
	for (uint8_t *from = ap_trampoline; from < ap_trampoline_end; from++)
		*(volatile uint8_t *)to++ = *from;
	for (uint64_t i = 1; i < opt.cpus; i++) {
		if (ap_start(i))
			continue;
		put_str("D: panic cpu=");
		put_dec(i);
		put_str(" did not start\n");
		serial_flush();
		cpu_stop();
	}
}
