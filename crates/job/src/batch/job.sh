# A job of NESSSI. The batch system knows it by its tag; what is private stands in this text alone.
export LC_ALL=C PATH=/usr/bin:/bin
umask 077
nesssi_n=$(printf '\n.')
nesssi_n=${nesssi_n%.}
@SETTINGS@

# Exit codes of this script's own, when nothing was started: the job crate names them.
if [ -n "${SLURM_ARRAY_JOB_ID:-}${PBS_ARRAY_INDEX:-}${PBS_ARRAYID:-}" ]; then exit 94; fi
if ! command -v awk >/dev/null; then exit 96; fi
cd "$nesssi_sandbox" && [ -d .nesssi ] || exit 90
nesssi_batch_id=${SLURM_JOB_ID:-${PBS_JOBID:-none}}

# Makes files and directories durable, where this node's sync can; never stops the job.
nesssi_keep() {
    sync "$@" 2>/dev/null || sync || :
}

# The guard: whoever makes the directory starts the payload, and nobody after.
if ! mkdir .nesssi/started 2>/dev/null; then
    if [ -d .nesssi/started ]; then exit 91; fi
    exit 93
fi
if ! { printf '%s\n' "$nesssi_batch_id" >.nesssi/started/batch.new &&
    mv .nesssi/started/batch.new .nesssi/started/batch; } 2>/dev/null; then
    rm -f .nesssi/started/batch.new
    rmdir .nesssi/started
    exit 93
fi
nesssi_keep .nesssi/started/batch .nesssi/started .nesssi

nesssi_started=$(date +%s)
read -r nesssi_up nesssi_rest </proc/uptime
nesssi_look='@LOOK@'
nesssi_report='@REPORT@'

# Writes the record: reason, exit code, signal, text. It stands whole or not at all.
nesssi_record() {
    if awk "$nesssi_report" "$1" "$2" "$3" "$4" "$nesssi_started" "$nesssi_up" \
        "$nesssi_cpu_max" "$nesssi_wall_max" "$nesssi_bytes_max" "$nesssi_cpu_held" >.nesssi/record.new; then
        nesssi_keep .nesssi/record.new
        mv -f .nesssi/record.new .nesssi/record
        nesssi_keep .nesssi
    fi
}

if ! (umask "$nesssi_mask" && set -C && : >stdout && : >stderr) 2>/dev/null; then
    nesssi_record start_failed '' '' 'the files stdout and stderr could not be made'
    exit 95
fi

# Looks at the processes of the job, in one of the ways of its own text.
nesssi_look_on() {
    exec awk "$nesssi_look" "$1" $$ "$nesssi_cpu_max" "$nesssi_wall_max" "$nesssi_up" "$nesssi_tag" \
        "$nesssi_bytes_max" "$nesssi_brand" </dev/null >/dev/null 2>&1
}

# Who is asked to end has two seconds. What is left then is killed from here: the batch system kills this script
# after a while, and may not know all that it has started.
nesssi_asked=
nesssi_payload=
nesssi_ending=
nesssi_end_soon() {
    if [ -n "$nesssi_ending" ]; then return; fi
    (trap '' TERM INT HUP; nesssi_look_on cancel) &
    nesssi_ending=$!
}
trap 'nesssi_asked=1; nesssi_again=1; [ -z "$nesssi_payload" ] || nesssi_end_soon' TERM INT HUP
(
    umask "$nesssi_mask"
    # The brand: a limit that no system heeds any more, which every process has from its parent whatever else it
    # puts off.
    ulimit -w "$nesssi_brand" 2>/dev/null || ulimit -x "$nesssi_brand" 2>/dev/null
    # A second stop for each process by itself, should the watcher be too slow or gone.
    ulimit -S -t "$nesssi_cpu_held" 2>/dev/null
    ulimit -H -t "$((nesssi_cpu_held + 3))" 2>/dev/null
    set -- @ARGV@
    # Nothing that this shell was started with goes further but what the batch system tells its jobs.
    for nesssi_name in $(awk 'BEGIN {
        for (name in ENVIRON)
            if (name ~ /^[A-Za-z_][A-Za-z0-9_]*$/ && name !~ /^(SLURM_|SLURMD_|PBS_|CUDA_VISIBLE_DEVICES$|TMPDIR$)/)
                print name
    }'); do
        command unset "$nesssi_name" 2>/dev/null
    done
@EXPORTS@
    export NESSSI_TAG="$nesssi_tag"
    # A program is a file, also one that has the name of something that the shell does itself.
    nesssi_found=
    case $1 in
        */*) nesssi_found=$1 ;;
        *)
            set -f
            IFS=:
            for nesssi_folder in $PATH; do
                if [ -f "$nesssi_folder/$1" ] && [ -x "$nesssi_folder/$1" ]; then
                    nesssi_found=$nesssi_folder/$1
                    break
                fi
            done
            ;;
    esac
    if [ -n "$nesssi_found" ] && [ -x "$nesssi_found" ] && [ ! -d "$nesssi_found" ]; then exec "$@"; fi
    : >.nesssi/unstarted
    exit 127
) </dev/null >>stdout 2>>stderr &
nesssi_payload=$!
# The watcher is nobody's child and in nobody's session, where there is setsid: a batch system that ends the
# script and its descendants, or its session, leaves it to end the rest.
nesssi_alone=
if command -v setsid >/dev/null; then nesssi_alone=1; fi
nesssi_watcher=$(
    trap '' TERM INT HUP
    if [ -n "$nesssi_alone" ]; then
        setsid awk "$nesssi_look" watch $$ "$nesssi_cpu_max" "$nesssi_wall_max" "$nesssi_up" "$nesssi_tag" \
            "$nesssi_bytes_max" "$nesssi_brand" </dev/null >/dev/null 2>&1 &
    else
        (nesssi_look_on watch) &
    fi
    echo $!
)
# One that asked before the payload was known.
[ -z "$nesssi_asked" ] || nesssi_end_soon

# A signal ends a wait, not the payload: it is waited for again.
nesssi_status=
while :; do
    nesssi_again=
    wait "$nesssi_payload"
    nesssi_told=$?
    if [ "$nesssi_told" -ne 127 ] || [ -z "$nesssi_status" ]; then nesssi_status=$nesssi_told; fi
    [ -n "$nesssi_again" ] || break
done
# From here on it is over anyway, and is written down.
trap '' TERM INT HUP
times >.nesssi/times
[ -z "$nesssi_ending" ] || wait "$nesssi_ending"
# The watcher's group is its own, with whatever it has just started.
if [ -n "$nesssi_alone" ]; then kill -s KILL -- "-$nesssi_watcher" 2>/dev/null; fi
kill -s KILL "$nesssi_watcher" 2>/dev/null
# What the payload has left is ended before the record says that the job has.
(nesssi_look_on end)

nesssi_reason=exited
nesssi_code=$nesssi_status
nesssi_signal=
nesssi_text=
if [ "$nesssi_status" -gt 128 ] && [ "$nesssi_status" -le 192 ]; then
    nesssi_signal=$((nesssi_status - 128))
    nesssi_code=
fi
if [ -f .nesssi/unstarted ]; then
    nesssi_reason=start_failed
    nesssi_code=
    nesssi_text='the program is not there, or may not be run'
elif [ -s .nesssi/why ]; then
    # The payload could have written there: anything else is nobody's word.
    read -r nesssi_reason <.nesssi/why
    case $nesssi_reason in over_cpu | over_wall | over_bytes) ;; *) nesssi_reason=lost ;; esac
elif [ "$nesssi_status" -eq 152 ]; then
    nesssi_reason=over_cpu
elif [ -n "$nesssi_asked" ]; then
    nesssi_reason=cancelled
    # The batch system has counted from a little earlier.
    if [ "$(($(date +%s) - nesssi_started + 10))" -ge "$nesssi_wall_max" ]; then nesssi_reason=over_wall; fi
fi
nesssi_record "$nesssi_reason" "$nesssi_code" "$nesssi_signal" "$nesssi_text"
exit "$nesssi_status"
