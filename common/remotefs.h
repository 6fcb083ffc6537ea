/*
 * remotefs: which file systems are those of another machine, by the type that
 * statfs tells. Their syncs cannot be trusted with a journal.
 */
#ifndef REMOTEFS_H
#define REMOTEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/magic.h>

static inline bool
remotefs_is(uint32_t type)
{
	static const uint32_t remote[] = { NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC, AFS_SUPER_MAGIC,
		CODA_SUPER_MAGIC, V9FS_MAGIC, CEPH_SUPER_MAGIC };

	for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
		if (type == remote[i])
			return true;
	return false;
}

#endif
