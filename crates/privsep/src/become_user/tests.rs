//! Tests of becoming a user: in forked children, since there is no way back.

use super::*;
use crate::account::{self, AccountRules};
use crate::spawn;

/// An account that every system has. Its uid is under the floor of a real installation.
fn nobody() -> Account {
    account::look_up("nobody", &AccountRules { uid_min: 1, service_uid: None }).unwrap()
}

#[test]
fn root_becomes_a_user_and_cannot_go_back() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let account = nobody();
    let child = spawn::fork(&[], || {
        let Ok(dropped) = become_user(&account) else { return 1 };
        let facts = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = |key: &str| {
            let found = facts.lines().find_map(|line| line.strip_prefix(key));
            found.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let (uid, gid) = (account.uid().to_string(), account.gid().to_string());
        let groups: Vec<String> = account.groups().iter().map(ToString::to_string).collect();
        if dropped.uid() != account.uid() {
            2
        } else if line("Uid:") != vec![uid; 4] || line("Gid:") != vec![gid; 4] {
            3
        } else if line("Groups:") != groups {
            4
        } else if line("CapEff:") != ["0000000000000000"] || line("CapPrm:") != ["0000000000000000"]
        {
            5
        } else if std::fs::read("/etc/shadow").is_ok() {
            6
        } else {
            // A second time, it is that user already.
            i32::from(become_user(&account).is_err()) * 7
        }
    })
    .unwrap();
    assert_eq!(child.wait().unwrap(), spawn::Ending::Exited(0));
}

#[test]
fn root_is_never_become() {
    let root = account::current().unwrap();
    if !rustix::process::geteuid().is_root() {
        assert!(become_user(&root).is_ok(), "an ordinary user stays who he is");
        assert!(matches!(become_user(&nobody()), Err(BecomeError::NotRoot { .. })));
        return;
    }
    let child = spawn::fork(&[], || match become_user(&root) {
        Err(BecomeError::NotProved { .. }) => 0,
        _ => 1,
    });
    assert_eq!(child.unwrap().wait().unwrap(), spawn::Ending::Exited(0));
}
