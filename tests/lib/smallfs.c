#include "smallfs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SMALL_MAX (UINT64_C(256) << 20)

static bool
run(const char *command)
{
	return system(command) == 0;
}

static bool
mount_ext4(const struct node *n, const char *state, unsigned mib)
{
	char command[512];

	snprintf(command, sizeof(command),
	    "truncate -s %uM %s/image && mkfs.ext4 -q -m 0 -O ^has_journal %s/image && mount -o loop %s/image %s && rmdir %s/lost+found", mib,
	    n->dir, n->dir, n->dir, state, state);
	return run(command) && chmod(state, 0700) == 0;
}

bool
smallfs_mount(const struct node *n, enum smallfs_kind kind, unsigned mib)
{
	char state[64], options[64];

	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	snprintf(state, sizeof(state), "%s/state", n->dir);
	snprintf(options, sizeof(options), "size=%uM,mode=0700", mib);
	ck_assert_int_eq(mkdir(state, 0700), 0);
	if (kind == SMALLFS_EXT4)
		return mount_ext4(n, state, mib);
	return mount("none", state, "tmpfs", 0, options) == 0;
}

static void
foreign(const struct node *n, char ret[static 64])
{
	snprintf(ret, 64, "%s/state/foreign", n->dir);
}

void
smallfs_eat(const struct node *n, uint64_t leave)
{
	static const char block[4096];
	char path[64], state[64];
	struct statvfs st;
	uint64_t take;
	int fd;

	foreign(n, path);
	snprintf(state, sizeof(state), "%s/state", n->dir);
	ck_assert_int_eq(statvfs(state, &st), 0);
	/* Never that of the machine. */
	ck_assert_uint_le((uint64_t)st.f_blocks * st.f_frsize, SMALL_MAX);
	take = (uint64_t)st.f_bavail * st.f_frsize;
	take = take > leave ? take - leave : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	ck_assert_int_ge(fd, 0);
	for (uint64_t done = 0; done < take; done += sizeof(block))
		if (write(fd, block, sizeof(block)) < (ssize_t)sizeof(block))
			break;
	ck_assert_int_eq(close(fd), 0);
}

void
smallfs_give_back(const struct node *n)
{
	char path[64];

	foreign(n, path);
	ck_assert_int_eq(unlink(path), 0);
}
