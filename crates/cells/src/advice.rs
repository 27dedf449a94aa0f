//! What would help, as data: each front end spells it in its own words.

use std::fmt;

/// How many of something in words: `1 epoch`, `2 epochs`.
pub fn counted(n: usize, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// A setting that would help, and the value to give it; of several all together would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name: `layer`, `raw`, `gene_column`, `gene_names`, `min_overlap`, `fractions`, `unlabelled`.
    pub name: &'static str,
    /// The value; `None` where the setting is a switch, or the value is the user's to choose.
    pub value: Option<String>,
}

impl Setting {
    /// A setting with its value.
    pub fn to(name: &'static str, value: impl Into<String>) -> Setting {
        Setting { name, value: Some(value.into()) }
    }

    /// A setting without one.
    pub fn of(name: &'static str) -> Setting {
        Setting { name, value: None }
    }
}

/// What to do: in words, and the settings that do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// In words; empty where nothing would help.
    pub told: String,
    /// The settings; may be none.
    pub settings: Vec<Setting>,
}

impl Hint {
    /// Words alone.
    pub fn words(told: impl Into<String>) -> Hint {
        Hint { told: told.into(), settings: Vec::new() }
    }

    /// Words, and one setting.
    pub fn setting(told: impl Into<String>, setting: Setting) -> Hint {
        Hint { told: told.into(), settings: vec![setting] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}
