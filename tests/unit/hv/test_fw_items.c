/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What firmware is told.  The commands for its tables are carried out here as firmware does it, and what comes out
 * must be what a kernel finds that is loaded directly.
 */
#include "tests/unit/hv/firmware_bed.h"

#include "hv/firmware/acpi.h"
#include "hv/firmware/boot.h"
#include "hv/firmware/fw_items.h"
#include "hv/firmware/fw_tables.h"
#include "hv/firmware/smbios.h"

#include <stdio.h>

#define TABLES_AT 0x7fff0040u /* where this firmware puts them */

static struct pc pc;
static struct device_env env;

static int setup(void **state)
{
	pc = pc_make(true);
	env = (struct device_env){ .mem = pc.mem, .pio = pc.pio, .mmio = pc.mmio, .irq = pc.irq, .pci = pc.pci };
	return 0;
}

static int teardown(void **state)
{
	pc_end(&pc);
	return 0;
}

/* --- a guest that reads files --- */

struct file {
	uint8_t data[65536];
	uint32_t size;
};

static uint32_t read_be(unsigned int bytes)
{
	uint32_t v = 0;

	while (bytes--)
		v = v << 8 | (uint8_t)bus_read(pc.pio, FW_CFG_PORT + 1, 1);
	return v;
}

static void read_item(uint16_t key, uint32_t size, struct file *f)
{
	bus_write(pc.pio, FW_CFG_PORT, 2, key);
	assert_true(size <= sizeof(f->data));
	f->size = size;
	for (uint32_t i = 0; i < size; i++)
		f->data[i] = (uint8_t)bus_read(pc.pio, FW_CFG_PORT + 1, 1);
}

static struct file *read_file(const char *name)
{
	struct file *f = calloc(1, sizeof(*f));
	uint32_t n, size = 0, key = 0;
	char at[57] = "";

	bus_write(pc.pio, FW_CFG_PORT, 2, FW_CFG_DIRECTORY);
	for (n = read_be(4); n; n--) {
		size = read_be(4);
		key = read_be(4) >> 16;
		for (int i = 0; i < 56; i++)
			at[i] = (char)read_be(1);
		if (!strcmp(at, name))
			break;
	}
	if (!n)
		fail_msg("there is no %s", name);
	read_item((uint16_t)key, size, f);
	return f;
}

static uint64_t number(const char *name)
{
	struct file *f = read_file(name);
	uint64_t v = 0;

	assert_true(f->size <= sizeof(v));
	memcpy(&v, f->data, f->size);
	free(f);
	return le64toh(v);
}

static void *plug(const struct domain_conf *c)
{
	void *dev;

	assert_int_equal(fw_cfg_device.create(&env, c, 0, &dev, NULL), 0);
	assert_int_equal(fw_cfg_device.plug(dev, NULL), 0);
	return dev;
}

static struct cpu_topology sockets(uint32_t n)
{
	return (struct cpu_topology){ .sockets = n, .cores = 1, .threads = 1 };
}

static struct domain_conf conf_of(uint32_t vcpus)
{
	struct domain_conf c = { .name = "web", .memory = BED_RAM, .vcpus = vcpus, .cpu.topology = sockets(vcpus), .firmware = FIRMWARE_BIOS };

	memcpy(c.uuid, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
	return c;
}

/* --- ACPI --- */

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

struct loaded {
	struct file *tables, *rsdp;
	bool tables_placed, rsdp_placed;
};

static struct file *loaded_file(struct loaded *l, const char *name)
{
	if (!strcmp(name, FW_TABLES_FILE))
		return l->tables;
	assert_string_equal(name, FW_RSDP_FILE);
	return l->rsdp;
}

static void load_allocate(struct loaded *l, const struct fw_loader_command *c)
{
	if (loaded_file(l, c->allocate.file) == l->tables) {
		assert_int_equal(c->allocate.zone, FW_LOADER_HIGH);
		assert_int_equal(TABLES_AT % le32toh(c->allocate.align), 0);
		l->tables_placed = true;
	} else {
		assert_int_equal(c->allocate.zone, FW_LOADER_FSEG);
		assert_int_equal(le32toh(c->allocate.align), 16);
		l->rsdp_placed = true;
	}
}

static void load_pointer(struct loaded *l, const struct fw_loader_command *c)
{
	struct file *f = loaded_file(l, c->pointer.dest);
	uint64_t v;

	assert_true(l->tables_placed && l->rsdp_placed);
	assert_ptr_equal(loaded_file(l, c->pointer.src), l->tables);
	assert_int_equal(c->pointer.size, 8);
	assert_true(le32toh(c->pointer.at) + 8 <= f->size);
	memcpy(&v, f->data + le32toh(c->pointer.at), 8);
	assert_true(le64toh(v) < l->tables->size);
	v = htole64(le64toh(v) + TABLES_AT);
	memcpy(f->data + le32toh(c->pointer.at), &v, 8);
}

static void load_checksum(struct loaded *l, const struct fw_loader_command *c)
{
	struct file *f = loaded_file(l, c->checksum.file);
	uint32_t start = le32toh(c->checksum.start), len = le32toh(c->checksum.length);

	assert_true(start + len <= f->size);
	f->data[le32toh(c->checksum.at)] -= sum(f->data + start, len);
}

/* As romfile_loader_execute() of SeaBIOS does it. */
static void load_tables(struct loaded *l)
{
	struct file *script = read_file(FW_LOADER_FILE);

	*l = (struct loaded){ .tables = read_file(FW_TABLES_FILE), .rsdp = read_file(FW_RSDP_FILE) };
	assert_int_equal(script->size % sizeof(struct fw_loader_command), 0);
	for (size_t i = 0; i < script->size; i += sizeof(struct fw_loader_command)) {
		const struct fw_loader_command *c = (const void *)(script->data + i);

		switch (le32toh(c->command)) {
		case FW_LOADER_ALLOCATE:
			load_allocate(l, c);
			break;
		case FW_LOADER_ADD_POINTER:
			load_pointer(l, c);
			break;
		case FW_LOADER_ADD_CHECKSUM:
			load_checksum(l, c);
			break;
		default:
			fail_msg("command %u", le32toh(c->command));
		}
	}
	free(script);
}

/* Nothing is left for firmware to find out: what it has made is what we make for that address. */
static void what_firmware_loads_is_what_was_meant(void **state)
{
	static const uint32_t counts[] = { 1, 2, 255 };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct acpi_tables *t = malloc(sizeof(*t));
		struct domain_conf c = conf_of(counts[i]);
		void *dev = plug(&c);
		struct acpi_rsdp rsdp;
		struct loaded l;

		load_tables(&l);
		assert_int_equal(acpi_make(t, TABLES_AT, &c.cpu.topology, true, NULL), 0);
		rsdp = acpi_rsdp(t->xsdt);
		assert_int_equal(l.tables->size, t->len);
		assert_memory_equal(l.tables->data, t->area, t->len);
		assert_int_equal(l.rsdp->size, sizeof(rsdp));
		assert_memory_equal(l.rsdp->data, &rsdp, sizeof(rsdp));
		assert_int_equal(sum(l.rsdp->data, 20), 0);
		assert_int_equal(sum(l.rsdp->data, 36), 0);
		free(l.tables);
		free(l.rsdp);
		free(t);
		fw_cfg_device.destroy(dev);
	}
}

/* The table called @name of those at @base of which @t is a copy. */
static const uint8_t *table_of(const struct acpi_tables *t, const char *name, uint32_t *len)
{
	for (size_t i = 0; i < t->n_tables; i++)
		if (!memcmp(t->area + t->tables[i].at, name, 4)) {
			*len = t->tables[i].len;
			assert_int_equal(sum(t->area + t->tables[i].at, *len), 0);
			return t->area + t->tables[i].at;
		}
	fail_msg("no %s", name);
	return NULL;
}

static uint64_t le(const uint8_t *p, unsigned int bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return le64toh(v);
}

/* ACPI 6.4, 5.2.9: fixed hardware, as the registers of pm_block.h are. */
static void firmware_is_told_of_fixed_hardware(void **state)
{
	const struct cpu_topology one = sockets(1);
	struct acpi_tables *t = malloc(sizeof(*t));
	const uint8_t *p;
	uint32_t len;

	assert_int_equal(acpi_make(t, TABLES_AT, &one, true, NULL), 0);
	p = table_of(t, "FACP", &len);
	assert_int_equal(len, 268);
	assert_int_equal(le(p + 46, 2), 9);
	assert_int_equal(le(p + 48, 4), 0);
	assert_int_equal(le(p + 56, 4), 0x600);
	assert_int_equal(le(p + 64, 4), 0x604);
	assert_int_equal(le(p + 76, 4), 0x608);
	assert_int_equal(le(p + 88, 8), 0x04000204);
	assert_int_equal(le(p + 112, 4), 0x425); /* and not: hardware-reduced */
	assert_int_equal(le(p + 116, 4), 0x01000801);
	assert_int_equal(le(p + 120, 8), 0xcf9);
	assert_int_equal(p[128], 6);
	assert_int_equal(le(p + 132, 8), TABLES_AT);
	assert_memory_equal(t->area, "FACS\x40\0\0\0", 8);
	assert_int_equal(TABLES_AT % 64, 0);
	assert_memory_equal(t->area + (le(p + 140, 8) - TABLES_AT), "DSDT", 4);
	free(t);
}

/* What is the same for a kernel that is loaded directly, and how the rest differs. */
static void firmware_is_told_the_same_as_a_kernel(void **state)
{
	const uint8_t *a, *b;
	const struct cpu_topology three = sockets(3);
	struct acpi_tables *bios = malloc(sizeof(*bios)), *kernel = malloc(sizeof(*kernel));
	uint32_t a_len, b_len;
	uint64_t rsdp;
	uint8_t *found = malloc(ACPI_TABLES_SIZE);

	assert_int_equal(acpi_make(bios, TABLES_AT, &three, true, NULL), 0);
	assert_int_equal(acpi_make(kernel, BOOT_ACPI + 48, &three, false, NULL), 0);
	/* acpi_build() puts just these into memory, right behind their RSDP. */
	assert_int_equal(acpi_build(pc.mem, &three, &rsdp, NULL), 0);
	assert_int_equal(gmem_read(pc.mem, rsdp + 48, found, kernel->len), 0);
	assert_memory_equal(found, kernel->area, kernel->len);
	a = table_of(bios, "MCFG", &a_len);
	b = table_of(kernel, "MCFG", &b_len);
	assert_int_equal(a_len, b_len);
	assert_memory_equal(a, b, a_len);
	table_of(bios, "APIC", &a_len);
	table_of(kernel, "APIC", &b_len);
	assert_int_equal(a_len, b_len + 10);                        /* the override of IRQ 9 */
	assert_int_equal(bios->n_pointers, kernel->n_pointers + 1); /* the FACS */
	free(found);
	free(bios);
	free(kernel);
}

/* --- SMBIOS --- */

struct smbios_seen {
	unsigned int count, longest;
	const uint8_t *of[128];
};

/* Walk the structures as DSP0134 6.1.3 says. */
static void smbios_walk(const uint8_t *p, size_t len, struct smbios_seen *s)
{
	const uint8_t *end = p + len;

	memset(s, 0, sizeof(*s));
	while (p < end) {
		const uint8_t *start = p;

		assert_true(p[1] >= 4 && p + p[1] + 2 <= end && p[0] < 128);
		s->of[p[0]] = p;
		s->count++;
		for (p += p[1]; p[0] || p[1]; p++)
			assert_true(p + 2 < end);
		p += 2;
		if (p - start > s->longest)
			s->longest = (unsigned int)(p - start);
	}
	assert_ptr_equal(p, end);
}

static const char *smbios_string(const uint8_t *structure, unsigned int n)
{
	const char *s = (const char *)structure + structure[1];

	assert_true(n);
	while (--n)
		s += strlen(s) + 1;
	return s;
}

static void smbios_tells_who_the_machine_is(void **state)
{
	struct domain_conf c = conf_of(3);
	void *dev = plug(&c);
	struct file *anchor = read_file("etc/smbios/smbios-anchor"), *tables = read_file("etc/smbios/smbios-tables");
	struct smbios_seen s;

	assert_int_equal(anchor->size, 31);
	assert_memory_equal(anchor->data, "_SM_", 4);
	assert_int_equal(sum(anchor->data, 31), 0);
	assert_memory_equal(anchor->data + 16, "_DMI_", 5);
	assert_int_equal(sum(anchor->data + 16, 15), 0);
	assert_int_equal(anchor->data[22] | anchor->data[23] << 8, tables->size);
	smbios_walk(tables->data, tables->size, &s);
	assert_int_equal(anchor->data[28] | anchor->data[29] << 8, s.count);
	assert_int_equal(anchor->data[8] | anchor->data[9] << 8, s.longest);
	assert_string_equal(smbios_string(s.of[1], s.of[1][4]), "Drover");
	assert_string_equal(smbios_string(s.of[1], s.of[1][7]), "web");
	assert_memory_equal(s.of[1] + 8, "\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
	assert_int_equal(s.of[1][1], 27);
	assert_int_equal(s.of[3][1], 22);
	assert_int_equal(s.of[4][1], 42);
	assert_int_equal(s.of[4][35], 3); /* cores */
	assert_int_equal(s.of[16][1], 23);
	assert_int_equal(s.of[17][1], 40);
	assert_int_equal(s.of[17][12] | s.of[17][13] << 8, BED_RAM >> 20);
	assert_non_null(s.of[32]);
	assert_non_null(s.of[127]);
	free(anchor);
	free(tables);
	fw_cfg_device.destroy(dev);
}

static void much_memory_is_told_in_the_wide_fields(void **state)
{
	static const uint8_t uuid[16];
	struct smbios_what w = { .name = "big", .uuid = uuid, .memory = 4ull << 40, .vcpus = 1 };
	struct smbios_seen s;
	struct smbios m;
	uint64_t v = 0;

	assert_int_equal(smbios_make(&m, &w, NULL), 0);
	smbios_walk(m.tables, m.len, &s);
	assert_memory_equal(s.of[16] + 7, "\0\0\0\x80", 4);
	memcpy(&v, s.of[16] + 15, 8);
	assert_true(v == w.memory);
	assert_memory_equal(s.of[17] + 12, "\xff\x7f", 2);
	v = 0;
	memcpy(&v, s.of[17] + 28, 4);
	assert_true(v == 4u << 20);
}

/* --- the rest --- */

static void the_map_is_the_memory_there_is(void **state)
{
	struct domain_conf c = conf_of(2);
	void *dev = plug(&c);
	struct file *f = read_file("etc/e820");

	assert_int_equal(f->size, 20);
	assert_memory_equal(f->data, "\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\x01\0\0\0", 20);
	read_item(FW_CFG_CPUS, 2, f);
	assert_memory_equal(f->data, "\x02\0", 2);
	read_item(FW_CFG_CPUS_MAX, 2, f);
	assert_memory_equal(f->data, "\x02\0", 2);
	read_item(FW_CFG_UUID, 16, f);
	assert_memory_equal(f->data, c.uuid, 16);
	assert_int_equal(number("etc/sercon-port"), 0x3f8);
	assert_int_equal(number("etc/boot-fail-wait"), FW_BOOT_FAIL_WAIT_MS);
	free(f);
	fw_cfg_device.destroy(dev);
}

static void bar_moved(struct pci_dev *d, unsigned int bar, uint64_t base)
{
}

static void touched(struct pci_dev *d, unsigned int offset, unsigned int len)
{
}

static void disks_boot_in_the_order_of_the_file(void **state)
{
	static const struct pci_dev_ops ops = { .bar_moved = bar_moved, .config_read = touched, .config_write = touched };
	static const struct pci_ident ident = { .vendor = 0x1af4, .device = 0x1042 };
	struct domain_conf c = conf_of(1);
	struct pci_dev d[12];
	struct file *f;
	char name[16];
	void *dev;

	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "blk%d", i);
		assert_int_equal(pci_dev_init(&d[i], pc.pci, &ops, &ident, name, NULL), 0);
	}
	c.n_disks = 12;
	dev = plug(&c);
	f = read_file("bootorder");
	assert_int_equal(strlen((char *)f->data) + 1, f->size);
	assert_non_null(strstr((char *)f->data, "/pci@i0cf8/scsi@1/disk@0,0\n/pci@i0cf8/scsi@2/disk@0,0\n"));
	assert_non_null(strstr((char *)f->data, "\n/pci@i0cf8/scsi@c/disk@0,0"));
	assert_int_not_equal(f->data[f->size - 2], '\n');
	free(f);
	fw_cfg_device.destroy(dev);
	for (int i = 0; i < 12; i++)
		pci_dev_fini(&d[i]);
	c.n_disks = 0;
	dev = plug(&c);
	f = read_file("bootorder");
	assert_int_equal(f->size, 1);
	free(f);
	fw_cfg_device.destroy(dev);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_firmware_loads_is_what_was_meant),
		TEST(firmware_is_told_of_fixed_hardware),
		TEST(firmware_is_told_the_same_as_a_kernel),
		TEST(smbios_tells_who_the_machine_is),
		TEST(much_memory_is_told_in_the_wide_fields),
		TEST(the_map_is_the_memory_there_is),
		TEST(disks_boot_in_the_order_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
