/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce - tell the switches where a guest is now.
 *
 * After a migration a switch still sends the guest's frames to the old host
 * until it sees one from the new.  So the new host sends some in the guest's
 * name, each broadcast with the guest's MAC as its source: a RARP request
 * (RFC 903; what every VMM sends, needs no IP address) and, where the guest's
 * IPv4 address is known, a gratuitous ARP (RFC 5227 3), which also refreshes
 * neighbours' ARP caches.
 *
 * Frames may get lost, and a switch port may forward only after a while (STP):
 * ANNOUNCE_ROUNDS times with growing gaps, on the caller's timer.
 */
#ifndef DROVER_NET_LINK_ANNOUNCE_H
#define DROVER_NET_LINK_ANNOUNCE_H

#include <stddef.h>
#include <stdint.h>

#define ANNOUNCE_FRAME 60 /* minimum Ethernet frame without checksum (IEEE 802.3) */
#define ANNOUNCE_ROUNDS 5

/** announce_rarp() - a RARP frame for @mac; ANNOUNCE_FRAME bytes */
void announce_rarp(uint8_t frame[ANNOUNCE_FRAME], const uint8_t mac[6]);

/** announce_garp() - a gratuitous ARP request for @mac at @ip (network order) */
void announce_garp(uint8_t frame[ANNOUNCE_FRAME], const uint8_t mac[6], const uint8_t ip[4]);

/**
 * announce_delay_ms() - milliseconds to wait after round @round (0 = the first) for the next one
 * 50, 150, 250, 350 (as QEMU's defaults), then -1: done.
 */
int announce_delay_ms(unsigned int round);

#endif
