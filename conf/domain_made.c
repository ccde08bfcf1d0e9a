/* SPDX-License-Identifier: Apache-2.0 */
/* domain_made - what a domain file leaves out and every reader of it must make alike: uuid and addresses. */
#include "conf/domain_int.h"

#include <string.h>

/* 64-bit FNV-1a, then the finisher of MurmurHash3: not secret, only well spread. */
static uint64_t hash64(uint64_t seed, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ull ^ seed;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

/*
 * Made from the name, so that a domain keeps its uuid wherever and however
 * often the file is read.  Version 8 (RFC 9562 5.8: custom), variant 10.
 */
void domain_make_uuid(const char *name, uint8_t uuid[16])
{
	uint64_t half[2] = { hash64(1, name, strlen(name)), hash64(2, name, strlen(name)) };

	memcpy(uuid, half, 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* 52 is locally administered and unicast (IEEE 802 8.4); five bytes from uuid and index. */
void domain_make_mac(const uint8_t uuid[16], size_t index, uint8_t mac[6])
{
	uint64_t h = hash64(index, uuid, 16);

	mac[0] = 0x52;
	memcpy(mac + 1, &h, 5);
}
