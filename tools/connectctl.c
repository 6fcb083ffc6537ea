/*
 * connectctl: talk to a connectd daemon from a shell. Options, the table of
 * verbs, help; what the verbs do is in verb_*.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.h"
#include "ctl.h"
#include "names.h"
#include "text.h"
#include "units.h"

#define OPTIONS_MAX 16

static const struct verb verbs[] = {
	{ "send", "DEST [--type TYPE | --text STRING | --lines] [--memory | --durable] [--ttl D] [--priority P]\n"
	          "       [--wait accepted|stored|arrived] [--timeout D] [FILE]",
	    "Send FILE, or standard input, to a queue: here (orders) or at another node (berlin/orders).\n"
	    "Without --type, --text or --lines the input is one message, a google.protobuf.BytesValue.\n"
	    "  --type TYPE      the input is a serialized message of this type; unchanged\n"
	    "  --text STRING    send this text (a google.protobuf.StringValue)\n"
	    "  --lines          one text message a line, each sent as it is read\n"
	    "  --memory         the message need not survive a restart of a daemon\n"
	    "  --durable        refuse a queue that keeps messages in memory\n"
	    "  --ttl D          drop it when it was not consumed within this time: 30s, 5m\n"
	    "  --priority P     high, normal or low\n"
	    "  --wait LEVEL     accepted: the local daemon has it; stored: on disk (the default where the queue is on disk);\n"
	    "                   arrived: the destination's daemon has it\n"
	    "  --timeout D      give up when nothing got further for so long (exit 3); what was sent stays on its way\n",
	    verb_send },
	{ "recv", "QUEUE [--count N] [--timeout D] [--format text|raw|json] [--exclusive]",
	    "Take messages from a queue of this node and print them, each acked after it was written.\n"
	    "  --count N        end after N messages\n"
	    "  --timeout D      end when none came for so long\n"
	    "  --format text    one a line: text with newline as \\n, other types as TYPE BASE64 (default)\n"
	    "  --format json    one object a line\n"
	    "  --format raw     the content as it is; with --count 1 only\n"
	    "  --exclusive      be the queue's only consumer, or stand by until it is free\n",
	    verb_recv },
	{ "peek", "QUEUE [--limit N]",
	    "Show what waits in a queue, without taking it.\n"
	    "  --limit N        at most so many messages (default 20; 0: as many as the daemon shows)\n",
	    verb_peek },
	{ "status", "", "Show the daemon: who it is, how long it runs, how much of each limit is used.\n", verb_status },
	{ "peers", "", "Show the other nodes: link state, traffic, last error.\n", verb_peers },
	{ "key", "", "Print the fingerprint of this node's key, which its peers need: fingerprint = sha256:...\n", verb_key },
	{ "queues", "[QUEUE]", "Show the queues: what waits, who consumes, the books since start.\n", verb_queues },
	{ "clients", "", "Show the connected applications.\n", verb_clients },
	{ "events", "", "Show changes of state as they happen, until interrupted.\n", verb_events },
	{ "why", "QUEUE | PEER | ID [--queue | --peer]",
	    "Tell the one thing that holds what waits in a queue, a link to another node, or a message.\n"
	    "ID is a message's, as `connectctl --json peek' shows it.\n"
	    "  --queue, --peer  which is meant, if a queue and a peer have the same name (the queue)\n",
	    verb_why },
	{ "purge", "QUEUE [--yes]",
	    "Delete what waits in a queue. Asks first on a terminal.\n"
	    "  --yes            do not ask\n",
	    verb_purge },
	{ "move", "FROM TO [--count N]",
	    "Move what waits in one queue of this node to the end of another, in order.\n"
	    "What consumers hold stays. Every message is in one of the two at any time.\n"
	    "  --count N        the first N messages only\n",
	    verb_move },
	{ "hold", "QUEUE",
	    "Give nothing of a queue to consumers, or to the other node, until it is released.\n"
	    "Sending to it goes on. A durable queue stays held over a restart.\n",
	    verb_hold },
	{ "release", "QUEUE", "Let consumers, or the link, have what waits in a held queue.\n", verb_release },
	{ "peer", "adopt|forget NAME",
	    "Say what is to become of a peer whose state folder is not what it was.\n"
	    "  adopt NAME       what was refused last under that name (state-conflict, name-in-use) is the peer from now on\n"
	    "  forget NAME      forget all of it: whom was met, what came from it; it must not be connected\n",
	    verb_peer },
	{ "pair", "NAME [FINGERPRINT [ADDRESS]]",
	    "Introduce this node and another to each other: print what belongs into the configurations of both.\n"
	    "On a terminal the other's fingerprint and address are asked for. Changes nothing.\n"
	    "  NAME             the other node\n"
	    "  FINGERPRINT      that of its key: sha256:..., which `connectctl pair' or `connectctl key' shows there\n"
	    "  ADDRESS          where it listens, tls://HOST:PORT; none: it dials this node\n",
	    verb_pair },
	{ "reload", "",
	    "Have the daemon read its configuration, keys and certificates again, and say what came of it.\n"
	    "If anything is wrong with them nothing changes.\n", verb_reload },
	{ "renew", "",
	    "Give this node another identity, after its state folder was restored or copied.\n"
	    "Other nodes then ask for `connectctl peer adopt' of it; what waits here is sent again, flagged.\n",
	    verb_renew },
	{ "producers", "[forget NAME QUEUE [--uid UID]]",
	    "Show the named producers: whose they are, and the last number the daemon has of each.\n"
	    "  forget NAME QUEUE   forget one that is not open: opened again, it begins at 0\n"
	    "  --uid UID           whose, if several users have one of that name\n",
	    verb_producers },
	{ "backup", "DIR",
	    "Have the daemon copy its state folder into a new folder, as of now, while it goes on.\n"
	    "To start a node on such a copy is to restore it: see `State folders' in the manual page.\n",
	    verb_backup },
	{ "disktest", "DIR [--seconds S]",
	    "Measure what it costs to write and sync in a folder, as the journal does. Needs no daemon, leaves nothing behind.\n"
	    "  --seconds S      how long in all (default 4)\n",
	    verb_disktest },
	{ "bench", "--from SOCKET --to SOCKET --dest NODE/QUEUE [--size N] [--seconds S] [--memory] [--latency]",
	    "Measure: a producer at one daemon, a consumer at another, every message counted.\n"
	    "Use a queue that nothing else uses.\n"
	    "  --from SOCKET    the producer's daemon\n"
	    "  --to SOCKET      the consumer's daemon\n"
	    "  --dest QUEUE     the queue at the consumer's daemon, as the producer's calls it: berlin/bench\n"
	    "  --size N         bytes a message, 8 or more (default 1K)\n"
	    "  --seconds S      how long to send (default 5)\n"
	    "  --memory         memory messages, also where the queue is durable\n"
	    "  --latency        one message in flight, there and back, instead of throughput\n",
	    verb_bench },
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct option common_options[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char common_help[] =
    "  -s, --socket SOCKET   the daemon's socket (default: $CONNECTD_SOCKET, else " CONNECTD_DEFAULT_SOCKET ")\n"
    "      --json            answer as one JSON object\n"
    "  -h, --help            this help, or a verb's\n"
    "  -V, --version         the version\n";

static void
help(FILE *f)
{
	fputs("usage: connectctl [-s SOCKET] [--json] VERB ...\n\n", f);
	for (size_t i = 0; i < N_VERBS; i++)
		fprintf(f, "  %-9s %.*s\n", verbs[i].name, (int)strcspn(verbs[i].help, "\n"), verbs[i].help);
	fprintf(f, "\n%s\nconnectctl VERB -h tells a verb's options. Durations: 250ms, 10s, 5m, 1h, 7d.\n"
	    "Exit: 0 done, 1 failed, 2 usage, 3 timed out.\n", common_help);
}

static void
help_verb(FILE *f, const struct verb *v)
{
	fprintf(f, "usage: connectctl %s %s\n\n%s\n%s", v->name, v->args, v->help, common_help);
}

/* -------------------------------------------------------------- for verbs */

static void vtell(const struct ctl *ctl, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void
vtell(const struct ctl *ctl, const char *fmt, va_list ap)
{
	fputs("connectctl", stderr);
	if (ctl->verb != NULL)
		fprintf(stderr, " %s", ctl->verb->name);
	fputs(": ", stderr);
	text_safe_format(stderr, fmt, ap);
	putc('\n', stderr);
}

_Noreturn void
ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vtell(ctl, fmt, ap);
	va_end(ap);
	fprintf(stderr, "connectctl%s%s -h tells how it is used\n", ctl->verb != NULL ? " " : "",
	    ctl->verb != NULL ? ctl->verb->name : "");
	exit(CTL_USAGE);
}

int
ctl_fail(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vtell(ctl, fmt, ap);
	va_end(ap);
	return CTL_FAILED;
}

/* What every verb understands; false if it is the verb's own. */
static bool
common_option(struct ctl *ctl, int c)
{
	switch (c) {
	case 's':
		ctl->socket = optarg;
		return true;
	case 'j':
		ctl->json = true;
		return true;
	case 'h':
		if (ctl->verb != NULL)
			help_verb(stdout, ctl->verb);
		else
			help(stdout);
		exit(CTL_DONE);
	case 'V':
		puts("connectctl " CONNECTD_VERSION);
		exit(CTL_DONE);
	case '?':
		exit(CTL_USAGE);
	default:
		return false;
	}
}

int
ctl_option(struct ctl *ctl, int argc, char **argv, const struct option *own)
{
	struct option all[OPTIONS_MAX];
	size_t n = 0;
	int c;

	for (size_t i = 0; own != NULL && own[i].name != NULL; i++)
		all[n++] = own[i];
	memcpy(all + n, common_options, sizeof(common_options));
	do
		c = getopt_long(argc, argv, "s:hV", all, NULL);
	while (c != -1 && common_option(ctl, c));
	return c;
}

void
ctl_arguments(struct ctl *ctl, int argc, int min, int max)
{
	int n = argc - optind;

	if (n < min)
		ctl_usage(ctl, "an argument is missing: connectctl %s %s", ctl->verb->name, ctl->verb->args);
	if (n > max)
		ctl_usage(ctl, "too many arguments");
}

uint64_t
ctl_duration(struct ctl *ctl, const char *option, const char *s)
{
	uint64_t ms;

	if (units_duration_parse(s, &ms) < 0)
		ctl_usage(ctl, "--%s %s: a duration is a number and ms, s, m, h or d, as in 10s", option, s);
	return ms;
}

uint64_t
ctl_count(struct ctl *ctl, const char *option, const char *s)
{
	uint64_t n;

	if (units_count_parse(s, &n) < 0)
		ctl_usage(ctl, "--%s %s: not a number", option, s);
	return n;
}

uint64_t
ctl_size(struct ctl *ctl, const char *option, const char *s)
{
	uint64_t n;

	if (units_size_parse(s, &n) < 0)
		ctl_usage(ctl, "--%s %s: a size is a number of bytes, or of K, M or G, as in 64K", option, s);
	return n;
}

struct out *
ctl_output(const struct ctl *ctl)
{
	struct out *o = ctl->json ? out_json_new(stdout) : out_text_new(stdout);

	if (o == NULL) {
		ctl_fail(ctl, "out of memory");
		exit(CTL_FAILED);
	}
	return o;
}

static int
finish_output(const struct ctl *ctl)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CTL_DONE;
	/* Whoever closed the pipe knows. */
	return errno == EPIPE ? CTL_FAILED : ctl_fail(ctl, "standard output: %s", strerror(errno));
}

int
ctl_output_end(const struct ctl *ctl, struct out *o)
{
	out_free(o);
	return finish_output(ctl);
}

int
ctl_print(const struct ctl *ctl, const char *text, size_t len)
{
	fwrite(text, 1, len, stdout);
	return finish_output(ctl);
}

/* ------------------------------------------------------------------- main */

static const struct verb *
find_verb(const struct ctl *ctl, const char *name)
{
	const char *names[N_VERBS + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < N_VERBS; i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
		names[i] = verbs[i].name;
	}
	near = names_nearest(name, names);
	ctl_usage(ctl, "no verb `%s'%s%s%s", name, near != NULL ? "; did you mean `" : "", near != NULL ? near : "",
	    near != NULL ? "'?" : "");
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .socket = getenv("CONNECTD_SOCKET") };
	char program[] = "connectctl";
	char *called;
	int c;

	signal(SIGPIPE, SIG_IGN); /* a write then says EPIPE, and recv can return its message */
	if (ctl.socket == NULL || *ctl.socket == '\0')
		ctl.socket = CONNECTD_DEFAULT_SOCKET;
	argv[0] = program;
	/* + : stop at the verb, the options behind it are its own. */
	while ((c = getopt_long(argc, argv, "+s:hV", common_options, NULL)) != -1)
		common_option(&ctl, c);
	if (optind == argc) {
		help(stderr);
		return CTL_USAGE;
	}
	ctl.verb = find_verb(&ctl, argv[optind]);
	argc -= optind;
	argv += optind;
	optind = 0;
	if (asprintf(&called, "connectctl %s", ctl.verb->name) < 0)
		return ctl_fail(&ctl, "out of memory");
	argv[0] = called;
	c = ctl.verb->run(&ctl, argc, argv);
	free(called);
	return c;
}
