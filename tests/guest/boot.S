/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.S - from the PVH entry point to C at privilege level 3.
 *
 *   PVH (32-bit, paging off)  AP (real mode, after SIPI, at ap_trampoline's copy)
 *          |                          |
 *          |                      protected mode
 *          +---------- enter32 -------+   GDT, static page tables, long mode
 *                         |
 *                      enter64            TSS, IDT, PIC masked
 *                         | iretq
 *                 payload_main()/ap_main() at CPL 3
 *
 * Why CPL 3: there are hosts whose KVM interprets privilege level 0 at about a
 * microsecond per instruction and runs level 3 natively.  So everything that is
 * not privileged happens at level 3, and the handlers below are as short as they
 * can be.  Nothing here is specific to such a host: it is plain x86-64.
 *
 * The page tables are data of this file, so that boot spends no instruction on
 * them: identity map of the first 4 GiB in 2 MiB pages, all user-accessible,
 * uncached from 3 GiB on (devices).  C maps what lies above.
 */

#include "layout.h"

#define MSR_EFER 0xc0000080

/* ---- PVH note: where a loader enters (Xen ELFNOTE_PHYS32_ENTRY) ---- */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 8, 18
	.asciz "Xen"
	.quad pvh_entry

/* ---- 32-bit: ebx = hvm_start_info, flat segments, no stack ---- */
	.section .text.boot, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	movl %ebx, start_info_pa
	/* The boot CPU's TSS descriptor; those of the others are made in C. */
	movl $tss0, %eax
	shll $16, %eax
	orl $(TSS_LIMIT & 0xffff), %eax
	movl %eax, gdt + SEL_TSS0
	movl $tss0, %eax
	shrl $16, %eax
	orl %eax, gdt + SEL_TSS0 + 4     /* bits 16-23 of the base: the image lies below 16 MiB */
enter32:
	lgdtl gdtr
	movl $0x620, %eax                /* PAE | OSFXSR | OSXMMEXCPT */
	movl %eax, %cr4
	movl $pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	movl $0x100, %eax                /* LME */
	xorl %edx, %edx
	wrmsr
	movl $0x80050033, %eax           /* PG AM WP NE ET MP PE */
	movl %eax, %cr0
	ljmpl $SEL_KCODE, $enter64

	.code64
enter64:
	movl $SEL_KDATA, %eax
	movl %eax, %ss
	movl %eax, %ds
	movl %eax, %es
	lidt idtr
	ltr boot_tss
	movb $0xff, %al                  /* a firmware may have left the PIC ticking */
	outb %al, $0x21
	outb %al, $0xa1
	movl $start_stack_top, %esp      /* its own: the boot CPU may be inside trap_call on tss0's */
	pushq $SEL_UDATA
	pushq boot_rsp
	pushq $0x202                     /* IF */
	pushq $SEL_UCODE
	pushq boot_rip
	iretq

/* ---- application processors: copied to AP_TRAMPOLINE_PA ---- */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl (ap_gdtr - ap_trampoline)
	movl $0x11, %eax
	movl %eax, %cr0
	ljmpl $SEL_KCODE32, $ap32
	.balign 4
ap_gdtr:
	.word GDT_BYTES - 1
	.long gdt
ap_trampoline_end:

	.code32
ap32:
	movl $SEL_KDATA, %eax
	movl %eax, %ds
	jmp enter32

/* ---- handlers at level 0, as short as possible ---- */
	.code64
	.section .text, "ax"
	/*
	 * int3 from level 3: ebx says what for.  The gate clears IF, so a timer that
	 * fires after the EOI is taken by `sti; hlt` and not before: no lost wake-up.
	 */
	.globl trap_call
trap_call:
	testl %ebx, %ebx
	jnz 1f
	movl $LAPIC_PA + 0xb0, %ebx      /* EOI */
	movl $0, (%rbx)
	sti
	hlt
	iretq
1:	cmpl $CALL_WRMSR, %ebx
	jne 2f
	wrmsr
	iretq
2:	lidt idtr_none                   /* CALL_RESET: a triple fault */
	ud2

	/* The timer only has to end a HLT; trap_call says EOI before the next one. */
	.globl irq_ignore
irq_ignore:
	iretq

	/* An exception: note what happened, go on in fault_user() at level 3. */
	.altmacro
	.macro FAULT n
fault_\n:
	.if (\n == 8) || ((\n >= 10) && (\n <= 14)) || (\n == 17) || (\n == 21)
	.else
	pushq $0
	.endif
	pushq $\n
	jmp fault_common
	.endm
	.macro FAULT_ADDR n
	.quad fault_\n
	.endm
	.set i, 0
	.rept 32
	FAULT %i
	.set i, i + 1
	.endr
fault_common:
	popq fault_vector
	popq fault_error
	movq %cr2, %rax
	movq %rax, fault_cr2
	movq (%rsp), %rax
	movq %rax, fault_rip
	movq $fault_user, (%rsp)
	movq $SEL_UCODE, 8(%rsp)
	movq $0x202, 16(%rsp)
	movq $fault_stack_top, 24(%rsp)
	movq $SEL_UDATA, 32(%rsp)
	iretq

	.section .rodata, "a"
	.balign 8
	.globl fault_table
fault_table:
	.set i, 0
	.rept 32
	FAULT_ADDR %i
	.set i, i + 1
	.endr
idtr_none:
	.word 0
	.quad 0

/* ---- tables ---- */
	.section .data, "aw"
	.balign 4096
	.globl pml4, pdpt
pml4:
	.quad pdpt + 7
	.fill 511, 8, 0
pdpt:
	.quad pd + 7
	.quad pd + 4096 + 7
	.quad pd + 8192 + 7
	.quad pd + 12288 + 7
	.fill 508, 8, 0
pd:
	.set i, 0
	.rept 1536
	.quad (i << 21) + 0x87           /* PS US RW P */
	.set i, i + 1
	.endr
	.rept 512
	.quad (i << 21) + 0x9f           /* and PCD PWT */
	.set i, i + 1
	.endr

	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00af9b000000ffff         /* SEL_KCODE */
	.quad 0x00cf93000000ffff         /* SEL_KDATA */
	.quad 0x00cf9b000000ffff         /* SEL_KCODE32 */
	.quad 0x00cff3000000ffff         /* SEL_UDATA */
	.quad 0x00affb000000ffff         /* SEL_UCODE */
	.quad 0, 0
	.quad 0x0000890000000000, 0      /* SEL_TSS0 */
	.fill (GDT_BYTES - SEL_TSS0 - 16) / 8, 8, 0
gdtr:
	.word GDT_BYTES - 1
	.quad gdt
	.balign 8
idtr:
	.word 16 * 256 - 1
	.quad idt

	/* What enter64 loads; C rewrites these three before it starts each AP. */
	.balign 8
	.globl boot_rip, boot_rsp, boot_tss, start_info_pa
boot_rip:
	.quad payload_main
boot_rsp:
	.quad boot_stack_top
boot_tss:
	.quad SEL_TSS0
start_info_pa:
	.quad 0

	/* The boot CPU's TSS: RSP0, and an I/O bitmap (at 0x68) that allows all it covers. */
	.balign 16
	.globl tss0
tss0:
	.long 0
	.quad boot_stack0_top
	.fill 90, 1, 0
	.word 0x68
	.fill TSS_LIMIT - 0x68, 1, 0
	.byte 0xff

	.section .bss, "aw", @nobits
	.balign 16
	.globl idt, fault_vector, fault_error, fault_cr2, fault_rip
idt:
	.skip 16 * 256
fault_vector:
	.skip 8
fault_error:
	.skip 8
fault_cr2:
	.skip 8
fault_rip:
	.skip 8
	.balign 16
	.skip 64
start_stack_top:
	.skip 4096
boot_stack0_top:
	.skip 16384
boot_stack_top:
	.skip 4096
fault_stack_top:

	.section .note.GNU-stack, "", @progbits
