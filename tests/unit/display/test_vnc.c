/* SPDX-License-Identifier: Apache-2.0 */
/* Viewers by RFB (RFC 6143): what they see and do, and what hostile ones cannot. */
#include "driver.h"

#include "base/clock.h"
#include "base/unix_socket.h"
#include "hv/display/display.h"
#include "hv/display/seat.h"
#include "hv/display/vnc.h"
#include "tests/unit/usage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000
#define W 640u
#define H 400u
#define NEW_SIZE (-223) /* pseudo-encoding DesktopSize, RFC 6143 7.8.2 */

struct rig {
	struct bed bed;
	struct display *d;
	struct vnc *vnc;
	pthread_t thread;
	_Atomic bool ending;
	int listen_fd, end_fd;
	uint64_t registers;
	char dir[32], path[64];
	pthread_mutex_t lock; /* guards what the fake devices have heard */
	unsigned int downs, ups, points;
	uint16_t last_key;
	struct seat_pointer last;
};

/* --- who listens --- */

static bool hear_key(void *dev, uint16_t code, bool down)
{
	struct rig *r = dev;

	pthread_mutex_lock(&r->lock);
	*(down ? &r->downs : &r->ups) += 1;
	r->last_key = code;
	pthread_mutex_unlock(&r->lock);
	return true;
}

static bool hear_pointer(void *dev, const struct seat_pointer *p)
{
	struct rig *r = dev;

	pthread_mutex_lock(&r->lock);
	r->points++;
	r->last = *p;
	pthread_mutex_unlock(&r->lock);
	return true;
}

static bool always(void *dev)
{
	return true;
}

static const struct seat_device listener = { .key = hear_key, .pointer = hear_pointer, .listens = always };

/* Until *@n, which a device counts, is @want. */
static void heard(struct rig *r, const unsigned int *n, unsigned int want)
{
	uint64_t end = clock_ms() + WAIT_MS;
	unsigned int now;

	do {
		pthread_mutex_lock(&r->lock);
		now = *n;
		pthread_mutex_unlock(&r->lock);
		if (now < want)
			usleep(1000);
	} while (now < want && clock_ms() < end);
	assert_int_equal(now, want);
}

/* --- the screen --- */

static void dispi(struct rig *r, unsigned int index, uint16_t v)
{
	bus_write(r->bed.mmio, r->registers + 0x500 + 2 * index, 2, v);
}

static void mode(struct rig *r, uint16_t width, uint16_t height)
{
	dispi(r, DISPI_ENABLE, 0);
	dispi(r, DISPI_BPP, 32);
	dispi(r, DISPI_XRES, width);
	dispi(r, DISPI_YRES, height);
	dispi(r, DISPI_ENABLE, 1);
}

/* As a guest draws: without telling. */
static void draw(struct rig *r, uint32_t x, uint32_t y, uint32_t colour)
{
	struct picture p;
	uint8_t *memory = (uint8_t *)display_look(r->d, &p);

	__atomic_store_n((uint32_t *)(memory + p.offset + y * p.stride + 4 * x), colour, __ATOMIC_RELAXED);
}

static const uint8_t *look(void *arg, struct picture *p)
{
	return display_look(((struct rig *)arg)->d, p);
}

static bool news(void *arg)
{
	return false;
}

/* As the usher does it, again and again. */
static void *serve(void *arg)
{
	struct rig *r = arg;

	pthread_setname_np(pthread_self(), "vnc");
	while (!atomic_load(&r->ending))
		vnc_run(r->vnc);
	return NULL;
}

static void rig_serve(struct rig *r)
{
	struct vnc_options o = { .name = "test", .look = look, .news = news, .arg = r };
	struct err e;

	snprintf(r->dir, sizeof(r->dir), "/tmp/drover-vnc-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/web.vnc", r->dir);
	o.listen_fd = r->listen_fd = unix_socket_listen(r->path, 0600, 4, "test", NULL);
	o.news_fd = r->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(r->listen_fd >= 0 && r->end_fd >= 0);
	o.seat = r->bed.seat;
	if (vnc_create(&r->vnc, &o, &e))
		fail_msg("%s", e.text);
	assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
}

static void rig_open(struct rig *r)
{
	struct err e;

	memset(r, 0, sizeof(*r));
	assert_int_equal(bed_init(&r->bed), 0);
	assert_int_equal(display_create(&r->bed.env, 4u << 20, &r->d, &e), 0);
	display_plug(r->d);
	drv_config_write(&r->bed, 1, 0x04, 2, 2);
	r->registers = drv_config_read(&r->bed, 1, 0x18, 4);
	mode(r, W, H);
	pthread_mutex_init(&r->lock, NULL);
	assert_int_equal(seat_join(r->bed.seat, &listener, r), 0);
	rig_serve(r);
}

static void rig_close(struct rig *r)
{
	atomic_store(&r->ending, true);
	eventfd_write(r->end_fd, 1);
	pthread_join(r->thread, NULL);
	vnc_destroy(r->vnc);
	close(r->listen_fd);
	close(r->end_fd);
	unlink(r->path);
	rmdir(r->dir);
	display_destroy(r->d);
	bed_fini(&r->bed);
}

/* --- a viewer --- */

static void say(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

/* Return: false: hung up. */
static bool hear(int fd, void *buf, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	while (len) {
		if (poll(&p, 1, WAIT_MS) != 1)
			fail_msg("nothing comes, %zu bytes are missing", len);
		n = recv(fd, buf, len, MSG_DONTWAIT);
		if (!n || (n < 0 && errno == ECONNRESET))
			return false;
		assert_true(n > 0);
		buf = (uint8_t *)buf + n;
		len -= (size_t)n;
	}
	return true;
}

static void must_hear(int fd, void *buf, size_t len)
{
	assert_true(hear(fd, buf, len));
}

static int viewer_connect(struct rig *r)
{
	struct err e;
	int fd = unix_socket_connect(r->path, &e);

	if (fd < 0)
		fail_msg("%s", e.text);
	return fd;
}

/* RFC 6143 7.1 to 7.3: version 3.8, no security, shared; then raw pixels and changes of size. */
static int viewer_open(struct rig *r, unsigned int *width, unsigned int *height)
{
	static const uint8_t encodings[] = { 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21 };
	uint8_t buf[64], types[2];
	uint32_t n;
	int fd = viewer_connect(r);

	must_hear(fd, buf, 12);
	assert_memory_equal(buf, "RFB 003.008\n", 12);
	say(fd, buf, 12);
	must_hear(fd, types, 2);
	assert_memory_equal(types, "\1\1", 2);
	say(fd, "\1", 1);
	must_hear(fd, &n, 4);
	assert_int_equal(n, 0);
	say(fd, "\1", 1);
	must_hear(fd, buf, 24);
	*width = (unsigned int)(buf[0] << 8 | buf[1]);
	*height = (unsigned int)(buf[2] << 8 | buf[3]);
	assert_int_equal(buf[4], 32);
	memcpy(&n, buf + 20, 4);
	assert_int_equal(ntohl(n), 4);
	must_hear(fd, buf, 4);
	assert_memory_equal(buf, "test", 4);
	say(fd, encodings, sizeof(encodings));
	return fd;
}

static void ask_update(int fd, bool incremental, unsigned int w, unsigned int h)
{
	uint8_t m[10] = { 3, incremental, 0, 0, 0, 0, (uint8_t)(w >> 8), (uint8_t)w, (uint8_t)(h >> 8), (uint8_t)h };

	say(fd, m, sizeof(m));
}

struct rect {
	uint16_t x, y, w, h;
	int32_t encoding;
};

/* The next update: pixels go into @pixels, W x H of 4 bytes; returns its last rectangle. */
static struct rect update(int fd, uint8_t *pixels)
{
	uint8_t head[4], b[12];
	struct rect r = { 0 };

	must_hear(fd, head, 4);
	assert_int_equal(head[0], 0);
	for (int n = head[2] << 8 | head[3]; n; n--) {
		must_hear(fd, b, 12);
		r = (struct rect){ (uint16_t)(b[0] << 8 | b[1]), (uint16_t)(b[2] << 8 | b[3]), (uint16_t)(b[4] << 8 | b[5]),
				   (uint16_t)(b[6] << 8 | b[7]), (int32_t)((uint32_t)b[8] << 24 | b[9] << 16 | b[10] << 8 | b[11]) };
		if (r.encoding == NEW_SIZE)
			return r;
		assert_int_equal(r.encoding, 0);
		assert_true(r.x + r.w <= W && r.y + r.h <= H);
		for (unsigned int y = r.y; y < (unsigned int)(r.y + r.h); y++)
			must_hear(fd, pixels + 4 * (W * y + r.x), 4u * r.w);
	}
	return r;
}

static int viewer_that_sees(struct rig *r, uint8_t *pixels)
{
	unsigned int w, h;
	int fd = viewer_open(r, &w, &h);

	assert_int_equal(w, W);
	assert_int_equal(h, H);
	ask_update(fd, false, W, H);
	update(fd, pixels);
	return fd;
}

static uint8_t pixels[4 * W * H];

static void test_a_viewer_sees_what_the_guest_draws(void **state)
{
	struct rig r;
	struct stat st;
	int fd;

	rig_open(&r);
	assert_int_equal(stat(r.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	draw(&r, 3, 5, 0x112233);
	draw(&r, W - 1, H - 1, 0xffffff);
	fd = viewer_that_sees(&r, pixels);
	assert_memory_equal(pixels + 4 * (5 * W + 3), "\x11\x22\x33", 3);
	assert_memory_equal(pixels + 4 * (W * H - 1), "\xff\xff\xff", 3);
	assert_memory_equal(pixels, "\0\0\0", 3);
	ask_update(fd, true, W, H);
	draw(&r, 100, 200, 0x445566);
	do
		update(fd, pixels);
	while (memcmp(pixels + 4 * (200 * W + 100), "\x44\x55\x66", 3) && (ask_update(fd, true, W, H), true));
	close(fd);
	rig_close(&r);
}

static void test_a_viewer_hears_of_another_mode(void **state)
{
	struct rect rect;
	struct rig r;
	int fd;

	rig_open(&r);
	fd = viewer_that_sees(&r, pixels);
	ask_update(fd, true, W, H);
	mode(&r, 800, 600);
	do
		rect = update(fd, pixels);
	while (rect.encoding != NEW_SIZE && (ask_update(fd, true, W, H), true));
	assert_int_equal(rect.w, 800);
	assert_int_equal(rect.h, 600);
	close(fd);
	rig_close(&r);
}

static void key(int fd, uint32_t keysym, bool down)
{
	uint8_t m[8] = { 4, down, 0, 0, (uint8_t)(keysym >> 24), (uint8_t)(keysym >> 16), (uint8_t)(keysym >> 8), (uint8_t)keysym };

	say(fd, m, sizeof(m));
}

static void point(int fd, uint8_t buttons, unsigned int x, unsigned int y)
{
	uint8_t m[6] = { 5, buttons, (uint8_t)(x >> 8), (uint8_t)x, (uint8_t)(y >> 8), (uint8_t)y };

	say(fd, m, sizeof(m));
}

static void test_keys_and_pointer_reach_the_seat(void **state)
{
	struct rig r;
	int fd;

	rig_open(&r);
	fd = viewer_that_sees(&r, pixels);
	key(fd, 'a', true);
	key(fd, 'a', true); /* held: the guest repeats by itself */
	key(fd, 'a', false);
	heard(&r, &r.ups, 1);
	assert_int_equal(r.downs, 1);
	assert_int_equal(r.last_key, KEY_A);
	key(fd, 0xdeadbeef, true);
	key(fd, 0xffe3, true);
	heard(&r, &r.downs, 2);
	assert_int_equal(r.last_key, KEY_LEFTCTRL);
	point(fd, 1, W - 1, 0);
	heard(&r, &r.points, 1);
	assert_int_equal(r.last.x, SEAT_SIDE);
	assert_int_equal(r.last.y, 0);
	assert_int_equal(r.last.buttons, SEAT_LEFT);
	point(fd, 1 | 8, 0xffff, 0xffff);
	heard(&r, &r.points, 2);
	assert_int_equal(r.last.y, SEAT_SIDE);
	assert_int_equal(r.last.wheel, 1);
	/* who goes lets go of all he held */
	close(fd);
	heard(&r, &r.ups, 2);
	heard(&r, &r.points, 3);
	assert_int_equal(r.last_key, KEY_LEFTCTRL);
	assert_int_equal(r.last.buttons, 0);
	rig_close(&r);
}

static void test_there_are_as_many_viewers_as_there_may_be(void **state)
{
	int fd[VNC_VIEWERS_MAX], more;
	uint8_t byte;
	struct rig r;

	rig_open(&r);
	for (int i = 0; i < VNC_VIEWERS_MAX; i++)
		fd[i] = viewer_that_sees(&r, pixels);
	more = viewer_connect(&r);
	assert_false(hear(more, &byte, 1));
	close(more);
	/* one that does not get on with its greeting gives its place to who comes */
	close(fd[0]);
	more = viewer_connect(&r);
	must_hear(more, pixels, 12);
	fd[0] = viewer_that_sees(&r, pixels);
	assert_false(hear(more, &byte, 1));
	close(more);
	for (int i = 0; i < VNC_VIEWERS_MAX; i++)
		close(fd[i]);
	rig_close(&r);
}

/* What is no RFB, what stops in the middle, what never reads: the others go on. */
static void test_hostile_viewers_harm_nobody(void **state)
{
	static const uint8_t cut[8] = { 6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff };
	static const uint8_t encodings[4] = { 2, 0, 0xff, 0xff };
	uint8_t noise[512];
	struct rig r;
	int fd, bad;

	rig_open(&r);
	draw(&r, 0, 0, 0x010203);
	srandom(1);
	for (int i = 0; i < 12; i++) {
		unsigned int w, h;

		bad = i % 2 ? viewer_open(&r, &w, &h) : viewer_connect(&r);
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (uint8_t)random();
		send(bad, noise, sizeof(noise), MSG_NOSIGNAL);
		close(bad);
	}
	bad = viewer_that_sees(&r, pixels);
	say(bad, cut, sizeof(cut)); /* text of two gigabytes */
	fd = viewer_that_sees(&r, pixels);
	assert_memory_equal(pixels, "\1\2\3", 3);
	close(bad);
	bad = viewer_that_sees(&r, pixels);
	say(bad, encodings, sizeof(encodings)); /* and no list */
	ask_update(fd, false, W, H);
	update(fd, pixels);
	close(bad);
	bad = viewer_that_sees(&r, pixels);
	for (int i = 0; i < 50; i++)
		ask_update(bad, false, W, H); /* and it reads none of them */
	ask_update(fd, false, W, H);
	update(fd, pixels);
	assert_memory_equal(pixels, "\1\2\3", 3);
	close(bad);
	close(fd);
	rig_close(&r);
}

/* How often the thread of that name in @dir, a folder of /proc, has gone to sleep; 0: it is another one. */
static unsigned int sleeps_of(const char *dir, const char *name)
{
	char path[300], line[128], is[32] = "";
	unsigned int n = 0, one;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", dir);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Name: %31s", is) == 1 && strcmp(is, name))
			break;
		if (sscanf(line, "voluntary_ctxt_switches: %u", &one) == 1)
			n = one;
	}
	if (f)
		fclose(f);
	return n;
}

static unsigned int sleeps(void)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned int n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)))
		n += sleeps_of(entry->d_name, "vnc");
	closedir(d);
	return n;
}

static void test_nobody_there_costs_nothing(void **state)
{
	unsigned int before, after;
	struct rig r;
	int fd;

	rig_open(&r);
	fd = viewer_that_sees(&r, pixels);
	key(fd, 'a', true);
	close(fd);
	heard(&r, &r.ups, 1);
	usleep(100000); /* it is on its way back to sleep */
	before = sleeps();
	usleep(900000);
	after = sleeps();
	assert_true(before > 0);
	assert_int_equal(after, before);
	rig_close(&r);
}

static void test_all_of_it_goes(void **state)
{
	unsigned int fds = usage_entries("/proc/self/fd"), threads = usage_entries("/proc/self/task");
	struct rig r;
	int fd[2];

	rig_open(&r);
	fd[0] = viewer_that_sees(&r, pixels);
	fd[1] = viewer_connect(&r);
	rig_close(&r); /* while they are there */
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(usage_entries("/proc/self/fd"), fds);
	assert_int_equal(usage_entries("/proc/self/task"), threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_viewer_sees_what_the_guest_draws),
		cmocka_unit_test(test_a_viewer_hears_of_another_mode),
		cmocka_unit_test(test_keys_and_pointer_reach_the_seat),
		cmocka_unit_test(test_there_are_as_many_viewers_as_there_may_be),
		cmocka_unit_test(test_hostile_viewers_harm_nobody),
		cmocka_unit_test(test_nobody_there_costs_nothing),
		cmocka_unit_test(test_all_of_it_goes),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
