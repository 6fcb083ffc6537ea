/*
 * verb_pair: introduce two nodes to each other by the fingerprints of their
 * keys. Prints what belongs into the configurations of both; changes nothing.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "admin.pb-c.h"
#include "connectd.h"
#include "ctl.h"
#include "names.h"
#include "pin.h"

#define ADDRESSES_MAX 16
#define CHECK_BYTES 10 /* of a fingerprint are read out: nobody makes a key with the same 80 bits */
#define CHECK_MAX (CHECK_BYTES * 5 / 2 + 1)
#define TLS_URL "tls://"

struct pair {
	struct ctl *ctl;
	const char *peer; /* the other node */
	char *node, *key; /* this one; key "": it has none yet */
	char addresses[ADDRESSES_MAX][300];
	size_t n_addresses;
	bool any; /* one of them is every address of this host */
	bool known; /* the peer has a section already */
	char pin[PIN_TEXT_MAX]; /* the other's; "": not known yet */
	const char *address;    /* the other's; NULL: it dials us */
	char typed[512];
};

/* "e3b0 c442 98fc 1c14 9afb": easier to read out than base64. */
static const char *
check_of(const char *key, char buf[static CHECK_MAX])
{
	uint8_t pin[PIN_BYTES] = { 0 };
	size_t n = 0;

	(void)pin_parse(key, pin, NULL);
	for (size_t i = 0; i < CHECK_BYTES; i++)
		n += (size_t)snprintf(buf + n, CHECK_MAX - n, "%s%02x", i > 0 && i % 2 == 0 ? " " : "", pin[i]);
	return buf;
}

/* -------------------------------------------------------------- this node */

/* Where others can dial it: "NAME tls://HOST:PORT". What stands for every address gets the host's name. */
static void
add_address(struct pair *p, const char *listener)
{
	static const char *const every[] = { TLS_URL "0.0.0.0:", TLS_URL "[::]:" };
	const char *url = strchr(listener, ' ');
	char host[256] = "HOST";

	if (url == NULL || strncmp(url + 1, TLS_URL, strlen(TLS_URL)) != 0 || p->n_addresses == ADDRESSES_MAX)
		return;
	url++;
	for (size_t i = 0; i < sizeof(every) / sizeof(*every); i++) {
		if (strncmp(url, every[i], strlen(every[i])) != 0)
			continue;
		if (gethostname(host, sizeof(host) - 1) < 0)
			strcpy(host, "HOST");
		snprintf(p->addresses[p->n_addresses++], sizeof(p->addresses[0]), TLS_URL "%.250s:%.20s", host, url + strlen(every[i]));
		p->any = true;
		return;
	}
	snprintf(p->addresses[p->n_addresses++], sizeof(p->addresses[0]), "%.290s", url);
}

static int
keep_status(const ProtobufCMessage *m, void *userdata)
{
	const Connectd__V1__Status *s = (const Connectd__V1__Status *)m;
	struct pair *p = userdata;

	p->node = strdup(s->node);
	p->key = strdup(s->key);
	for (size_t i = 0; i < s->n_listeners; i++)
		add_address(p, s->listeners[i]);
	return p->node != NULL && p->key != NULL ? 0 : -ENOMEM;
}

static int
keep_peer(const ProtobufCMessage *m, void *userdata)
{
	struct pair *p = userdata;

	p->known |= strcmp(((const Connectd__V1__Peer *)m)->name, p->peer) == 0;
	return 0;
}

static int
ask(struct pair *p)
{
	struct admin *a;
	int r = admin_open(p->ctl->socket, &a);

	if (r == 0)
		r = admin_ask(a, WIRE_ADMIN_STATUS, "", 0, &connectd__v1__status__descriptor, keep_status, p);
	if (r == 0)
		r = admin_ask(a, WIRE_ADMIN_PEERS, "", 0, &connectd__v1__peer__descriptor, keep_peer, p);
	if (r < 0)
		ctl_fail(p->ctl, "%s", a != NULL && r != -ENOMEM ? admin_error(a) : "out of memory");
	admin_close(a);
	return r;
}

/* ------------------------------------------------------------ the other one */

/* The fingerprint in a line, which may be one of a configuration. NULL: taken; or what is wrong. */
static const char *
take_pin(struct pair *p, char *line)
{
	const char *at = line + strspn(line, " \t"), *why;
	uint8_t pin[PIN_BYTES];

	if (strncmp(at, "fingerprint", 11) == 0) {
		at += 11;
		at += strspn(at, " \t=");
	}
	line = (char *)(uintptr_t)at;
	line[strcspn(line, " \t\r\n")] = '\0';
	if (pin_parse(line, pin, &why) < 0)
		return why;
	pin_text(pin, p->pin);
	if (strcmp(p->pin, p->key) != 0)
		return NULL;
	p->pin[0] = '\0';
	return "that is this node's own key";
}

/* NULL: it is one; or what is wrong. */
static const char *
address_fault(const char *text)
{
	struct names_url url;
	const char *why;

	if (names_url_parse(text, &url, &why) < 0)
		return why;
	return strncmp(text, TLS_URL, strlen(TLS_URL)) != 0 ? "not with TLS: fingerprints are for tls://HOST:PORT" : NULL;
}

/* A line from the terminal, without its end; NULL: there are no more. */
static char *
read_line(char buf[static 512])
{
	fflush(stdout);
	if (fgets(buf, 512, stdin) == NULL)
		return NULL;
	buf[strcspn(buf, "\n")] = '\0';
	return buf;
}

static void
ask_operator(struct pair *p)
{
	const char *why = NULL;
	char line[512];

	do {
		if (why != NULL)
			printf("    That is no fingerprint: %s.\n", why);
		printf("The line `fingerprint = sha256:...' that `connectctl pair %s' shows at %s (empty: later)\n> ", p->node, p->peer);
		if (read_line(line) == NULL || line[0] == '\0')
			return;
		why = take_pin(p, line);
	} while (why != NULL);
	do {
		if (why != NULL)
			printf("    That is no address: %s.\n", why);
		printf("An address of %s, tls://HOST:PORT (empty: it dials this node)\n> ", p->peer);
		if (read_line(p->typed) == NULL || p->typed[0] == '\0')
			return;
		why = address_fault(p->typed);
	} while (why != NULL);
	p->address = p->typed;
}

/* ------------------------------------------------------------------ showing */

static void
print_theirs(FILE *f, const char *margin, const struct pair *p)
{
	fprintf(f, "%s[peer \"%s\"]\n", margin, p->node);
	for (size_t i = 0; i < p->n_addresses; i++)
		fprintf(f, "%s%s%s", i == 0 ? margin : ", ", i == 0 ? "address = " : "", p->addresses[i]);
	fprintf(f, "%s%sfingerprint = %s\n", p->n_addresses > 0 ? "\n" : "", margin, p->key);
}

static void
print_ours(FILE *f, const char *margin, const struct pair *p)
{
	fprintf(f, "%s[peer \"%s\"]\n", margin, p->peer);
	if (p->address != NULL)
		fprintf(f, "%saddress = %s\n", margin, p->address);
	fprintf(f, "%sfingerprint = %s\n", margin, p->pin);
}

static void
show_theirs(const struct pair *p)
{
	printf("This is for the configuration of %s, where its operator puts it:\n\n", p->peer);
	print_theirs(stdout, "    ", p);
	if (p->any)
		printf("\n    (or another name or address of this host, by which %s can reach it)\n", p->peer);
	if (p->n_addresses == 0)
		printf("\n    (without an address, as this node listens nowhere with TLS: it has to dial %s)\n", p->peer);
	putchar('\n');
}

static void
show_ours(const struct pair *p)
{
	/* In the same order at both ends. */
	bool first = strcmp(p->node, p->peer) < 0;
	const char *names[] = { first ? p->node : p->peer, first ? p->peer : p->node };
	const char *keys[] = { first ? p->key : p->pin, first ? p->pin : p->key };
	char check[CHECK_MAX];

	if (p->known)
		printf("This belongs into the section that %s has in the configuration of this node; while a key is replaced,\n"
		       "both may stand there, with a comma between them:\n\n", p->peer);
	else
		printf("This is for the configuration of this node:\n\n");
	print_ours(stdout, "    ", p);
	if (p->address == NULL && p->n_addresses == 0)
		printf("\n    (one of the two must dial: give an address of %s, or this node a [listen] section)\n", p->peer);
	if (p->key[0] == '\0') {
		printf("\nThis node makes its own key when it reads that: `connectctl reload', and then `connectctl pair %s %s%s%s'\n"
		       "for what belongs into the configuration of %s.\n", p->peer, p->pin, p->address != NULL ? " " : "",
		    p->address != NULL ? p->address : "", p->peer);
		return;
	}
	printf("\nBoth operators see these two lines: read them to each other, over the phone, before you go on.\n\n");
	for (size_t i = 0; i < 2; i++)
		printf("    %-*s  %s\n", (int)(strlen(p->node) > strlen(p->peer) ? strlen(p->node) : strlen(p->peer)), names[i],
		    check_of(keys[i], check));
	printf("\nThen `connectctl reload', at both; `connectctl peers' shows the link: up, when both are done.\n");
}

static int
show_json(const struct pair *p)
{
	char *there = NULL, *here = NULL, check[CHECK_MAX];
	size_t len;
	FILE *f = open_memstream(&there, &len), *g = open_memstream(&here, &len);
	struct out *o;

	if (f != NULL && p->key[0] != '\0')
		print_theirs(f, "", p);
	if (g != NULL && p->pin[0] != '\0')
		print_ours(g, "", p);
	if (f == NULL || g == NULL || fclose(f) != 0 || fclose(g) != 0 || there == NULL || here == NULL)
		return ctl_fail(p->ctl, "out of memory");
	o = ctl_output(p->ctl);
	o->format->begin(o, NULL);
	out_string(o, "node", p->node);
	out_string(o, "key", p->key);
	out_string(o, "check", p->key[0] != '\0' ? check_of(p->key, check) : "");
	out_string(o, "peer", p->peer);
	out_string(o, "peer_key", p->pin);
	out_string(o, "peer_check", p->pin[0] != '\0' ? check_of(p->pin, check) : "");
	out_bool(o, "known", p->known);
	out_string(o, "section_there", there);
	out_string(o, "section_here", here);
	o->format->end(o);
	free(there);
	free(here);
	return ctl_output_end(p->ctl, o);
}

/* No key, and nothing that would have one made. */
static int
no_key(const struct pair *p)
{
	return ctl_fail(p->ctl,
	    "this node has no key yet, as nothing in its configuration needs TLS. Give it a [listen] section with a tls:// address and "
	    "`connectctl reload'; or, if it only dials, go on with the other's: connectctl pair %s FINGERPRINT ADDRESS", p->peer);
}

static int
pair(struct pair *p, int argc, char **argv)
{
	bool asks = argc == 1 && !p->ctl->json && isatty(STDIN_FILENO);
	const char *why = argc > 1 ? take_pin(p, argv[1]) : NULL;

	if (strcmp(p->node, p->peer) == 0)
		return ctl_fail(p->ctl, "%s is this node: name the other one", p->peer);
	if (why != NULL)
		return ctl_fail(p->ctl, "no fingerprint of %s: %s. `connectctl key' prints it there", p->peer, why);
	if (p->key[0] == '\0' && argc == 1)
		return no_key(p);
	if (p->ctl->json)
		return show_json(p);
	if (p->key[0] != '\0')
		show_theirs(p);
	if (asks)
		ask_operator(p);
	if (p->pin[0] != '\0')
		show_ours(p);
	else
		printf("With the line that its operator gets the same way go on: connectctl pair %s FINGERPRINT [tls://HOST:PORT]\n", p->peer);
	return ctl_print(p->ctl, "", 0);
}

int
verb_pair(struct ctl *ctl, int argc, char **argv)
{
	struct pair p = { .ctl = ctl };
	const char *why;
	int r;

	ctl_option(ctl, argc, argv, NULL);
	ctl_arguments(ctl, argc, 1, 3);
	argc -= optind;
	argv += optind;
	p.peer = argv[0];
	p.address = argc > 2 ? argv[2] : NULL;
	if (strchr(p.peer, '*') != NULL)
		ctl_usage(ctl, "%s: a family of nodes is known by a CA, not by fingerprints", p.peer);
	if (!names_node_ok(p.peer, strlen(p.peer)))
		ctl_usage(ctl, "%s: no name of a node: lower-case letters, digits, . and -", p.peer);
	why = p.address != NULL ? address_fault(p.address) : NULL;
	if (why != NULL)
		ctl_usage(ctl, "%s: %s", p.address, why);
	r = ask(&p) < 0 ? CTL_FAILED : pair(&p, argc, argv);
	free(p.node);
	free(p.key);
	return r;
}
