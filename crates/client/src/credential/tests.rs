use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, CustomExtension, KeyPair};

use super::*;

/// A home, a directory of proxies, and a search that looks there alone.
struct Places {
    directory: tempfile::TempDir,
    search: CredentialSearch,
}

impl Places {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let path = |name| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let search = CredentialSearch {
            home: Some(path("home")),
            proxies: path("tmp"),
            uid,
            ..CredentialSearch::default()
        };
        fs::create_dir(directory.path().join("home/.globus")).unwrap();
        Self { directory, search }
    }

    /// Writes a file, which only its owner may read.
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn put_proxy(&self) -> PathBuf {
        let (certificate, key) = pair();
        self.put(
            &format!("tmp/x509up_u{}", self.search.uid),
            &format!("{certificate}{key}{certificate}"),
        )
    }

    fn put_globus(&self) -> PathBuf {
        let (certificate, key) = pair();
        self.put("home/.globus/userkey.pem", &key);
        self.put("home/.globus/usercert.pem", &certificate)
    }

    fn found(&self) -> PathBuf {
        self.search.find().unwrap().path().to_owned()
    }

    fn refused(&self) -> String {
        self.search.find().unwrap_err().to_string()
    }
}

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// As [`pair`], of a CA.
fn issued() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Alice");
    let issuer_key = KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(CertificateParams::default(), issuer_key);
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

#[test]
fn the_places_are_searched_in_the_order_of_grid_tools() {
    let mut places = Places::new();
    let none = places.refused();
    assert!(none.contains("x509up_u") && none.contains("usercert.pem"), "{none}");

    let globus = places.put_globus();
    assert_eq!(places.found(), globus);
    let proxy = places.put_proxy();
    assert_eq!(places.found(), proxy);

    let (certificate, key) = pair();
    let user_certificate = places.put("cert.pem", &certificate);
    places.search.user_certificate = Some(user_certificate.clone());
    places.search.user_key = Some(places.put("key.pem", &key));
    assert_eq!(places.found(), user_certificate);

    let (certificate, key) = pair();
    let user_proxy = places.put("proxy.pem", &format!("{key}{certificate}"));
    places.search.user_proxy = Some(user_proxy.clone());
    assert_eq!(places.found(), user_proxy);

    let (certificate, key) = pair();
    let named = places.put("named.pem", &certificate);
    places.search.certificate = Some(named.clone());
    places.search.key = Some(places.put("named.key", &key));
    assert_eq!(places.found(), named);
}

#[test]
fn what_is_named_must_be_there() {
    let mut places = Places::new();
    places.put_proxy();
    let absent = places.directory.path().join("absent");
    places.search.user_certificate = Some(absent.clone());
    assert!(places.refused().contains("absent"));
    places.search.user_certificate = None;
    places.search.user_proxy = Some(absent.clone());
    assert!(places.refused().contains("absent"));
    places.search.user_proxy = None;
    places.search.certificate = Some(absent);
    assert!(places.refused().contains("absent"));
}

#[test]
fn a_proxy_of_somebody_else_is_not_taken() {
    let mut places = Places::new();
    let globus = places.put_globus();
    let proxy = places.put_proxy();
    places.search.uid += 1;
    fs::rename(&proxy, places.search.proxies.join(format!("x509up_u{}", places.search.uid)))
        .unwrap();
    assert_eq!(places.found(), globus);
    // Nor is a link, which may lead anywhere.
    places.search.uid -= 1;
    std::os::unix::fs::symlink(places.put("mine", "x"), &proxy).unwrap();
    assert_eq!(places.found(), globus);
}

#[test]
fn a_key_that_others_may_read_is_refused_unless_an_argument_names_it() {
    let mut places = Places::new();
    let proxy = places.put_proxy();
    fs::set_permissions(&proxy, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(places.refused().contains("chmod 600"), "{}", places.refused());
    fs::remove_file(&proxy).unwrap();
    places.put_globus();
    let key = places.directory.path().join("home/.globus/userkey.pem");
    fs::set_permissions(key, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(places.refused().contains("chmod 600"), "{}", places.refused());
    // The environment is no argument: it may be an old file's name, and grid tools look too.
    let (certificate, key) = pair();
    let lax = places.put("lax.pem", &format!("{certificate}{key}"));
    fs::set_permissions(&lax, fs::Permissions::from_mode(0o640)).unwrap();
    places.search.user_certificate = Some(places.put("cert.pem", &certificate));
    places.search.user_key = Some(lax.clone());
    assert!(places.refused().contains("chmod 600"), "{}", places.refused());
    places.search.user_proxy = Some(lax.clone());
    assert!(places.refused().contains("chmod 600"), "{}", places.refused());
    places.search.certificate = Some(lax.clone());
    assert_eq!(places.found(), lax);
}

#[test]
fn a_file_that_is_no_credential_is_told_by_name() {
    let mut places = Places::new();
    let (certificate, key) = pair();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
        DEK-Info: DES-EDE3-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (text, what) in [
        (String::new(), "no certificate in it"),
        (key.clone(), "no certificate in it"),
        (certificate.clone(), "no private key in it"),
        (format!("{certificate}{encrypted}"), "encrypted"),
        (format!("{certificate}{old_encrypted}"), "encrypted"),
        (certificate.replace('M', "?"), "not well-formed PEM"),
    ] {
        places.search.user_proxy = Some(places.put("proxy.pem", &text));
        let refused = places.refused();
        assert!(refused.contains(what) && refused.contains("proxy.pem"), "{refused}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let places = Places::new();
    let path = places.put("mixed.pem", &format!("{}{}", pair().0, pair().1));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let error = Credential::read(&path, None).unwrap().resolver(&provider).unwrap_err();
    assert!(error.to_string().contains("another certificate's"), "{error}");
    let (certificate, key) = pair();
    let path = places.put("good.pem", &format!("{certificate}{key}"));
    assert!(Credential::read(&path, None).unwrap().resolver(&provider).is_ok());
}

#[test]
fn a_proxy_certificate_is_taken_though_tls_libraries_do_not_know_its_extension() {
    let places = Places::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    // proxyCertInfo of RFC 3820, critical as it must be, with the policy inheritAll.
    let inherit_all = vec![0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 21, 1];
    let mut info = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 14], inherit_all);
    info.set_criticality(true);
    params.custom_extensions = vec![info];
    let proxy = params.self_signed(&key).unwrap();
    let path =
        places.put("proxy.pem", &format!("{}{}{}", proxy.pem(), key.serialize_pem(), pair().0));
    let credential = Credential::read(&path, None).unwrap();
    assert_eq!(credential.chain.len(), 2);
    assert!(credential.resolver(&rustls::crypto::aws_lc_rs::default_provider()).is_ok());
}

/// OpenSSL's command, as it would have been typed.
fn openssl(words: &[&str]) {
    #[allow(clippy::disallowed_methods, reason = "a test plays a user, who has an environment")]
    let done = std::process::Command::new("openssl").args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn keys_that_a_passphrase_protects_are_read_in_every_form_that_openssl_writes() {
    let places = Places::new();
    let (certificate, key) = pair();
    let certificate = places.put("cert.pem", &certificate);
    let plain = places.put("plain.pem", &key);
    let ask = |text: &'static str| AskPassphrase::by(move |_| Ok(text.to_owned()));
    let path = |name: &str| places.directory.path().join(name).to_str().unwrap().to_owned();
    for cipher in ["-aes128", "-aes256", "-des3"] {
        for (form, name) in [("pkcs8", "new"), ("traditional", "old")] {
            let file = path(&format!("{name}{cipher}.pem"));
            let mut words =
                vec!["pkey", "-in", plain.to_str().unwrap(), "-passout", "pass:f\u{fc}nf"];
            words.extend([cipher, "-out", &file]);
            if form == "traditional" {
                words.push("-traditional");
            }
            openssl(&words);
            let key = Path::new(&file);
            let read = |ask: &AskPassphrase| Credential::read_with(&certificate, Some(key), ask);
            let credential = read(&ask("f\u{fc}nf")).unwrap();
            assert!(credential.resolver(&rustls::crypto::aws_lc_rs::default_provider()).is_ok());
            let wrong = read(&ask("six")).unwrap_err().to_string();
            assert!(wrong.contains("passphrase is wrong"), "{form} {cipher}: {wrong}");
            let nobody = read(&AskPassphrase::default()).unwrap_err().to_string();
            assert!(nobody.contains("nobody to ask"), "{form} {cipher}: {nobody}");
        }
    }
}

#[test]
fn whoever_is_wrong_is_asked_again_three_times_in_all() {
    use std::sync::Mutex;

    let places = Places::new();
    let (certificate, key) = issued();
    let certificate = places.put("cert.pem", &certificate);
    let plain = places.put("plain.pem", &key);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (locked, bundle) =
        (places.directory.path().join("locked.pem"), places.directory.path().join("both.p12"));
    let (cert, plain) = (text(&certificate), text(&plain));
    openssl(&["pkey", "-in", &plain, "-passout", "pass:five", "-aes128", "-out", &text(&locked)]);
    let words = ["pkcs12", "-export", "-in", &cert, "-inkey", &plain, "-passout", "pass:five"];
    openssl(&[&words[..], &["-out", &text(&bundle)]].concat());

    // How often somebody with these answers is asked, and whether the key is opened.
    let asked = |once: bool, answers: &[&str], certificate: &Path, key: Option<&Path>| {
        let mut left: Vec<String> = answers.iter().rev().map(|text| (*text).to_owned()).collect();
        left.insert(0, "one more".to_owned());
        let left = Arc::new(Mutex::new(left));
        let answer = {
            let left = Arc::clone(&left);
            move |_: &Path| Ok(left.lock().unwrap().pop().unwrap())
        };
        let ask = if once { AskPassphrase::once(answer) } else { AskPassphrase::by(answer) };
        let read = Credential::read_with(certificate, key, &ask);
        (answers.len() + 1 - left.lock().unwrap().len(), read.is_ok())
    };
    let pem = |once, answers: &[&str]| asked(once, answers, &certificate, Some(&locked));
    assert_eq!(pem(false, &["five"]), (1, true));
    assert_eq!(pem(false, &["six", "", "five"]), (3, true));
    assert_eq!(pem(false, &["six", "six", "six", "five"]), (3, false));
    assert_eq!(pem(true, &["six", "five"]), (1, false));
    assert_eq!(asked(false, &["six", "five"], &bundle, None), (2, true));
    assert_eq!(asked(false, &["six", "six", "six", "five"], &bundle, None), (3, false));
    // No passphrase mends what is no key at all, or no PKCS#12.
    let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let damaged = places.put("damaged.pem", text);
    assert_eq!(asked(false, &["five"], &certificate, Some(&damaged)), (1, false));
    let junk = places.directory.path().join("junk.p12");
    fs::write(&junk, [0x30, 0x82, 0x01, 0x00, 0x02, 0x01, 0x03]).unwrap();
    assert_eq!(asked(false, &["five"], &junk, None), (1, false));
}

#[test]
fn pkcs12_is_read_as_browsers_and_openssl_write_it() {
    let places = Places::new();
    let (certificate, key) = issued();
    let (certificate, key) = (places.put("cert.pem", &certificate), places.put("key.pem", &key));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    for (number, more) in [
        &["-passout", "pass:five"][..],
        &["-passout", "pass:five", "-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES"],
        &["-passout", "pass:", "-name", "mine"],
    ]
    .into_iter()
    .enumerate()
    {
        let file = places.directory.path().join(format!("{number}.p12"));
        let (cert, key, out) = (text(&certificate), text(&key), text(&file));
        let words = ["pkcs12", "-export", "-in", &cert, "-inkey", &key, "-out", &out];
        openssl(&[&words[..], more].concat());
        let ask = AskPassphrase::by(|_| Ok("five".to_owned()));
        let credential = Credential::read_with(&file, None, &ask).unwrap();
        assert_eq!(credential.chain.len(), 1);
        assert!(credential.resolver(&rustls::crypto::aws_lc_rs::default_provider()).is_ok());
    }
    let wrong = AskPassphrase::by(|_| Ok("six".to_owned()));
    let error = Credential::read_with(&places.directory.path().join("0.p12"), None, &wrong);
    assert!(error.unwrap_err().to_string().contains("PKCS#12"));
}
