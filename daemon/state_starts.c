/*
 * The starts of a folder, 16 bytes each: boot id, check. They are in two files
 * alike, one written after the other, each in its own old place: a power cut
 * may spoil whatever is being written, synced before or not, and never both;
 * and a full disk does not keep the daemon from starting, as the blocks are
 * there already. A record counts if it is good in either. That of a start which
 * has left a journal has another check.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

#define RECORD 16
#define AHEAD (64u << 10) /* bytes that a file grows by */
#define COPIES 2
#define WITH_JOURNAL UINT64_C(0x6a6f75726e616c21) /* changes the check of a start with a journal */

static const char *const names[COPIES] = { STATE_STARTS, STATE_STARTS ".2" };

struct copy {
	struct disk_file *file;
	uint64_t size;
	uint8_t *bytes;
};

static uint64_t
fnv1a(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

/* Ties a record to its place and its folder, so that no stale or foreign bytes pass for one. */
static uint64_t
check(const struct state *s, uint32_t index, uint64_t boot)
{
	uint64_t le[2] = { htole64(index), htole64(boot) };

	return fnv1a(fnv1a(0xcbf29ce484222325u, le, sizeof(le)), s->first_id, STATE_ID);
}

/* The boot id of a good record; 0: it is not. */
static uint64_t
record_read(const struct state *s, const struct copy *c, uint32_t index, bool *ret_journal)
{
	uint64_t le[2], boot, with;

	*ret_journal = false;
	if ((uint64_t)(index + 1) * RECORD > c->size)
		return 0;
	memcpy(le, c->bytes + (size_t)index * RECORD, sizeof(le));
	boot = le64toh(le[0]);
	with = le64toh(le[1]) ^ check(s, index, boot);
	*ret_journal = boot != 0 && with == WITH_JOURNAL;
	return boot != 0 && (with == 0 || with == WITH_JOURNAL) ? boot : 0;
}

static void
record_write(const struct state *s, uint32_t index, bool journal, uint8_t *at)
{
	uint64_t boot = s->boots[index], with = journal ? WITH_JOURNAL : 0;
	uint64_t le[2] = { htole64(boot), htole64(check(s, index, boot) ^ with) };

	memcpy(at, le, sizeof(le));
}

static int
copy_open(struct state *s, const char *name, struct copy *c, char why[static 200])
{
	ssize_t n;
	int r = disk_file_open(s->disk, name, true, &c->file);

	if (r < 0)
		return r;
	n = disk_file_size(c->file);
	if (n < 0)
		return (int)n;
	if ((uint64_t)n > (uint64_t)STATE_START_MAX * RECORD + AHEAD) {
		snprintf(why, 200, "the file %s is damaged: %zd bytes", name, n);
		return -EINVAL;
	}
	c->size = (uint64_t)n;
	c->bytes = malloc((size_t)n + 1);
	if (!c->bytes)
		return -ENOMEM;
	n = disk_pread(c->file, c->bytes, (size_t)c->size, 0);
	if (n < 0)
		return (int)n;
	return (uint64_t)n == c->size ? 0 : -EIO;
}

/* A bad record behind all good ones was being written when the power went: that start never sent anything. */
static int
starts_read(struct state *s, const struct copy copies[static COPIES], char why[static 200])
{
	uint64_t size = copies[0].size > copies[1].size ? copies[0].size : copies[1].size;
	uint32_t bad = 0;

	s->boots = malloc((size_t)(size / RECORD + 1) * sizeof(*s->boots)); /* and the one that begins */
	if (!s->boots)
		return -ENOMEM;
	for (uint32_t i = 0; i < size / RECORD; i++) {
		bool journal[COPIES];
		uint64_t boot = record_read(s, &copies[0], i, &journal[0]), other = record_read(s, &copies[1], i, &journal[1]);

		if (boot == 0)
			boot = other;
		if (boot == 0 && bad == 0)
			bad = i + 1;
		if (boot == 0)
			continue;
		if (bad != 0) {
			snprintf(why, 200, "the files %s and %s are damaged at record %" PRIu32, names[0], names[1], bad);
			return -EINVAL;
		}
		s->boots[s->n_boots++] = boot;
		if (journal[0] || journal[1])
			s->journal_start = s->n_boots;
	}
	return 0;
}

/* Blocks for what is to be written, and for many starts more. */
static int
grow(struct copy *c, uint64_t want)
{
	static const uint8_t zeros[AHEAD];
	ssize_t n;

	while (c->size < want) {
		uint64_t len = AHEAD - c->size % AHEAD;

		n = disk_pwrite(c->file, zeros, (size_t)len, c->size);
		if (n < 0)
			return (int)n;
		c->size += len;
	}
	return 0;
}

static int
copy_write(const struct state *s, struct copy *c)
{
	size_t len = (size_t)s->n_boots * RECORD;
	uint8_t *all = malloc(len);
	ssize_t n;
	int r;

	if (!all)
		return -ENOMEM;
	/* Of those with a journal only the newest matters. */
	for (uint32_t i = 0; i < s->n_boots; i++)
		record_write(s, i, i + 1 == s->journal_start, all + (size_t)i * RECORD);
	r = grow(c, len);
	if (r == 0) {
		n = disk_pwrite(c->file, all, len, 0);
		r = n < 0 ? (int)n : disk_sync(c->file);
	}
	if (r == 0)
		r = disk_sync_folder(s->disk, NULL);
	free(all);
	return r;
}

/* First the one that has not all there is: the other has, and stays as it is meanwhile. */
static int
starts_write(const struct state *s, struct copy copies[static COPIES])
{
	unsigned first = 0;
	bool journal;
	int r;

	for (uint32_t i = 0; i + 1 < s->n_boots && first == 0; i++)
		first = record_read(s, &copies[1], i, &journal) == 0 || (i + 1 == s->journal_start && !journal);
	r = copy_write(s, &copies[first]);
	return r < 0 ? r : copy_write(s, &copies[1 - first]);
}

int
state_starts_begin(struct state *s, char why[static 200])
{
	struct copy copies[COPIES] = { 0 };
	uint64_t boot;
	int r = 0;

	for (unsigned i = 0; i < COPIES && r == 0; i++)
		r = copy_open(s, names[i], &copies[i], why);
	if (r == 0)
		r = starts_read(s, copies, why);
	if (r == 0 && s->n_boots == STATE_START_MAX) {
		snprintf(why, 200, "the folder has been started %u times, which is the most a store id can be", s->n_boots);
		r = -EINVAL;
	}
	if (r == 0) {
		do
			loop_random(s->loop, &boot, sizeof(boot));
		while (boot == 0); /* 0 means "never met" */
		s->boots[s->n_boots++] = boot;
		r = starts_write(s, copies);
	}
	for (unsigned i = 0; i < COPIES; i++) {
		disk_file_close(copies[i].file);
		free(copies[i].bytes);
	}
	return r;
}

/* One record, where it is: nothing else is written, and there is room for it. */
int
state_starts_mark(const struct state *s)
{
	uint8_t record[RECORD];
	int r = 0;

	record_write(s, s->n_boots - 1, true, record);
	for (unsigned i = 0; i < COPIES && r == 0; i++) {
		struct disk_file *file = NULL;
		ssize_t n;

		r = disk_file_open(s->disk, names[i], false, &file);
		if (r < 0)
			break;
		n = disk_pwrite(file, record, sizeof(record), (uint64_t)(s->n_boots - 1) * RECORD);
		r = n < 0 ? (int)n : disk_sync(file);
		disk_file_close(file);
	}
	return r;
}
