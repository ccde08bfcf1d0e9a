/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_main - runs a fuzz target without libFuzzer, so that every test run
 * with any compiler replays the corpus and tries some random inputs.
 *
 *   fuzz-virtqueue FILE-OR-DIRECTORY...            replay
 *   fuzz-virtqueue --random N --seed S [--max B]   N inputs made from seed S,
 *           half of them fresh bytes, half of them mutations of the files named
 *   fuzz-virtqueue --write DIR ...                 also keep the input at work in
 *           DIR/last, so that a crash leaves its input behind
 *
 * The same target linked with -fsanitize=fuzzer needs nothing of this file.
 * An input that runs longer than ten seconds counts as a failure (SIGALRM).
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 4096
#define INPUT_MAX (1u << 20)
#define SECONDS_MAX 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	uint8_t *data;
	size_t len;
};

struct corpus {
	struct input in[FILES_MAX];
	size_t n;
};

/* xorshift64*: the same seed gives the same inputs on every machine */
static uint64_t next_random(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

static int corpus_add_file(struct corpus *c, const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *buf, *exact;
	size_t len;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	buf = malloc(INPUT_MAX);
	if (!buf || c->n == FILES_MAX) {
		fprintf(stderr, "%s: corpus is too large\n", path);
		free(buf);
		fclose(f);
		return -1;
	}
	len = fread(buf, 1, INPUT_MAX, f);
	/* An exact allocation lets the sanitizer see a read past the end. */
	exact = malloc(len ? len : 1);
	if (!exact)
		abort();
	memcpy(exact, buf, len);
	free(buf);
	c->in[c->n].data = exact;
	c->in[c->n].len = len;
	c->n++;
	fclose(f);
	return 0;
}

static int corpus_add(struct corpus *c, const char *path)
{
	char name[4096];
	struct dirent *d;
	struct stat st;
	int ret = 0;
	DIR *dir;

	if (stat(path, &st)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return corpus_add_file(c, path);
	dir = opendir(path);
	if (!dir)
		return -1;
	while (!ret && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
		if (!stat(name, &st) && S_ISREG(st.st_mode))
			ret = corpus_add_file(c, name);
	}
	closedir(dir);
	return ret;
}

static void run_one(const struct input *in, const char *keep_dir)
{
	char path[4096];
	FILE *f;

	if (keep_dir) {
		snprintf(path, sizeof(path), "%s/last", keep_dir);
		f = fopen(path, "wb");
		if (f) {
			fwrite(in->data, 1, in->len, f);
			fclose(f);
		}
	}
	alarm(SECONDS_MAX);
	LLVMFuzzerTestOneInput(in->data, in->len);
	alarm(0);
}

/* One to eight changes: a bit, a byte, an interesting number, a cut, a copied piece. */
static void mutate(struct input *in, uint64_t *s)
{
	static const uint32_t numbers[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
					    0x7fffffff, 0x80000000, 0xffffffff };
	unsigned int n = 1 + next_random(s) % 8;
	size_t at, from, len;

	while (n-- && in->len) {
		at = next_random(s) % in->len;
		switch (next_random(s) % 5) {
		case 0:
			in->data[at] ^= (uint8_t)(1u << (next_random(s) % 8));
			break;
		case 1:
			in->data[at] = (uint8_t)next_random(s);
			break;
		case 2:
			len = (size_t)1 << (next_random(s) % 3);
			if (at + len <= in->len)
				memcpy(in->data + at, &numbers[next_random(s) % 11], len);
			break;
		case 3:
			in->len = at;
			break;
		case 4:
			from = next_random(s) % in->len;
			len = in->len - (at > from ? at : from);
			memmove(in->data + at, in->data + from, len);
			break;
		}
	}
}

static int run_random(const struct corpus *c, uint64_t count, uint64_t seed, size_t max,
		      const char *keep_dir)
{
	uint64_t s = seed * 0x9e3779b97f4a7c15ull + 1, i;
	struct input in;
	size_t j;

	for (i = 0; i < count; i++) {
		const struct input *base = c->n && i % 2 ? &c->in[next_random(&s) % c->n] : NULL;

		in.len = base ? base->len : next_random(&s) % (max + 1);
		in.data = malloc(in.len ? in.len : 1);
		if (!in.data)
			return -1;
		if (base) {
			memcpy(in.data, base->data, in.len);
			mutate(&in, &s);
		} else {
			for (j = 0; j < in.len; j++)
				in.data[j] = (uint8_t)next_random(&s);
		}
		run_one(&in, keep_dir);
		free(in.data);
	}
	return 0;
}

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s [--random N] [--seed S] [--max BYTES] [--write DIR] "
			"[FILE-OR-DIRECTORY...]\n",
		name);
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t count = 0, seed = 1, max = 4096;
	struct corpus *c = calloc(1, sizeof(*c));
	const char *keep_dir = NULL;
	int i, ret = 1;
	size_t j;

	if (!c)
		return 1;
	for (i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strncmp(argv[i], "--", 2)) {
			if (corpus_add(c, argv[i]))
				goto out;
			continue;
		}
		if (!value) {
			ret = usage(argv[0]);
			goto out;
		}
		if (!strcmp(argv[i], "--random")) {
			count = strtoull(value, NULL, 0);
		} else if (!strcmp(argv[i], "--seed")) {
			seed = strtoull(value, NULL, 0);
		} else if (!strcmp(argv[i], "--max")) {
			max = strtoull(value, NULL, 0);
		} else if (!strcmp(argv[i], "--write")) {
			keep_dir = value;
		} else {
			ret = usage(argv[0]);
			goto out;
		}
		i++;
	}
	for (j = 0; j < c->n; j++)
		run_one(&c->in[j], keep_dir);
	if (run_random(c, count, seed, max, keep_dir))
		goto out;
	printf("%zu files, %llu random inputs\n", c->n, (unsigned long long)count);
	ret = 0;
out:
	for (j = 0; j < c->n; j++)
		free(c->in[j].data);
	free(c);
	return ret;
}
