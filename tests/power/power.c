/*
 * power: cut the power of a mounted file system at random moments, and see
 * that nothing is lost that was told to be on disk.
 *
 *   power --fs ext4|xfs [--cuts N] [--seed N] [--expect-loss]
 *
 * A file is the disk, behind a loop device, mounted in a mount namespace of
 * its own. The power is cut by the file system's own "shutdown" call without a
 * flush of its log: what it had not handed to the device by then never gets
 * there. Needs root. With --expect-loss a loss must be seen: for the build
 * without syncs, which shows that the others could fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "power.h"

/* EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same call; 2: without flushing the log. */
#define GOING_DOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2u
#define IMAGE_BYTES (320ll << 20) /* mkfs.xfs takes no less; the file is sparse */
#define START_MS 60000

struct bench {
	const char *fs;
	char base[32], image[64], mount[64], folder[80], device[32];
	uint64_t rng;
};

/* xorshift64 (Marsaglia 2003) */
static uint64_t
draw(struct bench *b, uint64_t bound)
{
	b->rng ^= b->rng << 13;
	b->rng ^= b->rng >> 7;
	b->rng ^= b->rng << 17;
	return b->rng % bound;
}

static void
die(const char *what)
{
	fprintf(stderr, "power: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ------------------------------------------------------------------ machine -- */

/* It goes by itself when the last user is gone. */
static void
attach(struct bench *b)
{
	struct loop_config lc = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control, image, device = -1;

	image = open(b->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (image < 0 || ftruncate(image, IMAGE_BYTES) < 0)
		die(b->image);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		die("/dev/loop-control");
	lc.fd = (unsigned)image;
	/* Somebody else may take the free one first. */
	for (int tries = 0; tries < 20; tries++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		if (n < 0)
			die("no loop device");
		snprintf(b->device, sizeof(b->device), "/dev/loop%d", n);
		device = open(b->device, O_RDWR | O_CLOEXEC);
		if (device < 0)
			die(b->device);
		if (ioctl(device, LOOP_CONFIGURE, &lc) == 0)
			break;
		if (errno != EBUSY)
			die("LOOP_CONFIGURE");
		close(device);
		device = -1;
	}
	if (device < 0)
		die("no loop device");
	close(control);
	close(image);
	/* device stays open: the loop lives as long as this process. */
}

static void
set_up(struct bench *b)
{
	char command[160];

	strcpy(b->base, "/tmp/power.XXXXXX");
	if (!mkdtemp(b->base))
		die("mkdtemp");
	snprintf(b->image, sizeof(b->image), "%s/image", b->base);
	snprintf(b->mount, sizeof(b->mount), "%s/mnt", b->base);
	snprintf(b->folder, sizeof(b->folder), "%s/state", b->mount);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("no mount namespace (root is needed)");
	if (mkdir(b->mount, 0700) < 0)
		die(b->mount);
	attach(b);
	unlink(b->image);
	snprintf(command, sizeof(command), strcmp(b->fs, "xfs") == 0 ? "mkfs.xfs -q -f %s" : "mkfs.ext4 -q -F %s", b->device);
	if (system(command) != 0)
		die(command);
	if (mount(b->device, b->mount, b->fs, MS_NOATIME, NULL) < 0)
		die("mount");
}

static void
tear_down(struct bench *b)
{
	umount2(b->mount, MNT_DETACH);
	rmdir(b->mount);
	rmdir(b->base);
}

static void
cut_power(struct bench *b)
{
	int fd = open(b->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint32_t how = NO_LOG_FLUSH;

	if (fd < 0 || ioctl(fd, GOING_DOWN, &how) < 0)
		die("shutting down the file system");
	close(fd);
}

static void
power_up(struct bench *b)
{
	if (umount2(b->mount, 0) < 0)
		die("umount");
	if (mount(b->device, b->mount, b->fs, MS_NOATIME, NULL) < 0)
		die("mounting again");
}

/* --------------------------------------------------------------------- cuts -- */

/* The next byte of the child: 0 if it has ended. */
static char
next_word(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c = 0;

	if (poll(&p, 1, ms) <= 0 || read(fd, &c, 1) != 1)
		return 0;
	return c;
}

/* After some syncs, somewhere on the way to the next. */
static void
wait_for_moment(struct bench *b, int fd)
{
	double until;

	for (uint64_t n = draw(b, 12); n > 0; n--)
		if (next_word(fd, 1000) == 0)
			return;
	until = cli_seconds() + (double)draw(b, 2000) / 1e6;
	while (cli_seconds() < until)
		;
}

/* One cycle. False: a violation. */
static bool
cycle(struct bench *b, struct power_log *log, bool *ret_unconfirmed)
{
	int fds[2], status;
	uint32_t synced;
	pid_t pid;

	if (pipe(fds) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(fds[0]);
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
		_exit(power_child(b->folder, log, draw(b, UINT64_MAX), fds[1]));
	}
	close(fds[1]);
	(void)draw(b, 2);
	if (next_word(fds[0], START_MS) != 'o') {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		close(fds[0]);
		printf("power %s: the store %s: %s\n", b->fs,
		    WIFEXITED(status) && WEXITSTATUS(status) == POWER_VIOLATED ? "broke its promise" : "does not start", log->why);
		return false;
	}
	wait_for_moment(b, fds[0]);
	/*
	 * The call is no moment, as a power cut is one: a sync that is under way may
	 * return without an error though the log goes nowhere any more.
	 * What counts is what was told before.
	 */
	synced = __atomic_load_n(&log->synced, __ATOMIC_ACQUIRE);
	cut_power(b);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(fds[0]);
	log->synced = synced;
	*ret_unconfirmed = log->n > log->synced;
	power_up(b);
	return true;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "fs", 1, NULL, 'f' }, { "cuts", 1, NULL, 'n' }, { "seed", 1, NULL, 's' },
		{ "expect-loss", 0, NULL, 'x' }, { NULL, 0, NULL, 0 } };
	struct bench b = { .fs = "ext4", .rng = (uint64_t)time(NULL) * 2654435761u | 1 };
	unsigned long cuts = 100, done = 0, hit = 0;
	bool expect = false, good = true;
	struct power_log *log;
	double begun;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'f') {
			b.fs = optarg;
		} else if (o == 'n') {
			cuts = cli_number(optarg);
		} else if (o == 's') {
			b.rng = cli_number(optarg) | 1;
		} else if (o == 'x') {
			expect = true;
		} else {
			fprintf(stderr, "usage: power --fs ext4|xfs [--cuts N] [--seed N] [--expect-loss]\n");
			return 2;
		}
	}
	log = mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (log == MAP_FAILED)
		die("mmap");
	set_up(&b);
	begun = cli_seconds();
	while (good && done < cuts) {
		bool unconfirmed = false;

		good = cycle(&b, log, &unconfirmed);
		done += good;
		hit += unconfirmed;
	}
	printf("power %s: %lu cuts in %.1f s, %lu of them hit something unconfirmed; %u messages; %u confirmed were lost, %u done came "
	       "back, %u were otherwise wrong\n",
	    b.fs, done, cli_seconds() - begun, hit, log->messages, log->lost, log->back, log->other);
	tear_down(&b);
	if (expect) {
		printf("power %s: %s\n", b.fs, good ? "WITHOUT SYNCS NOTHING WAS LOST" : "without syncs something is lost, as it must be");
		return good;
	}
	/* Cuts that hit nothing prove nothing. */
	if (good && hit * 2 < done) {
		printf("power %s: fewer than half of the cuts hit something unconfirmed\n", b.fs);
		return 1;
	}
	return !good;
}
