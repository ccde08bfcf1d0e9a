/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h - numbers that boot.S and the C files of the payload share. */
#ifndef PAYLOAD_LAYOUT_H
#define PAYLOAD_LAYOUT_H

#define CPUS_MAX 64

/* Selectors. User ones carry RPL 3. */
#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_KCODE32 0x18
#define SEL_UDATA 0x23
#define SEL_UCODE 0x2b
#define SEL_TSS0 0x40 /* then one every 16 bytes */
#define GDT_BYTES (SEL_TSS0 + 16 * CPUS_MAX)

#define TSS_IO_PORTS 0x1000                 /* ports that level 3 may use */
#define TSS_LIMIT (0x68 + TSS_IO_PORTS / 8) /* bitmap, then the byte of ones (SDM 1, 19.5.2) */

#define LAPIC_PA 0xfee00000
#define AP_TRAMPOLINE_PA 0x10000

/* ebx of int3: what level 0 shall do. */
#define CALL_HLT 0
#define CALL_WRMSR 1
#define CALL_RESET 2

#define VEC_TIMER 0x40
#define VEC_SPURIOUS 0xff

#endif
