//! What the demo shows: the commands as a visitor would type them, what came back, and checks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::grid::{Credential, Grid};
use super::ground::Ground;
use super::{server, tools};
use crate::cli::{Failure, say};

const WAIT_SECONDS_MAX: u64 = 60;

/// Who types.
#[derive(Clone, Copy)]
enum Caller<'a> {
    Certified(&'a Credential),
    Guest,
}

/// Runs every act in order.
///
/// # Errors
/// The first answer that is not what it must be.
pub(super) async fn all(ground: &Ground, grid: &Grid) -> Result<(), Failure> {
    let show = Show { ground, grid };
    say(&format!(
        "\n$ export NESSSI_URL={} NESSSI_CA={} NESSSI_CONFIG={}",
        ground.url(),
        grid.trust_directory.display(),
        ground.folder.join("nesssi.toml").display()
    ));
    say(&format!("$ cd {}", ground.people().display()));
    let account = &ground.accounts;
    show.adds(
        "1. A strong caller: certificate in the gridmap",
        Caller::Certified(&grid.alice),
        &account.strong,
    )
    .await?;
    show.adds(
        "2. A weak caller: a certificate that nobody mapped",
        Caller::Certified(&grid.wendy),
        &account.weak,
    )
    .await?;
    show.adds("3. An anonymous caller: no certificate", Caller::Guest, &account.anonymous).await?;
    show.is_refused()?;
    show.is_stopped().await?;
    show.speaks_python()?;
    show.submits()?;
    show.restarts()
}

struct Show<'a> {
    ground: &'a Ground,
    grid: &'a Grid,
}

impl Show<'_> {
    /// A caller runs `sleepyAdd`; the job runs as `account`; a browser reads the sum.
    async fn adds(&self, title: &str, caller: Caller<'_>, account: &str) -> Result<(), Failure> {
        say(&format!("\n== {title}"));
        let session = self.starts(caller, &["call", "sleepy.sleepyAdd", "1", "3", "5"])?;
        let status = self.wait(caller, &session, "done").await?;
        say(&status);
        let path = format!("/sandboxes/{session}/stdout");
        say(&format!("$ curl http://localhost:{}{path}", self.ground.http_port));
        let (head, body) = server::get(self.ground.http_port, &path)?;
        say(body.trim_end());
        expect(head.starts_with("HTTP/1.1 200"), "the browser gets the file", &head)?;
        expect(body.contains("3 + 5 = 8"), "the sum is 8", &body)?;
        self.check_owner(&session, account)
    }

    /// Root looks at who owns the sandbox: the promise of the whole.
    fn check_owner(&self, session: &str, account: &str) -> Result<(), Failure> {
        let sandbox = self.ground.folder.join("sandboxes").join(account).join(session);
        let owner = fs::metadata(&sandbox)?.uid();
        let name = tools::run("id", &["-un", &owner.to_string()])?;
        say(&format!("the sandbox belongs to {}", name.trim()));
        expect(name.trim() == account, "the job ran as the right account", &name)
    }

    /// Too much is asked for, and the same call is refused by what the credential is worth.
    fn is_refused(&self) -> Result<(), Failure> {
        say("\n== 4. The request and the credential are judged together");
        let words = ["call", "sleepy.burn", "2000"];
        let refused = self.types(Caller::Guest, &words)?;
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        expect(refused.status.code() == Some(1), "an anonymous caller is refused", &text)?;
        let told = ["413", "2000", "900", "anonymous"].iter().all(|word| text.contains(word));
        expect(told, "the fault says what was asked, the limit and the level", &text)?;
        say("the same call with a certificate is within its level:");
        let session = self.starts(Caller::Certified(&self.grid.wendy), &words)?;
        let cancelled = self.types(Caller::Certified(&self.grid.wendy), &["cancel", &session])?;
        let text = String::from_utf8_lossy(&cancelled.stdout).into_owned();
        expect(text.contains("cancelled"), "and can be cancelled", &text)
    }

    /// A job that burns longer than it asked for is stopped.
    async fn is_stopped(&self) -> Result<(), Failure> {
        say("\n== 5. A job that burns too long is stopped by its CPU limit");
        let session = self.starts(Caller::Guest, &["call", "sleepy.burn", "1"])?;
        let status = self.wait(Caller::Guest, &session, "over_limit").await?;
        say(&status);
        Ok(())
    }

    /// The same from Python, as the developers' guide has it.
    fn speaks_python(&self) -> Result<(), Failure> {
        say("\n== 6. The same from Python");
        let url = self.ground.url();
        let Credential { certificate, key, .. } = &self.grid.alice;
        let (certificate, key) = (certificate.display(), key.display());
        let code = format!(
            "import ClarensDpe as Nesssi\n\
             server = Nesssi.client('{url}', certfile='{certificate}', keyfile='{key}', debug=0)\n\
             print(server.echo.echo('hello'))\n\
             session = server.sleepy.sleepyAdd(0, 20, 22)\n\
             print(server.sleepy.monitor(session))\n"
        );
        say(&format!("$ python3\n{code}"));
        let output = tools::command("/usr/bin/python3")
            .args(["-c", &code])
            .env("PYTHONPATH", self.ground.folder.join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("NESSSI_CA", self.ca())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        say(text.trim_end());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        expect(output.status.success(), "the Python client runs", &errors)?;
        expect(text.contains("hello") && text.contains("state: "), "and is answered", &text)
    }

    /// A command of the caller's own, with a file of his; and the server's own services.
    fn submits(&self) -> Result<(), Failure> {
        say(
            "\n== 7. A command of one's own, where the level may, and what else the server answers",
        );
        fs::write(self.ground.people().join("data.txt"), "pear\napple\n")?;
        say("$ printf 'pear\\napple\\n' > data.txt");
        let alice = Caller::Certified(&self.grid.alice);
        let sort = ["submit", "--put", "data.txt", "--", "/usr/bin/sort", "data.txt"];
        let session = self.starts(alice, &sort)?;
        self.tells(alice, &["tail", "-f", &session], "apple\npear\n")?;
        self.tells(alice, &["jobs", "--limit", "1"], "done")?;
        let account = &self.ground.accounts.strong;
        self.tells(alice, &["call", "shell.cmd", "/usr/bin/id -un"], account)?;
        self.tells(alice, &["call", "file.ls", "services"], "sleepy")?;
        self.tells(alice, &["help", "wordcount"], "wordcount.count(text: string)")
    }

    /// A developer takes up changed code, without root and without stopping the server.
    fn restarts(&self) -> Result<(), Failure> {
        say("\n== 8. A developer restarts a service, without root");
        let mut command = tools::command(self.ground.folder.join("bin/nesssi"));
        command.env("NESSSI_CONFIG", self.ground.folder.join("nesssi.toml"));
        if let Some(name) = &self.ground.accounts.developers {
            let id = |flag| -> Result<u32, Failure> {
                Ok(tools::run("id", &[flag, name])?.trim().parse()?)
            };
            command.uid(id("-u")?).gid(id("-g")?);
            say(&format!("$ id -un\n{name}"));
        }
        say("$ nesssi service restart sleepy");
        let output = command.args(["service", "restart", "sleepy"]).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        say(text.trim_end());
        expect(output.status.success(), "the service is restarted", &text)
    }

    fn ca(&self) -> &Path {
        &self.grid.trust_directory
    }

    /// Types a `nesssi` command for a caller, and shows it with what it printed.
    fn types(&self, caller: Caller<'_>, words: &[&str]) -> Result<Output, Failure> {
        let who = words_of(caller);
        let quoted = |word: &&str| {
            if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() }
        };
        let typed: Vec<String> = words.iter().map(quoted).collect();
        say(&format!("$ nesssi {who} {}", typed.join(" ")));
        let output = self.run(caller, words)?;
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text);
            if !text.trim().is_empty() {
                say(text.trim_end());
            }
        }
        Ok(output)
    }

    /// Types a call that answers `expected`, among other things.
    fn tells(&self, caller: Caller<'_>, words: &[&str], expected: &str) -> Result<(), Failure> {
        let output = self.types(caller, words)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = output.status.success() && text.contains(expected);
        expect(told, &format!("`{}` tells {expected:?}", words.join(" ")), &text)
    }

    fn run(&self, caller: Caller<'_>, words: &[&str]) -> Result<Output, Failure> {
        let mut command = tools::command(self.ground.folder.join("bin/nesssi"));
        command.env("NESSSI_URL", self.ground.url()).env("NESSSI_CA", self.ca());
        command.current_dir(self.ground.people());
        match caller {
            Caller::Certified(Credential { certificate, key, .. }) => {
                command.arg("--cert").arg(certificate).arg("--key").arg(key);
            }
            Caller::Guest => {
                command.arg("--guest");
            }
        }
        Ok(command.args(words).output()?)
    }

    /// Types a call that answers a session id.
    fn starts(&self, caller: Caller<'_>, words: &[&str]) -> Result<String, Failure> {
        let output = self.types(caller, words)?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let is_id = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        expect(is_id, "the answer is a session id", &text)?;
        Ok(text)
    }

    /// Asks for the status again and again until it names `state`; the last answer.
    async fn wait(
        &self,
        caller: Caller<'_>,
        session: &str,
        state: &str,
    ) -> Result<String, Failure> {
        let who = words_of(caller);
        say(&format!("$ nesssi {who} status {session}    # again and again, until {state}"));
        let end = Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX);
        loop {
            let output = self.run(caller, &["status", session])?;
            let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            if text.contains(&format!("state: {state}")) {
                return Ok(text);
            }
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            expect(output.status.success(), "the status is answered", &errors)?;
            let ended = ["failed", "cancelled", "lost", "over_limit", "done"];
            let wrong = ended.iter().any(|word| text.contains(&format!("state: {word}")));
            expect(!wrong && Instant::now() < end, &format!("the job comes to {state}"), &text)?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The words that say who calls.
fn words_of(caller: Caller<'_>) -> String {
    match caller {
        Caller::Certified(Credential { certificate, key, .. }) => {
            format!("--cert {} --key {}", file_name(certificate), file_name(key))
        }
        Caller::Guest => "--guest".to_owned(),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A check that the visitor can rely on: the demo fails where it does not hold.
fn expect(holds: bool, what: &str, seen: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(format!("expected that {what}, but saw: {seen}").into()) }
}
