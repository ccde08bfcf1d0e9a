/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen - what may be asked of a VMM about its screen (docs/control.md).
 *
 * A picture is megabytes, and nothing here may wait for whoever reads them: so it goes in slices of rows, each an
 * answer of its own, and who asks puts them together.  A guest that draws meanwhile is seen to do so, as on a monitor.
 */
#include "cmd/drover-hv/viewers.h"
#include "cmd/drover-hv/vmm.h"

#include "hv/device/state.h"
#include "hv/display/display.h"

#include <errno.h>
#include <stdlib.h>

#define SLICE_MAX (512u << 10) /* bytes of pixels; as text twice as many, a quarter of what a client may have waiting */

_Static_assert(SLICE_MAX >= PICTURE_SIDE_MAX * PICTURE_RGB, "a row does not fit a slice");

static json_t *slice(const struct picture *p, const uint8_t *memory, uint32_t row)
{
	size_t line = (size_t)p->width * PICTURE_RGB;
	uint32_t rows = (uint32_t)(SLICE_MAX / line);
	uint8_t *rgb;
	json_t *answer;

	rows = rows < p->height - row ? rows : p->height - row;
	rgb = malloc(rows * line);
	if (!rgb)
		return NULL;
	for (uint32_t y = 0; y < rows; y++)
		picture_rgb(p, memory, 0, row + y, p->width, rgb + y * line);
	answer = json_pack("{s:i, s:i, s:i, s:i, s:o}", "width", (int)p->width, "height", (int)p->height, "row",
			   (int)row, "rows", (int)rows, "rgb", state_hex(rgb, rows * line));
	free(rgb);
	return answer;
}

static int cmd_screenshot(void *owner, const json_t *args, json_t **ret, struct err *e)
{
	struct drover_hv *v = owner;
	struct display *d = machine_display(v->machine);
	json_int_t row = json_integer_value(json_object_get(args, "row"));
	const uint8_t *memory;
	struct picture p;

	if (!d)
		return err_set(e, -ENOENT, "the domain has no screen ('display' in its file)");
	memory = display_look(d, &p);
	if (!p.width)
		return err_set(e, -EPERM, "the screen is dark: the guest has set no mode");
	if (row < 0 || row >= p.height)
		return err_set(e, -EINVAL, "row: %lld, expected 0 to %u", (long long)row, p.height - 1);
	*ret = slice(&p, memory, (uint32_t)row);
	return *ret ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int screen_start(struct drover_hv *v, struct err *e)
{
	char path[PATH_MAX];

	return *sockets_place(v, PORTER_SCREEN, path) ? usher_start(&v->usher, v->opt.args, v->opt.args_len, e) : 0;
}

int screen_open(struct drover_hv *v, struct err *e)
{
	char path[PATH_MAX];
	struct viewers_options o = {
		.loop = v->loop,
		.usher = v->usher,
		.display = machine_display(v->machine),
		.seat = machine_seat(v->machine),
		.path = sockets_place(v, PORTER_SCREEN, path),
		.name = v->conf->name,
		.sandbox = !v->opt.no_sandbox,
	};

	return v->usher ? viewers_create(&v->viewers, &o, e) : 0;
}

void screen_close(struct drover_hv *v)
{
	if (!v->viewers)
		return;
	viewers_destroy(v->viewers);
	porter_remove(v->porter, PORTER_SCREEN);
	v->viewers = NULL;
}

void screen_query(const struct drover_hv *v, json_t *answer)
{
	if (v->viewers)
		json_object_set_new(answer, "vnc", json_string(viewers_path(v->viewers)));
}

const struct ctl_command screen_commands[] = {
	{ "screenshot", "row:i", cmd_screenshot },
	{ "send-key", "keys:s text:s", cmd_send_key },
	{ NULL, NULL, NULL },
};
