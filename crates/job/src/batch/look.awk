# Looks at the processes of a job. Arguments: "watch", "cancel" or "end", the pid of the job script, CPU and wall
# seconds allowed, when the job began in seconds after boot, its tag, the bytes that its sandbox, the
# working directory, may hold (0: any), and its brand. "watch" looks until a limit is reached, then writes the reason and
# ends the processes; "cancel" asks them to end, and ends them two seconds later; "end" ends them at once.
# A member is a process that descends from the script, is in its process group or session where the
# script leads that, has the tag in its environment, or the brand as its limit of file locks; once seen
# it stays one, whoever becomes its parent.
BEGIN {
    mode = ARGV[1]; root = ARGV[2]; cpu_max = ARGV[3]; wall_max = ARGV[4]; began = ARGV[5]; tag = ARGV[6]
    bytes_max = ARGV[7] + 0; brand = ARGV[8]
    # What has no tag or no brand would be everybody.
    if (root !~ /^[0-9]+$/ || tag !~ /^[0-9a-f]+$/ || brand !~ /^[0-9]+$/ || length(brand) > 19) exit 1
    "echo $PPID" | getline self
    close("echo $PPID")
    count_cpus()
    find_group()
    if (mode != "watch") {
        recall()
        if (mode == "cancel") ask()
        finish("KILL", 20)
        exit
    }
    weighed = began
    for (;;) {
        used = best
        seen = now
        look()
        save()
        now = uptime()
        if (!led || dead[root]) { finish("KILL", 20); exit }
        left = cpu_max - best
        wall_left = wall_max - (now - began)
        if (left <= 0) { stop("over_cpu"); exit }
        if (wall_left <= 0) { stop("over_wall"); exit }
        if (weigh() > bytes_max) { stop("over_bytes"); exit }
        # All CPUs that it may use do not together reach the limit in half that time.
        rest = int(left / (2 * cpus))
        if (rest > wall_left) rest = int(wall_left)
        if (rest > 10) rest = 10
        if (rest < 1) rest = 1
        # As fast as until now it would be reached soon.
        if (now > seen && (best - used) / (now - seen) * 1.5 > left) rest = 0.2
        pause(rest)
    }
}

# The reason is on the disk before anybody is told to end.
function stop(reason) {
    print reason > ".nesssi/why.new"
    close(".nesssi/why.new")
    system("sync .nesssi/why.new 2>/dev/null; mv -f .nesssi/why.new .nesssi/why")
    finish("KILL", 20)
}

function ask(    turn, pid, living) {
    look()
    signal("TERM")
    for (turn = 1; turn <= 10; turn++) {
        pause(0.2)
        look()
        living = 0
        for (pid in member) if (!dead[pid]) living++
        if (living == 0) return
    }
}

# A part of a second where sleep knows of parts. A longer one ends with the script, or with what is waited for.
function pause(seconds) {
    if (seconds < 1) system("sleep " seconds " 2>/dev/null || sleep 1")
    else system("n=" seconds "; while [ $n -gt 0 ] && [ -d /proc/" root " ]" \
        (weighing ? " && [ ! -e .nesssi/bytes ]" : "") "; do sleep 1; n=$((n - 1)); done")
}

# The bytes of the sandbox, or 0 where they are not known just now. du may take long, so it runs beside; a
# twentieth of the time at most.
function weigh(    line, field, bytes) {
    if (bytes_max == 0) return 0
    if (weighing) {
        if ((getline line < ".nesssi/bytes") <= 0) return 0
        close(".nesssi/bytes")
        weighing = 0
        cost = now - weighed
        weighed = now
        split(line, field, " ")
        if (field[1] ~ /^[0-9]+$/) bytes = field[1] * 1024
    } else if (now - weighed >= 5 && now - weighed >= 20 * cost) {
        weighing = 1
        weighed = now
        system("rm -f .nesssi/bytes; (echo $(du -skx . 2>/dev/null) none >.nesssi/bytes.new;" \
            " mv -f .nesssi/bytes.new .nesssi/bytes) </dev/null >/dev/null 2>&1 &")
    }
    return bytes + 0
}

# Signals all members until none is left, so many times at most.
function finish(name, times,    turn) {
    for (turn = 1; turn <= times; turn++) {
        look()
        save()
        if (signal(name) == 0) return
        if (turn > 3) system("sleep 1")
    }
}

function signal(name,    pid, list, count, all) {
    for (pid in member) {
        if (dead[pid]) continue
        list = list " " pid
        all++
        if (++count == 500) { system("kill -" name list " 2>/dev/null"); list = ""; count = 0 }
    }
    if (count > 0) system("kill -" name list " 2>/dev/null")
    return all + 0
}

# Reads all processes, says who is a member, and sums what they have used into best.
function look(    command, folder, file, stat, line, pid, field, sum, key, usage) {
    split("", parent); split("", group); split("", session); split("", dead)
    split("", own); split("", waited); split("", start); split("", member); split("", judged)
    command = "printf \"%s\\n\" /proc/[0-9]*"
    while ((command | getline folder) > 0) {
        file = folder "/stat"
        stat = ""
        # A process may have a newline in its name, and anything else.
        while ((getline line < file) > 0) stat = stat line " "
        close(file)
        if (!sub(/^.*\) /, "", stat) || split(stat, field, " ") < 20) continue
        pid = substr(folder, 7)
        dead[pid] = (field[1] == "Z" || field[1] == "X")
        parent[pid] = field[2]; group[pid] = field[3]; session[pid] = field[4]
        own[pid] = field[12] + field[13]; waited[pid] = field[14] + field[15]; start[pid] = field[20]
    }
    close(command)
    # Whether the pid is still that of the script, and of nobody else by now; and never that of the first process,
    # which everybody descends from.
    if (root_start == "" && (root in start)) root_start = start[root]
    led = (root > 1 && (root in start) && start[root] == root_start)
    split("", marked)
    command = "grep -l -e NESSSI_TAG=" tag " -e \"^Max file locks .* " brand " \"" \
        " /proc/[0-9]*/environ /proc/[0-9]*/limits 2>/dev/null"
    while ((command | getline line) > 0) {
        split(line, field, "/")
        marked[field[3]] = 1
    }
    close(command)
    for (pid in parent) if (judge(pid, 0) == 1) member[pid] = 1
    # Whoever lives, with the children that it has waited for; or everybody ever seen, by himself.
    sum = 0
    split("", here)
    for (pid in member) {
        key = pid " " start[pid]
        known[key] = own[pid]
        here[key] = 1
        sum += own[pid] + waited[pid]
    }
    for (key in known) if (!(key in here)) { gone += known[key]; delete known[key] }
    usage = gone
    for (key in known) usage += known[key]
    if (usage < sum) usage = sum
    usage = usage / 100
    if (usage > best) best = usage
    usage = group_usage()
    if (usage > best) best = usage
}

# 1 for a member, 2 for the watcher and what it has started, 0 for anybody else.
function judge(pid, depth,    verdict) {
    if (pid in judged) return judged[pid]
    if (pid == self) verdict = 2
    else if (pid == root || !(pid in parent) || depth > 4000) verdict = 0
    else if ((pid " " start[pid]) in known) verdict = 1
    else if ((led && parent[pid] == root) || (pid in marked)) verdict = 1
    else {
        verdict = judge(parent[pid], depth + 1)
        if (verdict == 0 && led && session[root] == root && session[pid] == root) verdict = 1
        if (verdict == 0 && led && group[root] == root && group[pid] == root) verdict = 1
    }
    judged[pid] = verdict
    return verdict
}

# It stands whole: whoever looks next begins with it.
function save(    key, file) {
    file = ".nesssi/look." mode
    printf "cpu %.2f\n", best > file
    for (key in known) print "member " key > file
    close(file)
    system("mv -f " file " .nesssi/look")
}

function recall(    line, field) {
    while ((getline line < ".nesssi/look") > 0) {
        if (line ~ /^cpu [0-9.]+$/) best = substr(line, 5) + 0
        if (line ~ /^member [0-9]+ [0-9]+$/) { split(line, field, " "); known[field[2] " " field[3]] = 0 }
    }
    close(".nesssi/look")
}

# As Cpus_allowed_list says: 0-3,8.
function count_cpus(    line, file, part, range, i) {
    file = "/proc/" root "/status"
    while ((getline line < file) > 0)
        if (sub(/^Cpus_allowed_list:[ \t]*/, "", line))
            for (i = split(line, part, ","); i > 0; i--)
                cpus += (split(part[i], range, "-") == 2) ? range[2] - range[1] + 1 : 1
    close(file)
    if (cpus < 1) cpus = 1
}

function uptime(    line, field) {
    getline line < "/proc/uptime"
    close("/proc/uptime")
    split(line, field, " ")
    return field[1]
}

# Slurm gives each job a control group; where it is of version 2 it tells what all have used.
function find_group(    line) {
    while ((getline line < ("/proc/" root "/cgroup")) > 0)
        if (line ~ /^0::/ && match(line, /\/job_[0-9]+/))
            job_group = "/sys/fs/cgroup" substr(line, 4, RSTART + RLENGTH - 4) "/cpu.stat"
    close("/proc/" root "/cgroup")
}

function group_usage(    line, field, usage) {
    if (job_group == "") return 0
    while ((getline line < job_group) > 0) {
        split(line, field, " ")
        if (field[1] == "usage_usec") usage = field[2] / 1000000
    }
    close(job_group)
    return usage + 0
}
