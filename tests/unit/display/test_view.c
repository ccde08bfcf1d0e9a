/* SPDX-License-Identifier: Apache-2.0 */
/* The copy that viewers are shown is what the screen shows, and everything that is not the same is told. */
#include "hv/display/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define W 100u /* no whole number of tiles */
#define H 70u
#define MEMORY (1u << 20)

struct bench {
	struct view *v;
	uint8_t *memory;
	struct picture p;
	uint8_t shown[W * H]; /* what was told as changed since it was cleared */
	unsigned int resizes, told;
};

static void on_resized(void *arg, uint8_t *pixels, uint32_t width, uint32_t height)
{
	struct bench *b = arg;

	b->resizes++;
	assert_int_equal(pixels[(width * height - 1) * VIEW_PIXEL], 0);
}

static void on_changed(void *arg, uint32_t x, uint32_t y, uint32_t x_end, uint32_t y_end)
{
	struct bench *b = arg;

	assert_true(x < x_end && x_end <= W && y < y_end && y_end <= H);
	for (; y < y_end; y++)
		memset(b->shown + y * W + x, 1, x_end - x);
	b->told++;
}

static const struct view_events events = { .resized = on_resized, .changed = on_changed };

static void bench_open(struct bench *b, uint32_t depth)
{
	memset(b, 0, sizeof(*b));
	b->memory = calloc(1, MEMORY);
	b->p = (struct picture){ .width = W, .height = H, .depth = depth, .stride = (W + 9) * depth, .offset = 4096 };
	assert_int_equal(view_create(&b->v, &events, b), 0);
	assert_int_equal(view_look(b->v, &b->p, b->memory), 0);
	assert_int_equal(b->resizes, 1);
	assert_int_equal(b->told, 0);
}

static void bench_close(struct bench *b)
{
	view_destroy(b->v);
	free(b->memory);
}

static uint8_t *pixel(struct bench *b, uint32_t x, uint32_t y)
{
	return b->memory + b->p.offset + y * b->p.stride + x * b->p.depth;
}

/* Each pixel of the copy is that of the screen; and none differs from before that was not told. */
static void check(struct bench *b, const uint8_t *before)
{
	uint32_t width, height;
	const uint8_t *now = view_pixels(b->v, &width, &height);
	uint8_t rgb[W * PICTURE_RGB];

	assert_int_equal(width, W);
	assert_int_equal(height, H);
	for (uint32_t y = 0; y < H; y++) {
		picture_rgb(&b->p, b->memory, 0, y, W, rgb);
		for (uint32_t x = 0; x < W; x++) {
			const uint8_t *at = now + (y * W + x) * VIEW_PIXEL;

			assert_memory_equal(at, rgb + x * PICTURE_RGB, PICTURE_RGB);
			if (memcmp(at, before + (y * W + x) * VIEW_PIXEL, VIEW_PIXEL))
				assert_int_equal(b->shown[y * W + x], 1);
		}
	}
}

static void test_whatever_is_drawn_is_told(void **state)
{
	static const uint32_t depths[] = { 2, 3, 4 };
	uint8_t before[W * H * VIEW_PIXEL];
	uint32_t width, height;
	struct bench b;

	srandom(1);
	for (int d = 0; d < 3; d++) {
		bench_open(&b, depths[d]);
		for (int round = 0; round < 200; round++) {
			memcpy(before, view_pixels(b.v, &width, &height), sizeof(before));
			memset(b.shown, 0, sizeof(b.shown));
			for (long n = random() % 20; n; n--)
				*pixel(&b, (uint32_t)random() % W, (uint32_t)random() % H) = (uint8_t)random();
			assert_int_equal(view_look(b.v, &b.p, b.memory), 0);
			check(&b, before);
		}
		bench_close(&b);
	}
}

static void test_what_stands_still_is_not_told(void **state)
{
	struct bench b;

	bench_open(&b, 4);
	*pixel(&b, 50, 20) = 1;
	*pixel(&b, 50, 21) = 1;
	*pixel(&b, 99, 69) = 1;
	assert_int_equal(view_look(b.v, &b.p, b.memory), 0);
	assert_int_equal(b.told, 2); /* rows that follow each other together */
	b.shown[0] = 0;
	for (uint32_t i = 0, n = 0; i <= W * H; i++) {
		if (i == W * H)
			assert_in_range(n, 3, 3 * 16);
		else
			n += b.shown[i];
	}
	*pixel(&b, W, 3) = 1; /* behind the end of a row */
	assert_int_equal(view_look(b.v, &b.p, b.memory), 0);
	assert_int_equal(b.told, 2);
	bench_close(&b);
}

static void test_another_mode_is_another_size(void **state)
{
	uint32_t width, height;
	struct bench b;

	bench_open(&b, 4);
	*pixel(&b, 0, 0) = 7;
	assert_int_equal(view_look(b.v, &b.p, b.memory), 0);
	assert_int_equal(view_forget(b.v), 0);
	assert_int_equal(b.resizes, 2);
	assert_int_equal(view_pixels(b.v, &width, &height)[2], 0);
	assert_int_equal(width, VIEW_DARK_WIDTH);
	assert_int_equal(view_forget(b.v), 0);
	assert_int_equal(b.resizes, 2);
	assert_int_equal(view_look(b.v, &b.p, b.memory), 0);
	assert_int_equal(b.resizes, 3);
	assert_int_equal(view_pixels(b.v, &width, &height)[2], 7);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whatever_is_drawn_is_told),
		cmocka_unit_test(test_what_stands_still_is_not_told),
		cmocka_unit_test(test_another_mode_is_another_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
