#!/usr/bin/env bash
# Edit every scan of a folder, unattended.
#
#   examples/edit_overnight.sh SCANS OUTPUT [options of `cxredit apply`]
#   examples/edit_overnight.sh /data/clinic edited --sweep -3:3:7 --method encoder
#
# SCANS is a folder (searched recursively), a zip, or a text file that lists one path a line. OUTPUT receives the
# edits, a sheet for each scan, manifest.csv, log.txt and failed.csv.
#
# Stop it at any moment (Ctrl-C, power) and start it again with the same words: scans that are done are kept.
# A scan that cannot be read stops nothing. If cxredit itself is ended, for want of memory say, it is started again.
# Exit code: 0 every scan is edited; 1 some failed, and failed.csv says which and why; otherwise as `cxredit apply`.
set -euo pipefail

if (($# < 2)); then
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
scans=$1 output=$2
shift 2
attempts=5

mkdir -p "$output"
# Two runs in one folder would undo each other's work; one that outlived its terminal still holds the lock.
if command -v flock >/dev/null; then
    exec 9>"$output/.lock"
    flock --timeout 10 9 || { echo "another run is at work in $output" >&2 && exit 1; }
fi
log=$output/log.txt result=$output/result.json failed=$output/failed.csv

edit() {
    if [[ -f $scans && $scans == *.txt ]]; then
        cxredit apply - --output "$output" --json "$@" <"$scans"
    else
        cxredit apply "$scans" --output "$output" --json "$@"
    fi
}

for ((attempt = 1; ; attempt++)); do
    echo "$(date '+%F %T') attempt $attempt" >>"$log"
    set +e
    edit "$@" 2>&1 >"$result" | tee -a "$log" >&2
    code=${PIPESTATUS[0]}
    set -e
    # Below 128 cxredit ended by itself; above, a signal ended it. 130 is Ctrl-C, after which nobody wants another try.
    if ((code < 128 || code == 130 || attempt == attempts)); then
        break
    fi
    echo "$(date '+%F %T') ended by signal $((code - 128)); going on" | tee -a "$log" >&2
done
# Without a result the run did not get through all scans: wrong options, a full disk, Ctrl-C. The log says what.
if ((code > 1)) || [[ ! -s $result ]]; then
    exit "$code"
fi

python3 - "$result" "$failed" <<'PYTHON'
import csv, json, sys

result = json.load(open(sys.argv[1], encoding="utf-8"))
with open(sys.argv[2], "w", newline="", encoding="utf-8") as file:
    writer = csv.DictWriter(file, ("source", "reason"))
    writer.writeheader()
    writer.writerows(result["failed"])
done, refused, before = (result[f"images_{which}"] for which in ("edited", "refused", "already_done"))
failed = result["failed"]
print(f"{done} scans edited now, {refused} refused, {before} were done before, {len(failed)} failed")
for each in failed:
    print(f"  {each['source']}: {each['reason']}")
sys.exit(1 if failed else 0)
PYTHON
