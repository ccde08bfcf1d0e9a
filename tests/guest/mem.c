/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem.c - fill memory, rewrite a working set, verify everything.
 *
 * The content of a page follows from (page number, version, kind) alone, so a
 * page is verified by making it again and comparing all of it.  What each page
 * should hold stands in a table of its own, one 64-bit word per page, which
 * carries a check value: an error in the table shows too.
 *
 *   bits 0-29 version   30-31 kind   32-63 hash of the page number and bits 0-31
 *
 *   kind    even version      odd version
 *   zero    all zero          a header word, then zeros   (goes to zero and back)
 *   text    header word, then words of a small vocabulary (lz4: 2-3 times smaller)
 *   random  header word, then incompressible
 *
 * The header word is version << 32 | page number: a page in the wrong place, or an
 * old one, says so itself.
 *
 * In a mix, kinds come in runs of 1 to 64 pages, as they do in a real system.
 * Each page belongs to one CPU, which alone writes and verifies it.
 */
#include "payload.h"

#define GOLDEN 0x9e3779b97f4a7c15ull
#define WORDS (PAGE_SIZE / 8)
#define VOCABULARY 128

enum kind {
	KIND_ZERO,
	KIND_TEXT,
	KIND_RANDOM
};

struct area {
	uint64_t first, pages, pa;
};

static struct area areas[RANGES_MAX];
static size_t n_areas;
static uint64_t *table;
static uint64_t n_pages, n_ws;
static uint64_t vocabulary[VOCABULARY];

/* The first errors in full; the rest is counted. Any CPU adds, the boot CPU prints. */
#define LOG_MAX 16
static struct {
	uint64_t page, expected, found, word;
	volatile bool ready;
} log[LOG_MAX];
static uint64_t log_n, log_printed;

uint64_t mem_pages(void)
{
	return n_pages;
}

uint64_t mem_ws_pages(void)
{
	return n_ws;
}

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	return x;
}

static inline uint64_t mix2(uint64_t x)
{
	return mix(mix(x + GOLDEN));
}

static uint64_t *page_at(uint64_t page)
{
	size_t i = 0;

	while (page >= areas[i].first + areas[i].pages)
		i++;
	return (uint64_t *)(areas[i].pa + (page - areas[i].first) * PAGE_SIZE);
}

static uint64_t entry_make(uint64_t page, enum kind kind, uint64_t version)
{
	uint64_t low = (version & 0x3fffffff) | (uint64_t)kind << 30;

	return low | mix2(page << 32 | low) << 32;
}

static inline uint64_t entry_version(uint64_t e)
{
	return e & 0x3fffffff;
}

static inline enum kind entry_kind(uint64_t e)
{
	return e >> 30 & 3;
}

/*
 * The one description of a page's words, used to write and to compare: @op is
 * called for words 1 to 511 in order, and ends the walk by returning true.
 */
static inline __attribute__((always_inline)) bool
words_each(enum kind kind, uint64_t seed, uint64_t *p,
	   bool (*op)(uint64_t *p, uint64_t i, uint64_t v))
{
	if (kind == KIND_TEXT) {
		for (uint64_t i = 0; i < WORDS; i += 8) {
			uint64_t r = mix2(seed + i);

			for (uint64_t j = 0; j < 8; j++, r >>= 8)
				if (i + j && op(p, i + j, vocabulary[r % VOCABULARY]))
					return true;
		}
	} else if (kind == KIND_RANDOM) {
		for (uint64_t i = 1; i < WORDS; i++)
			if (op(p, i, mix(seed + i * GOLDEN)))
				return true;
	} else {
		for (uint64_t i = 1; i < WORDS; i++)
			if (op(p, i, 0))
				return true;
	}
	return false;
}

static inline bool op_write(uint64_t *p, uint64_t i, uint64_t v)
{
	p[i] = v;
	return false;
}

static inline bool op_differs(uint64_t *p, uint64_t i, uint64_t v)
{
	return p[i] != v;
}

static inline uint64_t header_of(uint64_t page, enum kind kind, uint64_t version)
{
	return kind == KIND_ZERO && !(version & 1) ? 0 : version << 32 | page;
}

static inline uint64_t seed_of(uint64_t page, uint64_t version)
{
	return mix2(page * GOLDEN ^ version);
}

static void page_write(uint64_t page, enum kind kind, uint64_t version)
{
	uint64_t *p = page_at(page);

	p[0] = header_of(page, kind, version);
	words_each(kind, seed_of(page, version), p, op_write);
	table[page] = entry_make(page, kind, version);
}

static void error_note(struct cpu *c, uint64_t page, uint64_t expected, uint64_t found, uint64_t word)
{
	uint64_t i = __atomic_fetch_add(&log_n, 1, __ATOMIC_RELAXED);

	c->errors++;
	if (i >= LOG_MAX)
		return;
	log[i].page = page;
	log[i].expected = expected;
	log[i].found = found;
	log[i].word = word;
	__atomic_store_n(&log[i].ready, true, __ATOMIC_RELEASE);
}

/* True when the table's word and the page are what they should be. */
static bool page_verify(struct cpu *c, uint64_t page)
{
	uint64_t e = table[page], *p = page_at(page), header, word = 0;
	enum kind kind = entry_kind(e);
	uint64_t version = entry_version(e);

	c->verified++;
	if (e != entry_make(page, kind, version) || kind > KIND_RANDOM) {
		error_note(c, page, e, p[0], WORDS);
		page_write(page, KIND_RANDOM, 1); /* its history is lost: begin anew */
		return false;
	}
	header = header_of(page, kind, version);
	if (p[0] == header && !words_each(kind, seed_of(page, version), p, op_differs))
		return true;
	if (p[0] == header) {
		uint64_t copy[8];

		/* Which word? Slow and rare: remake eight at a time and compare. */
		for (word = 1; word < WORDS; word++) {
			uint64_t seed = seed_of(page, version), v = 0;

			copy[0] = mix2(seed + word / 8 * 8);
			if (kind == KIND_TEXT)
				v = vocabulary[(copy[0] >> word % 8 * 8 & 0xff) % VOCABULARY];
			else if (kind == KIND_RANDOM)
				v = mix(seed + word * GOLDEN);
			if (p[word] != v)
				break;
		}
	}
	error_note(c, page, header, p[word % WORDS], word);
	return false;
}

void mem_print_errors(void)
{
	while (log_printed < LOG_MAX && log[log_printed].ready) {
		uint64_t i = log_printed++;

		put_str("D: corrupt");
		put_kv("page", log[i].page);
		put_kv("word", log[i].word);
		put_str(log[i].word == WORDS ? " what=table entry=" :
			log[i].word          ? " what=content header=" :
					       " what=header expected=");
		put_hex(log[i].expected);
		put_str(" found=");
		put_hex(log[i].found);
		put_str("\n");
	}
}

/* Words of seven letters, or twice three, each with a blank: what prose looks like to a codec. */
static void vocabulary_make(void)
{
	uint64_t r = GOLDEN;

	for (int i = 0; i < VOCABULARY; i++) {
		char *w = (char *)&vocabulary[i];

		r = mix2(r + i);
		for (int j = 0; j < 7; j++)
			w[j] = j & 1 ? "aeiou"[(r >> 8 * j & 0xff) % 5] : "bcdfghklmnprstvw"[r >> 8 * j & 15];
		if (r >> 60 & 1)
			w[3] = ' ';
		w[7] = ' ';
	}
}

static uint64_t coprime_stride(uint64_t n)
{
	uint64_t s = n * 618 / 1000 | 1, a, b, t;

	for (;; s += 2) {
		for (a = s, b = n; b; a = b, b = t)
			t = a % b;
		if (a == 1)
			return s;
	}
}

static void share_out(void)
{
	uint64_t n = opt.cpus, rest = n_pages - n_ws;

	for (uint64_t i = 0; i < n; i++) {
		struct cpu *c = &cpus[i];

		c->index = i;
		c->ws_first = n_ws * i / n;
		c->ws_pages = n_ws * (i + 1) / n - c->ws_first;
		c->rest_first = n_ws + rest * i / n;
		c->rest_pages = n_ws + rest * (i + 1) / n - c->rest_first;
		c->ws_stride = c->ws_pages ? coprime_stride(c->ws_pages) : 0;
	}
}

void mem_init(void)
{
	uint64_t free_pages = 0, table_bytes, want;

	for (size_t i = 0; i < n_ram; i++)
		free_pages += ram[i].size / PAGE_SIZE;
	want = opt.mem ? opt.mem / PAGE_SIZE : free_pages - free_pages / 500 - 1;
	table_bytes = (want * 8 + PAGE_SIZE - 1) & -PAGE_SIZE;
	for (size_t i = 0; i < n_ram && n_pages < want; i++) {
		struct range r = ram[i];

		if (!table && r.size >= table_bytes) {
			table = (uint64_t *)r.start;
			r.start += table_bytes;
			r.size -= table_bytes;
		}
		if (r.size < PAGE_SIZE)
			continue;
		areas[n_areas].pa = r.start;
		areas[n_areas].first = n_pages;
		areas[n_areas].pages = r.size / PAGE_SIZE;
		if (areas[n_areas].pages > want - n_pages)
			areas[n_areas].pages = want - n_pages;
		n_pages += areas[n_areas++].pages;
	}
	if (!table || n_pages < want) {
		put_str("D: panic mem: this machine has too little memory, MiB usable=");
		put_dec(free_pages >> 8);
		put_str("\n");
		serial_flush();
		cpu_stop();
	}
	n_ws = opt.ws / PAGE_SIZE < n_pages ? opt.ws / PAGE_SIZE : n_pages;
	vocabulary_make();
	share_out();
}

static void fill_range(struct cpu *c, uint64_t first, uint64_t count)
{
	uint64_t run = 0, r = first;
	enum kind kind = opt.fill == FILL_TEXT   ? KIND_TEXT :
			 opt.fill == FILL_RANDOM ? KIND_RANDOM :
						   KIND_ZERO;

	for (uint64_t page = first; page < first + count; page++) {
		if (opt.fill == FILL_MIXED && !run--) {
			r = mix2(r + page);
			run = r % 64;
			kind = (r >> 32) % 10 < 3 ? KIND_ZERO : (r >> 32) % 10 < 8 ? KIND_TEXT :
										     KIND_RANDOM;
		}
		page_write(page, kind, 0);
		cpu_check(c);
		if (!c->index && page % 64 == 0) { /* the disk does not wait for the memory */
			disk_work();
			serial_pump();
		}
	}
}

void mem_fill(struct cpu *c)
{
	fill_range(c, c->ws_first, c->ws_pages);
	fill_range(c, c->rest_first, c->rest_pages);
}

/* How many of @rate pages per millisecond and machine are due for this CPU since *@from. */
static uint64_t due(uint64_t rate, uint64_t *from)
{
	uint64_t now = rdtsc(), ms = tsc_khz * opt.cpus, n;

	if (!rate)
		return 0;
	/* What a gap made us miss is not made up for: two ticks at most. */
	if (now - *from > tsc_of_us(4 * opt.tick_us))
		*from = now - tsc_of_us(2 * opt.tick_us);
	n = (now - *from) * rate / ms;
	*from += n * ms / rate;
	return n;
}

static void sweep_one(struct cpu *c)
{
	uint64_t at = c->sweep_at;

	page_verify(c, at < c->ws_pages ? c->ws_first + at : c->rest_first + at - c->ws_pages);
	if (++c->sweep_at == c->ws_pages + c->rest_pages) {
		c->sweep_at = 0;
		c->sweeps++;
	}
}

void mem_work(struct cpu *c)
{
	uint64_t n;

	if (c->ws_pages) {
		for (n = due(opt.rate, &c->due_from); n; n--) {
			uint64_t page = c->ws_first + c->ws_at;

			page_verify(c, page);
			page_write(page, entry_kind(table[page]), entry_version(table[page]) + 1);
			c->rewritten++;
			c->ws_at += c->ws_stride;
			if (c->ws_at >= c->ws_pages)
				c->ws_at -= c->ws_pages;
			cpu_check(c);
		}
	}
	if (c->ws_pages + c->rest_pages) {
		for (n = due(opt.sweep, &c->sweep_from); n; n--) {
			sweep_one(c);
			cpu_check(c);
		}
	}
}

void mem_verify_all(struct cpu *c)
{
	for (uint64_t i = 0; i < c->ws_pages; i++) {
		page_verify(c, c->ws_first + i);
		cpu_check(c);
	}
	for (uint64_t i = 0; i < c->rest_pages; i++) {
		page_verify(c, c->rest_first + i);
		cpu_check(c);
	}
}

void mem_break(void)
{
	((uint8_t *)page_at(n_pages / 2))[2049] ^= 1;
}
