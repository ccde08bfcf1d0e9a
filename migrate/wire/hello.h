/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello - the first record of a connection, read before anything is believed:
 * whether this is a migration stream at all, and of which version.
 */
#ifndef DROVER_MIGRATE_WIRE_HELLO_H
#define DROVER_MIGRATE_WIRE_HELLO_H

#include "migrate/wire/channel.h"

/** hello_send() - HELLO as a whole record; @timeout_ms bounds each wait without progress */
int hello_send(struct channel *ch, const struct wire_hello *h, int timeout_ms, struct err *e);

/**
 * hello_recv() - -EPROTO when this is no migration stream or a wrong HELLO,
 * -EPROTONOSUPPORT when the peer speaks another version
 */
int hello_recv(struct channel *ch, struct wire_hello *h, int timeout_ms, struct err *e);

#endif
