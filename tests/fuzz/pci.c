/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz the registers: configuration space by ports and ECAM, BARs, MSI-X, the
 * common configuration.  The input is a list of accesses of 8 bytes:
 *
 *   byte 0    bits 0-1 log2 of the width, bit 2 write, bits 3-4 where: ports,
 *             ECAM, a device's BAR where it was at creation, anywhere
 *   byte 1    slot; 254 and 255, with ports: the clock and the serial port instead;
 *             255, with a BAR: the registers of the display
 *   byte 2-3  offset
 *   byte 4-7  value
 *
 * Devices work meanwhile on whatever rings come about, and can be moved at the end.
 */
#include "virtio_bed.h"

#define ACCESS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void access_bus(struct bus *b, uint64_t addr, unsigned int len, bool write, uint32_t value)
{
	if (write)
		bus_write(b, addr, len, value | (uint64_t)value << 32);
	else
		bus_read(b, addr, len);
}

static void one(struct fuzz_bed *f, const uint8_t *p)
{
	unsigned int len = 1u << (p[0] & 3), slot = p[1];
	uint32_t offset = p[2] | (uint32_t)p[3] << 8, value;
	bool write = p[0] & 4;

	memcpy(&value, p + 4, 4);
	switch (p[0] >> 3 & 3) {
	case 0:
		access_bus(f->bed.pio, slot == 254 ? RTC_PORT + offset % 2 : slot == 255 ? SERIAL_PORT + offset % 8 :
											   PCI_PORT_ADDRESS + offset % 8,
			   len > 4 ? 4 : len, write,
			   value);
		break;
	case 1:
		access_bus(f->bed.mmio, PCI_ECAM_BASE + ((uint64_t)slot << 15) + offset, len,
			   write, value);
		break;
	case 2:
		access_bus(f->bed.mmio, slot == 255 ? f->display_registers + offset % DISPLAY_REGISTERS : f->dev[slot % FUZZ_DEVICES]->pci.bars[0].home + offset,
			   len, write, value);
		break;
	default:
		access_bus(f->bed.mmio, (uint64_t)value << 4 | slot, len, write, offset);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bed *f = fuzz_bed();
	struct state_entry s;
	struct err e;
	size_t at;
	int i;

	for (i = 0; i < FUZZ_DEVICES; i++)
		fuzz_must(virtio_dev_start(f->dev[i], &e), "start");
	for (at = 0; at + ACCESS <= size; at += ACCESS)
		one(f, data + at);
	for (i = 0; i < FUZZ_DEVICES; i++)
		fuzz_must(virtio_dev_quiesce(f->dev[i], 5000, &e), "quiesce");
	for (i = 0; i < FUZZ_DEVICES; i++)
		fuzz_device_moves(f->dev[i]);
	for (i = 0; i < FUZZ_DEVICES; i++)
		fuzz_device_reset(f, (unsigned int)i);
	fuzz_display_seen(f);
	s = display_state_entry(f->display);
	fuzz_moves(&s);
	s = serial_state_entry(f->serial);
	fuzz_moves(&s);
	s = rtc_state_entry(f->rtc);
	fuzz_moves(&s);
	return 0;
}
