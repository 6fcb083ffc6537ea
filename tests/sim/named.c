#include "named.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "actors_internal.h"
#include "ledger.h"

#define NAMES 2
#define NUMBERS 128
#define LINE(n) (0xff000000u | (uint32_t)((n) - all.names))
#define PRODUCER_OF(n) (1000 + (int)((n) - all.names))

/* Whose outcome it is, in the word that comes back with it. */
struct token {
	uint32_t number; /* the ledger's */
	uint32_t sender; /* program and generation */
};

struct named {
	char name[16];
	int primary;      /* the program that ends with it */
	uint64_t planned; /* numbers to be used */
	uint64_t used;    /* the highest sent so far */
	uint64_t safe;    /* the highest known to be there */
	struct {
		uint32_t message; /* the ledger's number; 0: left out */
		uint32_t len, levels;
		uint32_t sender;  /* who sent it last */
	} sent[NUMBERS + 1];
	uint32_t owner;   /* who opened it last; 0: nobody */
	bool opening;     /* somebody waits for it */
	uint64_t opened;  /* begun so far */
	bool loose;       /* somebody asked to open it, and did not hear: that may take it over at any time */
};

static struct {
	struct named names[NAMES];
	int n;
} all;

static uint32_t
sender_of(const struct program *p)
{
	return ((uint32_t)p->index + 1) << 16 | (p->generation & 0xffff);
}

void
named_start(void)
{
	memset(&all, 0, sizeof(all));
}

struct named *
named_new(const struct program *p)
{
	struct named *n;

	if (all.n == NAMES)
		return NULL;
	n = &all.names[all.n++];
	snprintf(n->name, sizeof(n->name), "name%d", all.n);
	n->primary = p->index;
	n->planned = 30 + world_below(NUMBERS - 30);
	return n;
}

/* --------------------------------------------------------------- outcomes -- */

static void
told(struct connectd *c, struct connectd_msg *m, const struct connectd_outcome *o, void *userdata)
{
	uint64_t word = (uint64_t)(uintptr_t)userdata;
	struct token t = { (uint32_t)word, (uint32_t)(word >> 32) };

	(void)c, (void)m;
	if (o->result == -ECANCELED)
		return;
	for (int i = 0; i < all.n; i++) {
		struct named *n = &all.names[i];

		if (o->number > NUMBERS || n->sent[o->number].message != t.number)
			continue;
		/* It was sent again by another instance since: that one hears what counts. */
		if (n->sent[o->number].sender != t.sender)
			return;
		if (o->level == CONNECTD_STORED && o->number > n->safe)
			n->safe = o->number;
		if (o->result == -ESTALE)
			ledger_orphan(t.number);
		else
			ledger_told(t.number, (int)o->level, o->final, o->result);
		return;
	}
	/* Of nobody who owned the name when it was sent. */
	ledger_told(t.number, (int)o->level, o->final, o->result);
}

void
named_died(const struct program *p)
{
	for (int i = 0; i < all.n; i++)
		for (uint64_t k = 1; k <= all.names[i].used; k++)
			if (all.names[i].sent[k].message && all.names[i].sent[k].sender == sender_of(p))
				ledger_orphan(all.names[i].sent[k].message);
	ledger_zombie_died(sender_of(p));
	/* Its question may be under way. */
	if (p->named && p->asks) {
		p->named->opening = false;
		p->named->loose = true;
	}
}

/* ---------------------------------------------------------------- opening -- */

static void
take_over(struct program *p, uint64_t last)
{
	struct named *n = p->named;

	world_trace("program %d opens %s: goes on behind %llu", p->index, n->name, (unsigned long long)last);
	if (last > n->used)
		world_violation("%s: number %llu is said to be there, and %llu is the highest used", n->name,
		    (unsigned long long)last, (unsigned long long)n->used);
	if (last < n->safe)
		world_violation("%s: number %llu was safe, and %llu is said to be the last", n->name, (unsigned long long)n->safe,
		    (unsigned long long)last);
	n->owner = sender_of(p);
	n->safe = last;
	p->opened = true;
	p->opens_seen = n->opened;
	p->next = last + 1;
	for (uint64_t k = 1; k <= last; k++)
		if (n->sent[k].message)
			ledger_safe(n->sent[k].message);
}

static void
open_name(struct program *p)
{
	struct named *n = p->named;
	uint64_t last = 0;
	uint32_t generation = p->generation;
	char dest[40];
	int r;

	if (n->opening)
		return;
	program_destination(p, dest);
	n->opening = p->asks = p->busy = true;
	n->opened++;
	r = connectd_producer_open(p->c, n->name, dest, &last);
	p->busy = p->asks = false;
	n->opening = false;
	if (p->generation != generation)
		return;
	if (r == 0) {
		take_over(p, last);
		return;
	}
	world_trace("program %d cannot open %s: %s", p->index, n->name, connectd_last_error(p->c));
	n->loose = true;
	if (r != -ETIMEDOUT && r != -ESTALE && !sim.starved)
		world_violation("%s: cannot be opened: %s", n->name, connectd_last_error(p->c));
}

/* It is served no longer: only because another was. */
static void
is_over(struct program *p)
{
	struct named *n = p->named;

	world_trace("program %d: %s is over: %s", p->index, n->name, connectd_last_error(p->c));
	if (n->opened == p->opens_seen && !n->loose)
		world_violation("%s was taken from program %d, and nobody else had asked for it: %s", n->name, p->index,
		    connectd_last_error(p->c));
	p->opened = false;
}

/* ---------------------------------------------------------------- sending -- */

static int
send_as(struct program *p, uint64_t k, uint32_t message, size_t len, unsigned levels)
{
	char dest[40];
	struct connectd_msg *m;
	uint64_t word = (uint64_t)sender_of(p) << 32 | message;
	int r;

	program_destination(p, dest);
	m = program_message(dest, message, len);
	if (!m)
		return -ENOMEM;
	connectd_msg_set_number(m, k);
	r = connectd_send(p->c, m, levels, told, (void *)(uintptr_t)word);
	connectd_msg_unref(m);
	if (r == 0)
		world_trace("program %d sends message %u to %s as number %llu of %s, %zu bytes", p->index, message, dest,
		    (unsigned long long)k, p->named->name, len);
	else if (r == -ESTALE)
		is_over(p);
	else if (sim.starved && r != -EAGAIN && r != -ENOMEM)
		p->opened = false; /* its flow was refused for lack of memory: it opens the name again */
	else if (r != -EAGAIN && !sim.starved)
		world_violation("%s: number %llu cannot be sent: %s", p->named->name, (unsigned long long)k, connectd_last_error(p->c));
	return r;
}

static uint32_t
new_message(const struct program *p, size_t len, unsigned levels, bool zombie)
{
	struct ledger_send how = { .producer = PRODUCER_OF(p->named), .line = LINE(p->named), .from = p->at, .to = p->to, .levels = levels };
	uint64_t number;

	program_foresee(p, len, CONNECTD_AS_QUEUE, &how);
	number = ledger_sent(&how);
	if (zombie)
		ledger_zombie(number, sender_of(p));
	return (uint32_t)number;
}

/* It does not know yet that another has the name. */
static bool
send_zombie(struct program *p)
{
	uint32_t message = new_message(p, 8, CONNECTD_TELL(CONNECTD_STORED), true);
	int r = send_as(p, p->next, message, 8, CONNECTD_TELL(CONNECTD_STORED));

	if (r != 0)
		ledger_not_sent(message);
	p->next += r == 0;
	return r == 0;
}

static bool
send_next(struct program *p)
{
	struct named *n = p->named;
	uint64_t k = p->next;
	bool again;
	size_t len;
	unsigned levels;
	uint32_t message;
	int r;

	if (n->owner != sender_of(p))
		return send_zombie(p);
	while (k < n->used && !n->sent[k].message)
		k++;
	if (k > n->used && k < n->planned && world_chance(10))
		k++; /* gaps are fine */
	again = k <= n->used;
	len = again ? n->sent[k].len : program_body_size(p);
	levels = again ? n->sent[k].levels : program_levels(CONNECTD_AS_QUEUE);
	message = again ? n->sent[k].message : new_message(p, len, levels, false);
	r = send_as(p, k, message, len, levels);
	if (r != 0) {
		if (!again)
			ledger_not_sent(message);
		return false;
	}
	if (again)
		ledger_again(message);
	n->sent[k].message = message;
	n->sent[k].len = (uint32_t)len;
	n->sent[k].levels = levels;
	n->sent[k].sender = sender_of(p);
	if (k > n->used)
		n->used = k;
	p->next = k + 1;
	return true;
}

void
named_tick(struct program *p)
{
	struct named *n = p->named;
	bool primary = p->index == n->primary;

	/* In the end one of the two has it. */
	if (sim.healed && !primary)
		return;
	if (!p->opened) {
		if (primary ? sim.healed || world_chance(30) : p->next == 0 || world_chance(3))
			open_name(p);
		return;
	}
	/* Whoever does not send does not hear that it was taken over. */
	if (sim.healed && n->owner != sender_of(p))
		send_zombie(p);
	for (unsigned burst = 1 + (unsigned)world_below(8); burst > 0 && p->opened && p->next <= n->planned && send_next(p); burst--)
		;
}

bool
named_at_rest(void)
{
	for (int i = 0; i < all.n; i++) {
		const struct program *p = &sim.programs[all.names[i].primary];

		if (!p->c || !p->opened || all.names[i].owner != sender_of(p) || p->next <= all.names[i].planned)
			return false;
	}
	return true;
}

void
named_trace(void)
{
	for (int i = 0; i < all.n; i++)
		world_trace("%s: %llu of %llu used, %llu safe, owner %x", all.names[i].name, (unsigned long long)all.names[i].used,
		    (unsigned long long)all.names[i].planned, (unsigned long long)all.names[i].safe, all.names[i].owner);
}
