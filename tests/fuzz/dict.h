/*
 * dict: dictionaries for fuzz targets, and records for their seeds, made from
 * the descriptors of the protocol and the table of configuration keys, so that
 * what is added there is known to the fuzzer as well.
 */
#ifndef DICT_H
#define DICT_H

#include <stddef.h>
#include <stdint.h>

/* Write FOLDER/TARGET.dict for each target that has one; what fails ends the program. */
void dict_make(const char *folder);

/* Write a record (without a length in front) with every field set into buf, which has room for DICT_RECORD_MAX. Its length; 0: there are only i. */
#define DICT_RECORD_MAX 4096
/* Records of an answer to connectctl. */
size_t dict_record(size_t i, uint8_t *buf);
/* A Frame of the i-th kind. */
size_t dict_frame(size_t i, uint8_t *buf);

#endif
