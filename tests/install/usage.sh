#!/bin/bash
# The command line of connectctl: help for everything, exit statuses, and that
# it gives up at once where no daemon is.
set -u
ctl=${B:-build}/connectctl
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fail=0
unset CONNECTD_SOCKET

expect() { # STATUS TEXT ARGUMENT...
	local status=$1 text=$2 said got
	shift 2
	said=$("$ctl" "$@" 2>&1 </dev/null)
	got=$?
	if [ "$got" -ne "$status" ] || ! grep -qF -- "$text" <<<"$said"; then
		echo "connectctl $*: exit $got, said: $said (wanted exit $status and: $text)"
		fail=1
	fi
}

verbs='send recv peek status peers key queues clients events why purge move hold release peer pair reload renew producers backup disktest bench'
for verb in $verbs; do
	expect 0 "usage: connectctl $verb" "$verb" -h
	expect 0 "usage: connectctl $verb" "$verb" --help
	expect 0 "  $verb " -h
	expect 2 "unrecognized option" "$verb" --no-such-option
	expect 0 "connectctl 0" "$verb" -V
	# The manual knows it too.
	grep -qE "^\.(It Cm $verb|Cm $verb (Ar|Fl))" docs/connectctl.8 ||
		{ echo "connectctl.8 does not know $verb"; fail=1; }
done
expect 2 "usage:"
expect 2 "did you mean \`queues'" quues
expect 2 "an argument is missing" send
expect 2 "exclude each other" send q --text a --lines
expect 2 "accepted, stored or arrived" send q --wait delivered
expect 2 "never stored" send q --memory --wait stored
expect 2 "exclude each other" send q --memory --durable
expect 2 "high, normal or low" send q --priority urgent
expect 2 "a duration is" send q --ttl 5
expect 2 "no name of a queue" send 'no queue' --text a
expect 2 "not UTF-8" send q --text $'\xff'
expect 2 "too many arguments" send q --text a file
expect 2 "say --count 1" recv q --format raw
expect 2 "text, raw or json" recv q --format xml
expect 2 "exclude each other" why q --peer --queue
expect 2 "say --yes" purge q
expect 2 "must be given" bench --from a
expect 2 "from 8 bytes" bench --from a --to b --dest c/d --size 7

# No daemon: said at once, exit 1. The limit is generous, but a wait of its own would pass it.
for verb in status peers key 'pair berlin' reload queues clients events 'peek q' 'why q' 'purge q --yes' 'recv q' 'send q --text a' 'bench --from S --to S --dest q'; do
	# shellcheck disable=SC2086 # words on purpose
	set -- ${verb//S/$root/none}
	begin=$(date +%s%N)
	expect 1 "the daemon does not answer" -s "$root/none" "$@"
	[ $((($(date +%s%N) - begin) / 1000000)) -lt 2000 ] || { echo "connectctl $verb took its time to fail"; fail=1; }
done
export CONNECTD_SOCKET=$root/elsewhere
expect 1 "$root/elsewhere" status
expect 1 "$root/none" status -s "$root/none"
exit $fail
