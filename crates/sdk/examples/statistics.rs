//! A service in Rust: statistics of numbers, at once and as a job.
//!
//! Its folder holds `.clarens_access` and this `service.toml`:
//!
//! ```toml
//! command = ["/path/of/the/built/statistics"]
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;

use nesssi_sdk::{Failure, Request, Service};

/// Most numbers of one call.
const NUMBERS_MAX: usize = 100_000;

fn main() -> ExitCode {
    Service::new("Statistics of numbers.")
        .contact("alice@example.org")
        .version("1.0")
        .method("mean", ["numbers"], "mean(numbers): their mean.", mean)
        .method(
            "summary",
            ["numbers", "digits"],
            "summary(numbers[, digits]): a struct of count, mean and largest, rounded to so many digits.",
            summary,
        )
        .method(
            "sort",
            ["text", "cpu_seconds"],
            "sort(text, cpu_seconds): a job that sorts the lines of a text; its session id.",
            sort,
        )
        .run()
}

fn mean(_req: &Request<'_>, (numbers,): (Vec<f64>,)) -> Result<f64, Failure> {
    if numbers.is_empty() {
        return Err(Failure::fault(400, "there is no mean of no numbers"));
    }
    if numbers.len() > NUMBERS_MAX {
        return Err(Failure::fault(413, format!("at most {NUMBERS_MAX} numbers are taken")));
    }
    let count = u32::try_from(numbers.len())?;
    Ok(numbers.iter().sum::<f64>() / f64::from(count))
}

fn summary(
    req: &Request<'_>,
    (numbers, digits): (Vec<f64>, Option<u8>),
) -> Result<BTreeMap<String, f64>, Failure> {
    let scale = 10_f64.powi(i32::from(digits.unwrap_or(6)));
    let round = |number: f64| (number * scale).round() / scale;
    let count = f64::from(u32::try_from(numbers.len())?);
    let largest = numbers.iter().copied().fold(f64::MIN, f64::max);
    let mean = mean(req, (numbers,))?;
    let members = [("count", count), ("mean", round(mean)), ("largest", round(largest))];
    Ok(members.map(|(name, number)| (name.to_owned(), number)).into())
}

fn sort(req: &Request<'_>, (text, seconds): (String, f64)) -> Result<String, Failure> {
    // The input lies in the sandbox before the job is there.
    let prepared = req.prepare(seconds)?;
    std::fs::write(format!("{}/input", prepared.sandbox), text)?;
    Ok(req.run_job(seconds, Some(&prepared.session), ["/usr/bin/sort", "input"])?)
}
