#include "credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20) /* of certificates and lists; a CRL of 10,000 entries has 400 KB */

struct file {
	char *data;
	size_t len;
};

static void
wipe(struct file *f)
{
	if (f->data)
		explicit_bzero(f->data, f->len);
	free(f->data);
}

static bool
is_in_state(const char *path)
{
	return *path != '/';
}

enum kind { PUBLIC, SECRET };

static int
slurp(struct disk *state, const char *path, enum kind kind, struct file *ret)
{
	ssize_t n;

	if (kind == SECRET)
		n = disk_slurp_secret(is_in_state(path) ? state : NULL, path, FILE_MAX, &ret->data);
	else if (is_in_state(path))
		n = disk_slurp(state, path, FILE_MAX, &ret->data);
	else
		n = disk_slurp_path(path, FILE_MAX, &ret->data);
	ret->len = n > 0 ? (size_t)n : 0;
	return n < 0 ? (int)n : 0;
}

static const char *
trouble(int error)
{
	return error == -ENOENT   ? "there is no such file" :
	       error == -EFBIG    ? "too large for what it should hold" :
	                            strerror(-error);
}

static int
read_one(struct disk *state, const struct conf_node *node, const char *what, const char *path, enum kind kind, struct file *ret,
    char why[static CREDENTIALS_WHY_MAX])
{
	int r = path ? slurp(state, path, kind, ret) : 0;
	const char *folder, *slash, *mode;

	if (r == 0)
		return 0;
	folder = is_in_state(path) ? node->state : "";
	slash = is_in_state(path) ? "/" : "";
	mode = is_in_state(path) ? "0600" : "0640"; /* a group may be given it that is there for this */
	/* The remedy alone names a long path whole. */
	if (kind == SECRET && r == -EPERM)
		snprintf(why, CREDENTIALS_WHY_MAX, "%s: others may read it, or own it: chmod %s %s%s%s, and see that it is root's or the daemon's own "
		         "user's", what, mode, folder, slash, path);
	else
		snprintf(why, CREDENTIALS_WHY_MAX, "%s %s%s%s: %s", what, folder, slash, path, trouble(r));
	return r;
}

static bool
is_missing(struct disk *state, const char *path)
{
	struct file f = { 0 };
	int r = is_in_state(path) ? slurp(state, path, PUBLIC, &f) : 0;

	wipe(&f);
	return r == -ENOENT;
}

/* The certificate last: a crash between the two leaves a key that was never used. */
static int
make(struct disk *state, const struct conf_node *node, char why[static CREDENTIALS_WHY_MAX])
{
	char text[TLS_TEXT_MAX];
	struct tls_made made;
	int r = tls_make_identity(node->name, text, &made);

	if (r < 0) {
		snprintf(why, CREDENTIALS_WHY_MAX, "a key could not be made: %s", text);
		return r;
	}
	r = disk_replace(state, node->key, made.key, strlen(made.key));
	if (r == 0)
		r = disk_replace(state, node->certificate, made.certificate, strlen(made.certificate));
	explicit_bzero(&made, sizeof(made));
	if (r < 0)
		snprintf(why, CREDENTIALS_WHY_MAX, "key and certificate could not be written to %s: %s", node->state, strerror(-r));
	return r;
}

static struct tls_blob
blob(const struct file *f)
{
	return (struct tls_blob){ f->data, f->len };
}

int
credentials_load(struct disk *state, const struct conf_node *node, enum credentials_mode mode, struct tls_context **ret,
    bool *ret_made, char why[static CREDENTIALS_WHY_MAX])
{
	struct file key = { 0 }, certificate = { 0 }, ca = { 0 }, crl = { 0 };
	char text[TLS_TEXT_MAX];
	int r;

	*ret_made = mode == CREDENTIALS_MAKE && is_missing(state, node->key) && is_missing(state, node->certificate);
	r = *ret_made ? make(state, node, why) : 0;
	if (r == 0)
		r = read_one(state, node, "key", node->key, SECRET, &key, why);
	if (r == 0)
		r = read_one(state, node, "certificate", node->certificate, PUBLIC, &certificate, why);
	if (r == -ENOENT && key.data && is_in_state(node->key) && is_in_state(node->certificate))
		snprintf(why, CREDENTIALS_WHY_MAX, "%s/%s is there, and %s is not: put the certificate beside its key, or remove the key to have "
		         "both made", node->state, node->key, node->certificate);
	if (r == 0)
		r = read_one(state, node, "ca", node->ca, PUBLIC, &ca, why);
	if (r == 0)
		r = read_one(state, node, "crl", node->crl, PUBLIC, &crl, why);
	if (r == 0) {
		r = tls_context_new(&(struct tls_material){ blob(&key), blob(&certificate), blob(&ca), blob(&crl) }, text, ret);
		if (r < 0)
			snprintf(why, CREDENTIALS_WHY_MAX, "%s (key %s, certificate %s)", text, node->key, node->certificate);
	}
	wipe(&key);
	wipe(&certificate);
	wipe(&ca);
	wipe(&crl);
	return r;
}
