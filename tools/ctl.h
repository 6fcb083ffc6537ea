/*
 * ctl: what the verbs of connectctl share: the options every verb takes, exit
 * codes, and how failures are told. Functions marked so leave the program.
 */
#ifndef CTL_H
#define CTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "output.h"

enum ctl_exit { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_TIMEOUT = 3 };

struct verb;

struct ctl {
	const char *socket; /* never NULL */
	bool json;
	const struct verb *verb;
};

struct verb {
	const char *name;
	const char *args; /* "QUEUE [--yes]" */
	const char *help; /* what it does and its options, for -h */
	/* argv[0] is for messages; the rest are the verb's. Returns the exit code. */
	int (*run)(struct ctl *ctl, int argc, char **argv);
};

int verb_send(struct ctl *ctl, int argc, char **argv);
int verb_recv(struct ctl *ctl, int argc, char **argv);
int verb_peek(struct ctl *ctl, int argc, char **argv);
int verb_status(struct ctl *ctl, int argc, char **argv);
int verb_peers(struct ctl *ctl, int argc, char **argv);
int verb_key(struct ctl *ctl, int argc, char **argv);
int verb_queues(struct ctl *ctl, int argc, char **argv);
int verb_clients(struct ctl *ctl, int argc, char **argv);
int verb_events(struct ctl *ctl, int argc, char **argv);
int verb_purge(struct ctl *ctl, int argc, char **argv);
int verb_peer(struct ctl *ctl, int argc, char **argv);
int verb_pair(struct ctl *ctl, int argc, char **argv);
int verb_reload(struct ctl *ctl, int argc, char **argv);
int verb_renew(struct ctl *ctl, int argc, char **argv);
int verb_move(struct ctl *ctl, int argc, char **argv);
int verb_hold(struct ctl *ctl, int argc, char **argv);
int verb_release(struct ctl *ctl, int argc, char **argv);
int verb_producers(struct ctl *ctl, int argc, char **argv);
int verb_backup(struct ctl *ctl, int argc, char **argv);
int verb_why(struct ctl *ctl, int argc, char **argv);
int verb_disktest(struct ctl *ctl, int argc, char **argv);
int verb_bench(struct ctl *ctl, int argc, char **argv);

/*
 * The next option of a verb, as getopt_long: a value of `own` (NULL: none), -1
 * at the end. -s, --json, -h and -V are dealt with inside; an unknown option
 * and -h leave the program.
 */
int ctl_option(struct ctl *ctl, int argc, char **argv, const struct option *own);

/* After the options: leaves the program unless min to max arguments are left. */
void ctl_arguments(struct ctl *ctl, int argc, int min, int max);

/* Values of options; each leaves the program with a sentence when malformed. */
uint64_t ctl_duration(struct ctl *ctl, const char *option, const char *s); /* ms */
uint64_t ctl_count(struct ctl *ctl, const char *option, const char *s);
uint64_t ctl_size(struct ctl *ctl, const char *option, const char *s);

/* "connectctl VERB: text" and how to get help; leaves with CTL_USAGE. */
_Noreturn void ctl_usage(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "connectctl VERB: text"; returns CTL_FAILED. */
int ctl_fail(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Standard output in the format asked for; the caller frees it. */
struct out *ctl_output(const struct ctl *ctl);

/* Finish and free the output: CTL_DONE, or CTL_FAILED when standard output failed (told, but for EPIPE). */
int ctl_output_end(const struct ctl *ctl, struct out *o);

/* Write a finished answer to standard output; the same results. */
int ctl_print(const struct ctl *ctl, const char *text, size_t len);

#endif
