/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regions_bed - a guest that uses a region of memory, and a region of each kind for it.
 *
 * The guest reads the first word of PLACE for ever, writes its third, and counts.  When the host
 * asks for it, it calls what is at PLACE + CODE, once.
 */
#ifndef DROVER_TESTS_REGIONS_BED_H
#define DROVER_TESTS_REGIONS_BED_H

#include "tests/unit/hv/machine_bed.h"

#include <sys/mman.h>

#define PLACE 0x40000000u /* the guest's memory ends at 8 MiB */
#define SIZE 0x10000u
#define CODE 0x100
#define SEEN 0x200004u /* the guest: what it read last */
#define CALL 0x200008u /* the host: not 0, call what is at CODE */
#define RAN 0x20000cu  /* counted by what is there */
#define MAGIC 0x6d5c4b3au
#define WRITTEN 0x600dbeefu /* by the guest, at PLACE + 8 */

static const uint8_t use_it[] = {
	0xbc, 0x00, 0xf0, 0x2f, 0x00, /* mov $0x2ff000, %esp */
	/* loop: */
	0xa1, 0x00, 0x00, 0x00, 0x40, 0xa3, 0x04, 0x00, 0x20, 0x00, /* mov PLACE, %eax; mov %eax, SEEN */
	0xc7, 0x05, 0x08, 0x00, 0x00, 0x40, 0xef, 0xbe, 0x0d, 0x60, /* movl $WRITTEN, PLACE + 8 */
	0xff, 0x05, 0x00, 0x00, 0x20, 0x00,                         /* incl COUNTER */
	0x83, 0x3d, 0x08, 0x00, 0x20, 0x00, 0x00, 0x74, 0xdd,       /* cmpl $0, CALL; je loop */
	0xb8, 0x00, 0x01, 0x00, 0x40, 0xff, 0xd0,                   /* call PLACE + CODE */
	0xc7, 0x05, 0x08, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, /* movl $0, CALL */
	0xeb, 0xca,                                                 /* jmp loop */
};

/* --- the image in a rom or flash --- */

struct image {
	uint32_t magic, unused, third;
	uint8_t fill[CODE - 12];
	uint8_t code[7];
} __attribute__((packed));

static const struct image image = {
	.magic = MAGIC,
	.code = { 0xff, 0x05, 0x0c, 0x00, 0x20, 0x00, 0xc3 }, /* incl RAN; ret */
};

static const struct gmem_piece rom = {
	.name = "rom",
	.kind = GMEM_ROM,
	.gpa = PLACE,
	.size = SIZE,
	.image = &image,
	.image_len = sizeof(image),
};
static const struct gmem_piece flash = {
	.name = "flash",
	.kind = GMEM_FLASH,
	.gpa = PLACE,
	.size = SIZE,
	.image = &image,
	.image_len = sizeof(image),
};

static inline void add(struct machine *m, const struct gmem_piece *p, const struct bus_ops *ops, void *dev)
{
	struct err e;

	if (machine_memory_add(m, p, ops, dev, &e))
		fail_msg("%s", e.text);
}

static inline void take_away(struct machine *m, const char *name)
{
	struct err e;

	if (machine_memory_remove(m, name, &e))
		fail_msg("%s", e.text);
}

static inline uint32_t word(struct box *b, uint64_t gpa)
{
	uint32_t v;

	assert_int_equal(gmem_read(machine_memory(b->m), gpa, &v, sizeof(v)), 0);
	return v;
}

/* The guest goes round from here on, once at least. */
static inline void a_round(struct box *b)
{
	wait_for_count(b, counter(b) + 1);
}

static inline void call_it(struct box *b)
{
	uint32_t ran = word(b, RAN), yes = 1;

	assert_int_equal(gmem_write(machine_memory(b->m), CALL, &yes, sizeof(yes)), 0);
	for (int i = 0; i < 2000 && word(b, CALL); i++)
		nap_ms(1);
	assert_int_equal(word(b, CALL), 0);
	assert_int_equal(word(b, RAN), ran + 1);
}

static inline void sees(struct box *b, uint32_t what)
{
	a_round(b);
	assert_int_equal(word(b, SEEN), what);
}

/* --- the device behind a flash --- */

struct programmer {
	struct machine *m;
	struct gmem_region *r;
	_Atomic uint32_t writes;
};

static inline uint64_t program_read(void *dev, uint64_t offset, unsigned int len)
{
	return 0;
}

static inline void program(void *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	struct programmer *p = dev;

	assert_int_equal(gmem_store(p->m->mem, p->r, offset, &value, len), 0);
	atomic_fetch_add(&p->writes, 1);
}

static const struct bus_ops programmer_ops = { .read = program_read, .write = program };

/* Stopped, because between the region and its device's knowing of it the guest would write. */
static inline void flash_add(struct programmer *p)
{
	assert_int_equal(machine_hold(p->m, HOLD_OPERATOR, NULL), 0);
	add(p->m, &flash, &programmer_ops, p);
	p->r = gmem_region_find(p->m->mem, "flash");
	assert_int_equal(machine_release(p->m, HOLD_OPERATOR, NULL), 0);
}

/* --- a file to share --- */

static inline int memfd(unsigned int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

#endif
