/*
 * conf_file: which files make up a configuration.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "conf_impl.h"
#include "disk.h"

#define FILE_MAX (1024 * 1024)
#define INCLUDED_MAX 1000 /* files */

struct include {
	const char *pattern;
	struct conf_list files;
	int error;
};

/* As in a shell, a leading dot has to be written. */
static int
take_file(void *arg, const char *file)
{
	struct include *inc = arg;

	if ((*file == '.' && *inc->pattern != '.') || !names_match(inc->pattern, file))
		return 0;
	inc->error = inc->files.n == INCLUDED_MAX ? -E2BIG : conf_list_add(&inc->files, file, strlen(file));
	return inc->error;
}

/* The names of the files that a pattern in a folder stands for. */
static int
list_files(const char *folder, struct include *inc)
{
	int err;

	if (!strchr(inc->pattern, '*'))
		return conf_list_add(&inc->files, inc->pattern, strlen(inc->pattern));
	err = disk_list_path(folder, take_file, inc);
	if (inc->error)
		return inc->error;
	return err == -ENOENT || err > 0 ? 0 : err;
}

/* Nothing that whoever wrote the file could mend: another try may go well. */
static bool
may_pass(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE || err == -EIO || err == -EINTR;
}

static int
read_included(struct conf *c, const char *folder, const char *file, const char *from, unsigned line, struct conf_faults *faults)
{
	char *path = NULL, *text;
	ssize_t len;
	int err;

	if (asprintf(&path, "%s%s", folder, file) < 0)
		return -ENOMEM;
	len = disk_slurp_path(path, FILE_MAX, &text);
	if (len < 0) {
		conf_fault(faults, from, line, "cannot read %.200s: %s", path, strerror((int)-len));
		err = may_pass((int)len) ? (int)len : 0;
	} else {
		err = conf_read_lines(c, path, text, (size_t)len, faults, NULL, NULL);
		free(text);
	}
	free(path);
	return err;
}

/* Read what the file `from` includes in its line. */
static int
read_includes(struct conf *c, const char *from, unsigned line, const char *include, struct conf_faults *faults)
{
	const char *base = strrchr(from, '/'), *last = strrchr(include, '/');
	struct include inc = { last ? last + 1 : include, { NULL, 0 }, 0 };
	char *folder = NULL;
	int err;

	/* Up to and with the last slash, so that it can go in front of each file. */
	if (asprintf(&folder, "%.*s%.*s", base && *include != '/' ? (int)(base - from) + 1 : 0, from,
	        last ? (int)(last - include) + 1 : 0, include) < 0)
		return -ENOMEM;
	if (strchr(folder, '*') && last && memchr(include, '*', (size_t)(last - include))) {
		conf_fault(faults, from, line, "include: only the last part of the path may hold *");
		free(folder);
		return 0;
	}
	err = list_files(*folder ? folder : ".", &inc);
	if (err < 0 && !may_pass(err)) {
		conf_fault(faults, from, line, "include: %s: %s", *folder ? folder : ".",
		    err == -E2BIG ? "too many files" : strerror(-err));
		err = 0;
	}
	for (size_t i = 0; i < inc.files.n && err == 0; i++)
		err = read_included(c, folder, inc.files.items[i], from, line, faults);
	conf_list_done(&inc.files);
	free(folder);
	return err;
}

/* Everything was read, or err says why not: check, and hand over or free. */
static int
finish(struct conf *c, const char *name, int err, struct conf_faults *faults, struct conf **ret)
{
	if (err == 0) {
		conf_check(c, name, faults);
		err = faults->n ? -EINVAL : conf_sort_queues(c);
	}
	if (err == 0) {
		*ret = c;
		return 0;
	}
	if (err != -EINVAL)
		conf_fault(faults, name, 0, "%s", strerror(-err));
	conf_free(c);
	return err;
}

int
conf_read_text(const char *name, const char *text, size_t len, conf_fault_fn fault, void *arg, struct conf **ret)
{
	struct conf_faults faults = { fault, arg, 0 };
	struct conf *c = conf_new();

	if (!c) {
		conf_fault(&faults, name, 0, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	return finish(c, name, conf_read_lines(c, name, text, len, &faults, NULL, NULL), &faults, ret);
}

int
conf_read(const char *path, conf_fault_fn fault, void *arg, struct conf **ret)
{
	struct conf_faults faults = { fault, arg, 0 };
	struct conf *c;
	char *text, *include = NULL;
	unsigned line = 0;
	ssize_t len = disk_slurp_path(path, FILE_MAX, &text);
	int err;

	if (len < 0) {
		conf_fault(&faults, path, 0, "cannot read the configuration: %s", strerror((int)-len));
		return (int)len;
	}
	c = conf_new();
	if (!c) {
		conf_fault(&faults, path, 0, "%s", strerror(ENOMEM));
		free(text);
		return -ENOMEM;
	}
	err = conf_read_lines(c, path, text, (size_t)len, &faults, &include, &line);
	if (err == 0 && include)
		err = read_includes(c, path, line, include, &faults);
	free(include);
	free(text);
	return finish(c, path, err, &faults, ret);
}
