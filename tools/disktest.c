#include "disktest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "clock.h"
#include "remotefs.h"

#define ZERO_STEP (1u << 20)

static int
make_file(const char *folder)
{
	char *name;
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	/* Not every file system can make one without a name. */
	if (asprintf(&name, "%s/.connectd-disktest-XXXXXX", folder) < 0)
		return -ENOMEM;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	else
		fd = -errno;
	free(name);
	return fd;
}

static int
write_at(int fd, const uint8_t *p, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Blocks that were written once, as those of a segment are. */
static int
prepare(struct disktest *t)
{
	int r = posix_fallocate(t->fd, 0, (off_t)t->size);

	if (r != 0)
		return -r;
	memset(t->buf, 0, ZERO_STEP);
	for (uint64_t at = 0; at < t->size && r == 0; at += ZERO_STEP)
		r = write_at(t->fd, t->buf, ZERO_STEP, at);
	if (r == 0 && fsync(t->fd) < 0)
		r = -errno;
	/* Neither zeroes nor anything that a disk could make smaller. */
	for (size_t i = 0, x = 88172645463325252u; i < ZERO_STEP; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		t->buf[i] = (uint8_t)x;
	}
	return r;
}

int
disktest_open(struct disktest *t, const char *folder, char why[static 200])
{
	struct statfs st;
	int r;

	*t = (struct disktest){ .fd = make_file(folder), .size = DISKTEST_FILE };
	if (t->fd < 0 || fstatfs(t->fd, &st) < 0) {
		r = t->fd < 0 ? t->fd : -errno;
		snprintf(why, 200, "%.100s: %s", folder, strerror(-r));
		disktest_close(t);
		return r;
	}
	if (remotefs_is((uint32_t)st.f_type)) {
		snprintf(why, 200, "%.80s is on a network file system, whose syncs cannot be trusted; a journal is refused there", folder);
		disktest_close(t);
		return -EREMOTE;
	}
	t->in_memory = (uint32_t)st.f_type == TMPFS_MAGIC || (uint32_t)st.f_type == RAMFS_MAGIC;
	t->buf = malloc(ZERO_STEP);
	r = t->buf != NULL ? prepare(t) : -ENOMEM;
	if (r < 0) {
		snprintf(why, 200, "%.80s: %s, for a file of %u MB", folder, strerror(-r), DISKTEST_FILE >> 20);
		disktest_close(t);
	}
	return r;
}

void
disktest_close(struct disktest *t)
{
	if (t->fd >= 0)
		close(t->fd);
	free(t->buf);
	*t = (struct disktest){ .fd = -1 };
}

int
disktest_run(struct disktest *t, size_t bytes, uint64_t ns, struct histogram *h, uint64_t *ret_ns)
{
	size_t len = (bytes + DISKTEST_BLOCK - 1) / DISKTEST_BLOCK * DISKTEST_BLOCK;
	uint64_t begun = clock_ns(), now = begun;

	do {
		uint64_t before = now;
		int r;

		if (t->at + len > t->size)
			t->at = 0;
		/* Something else each time. */
		memcpy(t->buf, &before, sizeof(before));
		r = write_at(t->fd, t->buf, len, t->at);
		if (r == 0 && fdatasync(t->fd) < 0)
			r = -errno;
		if (r < 0)
			return r;
		t->at += len;
		now = clock_ns();
		histogram_add(h, now - before);
	} while (now - begun < ns);
	*ret_ns = now - begun;
	return 0;
}

enum disktest_verdict
disktest_judge(bool in_memory, uint64_t median_ns)
{
	if (in_memory)
		return DISKTEST_IN_MEMORY;
	return median_ns < DISKTEST_LIE_NS ? DISKTEST_LIES : DISKTEST_OK;
}
