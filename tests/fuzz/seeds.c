/* seeds: makes seeds that are no texts, and dictionaries (dict). seeds FOLDER. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certs.h"
#include "dict.h"
#include "frame.h"
#include "tls.h"
#include "wire.h"

static const char *folder;
static uint8_t buf[64 << 10];
static size_t len;

static void
add(const void *data, size_t n)
{
	if (len + n > sizeof(buf))
		abort();
	memcpy(buf + len, data, n);
	len += n;
}

static void
add_text(const char *s)
{
	add(s, strlen(s));
}

static void
begin(char how)
{
	len = 0;
	add(&how, 1);
}

static void
save(const char *target, const char *name)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	f = fopen(path, "w");
	if (!f || fwrite(buf, 1, len, f) != len || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
}

/* ------------------------------------------------------------ certificates -- */

/* What a PEM text holds, as it is: a byte that changes there changes one thing, and not three by a third. */
static void
add_der(const char *pem)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned n = 0;

	for (const char *p = strchr(pem, '\n'); *p && *p != '-'; p++) {
		const char *d = strchr(digits, *p);

		if (!d)
			continue;
		bits = bits << 6 | (uint32_t)(d - digits);
		n += 6;
		if (n >= 8) {
			n -= 8;
			add(&(uint8_t){ (uint8_t)(bits >> n) }, 1);
		}
	}
}

static void
make_certs(void)
{
	static const char *const many[] = { "berlin", "oslo", "a.example", NULL };
	static const char *const no_names[] = { "*.example", "a name", "-x", "BERLIN\t", NULL };
	static const struct cert_wish wishes[] = {
		{ .name = "berlin", .key = CERT_P256 },
		{ .name = "berlin", .names = many, .key = CERT_P384 },
		{ .name = "oslo", .key = CERT_RSA2048, .from = "20260101000000", .to = "20270101000000" },
		{ .name = "ca", .key = CERT_P256, .is_ca = true },
		{ .name = "weak", .key = CERT_P192 },
		{ .name = "a name", .names = no_names, .key = CERT_P256 },
	};
	struct cert c, ca, leaf;
	uint8_t crl[1024];
	char name[32];

	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		cert_make(&wishes[i], &c);
		begin(1);
		add_text(c.pem);
		snprintf(name, sizeof(name), "pem-%zu", i);
		save("fuzz_cert", name);
		begin(1);
		add_der(c.pem);
		snprintf(name, sizeof(name), "der-%zu", i);
		save("fuzz_cert", name);
		begin(2);
		add_text(c.key);
		add_text("\n--next--\n");
		add_text(c.pem);
		snprintf(name, sizeof(name), "own-%zu", i);
		save("fuzz_cert", name);
	}
	ca = c;
	cert_make(&wishes[3], &ca);
	cert_make(&(struct cert_wish){ .name = "berlin", .key = CERT_P256, .issuer = &ca }, &leaf);
	begin(2);
	add_text(leaf.key);
	add_text("\n--next--\n");
	add_text(leaf.pem);
	add_text("\n--next--\n");
	add_text(ca.pem);
	add_text("\n--next--\n");
	add(crl, cert_revoke(&ca, 7, "491231235959Z", crl, sizeof(crl)));
	save("fuzz_cert", "signed");
	begin(0);
	add_text("sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	save("fuzz_cert", "pin");
}

/* ------------------------------------------------------------------ frames -- */

static void
add_frame(const struct wire_frame *f)
{
	uint8_t packed[1024];

	if (wire_size(f) > sizeof(packed))
		abort();
	add(packed, wire_pack(f, packed));
}

static void
add_hello(uint32_t role, const char *name)
{
	struct wire_frame f = { .kind = WIRE_HELLO };

	f.u.hello = (struct wire_hello){ .magic = WIRE_MAGIC, .version_min = 1, .version_max = 1, .role = role, .name = wire_string(name),
		.software = wire_string("fuzz 1"),
		.limits = { .max_message = 1 << 20, .max_flows = 64, .max_subscriptions = 8, .dictionary = 64, .window = 65536 } };
	if (role == WIRE_ROLE_PEER) {
		f.u.hello.store_id = wire_string("0123456789abcdef");
		f.u.hello.start_count = 1;
		f.u.hello.boot_id = 99;
		f.u.hello.nonce = 1;
		f.u.hello.dialled = wire_string("berlin");
	}
	add_frame(&f);
}

static void
add_item(enum wire_kind kind, uint32_t id, uint64_t first, const char *body)
{
	struct wire_item item = { .body = wire_string(body) };
	uint8_t packed[1024];
	size_t n = wire_put_run(kind, id, first, wire_item_size(&item), packed);

	n += wire_put_item(&item, packed + n);
	add(packed, n);
	add_text(body);
}

/* A frame with this needs more than one read, as streams are cut. */
static const char *
long_text(void)
{
	static char text[1000];

	memset(text, 'x', sizeof(text) - 1);
	return text;
}

/* What a program says: produces, takes it, asks the daemon about itself. */
static void
add_program(void)
{
	uint8_t ranges[8];
	size_t n = wire_put_number(ranges, 1);
	struct wire_frame f = { .kind = WIRE_DEFINE, .u.define = { WIRE_DEFINE_TYPE, 1, wire_string("type.googleapis.com/a.B") } };

	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = wire_string("h0"),
		.producer = wire_string("0123456789abcdef"), .instance = 5, .highest_used = 100 } };
	add_frame(&f);
	f.u.open_flow.flow = 2;
	f.u.open_flow.address = wire_string("oslo/h0");
	f.u.open_flow.producer = wire_string("name");
	f.u.open_flow.named = true;
	add_frame(&f);
	add_item(WIRE_TRANSFER, 1, 1, "hello");
	add_item(WIRE_TRANSFER, 1, 2, "again");
	add_item(WIRE_TRANSFER, 2, 1, "over there");
	add_item(WIRE_TRANSFER, 1, 3, long_text());
	f = (struct wire_frame){ .kind = WIRE_SUBSCRIBE, .u.subscribe = { .subscription = 1, .queue = wire_string("h0"),
		.credit_messages = 10, .credit_bytes = 65536 } };
	add_frame(&f);
	n += wire_put_number(ranges + n, 1);
	f = (struct wire_frame){ .kind = WIRE_ACK, .u.ack = { { ranges, n } } };
	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_ADMIN_REQUEST, .u.admin_request = { .id = 1, .verb = WIRE_ADMIN_QUEUES } };
	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_SETTLED, .u.settled = { 1, 2, true } };
	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { WIRE_CLOSE_NORMAL, wire_string("bye") } };
	add_frame(&f);
}

static void
add_peer(void)
{
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW, .u.open_flow = { .flow = 1, .address = wire_string("h0"), .highest_used = (UINT64_C(1) << 40) + 100 } };

	add_frame(&f);
	add_item(WIRE_TRANSFER, 1, (UINT64_C(1) << 40) + 1, "hello");
	add_item(WIRE_TRANSFER, 1, (UINT64_C(1) << 40) + 2, long_text());
	f = (struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = 1, .credit_messages = 10, .credit_bytes = 65536, .confirm_level = 1 } };
	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_CONFIRM, .u.confirm = { 1, (UINT64_C(1) << 40) + 1, 1 } };
	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_PING, .u.ping = { 7 } };
	add_frame(&f);
	f = (struct wire_frame){ .kind = WIRE_DRAIN };
	add_frame(&f);
}

static void
make_sessions(void)
{
	char name[32];

	for (unsigned who = 0; who < 21; who++) {
		begin((char)who);
		add(&(char){ (char)(who & 3) }, 1);
		if (who % 7 < 2 || who % 7 == 3)
			add_hello(who % 7 ? WIRE_ROLE_PEER : WIRE_ROLE_CLIENT, who % 7 ? "oslo" : "fuzz");
		if (who % 7 == 0 || who % 7 == 2)
			add_program();
		else
			add_peer();
		snprintf(name, sizeof(name), "stream-%u", who);
		save("fuzz_session", name);
	}
}

/* Each kind of frame with all its fields; by itself, and in a stream. */
static void
make_frames(void)
{
	uint8_t frame[DICT_RECORD_MAX], head[FRAME_HEADER_MAX];
	char name[32];
	size_t n;

	for (size_t i = 0; (n = dict_frame(i, frame)) > 0; i++) {
		len = 0;
		add(frame, n);
		snprintf(name, sizeof(name), "frame-%zu", i);
		save("fuzz_wire", name);
		len = 0;
		add(head, frame_header(head, (uint32_t)n));
		add(frame, n);
		save("fuzz_frame", name);
	}
}

/* Every verb of connectctl is answered with every record, for people and for programs. */
static void
make_answers(void)
{
	uint8_t record[DICT_RECORD_MAX];
	char name[32];
	size_t n;

	for (size_t i = 0; (n = dict_record(i, record)) > 0; i++)
		for (unsigned verb = 0; verb < 14; verb++) {
			begin((char)(verb | (i + verb) % 2 << 7));
			add("\3", 1); /* one record */
			add(record, n);
			snprintf(name, sizeof(name), "answer-%u-%zu", verb, i);
			save("fuzz_admin", name);
		}
	for (unsigned verb = 0; verb < 14; verb++) {
		begin((char)verb);
		add("\4", 1); /* a refusal */
		add_text("there is no such thing");
		snprintf(name, sizeof(name), "refusal-%u", verb);
		save("fuzz_admin", name);
	}
}

/* --------------------------------------------------------------------- TLS -- */

static bool
trust(void *arg, const struct tls_peer *peer, char why[static TLS_TEXT_MAX])
{
	(void)arg, (void)peer, (void)why;
	return true;
}

/* A whole handshake, and what each end hears of it, for an end that is alone with it. */
static void
make_handshake(void)
{
	static uint8_t heard[2][32 << 10];
	size_t n[2] = { 0 }, fed[2] = { 0 }, used;
	struct tls_context *contexts[2];
	struct tls *ends[2];
	struct tls_made made;
	char why[TLS_TEXT_MAX], name[32];
	bool is_ready[2] = { false };

	for (size_t i = 0; i < 2; i++) {
		struct tls_material m = { 0 };

		ck_assert_int_eq(tls_make_identity(i == 0 ? "berlin" : "oslo", why, &made), 0);
		m.key = (struct tls_blob){ made.key, strlen(made.key) };
		m.certificate = (struct tls_blob){ made.certificate, strlen(made.certificate) };
		ck_assert_int_eq(tls_context_new(&m, why, &contexts[i]), 0);
		ends[i] = tls_new(contexts[i], i == 0, trust, NULL);
	}
	for (unsigned turn = 0; turn < 20; turn++) {
		size_t i = turn % 2, out_len;
		const uint8_t *out;

		/* A piece at a time: one call takes one flight, or one record of it. */
		for (used = 1; !is_ready[i] && used > 0;) {
			is_ready[i] = tls_feed(ends[i], heard[i] + fed[i], n[i] - fed[i], &used) == TLS_READY;
			fed[i] += used;
		}
		out = tls_out(ends[i], &out_len);
		ck_assert_uint_le(n[!i] + out_len, sizeof(heard[0]));
		if (out_len > 0)
			memcpy(heard[!i] + n[!i], out, out_len);
		n[!i] += out_len;
		tls_sent(ends[i], out_len);
	}
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(is_ready[i]);
		for (unsigned at_once = 0; at_once < 2; at_once++) {
			begin((char)(1 | i << 1 | at_once << 2));
			for (size_t at = 0; at < n[i];) {
				size_t piece = at_once ? n[i] : 256;

				piece = piece > n[i] - at ? n[i] - at : piece;
				if (!at_once)
					add(&(uint8_t){ (uint8_t)(piece - 1) }, 1);
				add(heard[i] + at, piece);
				at += piece;
			}
			snprintf(name, sizeof(name), "alone-%u-%u", i, at_once);
			save("fuzz_tls", name);
		}
		tls_free(ends[i]);
		tls_context_unref(contexts[i]);
	}
}

/* ----------------------------------------------------------------- scripts -- */

/* Any byte means something there; of numbers, most are small, which is what is right. */
static void
make_scripts(const char *target, unsigned n)
{
	uint32_t rng = 1;
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		begin((char)i);
		for (unsigned k = 20u << i % 6; k > 0; k--) {
			uint8_t b = (uint8_t)((rng = rng * 1103515245 + 12345) >> 16);

			b = i & 1 && b >= 192 ? b / 2 : b;
			add(&b, 1);
		}
		snprintf(name, sizeof(name), "script-%u", i);
		save(target, name);
	}
}

START_TEST(make)
{
	make_certs();
	make_sessions();
	make_frames();
	make_answers();
	make_handshake();
	dict_make(folder);
	make_scripts("fuzz_protocol", 60);
	make_scripts("fuzz_tls", 24);
	make_scripts("fuzz_lib", 60);
	make_scripts("fuzz_sctp", 60);
	make_scripts("fuzz_recover", 60);
	make_scripts("fuzz_store", 60);
}
END_TEST

/* A suite, since what makes certificates is written for one. */
int
main(int argc, char **argv)
{
	TCase *t = tcase_create("seeds");
	Suite *s = suite_create("seeds");
	SRunner *sr = srunner_create(s);
	int failed;

	if (argc != 2)
		return 2;
	folder = argv[1];
	tcase_add_test(t, make);
	suite_add_tcase(s, t);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
