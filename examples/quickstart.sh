#!/bin/bash
# quickstart [COUNT]: two nodes on this machine, paris and berlin, pass orders.
# On the way berlin is killed (kill -9) and started again. Everything lives in a folder of its own, which is removed at the end, also
# after a failure. B names the build folder. Exits 1 if anything goes wrong.
set -u
count=${1:-3000}
cd "$(dirname "$0")/.." || exit 1
build=$(cd "${B:-build}" && pwd) || exit 1
dir=$(mktemp -d /tmp/cXXXX) || exit 1
declare -A daemon # process ids by node
others=()

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n# %s\n' "$*"; }
# A command as one would type it, and what it says.
show() {
	local line="$*"
	line=${line//"$build/"/}
	printf '$ %s\n' "${line//"$dir/"/}"
	"$@"
}

cleanup() {
	status=$?
	trap - EXIT INT TERM
	for pid in "${others[@]}" "${daemon[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${others[@]}" "${daemon[@]}"; do wait "$pid" 2>/dev/null; done
	rm -rf "$dir"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
	echo "quickstart: $*" >&2
	for log in "$dir"/*.log; do
		[ -f "$log" ] || continue
		echo "--- $(basename "$log")" >&2
		cat "$log" >&2
	done
	exit 1
}

# Start the daemon of a node and wait until it answers.
start() {
	"$build/connectd" -c "$dir/$1.conf" 2>>"$dir/$1.log" &
	daemon[$1]=$!
	for _ in {1..100}; do
		"$build/connectctl" -s "$dir/$1.sock" status >/dev/null 2>&1 && return
		kill -0 $! 2>/dev/null || fail "the daemon of $1 did not start"
		sleep 0.05
	done
	fail "the daemon of $1 does not answer"
}

# Ask a daemon until its answer matches.
await() {
	for _ in {1..200}; do
		"$build/connectctl" -s "$dir/$1.sock" "$2" 2>/dev/null | grep -Eq "$3" && return
		sleep 0.05
	done
	fail "waited in vain for '$3' in the $2 of $1"
}

say "Two nodes on this machine, over TLS. Each makes its own key, and is known to the other by the fingerprint of that."
for node in paris berlin; do
	cat >"$dir/$node.conf" <<-END
		[node]
		name = $node
		state = $dir/$node
		socket = $dir/$node.sock
	END
done
show "$build/connectd" -c "$dir/paris.conf" -k >"$dir/paris.key" || fail "paris has no key"
show "$build/connectd" -c "$dir/berlin.conf" -k >"$dir/berlin.key" || fail "berlin has no key"
cat "$dir/paris.key" "$dir/berlin.key"

say "berlin waits for connections from paris; each names the other. The queues are on disk."
cat >>"$dir/berlin.conf" <<END

[listen "lan"]
address = tls://127.0.0.1:0

[queue "orders"]
durable = yes

[peer "paris"]
fingerprint = $(tail -n 1 "$dir/paris.key")
END
show cat "$dir/berlin.conf"
start berlin
# Port 0 means any free one; the daemon knows which. It keeps that one when it is started again.
url=$("$build/connectctl" -s "$dir/berlin.sock" --json status | grep -o 'tls://127\.0\.0\.1:[0-9]*')
[ -n "$url" ] || fail "berlin does not say where it listens"
sed -i "s|^address = .*|address = $url|" "$dir/berlin.conf"

cat >>"$dir/paris.conf" <<END

[queue "berlin/orders"]
durable = yes

[peer "berlin"]
address = $url
fingerprint = $(tail -n 1 "$dir/berlin.key")
backoff_max = 1s
END
echo
show cat "$dir/paris.conf"
start paris
await paris peers '^berlin +up'

first=$((count / 3))
say "A program at berlin takes orders from the queue 'orders'; one at paris sends $first of three types to 'berlin/orders'."
"$build/examples/order_recv" -s "$dir/berlin.sock" -q orders --count "$count" --timeout 30 >"$dir/received" 2>"$dir/order_recv.log" &
receiver=$!
others+=("$receiver")
await berlin queues '^orders '
"$build/examples/order_send" -s "$dir/paris.sock" -t 30 berlin/orders "$first" 2>"$dir/order_send.log" || fail "sending failed"

say "berlin is killed: no time to say or write anything. The programs do not notice; paris sends the other $((count - first)) all the same."
echo "\$ kill -9 BERLIN"
{ kill -9 "${daemon[berlin]}" && wait "${daemon[berlin]}"; } 2>/dev/null
unset 'daemon[berlin]'
"$build/examples/order_send" -s "$dir/paris.sock" -t 30 -f $((first + 1)) berlin/orders $((count - first)) >"$dir/sent" 2>>"$dir/order_send.log" &
sender=$!
others+=("$sender")
await paris queues "^berlin/orders +$((count - first)) "
show "$build/connectctl" -s "$dir/paris.sock" queues || fail "connectctl failed"

say "berlin is started again. What it had confirmed is on its disk, what it had not is still at paris."
start berlin
wait "$sender" || fail "sending failed"
cat "$dir/sent"
wait "$receiver" || fail "receiving failed: $(cat "$dir/received")"
others=()
cat "$dir/received"
echo "# (again: taken before the kill, but the ack was not on disk yet; delivered once more, marked redelivered)"

say "What the daemons say about it"
for node in paris berlin; do
	show "$build/connectctl" -s "$dir/$node.sock" peers || fail "connectctl failed"
	show "$build/connectctl" -s "$dir/$node.sock" queues || fail "connectctl failed"
done
show "$build/connectctl" -s "$dir/paris.sock" status | head -n 16

say "An orderly stop"
for node in paris berlin; do
	kill "${daemon[$node]}"
	wait "${daemon[$node]}" || fail "$node did not stop in order (exit $?)"
	unset "daemon[$node]"
done
grep -E 'lost|error' "$dir"/*.log && fail "messages were lost"
echo "done: $count of $count orders arrived, once and in order, although berlin was killed on the way"
