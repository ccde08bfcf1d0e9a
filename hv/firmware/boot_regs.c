/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_regs - the first vCPU's registers at a kernel's entry.
 *
 *   bzImage       long mode, first 4 GiB mapped one to one by 2 MiB pages,
 *                 CS 0x10, data 0x18, RSI = zero page      (boot.rst, 64-bit protocol)
 *   PVH           protected mode without paging, CS 0x8, data 0x10, TR 0x18,
 *                 EBX = start info                         (Xen, pvh.pandoc)
 */
#include "hv/cpu/vcpu_state.h"
#include "hv/firmware/boot_int.h"

#include <string.h>

#define CR0_PE 1ull
#define CR0_ET (1ull << 4)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define PTE_PRESENT 1ull
#define PTE_WRITE 2ull
#define PTE_USER 4ull
#define PTE_LARGE 0x80ull
#define TYPE_CODE 11 /* execute, read, accessed */
#define TYPE_DATA 3  /* read, write, accessed */
#define TYPE_TSS 11  /* 64-bit or 32-bit TSS, busy */

static struct kvm_segment code(uint16_t selector, bool is64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = TYPE_CODE,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = is64,
		.db = !is64,
	};
}

static struct kvm_segment data(uint16_t selector)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = TYPE_DATA,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = 1,
	};
}

static struct kvm_segment tss(uint16_t selector)
{
	return (struct kvm_segment){ .limit = 0x67, .selector = selector, .type = TYPE_TSS, .present = 1 };
}

static void set_segments(struct kvm_sregs *s, uint16_t cs, uint16_t ds, uint16_t tr, bool is64)
{
	s->cs = code(cs, is64);
	s->ds = s->es = s->fs = s->gs = s->ss = data(ds);
	s->tr = tss(tr);
	memset(&s->ldt, 0, sizeof(s->ldt));
	s->ldt.unusable = 1;
}

/* PML4 -> PDPT -> four page directories of 2 MiB pages: 4 GiB one to one.  User pages, as
 * KVM's page-table variant runs the guest's kernel at user level. */
static int put_page_tables(struct gmem *m)
{
	uint64_t table[512] = { 0 };
	uint64_t pdpt = BOOT_PAGE_TABLES + GMEM_PAGE, pd = pdpt + GMEM_PAGE;
	const uint64_t flags = PTE_PRESENT | PTE_WRITE | PTE_USER;
	int ret;

	table[0] = pdpt | flags;
	ret = gmem_write(m, BOOT_PAGE_TABLES, table, sizeof(table));
	for (unsigned int i = 0; i < 4; i++)
		table[i] = (pd + i * GMEM_PAGE) | flags;
	if (!ret)
		ret = gmem_write(m, pdpt, table, sizeof(table));
	for (unsigned int i = 0; i < 4 && !ret; i++) {
		for (unsigned int j = 0; j < 512; j++)
			table[j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | flags | PTE_LARGE;
		ret = gmem_write(m, pd + i * GMEM_PAGE, table, sizeof(table));
	}
	return ret;
}

/* What a vCPU has at either entry; @s is new otherwise. */
static void set_common(struct vcpu_state *s, uint64_t rip, uint16_t gdt_limit)
{
	memset(&s->regs, 0, sizeof(s->regs));
	s->regs.rip = rip;
	s->regs.rflags = 2;
	s->sregs.gdt.base = BOOT_GDT;
	s->sregs.gdt.limit = gdt_limit;
	s->sregs.idt.base = 0;
	s->sregs.idt.limit = 0;
	s->mp_state.mp_state = KVM_MP_STATE_RUNNABLE;
}

int boot_regs_linux64(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067, 0 };
	int ret;

	set_common(s, entry->rip, sizeof(gdt) - 1);
	s->regs.rsi = entry->arg;
	s->regs.rsp = BOOT_STACK;
	set_segments(&s->sregs, 0x10, 0x18, 0x20, true);
	s->sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
	s->sregs.cr3 = BOOT_PAGE_TABLES;
	s->sregs.cr4 = CR4_PAE;
	s->sregs.efer = EFER_LME | EFER_LMA;
	ret = gmem_write(m, BOOT_GDT, gdt, sizeof(gdt));
	return ret ? ret : put_page_tables(m);
}

int boot_regs_pvh(struct gmem *m, const struct boot_entry *entry, struct vcpu_state *s)
{
	static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067 };

	set_common(s, entry->rip, sizeof(gdt) - 1);
	s->regs.rbx = entry->arg;
	set_segments(&s->sregs, 0x8, 0x10, 0x18, false);
	s->sregs.cr0 = CR0_PE | CR0_ET;
	s->sregs.cr3 = 0;
	s->sregs.cr4 = 0;
	s->sregs.efer = 0;
	return gmem_write(m, BOOT_GDT, gdt, sizeof(gdt));
}
