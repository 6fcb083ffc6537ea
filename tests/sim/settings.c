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
draw_rules(struct settings *s, bool outbound, bool *ret_lossy, bool *ret_refuses)
{
	append(s, "max_messages = %u\n", some_limit());
	if (world_chance(12)) {
		append(s, "overflow = drop-oldest\n");
		*ret_lossy = true;
	} else if (world_chance(12)) {
		append(s, "overflow = reject\n");
		*ret_refuses = true;
	}
	if (world_chance(10)) {
		append(s, "ttl = %ums\n", 100 + (unsigned)world_below(2000));
		*ret_lossy = true;
	}
	if (outbound)
		return;
	if (world_chance(10)) {
		append(s, "max_attempts = %u\n", 1 + (unsigned)world_below(4));
		*ret_lossy = true;
	}
	if (world_chance(15))
		append(s, "ack_timeout = %ums\n", 1500 + (unsigned)world_below(900));
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
			  "drain_timeout = 1s\nsegment = 64K\nmax_disk = 1M\nmax_message = %u\n",
		    s->name, s->name, s->name, (unsigned)s->max_message);
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
		append(s, "[queue \"*\"]\ndurable = no\n[queue \"q*\"]\n");
		draw_rules(s, false, &s->here_lossy, &s->refuses);
		append(s, "[queue \"*/*\"]\n");
		draw_rules(s, true, &s->outbound_lossy, &s->outbound_refuses);
		append(s, "[queue \"h*\"]\nmax_messages = %u\n", some_limit());
		append(s, "[queue \"*.dead\"]\nmax_messages = %u\n", world_chance(20) ? 3 : 100000);
	}
}
