/* SPDX-License-Identifier: Apache-2.0 */
/* fw_cfg, by its registers (QEMU, docs/specs/fw_cfg.rst): what a guest reads, and what a hostile one cannot. */
#include "tests/unit/hv/firmware_bed.h"

#include "hv/platform/fw_cfg.h"

#define DESCRIPTOR 0x1000
#define TARGET 0x3000

static struct pc pc;
static struct fw_cfg *fw;

static int setup(void **state)
{
	pc = pc_make(true);
	assert_int_equal(fw_cfg_create(&fw, pc.pio, pc.mem, NULL), 0);
	assert_int_equal(fw_cfg_add_number(fw, FW_CFG_CPUS, 0x1234, 2, NULL), 0);
	assert_int_equal(fw_cfg_add_file(fw, "etc/one", "first file", 10, NULL), 0);
	assert_int_equal(fw_cfg_add_file(fw, "etc/two", "", 0, NULL), 0);
	assert_int_equal(fw_cfg_plug(fw, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	fw_cfg_destroy(fw);
	pc_end(&pc);
	return 0;
}

static void choose(uint16_t key)
{
	bus_write(pc.pio, FW_CFG_PORT, 2, key);
}

static uint8_t next(void)
{
	return (uint8_t)bus_read(pc.pio, FW_CFG_PORT + 1, 1);
}

static uint32_t next_be32(void)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 8 | next();
	return v;
}

/* A descriptor at @at is put there and begun; its control word then. */
static uint32_t dma_at(uint64_t at, uint32_t control, uint32_t len, uint64_t to)
{
	struct {
		uint32_t control, length;
		uint64_t address;
	} d = { htobe32(control), htobe32(len), htobe64(to) };

	gmem_write(pc.mem, at, &d, sizeof(d));
	bus_write(pc.pio, FW_CFG_PORT + 4, 4, htobe32((uint32_t)(at >> 32)));
	bus_write(pc.pio, FW_CFG_PORT + 8, 4, htobe32((uint32_t)at));
	if (gmem_read(pc.mem, at, &d, sizeof(d)))
		return 0;
	return be32toh(d.control);
}

static uint32_t dma(uint32_t control, uint32_t len, uint64_t to)
{
	return dma_at(DESCRIPTOR, control, len, to);
}

static bool dirty(uint64_t gpa)
{
	return atomic_load(&pc.mem->regions[0].dirty[gpa / GMEM_PAGE / 64]) >> (gpa / GMEM_PAGE % 64) & 1;
}

static void signature_and_id_tell_that_it_is_there(void **state)
{
	choose(FW_CFG_SIGNATURE);
	assert_int_equal(next_be32(), 0x51454d55); /* "QEMU" */
	choose(FW_CFG_ID);
	assert_int_equal(next(), 3);
	assert_int_equal(next(), 0);
	/* "QEMU CFG" at the DMA address, high half first */
	assert_int_equal(be32toh((uint32_t)bus_read(pc.pio, FW_CFG_PORT + 4, 4)), 0x51454d55);
	assert_int_equal(be32toh((uint32_t)bus_read(pc.pio, FW_CFG_PORT + 8, 4)), 0x20434647);
}

static void an_item_is_read_from_its_beginning_and_zeros_follow(void **state)
{
	for (int i = 0; i < 2; i++) {
		choose(FW_CFG_CPUS);
		assert_int_equal(next(), 0x34);
		assert_int_equal(next(), 0x12);
		assert_int_equal(next(), 0);
	}
	choose(0x7777);
	assert_int_equal(next(), 0);
	choose(FW_CFG_FILES + 1);
	assert_int_equal(next(), 0);
}

static void the_directory_leads_to_files(void **state)
{
	char name[57] = "";

	choose(FW_CFG_DIRECTORY);
	assert_int_equal(next_be32(), 2);
	assert_int_equal(next_be32(), 10);
	assert_int_equal(next_be32(), FW_CFG_FILES << 16);
	for (int i = 0; i < 56; i++)
		name[i] = (char)next();
	assert_string_equal(name, "etc/one");
	assert_int_equal(next_be32(), 0);
	assert_int_equal(next_be32(), (FW_CFG_FILES + 1) << 16);
	choose(FW_CFG_FILES);
	assert_int_equal(next(), 'f');
}

static void dma_selects_reads_and_marks_what_it_wrote(void **state)
{
	char text[16] = "................";

	gmem_write(pc.mem, TARGET, text, sizeof(text));
	pc.mem->tracking = true;
	assert_int_equal(dma(FW_CFG_FILES << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_SKIP, 6, 0), 0);
	assert_false(dirty(TARGET));
	assert_int_equal(dma(FW_CFG_DMA_READ, 12, TARGET), 0);
	gmem_read(pc.mem, TARGET, text, sizeof(text));
	assert_memory_equal(text, "file\0\0\0\0\0\0\0\0....", 16);
	assert_true(dirty(TARGET));
	assert_true(dirty(DESCRIPTOR)); /* the answer */
	assert_int_equal(dma(FW_CFG_DMA_READ, 0, TARGET), 0);
}

static void dma_out_of_memory_is_an_error_and_reads_nothing(void **state)
{
	static const uint64_t nowhere[] = { BED_RAM, BED_RAM - 3, 0xfee00000, ~0ull, ~0ull - 3, 1ull << 63 };

	choose(FW_CFG_FILES);
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
		assert_int_equal(dma(FW_CFG_DMA_READ, 4, nowhere[i]), FW_CFG_DMA_ERROR);
	assert_int_equal(dma(FW_CFG_DMA_READ, ~0u, TARGET), FW_CFG_DMA_ERROR);
	assert_int_equal(dma(FW_CFG_DMA_READ, FW_CFG_DMA_MAX + 1, 0), FW_CFG_DMA_ERROR);
	assert_int_equal(next(), 'f');
}

/* There is nowhere to answer: nothing happens, and the next one works. */
static void a_descriptor_that_is_nowhere_is_ignored(void **state)
{
	static const uint64_t nowhere[] = { BED_RAM, BED_RAM - 15, 1ull << 32, ~0ull, ~0ull - 15 };

	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
		dma_at(nowhere[i], FW_CFG_DMA_READ, 4, TARGET);
	assert_int_equal(dma_at(BED_RAM - 16, FW_CFG_FILES << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_READ, 4, TARGET), 0);
}

static void a_descriptor_may_be_read_over(void **state)
{
	/* The answer comes last: all of it but that is the file's. */
	assert_int_equal(dma(FW_CFG_FILES << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_READ, 10, DESCRIPTOR), 0);
}

static void nothing_can_be_written_to_an_item(void **state)
{
	assert_int_equal(dma(FW_CFG_FILES << 16 | FW_CFG_DMA_SELECT | FW_CFG_DMA_WRITE, 4, TARGET), FW_CFG_DMA_ERROR);
	choose(FW_CFG_FILES);
	bus_write(pc.pio, FW_CFG_PORT + 1, 1, 'X');
	choose(FW_CFG_FILES);
	assert_int_equal(next(), 'f');
}

static void skipping_ends_at_the_end_of_numbers(void **state)
{
	choose(FW_CFG_FILES);
	for (int i = 0; i < 3; i++)
		assert_int_equal(dma(FW_CFG_DMA_SKIP, ~0u, 0), 0);
	assert_int_equal(next(), 0);
	assert_int_equal(next(), 0);
}

static void other_sizes_are_no_registers(void **state)
{
	choose(FW_CFG_FILES);
	bus_write(pc.pio, FW_CFG_PORT, 1, FW_CFG_CPUS);
	bus_write(pc.pio, FW_CFG_PORT + 8, 2, 0);
	bus_read(pc.pio, FW_CFG_PORT, 2);
	bus_read(pc.pio, FW_CFG_PORT + 2, 1);
	assert_int_equal(next(), 'f');
}

static void too_many_items_are_refused(void **state)
{
	char name[16];
	int n = 0;

	while (n < 100) {
		snprintf(name, sizeof(name), "etc/%d", n);
		if (fw_cfg_add_file(fw, name, name, 1, NULL))
			break;
		n++;
	}
	assert_int_equal(n, FW_CFG_ITEMS_MAX - 5);
	choose(FW_CFG_DIRECTORY);
	assert_int_equal(next_be32(), n + 2);
}

/* In the middle of a file, and between the halves of an address. */
static void a_guest_that_moves_reads_on(void **state)
{
	struct state_entry s = fw_cfg_state_entry(fw);
	uint8_t buf[256];
	size_t len;

	choose(FW_CFG_FILES);
	next();
	bus_write(pc.pio, FW_CFG_PORT + 4, 4, htobe32(1));
	len = state_take(&s, buf, sizeof(buf));
	teardown(state);
	setup(state);
	s = fw_cfg_state_entry(fw);
	assert_int_equal(state_give(&s, buf, len, NULL), 0);
	assert_int_equal(next(), 'i');
	bus_write(pc.pio, FW_CFG_PORT + 8, 4, htobe32(DESCRIPTOR)); /* at 4 GiB and something: nowhere */
	assert_int_equal(next(), 'r');
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(signature_and_id_tell_that_it_is_there),
		TEST(an_item_is_read_from_its_beginning_and_zeros_follow),
		TEST(the_directory_leads_to_files),
		TEST(dma_selects_reads_and_marks_what_it_wrote),
		TEST(dma_out_of_memory_is_an_error_and_reads_nothing),
		TEST(a_descriptor_that_is_nowhere_is_ignored),
		TEST(a_descriptor_may_be_read_over),
		TEST(nothing_can_be_written_to_an_item),
		TEST(skipping_ends_at_the_end_of_numbers),
		TEST(other_sizes_are_no_registers),
		TEST(too_many_items_are_refused),
		TEST(a_guest_that_moves_reads_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
