/* Certificates that end: what operators are told of it, and when. */
#include <check.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operator.h"
#include "program.h"
#include "wire.h"

#define CREDENTIALS "key = %s/%s.key\ncertificate = %s/%s.pem\nca = %s/ca.pem\ncrl = %s/crl.pem\n"
#define QUICK "backoff_min = 1ms\nbackoff_max = 20ms\n"

static struct node paris, berlin;

/* In the folder of all nodes. */
static void __attribute__((format(printf, 1, 2)))
shell(const char *fmt, ...)
{
	char text[1500], command[1700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "cd %s && (umask 077; %s) >openssl.log 2>&1 || { cat openssl.log; exit 1; }", nodes_folder(), text);
	ck_assert_msg(system(command) == 0, "%s", text);
}

/* A CA whose certificate lasts so many days, and its CRL. */
static void
make_ca(int days, int crl_days)
{
	shell("printf '[ca]\\ndefault_ca = d\\n[d]\\ndatabase = index\\nnew_certs_dir = .\\nrand_serial = yes\\ndefault_md = sha256\\npolicy = p\\n"
	      "unique_subject = no\\ncopy_extensions = copy\\n[p]\\ncommonName = supplied\\n' >ca.conf; : >index\n"
	      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days %d -subj '/CN=Shop CA' -keyout ca.key -out ca.pem &&\n"
	      "openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -gencrl -crldays %d -out crl.pem", days, crl_days);
}

/* A certificate of a node; until: "-days 5", "-startdate ... -enddate ...". */
static void
make_certificate(const char *name, const char *until)
{
	shell("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s -addext subjectAltName=DNS:%s -keyout %s.key -out %s.csr &&\n"
	      "openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -batch -notext -in %s.csr %s -out %s.pem", name, name, name, name, name,
	    until, name);
}

static void
begin(void)
{
	const char *f = nodes_folder();

	node_init(&berlin, "berlin", CREDENTIALS "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n[peer \"paris\"]\n", f, "berlin", f, "berlin", f, f);
	node_start(&berlin);
	node_init(&paris, "paris", CREDENTIALS "[peer \"berlin\"]\naddress = %s\n" QUICK, f, "paris", f, "paris", f, f, berlin.url);
	node_start(&paris);
	node_await_peer(&paris, "berlin", "up");
}

static void
end(void)
{
	ck_assert_int_eq(node_stop(&paris), 0);
	ck_assert_int_eq(node_stop(&berlin), 0);
}

static unsigned
count_logged(const struct node *n, const char *text)
{
	char line[2000];
	FILE *f = fopen(n->log, "r");
	unsigned count = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		count += strstr(line, text) != NULL;
	fclose(f);
	return count;
}

/* It is an event, told to whoever listens; a reload tells it again. */
static void
check_event(const struct node *n, const char *kind, const char *change)
{
	uint64_t deadline = program_clock_ms() + PROGRAM_PATIENCE_MS;
	char command[200], expected[100], line[1000];
	const char *b = getenv("B");
	bool heard = false;
	FILE *f;

	snprintf(expected, sizeof(expected), "\"kind\":\"%s\"", kind);
	snprintf(command, sizeof(command), "exec %s/connectctl -s %s --json events", b ? b : "build", n->socket);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	setvbuf(f, NULL, _IONBF, 0);
	while (!heard) {
		struct pollfd p = { .fd = fileno(f), .events = POLLIN };

		ck_assert(program_clock_ms() < deadline);
		operator_does(n, "read again", "reload");
		while (!heard && poll(&p, 1, 200) == 1 && fgets(line, sizeof(line), f))
			heard = strstr(line, expected) && strstr(line, change) && strstr(line, "the certificate end");
	}
	/* It ends with its daemon. */
	ck_assert_int_eq(node_stop((struct node *)(uintptr_t)n), 0);
	pclose(f);
	node_start((struct node *)(uintptr_t)n);
}

START_TEST(told_before)
{
	make_ca(20, 3);
	make_certificate("berlin", "-days 300");
	make_certificate("paris", "-days 5");
	begin();
	/* Its own. */
	node_await_logged(&paris, "warning paris: the certificate ends ");
	node_await_logged(&paris, "the CA certificate of CN=Shop CA ends ");
	node_await_logged(&paris, "the CRL of CN=Shop CA ends ");
	ck_assert(operator_sees(&paris, "\"warnings\":[\"the certificate ends ", "status --json"));
	ck_assert(operator_sees(&paris, "warnings\n  the certificate ends ", "status"));
	/* That of a peer; berlin's own is good for long. */
	node_await_logged(&berlin, "warning berlin: peer paris: the certificate ends ");
	ck_assert(!node_logged(&berlin, "berlin: the certificate ends"));
	ck_assert(operator_sees(&berlin, "\"warning\":\"the certificate ends ", "peers --json"));
	ck_assert(operator_sees(&berlin, " days", "peers"));
	ck_assert(operator_sees(&berlin, "\"peer paris: the certificate ends ", "status --json"));
	ck_assert(operator_sees(&paris, "\"warning\":\"\"", "peers --json"));
	check_event(&paris, "daemon", "expiring");
	end();
}
END_TEST

/* Once, and once more when the configuration was read again. */
START_TEST(told_once)
{
	make_ca(400, 300);
	make_certificate("berlin", "-days 300");
	make_certificate("paris", "-days 5");
	begin();
	node_await_logged(&berlin, "peer paris: the certificate ends ");
	node_kill(&paris);
	node_await_peer(&berlin, "paris", "idle");
	node_start(&paris);
	node_await_peer(&berlin, "paris", "up");
	ck_assert_uint_eq(count_logged(&paris, ": the certificate ends "), 2);
	operator_does(&paris, "read again", "reload");
	node_await_logged(&paris, "was read again");
	for (uint64_t until = program_clock_ms() + PROGRAM_PATIENCE_MS; count_logged(&paris, ": the certificate ends ") < 3;) {
		ck_assert(program_clock_ms() < until);
		ck_assert(operator_sees(&paris, "warnings", "status"));
	}
	ck_assert_uint_eq(count_logged(&berlin, "peer paris: the certificate ends "), 1);
	/* Another certificate, and all is well. */
	make_certificate("paris", "-days 200");
	operator_does(&paris, "read again", "reload");
	ck_assert(operator_sees(&paris, "\"warnings\":[]", "status --json"));
	end();
}
END_TEST

/* It starts with what has ended, and says so; with pins, dates of peers are nobody's affair. */
START_TEST(told_after)
{
	char paris_key[64], berlin_key[64], out[16384], err[2000];
	const char *f = nodes_folder();
	const char *args[] = { "-k", "-c", NULL, NULL };

	make_ca(400, 300);
	make_certificate("paris", "-startdate 20200101000000Z -enddate 20210101000000Z");
	node_init(&paris, "paris", "key = %s/paris.key\ncertificate = %s/paris.pem\n", f, f);
	node_init(&berlin, "berlin", "%s", "");
	args[2] = paris.conf;
	ck_assert_msg(node_run(args, out, sizeof(out), err, sizeof(err)) == 0, "%s", err);
	snprintf(paris_key, sizeof(paris_key), "%.*s", (int)strcspn(out, "\n"), out);
	args[2] = berlin.conf;
	ck_assert_msg(node_run(args, out, sizeof(out), err, sizeof(err)) == 0, "%s", err);
	snprintf(berlin_key, sizeof(berlin_key), "%.*s", (int)strcspn(out, "\n"), out);
	node_configure(&berlin, "[listen \"lan\"]\naddress = tls://127.0.0.1:0\n[peer \"paris\"]\nfingerprint = %s\n", paris_key);
	node_start(&berlin);
	node_configure(&paris, "key = %s/paris.key\ncertificate = %s/paris.pem\n[peer \"berlin\"]\naddress = %s\nfingerprint = %s\n", f, f,
	    berlin.url, berlin_key);
	node_start(&paris);
	node_await_peer(&berlin, "paris", "up");
	node_await_logged(&paris, "error paris: the certificate ended 2021-01-01");
	ck_assert(operator_sees(&paris, "\"warnings\":[\"the certificate ended 2021-01-01\"]", "status --json"));
	ck_assert(operator_sees(&berlin, "\"warnings\":[]", "status --json"));
	ck_assert(operator_sees(&berlin, "\"warning\":\"\"", "peers --json"));
	check_event(&paris, "daemon", "expired");
	ck_assert(!node_logged(&berlin, "the certificate ended"));
	end();
}
END_TEST

/* The README's way to look at a fingerprint without this program. */
START_TEST(openssl_prints_the_same_fingerprint)
{
	char text[20000], command[2200], line[200], shown[128], err[2000], *at, *stop;
	FILE *f = fopen("README.md", "r");
	size_t len, n = 0;

	ck_assert_ptr_nonnull(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = '\0';
	fclose(f);
	node_init(&paris, "paris", "%s", "");
	ck_assert_int_eq(node_run((const char *const[]){ "-k", "-c", paris.conf, NULL }, shown, sizeof(shown), err, sizeof(err)), 0);
	at = strstr(text, "openssl x509");
	ck_assert_ptr_nonnull(at);
	/* A backslash at the end of a line goes on. */
	for (stop = strchr(at, '\n'); stop && stop[-1] == '\\';)
		stop = strchr(stop + 1, '\n');
	ck_assert_ptr_nonnull(stop);
	for (const char *p = at; p < stop && n < 1900;) {
		if (strncmp(p, "/var/lib/connectd", 17) == 0) {
			n += (size_t)snprintf(command + n, sizeof(command) - n, "%s/state", paris.dir);
			p += 17;
		} else {
			command[n++] = *p++;
		}
	}
	command[n] = '\0';
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_msg(fgets(line, sizeof(line), f) != NULL, "%s", command);
	ck_assert_int_eq(pclose(f), 0);
	line[strcspn(line, "\n")] = '\0';
	shown[strcspn(shown, "\n")] = '\0';
	ck_assert_msg(strncmp(shown, "sha256:", 7) == 0 && strcmp(shown + 7, line) == 0, "%s, not %s", line, shown);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("expiry");
	TCase *t = tcase_create("expiry");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, told_before);
	tcase_add_test(t, told_once);
	tcase_add_test(t, told_after);
	tcase_add_test(t, openssl_prints_the_same_fingerprint);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	nodes_begin();
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	nodes_end(failed > 0);
	srunner_free(sr);
	return failed ? 1 : 0;
}
