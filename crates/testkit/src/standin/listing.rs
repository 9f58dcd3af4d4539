//! The forms of `qstat`.

use serde_json::{Map, Value, json};

use super::SERVER;
use super::job::{StandInJob, StandInState};
use super::state::now_ms;

/// `qstat -f -F json`. There is no `Jobs` where there is none.
pub(super) fn json(jobs: &[&StandInJob]) -> Vec<u8> {
    let mut answer = json!({
        "timestamp": now_ms() / 1000,
        "pbs_version": "23.06.06",
        "pbs_server": SERVER,
    });
    if !jobs.is_empty() {
        let jobs: Map<String, Value> =
            jobs.iter().map(|job| (job.id(), Value::Object(nested(job)))).collect();
        answer["Jobs"] = Value::Object(jobs);
    }
    let mut bytes = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, form);
    serde::Serialize::serialize(&answer, &mut writer).unwrap();
    bytes.push(b'\n');
    bytes
}

/// `qstat -f`: long lines are folded.
pub(super) fn text(jobs: &[&StandInJob]) -> Vec<u8> {
    let mut text = String::new();
    for job in jobs {
        text.push_str(&format!("Job Id: {}\n", job.id()));
        for (key, value) in attributes(job) {
            let line: Vec<char> = format!("    {key} = {value}").chars().collect();
            let mut pieces = line.chunks(78).map(|piece| piece.iter().collect::<String>());
            text.push_str(&pieces.next().unwrap_or_default());
            pieces.for_each(|piece| text.push_str(&format!("\n\t{piece}")));
            text.push('\n');
        }
        text.push('\n');
    }
    text.into()
}

/// `qstat`.
pub(super) fn brief(jobs: &[&StandInJob]) -> Vec<u8> {
    let mut text = String::new();
    if !jobs.is_empty() {
        text.push_str("Job id            Name             User              Time Use S Queue\n");
        text.push_str("----------------  ---------------- ----------------  -------- - -----\n");
    }
    for job in jobs {
        text.push_str(&format!(
            "{:<17} {:<16.16} {:<16.16} {:>9} {} {}\n",
            job.id(),
            job.name,
            job.owner,
            clock(job.cput),
            job.state.letter(),
            job.queue
        ));
    }
    text.into()
}

/// All that is told of a job, in OpenPBS's order; resources and variables with a dot in the name.
fn attributes(job: &StandInJob) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut tell = |key: &str, value: String| all.push((key.to_owned(), value));
    tell("Job_Name", job.name.clone());
    tell("Job_Owner", format!("{}@{SERVER}", job.owner));
    if let Some(started) = job.started {
        let until = job.ended_ms.unwrap_or_else(now_ms) / 1000;
        tell("resources_used.cpupercent", "0".to_owned());
        tell("resources_used.cput", clock(job.cput));
        tell("resources_used.mem", "2728kb".to_owned());
        tell("resources_used.ncpus", "1".to_owned());
        tell("resources_used.walltime", clock(until.saturating_sub(started)));
    }
    tell("job_state", job.state.letter().to_owned());
    tell("queue", job.queue.clone());
    tell("server", SERVER.to_owned());
    tell("Checkpoint", "u".to_owned());
    tell("ctime", date(job.submitted));
    tell("Error_Path", "/dev/null".to_owned());
    tell("Hold_Types", if job.state == StandInState::Held { "u" } else { "n" }.to_owned());
    tell("Output_Path", "/dev/null".to_owned());
    tell("Priority", "0".to_owned());
    tell("qtime", date(job.submitted));
    tell("Rerunable", if job.rerunnable { "True" } else { "False" }.to_owned());
    for (name, value) in &job.resources {
        tell(&format!("Resource_List.{name}"), value.clone());
    }
    tell("Resource_List.select", job.select.clone());
    if let Some(started) = job.started {
        tell("stime", date(started));
    }
    if let Some(session) = job.session {
        tell("session_id", session.to_string());
    }
    tell("substate", job.substate.to_string());
    let variables = job.variables.iter().map(|(name, value)| format!("{name}={value}"));
    tell("Variable_List", variables.collect::<Vec<_>>().join(","));
    if !job.comment.is_empty() {
        tell("comment", job.comment.clone());
    }
    tell("run_count", job.run_count.to_string());
    if let Some(status) = job.exit_status {
        tell("Exit_status", status.to_string());
    }
    tell("Submit_arguments", job.submit_arguments.clone());
    if let Some(ended) = job.ended_ms {
        tell("history_timestamp", (ended / 1000).to_string());
    }
    tell("project", "_pbs_project_default".to_owned());
    tell("Submit_Host", SERVER.to_owned());
    all
}

/// With objects for resources and variables, and numbers for what looks like one.
fn nested(job: &StandInJob) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in attributes(job) {
        if key == "Variable_List" {
            let pairs = job.variables.iter().map(|(name, value)| (name.clone(), typed(value)));
            map.insert(key, Value::Object(pairs.collect()));
        } else if let Some((outer, inner)) = key.split_once('.') {
            let object = map.entry(outer).or_insert_with(|| json!({}));
            object[inner] = typed(&value);
        } else {
            map.insert(key, typed(&value));
        }
    }
    map
}

fn typed(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) => json!(number),
        Err(_) => json!(text),
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `Sun Nov 22 01:11:30 2026`, of seconds since 1970, in UTC.
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [(&str, u64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut days = seconds / 86_400;
    let weekday = DAYS[usize::try_from(days % 7).unwrap()];
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut months = MONTHS.iter();
    let mut month = months.next().unwrap();
    let length = |month: &(&str, u64)| month.1 + u64::from(month.0 == "Feb" && leap(year));
    while days >= length(month) {
        days -= length(month);
        month = months.next().unwrap();
    }
    format!("{weekday} {} {:2} {} {year}", month.0, days + 1, clock(seconds % 86_400))
}
