/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover-hv-viewer - serves those who look at the screen of one domain, as long as there are any (usher.h).
 *
 *     drover-hv-viewer NAME [--no-sandbox]     with the descriptors of enum viewer_fd
 *
 * It has the display's memory, which it cannot write, the socket at which viewers come, and a VMM to which it says what they
 * press and whom it asks which part of that memory is the picture.  All rights and all system calls that this does not
 * need are given up before the first byte of a viewer is read.
 */
#include "cmd/drover-hv/sandbox.h"
#include "cmd/drover-hv/viewer_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/packet.h"
#include "hv/display/seat.h"
#include "hv/display/vnc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MS 2000 /* a VMM that is slower is shown as it was */

struct screen {
	const uint8_t *memory;
	uint64_t size;
	struct picture picture; /* as it was told last */
	uint32_t asked;         /* number of the newest question */
	bool gone;              /* the VMM */
};

/* --- what the VMM is told --- */

/* It reads at once, or never again: nothing is said twice. */
static bool say(struct viewer_question q)
{
	struct pollfd room = { .fd = VIEWER_FD_VMM, .events = POLLOUT };
	int ret;

	do
		ret = packet_send(VIEWER_FD_VMM, &q, sizeof(q), NULL, 0);
	while (ret == -EAGAIN && poll(&room, 1, ANSWER_MS) == 1);
	return !ret;
}

static bool say_key(void *dev, uint16_t code, bool down)
{
	(void)dev;
	return say((struct viewer_question){ .op = VIEWER_KEY, .code = code, .down = down });
}

static bool say_pointer(void *dev, const struct seat_pointer *p)
{
	(void)dev;
	return say((struct viewer_question){ .op = VIEWER_POINTER, .x = p->x, .y = p->y, .buttons = p->buttons, .wheel = p->wheel });
}

static bool always(void *dev)
{
	(void)dev;
	return true;
}

static const struct seat_device vmm_seat = { .key = say_key, .pointer = say_pointer, .listens = always };

/* --- what it answers --- */

/* Return: the answer to question @asked is @a; false: there is none yet, or it is gone. */
static bool hear(struct screen *s, struct viewer_answer *a)
{
	int fds[PACKET_FDS_MAX], ret;
	size_t n;

	do {
		ret = packet_receive(VIEWER_FD_VMM, a, sizeof(*a), fds, &n);
		while (n)
			close(fds[--n]);
	} while (!ret && a->number != s->asked);
	if (ret && ret != -EAGAIN)
		s->gone = true;
	return !ret;
}

static bool ask(struct screen *s, struct viewer_answer *a)
{
	struct pollfd answered = { .fd = VIEWER_FD_VMM, .events = POLLIN };
	uint64_t end = clock_ms() + ANSWER_MS, now;
	bool heard = false;

	s->asked++;
	if (!say((struct viewer_question){ .op = VIEWER_LOOK, .number = s->asked }))
		return false;
	for (now = clock_ms(); !heard && !s->gone && now < end; now = clock_ms())
		heard = poll(&answered, 1, (int)(end - now)) == 1 && hear(s, a);
	return heard;
}

static const uint8_t *look(void *arg, struct picture *p)
{
	struct viewer_answer a;
	struct screen *s = arg;

	if (ask(s, &a))
		s->picture = picture_of(a.dispi, s->size);
	*p = s->picture;
	return s->memory;
}

/* An answer that came too late; or its end. */
static bool news(void *arg)
{
	struct viewer_answer a;
	struct screen *s = arg;

	while (hear(s, &a))
		;
	return !s->gone;
}

/* --- life --- */

static int map_memory(struct screen *s, struct err *e)
{
	struct stat st;
	void *at;

	if (fstat(VIEWER_FD_MEMORY, &st))
		return err_errno(e, "the display's memory");
	s->size = (uint64_t)st.st_size;
	at = mmap(NULL, s->size, PROT_READ, MAP_SHARED, VIEWER_FD_MEMORY, 0);
	if (at == MAP_FAILED)
		return err_errno(e, "the display's memory");
	s->memory = at;
	close(VIEWER_FD_MEMORY);
	return 0;
}

static int serve(const char *name, struct screen *s, struct seat *seat, struct err *e)
{
	struct vnc_options o = {
		.listen_fd = VIEWER_FD_LISTEN,
		.name = name,
		.seat = seat,
		.look = look,
		.news_fd = VIEWER_FD_VMM,
		.news = news,
		.arg = s,
	};
	struct vnc *vnc;
	int ret = vnc_create(&vnc, &o, e);

	if (ret)
		return ret;
	confine(CONFINE_VIEWER);
	vnc_run(vnc);
	vnc_destroy(vnc);
	return 0;
}

static int run(const char *name, struct err *e)
{
	struct screen s = { 0 };
	struct seat *seat;
	int ret = map_memory(&s, e);

	if (ret)
		return ret;
	if (seat_create(&seat))
		return err_set(e, -ENOMEM, "out of memory");
	seat_join(seat, &vmm_seat, &s);
	ret = serve(name, &s, seat, e);
	seat_destroy(seat);
	munmap((void *)s.memory, s.size);
	return ret;
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	int ret;

	log_init(VIEWER_PROGRAM, LOG_LEVEL_INFO);
	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], VIEWER_NO_SANDBOX))) {
		fputs("drover-hv-viewer is begun by drover-hv(8), when somebody looks at a screen\n", stderr);
		return EXIT_USAGE;
	}
	prctl(PR_SET_NAME, "drover-hv-view");
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* the usher's, which ends with the VMM; a viewer must not make us wait then */
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2)
		sandbox_prepare(NULL);
	ret = run(argv[1], &e);
	if (ret)
		log_error("%s", e.text);
	return ret ? err_exit_code(ret) : EXIT_OK;
}
