
# Looks at the processes of a job. Arguments: "watch" or "end", the pid of the job script, CPU and wall
# seconds allowed, when the job began in seconds after boot, and its tag. "watch" looks until a limit is
# reached, then writes the reason and ends the processes; "end" ends what is left at once.
# A member is a process that descends from the script, is in its process group or session where the
# script leads that, or has the tag in its environment; once seen it stays one, whoever becomes its
# parent.
BEGIN {
    mode = ARGV[1]; root = ARGV[2]; cpu_max = ARGV[3]; wall_max = ARGV[4]; began = ARGV[5]; tag = ARGV[6]
    "echo $PPID" | getline self
    close("echo $PPID")
    while ((getline line < "/proc/cpuinfo") > 0) if (line ~ /^processor[ \t]*:/) cpus++
    if (cpus < 1) cpus = 1
    find_group()
    if (mode == "end") { recall(); finish("KILL", 20); exit }
    for (;;) {
        look()
        save()
        if (!(root in parent)) { finish("KILL", 20); exit }
        left = cpu_max - best
        wall_left = wall_max - (uptime() - began)
        if (left <= 0) { stop("over_cpu"); exit }
        if (wall_left <= 0) { stop("over_wall"); exit }
        # All CPUs of this node together do not reach the limit in half that time.
        rest = left / (2 * cpus)
        if (rest > wall_left) rest = wall_left
        if (rest > 10) rest = 10
        rest = int(rest)
        if (rest < 1) rest = 1
        system("sleep " rest)
    }
}

# The reason is on the disk before anybody is told to end.
function stop(reason) {
    print reason > ".nesssi/why.new"
    close(".nesssi/why.new")
    system("sync .nesssi/why.new 2>/dev/null; mv -f .nesssi/why.new .nesssi/why")
    signal("TERM")
    system("sleep 2")
    finish("KILL", 20)
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
    return all
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
    split("", marked)
    command = "grep -l NESSSI_TAG=" tag " /proc/[0-9]*/environ 2>/dev/null"
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
    else if (parent[pid] == root || (pid in marked)) verdict = 1
    else {
        verdict = judge(parent[pid], depth + 1)
        if (verdict == 0 && session[root] == root && session[pid] == root) verdict = 1
        if (verdict == 0 && group[root] == root && group[pid] == root) verdict = 1
    }
    judged[pid] = verdict
    return verdict
}

function save(    key) {
    printf "cpu %.2f\n", best > ".nesssi/look"
    for (key in known) print "member " key > ".nesssi/look"
    close(".nesssi/look")
}

function recall(    line, field) {
    while ((getline line < ".nesssi/look") > 0) {
        if (line ~ /^cpu [0-9.]+$/) best = substr(line, 5) + 0
        if (line ~ /^member [0-9]+ [0-9]+$/) { split(line, field, " "); known[field[2] " " field[3]] = 0 }
    }
    close(".nesssi/look")
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
