/* SPDX-License-Identifier: Apache-2.0 */
/* fw_cfg - see fw_cfg.h. */
#include "hv/platform/fw_cfg.h"

#include "base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PORT_COUNT 12
#define DATA 1
#define DMA_HIGH 4
#define DMA_LOW 8
#define ID_PORTS 1u
#define ID_DMA 2u
#define DMA_NAME 0x51454d5520434647ull /* "QEMU CFG": what a read of the address gives */
#define DIRECTORY_MAX (4 + FW_CFG_ITEMS_MAX * sizeof(struct fw_file))

/* A descriptor, and a line of the directory: big-endian. */
struct fw_dma {
	uint32_t control, length;
	uint64_t address;
};

struct fw_file {
	uint32_t size;
	uint16_t key, reserved;
	char name[FW_CFG_NAME_MAX + 1];
};

_Static_assert(sizeof(struct fw_dma) == 16 && sizeof(struct fw_file) == 64, "fw_cfg.rst");

struct fw_item {
	uint16_t key;
	size_t len;
	uint8_t *data;
};

struct fw_cfg {
	pthread_mutex_t lock;
	struct bus *pio;
	struct gmem *mem;
	struct fw_item items[FW_CFG_ITEMS_MAX];
	size_t n_items;
	uint16_t n_files;
	uint8_t directory[DIRECTORY_MAX];

	/* saved */
	uint16_t selected;
	uint32_t offset; /* of the next byte */
	uint32_t dma_high;
};

/* --- items --- */

static struct fw_item *find(struct fw_cfg *f, uint16_t key)
{
	for (size_t i = 0; i < f->n_items; i++)
		if (f->items[i].key == key)
			return &f->items[i];
	return NULL;
}

int fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len, struct err *e)
{
	struct fw_item *i = &f->items[f->n_items];

	assert(!find(f, key));
	if (f->n_items == FW_CFG_ITEMS_MAX || len > FW_CFG_DMA_MAX)
		return err_set(e, -ENOSPC, "fw_cfg: item 0x%x of %zu bytes: %zu items are there", key, len, f->n_items);
	i->data = malloc(len + 1); /* malloc(0) may be NULL */
	if (!i->data)
		return err_set(e, -ENOMEM, "fw_cfg: out of memory");
	if (len)
		memcpy(i->data, data, len);
	i->key = key;
	i->len = len;
	f->n_items++;
	return 0;
}

int fw_cfg_add_number(struct fw_cfg *f, uint16_t key, uint64_t value, size_t size, struct err *e)
{
	uint64_t le = htole64(value);

	assert(size && size <= sizeof(le));
	return fw_cfg_add(f, key, &le, size, e);
}

int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t len, struct err *e)
{
	struct fw_file file = { .size = htobe32((uint32_t)len), .key = htobe16(FW_CFG_FILES + f->n_files) };
	size_t n = strlen(name);
	uint32_t count;
	int ret;

	assert(n && n <= FW_CFG_NAME_MAX);
	ret = fw_cfg_add(f, FW_CFG_FILES + f->n_files, data, len, e);
	if (ret)
		return ret;
	memcpy(file.name, name, n);
	memcpy(f->directory + 4 + f->n_files * sizeof(file), &file, sizeof(file));
	f->n_files++;
	count = htobe32(f->n_files);
	memcpy(f->directory, &count, sizeof(count));
	return 0;
}

/* What is selected, from the next byte on; *@len may be 0. */
static const uint8_t *rest(struct fw_cfg *f, size_t *len)
{
	const struct fw_item *i = find(f, f->selected);
	const uint8_t *data = i ? i->data : f->directory;
	size_t size = i ? i->len : 0;

	if (f->selected == FW_CFG_DIRECTORY)
		size = 4 + f->n_files * sizeof(struct fw_file);
	*len = f->offset < size ? size - f->offset : 0;
	return *len ? data + f->offset : data;
}

static void skip(struct fw_cfg *f, uint32_t len)
{
	f->offset = len > UINT32_MAX - f->offset ? UINT32_MAX : f->offset + len;
}

static void choose(struct fw_cfg *f, uint16_t key)
{
	f->selected = key;
	f->offset = 0;
}

/* --- DMA --- */

static int dma_copy(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	const uint8_t *from;
	struct iovec iov;
	size_t have;

	if (!len)
		return 0;
	if (len > FW_CFG_DMA_MAX || gmem_iov(f->mem, gpa, len, GMEM_WRITE, &iov))
		return -EFAULT;
	from = rest(f, &have);
	if (have > len)
		have = len;
	memcpy(iov.iov_base, from, have);
	memset((uint8_t *)iov.iov_base + have, 0, len - have);
	gmem_dirty(f->mem, gpa, len);
	skip(f, len);
	return 0;
}

/* A descriptor that is nowhere has no place for an answer either. */
static void dma(struct fw_cfg *f, uint64_t at)
{
	uint32_t control, len, answer = 0;
	struct fw_dma d;

	if (gmem_read(f->mem, at, &d, sizeof(d)))
		return;
	control = be32toh(d.control);
	len = be32toh(d.length);
	if (control & FW_CFG_DMA_SELECT)
		choose(f, (uint16_t)(control >> 16));
	if (control & FW_CFG_DMA_READ)
		answer = dma_copy(f, be64toh(d.address), len) ? FW_CFG_DMA_ERROR : 0;
	else if (control & FW_CFG_DMA_WRITE)
		answer = FW_CFG_DMA_ERROR;
	else if (control & FW_CFG_DMA_SKIP)
		skip(f, len);
	d.control = htobe32(answer);
	gmem_write(f->mem, at, &d.control, sizeof(d.control));
}

/* --- ports --- */

static uint64_t dma_name(uint64_t offset, unsigned int len)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < len && offset + i < PORT_COUNT; i++)
		v |= (DMA_NAME >> 8 * (PORT_COUNT - 1 - offset - i) & 0xff) << 8 * i;
	return v;
}

static uint64_t fw_cfg_read(void *dev, uint64_t offset, unsigned int len)
{
	struct fw_cfg *f = dev;
	const uint8_t *p;
	size_t left;
	uint64_t v;

	if (offset >= DMA_HIGH)
		return dma_name(offset, len);
	if (offset != DATA || len != 1)
		return ~0ull;
	pthread_mutex_lock(&f->lock);
	p = rest(f, &left);
	v = left ? *p : 0;
	skip(f, 1);
	pthread_mutex_unlock(&f->lock);
	return v;
}

static void fw_cfg_write(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct fw_cfg *f = dev;

	pthread_mutex_lock(&f->lock);
	if (!offset && len == 2) {
		choose(f, (uint16_t)value);
	} else if (offset == DMA_HIGH && len == 4) {
		f->dma_high = be32toh((uint32_t)value);
	} else if (offset == DMA_LOW && len == 4) {
		uint64_t at = (uint64_t)f->dma_high << 32 | be32toh((uint32_t)value);

		f->dma_high = 0;
		dma(f, at);
	}
	pthread_mutex_unlock(&f->lock);
}

static const struct bus_ops fw_cfg_ops = { .read = fw_cfg_read, .write = fw_cfg_write };

/* --- life --- */

int fw_cfg_create(struct fw_cfg **out, struct bus *pio, struct gmem *mem, struct err *e)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return err_set(e, -ENOMEM, "fw_cfg: out of memory");
	pthread_mutex_init(&f->lock, NULL);
	f->pio = pio;
	f->mem = mem;
	ret = fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4, e);
	if (!ret)
		ret = fw_cfg_add_number(f, FW_CFG_ID, ID_PORTS | ID_DMA, 4, e);
	if (ret)
		fw_cfg_destroy(f);
	else
		*out = f;
	return ret;
}

int fw_cfg_plug(struct fw_cfg *f, struct err *e)
{
	int ret = bus_add(f->pio, FW_CFG_PORT, PORT_COUNT, &fw_cfg_ops, f);

	return ret ? err_set(e, ret, "fw_cfg: ports 0x%x+%u are taken", FW_CFG_PORT, PORT_COUNT) : 0;
}

void fw_cfg_destroy(struct fw_cfg *f)
{
	if (!f)
		return;
	bus_remove(f->pio, FW_CFG_PORT, f);
	bus_wait(f->pio);
	for (size_t i = 0; i < f->n_items; i++)
		free(f->items[i].data);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static int fw_cfg_pre_save(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

/* Any key and any place in it is one that a guest may ask for. */
static int fw_cfg_post_load(void *dev, struct err *e)
{
	(void)dev;
	(void)e;
	return 0;
}

static const struct state_field fw_cfg_fields[] = {
	STATE_U16(struct fw_cfg, selected),
	STATE_U32(struct fw_cfg, offset),
	STATE_U32(struct fw_cfg, dma_high),
	STATE_END,
};

static const struct state_desc fw_cfg_state = {
	.name = "fw_cfg",
	.version = 1,
	.min_version = 1,
	.fields = fw_cfg_fields,
	.pre_save = fw_cfg_pre_save,
	.post_load = fw_cfg_post_load,
};

struct state_entry fw_cfg_state_entry(struct fw_cfg *f)
{
	return (struct state_entry){ .desc = &fw_cfg_state, .instance = "fw_cfg", .dev = f };
}
