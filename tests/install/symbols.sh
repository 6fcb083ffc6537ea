#!/bin/bash
# The library exports what client-lib/connectd.symbols lists, under one version
# and nothing else; the header declares the same; the static library leaks no
# other name either.
set -u
B=${B:-build}
fail=0

check() { # WHAT EXPECTED ACTUAL
	if ! diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") >/dev/null; then
		echo "$1:"
		diff <(printf '%s\n' "$2") <(printf '%s\n' "$3")
		fail=1
	fi
}

want=$(LC_ALL=C sort client-lib/connectd.symbols) || exit 1
dynamic=$(nm -D --defined-only "$B/libconnectd.so") || exit 1
check "libconnectd.so exports other symbols than client-lib/connectd.symbols lists (- listed, + exported)" "$want" \
	"$(awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' <<<"$dynamic" | LC_ALL=C sort)"
check "symbols without the version LIBCONNECTD_0" "" "$(awk '$2 != "A" && $3 !~ /@@LIBCONNECTD_0$/ { print $3 }' <<<"$dynamic")"
check "libconnectd.a has other global symbols" "$want" \
	"$(nm -g --defined-only "$B/libconnectd.a" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort)"
# The function declarations of the header: a name in front of an opening bracket at the start of a declaration.
check "connectd.h declares other functions" "$want" \
	"$(grep -oE '^[a-zA-Z].*[ *]connectd_[a-z_]+\(' client-lib/connectd.h | grep -v '^typedef' | grep -oE 'connectd_[a-z_]+\($' |
		tr -d '(' | LC_ALL=C sort)"
[ "$(objdump -p "$B/libconnectd.so" | awk '$1 == "SONAME" { print $2 }')" = libconnectd.so.0 ] || {
	echo "the SONAME is not libconnectd.so.0"
	fail=1
}
exit $fail
