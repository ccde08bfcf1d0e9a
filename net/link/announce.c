/* SPDX-License-Identifier: Apache-2.0 */
/* announce - see announce.h. */
#include "net/link/announce.h"

#include <string.h>

#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_RARP 0x8035
#define ARP_REQUEST 1
#define RARP_REQUEST 3
#define FIRST_DELAY_MS 50
#define DELAY_STEP_MS 100

static void put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/*
 * Ethernet: to[6] from[6] type      ARP (RFC 826): hardware 1, protocol 0x0800, lengths 6 and 4,
 * operation, sender MAC and IP, target MAC and IP; the rest is padding.
 */
static void arp_frame(uint8_t *frame, uint16_t type, uint16_t operation, const uint8_t *mac)
{
	uint8_t *arp = frame + 14;

	memset(frame, 0, ANNOUNCE_FRAME);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	put_be16(frame + 12, type);
	put_be16(arp, 1);
	put_be16(arp + 2, 0x0800);
	arp[4] = 6;
	arp[5] = 4;
	put_be16(arp + 6, operation);
	memcpy(arp + 8, mac, 6);
}

void announce_rarp(uint8_t frame[ANNOUNCE_FRAME], const uint8_t mac[6])
{
	arp_frame(frame, ETHERTYPE_RARP, RARP_REQUEST, mac);
	memcpy(frame + 14 + 18, mac, 6); /* "what is my own address?" */
}

void announce_garp(uint8_t frame[ANNOUNCE_FRAME], const uint8_t mac[6], const uint8_t ip[4])
{
	arp_frame(frame, ETHERTYPE_ARP, ARP_REQUEST, mac);
	memcpy(frame + 14 + 14, ip, 4);
	memcpy(frame + 14 + 24, ip, 4); /* sender and target alike: gratuitous */
}

int announce_delay_ms(unsigned int round)
{
	return round + 1 < ANNOUNCE_ROUNDS ? FIRST_DELAY_MS + DELAY_STEP_MS * (int)round : -1;
}
