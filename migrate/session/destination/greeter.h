/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greeter - who connects to a waiting destination, until it is known who that is.
 *
 * Whoever connects is listened to in a thread of his own, so that one who says
 * nothing, drips, or says what is no migration stream keeps nobody else waiting:
 *
 *   accept ─> HELLO, role data     ─> handed out to whoever wants a data connection
 *          └> HELLO, role control  ─> answered; CAPS, DESCRIBE, MEM_MAP ─> handed out as an offer
 *
 * Each has GREETER_HELLO_MS for its HELLO and GREETER_OFFER_MS for the offer, in
 * all and not between two bytes.  At most GREETER_MAX are listened to: one more
 * displaces the one that has been talking longest without coming to an end, so a
 * crowd of strangers delays an honest source by milliseconds.
 *
 * Thread: one, the destination's controller.
 */
#ifndef DROVER_MIGRATE_SESSION_DESTINATION_GREETER_H
#define DROVER_MIGRATE_SESSION_DESTINATION_GREETER_H

#include "migrate/session/session.h"
#include "migrate/wire/hello.h"

#define GREETER_MAX 48u /* all data connections of one source and some strangers */
#define GREETER_HELLO_MS 1000u
#define GREETER_OFFER_MS 5000u

struct greeter;

/* Somebody who has said who he is.  What is not taken out of it goes with caller_drop(). */
struct caller {
	struct greeter *g;
	struct channel ch;
	struct wire_hello hello;
	struct session_record *caps, *describe, *mem_map; /* role control: all three; else NULL */
	/* the greeter's own */
	pthread_t thread;
	uint64_t since_ms;
	_Atomic bool done; /* the thread has nothing left to do */
	bool gave_up;      /* it said ABORT itself */
	_Atomic uint64_t deadline_ms;
	int rc;
	struct err why;
};

/** greeter_create() - for the session's link; NULL when out of memory */
struct greeter *greeter_create(struct session *s);
/** greeter_destroy() - hangs up on all who were not handed out; NULL is fine */
void greeter_destroy(struct greeter *g);

/**
 * greeter_next() - the next one with role @want
 * @deadline_ms: of session_now_ms(); 0: none
 * While @want is ROLE_DATA nobody else's offer is listened to.
 * Return: 0 and *@out, the caller's to caller_drop(); -ETIMEDOUT; what ended the session or the link;
 * -EBADMSG when a data connection's HELLO was damaged, and it is the session's: the link is bad.
 */
int greeter_next(struct greeter *g, enum wire_role want, uint64_t deadline_ms, struct caller **out,
		 struct err *e);

/** caller_take() - its connection becomes @ch, which had none */
void caller_take(struct caller *c, struct channel *ch);
/** caller_drop() - hang up, unless its connection was taken; @why (NULL: nothing) is told to it */
void caller_drop(struct caller *c, const struct err *why);

#endif
