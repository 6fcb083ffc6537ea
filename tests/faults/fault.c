/*
 * fault: a library to preload into a daemon, whose calls for files below a
 * folder then fail, or end the process. For tests with a real disk; nothing in
 * the daemon knows of it.
 *
 *	FAULT_CALL=write|sync|any
 *	FAULT_AT=n      from the n-th such call of the process on, counted from 1
 *	FAULT_FOR=n     so many of them; 0 (also without): all
 *	FAULT_DO=EIO    fails
 *	FAULT_DO=ENOSPC fails
 *	FAULT_DO=lie    says that it went well, and does nothing (control arms)
 *	FAULT_DO=kill   ends the process instead of the call
 *	FAULT_DO=torn   ends it in the middle: half of the bytes are written
 *	FAULT_PATH=text only files whose path contains it; default /journal
 *
 * The first fault is told on standard error: "fault: write 17: EIO".
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_ulong calls;

static bool
concerns(int fd, const char *call)
{
	const char *wanted = getenv("FAULT_CALL"), *below = getenv("FAULT_PATH");
	char link[64], path[512];
	ssize_t n;

	if (wanted == NULL || (strcmp(wanted, call) != 0 && strcmp(wanted, "any") != 0))
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return strstr(path, below != NULL ? below : "/journal") != NULL;
}

/* What to do with this call: NULL: let it be. */
static const char *
fault(int fd, const char *call)
{
	const char *at = getenv("FAULT_AT"), *count = getenv("FAULT_FOR"), *what = getenv("FAULT_DO");
	unsigned long first = at != NULL ? strtoul(at, NULL, 10) : 0, n, many = count != NULL ? strtoul(count, NULL, 10) : 0;
	int kept = errno;
	bool mine = concerns(fd, call);

	errno = kept;
	if (!mine || what == NULL)
		return NULL;
	n = atomic_fetch_add(&calls, 1) + 1;
	if (n < first || (many > 0 && n >= first + many))
		return NULL;
	if (n == first)
		dprintf(STDERR_FILENO, "fault: %s %lu: %s\n", call, n, what);
	if (strcmp(what, "kill") == 0)
		kill(getpid(), SIGKILL);
	return what;
}

static int
failed(const char *what)
{
	errno = strcmp(what, "ENOSPC") == 0 ? ENOSPC : EIO;
	return -1;
}

static ssize_t
do_write(int fd, const void *buf, size_t len, off_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
	const char *what = fault(fd, "write");

	if (what == NULL)
		return real(fd, buf, len, offset);
	if (strcmp(what, "lie") == 0)
		return (ssize_t)len;
	if (strcmp(what, "torn") == 0) {
		real(fd, buf, len / 2, offset);
		kill(getpid(), SIGKILL);
	}
	return failed(what);
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return do_write(fd, buf, len, offset);
}

ssize_t
pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
	return do_write(fd, buf, len, offset);
}

static int
do_sync(int fd, const char *name)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	const char *what = fault(fd, "sync");

	if (what == NULL)
		return real(fd);
	if (strcmp(what, "lie") == 0)
		return 0;
	if (strcmp(what, "torn") == 0)
		kill(getpid(), SIGKILL);
	return failed(what);
}

int
fsync(int fd)
{
	return do_sync(fd, "fsync");
}

int
fdatasync(int fd)
{
	return do_sync(fd, "fdatasync");
}
