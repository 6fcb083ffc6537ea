#include "node.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire.h"

#define START_MS 20000

static char folder[32];

const char *
nodes_folder(void)
{
	return folder;
}

const char *
nodes_file(char ret[static NODES_PATH_MAX], const char *name, const void *data, size_t len)
{
	FILE *f;

	ck_assert_int_lt(snprintf(ret, NODES_PATH_MAX, "%s/%s", folder, name), NODES_PATH_MAX);
	f = fopen(ret, "w");
	ck_assert(f != NULL && fchmod(fileno(f), 0600) == 0); /* it may be a key */
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
	return ret;
}

void
nodes_begin(void)
{
	snprintf(folder, sizeof(folder), "/tmp/ctXXXXXX");
	if (mkdtemp(folder) == NULL) {
		perror(folder);
		exit(1);
	}
}

void
nodes_end(bool failed)
{
	char command[128];

	if (failed) {
		snprintf(command, sizeof(command), "tail -n 60 %s/*/log", folder);
		(void)!system(command);
	}
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	(void)!system(command);
}

static const char *
program(char *buf, size_t size)
{
	const char *b = getenv("B");

	snprintf(buf, size, "%s/connectd", b != NULL ? b : "build");
	return buf;
}

/* ------------------------------------------------------------ configuration */

static void configure(struct node *n, const char *rest, va_list ap) __attribute__((format(printf, 2, 0)));

static void
configure(struct node *n, const char *rest, va_list ap)
{
	FILE *f = fopen(n->conf, "w");
	char *text;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(vasprintf(&text, rest, ap), 0);
	fprintf(f, "[node]\nname = %s\nstate = %s/state\nsocket = %s\nlog_level = debug\n", n->name, n->dir, n->socket);
	if (strstr(text, "max_disk = ") == NULL)
		fputs("segment = 1M\nmax_disk = 256M\n", f);
	fputs(text, f);
	free(text);
	ck_assert_int_eq(fclose(f), 0);
}

void
node_init(struct node *n, const char *name, const char *rest, ...)
{
	va_list ap;

	*n = (struct node){ .notify_fd = -1 };
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->dir, sizeof(n->dir), "%s/XXXXXX", folder);
	ck_assert_ptr_nonnull(mkdtemp(n->dir));
	snprintf(n->socket, sizeof(n->socket), "%s/sock", n->dir);
	snprintf(n->conf, sizeof(n->conf), "%s/conf", n->dir);
	snprintf(n->log, sizeof(n->log), "%s/log", n->dir);
	snprintf(n->notify, sizeof(n->notify), "%s/notify", n->dir);
	va_start(ap, rest);
	configure(n, rest, ap);
	va_end(ap);
}

void
node_configure(struct node *n, const char *rest, ...)
{
	va_list ap;

	va_start(ap, rest);
	configure(n, rest, ap);
	va_end(ap);
}

/* ------------------------------------------------------------------ process */

static void
open_notify(struct node *n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	unlink(n->notify);
	strcpy(a.sun_path, n->notify);
	n->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(n->notify_fd, 0);
	ck_assert_int_eq(bind(n->notify_fd, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void
spawn(struct node *n)
{
	char path[256];

	program(path, sizeof(path));
	open_notify(n);
	n->pid = fork();
	ck_assert_int_ge(n->pid, 0);
	if (n->pid == 0) {
		int log = open(n->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(log, STDERR_FILENO);
		setenv("NOTIFY_SOCKET", n->notify, 1);
		unsetenv("JOURNAL_STREAM");
		for (size_t i = 0; n->environment[i] != NULL; i++)
			putenv((char *)(uintptr_t)n->environment[i]);
		execl(path, path, "-c", n->conf, (char *)NULL);
		perror(path);
		_exit(127);
	}
}

static int
reap(struct node *n)
{
	int status;

	ck_assert_int_eq(waitpid(n->pid, &status, 0), n->pid);
	n->pid = 0;
	close(n->notify_fd);
	n->notify_fd = -1;
	node_forget_sessions(n);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool
node_await_ready(struct node *n)
{
	for (int waited = 0; waited < START_MS; waited += 50) {
		struct pollfd p = { .fd = n->notify_fd, .events = POLLIN };
		char text[512];
		ssize_t len;

		if (poll(&p, 1, 50) > 0) {
			len = recv(n->notify_fd, text, sizeof(text) - 1, 0);
			text[len > 0 ? len : 0] = '\0';
			if (strstr(text, "READY=1") != NULL)
				return true;
		} else {
			siginfo_t info = { 0 };

			if (waitid(P_PID, (id_t)n->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == n->pid)
				return false;
		}
	}
	ck_abort_msg("%s is not ready within %d ms", n->name, START_MS);
	return false;
}

static void
read_url(struct node *n)
{
	struct answer a;
	const Connectd__V1__Status *s;

	node_ask(n, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, &a);
	ck_assert_uint_eq(a.n, 1);
	s = (const Connectd__V1__Status *)a.items[0];
	n->url[0] = '\0';
	for (size_t i = 0; i < s->n_listeners && n->url[0] == '\0'; i++) {
		const char *url = strchr(s->listeners[i], ' ') + 1;

		if (strncmp(url, "unix:", 5) != 0)
			snprintf(n->url, sizeof(n->url), "%s", url);
	}
	answer_free(&a);
}

int
node_try_start(struct node *n)
{
	spawn(n);
	if (!node_await_ready(n))
		return reap(n);
	read_url(n);
	return 0;
}

void
node_start(struct node *n)
{
	ck_assert_msg(node_try_start(n) == 0, "%s did not start: see its log", n->name);
}

void
node_launch(struct node *n)
{
	spawn(n);
}

int
node_await_end(struct node *n)
{
	return reap(n);
}

int
node_refuses(struct node *n)
{
	spawn(n);
	ck_assert_msg(!node_await_ready(n), "%s started", n->name);
	return reap(n);
}

int
node_stop(struct node *n)
{
	ck_assert_int_gt(n->pid, 0);
	kill(n->pid, SIGTERM);
	return reap(n);
}

void
node_kill(struct node *n)
{
	ck_assert_int_gt(n->pid, 0);
	kill(n->pid, SIGKILL);
	ck_assert_int_eq(reap(n), 128 + SIGKILL);
}

void
node_done(struct node *n)
{
	if (n->pid > 0)
		node_kill(n);
}

bool
node_logged(const struct node *n, const char *text)
{
	char line[2048];
	bool found = false;
	FILE *f = fopen(n->log, "r");

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = strstr(line, text) != NULL;
	if (f != NULL)
		fclose(f);
	return found;
}

void
node_await_logged(const struct node *n, const char *text)
{
	for (int waited = 0; !node_logged(n, text); waited += 20) {
		ck_assert_msg(waited < START_MS, "%s does not log: %s", n->name, text);
		poll(NULL, 0, 20); /* nobody tells of new lines */
	}
}

uint64_t
node_journal_bytes(const struct node *n)
{
	char path[400];
	struct dirent *e;
	struct stat st;
	uint64_t bytes = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/state/journal", n->dir);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/state/journal/%s", n->dir, e->d_name);
		if (e->d_name[0] != '.' && stat(path, &st) == 0) /* it may be gone by now */
			bytes += (uint64_t)st.st_blocks * 512;
	}
	if (d != NULL)
		closedir(d);
	return bytes;
}

static void
slurp(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t len = f != NULL ? fread(out, 1, size - 1, f) : 0;

	out[len] = '\0';
	if (f != NULL)
		fclose(f);
}

int
node_run(const char *const *args, char *out, size_t out_size, char *err, size_t err_size)
{
	char path[256], out_path[64], err_path[64];
	const char *argv[16] = { program(path, sizeof(path)) };
	int status;
	pid_t pid;

	snprintf(out_path, sizeof(out_path), "%s/out", folder);
	snprintf(err_path, sizeof(err_path), "%s/err", folder);
	for (size_t i = 0; args[i] != NULL; i++)
		argv[i + 1] = args[i];
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
		dup2(open(err_path, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	slurp(out_path, out, out_size);
	slurp(err_path, err, err_size);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
