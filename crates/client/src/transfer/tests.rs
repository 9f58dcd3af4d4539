use super::part::PartFile;
use super::plain_name;

#[test]
fn names_that_lead_elsewhere_or_hurt_a_terminal_are_refused() {
    for good in ["stdout", "a b", "caf\u{e9}", "-rf", &"x".repeat(255)] {
        assert_eq!(plain_name(good), Ok(()), "{good}");
    }
    for bad in
        ["", ".", "..", ".bashrc", "a/b", "/etc", "a\0", "a\nb", "\u{1b}[2J", &"x".repeat(256)]
    {
        assert!(plain_name(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn what_has_come_is_kept_with_its_version_and_nothing_without() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out");
    let mut part = PartFile::open(&to).await.unwrap();
    assert_eq!((part.length(), part.version()), (0, None));
    part.begin(Some("\"v1\"".to_owned())).await.unwrap();
    part.write(b"half").await.unwrap();
    part.finish_for_now().await;
    let mut part = PartFile::open(&to).await.unwrap();
    assert_eq!((part.length(), part.version()), (4, Some("\"v1\"")));
    part.write(b" and half").await.unwrap();
    part.finish(&to).await.unwrap();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "half and half");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);

    let mut part = PartFile::open(&to).await.unwrap();
    part.begin(None).await.unwrap();
    part.write(b"longer than what follows").await.unwrap();
    part.finish_for_now().await;
    let mut part = PartFile::open(&to).await.unwrap();
    assert_eq!(part.length(), 0, "nobody knows of which version it is");
    part.write(b"short").await.unwrap();
    part.finish(&to).await.unwrap();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "short");
}

#[tokio::test]
async fn a_link_where_the_part_should_be_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (to, victim) = (folder.path().join("out"), folder.path().join("victim"));
    std::fs::write(&victim, "untouched").unwrap();
    std::os::unix::fs::symlink(&victim, folder.path().join("out.nesssi-part")).unwrap();
    assert!(PartFile::open(&to).await.is_err());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(PartFile::open(folder.path()).await.is_err());
}

#[tokio::test]
async fn nothing_that_another_has_laid_beside_it_is_read_or_written() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let beside = |ending: &str| folder.path().join(format!("out{ending}"));
    let (to, victim) = (beside(""), folder.path().join("victim"));

    // The version's name is as easily guessed as the part's.
    std::fs::write(&victim, "untouched").unwrap();
    symlink(&victim, beside(".nesssi-part-version")).unwrap();
    let mut part = PartFile::open(&to).await.unwrap();
    assert_eq!(part.version(), None);
    assert!(part.begin(Some("\"v1\"".to_owned())).await.is_err());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    std::fs::remove_file(beside(".nesssi-part-version")).unwrap();
    std::fs::remove_file(beside(".nesssi-part")).unwrap();

    // A second name of a file of one's own.
    std::fs::hard_link(&victim, beside(".nesssi-part")).unwrap();
    assert!(PartFile::open(&to).await.is_err());
    std::fs::remove_file(beside(".nesssi-part")).unwrap();

    // What is never opened to its end.
    let fifo = beside(".nesssi-part");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let opened = tokio::time::timeout(std::time::Duration::from_secs(5), PartFile::open(&to)).await;
    assert!(opened.unwrap().is_err());
}
