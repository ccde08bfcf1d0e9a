/* SPDX-License-Identifier: Apache-2.0 */
/* api_room - see api_room.h. One list, whoever was served last at its end. */
#include "ha/api/api_room.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct api_guest {
	TAILQ_ENTRY(api_guest)
	link;
	int fd;
	bool waits, sent_away;
};

struct api_room {
	TAILQ_HEAD(, api_guest)
	guests;
	unsigned int present, waiting; /* present: without those that were sent away */
};

struct api_room *api_room_open(void)
{
	struct api_room *r = calloc(1, sizeof(*r));

	if (r)
		TAILQ_INIT(&r->guests);
	return r;
}

void api_room_close(struct api_room *r)
{
	struct api_guest *g;

	while (r && (g = TAILQ_FIRST(&r->guests)) != NULL)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): who left is not the first any more */
		api_room_leave(r, g);
	free(r);
}

/* Its end comes as any other: the HTTP server finds nothing more to read. */
static void send_one_away(struct api_room *r)
{
	struct api_guest *g;

	TAILQ_FOREACH(g, &r->guests, link)
	if (!g->waits && !g->sent_away)
		break;
	if (!g)
		return; /* API_ROOM_WAITING < API_ROOM_PLACES */
	g->sent_away = true;
	r->present--;
	shutdown(g->fd, SHUT_RDWR);
}

struct api_guest *api_room_enter(struct api_room *r, int fd)
{
	struct api_guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	if (r->present >= API_ROOM_PLACES)
		send_one_away(r);
	g->fd = fd;
	r->present++;
	TAILQ_INSERT_TAIL(&r->guests, g, link);
	return g;
}

void api_room_leave(struct api_room *r, struct api_guest *g)
{
	if (!g)
		return;
	TAILQ_REMOVE(&r->guests, g, link);
	r->waiting -= g->waits;
	r->present -= !g->sent_away;
	free(g);
}

void api_room_served(struct api_room *r, struct api_guest *g)
{
	if (!g)
		return;
	r->waiting -= g->waits;
	g->waits = false;
	TAILQ_REMOVE(&r->guests, g, link);
	TAILQ_INSERT_TAIL(&r->guests, g, link);
}

bool api_room_wait(struct api_room *r, struct api_guest *g)
{
	if (!g || r->waiting >= API_ROOM_WAITING)
		return false;
	g->waits = true;
	r->waiting++;
	return true;
}
