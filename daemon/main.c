/* main: the options of connectd, and its exit codes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "credentials.h"
#include "daemon.h"
#include "disk.h"
#include "log.h"
#include "loop.h"
#include "service.h"
#include "state.h"

#define DEFAULT_FILE CONNECTD_SYSCONFDIR "/connectd/connectd.conf"

#define EXTEND_S 30 /* more time for a start that goes on */
#define EXTEND_EACH_MS 1000

enum { EXIT_STOPPED = 0, EXIT_RUNNING = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

struct process {
	uint64_t told_ms; /* when it was told how far the journal is read */
	struct loop *loop;
	struct log log;
	struct service *service;
	struct daemon *daemon;
	bool stopping;
	int code;
};

static void
help(FILE *out)
{
	fputs("connectd: pass messages between the programs of several hosts\n"
	      "usage: connectd [-c FILE] [-n | -nv | -k]\n"
	      "  -c FILE  the configuration (" DEFAULT_FILE ")\n"
	      "  -n       check it, name every fault on standard error, exit 0 or 1\n"
	      "  -nv      check it, print every setting in force\n"
	      "  -k       print the fingerprint of this node's key, which is made if there is none\n"
	      "  -V       print the version\n"
	      "  -h       print this\n"
	      "exit: 0 stopped in order, 1 failed, 2 usage, 78 configuration or state folder refuse the start\n", out);
}

static void
fault(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	if (line > 0)
		fprintf(stderr, "%s:%u: %s\n", file, line, text);
	else
		fprintf(stderr, "%s: %s\n", file, text);
}

static int
check(const char *file, bool print)
{
	struct conf *conf;

	if (conf_read(file, fault, NULL, &conf) < 0)
		return EXIT_RUNNING;
	if (print)
		conf_print(conf, stdout);
	conf_free(conf);
	return fflush(stdout) == 0 ? EXIT_STOPPED : EXIT_RUNNING;
}

/* ----------------------------------------------------------------------- key -- */

static int
key_failed(const char *why)
{
	fprintf(stderr, "connectd: %s\n", why);
	return EXIT_CONFIG;
}

/* Beside a daemon that runs nothing is made: it would not know of it. */
static int
show_key(const struct conf_node *node)
{
	char why[CREDENTIALS_WHY_MAX], key[PIN_TEXT_MAX];
	struct tls_context *tls;
	struct disk *state;
	bool made, runs;
	int r = disk_open(node->state, true, &state);

	if (r < 0) {
		snprintf(why, sizeof(why), "state folder %s: %s%s", node->state, strerror(-r),
		    r == -EPERM ? "; run this as the user whose it is" : "");
		return key_failed(why);
	}
	runs = state_lock(state) < 0;
	r = credentials_load(state, node, runs ? CREDENTIALS_READ : CREDENTIALS_MAKE, &tls, &made, why);
	disk_close(state);
	if (r < 0)
		return key_failed(why);
	puts(pin_text(tls_context_own(tls)->key, key));
	tls_context_unref(tls);
	return fflush(stdout) == 0 ? EXIT_STOPPED : EXIT_RUNNING;
}

static int
key_of(const char *file)
{
	struct conf *conf;
	int code;

	if (conf_read(file, fault, NULL, &conf) < 0)
		return EXIT_CONFIG;
	code = show_key(conf_node(conf));
	conf_free(conf);
	return code;
}

/* ------------------------------------------------------------------- running -- */

static void
stopped(void *arg)
{
	struct process *p = arg;

	loop_stop(p->loop);
}

static void
on_stop(void *arg)
{
	struct process *p = arg;

	if (p->stopping) {
		log_warning(&p->log, NULL, "told to stop again: ending at once");
		p->code = EXIT_RUNNING;
		daemon_stop(p->daemon, stopped, p);
		return;
	}
	p->stopping = true;
	service_notify(p->service, "STOPPING=1\nSTATUS=stopping");
	daemon_stop(p->daemon, stopped, p);
}

/* Whatever came of it was logged. */
static void
reloaded(void *arg, int error, const char *text)
{
	(void)arg, (void)error, (void)text;
}

static void
on_reload(void *arg)
{
	struct process *p = arg;
	int r;

	if (!p->daemon || p->stopping)
		return;
	r = daemon_reload(p->daemon, reloaded, p);
	if (r < 0)
		log_warning(&p->log, NULL, "the configuration is not read again: %s", r == -EBUSY ? "it is being read" : strerror(-r));
}

static const struct service_events service_events = { on_stop, on_reload };

static int
passed(void *arg, const char *name, size_t i)
{
	struct process *p = arg;

	return service_take_passed(p->service, name, i);
}

static int
socket_rights(void *arg, const char *path, uint32_t mode, bool has_group, uint32_t group)
{
	(void)arg;
	return service_socket_rights(path, mode, has_group, group);
}

static void
status(void *arg, const char *text)
{
	struct process *p = arg;
	char line[200];

	snprintf(line, sizeof(line), "STATUS=%s", text);
	service_notify(p->service, line);
}

/* A large journal takes longer than systemd waits: told each second. */
static void
recovering(void *arg, uint64_t done, uint64_t total)
{
	struct process *p = arg;
	unsigned percent = total > 0 ? (unsigned)(100 * done / total) : 100;
	uint64_t now = loop_wall_ms(p->loop);
	char text[120];

	if (now - p->told_ms < EXTEND_EACH_MS)
		return;
	p->told_ms = now;
	snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%u000000\nSTATUS=reading the journal: %u %%", EXTEND_S, percent);
	service_notify(p->service, text);
}

/* Would another try without a change be of any use? */
static int
start_code(int error)
{
	switch (error) {
	case -EADDRINUSE:
	case -EADDRNOTAVAIL:
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -EAGAIN:
	case -EINTR:
	case -EIO:
	case -ENOSPC:
		return EXIT_RUNNING;
	default:
		return EXIT_CONFIG;
	}
}

static int
start(struct process *p, const char *file)
{
	const struct daemon_options opt = { .log = &p->log, .config = file, .passed = passed, .socket_rights = socket_rights, .status = status,
		.progress = recovering, .arg = p };
	struct conf *conf;
	char why[DAEMON_WHY_MAX];
	int r = conf_read(file, fault, NULL, &conf);

	if (r < 0)
		return start_code(r);
	p->log.level = (enum log_level)conf_node(conf)->log_level;
	p->log.node = conf_node(conf)->name;
	r = daemon_new(p->loop, conf, &opt, &p->daemon, why);
	if (r < 0) {
		log_error(&p->log, NULL, "cannot start: %s", why);
		p->log.node = NULL;
		conf_free(conf);
		return start_code(r);
	}
	if (service_left_passed(p->service))
		log_warning(&p->log, NULL, "nothing listens on the socket passed in as %s", service_left_passed(p->service));
	daemon_start(p->daemon);
	service_notify(p->service, "READY=1");
	return EXIT_STOPPED;
}

static int
run(const char *file)
{
	struct process p = { .loop = loop_new() };
	int r;

	log_init(&p.log);
	service_raise_limits();
	r = p.loop ? service_new(p.loop, &service_events, &p, &p.service) : -ENOMEM;
	if (r < 0) {
		log_error(&p.log, NULL, "cannot start: %s", strerror(-r));
		p.code = EXIT_RUNNING;
		goto out;
	}
	p.code = start(&p, file);
	if (p.code == EXIT_STOPPED && loop_run(p.loop) < 0) {
		log_error(&p.log, NULL, "the event loop failed");
		p.code = EXIT_RUNNING;
	}
out:
	daemon_free(p.daemon);
	service_free(p.service);
	loop_free(p.loop);
	return p.code;
}

int
main(int argc, char **argv)
{
	const char *file = DEFAULT_FILE;
	bool only_check = false, print = false, key = false;
	int c;

	while ((c = getopt(argc, argv, "c:nvkVh")) != -1) {
		switch (c) {
		case 'c':
			file = optarg;
			break;
		case 'n':
			only_check = true;
			break;
		case 'v':
			print = true;
			break;
		case 'k':
			key = true;
			break;
		case 'V':
			puts("connectd " CONNECTD_VERSION);
			return EXIT_STOPPED;
		case 'h':
			help(stdout);
			return EXIT_STOPPED;
		default:
			help(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc || (print && !only_check) || (key && only_check)) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (key)
		return key_of(file);
	return only_check ? check(file, print) : run(file);
}
