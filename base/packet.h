/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet - what a process and its helper (helper.h) say to each other: packets of a SOCK_SEQPACKET pair, with descriptors.
 *
 * Threads: any; who wants an answer to a question keeps others out until it has come.
 */
#ifndef DROVER_BASE_PACKET_H
#define DROVER_BASE_PACKET_H

#include <stddef.h>

#define PACKET_FDS_MAX 64 /* a disk and the locks below it; the kernel allows 253 */

/** packet_send() - one packet of @len bytes with @n descriptors; -EPIPE when the other end is gone; -errno */
int packet_send(int sock, const void *buf, size_t len, const int *fds, size_t n);
/**
 * packet_receive() - one packet of exactly @len bytes and at most PACKET_FDS_MAX descriptors, which are the caller's
 * Return: 0; -EPIPE when the other end is gone; -EMFILE when the descriptors found no room here, with the packet
 * in @buf; -EPROTO for anything else than that; -errno.
 */
int packet_receive(int sock, void *buf, size_t len, int fds[PACKET_FDS_MAX], size_t *n);

#endif
