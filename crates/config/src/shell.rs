//! `[shell]`: the commands that callers may run by `shell.cmd`, word for word.

use nesssi_policy::written::Lined;
use nesssi_policy::{Level, LevelName};

use crate::sections::{Section, read_level_names};

/// Most commands in the list.
pub const SHELL_COMMANDS_MAX: usize = 256;
/// Most words of one of them.
pub const SHELL_WORDS_MAX: usize = 64;
/// Bytes of one word that a caller says in the place of a `*`.
pub const SHELL_WORD_BYTES_MAX: usize = 4096;

/// The word that stands for one of the caller's.
const ANY: &str = "*";

/// Programs that make a command of their arguments: with one of them in the list, whoever may say a word
/// of it may say anything. Digits and points at the end of a name are its version.
const INTERPRETERS: &[&str] = &[
    "ash",
    "awk",
    "bash",
    "busybox",
    "chroot",
    "csh",
    "dash",
    "doas",
    "ed",
    "emacs",
    "env",
    "ex",
    "expect",
    "find",
    "fish",
    "gawk",
    "gdb",
    "irb",
    "java",
    "ksh",
    "ld.so",
    "lua",
    "luajit",
    "make",
    "mawk",
    "mksh",
    "nawk",
    "nice",
    "node",
    "nodejs",
    "nohup",
    "nsenter",
    "perl",
    "php",
    "pkexec",
    "python",
    "rbash",
    "ruby",
    "runuser",
    "rvim",
    "script",
    "sed",
    "setpriv",
    "setsid",
    "sh",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "tclsh",
    "tcsh",
    "time",
    "timeout",
    "unshare",
    "vi",
    "view",
    "vim",
    "watch",
    "wish",
    "xargs",
    "zsh",
];

/// `[shell]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shell {
    /// Whether there is anything of it at all.
    pub enabled: bool,
    /// The levels whose callers may.
    pub levels: Vec<LevelName>,
    /// What may be run: program and words, in which `*` stands for one word of the caller's.
    pub commands: Vec<Vec<String>>,
    /// Whether programs may be in the list that make a command of their arguments.
    pub interpreters: bool,
}

impl Shell {
    /// Whether `words` are one of the commands: the same words in the same places, and in the place of a
    /// `*` exactly one that does not begin with `-`, holds no NUL, and is not too long.
    #[must_use]
    pub fn allows(&self, words: &[String]) -> bool {
        self.enabled && self.commands.iter().any(|command| fits(command, words))
    }

    /// Whether this program makes a command of its arguments, by its name.
    #[must_use]
    pub fn is_interpreter(program: &str) -> bool {
        let name = program.rsplit('/').next().unwrap_or(program);
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-".contains(c));
        INTERPRETERS.contains(&name) || INTERPRETERS.contains(&bare) || name.starts_with("ld-linux")
    }
}

fn fits(command: &[String], words: &[String]) -> bool {
    let one = |(allowed, word): (&String, &String)| {
        if allowed == ANY {
            !word.starts_with('-') && !word.contains('\0') && word.len() <= SHELL_WORD_BYTES_MAX
        } else {
            allowed == word
        }
    };
    command.len() == words.len() && command.iter().zip(words).all(one)
}

pub(crate) fn read(section: &mut Section<'_, '_>, levels: &[Level]) -> Shell {
    let enabled = section.truth("enabled");
    let levels = read_level_names(section, "levels", levels);
    let interpreters = section.truth("interpreters").is_some_and(|lined| lined.value);
    let list = section.table.as_mut().and_then(|table| table.text_lists("commands"));
    let mut commands = Vec::new();
    let none = list.as_ref().is_none_or(|list| list.value.is_empty());
    if let Some(Lined { line, value }) = list {
        if value.len() > SHELL_COMMANDS_MAX {
            let text = format!("`commands` are {}, {SHELL_COMMANDS_MAX} at most", value.len());
            section.mistake(line, text);
        }
        for Lined { line, value: command } in value {
            match wrong(&command, interpreters) {
                Some(wrong) => section.mistake(line, format!("`commands` {command:?}: {wrong}")),
                None => commands.push(command),
            }
        }
    }
    if let Some(Lined { line, value: true }) = enabled
        && (levels.is_empty() || none)
    {
        section.mistake(
            line,
            "`enabled` without `levels` or without `commands` lets nobody run anything",
        );
    }
    let enabled = enabled.is_some_and(|lined| lined.value);
    Shell { enabled, levels, commands, interpreters }
}

fn wrong(command: &[String], interpreters: bool) -> Option<String> {
    let Some(program) = command.first() else {
        return Some("a command has a program".to_owned());
    };
    if command.len() > SHELL_WORDS_MAX {
        return Some(format!("{} words, {SHELL_WORDS_MAX} at most", command.len()));
    }
    if command.iter().any(|word| word.contains(char::is_control)) {
        return Some("a word has control characters".to_owned());
    }
    if !program.starts_with('/') || program.split('/').any(|part| part == "..") {
        return Some("the program stands with its absolute path".to_owned());
    }
    if Shell::is_interpreter(program) && !interpreters {
        let text = format!(
            "{program} makes a command of its arguments, so that it could be anything: if that is \
             meant say `interpreters = true`"
        );
        return Some(text);
    }
    None
}
