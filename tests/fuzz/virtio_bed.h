/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_bed - what the device fuzz targets share: a machine without vCPUs with
 * all devices on it, made once.
 */
#ifndef DROVER_FUZZ_VIRTIO_BED_H
#define DROVER_FUZZ_VIRTIO_BED_H

#include "driver.h"

#include "base/bytes.h"
#include "base/log.h"
#include "hv/display/display.h"
#include "hv/platform/rtc.h"
#include "hv/platform/serial.h"
#include "hv/virtio/virtio_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FUZZ_DISK (1u << 20)
#define FUZZ_STATE 8192
#define FUZZ_DISPLAY (4u << 20)

enum {
	FUZZ_BLK,
	FUZZ_NET,
	FUZZ_RNG,
	FUZZ_KEYBOARD,
	FUZZ_TABLET,
	FUZZ_CONSOLE,
	FUZZ_DEVICES
};

struct fuzz_bed {
	struct bed bed;
	struct virtio_dev *dev[FUZZ_DEVICES]; /* slots 1, 2, 3, ... */
	/* As they were when new, for fuzz_device_reset(). */
	uint8_t fresh[FUZZ_DEVICES][DEVICE_STATES_MAX][FUZZ_STATE];
	size_t fresh_len[FUZZ_DEVICES][DEVICE_STATES_MAX];
	int wire;    /* the other end of the NIC */
	int partner; /* of the console's port; -1: nobody */
	struct serial *serial;
	struct rtc *rtc;
	struct display *display; /* the slot behind the others */
	uint64_t display_registers;
};

static void fuzz_must(int ret, const char *what)
{
	if (ret) {
		fprintf(stderr, "%s: %d\n", what, ret);
		abort();
	}
}

/* Whatever the guest has done: another host takes it, or the guest could keep its host from maintenance. */
static inline void fuzz_moves(const struct state_entry *s)
{
	static uint8_t buf[1u << 16];
	struct writer w = writer_make(buf, sizeof(buf));
	struct reader r;
	struct err e = { 0 };
	int ret;

	fuzz_must(state_save_one(s, &w, &e), "save");
	r = reader_make(buf, writer_len(&w));
	ret = state_load_one(s, s->desc->version, &r, &e);
	fuzz_must(ret, e.text);
}

static inline void fuzz_device_moves(struct virtio_dev *v)
{
	struct state_entry s[DEVICE_STATES_MAX];
	size_t i, n = virtio_dev_state(v, s);

	for (i = 0; i < n; i++)
		fuzz_moves(&s[i]);
}

static inline void fuzz_keep(struct fuzz_bed *f, unsigned int i)
{
	struct state_entry s[DEVICE_STATES_MAX];
	size_t n = virtio_dev_state(f->dev[i], s);
	struct err e;

	for (size_t j = 0; j < n; j++) {
		struct writer w = writer_make(f->fresh[i][j], FUZZ_STATE);

		fuzz_must(state_save_one(&s[j], &w, &e), "keep");
		f->fresh_len[i][j] = writer_len(&w);
	}
}

/* As a machine does it that resets: what the device was when it was new; it must be quiet. */
static inline void fuzz_device_reset(struct fuzz_bed *f, unsigned int i)
{
	struct state_entry s[DEVICE_STATES_MAX];
	size_t n = virtio_dev_state(f->dev[i], s);
	struct err e = { 0 };

	for (size_t j = 0; j < n; j++) {
		struct reader r = reader_make(f->fresh[i][j], f->fresh_len[i][j]);

		fuzz_must(state_load_one(&s[j], s[j].desc->version, &r, &e), e.text);
	}
}

static inline void fuzz_disk(struct fuzz_bed *f)
{
	struct disk_holder me = { .domain = "fuzz", .host = "here", .pid = getpid() };
	char path[] = "/tmp/drover-fuzz-XXXXXX", record[64];
	struct virtio_blk_conf blk = { .path = path };
	int fd = mkstemp(path);
	struct err e;

	fuzz_must(fd < 0 || ftruncate(fd, FUZZ_DISK), path);
	close(fd);
	fuzz_must(virtio_blk_create(&f->bed.env, 0, &blk, &f->dev[FUZZ_BLK], &e), "blk");
	virtio_dev_plug(f->dev[FUZZ_BLK]);
	fuzz_must(virtio_blk_open(f->dev[FUZZ_BLK], &me, &e), "open");
	/* Open is enough: nothing stays behind, however this ends. */
	unlink(path);
	snprintf(record, sizeof(record), "%s.drover", path);
	unlink(record);
}

static inline void fuzz_display(struct fuzz_bed *f)
{
	struct err e = { 0 };

	fuzz_must(display_create(&f->bed.env, FUZZ_DISPLAY, &f->display, &e), e.text);
	display_plug(f->display);
	f->display_registers = drv_config_read(&f->bed, FUZZ_DEVICES + 1, 0x10 + 4 * DISPLAY_BAR_REGISTERS, 4);
	drv_config_write(&f->bed, FUZZ_DEVICES + 1, 0x04, 2, 2);
}

/* Whatever it shows, its first and last pixels can be read. */
static inline void fuzz_display_seen(struct fuzz_bed *f)
{
	uint8_t rgb[PICTURE_RGB];
	struct picture p;
	const uint8_t *memory = display_look(f->display, &p);

	if (!p.width)
		return;
	picture_rgb(&p, memory, 0, 0, 1, rgb);
	picture_rgb(&p, memory, p.width - 1, p.height - 1, 1, rgb);
}

/* Somebody at the console's port who has something to say; the device hangs up at each reset. */
static inline void fuzz_console_partner(struct fuzz_bed *f, const void *says, size_t len)
{
	struct err e;
	int pair[2];

	if (f->partner >= 0)
		close(f->partner);
	f->partner = -1;
	fuzz_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), "socketpair");
	if (send(pair[1], says, len, MSG_NOSIGNAL) < 0 || virtio_console_attach(f->dev[FUZZ_CONSOLE], pair[0], &e)) {
		close(pair[0]);
		close(pair[1]);
		return;
	}
	f->partner = pair[1];
}

static inline struct fuzz_bed *fuzz_bed(void)
{
	static struct fuzz_bed *f;
	struct virtio_net_conf net = { .mac = { 2, 0, 0, 0, 0, 1 } };
	struct err e;
	int pair[2];

	if (f)
		return f;
	log_init("fuzz", LOG_LEVEL_ERROR);
	f = calloc(1, sizeof(*f));
	fuzz_must(!f || bed_init(&f->bed), "bed");
	fuzz_disk(f);
	fuzz_must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), "socketpair");
	net.tap_fd = pair[0];
	f->wire = pair[1];
	f->partner = -1;
	fuzz_must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), "socketpair");
	net.more_taps = pair; /* a second pair of queues, with nobody at the other end */
	net.n_more = 1;
	fuzz_must(virtio_net_create(&f->bed.env, 0, &net, &f->dev[FUZZ_NET], &e), "net");
	virtio_dev_plug(f->dev[FUZZ_NET]);
	fuzz_must(serial_create(&f->serial, f->bed.pio, f->bed.irq, &e) || serial_plug(f->serial, &e), "serial");
	fuzz_must(rtc_create(&f->rtc, f->bed.pio, NULL, &e) || rtc_plug(f->rtc, &e), "rtc");
	fuzz_must(virtio_rng_create(&f->bed.env, 0, &f->dev[FUZZ_RNG], &e), "rng");
	virtio_dev_plug(f->dev[FUZZ_RNG]);
	fuzz_must(virtio_keyboard_create(&f->bed.env, &f->dev[FUZZ_KEYBOARD], &e), "keyboard");
	virtio_dev_plug(f->dev[FUZZ_KEYBOARD]);
	fuzz_must(virtio_tablet_create(&f->bed.env, &f->dev[FUZZ_TABLET], &e), "tablet");
	virtio_dev_plug(f->dev[FUZZ_TABLET]);
	fuzz_must(virtio_console_create(&f->bed.env, "port", &f->dev[FUZZ_CONSOLE], &e), "console");
	virtio_dev_plug(f->dev[FUZZ_CONSOLE]);
	fuzz_display(f);
	f->bed.mem->tracking = true; /* memory neither comes nor goes from here on */
	for (unsigned int i = 0; i < FUZZ_DEVICES; i++)
		fuzz_keep(f, i);
	return f;
}

#endif
