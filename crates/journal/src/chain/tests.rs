use proptest::prelude::*;

use super::{Broken, Head, KeptHeads, Sound, Walk, from_hex, head_told, hex, number_of};

/// A chain of so many lines, and the heads on its way.
fn chain(count: u64) -> (Vec<u8>, Vec<Head>) {
    let mut head = Head::default();
    let mut file = Vec::new();
    let mut heads = Vec::new();
    for number in 1..=count {
        let rest = format!(",\"at\":\"{number}\",\"event\":\"call\",\"who\":\"/CN=J\u{f6}e\"}}\n");
        head.push(&mut file, rest.as_bytes());
        heads.push(head);
    }
    (file, heads)
}

fn walk(file: &[u8], first: u64, heads: &[Head]) -> (Vec<String>, Head) {
    let mut walk = Walk::new(first, heads);
    let mut told = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let (line, ended) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
        if let Err(broken) = walk.line(line, ended) {
            told.push(broken.to_string());
        }
    }
    told.extend(walk.end().err().map(|broken| broken.to_string()));
    (told, walk.head())
}

fn problems(file: &[u8], heads: &[Head]) -> Vec<String> {
    walk(file, 1, heads).0
}

fn lines(file: &[u8]) -> Vec<&[u8]> {
    file.split_inclusive(|byte| *byte == b'\n').collect()
}

#[test]
fn what_was_written_is_sound() {
    let (file, heads) = chain(12);
    assert_eq!(walk(&file, 1, &heads), (vec![], heads[11]));
    let (file, _) = chain(0);
    assert_eq!(walk(&file, 1, &[Head::default()]), (vec![], Head::default()));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let (file, heads) = chain(6);
    let kept = [heads[5]];
    let all = lines(&file);
    let cases: [(&str, Vec<&[u8]>, &str); 6] = [
        ("removed", [&all[..2], &all[4..]].concat(), "line 5 follows line 2: 2 are missing"),
        (
            "out of order",
            vec![all[0], all[2], all[1], all[3], all[4], all[5]],
            "line 3 follows line 1: 1 are missing; line 2 follows line 3: repeated, inserted or out \
             of order; line 4 follows line 2: 1 are missing",
        ),
        (
            "repeated",
            [&all[..3], &all[2..]].concat(),
            "line 3 follows line 3: repeated, inserted or out of order",
        ),
        ("cut", all[..4].to_vec(), "ends with line 4, and line 6 was there: the end is cut off"),
        ("gone", vec![], "ends with line 0, and line 6 was there: the end is cut off"),
        (
            "headless",
            all[2..].to_vec(),
            "begins with line 3, not with line 1: older lines are missing",
        ),
    ];
    for (what, file, due) in cases {
        assert_eq!(problems(&file.concat(), &kept).join("; "), due, "{what}");
    }
    let edited = String::from_utf8(file).unwrap().replacen("\"at\":\"3\"", "\"at\":\"4\"", 1);
    let due = "line 3 has been changed: the line after it tells another hash of it";
    assert_eq!(problems(edited.as_bytes(), &kept), [due]);
}

#[test]
fn a_chain_forged_anew_is_found_by_any_head_that_was_kept() {
    let (_, heads) = chain(6);
    let mut head = Head::default();
    let mut forged = Vec::new();
    for _ in 0..6 {
        head.push(&mut forged, b",\"at\":\"0\"}\n");
    }
    let due = "line 3 is not the line of that number whose hash was kept";
    assert_eq!(problems(&forged, &[heads[2], head]), [due]);
}

#[test]
fn older_files_may_be_gone_if_that_is_said() {
    let (file, heads) = chain(6);
    let rest = lines(&file)[3..].concat();
    assert_eq!(walk(&rest, 4, &heads), (vec![], heads[5]));
    let (told, _) = walk(&rest, 3, &heads);
    assert_eq!(told, ["begins with line 4, not with line 3: older lines are missing"]);
    let other = Head { lines: 3, hash: [7; 32] };
    let (told, _) = walk(&rest, 4, &[other]);
    assert_eq!(told, ["line 3 is not the line of that number whose hash was kept"]);
}

#[test]
fn a_torn_line_is_told_and_chained_over() {
    let (mut file, heads) = chain(2);
    file.extend_from_slice(b"{\"n\":3,\"pr");
    let mut head = Head::of_tail(&file, Head::default());
    assert_eq!(head.lines, 3);
    file.push(b'\n');
    head.push(&mut file, b",\"at\":\"0\"}\n");
    assert_eq!(number_of(lines(&file)[3].trim_ascii_end()), Some(4));
    assert_eq!(walk(&file, 1, &[heads[1], head]), (vec![], head));
    let mut walk = Walk::new(1, &[]);
    let found = lines(&file).into_iter().map(|line| walk.line(line.trim_ascii_end(), true));
    let whole = Ok(Sound::Whole);
    assert_eq!(found.collect::<Vec<_>>(), [whole.clone(), whole.clone(), Ok(Sound::Torn), whole]);
}

#[test]
fn a_head_is_taken_up_from_the_end_of_a_file() {
    let (file, heads) = chain(5);
    let all = file.strip_suffix(b"\n").unwrap();
    for from in [0, 1, 40, lines(&file)[..4].concat().len()] {
        assert_eq!(Head::of_tail(&all[from..], Head::default()), heads[4], "{from}");
    }
    // Of a file that begins torn, the number comes from the file before.
    assert_eq!(Head::of_tail(b"{\"n\":6,", heads[4]).lines, 6);
}

#[test]
fn a_newline_that_is_lost_counts_only_where_a_head_covers_it() {
    let (file, heads) = chain(3);
    let cut = file.strip_suffix(b"\n").unwrap();
    assert_eq!(problems(cut, &heads[..2]), [""; 0]);
    assert_eq!(problems(cut, &heads), ["line 3 was whole and has lost its newline"]);
}

#[test]
fn kept_heads_there_and_back() {
    let (_, heads) = chain(3);
    for kept in [
        KeptHeads::default(),
        KeptHeads { gatekeeper: Some((heads[2], 812)), own: None },
        KeptHeads { gatekeeper: Some((heads[2], 812)), own: Some(heads[0]) },
    ] {
        assert_eq!(KeptHeads::parse(&kept.to_string()), Ok(kept));
    }
    let zeros = "0".repeat(64);
    for wrong in [
        "lines".to_owned(),
        "lines 1\n".to_owned(),
        format!("lines x\nbytes 1\nhash {zeros}"),
        format!("lines 1\nhash {zeros}"),
        format!("lines 1\nlines 2\nbytes 1\nhash {zeros}"),
        "lines 1\nbytes 1\nhash 00".to_owned(),
    ] {
        assert!(KeptHeads::parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_head_told_in_a_line_is_read() {
    let (_, heads) = chain(3);
    let mut own = Head::default();
    let mut file = Vec::new();
    let rest = format!(
        ",\"at\":\"0\",\"event\":\"audit_head\",\"lines\":3,\"hash\":\"{}\"}}\n",
        hex(&heads[2].hash)
    );
    own.push(&mut file, rest.as_bytes());
    let line = file.trim_ascii_end();
    assert_eq!(head_told(line), Some(heads[2]));
    assert_eq!(head_told(rest.trim_end().as_bytes()), None);
    assert_eq!(head_told(lines(&chain(1).0)[0].trim_ascii_end()), None);
}

#[test]
fn digits_there_and_back() {
    let hash: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8 + 1).unwrap());
    assert_eq!(from_hex(&hex(&hash)), Some(hash));
    for wrong in [&hex(&hash)[1..], &hex(&hash).to_uppercase(), &"g".repeat(64), ""] {
        assert_eq!(from_hex(wrong), None, "{wrong}");
    }
}

#[test]
fn a_line_is_read_only_as_it_is_written() {
    let (file, heads) = chain(1);
    let line = String::from_utf8(file).unwrap().trim_end().to_owned();
    assert_eq!(number_of(line.as_bytes()), Some(1));
    for wrong in [
        line.replacen("{\"n\":1", "{\"n\":01", 1),
        line.replacen("{\"n\":1", "{\"n\": 1", 1),
        line.replacen("{\"n\":1", "{\"n\":", 1),
        line.replacen("\"prev\":\"0", "\"prev\":\"", 1),
        line.replacen("\",\"at\"", "\"}", 1),
        line.replacen("\"at\"", "\t\"at\"", 1),
        line.trim_end_matches('}').to_owned(),
    ] {
        assert_eq!(number_of(wrong.as_bytes()), None, "{wrong}");
    }
    let mut walk = Walk::new(1, &heads);
    let not_the_first = line.replacen("\"prev\":\"0", "\"prev\":\"1", 1);
    assert_eq!(walk.line(not_the_first.as_bytes(), true), Err(Broken::NotTheFirst));
}

proptest! {
    /// Whatever one byte up to the kept head is changed into.
    #[test]
    fn any_changed_byte_is_found(
        count in 1_u64..8, at in any::<prop::sample::Index>(), byte: u8, more in 0_u64..3,
    ) {
        let (whole, heads) = chain(count + more);
        let covered = lines(&whole)[..usize::try_from(count).unwrap()].concat().len();
        let kept = heads[usize::try_from(count - 1).unwrap()];
        let mut file = whole.clone();
        let at = at.index(covered);
        prop_assume!(file[at] != byte);
        file[at] = byte;
        prop_assert!(!problems(&file, &[kept]).is_empty());
    }

    #[test]
    fn any_removed_or_added_byte_is_found(
        count in 1_u64..8, at in any::<prop::sample::Index>(), byte: Option<u8>,
    ) {
        let (whole, heads) = chain(count);
        let mut file = whole.clone();
        let at = at.index(file.len());
        match byte {
            Some(byte) => file.insert(at, byte),
            None => drop(file.remove(at)),
        }
        prop_assert!(!problems(&file, &[*heads.last().unwrap()]).is_empty());
    }

    #[test]
    fn any_line_removed_repeated_or_moved_is_found(
        count in 2_usize..9, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
        what in 0..3,
    ) {
        let (whole, heads) = chain(u64::try_from(count).unwrap());
        let all = lines(&whole);
        let mut changed = all.clone();
        let (from, to) = (from.index(count), to.index(count));
        match what {
            0 => drop(changed.remove(from)),
            1 => changed.insert(to, all[from]),
            _ => changed.swap(from, to),
        }
        prop_assume!(changed != all);
        prop_assert!(!problems(&changed.concat(), &[*heads.last().unwrap()]).is_empty());
    }

    #[test]
    fn any_cut_before_the_head_is_found(count in 1_u64..8, cut in any::<prop::sample::Index>()) {
        let (whole, heads) = chain(count);
        let cut = cut.index(whole.len());
        prop_assert!(!problems(&whole[..cut], &[*heads.last().unwrap()]).is_empty());
    }

    /// Each line vouches for the one before it: all but the last, and the newline it follows on.
    #[test]
    fn without_a_head_only_the_last_line_is_open(
        count in 2_u64..8, at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let (whole, _) = chain(count);
        let sealed = lines(&whole)[..usize::try_from(count - 1).unwrap()].concat().len() - 1;
        let mut file = whole.clone();
        let at = at.index(sealed);
        prop_assume!(file[at] != byte);
        file[at] = byte;
        prop_assert!(!problems(&file, &[]).is_empty());
    }
}
