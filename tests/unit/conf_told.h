/*
 * conf_told: what a configuration text is told, for the tests of conf.
 */
#ifndef CONF_TOLD_H
#define CONF_TOLD_H

#include <stddef.h>

#include "conf.h"

#define NODE "[node]\nname = paris\n"
#define BERLIN "[peer \"berlin\"]\nplaintext = yes\naddress = tcp://berlin:7140\n"

/* Read a text, called f, that must have no faults. */
struct conf *conf_told_ok(const char *text);

/*
 * The text must give exactly these faults, FILE:LINE: TEXT, a line each; of
 * each only the beginning is compared.
 */
void conf_told_refused(const char *text, const char *faults);
void conf_told_refused_len(const char *text, size_t len, const char *faults);

#endif
