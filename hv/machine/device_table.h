/* SPDX-License-Identifier: Apache-2.0 */
/* device_table - the kinds of devices that a machine can have, NULL at the end. */
#ifndef DROVER_HV_MACHINE_DEVICE_TABLE_H
#define DROVER_HV_MACHINE_DEVICE_TABLE_H

#include "hv/device/device.h"

extern const struct device_kind *const device_table[];

#endif
