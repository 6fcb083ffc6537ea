/* every: the kinds of calls that every.c knows, and counts as an array of unsigned long in this order. */
#ifndef EVERY_H
#define EVERY_H

#define EVERY_NAME(name) #name,
#define EVERY_KINDS(X) \
	X(own) X(lib) X(read) X(write) X(writev) X(pread) X(pwrite) X(recv) X(recvmsg) X(send) X(sendto) X(sendmsg) X(accept4) \
	X(connect) X(socket) X(bind) X(listen) X(setsockopt) X(getsockopt) X(getsockname) X(getpeername) X(epoll_create1) \
	X(epoll_ctl) X(epoll_wait) X(eventfd) X(timerfd_create) X(timerfd_settime) X(signalfd) X(open) X(openat) X(fsync) \
	X(fdatasync) X(fallocate) X(ftruncate) X(renameat) X(unlinkat) X(mkdirat) X(fstat) X(fstatat) X(fstatfs) X(fcntl) X(flock) \
	X(fdopendir) X(chmod) X(fchmod) X(pthread_create) X(open_memstream)

#endif
