/* SPDX-License-Identifier: Apache-2.0 */
/* fw_tables - see fw_tables.h. */
#include "hv/firmware/fw_tables.h"

#include "hv/firmware/acpi.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX (2 + ACPI_POINTERS_MAX + 1 + ACPI_TABLES_MAX + 2)
#define TABLES_ALIGN 64 /* for the FACS */
#define RSDP_ALIGN 16   /* ACPI 6.4, 5.2.5.1 */

struct loader {
	struct fw_loader_command commands[COMMANDS_MAX];
	size_t n;
};

static struct fw_loader_command *next(struct loader *l, uint32_t command)
{
	struct fw_loader_command *c = &l->commands[l->n++];

	assert(l->n <= COMMANDS_MAX);
	c->command = htole32(command);
	return c;
}

static void allocate(struct loader *l, const char *file, uint32_t align, uint8_t zone)
{
	struct fw_loader_command *c = next(l, FW_LOADER_ALLOCATE);

	strcpy(c->allocate.file, file);
	c->allocate.align = htole32(align);
	c->allocate.zone = zone;
}

static void add_pointer(struct loader *l, const char *dest, size_t at)
{
	struct fw_loader_command *c = next(l, FW_LOADER_ADD_POINTER);

	strcpy(c->pointer.dest, dest);
	strcpy(c->pointer.src, FW_TABLES_FILE);
	c->pointer.at = htole32((uint32_t)at);
	c->pointer.size = sizeof(uint64_t);
}

static void add_checksum(struct loader *l, const char *file, size_t at, size_t start, size_t len)
{
	struct fw_loader_command *c = next(l, FW_LOADER_ADD_CHECKSUM);

	strcpy(c->checksum.file, file);
	c->checksum.at = htole32((uint32_t)at);
	c->checksum.start = htole32((uint32_t)start);
	c->checksum.length = htole32((uint32_t)len);
}

/* Memory for all first, then what depends on where that is; an RSDP's second checksum is over its first. */
static void fill(struct loader *l, const struct acpi_tables *t)
{
	allocate(l, FW_TABLES_FILE, TABLES_ALIGN, FW_LOADER_HIGH);
	allocate(l, FW_RSDP_FILE, RSDP_ALIGN, FW_LOADER_FSEG);
	for (size_t i = 0; i < t->n_pointers; i++)
		add_pointer(l, FW_TABLES_FILE, t->pointers[i].at);
	for (size_t i = 0; i < t->n_tables; i++)
		add_checksum(l, FW_TABLES_FILE, t->tables[i].at + ACPI_CHECKSUM_AT, t->tables[i].at, t->tables[i].len);
	add_pointer(l, FW_RSDP_FILE, offsetof(struct acpi_rsdp, xsdt));
	add_checksum(l, FW_RSDP_FILE, offsetof(struct acpi_rsdp, checksum), 0, ACPI_RSDP_FIRST);
	add_checksum(l, FW_RSDP_FILE, offsetof(struct acpi_rsdp, checksum_all), 0, sizeof(struct acpi_rsdp));
}

static int add_files(struct fw_cfg *f, const struct acpi_tables *t, struct err *e)
{
	struct acpi_rsdp rsdp = acpi_rsdp(t->xsdt);
	struct loader l = { .n = 0 };
	int ret;

	fill(&l, t);
	ret = fw_cfg_add_file(f, FW_TABLES_FILE, t->area, t->len, e);
	if (!ret)
		ret = fw_cfg_add_file(f, FW_RSDP_FILE, &rsdp, sizeof(rsdp), e);
	return ret ? ret : fw_cfg_add_file(f, FW_LOADER_FILE, l.commands, l.n * sizeof(l.commands[0]), e);
}

int fw_tables_add(struct fw_cfg *f, const struct cpu_topology *topology, struct err *e)
{
	struct acpi_tables *t = malloc(sizeof(*t));
	int ret;

	if (!t)
		return err_set(e, -ENOMEM, "ACPI: out of memory");
	ret = acpi_make(t, 0, topology, true, e);
	if (!ret)
		ret = add_files(f, t, e);
	free(t);
	return ret;
}
