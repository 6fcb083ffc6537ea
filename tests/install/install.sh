#!/bin/bash
# `make install` with DESTDIR and prefix=/usr: every file where Debian expects
# it, a program builds and runs against what was staged, uninstall leaves no
# file behind.
set -eu
cd "$(dirname "$0")/../.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
faults=0
fault() {
	echo "$*"
	faults=1
}
run_make() {
	make --no-print-directory B="${B:-build}" DESTDIR="$root/stage" prefix=/usr "$@" >"$root/log" 2>&1 ||
		{ cat "$root/log"; exit 1; }
}

mkdir "$root/stage"
run_make install
lib=usr/lib/$("${CC:-cc}" -print-multiarch)
expected="
755 usr/sbin/connectd
755 usr/bin/connectctl
644 $lib/libconnectd.so.0
644 $lib/libconnectd.a
644 $lib/pkgconfig/connectd.pc
644 usr/include/connectd.h
644 usr/include/connectd/libevent.h
644 lib/systemd/system/connectd.service
644 usr/lib/sysusers.d/connectd.conf
644 usr/share/man/man3/libconnectd.3
644 usr/share/man/man5/connectd.conf.5
644 usr/share/man/man7/connectd-protocol.7
644 usr/share/man/man8/connectctl.8
644 usr/share/man/man8/connectd.8
644 usr/share/doc/connectd/connectd.conf
644 usr/share/doc/connectd/connectd.proto
644 usr/share/doc/connectd/admin.proto"
while read -r mode file; do
	[ -n "$file" ] || continue
	[ -f "$root/stage/$file" ] || { fault "not installed: /$file"; continue; }
	[ "$(stat -c %a "$root/stage/$file")" = "$mode" ] || fault "/$file has mode $(stat -c %a "$root/stage/$file"), not $mode"
done <<<"$expected"
[ -d "$root/stage/etc/connectd" ] || fault "no folder /etc/connectd"
[ "$(readlink "$root/stage/$lib/libconnectd.so")" = libconnectd.so.0 ] || fault "libconnectd.so is no link to libconnectd.so.0"
while read -r file; do
	grep -qF " $file" <<<"$expected" || [ "$file" = "$lib/libconnectd.so" ] || fault "installed, but not expected: /$file"
done < <(cd "$root/stage" && find . \( -type f -o -type l \) -printf '%P\n')

# What is installed says where things are, not where it was staged or built.
if grep -rlI "$root" "$root/stage"; then fault "a staged file names the staging folder"; fi
"$root/stage/usr/bin/connectctl" -V | grep -q '^connectctl [0-9]' || fault "connectctl -V does not run"
"$root/stage/usr/sbin/connectd" -V | grep -q '[0-9]' || fault "connectd -V does not run"

# Build against the staged tree, found by pkg-config, as a user would.
export PKG_CONFIG_PATH=$root/stage/$lib/pkgconfig
pc() {
	PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config "$@"
}
[ "$(pc --modversion connectd)" = "$(sed -n 's/^VERSION = //p' Makefile)" ] || fault "pkg-config names another version"
mapfile -t flags < <(pc --cflags --libs connectd | tr ' ' '\n' | sed "/./!d; s|^\(-[IL]\)/usr|\1$root/stage/usr|")
cat >"$root/hello.c" <<'END'
#include <connectd.h>
#include <errno.h>
#include <stdio.h>
int
main(void)
{
	struct connectd_options opt = { .size = sizeof(opt), .socket = "/nonexistent/socket" };
	struct connectd *c = NULL;
	int r = connectd_open(&opt, &c);
	printf("%s %d\n", connectd_version(), r == -ENOENT);
	connectd_close(c);
	return 0;
}
END
said=
if "${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -o "$root/hello" "$root/hello.c" "${flags[@]}" >"$root/log" 2>&1; then
	said=$(LD_LIBRARY_PATH="$root/stage/$lib" "$root/hello")
else
	cat "$root/log"
fi
[ "$said" = "$(pc --modversion connectd) 1" ] || fault "a program against the staged library said: $said"
if command -v c++ >/dev/null; then
	printf '#include <connectd.h>\nint main() { return connectd_version() == 0; }\n' >"$root/hello.cc"
	c++ -Wall -Wextra -Werror -o "$root/hello++" "$root/hello.cc" "${flags[@]}" || fault "the header does not suit C++"
fi
# Only our own names leave the library.
others=$(nm -D --defined-only "$root/stage/$lib/libconnectd.so.0" | awk '$2 != "A" && $3 !~ /^connectd_/ { print $3 }')
[ -z "$others" ] || fault "the library exports: $others"

run_make uninstall
left=$(cd "$root/stage" && find . \( -type f -o -type l \) -printf '/%P\n')
[ -z "$left" ] || fault "uninstall left: $left"
exit $faults
