/*
 * crc32c: the checksum of SCTP (RFC 9260, appendix A) by the CPU's own
 * instruction, where it has one. Where it has none, the SCTP library's table
 * does it.
 */
#ifndef CRC32C_H
#define CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Asked of the CPU that we run on, not of the one we were built for. */
bool crc32c_has_instruction(void);
/* Only where it has; in the byte order of this machine. */
uint32_t crc32c_by_instruction(const void *data, size_t len);

#endif
