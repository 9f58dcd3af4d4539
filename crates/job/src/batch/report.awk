
# Prints the record. Arguments: reason, exit code, signal, text, start in seconds since 1970, start in
# seconds after boot, the three limits, and the CPU seconds at which the kernel stops a process.
BEGIN {
    while ((getline line < ".nesssi/times") > 0) {
        words = split(line, word, " ")
        for (i = 1; i <= words; i++)
            if (split(word[i], part, /[ms]/) >= 2) cpu += part[1] * 60 + part[2]
    }
    while ((getline line < ".nesssi/look") > 0)
        if (line ~ /^cpu [0-9.]+$/ && substr(line, 5) + 0 > cpu) cpu = substr(line, 5) + 0
    getline line < "/proc/uptime"
    split(line, up, " ")
    wall = up[1] - ARGV[6]
    if (wall < 0) wall = 0
    # Nearer to the limit of the kernel than to its own, it was not watched: the kernel or PBS has stopped it.
    reason = ARGV[1]
    if ((reason == "exited" || reason == "cancelled") && cpu * 2 > ARGV[7] + ARGV[10]) reason = "over_cpu"
    printf "reason=%s\n", reason
    if (ARGV[2] != "") printf "exit_code=%s\n", ARGV[2]
    if (ARGV[3] != "") printf "signal=%s\n", ARGV[3]
    printf "cpu_usec=%.0f\nwall_usec=%.0f\n", cpu * 1000000, wall * 1000000
    printf "started_ms=%.0f\nended_ms=%.0f\n", ARGV[5] * 1000, (ARGV[5] + wall) * 1000
    printf "cpu_seconds_max=%s\nwall_seconds_max=%s\nsandbox_bytes_max=%s\n", ARGV[7], ARGV[8], ARGV[9]
    if (ARGV[4] != "") printf "text=%s\n", ARGV[4]
    printf "end=1\n"
}
