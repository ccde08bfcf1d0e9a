/* SPDX-License-Identifier: Apache-2.0 */
/* stream_pages - the row; see stream_pages.h. */
#include "migrate/transport/stream_pages.h"

const struct page_transport page_transport_stream = {
	.name = "stream",
	.sender_create = stream_sender_create,
	.send = stream_sender_send,
	.mark = stream_sender_mark,
	.sender_destroy = stream_sender_destroy,
	.receiver_create = stream_receiver_create,
	.receive = stream_receiver_receive,
	.receiver_destroy = stream_receiver_destroy,
};
