//! A CA with people, made by OpenSSL in a directory of the test's own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nesssi_identity::{Identity, Presented, Refusal, TrustDirectory, TrustOptions, judge_chain};
use tempfile::TempDir;

const POLICY: &str = "access_id_CA X509 '/O=Grid/CN=Test CA'\n\
                      pos_rights globus CA:sign\n\
                      cond_subjects globus '\"/O=Grid/OU=People/*\"'\n";
const PERSON: &str = "basicConstraints=critical,CA:FALSE\n\
                      keyUsage=critical,digitalSignature,keyEncipherment\n\
                      extendedKeyUsage=clientAuth\n\
                      subjectAltName=email:alice@example.org\n";

pub(crate) struct Grid {
    directory: TempDir,
    pub(crate) trust: TrustDirectory,
}

/// Whether all of these programs are there.
pub(crate) fn has(tools: &[&str]) -> bool {
    let is_there = |tool: &&&str| {
        ["/usr/bin", "/bin", "/usr/local/bin"].iter().any(|at| Path::new(at).join(tool).exists())
    };
    let Some(missing) = tools.iter().find(|tool| !is_there(tool)) else { return true };
    assert!(
        std::env::var_os("NESSSI_TOOLS").is_none_or(|v| v != "1"),
        "{missing} is not installed"
    );
    // Written past the test harness, which hides what a passing test prints.
    drop(writeln!(std::io::stderr(), "SKIPPED: {missing} is not installed"));
    false
}

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// Subject and proxy; or the rule that is broken.
pub(crate) fn text(verdict: Result<Identity, Refusal>) -> String {
    match verdict {
        Ok(Identity { subject, proxy, .. }) => format!("{subject}, {proxy:?}"),
        Err(refusal) => refusal.rule,
    }
}

impl Grid {
    /// With a CA, and Alice's `user.pem` and `user.key`, an RSA key of 2048 bits.
    pub(crate) fn new() -> Self {
        let mut grid =
            Self { directory: TempDir::new().unwrap(), trust: TrustDirectory::default() };
        fs::create_dir(grid.path("trust")).unwrap();
        grid.write("person", PERSON);
        grid.write(".rnd", ""); // voms-proxy-init asks for it
        grid.run(&[
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2",
            "-subj",
            "/O=Grid/CN=Test CA",
            "-addext keyUsage=critical,keyCertSign,cRLSign",
        ]);
        let hash = grid.run(&["openssl x509 -in ca.pem -noout -hash"]);
        let hash = hash.trim();
        fs::copy(grid.path("ca.pem"), grid.path(&format!("trust/{hash}.0"))).unwrap();
        grid.write(&format!("trust/{hash}.signing_policy"), POLICY);
        grid.trust = grid.read_trust();
        grid.person("user", "rsa:2048", "/O=Grid/OU=People/CN=Alice");
        grid
    }

    fn read_trust(&self) -> TrustDirectory {
        let files = fs::read_dir(self.path("trust")).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        });
        let (trust, problems) =
            TrustDirectory::from_files(files.collect(), TrustOptions::default());
        assert_eq!(problems, []);
        assert_eq!(trust.len(), 1);
        trust
    }

    /// `NAME.pem` and `NAME.key`, the key as `openssl req -newkey` names it.
    pub(crate) fn person(&self, name: &str, key: &str, subject: &str) {
        self.request(name, key, subject);
        self.run(&[&format!(
            "openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial 17 -days 1 \
             -extfile person -out {name}.pem"
        )]);
    }

    /// `NAME.pem`, a proxy of the person or proxy in `issuer`.pem, with its key and the chain, and with
    /// these extensions.
    pub(crate) fn openssl_proxy(&self, name: &str, issuer: &str, subject: &str, extensions: &str) {
        self.request(name, "rsa:2048", subject);
        self.write(&format!("{name}.ext"), extensions);
        let issuer_key = if self.path(&format!("{issuer}.key")).exists() { "key" } else { "pem" };
        self.run(&[&format!(
            "openssl x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.{issuer_key} \
             -set_serial 5 -days 1 -extfile {name}.ext -out {name}.crt"
        )]);
        let parts = [format!("{name}.crt"), format!("{name}.key"), format!("{issuer}.pem")];
        let parts: Vec<_> = parts.iter().map(|p| fs::read(self.path(p)).unwrap()).collect();
        self.write(&format!("{name}.pem"), &String::from_utf8(parts.concat()).unwrap());
    }

    fn request(&self, name: &str, key: &str, subject: &str) {
        let option = if key.starts_with("ec:") { "ec -pkeyopt ec_paramgen_curve:" } else { "" };
        let key = format!("{option}{}", key.trim_start_matches("ec:"));
        self.run(&[
            &format!("openssl req -new -newkey {key} -nodes -keyout {name}.key -out {name}.csr"),
            "-subj",
            subject,
        ]);
        self.private(&format!("{name}.key"));
    }

    /// Runs a command in the directory, whose words are split at blanks, but for the one behind
    /// `-subj` or `-c`. Gives what it prints.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut all = Vec::new();
        let mut whole = false;
        for part in words {
            if whole {
                all.push(*part);
            } else {
                all.extend(part.split_whitespace());
            }
            whole = all.last().is_some_and(|word| matches!(*word, "-subj" | "-c"));
        }
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).current_dir(self.directory.path()).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
        command.env("HOME", self.directory.path()).env("X509_CERT_DIR", self.path("trust"));
        command.env("X509_USER_PROXY", self.path("x509up"));
        command
    }

    /// Whose credential is in this PEM file.
    pub(crate) fn judge(&self, file: &str) -> String {
        let pem = fs::read(self.path(file)).unwrap();
        let presented = Presented::from_pem(&pem).unwrap();
        text(judge_chain(presented.chain(), &self.trust, now()))
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        self.private(name);
    }

    fn private(&self, name: &str) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}
