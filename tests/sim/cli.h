/* cli: what the programs that search for faults have for their command lines. */
#ifndef CLI_H
#define CLI_H

#include <stdint.h>

/* Seconds of a clock that only counts: for how long something took. */
double cli_seconds(void);
/* A number of the command line; if it is none the program says so, and ends with 2. */
uint64_t cli_number(const char *s);

#endif
