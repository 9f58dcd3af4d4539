//! The examples of the pages, typed as they stand there: a page that lies fails.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nesssi_testkit::{World, repository};

/// The fenced blocks of a page that are in `language`, in their order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let fence = format!("```{language}");
    let (mut blocks, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        match line {
            _ if line == fence => {
                blocks.push(String::new());
                inside = true;
            }
            "```" => inside = false,
            _ if inside => *blocks.last_mut().unwrap() += &format!("{line}\n"),
            _ => {}
        }
    }
    blocks
}

/// Alice before her shell: a home with her certificate, as grid tools leave it.
struct Alice {
    world: World,
    home: PathBuf,
}

impl Alice {
    /// In a World where everybody may submit, with the shipped services and `hello` as the README has it.
    fn new() -> Self {
        let levels = "submit_levels = [\"strong\", \"weak\", \"anonymous\"]";
        let mut world = World::builder().key("job", levels).with_shipped_services().build();
        let service = &blocks("README.md", "python")[0];
        world.service("hello", service, None);
        world.start_server();
        let home = world.path().join("home");
        fs::create_dir_all(home.join(".globus")).unwrap();
        for (from, name) in
            [(&world.alice.certificate, "usercert.pem"), (&world.alice.key, "userkey.pem")]
        {
            let to = home.join(".globus").join(name);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { world, home }
    }

    fn run(&self, program: &str, text: &str, environment: &[(&str, PathBuf)]) -> Output {
        let mut command = Command::new(program);
        let bin = self.world.path().join("bin");
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.env("HOME", &self.home).env("NESSSI_URL", &self.world.url);
        command.env("NESSSI_CA", self.world.grid.ca_file());
        command.env("PYTHONPATH", repository().join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(environment.iter().map(|(name, path)| (name, path)));
        command.arg(if program.ends_with("sh") { "-euxc" } else { "-c" }).arg(text);
        command.current_dir(&self.home).stdin(Stdio::null()).output().unwrap()
    }

    /// What a script printed, every command of which must succeed.
    fn shell(&self, text: &str) -> String {
        // A proxy goes where the test says, and not to the place of this machine's real ones.
        let proxy = [("X509_USER_PROXY", self.home.join("x509up"))];
        let done = self.run("/bin/sh", text, &proxy);
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}\n{errors}", String::from_utf8_lossy(&done.stdout));
        String::from_utf8(done.stdout).unwrap()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.home.join(name)).unwrap()
    }
}

#[test]
fn the_shell_of_the_page_for_clients_does_what_it_says() {
    let alice = Alice::new();
    let blocks = blocks("docs/clients.md", "sh");
    assert!(!blocks.is_empty());
    let output = alice.shell(&blocks.concat());
    for said in [
        "identity  ",
        "sleepy",
        "echo.echo(...)\n    Answers its parameters",
        "[\n  3,\n  2.5,\n  true,\n  \"3\",\n  \"M31\"\n]\n",
        "state: done",
        "  running     ",
        "  sleepy.sleepyAdd\n",
        "3 + 5 = 8\ntrue\nalice",
    ] {
        assert!(output.contains(said), "{said:?} is not in\n{output}");
    }
    assert!(!output.contains("make a new one"), "{output}");
    assert!(output.ends_with("alice"), "five bytes and no more: {output}");
    assert!(alice.file("results/stdout").ends_with("3 + 5 = 8\n"));
    assert_eq!(alice.file("results/in/data.txt"), "carol\nalice\nbob\n");
    assert!(alice.file(".local/share/bash-completion/completions/nesssi").contains("proxy"));
    assert!(alice.file(".local/share/man/man1/nesssi-proxy-init.1").contains(".SH"));
    let mode = fs::metadata(alice.home.join("x509up")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_first_page_does_what_it_says() {
    let alice = Alice::new();
    let python = blocks("README.md", "python").pop().unwrap();
    assert!(python.contains("https://localhost:8443/clarens/"));
    let python = python.replace("https://localhost:8443/clarens/", &alice.world.url);
    let done = alice.run("/usr/bin/python3", &python, &[]);
    let (text, errors) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{text}{errors}");
    assert!(text.contains("/sandboxes/"), "a URL for each file: {text}");
    let calls = blocks("README.md", "sh").into_iter().filter(|block| block.contains("nesssi "));
    let calls: Vec<String> = calls.collect();
    assert_eq!(calls.len(), 1);
    // The other examples make a proxy first; here she calls with her certificate.
    let done = alice.run("/bin/sh", &calls[0], &[]);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{errors}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("hello world\n"), "{errors}");
    assert_eq!(alice.file("results/stdout"), "hello world\n");
}
