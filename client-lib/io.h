/*
 * io: the library's door to socket and clock. One object per handle: an epoll
 * descriptor that lives as long as the handle and holds the socket of the
 * moment and a timer. The simulator replaces io.c.
 */
#ifndef IO_H
#define IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io;

/* NULL when out of descriptors or memory (errno). */
struct io *io_new(void);
/* Closes everything; leaves a parent's epoll set alone when called in a child. */
void io_free(struct io *io);

/* Is this a child of the process that made it? Then only io_free may follow. */
bool io_forked(const struct io *io);

/* The one descriptor. */
int io_fd(const struct io *io);

/* Start connecting to a Unix socket; 0 (connected, as Unix sockets are at once) or a negative errno. */
int io_connect(struct io *io, const char *path);
void io_disconnect(struct io *io);

/* As read and writev on a non-blocking socket: -EAGAIN, 0 at the end, another negative errno. */
ssize_t io_read(struct io *io, void *buf, size_t len);
ssize_t io_writev(struct io *io, const struct iovec *iov, int n);
/* Wake the descriptor when the socket takes bytes again. */
void io_want_write(struct io *io, bool on);

/* Wake the descriptor once after ms; UINT64_MAX: never. Replaces the one before, and clears it if it fired. */
void io_timer(struct io *io, uint64_t ms);

/* Milliseconds of CLOCK_BOOTTIME. */
uint64_t io_now(const struct io *io);

/* Block until the descriptor is ready or timeout_ms (-1: for ever) passed. 1, 0, or a negative errno. Clears a fired timer. */
int io_wait(struct io *io, int timeout_ms);

void io_random(struct io *io, void *buf, size_t len);

#endif
