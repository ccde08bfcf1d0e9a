/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_table - the devices that Drover knows: one row each, kept by the device itself
 * (hv/device/device.h).
 *
 * The order is that in which they are created and saved, and in which PCI slots are given: two
 * ends of a migration must have the same, so a new row goes to the end.  A device may use what
 * rows above it have set up (device_env.pci).
 */
#include "hv/machine/device_table.h"

#include "hv/display/display.h"
#include "hv/firmware/fw_items.h"
#include "hv/pci/pci.h"
#include "hv/platform/acpi_pm.h"
#include "hv/platform/debugcon.h"
#include "hv/platform/lpc.h"
#include "hv/platform/pm_block.h"
#include "hv/platform/rtc.h"
#include "hv/platform/serial.h"
#include "hv/virtio/virtio.h"

const struct device_kind *const device_table[] = {
	&serial_device,
	&rtc_device,
	&acpi_pm_device,
	&pci_device,
	&virtio_blk_device,
	&virtio_net_device,
	&virtio_rng_device,
	&display_device,
	&virtio_keyboard_device,
	&virtio_tablet_device,
	&pci_q35_device,
	&lpc_device,
	&pm_block_device,
	&debugcon_device,
	&fw_cfg_device,
	&virtio_console_device,
	NULL
};
