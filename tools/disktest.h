/*
 * disktest: what a write and a sync cost on a file system, the way the journal
 * does it: whole blocks, each behind the last, in a file whose blocks exist.
 */
#ifndef DISKTEST_H
#define DISKTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

#define DISKTEST_FILE (32u << 20) /* bytes of the file */
#define DISKTEST_BLOCK 4096u      /* a write begins and ends at one */
#define DISKTEST_LIE_NS 20000     /* no disk that keeps its word syncs faster */

struct disktest {
	int fd;
	bool in_memory; /* the file system is: a sync means nothing */
	uint64_t at;
	uint8_t *buf;
	uint64_t size; /* of the file */
};

/*
 * Make the file, without a name, so that nothing is left behind whatever
 * happens. 0; or a negative errno and a sentence in why: -EREMOTE for a network
 * file system.
 */
int disktest_open(struct disktest *t, const char *folder, char why[static 200]);
void disktest_close(struct disktest *t);

/* Write and sync so many bytes again and again, for so long, and note how long each took. 0 or a negative errno. */
int disktest_run(struct disktest *t, size_t bytes, uint64_t ns, struct histogram *h, uint64_t *ret_ns);

enum disktest_verdict { DISKTEST_OK, DISKTEST_IN_MEMORY, DISKTEST_LIES };
/* What to think of a median. */
enum disktest_verdict disktest_judge(bool in_memory, uint64_t median_ns);

#endif
