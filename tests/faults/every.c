/*
 * every: a library to preload into a program, whose n-th call of a kind then
 * fails. Where fault.c knows one disk, this knows most of what can fail.
 *
 *	EVERY_CALL=own     allocations by the program's own code
 *	EVERY_CALL=lib     allocations by the libraries that it uses
 *	EVERY_CALL=NAME    a call of that name, by anybody: read, accept4, fsync...
 *	EVERY_AT=n         the n-th of them in this process, counted from 1
 *	EVERY_FOR=n        and so many in all; 0: all from then on
 *	EVERY_DO=ENOMEM    with this (calls; allocations always with ENOMEM)
 *	EVERY_COUNT=FILE   keep there how many there were of each kind, in the order of every.h
 *
 * The first that fails is told on standard error: "fault: read 17: EIO".
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "every.h"

#define AS_ENUM(name) K_##name,
enum kind { EVERY_KINDS(AS_ENUM) N_KINDS };
static const char *const names[] = { EVERY_KINDS(EVERY_NAME) };

static struct {
	bool is_ready;
	int kind; /* that fails; -1: none */
	unsigned long at, count;
	int error;
	const char *error_name;
	uintptr_t from, to; /* the program's code */
	atomic_ulong *counts;
} every = { .kind = -1 };
static atomic_ulong private_counts[N_KINDS];

/* Before dlsym can tell where the real ones are it asks for some itself; so do memory checkers. */
static char early[65536] __attribute__((aligned(16)));
static size_t early_used;
/* dlsym is declared to call nothing here, and does: hence volatile. */
static __thread volatile bool asking __attribute__((tls_model("initial-exec")));

static const struct {
	const char *name;
	int error;
} errors[] = { { "EIO", EIO }, { "EINTR", EINTR }, { "EAGAIN", EAGAIN }, { "ENOMEM", ENOMEM }, { "EMFILE", EMFILE }, { "ENFILE", ENFILE },
	{ "ENOBUFS", ENOBUFS }, { "ENOSPC", ENOSPC }, { "EACCES", EACCES }, { "ECONNRESET", ECONNRESET }, { "ECONNABORTED", ECONNABORTED },
	{ "EPIPE", EPIPE } };

static int
program(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size, (void)arg;
	/* The first one told of is the program. */
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
			every.from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			every.to = every.from + info->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

static void
count_in(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *p;

	if (fd < 0 || ftruncate(fd, sizeof(private_counts)) < 0)
		abort();
	p = mmap(NULL, sizeof(private_counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	close(fd);
	every.counts = p;
}

__attribute__((constructor)) static void
begin(void)
{
	const char *call = getenv("EVERY_CALL"), *at = getenv("EVERY_AT"), *count = getenv("EVERY_FOR"), *what = getenv("EVERY_DO"),
		   *path = getenv("EVERY_COUNT");

	every.counts = private_counts;
	dl_iterate_phdr(program, NULL);
	every.error = ENOMEM;
	every.error_name = "ENOMEM";
	for (size_t i = 0; what != NULL && i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(what, errors[i].name) == 0) {
			every.error = errors[i].error;
			every.error_name = errors[i].name;
		}
	every.at = at != NULL ? strtoul(at, NULL, 10) : 0;
	every.count = count != NULL ? strtoul(count, NULL, 10) : 1;
	if (path != NULL)
		count_in(path);
	for (int i = 0; call != NULL && i < N_KINDS; i++)
		if (strcmp(call, names[i]) == 0)
			every.kind = i;
	every.is_ready = true;
	/* What the program starts is not meant. */
	unsetenv("LD_PRELOAD");
}

static bool
fails(enum kind kind)
{
	unsigned long n;
	char text[80];
	int kept = errno;

	if (!every.is_ready)
		return false;
	n = atomic_fetch_add(&every.counts[kind], 1) + 1;
	if ((int)kind != every.kind || every.at == 0 || n < every.at || (every.count > 0 && n >= every.at + every.count))
		return false;
	if (n == every.at) {
		ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
		int len = snprintf(text, sizeof(text), "fault: %s %lu: %s\n", names[kind], n, every.error_name);

		(void)!real(STDERR_FILENO, text, (size_t)len);
	}
	errno = kind <= K_lib ? ENOMEM : every.error;
	if (errno == 0)
		errno = kept;
	return true;
}

static void *
real(const char *name)
{
	void *p;

	asking = true;
	p = dlsym(RTLD_NEXT, name);
	asking = false;
	return p;
}

/* ------------------------------------------------------------------ memory -- */

static enum kind
whose(const void *caller)
{
	return (uintptr_t)caller >= every.from && (uintptr_t)caller < every.to ? K_own : K_lib;
}

static bool
is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static void *
from_early(size_t size)
{
	void *p = early + early_used;

	early_used += (size + 15) & ~(size_t)15;
	if (early_used > sizeof(early))
		abort();
	return p;
}

#define CALLER __builtin_return_address(0)

void *
malloc(size_t size)
{
	static void *(*next)(size_t);

	if (next == NULL && (asking || (next = (void *(*)(size_t))real("malloc")) == NULL))
		return from_early(size);
	return fails(whose(CALLER)) ? NULL : next(size);
}

void *
calloc(size_t n, size_t size)
{
	static void *(*next)(size_t, size_t);

	if (next == NULL && (asking || (next = (void *(*)(size_t, size_t))real("calloc")) == NULL))
		return from_early(n * size); /* it is zero */
	return fails(whose(CALLER)) ? NULL : next(n, size);
}

void *
realloc(void *p, size_t size)
{
	static void *(*next)(void *, size_t);

	if (is_early(p)) {
		size_t most = (size_t)(early + sizeof(early) - (char *)p);
		void *to = malloc(size);

		return to != NULL ? memcpy(to, p, size < most ? size : most) : NULL;
	}
	if (next == NULL)
		next = (void *(*)(void *, size_t))real("realloc");
	return fails(whose(CALLER)) ? NULL : next(p, size);
}

void
free(void *p)
{
	static void (*next)(void *);

	if (p == NULL || is_early(p))
		return;
	/* Asking frees as well, now and then. */
	if (next == NULL && (asking || (next = (void (*)(void *))real("free")) == NULL))
		return;
	next(p);
}

/* Their caller counts, not the C library. */
char *
strdup(const char *s)
{
	static void *(*next)(size_t);
	size_t len = strlen(s) + 1;
	void *p;

	if (next == NULL)
		next = (void *(*)(size_t))real("malloc");
	p = fails(whose(CALLER)) ? NULL : next(len);
	return p != NULL ? memcpy(p, s, len) : NULL;
}

char *
strndup(const char *s, size_t n)
{
	static void *(*next)(size_t);
	size_t len = strnlen(s, n);
	char *p;

	if (next == NULL)
		next = (void *(*)(size_t))real("malloc");
	p = fails(whose(CALLER)) ? NULL : next(len + 1);
	if (p == NULL)
		return NULL;
	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

int
vasprintf(char **ret, const char *fmt, va_list ap)
{
	int (*next)(char **, const char *, va_list) = (int (*)(char **, const char *, va_list))real("vasprintf");

	return fails(whose(CALLER)) ? -1 : next(ret, fmt, ap);
}

int
asprintf(char **ret, const char *fmt, ...)
{
	int (*next)(char **, const char *, va_list) = (int (*)(char **, const char *, va_list))real("vasprintf");
	va_list ap;
	int n;

	if (fails(whose(CALLER)))
		return -1;
	va_start(ap, fmt);
	n = next(ret, fmt, ap);
	va_end(ap);
	return n;
}

/* ------------------------------------------------------------------- calls -- */

#define CALL(type, bad, name, params, args) \
	type name params \
	{ \
		static type(*next) params; \
\
		if (next == NULL) \
			next = (type(*) params)real(#name); \
		return fails(K_##name) ? (bad) : next args; \
	}

CALL(ssize_t, -1, read, (int fd, void *buf, size_t len), (fd, buf, len))

/* One into an eventfd never fails while its counter is not full. */
static bool
is_event(int fd)
{
	char path[40], what[40] = "";
	int kept = errno;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, what, sizeof(what) - 1) < 0)
		what[0] = '\0';
	errno = kept;
	return strcmp(what, "anon_inode:[eventfd]") == 0;
}

ssize_t
write(int fd, const void *buf, size_t len)
{
	static ssize_t (*next)(int, const void *, size_t);

	if (next == NULL)
		next = (ssize_t(*)(int, const void *, size_t))real("write");
	return !is_event(fd) && fails(K_write) ? -1 : next(fd, buf, len);
}

CALL(ssize_t, -1, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n))
CALL(ssize_t, -1, pread, (int fd, void *buf, size_t len, off_t at), (fd, buf, len, at))
CALL(ssize_t, -1, pwrite, (int fd, const void *buf, size_t len, off_t at), (fd, buf, len, at))
CALL(ssize_t, -1, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
CALL(ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
CALL(ssize_t, -1, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags))
CALL(ssize_t, -1, sendto, (int fd, const void *buf, size_t len, int flags, const struct sockaddr *a, socklen_t n), (fd, buf, len, flags, a, n))
CALL(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
CALL(int, -1, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
CALL(int, -1, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
CALL(int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
CALL(int, -1, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
CALL(int, -1, listen, (int fd, int n), (fd, n))
CALL(int, -1, setsockopt, (int fd, int level, int o, const void *v, socklen_t n), (fd, level, o, v, n))
CALL(int, -1, getsockopt, (int fd, int level, int o, void *v, socklen_t *n), (fd, level, o, v, n))
CALL(int, -1, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
CALL(int, -1, getpeername, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
CALL(int, -1, epoll_create1, (int flags), (flags))
CALL(int, -1, epoll_ctl, (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev))
CALL(int, -1, epoll_wait, (int e, struct epoll_event *ev, int n, int ms), (e, ev, n, ms))
CALL(int, -1, eventfd, (unsigned n, int flags), (n, flags))
CALL(int, -1, timerfd_create, (int clock, int flags), (clock, flags))
CALL(int, -1, timerfd_settime, (int fd, int flags, const struct itimerspec *to, struct itimerspec *old), (fd, flags, to, old))
CALL(int, -1, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
CALL(int, -1, fsync, (int fd), (fd))
CALL(int, -1, fdatasync, (int fd), (fd))
CALL(int, -1, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
CALL(int, -1, ftruncate, (int fd, off_t len), (fd, len))
CALL(int, -1, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(int, -1, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
CALL(int, -1, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
CALL(int, -1, fstat, (int fd, struct stat *st), (fd, st))
CALL(int, -1, fstatat, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags))
CALL(int, -1, fstatfs, (int fd, struct statfs *st), (fd, st))
CALL(int, -1, flock, (int fd, int op), (fd, op))
CALL(DIR *, NULL, fdopendir, (int fd), (fd))
CALL(int, -1, chmod, (const char *path, mode_t mode), (path, mode))
CALL(int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
CALL(FILE *, NULL, open_memstream, (char **p, size_t *n), (p, n))
/* This one returns what is wrong. */
CALL(int, errno, pthread_create, (pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg), (t, a, fn, arg))

int
open(const char *path, int flags, ...)
{
	static int (*next)(const char *, int, ...);
	va_list ap;
	mode_t mode;

	if (next == NULL)
		next = (int (*)(const char *, int, ...))real("open");
	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(K_open) ? -1 : next(path, flags, mode);
}

int
openat(int fd, const char *path, int flags, ...)
{
	static int (*next)(int, const char *, int, ...);
	va_list ap;
	mode_t mode;

	if (next == NULL)
		next = (int (*)(int, const char *, int, ...))real("openat");
	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(K_openat) ? -1 : next(fd, path, flags, mode);
}

int
fcntl(int fd, int cmd, ...)
{
	static int (*next)(int, int, ...);
	va_list ap;
	void *arg;

	if (next == NULL)
		next = (int (*)(int, int, ...))real("fcntl");
	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fails(K_fcntl) ? -1 : next(fd, cmd, arg);
}
