//! Log lines go to standard error, which is the monitor's: one line each, what is logged by `RUST_LOG`.

use tracing_subscriber::EnvFilter;

/// Begins to log. A second beginning changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging had begun before");
    }
}
