#include "proc.h"

#include <check.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind `key` in a status file. */
static uint64_t
status_value(const char *path, const char *key)
{
	char line[256];
	uint64_t value = UINT64_MAX;
	FILE *f = fopen(path, "r");

	ck_assert_msg(f != NULL, "%s", path);
	while (value == UINT64_MAX && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoull(line + strlen(key), NULL, 10);
	fclose(f);
	ck_assert_msg(value != UINT64_MAX, "no %s in %s", key, path);
	return value;
}

static uint64_t
kilobytes(pid_t pid, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return status_value(path, key) * 1024;
}

uint64_t
proc_memory(pid_t pid)
{
	return kilobytes(pid, "VmRSS:");
}

uint64_t
proc_peak(pid_t pid)
{
	return kilobytes(pid, "VmHWM:");
}

void
proc_reset_peak(pid_t pid)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", pid);
	f = fopen(path, "w");
	ck_assert_msg(f != NULL, "%s", path);
	ck_assert_int_ge(fputs("5", f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

uint64_t
proc_waits(pid_t pid)
{
	char path[320];
	struct dirent *e;
	uint64_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, e->d_name);
		n += status_value(path, "voluntary_ctxt_switches:");
	}
	closedir(d);
	return n;
}

uint64_t
proc_cpu_ms(pid_t pid)
{
	unsigned long user, system;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
	fclose(f);
	return (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t
proc_starved_ms(pid_t pid)
{
	unsigned long long waited = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%*u %llu", &waited) != 1)
		waited = 0;
	fclose(f);
	return waited / 1000000;
}

bool
proc_is_asleep(pid_t pid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state == 'S';
}
