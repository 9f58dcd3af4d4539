//! The demo's gridmap and nesssi.toml.

use std::fs;

use super::accounts::Accounts;
use super::grid::Grid;
use super::ground::Ground;
use crate::cli::Failure;

/// Writes both, with every path inside the demo's folder.
///
/// # Errors
/// The system's.
pub(super) fn write(ground: &Ground, grid: &Grid) -> Result<(), Failure> {
    let gridmap = format!("\"{}\" {}\n", grid.alice.dn, ground.accounts.strong);
    fs::write(ground.folder.join("gridmap"), gridmap)?;
    fs::write(ground.folder.join("nesssi.toml"), text(ground, grid))?;
    Ok(())
}

fn text(ground: &Ground, grid: &Grid) -> String {
    let Ground { https_port, http_port, accounts, .. } = ground;
    let Accounts { weak, anonymous, services, gatekeeper, developers, .. } = accounts;
    let group =
        developers.as_ref().map_or_else(String::new, |g| format!("control_group = \"{g}\"\n"));
    let services_folder = ground.folder.join("services");
    let services_folder = services_folder.display();
    let alice = &grid.alice.dn;
    let shared = if ground.root { "" } else { "shared_account = true\n" };
    format!(
        r#"# The demo's configuration; nesssi.example.toml explains every key.
[server]
listen_https = "127.0.0.1:{https_port}"
listen_http = "127.0.0.1:{http_port}"
base_url = "https://localhost:{https_port}"
sandbox_url = "http://localhost:{http_port}"
certificate = "grid/hostcert.pem"
private_key = "grid/hostkey.pem"
trust_directory = "grid/certificates"
user = "{gatekeeper}"
control_socket = "run/control"
{group}state_directory = "state"
log_directory = "log"

[policy]
gridmap = "gridmap"
{shared}vo_administrators = ["{alice}"]
access_administrators = ["{alice}"]

[job]
submit_levels = ["strong"]

[shell]
enabled = true
levels = ["strong"]
commands = [["/usr/bin/id", "-un"], ["/bin/ls", "-l", "--", "*"]]

[sandboxes]
root = "sandboxes"

[services]
directory = "services"
account = "{services}"
python = "/usr/bin/python3"
python_path = "python"

[[tree]]
name = "services"
path = "{services_folder}"
allow = ["/"]

[[level]]
name = "strong"
from = "gridmap"
cpu_seconds = 216000

[[level]]
name = "weak"
from = "certificate"
account = "{weak}"
cpu_seconds = 3600

[[level]]
name = "anonymous"
from = "anonymous"
account = "{anonymous}"
cpu_seconds = 900
"#
    )
}
