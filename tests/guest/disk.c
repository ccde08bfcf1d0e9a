/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - a trail on the disk that shows afterwards who wrote, and whether two did.
 *
 * Sectors:  0 .. 63     lanes: lane i holds the last record of incarnation i mod 64
 *           64 .. 64+R  ring: record n stands in slot n mod R; R = min(65536, sectors - 64)
 *
 * Every disk_ms the boot CPU
 *   1. reads slot n-1 and slot n: n-1 must be, byte for byte, what it wrote itself; n must be
 *      older than n.  Anything else is the work of another writer, and counted as `foreign`
 *      in every record from then on;
 *   2. writes record n to the ring; 3. the same to its lane; now and then a flush.
 *
 * Each record names the incarnation, the boot (a number drawn once per boot), a nonce (drawn per
 * record) and the checksum of the record before it.  So two writers at once leave traces even
 * if one of them overwrites all that the other did to the ring: `foreign`, a chain that
 * does not fit, or lanes whose ranges overlap.  diskcheck.py looks for all of them.
 *
 * At start the ring is searched for its newest record by halving (slots up to it carry a newer
 * round than those behind it): some twenty reads, not 32 MiB.
 */
#include "virtio.h"

#define MAGIC 0x3143455252565244ull /* "DRVRREC1" */
#define LANES 64
#define RING_MAX 65536
#define FLUSH_EVERY 64

struct record { /* little endian; diskcheck.py reads the same */
	uint64_t magic, seq, inc, boot, first_seq;
	uint64_t ns; /* since this boot */
	uint64_t tsc, tsc_khz;
	uint64_t nonce, previous; /* CRC of record seq - 1, 0 for none */
	uint64_t foreign;
	uint8_t zero[SECTOR - 11 * 8 - 4];
	uint32_t crc; /* CRC-32 (IEEE 802.3) of all before it */
};

struct disk_stats disk_stats;

static enum {
	IDLE,
	LOOK,
	RING,
	LANE,
	FLUSH
} stage;
static uint64_t ring_size, next_us, boot_nonce, first_seq;
static bool can_flush, wrote_before;
static struct record last, now_rec, read_last, read_slot;
static uint32_t crc_table[256];

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
		crc_table[i] = c;
	}
}

static uint32_t crc_of(const struct record *r)
{
	const uint8_t *p = (const uint8_t *)r;
	uint32_t c = ~0u;

	for (size_t i = 0; i < SECTOR - 4; i++)
		c = crc_table[(c ^ p[i]) & 0xff] ^ c >> 8;
	return ~c;
}

static bool record_ok(const struct record *r)
{
	return r->magic == MAGIC && r->crc == crc_of(r);
}

static bool same(const struct record *a, const struct record *b)
{
	const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;

	for (size_t i = 0; i < SECTOR / 8; i++)
		if (x[i] != y[i])
			return false;
	return true;
}

static uint64_t slot_sector(uint64_t seq)
{
	return LANES + seq % ring_size;
}

/* Read one ring slot at boot: look for a while, then rest between looks. */
static bool read_now(uint64_t slot, struct record *r)
{
	uint64_t spin = rdtsc() + tsc_of_us(300), end = rdtsc() + tsc_of_us(10000000);
	bool ok;

	blk_submit(0, BLK_READ, LANES + slot, r, SECTOR);
	blk_kick();
	while (!blk_done(&ok)) {
		if (rdtsc() > end)
			return false;
		if (rdtsc() < spin)
			cpu_relax();
		else
			cpu_wait_tick(&cpus[0]);
	}
	return ok;
}

/* Does @slot hold a record of the round that slot 0 is in? */
static bool in_round(uint64_t slot, uint64_t round, struct record *r)
{
	return read_now(slot, r) && record_ok(r) && r->seq % ring_size == slot &&
	       r->seq / ring_size == round;
}

/* The newest record; false when the disk has none. */
static bool find_last(struct record *found)
{
	static struct record r;
	uint64_t low = 0, high = ring_size, round = 0;

	/* Slot 0 holds the first record of the newest round; in round 0 it is never written. */
	if (read_now(0, &r) && record_ok(&r))
		round = r.seq / ring_size;
	if (!round && !in_round(1, 0, &r))
		return false;
	low = round ? 0 : 1;
	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;

		if (in_round(mid, round, &r))
			low = mid;
		else
			high = mid;
	}
	return in_round(low, round, found);
}

void disk_init(void)
{
	uint64_t sectors;

	if (!opt.disk)
		return;
	crc_init();
	if (!blk_open(&sectors, &can_flush) || sectors < LANES + 128) {
		put_str("D: panic disk=1 but no usable virtio block device\n");
		serial_flush();
		cpu_stop();
	}
	ring_size = sectors - LANES < RING_MAX ? sectors - LANES : RING_MAX;
	boot_nonce = rdtsc() * 0x9e3779b97f4a7c15ull;
	wrote_before = find_last(&last);
	disk_stats.present = true;
	disk_stats.seq = wrote_before ? last.seq : 0;
	disk_stats.inc = opt.inc ? opt.inc : wrote_before ? last.inc + 1 :
							    1;
	disk_stats.foreign = 0;
	first_seq = disk_stats.seq + 1;
	put_str("D: disk");
	put_kv("ring", ring_size);
	put_kv("found_seq", disk_stats.seq);
	put_kv("found_inc", wrote_before ? last.inc : 0);
	put_kv("inc", disk_stats.inc);
	put_kv("ms", us_of(rdtsc() - boot_tsc) / 1000);
	put_str("\n");
}

static void record_make(void)
{
	uint64_t tsc = rdtsc();

	now_rec = (struct record){
		.magic = MAGIC,
		.seq = disk_stats.seq + 1,
		.inc = disk_stats.inc,
		.boot = boot_nonce,
		.first_seq = first_seq,
		.ns = us_of(tsc - boot_tsc) * 1000,
		.tsc = tsc,
		.tsc_khz = tsc_khz,
		.nonce = (tsc ^ boot_nonce) * 0xd6e8feb86659fd93ull,
		.previous = wrote_before ? last.crc : 0,
		.foreign = disk_stats.foreign,
	};
	now_rec.crc = crc_of(&now_rec);
}

static void look(void)
{
	blk_submit(0, BLK_READ, slot_sector(disk_stats.seq + 1), &read_slot, SECTOR);
	if (wrote_before)
		blk_submit(1, BLK_READ, slot_sector(disk_stats.seq), &read_last, SECTOR);
	blk_kick();
}

static void judge(void)
{
	bool foreign = record_ok(&read_slot) && read_slot.seq > disk_stats.seq;

	/* Our own write that was reported as failed may have arrived all the same. */
	if (foreign && same(&read_slot, &now_rec))
		foreign = false;
	if (wrote_before && !same(&read_last, &last))
		foreign = true;
	if (!foreign)
		return;
	if (!disk_stats.foreign++)
		put_str("D: another writer has been on this disk\n");
}

/* A step has completed: what comes next? */
static void step(bool ok)
{
	if (!ok) {
		disk_stats.io_errors++;
		stage = IDLE;
		return;
	}
	switch (stage) {
	case LOOK:
		judge();
		record_make();
		blk_submit(0, BLK_WRITE, slot_sector(now_rec.seq), &now_rec, SECTOR);
		stage = RING;
		break;
	case RING:
		last = now_rec;
		wrote_before = true;
		disk_stats.seq = last.seq;
		blk_submit(0, BLK_WRITE, last.inc % LANES, &last, SECTOR);
		stage = LANE;
		break;
	case LANE:
		if (can_flush && disk_stats.seq % FLUSH_EVERY == 0) {
			blk_submit(0, BLK_FLUSH, 0, NULL, 0);
			stage = FLUSH;
			break;
		}
		stage = IDLE;
		return;
	default:
		stage = IDLE;
		return;
	}
	blk_kick();
}

void disk_work(void)
{
	uint64_t us;
	bool ok;

	if (!disk_stats.present)
		return;
	if (stage != IDLE) {
		if (!blk_done(&ok))
			return;
		step(ok);
		return;
	}
	us = us_of(rdtsc() - boot_tsc);
	if (us < next_us)
		return;
	next_us += opt.disk_ms * 1000;
	if (next_us < us)
		next_us = us + opt.disk_ms * 1000;
	look();
	stage = LOOK;
}
