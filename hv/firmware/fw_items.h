/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_items - what a domain's firmware is told through fw_cfg, and that device's row.
 *
 *   etc/e820                   RAM; what else there is firmware knows itself
 *   etc/acpi/..., table-loader fw_tables.h
 *   etc/smbios/...             smbios.h
 *   bootorder                  the disks of the domain's file, in its order
 *   etc/boot-fail-wait         how long it waits before it looks again, when there is nothing to boot
 *   etc/sercon-port            there is no screen: what is shown, and typed, goes over the serial line
 *
 * All follows from the domain's file, so both ends of a migration make the same of it.
 */
#ifndef DROVER_HV_FIRMWARE_FW_ITEMS_H
#define DROVER_HV_FIRMWARE_FW_ITEMS_H

#include "base/err.h"
#include "conf/domain.h"
#include "hv/device/device.h"
#include "hv/platform/fw_cfg.h"

#define FW_BOOT_FAIL_WAIT_MS 60000

/** fw_items_add() - put them into @f, for the domain @conf with the disks that are on @env's PCI bus */
int fw_items_add(struct fw_cfg *f, const struct device_env *env, const struct domain_conf *conf, struct err *e);

extern const struct device_kind fw_cfg_device;

#endif
