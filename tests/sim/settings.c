#include "settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

#define SMALL_MESSAGE_MAX 4000
#define TIGHT_MESSAGE_MAX (512u << 10)

__attribute__((format(printf, 2, 3))) static void
append(struct settings *s, const char *fmt, ...)
{
	size_t len = strlen(s->conf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->conf + len, sizeof(s->conf) - len, fmt, ap);
	va_end(ap);
}

static unsigned
some_limit(void)
{
	static const unsigned limits[] = { 4, 8, 16, 64, 1000 };

	return limits[world_below(5)];
}

/* One section of queues, and by which rules messages may leave them unread. */
static void
draw_rules(struct settings *s, bool outbound, struct settings_rules *ret)
{
	*ret = (struct settings_rules){ .durable = world_chance(65) };
	append(s, "durable = %s\nmax_messages = %u\n", ret->durable ? "yes" : "no", some_limit());
	if (!ret->durable && world_chance(20)) {
		append(s, "overflow = drop-oldest\n");
		ret->lossy = true;
	} else if (world_chance(10)) {
		append(s, "overflow = reject\n");
		ret->refuses = true;
	}
	if (world_chance(10)) {
		append(s, "ttl = %ums\n", 100 + (unsigned)world_below(2000));
		ret->lossy = true;
	}
	if (outbound)
		return;
	if (world_chance(8)) {
		append(s, "max_attempts = %u\n", 1 + (unsigned)world_below(4));
		ret->lossy = true;
	}
	if (world_chance(15))
		append(s, "ack_timeout = %ums\n", 1500 + (unsigned)world_below(900));
}

/* The journal: as small as it may be, or with room for large messages. */
static void
draw_disk(struct settings *s)
{
	bool coarse = world_chance(s->small ? 20 : 60);
	unsigned segment = coarse ? 256 : 64, least = s->small ? coarse ? 9 : 18 : coarse ? 17 : 72;
	unsigned n = least + (unsigned)world_below(world_chance(50) ? 3 : 16);

	append(s, "segment = %uK\nmax_disk = %uK\n", segment, n * segment);
}

void
settings_draw(struct settings *all, int n)
{
	static const char *const names[SETTINGS_DAEMONS] = { "berlin", "oslo", "paris" };
	bool dials[SETTINGS_DAEMONS][SETTINGS_DAEMONS] = { { false } };

	for (int i = 0; i < n; i++)
		for (int j = i + 1; j < n; j++) {
			unsigned who = (unsigned)world_below(4);

			dials[i][j] = who != 0;
			dials[j][i] = who != 1;
		}
	for (int i = 0; i < n; i++) {
		struct settings *s = &all[i];
		bool tight = world_chance(25);

		snprintf(s->name, sizeof(s->name), "%s", names[i]);
		s->small = world_chance(35);
		s->max_message = s->small ? SMALL_MESSAGE_MAX : tight ? TIGHT_MESSAGE_MAX : 16u << 20;
		append(s, "[node]\nname = %s\nstate = /sim/%s\nsocket = /sim/%s.sock\nkeepalive = 1s\nhandshake_timeout = 2s\n"
			  "drain_timeout = 1s\nmax_message = %u\n",
		    s->name, s->name, s->name, (unsigned)s->max_message);
		draw_disk(s);
		if (tight)
			append(s, "max_memory = %uK\nmax_partial = %uK\n", 1024 + (unsigned)world_below(4096),
			    512 + (unsigned)world_below(512));
		if (world_chance(40))
			append(s, "queue_linger = %ums\n", (unsigned)world_below(500));
		if (world_chance(20))
			append(s, "max_queues_per_peer = %u\n", 1 + (unsigned)world_below(2));
		append(s, "[listen \"in\"]\naddress = tcp://10.0.0.%d:7000\nplaintext = yes\n", i + 1);
		for (int j = 0; j < n; j++) {
			if (j == i)
				continue;
			append(s, "[peer \"%s\"]\nplaintext = yes\nfrom = 10.0.0.0/8\nbackoff_min = 50ms\nbackoff_max = 500ms\n",
			    names[j]);
			if (dials[i][j])
				append(s, "address = tcp://10.0.0.%d:7000\n", j + 1);
		}
		for (int q = 0; q < SETTINGS_QUEUES; q++) {
			append(s, "[queue \"q%d\"]\n", q);
			draw_rules(s, false, &s->here[q]);
		}
		append(s, "[queue \"*\"]\nmin_bytes = %uK\n", (unsigned)world_below(5));
		append(s, "[queue \"*/*\"]\n");
		draw_rules(s, true, &s->outbound);
		append(s, "[queue \"h*\"]\ndurable = %s\nmax_messages = %u\n", world_chance(50) ? "yes" : "no", some_limit());
		append(s, "[queue \"*.dead\"]\ndurable = %s\nmax_messages = %u\n", world_chance(70) ? "yes" : "no",
		    world_chance(20) ? 3 : 100000);
	}
}
