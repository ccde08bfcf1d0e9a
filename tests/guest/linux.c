/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.c - the payload as one process of an ordinary Linux guest.
 *
 *   payload-linux DISK WORD...     words as on the payload's command line; ends with
 *                                  0 to be powered off, 3 to be reset, 1 after a panic
 *
 * Stands in for cpu.c, info.c, serial.c, virtio.c and acpi.c; what is done and how it is
 * checked is the same code.  Memory is an anonymous mapping, CPUs are threads, the
 * serial line is standard input and output, and the clock is CLOCK_MONOTONIC, which goes on
 * while the guest is being moved.  DISK is a block device of its own, read and written past
 * the guest's page cache by a thread: a disk that takes its time is no gap.
 */
#include "virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define EXIT_RESET 3

struct range ram[RANGES_MAX];
size_t n_ram;
uint64_t tsc_khz = 1000000, boot_tsc;

static const char *disk_path;
static char words[2048];

void payload_main(void), ap_main(void);
uint64_t ap_take_index(void);

uint64_t rdtsc(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- what the boot code does for the payload ---- */

void cpu_setup_idt(void)
{
}

void cpu_find_tsc(void)
{
}

void info_read(void)
{
	uint64_t size;
	void *p;

	options_read(words);
	if (!opt.mem)
		opt.mem = (uint64_t)sysconf(_SC_AVPHYS_PAGES) / 2 * PAGE_SIZE;
	size = opt.mem + opt.mem / 256 + (4 << 20); /* the version table, and some */
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return; /* mem_init() says so */
	ram[n_ram++] = (struct range){ .start = (uintptr_t)p, .size = size };
}

/* ---- CPUs ---- */

static void *cpu_thread(void *arg)
{
	ap_main();
	return arg;
}

uint64_t ap_take_index(void)
{
	static uint64_t taken;

	return __atomic_add_fetch(&taken, 1, __ATOMIC_RELAXED);
}

void cpu_start_all(void)
{
	pthread_t t;

	for (uint64_t i = 1; i < opt.cpus; i++)
		if (pthread_create(&t, NULL, cpu_thread, NULL)) {
			put_str("D: panic no thread\n");
			serial_flush();
			cpu_stop();
		}
}

void cpu_timer_start(void)
{
	prctl(PR_SET_TIMERSLACK, 1ul);
}

/* Ticks are the multiples of the period. */
void cpu_rest(void)
{
	uint64_t period = opt.tick_us * 1000, at = rdtsc() / period * period + period;
	struct timespec t = { .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

void cpu_stop(void)
{
	exit(1);
}

/* ---- power: its init does as the exit status says ---- */

void acpi_poweroff(void)
{
	put_str("D: power off\n");
	serial_flush();
	exit(0);
}

bool acpi_button(void)
{
	return false; /* the kernel's */
}

void acpi_reset(void)
{
	put_str("D: reset\n");
	serial_flush();
	exit(EXIT_RESET);
}

/* ---- serial: standard input and output, never waited for ---- */

void serial_pump(void)
{
	static char out[256];
	static size_t have, written;
	ssize_t n;

	if (written == have)
		for (have = written = 0; have < sizeof(out) && text_waiting();)
			out[have++] = text_take();
	if (written == have)
		return;
	n = write(STDOUT_FILENO, out + written, have - written);
	if (n > 0)
		written += (size_t)n;
}

int serial_getc(void)
{
	unsigned char c;

	return read(STDIN_FILENO, &c, 1) == 1 ? c : -1;
}

static void serial_init(void)
{
	struct termios t;

	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (tcgetattr(STDIN_FILENO, &t))
		return;
	cfmakeraw(&t);
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* ---- the disk: requests in slots, as the virtio driver has them, done in turn by a thread ---- */

static struct request {
	enum blk_op op;
	uint64_t sector;
	void *buf;
	uint32_t len;
	bool queued, ok;
} requests[BLK_SLOTS];

static int disk_fd = -1;
static sem_t kicked;
static unsigned int pending; /* kicked and not yet done; the thread's while it is not 0 */

static bool request_do(const struct request *r)
{
	static uint8_t bounce[SECTOR] __attribute__((aligned(4096))); /* O_DIRECT wants it so */
	off_t at = (off_t)(r->sector * SECTOR);

	if (r->op == BLK_FLUSH)
		return fdatasync(disk_fd) == 0;
	if (r->len != SECTOR)
		return false;
	if (r->op == BLK_WRITE) {
		memcpy(bounce, r->buf, SECTOR);
		return pwrite(disk_fd, bounce, SECTOR, at) == SECTOR;
	}
	if (pread(disk_fd, bounce, SECTOR, at) != SECTOR)
		return false;
	memcpy(r->buf, bounce, SECTOR);
	return true;
}

static void *disk_thread(void *arg)
{
	for (;;) {
		if (sem_wait(&kicked))
			continue;
		for (unsigned int i = 0; i < BLK_SLOTS; i++)
			if (requests[i].queued)
				requests[i].ok = request_do(&requests[i]);
		__atomic_store_n(&pending, 0, __ATOMIC_RELEASE);
	}
	return arg;
}

bool blk_open(uint64_t *sectors, bool *can_flush)
{
	pthread_t t;
	off_t bytes;

	disk_fd = open(disk_path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk_fd < 0 && errno == EINVAL) /* a file, in a test, where there is no such way */
		disk_fd = open(disk_path, O_RDWR | O_CLOEXEC);
	if (disk_fd < 0)
		return false;
	bytes = lseek(disk_fd, 0, SEEK_END);
	if (bytes <= 0 || sem_init(&kicked, 0, 0) || pthread_create(&t, NULL, disk_thread, NULL))
		return false;
	*sectors = (uint64_t)bytes / SECTOR;
	*can_flush = true;
	return true;
}

void blk_submit(unsigned int slot, enum blk_op op, uint64_t sector, void *buf, uint32_t len)
{
	requests[slot] = (struct request){ .op = op, .sector = sector, .buf = buf, .len = len, .queued = true };
}

void blk_kick(void)
{
	__atomic_store_n(&pending, 1, __ATOMIC_RELEASE);
	sem_post(&kicked);
}

bool blk_done(bool *ok)
{
	if (__atomic_load_n(&pending, __ATOMIC_ACQUIRE))
		return false;
	*ok = true;
	for (unsigned int i = 0; i < BLK_SLOTS; i++) {
		if (requests[i].queued && !requests[i].ok)
			*ok = false;
		requests[i].queued = false;
	}
	return true;
}

int main(int argc, char **argv)
{
	size_t used = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: payload-linux DISK WORD...\n");
		return 2;
	}
	disk_path = argv[1];
	for (int i = 2; i < argc; i++) {
		int n = snprintf(words + used, sizeof(words) - used, "%s ", argv[i]);

		if (n < 0 || (size_t)n >= sizeof(words) - used) {
			fprintf(stderr, "payload-linux: too many words, at most %zu bytes\n", sizeof(words));
			return 2;
		}
		used += (size_t)n;
	}
	serial_init();
	payload_main();
	return 1;
}

/* A process has no card of its own. */
void net_init(void)
{
}

bool net_work(uint64_t us)
{
	(void)us;
	return false;
}
