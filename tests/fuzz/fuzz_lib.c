/*
 * fuzz_lib: what libconnectd reads from a daemon. The real library on the
 * simulator's socket and clock; the input is a script of what its program does
 * and what the daemon says, mostly what would be right, at times anything.
 * Each message that was sent is told how it ended once, whatever the daemon says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "connectd.h"
#include "frame.h"
#include "script.h"
#include "sim_doors.h"
#include "transport.h"
#include "wire.h"
#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HELD 8
#define STEPS 300

static struct script in;

/* The daemon's end. */
static struct {
	struct loop *loop;
	struct transport_listener *listener;
	struct transport *t; /* NULL: nobody */
	uint8_t in[WIRE_FRAME_MAX + 16];
	size_t len;
	bool rude; /* says nothing by itself */
	bool deaf;
	uint32_t flow, subscription;
	uint64_t number, tag;
} d;

/* The program's. */
static struct connectd *c;
static struct connectd_consumer *consumers[3];
static struct connectd_msg *held[HELD];
static size_t n_sent, n_told;

static uint64_t
take(size_t n)
{
	return script_take(&in, n);
}

static uint64_t
odd(uint64_t right)
{
	return script_odd(&in, right);
}

static struct wire_bytes
some_text(void)
{
	static const char *const texts[] = { "", "h0", "oslo/h0", "a sentence", "type.googleapis.com/a.B", "\xff\x1b[2J\n", "*/" };
	static char text[800];
	uint64_t b = take(1);

	if (b < 230)
		return wire_string(texts[b % 7]);
	memset(text, (int)take(1), sizeof(text));
	return wire_bytes(text, take(2) % sizeof(text));
}

/* ----------------------------------------------------------------- daemon -- */

static void
say(const void *data, size_t len)
{
	union {
		const void *in;
		void *out;
	} bytes = { data };
	struct iovec iov = { bytes.out, len };

	if (d.t && len > 0)
		d.t->ops->writev(d.t, &iov, 1);
}

static void
say_frame(const struct wire_frame *f)
{
	static uint8_t buf[WIRE_FRAME_MAX];

	if (wire_size(f) <= sizeof(buf))
		say(buf, wire_pack(f, buf));
}

static void
say_hello(bool well)
{
	struct wire_frame f = { .kind = WIRE_HELLO };
	struct wire_hello *h = &f.u.hello;

	h->magic = WIRE_MAGIC;
	h->version_min = h->version_max = WIRE_VERSION;
	h->role = WIRE_ROLE_DAEMON;
	h->name = wire_string("berlin");
	h->boot_id = 7;
	h->limits = (struct wire_limits){ 1u << 20, 64, 64, 64, 1u << 20 };
	if (!well) {
		h->magic = (uint32_t)odd(WIRE_MAGIC);
		h->version_min = (uint32_t)odd(1);
		h->version_max = (uint32_t)odd(1);
		h->role = (uint32_t)odd(WIRE_ROLE_DAEMON);
		h->name = some_text();
		h->boot_id = odd(7);
		h->limits.max_message = odd(1u << 20);
		h->limits.max_flows = (uint32_t)odd(64);
		h->limits.max_subscriptions = (uint32_t)odd(64);
		h->limits.dictionary = (uint32_t)odd(64);
		h->limits.window = odd(1u << 20);
		h->idle_timeout_ms = (uint32_t)odd(1000);
	}
	say_frame(&f);
}

static void
answer_flow(uint32_t flow)
{
	struct wire_frame f = { .kind = WIRE_FLOW_STATE };

	f.u.flow_state = (struct wire_flow_state){ .flow = flow, .credit_messages = 100, .credit_bytes = 1 << 20, .confirm_level = 1 };
	say_frame(&f);
}

static void
heard(const struct wire_frame *f)
{
	struct wire_frame r = { .kind = WIRE_SUBSCRIBED };

	if (f->kind == WIRE_OPEN_FLOW)
		d.flow = f->u.open_flow.flow;
	if (f->kind == WIRE_SUBSCRIBE)
		d.subscription = f->u.subscribe.subscription;
	if (f->kind == WIRE_TRANSFER) {
		d.flow = f->u.run.id;
		d.number = f->u.run.first + f->u.run.n_items - 1;
	}
	if (d.rude)
		return;
	if (f->kind == WIRE_HELLO)
		say_hello(true);
	if (f->kind == WIRE_OPEN_FLOW)
		answer_flow(d.flow);
	if (f->kind == WIRE_SUBSCRIBE) {
		r.u.subscribed.subscription = d.subscription;
		say_frame(&r);
	}
}

static void
hang_up(void)
{
	if (d.t)
		d.t->ops->close(d.t, true);
	d.t = NULL;
	d.len = 0;
	d.tag = d.number = 0;
}

static void
on_data(void *arg)
{
	size_t used = 0;
	struct frame fr;
	ssize_t n;

	(void)arg;
	if (d.deaf) {
		d.t->ops->want_read(d.t, false);
		return;
	}
	n = d.t->ops->read(d.t, d.in + d.len, sizeof(d.in) - d.len);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		hang_up();
		return;
	}
	d.len += (size_t)n;
	while (d.t && frame_decode(d.in + used, d.len - used, WIRE_FRAME_MAX, &fr) == 1) {
		struct wire_frame f;

		if (wire_unpack(fr.data, fr.len, &f) != 0)
			abort(); /* the library speaks well, whoever listens */
		heard(&f);
		used += fr.used;
	}
	memmove(d.in, d.in + used, d.len - used);
	d.len -= used;
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
on_down(void *arg, int error, const char *text)
{
	(void)arg, (void)error, (void)text;
	hang_up();
}

static const struct transport_events events = { .up = nothing, .readable = on_data, .writable = nothing, .down = on_down };

static void
accepted(void *arg, struct transport *t)
{
	(void)arg;
	hang_up();
	d.t = t;
	d.deaf = false;
	transport_set_events(t, &events, NULL);
}

static struct wire_numbers
some_ranges(void)
{
	static uint8_t buf[40];
	size_t len = wire_put_number(buf, odd(d.number > 3 ? d.number - 3 : 1));

	len += wire_put_number(buf + len, odd(d.number));
	return (struct wire_numbers){ buf, take(1) < 250 ? len : 1 };
}

static void
say_about_flow(void)
{
	struct wire_frame f = { .kind = WIRE_CONFIRM };
	uint64_t b = take(1);

	if (b < 80)
		f.u.confirm = (struct wire_confirm){ (uint32_t)odd(d.flow), odd(d.number), (uint32_t)odd(1 + b % 3) };
	else if (b < 110)
		f = (struct wire_frame){ .kind = WIRE_REJECT,
			.u.reject = { (uint32_t)odd(d.flow), odd(d.number), (uint32_t)odd(b % 9), some_text() } };
	else if (b < 160)
		f = (struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = { .flow = (uint32_t)odd(d.flow),
			.level = (uint32_t)odd(b & 1 ? 2 + b % 3 : 16 + b % 5), .ranges = some_ranges(), .reason = some_text() } };
	else if (b < 200)
		f = (struct wire_frame){ .kind = WIRE_CREDIT, .u.credit = { .flow = (uint32_t)odd(d.flow), .session = b == 161,
			.messages = odd(1000), .bytes = odd(1 << 22), .number = odd(d.number) } };
	else
		f = (struct wire_frame){ .kind = WIRE_FLOW_STATE, .u.flow_state = { .flow = (uint32_t)odd(d.flow), .verdict = (uint32_t)odd(b % 8),
			.reason = some_text(), .accepted = odd(d.number), .confirmed = odd(d.number), .epoch = odd(0), .durable = b & 1,
			.partial_number = odd(0), .partial_bytes = odd(0), .credit_messages = odd(100), .credit_bytes = odd(1 << 20),
			.confirm_level = (uint32_t)odd(1), .waiting = some_ranges() } };
	say_frame(&f);
}

static void
say_deliver(void)
{
	static uint8_t body[70000], packed[400], buf[140000];
	struct wire_item item = { 0 };
	struct wire_header h = { wire_string("name"), wire_string("value") };
	struct wire_packed p;
	uint8_t headers[64];
	uint64_t b = take(1);
	size_t len;

	item.body = wire_bytes(body, odd(take(1)) % (b & 1 ? 66000 : 300));
	if (b & 2) {
		item.total = odd(100000);
		item.offset = odd(b & 4 ? item.body.len : 0);
	}
	if (b & 8) {
		item.type = (uint32_t)odd(1);
		item.origin = (uint32_t)odd(1);
		item.attempt = (uint32_t)odd(1);
		item.flags = (uint32_t)odd(0);
		item.counter = odd(5);
	}
	if (b & 16) {
		p = (struct wire_packed){ some_text(), some_text(), wire_bytes(headers, wire_pack_header(&h, headers)) };
		if (wire_size_packed(&p) <= sizeof(packed))
			item.packed = wire_bytes(packed, wire_pack_packed(&p, packed));
		if (b & 32)
			packed[take(1) % sizeof(packed)] = (uint8_t)take(1);
	}
	len = wire_put_run(b & 64 && take(1) > 250 ? WIRE_TRANSFER : WIRE_DELIVER, (uint32_t)odd(d.subscription), odd(d.tag + 1),
	    wire_item_size(&item), buf);
	len += wire_put_item(&item, buf + len);
	memcpy(buf + len, body, item.body.len);
	say(buf, len + item.body.len);
	d.tag++;
}

static void
say_other(void)
{
	static uint8_t buf[400];
	struct wire_frame f = { .kind = WIRE_PING };
	struct wire_origin o = { 0 };
	uint64_t b = take(1);

	f.u.ping.token = b;
	if (b < 90) {
		f = (struct wire_frame){ .kind = WIRE_DEFINE, .u.define = { (uint32_t)odd(1 + b % 2), (uint32_t)odd(1), some_text() } };
		if (b & 1) {
			o = (struct wire_origin){ some_text(), (uint32_t)odd(1000), some_text(), some_text(), (uint32_t)odd(1), odd(7) };
			if (wire_size_origin(&o) <= sizeof(buf))
				f.u.define.value = wire_bytes(buf, wire_pack_origin(&o, buf));
		}
	} else if (b < 130) {
		f = (struct wire_frame){ .kind = WIRE_SUBSCRIBED,
			.u.subscribed = { (uint32_t)odd(d.subscription), (uint32_t)odd(b % 8), some_text(), b & 1 } };
	} else if (b < 160) {
		f = (struct wire_frame){ .kind = WIRE_UNSUBSCRIBE, .u.unsubscribe = { (uint32_t)odd(d.subscription), (uint32_t)odd(b % 8), some_text() } };
	} else if (b < 170) {
		f.kind = WIRE_PONG;
	} else if (b < 180) {
		f.kind = WIRE_DRAIN;
	} else if (b < 195) {
		f = (struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { (uint32_t)odd(b % 14), some_text() } };
	} else if (b < 205) {
		f = (struct wire_frame){ .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = 1, .records = some_text() } };
	} else if (b < 215) {
		f = (struct wire_frame){ .kind = WIRE_RESUME, .u.resume = { (uint32_t)odd(d.flow), odd(1) } };
	} else if (b < 225) {
		say_hello(false);
		return;
	}
	say_frame(&f);
}

static void
say_line(void)
{
	uint8_t junk[64];
	uint64_t b = take(1), n = take(1) % sizeof(junk);

	if (b < 40) {
		hang_up();
	} else if (b < 80) {
		d.rude = !d.rude;
	} else if (b < 100) {
		d.deaf = !d.deaf;
		if (d.t)
			d.t->ops->want_read(d.t, !d.deaf);
	} else if (b < 140) {
		for (size_t i = 0; i < n; i++)
			junk[i] = (uint8_t)take(1);
		say(junk, n);
	}
}

/* ---------------------------------------------------------------- program -- */

static void
told(struct connectd *handle, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	(void)handle, (void)m, (void)userdata;
	if (!o->reason || (o->final && o->result > 0))
		abort();
	n_told += o->final != 0;
}

static void
keep(struct connectd_msg *m)
{
	const char *name;
	const void *value;
	uint64_t boot, counter;
	size_t i = take(1) % HELD, len;

	/* Everything that can be asked of it is there. */
	connectd_msg_get_id(m, &boot, &counter);
	if (!connectd_msg_get_type(m) || (connectd_msg_get_body(m, &len) == NULL && len > 0) || !connectd_msg_get_origin_node(m) ||
	    !connectd_msg_get_origin_unit(m) || !connectd_msg_get_origin_application(m))
		abort();
	if (connectd_msg_get_reply_to(m) && strlen(connectd_msg_get_reply_to(m)) == 0)
		abort();
	connectd_msg_get_correlation_id(m, &len);
	for (size_t k = 0; k < connectd_msg_n_headers(m); k++)
		if (connectd_msg_get_header(m, k, &name, &value, &len) != 0 || !name)
			abort();
	connectd_msg_unref(held[i]);
	held[i] = m;
}

static void
delivered(struct connectd *handle, struct connectd_consumer *k, struct connectd_msg *m, void *userdata)
{
	(void)k, (void)userdata;
	if (!m)
		return;
	keep(connectd_msg_ref(m));
	if (take(1) & 1)
		connectd_ack(handle, m);
}

static void
handle_open(void)
{
	struct connectd_options opt = { .size = sizeof(opt), .socket = "/sim/s", .application = "fuzz", .timeout_ms = 200,
		.keep_trying = take(1) < 200, .no_reconnect = take(1) > 200, .window_messages = 50, .window_bytes = 2u << 20 };

	sim_io_owner(nothing, NULL);
	n_sent = n_told = 0;
	if (connectd_open(&opt, &c) != 0 && c && connectd_last_error(c)[0] == '\0')
		abort();
	if (!c)
		abort();
}

static void
handle_close(void)
{
	for (size_t i = 0; i < HELD; i++)
		connectd_msg_unref(held[i]);
	connectd_close(c);
	c = NULL;
	memset(held, 0, sizeof(held));
	memset(consumers, 0, sizeof(consumers));
	if (n_told != n_sent)
		abort(); /* somebody waits for ever, or was told twice */
}

static void
do_send(void)
{
	static const char *const dests[] = { "h0", "oslo/h0", "h1", "named" };
	static uint8_t body[400000];
	uint64_t b = take(1);
	struct connectd_msg *m = connectd_msg_new(dests[b % 4]);

	connectd_msg_set_type_body(m, b & 4 ? "a.B" : "", body, odd(take(1)) % (b & 8 ? sizeof(body) : 3000));
	if (b & 16)
		connectd_msg_set_durability(m, (enum connectd_durability)(b % 3));
	if (b % 4 == 3)
		connectd_msg_set_number(m, odd(n_sent + 1));
	if (b & 32)
		connectd_msg_set_priority(m, (enum connectd_priority)(b % 3));
	if (b & 64)
		connectd_send_wait(c, m, (enum connectd_level)(b % 4), (int)take(1));
	else if (connectd_send(c, m, (unsigned)take(1) & 14, told, NULL) == 0)
		n_sent++;
	connectd_msg_unref(m);
}

static void
do_consume(void)
{
	struct connectd_consume_options opt = { .size = sizeof(opt), .credit_messages = (uint32_t)odd(5), .credit_bytes = odd(4096) };
	struct connectd_msg *m = held[take(1) % HELD];
	uint64_t b = take(1), i = b % 3;

	if (b < 70 && !consumers[i]) {
		connectd_consume(c, b & 4 ? "h0" : "h1", b & 8 ? &opt : NULL, b & 16 ? delivered : NULL, NULL, &consumers[i]);
	} else if (b < 90) {
		connectd_consumer_close(consumers[i]);
		consumers[i] = NULL;
	} else if (b < 150) {
		if (connectd_recv(c, &m, (int)take(1)) == 0)
			keep(m);
	} else if (b < 210 && m) {
		connectd_ack(c, m);
	} else if (m) {
		connectd_nack(c, m, (enum connectd_nack_action)(b % 3), odd(5), "no");
	}
}

static void
do_other(void)
{
	uint64_t b = take(1), last;

	if (b < 40)
		connectd_flush(c, (int)take(1));
	else if (b < 60)
		connectd_producer_open(c, b & 1 ? "me" : "other", "named", &last);
	else if (b < 70)
		connectd_cork(c);
	else if (b < 90)
		connectd_uncork(c);
	else if (b < 200)
		connectd_wait(c, (int)take(1) * 4);
	else if (b < 230)
		connectd_process(c);
	else if (b < 240) {
		handle_close();
		handle_open();
	}
	if (connectd_unconfirmed(c) < n_sent - n_told)
		abort();
}

static void (*const acts[])(void) = { do_send, do_send, do_send, do_consume, do_consume, do_consume, do_other, do_other, say_about_flow,
	say_about_flow, say_about_flow, say_deliver, say_deliver, say_other, say_line };

/* -------------------------------------------------------------------- run -- */

static void
run(uint64_t us)
{
	uint64_t until = world_now() + us * 1000;
	size_t steps = 0;

	while (world_step(until))
		if (++steps > 100000)
			abort();
	/* Until nothing is left to do. */
	for (unsigned i = 0; connectd_process(c) > 0; i++)
		if (i > 10000)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct names_url url = { .scheme = NAMES_UNIX, .path = "/sim/s" };

	in = (struct script){ data, size };
	world_start(take(1), getenv("FUZZ_TRACE") != NULL);
	sim_net_reset();
	memset(&d, 0, sizeof(d));
	d.loop = loop_new();
	if (transport_for(NAMES_UNIX)->listen(d.loop, &url, NULL, -1, accepted, NULL, NULL, &d.listener) != 0)
		abort();
	handle_open();
	run(10000);
	for (unsigned i = 0; i < STEPS && in.left > 0; i++) {
		uint64_t b = take(1);

		acts[b % (sizeof(acts) / sizeof(acts[0]))]();
		if (b & 1)
			run(1000);
	}
	run(50000);
	handle_close();
	hang_up();
	transport_for(NAMES_UNIX)->listen_close(d.listener);
	loop_free(d.loop);
	sim_net_reset();
	world_end();
	return 0;
}
