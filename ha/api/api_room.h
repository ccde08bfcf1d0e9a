/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_room - who may stay connected to the API.
 *
 * Whoever may open the socket may open it many times, and say nothing, or a byte a
 * minute.  So there is always room for one more: when all places are taken, the one goes
 * that for longest has not ended a request.  Bytes that drip in do not count, and whoever
 * waits for the cluster stays; of those there are fewer than places.
 */
#ifndef DROVER_HA_API_API_ROOM_H
#define DROVER_HA_API_API_ROOM_H

#include <stdbool.h>

#define API_ROOM_PLACES 64
#define API_ROOM_WAITING 32 /* commands that wait for the cluster at once; the core takes 16 */

struct api_room;
struct api_guest;

/** api_room_open() - NULL without memory */
struct api_room *api_room_open(void);
/** api_room_close() - everybody has left */
void api_room_close(struct api_room *r);

/** api_room_enter() - a new connection; somebody else's may be shut down for it; NULL without memory */
struct api_guest *api_room_enter(struct api_room *r, int fd);
/** api_room_leave() - its connection is closed */
void api_room_leave(struct api_room *r, struct api_guest *g);

/** api_room_served() - @g has got an answer */
void api_room_served(struct api_room *r, struct api_guest *g);

/** api_room_wait() - @g waits for the cluster; false when too many do */
bool api_room_wait(struct api_room *r, struct api_guest *g);

#endif
