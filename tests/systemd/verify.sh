#!/bin/bash
# The unit as `make install` makes it: systemd finds nothing wrong with it, its
# exposure is at most 1.5, and what must not be switched on is not.
set -eu
if ! command -v systemd-analyze >/dev/null; then
	echo "systemd-analyze is not installed"
	exit 77
fi
cd "$(dirname "$0")/../.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
make --no-print-directory B="${B:-build}" DESTDIR="$root" prefix=/usr install >"$root/log" 2>&1 || { cat "$root/log"; exit 1; }
unit=$root/lib/systemd/system/connectd.service
faults=0
fault() {
	echo "$*"
	faults=1
}

if grep -n '@[a-z]*@' "$unit"; then fault "a place in the unit was not filled in"; fi

# The exposure counts in tenths.
systemd-analyze security --offline=true --threshold=15 --no-pager "$unit" >"$root/security" ||
	fault "$(tail -n 1 "$root/security")"
# A unit without any of it must not pass: else the line above proves nothing.
grep -vE '^(Protect|Private|Restrict|System|Capability|NoNew|Memory|Lock|Device)' "$unit" >"$root/open.service"
if systemd-analyze security --offline=true --threshold=15 --no-pager "$root/open.service" >"$root/security"; then
	fault "an unprotected unit was found protected"
fi

# With the program where it was staged; the units it refers to are this system's.
mkdir "$root/units"
sed "s#^Exec\(Start\|Reload\)=#&$root#" "$unit" >"$root/units/connectd.service"
said=$(systemd-analyze verify --man=no "$root/units/connectd.service" 2>&1) || fault "verify failed"
[ -z "$said" ] || fault "$said"
sed 's/^WatchdogSec/Watchdog/' "$root/units/connectd.service" >"$root/wrong.service"
[ -n "$(systemd-analyze verify --man=no "$root/wrong.service" 2>&1)" ] || fault "a wrong key went unnoticed"

# Client credentials and unit names need these two as they are.
if grep -qE '^PrivateUsers=(yes|true|1|on|self)' "$unit"; then fault "PrivateUsers is on: SO_PEERCRED would say 65534"; fi
if grep -qE '^ProtectProc=(invisible|noaccess|ptraceable)' "$unit"; then fault "ProtectProc hides the clients' units"; fi
grep -qx "ExecReload=/usr/bin/connectctl reload" "$unit" || fault "the unit cannot be reloaded"
for line in Type=notify NotifyAccess=main RestartPreventExitStatus=78 User=connectd StateDirectoryMode=0700; do
	grep -qx "$line" "$unit" || fault "the unit does not say $line"
done

systemd-sysusers --root="$root" --dry-run "$root/usr/lib/sysusers.d/connectd.conf" >"$root/users" 2>&1 ||
	fault "$(cat "$root/users")"
grep -q "Creating user 'connectd'" "$root/users" || fault "sysusers makes no user connectd"
exit $faults
