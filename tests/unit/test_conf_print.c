/* conf: what it prints reads back to the same; the example and the manual know every key. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "conf_impl.h"

static void
tell(void *arg, const char *file, unsigned line, const char *text)
{
	(void)arg;
	ck_abort_msg("%s:%u: %s", file, line, text);
}

static struct conf *
read_text(const char *text)
{
	struct conf *c = NULL;

	ck_assert_int_eq(conf_read_text("f", text, strlen(text), tell, NULL, &c), 0);
	return c;
}

static char *
print(const struct conf *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (c)
		conf_print(c, out);
	else
		conf_print_example(out);
	fclose(out);
	return text;
}

static char *
slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	ck_assert_msg(f != NULL, "no %s: tests run in the top folder", path);
	ck_assert_uint_lt(fread(text, 1, (1 << 20) - 1, f), (1 << 20) - 1);
	fclose(f);
	return text;
}

/* Print, read that, print again: must be the same. Returns it. */
static char *
round_trip(const char *text)
{
	struct conf *c = read_text(text), *again;
	char *first = print(c), *second;

	again = read_text(first);
	second = print(again);
	ck_assert_str_eq(first, second);
	conf_free(c);
	conf_free(again);
	free(second);
	return first;
}

START_TEST(defaults_read_back)
{
	char *text = round_trip("[node]\nname = paris\n");

	/* Every key of [node] and of [queue "*"] is there, with its default. */
	for (unsigned kind = 0; kind < CONF_KINDS; kind++) {
		size_t n;
		const struct conf_key *k = conf_keys((enum conf_kind)kind, &n);

		for (size_t i = 0; i < n && (kind == CONF_NODE || kind == CONF_QUEUE); i++) {
			char line[256];

			if (!k[i].def)
				continue;
			snprintf(line, sizeof(line), "\n%s = %s\n", k[i].name, k[i].def);
			ck_assert_msg(strstr(text, line) != NULL, "not printed: %s", line);
		}
	}
	free(text);
}
END_TEST

START_TEST(everything_set_reads_back)
{
	char *text = round_trip("[node]\nname = paris\nstate = /s\nsocket = /x\nsocket_mode = 0600\nsocket_group = 0\nadmin_group = root\n"
	                        "create_queues = no\nlog_level = debug\nmax_message = 3M\nmax_partial = 5M\nqueue_linger = 0\nkeepalive = 1500ms\n"
	                        "sctp_heartbeat = none\nsctp_buffer = 64K\n"
	                        "[listen \"a\"]\naddress=tcp://[::1]:0,tcp://h:7\nplaintext = yes\nmtu=9000\n"
	                        "[peer \"berlin\"]\nplaintext = yes\nfrom=10.0.0.0/8,::1\nbackoff_min=5ms\nbackoff_max=1m\n"
	                        "[peer \"oslo\"]\naddress = tls://o:1\nfingerprint=sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	                        "[queue \"o*\"]\nttl = 90s\n"
	                        "[queue \"orders\"]\noverflow = reject\nsend = user:root,peer:berlin,unit:x.service\nreceive = none\nbrowse=default\n"
	                        "[queue \"berlin/x\"]\nmax_attempts = 3\nack_timeout = 1h\ndead_letter = graves\n"
	                        "[queue \"*\"]\nttl = 5s\noverflow = drop-oldest\nsend = group:7\ndurable = no\n");
	static const char *const expected[] = {
		"fingerprint = sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"key = key.pem\ncertificate = certificate.pem\nca = none\ncrl = none\n",
		"keepalive = 1500ms\n", "queue_linger = 0\n", "socket_mode = 0600\n", "socket_group = 0\n",
		"sctp_buffer = 64K\nsctp_heartbeat = none\n", "[listen \"a\"]\naddress = tcp://[::1]:0, tcp://h:7\nplaintext = yes\nmtu = 9000\n",
		"[peer \"berlin\"]\naddress = none\nfingerprint = none\nplaintext = yes\n"
		"from = 10.0.0.0/8, ::1\nmtu = 1200\nmax_backlog = none\nbackoff_min = 5ms\nbackoff_max = 1m\n",
		("[queue \"orders\"]\ndurable = no\nmax_messages = 1M\nmax_bytes = 1G\nmin_bytes = 1M\noverflow = reject\nttl = 5s\nmax_attempts = none\n"
		"ack_timeout = none\ndead_letter = *.dead\nsend = user:root, peer:berlin, unit:x.service\nreceive = none\nbrowse = default\n"),
		"[queue \"o*\"]\ndurable = no\nmax_messages = 1M\nmax_bytes = 1G\nmin_bytes = 1M\noverflow = drop-oldest\nttl = 90s\n",
	};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		ck_assert_msg(strstr(text, expected[i]) != NULL, "%s\nis not in\n%s", expected[i], text);
	free(text);
}
END_TEST

/* A list too long for inih is printed as one line, too. */
START_TEST(long_lists_read_back)
{
	char text[4096] = "[node]\nname = paris\n[queue \"q\"]\nsend = user:1";

	for (int i = 0; i < 200; i++)
		strcat(text, ", user:12345");
	free(round_trip(text));
}
END_TEST

START_TEST(the_example_states_the_defaults)
{
	char *example = print(NULL), *file = slurp("conf/connectd.conf");
	struct conf *c, *minimal = read_text("[node]\nname = paris\n");
	char *from_example, *from_minimal = print(minimal);

	ck_assert(strcmp(example, file) == 0); /* too long for ck_assert_str_eq to print */
	c = read_text(example);
	from_example = print(c);
	ck_assert_str_eq(from_example, from_minimal);
	for (unsigned kind = 0; kind < CONF_KINDS; kind++) {
		size_t n;
		const struct conf_key *k = conf_keys((enum conf_kind)kind, &n);

		ck_assert_uint_le(n, CONF_KEYS_MAX);
		for (size_t i = 0; i < n; i++) {
			char line[256];

			snprintf(line, sizeof(line), "\n%s%s = %s\n", strcmp(k[i].name, "name") == 0 ? "" : "#", k[i].name,
			    k[i].def ? k[i].def : k[i].sample);
			ck_assert_msg(strstr(example, line) != NULL, "not in the example: %s", line);
		}
	}
	for (const char *line = example; *line; line += strcspn(line, "\n") + 1)
		ck_assert_uint_le(strcspn(line, "\n"), 80);
	conf_free(c);
	conf_free(minimal);
	free(from_example);
	free(from_minimal);
	free(example);
	free(file);
}
END_TEST

static const char *
reload_word(enum conf_reload reload)
{
	return reload == CONF_RELOAD_NOW ? "reload" : reload == CONF_RELOAD_SESSIONS ? "new sessions" : "restart";
}

/* The manual has an item for each key and one line with default, range and effect of a reload. */
START_TEST(the_manual_knows_every_key)
{
	char *manual = slurp("docs/connectd.conf.5");

	for (unsigned kind = 0; kind < CONF_KINDS; kind++) {
		size_t n;
		const struct conf_key *k = conf_keys((enum conf_kind)kind, &n);
		char title[64];
		const char *section;

		snprintf(title, sizeof(title), "\n.Ss The %s section", conf_kind_name((enum conf_kind)kind));
		section = strstr(manual, title);
		ck_assert_msg(section != NULL, "no %s", title + 1);
		for (size_t i = 0; i < n; i++) {
			char item[64], range[128], facts[256];
			const char *at;

			snprintf(item, sizeof(item), "\n.It Ic %s\n", k[i].name);
			at = strstr(section, item);
			ck_assert_msg(at != NULL, "the manual lacks %s", k[i].name);
			conf_value_range(&k[i], range, sizeof(range));
			snprintf(facts, sizeof(facts), "\nDefault: %s; %s; %s.\n", k[i].def ? k[i].def : "nothing", range,
			    reload_word(k[i].reload));
			at += strlen(item) - 1;
			ck_assert_msg(strstr(at, facts) == strstr(at, "\nDefault: "), "the manual has no '%s' for %s", facts + 1, k[i].name);
		}
	}
	free(manual);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf_print");
	TCase *t = tcase_create("conf_print");
	SRunner *sr;
	int failed;

	tcase_add_test(t, defaults_read_back);
	tcase_add_test(t, everything_set_reads_back);
	tcase_add_test(t, long_lists_read_back);
	tcase_add_test(t, the_example_states_the_defaults);
	tcase_add_test(t, the_manual_knows_every_key);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
