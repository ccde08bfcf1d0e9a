/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screenshot - the screen of a domain of this host as a PNG file.
 *
 * The VMM gives rows of pixels, a slice for each question (docs/control.md); when the guest changes its mode in
 * between, all of it is asked for once more.
 */
#include "cmd/drover/drover.h"

#include "base/hex.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIES 5
#define SIDE_MAX 4096
#define RGB 3

struct shot {
	long long width, height;
	uint8_t *rgb;
};

/* What a slice says, and whether it can be true. */
struct shot_slice {
	long long width, height, row, rows;
	const char *hex;
};

static long long int_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool slice_read(const json_t *o, long long row, struct shot_slice *s)
{
	*s = (struct shot_slice){
		.width = int_of(o, "width"),
		.height = int_of(o, "height"),
		.row = int_of(o, "row"),
		.rows = int_of(o, "rows"),
		.hex = json_string_value(json_object_get(o, "rgb")),
	};
	return s->width > 0 && s->width <= SIDE_MAX && s->height > 0 && s->height <= SIDE_MAX && s->row == row &&
	       s->rows > 0 && s->rows <= s->height - row && s->hex;
}

/* Return: EXIT_OK and how many rows that were, 0: the picture has another size now. */
static int slice_take(struct shot *shot, struct vmm_link *l, long long row, long long *rows)
{
	struct shot_slice s;
	json_t *o;
	int code = vmm_link_ask(l, "screenshot", json_pack("{s:I}", "row", (json_int_t)row), &o);

	if (code)
		return code;
	*rows = 0;
	if (!slice_read(o, row, &s)) {
		code = say_error(EXIT_ERROR, "its VMM: no picture in what it says");
	} else if (!row) {
		shot->width = s.width;
		shot->height = s.height;
		free(shot->rgb);
		shot->rgb = malloc((size_t)(s.width * s.height * RGB));
		code = shot->rgb ? EXIT_OK : say_error(EXIT_ERROR, "out of memory");
	}
	if (!code && s.width == shot->width && s.height == shot->height) {
		if (hex_read(s.hex, shot->rgb + row * s.width * RGB, (size_t)(s.rows * s.width * RGB)))
			*rows = s.rows;
		else
			code = say_error(EXIT_ERROR, "its VMM: no picture in what it says");
	}
	json_decref(o);
	return code;
}

static int shot_take(struct shot *shot, struct vmm_link *l)
{
	long long row, rows;
	int code;

	for (int i = 0; i < TRIES; i++) {
		row = 0;
		do {
			code = slice_take(shot, l, row, &rows);
			row += rows;
		} while (!code && rows && row < shot->height);
		if (code || rows)
			return code;
	}
	return say_error(EXIT_ERROR, "its screen changes its size all the time");
}

/* A file that was not written to its end is not left. */
static int shot_write(const struct shot *shot, const char *path)
{
	bool out = strcmp(path, "-") == 0;
	FILE *f = out ? stdout : fopen(path, "wbe");
	png_image image = {
		.version = PNG_IMAGE_VERSION,
		.width = (png_uint_32)shot->width,
		.height = (png_uint_32)shot->height,
		.format = PNG_FORMAT_RGB,
	};
	int ok;

	if (!f)
		return say_error(err_exit_code(-errno), "%s: %s", path, strerror(errno));
	ok = png_image_write_to_stdio(&image, f, 0, shot->rgb, 0, NULL);
	if (fflush(f))
		ok = 0;
	if (!out && fclose(f))
		ok = 0;
	if (ok)
		return EXIT_OK;
	if (!out)
		unlink(path);
	return say_error(EXIT_ERROR, "%s: %s", path, *image.message ? image.message : strerror(errno));
}

int verb_screenshot(struct drover *d)
{
	struct shot shot = { 0 };
	struct vmm_link *l;
	int code = vmm_link_open(d, d->argv[0], "screenshot", &l);

	if (code)
		return code;
	code = shot_take(&shot, l);
	vmm_link_close(l);
	if (!code)
		code = shot_write(&shot, d->argv[1]);
	free(shot.rgb);
	if (code || strcmp(d->argv[1], "-") == 0)
		return code;
	return done(d, "%s: %lldx%lld", d->argv[1], shot.width, shot.height);
}
