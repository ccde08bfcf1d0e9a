/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg - what firmware asks its host for: numbers and files, by ports (QEMU, docs/specs/fw_cfg.rst).
 *
 *   0x510  selector: which item is read, from its beginning
 *   0x511  data: the item's next byte; zeros behind its end, and of an item that there is not
 *   0x514  DMA: the guest-physical address of a descriptor, big-endian, high half first; the low half begins
 *
 * A descriptor says select, read, skip, and where to.  It comes from the guest, and so does where to (rule S): what
 * lies outside of RAM, or is longer than FW_CFG_DMA_MAX, is answered with the error bit.  What is written to the
 * guest is marked (rule D).  Nothing can be written to an item.
 *
 * Items are added before the guest runs and stay as they are.
 */
#ifndef DROVER_HV_PLATFORM_FW_CFG_H
#define DROVER_HV_PLATFORM_FW_CFG_H

#include "base/err.h"
#include "hv/device/bus.h"
#include "hv/device/state.h"
#include "hv/memory/memory.h"

#include <stddef.h>
#include <stdint.h>

#define FW_CFG_PORT 0x510
#define FW_CFG_SIGNATURE 0x00
#define FW_CFG_ID 0x01
#define FW_CFG_UUID 0x02
#define FW_CFG_RAM_SIZE 0x03
#define FW_CFG_CPUS 0x05
#define FW_CFG_BOOT_MENU 0x0e
#define FW_CFG_CPUS_MAX 0x0f
#define FW_CFG_DIRECTORY 0x19
#define FW_CFG_FILES 0x20 /* the first file; each has the key behind that of the one before */
#define FW_CFG_NAME_MAX 55
#define FW_CFG_ITEMS_MAX 32
#define FW_CFG_DMA_MAX (16u << 20) /* no item is longer; a vCPU is not to be kept for longer than that takes */
#define FW_CFG_DMA_ERROR 0x01u
#define FW_CFG_DMA_READ 0x02u
#define FW_CFG_DMA_SKIP 0x04u
#define FW_CFG_DMA_SELECT 0x08u
#define FW_CFG_DMA_WRITE 0x10u

struct fw_cfg;

/** fw_cfg_create() - one with signature, id and an empty directory, that answers nowhere yet; @pio and @mem must outlive it */
int fw_cfg_create(struct fw_cfg **out, struct bus *pio, struct gmem *mem, struct err *e);
/** fw_cfg_add() - item @key, not there yet, is the @len bytes at @data, which are copied; -ENOSPC, -ENOMEM */
int fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len, struct err *e);
/** fw_cfg_add_number() - the same: @value in @size (1 to 8) bytes, little-endian */
int fw_cfg_add_number(struct fw_cfg *f, uint16_t key, uint64_t value, size_t size, struct err *e);
/** fw_cfg_add_file() - the next file, with its place in the directory; @name of at most FW_CFG_NAME_MAX characters */
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t len, struct err *e);
/** fw_cfg_plug() - let the guest reach it; -EEXIST when its ports are taken */
int fw_cfg_plug(struct fw_cfg *f, struct err *e);
/** fw_cfg_destroy() - take it from the guest, which may run, and free it; NULL is nothing */
void fw_cfg_destroy(struct fw_cfg *f);
/** fw_cfg_state_entry() - its record, "fw_cfg": what is selected, how far it was read; items are each host's own */
struct state_entry fw_cfg_state_entry(struct fw_cfg *f);

#endif
