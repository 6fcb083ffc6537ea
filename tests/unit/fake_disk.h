/*
 * fake_disk: the disk door in memory, and the task door without a thread, for
 * tests that crash. What is written can be read at once; a sync makes it last;
 * a power failure keeps of the rest what it likes, sector by sector. A sync
 * that fails loses what was written, which reads well until the power fails.
 */
#ifndef FAKE_DISK_H
#define FAKE_DISK_H

#include "disk.h"
#include "task.h"

struct fake_disk {
	struct disk *disk;
	uint64_t random;
	uint64_t capacity;      /* bytes that files may take in all */
	unsigned fail_sync;     /* that many syncs from now one fails; 0: none */
	unsigned fail_write;    /* the same of writes, reads, openings */
	unsigned fail_read, fail_open, fail_size;
	unsigned again;         /* so many calls that fail are followed by another one */
	int error;              /* what those that fail give; 0: -EIO */
	unsigned short_read;    /* that many reads from now one gives only a part of what it should */
	unsigned no_blocks;     /* so many allocations from now on find no space, whatever there is */
	bool is_remote;
	uint64_t writes, syncs; /* so far */
	uint64_t early_writes;  /* into files whose present name no sync of the folder has made last */
};

extern struct fake_disk fake_disk;

void fake_disk_new(uint64_t seed);
void fake_disk_free(void);
/* The power fails. keep: how much of what was not synced stays, in 256ths; 0 nothing, 256 all. */
void fake_disk_power_failure(unsigned keep);
uint64_t fake_disk_used(void);
/* Bytes of a file as they are; NULL: there is none. */
uint8_t *fake_disk_data(const char *name, size_t *ret_len);
/* Make or replace a file, lasting. */
void fake_disk_put(const char *name, const void *data, size_t len);

/* Another folder, for what is copied; its files count for no capacity. */
struct disk *fake_disk_other(void);
void fake_disk_other_free(struct disk *d);

/* Which submission from now on gives an error; 0: none. */
extern struct fake_task {
	unsigned fail;
	unsigned again; /* so many after it, too */
	int error;      /* 0: -ENOMEM */
	struct task_runner *last; /* the one made last */
	uint64_t cpu, cpu_step;   /* what task_cpu said; it says so much more each time */
} fake_task;

/* Run one task of r, and tell it at the end of the loop pass. False: there is none. */
bool fake_task_run(struct task_runner *r);

#endif
