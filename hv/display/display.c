/* SPDX-License-Identifier: Apache-2.0 */
/*
 * display - see display.h.
 *
 * Registers take whatever is written and mean nothing by themselves: picture_of() decides what they show of
 * the memory, each time somebody looks.  So there is no value that a guest or a stream could not have.
 */
#include "hv/display/display.h"

#include "conf/domain.h"
#include "hv/display/edid.h"
#include "hv/memory/memory.h"
#include "hv/pci/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in BAR 2 (QEMU docs/specs/standard-vga) */
#define AT_DISPI 0x500u
#define AT_QEXT 0x600u /* two registers of 32 bits: how many bytes of such there are, and the order of bytes */
#define QEXT_SIZE 8u
#define QEXT_LITTLE_ENDIAN 0x1e1e1e1eu

#define DISPI_ID_VALUE 0xb0c5u /* version 5: virtual sizes, 8 bits of DAC, memory size in 64 KiB */
#define MEMORY_UNIT 65536u

struct display {
	struct pci_dev pci;
	struct device_env *env;
	struct gmem_region *memory;
	pthread_mutex_t lock;
	uint16_t dispi[DISPI_COUNT];
	uint8_t edid[EDID_SIZE];
	struct pci_saved saved;
};

/* --- registers --- */

static uint64_t dispi_read(struct display *d, unsigned int index)
{
	uint64_t v;

	if (index == DISPI_ID)
		return DISPI_ID_VALUE;
	if (index == DISPI_MEMORY_64K)
		return d->memory->size / MEMORY_UNIT;
	pthread_mutex_lock(&d->lock);
	v = d->dispi[index];
	pthread_mutex_unlock(&d->lock);
	return v;
}

static void dispi_write(struct display *d, unsigned int index, uint64_t value)
{
	pthread_mutex_lock(&d->lock);
	d->dispi[index] = (uint16_t)value;
	pthread_mutex_unlock(&d->lock);
}

/* Whether [@offset, @offset + @len) is a register of 16 bits; and which. */
static bool is_dispi(uint64_t offset, unsigned int len, unsigned int *index)
{
	if (len != 2 || offset < AT_DISPI || offset >= AT_DISPI + 2 * DISPI_COUNT || offset % 2)
		return false;
	*index = (unsigned int)(offset - AT_DISPI) / 2;
	return true;
}

static uint64_t registers_read(void *dev, uint64_t offset, unsigned int len)
{
	struct display *d = dev;
	unsigned int index;
	uint64_t v = 0;

	if (is_dispi(offset, len, &index))
		return dispi_read(d, index);
	if (len == 4 && offset == AT_QEXT)
		return QEXT_SIZE;
	if (len == 4 && offset == AT_QEXT + 4)
		return QEXT_LITTLE_ENDIAN;
	if (offset > EDID_SIZE - len) /* len is at most 8 */
		return 0;
	memcpy(&v, d->edid + offset, len);
	return v;
}

/* Pixels are little-endian and stay so. */
static void registers_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	unsigned int index;

	if (is_dispi(offset, len, &index))
		dispi_write(dev, index, value);
}

static const struct bus_ops registers_ops = { .read = registers_read, .write = registers_write };

/* --- memory: vCPUs reach it without us, but for the moment in which its BAR moves --- */

static uint64_t memory_read(void *dev, uint64_t offset, unsigned int len)
{
	(void)dev;
	(void)offset;
	(void)len;
	return ~0ull;
}

static void memory_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	(void)dev;
	(void)offset;
	(void)len;
	(void)value;
}

static const struct bus_ops memory_ops = { .read = memory_read, .write = memory_write };

static void bar_moved(struct pci_dev *pci, unsigned int bar, uint64_t base)
{
	struct display *d = (struct display *)((char *)pci - offsetof(struct display, pci));

	if (bar == DISPLAY_BAR_MEMORY)
		d->env->memory_place(d->env->arg, d->memory, base);
}

static void config_nothing(struct pci_dev *pci, unsigned int offset, unsigned int len)
{
	(void)pci;
	(void)offset;
	(void)len;
}

static const struct pci_dev_ops pci_ops = {
	.bar_moved = bar_moved,
	.config_read = config_nothing,
	.config_write = config_nothing,
};

/* As QEMU's, which drivers look for; revision 2 says that there is something at AT_QEXT. */
static const struct pci_ident ident = {
	.vendor = 0x1234,
	.device = 0x1111,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.class_code = 0x038000,
	.revision = 2,
};

/* --- life --- */

static int pci_build(struct display *d, uint64_t memory, struct err *e)
{
	int ret = pci_dev_bar(&d->pci, DISPLAY_BAR_MEMORY, (uint32_t)memory, &memory_ops, d, e);

	if (!ret)
		ret = pci_dev_bar(&d->pci, DISPLAY_BAR_REGISTERS, DISPLAY_REGISTERS, &registers_ops, d, e);
	if (!ret)
		pci_dev_bar_prefetchable(&d->pci, DISPLAY_BAR_MEMORY);
	return ret;
}

static int memory_build(struct display *d, uint64_t memory, struct err *e)
{
	struct gmem_piece piece = {
		.name = DISPLAY_REGION,
		.kind = GMEM_VIDEO,
		.gpa = d->pci.bars[DISPLAY_BAR_MEMORY].home,
		.size = memory,
	};

	return gmem_region_add(d->env->mem, &piece, &d->memory, e);
}

int display_create(struct device_env *env, uint64_t memory, struct display **out, struct err *e)
{
	struct display *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return err_set(e, -ENOMEM, "display: no memory");
	d->env = env;
	pthread_mutex_init(&d->lock, NULL);
	edid_make(d->edid);
	ret = pci_dev_init(&d->pci, env->pci, &pci_ops, &ident, "display0", e);
	if (ret) {
		pthread_mutex_destroy(&d->lock);
		free(d);
		return ret;
	}
	ret = pci_build(d, memory, e);
	if (!ret)
		ret = memory_build(d, memory, e);
	if (ret)
		display_destroy(d);
	else
		*out = d;
	return ret;
}

void display_plug(struct display *d)
{
	pci_dev_plug(&d->pci);
}

void display_destroy(struct display *d)
{
	pci_dev_fini(&d->pci);
	if (d->memory)
		gmem_region_remove(d->env->mem, d->memory);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void display_registers(struct display *d, uint16_t dispi[DISPI_COUNT])
{
	pthread_mutex_lock(&d->lock);
	memcpy(dispi, d->dispi, sizeof(d->dispi));
	pthread_mutex_unlock(&d->lock);
}

const uint8_t *display_look(struct display *d, struct picture *p)
{
	uint16_t dispi[DISPI_COUNT];

	display_registers(d, dispi);
	*p = picture_of(dispi, d->memory->size);
	return d->memory->host;
}

int display_memory(const struct display *d)
{
	return d->memory->backing->fd;
}

/* --- state; the memory crosses as memory --- */

static int pre_save(void *dev, struct err *e)
{
	struct display *d = dev;

	(void)e;
	pci_dev_save(&d->pci, &d->saved);
	return 0;
}

static int post_load(void *dev, struct err *e)
{
	struct display *d = dev;

	return pci_dev_load(&d->pci, &d->saved, e);
}

static const struct state_field fields[] = {
	STATE_ARRAY(struct display, dispi, sizeof(uint16_t)),
	STATE_ARRAY(struct display, saved.config, sizeof(uint8_t)),
	STATE_END
};

static const struct state_desc state = {
	.name = "display",
	.version = 1,
	.min_version = 1,
	.fields = fields,
	.pre_save = pre_save,
	.post_load = post_load,
};

struct state_entry display_state_entry(struct display *d)
{
	return (struct state_entry){ .desc = &state, .instance = "display0", .dev = d };
}

/* --- the row --- */

static unsigned int device_wanted(const struct domain_conf *conf)
{
	return conf->display.present;
}

static int device_create(struct device_env *env, const struct domain_conf *conf, unsigned int index, void **dev, struct err *e)
{
	struct display *d;
	int ret = display_create(env, conf->display.memory, &d, e);

	(void)index;
	if (!ret)
		*dev = d;
	return ret;
}

static int device_plug(void *dev, struct err *e)
{
	(void)e;
	display_plug(dev);
	return 0;
}

static void device_destroy(void *dev)
{
	display_destroy(dev);
}

static size_t device_state(void *dev, struct state_entry *out)
{
	out[0] = display_state_entry(dev);
	return 1;
}

static unsigned int device_slot(void *dev)
{
	return ((struct display *)dev)->pci.slot;
}

const struct device_kind display_device = {
	.name = "display",
	.wanted = device_wanted,
	.create = device_create,
	.plug = device_plug,
	.destroy = device_destroy,
	.state = device_state,
	.slot = device_slot,
	.stats = device_passive_stats,
	.start = device_passive_start,
	.quiesce_begin = device_passive_quiesce_begin,
	.quiesce = device_passive_quiesce,
};
