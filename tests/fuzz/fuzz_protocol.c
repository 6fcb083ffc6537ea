/*
 * fuzz_protocol: frames that are well-formed, in any order. The input is a
 * script: which end says what next, with numbers that are mostly those that
 * would be right there, at times beside them, at times anything. Ends go on
 * after a refusal, and reconnect, so that states behind it are reached; between
 * acts virtual time passes, the daemon stops, or dies and starts again.
 */
#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FLOWS 4
#define STEPS 400
#define BODY 300000

/* One that an end of ours opened. */
struct out {
	bool open;
	uint64_t next;
	uint64_t number, total, offset; /* of a body half sent; number 0: none */
	uint64_t resume, resume_bytes;
	uint64_t rejected, credit;
};

/* One that the daemon opened to us. */
struct in {
	uint32_t id;
	uint64_t last, partial; /* numbers */
};

struct end {
	struct box_line *line;
	unsigned who; /* 0, 1: programs; 2: aachen; 3: oslo dialling; 4: oslo dialled */
	bool silent;  /* flows of the daemon are not answered at once */
	struct out out[FLOWS];
	struct in in[FLOWS];
	unsigned n_in;
	uint64_t tag, base;
};

static struct script in;
static struct end ends[5];
static const char *const names[] = { "fuzz", "other", "aachen", "oslo", "oslo" };
static uint64_t bytes_said;

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

static bool
is_peer(const struct end *e)
{
	return e->who >= 2;
}

static struct out *
some_out(struct end *e, uint32_t *ret_id)
{
	uint64_t i = take(1) % FLOWS;

	*ret_id = (uint32_t)odd(i + 1);
	return &e->out[i];
}

static struct in *
some_in(struct end *e)
{
	static struct in none;

	return e->n_in == 0 ? &none : &e->in[take(1) % e->n_in];
}

static struct wire_bytes
some_text(void)
{
	static const char *const texts[] = { "", "h0", "h1", "h2", "hm", "hm/x", "h0.dead", "oslo/h0", "oslo/h1", "aachen/hm", "berlin/h0",
		"aachen", "oslo", "berlin", "berlin.h0.dead", "oslo.h0.dead", "type.googleapis.com/a.B", "*", "nowhere/h0", "\xff\x1b[2J\n" };
	static char text[600];
	uint64_t b = take(1);

	if (b < 240)
		return wire_string(texts[b % (sizeof(texts) / sizeof(texts[0]))]);
	memset(text, (int)take(1), sizeof(text));
	return wire_bytes(text, take(1) * 3 % sizeof(text));
}

static struct wire_bytes
some_address(const struct end *e, uint64_t i)
{
	static const char *const program[] = { "h0", "h1", "oslo/h0", "hm" }, *const peer[] = { "h0", "h2", "hm", "h1" };

	return take(1) < 230 ? wire_string(is_peer(e) ? peer[i % 4] : program[i % 4]) : some_text();
}

static struct wire_numbers
some_ranges(uint64_t last)
{
	static uint8_t buf[120];
	size_t len = 0;
	uint64_t n = 1 + take(1) % 4, from = last > 4 ? last - take(1) % 4 : 1;

	for (; n > 0; n--) {
		len += wire_put_number(buf + len, odd(from));
		len += wire_put_number(buf + len, odd(n > 1 ? from : last));
		from = last < from + 2 ? last : from + 2;
	}
	return (struct wire_numbers){ buf, take(1) < 250 ? len : len / 2 };
}

/* ---------------------------------------------------------------- hearing -- */

static void
answer_flow(struct end *e, const struct in *f)
{
	struct wire_frame st = { .kind = WIRE_FLOW_STATE };

	st.u.flow_state.flow = f->id;
	st.u.flow_state.accepted = f->last;
	st.u.flow_state.credit_messages = 20;
	st.u.flow_state.credit_bytes = 1 << 20;
	st.u.flow_state.confirm_level = 1;
	box_frame(e->line, &st);
}

static void
heard_items(struct end *e, const struct wire_run *run, bool transfer)
{
	if (!transfer) {
		e->tag = run->first + run->n_items - 1;
		return;
	}
	for (unsigned i = 0; i < e->n_in; i++)
		if (e->in[i].id == run->id)
			e->in[i].last = run->first + run->n_items - 1;
}

static void
heard(struct box_line *l, const struct wire_frame *f)
{
	struct end *e = l->arg;
	const struct wire_flow_state *st = &f->u.flow_state;
	struct wire_frame k = { .kind = WIRE_KNOWN };

	switch (f->kind) {
	case WIRE_HELLO:
		if (e->who == 2)
			box_frame(l, &k);
		return;
	case WIRE_KNOWN:
		if (e->who == 2)
			k = (struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept.decision = ++e->base };
		box_frame(l, &k);
		return;
	case WIRE_OPEN_FLOW:
		if (e->n_in < FLOWS)
			e->in[e->n_in++] = (struct in){ .id = f->u.open_flow.flow };
		if (!e->silent)
			answer_flow(e, &e->in[e->n_in - 1]);
		return;
	case WIRE_FLOW_STATE:
		if (st->flow == 0 || st->flow > FLOWS || st->verdict != WIRE_VERDICT_OK)
			return;
		e->out[st->flow - 1].open = true;
		if (st->accepted != 0)
			e->out[st->flow - 1].next = st->accepted + 1;
		e->out[st->flow - 1].resume = st->partial_number;
		e->out[st->flow - 1].resume_bytes = st->partial_bytes;
		e->out[st->flow - 1].credit = st->credit_messages;
		return;
	case WIRE_REJECT:
		if (f->u.reject.flow - 1 < FLOWS)
			e->out[f->u.reject.flow - 1].rejected = f->u.reject.number;
		return;
	case WIRE_CREDIT:
		if (f->u.credit.flow - 1 < FLOWS)
			e->out[f->u.credit.flow - 1].credit = f->u.credit.messages;
		return;
	case WIRE_TRANSFER:
	case WIRE_DELIVER:
		heard_items(e, &f->u.run, f->kind == WIRE_TRANSFER);
		return;
	default:
		return;
	}
}

/* ----------------------------------------------------------------- acting -- */

static void
act_connect(struct end *e)
{
	uint64_t epoch = e->base;

	box_connect(e->line, e->who < 2 ? BOX_PROGRAM : e->who == 4 ? BOX_DIALLED : BOX_STRANGER);
	*e = (struct end){ .line = e->line, .who = e->who, .base = epoch, .silent = e->silent };
	for (size_t i = 0; i < FLOWS; i++)
		e->out[i].next = is_peer(e) ? (UINT64_C(1) << 40) + 1 : 1;
	box_run(12000);
	box_greet(e->line, names[e->who]);
	box_run(is_peer(e) ? 60000 : 5000);
}

static void
act_open(struct end *e)
{
	static uint8_t producer[16];
	struct wire_frame f = { .kind = WIRE_OPEN_FLOW };
	struct wire_open_flow *o = &f.u.open_flow;
	uint64_t b = take(1), i = b % FLOWS;

	o->flow = (uint32_t)odd(i + 1);
	o->address = some_address(e, i);
	o->priority = (uint32_t)odd(i % 3);
	if (!is_peer(e)) {
		memset(producer, (int)i + 1, sizeof(producer));
		o->producer = wire_bytes(producer, b & 64 ? 4 : 16);
		o->named = b & 64;
		o->instance = odd(e->who);
	} else if (b & 64) {
		o->producer = wire_bytes(producer, 16);
	}
	o->highest_used = odd(is_peer(e) ? (UINT64_C(1) << 40) + 1000 : 1000);
	if (b & 128) {
		o->oldest_unsettled = odd(e->out[i].next);
		o->away_ms = odd(0);
		o->epoch = odd(0);
		o->known_boot = odd(e->line->hello.boot_id);
	}
	box_flows(1);
	box_frame(e->line, &f);
}

static void
say_run(struct end *e, uint32_t flow, uint64_t number, struct wire_item *items, size_t n)
{
	static uint8_t buf[WIRE_FRAME_MAX * 2];
	size_t size = 0, len;

	for (size_t i = 0; i < n; i++)
		size += wire_item_size(&items[i]);
	if (size > WIRE_FRAME_MAX)
		return;
	len = wire_put_run(take(1) < 252 ? WIRE_TRANSFER : WIRE_DELIVER, flow, number, size, buf);
	for (size_t i = 0; i < n; i++) {
		len += wire_put_item(&items[i], buf + len);
		if (items[i].body.len > 0)
			memcpy(buf + len, items[i].body.data, items[i].body.len);
		len += items[i].body.len;
	}
	bytes_said += len;
	box_say(e->line, buf, len);
}

static void
some_fields(struct wire_item *it)
{
	static uint8_t packed[5000];
	uint64_t b = take(1);

	if (b & 1)
		it->flags = (uint32_t)odd(take(1) & 7);
	if (b & 2)
		it->type = (uint32_t)odd(take(1) & 3);
	if (b & 4)
		it->ttl_ms = odd(20);
	if (b & 8)
		it->not_before_ms = odd(1790000000000 + 1000000000 + take(2));
	if (b & 16)
		it->origin = (uint32_t)odd(take(1) & 3);
	if (b & 32)
		it->attempt = (uint32_t)odd(1);
	if ((b & 192) == 64)
		it->packed = wire_bytes(packed, odd(take(1)) % sizeof(packed));
	if ((b & 192) == 128)
		it->report_to = some_text();
	if ((b & 192) == 192)
		it->sub = some_text();
}

static void
act_transfer(struct end *e)
{
	static uint8_t body[70000];
	struct wire_item items[8] = { { 0 } };
	uint32_t id;
	struct out *o = some_out(e, &id);
	uint64_t b = take(1), n = b & 7 ? b & 7 : 1, number = odd(o->next);

	for (size_t i = 0; i < n; i++) {
		items[i].body = wire_bytes(body, odd(take(1)) % (b & 8 ? 70000 : 300));
		if (b & 16)
			some_fields(&items[i]);
	}
	say_run(e, id, number, items, n);
	if (number == o->next)
		o->next += n;
}

/* A part of a body, mostly the next one. */
static void
act_chunk(struct end *e)
{
	static uint8_t body[WIRE_CHUNK_MAX + 8];
	struct wire_item item = { 0 };
	uint32_t id;
	struct out *o = some_out(e, &id);
	uint64_t b = take(1), len;

	if (o->number == 0 && o->resume != 0) {
		o->number = o->resume;
		o->offset = o->resume_bytes;
		o->total = BODY;
		o->next = o->number + 1;
	} else if (o->number == 0) {
		o->number = o->next++;
		o->total = b & 1 ? BODY : 100000;
		o->offset = 0;
	}
	o->resume = 0;
	len = b & 2 ? WIRE_CHUNK_MAX : 1024 + take(1) * 64;
	if (len > o->total - o->offset)
		len = o->total - o->offset;
	item.offset = odd(o->offset);
	item.total = odd(o->total);
	len = odd(len);
	item.body = wire_bytes(body, len > sizeof(body) ? sizeof(body) : len);
	if (b & 16)
		some_fields(&item);
	say_run(e, id, odd(o->number), &item, 1);
	o->offset += item.body.len;
	if (o->offset >= o->total)
		o->number = 0;
}

static void
act_flow(struct end *e)
{
	struct wire_frame f = { .kind = WIRE_SETTLED };
	uint32_t id;
	struct out *o = some_out(e, &id);
	uint64_t b = take(1);

	if (b < 100) {
		f.u.settled = (struct wire_settled){ id, odd(o->next - 1), b < 30 };
	} else if (b < 180) {
		f = (struct wire_frame){ .kind = WIRE_RESUME, .u.resume = { id, odd(o->rejected) } };
		o->rejected = 0;
	} else {
		f = (struct wire_frame){ .kind = WIRE_ABORT, .u.abort = { id, odd(o->number) } };
		o->number = 0;
	}
	box_frame(e->line, &f);
}

static void
act_subscribe(struct end *e)
{
	struct wire_frame f = { .kind = WIRE_SUBSCRIBE };
	uint64_t b = take(1);

	f.u.subscribe.subscription = (uint32_t)odd(1 + b % 3);
	f.u.subscribe.queue = b & 128 ? some_text() : some_address(e, b % 4);
	f.u.subscribe.credit_messages = odd(10);
	f.u.subscribe.credit_bytes = odd(1 << 20);
	f.u.subscribe.exclusive = b & 16;
	if (b & 32)
		f.u.subscribe.types = some_text();
	box_frame(e->line, &f);
}

static void
act_ack(struct end *e)
{
	struct wire_frame f = { .kind = WIRE_ACK };
	uint64_t b = take(1);

	if (b < 140) {
		f.u.ack.ranges = some_ranges(e->tag);
	} else if (b < 200) {
		f.kind = WIRE_NACK;
		f.u.nack = (struct wire_nack){ some_ranges(e->tag), (uint32_t)odd(b % 3), odd(5), some_text() };
	} else if (b < 225) {
		f.kind = WIRE_UNSUBSCRIBE;
		f.u.unsubscribe = (struct wire_unsubscribe){ (uint32_t)odd(1 + b % 3), 0, { NULL, 0 } };
	} else {
		f.kind = WIRE_CREDIT;
		f.u.credit.subscription = (uint32_t)odd(1 + b % 3);
		f.u.credit.messages = odd(100);
		f.u.credit.bytes = odd(1 << 20);
	}
	box_frame(e->line, &f);
}

/* As a receiver of what the daemon sends. */
static void
act_receive(struct end *e)
{
	struct wire_frame f = { .kind = WIRE_CONFIRM };
	struct in *i = some_in(e);
	uint64_t b = take(1);

	if (b < 60) {
		f.u.confirm = (struct wire_confirm){ (uint32_t)odd(i->id), odd(i->last), (uint32_t)odd(1 + b % 2) };
	} else if (b < 90) {
		f = (struct wire_frame){ .kind = WIRE_REJECT,
			.u.reject = { (uint32_t)odd(i->id), odd(i->last), (uint32_t)odd(b % 9), some_text() } };
	} else if (b < 140) {
		f = (struct wire_frame){ .kind = WIRE_PROGRESS, .u.progress = { .flow = (uint32_t)odd(i->id),
			.level = (uint32_t)odd(b & 1 ? 4 : 16 + b % 5), .ranges = some_ranges(i->last), .reason = some_text() } };
	} else if (b < 170) {
		f.kind = WIRE_CREDIT;
		f.u.credit.flow = (uint32_t)odd(b & 1 ? i->id : 0);
		f.u.credit.session = b & 2;
		f.u.credit.messages = odd(100);
		f.u.credit.bytes = odd(1 << 20);
		f.u.credit.number = odd(i->last);
	} else if (b < 200) {
		answer_flow(e, i);
		return;
	} else {
		f.kind = WIRE_FLOW_STATE;
		f.u.flow_state = (struct wire_flow_state){ .flow = (uint32_t)odd(i->id), .verdict = (uint32_t)odd(b % 8), .reason = some_text(),
			.accepted = odd(i->last), .confirmed = odd(i->last), .partial_number = odd(0), .partial_bytes = odd(0),
			.credit_messages = odd(5), .credit_bytes = odd(4096), .confirm_level = (uint32_t)odd(1), .durable = b & 1,
			.waiting = some_ranges(i->last) };
	}
	box_frame(e->line, &f);
}

static void
act_define(struct end *e)
{
	static uint8_t buf[700];
	struct wire_frame f = { .kind = WIRE_DEFINE };
	struct wire_origin o = { 0 };
	uint64_t b = take(1);

	f.u.define.kind = (uint32_t)odd(1 + b % 2);
	f.u.define.id = (uint32_t)odd(1 + b % 3);
	f.u.define.value = some_text();
	if (b % 2 == 1 && b < 200) {
		o.node = wire_string(names[e->who]);
		o.uid = (uint32_t)odd(1000);
		o.application = some_text();
		o.proof = (uint32_t)odd(1);
		if (wire_size_origin(&o) <= sizeof(buf))
			f.u.define.value = wire_bytes(buf, wire_pack_origin(&o, buf));
	}
	box_frame(e->line, &f);
}

static void
act_admin(struct end *e)
{
	struct wire_frame f = { .kind = WIRE_ADMIN_REQUEST };
	uint64_t b = take(1);

	f.u.admin_request.id = (uint32_t)odd(1 + (b & 3));
	f.u.admin_request.verb = (uint32_t)odd(1 + b % 18);
	f.u.admin_request.name = some_text();
	f.u.admin_request.limit = odd(3);
	f.u.admin_request.cancel = take(1) > 220;
	f.u.admin_request.argument = f.u.admin_request.verb == WIRE_ADMIN_BACKUP ? wire_string(b & 1 ? "/sim/copy" : "copy") : some_text();
	f.u.admin_request.by_uid = b & 64;
	f.u.admin_request.uid = (uint32_t)odd(1000);
	box_frame(e->line, &f);
}

/* What belongs to sessions, and what belongs nowhere. */
static void
act_session(struct end *e)
{
	struct wire_frame f = { .kind = WIRE_PING };
	uint64_t b = take(1);

	f.u.ping.token = b;
	if (b < 60)
		f.kind = b & 1 ? WIRE_PING : WIRE_PONG;
	else if (b < 100)
		f = (struct wire_frame){ .kind = WIRE_KNOWN, .u.known = { (uint32_t)odd(e->line->hello.start_count), odd(e->line->hello.boot_id) } };
	else if (b < 130)
		f = (struct wire_frame){ .kind = WIRE_ACCEPT, .u.accept = { odd(2) } };
	else if (b < 145)
		f = (struct wire_frame){ .kind = WIRE_DRAIN };
	else if (b < 160)
		f = (struct wire_frame){ .kind = WIRE_CLOSE, .u.close = { (uint32_t)odd(b % 14), some_text() } };
	else if (b < 175)
		f = (struct wire_frame){ .kind = WIRE_ADMIN_RESPONSE, .u.admin_response = { .id = 1, .last = true, .reason = some_text() } };
	else if (b < 190)
		f = (struct wire_frame){ .kind = WIRE_SUBSCRIBED, .u.subscribed = { 1, (uint32_t)odd(0), some_text(), b & 1 } };
	else {
		/* A second Hello, or one as somebody else. */
		box_greet(e->line, b < 220 ? names[take(1) % 5] : "nobody");
		return;
	}
	box_frame(e->line, &f);
}

static void
act_line(struct end *e)
{
	uint8_t junk[32];
	uint64_t b = take(1);

	if (b < 60)
		e->line->deaf = !e->line->deaf;
	else if (b < 90)
		e->silent = !e->silent;
	else if (b < 160)
		box_cut(e->line, b & 1);
	else if (b < 200)
		act_connect(e);
	else if (b < 216) {
		for (size_t i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)take(1);
		box_say(e->line, junk, take(1) % sizeof(junk));
	} else if (b < 220)
		box_restart(b & 1);
	else
		box_run(take(2) * 100);
}

static void (*const acts[])(struct end *e) = { act_open, act_open, act_transfer, act_transfer, act_transfer, act_chunk, act_chunk, act_flow,
	act_subscribe, act_ack, act_ack, act_receive, act_receive, act_define, act_admin, act_session, act_line };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 8)
		return 0;
	in = (struct script){ data, size };
	bytes_said = 0;
	box_start(take(1), (unsigned)take(1));
	for (unsigned i = 0; i < 5; i++) {
		ends[i] = (struct end){ .line = box_line(i), .who = i };
		ends[i].line->heard = heard;
		ends[i].line->arg = &ends[i];
	}
	for (unsigned i = 0; i < STEPS && in.left > 0 && bytes_said < 4000000; i++) {
		uint64_t b = take(1);
		struct end *e = &ends[b % 5];

		if (!e->line->up || !e->line->greeted)
			act_connect(e);
		acts[take(1) % (sizeof(acts) / sizeof(acts[0]))](e);
		/* Some acts come together. */
		if (b < 160)
			box_run(2000);
		if (i % 16 == 15)
			box_check();
	}
	box_run(20000);
	box_check();
	box_end();
	return 0;
}
