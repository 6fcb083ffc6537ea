/*
 * store_bytes: little-endian numbers in memory, for the store alone.
 */
#ifndef STORE_BYTES_H
#define STORE_BYTES_H

#include <endian.h>
#include <stdint.h>

#include "store_format.h"
#include <string.h>

static inline void
put16(uint8_t *p, uint16_t n)
{
	n = htole16(n);
	memcpy(p, &n, sizeof(n));
}

static inline void
put32(uint8_t *p, uint32_t n)
{
	n = htole32(n);
	memcpy(p, &n, sizeof(n));
}

static inline void
put64(uint8_t *p, uint64_t n)
{
	n = htole64(n);
	memcpy(p, &n, sizeof(n));
}

static inline uint16_t
get16(const uint8_t *p)
{
	uint16_t n;

	memcpy(&n, p, sizeof(n));
	return le16toh(n);
}

static inline uint32_t
get32(const uint8_t *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return le32toh(n);
}

static inline uint64_t
get64(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return le64toh(n);
}

static inline void
store_put_place(uint8_t *p, const struct store_place *place)
{
	put32(p, place->segment);
	put32(p + 4, place->block);
	put64(p + 8, place->batch);
}

static inline struct store_place
store_get_place(const uint8_t *p)
{
	return (struct store_place){ .segment = get32(p), .block = get32(p + 4), .batch = get64(p + 8) };
}

#endif
