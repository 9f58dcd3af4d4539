use super::*;
use crate::testing::{root, unchanged};

#[test]
fn a_chain_comes_back_out_of_its_pem() {
    let ca = root("Root", unchanged);
    let user = ca.user("Alice", unchanged);
    let pem = Presented::new(vec![user.clone()]).leaf_pem();
    assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    let ca_pem = Presented::new(vec![ca.der.clone()]).leaf_pem();
    let both = format!("bag attributes\n{pem}{ca_pem}");
    assert_eq!(Presented::from_pem(both.as_bytes()).unwrap().chain(), [user, ca.der]);
    assert_eq!(Presented::new(Vec::new()).leaf_pem(), "");
}

#[test]
fn a_text_that_is_no_chain() {
    let pem = Presented::new(vec![root("Root", unchanged).der]).leaf_pem();
    let from = |text: &str| Presented::from_pem(text.as_bytes()).map(|chain| chain.chain().len());
    assert_eq!(from(""), Err(PemError::Empty));
    assert_eq!(from(&pem.replace("CERTIFICATE", "PRIVATE KEY")), Err(PemError::Empty));
    assert_eq!(from(&pem.replace("-----END", "-----ENT")), Err(PemError::Unreadable));
    assert_eq!(from(&pem.repeat(CHAIN_LENGTH_MAX)), Ok(CHAIN_LENGTH_MAX));
    assert_eq!(from(&pem.repeat(CHAIN_LENGTH_MAX + 1)), Err(PemError::TooMany));
}
