/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm - keep memory of this machine present, and let go of it on command.
 *
 * Where the machine is a virtual one whose host takes back free memory (free page
 * reporting), the first touch of a page can cost ten times a page fault: 2.5-3 s per
 * GiB were measured against 0.05 s.  A benchmark that allocates gigabytes would then
 * measure the host's mood.  This program touches memory, and gives parts of it
 * back right before they are wanted.
 *
 * Standard input, one command a line, each answered "ok": "hold MIB" has that much
 * touched from now on, "free MIB" gives that much back, "quit" ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (1ul << 20)
#define MAX_MIB 65536ul

static char *base;
static unsigned long held; /* MiB from base on */

static void hold(unsigned long mib)
{
	/* 2 MiB at a time, so that huge pages come whole. */
	for (; held + 2 <= mib; held += 2)
		for (size_t at = 0; at < 2 * MIB; at += 4096)
			base[held * MIB + at] = 1;
}

static void give(unsigned long mib)
{
	mib &= ~1ul;
	if (mib > held)
		mib = held;
	held -= mib;
	madvise(base + held * MIB, mib * MIB, MADV_DONTNEED);
}

int main(void)
{
	char line[64], *raw;
	unsigned long n;

	raw = mmap(NULL, (MAX_MIB + 2) * MIB, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw == MAP_FAILED) {
		perror("warm: mmap");
		return 1;
	}
	base = (char *)(((size_t)raw + 2 * MIB - 1) & ~(2 * MIB - 1));
	madvise(base, MAX_MIB * MIB, MADV_HUGEPAGE);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "hold %lu", &n) == 1 && n <= MAX_MIB) {
			hold(n);
		} else if (sscanf(line, "free %lu", &n) == 1) {
			give(n);
		} else if (!strcmp(line, "quit\n")) {
			return 0;
		} else {
			fprintf(stderr, "warm: not a command: %s", line);
			return 2;
		}
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
