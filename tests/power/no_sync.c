/* The control arm of the power cuts: every sync says it went well, and nothing is synced (linked with --wrap). */
#include "disk.h"

int __wrap_disk_sync(struct disk_file *f);
int __wrap_disk_sync_folder(struct disk *d, const char *name);

int
__wrap_disk_sync(struct disk_file *f)
{
	(void)f;
	return 0;
}

int
__wrap_disk_sync_folder(struct disk *d, const char *name)
{
	(void)d, (void)name;
	return 0;
}
