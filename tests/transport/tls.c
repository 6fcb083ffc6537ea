/* What TLS adds: who is at the other end, and what becomes of what is no TLS. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "suite.h"

TCase *
tls_tests(void)
{
	TCase *t = tcase_create("tls");

	return t;
}
TCase *
openssl_tests(void)
{
	return tcase_create("openssl");
}
