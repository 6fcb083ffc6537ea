/*
 * pin: the fingerprint of a key as text, `sha256:BASE64` of the DER
 * SubjectPublicKeyInfo (RFC 7469), and back. Pure.
 */
#ifndef PIN_H
#define PIN_H

#include <stddef.h>
#include <stdint.h>

#define PIN_BYTES 32
#define PIN_TEXT_MAX 52 /* "sha256:", 44 characters, NUL */

/* "sha256:...=" of a hash; returns buf. */
const char *pin_text(const uint8_t pin[static PIN_BYTES], char buf[static PIN_TEXT_MAX]);

/*
 * Parse one. 0, or -EINVAL with *ret_why a sentence fragment ("no sha256: in
 * front") if not NULL. There is one text for each hash: no blanks, the
 * padding is required.
 */
int pin_parse(const char *s, uint8_t ret[static PIN_BYTES], const char **ret_why);

#endif
